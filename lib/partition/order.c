/* order.c - the backward part in the order in which autograd would run it.
 *
 * Copied as it stood, what is computed again would come first, all of it, and be alive until its
 * turn.  Here each node is put where it is first wanted, counted from the first reader of a
 * tangent on.
 */
#include <stdlib.h>
#include "partition/part.h"

typedef struct Order {
	Arena *a;
	Node **old;              /* in the old order */
	int   *at, n;            /* place in it, by node id */
	bool  *done;             /* by place */
	Ints   out, todo;
} Order;

static void
pull(void *arg, Use *u)
{
	Order *o = arg;
	int at = o->at[u->val->def->id];

	if (!o->done[at]) {
		o->done[at] = true;
		vec_push(o->a, &o->todo, at);
	}
}

static int
ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* A node and what it needs that is not placed yet. */
static void
place(Order *o, int at)
{
	int from = o->out.n;

	if (o->done[at])
		return;
	o->done[at] = true;
	vec_push(o->a, &o->todo, at);
	while (o->todo.n > 0) {
		at = o->todo.v[--o->todo.n];
		vec_push(o->a, &o->out, at);
		node_operands(o->old[at], pull, o);
	}
	qsort(o->out.v + from, (size_t)(o->out.n - from), sizeof *o->out.v, ascending);
}

static int
first(const Module *m, const Order *o)
{
	int best = o->n;

	for (int i = 0; i < m->in.n; i++)
		for (const Use *u = m->in.v[i].kind == InTangent && m->in.v[i].val ? m->in.v[i].val->uses : NULL; u; u = u->next)
			if (o->at[u->user->id] < best)
				best = o->at[u->user->id];
	return best;
}

static void
relink(Graph *g, const Order *o)
{
	Node *last = NULL;

	for (int i = 0; i < o->out.n; i++) {
		Node *n = o->old[o->out.v[i]];

		n->prev = last;
		*(last ? &last->next : &g->first) = n;
		last = n;
	}
	last->next = NULL;
	g->last = last;
}

bool
order_backward(Module *m)
{
	Graph *g = m->main;
	Order o = {.a = arena_new()};
	int start;

	o.old = NEWN(o.a, Node *, g->nnode + 1);
	o.at = NEWN(o.a, int, g->nnode + 1);
	o.done = NEWN(o.a, bool, g->nnode + 1);
	FOREACH_NODE(g, n) {
		o.at[n->id] = o.n;
		o.old[o.n++] = n;
	}
	start = first(m, &o);
	for (int i = 0; i < o.n; i++)
		if (o.old[i]->op->flags & OP(Leaf) ? o.old[i]->op != &opoutput : i < start && op_mutable(o.old[i]->op))
			place(&o, i);
	for (int i = start; i < o.n; i++)
		if (o.old[i] != g->last)
			place(&o, i);
	place(&o, o.at[g->last->id]);
	if (start < o.n && o.out.n > 0)
		relink(g, &o);
	arena_free(o.a);
	return true;
}
