/* test_ops.c - the operator tables test themselves.
 *
 * For each case of each `sample` line: shapes are inferred; the interpreter's
 * answer in the dtypes given is close to its answer in doubles; with symbolic
 * sizes the answer is the same; an `expand` ends in operators that have an
 * element.  For each `grad` line: the gradient, in doubles, agrees with central
 * differences along random directions.  For each `impl` line: its error over
 * all exponents stays within the bound that the line states.
 *
 * One line of TAP for each operator.  `test_ops NAME` runs those whose name
 * contains NAME.
 */
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include "ir/eval.h"
#include "ir/lang.h"
#include "opsample.h"
#include "tap.h"

/* One operator under test: messages are kept and shown if it fails. */
typedef struct Test {
	const OpDef *op;
	Ctx *cx;
	Diag diag;
	char *log;
	size_t size;
	jmp_buf bug;
	int bad, unfit;
} Test;

static void
complain(Test *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(t->diag.out, fmt, ap);
	va_end(ap);
	fputc('\n', t->diag.out);
	t->bad++;
}

static void
onbug(void *p)
{
	longjmp(((Test *)p)->bug, 1);
}

/* ---- values ---------------------------------------------------------------------- */

static void
compare(Test *t, const Sample *s, const char *what, int out, const Tensor *a, const Tensor *b, double tol)
{
	int64_t n = tensor_numel(a);

	if (a->rank != b->rank || n != tensor_numel(b)) {
		complain(t, "%s: %s: result %d has another shape", s->text, what, out);
		return;
	}
	if (dtypeinfo[a->dt].kind == KindComplex)
		return;
	for (int64_t k = 0; k < n; k++)
		if (!sample_near(tensor_get(a, k), tensor_get(b, k), tol)) {
			complain(t, "%s: %s: result %d [%lld] is %.9g, want %.9g", s->text, what, out,
			         (long long)k, tensor_get(a, k), tensor_get(b, k));
			return;
		}
}

static bool
istensor(const Val *v)
{
	return v->type && v->type->kind == TyTensor;
}

static void
inferred(Test *t, const Sample *s, const Tensor *out)
{
	for (int k = 0; k < s->node->nout; k++) {
		const Type *ty = s->node->out[k].type;
		int64_t n;
		if (!istensor(&s->node->out[k]))
			continue;
		if (out[k].dt != ty->dt || out[k].rank != ty->rank)
			complain(t, "%s: result %d is no %s", s->text, k, type_str(s->cx, ty));
		for (int d = 0; d < ty->rank && d < out[k].rank; d++)
			if (sym_isconst(ty->dim[d], &n) && n != out[k].dim[d])
				complain(t, "%s: result %d is no %s", s->text, k, type_str(s->cx, ty));
	}
}

/* The results with symbolic sizes, where the operator infers with them at all. */
static void
symbolic(Test *t, const char *text, const Tensor *want)
{
	Sample s;
	Tensor out[64];
	int was = t->bad;

	if (!sample_make(&s, t->cx, t->op, text, false, true))
		return;              /* sizes of the case that are literals do not fit */
	sample_output(&s, NULL, 0);
	if (!graph_interp(s.g, s.a, s.in, s.nin, out, s.node->nout, false)) {
		complain(t, "%s: does not run with symbolic sizes", text);
		return;
	}
	for (int k = 0; k < s.node->nout && t->bad == was; k++)
		if (istensor(&s.node->out[k]))
			compare(t, &s, "with symbolic sizes", k, &out[k], &want[k], 1e-12);
}

static void
values(Test *t, const char *text)
{
	Sample s;
	Tensor out[64], exact[64];

	if (!sample_make(&s, t->cx, t->op, text, false, false)) {
		if (!s.unfit)
			complain(t, "%s: no types", text);
		else
			t->unfit++;
		return;
	}
	if (s.node->nout > COUNT(out))
		return;
	sample_output(&s, NULL, 0);
	if (!graph_interp(s.g, s.a, s.in, s.nin, out, s.node->nout, false) ||
	    !graph_interp(s.g, s.a, s.in, s.nin, exact, s.node->nout, true)) {
		complain(t, "%s: does not run", text);
		return;
	}
	inferred(t, &s, out);
	for (int k = 0; k < s.node->nout && !(t->op->flags & OP(Random)); k++)
		if (istensor(&s.node->out[k]))
			compare(t, &s, "in its dtype", k, &out[k], &exact[k], sample_tolerance(out[k].dt));
	symbolic(t, text, out);
}

