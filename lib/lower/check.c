/* check.c - indices that the model computes are looked at before memory is.
 *
 * A token beyond the vocabulary or a label beyond the classes must not read what lies behind the
 * table.  Where an operator's element has such an index, and its expression does not show that
 * it is in range, the index is put into an ExCheck (check_low), before producers and views are
 * inlined: the size is that of the tensor that the operator sees.  exprep.c narrows the check to
 * where the element is wanted.  In a kernel (gen_check) an index out of range becomes 0, and the
 * buffer of faults tells lib/rt, which fails the call when the kernel is done.
 */
#include "lower/lower.h"

/* ---- what an expression shows -------------------------------------------------------- */

/* Deeper expressions are taken to show nothing. */
enum { MostDepth = 24 };

static bool natural(const Ex *, int depth);

static bool
naturalop(const Ex *e, int depth)
{
	const Ex *a = e->arg[0], *b = e->arg[1];

	switch (e->sc) {
	case ScMax:
		if (!dt_int(e->dt) && ex_hasload(e))    /* it may be NaN */
			return false;
		return natural(a, depth) || natural(b, depth);
	case ScAdd: case ScMul: case ScMin: case ScDiv: case ScFloordiv:
		return natural(a, depth) && natural(b, depth);
	case ScMod:
		return natural(b, depth);
	case ScAnd:
		return dt_int(e->dt) && (natural(a, depth) || natural(b, depth));
	case ScSelect:
		return natural(b, depth) && natural(e->arg[2], depth);
	case ScFloor: case ScCeil: case ScRint: case ScTrunc: case ScSqrt:
		return natural(a, depth);
	default:
		return false;
	}
}

/* Is e surely 0 or more? */
static bool
natural(const Ex *e, int depth)
{
	enum dtkind kind = dtypeinfo[e->dt].kind;

	if (depth++ > MostDepth)
		return false;
	switch (e->kind) {
	case ExConst: return kind == KindFloat ? e->f >= 0 : e->i >= 0;
	case ExIndex: return !e->sym->isfloat && !ex_ofvar(e->cx, e->sym) && e->sym->lo >= 0;
	case ExCast:  return kind != KindUint && dtypeinfo[e->dt].bytes >= dtypeinfo[e->arg[0]->dt].bytes && natural(e->arg[0], depth);
	case ExFold:  return e->fold == FoldArgmax || e->fold == FoldArgmin;
	case ExCheck: return true;
	case ExOp:    return naturalop(e, depth);
	default:      return kind == KindBool;
	}
}

static bool
belowfold(const Ex *e, const Sym *n)
{
	const Sym *all = numel_of(e->cx, e->idx, e->nidx);

	return (e->fold == FoldArgmax || e->fold == FoldArgmin) && sym_le(e->cx, all, n);
}

/* Is the integer e surely less than n? */
static bool
below(const Ex *e, const Sym *n, int depth)
{
	Ctx *cx = e->cx;

	if (depth++ > MostDepth)
		return false;
	switch (e->kind) {
	case ExConst: return dt_int(e->dt) && sym_lt(cx, sym_const(cx, e->i), n);
	case ExIndex: return !e->sym->isfloat && !ex_ofvar(cx, e->sym) && sym_lt(cx, e->sym, n);
	case ExCast:  return dt_int(e->arg[0]->dt) && below(e->arg[0], n, depth);
	case ExFold:  return belowfold(e, n);
	case ExCheck: return sym_le(cx, e->sym, n);
	case ExOp:    break;
	default:      return dtypeinfo[e->dt].kind == KindBool && sym_lt(cx, sym_const(cx, 1), n);
	}
	switch (e->sc) {
	case ScMin:    return below(e->arg[0], n, depth) || below(e->arg[1], n, depth);
	case ScMax:    return below(e->arg[0], n, depth) && below(e->arg[1], n, depth);
	case ScSelect: return below(e->arg[1], n, depth) && below(e->arg[2], n, depth);
	case ScMod:    return e->arg[1]->kind == ExIndex && natural(e->arg[1], depth) && sym_le(cx, e->arg[1]->sym, n);
	default:       return false;
	}
}

/* A tensor whose elements are computed shows what they show, wherever it is read. */
static const Ex *
shown(Lower *lo, const Ex *e)
{
	const Low *low;

	for (int i = 0; i < MostDepth && (e->kind == ExLoad || e->kind == ExCast); i++) {
		if (e->kind == ExCast && dt_int(e->dt) && dt_int(e->arg[0]->dt) && dtypeinfo[e->dt].bytes == 8) {
			e = e->arg[0];
			continue;
		}
		low = e->kind == ExLoad && e->val->def && e->val->id < lo->g->nval ? &lo->low[e->val->id] : NULL;
		if (!low || low->kind != LowElement)
			break;
		e = low->element;
	}
	return e;
}

/* ---- putting checks in ------------------------------------------------------------------ */

