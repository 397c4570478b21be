/* hopgrad.c - derivatives of higher-order operators.
 *
 * The derivative of a sub-graph is a sub-graph (joint_body): it takes what the first one took and
 * the gradients of its results, and calculates again what it needs.
 *
 *   cond, switch     the same choice between the derivatives of the branches
 *   invoke_subgraph  a call of the derivative, one for all calls of a region
 *   map              a map of the derivative; gradients of what all rows share are summed
 *   scan             forward keeps what is carried into each round (hop_prepare adds it to the
 *                    results); backward is a scan over the rounds in reverse, that carries the
 *                    gradient of the carry and the sums for what all rounds share
 *   associative_scan becomes a scan first
 */
#include "grad/hop.h"

typedef struct Hop {
	const HopGrad *h;
	Node *n;
	Graph *g;                /* in which the node stands */
	Module *m;
	Ctx *cx;
	Arena *a;
} Hop;

typedef VEC(Arg) Args;
typedef VEC(bool) Flags;

static bool
wanted(const HopGrad *h, const Arg *a)
{
	return a->kind == ArgVal && h->req[a->use->val->id] && !dt_int(a->use->val->type->dt);
}

static void
flags(Hop *p, Flags *f, HopList l)
{
	for (int k = 0; k < l.n; k++)
		vec_push(p->a, f, wanted(p->h, &l.v[k]));
}

static void
append(Hop *p, Args *to, HopList l)
{
	for (int k = 0; k < l.n; k++)
		vec_push(p->a, to, l.v[k].kind == ArgVal ? arg_val(l.v[k].use->val) : l.v[k]);
}

static Arg
list(Hop *p, const Args *v)
{
	return arg_list(p->a, v->v, v->n);
}

/* A name that no sub-graph has. */
static Str
fresh(Module *m, const char *stem)
{
	Str name = intern_str(m->cx, stem);

	for (int i = 0, k = 1; i < m->sub.n; i++)
		if (m->sub.v[i]->name == name) {
			name = intern_printf(m->cx, "%s_%d", stem, k++);
			i = -1;
		}
	return name;
}

static Graph *
derivative(Hop *p, Graph *g, const Flags *wrt, const Flags *open, bool also)
{
	Str name = fresh(p->m, arena_printf(p->a, "%s_grad", g->name));

	return joint_body(p->m, g, wrt->v, open->v, also, name);
}

static Arg
graphlist(Hop *p, Graph **g, int n)
{
	Arg *v = NEWN(p->a, Arg, n + 1);

	for (int k = 0; k < n; k++)
		v[k] = (Arg){.kind = ArgGraph, .graph = g[k]};
	return arg_list(p->a, v, n);
}

static Node *
make(Hop *p, const char *op, const Arg *arg, int narg, int nout)
{
	const OpDef *def = op_find(op);
	Arg *bound = NEWN(p->a, Arg, def->nparam + 1);
	Node *n;

	if (!op_bind(p->cx, p->n->loc, def, arg, narg, NULL, NULL, 0, bound))
		return NULL;
	n = node_new(p->g, def, bound, def->nparam, nout, p->h->before, p->n->loc);
	return node_infer(n) ? n : NULL;
}

static Val *
make1(Hop *p, const char *op, const Arg *arg, int narg)
{
	Node *n = make(p, op, arg, narg, 1);

	return n ? &n->out[0] : NULL;
}

static Val *
zeros(Hop *p, const Val *like)
{
	return make1(p, "aten.zeros_like.default", (Arg[]){arg_val((Val *)like)}, 1);
}

static void
give(Hop *p, const Arg *operand, Val *g)
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

	flags(p, &wrt, ops);
	append(p, &all, ops);
	tangents(p, &all, &open);
	for (int k = 0; k < ng; k++)
		if (!(d[k] = derivative(p, g[k], &wrt, &open, false)))
			return false;
	for (int k = 0; k < wrt.n; k++)
		nout += wrt.v[k];
	const Arg *which = node_arg(p->n, cond ? "pred" : "index");
	arg[0] = which->kind == ArgVal ? arg_val(which->use->val) : *which;
	arg[1] = cond ? (Arg){.kind = ArgGraph, .graph = d[0]} : graphlist(p, d, ng);
	arg[2] = cond ? (Arg){.kind = ArgGraph, .graph = d[1]} : list(p, &all);
	arg[3] = list(p, &all);
	if (!(n = make(p, p->n->op->name, arg, cond ? 4 : 3, nout)))
		return false;
	for (int k = 0, o = 0; k < wrt.n; k++)
		if (wrt.v[k])
			give(p, &ops.v[k], &n->out[o++]);
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
	flags(p, &wrt, ops);
	append(p, &all, ops);
	tangents(p, &all, &open);
	if (!(d = shared(p, g[0], &wrt, &open)))
		return false;
	arg[0] = (Arg){.kind = ArgGraph, .graph = d};
	arg[1] = arg_str(intern_printf(p->cx, "bw_%s", g[0]->name));
	arg[2] = list(p, &all);
	if (!(n = make(p, "higher_order.invoke_subgraph", arg, 3, hop_results(d).n)))
		return false;
	for (int k = 0, o = 0; k < wrt.n; k++)
		if (wrt.v[k])
			give(p, &ops.v[k], &n->out[o++]);
	return true;
}

