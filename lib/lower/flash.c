/* flash.c - attention in blocks, forward: no matrix of scores ever lies in memory.
 *
 *     for b.., blocks of queries (parallel)
 *             panels of the block = q, queries over the lanes
 *             for blocks of keys (causal: up to the last query)
 *                     for panels
 *                             s = k @ panel, then what the table does to a score
 *                             largest, total: of all keys so far (online softmax: Milakov and Gimelshein, 2018)
 *                             s = exp(s - largest), dropped
 *                             o = o*exp(largest before - largest) + s.T @ v, columns of values over the lanes
 *             rows = o/total
 *
 * (Dao et al., FlashAttention-2, 2023.)  Scores have queries over the lanes, so that
 * keys are read where they are, the largest and the sum of a row are plain
 * operations on vectors, and a row's result does not depend on the block it is in.
 *
 * A row whose scores are all -inf has total 0: it is 0/0, as softmax has it, or 0.
 */
#include <math.h>
#include "lower/flash.h"

typedef struct Forward {
	Flash *f;
	Rows  k, v;
	const Ex *score, *weight;
	int64_t NP, BK;                  /* panels of a block of queries; keys of a block */
	int    q, o, s, max, sum, alpha; /* buffers: panels of q; rows of o; scores; numbers of each query */
	KRef   i0, panels;               /* first query of the block; its panels */
	KRef   j0, keys;                 /* first key of the block; how many */
	KRef   col;                      /* first column of the panel at hand in the block: panel*NR */
	KRef   base[8];
} Forward;

static KRef
lane0(Forward *w, int v)
{
	return gen_add(w->f->g, w->col, flash_const(w->f, v * w->f->W));
}

static KRef
query(Forward *w, int v)
{
	return gen_add(w->f->g, w->i0, lane0(w, v));
}

static KRef
panelat(Forward *w, const Sym *rows)
{
	return gen_mul(w->f->g, w->col, flash_size(w->f, rows));
}

static KRef
scoreat(Forward *w, KRef row, int v)
{
	Gen *g = w->f->g;

	return gen_add(g, gen_mul(g, row, flash_const(w->f, w->f->NR)), flash_const(w->f, v * w->f->W));
}

/* ---- a block of queries begins ------------------------------------------------------- */

static KRef
openpanel(Forward *w)
{
	KRef p = flash_open(w->f, flash_const(w->f, 0), w->panels, NULL);

	w->col = gen_mul(w->f->g, p, flash_const(w->f, w->f->NR));
	return p;
}

static void
begin(Forward *w)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef p = openpanel(w);

	flash_panel(f, w->q, panelat(w, f->D), f->part[0], f->i, gen_add(g, w->i0, w->col), f->Lq, f->d, f->D);
	for (int v = 0; v < f->NV; v++) {
		flash_store(f, w->max, lane0(w, v), flash_fill(f, -(double)INFINITY));
		flash_store(f, w->sum, lane0(w, v), flash_fill(f, 0));
	}
	flash_clear(f, w->o, panelat(w, f->EP), gen_mul(g, flash_const(f, f->NV), flash_size(f, f->EP)));
	flash_close(f, p, NULL);
}

/* ---- softmax, online ----------------------------------------------------------------------- */

/* The scores of a panel, and the largest of each query. */
static void
scores(Forward *w, KRef *max)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef row, x;

	gen_hoist(g, w->score);
	row = flash_open(f, flash_const(f, 0), w->keys, NULL);
	gen_bind(g, f->j, gen_add(g, w->j0, row));
	gen_hoist(g, w->score);
	for (int v = 0; v < f->NV; v++) {
		flash_lanes(f, f->i, query(w, v), f->Lq);
		x = flash_apply(f, w->score, flash_load(f, w->s, scoreat(w, row, v), f->W), 0);
		flash_store(f, w->s, scoreat(w, row, v), x);
		gen_set(g, max[v], gen_op(g, ScMax, f->dt, gen_get(g, max[v]), x, 0));
		flash_scalar(f, f->i);
	}
	flash_close(f, row, f->j);
}

