/* flashback.c - attention in blocks, backward: the weights are computed again, block by block.
 *
 *     for b.., shares (parallel; shares: where b.. are few, each a part of the blocks of keys)
 *             dq = 0, for all queries
 *             for blocks of keys
 *                     panels of the block = k, v, keys over the lanes; dk = dv = 0
 *                     for blocks of queries (causal: from the first key on)
 *                             for panels
 *                                     s = q @ k panel, p = dout @ v panel
 *                                     s, p = weights, gradients of scores, as the table says
 *                                     dv += dout.T @ s,  dk += q.T @ p
 *                     rows of dk, dv
 *             rows of dq
 *
 * (Dao et al., FlashAttention-2, 2023, but for where sums are kept.)  All that is
 * added to a result is added by one worker, in one order, and shares are added up
 * afterwards: results do not depend on how many workers there are.
 */
#include "lower/flash.h"

/* The parts that forward has too, and its own. */
enum { PartQuery, PartKey, PartValue, PartScore, PartWeight, PartGrad, PartProb, PartSlope };

typedef struct Backward {
	Flash *f;
	int64_t NP, KP, BI;              /* panels, keys of a block of keys; queries of a block */
	Rows   q, g, k;
	int    kt, vt, s, p, dk, dv, dq; /* buffers: panels; scores and their gradients, rows of KP; rows of results */
	KRef   j0, keys, panels;
	KRef   i0, queries;
	KRef   col;                      /* first column of the panel at hand in the block: panel*NR */
} Backward;

static KRef
panelat(Backward *w, const Sym *rows)
{
	return gen_mul(w->f->g, w->col, flash_size(w->f, rows));
}

static KRef
openpanel(Backward *w)
{
	KRef p = flash_open(w->f, flash_const(w->f, 0), w->panels, NULL);

	w->col = gen_mul(w->f->g, p, flash_const(w->f, w->f->NR));
	return p;
}

/* ---- a block of keys begins -------------------------------------------------------------- */

static void
begin(Backward *w)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef p, first;

	flash_copy(f, &w->k, w->j0, w->keys);
	p = openpanel(w);
	first = gen_add(g, w->j0, w->col);
	flash_panel(f, w->kt, panelat(w, f->D), f->part[PartKey], f->j, first, f->Lk, f->d, f->D);
	flash_panel(f, w->vt, panelat(w, f->E), f->part[PartValue], f->j, first, f->Lk, f->e, f->E);
	flash_close(f, p, NULL);
	flash_clear(f, w->dk, flash_const(f, 0), gen_op(g, ScQuot, DtI64, gen_mul(g, w->keys, flash_size(f, f->DP)), flash_const(f, f->W), 0));
	flash_clear(f, w->dv, flash_const(f, 0), gen_op(g, ScQuot, DtI64, gen_mul(g, w->keys, flash_size(f, f->EP)), flash_const(f, f->W), 0));
}

/* ---- scores of a block of queries and a panel of keys ----------------------------------------- */

static void
vectors(Backward *w, KRef row)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef at, x, prob;

	for (int v = 0; v < f->NV; v++) {
		KRef col = gen_add(g, w->col, flash_const(f, v * f->W));
		at = gen_add(g, gen_mul(g, row, flash_const(f, w->KP)), col);
		flash_lanes(f, f->j, gen_add(g, w->j0, col), f->Lk);
		x = flash_apply(f, f->part[PartScore], flash_load(f, w->s, at, f->W), 0);
		prob = flash_apply(f, f->part[PartProb], x, 0);
		flash_store(f, w->s, at, flash_apply(f, f->part[PartWeight], prob, 0));
		flash_store(f, w->p, at, flash_apply(f, f->part[PartSlope], prob, flash_load(f, w->p, at, f->W)));
		flash_scalar(f, f->j);
	}
}

static void
slopes(Backward *w)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef row = flash_open(f, flash_const(f, 0), w->queries, NULL);

	gen_bind(g, f->i, gen_add(g, w->i0, row));
	for (int k = PartScore; k <= PartSlope; k++)
		if (k != PartGrad)
			gen_hoist(g, f->part[k]);
	vectors(w, row);
	flash_close(f, row, f->i);
}

