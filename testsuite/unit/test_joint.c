/* test_joint.c - derivatives of whole programs.
 *
 * Programs as text, in f64, are differentiated as fxcc --train does it, natively and by PyTorch's
 * decompositions.  The interpreter runs the joint graph: the gradient times a direction is what
 * differences of the results, weighted by the tangents, give along it.  Also what has no
 * derivative, and that a joint graph is left as it is.
 */
#include <math.h>
#include "front/front.h"
#include "grad/grad.h"
#include "ir/pass/pass.h"
#include "said.h"
#include "tap.h"

enum { Most = 32 };

static Module *
reads(Ctx *cx, const char *text)
{
	File f = {.name = "m.fxg", .data = (const uint8_t *)text, .size = strlen(text)};

	return read_model(cx, &f, NULL);
}

/* The passes up to `decompose`. */
static bool
differentiated(Module *m, enum decomp how)
{
	m->train = true;
	m->decomp = how;
	return graph_infer(m->main) && pass_inline(m) && pass_bases(m) && pass_functionalize(m) && pass_joint(m) &&
	       pass_decompose(m->main) && module_verify(m);
}

static Module *
joint_of(Ctx *cx, const char *body, enum decomp how)
{
	Module *m = reads(cx, arena_printf(ctx_arena(cx), "#fxg 1\n%s\n", body));

	return m && differentiated(m, how) ? m : NULL;
}

/* ---- numbers ------------------------------------------------------------------------------- */

static double
rnd(uint64_t *seed)
{
	*seed = *seed*6364136223846793005u + 1442695040888963407u;
	return (double)(*seed >> 40)/(double)(1 << 24);
}

typedef struct Run {
	Module *m;
	Arena *a;
	Tensor in[Most], out[Most], up[Most], down[Most];
	int nin, nout;
	uint64_t seed;
} Run;

/* Between 0.1 and 1.1, so that logarithms and roots are fine; integers below 3. */
static bool
fill(Run *r, const Val *v)
{
	Tensor t = {.dt = v->type->dt, .rank = v->type->rank};
	int64_t n = 1;

	for (int d = 0; d < t.rank; d++) {
		if (!sym_isconst(v->type->dim[d], &t.dim[d]))
			return false;
		n *= t.dim[d];
	}
	t.bytes = (size_t)n*dtypeinfo[t.dt].bytes;
	t.data = arena_alloc(r->a, t.bytes + 16, 16);
	for (int64_t k = 0; k < n; k++)
		if (dt_int(t.dt))
			tensor_seti(&t, k, (int64_t)(rnd(&r->seed)*(t.dt == DtB8 ? 2 : 3)));
		else
			tensor_set(&t, k, rnd(&r->seed) + 0.1);
	r->in[r->nin++] = t;
	return true;
}

static bool
inputs(Run *r)
{
	for (int k = 0; k < r->m->in.n; k++)
		if (r->m->in.v[k].val && (r->nin == Most || !fill(r, r->m->in.v[k].val)))
			return false;
	r->nout = r->m->out.n;
	return r->nout <= Most && graph_interp(r->m->main, r->a, r->in, r->nin, r->out, r->nout, false);
}

static Tensor
moved(Run *r, const Tensor *t, const Tensor *dir, double h)
{
	Tensor u = *t;

	u.data = arena_alloc(r->a, u.bytes + 16, 16);
	for (int64_t k = 0, n = tensor_numel(t); k < n; k++)
		tensor_set(&u, k, tensor_get(t, k) + h*tensor_get(dir, k));
	return u;
}

static double
dot(const Tensor *a, const Tensor *b)
{
	double s = 0;

	for (int64_t k = 0, n = tensor_numel(a); k < n; k++)
		s += tensor_get(a, k)*tensor_get(b, k);
	return s;
}

/* Change of what the tangents weigh, per step. */
static double
slope(const Run *r, double h)
{
	double s = 0;

	for (int i = 0, at = 0; i < r->m->in.n; i++) {
		const Input *in = &r->m->in.v[i];
		if (in->val == NULL)
			continue;
		for (int o = 0; in->kind == InTangent && o < r->m->out.n; o++)
			if (r->m->out.v[o].name == in->target)
				s += (dot(&r->up[o], &r->in[at]) - dot(&r->down[o], &r->in[at]))/(2*h);
		at++;
	}
	return s;
}

