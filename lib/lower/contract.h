/* contract.h - one contraction: a sum of products over a grid of outputs.
 *
 *     out[o.., m, n..] = epilogue(sum over k.. of A(o, m, k)*B(o, n, k))
 *
 * Output variables: N, the ones that B alone depends on, ending with the one
 * along which the result lies in memory (lanes); M, one that A alone depends
 * on (rows of the register tile); all others, O, are loops outside.
 */
#ifndef CONTRACT_H
#define CONTRACT_H
#include "lower/lower.h"

enum bform { BPacked,       /* panels [o.., n/PB][k][PB]: of a constant, made when compiling; else by a kernel before (panel.c) */
             BBlock,        /* panels of a block of columns, packed as the kernel runs */
             BDirect,       /* read where it lies: n moves by one */
             BRows };       /* read where it lies, as is A: k moves by one, vectors run along it */
enum aform { APacked,       /* the same: [o.., m/PA][k][PA] */
             ADirect };     /* read where it lies */

typedef struct Contraction {
	Lower *lo;
	Gen   *g;
	Nest  *nest;
	Piece *p;
	const Ex *fold, *A, *B;
	enum dtype dt;                   /* of the accumulators */
	int    W;                        /* lanes */
	int    MR, NV, NR;               /* tile: rows, vectors, columns = NV*W */
	int    PA, PB;                   /* rows, columns of a panel of constants: multiples of MR, NR, and
	                                    the same for all machines, so that they share the bytes */
	const Sym *m, *M;                /* the row variable and its extent; m NULL: one row */
	int    nn;                       /* N variables: the last nn outer variables */
	const Sym *n[MaxRank], *next[MaxRank];
	const Sym *N;                    /* columns in all */
	int    no;
	const Sym *o[MaxRank], *oext[MaxRank];
	int    nk;
	const Sym *k[MaxRank], *kext[MaxRank];
	const Sym *K;                    /* rows of a panel: all, or those of a piece */
	/* K in pieces, so that a block of B stays in the cache however long K is: loops over the first k variables
	 * and over pieces of the next go round the packing; k[0] then runs within a piece.  Sums wait in `part`. */
	bool   pieces;
	int    nko;
	const Sym *ko[MaxRank], *koext[MaxRank];
	const Sym *kp, *KP;              /* number of the piece, how many */
	enum aform aform;
	enum bform bform;
	bool   byrows;                   /* BPacked, BDirect: tasks are tiles of rows, of which each meets NP panels */
	int64_t NP;                      /* panels to a block */
	const Sym *MT, *NT;              /* tiles of rows, panels of columns */
	Packed *apack, *bpack;
	Made   made[MaxMade];            /* the kernels, in order */
	int    nmade;
	int    ao[MaxRank], nao, bo[MaxRank], nbo;   /* which o A, B depend on: outer dimensions of packs */
	/* While writing */
	int    tilebuf, blockbuf, linebuf, partbuf;
	Val   *tile, *part;
	const Sym *mt, *jp, *jl;         /* row tile; panel in all, panel in the block */
	const Sym *row0;                 /* first row of the tile, if that is not mt*MR: the last tile begins where it ends with M */
	const Sym *flat;                 /* k as one variable */
	int64_t line;                    /* elements of the line buffer */
} Contraction;

/* contract.c */
bool contract_analyse(Contraction *);                       /* roles and forms; false: plain loops do better */
const Sym *contract_times(Contraction *, const Sym *, int64_t);
const Sym *contract_plus(Contraction *, const Sym *, const Sym *);
const Sym *contract_loopvar(Contraction *, const char *stem, const Sym *extent);   /* a fresh variable of a loop */
bool contract_const(const Sym *, int64_t *);
const Ex *contract_load(const Ex *);                        /* the load below casts, or NULL */
bool contract_alongk(Contraction *, const Ex *);            /* neighbours along the last k lie side by side */
const Ex *contract_replaced(Ctx *, const Ex *, const Ex *what, const Ex *with);
int64_t contract_extent(const Sym *);                       /* large if not known */

/* panel.c */
Packed *panel_kernel(Contraction *, bool rows);             /* A or B as panels */
bool panel_turns(Contraction *);                            /* vectors of B lie along k and must be turned */
void panel_block(Contraction *, const Sym *panel0, KRef panels);

/* pack.c */
bool pack_const(Contraction *, bool rows, Packed **out);   /* false: not a constant that can be packed */
void pack_block(Contraction *, const Sym *panel0, KRef panels);  /* emit the packing of a block that begins at panel0 */
const Sym *pack_outer(Contraction *, const int *o, int n);  /* number of the pack for the o at hand */
const Sym *contract_kflat(Contraction *);                   /* k.. as one number */
#endif
