/* sym.h - sizes: integer expressions over the free sizes of a model.
 *
 * Interned and normalised on construction: two expressions that are equal as
 * polynomials over their atoms are the same pointer.  An atom is a variable or
 * a function (floor division, modulus, min, max ...) that did not simplify.
 * Every expression has a range; division and modulus simplify with it, so that
 * (32*i + j)//32 is i when 0 <= j < 32.  Sizes, strides, loop indices and the
 * arguments of operators are all Syms.
 */
#ifndef SYM_H
#define SYM_H
#include "base/base.h"

typedef struct Sym Sym;

/* What an atom computes.  Comparisons and And, Or, Not give 0 or 1.
 * Division and modulus round as Python's. */
#define SYMFNS(X)                                                              \
	X(Div, "//") X(Mod, "%") X(Min, "Min") X(Max, "Max") X(Pow, "**")      \
	X(Eq, "==") X(Ne, "!=") X(Lt, "<") X(Le, "<=") X(And, "&") X(Or, "|")  \
	X(Not, "~") X(Where, "Where") X(Shl, "<<") X(Shr, ">>")                \
	/* of or to doubles: isfloat, or rounding a double to an int */        \
	X(ToFloat, "ToFloat") X(TrueDiv, "IntTrueDiv") X(FDiv, "FloatTrueDiv") \
	X(FAdd, "FAdd") X(FMul, "FMul") X(FPow, "FloatPow") X(Sqrt, "sqrt")    \
	X(FFn, "OpaqueUnaryFn")                                                \
	X(Floor, "FloorToInt") X(Ceil, "CeilToInt") X(Trunc, "TruncToInt")     \
	X(Round, "RoundToInt")
enum symfn {
#define X(name, text) SymFn##name,
	SYMFNS(X)
#undef X
	NSymFn
};

enum symkind { SymConst, SymFloatConst, SymVar, SymFn, SymPoly };

/* One term of a polynomial: coef times a product of atoms (sorted by id,
 * a power is repeated).  A SymPoly is k + sum of terms. */
typedef struct SymTerm { int64_t coef; int natom; const Sym *const *atom; } SymTerm;

struct Sym {
	enum symkind kind;
	uint32_t id;            /* dense, in order of creation */
	bool     isfloat;       /* its value is a double */
	enum symfn fn;          /* SymFn */
	int64_t  k;             /* SymConst: value; SymPoly: constant part */
	double   f;             /* SymFloatConst */
	Str      name;          /* SymVar: "s77", "u0", "i3"; FFn: "log" */
	int      nterm, narg;
	const SymTerm *term;    /* SymPoly */
	const Sym *const *arg;  /* SymFn */
	int64_t  lo, hi;        /* lo <= value <= hi; INT64_MIN/MAX: unbounded */
};

const Sym *sym_const(Ctx *, int64_t);
const Sym *sym_float(Ctx *, double);
/* The variable of that name; the same pointer each time.  A first mention has
 * the range given; a later one does not change it (sym_bound does). */
const Sym *sym_var(Ctx *, Str name, int64_t lo, int64_t hi);
const Sym *sym_fresh(Ctx *, const char *stem, int64_t lo, int64_t hi);  /* a new variable: "i12" */
void       sym_bound(Ctx *, const Sym *var, int64_t lo, int64_t hi);    /* only before it is used */
/* var < sup, an expression (the extent of a loop over var): with it (s0*i + j)//s0 is i
 * when 0 <= j < s0.  Only before var is used; bounds var's range too. */
void       sym_setsup(Ctx *, const Sym *var, const Sym *sup);
const Sym *sym_index(Ctx *, const char *stem, const Sym *extent);   /* a new variable in 0 .. extent-1, with that sup */
const Sym *sym_sup(const Sym *var);                     /* NULL: none was set */
const Sym *sym_floatvar(Ctx *, Str name);               /* a variable that is a double: "zf3" */
const Sym *sym_freshfloat(Ctx *, const char *stem);
const Sym *sym_add(Ctx *, const Sym *, const Sym *);
const Sym *sym_sub(Ctx *, const Sym *, const Sym *);
const Sym *sym_mul(Ctx *, const Sym *, const Sym *);
const Sym *sym_neg(Ctx *, const Sym *);
const Sym *sym_div(Ctx *, const Sym *, const Sym *);   /* floor; by constant 0: reported by the caller, never asked */
const Sym *sym_mod(Ctx *, const Sym *, const Sym *);
const Sym *sym_ceildiv(Ctx *, const Sym *, const Sym *);
const Sym *sym_min(Ctx *, const Sym *, const Sym *);
const Sym *sym_max(Ctx *, const Sym *, const Sym *);
const Sym *sym_fn(Ctx *, enum symfn, const Sym *const *arg, int narg, Str ffn);  /* any; folds constants */
/* op is one of + - * // % / ** == != < <= > >= min max and or */
const Sym *sym_binary(Ctx *, const char *op, const Sym *, const Sym *);

bool sym_isconst(const Sym *, int64_t *k);             /* an integer constant */
bool sym_is(const Sym *, int64_t k);                   /* that constant */
bool sym_eq(const Sym *, const Sym *);                 /* provably equal */
bool sym_ne(const Sym *, const Sym *);                 /* provably different */
bool sym_le(Ctx *, const Sym *, const Sym *);          /* provably a <= b */
bool sym_lt(Ctx *, const Sym *, const Sym *);
bool sym_divides(Ctx *, const Sym *d, const Sym *a);   /* provably a % d == 0 */

/* e with var[i] replaced by with[i], normalised anew. */
const Sym *sym_subst(Ctx *, const Sym *e, const Sym *const *var, const Sym *const *with, int n);
/* e == c*var + rest, c and rest without var?  Gives c (may be 0) and rest. */
bool sym_linear(Ctx *, const Sym *e, const Sym *var, const Sym **c, const Sym **rest);
bool sym_uses(const Sym *e, const Sym *var);
void sym_vars(Arena *, const Sym *e, const Sym ***var, int *n);   /* appended, no duplicates, by id */
/* The value with variables looked up; false: a variable is unknown, division by 0 or overflow. */
bool sym_eval(const Sym *e, bool (*look)(void *, const Sym *var, int64_t *), void *arg, int64_t *out);
bool sym_evalf(const Sym *e, bool (*look)(void *, const Sym *var, int64_t *), void *arg, double *out);

const char *sym_str(Ctx *, const Sym *);               /* infix as sympy prints: "3*s17 + s77", "(s77//2)", "Mod(s0, 5)" */
#endif
