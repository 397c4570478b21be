/* evalmake.c - compile expressions for the interpreter.
 *
 * One pass over the DAG, operands first.  Scope 0 is the code run for each
 * block of points; each fold opens a scope inside that of the innermost
 * variable it depends on.  An instruction goes to the scope of its deepest
 * operand, at its end, so that it stands before the folds opened later.
 */
#include <stdlib.h>
#include "ir/eval.h"

/* Where a select allows its loads; parent: the mask around it. */
typedef struct Mask { int reg; const struct Mask *parent; } Mask;
typedef struct Memo { const Mask *mask; int reg; struct Memo *next; } Memo;

static int ex(Eval *, const Ex *, const Mask *);
static int sym(Eval *, const Sym *, const Mask *);

static int
fail(Eval *E)
{
	E->failed = true;
	return -1;
}

/* ---- registers and memory of what is computed already ------------------------------ */

static int
reg(Eval *E, bool uniform, int level)
{
	EvReg r = {uniform, level, -1, NEWN(E->a, Num, uniform ? 1 : Lanes)};

	vec_push(E->a, &E->reg, r);
	return E->reg.n - 1;
}

static int
constant(Eval *E, Num v)
{
	int r = reg(E, true, 0);

	E->reg.v[r].v[0] = v;
	return r;
}

static int
integer(Eval *E, int64_t i)
{
	return constant(E, (Num){.i = i});
}

static int
recall(Eval *E, const void *key, const Mask *m)
{
	for (int d = E->depth; d >= 0; d--)
		for (Memo *p = map_get(&E->scope[d].memo, key); p; p = p->next)
			for (const Mask *q = m;; q = q->parent) {
				if (p->mask == q)
					return p->reg;
				if (!q)
					break;
			}
	return -1;
}

static void
remember(Eval *E, const void *key, const Mask *m, int r)
{
	Map *memo = &E->scope[E->reg.v[r].level].memo;
	Memo *p = NEW(E->a, Memo);

	*p = (Memo){m, r, map_get(memo, key)};
	map_put(E->a, memo, key, p);
}

static int
level(const Eval *E, int r)
{
	return r < 0 ? 0 : E->reg.v[r].level;
}

static int
max(int a, int b)
{
	return a > b ? a : b;
}

static bool
uniform(const Eval *E, int r)
{
	return r < 0 || E->reg.v[r].uniform;
}

/* Append an instruction and give it a register. */
static int
emit(Eval *E, EvIns in)
{
	int at = max(level(E, in.a), max(level(E, in.b), level(E, in.c)));

	if (in.op != EvCopy)
		in.uniform = uniform(E, in.a) && uniform(E, in.b) && uniform(E, in.c);
	in.dst = reg(E, in.uniform, at);
	vec_push(E->a, &E->scope[at].code->ins, in);
	return in.dst;
}

static int
lanes(Eval *E, int r)
{
	int c;

	if (!E->reg.v[r].uniform)
		return r;
	if (E->reg.v[r].copy < 0) {
		c = emit(E, (EvIns){.op = EvCopy, .a = r, .b = -1, .c = -1});
		E->reg.v[r].copy = c;
	}
	return E->reg.v[r].copy;
}

/* sc of registers that hold numbers of dtype from. */
static int
scalar(Eval *E, enum scalar sc, enum dtype dt, enum dtype from, int a, int b, int c)
{
	if (!uniform(E, a) || !uniform(E, b) || !uniform(E, c)) {
		a = lanes(E, a);
		b = b < 0 ? b : lanes(E, b);
		c = c < 0 ? c : lanes(E, c);
	}
	return emit(E, (EvIns){.op = EvScalar, .sc = sc, .dt = dt, .from = from, .a = a, .b = b, .c = c});
}

static int
cast(Eval *E, enum dtype dt, enum dtype from, int a)
{
	if (dt == from)
		return a;
	return emit(E, (EvIns){.op = EvCast, .dt = dt, .from = from, .a = a, .b = -1, .c = -1});
}

/* ---- what needs a mask --------------------------------------------------------------- */

/* Is i in 0..n-1 whatever the data?  The range of a computed index is a claim of
 * the table, not a fact. */
static bool
inside(Eval *E, const Sym *i, int64_t n)
{
	const Sym **var = NULL;
	int nvar = 0;

	if (i->lo < 0 || i->hi >= n)
		return false;
	if (i->kind == SymConst)
		return true;
	sym_vars(E->a, i, &var, &nvar);
	for (int k = 0; k < nvar; k++)
		if (ex_ofvar(E->cx, var[k]))
			return false;
	return true;
}

