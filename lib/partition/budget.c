/* budget.c - which cut fits the memory that forward may keep.
 *
 * A budget is a part of what the default cut keeps, above what the inputs take: 1 is that cut,
 * 0 saves the inputs alone.  Between, as in PyTorch: fewer bans, if that is enough; else a
 * knapsack decides which of the expensive values are worth their bytes (their work is the
 * value), and the others may be recomputed.
 *
 * A limit in bytes picks from a fixed family of cuts the one of least work that fits, so more
 * bytes never mean more work.
 */
#include <math.h>
#include <stdlib.h>
#include "partition/part.h"

static Bans
bans(const PartOptions *o)
{
	return (Bans){.far = !o->nofar && !o->aggressive, .chains = !o->nolong && !o->aggressive,
	              .material = !o->nomaterial && !o->aggressive, .allowlist = !o->aggressive,
	              .reduction = !o->noreduction};
}

static void
inputs(const Joint *j, Ints *v)
{
	v->n = 0;
	for (int i = 0; i < j->n; i++)
		if (j->v[i].primal)
			vec_push(j->a, v, i);
}

static double
total(const Joint *j, const Ints *v)
{
	double sum = 0;

	for (int i = 0; i < v->n; i++)
		sum += (double)j->v[v->v[i]].bytes;
	return sum / 1e9;
}

/* ---- the knapsack -------------------------------------------------------------------- */

typedef struct Item { int fx, at; double memory; double work; } Item;

static int
bigger(const void *a, const void *b)
{
	const Item *x = a, *y = b;

	return x->memory != y->memory ? (x->memory < y->memory) - (x->memory > y->memory) : x->at - y->at;
}

/* Items by dynamic programming over memory in units of 1/10000; save[i]: kept.  One bit for each
 * entry of the table is all that going back needs. */
static void
knapsack(const Joint *j, const Item *item, int n, double budget, bool *save)
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

/* ---- between 0 and 1 ------------------------------------------------------------------- */

typedef struct Budget {
	Joint *j;
	Bans   hard;             /* the fewest bans */
	Cut    plain, fewer, fewest;
	double least, most;
	Item  *item; int nitem;
} Budget;

static double
ratio(const Budget *b, const Cut *c)
{
	return (total(b->j, &c->saved) - b->least) / (b->most - b->least);
}

/* Expensive values that could be computed again, the largest first. */
static void
items(Budget *b)
{
	Joint *j = b->j;
	const Ints *v = &b->fewest.banned;
	bool *inputmem = NEWN(j->a, bool, j->n + 1), nomem = false;

	for (int i = 0; i < j->n; i++)
		if (j->v[i].primal && j->v[i].root >= 0)
			inputmem[j->v[i].root] = true;
		else if (j->v[i].primal)
			nomem = true;
	b->item = NEWN(j->a, Item, v->n + 1);
	for (int i = 0; i < v->n; i++) {
		const Fx *x = &j->v[v->v[i]];

		if (x->dist >= Far || x->node->recompute == MustSave || (x->root >= 0 ? inputmem[x->root] : nomem))
			continue;
		b->item[b->nitem] = (Item){v->v[i], b->nitem, (double)x->bytes, node_flops(x->node)};
		b->nitem++;
	}
	qsort(b->item, (size_t)b->nitem, sizeof *b->item, bigger);
	for (int i = 0; i < b->nitem; i++)
		b->item[i].memory = b->item[i].memory / 1e9 / (b->most - b->least);
}

static bool
prepare(Budget *b)
{
	Bans fewer = bans(b->j->o);
	Ints in = {0};

	if (!mincut(b->j, &fewer, NULL, &b->plain))
		return false;
	inputs(b->j, &in);
	b->least = total(b->j, &in);
	b->most = total(b->j, &b->plain.saved);
	if (b->most <= b->least)
		return true;
	fewer.far = fewer.chains = fewer.material = false;
	b->hard = fewer;
	b->hard.allowlist = false;
	if (!mincut(b->j, &fewer, NULL, &b->fewer) || !mincut(b->j, &b->hard, NULL, &b->fewest))
		return false;
	items(b);
	return true;
}

