/* interp.c - the reference interpreter: run a graph, node by node.
 *
 * What a node computes is what its table says (node_low); an operator that is
 * made of others is expanded into a graph of its own and that is run.  Sizes
 * are bound from the shapes of the inputs and from the results of operators
 * that find a size.  Sums are added in double and rounded at the end; in f64
 * mode every float is a double, which is the answer that others are measured by.
 *
 * Each value has its own arena, freed after the last use.
 */
#include <math.h>
#include "ir/eval.h"
#include "ir/hop.h"
#include "rt/rt.h"

/* A value while the graph runs. */
typedef struct Mem { Tensor t; Arena *a; int uses; } Mem;

typedef struct Run {
	Ctx *cx;
	Arena *a;              /* of the run: tables, not data */
	bool f64;
	Map mem;               /* Val -> Mem */
	VEC(Mem *) all;        /* those with arenas */
	VEC(const Sym *) var;  /* sizes that are known ... */
	VEC(const Sym *) num;  /* ... and their values */
	int64_t round;         /* of random numbers in loops */
} Run;

static bool runnode(Run *, Node *);
static bool rungraph(Run *, Graph *, const Tensor *const *in, int nin);

/* ---- sizes ------------------------------------------------------------------------------ */

static void
bind(Run *r, const Sym *var, int64_t v)
{
	vec_push(r->a, &r->var, var);
	vec_push(r->a, &r->num, sym_const(r->cx, v));
}

static bool
look(void *p, const Sym *var, int64_t *out)
{
	Run *r = p;

	for (int k = 0; k < r->var.n; k++)
		if (r->var.v[k] == var && r->num.v[k]->kind == SymConst) {
			*out = r->num.v[k]->k;
			return true;
		}
	return false;
}

static bool
size(Run *r, Node *n, const Sym *s, int64_t *out)
{
	if (sym_isconst(s, out) || sym_eval(s, look, r, out))
		return true;
	error(r->cx, n->loc, "%s: size %s is not known", n->op->name, sym_str(r->cx, s));
	return false;
}

/* Bind the variables that stand as a dimension of ty from the sizes of t. */
static bool
bindshape(Run *r, Loc loc, const Type *ty, const Tensor *t)
{
	int64_t k;

	for (int d = 0; d < ty->rank; d++) {
		if (ty->dim[d]->kind == SymVar && !sym_eval(ty->dim[d], look, r, &k))
			bind(r, ty->dim[d], t->dim[d]);
		if (sym_eval(ty->dim[d], look, r, &k) && k != t->dim[d]) {
			error(r->cx, loc, "dimension %d has size %lld where the graph says %s",
			      d, (long long)t->dim[d], sym_str(r->cx, ty->dim[d]));
			return false;
		}
	}
	return true;
}

/* ---- memory -------------------------------------------------------------------------------- */

static enum dtype
memdt(const Run *r, enum dtype dt)
{
	return r->f64 && dt_float(dt) ? DtF64 : dt;
}

static void
place(Tensor *t, Arena *a)
{
	t->bytes = (size_t)tensor_numel(t) * dtypeinfo[t->dt].bytes;
	t->data = arena_alloc(a, t->bytes + 16, 16);
}

static Mem *
newmem(Run *r, Val *v)
{
	Mem *m = NEW(r->a, Mem);

	m->a = arena_new();
	m->uses = node_nuse(v);
	map_put(r->a, &r->mem, v, m);
	vec_push(r->a, &r->all, m);
	return m;
}

/* v is memory that somebody else frees. */
static void
lend(Run *r, const Val *v, const Tensor *t)
{
	Mem *m = NEW(r->a, Mem);

	m->t = *t;
	map_put(r->a, &r->mem, v, m);
}

/* v gets the memory of w, if that may be had, or a copy. */
static void
take(Run *r, Val *v, const Val *w)
{
	Mem *from = map_get(&r->mem, w), *m = newmem(r, v);

	m->t = from->t;
	if (from->a) {
		arena_free(m->a);
		m->a = from->a;
		from->a = NULL;
		return;
	}
	m->t.data = arena_dup(m->a, from->t.data, from->t.bytes);
}

static const Tensor *
tensor(void *p, const Val *v)
{
	Mem *m = map_get(&((Run *)p)->mem, v);

	return m ? &m->t : NULL;
}

/* As a double tensor if the mode wants that; else the same bytes. */
static void
convert(const Run *r, Tensor *t, const Tensor *from, Arena *a)
{
	*t = *from;
	t->dt = memdt(r, from->dt);
	if (t->dt == from->dt)
		return;
	place(t, a);
	for (int64_t k = 0, n = tensor_numel(t); k < n; k++)
		tensor_set(t, k, tensor_get(from, k));
}

