/* evalrun.c - run what evalmake.c compiled.
 *
 * The common operations have loops of their own that the C compiler turns into
 * vectors; all others go number by number through scalar_eval.
 */
#include <math.h>
#include "ir/eval.h"
#include "rt/rt.h"

static void run(Eval *, const EvCode *, int n);

static Num *
at(const Eval *E, int r)
{
	return E->reg.v[r].v;
}

static int
step(const Eval *E, int r)
{
	return !E->reg.v[r].uniform;
}

/* ---- scalars --------------------------------------------------------------------------- */

#define EACH(expr) for (int k = 0; k < n; k++) { expr; } return true

static bool
ints(enum scalar sc, Num *restrict d, const Num *a, const Num *b, int n)
{
	switch (sc) {
	case ScAdd: EACH(d[k].i = (int64_t)((uint64_t)a[k].i + (uint64_t)b[k].i));
	case ScSub: EACH(d[k].i = (int64_t)((uint64_t)a[k].i - (uint64_t)b[k].i));
	case ScMul: EACH(d[k].i = (int64_t)((uint64_t)a[k].i * (uint64_t)b[k].i));
	case ScAnd: EACH(d[k].i = a[k].i & b[k].i);
	case ScOr:  EACH(d[k].i = a[k].i | b[k].i);
	case ScXor: EACH(d[k].i = a[k].i ^ b[k].i);
	case ScMin: EACH(d[k].i = a[k].i < b[k].i ? a[k].i : b[k].i);
	case ScMax: EACH(d[k].i = a[k].i > b[k].i ? a[k].i : b[k].i);
	case ScLt:  EACH(d[k].i = a[k].i < b[k].i);
	case ScLe:  EACH(d[k].i = a[k].i <= b[k].i);
	case ScEq:  EACH(d[k].i = a[k].i == b[k].i);
	case ScNe:  EACH(d[k].i = a[k].i != b[k].i);
	default:    return false;
	}
}

static bool
floats(enum scalar sc, Num *restrict d, const Num *a, const Num *b, int n)
{
	switch (sc) {
	case ScAdd: EACH(d[k].f = a[k].f + b[k].f);
	case ScSub: EACH(d[k].f = a[k].f - b[k].f);
	case ScMul: EACH(d[k].f = a[k].f * b[k].f);
	case ScDiv: EACH(d[k].f = a[k].f / b[k].f);
	case ScMin: EACH(d[k].f = a[k].f < b[k].f || a[k].f != a[k].f ? a[k].f : b[k].f);
	case ScMax: EACH(d[k].f = a[k].f > b[k].f || a[k].f != a[k].f ? a[k].f : b[k].f);
	case ScNeg: EACH(d[k].f = -a[k].f);
	case ScAbs: EACH(d[k].f = fabs(a[k].f));
	case ScSqrt: EACH(d[k].f = sqrt(a[k].f));
	case ScLt:  EACH(d[k].i = a[k].f < b[k].f);
	case ScLe:  EACH(d[k].i = a[k].f <= b[k].f);
	case ScEq:  EACH(d[k].i = a[k].f == b[k].f);
	case ScNe:  EACH(d[k].i = a[k].f != b[k].f);
	case ScIsnan: EACH(d[k].i = a[k].f != a[k].f);
	case ScExp: EACH(d[k].f = exp(a[k].f));
	default:    return false;
	}
}

static void
scalar(Eval *E, const EvIns *in, int n)
{
	Num *d = at(E, in->dst);
	const Num *a = at(E, in->a), *b = in->b < 0 ? a : at(E, in->b), *c = in->c < 0 ? a : at(E, in->c);
	bool test = scalarinfo[in->sc].rule == ScCmp || scalarinfo[in->sc].rule == ScTest;

	if (in->sc == ScSelect) {
		for (int k = 0; k < n; k++)
			d[k] = a[k].i ? b[k] : c[k];
	} else if (dt_int(in->from) && in->from != DtU64 && !(in->from == DtB8 && in->sc == ScAdd) &&
	           ints(in->sc, d, a, b, n)) {
		if (!test && in->dt != DtI64)
			for (int k = 0; k < n; k++)
				d[k].i = num_wrap(in->dt, d[k].i);
	} else if (!dt_int(in->from) && floats(in->sc, d, a, b, n)) {
		if (!test && in->dt == DtF32)
			for (int k = 0; k < n; k++)
				d[k].f = (float)d[k].f;
	} else {
		for (int k = 0; k < n; k++)
			d[k] = scalar_eval(in->sc, in->from, (Num[]){a[k], b[k], c[k]});
	}
}

