/* flow.c - control flow: the steps of higher-order operators.
 *
 * A sub-graph is lowered as a program of its own, once; a call copies its steps into the
 * plan at hand, buffers of the call in the place of its inputs and outputs.  Jumps between
 * steps do the rest:
 *
 *   cond      jump F if pred == 0; steps of true_fn; jump E; F: steps of false_fn; E:
 *   while     H: steps of cond_fn; jump E if its result == 0; steps of body_fn; copy what they
 *             made to what is carried; jump H; E:  Rows of what is carried are copied before or
 *             after the steps of body_fn
 *   map       k = 0; H: jump E if k < n == 0; copy row k of each xs; steps of f; copy its
 *             results to rows k; k = k + 1; jump H; E:
 *
 * Steps stand in the order in which they run, but for jumps back: so a buffer lives from the
 * first step that names it to the last, to the end of each loop that it enters, and from the
 * head of each that it leaves (flow_live).
 */
#include "ir/hop.h"
#include "lower/planning.h"

typedef struct Flow {
	Planning *w;
	Node *n;
	Ctx *cx;
	Arena *a;
	Loc loc;
} Flow;

/* ---- plans of sub-graphs ------------------------------------------------------------ */

/* The sub-graph as a module: its parameters are inputs of the user, row-major. */
static Module *
asmodule(Flow *f, const Module *top, Graph *g)
{
	Module *m = NEW(f->a, Module);
	HopList res = hop_results(g);

	*m = *top;
	m->name = g->name;
	m->main = g;
	memset(&m->in, 0, sizeof m->in);
	memset(&m->out, 0, sizeof m->out);
	memset(&m->guard, 0, sizeof m->guard);
	FOREACH_NODE(g, n) {
		const Type *t = n->nout ? n->out[0].type : NULL;
		if (n->op != &opplaceholder)
			continue;
		if (t && t->kind == TyTensor)
			n->out[0].type = type_tensor(f->cx, t->dt, t->rank, t->dim);
		Input in = {.kind = InUser, .val = &n->out[0], .name = n->name, .argname = n->name};
		vec_push(f->a, &m->in, in);
	}
	for (int k = 0; k < res.n; k++)
		vec_push(f->a, &m->out, ((Output){.kind = ResUser, .name = intern_printf(f->cx, "%s_out%d", g->name, k)}));
	return m;
}

static const Plan *
subplan(Flow *f, Graph *g)
{
	Subplans *s = f->w->lo->opt.subplans;
	Plan *p;

	for (int k = 0; k < s->v.n; k++)
		if (s->v.v[k].g == g)
			return s->v.v[k].plan;
	if (s->depth > 50) {
		error(f->cx, f->loc, "sub-graphs are nested deeper than %d", s->depth - 1);
		return NULL;
	}
	g->mod = asmodule(f, s->mod, g);
	s->depth++;
	p = lower_graph(g, &f->w->lo->opt);
	s->depth--;
	if (p)
		vec_push(f->a, &s->v, (struct Subplan){g, p});
	return p;
}

/* ---- steps ------------------------------------------------------------------------------ */

/* How deep loops are nested in g: those of equal height are never in each other, and share a
 * counter. */
static int
height(const Graph *g)
{
	int most = 0;

	FOREACH_NODE(g, n) {
		enum hopkind k = hop_kind(n->op);
		Graph *v[MaxHopGraphs];
		int ng = k ? hop_graphs(n, v) : 0;
		for (int i = 0; i < ng; i++) {
			int h = height(v[i]) + !(k == HopCond || k == HopSwitch || k == HopInvoke || k == HopFunction);
			most = h > most ? h : most;
		}
	}
	return most;
}

static void
syms(Flow *f, Step *s, const Sym *const *v, int n)
{
	s->num = arena_dup(f->a, v, sizeof *v * (size_t)n);
	s->nnum = n;
}

static int
here(const Flow *f)
{
	return f->w->plan->step.n;
}

/* Jump if the value in buffer b, or the size e (b -1), is `is`; both absent: always.  The
 * target is filled in when it is known. */