static void
panel(Backward *w)
{
	Flash *f = w->f;
	KRef D = flash_size(f, f->D), E = flash_size(f, f->E), NR = flash_const(f, f->NR), KP = flash_const(f, w->KP);

	flash_multiply(f, &(Product){.a = &w->q, .row0 = w->i0, .bbuf = w->kt, .bat = panelat(w, f->D), .bk = NR,
	                             .cbuf = w->s, .cat = w->col, .crow = KP, .rows = w->queries, .n = D, .most = w->BI, .whole = true, .nv = f->NV});
	flash_multiply(f, &(Product){.a = &w->g, .row0 = w->i0, .bbuf = w->vt, .bat = panelat(w, f->E), .bk = NR,
	                             .cbuf = w->p, .cat = w->col, .crow = KP, .rows = w->queries, .n = E, .most = w->BI, .whole = true, .nv = f->NV});
	slopes(w);
}

/* What a block of queries adds to the results. */
static void
sums(Backward *w)
{
	Flash *f = w->f;
	KRef zero = flash_const(f, 0), one = flash_const(f, 1), KP = flash_const(f, w->KP);
	KRef DP = flash_size(f, f->DP), EP = flash_size(f, f->EP);

	flash_multiplyrows(f, &(Product){.abuf = w->s, .aat = zero, .arow = one, .ak = KP, .bbuf = w->g.buf, .bat = zero, .bk = EP,
	                                 .cbuf = w->dv, .cat = zero, .crow = EP, .rows = w->keys, .n = w->queries,
	                                 .most = w->KP, .whole = true, .nv = f->nve, .add = true}, f->EP);
	flash_multiplyrows(f, &(Product){.abuf = w->p, .aat = zero, .arow = one, .ak = KP, .bbuf = w->q.buf, .bat = zero, .bk = DP,
	                                 .cbuf = w->dk, .cat = zero, .crow = DP, .rows = w->keys, .n = w->queries,
	                                 .most = w->KP, .whole = true, .nv = f->nvd, .add = true}, f->DP);
	flash_multiplyrows(f, &(Product){.abuf = w->p, .aat = zero, .arow = KP, .ak = one, .bbuf = w->k.buf, .bat = zero, .bk = DP,
	                                 .cbuf = w->dq, .cat = gen_mul(f->g, w->i0, DP), .crow = DP, .rows = w->queries, .n = w->keys,
	                                 .most = w->BI, .whole = true, .nv = f->nvd, .add = true}, f->DP);
}

static void
queryblocks(Backward *w)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef first = flash_const(f, 0), loop, p;

	if (f->causal)
		first = gen_op(g, ScQuot, DtI64, w->j0, flash_const(f, w->BI), 0);
	loop = flash_open(f, first, flash_blocks(f, gen_sym(g, f->Lq), w->BI), NULL);
	w->i0 = gen_mul(g, loop, flash_const(f, w->BI));
	w->queries = flash_min(f, flash_const(f, w->BI), gen_op(g, ScSub, DtI64, gen_sym(g, f->Lq), w->i0, 0));
	flash_copy(f, &w->q, w->i0, w->queries);
	flash_copy(f, &w->g, w->i0, w->queries);
	p = openpanel(w);
	panel(w);
	flash_close(f, p, NULL);
	sums(w);
	flash_close(f, loop, NULL);
}

/* ---- results ------------------------------------------------------------------------------------- */

static void
keyrows(Backward *w)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef row = flash_open(f, flash_const(f, 0), w->keys, NULL);

	gen_bind(g, f->j, gen_add(g, w->j0, row));
	flash_put(f, 1, f->j, f->d, f->D, w->dk, gen_mul(g, row, flash_size(f, f->DP)), 0);
	flash_put(f, 2, f->j, f->e, f->E, w->dv, gen_mul(g, row, flash_size(f, f->EP)), 0);
	flash_close(f, row, f->j);
}

static void
queryrows(Backward *w)
{
	Flash *f = w->f;
	KRef row = flash_open(f, flash_const(f, 0), gen_sym(f->g, f->Lq), f->i);

	flash_put(f, 0, f->i, f->d, f->D, w->dq, gen_mul(f->g, row, flash_size(f, f->DP)), 0);
	flash_close(f, row, f->i);
}

