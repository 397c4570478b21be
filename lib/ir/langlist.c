/* langlist.c - the table language's lists, subscripts, comprehensions, attributes. */
#include "ir/lang.h"

#define MaxCount (INT64_C(1) << 40)

/* ---- lists ---------------------------------------------------------------------------------- */

LVal
lang_iter(Lang *L, const Ast *at, LVal v)
{
	int64_t a, b, n;

	if (v.kind == LList)
		return v;
	if (v.kind == LStr) {                     /* its characters */
		LVal r = lang_list(L, (int)strlen(v.s));
		for (int k = 0; k < r.list.n; k++)
			r.list.v[k] = (LVal){.kind = LStr, .s = intern(L->cx, v.s + k, 1)};
		return r;
	}
	if (v.kind != LRange)
		lang_fail(L, at, "%s is no list", lang_str(L->cx, v));
	if (!sym_isconst(v.range.from, &a) || !sym_isconst(v.range.to, &b))
		lang_fail(L, at, "a loop over a range that is not known: %s",
		          sym_str(L->cx, v.range.to));
	if (a < -MaxCount || a > MaxCount || b < -MaxCount || b > MaxCount)
		lang_fail(L, at, "a loop over a range that is too long");
	n = v.range.step > 0 ? (b - a + v.range.step - 1) / v.range.step
	                     : (a - b - v.range.step - 1) / -v.range.step;
	if ((v.range.step > 0 ? b <= a : a <= b))
		n = 0;
	if (n > LangMaxList)
		lang_fail(L, at, "a list of %lld elements", (long long)n);
	LVal r = lang_list(L, (int)n);
	for (int k = 0; k < n; k++)
		r.list.v[k] = lang_int(L->cx, a + k * v.range.step);
	return r;
}

LVal
lang_aslist(Lang *L, const LVals *v)
{
	LVal r = lang_list(L, v->n);

	for (int k = 0; k < v->n; k++)
		r.list.v[k] = v->v[k];
	return r;
}

void
lang_spread(Lang *L, const Ast *e, LVals *out)
{
	if (e->kind != AstStar) {
		vec_push(L->a, out, lang_eval(L, e));
		return;
	}
	LVal v = lang_iter(L, e, lang_eval(L, e->kid[0]));
	for (int k = 0; k < v.list.n; k++)
		vec_push(L->a, out, v.list.v[k]);
}

/* Clause c of a comprehension and those after it. */
static void
clause(Lang *L, const Ast *e, int c, LVals *out)
{
	if (c == e->n) {
		vec_push(L->a, out, lang_eval(L, e->kid[0]));
		return;
	}
	const Ast *k = e->kid[c];
	if (k->kind == AstWhen) {
		if (lang_holds(L, k, k->kid[0]))
			clause(L, e, c + 1, out);
		return;
	}
	LVal list = lang_iter(L, k, lang_eval(L, k->kid[0]));
	for (int j = 0; j < list.list.n; j++) {
		int top = L->env.n;
		lang_bindnames(L, k, k->kid + 1, k->n - 1, list.list.v[j]);
		clause(L, e, c + 1, out);
		L->env.n = top;
	}
}

LVal
lang_comp(Lang *L, const Ast *e)
{
	LVals v = {0};

	clause(L, e, 1, &v);
	return lang_aslist(L, &v);
}

static int64_t
position(Lang *L, const Ast *at, LVal v, int64_t dflt)
{
	int64_t k;

	if (v.kind == LNone)
		return dflt;
	if (!sym_isconst(lang_tosym(L, at, v), &k))
		lang_fail(L, at, "the position %s in a list is not known", lang_str(L->cx, v));
	return k;
}