static bool
agrees(Run *r, int in, const Tensor *grad)
{
	const double h = 1e-5;
	Tensor dir = r->in[in], was = r->in[in];
	double want, got;

	dir.data = arena_alloc(r->a, dir.bytes + 16, 16);
	for (int64_t k = 0, n = tensor_numel(&dir); k < n; k++)
		tensor_set(&dir, k, rnd(&r->seed)*2 - 1);
	r->in[in] = moved(r, &was, &dir, h);
	if (!graph_interp(r->m->main, r->a, r->in, r->nin, r->up, r->nout, false))
		return false;
	r->in[in] = moved(r, &was, &dir, -h);
	if (!graph_interp(r->m->main, r->a, r->in, r->nin, r->down, r->nout, false))
		return false;
	r->in[in] = was;
	want = slope(r, h);
	got = dot(grad, &dir);
	if (fabs(got - want) <= 1e-6*(1 + fabs(want)))
		return true;
	printf("# gradient of input %d: slope %.9g, differences give %.9g\n", in, got, want);
	return false;
}

/* Every input that is differentiated. */
static bool
gradients(Module *m)
{
	Run *r = NEW(ctx_arena(m->cx), Run);
	int at = 0, first = 0;
	bool ok = true, any = false;

	*r = (Run){.m = m, .a = ctx_arena(m->cx), .seed = 7};
	if (!inputs(r))
		return false;
	while (first < m->out.n && m->out.v[first].kind != ResGradUser && m->out.v[first].kind != ResGradParam)
		first++;
	for (int i = 0; i < m->in.n; i++) {
		if (m->in.v[i].val == NULL || m->in.v[i].kind == InTangent)
			continue;
		const Arg *g = &m->main->last->arg[0].list.v[first + at];
		if (m->in.v[i].requires_grad && g->kind == ArgVal) {
			any = true;
			ok = agrees(r, at, &r->out[first + at]) && ok;
		}
		at++;
	}
	return ok && any;
}

/* ---- programs ------------------------------------------------------------------------------- */

/* The statements of a function with those parameters; wrt: which are differentiated. */
static void
program(const char *name, const char *params, const char *wrt, const char *body)
{
	static const char *const mode[] = {"native", "torch"};

	for (int how = DecompNative; how <= DecompTorch; how++) {
		Ctx *cx = begin();
		Module *m = joint_of(cx, arena_printf(ctx_arena(cx), "#fxg requires_grad %s\n\nclass M(torch.nn.Module):\n"
		                     "    def forward(self, %s):\n%s", wrt, params, body), (enum decomp)how);
		bool ok = m && gradients(m);
		char what[96];
		fflush(sayer);
		if (!ok)
			printf("# %s", said);
		snprintf(what, sizeof what, "%s, %s", name, mode[how]);
		tap(ok, what, __FILE__, __LINE__);
		end(cx);
	}
}

#define X2 "x: \"f64[4, 6]\""
#define OPS "torch.ops.aten."

