/* test_partition.c - the minimum cut, what values cost, what is saved, what the parts are. */
#include <stdlib.h>
#include "front/front.h"
#include "partition/part.h"
#include "tap.h"

static Ctx *cx;

static Module *
read(const char *text)
{
	File f = {.name = "t.fxg", .data = (const uint8_t *)text, .size = strlen(text)};
	ReadOptions ro = {0};
	Module *m = read_model(cx, &f, &ro);

	if (m && graph_infer(m->main))
		m->decomp = DecompTorch;
	return m;
}

/* A joint graph: inputs of the same type, statements, results. */
static const char *
joint_text(const char *type, const char *in, const char *body, const char *result)
{
	return arena_printf(ctx_arena(cx),
	                    "class M(torch.nn.Module):\n"
	                    "    def forward(self, primals, tangents):\n"
	                    "        primals_1: \"%s\"; primals_2: \"%s\"; tangents_1: \"%s\";\n"
	                    "        %s, = fx_pytree.tree_flatten_spec([primals, tangents], self._in_spec)\n"
	                    "%s"
	                    "        return pytree.tree_unflatten([%s], self._out_spec)\n",
	                    type, type, type, in, body, result);
}

#define OP1(name, op, x) "        " name " = torch.ops.aten." op ".default(" x ")\n"
#define OP2(name, op, x, y) "        " name " = torch.ops.aten." op ".Tensor(" x ", " y ")\n"
#define MM(name, x, y) "        " name " = torch.ops.aten.mm.default(" x ", " y ")\n"

/* Names of what forward saves. */
static const char *
saved(const Module *m)
{
	Text t = {.arena = ctx_arena(cx)};

	text_put(&t, "", 0);
	for (int i = 0; i < m->out.n; i++)
		if (m->out.v[i].kind == ResSaved)
			text_add(&t, "%s%s", t.n ? " " : "", m->out.v[i].target);
	return t.s ? t.s : "";
}

static const char *
calls(const Module *m)
{
	Text t = {.arena = ctx_arena(cx)};

	FOREACH_NODE(m->main, n)
		if (!(n->op->flags & OP(Leaf)))
			text_add(&t, "%s%s", t.n ? " " : "", n->name);
	return t.s ? t.s : "";
}

/* ---- flow -------------------------------------------------------------------------- */

enum { V = 8 };

static int64_t
cutvalue(int64_t cap[V][V], unsigned sinkside)
{
	int64_t sum = 0;

	for (int i = 0; i < V; i++)
		for (int k = 0; k < V; k++)
			if (!(sinkside >> i & 1) && sinkside >> k & 1)
				sum += cap[i][k];
	return sum;
}

/* Against every cut of small random networks; among equal ones the sink's side is the smallest. */
static void
flow(void)
{
	uint32_t seed = 1;
	int wrong = 0, far = 0;

	for (int round = 0; round < 300; round++) {
		Arena *a = arena_new();
		Flow *f = flow_new(a, V);
		int64_t cap[V][V] = {0}, best = INT64_MAX, value = 0;
		unsigned least = 0, got = 0;

		for (int i = 0; i < V; i++)
			for (int k = 0; k < V; k++) {
				seed = seed * 1664525u + 1013904223u;
				if (i == k || (seed >> 24) % 3)
					continue;
				cap[i][k] = (seed >> 16) % 5;
				flow_edge(f, i, k, cap[i][k]);
			}
		const bool *side = flow_solve(f, 0, 1, &value);
		for (unsigned s = 0; s < 1u << V; s++)
			if (!(s & 1) && s & 2 && cutvalue(cap, s) < best)
				best = cutvalue(cap, s);
		least = (1u << V) - 1;
		for (unsigned s = 0; s < 1u << V; s++)
			if (!(s & 1) && s & 2 && cutvalue(cap, s) == best)
				least &= s;
		for (int i = 0; side && i < V; i++)
			got |= side[i] ? 1u << i : 0;
		wrong += side == NULL || value != best;
		far += got != least;
		arena_free(a);
	}
	OK(wrong == 0);
	OK(far == 0);
	Arena *a = arena_new();
	Flow *f = flow_new(a, 4);
	int path[4];
	int64_t v;
	flow_edge(f, 0, 2, -1);
	flow_edge(f, 2, 3, -1);
	flow_edge(f, 3, 1, -1);
	OK(flow_solve(f, 0, 1, &v) == NULL && flow_path(f, 0, 1, path) == 4 && path[1] == 2 && path[2] == 3);
	arena_free(a);
}

/* ---- the knapsack -------------------------------------------------------------------- */

