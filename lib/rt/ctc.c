/* ctc.c - connectionist temporal classification (Graves et al., ICML 2006).
 *
 * A target's states are its labels with a blank before, between and after them.
 * alpha(t, s) is the logarithm of the chance of having said the first s states
 * by time t; one comes to s from s, s - 1, or, between different labels, s - 2.
 *
 * num: T, B, C, blank, labels in a row of targets (0: rows lie one after another),
 * states in a row of log_alpha (0: find it).  buf: log_probs [T, B, C], targets,
 * input lengths, target lengths (i64), loss, log_alpha, scratch 2*states doubles.
 */
#include "rt/matrix.h"

/* The label of state s. */
static int64_t
label(const int64_t *target, int64_t s, int64_t blank)
{
	return s % 2 ? target[s / 2] : blank;
}

static double
logsum(double a, double b, double c)
{
	double m = a > b ? a : b;

	m = c > m ? c : m;
	if (m == -INFINITY)
		return m;
	return m + log(exp(a - m) + exp(b - m) + exp(c - m));
}

static void
step(const fxrt_call *c, int64_t t, int64_t b, const int64_t *target, int64_t n, const double *was, double *now)
{
	int64_t blank = c->num[3];

	for (int64_t s = 0; s < n; s++) {
		int64_t l = label(target, s, blank);
		int skip = s > 1 && s % 2 && l != target[s / 2 - 1];
		double p = t == 0 ? (s < 2 ? 0 : -INFINITY)
		         : logsum(was[s], s > 0 ? was[s - 1] : -INFINITY, skip ? was[s - 2] : -INFINITY);

		now[s] = l < 0 || l >= c->num[2] ? NAN
		       : p + mat_get(c, 0, (t * c->num[1] + b) * c->num[2] + l);
	}
}

int
fxrt_ctc(const fxrt_call *c)
{
	int64_t nt = c->num[0], nb = c->num[1], states = c->num[5];
	const int64_t *target = c->buf[1], *ilen = c->buf[2], *tlen = c->buf[3];
	double *now = c->buf[6], *was, *swap;

	for (int64_t b = 0; !c->num[5] && b < nb; b++)
		states = 2 * tlen[b] + 1 > states ? 2 * tlen[b] + 1 : states;
	if (c->out)
		*c->out = states;
	was = now + states;
	for (int64_t b = 0; b < nb; target += c->num[4] ? c->num[4] : tlen[b], b++) {
		int64_t n = 2 * tlen[b] + 1;
		double p = ilen[b] == 0 && tlen[b] > 0 ? -INFINITY : 0;

		if (n > states || ilen[b] > nt || tlen[b] < 0)
			return 1;
		for (int64_t t = 0; t < nt; t++) {
			int64_t row = (b * nt + t) * states;
			if (t < ilen[b])
				step(c, t, b, target, n, was, now);
			for (int64_t s = 0; s < states; s++)
				mat_put(c, 5, row + s, t < ilen[b] && s < n ? now[s] : -INFINITY);
			if (t == ilen[b] - 1)
				p = logsum(now[n - 1], n > 1 ? now[n - 2] : -INFINITY, -INFINITY);
			swap = was;
			was = now;
			now = swap;
		}
		mat_put(c, 4, b, -p);
	}
	return 0;
}

/* ---- backwards --------------------------------------------------------------------- */

static double
logadd(double a, double b)
{
	return logsum(a, b, -INFINITY);
}

/* beta(t, s): the chance of what follows state s at time t, that of s itself included. */
static void
stepback(const fxrt_call *c, int64_t t, int64_t b, int64_t last, const int64_t *target, int64_t n, const double *was, double *now)
{
	int64_t blank = c->num[3];

	for (int64_t s = n - 1; s >= 0; s--) {
		int64_t l = label(target, s, blank);
		int skip = s + 2 < n && s % 2 && l != target[s / 2 + 1];
		double p = t == last ? (s >= n - 2 ? 0 : -INFINITY)
		         : logsum(was[s], s + 1 < n ? was[s + 1] : -INFINITY, skip ? was[s + 2] : -INFINITY);

		now[s] = p + mat_get(c, 1, (t * c->num[1] + b) * c->num[2] + l);
	}
}

/* One time's gradients: each label's chance, less its share in all ways of saying the target. */
static void
gradients(const fxrt_call *c, int64_t t, int64_t b, const int64_t *target, int64_t n, const double *beta, double *all)
{
	int64_t nc = c->num[2], row = (t * c->num[1] + b) * nc;
	double g = mat_get(c, 0, b), loss = mat_get(c, 5, b);

	for (int64_t k = 0; k < nc; k++)
		all[k] = -INFINITY;
	for (int64_t s = 0; s < n; s++) {
		int64_t l = label(target, s, c->num[3]);
		all[l] = logadd(all[l], mat_get(c, 6, (b * c->num[0] + t) * c->num[5] + s) + beta[s]);
	}
	for (int64_t k = 0; k < nc; k++) {
		double p = mat_get(c, 1, row + k);
		mat_put(c, 7, row + k, (exp(p) - exp(all[k] + loss - p)) * g);
	}
}

/* num: T, B, C, blank, labels in a row of targets, states, 1 if an infinite loss has no gradient.
 * buf: gradient of the loss, log_probs, targets, input lengths, target lengths, loss, log_alpha;
 * gradient of log_probs; scratch 2*states + C doubles. */
int
fxrt_ctc_back(const fxrt_call *c)
{
	int64_t nt = c->num[0], nb = c->num[1], nc = c->num[2], states = c->num[5];
	const int64_t *target = c->buf[2], *ilen = c->buf[3], *tlen = c->buf[4];
	double *now = c->buf[8], *was = now + states, *all = was + states, *swap;

	for (int64_t b = 0; b < nb; target += c->num[4] ? c->num[4] : tlen[b], b++) {
		int64_t n = 2 * tlen[b] + 1;
		int dead = c->num[6] && isinf(mat_get(c, 5, b));

		if (n > states || ilen[b] > nt || tlen[b] < 0 || c->num[3] < 0 || c->num[3] >= nc)
			return 1;
		for (int64_t s = 0; s < tlen[b]; s++)
			if (target[s] < 0 || target[s] >= nc)
				return 1;
		for (int64_t t = nt - 1; t >= 0; t--) {
			if (t >= ilen[b] || dead) {
				for (int64_t k = 0; k < nc; k++)
					mat_put(c, 7, (t * nb + b) * nc + k, 0);
				continue;
			}
			stepback(c, t, b, ilen[b] - 1, target, n, was, now);
			gradients(c, t, b, target, n, now, all);
			swap = was;
			was = now;
			now = swap;
		}
	}
	return 0;
}
