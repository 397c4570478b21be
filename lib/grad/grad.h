/* grad.h - from what the user wrote to one functional graph, and its derivative.
 *
 * Passes over a whole Module.  They report what they cannot do and return
 * false; true says that the module is as the next pass wants it.
 */
#ifndef GRAD_H
#define GRAD_H
#include "ir/ir.h"

/* inline.c: sub-graphs that only run under some mode (no_grad, autocast, checkpoint)
 * take the place of their calls; calls that only set a mode go. */
bool pass_inline(Module *);
/* functionalize.c: no operator writes an argument any more; what the program changed in
 * its inputs becomes results in front of the user's. */
bool pass_functionalize(Module *);
#endif
