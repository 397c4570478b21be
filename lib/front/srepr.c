/* srepr.c - sizes as torch writes them: sympy's srepr, prefix function form.
 *
 *     Add(Symbol('s17', positive=True, integer=True), Mul(Integer(3), Symbol('s77')))
 *
 * Sympy's sums and products are over rationals: s0/2 is Mul(Rational(1, 2), s0).
 * So a value here is a fraction of two Syms until a function or the end makes it
 * an integer; the assumption keywords of a symbol are advice and are dropped,
 * its range is in range_constraints.
 */
#include <locale.h>
#include <stdlib.h>
#include "front/export.h"
#include "front/infix.h"

enum { MaxDepth = 256, MaxNodes = 100000, MaxArgs = 4096 };

/* num/den; den NULL: 1.  num may be a double, den then is NULL. */
typedef struct Frac { const Sym *num, *den; } Frac;

typedef struct Parse {
	Ctx *cx;
	const char *s, *end;
	int depth, nodes;
	const char *why;
} Parse;

static bool
fail(Parse *p, const char *why)
{
	if (p->why == NULL)
		p->why = why;
	return false;
}

/* ---- arithmetic of fractions ---------------------------------------------- */

static const Sym *
call(Parse *p, enum symfn fn, const Sym *a, const Sym *b)
{
	const Sym *arg[] = { a, b };

	return sym_fn(p->cx, fn, arg, b ? 2 : 1, NULL);
}

static const Sym *
whole(Parse *p, Frac f)
{
	return f.den ? sym_div(p->cx, f.num, f.den) : f.num;
}

static const Sym *
real(Parse *p, Frac f)
{
	if (f.den)
		return call(p, SymFnTrueDiv, f.num, f.den);
	return f.num->isfloat ? f.num : call(p, SymFnToFloat, f.num, NULL);
}

static Frac
plain(const Sym *s)
{
	return (Frac){ .num = s };
}

static Frac
fraction(const Sym *num, const Sym *den)
{
	return (Frac){ num, den && sym_is(den, 1) ? NULL : den };
}

static Frac
times(Parse *p, Frac a, Frac b)
{
	if (a.num->isfloat || b.num->isfloat)
		return plain(call(p, SymFnFMul, real(p, a), real(p, b)));
	return fraction(sym_mul(p->cx, a.num, b.num),
	                a.den && b.den ? sym_mul(p->cx, a.den, b.den) : a.den ? a.den : b.den);
}

static Frac
plus(Parse *p, Frac a, Frac b)
{
	const Sym *x = a.num, *y = b.num;

	if (x->isfloat || y->isfloat)
		return plain(call(p, SymFnFAdd, real(p, a), real(p, b)));
	if (a.den == b.den)
		return fraction(sym_add(p->cx, x, y), a.den);
	if (b.den)
		x = sym_mul(p->cx, x, b.den);
	if (a.den)
		y = sym_mul(p->cx, y, a.den);
	return fraction(sym_add(p->cx, x, y),
	                a.den && b.den ? sym_mul(p->cx, a.den, b.den) : a.den ? a.den : b.den);
}

static bool
power(Parse *p, Frac a, Frac b, Frac *out)
{
	int64_t k, den;

	if (!b.den && sym_isconst(b.num, &k) && !a.num->isfloat) {
		const Sym *e = sym_const(p->cx, k < 0 ? -k : k);
		const Sym *n = call(p, SymFnPow, a.num, e);
		const Sym *d = a.den ? call(p, SymFnPow, a.den, e) : NULL;
		if (k >= 0)
			*out = fraction(n, d);
		else
			*out = fraction(d ? d : sym_const(p->cx, 1), n);
		return true;
	}
	if (b.den && sym_isconst(b.num, &k) && sym_isconst(b.den, &den) && k == 1 && den == 2) {
		*out = plain(call(p, SymFnSqrt, real(p, a), NULL));
		return true;
	}
	if (a.num->isfloat || b.num->isfloat || b.den)
		*out = plain(call(p, SymFnFPow, real(p, a), real(p, b)));
	else
		*out = plain(call(p, SymFnPow, whole(p, a), b.num));
	return true;
}

/* A comparison; fractions are compared as a*den(b) ? b*den(a), dens being
 * positive (they are sizes or constants). */
static Frac
compare(Parse *p, enum symfn fn, Frac a, Frac b)
{
	if (a.num->isfloat || b.num->isfloat)
		return plain(call(p, fn, real(p, a), real(p, b)));
	return plain(call(p, fn, b.den ? sym_mul(p->cx, a.num, b.den) : a.num,
	                  a.den ? sym_mul(p->cx, b.num, a.den) : b.num));
}

