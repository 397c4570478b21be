/* matrix.h - batches of row-major matrices of f32 or f64, worked on as doubles.
 */
#ifndef FXRT_MATRIX_H
#define FXRT_MATRIX_H
#include <math.h>
#include "rt/rt.h"

static inline double
mat_get(const fxrt_call *c, int buf, int64_t i)
{
	return c->dt[buf] == FxF64 ? ((const double *)c->buf[buf])[i] : ((const float *)c->buf[buf])[i];
}

static inline void
mat_put(const fxrt_call *c, int buf, int64_t i, double v)
{
	if (c->dt[buf] == FxF64)
		((double *)c->buf[buf])[i] = v;
	else
		((float *)c->buf[buf])[i] = (float)v;
}

static inline void
mat_load(const fxrt_call *c, int buf, int64_t at, double *w, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		w[i] = mat_get(c, buf, at + i);
}

static inline void
mat_store(const fxrt_call *c, int buf, int64_t at, const double *w, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		mat_put(c, buf, at + i, w[i]);
}
#endif
