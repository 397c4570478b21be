/* langel.c - element mode of the table language: what a value line computes with.
 *
 * A tensor's name stands for its element at the result's index, broadcast.  In
 * a pointwise operator it is cast to the dtype in which ATen computes, except
 * where it is a condition.  Python numbers stay weak until they meet something
 * with a dtype; indices stay Syms until they meet an element.
 */
#include "ir/hop.h"
#include "ir/lang.h"

static LVal
element(const Ex *e)
{
	return (LVal){.kind = LEx, .ex = e};
}

/* ---- reading tensors ------------------------------------------------------------ */

static const Ex *
computed(Lang *L, const Ex *e)
{
	return L->compute == DtNone ? e : ex_cast(L->cx, L->compute, e);
}

/* Element of t at the result's index, dimensions matched from the right. */
static const Ex *
here(Lang *L, const Ast *at, Val *t)
{
	const Type *ty = t->type;
	const Sym *idx[MaxRank];
	int off = L->ni - ty->rank;

	if (off < 0)
		lang_fail(L, at, "a tensor of %d dimensions as an element of a result of %d",
		          ty->rank, L->ni);
	for (int d = 0; d < ty->rank; d++)
		idx[d] = sym_is(ty->dim[d], 1) ? sym_const(L->cx, 0) : L->i[off + d];
	return ex_load(L->cx, t, idx, ty->rank);
}

const Ex *
lang_ex(Lang *L, const Ast *at, LVal v)
{
	switch (v.kind) {
	case LEx:     return v.ex;
	case LTensor: return computed(L, here(L, at, v.t));
	case LBool:   return ex_int(L->cx, DtB8, v.b);
	case LInt:    return ex_index(L->cx, v.i);
	case LFloat:  return ex_float(L->cx, DtNone, v.f);
	default:
		lang_fail(L, at, "%s is no element", lang_str(L->cx, v));
	}
}

const Ex *
lang_cond(Lang *L, const Ast *at, LVal v)
{
	const Ex *e = v.kind == LTensor ? here(L, at, v.t) : lang_ex(L, at, v);

	if (e->dt == DtB8)
		return e;
	return ex_op(L->cx, ScNe, e, ex_int(L->cx, DtNone, 0), NULL);
}

const Sym *
lang_indirect(Lang *L, const Ast *at, LVal v, int64_t lo, int64_t hi)
{
	const Ex *e = v.kind == LTensor ? here(L, at, v.t) : lang_ex(L, at, v);
	const Sym *s;

	if (!dt_int(e->dt))
		lang_fail(L, at, "an index of dtype %s", dtypeinfo[e->dt].text);
	if (e->kind == ExIndex && !e->sym->isfloat)
		return e->sym;
	e = ex_cast(L->cx, DtI64, e);
	if (e->kind == ExConst)
		return sym_const(L->cx, e->i);
	if (e->kind == ExIndex)
		return e->sym;
	s = ex_indirect(L->cx, e, lo, hi);
	vec_push(L->a, &L->ivar, s);
	return s;
}

LVal
lang_load(Lang *L, const Ast *at, LVal t, const LVal *idx, int n)
{
	const Type *ty = t.t->type;
	const Sym *s[MaxRank];

	if (n != ty->rank)
		lang_fail(L, at, "%d indices for a tensor of %d dimensions", n, ty->rank);
	for (int d = 0; d < n; d++) {
		int64_t hi = ty->dim[d]->hi;
		s[d] = lang_isel(L, idx[d])
		     ? lang_indirect(L, at, idx[d], 0, hi == INT64_MAX ? hi : hi > 0 ? hi - 1 : 0)
		     : lang_tosym(L, at, idx[d]);
	}
	return element(computed(L, ex_load(L->cx, t.t, s, n)));
}

/* ---- operators --------------------------------------------------------------------- */

LVal
lang_exbinary(Lang *L, const Ast *at, const char *op, LVal a, LVal b)
{
	static const struct { const char *text; enum scalar sc; } tab[] = {
		{"+", ScAdd}, {"-", ScSub}, {"*", ScMul}, {"/", ScDiv},
		{"//", ScFloordiv}, {"%", ScMod}, {"**", ScPow},
		{"&", ScAnd}, {"|", ScOr}, {"^", ScXor}, {"<<", ScShl}, {">>", ScShr},
	};
	for (int k = 0; k < COUNT(tab); k++)
		if (strcmp(op, tab[k].text) == 0)
			return element(ex_op(L->cx, tab[k].sc, lang_ex(L, at, a), lang_ex(L, at, b), NULL));
	lang_fail(L, at, "'%s' of elements", op);
}

