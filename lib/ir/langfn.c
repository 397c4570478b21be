/* langfn.c - the table language's functions on plain values.
 *
 * Sizes, lists, dtypes and numbers; the same in every mode.  A function takes
 * its arguments evaluated and either answers or says that it is not meant (then
 * an operator of that name may be: sum of a tensor).
 */
#include <math.h>
#include "ir/lang.h"

typedef struct Call {
	Lang *L;
	const Ast *at;
	Str name;
	LVal *v;
	int n;
	LKey *kw;
	int nkw;
} Call;

static LVal
none(void)
{
	return (LVal){.kind = LNone};
}

static LVal
boolean(bool b)
{
	return (LVal){.kind = LBool, .b = b};
}

/* Argument k, or a keyword. */
static LVal
arg(const Call *c, int k)
{
	if (k < c->n)
		return c->v[k];
	lang_fail(c->L, c->at, "%s needs %d arguments", c->name, k + 1);
}

static const Sym *
symarg(const Call *c, int k)
{
	return lang_tosym(c->L, c->at, arg(c, k));
}

static LVal
listarg(const Call *c, int k)
{
	return lang_iter(c->L, c->at, arg(c, k));
}

static int64_t
known(const Call *c, const Sym *s)
{
	int64_t k;

	if (!sym_isconst(s, &k))
		lang_fail(c->L, c->at, "%s: %s is not known when compiling", c->name,
		          sym_str(c->L->cx, s));
	return k;
}

/* ---- lists -------------------------------------------------------------------- */

static LVal
f_len(const Call *c)
{
	LVal v = arg(c, 0);

	if (v.kind == LTensor)
		return lang_sym(v.t->type->dim[0]);
	return lang_int(c->L->cx, listarg(c, 0).list.n);
}

static LVal
f_range(const Call *c)
{
	LVal r = {.kind = LRange};
	const Sym *a = symarg(c, 0);

	r.range.from = c->n > 1 ? a : sym_const(c->L->cx, 0);
	r.range.to = c->n > 1 ? symarg(c, 1) : a;
	r.range.step = c->n > 2 ? known(c, symarg(c, 2)) : 1;
	if (r.range.step == 0)
		lang_fail(c->L, c->at, "range: the step is zero");
	return r;
}

static LVal
f_list(const Call *c)
{
	return c->n ? listarg(c, 0) : lang_list(c->L, 0);
}

static LVal
f_reversed(const Call *c)
{
	LVal a = listarg(c, 0), r = lang_list(c->L, a.list.n);

	for (int k = 0; k < a.list.n; k++)
		r.list.v[k] = a.list.v[a.list.n - 1 - k];
	return r;
}

static LVal
f_sorted(const Call *c)
{
	LVal a = listarg(c, 0), r = lang_list(c->L, a.list.n);

	for (int k = 0; k < a.list.n; k++) {
		int j = k;
		for (; j > 0; j--) {
			LVal less = lang_compare(c->L, c->at, "<", a.list.v[k], r.list.v[j - 1]);
			if (less.kind != LBool || !less.b)
				break;
			r.list.v[j] = r.list.v[j - 1];
		}
		r.list.v[j] = a.list.v[k];
	}
	return r;
}

static LVal
f_zip(const Call *c)
{
	int n = c->n ? listarg(c, 0).list.n : 0;

	for (int k = 1; k < c->n; k++)
		if (listarg(c, k).list.n < n)
			n = listarg(c, k).list.n;
	LVal r = lang_list(c->L, n);
	for (int j = 0; j < n; j++) {
		r.list.v[j] = lang_list(c->L, c->n);
		for (int k = 0; k < c->n; k++)
			r.list.v[j].list.v[k] = listarg(c, k).list.v[j];
	}
	return r;
}

static LVal
f_enumerate(const Call *c)
{
	LVal a = listarg(c, 0), r = lang_list(c->L, a.list.n);

	for (int k = 0; k < a.list.n; k++) {
		r.list.v[k] = lang_list(c->L, 2);
		r.list.v[k].list.v[0] = lang_int(c->L->cx, k);
		r.list.v[k].list.v[1] = a.list.v[k];
	}
	return r;
}

