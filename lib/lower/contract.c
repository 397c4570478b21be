/* contract.c - sums of products on register tiles.
 *
 * Matrix products, their batches, linear layers, convolutions of any kind and
 * the two halves of attention are one thing here: a fold-sum of A*B, where A
 * depends on some of the output's variables and B on others (contract.h).  The
 * kernel is
 *
 *     for o.., blocks of columns             (parallel)
 *         pack a block of B into panels      unless constant or direct
 *         for row tiles, panels
 *             MR x NR accumulators = 0
 *             for k: NV vectors of B, MR broadcasts of A, MR*NV fma
 *             tile of the stack = accumulators
 *             epilogue over the tile, clipped to the real rows and columns
 *
 * which is BLIS's layering with the innermost blocks only: a panel of B and
 * the rows of A stay in the second-level cache for the sizes at hand.  Where K is long or
 * not known (gradients of weights sum over the batch) it is cut in pieces; the sums so far
 * wait in scratch memory.  Where few rows of A meet rows of B (a linear layer whose weight may
 * change), packing costs more than it saves: vectors run along k, and the lanes of each
 * accumulator are added up at the end.  For a
 * convolution A is the weight, packed when compiling, and packing B is im2col
 * of some rows of pixels.  For a linear layer B is the weight.
 */
#include "lower/contract.h"

enum { LeastK = 8, LeastRows = 2, PackRows = 8, DirectRows = 256, DotRows = 96 };

/* ---- finding ------------------------------------------------------------------------ */

static const Ex *
uncast(const Ex *e)
{
	while (e->kind == ExCast && !dt_int(e->dt) && !dt_int(e->arg[0]->dt))
		e = e->arg[0];
	return e;
}

struct folds { const Ex *fold; int n; };

static void
countfold(void *p, const Ex *e)
{
	struct folds *f = p;

	if (e->kind == ExFold) {
		f->fold = e;
		f->n++;
	}
}

/* The only fold of e, if it is a sum of products of floats. */
static const Ex *
product(const Ex *e)
{
	struct folds f = {NULL, 0};
	const Ex *b;

	ex_visit(e, countfold, &f);
	if (f.n != 1 || f.fold->fold != FoldSum || f.fold->cond || (f.fold->dt != DtF32 && f.fold->dt != DtF64))
		return NULL;
	b = uncast(f.fold->arg[0]);
	return b->kind == ExOp && b->sc == ScMul && ex_hasload(b->arg[0]) && ex_hasload(b->arg[1]) ? f.fold : NULL;
}

struct usesvar { const Sym *var; bool yes; };

static void
symuses(void *p, const Sym *s)
{
	struct usesvar *u = p;

	u->yes |= sym_uses(s, u->var);
}

static bool
depends(Ctx *cx, const Ex *e, const Sym *var)
{
	struct usesvar u = {var, false};

	ex_syms(cx, e, symuses, &u);
	return u.yes;
}

/* Is there a variable of the result for each factor that the other does not know?
 * (Not so in a sum of squares, or a product with a vector.) */
static bool
twosided(Ctx *cx, const Root *r, const Ex *fold)
{
	const Ex *b = uncast(fold->arg[0]);
	bool left = false, right = false;

	for (int d = 0; d < r->n; d++) {
		bool x = depends(cx, b->arg[0], r->i[d]), y = depends(cx, b->arg[1], r->i[d]);
		left |= x && !y;
		right |= y && !x;
	}
	return left && right;
}

bool
contract_find(Lower *lo, Root *r)
{
	int64_t k;

	if (r->low.kind != LowElement || lo->opt.nofuse)
		return false;
	r->contraction = product(r->e);
	if (r->contraction && sym_isconst(numel_of(lo->cx, r->contraction->idx, r->contraction->nidx), &k) && k < LeastK)
		r->contraction = NULL;
	if (r->contraction && !twosided(lo->cx, r, r->contraction))
		r->contraction = NULL;
	return r->contraction != NULL;
}

/* e with the fold replaced: only plain operators lie above it.  Shared parts are done once. */
typedef struct Replace { Ctx *cx; Arena *a; Map memo; const Ex *what, *with; } Replace;

