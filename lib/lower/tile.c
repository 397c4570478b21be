/* tile.c - a contraction as loops: register tiles, what is packed around them, what comes after them.
 *
 * contract.c found the contraction and chose its form; contract.h says what the variables mean.
 */
#include "lower/contract.h"

enum { WorkerFlops = 1 << 18, DirectCost = 12 };

/* ---- the tile -------------------------------------------------------------------------------- */

const Sym *
contract_kflat(Contraction *c)
{
	const Sym *f = sym_const(c->lo->cx, 0);

	for (int i = 0; i < c->nk; i++)
		f = contract_plus(c, sym_mul(c->lo->cx, f, c->kext[i]), c->k[i]);
	return f;
}

const Sym *
pack_outer(Contraction *c, const int *o, int n)
{
	const Sym *f = sym_const(c->lo->cx, 0);

	for (int i = 0; i < n; i++)
		f = contract_plus(c, sym_mul(c->lo->cx, f, c->oext[o[i]]), c->o[o[i]]);
	return f;
}

static KRef
loadat(Contraction *c, int buf, const Sym *at, int lanes)
{
	c->g->k->buf.v[buf].read = true;
	return gen_ins(c->g, (KIns){.op = KLoad, .dt = c->g->k->buf.v[buf].dt, .lanes = (uint8_t)lanes,
	                            .buf = (uint16_t)buf, .a = gen_sym(c->g, at)});
}

/* Tile number t, `width` wide, in panels `panel` wide: where its row k begins. */
static const Sym *
panelindex(Contraction *c, const int *o, int no, const Sym *extent, const Sym *t, const Sym *kf, int panel, int width)
{
	Ctx *cx = c->lo->cx;
	const Sym *parts = sym_const(cx, panel / width);
	const Sym *at = sym_mul(cx, pack_outer(c, o, no), sym_ceildiv(cx, extent, sym_const(cx, panel)));

	at = contract_plus(c, at, sym_div(cx, t, parts));
	at = contract_times(c, contract_plus(c, sym_mul(cx, at, c->K), kf), panel);
	return contract_plus(c, at, contract_times(c, sym_mod(cx, t, parts), width));
}

/* Where vector v of B's row k lies, and in which buffer. */
static const Sym *
bindex(Contraction *c, const Sym *kf, int *buf)
{

	if (c->bform == BDirect) {
		const Ex *l = contract_load(c->B);
		const Sym *col = contract_times(c, c->jp, c->NR);
		*buf = gen_buf(c->g, l->val);
		return sym_subst(c->lo->cx, l->idx[0], &c->n[0], &col, 1);
	}
	if (c->bform == BPacked) {
		*buf = gen_buf(c->g, &c->bpack->val);
		return panelindex(c, c->bo, c->nbo, c->N, c->jp, kf, c->PB, c->NR);
	}
	*buf = c->blockbuf;
	return contract_times(c, contract_plus(c, sym_mul(c->lo->cx, c->jl, c->K), kf), c->NR);
}

/* Row r of A at k, one lane. */
static KRef
aload(Contraction *c, const Sym *kf, int r, const Sym *const *row)
{
	if (c->aform == APacked) {
		const Sym *at = panelindex(c, c->ao, c->nao, c->M, c->mt, kf, c->PA, c->MR);
		return loadat(c, gen_buf(c->g, &c->apack->val), contract_plus(c, at, sym_const(c->lo->cx, r)), 1);
	}
	return gen_ex(c->g, c->m ? ex_subst1(c->lo->cx, c->A, c->m, row[r]) : c->A);
}

static void
kstep(Contraction *c, const Sym *kf, const KRef *acc, const Sym *const *row)
{
	Gen *g = c->g;
	KRef b[16], a;
	int buf;
	const Sym *at = bindex(c, kf, &buf);

	for (int v = 0; v < c->NV; v++)
		b[v] = gen_cast(g, c->dt, loadat(c, buf, contract_plus(c, at, sym_const(c->lo->cx, v * c->W)), c->W));
	for (int r = 0; r < c->MR; r++) {
		a = gen_splat(g, gen_cast(g, c->dt, aload(c, kf, r, row)), c->W);
		for (int v = 0; v < c->NV; v++)
			gen_set(g, acc[r * c->NV + v],
			        gen_op(g, ScFma, c->dt, a, b[v], gen_get(g, acc[r * c->NV + v])));
	}
}

