/* hopgrad.c - derivatives of higher-order operators.
 *
 * The derivative of a sub-graph is a sub-graph (joint_body): it takes what the first one took and
 * the gradients of its results, and calculates again what it needs.
 *
 *   cond, switch     the same choice between the derivatives of the branches
 *   invoke_subgraph  a call of the derivative, one for all calls of a region
 *   map              a map of the derivative; gradients of what all rows share are summed
 *   scan, while_loop forward keeps what is carried into each round (hop_prepare); backward is a scan
 *                    over the rounds in reverse, that carries the gradient of the carry and the
 *                    sums for what all rounds share
 *   associative_scan becomes a scan first
 */
#include "grad/hopgrad.h"

static bool
wanted(const HopGrad *h, const Arg *a)
{
	return a->kind == ArgVal && h->req[a->use->val->id] && !dt_int(a->use->val->type->dt);
}

void
hop_flags(Hop *p, Flags *f, HopList l)
{
	for (int k = 0; k < l.n; k++)
		vec_push(p->a, f, wanted(p->h, &l.v[k]));
}

void
hop_append(Hop *p, Args *to, HopList l)
{
	for (int k = 0; k < l.n; k++)
		vec_push(p->a, to, l.v[k].kind == ArgVal ? arg_val(l.v[k].use->val) : l.v[k]);
}

Arg
hop_list(Hop *p, const Args *v)
{
	return arg_list(p->a, v->v, v->n);
}

/* A name that no sub-graph has. */
Str
hop_fresh(Module *m, const char *stem)
{
	Str name = intern_str(m->cx, stem);

	for (int i = 0, k = 1; i < m->sub.n; i++)
		if (m->sub.v[i]->name == name) {
			name = intern_printf(m->cx, "%s_%d", stem, k++);
			i = -1;
		}
	return name;
}

Graph *
hop_derivative(Hop *p, Graph *g, const Flags *wrt, const Flags *open, bool also)
{
	Str name = hop_fresh(p->m, arena_printf(p->a, "%s_grad", g->name));

	return joint_body(p->m, g, wrt->v, open->v, also, name);
}

/* Under -fdecomp=torch what a derivative returns shares no memory with what it takes, nor with what
 * else it returns.  copied: views in it will be. */
static const Val *
storage(const Val *v)
{
	while (v->def->op->flags & OP(View) && v->def->narg && v->def->arg[0].kind == ArgVal)
		v = v->def->arg[0].use->val;
	return v;
}

bool
hop_unalias(Graph *g, bool copied)
{
	HopList res = hop_results(g);
	const Val **seen = NEWN(g->arena, const Val *, res.n + 1);
	Arg *all = NEWN(g->arena, Arg, res.n + 1), one;

	for (int k = 0; g->mod->decomp == DecompTorch && k < res.n; k++) {
		Val *v = res.v[k].kind == ArgVal ? res.v[k].use->val : NULL;
		bool shared = false;
		all[k] = v ? arg_val(v) : res.v[k];
		if (!v)
			continue;
		seen[k] = copied ? v : storage(v);
		for (int i = 0; i < k; i++)
			shared |= seen[i] == seen[k];
		if (!shared && seen[k]->def->op != &opplaceholder)
			continue;
		Node *n = node_new(g, op_find("aten.clone.default"), (Arg[]){arg_val(v), arg_none()}, 2, 1, g->last, NOLOC);
		if (!node_infer(n))
			return false;
		seen[k] = &n->out[0];
		all[k] = arg_val(&n->out[0]);
	}
	if (g->mod->decomp != DecompTorch)
		return true;
	one = arg_list(g->arena, all, res.n);
	node_setargs(g->last, &one, 1);
	return true;
}

static Arg
graphlist(Hop *p, Graph **g, int n)
{
	Arg *v = NEWN(p->a, Arg, n + 1);

	for (int k = 0; k < n; k++)
		v[k] = (Arg){.kind = ArgGraph, .graph = g[k]};
	return arg_list(p->a, v, n);
}