static const Ex *
replace_in(Replace *r, const Ex *e)
{
	const Ex *a[3] = {0}, *new;

	if (e == r->what)
		return r->with;
	if (e->kind != ExOp && e->kind != ExCast && e->kind != ExBits)
		return e;
	if ((new = map_get(&r->memo, e)))
		return new;
	for (int i = 0; i < e->narg; i++)
		a[i] = replace_in(r, e->arg[i]);
	new = e->kind == ExOp ? ex_op(r->cx, e->sc, a[0], a[1], a[2])
	    : e->kind == ExCast ? ex_cast(r->cx, e->dt, a[0]) : ex_bits(r->cx, e->dt, a[0]);
	map_put(r->a, &r->memo, e, (void *)(uintptr_t)new);
	return new;
}

static const Ex *
replaced(Ctx *cx, const Ex *e, const Ex *what, const Ex *with)
{
	Replace r = {.cx = cx, .a = ctx_arena(cx), .what = what, .with = with};

	return replace_in(&r, e);
}

/* ---- the variables' roles --------------------------------------------------------------- */

static bool
uses(Contraction *c, const Ex *e, const Sym *var)
{
	return gen_fv(c->g, e) & gen_bit(c->g, var);
}

typedef struct Symlist { const Sym *v[256]; int n; } Symlist;

static void
addsym(void *p, const Sym *s)
{
	Symlist *l = p;

	if (s->kind != SymConst && l->n < COUNT(l->v))
		l->v[l->n++] = s;
}

/* May a and b (extent eb) be one column variable, as the epilogue sees them? */
static bool
epiloguejoins(Contraction *c, const Sym *a, const Sym *b, const Sym *eb)
{
	const Ex *e = replaced(c->lo->cx, c->p->e, c->fold, ex_float(c->lo->cx, c->dt, 0));
	Symlist l = {.n = 0};

	ex_syms(c->lo->cx, e, addsym, &l);
	addsym(&l, c->p->at);
	return l.n < COUNT(l.v) && nest_collapse(c->lo->cx, l.v, l.n, a, b, eb);
}

static int64_t
sizeof_(const Sym *ext)
{
	int64_t k;

	return sym_isconst(ext, &k) ? k : 1 << 20;
}

/* Split the output's variables into O, M, N; false: no such split. */
static bool
roles(Contraction *c)
{
	Nest *n = c->nest;
	int last = n->nouter - 1, m = -1, first;
	const Ex *t;

	if (last < 0)
		return false;
	if (uses(c, c->A, n->outer[last])) {
		t = c->A;
		c->A = c->B;
		c->B = t;
	}
	if (uses(c, c->A, n->outer[last]) || !uses(c, c->B, n->outer[last]))
		return false;
	for (first = last; first > 0; first--)
		if (uses(c, c->A, n->outer[first - 1]) || !uses(c, c->B, n->outer[first - 1]) ||
		    !epiloguejoins(c, n->outer[first - 1], n->outer[first],
		                   n->ext[first]))
			break;
	for (int i = 0; i < first; i++)
		if (uses(c, c->A, n->outer[i]) && !uses(c, c->B, n->outer[i]) &&
		    (m < 0 || sizeof_(n->ext[i]) >= sizeof_(n->ext[m])))
			m = i;
	for (int i = first; i <= last; i++) {
		c->n[c->nn] = n->outer[i];
		c->next[c->nn++] = n->ext[i];
	}
	for (int i = 0; i < first; i++)
		if (i != m) {
			c->o[c->no] = n->outer[i];
			c->oext[c->no++] = n->ext[i];
		}
	c->m = m < 0 ? NULL : n->outer[m];
	c->M = m < 0 ? sym_const(c->lo->cx, 1) : n->ext[m];
	c->N = numel_of(c->lo->cx, c->next, c->nn);
	return true;
}

static const Ex *
plainload(const Ex *e)
{
	e = uncast(e);
	return e->kind == ExLoad ? e : NULL;
}

/* ---- tile sizes --------------------------------------------------------------------------- */

/* Rows of a tile that waste least of M's last one, among most, most - step ...; whole
 * tiles need no bounds, which is worth a few percent. */
