/* sym.c - integer expressions in normal form: constants, variables, polynomials.
 *
 * A polynomial is a constant and terms, sorted by a monomial order: higher degree
 * first, then by the ids of the atoms (the sorted lists compared as words, the
 * smaller first).  That order is kept by multiplication with a monomial, so
 * products and divisions need no sorting of their own.
 *
 * Ranges are intervals whose ends INT64_MIN and INT64_MAX are infinite; what is
 * finite but does not fit becomes infinite.  A coefficient that does not fit is an
 * error of the model (reported once); the expression becomes the constant
 * INT64_MAX, which no check of sizes lets through.
 *
 * One law ties two functions: d*(x//d) + x%d is x.  A sum in which a modulus
 * meets its division is put together again (recompose), as reshapes need it.
 */
#include <stdlib.h>
#include "ir/symrep.h"

static const char tabkey;

SymTab *
symtab(Ctx *cx)
{
	SymTab *t = ctx_slot(cx, &tabkey, sizeof *t);

	t->cx = cx;
	t->arena = ctx_arena(cx);
	return t;
}

const Sym *
sym_overflow(SymTab *t)
{
	if (t->quiet)
		t->over = true;
	else if (!t->told) {
		t->told = true;
		error(t->cx, NOLOC, "a size expression does not fit 64 bits, "
		      "or is too large");
	}
	return sym_const(t->cx, INT64_MAX);
}

/* ---- ranges ---- */

int64_t
sat_lo(__int128 v)
{
	return v <= INT64_MIN ? INT64_MIN : v > INT64_MAX ? INT64_MAX
	       : (int64_t)v;
}

int64_t
sat_hi(__int128 v)
{
	return v >= INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN
	       : (int64_t)v;
}

void
range_mul(int64_t *lo, int64_t *hi, int64_t lo2, int64_t hi2)
{
	__int128 p[4] = {
		(__int128)*lo * lo2, (__int128)*lo * hi2,
		(__int128)*hi * lo2, (__int128)*hi * hi2,
	};
	__int128 min = p[0], max = p[0];

	for (int i = 1; i < 4; i++) {
		min = p[i] < min ? p[i] : min;
		max = p[i] > max ? p[i] : max;
	}
	*lo = sat_lo(min);
	*hi = sat_hi(max);
}

/* Powers are taken as one: x*x of -3..3 is in 0..9. */
static void
termrange(const SymTerm *t, int64_t *lo, int64_t *hi)
{
	*lo = *hi = t->coef;
	for (int i = 0, n; i < t->natom; i += n) {
		int64_t l = 1, h = 1;

		for (n = 0; i + n < t->natom && t->atom[i + n] == t->atom[i]; n++)
			range_mul(&l, &h, t->atom[i]->lo, t->atom[i]->hi);
		if (n % 2 == 0 && l < 0)
			l = 0;
		range_mul(lo, hi, l, h);
	}
}

static void
polyrange(Sym *s)
{
	__int128 lo = s->k, hi = s->k;

	for (int i = 0; i < s->nterm; i++) {
		int64_t l, h;

		termrange(&s->term[i], &l, &h);
		lo = l == INT64_MIN || lo == INT64_MIN ? INT64_MIN
		     : sat_lo(lo + l);
		hi = h == INT64_MAX || hi == INT64_MAX ? INT64_MAX
		     : sat_hi(hi + h);
	}
	s->lo = (int64_t)lo;
	s->hi = (int64_t)hi;
}

/* ---- interning ---- */

static uint64_t
mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

static uint64_t
hash(const Sym *s)
{
	uint64_t h = mix(s->kind, (uint64_t)s->k), bits;

	memcpy(&bits, &s->f, sizeof bits);
	h = mix(mix(mix(h, bits), s->fn), (uintptr_t)s->name);
	for (int i = 0; i < s->narg; i++)
		h = mix(h, s->arg[i]->id);
	for (int i = 0; i < s->nterm; i++) {
		h = mix(h, (uint64_t)s->term[i].coef);
		for (int j = 0; j < s->term[i].natom; j++)
			h = mix(h, s->term[i].atom[j]->id);
	}
	return h;
}

