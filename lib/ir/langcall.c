/* langcall.c - calls in the table language.
 *
 * What a name means in f(...), in this order: a fold over elements, a lambda or
 * sub-graph that is a local, a function of elements, a macro, a function on plain
 * values, an operator (where tensors are nodes).  A parameter may have a
 * function's name: max(x, max).
 */
#include "ir/lang.h"

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

static LVal
callmacro(Lang *L, const Ast *e, const MacroDef *m, const LVals *arg)
{
	const Ast *b = lang_ast(L->cx, NULL, m->name, m->text, FormExpr);
	int frame = L->frame, top = L->env.n;

	if (b == NULL)
		longjmp(*L->fail, 1);
	if (arg->n != m->nparam)
		lang_fail(L, e, "%s takes %d arguments, not %d", m->name, m->nparam, arg->n);
	if (++L->depth > LangMaxDepth)
		lang_fail(L, e, "%s: calls are nested too deeply", m->name);
	for (int k = 0; k < arg->n; k++)
		lang_push(L, intern_str(L->cx, m->param[k]), arg->v[k]);
	L->frame = top;
	LVal v = lang_body(L, b);
	L->frame = frame;
	L->env.n = top;
	L->depth--;
	return v;
}

static LVal
calllambda(Lang *L, const Ast *e, const Ast *f, const LVals *arg)
{
	int top = L->env.n;

	if (arg->n != f->n - 1)
		lang_fail(L, e, "a lambda of %d arguments called with %d", f->n - 1, arg->n);
	for (int k = 0; k < arg->n; k++)
		lang_push(L, f->kid[k + 1]->s, arg->v[k]);
	LVal v = lang_eval(L, f->kid[0]);
	L->env.n = top;
	return v;
}

LVal
lang_call1(Lang *L, LVal fun, LVal arg)
{
	LVals v = {0};

	if (fun.kind != LFun)
		lang_fail(L, NULL, "a lambda is needed, not %s", lang_str(L->cx, fun));
	vec_push(L->a, &v, arg);
	return calllambda(L, NULL, fun.fun, &v);
}

static void
arguments(Lang *L, const Ast *e, LVals *pos, LKeys *kw)
{
	for (int k = 1; k < e->n; k++) {
		const Ast *a = e->kid[k];
		if (a->kind == AstKw)
			vec_push(L->a, kw, (LKey){a->s, lang_eval(L, a->kid[0])});
		else if (a->kind == AstComp && !a->b)
			vec_push(L->a, pos, lang_comp(L, a));
		else
			lang_spread(L, a, pos);
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
	if (e->kind != AstName || lang_lookup(L, e->s))
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
method(Lang *L, const Ast *e, LVal self, LVals *rest, const LKeys *kw)
{
	Str name = e->kid[0]->s;
	LVals all = {0};

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
	const LVal *local = lang_lookup(L, name);
	LVals pos = {0};
	LKeys kw = {0};
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
	if (L->grad && strcmp(name, "needs") == 0 && pos.n == 1 && pos.v[0].kind == LStr)
		return lang_bool(lang_needs(L, e, pos.v[0].s));
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

LVal
lang_call(Lang *L, const Ast *e)
{
	const Ast *f = e->kid[0];
	const char *exact;
	LVals pos = {0};
	LKeys kw = {0};

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

bool
lang_isfunction(const char *name)
{
	static const char *const space[] = {"aten", "fxcc", "prims"};
	char text[128];

	for (int k = 0; k < COUNT(space); k++)
		if ((size_t)snprintf(text, sizeof text, "%s.%s", space[k], name) < sizeof text && lang_hasop(text))
			return true;
	return lang_isbuiltin(name) || lang_foldof(name) >= 0 || macro(name) != NULL;
}