static void
hoistat(Contraction *c, const Sym *kf, const Sym *const *row)
{
	int buf;

	gen_hoistsym(c->g, bindex(c, kf, &buf));
	if (c->aform == APacked)
		gen_hoistsym(c->g, panelindex(c, c->ao, c->nao, c->M, c->mt, kf, c->PA, c->MR));
	if (c->aform == ADirect && c->m)
		for (int r = 0; r < c->MR; r++)
			gen_hoist(c->g, ex_subst1(c->lo->cx, c->A, c->m, row[r]));
}

/* Loops over k: one if everything is packed, else one for each of its variables. */
static void
kloops(Contraction *c, int level, const KRef *acc, const Sym *const *row)
{
	Gen *g = c->g;
	bool flat = c->aform == APacked && c->bform != BDirect;
	const Sym *kf = flat ? c->flat : contract_kflat(c);
	const Sym *var = flat ? c->flat : c->k[level], *ext = flat ? c->K : c->kext[level];
	KRef loop;

	hoistat(c, kf, row);
	loop = gen_loop(g, LoopSerial, gen_int(g, DtI64, 0), gen_sym(g, ext), 1);
	gen_bind(g, var, loop);
	if (flat || level == c->nk - 1)
		kstep(c, kf, acc, row);
	else
		kloops(c, level + 1, acc, row);
	gen_unbind(g, var);
	gen_end(g, loop);
}

/* Where the last tile begins: earlier than the others would have it, so that all have the same rows. */
static void
openrows(Contraction *c)
{
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;
	int64_t M;

	if (c->aform == APacked || c->pieces || !contract_const(c->M, &M) || M < c->MR || M % c->MR == 0)
		return;
	c->row0 = sym_fresh(cx, "m", 0, INT64_MAX);
	gen_bind(g, c->row0, gen_op(g, ScMin, DtI64, gen_sym(g, contract_times(c, c->mt, c->MR)), gen_int(g, DtI64, M - c->MR), 0));
}

static void
closerows(Contraction *c)
{
	if (c->row0)
		gen_unbind(c->g, c->row0);
	c->row0 = NULL;
}

static const Sym *
firstrow(Contraction *c)
{
	return c->row0 ? c->row0 : contract_times(c, c->mt, c->MR);
}

/* The rows that this tile reads: beyond the last, the last again. */
static void
rows(Contraction *c, const Sym **row)
{
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;
	bool whole = c->row0 || sym_divides(cx, sym_const(cx, c->MR), c->M);

	for (int r = 0; r < c->MR; r++) {
		row[r] = contract_plus(c, firstrow(c), sym_const(cx, r));
		if (whole || c->aform == APacked)
			continue;
		KRef last = gen_sym(g, sym_sub(cx, c->M, sym_const(cx, 1)));
		KRef at = gen_op(g, ScMin, DtI64, gen_sym(g, row[r]), last, 0);
		row[r] = sym_fresh(cx, "r", 0, INT64_MAX);
		gen_bind(g, row[r], at);
	}
}

/* Where the sums of the tile at hand wait. */
static const Sym *
partat(Contraction *c, int64_t i)
{
	const Sym *t = contract_plus(c, contract_times(c, c->mt, c->NP), c->jl);

	return contract_plus(c, contract_times(c, t, (int64_t)c->MR * c->NR), sym_const(c->lo->cx, i));
}

/* ---- the epilogue ------------------------------------------------------------------------------ */

typedef struct Epilogue { Contraction *c; const Ex *e; const Sym *at; const Sym *mi, *ni; KRef nmax; const Sym *next; } Epilogue;

static void
epiloguestore(Gen *g, void *arg)
{
	Epilogue *w = arg;

	gen_store(g, gen_buf(g, w->c->p->val), w->at, w->e);
}