/* exp(s - largest), their sum; what dropout leaves of them. */
static void
weights(Forward *w, const KRef *sum)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef row, x;

	gen_hoist(g, w->weight);
	row = flash_open(f, flash_const(f, 0), w->keys, NULL);
	gen_bind(g, f->j, gen_add(g, w->j0, row));
	for (int v = 0; v < f->NV; v++) {
		flash_lanes(f, f->i, query(w, v), f->Lq);
		x = flash_apply(f, f->exp, flash_load(f, w->s, scoreat(w, row, v), f->W), w->base[v]);
		gen_set(g, sum[v], gen_op(g, ScAdd, f->dt, gen_get(g, sum[v]), x, 0));
		flash_store(f, w->s, scoreat(w, row, v), flash_apply(f, w->weight, x, 0));
		flash_scalar(f, f->i);
	}
	flash_close(f, row, f->j);
}

static void
softmax(Forward *w)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef max[8], sum[8], old[8], m, alpha, none = flash_fill(f, -(double)INFINITY), zero = flash_fill(f, 0);

	for (int v = 0; v < f->NV; v++)
		max[v] = gen_var(g, old[v] = flash_load(f, w->max, lane0(w, v), f->W));
	scores(w, max);
	for (int v = 0; v < f->NV; v++) {
		m = gen_get(g, max[v]);
		w->base[v] = gen_op(g, ScSelect, f->dt, gen_op(g, ScEq, DtB8, m, none, 0), zero, m);
		alpha = flash_apply(f, f->exp, old[v], w->base[v]);
		flash_store(f, w->alpha, lane0(w, v), alpha);
		flash_store(f, w->max, lane0(w, v), m);
		sum[v] = gen_var(g, gen_op(g, ScMul, f->dt, flash_load(f, w->sum, lane0(w, v), f->W), alpha, 0));
	}
	weights(w, sum);
	for (int v = 0; v < f->NV; v++)
		flash_store(f, w->sum, lane0(w, v), gen_get(g, sum[v]));
}

/* ---- a block of keys -------------------------------------------------------------------------- */

static void
panel(Forward *w)
{
	Flash *f = w->f;
	KRef zero = flash_const(f, 0), NR = flash_const(f, f->NR), EP = flash_size(f, f->EP);

	flash_multiply(f, &(Product){.a = &w->k, .row0 = w->j0, .bbuf = w->q, .bat = panelat(w, f->D), .bk = NR,
	                             .cbuf = w->s, .cat = zero, .crow = NR, .rows = w->keys, .n = flash_size(f, f->D),
	                             .most = w->BK, .nv = f->NV});
	softmax(w);
	flash_multiplyrows(f, &(Product){.abuf = w->s, .aat = zero, .arow = flash_const(f, 1), .ak = NR, .bbuf = w->v.buf, .bat = zero,
	                                 .bk = EP, .cbuf = w->o, .cat = panelat(w, f->EP), .crow = EP, .rows = NR, .n = w->keys,
	                                 .most = f->NR, .whole = true, .nv = f->nve, .add = true, .bybuf = w->alpha, .byat = w->col}, f->EP);
}

/* A panel whose last query is before the first key sees none of them. */
static void
panels(Forward *w)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef p = openpanel(w), see = 0;

	if (f->causal) {
		see = gen_ins(g, (KIns){.op = KIf, .lanes = 1, .a = gen_op(g, ScLt, DtB8, w->j0, gen_add(g, query(w, 0), flash_const(f, f->NR)), 0)});
		gen_push(g);
	}
	panel(w);
	if (see)
		gen_end(g, see);
	flash_close(f, p, NULL);
}

static void
keyblocks(Forward *w)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef end = gen_sym(g, f->Lk), loop;

	if (f->causal)
		end = flash_min(f, end, gen_add(g, w->i0, gen_mul(g, w->panels, flash_const(f, f->NR))));
	loop = flash_open(f, flash_const(f, 0), flash_blocks(f, end, w->BK), NULL);
	w->j0 = gen_mul(g, loop, flash_const(f, w->BK));
	w->keys = flash_min(f, flash_const(f, w->BK), gen_op(g, ScSub, DtI64, end, w->j0, 0));
	flash_copy(f, &w->k, w->j0, w->keys);
	flash_copy(f, &w->v, w->j0, w->keys);
	panels(w);
	flash_close(f, loop, NULL);
}

/* ---- a block of queries ends ----------------------------------------------------------------------- */

/* 1/total of a row; of a dead one inf, which makes 0*inf, NaN, or 1. */
static KRef
inverse(Forward *w, KRef at)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef one = gen_float(g, f->dt, 1), sum = flash_load(f, w->sum, at, 1);

	if (f->safe)
		sum = gen_op(g, ScSelect, f->dt, gen_op(g, ScEq, DtB8, sum, gen_float(g, f->dt, 0), 0), one, sum);
	return gen_op(g, ScDiv, f->dt, one, sum, 0);
}

