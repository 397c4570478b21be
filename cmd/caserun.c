/* caserun.c - load an artifact and run a case on it, through the generic entry. */
#include <math.h>
#include <stdlib.h>
#include "artifact.h"
#include "case.h"

/* ---- one tensor ------------------------------------------------------------------ */

static bool
within(const CaseWant *w, double x, double r, double eager, double *err)
{
	double d = fabs(x - r);

	if (x == eager || (isnan(x) && isnan(eager)))
		return true;
	if (!(d <= w->atol + w->rtol * fabs(r))) {
		if (!(d <= *err))
			*err = d;
		return false;
	}
	return true;
}

bool
case_passes(const CaseWant *w, enum dtype dt, int rank, const int64_t *dim, const void *out, bool deterministic, char *why, size_t nwhy)
{
	const CaseTensor *e = &w->eager;
	size_t width = dtypeinfo[dt].bytes;
	int64_t n = 1, bad = 0;
	double err = 0;

	if (dt != e->dt || rank != e->rank) {
		snprintf(why, nwhy, "%s of rank %d, wanted %s of rank %d", dtypeinfo[dt].text, rank, dtypeinfo[e->dt].text, e->rank);
		return false;
	}
	for (int d = 0; d < rank; d++) {
		if (dim[d] != e->dim[d]) {
			snprintf(why, nwhy, "size %d is %lld, wanted %lld", d, (long long)dim[d], (long long)e->dim[d]);
			return false;
		}
		n *= dim[d];
	}
	if (!deterministic || n == 0)
		return true;
	if (e->data == NULL) {
		snprintf(why, nwhy, "no expected values");
		return false;
	}
	for (int64_t i = 0; i < n; i++) {
		const uint8_t *x = (const uint8_t *)out + (size_t)i * width, *y = e->data + (size_t)i * width;
		if (dt_float(dt) && w->hastol) {
			double r = w->ref.data ? dt_load(w->ref.dt, w->ref.data + (size_t)i * dtypeinfo[w->ref.dt].bytes) : dt_load(dt, y);
			bad += !within(w, dt_load(dt, x), r, dt_load(dt, y), &err);
		} else if (dt_float(dt)) {
			double a = dt_load(dt, x), b = dt_load(dt, y);
			bad += !(a == b || (isnan(a) && isnan(b)));
		} else {
			bad += memcmp(x, y, width) != 0;
		}
	}
	if (bad)
		snprintf(why, nwhy, "%lld of %lld elements differ, max-err %.3g (atol %.3g)", (long long)bad, (long long)n, err, w->atol);
	return bad == 0;
}

/* ---- inputs ---------------------------------------------------------------------- */

/* An input in the memory layout that the case gives it. */
static DLTensor *
input(const CaseTensor *t, DLDataType d)
{
	DLTensor *x;
	size_t width = dtypeinfo[t->dt].bytes;
	int64_t n = 1, span = 1, idx[MaxRank] = {0};
	uint8_t *p;

	for (int i = 0; i < t->rank; i++) {
		n *= t->dim[i];
		span += (t->dim[i] - 1) * t->stride[i];
	}
	span = n == 0 ? 0 : t->storage ? t->storage : span;
	x = artifact_tensor(d, t->rank, t->dim, t->stride, (size_t)span * width);
	p = x->data;
	if (t->storage && n)
		memcpy(p, t->data, (size_t)span * width);
	for (int64_t i = 0; !t->storage && i < n; i++) {
		int64_t at = 0;
		for (int k = 0; k < t->rank; k++)
			at += idx[k] * t->stride[k];
		memcpy(p + (size_t)at * width, t->data + (size_t)i * width, width);
		for (int k = t->rank - 1; k >= 0 && ++idx[k] == t->dim[k]; k--)
			idx[k] = 0;
	}
	return x;
}

typedef struct Bound {
	Call call;
	int *portof;                   /* by input of the case: its port, -1 */
} Bound;

