/* test_sym.c - the normal form of sizes and index expressions.
 *
 * Beside single laws, random expressions are built twice: as Syms, and as values
 * at random points; both must agree everywhere.
 */
#include <stdlib.h>
#include "ir/ir.h"
#include "tap.h"

#define INF INT64_MAX

static Ctx *cx;

static const Sym *
K(int64_t k)
{
	return sym_const(cx, k);
}

static const Sym *
var(const char *name, int64_t lo, int64_t hi)
{
	return sym_var(cx, intern_str(cx, name), lo, hi);
}

static const Sym *
loopvar(const char *name, const Sym *extent)
{
	const Sym *v = var(name, 0, INF);

	if (sym_sup(v) != extent)
		sym_setsup(cx, v, extent);
	return v;
}

#define ADD(a, b) sym_add(cx, a, b)
#define SUB(a, b) sym_sub(cx, a, b)
#define MUL(a, b) sym_mul(cx, a, b)
#define DIV(a, b) sym_div(cx, a, b)
#define MOD(a, b) sym_mod(cx, a, b)
#define STR(s) sym_str(cx, s)

static void
polynomials(void)
{
	const Sym *s0 = var("s0", 2, INF), *s1 = var("s1", 2, INF);
	const Sym *sum = ADD(MUL(K(2), s0), K(1));

	OK(ADD(s0, s1) == ADD(s1, s0));
	OK(SUB(ADD(s0, s1), s1) == s0);
	OK(MUL(ADD(s0, s1), SUB(s0, s1)) == SUB(MUL(s0, s0), MUL(s1, s1)));
	OK(SUB(s0, s0) == K(0));
	OK(sym_eq(sum, ADD(K(1), ADD(s0, s0))));
	OK(sym_ne(sum, MUL(K(2), s0)));
	OK(sum->lo == 5 && sum->hi == INF);
	STREQ(STR(sum), "2*s0 + 1");
	STREQ(STR(SUB(K(3), s0)), "-s0 + 3");
	STREQ(STR(MUL(s0, MUL(s0, s1))), "s0**2*s1");
	STREQ(STR(ADD(MUL(s1, s1), ADD(s0, MUL(s0, s0)))), "s0**2 + s0 + s1**2");
	STREQ(STR(SUB(SUB(K(0), s0), MUL(K(3), s1))), "-s0 - 3*s1");
	OK(var("neg", -3, 3) && MUL(var("neg", 0, 0), var("neg", 0, 0))->lo == 0);
	OK(MUL(var("neg", 0, 0), var("neg", 0, 0))->hi == 9);
	OK(sym_fresh(cx, "s", 0, 1) != s0);
}

static void
divisions(void)
{
	const Sym *i = var("i", 0, 9), *j = var("j", 0, 31), *s = var("s0", 2, INF);
	const Sym *x = ADD(MUL(K(32), i), j), *t = var("t", -5, INF);

	OK(DIV(x, K(32)) == i);
	OK(MOD(x, K(32)) == j);
	OK(DIV(ADD(x, K(64)), K(32)) == ADD(i, K(2)));
	OK(DIV(x, K(64)) == DIV(i, K(2)));
	OK(MOD(x, K(64)) == ADD(MUL(K(32), MOD(i, K(2))), j));
	OK(DIV(DIV(s, K(3)), K(4)) == DIV(s, K(12)));
	OK(DIV(MOD(s, K(12)), K(3)) == MOD(DIV(s, K(3)), K(4)));
	OK(MOD(MOD(s, K(12)), K(4)) == MOD(s, K(4)));
	OK(MOD(j, K(32)) == j && DIV(j, K(32)) == K(0));
	OK(DIV(SUB(j, K(32)), K(32)) == K(-1));
	OK(ADD(MUL(K(5), DIV(s, K(5))), MOD(s, K(5))) == s);
	OK(ADD(MUL(K(10), DIV(s, K(5))), MUL(K(2), MOD(s, K(5)))) == MUL(K(2), s));
	OK(ADD(MUL(K(16), DIV(s, K(16))),
	       ADD(MUL(K(4), MOD(DIV(s, K(4)), K(4))), MOD(s, K(4)))) == s);
	OK(DIV(ADD(MUL(K(4), t), K(2)), K(8)) == DIV(t, K(2)));
	OK(ADD(DIV(SUB(s, K(3)), K(2)), K(1)) == DIV(SUB(s, K(1)), K(2)));
	OK(sym_ceildiv(cx, s, K(4)) == DIV(ADD(s, K(3)), K(4)));
	OK(DIV(K(-7), K(2)) == K(-4) && MOD(K(-7), K(2)) == K(1));
	OK(DIV(K(7), K(-2)) == K(-4) && MOD(K(7), K(-2)) == K(-1));
	OK(MOD(t, K(3))->lo == 0 && MOD(t, K(3))->hi == 2);
	OK(DIV(t, K(3))->lo == -2);
	OK(sym_divides(cx, K(4), ADD(MUL(K(8), s), K(12))));
	OK(!sym_divides(cx, K(4), ADD(MUL(K(8), s), K(2))));
	STREQ(STR(DIV(s, K(2))), "(s0//2)");
	STREQ(STR(ADD(MOD(s, K(5)), K(1))), "Mod(s0, 5) + 1");
	STREQ(STR(DIV(MUL(K(2), s), K(3))), "((2*s0)//3)");
	STREQ(STR(MOD(t, K(3))), "PythonMod(t, 3)");
}