static const Tensor *
memory(Eval *E, const Ex *load)
{
	const Tensor *t = E->tensor(E->arg, load->val);

	if (!t || t->rank != load->nidx) {
		error(E->cx, E->loc, "interpreter: no memory of rank %d for %s",
		      load->nidx, load->val->name ? load->val->name : "a value");
		E->failed = true;
		return NULL;
	}
	return t;
}

static bool
safeload(Eval *E, const Ex *e)
{
	const Tensor *t = memory(E, e);

	for (int d = 0; t && d < e->nidx; d++)
		if (!inside(E, e->idx[d], t->dim[d]))
			return false;
	return true;
}

struct search { Eval *E; bool found; };

static void
searchload(void *p, const Ex *e)
{
	struct search *s = p;

	if (e->kind == ExLoad && !s->found)
		s->found = !safeload(s->E, e);
}

/* Has e loads that can be out of range? */
static bool
unsafe(Eval *E, const Ex *e)
{
	struct search s = {E, false};
	intptr_t r = (intptr_t)map_get(&E->unsafe, e);

	if (r)
		return r == 2;
	if (e->kind == ExConst)
		return false;
	ex_visit(e, searchload, &s);
	map_put(E->a, &E->unsafe, e, (void *)(intptr_t)(s.found ? 2 : 1));
	return s.found;
}

static bool
unsafesym(Eval *E, const Sym *s)
{
	const Sym **var = NULL;
	const Ex *e;
	int n = 0;

	if (s->kind == SymConst)
		return false;
	sym_vars(E->a, s, &var, &n);
	for (int k = 0; k < n; k++)
		if ((e = ex_ofvar(E->cx, var[k])) && unsafe(E, e))
			return true;
	return false;
}

static const Mask *
masked(Eval *E, const Mask *m, int cond)
{
	Mask *r = NEW(E->a, Mask);

	*r = (Mask){m ? scalar(E, ScAnd, DtB8, DtB8, m->reg, cond, -1) : cond, m};
	return r;
}

/* ---- index arithmetic ------------------------------------------------------------------ */

static int
symvar(Eval *E, const Sym *s, const Mask *m)
{
	intptr_t r = (intptr_t)map_get(&E->varreg, s);
	const Ex *e;

	if (r)
		return (int)r - 1;
	if ((e = ex_ofvar(E->cx, s)))
		return ex(E, e, m);
	error(E->cx, E->loc, "interpreter: size %s is not known", s->name);
	return fail(E);
}

struct term { int reg, level; int64_t coef; };

static int
bylevel(const void *a, const void *b)
{
	const struct term *x = a, *y = b;

	return x->level != y->level ? x->level - y->level : x->reg - y->reg;
}

/* k + sum of terms; what changes least is added first, outside the inner folds. */
static int
poly(Eval *E, const Sym *s, const Mask *m)
{
	struct term *t = NEWN(E->a, struct term, s->nterm);
	int r;

	for (int k = 0; k < s->nterm; k++) {
		const SymTerm *p = &s->term[k];
		if ((r = sym(E, p->atom[0], m)) < 0)
			return r;
		for (int j = 1; j < p->natom; j++) {
			int q = sym(E, p->atom[j], m);
			if (q < 0)
				return q;
			r = scalar(E, ScMul, DtI64, DtI64, r, q, -1);
		}
		t[k] = (struct term){r, level(E, r), p->coef};
	}
	qsort(t, (size_t)s->nterm, sizeof *t, bylevel);
	r = integer(E, s->k);
	for (int k = 0; k < s->nterm; k++)
		if (t[k].coef == 1 && k == 0 && s->k == 0)
			r = t[k].reg;
		else
			r = emit(E, (EvIns){.op = EvMulAdd, .a = t[k].reg, .b = r, .c = -1, .i = t[k].coef});
	return r;
}

static int
ffn(Eval *E, const Sym *s, int a)
{
	for (int sc = 0; sc < NScalar; sc++)
		if (scalarinfo[sc].arity == 1 && s->name && strcmp(scalarinfo[sc].text, s->name) == 0)
			return scalar(E, (enum scalar)sc, DtF64, DtF64, a, -1, -1);
	error(E->cx, E->loc, "interpreter: unknown function %s of sizes", s->name ? s->name : "?");
	return fail(E);
}

