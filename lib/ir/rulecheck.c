/* rulecheck.c - rules that come with the command line: do their words mean something?
 *
 * The tables of the compiler are tried by test_rules; a user's are read when a model is
 * compiled, and what is wrong with them is said then, at its place: operators and
 * arguments that do not exist, names that nothing binds.  A replacement may be a call of
 * an operator of the user's own (--extern=lib.op=symbol).
 */
#include "ir/rule.h"

typedef struct Check {
	Ctx *cx;
	Arena *a;
	const RuleDef *r;
	size_t part;           /* where the text that is looked at begins in its file */
	VEC(Str) bound;
	const char *const *external; int nexternal;
	bool ok;
} Check;

PRINTF(3, 4) static void
fail(Check *c, const Ast *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error(c->cx, loc_at(c->cx, c->r->source, c->part + (at ? at->at : 0)), "rule %s: %s", c->r->name, arena_vprintf(c->a, fmt, ap));
	va_end(ap);
	c->ok = false;
}

/* "aten.mul.Tensor" of a callee; NULL: it is no name. */
static const char *
dotted(Check *c, const Ast *e)
{
	const char *left;

	if (e->kind == AstName)
		return e->s;
	left = e->kind == AstAttr ? dotted(c, e->kid[0]) : NULL;
	return left ? arena_printf(c->a, "%s.%s", left, e->s) : NULL;
}

static const Ast *
leftmost(const Ast *e)
{
	return e->kind == AstAttr ? leftmost(e->kid[0]) : e;
}

static bool
isbound(const Check *c, Str name)
{
	for (int k = 0; k < c->bound.n; k++)
		if (c->bound.v[k] == name)
			return true;
	return false;
}

/* ---- the pattern ------------------------------------------------------------------ */

static bool
takes(const Ast *call, const OpDef *op, const Ast **wrong)
{
	for (int k = 1; k < call->n; k++)
		if (rule_param(call, k, op) < 0)
			return *wrong = call->kid[k], false;
	return true;
}

static void pattern(Check *, const Ast *, bool root);

static void
call(Check *c, const Ast *e, bool root)
{
	const char *name = dotted(c, e->kid[0]);
	const Ast *wrong = NULL;
	bool known = false, fits = false, one = false;

	for (int k = 0; name && k < noptab; k++) {
		if (!rule_names(c->cx, e, &optab[k]))
			continue;
		known = true;
		if (!takes(e, &optab[k], &wrong))
			continue;
		fits = true;
		one |= optab[k].nret == 1 && !optab[k].ret[0].list;
	}
	if (!known)
		fail(c, leftmost(e->kid[0]), "no operator is called %s", name ? name : "so");
	else if (!fits)
		fail(c, wrong, "%s has no such argument", name);
	else if (root && !one)
		fail(c, e, "%s has several results: a pattern cannot begin with it", name);
	for (int k = 1; k < e->n; k++)
		pattern(c, e->kid[k]->kind == AstKw ? e->kid[k]->kid[0] : e->kid[k], false);
}

static void
elements(Check *c, const Ast *e)
{
	for (int k = 0; k < e->n; k++) {
		const Ast *at = e->kid[k];
		bool star = at->kind == AstStar, end = k == 0 || k == e->n - 1;
		if (star && (!end || at->kid[0]->kind != AstName || rule_istensor(at->kid[0]->s)))
			fail(c, at, "*NAME is a list at the beginning or the end of another");
		else
			pattern(c, star ? at->kid[0] : at, false);
	}
}

static void
pattern(Check *c, const Ast *e, bool root)
{
	switch (e->kind) {
	case AstCall:
		call(c, e, root);
		break;
	case AstList:
		elements(c, e);
		break;
	case AstName:
		if (rule_isvar(e) && !isbound(c, e->s))
			vec_push(c->a, &c->bound, e->s);
		break;
	case AstNone: case AstBool: case AstInt: case AstFloat: case AstStr: case AstNeg:
		break;
	default:
		fail(c, e, "a pattern is made of calls, lists, names and literals");
	}
}

/* ---- the replacement and the condition -------------------------------------------------- */

/* Names that a comprehension, a lambda or a statement binds. */
static void
binders(Check *c, const Ast *e)
{
	int from = e->kind == AstFor || e->kind == AstLambda || e->kind == AstAssign ? 1 : e->kind == AstLoop ? 2 : e->n;

	for (int k = from; k < e->n; k++)
		if (e->kid[k] && e->kid[k]->kind == AstName)
			vec_push(c->a, &c->bound, e->kid[k]->s);
	for (int k = 0; k < e->n; k++)
		if (e->kid[k])
			binders(c, e->kid[k]);
}