static int
bestrows(Contraction *c, int most, int step)
{
	int64_t M, best = INT64_MAX, cost;
	int mr = most;

	if (!sym_isconst(c->M, &M))
		return most;
	if (M <= most)
		return step > 1 && M > 6 ? (int)(M + 1) / 2 * 2 : (int)M;
	for (int r = most; r >= (most + 1) / 2; r -= step) {
		cost = (M + r - 1) / r * (r * 2 + 2);
		cost += M % r ? cost / 16 : 0;
		if (cost < best) {
			best = cost;
			mr = r;
		}
	}
	return mr;
}

/* Panels of constant rows: one width for all machines, of which each takes a part. */
static void
panelsizes(Contraction *c)
{
	int64_t N;

	c->PA = bestrows(c, 12, 2);
	c->PB = sym_isconst(c->N, &N) && N <= 16 ? 16 : 32;
}

static void
tilerows(Contraction *c)
{
	int most = c->lo->opt.target->mr;

	if (c->aform == ADirect) {
		c->MR = bestrows(c, most, 1);
		return;
	}
	for (c->MR = c->PA < most ? c->PA : most; c->PA % c->MR; c->MR--)
		;
}

/* Vectors to a tile: more of them where there are few rows, if registers allow. */
static void
tilecolumns(Contraction *c)
{
	const Target *t = c->lo->opt.target;
	int64_t N, best = INT64_MAX, cost;
	int most = t->nv;

	c->NV = most;
	if (c->bform == BBlock)
		while ((most + 1) * (c->MR + 1) < t->nreg && most < 4)
			most++;
	if (!sym_isconst(c->N, &N)) {
		c->NR = c->NV * c->W;
		return;
	}
	for (int v = most; v >= 1; v--) {
		int nr = v * c->W;
		if ((c->bform == BDirect && N % nr) || (c->bform == BPacked && c->PB % nr))
			continue;
		cost = (N + nr - 1) / nr * (c->MR * v + c->MR + v);
		if (cost < best) {
			best = cost;
			c->NV = v;
		}
	}
	c->NR = c->NV * c->W;
}

static void
dependson(Contraction *c, const Ex *e, int *o, int *n)
{
	for (int i = 0; i < c->no; i++)
		if (uses(c, e, c->o[i]))
			o[(*n)++] = i;
}

static bool
isconst(const Sym *s, int64_t *k)
{
	return sym_isconst(s, k);
}

/* Is B read best where it lies: neighbours along n, whole panels? */
static bool
direct(Contraction *c)
{
	const Ex *l = plainload(c->B);
	const Sym *k, *rest;
	int64_t N, M;

	if (!l || c->nn != 1 || !sym_linear(c->lo->cx, l->idx[0], c->n[0], &k, &rest) || !sym_is(k, 1))
		return false;
	if (uses(c, l, c->n[0]) && gen_fvsym(c->g, rest) & gen_bit(c->g, c->n[0]))
		return false;
	return isconst(c->N, &N) && N % c->W == 0 && !(isconst(c->M, &M) && M > DirectRows);
}

/* Do neighbours along the last k lie side by side in e? */
static bool
alongk(Contraction *c, const Ex *e)
{
	const Ex *l = plainload(e);
	const Sym *k, *rest;

	return l && sym_linear(c->lo->cx, l->idx[0], c->k[c->nk - 1], &k, &rest) && sym_is(k, 1) &&
	       !(gen_fvsym(c->g, rest) & gen_bit(c->g, c->k[c->nk - 1]));
}

static bool
dots(Contraction *c)
{
	int64_t M, k;

	if (c->W < 4 || c->aform != ADirect || c->nn != 1 || !isconst(c->M, &M) || M > DotRows)
		return false;
	if (isconst(c->kext[c->nk - 1], &k) && k < 4 * c->W)
		return false;
	return alongk(c, c->A) && alongk(c, c->B);
}

static const Sym *times(Contraction *, const Sym *, int64_t);
static const Sym *plus(Contraction *, const Sym *, const Sym *);
static const Sym *loopvar(Contraction *, const char *, const Sym *);

/* Does a block of B for all of K not stay in the cache? */
static bool
longk(Contraction *c)
{
	int64_t K;

	return !isconst(c->K, &K) || K > c->lo->opt.target->l2 / 2 / (c->W * c->lo->opt.target->nv * dtypeinfo[c->dt].bytes);
}

