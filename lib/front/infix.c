/* infix.c - expressions over sizes as Python and sympy print them.
 *
 *   s17 + 3*s77   ((s77//2)) + 1   Mod(s77 - 1, 5)   Max(1, 2*s0)   Eq(u0, 3)
 *   1 + (((-1) + L['x'].size()[0]) % 5) == 1         (a guard of an export)
 *
 * Usual Python precedence; `&` and `|` are taken as `and` and `or`, as sympy
 * prints them, so they bind weaker than comparisons.  One function for each
 * level of the grammar.  The text is not trusted: nesting and length are limited,
 * a division by zero is an error.
 */
#include "front/infix.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

enum { MaxNest = 256, MaxTerms = 100000 };

typedef struct P {
	const Infix *in;
	Ctx *cx;
	const char *s, *p, *end;
	int nest, count;
	bool failed;
} P;

static const Sym *expr(P *);

static const Sym *
fail(P *p, const char *at, const char *what)
{
	const Infix *in = p->in;

	if (!p->failed && !in->quiet)
		error(p->cx, in->infile ? loc_at(p->cx, in->file, in->off + (size_t)(at - p->s)) : in->loc,
		      "%s in expression '%.*s'", what, (int)(p->end - p->s > 200 ? 200 : p->end - p->s), p->s);
	p->failed = true;
	return NULL;
}

static void
blanks(P *p)
{
	while (p->p < p->end && (*p->p == ' ' || *p->p == '\t' || *p->p == '\n'))
		p->p++;
}

/* Take the operator or bracket t if it comes next.  Not a prefix of a longer one. */
static bool
take(P *p, const char *t)
{
	size_t n = strlen(t);

	blanks(p);
	if ((size_t)(p->end - p->p) < n || memcmp(p->p, t, n) != 0)
		return false;
	if (n == 1 && p->end - p->p > 1) {
		char c = p->p[1];

		if ((*t == '*' && c == '*') || (*t == '/' && c == '/') ||
		    ((*t == '<' || *t == '>') && (c == '=' || c == *t)))
			return false;
	}
	if (isalpha((unsigned char)*t) && p->p + n < p->end && (isalnum((unsigned char)p->p[n]) || p->p[n] == '_'))
		return false;
	p->p += n;
	return true;
}

static bool
zero(const Sym *s)
{
	int64_t k;

	return (sym_isconst(s, &k) && k == 0) || (s->kind == SymFloatConst && s->f == 0);
}

/* ---- functions by name -------------------------------------------------- */

static const Sym *
fold(Ctx *cx, const Sym *(*f)(Ctx *, const Sym *, const Sym *), const Sym *const *a, int n)
{
	const Sym *r = a[0];

	for (int i = 1; i < n; i++)
		r = f(cx, r, a[i]);
	return r;
}

static const Sym *
foldfn(Ctx *cx, enum symfn fn, const Sym *const *a, int n)
{
	const Sym *r = a[0];

	for (int i = 1; i < n; i++)
		r = sym_fn(cx, fn, (const Sym *[]){r, a[i]}, 2, NULL);
	return r;
}