Node *
hop_add(Graph *g, const char *op, const Arg *arg, int narg, Node *before)
{
	const OpDef *def = op_find(op);
	Arg *bound = NEWN(g->arena, Arg, def->nparam + 1);
	Node *n;

	if (!op_bind(g->cx, before->loc, def, arg, narg, NULL, NULL, 0, bound))
		return NULL;
	n = node_new(g, def, bound, def->nparam, 1, before, before->loc);
	return node_infer(n) ? n : NULL;
}

static Node *
makewith(Hop *p, const char *op, const Arg *arg, int narg, const char *key, const Arg *with, int nout)
{
	const OpDef *def = op_find(op);
	Arg *bound = NEWN(p->a, Arg, def->nparam + 1);
	Str name = key ? intern_str(p->cx, key) : NULL;
	Node *n;

	if (!op_bind(p->cx, p->n->loc, def, arg, narg, &name, with, key != NULL, bound))
		return NULL;
	n = node_new(p->g, def, bound, def->nparam, nout, p->h->before, p->n->loc);
	return node_infer(n) ? n : NULL;
}

Node *
hop_make(Hop *p, const char *op, const Arg *arg, int narg, int nout)
{
	return makewith(p, op, arg, narg, NULL, NULL, nout);
}

Val *
hop_make1with(Hop *p, const char *op, const Arg *arg, int narg, const char *key, Arg with)
{
	Node *n = makewith(p, op, arg, narg, key, &with, 1);

	return n ? &n->out[0] : NULL;
}

Val *
hop_make1(Hop *p, const char *op, const Arg *arg, int narg)
{
	Node *n = hop_make(p, op, arg, narg, 1);

	return n ? &n->out[0] : NULL;
}

Val *
hop_zeros(Hop *p, const Val *like)
{
	return hop_make1(p, "aten.zeros_like.default", (Arg[]){arg_val((Val *)like)}, 1);
}

void
hop_give(Hop *p, const Arg *operand, Val *g)
{
	p->h->add(p->h->arg, operand->use->val, g);
}

/* Gradients of results that arrive, as operands; open says which. */
static void
tangents(Hop *p, Args *ops, Flags *open)
{
	for (int k = 0; k < p->n->nout; k++) {
		vec_push(p->a, open, p->h->out[k] != NULL);
		if (p->h->out[k])
			vec_push(p->a, ops, arg_val(p->h->out[k]));
	}
}

/* ---- one of several, and calls --------------------------------------------------------- */

static bool
branches(Hop *p)
{
	Graph *g[MaxHopGraphs], *d[MaxHopGraphs];
	int ng = hop_graphs(p->n, g), nout = 0;
	HopList ops = hop_operands(p->n);
	bool cond = hop_kind(p->n->op) == HopCond;
	Flags wrt = {0}, open = {0};
	Args all = {0};
	Arg arg[4];
	Node *n;

	hop_flags(p, &wrt, ops);
	hop_append(p, &all, ops);
	tangents(p, &all, &open);
	for (int k = 0; k < ng; k++)
		if (!(d[k] = hop_derivative(p, g[k], &wrt, &open, false)) || !hop_unalias(d[k], false))
			return false;
	for (int k = 0; k < wrt.n; k++)
		nout += wrt.v[k];
	const Arg *which = node_arg(p->n, cond ? "pred" : "index");
	arg[0] = which->kind == ArgVal ? arg_val(which->use->val) : *which;
	arg[1] = cond ? (Arg){.kind = ArgGraph, .graph = d[0]} : graphlist(p, d, ng);
	arg[2] = cond ? (Arg){.kind = ArgGraph, .graph = d[1]} : hop_list(p, &all);
	arg[3] = hop_list(p, &all);
	if (!(n = hop_make(p, p->n->op->name, arg, cond ? 4 : 3, nout)))
		return false;
	for (int k = 0, o = 0; k < wrt.n; k++)
		if (wrt.v[k])
			hop_give(p, &ops.v[k], &n->out[o++]);
	return true;
}

