/* knapsack.c - which expensive values are worth their bytes: what is kept is not computed again.
 *
 * Three ways.  Dynamic programming over memory in units of 1/10000 of the budget's unit, as PyTorch's
 * default; greedy, by work for a byte; and exact, a branch and bound over the same 0/1 variables that
 * an integer program would have.  Models repeat their layers, so that many items are equal: of such
 * the first ones are taken, which makes the exact search small.
 */
#include <math.h>
#include <stdlib.h>
#include "partition/part.h"

/* ---- dynamic programming ----------------------------------------------------------- */

/* One bit for each entry of the table is all that going back needs. */
static void
dynamic(const Joint *j, const Item *item, int n, double budget, bool *save)
{
	int room = (int)rint(budget * 10000);
	size_t row = (size_t)room / 8 + 1;
	uint8_t *better = NEWN(j->a, uint8_t, row * (size_t)(n + 1));
	float *best = NEWN(j->a, float, room + 1);

	for (int i = 0; i < n; i++) {
		double q = rint(item[i].memory * 10000);
		int m = q > room ? room + 1 : (int)q;

		for (int k = room; k >= m; k--) {
			float with = best[k - m] + (float)item[i].work;

			if (with > best[k]) {
				best[k] = with;
				better[row * (size_t)i + (size_t)k / 8] |= (uint8_t)(1u << k % 8);
			}
		}
	}
	for (int i = n - 1, k = room; i >= 0; i--) {
		save[i] = better[row * (size_t)i + (size_t)k / 8] >> k % 8 & 1;
		if (save[i])
			k -= (int)rint(item[i].memory * 10000);
	}
}

/* ---- by work for a byte ---------------------------------------------------------------- */

static double
worth(const Item *x)
{
	return x->memory > 0 ? x->work / x->memory : INFINITY;
}

static int
worthier(const void *a, const void *b)
{
	const Item *x = a, *y = b;
	double p = worth(x), q = worth(y);

	return p != q ? (p < q) - (p > q) : x->at - y->at;
}

static Item *
sorted(const Joint *j, const Item *item, int n)
{
	Item *v = NEWN(j->a, Item, n + 1);

	for (int i = 0; i < n; i++) {
		v[i] = item[i];
		v[i].at = i;
	}
	qsort(v, (size_t)n, sizeof *v, worthier);
	return v;
}

static void
greedy(const Joint *j, const Item *item, int n, double budget, bool *save)
{
	const Item *v = sorted(j, item, n);
	double sum = 0;

	for (int i = 0; i < n; i++)
		if (sum + v[i].memory <= budget) {
			sum += v[i].memory;
			save[v[i].at] = true;
		}
}

/* ---- exact -------------------------------------------------------------------------------- */

typedef struct Kind { double memory, work; int first, n; } Kind;   /* equal items: sorted[first .. first+n-1] */

typedef struct Search {
	Kind   *kind; int n;
	int    *take, *best;     /* by kind: how many */
	double *room, *work;     /* before each kind */
	double  most;            /* work of best */
} Search;

/* The most that kinds from i on can add, parts of items allowed. */
static double
bound(const Search *s, int i, double room)
{
	double work = 0;

	for (; i < s->n; i++) {
		const Kind *k = &s->kind[i];
		double all = k->memory * k->n;

		if (all > room)
			return work + k->work * (room / k->memory);
		room -= all;
		work += k->work * k->n;
	}
	return work;
}

static int
fitting(const Kind *k, double room)
{
	double n = k->memory > 0 ? floor(room / k->memory * (1 + 1e-12)) : k->n;

	return n < 0 ? 0 : n < k->n ? (int)n : k->n;   /* room may be a rounding error below 0 */
}

enum { MaxSteps = 10000000 };

/* Depth first, as many as fit of each kind first.  false: given up. */
static bool
search(Search *s)
{
	int d = 0;

	s->take[0] = fitting(&s->kind[0], s->room[0]);
	for (int steps = 0; steps < MaxSteps; steps++) {
		const Kind *k = &s->kind[d];

		s->room[d + 1] = s->room[d] - s->take[d] * k->memory;
		s->work[d + 1] = s->work[d] + s->take[d] * k->work;
		if (d + 1 < s->n && s->work[d + 1] + bound(s, d + 1, s->room[d + 1]) > s->most * (1 + 1e-12)) {
			d++;
			s->take[d] = fitting(&s->kind[d], s->room[d]);
			continue;
		}
		if (d + 1 == s->n && s->work[d + 1] > s->most) {
			s->most = s->work[d + 1];
			memcpy(s->best, s->take, sizeof *s->best * (size_t)s->n);
		}
		while (d >= 0 && s->take[d] == 0)
			d--;
		if (d < 0)
			return true;
		s->take[d]--;
	}
	return false;
}

static bool
exact(const Joint *j, const Item *item, int n, double budget, bool *save)
{
	const Item *v = sorted(j, item, n);
	Search s = {.kind = NEWN(j->a, Kind, n + 1), .take = NEWN(j->a, int, n + 1), .best = NEWN(j->a, int, n + 1),
	            .room = NEWN(j->a, double, n + 2), .work = NEWN(j->a, double, n + 2)};

	for (int i = 0; i < n; i++) {
		Kind *k = s.n ? &s.kind[s.n - 1] : NULL;

		if (k && k->memory == v[i].memory && k->work == v[i].work)
			k->n++;
		else
			s.kind[s.n++] = (Kind){v[i].memory, v[i].work, i, 1};
	}
	s.room[0] = budget;
	if (s.n && !search(&s)) {
		error(j->cx, NOLOC, "-fpartition-solver=ilp gives up: %d values of %d kinds are too many for an exact choice; dp and greedy are not exact",
		      n, s.n);
		return false;
	}
	for (int k = 0; k < s.n; k++)
		for (int i = 0; i < s.best[k]; i++)
			save[v[s.kind[k].first + i].at] = true;
	return true;
}

bool
knapsack(const Joint *j, const Item *item, int n, double budget, bool *save)
{
	if (j->o->solver == SolveIlp)
		return exact(j, item, n, budget, save);
	(j->o->solver == SolveGreedy ? greedy : dynamic)(j, item, n, budget, save);
	return true;
}
