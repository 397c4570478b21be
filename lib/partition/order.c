/* order.c - the backward part in the order in which autograd would run it.
 *
 * Copied as it stood, what is computed again would come first, all of it, and be alive until its
 * turn.  Here each node is put where it is first wanted, counted from the first reader of a
 * tangent on.  Of the two orders the one stays that holds less memory at its worst moment.
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

static void
tangent(void *arg, Use *u)
{
	const Node *d = u->val->def;

	if (d->tag && strcmp(d->tag, "tangent") == 0)
		*(bool *)arg = true;
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
first(const Order *o)
{
	for (int i = 0; i < o->n; i++) {
		bool reads = false;

		node_operands(o->old[i], tangent, &reads);
		if (reads)
			return i;
	}
	return o->n;
}

/* ---- memory ------------------------------------------------------------------- */

typedef struct Live { const Order *o; int *root, *last; int64_t *bytes; int at; } Live;

static void
use(void *arg, Use *u)
{
	Live *l = arg;

	l->last[l->root[u->val->id]] = l->at;
}

/* Whose memory a result is. */
static int
rootof(const Live *l, const Node *n, const Val *v)
{
	const Val *of = NULL;

	for (int i = 0; n->op->flags & (OP(View) | OP(Inplace)) && !of && i < n->narg; i++)
		of = arg_tensor(n, i);
	return of ? l->root[of->id] : (int)v->id;
}

/* Bytes of what is computed, at the worst moment, when nodes run in this order. */
static int64_t
peak(const Order *o, const Graph *g, const int *order, int n)
{
	Live l = {.o = o, .root = NEWN(o->a, int, g->nval + 1), .last = NEWN(o->a, int, g->nval + 1),
	          .bytes = NEWN(o->a, int64_t, g->nval + 1)};
	int64_t *freed = NEWN(o->a, int64_t, n + 1), now = 0, most = 0;

	for (l.at = 0; l.at < n; l.at++) {
		Node *c = o->old[order[l.at]];

		for (int i = 0; i < c->nout; i++) {
			const Type *t = c->out[i].type;
			int r = l.root[c->out[i].id] = rootof(&l, c, &c->out[i]);

			l.last[r] = l.at;
			if (r == (int)c->out[i].id && c->op != &opplaceholder && t && t->kind == TyTensor)
				l.bytes[r] = type_bytes(g->cx, t);
		}
		node_operands(c, use, &l);
	}
	for (uint32_t v = 0; v < g->nval; v++)
		freed[l.last[v]] += l.bytes[v];
	for (int i = 0; i < n; i++) {
		Node *c = o->old[order[i]];

		for (int k = 0; k < c->nout; k++)
			now += l.bytes[c->out[k].id];
		most = now > most ? now : most;
		now -= freed[i];
	}
	return most;
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

void
order_backward(Module *m, FILE *info)
{
	Graph *g = m->main;
	Order o = {.a = arena_new()};
	int start, *same;
	int64_t was, is;

	o.old = NEWN(o.a, Node *, g->nnode + 1);
	o.at = NEWN(o.a, int, g->nnode + 1);
	o.done = NEWN(o.a, bool, g->nnode + 1);
	same = NEWN(o.a, int, g->nnode + 1);
	FOREACH_NODE(g, n) {
		o.at[n->id] = same[o.n] = o.n;
		o.old[o.n++] = n;
	}
	start = first(&o);
	for (int i = 0; i < o.n; i++)
		if (o.old[i]->op->flags & OP(Leaf) ? o.old[i]->op != &opoutput : i < start && op_mutable(o.old[i]->op))
			place(&o, i);
	for (int i = start; i < o.n; i++)
		if (o.old[i] != g->last)
			place(&o, i);
	place(&o, o.at[g->last->id]);
	was = peak(&o, g, same, o.n);
	is = peak(&o, g, o.out.v, o.out.n);
	if (info)
		fprintf(info, "partition: backward computes at most %lld bytes at a time, %lld in the order of the joint graph\n",
		        (long long)(is < was ? is : was), (long long)was);
	if (start < o.n && is <= was)
		relink(g, &o);
	arena_free(o.a);
}
