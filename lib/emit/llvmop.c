/* llvmop.c - scalar.def in LLVM: the same results on every target and lane count.
 *
 * Nothing here is undefined: division by zero, shifts by too much and the most
 * negative integer divided by -1 give what scalar.def says.  No fast-math flag
 * is ever set; a fused multiply-add appears only where the loop IR has one.
 */
#include "emit/llvm.h"

typedef LLVMValueRef V;

static bool
isfloat(enum dtype dt)
{
	return dt == DtF32 || dt == DtF64;
}

static bool
issigned(enum dtype dt)
{
	return dtypeinfo[dt].kind == KindInt;
}

static int
bits(enum dtype dt)
{
	return dt == DtB8 ? 1 : dtypeinfo[dt].bytes * 8;
}

static V
intrinsic(Gen *g, const char *name, enum dtype dt, int lanes, V a, V b, V c)
{
	LLVMTypeRef t = ll_reg(g, dt, lanes);
	V arg[] = {a, b, c};

	return ll_call(g, name, &t, 1, arg, c ? 3 : b ? 2 : 1);
}

/* ---- libm, one lane at a time -------------------------------------------------- */

static V
libm(Gen *g, const char *name, enum dtype dt, int lanes, V a, V b)
{
	LLVMTypeRef t = ll_reg(g, dt, 1), par[] = {t, t}, ft = LLVMFunctionType(t, par, b ? 2 : 1, false);
	char full[32];
	V fn, r;

	snprintf(full, sizeof full, "%s%s", name, dt == DtF32 ? "f" : "");
	fn = LLVMGetNamedFunction(g->mod, full);
	if (fn == NULL)
		fn = LLVMAddFunction(g->mod, full, ft);
	if (lanes == 1) {
		V arg[] = {a, b};
		return LLVMBuildCall2(g->b, ft, fn, arg, b ? 2 : 1, "");
	}
	r = LLVMGetPoison(ll_reg(g, dt, lanes));
	for (int i = 0; i < lanes; i++) {
		V at = ll_iconst(g, 32, 1, i), arg[2];
		arg[0] = LLVMBuildExtractElement(g->b, a, at, "");
		if (b)
			arg[1] = LLVMBuildExtractElement(g->b, b, at, "");
		r = LLVMBuildInsertElement(g->b, r, LLVMBuildCall2(g->b, ft, fn, arg, b ? 2 : 1, ""), at, "");
	}
	return r;
}

/* ---- integers --------------------------------------------------------------------- */

/* a/b and a%b by a divisor that is never 0 nor, signed, -1; the two cases are
 * put right by selects: x/0 is 0, x%0 is x, x/-1 is -x, x%-1 is 0. */
static V
divide(Gen *g, enum dtype dt, int lanes, V a, V b, bool rem)
{
	V zero = ll_zero(g, dt, lanes), one = ll_iconst(g, bits(dt), lanes, 1), iszero, r;
	V minus = NULL, safe = b;

	iszero = LLVMBuildICmp(g->b, LLVMIntEQ, b, zero, "");
	safe = LLVMBuildSelect(g->b, iszero, one, safe, "");
	if (issigned(dt)) {
		minus = LLVMBuildICmp(g->b, LLVMIntEQ, b, ll_iconst(g, bits(dt), lanes, -1), "");
		safe = LLVMBuildSelect(g->b, minus, one, safe, "");
		r = rem ? LLVMBuildSRem(g->b, a, safe, "") : LLVMBuildSDiv(g->b, a, safe, "");
		r = LLVMBuildSelect(g->b, minus, rem ? zero : LLVMBuildNeg(g->b, a, ""), r, "");
	} else {
		r = rem ? LLVMBuildURem(g->b, a, safe, "") : LLVMBuildUDiv(g->b, a, safe, "");
	}
	return LLVMBuildSelect(g->b, iszero, rem ? a : zero, r, "");
}