static double
worth(const Item *item, int n, unsigned set, double *memory)
{
	double work = 0;

	*memory = 0;
	for (int i = 0; i < n; i++)
		if (set >> i & 1) {
			*memory += item[i].memory;
			work += item[i].work;
		}
	return work;
}

/* The exact solver against all choices, with items that are equal among them; the others stay below. */
static void
knapsacks(void)
{
	enum { N = 10 };
	uint32_t seed = 7;
	int wrong = 0, over = 0, better = 0;

	for (int round = 0; round < 200; round++) {
		Item item[N];
		double budget = 0, best = 0, memory;

		for (int i = 0; i < N; i++) {
			seed = seed * 1664525u + 1013904223u;
			item[i] = (Item){i, i, (seed >> 24) % 7 / 10., 1 + (seed >> 16) % 5};
			budget += item[i].memory / 2;
		}
		for (unsigned s = 0; s < 1u << N; s++) {
			double w = worth(item, N, s, &memory);
			best = memory <= budget + 1e-9 && w > best ? w : best;
		}
		for (enum solver how = SolveDp; how <= SolveIlp; how++) {
			PartOptions o = {.solver = how};
			Joint j = {.cx = cx, .a = ctx_arena(cx), .o = &o};
			bool save[N] = {0};
			unsigned s = 0;
			double w;

			knapsack(&j, item, N, budget, save);
			for (int i = 0; i < N; i++)
				s |= save[i] ? 1u << i : 0;
			w = worth(item, N, s, &memory);
			over += memory > budget + 1e-9;
			better += w > best + 1e-9;
			wrong += how != SolveGreedy && w != best;
		}
	}
	OK(wrong == 0);
	OK(over == 0);
	OK(better == 0);
}

/* ---- the graph, weights ---------------------------------------------------------------- */

static const char mlp[] =
	MM("mm", "primals_1", "primals_2")
	OP1("sin", "sin", "mm")
	OP1("cos", "cos", "mm")
	OP2("mul", "mul", "tangents_1", "cos")
	"        permute = torch.ops.aten.permute.default(primals_1, [1, 0])\n"
	MM("mm_1", "permute", "mul");

static int
find(const Joint *j, const char *name)
{
	for (int i = 0; i < j->n; i++)
		if (j->v[i].val && strcmp(j->v[i].val->name, name) == 0)
			return i;
	return 0;
}

static void
weights(void)
{
	Module *m = read(joint_text("f32[16, 16]", "primals_1, primals_2, tangents_1", mlp, "sin, None, mm_1"));
	PartOptions o = {.how = PartMincut, .budget = 1};
	Arena *a = arena_new();
	Joint *j = joint_new(m, a, &o);
	const char *cannot;
	/* 16*16*4 bytes = 1024, times 1.1 for each step to backward, at least one; twice if only fused. */
	static const struct { const char *name; int64_t weight; const char *part; int dist; } want[] = {
		{"primals_1", 1126, "fw", 1},      /* read by permute, which is not forward's */
		{"primals_2", 1239, "fw", 2},      /* mm, then cos: 1024*1.21 */
		{"mm", 1126, "fw", 1},             /* not fusible with its readers: in memory anyway */
		{"sin", 14111347, "fw", Far},      /* a result: 1024*1.1^100 */
		{"cos", 2252, "either", 0},
		{"permute", 1126, "either", 0},
		{"mul", 1126, "bw", 0},
	};

	for (int i = 0; i < COUNT(want); i++) {
		int k = find(j, want[i].name);
		const Fx *x = &j->v[k];

		STREQ(x->closure ? "bw" : x->fw ? "fw" : "either", want[i].part);
		OK(x->dist == want[i].dist);
		OK(fx_weight(j, k, &cannot) == want[i].weight);
	}
	j->v[find(j, "primals_1")].stat = true;
	OK(fx_weight(j, find(j, "primals_1"), &cannot) == 0);
	o.recompute_views = true;
	OK(fx_weight(j, find(j, "permute"), &cannot) == -1 && cannot);
	OK(optype(m, op_find("aten.mm.default"), NULL) == OpIntensive);
	OK(optype(m, op_find("aten.add.Tensor"), NULL) == OpRecompute);
	OK(optype(m, op_find("aten.embedding.default"), NULL) == 0);
	m->decomp = DecompNative;
	OK(optype(m, op_find("aten.embedding.default"), NULL) == OpRecompute);
	arena_free(a);
}

/* ---- cuts ------------------------------------------------------------------------------------ */

static Module *
cut(const char *text, const PartOptions *o)
{
	Module *m = read(text);

	return m && partition(m, o) && module_verify(m) && module_verify(m->backward) ? m : NULL;
}