/* sum prod min max of a list, or of the arguments. */
static LVal
reduce(const Call *c, const char *op, LVal first)
{
	LVal l = c->n == 1 ? listarg(c, 0) : (LVal){.kind = LList, .list = {c->v, c->n}};
	LVal r = first;

	for (int k = 0; k < l.list.n; k++)
		r = k == 0 && first.kind == LNone ? l.list.v[0]
		  : lang_binary(c->L, c->at, op, r, l.list.v[k]);
	return r;
}

static LVal
f_sum(const Call *c)
{
	return reduce(c, "+", lang_int(c->L->cx, 0));
}

static LVal
f_prod(const Call *c)
{
	return reduce(c, "*", lang_int(c->L->cx, 1));
}

static LVal
pick(const Call *c, bool max)
{
	LVal l = c->n == 1 ? listarg(c, 0) : (LVal){.kind = LList, .list = {c->v, c->n}};
	Ctx *cx = c->L->cx;

	if (l.list.n == 0)
		lang_fail(c->L, c->at, "%s of nothing", c->name);
	LVal r = l.list.v[0];
	for (int k = 1; k < l.list.n; k++) {
		LVal x = l.list.v[k];
		if (!lang_isnum(r) || !lang_isnum(x))
			lang_fail(c->L, c->at, "%s of %s and %s", c->name, lang_str(cx, r), lang_str(cx, x));
		if (r.kind == LFloat || x.kind == LFloat) {
			LVal less = lang_compare(c->L, c->at, max ? "<" : ">", r, x);
			r = less.kind == LBool && less.b ? x : r;
			continue;
		}
		const Sym *a = lang_tosym(c->L, c->at, r), *b = lang_tosym(c->L, c->at, x);
		r = lang_sym(max ? sym_max(cx, a, b) : sym_min(cx, a, b));
	}
	return r;
}

static LVal f_min(const Call *c) { return pick(c, false); }
static LVal f_max(const Call *c) { return pick(c, true); }

/* all and any: of plain conditions, and in a where of undecided ones. */
static LVal
quantify(const Call *c, bool all)
{
	LVal l = listarg(c, 0), r = boolean(all);

	for (int k = 0; k < l.list.n; k++) {
		LVal x = l.list.v[k];
		if (x.kind == LInt)
			x = lang_compare(c->L, c->at, "!=", x, lang_int(c->L->cx, 0));
		if (x.kind == LBool && x.b != all)
			return x;
		if (x.kind == LBool)
			continue;
		if (x.kind != LCond)
			lang_fail(c->L, c->at, "%s of %s", c->name, lang_str(c->L->cx, x));
		r = r.kind != LCond ? x
		  : (LVal){.kind = LCond, .i = sym_binary(c->L->cx, all ? "and" : "or", r.i, x.i)};
	}
	return r;
}

static LVal f_all(const Call *c) { return quantify(c, true); }
static LVal f_any(const Call *c) { return quantify(c, false); }

/* ---- numbers -------------------------------------------------------------------- */

/* A function of one real number: known now, or a symbolic float. */
static LVal
real1(const Call *c, double (*f)(double), enum symfn fn, const char *opaque)
{
	LVal v = arg(c, 0);
	int64_t k;

	if (v.kind == LFloat)
		return (LVal){.kind = LFloat, .f = f(v.f)};
	const Sym *s = lang_tosym(c->L, c->at, v);
	if (sym_isconst(s, &k))
		return (LVal){.kind = LFloat, .f = f((double)k)};
	return lang_sym(sym_fn(c->L->cx, fn, &s, 1, opaque ? intern_str(c->L->cx, opaque) : NULL));
}