/* The index with its computed variables as they come: nothing is taken to be known about them. */
static const Ex *
unbounded(Lower *lo, const Sym *s)
{
	const Sym **var = NULL, **with;
	int n = 0;

	if (s->kind == SymVar)
		return ex_ofvar(lo->cx, s);
	sym_vars(lo->a, s, &var, &n);
	with = NEWN(lo->a, const Sym *, n + 1);
	for (int i = 0; i < n; i++)
		with[i] = ex_ofvar(lo->cx, var[i]) ? ex_indirect(lo->cx, ex_ofvar(lo->cx, var[i]), INT64_MIN, INT64_MAX) : var[i];
	return ex_index(lo->cx, sym_subst(lo->cx, s, var, with, n));
}

static const Sym *
checked(Lower *lo, const Sym *s, const Sym *size, const Ex *cond)
{
	const Ex *e, *known;

	if (!sym_computed(lo, s))
		return s;
	e = unbounded(lo, s);
	known = shown(lo, e);
	if (e->kind == ExCheck || (natural(known, 0) && below(known, size, 0)))
		return s;
	return ex_indirect(lo->cx, ex_check(lo->cx, e, size, cond), 0, size->hi == INT64_MAX ? size->hi : size->hi > 0 ? size->hi - 1 : 0);
}

static const Ex *
checkload(void *p, const Ex *e)
{
	Lower *lo = p;
	const Sym *idx[MaxRank];

	if (e->nidx > MaxRank)
		return NULL;
	for (int d = 0; d < e->nidx; d++)
		idx[d] = checked(lo, e->idx[d], e->val->type->dim[d], NULL);
	return ex_load(lo->cx, e->val, idx, e->nidx);
}

static const Ex *
checkedloads(Lower *lo, const Ex *e)
{
	return e ? ex_rewrite(lo->cx, e, checkload, lo, NULL, NULL, 0) : NULL;
}

void
check_low(Lower *lo, Val *v)
{
	Low *low = &lo->low[v->id];
	const Sym **at;

	if (low->kind != LowElement && low->kind != LowScan && low->kind != LowScatter)
		return;
	low->element = checkedloads(lo, low->element);
	if (low->kind != LowScatter)
		return;
	low->put = checkedloads(lo, low->put);
	low->putif = checkedloads(lo, low->putif);
	at = NEWN(lo->a, const Sym *, low->nidx + 1);
	for (int d = 0; d < low->nidx; d++)
		at[d] = checked(lo, low->at[d], v->type->dim[d], low->putif);
	low->at = at;
}

/* ---- kernels ---------------------------------------------------------------------------- */

static int
faultbuf(Gen *g)
{
	Lower *lo = g->lo;

	if (!lo->fault) {
		lo->fault = NEW(lo->a, Val);
		lo->fault->name = intern_str(g->cx, "fault");
		lo->fault->type = type_tensor(g->cx, DtI64, 1, (const Sym *[]){sym_const(g->cx, 3)});
	}
	return gen_buf(g, lo->fault);
}

static void
put(Gen *g, int buf, int64_t at, KRef value)
{
	g->k->buf.v[buf].written = true;
	gen_ins(g, (KIns){.op = KStore, .dt = DtI64, .lanes = 1, .buf = (uint16_t)buf, .a = gen_int(g, DtI64, at), .b = value});
}

/* One of the indices that are bad: of several the greatest. */
static KRef
worst(Gen *g, KRef bad, KRef index)
{
	int lanes = g->k->ins.v[bad].lanes;
	KRef r;

	if (lanes == 1)
		return index;
	r = gen_op(g, ScSelect, DtI64, bad, index, gen_int(g, DtI64, INT64_MIN));
	return gen_ins(g, (KIns){.op = KReduce, .dt = DtI64, .lanes = 1, .sub = FoldMax, .a = r});
}

static void
tell(Gen *g, KRef bad, KRef index, KRef size)
{
	int buf = faultbuf(g);
	KRef any = bad, open;

	if (g->k->ins.v[bad].lanes > 1)
		any = gen_ins(g, (KIns){.op = KReduce, .dt = DtB8, .lanes = 1, .sub = FoldAny, .a = bad});
	open = gen_ins(g, (KIns){.op = KIf, .a = any, .lanes = 1});
	gen_push(g);
	put(g, buf, 1, worst(g, bad, index));
	put(g, buf, 2, size);
	put(g, buf, 0, gen_int(g, DtI64, 1));
	gen_pop(g);
	gen_ins(g, (KIns){.op = KEnd, .a = open});
}

KRef
gen_check(Gen *g, const Ex *e)
{
	KRef index = gen_ex(g, e->arg[0]), size = gen_sym(g, e->sym), zero = gen_int(g, DtI64, 0), in, bad;

	in = gen_op(g, ScAnd, DtB8, gen_op(g, ScLe, DtB8, zero, index, 0), gen_op(g, ScLt, DtB8, index, size, 0), 0);
	bad = gen_op(g, ScNot, DtB8, in, 0, 0);
	if (e->cond)
		bad = gen_op(g, ScAnd, DtB8, bad, gen_cast(g, DtB8, gen_ex(g, e->cond)), 0);
	if (g->mask && g->k->ins.v[bad].lanes > 1)
		bad = gen_op(g, ScAnd, DtB8, bad, g->mask, 0);
	tell(g, bad, index, size);
	return gen_op(g, ScSelect, DtI64, in, index, zero);
}
