/* door.c - what is checked before a run: sizes, dtypes, strides, pointers, the CPU. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif
#include "model.h"

int
fxrt_fail(fxcc_error *e, int code, const char *name, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return code;
	e->code = code;
	e->name = name;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	return code;
}

/* Numbers of dtype.def to DLPack's (code, bits). */
DLDataType
fxrt_dltype(int dtype)
{
	static const uint8_t t[][2] = {
		{6, 8}, {1, 8}, {0, 8}, {0, 16}, {0, 32}, {0, 64}, {1, 16}, {1, 32}, {1, 64},
		{2, 16}, {4, 16}, {2, 32}, {2, 64}, {5, 64}, {5, 128}, {10, 8}, {12, 8},
	};
	DLDataType d = {0, 0, 1};

	if (dtype >= 0 && dtype < (int)(sizeof t / sizeof *t)) {
		d.code = t[dtype][0];
		d.bits = t[dtype][1];
	}
	return d;
}

#if defined(__x86_64__) && defined(__GNUC__)
static unsigned
xcr0(void)
{
	unsigned lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo;
}
#endif

/* The x86-64 level of this CPU: 1 to 4; what the operating system does not save does not count. */
int
fxrt_cpu_level(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
	unsigned a, b, c, d, b7 = 0, c7, d7, ymm, zmm;

	if (!__get_cpuid(1, &a, &b, &c, &d))
		return 1;
	if (!(c & bit_SSE4_2) || !(c & bit_POPCNT) || !(c & bit_SSSE3))
		return 1;
	if (!(c & bit_OSXSAVE) || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7))
		return 2;
	ymm = (xcr0() & 0x06) == 0x06;
	zmm = (xcr0() & 0xe6) == 0xe6;
	if (!ymm || !(c & bit_AVX) || !(c & bit_FMA) || !(c & bit_F16C) || !(b7 & bit_AVX2) || !(b7 & bit_BMI2))
		return 2;
	if (!zmm || !(b7 & bit_AVX512F) || !(b7 & bit_AVX512BW) || !(b7 & bit_AVX512DQ) || !(b7 & bit_AVX512VL) || !(b7 & bit_AVX512CD))
		return 3;
	return 4;
#else
	return 0;
#endif
}

/* Ranges of the free sizes, then the guards. */
int
fxrt_check_sizes(const fxrt_model *m, const int64_t *sym, fxcc_error *e)
{
	for (int i = 0; i < m->nsym; i++) {
		const fxrt_sym *s = &m->sym[i];
		if (s->in < 0 || (sym[i] >= s->lo && sym[i] <= s->hi))
			continue;
		if (e) {
			e->index = s->in;
			e->dim = s->dim;
			e->got = sym[i];
			e->lo = s->lo;
			e->hi = s->hi;
		}
		if (s->dim >= FxrtStrideOf)
			return fxrt_fail(e, FXCC_ESTRIDE, m->entry->in[s->in].name, "%s: stride %d is %lld", m->entry->in[s->in].name,
			                 s->dim - FxrtStrideOf, (long long)sym[i]);
		return fxrt_fail(e, FXCC_ESHAPE, m->entry->in[s->in].name, "%s: size %d (%s) is %lld, not in [%lld, %lld]",
		                 m->entry->in[s->in].name, s->dim, s->name, (long long)sym[i], (long long)s->lo, (long long)s->hi);
	}
	for (int i = 0; i < m->nguard; i++) {
		int bad = 0;
		if (fxrt_eval(m->guard[i].expr, sym, &bad) == 0 || bad)
			return fxrt_fail(e, FXCC_ESHAPE, NULL, "the sizes do not satisfy %s", m->guard[i].text);
	}
	return 0;
}

/* stride NULL: row-major. */
int64_t
fxrt_size_of(const fxrt_sym *s, int rank, const int64_t *shape, const int64_t *stride)
{
	int64_t row = 1;

	if (s->dim < FxrtStrideOf)
		return (shape[s->dim] - s->add)/s->mul;    /* a remainder shows when the input's sizes are checked */
	if (stride)
		return stride[s->dim - FxrtStrideOf];
	for (int d = rank - 1; d > s->dim - FxrtStrideOf; d--)
		row *= shape[d] > 1 ? shape[d] : 1;
	return row;
}

/* A size that a step found is within what was planned for. */
int
fxrt_check_found(const fxrt_model *m, int32_t sym, int64_t value, fxcc_error *e)
{
	const fxrt_sym *s = &m->sym[sym];

	if (value >= s->lo && value <= s->hi)
		return 0;
	if (e) {
		e->got = value;
		e->lo = s->lo;
		e->hi = s->hi;
	}
	return fxrt_fail(e, FXCC_EASSERT, s->name, "size %s is %lld, not in [%lld, %lld]", s->name, (long long)value, (long long)s->lo, (long long)s->hi);
}

