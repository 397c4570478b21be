/* ex.c - making expressions: hash-consing, promotion, exact simplification.
 *
 * Every Ex of a compilation lives in one table, so that equal expressions are
 * the same pointer.  The makers promote operands by scalar.def, fold constants
 * as the run time would compute them, and apply only identities that are exact
 * for every value, NaN and signed zero included.  Arithmetic of index numbers
 * stays Syms for as long as Syms can say it.
 *
 * A weak expression is made of Python numbers alone.  It has a stand-in dtype
 * (i64, f32) and is rebuilt in the dtype of what it meets, so that 0.1 keeps
 * its digits beside an f64 and does not widen an i32 when it is an int.
 */
#include <math.h>
#include "ir/exmake.h"

/* ---- the table ------------------------------------------------------------- */

static const char key;

ExTable *
ex_table(Ctx *cx)
{
	return ctx_slot(cx, &key, sizeof(ExTable));
}

static uint64_t
mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static uint64_t
bitsof(double f)
{
	uint64_t u;

	memcpy(&u, &f, sizeof u);
	return u;
}

static uint64_t
hash(const Ex *e)
{
	uint64_t h = mix(e->kind * 64u + e->dt, e->sc * 16u + e->fold + e->weak * 8192u);

	h = mix(mix(h, (uint64_t)e->i), bitsof(e->f));
	h = mix(mix(h, (uintptr_t)e->sym), (uintptr_t)e->val);
	for (int k = 0; k < e->nidx; k++)
		h = mix(h, (uintptr_t)e->idx[k]);
	for (int k = 0; k < e->narg; k++)
		h = mix(h, (uintptr_t)e->arg[k]);
	return mix(h, (uintptr_t)e->cond);
}

static bool
samesyms(const Sym *const *a, const Sym *const *b, int n)
{
	return n == 0 || a == b || (a && b && memcmp(a, b, sizeof *a * (size_t)n) == 0);
}

static bool
same(const Ex *a, const Ex *b)
{
	return a->kind == b->kind && a->dt == b->dt && a->narg == b->narg &&
	       a->sc == b->sc && a->fold == b->fold && a->weak == b->weak &&
	       a->i == b->i && bitsof(a->f) == bitsof(b->f) && a->sym == b->sym &&
	       a->val == b->val && a->nidx == b->nidx && a->cond == b->cond &&
	       a->arg[0] == b->arg[0] && a->arg[1] == b->arg[1] &&
	       a->arg[2] == b->arg[2] && samesyms(a->idx, b->idx, a->nidx) &&
	       samesyms(a->var, b->var, a->kind == ExFold ? a->nidx : 0);
}

static void
grow(Ctx *cx, ExTable *t)
{
	int cap = t->cap ? 2 * t->cap : 1024;
	const Ex **slot = NEWN(ctx_arena(cx), const Ex *, cap);

	for (int k = 0; k < t->cap; k++) {
		if (!t->slot[k])
			continue;
		uint64_t h = hash(t->slot[k]);
		while (slot[h & (uint64_t)(cap - 1)])
			h++;
		slot[h & (uint64_t)(cap - 1)] = t->slot[k];
	}
	t->slot = slot;
	t->cap = cap;
}

static const Sym *const *
keepsyms(Ctx *cx, const Sym *const *v, int n)
{
	return n ? arena_dup(ctx_arena(cx), v, sizeof *v * (size_t)n) : NULL;
}

/* The one expression equal to *e, which may lie on the stack. */
static const Ex *
cons(Ctx *cx, const Ex *e)
{
	ExTable *t = ex_table(cx);
	uint64_t h = hash(e);
	Ex *r;

	if (4 * t->n >= 3 * t->cap)
		grow(cx, t);
	for (; t->slot[h & (uint64_t)(t->cap - 1)]; h++)
		if (same(t->slot[h & (uint64_t)(t->cap - 1)], e))
			return t->slot[h & (uint64_t)(t->cap - 1)];
	r = arena_dup(ctx_arena(cx), e, sizeof *e);
	r->cx = cx;
	r->id = (uint32_t)t->n++;
	r->idx = keepsyms(cx, e->idx, e->nidx);
	r->var = e->kind == ExFold ? keepsyms(cx, e->var, e->nidx) : NULL;
	t->slot[h & (uint64_t)(t->cap - 1)] = r;
	return r;
}