/* Calls of one region that ask for the same gradients share its derivative. */
static Graph *
shared(Hop *p, Graph *g, const Flags *wrt, const Flags *open)
{
	Text name = {.arena = p->a};
	Str s;

	text_add(&name, "%s_grad_", g->name);
	for (int k = 0; k < wrt->n; k++)
		text_add(&name, "%d", wrt->v[k]);
	text_add(&name, "_");
	for (int k = 0; k < open->n; k++)
		text_add(&name, "%d", open->v[k]);
	s = intern_str(p->cx, name.s);
	for (int i = 0; i < p->m->sub.n; i++)
		if (p->m->sub.v[i]->name == s)
			return p->m->sub.v[i];
	return joint_body(p->m, g, wrt->v, open->v, true, s);
}

static bool
invoke(Hop *p)
{
	Graph *g[MaxHopGraphs], *d;
	HopList ops = hop_operands(p->n);
	Flags wrt = {0}, open = {0};
	Args all = {0};
	Arg arg[3];
	Node *n;

	if (hop_graphs(p->n, g) != 1)
		return false;
	hop_flags(p, &wrt, ops);
	hop_append(p, &all, ops);
	tangents(p, &all, &open);
	if (!(d = shared(p, g[0], &wrt, &open)))
		return false;
	arg[0] = (Arg){.kind = ArgGraph, .graph = d};
	arg[1] = arg_str(intern_printf(p->cx, "bw_%s", g[0]->name));
	arg[2] = hop_list(p, &all);
	if (!(n = hop_make(p, "higher_order.invoke_subgraph", arg, 3, hop_results(d).n)))
		return false;
	for (int k = 0, o = 0; k < wrt.n; k++)
		if (wrt.v[k])
			hop_give(p, &ops.v[k], &n->out[o++]);
	return true;
}

/* ---- order of parameters ------------------------------------------------------------------ */

/* Parameters of g as v[] has them now. */
void
hop_reorder(Graph *g, Val *const *v, int n)
{
	Node *after = g->first;

	while (after && after->op == &opplaceholder)
		after = after->next;
	for (int k = n - 1; k >= 0; k--) {
		Node *p = v[k]->def;
		*(p->prev ? &p->prev->next : &g->first) = p->next;
		*(p->next ? &p->next->prev : &g->last) = p->prev;
		p->next = after;
		p->prev = after ? after->prev : g->last;
		*(p->prev ? &p->prev->next : &g->first) = p;
		*(after ? &after->prev : &g->last) = p;
		after = p;
	}
}

/* ---- map ----------------------------------------------------------------------------------- */

/* The sum over the rows, as autograd makes it where something was broadcast. */
static Val *
overrows(Hop *p, Val *g, const Type *t)
{
	Arg *size = NEWN(p->a, Arg, t->rank + 1);

	g = hop_make1(p, "aten.sum.dim_IntList", (Arg[]){arg_val(g), arg_list(p->a, (Arg[]){arg_int(p->cx, 0)}, 1), arg_bool(true)}, 3);
	for (int d = 0; d < t->rank; d++)
		size[d] = arg_sym(t->dim[d]);
	return g ? hop_make1(p, "aten.view.default", (Arg[]){arg_val(g), arg_list(p->a, size, t->rank)}, 2) : NULL;
}

static bool
map(Hop *p)
{
	HopList xs = hop_rows(p->n), rest = hop_rest(p->n);
	Graph *g[MaxHopGraphs], *d;
	Flags wrt = {0}, open = {0};
	Args rows = {0}, others = {0};
	Val *v[MaxHopOperands], *to[MaxHopOperands];
	int np, nt, nout = 0, at = 0;
	Arg arg[3];
	Node *n;

	if (hop_graphs(p->n, g) != 1)
		return false;
	hop_flags(p, &wrt, xs);
	hop_flags(p, &wrt, rest);
	hop_append(p, &rows, xs);
	tangents(p, &rows, &open);
	hop_append(p, &others, rest);
	if (!(d = hop_derivative(p, g[0], &wrt, &open, false)) || !hop_unalias(d, false) || (np = hop_params(d, v, MaxHopOperands)) > MaxHopOperands)
		return false;
	nt = np - xs.n - rest.n;
	for (int k = 0; k < xs.n; k++)
		to[at++] = v[k];
	for (int k = 0; k < nt; k++)
		to[at++] = v[xs.n + rest.n + k];
	for (int k = 0; k < rest.n; k++)
		to[at++] = v[xs.n + k];
	hop_reorder(d, to, np);
	for (int k = 0; k < wrt.n; k++)
		nout += wrt.v[k];
	arg[0] = (Arg){.kind = ArgGraph, .graph = d};
	arg[1] = hop_list(p, &rows);
	arg[2] = hop_list(p, &others);
	if (!(n = hop_make(p, p->n->op->name, arg, 3, nout)))
		return false;
	for (int k = 0, o = 0; k < wrt.n; k++) {
		const Arg *operand = k < xs.n ? &xs.v[k] : &rest.v[k - xs.n];
		Val *grad;
		if (!wrt.v[k])
			continue;
		grad = &n->out[o++];
		if (k >= xs.n)
			grad = overrows(p, grad, operand->use->val->type);
		if (!grad)
			return false;
		hop_give(p, operand, grad);
	}
	return true;
}

