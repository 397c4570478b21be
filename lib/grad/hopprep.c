/* hopprep.c - before differentiation: loops keep what is carried into each round.
 *
 * A scan returns it as further rows, a while loop becomes while_loop_keep.  An associative scan
 * becomes a scan that starts with its first row.
 */
#include "grad/hopgrad.h"
#include "ir/pass/pass.h"

/* In PyTorch's graphs a body returns a copy of what it is given. */
static Val *
returnable(Graph *g, Val *param)
{
	Node *n = g->mod->decomp == DecompTorch ? node_new(g, op_find("aten.clone.default"), (Arg[]){arg_val(param), arg_none()}, 2, 1, g->last, NOLOC) : NULL;

	return n && node_infer(n) ? &n->out[0] : param;
}

/* A copy of a body that returns also the first n of its parameters, or of its results. */
static Graph *
returning(Module *m, Graph *g, int n, bool params, const char *suffix)
{
	Graph *c = graph_clone(g);
	Val *v[MaxHopOperands];
	HopList res = hop_results(c);
	Args all = {0};

	c->name = hop_fresh(m, arena_printf(c->arena, "%s_%s", g->name, suffix));
	hop_adopt(m, c);
	hop_params(c, v, MaxHopOperands);
	for (int k = 0; k < res.n; k++)
		vec_push(c->arena, &all, res.v[k].kind == ArgVal ? arg_val(res.v[k].use->val) : res.v[k]);
	for (int k = 0; k < n; k++)
		vec_push(c->arena, &all, params ? arg_val(returnable(c, v[k])) : all.v[k]);
	Arg one = arg_list(c->arena, all.v, all.n);
	node_setargs(c->last, &one, 1);
	return c;
}

/* with, which has more results, stands for n from now on. */
static bool
takesplace(Node *with, Node *n)
{
	node_inherit(with, n);
	if (!node_infer(with))
		return false;
	for (int k = 0; k < n->nout; k++)
		val_replace(&n->out[k], &with->out[k]);
	node_delete(n);
	return true;
}

static bool
keepcarry(Node *n)
{
	Graph *g[MaxHopGraphs], *graph = n->graph;
	Arg *arg = NEWN(graph->arena, Arg, n->narg);
	int nc = hop_carried(n).n;
	Node *with;

	if (hop_graphs(n, g) != 1)
		return false;
	memcpy(arg, n->arg, sizeof *arg * n->narg);
	arg[0] = (Arg){.kind = ArgGraph, .graph = returning(graph->mod, g[0], nc, true, "keep")};
	with = node_new(graph, n->op, arg, n->narg, hop_results(arg[0].graph).n, n, n->loc);
	return takesplace(with, n);
}

static bool
isparam(const Val *v, const Val *param)
{
	return v == param || (strcmp(v->def->op->name, "aten.clone.default") == 0 && v->def->arg[0].use->val == param);
}

static bool
kept(const Node *n)
{
	Graph *g[MaxHopGraphs];
	int nc = hop_carried(n).n;
	HopList res;
	Val *v[MaxHopOperands];

	if (hop_graphs(n, g) != 1)
		return true;
	res = hop_results(g[0]);
	if (n->nout != res.n || res.n < 2 * nc || hop_params(g[0], v, MaxHopOperands) < nc)
		return false;
	for (int k = 0; k < nc; k++)
		if (res.v[res.n - nc + k].kind != ArgVal || !isparam(res.v[res.n - nc + k].use->val, v[k]))
			return false;
	return true;
}

/* Rows that were kept and that nobody reads are not made. */
static bool
prune(Node *n)
{
	Graph *g[MaxHopGraphs];
	HopList res;
	Args all = {0};
	int nc = hop_carried(n).n, at = 0;
	Node *with;

	if (!kept(n) || hop_graphs(n, g) != 1)
		return true;
	res = hop_results(g[0]);
	for (int k = 0; k < res.n; k++)
		if (k < res.n - nc || n->out[k].uses)
			vec_push(g[0]->arena, &all, res.v[k].kind == ArgVal ? arg_val(res.v[k].use->val) : res.v[k]);
	if (all.n == res.n)
		return true;
	with = node_new(n->graph, n->op, n->arg, n->narg, all.n, n, n->loc);
	node_inherit(with, n);
	for (int k = 0; k < res.n; k++)
		if (k < res.n - nc || n->out[k].uses) {
			with->out[at].type = n->out[k].type;
			val_replace(&n->out[k], &with->out[at++]);
		}
	Arg one = arg_list(g[0]->arena, all.v, all.n);
	node_setargs(g[0]->last, &one, 1);
	node_delete(n);
	return pass_dce(g[0]);
}

