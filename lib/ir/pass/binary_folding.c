/* binary_folding.c - sums and products with constants behind a product go into its weights.
 *
 *     (conv(x, w, b)*s + t)  ->  conv(x, w*s, b*s + t)
 *
 * where w, b, s and t are known when compiling (constfold evaluates the new weights) and s and
 * t have one element, or one for each channel of the result.  So batch norm in eval mode is
 * part of the convolution before it.  The arithmetic on weights is in f32 for halves, too.
 *
 * A convolution of halves is left alone unless -ffast-math is given: the folded weight would be
 * rounded once more, by more than what the result is rounded by.
 */
#include <math.h>
#include "ir/lang.h"
#include "ir/pass/pass.h"

typedef struct Folding {
	Graph *g;
	Arena *a;
	bool *known; uint32_t nknown;      /* by id, of values that were there at first */
} Folding;

/* A product whose weight and bias are known, and the dimension of the result that weights index. */
typedef struct Anchor { Node *n; int w, b, axis; bool conv; } Anchor;

typedef struct Ask { const Folding *f; bool yes; } Ask;

static void operand(void *, Use *);

/* What this pass made of known values is known. */
static bool
known(const Folding *f, const Val *v)
{
	Ask all = {f, true};

	if (v->id < f->nknown)
		return f->known[v->id];
	node_operands(v->def, operand, &all);
	return all.yes;
}

static void
operand(void *arg, Use *u)
{
	Ask *q = arg;

	q->yes = q->yes && known(q->f, u->val);
}

static bool
isone(const Arg *a)
{
	int64_t k;

	return (a->kind == ArgInt && sym_isconst(a->i, &k) && k == 1) || (a->kind == ArgFloat && a->f == 1);
}

static bool
small(const Folding *f, const Val *w)
{
	int64_t n;

	return sym_isconst(type_numel(f->g->cx, w->type), &n) && n <= FoldMost;
}

static bool
anchor(const Folding *f, const Val *v, Anchor *a)
{
	static const struct { const char *op; int x, w, b, axis; bool conv; } kind[] = {
		{"aten.convolution.default", 0, 1, 2, 1, true}, {"aten.addmm.default", 1, 2, 0, 1, false},
		{"aten.mm.default", 0, 1, -1, 1, false},
	};
	Node *n = v->def;

	if (node_nuse(v) != 1 || (v->type->dt != DtF32 && v->type->dt != DtF64 && !f->g->mod->fastmath))
		return false;
	for (int k = 0; k < COUNT(kind); k++) {
		if (strcmp(kind[k].op, n->op->name) != 0)
			continue;
		*a = (Anchor){n, kind[k].w, kind[k].b, kind[k].axis, kind[k].conv};
		const Val *x = arg_tensor(n, kind[k].x), *w = arg_tensor(n, a->w), *b = a->b < 0 ? NULL : arg_tensor(n, a->b);
		if (strcmp(n->op->name, "aten.addmm.default") == 0 && (b->type->rank != 1 || !isone(node_arg(n, "beta")) || !isone(node_arg(n, "alpha"))))
			return false;
		return known(f, w) && (!b || known(f, b)) && !known(f, x) && small(f, w) && v->type->rank > a->axis;
	}
	return false;
}

/* One element, or one for each index of the axis. */
static bool
perchannel(const Folding *f, const Val *y, const Type *t, int axis)
{
	if (y->type->kind != TyTensor || y->type->rank > t->rank || !dt_float(y->type->dt))
		return false;
	for (int d = 0; d < y->type->rank; d++) {
		int at = d + t->rank - y->type->rank;
		int64_t n;
		if (sym_isconst(y->type->dim[d], &n) && n == 1)
			continue;
		if (at != axis || !sym_eq(y->type->dim[d], t->dim[axis]))
			return false;
	}
	return known(f, y);
}

/* The other operand as a value of the language; LNone: it cannot be folded. */
static LVal
constant(const Folding *f, const Arg *a, const Type *t, int axis)
{
	if (a->kind == ArgVal)
		return perchannel(f, a->use->val, t, axis) ? (LVal){.kind = LTensor, .t = a->use->val} : (LVal){.kind = LNone};
	return a->kind == ArgInt || a->kind == ArgFloat ? lang_frarg(f->g->cx, a) : (LVal){.kind = LNone};
}

