/* llvmtype.c - dtypes as LLVM types, constants, and conversions between dtypes.
 *
 * A b8 is i1 in a register and i8 in memory.  bf16, f16 and f8 are storage only:
 * in a register they are their bits, and converting them is integer arithmetic
 * written here, so that every CPU gives the same bits and none needs a run-time
 * library (f16 uses the hardware's conversions where the target has them; they
 * round alike).
 */
#include "emit/llvm.h"

static LLVMTypeRef
vec(LLVMTypeRef t, int lanes)
{
	return lanes > 1 ? LLVMVectorType(t, (unsigned)lanes) : t;
}

LLVMTypeRef
ll_int(Gen *g, int bits, int lanes)
{
	return vec(LLVMIntTypeInContext(g->lc, (unsigned)bits), lanes);
}

LLVMTypeRef
ll_reg(Gen *g, enum dtype dt, int lanes)
{
	if (dt == DtB8)
		return ll_int(g, 1, lanes);
	return ll_mem(g, dt, lanes);
}

LLVMTypeRef
ll_mem(Gen *g, enum dtype dt, int lanes)
{
	if (dt == DtF32)
		return vec(LLVMFloatTypeInContext(g->lc), lanes);
	if (dt == DtF64)
		return vec(LLVMDoubleTypeInContext(g->lc), lanes);
	return ll_int(g, dtypeinfo[dt].bytes * 8, lanes);
}

LLVMValueRef
ll_splat(Gen *g, LLVMValueRef s, int lanes)
{
	LLVMTypeRef t = LLVMTypeOf(s);
	LLVMValueRef v;

	if (lanes == 1)
		return s;
	v = LLVMBuildInsertElement(g->b, LLVMGetPoison(vec(t, lanes)), s, ll_iconst(g, 32, 1, 0), "");
	return LLVMBuildShuffleVector(g->b, v, LLVMGetPoison(vec(t, lanes)), ll_iconst(g, 32, lanes, 0), "");
}

static LLVMValueRef
constvec(LLVMValueRef c, int lanes)
{
	LLVMValueRef v[256];

	if (lanes == 1)
		return c;
	for (int i = 0; i < lanes; i++)
		v[i] = c;
	return LLVMConstVector(v, (unsigned)lanes);
}

LLVMValueRef
ll_iconst(Gen *g, int bits, int lanes, int64_t n)
{
	return constvec(LLVMConstInt(ll_int(g, bits, 1), (uint64_t)n, true), lanes);
}

LLVMValueRef
ll_fconst(Gen *g, enum dtype dt, int lanes, double f)
{
	return constvec(LLVMConstReal(ll_reg(g, dt, 1), f), lanes);
}

LLVMValueRef
ll_zero(Gen *g, enum dtype dt, int lanes)
{
	return LLVMConstNull(ll_reg(g, dt, lanes));
}

LLVMValueRef
ll_call(Gen *g, const char *name, LLVMTypeRef *over, int nover, LLVMValueRef *arg, int narg)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	LLVMValueRef fn = LLVMGetIntrinsicDeclaration(g->mod, id, over, (size_t)nover);

	return LLVMBuildCall2(g->b, LLVMGlobalGetValueType(fn), fn, arg, (unsigned)narg, "");
}

/* ---- 16 and 8 bit floats ------------------------------------------------ */

#define I32(n)    ll_iconst(g, 32, lanes, (int64_t)(n))
#define AND(x, y) LLVMBuildAnd(g->b, x, y, "")
#define OR(x, y)  LLVMBuildOr(g->b, x, y, "")
#define ADD(x, y) LLVMBuildAdd(g->b, x, y, "")
#define SUB(x, y) LLVMBuildSub(g->b, x, y, "")
#define SHL(x, n) LLVMBuildShl(g->b, x, I32(n), "")
#define SHR(x, n) LLVMBuildLShr(g->b, x, I32(n), "")
#define SEL(c, x, y) LLVMBuildSelect(g->b, c, x, y, "")
#define ICMP(op, x, y) LLVMBuildICmp(g->b, op, x, y, "")

static LLVMValueRef
tofloat(Gen *g, LLVMValueRef bits, int lanes)
{
	return LLVMBuildBitCast(g->b, bits, ll_reg(g, DtF32, lanes), "");
}

