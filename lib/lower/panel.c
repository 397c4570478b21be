/* panel.c - an operand of a large product, packed by a kernel of its own.
 *
 * A block that a kernel packs for itself is packed again by whoever shares its
 * columns.  Where the product is large, its operands become panels once, by all
 * workers together, before the kernel of the product runs:
 *
 *     panel[tiles][k][width]
 *
 * Neighbours along the panel's rows are copied by vectors, some values of k for all
 * panels, so that memory is read in the order in which it lies.  Neighbours along k
 * are read by vectors too, as many as a vector is wide, and change places in
 * registers: each round of zips of the first half with the second moves one bit of
 * the position of an element from its vector's number to its lane.
 */
#include "lower/contract.h"

enum { KChunk = 8, Grain = 32768 };

typedef struct Panels {
	Contraction *c;
	Gen *g;
	const Ex *e;                     /* element */
	const Sym *var, *ext;            /* of A: the row; of B: the column */
	const Sym *tiles;
	int   width, buf;
	const Sym *p0, *p, *v;           /* the buffer's first panel; panel in the buffer; first of the vector in it */
} Panels;

static const Sym *
loopvar(Panels *w, const char *stem)
{
	const Sym *v = sym_fresh(w->c->lo->cx, stem, 0, INT64_MAX);

	gen_declare(w->g, v);
	return v;
}

/* Where the vector at hand lies, n rows of k further on. */
static const Sym *
place(Panels *w, int n)
{
	Contraction *c = w->c;
	const Sym *k = contract_plus(c, contract_kflat(c), sym_const(c->lo->cx, n));

	return contract_plus(c, contract_times(c, contract_plus(c, sym_mul(c->lo->cx, w->p, c->K), k), w->width), w->v);
}

static void
put(Panels *w, int n, KRef v)
{
	gen_ins(w->g, (KIns){.op = KStore, .dt = w->c->dt, .lanes = (uint8_t)w->c->W, .buf = (uint16_t)w->buf,
	                     .a = gen_sym(w->g, place(w, n)), .b = gen_splat(w->g, v, w->c->W)});
}

/* The element's value in lanes along var, from `first` on. */
static KRef
lanes(Panels *w, const Ex *e, const Sym *var, KRef first, KRef mask)
{
	Gen *g = w->g;
	KRef r;

	gen_push(g);
	gen_bind(g, var, first);
	g->vec = gen_bit(g, var);
	g->vecvar = var;
	g->lanes = w->c->W;
	g->mask = mask;
	r = gen_splat(g, gen_ex(g, e), w->c->W);
	g->vec = 0;
	g->vecvar = NULL;
	g->lanes = 1;
	g->mask = 0;
	gen_unbind(g, var);
	gen_pop(g);
	return r;
}

static const Sym *
column(Panels *w)
{
	return contract_plus(w->c, contract_times(w->c, contract_plus(w->c, w->p0, w->p), w->width), w->v);
}

/* One vector of neighbours along the panel; zeros beyond the last. */
static void
copy(Panels *w)
{
	Gen *g = w->g;
	KRef first = gen_sym(g, column(w)), mask = 0;

	if (!sym_divides(g->cx, sym_const(g->cx, w->width), w->ext))
		mask = gen_op(g, ScLt, DtB8, gen_ramp(g, w->c->W), gen_op(g, ScSub, DtI64, gen_sym(g, w->ext), first, 0), 0);
	put(w, 0, lanes(w, w->e, w->var, first, mask));
}

static void
copyall(Panels *w)
{
	for (int v = 0; v < w->width; v += w->c->W) {
		gen_push(w->g);
		gen_bind(w->g, w->v, gen_int(w->g, DtI64, v));
		copy(w);
		gen_unbind(w->g, w->v);
		gen_pop(w->g);
	}
}

static KRef
open(Panels *w, enum loopkind kind, const Sym *var, KRef from, KRef to, int64_t step)
{
	KRef loop = gen_loop(w->g, kind, from, to, step);

	gen_bind(w->g, var, loop);
	return loop;
}

static void
close(Panels *w, const Sym *var, KRef loop)
{
	gen_unbind(w->g, var);
	gen_end(w->g, loop);
}

