/* low.c - what a node computes: its table's value and lower lines, evaluated.
 *
 * The element of a result at an index is an Ex; a scan, a scatter or a call of
 * the run time is described in a Low.  What the lines' words mean for elements
 * is in langel.c.
 */
#include "ir/lang.h"

/* ---- lower lines ------------------------------------------------------------------------- */

static LVal
keyword(const LKey *kw, int nkw, const char *name)
{
	for (int k = 0; k < nkw; k++)
		if (strcmp(kw[k].name, name) == 0)
			return kw[k].val;
	return (LVal){.kind = LNone};
}

static int
foldarg(Lang *L, const Ast *at, LVal v)
{
	int f = v.kind == LStr ? lang_foldof(v.s) : -1;

	if (f < 0)
		lang_fail(L, at, "%s is no fold", lang_str(L->cx, v));
	return f;
}

static void
scan(Lang *L, const Ast *at, LVal *v, int n, LKey *kw, int nkw)
{
	LVal rev = keyword(kw, nkw, "reverse");
	int64_t d;

	lang_need(L, at, "scan", n, 2);
	L->low->kind = L->ni ? LowScan : LowElement;   /* one number is its own fold */
	L->low->fold = (enum fold)foldarg(L, at, v[0]);
	if (!sym_isconst(lang_tosym(L, at, v[1]), &d) || d < -L->ni || d >= (L->ni ? L->ni : 1))
		lang_fail(L, at, "scan along dimension %s", lang_str(L->cx, v[1]));
	L->low->dim = (int)(d < 0 ? d + L->ni : d);
	L->low->reverse = rev.kind == LBool && rev.b;
}

static const Sym **
syms(Lang *L, const Ast *at, LVal v, int *n)
{
	v = lang_iter(L, at, v);
	const Sym **s = v.list.n ? NEWN(L->a, const Sym *, v.list.n) : NULL;

	for (int k = 0; k < v.list.n; k++)
		s[k] = lang_tosym(L, at, v.list.v[k]);
	*n = v.list.n;
	return s;
}

static void
scatter(Lang *L, const Ast *at, LVal *v, int n)
{
	Low *low = L->low;
	enum dtype dt = L->out->type->dt;
	int na;

	if (n != 4 && n != 5)
		lang_need(L, at, "scatter", n, 4);
	low->kind = LowScatter;
	low->set = v[0].kind == LStr && strcmp(v[0].s, "set") == 0;
	low->fold = low->set ? FoldSum : (enum fold)foldarg(L, at, v[0]);
	low->over = syms(L, at, v[1], &low->nover);
	const Sym **j = low->nover ? NEWN(L->a, const Sym *, low->nover) : NULL;
	LVal list = lang_list(L, low->nover);
	for (int k = 0; k < low->nover; k++) {
		j[k] = lang_freshvar(L, "j", low->over[k]);
		list.list.v[k] = lang_sym(j[k]);
	}
	low->j = j;
	low->at = syms(L, at, lang_call1(L, v[2], list), &na);
	if (na != L->ni)
		lang_fail(L, at, "scatter: %d indices for a result of %d dimensions", na, L->ni);
	low->put = ex_adopt(L->cx, dt, lang_ex(L, at, lang_call1(L, v[3], list)));
	LVal cond = n == 5 && v[4].kind != LNone ? lang_call1(L, v[4], list)
	                                         : (LVal){.kind = LBool, .b = true};
	low->putif = cond.kind == LBool && cond.b ? NULL : lang_cond(L, at, cond);
}

static void
external(Lang *L, const Ast *at, LVal *v, int n, LKey *kw, int nkw)
{
	Low *low = L->low;
	LVal scratch = keyword(kw, nkw, "scratch");

	if (n < 1 || v[0].kind != LStr)
		lang_fail(L, at, "extern needs a function's name");
	low->kind = LowExtern;
	low->fn = v[0].s;
	if (n > 1)
		low->num = syms(L, at, v[1], &low->nnum);
	if (n > 2) {
		LVal f = lang_iter(L, at, v[2]);
		double *real = f.list.n ? NEWN(L->a, double, f.list.n) : NULL;
		for (int k = 0; k < f.list.n; k++) {
			int64_t i;
			if (f.list.v[k].kind == LFloat)
				real[k] = f.list.v[k].f;
			else if (sym_isconst(lang_tosym(L, at, f.list.v[k]), &i))
				real[k] = (double)i;
			else
				lang_fail(L, at, "extern: %s is not known when compiling",
				          lang_str(L->cx, f.list.v[k]));
		}
		low->real = real;
		low->nreal = f.list.n;
	}
	if (scratch.kind != LNone)
		low->scratch = syms(L, at, scratch, &low->nscratch);
}

