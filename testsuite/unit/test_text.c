/* test_text.c - FX text: every kind of statement, both forms, logs, pragmas, messages;
 * and that what is printed reads back to the same.
 */
#include <stdlib.h>
#include "front/front.h"
#include "front/infix.h"
#include "said.h"
#include "tap.h"


static Module *
reads(Ctx *cx, const char *s, const char *section, const char *type)
{
	File *f = NEW(ctx_arena(cx), File);
	ReadOptions opt = { .section = section, .type = &type, .ntype = type != NULL };

	*f = (File){ .name = "t.fxg", .data = (const uint8_t *)s, .size = strlen(s) };
	return read_text(cx, f, &opt);
}

/* The statements of s as canonical text, without their comments and types; then
 * whether the whole printed text reads back to the same text. */
static char *
body(Module *m)
{
	Arena *a = ctx_arena(m->cx);
	Text t = {.arena = a}, out = {.arena = a};

	graph_print(m->main, &t);
	text_put(&out, "", 0);
	for (char *l = strtok(t.s, "\n"); l; l = strtok(NULL, "\n")) {
		char *colon, *eq;

		l += strspn(l, " ");
		if (*l == '#' || strncmp(l, "class", 5) == 0 || strncmp(l, "def", 3) == 0)
			continue;
		colon = strchr(l, ':');
		eq = strstr(l, " = ");
		if (colon && eq && colon < eq)
			text_add(&out, "%s%.*s%s", out.n ? "; " : "", (int)(colon - l), l, eq);
		else
			text_add(&out, "%s%s", out.n ? "; " : "", l);
	}
	return out.s;
}

static bool
again(Module *m)
{
	Ctx *cx = ctx_new(&diag);
	Text a = {.arena = ctx_arena(m->cx)}, b = {.arena = ctx_arena(cx)};
	Module *n;
	bool same;

	module_print(m, &a);
	n = reads(cx, a.s, NULL, NULL);
	if (n)
		module_print(n, &b);
	same = n && a.n == b.n && memcmp(a.s, b.s, a.n) == 0;
	if (!same)
		printf("# ---- printed\n%s# ---- read back\n%s", a.s, b.n ? b.s : "");
	ctx_free(cx);
	return same;
}

/* Text becomes these statements (NULL: only that it reads), and reads back. */
static void
is(const char *s, const char *want)
{
	Ctx *cx = begin();
	Module *m = reads(cx, s, NULL, NULL);

	fflush(sayer);
	if (!m)
		printf("# %s", said);
	if (want || !m)
		STREQ(m ? body(m) : NULL, want ? want : "");
	OK(m && again(m));
	end(cx);
}

/* One statement in a function of two matrices x, y, a mask m, and an index i. */
static void
stmt(const char *s, const char *want)
{
	char *t;

	if (asprintf(&t, "class G(torch.nn.Module):\n    def forward(self, x: \"f32[4, 6]\", y: \"f32[4, 6]\", "
	             "m: \"b8[4, 6]\", i: \"i64[2]\"):\n        %s\n", s) < 0)
		abort();
	is(t, want);
	free(t);
}

/* Text is refused with this message. */
static void
refuse(const char *s, const char *want)
{
	Ctx *cx = begin();
	Module *m = reads(cx, s, NULL, NULL);

	fflush(sayer);
	OK(!m);
	OK(strstr(said, want) != NULL);
	if (!strstr(said, want))
		printf("# got %s\n# want %s\n", said, want);
	end(cx);
}

/* ---- Form B ------------------------------------------------------------------------ */

