/* langfn.c - the table language's functions on plain values.
 *
 * Sizes, lists, dtypes and numbers; the same in every mode.  A function takes
 * its arguments evaluated and either answers or says that it is not meant (then
 * an operator of that name may be: sum of a tensor).
 */
#include <math.h>
#include "ir/lang.h"

/* Argument k, or a keyword. */
LVal
lang_arg(const LCall *c, int k)
{
	if (k < c->n)
		return c->v[k];
	lang_fail(c->L, c->at, "%s needs %d arguments", c->name, k + 1);
}

const Sym *
lang_symarg(const LCall *c, int k)
{
	return lang_tosym(c->L, c->at, lang_arg(c, k));
}

LVal
lang_listarg(const LCall *c, int k)
{
	return lang_iter(c->L, c->at, lang_arg(c, k));
}

int64_t
lang_known(const LCall *c, const Sym *s)
{
	int64_t k;

	if (!sym_isconst(s, &k))
		lang_fail(c->L, c->at, "%s: %s is not known when compiling", c->name,
		          sym_str(c->L->cx, s));
	return k;
}

/* ---- lists -------------------------------------------------------------------- */

static LVal
f_len(const LCall *c)
{
	LVal v = lang_arg(c, 0);

	if (v.kind == LTensor)
		return lang_sym(v.t->type->dim[0]);
	return lang_int(c->L->cx, lang_listarg(c, 0).list.n);
}

static LVal
f_range(const LCall *c)
{
	LVal r = {.kind = LRange};
	const Sym *a = lang_symarg(c, 0);

	r.range.from = c->n > 1 ? a : sym_const(c->L->cx, 0);
	r.range.to = c->n > 1 ? lang_symarg(c, 1) : a;
	r.range.step = c->n > 2 ? lang_known(c, lang_symarg(c, 2)) : 1;
	if (r.range.step == 0)
		lang_fail(c->L, c->at, "range: the step is zero");
	return r;
}

static LVal
f_list(const LCall *c)
{
	return c->n ? lang_listarg(c, 0) : lang_list(c->L, 0);
}

static LVal
f_reversed(const LCall *c)
{
	LVal a = lang_listarg(c, 0), r = lang_list(c->L, a.list.n);

	for (int k = 0; k < a.list.n; k++)
		r.list.v[k] = a.list.v[a.list.n - 1 - k];
	return r;
}