/* ---- expansion ---------------------------------------------------------------------- */

static void
expansion(Test *t, const char *text)
{
	Sample s;
	Low low;

	if (!sample_make(&s, t->cx, t->op, text, false, false))
		return;
	sample_output(&s, NULL, 0);
	for (int round = 0, again = 1; again; round++) {
		again = 0;
		for (Node *n = s.g->first, *next; n; n = next) {
			next = n->next;
			if (op_route(n->op) != RouteExpand)
				continue;
			again = 1;
			if (round == 50 || !node_expand(n)) {
				complain(t, "%s: expansion stops at %s", text, n->op->name);
				return;
			}
		}
	}
	FOREACH_NODE(s.g, n)
		for (int k = 0; k < n->nout; k++) {
			low = (Low){0};
			if (!(n->op->flags & OP(Leaf)) && istensor(&n->out[k]) &&
			    (!node_low(n, k, &low) || low.kind == LowNone))
				complain(t, "%s: expands to %s, which has no element", text, n->op->name);
		}
}

/* ---- PyTorch's decomposition ------------------------------------------------------------ */

/* As pass_decompose does it under -fdecomp=torch: an operator in its own line stays. */
static bool
torchform(Test *t, Sample *s)
{
	Map stay = {0};
	int budget = 2000;

	s->mod->decomp = DecompTorch;
	for (Node *n = s->g->first, *next; n; n = next) {
		Node *before = n->prev;
		const OpDef *op = n->op;
		next = n->next;
		if (!node_expands(n) || map_get(&stay, n))
			continue;
		if (--budget == 0 || !node_expand(n)) {
			complain(t, "%s: the torch line stops at %s", s->text, op->name);
			return false;
		}
		for (Node *m = before ? before->next : s->g->first; m != next; m = m->next)
			if (m->op == op)
				map_put(s->a, &stay, m, m);
		next = before ? before->next : s->g->first;
	}
	return true;
}

/* The torch line means the same as the others. */
static void
decomposition(Test *t, const char *text)
{
	Sample s;
	Tensor want[64], got[64];

	if (strcmp(t->op->torch, "keep") == 0 || t->op->flags & OP(Random) ||
	    !sample_make(&s, t->cx, t->op, text, true, false) || s.node->nout > COUNT(got))
		return;
	sample_output(&s, NULL, 0);
	int nout = s.node->nout;
	if (!graph_interp(s.g, s.a, s.in, s.nin, want, nout, false) || !torchform(t, &s))
		return;
	if (!graph_interp(s.g, s.a, s.in, s.nin, got, nout, false)) {
		complain(t, "%s: the torch line does not run", text);
		return;
	}
	const Arg *res = &s.g->last->arg[0];
	for (int k = 0; k < nout && k < res->list.n; k++)
		if (res->list.v[k].kind == ArgVal && istensor(res->list.v[k].use->val))
			compare(t, &s, "by the torch line", k, &got[k], &want[k], 1e-6);
}

/* ---- gradients ------------------------------------------------------------------------ */

typedef struct Slope {
	Sample s;
	Val *gradout[16];
	Tensor in[2 * MaxIn], out[64];
	int nin, nout;
} Slope;

static Tensor
random_like(Sample *s, const Tensor *like)
{
	Tensor t = *like;

	t.data = arena_alloc(s->a, t.bytes + 16, 16);
	for (int64_t k = 0, n = tensor_numel(&t); k < n; k++)
		tensor_set(&t, k, sample_random(&s->seed) * 2 - 1);
	return t;
}