static int
jump(Flow *f, int b, const Sym *e, int64_t is)
{
	Step *s = plan_addstep(f->w, StepJump, f->loc);
	const Sym *v[2] = {e, sym_const(f->cx, is)};

	if (b >= 0)
		syms(f, s, v + 1, 1);
	else if (e)
		syms(f, s, v, 2);
	plan_setbufs(f->w, s, &b, b >= 0);
	return here(f) - 1;
}

static void
land(Flow *f, int at)
{
	f->w->plan->step.v[at].target = here(f);
}

static void
back(Flow *f, int head)
{
	int at = jump(f, -1, NULL, 0);

	f->w->plan->step.v[at].target = head;
	vec_push(f->a, &f->w->plan->loop, (struct PlanLoop){head, here(f) - 1});
}

static void
copy(Flow *f, int from, int to)
{
	if (from >= 0 && to >= 0 && from != to)
		plan_setbufs(f->w, plan_addstep(f->w, StepCopy, f->loc), (int[]){from, to}, 2);
}

/* count elements from one place to another, in elements of the buffers. */
static void
copypart(Flow *f, int from, const Sym *fromat, int to, const Sym *toat, const Sym *count)
{
	Step *s = plan_addstep(f->w, StepCopy, f->loc);

	syms(f, s, (const Sym *[]){fromat, toat, count}, 3);
	plan_setbufs(f->w, s, (int[]){from, to}, 2);
}

static void
set(Flow *f, const Sym *var, const Sym *value)
{
	Step *s = plan_addstep(f->w, StepSize, f->loc);

	s->define = var;
	syms(f, s, &value, 1);
}

static const Sym *
counter(Flow *f, const char *what)
{
	Graph *v[MaxHopGraphs];
	int most = 0;

	for (int i = 0, n = hop_graphs(f->n, v); i < n; i++)
		most = height(v[i]) > most ? height(v[i]) : most;
	return sym_var(f->cx, intern_printf(f->cx, "%s%d", what, most), 0, INT64_MAX);
}

/* ---- random numbers ----------------------------------------------------------------------- */

/* In a loop whose sub-graphs draw, the round is part of what they draw from (hop_round). */
static bool
draws(const Flow *f)
{
	Graph *g[MaxHopGraphs];

	for (int i = 0, n = hop_graphs(f->n, g); i < n; i++)
		if (hop_draws(g[i]))
			return true;
	return false;
}

static void
roundsbegin(Flow *f, const Sym **outer)
{
	*outer = NULL;
	if (!draws(f))
		return;
	*outer = counter(f, "outer");
	set(f, *outer, hop_round(f->cx));
}

static void
roundis(Flow *f, const Sym *outer, const Sym *k)
{
	if (outer)
		set(f, hop_round(f->cx), hop_roundof(f->cx, outer, k));
}

static void
roundsend(Flow *f, const Sym *outer)
{
	if (outer)
		set(f, hop_round(f->cx), outer);
}

/* ---- calls -------------------------------------------------------------------------------- */

static int
mapped(Flow *f, const Buf *b, const int *in, int nin, const int *out, int nout)
{
	Buf copy = *b;

	if (b->home == HomeInput)
		return b->index < nin ? in[b->index] : -1;
	if (b->home == HomeOutput && b->index < nout && out[b->index] >= 0)
		return out[b->index];
	if (b->home == HomeOutput)
		copy.home = HomeArena;
	return plan_addbuf(f->w, copy);
}

static void
addkernels(Flow *f, const Plan *p)
{
	Plan *to = f->w->plan;

	for (int i = 0; i < p->kernel.n; i++) {
		bool seen = false;
		for (int k = 0; k < to->kernel.n && !seen; k++)
			seen = to->kernel.v[k] == p->kernel.v[i];
		if (!seen)
			vec_push(f->a, &to->kernel, p->kernel.v[i]);
	}
}

