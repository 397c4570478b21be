/* hop.h - higher-order operators that stay in the graph (hop.c). */
#ifndef HOP_H
#define HOP_H
#include "ir/ir.h"

enum hopkind { HopNone, HopCond, HopSwitch, HopWhile, HopWhileStack, HopWhileKeep, HopMap, HopScan, HopAssociative, HopInvoke, HopPrint, HopEffects, HopCustom, HopFunction, NHop };
enum { MaxHopGraphs = 64, MaxHopOperands = 512 };

typedef struct HopList { const Arg *v; int n; } HopList;

enum hopkind hop_kind(const OpDef *);
int     hop_graphs(const Node *, Graph *g[MaxHopGraphs]);   /* its sub-graphs in order: how many */
HopList hop_operands(const Node *);                 /* of cond, switch, invoke_subgraph */
HopList hop_carried(const Node *);                  /* of loops: first values of what is carried */
HopList hop_rows(const Node *);                     /* what loops cut into rows */
HopList hop_rest(const Node *);                     /* the same in every round */
const Sym *hop_length(const Node *);                /* rounds of map and scan; NULL: nothing is cut */
const Type *hop_rowtype(Ctx *, const Type *);
HopList hop_results(const Graph *);
int     hop_params(const Graph *, Val **, int most);/* placeholders in order: how many */
bool    hop_isloop(const Node *);                   /* it runs a sub-graph again and again */
bool    hop_isreverse(const Node *);                /* a scan from the last row to the first */
bool    hop_infer(Node *);
bool    hop_draws(const Graph *);                   /* random numbers */
bool    hop_nodedraws(const Node *);
/* In sub-graphs what is drawn depends on the round of the loops around: a symbol, 0 outside of loops. */
const Sym *hop_round(Ctx *);
const Sym *hop_roundof(Ctx *, const Sym *outer, const Sym *k);      /* in round k of a loop in round `outer` */
int64_t hop_roundnum(int64_t outer, int64_t k);
/* What print writes: characters, and tensors; sizes are resolved.  false: reported. */
typedef struct HopText { VEC(const Sym *) num; VEC(Val *) val; } HopText;
bool    hop_text(const Node *, HopText *);
void    hop_adopt(Module *, Graph *);               /* g and the sub-graphs in it are of the module */

/* Run one (hopinterp.c).  call runs a sub-graph on tensors; a number is a tensor of rank 0. */
typedef struct HopRun {
	void *run;
	bool (*call)(void *run, Graph *, const Tensor *in, int nin, Tensor *out, int nout, Arena *);
	bool (*value)(void *run, const Node *, const Arg *, Tensor *, Arena *);   /* of an argument */
	int64_t *round;                                   /* of random numbers: set before each call */
} HopRun;
bool    hop_interp(Node *, const HopRun *, Tensor *out, Arena *);
#endif