/* Functions that are one call of sym_fn or sym_*, by how sympy names them. */
enum { FnSym, FnBin, FnFold, FnFoldFn, FnSwap, FnSame, FnOpaque };
static const struct {
	const char *name;
	uint8_t how, narg;     /* narg 0: one or more */
	enum symfn fn;
	const Sym *(*bin)(Ctx *, const Sym *, const Sym *);
} fns[] = {
	{"Mod", FnBin, 2, 0, sym_mod}, {"PythonMod", FnBin, 2, 0, sym_mod},
	{"FloorDiv", FnBin, 2, 0, sym_div}, {"CleanDiv", FnBin, 2, 0, sym_div},
	{"CeilDiv", FnBin, 2, 0, sym_ceildiv},
	{"Add", FnFold, 0, 0, sym_add}, {"Mul", FnFold, 0, 0, sym_mul},
	{"Max", FnFold, 0, 0, sym_max}, {"Min", FnFold, 0, 0, sym_min},
	{"max", FnFold, 0, 0, sym_max}, {"min", FnFold, 0, 0, sym_min},
	{"And", FnFoldFn, 0, SymFnAnd, NULL}, {"Or", FnFoldFn, 0, SymFnOr, NULL},
	{"Not", FnSym, 1, SymFnNot, NULL},
	{"Eq", FnSym, 2, SymFnEq, NULL}, {"Equality", FnSym, 2, SymFnEq, NULL},
	{"Ne", FnSym, 2, SymFnNe, NULL}, {"Unequality", FnSym, 2, SymFnNe, NULL},
	{"Lt", FnSym, 2, SymFnLt, NULL}, {"StrictLessThan", FnSym, 2, SymFnLt, NULL},
	{"Le", FnSym, 2, SymFnLe, NULL}, {"LessThan", FnSym, 2, SymFnLe, NULL},
	{"Gt", FnSwap, 2, SymFnLt, NULL}, {"StrictGreaterThan", FnSwap, 2, SymFnLt, NULL},
	{"Ge", FnSwap, 2, SymFnLe, NULL}, {"GreaterThan", FnSwap, 2, SymFnLe, NULL},
	{"Where", FnSym, 3, SymFnWhere, NULL},
	{"LShift", FnSym, 2, SymFnShl, NULL}, {"RShift", FnSym, 2, SymFnShr, NULL},
	{"Pow", FnSym, 2, SymFnPow, NULL}, {"PowByNatural", FnSym, 2, SymFnPow, NULL},
	{"IntTrueDiv", FnSym, 2, SymFnTrueDiv, NULL}, {"FloatTrueDiv", FnSym, 2, SymFnFDiv, NULL},
	{"FloatPow", FnSym, 2, SymFnFPow, NULL},
	{"ToFloat", FnSym, 1, SymFnToFloat, NULL}, {"sqrt", FnSym, 1, SymFnSqrt, NULL},
	{"OpaqueUnaryFn_sqrt", FnSym, 1, SymFnSqrt, NULL},
	{"CeilToInt", FnSym, 1, SymFnCeil, NULL}, {"FloorToInt", FnSym, 1, SymFnFloor, NULL},
	{"TruncToInt", FnSym, 1, SymFnTrunc, NULL}, {"RoundToInt", FnSym, 1, SymFnRound, NULL},
	{"ceiling", FnSym, 1, SymFnCeil, NULL}, {"floor", FnSym, 1, SymFnFloor, NULL},
	{"ceil", FnSym, 1, SymFnCeil, NULL}, {"trunc", FnSym, 1, SymFnTrunc, NULL},
	{"Identity", FnSame, 1, 0, NULL}, {"int", FnSame, 1, 0, NULL},
	{"log", FnOpaque, 1, 0, NULL}, {"log2", FnOpaque, 1, 0, NULL}, {"exp", FnOpaque, 1, 0, NULL},
	{"sin", FnOpaque, 1, 0, NULL}, {"cos", FnOpaque, 1, 0, NULL}, {"tan", FnOpaque, 1, 0, NULL},
	{"asin", FnOpaque, 1, 0, NULL}, {"acos", FnOpaque, 1, 0, NULL}, {"atan", FnOpaque, 1, 0, NULL},
	{"sinh", FnOpaque, 1, 0, NULL}, {"cosh", FnOpaque, 1, 0, NULL}, {"tanh", FnOpaque, 1, 0, NULL},
};

static const Sym *
divmod(P *p, const char *at, const Sym *(*f)(Ctx *, const Sym *, const Sym *), const Sym *a, const Sym *b)
{
	return zero(b) ? fail(p, at, "division by zero") : f(p->cx, a, b);
}

static const Sym *
apply(P *p, const char *at, const char *name, size_t len, const Sym *const *a, int n)
{
	static const char opaque[] = "OpaqueUnaryFn_";
	Ctx *cx = p->cx;

	if (len == 15 && memcmp(name, "ModularIndexing", 15) == 0 && n == 3) {
		const Sym *q = divmod(p, at, sym_div, a[0], a[1]);
		return q ? divmod(p, at, sym_mod, q, a[2]) : NULL;
	}
	for (int i = 0; i < COUNT(fns); i++) {
		const char *f = name;
		size_t fl = len;

		if (fns[i].how == FnOpaque && len >= sizeof opaque && memcmp(name, opaque, sizeof opaque - 1) == 0)
			f += sizeof opaque - 1, fl -= sizeof opaque - 1;
		if (strlen(fns[i].name) != fl || memcmp(fns[i].name, f, fl) != 0)
			continue;
		if (n < 1 || (fns[i].narg && fns[i].narg != n))
			return fail(p, at, "wrong number of arguments");
		switch (fns[i].how) {
		case FnSym:
			if ((fns[i].fn == SymFnTrueDiv || fns[i].fn == SymFnFDiv) && zero(a[1]))
				return fail(p, at, "division by zero");
			return sym_fn(cx, fns[i].fn, a, n, NULL);
		case FnBin:    return divmod(p, at, fns[i].bin, a[0], a[1]);
		case FnFold:   return fold(cx, fns[i].bin, a, n);
		case FnFoldFn: return foldfn(cx, fns[i].fn, a, n);
		case FnSwap:   return sym_fn(cx, fns[i].fn, (const Sym *[]){a[1], a[0]}, 2, NULL);
		case FnSame:   return a[0];
		case FnOpaque: return sym_fn(cx, SymFnFFn, a, 1, intern_str(cx, fns[i].name));
		}
	}
	return fail(p, at, "unknown function");
}

