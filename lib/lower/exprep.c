/* exprep.c - expressions made ready for loops.
 *
 * Four rewritings that do not change what an expression means: loads below a
 * select become guarded, functions get the definitions of the tables, indices
 * become offsets of elements, and a few questions about expressions that
 * several chapters ask.
 */
#include "ir/lang.h"
#include "lower/lower.h"

const Sym *
numel_of(Ctx *cx, const Sym *const *ext, int n)
{
	const Sym *r = sym_const(cx, 1);

	for (int i = 0; i < n; i++)
		r = sym_mul(cx, r, ext[i]);
	return r;
}

const Sym *
linear_index(Ctx *cx, const Type *t, const Sym *const *idx)
{
	const Sym *r = sym_const(cx, 0);

	for (int i = 0; i < t->rank; i++)
		r = sym_add(cx, r, sym_mul(cx, idx[i], type_stride(cx, t, i)));
	return r;
}

bool
sym_computed(Lower *lo, const Sym *s)
{
	const Sym **var = NULL;
	int n = 0;

	if (s->kind == SymConst)
		return false;
	sym_vars(lo->a, s, &var, &n);
	for (int i = 0; i < n; i++)
		if (ex_ofvar(lo->cx, var[i]))
			return true;
	return false;
}

struct flag { bool yes; };

static void
iffold(void *p, const Ex *e)
{
	if (e->kind == ExFold)
		((struct flag *)p)->yes = true;
}

bool
ex_hasfold(const Ex *e)
{
	struct flag f = {false};

	ex_visit(e, iffold, &f);
	return f.yes;
}

const Ex *
ex_subst1(Ctx *cx, const Ex *e, const Sym *var, const Sym *with)
{
	return ex_rewrite(cx, e, NULL, NULL, &var, &with, 1);
}

/* ---- every Sym of an expression ---------------------------------------------- */

struct syms { void (*fn)(void *, const Sym *); void *arg; };

static void
symsof(void *p, const Ex *e)
{
	struct syms *s = p;

	if (e->sym)
		s->fn(s->arg, e->sym);
	for (int i = 0; i < e->nidx; i++)
		s->fn(s->arg, e->idx[i]);
}

void
ex_syms(Ctx *cx, const Ex *e, void (*fn)(void *, const Sym *), void *arg)
{
	struct syms s = {fn, arg};

	(void)cx;
	ex_visit(e, symsof, &s);
}

/* ---- guards and functions -------------------------------------------------------------------- */

/* A walk that carries the condition under which a part is wanted. */
typedef struct Guarding {
	Lower *lo;
	Map under;              /* condition (or this walk itself: none) -> Map of results */
	Map risky;              /* expression -> 1 + may one of its loads be out of range? */
	Map sure;               /* what is computed in any case */
	bool many;              /* more conditions than are worth a guard of their own */
	bool clamp;             /* keep indices in range instead */
} Guarding;

enum { MostConditions = 64 };

static bool risky(Guarding *, const Ex *);
static const Ex *guard(Guarding *, const Ex *e, const Ex *cond);
static const Ex *function(Guarding *, const Ex *);

static const Ex *
all(Ctx *cx, const Ex *a, const Ex *b)
{
	return !a ? b : !b ? a : ex_op(cx, ScAnd, a, b, NULL);
}

static const Sym *
guardsym(Guarding *w, const Sym *s, const Ex *cond)
{
	const Sym **var = NULL, *with[1];
	int n = 0;
	const Ex *e, *r;

	if (!s)
		return s;
	sym_vars(w->lo->a, s, &var, &n);
	for (int i = 0; i < n; i++)
		if ((e = ex_ofvar(w->lo->cx, var[i])) && (r = guard(w, e, cond)) != e) {
			with[0] = ex_indirect(w->lo->cx, r, var[i]->lo, var[i]->hi);
			s = sym_subst(w->lo->cx, s, &var[i], with, 1);
		}
	return s;
}

/* One beyond the last element of what the load reads. */
static const Sym *
endof(Lower *lo, const Ex *e)
{
	Ctx *cx = lo->cx;
	const Sym *end = sym_const(cx, 1);
	const Type *t = e->val->type;

	if (e->val->def && e->val->id < lo->g->nval && !lo->rootof[e->val->id])
		t = storage_type(lo, e->val);
	for (int d = 0; d < t->rank; d++)
		end = sym_add(cx, end, sym_mul(cx, sym_sub(cx, t->dim[d], sym_const(cx, 1)), type_stride(cx, t, d)));
	return end;
}

static const Sym *
clamped(Lower *lo, const Ex *e, const Sym *at)
{
	Ctx *cx = lo->cx;
	const Sym *last = sym_sub(cx, endof(lo, e), sym_const(cx, 1));

	return sym_max(cx, sym_min(cx, at, last), sym_const(cx, 0));
}