static LVal f_sqrt(const Call *c) { return real1(c, sqrt, SymFnSqrt, NULL); }
static LVal f_exp(const Call *c)  { return real1(c, exp, SymFnFFn, "exp"); }
static LVal f_log(const Call *c)  { return real1(c, log, SymFnFFn, "log"); }
static LVal f_log2(const Call *c) { return real1(c, log2, SymFnFFn, "log2"); }
static LVal f_sin(const Call *c)  { return real1(c, sin, SymFnFFn, "sin"); }
static LVal f_cos(const Call *c)  { return real1(c, cos, SymFnFFn, "cos"); }
static LVal f_tan(const Call *c)  { return real1(c, tan, SymFnFFn, "tan"); }
static LVal f_asin(const Call *c) { return real1(c, asin, SymFnFFn, "asin"); }
static LVal f_acos(const Call *c) { return real1(c, acos, SymFnFFn, "acos"); }
static LVal f_atan(const Call *c) { return real1(c, atan, SymFnFFn, "atan"); }
static LVal f_sinh(const Call *c) { return real1(c, sinh, SymFnFFn, "sinh"); }
static LVal f_cosh(const Call *c) { return real1(c, cosh, SymFnFFn, "cosh"); }
static LVal f_tanh(const Call *c) { return real1(c, tanh, SymFnFFn, "tanh"); }
static LVal f_lgamma(const Call *c) { return real1(c, lgamma, SymFnFFn, "lgamma"); }
static LVal f_erf(const Call *c) { return real1(c, erf, SymFnFFn, "erf"); }
static LVal f_expm1(const Call *c) { return real1(c, expm1, SymFnFFn, "expm1"); }
static LVal f_log1p(const Call *c) { return real1(c, log1p, SymFnFFn, "log1p"); }

/* To an int: floor, ceil, trunc, round to even. */
static LVal
toint(const Call *c, double (*f)(double), enum symfn fn)
{
	LVal v = arg(c, 0);

	if (v.kind == LFloat) {
		double d = f(v.f);
		if (!(fabs(d) < 9.2e18))
			lang_fail(c->L, c->at, "%s of %s", c->name, lang_str(c->L->cx, v));
		return lang_int(c->L->cx, (int64_t)d);
	}
	const Sym *s = lang_tosym(c->L, c->at, v);
	return lang_sym(s->isfloat ? sym_fn(c->L->cx, fn, &s, 1, NULL) : s);
}

static LVal f_floor(const Call *c) { return toint(c, floor, SymFnFloor); }
static LVal f_ceil(const Call *c)  { return toint(c, ceil, SymFnCeil); }
static LVal f_int(const Call *c)   { return toint(c, trunc, SymFnTrunc); }
static LVal f_round(const Call *c) { return toint(c, rint, SymFnRound); }

static LVal
f_float(const Call *c)
{
	LVal v = arg(c, 0);
	int64_t k;

	if (v.kind == LFloat)
		return v;
	const Sym *s = lang_tosym(c->L, c->at, v);
	if (sym_isconst(s, &k))
		return (LVal){.kind = LFloat, .f = (double)k};
	return lang_sym(s->isfloat ? s : sym_fn(c->L->cx, SymFnToFloat, &s, 1, NULL));
}

static LVal
f_bool(const Call *c)
{
	LVal v = arg(c, 0);

	if (v.kind == LFloat)
		return boolean(v.f != 0);
	return lang_compare(c->L, c->at, "!=", v, lang_int(c->L->cx, 0));
}

static LVal
f_abs(const Call *c)
{
	LVal v = arg(c, 0);

	if (v.kind == LFloat)
		return (LVal){.kind = LFloat, .f = fabs(v.f)};
	const Sym *s = lang_tosym(c->L, c->at, v);
	return lang_sym(sym_max(c->L->cx, s, sym_neg(c->L->cx, s)));
}

static LVal
f_pow(const Call *c)
{
	return lang_binary(c->L, c->at, "**", arg(c, 0), arg(c, 1));
}

static LVal
f_ceildiv(const Call *c)
{
	const Sym *a = symarg(c, 0), *b = symarg(c, 1);

	if (sym_is(b, 0))
		lang_fail(c->L, c->at, "division by zero");
	return lang_sym(sym_ceildiv(c->L->cx, a, b));
}