static void
cast(Eval *E, const EvIns *in, int n)
{
	Num *d = at(E, in->dst);
	const Num *a = at(E, in->a);
	bool fromint = dt_int(in->from) && in->from != DtU64;

	if (in->dt == DtF64 && fromint)
		for (int k = 0; k < n; k++)
			d[k].f = (double)a[k].i;
	else if (in->dt == DtF32 && fromint)
		for (int k = 0; k < n; k++)
			d[k].f = (float)a[k].i;
	else if (in->dt == DtF32 && dt_float(in->from))
		for (int k = 0; k < n; k++)
			d[k].f = (float)a[k].f;
	else
		for (int k = 0; k < n; k++)
			d[k] = num_cast(in->from, in->dt, a[k]);
}

/* ---- memory ------------------------------------------------------------------------------- */

static void
range(Eval *E, const EvIns *in, int n)
{
	Num *d = at(E, in->dst);
	const Num *a = at(E, in->a), *m = in->b < 0 ? NULL : at(E, in->b);
	int sa = step(E, in->a), sm = m ? step(E, in->b) : 0;

	for (int k = 0; k < n; k++) {
		bool want = !m || m[k * sm].i;
		d[k].i = want && a[k * sa].i >= 0 && a[k * sa].i < in->i;
		if (want && !d[k].i && !E->isbad) {
			E->isbad = true;
			E->bad = a[k * sa].i;
			E->badsize = in->i;
		}
	}
}

#define GATHER(T, field)                                                       \
	for (int k = 0; k < n; k++)                                            \
		d[k].field = !m || m[k * sm].i ? ((const T *)t->data)[a[k * sa].i] : 0; \
	break

static void
load(Eval *E, const EvIns *in, int n)
{
	Num *d = at(E, in->dst);
	const Num *a = at(E, in->a), *m = in->b < 0 ? NULL : at(E, in->b);
	int sa = step(E, in->a), sm = m ? step(E, in->b) : 0;
	const Tensor *t = in->tensor;
	int bytes = dtypeinfo[t->dt].bytes;

	switch (t->dt) {
	case DtF32: GATHER(float, f);
	case DtF64: GATHER(double, f);
	case DtI64: GATHER(int64_t, i);
	case DtI32: GATHER(int32_t, i);
	case DtI16: GATHER(int16_t, i);
	case DtI8:  GATHER(int8_t, i);
	case DtU64: GATHER(int64_t, i);
	case DtU32: GATHER(uint32_t, i);
	case DtU16: GATHER(uint16_t, i);
	case DtU8:  GATHER(uint8_t, i);
	case DtB8:
		for (int k = 0; k < n; k++)
			d[k].i = (!m || m[k * sm].i) && ((const uint8_t *)t->data)[a[k * sa].i];
		break;
	default:
		for (int k = 0; k < n; k++)
			d[k].f = !m || m[k * sm].i
			       ? dt_load(t->dt, (const uint8_t *)t->data + a[k * sa].i * bytes) : 0;
	}
}

/* ---- folds ---------------------------------------------------------------------------------- */

static Num
identity(enum fold f, enum dtype dt)
{
	bool isint = dt_int(dt);

	if (f == FoldProd || f == FoldAll)
		return isint ? (Num){.i = 1} : (Num){.f = 1};
	if (f == FoldMax)
		return !isint ? (Num){.f = -INFINITY} : (Num){.i = dtypeinfo[dt].kind == KindInt
		       ? INT64_MIN >> (64 - 8 * dtypeinfo[dt].bytes) : 0};
	if (f == FoldMin && isint) {
		int bits = dt == DtB8 ? 1 : 8 * dtypeinfo[dt].bytes;
		return (Num){.i = dtypeinfo[dt].kind == KindInt ? INT64_MAX >> (64 - bits)
		                                                : (int64_t)(UINT64_MAX >> (64 - bits))};
	}
	return isint ? (Num){.i = 0} : (Num){.f = f == FoldMin ? INFINITY : 0};
}

