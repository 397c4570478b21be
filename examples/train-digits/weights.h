/* weights.h - the tensors that a context keeps (parameters, buffers, optimizer states) as a
 * .safetensors file, for any library that fxcc made.  C99, little-endian machines.
 *
 * Names, dtypes and sizes come from the library itself: fxcc_module.state.  prefix: only
 * tensors whose name begins so are saved; "" is all, and '!' in front means all others.
 */
#ifndef WEIGHTS_H
#define WEIGHTS_H
#include "train.h"

/* 0, or what went wrong in errno's or our own words. */
const char *weights_save(const char *path, const char *prefix, const fxcc_module *, void *ctx);
/* Every state that the file has; *n of them.  One of another dtype or size is an error, others are left. */
const char *weights_load(const char *path, const fxcc_module *, void *ctx, int *n);
#endif