/* ---- functions, one for each shape of them ---------------------------------- */

typedef struct Fn Fn;
typedef bool Apply(Parse *, const Fn *, const Frac *, int n, Frac *out);
struct Fn {
	const char *name;
	int min, max;           /* how many arguments */
	Apply *apply;
	enum symfn fn;
};

static bool
do_sum(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	*out = a[0];
	(void)f;
	for (int i = 1; i < n; i++)
		*out = plus(p, *out, a[i]);
	return true;
}

static bool
do_product(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	*out = a[0];
	(void)f;
	for (int i = 1; i < n; i++)
		*out = times(p, *out, a[i]);
	return true;
}

static bool
do_power(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	(void)f;
	(void)n;
	return power(p, a[0], a[1], out);
}

static bool
do_compare(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	*out = compare(p, f->fn, a[0], a[1]);
	(void)n;
	return true;
}

static bool
do_swapped(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	*out = compare(p, f->fn, a[1], a[0]);
	(void)n;
	return true;
}

/* Integers to integer, from the left. */
static bool
do_ints(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	const Sym *r = whole(p, a[0]);

	for (int i = 1; i < n; i++) {
		const Sym *b = whole(p, a[i]);
		switch (f->fn) {
		case SymFnDiv: r = sym_div(p->cx, r, b); break;
		case SymFnMod: r = sym_mod(p->cx, r, b); break;
		case SymFnMin: r = sym_min(p->cx, r, b); break;
		case SymFnMax: r = sym_max(p->cx, r, b); break;
		default:       r = call(p, f->fn, r, b); break;
		}
	}
	if (n == 1 && f->fn == SymFnNot)
		r = call(p, SymFnNot, r, NULL);
	*out = plain(r);
	return true;
}

/* Floor division of doubles is floor(a/b); of fractions it crosses over. */
static bool
do_floordiv(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	Frac inverse = { a[1].den ? a[1].den : sym_const(p->cx, 1), a[1].num };
	Frac q;

	(void)n;
	if (a[0].num->isfloat || a[1].num->isfloat)
		return fail(p, "floor division of floating-point sizes");
	q = times(p, a[0], inverse);
	if (q.den && sym_is(q.den, 0))
		return fail(p, "division by zero");
	*out = plain(f->fn == SymFnCeil && q.den ? sym_ceildiv(p->cx, q.num, q.den) : whole(p, q));
	return true;
}

static bool
do_modularindexing(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	const Sym *q = sym_div(p->cx, whole(p, a[0]), whole(p, a[1]));

	*out = plain(sym_mod(p->cx, q, whole(p, a[2])));
	(void)f;
	(void)n;
	return true;
}

static bool
do_where(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	bool isfloat = a[1].num->isfloat || a[2].num->isfloat;
	const Sym *arg[] = { whole(p, a[0]), isfloat ? real(p, a[1]) : whole(p, a[1]),
	                     isfloat ? real(p, a[2]) : whole(p, a[2]) };

	*out = plain(sym_fn(p->cx, SymFnWhere, arg, 3, NULL));
	(void)f;
	(void)n;
	return true;
}

/* Double to integer; of a fraction by integers, which is exact. */
static bool
do_round(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	(void)n;
	if (a[0].num->isfloat || (a[0].den && f->fn != SymFnFloor && f->fn != SymFnCeil))
		*out = plain(call(p, f->fn, real(p, a[0]), NULL));
	else if (a[0].den && f->fn == SymFnCeil)
		*out = plain(sym_ceildiv(p->cx, a[0].num, a[0].den));
	else
		*out = plain(whole(p, a[0]));
	return true;
}

/* Doubles to double. */
static bool
do_real(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	*out = plain(f->fn == SymFnToFloat ? real(p, a[0]) :
	             call(p, f->fn, real(p, a[0]), n > 1 ? real(p, a[1]) : NULL));
	return true;
}

static bool
do_truediv(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	(void)n;
	if (a[0].num->isfloat || a[1].num->isfloat)
		return do_real(p, &(Fn){ .fn = SymFnFDiv }, a, 2, out);
	*out = plain(call(p, f->fn, whole(p, a[0]), whole(p, a[1])));
	return true;
}

static bool
do_trunctofloat(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	*out = plain(call(p, SymFnToFloat, call(p, f->fn, real(p, a[0]), NULL), NULL));
	(void)n;
	return true;
}