/* Piecewise((value, condition), ..., (value, True)): after the name and '('. */
static const Sym *
piecewise(P *p)
{
	VEC(const Sym *) v = {0};
	const Sym *r;

	do {
		const Sym *a, *c;

		if (!take(p, "(") || !(a = expr(p)) || !take(p, ",") || !(c = expr(p)) || !take(p, ")"))
			return fail(p, p->p, "syntax error");
		vec_push(ctx_arena(p->cx), &v, a);
		vec_push(ctx_arena(p->cx), &v, c);
	} while (take(p, ","));
	if (!take(p, ")"))
		return fail(p, p->p, "expected ')'");
	r = v.v[v.n - 2];
	for (int i = v.n - 4; i >= 0; i -= 2)
		r = sym_fn(p->cx, SymFnWhere, (const Sym *[]){v.v[i + 1], v.v[i], r}, 3, NULL);
	return r;
}

/* ---- L['x'].size()[0] ----------------------------------------------------- */

/* One key: 'text' or an integer; appended to path. */
static bool
key(P *p, Text *path)
{
	char q;
	const char *b;

	blanks(p);
	if (p->p == p->end)
		return false;
	q = *p->p;
	b = p->p;
	if (q == '\'' || q == '"') {
		for (b = ++p->p; p->p < p->end && *p->p != q;)
			p->p++;
		if (p->p == p->end)
			return false;
		text_add(path, "%s%.*s", path->n ? "." : "", (int)(p->p - b), b);
		p->p++;
	} else {
		while (p->p < p->end && isdigit((unsigned char)*p->p))
			p->p++;
		if (p->p == b)
			return false;
		text_add(path, "%s%.*s", path->n ? "." : "", (int)(p->p - b), b);
	}
	return take(p, "]");
}

static const Sym *
access(P *p, const char *at)
{
	Text path = {.arena = ctx_arena(p->cx)};
	static const char *const what[] = {"size", "stride", "storage_offset"};
	const Sym *r;

	for (;;) {
		if (take(p, "[")) {
			if (!key(p, &path))
				return fail(p, at, "bad key");
			continue;
		}
		if (!take(p, "."))
			return fail(p, at, "expected .size()");
		for (int i = 0; i < COUNT(what); i++) {
			int dim = 0;

			if (!take(p, what[i]))
				continue;
			if (!take(p, "(") || !take(p, ")"))
				return fail(p, at, "expected ()");
			if (i < 2) {
				if (!take(p, "["))
					return fail(p, at, "expected an index");
				blanks(p);
				while (p->p < p->end && isdigit((unsigned char)*p->p) && dim < 1000)
					dim = dim * 10 + (*p->p++ - '0');
				if (!take(p, "]"))
					return fail(p, at, "expected ']'");
			}
			r = p->in->access && path.n ? p->in->access(p->in->arg, path.s, what[i], dim) : NULL;
			return r ? r : fail(p, at, "unknown argument");
		}
		const char *b = p->p;
		while (p->p < p->end && (isalnum((unsigned char)*p->p) || *p->p == '_'))
			p->p++;
		if (p->p == b)
			return fail(p, at, "syntax error");
		text_add(&path, "%s%.*s", path.n ? "." : "", (int)(p->p - b), b);
	}
}

/* ---- the grammar ------------------------------------------------------------ */

const Sym *
size_var(Ctx *cx, const char *name, size_t n)
{
	/* Sizes are not negative; unbacked ones (u0 of .item()) may be anything. */
	int64_t lo = n > 1 && name[0] == 'u' && isdigit((unsigned char)name[1]) ? INT64_MIN : 0;

	if (n > 1 && name[0] == 'z')
		lo = INT64_MIN;
	if (n > 2 && name[0] == 'z' && (name[1] == 'f' || name[1] == 'u'))             /* zf0, zuf0: numbers */
		return sym_floatvar(cx, intern(cx, name, n));
	return sym_var(cx, intern(cx, name, n), lo, INT64_MAX);
}

