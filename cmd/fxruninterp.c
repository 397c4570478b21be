/* fxruninterp.c - evaluate a model with the reference interpreter.
 *
 * The graph is read, inferred and made functional as the compiler does it, then
 * walked.  What it changes in its inputs comes first among the results of the
 * functional graph; only the user's outputs are shown.
 */
#include <stdlib.h>
#include "fxrun.h"
#include "grad/grad.h"
#include "ir/pass/pass.h"

static Module *
load(Run *r)
{
	ReadOptions o = {.type = r->type.v, .ntype = r->type.n, .haveweights = r->weights.n > 0};
	Module *m;
	File f;

	if (!file_read(r->cx, r->model, &f) || (m = read_model(r->cx, &f, &o)) == NULL)
		return NULL;
	for (int i = 0; i < r->weights.n; i++)
		if (!file_read(r->cx, r->weights.v[i], &f) || !read_weights(r->cx, m, &f, &o))
			return NULL;
	if (!graph_infer(m->main))
		return NULL;
	for (int i = 0; i < m->sub.n; i++)
		if (!graph_infer(m->sub.v[i]))
			return NULL;
	if (!module_verify(m) || !pass_inline(m) || !pass_functionalize(m))
		return NULL;
	if (graph_iscomplex(m->main) && !pass_decompose(m->main))
		return NULL;
	return ctx_errors(r->cx) == 0 ? m : NULL;
}

static Slot
slot_of(Ctx *cx, const char *name, const Type *t)
{
	Slot s = {.name = name, .dt = t->kind == TyTensor ? t->dt : t->sym->isfloat ? DtF64 : DtI64, .isint = t->kind == TySym,
	          .rank = t->kind == TyTensor ? t->rank : 0};

	for (int d = 0; d < s.rank; d++) {
		if (!sym_isconst(t->dim[d], &s.dim[d]))
			s.dim[d] = -1;
		s.lo[d] = t->dim[d]->lo;
		s.sym[d] = sym_str(cx, t->dim[d]);
	}
	return s;
}

/* A weight row-major: its bytes may be strided. */
static bool
weight(Ctx *cx, const Input *in, Tensor *t)
{
	const Weight *w = in->weight;
	Slot s = slot_of(cx, in->name, in->val->type);
	size_t width = dtypeinfo[s.dt].bytes;
	int64_t at[MaxRank] = {0}, stride[MaxRank] = {0}, src = 0;

	if (w == NULL || w->data == NULL) {
		fprintf(stderr, "fxrun: no value for %s: give --weights=FILE\n", in->target ? in->target : in->name);
		return false;
	}
	*t = (Tensor){.dt = s.dt, .rank = s.rank};
	memcpy(t->dim, s.dim, sizeof s.dim);
	t->bytes = (size_t)tensor_numel(t) * width;
	t->data = artifact_memory(t->bytes);
	for (int d = 0; d < s.rank; d++)
		sym_isconst(type_stride(cx, w->type, d), &stride[d]);
	for (int64_t i = 0, n = tensor_numel(t); i < n; i++) {
		memcpy((uint8_t *)t->data + (size_t)i * width, w->data + (size_t)src * width, width);
		for (int d = s.rank - 1; d >= 0; d--) {
			src += stride[d];
			if (++at[d] < t->dim[d])
				break;
			src -= stride[d] * t->dim[d];
			at[d] = 0;
		}
	}
	return true;
}

/* What the command line gives: also the tangents of a joint graph, what a backward one is handed. */
static bool
given(const Input *in)
{
	return in->kind == InUser || in->kind == InTangent || in->kind == InSaved;
}

static bool
inputs(Run *r, Module *m, Tensor *in, int *nin)
{
	Arena *a = ctx_arena(r->cx);
	Slot *slot = NEWN(a, Slot, m->in.n + 1);
	Tensor *user = NEWN(a, Tensor, m->in.n + 1);
	int n = 0, k = 0;

	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].val && given(&m->in.v[i]))
			slot[n++] = slot_of(r->cx, m->in.v[i].argname ? m->in.v[i].argname : m->in.v[i].name, m->in.v[i].val->type);
	if (!run_inputs(r, slot, n, user))
		return false;
	*nin = 0;
	for (int i = 0; i < m->in.n; i++) {
		const Input *p = &m->in.v[i];
		if (p->val == NULL)
			continue;
		if (given(p))
			in[(*nin)++] = user[k++];
		else if (p->val->type->kind != TyTensor)
			in[(*nin)++] = (Tensor){.dt = DtI64};
		else if (!weight(r->cx, p, &in[(*nin)++]))
			return false;
	}
	return true;
}

static bool
shown(const Output *o)
{
	return o->kind == ResUser || o->kind == ResLoss || o->kind == ResGradParam || o->kind == ResGradUser || o->kind == ResSaved;
}

static Str
resname(Run *r, const Output *o, int i)
{
	bool grad = o->kind == ResGradParam || o->kind == ResGradUser;

	if (grad && o->target)
		return intern_printf(r->cx, "grad_%s", o->target);
	return o->name ? o->name : intern_printf(r->cx, "out%d", i);
}

int
run_interp(Run *r)
{
	Module *m = load(r);
	Arena *a = ctx_arena(r->cx);
	Tensor *in, *out;
	Slot *slot;
	int nin, n = 0;

	if (m == NULL)
		return ExitWrong;
	in = NEWN(a, Tensor, m->in.n + 1);
	out = NEWN(a, Tensor, m->out.n + 1);
	slot = NEWN(a, Slot, m->out.n + 1);
	if (!inputs(r, m, in, &nin))
		return ExitWrong;
	if (!graph_interp(m->main, a, in, nin, out, m->out.n, r->f64)) {
		if (ctx_errors(r->cx) == 0)
			fprintf(stderr, "fxrun: the graph cannot be evaluated\n");
		return ExitWrong;
	}
	for (int i = 0; i < m->out.n; i++)
		if (shown(&m->out.v[i])) {
			if (out[i].data == NULL && out[i].rank == 0)
				continue;
			slot[n] = (Slot){.name = resname(r, &m->out.v[i], i), .dt = out[i].dt};
			out[n++] = out[i];
		}
	return run_outputs(r, slot, out, n);
}
