/* optimizer.h - the step of an optimizer, as a program of its own.
 *
 * --optimizer=NAME[:KEY=VALUE,...]; names, formulas and defaults are torch.optim's, and the
 * keys are the arguments of the operators of ir/op/optim.op besides
 *
 *   lr                    what the header gives as the default; every call passes its own
 *   betas=B1,B2           beta1 and beta2
 *   clip=N                scale all gradients so that their joint norm is at most N
 *   clip_value=N          clamp every element of a gradient to -N..N, before the norm is taken
 *   initial_accumulator_value    adagrad: what its sums begin with
 */
#ifndef OPTIMIZER_H
#define OPTIMIZER_H
#include "ir/ir.h"

typedef struct Optimizer {
	const struct optimkind *kind;
	Arg   *arg;              /* of kind's operator: its keyword arguments are set */
	double lr, clip, clipvalue, initial;   /* clip, clipvalue: 0: none */
} Optimizer;

/* NULL: understood; else what is wrong with the text. */
const char *optimizer_parse(Ctx *, const char *text, Optimizer *);

/* The step of all parameters of `of` (the module before or after the partition) that get a gradient:
 *
 *   inputs    the parameters (InParam); the states (InBuffer: optim.step, optim.FQN.exp_avg ...,
 *             with their first values); their gradients (InUser g_PARAM, target FQN); lr (InUser, f64[])
 *   results   the new parameters (ResParamMut), the new states (ResBufferMut)
 *
 * It is functional and still to be decomposed.  NULL: reported. */
Module *optimizer_module(Module *of, const Optimizer *);
#endif
