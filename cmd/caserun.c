/* caserun.c - load an artifact and run a case on it, through the generic entry. */
#include <dlfcn.h>
#include <stdlib.h>
#include "case.h"
#include "rt/fxcc_abi.h"

static enum dtype
dtype_of(DLDataType d)
{
	switch (d.code << 8 | d.bits) {
	case 6 << 8 | 8:   return DtB8;
	case 1 << 8 | 8:   return DtU8;
	case 0 << 8 | 8:   return DtI8;
	case 0 << 8 | 16:  return DtI16;
	case 0 << 8 | 32:  return DtI32;
	case 0 << 8 | 64:  return DtI64;
	case 1 << 8 | 16:  return DtU16;
	case 1 << 8 | 32:  return DtU32;
	case 1 << 8 | 64:  return DtU64;
	case 2 << 8 | 16:  return DtF16;
	case 4 << 8 | 16:  return DtBF16;
	case 2 << 8 | 32:  return DtF32;
	case 2 << 8 | 64:  return DtF64;
	case 5 << 8 | 64:  return DtC64;
	case 5 << 8 | 128: return DtC128;
	case 10 << 8 | 8:  return DtF8E4M3;
	case 12 << 8 | 8:  return DtF8E5M2;
	default:           return DtNone;
	}
}

static void *
memory(size_t n)
{
	void *p = NULL;

	if (posix_memalign(&p, 64, n + 64))
		abort();
	memset(p, 0, n + 64);
	return p;
}

/* An input in the memory layout that the case gives it. */
static DLTensor *
input(const CaseTensor *t, DLDataType d)
{
	DLTensor *x = calloc(1, sizeof *x);
	size_t width = dtypeinfo[t->dt].bytes;
	int64_t n = 1, span = 1, idx[MaxRank] = {0};
	uint8_t *p;

	for (int i = 0; i < t->rank; i++) {
		n *= t->dim[i];
		span += (t->dim[i] - 1) * t->stride[i];
	}
	span = n == 0 ? 0 : t->storage ? t->storage : span;
	p = memory((size_t)span * width);
	if (t->storage && n)
		memcpy(p, t->data, (size_t)span * width);
	for (int64_t i = 0; !t->storage && i < n; i++) {
		int64_t at = 0;
		for (int k = 0; k < t->rank; k++)
			at += idx[k] * t->stride[k];
		memcpy(p + (size_t)at * width, t->data + (size_t)i * width, width);
		for (int k = t->rank - 1; k >= 0 && ++idx[k] == t->dim[k]; k--)
			idx[k] = 0;
	}
	*x = (DLTensor){p, {1, 0}, t->rank, d, calloc(MaxRank, 8), calloc(MaxRank, 8), 0};
	for (int i = 0; i < t->rank; i++) {
		x->shape[i] = t->dim[i];
		x->strides[i] = t->stride[i];
	}
	return x;
}

/* What a strided tensor holds, row-major. */
static void *
gather(const DLTensor *x, size_t width)
{
	int64_t n = 1, idx[MaxRank] = {0};
	uint8_t *out;

	for (int i = 0; i < x->ndim; i++)
		n *= x->shape[i];
	out = memory((size_t)n * width);
	for (int64_t i = 0; i < n; i++) {
		int64_t at = 0;
		for (int k = 0; k < x->ndim; k++)
			at += idx[k] * x->strides[k];
		memcpy(out + (size_t)i * width, (uint8_t *)x->data + (size_t)at * width, width);
		for (int k = x->ndim - 1; k >= 0 && ++idx[k] == x->shape[k]; k--)
			idx[k] = 0;
	}
	return out;
}

typedef struct Bound {
	const fxcc_module *m;
	void *ctx;
	DLTensor **in, **out;
	int *portof;                   /* by input of the case: its port, -1 */
} Bound;

static bool
bind_inputs(Bound *b, const CaseRun *r, char *why, size_t n)
{
	int port = 0;

	for (int i = 0; i < r->in.n; i++) {
		const CaseTensor *t = &r->in.v[i];
		b->portof[i] = -1;
		while (port < b->m->nin && b->m->in[port].kind != FXCC_USER && b->m->in[port].kind != FXCC_SIZE)
			port++;
		if (!t->istensor) {
			if (t->isint && port < b->m->nin && b->m->in[port].kind == FXCC_SIZE) {
				CaseTensor s = {.dt = DtI64, .istensor = true, .data = (const uint8_t *)&t->value};
				b->in[port] = input(&s, b->m->in[port].dtype);
				port++;
			}
			continue;
		}
		if (port >= b->m->nin)
			break;
		b->portof[i] = port;
		b->in[port] = input(t, b->m->in[port].dtype);
		if (dtype_of(b->m->in[port].dtype) != t->dt) {
			snprintf(why, n, "input %s is %s in the case", b->m->in[port].name, dtypeinfo[t->dt].text);
			return false;
		}
		port++;
	}
	for (int i = 0; i < b->m->nin; i++)
		if (b->in[i] == NULL) {
			snprintf(why, n, "the case has no input for %s", b->m->in[i].name);
			return false;
		}
	return true;
}

