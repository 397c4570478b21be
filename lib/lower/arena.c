/* arena.c - where buffers lie in the arena.
 *
 * Pieces of constant size are placed by best fit over their lifetimes; pieces whose size
 * is an expression lie behind them, in slots that pieces of an equal size take over once
 * they are free.  Backward puts its pieces first where forward saved tensors that it has
 * read for the last time.
 */
#include <stdlib.h>
#include "lower/planning.h"

enum { Align = 64 };

typedef struct Block { int64_t at, end; int until; } Block;

static int
byaddress(const void *a, const void *b)
{
	const Block *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* The smallest gap between blocks still alive at step `now` that holds size. */
static int64_t
bestfit(Block *blk, int n, int64_t size)
{
	int64_t at = 0, best = -1, gap = INT64_MAX;

	for (int i = 0; i <= n; i++) {
		int64_t next = i < n ? blk[i].at : INT64_MAX;
		if (next - at >= size && (best < 0 || next - at < gap)) {
			best = at;
			gap = next - at;
		}
		if (i < n && blk[i].end > at)
			at = blk[i].end;
	}
	return best;
}

static int64_t
rounded(int64_t n)
{
	return (n + Align - 1) / Align * Align;
}

static int
bystart(const void *a, const void *b)
{
	const Buf *x = *(Buf *const *)a, *y = *(Buf *const *)b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x < y ? -1 : x > y;
}

typedef struct Slot { const Sym *bytes, *offset; int until; } Slot;

/* Memory of a saved tensor that may be overwritten: of buffer buf, free after step `until`. */
typedef struct Given { int buf, until; } Given;

typedef struct Memory {
	Planning *w;
	VEC(Given) given;
	Block *blk; int nblk;
	int64_t top;
	VEC(Slot) slot;
	VEC(Buf *) varying;
	const Sym *end;
} Memory;

static void
placeconst(Memory *m, Buf *b, int64_t bytes)
{
	int n = 0;

	for (int i = 0; i < m->nblk; i++)
		if (m->blk[i].until >= b->first)
			m->blk[n++] = m->blk[i];
	m->nblk = n;
	qsort(m->blk, (size_t)n, sizeof *m->blk, byaddress);
	int64_t at = bestfit(m->blk, n, bytes);
	m->blk[m->nblk++] = (Block){at, at + bytes, b->last};
	if (at + bytes > m->top)
		m->top = at + bytes;
	b->offset = sym_const(m->w->lo->cx, at);
}

/* The most that steps set a size to: that of a sub-graph that several places call. */
static const Sym *
sizebound(Planning *w, const Sym *var)
{
	Ctx *cx = w->lo->cx;
	const Sym *most = sym_const(cx, 0);

	for (int i = 0; i < w->plan->step.n; i++) {
		const Step *s = &w->plan->step.v[i];
		if (s->kind == StepSize && s->define == var && !sym_uses(s->num[0], var))
			most = sym_fn(cx, SymFnMax, (const Sym *[]){most, s->num[0]}, 2, NULL);
	}
	return most;
}

/* What a step can find at most: its range says so, or else the elements that it reads
 * (what is found by looking at elements: positions of nonzeros, runs of equals). */
static const Sym *
mostfound(Planning *w, const Step *s)
{
	Ctx *cx = w->lo->cx;
	const Sym *sum = sym_const(cx, 0);

	if (s->define->hi < INT64_MAX)
		return sym_const(cx, s->define->hi);
	if (s->kind == StepSize)
		return sizebound(w, s->define);
	for (int i = 0; i < s->nbuf; i++)
		if (s->buf[i] >= 0 && !sym_uses(w->plan->buf.v[s->buf[i]].count, s->define))
			sum = sym_add(cx, sum, w->plan->buf.v[s->buf[i]].count);
	return sum;
}

/* A size found as the model runs is not known when the arena is measured: take its
 * bound; later ones first, since bounds may be made of earlier ones. */
static const Sym *
bounded(Planning *w, const Sym *e)
{
	for (int k = w->plan->step.n; k-- > 0; ) {
		const Step *s = &w->plan->step.v[k];
		if (s->define && s->define->kind == SymVar && sym_uses(e, s->define)) {
			const Sym *most = mostfound(w, s);
			e = sym_subst(w->lo->cx, e, &s->define, &most, 1);
		}
	}
	return e;
}

/* Scratch: one for each worker. */
static int
perworker(const Planning *w, const Buf *b)
{
	return b->home == HomeScratch ? w->plan->maxwork : 1;
}

/* What forward saved and gave away is read for the last time, in a loop at the loop's end. */
static void
givenaway(Memory *m)
{
	Planning *w = m->w;

	for (int i = 0; i < w->m->in.n; i++) {
		const Input *in = &w->m->in.v[i];
		int b = in->kind == InSaved && in->donated && in->val ? w->lo->bufof[in->val->id] : -1;
		if (b < 0 || w->plan->buf.v[b].home != HomeSaved)
			continue;
		Given g = {b, w->plan->buf.v[b].last};
		for (int k = 0; k < w->plan->loop.n; k++)
			if (g.until >= w->plan->loop.v[k].head && g.until < w->plan->loop.v[k].end)
				g.until = w->plan->loop.v[k].end, k = -1;
		vec_push(w->lo->a, &m->given, g);
	}
}

static const Sym *
bufbytes(Memory *m, const Buf *b)
{
	Ctx *cx = m->w->lo->cx;

	return sym_mul(cx, bounded(m->w, b->count), sym_const(cx, dtypeinfo[b->dt].bytes));
}

/* The smallest of these that b fits into, if one is free by then. */
static bool
placegiven(Memory *m, Buf *b)
{
	const Sym *need = bufbytes(m, b);
	int64_t n, size, best = INT64_MAX;
	Given *to = NULL;

	for (int i = 0; b->home == HomeArena && i < m->given.n; i++) {
		Given *g = &m->given.v[i];
		const Sym *have = bufbytes(m, &m->w->plan->buf.v[g->buf]);
		if (g->until >= b->first)
			continue;
		if (have == need)
			size = 0;
		else if (!sym_isconst(need, &n) || !sym_isconst(have, &size) || size < n)
			continue;
		if (size < best) {
			best = size;
			to = g;
		}
	}
	if (to == NULL)
		return false;
	b->home = HomeSaved;
	b->index = m->w->plan->buf.v[to->buf].index;
	to->until = b->last;
	return true;
}

static void
placevarying(Memory *m, Buf *b)
{
	Ctx *cx = m->w->lo->cx;
	const Sym *bytes = sym_mul(cx, bounded(m->w, b->count), sym_const(cx, dtypeinfo[b->dt].bytes));

	bytes = sym_mul(cx, sym_ceildiv(cx, bytes, sym_const(cx, Align)), sym_const(cx, Align * perworker(m->w, b)));
	for (int i = 0; i < m->slot.n; i++)
		if (m->slot.v[i].bytes == bytes && m->slot.v[i].until < b->first) {
			m->slot.v[i].until = b->last;
			b->offset = m->slot.v[i].offset;
			return;
		}
	b->offset = m->end;
	vec_push(m->w->lo->a, &m->slot, (Slot){bytes, m->end, b->last});
	m->end = sym_add(cx, m->end, bytes);
}

void
plan_arena(Planning *w)
{
	Memory m = {.w = w};
	Buf **order = NEWN(w->lo->a, Buf *, w->plan->buf.n + 1);
	int n = 0;
	int64_t count;

	m.blk = NEWN(w->lo->a, Block, w->plan->buf.n + 1);
	for (int i = 0; i < w->plan->buf.n; i++)
		if (w->plan->buf.v[i].home == HomeArena || w->plan->buf.v[i].home == HomeScratch)
			order[n++] = &w->plan->buf.v[i];
	qsort(order, (size_t)n, sizeof *order, bystart);
	givenaway(&m);
	for (int i = 0; i < n; i++) {
		if (placegiven(&m, order[i]))
			continue;
		if (sym_isconst(bounded(w, order[i]->count), &count))
			placeconst(&m, order[i], rounded(count * dtypeinfo[order[i]->dt].bytes) * perworker(w, order[i]));
		else
			vec_push(w->lo->a, &m.varying, order[i]);
	}
	m.end = sym_const(w->lo->cx, m.top);
	for (int i = 0; i < m.varying.n; i++)
		placevarying(&m, m.varying.v[i]);
	w->plan->arena = m.end;
}