static bool
alloc(Run *r, Node *n, int out)
{
	const Type *ty = n->out[out].type;
	Mem *m;

	if (!ty || ty->kind != TyTensor)
		return true;
	m = newmem(r, &n->out[out]);
	m->t = (Tensor){.dt = memdt(r, ty->dt), .rank = ty->rank};
	for (int d = 0; d < ty->rank; d++)
		if (!size(r, n, ty->dim[d], &m->t.dim[d]))
			return false;
	place(&m->t, m->a);
	return true;
}

/* ---- elements -------------------------------------------------------------------------------- */

/* The index variables of one rectangle, with ranges that say its sizes. */
typedef struct Domain {
	int n;
	const Sym *var[2 * MaxRank];
	int64_t extent[2 * MaxRank];
	const Sym **from, **to;    /* substitution: sizes, then index variables */
	int nsub;
} Domain;

static bool
domain(Run *r, Node *n, Domain *d, const char *stem, const Sym *const *i, const int64_t *extent, int rank)
{
	if (rank > COUNT(d->var)) {
		error(r->cx, n->loc, "%s: more than %d indices", n->op->name, COUNT(d->var));
		return false;
	}
	d->n = rank;
	d->nsub = r->var.n + rank;
	d->from = NEWN(r->a, const Sym *, d->nsub + 1);
	d->to = NEWN(r->a, const Sym *, d->nsub + 1);
	for (int k = 0; k < r->var.n; k++) {
		d->from[k] = r->var.v[k];
		d->to[k] = r->num.v[k];
	}
	for (int k = 0; k < rank; k++) {
		int64_t x = d->extent[k] = extent[k];
		d->var[k] = sym_var(r->cx, intern_printf(r->cx, "%s%d_%lld", stem, k, (long long)x), 0, x > 0 ? x - 1 : 0);
		d->from[r->var.n + k] = i[k];
		d->to[r->var.n + k] = x == 1 ? sym_const(r->cx, 0) : d->var[k];
	}
	return true;
}

static const Ex *
concrete(Run *r, const Domain *d, const Ex *e)
{
	return ex_rewrite(r->cx, e, NULL, NULL, d->from, d->to, d->nsub);
}

static int64_t
points(const Domain *d)
{
	int64_t n = 1;

	for (int k = 0; k < d->n; k++)
		n *= d->extent[k];
	return n;
}

static void
start(Run *r, Eval *E, Arena *a, Node *n, const Domain *d, bool wide)
{
	eval_init(E, r->cx, a, n->loc, r->f64, wide, d->var, d->extent, d->n);
	E->tensor = tensor;
	E->arg = r;
}

/* Sinks: store register reg of each point to a tensor, or as Nums. */
typedef struct Store { Tensor *t; Num *num; int reg; } Store;

#define EACH(T, field)                                                         \
	for (int k = 0; k < n; k++)                                            \
		((T *)t->data)[base + k] = (T)eval_lane(E, s->reg, k).field;   \
	break

static void
storetensor(void *p, Eval *E, int64_t base, int n)
{
	Store *s = p;
	Tensor *t = s->t;

	switch (t->dt) {
	case DtF32: EACH(float, f);
	case DtF64: EACH(double, f);
	case DtI64: case DtU64: EACH(int64_t, i);
	case DtI32: case DtU32: EACH(int32_t, i);
	case DtB8:  case DtU8:  EACH(uint8_t, i);
	default:
		for (int k = 0; k < n; k++)
			if (dt_int(t->dt))
				tensor_seti(t, base + k, eval_lane(E, s->reg, k).i);
			else
				tensor_set(t, base + k, eval_lane(E, s->reg, k).f);
	}
}

static void
storenum(void *p, Eval *E, int64_t base, int n)
{
	Store *s = p;

	for (int k = 0; k < n; k++)
		s->num[base + k] = eval_lane(E, s->reg, k);
}

static bool
evaluate(Run *r, Node *n, const Domain *d, const Ex *e, Tensor *t, Num *num)
{
	Arena *scratch = arena_new();
	Store s = {t, num, -1};
	Eval E;
	bool ok = true;

	if (points(d) > 0) {
		e = concrete(r, d, e);
		if (t)
			e = ex_adopt(r->cx, t->dt, e);
		start(r, &E, scratch, n, d, eval_iswide(e, points(d)));
		s.reg = eval_ex(&E, e);
		ok = s.reg >= 0 && eval_run(&E, t ? storetensor : storenum, &s);
	}
	arena_free(scratch);
	return ok;
}

/* A plain load of a dtype without arithmetic (complex): its bytes. */
typedef struct Copy { Tensor *t; const Tensor *from; int reg[MaxRank]; bool bad; } Copy;

