/* view.c - outputs that own no memory: views of inputs, states or other outputs.
 *
 * No step computes them.  Given with memory they are copied when all steps are done, as
 * what they are views of may have been written; given without, they are set to point there.
 */
#include <string.h>
#include "model.h"

static char *
view_base(const fxrt_run *r, const fxrt_port *p)
{
	switch (p->viewof) {
	case FxrtViewIn:    return r->in[p->base];
	case FxrtViewState: return (char *)r->cx->state + r->cx->model->states[p->base].offset;
	default:            return r->out[p->base];
	}
}

static size_t
view_width(const fxrt_port *p)
{
	return (fxrt_dltype(p->dtype).bits + 7u) / 8;
}

/* Row-major to `to`; runs along the last dimension at once if they are contiguous. */
static void
copy_view(fxrt_run *r, const fxrt_port *p, char *to)
{
	int64_t n[FxrtMaxRank], s[FxrtMaxRank], at[FxrtMaxRank] = {0}, run = 1, off = fxrt_eval(p->voffset, r->sym, &r->bad);
	const char *base = view_base(r, p);
	size_t w = view_width(p);
	int rank = p->rank, d;

	for (d = 0; d < rank; d++) {
		n[d] = fxrt_eval(p->dim[d], r->sym, &r->bad);
		s[d] = fxrt_eval(p->vstride[d], r->sym, &r->bad);
		if (n[d] == 0)
			return;
	}
	while (rank > 0 && s[rank - 1] == run)
		run *= n[--rank];
	do {
		memcpy(to, base + off * (int64_t)w, (size_t)run * w);
		to += (size_t)run * w;
		for (d = rank - 1; d >= 0; d--) {
			off += s[d];
			if (++at[d] < n[d])
				break;
			off -= s[d] * n[d];
			at[d] = 0;
		}
	} while (d >= 0);
}

void
fxrt_copy_views(fxrt_run *r)
{
	for (int i = 0; i < r->en->nout; i++)
		if (r->en->out[i].viewof && r->out[i])
			copy_view(r, &r->en->out[i], r->out[i]);
}

/* One without memory: may be absent, or have room for strides. */
int
fxrt_check_view(fxrt_run *r, int i, const DLTensor *t)
{
	const fxrt_port *p = &r->en->out[i];
	int64_t row = 1;

	if (t == NULL)
		return 0;
	if (t->ndim != p->rank)
		return fxrt_fail(r->err, FXCC_ERANK, p->name, "%s: %d dimensions given, %d wanted", p->name, t->ndim, p->rank);
	for (int d = p->rank - 1; d >= 0; d--) {
		int64_t n = fxrt_eval(p->dim[d], r->sym, &r->bad);
		if (t->strides == NULL && n != 1 && fxrt_eval(p->vstride[d], r->sym, &r->bad) != row)
			return fxrt_fail(r->err, FXCC_ESTRIDE, p->name, "%s: a view with strides, but there is no room for them", p->name);
		row *= n;
	}
	return 0;
}

void
fxrt_set_views(fxrt_run *r, DLTensor *const *out)
{
	for (int i = 0; i < r->en->nout; i++) {
		const fxrt_port *p = &r->en->out[i];
		if (!p->viewof || out[i] == NULL || out[i]->data)
			continue;
		out[i]->data = view_base(r, p);
		out[i]->byte_offset = (uint64_t)fxrt_eval(p->voffset, r->sym, &r->bad) * view_width(p);
		out[i]->dtype = fxrt_dltype(p->dtype);
		out[i]->device = (DLDevice){1, 0};
		for (int d = 0; out[i]->strides && d < p->rank; d++)
			out[i]->strides[d] = fxrt_eval(p->vstride[d], r->sym, &r->bad);
	}
}

/* First element and strides, in elements. */
static int32_t
describe(const fxrt_port *p, const int64_t *sym, int64_t *offset, int64_t *stride, fxcc_error *e)
{
	int bad = 0;

	*offset = fxrt_eval(p->voffset, sym, &bad);
	for (int d = 0; d < p->rank; d++)
		stride[d] = fxrt_eval(p->vstride[d], sym, &bad);
	return bad ? fxrt_fail(e, FXCC_ESHAPE, NULL, "a size overflows") : 0;
}

int32_t
fxrt_out_view(const fxrt_model *m, const int64_t *const *in, int32_t out, int32_t *base, int64_t *offset, int64_t *stride, fxcc_error *e)
{
	const fxrt_port *p = out >= 0 && out < m->entry->nout ? &m->entry->out[out] : NULL;
	int64_t sym[FxrtMaxSym];
	int rc = fxrt_bind_shapes(m, in, sym, e);

	if (rc)
		return rc;
	if (p == NULL || !p->viewof)
		return fxrt_fail(e, FXCC_EARG, NULL, "output %d is no view", out);
	*base = p->base;
	return describe(p, sym, offset, stride, e);
}

int32_t
fxrt_in_after(const fxrt_model *m, const int64_t *const *shape, int32_t in, int32_t *ndim, int64_t *size, int64_t *stride, int64_t *offset, fxcc_error *e)
{
	const fxrt_port *p = in >= 0 && in < m->entry->nin ? m->entry->in[in].after : NULL;
	int64_t sym[FxrtMaxSym];
	int rc = fxrt_bind_shapes(m, shape, sym, e), bad = 0;

	if (rc)
		return rc;
	if (p == NULL)
		return fxrt_fail(e, FXCC_EARG, NULL, "input %d keeps its sizes", in);
	*ndim = p->rank;
	for (int d = 0; d < p->rank; d++)
		size[d] = fxrt_eval(p->dim[d], sym, &bad);
	return bad ? fxrt_fail(e, FXCC_ESHAPE, NULL, "a size overflows") : describe(p, sym, offset, stride, e);
}
