/* symdiv.c - floor division and modulus.
 *
 * With x == q*d + r, x//d is q + r//d and x % d is r % d, for any q.  Whole
 * terms go into q as long as d divides them; what stays is
 *
 *     r == g*h + l,  0 <= l < g,  d == g*e:   r//d == h//e,  r % d == g*(h % e) + l
 *
 * where g is what some term of r has in common with d: (32*i + j)//64 is i//2
 * when 0 <= j < 32, and (s0*i + j)//(s0*s1) is i//s1 when 0 <= j < s0.  Divisors
 * are not 0: those who ask have made sure, and one that is not negative is
 * positive.
 */
#include "ir/symrep.h"

static int64_t
gcd(int64_t a, int64_t b)
{
	while (b) {
		int64_t r = a % b;

		a = b;
		b = r;
	}
	return a;
}

/* The atoms that a and b share (both sorted), into out. */
static int
common(const SymTerm *a, const SymTerm *b, const Sym **out)
{
	int n = 0, i = 0, j = 0;

	while (i < a->natom && j < b->natom)
		if (a->atom[i] == b->atom[j]) {
			out[n++] = a->atom[i];
			i++;
			j++;
		} else if (a->atom[i]->id < b->atom[j]->id)
			i++;
		else
			j++;
	return n;
}

static bool
termgcd(SymTab *tab, const SymTerm *a, const SymTerm *b, SymTerm *g)
{
	const Sym **atom = NEWN(tab->arena, const Sym *, a->natom + 1);

	if (a->coef == INT64_MIN || b->coef == INT64_MIN)
		return false;
	g->natom = common(a, b, atom);
	g->atom = atom;
	g->coef = gcd(a->coef < 0 ? -a->coef : a->coef,
	              b->coef < 0 ? -b->coef : b->coef);
	return true;
}

/* t / d, if it is a term. */
static bool
termdiv(SymTab *tab, const SymTerm *t, const SymTerm *d, SymTerm *q)
{
	const Sym **atom;
	int n = 0, j = 0;

	if (d->coef == 0 || d->natom > t->natom
	    || (d->coef == -1 && t->coef == INT64_MIN)
	    || t->coef % d->coef != 0)
		return false;
	atom = NEWN(tab->arena, const Sym *, t->natom + 1);
	for (int i = 0; i < t->natom; i++)
		if (j < d->natom && t->atom[i] == d->atom[j])
			j++;
		else
			atom[n++] = t->atom[i];
	*q = (SymTerm){ t->coef / d->coef, n, atom };
	return j == d->natom;
}

/* x == d*q + r, where q takes every term that d divides, and of the constant what
 * a constant d > 0 leaves in 0..d-1. */
static void
split(Ctx *cx, const Sym *x, const SymTerm *d, const Sym **q, const Sym **r)
{
	View v = symv(x);
	SymTerm t;

	*q = sym_const(cx, 0);
	*r = sym_const(cx, v.k);
	if (d->natom == 0 && d->coef > 0) {
		*q = sym_const(cx, floordiv(v.k, d->coef));
		*r = sym_const(cx, floormod(v.k, d->coef));
	}
	for (int i = 0; i < v.n; i++)
		if (termdiv(symtab(cx), &v.t[i], d, &t))
			*q = sym_add(cx, *q, sym_ofterm(cx, t));
		else
			*r = sym_add(cx, *r, sym_ofterm(cx, v.t[i]));
}

/* The parts of x over a divisor d = g*e. */
typedef struct Parts { const Sym *g, *h, *e, *l; } Parts;

static bool
groupby(Ctx *cx, const Sym *x, const SymTerm *d, const SymTerm *g, Parts *p)
{
	SymTerm e;

	if (g->natom == 0 && g->coef == 1)
		return false;
	if (!termdiv(symtab(cx), d, g, &e))
		return false;
	p->g = sym_ofterm(cx, *g);
	p->e = sym_ofterm(cx, e);
	split(cx, x, g, &p->h, &p->l);
	return sym_within(cx, p->l, p->g);
}

/* Finds g for a divisor that is one term. */
static bool
group(Ctx *cx, const Sym *x, const SymTerm *d, Parts *p)
{
	View v = symv(x);
	SymTerm g;

	for (int i = 0; i < v.n && i < Searched; i++)
		if (termgcd(symtab(cx), &v.t[i], d, &g)
		    && groupby(cx, x, d, &g, p))
			return true;
	return false;
}

/* What all terms of x and of d have in common: the divisor is a sum. */
static bool
content(Ctx *cx, const Sym *x, const Sym *d, Parts *p)
{
	SymTab *tab = symtab(cx);
	View a = symv(x), b = symv(d);
	SymTerm g = { .natom = -1 }, k[2] = {{ .coef = a.k }, { .coef = b.k }};
	const Sym *r;

	for (int i = 0; i < a.n + b.n + 2; i++) {
		const SymTerm *t = i < a.n ? &a.t[i]
		                   : i < a.n + b.n ? &b.t[i - a.n]
		                   : &k[i - a.n - b.n];

		if (t->coef == 0)
			continue;
		if (!termgcd(tab, g.natom < 0 ? t : &g, t, &g))
			return false;
	}
	if (g.natom <= 0 && g.coef <= 1)
		return false;
	p->g = sym_ofterm(cx, g);
	split(cx, x, &g, &p->h, &p->l);
	split(cx, d, &g, &p->e, &r);
	return sym_is(p->l, 0) && sym_is(r, 0);
}