/* ---- leaves ------------------------------------------------------------------ */

const Ex *
ex_int(Ctx *cx, enum dtype dt, int64_t i)
{
	if (dt == DtNone)
		return cons(cx, &(Ex){.kind = ExConst, .dt = DtI64, .i = i, .weak = true});
	if (!dt_int(dt))
		return ex_float(cx, dt, num_cast(DtI64, dt, (Num){.i = i}).f);
	return cons(cx, &(Ex){.kind = ExConst, .dt = dt, .i = num_wrap(dt, i)});
}

const Ex *
ex_float(Ctx *cx, enum dtype dt, double f)
{
	if (isnan(f))
		f = NAN;
	if (dt == DtNone)
		return cons(cx, &(Ex){.kind = ExConst, .dt = DtF32, .f = f, .weak = true});
	if (dt_int(dt))
		return ex_int(cx, dt, num_cast(DtF64, dt, (Num){.f = f}).i);
	return cons(cx, &(Ex){.kind = ExConst, .dt = dt, .f = num_round(dt, f)});
}

static const Ex *
number(Ctx *cx, enum dtype dt, Num n)
{
	return dt_int(dt) ? ex_int(cx, dt, n.i) : ex_float(cx, dt, n.f);
}

static Num
value(const Ex *e)
{
	return dt_int(e->dt) ? (Num){.i = e->i} : (Num){.f = e->f};
}

static const Ex *
boolean(Ctx *cx, bool b)
{
	return ex_int(cx, DtB8, b);
}

const Ex *
ex_index(Ctx *cx, const Sym *s)
{
	if (s->kind == SymConst)
		return ex_int(cx, DtNone, s->k);
	if (s->kind == SymFloatConst)
		return ex_float(cx, DtNone, s->f);
	return cons(cx, &(Ex){.kind = ExIndex, .dt = s->isfloat ? DtF64 : DtI64,
	                      .sym = s, .weak = s->isfloat});
}

const Ex *
ex_load(Ctx *cx, Val *v, const Sym *const *idx, int n)
{
	return cons(cx, &(Ex){.kind = ExLoad, .dt = v->type->dt, .val = v, .nidx = n, .idx = idx});
}

const Ex *
ex_random(Ctx *cx, Val *v, const Sym *counter)
{
	return cons(cx, &(Ex){.kind = ExRandom, .dt = DtU32, .val = v, .sym = counter});
}

const Ex *
ex_check(Ctx *cx, const Ex *index, const Sym *size, const Ex *cond)
{
	return cons(cx, &(Ex){.kind = ExCheck, .dt = DtI64, .narg = 1, .arg = {ex_cast(cx, DtI64, index)},
	                      .sym = size, .cond = cond});
}

/* ---- casts --------------------------------------------------------------------- */

/* Does every value of a survive in b, so that b's conversion to a third type
 * is a's? */
static bool
exactly(enum dtype a, enum dtype b)
{
	static const uint8_t digits[NDtype] = {[DtF16] = 11, [DtBF16] = 8, [DtF32] = 24, [DtF64] = 53};
	const struct DtypeInfo *x = &dtypeinfo[a], *y = &dtypeinfo[b];

	if (a == b || a == DtB8)
		return true;
	if (x->kind == KindComplex || y->kind == KindComplex || y->kind == KindBool)
		return false;
	if (x->kind == KindFloat)
		return y->kind == KindFloat && (b == DtF64 || (b == DtF32 && a != DtF64));
	if (y->kind == KindFloat)
		return 8 * x->bytes <= digits[b];
	if (x->kind == y->kind)
		return x->bytes <= y->bytes;
	return x->kind == KindUint && x->bytes < y->bytes;
}