static LVal
f_isnan(const Call *c)
{
	LVal v = arg(c, 0);

	return boolean(v.kind == LFloat && isnan(v.f));
}

static LVal
f_isinf(const Call *c)
{
	LVal v = arg(c, 0);

	return boolean(v.kind == LFloat && isinf(v.f));
}

/* ---- dtypes ----------------------------------------------------------------------- */

static LVal
f_dtype(const Call *c)
{
	LVal v = {.kind = LDtype};

	if (!lang_dtypeof(arg(c, 0), &v.dt))
		lang_fail(c->L, c->at, "dtype of %s", lang_str(c->L->cx, c->v[0]));
	return v;
}

/* ATen's rule: tensors with dimensions, then those without, then numbers; a later
 * class counts only if its category is higher. */
typedef struct Tiers { enum dtype of[3]; } Tiers;

static enum dtype
higher(enum dtype a, enum dtype b)
{
	return a == DtNone ? b : b == DtNone ? a : dt_promote(a, b);
}

static void
addtier(Tiers *t, const Call *c, LVal v)
{
	enum dtype dt;
	int tier = 2;

	if (v.kind == LNone)
		return;
	if (v.kind == LList) {
		for (int k = 0; k < v.list.n; k++)
			addtier(t, c, v.list.v[k]);
		return;
	}
	if (!lang_dtypeof(v, &dt))
		lang_fail(c->L, c->at, "promote: %s has no dtype", lang_str(c->L->cx, v));
	if (v.kind == LDtype || (v.kind == LTensor && v.t->type->rank > 0))
		tier = 0;
	else if (v.kind == LTensor)
		tier = 1;
	t->of[tier] = higher(t->of[tier], dt);
}

static enum dtype
combine(enum dtype high, enum dtype low)
{
	if (high == DtNone)
		return low;
	if (low == DtNone || dtypeinfo[high].kind == KindComplex)
		return high;
	if (dt_float(high))
		return dtypeinfo[low].kind == KindComplex ? dt_promote(high, low) : high;
	if (high == DtB8 || !dt_int(low))
		return dt_promote(high, low);
	return high;
}

static LVal
f_promote(const Call *c)
{
	Tiers t = {{DtNone, DtNone, DtNone}};
	LVal r = {.kind = LDtype};

	for (int k = 0; k < c->n; k++)
		addtier(&t, c, c->v[k]);
	r.dt = combine(t.of[0], combine(t.of[1], t.of[2]));
	if (r.dt == DtNone)
		lang_fail(c->L, c->at, "promote: no tensor and no number");
	return r;
}

enum dtype
infer_promote(const OpDef *op, const Arg *arg)
{
	Tiers t = {{DtNone, DtNone, DtNone}};

	for (int k = 0; k < op->nparam; k++) {
		const Param *p = &op->param[k];
		bool scalar = p->type == AtScalar && !p->list &&
		              (p->dflt == NULL || strcmp(p->dflt, "None") == 0);
		if (p->type != AtTensor && !scalar)
			continue;
		const Arg *v = &arg[k];
		int n = v->kind == ArgList ? v->list.n : 1;
		for (int j = 0; j < n; j++) {
			const Arg *a = v->kind == ArgList ? &v->list.v[j] : v;
			enum dtype dt = DtNone;
			int tier = 2;
			if (a->kind == ArgVal && a->use->val->type && a->use->val->type->kind == TyTensor) {
				dt = a->use->val->type->dt;
				tier = a->use->val->type->rank > 0 ? 0 : 1;
			} else if (a->kind == ArgInt || a->kind == ArgVal) {
				dt = a->kind == ArgInt && a->i->isfloat ? DtF32 : DtI64;
			} else if (a->kind == ArgFloat) {
				dt = DtF32;
			} else if (a->kind == ArgBool) {
				dt = DtB8;
			} else if (a->kind == ArgComplex) {
				dt = DtC64;
			}
			if (dt != DtNone)
				t.of[tier] = higher(t.of[tier], dt);
		}
	}
	return combine(t.of[0], combine(t.of[1], t.of[2]));
}

/* ---- shapes ------------------------------------------------------------------------- */