static void
programs(void)
{
	program("two layers", X2 ", w: \"f64[5, 6]\", b: \"f64[5]\", v: \"f64[5, 2]\"", "w b v",
	        "        a = " OPS "linear.default(x, w, b)\n        h = " OPS "gelu.default(a)\n"
	        "        y = " OPS "mm.default(h, v)\n        return y\n");
	program("a value read three times", X2, "x",
	        "        a = " OPS "sin.default(x)\n        b = " OPS "mul.Tensor(a, a)\n        c = " OPS "exp.default(a)\n"
	        "        d = " OPS "add.Tensor(b, c)\n        return (d, a)\n");
	program("broadcast", "x: \"f64[4, 1, 6]\", y: \"f64[3, 1]\", z: \"f64[]\"", "x y z",
	        "        a = " OPS "mul.Tensor(x, y)\n        b = " OPS "div.Tensor(a, z)\n        return b\n");
	program("lists", X2 ", y: \"f64[2, 6]\"", "x y",
	        "        a = " OPS "cat.default([x, y, x])\n        b = " OPS "split.Tensor(a, 3)\n        c = b[0]\n        d = b[2]\n"
	        "        e = " OPS "mul.Tensor(c, d)\n        s = " OPS "stack.default([e, e], 1)\n        return s\n");
	program("one element of unbind", X2, "x",
	        "        u = " OPS "unbind.int(x)\n        a = u[2]\n        b = " OPS "pow.Tensor_Scalar(a, 3)\n        return b\n");
	program("views and a write", X2, "x",
	        "        a = " OPS "mul.Tensor(x, 2)\n        v = " OPS "select.int(a, 0, 1)\n        w = " OPS "mul_.Tensor(v, v)\n"
	        "        t = " OPS "t.default(a)\n        r = " OPS "sin.default(t)\n        return r\n");
	program("an index that occurs twice", X2 ", i: \"i64[5]\"", "x",
	        "        a = " OPS "index.Tensor(x, [None, i])\n        b = " OPS "mul.Tensor(a, a)\n        return b\n");
	program("classes", X2 ", t: \"i64[4]\"", "x",
	        "        l = " OPS "cross_entropy_loss.default(x, t)\n        return l\n");
	program("mean and variance", X2 ", w: \"f64[6]\", b: \"f64[6]\"", "x w b",
	        "        n = " OPS "layer_norm.default(x, [6], w, b)\n        s = " OPS "softmax.int(n, 1)\n        return s\n");
	program("convolution", "x: \"f64[2, 3, 5, 5]\", w: \"f64[4, 3, 3, 3]\", b: \"f64[4]\"", "x w b",
	        "        c = " OPS "conv2d.default(x, w, b, [2, 2], [1, 1])\n        p = " OPS "max_pool2d.default(c, [2, 2])\n"
	        "        return p\n");
	program("two of three results", X2, "x",
	        "        s = " OPS "sort.default(x, 1)\n        v = s[0]\n        i = s[1]\n        g = " OPS "gather.default(x, 1, i)\n"
	        "        r = " OPS "mul.Tensor(v, g)\n        return r\n");
	program("a branch without gradient", X2 ", y: \"f64[4, 6]\"", "x y",
	        "        d = " OPS "detach.default(y)\n        c = " OPS "gt.Tensor(x, d)\n        w = " OPS "where.self(c, x, y)\n"
	        "        return w\n");
	program("dtypes", "x: \"f64[4, 6]\", y: \"f32[6]\"", "x",
	        "        p = " OPS "mul.Tensor(x, y)\n        s = " OPS "sum.dim_IntList(p, [0])\n        return s\n");
}

/* ---- what is not ------------------------------------------------------------------------------ */

static void
refused(const char *pragma, const char *body, const char *want)
{
	Ctx *cx = begin();
	Module *m = joint_of(cx, arena_printf(ctx_arena(cx), "#fxg requires_grad x\n%s\nclass M(torch.nn.Module):\n"
	                     "    def forward(self, x: \"f64[4]\"):\n%s", pragma, body), DecompNative);

	fflush(sayer);
	tap(m == NULL && strstr(said, want) != NULL, want, __FILE__, __LINE__);
	if (m || !strstr(said, want))
		printf("# %s", said);
	end(cx);
}

/* Printed, read back and differentiated again it is the same graph. */
static void
kept(void)
{
	Ctx *cx = begin();
	Module *m = joint_of(cx, "#fxg requires_grad x\n\nclass M(torch.nn.Module):\n"
	                     "    def forward(self, x: \"f64[4]\"):\n        s = " OPS "sin.default(x)\n        return s\n", DecompTorch);
	Text one = {.arena = ctx_arena(cx)}, two = {.arena = ctx_arena(cx)};

	OK(m != NULL);
	if (m)
		module_print(m, &one);
	m = m ? reads(cx, one.s) : NULL;
	OK(m && differentiated(m, DecompTorch));
	if (m)
		module_print(m, &two);
	STREQ(two.s, one.s ? one.s : "");
	end(cx);
}

int
main(void)
{
	programs();
	refused("", "        m = " OPS "unsqueeze.default(x, 0)\n        q = " OPS "geqrf.default(m)\n        a = q[0]\n"
	        "        s = " OPS "sin.default(m)\n        r = " OPS "geqrf.default(s)\n        b = r[0]\n        return (a, b)\n",
	        "aten.geqrf.default: no derivative with respect to self is known (2 nodes)");
	refused("", "        a = " OPS "gt.Scalar(x, 0)\n        return a\n", "no result depends on an input");
	refused("#fxg out 0 LOSS_OUTPUT\n", "        a = " OPS "sin.default(x)\n        return a\n", "it must be one number");
	refused("#fxg out 0 LOSS_OUTPUT\n", "        a = " OPS "argmax.default(x)\n        return (a, x)\n", "does not depend on an input");
	kept();
	return tap_end();
}