/* Loops over k from `level` on; what is inside the last. */
static void
kloops(Panels *w, int level, void (*last)(Panels *))
{
	Contraction *c = w->c;
	KRef loop;

	if (level == c->nk - 1) {
		last(w);
		return;
	}
	loop = open(w, LoopSerial, c->k[level], gen_int(w->g, DtI64, 0), gen_sym(w->g, c->kext[level]), 1);
	kloops(w, level + 1, last);
	close(w, c->k[level], loop);
}

static void
copies(Panels *w)
{
	const Sym *k = w->c->k[w->c->nk - 1];
	KRef loop = open(w, LoopSerial, k, gen_int(w->g, DtI64, 0), gen_sym(w->g, w->c->kext[w->c->nk - 1]), 1);

	copyall(w);
	close(w, k, loop);
}

/* ---- in the order of memory --------------------------------------------------------- */

/* Some rows of k, all panels. */
static void
chunks(Panels *w)
{
	Contraction *c = w->c;
	Gen *g = w->g;
	const Sym *all = sym_ceildiv(g->cx, c->K, sym_const(g->cx, KChunk));
	KRef par, from, to, panels, loop;

	g->k->parallel = all;
	par = gen_loop(g, LoopParallel, gen_int(g, DtI64, 0), gen_sym(g, all), 1);
	from = gen_mul(g, par, gen_int(g, DtI64, KChunk));
	to = gen_add(g, from, gen_int(g, DtI64, KChunk));
	if (!sym_divides(g->cx, sym_const(g->cx, KChunk), c->K))
		to = gen_op(g, ScMin, DtI64, to, gen_sym(g, c->K), 0);
	panels = open(w, LoopSerial, w->p, gen_int(g, DtI64, 0), gen_sym(g, w->tiles), 1);
	loop = open(w, LoopSerial, c->k[0], from, to, 1);
	copyall(w);
	close(w, c->k[0], loop);
	close(w, w->p, panels);
	gen_end(g, par);
}

/* One panel after another. */
static void
panels(Panels *w)
{
	Gen *g = w->g;
	KRef par;

	g->k->parallel = w->tiles;
	par = open(w, LoopParallel, w->p, gen_int(g, DtI64, 0), gen_sym(g, w->tiles), 1);
	kloops(w, 0, copies);
	close(w, w->p, par);
}

/* ---- k along the memory -------------------------------------------------------------- */

/* W columns, W values of k: each vector lies along k, then along the columns. */
static void
square(Panels *w)
{
	Contraction *c = w->c;
	Gen *g = w->g;
	KRef in[64], out[64], last = 0;
	const Sym *k = c->k[c->nk - 1], *first = column(w);
	bool whole = sym_divides(g->cx, sym_const(g->cx, w->width), w->ext);

	if (!whole)
		last = gen_sym(g, sym_sub(g->cx, w->ext, sym_const(g->cx, 1)));
	for (int i = 0; i < c->W; i++) {
		const Sym *col = contract_plus(c, first, sym_const(g->cx, i));
		if (!whole) {
			KRef at = gen_op(g, ScMin, DtI64, gen_sym(g, col), last, 0);
			col = loopvar(w, "c");
			gen_bind(g, col, at);
		}
		in[i] = lanes(w, ex_subst1(g->cx, w->e, w->var, col), k, gen_sym(g, k), 0);
	}
	for (int n = 1; n < c->W; n *= 2) {
		for (int i = 0; i < c->W; i++)
			out[i] = gen_ins(g, (KIns){.op = KZip, .dt = c->dt, .lanes = (uint8_t)c->W, .a = in[i / 2],
			                           .b = in[i / 2 + c->W / 2], .i = i % 2});
		memcpy(in, out, sizeof in);
	}
	for (int i = 0; i < c->W; i++)
		put(w, i, in[i]);
}

static void
squares(Panels *w)
{
	Contraction *c = w->c;
	Gen *g = w->g;
	const Sym *k = c->k[c->nk - 1];
	int64_t n = contract_extent(c->kext[c->nk - 1]);
	KRef end = gen_int(g, DtI64, n / c->W * c->W);
	KRef loop = open(w, LoopSerial, k, gen_int(g, DtI64, 0), end, c->W);

	square(w);
	close(w, k, loop);
	if (n % c->W) {
		loop = open(w, LoopSerial, k, end, gen_int(g, DtI64, n), 1);
		copy(w);
		close(w, k, loop);
	}
}

