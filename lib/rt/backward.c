/* backward.c - the backward entries: gradients from what a forward call saved.
 *
 * Sizes, the key of random numbers and the tensors come from the saved buffer alone, so
 * that any number of forward calls may lie between.  A gradient that is not wanted, or is
 * to be added to what is there, goes to the arena first.
 */
#include <string.h>
#include "model.h"

/* ---- numbers --------------------------------------------------------------------- */

static void
store_one(int dtype, void *p)
{
	static const struct { int dtype; uint64_t bits; } one[] = {
		{FxF16, 0x3c00}, {FxBF16, 0x3f80}, {FxF32, 0x3f800000}, {FxC64, 0x3f800000},
		{FxF64, UINT64_C(0x3ff0000000000000)}, {FxC128, UINT64_C(0x3ff0000000000000)}, {FxF8E4M3, 0x38}, {FxF8E5M2, 0x3c},
	};
	size_t n = dtype == FxC128 ? 8 : (fxrt_dltype(dtype).bits + 7u) / 8;

	for (size_t i = 0; i < sizeof one / sizeof *one; i++)
		if (one[i].dtype == dtype)
			memcpy(p, &one[i].bits, n);    /* little-endian */
}

static float
from_half(int dtype, uint16_t h)
{
	uint32_t u = (uint32_t)h << 16, e = h >> 10 & 31, m = h & 1023;
	float f;

	if (dtype == FxF16) {
		uint32_t s = (uint32_t)(h & 0x8000) << 16;
		if (e == 0) {
			f = (float)m * 0x1p-24f;
			return s ? -f : f;
		}
		u = s | (e == 31 ? 0x7f800000 : (e + 112) << 23) | m << 13;
	}
	memcpy(&f, &u, 4);
	return f;
}