static void
test_statements(void)
{
	stmt("r = torch.ops.aten.relu.default(x);  x = None\n        return (r,)",
	     "r = torch.ops.aten.relu.default(x); return (r,)");
	stmt("a = torch.ops.aten.add.Tensor(x, y, alpha = 2); return a",
	     "a = torch.ops.aten.add.Tensor(x, y, alpha = 2); return (a,)");
	stmt("t = torch.ops.aten.topk.default(x, 2)\n        v: \"f32[4, 2]\" = t[0]\n        return [v]",
	     "t = torch.ops.aten.topk.default(x, 2); v = t[0]; return (v,)");
	stmt("s = torch.ops.aten.split.Tensor(x, 2)\n        a = s[0]; b = s[-1]\n        return (a, b)",
	     "s = torch.ops.aten.split.Tensor(x, 2); a = s[0]; b = s[1]; return (a, b)");
	stmt("c = torch.ops.aten.cat.default([x, y]);  return (c, None, 3, 1e-05, inf)",
	     "c = torch.ops.aten.cat.default([x, y]); return (c, None, 3, 1e-05, inf)");
	stmt("f = torch.ops.aten.full.default([2, 3], -inf, dtype = torch.float16, device = device(type='cpu'), pin_memory = False)\n"
	     "        return (f,)",
	     "f = torch.ops.aten.full.default([2, 3], -inf, dtype = torch.float16, device = device(type='cpu'), pin_memory = False); return (f,)");
	stmt("g = torch.ops.aten.gelu.default(x, approximate = 'tanh')\n        return {'a': g, 'b': (x, [y])}",
	     "g = torch.ops.aten.gelu.default(x, approximate = 'tanh'); return (g, x, y)");
	stmt("c = torch.ops.aten.clone.default(x, memory_format = torch.contiguous_format); return c", NULL);
	stmt("n = aaa = None; return x", "return (x,)");
	stmt("a = (\n            x\n            + y\n        )\n        x = (\n            y\n        ) = None\n        b = (-a)\n        return (b,)",
	     "a = torch.ops.aten.add.Tensor(x, y); b = torch.ops.aten.neg.default(a); return (b,)");
	stmt("z = x\n        return (z, x)", "return (x, x)");
}

static void
test_python(void)
{
	stmt("a = x + y; return a", "a = torch.ops.aten.add.Tensor(x, y); return (a,)");
	stmt("a = 2 - x; return a", "a = torch.ops.aten.rsub.Scalar(x, 2); return (a,)");
	stmt("a = -2 ** x; return a", "a = torch.ops.aten.pow.Scalar(-2, x); return (a,)");
	stmt("a = 1 / x; return a", "reciprocal = torch.ops.aten.reciprocal.default(x); "
	     "a = torch.ops.aten.mul.Tensor(reciprocal, 1); return (a,)");
	stmt("a = -x; b = ~m; return (a, b)",
	     "a = torch.ops.aten.neg.default(x); b = torch.ops.aten.bitwise_not.default(m); return (a, b)");
	stmt("a = 3 < x; return a", "a = torch.ops.aten.gt.Scalar(x, 3); return (a,)");
	stmt("x += 1;  iadd = x\n        return iadd", "add_ = torch.ops.aten.add_.Tensor(x, 1); return (x,)");
	stmt("a = x.view(2, -1); return a", "a = torch.ops.aten.view.default(x, [2, -1]); return (a,)");
	stmt("a = torch.zeros(2, 3); return a", "a = torch.ops.aten.zeros.default([2, 3]); return (a,)");
	stmt("a = x.float(); return a", NULL);
	stmt("a = x.size(); b = a[-1]; c = x.shape[0]; return (b, c)", "return (6, 4)");
	stmt("a = x.to(torch.float16); return a", "a = torch.ops.aten.to.dtype(x, torch.float16); return (a,)");
	stmt("a = x.sum(dim = -1, keepdim = True); return a",
	     "a = torch.ops.aten.sum.dim_IntList(x, [-1], True); return (a,)");
	stmt("a = x.max(dim = 0); b = a.values; return b", "a = torch.ops.aten.max.dim(x, 0); b = a[0]; return (b,)");
	stmt("a = torch.nn.functional.dropout(x, 0.5, False, False); return a",
	     "a = torch.ops.aten.dropout.default(x, 0.5, False); return (a,)");
	stmt("a = torch._C._nn.gelu(x); return a", "a = torch.ops.aten.gelu.default(x); return (a,)");
	stmt("a = torch.nn.functional.mse_loss(x, y, reduction = 'sum'); return a",
	     "a = torch.ops.aten.mse_loss.default(x, y, 2); return (a,)");
	stmt("a = x.split([1, 3]); b = a[1]; return b",
	     "a = torch.ops.aten.split_with_sizes.default(x, [1, 3]); b = a[1]; return (b,)");
}

