/* symrep.h - inside of a Sym; for sym*.c alone.
 */
#ifndef SYMREP_H
#define SYMREP_H
#include "ir/sym.h"

enum { HasDiv = 1, HasMod = 2, HasBound = 4 };  /* among the atoms of a polynomial */
enum { MaxDepth = 400, MaxTerm = 256, MaxAtom = 64 };
enum { Searched = 32 };       /* terms of a sum in which laws are looked for */

typedef struct SymTab SymTab;

/* Every Sym is the first member of one of these. */
typedef struct Rep {
	Sym      s;
	SymTab  *tab;
	uint16_t depth;               /* of nested functions */
	uint8_t  has;                 /* HasDiv ... */
	int      nvar;
	const Sym *const *var;        /* the variables in it, by id */
	const Sym *self;              /* an atom as a polynomial: */
	SymTerm  one;                 /* 1*self */
	const Sym *sup;               /* SymVar: smaller than this; or NULL */
} Rep;

typedef struct Memo { const Sym *a, *b, *res; int op; } Memo;

struct SymTab {
	Ctx   *cx;
	Arena *arena;
	struct { uint64_t hash; Rep *rep; } *slot;    /* open addressing */
	int    nrep, caprep;
	uint32_t nid;
	Map    var;                   /* name -> Rep */
	Map    stem;                  /* stem of fresh names -> counter */
	const Sym *small[66];         /* the constants -1 .. 64 */
	Memo  *memo;
	int    nmemo, capmemo;
	struct { uint32_t epoch; const Sym *res; } *subst;  /* by id */
	uint32_t nsubst, epoch;
	VEC(const Sym *) vars;        /* scratch: variables of a new Sym */
	int    quiet;                 /* proving: overflow is no error */
	bool   over;                  /* it happened while quiet */
	bool   told;                  /* overflow was reported */
	int    nest;                  /* of recomposing */
};

static inline const Rep *rep(const Sym *s) { return (const Rep *)s; }

/* An integer expression as k + sum of terms. */
typedef struct View { int64_t k; const SymTerm *t; int n; } View;
View symv(const Sym *);

SymTab *symtab(Ctx *);
const Sym *sym_overflow(SymTab *);
/* a*ca + b*cb */
const Sym *sym_axpy(Ctx *, const Sym *a, int64_t ca, const Sym *b, int64_t cb);
const Sym *sym_ofterm(Ctx *, SymTerm);
bool  sym_monomial(const Sym *, SymTerm *);            /* a constant or a single term */
int   sym_cmpterm(const SymTerm *, const SymTerm *);   /* atoms alone: the order of terms */
const Sym *sym_atom(Ctx *, enum symfn, const Sym *const *arg, int narg, Str ffn,
                    bool isfloat, int64_t lo, int64_t hi);   /* interned as it is */
/* e == c*atom + rest with an atom that occurs at the top alone, in no power. */
bool  sym_split(Ctx *, const Sym *e, const Sym *atom, const Sym **c, const Sym **rest);
const Sym **sym_memo(SymTab *, int op, const Sym *a, const Sym *b);   /* where the result is kept; *p NULL: new */

/* Proofs (symprove.c): false is "not proven". */
bool  sym_nonneg(Ctx *, const Sym *);
bool  sym_pos(Ctx *, const Sym *divisor);              /* a divisor: 0 is ruled out */
bool  sym_within(Ctx *, const Sym *a, const Sym *d);   /* 0 <= a < d */

/* Saturated bounds: INT64_MIN and INT64_MAX are infinite. */
int64_t sat_lo(__int128), sat_hi(__int128);
void  range_mul(int64_t *lo, int64_t *hi, int64_t lo2, int64_t hi2);

const Sym *symf_binary(Ctx *, const char *op, const Sym *, const Sym *);   /* of floats (symfloat.c) */
const Sym *symf_fn(Ctx *, enum symfn, const Sym *const *arg, Str ffn);
double symf_call(Str fn, double);                      /* "log": libm's; NaN if unknown */
#endif
