/* flexgrad.c - the derivative of flex_attention as PyTorch has it (-fdecomp=torch).
 *
 * flex_attention stays, and flex_attention_backward gets the sub-graph of the score again, its
 * derivative and the mask.  Natively, and where a tensor that the score reads has a gradient, the
 * operator is differentiated as what it is made of.
 */
#include "grad/hopgrad.h"

enum { Indices = 5 };        /* parameters of a score: itself and four indices */

bool
hop_keepsflex(const Node *n, const bool *req)
{
	return n->graph->mod->decomp == DecompTorch && strcmp(n->op->name, "higher_order.flex_attention") == 0 &&
	       !hop_wants(node_arg(n, "score_mod_other_buffers"), req) && !hop_wants(node_arg(n, "mask_mod_other_buffers"), req);
}

static Graph *
copied(Hop *p, Graph *g, const char *stem)
{
	Graph *c = graph_clone(g);

	c->name = hop_fresh(p->m, stem);
	hop_adopt(p->m, c);
	return c;
}

/* Arguments as they are, sub-graphs as copies. */
static Arg
again(Hop *p, const Arg *a, const char *stem)
{
	Arg r = *a;

	if (a->kind == ArgVal)
		return arg_val(a->use->val);
	if (a->kind == ArgGraph)
		r.graph = copied(p, a->graph, stem);
	if (a->kind != ArgList)
		return r;
	r.list.v = NEWN(p->a, Arg, a->list.n + 1);
	for (int k = 0; k < a->list.n; k++)
		r.list.v[k] = again(p, &a->list.v[k], stem);
	return r;
}

/* score, indices, gradient, buffers; gives the gradient of the score, and none of the others. */
static Graph *
jointgraph(Hop *p, Graph *score)
{
	Val *v[MaxHopOperands], *to[MaxHopOperands];
	int n = hop_params(score, v, MaxHopOperands);
	bool *wrt = NEWN(p->a, bool, n + 1), open = true;
	Arg *res = NEWN(p->a, Arg, n + 1), all;
	Graph *g;

	if (n < Indices || n >= MaxHopOperands)
		return NULL;
	wrt[0] = true;
	if (!(g = joint_body(p->m, score, wrt, &open, false, hop_fresh(p->m, "joint_graph"))))
		return NULL;
	hop_params(g, v, MaxHopOperands);
	for (int k = 0; k <= n; k++)
		to[k] = k < Indices ? v[k] : k == Indices ? v[n] : v[k - 1];
	hop_reorder(g, to, n + 1);
	for (int k = 0; k < n; k++)
		res[k] = k == 0 ? arg_val(hop_results(g).v[0].use->val) : arg_none();
	all = arg_list(p->a, res, n);
	node_setargs(g->last, &all, 1);
	return g;
}

/* What backward reads of a result: PyTorch detaches it where it is saved and where it is read. */
static Val *
saved(Hop *p, Val *v)
{
	Node *n = hop_add(p->g, "aten.alias.default", (Arg[]){arg_val(v)}, 1, p->n->next);

	return n ? hop_make1(p, "aten.alias.default", (Arg[]){arg_val(&n->out[0])}, 1) : NULL;
}

bool
hop_flexgrad(Hop *p)
{
	static const char *const same[] = {"block_mask", "scale", "kernel_options", "score_mod_other_buffers", "mask_mod_other_buffers"};
	Graph *score = node_arg(p->n, "score_mod")->graph, *joint = jointgraph(p, score);
	Val *const *grad = p->h->out, *out, *lse;
	Arg arg[14];
	Node *n;

	if (p->n->nout > 2 && grad[2]) {
		error(p->cx, p->n->loc, "flex_attention: the largest scores have no derivative");
		return false;
	}
	if (!joint || p->n->nout < 2 || !(out = saved(p, &p->n->out[0])) || !(lse = saved(p, &p->n->out[1])))
		return false;
	for (int k = 0; k < 3; k++)
		arg[k] = arg_val(p->n->arg[k].use->val);
	arg[3] = arg_val(out);
	arg[4] = arg_val(lse);
	arg[5] = grad[0] ? arg_val(grad[0]) : arg_none();
	arg[6] = grad[1] ? arg_val(grad[1]) : arg_none();
	arg[7] = (Arg){.kind = ArgGraph, .graph = copied(p, score, "fw_graph")};
	arg[8] = (Arg){.kind = ArgGraph, .graph = joint};
	for (int k = 0; k < COUNT(same); k++)
		arg[9 + k] = again(p, node_arg(p->n, same[k]), "mask_graph");
	if (!(n = hop_make(p, "higher_order.flex_attention_backward", arg, 14, 3)))
		return false;
	for (int k = 0; k < 3; k++)
		if (p->h->req[p->n->arg[k].use->val->id])
			hop_give(p, &p->n->arg[k], &n->out[k]);
	return true;
}
