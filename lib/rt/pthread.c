/* pthread.c - the pool of artifacts made with -fthreads=pthread: one for the process,
 * a worker for each processor but one, started on first use.
 *
 * A job is announced by a number; workers spin on it for some tens of microseconds before
 * they sleep, so that the many short loops of a model, and what lies between two calls of a
 * training step, cost little: to wake a thread takes longer than most loops.  One job runs
 * at a time; a caller that finds the pool busy runs its loop itself.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#include "model.h"

enum { MaxWorkers = 15, Spins = 2000, Yield = 4000 };

static struct {
	pthread_mutex_t lock, busy;
	pthread_cond_t wake;
	pthread_once_t once;
	fxcc_pool pool;
	fxcc_task task;
	void *arg;
	int32_t n;                       /* parts of the job */
	volatile int32_t job, next, left, asleep;
} P = {.lock = PTHREAD_MUTEX_INITIALIZER, .busy = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .once = PTHREAD_ONCE_INIT};

/* Tell the processor that this thread only waits. */
static inline void
rest(void)
{
#if defined __x86_64__ || defined __i386__
	__builtin_ia32_pause();
#else
	__asm__ volatile("" ::: "memory");
#endif
}

static void
work(void)
{
	for (;;) {
		int32_t i = __atomic_fetch_add(&P.next, 1, __ATOMIC_ACQ_REL);
		if (i >= P.n)
			return;
		P.task(P.arg, i, P.n);
		__atomic_fetch_sub(&P.left, 1, __ATOMIC_ACQ_REL);
	}
}

/* Wait until there is another job than the one seen; its number. */
static int32_t
await(int32_t seen)
{
	int32_t job = seen;

	for (int i = 0; i < Spins; i++) {
		if ((job = __atomic_load_n(&P.job, __ATOMIC_ACQUIRE)) != seen)
			return job;
		rest();
	}
	pthread_mutex_lock(&P.lock);
	__atomic_fetch_add(&P.asleep, 1, __ATOMIC_SEQ_CST);
	while ((job = __atomic_load_n(&P.job, __ATOMIC_SEQ_CST)) == seen)
		pthread_cond_wait(&P.wake, &P.lock);
	__atomic_fetch_sub(&P.asleep, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&P.lock);
	return job;
}

static void *
worker(void *unused)
{
	int32_t seen = 0;

	(void)unused;
	for (;;) {
		seen = await(seen);
		work();
	}
	return NULL;
}

/* A worker either sees the new job before it sleeps or is seen asleep here. */
static void
announce(void)
{
	__atomic_fetch_add(&P.job, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&P.asleep, __ATOMIC_SEQ_CST) == 0)
		return;
	pthread_mutex_lock(&P.lock);
	pthread_cond_broadcast(&P.wake);
	pthread_mutex_unlock(&P.lock);
}

static void
run(void *self, fxcc_task task, void *arg, int32_t n)
{
	(void)self;
	if (pthread_mutex_trylock(&P.busy)) {
		for (int32_t i = 0; i < n; i++)
			task(arg, i, n);
		return;
	}
	/* A worker late from the job before takes no part: next is beyond n until all is set. */
	__atomic_store_n(&P.next, INT32_MAX / 2, __ATOMIC_RELEASE);
	P.task = task;
	P.arg = arg;
	P.n = n;
	P.left = n;
	__atomic_store_n(&P.next, 0, __ATOMIC_RELEASE);
	announce();
	work();
	for (int i = 1; __atomic_load_n(&P.left, __ATOMIC_ACQUIRE) > 0; i++)
		if (i % Yield)
			rest();
		else
			sched_yield();         /* a worker may want this processor */
	pthread_mutex_unlock(&P.busy);
}

static void
start(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN) - 1;
	int width = 1;

	for (int i = 0; i < n && i < MaxWorkers; i++) {
		pthread_t t;
		pthread_attr_t a;
		pthread_attr_init(&a);
		pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
		width += pthread_create(&t, &a, worker, NULL) == 0;
		pthread_attr_destroy(&a);
	}
	P.pool = (fxcc_pool){NULL, width, run};
}

const fxcc_pool *
fxrt_pthread_pool(void)
{
	pthread_once(&P.once, start);
	return &P.pool;
}