static LLVMValueRef
tobits(Gen *g, LLVMValueRef f, int lanes)
{
	return LLVMBuildBitCast(g->b, f, ll_int(g, 32, lanes), "");
}

/* A small float of ebits exponent and mbits mantissa bits, in the low bits of a
 * 32-bit integer, to f32: shift its magnitude into place and let a
 * multiplication by a power of two move the exponent, which is exact for
 * denormals too.  From `special` on the magnitude is infinity or NaN. */
static LLVMValueRef
widen(Gen *g, LLVMValueRef v, int lanes, int ebits, int mbits, int special, bool hasinf)
{
	int bias = (1 << (ebits - 1)) - 1, width = 1 + ebits + mbits;
	LLVMValueRef mag = AND(v, I32((1 << (width - 1)) - 1));
	LLVMValueRef sign = SHL(AND(v, I32(1 << (width - 1))), 32 - width);
	LLVMValueRef up = SHL(mag, 23 - mbits), f;

	f = LLVMBuildFMul(g->b, tofloat(g, up, lanes),
	                  ll_fconst(g, DtF32, lanes, __builtin_ldexp(1, 127 - bias)), "");
	f = SEL(ICMP(LLVMIntUGE, mag, I32(special)),
	        tofloat(g, hasinf ? OR(up, I32(0x7f800000)) : I32(0x7fc00000), lanes), f);
	return tofloat(g, OR(tobits(g, f, lanes), sign), lanes);
}

/* f32 to a small float, to nearest even.  Normal results: add half of the last
 * kept bit (less one, plus that bit) and shift.  Denormal ones: adding a power
 * of two whose last bit is the small float's last bit makes the FPU round. */
static LLVMValueRef
narrow(Gen *g, LLVMValueRef f, int lanes, int ebits, int mbits, int inf, int nan, int64_t overflow)
{
	int bias = (1 << (ebits - 1)) - 1, shift = 23 - mbits, width = 1 + ebits + mbits;
	int64_t magic = (int64_t)(127 - bias + shift + 1) << 23;
	LLVMValueRef all = tobits(g, f, lanes), mag = AND(all, I32(0x7fffffff)), odd, r, small;
	LLVMValueRef sign = SHR(AND(all, I32(0x80000000)), 32 - width);

	odd = AND(SHR(mag, shift), I32(1));
	r = ADD(ADD(mag, I32(-((int64_t)(127 - bias) << 23) + (1 << (shift - 1)) - 1)), odd);
	r = SHR(r, shift);
	small = LLVMBuildFAdd(g->b, tofloat(g, mag, lanes), tofloat(g, I32(magic), lanes), "");
	small = SUB(tobits(g, small, lanes), I32(magic));
	r = SEL(ICMP(LLVMIntULT, mag, I32((int64_t)(127 - bias + 1) << 23)), small, r);
	r = SEL(ICMP(LLVMIntUGE, mag, I32(overflow)), I32(inf), r);
	r = SEL(ICMP(LLVMIntUGT, mag, I32(0x7f800000)), I32(nan), r);
	return OR(r, sign);
}

static LLVMValueRef
bf16_narrow(Gen *g, LLVMValueRef f, int lanes)
{
	LLVMValueRef all = tobits(g, f, lanes), odd = AND(SHR(all, 16), I32(1));
	LLVMValueRef r = SHR(ADD(ADD(all, I32(0x7fff)), odd), 16);

	return SEL(ICMP(LLVMIntUGT, AND(all, I32(0x7fffffff)), I32(0x7f800000)), I32(0x7fc0), r);
}

/* The bits of a storage-only dtype as f32. */
static LLVMValueRef
storage_widen(Gen *g, LLVMValueRef v, enum dtype dt, int lanes)
{
	if (dt == DtF16 && g->halfops) {
		LLVMTypeRef half = vec(LLVMHalfTypeInContext(g->lc), lanes);
		return LLVMBuildFPExt(g->b, LLVMBuildBitCast(g->b, v, half, ""), ll_reg(g, DtF32, lanes), "");
	}
	v = LLVMBuildZExt(g->b, v, ll_int(g, 32, lanes), "");
	switch (dt) {
	case DtBF16:   return tofloat(g, SHL(v, 16), lanes);
	case DtF16:    return widen(g, v, lanes, 5, 10, 0x7c00, true);
	case DtF8E5M2: return widen(g, v, lanes, 5, 2, 0x7c, true);
	default:       return widen(g, v, lanes, 4, 3, 0x7f, false);
	}
}