LVal
lang_excompare(Lang *L, const Ast *at, const char *op, LVal a, LVal b)
{
	bool swap = op[0] == '>';
	const Ex *x = lang_ex(L, at, swap ? b : a), *y = lang_ex(L, at, swap ? a : b);
	enum scalar sc = op[0] == '=' ? ScEq : op[0] == '!' ? ScNe : op[1] ? ScLe : ScLt;
	const Ex *e = ex_op(L->cx, sc, x, y, NULL);

	if (e->kind == ExConst)
		return (LVal){.kind = LBool, .b = e->i != 0};
	return element(e);
}

LVal
lang_select(Lang *L, const Ast *at, LVal c, LVal a, LVal b)
{
	if (a.kind == LRange)
		a = lang_iter(L, at, a);
	if (b.kind == LRange)
		b = lang_iter(L, at, b);
	if (c.ex->kind == ExConst)
		return c.ex->i ? a : b;
	if (a.kind == LList && b.kind == LList && a.list.n == b.list.n) {
		LVal r = lang_list(L, a.list.n);
		for (int k = 0; k < r.list.n; k++)
			r.list.v[k] = lang_select(L, at, c, a.list.v[k], b.list.v[k]);
		return r;
	}
	if (a.kind == LInt && b.kind == LInt && sym_eq(a.i, b.i))
		return a;
	return element(ex_op(L->cx, ScSelect, c.ex, lang_ex(L, at, a), lang_ex(L, at, b)));
}

/* ---- folds ---------------------------------------------------------------------------- */

static const char *const foldname[NFold] = {
	[FoldSum] = "sum", [FoldProd] = "prod", [FoldMax] = "max", [FoldMin] = "min",
	[FoldAny] = "any", [FoldAll] = "all", [FoldArgmax] = "argmax", [FoldArgmin] = "argmin",
};

int
lang_foldof(const char *name)
{
	for (int k = 0; k < NFold; k++)
		if (strcmp(foldname[k], name) == 0)
			return k;
	return -1;
}

const Sym *
lang_freshvar(Lang *L, const char *stem, const Sym *extent)
{
	int64_t hi = extent->hi == INT64_MAX ? extent->hi : extent->hi > 0 ? extent->hi - 1 : 0;
	const Sym *v = sym_fresh(L->cx, stem, 0, hi);

	vec_push(L->a, &L->ivar, v);
	return v;
}

typedef struct FoldVars { VEC(const Sym *) var, extent; const Ex *cond; } FoldVars;

/* A variable over 0..extent-1; of one element: 0, and no loop. */
static const Sym *
loopvar(Lang *L, FoldVars *f, const Sym *extent)
{
	if (sym_is(extent, 1))
		return sym_const(L->cx, 0);
	const Sym *v = lang_freshvar(L, "k", extent);
	vec_push(L->a, &f->var, v);
	vec_push(L->a, &f->extent, extent);
	return v;
}

static LVal
domain(Lang *L, const Ast *at, FoldVars *f, LVal over)
{
	if (over.kind == LRange) {
		const Sym *st = sym_const(L->cx, over.range.step);
		const Sym *n = sym_ceildiv(L->cx, sym_sub(L->cx, over.range.to, over.range.from), st);
		if (n->lo < 0)
			n = sym_max(L->cx, n, sym_const(L->cx, 0));
		const Sym *v = loopvar(L, f, n);
		return lang_sym(sym_add(L->cx, over.range.from, sym_mul(L->cx, v, st)));
	}
	if (over.kind == LList) {
		LVal r = lang_list(L, over.list.n);
		for (int k = 0; k < r.list.n; k++)
			r.list.v[k] = domain(L, at, f, over.list.v[k]);
		return r;
	}
	if (over.kind != LInt || over.i->isfloat)
		lang_fail(L, at, "a fold over %s", lang_str(L->cx, over));
	return lang_sym(loopvar(L, f, over.i));
}

static void
folddomain(Lang *L, const Ast *e, FoldVars *f)
{
	for (int c = 1; c < e->n; c++) {
		const Ast *k = e->kid[c];
		LVal v = lang_eval(L, k->kid[0]);
		if (k->kind == AstFor) {
			lang_bindnames(L, k, k->kid + 1, k->n - 1, domain(L, k, f, v));
			continue;
		}
		const Ex *x = lang_cond(L, k, v);
		f->cond = f->cond ? ex_op(L->cx, ScAnd, f->cond, x, NULL) : x;
	}
}