const Sym *
lang_broadcastdim(Lang *L, const Sym *a, const Sym *b)
{
	if (sym_eq(a, b) || sym_is(b, 1))
		return a;
	if (sym_is(a, 1))
		return b;
	if (sym_ne(a, b) || sym_lt(L->cx, a, b) || sym_lt(L->cx, b, a)) {
		/* Different for sure; only a 1 among them could still fit. */
		if (a->lo > 1 && b->lo > 1)
			return NULL;
		if (a->kind == SymConst && b->kind == SymConst)
			return NULL;
		return a->lo > 1 ? a : b;
	}
	if (L->mod)
		infer_guard(L->mod, L->loc,
		            sym_fn(L->cx, SymFnEq, (const Sym *[]){a, b}, 2, NULL));
	return b->kind == SymConst ? b : a;
}

static LVal
f_broadcast(const Call *c)
{
	LVal r = lang_list(c->L, 0);

	for (int k = 0; k < c->n; k++) {
		LVal s = listarg(c, k), big = s.list.n > r.list.n ? s : r;
		LVal small = s.list.n > r.list.n ? r : s, next = lang_list(c->L, big.list.n);
		int off = big.list.n - small.list.n;
		for (int d = 0; d < big.list.n; d++) {
			next.list.v[d] = big.list.v[d];
			if (d < off)
				continue;
			const Sym *a = lang_tosym(c->L, c->at, big.list.v[d]);
			const Sym *b = lang_tosym(c->L, c->at, small.list.v[d - off]);
			const Sym *m = lang_broadcastdim(c->L, a, b);
			if (m == NULL)
				lang_fail(c->L, c->at, "shapes %s and %s do not broadcast",
				          lang_str(c->L->cx, r), lang_str(c->L->cx, s));
			next.list.v[d] = lang_sym(m);
		}
		r = next;
	}
	return r;
}

static int64_t
wrapdim(const Call *c, LVal d, int64_t ndim)
{
	int64_t k = known(c, lang_tosym(c->L, c->at, d)), n = ndim ? ndim : 1;

	if (k < -n || k >= n)
		lang_fail(c->L, c->at, "dimension %lld of a tensor with %lld", (long long)k, (long long)ndim);
	return k < 0 ? k + n : k;
}

static LVal
f_normdim(const Call *c)
{
	return lang_int(c->L->cx, wrapdim(c, arg(c, 0), known(c, symarg(c, 1))));
}

static LVal
f_normdims(const Call *c)
{
	int64_t n = known(c, symarg(c, 1));
	LVal d = arg(c, 0), r;

	if (d.kind == LNone) {
		r = lang_list(c->L, (int)n);
		for (int k = 0; k < n; k++)
			r.list.v[k] = lang_int(c->L->cx, k);
		return r;
	}
	if (d.kind == LInt) {
		r = lang_list(c->L, 1);
		r.list.v[0] = lang_int(c->L->cx, wrapdim(c, d, n));
		return r;
	}
	d = listarg(c, 0);
	r = lang_list(c->L, d.list.n);
	for (int k = 0; k < d.list.n; k++)
		r.list.v[k] = lang_int(c->L->cx, wrapdim(c, d.list.v[k], n));
	return r;
}

static const Sym *
product(const Call *c, LVal l, int from, int to)
{
	const Sym *p = sym_const(c->L->cx, 1);

	for (int k = from; k < to; k++)
		p = sym_mul(c->L->cx, p, lang_tosym(c->L, c->at, l.list.v[k]));
	return p;
}

