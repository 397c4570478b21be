/* philox.c - Philox4x32-10 (Salmon et al., SC 2011): random bits by counter.
 *
 * The same seed, counter and stream give the same bits on every machine, in any
 * order: a counter is the number of an element, a stream that of an operator.
 */
#include "rt/rt.h"

uint32_t
fxrt_philox(uint64_t seed, int64_t counter, uint64_t stream)
{
	uint32_t x0 = (uint32_t)counter, x1 = (uint32_t)((uint64_t)counter >> 32);
	uint32_t x2 = (uint32_t)stream, x3 = (uint32_t)(stream >> 32);
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);

	for (int r = 0; r < 10; r++) {
		uint64_t a = (uint64_t)x0 * 0xD2511F53u, b = (uint64_t)x2 * 0xCD9E8D57u;

		x0 = (uint32_t)(b >> 32) ^ x1 ^ k0;
		x2 = (uint32_t)(a >> 32) ^ x3 ^ k1;
		x1 = (uint32_t)b;
		x3 = (uint32_t)a;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	return x0;
}
