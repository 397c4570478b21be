/* flashtile.c - the small parts of attention in blocks: panels, rows, products on register tiles.
 *
 * A product holds MR x NV vectors in registers: for each k it loads NV vectors of B
 * and broadcasts MR elements of A.  Beyond the last row it computes the last again, and
 * stores the same once more; where the buffers are whole, what comes is computed.
 */
#include "lower/flash.h"

/* ---- numbers and loops ------------------------------------------------------------ */

KRef
flash_const(Flash *f, int64_t n)
{
	return gen_int(f->g, DtI64, n);
}

KRef
flash_size(Flash *f, const Sym *s)
{
	return gen_sym(f->g, s);
}

int64_t
flash_about(const Sym *s, int64_t n)
{
	int64_t k;

	return sym_isconst(s, &k) ? k : n;
}

KRef
flash_min(Flash *f, KRef a, KRef b)
{
	return gen_op(f->g, ScMin, DtI64, a, b, 0);
}

KRef
flash_blocks(Flash *f, KRef n, int64_t block)
{
	return gen_op(f->g, ScQuot, DtI64, gen_add(f->g, n, flash_const(f, block - 1)), flash_const(f, block), 0);
}

KRef
flash_open(Flash *f, KRef from, KRef to, const Sym *var)
{
	KRef loop = gen_loop(f->g, LoopSerial, from, to, 1);

	if (var)
		gen_bind(f->g, var, loop);
	return loop;
}

void
flash_close(Flash *f, KRef loop, const Sym *var)
{
	if (var)
		gen_unbind(f->g, var);
	gen_end(f->g, loop);
}

/* ---- buffers --------------------------------------------------------------------------- */

/* Small ones lie on the stack, large ones in the arena. */
int
flash_local(Flash *f, const char *name, const Sym *count)
{
	int64_t n;
	bool small = sym_isconst(count, &n) && n * dtypeinfo[f->dt].bytes <= 4096;

	return gen_localbuf(f->g, NULL, intern_str(f->cx, name), f->dt, small ? KStack : KScratch, small ? n : 0, small ? NULL : count);
}

KRef
flash_load(Flash *f, int buf, KRef at, int lanes)
{
	return gen_ins(f->g, (KIns){.op = KLoad, .dt = f->dt, .lanes = (uint8_t)lanes, .buf = (uint16_t)buf, .a = at});
}

void
flash_store(Flash *f, int buf, KRef at, KRef v)
{
	gen_ins(f->g, (KIns){.op = KStore, .dt = f->dt, .lanes = f->g->k->ins.v[v].lanes, .buf = (uint16_t)buf, .a = at, .b = v});
}

KRef
flash_fill(Flash *f, double x)
{
	return gen_splat(f->g, gen_float(f->g, f->dt, x), f->W);
}

void
flash_clear(Flash *f, int buf, KRef at, KRef vectors)
{
	KRef z = flash_open(f, flash_const(f, 0), vectors, NULL);

	flash_store(f, buf, gen_add(f->g, at, gen_mul(f->g, z, flash_const(f, f->W))), flash_fill(f, 0));
	flash_close(f, z, NULL);
}

/* ---- lanes ------------------------------------------------------------------------------- */

void
flash_lanes(Flash *f, const Sym *var, KRef first, const Sym *ext)
{
	Gen *g = f->g;
	KRef end = gen_sym(g, ext);

	gen_push(g);
	if (f->W == 1) {                 /* beyond the last, the last again */
		gen_bind(g, var, flash_min(f, first, gen_op(g, ScSub, DtI64, end, flash_const(f, 1), 0)));
		return;
	}
	gen_bind(g, var, first);
	g->vec = gen_bit(g, var);
	g->vecvar = var;
	g->lanes = f->W;
	if (!sym_divides(f->cx, sym_const(f->cx, f->NR), ext))
		g->mask = gen_op(g, ScLt, DtB8, gen_ramp(g, f->W), gen_op(g, ScSub, DtI64, end, first, 0), 0);
}

void
flash_scalar(Flash *f, const Sym *var)
{
	f->g->vec = 0;
	f->g->vecvar = NULL;
	f->g->lanes = 1;
	f->g->mask = 0;
	gen_unbind(f->g, var);
	gen_pop(f->g);
}