/* Sum over results of result*gradout, with input `in` moved by h*dir. */
static bool
loss(Slope *p, int in, const Tensor *dir, double h, double *sum)
{
	Tensor t[2 * MaxIn];
	int g = p->s.nin;

	memcpy(t, p->in, sizeof t);
	t[in].data = arena_alloc(p->s.a, t[in].bytes + 16, 16);
	for (int64_t k = 0, n = tensor_numel(&t[in]); k < n; k++)
		tensor_set(&t[in], k, tensor_get(&p->in[in], k) + h * tensor_get(dir, k));
	if (!graph_interp(p->s.g, p->s.a, t, p->nin, p->out, p->s.node->nout, false))
		return false;
	*sum = 0;
	for (int o = 0; o < p->s.node->nout; o++) {
		if (!p->gradout[o])
			continue;
		for (int64_t k = 0, n = tensor_numel(&p->out[o]); k < n; k++)
			*sum += tensor_get(&p->out[o], k) * tensor_get(&t[g], k);
		g++;
	}
	return true;
}

/* Along some directions: difference quotient against the gradient's. */
static void
slopes(Test *t, Slope *p, int in, const Tensor *grad, const char *text, int line)
{
	const double h = 1e-5;
	double up, down, want, got;
	Tensor dir;

	for (int round = 0; round < 4; round++) {
		dir = random_like(&p->s, &p->in[in]);
		if (!loss(p, in, &dir, h, &up) || !loss(p, in, &dir, -h, &down)) {
			complain(t, "%s: does not run in f64", text);
			return;
		}
		want = (up - down) / (2 * h);
		if (!isfinite(want))                    /* the sample lies outside the function's domain */
			continue;
		got = 0;
		for (int64_t k = 0, n = tensor_numel(grad); k < n; k++)
			got += tensor_get(grad, k) * tensor_get(&dir, k);
		if (!sample_near(got, want, 1e-5)) {
			complain(t, "%s: %s:%d: gradient of %s: slope %.9g, differences give %.9g", text,
			         t->op->file, line, t->op->param[p->s.param[in]].name, got, want);
			return;
		}
	}
}

static bool
prepare(Test *t, Slope *p, const char *text)
{
	Sample *s = &p->s;

	if (!sample_make(s, t->cx, t->op, text, true, false) || s->node->nout > COUNT(p->gradout))
		return false;
	p->nin = s->nin;
	memcpy(p->in, s->in, sizeof s->in);
	for (int o = 0; o < s->node->nout; o++) {
		const Type *ty = s->node->out[o].type;
		Tensor like = {.dt = DtF64};
		if (!ty || ty->kind != TyTensor || !dt_float(ty->dt) || !lang_gradflows(t->op, o))
			continue;
		like.rank = ty->rank;
		for (int d = 0; d < ty->rank; d++)
			if (!sym_isconst(ty->dim[d], &like.dim[d]))
				return false;
		like.bytes = (size_t)tensor_numel(&like) * 8;
		Node *n = node_placeholder(s->g, intern_printf(s->cx, "gradout%d", o), ty, NOLOC);
		p->gradout[o] = &n->out[0];
		p->in[p->nin++] = random_like(s, &like);
	}
	return true;
}

/* Which input is element k of an argument; -1: none that has a slope. */
static int
input(const Slope *p, const Arg *arg, int k)
{
	const Arg *a = arg->kind == ArgList ? &arg->list.v[k] : arg;

	for (int in = 0; a->kind == ArgVal && in < p->s.nin; in++)
		if (p->s.val[in] == a->use->val)
			return p->in[in].dt == DtF64 ? in : -1;
	return -1;
}

/* Has the parameter a slope, and some result one to give? */
static bool
sloping(const Slope *p, const Arg *arg)
{
	bool from = false, to = false;

	for (int k = 0; k < (arg->kind == ArgList ? arg->list.n : 1); k++)
		to |= input(p, arg, k) >= 0;
	for (int o = 0; o < p->s.node->nout; o++)
		from |= p->gradout[o] != NULL;
	return from && to;
}