static bool
sameterm(const SymTerm *a, const SymTerm *b)
{
	return a->coef == b->coef && a->natom == b->natom
	       && memcmp(a->atom, b->atom, sizeof *a->atom * (size_t)a->natom)
	          == 0;
}

static bool
same(const Sym *a, const Sym *b)
{
	if (a->kind != b->kind || a->k != b->k || a->fn != b->fn
	    || a->name != b->name || a->narg != b->narg || a->nterm != b->nterm
	    || memcmp(&a->f, &b->f, sizeof a->f) != 0)
		return false;
	for (int i = 0; i < a->narg; i++)
		if (a->arg[i] != b->arg[i])
			return false;
	for (int i = 0; i < a->nterm; i++)
		if (!sameterm(&a->term[i], &b->term[i]))
			return false;
	return true;
}

static int
find(const SymTab *t, const Sym *s, uint64_t h)
{
	int i = (int)(h & (uint64_t)(t->caprep - 1));

	while (t->slot[i].rep && (t->slot[i].hash != h
	                          || !same(&t->slot[i].rep->s, s)))
		i = (i + 1) & (t->caprep - 1);
	return i;
}

static void
grow(SymTab *t)
{
	__typeof__(t->slot) old = t->slot;
	int n = t->caprep, j;

	t->caprep = n ? 2 * n : 512;
	t->slot = arena_alloc(t->arena, sizeof *old * (size_t)t->caprep, 16);
	for (int i = 0; i < n; i++) {
		if (old[i].rep == NULL)
			continue;
		j = (int)(old[i].hash & (uint64_t)(t->caprep - 1));
		while (t->slot[j].rep)
			j = (j + 1) & (t->caprep - 1);
		t->slot[j] = old[i];
	}
}

/* Collects the variables of a part; *most is the part with the longest list. */
static void
addvars(Rep *r, const Rep *part, const Rep **most)
{
	SymTab *t = r->tab;

	if (part->depth > r->depth)
		r->depth = part->depth;
	for (int i = 0; i < part->nvar; i++)
		vec_push(t->arena, &t->vars, part->var[i]);
	if (*most == NULL || part->nvar > (*most)->nvar)
		*most = part;
}

static int
byid(const void *a, const void *b)
{
	uint32_t x = (*(const Sym *const *)a)->id, y = (*(const Sym *const *)b)->id;

	return (x > y) - (x < y);
}

/* The collected variables, each once; a part's own list is shared when it has
 * them all. */
static void
setvars(Rep *r, const Rep *most)
{
	SymTab *t = r->tab;
	const Sym **v = t->vars.v;
	int n = 0;

	if (t->vars.n > 1)
		qsort(v, (size_t)t->vars.n, sizeof *v, byid);
	for (int i = 0; i < t->vars.n; i++)
		if (n == 0 || v[n - 1] != v[i])
			v[n++] = v[i];
	t->vars.n = 0;
	r->nvar = n;
	if (most && most->nvar == n)
		r->var = most->var;
	else if (n)
		r->var = arena_dup(t->arena, v, sizeof *v * (size_t)n);
}

static void
facts(Rep *r)
{
	Sym *s = &r->s;
	const Rep *most = NULL;

	for (int i = 0; i < s->narg; i++)
		addvars(r, rep(s->arg[i]), &most);
	for (int i = 0; i < s->nterm; i++)
		for (int j = 0; j < s->term[i].natom; j++) {
			const Sym *a = s->term[i].atom[j];

			addvars(r, rep(a), &most);
			if (a->kind == SymFn)
				r->has |= a->fn == SymFnDiv ? HasDiv
				          : a->fn == SymFnMod ? HasMod : 0;
		}
	setvars(r, most);
	if (s->kind == SymFn)
		r->depth++;
	if (s->kind == SymVar) {
		r->var = &r->self;
		r->nvar = 1;
	}
	if (s->kind == SymPoly)
		polyrange(s);
}