/* Does the remainder r need moving by one divisor to have b's sign? */
static V
crosses(Gen *g, enum dtype dt, int lanes, V r, V b)
{
	V zero = ll_zero(g, dt, lanes), ne, sr, sb;

	if (isfloat(dt)) {
		ne = LLVMBuildFCmp(g->b, LLVMRealUNE, r, zero, "");
		sr = LLVMBuildFCmp(g->b, LLVMRealOLT, r, zero, "");
		sb = LLVMBuildFCmp(g->b, LLVMRealOLT, b, zero, "");
	} else {
		ne = LLVMBuildICmp(g->b, LLVMIntNE, r, zero, "");
		sr = LLVMBuildICmp(g->b, LLVMIntSLT, r, zero, "");
		sb = LLVMBuildICmp(g->b, LLVMIntSLT, b, zero, "");
	}
	return LLVMBuildAnd(g->b, ne, LLVMBuildXor(g->b, sr, sb, ""), "");
}

static V
int_floordiv(Gen *g, enum dtype dt, int lanes, V a, V b)
{
	V q = divide(g, dt, lanes, a, b, false), r, zero = ll_zero(g, dt, lanes), down;

	if (!issigned(dt))
		return q;
	r = divide(g, dt, lanes, a, b, true);
	down = LLVMBuildAnd(g->b, crosses(g, dt, lanes, r, b), LLVMBuildICmp(g->b, LLVMIntNE, b, zero, ""), "");
	return LLVMBuildSub(g->b, q, LLVMBuildZExt(g->b, down, ll_reg(g, dt, lanes), ""), "");
}

static V
int_mod(Gen *g, enum dtype dt, int lanes, V a, V b)
{
	V r = divide(g, dt, lanes, a, b, true);

	if (!issigned(dt))
		return r;
	return LLVMBuildSelect(g->b, crosses(g, dt, lanes, r, b), LLVMBuildAdd(g->b, r, b, ""), r, "");
}

static V
shift(Gen *g, enum dtype dt, int lanes, V a, V b, bool left)
{
	int n = bits(dt);
	V in = LLVMBuildICmp(g->b, LLVMIntULT, b, ll_iconst(g, n, lanes, n), "");
	V safe = LLVMBuildSelect(g->b, in, b, ll_iconst(g, n, lanes, n - 1), "");

	if (!left && issigned(dt))
		return LLVMBuildAShr(g->b, a, safe, "");
	return LLVMBuildSelect(g->b, in,
	                       left ? LLVMBuildShl(g->b, a, safe, "") : LLVMBuildLShr(g->b, a, safe, ""),
	                       ll_zero(g, dt, lanes), "");
}

/* The module's own function for integer powers, built on first use:
 * r = 1; while (e) { if (e & 1) r *= x; x *= x; e >>= 1 } */
static V
ipow_function(Gen *g, int n)
{
	char name[16];
	LLVMTypeRef t = ll_int(g, n, 1), par[] = {t, t};
	LLVMBasicBlockRef entry, head, body, done;
	LLVMBuilderRef keep = g->b;
	V fn, r, x, e, odd, r2;

	snprintf(name, sizeof name, "ipow%d", n);
	fn = LLVMGetNamedFunction(g->mod, name);
	if (fn)
		return fn;
	fn = LLVMAddFunction(g->mod, name, LLVMFunctionType(t, par, 2, false));
	LLVMSetLinkage(fn, LLVMInternalLinkage);
	entry = LLVMAppendBasicBlockInContext(g->lc, fn, "");
	head = LLVMAppendBasicBlockInContext(g->lc, fn, "");
	body = LLVMAppendBasicBlockInContext(g->lc, fn, "");
	done = LLVMAppendBasicBlockInContext(g->lc, fn, "");
	g->b = LLVMCreateBuilderInContext(g->lc);
	LLVMPositionBuilderAtEnd(g->b, entry);
	LLVMBuildBr(g->b, head);
	LLVMPositionBuilderAtEnd(g->b, head);
	r = LLVMBuildPhi(g->b, t, "");
	x = LLVMBuildPhi(g->b, t, "");
	e = LLVMBuildPhi(g->b, t, "");
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntEQ, e, LLVMConstNull(t), ""), done, body);
	LLVMPositionBuilderAtEnd(g->b, body);
	odd = LLVMBuildTrunc(g->b, e, ll_int(g, 1, 1), "");
	r2 = LLVMBuildSelect(g->b, odd, LLVMBuildMul(g->b, r, x, ""), r, "");
	LLVMAddIncoming(r, (V[]){ll_iconst(g, n, 1, 1), r2}, (LLVMBasicBlockRef[]){entry, body}, 2);
	LLVMAddIncoming(x, (V[]){LLVMGetParam(fn, 0), LLVMBuildMul(g->b, x, x, "")}, (LLVMBasicBlockRef[]){entry, body}, 2);
	LLVMAddIncoming(e, (V[]){LLVMGetParam(fn, 1), LLVMBuildLShr(g->b, e, ll_iconst(g, n, 1, 1), "")}, (LLVMBasicBlockRef[]){entry, body}, 2);
	LLVMBuildBr(g->b, head);
	LLVMPositionBuilderAtEnd(g->b, done);
	LLVMBuildRet(g->b, r);
	LLVMDisposeBuilder(g->b);
	g->b = keep;
	return fn;
}

