/* tensor.c - numbers of every dtype in memory, and tensors of them.
 *
 * Stores to a float dtype round half to even, by way of float as ATen does for
 * doubles.  f8e4m3fn has no infinity: what is too large becomes NaN.  Complex
 * elements are read and written as their real part.
 */
#include <math.h>
#include "ir/ir.h"

/* ---- small floats ---------------------------------------------------------------- */

static uint32_t
bitsof(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u;
}

static float
floatof(uint32_t u)
{
	float f;

	memcpy(&f, &u, 4);
	return f;
}

static uint16_t
bf16_pack(float f)
{
	uint32_t u = bitsof(f);

	if (isnan(f))
		return 0x7fc0 | (u >> 16 & 0x8000);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* A format of one sign bit, ebits and mbits; with inf, or else (f8e4m3fn) the
 * greatest exponent is ordinary but for the mantissa of all ones, NaN. */
typedef struct Small { int ebits, mbits; bool inf; } Small;
static const Small half = {5, 10, true}, e4m3 = {4, 3, false}, e5m2 = {5, 2, true};

static float
small_unpack(Small s, uint32_t u)
{
	int bias = (1 << (s.ebits - 1)) - 1, top = (1 << s.ebits) - 1;
	int e = (int)(u >> s.mbits) & top;
	uint32_t m = u & ((1u << s.mbits) - 1), sign = u >> (s.ebits + s.mbits) & 1;
	float f;

	if (s.inf && e == top)
		f = m ? NAN : INFINITY;
	else if (!s.inf && e == top && m == (1u << s.mbits) - 1)
		f = NAN;
	else if (e == 0)
		f = ldexpf((float)m, 1 - bias - s.mbits);
	else
		f = floatof((uint32_t)(e - bias + 127) << 23 | m << (23 - s.mbits));
	return sign ? -f : f;
}

static uint32_t
small_pack(Small s, float f)
{
	int bias = (1 << (s.ebits - 1)) - 1, e;
	uint32_t sign = bitsof(f) >> 31 << (s.ebits + s.mbits), u;
	uint32_t inf = (uint32_t)((1 << s.ebits) - 1) << s.mbits;
	uint32_t nan = s.inf ? inf | 1u << (s.mbits - 1) : inf | ((1u << s.mbits) - 1);

	if (isnan(f))
		return sign | nan;
	f = fabsf(f);
	e = (int)(bitsof(f) >> 23) - 127;
	if (f == INFINITY || e > bias + 1)
		return sign | (s.inf ? inf : nan);
	if (e < 1 - bias)            /* subnormal, or the least normal by rounding up */
		return sign | (uint32_t)rintf(ldexpf(f, bias - 1 + s.mbits));
	u = bitsof(f) - ((uint32_t)(127 - bias) << 23);
	u = (u + (1u << (22 - s.mbits)) - 1 + (u >> (23 - s.mbits) & 1)) >> (23 - s.mbits);
	return sign | (u >= (s.inf ? inf : nan) ? (s.inf ? inf : nan) : u);
}

/* ---- one element -------------------------------------------------------------------- */

/* Integers as they are (u64: its bits); floats truncated. */
static int64_t
loadint(enum dtype dt, const void *p)
{
	switch (dt) {
	case DtB8:  return *(const uint8_t *)p != 0;
	case DtU8:  return *(const uint8_t *)p;
	case DtI8:  return *(const int8_t *)p;
	case DtI16: { int16_t v; memcpy(&v, p, 2); return v; }
	case DtU16: { uint16_t v; memcpy(&v, p, 2); return v; }
	case DtI32: { int32_t v; memcpy(&v, p, 4); return v; }
	case DtU32: { uint32_t v; memcpy(&v, p, 4); return v; }
	default:    { int64_t v; memcpy(&v, p, 8); return v; }
	}
}

static void
storeint(enum dtype dt, void *p, int64_t v)
{
	if (dt == DtB8)
		v = v != 0;
	memcpy(p, &v, dtypeinfo[dt].bytes);    /* little-endian */
}

double
dt_load(enum dtype dt, const void *p)
{
	float f;
	double d;
	uint16_t h;

	switch (dt) {
	case DtF64: case DtC128:
		memcpy(&d, p, 8);
		return d;
	case DtF32: case DtC64:
		memcpy(&f, p, 4);
		return f;
	case DtF16:
		memcpy(&h, p, 2);
		return small_unpack(half, h);
	case DtBF16:
		memcpy(&h, p, 2);
		return floatof((uint32_t)h << 16);
	case DtF8E4M3: return small_unpack(e4m3, *(const uint8_t *)p);
	case DtF8E5M2: return small_unpack(e5m2, *(const uint8_t *)p);
	case DtU64:    return (double)(uint64_t)loadint(dt, p);
	default:       return (double)loadint(dt, p);
	}
}

void
dt_store(enum dtype dt, void *p, double v)
{
	float f = (float)v;
	uint16_t h;

	switch (dt) {
	case DtF64: case DtC128:
		memset(p, 0, dtypeinfo[dt].bytes);
		memcpy(p, &v, 8);
		return;
	case DtF32: case DtC64:
		memset(p, 0, dtypeinfo[dt].bytes);
		memcpy(p, &f, 4);
		return;
	case DtF16: case DtBF16:
		h = dt == DtBF16 ? bf16_pack(f) : (uint16_t)small_pack(half, f);
		memcpy(p, &h, 2);
		return;
	case DtF8E4M3: *(uint8_t *)p = (uint8_t)small_pack(e4m3, f); return;
	case DtF8E5M2: *(uint8_t *)p = (uint8_t)small_pack(e5m2, f); return;
	case DtB8:
		*(uint8_t *)p = v != 0;
		return;
	case DtU64:
		if (v >= 0x1p63 && v < 0x1p64) {
			storeint(dt, p, (int64_t)(uint64_t)v);
			return;
		}
		/* fallthrough */
	default:
		storeint(dt, p, v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : INT64_MIN);
	}
}

/* ---- tensors -------------------------------------------------------------------------- */

static void *
at(const Tensor *t, int64_t i)
{
	return (uint8_t *)t->data + i * dtypeinfo[t->dt].bytes;
}

double
tensor_get(const Tensor *t, int64_t i)
{
	return dt_load(t->dt, at(t, i));
}

int64_t
tensor_geti(const Tensor *t, int64_t i)
{
	double d;

	if (dt_int(t->dt))
		return loadint(t->dt, at(t, i));
	d = tensor_get(t, i);
	return d >= -0x1p63 && d < 0x1p63 ? (int64_t)d : INT64_MIN;
}

void
tensor_set(Tensor *t, int64_t i, double v)
{
	dt_store(t->dt, at(t, i), v);
}

void
tensor_seti(Tensor *t, int64_t i, int64_t v)
{
	if (dt_int(t->dt))
		storeint(t->dt, at(t, i), v);
	else
		tensor_set(t, i, (double)v);
}

int64_t
tensor_numel(const Tensor *t)
{
	int64_t n = 1;

	for (int d = 0; d < t->rank; d++)
		n *= t->dim[d];
	return n;
}
