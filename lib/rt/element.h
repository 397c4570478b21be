/* element.h - one element of memory of any real dtype: an exact integer, or a double.
 */
#ifndef FXRT_ELEMENT_H
#define FXRT_ELEMENT_H
#include <math.h>
#include <string.h>
#include "rt/rt.h"

static inline int
element_isint(int dt)
{
	return dt <= FxU64;
}

static inline int64_t
element_int(int dt, const void *p, int64_t i)
{
	switch (dt) {
	case FxB8:  return ((const uint8_t *)p)[i] != 0;
	case FxU8:  return ((const uint8_t *)p)[i];
	case FxI8:  return ((const int8_t *)p)[i];
	case FxI16: return ((const int16_t *)p)[i];
	case FxU16: return ((const uint16_t *)p)[i];
	case FxI32: return ((const int32_t *)p)[i];
	case FxU32: return ((const uint32_t *)p)[i];
	default:    return ((const int64_t *)p)[i];
	}
}

/* A float of e bits of exponent and m of mantissa; finite: its only special values are NaNs, all ones. */
static inline double
element_small(unsigned v, int e, int m, int finite)
{
	int exp = (int)(v >> m) & ((1 << e) - 1), man = (int)v & ((1 << m) - 1), top = (1 << e) - 1;
	double r = ldexp(exp ? (1 << m) + man : man, (exp ? exp : 1) - ((1 << (e - 1)) - 1) - m);

	if (exp == top && (finite ? man == (1 << m) - 1 : 1))
		r = finite || man ? (double)NAN : (double)INFINITY;
	return v >> (e + m) & 1 ? -r : r;
}

static inline double
element_float(int dt, const void *p, int64_t i)
{
	uint32_t bits;
	float f;

	switch (dt) {
	case FxF64: return ((const double *)p)[i];
	case FxBF16:
		bits = (uint32_t)((const uint16_t *)p)[i] << 16;
		memcpy(&f, &bits, 4);
		return (double)f;
	case FxF16:    return element_small(((const uint16_t *)p)[i], 5, 10, 0);
	case FxF8E4M3: return element_small(((const uint8_t *)p)[i], 4, 3, 1);
	case FxF8E5M2: return element_small(((const uint8_t *)p)[i], 5, 2, 0);
	default:       return (double)((const float *)p)[i];
	}
}
#endif
