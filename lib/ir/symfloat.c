/* symfloat.c - expressions whose value is a double, and their roundings.
 *
 * They are rare (scale factors computed from sizes), so they are folded when
 * constant and otherwise kept as written; no law of arithmetic is applied, since
 * none holds.  Integer operands are converted first.
 */
#include <math.h>
#include "ir/symrep.h"

static const struct { const char *name; double (*fn)(double); } call[] = {
	{ "sqrt", sqrt }, { "exp", exp }, { "exp2", exp2 }, { "log", log },
	{ "log2", log2 }, { "log10", log10 }, { "sin", sin }, { "cos", cos },
	{ "tan", tan }, { "asin", asin }, { "acos", acos }, { "atan", atan },
	{ "sinh", sinh }, { "cosh", cosh }, { "tanh", tanh },
	{ "asinh", asinh }, { "acosh", acosh }, { "atanh", atanh },
	{ "expm1", expm1 }, { "log1p", log1p }, { "erf", erf },
	{ "abs", fabs }, { "floor", floor }, { "ceil", ceil },
	{ "trunc", trunc }, { "round", rint },
};

double
symf_call(Str fn, double x)
{
	for (int i = 0; fn && i < COUNT(call); i++)
		if (strcmp(call[i].name, fn) == 0)
			return call[i].fn(x);
	return NAN;
}

static const Sym *
tofloat(Ctx *cx, const Sym *a)
{
	if (a->isfloat)
		return a;
	if (a->kind == SymConst)
		return sym_float(cx, (double)a->k);
	return sym_atom(cx, SymFnToFloat, &a, 1, NULL, true, INT64_MIN,
	                INT64_MAX);
}

/* int/int is rounded once in Python: exact operands make one rounding here too. */
static double
truediv(int64_t a, int64_t b)
{
	int64_t exact = INT64_C(1) << 53;

	if (a >= -exact && a <= exact && b >= -exact && b <= exact)
		return (double)a / (double)b;
	return (double)((long double)a / (long double)b);
}

static bool
folded(enum symfn fn, double a, double b, double *r)
{
	switch (fn) {
	case SymFnFAdd: *r = a + b; return true;
	case SymFnFMul: *r = a * b; return true;
	case SymFnFDiv: *r = a / b; return b != 0;
	case SymFnFPow: *r = pow(a, b); return a != 0 || b >= 0;
	case SymFnMin:  *r = b < a ? b : a; return true;
	case SymFnMax:  *r = b > a ? b : a; return true;
	case SymFnEq:   *r = a == b; return true;
	case SymFnNe:   *r = a != b; return true;
	case SymFnLt:   *r = a < b; return true;
	case SymFnLe:   *r = a <= b; return true;
	default:        return false;
	}
}

static bool
iscompare(enum symfn fn)
{
	return fn == SymFnEq || fn == SymFnNe || fn == SymFnLt || fn == SymFnLe;
}

static const Sym *
two(Ctx *cx, enum symfn fn, const Sym *a, const Sym *b)
{
	double r;

	a = tofloat(cx, a);
	b = tofloat(cx, b);
	if (a->kind == SymFloatConst && b->kind == SymFloatConst
	    && folded(fn, a->f, b->f, &r))
		return iscompare(fn) ? sym_const(cx, r != 0) : sym_float(cx, r);
	if (fn == SymFnFMul && b->kind == SymFloatConst) {
		const Sym *t = a;

		a = b;
		b = t;
	}
	return sym_atom(cx, fn, (const Sym *[]){ a, b }, 2, NULL, true,
	                INT64_MIN, INT64_MAX);
}

/* floor(a/b) for integers a >= 0, b > 0 is a//b although a/b is rounded to a
 * double, as long as a < 2^53: a/b is either an integer or at least 1/b below
 * the next one.  Sizes are that small. */
static const Sym *
rounded(Ctx *cx, enum symfn fn, const Sym *a)
{
	double r;

	if (!a->isfloat)
		return a;
	if (a->kind == SymFloatConst) {
		r = fn == SymFnFloor ? floor(a->f) : fn == SymFnCeil
		    ? ceil(a->f) : fn == SymFnTrunc ? trunc(a->f) : rint(a->f);
		if (r >= -0x1p63 && r < 0x1p63)
			return sym_const(cx, (int64_t)r);
	}
	if (a->kind == SymFn && a->fn == SymFnToFloat)
		return a->arg[0];
	if (a->kind == SymFn && a->fn == SymFnTrueDiv && a->arg[0]->lo >= 0
	    && sym_pos(cx, a->arg[1])) {
		if (fn == SymFnFloor || fn == SymFnTrunc)
			return sym_div(cx, a->arg[0], a->arg[1]);
		if (fn == SymFnCeil)
			return sym_ceildiv(cx, a->arg[0], a->arg[1]);
	}
	return sym_atom(cx, fn, &a, 1, NULL, false, INT64_MIN, INT64_MAX);
}

static const Sym *
division(Ctx *cx, const Sym *a, const Sym *b)
{
	if (a->isfloat || b->isfloat)
		return two(cx, SymFnFDiv, a, b);
	if (a->kind == SymConst && b->kind == SymConst && b->k)
		return sym_float(cx, truediv(a->k, b->k));
	return sym_atom(cx, SymFnTrueDiv, (const Sym *[]){ a, b }, 2, NULL,
	                true, INT64_MIN, INT64_MAX);
}

const Sym *
symf_fn(Ctx *cx, enum symfn fn, const Sym *const *arg, Str ffn)
{
	const Sym *a = arg[0];

	switch (fn) {
	case SymFnToFloat:
		return tofloat(cx, a);
	case SymFnTrueDiv:
		return division(cx, a, arg[1]);
	case SymFnSqrt:
		ffn = "sqrt";
		/* fall through */
	case SymFnFFn:
		a = tofloat(cx, a);
		if (a->kind == SymFloatConst && !isnan(symf_call(ffn, a->f)))
			return sym_float(cx, symf_call(ffn, a->f));
		return sym_atom(cx, fn, &a, 1,
		                fn == SymFnSqrt ? NULL : ffn, true, INT64_MIN,
		                INT64_MAX);
	case SymFnFloor:
	case SymFnCeil:
	case SymFnTrunc:
	case SymFnRound:
		return rounded(cx, fn, a);
	case SymFnWhere:
		return sym_atom(cx, fn, (const Sym *[]){ a,
		                tofloat(cx, arg[1]), tofloat(cx, arg[2]) }, 3,
		                NULL, true, INT64_MIN, INT64_MAX);
	default:
		return two(cx, fn, a, arg[1]);
	}
}

const Sym *
symf_binary(Ctx *cx, const char *op, const Sym *a, const Sym *b)
{
	const Sym *q;

	if (strcmp(op, "+") == 0)
		return two(cx, SymFnFAdd, a, b);
	if (strcmp(op, "*") == 0)
		return two(cx, SymFnFMul, a, b);
	if (strcmp(op, "**") == 0)
		return two(cx, SymFnFPow, a, b);
	if (strcmp(op, "-") == 0)
		return two(cx, SymFnFAdd, a,
		           two(cx, SymFnFMul, sym_float(cx, -1), b));
	q = rounded(cx, SymFnFloor, two(cx, SymFnFDiv, a, b));
	if (strcmp(op, "//") == 0)
		return tofloat(cx, q);
	return symf_binary(cx, "-", a, two(cx, SymFnFMul, tofloat(cx, q), b));
}
