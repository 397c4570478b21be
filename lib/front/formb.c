/* formb.c - Python source of a graph: gm.code, print_readable, print(ep), logs.
 *
 *     relu: "f32[2, 8]" = torch.ops.aten.relu.default(x);  x = None
 *
 * Exactly one operator stands in a statement, so there is no precedence:
 * `-2 ** y` is pow(-2, y), as FX printed it from a template.  A statement is
 * evaluated while it is parsed: names stand for Tvs, and calls make nodes
 * (torchfn.c).  Ends of life (`x = None`) and everything else that only manages
 * Python's memory is skipped.
 */
#include <stdlib.h>
#include <strings.h>
#include "front/formb.h"
#include "ir/part.h"

typedef VEC(Tv) Tvs;

/* ---- statements ------------------------------------------------------------------- */

static const char *const binops[] = {
	"+", "-", "*", "/", "//", "%", "**", "@", "<<", ">>", "&", "|", "^", "==", "!=", "<", ">", "<=", ">=",
};
static const char *const inops[] = {
	"+=", "-=", "*=", "/=", "//=", "%=", "**=", "@=", "<<=", ">>=", "&=", "|=", "^=",
};

static bool
oneof(const Fn *f, const char *const *ops, int n, const char **op)
{
	for (int i = 0; i < n; i++)
		if (isop(f, 0, ops[i])) {
			*op = ops[i];
			return true;
		}
	return false;
}

/* value [BINOP value] | UNOP value */
bool
formb_rhs(Fn *f, Tv *out, int nest)
{
	const Tok *at = peek(f, 0);
	const char *op;
	Tv a, b;

	if (!formb_isnumber(f) && (isop(f, 0, "-") || isop(f, 0, "~") || isop(f, 0, "+") || isword(f, 0, "not"))) {
		op = at->kind == TkName ? "not" : at->op;
		f->p++;
		if (!formb_value(f, &a, nest))
			return false;
		f->loc = place(f, at);
		return tv_unary(f, op, &a, out);
	}
	if (!formb_value(f, &a, nest))
		return false;
	if (!oneof(f, binops, COUNT(binops), &op)) {
		*out = a;
		return true;
	}
	at = peek(f, 0);
	f->p++;
	if (!formb_value(f, &b, nest))
		return false;
	f->loc = place(f, at);
	return tv_binary(f, op, &a, &b, out);
}

/* The string annotation after ':' of an assignment, or a Python type, which says nothing. */
static bool
annotation(Fn *f, Annot **out)
{
	const Tok *t = peek(f, 0);

	*out = NULL;
	if (t->kind == TkStr) {
		f->p++;
		*out = NEW(f->r->a, Annot);
		return annot_parse(f->r, f->t.s + t->off + 1, t->len - 2, (int64_t)t->off + 1, *out);
	}
	for (int depth = 0;; f->p++) {
		t = peek(f, 0);
		if (t->kind == TkNewline || t->kind == TkEof)
			return true;
		if (t->kind != TkOp)
			continue;
		if (depth == 0 && strchr(",)=;:", t->op[0]))
			return true;
		depth += strchr("([{", t->op[0]) ? 1 : strchr(")]}", t->op[0]) ? -1 : 0;
	}
}

static void
skip_statement(Fn *f)
{
	while (peek(f, 0)->kind != TkNewline && peek(f, 0)->kind != TkEof)
		f->p++;
}

/* ... = fx_pytree.tree_flatten_spec([primals, tangents], ...): a joint graph. */
static bool
isjoint(const Fn *f)
{
	for (int k = 0; peek(f, k)->kind != TkNewline && peek(f, k)->kind != TkEof; k++)
		if (isword(f, k, "tangents"))
			return f->g == f->r->mod->main && !f->r->hassig;
	return false;
}

/* a, b, = fx_pytree.tree_flatten_spec(...): these are the inputs. */
static bool
flatten(Fn *f)
{
	f->r->joint = f->r->joint || isjoint(f);
	while (peek(f, 0)->kind == TkName) {
		const Tok *t = peek(f, 0);
		Str name = text(f, t);

		if (!fn_placeholder(f, name, map_get(&f->decl, name), place(f, t)))
			return false;
		f->p++;
		if (!accept(f, ","))
			break;
	}
	if (!expect(f, "="))
		return false;
	skip_statement(f);
	return true;
}

