/* symeval.c - substitution, parts by variable, and values.
 */
#include <math.h>
#include "ir/symrep.h"

/* ---- variables ---- */

bool
sym_uses(const Sym *e, const Sym *var)
{
	const Rep *r = rep(e);
	int lo = 0, hi = r->nvar;

	while (lo < hi) {
		int mid = lo + (hi - lo) / 2;

		if (r->var[mid] == var)
			return true;
		if (r->var[mid]->id < var->id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

void
sym_vars(Arena *a, const Sym *e, const Sym ***var, int *n)
{
	const Rep *r = rep(e);
	const Sym **all;
	int m = 0;

	if (r->nvar == 0)
		return;
	all = NEWN(a, const Sym *, *n + r->nvar);
	for (int i = 0, j = 0; i < *n || j < r->nvar; m++) {
		const Sym *x = i < *n ? (*var)[i] : NULL;
		const Sym *y = j < r->nvar ? r->var[j] : NULL;

		all[m] = y == NULL || (x && x->id <= y->id) ? x : y;
		i += all[m] == x;
		j += all[m] == y;
	}
	*var = all;
	*n = m;
}

bool
sym_linear(Ctx *cx, const Sym *e, const Sym *var, const Sym **c,
           const Sym **rest)
{
	if (e->isfloat || !sym_split(cx, e, var, c, rest))
		return false;
	return !sym_uses(*c, var) && !sym_uses(*rest, var);
}

/* ---- substitution ---- */

typedef struct Subst {
	SymTab *tab;
	const Sym *const *var, *const *with;
	int n;
	uint32_t epoch;
} Subst;

static bool
touched(const Subst *s, const Sym *e)
{
	for (int i = 0; i < s->n; i++)
		if (sym_uses(e, s->var[i]))
			return true;
	return false;
}

static const Sym *subst(Subst *, const Sym *);

static const Sym *
substpoly(Subst *s, const Sym *e)
{
	Ctx *cx = s->tab->cx;
	const Sym *r = sym_const(cx, e->k), *p;

	for (int i = 0; i < e->nterm; i++) {
		const SymTerm *t = &e->term[i];

		p = sym_const(cx, t->coef);
		for (int j = 0; j < t->natom; j++)
			p = sym_mul(cx, p, subst(s, t->atom[j]));
		r = sym_add(cx, r, p);
	}
	return r;
}

static const Sym *
substfn(Subst *s, const Sym *e)
{
	const Sym *few[8], **arg = few;

	if (e->narg > COUNT(few))
		arg = NEWN(s->tab->arena, const Sym *, e->narg);
	for (int i = 0; i < e->narg; i++)
		arg[i] = subst(s, e->arg[i]);
	/* a divisor that became 0: the value is never asked for */
	if ((e->fn == SymFnDiv || e->fn == SymFnMod) && sym_is(arg[1], 0))
		return sym_const(s->tab->cx, 0);
	return sym_fn(s->tab->cx, e->fn, arg, e->narg, e->name);
}

static void
remember(Subst *s, const Sym *e, const Sym *r)
{
	SymTab *t = s->tab;

	if (e->id >= t->nsubst) {
		uint32_t n = t->nid + t->nid / 2 + 256;
		void *mem = arena_alloc(t->arena, sizeof *t->subst * n, 16);

		if (t->nsubst)
			memcpy(mem, t->subst, sizeof *t->subst * t->nsubst);
		t->subst = mem;
		t->nsubst = n;
	}
	t->subst[e->id].epoch = s->epoch;
	t->subst[e->id].res = r;
}

static const Sym *
subst(Subst *s, const Sym *e)
{
	const Sym *r;

	if (!touched(s, e))
		return e;
	if (e->kind == SymVar) {
		for (int i = 0; i < s->n; i++)
			if (s->var[i] == e)
				return s->with[i];
		return e;
	}
	if (e->id < s->tab->nsubst && s->tab->subst[e->id].epoch == s->epoch)
		return s->tab->subst[e->id].res;
	r = e->kind == SymPoly ? substpoly(s, e) : substfn(s, e);
	remember(s, e, r);
	return r;
}

const Sym *
sym_subst(Ctx *cx, const Sym *e, const Sym *const *var, const Sym *const *with,
          int n)
{
	SymTab *t = symtab(cx);
	Subst s = { t, var, with, n, ++t->epoch };

	return subst(&s, e);
}

/* ---- values ---- */

typedef struct Number { bool isf; int64_t i; double f; } Number;

typedef struct Eval {
	bool (*look)(void *, const Sym *, int64_t *);
	void *arg;
	int budget;           /* steps left: shared parts are evaluated again */
} Eval;

static bool eval(Eval *, const Sym *, Number *);

static double
asdouble(Number n)
{
	return n.isf ? n.f : (double)n.i;
}

static bool
evalpoly(Eval *ev, const Sym *e, Number *out)
{
	int64_t sum = e->k, p;
	Number n;

	for (int i = 0; i < e->nterm; i++) {
		p = e->term[i].coef;
		for (int j = 0; j < e->term[i].natom; j++)
			if (!eval(ev, e->term[i].atom[j], &n)
			    || !mul_ok(p, n.i, &p))
				return false;
		if (!add_ok(sum, p, &sum))
			return false;
	}
	*out = (Number){ .i = sum };
	return true;
}

static bool
ipow(int64_t a, int64_t n, int64_t *r)
{
	*r = 1;
	if (n < 0)
		return false;
	if (a == 0 || a == 1 || a == -1) {
		*r = a == -1 && n % 2 == 0 ? 1 : n == 0 ? 1 : a;
		return true;
	}
	while (n-- > 0)
		if (!mul_ok(*r, a, r))
			return false;
	return true;
}

static bool
evalint(enum symfn fn, int64_t a, int64_t b, int64_t *r)
{
	switch (fn) {
	case SymFnDiv:
	case SymFnMod:
		if (b == 0 || (b == -1 && a == INT64_MIN))
			return false;
		*r = fn == SymFnDiv ? floordiv(a, b) : floormod(a, b);
		return true;
	case SymFnPow: return ipow(a, b, r);
	case SymFnMin: *r = a < b ? a : b; return true;
	case SymFnMax: *r = a > b ? a : b; return true;
	case SymFnEq:  *r = a == b; return true;
	case SymFnNe:  *r = a != b; return true;
	case SymFnLt:  *r = a < b; return true;
	case SymFnLe:  *r = a <= b; return true;
	case SymFnAnd: *r = a && b; return true;
	case SymFnOr:  *r = a || b; return true;
	case SymFnShl:
		return b >= 0 && b < 63 && mul_ok(a, INT64_C(1) << b, r);
	case SymFnShr:
		*r = a >> (b > 63 ? 63 : b);
		return b >= 0;
	default:
		return false;
	}
}

static bool
evalfloat(enum symfn fn, double a, double b, Number *r)
{
	r->isf = true;
	switch (fn) {
	case SymFnFAdd: r->f = a + b; return true;
	case SymFnFMul: r->f = a * b; return true;
	case SymFnFDiv:
	case SymFnTrueDiv: r->f = a / b; return b != 0;
	case SymFnFPow: r->f = pow(a, b); return true;
	case SymFnMin:  r->f = b < a ? b : a; return true;
	case SymFnMax:  r->f = b > a ? b : a; return true;
	default: break;
	}
	r->isf = false;
	switch (fn) {
	case SymFnEq: r->i = a == b; return true;
	case SymFnNe: r->i = a != b; return true;
	case SymFnLt: r->i = a < b; return true;
	case SymFnLe: r->i = a <= b; return true;
	case SymFnAnd: r->i = a != 0 && b != 0; return true;
	case SymFnOr: r->i = a != 0 || b != 0; return true;
	default: return false;
	}
}

static bool
toint(double f, Number *r)
{
	*r = (Number){ .i = 0 };
	if (!(f >= -0x1p63 && f < 0x1p63))
		return false;
	r->i = (int64_t)f;
	return true;
}

static bool
evalone(const Sym *e, Number a, Number *r)
{
	double f = asdouble(a);

	switch (e->fn) {
	case SymFnNot:
		*r = (Number){ .i = f == 0 };
		return true;
	case SymFnToFloat: *r = (Number){ true, 0, f }; return true;
	case SymFnSqrt:    *r = (Number){ true, 0, sqrt(f) }; return f >= 0;
	case SymFnFFn:
		*r = (Number){ true, 0, symf_call(e->name, f) };
		return !isnan(r->f);
	case SymFnFloor:   return toint(floor(f), r);
	case SymFnCeil:    return toint(ceil(f), r);
	case SymFnTrunc:   return toint(trunc(f), r);
	case SymFnRound:   return toint(rint(f), r);
	default:           *r = a; return true;     /* Min(x), And(x) */
	}
}

static bool
evaltwo(const Sym *e, Number a, Number b, Number *r)
{
	if (e->fn == SymFnTrueDiv && !a.isf && !b.isf) {
		*r = (Number){ true, 0, (double)((long double)a.i / b.i) };
		return b.i != 0;
	}
	if (a.isf || b.isf || e->isfloat)
		return evalfloat(e->fn, asdouble(a), asdouble(b), r);
	*r = (Number){ .i = 0 };
	return evalint(e->fn, a.i, b.i, &r->i);
}

static bool
evalfn(Eval *ev, const Sym *e, Number *out)
{
	Number a, b;

	if (!eval(ev, e->arg[0], &a))
		return false;
	if (e->fn == SymFnWhere)
		return eval(ev, e->arg[asdouble(a) != 0 ? 1 : 2], out);
	if (e->narg == 1)
		return evalone(e, a, out);
	for (int i = 1; i < e->narg; i++) {
		if (!eval(ev, e->arg[i], &b) || !evaltwo(e, a, b, out))
			return false;
		a = *out;
	}
	return true;
}

static bool
eval(Eval *ev, const Sym *e, Number *out)
{
	if (--ev->budget < 0)
		return false;
	*out = (Number){ .isf = e->isfloat };
	switch (e->kind) {
	case SymConst:
		out->i = e->k;
		return true;
	case SymFloatConst:
		out->f = e->f;
		return true;
	case SymVar:
		if (!ev->look(ev->arg, e, &out->i))
			return false;
		if (e->isfloat)        /* a double is handed over as its bits */
			memcpy(&out->f, &out->i, sizeof out->f);
		return true;
	case SymPoly:
		return evalpoly(ev, e, out);
	default:
		return evalfn(ev, e, out);
	}
}

bool
sym_eval(const Sym *e, bool (*look)(void *, const Sym *, int64_t *), void *arg,
         int64_t *out)
{
	Eval ev = { look, arg, 1000000 };
	Number n;

	if (e->isfloat || !eval(&ev, e, &n))
		return false;
	*out = n.i;
	return true;
}

bool
sym_evalf(const Sym *e, bool (*look)(void *, const Sym *, int64_t *), void *arg,
          double *out)
{
	Eval ev = { look, arg, 1000000 };
	Number n;

	if (!eval(&ev, e, &n))
		return false;
	*out = asdouble(n);
	return true;
}
