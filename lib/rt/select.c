/* select.c - the k largest, the k-th smallest and the most frequent of rows.
 *
 * Which of several equal elements is named depends on how PyTorch moves them
 * about: with nth_element, partial_sort and sort of the GNU C++ library for
 * topk and mode, with a quickselect of its own for kthvalue.  The same steps
 * are taken here, so that the indices are the same.
 *
 * num: rank, dim, k, largest, sorted, sizes.  buf: self, values, indices, 16
 * bytes of scratch for each element of a row.
 */
#include "rt/order.h"

static int
before(Pair a, Pair b)
{
	return a.key < b.key;
}

/* ---- heaps, the first of the order at the end ------------------------------------- */

static void
adjust(Pair *v, int64_t hole, int64_t n, Pair p)
{
	int64_t top = hole, kid = hole, up;

	while (kid < (n - 1) / 2) {
		kid = 2 * (kid + 1);
		if (before(v[kid], v[kid - 1]))
			kid--;
		v[hole] = v[kid];
		hole = kid;
	}
	if (n % 2 == 0 && kid == (n - 2) / 2) {
		kid = 2 * (kid + 1);
		v[hole] = v[kid - 1];
		hole = kid - 1;
	}
	for (up = (hole - 1) / 2; hole > top && before(v[up], p); up = (hole - 1) / 2) {
		v[hole] = v[up];
		hole = up;
	}
	v[hole] = p;
}

static void
heapselect(Pair *v, int64_t mid, int64_t n)
{
	for (int64_t i = mid < 2 ? -1 : (mid - 2) / 2; i >= 0; i--)
		adjust(v, i, mid, v[i]);
	for (int64_t i = mid; i < n; i++)
		if (before(v[i], v[0])) {
			Pair p = v[i];
			v[i] = v[0];
			adjust(v, 0, mid, p);
		}
}

static void
partialsort(Pair *v, int64_t mid, int64_t n)
{
	heapselect(v, mid, n);
	for (int64_t i = mid - 1; i > 0; i--) {
		Pair p = v[i];
		v[i] = v[0];
		adjust(v, 0, i, p);
	}
}

/* ---- parts and insertion ------------------------------------------------------------ */

static void
linear(Pair *v, int64_t i)
{
	Pair p = v[i];

	for (; before(p, v[i - 1]); i--)
		v[i] = v[i - 1];
	v[i] = p;
}

static void
smallsort(Pair *v, int64_t n)
{
	for (int64_t i = 1; i < n; i++) {
		if (before(v[i], v[0])) {
			Pair p = v[i];
			memmove(v + 1, v, (size_t)i * sizeof *v);
			v[0] = p;
		} else {
			linear(v, i);
		}
	}
}

/* Where the second part begins, around the median of three. */
static int64_t
partition(Pair *v, int64_t n)
{
	Pair *a = &v[1], *b = &v[n / 2], *c = &v[n - 1], *m;
	int64_t i = 1, j = n;

	if (before(*a, *b))
		m = before(*b, *c) ? b : before(*a, *c) ? c : a;
	else
		m = before(*a, *c) ? a : before(*b, *c) ? c : b;
	sort_swap(&v[0], m);
	for (;; i++) {
		while (before(v[i], v[0]))
			i++;
		do
			j--;
		while (before(v[0], v[j]));
		if (i >= j)
			return i;
		sort_swap(&v[i], &v[j]);
	}
}

static int
depth(int64_t n)
{
	int d = 0;

	for (; n > 1; n /= 2)
		d += 2;
	return d;
}

static void
introsort(Pair *v, int64_t n, int left)
{
	while (n > 16) {
		if (left-- == 0) {
			partialsort(v, n, n);
			return;
		}
		int64_t cut = partition(v, n);
		introsort(v + cut, n - cut, left);
		n = cut;
	}
}

static void
fullsort(Pair *v, int64_t n)
{
	introsort(v, n, depth(n));
	smallsort(v, n < 16 ? n : 16);
	for (int64_t i = 16; i < n; i++)
		linear(v, i);
}

static void
nth(Pair *v, int64_t k, int64_t n)
{
	int left = depth(n);

	while (n > 3) {
		if (left-- == 0) {
			heapselect(v, k + 1, n);
			sort_swap(&v[0], &v[k]);
			return;
		}
		int64_t cut = partition(v, n);
		if (cut <= k) {
			v += cut;
			k -= cut;
			n -= cut;
		} else {
			n = cut;
		}
	}
	smallsort(v, n);
}