/* The gradients of a parameter, one for each tensor of a list. */
static void
gradient(Test *t, const char *text, int which)
{
	const char *name = t->op->grad[which].arg;
	int line = t->op->grad[which].line, param = 0, n, m = 0, in[MaxIn];
	Slope *p = calloc(1, sizeof *p);
	Val **grad, *list[MaxIn];

	if (!prepare(t, p, text))
		goto done;
	Node *node = p->s.node;
	int nout = node->nout;        /* the interpreter may expand it */
	while (strcmp(t->op->param[param].name, name) != 0)
		param++;
	if (!sloping(p, &node->arg[param]))
		goto done;
	GradOf of = {.n = node, .out = p->gradout};
	if (!lang_grads(&of, param, NULL, &grad, &n)) {
		complain(t, "%s: %s:%d: gradient of %s fails", text, t->op->file, line, name);
		goto done;
	}
	for (int k = 0; k < n; k++)
		if (grad[k] && (in[m] = input(p, &node->arg[param], k)) >= 0)
			list[m++] = grad[k];
	if (m == 0)
		goto done;
	sample_output(&p->s, list, m);
	if (!graph_interp(p->s.g, p->s.a, p->in, p->nin, p->out, nout + m, false)) {
		complain(t, "%s: %s:%d: gradient of %s does not run", text, t->op->file, line, name);
		goto done;
	}
	Tensor g[MaxIn];
	memcpy(g, p->out + nout, (size_t)m * sizeof *g);
	for (int k = 0; k < m; k++)
		if (tensor_numel(&g[k]) != tensor_numel(&p->in[in[k]]) || g[k].rank != p->in[in[k]].rank)
			complain(t, "%s: %s:%d: gradient of %s has another shape", text, t->op->file, line, name);
		else
			slopes(t, p, in[k], &g[k], text, line);
done:
	free(p);
}

/* ---- operators --------------------------------------------------------------------------- */

static void
begin(Test *t, const OpDef *op)
{
	*t = (Test){.op = op};
	t->diag.out = open_memstream(&t->log, &t->size);
	t->cx = ctx_new(&t->diag);
	ctx_onbug(t->cx, onbug, t);
}

