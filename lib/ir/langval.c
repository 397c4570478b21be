/* langval.c - plain values of the table language: numbers, lists, comparison.
 *
 * Ints are Syms, exact and maybe symbolic; what touches a tensor or an element
 * goes to langop.c (nodes) or langel.c (Ex).
 *
 * Comparisons of sizes: true or false if provable, else false - except in a
 * `where`, where they stay conditions (LCond), combine, and end as guards.
 */
#include <math.h>
#include "ir/lang.h"

/* ---- small values --------------------------------------------------------------- */

LVal
lang_sym(const Sym *s)
{
	if (s->kind == SymFloatConst)
		return (LVal){.kind = LFloat, .f = s->f};
	return (LVal){.kind = LInt, .i = s};
}

LVal
lang_int(Ctx *cx, int64_t k)
{
	return (LVal){.kind = LInt, .i = sym_const(cx, k)};
}

LVal
lang_list(Lang *L, int n)
{
	LVal v = {.kind = LList};

	v.list.n = n;
	v.list.v = n ? NEWN(L->a, LVal, n) : NULL;
	return v;
}

bool
lang_isnum(LVal v)
{
	return v.kind == LBool || v.kind == LInt || v.kind == LFloat;
}

bool
lang_isel(Lang *L, LVal v)
{
	return v.kind == LEx || (v.kind == LTensor && L->mode == LangElement);
}

const Sym *
lang_tosym(Lang *L, const Ast *at, LVal v)
{
	if (v.kind == LInt)
		return v.i;
	if (v.kind == LBool)
		return sym_const(L->cx, v.b);
	if (v.kind == LFloat && v.f == floor(v.f) && fabs(v.f) < 9e18)
		return sym_const(L->cx, (int64_t)v.f);
	if (lang_isel(L, v))
		return lang_indirect(L, at, v, INT64_MIN, INT64_MAX);
	lang_fail(L, at, "an int is needed, not %s", lang_str(L->cx, v));
}

bool
lang_dtypeof(LVal v, enum dtype *dt)
{
	switch (v.kind) {
	case LTensor: *dt = v.t->type->dt; return true;
	case LDtype:  *dt = v.dt; return true;
	case LBool:   *dt = DtB8; return true;
	case LInt:    *dt = v.i->isfloat ? DtF32 : DtI64; return true;
	case LFloat:  *dt = DtF32; return true;
	case LEx:     *dt = v.ex->dt; return true;
	default:      return false;
	}
}

bool
lang_isindex(Lang *L, const Sym *s)
{
	for (int k = 0; k < L->ivar.n; k++)
		if (sym_uses(s, L->ivar.v[k]))
			return true;
	return false;
}

const char *
lang_str(Ctx *cx, LVal v)
{
	char buf[32];

	switch (v.kind) {
	case LNone:  return "None";
	case LBool:  return v.b ? "True" : "False";
	case LInt: case LCond: return sym_str(cx, v.i);
	case LFloat:
		double_str(buf, v.f);
		return intern_str(cx, buf);
	case LStr:   return intern_printf(cx, "'%s'", v.s);
	case LDtype: return dtypeinfo[v.dt].text;
	case LTensor: return v.t->type ? type_str(cx, v.t->type) : "a tensor";
	case LEx:    return "an element";
	case LFun:   return "a function";
	case LRange: return "a range";
	case LSaved: return "a result";
	case LArg:   return arg_str_of(cx, v.arg);
	case LList: {
		Text t = {.arena = ctx_arena(cx)};
		text_add(&t, "[");
		for (int k = 0; k < v.list.n; k++)
			text_add(&t, "%s%s", k ? ", " : "", lang_str(cx, v.list.v[k]));
		text_add(&t, "]");
		return t.s;
	}
	}
	return "?";
}