static void
quickselect(Pair *v, int64_t k, int64_t n)
{
	int64_t l = 0, r = n - 1, i, j;

	while (r > l + 1) {
		sort_swap(&v[l + (r - l) / 2], &v[l + 1]);
		if (before(v[r], v[l + 1]))
			sort_swap(&v[l + 1], &v[r]);
		if (before(v[r], v[l]))
			sort_swap(&v[l], &v[r]);
		if (before(v[l], v[l + 1]))
			sort_swap(&v[l + 1], &v[l]);
		i = l + 1;
		j = r;
		for (;;) {
			do
				i++;
			while (before(v[i], v[l]));
			do
				j--;
			while (before(v[l], v[j]));
			if (j < i)
				break;
			sort_swap(&v[i], &v[j]);
		}
		sort_swap(&v[l], &v[j]);
		if (j >= k)
			r = j - 1;
		if (j <= k)
			l = i;
	}
	if (r == l + 1 && before(v[r], v[l]))
		sort_swap(&v[l], &v[r]);
}

/* ---- the operators --------------------------------------------------------------------- */

typedef struct Rows { int64_t n, inner, outer; int w; uint64_t flip; } Rows;

static Rows
rows(const fxrt_call *c)
{
	Rows r = {1, 1, 1, sort_width(c->dt[0]), c->num[3] ? ~(uint64_t)0 : 0};

	for (int64_t d = 0; d < c->num[0]; d++)
		*(d < c->num[1] ? &r.outer : d > c->num[1] ? &r.inner : &r.n) *= c->num[5 + d];
	return r;
}

static Pair *
row(const fxrt_call *c, const Rows *r, int64_t o, int64_t i)
{
	Pair *v = c->buf[3];

	for (int64_t k = 0; k < r->n; k++)
		v[k] = (Pair){sort_key(c->dt[0], (const char *)c->buf[0] + ((o * r->n + k) * r->inner + i) * r->w) ^ r->flip, k};
	return v;
}

/* Element v of row (o, i) becomes number j of k results. */
static void
give(const fxrt_call *c, const Rows *r, int64_t o, int64_t i, int64_t j, int64_t k, Pair v)
{
	int64_t to = (o * k + j) * r->inner + i, from = (o * r->n + v.at) * r->inner + i;

	memcpy((char *)c->buf[1] + to * r->w, (const char *)c->buf[0] + from * r->w, (size_t)r->w);
	((int64_t *)c->buf[2])[to] = v.at;
}

int
fxrt_topk(const fxrt_call *c)
{
	Rows r = rows(c);
	int64_t k = c->num[2];

	for (int64_t o = 0; o < r.outer; o++)
		for (int64_t i = 0; i < r.inner; i++) {
			Pair *v = row(c, &r, o, i);
			if (k * 64 <= r.n) {
				partialsort(v, k, r.n);
			} else if (k > 0) {
				nth(v, k - 1, r.n);
				if (c->num[4])
					fullsort(v, k - 1);
			}
			for (int64_t j = 0; j < k; j++)
				give(c, &r, o, i, j, k, v[j]);
		}
	return 0;
}

int
fxrt_kthvalue(const fxrt_call *c)
{
	Rows r = rows(c);

	for (int64_t o = 0; o < r.outer; o++)
		for (int64_t i = 0; i < r.inner; i++) {
			Pair *v = row(c, &r, o, i);
			quickselect(v, c->num[2] - 1, r.n);
			give(c, &r, o, i, 0, 1, v[c->num[2] - 1]);
		}
	return 0;
}

int
fxrt_mode(const fxrt_call *c)
{
	Rows r = rows(c);

	for (int64_t o = 0; o < r.outer; o++)
		for (int64_t i = 0; i < r.inner; i++) {
			Pair *v = row(c, &r, o, i);
			int64_t run = 0, most = 0, best = 0;
			fullsort(v, r.n);
			for (int64_t j = 0; j < r.n; j++) {
				run = j && v[j].key == v[j - 1].key ? run + 1 : 1;
				if (run > most) {
					most = run;
					best = j;
				}
			}
			give(c, &r, o, i, 0, 1, v[best]);
		}
	return 0;
}