static void
symbolic(void)
{
	const Sym *s0 = var("s0", 2, INF), *s1 = var("s1", 2, INF);
	const Sym *i = loopvar("p", s1), *j = loopvar("q", s0);
	const Sym *x = ADD(MUL(s0, i), j), *n = MUL(s0, s1);
	const Sym *k = loopvar("k", n), *c = loopvar("c", K(64));
	const Sym *b = loopvar("b", sym_ceildiv(cx, s0, K(32)));

	OK(DIV(x, s0) == i);
	OK(MOD(x, s0) == j);
	OK(sym_lt(cx, x, n));
	OK(!sym_lt(cx, x, SUB(n, K(1))));
	OK(DIV(x, n) == K(0));
	OK(DIV(ADD(MUL(s0, k), j), n) == DIV(k, s1));
	OK(DIV(MUL(s0, k), n) == DIV(k, s1));
	OK(sym_lt(cx, DIV(k, s1), s0));
	OK(sym_lt(cx, MOD(k, s1), s1));
	OK(ADD(MUL(s1, DIV(k, s1)), MOD(k, s1)) == k);
	OK(DIV(ADD(MUL(K(64), x), c), MUL(K(64), s0)) == i);
	OK(MOD(DIV(ADD(MUL(K(64), x), c), K(64)), s0) == j);
	OK(sym_lt(cx, MUL(K(32), b), s0));
	OK(!sym_lt(cx, ADD(MUL(K(32), b), K(31)), s0));
	OK(sym_le(cx, MUL(K(32), DIV(s0, K(32))), s0));
	OK(DIV(ADD(ADD(MUL(s0, i), i), j), ADD(s0, K(1))) == i);
	OK(DIV(MUL(s0, s1), s0) == s1 && MOD(MUL(s0, s1), s1) == K(0));
	OK(sym_le(cx, MUL(K(2), s0), MUL(K(3), s0)));
	OK(sym_lt(cx, s0, MUL(s0, s1)));
	OK(!sym_le(cx, s0, s1));
	OK(c->hi == 63);
	OK(DIV(MUL(K(6), s0), MUL(K(4), s0)) == K(1));
	OK(MOD(ADD(i, s1), s1) == i);
}

