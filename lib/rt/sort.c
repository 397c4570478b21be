/* sort.c - sort along a dimension: values in order and where they stood.
 *
 * num: rank, dim, descending, sizes.  buf: self, values, indices, 16 bytes of
 * scratch for each element of a row.  Equal elements keep their order; NaN is
 * greater than everything, as in PyTorch.
 *
 * An element becomes a key (order.h) beside its index.  No two pairs are equal,
 * so that any sort is stable: quicksort, by heapsort where it goes wrong.
 */
#include "rt/order.h"

static int
less(const Pair *a, const Pair *b)
{
	return a->key < b->key || (a->key == b->key && a->at < b->at);
}

static void
sift(Pair *v, int64_t i, int64_t n)
{
	for (int64_t c; (c = 2 * i + 1) < n; i = c) {
		if (c + 1 < n && less(&v[c], &v[c + 1]))
			c++;
		if (!less(&v[i], &v[c]))
			return;
		sort_swap(&v[i], &v[c]);
	}
}

static void
heapsort_(Pair *v, int64_t n)
{
	for (int64_t i = n / 2; i-- > 0;)
		sift(v, i, n);
	while (--n > 0) {
		sort_swap(&v[0], &v[n]);
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
		sort_swap(a, b);
	if (less(c, b))
		sort_swap(b, c);
	if (less(b, a))
		sort_swap(a, b);
	sort_swap(&v[0], b);
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
			sort_swap(&v[i], &v[j]);
		}
		sort_swap(&v[0], &v[j]);
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
	int w = sort_width(c->dt[0]), depth = 8;

	for (int64_t d = 0; d < rank; d++)
		*(d < dim ? &outer : d > dim ? &inner : &n) *= size[d];
	for (int64_t m = n; m > 1; m /= 2)
		depth += 2;
	for (int64_t o = 0; o < outer; o++) {
		for (int64_t i = 0; i < inner; i++) {
			int64_t base = o * n * inner + i;
			for (int64_t k = 0; k < n; k++)
				v[k] = (Pair){sort_key(c->dt[0], self + (base + k * inner) * w) ^ flip, k};
			quick(v, n, depth);
			for (int64_t k = 0; k < n; k++) {
				memcpy(values + (base + k * inner) * w, self + (base + v[k].at * inner) * w, (size_t)w);
				indices[base + k * inner] = v[k].at;
			}
		}
	}
	return 0;
}
