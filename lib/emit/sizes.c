/* sizes.c - size expressions as postfix code of lib/rt/expr.c, each once. */
#include "emit/tab.h"
#include "rt/model.h"

static void
op(Artifact *a, int code, int64_t imm)
{
	vec_push(a->a, &a->expr, code);
	vec_push(a->a, &a->expr, imm);
}

static void encode(Artifact *, const Sym *);

static void
encode_poly(Artifact *a, const Sym *s)
{
	op(a, FxrtXConst, s->k);
	for (int i = 0; i < s->nterm; i++) {
		op(a, FxrtXConst, s->term[i].coef);
		for (int j = 0; j < s->term[i].natom; j++) {
			encode(a, s->term[i].atom[j]);
			op(a, FxrtXMul, 0);
		}
		op(a, FxrtXAdd, 0);
	}
}

static int
unary_float(const Sym *s)
{
	static const struct { const char *name; int code; } fn[] = {
		{"exp", FxrtXExp}, {"log", FxrtXLog}, {"sin", FxrtXSin}, {"cos", FxrtXCos}, {"tan", FxrtXTan},
		{"log2", FxrtXLog2}, {"sqrt", FxrtXSqrt},
	};

	for (int i = 0; i < COUNT(fn); i++)
		if (s->name && strcmp(s->name, fn[i].name) == 0)
			return fn[i].code;
	return -1;
}

static void
encode_fn(Artifact *a, const Sym *s)
{
	static const uint8_t code[NSymFn] = {
		[SymFnDiv] = FxrtXDiv, [SymFnMod] = FxrtXMod, [SymFnMin] = FxrtXMin, [SymFnMax] = FxrtXMax, [SymFnPow] = FxrtXPow,
		[SymFnEq] = FxrtXEq, [SymFnNe] = FxrtXNe, [SymFnLt] = FxrtXLt, [SymFnLe] = FxrtXLe, [SymFnAnd] = FxrtXAnd,
		[SymFnOr] = FxrtXOr, [SymFnNot] = FxrtXNot, [SymFnWhere] = FxrtXWhere, [SymFnShl] = FxrtXShl, [SymFnShr] = FxrtXShr,
		[SymFnToFloat] = FxrtXToFloat, [SymFnTrueDiv] = FxrtXTrueDiv, [SymFnFDiv] = FxrtXFDiv, [SymFnFAdd] = FxrtXFAdd,
		[SymFnFMul] = FxrtXFMul, [SymFnFPow] = FxrtXFPow, [SymFnSqrt] = FxrtXSqrt, [SymFnFloor] = FxrtXFloor,
		[SymFnCeil] = FxrtXCeil, [SymFnTrunc] = FxrtXTrunc, [SymFnRound] = FxrtXRound,
	};
	static const uint8_t fcode[NSymFn] = {
		[SymFnMin] = FxrtXFMin, [SymFnMax] = FxrtXFMax, [SymFnEq] = FxrtXFEq, [SymFnNe] = FxrtXFNe,
		[SymFnLt] = FxrtXFLt, [SymFnLe] = FxrtXFLe,
	};
	int c = s->fn == SymFnFFn ? unary_float(s) : code[s->fn];
	bool real = false;

	for (int i = 0; i < s->narg; i++)
		real |= s->arg[i]->isfloat;
	if (real && fcode[s->fn])
		c = fcode[s->fn];
	if (c < 0)
		bug(a->cx, NOLOC, "no run-time form of %s", sym_str(a->cx, s));
	bool wantfloat = real || s->fn == SymFnFDiv || s->fn == SymFnFAdd || s->fn == SymFnFMul || s->fn == SymFnFPow || s->fn == SymFnSqrt || s->fn == SymFnFFn;
	for (int i = 0; i < s->narg; i++) {
		encode(a, s->arg[i]);
		if (wantfloat && !s->arg[i]->isfloat && s->fn != SymFnWhere)
			op(a, FxrtXToFloat, 0);
		if (i > 0 && s->narg > 2 && s->fn != SymFnWhere)
			op(a, c, 0);
	}
	if (s->narg <= 2 || s->fn == SymFnWhere)
		op(a, c, 0);
}

static void
encode(Artifact *a, const Sym *s)
{
	int64_t bits;
	int i;

	switch (s->kind) {
	case SymConst:
		op(a, FxrtXConst, s->k);
		break;
	case SymFloatConst:
		memcpy(&bits, &s->f, sizeof bits);
		op(a, FxrtXReal, bits);
		break;
	case SymVar:
		i = artifact_sym(a, s);
		if (i < 0)
			bug(a->cx, NOLOC, "size %s has no place where it gets its value", s->name);
		op(a, FxrtXVar, i);
		break;
	case SymPoly:
		encode_poly(a, s);
		break;
	case SymFn:
		encode_fn(a, s);
		break;
	}
}

static int64_t
expr_of(Artifact *a, const Sym *s)
{
	intptr_t at = (intptr_t)map_get(&a->exprof, s);

	if (at == 0) {
		at = a->expr.n + 1;
		map_put(a->a, &a->exprof, s, (void *)at);
		vec_push(a->a, &a->expr, 0);
		encode(a, s);
		a->expr.v[at - 1] = (a->expr.n - at) / 2;
	}
	return at - 1;
}

void
tab_expr(Tab *t, const Sym *s)
{
	data_ptr(t->d, s ? tab_name(t->a, "expr") : NULL, s ? expr_of(t->a, s) : 0);
}

/* A table of pointers to expressions; gives its name, or NULL if there are none. */
const char *
tab_exprs(Tab *t, const char *what, const Sym *const *s, int n)
{
	const char *symbol = t->e ? tab_ename(t, what) : tab_name(t->a, what);

	if (n == 0)
		return NULL;
	data_open(t->d, "int64_t *const", symbol, n, DataConst);
	for (int i = 0; i < n; i++)
		tab_expr(t, s[i]);
	data_close(t->d);
	return symbol;
}
