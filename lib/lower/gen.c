/* gen.c - expressions to instructions, on one lane or on a vector of lanes.
 *
 * A Gen writes one kernel.  It knows which loop variables have a value where it
 * writes (bound), and which of them runs over the lanes of vectors (vec).  An
 * expression's value has one lane if the expression does not depend on that
 * variable; where it meets vectors it is splatted.
 *
 * Each loop body is a scope with a memo: expressions are hash-consed, so that
 * one found in the memo of an enclosing scope is not computed again.  Code
 * motion follows from it: gen_hoist, called before a loop is opened, emits the
 * parts of what the loop computes that are already ready, folds above all.
 *
 * A load moves with the lane variable in one of three ways, seen from its
 * index: not at all (one lane), by one (consecutive elements), else a gather.
 */
#include "lower/lower.h"

Gen *
gen_new(Lower *lo, Str name)
{
	Gen *g = NEW(lo->a, Gen);

	g->lo = lo;
	g->cx = lo->cx;
	g->a = lo->a;
	g->k = NEW(lo->a, Kernel);
	g->k->name = name;
	g->k->grain = 1;
	g->W = 1;
	g->lanes = 1;
	vec_push(g->a, &g->k->ins, (KIns){.op = KNop});
	gen_push(g);
	return g;
}

/* ---- instructions --------------------------------------------------------- */

KRef
gen_ins(Gen *g, KIns i)
{
	vec_push(g->a, &g->k->ins, i);
	return (KRef)(g->k->ins.n - 1);
}

static const KIns *
ins(const Gen *g, KRef r)
{
	return &g->k->ins.v[r];
}

static int
lanesof(const Gen *g, KRef r)
{
	return r ? ins(g, r)->lanes : 1;
}

KRef
gen_int(Gen *g, enum dtype dt, int64_t i)
{
	return gen_ins(g, (KIns){.op = KConst, .dt = dt, .lanes = 1, .i = i});
}

KRef
gen_float(Gen *g, enum dtype dt, double f)
{
	return gen_ins(g, (KIns){.op = KConst, .dt = dt, .lanes = 1, .f = f});
}

static bool
isint(const Gen *g, KRef r, int64_t i)
{
	return ins(g, r)->op == KConst && dt_int(ins(g, r)->dt) && ins(g, r)->i == i;
}

/* A constant is splatted by writing it again with more lanes. */
KRef
gen_splat(Gen *g, KRef r, int lanes)
{
	const void *key = (void *)((uintptr_t)r * 8 + 3);    /* no pointer to an Ex or Sym is odd */
	KIns i = *ins(g, r);
	KRef s;

	if (!r || i.lanes == lanes)
		return r;
	if ((s = gen_recall(g, key)) && lanesof(g, s) == lanes)
		return s;
	i.lanes = (uint8_t)lanes;
	if (i.op != KConst)
		i = (KIns){.op = KSplat, .dt = i.dt, .lanes = (uint8_t)lanes, .a = r};
	s = gen_ins(g, i);
	gen_remember(g, key, s);
	return s;
}

KRef
gen_op(Gen *g, enum scalar sc, enum dtype dt, KRef a, KRef b, KRef c)
{
	int lanes = lanesof(g, a);

	lanes = lanesof(g, b) > lanes ? lanesof(g, b) : lanes;
	lanes = lanesof(g, c) > lanes ? lanesof(g, c) : lanes;
	return gen_ins(g, (KIns){.op = KScalar, .sub = (uint8_t)sc, .dt = dt, .lanes = (uint8_t)lanes,
	                         .a = gen_splat(g, a, lanes), .b = gen_splat(g, b, lanes),
	                         .c = gen_splat(g, c, lanes)});
}

KRef
gen_cast(Gen *g, enum dtype dt, KRef a)
{
	if (ins(g, a)->dt == dt)
		return a;
	return gen_ins(g, (KIns){.op = KCast, .dt = dt, .lanes = ins(g, a)->lanes, .a = a});
}

KRef
gen_add(Gen *g, KRef a, KRef b)
{
	if (isint(g, a, 0) && lanesof(g, b) >= lanesof(g, a))
		return b;
	if (isint(g, b, 0) && lanesof(g, a) >= lanesof(g, b))
		return a;
	return gen_op(g, ScAdd, DtI64, a, b, 0);
}