const Ex *
ex_adopt(Ctx *cx, enum dtype dt, const Ex *e)
{
	const Ex *a[3] = {0};

	if (!e->weak)
		return ex_cast(cx, dt, e);
	if (e->kind == ExConst)
		return dt_int(e->dt) ? ex_int(cx, dt, e->i) : ex_float(cx, dt, e->f);
	if (e->kind != ExOp || (dt_int(dt) && !dt_int(e->dt)))
		return ex_cast(cx, dt, e);
	for (int k = 0; k < e->narg; k++)
		a[k] = e->arg[k]->weak ? ex_adopt(cx, dt, e->arg[k]) : e->arg[k];
	return ex_cast(cx, dt, ex_op(cx, e->sc, a[0], a[1], a[2]));
}

const Ex *
ex_cast(Ctx *cx, enum dtype dt, const Ex *e)
{
	if (e->kind == ExConst && dtypeinfo[dt].kind != KindComplex)
		return number(cx, dt, num_cast(e->dt, dt, value(e)));
	if (e->dt == dt && !e->weak)
		return e;
	if (e->weak && e->kind == ExOp && dt_float(e->dt) == dt_float(dt) && dt != DtB8)
		return ex_adopt(cx, dt, e);
	if (e->kind == ExCast && exactly(e->arg[0]->dt, e->dt))
		return ex_cast(cx, dt, e->arg[0]);
	return cons(cx, &(Ex){.kind = ExCast, .dt = dt, .narg = 1, .arg = {e}});
}

const Ex *
ex_bits(Ctx *cx, enum dtype dt, const Ex *e)
{
	if (e->kind == ExConst)
		return number(cx, dt, num_bits(e->dt, dt, value(e)));
	if (e->kind == ExBits)
		return ex_bits(cx, dt, e->arg[0]);
	return e->dt == dt ? e : cons(cx, &(Ex){.kind = ExBits, .dt = dt, .narg = 1, .arg = {e}});
}

/* ---- promotion ------------------------------------------------------------------- */

static int
category(enum dtype dt)
{
	return dt == DtB8 ? 0 : dt_int(dt) ? 1 : 2;
}

/* The dtype in which operands meet.  A weak one counts only when its category
 * (bool, int, float) is above that of the others, or its int does not fit. */
static enum dtype
meet(const Ex *const *a, int n, bool *weak)
{
	enum dtype dt = DtNone, wk = DtNone;

	for (int k = 0; k < n; k++) {
		enum dtype d = dt_acc(a[k]->dt);
		if (a[k]->weak)
			wk = wk == DtNone || category(d) > category(wk) ? (category(d) == 2 ? DtF32 : d) : wk;
		else
			dt = dt == DtNone ? d : dt_promote(dt, d);
	}
	*weak = dt == DtNone;
	if (dt == DtNone || (wk != DtNone && category(wk) > category(dt)))
		return wk;
	for (int k = 0; k < n; k++)
		if (a[k]->weak && a[k]->kind == ExConst && dt_int(a[k]->dt) &&
		    dt_int(dt) && num_wrap(dt, a[k]->i) != a[k]->i)
			return DtI64;
	return dt;
}

/* ---- simplification ---------------------------------------------------------------- */

static bool
isnum(const Ex *e, double v)
{
	if (e->kind != ExConst)
		return false;
	return dt_int(e->dt) ? (double)e->i == v && e->i == (int64_t)v
	                     : e->f == v && signbit(e->f) == signbit(v);
}

static const Sym *
symof(Ctx *cx, const Ex *e)
{
	if (e->kind == ExIndex && !e->sym->isfloat)
		return e->sym;
	return e->kind == ExConst && e->dt == DtI64 ? sym_const(cx, e->i) : NULL;
}