static void
parts(void)
{
	const char *text = joint_text("f32[16, 16]", "primals_1, primals_2, tangents_1", mlp, "sin, None, mm_1");
	PartOptions o = {.how = PartMincut, .budget = 1};
	Module *m = cut(text, &o);

	STREQ(saved(m), "mm permute");
	STREQ(calls(m), "mm sin permute");
	STREQ(calls(m->backward), "cos mul mm_1");
	OK(m->backward->in.n == 3 && m->backward->in.v[0].kind == InSaved && m->backward->in.v[2].kind == InTangent);
	OK(m->backward->in.v[0].donated && !m->backward->in.v[1].donated);       /* permute is a view of an input */
	OK(m->backward->out.n == 2 && m->backward->main->last->arg[0].list.v[0].kind == ArgNone);
	o.budget = 0;
	STREQ(saved(cut(text, &o)), "primals_1 primals_2");
	o.budget = 1;
	o.how = PartDefault;
	STREQ(saved(cut(text, &o)), "primals_1 mm");
}

/* The last bytes that are asked for decide; less memory, more work. */
static void
limits(void)
{
	const char *text = joint_text("f32[16, 16]", "primals_1, primals_2, tangents_1",
	                              MM("a", "primals_1", "primals_2") OP1("b", "sin", "a") MM("c", "b", "primals_2")
	                              OP1("d", "sin", "c")
	                              OP1("e", "cos", "c") OP2("f", "mul", "tangents_1", "e")
	                              MM("g", "f", "primals_2") OP1("h", "cos", "a") OP2("i", "mul", "g", "h")
	                              MM("k", "i", "primals_2"),
	                              "d, k, None");
	int last = 1000;

	for (int64_t bytes = 2048; bytes <= 8192; bytes += 1024) {
		PartOptions o = {.how = PartMincut, .budget = 1, .maxbytes = bytes};
		Module *m = cut(text, &o);
		int n = 0;

		if (m)
			FOREACH_NODE(m->backward->main, c)
				n += op_is(c->op, "aten.mm");
		OK(m != NULL && n <= last);
		last = n;
	}
	OK(last == 2);
}

static Node *
named(Module *m, const char *name)
{
	FOREACH_NODE(m->main, n)
		if (strcmp(n->name, name) == 0)
			return n;
	return NULL;
}

/* What one checkpointed region hands to the next is saved; the rest is done again. */
static void
checkpoints(void)
{
	const char *text = joint_text("f32[16, 16]", "primals_1, primals_2, tangents_1",
	                              OP1("a", "sin", "primals_1") OP1("b", "exp", "a") OP1("c", "sin", "b") OP1("d", "exp", "c")
	                              OP2("e", "mul", "tangents_1", "d") OP1("f", "cos", "b") OP2("g", "mul", "e", "f")
	                              OP2("h", "mul", "g", "b") OP1("i", "cos", "primals_1") OP2("k", "mul", "h", "i"),
	                              "d, k, None");
	static const char *const name[] = {"a", "b", "c", "d"};
	PartOptions o = {.how = PartMincut, .budget = 1};

	for (int how = 0; how < 2; how++) {
		Module *m = read(text);

		for (int i = 0; i < 4; i++) {
			named(m, name[i])->recompute = PreferRecompute;
			named(m, name[i])->acgraph = 1 + (how && i >= 2);
		}
		OK(partition(m, &o));
		STREQ(saved(m), how ? "primals_1 b" : "primals_1");
		STREQ(calls(m->backward), how ? "c d e f g h i k" : "a b c d e f g h i k");
		STREQ(how ? named(m->backward, "c")->origin : named(m->backward, "a")->origin, how ? "c" : "a");
	}
}

/* A value that may neither be saved nor computed again is an error that says so. */
static void
impossible(void)
{
	Module *m = read(joint_text("f32[16, 16]", "primals_1, primals_2, tangents_1", mlp, "sin, None, mm_1"));
	PartOptions o = {.how = PartMincut, .budget = 1};
	Arena *a = arena_new();
	Joint *j = joint_new(m, a, &o);
	Bans b = {.allowlist = true};
	Cut c;
	int before = ctx_errors(cx);

	j->v[find(j, "primals_1")].epilogue = true;
	j->v[find(j, "permute")].closure = j->v[find(j, "permute")].bw = true;
	OK(!mincut(j, &b, NULL, &c) && ctx_errors(cx) == before + 1);
	arena_free(a);
}

