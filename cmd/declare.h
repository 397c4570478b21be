/* declare.h - what the command line says of the inputs of a model. */
#ifndef DECLARE_H
#define DECLARE_H
#include "cmd/options.h"
#include "ir/ir.h"

void declare_types(Ctx *, const Options *, StrList *type);      /* -ftype and what --scalar says, for the readers */
bool declare_inputs(Ctx *, Module *, const Options *);
#endif