/* ---- scan ------------------------------------------------------------------------------------ */

/* Rows in the order of the scan backwards: ours can go from the last to the first. */
static Val *
reversed(Hop *p, Val *v)
{
	if (p->m->decomp == DecompNative || hop_isreverse(p->n))
		return v;
	return v ? hop_make1(p, "aten.flip.default", (Arg[]){arg_val(v), arg_list(p->a, (Arg[]){arg_int(p->cx, 0)}, 1)}, 2) : NULL;
}

bool
hop_isfloat(const Arg *a)
{
	return a->kind == ArgVal && a->use->val->type->kind == TyTensor && !dt_int(a->use->val->type->dt);
}

/* The body of the scan backwards, from the derivative d of the body: parameters (gradients of the
 * carry, sums; carry, rows, gradients of ys; rest), results (gradients of the carry, sums; of rows). */
typedef struct Scan {
	HopList init, xs, rest;
	int nc, nx, nr, ny;
	Flags wrt, open;             /* of the body's parameters, of its results */
	Flags row;                   /* carried values and rows that the derivative reads */
	Graph *d;
} Scan;

/* A scan needs one row at least, to know how many there are. */
static void
scanrows(Hop *p, Scan *s, Val *const *v, int ntangent)
{
	int n = 0;

	for (int k = 0; k < s->nc + s->nx; k++) {
		vec_push(p->a, &s->row, v[k]->uses != NULL);
		n += s->row.v[k];
	}
	if (n + ntangent == 0)
		s->row.v[0] = true;
}

static bool
scanbody(Hop *p, Scan *s)
{
	Val *v[MaxHopOperands], *to[MaxHopOperands];
	int np = hop_params(s->d, v, MaxHopOperands), base = s->nc + s->nx + s->nr, t = base, at = 0, out = 0;
	const Arg *res = s->d->last->arg[0].list.v;
	Args grads = {0}, sums = {0}, rows = {0};
	Node *end = s->d->last;

	if (np + s->nr > MaxHopOperands)
		return false;
	for (int k = 0; k < s->nc; k++)
		if (s->open.v[k])
			to[at++] = v[t++];
	scanrows(p, s, v, np - t);
	for (int k = 0; k < s->nc + s->nx + s->nr; k++) {
		Arg g = s->wrt.v[k] ? res[out++] : arg_none();
		if (!s->wrt.v[k])
			continue;
		if (k < s->nc)
			vec_push(p->a, &grads, arg_val(g.use->val));
		else if (k < s->nc + s->nx)
			vec_push(p->a, &rows, arg_val(g.use->val));
		else {
			Node *sum = node_placeholder(s->d, intern_str(p->cx, "sum"), v[k]->type, NOLOC), *add;
			Arg arg[3] = {arg_val(&sum->out[0]), arg_val(g.use->val), arg_int(p->cx, 1)};
			to[at++] = &sum->out[0];
			add = node_new(s->d, op_find("aten.add.Tensor"), arg, 3, 1, end, NOLOC);
			if (!node_infer(add))
				return false;
			vec_push(p->a, &sums, arg_val(&add->out[0]));
		}
	}
	for (int k = 0; k < s->nc + s->nx; k++)
		if (s->row.v[k])
			to[at++] = v[k];
		else
			node_delete(v[k]->def);
	while (t < np)
		to[at++] = v[t++];
	for (int k = 0; k < s->nr; k++)
		to[at++] = v[s->nc + s->nx + k];
	hop_reorder(s->d, to, at);
	for (int k = 0; k < sums.n; k++)
		vec_push(p->a, &grads, sums.v[k]);
	for (int k = 0; k < rows.n; k++)
		vec_push(p->a, &grads, rows.v[k]);
	Arg all = hop_list(p, &grads);
	node_setargs(end, &all, 1);
	return true;
}