static uint16_t
to_bf16(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	if (f != f)
		return (uint16_t)(u >> 16 | 64);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static uint16_t
to_f16(float f)
{
	uint32_t u, s, e;

	memcpy(&u, &f, 4);
	s = u >> 16 & 0x8000;
	u &= 0x7fffffff;
	if (u > 0x7f800000)
		return (uint16_t)(s | 0x7e00);
	if (u >= 0x477ff000)
		return (uint16_t)(s | 0x7c00);
	e = u >> 23;
	if (e < 113) {                                 /* subnormal: units of 2^-24, to even */
		uint32_t m = (u & 0x7fffff) | 0x800000, k = 126 - e;
		if (k > 24)
			return (uint16_t)s;
		uint32_t half = 1u << (k - 1), q = m >> k, rest = m & ((1u << k) - 1);
		return (uint16_t)(s | (q + (rest > half || (rest == half && (q & 1)))));
	}
	u += 0xfff + (u >> 13 & 1);
	return (uint16_t)(s | (u - (112u << 23)) >> 13);
}

/* to += from, n bytes of each. */
static void
add_up(int dtype, void *to, const void *from, int64_t n)
{
	if (dtype == FxF32 || dtype == FxC64) {
		float *a = to;
		const float *b = from;
		for (int64_t i = 0; i < n / 4; i++)
			a[i] += b[i];
	} else if (dtype == FxF64 || dtype == FxC128) {
		double *a = to;
		const double *b = from;
		for (int64_t i = 0; i < n / 8; i++)
			a[i] += b[i];
	} else if (dtype == FxF16 || dtype == FxBF16) {
		uint16_t *a = to;
		const uint16_t *b = from;
		for (int64_t i = 0; i < n / 2; i++) {
			float f = from_half(dtype, a[i]) + from_half(dtype, b[i]);
			a[i] = dtype == FxF16 ? to_f16(f) : to_bf16(f);
		}
	}
}

/* ---- the saved buffer ------------------------------------------------------------ */

static int
saved_open(fxrt_run *r, void *saved)
{
	const fxrt_model *m = r->cx->model;
	fxrt_head *h = saved;

	if (h == NULL)
		return fxrt_fail(r->err, FXCC_EARG, NULL, "saved: a null pointer");
	if ((uintptr_t)saved % 16)
		return fxrt_fail(r->err, FXCC_EALIGN, NULL, "saved: not aligned to 16 bytes");
	if (h->magic != FXRT_MAGIC)
		return fxrt_fail(r->err, FXCC_ESTATE, NULL, "saved: no forward call has filled it");
	if (h->build != m->build || h->nsym != (uint32_t)m->nsym)
		return fxrt_fail(r->err, FXCC_EABI, NULL, "saved: filled by another model or build");
	if (h->state != FxrtFilled)
		return fxrt_fail(r->err, FXCC_ESTATE, NULL, "saved: a backward call has used it up (-fno-donate allows another)");
	memcpy(r->sym, h + 1, (size_t)m->nsym * sizeof *r->sym);
	r->saved = saved;
	r->kept = (void *const *)((int64_t *)(h + 1) + m->nsym);
	r->key = h->key;
	r->base = h->base;
	return fxrt_check_sizes(m, r->sym, r->err);
}

/* ---- the call -------------------------------------------------------------------- */

typedef struct Places {
	void *in[FxrtMaxBuf], *out[FxrtMaxBuf];        /* where the steps read and write */
	int64_t used;                                  /* bytes of the arena */
} Places;

static void *
spare(fxrt_run *r, Places *at, const fxrt_port *p)
{
	void *mem = r->cx->arena ? r->cx->arena + at->used : NULL;

	if (__builtin_add_overflow(at->used, fxrt_round(fxrt_port_bytes(p, r->sym, &r->bad), &r->bad), &at->used))
		r->bad = 1;
	return mem;
}

/* Everything that the caller left out, or that is added up, gets its piece of the arena. */
static int
spare_all(fxrt_run *r, Places *at, uint32_t accumulate)
{
	at->used = fxrt_round(fxrt_eval(r->v->arena, r->sym, &r->bad), &r->bad);
	for (int i = 0; i < r->en->nin && !r->bad; i++) {
		const fxrt_port *p = &r->en->in[i];
		at->in[i] = r->in[i] ? r->in[i] : spare(r, at, p);
		if (r->in[i] == NULL && p->absent == FxrtNeeded && fxrt_port_bytes(p, r->sym, &r->bad)) {
			if (r->err)
				r->err->index = i;
			return fxrt_fail(r->err, FXCC_EARG, p->name, "%s: a null pointer", p->name);
		}
	}
	for (int i = 0; i < r->en->nout && !r->bad; i++)
		at->out[i] = r->out[i] && !(accumulate & 1) ? r->out[i] : spare(r, at, &r->en->out[i]);
	return r->bad ? fxrt_fail(r->err, FXCC_ESHAPE, NULL, "a size overflows") : fxrt_arena_check(r->cx, at->used, r->err);
}

static void
fill_absent(fxrt_run *r, Places *at)
{
	for (int i = 0; i < r->en->nin; i++)
		if (r->in[i] == NULL) {
			memset(at->in[i], 0, (size_t)fxrt_port_bytes(&r->en->in[i], r->sym, &r->bad));
			if (r->en->in[i].absent == FxrtOne)
				store_one(r->en->in[i].dtype, at->in[i]);
		}
}

/* From here on the saved tensors may be overwritten: nobody else may start with them. */
static int
claim_saved(fxrt_run *r)
{
	fxrt_head *h = (fxrt_head *)r->saved;

	if (r->cx->model->donates && __atomic_exchange_n(&h->state, FxrtUsed, __ATOMIC_ACQ_REL) != FxrtFilled)
		return fxrt_fail(r->err, FXCC_ESTATE, NULL, "saved: a backward call has used it up (-fno-donate allows another)");
	return 0;
}

static int
backward_go(fxrt_run *r, uint32_t accumulate)
{
	void *const *out = r->out;
	Places at;
	int rc;

	if (accumulate > 1)
		return fxrt_fail(r->err, FXCC_EARG, "accumulate", "accumulate: 0 or 1");
	if ((rc = fxrt_check_overlap(r)) || (rc = spare_all(r, &at, accumulate)) || (rc = claim_saved(r)))
		return rc;
	fill_absent(r, &at);
	r->in = at.in;
	r->out = at.out;
	if ((rc = fxrt_steps(r)))
		return rc;
	for (int i = 0; accumulate && i < r->en->nout; i++)
		if (out[i])
			add_up(r->en->out[i].dtype, out[i], at.out[i], fxrt_port_bytes(&r->en->out[i], r->sym, &r->bad));
	return 0;
}

static int
backward_start(fxrt_run *r, void *ctx, void *saved, fxcc_error *e)
{
	int rc = fxrt_start(r, ctx, FxrtBackward, e);

	return rc ? rc : saved_open(r, saved);
}

static int
bind_gradient(fxrt_run *r, const fxrt_port *p, const DLTensor *t, int i, void **ptr)
{
	int rc;

	*ptr = NULL;
	if (t == NULL || t->data == NULL)
		return 0;
	if ((rc = fxrt_check_tensor(p, t, i, r->sym, r->err)) || (rc = fxrt_check_strides(p, t, r->sym, 1, r->err)))
		return rc;
	*ptr = (char *)t->data + t->byte_offset;
	return 0;
}

int32_t
fxrt_backward(void *ctx, void *saved, const DLTensor *const *gout, DLTensor *const *gin, uint32_t accumulate, fxcc_error *e)
{
	void *pi[FxrtMaxBuf], *po[FxrtMaxBuf];
	fxrt_run r = {.in = pi, .out = po};
	int rc = backward_start(&r, ctx, saved, e);

	for (int i = 0; !rc && i < r.en->nin; i++)
		rc = bind_gradient(&r, &r.en->in[i], gout ? gout[i] : NULL, i, &pi[i]);
	for (int i = 0; !rc && i < r.en->nout; i++)
		rc = bind_gradient(&r, &r.en->out[i], gin ? gin[i] : NULL, i, &po[i]);
	return rc ? rc : backward_go(&r, accumulate);
}

/* Pointers in the order of the header's struct: of outputs' gradients, of inputs' gradients, accumulate. */
int32_t
fxrt_backward_struct(void *ctx, void *saved, const void *args, fxcc_error *e)
{
	fxrt_run r = {0};
	int rc = backward_start(&r, ctx, saved, e);
	uint32_t accumulate;

	if (rc)
		return rc;
	if (args == NULL)
		return fxrt_fail(e, FXCC_EARG, NULL, "no arguments");
	r.in = args;
	r.out = r.in + r.en->nin;
	memcpy(&accumulate, r.out + r.en->nout, sizeof accumulate);
	return backward_go(&r, accumulate);
}