/* Is v to replace the best so far?  NaN wins; the first of equals stays. */
static bool
better(enum fold f, enum dtype dt, Num v, Num best)
{
	bool max = f == FoldArgmax;

	if (dt == DtU64)
		return max ? (uint64_t)v.i > (uint64_t)best.i : (uint64_t)v.i < (uint64_t)best.i;
	if (dt_int(dt))
		return max ? v.i > best.i : v.i < best.i;
	if (isnan(v.f) || isnan(best.f))
		return !isnan(best.f);
	return max ? v.f > best.f : v.f < best.f;
}

/* best: dst's companion for argmax; pos: number of the point; dst.i < 0: none yet. */
static void
combine(const EvIns *in, Num *dst, Num *best, Num v, int64_t pos)
{
	enum dtype dt = in->from;
	bool isint = dt_int(dt);

	switch (in->fold->fold) {
	case FoldSum:
		if (isint)
			dst->i = (int64_t)((uint64_t)dst->i + (uint64_t)v.i);
		else
			dst->f += v.f;
		break;
	case FoldProd:
		if (isint)
			dst->i = (int64_t)((uint64_t)dst->i * (uint64_t)v.i);
		else
			dst->f *= v.f;
		break;
	case FoldMax: case FoldMin:
		*dst = scalar_eval(in->fold->fold == FoldMax ? ScMax : ScMin, dt, (Num[]){*dst, v});
		break;
	case FoldAny: dst->i |= v.i; break;
	case FoldAll: dst->i &= v.i; break;
	default:
		if (dst->i < 0 || better(in->fold->fold, dt, v, *best)) {
			dst->i = pos;
			*best = v;
		}
	}
}

/* One point of the domain into the accumulators of n lanes. */
static void
accumulate(Eval *E, const EvIns *in, int n, int64_t pos)
{
	const EvFoldIns *f = in->fold;
	Num *d = at(E, in->dst), *best = at(E, in->a);
	const Num *v = at(E, f->body), *c = f->cond < 0 ? NULL : at(E, f->cond);
	int sv = step(E, f->body), sc = c ? step(E, f->cond) : 0;

	if (in->uniform)
		n = 1;
	if (!c && f->fold == FoldSum && !dt_int(in->from)) {
		if (sv)
			for (int k = 0; k < n; k++)
				d[k].f += v[k].f;
		else
			for (int k = 0; k < n; k++)
				d[k].f += v[0].f;
	} else if (!c && f->fold == FoldMax && !dt_int(in->from)) {
		for (int k = 0; k < n; k++)
			d[k].f = d[k].f > v[k * sv].f || d[k].f != d[k].f ? d[k].f : v[k * sv].f;
	} else {
		for (int k = 0; k < n; k++)
			if (!c || c[k * sc].i)
				combine(in, &d[k], &best[k], v[k * sv], pos);
	}
}

/* The next point, row-major; false after the last. */
static bool
advance(int64_t *i, const int64_t *extent, int n)
{
	for (int d = n - 1; d >= 0; d--) {
		if (++i[d] < extent[d])
			return true;
		i[d] = 0;
	}
	return false;
}

static void
serialfold(Eval *E, const EvIns *in, int n)
{
	const EvFoldIns *f = in->fold;
	int64_t i[2 * MaxRank] = {0}, pos = 0;

	do {
		for (int d = 0; d < f->n; d++)
			at(E, f->var[d])->i = i[d];
		run(E, &f->code, n);
		accumulate(E, in, n, pos++);
	} while (advance(i, f->extent, f->n));
}

