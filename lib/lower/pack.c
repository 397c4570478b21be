/* pack.c - the operands of contractions in the order in which they are read.
 *
 * A constant operand becomes panels when compiling: [o.., tiles][k][width],
 * zeros beyond the last row or column, converted to the accumulators' dtype.
 *
 * Otherwise columns are packed in blocks as the kernel runs.  With one column
 * variable a vector of B goes to its panel at once.  With several (rows and
 * columns of pixels) vectors along the last one are laid one after another into
 * a line, the later covering the slack of the earlier, and the line is cut into
 * panels: the source of im2col is read along its rows, at any width.
 */
#include "lower/contract.h"

/* ---- constants ------------------------------------------------------------------------- */

static const Weight *
weightof(Lower *lo, Val *v)
{
	Module *m = lo->g->mod;

	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].val == v) {
			const Input *in = &m->in.v[i];
			if (in->updatable)
				return NULL;
			for (int o = 0; o < m->out.n; o++)
				if (m->out.v[o].target && (m->out.v[o].target == in->target || m->out.v[o].target == in->name) &&
				    m->out.v[o].kind != ResUser)
					return NULL;
			return in->kind != InUser && in->weight && in->weight->data ? in->weight : NULL;
		}
	if (!v->def || lo->rootof[v->id])
		return NULL;
	for (int i = 0; v->def->target && i < m->weight.n; i++)
		if (m->weight.v[i]->fqn == v->def->target && m->weight.v[i]->data)
			return m->weight.v[i];
	return NULL;
}

/* A loop of the packing: its extent and how far the source moves with it. */
typedef struct Axis { int64_t n, step; } Axis;

static bool
axis(Contraction *c, const Sym **at, const Sym *var, const Sym *ext, Axis *x)
{
	const Sym *k, *rest;

	if (!sym_isconst(ext, &x->n) || !sym_linear(c->lo->cx, *at, var, &k, &rest) || !sym_isconst(k, &x->step))
		return false;
	*at = rest;
	return true;
}

typedef struct Source {
	const uint8_t *data;
	enum dtype from, to;
	int64_t count;               /* elements there are */
	Axis o[MaxRank], k[MaxRank], r[MaxRank];
	int no, nk, nr;
} Source;

static void
convert(const Source *s, uint8_t *dst, int64_t from)
{
	if (s->from == s->to)
		memcpy(dst, s->data + from * dtypeinfo[s->to].bytes, dtypeinfo[s->to].bytes);
	else
		dt_store(s->to, dst, dt_load(s->from, s->data + from * dtypeinfo[s->from].bytes));
}

/* Offset of number i in the row-major order of axes. */
static int64_t
offset(const Axis *x, int n, int64_t i)
{
	int64_t at = 0;

	for (int d = n; d-- > 0; i /= x[d].n)
		at += i % x[d].n * x[d].step;
	return at;
}

static int64_t
count(const Axis *x, int n)
{
	int64_t r = 1;

	for (int d = 0; d < n; d++)
		r *= x[d].n;
	return r;
}

/* Panels of `width` rows (of A) or columns (of B). */
static uint8_t *
panels(Contraction *c, const Source *s, int width, int64_t *bytes)
{
	int64_t O = count(s->o, s->no), K = count(s->k, s->nk), R = count(s->r, s->nr);
	int64_t T = (R + width - 1) / width;
	int w = dtypeinfo[s->to].bytes;
	int64_t *krow = NEWN(c->lo->a, int64_t, K + 1), *rrow = NEWN(c->lo->a, int64_t, R + 1);
	uint8_t *dst;

	*bytes = O * T * K * width * w;
	dst = arena_alloc(c->lo->a, (size_t)*bytes + 64, 16);
	for (int64_t k = 0; k < K; k++)
		krow[k] = offset(s->k, s->nk, k);
	for (int64_t r = 0; r < R; r++)
		rrow[r] = offset(s->r, s->nr, r);
	for (int64_t o = 0; o < O; o++)
		for (int64_t t = 0; t < T; t++)
			for (int64_t k = 0; k < K; k++) {
				int64_t base = offset(s->o, s->no, o) + krow[k];
				uint8_t *d = dst + ((o * T + t) * K + k) * width * w;
				for (int64_t r = t * width; r < (t + 1) * width && r < R; r++, d += w)
					convert(s, d, base + rrow[r]);
			}
	return dst;
}

/* What has been packed in this compilation: plans for several machines share it. */
typedef struct Known { Source s; int width; Packed *p; struct Known *next; } Known;
typedef struct Cache { Map bydata; } Cache;
static const char cachekey;

static bool
same(const Known *k, const Source *s, int width)
{
	return k->width == width && memcmp(&k->s, s, sizeof *s) == 0;
}

