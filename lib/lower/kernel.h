/* kernel.h - the loop IR and the plan: what lower makes and printers print.
 *
 * A Kernel is a flat array of typed instructions in program order, SSA but for
 * Var/Get/Set.  Control is structured: Loop..End and If..End bracket what is
 * inside.  An operand is the index of an earlier instruction; 0 is none.  A
 * value has a dtype and `lanes` (1, or the vector width).  Memory is reached
 * through buffers alone, at element indices (i64).  There are no pointers, no
 * calls but libm's, no types of one target: LLVM, C99 and CUDA print the same.
 *
 * Kernels come out of lower with their lanes already: where a loop runs over the
 * lanes of vectors it steps by W and is followed by a masked iteration (or scalar
 * ones) for the rest.  For a target without vectors (vecbytes 0: C99) W is 1.
 */
#ifndef KERNEL_H
#define KERNEL_H
#include "ir/ex.h"

typedef uint32_t KRef;                 /* index into Kernel.ins; 0: none */

enum loopkind { LoopSerial, LoopParallel, LoopVector, LoopUnroll, LoopGrid, LoopBlock };

enum kop {
	KNop,
	KConst,      /* dt; i or f; lanes may be W: a splat */
	KSize,       /* i64 value of sym[i] of the kernel: a run-time size */
	KLoop,       /* a = first, b = end (i64, exclusive), step = i; value: the index (i64). kind in sub. */
	KIf,         /* a = b8 scalar */
	KEnd,        /* closes the innermost KLoop or KIf; a = its opener */
	KVar,        /* a mutable register, a = first value */
	KGet,        /* a = KVar: what it holds now */
	KSet,        /* a = KVar, b = value */
	KLoad,       /* buf; a = element index: i64 scalar (lanes > 1: consecutive elements),
	                or i64 vector (gather); b = mask b8 of the same lanes or 0; unmasked lanes read 0 */
	KStore,      /* buf; a = index (scalar or vector), b = value, c = mask or 0 */
	KScalar,     /* sub = enum scalar; a, b, c: operands, all of the right dtype and lanes */
	KCast,       /* a as dt, as ExCast */
	KBits,       /* a's bits as dt */
	KSplat,      /* a scalar to all lanes */
	KIota,       /* 0, 1, 2 ... lanes-1 as dt */
	KReduce,     /* sub = enum fold (not Arg*): all lanes of a to one scalar */
	KLane,       /* lane i of a */
	KZip,        /* lanes of a and b in turn: of their lower halves (i = 0) or the upper ones (1) */
	KRandom,     /* u32 of philox4x32-10(key = seed, counter = a (i64), stream i) */
	KPrefetch,   /* buf, a */
	NKop
};

typedef struct KIns {
	uint8_t op, dt, lanes, sub;
	uint16_t buf;
	KRef a, b, c;
	union { int64_t i; double f; };
} KIns;

/* A buffer of a kernel.  Param: the caller passes a pointer.  Stack: a small array
 * that lives in the kernel (fixed size).  Scratch: private to one run of the parallel
 * loop's range, from the arena: the plan gives each worker its own. */
enum khome { KParam, KStack, KScratch };
typedef struct KBuf {
	Str   name;
	enum dtype dt;
	enum khome home;
	bool  written, read;
	bool  alias;           /* may overlap another Param: no noalias */
	int32_t align;         /* bytes that its start is aligned to */
	int64_t count;         /* KStack: elements */
	const Sym *size;       /* KScratch: elements */
} KBuf;

typedef struct Kernel {
	Str   name;            /* "k3_add_gelu" */
	VEC(KIns) ins;         /* ins.v[0] is a KNop */
	VEC(KBuf) buf;         /* params first */
	VEC(const Sym *) sym;  /* variables that KSize reads */
	const Sym *parallel;   /* extent of the outermost loop, run as [begin,end) by workers; NULL: not parallel.
	                          That loop is the first KLoop, of kind LoopParallel; printers replace its bounds. */
	int64_t grain;         /* least iterations worth a worker */
	Str   doc;             /* what it computes, for dumps */
	VEC(Node *) from;      /* graph nodes that it came from */
	int64_t flops, bytes;  /* estimates */
} Kernel;

/* ---- the plan ---------------------------------------------------------------- */

