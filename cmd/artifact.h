/* artifact.h - load and call a compiled library: what fxrun and fxcheck share. */
#ifndef ARTIFACT_H
#define ARTIFACT_H
#include "ir/ir.h"
#include "rt/fxcc_abi.h"

/* One context of a library and the tensors of one call.  The caller sets in[]. */
typedef struct Call {
	const fxcc_module *m;
	const fxcc_pool *pool;         /* NULL: serial */
	DLTensor **in, **out;          /* m->nin, m->nout */
	DLTensor **tangent, **grad;    /* m->ntangent (NULL: as the library says), m->ngrad */
	void *saved;                   /* NULL: nothing is kept for backward */
	void *ctx;
	size_t arena, nsaved;          /* bytes that these sizes need */
	uint64_t seed;
	fxcc_error err;
} Call;

/* The description inside the library at path; NULL: why says what is wrong. */
const fxcc_module *artifact_load(const char *path, char *why, size_t n);
enum dtype artifact_dtype(DLDataType);                 /* DtNone: none of ours */
void      *artifact_memory(size_t bytes);              /* zeroed, aligned to 64 */
/* Memory of bytes for a tensor; stride NULL: row-major. */
DLTensor  *artifact_tensor(DLDataType, int rank, const int64_t *dim, const int64_t *stride, size_t bytes);
void       call_new(Call *, const fxcc_module *, const fxcc_pool *);
bool       call_prepare(Call *, char *why, size_t n);  /* after in[] is set: outputs, arena, context */
bool       call_forward(Call *, char *why, size_t n);
DLTensor  *call_after(const Call *, int i);            /* input i as forward left it, row-major, in the sizes that it has then */
bool       artifact_trains(const fxcc_module *);
bool       call_train(Call *, char *why, size_t n);    /* after call_prepare: memory for backward */
bool       call_backward(Call *, bool accumulate, char *why, size_t n);
#endif