/* Bytes from the first to past the last element of a tensor. */
static uint64_t
span(const fxrt_port *p, const int64_t *sym)
{
	int64_t last = 0, row = 1;
	int bad = 0;

	for (int d = p->rank - 1; d >= 0; d--) {
		int64_t n = fxrt_eval(p->dim[d], sym, &bad);
		if (n == 0)
			return 0;
		last += (n - 1)*(p->stride ? fxrt_eval(p->stride[d], sym, &bad) : row);
		row *= n;
	}
	return (uint64_t)(last + 1)*((fxrt_dltype(p->dtype).bits + 7u)/8);
}

static int
overlap(const char *a, uint64_t na, const char *b, uint64_t nb)
{
	return na && nb && (uintptr_t)a < (uintptr_t)b + nb && (uintptr_t)b < (uintptr_t)a + na;
}

/* ---- do two tensors share an element? ------------------------------------------------ */

/* n variables, each c*i with 0 <= i < m; is there a sum of them that is t? */
typedef struct Sums { int64_t c[2 * FxrtMaxRank + 2], m[2 * FxrtMaxRank + 2]; int n; int tries; } Sums;

static int64_t
sums_gcd(int64_t a, int64_t b)
{
	while (b) {
		int64_t r = a % b;
		a = b;
		b = r;
	}
	return a;
}

/* Kept with the largest first, equal ones merged. */
static void
sums_add(Sums *s, int64_t c, int64_t m)
{
	int i = s->n;

	if (c == 0 || m <= 1)
		return;
	for (int k = 0; k < s->n; k++)
		if (s->c[k] == c) {
			s->m[k] += m - 1;
			return;
		}
	for (; i > 0 && s->c[i - 1] < c; i--) {
		s->c[i] = s->c[i - 1];
		s->m[i] = s->m[i - 1];
	}
	s->c[i] = c;
	s->m[i] = m;
	s->n++;
}

/* 1 also when the search takes too long. */
static int
sums_reach(Sums *s, int k, int64_t t)
{
	int64_t most = 0, g = 0, lo, hi;

	if (t == 0)
		return 1;
	for (int i = k; i < s->n; i++) {
		most += s->c[i] * (s->m[i] - 1);
		g = sums_gcd(s->c[i], g);
	}
	if (t < 0 || t > most || t % g)
		return 0;
	most -= s->c[k] * (s->m[k] - 1);
	lo = t > most ? (t - most + s->c[k] - 1) / s->c[k] : 0;
	hi = t / s->c[k] < s->m[k] - 1 ? t / s->c[k] : s->m[k] - 1;
	for (int64_t i = lo; i <= hi; i++)
		if (++s->tries > 20000 || sums_reach(s, k + 1, t - i * s->c[k]))
			return 1;
	return 0;
}

/* Bytes of a tensor from its start, as variables; sign -1: of the other side, turned round.
 * Gives what turning adds to the target. */
static int64_t
sums_tensor(Sums *s, const fxrt_port *p, const int64_t *sym, int sign)
{
	int64_t w = (fxrt_dltype(p->dtype).bits + 7) / 8, row = 1, add = 0;
	int bad = 0;

	for (int d = p->rank - 1; d >= 0; d--) {
		int64_t n = fxrt_eval(p->dim[d], sym, &bad), c = (p->stride ? fxrt_eval(p->stride[d], sym, &bad) : row) * w;
		sums_add(s, c, n);
		add += sign < 0 ? c * (n - 1) : 0;
		row *= n;
	}
	sums_add(s, 1, w);
	return add + (sign < 0 ? w - 1 : 0);
}

/* a and b have bytes between each other's first and last: one in common, or only interleaved? */
static int
meets(const fxrt_port *p, const char *a, const fxrt_port *q, const char *b, const int64_t *sym)
{
	Sums s = {.n = 0};
	int64_t t = (int64_t)((intptr_t)b - (intptr_t)a);

	if (!p->stride && !q->stride)
		return 1;
	sums_tensor(&s, p, sym, 1);
	t += sums_tensor(&s, q, sym, -1);
	return sums_reach(&s, 0, t);
}

/* What is written overlaps nothing else. */
int
fxrt_check_overlap(const fxrt_run *r)
{
	const fxrt_entry *en = r->en;
	uint64_t size[2 * FxrtMaxBuf];
	int n = en->nin + en->nout;

	for (int i = 0; r->cx->model->checkalias && i < n; i++)
		size[i] = span(i < en->nin ? &en->in[i] : &en->out[i - en->nin], r->sym);
	for (int i = 0; r->cx->model->checkalias && i < n; i++) {
		const fxrt_port *p = i < en->nin ? &en->in[i] : &en->out[i - en->nin];
		const void *a = i < en->nin ? r->in[i] : r->out[i - en->nin];
		if (a == NULL || (i < en->nin && !p->written))
			continue;
		for (int j = 0; j < n; j++) {
			const fxrt_port *q = j < en->nin ? &en->in[j] : &en->out[j - en->nin];
			const void *b = j < en->nin ? r->in[j] : r->out[j - en->nin];
			if (j == i || b == NULL || !overlap(a, size[i], b, size[j]) || !meets(p, a, q, b, r->sym))
				continue;
			if (r->err)
				r->err->index = i;
			return fxrt_fail(r->err, FXCC_EALIAS, p->name, "%s is written and overlaps %s", p->name, q->name);
		}
	}
	return 0;
}