KRef
flash_apply(Flash *f, const Ex *e, KRef h0, KRef h1)
{
	KRef r;

	gen_push(f->g);
	gen_remember(f->g, f->hole[0], h0);
	if (h1)
		gen_remember(f->g, f->hole[1], h1);
	r = gen_splat(f->g, gen_ex(f->g, e), f->W);
	gen_pop(f->g);
	return r;
}

typedef struct Panel { Flash *f; int buf; KRef at; const Ex *e; const Sym *k; } Panel;

/* Elements k, k + 1 ... of a row to its lane, `count` at a time from `from` to `to`. */
static void
spread(Panel *p, KRef from, KRef to, int count)
{
	Flash *f = p->f;
	Gen *g = f->g;
	KRef loop = gen_loop(g, LoopSerial, from, to, count), k;

	for (int u = 0; u < count; u++) {
		gen_push(g);
		gen_bind(g, p->k, k = gen_add(g, loop, flash_const(f, u)));
		flash_store(f, p->buf, gen_add(g, p->at, gen_mul(g, k, flash_const(f, f->NR))), gen_ex(g, p->e));
		gen_unbind(g, p->k);
		gen_pop(g);
	}
	gen_end(g, loop);
}

/* By gathers of vectors. */
static void
gathered(Panel *p, const Sym *var, KRef first, const Sym *ext, const Sym *n)
{
	Flash *f = p->f;
	Gen *g = f->g;
	KRef loop = flash_open(f, flash_const(f, 0), flash_size(f, n), p->k);
	KRef to = gen_add(g, p->at, gen_mul(g, loop, flash_const(f, f->NR)));

	gen_hoist(g, p->e);
	for (int v = 0; v < f->NV; v++) {
		flash_lanes(f, var, gen_add(g, first, flash_const(f, v * f->W)), ext);
		flash_store(f, p->buf, gen_add(g, to, flash_const(f, v * f->W)), gen_splat(g, gen_ex(g, p->e), f->W));
		flash_scalar(f, var);
	}
	flash_close(f, loop, p->k);
}

/* Machines with shorter vectors than 64 bytes gather more slowly than they load and store one by one (measured). */
void
flash_panel(Flash *f, int buf, KRef at, const Ex *e, const Sym *var, KRef first, const Sym *ext, const Sym *k, const Sym *n)
{
	Gen *g = f->g;
	KRef main, lane;
	const Target *t = f->lo->opt.target;
	Panel p = {f, buf, at, e, k};

	if (t->gather && t->vecbytes >= 64 && f->W > 1) {
		gathered(&p, var, first, ext, n);
		return;
	}
	if (!sym_divides(f->cx, sym_const(f->cx, f->NR), ext))
		flash_clear(f, buf, at, gen_mul(g, flash_size(f, n), flash_const(f, f->NV)));
	main = gen_op(g, ScAnd, DtI64, flash_size(f, n), flash_const(f, -8), 0);
	lane = flash_open(f, flash_const(f, 0), flash_min(f, gen_op(g, ScSub, DtI64, flash_size(f, ext), first, 0), flash_const(f, f->NR)), NULL);
	gen_bind(g, var, gen_add(g, first, lane));
	p.at = gen_add(g, at, lane);
	gen_hoist(g, e);
	spread(&p, flash_const(f, 0), main, 8);
	spread(&p, main, flash_size(f, n), 1);
	flash_close(f, lane, var);
}

/* ---- rows ---------------------------------------------------------------------------------- */

static bool
inplace(Flash *f, const Ex *e, const Sym *col)
{
	const Sym *k, *rest;

	return e->kind == ExLoad && e->dt == f->dt && sym_linear(f->cx, e->idx[0], col, &k, &rest) && sym_is(k, 1) &&
	       !(gen_fvsym(f->g, rest) & gen_bit(f->g, col));
}

Rows
flash_rows(Flash *f, const char *name, const Ex *e, const Sym *row, const Sym *col, const Sym *ncol, int64_t block, const Sym *width)
{
	Rows r = {.e = e, .row = row, .col = col, .ncol = ncol, .width = width ? width : ncol, .buf = -1};

	if (width || !inplace(f, e, col))
		r.buf = flash_local(f, name, sym_mul(f->cx, r.width, sym_const(f->cx, block)));
	return r;
}

typedef struct Copying { Flash *f; const Rows *r; KRef to; } Copying;

