/* rt.h - what artifacts are linked with: helpers in plain C, each file alone.
 *
 * Includes nothing of the rest of fxcc but the public ABI; needs libc and libm.
 * The compiler carries these files compiled (for .so, .o) and as text (for .c).
 */
#ifndef FXRT_H
#define FXRT_H
#include <stdint.h>
#include <stddef.h>

/* PyTorch's generator for CPUs, before word number at (mt19937.c). */
typedef struct fxrt_twister { uint64_t seed, at; int32_t valid; uint32_t w[624]; } fxrt_twister;
/* Where a call draws: words from number base on; twister: two of them, or NULL. */
typedef struct fxrt_draws { uint64_t seed, base; fxrt_twister *twister; } fxrt_draws;

/* An extern operator: fxrt_NAME.  buf: operands (tensors of the schema in order, lists flattened,
 * absent ones NULL), results, scratch; dt: dtype of each buf (numbers of dtype.def);
 * num, real: what the table's extern(...) line gave.  out: a size that it found (nonzero), or NULL.
 * Returns 0 or an FXCC_E code.  Serial, deterministic, no allocation. */
typedef struct fxrt_call {
	void *const *buf;
	const uint8_t *dt;
	const int64_t *num;
	const double *real;
	int64_t *out;
	int nbuf, nnum, nreal;
	const fxrt_draws *rng;       /* NULL: seed 0, base 0 */
} fxrt_call;
typedef int fxrt_fn(const fxrt_call *);

/* Numbers of dtypes: the order of dtype.def. */
enum { FxB8, FxU8, FxI8, FxI16, FxI32, FxI64, FxU16, FxU32, FxU64, FxF16, FxBF16, FxF32, FxF64,
       FxC64, FxC128, FxF8E4M3, FxF8E5M2 };

/* The first word of philox4x32-10 for key = seed, counter = (counter, stream). */
uint32_t fxrt_philox(uint64_t seed, int64_t counter, uint64_t stream);
#endif
