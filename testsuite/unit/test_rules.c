/* test_rules.c - every rule of the .pat tables, tried on values that break wrong ones.
 *
 * For the names of a pattern tensors and literals are drawn at random, but the same
 * each time, until the operators take them and the rule applies.  The graph is run
 * before and after: the results must be the same bit for bit, except in what is in a
 * NaN.  Tensors hold NaN, infinities, both zeros, denormals, the ends of the integers.
 * Rules marked fast get ordinary values and must be right to some digits.
 *
 *   test_rules            TAP
 *   test_rules NAME...    these rules alone, with the graphs they were tried on
 */
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include "ir/pass/pass.h"
#include "ir/rule.h"

enum { MaxTensors = 8, Tries = 6000, MostTries = 60000, Enough = 16 };   /* MostTries: while none fits */
enum outcome { NoFit, Same, Differs, Broken };

static int tests, failed;
static bool show;

PRINTF(2, 3) static void
ok(bool good, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("%sok %d - ", good ? "" : "not ", ++tests);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
	failed += !good;
}

/* ---- chance ---------------------------------------------------------------------- */

typedef struct Case {
	const RuleDef *rule;
	Ctx *cx;
	Arena *a;
	Graph *g;
	Lang L;
	uint64_t seed;
	enum dtype dt;            /* most tensors have these */
	int shape;
	Tensor in[MaxTensors];
	int nin;
} Case;

static unsigned
draw(Case *c, unsigned n)
{
	uint64_t z = c->seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (unsigned)((z ^ z >> 31) >> 33) % n;
}

static const enum dtype dtypes[] = {
	DtF32, DtF32, DtF32, DtF32, DtBF16, DtF16, DtF64, DtI64, DtI32, DtU8, DtB8
};

static enum dtype
dtype(Case *c)
{
	return dtypes[draw(c, COUNT(dtypes))];
}

/* Sizes, dims, permutations. */
static const struct { int n; int8_t v[4]; } lists[] = {
	{3, {2, 3, 4}}, {2, {4, 6}}, {1, {24}}, {3, {2, 1, 12}}, {2, {1, 24}}, {4, {2, 3, 1, 4}}, {0, {0}}, {2, {5, 5}}, {3, {1, 3, 3}}, {3, {2, 1, 4}},   /* shapes of tensors */
	{1, {-1}}, {2, {-1, 6}}, {1, {0}}, {1, {1}}, {2, {0, 1}}, {2, {1, 0}}, {3, {2, 0, 1}},
	{3, {0, 2, 1}}, {3, {1, 2, 0}}, {3, {0, 1, 2}}, {3, {-1, 0, 1}}, {4, {5, 2, 3, 4}}, {3, {2, 5, 12}},
	{3, {5, 1, 24}}, {3, {2, 3, 1}},
};
enum { NShapes = 10 };

static double
special(Case *c)
{
	static const double v[] = {
		NAN, INFINITY, -INFINITY, 0.0, -0.0, 1e-40, -1e-40, 0x1p-149, 6e-8, 1e-310, 1, -1, 0.5, -2.5, 1.5, 3,
		-7, 3e38, -65504, 16777217, 0.1, 1e300, 2147483648.0, 255, 256,
	};
	if (c->rule->fast)
		return 0.5 + draw(c, 1000) / 500.0;
	return draw(c, 3) ? v[draw(c, COUNT(v))] : (draw(c, 2000) - 1000.0) / 37;
}

static int64_t
integer(Case *c)
{
	static const int64_t v[] = {0, 1, -1, 2, 7, -7, 127, -128, 255, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 16777217};

	return c->rule->fast ? 1 + (int64_t)draw(c, 9) : v[draw(c, COUNT(v))];
}

/* ---- what names stand for ------------------------------------------------------------ */

static LVal
tensor(Case *c, Str name)
{
	Tensor *t = &c->in[c->nin++];
	int shape = draw(c, 4) ? c->shape : (int)draw(c, NShapes);
	const Sym *dim[4];

	*t = (Tensor){.dt = draw(c, 5) ? c->dt : dtype(c), .rank = lists[shape].n};
	for (int d = 0; d < t->rank; d++) {
		t->dim[d] = lists[shape].v[d];
		dim[d] = sym_const(c->cx, t->dim[d]);
	}
	t->bytes = (size_t)tensor_numel(t) * dtypeinfo[t->dt].bytes;
	t->data = arena_alloc(c->a, t->bytes + 16, 16);
	bool indices = !c->rule->fast && draw(c, 2);
	for (int64_t k = 0; k < tensor_numel(t); k++) {
		if (t->dt == DtB8)
			tensor_seti(t, k, draw(c, 2));
		else if (dt_int(t->dt))
			tensor_seti(t, k, indices ? (int64_t)draw(c, 3) : integer(c));
		else
			tensor_set(t, k, special(c));
	}
	Node *n = node_placeholder(c->g, name, type_tensor(c->cx, t->dt, t->rank, dim), NOLOC);
	return (LVal){.kind = LTensor, .t = &n->out[0]};
}