static void
test_index(void)
{
	stmt("a = x[1]; return a", "a = torch.ops.aten.select.int(x, 0, 1); return (a,)");
	stmt("a = x[(slice(None, None, None), slice(1, 3, None))]; return a",
	     "a = torch.ops.aten.slice.Tensor(x, 1, 1, 3); return (a,)");
	stmt("a = x[(Ellipsis, None)]; return a", "a = torch.ops.aten.unsqueeze.default(x, 2); return (a,)");
	stmt("a = x[(..., -1)]; return a", "a = torch.ops.aten.select.int(x, 1, -1); return (a,)");
	stmt("a = x[i]; return a", "a = torch.ops.aten.index.Tensor(x, [i]); return (a,)");
	stmt("a = x[(slice(None, None, None), i)]; return a", "a = torch.ops.aten.index.Tensor(x, [None, i]); return (a,)");
	stmt("x[0] = 1.0;  setitem = x\n        return setitem",
	     "select = torch.ops.aten.select.int(x, 0, 0); fill_ = torch.ops.aten.fill_.Scalar(select, 1.0); return (x,)");
	stmt("x[m] = 0; return x", "masked_fill_ = torch.ops.aten.masked_fill_.Scalar(x, m, 0); return (x,)");
	stmt("x[(slice(None, 2, None), 1)] = y[(slice(None, 2, None), 0)]; return x", NULL);
}

static void
test_sizes(void)
{
	is("#fxg 1\nclass G(torch.nn.Module):\n    def forward(self, s77: \"Sym(s77)\", x: \"f32[s77, 4]\"):\n"
	   "        n: \"Sym(s77)\" = torch.ops.aten.sym_size.int(x, 0)\n"
	   "        m: \"Sym(2*s77)\" = n * 2\n"
	   "        v = torch.ops.aten.expand.default(x, [n, 4])\n"
	   "        f = torch.ops.aten.new_zeros.default(x, [m, sym('s77 + 1')])\n"
	   "        return (v, f, m)\n"
	   "\nGraph signature:\n    # inputs\n    s77: USER_INPUT\n    x: USER_INPUT\n\n"
	   "    # outputs\n    v: USER_OUTPUT\n    f: USER_OUTPUT\n    m: USER_OUTPUT\n\nRange constraints: {s77: VR[2, 64]}\n",
	   "n = torch.ops.aten.sym_size.int(x, 0); m = s77 * 2; v = torch.ops.aten.expand.default(x, [s77, 4]); "
	   "f = torch.ops.aten.new_zeros.default(x, [m, sym('s77 + 1')]); return (v, f, m)");
}

/* ---- the rest of the file ------------------------------------------------------------ */

static const char joint[] =
	"class inner_f(torch.nn.Module):\n    def forward(\n        self,\n        primals,\n        tangents,\n    ):\n"
	"        primals_1: \"f32[4]\"  # ParamAOTInput(target='w')\n"
	"        tangents_1: \"f32[4]\"  # TangentAOTInput(output=PlainAOTOutput(idx=0))\n"
	"        primals_1, tangents_1, = fx_pytree.tree_flatten_spec([primals, tangents], self._in_spec)\n"
	"        mul = torch.ops.aten.mul.Tensor(primals_1, 2)\n"
	"        mul_1 = torch.ops.aten.mul.Tensor(tangents_1, 2)\n"
	"        return pytree.tree_unflatten([\n            mul,  # PlainAOTOutput(idx=0)\n"
	"            mul_1,  # GradAOTOutput(grad_of=ParamAOTInput(target='w'))\n        ], self._out_spec)\n";