/* Python's round(x, n) as round(x*10^n)/10^n. */
static bool
do_rounddecimal(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	double scale = 1;
	const Sym *s, *r;
	int64_t k;

	if (!sym_isconst(whole(p, a[1]), &k) || k < -300 || k > 300)
		return fail(p, "RoundDecimal to a number of digits that is no constant");
	for (int64_t i = 0; i < (k < 0 ? -k : k); i++)
		scale *= 10;
	s = sym_float(p->cx, k < 0 ? 1 / scale : scale);
	r = call(p, f->fn, call(p, SymFnFMul, real(p, a[0]), s), NULL);
	*out = plain(call(p, SymFnFDiv, call(p, SymFnToFloat, r, NULL), s));
	(void)n;
	return true;
}

static bool
do_identity(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	*out = a[0];
	(void)p;
	(void)f;
	(void)n;
	return true;
}

static bool
do_abs(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	const Sym *s = whole(p, a[0]);

	(void)f;
	(void)n;
	if (s->isfloat)
		return fail(p, "Abs of a floating-point size");
	*out = plain(sym_max(p->cx, s, sym_neg(p->cx, s)));
	return true;
}

/* Sizes then strides: 1 if some order of the dimensions makes them row-major. */
static bool
do_dense(Parse *p, const Fn *f, const Frac *a, int n, Frac *out)
{
	int64_t v[2 * MaxRank], want = 1;
	int rank = n / 2, left = 0;

	(void)f;
	if (n % 2 || rank > MaxRank)
		return fail(p, "IsNonOverlappingAndDenseIndicator needs as many strides as sizes");
	for (int i = 0; i < n; i++)
		if (!sym_isconst(whole(p, a[i]), &v[i]))
			return fail(p, "IsNonOverlappingAndDenseIndicator of symbolic sizes");
	for (int i = 0; i < rank; i++)
		left += v[i] > 1;
	for (int i = 0; i < rank && left; i++)
		if (v[i] > 1 && v[rank + i] == want) {
			if (!mul_ok(want, v[i], &want))
				break;
			v[i] = 1;
			left--;
			i = -1;
		}
	*out = plain(sym_const(p->cx, left == 0));
	return true;
}

static const Fn fns[] = {
	{ "Add",              1, MaxArgs, do_sum,         NSymFn },
	{ "Mul",              1, MaxArgs, do_product,     NSymFn },
	{ "Pow",              2, 2, do_power,             NSymFn },
	{ "PowByNatural",     2, 2, do_power,             NSymFn },
	{ "FloatPow",         2, 2, do_real,              SymFnFPow },
	{ "FloorDiv",         2, 2, do_floordiv,          SymFnFloor },
	{ "CleanDiv",         2, 2, do_floordiv,          SymFnFloor },
	{ "CeilDiv",          2, 2, do_floordiv,          SymFnCeil },
	{ "Mod",              2, 2, do_ints,              SymFnMod },
	{ "PythonMod",        2, 2, do_ints,              SymFnMod },
	{ "ModularIndexing",  3, 3, do_modularindexing,   NSymFn },
	{ "Max",              1, MaxArgs, do_ints,        SymFnMax },
	{ "Min",              1, MaxArgs, do_ints,        SymFnMin },
	{ "Where",            3, 3, do_where,             SymFnWhere },
	{ "ITE",              3, 3, do_where,             SymFnWhere },
	{ "LShift",           2, 2, do_ints,              SymFnShl },
	{ "RShift",           2, 2, do_ints,              SymFnShr },
	{ "CeilToInt",        1, 1, do_round,             SymFnCeil },
	{ "FloorToInt",       1, 1, do_round,             SymFnFloor },
	{ "TruncToInt",       1, 1, do_round,             SymFnTrunc },
	{ "RoundToInt",       1, 1, do_round,             SymFnRound },
	{ "ceiling",          1, 1, do_round,             SymFnCeil },
	{ "floor",            1, 1, do_round,             SymFnFloor },
	{ "TruncToFloat",     1, 1, do_trunctofloat,      SymFnTrunc },
	{ "RoundDecimal",     2, 2, do_rounddecimal,      SymFnRound },
	{ "ToFloat",          1, 1, do_real,              SymFnToFloat },
	{ "FloatTrueDiv",     2, 2, do_real,              SymFnFDiv },
	{ "IntTrueDiv",       2, 2, do_truediv,           SymFnTrueDiv },
	{ "Identity",         1, 1, do_identity,          NSymFn },
	{ "Abs",              1, 1, do_abs,               NSymFn },
	{ "IsNonOverlappingAndDenseIndicator", 2, 2*MaxRank, do_dense, NSymFn },
	{ "Equality",         2, 2, do_compare,           SymFnEq },
	{ "Unequality",       2, 2, do_compare,           SymFnNe },
	{ "StrictLessThan",   2, 2, do_compare,           SymFnLt },
	{ "LessThan",         2, 2, do_compare,           SymFnLe },
	{ "StrictGreaterThan",2, 2, do_swapped,           SymFnLt },
	{ "GreaterThan",      2, 2, do_swapped,           SymFnLe },
	{ "And",              1, MaxArgs, do_ints,        SymFnAnd },
	{ "Or",               1, MaxArgs, do_ints,        SymFnOr },
	{ "Not",              1, 1, do_ints,              SymFnNot },
};

