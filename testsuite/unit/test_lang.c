/* test_lang.c - the table language: syntax, types, messages, elements, and every
 * sample of every table taken through inference, expansion and lowering.
 *
 *   test_lang           TAP
 *   test_lang NAME...   the samples of these operators, with what they become
 */
#include <stdlib.h>
#include "ir/lang.h"
#include "opsample.h"

static int tests, failed;

PRINTF(2, 3) static void
ok(bool good, const char *fmt, ...)
{
	char text[1000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	for (char *s = text; *s; s++)
		if (*s == '\n')
			*s = ';';
	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, text);
	failed += !good;
}

/* ---- samples -------------------------------------------------------------------- */

static bool
expandall(Graph *g)
{
	for (int round = 0; round < 60; round++) {
		bool any = false;
		for (Node *n = g->first, *next; n; n = next) {
			next = n->next;
			if (n->op->expand == NULL || op_route(n->op) != RouteExpand)
				continue;
			if (!node_expand(n))
				return false;
			any = true;
		}
		if (!any)
			return true;
	}
	return false;
}

static bool
lowall(Graph *g, bool show)
{
	bool good = true;

	FOREACH_NODE(g, n)
		for (int k = 0; k < n->nout; k++) {
			Low low;
			if (n->op->flags & (OP(Mutates) | OP(Inplace)))
				continue;
			if (!node_low(n, k, &low)) {
				good = false;
				continue;
			}
			if (show && low.element)
				printf("#   %s.%d %s = %s\n", n->op->name, k, type_str(g->cx, n->out[k].type),
				       ex_str(g->cx, low.element));
			if (show && low.kind == LowExtern)
				printf("#   %s.%d %s = extern %s\n", n->op->name, k,
				       type_str(g->cx, n->out[k].type), low.fn);
		}
	return good;
}

static bool
run(const OpDef *op, const char *text, bool symbolic, bool show)
{
	Ctx *cx = ctx_new(&(Diag){.out = stdout});
	Sample p;
	bool good = sample_make(&p, cx, op, text, false, symbolic);

	if (good && !(p.node->nout && p.node->out[0].type->kind == TySym)) {
		sample_output(&p, NULL, 0);
		for (int k = 0; show && k < p.node->nout; k++)
			printf("#   %s\n", type_str(cx, p.node->out[k].type));
		if (!(op->flags & (OP(Inplace) | OP(Mutates))))
			good = expandall(p.g) && graph_infer(p.g) && lowall(p.g, show);
	}
	good = good && ctx_errors(cx) == 0;
	if (!good)
		printf("#   failed%s: %s: %s\n", symbolic ? " with symbols" : "", op->name, text);
	fflush(stdout);
	ctx_free(cx);
	return good;
}

/* How many results, or how often a loop of the table runs: with symbols such a sample has no answer. */
static bool
needsknown(const char *name)
{
	static const char *const part[] = {"split", "unbind", "combinations", ".cross.", "_lu.", "unique_dim.", "orgqr_back"};

	for (int k = 0; k < COUNT(part); k++)
		if (strstr(name, part[k]))
			return true;
	return false;
}

static void
samples(int argc, char **argv)
{
	int all = 0, bad = 0;

	for (int k = 0; k < noptab; k++) {
		const OpDef *op = &optab[k];
		bool wanted = argc == 1;
		for (int j = 1; j < argc; j++)
			wanted |= strstr(op->name, argv[j]) != NULL;
		for (int s = 0; wanted && s < op->nsample; s++) {
			if (argc > 1)
				printf("# %s: %s\n", op->name, op->sample[s]);
			all++;
			bad += !run(op, op->sample[s], false, argc > 1);
			if (needsknown(op->name))
				continue;
			all++;
			bad += !run(op, op->sample[s], true, argc > 1);
		}
	}
	ok(bad == 0, "samples of the tables: %d of %d", all - bad, all);
}

/* ---- lines ------------------------------------------------------------------------- */