static const Sym *
name(P *p)
{
	const char *b = p->p;
	size_t n;
	VEC(const Sym *) arg = {0};

	while (p->p < p->end && (isalnum((unsigned char)*p->p) || *p->p == '_'))
		p->p++;
	n = (size_t)(p->p - b);
#define IS(t) (n == sizeof t - 1 && memcmp(b, t, n) == 0)
	if (IS("True") || IS("true"))
		return sym_const(p->cx, 1);
	if (IS("False") || IS("false"))
		return sym_const(p->cx, 0);
	if (IS("oo") || IS("int_oo"))
		return sym_const(p->cx, INT64_MAX);
	blanks(p);
	if (IS("L") && p->p < p->end && *p->p == '[')
		return access(p, b);
	if (!take(p, "(")) {
		if (p->p < p->end && *p->p == '.' && p->end - p->p > 1 && isalpha((unsigned char)p->p[1])) {
			p->p++;        /* math.trunc(...): the module says nothing */
			return name(p);
		}
		return size_var(p->cx, b, n);
	}
	if (IS("Piecewise"))
		return piecewise(p);
#undef IS
	do {
		const Sym *a = expr(p);

		if (!a)
			return NULL;
		vec_push(ctx_arena(p->cx), &arg, a);
	} while (take(p, ","));
	if (!take(p, ")"))
		return fail(p, p->p, "expected ')'");
	return apply(p, b, b, n, arg.v, arg.n);
}

static const Sym *
number(P *p)
{
	char buf[64], *e;
	const char *b = p->p;
	size_t n = 0;
	bool isfloat = false;

	while (p->p < p->end && n < sizeof buf - 1 &&
	       (isdigit((unsigned char)*p->p) || *p->p == '.' || *p->p == 'e' || *p->p == 'E' ||
	        ((*p->p == '-' || *p->p == '+') && n && (buf[n - 1] == 'e' || buf[n - 1] == 'E')))) {
		isfloat |= *p->p == '.' || *p->p == 'e' || *p->p == 'E';
		buf[n++] = *p->p++;
	}
	buf[n] = 0;
	errno = 0;
	if (isfloat) {
		double d = strtod(buf, &e);

		return *e ? fail(p, b, "bad number") : sym_float(p->cx, d);
	}
	int64_t k = strtoll(buf, &e, 10);
	if (*e || errno == ERANGE)
		return fail(p, b, "integer too large");
	return sym_const(p->cx, k);
}

static const Sym *
atom(P *p)
{
	const Sym *r;

	blanks(p);
	if (++p->count > MaxTerms)
		return fail(p, p->p, "too many terms");
	if (p->p == p->end)
		return fail(p, p->p, "unexpected end");
	if (take(p, "(")) {
		if (!(r = expr(p)))
			return NULL;
		return take(p, ")") ? r : fail(p, p->p, "expected ')'");
	}
	if (isdigit((unsigned char)*p->p) || *p->p == '.')
		return number(p);
	if (isalpha((unsigned char)*p->p) || *p->p == '_')
		return name(p);
	return fail(p, p->p, "syntax error");
}

static const Sym *
unary(P *p)
{
	const Sym *a, *b;
	const char *at;
	int64_t k;

	if (p->nest >= MaxNest)
		return fail(p, p->p, "nested too deeply");
	p->nest++;
	if (take(p, "-")) {
		a = unary(p);
		p->nest--;
		return a ? sym_neg(p->cx, a) : NULL;
	}
	if (take(p, "+")) {
		a = unary(p);
		p->nest--;
		return a;
	}
	a = atom(p);
	at = p->p;
	if (a && take(p, "**")) {
		if (!(b = unary(p)))
			a = NULL;
		else if (sym_isconst(b, &k) && k < 0)
			a = fail(p, at, "negative power");
		else
			a = sym_binary(p->cx, "**", a, b);
	}
	p->nest--;
	return a;
}