/* Can the load be out of range?  Not if the ranges of its variables say so. */
static bool
riskyload(Lower *lo, const Ex *e)
{
	return sym_computed(lo, e->idx[0]) || e->idx[0]->lo < 0 || !sym_lt(lo->cx, e->idx[0], endof(lo, e));
}

static void marksure(Guarding *, const Ex *);

static void
suresym(Guarding *w, const Sym *s)
{
	const Sym **var = NULL;
	int n = 0;

	if (s)
		sym_vars(w->lo->a, s, &var, &n);
	for (int i = 0; i < n; i++)
		if (ex_ofvar(w->lo->cx, var[i]))
			marksure(w, ex_ofvar(w->lo->cx, var[i]));
}

/* Mark what happens whatever conditions hold: its loads need no guard elsewhere either. */
static void
marksure(Guarding *w, const Ex *e)
{
	bool choice = e->kind == ExOp && e->sc == ScSelect;

	if (e->kind == ExConst || map_get(&w->sure, e))
		return;
	map_put(w->lo->a, &w->sure, e, (void *)e);
	for (int i = 0; i < (choice || e->cond ? choice : e->narg); i++)
		marksure(w, e->arg[i]);
	if (e->cond)
		marksure(w, e->cond);
	suresym(w, e->sym);
	for (int i = 0; i < e->nidx; i++)
		suresym(w, e->idx[i]);
}

static bool
risky(Guarding *w, const Ex *e)
{
	intptr_t was = (intptr_t)map_get(&w->risky, e);
	bool r = false;

	if (was)
		return was > 1;
	if (e->kind == ExLoad)
		r = !map_get(&w->sure, e) && riskyload(w->lo, e);
	for (int i = 0; i < e->narg; i++)
		r |= risky(w, e->arg[i]);
	r |= e->cond && risky(w, e->cond);
	r |= e->kind == ExCheck && !map_get(&w->sure, e);
	r |= (e->kind == ExIndex || e->kind == ExRandom) && sym_computed(w->lo, e->sym);
	map_put(w->lo->a, &w->risky, e, (void *)(intptr_t)(1 + r));
	return r;
}

static const Ex *
guardload(Guarding *w, const Ex *e, const Ex *cond)
{
	Ctx *cx = w->lo->cx;
	const Sym *idx[MaxRank * 2];
	const Ex *zero = dt_int(e->dt) ? ex_int(cx, e->dt, 0) : ex_float(cx, e->dt, 0);

	for (int i = 0; i < e->nidx; i++)
		idx[i] = guardsym(w, e->idx[i], cond);
	if (w->clamp && risky(w, e))
		idx[0] = clamped(w->lo, e, idx[0]);
	e = ex_load(cx, e->val, idx, e->nidx);
	return cond ? ex_op(cx, ScSelect, cond, e, zero) : e;
}

static const Ex *
guardselect(Guarding *w, const Ex *e, const Ex *cond)
{
	Ctx *cx = w->lo->cx;
	const Ex *c = guard(w, e->arg[0], cond);
	const Ex *no = ex_op(cx, ScNot, c, NULL, NULL), *a, *b;

	a = guard(w, e->arg[1], all(cx, cond, c));
	b = guard(w, e->arg[2], all(cx, cond, no));
	if (e->arg[1]->kind == ExLoad && a->kind == ExOp && a->sc == ScSelect && ex_iszero(b))
		return a;               /* the guarded load is the select */
	return ex_op(cx, ScSelect, c, a, b);
}

static const Ex *
guardfold(Guarding *w, const Ex *e, const Ex *cond)
{
	Ctx *cx = w->lo->cx;
	const Ex *c = e->cond ? guard(w, e->cond, cond) : NULL;
	const Ex *body = guard(w, e->arg[0], all(cx, cond, c));

	return ex_fold(cx, e->fold, e->var, e->idx, e->nidx, c, body);
}

/* A function's definition over operands that are ready; what it is defined by may be functions. */
static const Ex *
defined(Guarding *w, Map *done, const Ex *e)
{
	Ctx *cx = w->lo->cx;
	const Ex *a[3] = {0}, *r;

	if (e->kind == ExConst)
		return e;
	if ((r = map_get(done, e)))
		return r;
	for (int i = 0; i < e->narg; i++)
		a[i] = defined(w, done, e->arg[i]);
	switch (e->kind) {
	case ExOp:   r = function(w, ex_op(cx, e->sc, a[0], a[1], a[2])); break;
	case ExCast: r = ex_cast(cx, e->dt, a[0]); break;
	case ExBits: r = ex_bits(cx, e->dt, a[0]); break;
	default:     r = e;
	}
	map_put(w->lo->a, done, e, (void *)r);
	return r;
}