static int
symfn(Eval *E, const Sym *s, const Mask *m)
{
	static const uint8_t sc[NSymFn] = {
		[SymFnDiv] = ScFloordiv, [SymFnMod] = ScMod, [SymFnMin] = ScMin, [SymFnMax] = ScMax,
		[SymFnPow] = ScPow, [SymFnEq] = ScEq, [SymFnNe] = ScNe, [SymFnLt] = ScLt, [SymFnLe] = ScLe,
		[SymFnAnd] = ScAnd, [SymFnOr] = ScOr, [SymFnShl] = ScShl, [SymFnShr] = ScShr,
		[SymFnTrueDiv] = ScDiv, [SymFnFDiv] = ScDiv, [SymFnFAdd] = ScAdd, [SymFnFMul] = ScMul,
		[SymFnFPow] = ScPow, [SymFnSqrt] = ScSqrt, [SymFnFloor] = ScFloor, [SymFnCeil] = ScCeil,
		[SymFnTrunc] = ScTrunc, [SymFnRound] = ScRint, [SymFnWhere] = ScSelect, [SymFnNot] = ScEq,
	};
	int r[3] = {-1, -1, -1}, out;
	enum dtype dt = DtI64;
	bool test;

	for (int k = 0; k < s->narg; k++)
		if (s->arg[k]->isfloat || s->fn == SymFnTrueDiv || (s->fn >= SymFnFDiv))
			dt = DtF64;
	for (int k = 0; k < s->narg && k < 3; k++) {
		if ((r[k] = sym(E, s->arg[k], m)) < 0)
			return -1;
		if (dt == DtF64 && !s->arg[k]->isfloat && !(s->fn == SymFnWhere && k == 0))
			r[k] = cast(E, DtF64, DtI64, r[k]);
	}
	if (s->fn == SymFnToFloat)
		return s->arg[0]->isfloat ? r[0] : cast(E, DtF64, DtI64, r[0]);
	if (s->fn == SymFnFFn)
		return ffn(E, s, r[0]);
	if (s->fn == SymFnNot)
		r[1] = integer(E, 0);
	test = scalarinfo[sc[s->fn]].rule == ScCmp;
	out = scalar(E, sc[s->fn], test ? DtB8 : dt, dt, r[0], r[1], r[2]);
	if (s->fn == SymFnFloor || s->fn == SymFnCeil || s->fn == SymFnTrunc || s->fn == SymFnRound)
		return cast(E, DtI64, DtF64, out);
	return out;
}

static int
sym(Eval *E, const Sym *s, const Mask *m)
{
	int r;

	if (s->kind == SymConst)
		return integer(E, s->k);
	if (s->kind == SymFloatConst)
		return constant(E, (Num){.f = s->f});
	if (m && !unsafesym(E, s))
		m = NULL;
	if ((r = recall(E, s, m)) >= 0)
		return r;
	r = s->kind == SymVar ? symvar(E, s, m) : s->kind == SymPoly ? poly(E, s, m) : symfn(E, s, m);
	if (r >= 0)
		remember(E, s, m, r);
	return r;
}

/* ---- expressions -------------------------------------------------------------------------- */

static int
load(Eval *E, const Ex *e, const Mask *m)
{
	const Tensor *t = memory(E, e);
	const Sym *at = sym_const(E->cx, 0);
	int ok = m ? m->reg : -1, off;
	int64_t stride = 1;
	bool safe = true;

	if (!t)
		return -1;
	for (int d = e->nidx - 1; d >= 0; d--) {
		at = sym_add(E->cx, at, sym_mul(E->cx, e->idx[d], sym_const(E->cx, stride)));
		stride *= t->dim[d];
		if (inside(E, e->idx[d], t->dim[d]))
			continue;
		if ((off = sym(E, e->idx[d], m)) < 0)
			return -1;
		ok = emit(E, (EvIns){.op = EvRange, .a = off, .b = ok, .c = -1, .i = t->dim[d]});
		safe = false;
	}
	if ((off = sym(E, at, m)) < 0)
		return -1;
	return emit(E, (EvIns){.op = EvLoad, .a = off, .b = safe ? -1 : ok, .c = -1, .dt = t->dt, .tensor = t});
}

