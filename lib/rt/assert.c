/* assert.c - -fassert: checks of each step, in libraries that were compiled with them.
 *
 *     size    the buffers of a step have sensible sizes and lie within the arena
 *     align   they begin where the kernels were told they do
 *     nan     what a step made has no NaN; the first value that has one is named
 *
 * They look for mistakes of a model (nan) or of the compiler (size, align); no step depends on them.
 */
#include "model.h"
#include "rt/element.h"

static int64_t
count(fxrt_run *r, const fxrt_buf *b)
{
	return fxrt_eval(b->count, r->sym, &r->bad);
}

static int
size(fxrt_run *r, const fxrt_step *s)
{
	for (int j = 0; j < s->nbuf; j++) {
		const fxrt_buf *b = s->buf[j] < 0 ? NULL : &r->v->buf[s->buf[j]];
		int64_t n = b ? count(r, b) : 0, at = b && b->home == FxrtHomeArena ? fxrt_eval(b->offset, r->sym, &r->bad) : 0;
		if (r->bad || n < 0 || at < 0 || (at && (uint64_t)at + (uint64_t)n * (uint64_t)b->width > r->cx->narena))
			return fxrt_fail(r->err, FXCC_EASSERT, s->text, "size: buffer %d of step %s, %lld elements at %lld, is not within the arena",
			                 j, s->text, (long long)n, (long long)at);
	}
	return 0;
}

static int
align(fxrt_run *r, const fxrt_step *s, void *const *buf)
{
	for (int j = 0; j < s->nbuf; j++) {
		const fxrt_buf *b = s->buf[j] < 0 ? NULL : &r->v->buf[s->buf[j]];
		int inside = b && (b->home == FxrtHomeArena || b->home == FxrtHomeConst || b->home == FxrtHomeScratch);
		uintptr_t to = inside ? FxrtAlign : b && b->width > 8 ? 8 : b ? (uintptr_t)b->width : 1;
		if (b && count(r, b) > 0 && (uintptr_t)buf[j] % to)
			return fxrt_fail(r->err, FXCC_EASSERT, s->text, "align: buffer %d of step %s is not aligned to %d bytes", j, s->text, (int)to);
	}
	return 0;
}

static int
isnan_at(int dt, const void *p, int64_t i)
{
	double v = element_isint(dt) ? 0 : element_float(dt, p, i);

	return v != v;
}

static int
nan_in(fxrt_run *r, const fxrt_made *m, const fxrt_step *s, void *const *buf)
{
	const fxrt_buf *b = &r->v->buf[s->buf[m->pos]];
	int complex = b->dtype == FxC64 || b->dtype == FxC128, dt = b->dtype == FxC64 ? FxF32 : b->dtype == FxC128 ? FxF64 : b->dtype;
	int64_t n = count(r, b) * (complex ? 2 : 1);

	for (int64_t i = 0; i < n && !r->bad; i++)
		if (isnan_at(dt, buf[m->pos], i)) {
			if (r->err)
				r->err->got = complex ? i / 2 : i;
			return fxrt_fail(r->err, FXCC_EASSERT, m->name, "nan: element %lld of %s is the first NaN (step %s)",
			                 (long long)(complex ? i / 2 : i), m->name, s->text);
		}
	return 0;
}

int
fxrt_assert(fxrt_run *r, int step, void *const *buf, int after)
{
	const fxrt_step *s = &r->v->step[step];
	int what = r->cx->model->asserts, rc = 0;

	if (!after && what & FxrtAssertSize)
		rc = size(r, s);
	if (!rc && !after && what & FxrtAssertAlign)
		rc = align(r, s, buf);
	for (int i = 0; !rc && after && i < r->v->nmade; i++)
		if (r->v->made[i].step == step)
			rc = nan_in(r, &r->v->made[i], s, buf);
	return rc;
}
