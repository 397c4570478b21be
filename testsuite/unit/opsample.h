/* opsample.h - the `sample` lines of operators as nodes and tensors. */
#ifndef OPSAMPLE_H
#define OPSAMPLE_H
#include "ir/ir.h"

enum { MaxIn = 32 };

/* One case: a graph of one node, and values for its placeholders. */
typedef struct Sample {
	Ctx *cx;
	Arena *a;
	const OpDef *op;
	const char *text;
	bool f64;              /* floats of the text become f64 */
	bool symbolic;         /* sizes above 1 become variables, one for each size */
	Module *mod;
	Graph *g;
	Node *node;
	Val *val[MaxIn];       /* placeholders' values */
	Tensor in[MaxIn];
	int param[MaxIn];      /* which parameter of the schema */
	int nin;
	bool unfit;            /* the case is for another overload of its block */
	uint64_t seed;
} Sample;

/* Makes g, its placeholders and the node, inferred; no output node yet. */
bool sample_make(Sample *, Ctx *, const OpDef *, const char *text, bool f64, bool symbolic);
/* The output node: all results of the node, then more[]. */
void sample_output(Sample *, Val *const *more, int n);
double sample_random(uint64_t *seed);        /* in [0,1) */
double sample_tolerance(enum dtype);                /* how far off a result may be, relative */
bool   sample_near(double, double, double tol);     /* NaN is near NaN */
#endif