/* numel/rest, exactly if it can be seen: a division of polynomials leaves no floor. */
static LVal
f_infer_size(const Call *c)
{
	LVal s = listarg(c, 0), r = lang_list(c->L, s.list.n);
	const Sym *numel = symarg(c, 1), *rest = sym_const(c->L->cx, 1);
	Ctx *cx = c->L->cx;
	int hole = -1;

	for (int k = 0; k < s.list.n; k++) {
		const Sym *d = lang_tosym(c->L, c->at, s.list.v[k]);
		r.list.v[k] = lang_sym(d);
		if (!sym_is(d, -1)) {
			rest = sym_mul(cx, rest, d);
			continue;
		}
		if (hole >= 0)
			lang_fail(c->L, c->at, "more than one size is -1: %s", lang_str(cx, s));
		hole = k;
	}
	int64_t a, b;
	bool kn = sym_isconst(numel, &a), kr = sym_isconst(rest, &b);
	if (hole >= 0) {
		if (kr && b == 0)
			lang_fail(c->L, c->at, "the size -1 is ambiguous beside a 0: %s", lang_str(cx, s));
		if (kn && kr && a % b != 0)
			lang_fail(c->L, c->at, "%lld elements do not fit %s", (long long)a, lang_str(cx, s));
		r.list.v[hole] = lang_sym(sym_div(cx, numel, rest));
	} else if (kn && kr ? a != b : sym_ne(numel, rest)) {
		lang_fail(c->L, c->at, "%s elements do not fit %s", sym_str(cx, numel), lang_str(cx, s));
	} else if (!sym_eq(numel, rest) && c->L->mod) {
		infer_guard(c->L->mod, c->L->loc,
		            sym_fn(cx, SymFnEq, (const Sym *[]){numel, rest}, 2, NULL));
	}
	return r;
}

static LVal
f_flat(const Call *c)
{
	LVal i = listarg(c, 0), s = listarg(c, 1);
	const Sym *p = sym_const(c->L->cx, 0);

	if (i.list.n != s.list.n)
		lang_fail(c->L, c->at, "flat: %d indices for %d sizes", i.list.n, s.list.n);
	for (int k = 0; k < i.list.n; k++) {
		p = sym_mul(c->L->cx, p, lang_tosym(c->L, c->at, s.list.v[k]));
		p = sym_add(c->L->cx, p, lang_tosym(c->L, c->at, i.list.v[k]));
	}
	return lang_sym(p);
}

/* Position p in sizes s[from..to), into r[from..to). */
static void
unflat(const Call *c, const Sym *p, LVal s, int from, int to, LVal r)
{
	Ctx *cx = c->L->cx;

	for (int k = to; k-- > from; ) {
		const Sym *n = lang_tosym(c->L, c->at, s.list.v[k]);
		bool first = true;     /* all before are 1: what is left is the index */
		for (int j = from; j < k; j++)
			first &= s.list.v[j].kind == LInt && sym_is(s.list.v[j].i, 1);
		if (sym_is(n, 1) || sym_is(n, 0)) {
			r.list.v[k] = lang_int(cx, 0);
			continue;
		}
		r.list.v[k] = lang_sym(first ? p : sym_mod(cx, p, n));
		p = first ? sym_const(cx, 0) : sym_div(cx, p, n);
	}
}

static LVal
f_unflat(const Call *c)
{
	LVal s = listarg(c, 1), r = lang_list(c->L, s.list.n);

	unflat(c, symarg(c, 0), s, 0, s.list.n, r);
	return r;
}

/* The index into sizes `to` of what index i of sizes `from` means.  Runs of
 * dimensions with equal products are converted by themselves, from the right:
 * a dimension that is in both stays an index, whatever stands beside it. */
