/* step.c - the optimizer's step: the gradients as backward left them, and the states.
 *
 * An argument of the step is a gradient (fxrt_port.alias says which of backward's results)
 * or the learning rate.
 */
#include "model.h"

static int
step_go(fxrt_run *r)
{
	int rc;

	for (int i = 0; i < r->en->nin; i++)
		if (r->in[i] == NULL && fxrt_port_bytes(&r->en->in[i], r->sym, &r->bad)) {
			if (r->err)
				r->err->index = r->en->in[i].alias;
			return fxrt_fail(r->err, FXCC_EARG, r->en->in[i].name, "%s: a null pointer; a step needs every gradient", r->en->in[i].name);
		}
	rc = fxrt_arena_check(r->cx, fxrt_eval(r->v->arena, r->sym, &r->bad), r->err);
	return rc ? rc : fxrt_steps(r);
}

/* gin: in the order of backward's. */
int32_t
fxrt_update(void *ctx, const DLTensor *const *gin, double lr, fxcc_error *e)
{
	void *in[FxrtMaxBuf];
	fxrt_run r = {.in = in};
	int rc = fxrt_start(&r, ctx, FxrtStep, e);

	for (int i = 0; !rc && i < r.en->nin; i++) {
		const fxrt_port *p = &r.en->in[i];
		const DLTensor *t = p->alias < 0 || gin == NULL ? NULL : gin[p->alias];
		in[i] = p->alias < 0 ? &lr : NULL;
		if (t == NULL || t->data == NULL)
			continue;
		if ((rc = fxrt_check_tensor(p, t, p->alias, r.sym, e)) == 0)
			rc = fxrt_check_strides(p, t, r.sym, 0, e);
		in[i] = (char *)t->data + t->byte_offset;
	}
	return rc ? rc : step_go(&r);
}

/* args: backward's struct; its gradients lie behind the tangents. */
int32_t
fxrt_update_struct(void *ctx, const void *args, double lr, fxcc_error *e)
{
	void *in[FxrtMaxBuf], *const *grad = args;
	fxrt_run r = {.in = in};
	int rc = fxrt_start(&r, ctx, FxrtStep, e);

	if (rc)
		return rc;
	if (args == NULL)
		return fxrt_fail(e, FXCC_EARG, NULL, "no arguments");
	grad += fxrt_entry_of(r.cx->model, FxrtBackward)->nin;
	for (int i = 0; i < r.en->nin; i++)
		in[i] = r.en->in[i].alias < 0 ? (void *)&lr : grad[r.en->in[i].alias];
	return step_go(&r);
}