KRef
gen_mul(Gen *g, KRef a, KRef b)
{
	if (isint(g, a, 1) && lanesof(g, b) >= lanesof(g, a))
		return b;
	if (isint(g, b, 1) && lanesof(g, a) >= lanesof(g, b))
		return a;
	return gen_op(g, ScMul, DtI64, a, b, 0);
}

KRef
gen_var(Gen *g, KRef first)
{
	return gen_ins(g, (KIns){.op = KVar, .dt = ins(g, first)->dt, .lanes = ins(g, first)->lanes, .a = first});
}

KRef
gen_get(Gen *g, KRef v)
{
	return gen_ins(g, (KIns){.op = KGet, .dt = ins(g, v)->dt, .lanes = ins(g, v)->lanes, .a = v});
}

void
gen_set(Gen *g, KRef v, KRef value)
{
	value = gen_splat(g, value, lanesof(g, v));
	gen_ins(g, (KIns){.op = KSet, .dt = ins(g, v)->dt, .lanes = ins(g, v)->lanes, .a = v, .b = value});
}

KRef
gen_ramp(Gen *g, int lanes)
{
	const void *key = (void *)((uintptr_t)lanes * 8 + 5);
	KRef r = gen_recall(g, key);

	if (!r) {
		r = gen_ins(g, (KIns){.op = KIota, .dt = DtI64, .lanes = (uint8_t)lanes});
		gen_remember(g, key, r);
	}
	return r;
}

KRef
gen_loop(Gen *g, enum loopkind kind, KRef from, KRef to, int64_t step)
{
	KRef r = gen_ins(g, (KIns){.op = KLoop, .sub = kind, .dt = DtI64, .lanes = 1, .a = from, .b = to, .i = step});

	gen_push(g);
	return r;
}

void
gen_end(Gen *g, KRef loop)
{
	gen_pop(g);
	gen_ins(g, (KIns){.op = KEnd, .a = loop});
}

/* ---- buffers ---------------------------------------------------------------- */

int
gen_buf(Gen *g, Val *v)
{
	int b = (int)(intptr_t)map_get(&g->bufval, v);

	if (b)
		return b - 1;
	vec_push(g->a, &g->k->buf, (KBuf){.name = v->name, .dt = v->type->dt, .home = KParam, .align = 1});
	vec_push(g->a, &g->bufs, v);
	map_put(g->a, &g->bufval, v, (void *)(intptr_t)g->k->buf.n);
	return g->k->buf.n - 1;
}

/* A buffer that lives in the kernel; v stands for it in expressions (NULL: in none). */
int
gen_localbuf(Gen *g, Val *v, Str name, enum dtype dt, enum khome home, int64_t count, const Sym *size)
{
	vec_push(g->a, &g->k->buf, (KBuf){.name = name, .dt = dt, .home = home, .align = 64,
	                                  .count = count, .size = size, .read = true, .written = true});
	vec_push(g->a, &g->bufs, NULL);
	if (v)
		map_put(g->a, &g->bufval, v, (void *)(intptr_t)g->k->buf.n);
	return g->k->buf.n - 1;
}

/* ---- scopes and variables ------------------------------------------------------ */

void
gen_push(Gen *g)
{
	vec_push(g->a, &g->scope, (Scope){{0}});
}

void
gen_pop(Gen *g)
{
	g->scope.n--;
}

KRef
gen_recall(Gen *g, const void *key)
{
	for (int i = g->scope.n; i-- > 0; ) {
		void *r = map_get(&g->scope.v[i].memo, key);
		if (r)
			return (KRef)(uintptr_t)r;
	}
	return 0;
}

void
gen_remember(Gen *g, const void *key, KRef r)
{
	map_put(g->a, &g->scope.v[g->scope.n - 1].memo, key, (void *)(uintptr_t)r);
}

void
gen_declare(Gen *g, const Sym *var)
{
	if (map_get(&g->varbit, var))
		return;
	if (g->var.n == MaxVars)
		bug(g->cx, NOLOC, "kernel %s has more than %d loops", g->k->name, MaxVars);
	vec_push(g->a, &g->var, var);
	map_put(g->a, &g->varbit, var, (void *)(intptr_t)g->var.n);
}