static V
ipow_lane(Gen *g, enum dtype dt, V x, V e)
{
	int n = bits(dt);
	LLVMTypeRef t = ll_int(g, n, 1), par[] = {t, t};
	V zero = LLVMConstNull(t), one = ll_iconst(g, n, 1, 1), minus = ll_iconst(g, n, 1, -1), arg[2], r, neg, inv;

	if (!issigned(dt)) {
		arg[0] = x, arg[1] = e;
		return LLVMBuildCall2(g->b, LLVMFunctionType(t, par, 2, false), ipow_function(g, n), arg, 2, "");
	}
	neg = LLVMBuildICmp(g->b, LLVMIntSLT, e, zero, "");
	arg[0] = x;
	arg[1] = LLVMBuildSelect(g->b, neg, zero, e, "");
	r = LLVMBuildCall2(g->b, LLVMFunctionType(t, par, 2, false), ipow_function(g, n), arg, 2, "");
	/* 1/x^|e| rounded to zero: 1 for 1, +-1 for -1, else 0 */
	inv = LLVMBuildSelect(g->b, LLVMBuildTrunc(g->b, e, ll_int(g, 1, 1), ""), minus, one, "");
	inv = LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntEQ, x, minus, ""), inv, zero, "");
	inv = LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntEQ, x, one, ""), one, inv, "");
	return LLVMBuildSelect(g->b, neg, inv, r, "");
}

static V
ipow(Gen *g, enum dtype dt, int lanes, V x, V e)
{
	V r = LLVMGetPoison(ll_reg(g, dt, lanes));

	if (lanes == 1)
		return ipow_lane(g, dt, x, e);
	for (int i = 0; i < lanes; i++) {
		V at = ll_iconst(g, 32, 1, i);
		V p = ipow_lane(g, dt, LLVMBuildExtractElement(g->b, x, at, ""), LLVMBuildExtractElement(g->b, e, at, ""));
		r = LLVMBuildInsertElement(g->b, r, p, at, "");
	}
	return r;
}

