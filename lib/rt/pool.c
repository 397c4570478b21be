/* pool.c - run a kernel's parallel loop: here, or on a pool in equal parts.
 *
 * Parts depend on the extent and the width alone, and no part reads what another
 * writes, so results are the same for any number of workers.  Every part has its
 * own scratch: part i finds it i strides further on.
 */
#include "model.h"

typedef struct Part {
	fxrt_kernel *kernel;
	const fxrt_work *w;
	const int64_t *sym;
	int64_t n;
} Part;

static void
part(void *arg, int32_t i, int32_t n)
{
	const Part *p = arg;
	int64_t each = p->n / n, more = p->n % n, first = each * i + (i < more ? i : more);
	void *buf[FxrtMaxBuf];

	for (int b = 0; b < p->w->nbuf; b++)
		buf[b] = (unsigned char *)p->w->buf[b] + (size_t)i * p->w->stride[b];
	p->kernel(buf, p->sym, first, first + each + (i < more));
}

void
fxrt_parallel(const fxcc_pool *pool, fxrt_kernel *k, const fxrt_work *w, const int64_t *sym, int64_t n, int64_t grain)
{
	Part p = {k, w, sym, n};
	int64_t parts = pool && pool->width > 1 ? pool->width : 1;

	if (parts > w->workers)
		parts = w->workers;
	if (grain > 0 && parts > n / grain)
		parts = n / grain;
	if (parts <= 1)
		k(w->buf, sym, 0, n);
	else
		pool->run(pool->self, part, &p, (int32_t)parts);
}