static void
widefold(Eval *E, const EvIns *in)
{
	const EvFoldIns *f = in->fold;
	int64_t i[2 * MaxRank] = {0}, pos = 0;
	const Num *v = at(E, f->body), *c = f->cond < 0 ? NULL : at(E, f->cond);
	int sv = step(E, f->body), sc = c ? step(E, f->cond) : 0, n;
	bool more = true;

	while (more) {
		for (n = 0; n < Lanes && more; n++) {
			for (int d = 0; d < f->n; d++)
				at(E, f->var[d])[n].i = i[d];
			more = advance(i, f->extent, f->n);
		}
		run(E, &f->code, n);
		for (int k = 0; k < n; k++)
			if (!c || c[k * sc].i)
				combine(in, at(E, in->dst), at(E, in->a), v[k * sv], pos + k);
		pos += n;
	}
}

static void
fold(Eval *E, const EvIns *in, int n)
{
	const EvFoldIns *f = in->fold;
	bool arg = f->fold == FoldArgmax || f->fold == FoldArgmin, empty = false;
	Num none = arg ? (Num){.i = -1} : identity(f->fold, in->from), *d = at(E, in->dst);

	if (in->uniform)
		n = 1;
	for (int k = 0; k < n; k++)
		d[k] = none;
	for (int k = 0; k < f->n; k++)
		empty |= f->extent[k] == 0;
	if (!empty && f->wide)
		widefold(E, in);
	else if (!empty)
		serialfold(E, in, n);
	for (int k = 0; k < n; k++) {
		if (arg)
			d[k].i = d[k].i < 0 ? 0 : d[k].i;
		else if (dt_int(in->dt))
			d[k].i = num_wrap(in->dt, d[k].i);
		else
			d[k].f = num_round(in->dt, d[k].f);
	}
}

/* ---- running ---------------------------------------------------------------------------------- */

static void
muladd(Eval *E, const EvIns *in, int n)
{
	Num *restrict d = at(E, in->dst);
	const Num *a = at(E, in->a), *b = at(E, in->b);
	int64_t c = in->i, s;

	if (!step(E, in->a)) {
		s = a->i * c;
		for (int k = 0, sb = step(E, in->b); k < n; k++)
			d[k].i = s + b[k * sb].i;
	} else if (!step(E, in->b)) {
		s = b->i;
		for (int k = 0; k < n; k++)
			d[k].i = a[k].i * c + s;
	} else {
		for (int k = 0; k < n; k++)
			d[k].i = a[k].i * c + b[k].i;
	}
}

static void
run(Eval *E, const EvCode *code, int lanes)
{
	for (int p = 0; p < code->ins.n; p++) {
		const EvIns *in = &code->ins.v[p];
		Num *d = at(E, in->dst);
		int n = in->uniform ? 1 : lanes;

		switch ((enum evop)in->op) {
		case EvScalar: scalar(E, in, n); break;
		case EvCast:   cast(E, in, n); break;
		case EvMulAdd: muladd(E, in, n); break;
		case EvRange:  range(E, in, n); break;
		case EvLoad:   load(E, in, n); break;
		case EvFold:   fold(E, in, lanes); break;
		case EvBits:
			for (int k = 0; k < n; k++)
				d[k] = num_bits(in->from, in->dt, at(E, in->a)[k]);
			break;
		case EvCopy:
			for (int k = 0, m = E->wide ? Lanes : lanes; k < m; k++)
				d[k] = at(E, in->a)[0];
			break;
		case EvRandom:
			for (int k = 0; k < n; k++)
				d[k].i = fxrt_philox(0, at(E, in->a)[k].i, (uint64_t)in->i);
			break;
		}
	}
}

bool
eval_run(Eval *E, void (*sink)(void *, Eval *, int64_t base, int n), void *arg)
{
	int64_t i[2 * MaxRank] = {0}, base = 0;
	int most = E->wide ? 1 : Lanes, n;
	bool more = true;

	for (int d = 0; d < E->nvar; d++)
		if (E->extent[d] == 0)
			return true;
	while (more && !E->isbad) {
		for (n = 0; n < most && more; n++) {
			for (int d = 0; d < E->nvar; d++)
				at(E, E->ireg[d])[n].i = i[d];
			more = advance(i, E->extent, E->nvar);
		}
		run(E, &E->code, n);
		if (!E->isbad)
			sink(arg, E, base, n);
		base += n;
	}
	if (E->isbad)
		error(E->cx, E->loc, "index %lld is out of range for a dimension of size %lld",
		      (long long)E->bad, (long long)E->badsize);
	return !E->isbad;
}
