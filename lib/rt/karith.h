/* karith.h - the scalar operations of kernels printed as C: nothing is undefined.
 *
 * b8 is a uint8_t of 0 or 1; bf16, f16 and f8 are their bits.
 */
#ifndef FXRT_KARITH_H
#define FXRT_KARITH_H
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float    fxrt_k_asf(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static inline uint32_t fxrt_k_asu(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static inline double   fxrt_k_asd(uint64_t u) { double f; memcpy(&f, &u, 8); return f; }
static inline uint64_t fxrt_k_asul(double f) { uint64_t u; memcpy(&u, &f, 8); return u; }

/* Division by zero gives 0 (quot) or the dividend (rem); -1 never overflows. */
#define FXRT_K_SIGNED(n, T, U)                                                                     \
	static inline T fxrt_k_neg_##n(T a) { return (T)(0 - (U)a); }                                  \
	static inline T fxrt_k_abs_##n(T a) { return a < 0 ? fxrt_k_neg_##n(a) : a; }                  \
	static inline T fxrt_k_quot_##n(T a, T b) { return (T)(b == 0 ? 0 : b == -1 ? fxrt_k_neg_##n(a) : a / b); } \
	static inline T fxrt_k_fmod_##n(T a, T b) { return (T)(b == 0 ? a : b == -1 ? 0 : a % b); }    \
	static inline T fxrt_k_mod_##n(T a, T b) { T r = fxrt_k_fmod_##n(a, b); return (T)(r != 0 && (r < 0) != (b < 0) ? r + b : r); } \
	static inline T fxrt_k_floordiv_##n(T a, T b) { T q = fxrt_k_quot_##n(a, b), r = fxrt_k_fmod_##n(a, b);       \
		return (T)(b != 0 && r != 0 && (r < 0) != (b < 0) ? q - 1 : q); }                          \
	static inline T fxrt_k_shr_##n(T a, T b) { int s = b < 0 || b >= (T)(8 * sizeof(T)) ? (int)(8 * sizeof(T)) - 1 : (int)b;  \
		return (T)(a < 0 ? ~(~a >> s) : a >> s); }                                                 \
	FXRT_K_BOTH(n, T, U)                                                                           \
	static inline T fxrt_k_pow_##n(T a, T b) {                                                     \
		return b >= 0 ? (T)fxrt_k_upow_##n((U)a, (U)b) : a == 1 ? 1 : a == -1 ? (T)(b & 1 ? -1 : 1) : 0; }
#define FXRT_K_UNSIGNED(n, T)                                                                      \
	static inline T fxrt_k_neg_##n(T a) { return (T)(0 - a); }                                     \
	static inline T fxrt_k_abs_##n(T a) { return a; }                                              \
	static inline T fxrt_k_quot_##n(T a, T b) { return (T)(b == 0 ? 0 : a / b); }                  \
	static inline T fxrt_k_fmod_##n(T a, T b) { return (T)(b == 0 ? a : a % b); }                  \
	static inline T fxrt_k_mod_##n(T a, T b) { return fxrt_k_fmod_##n(a, b); }                     \
	static inline T fxrt_k_floordiv_##n(T a, T b) { return fxrt_k_quot_##n(a, b); }                \
	static inline T fxrt_k_shr_##n(T a, T b) { return (T)(b >= (T)(8 * sizeof(T)) ? 0 : a >> b); } \
	FXRT_K_BOTH(n, T, T)                                                                           \
	static inline T fxrt_k_pow_##n(T a, T b) { return fxrt_k_upow_##n(a, b); }
#define FXRT_K_BOTH(n, T, U)                                                                       \
	static inline T fxrt_k_add_##n(T a, T b) { return (T)((U)a + (U)b); }                          \
	static inline T fxrt_k_sub_##n(T a, T b) { return (T)((U)a - (U)b); }                          \
	static inline T fxrt_k_mul_##n(T a, T b) { return (T)((uint64_t)a * (uint64_t)b); }            \
	static inline T fxrt_k_shl_##n(T a, T b) { return (T)((U)b >= 8 * sizeof(T) ? 0 : (U)((uint64_t)a << b)); } \
	static inline U fxrt_k_upow_##n(U a, U b) { U r = 1; for (; b; b = (U)(b >> 1)) {              \
		r = (U)(b & 1 ? (uint64_t)r * a : r); a = (U)((uint64_t)a * a); } return r; }
FXRT_K_SIGNED(i8, int8_t, uint8_t)
FXRT_K_SIGNED(i16, int16_t, uint16_t)
FXRT_K_SIGNED(i32, int32_t, uint32_t)
FXRT_K_SIGNED(i64, int64_t, uint64_t)
FXRT_K_UNSIGNED(u8, uint8_t)
FXRT_K_UNSIGNED(u16, uint16_t)
FXRT_K_UNSIGNED(u32, uint32_t)
FXRT_K_UNSIGNED(u64, uint64_t)

