/* planning.h - what plan.c and flow.c share: a plan being made. */
#ifndef LOWER_PLANNING_H
#define LOWER_PLANNING_H
#include "lower/lower.h"

typedef struct Planning {
	Lower *lo;
	Plan  *plan;
	Module *m;
	uint8_t *checked;        /* by guard of the module: a step checks it */
} Planning;

/* Plans of sub-graphs, each made once: what calls it copies its steps, which share its kernels. */
typedef struct Subplans {
	Module *mod;                                 /* the program that they belong to */
	VEC(struct Subplan { Graph *g; Plan *plan; }) v;
	int depth;
} Subplans;

int   plan_addbuf(Planning *, Buf);
int   plan_bufof(Planning *, Val *);                 /* -1: reported */
Step *plan_addstep(Planning *, enum stepkind, Loc);
void  plan_setbufs(Planning *, Step *, const int *buf, int n);   /* of the step that was added last */
/* reinplace.c: scatters into what another kernel made work in its buffer. */
void  reinplace_chains(Planning *, const Groups *);
/* flow.c: the steps of a higher-order operator. */
bool  flow_steps(Planning *, Node *);
void  flow_live(Planning *);                         /* before memory is assigned */
void plan_arena(Planning *);                 /* arena.c */
#endif