/* b8 has the arithmetic of or and and; everything else on integers wraps. */
static V
int_op(Gen *g, enum scalar sc, enum dtype dt, int lanes, V a, V b, V c)
{
	bool bool8 = dt == DtB8, sign = issigned(dt);
	V less;

	switch (sc) {
	case ScNeg:  return bool8 ? a : LLVMBuildNeg(g->b, a, "");
	case ScAbs:
		if (!sign)
			return a;
		less = LLVMBuildICmp(g->b, LLVMIntSLT, a, ll_zero(g, dt, lanes), "");
		return LLVMBuildSelect(g->b, less, LLVMBuildNeg(g->b, a, ""), a, "");
	case ScAdd:  return bool8 ? LLVMBuildOr(g->b, a, b, "") : LLVMBuildAdd(g->b, a, b, "");
	case ScSub:  return bool8 ? LLVMBuildXor(g->b, a, b, "") : LLVMBuildSub(g->b, a, b, "");
	case ScMul:  return bool8 ? LLVMBuildAnd(g->b, a, b, "") : LLVMBuildMul(g->b, a, b, "");
	case ScFma:  return LLVMBuildAdd(g->b, LLVMBuildMul(g->b, a, b, ""), c, "");
	case ScQuot: return divide(g, dt, lanes, a, b, false);
	case ScFmod: return divide(g, dt, lanes, a, b, true);
	case ScFloordiv: return int_floordiv(g, dt, lanes, a, b);
	case ScMod:  return int_mod(g, dt, lanes, a, b);
	case ScMin:
	case ScMax:
		less = LLVMBuildICmp(g->b, sign ? LLVMIntSLT : LLVMIntULT, a, b, "");
		return sc == ScMin ? LLVMBuildSelect(g->b, less, a, b, "") : LLVMBuildSelect(g->b, less, b, a, "");
	case ScAnd:  return LLVMBuildAnd(g->b, a, b, "");
	case ScOr:   return LLVMBuildOr(g->b, a, b, "");
	case ScXor:  return LLVMBuildXor(g->b, a, b, "");
	case ScNot:  return LLVMBuildNot(g->b, a, "");
	case ScShl:  return shift(g, dt, lanes, a, b, true);
	case ScShr:  return shift(g, dt, lanes, a, b, false);
	case ScLt:   return LLVMBuildICmp(g->b, sign ? LLVMIntSLT : LLVMIntULT, a, b, "");
	case ScLe:   return LLVMBuildICmp(g->b, sign ? LLVMIntSLE : LLVMIntULE, a, b, "");
	case ScEq:   return LLVMBuildICmp(g->b, LLVMIntEQ, a, b, "");
	case ScNe:   return LLVMBuildICmp(g->b, LLVMIntNE, a, b, "");
	case ScIsnan:
	case ScIsinf: return LLVMConstNull(ll_int(g, 1, lanes));
	case ScSignbit: return sign ? LLVMBuildICmp(g->b, LLVMIntSLT, a, ll_zero(g, dt, lanes), "") : LLVMConstNull(ll_int(g, 1, lanes));
	case ScFloor: case ScCeil: case ScRint: case ScTrunc: return a;
	case ScPow:  return bool8 ? LLVMBuildOr(g->b, a, LLVMBuildNot(g->b, b, ""), "") : ipow(g, dt, lanes, a, b);
	default:     return NULL;
	}
}

/* ---- floats ---------------------------------------------------------------------------- */

/* A select gives b when either is NaN; a second one keeps a NaN in a. */
static V
minmax(Gen *g, enum scalar sc, V a, V b)
{
	V c = LLVMBuildFCmp(g->b, sc == ScMin ? LLVMRealOLT : LLVMRealOGT, a, b, "");
	V r = LLVMBuildSelect(g->b, c, a, b, "");

	return LLVMBuildSelect(g->b, LLVMBuildFCmp(g->b, LLVMRealUNO, a, a, ""), a, r, "");
}

static V
float_mod(Gen *g, enum dtype dt, int lanes, V a, V b)
{
	V r = libm(g, "fmod", dt, lanes, a, b);

	return LLVMBuildSelect(g->b, crosses(g, dt, lanes, r, b), LLVMBuildFAdd(g->b, r, b, ""), r, "");
}

/* (a - mod)/b is an integer but for rounding: round it to the nearest; b == 0
 * gives a/b, and a quotient of zero has the sign of a/b. */
static V
float_floordiv(Gen *g, enum dtype dt, int lanes, V a, V b)
{
	V zero = ll_zero(g, dt, lanes), quotient = LLVMBuildFDiv(g->b, a, b, "");
	V mod = float_mod(g, dt, lanes, a, b);
	V d = LLVMBuildFDiv(g->b, LLVMBuildFSub(g->b, a, mod, ""), b, "");
	V down = intrinsic(g, "llvm.floor", dt, lanes, d, NULL, NULL);
	V more = LLVMBuildFCmp(g->b, LLVMRealOGT, LLVMBuildFSub(g->b, d, down, ""), ll_fconst(g, dt, lanes, 0.5), "");

	down = LLVMBuildSelect(g->b, more, LLVMBuildFAdd(g->b, down, ll_fconst(g, dt, lanes, 1), ""), down, "");
	down = LLVMBuildSelect(g->b, LLVMBuildFCmp(g->b, LLVMRealOEQ, d, zero, ""),
	                       intrinsic(g, "llvm.copysign", dt, lanes, zero, quotient, NULL), down, "");
	return LLVMBuildSelect(g->b, LLVMBuildFCmp(g->b, LLVMRealOEQ, b, zero, ""), quotient, down, "");
}