static bool
isflatten(const Fn *f)
{
	int k = 0;

	while (peek(f, k)->kind == TkName && isop(f, k + 1, ","))
		k += 2;
	if (peek(f, k)->kind == TkName)
		k++;
	return k && isop(f, k, "=") && isword(f, k + 1, "fx_pytree");
}

/* x = y = None: nothing.  A formatter may have put brackets: x = (\n y\n) = None. */
static bool
deletion(Fn *f)
{
	int k = 0, paren;

	for (;;) {
		paren = isop(f, k, "(");
		if (peek(f, k + paren)->kind != TkName || (paren && !isop(f, k + 2, ")")) || !isop(f, k + 1 + 2 * paren, "="))
			break;
		k += 2 + 2 * paren;
	}
	if (k == 0 || !isword(f, k, "None") || (peek(f, k + 1)->kind != TkNewline && !isop(f, k + 1, ";")))
		return false;
	f->p += k + 1;
	return true;
}

static bool
ret(Fn *f)
{
	Tv v;

	f->p++;
	f->loc = place(f, peek(f, 0));
	if (isword(f, 0, "pytree") && isop(f, 1, ".") && isword(f, 2, "tree_unflatten")) {
		f->p += 3;
		if (!expect(f, "(") || !formb_value(f, &v, 0))
			return false;
		skip_statement(f);
	} else if (f->builtin ? !formb_rhs(f, &v, 0) : !formb_value(f, &v, 0)) {
		return false;
	} else if (isop(f, 0, ",")) {              /* return a, b */
		Tvs l = {0};

		vec_push(f->r->a, &l, v);
		while (accept(f, ",") && peek(f, 0)->kind != TkNewline) {
			if (!formb_value(f, &v, 0))
				return false;
			vec_push(f->r->a, &l, v);
		}
		v = (Tv){.kind = TvList, .tuple = true, .v = l.v, .n = l.n};
	}
	f->done = true;
	return fn_return(f, &v);
}

/* NAME [annot] = rhs */
static bool
assign(Fn *f)
{
	const Tok *name = peek(f, 0);
	Annot *annot = NULL;
	Tv v = {0}, *bound;

	f->p++;
	f->target = text(f, name);
	if (accept(f, ":") && !annotation(f, &annot))
		return false;
	if (annot && !isop(f, 0, "=")) {
		map_put(f->r->a, &f->decl, f->target, annot);
		return true;
	}
	if (!expect(f, "="))
		return false;
	if (isword(f, 0, "next") && isop(f, 1, "(") && isword(f, 2, "args_iter")) {
		skip_statement(f);
		return fn_placeholder(f, f->target, annot ? annot : map_get(&f->decl, f->target), place(f, name));
	}
	if (isword(f, 0, "iter") && isop(f, 1, "(")) {
		skip_statement(f);
		return true;
	}
	f->annot = annot;
	if (peek(f, 0)->kind == TkName && (peek(f, 1)->kind == TkNewline || isop(f, 1, ";")) &&
	    (bound = map_get(&f->env, text(f, peek(f, 0)))) && bound->kind == TvNone) {
		fn_bind(f, f->target, *bound);           /* another name of an input without a type */
		f->p++;
		return true;
	}
	return formb_rhs(f, &v, 0) && fn_name(f, f->target, &v);
}

/* x[i] = v, x += v, or a call for its effect. */
static bool
effect(Fn *f)
{
	const Tok *at = peek(f, 0);
	Tv base, idx, v, *bound;
	const char *op;

	if (at->kind == TkName && isop(f, 1, "[") && (bound = map_get(&f->env, text(f, at)))) {
		int back = f->p;

		f->p += 2;
		if (!formb_subscript(f, &idx, 0))
			return false;
		if (accept(f, "=")) {
			base = *bound;
			if (!formb_value(f, &v, 0))
				return false;
			f->loc = place(f, at);
			return tv_setitem(f, &base, &idx, &v);
		}
		f->p = back;
	}
	if (isword(f, 0, "args_list")) {
		skip_statement(f);
		return true;
	}
	if (!formb_value(f, &base, 0))
		return false;
	if (oneof(f, inops, COUNT(inops), &op)) {
		f->p++;
		if (!formb_value(f, &v, 0))
			return false;
		f->loc = place(f, at);
		return tv_inplace(f, op, &base, &v);
	}
	return true;
}

static bool
sametv(const Tv *a, const Tv *b)
{
	if (a->kind != TvArg || b->kind != TvArg || a->arg.kind != b->arg.kind)
		return false;
	switch (a->arg.kind) {
	case ArgNone: return true;
	case ArgBool: return a->arg.b == b->arg.b;
	case ArgInt:  return sym_eq(a->arg.i, b->arg.i);
	case ArgStr:  return a->arg.s == b->arg.s;
	default:      return false;
	}
}