static void
functions(void)
{
	const Sym *s0 = var("s0", 2, INF), *s1 = var("s1", 2, INF);
	const Sym *u = var("u0", 0, INF), *m = sym_min(cx, s0, s1);

	OK(sym_max(cx, K(1), s0) == s0);
	STREQ(STR(sym_max(cx, u, K(1))), "Max(1, u0)");
	OK(sym_min(cx, s1, m) == m && sym_min(cx, s0, s1) == sym_min(cx, s1, s0));
	OK(sym_min(cx, s0, ADD(s0, s1)) == s0);
	OK(sym_le(cx, m, s0) && sym_le(cx, m, ADD(s1, K(1))) && !sym_le(cx, s0, m));
	OK(sym_le(cx, K(2), m) && sym_le(cx, sym_max(cx, s0, s1), ADD(s0, s1)));
	OK(sym_is(sym_binary(cx, "==", s0, s0), 1));
	OK(sym_is(sym_binary(cx, "==", s0, ADD(s0, K(1))), 0));
	OK(sym_is(sym_binary(cx, ">=", s0, K(2)), 1));
	OK(sym_is(sym_binary(cx, "<", s0, K(1)), 0));
	STREQ(STR(sym_binary(cx, "==", K(3), s0)), "Eq(s0, 3)");
	STREQ(STR(sym_binary(cx, "and", sym_binary(cx, "<", s0, K(9)),
	                     sym_binary(cx, "!=", s1, s0))),
	      "Ne(s0, s1) & (s0 < 9)");
	STREQ(STR(sym_binary(cx, "<=", K(7), s0)), "s0 >= 7");
	OK(sym_is(sym_binary(cx, "or", K(1), s0), 1));
	OK(sym_fn(cx, SymFnNot, (const Sym *[]){ sym_binary(cx, "==", s0, s1) }, 1,
	          NULL) == sym_binary(cx, "!=", s0, s1));
	OK(sym_binary(cx, "**", ADD(s0, K(1)), K(2))
	   == ADD(MUL(s0, s0), ADD(MUL(K(2), s0), K(1))));
	OK(sym_is(sym_binary(cx, "**", K(2), K(62)), INT64_C(1) << 62));
	OK(sym_fn(cx, SymFnWhere, (const Sym *[]){ K(0), s0, s1 }, 3, NULL) == s1);
	OK(sym_binary(cx, "<<", s0, K(3)) == MUL(K(8), s0));
	OK(sym_binary(cx, "@", s0, s1) == NULL);
}

static void
floats(void)
{
	const Sym *s = var("s0", 2, INF), *h = sym_float(cx, 0.5);
	const Sym *q = sym_binary(cx, "/", s, K(2));

	OK(q->isfloat && !s->isfloat);
	STREQ(STR(q), "IntTrueDiv(s0, 2)");
	OK(sym_binary(cx, "/", K(1), K(4))->f == 0.25);
	OK(MUL(h, K(3))->f == 1.5 && SUB(K(1), h)->f == 0.5);
	OK(sym_fn(cx, SymFnTrunc, &q, 1, NULL) == DIV(s, K(2)));
	OK(sym_fn(cx, SymFnCeil, &q, 1, NULL) == sym_ceildiv(cx, s, K(2)));
	STREQ(STR(MUL(s, h)), "0.5*ToFloat(s0)");
	q = sym_float(cx, 2.5);
	OK(sym_is(sym_fn(cx, SymFnRound, &q, 1, NULL), 2));
	q = K(9);
	OK(sym_fn(cx, SymFnSqrt, &q, 1, NULL)->f == 3);
	OK(sym_fn(cx, SymFnFFn, &s, 1, intern_str(cx, "log"))->isfloat);
	STREQ(STR(sym_fn(cx, SymFnSqrt, &s, 1, NULL)),
	      "OpaqueUnaryFn_sqrt(ToFloat(s0))");
	OK(sym_binary(cx, "//", sym_float(cx, 7.5), K(2))->f == 3);
	OK(sym_binary(cx, "%", sym_float(cx, -0.5), K(2))->f == 1.5);
	OK(sym_is(sym_binary(cx, "<", h, K(1)), 1));
}

static bool
look(void *arg, const Sym *v, int64_t *out)
{
	(void)arg;
	*out = v->name[0] == 's' ? 7 : 3;
	return v->name[0] != 'u';
}