/* Integer arithmetic that a Sym can say, or a comparison that it can prove. */
static const Ex *
bysym(Ctx *cx, enum scalar sc, const Ex *x, const Ex *y)
{
	const Sym *a = symof(cx, x), *b = y ? symof(cx, y) : NULL, *r = NULL;

	if (!a || (y && !b) || (x->kind == ExConst && (!y || y->kind == ExConst)))
		return NULL;
	switch (sc) {
	case ScNeg: r = sym_neg(cx, a); break;
	case ScAbs: r = a->lo >= 0 ? a : a->hi <= 0 ? sym_neg(cx, a) : NULL; break;
	case ScAdd: r = sym_add(cx, a, b); break;
	case ScSub: r = sym_sub(cx, a, b); break;
	case ScMul: r = sym_mul(cx, a, b); break;
	case ScMin: r = sym_min(cx, a, b); break;
	case ScMax: r = sym_max(cx, a, b); break;
	case ScQuot:
		r = a->lo >= 0 && b->lo > 0 ? sym_div(cx, a, b) : NULL;
		break;
	case ScFmod:
		r = a->lo >= 0 && b->lo > 0 ? sym_mod(cx, a, b) : NULL;
		break;
	case ScFloordiv: r = b->lo > 0 || b->hi < 0 ? sym_div(cx, a, b) : NULL; break;
	case ScMod: r = b->lo > 0 || b->hi < 0 ? sym_mod(cx, a, b) : NULL; break;
	case ScLt:
		return sym_lt(cx, a, b) ? boolean(cx, true) : sym_le(cx, b, a) ? boolean(cx, false) : NULL;
	case ScLe:
		return sym_le(cx, a, b) ? boolean(cx, true) : sym_lt(cx, b, a) ? boolean(cx, false) : NULL;
	case ScEq: case ScNe:
		if (sym_eq(a, b))
			return boolean(cx, sc == ScEq);
		return sym_ne(a, b) || sym_lt(cx, a, b) || sym_lt(cx, b, a) ? boolean(cx, sc == ScNe) : NULL;
	default: break;
	}
	return r ? ex_index(cx, r) : NULL;
}

static const Ex *
fold1(Ctx *cx, enum scalar sc, enum dtype dt, const Ex *a)
{
	switch (sc) {
	case ScNeg: case ScNot:
		return a->kind == ExOp && a->sc == sc ? a->arg[0] : NULL;
	case ScFloor: case ScCeil: case ScRint: case ScTrunc:
		return dt_int(dt) ? a : NULL;
	case ScIsnan: case ScIsinf:
		return dt_int(dt) ? boolean(cx, false) : NULL;
	case ScAbs:
		return dtypeinfo[dt].kind <= KindUint ? a : NULL;
	default:
		return NULL;
	}
}

/* a sc b where b is the constant operand, if one is.  x + 0.0 is not x for
 * x = -0.0, but x - 0.0 and x + -0.0 are; x*0 is not 0 for floats. */
static const Ex *
fold2(Ctx *cx, enum scalar sc, enum dtype dt, const Ex *a, const Ex *b)
{
	bool isint = dt_int(dt);

	switch (sc) {
	case ScAdd:
		return isnum(b, isint ? 0 : -0.0) ? a : NULL;
	case ScSub: case ScShl: case ScShr:
		return isnum(b, 0) ? a : NULL;
	case ScMul:
		return isnum(b, 1) ? a : isint && isnum(b, 0) ? b : NULL;
	case ScDiv: case ScQuot: case ScFloordiv:
		return isnum(b, 1) && (isint || sc == ScDiv) ? a : NULL;
	case ScPow:
		return isnum(b, 1) ? a : NULL;
	case ScMin: case ScMax:
		return a == b ? a : NULL;
	case ScAnd:
		return a == b || isnum(b, dt == DtB8 ? 1 : -1) ? a : isnum(b, 0) ? b : NULL;
	case ScOr:
		return a == b || isnum(b, 0) ? a : isnum(b, dt == DtB8 ? 1 : -1) ? b : NULL;
	case ScXor:
		return isnum(b, 0) ? a : NULL;
	case ScLt: case ScNe:
		return a == b && isint ? boolean(cx, false) : NULL;
	case ScLe: case ScEq:
		return a == b && isint ? boolean(cx, true) : NULL;
	default:
		return NULL;
	}
}

static bool
commutes(enum scalar sc)
{
	return sc == ScAdd || sc == ScMul || sc == ScMin || sc == ScMax || sc == ScAnd ||
	       sc == ScOr || sc == ScXor || sc == ScEq || sc == ScNe;
}

static const Ex *
constant(Ctx *cx, enum scalar sc, enum dtype dt, bool weak, const Ex *const *a, int n)
{
	Num x[3] = {{0}}, r;
	enum dtype in = weak && !dt_int(dt) ? DtF64 : dt;    /* Python's floats are doubles */

	for (int k = 0; k < n; k++) {
		if (a[k]->kind != ExConst)
			return NULL;
		x[k] = value(a[k]);
	}
	r = scalar_eval(sc, in, x);
	if (scalarinfo[sc].rule == ScCmp || scalarinfo[sc].rule == ScTest)
		return boolean(cx, r.i);
	if (weak)
		return dt_int(dt) ? ex_int(cx, DtNone, r.i) : ex_float(cx, DtNone, r.f);
	return number(cx, dt, r);
}

