/* sort.c - sort along a dimension: values in order and where they stood.
 *
 * num: rank, dim, descending, sizes.  buf: self, values, indices, 16 bytes of
 * scratch for each element of a row.  Equal elements keep their order; NaN is
 * greater than everything, as in PyTorch.
 *
 * An element becomes an unsigned key in the same order (for floats: sign bit
 * set for positive ones, all bits inverted for negative ones), beside its
 * index.  No two pairs are equal, so that any sort is stable: quicksort, by
 * heapsort where it goes wrong.
 */
#include <string.h>
#include "rt/rt.h"

typedef struct Pair { uint64_t key; int64_t at; } Pair;

static int
less(const Pair *a, const Pair *b)
{
	return a->key < b->key || (a->key == b->key && a->at < b->at);
}

static void
swap(Pair *a, Pair *b)
{
	Pair t = *a;

	*a = *b;
	*b = t;
}

static void
sift(Pair *v, int64_t i, int64_t n)
{
	for (int64_t c; (c = 2 * i + 1) < n; i = c) {
		if (c + 1 < n && less(&v[c], &v[c + 1]))
			c++;
		if (!less(&v[i], &v[c]))
			return;
		swap(&v[i], &v[c]);
	}
}

static void
heapsort_(Pair *v, int64_t n)
{
	for (int64_t i = n / 2; i-- > 0;)
		sift(v, i, n);
	while (--n > 0) {
		swap(&v[0], &v[n]);
		sift(v, 0, n);
	}
}

static void
insertion(Pair *v, int64_t n)
{
	for (int64_t i = 1, j; i < n; i++) {
		Pair p = v[i];
		for (j = i; j > 0 && less(&p, &v[j - 1]); j--)
			v[j] = v[j - 1];
		v[j] = p;
	}
}

/* The median of three to v[0], as the pivot. */
static void
pivot(Pair *v, int64_t n)
{
	Pair *a = &v[1], *b = &v[n / 2], *c = &v[n - 1];

	if (less(b, a))
		swap(a, b);
	if (less(c, b))
		swap(b, c);
	if (less(b, a))
		swap(a, b);
	swap(&v[0], b);
}

static void
quick(Pair *v, int64_t n, int depth)
{
	while (n > 16) {
		int64_t i = 0, j = n;

		if (depth-- == 0) {
			heapsort_(v, n);
			return;
		}
		pivot(v, n);
		for (;;) {
			do
				i++;
			while (i < n && less(&v[i], &v[0]));
			do
				j--;
			while (less(&v[0], &v[j]));
			if (i >= j)
				break;
			swap(&v[i], &v[j]);
		}
		swap(&v[0], &v[j]);
		if (j < n - j - 1) {         /* the smaller part by recursion */
			quick(v, j, depth);
			v += j + 1;
			n -= j + 1;
		} else {
			quick(v + j + 1, n - j - 1, depth);
			n = j;
		}
	}
	insertion(v, n);
}

static uint64_t
floatkey(uint64_t u, int bits, uint64_t inf)
{
	uint64_t sign = (uint64_t)1 << (bits - 1), mag = u & (sign - 1);

	if (mag > inf)
		return ~(uint64_t)0;
	if (mag == 0)
		return sign;
	return u & sign ? sign - mag : sign + mag;
}

static uint64_t
key(int dt, const void *p)
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
	case FxF16: memcpy(&u, p, 2); return floatkey(u.h, 16, 0x7c00);
	case FxBF16: memcpy(&u, p, 2); return floatkey(u.h, 16, 0x7f80);
	case FxF32: memcpy(&u, p, 4); return floatkey(u.w, 32, 0x7f800000);
	case FxF64: memcpy(&u, p, 8); return floatkey(u.d, 64, (uint64_t)0x7ff << 52);
	case FxF8E4M3: memcpy(&u, p, 1); return floatkey(u.b, 8, 0x7e);
	case FxF8E5M2: memcpy(&u, p, 1); return floatkey(u.b, 8, 0x7c);
	default:    memcpy(&u, p, 8); return u.d ^ top;
	}
}

static int
width(int dt)
{
	switch (dt) {
	case FxB8: case FxU8: case FxI8: case FxF8E4M3: case FxF8E5M2: return 1;
	case FxI16: case FxU16: case FxF16: case FxBF16: return 2;
	case FxI32: case FxU32: case FxF32: return 4;
	default: return 8;
	}
}

int
fxrt_sort(const fxrt_call *c)
{
	int64_t rank = c->num[0], dim = c->num[1], n = 1, inner = 1, outer = 1;
	const int64_t *size = c->num + 3;
	uint64_t flip = c->num[2] ? ~(uint64_t)0 : 0;
	const char *self = c->buf[0];
	char *values = c->buf[1];
	int64_t *indices = c->buf[2];
	Pair *v = c->buf[3];
	int w = width(c->dt[0]), depth = 8;

	for (int64_t d = 0; d < rank; d++)
		*(d < dim ? &outer : d > dim ? &inner : &n) *= size[d];
	for (int64_t m = n; m > 1; m /= 2)
		depth += 2;
	for (int64_t o = 0; o < outer; o++) {
		for (int64_t i = 0; i < inner; i++) {
			int64_t base = o * n * inner + i;
			for (int64_t k = 0; k < n; k++)
				v[k] = (Pair){key(c->dt[0], self + (base + k * inner) * w) ^ flip, k};
			quick(v, n, depth);
			for (int64_t k = 0; k < n; k++) {
				memcpy(values + (base + k * inner) * w, self + (base + v[k].at * inner) * w, (size_t)w);
				indices[base + k * inner] = v[k].at;
			}
		}
	}
	return 0;
}