static void
parts(void)
{
	const Sym *s = var("s0", 2, INF), *i = var("i", 0, 9), *c, *rest;
	const Sym *e = ADD(MUL(s, i), ADD(DIV(s, K(2)), K(5)));
	const Sym **v = NULL;
	int64_t k;
	double f;
	int n = 0;

	OK(sym_linear(cx, e, i, &c, &rest) && c == s
	   && rest == ADD(DIV(s, K(2)), K(5)));
	OK(!sym_linear(cx, e, s, &c, &rest));
	OK(!sym_linear(cx, MUL(i, i), i, &c, &rest));
	OK(sym_linear(cx, s, i, &c, &rest) && sym_is(c, 0) && rest == s);
	OK(sym_subst(cx, e, &i, (const Sym *[]){ K(4) }, 1)
	   == ADD(MUL(K(4), s), ADD(DIV(s, K(2)), K(5))));
	OK(sym_is(sym_subst(cx, e, (const Sym *[]){ i, s },
	                    (const Sym *[]){ K(4), K(6) }, 2), 32));
	OK(sym_subst(cx, e, (const Sym *[]){ i, s }, (const Sym *[]){ s, i }, 2)
	   == ADD(MUL(s, i), ADD(DIV(i, K(2)), K(5))));
	OK(sym_is(sym_subst(cx, MOD(s, i), &i, (const Sym *[]){ K(0) }, 1), 0));
	OK(sym_uses(e, i) && !sym_uses(DIV(s, K(2)), i));
	sym_vars(ctx_arena(cx), DIV(s, K(2)), &v, &n);
	sym_vars(ctx_arena(cx), e, &v, &n);
	OK(n == 2 && v[0] == s && v[1] == i);
	OK(sym_eval(e, look, NULL, &k) && k == 29);
	OK(!sym_eval(ADD(e, var("u0", 0, INF)), look, NULL, &k));
	OK(!sym_eval(DIV(s, SUB(i, K(3))), look, NULL, &k));
	OK(sym_evalf(sym_binary(cx, "/", s, K(2)), look, NULL, &f) && f == 3.5);
}

static void
limits(void)
{
	const Sym *s = var("s0", 2, INF), *big = K(INT64_MAX), *e = s;
	const Sym *p = K(0);
	int errors = ctx_errors(cx);

	OK(sym_lt(cx, MUL(K(INT64_MAX / 2), s), K(5)) == false);
	OK(ctx_errors(cx) == errors);
	OK(MUL(big, MUL(K(2), s)) == big && ctx_errors(cx) == errors + 1);
	OK(ADD(big, big) == big && ctx_errors(cx) == errors + 1);
	OK(sym_neg(cx, K(INT64_MIN)) == big);
	for (int i = 0; i < 2000; i++)
		e = DIV(ADD(MUL(e, K(3)), s), K(7));
	OK(e != NULL && strlen(STR(e)) < 200000);
	for (int i = 0; i < 8; i++)
		p = ADD(p, sym_fresh(cx, "w", 0, INF));
	for (int i = 0; i < 8; i++)
		p = MUL(p, p);
	OK(p == big);
	OK(sym_is(DIV(s, K(0)), 0));
}

/* ---- random expressions against values ---- */

enum { Npoint = 12, Nvar = 5, Npool = 60 };

static uint32_t seed = 1;

static int
rnd(int n)
{
	seed = seed * 1664525u + 1013904223u;
	return (int)((seed >> 8) % (unsigned)n);
}

typedef struct Entry { const Sym *s; int64_t v[Npoint]; bool ok[Npoint]; } Entry;

static const char *const ops[] = {
	"+", "-", "*", "//", "%", "//", "%", "min", "max", "<", "<=", "==",
};

static bool
value(const char *op, int64_t a, int64_t b, int64_t *r)
{
	switch (*op) {
	case '+': return add_ok(a, b, r);
	case '-': return !__builtin_sub_overflow(a, b, r);
	case '*': return mul_ok(a, b, r);
	case '/': *r = b > 0 ? floordiv(a, b) : 0; return b > 0;
	case '%': *r = b > 0 ? floormod(a, b) : 0; return b > 0;
	case 'm': *r = op[1] == 'i' ? a < b ? a : b : a > b ? a : b; return true;
	case '<': *r = op[1] ? a <= b : a < b; return true;
	default:  *r = a == b; return true;
	}
}

static int64_t point[Nvar];
static const Sym *rvar[Nvar];

static bool
lookpoint(void *arg, const Sym *v, int64_t *out)
{
	(void)arg;
	for (int i = 0; i < Nvar; i++)
		if (rvar[i] == v) {
			*out = point[i];
			return true;
		}
	return false;
}

/* Variables: a, b >= 1 unbounded; c < a; d < b; e in 0..31. */
static void
randompoint(void)
{
	point[0] = 1 + rnd(9);
	point[1] = 1 + rnd(9);
	point[2] = rnd((int)point[0]);
	point[3] = rnd((int)point[1]);
	point[4] = rnd(32);
}