static LVal
number(Case *c)
{
	static const double f[] = {0.5, 0.25, 2, 4, 8, 3, -1.5, 0.1, 0.3, -0.0, 0, 1, -1, 1024};

	if (draw(c, 3))
		return (LVal){.kind = LFloat, .f = f[draw(c, COUNT(f))]};
	return lang_int(c->cx, (int)draw(c, 9) - 3);
}

static LVal
list(Case *c, const Param *p)
{
	bool like = draw(c, 4) == 0;     /* the shape of most tensors, with other sizes where they have 1 */
	int k = like ? c->shape : (int)draw(c, COUNT(lists));
	LVal v = lang_list(&c->L, lists[k].n);

	for (int i = 0; i < v.list.n; i++)
		v.list.v[i] = p->type == AtInt ? lang_int(c->cx, like && lists[k].v[i] == 1 && draw(c, 2) ? 3 : lists[k].v[i]) : number(c);
	return v;
}

static LVal
literal(Case *c, const Param *p)
{
	static const char *const word[] = {"none", "tanh", "floor", "trunc"};

	if (p->opt && draw(c, 5) == 0)
		return (LVal){.kind = LNone};
	if (p->list)
		return list(c, p);
	switch (p->type) {
	case AtInt:   return lang_int(c->cx, (int)draw(c, 8) - 3);
	case AtBool:  return lang_bool(draw(c, 2));
	case AtDtype: return (LVal){.kind = LDtype, .dt = draw(c, 2) ? c->dt : dtype(c)};
	case AtStr:   return (LVal){.kind = LStr, .s = intern_str(c->cx, word[draw(c, COUNT(word))])};
	default:      return number(c);
	}
}

/* An operator that the call of a pattern may mean. */
static const OpDef *
overload(Case *c, const Ast *call)
{
	const OpDef *op = NULL;
	unsigned n = 0;

	for (int k = 0; k < noptab; k++)
		if (rule_names(c->cx, call, &optab[k]) && draw(c, ++n) == 0)
			op = &optab[k];
	return op;
}

static bool names(Case *, const Ast *call);

/* A list of them. */
static bool
tensors(Case *c, Str name)
{
	LVal v = lang_list(&c->L, (int)draw(c, 3));

	if (c->nin + v.list.n > MaxTensors)
		return false;
	for (int k = 0; k < v.list.n; k++)
		v.list.v[k] = tensor(c, intern_printf(c->cx, "%s_%d", name, k));
	lang_push(&c->L, name, v);
	return true;
}

static bool
name(Case *c, const Ast *e, const Param *p)
{
	if (e->kind == AstCall)
		return names(c, e);
	for (int k = 0; e->kind == AstList && k < e->n; k++)
		if (!name(c, e->kid[k], p))
			return false;
	if (e->kind == AstStar)
		return lang_lookup(&c->L, e->kid[0]->s) || tensors(c, e->kid[0]->s);
	if (p->type == AtTensor && p->list && e->kind == AstName && !rule_istensor(e->s))
		return lang_lookup(&c->L, e->s) || tensors(c, e->s);
	if (e->kind != AstName || !rule_isvar(e) || lang_lookup(&c->L, e->s))
		return true;
	if (c->nin == MaxTensors)
		return false;
	lang_push(&c->L, e->s, rule_istensor(e->s) ? tensor(c, e->s) : literal(c, p));
	return true;
}

static bool
names(Case *c, const Ast *call)
{
	const OpDef *op = overload(c, call);

	for (int k = 1; op && k < call->n; k++) {
		const Ast *e = call->kid[k]->kind == AstKw ? call->kid[k]->kid[0] : call->kid[k];
		int i = rule_param(call, k, op);
		if (i < 0 || !name(c, e, &op->param[i]))
			return false;
	}
	return op != NULL;
}

/* ---- one case --------------------------------------------------------------------------- */

static bool
close(const Tensor *a, const Tensor *b, int64_t k)
{
	double x = tensor_get(a, k), y = tensor_get(b, k);
	double within = dtypeinfo[a->dt].bytes >= 4 ? 1e-4 : 0.06;

	return fabs(x - y) <= within * (1 + fabs(x));
}

