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
 * the rows of A stay in the second-level cache for the sizes at hand.  With many rows the
 * panels are made once, by a kernel before this one (panel.c), and the tasks are tiles of rows:
 *
 *     for o.., blocks of columns, row tiles  (parallel)
 *         for panels
 *             the same
 *
 * A is packed too where it does not lie along k (a gradient of a weight: X^T*dY).  Where K is
 * long or not known it is cut in pieces; the sums so far wait in scratch memory.  Where very few
 * rows of A meet rows of B (a linear layer whose weight may change), packing costs more than it
 * saves: vectors run along k, and the lanes of each accumulator are added up at the end.  For a
 * convolution A is the weight, packed when compiling, and packing B is im2col
 * of some rows of pixels.  For a linear layer B is the weight.
 */
#include "lower/contract.h"

enum { LeastK = 8, LeastRows = 2, PackRows = 8, DirectRows = 64, DotRows = 24,
       ShareRows = 192, LeastShare = 32,       /* panels that all tasks share: from so many rows; columns and sums */
       RowTasks = 16, Blocks = 16 };           /* tasks enough for all workers */

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

const Ex *
contract_replaced(Ctx *cx, const Ex *e, const Ex *what, const Ex *with)
{
	Replace r = {.cx = cx, .a = ctx_arena(cx), .what = what, .with = with};

	return replace_in(&r, e);
}

/* ---- small things --------------------------------------------------------------------- */

const Sym *
contract_times(Contraction *c, const Sym *s, int64_t k)
{
	return sym_mul(c->lo->cx, s, sym_const(c->lo->cx, k));
}

const Sym *
contract_plus(Contraction *c, const Sym *a, const Sym *b)
{
	return sym_add(c->lo->cx, a, b);
}

/* A fresh variable of a loop. */
const Sym *
contract_loopvar(Contraction *c, const char *stem, const Sym *ext)
{
	const Sym *v = sym_fresh(c->lo->cx, stem, 0, ext->hi == INT64_MAX ? INT64_MAX : ext->hi - 1);

	gen_declare(c->g, v);
	return v;
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
	const Ex *e = contract_replaced(c->lo->cx, c->p->e, c->fold, ex_float(c->lo->cx, c->dt, 0));
	Symlist l = {.n = 0};

	ex_syms(c->lo->cx, e, addsym, &l);
	addsym(&l, c->p->at);
	return l.n < COUNT(l.v) && nest_collapse(c->lo->cx, l.v, l.n, a, b, eb);
}

int64_t
contract_extent(const Sym *ext)
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
		    (m < 0 || contract_extent(n->ext[i]) >= contract_extent(n->ext[m])))
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

const Ex *
contract_load(const Ex *e)
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

bool
contract_const(const Sym *s, int64_t *k)
{
	return sym_isconst(s, k);
}

/* Is B read best where it lies: neighbours along n, whole panels? */
static bool
direct(Contraction *c)
{
	const Ex *l = contract_load(c->B);
	const Sym *k, *rest;
	int64_t N, M, K;

	if (!l || c->nn != 1 || !sym_linear(c->lo->cx, l->idx[0], c->n[0], &k, &rest) || !sym_is(k, 1))
		return false;
	if (uses(c, l, c->n[0]) && gen_fvsym(c->g, rest) & gen_bit(c->g, c->n[0]))
		return false;
	if (!contract_const(c->N, &N) || N % c->W)
		return false;
	if (contract_const(c->K, &K) && K * N * dtypeinfo[c->dt].bytes <= c->lo->opt.target->l1)
		return true;
	return !contract_const(c->M, &M) || M <= DirectRows;
}

/* Do neighbours along the last k lie side by side in e? */
bool
contract_alongk(Contraction *c, const Ex *e)
{
	const Ex *l = contract_load(e);
	const Sym *k, *rest;

	return l && sym_linear(c->lo->cx, l->idx[0], c->k[c->nk - 1], &k, &rest) && sym_is(k, 1) &&
	       !(gen_fvsym(c->g, rest) & gen_bit(c->g, c->k[c->nk - 1]));
}

