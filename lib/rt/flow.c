/* flow.c - steps of control flow: jumps, and copies of parts of buffers. */
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
