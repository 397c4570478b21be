/* symfn.c - the functions of integers but division: minimum, maximum, powers,
 * comparisons, logic; and the entries by name.
 *
 * A function that cannot be told becomes an atom: its arguments in a canonical
 * order, its range as narrow as theirs allows.
 */
#include <limits.h>
#include <stdlib.h>
#include "ir/symrep.h"

enum { MaxArg = 32, MaxPow = 16 };

static const Sym *
boolean(Ctx *cx, bool b)
{
	return sym_const(cx, b);
}

static const Sym *
truth(Ctx *cx, enum symfn fn, const Sym *const *arg, int narg)
{
	return sym_atom(cx, fn, arg, narg, NULL, false, 0, 1);
}

static bool
never0(const Sym *s)
{
	return !s->isfloat && (s->lo > 0 || s->hi < 0);
}

static bool
isbool(const Sym *s)
{
	return !s->isfloat && s->lo >= 0 && s->hi <= 1;
}

/* ---- lists: Min, Max, And, Or ---- */

typedef struct Args { const Sym *v[MaxArg]; int n; } Args;

static bool
put(Args *a, const Sym *s)
{
	int i = 0;

	while (i < a->n && a->v[i]->id < s->id)
		i++;
	if (i < a->n && a->v[i] == s)
		return true;
	if (a->n == MaxArg)
		return false;
	memmove(&a->v[i + 1], &a->v[i], sizeof *a->v * (size_t)(a->n - i));
	a->v[i] = s;
	a->n++;
	return true;
}

/* The arguments of a function of the same kind count as this one's. */
static bool
flatten(Args *a, enum symfn fn, const Sym *s)
{
	if (s->kind != SymFn || s->fn != fn)
		return put(a, s);
	for (int i = 0; i < s->narg; i++)
		if (!put(a, s->arg[i]))
			return false;
	return true;
}

/* Min: an argument that is never below another one goes. */
static void
dominated(Ctx *cx, Args *a, enum symfn fn)
{
	for (int i = 0; i < a->n; i++)
		for (int j = 0; j < a->n; j++) {
			const Sym *x = a->v[i], *y = a->v[j];

			if (i == j || !(fn == SymFnMin ? sym_le(cx, y, x)
			                               : sym_le(cx, x, y)))
				continue;
			a->n--;
			memmove(&a->v[i], &a->v[i + 1],
			        sizeof *a->v * (size_t)(a->n - i));
			i--;
			break;
		}
}

static const Sym *
extreme(Ctx *cx, enum symfn fn, const Sym *a, const Sym *b)
{
	Args l = { .n = 0 };
	int64_t lo, hi;

	if (!flatten(&l, fn, a) || !flatten(&l, fn, b)) {
		l = (Args){ { a, b }, 2 };
		if (b->id < a->id)
			l = (Args){ { b, a }, 2 };
	}
	dominated(cx, &l, fn);
	if (l.n == 1)
		return l.v[0];
	lo = l.v[0]->lo;
	hi = l.v[0]->hi;
	for (int i = 1; i < l.n; i++) {
		const Sym *s = l.v[i];
		bool min = fn == SymFnMin;

		lo = (s->lo < lo) == min ? s->lo : lo;
		hi = (s->hi < hi) == min ? s->hi : hi;
	}
	return sym_atom(cx, fn, l.v, l.n, NULL, false, lo, hi);
}

static const Sym *
minmax(Ctx *cx, enum symfn fn, const Sym *a, const Sym *b)
{
	SymTab *t = symtab(cx);
	const Sym *r, **known;

	if (a == b)
		return a;
	if (a->isfloat || b->isfloat)
		return symf_fn(cx, fn, (const Sym *[]){ a, b }, NULL);
	known = sym_memo(t, fn, a, b);
	if (*known)
		return *known;
	r = extreme(cx, fn, a, b);
	if (!t->over)
		*sym_memo(t, fn, a, b) = r;
	return r;
}

const Sym *
sym_min(Ctx *cx, const Sym *a, const Sym *b)
{
	return minmax(cx, SymFnMin, a, b);
}

const Sym *
sym_max(Ctx *cx, const Sym *a, const Sym *b)
{
	return minmax(cx, SymFnMax, a, b);
}

static const Sym *
compare(Ctx *cx, enum symfn fn, const Sym *a, const Sym *b);

/* And, Or of conditions: what is sure goes, or decides. */
static const Sym *
logic(Ctx *cx, enum symfn fn, const Sym *const *arg, int narg)
{
	bool and = fn == SymFnAnd;
	Args l = { .n = 0 };

	for (int i = 0; i < narg; i++) {
		if (sym_is(arg[i], 0) || never0(arg[i])) {
			if (never0(arg[i]) != and)
				return boolean(cx, !and);
		} else if (!flatten(&l, fn, arg[i]))
			return truth(cx, fn, arg, narg);
	}
	if (l.n == 0)
		return boolean(cx, and);
	if (l.n == 1)
		return isbool(l.v[0]) ? l.v[0]
		       : compare(cx, SymFnNe, l.v[0], sym_const(cx, 0));
	return truth(cx, fn, l.v, l.n);
}

