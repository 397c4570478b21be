/* eval.h - expressions over a rectangle of indices, compiled for the interpreter.
 *
 * A program computes some expressions for all points of a rectangle, Lanes
 * points at a time.  A register holds a number for each lane, or one for all
 * where the value does not depend on the point (uniform).  Code is a list of
 * instructions without jumps; a fold is an instruction with a list of its own,
 * run once for each point of the fold's domain.  What does not depend on a
 * fold's variables is placed outside it.
 *
 * A select computes both arms.  The loads in the arm not taken must not happen,
 * so that loads which may be out of range carry a mask: a masked lane reads 0,
 * an unmasked one out of range is an error of the program that runs.
 *
 * When there are few points but a large outermost fold, the lanes run over the
 * points of the fold instead (wide).
 */
#ifndef EVAL_H
#define EVAL_H
#include "ir/ex.h"

enum { Lanes = 128 };

enum evop {
	EvScalar,      /* dst = sc of a, b, c, operands of dtype from, result rounded to dt */
	EvCast,        /* dst = a as dt, was from */
	EvBits,
	EvMulAdd,      /* dst = a*i + b: integers */
	EvCopy,        /* dst = a, which is uniform, in each lane */
	EvRange,       /* dst = a is in 0..i-1, where mask holds; what does not is an error */
	EvLoad,        /* dst = element a of tensor, 0 where the mask b does not hold */
	EvRandom,      /* dst = philox of counter a, stream i */
	EvFold
};

typedef struct EvIns EvIns;
typedef struct EvCode { VEC(EvIns) ins; } EvCode;

typedef struct EvFoldIns {
	enum fold fold;
	bool wide;               /* lanes are points of the domain */
	int n;
	int *var;                /* registers of its variables */
	int64_t *extent;
	int body, cond;          /* cond < 0: none */
	EvCode code;
} EvFoldIns;

struct EvIns {
	uint8_t op, sc, dt, from;
	bool uniform;
	int dst, a, b, c;        /* registers; -1: none */
	int64_t i;
	const Tensor *tensor;
	EvFoldIns *fold;
};

/* level: how many folds are around the code that sets it. */
typedef struct EvReg { bool uniform; int level, copy; Num *v; } EvReg;

typedef struct EvScope { Map memo; EvCode *code; } EvScope;

typedef struct Eval {
	Ctx *cx;
	Arena *a;
	Loc loc;
	bool f64, wide, failed;
	const Tensor *(*tensor)(void *, const Val *);
	void *arg;
	VEC(EvReg) reg;
	/* while compiling */
	EvScope scope[2 * MaxRank];
	int depth;
	Map varreg, unsafe;      /* Sym -> register + 1; Ex -> 1 + it has loads that need a mask */
	/* the rectangle */
	int nvar;
	const Sym *const *var;
	const int64_t *extent;
	int *ireg;               /* registers of var[] */
	EvCode code;
	/* while running */
	int64_t bad, badsize;    /* the first index out of range */
	bool isbad;
} Eval;

/* Ready to compile expressions over var[], each in 0..extent-1; the caller sets
 * tensor, which finds the memory of a value, and its arg. */
void  eval_init(Eval *, Ctx *, Arena *, Loc, bool f64, bool wide,
                const Sym *const *var, const int64_t *extent, int nvar);
/* Is e better computed with the lanes over its outermost folds? */
bool  eval_iswide(const Ex *e, int64_t points);
/* Registers that will hold them; -1: reported.  All before eval_run. */
int   eval_ex(Eval *, const Ex *);
int   eval_sym(Eval *, const Sym *);
/* Run; sink gets each block of n points, base the row-major number of the first.
 * false: an index was out of range (reported). */
bool  eval_run(Eval *, void (*sink)(void *, Eval *, int64_t base, int n), void *arg);
static inline Num eval_lane(const Eval *e, int reg, int lane)
{
	return e->reg.v[reg].v[e->reg.v[reg].uniform ? 0 : lane];
}
/* In f64 mode every float is a double. */
static inline enum dtype eval_dt(const Eval *e, enum dtype dt) { return e->f64 && dt_float(dt) ? DtF64 : dt; }
#endif
