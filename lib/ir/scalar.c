/* scalar.c - every scalar operation on numbers that are known.
 *
 * Constant folding and the interpreter share these, so that a folded constant
 * is what the interpreter computes.  A Num of f32 holds a float exactly;
 * arithmetic is done in double and rounded once: for + - * / and sqrt that is
 * the float result (53 >= 2*24 + 2 bits), for functions it is nearly always the
 * correctly rounded one.
 */
#include <math.h>
#include "ir/ex.h"

const struct ScalarInfo scalarinfo[NScalar] = {
#define SCALAR(id, text, arity, rule, doc) [Sc##id] = {text, arity, Sc##rule},
#include "ir/scalar.def"
#undef SCALAR
};

int64_t
num_wrap(enum dtype dt, int64_t i)
{
	switch (dt) {
	case DtB8:  return i != 0;
	case DtU8:  return (uint8_t)i;
	case DtI8:  return (int8_t)i;
	case DtU16: return (uint16_t)i;
	case DtI16: return (int16_t)i;
	case DtU32: return (uint32_t)i;
	case DtI32: return (int32_t)i;
	default:    return i;
	}
}

double
num_round(enum dtype dt, double f)
{
	unsigned char b[16];

	switch (dt) {
	case DtF64:
		return f;
	case DtF32:
		return (float)f;
	default:
		if (!dt_float(dt))
			return f;
		dt_store(dt, b, f);
		return dt_load(dt, b);
	}
}

/* A float as an integer: truncated; what does not fit gives the least value,
 * as the instructions of x86 do. */
static int64_t
toint(enum dtype to, double f)
{
	if (to == DtB8)
		return f != 0;
	if (to == DtU64 && f >= 0x1p63 && f < 0x1p64)
		return (int64_t)(uint64_t)f;
	if (to == DtI32)
		return f > -0x1p31 - 1 && f < 0x1p31 ? (int64_t)f : INT32_MIN;
	if (!(f >= -0x1p63 && f < 0x1p63))
		return num_wrap(to, INT64_MIN);
	return num_wrap(to, (int64_t)f);
}

Num
num_cast(enum dtype from, enum dtype to, Num a)
{
	if (dt_int(from) && dt_int(to))
		return (Num){.i = num_wrap(to, a.i)};
	if (dt_int(to))
		return (Num){.i = toint(to, a.f)};
	if (!dt_int(from))
		return (Num){.f = num_round(to, a.f)};
	/* Rounded once: straight to float, not by way of double. */
	if (to == DtF64)
		return (Num){.f = from == DtU64 ? (double)(uint64_t)a.i : (double)a.i};
	a.f = from == DtU64 ? (float)(uint64_t)a.i : (float)a.i;
	return (Num){.f = num_round(to, a.f)};
}

Num
num_bits(enum dtype from, enum dtype to, Num a)
{
	union { unsigned char b[16]; int64_t i; } u = {.i = 0};

	if (dt_int(from))
		u.i = a.i;           /* little-endian, as every target of ours */
	else
		dt_store(from, u.b, a.f);
	if (dt_int(to))
		return (Num){.i = num_wrap(to, u.i)};
	return (Num){.f = dt_load(to, u.b)};
}

/* ---- integers ------------------------------------------------------------ */

static int64_t
ipow(int64_t a, int64_t b, bool sgn)
{
	uint64_t r = 1, x = (uint64_t)a, n = (uint64_t)b;

	if (sgn && b < 0)
		return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
	for (; n; n >>= 1, x *= x)
		if (n & 1)
			r *= x;
	return (int64_t)r;
}

static int64_t
idiv(enum scalar sc, bool sgn, int64_t a, int64_t b)
{
	uint64_t ua = (uint64_t)a, ub = (uint64_t)b;

	if (b == 0)
		return 0;
	if (!sgn)
		return (int64_t)(sc == ScQuot || sc == ScFloordiv ? ua / ub : ua % ub);
	if (b == -1)
		return sc == ScQuot || sc == ScFloordiv ? (int64_t)-ua : 0;
	switch (sc) {
	case ScQuot:     return a / b;
	case ScFloordiv: return floordiv(a, b);
	case ScMod:      return floormod(a, b);
	default:         return a % b;
	}
}

static int64_t
ishift(enum scalar sc, enum dtype dt, int64_t a, int64_t b)
{
	int bits = dt == DtB8 ? 1 : 8 * dtypeinfo[dt].bytes;
	bool out = b < 0 || b >= bits;

	if (sc == ScShl)
		return out ? 0 : (int64_t)((uint64_t)a << b);
	if (dt == DtU64)
		return out ? 0 : (int64_t)((uint64_t)a >> b);
	return out ? (a < 0 ? -1 : 0) : a >> b;
}