static int
selection(Eval *E, const Ex *e, const Mask *m)
{
	enum dtype dt = eval_dt(E, e->dt);
	int c = ex(E, e->arg[0], m), a, b;
	const Mask *ma = m, *mb = m;

	if (c < 0)
		return c;
	if (unsafe(E, e->arg[1]))
		ma = masked(E, m, c);
	if (unsafe(E, e->arg[2]))
		mb = masked(E, m, scalar(E, ScNot, DtB8, DtB8, c, -1, -1));
	a = ex(E, e->arg[1], ma);
	b = ex(E, e->arg[2], mb);
	return a < 0 || b < 0 ? -1 : scalar(E, ScSelect, dt, dt, c, a, b);
}

static int
op(Eval *E, const Ex *e, const Mask *m)
{
	int r[3] = {-1, -1, -1};

	if (e->sc == ScSelect)
		return selection(E, e, m);
	for (int k = 0; k < e->narg; k++)
		if ((r[k] = ex(E, e->arg[k], m)) < 0)
			return -1;
	return scalar(E, e->sc, eval_dt(E, e->dt), eval_dt(E, e->arg[0]->dt), r[0], r[1], r[2]);
}

/* ---- folds ---------------------------------------------------------------------------------- */

struct deepest { Eval *E; int level; };

static void
deepsym(struct deepest *p, const Sym *s)
{
	const Sym **var = NULL;
	intptr_t r;
	int n = 0;

	if (!s || s->kind == SymConst)
		return;
	sym_vars(p->E->a, s, &var, &n);
	for (int k = 0; k < n; k++)
		if ((r = (intptr_t)map_get(&p->E->varreg, var[k])))
			p->level = max(p->level, level(p->E, (int)r - 1));
}

static void
deepvisit(void *arg, const Ex *e)
{
	deepsym(arg, e->sym);
	for (int k = 0; k < e->nidx; k++)
		deepsym(arg, e->idx[k]);
}

/* The level of the innermost open fold whose variables e mentions. */
static int
deepest(Eval *E, const Ex *e, const Mask *m)
{
	struct deepest p = {E, m ? level(E, m->reg) : 0};

	ex_visit(e, deepvisit, &p);
	return p.level;
}

/* The fold's variables with ranges that say what its extents are. */
static bool
tighten(Eval *E, const Ex *e, EvFoldIns *f, const Sym **var, int depth)
{
	for (int k = 0; k < e->nidx; k++) {
		if (!sym_isconst(e->idx[k], &f->extent[k])) {
			error(E->cx, E->loc, "interpreter: extent %s is not known", sym_str(E->cx, e->idx[k]));
			E->failed = true;
			return false;
		}
		var[k] = e->var[k];
		if (e->var[k]->lo != 0 || e->var[k]->hi != f->extent[k] - 1)
			var[k] = sym_var(E->cx, intern_printf(E->cx, "fold%d_%d_%lld", depth, k,
			                 (long long)f->extent[k]), 0, f->extent[k] - 1);
	}
	return true;
}

static bool
foldbody(Eval *E, const Ex *e, EvFoldIns *f, const Mask *m)
{
	const Sym *var[2 * MaxRank];
	const Ex *body, *cond = NULL;

	if (!tighten(E, e, f, var, E->depth))
		return false;
	body = ex_rewrite(E->cx, e->arg[0], NULL, NULL, e->var, var, e->nidx);
	if (e->cond)
		cond = ex_rewrite(E->cx, e->cond, NULL, NULL, e->var, var, e->nidx);
	for (int k = 0; k < e->nidx; k++) {
		f->var[k] = reg(E, !f->wide, E->depth);
		map_put(E->a, &E->varreg, var[k], (void *)(intptr_t)(f->var[k] + 1));
	}
	f->cond = cond ? ex(E, cond, m) : -1;
	if (cond && f->cond >= 0 && unsafe(E, body))
		m = masked(E, m, f->cond);
	f->body = ex(E, body, m);
	for (int k = 0; k < e->nidx; k++)
		map_put(E->a, &E->varreg, var[k], NULL);
	return f->body >= 0 && (!cond || f->cond >= 0);
}