static void
copyrow(Gen *g, void *arg)
{
	Copying *c = arg;
	KRef v = gen_splat(g, gen_ex(g, c->r->e), g->lanes);

	gen_ins(g, (KIns){.op = KStore, .dt = c->f->dt, .lanes = (uint8_t)g->lanes, .buf = (uint16_t)c->r->buf,
	                  .a = gen_add(g, c->to, gen_sym(g, c->r->col)), .b = v, .c = g->mask});
}

void
flash_copy(Flash *f, const Rows *r, KRef row0, KRef n)
{
	Gen *g = f->g;
	KRef loop, rest;

	if (r->buf < 0)
		return;
	loop = flash_open(f, flash_const(f, 0), n, NULL);
	gen_bind(g, r->row, gen_add(g, row0, loop));
	Copying c = {f, r, gen_mul(g, loop, flash_size(f, r->width))};
	gen_hoist(g, r->e);
	gen_for(g, r->col, r->ncol, true, copyrow, &c);
	rest = flash_open(f, flash_size(f, r->ncol), flash_size(f, r->width), NULL);
	flash_store(f, r->buf, gen_add(g, c.to, rest), gen_float(g, f->dt, 0));
	flash_close(f, rest, NULL);
	flash_close(f, loop, r->row);
}

/* ---- products -------------------------------------------------------------------------------- */

enum { MostRows = 16, MostVectors = 8 };

/* Rows of a tile that waste least of `most`. */
static int
tilerows(Flash *f, int64_t most, int nv, bool whole)
{
	int max = f->lo->opt.target->mr, best = 1;
	int64_t cost, least = INT64_MAX;

	for (int r = max; r >= 1; r--) {
		cost = (most + r - 1) / r * (r * nv + nv + r);
		if (cost < least && (r * nv >= 8 || r == most || r == max || whole) && !(whole && most % r)) {
			least = cost;
			best = r;
		}
	}
	return best;
}

typedef struct Tile {
	Flash *f;
	const Product *p;
	int    mr;
	KRef   first;                    /* row of the product */
	KRef   row[MostRows];            /* rows, the last one repeated */
	const Sym *var[MostRows];        /* the same for A's expression */
	KRef   acc[MostRows * MostVectors];
} Tile;

static KRef
crow(Tile *t, int r, int v)
{
	Gen *g = t->f->g;

	return gen_add(g, gen_add(g, t->p->cat, gen_mul(g, t->row[r], t->p->crow)), flash_const(t->f, v * t->f->W));
}

static void
rows(Tile *t)
{
	Gen *g = t->f->g;
	const Product *p = t->p;
	KRef last = gen_op(g, ScSub, DtI64, p->rows, flash_const(t->f, 1), 0);

	for (int r = 0; r < t->mr; r++) {
		t->row[r] = gen_add(g, t->first, flash_const(t->f, r));
		t->row[r] = p->whole ? t->row[r] : flash_min(t->f, t->row[r], last);
		if (!p->a || p->a->buf >= 0)
			continue;
		t->var[r] = sym_fresh(t->f->cx, "r", 0, INT64_MAX);
		gen_bind(g, t->var[r], gen_add(g, p->row0, t->row[r]));
		gen_hoist(g, ex_subst1(t->f->cx, p->a->e, p->a->row, t->var[r]));
	}
}

/* A's element in row r at k. */
static KRef
left(Tile *t, int r, KRef k)
{
	Gen *g = t->f->g;
	const Product *p = t->p;
	KRef at;

	if (p->a && p->a->buf < 0)
		return gen_ex(g, ex_subst1(t->f->cx, p->a->e, p->a->row, t->var[r]));
	if (p->a) {
		at = gen_mul(g, t->row[r], flash_size(t->f, p->a->width));
		return flash_load(t->f, p->a->buf, gen_add(g, at, k), 1);
	}
	at = gen_add(g, p->aat, gen_mul(g, t->row[r], p->arow));
	return flash_load(t->f, p->abuf, gen_add(g, at, gen_mul(g, k, p->ak)), 1);
}

