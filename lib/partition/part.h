/* part.h - what the files of the partitioner share.
 *
 *   optype.c    what PyTorch's lists say of an operator (oplist.def)
 *   region.c    bodies that are called: cut before their caller
 *   tidy.c      before the cut: dead nodes, equal nodes, tags of checkpointing
 *   fx.c        the joint graph as FX sees it; what belongs to forward, what to backward
 *   weigh.c     what a value costs, what may not be recomputed
 *   flow.c      the minimum cut of a network
 *   mincut.c    the network of a graph, its cut
 *   budget.c    which cut fits a budget of memory
 *   knapsack.c  which of the expensive values are worth their bytes
 *   lists.c     operators by kind and values to save, as users give them
 *   default.c   the other partitioner: saves what the forward part hands on
 *   extract.c   two modules out of one
 *   order.c     the backward part in the order of autograd
 *   hooks.c     saved tensors packed for the time between
 *   packing.c   the nodes that pack and unpack them
 *   remat.c     checkpointed regions of a graph that is not cut
 *   explain.c   why
 *   partition.c the whole
 */
#ifndef PART_H
#define PART_H
#include "partition/partition.h"

/* ---- operators ------------------------------------------------------------- */

enum { OpRecompute = 1, OpRandomList = 2, OpIntensive = 4, OpViewList = 8 };
struct OpLists { unsigned given; Map type; };  /* given: Op... that are replaced; type: packet -> Op... */
unsigned optype(const Module *, const OpDef *, const OpLists *);
bool    packet_known(Str packet);
static inline bool optype_fusible(unsigned t) { return (t & (OpRecompute | OpRandomList)) != 0; }
bool    op_draws(const Node *);                /* random, and not known to draw nothing (dropout_p 0) */
bool    op_is(const OpDef *, const char *packet);
double  node_flops(const Node *);              /* multiplications and additions of products, at least 1 */
int64_t sym_hint(const Sym *);                  /* the value that is assumed for a size */
int64_t type_bytes(Ctx *, const Type *);        /* of a tensor, by hints */

/* ---- the graph as FX sees it ------------------------------------------------- */

/* A node of PyTorch's graph: a placeholder, a node with its one result, a node of several
 * results as a whole, or one of these results that is used (a getitem).  In order: users
 * come later. */
typedef struct Fx {
	Node *node;
	Val  *val;              /* NULL: a node of several results, or of none */
	int   tuple;            /* of a getitem: the node that it takes from; else -1 */
	int   user, nuser;      /* Joint.user[user .. user+nuser-1], each once, ascending */
	bool  output;           /* the output node reads it */
	bool  primal, tangent, sym, live;
	bool  stat;             /* a parameter or buffer: free to save */
	bool  epilogue;         /* an input that PyTorch's caller writes after the forward part; ours is written by it */
	bool  fw, bw, closure;  /* needed by forward's results; by backward's; depends on a tangent */
	unsigned type;          /* Op... */
	int   order;            /* among those with fw */
	int   dist;             /* steps to what is not fw; Far: never */
	int   root;             /* whose memory it is in; -1: it has none */
	int64_t bytes;          /* symbolic sizes by their hints */
} Fx;
enum { Far = 1000000000 };

typedef struct Joint {
	Module *m;
	Graph  *g;
	Ctx    *cx;
	Arena  *a;              /* of the pass */
	const PartOptions *o;
	Fx     *v;
	int     n;
	int    *user;
	int    *of;             /* by value id: its Fx; -1 */
	int    *first;          /* by node id: its Fx (the tuple, if it has one); -1 */
	Map     held;           /* Sym -> Val, the first value that is that size */
} Joint;

Joint  *joint_new(Module *, Arena *, const PartOptions *);
bool    fx_fusible(const Joint *, int a, int b);
bool    fx_mustrecompute(const Fx *);
bool    res_isgrad(const Output *);
bool    op_mutable(const OpDef *);

/* Calls fn for the Fx of everything that a node reads, sizes included; may repeat. */
void    node_reads(const Joint *, const Node *, void (*fn)(void *, int), void *arg);

/* remat.c */
bool    remat(Module *);
/* region.c */
bool    regions(Module *, Arena *, const PartOptions *);
/* tidy.c */
bool    tidy(Module *, bool mincut);
bool    tidy_tags(Module *, bool isdefault);

/* ---- cuts -------------------------------------------------------------------------- */

typedef struct Bans { bool far, chains, material, allowlist, reduction; int dist; } Bans;   /* dist: bans beyond; 0 */

typedef VEC(int) Ints;

typedef struct Cut {
	Ints  saved;            /* in order */
	Ints  banned;           /* in the order in which they were */
	const char **why;       /* by Fx: why it may not be recomputed; NULL */
	const char **cannot;    /* by Fx: why it may not be saved; NULL */
	int64_t *weight;        /* by Fx; -1: infinite */
	int64_t  flow;
} Cut;

const char *ban_reason(const Joint *, int, const Bans *);
void    ban_far(Joint *, const Bans *, Cut *, bool (*ban)(void *, int, const char *), void *arg);
int64_t fx_weight(const Joint *, int, const char **cannot);

void    cut_empty(const Joint *, Cut *);
const bool *cut_needs(const Joint *, const Ints *saved);       /* by Fx: backward reads it, or computes it again */
double  cut_flops(const Joint *, const Ints *saved);           /* work that backward repeats */
int64_t cut_bytes(const Joint *, const Ints *saved);           /* that forward hands over: all that is not there already */

/* false: reported */
bool    mincut(Joint *, const Bans *, const bool *dontban, Cut *);
bool    choose(Joint *, Cut *);
void    choose_default(Joint *, Cut *);
bool    choose_named(Joint *, Cut *);

/* knapsack.c: what to keep so that the work of the rest is least; in order of size. */
typedef struct Item { int fx, at; double memory, work; } Item;   /* memory: part of the budget's unit */
bool    knapsack(const Joint *, const Item *, int n, double budget, bool *save);

/* flow.c: edges are added, then solved once. */
typedef struct Flow Flow;
Flow   *flow_new(Arena *, int nvertex);
void    flow_edge(Flow *, int from, int to, int64_t cap);      /* cap < 0: infinite */
/* Which side each vertex is on, as close to the sink as may be; NULL: there is a path of infinite capacity. */
const bool *flow_solve(Flow *, int source, int sink, int64_t *flow);
int     flow_path(Flow *, int source, int sink, int *path);    /* that path; its length */

/* ---- the parts ------------------------------------------------------------------------ */

int    *extract(Joint *, const Ints *saved);   /* whose memory each input of backward was in; -1 */
void    extract_none(Module *);
void    inputs_sort(Module *);                 /* placeholders in the order of the inputs */
void    order_backward(Module *, FILE *info);
bool    pack_saved(Joint *);                   /* hooks.c */
typedef VEC(Val *) Vals;
bool    packs_smaller(const Joint *, const Type *);            /* packing.c */
bool    packing_pack(Joint *, Val *, Vals *result);
Val    *packing_unpack(Joint *, const Val *, const Vals *);
bool    packing_expand(Graph *, uint32_t from, Arena *);
void    explain_cut(const Joint *, const Cut *, enum cutform, Text *);
void    explain_saved(const Joint *, const Cut *, FILE *);
bool    explain_path(const Joint *, const Cut *, const int *path, int n);
#endif
