/* model.h - an artifact as data: what the compiler emits beside kernels and weights.
 *
 * The tables are constant.  A run binds the free sizes from the shapes of the
 * inputs, checks everything at the door, and runs the steps of one version (the
 * best that this CPU can run).  Sizes and offsets are expressions in postfix:
 *     n, then n pairs (operation, number)
 */
#ifndef FXRT_MODEL_H
#define FXRT_MODEL_H
#include "fxcc_abi.h"
#include "rt.h"

/* Operations of size expressions.  The float ones work on doubles in the same slots. */
#define FXRT_EXPRS(X)                                                          \
	X(Const) X(Var) X(Real) X(Add) X(Mul) X(Div) X(Mod) X(Min) X(Max)      \
	X(Pow) X(Eq) X(Ne) X(Lt) X(Le) X(And) X(Or) X(Not) X(Where) X(Shl)     \
	X(Shr) X(ToFloat) X(TrueDiv) X(FAdd) X(FMul) X(FDiv) X(FPow) X(Sqrt)   \
	X(Exp) X(Log) X(Sin) X(Cos) X(Tan) X(Log2) X(Floor) X(Ceil) X(Trunc)   \
	X(Round) X(FEq) X(FNe) X(FLt) X(FLe) X(FMin) X(FMax)
enum fxrt_expr {
#define X(n) FxrtX##n,
	FXRT_EXPRS(X)
#undef X
	FxrtNX
};

typedef void fxrt_kernel(void *const *buf, const int64_t *sym, int64_t begin, int64_t end);

/* Saved: a tensor of the saved buffer.  Kept: an input of forward whose address is in that buffer. */
enum { FxrtHomeInput, FxrtHomeOutput, FxrtHomeConst, FxrtHomeState, FxrtHomeArena, FxrtHomeScratch, FxrtHomeSaved, FxrtHomeKept, FxrtHomeWeight, FxrtHomeFault };
enum { FxrtStepKernel, FxrtStepExtern, FxrtStepCopy, FxrtStepSize, FxrtStepJump, FxrtStepSpread };

typedef struct fxrt_buf {
	int32_t home, index;           /* index: of the port, state, saved tensor or kept input */
	int32_t dtype, width;          /* width: bytes of an element */
	const int64_t *count;          /* elements */
	const int64_t *offset;         /* arena: bytes */
	uint64_t konst;                /* const: bytes in model->konst */
} fxrt_buf;

typedef struct fxrt_step {
	int32_t kind, nbuf, nnum, nreal, nsym, define;   /* define: the symbol that it sets, -1; of a jump: the step to go to */
	const int32_t *buf;
	const int32_t *sym;            /* the kernel's sizes: indices of symbols */
	fxrt_kernel *kernel;
	fxrt_fn *ext;
	const int64_t *parallel;       /* extent, or NULL */
	int64_t grain;
	const int64_t *const *num;
	const double *real;
	const char *text;              /* what it computes; the message of an assertion */
} fxrt_step;

/* -fassert: a value that a step leaves in its buffer number pos. */
enum { FxrtAssertSize = 1, FxrtAssertAlign = 2, FxrtAssertNan = 4 };
typedef struct fxrt_made { int32_t step, pos; const char *name; } fxrt_made;

typedef struct fxrt_version {
	int32_t cpu;                   /* x86-64-vN that it needs; 0: any */
	int32_t nbuf, nstep, workers;
	const fxrt_buf *buf;
	const fxrt_step *step;
	const int64_t *arena;          /* bytes */
	const fxrt_made *made;         /* -fassert=nan: what to look at */
	int32_t nmade;
} fxrt_version;

/* A free size.  Bound from size dim of input in, which is mul*value + add; dim -1: from
 * the value of that input; FxrtStrideOf + d: from its stride d; in -1: by a step. */
enum { FxrtStrideOf = 16 };
typedef struct fxrt_sym { const char *name; int64_t lo, hi; int32_t in, dim; int64_t mul, add; } fxrt_sym;

enum { FxrtOwn, FxrtViewIn, FxrtViewState, FxrtViewOut };
enum { FxrtNeeded, FxrtZeros, FxrtOne };   /* what stands for an input that is not given */