static V
signbit_of(Gen *g, enum dtype dt, int lanes, V a)
{
	V i = LLVMBuildBitCast(g->b, a, ll_int(g, bits(dt), lanes), "");

	return LLVMBuildICmp(g->b, LLVMIntSLT, i, ll_iconst(g, bits(dt), lanes, 0), "");
}

static V
float_op(Gen *g, enum scalar sc, enum dtype dt, int lanes, V a, V b, V c)
{
	switch (sc) {
	case ScNeg:  return LLVMBuildFNeg(g->b, a, "");
	case ScAbs:  return intrinsic(g, "llvm.fabs", dt, lanes, a, NULL, NULL);
	case ScAdd:  return LLVMBuildFAdd(g->b, a, b, "");
	case ScSub:  return LLVMBuildFSub(g->b, a, b, "");
	case ScMul:  return LLVMBuildFMul(g->b, a, b, "");
	case ScDiv:  return LLVMBuildFDiv(g->b, a, b, "");
	case ScFma:  return intrinsic(g, "llvm.fma", dt, lanes, a, b, c);
	case ScQuot: return intrinsic(g, "llvm.trunc", dt, lanes, LLVMBuildFDiv(g->b, a, b, ""), NULL, NULL);
	case ScFmod: return libm(g, "fmod", dt, lanes, a, b);
	case ScMod:  return float_mod(g, dt, lanes, a, b);
	case ScFloordiv: return float_floordiv(g, dt, lanes, a, b);
	case ScMin:
	case ScMax:  return minmax(g, sc, a, b);
	case ScLt:   return LLVMBuildFCmp(g->b, LLVMRealOLT, a, b, "");
	case ScLe:   return LLVMBuildFCmp(g->b, LLVMRealOLE, a, b, "");
	case ScEq:   return LLVMBuildFCmp(g->b, LLVMRealOEQ, a, b, "");
	case ScNe:   return LLVMBuildFCmp(g->b, LLVMRealUNE, a, b, "");
	case ScIsnan: return LLVMBuildFCmp(g->b, LLVMRealUNO, a, a, "");
	case ScIsinf: return LLVMBuildFCmp(g->b, LLVMRealOEQ, intrinsic(g, "llvm.fabs", dt, lanes, a, NULL, NULL),
	                                   ll_fconst(g, dt, lanes, __builtin_inf()), "");
	case ScSignbit: return signbit_of(g, dt, lanes, a);
	case ScFloor: return intrinsic(g, "llvm.floor", dt, lanes, a, NULL, NULL);
	case ScCeil:  return intrinsic(g, "llvm.ceil", dt, lanes, a, NULL, NULL);
	case ScRint:  return intrinsic(g, "llvm.rint", dt, lanes, a, NULL, NULL);
	case ScTrunc: return intrinsic(g, "llvm.trunc", dt, lanes, a, NULL, NULL);
	case ScSqrt:  return intrinsic(g, "llvm.sqrt", dt, lanes, a, NULL, NULL);
	case ScCopysign: return intrinsic(g, "llvm.copysign", dt, lanes, a, b, NULL);
	default:     return sc >= ScExp ? libm(g, scalarinfo[sc].text, dt, lanes, a, b) : NULL;
	}
}

LLVMValueRef
ll_scalar(Gen *g, enum scalar sc, enum dtype dt, enum dtype result, int lanes, V a, V b, V c)
{
	V r;

	(void)result;
	if (sc == ScSelect)
		return LLVMBuildSelect(g->b, a, b, c, "");
	r = isfloat(dt) ? float_op(g, sc, dt, lanes, a, b, c)
	    : dt_int(dt) ? int_op(g, sc, dt, lanes, a, b, c) : NULL;
	if (r == NULL)
		bug(g->cx, NOLOC, "kernel %s: no %s of %s", g->k->name, scalarinfo[sc].text, dtypeinfo[dt].text);
	return r;
}