/* The one Sym like s.  isnew: its arrays must be given a place of their own. */
static Rep *
intern_sym(SymTab *t, const Sym *s, bool *isnew)
{
	uint64_t h = hash(s);
	Rep *r;
	int i;

	if (2 * (t->nrep + 1) > t->caprep)
		grow(t);
	i = find(t, s, h);
	*isnew = t->slot[i].rep == NULL;
	if (!*isnew)
		return t->slot[i].rep;
	r = NEW(t->arena, Rep);
	r->s = *s;
	r->s.id = t->nid++;
	r->tab = t;
	r->self = &r->s;
	r->one = (SymTerm){ 1, 1, &r->self };
	t->slot[i].hash = h;
	t->slot[i].rep = r;
	t->nrep++;
	return r;
}

/* ---- atoms ---- */

const Sym *
sym_const(Ctx *cx, int64_t k)
{
	SymTab *t = symtab(cx);
	bool isnew, small = k >= -1 && k < COUNT(t->small) - 1;
	Sym s = { .kind = SymConst, .k = k, .lo = k, .hi = k };
	const Sym *r;

	if (small && t->small[k + 1])
		return t->small[k + 1];
	r = &intern_sym(t, &s, &isnew)->s;
	if (small)
		t->small[k + 1] = r;
	return r;
}

const Sym *
sym_float(Ctx *cx, double f)
{
	bool isnew;
	Sym s = { .kind = SymFloatConst, .f = f, .isfloat = true,
	          .lo = INT64_MIN, .hi = INT64_MAX };

	return &intern_sym(symtab(cx), &s, &isnew)->s;
}

static Rep *
variable(Ctx *cx, Str name, bool isfloat, int64_t lo, int64_t hi)
{
	SymTab *t = symtab(cx);
	Rep *r = map_get(&t->var, name);
	bool isnew;
	Sym s = { .kind = SymVar, .name = name, .isfloat = isfloat,
	          .lo = lo, .hi = hi };

	if (r == NULL) {
		r = intern_sym(t, &s, &isnew);
		facts(r);
		map_put(t->arena, &t->var, name, r);
	}
	return r;
}

const Sym *
sym_var(Ctx *cx, Str name, int64_t lo, int64_t hi)
{
	return &variable(cx, name, false, lo, hi)->s;
}

const Sym *
sym_floatvar(Ctx *cx, Str name)
{
	return &variable(cx, name, true, INT64_MIN, INT64_MAX)->s;
}

static Str
freshname(Ctx *cx, const char *stem)
{
	SymTab *t = symtab(cx);
	Str key = intern_str(cx, stem), name;
	int *count = map_get(&t->stem, key);

	if (count == NULL) {
		count = NEW(t->arena, int);
		map_put(t->arena, &t->stem, key, count);
	}
	do
		name = intern_printf(cx, "%s%d", stem, (*count)++);
	while (map_get(&t->var, name));
	return name;
}

const Sym *
sym_fresh(Ctx *cx, const char *stem, int64_t lo, int64_t hi)
{
	return sym_var(cx, freshname(cx, stem), lo, hi);
}

const Sym *
sym_freshfloat(Ctx *cx, const char *stem)
{
	return sym_floatvar(cx, freshname(cx, stem));
}

void
sym_bound(Ctx *cx, const Sym *var, int64_t lo, int64_t hi)
{
	Rep *r = map_get(&symtab(cx)->var, var->name);

	if (r) {
		r->s.lo = lo;
		r->s.hi = hi;
	}
}

void
sym_setsup(Ctx *cx, const Sym *var, const Sym *sup)
{
	Rep *r = map_get(&symtab(cx)->var, var->name);

	if (r == NULL)
		return;
	r->sup = sup;
	/* of an empty loop the index never is: any range will do, but not lo > hi */
	if (sup->hi != INT64_MAX && sup->hi - 1 < r->s.hi)
		r->s.hi = sup->hi > r->s.lo ? sup->hi - 1 : r->s.lo;
}

