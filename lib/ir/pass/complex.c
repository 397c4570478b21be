/* complex.c - replace every complex value by two real ones.
 *
 * Kernels know no complex numbers.  Each complex value has a pair, its real and its
 * imaginary part; a node with a complex operand or result becomes nodes over the parts:
 * operators that only move or add up elements once for each part, all others by the rule
 * fxcc.complex_NAME of op/complex.op.  An input keeps its memory, read as a real tensor
 * with a last dimension of two; so does a result.
 */
#include "ir/pass/pass.h"

typedef struct Pair { Val *re, *im; } Pair;

typedef struct Cplx {
	Graph *g;
	Ctx *cx;
	Arena *a;
	Map pair;               /* Val * to Pair * */
	VEC(Node *) dead;
} Cplx;

/* The same operator on each part.  A real operand beside complex ones is 0 in the second. */
static const char *const parts[] = {
	"view", "_unsafe_view", "permute", "expand", "squeeze", "unsqueeze", "select", "slice",
	"narrow", "diagonal", "as_strided", "unfold", "alias", "detach", "lift_fresh",
	"resolve_conj", "resolve_neg", "clone", "lift_fresh_copy", "cat", "flip", "repeat",
	"index_select", "gather", "_unsafe_index", "_unsafe_index_put", "index_copy", "index_add",
	"scatter", "scatter_add", "slice_scatter", "select_scatter", "diagonal_scatter",
	"as_strided_scatter", "unfold_scatter", "embedding", "where", "neg", "sum", "mean",
	"cumsum", "tril", "triu", "copy", "masked_fill", "constant_pad_nd", "resize", "positive",
};

static bool
iscomplex(const Val *v)
{
	return v->type && v->type->kind == TyTensor && dtypeinfo[v->type->dt].kind == KindComplex;
}

static enum dtype
realof(enum dtype d)
{
	return d == DtC64 ? DtF32 : d == DtC128 ? DtF64 : d;
}

static void
look(void *arg, Use *u)
{
	*(bool *)arg |= iscomplex(u->val);
}

static bool
concerned(Node *n)
{
	bool yes = false;

	node_operands(n, look, &yes);
	for (int k = 0; k < n->nout; k++)
		yes |= iscomplex(&n->out[k]);
	return yes;
}

static const Pair *
pairof(Cplx *c, Val *v)
{
	return map_get(&c->pair, v);
}

static void
setpair(Cplx *c, Val *v, Val *re, Val *im)
{
	Pair *p = NEW(c->a, Pair);

	*p = (Pair){ re, im };
	map_put(c->a, &c->pair, v, p);
}

/* ---- building ------------------------------------------------------------------ */

static Node *
build(Cplx *c, const OpDef *op, const Arg *arg, Node *before)
{
	Node *n = node_new(c->g, op, arg, op->nparam, op->nret, before, before->loc);

	n->backward = before->backward;
	return node_infer(n) ? n : NULL;
}

static Val *
call(Cplx *c, const char *name, const Arg *pos, int npos, Node *before)
{
	const OpDef *op = op_find(name);
	Arg arg[32];
	Node *n;

	if (op == NULL || op->nparam > COUNT(arg))
		bug(c->cx, before->loc, "%s is not in the tables", name);
	if (!op_bind(c->cx, before->loc, op, pos, npos, NULL, NULL, 0, arg))
		return NULL;
	n = build(c, op, arg, before);
	return n ? &n->out[0] : NULL;
}

/* An argument with one part (0, 1) in the place of each complex value and number. */
static Arg
part(Cplx *c, const Arg *x, int which, Node *before)
{
	Arg r = *x;
	const Pair *p;

	switch (x->kind) {
	case ArgVal:
		p = pairof(c, x->use->val);
		if (p)
			return arg_val(which ? p->im : p->re);
		if (which && x->use->val->type && dt_float(x->use->val->type->dt)) {
			Arg a = arg_val(x->use->val);
			Val *zero = call(c, "aten.zeros_like.default", &a, 1, before);
			return zero ? arg_val(zero) : arg_none();
		}
		return arg_val(x->use->val);
	case ArgDtype:
		return arg_dtype(realof(x->dt));
	case ArgComplex:
		return x->list.v[which];
	case ArgList:
		r.list.v = x->list.n ? NEWN(c->a, Arg, x->list.n) : NULL;
		for (int k = 0; k < x->list.n; k++)
			r.list.v[k] = part(c, &x->list.v[k], which, before);
		return r;
	default:
		return r;
	}
}