/* ---- across lanes, random bits ------------------------------------------------------------ */

/* Halves are combined until one lane is left: a fixed order. */
LLVMValueRef
ll_reduce(Gen *g, enum fold f, enum dtype dt, int lanes, V v)
{
	static const uint8_t op[NFold] = {[FoldSum] = ScAdd, [FoldProd] = ScMul, [FoldMax] = ScMax,
	                                  [FoldMin] = ScMin, [FoldAny] = ScOr, [FoldAll] = ScAnd};
	V mask[256];

	for (int n = lanes / 2; n >= 1; n /= 2) {
		for (int i = 0; i < n; i++)
			mask[i] = ll_iconst(g, 32, 1, i + n);
		V low[256];
		for (int i = 0; i < n; i++)
			low[i] = ll_iconst(g, 32, 1, i);
		V a, b;
		if (n == 1) {
			a = LLVMBuildExtractElement(g->b, v, low[0], "");
			b = LLVMBuildExtractElement(g->b, v, mask[0], "");
		} else {
			a = LLVMBuildShuffleVector(g->b, v, v, LLVMConstVector(low, (unsigned)n), "");
			b = LLVMBuildShuffleVector(g->b, v, v, LLVMConstVector(mask, (unsigned)n), "");
		}
		v = ll_scalar(g, op[f], dt, dt, n, a, b, NULL);
	}
	return v;
}

/* Philox4x32-10 (Salmon et al. 2011), first word.  Counter (c lo, c hi, stream, 0), key = seed. */
LLVMValueRef
ll_random(Gen *g, V counter, V seed, int64_t stream, int lanes)
{
	LLVMTypeRef t32 = ll_int(g, 32, lanes), t64 = ll_int(g, 64, lanes);
	V k0, k1, x[4], n32 = ll_iconst(g, 64, lanes, 32);

	seed = seed ? seed : ll_iconst(g, 64, 1, 0);
	seed = ll_splat(g, seed, lanes);
	k0 = LLVMBuildTrunc(g->b, seed, t32, "");
	k1 = LLVMBuildTrunc(g->b, LLVMBuildLShr(g->b, seed, n32, ""), t32, "");
	x[0] = LLVMBuildTrunc(g->b, counter, t32, "");
	x[1] = LLVMBuildTrunc(g->b, LLVMBuildLShr(g->b, counter, n32, ""), t32, "");
	x[2] = ll_iconst(g, 32, lanes, stream);
	x[3] = ll_iconst(g, 32, lanes, 0);
	for (int r = 0; r < 10; r++) {
		V a = LLVMBuildMul(g->b, LLVMBuildZExt(g->b, x[0], t64, ""), ll_iconst(g, 64, lanes, 0xD2511F53), "");
		V b = LLVMBuildMul(g->b, LLVMBuildZExt(g->b, x[2], t64, ""), ll_iconst(g, 64, lanes, 0xCD9E8D57), "");
		V ahi = LLVMBuildTrunc(g->b, LLVMBuildLShr(g->b, a, n32, ""), t32, "");
		V bhi = LLVMBuildTrunc(g->b, LLVMBuildLShr(g->b, b, n32, ""), t32, "");
		V x0 = LLVMBuildXor(g->b, LLVMBuildXor(g->b, bhi, x[1], ""), k0, "");
		V x2 = LLVMBuildXor(g->b, LLVMBuildXor(g->b, ahi, x[3], ""), k1, "");
		x[1] = LLVMBuildTrunc(g->b, b, t32, "");
		x[3] = LLVMBuildTrunc(g->b, a, t32, "");
		x[0] = x0;
		x[2] = x2;
		k0 = LLVMBuildAdd(g->b, k0, ll_iconst(g, 32, lanes, 0x9E3779B9), "");
		k1 = LLVMBuildAdd(g->b, k1, ll_iconst(g, 32, lanes, 0xBB67AE85), "");
	}
	return x[0];
}