/* What a fold's element is added as: storage dtypes widen, Python numbers harden. */
static const Ex *
summand(Lang *L, enum fold fold, const Ex *e)
{
	if (e->weak)
		e = ex_adopt(L->cx, e->dt, e);
	if (fold == FoldAny || fold == FoldAll)
		return e->dt == DtB8 ? e : ex_op(L->cx, ScNe, e, ex_int(L->cx, DtNone, 0), NULL);
	return ex_cast(L->cx, dt_acc(e->dt), e);
}

static const Ex *
foldover(Lang *L, enum fold fold, const FoldVars *f, const Ex *body)
{
	bool arg = fold == FoldArgmax || fold == FoldArgmin;

	if (f->cond && f->cond->kind == ExConst && f->cond->i)
		return foldover(L, fold, &(FoldVars){.var = f->var, .extent = f->extent}, body);
	if (f->var.n > 0)
		return ex_fold(L->cx, fold, f->var.v, f->extent.v, f->var.n, f->cond, body);
	if (arg)
		return ex_int(L->cx, DtI64, 0);
	if (f->cond == NULL)
		return body;
	return ex_op(L->cx, ScSelect, f->cond, body, ex_identity(L->cx, fold, body->dt));
}

bool
lang_exfold(Lang *L, const Ast *call, Str name, LVal *out)
{
	int fold = lang_foldof(name), top = L->env.n;
	FoldVars f = {0};

	if (fold < 0 || call->n != 2 || call->kid[1]->kind != AstComp || call->kid[1]->b)
		return false;
	folddomain(L, call->kid[1], &f);
	LVal v = lang_eval(L, call->kid[1]->kid[0]);
	const Ex *e = (fold == FoldAny || fold == FoldAll) ? lang_cond(L, call, v) : lang_ex(L, call, v);
	L->env.n = top;
	*out = element(foldover(L, (enum fold)fold, &f, summand(L, (enum fold)fold, e)));
	return true;
}

/* ---- functions of elements -------------------------------------------------------------- */

/* In a sub-graph, which a loop may run, the round is the upper half of the counter. */
static const Sym *
inround(Lang *L, const Sym *counter)
{
	const Sym *round;

	if (L->out == NULL || L->out->def->graph->parent == NULL)
		return counter;
	round = sym_mul(L->cx, hop_round(L->cx), sym_const(L->cx, (int64_t)1 << 32));
	return sym_add(L->cx, counter, round);
}

/* u32 to [0, 1): its upper 24 bits, as many as an f32 holds. */
static const Ex *
uniform(Lang *L, const Sym *counter)
{
	const Ex *b = ex_random(L->cx, L->out, inround(L, counter));

	b = ex_op(L->cx, ScShr, b, ex_int(L->cx, DtU32, 8), NULL);
	return ex_op(L->cx, ScMul, ex_cast(L->cx, DtF32, b), ex_float(L->cx, DtF32, 0x1p-24), NULL);
}

/* Box and Muller: sqrt(-2 log(1 - u))*cos(2 pi v). */
static const Ex *
normal(Lang *L, const Sym *counter)
{
	Ctx *cx = L->cx;
	const Sym *two = sym_const(cx, 2), *c = sym_mul(cx, counter, two);
	const Ex *u = uniform(L, c), *v = uniform(L, sym_add(cx, c, sym_const(cx, 1)));
	const Ex *r = ex_op(cx, ScSub, ex_float(cx, DtF32, 1), u, NULL);

	r = ex_op(cx, ScLog, r, NULL, NULL);
	r = ex_op(cx, ScSqrt, ex_op(cx, ScMul, ex_float(cx, DtF32, -2), r, NULL), NULL, NULL);
	v = ex_op(cx, ScMul, ex_float(cx, DtF32, 6.283185307179586), v, NULL);
	return ex_op(cx, ScMul, r, ex_op(cx, ScCos, v, NULL, NULL), NULL);
}

static int
scalarof(const char *name, int arity)
{
	for (int k = 0; k < NScalar; k++)
		if (scalarinfo[k].arity == arity && strcmp(scalarinfo[k].text, name) == 0)
			return k;
	if (strcmp(name, "round") == 0 && arity == 1)
		return ScRint;
	return -1;
}

static const Ex *
scalar(Lang *L, const Ast *at, enum scalar sc, const LVal *v, int n)
{
	const Ex *a[3] = {0};

	for (int k = 0; k < n; k++)
		a[k] = sc == ScSelect && k == 0 ? lang_cond(L, at, v[k]) : lang_ex(L, at, v[k]);
	return ex_op(L->cx, sc, a[0], a[1], a[2]);
}

