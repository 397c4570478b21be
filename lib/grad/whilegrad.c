/* whilegrad.c - the derivative of while_loop as PyTorch makes it (-fdecomp=torch).
 *
 * Forward becomes while_loop_stack_output; its results are the last rows.  Backward is a while loop
 * over the rows in reverse, that carries the number of the round, the gradients of what was carried
 * and the sums for what all rounds share:
 *
 *     before = cat([init, rows[:-1]])                  what was carried into each round
 *     while i < len(before):
 *         grads, shared = derivative of body(before[len - 1 - i], shared operands, grads)
 *         i, sums = i + 1, sums + shared
 *
 * It inherits a defect: while_loop_stack_output has one row where no round ran, so that the
 * gradient is then that of one round.  Our own form (hopgrad.c) keeps what goes into each round.
 */
#include "grad/hopgrad.h"

typedef struct While {
	Hop *p;
	HopList init, rest;
	Flags wrt, open;             /* of the body's parameters, of its results */
	Flags sum;                   /* shared operands that PyTorch sums, be it zeros */
	Graph *d;                    /* the body's derivative, then the body of the loop */
	Graph *cond;
	Args args, others;           /* what the loop starts with, what all rounds share */
	Val *v[MaxHopOperands];      /* parameters of d: carried, shared, tangents */
} While;

/* The number of rows, read from the first of them as PyTorch's sub-graphs do. */
static bool
length(Graph *g, Val *rows, Node *before, const Sym **len)
{
	const Type *t = type_sym(g->cx, rows->type->dim[0]);
	const OpDef *op = op_find("aten.sym_size.int");
	Node *n = node_new(g, op, (Arg[]){arg_val(rows), arg_int(g->cx, 0)}, 2, 1, before, before->loc);

	n->out[0].type = t;
	*len = t->sym;
	return true;
}

/* Parameters of cond and body: round, gradients, sums, rows, shared. */
static Val *
param(Graph *g, const char *name, const Type *t)
{
	Node *n = node_placeholder(g, intern_str(g->cx, name), t, NOLOC);

	return &n->out[0];
}

static bool
condition(While *w)
{
	Graph *g = graph_new(w->p->m, hop_fresh(w->p->m, arena_printf(w->p->a, "%s_cond", w->d->name)), w->p->g);
	Val *v[MaxHopOperands], *mine[MaxHopOperands];
	int n = hop_params(w->d, v, MaxHopOperands), nrows = 1 + w->args.n - 1;
	const Sym *len;
	Node *end, *lt;

	for (int k = 0; k < n; k++)
		mine[k] = param(g, v[k]->name, v[k]->type);
	Arg none = arg_val(mine[0]);
	end = node_output(g, &none, w->p->n->loc);
	if (!length(g, mine[nrows], end, &len) ||
	    !(lt = hop_add(g, "aten.lt.Scalar", (Arg[]){arg_val(mine[0]), arg_sym(len)}, 2, end)))
		return false;
	Arg res = arg_val(&lt->out[0]), all = arg_list(g->arena, &res, 1);
	node_setargs(end, &all, 1);
	hop_adopt(w->p->m, g);
	w->cond = g;
	return true;
}

/* What was carried into the round is a row. */
static bool
rows(While *w, Val *round, Val *const *row)
{
	Ctx *cx = w->p->cx;
	Node *before = w->d->first, *n;
	const Sym *len, *at;

	while (before->op == &opplaceholder)
		before = before->next;
	if (!length(w->d, row[0], before, &len) ||
	    !(n = hop_add(w->d, "aten.sub.Tensor", (Arg[]){arg_sym(len), arg_val(round)}, 2, before)) ||
	    !(n = hop_add(w->d, "aten.sub.Tensor", (Arg[]){arg_val(&n->out[0]), arg_int(cx, 1)}, 2, before)))
		return false;
	n = node_new(w->d, op_find("aten._local_scalar_dense.default"), (Arg[]){arg_val(&n->out[0])}, 1, 1, before, before->loc);
	at = sym_fresh(cx, "u", 0, INT64_MAX);
	n->out[0].type = type_sym(cx, at);
	for (int k = 0; k < w->init.n; k++) {
		if (!w->v[k]->uses)
			continue;
		n = hop_add(w->d, "aten.select.int", (Arg[]){arg_val(row[k]), arg_int(cx, 0), arg_sym(at)}, 3, before);
		if (!n)
			return false;
		val_replace(w->v[k], &n->out[0]);
	}
	for (int k = 0; k < w->init.n; k++)
		node_delete(w->v[k]->def);
	return true;
}