static bool
truth(const Tv *v)
{
	int64_t k;

	if (v->kind != TvArg)
		return v->kind != TvList || v->n > 0;
	switch (v->arg.kind) {
	case ArgNone:  return false;
	case ArgBool:  return v->arg.b;
	case ArgInt:   return !sym_isconst(v->arg.i, &k) || k != 0;
	case ArgFloat: return v->arg.f != 0;
	default:       return true;
	}
}

/* Of a definition only:  if [not] VALUE [is VALUE]: STATEMENT   decided while reading. */
static bool
condition(Fn *f)
{
	bool not, yes;
	Tv a, b;

	f->p++;
	if ((not = isword(f, 0, "not")))
		f->p++;
	if (!formb_value(f, &a, 0))
		return false;
	yes = truth(&a);
	if (isword(f, 0, "is")) {
		f->p++;
		if (!formb_value(f, &b, 0))
			return false;
		yes = sametv(&a, &b);
	}
	if (!expect(f, ":"))
		return false;
	if (yes == not)
		skip_statement(f);
	else
		f->then = true;
	return true;
}

static bool
simple(Fn *f)
{
	f->annot = NULL;
	f->target = NULL;
	f->loc = place(f, peek(f, 0));
	if (isword(f, 0, "pass")) {
		f->p++;
		return true;
	}
	if (f->builtin && isword(f, 0, "if"))
		return condition(f);
	if (isword(f, 0, "return"))
		return ret(f);
	if (!f->builtin && deletion(f))
		return true;
	if (isflatten(f))
		return flatten(f);
	if (peek(f, 0)->kind == TkName && (isop(f, 1, "=") || isop(f, 1, ":")))
		return assign(f);
	return effect(f);
}

/* "recompute=must_save ac=2": as one writes it by hand. */
static void
attributes(Reader *r, const char *s)
{
	const char *re = strstr(s, "recompute="), *ac = strstr(s, " ac=");

	if (ac)
		r->comment.acgraph = atoi(ac + 4);
	for (int k = MustSave; re && k <= MustRecompute; k++)
		if (strncasecmp(re + 10, recompute_text[k], strlen(recompute_text[k])) == 0)
			r->comment.recompute = (enum recompute)k;
}

/* "ac_graph_id: 2 - PREFER_RECOMPUTE", of the nodes below; "recompute: MUST_SAVE"; "no_grad";
 * "Annotation: {'_region_activation_memory_budget': 0.5}";
 * "Backward of forward node: relu File: ..." (the node's name is ours); "fxcc.region=R, opts=..." */
static void
marks(Reader *r, Loc loc, const char *s)
{
	static const char key[] = "ac_graph_id: ", re[] = "recompute: ", bw[] = "Backward of forward node: ",
	                  bu[] = "'_region_activation_memory_budget': ";
	const char *at = strstr(s, key), *b = strstr(s, bw), *part = strstr(s, "fxcc.region"), *dict = strstr(s, "Annotation: {"),
	           *budget = strstr(s, bu);
	char *e = NULL;

	r->comment = (Marks){0};
	if (strncmp(s, "# no_grad", 9) == 0)
		r->nograd = r->said = true;
	else if (r->said)
		r->nograd = r->said = false;
	if (part && (r->comment.part = part_parse(r->mod, loc, dict && dict < part ? strchr(dict, '{') : part)) < 0)
		r->failed = true, r->comment.part = 0;
	if (at)
		r->comment.acgraph = (int)strtol(at + sizeof key - 1, &e, 10);
	if (at ? strncmp(e, " - ", 3) == 0 : (e = strstr(s, re)) != NULL)
		e += at ? 3 : sizeof re - 1;
	for (int k = MustSave; e && k <= MustRecompute; k++)
		if (strncmp(e, recompute_text[k], strlen(recompute_text[k])) == 0)
			r->comment.recompute = (enum recompute)k;
	attributes(r, s);
	if (budget)
		r->comment.budget = (float)strtod(budget + sizeof bu - 1, NULL) + 1;
	if (b) {
		size_t n = strcspn(b += sizeof bw - 1, " ");

		r->comment.backward = true;
		if (n && strncmp(b, "File:", 5) != 0 && strncmp(b, "No ", 3) != 0)
			r->comment.origin = intern(r->cx, b, n);
	}
}