static int64_t
ieval(enum scalar sc, enum dtype dt, int64_t a, int64_t b, int64_t c)
{
	bool sgn = dt != DtU64;      /* narrower unsigned ones are positive i64s */
	bool less = sgn ? a < b : (uint64_t)a < (uint64_t)b;
	uint64_t ua = (uint64_t)a, ub = (uint64_t)b, uc = (uint64_t)c;

	switch (sc) {
	case ScNeg: return (int64_t)-ua;
	case ScAbs: return sgn && a < 0 ? (int64_t)-ua : a;
	case ScAdd: return dt == DtB8 ? (a | b) : (int64_t)(ua + ub);
	case ScSub: return (int64_t)(ua - ub);
	case ScMul: return (int64_t)(ua * ub);
	case ScFma: return (int64_t)(ua * ub + uc);
	case ScQuot: case ScFloordiv: case ScMod: case ScFmod:
		return idiv(sc, sgn, a, b);
	case ScMin: return less ? a : b;
	case ScMax: return less ? b : a;
	case ScAnd: return a & b;
	case ScOr:  return a | b;
	case ScXor: return a ^ b;
	case ScNot: return dt == DtB8 ? !a : ~a;
	case ScShl: case ScShr:
		return ishift(sc, dt, a, b);
	case ScLt:  return less;
	case ScLe:  return less || a == b;
	case ScEq:  return a == b;
	case ScNe:  return a != b;
	case ScSelect: return a ? b : c;
	case ScSignbit: return sgn && a < 0;
	case ScPow: return ipow(a, b, sgn);
	case ScIsnan: case ScIsinf:
		return 0;
	default:                     /* roundings */
		return a;
	}
}

/* ---- floats ---------------------------------------------------------------- */

static double
fmodpy(double a, double b)
{
	double m = fmod(a, b);

	return m != 0 && (b < 0) != (m < 0) ? m + b : m;
}

/* As ATen's floor division: exact where a/b rounds up to an integer. */
static double
ffloordiv(double a, double b)
{
	double m, q, r;

	if (b == 0)
		return a / b;
	m = fmod(a, b);
	q = (a - m) / b;
	if (m != 0 && (b < 0) != (m < 0))
		q -= 1;
	if (q == 0)
		return copysign(0, a / b);
	r = floor(q);
	return q - r > 0.5 ? r + 1 : r;
}

static double
fminmax(bool max, double a, double b)
{
	if (isnan(a) || isnan(b))
		return NAN;
	return max ? (a > b ? a : b) : (a < b ? a : b);
}

static double
feval(enum scalar sc, enum dtype dt, double a, double b, double c)
{
	int sign;

	switch (sc) {
	case ScNeg: return -a;
	case ScAbs: return fabs(a);
	case ScAdd: return a + b;
	case ScSub: return a - b;
	case ScMul: return a * b;
	case ScDiv: return a / b;
	case ScQuot: return trunc(num_round(dt, a / b));
	case ScFloordiv: return ffloordiv(a, b);
	case ScMod: return fmodpy(a, b);
	case ScFmod: return fmod(a, b);
	case ScMin: return fminmax(false, a, b);
	case ScMax: return fminmax(true, a, b);
	case ScFma: return dt == DtF32 ? fmaf((float)a, (float)b, (float)c) : fma(a, b, c);
	case ScSelect: return c;
	case ScFloor: return floor(a);
	case ScCeil: return ceil(a);
	case ScRint: return rint(a);
	case ScTrunc: return trunc(a);
	case ScSqrt: return sqrt(a);
	case ScCopysign: return copysign(a, b);
	case ScExp: return exp(a);
	case ScExp2: return exp2(a);
	case ScExpm1: return expm1(a);
	case ScLog: return log(a);
	case ScLog2: return log2(a);
	case ScLog10: return log10(a);
	case ScLog1p: return log1p(a);
	case ScSin: return sin(a);
	case ScCos: return cos(a);
	case ScTan: return tan(a);
	case ScAsin: return asin(a);
	case ScAcos: return acos(a);
	case ScAtan: return atan(a);
	case ScAtan2: return atan2(a, b);
	case ScSinh: return sinh(a);
	case ScCosh: return cosh(a);
	case ScTanh: return tanh(a);
	case ScAsinh: return asinh(a);
	case ScAcosh: return acosh(a);
	case ScAtanh: return atanh(a);
	case ScErf: return erf(a);
	case ScErfc: return erfc(a);
	case ScLgamma: return lgamma_r(a, &sign);
	case ScPow: return pow(a, b);
	case ScHypot: return hypot(a, b);
	case ScNextafter: return dt == DtF32 ? nextafterf((float)a, (float)b) : nextafter(a, b);
	case ScNdtr: return 0.5 * erfc(-a * 0.70710678118654752);
	default: return NAN;         /* bit operations: ex_op refuses floats */
	}
}

static bool
ftest(enum scalar sc, double a, double b)
{
	switch (sc) {
	case ScLt: return a < b;
	case ScLe: return a <= b;
	case ScEq: return a == b;
	case ScNe: return a != b;
	case ScIsnan: return isnan(a);
	case ScIsinf: return isinf(a);
	default: return signbit(a);
	}
}

Num
scalar_eval(enum scalar sc, enum dtype dt, const Num *arg)
{
	int n = scalarinfo[sc].arity, rule = scalarinfo[sc].rule;
	Num a = arg[0], b = n > 1 ? arg[1] : a, c = n > 2 ? arg[2] : a;

	if (sc == ScSelect)
		return a.i ? b : c;
	if (dt_int(dt)) {
		int64_t r = ieval(sc, dt, a.i, b.i, c.i);
		return (Num){.i = rule == ScCmp || rule == ScTest ? r : num_wrap(dt, r)};
	}
	if (rule == ScCmp || rule == ScTest)
		return (Num){.i = ftest(sc, a.f, b.f)};
	return (Num){.f = num_round(dt, feval(sc, dt, a.f, b.f, c.f))};
}
