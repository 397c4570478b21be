/* vmap.h - torch.vmap while a program is read, from text or JSON (vmap.c). */
#ifndef VMAP_H
#define VMAP_H
#include "ir/ir.h"

typedef struct Vmap Vmap;

/* Where a reader is.  known: infers the types of what it read so far, in the graph of the value. */
typedef struct VmapAt {
	Ctx *cx;
	Arena *a;
	Module *mod;
	Graph *g;                    /* that is read */
	Vmap *in;                    /* the innermost; NULL: none */
	Loc loc;
	bool (*known)(void *reader, Val *);
	void *reader;
} VmapAt;

bool vmap_begin(VmapAt *);
bool vmap_end(VmapAt *);
Val *vmap_row(VmapAt *, Val *x, int64_t dim);      /* a row of x; NULL: reported */
Val *vmap_rows(VmapAt *, Val *y, int64_t dim);     /* y of all rows */
Val *vmap_inside(VmapAt *, Val *);                 /* as a value of the graph that is read */
#endif