const Sym *
sym_index(Ctx *cx, const char *stem, const Sym *extent)
{
	const Sym *v = sym_fresh(cx, stem, 0, INT64_MAX);

	sym_setsup(cx, v, extent);
	return v;
}

const Sym *
sym_sup(const Sym *var)
{
	return rep(var)->sup;
}

const Sym *
sym_atom(Ctx *cx, enum symfn fn, const Sym *const *arg, int narg, Str ffn,
         bool isfloat, int64_t lo, int64_t hi)
{
	SymTab *t = symtab(cx);
	Sym s = { .kind = SymFn, .fn = fn, .arg = arg, .narg = narg,
	          .name = ffn, .isfloat = isfloat, .lo = lo, .hi = hi };
	bool isnew;
	Rep *r;

	for (int i = 0; i < narg; i++)
		if (rep(arg[i])->depth >= MaxDepth)
			return isfloat ? sym_float(cx, 0) : sym_overflow(t);
	r = intern_sym(t, &s, &isnew);
	if (isnew) {
		r->s.arg = arena_dup(t->arena, arg, sizeof *arg * (size_t)narg);
		facts(r);
	}
	return &r->s;
}

/* ---- polynomials ---- */

View
symv(const Sym *s)
{
	if (s->kind == SymConst)
		return (View){ .k = s->k };
	if (s->kind == SymPoly)
		return (View){ s->k, s->term, s->nterm };
	return (View){ 0, &rep(s)->one, 1 };
}

int
sym_cmpterm(const SymTerm *a, const SymTerm *b)
{
	if (a->natom != b->natom)
		return a->natom > b->natom ? -1 : 1;
	for (int i = 0; i < a->natom; i++)
		if (a->atom[i] != b->atom[i])
			return a->atom[i]->id < b->atom[i]->id ? -1 : 1;
	return 0;
}

static const Sym *recompose(Ctx *, const Sym *);

/* The Sym of sorted terms that are all different and not 0. */
static const Sym *
poly(Ctx *cx, int64_t k, SymTerm *t, int n)
{
	SymTab *tab = symtab(cx);
	Sym s = { .kind = SymPoly, .k = k, .term = t, .nterm = n };
	bool isnew;
	Rep *r;

	if (n == 0)
		return sym_const(cx, k);
	if (n == 1 && k == 0 && t->coef == 1 && t->natom == 1)
		return t->atom[0];
	r = intern_sym(tab, &s, &isnew);
	if (isnew) {
		r->s.term = arena_dup(tab->arena, t, sizeof *t * (size_t)n);
		facts(r);
	}
	if ((r->has & (HasDiv | HasMod)) == (HasDiv | HasMod) && n <= Searched)
		return recompose(cx, &r->s);
	return &r->s;
}

enum { Small = 24 };          /* terms for which the stack has room */

/* c = a*ca + b*cb; false: overflow */
static bool
fma_ok(int64_t a, int64_t ca, int64_t b, int64_t cb, int64_t *c)
{
	int64_t x, y;

	return mul_ok(a, ca, &x) && mul_ok(b, cb, &y) && add_ok(x, y, c);
}

const Sym *
sym_axpy(Ctx *cx, const Sym *a, int64_t ca, const Sym *b, int64_t cb)
{
	SymTab *tab = symtab(cx);
	View x = symv(a), y = symv(b);
	SymTerm few[Small], *t = few;
	int64_t k;
	int n = 0, i = 0, j = 0;

	if (x.n + y.n > MaxTerm)
		return sym_overflow(tab);
	if (x.n + y.n > Small)
		t = NEWN(tab->arena, SymTerm, x.n + y.n);
	if (!fma_ok(x.k, ca, y.k, cb, &k))
		return sym_overflow(tab);
	while (i < x.n || j < y.n) {
		int c = i == x.n ? 1 : j == y.n ? -1
		        : sym_cmpterm(&x.t[i], &y.t[j]);

		t[n] = c <= 0 ? x.t[i] : y.t[j];
		if (!fma_ok(c <= 0 ? x.t[i].coef : 0, ca,
		            c >= 0 ? y.t[j].coef : 0, cb, &t[n].coef))
			return sym_overflow(tab);
		i += c <= 0;
		j += c >= 0;
		n += t[n].coef != 0;
	}
	return poly(cx, k, t, n);
}