static const char full[] =
	"#fxg 1\n#fxg const k 2\n#fxg frozen \"fc.w\"\n#fxg argname \"in.x\"\n#fxg argname \"k\"\n#fxg resname \"y\"\n"
	"ExportedProgram:\n    class GraphModule(torch.nn.Module):\n"
	"        def forward(self, p_w: \"f32[3, 4]\", b_n: \"i64[]\", x: \"f32[s0, 4][4, 1]cpu\", k):\n"
	"            # File: a.py:3 in forward, code: return x @ w\n"
	"            t: \"f32[4, 3][1, 4]cpu\" = torch.ops.aten.t.default(p_w);  p_w = None\n"
	"            mm: \"f32[s0, 3]\" = torch.ops.aten.mm.default(x, t)\n"
	"            add = torch.ops.aten.add.Tensor(b_n, 1)\n"
	"            return (add, mm)\n    \nGraph signature:\n    # inputs\n"
	"    p_w: PARAMETER target='fc.w'\n    b_n: BUFFER target='n' persistent=False\n    x: USER_INPUT\n    k: USER_INPUT\n    \n"
	"    # outputs\n    add: BUFFER_MUTATION target='n'\n    mm: USER_OUTPUT\n    \nRange constraints: {s0: VR[1, int_oo]}\n";

static void
test_module(void)
{
	Ctx *cx = begin();
	Module *m = reads(cx, full, NULL, NULL);

	OK(m && m->in.n == 4 && m->out.n == 2);
	if (m) {
		OK(m->in.v[0].kind == InParam && !m->in.v[0].requires_grad);
		STREQ(m->in.v[0].target, "fc.w");
		OK(m->in.v[1].kind == InBuffer && !m->in.v[1].persistent);
		STREQ(m->in.v[2].argname, "in.x");
		OK(m->in.v[3].val == NULL && m->in.v[3].value.kind == ArgInt);
		OK(m->out.v[0].kind == ResBufferMut);
		STREQ(m->out.v[1].name, "y");
		OK(m->in.v[2].val->type->dim[0]->lo == 1);
		STREQ(loc_python(cx, m->main->last->prev->loc), "a.py:3 in forward");
		STREQ(loc_str(cx, m->main->last->prev->loc), "t.fxg:13:19");
		OK(again(m));
	}
	end(cx);
	cx = begin();
	m = reads(cx, joint, NULL, NULL);
	OK(m && m->in.n == 2 && m->in.v[0].kind == InParam && m->out.v[1].kind == ResGradParam);
	OK(m && again(m));
	end(cx);
}

static const char forma[] =
	"graph():\n    %x : [num_users=1] = placeholder[target=x]\n"
	"    %gelu : [num_users=1] = call_function[target=torch.ops.aten.gelu.default](args = (%x,), kwargs = {approximate: tanh})\n"
	"    %add : [num_users=1] = call_function[target=operator.add](args = (%gelu, 1), kwargs = {})\n"
	"    %view : [num_users=1] = call_method[target=view](args = (%add, -1), kwargs = {})\n"
	"    %s : [num_users=1] = call_function[target=torch.ops.aten.full.default](args = ([2], -inf), kwargs = {dtype: torch.float16, device: cpu})\n"
	"    return (view, s)\n";

static const char logtext[] =
	"V1122 01:00:09.316000 21060 torch/_dynamo/output_graph.py:2987] [0/0] [__graph_code] TRACED GRAPH\n"
	"V1122 01:00:09.316000 21060 torch/_dynamo/output_graph.py:2987] [0/0] [__graph_code]  ===== one =====\n"
	"V1122 01:00:09.316000 21060 torch/_dynamo/output_graph.py:2987] [0/0] [__graph_code]  /p/x.py class G(torch.nn.Module):\n"
	"V1122 01:00:09.316000 21060 torch/_dynamo/output_graph.py:2987] [0/0] [__graph_code]     def forward(self, L_x_: \"f32[4]\"):\n"
	"I1122 01:00:09.316000 21060 a.py:1] [0/0] [__aot_graphs] aot_config id: 0\n"
	"V1122 01:00:09.316000 21060 torch/_dynamo/output_graph.py:2987] [0/0] [__graph_code]         l_x_ = L_x_\n"
	"V1122 01:00:09.316000 21060 torch/_dynamo/output_graph.py:2987] [0/0] [__graph_code]         \033[31mr\033[0m: \"f32[4]\" = torch.relu(l_x_);  l_x_ = None\n"
	"V1122 01:00:09.316000 21060 torch/_dynamo/output_graph.py:2987] [0/0] [__graph_code]         return (r,)\n"
	"I1122 01:00:09.316000 21060 a.py:1] [0/0] [__aot_graphs] TRACED GRAPH\n"
	"I1122 01:00:09.316000 21060 a.py:1] [0/0] [__aot_graphs]  ===== two =====\n"
	"I1122 01:00:09.316000 21060 a.py:1] [0/0] [__aot_graphs]  <eval_with_key>.2 class H(torch.nn.Module):\n"
	"I1122 01:00:09.316000 21060 a.py:1] [0/0] [__aot_graphs]     def forward(self, a: \"f32[4]\"):\n"
	"I1122 01:00:09.316000 21060 a.py:1] [0/0] [__aot_graphs]         return (a,)\n";

