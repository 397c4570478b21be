/* flash.h - attention in blocks: what forward (flash.c) and backward (flashback.c) share.
 *
 * The table gives elements of the operands, and what is done to one score; here are
 * the loops.  i runs over queries, j over keys, d over the columns of both, e over
 * those of values; b.. are loops outside.  One of i, j runs over the lanes of vectors,
 * in panels of NR = NV*W columns; the other gives rows of tiles.
 */
#ifndef FLASH_H
#define FLASH_H
#include "lower/lower.h"

/* An operand that is read row by row: where it lies if its rows are plain numbers side by side, else, or if width is
 * given, out of a block that is copied first. */
typedef struct Rows {
	const Ex *e;
	const Sym *row, *col;
	const Sym *ncol, *width;         /* columns; elements from row to row of the copy */
	int buf;                         /* of the copy; -1: where it lies */
} Rows;

typedef struct Flash {
	Lower *lo;
	Gen   *g;
	Ctx   *cx;
	Node  *node;
	enum dtype dt;                   /* of the sums */
	int    W, NV, NR;                /* lanes; vectors and columns of a panel */
	int    nb;
	const Sym *b[MaxRank], *bext[MaxRank];
	const Sym *share;                /* backward: number of ... */
	int64_t shares;                  /* ... a share: every shares-th block of keys */
	const Sym *i, *j, *d, *e;
	const Sym *Lq, *Lk, *D, *E;      /* their extents */
	int    nvd, nve;                 /* vectors that a row of D, E columns is computed in at a time ... */
	const Sym *DP, *EP;              /* ... and columns that whole such ones have */
	bool   causal, safe;
	const Ex *const *part;           /* ready to be written */
	const Ex *hole[2];               /* what stands in parts for values at hand */
	const Ex *exp;                   /* of hole[0] - hole[1] */
} Flash;

/* C (+)= A @ B: rows of A by nv vectors of B. */
typedef struct Product {
	const Rows *a; KRef row0;        /* A's rows from row0 on (its copy: from 0); NULL: ... */
	int   abuf; KRef aat, arow, ak;  /* ... element aat + row*arow + k*ak of a buffer */
	int   bbuf; KRef bat, bk;        /* vectors at bat + k*bk */
	int   cbuf; KRef cat, crow;      /* sums at cat + row*crow */
	KRef  rows, n;                   /* how many rows; length of the sums */
	int64_t most;                    /* rows there are, about: what a tile is chosen for */
	bool  whole;                     /* buffers have `most` rows, whatever lies in those beyond */
	int   nv;
	bool  add;
	int   bybuf; KRef byat;          /* add: what is there is multiplied by element byat + row; byat 0: it is not */
} Product;

KRef  flash_const(Flash *, int64_t);
KRef  flash_size(Flash *, const Sym *);
int64_t flash_about(const Sym *, int64_t);                           /* its value; if that is not known, the number */
KRef  flash_min(Flash *, KRef, KRef);
KRef  flash_blocks(Flash *, KRef n, int64_t block);                  /* how many it takes */
KRef  flash_open(Flash *, KRef from, KRef to, const Sym *var);       /* a loop; var NULL: none takes its value */
void  flash_close(Flash *, KRef loop, const Sym *var);
int   flash_local(Flash *, const char *name, const Sym *count);
KRef  flash_load(Flash *, int buf, KRef at, int lanes);
void  flash_store(Flash *, int buf, KRef at, KRef v);
void  flash_clear(Flash *, int buf, KRef at, KRef vectors);
KRef  flash_fill(Flash *, double);                                   /* a vector of it */
/* var is first, first+1 ... in the lanes, of which those below ext exist. */
void  flash_lanes(Flash *, const Sym *var, KRef first, const Sym *ext);
void  flash_scalar(Flash *, const Sym *var);
/* e with values for its holes (0: none). */
KRef  flash_apply(Flash *, const Ex *e, KRef h0, KRef h1);
Rows  flash_rows(Flash *, const char *name, const Ex *e, const Sym *row, const Sym *col, const Sym *ncol, int64_t block, const Sym *width);
void  flash_copy(Flash *, const Rows *, KRef row0, KRef n);          /* where it is wanted; zeros behind the columns */
void  flash_multiply(Flash *, const Product *);
/* The same for all columns of B and C, nv vectors at a time. */
void  flash_multiplyrows(Flash *, Product *, const Sym *columns);
/* A panel with var over lanes from first on: element (k, lane) at at + k*NR. */
void  flash_panel(Flash *, int buf, KRef at, const Ex *e, const Sym *var, KRef first, const Sym *ext, const Sym *k, const Sym *n);
/* Row number `row` of result out: from element at of a buffer on, times `by` (0: as it is). */
void  flash_put(Flash *, int out, const Sym *row, const Sym *col, const Sym *ncol, int buf, KRef at, KRef by);

void  flash_forward(Flash *);
void  flash_backward(Flash *);
#endif
