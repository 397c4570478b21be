/* expr.c - evaluate a size expression: postfix, 64-bit, overflow is an error. */
#include <math.h>
#include <string.h>
#include "model.h"

typedef union Slot { int64_t i; double f; } Slot;
enum { Depth = 128 };

static int64_t
floordiv(int64_t a, int64_t b, int *bad)
{
	if (b == 0 || (a == INT64_MIN && b == -1)) {
		*bad = 1;
		return 0;
	}
	return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t
power(int64_t a, int64_t b, int *bad)
{
	int64_t r = 1;

	if (b < 0 || b > 64)
		*bad = 1;
	for (; !*bad && b > 0; b--)
		*bad |= __builtin_mul_overflow(r, a, &r);
	return r;
}

static int64_t
toint(double f, int *bad)
{
	if (!(f >= -9.2e18 && f <= 9.2e18)) {
		*bad = 1;
		return 0;
	}
	return (int64_t)f;
}

static void
unary(Slot *s, int64_t op, int *bad)
{
	switch (op) {
	case FxrtXNot:     s->i = !s->i; break;
	case FxrtXToFloat: s->f = (double)s->i; break;
	case FxrtXSqrt:    s->f = sqrt(s->f); break;
	case FxrtXExp:     s->f = exp(s->f); break;
	case FxrtXLog:     s->f = log(s->f); break;
	case FxrtXSin:     s->f = sin(s->f); break;
	case FxrtXCos:     s->f = cos(s->f); break;
	case FxrtXTan:     s->f = tan(s->f); break;
	case FxrtXLog2:    s->f = log2(s->f); break;
	case FxrtXFloor:   s->i = toint(floor(s->f), bad); break;
	case FxrtXCeil:    s->i = toint(ceil(s->f), bad); break;
	case FxrtXTrunc:   s->i = toint(trunc(s->f), bad); break;
	case FxrtXRound:   s->i = toint(rint(s->f), bad); break;
	default:           *bad = 1;
	}
}

static void
binary(Slot *a, Slot b, int64_t op, int *bad)
{
	switch (op) {
	case FxrtXAdd: *bad |= __builtin_add_overflow(a->i, b.i, &a->i); break;
	case FxrtXMul: *bad |= __builtin_mul_overflow(a->i, b.i, &a->i); break;
	case FxrtXDiv: a->i = floordiv(a->i, b.i, bad); break;
	case FxrtXMod: a->i = b.i == 0 ? (*bad = 1, 0) : b.i == -1 ? 0 : a->i % b.i + (a->i % b.i && (a->i < 0) != (b.i < 0) ? b.i : 0); break;
	case FxrtXMin: a->i = a->i < b.i ? a->i : b.i; break;
	case FxrtXMax: a->i = a->i > b.i ? a->i : b.i; break;
	case FxrtXPow: a->i = power(a->i, b.i, bad); break;
	case FxrtXEq:  a->i = a->i == b.i; break;
	case FxrtXNe:  a->i = a->i != b.i; break;
	case FxrtXLt:  a->i = a->i < b.i; break;
	case FxrtXLe:  a->i = a->i <= b.i; break;
	case FxrtXAnd: a->i = a->i && b.i; break;
	case FxrtXOr:  a->i = a->i || b.i; break;
	case FxrtXShl: a->i = b.i < 0 || b.i > 62 ? (*bad = 1, 0) : (int64_t)((uint64_t)a->i << b.i); break;
	case FxrtXShr: a->i = b.i < 0 || b.i > 63 ? (*bad = 1, 0) : a->i >> b.i; break;
	case FxrtXTrueDiv: a->f = (double)a->i / (double)b.i; break;
	case FxrtXFAdd: a->f += b.f; break;
	case FxrtXFMul: a->f *= b.f; break;
	case FxrtXFDiv: a->f /= b.f; break;
	case FxrtXFPow: a->f = pow(a->f, b.f); break;
	case FxrtXFMin: a->f = a->f < b.f ? a->f : b.f; break;
	case FxrtXFMax: a->f = a->f > b.f ? a->f : b.f; break;
	case FxrtXFEq: a->i = a->f == b.f; break;
	case FxrtXFNe: a->i = a->f != b.f; break;
	case FxrtXFLt: a->i = a->f < b.f; break;
	case FxrtXFLe: a->i = a->f <= b.f; break;
	default:       *bad = 1;
	}
}

static int
arity(int64_t op)
{
	switch (op) {
	case FxrtXConst: case FxrtXVar: case FxrtXReal:
		return 0;
	case FxrtXNot: case FxrtXToFloat: case FxrtXSqrt: case FxrtXExp: case FxrtXLog: case FxrtXSin: case FxrtXCos:
	case FxrtXTan: case FxrtXLog2: case FxrtXFloor: case FxrtXCeil: case FxrtXTrunc: case FxrtXRound:
		return 1;
	case FxrtXWhere:
		return 3;
	default:
		return 2;
	}
}

int64_t
fxrt_eval(const int64_t *expr, const int64_t *sym, int *bad)
{
	Slot s[Depth];
	int64_t n = expr[0];
	int top = 0;

	for (const int64_t *p = expr + 1; n > 0; n--, p += 2) {
		int k = arity(p[0]);
		if (top < k || top - k >= Depth - 1) {
			*bad = 1;
			return 0;
		}
		if (k == 0)
			s[top++].i = p[0] == FxrtXVar ? sym[p[1]] : p[1];
		else if (k == 1)
			unary(&s[top - 1], p[0], bad);
		else if (k == 2)
			top--, binary(&s[top - 1], s[top], p[0], bad);
		else
			top -= 2, s[top - 1] = s[top - 1].i ? s[top] : s[top + 1];
	}
	return top == 1 ? s[0].i : (*bad = 1, 0);
}