static void names(Check *, const Ast *);

static void
callee(Check *c, const Ast *e)
{
	const char *name = dotted(c, e);

	if (name == NULL || (e->kind == AstAttr && e->kid[0]->kind == AstName && isbound(c, e->kid[0]->s)))
		names(c, e->kid[0]);           /* a method */
	else if (e->kind == AstName ? !lang_isfunction(name) && !rule_ishelper(name) && !isbound(c, e->s)
	                            : !op_find(name) && !lang_hasop(name))
		fail(c, leftmost(e), "no operator is called %s%s", name, e->kind == AstAttr ? "; one of your own is declared by --extern=OP=SYMBOL and is the whole replacement" : "");
}

static void
names(Check *c, const Ast *e)
{
	if (e->kind == AstName && !isbound(c, e->s) && rule_isvar(e))
		fail(c, e, "nothing in the pattern is called %s", e->s);
	if (e->kind == AstCall)
		callee(c, e->kid[0]);
	for (int k = e->kind == AstCall; k < e->n; k++)
		if (e->kid[k])
			names(c, e->kid[k]);
}

static const Ast *
part(Check *c, const char *text, size_t at)
{
	c->part = at;
	return lang_ast(c->cx, NULL, c->r->name, text, FormExpr);
}

/* "(schema)=symbol" of --extern for this operator; NULL: none. */
static const char *
declared(const Check *c, const char *name)
{
	size_t n = strlen(name);

	for (int i = 0; i < c->nexternal; i++)
		if (strncmp(c->external[i], name, n) == 0 && strchr("=(", c->external[i][n]) && c->external[i][n])
			return c->external[i] + n;
	return NULL;
}

/* lib.op(x, 2.0) becomes [x, 2.0] */
static void
foreign(Check *c, RuleDef *r, const Ast *e)
{
	const char *name = e->kind == AstCall && e->kid[0]->kind == AstAttr ? dotted(c, e->kid[0]) : NULL;
	const char *spec = name ? declared(c, name) : NULL, *symbol = spec ? strrchr(spec, '=') : NULL;

	if (symbol == NULL)
		return;
	if (*spec == '(' && memchr(spec, '!', (size_t)(symbol - spec)))
		fail(c, e, "%s changes its arguments", name);
	for (int k = 1; k < e->n; k++)
		if (e->kid[k]->kind == AstKw)
			fail(c, e->kid[k], "arguments of %s are given by place, not by name", name);
	r->external = name;
	r->symbol = symbol + 1;
	const char *open = strchr(r->replacement, '('), *close = strrchr(r->replacement, ')');
	r->replacement_at += (size_t)(open - r->replacement);
	r->replacement = arena_printf(c->a, "[%.*s]", (int)(close - open - 1), open + 1);
}

static void
check(Check *c, RuleDef *r)
{
	const Ast *e;

	c->r = r;
	c->bound.n = 0;
	if ((e = part(c, r->pattern, r->pattern_at)))
		pattern(c, e, true);
	int inpattern = c->bound.n;
	vec_push(c->a, &c->bound, intern_str(c->cx, "result"));
	if ((e = part(c, r->replacement, r->replacement_at)))
		foreign(c, r, e);
	if ((e = part(c, r->replacement, r->replacement_at))) {
		binders(c, e);
		names(c, e);
	}
	if (r->when && (e = part(c, r->when, r->when_at))) {
		binders(c, e);
		names(c, e);
	}
	if (inpattern > RuleMaxBound)
		fail(c, NULL, "a pattern has at most %d names", RuleMaxBound);
}

bool
rules_load(Module *m, const File *f, const char *const *external, int nexternal)
{
	Check c = {.cx = m->cx, .a = ctx_arena(m->cx), .external = external, .nexternal = nexternal, .ok = true};
	Rules all = {0};

	for (int k = 0; k < m->nloaded; k++)
		vec_push(c.a, &all, m->loaded[k]);
	if (!rules_read(m->cx, f->name, (const char *)f->data, f->size, &all))
		return false;
	for (int k = m->nloaded; k < all.n; k++) {
		RuleDef *r = &all.v[k];
		r->pass = "loaded";
		check(&c, r);
		c.part = r->at;
		for (int i = 0; i < nruletab; i++)
			if (strcmp(ruletab[i].name, r->name) == 0)
				fail(&c, NULL, "there is one already, %s:%d", ruletab[i].file, ruletab[i].line);
	}
	m->loaded = all.v;
	m->nloaded = all.n;
	return c.ok;
}
