/* eigen.c - eigenvalues of symmetric matrices and singular values, by Jacobi's rotations.
 *
 * Each rotation makes one pair orthogonal; sweeps over all pairs converge
 * quadratically.  The signs of vectors are chosen so that the largest element
 * of each is positive.
 */
#include "rt/matrix.h"

enum { Sweeps = 60 };

/* Columns p and q of w (rows by n) turned by the angle of (c, s). */
static void
turn(double *w, int64_t rows, int64_t n, int64_t p, int64_t q, double c, double s)
{
	for (int64_t i = 0; i < rows; i++) {
		double x = w[i * n + p], y = w[i * n + q];
		w[i * n + p] = c * x - s * y;
		w[i * n + q] = s * x + c * y;
	}
}

/* The rotation that makes [a b; b d] diagonal. */
static void
angle(double a, double b, double d, double *c, double *s)
{
	double h = (d - a) / (2 * b), t = copysign(1, h) / (fabs(h) + hypot(1, h));

	*c = 1 / sqrt(1 + t * t);
	*s = t * *c;
}

static void
eye(double *v, int64_t n)
{
	for (int64_t i = 0; i < n * n; i++)
		v[i] = i / n == i % n;
}

static void
swapcols(double *w, int64_t rows, int64_t n, int64_t a, int64_t b)
{
	for (int64_t i = 0; i < rows; i++) {
		double t = w[i * n + a];
		w[i * n + a] = w[i * n + b];
		w[i * n + b] = t;
	}
}

static void
eigh(double *w, double *v, int64_t n)
{
	double off = 1, all, c, s;

	eye(v, n);
	for (int sweep = 0; sweep < Sweeps && off > 0; sweep++) {
		off = all = 0;
		for (int64_t i = 0; i < n * n; i++)
			*(i / n == i % n ? &all : &off) += w[i] * w[i];
		if (!(off > 1e-34 * all))
			break;
		for (int64_t p = 0; p < n; p++)
			for (int64_t q = p + 1; q < n; q++) {
				if (w[p * n + q] == 0)
					continue;
				angle(w[p * n + p], w[p * n + q], w[q * n + q], &c, &s);
				turn(w, n, n, p, q, c, s);
				for (int64_t i = 0; i < n; i++) {
					double x = w[p * n + i], y = w[q * n + i];
					w[p * n + i] = c * x - s * y;
					w[q * n + i] = s * x + c * y;
				}
				w[p * n + q] = w[q * n + p] = 0;
				turn(v, n, n, p, q, c, s);
			}
	}
	for (int64_t i = 0; i < n; i++)          /* ascending */
		for (int64_t j = i + 1; j < n; j++)
			if (w[j * n + j] < w[i * n + i]) {
				double t = w[i * n + i];
				w[i * n + i] = w[j * n + j];
				w[j * n + j] = t;
				swapcols(v, n, n, i, j);
			}
}

/* num: batch, n, upper?  buf: A, values, vectors, scratch 2*n*n doubles. */
int
fxrt_eigh(const fxrt_call *c)
{
	int64_t n = c->num[1];
	double *w = c->buf[3], *v = w + n * n;

	for (int64_t b = 0; b < c->num[0]; b++) {
		mat_load(c, 0, b * n * n, w, n * n);
		for (int64_t i = 0; i < n; i++)
			for (int64_t j = 0; j < i; j++)
				if (c->num[2])
					w[i * n + j] = w[j * n + i];
				else
					w[j * n + i] = w[i * n + j];
		eigh(w, v, n);
		for (int64_t j = 0; j < n; j++) {
			int64_t top = 0;
			for (int64_t i = 1; i < n; i++)
				if (fabs(v[i * n + j]) > fabs(v[top * n + j]))
					top = i;
			double sign = v[top * n + j] < 0 ? -1 : 1;
			for (int64_t i = 0; i < n; i++)
				mat_put(c, 2, (b * n + i) * n + j, sign * v[i * n + j]);
			mat_put(c, 1, b * n + j, w[j * n + j]);
		}
	}
	return 0;
}