/* What the scan backwards starts with and goes over. */
static bool
scanoperands(Hop *p, Scan *s, Args *init, Args *rows)
{
	Val *v;

	for (int k = 0; k < s->nc; k++)
		if (s->open.v[k]) {
			if (!(v = p->h->out[k] ? p->h->out[k] : hop_zeros(p, &p->n->out[k])))
				return false;
			vec_push(p->a, init, arg_val(v));
		}
	for (int k = 0; k < s->nr; k++)
		if (s->wrt.v[s->nc + s->nx + k]) {
			if (!(v = hop_zeros(p, s->rest.v[k].use->val)))
				return false;
			vec_push(p->a, init, arg_val(v));
		}
	for (int k = 0; k < s->nc + s->nx; k++) {
		v = k < s->nc ? &p->n->out[s->nc + s->ny + k] : s->xs.v[k - s->nc].use->val;
		if (!s->row.v[k])
			continue;
		if (!(v = reversed(p, v)))
			return false;
		vec_push(p->a, rows, arg_val(v));
	}
	for (int k = 0; k < s->ny; k++)
		if (s->open.v[s->nc + k]) {
			if (!(v = reversed(p, p->h->out[s->nc + k])))
				return false;
			vec_push(p->a, rows, arg_val(v));
		}
	return true;
}

static bool
scanresults(Hop *p, Scan *s, Node *n)
{
	int o = 0;

	for (int k = 0; k < s->nc; k++)
		if (s->wrt.v[k]) {
			if (wanted(p->h, &s->init.v[k]))
				hop_give(p, &s->init.v[k], &n->out[o]);
			o++;
		}
	for (int k = 0; k < s->nr; k++)
		if (s->wrt.v[s->nc + s->nx + k])
			hop_give(p, &s->rest.v[k], &n->out[o++]);
	for (int k = 0; k < s->nx; k++)
		if (s->wrt.v[s->nc + k]) {
			Val *g = reversed(p, &n->out[o++]);
			if (!g)
				return false;
			hop_give(p, &s->xs.v[k], g);
		}
	return true;
}

static bool
scan(Hop *p)
{
	Scan s = {.init = hop_carried(p->n), .xs = hop_rows(p->n), .rest = hop_rest(p->n)};
	Args init = {0}, rows = {0}, rest = {0};
	Graph *g[MaxHopGraphs];
	int nout = 0, ng = hop_graphs(p->n, g);
	Arg arg[5];
	Node *n;

	s.nc = s.init.n, s.nx = s.xs.n, s.nr = s.rest.n;
	s.ny = p->n->nout - 2 * s.nc;                     /* hop_prepare added the carry */
	if (s.ny < 0)
		bug(p->cx, p->n->loc, "a loop was not prepared for its derivative");
	for (int k = 0; k < s.nc; k++) {
		vec_push(p->a, &s.wrt, hop_isfloat(&s.init.v[k]));
		vec_push(p->a, &s.open, hop_isfloat(&s.init.v[k]));
	}
	hop_flags(p, &s.wrt, s.xs);
	hop_flags(p, &s.wrt, s.rest);
	for (int k = 0; k < s.ny + s.nc; k++)
		vec_push(p->a, &s.open, k < s.ny && p->h->out[s.nc + k] != NULL);
	if (!(s.d = hop_derivative(p, g[ng - 1], &s.wrt, &s.open, false)) || !hop_unalias(s.d, true) || !scanbody(p, &s) || !scanoperands(p, &s, &init, &rows))
		return false;
	hop_append(p, &rest, s.rest);
	for (int k = 0; k < s.wrt.n; k++)
		nout += s.wrt.v[k];
	arg[0] = (Arg){.kind = ArgGraph, .graph = s.d};
	arg[1] = hop_list(p, &init);
	arg[2] = hop_list(p, &rows);
	arg[3] = hop_list(p, &rest);
	arg[4] = arg_bool(p->m->decomp == DecompNative && !hop_isreverse(p->n));
	return (n = hop_make(p, "higher_order.scan", arg, 5, nout)) && scanresults(p, &s, n);
}

