/* symprove.c - what can be said of expressions: order, equality, divisibility.
 *
 * To prove e <= 0 the range of e may do.  If not, an atom is taken out, e being
 * c*atom + rest, and replaced by a bound of the right side: a variable by its
 * last value sup - 1 (or its first), a modulus x % d by d - 1, a quotient by what
 * it rounds, a minimum by one of its arguments.  Later atoms go first, since
 * bounds are over earlier ones: i < s0 is over s0.
 *
 *     s1*i + j < s0*s1,  i < s0, j < s1:
 *     s1*i + j - s0*s1 + 1  ->  s1*i + s1 - s0*s1  ->  s1*s0 - s1 + s1 - s0*s1 = 0
 *
 * A quotient is replaced exactly: x//d <= r is x < (r + 1)*d, for integers.
 */
#include "ir/symrep.h"

enum { Budget = 48 };         /* replacements tried for a question */

static bool nonpos(Ctx *, const Sym *e, int *budget);

const Sym **
sym_memo(SymTab *t, int op, const Sym *a, const Sym *b)
{
	Memo *old = t->memo;
	int n = t->capmemo, i;
	uint64_t h;

	if (2 * (t->nmemo + 1) > n) {
		t->capmemo = n ? 2 * n : 512;
		t->memo = NEWN(t->arena, Memo, t->capmemo);
		t->nmemo = 0;
		for (i = 0; i < n; i++)
			if (old[i].res)
				*sym_memo(t, old[i].op, old[i].a, old[i].b) =
					old[i].res;
	}
	h = ((uint64_t)a->id << 32 | b->id) * UINT64_C(0x9e3779b97f4a7c15)
	    + (uint64_t)op * UINT64_C(0xc2b2ae3d27d4eb4f);
	h ^= h >> 31;
	i = (int)(h & (uint64_t)(t->capmemo - 1));
	while (t->memo[i].a && (t->memo[i].a != a || t->memo[i].b != b
	                        || t->memo[i].op != op))
		i = (i + 1) & (t->capmemo - 1);
	if (t->memo[i].a == NULL) {
		t->memo[i] = (Memo){ a, b, NULL, op };
		t->nmemo++;
	}
	return &t->memo[i].res;
}

bool
sym_isconst(const Sym *s, int64_t *k)
{
	if (s->kind != SymConst)
		return false;
	if (k)
		*k = s->k;
	return true;
}

bool
sym_is(const Sym *s, int64_t k)
{
	return s->kind == SymConst && s->k == k;
}

/* ---- proofs ---- */

static int64_t
gcd(int64_t a, int64_t b)
{
	while (b) {
		int64_t r = a % b;

		a = b;
		b = r;
	}
	return a < 0 ? -a : a;
}

/* e <= 0 is (e - k)/g <= floor(-k/g): the constant is tightened. */
static const Sym *
tighten(Ctx *cx, const Sym *e)
{
	View v = symv(e);
	SymTerm t[8];
	int64_t g = 0;
	const Sym *r;

	if (v.n == 0 || v.n > COUNT(t))
		return e;
	for (int i = 0; i < v.n; i++) {
		if (v.t[i].coef == INT64_MIN)
			return e;
		g = gcd(g, v.t[i].coef);
	}
	if (g <= 1 || v.k == INT64_MIN)
		return e;
	r = sym_const(cx, -floordiv(-v.k, g));
	for (int i = 0; i < v.n; i++) {
		t[i] = v.t[i];
		t[i].coef /= g;
		r = sym_add(cx, r, sym_ofterm(cx, t[i]));
	}
	return r;
}

/* c*with + rest <= 0? */
static bool
replaced(Ctx *cx, const Sym *c, const Sym *with, const Sym *rest, int *budget)
{
	return nonpos(cx, sym_add(cx, sym_mul(cx, c, with), rest), budget);
}