static LVal
f_reindex(const Call *c)
{
	LVal i = listarg(c, 0), from = listarg(c, 1), to = listarg(c, 2);
	LVal r = lang_list(c->L, to.list.n);
	int a = from.list.n, b = to.list.n, a1 = a, b1 = b;
	Ctx *cx = c->L->cx;

	while (a1 > 0 || b1 > 0) {
		/* Grow [a, a1) and [b, b1) until their products agree. */
		const Sym *x = sym_const(cx, 1), *y = x;
		a = a1, b = b1;
		do {
			bool left;
			if (a == 0 || b == 0)
				left = b == 0 && a > 0;
			else if (a == a1 && b == b1)
				left = true;
			else
				left = sym_lt(cx, x, y) || (!sym_lt(cx, y, x) && a1 - a <= b1 - b);
			if (left)
				x = sym_mul(cx, x, lang_tosym(c->L, c->at, from.list.v[--a]));
			else
				y = sym_mul(cx, y, lang_tosym(c->L, c->at, to.list.v[--b]));
		} while (!(sym_eq(x, y) && (a < a1 || b < b1)) && (a > 0 || b > 0));
		if (!sym_eq(x, y))
			a = b = 0;
		LVal part = lang_list(c->L, a1 - a), sizes = lang_list(c->L, a1 - a);
		for (int k = a; k < a1; k++) {
			part.list.v[k - a] = i.list.v[k];
			sizes.list.v[k - a] = from.list.v[k];
		}
		if (a1 - a == 1 && b1 - b == 1) {
			r.list.v[b] = part.list.v[0];
		} else {
			LVal fv[2] = {part, sizes};
			Call f = *c;
			f.v = fv, f.n = 2;
			unflat(c, lang_tosym(c->L, c->at, f_flat(&f)), to, b, b1, r);
		}
		a1 = a, b1 = b;
	}
	return r;
}

/* The strides with which memory of (shape, stride) is seen as `to`; None: it must
 * be copied.  ATen's computeStride: runs of old dimensions that are contiguous
 * with each other are split among the new ones. */
static LVal
f_viewstride(const Call *c)
{
	LVal shape = listarg(c, 0), stride = listarg(c, 1), to = listarg(c, 2);
	LVal r = lang_list(c->L, to.list.n);
	Ctx *cx = c->L->cx;
	int k = to.list.n - 1;

	if (shape.list.n == 0) {
		for (int j = 0; j <= k; j++)
			r.list.v[j] = lang_int(cx, 1);
		return r;
	}
	const Sym *numel = product(c, shape, 0, shape.list.n);
	if (sym_is(numel, 0)) {
		for (int j = k; j >= 0; j--)
			r.list.v[j] = j == k ? lang_int(cx, 1) :
			    lang_binary(c->L, c->at, "*", r.list.v[j + 1], to.list.v[j + 1]);
		return r;
	}
	const Sym *base = lang_tosym(c->L, c->at, stride.list.v[shape.list.n - 1]);
	const Sym *old = sym_const(cx, 1), *new = old;
	for (int d = shape.list.n - 1; d >= 0; d--) {
		old = sym_mul(cx, old, lang_tosym(c->L, c->at, shape.list.v[d]));
		if (d > 0) {
			const Sym *before = lang_tosym(c->L, c->at, shape.list.v[d - 1]);
			const Sym *st = lang_tosym(c->L, c->at, stride.list.v[d - 1]);
			if (sym_is(before, 1) || sym_eq(st, sym_mul(cx, old, base)))
				continue;
		}
		while (k >= 0) {
			const Sym *n = lang_tosym(c->L, c->at, to.list.v[k]);
			if (!(sym_lt(cx, new, old) || sym_is(n, 1) ||
			      (!sym_eq(new, old) && !sym_lt(cx, old, new))))
				break;
			r.list.v[k--] = lang_sym(sym_mul(cx, new, base));
			new = sym_mul(cx, new, n);
		}
		if (!sym_eq(new, old) && d > 0)
			return none();
		if (d > 0)
			base = lang_tosym(c->L, c->at, stride.list.v[d - 1]);
		old = new = sym_const(cx, 1);
	}
	for (; k >= 0; k--)
		r.list.v[k] = lang_sym(base);
	return r;
}

static LVal
f_newsize(const Call *c)
{
	int64_t lo = 0, hi = INT64_MAX;

	if (c->n > 0)
		lo = symarg(c, 0)->lo;
	if (c->n > 1)
		hi = symarg(c, 1)->hi;
	return lang_sym(sym_fresh(c->L->cx, "u", lo < 0 ? 0 : lo, hi));
}

/* ---- kinds ------------------------------------------------------------------------------ */

static LVal f_istensor(const Call *c) { return boolean(arg(c, 0).kind == LTensor); }
static LVal f_islist(const Call *c) { return boolean(arg(c, 0).kind == LList); }
static LVal f_isstr(const Call *c) { return boolean(arg(c, 0).kind == LStr); }
static LVal f_isbool(const Call *c) { return boolean(arg(c, 0).kind == LBool); }

