/* autocast.h - torch.autocast: what dtype an operator computes in (autocast.c). */
#ifndef AUTOCAST_H
#define AUTOCAST_H
#include "ir/ir.h"

/* The dtype that the floating tensors of op are cast to under a mode: DtNone: as they are.
 * *widest: to the widest of theirs instead. */
enum dtype autocast_dtype(const OpDef *, enum dtype mode, bool *widest);
/* May autocast touch it?  f32 and the half types, never f64. */
bool autocast_eligible(const Val *);
/* Casts what n takes, where it must be; the types of its results are inferred by who calls. */
bool autocast_node(Node *n, enum dtype mode);
#endif