/* ---- order of parameters ------------------------------------------------------------------ */

/* Parameters of g as v[] has them now. */
static void
reorder(Graph *g, Val *const *v, int n)
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

	g = make1(p, "aten.sum.dim_IntList", (Arg[]){arg_val(g), arg_list(p->a, (Arg[]){arg_int(p->cx, 0)}, 1), arg_bool(true)}, 3);
	for (int d = 0; d < t->rank; d++)
		size[d] = arg_sym(t->dim[d]);
	return g ? make1(p, "aten.view.default", (Arg[]){arg_val(g), arg_list(p->a, size, t->rank)}, 2) : NULL;
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
	flags(p, &wrt, xs);
	flags(p, &wrt, rest);
	append(p, &rows, xs);
	tangents(p, &rows, &open);
	append(p, &others, rest);
	if (!(d = derivative(p, g[0], &wrt, &open, false)) || (np = hop_params(d, v, MaxHopOperands)) > MaxHopOperands)
		return false;
	nt = np - xs.n - rest.n;
	for (int k = 0; k < xs.n; k++)
		to[at++] = v[k];
	for (int k = 0; k < nt; k++)
		to[at++] = v[xs.n + rest.n + k];
	for (int k = 0; k < rest.n; k++)
		to[at++] = v[xs.n + k];
	reorder(d, to, np);
	for (int k = 0; k < wrt.n; k++)
		nout += wrt.v[k];
	arg[0] = (Arg){.kind = ArgGraph, .graph = d};
	arg[1] = list(p, &rows);
	arg[2] = list(p, &others);
	if (!(n = make(p, p->n->op->name, arg, 3, nout)))
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
		give(p, operand, grad);
	}
	return true;
}

/* ---- scan ------------------------------------------------------------------------------------ */

static Val *
reversed(Hop *p, Val *v)
{
	return v ? make1(p, "aten.flip.default", (Arg[]){arg_val(v), arg_list(p->a, (Arg[]){arg_int(p->cx, 0)}, 1)}, 2) : NULL;
}

static bool
isfloat(const Arg *a)
{
	return a->kind == ArgVal && a->use->val->type->kind == TyTensor && !dt_int(a->use->val->type->dt);
}

/* The body of the scan backwards, from the derivative d of the body: parameters (gradients of the
 * carry, sums; carry, rows, gradients of ys; rest), results (gradients of the carry, sums; of rows). */
typedef struct Scan {
	HopList init, xs, rest;
	int nc, nx, nr, ny;
	Flags wrt, open;             /* of the body's parameters, of its results */
	Graph *d;
} Scan;

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
		to[at++] = v[k];
	while (t < np)
		to[at++] = v[t++];
	for (int k = 0; k < s->nr; k++)
		to[at++] = v[s->nc + s->nx + k];
	reorder(s->d, to, at);
	for (int k = 0; k < sums.n; k++)
		vec_push(p->a, &grads, sums.v[k]);
	for (int k = 0; k < rows.n; k++)
		vec_push(p->a, &grads, rows.v[k]);
	Arg all = list(p, &grads);
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
			if (!(v = p->h->out[k] ? p->h->out[k] : zeros(p, &p->n->out[k])))
				return false;
			vec_push(p->a, init, arg_val(v));
		}
	for (int k = 0; k < s->nr; k++)
		if (s->wrt.v[s->nc + s->nx + k]) {
			if (!(v = zeros(p, s->rest.v[k].use->val)))
				return false;
			vec_push(p->a, init, arg_val(v));
		}
	for (int k = 0; k < s->nc; k++) {
		if (!(v = reversed(p, &p->n->out[s->nc + s->ny + k])))
			return false;
		vec_push(p->a, rows, arg_val(v));
	}
	for (int k = 0; k < s->nx; k++) {
		if (!(v = reversed(p, s->xs.v[k].use->val)))
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
				give(p, &s->init.v[k], &n->out[o]);
			o++;
		}
	for (int k = 0; k < s->nr; k++)
		if (s->wrt.v[s->nc + s->nx + k])
			give(p, &s->rest.v[k], &n->out[o++]);
	for (int k = 0; k < s->nx; k++)
		if (s->wrt.v[s->nc + k]) {
			Val *g = reversed(p, &n->out[o++]);
			if (!g)
				return false;
			give(p, &s->xs.v[k], g);
		}
	return true;
}