static void
end(Test *t, const char *name, const char *file, int line)
{
	bool ok = t->bad == 0;
	char *save = NULL;

	ctx_free(t->cx);
	fclose(t->diag.out);
	ntest++;
	nfail += !ok;
	printf("%sok %d - %s\n", ok ? "" : "not ", ntest, name);
	if (!ok) {
		printf("# %s:%d\n", file, line);
		for (char *l = strtok_r(t->log, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
			printf("#   %s\n", l);
	}
	free(t->log);
	fflush(stdout);
}

static void
operator_(const OpDef *op)
{
	Test t;

	begin(&t, op);
	for (volatile int k = 0; k < op->nsample; k++) {
		if (setjmp(t.bug)) {
			complain(&t, "%s: internal error", op->sample[k]);
			break;
		}
		values(&t, op->sample[k]);
		if (op_route(op) == RouteExpand)
			expansion(&t, op->sample[k]);
		if (op->torch)
			decomposition(&t, op->sample[k]);
		for (volatile int g = 0; g < op->ngrad; g++)
			gradient(&t, op->sample[k], g);
	}
	if (t.unfit == op->nsample)
		complain(&t, "no case fits this overload");
	end(&t, op->name, op->file, op->line);
}

/* ---- scalar functions ----------------------------------------------------------------------- */

enum { Points = 60000 };

static const Tensor *
operand(void *p, const Val *v)
{
	return (const Tensor *)p + v->id;
}

typedef struct Ulps { enum scalar sc; int reg; double within; const Tensor *in; double worst, at[2]; float got; } Ulps;

/* Distance in units of the last place of the float nearest to want. */
static double
ulps(float got, double want)
{
	float w = (float)want;
	double unit;

	if (isnan(got) || isnan(w))
		return isnan(got) && isnan(w) ? 0 : INFINITY;
	if (isinf(got) || isinf(w))
		return got == w ? 0 : isinf(w) && fabsf(got) > 0x1.fffff0p127f ? 1 :
		       isinf(got) && fabs(want) > 0x1.fffff0p127 ? 1 : INFINITY;
	unit = ldexp(1, (w == 0 || fabsf(w) < 0x1p-126f ? -126 : ilogbf(w)) - 23);
	return fabs((double)got - want) / unit;
}

static void
measure(void *arg, Eval *E, int64_t base, int n)
{
	Ulps *u = arg;

	for (int k = 0; k < n; k++) {
		Num x[2] = {{.f = tensor_get(&u->in[0], base + k)}, {.f = tensor_get(&u->in[1], base + k)}};
		double want = scalar_eval(u->sc, DtF64, x).f;
		float got = (float)eval_lane(E, u->reg, k).f;
		double d = ulps(got, want);
		if (d > u->worst && !(u->within > 0 && fabs(x[0].f) > u->within && isfinite(x[0].f))) {
			u->worst = d;
			u->at[0] = x[0].f;
			u->at[1] = x[1].f;
			u->got = got;
		}
	}
}

static float
probe(int64_t k, uint64_t *seed)
{
	static const uint32_t special[] = {
		0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x00800000, 0x3f800000, 0xbf800000, 0x7f7fffff,
		0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x3f7fffff, 0x3f800001, 0x40490fdb,
		0x42b17218, 0xc2aeac50, 0xc2ce8ed0, 0x43000000
	};
	uint32_t u = k < COUNT(special) ? special[k] : (uint32_t)(sample_random(seed) * 0x1p32);
	float f;

	memcpy(&f, &u, 4);
	if (k % 2 && k >= COUNT(special))      /* half of them where functions are interesting */
		f = (float)((sample_random(seed) - 0.5) * (k % 4 == 1 ? 20 : 200));
	return f;
}

static void
impl(const MacroDef *m, enum scalar sc)
{
	static const OpDef none = {.name = "impl"};
	int64_t n = Points;
	Test t;

	begin(&t, &none);
	if (setjmp(t.bug)) {
		complain(&t, "internal error");
		end(&t, m->name, m->file, m->line);
		return;
	}
	Arena *a = ctx_arena(t.cx);
	const Sym *i = sym_fresh(t.cx, "i", 0, n - 1), *len = sym_const(t.cx, n);
	Val v[2] = {{.type = type_tensor(t.cx, DtF32, 1, &len), .id = 0}, {.id = 1}};
	Tensor in[2] = {{.dt = DtF32, .rank = 1, .dim = {n}, .data = arena_alloc(a, 4 * (size_t)n, 16)}};
	const Ex *x[2], *e;
	uint64_t seed = 1;
	Ulps u = {.sc = sc, .in = in, .within = m->within};
	Eval E;

	in[1] = in[0];
	in[1].data = arena_alloc(a, 4 * (size_t)n, 16);
	v[1].type = v[0].type;
	for (int64_t k = 0; k < n; k++) {
		tensor_set(&in[0], k, probe(k, &seed));
		tensor_set(&in[1], k, probe(k < 400 ? k / 20 : k, &seed));
		if (k < 400)
			tensor_set(&in[0], k, probe(k % 20, &seed));
	}
	for (int k = 0; k < 2; k++)
		x[k] = ex_load(t.cx, &v[k], &i, 1);
	e = lang_impl(t.cx, sc, x);
	eval_init(&E, t.cx, a, NOLOC, false, false, &i, &n, 1);
	E.tensor = operand;
	E.arg = in;
	if (!e || (u.reg = eval_ex(&E, e)) < 0 || !eval_run(&E, measure, &u))
		complain(&t, "cannot be evaluated");
	if (m->ulp > 0 && u.worst > m->ulp)
		complain(&t, "%.3g ulp at %a, %a (%.9g): got %.9g; the line says %g", u.worst, u.at[0], u.at[1],
		         u.at[0], (double)u.got, m->ulp);
	char name[64];
	snprintf(name, sizeof name, "impl %s: %.3g ulp", m->name, u.worst);
	end(&t, name, m->file, m->line);
}

int
main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : "";

	for (int k = 0; k < nimpltab; k++)
		for (int sc = 0; sc < NScalar; sc++)
			if (strcmp(scalarinfo[sc].text, impltab[k].name) == 0 && strstr(impltab[k].name, only))
				impl(&impltab[k], (enum scalar)sc);
	for (int k = 0; k < noptab; k++)
		if (optab[k].nsample && strstr(optab[k].name, only))
			operator_(&optab[k]);
	return tap_end();
}