static void
keyblocks(Backward *w)
{
	Flash *f = w->f;
	Gen *g = f->g;
	KRef end = flash_blocks(f, gen_sym(g, f->Lk), w->KP), loop;

	loop = gen_loop(g, LoopSerial, f->shares > 1 ? gen_sym(g, f->share) : flash_const(f, 0), end, f->shares);
	w->j0 = gen_mul(g, loop, flash_const(f, w->KP));
	w->keys = flash_min(f, flash_const(f, w->KP), gen_op(g, ScSub, DtI64, gen_sym(g, f->Lk), w->j0, 0));
	w->panels = flash_blocks(f, w->keys, f->NR);
	begin(w);
	queryblocks(w);
	keyrows(w);
	flash_close(f, loop, NULL);
}

/* ---- the whole -------------------------------------------------------------------------------------- */

enum { BlockKeys = 128, BlockQueries = 64 };

/* Panels, rows and sums of a block of keys, and scores, share half of the second cache. */
static bool
fits(Backward *w)
{
	int64_t columns = flash_about(w->f->D, 64) + flash_about(w->f->E, 64);

	return (w->KP * 5 / 2 * columns + w->BI * (columns + 2 * w->KP)) * dtypeinfo[w->f->dt].bytes <= w->f->lo->opt.target->l2 / 2;
}

static void
sizes(Backward *w)
{
	Flash *f = w->f;
	int64_t n = flash_about(f->Lk, BlockKeys);

	w->BI = BlockQueries;
	w->NP = (n < BlockKeys ? n + f->NR - 1 : BlockKeys) / f->NR;
	w->NP = w->NP < 1 ? 1 : w->NP;
	w->KP = w->NP * f->NR;
	for (; w->NP > 1 && !fits(w); w->KP = w->NP * f->NR)
		w->NP = (w->NP + 1) / 2;
}

static void
buffers(Backward *w)
{
	Flash *f = w->f;
	Ctx *cx = f->cx;

	w->q = flash_rows(f, "queries", f->part[PartQuery], f->i, f->d, f->D, w->BI, f->DP);
	w->g = flash_rows(f, "slopes", f->part[PartGrad], f->i, f->e, f->E, w->BI, f->EP);
	w->k = flash_rows(f, "keys", f->part[PartKey], f->j, f->d, f->D, w->KP, f->DP);
	w->kt = flash_local(f, "kt", sym_mul(cx, f->D, sym_const(cx, w->KP)));
	w->vt = flash_local(f, "vt", sym_mul(cx, f->E, sym_const(cx, w->KP)));
	w->dk = flash_local(f, "dk", sym_mul(cx, f->DP, sym_const(cx, w->KP)));
	w->dv = flash_local(f, "dv", sym_mul(cx, f->EP, sym_const(cx, w->KP)));
	w->s = flash_local(f, "s", sym_const(cx, w->KP * w->BI));
	w->p = flash_local(f, "p", sym_const(cx, w->KP * w->BI));
	w->dq = flash_local(f, "dq", sym_mul(cx, sym_add(cx, f->Lq, sym_const(cx, w->BI)), f->DP));
}

void
flash_backward(Flash *f)
{
	Gen *g = f->g;
	Backward w = {.f = f};
	const Sym *var[MaxRank + 1], *ext[MaxRank + 1];
	int n = f->nb;
	KRef loop;

	for (int k = 1; k < 3; k++)
		gen_buf(g, &f->node->out[k]);
	sizes(&w);
	buffers(&w);
	memcpy(var, f->b, sizeof *var * (size_t)f->nb);
	memcpy(ext, f->bext, sizeof *ext * (size_t)f->nb);
	var[n] = f->share;
	ext[n] = sym_const(f->cx, f->shares);
	n += f->shares > 1;
	loop = gen_tasks(g, var, ext, n);
	flash_clear(f, w.dq, flash_const(f, 0), gen_mul(g, gen_sym(g, f->Lq), gen_op(g, ScQuot, DtI64, flash_size(f, f->DP), flash_const(f, f->W), 0)));
	keyblocks(&w);
	queryrows(&w);
	for (int k = 0; k < n; k++)
		gen_unbind(g, var[k]);
	gen_end(g, loop);
}
