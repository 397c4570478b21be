/* cholesky.c - A = L L^T, and solving with triangles.
 */
#include "rt/matrix.h"

/* num: batch, n.  buf: A (its lower triangle is read), L, info, scratch n*n doubles. */
int
fxrt_cholesky(const fxrt_call *c)
{
	int64_t n = c->num[1];
	double *w = c->buf[3];

	for (int64_t b = 0; b < c->num[0]; b++) {
		int32_t info = 0;
		mat_load(c, 0, b * n * n, w, n * n);
		for (int64_t i = 0; i < n; i++) {
			for (int64_t j = 0; j <= i; j++) {
				double s = w[i * n + j];
				for (int64_t k = 0; k < j; k++)
					s -= w[i * n + k] * w[j * n + k];
				if (i == j && !(s > 0) && !info)
					info = (int32_t)(i + 1);
				w[i * n + j] = i == j ? sqrt(s) : s / w[j * n + j];
			}
			for (int64_t j = i + 1; j < n; j++)
				w[i * n + j] = 0;
		}
		((int32_t *)c->buf[2])[b] = info;
		mat_store(c, 1, b * n * n, w, n * n);
	}
	return 0;
}

/* T X = B.  num: batch, n, k, upper?, ones on the diagonal?  buf: T, B, X, scratch n*n + n*k doubles. */
int
fxrt_trisolve(const fxrt_call *c)
{
	int64_t n = c->num[1], k = c->num[2];
	double *w = c->buf[3], *x = w + n * n;
	int upper = c->num[3] != 0, unit = c->num[4] != 0;

	for (int64_t b = 0; b < c->num[0]; b++) {
		mat_load(c, 0, b * n * n, w, n * n);
		mat_load(c, 1, b * n * k, x, n * k);
		for (int64_t s = 0; s < n; s++) {
			int64_t i = upper ? n - 1 - s : s;
			for (int64_t j = upper ? i + 1 : 0; j < (upper ? n : i); j++)
				for (int64_t q = 0; q < k; q++)
					x[i * k + q] -= w[i * n + j] * x[j * k + q];
			for (int64_t q = 0; !unit && q < k; q++)
				x[i * k + q] /= w[i * n + i];
		}
		mat_store(c, 2, b * n * k, x, n * k);
	}
	return 0;
}