/* ---- the grammar --------------------------------------------------------------- */

static void
blanks(Parse *p)
{
	while (p->s < p->end && (*p->s == ' ' || *p->s == '\n' || *p->s == '\t'))
		p->s++;
}

static bool
accept(Parse *p, char c)
{
	blanks(p);
	if (p->s == p->end || *p->s != c)
		return false;
	p->s++;
	return true;
}

static bool
expect(Parse *p, char c)
{
	return accept(p, c) || fail(p, "a bracket, comma or quote is missing");
}

static size_t
ident(Parse *p, const char **from)
{
	blanks(p);
	*from = p->s;
	while (p->s < p->end && (*p->s == '_' || (*p->s >= '0' && *p->s <= '9') ||
	       (*p->s >= 'a' && *p->s <= 'z') || (*p->s >= 'A' && *p->s <= 'Z')))
		p->s++;
	return (size_t)(p->s - *from);
}

static bool
integer(Parse *p, int64_t *v)
{
	bool neg = accept(p, '-');
	const char *from;

	blanks(p);
	from = p->s;
	for (*v = 0; p->s < p->end && *p->s >= '0' && *p->s <= '9'; p->s++)
		if (!mul_ok(*v, 10, v) || !add_ok(*v, neg ? '0' - *p->s : *p->s - '0', v))
			return fail(p, "an integer does not fit 64 bits");
	return p->s > from || fail(p, "an integer is missing");
}

static bool
quoted(Parse *p, const char **from, size_t *n)
{
	if (!expect(p, '\''))
		return false;
	*from = p->s;
	while (p->s < p->end && *p->s != '\'' && *p->s != '\\')
		p->s++;
	*n = (size_t)(p->s - *from);
	return expect(p, '\'');
}

/* ", name=value" up to the closing bracket: advice. */
static bool
keywords(Parse *p)
{
	const char *w;

	while (accept(p, ','))
		if (ident(p, &w) == 0 || !expect(p, '=') || ident(p, &w) == 0)
			return fail(p, "a keyword is damaged");
	return expect(p, ')');
}

static bool
symbol(Parse *p, Frac *out)
{
	const char *name;
	size_t n;

	if (!quoted(p, &name, &n) || !keywords(p))
		return false;
	if (n == 0 || n > 64)
		return fail(p, "a symbol without a usable name");
	/* zf0, zuf0: floating point */
	*out = plain(name[0] == 'z' ? sym_floatvar(p->cx, intern(p->cx, name, n)) :
	             size_var(p->cx, name, n));
	return true;
}

static bool
floating(Parse *p, Frac *out)
{
	const char *s;
	char buf[400], *end;
	size_t n;
	locale_t c;
	double v;

	if (!quoted(p, &s, &n) || !keywords(p))
		return false;
	if (n == 0 || n >= sizeof buf)
		return fail(p, "a Float is damaged");
	memcpy(buf, s, n);
	buf[n] = '\0';
	c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	v = strtod_l(buf, &end, c);
	freelocale(c);
	if (*end)
		return fail(p, "a Float is damaged");
	*out = plain(sym_float(p->cx, v));
	return true;
}

static bool
rational(Parse *p, Frac *out)
{
	int64_t n, d;

	if (!integer(p, &n) || !expect(p, ',') || !integer(p, &d) || !expect(p, ')'))
		return false;
	if (d <= 0)
		return fail(p, "a Rational without a positive denominator");
	*out = fraction(sym_const(p->cx, n), sym_const(p->cx, d));
	return true;
}

static bool expr(Parse *p, Frac *out);