static void
statistic(Forward *w, int out, int buf, KRef at)
{
	Flash *f = w->f;
	Val *v = &f->node->out[out];
	const Sym *idx[MaxRank];

	if (!f->lo->rootof[v->id])
		return;
	memcpy(idx, f->b, sizeof *idx * (size_t)f->nb);
	idx[f->nb] = f->i;
	gen_put(f->g, v, linear_index(f->cx, type_tensor(f->cx, v->type->dt, v->type->rank, v->type->dim), idx), flash_load(f, buf, at, 1));
}

static void
end(Forward *w)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef p = openpanel(w), row, n, at;

	n = flash_min(f, flash_const(f, f->NR), gen_op(g, ScSub, DtI64, gen_sym(g, f->Lq), query(w, 0), 0));
	row = flash_open(f, flash_const(f, 0), n, NULL);
	gen_bind(g, f->i, gen_add(g, query(w, 0), row));
	at = gen_add(g, w->col, row);
	flash_put(f, 0, f->i, f->e, f->E, w->o, gen_mul(g, at, flash_size(f, f->EP)), inverse(w, at));
	statistic(w, 1, w->max, at);
	statistic(w, 2, w->sum, at);
	flash_close(f, row, f->i);
	flash_close(f, p, NULL);
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

/* Blocks of keys whose scores against a panel stay in the first cache, all of about one size. */
static int64_t
keysize(Flash *f)
{
	int64_t most = f->lo->opt.target->l1 / 2 / (f->NR * dtypeinfo[f->dt].bytes), n;

	most = most > 144 ? 144 : most < 16 ? 16 : most;
	if (!sym_isconst(f->Lk, &n) || n <= 0)
		return most / 8 * 8;
	n = (n + (n + most - 1) / most - 1) / ((n + most - 1) / most);
	return (n + 7) / 8 * 8;
}

/* Queries whose panels, results, and a block of keys and values share half of the second cache. */
static int64_t
panelcount(Flash *f, int64_t BK)
{
	int64_t columns = flash_about(f->D, 64) + flash_about(f->E, 64);
	int64_t bytes = dtypeinfo[f->dt].bytes, left = f->lo->opt.target->l2 / 2 - BK * columns * bytes, n, q;

	n = left / (f->NR * columns * bytes + 1);
	n = n > 8 ? 8 : n < 1 ? 1 : n;
	if (sym_isconst(f->Lq, &q) && n > (q + f->NR - 1) / f->NR)
		n = (q + f->NR - 1) / f->NR;
	return n;
}

void
flash_forward(Flash *f)
{
	Gen *g = f->g;
	int64_t BK = keysize(f), NP = panelcount(f, BK), cols = NP * f->NR;
	Forward w = {.f = f, .BK = BK, .NP = NP, .score = f->part[3], .weight = f->part[4]};
	const Sym *var[MaxRank + 1], *ext[MaxRank + 1], *block = sym_fresh(f->cx, "qb", 0, INT64_MAX);
	int n = f->nb;
	KRef loop;

	w.k = flash_rows(f, "keys", f->part[1], f->j, f->d, f->D, BK, NULL);
	w.v = flash_rows(f, "values", f->part[2], f->j, f->e, f->E, BK, f->EP);
	w.q = flash_local(f, "q", sym_mul(f->cx, f->D, sym_const(f->cx, cols)));
	w.o = flash_local(f, "o", sym_mul(f->cx, f->EP, sym_const(f->cx, cols)));
	w.s = flash_local(f, "scores", sym_const(f->cx, BK * f->NR));
	w.max = flash_local(f, "largest", sym_const(f->cx, cols));
	w.sum = flash_local(f, "total", sym_const(f->cx, cols));
	w.alpha = flash_local(f, "alpha", sym_const(f->cx, cols));
	memcpy(var, f->b, sizeof *var * (size_t)n);
	memcpy(ext, f->bext, sizeof *ext * (size_t)n);
	var[n] = block;
	ext[n++] = sym_ceildiv(f->cx, f->Lq, sym_const(f->cx, cols));
	loop = gen_tasks(g, var, ext, n);
	w.i0 = gen_mul(g, gen_sym(g, block), flash_const(f, cols));
	w.panels = flash_min(f, flash_const(f, NP), flash_blocks(f, gen_op(g, ScSub, DtI64, gen_sym(g, f->Lq), w.i0, 0), f->NR));
	begin(&w);
	keyblocks(&w);
	end(&w);
	for (int k = 0; k < n; k++)
		gen_unbind(g, var[k]);
	gen_end(g, loop);
}