static bool
inrange(const Sym *s, int64_t v)
{
	return s->lo <= v && v <= s->hi;
}

/* With all variables but the first replaced by their values, s has value v? */
static bool
substituted(const Sym *s, int64_t v)
{
	const Sym *with[Nvar];
	int64_t got;

	for (int i = 1; i < Nvar; i++)
		with[i] = K(point[i]);
	s = sym_subst(cx, s, rvar + 1, with + 1, Nvar - 1);
	for (int i = 1; i < Nvar; i++)
		if (sym_uses(s, rvar[i]))
			return false;
	return !sym_eval(s, lookpoint, NULL, &got) || got == v;
}

static void
randomised(void)
{
	static int64_t points[Npoint][Nvar];
	static Entry pool[Npool];
	int wrong = 0, range = 0, proof = 0, made = 0, compared = 0, sub = 0;
	static const int consts[] = { 1, 2, 3, 4, 8, 32, 5, -1 };

	rvar[0] = var("ra", 1, INF);
	rvar[1] = var("rb", 1, INF);
	rvar[2] = loopvar("rc", rvar[0]);
	rvar[3] = loopvar("rd", rvar[1]);
	rvar[4] = var("re", 0, 31);
	for (int round = 0; round < 150; round++) {
		for (int p = 0; p < Npoint; p++) {
			randompoint();
			memcpy(points[p], point, sizeof point);
		}
		for (int n = 0; n < Npool; n++) {
			Entry *e = &pool[n];
			const char *op = ops[rnd(COUNT(ops))];
			Entry *a = &pool[rnd(n ? n : 1)], *b = &pool[rnd(n ? n : 1)];

			if (n < Nvar || n < Nvar + COUNT(consts)) {
				int k = n < Nvar ? 0 : consts[n - Nvar];

				e->s = n < Nvar ? rvar[n] : K(k);
				for (int p = 0; p < Npoint; p++) {
					e->v[p] = n < Nvar ? points[p][n] : k;
					e->ok[p] = true;
				}
				continue;
			}
			if ((*op == '/' || *op == '%') && b->s->lo < 1)
				b = &pool[rnd(2)];
			e->s = sym_binary(cx, op, a->s, b->s);
			made++;
			for (int p = 0; p < Npoint; p++) {
				int64_t v;

				e->ok[p] = a->ok[p] && b->ok[p]
				           && value(op, a->v[p], b->v[p], &e->v[p])
				           && llabs(e->v[p]) < 1 << 20;
				if (!e->ok[p])
					continue;
				memcpy(point, points[p], sizeof point);
				compared += sym_eval(e->s, lookpoint, NULL, &v);
				if (p == 0)
					sub += !substituted(e->s, e->v[p]);
				if (sym_eval(e->s, lookpoint, NULL, &v)
				    && v != e->v[p] && wrong++ < 5)
					printf("# %s %s %s = %s: %lld, not %lld\n",
					       STR(a->s), op, STR(b->s), STR(e->s),
					       (long long)v, (long long)e->v[p]);
				range += !inrange(e->s, e->v[p]);
				if (a->s != b->s)
					proof += sym_lt(cx, a->s, b->s)
					         && a->v[p] >= b->v[p];
			}
		}
	}
	OK(made > 5000);
	OK(wrong == 0 && compared > 40000);
	OK(sub == 0);
	OK(range == 0);
	OK(proof == 0);
}

/* ---- reshapes: there and back ---- */

static const Sym *
flatten(const Sym *const *i, const Sym *const *dim, int n)
{
	const Sym *f = K(0);

	for (int d = 0; d < n; d++)
		f = ADD(MUL(f, dim[d]), i[d]);
	return f;
}

/* Indices of the element at place f, as code without thought would have them. */
static void
unflatten(const Sym *f, const Sym *const *dim, int n, const Sym **i)
{
	const Sym *stride = K(1);

	for (int d = n - 1; d >= 0; d--) {
		i[d] = DIV(f, stride);
		if (d > 0)
			i[d] = MOD(i[d], dim[d]);
		stride = MUL(stride, dim[d]);
	}
}

/* Random factors are grouped in two ways; a view from one to the other and back
 * must come out as the identity. */
