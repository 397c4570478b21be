/* fold.c - folds as loops: sums, maxima, positions of maxima.
 *
 * Several folds over equal extents run in one loop nest, each with its own
 * accumulator.  Where no enclosing loop runs over lanes, the innermost
 * variable of the fold does, if loads move by one with it: U vectors of
 * partial results, combined at the end.  With one lane to a vector the same
 * code gives U independent scalars, which shortens the chain of additions for
 * the machine and the error for the user.
 *
 * Positions (argmax): the accumulator is a pair (best, where).  A vector of
 * pairs ends as: m = the best of all lanes; then the least position among the
 * lanes that hold m.
 */
#include "lower/lower.h"

enum { Unroll = 4, MaxFolds = 8 };

/* One fold and its accumulators. */
typedef struct Acc {
	const Ex *f;            /* as asked for */
	const Ex *body, *cond;  /* its, with the variables of the first fold */
	enum dtype dt;          /* of best */
	bool   arg;
	KRef   best[Unroll], where[Unroll];
} Acc;

typedef struct Folds {
	Gen   *g;
	Acc    acc[MaxFolds];
	int    n;
	int    nvar;
	const Sym *const *var, *const *ext;
	const Sym *at;          /* position, row-major over var */
	int    unroll;          /* accumulators in use by the piece being written */
	int    nacc;            /* of each fold */
	bool   vector;          /* the innermost variable runs over lanes */
} Folds;

static enum scalar
combiner(enum fold f)
{
	static const uint8_t sc[NFold] = {
		[FoldSum] = ScAdd, [FoldProd] = ScMul, [FoldMax] = ScMax, [FoldMin] = ScMin,
		[FoldAny] = ScOr, [FoldAll] = ScAnd, [FoldArgmax] = ScMax, [FoldArgmin] = ScMin,
	};
	return sc[f];
}

static KRef
identity(Gen *g, const Acc *a)
{
	const Ex *e = ex_identity(g->cx, a->f->fold, a->dt);

	return dt_int(e->dt) ? gen_int(g, e->dt, e->i) : gen_float(g, e->dt, e->f);
}

/* Is the pair of x better than what best holds? */
static KRef
better(Gen *g, const Acc *a, KRef x, KRef best)
{
	KRef r = a->f->fold == FoldArgmax ? gen_op(g, ScLt, DtB8, best, x, 0)
	                                  : gen_op(g, ScLt, DtB8, x, best, 0);

	if (dt_int(a->dt))
		return r;
	KRef nan = gen_op(g, ScIsnan, DtB8, x, 0, 0), had = gen_op(g, ScIsnan, DtB8, best, 0, 0);
	nan = gen_op(g, ScAnd, DtB8, nan, gen_op(g, ScNot, DtB8, had, 0, 0), 0);
	return gen_op(g, ScOr, DtB8, r, nan, 0);
}

/* Lanes for which this element counts; 0: all. */
static KRef
counts(Gen *g, const Acc *a)
{
	KRef m = a->cond ? gen_cast(g, DtB8, gen_ex(g, a->cond)) : 0;

	if (g->mask && g->lanes > 1)
		m = m ? gen_op(g, ScAnd, DtB8, m, g->mask, 0) : g->mask;
	return m;
}

/* a*b + acc in one step where that is what the sum does. */
static KRef
fused(Gen *g, const Acc *a, KRef was)
{
	const Ex *b = a->body;

	if (a->f->fold != FoldSum || dt_int(a->dt) || b->dt != a->dt || b->kind != ExOp || b->sc != ScMul)
		return 0;
	KRef x = gen_ex(g, b->arg[0]), y = gen_ex(g, b->arg[1]);
	return gen_op(g, ScFma, a->dt, x, y, was);
}