/* The steps of g, its inputs and outputs in these buffers. */
static bool
call(Flow *f, Graph *g, const int *in, int nin, const int *out, int nout)
{
	const Plan *p = subplan(f, g);
	int *map, base = here(f);

	if (p == NULL)
		return false;
	map = NEWN(f->a, int, p->buf.n + 1);
	for (int i = 0; i < p->buf.n; i++)
		map[i] = mapped(f, &p->buf.v[i], in, nin, out, nout);
	for (int i = 0; i < p->step.n; i++) {
		const Step *old = &p->step.v[i];
		int *buf = NEWN(f->a, int, old->nbuf + 1);
		for (int k = 0; k < old->nbuf; k++)
			buf[k] = old->buf[k] < 0 ? -1 : map[old->buf[k]];
		Step *s = plan_addstep(f->w, old->kind, old->loc);
		*s = *old;
		s->called = true;
		s->target += base;
		plan_setbufs(f->w, s, buf, old->nbuf);
	}
	for (int i = 0; i < p->loop.n; i++)
		vec_push(f->a, &f->w->plan->loop, (struct PlanLoop){p->loop.v[i].head + base, p->loop.v[i].end + base});
	addkernels(f, p);
	return true;
}

/* Sizes that only g has are those of what it is called with: its parameters from the first on. */
static void
bindsize(Flow *f, const Sym *var, const Sym *value)
{
	if (var->kind == SymVar && var != value)
		set(f, var, value);
}

static void
bindsizes(Flow *f, Graph *g, int first, HopList l)
{
	Val *p[MaxHopOperands];
	int np = hop_params(g, p, MaxHopOperands);

	for (int k = 0; k < l.n && first + k < np; k++) {
		const Type *t = p[first + k]->type, *is = l.v[k].kind == ArgVal ? l.v[k].use->val->type : NULL;
		if (t->kind == TySym && l.v[k].kind == ArgInt)
			bindsize(f, t->sym, l.v[k].i);
		for (int d = 0; is && t->kind == TyTensor && is->rank == t->rank && d < t->rank; d++)
			bindsize(f, t->dim[d], is->dim[d]);
	}
}

/* ---- buffers ------------------------------------------------------------------------------- */

/* The buffer of an operand; -1 for what is no tensor. */
static bool
operand(Flow *f, const Arg *a, int *b)
{
	*b = -1;
	if (a->kind != ArgVal || a->use->val->type->kind != TyTensor)
		return true;
	return (*b = plan_bufof(f->w, a->use->val)) >= 0;
}

static bool
operands(Flow *f, HopList l, int *b)
{
	for (int k = 0; k < l.n; k++)
		if (!operand(f, &l.v[k], &b[k]))
			return false;
	return true;
}

static int
fresh(Flow *f, const char *name, const Type *t)
{
	if (t == NULL || t->kind != TyTensor)
		return -1;
	return plan_addbuf(f->w, (Buf){.name = intern_printf(f->cx, "%s_%s", f->n->name, name), .home = HomeArena,
	                               .dt = t->dt, .count = type_numel(f->cx, t)});
}

static const Type *
typeof_(const Arg *a)
{
	return a->kind == ArgVal ? a->use->val->type : NULL;
}

static int *
resultbufs(Flow *f, int n)
{
	int *b = NEWN(f->a, int, n + 1);

	for (int k = 0; k < n; k++) {
		const Type *t = k < f->n->nout ? f->n->out[k].type : NULL;
		b[k] = t && t->kind == TyTensor && f->w->lo->rootof[f->n->out[k].id] ? plan_bufof(f->w, &f->n->out[k]) : -1;
	}
	return b;
}

/* ---- one of several ------------------------------------------------------------------------- */

static bool
branches(Flow *f, const char *chooser, bool cond)
{
	Graph *g[MaxHopGraphs];
	int ng = hop_graphs(f->n, g), which, *in, *out, *to = NEWN(f->a, int, ng + 1), *end = NEWN(f->a, int, ng + 1);
	HopList ops = hop_operands(f->n);
	const Arg *c = node_arg(f->n, chooser);
	const Sym *size = c->kind == ArgInt ? c->i : c->kind == ArgBool ? sym_const(f->cx, c->b) : NULL;

	in = NEWN(f->a, int, ops.n + 1);
	out = resultbufs(f, f->n->nout);
	if (!operand(f, c, &which) || !operands(f, ops, in))
		return false;
	if (cond)                               /* the second if it is 0 */
		to[1] = jump(f, which, size, 0);
	else                                    /* the last if it is none of the others */
		for (int k = 0; k + 1 < ng; k++)
			to[k] = jump(f, which, size, k);
	for (int i = 0; i < ng; i++) {
		int k = cond ? i : (i + ng - 1) % ng;   /* the last first: that is where no jump leads */
		if (i > 0)
			land(f, to[k]);
		bindsizes(f, g[k], 0, ops);
		if (!call(f, g[k], in, ops.n, out, f->n->nout))
			return false;
		if (i + 1 < ng)
			end[i] = jump(f, -1, NULL, 0);
	}
	for (int i = 0; i + 1 < ng; i++)
		land(f, end[i]);
	return true;
}

