/* lang.c - the evaluator of the table language: names, expressions, statements.
 *
 * One walk over the tree serves every mode.  Names live on one stack: a macro's
 * frame hides its caller's, a comprehension pushes its variables and pops them.
 */
#include <math.h>
#include "ir/lang.h"

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

/* ---- names ------------------------------------------------------------------------- */

LVal *
lang_lookup(Lang *L, Str name)
{
	for (int k = L->env.n; k-- > L->frame; )
		if (L->env.v[k].name == name)
			return &L->env.v[k].val;
	return NULL;
}

void
lang_push(Lang *L, Str name, LVal v)
{
	vec_push(L->a, &L->env, (__typeof__(*L->env.v)){name, v});
}

void
lang_set(Lang *L, const char *name, LVal v)
{
	Str s = intern_str(L->cx, name);
	LVal *old = lang_lookup(L, s);

	if (old)
		*old = v;
	else
		lang_push(L, s, v);
}

void
lang_bindnames(Lang *L, const Ast *at, Ast *const *name, int n, LVal v)
{
	if (n == 1) {
		lang_push(L, name[0]->s, v);
		return;
	}
	if (v.kind != LList || v.list.n != n)
		lang_fail(L, at, "%d values are needed, not %s", n, lang_str(L->cx, v));
	for (int k = 0; k < n; k++)
		lang_push(L, name[k]->s, v.list.v[k]);
}

/* ---- conditions ------------------------------------------------------------------------- */

/* A plain value as a truth value; an element stays what it is. */
LVal
lang_truth(Lang *L, const Ast *at, LVal v)
{
	int64_t k;

	switch (v.kind) {
	case LBool: case LCond: return v;
	case LNone:  return lang_bool(false);
	case LFloat: return lang_bool(v.f != 0);
	case LStr:   return lang_bool(v.s[0] != 0);
	case LList:  return lang_bool(v.list.n > 0);
	case LInt:
		if (sym_isconst(v.i, &k))
			return lang_bool(k != 0);
		return lang_compare(L, at, "!=", v, lang_int(L->cx, 0));
	default:
		if (lang_isel(L, v))
			return (LVal){.kind = LEx, .ex = lang_cond(L, at, v)};
		lang_fail(L, at, "%s is no condition", lang_str(L->cx, v));
	}
}

bool
lang_holds(Lang *L, const Ast *at, const Ast *cond)
{
	LVal v = lang_truth(L, at, lang_eval(L, cond));

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

LVal
lang_andor(Lang *L, const Ast *e)
{
	bool and = e->kind == AstAnd;
	LVal a = lang_truth(L, e, lang_eval(L, e->kid[0]));

	if (a.kind == LBool)
		return a.b == and ? lang_truth(L, e, lang_eval(L, e->kid[1])) : a;
	return junction(L, e, and, a, lang_truth(L, e, lang_eval(L, e->kid[1])));
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

LVal
lang_choice(Lang *L, const Ast *e)
{
	bool outer = L->guards;

	L->guards = true;
	LVal c = lang_truth(L, e, lang_eval(L, e->kid[0]));
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

/* ---- expressions -------------------------------------------------------------------------------------- */

static LVal
name(Lang *L, const Ast *e)
{
	LVal *v = lang_lookup(L, e->s);
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
		return lang_bool(!v.b);
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

	if (++L->depth > LangMaxDepth)
		lang_fail(L, e, "nested too deeply");
	switch (e->kind) {
	case AstNone:  break;
	case AstBool:  v = lang_bool(e->b); break;
	case AstInt:   v = lang_int(L->cx, e->i); break;
	case AstFloat: v = (LVal){.kind = LFloat, .f = e->f}; break;
	case AstStr:   v = (LVal){.kind = LStr, .s = e->s}; break;
	case AstName:  v = name(L, e); break;
	case AstList: {
		LVals l = {0};
		for (int k = 0; k < e->n; k++)
			lang_spread(L, e->kid[k], &l);
		v = lang_aslist(L, &l);
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
	case AstNot:   v = lang_negate(L, e, lang_truth(L, e, lang_eval(L, e->kid[0]))); break;
	case AstAnd: case AstOr: v = lang_andor(L, e); break;
	case AstIf:    v = lang_choice(L, e); break;
	case AstIndex: v = lang_subscript(L, e); break;
	case AstAttr:  v = lang_attribute(L, e); break;
	case AstCall:  v = lang_call(L, e); break;
	case AstComp:  v = lang_comp(L, e); break;
	case AstLambda: v = (LVal){.kind = LFun, .fun = e}; break;
	default:
		lang_fail(L, e, "this cannot stand here");
	}
	if (v.kind == LSaved)
		v = lang_unsaved(L, (int)v.i->k);
	L->depth--;
	return v;
}

/* ---- statements ------------------------------------------------------------------------------------------ */

static void statements(Lang *, const Ast *);

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
	LVal *old = lang_lookup(L, s->kid[1]->s);

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
		LVal a = lang_truth(L, cond, lang_eval(L, cond->kid[0]));
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
	LVal c = lang_truth(L, s, lang_eval(L, s->kid[0]));
	L->guards = outer;
	if (c.kind == LBool && c.b)
		return;
	LVal m = s->kid[1] ? lang_eval(L, s->kid[1]) : (LVal){.kind = LNone};
	if (c.kind == LCond) {
		if (L->mod)                /* only what the program says itself: "s is too large" */
			infer_guard(L->mod, L->loc, c.i, m.kind == LStr && s->kid[1]->kind != AstStr ? m.s : NULL);
		return;
	}
	if (c.kind != LBool)
		lang_fail(L, s, "a condition on elements");
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
		if (lang_holds(L, s, s->kid[0]))
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

/* The value of a body that may be an expression or statements. */
LVal
lang_body(Lang *L, const Ast *e)
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
	for (int k = 0; k < L->op->nparam; k++) {
		LVal v = lang_frarg(L->cx, &arg[k]);
		v.wrapped = L->op->param[k].type == AtTensor && lang_isnum(v);
		lang_push(L, intern_str(L->cx, L->op->param[k].name), v);
	}
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
		*out = a->kind == AstBlock ? lang_body(L, a) : result(L, a);
	}
	L->env.n = top;
	L->fail = outer;
	return true;
}
