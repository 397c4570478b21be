/* mt19937.c - the words that eager PyTorch's generator for CPUs gives (Matsumoto, Nishimura 1998).
 *
 * A word has a number, counted from the seed; what an operator draws begins at a number
 * that the compiler knows, added to where the call began.  So operators run in any order.
 * The generator goes forward only: one copy of it is kept where the last drawing ended, one
 * where the call began, for those that run out of order or again (backward).
 */
#include <string.h>
#include "rt.h"

static void
seeded(fxrt_twister *t, uint64_t seed)
{
	t->seed = seed;
	t->at = 0;
	t->valid = 1;
	t->w[0] = (uint32_t)seed;
	for (uint32_t i = 1; i < 624; i++)
		t->w[i] = 1812433253u * (t->w[i - 1] ^ t->w[i - 1] >> 30) + i;
}

static uint32_t
twisted(uint32_t a, uint32_t b, uint32_t c)
{
	return c ^ ((a & 0x80000000u) | (b & 0x7fffffffu)) >> 1 ^ (b & 1 ? 0x9908b0dfu : 0);
}

/* The next 624 words. */
static void
twist(uint32_t *w)
{
	int i;

	for (i = 0; i < 227; i++)
		w[i] = twisted(w[i], w[i + 1], w[i + 397]);
	for (; i < 623; i++)
		w[i] = twisted(w[i], w[i + 1], w[i - 227]);
	w[623] = twisted(w[623], w[0], w[396]);
}

/* Make word number at the next. */
static void
skip(fxrt_twister *t, uint64_t at)
{
	while (t->at < at) {
		uint64_t n = 624 - t->at % 624, left = at - t->at;
		if (t->at % 624 == 0)
			twist(t->w);
		t->at += n < left ? n : left;
	}
}

static void
seek(fxrt_twister *t, const fxrt_twister *from, uint64_t seed, uint64_t at)
{
	if (!t->valid || t->seed != seed || t->at > at) {
		if (from && from->valid && from->seed == seed && from->at <= at)
			*t = *from;
		else
			seeded(t, seed);
	}
	skip(t, at);
}

static uint32_t
next(fxrt_twister *t)
{
	uint32_t y;

	if (t->at % 624 == 0)
		twist(t->w);
	y = t->w[t->at++ % 624];
	y ^= y >> 11;
	y ^= y << 7 & 0x9d2c5680u;
	y ^= y << 15 & 0xefc60000u;
	return y ^ y >> 18;
}

/* num: how many, from which word of the call on. */
int
fxrt_mt19937(const fxrt_call *c)
{
	fxrt_twister own = {0}, *t = &own, *begin = NULL;
	uint64_t seed = c->rng ? c->rng->seed : 0, base = c->rng ? c->rng->base : 0;
	uint32_t *out = c->buf[c->nbuf - 1];

	if (c->rng && c->rng->twister) {
		t = &c->rng->twister[0];
		begin = &c->rng->twister[1];
		if (!begin->valid || begin->seed != seed || begin->at != base) {
			seek(t, begin, seed, base);
			*begin = *t;
		}
	}
	seek(t, begin, seed, base + (uint64_t)c->num[1]);
	for (int64_t i = 0; i < c->num[0]; i++)
		out[i] = next(t);
	return 0;
}

/* Where each of 0 .. n-1 comes to lie: as randperm exchanges them.  buf: words, result, scratch. */
int
fxrt_shuffle(const fxrt_call *c)
{
	const uint32_t *w = c->buf[0];
	int64_t *to = c->buf[1], *r = c->buf[2], n = c->num[0];

	for (int64_t i = 0; i < n; i++)
		r[i] = i;
	for (int64_t i = 0; i < n - 1; i++) {
		int64_t z = i + (int64_t)((uint64_t)w[i] % (uint64_t)(n - i)), was = r[i];
		r[i] = r[z];
		r[z] = was;
	}
	for (int64_t i = 0; i < n; i++)
		to[r[i]] = i;
	return 0;
}