static int
fold(Eval *E, const Ex *e, const Mask *m)
{
	int at = deepest(E, e, unsafe(E, e) ? m : NULL), depth = E->depth;
	EvScope saved[COUNT(E->scope)];
	EvFoldIns *f = NEW(E->a, EvFoldIns);
	EvIns in = {.op = EvFold, .a = -1, .b = -1, .c = -1, .fold = f};
	bool ok;

	if (at + 1 >= COUNT(E->scope)) {
		error(E->cx, E->loc, "interpreter: folds are nested too deeply");
		return fail(E);
	}
	*f = (EvFoldIns){.fold = e->fold, .wide = E->wide && at == 0, .n = e->nidx};
	f->var = NEWN(E->a, int, e->nidx);
	f->extent = NEWN(E->a, int64_t, e->nidx);
	memcpy(saved, E->scope, sizeof saved);
	E->depth = at + 1;
	E->scope[at + 1] = (EvScope){.code = &f->code};
	ok = foldbody(E, e, f, m);
	for (int d = at + 1; d < COUNT(saved); d++)
		E->scope[d] = saved[d];
	E->depth = depth;
	if (!ok)
		return fail(E);
	in.uniform = f->wide || (uniform(E, f->body) && uniform(E, f->cond));
	in.dt = eval_dt(E, e->dt);
	in.from = eval_dt(E, e->arg[0]->dt);
	in.dst = reg(E, in.uniform, at);
	in.a = reg(E, in.uniform, at);           /* the best value of an argmax */
	vec_push(E->a, &E->scope[at].code->ins, in);
	return in.dst;
}

static int
make(Eval *E, const Ex *e, const Mask *m)
{
	enum dtype dt = eval_dt(E, e->dt), from = e->narg ? eval_dt(E, e->arg[0]->dt) : dt;
	int a;

	if (e->dt != DtNone && dtypeinfo[e->dt].kind == KindComplex) {
		error(E->cx, E->loc, "interpreter: complex numbers are not supported");
		return fail(E);
	}
	switch (e->kind) {
	case ExConst:
		return constant(E, dt_int(dt) ? (Num){.i = e->i} : (Num){.f = num_round(dt, e->f)});
	case ExIndex: return sym(E, e->sym, m);
	case ExLoad:  return load(E, e, m);
	case ExOp:    return op(E, e, m);
	case ExFold:  return fold(E, e, m);
	case ExRandom:
		a = sym(E, e->sym, m);
		return a < 0 ? a : emit(E, (EvIns){.op = EvRandom, .a = a, .b = -1, .c = -1, .i = node_stream(e->val->def)});
	case ExCast:
		a = ex(E, e->arg[0], m);
		return a < 0 ? a : cast(E, dt, from, a);
	case ExBits:
		a = ex(E, e->arg[0], m);
		return a < 0 ? a : emit(E, (EvIns){.op = EvBits, .dt = e->dt, .from = e->arg[0]->dt, .a = a, .b = -1, .c = -1});
	case ExCheck:                /* lowering makes these; loads look at their indices here */
		return ex(E, e->arg[0], m);
	}
	return fail(E);
}

static int
ex(Eval *E, const Ex *e, const Mask *m)
{
	int r;

	if (E->failed)
		return -1;
	if (m && !unsafe(E, e))
		m = NULL;
	if ((r = recall(E, e, m)) >= 0)
		return r;
	r = make(E, e, m);
	if (r >= 0)
		remember(E, e, m, r);
	return r;
}

int
eval_ex(Eval *E, const Ex *e)
{
	return ex(E, e, NULL);
}

int
eval_sym(Eval *E, const Sym *s)
{
	return sym(E, s, NULL);
}

static void
widefold(void *p, const Ex *e)
{
	int64_t n = 1, k;

	if (e->kind != ExFold)
		return;
	for (int d = 0; d < e->nidx; d++)
		if (sym_isconst(e->idx[d], &k) && n < 1 << 20)
			n *= k;
	if (n >= 2 * Lanes)
		*(bool *)p = true;
}

bool
eval_iswide(const Ex *e, int64_t points)
{
	bool wide = false;

	if (points <= 16)
		ex_visit(e, widefold, &wide);
	return wide;
}

void
eval_init(Eval *E, Ctx *cx, Arena *a, Loc loc, bool f64, bool wide,
          const Sym *const *var, const int64_t *extent, int nvar)
{
	*E = (Eval){.cx = cx, .a = a, .loc = loc, .f64 = f64, .wide = wide,
	            .nvar = nvar, .var = var, .extent = extent};
	E->scope[0].code = &E->code;
	E->ireg = NEWN(a, int, nvar + 1);
	for (int k = 0; k < nvar; k++) {
		E->ireg[k] = reg(E, wide, 0);
		map_put(a, &E->varreg, var[k], (void *)(intptr_t)(E->ireg[k] + 1));
	}
}