/* ---- comparisons ---- */

static const Sym *not(Ctx *, const Sym *);

static const Sym *
equal(Ctx *cx, enum symfn fn, const Sym *a, const Sym *b)
{
	bool swap = a->kind == SymConst
	            || (b->kind != SymConst && b->id < a->id);

	if (sym_eq(a, b))
		return boolean(cx, fn == SymFnEq);
	if (sym_ne(a, b))
		return boolean(cx, fn == SymFnNe);
	if (isbool(a) && (sym_is(b, 0) || sym_is(b, 1)))
		return (fn == SymFnEq) == sym_is(b, 1) ? a : not(cx, a);
	return truth(cx, fn, swap ? (const Sym *[]){ b, a }
	                          : (const Sym *[]){ a, b }, 2);
}

static const Sym *
compare(Ctx *cx, enum symfn fn, const Sym *a, const Sym *b)
{
	bool fl = a->isfloat || b->isfloat;

	if (fl && a->kind <= SymFloatConst && b->kind <= SymFloatConst)
		return symf_fn(cx, fn, (const Sym *[]){ a, b }, NULL);
	if (fn == SymFnEq || fn == SymFnNe)
		return equal(cx, fn, a, b);
	if (!fl && (fn == SymFnLt ? sym_lt(cx, a, b) : sym_le(cx, a, b)))
		return boolean(cx, true);
	if (!fl && (fn == SymFnLt ? sym_le(cx, b, a) : sym_lt(cx, b, a)))
		return boolean(cx, false);
	return truth(cx, fn, (const Sym *[]){ a, b }, 2);
}

static const Sym *
not(Ctx *cx, const Sym *a)
{
	bool ints = a->kind == SymFn && a->narg == 2 && !a->arg[0]->isfloat
	            && !a->arg[1]->isfloat;

	if (sym_is(a, 0) || never0(a))
		return boolean(cx, sym_is(a, 0));
	if (a->kind == SymFn) {
		const Sym *const *x = a->arg;

		if (a->fn == SymFnEq)
			return compare(cx, SymFnNe, x[0], x[1]);
		if (a->fn == SymFnNe)
			return compare(cx, SymFnEq, x[0], x[1]);
		if (ints && a->fn == SymFnLt)
			return compare(cx, SymFnLe, x[1], x[0]);
		if (ints && a->fn == SymFnLe)
			return compare(cx, SymFnLt, x[1], x[0]);
		if (a->fn == SymFnNot && isbool(x[0]))
			return x[0];
	}
	return truth(cx, SymFnNot, &a, 1);
}

static const Sym *
where(Ctx *cx, const Sym *c, const Sym *a, const Sym *b)
{
	if (a == b || never0(c))
		return a;
	if (sym_is(c, 0))
		return b;
	if (a->isfloat || b->isfloat)
		return symf_fn(cx, SymFnWhere, (const Sym *[]){ c, a, b },
		               NULL);
	return sym_atom(cx, SymFnWhere, (const Sym *[]){ c, a, b }, 3, NULL,
	                false, a->lo < b->lo ? a->lo : b->lo,
	                a->hi > b->hi ? a->hi : b->hi);
}

/* ---- powers and shifts ---- */

static const Sym *
power(Ctx *cx, const Sym *a, const Sym *b)
{
	const Sym *r = sym_const(cx, 1);
	int64_t n;

	if (a->isfloat || b->isfloat)
		return symf_binary(cx, "**", a, b);
	if (sym_is(a, 1) || sym_is(b, 0))
		return r;
	if (sym_isconst(b, &n) && n < 0)
		return symf_binary(cx, "**", a, b);
	if (sym_isconst(b, &n) && (n <= MaxPow || a->kind == SymConst)) {
		if (sym_is(a, 0))
			return a;
		if (sym_is(a, -1))
			return n % 2 ? a : r;
		if (n > 64)
			return sym_overflow(symtab(cx));
		while (n-- > 0)
			r = sym_mul(cx, r, a);
		return r;
	}
	return sym_atom(cx, SymFnPow, (const Sym *[]){ a, b }, 2, NULL, false,
	                a->lo >= 1 ? 1 : a->lo >= 0 ? 0 : INT64_MIN, INT64_MAX);
}