/* Parameters that nobody writes need not travel. */
static void
shares(void)
{
	Module *m = read(joint_text("f32[16, 16]", "primals_1, primals_2, tangents_1", mlp, "sin, None, mm_1"));
	PartOptions o = {.how = PartMincut, .budget = 1, .recompute_views = true};

	m->in.v[0].kind = InParam;
	m->in.v[0].target = intern_str(cx, "w");
	OK(partition(m, &o));
	STREQ(saved(m), "primals_1 mm");
	OK(partition_share(m) && module_verify(m));
	STREQ(saved(m), "mm");
	OK(m->backward->in.v[0].kind == InParam && strcmp(m->backward->in.v[0].target, "w") == 0);
}

/* ---- random graphs ------------------------------------------------------------------------ */

static uint32_t seed = 7;

static int
below(int n)
{
	seed = seed * 1664525u + 1013904223u;
	return (int)((seed >> 8) % (uint32_t)n);
}

enum { Dim = 4, Most = 64 };

/* A node on values drawn from v[0..n-1]. */
static Val *
random_node(Graph *g, Val *const *v, int n)
{
	static const char *const unary[] = {"aten.sin", "aten.cos", "aten.neg", "aten.clone", "aten.relu"};
	static const char *const binary[] = {"aten.mul.Tensor", "aten.sub.Tensor", "aten.maximum"};
	Arg a[6];
	const OpDef *op;
	Node *c;

	switch (below(8)) {
	case 0: case 1: case 2:
		op = op_find(unary[below(COUNT(unary))]);
		break;
	case 3: case 4:
		op = op_find(binary[below(COUNT(binary))]);
		break;
	case 5:
		op = op_find("aten.mm.default");
		break;
	case 6:
		op = op_find("aten.permute.default");
		break;
	default:
		op = op_find("aten.aminmax");
	}
	for (int i = 0; i < op->nparam; i++)
		a[i] = op->param[i].type == AtTensor ? arg_val(v[below(n)]) :
		       strcmp(op->param[i].name, "alpha") == 0 ? arg_int(cx, 1) : arg_none();
	if (op_is(op, "aten.permute"))
		a[1] = arg_list(g->arena, (Arg[]){arg_int(cx, 1), arg_int(cx, 0)}, 2);
	if (op_is(op, "aten.aminmax")) {
		a[1] = arg_none();
		a[2] = arg_bool(false);
	}
	c = node_new(g, op, a, op->nparam, op_is(op, "aten.aminmax") ? 2 : 1, NULL, NOLOC);
	if (!node_infer(c))
		return v[0];
	return &c->out[below(c->nout)];
}

/* Two inputs, a tangent; some forward nodes, some that also read the tangent. */
static Module *
random_joint(void)
{
	Module *m = module_new(cx, intern_str(cx, "m"));
	Graph *g = m->main = graph_new(m, intern_str(cx, "main"), NULL);
	const Type *t = type_tensor(cx, DtF32, 2, (const Sym *[]){sym_const(cx, Dim), sym_const(cx, Dim)});
	Val *v[Most];
	Arg res[3];
	int n = 0, nf;

	for (int i = 0; i < 3; i++) {
		Node *p = node_placeholder(g, intern_printf(cx, i < 2 ? "primals_%d" : "tangents_%d", i < 2 ? i + 1 : 1), t, NOLOC);

		v[n++] = &p->out[0];
		vec_push(ctx_arena(cx), &m->in, (Input){.kind = i < 2 ? InUser : InTangent, .val = &p->out[0], .name = p->name, .argname = p->name});
	}
	n = 2;
	for (int k = 4 + below(20); k > 0; k--) {
		v[n] = random_node(g, v, n);
		if (v[n]->type == t)
			n++;
		if (below(5) == 0)
			v[n - 1]->def->recompute = (uint8_t)(below(2) ? PreferRecompute : MustSave);
	}
	nf = n;
	v[n++] = &m->in.v[2].val->def->out[0];
	for (int k = 4 + below(20); k > 0; k--) {
		v[n] = random_node(g, v, n);
		v[n]->def->backward = true;
		if (v[n]->type == t)
			n++;
	}
	res[0] = arg_val(v[below(nf)]);
	res[1] = below(6) ? arg_val(v[n - 1]) : arg_none();
	res[2] = arg_val(v[below(n)]);
	node_output(g, &(Arg){.kind = ArgList, .list = {res, 3}}, NOLOC);
	for (int i = 0; i < 3; i++)
		vec_push(ctx_arena(cx), &m->out, (Output){.kind = i ? ResGradUser : ResUser, .name = intern_printf(cx, "out%d", i),
		         .target = i ? m->in.v[i - 1].name : NULL});
	return m;
}

