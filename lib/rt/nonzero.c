/* nonzero.c - numbers that the elements of a tensor decide.
 *
 * nonzero: positions of the elements that are not zero.  num: rank, sizes.
 * buf: self, result: rows of rank indices.  out: how many rows.
 *
 * item: out is the number that a tensor of one element holds; of a float, the bits of a double.
 */
#include "rt/element.h"

/* Is element i zero?  Both zeros of floats are. */
static int
nothing(int dt, const void *p, int64_t i)
{
	if (dt == FxC64 || dt == FxC128)
		return nothing(dt == FxC64 ? FxF32 : FxF64, p, 2 * i) && nothing(dt == FxC64 ? FxF32 : FxF64, p, 2 * i + 1);
	return element_isint(dt) ? element_int(dt, p, i) == 0 : element_float(dt, p, i) == 0;
}

int
fxrt_nonzero(const fxrt_call *c)
{
	int64_t rank = c->num[0], n = 1, found = 0;
	const int64_t *size = c->num + 1;
	const void *self = c->buf[0];
	int64_t *row = c->buf[1];

	for (int64_t d = 0; d < rank; d++)
		n *= size[d];
	for (int64_t i = 0; i < n; i++) {
		int64_t rest = i;

		if (nothing(c->dt[0], self, i))
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
	double v;

	if (c->out && element_isint(c->dt[0])) {
		*c->out = element_int(c->dt[0], c->buf[0], 0);
	} else if (c->out) {
		v = element_float(c->dt[0], c->buf[0], 0);
		memcpy(c->out, &v, sizeof v);
	}
	return 0;
}
