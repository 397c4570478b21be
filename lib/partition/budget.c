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
	              .material = !o->nomaterial && !o->aggressive, .allowlist = !o->noallowlist && !o->aggressive,
	              .reduction = !o->noreduction, .dist = o->maxdist};
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

/* ---- between 0 and 1 ------------------------------------------------------------------- */

typedef struct Budget {
	Joint *j;
	Bans   hard;             /* the fewest bans */
	Cut    plain, fewer, fewest;
	double least, most;
	Item  *item; int nitem;
} Budget;

static int
bigger(const void *a, const void *b)
{
	const Item *x = a, *y = b;

	return x->memory != y->memory ? (x->memory < y->memory) - (x->memory > y->memory) : x->at - y->at;
}

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
	if (!knapsack(b->j, b->item, b->nitem, budget, save))
		return false;
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
onlyinputs(Joint *j, Cut *c)
{
	cut_empty(j, c);
	inputs(j, &c->saved);
}

static bool
atmost(Joint *j, Budget *b, int64_t limit, Cut *c)
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
		else if (i == steps + 3)
			onlyinputs(j, &t);
		k = cut_bytes(j, &t.saved);
		w = cut_flops(j, &t.saved);
		if (k < least)
			least = k;
		if (k <= limit && w < work) {
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
	      (long long)least, (long long)limit);
	return false;
}

/* ---- a budget in the program --------------------------------------------------------------- */

/* Regions may say a budget (region_activation_memory_budget).  The cut is one: they must agree, and all
 * of the forward part must lie in them. */
static bool
regional(const Joint *j, double *budget)
{
	const Node *first = NULL, *without = NULL;
	int n = 0;

	for (int i = 0; i < j->n; i++) {
		const Fx *x = &j->v[i];
		const Node *d = x->node;

		if (d->budget > 0 && !first)
			first = d;
		if (d->budget > 0 && first && d->budget != first->budget) {
			error(j->cx, d->loc, "activation memory budgets %g and %g in one graph", (double)first->budget - 1, (double)d->budget - 1);
			note(j->cx, first->loc, "the other is here");
			return false;
		}
		if (d->budget <= 0 && x->fw && x->tuple < 0 && !(d->op->flags & (OP(Leaf) | OP(Sym)))) {
			without = without ? without : d;
			n++;
		}
	}
	if (first && without) {
		error(j->cx, without->loc, "%s lies in no region with an activation memory budget, others do: the whole forward part must (%d %s not)",
		      without->name ? without->name : without->op->name, n, n == 1 ? "operator does" : "operators do");
		note(j->cx, first->loc, "a budget of %g is asked for here", (double)first->budget - 1);
		return false;
	}
	if (first)
		*budget = (double)first->budget - 1;
	if (*budget >= 0 && *budget <= 1)
		return true;
	error(j->cx, first ? first->loc : NOLOC, "an activation memory budget is 0 to 1, not %g", *budget);
	return false;
}

/* ---- the whole --------------------------------------------------------------------------------- */

/* An input that is written after the forward part cannot be all that is saved. */
static bool
epilogue(const Joint *j)
{
	for (int i = 0; i < j->n; i++)
		if (j->v[i].epilogue)
			return true;
	return false;
}

static bool
at(Budget *b, double budget, Cut *c)
{
	if (budget == 0 && !epilogue(b->j))
		onlyinputs(b->j, c);
	else if (budget == 1)
		*c = b->plain;
	else
		return fit(b, budget, c);
	return true;
}

/* Budgets from 0 to 1: what is handed over, and the work that backward repeats. */
static bool
pareto(Budget *b, Text *t)
{
	enum { Steps = 20 };

	text_add(t, "budget,saved_bytes,recompute_flops\n");
	for (int i = 0; i <= Steps; i++) {
		Cut c;

		if (!at(b, (double)i / Steps, &c))
			return false;
		text_add(t, "%.2f,%lld,%.0f\n", (double)i / Steps, (long long)cut_bytes(b->j, &c.saved), cut_flops(b->j, &c.saved));
	}
	return true;
}

bool
choose(Joint *j, Cut *c)
{
	Budget b = {.j = j};
	Bans all = bans(j->o);
	double budget = j->o->budget;

	if (!regional(j, &budget))
		return false;
	if (budget == 1 && j->o->maxbytes <= 0 && !j->o->pareto)
		return mincut(j, &all, NULL, c);
	if (budget == 0 && j->o->maxbytes <= 0 && !j->o->pareto && !epilogue(j)) {
		onlyinputs(j, c);
		return true;
	}
	if (!prepare(&b))
		return false;
	if (j->o->pareto && !pareto(&b, j->o->pareto))
		return false;
	return j->o->maxbytes > 0 ? atmost(j, &b, j->o->maxbytes, c) : at(&b, budget, c);
}