static const Sym *
shift(Ctx *cx, enum symfn fn, const Sym *a, const Sym *b)
{
	int64_t n;

	if (sym_isconst(b, &n) && n >= 0 && n < 63) {
		const Sym *p = sym_const(cx, INT64_C(1) << n);

		return fn == SymFnShl ? sym_mul(cx, a, p) : sym_div(cx, a, p);
	}
	if (sym_is(a, 0))
		return a;
	return sym_atom(cx, fn, (const Sym *[]){ a, b }, 2, NULL, false,
	                a->lo >= 0 ? 0 : INT64_MIN,
	                fn == SymFnShr && a->lo >= 0 ? a->hi : INT64_MAX);
}

/* ---- by function ---- */

static const uint8_t arity[NSymFn][2] = {
	[SymFnDiv] = {2, 2}, [SymFnMod] = {2, 2}, [SymFnMin] = {1, 255},
	[SymFnMax] = {1, 255}, [SymFnPow] = {2, 2}, [SymFnEq] = {2, 2},
	[SymFnNe] = {2, 2}, [SymFnLt] = {2, 2}, [SymFnLe] = {2, 2},
	[SymFnAnd] = {1, 255}, [SymFnOr] = {1, 255}, [SymFnNot] = {1, 1},
	[SymFnWhere] = {3, 3}, [SymFnShl] = {2, 2}, [SymFnShr] = {2, 2},
	[SymFnToFloat] = {1, 1}, [SymFnTrueDiv] = {2, 2}, [SymFnFDiv] = {2, 2},
	[SymFnFAdd] = {2, 2}, [SymFnFMul] = {2, 2}, [SymFnFPow] = {2, 2},
	[SymFnSqrt] = {1, 1}, [SymFnFFn] = {1, 1}, [SymFnFloor] = {1, 1},
	[SymFnCeil] = {1, 1}, [SymFnTrunc] = {1, 1}, [SymFnRound] = {1, 1},
};

static const char *const text[NSymFn] = {
#define X(name, t) [SymFn##name] = t,
	SYMFNS(X)
#undef X
};

const Sym *
sym_fn(Ctx *cx, enum symfn fn, const Sym *const *arg, int narg, Str ffn)
{
	const Sym *r;

	if (narg < arity[fn][0] || (arity[fn][1] < 255 && narg > arity[fn][1])) {
		error(cx, NOLOC, "%s has %d arguments in a size expression",
		      text[fn], narg);
		return sym_const(cx, 0);
	}
	switch (fn) {
	case SymFnDiv:   return sym_div(cx, arg[0], arg[1]);
	case SymFnMod:   return sym_mod(cx, arg[0], arg[1]);
	case SymFnPow:   return power(cx, arg[0], arg[1]);
	case SymFnNot:   return not(cx, arg[0]);
	case SymFnWhere: return where(cx, arg[0], arg[1], arg[2]);
	case SymFnMin:
	case SymFnMax:
		r = arg[0];
		for (int i = 1; i < narg; i++)
			r = minmax(cx, fn, r, arg[i]);
		return r;
	case SymFnEq:
	case SymFnNe:
	case SymFnLt:
	case SymFnLe:
		return compare(cx, fn, arg[0], arg[1]);
	case SymFnAnd:
	case SymFnOr:
		return logic(cx, fn, arg, narg);
	case SymFnShl:
	case SymFnShr:
		return shift(cx, fn, arg[0], arg[1]);
	default:
		return symf_fn(cx, fn, arg, ffn);
	}
}

/* ---- by operator ---- */

static const struct binary {
	const char *op;
	enum symfn fn;
	bool swap;
} binary[] = {
	{ "//", SymFnDiv, false }, { "%", SymFnMod, false },
	{ "/", SymFnTrueDiv, false }, { "**", SymFnPow, false },
	{ "==", SymFnEq, false }, { "!=", SymFnNe, false },
	{ "<", SymFnLt, false }, { "<=", SymFnLe, false },
	{ ">", SymFnLt, true }, { ">=", SymFnLe, true },
	{ "min", SymFnMin, false }, { "max", SymFnMax, false },
	{ "and", SymFnAnd, false }, { "or", SymFnOr, false },
	{ "<<", SymFnShl, false }, { ">>", SymFnShr, false },
};

const Sym *
sym_binary(Ctx *cx, const char *op, const Sym *a, const Sym *b)
{
	if (strcmp(op, "+") == 0)
		return sym_add(cx, a, b);
	if (strcmp(op, "-") == 0)
		return sym_sub(cx, a, b);
	if (strcmp(op, "*") == 0)
		return sym_mul(cx, a, b);
	for (int i = 0; i < COUNT(binary); i++)
		if (strcmp(op, binary[i].op) == 0)
			return sym_fn(cx, binary[i].fn, binary[i].swap
			              ? (const Sym *[]){ b, a }
			              : (const Sym *[]){ a, b }, 2, NULL);
	return NULL;
}