/* The derivative of the body as the body of the loop. */
static bool
loopbody(While *w)
{
	int nc = w->init.n, nr = w->rest.n, base = nc + nr, np = hop_params(w->d, w->v, MaxHopOperands), at = 0, out = 0;
	HopList made = hop_results(w->d);
	Val *to[MaxHopOperands], *row[MaxHopOperands], *round;
	Node *end = w->d->last, *n;
	Args all = {0};
	Arg one;

	if (np + nc + nr + 1 > MaxHopOperands)
		return false;
	to[at++] = round = param(w->d, "round", type_tensor(w->p->cx, DtI64, 0, NULL));
	for (int k = base; k < np; k++)
		to[at++] = w->v[k];
	if (!(n = hop_add(w->d, "aten.add.Tensor", (Arg[]){arg_val(round), arg_int(w->p->cx, 1)}, 2, end)))
		return false;
	vec_push(w->p->a, &all, arg_val(&n->out[0]));
	for (int k = 0; k < base; k++) {
		Val *grad = w->wrt.v[k] ? made.v[out++].use->val : NULL;
		if (!grad && !(k >= nc && w->sum.v[k - nc]))
			continue;
		if (!grad && !(n = hop_add(w->d, "aten.zeros_like.default", (Arg[]){arg_val(w->v[k])}, 1, end)))
			return false;
		grad = grad ? grad : &n->out[0];
		if (k >= nc) {
			to[at++] = param(w->d, "sum", w->v[k]->type);
			if (!(n = hop_add(w->d, "aten.add.Tensor", (Arg[]){arg_val(grad), arg_val(to[at - 1])}, 2, end)))
				return false;
			grad = &n->out[0];
		}
		vec_push(w->p->a, &all, arg_val(grad));
	}
	for (int k = 0; k < nc; k++)
		to[at++] = row[k] = param(w->d, "rows", w->p->n->out[nc + k].type);
	for (int k = nc; k < base; k++)
		to[at++] = w->v[k];
	one = hop_list(w->p, &all);
	node_setargs(end, &one, 1);
	if (!rows(w, round, row))
		return false;
	hop_reorder(w->d, to, at);
	return true;
}

static bool
operands(While *w)
{
	Hop *p = w->p;
	const Arg contiguous = {.kind = ArgMemfmt, .mf = MemContiguous};
	Val *v;

	v = hop_make1with(p, "aten.full.default", (Arg[]){arg_list(p->a, NULL, 0), arg_int(p->cx, 0)}, 2, "dtype", arg_dtype(DtI64));
	if (!v)
		return false;
	vec_push(p->a, &w->args, arg_val(v));
	for (int k = 0; k < w->init.n; k++) {
		if (!w->open.v[k])
			continue;
		v = p->h->out[k] ? p->h->out[k] : hop_zeros(p, &p->n->out[k]);
		if (!v || !(v = hop_make1with(p, "aten.clone.default", (Arg[]){arg_val(v)}, 1, "memory_format", contiguous)))
			return false;
		vec_push(p->a, &w->args, arg_val(v));
	}
	for (int k = 0; k < w->rest.n; k++)
		if (w->sum.v[k]) {
			if (!(v = hop_zeros(p, w->rest.v[k].use->val)))
				return false;
			vec_push(p->a, &w->args, arg_val(v));
		}
	for (int k = 0; k < w->init.n; k++)
		vec_push(p->a, &w->others, arg_val(&p->n->out[w->init.n + k]));
	hop_append(p, &w->others, w->rest);
	return true;
}