/* An input or output of the entry points, in the order of the header. */
typedef struct fxrt_port {
	const char *name;
	int32_t dtype, rank;
	const int64_t *const *dim;
	const int64_t *const *stride;  /* what the code expects; NULL: row-major */
	const int64_t *value;          /* a size or number: its value; a tensor: NULL */
	int32_t alias;                 /* output: the input whose value it is, -1 */
	int32_t written;               /* input: 1 if it is written back */
	int32_t absent;                /* input: FxrtNeeded ... */
	int32_t optional;              /* output: may be NULL (gradients) */
	int32_t viewof, base;          /* output: no memory of its own, of which input, state or output it is a view */
	const int64_t *const *vstride; /* ... in elements */
	const int64_t *voffset;
	const struct fxrt_port *after; /* input: what the caller's tensor becomes, a view of it; NULL: what it was */
} fxrt_port;

typedef struct fxrt_guard { const int64_t *expr; const char *text; } fxrt_guard;

/* A buffer that the model changes, or a parameter that may be replaced; this is its first value. */
typedef struct fxrt_state { const char *name, *fqn; uint64_t konst, offset, bytes; } fxrt_state;

/* A tensor of the saved buffer, bytes from its start. */
typedef struct fxrt_saved { const int64_t *offset, *count; int32_t width, donated; } fxrt_saved;

/* A function of the library: its own arguments and steps; all else is shared. */
enum { FxrtForward, FxrtBackward, FxrtStep, FxrtFold };
typedef struct fxrt_entry {
	int32_t kind, nin, nout, nversion;
	const fxrt_port *in, *out;
	const fxrt_version *version;   /* best last; the same CPUs in every entry */
} fxrt_entry;

/* Copies of the weights that can be replaced: 0 the first values, 1 and 2 in turn. */
typedef struct fxrt_sets {
	volatile int32_t lock, active, building, stale;
	volatile int64_t users[3];         /* calls that read each */
} fxrt_sets;

typedef struct fxrt_own {              /* what the simple entry uses, zero at first */
	volatile int32_t lock, ready;
	void *ctx, *arena;
	uint64_t narena;
} fxrt_own;

/* Where constants outside the library are; NULL: not there yet. */
typedef struct fxrt_blob { const uint8_t *at; } fxrt_blob;
/* What their block begins with. */
typedef struct fxrt_blobhead { uint64_t magic, build, bytes, reserved[5]; } fxrt_blobhead;
#define FXRT_BLOB UINT64_C(0x6867696577637866)     /* "fxcweigh" */

struct fxrt_run;
typedef struct fxrt_model {
	const fxcc_module *module;
	const uint8_t *konst;          /* all constants; NULL: outside (fxrt_konst) */
	uint64_t signature, build;     /* build: what forward and backward share */
	uint64_t state, arena;         /* state: bytes of all states; arena: bytes of ownarena */
	int32_t nsym, nguard, nstate, nsaved, nkept, nentry;
	int32_t donates, checkalias;
	const fxrt_sym *sym;           /* of all entries; forward's arguments give the first */
	const fxrt_guard *guard;
	const fxrt_state *states;
	const fxrt_saved *saved;
	const int32_t *kept;           /* inputs of forward */
	const int64_t *savedsize;      /* bytes; NULL: no backward */
	const fxrt_entry *entry;       /* the first is forward */
	const fxcc_pool *(*pool)(void);    /* the library's own threads, or NULL */
	fxrt_own *own;
	void *ownctx, *ownarena;       /* static memory for them; NULL: from malloc */
	int32_t nweight, nplain;       /* weights that can be replaced; the first nplain are given, the others folded */
	const fxrt_state *weights;
	uint64_t weightat, nset, nfirst, nfold;    /* bytes: where their first values lie in konst, of a copy, of what lies in konst of it, of foldmem */
	fxrt_sets *sets;
	void *setmem, *foldmem;        /* two copies; arena of the fold entry */
	/* constants outside the library: */
	fxrt_blob *blob;
	const char *weightfile;        /* its name; NULL: the caller gives them */
	uint64_t nkonst;               /* bytes of all constants */
	int (*find)(const struct fxrt_model *, fxcc_error *);      /* NULL: they are inside */
	const int64_t *words;          /* of mt19937 that a forward call draws; NULL: each call takes 1 from the offset (philox) */
	int (*first)(const struct fxrt_model *, fxcc_error *);     /* computes the rest of the weights; NULL: nfirst is nset */
	int (*check)(struct fxrt_run *, int step, void *const *buf, int after);    /* fxrt_assert; NULL: none */
	int32_t asserts;                   /* FxrtAssertSize ... */
} fxrt_model;