LVal
lang_frarg(Ctx *cx, const Arg *a)
{
	LVal v = {.kind = LNone};

	switch (a->kind) {
	case ArgNone:  return v;
	case ArgBool:  return lang_bool(a->b);
	case ArgInt:   return lang_sym(a->i);
	case ArgFloat: return (LVal){.kind = LFloat, .f = a->f};
	case ArgStr:   return (LVal){.kind = LStr, .s = a->s};
	case ArgDtype: return (LVal){.kind = LDtype, .dt = a->dt};
	case ArgVal:
		if (a->use->val->type && a->use->val->type->kind == TySym)
			return lang_sym(a->use->val->type->sym);
		return (LVal){.kind = LTensor, .t = a->use->val};
	case ArgList:
		v.kind = LList;
		v.list.n = a->list.n;
		v.list.v = a->list.n ? NEWN(ctx_arena(cx), LVal, a->list.n) : NULL;
		for (int k = 0; k < a->list.n; k++)
			v.list.v[k] = lang_frarg(cx, &a->list.v[k]);
		return v;
	default:
		return (LVal){.kind = LArg, .arg = a};
	}
}

/* ---- arithmetic on plain values ------------------------------------------------------ */

static bool
constnum(LVal v, double *f, int64_t *i, bool *isint)
{
	switch (v.kind) {
	case LBool:
		*i = v.b, *f = v.b, *isint = true;
		return true;
	case LFloat:
		*f = v.f, *isint = false;
		return true;
	case LInt:
		if (!sym_isconst(v.i, i))
			return false;
		*f = (double)*i, *isint = true;
		return true;
	default:
		return false;
	}
}

static const Sym *
numsym(Ctx *cx, LVal v)
{
	return v.kind == LFloat ? sym_float(cx, v.f)
	     : v.kind == LBool ? sym_const(cx, v.b) : v.i;
}

static double
pyfloordiv(double a, double b)
{
	return floor(a / b);
}

static LVal
floats(Lang *L, const Ast *at, const char *op, double a, double b)
{
	double r;

	if (strcmp(op, "+") == 0)
		r = a + b;
	else if (strcmp(op, "-") == 0)
		r = a - b;
	else if (strcmp(op, "*") == 0)
		r = a * b;
	else if (strcmp(op, "/") == 0)
		r = a / b;
	else if (strcmp(op, "**") == 0)
		r = pow(a, b);
	else if (strcmp(op, "//") == 0)
		r = pyfloordiv(a, b);
	else if (strcmp(op, "%") == 0)
		r = a - b * floor(a / b);
	else
		lang_fail(L, at, "'%s' of floats", op);
	return (LVal){.kind = LFloat, .f = r};
}

static int64_t
ipow(Lang *L, const Ast *at, int64_t a, int64_t b)
{
	int64_t r = 1;

	for (; b > 0; b >>= 1) {
		if (b & 1 && !mul_ok(r, a, &r))
			lang_fail(L, at, "overflow in '**'");
		if (b > 1 && !mul_ok(a, a, &a))
			lang_fail(L, at, "overflow in '**'");
	}
	return r;
}

