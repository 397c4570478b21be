/* lower.c - from a graph to a plan: the passes of this layer in their order. */
#include "ir/hop.h"
#include "lower/planning.h"

/* A function of lib/rt reads its operands row by row: an input that lies in memory
 * in another way is copied for it. */
typedef struct Rowmajor { Graph *g; Node *n; bool changed, bad; } Rowmajor;

static Arg
rowmajor1(Rowmajor *r, const Arg *a)
{
	Val *v = a->kind == ArgVal ? a->use->val : NULL;
	Arg copy[2], res = *a;

	if (a->kind == ArgList) {
		res.list.v = NEWN(r->g->arena, Arg, a->list.n + 1);
		for (int k = 0; k < a->list.n; k++)
			res.list.v[k] = rowmajor1(r, &a->list.v[k]);
	}
	if (!v)
		return res;
	if (!v->type->stride || !(v->def->op->flags & OP(Leaf)))
		return arg_val(v);
	copy[0] = arg_val(v);
	copy[1] = arg_none();
	Node *c = node_new(r->g, op_find("aten.clone.default"), copy, 2, 1, r->n, r->n->loc);
	r->bad |= !node_infer(c);
	c->out[0].type = type_tensor(r->g->cx, v->type->dt, v->type->rank, v->type->dim);
	r->changed = true;
	return arg_val(&c->out[0]);
}

static bool
rowmajor(Graph *g, Node *n)
{
	Rowmajor r = {.g = g, .n = n};
	Arg *arg = NEWN(g->arena, Arg, n->narg + 1);

	for (int i = 0; i < n->narg; i++)
		arg[i] = rowmajor1(&r, &n->arg[i]);
	if (r.changed)
		node_setargs(n, arg, n->narg);
	return !r.bad;
}

Plan *
lower_graph(Graph *g, const LowerOptions *opt)
{
	Lower *lo = NEW(ctx_arena(g->cx), Lower);
	Groups groups = {{0}};
	const Arg *out = g->last ? g->last->arg : NULL;
	int nerr = ctx_errors(g->cx);

	FOREACH_NODE(g, n)
		if ((op_route(n->op) == RouteExtern || hop_kind(n->op)) && !rowmajor(g, n))
			return NULL;
	lo->cx = g->cx;
	lo->g = g;
	lo->a = ctx_arena(g->cx);
	lo->opt = *opt;
	if (!lo->opt.subplans) {
		lo->opt.subplans = NEW(lo->a, Subplans);
		lo->opt.subplans->mod = g->mod;
	}
	lo->plan = NEW(lo->a, Plan);
	lo->plan->mod = g->mod;
	lo->plan->name = g->name;
	lo->plan->maxwork = opt->threads > 1 ? opt->threads : 1;
	lo->isout = NEWN(lo->a, uint8_t, g->nval + 1);
	for (int i = 0; out && out->kind == ArgList && i < out->list.n; i++)
		if (out->list.v[i].kind == ArgVal)
			lo->isout[out->list.v[i].use->val->id] = 1;
	if (!fuse_roots(lo))
		return NULL;
	for (int i = 0; i < lo->root.n; i++)
		contract_find(lo, lo->root.v[i]);
	if (!plan_build(lo, &groups) || ctx_errors(g->cx) > nerr)
		return NULL;
	for (int i = 0; i < lo->plan->kernel.n; i++)
		if (!kernel_verify(g->cx, lo->plan->kernel.v[i]))
			bug(g->cx, NOLOC, "kernel %s is broken", lo->plan->kernel.v[i]->name);
	return lo->plan;
}