/* ---- operators -------------------------------------------------------------------- */

/* "mul" of "aten.mul.Tensor", "unfold_scatter" of "fxcc.unfold_scatter". */
static const char *
packet(Cplx *c, const OpDef *op)
{
	const char *s = strchr(op->name, '.'), *end;

	s = s ? s + 1 : op->name;
	end = strchr(s, '.');
	return arena_printf(c->a, "%.*s", (int)(end ? end - s : (ptrdiff_t)strlen(s)), s);
}

static bool
byparts(Cplx *c, Node *n)
{
	const char *name = packet(c, n->op);

	for (int k = 0; k < COUNT(parts); k++)
		if (strcmp(parts[k], name) == 0)
			return n->nout == 1 && iscomplex(&n->out[0]);
	return false;
}

static bool
apply(Cplx *c, Node *n)
{
	Arg *arg = NEWN(c->a, Arg, n->narg + 1);
	Val *v[2];

	for (int w = 0; w < 2; w++) {
		for (int k = 0; k < n->narg; k++) {
			arg[k] = part(c, &n->arg[k], w, n);
			/* A number that is written to the elements: real. */
			if (w && n->op->param[k].type == AtScalar && arg[k].kind != ArgNone &&
			    n->arg[k].kind != ArgComplex)
				arg[k] = arg_float(0);
		}
		Node *m = build(c, n->op, arg, n);
		if (m == NULL)
			return false;
		v[w] = &m->out[0];
	}
	setpair(c, &n->out[0], v[0], v[1]);
	return true;
}

/* The argument of n for parameter `name` of a rule. */
static Arg
ruled(Cplx *c, Node *n, const char *name)
{
	size_t len = strlen(name);
	bool im = len > 3 && strcmp(name + len - 3, "_im") == 0;
	const char *of = im ? arena_printf(c->a, "%.*s", (int)(len - 3), name) : name;
	const Arg *a = node_arg(n, of);

	if (a == NULL)
		return arg_none();
	if (im && a->kind != ArgComplex && !(a->kind == ArgVal && pairof(c, a->use->val)))
		return arg_none();
	return part(c, a, im, n);
}

static bool
byrule(Cplx *c, Node *n)
{
	const OpDef *op = op_find(arena_printf(c->a, "fxcc.complex_%s", packet(c, n->op)));
	Arg *arg;
	Node *m;

	if (op == NULL || n->nout != 1) {
		error(c->cx, n->loc, "%s of complex tensors is not supported", n->op->name);
		return false;
	}
	arg = NEWN(c->a, Arg, op->nparam + 1);
	for (int k = 0; k < op->nparam; k++)
		arg[k] = ruled(c, n, op->param[k].name);
	if ((m = build(c, op, arg, n)) == NULL)
		return false;
	if (iscomplex(&n->out[0]))
		setpair(c, &n->out[0], &m->out[0], &m->out[1]);
	else
		val_replace(&n->out[0], &m->out[0]);
	return true;
}

/* ---- the ends of the graph ------------------------------------------------------------ */

/* The memory of a complex tensor as a real one. */
static const Type *
asreal(Cplx *c, const Type *t)
{
	const Sym *dim[MaxRank], *stride[MaxRank], *two = sym_const(c->cx, 2);

	for (int d = 0; d < t->rank; d++) {
		dim[d] = t->dim[d];
		stride[d] = t->stride ? sym_mul(c->cx, t->stride[d], two) : NULL;
	}
	dim[t->rank] = two;
	stride[t->rank] = sym_const(c->cx, 1);
	return t->stride ? type_strided(c->cx, realof(t->dt), t->rank + 1, dim, stride)
	                 : type_tensor(c->cx, realof(t->dt), t->rank + 1, dim);
}