/* Piecewise(ExprCondPair(a, c), ExprCondPair(b, true)): from the last one back. */
static bool
piecewise(Parse *p, Frac *out)
{
	Frac v, c, arg[3], rest;
	const char *w;
	size_t n = ident(p, &w);

	if (n != 12 || memcmp(w, "ExprCondPair", n) != 0 || !expect(p, '(') ||
	    !expr(p, &v) || !expect(p, ',') || !expr(p, &c) || !expect(p, ')'))
		return fail(p, "a Piecewise is damaged");
	*out = v;
	if (!accept(p, ','))
		return expect(p, ')');
	if (++p->depth > MaxDepth || !piecewise(p, &rest))
		return fail(p, "nested too deeply");
	p->depth--;
	arg[0] = c;
	arg[1] = v;
	arg[2] = rest;
	return do_where(p, NULL, arg, 3, out);
}

static const Fn *
findfn(const char *s, size_t n)
{
	for (int i = 0; i < COUNT(fns); i++)
		if (strlen(fns[i].name) == n && memcmp(fns[i].name, s, n) == 0)
			return &fns[i];
	return NULL;
}

/* OpaqueUnaryFn_log2(x) */
static bool
opaque(Parse *p, const char *name, size_t n, Frac *out)
{
	Frac a;
	const Sym *x;

	if (!expr(p, &a) || !expect(p, ')'))
		return false;
	x = real(p, a);
	*out = plain(n == 4 && memcmp(name, "sqrt", 4) == 0 ? call(p, SymFnSqrt, x, NULL) :
	             sym_fn(p->cx, SymFnFFn, &x, 1, intern(p->cx, name, n)));
	return true;
}

static bool
function(Parse *p, const char *name, size_t n, Frac *out)
{
	static const char prefix[] = "OpaqueUnaryFn_";
	Arena *a = ctx_arena(p->cx);
	VEC(Frac) arg = {0};
	const Fn *f = findfn(name, n);
	Frac v;

	if (f == NULL && n > sizeof prefix - 1 && memcmp(name, prefix, sizeof prefix - 1) == 0)
		return opaque(p, name + sizeof prefix - 1, n - (sizeof prefix - 1), out);
	if (f == NULL)
		return fail(p, intern_printf(p->cx, "unknown function %.*s", n > 60 ? 60 : (int)n, name));
	do {
		if (arg.n == f->max || !expr(p, &v))
			return fail(p, "too many arguments");
		vec_push(a, &arg, v);
	} while (accept(p, ','));
	if (!expect(p, ')'))
		return false;
	if (arg.n < f->min)
		return fail(p, "too few arguments");
	return f->apply(p, f, arg.v, arg.n, out);
}

static bool
is(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(s, word, n) == 0;
}

static bool
atom(Parse *p, const char *w, size_t n, Frac *out)
{
	if (is(w, n, "true") || is(w, n, "false"))
		*out = plain(sym_const(p->cx, w[0] == 't'));
	else if (is(w, n, "oo") || is(w, n, "int_oo"))
		*out = plain(sym_const(p->cx, INT64_MAX));
	else
		return fail(p, "no expression");
	return true;
}

static bool
expr(Parse *p, Frac *out)
{
	const char *w;
	bool neg, ok;
	int64_t v;
	size_t n;

	if (++p->depth > MaxDepth || ++p->nodes > MaxNodes)
		return fail(p, "nested too deeply or too long");
	neg = accept(p, '-');
	n = ident(p, &w);
	if (neg && (is(w, n, "oo") || is(w, n, "int_oo"))) {
		*out = plain(sym_const(p->cx, INT64_MIN));
		ok = true;
	} else if (neg)
		ok = fail(p, "no expression");
	else if (!accept(p, '('))
		ok = atom(p, w, n, out);
	else if (is(w, n, "Symbol"))
		ok = symbol(p, out);
	else if (is(w, n, "Integer")) {
		ok = integer(p, &v) && expect(p, ')');
		if (ok)
			*out = plain(sym_const(p->cx, v));
	} else if (is(w, n, "Rational"))
		ok = rational(p, out);
	else if (is(w, n, "Float"))
		ok = floating(p, out);
	else if (is(w, n, "Piecewise"))
		ok = piecewise(p, out);
	else
		ok = function(p, w, n, out);
	p->depth--;
	return ok;
}

const Sym *
srepr_parse(Ctx *cx, const char *s, size_t n, const char **why)
{
	Parse p = {.cx = cx, .s = s, .end = s + n};
	Frac f;

	if (!expr(&p, &f)) {
		*why = p.why;
		return NULL;
	}
	blanks(&p);
	if (p.s != p.end) {
		*why = "text after the expression";
		return NULL;
	}
	return whole(&p, f);
}