static bool
varbound(Ctx *cx, const Sym *a, int sign, const Sym *c, const Sym *rest,
         int *budget)
{
	const Sym *sup = rep(a)->sup;

	if (sign > 0 && sup)
		return replaced(cx, c, sym_sub(cx, sup, sym_const(cx, 1)), rest,
		                budget);
	if (c->kind == SymConst)       /* the range has said it already */
		return false;
	if (sign > 0 && a->hi != INT64_MAX)
		return replaced(cx, c, sym_const(cx, a->hi), rest, budget);
	if (sign < 0 && a->lo != INT64_MIN)
		return replaced(cx, c, sym_const(cx, a->lo), rest, budget);
	return false;
}

static bool
modbound(Ctx *cx, const Sym *a, int sign, const Sym *c, const Sym *rest,
         int *budget)
{
	const Sym *x = a->arg[0], *d = a->arg[1];

	if (!sym_pos(cx, d))
		return false;
	if (sign < 0)
		return c->kind != SymConst
		       && replaced(cx, c, sym_const(cx, 0), rest, budget);
	if (replaced(cx, c, sym_sub(cx, d, sym_const(cx, 1)), rest, budget))
		return true;
	return x->lo >= 0 && replaced(cx, c, x, rest, budget);
}

/* c*(x//d) + rest <= 0 for d > 0, with x - d < d*(x//d) <= x. */
static bool
divbound(Ctx *cx, const Sym *a, int sign, const Sym *c, const Sym *rest,
         int *budget)
{
	const Sym *x = a->arg[0], *d = a->arg[1], *one = sym_const(cx, 1), *e;
	const Sym *dr = sym_mul(cx, d, rest);

	if (!sym_pos(cx, d))
		return false;
	if (sym_is(c, 1)) {            /* x//d <= -rest: x < d*(1 - rest) */
		e = sym_add(cx, sym_sub(cx, sym_add(cx, x, dr), d), one);
		return nonpos(cx, e, budget);
	}
	if (sym_is(c, -1))             /* x//d >= rest: x >= d*rest */
		return nonpos(cx, sym_sub(cx, dr, x), budget);
	if (sign < 0)
		x = sym_add(cx, sym_sub(cx, x, d), one);
	if (sym_divides(cx, d, c))
		return replaced(cx, sym_div(cx, c, d), x, rest, budget);
	return replaced(cx, c, x, dr, budget);
}

/* A minimum is at most any argument: one that does is enough.  From below it is
 * one of them, so all must do. */
static bool
minbound(Ctx *cx, const Sym *a, bool any, const Sym *c, const Sym *rest,
         int *budget)
{
	for (int i = a->fn == SymFnWhere; i < a->narg; i++)
		if (replaced(cx, c, a->arg[i], rest, budget) == any)
			return any;
	return !any;
}

static bool
atombound(Ctx *cx, const Sym *a, int sign, const Sym *c, const Sym *rest,
          int *budget)
{
	if (a->kind == SymVar)
		return varbound(cx, a, sign, c, rest, budget);
	switch (a->fn) {
	case SymFnMod:
		return modbound(cx, a, sign, c, rest, budget);
	case SymFnDiv:
		return divbound(cx, a, sign, c, rest, budget);
	case SymFnMin:
		return minbound(cx, a, sign > 0, c, rest, budget);
	case SymFnMax:
		return minbound(cx, a, sign < 0, c, rest, budget);
	case SymFnWhere:
		return minbound(cx, a, false, c, rest, budget);
	default:
		return false;
	}
}

/* Has the atom a bound that its range does not tell? */
static bool
promising(const Sym *e, const Sym *a)
{
	if (a->kind == SymVar)
		return rep(a)->sup || e->nterm > 1;
	return a->fn == SymFnMod || a->fn == SymFnDiv || a->fn == SymFnMin
	       || a->fn == SymFnMax || a->fn == SymFnWhere;
}

/* The atom of e with the greatest id below that. */
static const Sym *
nextatom(const Sym *e, uint32_t below)
{
	View v = symv(e);
	const Sym *best = NULL;

	for (int i = 0; i < v.n; i++)
		for (int j = 0; j < v.t[i].natom; j++) {
			const Sym *a = v.t[i].atom[j];

			if (a->id < below && (best == NULL || a->id > best->id)
			    && promising(e, a))
				best = a;
		}
	return best;
}