static bool
scan(Hop *p)
{
	Scan s = {.init = hop_carried(p->n), .xs = hop_rows(p->n), .rest = hop_rest(p->n)};
	Args init = {0}, rows = {0}, rest = {0};
	Graph *g[MaxHopGraphs];
	int nout = 0;
	Arg arg[4];
	Node *n;

	if (hop_graphs(p->n, g) != 1)
		return false;
	s.nc = s.init.n, s.nx = s.xs.n, s.nr = s.rest.n;
	s.ny = hop_results(g[0]).n - 2 * s.nc;            /* hop_prepare added the carry */
	if (s.ny < 0 || p->n->nout != hop_results(g[0]).n)
		bug(p->cx, p->n->loc, "a scan was not prepared for its derivative");
	for (int k = 0; k < s.nc; k++) {
		vec_push(p->a, &s.wrt, isfloat(&s.init.v[k]));
		vec_push(p->a, &s.open, isfloat(&s.init.v[k]));
	}
	flags(p, &s.wrt, s.xs);
	flags(p, &s.wrt, s.rest);
	for (int k = 0; k < s.ny + s.nc; k++)
		vec_push(p->a, &s.open, k < s.ny && p->h->out[s.nc + k] != NULL);
	if (!(s.d = derivative(p, g[0], &s.wrt, &s.open, false)) || !scanbody(p, &s) || !scanoperands(p, &s, &init, &rows))
		return false;
	append(p, &rest, s.rest);
	for (int k = 0; k < s.wrt.n; k++)
		nout += s.wrt.v[k];
	arg[0] = (Arg){.kind = ArgGraph, .graph = s.d};
	arg[1] = list(p, &init);
	arg[2] = list(p, &rows);
	arg[3] = list(p, &rest);
	return (n = make(p, p->n->op->name, arg, 4, nout)) && scanresults(p, &s, n);
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
		if (k < nres && !(v = p->h->out[k] ? p->h->out[k] : zeros(p, v)))
			return false;
		vec_push(p->a, &all, arg_val(v));
	}
	arg[0] = (Arg){.kind = ArgGraph, .graph = g[1]};
	arg[1] = arg_str(intern_str(p->cx, ownbackward));
	arg[2] = list(p, &all);
	HopList res = hop_results(g[1]);
	if (!(n = make(p, "higher_order.invoke_subgraph", arg, 3, res.n)))
		return false;
	for (int k = 0; k < ops.n && k < res.n; k++)
		if (wanted(p->h, &ops.v[k]) && res.v[k].kind == ArgVal)
			give(p, &ops.v[k], &n->out[k]);
	return true;
}