/* What a saved buffer begins with; nsym sizes and nkept addresses follow, then the tensors. */
enum { FxrtFilled = 1, FxrtUsed = 2 };
typedef struct fxrt_head {
	uint64_t magic, build, bytes, key;
	volatile uint32_t state;
	uint32_t nsym;
	uint64_t base, reserved[2];    /* base: of the words of random numbers */
} fxrt_head;
#define FXRT_MAGIC UINT64_C(0x6465766173637866)    /* "fxcsaved" */

/* A context: made by init in the caller's memory. */
enum { FxrtMaxSym = 128, FxrtMaxRank = 16, FxrtMaxBuf = 512, FxrtAlign = 64 };
typedef struct fxrt_ctx {
	const fxrt_model *model;
	const fxcc_pool *pool;
	unsigned char *arena, *state, *ownstate;
	uint64_t narena;
	uint64_t seed, offset;
	fxrt_twister *twister;         /* two, if the model has `words`; else NULL */
	int32_t version;               /* of every entry; -1: none for this CPU */
	void *user;                    /* the caller's */
} fxrt_ctx;

/* A call in progress. */
typedef struct fxrt_run {
	fxrt_ctx *cx;
	const fxrt_entry *en;
	const fxrt_version *v;
	void *const *in, *const *out;
	unsigned char *saved;          /* NULL: none */
	unsigned char *weights;        /* the copy that this call reads */
	void *const *kept;
	uint64_t key, base;            /* of random numbers; base: words before it, if the model has `words` */
	int64_t sym[FxrtMaxSym];
	int64_t fault[3];              /* not 0: an index, [1], was not in 0..[2]-1 */
	fxcc_error *err;
	int bad;
} fxrt_run;