/* The largest divisor of n that is not much smaller than most; most itself if there is none. */
static int64_t
divisor(int64_t n, int64_t most)
{
	for (int64_t d = most; d > most / 2; d--)
		if (n % d == 0)
			return d;
	return most;
}

/* Cut K: the innermost k variables whose product is short stay whole, the next one is cut,
 * those before it become loops outside. */
static bool
cutk(Contraction *c)
{
	Ctx *cx = c->lo->cx;
	int64_t most = c->lo->opt.target->l2 / 2 / (256 * dtypeinfo[c->dt].bytes), inner = 1, ext = 0, M, piece;
	int l = c->nk - 1;
	bool whole;
	const Sym *kk, *all;

	if (c->aform != ADirect || !isconst(c->M, &M) || M * c->NR * dtypeinfo[c->dt].bytes > 4 << 20)
		return false;
	for (; l > 0 && isconst(c->kext[l], &ext) && inner * ext <= most; l--)
		inner *= ext;
	piece = most / inner < 1 ? 1 : most / inner;
	if (isconst(c->kext[l], &ext))
		piece = piece >= ext ? ext : divisor(ext, piece);
	else
		ext = 0;
	whole = ext && ext % piece == 0;
	c->KP = sym_ceildiv(cx, c->kext[l], sym_const(cx, piece));
	c->kp = loopvar(c, "kp", c->KP);
	kk = loopvar(c, "kk", sym_const(cx, piece));
	all = plus(c, times(c, c->kp, piece), kk);
	c->A = ex_subst1(cx, c->A, c->k[l], all);
	c->B = ex_subst1(cx, c->B, c->k[l], all);
	c->nko = l;
	memcpy(c->ko, c->k, sizeof *c->k * (size_t)l);
	memcpy(c->koext, c->kext, sizeof *c->kext * (size_t)l);
	c->nk -= l;
	memmove(c->k, c->k + l, sizeof *c->k * (size_t)c->nk);
	memmove(c->kext, c->kext + l, sizeof *c->kext * (size_t)c->nk);
	c->kext[0] = whole ? sym_const(cx, piece)
	           : sym_min(cx, sym_const(cx, piece), sym_sub(cx, c->kext[0], times(c, c->kp, piece)));
	c->k[0] = kk;
	c->K = sym_const(cx, piece * inner);
	c->pieces = true;
	return true;
}

/* Panels to a block: enough work for all workers, sums that stay small. */
static void
piecepanels(Contraction *c)
{
	int64_t N, M = 1, most = 256 / c->NR > 0 ? 256 / c->NR : 1, bytes = dtypeinfo[c->dt].bytes;

	isconst(c->M, &M);
	M = (M + c->MR - 1) / c->MR * c->MR;
	while (most > 1 && M * most * c->NR * bytes > 1 << 20)
		most--;
	if (isconst(c->N, &N)) {
		int64_t panels = (N + c->NR - 1) / c->NR, share = c->lo->opt.threads > 1 ? (panels + 3) / 4 : panels;
		most = most > share ? share : most;
	}
	c->NP = most;
}

static bool
blocksize(Contraction *c)
{
	int64_t K, N, most, bytes = dtypeinfo[c->dt].bytes;

	if (longk(c) && cutk(c)) {
		piecepanels(c);
		return true;
	}
	if (!isconst(c->K, &K))
		return false;
	most = c->lo->opt.target->l2 / 2 / (K * c->NR * bytes);
	if (K * c->NR * bytes > 2 << 20)
		return false;
	if (most < 1)
		most = 1;
	if (most * c->NR > 256)
		most = 256 / c->NR ? 256 / c->NR : 1;
	if (isconst(c->N, &N) && most > (N + c->NR - 1) / c->NR)
		most = (N + c->NR - 1) / c->NR;
	c->NP = most;
	return true;
}