static bool
termmul(SymTab *tab, const SymTerm *a, const SymTerm *b, SymTerm *out)
{
	int n = a->natom + b->natom, i = 0, j = 0;
	const Sym **atom;

	if (n > MaxAtom || !mul_ok(a->coef, b->coef, &out->coef))
		return false;
	out->natom = n;
	out->atom = a->natom ? a->atom : b->atom;
	if (a->natom == 0 || b->natom == 0)
		return true;
	atom = NEWN(tab->arena, const Sym *, n);
	for (int m = 0; m < n; m++) {
		bool left = j == b->natom
		            || (i < a->natom
		                && a->atom[i]->id <= b->atom[j]->id);

		atom[m] = left ? a->atom[i++] : b->atom[j++];
	}
	out->atom = atom;
	return true;
}

const Sym *
sym_ofterm(Ctx *cx, SymTerm t)
{
	if (t.natom == 0 || t.coef == 0)
		return sym_const(cx, t.coef);
	return poly(cx, 0, &t, 1);
}

bool
sym_monomial(const Sym *s, SymTerm *t)
{
	View v = symv(s);

	if (s->isfloat || v.n > 1 || (v.n == 1 && v.k != 0))
		return false;
	*t = v.n ? v.t[0] : (SymTerm){ .coef = v.k };
	return true;
}

static int
byorder(const void *a, const void *b)
{
	return sym_cmpterm(a, b);
}

/* Sorts terms and adds up equal ones; the new count, or -1. */
static int
collect(SymTerm *t, int n)
{
	int m = 0;

	qsort(t, (size_t)n, sizeof *t, byorder);
	for (int i = 0; i < n; i++) {
		if (m && sym_cmpterm(&t[m - 1], &t[i]) == 0) {
			if (!add_ok(t[m - 1].coef, t[i].coef, &t[m - 1].coef))
				return -1;
			continue;
		}
		m -= m && t[m - 1].coef == 0;
		t[m++] = t[i];
	}
	return m - (m && t[m - 1].coef == 0);
}

static const Sym *
product(Ctx *cx, View x, View y)
{
	SymTab *tab = symtab(cx);
	SymTerm few[Small], *t = few, kx = { .coef = x.k }, ky = { .coef = y.k };
	int n = 0;
	int64_t k;

	if ((int64_t)(x.n + 1) * (y.n + 1) > MaxTerm
	    || !mul_ok(x.k, y.k, &k))
		return sym_overflow(tab);
	if ((x.n + 1) * (y.n + 1) > Small)
		t = NEWN(tab->arena, SymTerm, (x.n + 1) * (y.n + 1));
	for (int i = 0; i <= x.n; i++)
		for (int j = 0; j <= y.n; j++) {
			if (i == x.n && j == y.n)
				continue;
			if (!termmul(tab, i < x.n ? &x.t[i] : &kx,
			             j < y.n ? &y.t[j] : &ky, &t[n]))
				return sym_overflow(tab);
			n += t[n].coef != 0;
		}
	n = collect(t, n);
	return n < 0 ? sym_overflow(tab) : poly(cx, k, t, n);
}

const Sym *
sym_add(Ctx *cx, const Sym *a, const Sym *b)
{
	if (a->isfloat || b->isfloat)
		return symf_binary(cx, "+", a, b);
	if (sym_is(b, 0))
		return a;
	return sym_axpy(cx, a, 1, b, 1);
}

const Sym *
sym_sub(Ctx *cx, const Sym *a, const Sym *b)
{
	if (a->isfloat || b->isfloat)
		return symf_binary(cx, "-", a, b);
	if (a == b)
		return sym_const(cx, 0);
	return sym_axpy(cx, a, 1, b, -1);
}

