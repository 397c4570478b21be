/* test_lower.c - lowered kernels compute what the interpreter does.
 *
 * For each case of each `sample` line of the tables: the operator is expanded,
 * lowered for a machine without vectors and for machines with them, with sizes
 * as numbers and as symbols; the plan is run by interpreting its kernels, and
 * the results are compared with those of the graph's interpreter.
 *
 * `test_lower NAME` runs the operators whose name contains NAME; with a second
 * argument (a target) it prints the plans as well.
 */
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include "lower/lower.h"
#include "rt/rt.h"
#include "opsample.h"
#include "tap.h"

typedef struct Test {
	const OpDef *op;
	Ctx *cx;
	Diag diag;
	char *log;
	size_t size;
	jmp_buf bug;
	int bad;
	const char *show;
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

#define RT(name) fxrt_fn fxrt_##name;
#include "rt/rttab.h"
#undef RT

/* ---- running a plan ---------------------------------------------------------------- */

enum { MaxSyms = 64 };

typedef struct Run {
	const Plan *p;
	Arena *a;
	const Tensor *in;
	Tensor *out;
	void **buf;
	const Sym *var[MaxSyms];
	int64_t val[MaxSyms];
	int nsym;
	int64_t fault[3];
} Run;

static bool
look(void *p, const Sym *var, int64_t *v)
{
	Run *r = p;

	for (int i = 0; i < r->nsym; i++)
		if (r->var[i] == var) {
			*v = r->val[i];
			return true;
		}
	*v = 0;
	return strcmp(var->name, "rng_seed") == 0;
}

static int64_t
size(Run *r, const Sym *s)
{
	int64_t n = 0;

	sym_eval(s, look, r, &n);
	return n;
}

static void
setsym(Run *r, const Sym *var, int64_t v)
{
	int64_t was;

	if (var->kind == SymVar && !look(r, var, &was) && r->nsym < MaxSyms) {
		r->var[r->nsym] = var;
		r->val[r->nsym++] = v;
	}
}

static void
bindinputs(Run *r, Sample *s)
{
	for (int i = 0; i < s->nin; i++)
		for (int d = 0; d < s->in[i].rank; d++)
			setsym(r, s->val[i]->type->dim[d], s->in[i].dim[d]);
}

static void
place(Run *r, uint8_t *arena, int i)
{
	const Buf *b = &r->p->buf.v[i];

	switch (b->home) {
	case HomeInput:  r->buf[i] = r->in[b->index].data; break;
	case HomeOutput:
		if (!r->out[b->index].data)
			r->out[b->index].data = arena_alloc(r->a, (size_t)(size(r, b->count) + 4096) * 16, 64);
		r->buf[i] = r->out[b->index].data;
		break;
	case HomeArena: case HomeScratch:
		r->buf[i] = b->offset ? arena + size(r, b->offset) : NULL;
		break;
	case HomeFault:  r->buf[i] = r->fault; break;
	default:
		r->buf[i] = (void *)(uintptr_t)b->data;
	}
}

static bool
callextern(Run *r, const Step *s, void **buf)
{
	static const struct { const char *name; fxrt_fn *fn; } fns[] = {
#define RT(name) {#name, fxrt_##name},
#include "rt/rttab.h"
#undef RT
	};
	uint8_t dt[256];
	int64_t num[64], found = 0;
	fxrt_call c = {.buf = buf, .dt = dt, .num = num, .real = s->real, .out = &found,
	               .nbuf = s->nbuf, .nnum = s->nnum, .nreal = s->nreal};

	for (int i = 0; i < s->nbuf; i++)
		dt[i] = s->buf[i] < 0 ? 255 : (uint8_t)r->p->buf.v[s->buf[i]].dt;
	for (int i = 0; i < s->nnum; i++)
		num[i] = size(r, s->num[i]);
	for (int i = 0; i < COUNT(fns); i++)
		if (strcmp(fns[i].name, s->fn) == 0) {
			bool ok = fns[i].fn(&c) == 0;
			if (s->define)
				setsym(r, s->define, found);
			return ok;
		}
	return false;
}

static bool
runstep(Run *r, const Step *s)
{
	void *buf[256];
	int64_t sym[MaxSyms];
	const Kernel *k = s->kernel;

	for (int i = 0; i < s->nbuf; i++)
		buf[i] = s->buf[i] < 0 ? NULL : r->buf[s->buf[i]];
	switch (s->kind) {
	case StepKernel:
		for (int i = 0; i < k->sym.n; i++)
			sym[i] = size(r, k->sym.v[i]);
		if (!k->parallel)
			return kernel_run(k, buf, sym, 0, 1);
		/* As two workers would, the second first. */
		return kernel_run(k, buf, sym, size(r, k->parallel) / 2, size(r, k->parallel)) &&
		       kernel_run(k, buf, sym, 0, size(r, k->parallel) / 2);
	case StepExtern:
		return callextern(r, s, buf);
	case StepCopy:
		memmove(buf[1], buf[0], (size_t)size(r, r->p->buf.v[s->buf[1]].count) *
		                        dtypeinfo[r->p->buf.v[s->buf[1]].dt].bytes);
		return true;
	default:
		return false;
	}
}

static bool
plan_run(Run *r, Sample *s)
{
	uint8_t *arena;

	bindinputs(r, s);
	r->buf = NEWN(r->a, void *, r->p->buf.n + 1);
	arena = arena_alloc(r->a, (size_t)size(r, r->p->arena) + 64, 64);
	memset(arena, 0xa5, (size_t)size(r, r->p->arena));
	for (int i = 0; i < r->p->step.n; i++) {
		for (int b = 0; b < r->p->buf.n; b++)
			place(r, arena, b);
		if (!runstep(r, &r->p->step.v[i]))
			return false;
	}
	return true;
}

/* ---- comparing ----------------------------------------------------------------------- */

static bool
expanded(Test *t, Sample *s)
{
	bool again = true;

	for (int round = 0; again; round++) {
		again = false;
		for (Node *n = s->g->first, *next; n; n = next) {
			next = n->next;
			if (op_route(n->op) != RouteExpand)
				continue;
			again = true;
			if (round == 50 || !node_expand(n)) {
				complain(t, "%s: expansion stops at %s", s->text, n->op->name);
				return false;
			}
		}
	}
	return true;
}

/* What the readers would say of the graph: its inputs and outputs. */
static void
signature(Sample *s, int nout)
{
	for (int i = 0; i < s->nin; i++)
		vec_push(s->a, &s->mod->in, (Input){.kind = InUser, .val = s->val[i], .name = s->val[i]->name});
	for (int i = 0; i < nout; i++)
		vec_push(s->a, &s->mod->out, (Output){.kind = ResUser, .name = intern_printf(s->cx, "out%d", i)});
}

static bool
simple(const Sample *s)
{
	for (int i = 0; i < s->node->nout; i++) {
		const Type *ty = s->node->out[i].type;
		if (!ty || ty->kind != TyTensor || dtypeinfo[ty->dt].kind == KindComplex)
			return false;
	}
	for (int i = 0; i < s->nin; i++)
		if (dtypeinfo[s->in[i].dt].kind == KindComplex)
			return false;
	return s->node->nout <= 32;
}

static void
compare(Test *t, const Sample *s, const char *what, int o, const Tensor *got, const Tensor *want)
{
	Tensor g = *want;

	if (t->op->flags & OP(Random))
		return;
	g.data = got->data;
	if (!g.data && tensor_numel(want)) {
		complain(t, "%s: %s: result %d is not written", s->text, what, o);
		return;
	}
	for (int64_t i = 0; i < tensor_numel(want); i++)
		if (!sample_near(tensor_get(&g, i), tensor_get(want, i), sample_tolerance(want->dt))) {
			complain(t, "%s: %s: result %d [%lld] is %.9g, want %.9g", s->text, what, o, (long long)i,
			         tensor_get(&g, i), tensor_get(want, i));
			return;
		}
}

/* Inputs from the second on are weights, known when compiling. */
static void
asweights(Sample *s)
{
	for (int i = 1; i < s->nin; i++) {
		Weight *w = NEW(s->a, Weight);
		*w = (Weight){.fqn = s->val[i]->name, .type = s->val[i]->type, .data = s->in[i].data, .bytes = s->in[i].bytes};
		s->mod->in.v[i].kind = InParam;
		s->mod->in.v[i].weight = w;
	}
}

static void
lowered(Test *t, const char *text, bool symbolic, const char *target, int threads, bool weights)
{
	Sample s;
	Tensor want[64] = {{0}}, got[64] = {{0}};
	LowerOptions o = {.target = target_find(target), .threads = threads};
	Run r = {.in = s.in, .out = got};
	char what[64];
	int nout;

	snprintf(what, sizeof what, "%s%s", target, symbolic ? " symbolic" : "");
	if (!sample_make(&s, t->cx, t->op, text, false, symbolic) || !simple(&s))
		return;
	nout = s.node->nout;
	sample_output(&s, NULL, 0);
	if (!graph_interp(s.g, s.a, s.in, s.nin, want, nout, false))
		return;
	if (!expanded(t, &s))
		return;
	signature(&s, nout);
	if (weights)
		asweights(&s);
	if (!(r.p = lower_graph(s.g, &o))) {
		complain(t, "%s: %s: is not lowered", text, what);
		return;
	}
	if (t->show) {
		Text txt = {.arena = s.a};
		plan_print(r.p, &txt);
		printf("%s\n", txt.s);
	}
	r.a = s.a;
	if (t->op->flags & OP(Random))
		return;
	if (!plan_run(&r, &s)) {
		complain(t, "%s: %s: does not run", text, what);
		return;
	}
	for (int i = 0; i < nout; i++)
		compare(t, &s, what, i, &got[i], &want[i]);
}

static void
operator_(const OpDef *op, const char *show)
{
	Test t = {.op = op, .show = show};
	char *save = NULL;

	t.diag.out = open_memstream(&t.log, &t.size);
	t.cx = ctx_new(&t.diag);
	ctx_onbug(t.cx, onbug, &t);
	for (int i = 0; i < op->nsample; i++)
		if (setjmp(t.bug)) {
			complain(&t, "%s: internal error", op->sample[i]);
		} else if (show) {
			lowered(&t, op->sample[i], false, show, 1, false);
		} else {
			lowered(&t, op->sample[i], false, "c99", 1, false);
			lowered(&t, op->sample[i], false, "x86-64-v4", 4, false);
			lowered(&t, op->sample[i], true, "x86-64-v3", 1, false);
			lowered(&t, op->sample[i], true, "x86-64-v2", 4, false);
		}
	fclose(t.diag.out);
	tap(t.bad == 0, op->name, op->file, op->line);
	for (char *l = t.bad ? strtok_r(t.log, "\n", &save) : NULL; l; l = strtok_r(NULL, "\n", &save))
		printf("#   %s\n", l);
	ctx_free(t.cx);
	free(t.log);
}

/* ---- contractions large enough for tiles -------------------------------------------------- */

static const struct { const char *op, *text; } large[] = {
	{"aten.mm.default", "f32[37,70], f32[70,45]"},
	{"aten.mm.default", "f32[48,64], f32[64,96]"},
	{"aten.mm.default", "f64[13,20], f64[20,19]"},
	{"aten.mm.default", "f32[131,70], f32[70,150]"},
	{"aten.linear.default", "f32[131,75], f32[150,75]"},
	{"aten.mm.default", "bf16[24,40], bf16[40,33]"},
	{"aten.mm.default", "f32[2,40], f32[40,64]"},
	{"aten.mm.default", "f32[1,40], f32[40,64]"},
	{"aten.linear.default", "f32[3,17,40], f32[35,40], f32[35]"},
	{"aten.linear.default", "f32[130,24], f32[64,24], None"},
	{"aten.bmm.default", "f32[3,40,24], f32[3,24,64]"},
	{"aten.bmm.default", "f32[3,25,33], f32[3,33,31]"},
	{"aten.baddbmm.default", "f32[2,20,40], f32[2,20,16], f32[2,16,40] beta=0.5 alpha=2.0"},
	{"aten.convolution.default", "f32[2,5,13,11], f32[20,5,3,3], f32[20] [1,1] [1,1] [1,1] False [0,0] 1"},
	{"aten.convolution.default", "f32[1,6,17,18], f32[16,6,5,3], None [2,2] [2,1] [1,1] False [0,0] 1"},
	{"aten.convolution.default", "f32[2,16,9,9], f32[24,16,1,1], f32[24] [1,1] [0,0] [1,1] False [0,0] 1"},
	{"aten.convolution.default", "f32[1,8,12,12], f32[16,4,3,3], None [1,1] [2,2] [2,2] False [0,0] 2"},
	{"aten.convolution.default", "f32[1,12,6,7], f32[12,9,3,3], None [2,2] [1,1] [1,1] True [1,1] 1"},
	{"aten.convolution.default", "f32[2,16,10,10], f32[16,1,3,3], f32[16] [1,1] [1,1] [1,1] False [0,0] 16"},
	{"aten.convolution.default", "f32[2,6,50], f32[9,6,5], f32[9] [1] [2] [1] False [0] 1"},
	{"aten.convolution.default", "f32[1,3,6,7,8], f32[10,3,3,3,3], None [1,1,1] [1,1,1] [1,1,1] False [0,0,0] 1"},
	{"aten._scaled_dot_product_flash_attention_for_cpu.default", "f32[2,3,20,16], f32[2,3,37,16], f32[2,3,37,16]"},
};

static void
contraction(const char *name, const char *text, const char *show)
{
	const OpDef *op = op_find(name);
	Test t = {.op = op, .show = show};
	char *save = NULL;
	static const char *const targets[] = {"c99", "x86-64-v2", "x86-64-v3", "x86-64-v4"};

	t.diag.out = open_memstream(&t.log, &t.size);
	t.cx = ctx_new(&t.diag);
	ctx_onbug(t.cx, onbug, &t);
	if (setjmp(t.bug)) {
		complain(&t, "%s: internal error", text);
	} else {
		for (int i = 0; i < COUNT(targets); i++)
			for (int w = 0; w < 2; w++)
				if (!show || strcmp(show, targets[i]) == 0)
					lowered(&t, text, false, targets[i], 1 + 3 * (i == 3), w);
		if (!show)
			lowered(&t, text, true, "x86-64-v4", 1, false);
	}
	fclose(t.diag.out);
	tap(t.bad == 0, text, name, 0);
	for (char *l = t.bad ? strtok_r(t.log, "\n", &save) : NULL; l; l = strtok_r(NULL, "\n", &save))
		printf("#   %s\n", l);
	ctx_free(t.cx);
	free(t.log);
}

int
main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : "";

	for (int i = 0; i < COUNT(large); i++)
		if (strstr(large[i].op, only) || (argc > 1 && strcmp(only, "large") == 0))
			contraction(large[i].op, large[i].text, argc > 2 ? argv[2] : NULL);
	for (int k = 0; k < noptab; k++)
		if (optab[k].nsample && strstr(optab[k].name, only))
			operator_(&optab[k], argc > 2 ? argv[2] : NULL);
	return tap_end();
}