Vset
gen_bit(Gen *g, const Sym *var)
{
	intptr_t b = (intptr_t)map_get(&g->varbit, var);

	return b ? (Vset)1 << (b - 1) : 0;
}

void
gen_bind(Gen *g, const Sym *var, KRef value)
{
	gen_declare(g, var);
	g->bound |= gen_bit(g, var);
	gen_remember(g, var, value);
}

void
gen_unbind(Gen *g, const Sym *var)
{
	g->bound &= ~gen_bit(g, var);
}

static Vset *
fvslot(Gen *g, const void *key, Vset s)
{
	Vset *p = arena_alloc(g->a, sizeof *p, _Alignof(Vset));

	*p = s;
	map_put(g->a, &g->fv, key, p);
	return p;
}

/* Loop variables that a Sym depends on; folds' own ones are declared when met. */
Vset
gen_fvsym(Gen *g, const Sym *s)
{
	const Sym **var = NULL;
	const Ex *e;
	Vset *p, r = 0;
	int n = 0;

	if (!s || s->kind == SymConst || s->kind == SymFloatConst)
		return 0;
	if (s->kind == SymVar) {
		if ((r = gen_bit(g, s)) || !(e = ex_ofvar(g->cx, s)))
			return r;
		return gen_fv(g, e);
	}
	if ((p = map_get(&g->fv, s)))
		return *p;
	sym_vars(g->a, s, &var, &n);
	for (int i = 0; i < n; i++)
		r |= gen_fvsym(g, var[i]);
	return *fvslot(g, s, r);
}

Vset
gen_fv(Gen *g, const Ex *e)
{
	Vset *p, r = 0;

	if (e->kind == ExConst)
		return 0;
	if ((p = map_get(&g->fv, e)))
		return *p;
	for (int i = 0; e->kind == ExFold && i < e->nidx; i++)
		gen_declare(g, e->var[i]);
	for (int i = 0; i < e->narg; i++)
		r |= gen_fv(g, e->arg[i]);
	if (e->cond)
		r |= gen_fv(g, e->cond);
	for (int i = 0; e->kind == ExFold && i < e->nidx; i++)
		r &= ~gen_bit(g, e->var[i]);
	for (int i = 0; i < e->nidx; i++)
		r |= gen_fvsym(g, e->idx[i]);
	if (e->kind == ExLoad && !e->val->def)
		r |= g->local;
	return *fvslot(g, e, r | gen_fvsym(g, e->sym));
}

/* ---- sizes and indices -------------------------------------------------------- */

static KRef
sizeref(Gen *g, const Sym *var)
{
	int i;

	for (i = 0; i < g->k->sym.n && g->k->sym.v[i] != var; i++)
		;
	if (i == g->k->sym.n)
		vec_push(g->a, &g->k->sym, var);
	KRef r = gen_ins(g, (KIns){.op = KSize, .dt = DtI64, .lanes = 1, .i = i});
	return var->isfloat ? gen_ins(g, (KIns){.op = KBits, .dt = DtF64, .lanes = 1, .a = r}) : r;   /* a number: its bits */
}

static const struct { uint8_t sc, arity; bool cmp; } symop[NSymFn] = {
	[SymFnDiv] = {ScFloordiv, 2, false}, [SymFnMod] = {ScMod, 2, false},
	[SymFnMin] = {ScMin, 2, false}, [SymFnMax] = {ScMax, 2, false}, [SymFnPow] = {ScPow, 2, false},
	[SymFnEq] = {ScEq, 2, true}, [SymFnNe] = {ScNe, 2, true}, [SymFnLt] = {ScLt, 2, true},
	[SymFnLe] = {ScLe, 2, true}, [SymFnAnd] = {ScAnd, 2, false}, [SymFnOr] = {ScOr, 2, false},
	[SymFnShl] = {ScShl, 2, false}, [SymFnShr] = {ScShr, 2, false},
	[SymFnTrueDiv] = {ScDiv, 2, false}, [SymFnFDiv] = {ScDiv, 2, false}, [SymFnFAdd] = {ScAdd, 2, false},
	[SymFnFMul] = {ScMul, 2, false}, [SymFnFPow] = {ScPow, 2, false}, [SymFnSqrt] = {ScSqrt, 1, false},
	[SymFnFloor] = {ScFloor, 1, false}, [SymFnCeil] = {ScCeil, 1, false}, [SymFnTrunc] = {ScTrunc, 1, false},
	[SymFnRound] = {ScRint, 1, false},
};

