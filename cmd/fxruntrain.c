/* fxruntrain.c - forward and backward of a library that was compiled with --train.
 *
 * A tangent that no word gives is what the library takes for it: 1 for a loss, zeros.
 */
#include "fxrun.h"

static bool
give_tangent(Run *r, Call *c, int i, const char *word, char *why, size_t n)
{
	const fxcc_tensor_info *t = &c->m->tangent[i];
	const DLTensor *out = t->offset < (uint64_t)c->m->nout ? c->out[t->offset] : NULL;
	Slot slot = info_slot(t);
	Run one = *r;
	Tensor x;

	for (int d = 0; out && d < out->ndim; d++)
		slot.dim[d] = out->shape[d];
	one.in = (Words){0};
	vec_push(ctx_arena(r->cx), &one.in, word);
	if (!run_inputs(&one, &slot, 1, &x)) {
		snprintf(why, n, "%s: no tangent", t->name);
		return false;
	}
	c->tangent[i] = artifact_tensor(t->dtype, x.rank, x.dim, NULL, x.bytes);
	memcpy(c->tangent[i]->data, x.data, x.bytes);
	return true;
}

bool
run_train(Run *r, Call *c, char *why, size_t n)
{
	if (!call_train(c, why, n))
		return false;
	for (int k = 0; k < r->in.n; k++)
		for (int i = 0; i < c->m->ntangent; i++) {
			size_t len = strlen(c->m->tangent[i].name);
			if (strncmp(r->in.v[k], c->m->tangent[i].name, len) == 0 && r->in.v[k][len] == '=' &&
			    !give_tangent(r, c, i, r->in.v[k], why, n))
				return false;
		}
	return call_forward(c, why, n) && call_backward(c, false, why, n);
}

int
take_gradients(Run *r, const Call *c, Slot *slot, Tensor *t, int n)
{
	for (int i = 0; i < c->m->ngrad; i++, n++) {
		const char *name = c->m->grad[i].name;
		slot[n] = info_slot(&c->m->grad[i]);
		slot[n].name = arena_printf(ctx_arena(r->cx), "grad_%s", strncmp(name, "g_", 2) == 0 ? name + 2 : name);
		t[n] = dl_tensor(c->grad[i]);
	}
	return n;
}