static void
sums(Tile *t)
{
	Flash *f = t->f;
	Gen *g = f->g;
	const Product *p = t->p;
	const Sym *var = p->a && p->a->buf < 0 ? p->a->col : NULL;
	KRef k = flash_open(f, flash_const(f, 0), p->n, var), at, b[MostVectors];

	at = gen_add(g, p->bat, gen_mul(g, k, p->bk));
	for (int v = 0; v < p->nv; v++)
		b[v] = flash_load(f, p->bbuf, gen_add(g, at, flash_const(f, v * f->W)), f->W);
	for (int r = 0; r < t->mr; r++) {
		KRef a = gen_splat(g, left(t, r, k), f->W);
		for (int v = 0; v < p->nv; v++) {
			KRef acc = t->acc[r * p->nv + v];
			gen_set(g, acc, gen_op(g, ScFma, f->dt, a, b[v], gen_get(g, acc)));
		}
	}
	flash_close(f, k, var);
}

static void
start(Tile *t, int r)
{
	Flash *f = t->f;
	const Product *p = t->p;
	KRef by = 0, x;

	if (p->add && p->byat)
		by = gen_splat(f->g, flash_load(f, p->bybuf, gen_add(f->g, p->byat, t->row[r]), 1), f->W);
	for (int v = 0; v < p->nv; v++) {
		x = p->add ? flash_load(f, p->cbuf, crow(t, r, v), f->W) : flash_fill(f, 0);
		t->acc[r * p->nv + v] = gen_var(f->g, by ? gen_op(f->g, ScMul, f->dt, x, by, 0) : x);
	}
}

void
flash_multiply(Flash *f, const Product *p)
{
	Gen *g = f->g;
	Tile t = {.f = f, .p = p, .mr = tilerows(f, p->most, p->nv, p->whole)};
	KRef loop = flash_open(f, flash_const(f, 0), flash_blocks(f, p->rows, t.mr), NULL);

	t.first = gen_mul(g, loop, flash_const(f, t.mr));
	rows(&t);
	for (int r = 0; r < t.mr; r++)
		start(&t, r);
	sums(&t);
	for (int r = 0; r < t.mr; r++) {
		for (int v = 0; v < p->nv; v++)
			flash_store(f, p->cbuf, crow(&t, r, v), gen_get(g, t.acc[r * p->nv + v]));
		if (t.var[r])
			gen_unbind(g, t.var[r]);
	}
	flash_close(f, loop, NULL);
}

void
flash_multiplyrows(Flash *f, Product *p, const Sym *columns)
{
	Gen *g = f->g;
	KRef width = flash_const(f, p->nv * f->W), loop, at, bat = p->bat, cat = p->cat;

	loop = flash_open(f, flash_const(f, 0), gen_op(g, ScQuot, DtI64, flash_size(f, columns), width, 0), NULL);
	at = gen_mul(g, loop, width);
	p->bat = gen_add(g, bat, at);
	p->cat = gen_add(g, cat, at);
	flash_multiply(f, p);
	flash_close(f, loop, NULL);
}

/* ---- results ------------------------------------------------------------------------------------ */

typedef struct Putting { Flash *f; int buf; KRef at, by; Val *val; const Sym *col, *to; } Putting;

static void
putrow(Gen *g, void *arg)
{
	Putting *p = arg;
	KRef v = gen_ins(g, (KIns){.op = KLoad, .dt = p->f->dt, .lanes = (uint8_t)g->lanes, .buf = (uint16_t)p->buf,
	                           .a = gen_add(g, p->at, gen_sym(g, p->col)), .b = g->mask});

	if (p->by)
		v = gen_op(g, ScMul, p->f->dt, v, p->by, 0);
	gen_put(g, p->val, p->to, gen_cast(g, p->val->type->dt, v));
}

void
flash_put(Flash *f, int out, const Sym *row, const Sym *col, const Sym *ncol, int buf, KRef at, KRef by)
{
	Val *v = &f->node->out[out];
	const Sym *idx[MaxRank];
	int n = v->type->rank > f->nb + 2;       /* in shares */

	idx[0] = f->share;
	memcpy(idx + n, f->b, sizeof *idx * (size_t)f->nb);
	n += f->nb;
	idx[n++] = row;
	idx[n++] = col;
	Putting p = {f, buf, at, by, v, col, linear_index(f->cx, type_tensor(f->cx, v->type->dt, v->type->rank, v->type->dim), idx)};
	gen_hoistsym(f->g, p.to);
	gen_for(f->g, col, ncol, true, putrow, &p);
}
