/* hop.h - derivatives of higher-order operators (hopgrad.c), and what they need of joint.c. */
#ifndef GRAD_HOP_H
#define GRAD_HOP_H
#include "grad/grad.h"
#include "ir/hop.h"

/* The derivative of a sub-graph, as a new one (joint.c).  Its parameters are those of g and a tangent
 * for each result with open[k]; its results the gradients of the parameters with wrt[k] - zeros
 * where there is none - and, if `also`, those of g.  NULL: reported. */
Graph *joint_body(Module *, Graph *g, const bool *wrt, const bool *open, bool also, Str name);

/* Is a gradient wanted of a value in it (joint.c)?  req: by value id. */
bool   hop_wants(const Arg *, const bool *req);

/* Before differentiation: what is made so that it can be differentiated.  req: by value id. */
bool   hop_prepare(Graph *, const bool *req, bool *changed);

/* Under -fdecomp=torch: vmaps as operators on whole tensors (batch.c). */
bool   hop_batch(Module *);

/* Does flex_attention stay where this is differentiated (flexgrad.c)?  req: by value id. */
bool   hop_keepsflex(const Node *, const bool *req);

/* The nodes of g, a sub-graph, in the place of a node that calls it with its operands (inline.c). */
bool   hop_splice(Node *call, Graph *g);
/* Afterwards: what had a derivative of its own is put in place. */
bool   hop_finish(Module *);

/* Under -fdecomp=torch what prints is ordered by a token, which is the first input and result. */
bool   hop_effects(Module *);

/* The derivative of n as nodes before `before`: add() gets the gradient of each operand. */
typedef struct HopGrad {
	Node *n, *before;
	Val *const *out;             /* gradients of the results; NULL: none */
	const bool *req;             /* by value id: is a gradient wanted? */
	void (*add)(void *, Val *, Val *grad);
	void *arg;
} HopGrad;
bool   hop_grad(const HopGrad *);

/* The same of writes to views, which slices.c marks; `slots`: what the two nodes of one write share. */
bool   slices_node(const Node *);
bool   slices_grad(const HopGrad *, Arena *, Map *slots);
#endif