static Packed *
packed(Contraction *c, const Source *s, int width, const char *name)
{
	Cache *cache = ctx_slot(c->lo->cx, &cachekey, sizeof *cache);
	Known *k = map_get(&cache->bydata, s->data);
	Packed *p;
	int64_t bytes;
	const Sym *n;

	for (; k; k = k->next)
		if (same(k, s, width))
			return k->p;
	p = NEW(c->lo->a, Packed);

	p->data = panels(c, s, width, &bytes);
	n = sym_const(c->lo->cx, bytes / dtypeinfo[s->to].bytes);
	p->val.type = type_tensor(c->lo->cx, s->to, 1, &n);
	p->val.name = intern_printf(c->lo->cx, "%s_packed", name);
	k = NEW(c->lo->a, Known);
	memcpy(&k->s, s, sizeof *s);
	k->width = width;
	k->p = p;
	k->next = map_get(&cache->bydata, s->data);
	map_put(c->lo->a, &cache->bydata, s->data, k);
	return p;
}

bool
pack_const(Contraction *c, bool rows, Packed **out)
{
	const Ex *e = rows ? c->A : c->B;
	Source s;
	const Weight *w;
	const Sym *at;
	int64_t start;

	memset(&s, 0, sizeof s);        /* padding too: it is compared */
	s.to = c->dt;
	while (e->kind == ExCast && !dt_int(e->arg[0]->dt))
		e = e->arg[0];
	if (c->lo->opt.nopack || c->lo->opt.keepweights || e->kind != ExLoad || !(w = weightof(c->lo, e->val)))
		return false;
	if (rows && !c->m)
		return false;
	at = e->idx[0];
	s.data = w->data;
	s.from = w->type->dt;
	for (int i = 0; i < (rows ? c->nao : c->nbo); i++, s.no++) {
		int o = (rows ? c->ao : c->bo)[i];
		if (!axis(c, &at, c->o[o], c->oext[o], &s.o[s.no]))
			return false;
	}
	for (int i = 0; i < c->nk; i++, s.nk++)
		if (!axis(c, &at, c->k[i], c->kext[i], &s.k[s.nk]))
			return false;
	for (int i = 0; i < (rows ? 1 : c->nn); i++, s.nr++)
		if (!axis(c, &at, rows ? c->m : c->n[i], rows ? c->M : c->next[i], &s.r[s.nr]))
			return false;
	if (!sym_isconst(at, &start))
		return false;
	s.data += start * dtypeinfo[s.from].bytes;
	*out = packed(c, &s, rows ? c->PA : c->PB, e->val->name);
	return true;
}

/* ---- blocks ------------------------------------------------------------------------------ */

typedef struct Block {
	Contraction *c;
	const Sym *panel0;
	KRef  panels;
	int   level;
	const Sym *jp, *q;         /* panel in the block; column in the panel (multiple of W) */
	const Sym *line0;          /* column number at which the line begins */
	const Sym *row;            /* the columns' variables but the last, as one */
	const Ex  *B;
} Block;

static void
put(Contraction *c, int buf, const Sym *at, KRef v)
{
	Gen *g = c->g;

	g->k->buf.v[buf].written = true;
	gen_ins(g, (KIns){.op = KStore, .dt = c->dt, .lanes = g->k->ins.v[v].lanes, .buf = (uint16_t)buf,
	                  .a = gen_sym(g, at), .b = v});
}

/* Element of the block: panel jp, row kf, column q. */
static const Sym *
blockat(Block *b)
{
	Contraction *c = b->c;
	Ctx *cx = c->lo->cx;
	const Sym *at = sym_add(cx, sym_mul(cx, b->jp, c->K), contract_kflat(c));

	return sym_add(cx, sym_mul(cx, at, sym_const(cx, c->NR)), b->q);
}

/* One vector of B at column panel*NR + q, straight to its panel. */
static void
columns(Block *b)
{
	Contraction *c = b->c;
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;
	const Sym *col = sym_add(cx, sym_mul(cx, sym_add(cx, b->panel0, b->jp), sym_const(cx, c->NR)), b->q);
	bool whole = sym_divides(cx, sym_const(cx, c->NR), c->N);
	KRef first = gen_sym(g, col);

	gen_push(g);
	if (c->W == 1 && !whole)           /* what stands beyond the last column is not used: the last again */
		first = gen_op(g, ScMin, DtI64, first, gen_sym(g, sym_sub(cx, c->N, sym_const(cx, 1))), 0);
	gen_bind(g, c->n[0], first);
	if (c->W > 1) {
		g->vec = gen_bit(g, c->n[0]);
		g->vecvar = c->n[0];
		g->lanes = c->W;
		if (!whole)
			g->mask = gen_op(g, ScLt, DtB8, gen_ramp(g, c->W),
			                 gen_op(g, ScSub, DtI64, gen_sym(g, c->N), first, 0), 0);
	}
	put(c, c->blockbuf, blockat(b), gen_splat(g, gen_ex(g, c->B), c->W));
	g->vec = 0;
	g->vecvar = NULL;
	g->lanes = 1;
	g->mask = 0;
	gen_unbind(g, c->n[0]);
	gen_pop(g);
}

