/* special.c - scans and scatters.
 *
 * A scan walks one dimension with a running value and stores it at each step;
 * the other dimensions are outer loops, the last of them over lanes if it lies
 * along the memory.  A scatter writes its start value everywhere, then goes
 * through its domain in order, since two updates may meet in one element.
 */
#include "lower/lower.h"

static const Sym *
rangevar(Ctx *cx, const char *stem, const Sym *ext)
{
	return sym_fresh(cx, stem, 0, ext->hi == INT64_MAX ? INT64_MAX : ext->hi - 1);
}

static const Ex *
prepared(Lower *lo, const Ex *e)
{
	return e ? ex_ready(lo, nest_linear(lo, e)) : NULL;
}

static const Sym *
storeindex(Lower *lo, const Root *r, const Sym *const *idx)
{
	return linear_index(lo->cx, type_tensor(lo->cx, r->val->type->dt, r->n, r->ext), idx);
}

static int
lanesfor(Lower *lo, enum dtype dt)
{
	int bytes = dtypeinfo[dt].bytes > 4 ? dtypeinfo[dt].bytes : 4;
	int n = lo->opt.novector ? 1 : lo->opt.target->vecbytes / bytes;

	return n < 2 ? 1 : n;
}

static void
named(Gen *g, Root *r)
{
	vec_push(g->a, &g->k->from, r->val->def);
	g->k->doc = r->val->name;
}

static Str
kernelname(Lower *lo, Root *r)
{
	Group gr = {.nouter = 0};
	Member m = {r, NULL};

	vec_push(lo->a, &gr.mem, m);
	return nest_name(lo, &gr);
}

/* ---- scans ------------------------------------------------------------------------------ */

typedef struct Scan {
	Lower *lo;
	Root  *r;
	int    level;
	const Sym *var[MaxRank + 1];
	const Ex *e;
	const Sym *at;
	enum dtype acc;
} Scan;

static enum scalar
scancombine(enum fold f)
{
	switch (f) {
	case FoldSum:  return ScAdd;
	case FoldProd: return ScMul;
	case FoldAny:  return ScOr;
	case FoldAll:  return ScAnd;
	case FoldMin: case FoldArgmin: return ScMin;
	default:       return ScMax;
	}
}

/* Does x replace best?  As ATen's cummax: the later of equals, and NaN stays. */
static KRef
takes(Gen *g, const Scan *s, KRef x, KRef best)
{
	enum dtype dt = s->acc;
	KRef r = s->r->low.fold == FoldArgmax ? gen_op(g, ScLe, DtB8, best, x, 0)
	                                      : gen_op(g, ScLe, DtB8, x, best, 0);

	if (dt_int(dt))
		return r;
	r = gen_op(g, ScAnd, DtB8, r, gen_op(g, ScNot, DtB8, gen_op(g, ScIsnan, DtB8, best, 0, 0), 0, 0), 0);
	return gen_op(g, ScOr, DtB8, r, gen_op(g, ScIsnan, DtB8, x, 0, 0), 0);
}

static void
scanline(Gen *g, Scan *s)
{
	Root *r = s->r;
	const Low *low = &r->low;
	bool arg = low->fold == FoldArgmax || low->fold == FoldArgmin;
	const Sym *var = s->var[low->dim];
	const Ex *id = ex_identity(g->cx, low->fold, s->acc);
	int lanes = g->lanes;
	KRef n = gen_sym(g, r->ext[low->dim]), first, best, where = 0, loop, t, x, now;

	first = dt_int(s->acc) ? gen_int(g, s->acc, id->i) : gen_float(g, s->acc, id->f);
	best = gen_var(g, gen_splat(g, first, lanes));
	if (arg)
		where = gen_var(g, gen_splat(g, gen_int(g, DtI64, 0), lanes));
	gen_hoist(g, s->e);
	loop = gen_loop(g, LoopSerial, gen_int(g, DtI64, 0), n, 1);
	t = low->reverse ? gen_op(g, ScSub, DtI64, gen_op(g, ScSub, DtI64, n, gen_int(g, DtI64, 1), 0), loop, 0) : loop;
	gen_bind(g, var, t);
	x = gen_cast(g, s->acc, gen_ex(g, s->e));
	if (arg) {
		KRef take = takes(g, s, x, gen_get(g, best));
		now = gen_op(g, ScSelect, DtI64, take, t, gen_get(g, where));
		gen_set(g, best, gen_op(g, ScSelect, s->acc, take, x, gen_get(g, best)));
		gen_set(g, where, now);
		now = gen_get(g, where);
	} else {
		gen_set(g, best, gen_op(g, scancombine(low->fold), s->acc, gen_get(g, best), x, 0));
		now = gen_get(g, best);
	}
	gen_put(g, r->val, s->at, gen_cast(g, r->val->type->dt, now));
	gen_unbind(g, var);
	gen_end(g, loop);
}

static void
scanouter(Gen *g, void *arg)
{
	Scan *s = arg;
	Root *r = s->r;
	int d = s->level;

	if (d == r->n) {
		scanline(g, s);
		return;
	}
	s->level++;
	if (d == r->low.dim)
		scanouter(g, s);
	else
		gen_for(g, s->var[d], r->ext[d], d == r->n - 1, scanouter, s);
	s->level--;
}