static LVal
f_sorted(const LCall *c)
{
	LVal a = lang_listarg(c, 0), r = lang_list(c->L, a.list.n);

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
f_zip(const LCall *c)
{
	int n = c->n ? lang_listarg(c, 0).list.n : 0;

	for (int k = 1; k < c->n; k++)
		if (lang_listarg(c, k).list.n < n)
			n = lang_listarg(c, k).list.n;
	LVal r = lang_list(c->L, n);
	for (int j = 0; j < n; j++) {
		r.list.v[j] = lang_list(c->L, c->n);
		for (int k = 0; k < c->n; k++)
			r.list.v[j].list.v[k] = lang_listarg(c, k).list.v[j];
	}
	return r;
}

static LVal
f_enumerate(const LCall *c)
{
	LVal a = lang_listarg(c, 0), r = lang_list(c->L, a.list.n);

	for (int k = 0; k < a.list.n; k++) {
		r.list.v[k] = lang_list(c->L, 2);
		r.list.v[k].list.v[0] = lang_int(c->L->cx, k);
		r.list.v[k].list.v[1] = a.list.v[k];
	}
	return r;
}

/* sum prod min max of a list, or of the arguments. */
static LVal
reduce(const LCall *c, const char *op, LVal first)
{
	LVal l = c->n == 1 ? lang_listarg(c, 0) : (LVal){.kind = LList, .list = {c->v, c->n}};
	LVal r = first;

	for (int k = 0; k < l.list.n; k++)
		r = k == 0 && first.kind == LNone ? l.list.v[0]
		  : lang_binary(c->L, c->at, op, r, l.list.v[k]);
	return r;
}

static LVal
f_sum(const LCall *c)
{
	return reduce(c, "+", lang_int(c->L->cx, 0));
}

static LVal
f_prod(const LCall *c)
{
	return reduce(c, "*", lang_int(c->L->cx, 1));
}

static LVal
pick(const LCall *c, bool max)
{
	LVal l = c->n == 1 ? lang_listarg(c, 0) : (LVal){.kind = LList, .list = {c->v, c->n}};
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

static LVal f_min(const LCall *c) { return pick(c, false); }
static LVal f_max(const LCall *c) { return pick(c, true); }

/* all and any: of plain conditions, and in a where of undecided ones. */
static LVal
quantify(const LCall *c, bool all)
{
	LVal l = lang_listarg(c, 0), r = lang_bool(all);

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

static LVal f_all(const LCall *c) { return quantify(c, true); }
static LVal f_any(const LCall *c) { return quantify(c, false); }

/* ---- numbers -------------------------------------------------------------------- */

/* A function of one real number: known now, or a symbolic float. */
static LVal
real1(const LCall *c, double (*f)(double), enum symfn fn, const char *opaque)
{
	LVal v = lang_arg(c, 0);
	int64_t k;

	if (v.kind == LFloat)
		return (LVal){.kind = LFloat, .f = f(v.f)};
	const Sym *s = lang_tosym(c->L, c->at, v);
	if (sym_isconst(s, &k))
		return (LVal){.kind = LFloat, .f = f((double)k)};
	return lang_sym(sym_fn(c->L->cx, fn, &s, 1, opaque ? intern_str(c->L->cx, opaque) : NULL));
}

static LVal f_sqrt(const LCall *c) { return real1(c, sqrt, SymFnSqrt, NULL); }
static LVal f_exp(const LCall *c)  { return real1(c, exp, SymFnFFn, "exp"); }
static LVal f_log(const LCall *c)  { return real1(c, log, SymFnFFn, "log"); }
static LVal f_log2(const LCall *c) { return real1(c, log2, SymFnFFn, "log2"); }
static LVal f_sin(const LCall *c)  { return real1(c, sin, SymFnFFn, "sin"); }
static LVal f_cos(const LCall *c)  { return real1(c, cos, SymFnFFn, "cos"); }
static LVal f_tan(const LCall *c)  { return real1(c, tan, SymFnFFn, "tan"); }
static LVal f_asin(const LCall *c) { return real1(c, asin, SymFnFFn, "asin"); }
static LVal f_acos(const LCall *c) { return real1(c, acos, SymFnFFn, "acos"); }
static LVal f_atan(const LCall *c) { return real1(c, atan, SymFnFFn, "atan"); }
static LVal f_sinh(const LCall *c) { return real1(c, sinh, SymFnFFn, "sinh"); }
static LVal f_cosh(const LCall *c) { return real1(c, cosh, SymFnFFn, "cosh"); }
static LVal f_tanh(const LCall *c) { return real1(c, tanh, SymFnFFn, "tanh"); }
static LVal f_lgamma(const LCall *c) { return real1(c, lgamma, SymFnFFn, "lgamma"); }
static LVal f_erf(const LCall *c) { return real1(c, erf, SymFnFFn, "erf"); }
static LVal f_expm1(const LCall *c) { return real1(c, expm1, SymFnFFn, "expm1"); }
static LVal f_log1p(const LCall *c) { return real1(c, log1p, SymFnFFn, "log1p"); }

/* To an int: floor, ceil, trunc, round to even. */
static LVal
toint(const LCall *c, double (*f)(double), enum symfn fn)
{
	LVal v = lang_arg(c, 0);

	if (v.kind == LFloat) {
		double d = f(v.f);
		if (!(fabs(d) < 9.2e18))
			lang_fail(c->L, c->at, "%s of %s", c->name, lang_str(c->L->cx, v));
		return lang_int(c->L->cx, (int64_t)d);
	}
	const Sym *s = lang_tosym(c->L, c->at, v);
	return lang_sym(s->isfloat ? sym_fn(c->L->cx, fn, &s, 1, NULL) : s);
}

static LVal f_floor(const LCall *c) { return toint(c, floor, SymFnFloor); }
static LVal f_ceil(const LCall *c)  { return toint(c, ceil, SymFnCeil); }
static LVal f_int(const LCall *c)   { return toint(c, trunc, SymFnTrunc); }
static LVal f_round(const LCall *c) { return toint(c, rint, SymFnRound); }

static LVal
f_float(const LCall *c)
{
	LVal v = lang_arg(c, 0);
	int64_t k;

	if (v.kind == LFloat)
		return v;
	const Sym *s = lang_tosym(c->L, c->at, v);
	if (sym_isconst(s, &k))
		return (LVal){.kind = LFloat, .f = (double)k};
	return lang_sym(s->isfloat ? s : sym_fn(c->L->cx, SymFnToFloat, &s, 1, NULL));
}

static LVal
f_bool(const LCall *c)
{
	LVal v = lang_arg(c, 0);

	if (v.kind == LFloat)
		return lang_bool(v.f != 0);
	return lang_compare(c->L, c->at, "!=", v, lang_int(c->L->cx, 0));
}

static LVal
f_abs(const LCall *c)
{
	LVal v = lang_arg(c, 0);

	if (v.kind == LFloat)
		return (LVal){.kind = LFloat, .f = fabs(v.f)};
	const Sym *s = lang_tosym(c->L, c->at, v);
	return lang_sym(sym_max(c->L->cx, s, sym_neg(c->L->cx, s)));
}

static LVal
f_pow(const LCall *c)
{
	return lang_binary(c->L, c->at, "**", lang_arg(c, 0), lang_arg(c, 1));
}

static LVal
f_ceildiv(const LCall *c)
{
	const Sym *a = lang_symarg(c, 0), *b = lang_symarg(c, 1);

	if (sym_is(b, 0))
		lang_fail(c->L, c->at, "division by zero");
	return lang_sym(sym_ceildiv(c->L->cx, a, b));
}

static LVal
f_isnan(const LCall *c)
{
	LVal v = lang_arg(c, 0);

	return lang_bool(v.kind == LFloat && isnan(v.f));
}

static LVal
f_isinf(const LCall *c)
{
	LVal v = lang_arg(c, 0);

	return lang_bool(v.kind == LFloat && isinf(v.f));
}

/* ---- dtypes ----------------------------------------------------------------------- */

static LVal
f_dtype(const LCall *c)
{
	LVal v = {.kind = LDtype};

	if (!lang_dtypeof(lang_arg(c, 0), &v.dt))
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
addtier(Tiers *t, const LCall *c, LVal v)
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
f_promote(const LCall *c)
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

/* ---- kinds ------------------------------------------------------------------------------ */

static LVal f_istensor(const LCall *c) { return lang_bool(lang_arg(c, 0).kind == LTensor); }
static LVal f_islist(const LCall *c) { return lang_bool(lang_arg(c, 0).kind == LList); }
static LVal f_isstr(const LCall *c) { return lang_bool(lang_arg(c, 0).kind == LStr); }
static LVal f_isbool(const LCall *c) { return lang_bool(lang_arg(c, 0).kind == LBool); }

static LVal
f_isint(const LCall *c)
{
	LVal v = lang_arg(c, 0);

	return lang_bool(v.kind == LBool || (v.kind == LInt && !v.i->isfloat));
}

static LVal
f_isfloat(const LCall *c)
{
	LVal v = lang_arg(c, 0);

	return lang_bool(v.kind == LFloat || (v.kind == LInt && v.i->isfloat));
}

static LVal
f_isknown(const LCall *c)
{
	LVal v = lang_arg(c, 0);
	int64_t k;

	return lang_bool(v.kind != LInt || sym_isconst(v.i, &k));
}

/* Is the program differentiated? */
static LVal
f_training(const LCall *c)
{
	return lang_bool(c->L->mod && c->L->mod->train);
}

/* Does anything draw (not so under -frng=zero)? */
static LVal
f_drawing(const LCall *c)
{
	return lang_bool(!c->L->mod || c->L->mod->rng != RngZero);
}

static LVal
f_error(const LCall *c)
{
	LVal v = lang_arg(c, 0);
	Lang *L = c->L;

	error(L->cx, L->loc, "%s: %s", L->op ? L->op->name : "table",
	      v.kind == LStr ? v.s : lang_str(L->cx, v));
	longjmp(*L->fail, 1);
}

/* ---- the table --------------------------------------------------------------------------- */

/* structural: never an operator's name, whatever the arguments. */
static const struct {
	const char *name;
	LVal (*fn)(const LCall *);
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
	{"promote", f_promote, true}, {"broadcast", lang_f_broadcast, true},
	{"normdim", lang_f_normdim, true}, {"normdims", lang_f_normdims, true},
	{"infer_size", lang_f_infer_size, true}, {"flat", lang_f_flat, true},
	{"unflat", lang_f_unflat, true}, {"reindex", lang_f_reindex, true},
	{"viewstride", lang_f_viewstride, true}, {"newsize", lang_f_newsize, true},
	{"newnumber", lang_f_newnumber, true},
	{"istensor", f_istensor, true}, {"islist", f_islist, true},
	{"isstr", f_isstr, true}, {"isbool", f_isbool, true},
	{"isint", f_isint, true}, {"isfloat", f_isfloat, true},
	{"isknown", f_isknown, true}, {"training", f_training, true}, {"drawing", f_drawing, true},
	{"error", f_error, true},
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
lang_isbuiltin(const char *name)
{
	for (int k = 0; k < COUNT(fns); k++)
		if (strcmp(fns[k].name, name) == 0)
			return true;
	return false;
}

bool
lang_builtin(Lang *L, const Ast *at, Str name, LVal *arg, int n, LKey *kw, int nkw, LVal *out)
{
	for (int k = 0; k < COUNT(fns); k++)
		if (strcmp(fns[k].name, name) == 0) {
			LCall c = {L, at, name, arg, n, kw, nkw};
			*out = fns[k].fn(&c);
			return true;
		}
	return false;
}