static bool
bind_inputs(Bound *b, const CaseRun *r, char *why, size_t n)
{
	int port = 0;

	for (int i = 0; i < r->in.n; i++) {
		const CaseTensor *t = &r->in.v[i];
		b->portof[i] = -1;
		while (port < b->call.m->nin && b->call.m->in[port].kind != FXCC_USER && b->call.m->in[port].kind != FXCC_SIZE)
			port++;
		if (!t->istensor) {
			if (t->isint && port < b->call.m->nin && b->call.m->in[port].kind == FXCC_SIZE) {
				CaseTensor s = {.dt = DtI64, .istensor = true, .data = (const uint8_t *)&t->value};
				b->call.in[port] = input(&s, b->call.m->in[port].dtype);
				port++;
			}
			continue;
		}
		if (port >= b->call.m->nin)
			break;
		b->portof[i] = port;
		b->call.in[port] = input(t, b->call.m->in[port].dtype);
		if (artifact_dtype(b->call.m->in[port].dtype) != t->dt) {
			snprintf(why, n, "input %s is %s in the case", b->call.m->in[port].name, dtypeinfo[t->dt].text);
			return false;
		}
		port++;
	}
	for (int i = 0; i < b->call.m->nin; i++)
		if (b->call.in[i] == NULL) {
			snprintf(why, n, "the case has no input for %s", b->call.m->in[i].name);
			return false;
		}
	return true;
}

static bool
judge(Bound *b, const CaseRun *r, char *why, size_t n)
{
	char reason[200];
	int port = 0;

	for (int i = 0; i < r->out.n; i++) {
		if (!r->out.v[i].eager.istensor && !r->out.v[i].eager.isint)
			continue;
		if (port >= b->call.m->nout) {
			snprintf(why, n, "output %d is missing", i);
			return false;
		}
		const DLTensor *t = b->call.out[port++];
		if (!r->out.v[i].eager.istensor) {
			if (*(int64_t *)t->data != r->out.v[i].eager.value && r->deterministic) {
				snprintf(why, n, "output %d is %lld, wanted %lld", i, (long long)*(int64_t *)t->data, (long long)r->out.v[i].eager.value);
				return false;
			}
			continue;
		}
		if (!case_passes(&r->out.v[i], artifact_dtype(t->dtype), t->ndim, t->shape, t->data, r->deterministic, reason, sizeof reason)) {
			snprintf(why, n, "output %d: %s", i, reason);
			return false;
		}
	}
	for (int i = 0; i < r->mutin.n; i++) {
		const CaseWant *w = &r->mutin.v[i];
		if (w->index >= r->in.n || b->portof[w->index] < 0)
			continue;
		const DLTensor *t = call_after(&b->call, b->portof[w->index]);
		if (!case_passes(w, artifact_dtype(t->dtype), t->ndim, t->shape, t->data, r->deterministic, reason, sizeof reason)) {
			snprintf(why, n, "mutated input %d: %s", w->index, reason);
			return false;
		}
	}
	for (int i = 0; i < r->mutbuf.n; i++) {
		const CaseWant *w = &r->mutbuf.v[i];
		int k = 0;
		while (k < b->call.m->nstate && (b->call.m->state[k].fqn == NULL || strcmp(b->call.m->state[k].fqn, w->fqn) != 0))
			k++;
		if (k == b->call.m->nstate) {
			snprintf(why, n, "buffer %s is not changed", w->fqn);
			return false;
		}
		int64_t dim[MaxRank];
		for (int d = 0; d < b->call.m->state[k].ndim; d++)
			dim[d] = b->call.m->state[k].dim[d].value;
		if (!case_passes(w, artifact_dtype(b->call.m->state[k].dtype), b->call.m->state[k].ndim, dim, b->call.m->state_data(b->call.ctx, k), r->deterministic, reason, sizeof reason)) {
			snprintf(why, n, "buffer %s: %s", w->fqn, reason);
			return false;
		}
	}
	return true;
}

/* ---- gradients ------------------------------------------------------------------- */

/* The case may have it in another dtype than the output's. */
static void
give_tangent(DLTensor *x, const CaseTensor *t)
{
	enum dtype dt = artifact_dtype(x->dtype);
	int64_t n = 1;

	for (int d = 0; d < t->rank; d++)
		n *= t->dim[d];
	for (int64_t i = 0; i < n; i++) {
		void *to = (uint8_t *)x->data + (size_t)i * dtypeinfo[dt].bytes;
		const uint8_t *from = t->data + (size_t)i * dtypeinfo[t->dt].bytes;
		if (dt == t->dt)
			memcpy(to, from, dtypeinfo[dt].bytes);
		else
			dt_store(dt, to, dt_load(t->dt, from));
	}
}

