/* order.h - elements of every dtype as unsigned keys in the same order.
 *
 * For floats: the sign bit set for positive ones, all bits inverted for negative
 * ones; both zeros are equal, NaN is greater than everything.
 */
#ifndef FXRT_ORDER_H
#define FXRT_ORDER_H
#include <string.h>
#include "rt/rt.h"

/* An element of a row: its key and where it stood. */
typedef struct Pair { uint64_t key; int64_t at; } Pair;

static inline void
sort_swap(Pair *a, Pair *b)
{
	Pair t = *a;

	*a = *b;
	*b = t;
}

static inline uint64_t
sort_floatkey(uint64_t u, int bits, uint64_t inf)
{
	uint64_t sign = (uint64_t)1 << (bits - 1), mag = u & (sign - 1);

	if (mag > inf)
		return ~(uint64_t)0;
	if (mag == 0)
		return sign;
	return u & sign ? sign - mag : sign + mag;
}

static inline uint64_t
sort_key(int dt, const void *p)
{
	const uint64_t top = (uint64_t)1 << 63;
	union { uint8_t b; int8_t i8; int16_t i16; int32_t i32; uint16_t h; uint32_t w; uint64_t d; } u = {.d = 0};

	switch (dt) {
	case FxB8:  memcpy(&u, p, 1); return u.b != 0;
	case FxU8:  memcpy(&u, p, 1); return u.b;
	case FxU16: memcpy(&u, p, 2); return u.h;
	case FxU32: memcpy(&u, p, 4); return u.w;
	case FxU64: memcpy(&u, p, 8); return u.d;
	case FxI8:  memcpy(&u, p, 1); return (uint64_t)(int64_t)u.i8 ^ top;
	case FxI16: memcpy(&u, p, 2); return (uint64_t)(int64_t)u.i16 ^ top;
	case FxI32: memcpy(&u, p, 4); return (uint64_t)(int64_t)u.i32 ^ top;
	case FxF16: memcpy(&u, p, 2); return sort_floatkey(u.h, 16, 0x7c00);
	case FxBF16: memcpy(&u, p, 2); return sort_floatkey(u.h, 16, 0x7f80);
	case FxF32: memcpy(&u, p, 4); return sort_floatkey(u.w, 32, 0x7f800000);
	case FxF64: memcpy(&u, p, 8); return sort_floatkey(u.d, 64, (uint64_t)0x7ff << 52);
	case FxF8E4M3: memcpy(&u, p, 1); return sort_floatkey(u.b, 8, 0x7e);
	case FxF8E5M2: memcpy(&u, p, 1); return sort_floatkey(u.b, 8, 0x7c);
	default:    memcpy(&u, p, 8); return u.d ^ top;
	}
}

static inline int
sort_width(int dt)
{
	switch (dt) {
	case FxB8: case FxU8: case FxI8: case FxF8E4M3: case FxF8E5M2: return 1;
	case FxI16: case FxU16: case FxF16: case FxBF16: return 2;
	case FxI32: case FxU32: case FxF32: return 4;
	default: return 8;
	}
}
#endif
