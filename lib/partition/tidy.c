/* tidy.c - the joint graph before it is cut.
 *
 * Equal nodes are merged, unless one is needed by forward only and the other by backward too:
 * merged they might be saved where each alone would not.  What shares memory with a result
 * stays: two results that are equal are still two tensors.
 *
 * Tags of activation checkpointing: what one region hands to the next is saved.
 */
#include "partition/part.h"

/* ---- dead nodes ------------------------------------------------------------------ */

static bool
dead(const Node *n)
{
	if (n->op->flags & (OP(Leaf) | OP(Effect) | OP(Dynamic)) || op_mutable(n->op))
		return false;
	for (int i = 0; i < n->nout; i++)
		if (n->out[i].uses || (n->out[i].type && n->out[i].type->kind == TySym))
			return false;
	return true;
}

static void
bury(Graph *g)
{
	for (Node *n = g->last, *prev; n; n = prev) {
		prev = n->prev;
		if (dead(n))
			node_delete(n);
	}
}

/* ---- equal nodes --------------------------------------------------------------------- */

/* PyTorch remembers one node for each hash of its arguments, and -1 and -2 have the same hash in Python.
 * Of calls that differ in nothing else only the first is ever found again: unsqueeze(x, -1) is made twice
 * if unsqueeze(x, -2) came before it.  Under -fdecomp=torch the cut depends on that. */
enum likeness { Different, Collide, Equal };

typedef struct Merge { Joint *j; bool *backward, *output, torch; } Merge;

static bool
last(const Arg *a)
{
	return a->kind == ArgInt && (sym_is(a->i, -1) || sym_is(a->i, -2));
}

static enum likeness
arguments(const Merge *m, const Arg *a, const Arg *b, int n)
{
	enum likeness all = Equal;

	for (int i = 0; i < n; i++) {
		enum likeness one = arg_same(&a[i], &b[i]) ? Equal : Different;

		if (one == Equal)
			continue;
		if (m->torch && last(&a[i]) && last(&b[i]))
			one = Collide;
		else if (a[i].kind == ArgList && b[i].kind == ArgList && a[i].list.n == b[i].list.n)
			one = arguments(m, a[i].list.v, b[i].list.v, a[i].list.n);
		all = one < all ? one : all;
	}
	return all;
}

static enum likeness
likeness(const Merge *m, const Node *a, const Node *b)
{
	enum likeness same;

	if (a->op != b->op || a->nout != b->nout || m->backward[a->id] != m->backward[b->id])
		return Different;
	same = arguments(m, a->arg, b->arg, a->narg);
	for (int i = 0; i < a->nout && same == Equal; i++)
		if (a->out[i].type != b->out[i].type)
			same = Different;
	return same;
}

static uint64_t
hash(const Arg *a, int n)
{
	uint64_t h = (uint64_t)n;

	for (int i = 0; i < n; i++)
		h = hash_mix(h, last(&a[i]) ? 1 : a[i].kind == ArgList ? hash(a[i].list.v, a[i].list.n) : arg_hash(&a[i]));
	return h;
}

/* Calls that make their tensors without values are never merged: it is not worth it. */
static bool
mergeable(const Merge *m, const Node *n)
{
	if (n->nout == 0 || n->op->flags & (OP(Leaf) | OP(Effect) | OP(Random) | OP(Dynamic) | OP(Hop)) ||
	    op_mutable(n->op) || op_is(n->op, "aten.empty"))
		return false;
	for (int i = 0; i < n->nout; i++) {
		int x = m->j->of[n->out[i].id];

		if (x >= 0 && m->j->v[x].root >= 0 && m->output[m->j->v[x].root])
			return false;
	}
	return true;
}

static void
markoutput(void *arg, Use *u)
{
	Merge *m = arg;
	int x = m->j->of[u->val->id];

	if (x >= 0 && m->j->v[x].root >= 0)
		m->output[m->j->v[x].root] = true;
}

static void
markneeded(void *arg, Use *u)
{
	((bool *)arg)[u->val->def->id] = true;
}

/* What the gradients need, by node id. */
static void
dependencies(const Module *mod, bool *need)
{
	Graph *g = mod->main;
	const Arg *list = &g->last->arg[0];

	for (int i = 0; i < list->list.n; i++)
		if (res_isgrad(&mod->out.v[i]) && list->list.v[i].kind == ArgVal)
			need[list->list.v[i].use->val->def->id] = true;
	for (Node *n = g->last->prev; n; n = n->prev)
		if (need[n->id])
			node_operands(n, markneeded, need);
}

static void
merge(Module *mod, Arena *a)
{
	Graph *g = mod->main;
	size_t cap = 64, h;
	Node **slot;
	Merge m = {.j = joint_new(mod, a, NULL), .backward = NEWN(a, bool, g->nnode), .torch = mod->decomp == DecompTorch};

	m.output = NEWN(a, bool, m.j->n + 1);
	node_operands(g->last, markoutput, &m);
	dependencies(mod, m.backward);
	while (cap < 2 * (size_t)g->nnode + 1)
		cap *= 2;
	slot = NEWN(a, Node *, cap);
	for (Node *n = g->first, *next; n; n = next) {
		next = n->next;
		if (!mergeable(&m, n))
			continue;
		h = hash_mix((uint64_t)n->op->code, hash(n->arg, n->narg));
		for (h &= cap - 1; slot[h] && likeness(&m, slot[h], n) == Different; h = (h + 1) & (cap - 1))
			;
		if (slot[h] == NULL)
			slot[h] = n;
		if (slot[h] == n || likeness(&m, slot[h], n) == Collide)
			continue;
		for (int i = 0; i < n->nout; i++)
			val_replace(&n->out[i], &slot[h]->out[i]);
		node_delete(n);
	}
}

/* Dead nodes go; for the minimum cut equal ones are merged. */
bool
tidy(Module *m, bool mincut)
{
	Arena *a;

	bury(m->main);
	if (!mincut)
		return true;
	a = arena_new();
	merge(m, a);
	arena_free(a);
	return true;
}

/* ---- tags ------------------------------------------------------------------------------ */

static bool
recomputed(const Node *n)
{
	return !(n->op->flags & OP(Leaf)) && (n->recompute == PreferRecompute || n->recompute == MustRecompute);
}

/* Is it read inside a region: inside a later one, if n is itself in one? */
static bool
handed(const Node *n)
{
	for (int i = 0; i < n->nout; i++)
		for (const Use *u = n->out[i].uses; u; u = u->next)
			if (recomputed(u->user) &&
			    (!recomputed(n) || (n->acgraph && u->user->acgraph > n->acgraph)))
				return true;
	return false;
}

/* Between two consecutive regions the value is saved; the default partitioner saves what goes into
 * a region as well.  What has an effect is never done twice. */
bool
tidy_tags(Module *m, bool isdefault)
{
	Ctx *cx = m->cx;

	FOREACH_NODE(m->main, n) {
		if (n->op == &opoutput)
			continue;
		if ((recomputed(n) || (isdefault && !n->acgraph)) && handed(n))
			n->recompute = MustSave;
		if (!(n->op->flags & OP(Effect)) || n->backward)
			continue;
		if (n->recompute == MustRecompute) {
			error(cx, n->loc, "%s: has an effect, so it must not be recomputed", n->op->name);
			return false;
		}
		n->recompute = MustSave;
	}
	return true;
}
