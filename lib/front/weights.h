/* weights.h - tensors of containers as Weights of a module.
 */
#ifndef WEIGHTS_H
#define WEIGHTS_H
#include "front/front.h"

/* A tensor as a view of a storage: sizes, strides and offset count elements. */
typedef struct View {
	Str  fqn;
	enum dtype dt;         /* DtNone: one that fxcc has not */
	int  rank;
	int64_t size[MaxRank], stride[MaxRank], offset;
	const uint8_t *store;
	size_t nstore;         /* bytes */
	bool swap;             /* the bytes of each number are reversed */
	bool requires_grad;
} View;

/* Check v and give input `in` its value.  seen: storage address -> Weight, to
 * find tied tensors; one for each container. */
bool weight_set(Ctx *, Module *, Input *in, const char *what, const View *v, Map *seen);
int64_t view_numel(const View *);            /* -1: overflow or negative sizes */
void view_rowmajor(View *);                  /* strides from sizes */

/* The schema's ScalarType; DtNone: none of ours.  *name: torch's, NULL: no such code. */
enum dtype schema_dtype(int64_t code, const char **name);
/* torch.save archive of a dict of tensors, without running its pickle. */
bool torch_load(Ctx *, const char *what, const uint8_t *, size_t, uint64_t *budget, View **, int *n);
/* Weights of a .pt2 for every input that has none. */
bool pt2_weights(Ctx *, Module *, const File *, const ReadOptions *);
#endif