/* How A and B are read; false: plain loops do better. */
static bool
forms(Contraction *c)
{
	int64_t M, N;
	bool few = isconst(c->M, &M) && M < PackRows;

	if (isconst(c->M, &M) && M < LeastRows)
		return false;
	if (isconst(c->N, &N) && N < 4)
		return false;
	panelsizes(c);
	dependson(c, c->A, c->ao, &c->nao);
	dependson(c, c->B, c->bo, &c->nbo);
	c->aform = pack_const(c, true, &c->apack) ? APacked : ADirect;
	if (c->aform == ADirect && !plainload(c->A))
		return false;
	c->bform = pack_const(c, false, &c->bpack) ? BPacked
	           : direct(c) && (c->aform == ADirect || few || c->nk > 1) && (few || !longk(c)) ? BDirect : BBlock;
	if (c->bform == BBlock && dots(c)) {
		c->bform = BRows;
		c->MR = bestrows(c, c->lo->opt.target->nreg >= 32 ? 4 : 3, 1);
		c->NR = 16;
	}
	if (c->bform == BBlock && few)
		return false;
	if (c->bform != BRows) {
		tilerows(c);
		tilecolumns(c);
	}
	if (c->bform == BBlock && !blocksize(c))
		return false;
	c->MT = sym_ceildiv(c->lo->cx, c->M, sym_const(c->lo->cx, c->MR));
	c->NT = sym_ceildiv(c->lo->cx, c->N, sym_const(c->lo->cx, c->NR));
	return true;
}

static bool
analyse(Contraction *c)
{
	const Ex *b;

	if (c->nest->piece.n != 1 || c->nest->piece.v[0].nin)
		return false;
	c->p = &c->nest->piece.v[0];
	for (int i = 0; i < c->nest->nouter; i++)
		gen_declare(c->g, c->nest->outer[i]);
	gen_fv(c->g, c->p->e);
	if (!(c->fold = product(c->p->e)) || c->fold->nidx > MaxRank || c->nest->nouter > MaxRank)
		return false;
	b = uncast(c->fold->arg[0]);
	c->dt = c->fold->dt;
	c->A = ex_cast(c->lo->cx, c->dt, b->arg[0]);
	c->B = ex_cast(c->lo->cx, c->dt, b->arg[1]);
	c->nk = c->fold->nidx;
	for (int i = 0; i < c->nk; i++) {
		c->k[i] = c->fold->var[i];
		c->kext[i] = c->fold->idx[i];
	}
	c->K = numel_of(c->lo->cx, c->kext, c->nk);
	c->W = c->lo->opt.novector ? 1 : c->lo->opt.target->vecbytes / dtypeinfo[c->dt].bytes;
	if (c->W < 2)
		c->W = 1;
	c->g->W = c->W;
	return roles(c) && forms(c);
}

/* ---- the tile -------------------------------------------------------------------------------- */

static const Sym *
times(Contraction *c, const Sym *s, int64_t k)
{
	return sym_mul(c->lo->cx, s, sym_const(c->lo->cx, k));
}

static const Sym *
plus(Contraction *c, const Sym *a, const Sym *b)
{
	return sym_add(c->lo->cx, a, b);
}

const Sym *
contract_kflat(Contraction *c)
{
	const Sym *f = sym_const(c->lo->cx, 0);

	for (int i = 0; i < c->nk; i++)
		f = plus(c, sym_mul(c->lo->cx, f, c->kext[i]), c->k[i]);
	return f;
}

const Sym *
pack_outer(Contraction *c, const int *o, int n)
{
	const Sym *f = sym_const(c->lo->cx, 0);

	for (int i = 0; i < n; i++)
		f = plus(c, sym_mul(c->lo->cx, f, c->oext[o[i]]), c->o[o[i]]);
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

	at = plus(c, at, sym_div(cx, t, parts));
	at = times(c, plus(c, sym_mul(cx, at, c->K), kf), panel);
	return plus(c, at, times(c, sym_mod(cx, t, parts), width));
}

/* Where vector v of B's row k lies, and in which buffer. */
static const Sym *
bindex(Contraction *c, const Sym *kf, int *buf)
{

	if (c->bform == BDirect) {
		const Ex *l = plainload(c->B);
		const Sym *col = times(c, c->jp, c->NR);
		*buf = gen_buf(c->g, l->val);
		return sym_subst(c->lo->cx, l->idx[0], &c->n[0], &col, 1);
	}
	if (c->bform == BPacked) {
		*buf = gen_buf(c->g, &c->bpack->val);
		return panelindex(c, c->bo, c->nbo, c->N, c->jp, kf, c->PB, c->NR);
	}
	*buf = c->blockbuf;
	return times(c, plus(c, sym_mul(c->lo->cx, c->jl, c->K), kf), c->NR);
}