static void
copybytes(void *p, Eval *E, int64_t base, int n)
{
	Copy *c = p;
	int w = dtypeinfo[c->t->dt].bytes;

	for (int k = 0; k < n; k++) {
		int64_t at = 0;
		for (int d = 0; d < c->from->rank; d++) {
			int64_t i = eval_lane(E, c->reg[d], k).i;
			c->bad |= i < 0 || i >= c->from->dim[d];
			at = at * c->from->dim[d] + i;
		}
		if (!c->bad)
			memcpy((char *)c->t->data + (base + k) * w, (const char *)c->from->data + at * w, (size_t)w);
	}
}

static bool
copyload(Run *r, Node *n, const Domain *d, const Ex *e, Tensor *t)
{
	Arena *scratch = arena_new();
	Copy c = {.t = t, .from = tensor(r, e->val)};
	bool ok = c.from && c.from->rank == e->nidx;
	Eval E;

	start(r, &E, scratch, n, d, false);
	for (int k = 0; ok && k < e->nidx; k++)
		ok = (c.reg[k] = eval_sym(&E, e->idx[k])) >= 0;
	ok = ok && eval_run(&E, copybytes, &c);
	if (!ok || c.bad)
		error(r->cx, n->loc, "%s: an index is out of range", n->op->name);
	arena_free(scratch);
	return ok && !c.bad;
}

static bool
element(Run *r, Node *n, int out, const Low *low)
{
	Tensor *t = &((Mem *)map_get(&r->mem, &n->out[out]))->t;
	const Ex *e;
	Domain d;

	if (!domain(r, n, &d, "e", low->i, t->dim, t->rank))
		return false;
	if (dtypeinfo[t->dt].kind == KindComplex) {
		e = concrete(r, &d, low->element);
		if (e->kind == ExLoad && e->dt == t->dt)
			return copyload(r, n, &d, e, t);
	}
	return evaluate(r, n, &d, low->element, t, NULL);
}

/* ---- scans and scatters: an array of Nums, folded into in order ------------------------------- */

static Num
combined(enum fold f, enum dtype dt, Num a, Num b)
{
	static const uint8_t sc[NFold] = {[FoldSum] = ScAdd, [FoldProd] = ScMul, [FoldMax] = ScMax,
	                                  [FoldMin] = ScMin, [FoldAny] = ScOr, [FoldAll] = ScAnd};

	return scalar_eval(sc[f], dt_int(dt) ? dt : DtF64, (Num[]){a, b});
}

static bool
after(enum fold f, enum dtype dt, Num v, Num best)
{
	bool min = f == FoldArgmin;
	Num a[2] = {min ? v : best, min ? best : v};

	if (!dt_int(dt) && (isnan(v.f) || isnan(best.f)))
		return !isnan(best.f);
	return scalar_eval(ScLt, dt, a).i;
}

static void
scanrow(const Low *low, enum dtype dt, Num *v, int64_t n, int64_t step)
{
	bool arg = low->fold == FoldArgmax || low->fold == FoldArgmin;
	int64_t at = low->reverse ? n - 1 : 0, by = low->reverse ? -1 : 1, pos = at;
	Num best = v[at * step], x;

	for (int64_t k = 0; k < n; k++, at += by) {
		x = v[at * step];
		if (arg) {
			if (k && after(low->fold, dt, x, best)) {
				best = x;
				pos = at;
			}
			v[at * step].i = pos;
		} else if (k) {
			best = v[at * step] = combined(low->fold, dt, best, x);
		}
	}
}

static void
putnums(Tensor *t, enum dtype from, const Num *v)
{
	for (int64_t k = 0, n = tensor_numel(t); k < n; k++) {
		Num x = num_cast(from, t->dt, v[k]);
		if (dt_int(t->dt))
			tensor_seti(t, k, x.i);
		else
			tensor_set(t, k, x.f);
	}
}

static bool
scan(Run *r, Node *n, int out, const Low *low)
{
	Tensor *t = &((Mem *)map_get(&r->mem, &n->out[out]))->t;
	int64_t total = tensor_numel(t), inner = 1, len;
	enum dtype dt = memdt(r, low->element->dt);
	bool arg = low->fold == FoldArgmax || low->fold == FoldArgmin;
	Arena *scratch = arena_new();
	Num *v = NEWN(scratch, Num, total + 1);
	Domain d;
	bool ok = domain(r, n, &d, "e", low->i, t->dim, t->rank) && evaluate(r, n, &d, low->element, NULL, v);

	for (int k = low->dim + 1; k < t->rank; k++)
		inner *= t->dim[k];
	len = t->rank ? t->dim[low->dim] : 1;
	for (int64_t o = 0; ok && o < total; o += len * inner)
		for (int64_t i = 0; i < inner; i++)
			scanrow(low, dt, v + o + i, len, inner);
	if (ok)
		putnums(t, arg ? DtI64 : dt_int(dt) ? dt : DtF64, v);
	arena_free(scratch);
	return ok;
}

