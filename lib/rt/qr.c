/* qr.c - A = Q R by Householder reflections, in LAPACK's form: the vectors below
 * the diagonal of R, their first element 1 left out, and a factor tau for each.
 */
#include "rt/matrix.h"

/* num: batch, m, n.  buf: A, a, tau, scratch m*n doubles. */
int
fxrt_geqrf(const fxrt_call *c)
{
	int64_t m = c->num[1], n = c->num[2], k = m < n ? m : n;
	double *w = c->buf[3];

	for (int64_t b = 0; b < c->num[0]; b++) {
		mat_load(c, 0, b * m * n, w, m * n);
		for (int64_t j = 0; j < k; j++) {
			double rest = 0, alpha = w[j * n + j], beta, tau = 0, s;
			for (int64_t i = j + 1; i < m; i++)
				rest = hypot(rest, w[i * n + j]);
			if (rest != 0) {
				beta = -copysign(hypot(alpha, rest), alpha);
				tau = (beta - alpha) / beta;
				for (int64_t i = j + 1; i < m; i++)
					w[i * n + j] /= alpha - beta;
				w[j * n + j] = beta;
			}
			for (int64_t q = j + 1; tau != 0 && q < n; q++) {
				s = w[j * n + q];
				for (int64_t i = j + 1; i < m; i++)
					s += w[i * n + j] * w[i * n + q];
				w[j * n + q] -= tau * s;
				for (int64_t i = j + 1; i < m; i++)
					w[i * n + q] -= tau * s * w[i * n + j];
			}
			mat_put(c, 2, b * k + j, tau);
		}
		mat_store(c, 1, b * m * n, w, m * n);
	}
	return 0;
}

/* The first n columns of the product of k reflections of length m.
 * num: batch, m, columns of the input, k, n.  buf: a, tau, Q, scratch m*n doubles. */
int
fxrt_orgqr(const fxrt_call *c)
{
	int64_t m = c->num[1], na = c->num[2], k = c->num[3], n = c->num[4];
	double *w = c->buf[3];

	for (int64_t b = 0; b < c->num[0]; b++) {
		for (int64_t i = 0; i < m * n; i++)
			w[i] = i / n == i % n;
		for (int64_t j = k; j-- > 0;) {
			double tau = mat_get(c, 1, b * k + j), s;
			for (int64_t q = 0; q < n; q++) {
				s = w[j * n + q];
				for (int64_t i = j + 1; i < m; i++)
					s += mat_get(c, 0, (b * m + i) * na + j) * w[i * n + q];
				w[j * n + q] -= tau * s;
				for (int64_t i = j + 1; i < m; i++)
					w[i * n + q] -= tau * s * mat_get(c, 0, (b * m + i) * na + j);
			}
		}
		mat_store(c, 2, b * m * n, w, m * n);
	}
	return 0;
}
