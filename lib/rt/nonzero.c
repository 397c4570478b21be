/* nonzero.c - numbers that the elements of a tensor decide.
 *
 * nonzero: positions of the elements that are not zero.  num: rank, sizes.
 * buf: self, result: rows of rank indices.  out: how many rows.
 *
 * item: out is the number that an integer tensor of one element holds.
 */
#include "rt/rt.h"

static int
zero(const unsigned char *p, int width, int signbyte)
{
	for (int k = 0; k < width; k++)
		if (k == signbyte ? p[k] & 0x7f : p[k])
			return 0;
	return 1;
}

/* Is the element zero?  Both zeros of floats are. */
static int
iszero(int dt, const unsigned char *p)
{
	switch (dt) {
	case FxB8: case FxU8: case FxI8: return zero(p, 1, -1);
	case FxI16: case FxU16: return zero(p, 2, -1);
	case FxI32: case FxU32: return zero(p, 4, -1);
	case FxF8E4M3: case FxF8E5M2: return zero(p, 1, 0);
	case FxF16: case FxBF16: return zero(p, 2, 1);
	case FxF32:  return zero(p, 4, 3);
	case FxF64:  return zero(p, 8, 7);
	case FxC64:  return zero(p, 4, 3) && zero(p + 4, 4, 3);
	case FxC128: return zero(p, 8, 7) && zero(p + 8, 8, 7);
	default:     return zero(p, 8, -1);
	}
}

static int
width(int dt)
{
	switch (dt) {
	case FxB8: case FxU8: case FxI8: case FxF8E4M3: case FxF8E5M2: return 1;
	case FxI16: case FxU16: case FxF16: case FxBF16: return 2;
	case FxI32: case FxU32: case FxF32: return 4;
	case FxC128: return 16;
	default: return 8;
	}
}

int
fxrt_nonzero(const fxrt_call *c)
{
	int64_t rank = c->num[0], n = 1, found = 0;
	const int64_t *size = c->num + 1;
	const unsigned char *self = c->buf[0];
	int64_t *row = c->buf[1];
	int w = width(c->dt[0]);

	for (int64_t d = 0; d < rank; d++)
		n *= size[d];
	for (int64_t i = 0; i < n; i++) {
		int64_t rest = i;

		if (iszero(c->dt[0], self + i * w))
			continue;
		for (int64_t d = rank - 1; d >= 0; d--) {
			row[found * rank + d] = rest % size[d];
			rest /= size[d];
		}
		found++;
	}
	if (c->out)
		*c->out = found;
	return 0;
}

int
fxrt_item(const fxrt_call *c)
{
	const void *p = c->buf[0];

	if (!c->out)
		return 0;
	switch (c->dt[0]) {
	case FxB8:  *c->out = *(const uint8_t *)p != 0; break;
	case FxU8:  *c->out = *(const uint8_t *)p; break;
	case FxI8:  *c->out = *(const int8_t *)p; break;
	case FxI16: *c->out = *(const int16_t *)p; break;
	case FxU16: *c->out = *(const uint16_t *)p; break;
	case FxI32: *c->out = *(const int32_t *)p; break;
	case FxU32: *c->out = *(const uint32_t *)p; break;
	case FxI64: case FxU64: *c->out = *(const int64_t *)p; break;
	default:    return 17;
	}
	return 0;
}