static bool
finish(Graph *in)
{
	for (Node *n = in->first, *next; n; n = next) {
		enum hopkind k = hop_kind(n->op);
		Graph *g[MaxHopGraphs];
		next = n->next;
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

bool
hop_grad(const HopGrad *h)
{
	Hop p = {.h = h, .n = h->n, .g = h->n->graph, .m = h->n->graph->mod, .cx = h->n->graph->cx, .a = h->n->graph->arena};

	switch (hop_kind(h->n->op)) {
	case HopCond: case HopSwitch: return branches(&p);
	case HopInvoke: return invoke(&p);
	case HopMap:    return map(&p);
	case HopScan:   return scan(&p);
	case HopFunction: return function(&p);
	default:
		error(p.cx, h->n->loc, "%s: no derivative is known", h->n->op->name);
		return false;
	}
}

/* ---- before: scans keep what is carried -------------------------------------------------------- */

/* A copy of a body that returns also what is carried into the round. */
static Graph *
keeping(Module *m, Graph *g, int nc)
{
	Graph *c = graph_clone(g);
	Val *v[MaxHopOperands];
	HopList res = hop_results(c);
	VEC(Arg) all = {0};

	c->name = fresh(m, arena_printf(c->arena, "%s_keep", g->name));
	hop_adopt(m, c);
	hop_params(c, v, MaxHopOperands);
	for (int k = 0; k < res.n; k++)
		vec_push(c->arena, &all, res.v[k].kind == ArgVal ? arg_val(res.v[k].use->val) : res.v[k]);
	for (int k = 0; k < nc; k++)
		vec_push(c->arena, &all, arg_val(v[k]));
	Arg one = arg_list(c->arena, all.v, all.n);
	node_setargs(c->last, &one, 1);
	return c;
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
	arg[0] = (Arg){.kind = ArgGraph, .graph = keeping(graph->mod, g[0], nc)};
	with = node_new(graph, n->op, arg, n->narg, hop_results(arg[0].graph).n, n, n->loc);
	node_inherit(with, n);
	if (!node_infer(with))
		return false;
	for (int k = 0; k < n->nout; k++)
		val_replace(&n->out[k], &with->out[k]);
	node_delete(n);
	return true;
}

static bool
depends(const Arg *a, const bool *req)
{
	if (a->kind == ArgVal)
		return req[a->use->val->id];
	for (int k = 0; a->kind == ArgList && k < a->list.n; k++)
		if (depends(&a->list.v[k], req))
			return true;
	return false;
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
		if (res.v[res.n - nc + k].kind != ArgVal || res.v[res.n - nc + k].use->val != v[k])
			return false;
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
			any = any || depends(&n->arg[k], req);
		if (!any || n->region == GradOff)
			continue;
		if (kind == HopScan && !kept(n)) {
			if (!keepcarry(n))
				return false;
			*changed = true;
		}
		if (kind == HopAssociative) {
			if (!node_expand(n))
				return false;
			*changed = true;
		}
	}
	return true;
}

/* ---- effects ------------------------------------------------------------------------------------ */

static Val *
tokeninput(Module *m)
{
	const Sym *zero = sym_const(m->cx, 0);
	Node *p = node_placeholder(m->main, intern_str(m->cx, "token"), type_tensor(m->cx, DtF32, 1, &zero), NOLOC);
	Input in = {.kind = InToken, .val = &p->out[0], .name = p->out[0].name, .argname = p->out[0].name};
	Val *first[1] = {&p->out[0]};

	reorder(m->main, first, 1);
	while (p->prev) {                                  /* in front of the others */
		Node *q = p->prev;
		q->next = p->next;
		*(p->next ? &p->next->prev : &m->main->last) = q;
		p->prev = q->prev;
		*(q->prev ? &q->prev->next : &m->main->first) = p;
		q->prev = p;
		p->next = q;
	}
	vec_push(ctx_arena(m->cx), &m->in, in);
	memmove(&m->in.v[1], &m->in.v[0], sizeof in * (size_t)(m->in.n - 1));
	m->in.v[0] = in;
	return &p->out[0];
}

static void
tokenresult(Module *m, Val *token)
{
	Output o = {.kind = ResToken, .name = token->name};
	const Arg *list = &m->main->last->arg[0];
	VEC(Arg) all = {0};

	vec_push(m->main->arena, &all, arg_val(token));
	for (int k = 0; k < list->list.n; k++)
		vec_push(m->main->arena, &all, list->list.v[k].kind == ArgVal ? arg_val(list->list.v[k].use->val) : list->list.v[k]);
	Arg one = arg_list(m->main->arena, all.v, all.n);
	node_setargs(m->main->last, &one, 1);
	vec_push(ctx_arena(m->cx), &m->out, o);
	memmove(&m->out.v[1], &m->out.v[0], sizeof o * (size_t)(m->out.n - 1));
	m->out.v[0] = o;
}

bool
hop_effects(Module *m)
{
	Val *token = NULL;

	for (Node *n = m->main->first, *next; n; n = next) {
		Arg arg[4];
		next = n->next;
		if (hop_kind(n->op) != HopPrint)
			continue;
		token = token ? token : tokeninput(m);
		arg[0] = arg_val(token);
		arg[1] = arg_str(intern_str(m->cx, n->op->name));
		arg[2] = n->arg[0];
		arg[3] = n->arg[1];
		Node *w = node_new(m->main, op_find("higher_order.with_effects"), arg, 4, 1, n, n->loc);
		node_inherit(w, n);
		if (!node_infer(w))
			return false;
		token = &w->out[0];
		node_delete(n);
	}
	if (token)
		tokenresult(m, token);
	return true;
}