/* Columns from..n-1 of u (m by n) become unit vectors orthogonal to those before. */
static void
complete(double *u, int64_t m, int64_t n, int64_t from)
{
	for (int64_t j = from; j < n; j++) {
		double best = -1, norm = 1;
		for (int64_t e = 0, pick = -1; e <= m; e++) {
			/* the unit vector least in what there is; then once more, to keep it */
			int64_t k = e < m ? e : pick;
			for (int64_t i = 0; i < m; i++)
				u[i * n + j] = i == k;
			for (int round = 0; round < 2; round++)
				for (int64_t q = 0; q < j; q++) {
					double s = 0;
					for (int64_t i = 0; i < m; i++)
						s += u[i * n + q] * u[i * n + j];
					for (int64_t i = 0; i < m; i++)
						u[i * n + j] -= s * u[i * n + q];
				}
			norm = 0;
			for (int64_t i = 0; i < m; i++)
				norm = hypot(norm, u[i * n + j]);
			if (e < m && norm > best) {
				best = norm;
				pick = e;
			}
		}
		for (int64_t i = 0; i < m; i++)
			u[i * n + j] /= norm;
	}
}

/* w (m by n, m >= n): its columns become orthogonal, v collects the rotations;
 * then sorted by length, s. */
static void
svd(double *w, double *v, double *s, int64_t m, int64_t n)
{
	int again = 1;

	eye(v, n);
	for (int sweep = 0; sweep < Sweeps && again; sweep++) {
		again = 0;
		for (int64_t p = 0; p < n; p++)
			for (int64_t q = p + 1; q < n; q++) {
				double a = 0, b = 0, d = 0, co, si;
				for (int64_t i = 0; i < m; i++) {
					a += w[i * n + p] * w[i * n + p];
					b += w[i * n + p] * w[i * n + q];
					d += w[i * n + q] * w[i * n + q];
				}
				if (!(fabs(b) > 1e-15 * sqrt(a * d)))
					continue;
				again = 1;
				angle(a, b, d, &co, &si);
				turn(w, m, n, p, q, co, si);
				turn(v, n, n, p, q, co, si);
			}
	}
	for (int64_t j = 0; j < n; j++) {
		s[j] = 0;
		for (int64_t i = 0; i < m; i++)
			s[j] = hypot(s[j], w[i * n + j]);
	}
	for (int64_t i = 0; i < n; i++)
		for (int64_t j = i + 1; j < n; j++)
			if (s[j] > s[i]) {
				double t = s[i];
				s[i] = s[j];
				s[j] = t;
				swapcols(w, m, n, i, j);
				swapcols(v, n, n, i, j);
			}
}

/* num: batch, m, n, columns of U, rows of Vh.  buf: A, U, S, Vh,
 * scratch: l*l + k*k + l*k + k doubles, k and l the smaller and larger of m, n. */
int
fxrt_svd(const fxrt_call *c)
{
	int64_t m = c->num[1], n = c->num[2], k = m < n ? m : n, l = m < n ? n : m;
	int64_t nu = c->num[3], nv = c->num[4], full = m < n ? nv : nu;
	double *u = c->buf[4], *v = u + l * l, *w = v + k * k, *s = w + l * k;

	for (int64_t b = 0; b < c->num[0]; b++) {
		int64_t good = 0;
		for (int64_t i = 0; i < l; i++)
			for (int64_t j = 0; j < k; j++)
				w[i * k + j] = mat_get(c, 0, b * m * n + (m < n ? j * n + i : i * n + j));
		svd(w, v, s, l, k);
		while (good < k && s[good] > 1e-300 && s[good] > 1e-15 * s[0])
			good++;
		for (int64_t i = 0; full && i < l; i++)
			for (int64_t j = 0; j < good; j++)
				u[i * full + j] = w[i * k + j] / s[j];
		if (full)
			complete(u, l, full, good);
		/* A = u s v^T, or its transpose */
		for (int64_t i = 0; i < m; i++)
			for (int64_t j = 0; j < nu; j++)
				mat_put(c, 1, (b * m + i) * nu + j, m < n ? v[i * k + j] : u[i * full + j]);
		for (int64_t j = 0; j < nv; j++)
			for (int64_t i = 0; i < n; i++)
				mat_put(c, 3, (b * nv + j) * n + i, m < n ? u[i * full + j] : v[i * k + j]);
		mat_store(c, 2, b * k, s, k);
	}
	return 0;
}