/* A number that loops have at hand. */
static const Ex *
hole(Lang *L, enum dtype dt)
{
	return ex_bits(L->cx, dt, ex_index(L->cx, sym_fresh(L->cx, "h", INT64_MIN, INT64_MAX)));
}

static void
blocks(Lang *L, const Ast *at, LVal *v, int n)
{
	Low *low = L->low;

	lang_need(L, at, "blocks", n, 4);
	if (v[1].kind != LDtype)
		lang_fail(L, at, "blocks of what dtype?");
	low->kind = LowBlocks;
	low->over = syms(L, at, v[0], &low->nover);
	low->num = syms(L, at, v[2], &low->nnum);
	if (L->out->out > 0)
		return;
	const Sym **j = NEWN(L->a, const Sym *, low->nover);
	LVal x = lang_list(L, low->nover + COUNT(low->hole)), list;
	for (int k = 0; k < low->nover; k++)
		x.list.v[k] = lang_sym(j[k] = lang_freshvar(L, "j", low->over[k]));
	for (int k = 0; k < COUNT(low->hole); k++)
		x.list.v[low->nover + k] = (LVal){.kind = LEx, .ex = low->hole[k] = hole(L, v[1].dt)};
	low->j = j;
	list = lang_iter(L, at, lang_call1(L, v[3], x));
	const Ex **part = NEWN(L->a, const Ex *, list.list.n + 1);
	for (int k = 0; k < list.list.n; k++)
		part[k] = ex_adopt(L->cx, v[1].dt, lang_ex(L, at, list.list.v[k]));
	low->part = part;
	low->npart = list.list.n;
}

bool
lang_lowering(Lang *L, const Ast *at, Str name, LVal *v, int n, LKey *kw, int nkw)
{
	if (strcmp(name, "scan") == 0)
		scan(L, at, v, n, kw, nkw);
	else if (strcmp(name, "scatter") == 0)
		scatter(L, at, v, n);
	else if (strcmp(name, "extern") == 0)
		external(L, at, v, n, kw, nkw);
	else if (strcmp(name, "blocks") == 0)
		blocks(L, at, v, n);
	else
		return false;
	return true;
}

/* ---- nodes ------------------------------------------------------------------------------------ */

static void
indexvars(Lang *L, const Node *n)
{
	const Sym **size = NULL, **var = NULL;
	int nsize = 0, nvar = 0;

	for (int k = 0; k < n->nout; k++)
		for (int d = 0; n->out[k].type && n->out[k].type->kind == TyTensor && d < n->out[k].type->rank; d++)
			sym_vars(L->a, n->out[k].type->dim[d], &size, &nsize);
	for (int k = 0; k < n->narg; k++) {
		const Val *v = arg_tensor(n, k);
		for (int d = 0; v && v->type && d < v->type->rank; d++)
			sym_vars(L->a, v->type->dim[d], &size, &nsize);
	}
	for (int k = 0; k < L->ni; k++)
		sym_vars(L->a, L->i[k], &var, &nvar);
	for (int k = 0; k < nvar; k++) {
		bool issize = false;
		for (int j = 0; j < nsize; j++)
			issize |= size[j] == var[k];
		if (!issize)
			vec_push(L->a, &L->ivar, var[k]);
	}
}