/* Bring weak operands to one weak dtype; where that cannot be, make them strong. */
static bool
weakly(Ctx *cx, enum dtype dt, const Ex **a, int n)
{
	for (int k = 0; k < n; k++)
		if (a[k]->kind == ExConst && dt_int(a[k]->dt) && !dt_int(dt))
			a[k] = ex_float(cx, DtNone, (double)a[k]->i);
	for (int k = 0; k < n; k++) {
		if (a[k]->dt == dt)
			continue;
		for (int j = 0; j < n; j++)
			a[j] = ex_adopt(cx, dt, a[j]);
		return false;
	}
	return true;
}

static const Ex *
select_(Ctx *cx, const Ex *c, const Ex *a, const Ex *b)
{
	const Ex *arm[2] = {a, b};
	bool weak;
	enum dtype dt = a->dt;

	c = ex_cast(cx, DtB8, c);
	if (c->kind == ExOp && c->sc == ScNot)
		return select_(cx, c->arg[0], b, a);
	/* Arms of one storage dtype stay in it: nothing is computed with them. */
	if (a->weak || b->weak || a->dt != b->dt) {
		dt = meet(arm, 2, &weak);
		for (int k = 0; k < 2 && !weak; k++)
			arm[k] = ex_adopt(cx, dt, arm[k]);
		weak = weak && weakly(cx, dt, arm, 2);
	} else {
		weak = false;
	}
	if (c->kind == ExConst)
		return c->i ? arm[0] : arm[1];
	if (arm[0] == arm[1])
		return arm[0];
	if (dt == DtB8 && isnum(arm[0], 1) && isnum(arm[1], 0))
		return c;
	if (dt == DtB8 && isnum(arm[0], 0) && isnum(arm[1], 1))
		return ex_op(cx, ScNot, c, NULL, NULL);
	return cons(cx, &(Ex){.kind = ExOp, .sc = ScSelect, .dt = arm[0]->dt, .narg = 3,
	                      .arg = {c, arm[0], arm[1]}, .weak = weak});
}

const Ex *
ex_op(Ctx *cx, enum scalar sc, const Ex *x, const Ex *y, const Ex *z)
{
	const Ex *a[3] = {x, y, z}, *r;
	int n = scalarinfo[sc].arity, rule = scalarinfo[sc].rule;
	bool weak, test = rule == ScCmp || rule == ScTest;
	enum dtype dt;

	if (sc == ScSelect)
		return select_(cx, x, y, z);
	if ((r = n <= 2 ? bysym(cx, sc, x, n == 2 ? y : NULL) : NULL))
		return r;
	dt = meet(a, n, &weak);
	if (rule == ScFloat && dt_int(dt))
		dt = DtF32;
	if (rule == ScBit && !dt_int(dt))
		bug(cx, NOLOC, "%s of %s", scalarinfo[sc].text, dtypeinfo[dt].text);
	if (weak)
		weak = weakly(cx, dt, a, n);
	else
		for (int k = 0; k < n; k++)
			a[k] = ex_adopt(cx, dt, a[k]);
	if ((r = constant(cx, sc, dt, weak, a, n)))
		return r;
	if (n == 2 && commutes(sc) && a[0]->kind == ExConst) {
		r = a[0];
		a[0] = a[1];
		a[1] = r;
	}
	r = n == 1 ? fold1(cx, sc, dt, a[0]) : n == 2 ? fold2(cx, sc, dt, a[0], a[1]) : NULL;
	if (r)
		return r;
	return cons(cx, &(Ex){.kind = ExOp, .sc = sc, .dt = test ? DtB8 : dt, .narg = (uint8_t)n,
	                      .arg = {a[0], a[1], a[2]}, .weak = weak && !test});
}

/* ---- folds and computed indices ----------------------------------------------------- */

