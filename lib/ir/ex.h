/* ex.h - one element of a tensor as an expression.
 *
 * The `value` line of an operator says what its result is at index i; ex_element
 * evaluates that line for one node and gives an Ex: a scalar expression over
 * loads of the operands.  Everything that computes starts here: the interpreter
 * walks an Ex, lowering inlines the Ex of producers into those of consumers and
 * turns the result into loops.  Index arithmetic is Syms over index variables,
 * so it simplifies; a computed index (gather) is a Sym variable that stands for
 * an integer Ex.
 *
 * Hash-consed: equal expressions are the same pointer.
 */
#ifndef EX_H
#define EX_H
#include "ir/ir.h"

typedef struct Ex Ex;

enum scalar {
#define SCALAR(id, text, arity, rule, doc) Sc##id,
#include "ir/scalar.def"
#undef SCALAR
	NScalar
};
enum scrule { ScSame, ScFloat, ScCmp, ScBit, ScSel, ScTest };
extern const struct ScalarInfo { const char *text; uint8_t arity, rule; } scalarinfo[NScalar];

enum exkind {
	ExConst,     /* a literal: dt, i or f */
	ExIndex,     /* sym as a number of dtype i64 (f64 when sym->isfloat) */
	ExLoad,      /* element idx[] of val (logical index, one Sym for each dimension) */
	ExOp,        /* sc applied to arg[] (already of the right dtypes) */
	ExCast,      /* arg[0] as dt: C's conversions; float to int truncates; to b8: != 0; to bf16, f16: round to even */
	ExBits,      /* arg[0]'s bits as dt of the same width */
	ExFold,      /* fold over var[] in 0..extent[]-1, in that nesting, of arg[0] */
	ExRandom,    /* uniform bits: a u32 from philox(seed, offset of the node, counter sym, lane) */
	ExCheck      /* arg[0], a computed index, if it is in 0..sym-1; else 0, and the run fails if cond */
};
enum fold { FoldSum, FoldProd, FoldMax, FoldMin, FoldAny, FoldAll, FoldArgmax, FoldArgmin, NFold };
/* Argmax, Argmin: the position (i64) counted over var[] row-major; first of equals, NaN wins.
 * Max, Min: NaN wins.  The identity of each is ex_identity. */

/* A number of an integer dtype (i; u64: its bits) or of a float dtype (f). */
typedef union Num { int64_t i; double f; } Num;

struct Ex {
	enum exkind kind;
	enum dtype dt;
	uint32_t id;
	Ctx *cx;                          /* in whose table it is */
	uint8_t narg;
	bool weak;                        /* of Python numbers alone: takes the dtype of what it meets; by itself i64 or f32 */
	enum scalar sc;
	enum fold fold;
	int64_t i; double f;              /* ExConst */
	const Sym *sym;                   /* ExIndex, ExRandom; ExCheck: the size */
	Val *val;                         /* ExLoad; ExRandom: its node's result */
	int nidx;                         /* ExLoad: rank; ExFold: how many var[] */
	const Sym *const *idx;            /* ExLoad: index; ExFold: extents */
	const Sym *const *var;            /* ExFold */
	const Ex *arg[3];
	const Ex *cond;                   /* ExFold: counts only where true; ExCheck: fails only there; NULL: everywhere */
};

const Ex *ex_int(Ctx *, enum dtype, int64_t);        /* DtNone: a Python int, weak */
const Ex *ex_float(Ctx *, enum dtype, double);       /* DtNone: a Python float, weak; f keeps all its digits */
const Ex *ex_index(Ctx *, const Sym *);
const Ex *ex_load(Ctx *, Val *, const Sym *const *idx, int n);
const Ex *ex_op(Ctx *, enum scalar, const Ex *a, const Ex *b, const Ex *c);   /* promotes, folds constants */
const Ex *ex_cast(Ctx *, enum dtype, const Ex *);
const Ex *ex_adopt(Ctx *, enum dtype, const Ex *);    /* a weak e as if its numbers had been written as dt; else ex_cast */
const Ex *ex_bits(Ctx *, enum dtype, const Ex *);
const Ex *ex_fold(Ctx *, enum fold, const Sym *const *var, const Sym *const *extent, int n, const Ex *cond, const Ex *body);
const Ex *ex_random(Ctx *, Val *, const Sym *counter);
const Ex *ex_check(Ctx *, const Ex *index, const Sym *size, const Ex *cond);
const Ex *ex_identity(Ctx *, enum fold, enum dtype);