static const struct { const char *name; enum scalar sc; } unary[] = {
	{"log", ScLog}, {"log2", ScLog2}, {"exp", ScExp}, {"sqrt", ScSqrt}, {"cos", ScCos}, {"sin", ScSin},
	{"tan", ScTan}, {"cosh", ScCosh}, {"sinh", ScSinh}, {"tanh", ScTanh}, {"acos", ScAcos},
	{"asin", ScAsin}, {"atan", ScAtan},
};

static KRef symref(Gen *, const Sym *, bool vector);

static KRef
todouble(Gen *g, KRef r)
{
	return gen_cast(g, DtF64, r);
}

/* A function of Syms over already emitted arguments. */
static KRef
symfn(Gen *g, const Sym *s, const KRef *a)
{
	enum symfn fn = s->fn;
	bool fp = s->narg && (s->arg[0]->isfloat || (s->narg > 1 && s->arg[1]->isfloat));
	enum dtype dt = fp || s->isfloat ? DtF64 : DtI64;
	KRef x = a[0], y = s->narg > 1 ? a[1] : 0;

	switch (fn) {
	case SymFnNot:
		return gen_cast(g, DtI64, gen_op(g, ScEq, DtB8, x, gen_int(g, DtI64, 0), 0));
	case SymFnWhere:
		x = gen_op(g, ScNe, DtB8, x, gen_int(g, DtI64, 0), 0);
		return gen_op(g, ScSelect, s->isfloat ? DtF64 : DtI64, x, y, a[2]);
	case SymFnToFloat:
		return todouble(g, x);
	case SymFnFFn:
		for (int i = 0; i < COUNT(unary); i++)
			if (strcmp(unary[i].name, s->name) == 0)
				return gen_op(g, unary[i].sc, DtF64, todouble(g, x), 0, 0);
		bug(g->cx, NOLOC, "function %s of a size in a kernel", s->name);
	case SymFnFloor: case SymFnCeil: case SymFnTrunc: case SymFnRound:
		return gen_cast(g, DtI64, gen_op(g, symop[fn].sc, DtF64, todouble(g, x), 0, 0));
	default:
		break;
	}
	if (dt == DtF64) {
		x = todouble(g, x);
		y = y ? todouble(g, y) : 0;
	}
	if (symop[fn].cmp)
		return gen_cast(g, DtI64, gen_op(g, symop[fn].sc, DtB8, x, y, 0));
	return gen_op(g, symop[fn].sc, dt, x, y, 0);
}

static KRef
symfns(Gen *g, const Sym *s, bool vector)
{
	KRef a[3] = {0}, r;
	Sym two = *s;

	for (int i = 0; i < s->narg && i < 3; i++)
		a[i] = symref(g, s->arg[i], vector);
	if (s->narg <= 3 && !(s->narg == 3 && s->fn != SymFnWhere))
		return symfn(g, s, a);
	/* Min, Max, And, Or of several */
	two.narg = 2;
	r = symfn(g, &two, a);
	for (int i = 2; i < s->narg; i++)
		r = symfn(g, &two, (KRef[]){r, symref(g, s->arg[i], vector)});
	return r;
}

/* Sums are written from the terms of outer loops to those of inner ones: the
 * partial sums are themselves Syms, remembered where they were emitted. */
static const Sym *
outerpart(Gen *g, const Sym *s, Vset in)
{
	const Sym *r = sym_const(g->cx, s->k);

	for (int i = 0; i < s->nterm; i++) {
		const Sym *t = sym_const(g->cx, s->term[i].coef);
		Vset fv = 0;
		for (int k = 0; k < s->term[i].natom; k++) {
			fv |= gen_fvsym(g, s->term[i].atom[k]);
			t = sym_mul(g->cx, t, s->term[i].atom[k]);
		}
		if (!(fv & ~in))
			r = sym_add(g->cx, r, t);
	}
	return r;
}