Kernel *
scan_kernel(Lower *lo, Root *r, Gen **gen)
{
	Gen *g = gen_new(lo, kernelname(lo, r));
	Scan s = {.lo = lo, .r = r};

	named(g, r);
	for (int d = 0; d < r->n; d++) {
		s.var[d] = rangevar(lo->cx, "o", r->ext[d]);
		gen_declare(g, s.var[d]);
	}
	s.e = prepared(lo, ex_rewrite(lo->cx, r->e, NULL, NULL, r->i, s.var, r->n));
	s.at = storeindex(lo, r, s.var);
	s.acc = r->low.fold == FoldArgmax || r->low.fold == FoldArgmin ? dt_acc(r->e->dt) : dt_acc(r->val->type->dt);
	g->W = lanesfor(lo, s.acc);
	gen_buf(g, r->val);
	scanouter(g, &s);
	*gen = g;
	return g->k;
}

/* ---- scatters ---------------------------------------------------------------------------- */

typedef struct Scatter {
	Root *r;
	int level;
	const Sym *var[MaxRank + 1];      /* of the start value */
	const Ex *e, *put, *putif;
	const Sym *at, *to;
} Scatter;

static void
start(Gen *g, void *arg)
{
	Scatter *s = arg;
	Root *r = s->r;
	int d = s->level;

	gen_hoist(g, s->e);
	if (d == r->n) {
		gen_store(g, gen_buf(g, r->val), s->at, s->e);
		return;
	}
	s->level++;
	gen_for(g, s->var[d], r->ext[d], d == r->n - 1, start, s);
	s->level--;
}

/* result[to] = result[to] F put, under a condition. */
static void
update(Gen *g, Scatter *s)
{
	Root *r = s->r;
	const Ex *old = ex_load(g->cx, r->val, &s->to, 1), *now;
	enum dtype acc = dt_acc(r->val->type->dt);
	KRef cond = 0, was = g->mask;

	if (s->putif) {
		cond = gen_cast(g, DtB8, gen_ex(g, s->putif));
		if (g->lanes > 1)
			g->mask = g->mask ? gen_op(g, ScAnd, DtB8, g->mask, cond, 0) : gen_splat(g, cond, g->lanes);
		else
			gen_ins(g, (KIns){.op = KIf, .a = cond, .lanes = 1});
	}
	gen_push(g);
	now = r->low.set ? s->put
	      : ex_op(g->cx, scancombine(r->low.fold), ex_cast(g->cx, acc, old), ex_cast(g->cx, acc, s->put), NULL);
	gen_store(g, gen_buf(g, r->val), s->to, ex_cast(g->cx, r->val->type->dt, now));
	gen_pop(g);
	g->mask = was;
	if (cond && g->lanes == 1) {
		KRef open = 0;
		for (KRef k = (KRef)g->k->ins.n; !open; )
			if (g->k->ins.v[--k].op == KIf && g->k->ins.v[k].a == cond)
				open = k;
		gen_ins(g, (KIns){.op = KEnd, .a = open});
	}
}

static void
updates(Gen *g, void *arg)
{
	Scatter *s = arg;
	const Low *low = &s->r->low;
	int d = s->level;
	const Sym *c, *rest;
	bool vector;

	gen_hoist(g, s->put);
	if (s->putif)
		gen_hoist(g, s->putif);
	if (d == low->nover) {
		update(g, s);
		return;
	}
	/* Lanes may go together if they write neighbours. */
	vector = d == low->nover - 1 && sym_linear(g->cx, s->to, low->j[d], &c, &rest) && sym_is(c, 1) &&
	         !(gen_fvsym(g, rest) & gen_bit(g, low->j[d]));
	s->level++;
	gen_for(g, low->j[d], low->over[d], vector, updates, s);
	s->level--;
}

Kernel *
scatter_kernel(Lower *lo, Root *r, Gen **gen)
{
	Gen *g = gen_new(lo, kernelname(lo, r));
	Scatter s = {.r = r};
	const Sym *at[MaxRank * 2];

	named(g, r);
	for (int d = 0; d < r->n; d++) {
		s.var[d] = rangevar(lo->cx, "o", r->ext[d]);
		gen_declare(g, s.var[d]);
	}
	for (int d = 0; d < r->low.nover; d++)
		gen_declare(g, r->low.j[d]);
	for (int d = 0; d < r->low.nidx; d++) {
		const Ex *e = prepared(lo, r->at[d]);
		at[d] = e->kind == ExIndex ? e->sym
		        : e->kind == ExConst ? sym_const(lo->cx, e->i) : ex_indirect(lo->cx, e, INT64_MIN, INT64_MAX);
	}
	s.e = prepared(lo, ex_rewrite(lo->cx, r->e, NULL, NULL, r->i, s.var, r->n));
	s.at = storeindex(lo, r, s.var);
	s.put = prepared(lo, r->put);
	s.putif = prepared(lo, r->putif);
	s.to = storeindex(lo, r, at);
	g->W = lanesfor(lo, r->val->type->dt);
	gen_buf(g, r->val);
	if (!r->started)
		start(g, &s);
	s.level = 0;
	updates(g, &s);
	*gen = g;
	return g->k;
}