/* ---- functions with a derivative of their own ------------------------------------------------- */

static const char ownbackward[] = "backward of a function";

static bool
function(Hop *p)
{
	HopList ops = hop_operands(p->n);
	const Arg *count = node_arg(p->n, "nresult");
	Graph *g[MaxHopGraphs];
	Args all = {0};
	Arg arg[3];
	int64_t nres;
	Node *n;

	if (hop_graphs(p->n, g) != 2 || !sym_isconst(count->i, &nres))
		return false;
	for (int k = 0; k < p->n->nout; k++) {
		Val *v = &p->n->out[k];
		if (k < nres && !(v = p->h->out[k] ? p->h->out[k] : hop_zeros(p, v)))
			return false;
		vec_push(p->a, &all, arg_val(v));
	}
	arg[0] = (Arg){.kind = ArgGraph, .graph = g[1]};
	arg[1] = arg_str(intern_str(p->cx, ownbackward));
	arg[2] = hop_list(p, &all);
	HopList res = hop_results(g[1]);
	if (!(n = hop_make(p, "higher_order.invoke_subgraph", arg, 3, res.n)))
		return false;
	for (int k = 0; k < ops.n && k < res.n; k++)
		if (wanted(p->h, &ops.v[k]) && res.v[k].kind == ArgVal)
			hop_give(p, &ops.v[k], &n->out[k]);
	return true;
}

static bool
finish(Graph *in)
{
	for (Node *n = in->first, *next; n; n = next) {
		enum hopkind k = hop_kind(n->op);
		Graph *g[MaxHopGraphs];
		next = n->next;
		if (k == HopScan && !hop_scanform(n))
			return false;
		if (k == HopWhileKeep && in->mod->decomp == DecompTorch && !hop_whileforward(n))
			return false;
		if (k != HopFunction && !(k == HopInvoke && n->arg[1].kind == ArgStr && strcmp(n->arg[1].s, ownbackward) == 0))
			continue;
		if (!hop_graphs(n, g) || !hop_splice(n, g[0]))
			return false;
	}
	return true;
}

bool
hop_finish(Module *m)
{
	for (int k = m->sub.n - 1; k >= 0; k--)
		if (!finish(m->sub.v[k]))
			return false;
	return finish(m->main);
}

/* PyTorch's loops backward do not know which round of forward they are at. */
static bool
drawn(Hop *p)
{
	Graph *g[MaxHopGraphs];
	int ng = hop_graphs(p->n, g);

	if (p->m->decomp != DecompTorch || !hop_isloop(p->n) || hop_kind(p->n->op) == HopMap)
		return true;
	for (int k = 0; k < ng; k++)
		if (hop_draws(g[k])) {
			error(p->cx, p->n->loc, "%s: random numbers in it have no derivative under -fdecomp=torch", p->n->op->name);
			return false;
		}
	return true;
}

bool
hop_grad(const HopGrad *h)
{
	Hop p = {.h = h, .n = h->n, .g = h->n->graph, .m = h->n->graph->mod, .cx = h->n->graph->cx, .a = h->n->graph->arena};

	if (!drawn(&p))
		return false;
	switch (hop_kind(h->n->op)) {
	case HopCond: case HopSwitch: return branches(&p);
	case HopInvoke: return invoke(&p);
	case HopMap:    return map(&p);
	case HopScan:   return scan(&p);
	case HopWhileKeep: return p.m->decomp == DecompTorch ? hop_whilegrad(&p) : scan(&p);
	case HopFunction: return function(&p);
	default:
		if (hop_keepsflex(h->n, h->req))
			return hop_flexgrad(&p);
		error(p.cx, h->n->loc, "%s: no derivative is known", h->n->op->name);
		return false;
	}
}