static bool
invoke(Flow *f)
{
	Graph *g[MaxHopGraphs];
	HopList ops = hop_operands(f->n);
	int *in = NEWN(f->a, int, ops.n + 1);

	if (hop_graphs(f->n, g) < 1 || !operands(f, ops, in))
		return false;
	bindsizes(f, g[0], 0, ops);
	return call(f, g[0], in, ops.n, resultbufs(f, f->n->nout), f->n->nout);
}

/* ---- while ------------------------------------------------------------------------------------ */

static void
limit(Flow *f, const Sym *rounds, int64_t most)
{
	Step *s;

	if (most <= 0)
		return;
	s = plan_addstep(f->w, StepSize, f->loc);
	const Sym *ok = sym_fn(f->cx, SymFnLt, (const Sym *[]){rounds, sym_const(f->cx, most)}, 2, NULL);
	syms(f, s, &ok, 1);
	s->assertion = intern_printf(f->cx, "%s: more than %lld rounds (-fmax-iterations)", f->n->name, (long long)most);
}

typedef struct While {
	HopList init, rest, made;
	int nc;                         /* carried values */
	int *first;                     /* their first values */
	int *in, *next;                 /* of a round: the carried and the rest; what it makes */
	const Sym **num;                /* numbers that are carried; NULL: a tensor */
	int *out, *row;                 /* results: the last values; those of each round; -1: not read */
	bool before;                    /* rows are of what goes into a round */
	const Sym *round, *len;         /* len NULL: no rows */
	int64_t most;
	Graph *g[MaxHopGraphs];
} While;

/* Rows have a number that is found: memory for them needs a bound.  If neither the model nor the
 * user gives one, it is as many rounds as 64 MiB hold. */
static bool
rowsbound(Flow *f, While *w, int first)
{
	int64_t bytes = 1, n, most;

	w->len = f->n->out[first].type->dim[0];
	for (int k = first; k < f->n->nout; k++)
		if (sym_isconst(type_numel(f->cx, hop_rowtype(f->cx, f->n->out[k].type)), &n))
			bytes += n * dtypeinfo[f->n->out[k].type->dt].bytes;
		else
			bytes += 1 << 20;
	most = (64 << 20) / bytes + 16;
	if (w->most <= 0)
		w->most = most < 1 << 16 ? most : 1 << 16;
	if (w->len->kind != SymVar) {
		error(f->cx, f->loc, "%s: the number of rounds is %s where it should be free", f->n->op->name, sym_str(f->cx, w->len));
		return false;
	}
	if (w->len->hi == INT64_MAX)
		sym_bound(f->cx, w->len, w->len->lo, w->most);
	w->most = w->len->hi < w->most ? w->len->hi : w->most;
	return true;
}

