/* lang.c - the evaluator of the table language.
 *
 * One walk over the tree serves every mode.  Plain values are worked on here;
 * what touches a tensor or an element goes to langop.c (nodes) or low.c (Ex).
 * Names live on one stack: a macro's frame hides its caller's, a comprehension
 * pushes its variables and pops them.
 *
 * Conditions on sizes: true or false if provable, else false - except in a
 * `where`, where they stay conditions (LCond), combine, and end as guards.
 */
#include <math.h>
#include <stdlib.h>
#include "ir/lang.h"

enum { MaxDepth = 400, MaxRange = 1 << 16 };
#define MaxCount (INT64_C(1) << 40)

void
lang_fail(Lang *L, const Ast *at, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = arena_vprintf(L->a, fmt, ap);
	va_end(ap);
	error(L->cx, L->loc, "%s: %s", L->op ? L->op->name : "table", text);
	if (L->op && L->what)
		note(L->cx, NOLOC, "%s:%d: line '%s'%s", L->op->file, L->op->line, L->what,
		     at && at->line ? arena_printf(L->a, ", line %d of it", at->line + 1) : "");
	longjmp(*L->fail, 1);
}

/* ---- trees, parsed once ------------------------------------------------------- */

static const char astkey;

const Ast *
lang_ast(Ctx *cx, const OpDef *op, const char *what, const char *text, enum langform form)
{
	Map *m = ctx_slot(cx, &astkey, sizeof(Map));
	Ast *a = map_get(m, text);

	(void)what;
	if (a == NULL) {
		a = lang_parse(cx, text, form, op ? op->file : "table", op ? op->line : 0);
		if (a)
			map_put(ctx_arena(cx), m, text, a);
	}
	return a;
}

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