static LVal
ints(Lang *L, const Ast *at, const char *op, const Sym *a, const Sym *b)
{
	int64_t x = 0, y = 0;
	bool known = sym_isconst(a, &x), kb = sym_isconst(b, &y);
	Ctx *cx = L->cx;

	known = known && kb;
	switch (op[0]) {
	case '+': return lang_sym(sym_add(cx, a, b));
	case '-': return lang_sym(sym_sub(cx, a, b));
	case '*':
		if (op[1] == '\0')
			return lang_sym(sym_mul(cx, a, b));
		if (known && y < 0)
			return floats(L, at, op, (double)x, (double)y);
		if (known)
			return lang_int(cx, ipow(L, at, x, y));
		return lang_sym(sym_binary(cx, op, a, b));
	case '/':
	case '%':
		if (kb && y == 0 && L->mode == LangElement)
			return lang_int(cx, 0);     /* of a tensor without elements */
		if (kb && y == 0)
			lang_fail(L, at, "division by zero");
		if (op[0] == '%')
			return lang_sym(sym_mod(cx, a, b));
		if (op[1] == '/')
			return lang_sym(sym_div(cx, a, b));
		if (known)
			return (LVal){.kind = LFloat, .f = (double)x / (double)y};
		return lang_sym(sym_fn(cx, SymFnTrueDiv, (const Sym *[]){a, b}, 2, NULL));
	case '&': case '|': case '^':
		if (known)
			return lang_int(cx, op[0] == '&' ? x & y : op[0] == '|' ? x | y : x ^ y);
		break;
	case '<': case '>':
		if (known && y >= 0 && y < 63)
			return lang_int(cx, op[0] == '<' ? (int64_t)((uint64_t)x << y) : x >> y);
		break;
	}
	static const struct { const char *op; enum symfn fn; } late[] = {
		{"&", SymFnAnd}, {"|", SymFnOr}, {"^", SymFnNe}, {"<<", SymFnShl}, {">>", SymFnShr},
	};
	for (int k = 0; k < COUNT(late) && !known; k++)
		if (strcmp(op, late[k].op) == 0)
			return lang_sym(sym_fn(cx, late[k].fn, (const Sym *[]){a, b}, 2, NULL));
	lang_fail(L, at, "'%s' of %s and %s", op, sym_str(cx, a), sym_str(cx, b));
}

static LVal
concat(Lang *L, LVal a, LVal b)
{
	LVal r = lang_list(L, a.list.n + b.list.n);

	for (int k = 0; k < a.list.n; k++)
		r.list.v[k] = a.list.v[k];
	for (int k = 0; k < b.list.n; k++)
		r.list.v[a.list.n + k] = b.list.v[k];
	return r;
}

static LVal
repeat(Lang *L, const Ast *at, LVal a, LVal n)
{
	int64_t k;

	if (n.kind != LInt || !sym_isconst(n.i, &k) || (k > 0 && k > LangMaxList / (a.list.n + 1)))
		lang_fail(L, at, "a list cannot be repeated %s times", lang_str(L->cx, n));
	LVal r = lang_list(L, k > 0 ? (int)k * a.list.n : 0);
	for (int j = 0; j < r.list.n; j++)
		r.list.v[j] = a.list.v[j % a.list.n];
	return r;
}

/* Is a number that is an index, or a float beside one: then arithmetic is on elements. */
static bool
floatsofindex(Lang *L, const char *op, LVal a, LVal b)
{
	if (L->mode != LangElement)
		return false;
	bool idx = (a.kind == LInt && lang_isindex(L, a.i)) ||
	           (b.kind == LInt && lang_isindex(L, b.i));
	bool flt = a.kind == LFloat || b.kind == LFloat || strcmp(op, "/") == 0 ||
	           (a.kind == LInt && a.i->isfloat) || (b.kind == LInt && b.i->isfloat) ||
	           strchr("&|^<>", op[0]) != NULL;
	return idx && flt;
}

LVal
lang_binary(Lang *L, const Ast *at, const char *op, LVal a, LVal b)
{
	double x = 0, y = 0;
	int64_t i = 0, j = 0;
	bool xi = false, yi = false;

	if (a.kind == LRange)
		a = lang_iter(L, at, a);
	if (b.kind == LRange)
		b = lang_iter(L, at, b);
	a = lang_defined(L, a), b = lang_defined(L, b);
	if (lang_isel(L, a) || lang_isel(L, b) || floatsofindex(L, op, a, b))
		return lang_exbinary(L, at, op, a, b);
	if (L->mode == LangTensor && (a.kind == LTensor || b.kind == LTensor))
		return lang_opbinary(L, at, op, a, b);
	if (lang_isnum(a) && lang_isnum(b)) {
		bool known = constnum(a, &x, &i, &xi) & constnum(b, &y, &j, &yi);
		if (known && !(xi && yi))
			return floats(L, at, op, x, y);
		const Sym *s = numsym(L->cx, a), *t = numsym(L->cx, b);
		if (!s->isfloat && !t->isfloat)
			return ints(L, at, op, s, t);
		return lang_sym(sym_binary(L->cx, op, s, t));
	}
	if (a.kind == LStr && b.kind == LStr && strcmp(op, "+") == 0)
		return (LVal){.kind = LStr, .s = intern_printf(L->cx, "%s%s", a.s, b.s)};
	if (a.kind == LList && b.kind == LList && strcmp(op, "+") == 0)
		return concat(L, a, b);
	if (a.kind == LList && strcmp(op, "*") == 0)
		return repeat(L, at, a, b);
	if (b.kind == LList && strcmp(op, "*") == 0)
		return repeat(L, at, b, a);
	if (a.kind == LCond && b.kind == LCond)
		return (LVal){.kind = LCond, .i = sym_binary(L->cx, *op == '&' ? "and" : "or", a.i, b.i)};
	lang_fail(L, at, "'%s' of %s and %s", op, lang_str(L->cx, a), lang_str(L->cx, b));
}