/* "# File: PATH:LINE in FUNC, code: ..." -> "PATH:LINE in FUNC" */
static void
location(Fn *f, const Comment *c)
{
	static const char key[] = "File: ";
	Text t = {.arena = f->r->a};
	const char *e, *b;

	text_put(&t, f->t.s + c->off, c->len);
	if (!f->builtin)
		marks(f->r, loc_at(f->r->cx, f->r->file, c->off), t.s);
	if (!(b = strstr(t.s, key))) {
		if (strstr(t.s, "No stacktrace"))
			f->python = NULL;
		return;
	}
	b += sizeof key - 1;
	e = strstr(b, ", code:");
	f->python = intern(f->r->cx, b, e ? (size_t)(e - b) : strlen(b));
}

static bool
body(Fn *f)
{
	int c = 0;

	while (c < f->t.nc && f->t.c[c].off < peek(f, 0)->off)
		c++;
	while (c > 0 && f->t.c[c - 1].off > peek(f, -1)->off)
		c--;
	while (peek(f, 0)->kind != TkEof) {
		const Tok *t = peek(f, 0);

		for (; c < f->t.nc && f->t.c[c].off < t->off; c++)
			location(f, &f->t.c[c]);
		if (t->kind == TkNewline || isop(f, 0, ";")) {
			f->p++;
			continue;
		}
		if (f->done && f->builtin)
			return true;
		if (f->done)
			return fn_fail(f, t, "text after the return");
		f->then = false;
		if (!simple(f))
			return false;
		if (peek(f, 0)->kind != TkNewline && peek(f, 0)->kind != TkEof && !isop(f, 0, ";") && !f->then)
			return fn_fail(f, peek(f, 0), "syntax error: one operator per statement");
	}
	return f->done || fn_fail(f, peek(f, 0), "the function has no return");
}

/* ---- the def line ------------------------------------------------------------------- */

static bool
boxed(const Fn *f)
{
	for (int i = 0; i < f->t.n; i++) {
		const Tok *t = &f->t.v[i];

		if (t->kind == TkName && ((t->len == 17 && memcmp(f->t.s + t->off, "tree_flatten_spec", 17) == 0) ||
		                          (t->len == 9 && memcmp(f->t.s + t->off, "args_iter", 9) == 0)))
			return true;
	}
	return false;
}

static bool
parameters(Fn *f)
{
	bool skip = boxed(f);

	while (!accept(f, ")")) {
		const Tok *t = peek(f, 0);
		Annot *annot = NULL;
		bool star = false;
		Tv dflt = {0};

		while (accept(f, "*") || accept(f, "**"))
			star = true;
		t = peek(f, 0);
		if (t->kind != TkName)
			return fn_fail(f, t, "expected a parameter");
		f->p++;
		bool isint = isop(f, 0, ":") && isword(f, 1, "torch") && isword(f, 3, "SymInt");
		const Tok *ty = peek(f, 1);
		if (isop(f, 0, ":") && ty->kind == TkStr && ty->len > 2 && composite_is(f->t.s + ty->off + 1, ty->len - 2)) {
			f->p += 2;
			if (!composite_read(f, text(f, t), f->t.s + ty->off + 1, ty->len - 2, (int64_t)ty->off + 1, place(f, t)))
				return false;
			accept(f, ",");
			continue;
		}
		if (accept(f, ":") && !annotation(f, &annot))
			return false;
		if (isint) {
			annot = NEW(f->r->a, Annot);
			annot->sym = size_var(f->r->cx, f->t.s + t->off, t->len);
		}
		if (accept(f, "=") && !formb_value(f, &dflt, 0))
			return false;
		if (!accept(f, ",") && !isop(f, 0, ")"))
			return fn_fail(f, peek(f, 0), "expected ',' or ')'");
		if (star)
			fn_bind(f, text(f, t), (Tv){.kind = TvNone});
		if (skip || star || (t->len == 4 && memcmp(f->t.s + t->off, "self", 4) == 0))
			continue;
		if (!fn_placeholder(f, text(f, t), annot, place(f, t)))
			return false;
	}
	return true;
}

/* AOT's descriptors in comments: what an input or a result of a joint graph is.
 *     primals_1: "f32[8, 4]"  # ParamAOTInput(target='fc1.weight')
 *     t_8,  # GradAOTOutput(grad_of=ParamAOTInput(target='fc1.weight')) */