enum home { HomeInput, HomeOutput, HomeConst, HomeState, HomeArena, HomeScratch, HomeSaved, HomeWeight, HomeFault };   /* Saved: in the buffer from forward to backward.  Weight: may be replaced.
	                     Fault: of the run: 1, an index that was out of range, the size that it had to be below */
typedef struct Buf {
	Str   name;
	enum home home;
	enum dtype dt;
	int   index;           /* HomeInput: which of Module.in; HomeOutput: which of Module.out; HomeState, HomeWeight: which of Module.in;
	                          HomeSaved: which of Module.out (forward), of Module.in (backward) */
	const Sym *count;      /* elements */
	const Sym *offset;     /* HomeArena, HomeScratch: bytes from the start of the arena */
	int   first, last;     /* steps between which it lives */
	const uint8_t *data;   /* HomeConst, HomeState: first value (bytes = count*width) */
	const Weight *weight;  /* HomeConst, HomeState: the unchanged weight it is, or NULL (folded or packed) */
} Buf;

/* StepSpread: buf[0], row-major, to buf[1], which has strides: num is the sizes, then those. */
enum stepkind { StepKernel, StepExtern, StepCopy, StepSize, StepJump, StepSpread };
typedef struct Step {
	enum stepkind kind;
	Kernel *kernel;
	Str   fn;                        /* StepExtern: "sort" */
	Str   symbol;                    /* ... "custom": the user's C function; else NULL */
	int  *buf; int nbuf;             /* indices into Plan.buf, in the order of kernel params / extern: operands, results, scratch */
	const Sym *const *num; int nnum; /* StepExtern: integers; StepCopy: none, or where from, where to, how many elements */
	const double *real; int nreal;
	const Sym *define;               /* StepSize and extern: the symbol that it gives a value (nonzero -> u0), or NULL */
	int   result0, nresult;          /* StepExtern: where its results are in buf */
	int   scratch0, nscratch;        /* per-worker scratch buffers (HomeScratch) of the kernel, in buf order */
	Loc   loc;
	Str   assertion;                 /* StepSize with define NULL: num[0] must not be 0, else this message */
	int   target;                    /* StepJump: to this step if the integer in buf[0] (none: num[0]) is the last num; always if there is none */
	bool  called;                    /* copied from the plan of a sub-graph */
} Step;

typedef struct Plan {
	Module *mod;
	Str   name;
	VEC(Kernel *) kernel;            /* each once; steps may share one */
	VEC(Step) step;
	VEC(Buf) buf;
	const Sym *arena;                /* bytes */
	VEC(const Sym *) sym;            /* run-time sizes in the order of their values */
	int   maxwork;                   /* workers that scratch was planned for */
	Text  inplace;                   /* what is computed where it will lie, and what is not: -fdump-reinplace */
	VEC(struct PlanLoop { int head; int end; }) loop;   /* steps that may run more than once */
} Plan;

typedef struct Target {              /* a row of target.def */
	const char *name;        /* "x86-64-v3" */
	const char *cpu, *features;
	int  vecbytes;           /* 16, 32, 64; 0: scalar (C99) */
	int  nreg;               /* vector registers */
	int  mr, nv;             /* microkernel: rows, vectors */
	int  l1, l2;             /* bytes */
	bool gather, masked;     /* cheap gathers, masked stores */
} Target;
extern const Target targettab[]; extern const int ntarget;
const Target *target_find(const char *name);

typedef struct LowerOptions {
	const Target *target;
	int  threads;            /* workers to plan scratch for; 1: serial */
	bool fastmath, nofuse, nopack, novector, noreinplace;
	bool keepweights;        /* weights stay in their own form and are packed at load (-fweights=extern) */
	bool noscalarchecks;     /* -fassert=no-scalar: what is asserted of numbers that the run finds is believed */
	int64_t maxrounds;       /* -fmax-iterations: of a while loop; 0: any number */
	struct Subplans *subplans; /* plans of sub-graphs (planning.h); NULL: none yet */
	FILE *info;              /* -fopt-info-fuse: why two nodes were (not) fused; NULL */
} LowerOptions;

/* fuse, loops, tile, vectorise, plan: the passes of lower, run in this order by cmd/passes.def. */
typedef struct Fusion Fusion;        /* groups of nodes (fuse.h) */
Plan *lower_graph(Graph *, const LowerOptions *);    /* all of it */
void  plan_print(const Plan *, Text *);              /* -S=loops */
void  kernel_print(const Kernel *, Text *);
bool  kernel_verify(Ctx *, const Kernel *);
#endif