typedef struct Scatter {
	Run *r;
	const Low *low;
	const Tensor *t;
	enum dtype dt;
	Num *v;
	int at[MaxRank], put, putif;
	bool bad;
} Scatter;

static void
putpoints(void *p, Eval *E, int64_t base, int n)
{
	Scatter *s = p;

	(void)base;
	for (int k = 0; k < n && !s->bad; k++) {
		int64_t at = 0;
		if (s->putif >= 0 && !eval_lane(E, s->putif, k).i)
			continue;
		for (int d = 0; d < s->t->rank; d++) {
			int64_t i = eval_lane(E, s->at[d], k).i;
			s->bad |= i < 0 || i >= s->t->dim[d];
			at = s->bad ? 0 : at * s->t->dim[d] + i;
		}
		if (s->bad)
			return;
		s->v[at] = s->low->set ? eval_lane(E, s->put, k)
		         : combined(s->low->fold, s->dt, s->v[at], eval_lane(E, s->put, k));
	}
}

static bool
putall(Run *r, Node *n, Scatter *s, const Low *low, Arena *scratch)
{
	int64_t over[2 * MaxRank];
	const Ex *put, *putif = NULL;
	Domain d;
	Eval E;

	for (int k = 0; k < low->nover; k++)
		if (k >= COUNT(over) || !size(r, n, low->over[k], &over[k]))
			return false;
	if (!domain(r, n, &d, "s", low->j, over, low->nover))
		return false;
	if (points(&d) == 0)
		return true;
	put = ex_adopt(r->cx, low->element->dt, concrete(r, &d, low->put));
	if (low->putif) {
		putif = ex_cast(r->cx, DtB8, concrete(r, &d, low->putif));
		put = ex_op(r->cx, ScSelect, putif, put, ex_int(r->cx, put->dt, 0));
	}
	start(r, &E, scratch, n, &d, false);
	s->putif = putif ? eval_ex(&E, putif) : -1;
	s->put = eval_ex(&E, put);
	for (int k = 0; k < low->nidx; k++) {
		const Ex *at = concrete(r, &d, ex_index(r->cx, low->at[k]));
		if (putif)
			at = ex_op(r->cx, ScSelect, putif, at, ex_int(r->cx, DtNone, 0));
		if ((s->at[k] = eval_ex(&E, at)) < 0)
			return false;
	}
	return s->put >= 0 && !(putif && s->putif < 0) && eval_run(&E, putpoints, s);
}

static bool
scatter(Run *r, Node *n, int out, const Low *low)
{
	Tensor *t = &((Mem *)map_get(&r->mem, &n->out[out]))->t;
	Scatter s = {.r = r, .low = low, .t = t, .dt = memdt(r, low->element->dt)};
	Arena *scratch = arena_new();
	Domain d;
	bool ok;

	s.v = NEWN(scratch, Num, tensor_numel(t) + 1);
	ok = domain(r, n, &d, "e", low->i, t->dim, t->rank) && evaluate(r, n, &d, low->element, NULL, s.v) &&
	     putall(r, n, &s, low, scratch);
	if (s.bad) {
		error(r->cx, n->loc, "%s: an index is out of range", n->op->name);
		ok = false;
	}
	if (ok)
		putnums(t, dt_int(s.dt) ? s.dt : DtF64, s.v);
	arena_free(scratch);
	return ok;
}

/* ---- functions of lib/rt ------------------------------------------------------------------------ */

#define RT(name) extern fxrt_fn fxrt_##name;
#include "rt/rttab.h"
#undef RT

static fxrt_fn *
rtfind(Str name)
{
	static const struct { const char *name; fxrt_fn *fn; } tab[] = {
#define RT(name) {#name, fxrt_##name},
#include "rt/rttab.h"
#undef RT
	};

	for (int k = 0; k < COUNT(tab); k++)
		if (strcmp(tab[k].name, name) == 0)
			return tab[k].fn;
	return NULL;
}

typedef struct Bufs { Run *r; VEC(void *) buf; VEC(uint8_t) dt; int64_t most; Arena *a; } Bufs;

static void
addbuf(Bufs *b, void *data, enum dtype dt)
{
	vec_push(b->a, &b->buf, data);
	vec_push(b->a, &b->dt, (uint8_t)dt);
}

