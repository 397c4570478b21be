/* remat.c - checkpointed regions in a graph that stays one.
 *
 * A function that computes a loss and its gradients is not cut, but what the program marked to be
 * computed again is: the nodes are copied to where backward first wants them, and the values of
 * forward end with forward.
 */
#include <stdlib.h>
#include "partition/part.h"

typedef struct Remat {
	Graph *g;
	Arena *a;
	Node **copy;             /* by node id: what stands for it in backward */
	Node **old;              /* in order */
	int   *at;               /* place in it, by node id */
	bool  *seen;             /* by place */
	Ints   todo, deps;
} Remat;

static bool
again(const Node *n)
{
	return !n->backward && !(n->op->flags & OP(Leaf)) && (n->recompute == PreferRecompute || n->recompute == MustRecompute);
}

static void
want(void *arg, Use *u)
{
	Remat *r = arg;
	const Node *d = u->val->def;

	if (!again(d) || r->copy[d->id] || r->seen[r->at[d->id]])
		return;
	r->seen[r->at[d->id]] = true;
	vec_push(r->a, &r->todo, r->at[d->id]);
}

static Arg
mapped(const Remat *r, const Arg *a)
{
	Arg b = *a;

	if (a->kind == ArgVal) {
		const Val *v = a->use->val;
		Node *c = again(v->def) ? r->copy[v->def->id] : NULL;

		b = arg_val(c ? &c->out[v->out] : a->use->val);
	} else if (a->kind == ArgList || a->kind == ArgSlice || a->kind == ArgComplex) {
		b.list.v = NEWN(r->a, Arg, a->list.n + 1);
		for (int i = 0; i < a->list.n; i++)
			b.list.v[i] = mapped(r, &a->list.v[i]);
	}
	return b;
}

static Arg *
arguments(const Remat *r, const Node *n)
{
	Arg *arg = NEWN(r->a, Arg, n->narg + 1);

	for (int i = 0; i < n->narg; i++)
		arg[i] = mapped(r, &n->arg[i]);
	return arg;
}

static int
ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Before n: copies of what it reads that is computed again, and of what these read. */
static void
renew(Remat *r, Node *n)
{
	r->deps.n = 0;
	node_operands(n, want, r);
	while (r->todo.n > 0) {
		int at = r->todo.v[--r->todo.n];

		vec_push(r->a, &r->deps, at);
		node_operands(r->old[at], want, r);
	}
	if (r->deps.n)
		qsort(r->deps.v, (size_t)r->deps.n, sizeof *r->deps.v, ascending);
	for (int i = 0; i < r->deps.n; i++) {
		Node *d = r->old[r->deps.v[i]], *c;

		if (op_draws(d))
			d->stream = node_stream(d);
		c = node_new(r->g, d->op, arguments(r, d), d->narg, d->nout, n, d->loc);
		node_inherit(c, d);
		c->annot = d->annot;
		c->backward = true;
		c->origin = d->name;
		for (int k = 0; k < d->nout; k++)
			c->out[k].type = d->out[k].type;
		r->copy[d->id] = c;
	}
}

bool
remat(Module *m)
{
	Graph *g = m->main;
	Remat r = {.g = g, .a = arena_new()};
	int n = 0;

	if (!tidy_tags(m, true)) {
		arena_free(r.a);
		return false;
	}
	r.copy = NEWN(r.a, Node *, g->nnode + 1);
	r.old = NEWN(r.a, Node *, g->nnode + 1);
	r.at = NEWN(r.a, int, g->nnode + 1);
	r.seen = NEWN(r.a, bool, g->nnode + 1);
	FOREACH_NODE(g, c) {
		r.at[c->id] = n;
		r.old[n++] = c;
	}
	for (int i = 0; i < n; i++)
		if (r.old[i]->backward) {
			renew(&r, r.old[i]);
			node_setargs(r.old[i], arguments(&r, r.old[i]), r.old[i]->narg);
		}
	arena_free(r.a);
	return tidy(m, false);
}