const Ex *
ex_identity(Ctx *cx, enum fold f, enum dtype dt)
{
	bool isfloat = !dt_int(dt);
	int bits = dt == DtB8 ? 1 : 8 * dtypeinfo[dt].bytes;
	bool sgn = dtypeinfo[dt].kind == KindInt;

	switch (f) {
	case FoldProd: case FoldAll:
		return ex_int(cx, dt, 1);
	case FoldMax: case FoldArgmax:
		return isfloat ? ex_float(cx, dt, -INFINITY)
		               : ex_int(cx, dt, sgn ? INT64_MIN >> (64 - bits) : 0);
	case FoldMin: case FoldArgmin:
		return isfloat ? ex_float(cx, dt, INFINITY)
		               : ex_int(cx, dt, sgn ? INT64_MAX >> (64 - bits)
		                                    : (int64_t)(~(uint64_t)0 >> (64 - bits)));
	default:
		return ex_int(cx, dt, 0);
	}
}

/* The dtype in which a fold of e runs: counts of b8 are i64, bf16 is folded in f32. */
static enum dtype
folddt(enum fold f, const Ex *e)
{
	if (f == FoldAny || f == FoldAll)
		return DtB8;
	if ((f == FoldSum || f == FoldProd) && e->dt == DtB8)
		return DtI64;
	return dt_acc(e->dt);
}

const Ex *
ex_fold(Ctx *cx, enum fold f, const Sym *const *var, const Sym *const *extent, int n,
        const Ex *cond, const Ex *body)
{
	const Sym *v[MaxRank * 2], *x[MaxRank * 2], *unit[MaxRank * 2], *zero[MaxRank * 2];
	bool arg = f == FoldArgmax || f == FoldArgmin;
	int m = 0, nunit = 0;
	const Ex *none;

	body = ex_adopt(cx, folddt(f, body), body);
	none = arg ? ex_int(cx, DtI64, 0) : ex_identity(cx, f, body->dt);
	if (n > COUNT(v))
		bug(cx, NOLOC, "fold over %d variables", n);
	for (int k = 0; k < n; k++) {
		if (sym_is(extent[k], 0))
			return none;
		if (sym_is(extent[k], 1)) {
			unit[nunit] = var[k];
			zero[nunit++] = sym_const(cx, 0);
		} else {
			v[m] = var[k];
			x[m++] = extent[k];
		}
	}
	body = ex_rewrite(cx, body, NULL, NULL, unit, zero, nunit);
	cond = cond ? ex_cast(cx, DtB8, ex_rewrite(cx, cond, NULL, NULL, unit, zero, nunit)) : NULL;
	if (cond && cond->kind == ExConst) {
		if (!cond->i)
			return none;
		cond = NULL;
	}
	if (m == 0 && arg)
		return none;
	if (m == 0)
		return cond ? ex_op(cx, ScSelect, cond, body, none) : body;
	return cons(cx, &(Ex){.kind = ExFold, .fold = f, .dt = arg ? DtI64 : body->dt, .nidx = m,
	                      .idx = x, .var = v, .narg = 1, .arg = {body}, .cond = cond});
}

/* One indirect variable: expressions with equal ranges share it. */
struct Indirect { const Ex *e; const Sym *var; struct Indirect *next; };

const Sym *
ex_indirect(Ctx *cx, const Ex *e, int64_t lo, int64_t hi)
{
	ExTable *t = ex_table(cx);
	struct Indirect *d;

	if (symof(cx, e))
		return symof(cx, e);
	e = ex_cast(cx, DtI64, e);
	if (symof(cx, e))
		return symof(cx, e);
	for (d = map_get(&t->byex, e); d; d = d->next)
		if (d->var->lo == lo && d->var->hi == hi)
			return d->var;
	d = NEW(ctx_arena(cx), struct Indirect);
	*d = (struct Indirect){e, sym_fresh(cx, "x", lo, hi), map_get(&t->byex, e)};
	map_put(ctx_arena(cx), &t->byex, e, d);
	map_put(ctx_arena(cx), &t->byvar, d->var, (void *)e);
	return d->var;
}

const Ex *
ex_ofvar(Ctx *cx, const Sym *var)
{
	return map_get(&ex_table(cx)->byvar, var);
}