static bool
begin(Lang *L, Node *n, int out, const Sym *const *i, int ni)
{
	Val *v = &n->out[out];

	lang_init(L, n->graph->cx, n->graph->mod, n->op, n->loc, LangElement);
	if (v->type == NULL || v->type->kind != TyTensor) {
		error(L->cx, n->loc, "%s: result %d has no known type", n->op->name, out);
		return false;
	}
	if (ni != v->type->rank) {
		error(L->cx, n->loc, "%s: %d indices for %s", n->op->name, ni, type_str(L->cx, v->type));
		return false;
	}
	L->out = v;
	L->i = i;
	L->ni = ni;
	indexvars(L, n);
	if (n->op->flags & OP(Pointwise)) {
		enum dtype dt = infer_promote(n->op, n->arg);
		if (dt != DtNone && n->op->flags & OP(Float) && dt_int(dt))
			dt = DtF32;
		if (dt != DtNone && dtypeinfo[dt].kind != KindComplex)
			L->compute = dt_acc(dt);
	}
	lang_bind(L, n->arg);
	LVal list = lang_list(L, ni), shape = lang_list(L, ni);
	for (int k = 0; k < ni; k++) {
		list.list.v[k] = lang_sym(i[k]);
		shape.list.v[k] = lang_sym(v->type->dim[k]);
	}
	lang_set(L, "i", list);
	lang_set(L, "out", lang_int(L->cx, out));
	bool named = false;
	for (int k = 0; k < n->op->nparam; k++)
		named |= strcmp(n->op->param[k].name, "shape") == 0;
	if (!named)
		lang_set(L, "shape", shape);
	return true;
}

/* The value line at L's index, in the result's dtype. */
static const Ex *
value(Lang *L)
{
	enum dtype dt = L->out->type->dt;
	jmp_buf here, *outer = L->fail;
	const Ex *e;
	LVal v;

	if (L->op->value == NULL) {
		error(L->cx, L->loc, "%s: the tables do not say what an element of it is", L->op->name);
		return NULL;
	}
	if (!lang_run(L, "value", L->op->value, FormExpr, &v))
		return NULL;
	L->fail = &here;
	if (setjmp(here)) {
		L->fail = outer;
		return NULL;
	}
	if (v.kind == LList && L->out->out < v.list.n && L->op->nret > 1)
		v = v.list.v[L->out->out];
	e = lang_ex(L, NULL, v);
	if (e->weak && L->compute != DtNone && (dt_float(e->dt) ? dt_float(L->compute) : true))
		e = ex_adopt(L->cx, L->compute, e);
	e = ex_adopt(L->cx, dt, e);
	L->fail = outer;
	return e;
}

const Ex *
ex_element(Node *n, int out, const Sym *const *i, int ni)
{
	Lang L;

	return begin(&L, n, out, i, ni) ? value(&L) : NULL;
}

bool
node_low(Node *n, int out, Low *low)
{
	const Sym *i[MaxRank] = {0};
	Lang L;
	LVal v;

	*low = (Low){.kind = LowNone};
	if (n->op->flags & OP(Leaf)) {
		low->kind = LowLeaf;
		return true;
	}
	if (n->op->flags & OP(Sym) || out >= n->nout)
		return true;
	const Type *t = n->out[out].type;
	int rank = t && t->kind == TyTensor ? t->rank : 0;
	for (int d = 0; d < rank; d++) {
		int64_t hi = t->dim[d]->hi;
		i[d] = sym_fresh(n->graph->cx, "i", 0, hi == INT64_MAX ? hi : hi > 0 ? hi - 1 : 0);
	}
	if (!begin(&L, n, out, i, rank))
		return false;
	low->nidx = rank;
	low->i = rank ? arena_dup(L.a, i, sizeof *i * (size_t)rank) : NULL;
	if (n->op->lower) {
		L.low = low;
		if (!lang_run(&L, "lower", n->op->lower, FormExpr, &v))
			return false;
		L.low = NULL;
		if (low->kind == LowExtern || low->kind == LowBlocks)
			return true;
	}
	if (low->kind == LowNone)
		low->kind = LowElement;
	low->element = value(&L);
	return low->element != NULL;
}

/* ---- scalar functions ---------------------------------------------------------------------------- */

const Ex *
lang_impl(Ctx *cx, enum scalar sc, const Ex *const *arg)
{
	const MacroDef *m = NULL;
	Lang L;
	LVal v;

	for (int k = 0; k < nimpltab; k++)
		if (strcmp(impltab[k].name, scalarinfo[sc].text) == 0)
			m = &impltab[k];
	if (m == NULL)
		return NULL;
	lang_init(&L, cx, NULL, NULL, NOLOC, LangElement);
	for (int k = 0; k < m->nparam && k < scalarinfo[sc].arity; k++)
		lang_set(&L, m->param[k], (LVal){.kind = LEx, .ex = arg[k]});
	if (!lang_run(&L, "impl", m->text, FormExpr, &v) || v.kind != LEx)
		return NULL;
	return v.ex;
}