static void
epiloguerow(Gen *g, void *arg)
{
	Epilogue *w = arg;

	gen_hoist(g, w->e);
	gen_range(g, w->ni, gen_int(g, DtI64, 0), w->next ? gen_sym(g, w->next) : w->nmax, w->next, true,
	          epiloguestore, w);
}

/* The value at row mi, column ni of the tile. */
static void
epilogueof(Contraction *c, Epilogue *w)
{
	Ctx *cx = c->lo->cx;
	const Sym *old[MaxRank + 1], *with[MaxRank + 1], *at;
	int n = 0;

	w->c = c;
	w->mi = sym_fresh(cx, "mi", 0, c->MR - 1);
	w->ni = sym_fresh(cx, "ni", 0, c->NR - 1);
	at = contract_plus(c, contract_times(c, w->mi, c->NR), w->ni);
	at = c->pieces ? contract_plus(c, partat(c, 0), at) : at;
	w->e = contract_replaced(cx, c->p->e, c->fold, ex_load(cx, c->pieces ? c->part : c->tile, &at, 1));
	if (c->m) {
		old[n] = c->m;
		with[n++] = contract_plus(c, firstrow(c), w->mi);
	}
	for (int i = 0; i < c->nn; i++) {
		old[n] = c->n[i];
		with[n++] = i < c->nn - 1 ? sym_const(cx, 0) : contract_plus(c, contract_times(c, c->jp, c->NR), w->ni);
	}
	w->e = ex_rewrite(cx, w->e, NULL, NULL, old, with, n);
	w->at = sym_subst(cx, c->p->at, old, with, n);
	gen_declare(c->g, w->mi);
	gen_declare(c->g, w->ni);
	gen_fv(c->g, w->e);
}

static void
epilogue(Contraction *c)
{
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;
	Epilogue w = {0};
	const Sym *m0 = contract_times(c, c->mt, c->MR), *n0 = contract_times(c, c->jp, c->NR);
	bool rows = sym_divides(cx, sym_const(cx, c->MR), c->M);
	KRef mmin = gen_int(g, DtI64, 0), mmax = gen_int(g, DtI64, c->MR);

	epilogueof(c, &w);
	if (sym_divides(cx, sym_const(cx, c->NR), c->N))
		w.next = sym_const(cx, c->NR);
	else
		w.nmax = gen_op(g, ScMin, DtI64, gen_sym(g, sym_sub(cx, c->N, n0)), gen_int(g, DtI64, c->NR), 0);
	if (c->row0)
		mmin = gen_sym(g, sym_sub(cx, m0, c->row0));       /* the rows before are the last tile's but one */
	else if (!rows)
		mmax = gen_op(g, ScMin, DtI64, gen_sym(g, sym_sub(cx, c->M, m0)), mmax, 0);
	gen_range(g, w.mi, mmin, mmax, NULL, false, epiloguerow, &w);
}

/* ---- the epilogue of a whole tile, out of registers ------------------------------------------------ */

static bool
cheap(Contraction *c)
{
	return c->W >= 4 && ex_cost(contract_replaced(c->lo->cx, c->p->e, c->fold, ex_float(c->lo->cx, c->dt, 0))) <= DirectCost;
}

/* Is the tile whole?  0: each is, so far as is known when compiling. */
static KRef
wholetile(Contraction *c)
{
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;
	KRef rows = 0, columns = 0;

	if (c->row0)
		rows = gen_op(g, ScEq, DtB8, gen_sym(g, c->row0), gen_sym(g, contract_times(c, c->mt, c->MR)), 0);
	else if (!sym_divides(cx, sym_const(cx, c->MR), c->M))
		rows = gen_op(g, ScLe, DtB8, gen_sym(g, contract_times(c, contract_plus(c, c->mt, sym_const(cx, 1)), c->MR)),
		              gen_sym(g, c->M), 0);
	if (!sym_divides(cx, sym_const(cx, c->NR), c->N))
		columns = gen_op(g, ScLe, DtB8, gen_sym(g, contract_times(c, contract_plus(c, c->jp, sym_const(cx, 1)), c->NR)),
		                 gen_sym(g, c->N), 0);
	return rows && columns ? gen_op(g, ScAnd, DtB8, rows, columns, 0) : rows ? rows : columns;
}