/* load.c */
int32_t fxrt_load(const fxrt_model *, const void *, size_t n, fxcc_error *);
int fxrt_find(const fxrt_model *, fxcc_error *);
static inline const uint8_t *
fxrt_konst(const fxrt_model *m)
{
	return m->konst || m->blob == NULL ? m->konst : __atomic_load_n(&m->blob->at, __ATOMIC_ACQUIRE);
}
/* expr.c */
int64_t fxrt_eval(const int64_t *expr, const int64_t *sym, int *bad);
/* run.c */
int fxrt_steps(fxrt_run *);
int fxrt_arena_check(const fxrt_ctx *, int64_t need, fxcc_error *);
/* assert.c */
int fxrt_assert(fxrt_run *, int step, void *const *buf, int after);
/* context.c */
const fxrt_entry *fxrt_entry_of(const fxrt_model *, int kind);
int fxrt_start(fxrt_run *, void *ctx, int kind, fxcc_error *);
int     fxrt_version_for(const fxrt_model *);
size_t  fxrt_ctx_bytes(const fxrt_model *);
fxrt_ctx *fxrt_ctx_make(const fxrt_model *, void *mem);
int64_t fxrt_round(int64_t bytes, int *bad);
int64_t fxrt_port_bytes(const fxrt_port *, const int64_t *sym, int *bad);
int64_t fxrt_forward_need(const fxrt_model *, int version, const int64_t *sym, int *bad);
int32_t fxrt_init(const fxrt_model *, void *mem, size_t n, uint64_t signature, const fxcc_config *, void **ctx, fxcc_error *);
int32_t fxrt_bind(void *ctx, void *state, size_t n, fxcc_error *);
int32_t fxrt_reset(void *ctx, fxcc_error *);
int32_t fxrt_seed(void *ctx, uint64_t seed, uint64_t offset, fxcc_error *);
int32_t fxrt_rng(void *ctx, uint64_t *seed, uint64_t *offset, fxcc_error *);
void    fxrt_fini(void *ctx);
void  **fxrt_user(void *ctx);
void   *fxrt_state_of(void *ctx, int32_t i);
void   *fxrt_state_named(void *ctx, const char *name);
int32_t fxrt_arena_need(const fxrt_model *, const int64_t *const *shape, size_t *arena, size_t *saved, fxcc_error *);
size_t  fxrt_arena_size(const fxrt_model *, const int64_t *size);
size_t  fxrt_saved_size(const fxrt_model *, const int64_t *size);
int32_t fxrt_out_shape(const fxrt_model *, const int64_t *const *in, int64_t *const *out, fxcc_error *);
/* view.c */
void    fxrt_copy_views(fxrt_run *);
void    fxrt_set_views(fxrt_run *, DLTensor *const *out);
int     fxrt_check_view(fxrt_run *, int i, const DLTensor *);
int32_t fxrt_out_view(const fxrt_model *, const int64_t *const *in, int32_t out, int32_t *base, int64_t *offset, int64_t *stride, fxcc_error *);
int32_t fxrt_in_after(const fxrt_model *, const int64_t *const *shape, int32_t in, int32_t *ndim, int64_t *size, int64_t *stride, int64_t *offset, fxcc_error *);
/* forward.c */
unsigned char *fxrt_weights_at(const fxrt_model *, int copy);
int  fxrt_weights_enter(fxrt_run *);
int  fxrt_weights_first(const fxrt_model *, fxcc_error *);
void fxrt_weights_leave(const fxrt_model *, int copy);
int32_t fxrt_forward(void *ctx, const DLTensor *const *in, DLTensor *const *out, void *saved, fxcc_error *);
int32_t fxrt_forward_struct(void *ctx, const void *args, void *saved, fxcc_error *);
int  fxrt_simple(const fxrt_model *, const int64_t *size, const void *const *in, void *const *out);
/* backward.c */
int32_t fxrt_backward(void *ctx, void *saved, const DLTensor *const *gout, DLTensor *const *gin, uint32_t accumulate, fxcc_error *);
int32_t fxrt_backward_struct(void *ctx, void *saved, const void *args, fxcc_error *);
/* flow.c */
int  fxrt_jumps(const fxrt_version *, const fxrt_step *, void *const *buf, const int64_t *sym, int *bad);
void fxrt_spread(const fxrt_version *, const fxrt_step *, void *const *buf, const int64_t *sym, int *bad);
void fxrt_copy_part(const fxrt_version *, const fxrt_step *, void *const *buf, const int64_t *sym, int *bad);
/* weights.c */
int32_t fxrt_weight_set(const fxrt_model *, const char *name, const void *data, size_t n, fxcc_error *);
int32_t fxrt_weight_get(const fxrt_model *, const char *name, void *data, size_t n, fxcc_error *);
int32_t fxrt_weight_fold(const fxrt_model *, fxcc_error *);
int32_t fxrt_weight_swap(const fxrt_model *, fxcc_error *);
/* step.c */
int32_t fxrt_update(void *ctx, const DLTensor *const *gin, double lr, fxcc_error *);
int32_t fxrt_update_struct(void *ctx, const void *args, double lr, fxcc_error *);
/* door.c */
int fxrt_fail(fxcc_error *, int code, const char *name, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int fxrt_check_sizes(const fxrt_model *, const int64_t *sym, fxcc_error *);
int64_t fxrt_size_of(const fxrt_sym *, int rank, const int64_t *shape, const int64_t *stride);
int fxrt_check_found(const fxrt_model *, int32_t sym, int64_t value, fxcc_error *);
int fxrt_check_overlap(const fxrt_run *);
int fxrt_bind_shapes(const fxrt_model *, const int64_t *const *shape, int64_t *sym, fxcc_error *);
int fxrt_check_tensor(const fxrt_port *, const DLTensor *, int index, const int64_t *sym, fxcc_error *);
int fxrt_check_aligned(const fxrt_port *, const void *, fxcc_error *);
int fxrt_check_strides(const fxrt_port *, const DLTensor *, const int64_t *sym, int output, fxcc_error *);
int fxrt_cpu_level(void);
DLDataType fxrt_dltype(int dtype);
/* pool.c: the buffers of a kernel; scratch lies stride bytes further on for each part */
typedef struct fxrt_work { void *const *buf; const uint64_t *stride; int32_t nbuf, workers; } fxrt_work;
void fxrt_parallel(const fxcc_pool *, fxrt_kernel *, const fxrt_work *, const int64_t *sym, int64_t n, int64_t grain);
/* pthread.c */
const fxcc_pool *fxrt_pthread_pool(void);
#endif