static void
addarg(Bufs *b, const OpDef *op, int param, const Arg *g)
{
	const Tensor *t;

	if (g->kind == ArgVal && (t = tensor(b->r, g->use->val))) {
		addbuf(b, t->data, t->dt);
		b->most = tensor_numel(t) > b->most ? tensor_numel(t) : b->most;
	} else if (g->kind == ArgNone && op->param[param].type == AtTensor) {
		addbuf(b, NULL, DtB8);
	} else if (g->kind == ArgList) {
		for (int k = 0; k < g->list.n; k++)
			addarg(b, op, param, &g->list.v[k]);
	}
}

/* A result whose size the function finds gets room for the most there can be. */
static bool
addresults(Run *r, Node *n, Bufs *b, const Sym **found)
{
	int mark = r->var.n;

	for (int o = 0; o < n->nout; o++) {
		const Type *ty = n->out[o].type;
		int64_t k;
		for (int d = 0; ty->kind == TyTensor && d < ty->rank; d++)
			if (ty->dim[d]->kind == SymVar && !sym_eval(ty->dim[d], look, r, &k)) {
				*found = ty->dim[d];
				bind(r, ty->dim[d], ty->dim[d]->hi < INT32_MAX ? ty->dim[d]->hi : b->most);
			}
		if (!alloc(r, n, o))
			return false;
		Mem *m = map_get(&r->mem, &n->out[o]);
		if (m)
			addbuf(b, m->t.data, m->t.dt);
	}
	r->var.n = r->num.n = mark;
	return true;
}

/* The size found, into the shapes of the results. */
static bool
resize(Run *r, Node *n, const Sym *found, int64_t size)
{
	bind(r, found, size);
	for (int o = 0; o < n->nout; o++) {
		Mem *m = map_get(&r->mem, &n->out[o]);
		for (int d = 0; m && d < m->t.rank; d++)
			if (n->out[o].type->dim[d] == found)
				m->t.dim[d] = size;
		if (m)
			m->t.bytes = (size_t)tensor_numel(&m->t) * dtypeinfo[m->t.dt].bytes;
	}
	return true;
}

static bool
external(Run *r, Node *n, const Low *low)
{
	Arena *scratch = arena_new();
	Bufs b = {.r = r, .a = scratch};
	int64_t *num = NEWN(scratch, int64_t, low->nnum + 1), bytes, out = -1;
	const Sym *found = NULL;
	fxrt_fn *fn = rtfind(low->fn);
	bool ok = fn != NULL;
	int rc;

	if (!ok)
		error(r->cx, n->loc, "%s: there is no function %s in lib/rt", n->op->name, low->fn);
	for (int k = 0; k < n->narg; k++)
		addarg(&b, n->op, k, &n->arg[k]);
	ok = ok && addresults(r, n, &b, &found);
	for (int k = 0; ok && k < low->nscratch; k++)
		if ((ok = size(r, n, low->scratch[k], &bytes)))
			addbuf(&b, arena_alloc(scratch, (size_t)bytes + 16, 16), DtU8);
	for (int k = 0; ok && k < low->nnum; k++)
		ok = size(r, n, low->num[k], &num[k]);
	if (ok) {
		rc = fn(&(fxrt_call){b.buf.v, b.dt.v, num, low->real, found ? &out : NULL, b.buf.n, low->nnum, low->nreal, NULL});
		if (rc)
			error(r->cx, n->loc, "%s: run-time function %s failed with code %d", n->op->name, low->fn, rc);
		ok = rc == 0;
	}
	if (ok && found)
		ok = resize(r, n, found, out);
	arena_free(scratch);
	return ok;
}

/* ---- operators made of others --------------------------------------------------------------------- */

static Arg
mapped(Run *r, Graph *g, Map *with, const Arg *g0)
{
	Arg out = *g0;
	Val *v, *w;

	if (g0->kind == ArgVal) {
		v = g0->use->val;
		if (!(w = map_get(with, v))) {
			Node *p = node_placeholder(g, v->name ? v->name : intern_str(r->cx, "v"), v->type, NOLOC);
			w = &p->out[0];
			map_put(r->a, with, v, w);
			if (tensor(r, v))
				lend(r, w, tensor(r, v));
		}
		return arg_val(w);
	}
	if (g0->kind == ArgList || g0->kind == ArgSlice || g0->kind == ArgComplex) {
		out.list.v = NEWN(r->a, Arg, g0->list.n + 1);
		for (int k = 0; k < g0->list.n; k++)
			out.list.v[k] = mapped(r, g, with, &g0->list.v[k]);
	}
	return out;
}

