/* lu.c - A = P L U by rows with partial pivoting, as LAPACK's getrf; solving with it.
 *
 * A pivot is the number, from 1, of the row that took a row's place.  info is
 * the number of the first zero on U's diagonal, 0 if there is none.
 */
#include "rt/matrix.h"

static void
swaprows(double *w, int64_t n, int64_t a, int64_t b)
{
	for (int64_t j = 0; a != b && j < n; j++) {
		double t = w[a * n + j];
		w[a * n + j] = w[b * n + j];
		w[b * n + j] = t;
	}
}

static int32_t
factor(double *w, int64_t m, int64_t n, int32_t *pivot, int swaps)
{
	int32_t info = 0;

	for (int64_t k = 0; k < m && k < n; k++) {
		int64_t p = k;
		for (int64_t i = k + 1; swaps && i < m; i++)
			if (fabs(w[i * n + k]) > fabs(w[p * n + k]))
				p = i;
		pivot[k] = (int32_t)(p + 1);
		swaprows(w, n, k, p);
		if (w[k * n + k] == 0) {
			info = info ? info : (int32_t)(k + 1);
			continue;
		}
		for (int64_t i = k + 1; i < m; i++) {
			double f = w[i * n + k] /= w[k * n + k];
			for (int64_t j = k + 1; f != 0 && j < n; j++)
				w[i * n + j] -= f * w[k * n + j];
		}
	}
	return info;
}

/* x (n by k) becomes A^-1 x, or A^-T x. */
static void
solve(const double *lu, const int32_t *pivot, int64_t n, double *x, int64_t k, int trans)
{
	for (int64_t i = 0; !trans && i < n; i++)
		swaprows(x, k, i, pivot[i] - 1);
	for (int pass = 0; pass < 2; pass++) {
		/* L has ones on its diagonal; transposing swaps the order and the triangles */
		int lower = pass == trans, down = pass == 0;
		for (int64_t s = 0; s < n; s++) {
			int64_t i = down ? s : n - 1 - s;
			for (int64_t t = 0; t < s; t++) {
				int64_t j = down ? t : n - 1 - t;
				double f = trans ? lu[j * n + i] : lu[i * n + j];
				for (int64_t q = 0; f != 0 && q < k; q++)
					x[i * k + q] -= f * x[j * k + q];
			}
			for (int64_t q = 0; !lower && q < k; q++)
				x[i * k + q] /= lu[i * n + i];
		}
	}
	for (int64_t i = n; trans && i-- > 0;)
		swaprows(x, k, i, pivot[i] - 1);
}

/* num: batch, m, n, pivot?  buf: A, LU, pivots, info, scratch m*n doubles. */
int
fxrt_lu(const fxrt_call *c)
{
	int64_t m = c->num[1], n = c->num[2], k = m < n ? m : n;
	double *w = c->buf[4];

	for (int64_t b = 0; b < c->num[0]; b++) {
		mat_load(c, 0, b * m * n, w, m * n);
		((int32_t *)c->buf[3])[b] = factor(w, m, n, (int32_t *)c->buf[2] + b * k, (int)c->num[3]);
		mat_store(c, 1, b * m * n, w, m * n);
	}
	return 0;
}

/* Pivots that came from outside may be anything. */
static int
pivots_fit(const int32_t *pivot, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		if (pivot[i] < 1 || pivot[i] > n)
			return 0;
	return 1;
}

/* num: batch, n, k, transposed?  buf: LU, pivots, B, X, scratch n*n + n*k doubles.  1: a pivot is none. */
int
fxrt_lusolve(const fxrt_call *c)
{
	int64_t n = c->num[1], k = c->num[2];
	double *w = c->buf[4], *x = w + n * n;

	for (int64_t b = 0; b < c->num[0]; b++) {
		mat_load(c, 0, b * n * n, w, n * n);
		mat_load(c, 2, b * n * k, x, n * k);
		if (!pivots_fit((const int32_t *)c->buf[1] + b * n, n))
			return 1;
		solve(w, (const int32_t *)c->buf[1] + b * n, n, x, k, (int)c->num[3]);
		mat_store(c, 3, b * n * k, x, n * k);
	}
	return 0;
}

/* A X = B at once, all in double.  num: batch, n, k.  buf: A, B, X, info, scratch n*n + n*k + n doubles. */
int
fxrt_solve(const fxrt_call *c)
{
	int64_t n = c->num[1], k = c->num[2];
	double *w = c->buf[4], *x = w + n * n;
	int32_t *pivot = (int32_t *)(x + n * k);

	for (int64_t b = 0; b < c->num[0]; b++) {
		mat_load(c, 0, b * n * n, w, n * n);
		mat_load(c, 1, b * n * k, x, n * k);
		((int32_t *)c->buf[3])[b] = factor(w, n, n, pivot, 1);
		solve(w, pivot, n, x, k, 0);
		mat_store(c, 2, b * n * k, x, n * k);
	}
	return 0;
}
