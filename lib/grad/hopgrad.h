/* hopgrad.h - what the files of derivatives of higher-order operators share. */
#ifndef HOPGRAD_H
#define HOPGRAD_H
#include "grad/hop.h"

typedef struct Hop {
	const HopGrad *h;
	Node *n;
	Graph *g;                /* in which the node stands */
	Module *m;
	Ctx *cx;
	Arena *a;
} Hop;

typedef VEC(Arg) Args;
typedef VEC(bool) Flags;

bool   hop_isfloat(const Arg *);                                     /* a tensor that may have a gradient */
Str    hop_fresh(Module *, const char *stem);                        /* a name that no sub-graph has */
void   hop_flags(Hop *, Flags *, HopList);                           /* which are differentiated */
void   hop_append(Hop *, Args *, HopList);
Arg    hop_list(Hop *, const Args *);
/* The derivative of a sub-graph, with a name of its own. */
Graph *hop_derivative(Hop *, Graph *, const Flags *wrt, const Flags *open, bool also);
bool   hop_unalias(Graph *, bool copied);                            /* clones, where PyTorch has them */
bool   hop_scanform(Node *scan);                                     /* afterwards, of those here and of their derivatives */
Node  *hop_add(Graph *, const char *op, const Arg *, int narg, Node *before);   /* of one result */
Node  *hop_make(Hop *, const char *op, const Arg *, int narg, int nout);
Val   *hop_make1(Hop *, const char *op, const Arg *, int narg);
Val   *hop_make1with(Hop *, const char *op, const Arg *, int narg, const char *key, Arg with);
Val   *hop_zeros(Hop *, const Val *like);
void   hop_give(Hop *, const Arg *operand, Val *grad);
void   hop_reorder(Graph *, Val *const *, int n);                    /* parameters as v[] has them */

/* A while loop's derivative as a while loop, as PyTorch makes it (whilegrad.c). */
bool   hop_whilegrad(Hop *);
bool   hop_whileforward(Node *keep);
bool   hop_flexgrad(Hop *);                                          /* flexgrad.c */
#endif