/* n alone as a graph: its operands are the placeholders. */
static Graph *
alone(Run *r, Node *n)
{
	Graph *g = graph_new(n->graph->mod, intern_str(r->cx, "expanded"), NULL);
	Arg *arg = NEWN(r->a, Arg, n->narg + 1), *res = NEWN(r->a, Arg, n->nout + 1);
	Map with = {0};
	Node *m;

	for (int k = 0; k < n->narg; k++)
		arg[k] = mapped(r, g, &with, &n->arg[k]);
	m = node_new(g, n->op, arg, n->narg, n->nout, NULL, n->loc);
	if (!node_infer(m))
		return NULL;
	for (int k = 0; k < n->nout; k++) {
		bool none = m->out[k].type && m->out[k].type->kind == TyNone;
		res[k] = none ? arg_none() : arg_val(&m->out[k]);
	}
	node_output(g, &(Arg){.kind = ArgList, .list = {res, n->nout}}, n->loc);
	return node_expand(m) ? g : NULL;
}

/* The results of a graph that has run become those of n. */
static bool
results(Run *r, Node *n, const Graph *g)
{
	const Arg *list = &g->last->arg[0];

	for (int k = 0; k < n->nout && k < list->list.n; k++) {
		Val *v = list->list.v[k].kind == ArgVal ? list->list.v[k].use->val : NULL;
		if (!v || !tensor(r, v))
			continue;
		take(r, &n->out[k], v);
		if (!bindshape(r, n->loc, n->out[k].type, tensor(r, &n->out[k])))
			return false;
	}
	return true;
}

static bool
expanded(Run *r, Node *n)
{
	Graph *g = alone(r, n);

	return g && rungraph(r, g, NULL, 0) && results(r, n, g);
}

/* ---- nodes ------------------------------------------------------------------------------------------ */

static bool
bylow(Run *r, Node *n, int out, const Low *low)
{
	switch (low->kind) {
	case LowElement: return alloc(r, n, out) && element(r, n, out, low);
	case LowScan:    return alloc(r, n, out) && scan(r, n, out, low);
	case LowScatter: return alloc(r, n, out) && scatter(r, n, out, low);
	default:
		error(r->cx, n->loc, "%s: the interpreter has no way to compute it", n->op->name);
		return false;
	}
}

/* item() and the like: the result is a size that a tensor holds. */
static bool
sizenode(Run *r, Node *n)
{
	int64_t k;

	for (int o = 0; o < n->nout; o++) {
		const Type *ty = n->out[o].type;
		const Tensor *t = NULL;
		const Sym **var = NULL;
		int nvar = 0;
		if (!ty || ty->kind != TySym || sym_eval(ty->sym, look, r, &k))
			continue;
		sym_vars(r->a, ty->sym, &var, &nvar);     /* a bool is u0 == 1 */
		for (int a = 0; a < n->narg && !t; a++)
			t = n->arg[a].kind == ArgVal ? tensor(r, n->arg[a].use->val) : NULL;
		if (!t || tensor_numel(t) != 1 || nvar != 1)
			continue;
		bind(r, var[0], tensor_geti(t, 0));
		if (var[0]->isfloat)
			r->num.v[r->num.n - 1] = sym_float(r->cx, tensor_get(t, 0));
	}
	return true;
}

static void
drop(Mem *m)
{
	if (!m || !m->a)
		return;
	arena_free(m->a);
	m->a = NULL;
	m->t.data = NULL;
}

static void
release(void *p, Use *u)
{
	Mem *m = map_get(&((Run *)p)->mem, u->val);

	if (m && m->a && --m->uses == 0)
		drop(m);
}

static bool output(Run *, Node *, const Arg *, Tensor *, Arena *);

/* What is drawn in a sub-graph depends on the round: the last one set holds. */
static void
setround(Run *r)
{
	const Sym *round = hop_round(r->cx);

	for (int k = 0; k < r->var.n; k++)
		if (r->var.v[k] == round) {
			r->num.v[k] = sym_const(r->cx, r->round);
			return;
		}
	bind(r, round, r->round);
}

/* A sub-graph run as a whole: nothing of it stays but the results. */
static bool
subgraph(void *p, Graph *g, const Tensor *in, int nin, Tensor *out, int nout, Arena *a)
{
	Run *r = p;
	const Tensor **t = NEWN(r->a, const Tensor *, nin + 1);
	HopList res = hop_results(g);
	int mark = r->var.n;
	bool ok;

	for (int k = 0; k < nin; k++)
		t[k] = &in[k];
	setround(r);
	ok = rungraph(r, g, t, nin);
	for (int k = 0; ok && k < nout && k < res.n; k++)
		ok = output(r, g->last, &res.v[k], &out[k], a);
	FOREACH_NODE(g, n)
		for (int k = 0; k < n->nout; k++) {
			drop(map_get(&r->mem, &n->out[k]));
			map_put(r->a, &r->mem, &n->out[k], NULL);
		}
	r->var.n = r->num.n = mark;
	return ok;
}

