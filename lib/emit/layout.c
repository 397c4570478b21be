/* layout.c - how what the entries share lies in memory. */
#include "emit/emit.h"

/* A state lies row-major, whatever the strides of its first value. */
static void
dense_state(Module *m, Input *in)
{
	Arena *a = ctx_arena(m->cx);
	const Weight *w = in->weight;
	const Type *t = in->val ? in->val->type : NULL;
	Weight *d;
	int64_t dim[MaxRank], stride[MaxRank], at[MaxRank] = {0}, n = 1, src = 0;

	if (!w || !w->data || !t || t->kind != TyTensor || !w->type || !w->type->stride || !(in->updatable || input_written(m, in)))
		return;
	size_t width = dtypeinfo[t->dt].bytes;
	for (int k = 0; k < t->rank; k++) {
		if (!sym_isconst(t->dim[k], &dim[k]) || !sym_isconst(w->type->stride[k], &stride[k]))
			return;
		n *= dim[k];
	}
	d = NEW(a, Weight);
	*d = *w;
	d->bytes = (size_t)n * width;
	uint8_t *p = arena_alloc(a, d->bytes + 1, 64);
	for (int64_t i = 0; i < n; i++) {
		memcpy(p + (size_t)i * width, w->data + (size_t)src * width, width);
		for (int k = t->rank - 1; k >= 0; k--) {
			src += stride[k];
			if (++at[k] < dim[k])
				break;
			src -= stride[k] * dim[k];
			at[k] = 0;
		}
	}
	d->data = p;
	d->type = in->val->type = type_tensor(m->cx, t->dt, t->rank, t->dim);
	in->weight = d;
}

/* What passes between forward and backward, and tangents, lies row-major. */
static void
memory_layout(Module *m, bool isfold, bool donate)
{
	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i];
		const Type *t = in->val ? in->val->type : NULL;
		in->swappable = in->swappable && (isfold || !input_written(m, in));    /* what forward changes is each context's */
		dense_state(m, in);
		if ((in->kind == InSaved || in->kind == InTangent) && t && t->kind == TyTensor)
			in->val->type = type_tensor(m->cx, t->dt, t->rank, t->dim);
		in->donated = in->donated && donate;
	}
}

/* Both parts agree on what is a state. */
static void
share_states(Module *fw, Module *bw)
{
	for (int i = 0; i < fw->in.n; i++)
		for (int k = 0; k < bw->in.n; k++) {
			Input *a = &fw->in.v[i], *b = &bw->in.v[k];
			if (a->target && a->target == b->target && b->kind != InSaved && b->kind != InTangent) {
				b->updatable = a->updatable || input_written(fw, a);
				b->weight = a->weight;
			}
		}
}

void
emit_layout(Module *m, Module *step, bool donate)
{
	memory_layout(m, false, donate);
	if (m->backward) {
		share_states(m, m->backward);
		memory_layout(m->backward, false, donate);
	}
	if (m->fold)
		memory_layout(m->fold, true, donate);
	if (step) {
		share_states(m, step);
		memory_layout(step, false, donate);
	}
}