/* The value of one vector of the tile, its sum being at hand. */
static void
direct(Contraction *c, const Epilogue *w, int i, KRef sum)
{
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;
	const Sym *row = sym_const(cx, i / c->NV), *at = contract_plus(c, contract_times(c, row, c->NR), w->ni);

	gen_push(g);
	gen_bind(g, w->ni, gen_int(g, DtI64, (int64_t)(i % c->NV) * c->W));
	g->vec = gen_bit(g, w->ni);
	g->vecvar = w->ni;
	g->lanes = c->W;
	gen_remember(g, ex_load(cx, c->tile, &at, 1), sum);
	gen_store(g, gen_buf(g, c->p->val), sym_subst(cx, w->at, &w->mi, &row, 1), ex_subst1(cx, w->e, w->mi, row));
	g->vec = 0;
	g->vecvar = NULL;
	g->lanes = 1;
	gen_unbind(g, w->ni);
	gen_pop(g);
}

static void
directly(Contraction *c, const KRef *acc)
{
	Epilogue w = {0};

	epilogueof(c, &w);
	for (int i = 0; i < c->MR * c->NV; i++)
		direct(c, &w, i, gen_get(c->g, acc[i]));
}

static void
partstore(Contraction *c, int64_t i, KRef v)
{
	gen_ins(c->g, (KIns){.op = KStore, .dt = c->dt, .lanes = (uint8_t)c->W, .buf = (uint16_t)c->partbuf,
	                     .a = gen_sym(c->g, partat(c, i)), .b = v});
}

static void
clearpart(Contraction *c)
{
	KRef zero = gen_splat(c->g, gen_float(c->g, c->dt, 0), c->W);

	for (int i = 0; i < c->MR * c->NV; i++)
		partstore(c, (int64_t)i * c->W, zero);
}

/* A tile's products of one piece of K are added to its sums. */
static void
addtile(Contraction *c)
{
	Gen *g = c->g;
	KRef acc[256];
	const Sym *row[64];

	rows(c, row);
	for (int i = 0; i < c->MR * c->NV; i++)
		acc[i] = gen_var(g, loadat(c, c->partbuf, partat(c, (int64_t)i * c->W), c->W));
	kloops(c, 0, acc, row);
	for (int i = 0; i < c->MR * c->NV; i++)
		partstore(c, (int64_t)i * c->W, gen_get(g, acc[i]));
}

/* ---- tiles of products of rows with rows ------------------------------------------------------------ */

typedef struct Dots {
	Contraction *c;
	const Sym *const *row;
	const Sym *col[4];
	int ncol;
	KRef acc[16];
} Dots;

static void
dotstep(Gen *g, void *arg)
{
	Dots *d = arg;
	Contraction *c = d->c;
	KRef b[4];

	for (int v = 0; v < d->ncol; v++)
		b[v] = gen_splat(g, gen_ex(g, ex_subst1(c->lo->cx, c->B, c->n[0], d->col[v])), c->W);
	for (int r = 0; r < c->MR; r++) {
		KRef a = gen_splat(g, gen_ex(g, c->m ? ex_subst1(c->lo->cx, c->A, c->m, d->row[r]) : c->A), c->W);
		for (int v = 0; v < d->ncol; v++) {
			KRef *acc = &d->acc[r * d->ncol + v];
			gen_set(g, *acc, gen_op(g, ScFma, c->dt, a, b[v], gen_get(g, *acc)));
		}
	}
}

static void
dotloops(Dots *d, int level)
{
	Contraction *c = d->c;
	Gen *g = c->g;
	KRef loop;

	if (level == c->nk - 1) {
		gen_for(g, c->k[level], c->kext[level], true, dotstep, d);
		return;
	}
	loop = gen_loop(g, LoopSerial, gen_int(g, DtI64, 0), gen_sym(g, c->kext[level]), 1);
	gen_bind(g, c->k[level], loop);
	dotloops(d, level + 1);
	gen_unbind(g, c->k[level]);
	gen_end(g, loop);
}