static bool
argvalue(void *p, const Node *n, const Arg *g, Tensor *t, Arena *a)
{
	return output(p, (Node *)n, g, t, a);
}

static bool
higherorder(Run *r, Node *n)
{
	const HopRun h = {r, subgraph, argvalue, &r->round};
	Tensor *out = NEWN(r->a, Tensor, n->nout + 1);
	Arena *a = arena_new();
	bool ok = hop_interp(n, &h, out, a);

	for (int k = 0; ok && k < n->nout; k++) {
		if (!out[k].data)
			continue;
		if (n->out[k].type->kind == TySym && n->out[k].type->sym->kind == SymVar)
			bind(r, n->out[k].type->sym, tensor_geti(&out[k], 0));
		Mem *m = newmem(r, &n->out[k]);
		m->t = out[k];
		m->t.data = arena_dup(m->a, out[k].data, out[k].bytes);
		ok = n->out[k].type->kind != TyTensor || bindshape(r, n->loc, n->out[k].type, &m->t);
	}
	arena_free(a);
	return ok;
}

static bool
compute(Run *r, Node *n)
{
	bool tensors = false;
	Low low;

	if (hop_kind(n->op))
		return higherorder(r, n);
	for (int o = 0; o < n->nout; o++)
		tensors |= n->out[o].type && n->out[o].type->kind == TyTensor;
	if (!tensors)
		return sizenode(r, n);
	if (op_route(n->op) == RouteExpand || (n->op->flags & OP(Hop) && n->op->expand))
		return expanded(r, n);
	for (int o = 0; o < n->nout; o++) {
		low = (Low){0};
		if (!node_low(n, o, &low))
			return false;
		if (low.kind == LowExtern)
			return external(r, n, &low);
		if (low.kind == LowBlocks)
			return expanded(r, n);
		if (!bylow(r, n, o, &low))
			return false;
	}
	return true;
}

static bool
runnode(Run *r, Node *n)
{
	bool ok = compute(r, n);

	node_operands(n, release, r);
	for (int o = 0; o < n->nout; o++)
		if (!n->out[o].uses)
			drop(map_get(&r->mem, &n->out[o]));
	return ok;
}

/* Weights lie as the file has them: strided. */
static void
contiguous(const Weight *w, Tensor *t, Arena *a, Ctx *cx)
{
	int bytes = dtypeinfo[t->dt].bytes;
	int64_t stride[MaxRank], i[MaxRank] = {0}, at;

	place(t, a);
	for (int d = 0; d < t->rank; d++)
		sym_isconst(type_stride(cx, w->type, d), &stride[d]);
	for (int64_t k = 0, n = tensor_numel(t); k < n; k++) {
		at = 0;
		for (int d = 0; d < t->rank; d++)
			at += i[d] * stride[d];
		if ((size_t)(at + 1) * (size_t)bytes <= w->bytes)
			memcpy((char *)t->data + k * bytes, w->data + at * bytes, (size_t)bytes);
		for (int d = t->rank - 1; d >= 0 && ++i[d] == t->dim[d]; d--)
			i[d] = 0;
	}
}

static bool
attribute(Run *r, Node *n)
{
	Module *mod = n->graph->mod;
	Mem *m;
	Tensor t;

	for (int k = 0; k < mod->weight.n; k++) {
		const Weight *w = mod->weight.v[k];
		if (w->fqn != n->target || !w->data)
			continue;
		m = newmem(r, &n->out[0]);
		t = (Tensor){.dt = w->type->dt, .rank = w->type->rank};
		for (int d = 0; d < t.rank; d++)
			if (!size(r, n, w->type->dim[d], &t.dim[d]))
				return false;
		contiguous(w, &t, m->a, r->cx);
		convert(r, &m->t, &t, m->a);
		return true;
	}
	for (int k = 0; k < mod->sub.n; k++)
		if (mod->sub.v[k]->name == n->target)
			return true;
	error(r->cx, n->loc, "no value is known for %s", n->target);
	return false;
}