static bool
nonpos(Ctx *cx, const Sym *e, int *budget)
{
	const Sym *c, *rest;
	uint32_t below = UINT32_MAX;

	if (e->hi <= 0 || e->lo > 0 || symtab(cx)->over)
		return e->hi <= 0 && !symtab(cx)->over;
	if (e->nterm > Searched)
		return false;
	e = tighten(cx, e);
	for (const Sym *a; (a = nextatom(e, below)) != NULL; below = a->id) {
		if (--*budget < 0)
			return false;
		if (!sym_split(cx, e, a, &c, &rest) || (c->lo < 0 && c->hi > 0))
			continue;
		if (atombound(cx, a, c->lo >= 0 ? 1 : -1, c, rest, budget))
			return true;
	}
	return false;
}

/* a - b + k <= 0?  Proofs build expressions that the program need not have: their overflow
 * means "not proven". */
static bool
provenonpos(Ctx *cx, const Sym *a, const Sym *b, bool k)
{
	SymTab *t = symtab(cx);
	int budget = Budget;
	const Sym *e, **known = sym_memo(t, k ? 'L' : 'l', a, b);
	bool ok;

	if (*known)
		return (*known)->k;
	t->quiet++;
	e = sym_sub(cx, a, b);
	if (k)
		e = sym_add(cx, e, sym_const(cx, 1));
	ok = nonpos(cx, e, &budget) && !t->over;
	if (--t->quiet == 0)
		t->over = false;
	*sym_memo(t, k ? 'L' : 'l', a, b) = sym_const(cx, ok);
	return ok;
}

bool
sym_nonneg(Ctx *cx, const Sym *e)
{
	if (e->isfloat)
		return false;
	return e->lo >= 0 || (e->hi >= 0 && e->kind != SymVar
	                      && provenonpos(cx, sym_const(cx, 0), e, 0));
}

bool
sym_pos(Ctx *cx, const Sym *d)
{
	return d->lo >= 0 || sym_nonneg(cx, d);
}

bool
sym_within(Ctx *cx, const Sym *a, const Sym *d)
{
	return sym_nonneg(cx, a) && sym_lt(cx, a, d);
}

bool
sym_le(Ctx *cx, const Sym *a, const Sym *b)
{
	if (a->isfloat || b->isfloat)
		return a->kind == SymFloatConst && b->kind == SymFloatConst
		       && a->f <= b->f;
	return a == b || a->hi <= b->lo || provenonpos(cx, a, b, 0);
}

bool
sym_lt(Ctx *cx, const Sym *a, const Sym *b)
{
	if (a->isfloat || b->isfloat)
		return a->kind == SymFloatConst && b->kind == SymFloatConst
		       && a->f < b->f;
	return a->hi < b->lo || (a != b && a->lo < b->hi
	                         && provenonpos(cx, a, b, 1));
}

bool
sym_eq(const Sym *a, const Sym *b)
{
	SymTab *t = rep(a)->tab;
	const Sym *d;

	if (a == b)
		return true;
	if (a->isfloat || b->isfloat || a->hi < b->lo || b->hi < a->lo
	    || a->kind == SymConst || b->kind == SymConst
	    || rep(a)->nvar != rep(b)->nvar)
		return false;
	t->quiet++;
	d = sym_sub(t->cx, a, b);
	if (--t->quiet == 0)
		t->over = false;
	return sym_is(d, 0);
}

bool
sym_ne(const Sym *a, const Sym *b)
{
	Ctx *cx = rep(a)->tab->cx;

	if (a == b || a->isfloat || b->isfloat)
		return a->kind == SymFloatConst && b->kind == SymFloatConst
		       && a->f != b->f;
	return a->hi < b->lo || b->hi < a->lo || sym_lt(cx, a, b)
	       || sym_lt(cx, b, a);
}

bool
sym_divides(Ctx *cx, const Sym *d, const Sym *a)
{
	bool ok;
	SymTab *t = symtab(cx);

	if (sym_is(d, 0) || a->isfloat || d->isfloat)
		return false;
	t->quiet++;
	ok = sym_is(sym_mod(cx, a, d), 0) && !t->over;
	if (--t->quiet == 0)
		t->over = false;
	return ok;
}
