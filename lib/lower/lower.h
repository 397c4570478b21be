/* lower.h - what the passes of lower share.
 *
 * fuse.c   decides which values live in memory (Roots) and inlines the rest
 * group.c  gathers roots that share their outer loops into one kernel
 * nest.c   writes a group as loops, gen.c the expressions inside, fold.c folds
 * contract.c, pack.c, panel.c, tile.c  sums of products on register tiles
 * flash.c, flashback.c, flashtile.c  attention in blocks
 * plan.c   buffers, memory, steps
 *
 * From nest.c on, an ExLoad has one index: the element of its buffer.
 */
#ifndef LOWER_H
#define LOWER_H
#include "lower/kernel.h"

/* A value that lives in memory, and how its elements are computed. */
typedef struct Root {
	Val  *val;
	Low   low;
	int   n;                         /* dimensions of its domain: those of val */
	const Sym *const *i, *const *ext;
	const Ex *e;                     /* element at i[], producers inlined (LowElement, LowScan, LowScatter) */
	const Ex *put, *putif, **at;     /* LowScatter: as in low, producers inlined; at: ExIndex each */
	const Ex **part;                 /* LowBlocks: as in low, producers inlined */
	const Ex *contraction;           /* the fold in e that is one, or NULL */
	int   group;
	bool  alone;                     /* in a group of its own: sizes come from it */
	bool  escapes;                   /* read outside its group: must be stored */
	bool  started;                   /* LowScatter: its buffer holds the value that it begins with */
} Root;

typedef struct Lower {
	Ctx   *cx;
	Graph *g;
	Arena *a;                        /* lives as long as the plan */
	LowerOptions opt;
	Low   *low;                      /* by val id; LowNone: a leaf or no tensor */
	Root **rootof;                   /* by val id: NULL if inlined or a leaf */
	VEC(Root *) root;                /* in program order */
	uint8_t *isout;                  /* by val id: a result of the graph */
	Plan  *plan;
	int   *bufof;                    /* by val id: index in plan->buf, -1 */
	int    nkernel;
	Val   *fault;                    /* stands for the buffer that tells of an index out of range; NULL: not needed yet */
	/* Sizes found as the model runs: the symbol, and the value that must be known before. */
	VEC(struct Found { const Sym *sym; Val *from; Node *item; }) found;   /* item: NULL for an extern's own */
} Lower;

/* A few small things that several chapters need. */
const Sym *numel_of(Ctx *, const Sym *const *ext, int n);
const Sym *linear_index(Ctx *, const Type *, const Sym *const *idx);  /* with the strides of the type */
const Type *storage_type(Lower *, Val *);         /* of a leaf with a weight: as the weight lies */
bool       sym_computed(Lower *, const Sym *);    /* has it a variable that stands for an expression? */
bool       ex_hasfold(const Ex *);
bool       ex_hasload(const Ex *);
bool       ex_iszero(const Ex *);
/* Every Sym that e uses: indices, extents, numbers; folds' bodies included. */
void       ex_syms(Ctx *, const Ex *e, void (*fn)(void *, const Sym *), void *arg);
const Ex  *ex_subst1(Ctx *, const Ex *, const Sym *var, const Sym *with);
/* e as gen.c wants it.  Loads below a select happen only where its condition
 * holds: each becomes select(cond, load, 0), a masked load.  Functions of f32
 * that the tables define are replaced by their definitions. */
const Ex  *ex_ready(Lower *, const Ex *);

/* ---- fuse.c, group.c ------------------------------------------------------- */

bool fuse_roots(Lower *);
void root_each(const Root *, void (*fn)(void *, const Ex *), void *arg);   /* every expression of it */

/* Roots computed by one kernel, in order.  The first nouter loops are common. */
typedef struct Member {
	Root *root;
	const Sym *const *outer;         /* its own variables for the group's outer loops */
} Member;
typedef struct Group {
	int   id;
	int   nouter;
	const Sym **ext;                 /* extents of the outer loops */
	VEC(Member) mem;
	uint64_t *needs;                 /* bit set of groups that must run before */
	bool  alone;                     /* contraction, scan, scatter, extern: takes no further members */
} Group;
typedef struct Groups { VEC(Group *) v; } Groups;
bool group_roots(Lower *, Groups *);

/* Elements in another order than any weight or value has them: val.def is NULL. */
typedef struct Packed {
	Val   val;                       /* first: a Val * of a Gen may be one of these */
	const uint8_t *data;             /* NULL: a kernel of the contraction makes them */
	int   buf;                       /* ... and this is the number of the buffer + 1 */
} Packed;

/* ---- gen.c: expressions to instructions ------------------------------------- */

typedef unsigned __int128 Vset;          /* a set of loop variables */
enum { MaxVars = 128 };

typedef struct Scope { Map memo; } Scope;

typedef struct Gen {
	Lower  *lo;
	Ctx    *cx;
	Arena  *a;
	Kernel *k;
	int     W;                       /* lanes of a vector loop; 1: none */
	Vset    bound;                   /* variables that have a value here */
	Vset    local;                   /* what loads of the kernel's own buffers depend on: its outer variables */
	Vset    vec;                     /* the one that runs over lanes, or empty */
	const Sym *vecvar;
	int     lanes;                   /* of the loop being written: 1 when vec is empty */
	KRef    mask;                    /* lanes that exist (tail iteration), 0: all */
	VEC(const Sym *) var;            /* bit i of a Vset */
	VEC(Scope) scope;
	Map     fv;                      /* Ex, Sym -> Vset * */
	Map     varbit;                  /* Sym variable -> bit + 1 */
	Map     bufval;                  /* Val -> buffer + 1 */
	VEC(Val *) bufs;                 /* the value behind each KParam */
} Gen;