/* NR columns, a few at a time; beyond the last, the last again. */
static void
dottile(Contraction *c)
{
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;
	const Sym *row[64];
	Dots d = {.c = c, .row = row, .ncol = c->lo->opt.target->nreg >= 32 ? 4 : c->MR > 2 ? 2 : 4};
	KRef zero = gen_splat(g, gen_float(g, c->dt, 0), c->W), loop, first, last;

	rows(c, row);
	last = gen_sym(g, sym_sub(cx, c->N, sym_const(cx, 1)));
	loop = gen_loop(g, LoopSerial, gen_int(g, DtI64, 0), gen_int(g, DtI64, c->NR / d.ncol), 1);
	first = gen_mul(g, loop, gen_int(g, DtI64, d.ncol));
	for (int v = 0; v < d.ncol; v++) {
		KRef at = gen_add(g, gen_add(g, gen_sym(g, contract_times(c, c->jp, c->NR)), first), gen_int(g, DtI64, v));
		d.col[v] = sym_fresh(cx, "c", 0, INT64_MAX);
		gen_bind(g, d.col[v], gen_op(g, ScMin, DtI64, at, last, 0));
	}
	for (int i = 0; i < c->MR * d.ncol; i++)
		d.acc[i] = gen_var(g, zero);
	dotloops(&d, 0);
	for (int i = 0; i < c->MR * d.ncol; i++) {
		KRef sum = gen_ins(g, (KIns){.op = KReduce, .sub = FoldSum, .dt = c->dt, .lanes = 1, .a = gen_get(g, d.acc[i])});
		gen_ins(g, (KIns){.op = KStore, .dt = c->dt, .lanes = 1, .buf = (uint16_t)c->tilebuf,
		                  .a = gen_add(g, first, gen_int(g, DtI64, i / d.ncol * c->NR + i % d.ncol)), .b = sum});
	}
	for (int v = 0; v < d.ncol; v++)
		gen_unbind(g, d.col[v]);
	gen_end(g, loop);
	epilogue(c);
}

static void
bytile(Contraction *c, const KRef *acc)
{
	Gen *g = c->g;

	for (int i = 0; i < c->MR * c->NV; i++)
		gen_ins(g, (KIns){.op = KStore, .dt = c->dt, .lanes = (uint8_t)c->W, .buf = (uint16_t)c->tilebuf,
		                  .a = gen_int(g, DtI64, (int64_t)(i / c->NV) * c->NR + i % c->NV * c->W),
		                  .b = gen_get(g, acc[i])});
	epilogue(c);
}

static KRef
open(Gen *g, KRef condition)
{
	KRef r = gen_ins(g, (KIns){.op = KIf, .a = condition, .lanes = 1});

	gen_push(g);
	return r;
}

static void
finish(Contraction *c, const KRef *acc)
{
	Gen *g = c->g;
	KRef whole, opened;

	if (!cheap(c)) {
		bytile(c, acc);
		return;
	}
	if (!(whole = wholetile(c))) {
		directly(c, acc);
		return;
	}
	opened = open(g, whole);
	directly(c, acc);
	gen_end(g, opened);
	opened = open(g, gen_op(g, ScNot, DtB8, whole, 0, 0));
	bytile(c, acc);
	gen_end(g, opened);
}

static void
sumtile(Contraction *c)
{
	Gen *g = c->g;
	KRef acc[256], zero;
	const Sym *row[64];

	zero = gen_splat(g, gen_float(g, c->dt, 0), c->W);
	rows(c, row);
	for (int i = 0; i < c->MR * c->NV; i++)
		acc[i] = gen_var(g, zero);
	kloops(c, 0, acc, row);
	finish(c, acc);
}

static void
tile(Contraction *c)
{
	openrows(c);
	if (c->bform == BRows)
		dottile(c);
	else
		sumtile(c);
	closerows(c);
}

/* ---- loops around the tile ------------------------------------------------------------------------ */

static KRef
openloop(Contraction *c, const Sym *var, KRef from, KRef to)
{
	KRef loop = gen_loop(c->g, LoopSerial, from, to, 1);

	gen_bind(c->g, var, loop);
	return loop;
}

static void
closeloop(Contraction *c, const Sym *var, KRef loop)
{
	gen_unbind(c->g, var);
	gen_end(c->g, loop);
}