static bool
whilebegin(Flow *f, While *w, enum hopkind kind)
{
	int nrow = kind == HopWhile ? 0 : f->n->nout, first = kind == HopWhileKeep ? hop_carried(f->n).n : 0, *b;

	*w = (While){.init = hop_carried(f->n), .rest = hop_rest(f->n), .round = counter(f, "round"), .before = kind == HopWhileKeep,
	             .most = f->w->lo->opt.maxrounds};
	w->nc = w->init.n;
	if (hop_graphs(f->n, w->g) != 2 || (nrow > first && !rowsbound(f, w, first)))
		return false;
	w->made = hop_results(w->g[1]);
	b = resultbufs(f, 2 * w->nc);
	w->out = kind == HopWhileStack ? b + w->nc : b;
	w->row = kind == HopWhileStack ? b : b + w->nc;
	w->first = NEWN(f->a, int, w->nc + 1);
	w->in = NEWN(f->a, int, w->nc + w->rest.n + 1);
	w->next = NEWN(f->a, int, w->made.n + w->nc + 1);
	w->num = NEWN(f->a, const Sym *, w->nc + 1);
	if (!operands(f, w->init, w->first) || !operands(f, w->rest, w->in + w->nc))
		return false;
	for (int k = 0; k < w->nc; k++) {
		if (w->init.v[k].kind == ArgInt) {
			w->num[k] = counter(f, arena_printf(f->a, "carried%d_", k));
			w->in[k] = w->next[k] = -1;
			continue;
		}
		if (!typeof_(&w->init.v[k])) {
			error(f->cx, f->loc, "%s: carried value %d is no tensor or integer: not supported", f->n->op->name, k);
			return false;
		}
		w->in[k] = w->out[k] >= 0 ? w->out[k] : fresh(f, "carried", typeof_(&w->init.v[k]));
		w->next[k] = k < w->made.n ? fresh(f, "next", typeof_(&w->made.v[k])) : -1;
	}
	return true;
}

/* Numbers that are carried: what sub-graph g calls them is set to what they are. */
static void
givenumbers(Flow *f, const While *w, const Graph *g)
{
	Val *p[MaxHopOperands];
	int np = hop_params(g, p, MaxHopOperands);

	for (int k = 0; k < w->nc && k < np; k++)
		if (w->num[k] && p[k]->type->kind == TySym)
			bindsize(f, p[k]->type->sym, w->num[k]);
}

/* They become what the body makes of what it calls them. */
static bool
takenumbers(Flow *f, const While *w)
{
	for (int k = 0; k < w->nc && k < w->made.n; k++) {
		if (!w->num[k])
			continue;
		if (w->made.v[k].kind != ArgInt) {
			error(f->cx, f->loc, "%s: carried value %d begins as a number and becomes none", f->n->op->name, k);
			return false;
		}
		set(f, w->num[k], w->made.v[k].i);
	}
	return true;
}

static void
lastnumbers(Flow *f, const While *w)
{
	for (int k = 0; k < w->nc && k < f->n->nout; k++)
		if (w->num[k] && f->n->out[k].type->kind == TySym)
			bindsize(f, f->n->out[k].type->sym, w->num[k]);
}

/* What is carried becomes row number `round`. */
static void
keeprow(Flow *f, const While *w)
{
	for (int k = 0; k < w->nc; k++)
		if (w->row[k] >= 0) {
			const Sym *n = type_numel(f->cx, typeof_(&w->init.v[k]));
			copypart(f, w->in[k], sym_const(f->cx, 0), w->row[k], sym_mul(f->cx, w->round, n), n);
		}
}

/* PyTorch gives one row where no round ran: the first values. */
static void
onerow(Flow *f, const While *w)
{
	const Sym *zero = sym_const(f->cx, 0), *any = sym_fn(f->cx, SymFnLt, (const Sym *[]){zero, w->round}, 2, NULL);
	int some = jump(f, -1, any, 1);

	keeprow(f, w);
	set(f, w->round, sym_const(f->cx, 1));
	land(f, some);
}

static bool
whileloop(Flow *f, enum hopkind kind)
{
	int go, head, end;
	const Sym *outer, *more;
	const Arg *test;
	While w;

	if (!whilebegin(f, &w, kind))
		return false;
	test = hop_results(w.g[0]).n == 1 ? &hop_results(w.g[0]).v[0] : NULL;
	go = test ? fresh(f, "go", typeof_(test)) : -1;
	if (go < 0 && !(test && (test->kind == ArgInt || test->kind == ArgBool))) {
		error(f->cx, f->loc, "%s: its condition is no tensor or number", f->n->op->name);
		return false;
	}
	more = test->kind == ArgInt ? test->i : test->kind == ArgBool ? sym_const(f->cx, test->b) : NULL;
	bindsizes(f, w.g[0], w.nc, w.rest);
	bindsizes(f, w.g[1], w.nc, w.rest);
	for (int k = 0; k < w.nc; k++)
		if (w.num[k])
			set(f, w.num[k], w.init.v[k].i);
		else
			copy(f, w.first[k], w.in[k]);
	set(f, w.round, sym_const(f->cx, 0));
	roundsbegin(f, &outer);
	head = here(f);
	roundis(f, outer, w.round);
	givenumbers(f, &w, w.g[0]);
	if (!call(f, w.g[0], w.in, w.nc + w.rest.n, &go, 1))
		return false;
	end = jump(f, go, more, 0);
	limit(f, w.round, w.most);
	if (w.len && w.before)
		keeprow(f, &w);
	givenumbers(f, &w, w.g[1]);
	if (!call(f, w.g[1], w.in, w.nc + w.rest.n, w.next, w.made.n) || !takenumbers(f, &w))
		return false;
	for (int k = 0; k < w.nc; k++)
		copy(f, w.next[k], w.in[k]);
	if (w.len && !w.before)
		keeprow(f, &w);
	set(f, w.round, sym_add(f->cx, w.round, sym_const(f->cx, 1)));
	back(f, head);
	land(f, end);
	if (w.len && !w.before)
		onerow(f, &w);
	if (w.len)
		set(f, w.len, w.round);
	lastnumbers(f, &w);
	roundsend(f, outer);
	return true;
}