static void
descriptors(Fn *f)
{
	static const struct { const char *word; int kind; } is[] = {
		{"ParamAOTInput(target='", InParam}, {"BufferAOTInput(target='", InBuffer},
	};
	uint32_t ret = UINT32_MAX;
	int nth = 0;

	for (int i = 0; i < f->t.n; i++)
		if (f->t.v[i].kind == TkName && f->t.v[i].len == 6 && memcmp(f->t.s + f->t.v[i].off, "return", 6) == 0)
			ret = f->t.v[i].off;
	for (int i = 0; i < f->t.nc; i++) {
		Text t = {.arena = f->r->a};
		int k = 0, lo = 0, hi = f->t.n;
		const char *b, *e;

		text_put(&t, f->t.s + f->t.c[i].off, f->t.c[i].len);
		while (k < COUNT(is) && !strstr(t.s, is[k].word))
			k++;
		nth += f->t.c[i].off > ret;
		if (k == COUNT(is))
			continue;
		b = strstr(t.s, is[k].word) + strlen(is[k].word);
		if (!(e = strchr(b, '\'')))
			continue;
		if (strstr(t.s, "GradAOTOutput(grad_of=ParamAOTInput") && f->t.c[i].off > ret)
			vec_push(f->r->a, &f->r->out, (SigLine){intern_printf(f->r->cx, "%d", nth - 1),
			         intern(f->r->cx, b, (size_t)(e - b)), ResGradParam, true, 0});
		if (strstr(t.s, "AOTOutput("))
			continue;
		while (lo < hi) {                       /* the first token after the comment */
			int mid = (lo + hi) / 2;

			if (f->t.v[mid].off < f->t.c[i].off)
				lo = mid + 1;
			else
				hi = mid;
		}
		while (--lo >= 0 && !(f->t.v[lo].kind == TkOp && f->t.v[lo].op[0] == ':'))
			if (f->t.c[i].off - f->t.v[lo].off > 400)
				break;
		if (lo > 0 && f->t.v[lo - 1].kind == TkName)
			vec_push(f->r->a, &f->r->in, (SigLine){text(f, &f->t.v[lo - 1]), intern(f->r->cx, b, (size_t)(e - b)),
			                                       is[k].kind, true, 0});
	}
}

/* def NAME(params) [-> type]: and the statements. */
static bool
function(Fn *f, const Class *c)
{
	if (!formb_lex(f->r, f->r->s, c->begin, c->end, &f->t))
		return false;
	if (!isword(f, 0, "def"))
		return fn_fail(f, peek(f, 0), "expected 'def'");
	f->p = 2;
	if (!f->r->hassig && c->parent < 0 && !f->inlined)
		descriptors(f);
	if (!expect(f, "(") || !parameters(f))
		return false;
	while (peek(f, 0)->kind != TkEof && !isop(f, 0, ":"))     /* -> type */
		f->p++;
	return expect(f, ":") && body(f);
}

bool
formb_function(Reader *r, Class *c)
{
	Fn f = {.r = r, .cls = c, .g = c->graph};

	return function(&f, c);
}

/* The body of a sub-graph in the place of its call. */
bool
formb_inline(Fn *caller, int cls, const Tv *arg, int narg, Tv *out)
{
	Class *c = &caller->r->cls.v[cls];
	Fn f = {.r = caller->r, .cls = c, .g = caller->g, .lastin = caller->lastin, .depth = caller->depth + 1,
	        .inlined = true, .actual = arg, .nactual = narg, .result = out};

	if (f.depth > 100) {
		error(f.r->cx, caller->loc, "sub-graphs are nested too deeply");
		return false;
	}
	if (!function(&f, c))
		return false;
	if (f.iactual != narg) {
		error(f.r->cx, caller->loc, "%s takes %d arguments, %d given", c->name, f.iactual, narg);
		return false;
	}
	return true;
}

/* A definition of torchfn.def: body with the names bound. */
bool
formb_builtin(Fn *caller, const char *text, const Str *name, const Tv *val, int n, Tv *out)
{
	Fn f = {.r = caller->r, .cls = caller->cls, .g = caller->g, .lastin = caller->lastin, .depth = caller->depth + 1,
	        .builtin = true, .inlined = true, .result = out, .loc = caller->loc, .python = caller->python};

	if (f.depth > 100) {
		error(f.r->cx, caller->loc, "nested too deeply");
		return false;
	}
	if (!formb_lex(f.r, text, 0, strlen(text), &f.t))
		return false;
	for (int i = 0; i < n; i++)
		fn_bind(&f, name[i], val[i]);
	return body(&f);
}