static KRef
sympoly(Gen *g, const Sym *s, bool vector)
{
	KRef sum = 0, t;

	for (int i = 0; i < s->nterm; i++) {
		t = 0;
		for (int k = 0; k < s->term[i].natom; k++) {
			KRef f = symref(g, s->term[i].atom[k], vector);
			t = t ? gen_mul(g, t, f) : f;
		}
		t = gen_mul(g, t, gen_int(g, DtI64, s->term[i].coef));
		sum = sum ? gen_add(g, sum, t) : t;
	}
	return s->k || !sum ? sum ? gen_add(g, sum, gen_int(g, DtI64, s->k)) : gen_int(g, DtI64, s->k) : sum;
}

static KRef
symvar(Gen *g, const Sym *s, bool vector)
{
	const Ex *e = ex_ofvar(g->cx, s);
	KRef r;

	if (e) {
		r = gen_cast(g, DtI64, gen_ex(g, e));
		if (!vector && lanesof(g, r) > 1)
			bug(g->cx, NOLOC, "scalar use of an index that varies by lane");
		return r;
	}
	if (gen_bit(g, s))
		bug(g->cx, NOLOC, "loop variable %s has no value here (%s)", s->name, g->k->name);
	return sizeref(g, s);
}

/* The value of a Sym: of lane 0 (vector false) or of all lanes. */
static KRef
symref(Gen *g, const Sym *s, bool vector)
{
	const void *key = s;
	const Sym *c, *rest;
	int64_t k;
	KRef r;

	vector = vector && gen_fvsym(g, s) & g->vec;
	if (vector)
		key = (const char *)s + 1;
	if ((r = gen_recall(g, key)))
		return r;
	if (sym_isconst(s, &k))
		return gen_int(g, DtI64, k);
	if (s->kind == SymFloatConst)
		return gen_float(g, DtF64, s->f);
	if (vector && s == g->vecvar)
		r = gen_add(g, gen_splat(g, symref(g, s, false), g->lanes), gen_ramp(g, g->lanes));
	else if (vector && sym_linear(g->cx, s, g->vecvar, &c, &rest) && !(gen_fvsym(g, rest) & g->vec) &&
	         !(gen_fvsym(g, c) & g->vec))
		r = gen_add(g, gen_splat(g, symref(g, s, false), g->lanes),
		            gen_mul(g, gen_ramp(g, g->lanes), symref(g, c, false)));
	else if (s->kind == SymVar)
		r = symvar(g, s, vector);
	else if (s->kind == SymFn)
		r = symfns(g, s, vector);
	else
		r = sympoly(g, s, vector);
	gen_remember(g, key, r);
	return r;
}

KRef
gen_sym(Gen *g, const Sym *s)
{
	return symref(g, s, false);
}

/* How does index s move from lane to lane: 0 not, 1 by one element, 2 otherwise. */
static int
motion(Gen *g, const Sym *s)
{
	const Sym *c, *rest;

	if (!(gen_fvsym(g, s) & g->vec))
		return 0;
	if (sym_linear(g->cx, s, g->vecvar, &c, &rest) && sym_is(c, 1) && !(gen_fvsym(g, rest) & g->vec))
		return 1;
	return 2;
}

/* Make the parts of an index that are ready here. */
void
gen_hoistsym(Gen *g, const Sym *s)
{
	const Sym **var = NULL, *part;
	int n = 0;

	if (!s || s->kind == SymConst || s->kind == SymFloatConst)
		return;
	if (!(gen_fvsym(g, s) & ~g->bound)) {
		symref(g, s, motion(g, s) == 2);
		return;
	}
	if (s->kind == SymPoly) {
		part = outerpart(g, s, g->bound);
		if (part->kind == SymPoly)
			symref(g, part, motion(g, part) == 2);
	}
	sym_vars(g->a, s, &var, &n);
	for (int i = 0; i < n; i++)
		if (ex_ofvar(g->cx, var[i]))
			gen_hoist(g, ex_ofvar(g->cx, var[i]));
}

/* ---- expressions --------------------------------------------------------------- */

static KRef
both(Gen *g, KRef a, KRef b)
{
	return !a ? b : !b ? a : gen_op(g, ScAnd, DtB8, a, b, 0);
}

static KRef
maskref(Gen *g, const Ex *cond, bool unless, int lanes)
{
	KRef m = cond ? gen_cast(g, DtB8, gen_ex(g, cond)) : 0;

	if (unless)
		m = gen_op(g, ScNot, DtB8, m, 0, 0);

	if (lanes > 1)
		m = both(g, m, g->mask);
	return m ? gen_splat(g, m, lanes) : 0;
}