/* ---- comparison ------------------------------------------------------------------------ */

static LVal
unknown(Lang *L, const char *op, const Sym *a, const Sym *b)
{
	if (!L->guards)
		return lang_bool(false);
	return (LVal){.kind = LCond, .i = sym_binary(L->cx, op, a, b)};
}

static LVal
comparesyms(Lang *L, const Ast *at, const char *op, const Sym *a, const Sym *b)
{
	Ctx *cx = L->cx;

	if (op[0] == '>')
		return comparesyms(L, at, op[1] ? "<=" : "<", b, a);
	if (a->isfloat || b->isfloat)
		return unknown(L, op, a, b);
	if (op[0] == '=' || op[0] == '!') {
		bool eq = op[0] == '=';
		if (sym_eq(a, b))
			return lang_bool(eq);
		if (sym_ne(a, b) || sym_lt(cx, a, b) || sym_lt(cx, b, a))
			return lang_bool(!eq);
	} else if (op[1]) {
		if (sym_le(cx, a, b))
			return lang_bool(true);
		if (sym_lt(cx, b, a))
			return lang_bool(false);
	} else {
		if (sym_lt(cx, a, b))
			return lang_bool(true);
		if (sym_le(cx, b, a))
			return lang_bool(false);
	}
	if (L->mode == LangElement && (lang_isindex(L, a) || lang_isindex(L, b)))
		return lang_excompare(L, at, op, lang_sym(a), lang_sym(b));
	return unknown(L, op, a, b);
}

static bool
order(const char *op, double a, double b)
{
	switch (op[0]) {
	case '=': return a == b;
	case '!': return a != b;
	case '<': return op[1] ? a <= b : a < b;
	default:  return op[1] ? a >= b : a > b;
	}
}

LVal
lang_negate(Lang *L, const Ast *at, LVal v)
{
	if (v.kind == LBool)
		return lang_bool(!v.b);
	if (v.kind == LCond)
		return (LVal){.kind = LCond, .i = sym_fn(L->cx, SymFnNot, &v.i, 1, NULL)};
	if (lang_isel(L, v)) {
		const Ex *e = lang_cond(L, at, v);
		return (LVal){.kind = LEx, .ex = ex_op(L->cx, ScNot, e, NULL, NULL)};
	}
	lang_fail(L, at, "'not' of %s", lang_str(L->cx, v));
}

static LVal
both(Lang *L, const Ast *at, LVal a, LVal b)
{
	if (a.kind == LBool)
		return a.b ? b : a;
	if (b.kind == LBool)
		return b.b ? a : b;
	if (a.kind == LCond && b.kind == LCond)
		return (LVal){.kind = LCond, .i = sym_binary(L->cx, "and", a.i, b.i)};
	lang_fail(L, at, "this comparison is on elements");
}

static LVal
samelists(Lang *L, const Ast *at, LVal a, LVal b)
{
	LVal r = lang_bool(a.list.n == b.list.n);

	for (int k = 0; r.kind != LBool || (r.b && k < a.list.n); k++) {
		if (k == a.list.n)
			break;
		r = both(L, at, r, lang_compare(L, at, "==", a.list.v[k], b.list.v[k]));
	}
	return r;
}