static bool
make_outputs(Bound *b, char *why, size_t n)
{
	const int64_t **ishape = calloc((size_t)b->m->nin + 1, sizeof *ishape);
	int64_t **oshape = calloc((size_t)b->m->nout + 1, sizeof *oshape);
	fxcc_error e = {0};

	for (int i = 0; i < b->m->nin; i++)
		ishape[i] = b->in[i]->shape;
	for (int i = 0; i < b->m->nout; i++)
		oshape[i] = calloc(MaxRank, 8);
	if (b->m->out_shape(ishape, oshape, &e)) {
		snprintf(why, n, "out_shape: %s", e.msg);
		return false;
	}
	for (int i = 0; i < b->m->nout; i++) {
		DLTensor *t = calloc(1, sizeof *t);
		size_t bytes = (size_t)(b->m->out[i].dtype.bits / 8);
		for (int d = 0; d < b->m->out[i].ndim; d++) {
			if (oshape[i][d] > INT64_C(1) << 32 || oshape[i][d] < 0) {
				snprintf(why, n, "output %s has no bound on its size", b->m->out[i].name);
				return false;
			}
			bytes *= (size_t)oshape[i][d];
		}
		*t = (DLTensor){memory(bytes), {1, 0}, b->m->out[i].ndim, b->m->out[i].dtype, oshape[i], NULL, 0};
		b->out[i] = t;
	}
	return true;
}

static bool
judge(Bound *b, const CaseRun *r, char *why, size_t n)
{
	char reason[200];
	int port = 0;

	for (int i = 0; i < r->out.n; i++) {
		if (!r->out.v[i].eager.istensor && !r->out.v[i].eager.isint)
			continue;
		if (port >= b->m->nout) {
			snprintf(why, n, "output %d is missing", i);
			return false;
		}
		const DLTensor *t = b->out[port++];
		if (!r->out.v[i].eager.istensor) {
			if (*(int64_t *)t->data != r->out.v[i].eager.value && r->deterministic) {
				snprintf(why, n, "output %d is %lld, wanted %lld", i, (long long)*(int64_t *)t->data, (long long)r->out.v[i].eager.value);
				return false;
			}
			continue;
		}
		if (!case_passes(&r->out.v[i], dtype_of(t->dtype), t->ndim, t->shape, t->data, r->deterministic, reason, sizeof reason)) {
			snprintf(why, n, "output %d: %s", i, reason);
			return false;
		}
	}
	for (int i = 0; i < r->mutin.n; i++) {
		const CaseWant *w = &r->mutin.v[i];
		const DLTensor *t = w->index < r->in.n && b->portof[w->index] >= 0 ? b->in[b->portof[w->index]] : NULL;
		if (t == NULL)
			continue;
		if (!case_passes(w, dtype_of(t->dtype), t->ndim, t->shape, gather(t, t->dtype.bits / 8), r->deterministic, reason, sizeof reason)) {
			snprintf(why, n, "mutated input %d: %s", w->index, reason);
			return false;
		}
	}
	for (int i = 0; i < r->mutbuf.n; i++) {
		const CaseWant *w = &r->mutbuf.v[i];
		int k = 0;
		while (k < b->m->nstate && (b->m->state[k].fqn == NULL || strcmp(b->m->state[k].fqn, w->fqn) != 0))
			k++;
		if (k == b->m->nstate) {
			snprintf(why, n, "buffer %s is not changed", w->fqn);
			return false;
		}
		int64_t dim[MaxRank];
		for (int d = 0; d < b->m->state[k].ndim; d++)
			dim[d] = b->m->state[k].dim[d].value;
		if (!case_passes(w, dtype_of(b->m->state[k].dtype), b->m->state[k].ndim, dim, b->m->state_data(b->ctx, k), r->deterministic, reason, sizeof reason)) {
			snprintf(why, n, "buffer %s: %s", w->fqn, reason);
			return false;
		}
	}
	return true;
}

static bool
run(const fxcc_module *m, const CaseRun *r, char *why, size_t n)
{
	Bound b = {.m = m, .in = calloc((size_t)m->nin + 1, sizeof(DLTensor *)), .out = calloc((size_t)m->nout + 1, sizeof(DLTensor *)),
	           .portof = calloc((size_t)r->in.n + 1, sizeof(int))};
	const int64_t **shape = calloc((size_t)m->nin + 1, sizeof *shape);
	size_t need = 0, saved = 0;
	fxcc_error e = {0};

	if (!bind_inputs(&b, r, why, n) || !make_outputs(&b, why, n))
		return false;
	for (int i = 0; i < m->nin; i++)
		shape[i] = b.in[i]->shape;
	if (m->arena_need(shape, &need, &saved, &e)) {
		snprintf(why, n, "arena_need: %s", e.msg);
		return false;
	}
	fxcc_config cfg = {.size = sizeof cfg, .arena = memory(need), .arena_size = need};
	if (m->init(memory(m->ctx_size), m->ctx_size, m->signature, &cfg, &b.ctx, &e)) {
		snprintf(why, n, "init: %s", e.msg);
		return false;
	}
	if (m->forward(b.ctx, (const DLTensor *const *)b.in, b.out, NULL, &e)) {
		snprintf(why, n, "forward: error %d: %s", e.code, e.msg);
		return false;
	}
	return judge(&b, r, why, n);
}

bool
caselib_run(const char *lib, const Case *c, char *why, size_t n)
{
	void *h = dlopen(lib, RTLD_NOW | RTLD_LOCAL);
	const fxcc_module *m = h ? dlsym(h, "fxcc_module") : NULL;

	if (m == NULL) {
		snprintf(why, n, "cannot load: %s", dlerror());
		return false;
	}
	for (int i = 0; i < c->run.n; i++) {
		char reason[256] = "";
		if (!run(m, &c->run.v[i], reason, sizeof reason)) {
			snprintf(why, n, c->run.n > 1 ? "run %d: %s" : "%.0d%s", c->run.n > 1 ? i : 0, reason);
			return false;
		}
	}
	return true;
}