static void
test_forms(void)
{
	Ctx *cx = begin();
	Module *m = reads(cx, forma, NULL, "x=f32[2, 3]");

	fflush(sayer);
	STREQ(m ? body(m) : said, "gelu = torch.ops.aten.gelu.default(x, approximate = 'tanh'); add = torch.ops.aten.add.Tensor(gelu, 1); "
	      "view = torch.ops.aten.view.default(add, [-1]); "
	      "s = torch.ops.aten.full.default([2], -inf, dtype = torch.float16, device = device(type='cpu')); return (view, s)");
	end(cx);
	cx = begin();
	m = reads(cx, logtext, "one", NULL);
	STREQ(m ? body(m) : NULL, "r = torch.ops.aten.relu.default(L_x_); return (r,)");
	end(cx);
	cx = begin();
	m = reads(cx, logtext, "2", NULL);
	STREQ(m ? body(m) : NULL, "return (a,)");
	end(cx);
	refuse(logtext, "the log has 2 graphs: choose one");
	refuse("opcode         name       target\n-----  ---\n", "print_tabular");
	refuse("hello\n", "no graph found");
	refuse("", "no graph found");
}

static void
test_subgraph(void)
{
	is("class G(torch.nn.Module):\n    def forward(self, x: \"f32[4]\"):\n        body = self.body\n"
	   "        w = torch.ops.higher_order.tag_activation_checkpoint(body, x, use_reentrant = False);  body = None\n"
	   "        y = w[0]\n        return (y,)\n\n    class body(torch.nn.Module):\n        def forward(self, a: \"f32[4]\"):\n"
	   "            sin = torch.sin(a)\n            return (sin,)\n",
	   "sin = torch.ops.aten.sin.default(x); return (sin,)");
	is("class G(torch.nn.Module):\n    def forward(self, x: \"f32[]\"):\n        c: \"f32[]\" = self.c0\n"
	   "        a = torch.ops.aten.add.Tensor(x, c)\n        return (a,)\n",
	   "a = torch.ops.aten.add.Tensor(x, c); return (a,)");
}

/* ---- messages ---------------------------------------------------------------------------- */

#define DEF "class G(torch.nn.Module):\n    def forward(self, x: \"f32[4, 6]\", u):\n        "