/* All vectors of the panels for one k: by columns, or out of the line. */
static void
cut(Block *b, bool line)
{
	Contraction *c = b->c;
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;
	KRef lp = gen_loop(g, LoopSerial, gen_int(g, DtI64, 0), b->panels, 1);

	gen_bind(g, b->jp, lp);
	for (int v = 0; v < c->NV; v++) {
		gen_push(g);
		gen_bind(g, b->q, gen_int(g, DtI64, v * c->W));
		if (line) {
			const Sym *at = sym_sub(cx, sym_mul(cx, b->panel0, sym_const(cx, c->NR)), b->line0);
			at = sym_add(cx, at, sym_add(cx, sym_mul(cx, b->jp, sym_const(cx, c->NR)), b->q));
			put(c, c->blockbuf, blockat(b),
			    gen_ins(g, (KIns){.op = KLoad, .dt = c->dt, .lanes = (uint8_t)c->W,
			                      .buf = (uint16_t)c->linebuf, .a = gen_sym(g, at)}));
		} else {
			columns(b);
		}
		gen_unbind(g, b->q);
		gen_pop(g);
	}
	gen_unbind(g, b->jp);
	gen_end(g, lp);
}

/* A vector of the last column variable into the line, over the slack of the row before. */
static void
alongrow(Gen *g, void *arg)
{
	Block *b = arg;
	Contraction *c = b->c;
	Ctx *cx = c->lo->cx;
	const Sym *x = c->n[c->nn - 1], *w = c->next[c->nn - 1];
	const Sym *at = sym_sub(cx, sym_add(cx, sym_mul(cx, b->row, w), x), b->line0);
	KRef v = gen_splat(g, gen_ex(g, b->B), g->lanes), i = gen_sym(g, at);

	g->k->buf.v[c->linebuf].written = true;
	gen_ins(g, (KIns){.op = KStore, .dt = c->dt, .lanes = (uint8_t)g->lanes, .buf = (uint16_t)c->linebuf,
	                  .a = i, .b = v});
}

/* Rows of pixels that the block touches, each by vectors. */
static void
lines(Block *b)
{
	Contraction *c = b->c;
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;
	const Sym *w = c->next[c->nn - 1], *H = numel_of(cx, c->next, c->nn - 1);
	const Sym *first = sym_mul(cx, b->panel0, sym_const(cx, c->NR));
	KRef from, to, loop, rest;

	from = gen_op(g, ScQuot, DtI64, gen_sym(g, first), gen_sym(g, w), 0);
	to = gen_add(g, gen_sym(g, first), gen_mul(g, b->panels, gen_int(g, DtI64, c->NR)));
	to = gen_add(g, gen_op(g, ScQuot, DtI64, gen_op(g, ScSub, DtI64, to, gen_int(g, DtI64, 1), 0), gen_sym(g, w), 0),
	             gen_int(g, DtI64, 1));
	to = gen_op(g, ScMin, DtI64, to, gen_sym(g, H), 0);
	b->line0 = sym_fresh(cx, "l", 0, INT64_MAX);
	gen_bind(g, b->line0, gen_mul(g, from, gen_sym(g, w)));
	loop = rest = gen_loop(g, LoopSerial, from, to, 1);
	gen_bind(g, b->row, loop);
	for (int i = c->nn - 2; i >= 0; i--) {
		if (i == 0) {
			gen_bind(g, c->n[0], rest);
			break;
		}
		gen_bind(g, c->n[i], gen_op(g, ScFmod, DtI64, rest, gen_sym(g, c->next[i]), 0));
		rest = gen_op(g, ScQuot, DtI64, rest, gen_sym(g, c->next[i]), 0);
	}
	gen_hoist(g, b->B);
	gen_for(g, c->n[c->nn - 1], w, true, alongrow, b);
	for (int i = 0; i < c->nn - 1; i++)
		gen_unbind(g, c->n[i]);
	gen_unbind(g, b->row);
	gen_end(g, loop);
}

static void
kloops(Block *b, int level)
{
	Contraction *c = b->c;
	Gen *g = c->g;
	KRef loop;

	gen_hoist(g, c->B);
	if (level == c->nk) {
		if (c->nn > 1)
			lines(b);
		cut(b, c->nn > 1);
		return;
	}
	loop = gen_loop(g, LoopSerial, gen_int(g, DtI64, 0), gen_sym(g, c->kext[level]), 1);
	gen_bind(g, c->k[level], loop);
	kloops(b, level + 1);
	gen_unbind(g, c->k[level]);
	gen_end(g, loop);
}

void
pack_block(Contraction *c, const Sym *panel0, KRef npanels)
{
	Block b = {.c = c, .panel0 = panel0, .panels = npanels, .B = c->B};
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;

	if (panel_turns(c)) {
		panel_block(c, panel0, npanels);
		return;
	}
	b.jp = sym_fresh(cx, "p", 0, INT64_MAX);
	b.q = sym_fresh(cx, "q", 0, c->NR);
	b.row = sym_fresh(cx, "y", 0, INT64_MAX);
	gen_declare(g, b.jp);
	gen_declare(g, b.q);
	gen_declare(g, b.row);
	kloops(&b, 0);
}