/* 1/2*s0 is a rational product: the division is done last, on the whole. */
static const Sym *
prod(P *p)
{
	const Sym *a = unary(p), *b, *den = NULL;

	while (a) {
		const char *at = p->p;

		if (take(p, "*")) {
			if (!(b = unary(p)))
				return NULL;
			a = sym_mul(p->cx, a, b);
		} else if (take(p, "//") || take(p, "%")) {
			bool div = p->p[-1] == '/';

			if (!(b = unary(p)))
				return NULL;
			a = divmod(p, at, div ? sym_div : sym_mod, a, b);
		} else if (take(p, "/")) {
			if (!(b = unary(p)))
				return NULL;
			if (zero(b))
				return fail(p, at, "division by zero");
			den = den ? sym_mul(p->cx, den, b) : b;
		} else {
			break;
		}
	}
	if (!a || !den)
		return a;
	if (!a->isfloat && !den->isfloat && sym_divides(p->cx, den, a))
		return sym_div(p->cx, a, den);
	return sym_fn(p->cx, a->isfloat || den->isfloat ? SymFnFDiv : SymFnTrueDiv, (const Sym *[]){a, den}, 2, NULL);
}

static const Sym *
sum(P *p)
{
	const Sym *a = prod(p), *b;

	while (a) {
		bool minus;

		if (take(p, "+"))
			minus = false;
		else if (take(p, "-"))
			minus = true;
		else
			break;
		if (!(b = prod(p)))
			return NULL;
		a = minus ? sym_sub(p->cx, a, b) : sym_add(p->cx, a, b);
	}
	return a;
}

static const Sym *
compare(P *p)
{
	static const char *const op[] = {"==", "!=", "<=", ">=", "<", ">"};
	const Sym *a = sum(p), *b, *r = NULL, *one;

	while (a) {                             /* a < b < c is a < b and b < c */
		int i;

		for (i = 0; i < COUNT(op) && !take(p, op[i]); i++)
			;
		if (i == COUNT(op))
			break;
		if (!(b = sum(p)))
			return NULL;
		one = sym_binary(p->cx, op[i], a, b);
		r = r ? sym_fn(p->cx, SymFnAnd, (const Sym *[]){r, one}, 2, NULL) : one;
		a = b;
	}
	return r ? r : a;
}

static const Sym *
not(P *p)
{
	const Sym *a;

	if (p->nest >= MaxNest)
		return fail(p, p->p, "nested too deeply");
	if (!take(p, "~") && !take(p, "not"))
		return compare(p);
	p->nest++;
	a = not(p);
	p->nest--;
	return a ? sym_fn(p->cx, SymFnNot, &a, 1, NULL) : NULL;
}

static const Sym *
and(P *p)
{
	const Sym *a = not(p), *b;

	while (a && (take(p, "&") || take(p, "and"))) {
		if (!(b = not(p)))
			return NULL;
		a = sym_fn(p->cx, SymFnAnd, (const Sym *[]){a, b}, 2, NULL);
	}
	return a;
}

static const Sym *
expr(P *p)
{
	const Sym *a, *b;

	if (++p->nest > MaxNest)
		return fail(p, p->p, "nested too deeply");
	a = and(p);
	while (a && (take(p, "|") || take(p, "or"))) {
		if (!(b = and(p)))
			return NULL;
		a = sym_fn(p->cx, SymFnOr, (const Sym *[]){a, b}, 2, NULL);
	}
	p->nest--;
	return a;
}

const Sym *
infix_parse(const Infix *in, const char *s, size_t n)
{
	P p = {.in = in, .cx = in->cx, .s = s, .p = s, .end = s + n};
	const Sym *r = expr(&p);

	blanks(&p);
	return !r || p.p == p.end ? r : fail(&p, p.p, "syntax error");
}

/* ---- guards --------------------------------------------------------------------- */

static const Sym *
argument(void *arg, const char *path, const char *what, int dim)
{
	Module *m = arg;

	for (int i = 0; i < m->in.n; i++) {
		const Input *in = &m->in.v[i];
		const Type *t = in->val ? in->val->type : NULL;

		if (in->kind != InUser || strcmp(in->argname ? in->argname : in->name, path) != 0)
			continue;
		if (strcmp(what, "storage_offset") == 0)
			return sym_const(m->cx, 0);
		if (!t || t->kind != TyTensor || dim >= t->rank)
			return NULL;
		return *what == 's' && what[1] == 'i' ? t->dim[dim] : type_stride(m->cx, t, dim);
	}
	return NULL;
}

const Sym *
guard_parse(Module *m, const char *text)
{
	Infix in = {.cx = m->cx, .quiet = true, .access = argument, .arg = m};

	return infix_parse(&in, text, strlen(text));
}