Gen  *gen_new(Lower *, Str name);
KRef  gen_ins(Gen *, KIns);
KRef  gen_int(Gen *, enum dtype, int64_t);
KRef  gen_float(Gen *, enum dtype, double);
KRef  gen_op(Gen *, enum scalar, enum dtype, KRef a, KRef b, KRef c);  /* lanes made equal */
KRef  gen_cast(Gen *, enum dtype, KRef);
KRef  gen_splat(Gen *, KRef, int lanes);
KRef  gen_add(Gen *, KRef a, KRef b);            /* i64 */
KRef  gen_mul(Gen *, KRef a, KRef b);
KRef  gen_var(Gen *, KRef first);
KRef  gen_get(Gen *, KRef var);
void  gen_set(Gen *, KRef var, KRef value);
KRef  gen_ramp(Gen *, int lanes);                /* 0, 1, 2 ... as i64 */
KRef  gen_loop(Gen *, enum loopkind, KRef from, KRef to, int64_t step);
void  gen_end(Gen *, KRef loop);
int   gen_buf(Gen *, Val *);                     /* the parameter that holds val */
int   gen_localbuf(Gen *, Val *, Str name, enum dtype, enum khome, int64_t count, const Sym *size);
void  gen_bind(Gen *, const Sym *var, KRef);     /* in the scope at hand */
void  gen_unbind(Gen *, const Sym *var);
void  gen_declare(Gen *, const Sym *var);        /* gives it a bit */
void  gen_push(Gen *);
void  gen_pop(Gen *);
Vset  gen_fv(Gen *, const Ex *);
Vset  gen_fvsym(Gen *, const Sym *);
Vset  gen_bit(Gen *, const Sym *var);
KRef  gen_sym(Gen *, const Sym *);               /* scalar i64 (f64); lane 0 where it varies */
KRef  gen_ex(Gen *, const Ex *);                 /* lanes 1 if it does not vary */
void  gen_hoist(Gen *, const Ex *);              /* emit here whatever of e is ready */
void  gen_hoistsym(Gen *, const Sym *);
void  gen_store(Gen *, int buf, const Sym *index, const Ex *value);
void  gen_put(Gen *, Val *, const Sym *index, KRef value);
void  gen_remember(Gen *, const void *key, KRef);
KRef  gen_recall(Gen *, const void *key);

/* Run body for var = 0..ext-1: by vectors with a tail if vector, else one by one. */
void  gen_for(Gen *, const Sym *var, const Sym *ext, bool vector, void (*body)(Gen *, void *), void *arg);
/* The same over from..to-1 */
void  gen_range(Gen *, const Sym *var, KRef from, KRef to, const Sym *ext, bool vector, void (*body)(Gen *, void *), void *arg);

/* check.c: indices that the model computes. */
void  check_low(Lower *, Val *);                 /* what the element of val reads and writes by such gets ExChecks */
KRef  gen_check(Gen *, const Ex *);

/* The parallel loop (serial if there is one thread): its index is split into those of var[], the last fastest. */
KRef  gen_tasks(Gen *, const Sym *const *var, const Sym *const *ext, int n);

/* fold.c: several folds over equal extents at once */
void  gen_folds(Gen *, const Ex **fold, int n);

/* nest.c: a group's members over common outer variables, ready for code. */
typedef struct Piece {
	Root *root;
	Val  *val;                       /* what is stored: root's, or a row buffer of the kernel */
	const Ex  *e;
	const Sym *at;                   /* where, in elements */
	int   nin;
	const Sym **in, **ext;           /* inner variables: inside the outer loops */
} Piece;
typedef struct Nest {
	Lower *lo;
	Gen   *g;
	int    nouter;
	const Sym **outer, **ext;
	VEC(Piece) piece;
} Nest;
Nest  *nest_prepare(Lower *, Group *);           /* inlines what stays inside, collapses loops */
Kernel *nest_kernel(Lower *, Group *, Gen **gen);
const Ex *nest_linear(Lower *, const Ex *);      /* loads get element offsets */
Str    nest_name(Lower *, Group *);
void   nest_from(Nest *, Group *);               /* fills in kernel->from, doc */
bool   nest_collapse(Ctx *, const Sym *const *sym, int n, const Sym *a, const Sym *b, const Sym *extb);
int    gen_lanes(Nest *);
/* how e moves when var goes up by one, over all its loads: counts */
typedef struct Moves { int loads, still, next, jump; } Moves;
void  ex_moves(Gen *, const Ex *, const Sym *var, Moves *);

/* special.c: scans and scatters, each alone in its kernel */
Kernel *scan_kernel(Lower *, Root *, Gen **gen);
Kernel *scatter_kernel(Lower *, Root *, Gen **gen);

/* flash.c: attention in blocks, all results of a node */
Kernel *flash_kernel(Lower *, Root *, Gen **gen);

/* contract.c: false: not such a thing, or not worth it (nothing written) */
bool  contract_find(Lower *, Root *);
typedef struct Made { Kernel *k; Gen *g; } Made;
enum { MaxMade = 3 };
int   contract_kernels(Lower *, Group *, Made[MaxMade]);    /* how many, in order; 0: write it as plain loops */

/* reinplace.c: v, the new value of leaf, may be computed where leaf lies. */
bool  reinplace(Lower *, const Groups *, Val *v, Val *leaf);

/* plan.c */
bool  plan_build(Lower *, Groups *);

/* kinterp.c: run a kernel by interpreting it; buf[] as its parameters.  For tests. */
bool  kernel_run(const Kernel *, void **buf, const int64_t *sym, int64_t begin, int64_t end);
#endif
