/* declare.h - what the command line says of the inputs of a model. */
#ifndef DECLARE_H
#define DECLARE_H
#include "cmd/options.h"
#include "ir/ir.h"

bool declare_inputs(Ctx *, Module *, const Options *);
#endif