static bool
input(Cplx *c, Node *n, Node *before)
{
	Val *v = &n->out[0], *half[2];
	Module *m = c->g->mod;
	const Type *t = v->type;

	if (t->rank + 1 > MaxRank) {
		error(c->cx, n->loc, "%s: a complex tensor of rank %d is not supported", n->name, t->rank);
		return false;
	}
	for (int k = 0; k < m->in.n; k++) {
		Weight *w = m->in.v[k].val == v ? m->in.v[k].weight : NULL;
		if (w && dtypeinfo[w->type->dt].kind == KindComplex)
			w->type = asreal(c, w->type);
	}
	v->type = asreal(c, t);
	n->annot = NULL;
	for (int w = 0; w < 2; w++) {
		Arg arg[3] = { arg_val(v), arg_int(c->cx, -1), arg_int(c->cx, w) };
		half[w] = call(c, "aten.select.int", arg, 3, before);
		if (half[w] == NULL)
			return false;
	}
	setpair(c, v, half[0], half[1]);
	return true;
}

static bool
outputs(Cplx *c, Node *end)
{
	Arg list = end->arg[0], stack[2];
	Arg *v = NEWN(c->a, Arg, list.list.n + 1);

	for (int k = 0; k < list.list.n; k++) {
		const Arg *a = &list.list.v[k];
		const Pair *p = a->kind == ArgVal ? map_get(&c->pair, a->use->val) : NULL;
		v[k] = *a;
		if (p == NULL || a->use->val->def->op->flags & OP(Leaf))
			continue;
		Arg half[2] = { arg_val(p->re), arg_val(p->im) };
		stack[0] = arg_list(c->a, half, 2);
		stack[1] = arg_int(c->cx, -1);
		Val *r = call(c, "aten.stack.default", stack, 2, end);
		if (r == NULL)
			return false;
		v[k] = arg_val(r);
	}
	Arg all = arg_list(c->a, v, list.list.n);
	node_setargs(end, &all, 1);
	return true;
}

static bool
node(Cplx *c, Node *n)
{
	if (!(byparts(c, n) ? apply(c, n) : byrule(c, n)))
		return false;
	vec_push(c->a, &c->dead, n);
	return true;
}

static bool
isplaceholder(const Node *n)
{
	return strcmp(n->op->name, "placeholder") == 0;
}

/* Inputs first: their types change, so who reads them is found before. */
static bool
rewrite(Cplx *c)
{
	VEC(Node *) todo = {0}, in = {0};
	Node *first = c->g->first;

	FOREACH_NODE(c->g, n) {
		if (n == c->g->last || !concerned(n))
			continue;
		if (n->op->flags & OP(Leaf))
			vec_push(c->a, &in, n);
		else
			vec_push(c->a, &todo, n);
	}
	while (first && isplaceholder(first))
		first = first->next;
	for (int k = 0; k < in.n; k++)
		if (!input(c, in.v[k], isplaceholder(in.v[k]) ? first : in.v[k]->next))
			return false;
	for (int k = 0; k < todo.n; k++)
		if (!node(c, todo.v[k]))
			return false;
	if (!outputs(c, c->g->last))
		return false;
	for (int k = c->dead.n - 1; k >= 0; k--)
		node_delete(c->dead.v[k]);
	return true;
}

bool
graph_iscomplex(Graph *g)
{
	FOREACH_NODE(g, n)
		if (concerned(n))
			return true;
	return false;
}

/* changed: there were complex values, and what replaced them wants expanding. */
bool
complex_to_real(Graph *g, bool *changed)
{
	Arena *a = arena_new();
	Cplx c = {.g = g, .cx = g->cx, .a = a};
	bool ok = true;

	*changed = graph_iscomplex(g);
	if (*changed)
		ok = rewrite(&c);
	arena_free(a);
	return ok;
}