static bool
samearg(Lang *L, LVal a, LVal b)
{
	/* A memory format or a layout against the text of one. */
	const char *x = a.kind == LStr ? a.s : lang_str(L->cx, a);
	const char *y = b.kind == LStr ? b.s : lang_str(L->cx, b);
	const char *dx = strrchr(x, '.'), *dy = strrchr(y, '.');

	return strcmp(dx ? dx + 1 : x, dy ? dy + 1 : y) == 0;
}

static LVal
same(Lang *L, const Ast *at, LVal a, LVal b)
{
	if (a.kind == LList && b.kind == LList)
		return samelists(L, at, a, b);
	if ((a.kind == LArg && (b.kind == LStr || b.kind == LArg)) || (b.kind == LArg && a.kind == LStr))
		return lang_bool(samearg(L, a, b));
	if (a.kind != b.kind)
		return lang_bool(false);
	switch (a.kind) {
	case LNone:   return lang_bool(true);
	case LStr:    return lang_bool(a.s == b.s);
	case LDtype:  return lang_bool(a.dt == b.dt);
	case LTensor: return lang_bool(a.t == b.t);
	default:      return lang_bool(false);
	}
}

static LVal
contains(Lang *L, const Ast *at, LVal x, LVal list)
{
	LVal r = lang_bool(false);

	list = lang_iter(L, at, list);
	for (int k = 0; k < list.list.n; k++) {
		LVal e = lang_compare(L, at, "==", x, list.list.v[k]);
		if (e.kind == LBool && e.b)
			return e;
		if (e.kind == LEx)
			r = r.kind == LEx ? (LVal){.kind = LEx, .ex = ex_op(L->cx, ScOr, r.ex, e.ex, NULL)} : e;
	}
	return r;
}

LVal
lang_compare(Lang *L, const Ast *at, const char *op, LVal a, LVal b)
{
	double x, y;
	int64_t i, j;
	bool xi, yi;

	if (strcmp(op, "in") == 0)
		return contains(L, at, a, b);
	if (strcmp(op, "notin") == 0)
		return lang_negate(L, at, contains(L, at, a, b));
	if (strcmp(op, "isnot") == 0 || strcmp(op, "is") == 0) {
		bool eq = op[2] == '\0';
		if (a.kind == LNone || b.kind == LNone)
			return lang_bool((a.kind == b.kind) == eq);
		if (a.kind == LTensor && b.kind == LTensor && L->mode == LangTensor)
			return lang_bool((a.t == b.t) == eq);
		op = eq ? "==" : "!=";
	}
	if (a.kind == LRange)
		a = lang_iter(L, at, a);
	if (b.kind == LRange)
		b = lang_iter(L, at, b);
	if (lang_isnum(a) && lang_isnum(b)) {
		bool known = constnum(a, &x, &i, &xi) & constnum(b, &y, &j, &yi);
		if (known && xi && yi)
			return lang_bool(order(op, i < j ? -1 : i > j, 0));
		if (known)
			return lang_bool(order(op, x, y));
		if (floatsofindex(L, "/", a, b) && (a.kind == LFloat || b.kind == LFloat))
			return lang_excompare(L, at, op, a, b);
		return comparesyms(L, at, op, numsym(L->cx, a), numsym(L->cx, b));
	}
	bool none = a.kind == LNone || b.kind == LNone;
	if (!none && (lang_isel(L, a) || lang_isel(L, b)))
		return lang_excompare(L, at, op, a, b);
	if (!none && L->mode == LangTensor && (a.kind == LTensor || b.kind == LTensor) &&
	    (lang_isnum(a) || lang_isnum(b) || a.kind == b.kind))
		return lang_opbinary(L, at, op, a, b);
	if (strcmp(op, "==") == 0)
		return same(L, at, a, b);
	if (strcmp(op, "!=") == 0)
		return lang_negate(L, at, same(L, at, a, b));
	lang_fail(L, at, "'%s' of %s and %s", op, lang_str(L->cx, a), lang_str(L->cx, b));
}
