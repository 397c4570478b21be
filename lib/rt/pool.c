/* pool.c - run a kernel's parallel loop: here, or on the caller's pool in equal parts. */
#include "model.h"

typedef struct Part {
	fxrt_kernel *kernel;
	void *const *buf;
	const int64_t *sym;
	int64_t n;
} Part;

static void
part(void *arg, int32_t i, int32_t n)
{
	const Part *p = arg;
	int64_t each = p->n / n, more = p->n % n, first = each * i + (i < more ? i : more);

	p->kernel(p->buf, p->sym, first, first + each + (i < more));
}

void
fxrt_parallel(const fxcc_pool *pool, fxrt_kernel *k, void *const *buf, const int64_t *sym, int64_t n, int64_t grain)
{
	Part p = {k, buf, sym, n};
	int64_t parts = pool && pool->width > 1 ? pool->width : 1;

	if (grain > 0 && parts > n / grain)
		parts = n / grain;
	if (parts <= 1)
		k(buf, sym, 0, n);
	else
		pool->run(pool->self, part, &p, (int32_t)parts);
}
