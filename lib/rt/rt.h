/* rt.h - what artifacts are linked with: helpers in plain C, each file alone.
 *
 * Includes nothing of the rest of fxcc but the public ABI; needs libc and libm.
 * The compiler carries these files compiled (for .so, .o) and as text (for .c).
 */
#ifndef FXRT_H
#define FXRT_H
#include <stdint.h>
#include <stddef.h>

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
} fxrt_call;
typedef int fxrt_fn(const fxrt_call *);
#endif