/* min, max, and, or of more or fewer than two. */
static LVal
chain(Lang *L, const Ast *at, enum scalar sc, const LVal *v, int n)
{
	const Ex *e = lang_ex(L, at, v[0]);

	for (int k = 1; k < n; k++)
		e = ex_op(L->cx, sc, e, lang_ex(L, at, v[k]), NULL);
	return element(e);
}

static LVal
quantified(Lang *L, const Ast *at, enum scalar sc, const LVal *v, int n)
{
	const Ex *e = lang_cond(L, at, v[0]);

	for (int k = 1; k < n; k++)
		e = ex_op(L->cx, sc, e, lang_cond(L, at, v[k]), NULL);
	return element(e);
}

void
lang_need(Lang *L, const Ast *at, Str name, int n, int want)
{
	if (n != want)
		lang_fail(L, at, "%s takes %d arguments, not %d", name, want, n);
}

/* cast bits uniform ...: whatever the arguments are. */
static bool
special(Lang *L, const Ast *at, Str name, const LVal *v, int n, LVal *out)
{
	static const char *const random[] = {"bits32", "uniform", "normal"};
	bool cast = strcmp(name, "cast") == 0;

	if (cast || strcmp(name, "bits") == 0) {
		lang_need(L, at, name, n, 2);
		if (v[1].kind != LDtype)
			lang_fail(L, at, "%s to %s, which is no dtype", name, lang_str(L->cx, v[1]));
		const Ex *e = v[0].kind == LTensor ? here(L, at, v[0].t) : lang_ex(L, at, v[0]);
		*out = element(cast ? ex_adopt(L->cx, v[1].dt, e) : ex_bits(L->cx, v[1].dt, e));
		return true;
	}
	for (int k = 0; k < 3; k++)
		if (strcmp(name, random[k]) == 0) {
			lang_need(L, at, name, n, 1);
			const Sym *c = lang_tosym(L, at, v[0]);
			*out = element(k == 0 ? ex_random(L->cx, L->out, inround(L, c))
			             : k == 1 ? uniform(L, c) : normal(L, c));
			return true;
		}
	return false;
}

/* int float bool abs of an element. */
static bool
conversion(Lang *L, const Ast *at, Str name, const LVal *v, int n, LVal *out)
{
	if (n != 1)
		return false;
	if (strcmp(name, "int") == 0)
		*out = element(ex_cast(L->cx, DtI64, lang_ex(L, at, v[0])));
	else if (strcmp(name, "float") == 0)
		*out = element(ex_cast(L->cx, DtF32, lang_ex(L, at, v[0])));
	else if (strcmp(name, "bool") == 0)
		*out = element(lang_cond(L, at, v[0]));
	else
		return false;
	return true;
}

bool
lang_excall(Lang *L, const Ast *at, Str name, LVal *v, int n, LKey *kw, int nkw, LVal *out)
{
	bool any = false, list = n == 1 && v[0].kind == LList;
	const LVal *w = list ? v[0].list.v : v;
	int m = list ? v[0].list.n : n, sc;

	if (special(L, at, name, v, n, out))
		return true;
	if (L->low && lang_lowering(L, at, name, v, n, kw, nkw)) {
		*out = (LVal){.kind = LNone};
		return true;
	}
	for (int k = 0; k < m; k++)
		any |= lang_isel(L, w[k]);
	sc = scalarof(name, n);
	/* A function to floats of an index is an element too. */
	if (!any && !list && sc >= 0 && scalarinfo[sc].rule == ScFloat)
		for (int k = 0; k < n; k++)
			any |= v[k].kind == LInt && lang_isindex(L, v[k].i);
	if (!any)
		return false;
	bool max = strcmp(name, "max") == 0, all = strcmp(name, "all") == 0;
	if ((max || strcmp(name, "min") == 0) && (list || n != 2)) {
		*out = chain(L, at, max ? ScMax : ScMin, w, m);
		return true;
	}
	if (all || strcmp(name, "any") == 0) {
		*out = quantified(L, at, all ? ScAnd : ScOr, w, m);
		return true;
	}
	if (list)
		return false;
	if (sc >= 0) {
		*out = element(scalar(L, at, (enum scalar)sc, v, n));
		return true;
	}
	return conversion(L, at, name, v, n, out);
}

bool
lang_exscalar(Lang *L, const Ast *at, Str name, LVal *v, int n, LVal *out)
{
	int sc = scalarof(name, n);

	if (sc < 0)
		return false;
	*out = element(scalar(L, at, (enum scalar)sc, v, n));
	return true;
}