static LVal
slice(Lang *L, const Ast *s, LVal list)
{
	int64_t n = list.list.n, v[3], dflt[3] = {0, n, 1};
	LVals out = {0};

	if (s->kid[2]) {
		v[2] = position(L, s, lang_eval(L, s->kid[2]), 1);
		if (v[2] == 0)
			lang_fail(L, s, "a slice's step is zero");
		if (v[2] < 0)
			dflt[0] = n - 1, dflt[1] = -1;
	} else {
		v[2] = 1;
	}
	for (int k = 0; k < 2; k++) {
		LVal e = s->kid[k] ? lang_eval(L, s->kid[k]) : (LVal){.kind = LNone};
		if (e.kind == LNone) {
			v[k] = dflt[k];
			continue;
		}
		v[k] = position(L, s, e, 0);
		if (v[k] < 0)
			v[k] += n;
		int64_t lo = v[2] < 0 ? -1 : 0, hi = v[2] < 0 ? n - 1 : n;
		v[k] = v[k] < lo ? lo : v[k] > hi ? hi : v[k];
	}
	for (int64_t k = v[0]; v[2] > 0 ? k < v[1] : k > v[1]; k += v[2])
		vec_push(L->a, &out, list.list.v[k]);
	return lang_aslist(L, &out);
}

static LVal
at(Lang *L, const Ast *e, LVal list, LVal idx)
{
	int64_t k = position(L, e, idx, 0), n = list.list.n;

	if (k < 0)
		k += n;
	if (k < 0 || k >= n)
		lang_fail(L, e, "position %s in a list of %d", lang_str(L->cx, idx), list.list.n);
	return list.list.v[k];
}

LVal
lang_subscript(Lang *L, const Ast *e)
{
	LVal x = lang_eval(L, e->kid[0]);
	LVals idx = {0};

	if (x.kind == LRange || x.kind == LStr)
		x = lang_iter(L, e, x);
	if (x.kind == LList && e->n == 2) {
		if (e->kid[1]->kind == AstSlice)
			return slice(L, e->kid[1], x);
		return at(L, e, x, lang_eval(L, e->kid[1]));
	}
	if (x.kind != LTensor || L->mode != LangElement)
		lang_fail(L, e, "%s cannot be subscripted here", lang_str(L->cx, x));
	for (int k = 1; k < e->n; k++) {
		if (e->kid[k]->kind == AstSlice)
			lang_fail(L, e, "a slice of an element's tensor");
		LVals one = {0};
		lang_spread(L, e->kid[k], &one);
		for (int j = 0; j < one.n; j++) {
			LVal v = one.v[j].kind == LRange ? lang_iter(L, e, one.v[j]) : one.v[j];
			if (v.kind != LList) {
				vec_push(L->a, &idx, v);
				continue;
			}
			for (int m = 0; m < v.list.n; m++)
				vec_push(L->a, &idx, v.list.v[m]);
		}
	}
	return lang_load(L, e, x, idx.v, idx.n);
}

/* ---- attributes -------------------------------------------------------------------------------- */

static LVal
symlist(Lang *L, const Type *t, bool stride)
{
	LVal r = lang_list(L, t->rank);

	for (int d = 0; d < t->rank; d++)
		r.list.v[d] = lang_sym(stride ? type_stride(L->cx, t, d) : t->dim[d]);
	return r;
}