static KRef
izero(Contraction *c)
{
	return gen_int(c->g, DtI64, 0);
}

/* Rows that stay in the cache while panels of a constant B pass by. */
static int64_t
rowtiles(Contraction *c)
{
	int64_t K, n;

	if (!contract_const(c->K, &K))
		K = 512;
	n = c->lo->opt.target->l2 / 2 / (K * dtypeinfo[c->dt].bytes) / c->MR;
	return n < 8 ? 8 : n;
}

/* One panel of B, the row tiles of a block of rows. */
static void
panelbody(Contraction *c, KRef from, KRef to)
{
	KRef loop = openloop(c, c->mt, from, to);

	tile(c);
	closeloop(c, c->mt, loop);
}

/* All tiles of a block. */
static void
tiles(Contraction *c, const Sym *p0, KRef panels, void (*fn)(Contraction *))
{
	Gen *g = c->g;
	KRef loop = openloop(c, c->mt, izero(c), gen_sym(g, c->MT)), inner = openloop(c, c->jl, izero(c), panels);

	gen_bind(g, c->jp, gen_add(g, gen_sym(g, p0), inner));
	fn(c);
	gen_unbind(g, c->jp);
	closeloop(c, c->jl, inner);
	closeloop(c, c->mt, loop);
}

/* The loops over the outer k variables and the pieces. */
static void
pieceloops(Contraction *c, int level, const Sym *p0, KRef panels)
{
	bool last = level == c->nko;
	const Sym *var = last ? c->kp : c->ko[level];
	KRef loop = openloop(c, var, izero(c), gen_sym(c->g, last ? c->KP : c->koext[level]));

	if (last) {
		pack_block(c, p0, panels);
		tiles(c, p0, panels, addtile);
	} else {
		pieceloops(c, level + 1, p0, panels);
	}
	closeloop(c, var, loop);
}

/* A block of B is packed; all row tiles, panels inside. */
static void
blockbody(Contraction *c, const Sym *nb)
{
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;
	const Sym *p0 = contract_times(c, nb, c->NP);
	KRef panels;

	panels = gen_int(g, DtI64, c->NP);
	if (!sym_divides(cx, sym_const(cx, c->NP), c->NT))
		panels = gen_op(g, ScMin, DtI64, panels, gen_sym(g, sym_sub(cx, c->NT, p0)), 0);
	if (!c->pieces) {
		pack_block(c, p0, panels);
		tiles(c, p0, panels, tile);
		return;
	}
	tiles(c, p0, panels, clearpart);
	pieceloops(c, 0, p0, panels);
	tiles(c, p0, panels, epilogue);
}

/* One row tile, the panels of a block. */
static void
rowbody(Contraction *c, const Sym *blk)
{
	Gen *g = c->g;
	const Sym *p0 = contract_times(c, blk, c->NP);
	KRef panels = gen_int(g, DtI64, c->NP), loop;

	if (!sym_divides(c->lo->cx, sym_const(c->lo->cx, c->NP), c->NT))
		panels = gen_op(g, ScMin, DtI64, panels, gen_sym(g, sym_sub(c->lo->cx, c->NT, p0)), 0);
	loop = openloop(c, c->jl, izero(c), panels);
	gen_bind(g, c->jp, gen_add(g, gen_sym(g, p0), loop));
	tile(c);
	gen_unbind(g, c->jp);
	closeloop(c, c->jl, loop);
}