/* A Sym variable that stands for an integer expression (a computed index in lo..hi). */
const Sym *ex_indirect(Ctx *, const Ex *, int64_t lo, int64_t hi);
const Ex  *ex_ofvar(Ctx *, const Sym *var);         /* NULL: an ordinary variable */

/* Rebuild e bottom-up.  load: what stands in place of a load (NULL or returning NULL: as it was).
 * var[] -> with[] is substituted in all index arithmetic, also inside indirect variables. */
const Ex *ex_rewrite(Ctx *, const Ex *e, const Ex *(*load)(void *, const Ex *), void *arg,
                     const Sym *const *var, const Sym *const *with, int nvar);
void      ex_loads(const Ex *, void (*fn)(void *, const Ex *load), void *arg);   /* every load, indirect ones too */
void      ex_visit(const Ex *, void (*fn)(void *, const Ex *), void *arg);        /* every node once, operands first */
int       ex_cost(const Ex *);                      /* rough cycles for an element */
const char *ex_str(Ctx *, const Ex *);              /* for dumps: "exp(sub(self[i0, i1], m[i0]))" */

/* ---- scalars on constants (scalar.c) ------------------------------------------ */

/* sc on operands of dtype dt (Select: of the arms).  f32 rounds after each step;
 * comparisons and tests give .i.  Never traps: x/0 of integers is 0. */
Num       scalar_eval(enum scalar, enum dtype dt, const Num *arg);
Num       num_cast(enum dtype from, enum dtype to, Num);
Num       num_bits(enum dtype from, enum dtype to, Num);      /* ExBits */
int64_t   num_wrap(enum dtype, int64_t);                      /* to the range of an integer dtype */
double    num_round(enum dtype, double);                      /* to a float dtype, half to even */

/* ---- what a node computes --------------------------------------------------- */

enum lowkind {
	LowNone,
	LowElement,    /* result out at i[] is an Ex */
	LowScan,       /* result at i: fold of the elements with smaller or equal index along dim */
	LowScatter,    /* element Ex first, then for all j in over: result[at[j]] combined with put */
	LowExtern,     /* a function of lib/rt */
	LowBlocks,     /* attention in blocks: all results by one kernel, result 0 describes it (lower/flash.h) */
	LowLeaf
};
typedef struct Low {
	enum lowkind kind;
	int nidx; const Sym *const *i;      /* the index variables of element (ranges: the shape) */
	const Ex *element;                  /* LowElement, LowScan (what is folded), LowScatter (the value before) */
	enum fold fold; int dim; bool reverse;  /* LowScan; LowScatter: fold, or set when `set` */
	bool set;
	int nover; const Sym *const *j, *const *over;   /* LowScatter, LowBlocks: domain variables and extents */
	const Sym *const *at;               /* nidx of them */
	const Ex *put, *putif;              /* putif NULL: always */
	Str fn;                             /* LowExtern: "sort": fxrt_sort in lib/rt */
	const Sym *const *num; int nnum;    /* its integers; LowBlocks: is it causal, are dead rows 0, shares */
	const Ex *const *part; int npart;   /* LowBlocks: elements of operands; what is done to a score, which stands as ... */
	const Ex *hole[2];                  /* ... these */
	const double *real; int nreal;      /* its doubles */
	const Sym *const *scratch; int nscratch; /* sizes in bytes of its scratch buffers */
} Low;
/* Evaluate the table's lines for result `out` of n at fresh index variables (i0, i1 ...: named
 * iN_k uniquely).  false: reported.  A view's element is a single load. */
bool      node_low(Node *n, int out, Low *);
/* LowElement alone, at the given index. */
const Ex *ex_element(Node *n, int out, const Sym *const *i, int ni);
#endif
