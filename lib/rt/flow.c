/* flow.c - steps of control flow: jumps, copies of parts of buffers, to memory with strides. */
#include <string.h>
#include "model.h"

/* Does the step jump?  To a step if the integer in its buffer, or else its first number, is
 * its last number; without any, always. */
int
fxrt_jumps(const fxrt_version *v, const fxrt_step *s, void *const *buf, const int64_t *sym, int *bad)
{
	int64_t is = 0;

	if (s->nnum == 0)
		return 1;
	if (s->nbuf == 0)
		return fxrt_eval(s->num[0], sym, bad) == fxrt_eval(s->num[1], sym, bad);
	switch (v->buf[s->buf[0]].width) {
	case 1:  is = *(const int8_t *)buf[0]; break;
	case 2:  is = *(const int16_t *)buf[0]; break;
	case 4:  is = *(const int32_t *)buf[0]; break;
	default: is = *(const int64_t *)buf[0];
	}
	return is == fxrt_eval(s->num[0], sym, bad);
}

/* From where, to where, how many: in elements. */
void
fxrt_copy_part(const fxrt_version *v, const fxrt_step *s, void *const *buf, const int64_t *sym, int *bad)
{
	int64_t from = fxrt_eval(s->num[0], sym, bad), to = fxrt_eval(s->num[1], sym, bad), n = fxrt_eval(s->num[2], sym, bad);
	size_t width = (size_t)v->buf[s->buf[1]].width;

	if (!*bad && n > 0)
		memcpy((char *)buf[1] + (size_t)to * width, (const char *)buf[0] + (size_t)from * width, (size_t)n * width);
}

/* A row-major tensor into an argument of the caller's that has strides. */
void
fxrt_spread(const fxrt_version *v, const fxrt_step *s, void *const *buf, const int64_t *sym, int *bad)
{
	int64_t n[FxrtMaxRank], stride[FxrtMaxRank], at[FxrtMaxRank] = {0}, to = 0;
	int64_t width = v->buf[s->buf[1]].width;
	const char *from = buf[0];
	int rank = s->nnum / 2, d;

	for (d = 0; d < rank; d++) {
		n[d] = fxrt_eval(s->num[d], sym, bad);
		stride[d] = fxrt_eval(s->num[rank + d], sym, bad);
		if (n[d] == 0 || *bad)
			return;
	}
	do {
		memcpy((char *)buf[1] + to * width, from, (size_t)width);
		from += width;
		for (d = rank - 1; d >= 0; d--) {
			to += stride[d];
			if (++at[d] < n[d])
				break;
			to -= stride[d] * n[d];
			at[d] = 0;
		}
	} while (d >= 0);
}