static void
write(Contraction *c)
{
	Ctx *cx = c->lo->cx;
	Gen *g = c->g;
	const Sym *var[MaxRank + 3], *ext[MaxRank + 3];
	int n = c->no;
	int64_t mb = rowtiles(c);
	const Sym *blk = sym_fresh(cx, "b", 0, INT64_MAX);
	KRef loop;

	memcpy(var, c->o, sizeof *var * (size_t)n);
	memcpy(ext, c->oext, sizeof *ext * (size_t)n);
	var[n] = blk;
	if (c->bform == BBlock) {
		ext[n++] = sym_ceildiv(cx, c->NT, sym_const(cx, c->NP));
		loop = gen_tasks(g, var, ext, n);
		blockbody(c, blk);
	} else if (c->byrows) {
		ext[n++] = sym_ceildiv(cx, c->NT, sym_const(cx, c->NP));
		var[n] = c->mt;
		ext[n++] = c->MT;
		loop = gen_tasks(g, var, ext, n);
		rowbody(c, blk);
	} else {
		ext[n++] = sym_ceildiv(cx, c->MT, sym_const(cx, mb));
		var[n] = c->jp;
		ext[n++] = c->NT;
		loop = gen_tasks(g, var, ext, n);
		KRef from = gen_mul(g, gen_sym(g, blk), gen_int(g, DtI64, mb));
		KRef to = gen_op(g, ScMin, DtI64, gen_add(g, from, gen_int(g, DtI64, mb)), gen_sym(g, c->MT), 0);
		panelbody(c, from, to);
	}
	for (int i = 0; i < n; i++)
		gen_unbind(g, var[i]);
	gen_end(g, loop);
}

static Val *
localval(Contraction *c, const char *name, int64_t count)
{
	Val *v = NEW(c->lo->a, Val);
	const Sym *n = sym_const(c->lo->cx, count);

	v->type = type_tensor(c->lo->cx, c->dt, 1, &n);
	v->name = intern_str(c->lo->cx, name);
	return v;
}

/* Small buffers lie on the stack, large ones in the arena. */
static int
local(Contraction *c, Val *v, const char *name, int64_t count)
{
	bool small = count * dtypeinfo[c->dt].bytes <= 32768;

	return gen_localbuf(c->g, v, intern_str(c->lo->cx, name), c->dt, small ? KStack : KScratch, small ? count : 0,
	                    small ? NULL : sym_const(c->lo->cx, count));
}

static void
buffers(Contraction *c)
{
	int64_t K, ow, M;

	gen_buf(c->g, c->p->val);
	c->tile = localval(c, "tile", (int64_t)c->MR * c->NR);
	c->tilebuf = gen_localbuf(c->g, c->tile, c->tile->name, c->dt, KStack, (int64_t)c->MR * c->NR, NULL);
	if (c->bform != BBlock || !contract_const(c->K, &K))
		return;
	c->blockbuf = local(c, NULL, "block", c->NP * K * c->NR);
	if (c->pieces && contract_const(c->MT, &M)) {
		c->part = localval(c, "part", M * c->MR * c->NP * c->NR);
		c->partbuf = local(c, c->part, "part", M * c->MR * c->NP * c->NR);
	}
	ow = contract_const(c->next[c->nn - 1], &ow) ? ow : 0;
	c->line = c->NP * c->NR + 2 * ow + 2 * c->W;
	c->linebuf = c->nn > 1 ? local(c, NULL, "line", c->line) : -1;
}

/* What a worker should have to do, lest it costs more to wake it. */
static void
estimate(Contraction *c)
{
	Kernel *k = c->g->k;
	const Sym *K = numel_of(c->lo->cx, c->fold->idx, c->fold->nidx), *o = numel_of(c->lo->cx, c->oext, c->no);

	k->flops = 2 * contract_extent(c->M) * contract_extent(c->N) * contract_extent(K);
	if (k->parallel)
		k->grain = 1 + (int64_t)((double)WorkerFlops * (double)contract_extent(k->parallel) /
		                         ((double)k->flops * (double)contract_extent(o)));
}

int
contract_kernels(Lower *lo, Group *gr, Made made[MaxMade])
{
	Contraction *c = NEW(lo->a, Contraction);

	c->lo = lo;
	c->nest = nest_prepare(lo, gr);
	c->g = c->nest->g;
	if (!contract_analyse(c)) {
		lo->nkernel--;
		return 0;
	}
	c->mt = contract_loopvar(c, "mt", c->MT);
	c->jp = contract_loopvar(c, "jp", c->NT);
	c->jl = contract_loopvar(c, "jl", sym_const(lo->cx, c->NP + 1));
	c->flat = contract_loopvar(c, "kf", c->K);
	buffers(c);
	write(c);
	estimate(c);
	c->made[c->nmade++] = (Made){c->g->k, c->g};
	memcpy(made, c->made, sizeof c->made);
	return c->nmade;
}