/* Weight and bias of the result, over: w, b (may be None), y, n channels, groups, transposed (None: a matrix). */
static const struct rule { const char *op; bool scales, turns; const char *w, *b; } rules[] = {
	{"aten.mul", true, true, "reweighted(w, per_weight(per_channel(y, n, w.dtype.acc), w, groups, transposed), 'mul')",
	 "None if b is None else reweighted(b, per_channel(y, n, w.dtype.acc), 'mul')"},
	{"aten.div", true, false, "reweighted(w, per_weight(per_channel(y, n, w.dtype.acc), w, groups, transposed), 'div')",
	 "None if b is None else reweighted(b, per_channel(y, n, w.dtype.acc), 'div')"},
	{"aten.add", false, true, "w", "reweighted(zeros([n], dtype=w.dtype) if b is None else b, per_channel(y, n, w.dtype.acc), 'add')"},
	{"aten.sub", false, false, "w", "reweighted(zeros([n], dtype=w.dtype) if b is None else b, per_channel(y, n, w.dtype.acc), 'sub')"},
};

static const struct rule *
rule_of(const OpDef *op)
{
	for (int k = 0; k < COUNT(rules); k++) {
		size_t n = strlen(rules[k].op);
		if (strncmp(op->name, rules[k].op, n) == 0 && (strcmp(op->name + n, ".Tensor") == 0 || strcmp(op->name + n, ".Scalar") == 0))
			return &rules[k];
	}
	return NULL;
}

/* The anchor again, with other weights. */
static bool
again(Folding *f, Node *n, const Anchor *a, const struct rule *r, LVal y)
{
	Node *of = a->n, *prev = n->prev;
	Arg *arg = NEWN(f->a, Arg, of->narg);
	LVal w = {.kind = LTensor, .t = arg_tensor(of, a->w)}, b = {.kind = LNone};
	Lang L;

	memcpy(arg, of->arg, sizeof *arg * (size_t)of->narg);
	lang_init(&L, f->g->cx, NULL, NULL, n->loc, LangTensor);
	L.g = f->g;
	L.before = n;
	if (a->b >= 0 && arg_tensor(of, a->b))
		b = (LVal){.kind = LTensor, .t = arg_tensor(of, a->b)};
	lang_set(&L, "y", y);
	lang_set(&L, "w", w);
	lang_set(&L, "b", b);
	lang_set(&L, "n", lang_sym(n->out[0].type->dim[a->axis]));
	lang_set(&L, "groups", a->conv ? lang_frarg(f->g->cx, node_arg(of, "groups")) : (LVal){.kind = LNone});
	lang_set(&L, "transposed", a->conv ? lang_frarg(f->g->cx, node_arg(of, "transposed")) : (LVal){.kind = LNone});
	if (!lang_run(&L, "weight", r->w, FormExpr, &w) || !lang_run(&L, "bias", r->b, FormExpr, &b))
		return false;
	arg[a->w] = arg_val(w.t);
	if (a->b >= 0)
		arg[a->b] = b.kind == LTensor ? arg_val(b.t) : arg_none();
	Node *made = node_new(f->g, of->op, arg, of->narg, 1, n, of->loc);
	node_inherit(made, of);
	if (!node_infer(made) || !decompose_between(prev ? prev->next : f->g->first, made))
		return false;
	val_replace(&n->out[0], &made->out[0]);
	Str name = n->out[0].name;
	node_delete(n);
	node_delete(of);
	val_rename(f->g, &made->out[0], name);
	return true;
}

static bool
fold(Folding *f, Node *n)
{
	const struct rule *r = rule_of(n->op);
	const Arg *alpha = r ? node_arg(n, "alpha") : NULL;
	Anchor a;

	if (r == NULL || n->out[0].type == NULL || (alpha && !isone(alpha)))
		return true;
	for (int side = 0; side < 1 + r->turns; side++) {
		const Val *v = arg_tensor(n, side);
		if (v == NULL || !anchor(f, v, &a) || !type_same(v->type, n->out[0].type))
			continue;
		LVal y = constant(f, &n->arg[1 - side], v->type, a.axis);
		if (y.kind != LNone && (r->scales || a.b >= 0))
			return again(f, n, &a, r, y);
	}
	return true;
}

bool
pass_binary_folding(Graph *g)
{
	bool ok = pass_dce(g);             /* so that uses are uses */
	Folding f = {.g = g, .a = arena_new(), .nknown = g->nval};

	f.known = values_known(g, f.a);
	for (Node *n = g->first, *next; n && ok; n = next) {
		next = n->next;
		if (!(n->op->flags & OP(Leaf)) && n->nout == 1)
			ok = fold(&f, n);
	}
	arena_free(f.a);
	return ok;
}