/* ---- rows ---------------------------------------------------------------------------------------- */

typedef struct Rows {
	HopList xs;
	int nc, nr, ny;                 /* carried, the rest, results that are stacked */
	int *x;                         /* buffers of xs */
	int *in;                        /* of the call: carried, a row of each xs, the rest */
	int *made, *out;                /* what a round makes; the results */
	const Sym *k, *at;              /* the round, its row */
	Graph *g;
	HopList res;
} Rows;

static const Sym *
rowsize(Flow *f, const Arg *x)
{
	return type_numel(f->cx, hop_rowtype(f->cx, typeof_(x)));
}

static void
takerows(Flow *f, Rows *r)
{
	for (int i = 0; i < r->xs.n; i++) {
		const Sym *n = rowsize(f, &r->xs.v[i]);
		copypart(f, r->x[i], sym_mul(f->cx, r->at, n), r->in[r->nc + i], sym_const(f->cx, 0), n);
	}
}

/* from: buffers of one round's results that are stacked. */
static void
putrows(Flow *f, Rows *r, const int *from, int first)
{
	for (int i = 0; i < r->ny; i++) {
		int o = r->out[first + i];
		if (o < 0)
			continue;
		const Sym *n = type_numel(f->cx, hop_rowtype(f->cx, f->n->out[first + i].type));
		copypart(f, from[i], sym_const(f->cx, 0), o, sym_mul(f->cx, r->at, n), n);
	}
}

static bool
rowsbegin(Flow *f, Rows *r, enum hopkind kind)
{
	HopList init = kind == HopMap ? (HopList){NULL, 0} : hop_carried(f->n), rest = hop_rest(f->n);
	Graph *g[MaxHopGraphs];
	int *first = NEWN(f->a, int, init.n + 1);

	if (hop_graphs(f->n, g) != 1)
		return false;
	*r = (Rows){.xs = hop_rows(f->n), .nc = init.n, .nr = rest.n, .k = counter(f, "row"), .g = g[0], .res = hop_results(g[0])};
	r->at = hop_isreverse(f->n) ? sym_sub(f->cx, sym_sub(f->cx, hop_length(f->n), r->k), sym_const(f->cx, 1)) : r->k;
	r->x = NEWN(f->a, int, r->xs.n + 1);
	r->in = NEWN(f->a, int, r->nc + r->xs.n + r->nr + 1);
	r->made = NEWN(f->a, int, r->res.n + 1);
	r->out = resultbufs(f, r->res.n);
	r->ny = kind == HopScan ? r->res.n - r->nc : r->res.n;
	if (!operands(f, r->xs, r->x) || !operands(f, rest, r->in + r->nc + r->xs.n) || !operands(f, init, first))
		return false;
	bindsizes(f, r->g, r->nc + r->xs.n, rest);
	for (int i = 0; i < r->xs.n; i++)
		r->in[r->nc + i] = fresh(f, "row", hop_rowtype(f->cx, typeof_(&r->xs.v[i])));
	for (int i = 0; i < r->res.n; i++)
		r->made[i] = fresh(f, "made", typeof_(&r->res.v[i]));
	for (int i = 0; i < r->nc; i++) {
		bool isresult = kind == HopScan && r->out[i] >= 0;
		const Type *t = typeof_(&init.v[i]);
		r->in[i] = isresult ? r->out[i] : fresh(f, "carried", kind == HopAssociative ? hop_rowtype(f->cx, t) : t);
		if (kind == HopScan)
			copy(f, first[i], r->in[i]);
	}
	return true;
}