static bool
filled(Budget *b, double budget, Cut *c)
{
	bool *save = NEWN(b->j->a, bool, b->nitem + 1), *dontban = NEWN(b->j->a, bool, b->j->n + 1);

	if (b->nitem == 0) {
		*c = b->fewest;
		return true;
	}
	knapsack(b->j, b->item, b->nitem, budget, save);
	for (int i = 0; i < b->nitem; i++)
		dontban[b->item[i].fx] = !save[i];
	return mincut(b->j, &b->hard, dontban, c);
}

static bool
fit(Budget *b, double budget, Cut *c)
{
	if (b->most <= b->least)
		*c = b->plain;
	else if (ratio(b, &b->fewer) < budget)
		*c = b->fewer;
	else if (ratio(b, &b->fewest) < budget)
		*c = b->fewest;
	else
		return filled(b, budget, c);
	return true;
}

/* ---- a limit in bytes -------------------------------------------------------------------- */

static void
need(void *arg, int i)
{
	((bool *)arg)[i] = true;
}

/* Work that backward repeats when these are saved. */
static double
repeated(const Joint *j, const Ints *saved)
{
	bool *needed = NEWN(j->a, bool, j->n + 1), *have = NEWN(j->a, bool, j->n + 1);
	double work = 0;

	for (int i = 0; i < saved->n; i++)
		have[saved->v[i]] = true;
	for (int i = j->n - 1; i >= 0; i--) {
		const Fx *x = &j->v[i];

		if (have[i] || !x->live || !(needed[i] || x->bw))
			continue;
		if (x->tuple >= 0) {
			needed[x->tuple] = true;
			continue;
		}
		node_reads(j, x->node, need, needed);
		if (x->fw && !x->primal)
			work += node_flops(x->node);
	}
	return work;
}

/* What forward hands over: all that is not there already. */
static int64_t
handed(const Joint *j, const Ints *saved)
{
	int64_t k = 0;

	for (int i = 0; i < saved->n; i++)
		if (!j->v[saved->v[i]].stat)
			k += j->v[saved->v[i]].bytes;
	return k;
}

static bool
limited(Joint *j, Budget *b, Cut *c)
{
	int steps = j->n > 10000 ? 16 : 64;
	int64_t least = INT64_MAX;
	double work = INFINITY;
	Cut t = b->plain;

	for (int i = 0; i <= steps + 3; i++) {
		int64_t k;
		double w;

		if (i <= 2 || b->most <= b->least)
			t = i == 0 || b->most <= b->least ? b->plain : i == 1 ? b->fewer : b->fewest;
		else if (i < steps + 3 && !filled(b, (double)(steps + 2 - i) / steps, &t))
			return false;
		else if (i == steps + 3) {
			t.saved = (Ints){0};
			inputs(j, &t.saved);
		}
		k = handed(j, &t.saved);
		w = repeated(j, &t.saved);
		if (k < least)
			least = k;
		if (k <= j->o->maxbytes && w < work) {
			work = w;
			*c = t;
			c->saved = (Ints){0};
			for (int s = 0; s < t.saved.n; s++)
				vec_push(j->a, &c->saved, t.saved.v[s]);
		}
	}
	if (work < INFINITY)
		return true;
	error_limit(j->cx, NOLOC, "-factivation-budget: backward needs at least %lld bytes of what forward computes, %lld are allowed",
	      (long long)least, (long long)j->o->maxbytes);
	return false;
}

bool
choose(Joint *j, Cut *c)
{
	Budget b = {.j = j};
	Bans all = bans(j->o);
	bool epilogue = false;

	for (int i = 0; i < j->n; i++)
		epilogue |= j->v[i].epilogue;
	if (j->o->maxbytes > 0)
		return prepare(&b) && limited(j, &b, c);
	if (j->o->budget == 0 && !epilogue) {
		*c = (Cut){.why = NEWN(j->a, const char *, j->n + 1), .cannot = NEWN(j->a, const char *, j->n + 1),
		           .weight = NEWN(j->a, int64_t, j->n + 1)};
		inputs(j, &c->saved);
		return true;
	}
	if (j->o->budget == 1)
		return mincut(j, &all, NULL, c);
	return prepare(&b) && fit(&b, j->o->budget, c);
}
