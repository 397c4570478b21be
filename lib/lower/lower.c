/* lower.c - from a graph to a plan: the passes of this layer in their order. */
#include "lower/lower.h"

/* A function of lib/rt reads its operands row by row: an input that lies in memory
 * in another way is copied for it. */
static bool
rowmajor(Graph *g, Node *n)
{
	const OpDef *clone = op_find("aten.clone.default");
	Arg *arg = NEWN(g->arena, Arg, n->narg), copy[2];
	bool changed = false;

	for (int i = 0; i < n->narg; i++) {
		Val *v = arg_tensor(n, i);
		arg[i] = n->arg[i];
		if (!v)
			continue;
		arg[i] = arg_val(v);
		if (!v->type->stride || !(v->def->op->flags & OP(Leaf)))
			continue;
		copy[0] = arg_val(v);
		copy[1] = arg_none();
		Node *c = node_new(g, clone, copy, 2, 1, n, n->loc);
		if (!node_infer(c))
			return false;
		c->out[0].type = type_tensor(g->cx, v->type->dt, v->type->rank, v->type->dim);
		arg[i] = arg_val(&c->out[0]);
		changed = true;
	}
	if (changed)
		node_setargs(n, arg, n->narg);
	return true;
}

Plan *
lower_graph(Graph *g, const LowerOptions *opt)
{
	Lower *lo = NEW(ctx_arena(g->cx), Lower);
	Groups groups = {{0}};
	const Arg *out = g->last ? g->last->arg : NULL;
	int nerr = ctx_errors(g->cx);

	FOREACH_NODE(g, n)
		if (op_route(n->op) == RouteExtern && !rowmajor(g, n))
			return NULL;
	lo->cx = g->cx;
	lo->g = g;
	lo->a = ctx_arena(g->cx);
	lo->opt = *opt;
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