/* The first row of an associative scan is that of xs. */
static void
firstrow(Flow *f, Rows *r)
{
	takerows(f, r);
	for (int i = 0; i < r->nc; i++)
		copy(f, r->in[r->nc + i], r->in[i]);
	putrows(f, r, r->in, 0);
}

static bool
rowloop(Flow *f, enum hopkind kind)
{
	const Sym *n = hop_length(f->n), *one = sym_const(f->cx, 1), *more, *outer;
	int head, end, empty = -1;
	Rows r;

	if (!rowsbegin(f, &r, kind))
		return false;
	set(f, r.k, sym_const(f->cx, 0));
	more = sym_fn(f->cx, SymFnLt, (const Sym *[]){r.k, n}, 2, NULL);
	if (kind == HopAssociative) {
		empty = jump(f, -1, more, 0);
		firstrow(f, &r);
		set(f, r.k, one);
	}
	roundsbegin(f, &outer);
	head = here(f);
	end = jump(f, -1, more, 0);
	roundis(f, outer, r.at);
	takerows(f, &r);
	if (!call(f, r.g, r.in, r.nc + r.xs.n + r.nr, r.made, r.res.n))
		return false;
	for (int i = 0; i < r.nc; i++)
		copy(f, r.made[i], r.in[i]);
	putrows(f, &r, kind == HopScan ? r.made + r.nc : r.made, kind == HopScan ? r.nc : 0);
	set(f, r.k, sym_add(f->cx, r.k, one));
	back(f, head);
	land(f, end);
	roundsend(f, outer);
	if (empty >= 0)
		land(f, empty);
	return true;
}

/* ---- all ------------------------------------------------------------------------------------------ */

static bool
print(Flow *f)
{
	HopText t = {0};
	int *buf;
	Step *s;

	if (!hop_text(f->n, &t))
		return false;
	buf = NEWN(f->a, int, t.val.n + 1);
	for (int i = 0; i < t.val.n; i++)
		if ((buf[i] = plan_bufof(f->w, t.val.v[i])) < 0)
			return false;
	s = plan_addstep(f->w, StepExtern, f->loc);
	s->fn = intern_str(f->cx, "print");
	syms(f, s, t.num.v, t.num.n);
	plan_setbufs(f->w, s, buf, t.val.n);
	return true;
}

/* ---- operators of the user's own ------------------------------------------------------------------- */

/* Nobody else reads v: it may be changed where it lies. */
static bool
inplace(Flow *f, Val *v)
{
	Lower *lo = f->w->lo;

	return lo->rootof[v->id] && !lo->isout[v->id] && node_nuse(v) == 2 &&     /* argument and base */
	       lo->bufof[v->id] >= 0 && f->w->plan->buf.v[lo->bufof[v->id]].home == HomeArena;
}

typedef struct Custom { VEC(int) buf; VEC(const Sym *) num; VEC(double) real; } Custom;

static void
tensor(Flow *f, Custom *c, int b, const Type *t)
{
	vec_push(f->a, &c->buf, b);
	vec_push(f->a, &c->num, sym_const(f->cx, t->rank));
	for (int d = 0; d < t->rank; d++)
		vec_push(f->a, &c->num, t->dim[d]);
}

static int
position(HopList l, const Val *v)
{
	for (int k = 0; k < l.n; k++)
		if (l.v[k].kind == ArgVal && l.v[k].use->val == v)
			return k;
	return -1;
}