static void
step(Gen *g, Acc *a, int u, const Sym *at)
{
	KRef was = gen_get(g, a->best[u]), m = counts(g, a), x, now;

	if (a->arg) {
		x = gen_cast(g, a->dt, gen_ex(g, a->body));
		KRef take = better(g, a, x, was);
		if (m)
			take = gen_op(g, ScAnd, DtB8, take, m, 0);
		const Ex *pos = ex_index(g->cx, at);
		KRef p = gen_cast(g, DtI64, gen_ex(g, pos));
		gen_set(g, a->where[u], gen_op(g, ScSelect, DtI64, take, p, gen_get(g, a->where[u])));
		gen_set(g, a->best[u], gen_op(g, ScSelect, a->dt, take, x, was));
		return;
	}
	now = fused(g, a, was);
	if (!now) {
		x = gen_cast(g, a->dt, gen_ex(g, a->body));
		now = gen_op(g, combiner(a->f->fold), a->dt, was, x, 0);
	}
	if (m)
		now = gen_op(g, ScSelect, a->dt, m, now, was);
	gen_set(g, a->best[u], now);
}

static void
bodies(Gen *g, Folds *s, int u)
{
	for (int i = 0; i < s->n; i++)
		step(g, &s->acc[i], u, s->at);
}

/* The innermost loop of from..to-1: `unroll` bodies of `lanes` lanes an iteration. */
static void
inner(Gen *g, Folds *s, KRef from, KRef to, int lanes, int unroll, bool tail)
{
	const Sym *v = s->var[s->nvar - 1];
	Vset vec = g->vec;
	const Sym *vecvar = g->vecvar;
	int was = g->lanes;
	KRef mask = g->mask, loop;

	loop = gen_loop(g, LoopSerial, from, to, (int64_t)(s->vector ? lanes : 1) * unroll);
	for (int u = 0; u < unroll; u++) {
		gen_push(g);
		gen_bind(g, v, u ? gen_add(g, loop, gen_int(g, DtI64, (int64_t)u * (s->vector ? lanes : 1))) : loop);
		if (s->vector && lanes > 1) {
			g->vec = gen_bit(g, v);
			g->vecvar = v;
			g->lanes = lanes;
		}
		if (tail)
			g->mask = gen_op(g, ScLt, DtB8, gen_ramp(g, lanes),
			                 gen_op(g, ScSub, DtI64, to, loop, 0), 0);
		bodies(g, s, u);
		gen_pop(g);
		g->vec = vec;
		g->vecvar = vecvar;
		g->lanes = was;
		g->mask = mask;
	}
	gen_unbind(g, v);
	gen_end(g, loop);
}

/* The accumulators of a scalar rest are those of a vector: lane 0 alone would
 * do, but a rest of at most W-1 elements can as well go under a mask. */
static void
innermost(Gen *g, Folds *s)
{
	const Sym *ext = s->ext[s->nvar - 1];
	int lanes = s->vector ? g->W : 1, block = lanes * s->nacc;
	KRef from = gen_int(g, DtI64, 0), to = gen_sym(g, ext), end;
	int64_t n;

	if (block == 1) {
		inner(g, s, from, to, 1, 1, false);
		return;
	}
	if (!sym_isconst(ext, &n)) {
		end = gen_op(g, ScSub, DtI64, to, gen_op(g, ScMod, DtI64, to, gen_int(g, DtI64, block), 0), 0);
		if (s->nacc > 1)
			inner(g, s, from, end, lanes, s->nacc, false);
		else
			end = from;
		from = end;
		end = gen_op(g, ScSub, DtI64, to, gen_op(g, ScMod, DtI64, to, gen_int(g, DtI64, lanes), 0), 0);
		inner(g, s, from, end, lanes, 1, false);
		if (lanes > 1)
			inner(g, s, end, to, lanes, 1, true);
		return;
	}
	int64_t main = n / block * block, whole = n / lanes * lanes;
	if (main)
		inner(g, s, from, gen_int(g, DtI64, main), lanes, s->nacc, false);
	if (whole > main)
		inner(g, s, gen_int(g, DtI64, main), gen_int(g, DtI64, whole), lanes, 1, false);
	if (n > whole)
		inner(g, s, gen_int(g, DtI64, whole), to, lanes, 1, true);
}

static void
hoistall(Gen *g, Folds *s)
{
	for (int i = 0; i < s->n; i++) {
		gen_hoist(g, s->acc[i].body);
		if (s->acc[i].cond)
			gen_hoist(g, s->acc[i].cond);
	}
}

