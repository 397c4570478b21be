/* fxrunbench.c - how long a call takes; the pool of threads that it may use.
 *
 * The pool is the caller's side of fxcc_pool: width threads, the calling one among
 * them, take the parts of a loop one by one from a counter.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "fxrun.h"

typedef struct Pool {
	fxcc_pool face;
	pthread_mutex_t lock;
	pthread_cond_t start, end;
	fxcc_task task;
	void *arg;
	int32_t n;
	atomic_int next;
	int busy;                      /* threads that have not ended this round */
	uint64_t round;
} Pool;

static void
work(Pool *p)
{
	for (int i; (i = atomic_fetch_add(&p->next, 1)) < p->n;)
		p->task(p->arg, i, p->n);
}

static void *
worker(void *arg)
{
	Pool *p = arg;
	uint64_t seen = 0;

	for (;;) {
		pthread_mutex_lock(&p->lock);
		while (p->round == seen)
			pthread_cond_wait(&p->start, &p->lock);
		seen = p->round;
		pthread_mutex_unlock(&p->lock);
		work(p);
		pthread_mutex_lock(&p->lock);
		if (--p->busy == 0)
			pthread_cond_signal(&p->end);
		pthread_mutex_unlock(&p->lock);
	}
	return NULL;
}

static void
pool_run(void *self, fxcc_task task, void *arg, int32_t n)
{
	Pool *p = self;

	pthread_mutex_lock(&p->lock);
	p->task = task;
	p->arg = arg;
	p->n = n;
	atomic_store(&p->next, 0);
	p->busy = p->face.width - 1;
	p->round++;
	pthread_cond_broadcast(&p->start);
	pthread_mutex_unlock(&p->lock);
	work(p);
	pthread_mutex_lock(&p->lock);
	while (p->busy)
		pthread_cond_wait(&p->end, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

const fxcc_pool *
pool_new(int threads)
{
	Pool *p = calloc(1, sizeof *p);

	if (p == NULL)
		return NULL;
	p->face = (fxcc_pool){p, 1, pool_run};
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->start, NULL);
	pthread_cond_init(&p->end, NULL);
	while (p->face.width < threads) {
		pthread_t t;
		if (pthread_create(&t, NULL, worker, p))
			break;
		pthread_detach(t);
		p->face.width++;
	}
	return &p->face;
}

/* ---- timing ------------------------------------------------------------------------- */

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int
bytime(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
bytes(DLTensor *const *t, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++) {
		double b = t[i]->dtype.bits / 8;
		for (int d = 0; d < t[i]->ndim; d++)
			b *= (double)t[i]->shape[d];
		sum += b;
	}
	return sum;
}

/* GB/s counts what no version could avoid: inputs, outputs and weights once. */
int
bench(Call *c, double seconds)
{
	enum { Max = 100000 };
	double *t = calloc(Max, sizeof *t), end = now() + seconds, moved = bytes(c->in, c->m->nin) + bytes(c->out, c->m->nout);
	char why[256];
	int n = 0;

	for (int i = 0; i < c->m->nparam; i++)
		moved += (double)c->m->param[i].nbytes;
	while (t && n < Max && (n < 5 || now() < end)) {
		double t0 = now();
		if (!call_forward(c, why, sizeof why)) {
			fprintf(stderr, "fxrun: %s\n", why);
			return ExitWrong;
		}
		t[n++] = now() - t0;
	}
	if (t == NULL)
		return ExitWrong;
	qsort(t, (size_t)n, sizeof *t, bytime);
	printf("%d runs: min %.6f ms, median %.6f ms, p99 %.6f ms; %.2f GB/s\n", n, 1e3 * t[0], 1e3 * t[n / 2],
	       1e3 * t[(int)((double)n * 0.99)], moved / t[n / 2] * 1e-9);
	free(t);
	return ExitRight;
}