static bool
argument(Flow *f, Custom *c, const Arg *a, HopList bases, const int *changed)
{
	int64_t k;
	int b;

	if (a->kind == ArgVal) {
		b = position(bases, a->use->val);
		b = b >= 0 ? changed[b] : plan_bufof(f->w, a->use->val);
		if (b >= 0)
			tensor(f, c, b, a->use->val->type);
		return b >= 0;
	}
	if (a->kind == ArgFloat)
		vec_push(f->a, &c->real, a->f);
	else if (a->kind == ArgBool)
		vec_push(f->a, &c->real, a->b);
	else if (a->kind == ArgInt && sym_isconst(a->i, &k))
		vec_push(f->a, &c->real, (double)k);
	else {
		error(f->cx, f->loc, "%s: only tensors and numbers can be handed to a C function", f->n->arg[0].s);
		return false;
	}
	return true;
}

static bool
custom(Flow *f)
{
	const Arg *args = node_arg(f->n, "args"), *all = node_arg(f->n, "_all_bases"), *symbol = node_arg(f->n, "symbol");
	HopList bases = {all->list.v, all->kind == ArgList ? all->list.n : 0};
	int nret = f->n->nout - bases.n, *changed = NEWN(f->a, int, bases.n + 1), from;
	Custom c = {0};
	Step *s;

	if (symbol->kind != ArgStr) {
		error(f->cx, f->loc, "%s is an operator of your own: --extern=%s=SYMBOL names a C function for it", f->n->arg[0].s, f->n->arg[0].s);
		return false;
	}
	for (int k = 0; k < bases.n; k++) {
		Val *was = bases.v[k].use->val, *is = &f->n->out[nret + k];
		if ((from = plan_bufof(f->w, was)) < 0)
			return false;
		if (f->w->lo->bufof[is->id] < 0 && inplace(f, was))
			f->w->lo->bufof[is->id] = from;
		changed[k] = plan_bufof(f->w, is);
		copy(f, from, changed[k]);
	}
	for (int k = 0; args->kind == ArgList && k < args->list.n; k++)
		if (!argument(f, &c, &args->list.v[k], bases, changed))
			return false;
	for (int k = 0; k < nret; k++)
		if (f->n->out[k].type->kind == TyTensor)
			tensor(f, &c, plan_bufof(f->w, &f->n->out[k]), f->n->out[k].type);
	if (c.num.n > 60 || c.real.n > 60) {
		error(f->cx, f->loc, "%s: too many arguments for a C function", f->n->arg[0].s);
		return false;
	}
	s = plan_addstep(f->w, StepExtern, f->loc);
	s->fn = intern_str(f->cx, "custom");
	s->symbol = symbol->s;
	syms(f, s, c.num.v, c.num.n);
	s->real = c.real.v;
	s->nreal = c.real.n;
	plan_setbufs(f->w, s, c.buf.v, c.buf.n);
	return true;
}

bool
flow_steps(Planning *w, Node *n)
{
	Flow f = {.w = w, .n = n, .cx = w->lo->cx, .a = w->lo->a, .loc = n->loc};
	enum hopkind k = hop_kind(n->op);

	if (n->graph->parent == NULL && draws(&f))
		set(&f, hop_round(f.cx), sym_const(f.cx, 0));
	switch (k) {
	case HopCond:   return branches(&f, "pred", true);
	case HopSwitch: return branches(&f, "index", false);
	case HopInvoke: case HopFunction: return invoke(&f);
	case HopPrint: case HopEffects: return print(&f);
	case HopCustom: return custom(&f);
	case HopWhile: case HopWhileStack: case HopWhileKeep: return whileloop(&f, k);
	case HopMap: case HopScan: case HopAssociative: return rowloop(&f, k);
	default:
		error(w->lo->cx, n->loc, "%s: there is no code for it", n->op->name);
		return false;
	}
}

void
flow_live(Planning *w)
{
	bool changed = true;

	while (changed) {
		changed = false;
		for (int i = 0; i < w->plan->loop.n; i++)
			for (int b = 0; b < w->plan->buf.n; b++) {
				Buf *u = &w->plan->buf.v[b];
				const struct PlanLoop *l = &w->plan->loop.v[i];
				if (u->first < 0 || u->first > l->end || u->last < l->head)
					continue;
				if (u->first < l->head && u->last < l->end) {
					u->last = l->end;
					changed = true;
				}
				if (u->first > l->head && u->last > l->end) {     /* filled round by round */
					u->first = l->head;
					changed = true;
				}
			}
	}
}