static bool
enter(Run *r, Node *n, const Tensor *t)
{
	const Type *ty = n->out[0].type;
	int64_t k;

	if (ty->kind == TySym && ty->sym->kind == SymVar && ty->sym->isfloat) {
		vec_push(r->a, &r->var, ty->sym);
		vec_push(r->a, &r->num, sym_float(r->cx, tensor_get(t, 0)));
		return true;
	}
	if (ty->kind == TySym) {
		if (ty->sym->kind == SymVar && !sym_eval(ty->sym, look, r, &k))
			bind(r, ty->sym, tensor_geti(t, 0));
		return true;
	}
	if (ty->kind != TyTensor)
		return true;
	if (t->rank != ty->rank || t->dt != memdt(r, ty->dt)) {
		error(r->cx, n->loc, "input %s is %s; a tensor of rank %d was given",
		      n->name, type_str(r->cx, ty), t->rank);
		return false;
	}
	lend(r, &n->out[0], t);
	return bindshape(r, n->loc, ty, t);
}

/* in: NULL: the placeholders have their memory. */
static bool
rungraph(Run *r, Graph *g, const Tensor *const *in, int nin)
{
	int k = 0;

	FOREACH_NODE(g, n) {
		if (n == g->last)
			break;
		if (!(n->op->flags & OP(Leaf))) {
			if (!runnode(r, n))
				return false;
		} else if (strcmp(n->op->name, "get_attr") == 0) {
			if (!attribute(r, n))
				return false;
		} else if (in) {
			if (k >= nin || !in[k]) {
				error(r->cx, n->loc, "no value is given for input %s", n->name);
				return false;
			}
			if (!enter(r, n, in[k++]))
				return false;
		}
	}
	return true;
}

/* One element of the output list as a tensor: sizes and numbers have rank 0. */
static bool
output(Run *r, Node *n, const Arg *g, Tensor *out, Arena *a)
{
	const Tensor *t;
	const Sym *known;
	int64_t k;

	*out = (Tensor){.dt = DtI64};
	switch (g->kind) {
	case ArgVal:
		if (!(t = tensor(r, g->use->val)))
			return true;
		*out = *t;
		out->data = arena_dup(a, t->data, t->bytes);
		return true;
	case ArgInt:
		known = sym_subst(r->cx, g->i, r->var.v, r->num.v, r->var.n);
		out->dt = known->isfloat ? DtF64 : DtI64;
		place(out, a);
		if (known->kind == SymFloatConst)
			tensor_set(out, 0, known->f);
		else if (size(r, n, g->i, &k))
			tensor_seti(out, 0, k);
		else
			return false;
		return true;
	case ArgBool: case ArgFloat:
		out->dt = g->kind == ArgBool ? DtB8 : DtF64;
		place(out, a);
		tensor_set(out, 0, g->kind == ArgBool ? g->b : g->f);
		return true;
	default:
		return true;
	}
}

static void
finish(Run *r)
{
	for (int k = 0; k < r->all.n; k++)
		if (r->all.v[k]->a)
			arena_free(r->all.v[k]->a);
	arena_free(r->a);
}

bool
graph_interp(Graph *g, Arena *a, const Tensor *in, int nin, Tensor *out, int nout, bool f64)
{
	Run r = {.cx = g->cx, .a = arena_new(), .f64 = f64};
	Tensor *t = NEWN(r.a, Tensor, nin + 1);
	const Tensor **p = NEWN(r.a, const Tensor *, nin + 1);
	const Arg *list = g->last ? &g->last->arg[0] : NULL;
	bool ok = list != NULL;

	for (int k = 0; k < nin; k++) {
		convert(&r, &t[k], &in[k], r.a);
		p[k] = &t[k];
	}
	ok = ok && rungraph(&r, g, p, nin);
	for (int k = 0; ok && k < nout; k++)
		ok = k < list->list.n && output(&r, g->last, &list->list.v[k], &out[k], a);
	finish(&r);
	return ok;
}

struct operands { Run *r; const Tensor *const *t; int n; };

static void
operand(void *p, Use *u)
{
	struct operands *o = p;
	Tensor t;

	if (!tensor(o->r, u->val)) {
		convert(o->r, &t, o->t[o->n], o->r->a);
		lend(o->r, u->val, &t);
	}
	o->n++;
}

bool
node_interp(Node *n, Arena *a, const Tensor *const *operand_, Tensor *out, bool f64, const SymVal *sym, int nsym)
{
	Run r = {.cx = n->graph->cx, .a = arena_new(), .f64 = f64};
	const Tensor *t;
	bool ok;

	for (int k = 0; k < nsym; k++)
		bind(&r, sym[k].var, sym[k].val);
	node_operands(n, operand, &(struct operands){&r, operand_, 0});
	ok = compute(&r, n);
	for (int k = 0; ok && k < n->nout; k++) {
		out[k] = (Tensor){.dt = DtI64};
		if (!(t = tensor(&r, &n->out[k])))
			continue;
		out[k] = *t;
		out[k].data = arena_dup(a, t->data, t->bytes);
	}
	finish(&r);
	return ok;
}