/* Long division by a sum: by its first term, over and over. */
static void
longdiv(Ctx *cx, const Sym *x, const Sym *d, const Sym **q, const Sym **r)
{
	SymTerm lead = symv(d).t[0], t;
	bool more = x->nterm <= Searched && d->nterm <= Searched;

	*q = sym_const(cx, 0);
	*r = x;
	for (int step = 0; more && step < 32; step++) {
		View v = symv(*r);

		more = false;
		for (int i = 0; i < v.n && !more; i++)
			if (termdiv(symtab(cx), &v.t[i], &lead, &t)) {
				const Sym *s = sym_ofterm(cx, t);

				*q = sym_add(cx, *q, s);
				*r = sym_sub(cx, *r, sym_mul(cx, s, d));
				more = true;
			}
	}
}

/* x//d is one number all over the range? */
static bool
flat(const Sym *x, const Sym *d, int64_t *q)
{
	if (d->kind != SymConst || d->k <= 0 || x->lo == INT64_MIN
	    || x->hi == INT64_MAX)
		return false;
	*q = floordiv(x->lo, d->k);
	return *q == floordiv(x->hi, d->k);
}

/* x == q*d + r with r//d known to be *small: 0 or -1. */
static bool
quotient(Ctx *cx, const Sym *x, const Sym *d, const Sym **q, const Sym **r,
         int *small)
{
	SymTerm m;
	bool one = sym_monomial(d, &m);

	*small = 0;
	if (one)
		split(cx, x, &m, q, r);
	else
		longdiv(cx, x, d, q, r);
	if (sym_is(*r, 0) || sym_within(cx, *r, d))
		return true;
	*small = -1;
	return (*r)->lo < 0 && sym_within(cx, sym_add(cx, *r, d), d);
}

static bool
isfn(const Sym *s, enum symfn fn)
{
	return s->kind == SymFn && s->fn == fn;
}

static void
divrange(const Sym *x, const Sym *d, int64_t *lo, int64_t *hi)
{
	int64_t a = d->lo == 0 ? 1 : d->lo, b = d->hi, m;

	*lo = INT64_MIN;
	*hi = INT64_MAX;
	if (a >= 1) {
		if (x->lo != INT64_MIN)
			*lo = floordiv(x->lo, x->lo < 0 ? a : b);
		if (x->hi != INT64_MAX)
			*hi = floordiv(x->hi, x->hi < 0 ? b : a);
	} else if (x->lo > -INT64_MAX && x->hi != INT64_MAX) {
		m = x->hi > -x->lo ? x->hi : -x->lo;
		*lo = -m;
		*hi = m;
	}
}

static const Sym *
divatom(Ctx *cx, const Sym *x, const Sym *d)
{
	int64_t lo, hi;

	divrange(x, d, &lo, &hi);
	return sym_atom(cx, SymFnDiv, (const Sym *[]){ x, d }, 2, NULL, false,
	                lo, hi);
}

/* (y//b + k)//d is (y + k*b)//(b*d); (y % b)//d is (y//d) % (b/d). */
static const Sym *
divnested(Ctx *cx, const Sym *x, const Sym *d)
{
	View v = symv(x);
	const Sym *a, *y, *b;

	if (v.n != 1 || v.t->natom != 1 || v.t->coef != 1)
		return NULL;
	a = v.t->atom[0];
	if (!isfn(a, SymFnDiv) && !isfn(a, SymFnMod))
		return NULL;
	y = a->arg[0];
	b = a->arg[1];
	if (!sym_pos(cx, b) || !sym_pos(cx, d))
		return NULL;
	if (a->fn == SymFnDiv) {
		y = sym_add(cx, y, sym_mul(cx, b, sym_const(cx, v.k)));
		return sym_div(cx, y, sym_mul(cx, b, d));
	}
	if (v.k == 0 && sym_divides(cx, d, b))
		return sym_mod(cx, sym_div(cx, y, d), sym_div(cx, b, d));
	return NULL;
}

static const Sym *
divide(Ctx *cx, const Sym *x, const Sym *d)
{
	const Sym *q, *r, *n;
	SymTerm m;
	Parts p;
	int64_t k;
	int small;
	bool one = sym_monomial(d, &m);

	if (flat(x, d, &k))
		return sym_const(cx, k);
	if (sym_within(cx, x, d))
		return sym_const(cx, 0);
	if (quotient(cx, x, d, &q, &r, &small))
		return sym_add(cx, q, sym_const(cx, small));
	if (one && !sym_is(q, 0))
		return sym_add(cx, q, sym_div(cx, r, d));
	if (one ? sym_pos(cx, d) && group(cx, x, &m, &p)
	        : content(cx, x, d, &p))
		return sym_div(cx, p.h, p.e);
	n = divnested(cx, x, d);
	return n ? n : divatom(cx, x, d);
}

