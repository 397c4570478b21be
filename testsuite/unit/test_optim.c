/* test_optim.c - the step of each optimizer against torch.optim: optimref.h, which
 * optimref.py makes, has the parameters after some steps.
 */
#include <math.h>
#include <stdlib.h>
#include "grad/optimizer.h"
#include "ir/pass/pass.h"
#include "tap.h"

enum { Steps = 4, Nparam = 2, Nref = 11 };

static const struct ref { const char *optimizer; enum dtype dt; double lr, want[Nref]; } reftab[] = {
#include "optimref.h"
};

static const int rank[Nparam] = {2, 1}, size[Nparam][2] = {{3, 2}, {5, 0}}, numel[Nparam] = {6, 5};

/* ---- a module whose parameters a.w and b get gradients, c does not ------------------- */

static Val *
input(Module *m, const char *name, const char *fqn, const Type *t, enum inkind kind, bool grad)
{
	Node *p = node_placeholder(m->main, intern_str(m->cx, name), t, NOLOC);

	vec_push(ctx_arena(m->cx), &m->in, (Input){.kind = kind, .val = p->out, .name = p->out->name, .argname = p->out->name,
	                                           .target = fqn ? intern_str(m->cx, fqn) : NULL, .requires_grad = grad});
	return p->out;
}

static Module *
joint(Ctx *cx, enum dtype dt)
{
	static const char *const name[] = {"p_a_w", "p_b", "p_c"}, *const fqn[] = {"a.w", "b", "c"};
	Module *m = module_new(cx, intern_str(cx, "m"));
	const Type *t[3];
	Val *v[3];
	Arg list[3];

	m->main = graph_new(m, intern_str(cx, "main"), NULL);
	for (int k = 0; k < 3; k++) {
		int of = k == 2 ? 0 : k;
		t[k] = type_tensor(cx, dt, rank[of], (const Sym *[]){sym_const(cx, size[of][0]), sym_const(cx, size[of][1])});
		input(m, name[k], fqn[k], t[k], InParam, true);
	}
	for (int k = 0; k < 3; k++)
		v[k] = input(m, "tangent", NULL, t[k], InTangent, false);
	for (int k = 0; k < 3; k++) {
		list[k] = k == 2 ? arg_none() : arg_val(v[k]);
		vec_push(ctx_arena(cx), &m->out, (Output){.kind = ResGradParam, .name = intern_str(cx, "g"), .target = intern_str(cx, fqn[k])});
	}
	node_output(m->main, &(Arg){.kind = ArgList, .list = {list, 3}}, NOLOC);
	return m;
}

/* ---- running it ------------------------------------------------------------------------ */

static Tensor
tensor(Arena *a, const Type *t)
{
	Tensor r = {.dt = t->dt, .rank = t->rank};
	int64_t n = 1;

	for (int d = 0; d < t->rank; d++) {
		sym_isconst(t->dim[d], &r.dim[d]);
		n *= r.dim[d];
	}
	r.bytes = (size_t)n * dtypeinfo[t->dt].bytes;
	r.data = arena_alloc(a, r.bytes + 1, 64);
	return r;
}

static int
inputof(const Module *m, enum inkind kind, const char *target)
{
	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].kind == kind && m->in.v[i].target && strcmp(m->in.v[i].target, target) == 0)
			return i;
	return -1;
}

static void
gradients(const Module *m, Tensor *in, int step)
{
	static const char *const fqn[] = {"a.w", "b"};

	for (int k = 0; k < Nparam; k++) {
		int at = inputof(m, InUser, fqn[k]);
		for (int i = 0; i < numel[k]; i++)
			tensor_set(&in[at], i, (double)((7 * i + 13 * step + 3 * k) % 17 - 8) / 16);
	}
}

static bool
run(Module *m, Arena *a, double lr, double *got)
{
	Tensor *in = NEWN(a, Tensor, m->in.n), *out = NEWN(a, Tensor, m->out.n);

	for (int i = 0; i < m->in.n; i++) {
		in[i] = tensor(a, m->in.v[i].val->type);
		if (m->in.v[i].weight && m->in.v[i].weight->data)
			memcpy(in[i].data, m->in.v[i].weight->data, in[i].bytes);
	}
	for (int k = 0; k < Nparam; k++)
		for (int i = 0; i < numel[k]; i++)
			tensor_set(&in[inputof(m, InParam, k ? "b" : "a.w")], i, (double)((5 * i + 3 + k) % 11 - 5) / 8);
	tensor_set(&in[m->in.n - 1], 0, lr);
	for (int step = 0; step < Steps; step++) {
		gradients(m, in, step);
		if (!graph_interp(m->main, a, in, m->in.n, out, m->out.n, false))
			return false;
		for (int i = 0; i < m->out.n; i++)
			in[inputof(m, m->out.v[i].kind == ResParamMut ? InParam : InBuffer, m->out.v[i].target)] = out[i];
	}
	for (int k = 0, n = 0; k < Nparam; k++)
		for (int i = 0; i < numel[k]; i++)
			got[n++] = tensor_get(&in[inputof(m, InParam, k ? "b" : "a.w")], i);
	return true;
}