static void
loops(Gen *g, Folds *s, int level)
{
	KRef loop;

	hoistall(g, s);
	if (level == s->nvar - 1) {
		innermost(g, s);
		return;
	}
	loop = gen_loop(g, LoopSerial, gen_int(g, DtI64, 0), gen_sym(g, s->ext[level]), 1);
	gen_bind(g, s->var[level], loop);
	loops(g, s, level + 1);
	gen_unbind(g, s->var[level]);
	gen_end(g, loop);
}

/* ---- the shape of the loops -------------------------------------------------------- */

typedef struct Count { Gen *g; const Sym *var; Moves *m; } Count;

static void
count(void *p, const Ex *load)
{
	Count *c = p;
	const Sym *at = load->idx[0], *k, *rest;

	c->m->loads++;
	if (!(gen_fvsym(c->g, at) & gen_bit(c->g, c->var)))
		c->m->still++;
	else if (sym_linear(c->g->cx, at, c->var, &k, &rest) && sym_is(k, 1) &&
	         !(gen_fvsym(c->g, rest) & gen_bit(c->g, c->var)))
		c->m->next++;
	else
		c->m->jump++;
}

void
ex_moves(Gen *g, const Ex *e, const Sym *var, Moves *m)
{
	Count c = {g, var, m};

	gen_declare(g, var);
	gen_fv(g, e);
	ex_loads(e, count, &c);
}

/* Does it pay to run the innermost variable over lanes? */
static bool
paysvector(Gen *g, Folds *s)
{
	Moves m = {0};
	int64_t n;

	if (g->vec || g->W == 1)
		return false;
	if (sym_isconst(s->ext[s->nvar - 1], &n) && n < g->W && !(2 * n > g->W))
		return false;
	for (int i = 0; i < s->n; i++)
		ex_moves(g, s->acc[i].body, s->var[s->nvar - 1], &m);
	return m.jump <= m.next;
}

static int
unrolling(Gen *g, Folds *s)
{
	int lanes = s->vector ? g->W : 1;
	int most = s->n > 2 ? 1 : s->n > 1 ? 2 : Unroll;
	int64_t n;

	if (g->vec && s->n > 1)
		return 1;
	if (sym_isconst(s->ext[s->nvar - 1], &n))
		while (most > 1 && n < (int64_t)2 * lanes * most)
			most /= 2;
	return most;
}

/* ---- accumulators -------------------------------------------------------------------- */

static void
openacc(Gen *g, Folds *s, Acc *a)
{
	bool varies = gen_fv(g, a->f) & g->vec;
	int lanes = s->vector ? g->W : varies ? g->lanes : 1;

	for (int u = 0; u < s->nacc; u++) {
		a->best[u] = gen_var(g, gen_splat(g, identity(g, a), lanes));
		if (a->arg)
			a->where[u] = gen_var(g, gen_splat(g, gen_int(g, DtI64, 0), lanes));
	}
}

/* Pairs x (position px) and y (py) to the better; of equals the lesser position. */
static void
mergepair(Gen *g, Acc *a, int into, int from)
{
	KRef x = gen_get(g, a->best[into]), px = gen_get(g, a->where[into]);
	KRef y = gen_get(g, a->best[from]), py = gen_get(g, a->where[from]);
	KRef take = better(g, a, y, x), nx, ny;
	KRef tie = gen_op(g, ScEq, DtB8, x, y, 0);

	if (!dt_int(a->dt)) {
		nx = gen_op(g, ScIsnan, DtB8, x, 0, 0);
		ny = gen_op(g, ScIsnan, DtB8, y, 0, 0);
		tie = gen_op(g, ScOr, DtB8, tie, gen_op(g, ScAnd, DtB8, nx, ny, 0), 0);
	}
	tie = gen_op(g, ScAnd, DtB8, tie, gen_op(g, ScLt, DtB8, py, px, 0), 0);
	take = gen_op(g, ScOr, DtB8, take, tie, 0);
	gen_set(g, a->best[into], gen_op(g, ScSelect, a->dt, take, y, x));
	gen_set(g, a->where[into], gen_op(g, ScSelect, DtI64, take, py, px));
}