bool
hop_whilegrad(Hop *p)
{
	While w = {.p = p, .init = hop_carried(p->n), .rest = hop_rest(p->n)};
	Graph *g[MaxHopGraphs];
	Arg arg[4];
	Node *n;
	int o = 1;

	if (hop_graphs(p->n, g) != 2)
		return false;
	for (int k = 0; k < w.init.n; k++) {
		vec_push(p->a, &w.wrt, hop_isfloat(&w.init.v[k]));
		vec_push(p->a, &w.open, hop_isfloat(&w.init.v[k]));
	}
	for (int k = 0; k < w.rest.n; k++)
		vec_push(p->a, &w.sum, hop_isfloat(&w.rest.v[k]));
	hop_flags(p, &w.wrt, w.rest);
	if (!operands(&w) || !(w.d = hop_derivative(p, g[1], &w.wrt, &w.open, false)) || !hop_unalias(w.d, false) || !loopbody(&w) || !condition(&w))
		return false;
	arg[0] = (Arg){.kind = ArgGraph, .graph = w.cond};
	arg[1] = (Arg){.kind = ArgGraph, .graph = w.d};
	arg[2] = hop_list(p, &w.args);
	arg[3] = hop_list(p, &w.others);
	if (!(n = hop_make(p, "higher_order.while_loop", arg, 4, w.args.n)))
		return false;
	for (int k = 0; k < w.init.n + w.rest.n; k++)
		if (k < w.init.n ? w.wrt.v[k] : w.sum.v[k - w.init.n]) {
			const Arg *operand = k < w.init.n ? &w.init.v[k] : &w.rest.v[k - w.init.n];
			if (w.wrt.v[k] && p->h->req[operand->use->val->id])
				hop_give(p, operand, &n->out[o]);
			o++;
		}
	return true;
}

/* ---- the loop forward ---------------------------------------------------------------------- */

/* cat([init, rows[:-1]]) in front of its reader, the loop backward. */
static bool
shifted(Node *keep, int k, Val *init, Val *rows)
{
	Val *was = &keep->out[hop_carried(keep).n + k];
	Node *before = was->uses->user, *first, *cut, *cat;
	Ctx *cx = keep->graph->cx;

	first = hop_add(keep->graph, "aten.unsqueeze.default", (Arg[]){arg_val(init), arg_int(cx, 0)}, 2, before);
	cut = hop_add(keep->graph, "aten.slice.Tensor", (Arg[]){arg_val(rows), arg_int(cx, 0), arg_int(cx, 0), arg_int(cx, -1)}, 4, before);
	if (!first || !cut)
		return false;
	Arg both = arg_list(keep->graph->arena, (Arg[]){arg_val(&first->out[0]), arg_val(&cut->out[0])}, 2);
	if (!(cat = hop_add(keep->graph, "aten.cat.default", &both, 1, before)))
		return false;
	first->backward = cut->backward = cat->backward = before->backward;
	val_replace(was, &cat->out[0]);
	return true;
}

bool
hop_whileforward(Node *keep)
{
	Graph *g = keep->graph;
	HopList init = hop_carried(keep);
	int nc = init.n;
	Node *n = node_new(g, op_find("higher_order.while_loop_stack_output"), keep->arg, keep->narg, nc, keep, keep->loc), *last;

	node_inherit(n, keep);
	for (int k = 0; k < nc; k++)
		n->out[k].type = keep->out[nc + k].type;
	if (n->out[0].type->dim[0]->hi == INT64_MAX)
		sym_bound(g->cx, n->out[0].type->dim[0], 1, INT64_MAX);
	for (int k = 0; k < nc; k++) {
		if (keep->out[k].uses) {
			last = hop_add(g, "aten.select.int", (Arg[]){arg_val(&n->out[k]), arg_int(g->cx, 0), arg_int(g->cx, -1)}, 3, keep);
			if (!last)
				return false;
			node_inherit(last, keep);
			val_replace(&keep->out[k], &last->out[0]);
		}
		if (keep->out[nc + k].uses && !shifted(keep, k, init.v[k].use->val, &n->out[k]))
			return false;
	}
	node_delete(keep);
	return true;
}