/* Free sizes from the shapes of the inputs. */
int
fxrt_bind_shapes(const fxrt_model *m, const int64_t *const *shape, int64_t *sym, fxcc_error *e)
{
	for (int i = 0; i < m->nsym; i++) {
		const fxrt_sym *s = &m->sym[i];
		sym[i] = 0;
		if (s->in >= 0 && s->dim >= 0 && shape[s->in])
			sym[i] = fxrt_size_of(s, m->entry->in[s->in].rank, shape[s->in], NULL);
		else if (s->in < 0)
			sym[i] = s->hi;            /* known later: plan for the most */
	}
	return fxrt_check_sizes(m, sym, e);
}

static int
shape_error(const fxrt_port *p, int index, int dim, int64_t got, int64_t want, fxcc_error *e)
{
	if (e) {
		e->index = index;
		e->dim = dim;
		e->got = got;
		e->lo = e->hi = want;
	}
	return fxrt_fail(e, FXCC_ESHAPE, p->name, "%s: size %d is %lld, not %lld", p->name, dim, (long long)got, (long long)want);
}

int
fxrt_check_aligned(const fxrt_port *p, const void *ptr, fxcc_error *e)
{
	unsigned bytes = fxrt_dltype(p->dtype).bits / 8;

	if (bytes > 1 && (uintptr_t)ptr % (bytes > 8 ? 8 : bytes))
		return fxrt_fail(e, FXCC_EALIGN, p->name, "%s: not aligned to its element size", p->name);
	return 0;
}

/* One tensor against its port: pointer, device, dtype, rank, sizes. */
int
fxrt_check_tensor(const fxrt_port *p, const DLTensor *t, int index, const int64_t *sym, fxcc_error *e)
{
	DLDataType want = fxrt_dltype(p->dtype);
	int64_t n = 1;

	if (e)
		e->index = index;
	if (t == NULL)
		return fxrt_fail(e, FXCC_EMISSING, p->name, "%s: no tensor given", p->name);
	if (t->device.device_type != 1)
		return fxrt_fail(e, FXCC_EDEVICE, p->name, "%s: on device %d, not in the CPU's memory", p->name, t->device.device_type);
	if (t->dtype.bits != want.bits || t->dtype.lanes != 1 || (t->dtype.code != want.code && !(want.code == 6 && t->dtype.code == 1)))
		return fxrt_fail(e, FXCC_EDTYPE, p->name, "%s: dtype code %d, %d bits given, code %d, %d bits wanted",
		                 p->name, t->dtype.code, t->dtype.bits, want.code, want.bits);
	if (t->ndim != p->rank)
		return fxrt_fail(e, FXCC_ERANK, p->name, "%s: %d dimensions given, %d wanted", p->name, t->ndim, p->rank);
	for (int d = 0; d < p->rank; d++) {
		int bad = 0;
		int64_t v = fxrt_eval(p->dim[d], sym, &bad);
		if (bad || t->shape[d] != v)
			return shape_error(p, index, d, t->shape[d], v, e);
		n *= v;
	}
	if (t->data == NULL && n != 0)
		return fxrt_fail(e, FXCC_EARG, p->name, "%s: a null pointer", p->name);
	return fxrt_check_aligned(p, (const char *)t->data + t->byte_offset, e);
}

/* Do the strides of t agree with those that the code was compiled for? */
int
fxrt_check_strides(const fxrt_port *p, const DLTensor *t, const int64_t *sym, int output, fxcc_error *e)
{
	int64_t want = 1;
	int bad = 0, agree = 1;

	for (int d = 0; d < p->rank; d++)
		if (t->shape[d] == 0)
			return 0;
	for (int d = p->rank - 1; d >= 0; d--) {
		int64_t w = p->stride ? fxrt_eval(p->stride[d], sym, &bad) : want;
		if (t->shape[d] != 1 && (t->strides ? t->strides[d] : want) != w)
			agree = 0;
		want *= t->shape[d];
	}
	if (agree && !bad)
		return 0;
	return output ? fxrt_fail(e, FXCC_ESTRIDE, p->name, "%s: outputs are row-major contiguous", p->name)
	              : fxrt_fail(e, FXCC_ESTRIDE, p->name, "%s: its strides differ from those that the model was compiled for", p->name);
}