/* Python's % and // on floats; minimum and maximum that keep NaN. */
#define FXRT_K_FLOAT(n, T, s)                                                                      \
	static inline T fxrt_k_mod_##n(T a, T b) { T r = fmod##s(a, b); return r != 0 && (r < 0) != (b < 0) ? r + b : r; } \
	static inline T fxrt_k_floordiv_##n(T a, T b) {                                                \
		T q = a / b, d = (a - fxrt_k_mod_##n(a, b)) / b, f = floor##s(d);                          \
		if (b == 0) return q;                                                                      \
		if (d == 0) return copysign##s(0, q);                                                      \
		return d - f > (T)0.5 ? f + 1 : f; }                                                       \
	static inline T fxrt_k_min_##n(T a, T b) { return a != a ? a : a < b ? a : b; }                \
	static inline T fxrt_k_max_##n(T a, T b) { return a != a ? a : a > b ? a : b; }
FXRT_K_FLOAT(f32, float, f)
FXRT_K_FLOAT(f64, double, )

/* Floats to integers: truncated, saturated, NaN is 0. */
static inline int64_t fxrt_k_toi64(double f) { return f != f ? 0 : f >= 9223372036854775808.0 ? INT64_MAX : f < -9223372036854775808.0 ? INT64_MIN : (int64_t)f; }
static inline int32_t fxrt_k_toi32(double f) { return f != f ? 0 : f >= 2147483648.0 ? INT32_MAX : f <= -2147483649.0 ? INT32_MIN : (int32_t)f; }
static inline uint64_t fxrt_k_tou64(double f) { return !(f > 0) ? 0 : f >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)f; }

/* Small floats, see lib/emit/llvmtype.c for the reasoning. */
static inline float
fxrt_k_widen(uint32_t v, int ebits, int mbits, uint32_t special, int hasinf)
{
	int bias = (1 << (ebits - 1)) - 1, width = 1 + ebits + mbits;
	uint32_t mag = v & ((1u << (width - 1)) - 1), sign = (v >> (width - 1) & 1) << 31, up = mag << (23 - mbits);
	float f = fxrt_k_asf(up) * (float)ldexp(1, 127 - bias);

	if (mag >= special)
		f = fxrt_k_asf(hasinf ? up | 0x7f800000u : 0x7fc00000u);
	return fxrt_k_asf(fxrt_k_asu(f) | sign);
}

static inline uint32_t
fxrt_k_narrow(float f, int ebits, int mbits, uint32_t inf, uint32_t nan, uint32_t overflow)
{
	int bias = (1 << (ebits - 1)) - 1, shift = 23 - mbits, width = 1 + ebits + mbits;
	uint32_t all = fxrt_k_asu(f), mag = all & 0x7fffffffu, sign = all >> 31 << (width - 1);
	uint32_t magic = (uint32_t)(127 - bias + shift + 1) << 23, r;

	if (mag > 0x7f800000u)
		return nan | sign;
	if (mag >= overflow)
		return inf | sign;
	if (mag < (uint32_t)(127 - bias + 1) << 23)
		r = fxrt_k_asu(fxrt_k_asf(mag) + fxrt_k_asf(magic)) - magic;
	else
		r = (mag - ((uint32_t)(127 - bias) << 23) + (1u << (shift - 1)) - 1 + (mag >> shift & 1)) >> shift;
	return r | sign;
}

static inline float fxrt_k_from_bf16(uint16_t v) { return fxrt_k_asf((uint32_t)v << 16); }
static inline float fxrt_k_from_f16(uint16_t v) { return fxrt_k_widen(v, 5, 10, 0x7c00, 1); }
static inline float fxrt_k_from_f8e5m2(uint8_t v) { return fxrt_k_widen(v, 5, 2, 0x7c, 1); }
static inline float fxrt_k_from_f8e4m3fn(uint8_t v) { return fxrt_k_widen(v, 4, 3, 0x7f, 0); }
static inline uint16_t
fxrt_k_to_bf16(float f)
{
	uint32_t u = fxrt_k_asu(f);

	return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? 0x7fc0 : (u + 0x7fff + (u >> 16 & 1)) >> 16);
}
static inline uint16_t fxrt_k_to_f16(float f) { return (uint16_t)fxrt_k_narrow(f, 5, 10, 0x7c00, 0x7e00, 0x477ff000u); }
static inline uint8_t fxrt_k_to_f8e5m2(float f) { return (uint8_t)fxrt_k_narrow(f, 5, 2, 0x7c, 0x7f, 0x47700000u); }
static inline uint8_t fxrt_k_to_f8e4m3fn(float f) { return (uint8_t)fxrt_k_narrow(f, 4, 3, 0x7f, 0x7f, 0x43e80001u); }

/* Philox4x32-10, first word (Salmon et al. 2011). */
static inline uint32_t
fxrt_k_philox(int64_t counter, int64_t seed, uint32_t stream)
{
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)((uint64_t)seed >> 32);
	uint32_t x0 = (uint32_t)counter, x1 = (uint32_t)((uint64_t)counter >> 32), x2 = stream, x3 = 0;

	for (int r = 0; r < 10; r++) {
		uint64_t a = (uint64_t)x0 * 0xD2511F53u, b = (uint64_t)x2 * 0xCD9E8D57u;
		uint32_t y0 = (uint32_t)(b >> 32) ^ x1 ^ k0, y2 = (uint32_t)(a >> 32) ^ x3 ^ k1;
		x1 = (uint32_t)b;
		x3 = (uint32_t)a;
		x0 = y0;
		x2 = y2;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	return x0;
}
#endif