static bool
bind_tangents(Bound *b, const CaseRun *r, char *why, size_t n)
{
	const fxcc_module *m = b->call.m;

	for (int i = 0; i < m->ntangent; i++) {
		const DLTensor *out = m->tangent[i].offset < (uint64_t)m->nout ? b->call.out[m->tangent[i].offset] : NULL;
		size_t bytes = m->tangent[i].dtype.bits / 8;
		/* The first result of a model is its loss: NULL is 1.  What stands beside it has no gradient. */
		if (out == NULL || (r->tangent.n == 0 && m->tangent[i].offset == 0))
			continue;
		for (int d = 0; d < out->ndim; d++)
			bytes *= (size_t)out->shape[d];
		b->call.tangent[i] = artifact_tensor(m->tangent[i].dtype, out->ndim, out->shape, NULL, bytes);
	}
	for (int k = 0; k < r->tangent.n; k++) {
		const CaseTensor *t = &r->tangent.v[k].eager;
		int i = 0;
		while (i < m->ntangent && m->tangent[i].offset != (uint64_t)r->tangent.v[k].index)
			i++;
		if (i == m->ntangent || t->data == NULL) {
			snprintf(why, n, "output %d has no tangent", r->tangent.v[k].index);
			return false;
		}
		give_tangent(b->call.tangent[i], t);
	}
	return true;
}

static bool
allzero(const DLTensor *t)
{
	size_t n = t->dtype.bits / 8;

	for (int d = 0; d < t->ndim; d++)
		n *= (size_t)t->shape[d];
	for (size_t i = 0; i < n; i++)
		if (((const uint8_t *)t->data)[i])
			return false;
	return true;
}

/* The gradient that is wanted: by the parameter's name, or by the input's place. */
static int
gradient(const Bound *b, const CaseWant *w)
{
	const fxcc_module *m = b->call.m;
	int i = 0;

	while (i < m->ngrad && !(w->fqn ? m->grad[i].fqn && strcmp(m->grad[i].fqn, w->fqn) == 0
	                                : b->portof[w->index] >= 0 && m->grad[i].offset == (uint64_t)b->portof[w->index]))
		i++;
	return i < m->ngrad ? i : -1;
}

static bool
judge_gradients(Bound *b, const CaseRun *r, char *why, size_t n)
{
	char reason[120], name[120];

	for (int k = 0; k < r->grad.n; k++) {
		const CaseWant *w = &r->grad.v[k];
		int i = gradient(b, w);
		const DLTensor *t = i < 0 ? NULL : b->call.grad[i];
		if (w->fqn)
			snprintf(name, sizeof name, "gradient of %s", w->fqn);
		else
			snprintf(name, sizeof name, "gradient of input %d", w->index);
		if (t == NULL || !w->eager.istensor) {
			if ((t == NULL && !w->eager.istensor) || (t && allzero(t)))
				continue;
			snprintf(why, n, t ? "%s: None is wanted" : "%s: there is none", name);
			return false;
		}
		if (!case_passes(w, artifact_dtype(t->dtype), t->ndim, t->shape, t->data, r->deterministic, reason, sizeof reason)) {
			snprintf(why, n, "%s: %s", name, reason);
			return false;
		}
	}
	return true;
}

static bool
run(const fxcc_module *m, const CaseRun *r, char *why, size_t n)
{
	Bound b = {.portof = artifact_memory(((size_t)r->in.n + 1) * sizeof(int))};
	bool train = r->grad.n > 0;

	call_new(&b.call, m, NULL);
	if (!bind_inputs(&b, r, why, n) || !call_prepare(&b.call, why, n) || (train && !call_train(&b.call, why, n)) ||
	    !call_forward(&b.call, why, n) || !judge(&b, r, why, n))
		return false;
	return !train || (bind_tangents(&b, r, why, n) && call_backward(&b.call, false, why, n) && judge_gradients(&b, r, why, n));
}

bool
caselib_run(const char *lib, const Case *c, char *why, size_t n)
{
	const fxcc_module *m = artifact_load(lib, why, n);

	if (m == NULL)
		return false;
	for (int i = 0; i < c->run.n; i++) {
		char reason[256] = "";
		if (!run(m, &c->run.v[i], reason, sizeof reason)) {
			snprintf(why, n, c->run.n > 1 ? "run %d: %s" : "%.0d%s", c->run.n > 1 ? i : 0, reason);
			return false;
		}
	}
	return true;
}