/* The index of a consecutive access: base + what varies inside. */
static KRef
indexref(Gen *g, const Sym *s, int move)
{
	return move == 2 ? gen_splat(g, symref(g, s, true), g->lanes) : symref(g, s, false);
}

static KRef
loadref(Gen *g, const Ex *e, const Ex *cond, bool unless)
{
	const Sym *at = e->idx[0];
	int move = motion(g, at), lanes;
	int buf = gen_buf(g, e->val);
	KRef i, m;

	/* One lane's element under a condition that varies by lane: the load must
	 * happen only if some lane wants it; read it for each lane. */
	if (move == 0 && cond && gen_fv(g, cond) & g->vec)
		move = 2;
	lanes = move ? g->lanes : 1;
	i = indexref(g, at, move);
	m = maskref(g, cond, unless, lanes);
	g->k->buf.v[buf].read = true;
	return gen_ins(g, (KIns){.op = KLoad, .dt = g->k->buf.v[buf].dt, .lanes = (uint8_t)lanes,
	                         .buf = (uint16_t)buf, .a = i, .b = m});
}

bool
ex_iszero(const Ex *e)
{
	return e->kind == ExConst && (dt_int(e->dt) ? e->i == 0 : e->f == 0);
}

/* select(c, load, 0) and select(c, 0, load): a load under a condition.  NULL: neither. */
static const Ex *
guarded(const Ex *e)
{
	if (e->kind != ExOp || e->sc != ScSelect)
		return NULL;
	if (e->arg[1]->kind == ExLoad && ex_iszero(e->arg[2]))
		return e->arg[1];
	return e->arg[2]->kind == ExLoad && ex_iszero(e->arg[1]) ? e->arg[2] : NULL;
}

static KRef
selectref(Gen *g, const Ex *e)
{
	const Ex *x = guarded(e);
	KRef c, a, b;

	if (x && !gen_recall(g, x))
		return loadref(g, x, e->arg[0], x == e->arg[2]);
	c = gen_ex(g, e->arg[0]);
	a = gen_ex(g, e->arg[1]);
	b = gen_ex(g, e->arg[2]);
	return gen_op(g, ScSelect, e->dt, c, a, b);
}

static KRef
opref(Gen *g, const Ex *e)
{
	KRef r[3] = {0};

	if (e->sc == ScSelect)
		return selectref(g, e);
	for (int i = 0; i < e->narg; i++)
		r[i] = gen_ex(g, e->arg[i]);
	return gen_op(g, e->sc, e->dt, r[0], r[1], r[2]);
}

static KRef
constref(Gen *g, const Ex *e)
{
	return dt_int(e->dt) ? gen_int(g, e->dt, e->i) : gen_float(g, e->dt, e->f);
}

static KRef
exref(Gen *g, const Ex *e)
{
	KRef r;

	switch (e->kind) {
	case ExConst: return constref(g, e);
	case ExIndex: return symref(g, e->sym, true);
	case ExLoad:  return loadref(g, e, NULL, false);
	case ExOp:    return opref(g, e);
	case ExCast:  return gen_cast(g, e->dt, gen_ex(g, e->arg[0]));
	case ExBits:
		r = gen_ex(g, e->arg[0]);
		return gen_ins(g, (KIns){.op = KBits, .dt = e->dt, .lanes = (uint8_t)lanesof(g, r), .a = r});
	case ExRandom:
		r = symref(g, e->sym, true);
		return gen_ins(g, (KIns){.op = KRandom, .dt = DtU32, .lanes = (uint8_t)lanesof(g, r), .a = r,
		                         .b = gen_sym(g, sym_var(g->cx, intern_str(g->cx, "rng_seed"), INT64_MIN, INT64_MAX)),
		                         .i = node_stream(e->val->def)});
	case ExCheck: return gen_check(g, e);
	case ExFold:
		gen_folds(g, &e, 1);
		return gen_recall(g, e);
	}
	return 0;
}

KRef
gen_ex(Gen *g, const Ex *e)
{
	KRef r = gen_recall(g, e);

	if (!r) {
		r = exref(g, e);
		gen_remember(g, e, r);
	}
	return r;
}

