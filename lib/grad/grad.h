/* grad.h - from what the user wrote to one functional graph, and its derivative.
 *
 * Passes over a whole Module, in this order.  They report what they cannot do and return
 * false; true says that the module is as the next pass wants it.
 */
#ifndef GRAD_H
#define GRAD_H
#include "ir/ir.h"
#include "ir/meta.h"

/* inline.c: sub-graphs that only run under some mode (no_grad, autocast, checkpoint) take the
 * place of their calls, their nodes marked (region, recompute, acgraph); calls that only set a mode go. */
bool pass_inline(Module *);
/* bases.c: inputs that share memory (Input.storage).  Duplicates become one input, overlapping
 * ones where something is written views of one base; what only seems to overlap stays. */
bool pass_bases(Module *);
/* functionalize.c: no operator writes an argument any more; what the program changed in its
 * inputs becomes results in front of the user's.  Fills in Module.meta. */
bool pass_functionalize(Module *);
/* functional.c: nothing is written but inputs, at the end, once.  Reports the node that does. */
bool module_functional(const Module *);
/* Does a sub-graph that was not functionalized write what it is given? */
bool graph_writes_inputs(Graph *);
/* joint.c: the graph and its derivative in one: inputs (primals, tangents), results (mutated
 * inputs, user's, bases, one gradient or None for each primal).  Does nothing unless Module.train
 * and an input needs a gradient; a joint graph stays as it is. */
bool pass_joint(Module *);
/* epilogue.c: under keepmut the inputs that are mutated in the graph are written by copy_ nodes
 * at its end instead of being results; mutations_returned takes that back, for lowering. */
bool pass_epilogue(Module *);
bool mutations_returned(Module *);

/* The record as PyTorch prints it (golden/ == meta). */
void meta_print(const Module *, Text *);
#endif