static void
reshapes(void)
{
	const Sym *factor[6], *pool[8], *a[6], *b[6], *i[6], *j[6], *k[6];
	int lost = 0, unbounded = 0, total = 0;

	for (int n = 0; n < 3; n++)
		pool[n] = sym_fresh(cx, "z", 1, INF);
	for (int n = 3; n < 8; n++)
		pool[n] = K((int[]){ 2, 3, 4, 7, 64 }[n - 3]);
	for (int round = 0; round < 400; round++) {
		int n = 2 + rnd(5), na = 0, nb = 0;

		for (int d = 0; d < n; d++) {
			factor[d] = pool[rnd(8)];
			if (d == 0 || rnd(2))
				a[na++] = factor[d];
			else
				a[na - 1] = MUL(a[na - 1], factor[d]);
			if (d == 0 || rnd(2))
				b[nb++] = factor[d];
			else
				b[nb - 1] = MUL(b[nb - 1], factor[d]);
		}
		for (int d = 0; d < na; d++) {
			i[d] = sym_index(cx, "x", a[d]);
		}
		unflatten(flatten(i, a, na), b, nb, j);
		unflatten(flatten(j, b, nb), a, na, k);
		for (int d = 0; d < nb; d++)
			unbounded += !(sym_le(cx, K(0), j[d]) && sym_lt(cx, j[d], b[d]));
		for (int d = 0; d < na; d++) {
			total++;
			if (k[d] != i[d] && lost++ < 4)
				printf("# %s: %s, not %s\n", STR(flatten(i, a, na)),
				       STR(k[d]), STR(i[d]));
		}
	}
	printf("# %d of %d indices lost, %d unbounded\n", lost, total, unbounded);
	OK(total > 1000 && lost == 0);
	OK(unbounded == 0);
}

static void
types(void)
{
	const Sym *s = var("s0", 2, INF), *dim[] = { K(2), s, K(3) };
	const Sym *st[] = { MUL(K(3), s), K(3), K(1) };
	const Sym *tr[] = { K(1), K(6), K(2) };
	const Type *t = type_tensor(cx, DtF32, 3, dim);

	OK(type_strided(cx, DtF32, 3, dim, st) == t);
	OK(type_tensor(cx, DtF32, 3, dim) == t && type_tensor(cx, DtF16, 3, dim) != t);
	STREQ(type_str(cx, t), "f32[2, s0, 3]");
	STREQ(type_str(cx, type_strided(cx, DtBF16, 3, dim, tr)),
	      "bf16[2, s0, 3][1, 6, 2]");
	STREQ(type_str(cx, type_sym(cx, ADD(s, K(1)))), "Sym(s0 + 1)");
	STREQ(type_str(cx, type_tensor(cx, DtB8, 0, NULL)), "b8[]");
	OK(type_numel(cx, t) == MUL(K(6), s) && type_stride(cx, t, 0) == st[0]);
	OK(dtype_parse("f32", 3) == DtF32 && dtype_parse("torch.bool", 10) == DtB8
	   && dtype_parse("long", 4) == DtI64 && dtype_parse("f3", 2) == DtNone);
	OK(dt_promote(DtU8, DtI8) == DtI16 && dt_promote(DtI8, DtU8) == DtI16);
	OK(dt_promote(DtU8, DtI32) == DtI32 && dt_promote(DtB8, DtU8) == DtU8);
	OK(dt_promote(DtF16, DtBF16) == DtF32 && dt_promote(DtI64, DtF16) == DtF16);
	OK(dt_promote(DtC64, DtF64) == DtC128 && dt_promote(DtF16, DtC64) == DtC64);
	OK(dt_promote(DtF64, DtF32) == DtF64 && dt_promote(DtI16, DtI64) == DtI64);
	OK(dt_acc(DtBF16) == DtF32 && dt_acc(DtF64) == DtF64 && dt_acc(DtI8) == DtI8);
	OK(type_none(cx) == type_none(cx));
}

int
main(void)
{
	cx = ctx_new(&(Diag){ .quiet = true });
	polynomials();
	divisions();
	symbolic();
	functions();
	floats();
	parts();
	types();
	randomised();
	reshapes();
	limits();
	ctx_free(cx);
	return tap_end();
}