static LLVMValueRef
storage_narrow(Gen *g, LLVMValueRef f, enum dtype dt, int lanes)
{
	LLVMValueRef r;

	if (dt == DtF16 && g->halfops) {
		r = LLVMBuildFPTrunc(g->b, f, vec(LLVMHalfTypeInContext(g->lc), lanes), "");
		return LLVMBuildBitCast(g->b, r, ll_int(g, 16, lanes), "");
	}
	switch (dt) {
	case DtBF16:   r = bf16_narrow(g, f, lanes); break;
	case DtF16:    r = narrow(g, f, lanes, 5, 10, 0x7c00, 0x7e00, 0x477ff000); break;
	case DtF8E5M2: r = narrow(g, f, lanes, 5, 2, 0x7c, 0x7f, 0x47700000); break;
	default:       r = narrow(g, f, lanes, 4, 3, 0x7f, 0x7f, 0x43e80000 + 1); break;
	}
	return LLVMBuildTrunc(g->b, r, ll_reg(g, dt, lanes), "");
}

/* ---- casts ------------------------------------------------------------------ */

static bool
storageonly(enum dtype dt)
{
	return dt_float(dt) && dt != DtF32 && dt != DtF64;
}

static bool
issigned(enum dtype dt)
{
	return dtypeinfo[dt].kind == KindInt;
}

/* Floats to integers: truncated; out of range saturates in 32 or 64 bits and then
 * wraps into a narrower dtype, NaN gives 0. */
static LLVMValueRef
float_toint(Gen *g, LLVMValueRef v, enum dtype from, enum dtype to, int lanes)
{
	int bits = dtypeinfo[to].bytes * 8, wide = to == DtU32 || bits == 64 ? 64 : 32;
	LLVMTypeRef t = ll_int(g, wide, lanes), over[] = {t, ll_reg(g, from, lanes)};

	v = ll_call(g, to == DtU64 ? "llvm.fptoui.sat" : "llvm.fptosi.sat", over, 2, &v, 1);
	return bits < wide ? LLVMBuildTrunc(g->b, v, ll_int(g, bits, lanes), "") : v;
}

static LLVMValueRef
int_toint(Gen *g, LLVMValueRef v, enum dtype from, enum dtype to, int lanes)
{
	int a = dtypeinfo[from].bytes, b = dtypeinfo[to].bytes;
	LLVMTypeRef t = ll_reg(g, to, lanes);

	if (from == DtB8)
		return LLVMBuildZExt(g->b, v, t, "");
	if (a == b)
		return v;
	if (a > b)
		return LLVMBuildTrunc(g->b, v, t, "");
	return issigned(from) ? LLVMBuildSExt(g->b, v, t, "") : LLVMBuildZExt(g->b, v, t, "");
}

LLVMValueRef
ll_cast(Gen *g, LLVMValueRef v, enum dtype from, enum dtype to, int lanes)
{
	if (from == to)
		return v;
	if (storageonly(from))
		return ll_cast(g, storage_widen(g, v, from, lanes), DtF32, to, lanes);
	if (storageonly(to))
		return storage_narrow(g, ll_cast(g, v, from, DtF32, lanes), to, lanes);
	if (to == DtB8 && dt_float(from))
		return LLVMBuildFCmp(g->b, LLVMRealUNE, v, ll_zero(g, from, lanes), "");
	if (to == DtB8)
		return ICMP(LLVMIntNE, v, ll_zero(g, from, lanes));
	if (dt_float(from) && dt_float(to))
		return LLVMBuildFPCast(g->b, v, ll_reg(g, to, lanes), "");
	if (dt_float(from))
		return float_toint(g, v, from, to, lanes);
	if (dt_float(to))
		return issigned(from) ? LLVMBuildSIToFP(g->b, v, ll_reg(g, to, lanes), "")
		                      : LLVMBuildUIToFP(g->b, v, ll_reg(g, to, lanes), "");
	return int_toint(g, v, from, to, lanes);
}