static bool
keepwhile(Node *n)
{
	HopList init = hop_carried(n);
	Graph *g = n->graph;

	for (int k = 0; k < init.n; k++)
		if (init.v[k].kind != ArgVal) {
			error(g->cx, n->loc, "%s: carried value %d is no tensor: it has no derivative then", n->op->name, k);
			return false;
		}
	Node *with = node_new(g, op_find("higher_order.while_loop_keep"), n->arg, n->narg, 2 * hop_carried(n).n, n, n->loc);

	return takesplace(with, n);
}

/* PyTorch has copies of views in the bodies of scans that have derivatives. */
static bool
copyviews(Graph *g)
{
	for (Node *n = g->first, *next; n; n = next) {
		Arg view, like = arg_none();
		next = n->next;
		if (!(n->op->flags & OP(View)) || n->nout != 1)
			continue;
		view = arg_val(&n->out[0]);
		Node *c = node_new(g, op_find("aten.clone.default"), (Arg[]){view, like}, 2, 1, next, n->loc);
		if (!node_infer(c))
			return false;
		node_inherit(c, n);
		val_replace(&n->out[0], &c->out[0]);
		node_setargs(c, (Arg[]){view, like}, 2);
	}
	return true;
}

bool
hop_scanform(Node *n)
{
	bool torch = n->graph->mod->decomp == DecompTorch && (n->backward || kept(n));
	Graph *g[MaxHopGraphs];

	if (hop_graphs(n, g) != 1 || !torch)
		return prune(n);
	return pass_decompose(g[0]) && copyviews(g[0]) && prune(n);
}

/* scan(f, first rows, other rows), the first rows in front of its results. */
static bool
asscan(Node *n)
{
	Graph *g = n->graph, *body[MaxHopGraphs];
	HopList xs = hop_rows(n), rest = hop_rest(n);
	Ctx *cx = g->cx;
	Arg zero = arg_int(cx, 0), arg[5];
	Args init = {0}, rows = {0}, others = {0};
	Node *first, *tail, *all;

	if (hop_graphs(n, body) != 1)
		return false;
	for (int k = 0; k < xs.n; k++) {
		Arg x = arg_val(xs.v[k].use->val);
		first = hop_add(g, "aten.select.int", (Arg[]){x, zero, zero}, 3, n);
		tail = hop_add(g, "aten.slice.Tensor", (Arg[]){x, zero, arg_int(cx, 1)}, 3, n);
		if (!first || !tail)
			return false;
		vec_push(g->arena, &init, arg_val(&first->out[0]));
		vec_push(g->arena, &rows, arg_val(&tail->out[0]));
	}
	for (int k = 0; k < rest.n; k++)
		vec_push(g->arena, &others, rest.v[k].kind == ArgVal ? arg_val(rest.v[k].use->val) : rest.v[k]);
	arg[0] = (Arg){.kind = ArgGraph, .graph = returning(g->mod, body[0], xs.n, false, "scan")};
	arg[1] = arg_list(g->arena, init.v, init.n);
	arg[2] = arg_list(g->arena, rows.v, rows.n);
	arg[3] = arg_list(g->arena, others.v, others.n);
	arg[4] = arg_bool(false);
	Node *scan = node_new(g, op_find("higher_order.scan"), arg, 5, 2 * xs.n, n, n->loc);
	node_inherit(scan, n);
	if (!node_infer(scan))
		return false;
	for (int k = 0; k < n->nout; k++) {
		first = hop_add(g, "aten.unsqueeze.default", (Arg[]){arg_val(init.v[k].use->val), zero}, 2, n);
		if (!first)
			return false;
		Arg both = arg_list(g->arena, (Arg[]){arg_val(&first->out[0]), arg_val(&scan->out[xs.n + k])}, 2);
		if (!(all = hop_add(g, "aten.cat.default", &both, 1, n)))
			return false;
		val_replace(&n->out[k], &all->out[0]);
	}
	node_delete(n);
	return true;
}

bool
hop_prepare(Graph *g, const bool *req, bool *changed)
{
	for (Node *n = g->first, *next; n; n = next) {
		enum hopkind kind = hop_kind(n->op);
		bool any = false;
		next = n->next;
		for (int k = 0; kind && k < n->narg; k++)
			any = any || hop_wants(&n->arg[k], req);
		if (!any || n->region == GradOff)
			continue;
		if (kind == HopScan && !kept(n)) {
			if (!keepcarry(n))
				return false;
			*changed = true;
		}
		if (kind == HopWhile) {
			if (!keepwhile(n))
				return false;
			*changed = true;
		}
		if (kind == HopAssociative) {
			if (!asscan(n))
				return false;
			*changed = true;
		}
	}
	return true;
}