static LVal
f_isint(const Call *c)
{
	LVal v = arg(c, 0);

	return boolean(v.kind == LBool || (v.kind == LInt && !v.i->isfloat));
}

static LVal
f_isfloat(const Call *c)
{
	LVal v = arg(c, 0);

	return boolean(v.kind == LFloat || (v.kind == LInt && v.i->isfloat));
}

static LVal
f_isknown(const Call *c)
{
	LVal v = arg(c, 0);
	int64_t k;

	return boolean(v.kind != LInt || sym_isconst(v.i, &k));
}

static LVal
f_error(const Call *c)
{
	LVal v = arg(c, 0);
	Lang *L = c->L;

	error(L->cx, L->loc, "%s: %s", L->op ? L->op->name : "table",
	      v.kind == LStr ? v.s : lang_str(L->cx, v));
	longjmp(*L->fail, 1);
}

/* ---- the table --------------------------------------------------------------------------- */

/* structural: never an operator's name, whatever the arguments. */
static const struct {
	const char *name;
	LVal (*fn)(const Call *);
	bool structural;
} fns[] = {
	{"len", f_len, true}, {"range", f_range, true}, {"list", f_list, true},
	{"reversed", f_reversed, true}, {"sorted", f_sorted, true}, {"zip", f_zip, true},
	{"enumerate", f_enumerate, true}, {"sum", f_sum, false}, {"prod", f_prod, false},
	{"min", f_min, false}, {"max", f_max, false}, {"all", f_all, false},
	{"any", f_any, false}, {"int", f_int, true}, {"float", f_float, true},
	{"bool", f_bool, true}, {"floor", f_floor, false}, {"ceil", f_ceil, false},
	{"trunc", f_int, false}, {"round", f_round, false}, {"abs", f_abs, false},
	{"sqrt", f_sqrt, false}, {"exp", f_exp, false}, {"log", f_log, false},
	{"log2", f_log2, false}, {"sin", f_sin, false}, {"cos", f_cos, false},
	{"tan", f_tan, false}, {"asin", f_asin, false}, {"acos", f_acos, false},
	{"atan", f_atan, false}, {"sinh", f_sinh, false}, {"cosh", f_cosh, false},
	{"tanh", f_tanh, false}, {"lgamma", f_lgamma, false}, {"erf", f_erf, false},
	{"expm1", f_expm1, false}, {"log1p", f_log1p, false},
	{"pow", f_pow, false}, {"ceildiv", f_ceildiv, true}, {"dtype", f_dtype, true},
	{"isnan", f_isnan, false}, {"isinf", f_isinf, false},
	{"promote", f_promote, true}, {"broadcast", f_broadcast, true},
	{"normdim", f_normdim, true}, {"normdims", f_normdims, true},
	{"infer_size", f_infer_size, true}, {"flat", f_flat, true},
	{"unflat", f_unflat, true}, {"reindex", f_reindex, true},
	{"viewstride", f_viewstride, true}, {"newsize", f_newsize, true},
	{"istensor", f_istensor, true}, {"islist", f_islist, true},
	{"isstr", f_isstr, true}, {"isbool", f_isbool, true},
	{"isint", f_isint, true}, {"isfloat", f_isfloat, true},
	{"isknown", f_isknown, true}, {"error", f_error, true},
};

bool
lang_isstructural(Str name)
{
	for (int k = 0; k < COUNT(fns); k++)
		if (strcmp(fns[k].name, name) == 0)
			return fns[k].structural;
	return false;
}

bool
lang_builtin(Lang *L, const Ast *at, Str name, LVal *arg, int n, LKey *kw, int nkw, LVal *out)
{
	for (int k = 0; k < COUNT(fns); k++)
		if (strcmp(fns[k].name, name) == 0) {
			Call c = {L, at, name, arg, n, kw, nkw};
			*out = fns[k].fn(&c);
			return true;
		}
	return false;
}