static void
parses(const char *text, enum langform form, bool good)
{
	Ctx *cx = ctx_new(&(Diag){.quiet = true});

	ok((lang_parse(cx, text, form, "t.op", 1) != NULL) == good, "%s: %s",
	   good ? "parses" : "is refused", text);
	ctx_free(cx);
}

static void
syntax(void)
{
	parses("a if b else c", FormExpr, true);
	parses("sum(x[i, k]*y[k] for k in n if k < 2 for l in [1, 2])", FormExpr, true);
	parses("a = 1\nb = a +\n  2\nreturn [a, *b]", FormExpr, true);
	parses("if a:\n  return 1\nelif b: return 2\nelse:\n  x = 3\n  return x", FormBlock, true);
	parses("a < b, \"message\";\nc, 'other'", FormWhere, true);
	parses("f(x, y=2, *z)", FormExpr, true);
	parses("lambda j: [j[0], *j[1:], j[::-1]]", FormExpr, true);
	parses("not a in b and c is not None", FormExpr, true);
	parses("-x**-2", FormExpr, true);
	parses("1e-5 + .5 + 0x10", FormExpr, true);
	parses("a +", FormExpr, false);
	parses("(a", FormExpr, false);
	parses("if a:\n  x = 1\n y = 2", FormBlock, false);
	parses("'open", FormExpr, false);
	parses("a $ b", FormExpr, false);
	parses("", FormExpr, false);
	parses("return", FormBlock, false);
	parses("a b", FormExpr, false);
}

/* Plain values. */
static void
gives(const char *text, const char *want)
{
	Ctx *cx = ctx_new(&(Diag){.quiet = true});
	Module *m = module_new(cx, intern_str(cx, "m"));
	Lang L;
	LVal v;

	lang_init(&L, cx, m, NULL, NOLOC, LangPlain);
	lang_set(&L, "s", lang_sym(sym_var(cx, intern_str(cx, "s0"), 2, 100)));
	lang_set(&L, "t", lang_sym(sym_var(cx, intern_str(cx, "s1"), 2, 100)));
	const char *got = lang_run(&L, "test", text, FormExpr, &v) ? lang_str(cx, v) : "an error";
	ok(strcmp(got, want) == 0, "%s = %s%s%s", text, want,
	   strcmp(got, want) ? ", not " : "", strcmp(got, want) ? got : "");
	ctx_free(cx);
}

static void
plain(void)
{
	gives("7//-2", "-4");
	gives("-7 % 3", "2");
	gives("7/2", "3.5");
	gives("2**10", "1024");
	gives("[1, *[2, 3], 4][1:3]", "[2, 3]");
	gives("[1, 2, 3][::-1]", "[3, 2, 1]");
	gives("[k*k for k in range(5) if k % 2 == 0]", "[0, 4, 16]");
	gives("[a + b for a, b in zip([1, 2], [3, 4])]", "[4, 6]");
	gives("sum([1, 2]) + prod([3, 4])", "15");
	gives("max(1, 3, 2) if len([1]) == 1 else 0", "3");
	gives("s*t//t", "s0");
	gives("s == t", "False");
	gives("s != t", "False");
	gives("s >= 2 and s <= 100", "True");
	gives("s == s and not (s == 1)", "True");
	gives("ceildiv(2*s, 2)", "s0");
	gives("infer_size([-1, s], s*t)", "[s1, s0]");
	gives("broadcast([s, 1], [3])", "[s0, 3]");
	gives("normdims([-1, 0], 3)", "[2, 0]");
	gives("normdim(3, 3)", "an error");
	gives("promote(f32, i64)", "f32");
	gives("f32.isfloat and i8.max == 127", "True");
	gives("viewstride([2, 3, 4], [12, 4, 1], [6, 4])", "[4, 1]");
	gives("viewstride([2, 3], [1, 2], [6])", "None");
	gives("viewstride([s, t], [t, 1], [s*t])", "[1]");
	gives("reindex([s, t], [100, 200], [100, 200])", "[s0, s1]");
	gives("unflat(17, [2, 3, 4])", "[1, 1, 1]");
	gives("flat([1, 1, 1], [2, 3, 4])", "17");
	gives("[3, 1, 2].index(1)", "1");
	gives("sorted([3, 1, 2])", "[1, 2, 3]");
	gives("2 in [1, 2] and 5 not in [1, 2]", "True");
	gives("x", "an error");
	gives("[1][2]", "an error");
	gives("1//0", "an error");
	gives("n = 0\nfor k in range(4):\n  n += k\nreturn n", "6");
	gives("f = lambda a, b: a - b\nreturn f(5, 3)", "2");
}