static LVal
boolean(bool b)
{
	return (LVal){.kind = LBool, .b = b};
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
	case ArgBool:  return boolean(a->b);
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

/* ---- names ------------------------------------------------------------------------- */

static LVal *
lookup(Lang *L, Str name)
{
	for (int k = L->env.n; k-- > L->frame; )
		if (L->env.v[k].name == name)
			return &L->env.v[k].val;
	return NULL;
}

static void
push(Lang *L, Str name, LVal v)
{
	vec_push(L->a, &L->env, (__typeof__(*L->env.v)){name, v});
}

void
lang_set(Lang *L, const char *name, LVal v)
{
	Str s = intern_str(L->cx, name);
	LVal *old = lookup(L, s);

	if (old)
		*old = v;
	else
		push(L, s, v);
}

void
lang_bindnames(Lang *L, const Ast *at, Ast *const *name, int n, LVal v)
{
	if (n == 1) {
		push(L, name[0]->s, v);
		return;
	}
	if (v.kind != LList || v.list.n != n)
		lang_fail(L, at, "%d values are needed, not %s", n, lang_str(L->cx, v));
	for (int k = 0; k < n; k++)
		push(L, name[k]->s, v.list.v[k]);
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

	if (n.kind != LInt || !sym_isconst(n.i, &k) || (k > 0 && k > MaxRange / (a.list.n + 1)))
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
	double x, y;
	int64_t i, j;
	bool xi, yi;

	if (a.kind == LRange)
		a = lang_iter(L, at, a);
	if (b.kind == LRange)
		b = lang_iter(L, at, b);
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
		return boolean(false);
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
			return boolean(eq);
		if (sym_ne(a, b) || sym_lt(cx, a, b) || sym_lt(cx, b, a))
			return boolean(!eq);
	} else if (op[1]) {
		if (sym_le(cx, a, b))
			return boolean(true);
		if (sym_lt(cx, b, a))
			return boolean(false);
	} else {
		if (sym_lt(cx, a, b))
			return boolean(true);
		if (sym_le(cx, b, a))
			return boolean(false);
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

static LVal
negate(Lang *L, const Ast *at, LVal v)
{
	if (v.kind == LBool)
		return boolean(!v.b);
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
	LVal r = boolean(a.list.n == b.list.n);

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
		return boolean(samearg(L, a, b));
	if (a.kind != b.kind)
		return boolean(false);
	switch (a.kind) {
	case LNone:   return boolean(true);
	case LStr:    return boolean(a.s == b.s);
	case LDtype:  return boolean(a.dt == b.dt);
	case LTensor: return boolean(a.t == b.t);
	default:      return boolean(false);
	}
}

static LVal
contains(Lang *L, const Ast *at, LVal x, LVal list)
{
	LVal r = boolean(false);

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
		return negate(L, at, contains(L, at, a, b));
	if (strcmp(op, "isnot") == 0 || strcmp(op, "is") == 0) {
		bool eq = op[2] == '\0';
		if (a.kind == LNone || b.kind == LNone)
			return boolean((a.kind == b.kind) == eq);
		op = eq ? "==" : "!=";
	}
	if (a.kind == LRange)
		a = lang_iter(L, at, a);
	if (b.kind == LRange)
		b = lang_iter(L, at, b);
	if (lang_isnum(a) && lang_isnum(b)) {
		bool known = constnum(a, &x, &i, &xi) & constnum(b, &y, &j, &yi);
		if (known && xi && yi)
			return boolean(order(op, i < j ? -1 : i > j, 0));
		if (known)
			return boolean(order(op, x, y));
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
		return negate(L, at, same(L, at, a, b));
	lang_fail(L, at, "'%s' of %s and %s", op, lang_str(L->cx, a), lang_str(L->cx, b));
}

/* ---- conditions ------------------------------------------------------------------------- */

/* A plain value as a truth value; an element stays what it is. */
static LVal
truth(Lang *L, const Ast *at, LVal v)
{
	int64_t k;

	switch (v.kind) {
	case LBool: case LCond: return v;
	case LNone:  return boolean(false);
	case LFloat: return boolean(v.f != 0);
	case LStr:   return boolean(v.s[0] != 0);
	case LList:  return boolean(v.list.n > 0);
	case LInt:
		if (sym_isconst(v.i, &k))
			return boolean(k != 0);
		return lang_compare(L, at, "!=", v, lang_int(L->cx, 0));
	default:
		if (lang_isel(L, v))
			return (LVal){.kind = LEx, .ex = lang_cond(L, at, v)};
		lang_fail(L, at, "%s is no condition", lang_str(L->cx, v));
	}
}

static bool
holds(Lang *L, const Ast *at, const Ast *cond)
{
	LVal v = truth(L, at, lang_eval(L, cond));

	if (v.kind == LEx)
		lang_fail(L, at, "a statement cannot depend on elements: use A if C else B");
	return v.kind == LBool && v.b;
}

static void
sees(void *arg, const Ex *load)
{
	(void)load;
	*(bool *)arg = true;
}

/* a and b of elements: b is not looked at where a is false, if it reads memory. */
static LVal
junction(Lang *L, const Ast *at, bool and, LVal a, LVal b)
{
	bool reads = false;
	const Ex *x, *y;

	if (b.kind == LBool)
		return b.b == and ? a : b;
	if (a.kind == LCond && b.kind == LCond)
		return (LVal){.kind = LCond, .i = sym_binary(L->cx, and ? "and" : "or", a.i, b.i)};
	x = lang_cond(L, at, a), y = lang_cond(L, at, b);
	ex_loads(y, sees, &reads);
	if (reads && and)
		return (LVal){.kind = LEx, .ex = ex_op(L->cx, ScSelect, x, y, ex_int(L->cx, DtB8, 0))};
	if (reads)
		return (LVal){.kind = LEx, .ex = ex_op(L->cx, ScSelect, x, ex_int(L->cx, DtB8, 1), y)};
	return (LVal){.kind = LEx, .ex = ex_op(L->cx, and ? ScAnd : ScOr, x, y, NULL)};
}

static LVal
andor(Lang *L, const Ast *e)
{
	bool and = e->kind == AstAnd;
	LVal a = truth(L, e, lang_eval(L, e->kid[0]));

	if (a.kind == LBool)
		return a.b == and ? truth(L, e, lang_eval(L, e->kid[1])) : a;
	return junction(L, e, and, a, truth(L, e, lang_eval(L, e->kid[1])));
}

/* Is it about which of two is greater, with a size that only the run knows (u0)?
 * Sizes of inputs have ranges that decide such questions; those have not. */
static bool
runtime(Lang *L, const Sym *s)
{
	const Sym **var = NULL;
	int n = 0;

	if (s->kind != SymFn)
		return false;
	if (s->fn == SymFnAnd || s->fn == SymFnOr)
		return runtime(L, s->arg[0]) && runtime(L, s->arg[1]);
	if (s->fn == SymFnNot)
		return runtime(L, s->arg[0]);
	sym_vars(L->a, s, &var, &n);
	for (int k = 0; k < n; k++)
		if (var[k]->name[0] == 'u' && (s->fn == SymFnLt || s->fn == SymFnLe))
			return true;
	return false;
}

static LVal
choice(Lang *L, const Ast *e)
{
	bool outer = L->guards;

	L->guards = true;
	LVal c = truth(L, e, lang_eval(L, e->kid[0]));
	L->guards = outer;
	if (c.kind == LEx)
		return lang_select(L, e, c, lang_eval(L, e->kid[1]), lang_eval(L, e->kid[2]));
	if (c.kind == LCond && runtime(L, c.i)) {
		LVal a = lang_eval(L, e->kid[1]), b = lang_eval(L, e->kid[2]);
		if (a.kind == LInt && b.kind == LInt)
			return lang_sym(sym_fn(L->cx, SymFnWhere, (const Sym *[]){c.i, a.i, b.i}, 3, NULL));
		return b;
	}
	return lang_eval(L, e->kid[c.kind == LBool && c.b ? 1 : 2]);
}

/* ---- lists ---------------------------------------------------------------------------------- */

LVal
lang_iter(Lang *L, const Ast *at, LVal v)
{
	int64_t a, b, n;

	if (v.kind == LList)
		return v;
	if (v.kind != LRange)
		lang_fail(L, at, "%s is no list", lang_str(L->cx, v));
	if (!sym_isconst(v.range.from, &a) || !sym_isconst(v.range.to, &b))
		lang_fail(L, at, "a loop over a range that is not known: %s",
		          sym_str(L->cx, v.range.to));
	if (a < -MaxCount || a > MaxCount || b < -MaxCount || b > MaxCount)
		lang_fail(L, at, "a loop over a range that is too long");
	n = v.range.step > 0 ? (b - a + v.range.step - 1) / v.range.step
	                     : (a - b - v.range.step - 1) / -v.range.step;
	if ((v.range.step > 0 ? b <= a : a <= b))
		n = 0;
	if (n > MaxRange)
		lang_fail(L, at, "a list of %lld elements", (long long)n);
	LVal r = lang_list(L, (int)n);
	for (int k = 0; k < n; k++)
		r.list.v[k] = lang_int(L->cx, a + k * v.range.step);
	return r;
}

typedef VEC(LVal) Vals;

static LVal
aslist(Lang *L, const Vals *v)
{
	LVal r = lang_list(L, v->n);

	for (int k = 0; k < v->n; k++)
		r.list.v[k] = v->v[k];
	return r;
}

static void
spread(Lang *L, const Ast *e, Vals *out)
{
	if (e->kind != AstStar) {
		vec_push(L->a, out, lang_eval(L, e));
		return;
	}
	LVal v = lang_iter(L, e, lang_eval(L, e->kid[0]));
	for (int k = 0; k < v.list.n; k++)
		vec_push(L->a, out, v.list.v[k]);
}

/* Clause c of a comprehension and those after it. */
static void
clause(Lang *L, const Ast *e, int c, Vals *out)
{
	if (c == e->n) {
		vec_push(L->a, out, lang_eval(L, e->kid[0]));
		return;
	}
	const Ast *k = e->kid[c];
	if (k->kind == AstWhen) {
		if (holds(L, k, k->kid[0]))
			clause(L, e, c + 1, out);
		return;
	}
	LVal list = lang_iter(L, k, lang_eval(L, k->kid[0]));
	for (int j = 0; j < list.list.n; j++) {
		int top = L->env.n;
		lang_bindnames(L, k, k->kid + 1, k->n - 1, list.list.v[j]);
		clause(L, e, c + 1, out);
		L->env.n = top;
	}
}

LVal
lang_comp(Lang *L, const Ast *e)
{
	Vals v = {0};

	clause(L, e, 1, &v);
	return aslist(L, &v);
}

static int64_t
position(Lang *L, const Ast *at, LVal v, int64_t dflt)
{
	int64_t k;

	if (v.kind == LNone)
		return dflt;
	if (!sym_isconst(lang_tosym(L, at, v), &k))
		lang_fail(L, at, "the position %s in a list is not known", lang_str(L->cx, v));
	return k;
}

static LVal
slice(Lang *L, const Ast *s, LVal list)
{
	int64_t n = list.list.n, v[3], dflt[3] = {0, n, 1};
	Vals out = {0};

	if (s->kid[2]) {
		v[2] = position(L, s, lang_eval(L, s->kid[2]), 1);
		if (v[2] == 0)
			lang_fail(L, s, "a slice's step is zero");
		if (v[2] < 0)
			dflt[0] = n - 1, dflt[1] = -1;
	} else {
		v[2] = 1;
	}
	for (int k = 0; k < 2; k++) {
		LVal e = s->kid[k] ? lang_eval(L, s->kid[k]) : (LVal){.kind = LNone};
		if (e.kind == LNone) {
			v[k] = dflt[k];
			continue;
		}
		v[k] = position(L, s, e, 0);
		if (v[k] < 0)
			v[k] += n;
		int64_t lo = v[2] < 0 ? -1 : 0, hi = v[2] < 0 ? n - 1 : n;
		v[k] = v[k] < lo ? lo : v[k] > hi ? hi : v[k];
	}
	for (int64_t k = v[0]; v[2] > 0 ? k < v[1] : k > v[1]; k += v[2])
		vec_push(L->a, &out, list.list.v[k]);
	return aslist(L, &out);
}

static LVal
at(Lang *L, const Ast *e, LVal list, LVal idx)
{
	int64_t k = position(L, e, idx, 0), n = list.list.n;

	if (k < 0)
		k += n;
	if (k < 0 || k >= n)
		lang_fail(L, e, "position %s in a list of %d", lang_str(L->cx, idx), list.list.n);
	return list.list.v[k];
}

static LVal
subscript(Lang *L, const Ast *e)
{
	LVal x = lang_eval(L, e->kid[0]);
	Vals idx = {0};

	if (x.kind == LRange)
		x = lang_iter(L, e, x);
	if (x.kind == LList && e->n == 2) {
		if (e->kid[1]->kind == AstSlice)
			return slice(L, e->kid[1], x);
		return at(L, e, x, lang_eval(L, e->kid[1]));
	}
	if (x.kind != LTensor || L->mode != LangElement)
		lang_fail(L, e, "%s cannot be subscripted here", lang_str(L->cx, x));
	for (int k = 1; k < e->n; k++) {
		if (e->kid[k]->kind == AstSlice)
			lang_fail(L, e, "a slice of an element's tensor");
		Vals one = {0};
		spread(L, e->kid[k], &one);
		for (int j = 0; j < one.n; j++) {
			LVal v = one.v[j].kind == LRange ? lang_iter(L, e, one.v[j]) : one.v[j];
			if (v.kind != LList) {
				vec_push(L->a, &idx, v);
				continue;
			}
			for (int m = 0; m < v.list.n; m++)
				vec_push(L->a, &idx, v.list.v[m]);
		}
	}
	return lang_load(L, e, x, idx.v, idx.n);
}

/* ---- attributes -------------------------------------------------------------------------------- */

static LVal
symlist(Lang *L, const Type *t, bool stride)
{
	LVal r = lang_list(L, t->rank);

	for (int d = 0; d < t->rank; d++)
		r.list.v[d] = lang_sym(stride ? type_stride(L->cx, t, d) : t->dim[d]);
	return r;
}

static LVal
dtypeattr(Lang *L, const Ast *e, enum dtype dt, const char *s)
{
	static const struct { const char *name; enum dtype dt; double max, min, eps; } lim[] = {
		{"f32", DtF32, 3.4028234663852886e38, -3.4028234663852886e38, 1.1920928955078125e-07},
		{"f64", DtF64, 1.7976931348623157e308, -1.7976931348623157e308, 2.220446049250313e-16},
		{"f16", DtF16, 65504, -65504, 0.0009765625},
		{"bf16", DtBF16, 3.3895313892515355e38, -3.3895313892515355e38, 0.0078125},
		{"e4", DtF8E4M3, 448, -448, 0.125}, {"e5", DtF8E5M2, 57344, -57344, 0.25},
	};
	enum dtkind kind = (enum dtkind)dtypeinfo[dt].kind;
	int bits = 8 * dtypeinfo[dt].bytes;

	if (strcmp(s, "isfloat") == 0)
		return boolean(kind == KindFloat);
	if (strcmp(s, "isint") == 0)
		return boolean(kind <= KindInt);
	if (strcmp(s, "isbool") == 0)
		return boolean(kind == KindBool);
	if (strcmp(s, "iscomplex") == 0)
		return boolean(kind == KindComplex);
	if (strcmp(s, "issigned") == 0)
		return boolean(kind >= KindInt);
	if (strcmp(s, "bytes") == 0)
		return lang_int(L->cx, dtypeinfo[dt].bytes);
	if (strcmp(s, "acc") == 0)
		return (LVal){.kind = LDtype, .dt = dt_acc(dt)};
	bool max = strcmp(s, "max") == 0, min = strcmp(s, "min") == 0;
	if (kind == KindBool && (max || min))
		return lang_int(L->cx, max);
	if (kind == KindUint && (max || min))
		return lang_int(L->cx, min ? 0 : bits == 64 ? INT64_MAX : (int64_t)((1ull << bits) - 1));
	if (kind == KindInt && (max || min))
		return lang_int(L->cx, max ? INT64_MAX >> (64 - bits) : INT64_MIN >> (64 - bits));
	for (int k = 0; k < COUNT(lim); k++)
		if (lim[k].dt == dt && (max || min || strcmp(s, "eps") == 0))
			return (LVal){.kind = LFloat, .f = max ? lim[k].max : min ? lim[k].min : lim[k].eps};
	lang_fail(L, e, "dtype %s has no '%s'", dtypeinfo[dt].text, s);
}

static LVal
attribute(Lang *L, const Ast *e)
{
	LVal x = lang_eval(L, e->kid[0]);
	enum dtype dt;

	if (x.kind == LDtype)
		return dtypeattr(L, e, x.dt, e->s);
	if (x.kind == LTensor) {
		const Type *t = x.t->type;
		if (t == NULL || t->kind != TyTensor)
			lang_fail(L, e, "a tensor has no known type");
		if (strcmp(e->s, "dtype") == 0)
			return (LVal){.kind = LDtype, .dt = t->dt};
		if (strcmp(e->s, "shape") == 0)
			return symlist(L, t, false);
		if (strcmp(e->s, "stride") == 0)
			return symlist(L, t, true);
		if (strcmp(e->s, "ndim") == 0)
			return lang_int(L->cx, t->rank);
		if (strcmp(e->s, "numel") == 0)
			return lang_sym(type_numel(L->cx, t));
	}
	if (lang_dtypeof(x, &dt)) {      /* a number where a tensor may stand */
		if (strcmp(e->s, "dtype") == 0)
			return (LVal){.kind = LDtype, .dt = dt};
		if (strcmp(e->s, "shape") == 0 || strcmp(e->s, "stride") == 0)
			return lang_list(L, 0);
		if (strcmp(e->s, "ndim") == 0 || strcmp(e->s, "numel") == 0)
			return lang_int(L->cx, e->s[2] == 'm' && e->s[1] == 'u');
	}
	lang_fail(L, e, "%s has no '%s'", lang_str(L->cx, x), e->s);
}

/* ---- calls ------------------------------------------------------------------------------------------ */

static const MacroDef *
macro(Str name)
{
	int lo = 0, hi = nfntab - 1;

	while (lo <= hi) {
		int mid = (lo + hi) / 2, c = strcmp(name, fntab[mid].name);
		if (c == 0)
			return &fntab[mid];
		if (c < 0)
			hi = mid - 1;
		else
			lo = mid + 1;
	}
	return NULL;
}

static void statements(Lang *, const Ast *);

/* The value of a body that may be an expression or statements. */
static LVal
body(Lang *L, const Ast *e)
{
	if (e->kind != AstBlock)
		return lang_eval(L, e);
	LVal ret = L->ret;
	bool was = L->returned;
	L->ret = (LVal){.kind = LNone};
	L->returned = false;
	statements(L, e);
	if (!L->returned)
		lang_fail(L, e, "no 'return' was reached");
	LVal v = L->ret;
	L->ret = ret;
	L->returned = was;
	return v;
}

static LVal
callmacro(Lang *L, const Ast *e, const MacroDef *m, const Vals *arg)
{
	const Ast *b = lang_ast(L->cx, NULL, m->name, m->text, FormExpr);
	int frame = L->frame, top = L->env.n;

	if (b == NULL)
		longjmp(*L->fail, 1);
	if (arg->n != m->nparam)
		lang_fail(L, e, "%s takes %d arguments, not %d", m->name, m->nparam, arg->n);
	if (++L->depth > MaxDepth)
		lang_fail(L, e, "%s: calls are nested too deeply", m->name);
	for (int k = 0; k < arg->n; k++)
		push(L, intern_str(L->cx, m->param[k]), arg->v[k]);
	L->frame = top;
	LVal v = body(L, b);
	L->frame = frame;
	L->env.n = top;
	L->depth--;
	return v;
}

static LVal
calllambda(Lang *L, const Ast *e, const Ast *f, const Vals *arg)
{
	int top = L->env.n;

	if (arg->n != f->n - 1)
		lang_fail(L, e, "a lambda of %d arguments called with %d", f->n - 1, arg->n);
	for (int k = 0; k < arg->n; k++)
		push(L, f->kid[k + 1]->s, arg->v[k]);
	LVal v = lang_eval(L, f->kid[0]);
	L->env.n = top;
	return v;
}

LVal
lang_call1(Lang *L, LVal fun, LVal arg)
{
	Vals v = {0};

	if (fun.kind != LFun)
		lang_fail(L, NULL, "a lambda is needed, not %s", lang_str(L->cx, fun));
	vec_push(L->a, &v, arg);
	return calllambda(L, NULL, fun.fun, &v);
}

typedef VEC(LKey) Keys;

static void
arguments(Lang *L, const Ast *e, Vals *pos, Keys *kw)
{
	for (int k = 1; k < e->n; k++) {
		const Ast *a = e->kid[k];
		if (a->kind == AstKw)
			vec_push(L->a, kw, (LKey){a->s, lang_eval(L, a->kid[0])});
		else if (a->kind == AstComp && !a->b)
			vec_push(L->a, pos, lang_comp(L, a));
		else
			spread(L, a, pos);
	}
}

static bool
hastensor(LVal v)
{
	if (v.kind == LTensor)
		return true;
	for (int k = 0; v.kind == LList && k < v.list.n; k++)
		if (hastensor(v.list.v[k]))
			return true;
	return false;
}

/* aten.add.Tensor or prims.x as text; NULL: not of that form. */
static const char *
dotted(Lang *L, const Ast *e)
{
	static const char *const ns[] = {
		"aten", "prims", "fxcc", "operator", "torch", "math", "higher_order",
		"quantized_decomposed", "torchvision"
	};
	if (e->kind == AstAttr) {
		const char *left = dotted(L, e->kid[0]);
		return left ? arena_printf(L->a, "%s.%s", left, e->s) : NULL;
	}
	if (e->kind != AstName || lookup(L, e->s))
		return NULL;
	for (int k = 0; k < COUNT(ns); k++)
		if (strcmp(e->s, ns[k]) == 0)
			return e->s;
	return NULL;
}

/* A name in expand: the tensor language's operators. */
static const char *
packet(Lang *L, Str name)
{
	static const char *const ns[] = {"aten", "fxcc", "prims"};

	for (int k = 0; k < COUNT(ns); k++) {
		const char *p = arena_printf(L->a, "%s.%s", ns[k], name);
		if (lang_hasop(p))
			return p;
	}
	return NULL;
}

static LVal
method(Lang *L, const Ast *e, LVal self, Vals *rest, const Keys *kw)
{
	Str name = e->kid[0]->s;
	Vals all = {0};

	if (self.kind == LRange)
		self = lang_iter(L, e, self);
	if (self.kind == LList && strcmp(name, "index") == 0 && rest->n == 1) {
		for (int k = 0; k < self.list.n; k++) {
			LVal c = lang_compare(L, e, "==", self.list.v[k], rest->v[0]);
			if (c.kind == LBool && c.b)
				return lang_int(L->cx, k);
		}
		lang_fail(L, e, "%s is not in %s", lang_str(L->cx, rest->v[0]), lang_str(L->cx, self));
	}
	if (self.kind == LList && strcmp(name, "count") == 0 && rest->n == 1) {
		int n = 0;
		for (int k = 0; k < self.list.n; k++) {
			LVal c = lang_compare(L, e, "==", self.list.v[k], rest->v[0]);
			n += c.kind == LBool && c.b;
		}
		return lang_int(L->cx, n);
	}
	if (L->mode == LangTensor && self.kind == LTensor && packet(L, name)) {
		vec_push(L->a, &all, self);
		for (int k = 0; k < rest->n; k++)
			vec_push(L->a, &all, rest->v[k]);
		return lang_opcall(L, e, packet(L, name), NULL, all.v, all.n, kw->v, kw->n);
	}
	lang_fail(L, e, "%s has no method '%s'", lang_str(L->cx, self), name);
}

static LVal
callname(Lang *L, const Ast *e, Str name)
{
	const MacroDef *m = macro(name);
	const LVal *local = lookup(L, name);
	Vals pos = {0};
	Keys kw = {0};
	LVal r;

	if (L->mode == LangElement && lang_exfold(L, e, name, &r))
		return r;
	arguments(L, e, &pos, &kw);
	if (local && local->kind == LFun)
		return calllambda(L, e, local->fun, &pos);
	if (local && local->kind == LArg && local->arg->kind == ArgGraph && L->mode == LangTensor)
		return lang_graphcall(L, e, local->arg->graph, pos.v, pos.n);
	if (L->mode == LangElement && !m &&
	    lang_excall(L, e, name, pos.v, pos.n, kw.v, kw.n, &r))
		return r;
	bool tensors = false;
	for (int k = 0; k < pos.n; k++)
		tensors |= hastensor(pos.v[k]);
	for (int k = 0; k < kw.n; k++)
		tensors |= hastensor(kw.v[k].val);
	const char *op = L->mode == LangTensor ? packet(L, name) : NULL;
	if (m && !(op && tensors))
		return callmacro(L, e, m, &pos);
	if (!(tensors && op) || lang_isstructural(name))
		if (lang_builtin(L, e, name, pos.v, pos.n, kw.v, kw.n, &r))
			return r;
	if (op)
		return lang_opcall(L, e, op, NULL, pos.v, pos.n, kw.v, kw.n);
	if (L->mode == LangElement && lang_exscalar(L, e, name, pos.v, pos.n, &r))
		return r;
	lang_fail(L, e, "no function '%s' takes these arguments", name);
}

static LVal
call(Lang *L, const Ast *e)
{
	const Ast *f = e->kid[0];
	const char *exact;
	Vals pos = {0};
	Keys kw = {0};

	if (f->kind == AstName)
		return callname(L, e, f->s);
	if (f->kind == AstAttr && (exact = dotted(L, f)) != NULL) {
		const OpDef *op = op_find(exact);
		if (L->mode != LangTensor)
			lang_fail(L, e, "an operator in a line about elements or sizes");
		arguments(L, e, &pos, &kw);
		bool packetonly = op == NULL || strchr(strchr(exact, '.') + 1, '.') == NULL;
		if (op == NULL && !lang_hasop(exact))
			lang_fail(L, e, "no operator '%s'", exact);
		return lang_opcall(L, e, packetonly ? exact : NULL, packetonly ? NULL : op,
		                   pos.v, pos.n, kw.v, kw.n);
	}
	if (f->kind == AstAttr) {
		LVal self = lang_eval(L, f->kid[0]);
		arguments(L, e, &pos, &kw);
		return method(L, e, self, &pos, &kw);
	}
	LVal fun = lang_eval(L, f);
	arguments(L, e, &pos, &kw);
	if (fun.kind == LArg && fun.arg->kind == ArgGraph && L->mode == LangTensor)
		return lang_graphcall(L, e, fun.arg->graph, pos.v, pos.n);
	if (fun.kind != LFun)
		lang_fail(L, e, "%s cannot be called", lang_str(L->cx, fun));
	return calllambda(L, e, fun.fun, &pos);
}

/* ---- expressions -------------------------------------------------------------------------------------- */

static LVal
name(Lang *L, const Ast *e)
{
	LVal *v = lookup(L, e->s);
	enum dtype dt;

	if (v)
		return *v;
	/* Parameters may be called so: nan_to_num. */
	if (strcmp(e->s, "inf") == 0 || strcmp(e->s, "nan") == 0)
		return (LVal){.kind = LFloat, .f = e->s[0] == 'i' ? INFINITY : NAN};
	if ((dt = dtype_parse(e->s, strlen(e->s))) != DtNone)
		return (LVal){.kind = LDtype, .dt = dt};
	lang_fail(L, e, "unknown name '%s'", e->s);
}

static LVal
negative(Lang *L, const Ast *e)
{
	LVal v = lang_eval(L, e->kid[0]);

	if (v.kind == LFloat)
		return (LVal){.kind = LFloat, .f = -v.f};
	if (v.kind == LInt && !v.i->isfloat)
		return lang_sym(sym_neg(L->cx, v.i));
	if (L->mode == LangTensor && v.kind == LTensor)
		return lang_opcall(L, e, "aten.neg", NULL, &v, 1, NULL, 0);
	if (lang_isel(L, v))
		return (LVal){.kind = LEx, .ex = ex_op(L->cx, ScNeg, lang_ex(L, e, v), NULL, NULL)};
	return lang_binary(L, e, "*", lang_int(L->cx, -1), v);
}

static LVal
invert(Lang *L, const Ast *e)
{
	LVal v = lang_eval(L, e->kid[0]);
	int64_t k;

	if (v.kind == LBool)
		return boolean(!v.b);
	if (v.kind == LInt && sym_isconst(v.i, &k))
		return lang_int(L->cx, ~k);
	if (L->mode == LangTensor && v.kind == LTensor)
		return lang_opcall(L, e, "aten.bitwise_not", NULL, &v, 1, NULL, 0);
	if (lang_isel(L, v))
		return (LVal){.kind = LEx, .ex = ex_op(L->cx, ScNot, lang_ex(L, e, v), NULL, NULL)};
	lang_fail(L, e, "'~' of %s", lang_str(L->cx, v));
}

LVal
lang_eval(Lang *L, const Ast *e)
{
	LVal v = {.kind = LNone};

	if (++L->depth > MaxDepth)
		lang_fail(L, e, "nested too deeply");
	switch (e->kind) {
	case AstNone:  break;
	case AstBool:  v = boolean(e->b); break;
	case AstInt:   v = lang_int(L->cx, e->i); break;
	case AstFloat: v = (LVal){.kind = LFloat, .f = e->f}; break;
	case AstStr:   v = (LVal){.kind = LStr, .s = e->s}; break;
	case AstName:  v = name(L, e); break;
	case AstList: {
		Vals l = {0};
		for (int k = 0; k < e->n; k++)
			spread(L, e->kid[k], &l);
		v = aslist(L, &l);
		break;
	}
	case AstBin: {
		LVal a = lang_eval(L, e->kid[0]);
		v = lang_binary(L, e, e->s, a, lang_eval(L, e->kid[1]));
		break;
	}
	case AstCmp: {
		LVal a = lang_eval(L, e->kid[0]);
		v = lang_compare(L, e, e->s, a, lang_eval(L, e->kid[1]));
		break;
	}
	case AstNeg:   v = negative(L, e); break;
	case AstInv:   v = invert(L, e); break;
	case AstNot:   v = negate(L, e, truth(L, e, lang_eval(L, e->kid[0]))); break;
	case AstAnd: case AstOr: v = andor(L, e); break;
	case AstIf:    v = choice(L, e); break;
	case AstIndex: v = subscript(L, e); break;
	case AstAttr:  v = attribute(L, e); break;
	case AstCall:  v = call(L, e); break;
	case AstComp:  v = lang_comp(L, e); break;
	case AstLambda: v = (LVal){.kind = LFun, .fun = e}; break;
	default:
		lang_fail(L, e, "this cannot stand here");
	}
	L->depth--;
	return v;
}

/* ---- statements ------------------------------------------------------------------------------------------ */

static void
assign(Lang *L, const Ast *s)
{
	LVal v = lang_eval(L, s->kid[0]);

	if (s->n == 2) {
		lang_set(L, s->kid[1]->s, v);
		return;
	}
	v = lang_iter(L, s, v);
	if (v.list.n != s->n - 1)
		lang_fail(L, s, "%d values for %d names", v.list.n, s->n - 1);
	for (int k = 0; k < v.list.n; k++)
		lang_set(L, s->kid[k + 1]->s, v.list.v[k]);
}

static void
augment(Lang *L, const Ast *s)
{
	LVal *old = lookup(L, s->kid[1]->s);

	if (old == NULL)
		lang_fail(L, s, "unknown name '%s'", s->kid[1]->s);
	LVal v = lang_binary(L, s, "+", *old, lang_eval(L, s->kid[0]));
	lang_set(L, s->kid[1]->s, v);
}

static void
loop(Lang *L, const Ast *s)
{
	LVal list = lang_iter(L, s, lang_eval(L, s->kid[0]));

	for (int k = 0; k < list.list.n && !L->returned; k++) {
		if (s->n == 3) {
			lang_set(L, s->kid[2]->s, list.list.v[k]);
		} else {
			LVal t = lang_iter(L, s, list.list.v[k]);
			if (t.list.n != s->n - 2)
				lang_fail(L, s, "%d values for %d names", t.list.n, s->n - 2);
			for (int j = 0; j < t.list.n; j++)
				lang_set(L, s->kid[j + 2]->s, t.list.v[j]);
		}
		statements(L, s->kid[1]);
	}
}

/* "inner sizes differ" alone does not say which: add the two that clash. */
static const char *
clash(Lang *L, const Ast *cond)
{
	while (cond->kind == AstAnd) {
		LVal a = truth(L, cond, lang_eval(L, cond->kid[0]));
		cond = cond->kid[a.kind == LBool && !a.b ? 0 : 1];
	}
	if (cond->kind != AstCmp || strcmp(cond->s, "is") == 0 || strcmp(cond->s, "isnot") == 0)
		return "";
	LVal a = lang_eval(L, cond->kid[0]), b = lang_eval(L, cond->kid[1]);
	if (a.kind == LTensor || b.kind == LTensor || a.kind == LEx || b.kind == LEx)
		return "";
	if (cond->kid[1]->kind == AstInt)
		return arena_printf(L->a, ": %s", lang_str(L->cx, a));
	return arena_printf(L->a, ": %s and %s", lang_str(L->cx, a), lang_str(L->cx, b));
}

static void
operandtypes(Lang *L)
{
	for (int k = L->frame; k < L->env.n && L->op && k < L->op->nparam; k++)
		if (L->env.v[k].val.kind == LTensor)
			note(L->cx, L->env.v[k].val.t->def ? L->env.v[k].val.t->def->loc : NOLOC,
			     "%s is %s", L->env.v[k].name, lang_str(L->cx, L->env.v[k].val));
}

/* A condition of the user's program that does not hold: his error, not the table's. */
static void
check(Lang *L, const Ast *s)
{
	bool outer = L->guards;

	L->guards = true;
	LVal c = truth(L, s, lang_eval(L, s->kid[0]));
	L->guards = outer;
	if (c.kind == LBool && c.b)
		return;
	if (c.kind == LCond) {
		if (L->mod)
			infer_guard(L->mod, L->loc, c.i);
		return;
	}
	if (c.kind != LBool)
		lang_fail(L, s, "a condition on elements");
	LVal m = s->kid[1] ? lang_eval(L, s->kid[1]) : (LVal){.kind = LNone};
	const char *name = L->op ? L->op->name : "?", *text = m.kind == LStr ? m.s : "an argument does not fit";
	const char *dot = strchr(name, '.');
	name = dot ? dot + 1 : name;
	size_t len = strcspn(name, ".");
	bool named = strncmp(text, name, len) == 0;
	error(L->cx, L->loc, "%.*s%s%s%s", named ? 0 : (int)len, name, named ? "" : ": ",
	      text, clash(L, s->kid[0]));
	operandtypes(L);
	longjmp(*L->fail, 1);
}

/* Of several results' elements, that of the result in question alone: the others
 * would index with a wrong rank. */
static LVal
result(Lang *L, const Ast *e)
{
	if (L->mode == LangElement && L->frame == 0 && e->kind == AstList && L->out &&
	    L->op && L->op->nret > 1 && L->out->out < e->n)
		e = e->kid[L->out->out];
	return lang_eval(L, e);
}

static void
statement(Lang *L, const Ast *s)
{
	switch (s->kind) {
	case AstAssign: assign(L, s); break;
	case AstAdd:    augment(L, s); break;
	case AstWhether:
		if (holds(L, s, s->kid[0]))
			statements(L, s->kid[1]);
		else if (s->kid[2])
			statement(L, s->kid[2]);
		break;
	case AstBlock:  statements(L, s); break;
	case AstLoop:   loop(L, s); break;
	case AstReturn:
		L->ret = result(L, s->kid[0]);
		L->returned = true;
		break;
	case AstAssert: check(L, s); break;
	case AstExpr:   lang_eval(L, s->kid[0]); break;
	default:
		lang_fail(L, s, "no statement");
	}
}

static void
statements(Lang *L, const Ast *b)
{
	for (int k = 0; k < b->n && !L->returned; k++)
		statement(L, b->kid[k]);
}

/* ---- entry ----------------------------------------------------------------------------------------------- */

void
lang_init(Lang *L, Ctx *cx, Module *mod, const OpDef *op, Loc loc, enum langmode mode)
{
	*L = (Lang){.cx = cx, .a = ctx_arena(cx), .mod = mod, .op = op, .loc = loc,
	            .mode = mode, .compute = DtNone};
}

void
lang_bind(Lang *L, const Arg *arg)
{
	for (int k = 0; k < L->op->nparam; k++)
		push(L, intern_str(L->cx, L->op->param[k].name), lang_frarg(L->cx, &arg[k]));
}

bool
lang_run(Lang *L, const char *what, const char *text, enum langform form, LVal *out)
{
	jmp_buf here, *outer = L->fail;
	const Ast *a = lang_ast(L->cx, L->op, what, text, form);
	int top = L->env.n;

	if (a == NULL)
		return false;
	L->what = what;
	L->fail = &here;
	L->returned = false;
	L->depth = 0;
	if (setjmp(here)) {
		L->fail = outer;
		return false;
	}
	if (form == FormWhere) {
		statements(L, a);
		*out = (LVal){.kind = LNone};
	} else {
		*out = a->kind == AstBlock ? body(L, a) : result(L, a);
	}
	L->env.n = top;
	L->fail = outer;
	return true;
}