/* ---- code motion ---------------------------------------------------------------- */

typedef struct Ready {
	Gen *g;
	Map seen;
	VEC(const Ex *) fold;
} Ready;

static void ready(Ready *, const Ex *);

static void
readysym(Ready *r, const Sym *s)
{
	const Sym **var = NULL;
	const Ex *e;
	int n = 0;

	if (!s)
		return;
	sym_vars(r->g->a, s, &var, &n);
	for (int i = 0; i < n; i++)
		if ((e = ex_ofvar(r->g->cx, var[i])))
			ready(r, e);
}

/* Collect folds that can run here, inner before outer. */
static void
ready(Ready *r, const Ex *e)
{
	if (e->kind == ExConst || map_get(&r->seen, e))
		return;
	map_put(r->g->a, &r->seen, e, r);
	for (int i = 0; i < e->narg; i++)
		ready(r, e->arg[i]);
	if (e->cond)
		ready(r, e->cond);
	readysym(r, e->sym);
	for (int i = 0; i < e->nidx; i++)
		readysym(r, e->idx[i]);
	if (e->kind == ExFold && !(gen_fv(r->g, e) & ~r->g->bound) && !gen_recall(r->g, e))
		vec_push(r->g->a, &r->fold, e);
}

static bool
sameextents(const Ex *a, const Ex *b)
{
	if (a->nidx != b->nidx)
		return false;
	for (int i = 0; i < a->nidx; i++)
		if (a->idx[i] != b->idx[i])
			return false;
	return true;
}

struct find { const Ex *what; bool found; };

static void
findex(void *p, const Ex *e)
{
	struct find *f = p;

	f->found |= e == f->what;
}

static bool
contains(const Ex *e, const Ex *part)
{
	struct find f = {part, false};

	ex_visit(e, findex, &f);
	return f.found;
}

/* Emit the folds; those over equal extents that do not wait for each other in one loop. */
static void
emitready(Gen *g, const Ex **f, int n)
{
	const Ex **now = NEWN(g->a, const Ex *, n + 1);
	int m;

	for (int i = 0; i < n; i++) {
		if (!f[i])
			continue;
		m = 0;
		now[m++] = f[i];
		for (int k = i + 1; k < n && m < 6; k++) {
			bool ok = f[k] && sameextents(f[i], f[k]);
			for (int j = i; ok && j < k; j++)
				ok = !f[j] || !contains(f[k], f[j]);
			if (ok) {
				now[m++] = f[k];
				f[k] = NULL;
			}
		}
		gen_folds(g, now, m);
	}
}

/* Emit the largest parts of e that have all they need here, other than constants. */
static void
hoistparts(Gen *g, Map *seen, const Ex *e)
{
	if (e->kind == ExConst || map_get(seen, e))
		return;
	map_put(g->a, seen, e, (void *)e);
	if (!(gen_fv(g, e) & ~g->bound)) {
		gen_ex(g, e);
		return;
	}
	/* A guarded load is one thing. */
	if (guarded(e)) {
		hoistparts(g, seen, e->arg[0]);
		gen_hoistsym(g, guarded(e)->idx[0]);
		return;
	}
	for (int i = 0; i < e->narg; i++)
		hoistparts(g, seen, e->arg[i]);
	if (e->cond)
		hoistparts(g, seen, e->cond);
	gen_hoistsym(g, e->sym);
	for (int i = 0; i < e->nidx; i++)
		gen_hoistsym(g, e->idx[i]);
}

void
gen_hoist(Gen *g, const Ex *e)
{
	Ready r = {.g = g};
	Map seen = {0};

	gen_fv(g, e);
	ready(&r, e);
	emitready(g, r.fold.v, r.fold.n);
	hoistparts(g, &seen, e);
}

void
gen_store(Gen *g, int buf, const Sym *index, const Ex *value)
{
	KRef v = gen_cast(g, g->k->buf.v[buf].dt, gen_ex(g, value)), i, m;
	int move = motion(g, index);
	int lanes = move ? g->lanes : 1;

	if (lanesof(g, v) > lanes)
		bug(g->cx, NOLOC, "%s: lanes stored to one element", g->k->name);
	i = indexref(g, index, move);
	m = lanes > 1 && g->mask ? g->mask : 0;
	g->k->buf.v[buf].written = true;
	gen_ins(g, (KIns){.op = KStore, .dt = g->k->buf.v[buf].dt, .lanes = (uint8_t)lanes, .buf = (uint16_t)buf,
	                  .a = i, .b = gen_splat(g, v, lanes), .c = m});
}