static bool
alike(const Tensor *a, const Tensor *b)
{
	return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

/* Results of the joint graph and of its parts, in turn. */
static bool
same_results(Module *joint, Module *parts, const Tensor *in)
{
	Module *b = parts->backward;
	Arena *a = ctx_arena(cx);
	int n = parts->out.n;
	Tensor want[3], *fw = NEWN(a, Tensor, n + 1), *bin = NEWN(a, Tensor, b->in.n + 1), bw[2];
	bool ok = graph_interp(joint->main, a, in, 3, want, 3, false) && graph_interp(parts->main, a, in, 2, fw, n, false);

	for (int i = 0; i < b->in.n; i++) {
		if (b->in.v[i].kind == InTangent)
			bin[i] = in[2];
		for (int k = 0; k < n; k++)
			if (parts->out.v[k].kind == ResSaved && parts->out.v[k].target == b->in.v[i].target)
				bin[i] = fw[k];
	}
	ok = ok && graph_interp(b->main, a, bin, b->in.n, bw, 2, false);
	return ok && alike(&want[0], &fw[0]) && alike(&want[2], &bw[1]) &&
	       (joint->main->last->arg[0].list.v[1].kind != ArgVal || alike(&want[1], &bw[0]));
}

static void
random_graphs(void)
{
	static const double budget[] = {1, 0.5, 0.2, 0, 1, 1};
	float data[3][Dim * Dim];
	Tensor in[3];
	int wrong = 0;

	for (int i = 0; i < 3; i++) {
		in[i] = (Tensor){.dt = DtF32, .rank = 2, .dim = {Dim, Dim}, .data = data[i], .bytes = sizeof data[i]};
		for (int k = 0; k < Dim * Dim; k++)
			data[i][k] = (float)below(1000) / 500 - 1;
	}
	for (int i = 0; i < 600; i++) {
		uint32_t start = seed;
		Module *joint = random_joint(), *m;
		PartOptions o = {.how = i % 7 == 4 ? PartDefault : PartMincut, .budget = budget[i % 6], .aggressive = i % 6 == 5,
		                 .recompute_views = i % 2};

		seed = start;
		m = random_joint();
		m->decomp = i % 2 ? DecompNative : DecompTorch;
		if (!partition(m, &o) || !module_verify(m) || !module_verify(m->backward) || !same_results(joint, m, in)) {
			wrong++;
			printf("# graph %d of seed %u\n", i, (unsigned)start);
		}
	}
	OK(wrong == 0);
	wrong = 0;
	for (int i = 0; i < 200; i++) {                     /* one function, its tags heeded */
		uint32_t start = seed;
		Module *joint = random_joint(), *m;
		PartOptions o = {.how = PartNone};
		Tensor want[3], got[3];

		seed = start;
		m = random_joint();
		wrong += !partition(m, &o) || !module_verify(m) || !graph_interp(joint->main, ctx_arena(cx), in, 3, want, 3, false) ||
		         !graph_interp(m->main, ctx_arena(cx), in, 3, got, 3, false) || !alike(&want[0], &got[0]) ||
		         !alike(&want[2], &got[2]) ||
		         (joint->main->last->arg[0].list.v[1].kind == ArgVal && !alike(&want[1], &got[1]));
	}
	OK(wrong == 0);
}

/* One function: what is checkpointed is done again where backward wants it. */
static void
one_function(void)
{
	Module *m = read(joint_text("f32[16, 16]", "primals_1, primals_2, tangents_1",
	                            OP1("a", "sin", "primals_1") OP1("b", "exp", "a") OP1("c", "sin", "b")
	                            OP1("d", "cos", "b") OP2("e", "mul", "tangents_1", "d") OP2("f", "mul", "e", "a"),
	                            "c, f, None"));
	PartOptions o = {.how = PartNone};

	for (const char *s = "abc"; *s; s++)
		named(m, (char[]){*s, 0})->recompute = PreferRecompute;
	for (const char *s = "def"; *s; s++)
		named(m, (char[]){*s, 0})->backward = true;
	OK(partition(m, &o) && module_verify(m));
	STREQ(calls(m), "a b c sin exp d e f");
	OK(strcmp(named(m, "exp")->origin, "b") == 0);
}

int
main(void)
{
	Diag d = {.quiet = true};

	cx = ctx_new(&d);
	flow();
	knapsacks();
	weights();
	parts();
	limits();
	checkpoints();
	impossible();
	shares();
	one_function();
	random_graphs();
	ctx_free(cx);
	return tap_end();
}