static void
test_errors(void)
{
	refuse(DEF "a = torch.ops.aten.nosuch.default(x)\n        b = torch.ops.aten.nosuch.default(a); c = b.noway()\n        return (b,)\n",
	       "t.fxg:3:13: error: 1 operator is not supported: aten.nosuch.default (2 times)");
	refuse(DEF "a = torch.relu(z)\n        return a\n", "t.fxg:3:24: error: 'z' is not defined");
	refuse(DEF "a = torch.relu(u)\n        return a\n", "t.fxg:3:24: error: 'u' has no type: give it with -ftype=u=");
	refuse(DEF "a = x + x + x\n        return a\n", "t.fxg:3:19: error: syntax error: one operator per statement");
	refuse(DEF "a = x[9, 9, 9\n", "error:");
	refuse(DEF "a = self.conv(x)\n        return a\n", "call of module 'self.conv'");
	refuse(DEF "a = torch.relu(x)\n", "the function has no return");
	refuse(DEF "a = torch.ops.aten.relu.default(x, 1)\n        return a\n", "t.fxg:3:13: error:");
	refuse(DEF "a: \"f32[4, 6\" = torch.relu(x)\n        return a\n", "t.fxg:3:19: error: type 'f32[4, 6': expected ']'");
	refuse(DEF "a = 'no end\n", "string is not closed");
	refuse(DEF "a = torch.topk(x, 2); b = a[7]\n        return b\n", "index 7 is out of range: there are 2 elements");
	refuse("#fxg 2\n" DEF "return x\n", "reads version 1");
	refuse("class G(torch.nn.Module):\n    def forward(self, x: \"Weird(f32[4])\"):\n        return x\n", "tensor subclasses");
	refuse(DEF "return x\nGraph signature:\n    # inputs\n    x: USER_INPUT\n\n    # outputs\n    x: USER_OUTPUT\n\nRange constraints: {}\n",
	       "the signature has no input for 'u'");
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static void
infix(Ctx *cx, const char *s, const char *want)
{
	Infix in = { .cx = cx, .quiet = true };
	const Sym *e = infix_parse(&in, s, strlen(s));

	STREQ(e ? sym_str(cx, e) : "none", want);
}

static void
test_infix(void)
{
	Ctx *cx = begin();
	char deep[1000];

	infix(cx, "1 + 2*3", "7");
	infix(cx, "-2**2", "-4");
	infix(cx, "7//-2", "-4");
	infix(cx, "7 % -2", "-1");
	infix(cx, "Mod(7, 5) + PythonMod(-1, 5)", "6");
	infix(cx, "Max(1, 2, 3) - Min(4, 5)", "-1");
	infix(cx, "s0*3 + s0", "4*s0");
	infix(cx, "((s0//2)) + 1 - 1 - (s0//2)", "0");
	infix(cx, "s0/2*2", "s0");
	infix(cx, "Piecewise((1, Eq(3, 3)), (0, True))", "1");
	infix(cx, "(s0 > 3) & ~(s0 > 3) | 1 < 2", "1");
	infix(cx, "1 < 2 < 3", "1");
	infix(cx, "s0//0", "none");
	infix(cx, "s0 +", "none");
	infix(cx, "99999999999999999999", "none");
	infix(cx, "f(s0)", "none");
	infix(cx, "s0 s1", "none");
	memset(deep, '(', sizeof deep - 1);
	deep[sizeof deep - 1] = 0;
	infix(cx, deep, "none");
	end(cx);
}

/* ---- damage ----------------------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252u;

static uint32_t
dice(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % n;
}

/* Texts with bytes changed, moved and cut: an answer, or messages, and never a crash. */
static void
test_damage(void)
{
	static const char *const text[] = { full, joint, forma, logtext };
	static const char bits[] = "()[]{},.:;='\"#%*-+ \n0a";
	int silent = 0;

	for (int i = 0; i < 3000; i++) {
		const char *s = text[i % 4];
		size_t n = strlen(s);
		char *t = malloc(n + 1);
		Ctx *cx = begin();
		Module *m;

		memcpy(t, s, n + 1);
		for (uint32_t k = dice(4) + 1; k > 0; k--) {
			size_t at = dice((uint32_t)n);

			if (dice(3) == 0)
				memmove(t + at, t + at + 1, n - at);
			else
				t[at] = bits[dice(sizeof bits - 1)];
		}
		if (dice(8) == 0)
			t[dice((uint32_t)n)] = 0;
		m = reads(cx, t, i % 4 == 3 ? "one" : NULL, i % 4 == 2 ? "x=f32[2, 3]" : NULL);
		silent += !m && ctx_errors(cx) == 0;
		end(cx);
		free(t);
	}
	OK(silent == 0);
}

int
main(void)
{
	test_statements();
	test_python();
	test_index();
	test_sizes();
	test_module();
	test_forms();
	test_subgraph();
	test_errors();
	test_infix();
	test_damage();
	free(said);
	return tap_end();
}