/* Strips of W columns. */
static void
strips(Panels *w)
{
	Contraction *c = w->c;
	Gen *g = w->g;
	int parts = w->width / c->W;
	const Sym *all = contract_times(c, w->tiles, parts);
	KRef par;

	g->k->parallel = all;
	par = gen_loop(g, LoopParallel, gen_int(g, DtI64, 0), gen_sym(g, all), 1);
	gen_bind(g, w->p, gen_op(g, ScQuot, DtI64, par, gen_int(g, DtI64, parts), 0));
	gen_bind(g, w->v, gen_mul(g, gen_op(g, ScFmod, DtI64, par, gen_int(g, DtI64, parts), 0), gen_int(g, DtI64, c->W)));
	kloops(w, 0, squares);
	gen_unbind(g, w->p);
	gen_unbind(g, w->v);
	gen_end(g, par);
}

/* ---- the kernel ------------------------------------------------------------------------- */

static Packed *
result(Panels *w, const char *name)
{
	Contraction *c = w->c;
	Packed *p = NEW(c->lo->a, Packed);
	const Sym *n = contract_times(c, sym_mul(c->lo->cx, w->tiles, c->K), w->width);

	p->val.type = type_tensor(c->lo->cx, c->dt, 1, &n);
	p->val.name = intern_str(c->lo->cx, name);
	w->buf = gen_buf(w->g, &p->val);
	w->g->k->buf.v[w->buf].written = true;
	return p;
}

static void
declare(Panels *w)
{
	Contraction *c = w->c;

	w->p0 = sym_const(c->lo->cx, 0);
	w->p = loopvar(w, "p");
	w->v = loopvar(w, "v");
	gen_declare(w->g, w->var);
	for (int i = 0; i < c->nk; i++)
		gen_declare(w->g, c->k[i]);
	gen_fv(w->g, w->e);
}

/* A (rows) or B as panels; the kernel that makes them is among those of the contraction. */
Packed *
panel_kernel(Contraction *c, bool rows)
{
	Panels w = {.c = c, .e = rows ? c->A : c->B, .var = rows ? c->m : c->n[0], .ext = rows ? c->M : c->N,
	            .width = rows ? c->PA : c->NR};
	Str name = intern_printf(c->lo->cx, "%s_%s", c->p->val->name, rows ? "rows" : "columns");
	Packed *p;
	int64_t n;

	w.g = gen_new(c->lo, intern_printf(c->lo->cx, "k%d_%s", c->lo->nkernel++, name));
	w.g->W = c->W;
	w.tiles = sym_ceildiv(c->lo->cx, w.ext, sym_const(c->lo->cx, w.width));
	p = result(&w, name);
	declare(&w);
	if (!rows && panel_turns(c))
		strips(&w);
	else if (c->nk == 1)
		chunks(&w);
	else
		panels(&w);
	n = contract_extent(w.g->k->parallel);
	w.g->k->grain = 1 + Grain * n / (contract_extent(w.ext) * contract_extent(c->K));
	w.g->k->from = c->g->k->from;
	w.g->k->doc = name;
	c->made[c->nmade++] = (Made){w.g->k, w.g};
	return p;
}

/* Does B lie along k, for whole vectors? */
bool
panel_turns(Contraction *c)
{
	int64_t n;

	return c->W >= 4 && c->nn == 1 && contract_alongk(c, c->B) && contract_const(c->kext[c->nk - 1], &n) && n >= c->W;
}

/* The same into the block of the kernel at hand, whose first panel is p0. */
void
panel_block(Contraction *c, const Sym *p0, KRef n)
{
	Panels w = {.c = c, .g = c->g, .e = c->B, .var = c->n[0], .ext = c->N, .width = c->NR, .buf = c->blockbuf, .p0 = p0};
	KRef panels, vectors;

	w.p = loopvar(&w, "p");
	w.v = loopvar(&w, "v");
	panels = open(&w, LoopSerial, w.p, gen_int(w.g, DtI64, 0), n, 1);
	vectors = open(&w, LoopSerial, w.v, gen_int(w.g, DtI64, 0), gen_int(w.g, DtI64, c->NR), c->W);
	kloops(&w, 0, squares);
	close(&w, w.v, vectors);
	close(&w, w.p, panels);
}