static bool
equal(const Case *c, const Tensor *a, const Tensor *b)
{
	size_t size = dtypeinfo[a->dt].bytes;

	if (a->dt != b->dt || a->bytes != b->bytes)
		return false;
	for (int64_t k = 0; k < tensor_numel(a); k++) {
		if (memcmp((char *)a->data + (size_t)k * size, (char *)b->data + (size_t)k * size, size) == 0)
			continue;
		if (dt_float(a->dt) && isnan(tensor_get(a, k)) && isnan(tensor_get(b, k)))
			continue;
		if (c->rule->fast && close(a, b, k))
			continue;
		printf("# element %lld: %.9g became %.9g\n", (long long)k, tensor_get(a, k), tensor_get(b, k));
		return false;
	}
	return true;
}

static void
print(const Case *c, const char *when)
{
	Text t = {.arena = c->a};

	graph_print(c->g, &t);
	printf("# %s, with the rule at %s:%d\n", when, c->rule->file, c->rule->line);
	for (char *s = strtok(t.s, "\n"); s; s = strtok(NULL, "\n"))
		printf("# %s\n", s);
}

static Node *
instance(Case *c, const Ast *pattern)
{
	LVal v;

	lang_init(&c->L, c->cx, NULL, NULL, NOLOC, LangTensor);
	c->L.g = c->g;
	if (!names(c, pattern) || !lang_run(&c->L, "pattern", c->rule->pattern, FormExpr, &v) || v.kind != LTensor)
		return NULL;
	node_output(c->g, (Arg[]){arg_list(c->a, (Arg[]){arg_val(v.t)}, 1)}, NOLOC);
	return v.t->def;
}

/* Has every operator an element for these arguments?  Asked before the interpreter has
 * memory of its own, which it would lose where a table's line has a bug. */
static bool
runs(const Case *c)
{
	Low low;

	FOREACH_NODE(c->g, n)
		if (n->op->value && !node_low(n, 0, &low))
			return false;
	return true;
}

static enum outcome
tried(Case *c)
{
	const Ast *pattern = lang_ast(c->cx, NULL, "pattern", c->rule->pattern, FormExpr);
	Tensor before, after;
	Node *root;
	Val *v;

	c->dt = dtype(c);
	c->shape = draw(c, 2) ? 0 : (int)draw(c, NShapes);
	if ((root = instance(c, pattern)) == NULL || ctx_errors(c->cx) || root->op->flags & OP(Leaf) || !runs(c) ||
	    !graph_interp(c->g, c->a, c->in, c->nin, &before, 1, false) || ctx_errors(c->cx))
		return NoFit;
	v = rule_apply(c->rule, root);
	if (ctx_errors(c->cx)) {
		print(c, "an error");
		return Broken;
	}
	if (v == NULL)
		return NoFit;
	if (show)
		print(c, "before");
	val_replace(&root->out[0], v);
	if (show)
		print(c, "after");
	if (!graph_interp(c->g, c->a, c->in, c->nin, &after, 1, false) || !module_verify(c->g->mod)) {
		print(c, "does not run");
		return Broken;
	}
	if (equal(c, &before, &after))
		return Same;
	print(c, "another result");
	return Differs;
}

/* Arguments that no table foresees. */
static void
onbug(void *arg)
{
	longjmp(*(jmp_buf *)arg, 1);
}

static enum outcome
once(const RuleDef *r, uint64_t seed)
{
	Case c = {.rule = r, .cx = ctx_new(&(Diag){.quiet = true}), .seed = seed};
	Module *m = module_new(c.cx, intern_str(c.cx, "rule"));

	c.a = ctx_arena(c.cx);
	c.g = m->main = graph_new(m, intern_str(c.cx, "main"), NULL);
	jmp_buf here;
	volatile enum outcome o = NoFit;
	ctx_onbug(c.cx, onbug, &here);
	if (setjmp(here) == 0)
		o = tried(&c);
	ctx_free(c.cx);
	return o;
}

/* Does the rule hold?  n: in how many cases it was tried. */
static enum outcome
holds(const RuleDef *r, int *n)
{
	*n = 0;
	for (uint64_t seed = 1; seed <= (*n ? Tries : MostTries) && *n < Enough; seed++) {
		enum outcome o = once(r, seed * 7919);
		*n += o == Same;
		if (o == Differs || o == Broken)
			return o;
	}
	return *n ? Same : NoFit;
}

/* ---- the test of the test -------------------------------------------------------------------- */