/* Row r of A at k, one lane. */
static KRef
aload(Contraction *c, const Sym *kf, int r, const Sym *const *row)
{
	if (c->aform == APacked) {
		const Sym *at = panelindex(c, c->ao, c->nao, c->M, c->mt, kf, c->PA, c->MR);
		return loadat(c, gen_buf(c->g, &c->apack->val), plus(c, at, sym_const(c->lo->cx, r)), 1);
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
		b[v] = gen_cast(g, c->dt, loadat(c, buf, plus(c, at, sym_const(c->lo->cx, v * c->W)), c->W));
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

/* The rows that this tile reads: beyond the last, the last again. */
static void
rows(Contraction *c, const Sym **row)
{
	Gen *g = c->g;
	Ctx *cx = c->lo->cx;
	const Sym *first = times(c, c->mt, c->MR);
	bool whole = sym_divides(cx, sym_const(cx, c->MR), c->M);

	for (int r = 0; r < c->MR; r++) {
		row[r] = plus(c, first, sym_const(cx, r));
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
	const Sym *t = plus(c, times(c, c->mt, c->NP), c->jl);

	return plus(c, times(c, t, (int64_t)c->MR * c->NR), sym_const(c->lo->cx, i));
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
	at = plus(c, times(c, w->mi, c->NR), w->ni);
	at = c->pieces ? plus(c, partat(c, 0), at) : at;
	w->e = replaced(cx, c->p->e, c->fold, ex_load(cx, c->pieces ? c->part : c->tile, &at, 1));
	if (c->m) {
		old[n] = c->m;
		with[n++] = plus(c, times(c, c->mt, c->MR), w->mi);
	}
	for (int i = 0; i < c->nn; i++) {
		old[n] = c->n[i];
		with[n++] = i < c->nn - 1 ? sym_const(cx, 0) : plus(c, times(c, c->jp, c->NR), w->ni);
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
	const Sym *m0 = times(c, c->mt, c->MR), *n0 = times(c, c->jp, c->NR);
	bool rows = sym_divides(cx, sym_const(cx, c->MR), c->M);
	KRef mmax = gen_int(g, DtI64, c->MR);

	epilogueof(c, &w);
	if (sym_divides(cx, sym_const(cx, c->NR), c->N))
		w.next = sym_const(cx, c->NR);
	else
		w.nmax = gen_op(g, ScMin, DtI64, gen_sym(g, sym_sub(cx, c->N, n0)), gen_int(g, DtI64, c->NR), 0);
	if (!rows)
		mmax = gen_op(g, ScMin, DtI64, gen_sym(g, sym_sub(cx, c->M, m0)), mmax, 0);
	gen_range(g, w.mi, gen_int(g, DtI64, 0), mmax, NULL, false, epiloguerow, &w);
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
		KRef at = gen_add(g, gen_add(g, gen_sym(g, times(c, c->jp, c->NR)), first), gen_int(g, DtI64, v));
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
tile(Contraction *c)
{
	Gen *g = c->g;
	KRef acc[256], zero;
	const Sym *row[64];

	if (c->bform == BRows) {
		dottile(c);
		return;
	}
	zero = gen_splat(g, gen_float(g, c->dt, 0), c->W);
	rows(c, row);
	for (int i = 0; i < c->MR * c->NV; i++)
		acc[i] = gen_var(g, zero);
	kloops(c, 0, acc, row);
	for (int i = 0; i < c->MR * c->NV; i++)
		gen_ins(g, (KIns){.op = KStore, .dt = c->dt, .lanes = (uint8_t)c->W, .buf = (uint16_t)c->tilebuf,
		                  .a = gen_int(g, DtI64, (int64_t)(i / c->NV) * c->NR + i % c->NV * c->W),
		                  .b = gen_get(g, acc[i])});
	epilogue(c);
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

	if (!isconst(c->K, &K))
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
	const Sym *p0 = times(c, nb, c->NP);
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

typedef struct Task { const Sym *var, *ext; } Task;

/* The parallel loop: its index is split into those of the tasks' variables, the last fastest. */
static KRef
opentasks(Contraction *c, const Task *t, int n)
{
	Gen *g = c->g;
	const Sym *all = sym_const(c->lo->cx, 1);
	bool par = c->lo->opt.threads > 1;
	KRef loop, rest;

	for (int i = 0; i < n; i++)
		all = sym_mul(c->lo->cx, all, t[i].ext);
	g->k->parallel = par ? all : NULL;
	loop = rest = gen_loop(g, par ? LoopParallel : LoopSerial, izero(c), gen_sym(g, all), 1);
	for (int i = n; i-- > 0; ) {
		KRef ext = i ? gen_sym(g, t[i].ext) : 0;
		if (i && sym_is(t[i].ext, 1)) {
			gen_bind(g, t[i].var, izero(c));
			continue;
		}
		gen_bind(g, t[i].var, i ? gen_op(g, ScFmod, DtI64, rest, ext, 0) : rest);
		if (i)
			rest = gen_op(g, ScQuot, DtI64, rest, ext, 0);
	}
	return loop;
}

static void
write(Contraction *c)
{
	Ctx *cx = c->lo->cx;
	Gen *g = c->g;
	Task t[MaxRank + 3];
	int n = 0;
	int64_t mb = rowtiles(c);
	const Sym *blk = sym_fresh(cx, "b", 0, INT64_MAX);
	KRef loop;

	for (int i = 0; i < c->no; i++)
		t[n++] = (Task){c->o[i], c->oext[i]};
	if (c->bform == BBlock) {
		t[n++] = (Task){blk, sym_ceildiv(cx, c->NT, sym_const(cx, c->NP))};
		loop = opentasks(c, t, n);
		blockbody(c, blk);
	} else {
		t[n++] = (Task){blk, sym_ceildiv(cx, c->MT, sym_const(cx, mb))};
		t[n++] = (Task){c->jp, c->NT};
		loop = opentasks(c, t, n);
		KRef from = gen_mul(g, gen_sym(g, blk), gen_int(g, DtI64, mb));
		KRef to = gen_op(g, ScMin, DtI64, gen_add(g, from, gen_int(g, DtI64, mb)), gen_sym(g, c->MT), 0);
		panelbody(c, from, to);
	}
	for (int i = 0; i < n; i++)
		gen_unbind(g, t[i].var);
	gen_end(g, loop);
}

/* A fresh variable of a loop. */
static const Sym *
loopvar(Contraction *c, const char *stem, const Sym *ext)
{
	const Sym *v = sym_fresh(c->lo->cx, stem, 0, ext->hi == INT64_MAX ? INT64_MAX : ext->hi - 1);

	gen_declare(c->g, v);
	return v;
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
	if (c->bform != BBlock || !isconst(c->K, &K))
		return;
	c->blockbuf = local(c, NULL, "block", c->NP * K * c->NR);
	if (c->pieces && isconst(c->MT, &M)) {
		c->part = localval(c, "part", M * c->MR * c->NP * c->NR);
		c->partbuf = local(c, c->part, "part", M * c->MR * c->NP * c->NR);
	}
	ow = isconst(c->next[c->nn - 1], &ow) ? ow : 0;
	c->line = c->NP * c->NR + 2 * ow + 2 * c->W;
	c->linebuf = c->nn > 1 ? local(c, NULL, "line", c->line) : -1;
}

Kernel *
contract_kernel(Lower *lo, Group *gr, Gen **gen)
{
	Contraction *c = NEW(lo->a, Contraction);
	int64_t M, N, K;

	c->lo = lo;
	c->nest = nest_prepare(lo, gr);
	c->g = c->nest->g;
	if (!analyse(c)) {
		lo->nkernel--;
		return NULL;
	}
	c->mt = loopvar(c, "mt", c->MT);
	c->jp = loopvar(c, "jp", c->NT);
	c->jl = loopvar(c, "jl", sym_const(lo->cx, c->NP + 1));
	c->flat = loopvar(c, "kf", c->K);
	buffers(c);
	write(c);
	M = sizeof_(c->M), N = sizeof_(c->N), K = sizeof_(numel_of(lo->cx, c->fold->idx, c->fold->nidx));
	c->g->k->flops = 2 * M * N * K;
	*gen = c->g;
	return c->g->k;
}