/* A few roundings apart, for bf16 one: torch contracts some products and sums, we do not. */
static double
tolerance(enum dtype dt)
{
	return dt == DtF64 ? 1e-14 : dt == DtF32 ? 5e-7 : 0x1p-8;
}

static void
compare(const struct ref *r)
{
	Ctx *cx = ctx_new(&(Diag){.out = stdout});
	Optimizer o;
	const char *wrong = optimizer_parse(cx, r->optimizer, &o);
	Module *m = wrong ? NULL : optimizer_module(joint(cx, r->dt), &o);
	double got[Nref], worst = 0;
	bool ok = m && module_verify(m) && pass_decompose(m->main) && o.lr == r->lr && run(m, ctx_arena(cx), o.lr, got);

	for (int i = 0; ok && i < Nref; i++)
		worst = fmax(worst, isnan(got[i]) ? INFINITY : fabs(got[i] - r->want[i]) / fmax(fabs(r->want[i]), 0.125));
	ok = ok && worst <= tolerance(r->dt);
	printf("%sok %d - %s %s\n", ok ? "" : "not ", ++ntest, r->optimizer, dtypeinfo[r->dt].text);
	if (!ok) {
		nfail++;
		printf("# %s: off by %g\n", wrong ? wrong : "", worst);
	}
	ctx_free(cx);
}

/* ---- the option ---------------------------------------------------------------------------- */

static void
options(void)
{
	static const char *const bad[] = {
		"", "sdg", "sgd:", "sgd:momentum", "sgd:momentum=", "sgd:momentum=x", "sgd:momentum=-1", "sgd:betas=0.9,0.99", "sgd:nesterov=true",
		"sgd:momentum=0.9,dampening=0.1,nesterov=true", "sgd:momentum=0.9,nesterov=2", "adam:betas=0.9", "adam:betas=0.9,1", "adam:beta1=nan",
		"adam:decoupled=true", "adamw:lr=inf", "adam:param=1", "adam:,", "adam:amsgrad=maybe", "adagrad:lr_decay=1e400",
		"sgd:initial_accumulator_value=1", "lion:eps=1",
	};
	static const char *const good[] = {
		"sgd", "adamw:lr=3e-4,betas=0.9,0.95,eps=1e-6,weight_decay=0.1", "adam:beta2=0.98,amsgrad=True", "lion:clip=1", "rmsprop:centered=1,clip_value=2",
	};
	Ctx *cx = ctx_new(&(Diag){.out = stdout});
	Optimizer o;

	for (int i = 0; i < COUNT(bad); i++) {
		const char *wrong = optimizer_parse(cx, bad[i], &o);
		OK(wrong != NULL);
		printf("#   %s\n", wrong ? wrong : bad[i]);
	}
	for (int i = 0; i < COUNT(good); i++)
		OK(optimizer_parse(cx, good[i], &o) == NULL);
	STREQ(optimizer_parse(cx, "adagrad:beta1=0.5", &o),
	      "adagrad has no option 'beta1' (lr clip clip_value lr_decay weight_decay eps maximize initial_accumulator_value)");
	ctx_free(cx);
}

/* Integers are not updated, nor is a module in which nothing is. */
static void
refused(void)
{
	Ctx *cx = ctx_new(&(Diag){.quiet = true});
	Optimizer o;
	Module *m = joint(cx, DtI32);

	OK(optimizer_parse(cx, "sgd", &o) == NULL);
	OK(optimizer_module(m, &o) == NULL && ctx_errors(cx) == 1);
	m = joint(cx, DtF32);
	for (int i = 0; i < m->in.n; i++)
		m->in.v[i].requires_grad = false;
	OK(optimizer_module(m, &o) == NULL && ctx_errors(cx) == 2);
	ctx_free(cx);
}

int
main(void)
{
	for (int i = 0; i < COUNT(reftab); i++)
		compare(&reftab[i]);
	options();
	refused();
	return tap_end();
}