/* ---- a kernel of a root ------------------------------------------------------------------------------------ */

static const Ex *
hole(Flash *f, const Low *low, int k)
{
	return low->hole[k] ? low->hole[k] : ex_bits(f->cx, f->dt, ex_index(f->cx, sym_fresh(f->cx, "hole", INT64_MIN, INT64_MAX)));
}

static void
parts(Flash *f, Root *r)
{
	const Ex **part = NEWN(f->lo->a, const Ex *, r->low.npart + 1);

	for (int k = 0; k < r->n - 2; k++)
		gen_declare(f->g, r->i[k]);
	for (int k = 0; k < 4; k++)
		gen_declare(f->g, r->low.j[k]);
	for (int k = 0; k < 2; k++) {
		f->hole[k] = hole(f, &r->low, k);
		gen_declare(f->g, f->hole[k]->arg[0]->sym);
	}
	for (int k = 0; k < r->low.npart; k++) {
		part[k] = ex_ready(f->lo, nest_linear(f->lo, r->part[k]));
		gen_fv(f->g, part[k]);
	}
	f->part = part;
	f->exp = ex_ready(f->lo, ex_op(f->cx, ScExp, ex_op(f->cx, ScSub, f->hole[0], f->hole[1], NULL), NULL, NULL));
	gen_fv(f->g, f->exp);
}

/* Vectors of a panel that waste least of n lanes; one alone is bound by loads. */
static int
vectors(Flash *f, const Sym *n, int most)
{
	int64_t k = flash_about(n, 1 << 20), cost, least = INT64_MAX;
	int best = most;

	for (int v = most; v >= 1; v--) {
		cost = (k + v * f->W - 1) / (v * f->W) * v * (v == 1 ? 9 : 8);
		if (cost < least) {
			least = cost;
			best = v;
		}
	}
	return best;
}

static const Sym *
padded(Flash *f, const Sym *n, int nv)
{
	const Sym *c = sym_const(f->cx, nv * f->W);

	return sym_mul(f->cx, sym_ceildiv(f->cx, n, c), c);
}

static void
lanes(Flash *f, const Sym *over)
{
	const Target *t = f->lo->opt.target;

	f->W = f->lo->opt.novector ? 1 : t->vecbytes / dtypeinfo[f->dt].bytes;
	f->W = f->W < 2 ? 1 : f->W;
	f->g->W = f->W;
	f->NV = vectors(f, over, t->nv);
	f->NR = f->W * f->NV;
	f->nvd = vectors(f, f->D, t->nv);
	f->nve = vectors(f, f->E, t->nv);
	f->DP = padded(f, f->D, f->nvd);
	f->EP = padded(f, f->E, f->nve);
}

Kernel *
flash_kernel(Lower *lo, Root *r, Gen **gen)
{
	const Low *low = &r->low;
	bool back = low->npart > 5;
	int64_t shares = back ? flash_about(low->num[2], 1) : 1;
	Group gr = {.nouter = 0};
	Flash f = {.lo = lo, .cx = lo->cx, .node = r->val->def, .dt = low->hole[0]->dt, .nb = r->n - 2};

	f.nb -= shares > 1;
	vec_push(lo->a, &gr.mem, ((Member){r, NULL}));
	*gen = f.g = gen_new(lo, nest_name(lo, &gr));
	memcpy(f.b, r->i + (shares > 1), sizeof *f.b * (size_t)f.nb);
	memcpy(f.bext, r->ext + (shares > 1), sizeof *f.bext * (size_t)f.nb);
	f.share = r->i[0];
	f.shares = shares;
	f.i = low->j[0], f.j = low->j[1], f.d = low->j[2], f.e = low->j[3];
	f.Lq = low->over[0], f.Lk = low->over[1], f.D = low->over[2], f.E = low->over[3];
	f.causal = sym_is(low->num[0], 1);
	f.safe = sym_is(low->num[1], 1);
	lanes(&f, back ? f.Lk : f.Lq);
	vec_push(lo->a, &f.g->k->from, f.node);
	f.g->k->doc = r->val->name;
	gen_buf(f.g, r->val);
	parts(&f, r);
	f.g->k->flops = 1 << 20;
	if (back)
		flash_backward(&f);
	else
		flash_forward(&f);
	return f.g->k;
}