const Sym *
sym_mul(Ctx *cx, const Sym *a, const Sym *b)
{
	if (a->isfloat || b->isfloat)
		return symf_binary(cx, "*", a, b);
	if (a->kind == SymConst)
		return a->k == 1 ? b : sym_axpy(cx, b, a->k, a, 0);
	if (b->kind == SymConst)
		return b->k == 1 ? a : sym_axpy(cx, a, b->k, b, 0);
	return product(cx, symv(a), symv(b));
}

const Sym *
sym_neg(Ctx *cx, const Sym *a)
{
	return sym_mul(cx, sym_const(cx, -1), a);
}

/* ---- parts ---- */

/* t without one occurrence of atom i. */
static SymTerm
without(SymTab *tab, const SymTerm *t, int i)
{
	const Sym **atom = NEWN(tab->arena, const Sym *, t->natom);
	int n = 0;

	for (int j = 0; j < t->natom; j++)
		if (j != i)
			atom[n++] = t->atom[j];
	return (SymTerm){ t->coef, n, atom };
}

bool
sym_split(Ctx *cx, const Sym *e, const Sym *atom, const Sym **c,
          const Sym **rest)
{
	View v = symv(e);

	*c = sym_const(cx, 0);
	*rest = e;
	if (e->isfloat)
		return false;
	for (int i = 0; i < v.n; i++) {
		int at = -1, n = 0;

		for (int j = 0; j < v.t[i].natom; j++)
			if (v.t[i].atom[j] == atom) {
				at = j;
				n++;
			}
		if (n > 1)
			return false;
		if (n == 0)
			continue;
		*c = sym_add(cx, *c, sym_ofterm(cx, without(symtab(cx), &v.t[i],
		                                            at)));
		*rest = sym_sub(cx, *rest, sym_ofterm(cx, v.t[i]));
	}
	return true;
}

/* Does p have every term of q, with the same coefficient? */
static bool
contains(const Sym *p, const Sym *q)
{
	View x = symv(p), y = symv(q);
	int i = 0;

	for (int j = 0; j < y.n; j++) {
		while (i < x.n && sym_cmpterm(&x.t[i], &y.t[j]) < 0)
			i++;
		if (i == x.n || !sameterm(&x.t[i], &y.t[j]))
			return false;
	}
	return y.n > 0;
}

/* The sum p with m*(x%d) and m*d*(x//d) in it, made m*x; or NULL.  What m, x and d
 * are is given by atom j of term i. */
static const Sym *
recompose1(Ctx *cx, const Sym *p, int i, int j)
{
	const SymTerm *t = &p->term[i];
	const Sym *mod = t->atom[j], *x = mod->arg[0], *d = mod->arg[1];
	const Sym *m = sym_ofterm(cx, without(symtab(cx), t, j)), *q;

	q = sym_mul(cx, m, sym_mul(cx, d, sym_div(cx, x, d)));
	if (!contains(p, q))
		return NULL;
	p = sym_sub(cx, p, sym_ofterm(cx, *t));
	p = sym_sub(cx, p, q);
	return sym_add(cx, p, sym_mul(cx, m, x));
}

/* The search must not search in turn in what it builds: it would not find more,
 * and the expressions it builds need not occur in the program. */
static const Sym *
recompose(Ctx *cx, const Sym *p)
{
	SymTab *tab = symtab(cx);
	const Sym *r = NULL, **known = sym_memo(tab, '+', p, p);

	if (*known)
		return *known;
	if (tab->nest > 4)
		return p;
	tab->nest++;
	tab->quiet++;
	for (int i = 0; i < p->nterm && r == NULL; i++)
		for (int j = 0; j < p->term[i].natom && r == NULL; j++)
			if (p->term[i].atom[j]->kind == SymFn
			    && p->term[i].atom[j]->fn == SymFnMod)
				r = recompose1(cx, p, i, j);
	tab->quiet--;
	tab->nest--;
	if (tab->over) {
		tab->over = tab->quiet > 0;
		r = NULL;
	}
	*sym_memo(tab, '+', p, p) = r ? r : p;
	return r ? r : p;
}