static const Sym *
byzero(Ctx *cx)
{
	error(cx, NOLOC, "a size expression divides by zero");
	return sym_const(cx, 0);
}

const Sym *
sym_div(Ctx *cx, const Sym *x, const Sym *d)
{
	SymTab *tab = symtab(cx);
	const Sym *r, **known;

	if (x->isfloat || d->isfloat)
		return symf_binary(cx, "//", x, d);
	if (sym_is(d, 0))
		return byzero(cx);
	if (sym_is(d, 1))
		return x;
	if (sym_is(d, -1))
		return sym_neg(cx, x);
	if (x->kind == SymConst && d->kind == SymConst)
		return sym_const(cx, floordiv(x->k, d->k));
	if (symv(d).n ? symv(d).t->coef < 0 : d->k < 0)
		return sym_div(cx, sym_neg(cx, x), sym_neg(cx, d));
	known = sym_memo(tab, SymFnDiv, x, d);
	if (*known)
		return *known;
	r = divide(cx, x, d);
	if (!tab->over)
		*sym_memo(tab, SymFnDiv, x, d) = r;
	return r;
}

/* ---- modulus ---- */

static const Sym *
modatom(Ctx *cx, const Sym *x, const Sym *d)
{
	int64_t lo = INT64_MIN, hi = INT64_MAX;

	if (sym_pos(cx, d)) {
		lo = 0;
		if (d->hi != INT64_MAX)
			hi = d->hi > 0 ? d->hi - 1 : 0;
		if (x->lo >= 0 && x->hi < hi)
			hi = x->hi;
	}
	return sym_atom(cx, SymFnMod, (const Sym *[]){ x, d }, 2, NULL, false,
	                lo, hi);
}

/* x with every y % b in it made y, if d divides what that changes. */
static const Sym *
unmod(Ctx *cx, const Sym *x, const Sym *d)
{
	View v = symv(x);

	for (int i = 0; i < v.n; i++) {
		const Sym *a = v.t[i].natom == 1 ? v.t[i].atom[0] : NULL, *cb;

		if (a == NULL || !isfn(a, SymFnMod))
			continue;
		cb = sym_mul(cx, sym_const(cx, v.t[i].coef), a->arg[1]);
		if (!sym_divides(cx, d, cb))
			continue;
		x = sym_sub(cx, x, sym_ofterm(cx, v.t[i]));
		return sym_add(cx, x, sym_mul(cx, a->arg[0],
		                              sym_const(cx, v.t[i].coef)));
	}
	return NULL;
}

static const Sym *
modulo(Ctx *cx, const Sym *x, const Sym *d)
{
	const Sym *q, *r, *n;
	SymTerm m;
	Parts p;
	int64_t k;
	int small;
	bool one = sym_monomial(d, &m);

	if (flat(x, d, &k))
		return sym_axpy(cx, x, 1, d, -k);
	if (sym_within(cx, x, d))
		return x;
	if (quotient(cx, x, d, &q, &r, &small))
		return sym_axpy(cx, r, 1, d, -small);
	if (one && !sym_is(q, 0))
		return sym_mod(cx, r, d);
	if (one ? sym_pos(cx, d) && group(cx, x, &m, &p)
	        : content(cx, x, d, &p))
		return sym_add(cx, sym_mul(cx, p.g, sym_mod(cx, p.h, p.e)),
		               p.l);
	n = unmod(cx, x, d);
	return n ? sym_mod(cx, n, d) : modatom(cx, x, d);
}

const Sym *
sym_mod(Ctx *cx, const Sym *x, const Sym *d)
{
	SymTab *tab = symtab(cx);
	const Sym *r, **known;

	if (x->isfloat || d->isfloat)
		return symf_binary(cx, "%", x, d);
	if (sym_is(d, 0))
		return byzero(cx);
	if (sym_is(d, 1) || sym_is(d, -1))
		return sym_const(cx, 0);
	if (x->kind == SymConst && d->kind == SymConst)
		return sym_const(cx, floormod(x->k, d->k));
	if (symv(d).n ? symv(d).t->coef < 0 : d->k < 0)
		return sym_neg(cx, sym_mod(cx, sym_neg(cx, x),
		                           sym_neg(cx, d)));
	known = sym_memo(tab, SymFnMod, x, d);
	if (*known)
		return *known;
	r = modulo(cx, x, d);
	if (!tab->over)
		*sym_memo(tab, SymFnMod, x, d) = r;
	return r;
}

const Sym *
sym_ceildiv(Ctx *cx, const Sym *a, const Sym *b)
{
	if (!sym_pos(cx, b))
		return sym_neg(cx, sym_div(cx, sym_neg(cx, a), b));
	a = sym_add(cx, a, sym_sub(cx, b, sym_const(cx, 1)));
	return sym_div(cx, a, b);
}