static bool
dots(Contraction *c)
{
	int64_t M, k;

	if (c->W < 4 || c->aform != ADirect || c->nn != 1 || !contract_const(c->M, &M) || M > DotRows)
		return false;
	if (contract_const(c->kext[c->nk - 1], &k) && k < 4 * c->W)
		return false;
	return contract_alongk(c, c->A) && contract_alongk(c, c->B);
}

/* Does a block of B for all of K not stay in the cache? */
static bool
longk(Contraction *c)
{
	int64_t K;

	return !contract_const(c->K, &K) || K > c->lo->opt.target->l2 / 2 / (c->W * c->lo->opt.target->nv * dtypeinfo[c->dt].bytes);
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

	if (c->aform != ADirect || !contract_const(c->M, &M) || M * c->NR * dtypeinfo[c->dt].bytes > 4 << 20)
		return false;
	for (; l > 0 && contract_const(c->kext[l], &ext) && inner * ext <= most; l--)
		inner *= ext;
	piece = most / inner < 1 ? 1 : most / inner;
	if (contract_const(c->kext[l], &ext))
		piece = piece >= ext ? ext : divisor(ext, piece);
	else
		ext = 0;
	whole = ext && ext % piece == 0;
	c->KP = sym_ceildiv(cx, c->kext[l], sym_const(cx, piece));
	c->kp = contract_loopvar(c, "kp", c->KP);
	kk = contract_loopvar(c, "kk", sym_const(cx, piece));
	all = contract_plus(c, contract_times(c, c->kp, piece), kk);
	c->A = ex_subst1(cx, c->A, c->k[l], all);
	c->B = ex_subst1(cx, c->B, c->k[l], all);
	c->nko = l;
	memcpy(c->ko, c->k, sizeof *c->k * (size_t)l);
	memcpy(c->koext, c->kext, sizeof *c->kext * (size_t)l);
	c->nk -= l;
	memmove(c->k, c->k + l, sizeof *c->k * (size_t)c->nk);
	memmove(c->kext, c->kext + l, sizeof *c->kext * (size_t)c->nk);
	c->kext[0] = whole ? sym_const(cx, piece)
	           : sym_min(cx, sym_const(cx, piece), sym_sub(cx, c->kext[0], contract_times(c, c->kp, piece)));
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

	contract_const(c->M, &M);
	M = (M + c->MR - 1) / c->MR * c->MR;
	while (most > 1 && M * most * c->NR * bytes > 1 << 20)
		most--;
	if (contract_const(c->N, &N)) {
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
	if (!contract_const(c->K, &K))
		return false;
	most = c->lo->opt.target->l2 / 2 / (K * c->NR * bytes);
	if (K * c->NR * bytes > 2 << 20)
		return false;
	if (most < 1)
		most = 1;
	if (most * c->NR > 256)
		most = 256 / c->NR ? 256 / c->NR : 1;
	if (contract_const(c->N, &N)) {
		int64_t panels = (N + c->NR - 1) / c->NR, share = (panels + Blocks - 1) / Blocks;
		most = most > panels ? panels : most;
		most = c->lo->opt.threads > 1 && !c->no && most > share ? share : most;
	}
	c->NP = most;
	return true;
}

/* ---- large products --------------------------------------------------------------------------- */

static int64_t
lcm(int64_t a, int64_t b)
{
	int64_t x = a, y = b;

	while (y) {
		int64_t t = x % y;
		x = y;
		y = t;
	}
	return a / x * b;
}

/* Is the product large enough for kernels of their own that make panels? */
static bool
large(Contraction *c)
{
	int64_t N, K, O = contract_extent(numel_of(c->lo->cx, c->oext, c->no));

	if (c->W < 4 || c->nn != 1 || !c->m || longk(c) || !contract_const(c->N, &N) || !contract_const(c->K, &K))
		return false;
	return K >= LeastShare && N >= LeastShare && O * contract_extent(c->M) * N * K >= 1 << 20;
}

/* Of B: not if it is packed but once anyway, by the tasks of few rows. */
static bool
sharecolumns(Contraction *c)
{
	return (c->bform == BBlock || c->bform == BRows) && !c->nbo &&
	       contract_extent(numel_of(c->lo->cx, c->oext, c->no)) * contract_extent(c->M) >= ShareRows;
}

/* Of A: each k would read another line. */
static bool
sharerows(Contraction *c)
{
	return c->aform == ADirect && !contract_alongk(c, c->A) && !c->nao && contract_extent(c->K) >= 2 * LeastShare;
}

static bool
tilefits(Contraction *c, int mr, int nv, bool rows)
{
	int64_t N = contract_extent(c->N);

	if (mr * nv + nv + 1 > c->lo->opt.target->nreg)
		return false;
	if ((c->bform == BDirect && N % (nv * c->W)) || (c->bform == BPacked && c->PB % (nv * c->W)))
		return false;
	return rows ? lcm(mr, c->W) <= 3 * c->W : c->aform != APacked || c->PA % mr == 0;
}

/* The tile that needs least time: an iteration of k costs its products and a little more;
 * those of a few sums wait for each other. */
static bool
sharedtile(Contraction *c, bool rows)
{
	int64_t M = contract_extent(c->M), N = contract_extent(c->N), best = INT64_MAX, cost;

	for (int nv = 1; nv <= 4; nv++)
		for (int mr = 16; mr >= 4; mr--) {
			int64_t sums = mr * nv, nr = nv * c->W;
			if (!tilefits(c, mr, nv, rows))
				continue;
			cost = (M + mr - 1) / mr * ((N + nr - 1) / nr) * ((sums < 10 ? 10 : sums) * 10 + 8 + 2 * mr + 2 * nv);
			if (cost >= best)
				continue;
			best = cost;
			c->MR = mr;
			c->NV = nv;
		}
	c->NR = c->NV * c->W;
	return best < INT64_MAX;
}

/* A, B as panels that all tasks share, and the tile for them; false: neither. */
static bool
share(Contraction *c)
{
	bool big = large(c), rows = big && sharerows(c), columns = big && sharecolumns(c);

	if ((!rows && !columns) || !sharedtile(c, rows))
		return false;
	if (rows) {
		c->PA = (int)lcm(c->MR, c->W);
		c->apack = panel_kernel(c, true);
		c->aform = APacked;
	}
	if (columns) {
		c->PB = c->NR;
		c->bpack = panel_kernel(c, false);
		c->bform = BPacked;
	}
	return true;
}

/* Tiles of rows as tasks: there are enough of them, and each stays in the first cache while
 * panels of B pass by. */
static void
byrows(Contraction *c)
{
	int64_t K, most, NT = contract_extent(c->NT);

	c->byrows = (c->bform == BPacked || c->bform == BDirect) &&
	            contract_extent(numel_of(c->lo->cx, c->oext, c->no)) * contract_extent(c->MT) >= RowTasks;
	if (!contract_const(c->K, &K))
		K = 512;
	most = c->lo->opt.target->l2 * 3 / 4 / (K * c->NR * dtypeinfo[c->dt].bytes);
	most = most < 1 ? 1 : most;
	most = (NT + most - 1) / most;
	c->NP = c->byrows ? (NT + most - 1) / most : c->NP;
}

/* How A and B are read; false: plain loops do better. */
static bool
forms(Contraction *c)
{
	int64_t M, N;
	bool few = contract_const(c->M, &M) && M < PackRows;

	if (contract_const(c->M, &M) && M < LeastRows)
		return false;
	if (contract_const(c->N, &N) && N < 4)
		return false;
	panelsizes(c);
	dependson(c, c->A, c->ao, &c->nao);
	dependson(c, c->B, c->bo, &c->nbo);
	c->aform = pack_const(c, true, &c->apack) ? APacked : ADirect;
	if (c->aform == ADirect && !contract_load(c->A))
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
	if (!share(c) && c->bform != BRows) {
		tilerows(c);
		tilecolumns(c);
	}
	if (c->bform == BBlock && !blocksize(c))
		return false;
	c->MT = sym_ceildiv(c->lo->cx, c->M, sym_const(c->lo->cx, c->MR));
	c->NT = sym_ceildiv(c->lo->cx, c->N, sym_const(c->lo->cx, c->NR));
	byrows(c);
	return true;
}

bool
contract_analyse(Contraction *c)
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