static const Ex *
function(Guarding *w, const Ex *e)
{
	Map done = {0};
	const Ex *r;

	if (e->kind != ExOp || e->dt != DtF32 || e->sc < ScExp || !(r = lang_impl(w->lo->cx, e->sc, e->arg)))
		return e;
	for (int i = 0; i < e->narg; i++)
		map_put(w->lo->a, &done, e->arg[i], (void *)e->arg[i]);
	map_put(w->lo->a, &done, e, (void *)e);
	return defined(w, &done, r);
}

/* Where an index is not wanted it may be out of range. */
static const Ex *
guardcheck(Guarding *w, const Ex *e, const Ex *cond)
{
	Ctx *cx = w->lo->cx;
	const Ex *index = guard(w, e->arg[0], cond), *when = e->cond ? guard(w, e->cond, cond) : NULL;

	if (w->clamp && !map_get(&w->sure, e))
		return ex_op(cx, ScMax, ex_int(cx, DtI64, 0),
		             ex_op(cx, ScMin, index, ex_index(cx, sym_sub(cx, e->sym, sym_const(cx, 1))), NULL), NULL);
	return ex_check(cx, index, e->sym, all(cx, when, cond));
}

static const Ex *
rebuilt(Guarding *w, const Ex *e, const Ex *cond)
{
	Ctx *cx = w->lo->cx;
	const Ex *a[3] = {0};

	switch (e->kind) {
	case ExLoad: return guardload(w, e, cond);
	case ExFold: return guardfold(w, e, cond);
	case ExCheck: return guardcheck(w, e, cond);
	case ExIndex: return ex_index(cx, guardsym(w, e->sym, cond));
	case ExRandom: return ex_random(cx, e->val, guardsym(w, e->sym, cond));
	default: break;
	}
	if (e->kind == ExOp && e->sc == ScSelect)
		return guardselect(w, e, cond);
	for (int i = 0; i < e->narg; i++)
		a[i] = guard(w, e->arg[i], cond);
	switch (e->kind) {
	case ExOp:   return function(w, ex_op(cx, e->sc, a[0], a[1], a[2]));
	case ExCast: return ex_cast(cx, e->dt, a[0]);
	case ExBits: return ex_bits(cx, e->dt, a[0]);
	default:     return e;
	}
}

static const Ex *
guard(Guarding *w, const Ex *e, const Ex *cond)
{
	const void *key = cond ? (const void *)cond : w;
	Map *memo = map_get(&w->under, key);
	const Ex *r;

	if (e->kind == ExConst)
		return e;
	if (cond && (w->clamp || map_get(&w->sure, e) || !risky(w, e)))
		return guard(w, e, NULL);
	if (w->many)
		return e;
	w->many = !w->clamp && w->under.n > MostConditions;
	if (!memo)
		map_put(w->lo->a, &w->under, key, memo = NEW(w->lo->a, Map));
	if ((r = map_get(memo, e)))
		return r;
	r = rebuilt(w, e, cond);
	map_put(w->lo->a, memo, e, (void *)r);
	return r;
}

const Ex *
ex_ready(Lower *lo, const Ex *e)
{
	Guarding w = {.lo = lo};
	const Ex *r;

	marksure(&w, e);
	r = guard(&w, e, NULL);
	if (!w.many)
		return r;
	w = (Guarding){.lo = lo, .clamp = true, .sure = w.sure};
	return guard(&w, e, NULL);
}

/* ---- offsets -------------------------------------------------------------------- */

/* The type of a value as it lies in memory: inputs and weights may have strides. */
const Type *
storage_type(Lower *lo, Val *v)
{
	Module *m = lo->g->mod;

	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].val == v) {
			const Weight *w = m->in.v[i].weight;
			return m->in.v[i].kind != InUser && w && w->data && w->type ? w->type : v->type;
		}
	for (int i = 0; v->def->target && i < m->weight.n; i++)
		if (m->weight.v[i]->fqn == v->def->target && m->weight.v[i]->type)
			return m->weight.v[i]->type;
	return v->type;
}

static const Ex *
linearload(void *p, const Ex *e)
{
	Lower *lo = p;
	const Type *t;
	const Sym *at;

	if (!e->val->def)                /* a local buffer: linear already */
		return NULL;
	t = lo->rootof[e->val->id] ? e->val->type : storage_type(lo, e->val);
	if (lo->rootof[e->val->id])
		t = type_tensor(lo->cx, t->dt, t->rank, t->dim);
	at = linear_index(lo->cx, t, e->idx);
	return ex_load(lo->cx, e->val, &at, 1);
}

const Ex *
nest_linear(Lower *lo, const Ex *e)
{
	return ex_rewrite(lo->cx, e, linearload, lo, NULL, NULL, 0);
}