static LVal
dtypeattr(Lang *L, const Ast *e, enum dtype dt, const char *s)
{
	static const struct { const char *name; enum dtype dt; double max, min, eps; } lim[] = {
		{"f32", DtF32, 3.4028234663852886e38, -3.4028234663852886e38, 1.1920928955078125e-07},
		{"f64", DtF64, 1.7976931348623157e308, -1.7976931348623157e308, 2.220446049250313e-16},
		{"f16", DtF16, 65504, -65504, 0.0009765625},
		{"bf16", DtBF16, 3.3895313892515355e38, -3.3895313892515355e38, 0.0078125},
		{"e4", DtF8E4M3, 448, -448, 0.125}, {"e5", DtF8E5M2, 57344, -57344, 0.25},
	};
	enum dtkind kind = (enum dtkind)dtypeinfo[dt].kind;
	int bits = 8 * dtypeinfo[dt].bytes;

	if (strcmp(s, "isfloat") == 0)
		return lang_bool(kind == KindFloat);
	if (strcmp(s, "isint") == 0)
		return lang_bool(kind <= KindInt);
	if (strcmp(s, "isbool") == 0)
		return lang_bool(kind == KindBool);
	if (strcmp(s, "iscomplex") == 0)
		return lang_bool(kind == KindComplex);
	if (strcmp(s, "issigned") == 0)
		return lang_bool(kind >= KindInt);
	if (strcmp(s, "bytes") == 0)
		return lang_int(L->cx, dtypeinfo[dt].bytes);
	if (strcmp(s, "acc") == 0)
		return (LVal){.kind = LDtype, .dt = dt_acc(dt)};
	bool max = strcmp(s, "max") == 0, min = strcmp(s, "min") == 0;
	if (kind == KindBool && (max || min))
		return lang_int(L->cx, max);
	if (kind == KindUint && (max || min))
		return lang_int(L->cx, min ? 0 : bits == 64 ? INT64_MAX : (int64_t)((1ull << bits) - 1));
	if (kind == KindInt && (max || min))
		return lang_int(L->cx, max ? INT64_MAX >> (64 - bits) : INT64_MIN >> (64 - bits));
	for (int k = 0; k < COUNT(lim); k++)
		if (lim[k].dt == dt && (max || min || strcmp(s, "eps") == 0))
			return (LVal){.kind = LFloat, .f = max ? lim[k].max : min ? lim[k].min : lim[k].eps};
	lang_fail(L, e, "dtype %s has no '%s'", dtypeinfo[dt].text, s);
}

/* Does autograd follow v?  What an expansion has just made follows its operands. */
static bool
followed(const Val *v, int *budget)
{
	if (v->grad || v->def->op == &opplaceholder || --*budget < 0)
		return v->grad > 0;
	for (int k = 0; k < v->def->narg; k++) {
		const Val *x = arg_tensor(v->def, k);
		if (x && followed(x, budget))
			return true;
	}
	return false;
}

LVal
lang_attribute(Lang *L, const Ast *e)
{
	LVal x = lang_defined(L, lang_eval(L, e->kid[0]));
	enum dtype dt;

	if (x.kind == LDtype)
		return dtypeattr(L, e, x.dt, e->s);
	if (x.kind == LTensor) {
		const Type *t = x.t->type;
		if (t == NULL || t->kind != TyTensor)
			lang_fail(L, e, "a tensor has no known type");
		if (strcmp(e->s, "dtype") == 0)
			return (LVal){.kind = LDtype, .dt = t->dt};
		if (strcmp(e->s, "shape") == 0)
			return symlist(L, t, false);
		if (strcmp(e->s, "stride") == 0)
			return symlist(L, t, true);
		if (strcmp(e->s, "dense") == 0)
			return symlist(L, layout_like(L->cx, t), true);
		if (strcmp(e->s, "ndim") == 0)
			return lang_int(L->cx, t->rank);
		if (strcmp(e->s, "numel") == 0)
			return lang_sym(type_numel(L->cx, t));
		if (strcmp(e->s, "requires_grad") == 0)
			return lang_bool(followed(x.t, &(int){64}));
	}
	if (lang_dtypeof(x, &dt)) {      /* a number where a tensor may stand */
		if (strcmp(e->s, "dtype") == 0)
			return (LVal){.kind = LDtype, .dt = dt};
		if (strcmp(e->s, "shape") == 0 || strcmp(e->s, "stride") == 0)
			return lang_list(L, 0);
		if (strcmp(e->s, "ndim") == 0 || strcmp(e->s, "numel") == 0)
			return lang_int(L->cx, e->s[2] == 'm' && e->s[1] == 'u');
	}
	lang_fail(L, e, "%s has no '%s'", lang_str(L->cx, x), e->s);
}