static KRef
reduce(Gen *g, enum fold f, KRef v)
{
	const KIns *i = &g->k->ins.v[v];

	if (i->lanes == 1)
		return v;
	return gen_ins(g, (KIns){.op = KReduce, .sub = (uint8_t)f, .dt = i->dt, .lanes = 1, .a = v});
}

/* Of a vector of pairs the position that wins.  A lane that saw nothing holds the
 * identity at position 0: harmless, since then either 0 wins or it does not tie. */
static KRef
reducepair(Gen *g, Acc *a)
{
	KRef best = gen_get(g, a->best[0]), where = gen_get(g, a->where[0]), m, hit;

	if (g->k->ins.v[best].lanes == 1)
		return where;
	m = reduce(g, a->f->fold == FoldArgmax ? FoldMax : FoldMin, best);
	hit = gen_op(g, ScEq, DtB8, best, m, 0);
	if (!dt_int(a->dt))
		hit = gen_op(g, ScOr, DtB8, hit, gen_op(g, ScIsnan, DtB8, best, 0, 0), 0);
	where = gen_op(g, ScSelect, DtI64, hit, where, gen_int(g, DtI64, INT64_MAX));
	return reduce(g, FoldMin, where);
}

static KRef
closeacc(Gen *g, Folds *s, Acc *a)
{
	enum scalar sc = combiner(a->f->fold);
	KRef r;

	if (a->arg) {
		for (int u = 1; u < s->nacc; u++)
			mergepair(g, a, 0, u);
		return s->vector ? reducepair(g, a) : gen_get(g, a->where[0]);
	}
	r = gen_get(g, a->best[0]);
	for (int u = 1; u < s->nacc; u++)
		r = gen_op(g, sc, a->dt, r, gen_get(g, a->best[u]), 0);
	r = s->vector ? reduce(g, a->f->fold, r) : r;
	return gen_cast(g, a->f->dt, r);
}

/* ---- the whole ------------------------------------------------------------------------- */

static const Sym *
position(Gen *g, const Folds *s)
{
	const Sym *at = sym_const(g->cx, 0);

	for (int i = 0; i < s->nvar; i++)
		at = sym_add(g->cx, sym_mul(g->cx, at, s->ext[i]), s->var[i]);
	return at;
}

static void
addfold(Gen *g, Folds *s, const Ex *f)
{
	Acc *a = &s->acc[s->n++];

	a->f = f;
	a->body = f->arg[0];
	a->cond = f->cond;
	a->arg = f->fold == FoldArgmax || f->fold == FoldArgmin;
	a->dt = a->arg ? dt_acc(a->body->dt) : dt_acc(f->dt);
	if (f->var == s->var)
		return;
	a->body = ex_rewrite(g->cx, a->body, NULL, NULL, f->var, s->var, s->nvar);
	if (a->cond)
		a->cond = ex_rewrite(g->cx, a->cond, NULL, NULL, f->var, s->var, s->nvar);
}

static void
together(Gen *g, const Ex **f, int n)
{
	Folds s = {.g = g, .nvar = f[0]->nidx, .var = f[0]->var, .ext = f[0]->idx};

	for (int i = 0; i < n; i++)
		addfold(g, &s, f[i]);
	for (int i = 0; i < s.nvar; i++)
		gen_declare(g, s.var[i]);
	s.at = position(g, &s);
	s.vector = paysvector(g, &s);
	s.nacc = unrolling(g, &s);
	for (int i = 0; i < s.n; i++)
		openacc(g, &s, &s.acc[i]);
	loops(g, &s, 0);
	for (int i = 0; i < s.n; i++)
		gen_remember(g, s.acc[i].f, closeacc(g, &s, &s.acc[i]));
}

void
gen_folds(Gen *g, const Ex **f, int n)
{
	for (int i = 0; i < n; i += MaxFolds)
		together(g, f + i, n - i < MaxFolds ? n - i : MaxFolds);
}