/* ---- messages and types ---------------------------------------------------------------- */

static const Type *
shape(Ctx *cx, enum dtype dt, const char *dims)
{
	const Sym *dim[MaxRank];
	int n = 0;

	for (const char *s = dims; *s; s++)
		if (*s >= '0' && *s <= '9')
			dim[n++] = sym_const(cx, *s - '0');
		else
			dim[n++] = sym_var(cx, intern(cx, s, 1), 2, 1000);
	return type_tensor(cx, dt, n, dim);
}

/* The type that op gives for tensors of these sizes (digits, letters are symbols), or the
 * first line of its message. */
static void
types(const char *name, enum dtype da, const char *a, enum dtype db, const char *b, const char *want)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	Ctx *cx = ctx_new(&(Diag){.out = f});
	Module *m = module_new(cx, intern_str(cx, "m"));
	Graph *g = graph_new(m, intern_str(cx, "g"), NULL);
	const OpDef *op = op_find(name);
	Arg pos[2], bound[16];
	const Type **type;
	int n;

	pos[0] = arg_val(&node_placeholder(g, intern_str(cx, "a"), shape(cx, da, a), NOLOC)->out[0]);
	pos[1] = arg_val(&node_placeholder(g, intern_str(cx, "b"), shape(cx, db, b), NOLOC)->out[0]);
	const char *got = "nothing";
	if (op && op_bind(cx, NOLOC, op, pos, 2, NULL, NULL, 0, bound) &&
	    infer_types(g, NOLOC, op, bound, &type, &n) && n == 1)
		got = type_str(cx, type[0]);
	fclose(f);
	if (strcmp(got, "nothing") == 0) {
		text[strcspn(text, "\n")] = '\0';
		got = strstr(text, "error: ") ? strstr(text, "error: ") + 7 : text;
	}
	ok(strcmp(got, want) == 0, "%s of %s and %s: %s%s%s", name, a, b, want,
	   strcmp(got, want) ? ", not " : "", strcmp(got, want) ? got : "");
	ctx_free(cx);
	free(text);
}

static void
inference(void)
{
	types("aten.mm.default", DtF32, "23", DtF32, "45", "mm: inner sizes differ: 3 and 4");
	types("aten.mm.default", DtF32, "s3", DtF32, "3t", "f32[s, t]");
	types("aten.add.Tensor", DtF32, "23", DtF32, "24",
	      "aten.add.Tensor: shapes do not broadcast: 3 and 4");
	types("aten.add.Tensor", DtF32, "s1", DtBF16, "5", "f32[s, 5]");
	types("aten.add.Tensor", DtI32, "3", DtI64, "", "i32[3]");
	types("aten.add.Tensor", DtI32, "3", DtF64, "", "f64[3]");
	types("aten.add.Tensor", DtF16, "3", DtBF16, "3", "f32[3]");
	types("aten.div.Tensor", DtI64, "3", DtI64, "3", "f32[3]");
	types("aten.eq.Tensor", DtF32, "23", DtI64, "3", "b8[2, 3]");
	types("aten.add_.Tensor", DtF32, "23", DtF32, "3", "f32[2, 3]");
	types("aten.matmul.default", DtF32, "s23", DtF32, "3", "f32[s, 2]");
}

int
main(int argc, char **argv)
{
	if (argc == 1) {
		syntax();
		plain();
		inference();
	}
	samples(argc, argv);
	printf("1..%d\n", tests);
	return failed != 0;
}