static void
wrong(void)
{
#define RULE(n, p, r, w, f) {.name = n, .pattern = p, .replacement = r, .when = w, .fast = f, .pass = "test", .file = "here"}
	static const RuleDef bad[] = {
		RULE("minus_zero", "add(x, 0.0)", "x", NULL, false),
		RULE("infinity", "sub(x, x)", "full(result.shape, 0, dtype=result.dtype)", NULL, false),
		RULE("rounding", "mul(mul(x, a), b)", "mul(x, a*b)", "x.dtype.isfloat", false),
		RULE("narrow", "_to_copy(_to_copy(x, dtype=d), dtype=e)", "_to_copy(x, dtype=e)",
		 "d is not None and e is not None", false),
		RULE("order", "flip(flip(x, a), b)", "x", NULL, false),
		RULE("sign", "neg(x)", "abs(x)", NULL, true),
	};
	static const RuleDef other = RULE("type", "sum(x)", "x", "x.ndim > 0 and x.numel > 1", false);
	int n;

	for (int k = 0; k < COUNT(bad); k++) {
		enum outcome o = holds(&bad[k], &n);
		ok(o == Differs, "the wrong rule %s is caught", bad[k].name);
	}
	ok(holds(&other, &n) == NoFit, "a rule that changes the shape does not apply");
}

/* ---- the pass ------------------------------------------------------------------------------------ */

/* Operators left of an expression over x, f32[2,3]. */
static int
left(const char *text, bool fast, const char **form)
{
	Ctx *cx = ctx_new(&(Diag){0});
	Module *m = module_new(cx, intern_str(cx, "pass"));
	Graph *g = m->main = graph_new(m, intern_str(cx, "main"), NULL);
	const Sym *dim[2] = {sym_const(cx, 2), sym_const(cx, 3)};
	Node *x = node_placeholder(g, intern_str(cx, "x"), type_tensor(cx, DtF32, 2, dim), NOLOC);
	int n = 0;
	Lang L;
	LVal v;

	m->fastmath = fast;
	lang_init(&L, cx, NULL, NULL, NOLOC, LangTensor);
	L.g = g;
	lang_set(&L, "x", (LVal){.kind = LTensor, .t = &x->out[0]});
	if (!lang_run(&L, "text", text, FormExpr, &v) || v.kind != LTensor)
		return -1;
	node_output(g, (Arg[]){arg_list(ctx_arena(cx), (Arg[]){arg_val(v.t)}, 1)}, NOLOC);
	if (!pass_simplify(g) || !module_verify(m))
		return -1;
	FOREACH_NODE(g, d)
		if (!(d->op->flags & OP(Leaf)))
			n++, *form = d->op->name;
	ctx_free(cx);
	return n;
}

static void
pass(void)
{
	const char *f = "";

	ok(left("neg(neg(neg(neg(x))))", false, &f) == 0, "four signs are none");
	ok(left("relu(relu(relu(x)))", false, &f) == 1 && strcmp(f, "aten.relu.default") == 0, "three relus are one");
	ok(left("add(neg(x), exp(x))", false, &f) == 2 && strcmp(f, "aten.sub.Tensor") == 0, "a commutative operator matches turned round");
	ok(left("permute(view(permute(permute(x, [1, 0]), [1, 0]), [2, 3]), [0, 1])", false, &f) == 0, "permutations cancel");
	ok(left("add(x, 0.0)", false, &f) == 1, "a fast rule does not run");
	ok(left("add(x, 0.0)", true, &f) == 0, "a fast rule runs with fastmath");
	ok(left("mul(x, -1)", false, &f) == 1 && strcmp(f, "aten.neg.default") == 0, "times -1 is neg");
	ok(left("add(x, neg(x), alpha=2)", false, &f) == 2, "an argument that is not mentioned has its default");
}

int
main(int argc, char **argv)
{
	show = argc > 1;
	for (int k = 0; k < nruletab; k++) {
		const RuleDef *r = &ruletab[k];
		bool wanted = argc == 1;
		int n;
		for (int i = 1; i < argc; i++)
			wanted |= strcmp(argv[i], r->name) == 0;
		if (!wanted)
			continue;
		enum outcome o = holds(r, &n);
		ok(o == Same, "%s:%d %s%s%s", r->file, r->line, r->name, r->fast ? " (fast)" : "",
		   o == NoFit ? ": no arguments were found that it applies to" : "");
		fflush(stdout);
	}
	if (argc == 1) {
		pass();
		wrong();
	}
	printf("1..%d\n", tests);
	return failed != 0;
}
