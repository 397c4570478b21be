/* run.c - the steps of one call.
 *
 * A call touches its context's arena, its arguments and the saved buffer only, so
 * contexts run at the same time; weights are constant data of the library, shared by all.
 */
#include <stdbool.h>
#include <string.h>
#include "model.h"

static void *
place(fxrt_run *r, int32_t i)
{
	static int64_t nothing[8];
	const fxrt_buf *b = &r->v->buf[i];
	void *p;

	switch (b->home) {
	case FxrtHomeInput:  p = r->in[b->index]; break;
	case FxrtHomeOutput: p = r->out[b->index]; break;
	case FxrtHomeConst:  p = (void *)(uintptr_t)(fxrt_konst(r->cx->model) + b->konst); break;
	case FxrtHomeState:  p = r->cx->state + r->cx->model->states[b->index].offset; break;
	case FxrtHomeWeight: p = r->weights + r->cx->model->weights[b->index].offset; break;
	case FxrtHomeSaved:  p = r->saved + fxrt_eval(r->cx->model->saved[b->index].offset, r->sym, &r->bad); break;
	case FxrtHomeKept:   p = r->kept[b->index]; break;
	case FxrtHomeFault:  p = r->fault; break;
	default:             p = r->cx->arena + fxrt_eval(b->offset, r->sym, &r->bad); break;
	}
	return p ? p : nothing;       /* an empty tensor may have no address */
}

static int
step_extern(fxrt_run *r, const fxrt_step *s, void **buf)
{
	uint8_t dt[FxrtMaxBuf];
	int64_t num[64], found = 0;
	fxrt_draws rng = {r->key, r->base, r->cx->twister};
	fxrt_call c = {buf, dt, num, s->real, &found, s->nbuf, s->nnum, s->nreal, &rng};
	int rc;

	for (int i = 0; i < s->nbuf; i++)
		dt[i] = s->buf[i] < 0 ? 255 : (uint8_t)r->v->buf[s->buf[i]].dtype;
	for (int i = 0; i < s->nnum; i++)
		num[i] = fxrt_eval(s->num[i], r->sym, &r->bad);
	rc = s->ext(&c);
	if (rc)
		return fxrt_fail(r->err, rc, NULL, "%s failed", s->text);
	if (s->define >= 0) {
		r->sym[s->define] = found;
		return fxrt_check_found(r->cx->model, s->define, found, r->err);
	}
	return 0;
}

static int
step_size(fxrt_run *r, const fxrt_step *s)
{
	int64_t v = fxrt_eval(s->num[0], r->sym, &r->bad);

	if (s->define >= 0) {
		r->sym[s->define] = v;
		return fxrt_check_found(r->cx->model, s->define, v, r->err);
	}
	if (v == 0 || r->bad)
		return fxrt_fail(r->err, FXCC_EASSERT, NULL, "%s", s->text);
	return 0;
}

static void
step_copy(fxrt_run *r, const fxrt_step *s, void **buf)
{
	const fxrt_buf *b = &r->v->buf[s->buf[1]];
	int64_t n = fxrt_eval(b->count, r->sym, &r->bad);

	if (!r->bad && buf[0] != buf[1] && n > 0)
		memmove(buf[1], buf[0], (size_t)n * (size_t)b->width);
}

static int
index_error(fxrt_run *r, const fxrt_step *s)
{
	if (r->err) {
		r->err->got = r->fault[1];
		r->err->hi = r->fault[2] - 1;
	}
	return fxrt_fail(r->err, FXCC_EASSERT, NULL, "index %lld is out of range for a dimension of size %lld (kernel %s)",
	                 (long long)r->fault[1], (long long)r->fault[2], s->text);
}

static int
step_kernel(fxrt_run *r, const fxrt_step *s, void **buf)
{
	int64_t sym[FxrtMaxSym], n = s->parallel ? fxrt_eval(s->parallel, r->sym, &r->bad) : 1;
	uint64_t stride[FxrtMaxBuf];
	fxrt_work w = {buf, stride, s->nbuf, r->v->workers};

	for (int i = 0; i < s->nbuf; i++) {
		const fxrt_buf *b = s->buf[i] < 0 ? NULL : &r->v->buf[s->buf[i]];
		bool scratch = b && b->home == FxrtHomeScratch && r->v->workers > 1;
		stride[i] = scratch ? ((uint64_t)fxrt_eval(b->count, r->sym, &r->bad) * (uint64_t)b->width + 63) & ~UINT64_C(63) : 0;
	}
	for (int i = 0; i < s->nsym; i++)
		sym[i] = s->sym[i] < 0 ? (int64_t)r->key : r->sym[s->sym[i]];
	if (!r->bad)
		fxrt_parallel(s->parallel ? r->cx->pool : NULL, s->kernel, &w, sym, n, s->grain);
	return r->fault[0] ? index_error(r, s) : 0;
}

int
fxrt_steps(fxrt_run *r)
{
	int (*check)(fxrt_run *, int, void *const *, int) = r->cx->model->check;

	r->fault[0] = 0;
	for (int i = 0; i < r->v->nstep; i++) {
		const fxrt_step *s = &r->v->step[i];
		void *buf[FxrtMaxBuf];
		int rc = 0;
		for (int j = 0; j < s->nbuf; j++)
			buf[j] = s->buf[j] < 0 ? NULL : place(r, s->buf[j]);
		if (check && (rc = check(r, i, buf, 0)))
			return rc;
		if (s->kind == FxrtStepKernel)
			rc = step_kernel(r, s, buf);
		else if (s->kind == FxrtStepExtern)
			rc = step_extern(r, s, buf);
		else if (s->kind == FxrtStepJump)
			i = fxrt_jumps(r->v, s, buf, r->sym, &r->bad) ? s->define - 1 : i;
		else if (s->kind == FxrtStepSpread)
			fxrt_spread(r->v, s, buf, r->sym, &r->bad);
		else if (s->kind == FxrtStepCopy && s->nnum)
			fxrt_copy_part(r->v, s, buf, r->sym, &r->bad);
		else if (s->kind == FxrtStepCopy)
			step_copy(r, s, buf);
		else
			rc = step_size(r, s);
		if (rc || (check && s->kind != FxrtStepJump && (rc = check(r, i, buf, 1))))
			return rc;
		if (r->bad)
			return fxrt_fail(r->err, FXCC_ESHAPE, NULL, "a size overflows in %s", s->text);
	}
	for (int i = 0; i < r->en->nout; i++)
		if (r->en->out[i].value && r->out[i])
			*(int64_t *)r->out[i] = fxrt_eval(r->en->out[i].value, r->sym, &r->bad);
	return 0;
}

int
fxrt_arena_check(const fxrt_ctx *c, int64_t need, fxcc_error *e)
{
	if ((uint64_t)need <= c->narena)
		return 0;
	if (e) {
		e->got = (int64_t)c->narena;
		e->lo = need;
	}
	return fxrt_fail(e, FXCC_EARENA, NULL, "the arena has %llu bytes, %lld are needed", (unsigned long long)c->narena, (long long)need);
}
