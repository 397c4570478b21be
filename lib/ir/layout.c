/* layout.c - how PyTorch lays out what an operator computes element by element.
 *
 * Its result keeps the order of dimensions that its operands have in memory, without gaps: of
 * a transposed matrix times two the result is transposed, too.  That decides what can be viewed
 * and what is copied (reshape), so that graphs are compared with PyTorch's only with it
 * (-fdecomp=torch); natively every result is row-major until the plan says otherwise.
 */
#include "ir/lang.h"

typedef struct Layout {
	Ctx *cx;
	const Type *res;
	const Type **t;          /* operands that are tensors */
	int n;
} Layout;

/* The stride of an operand along the result's dimension d; NULL: it is the same everywhere. */
static const Sym *
along(const Layout *l, const Type *t, int d)
{
	int k = d - (l->res->rank - t->rank);

	if (k < 0 || (sym_is(t->dim[k], 1) && !sym_is(l->res->dim[d], 1)))
		return NULL;
	const Sym *s = type_stride(l->cx, t, k);
	return sym_is(s, 0) ? NULL : s;
}

/* Lies dimension a inside b?  1: no, they are to be swapped; -1: yes; 0: no operand tells. */
static int
compare(const Layout *l, int a, int b)
{
	for (int k = 0; k < l->n; k++) {
		const Sym *x = along(l, l->t[k], a), *y = along(l, l->t[k], b);
		if (x == NULL || y == NULL)
			continue;
		if (!sym_eq(x, y) && sym_le(l->cx, x, y))
			return -1;
		if (!sym_eq(x, y) && sym_le(l->cx, y, x))
			return 1;
		if (!sym_eq(l->res->dim[a], l->res->dim[b]) && sym_le(l->cx, l->res->dim[b], l->res->dim[a]))
			return 1;
	}
	return 0;
}

/* Dimensions from the innermost out. */
static void
order(const Layout *l, int *perm)
{
	for (int d = 0; d < l->res->rank; d++)
		perm[d] = l->res->rank - 1 - d;
	for (int k = 1; k < l->res->rank; k++)
		for (int at = k, to = k - 1; to >= 0; to--) {
			int c = compare(l, perm[to], perm[at]), was = perm[to];
			if (c < 0)
				break;
			if (c == 0)
				continue;
			perm[to] = perm[at];
			perm[at] = was;
			at = to;
		}
}

static const Type *
laidout(const Layout *l)
{
	const Sym *stride[MaxRank], *step = sym_const(l->cx, 1);
	const Type *t = l->res;
	int perm[MaxRank];

	order(l, perm);
	for (int k = 0; k < t->rank; k++) {
		stride[perm[k]] = step;
		step = sym_mul(l->cx, step, t->dim[perm[k]]);
	}
	return type_strided(l->cx, t->dt, t->rank, t->dim, stride);
}

static void
operand(Layout *l, const Arg *a, bool *apart)
{
	const Type *t = a->kind == ArgVal ? a->use->val->type : NULL;

	if (t == NULL || t->kind != TyTensor || t->rank == 0)
		return;
	*apart |= t->stride != NULL;
	l->t[l->n++] = t;
}

/* `memory_format=contiguous_format`. */
static bool
rowmajor(const OpDef *op, const Arg *arg)
{
	for (int k = 0; k < op->nparam; k++)
		if (op->param[k].type == AtMemfmt && arg[k].kind == ArgMemfmt && arg[k].mf == MemContiguous)
			return true;
	return false;
}

const Type *
layout_elementwise(Graph *g, const OpDef *op, const Arg *arg, const Type *res)
{
	Layout l = {.cx = g->cx, .res = res, .t = NEWN(g->arena, const Type *, op->nparam + 1)};
	bool apart = false;

	for (int k = 0; k < op->nparam; k++)
		operand(&l, &arg[k], &apart);
	if (!apart || res->kind != TyTensor || res->rank < 2 || res->stride || rowmajor(op, arg))
		return res;
	return laidout(&l);
}

const Type *
layout_like(Ctx *cx, const Type *t)
{
	return laidout(&(Layout){.cx = cx, .res = t, .t = &t, .n = 1});
}