/* A fresh variable stands for the value, so that gen_store sees an expression. */
void
gen_put(Gen *g, Val *v, const Sym *at, KRef x)
{
	const Sym *h = sym_fresh(g->cx, "h", INT64_MIN, INT64_MAX);
	const Ex *e = ex_bits(g->cx, ins(g, x)->dt, ex_index(g->cx, h));

	gen_remember(g, e, x);
	gen_store(g, gen_buf(g, v), at, e);
}

/* ---- loops --------------------------------------------------------- */

typedef void Body(Gen *, void *);

static void
piece(Gen *g, const Sym *var, KRef from, KRef to, int lanes, bool tail, Body *body, void *arg)
{
	Gen was = *g;
	KRef loop = gen_loop(g, LoopSerial, from, to, lanes);

	if (lanes > 1) {
		g->vec = gen_bit(g, var);
		g->vecvar = var;
		g->lanes = lanes;
	}
	gen_bind(g, var, loop);
	if (tail)
		g->mask = gen_op(g, ScLt, DtB8, gen_ramp(g, lanes), gen_op(g, ScSub, DtI64, to, loop, 0), 0);
	body(g, arg);
	gen_unbind(g, var);
	gen_end(g, loop);
	g->vec = was.vec;
	g->vecvar = was.vecvar;
	g->lanes = was.lanes;
	g->mask = was.mask;
}

/* The first index >= from that whole vectors do not cover. */
static KRef
mainend(Gen *g, KRef from, KRef to, int lanes)
{
	KRef n = gen_op(g, ScSub, DtI64, to, from, 0);

	n = gen_op(g, ScAnd, DtI64, n, gen_int(g, DtI64, -(int64_t)lanes), 0);
	return gen_add(g, from, n);
}

void
gen_range(Gen *g, const Sym *var, KRef from, KRef to, const Sym *ext, bool vector, Body *body, void *arg)
{
	int lanes = vector ? g->W : 1;
	int64_t n;
	KRef end;

	gen_declare(g, var);
	if (lanes == 1) {
		piece(g, var, from, to, 1, false, body, arg);
		return;
	}
	if (ext && sym_isconst(ext, &n)) {
		if (n >= lanes)
			piece(g, var, from, end = gen_int(g, DtI64, n & -(int64_t)lanes), lanes, false, body, arg);
		else
			end = from;
		if (n % lanes == 0)
			return;
	} else {
		end = mainend(g, from, to, lanes);
		piece(g, var, from, end, lanes, false, body, arg);
	}
	if (g->lo->opt.target->masked)
		piece(g, var, end, to, lanes, true, body, arg);
	else
		piece(g, var, end, to, 1, false, body, arg);
}

void
gen_for(Gen *g, const Sym *var, const Sym *ext, bool vector, Body *body, void *arg)
{
	gen_range(g, var, gen_int(g, DtI64, 0), gen_sym(g, ext), ext, vector, body, arg);
}

KRef
gen_tasks(Gen *g, const Sym *const *var, const Sym *const *ext, int n)
{
	const Sym *all = sym_const(g->cx, 1);
	bool par = g->lo->opt.threads > 1;
	KRef loop, rest;

	for (int i = 0; i < n; i++)
		all = sym_mul(g->cx, all, ext[i]);
	g->k->parallel = par ? all : NULL;
	loop = rest = gen_loop(g, par ? LoopParallel : LoopSerial, gen_int(g, DtI64, 0), gen_sym(g, all), 1);
	for (int i = n; i-- > 0; ) {
		KRef e = i ? gen_sym(g, ext[i]) : 0;
		if (i && sym_is(ext[i], 1)) {
			gen_bind(g, var[i], gen_int(g, DtI64, 0));
			continue;
		}
		gen_bind(g, var[i], i ? gen_op(g, ScFmod, DtI64, rest, e, 0) : rest);
		if (i)
			rest = gen_op(g, ScQuot, DtI64, rest, e, 0);
	}
	return loop;
}
