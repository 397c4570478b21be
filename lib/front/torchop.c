/* torchop.c - Python's operators on tensors, sizes and numbers.
 *
 * On tensors they are aten operators; a number on the left is reflected (2 - x is
 * rsub).  On sizes and numbers they are computed while reading; a node is made too,
 * so that a dump shows what the user's text shows.
 */
#include "front/text.h"

typedef VEC(Tv) Tvs;

/* ---- sizes ------------------------------------------------------------------------------------- */

static const Sym *
tosym(Fn *f, const Tv *v)
{
	switch (v->arg.kind) {
	case ArgInt:   return v->arg.i;
	case ArgFloat: return sym_float(f->r->cx, v->arg.f);
	default:       return sym_const(f->r->cx, v->arg.b);
	}
}

/* Operators on sizes and numbers; also the node that a dump shows for it. */
static const struct Opname {
	const char *op, *name, *aten, *reflected;
} opnames[] = {
	{"+", "add", "add", "add"}, {"-", "sub", "sub", NULL}, {"*", "mul", "mul", "mul"}, {"/", "truediv", "div", NULL},
	{"//", "floordiv", "floor_divide", NULL}, {"%", "mod", "remainder", NULL}, {"**", "pow", "pow", NULL},
	{"@", "matmul", "matmul", NULL}, {"<<", "lshift", "bitwise_left_shift", NULL},
	{">>", "rshift", "bitwise_right_shift", NULL}, {"&", "and_", "bitwise_and", "bitwise_and"},
	{"|", "or_", "bitwise_or", "bitwise_or"}, {"^", "xor", "bitwise_xor", "bitwise_xor"},
	{"==", "eq", "eq", "eq"}, {"!=", "ne", "ne", "ne"}, {"<", "lt", "lt", "gt"}, {">", "gt", "gt", "lt"},
	{"<=", "le", "le", "ge"}, {">=", "ge", "ge", "le"},
};

static const struct Opname *
opname(const char *op)
{
	for (int i = 0; i < COUNT(opnames); i++)
		if (strcmp(opnames[i].op, op) == 0 || strcmp(opnames[i].name, op) == 0)
			return &opnames[i];
	return NULL;
}

static bool
iszero(const Tv *v)
{
	int64_t k;

	return v->arg.kind == ArgFloat ? v->arg.f == 0
	       : v->arg.kind == ArgBool ? !v->arg.b : sym_isconst(v->arg.i, &k) && k == 0;
}

static const Sym *
symop(Fn *f, const char *op, const Tv *a, const Tv *b)
{
	Ctx *cx = f->r->cx;
	const Sym *x = tosym(f, a), *y = tosym(f, b), *arg[2] = {x, y};

	if (strchr("/%", *op) && iszero(b)) {
		tv_fail(f, "division by zero");
		return NULL;
	}
	if (strcmp(op, "&") == 0 || strcmp(op, "|") == 0) {
		if (x->lo < 0 || x->hi > 1 || y->lo < 0 || y->hi > 1) {
			tv_fail(f, "'%s' of sizes is not supported", op);
			return NULL;
		}
		return sym_fn(cx, *op == '&' ? SymFnAnd : SymFnOr, arg, 2, NULL);
	}
	if (strcmp(op, "<<") == 0 || strcmp(op, ">>") == 0)
		return sym_fn(cx, *op == '<' ? SymFnShl : SymFnShr, arg, 2, NULL);
	if (strcmp(op, "@") == 0 || strcmp(op, "^") == 0) {
		tv_fail(f, "'%s' of sizes is not supported", op);
		return NULL;
	}
	return sym_binary(cx, op, x, y);
}

/* The node that a dump shows for an operator on sizes. */
static void
symnode(Fn *f, const char *opname, const Tv *const *v, int n, Tv *out)
{
	const OpDef *op = op_find(opname);
	Arg arg[2];
	Node *node;

	if (!op || op->nparam != n || out->arg.kind != ArgInt || f->builtin || out->arg.i->kind == SymConst)
		return;
	for (int i = 0; i < n; i++)
		arg[i] = v[i]->arg;
	if (!(node = node_new(f->g, op, arg, n, 1, NULL, f->loc)))
		return;
	node->out[0].type = type_sym(f->r->cx, out->arg.i);
	out->node = node;
}

static bool
concat(Fn *f, const Tv *a, const Tv *b, Tv *out)
{
	Tvs v = {0};

	for (int i = 0; i < a->n; i++)
		vec_push(f->r->a, &v, a->v[i]);
	for (int i = 0; i < b->n; i++)
		vec_push(f->r->a, &v, b->v[i]);
	*out = (Tv){.kind = TvList, .tuple = a->tuple, .v = v.v, .n = v.n};
	return true;
}

bool
tv_binary(Fn *f, const char *op, const Tv *a, const Tv *b, Tv *out)
{
	const struct Opname *o = opname(op);
	Tv v[2] = {*a, *b}, t;
	const Sym *s;

	if (tv_poison(a) || tv_poison(b)) {
		*out = (Tv){.kind = TvPoison};
		return true;
	}
	if (a->kind == TvList && b->kind == TvList && strcmp(o->op, "+") == 0)
		return concat(f, a, b, out);
	if (tv_isnum(a) && tv_isnum(b)) {
		if (!(s = symop(f, o->op, a, b)))
			return false;
		*out = tv_sym(s);
		if (strchr("=!<>", *op) && op[0] != op[1] && s->kind == SymConst)
			out->arg = arg_bool(s->k != 0);
		symnode(f, arena_printf(f->r->a, "operator.%s", o->name), (const Tv *const[]){a, b}, 2, out);
		return true;
	}
	if (!tv_tensor(a) && !tv_tensor(b))
		return tv_fail(f, "operator '%s' is not supported here", o->op);
	if (tv_tensor(a) || !tv_isnum(a))
		return tv_aten(f, out, o->aten, 2, v);
	/* number OP tensor */
	t = v[0], v[0] = v[1], v[1] = t;
	if (o->reflected)
		return tv_aten(f, out, o->reflected, 2, v);
	if (strcmp(o->op, "-") == 0)
		return tv_aten(f, out, "rsub", 2, v);
	if (strcmp(o->op, "/") == 0) {
		if (!tv_aten(f, &v[0], "reciprocal", 1, v))
			return false;
		if (tv_poison(&v[0])) {
			*out = v[0];
			return true;
		}
		return tv_aten(f, out, "mul", 2, v);
	}
	t = v[0], v[0] = v[1], v[1] = t;
	return tv_aten(f, out, o->aten, 2, v);
}

bool
tv_unary(Fn *f, const char *op, const Tv *a, Tv *out)
{
	const Sym *s;

	if (tv_poison(a)) {
		*out = (Tv){.kind = TvPoison};
		return true;
	}
	if (tv_tensor(a)) {
		if (*op == '+') {
			*out = *a;
			return true;
		}
		return tv_aten(f, out, *op == '-' ? "neg" : *op == '~' ? "bitwise_not" : "logical_not", 1, a);
	}
	if (!tv_isnum(a))
		return tv_fail(f, "operator '%s' is not supported here", op);
	if (*op == '+') {
		*out = *a;
	} else if (*op == '-') {
		*out = tv_sym(sym_neg(f->r->cx, tosym(f, a)));
		symnode(f, "operator.neg", &a, 1, out);
	} else {
		s = tosym(f, a);
		*out = tv_sym(sym_fn(f->r->cx, SymFnNot, &s, 1, NULL));
		symnode(f, "torch.sym_not", &a, 1, out);
	}
	return true;
}

bool
tv_inplace(Fn *f, const char *op, const Tv *a, const Tv *b)
{
	char plain[4] = {0};
	const struct Opname *o;
	Tv v[2] = {*a, *b}, out;

	memcpy(plain, op, strlen(op) - 1 < 3 ? strlen(op) - 1 : 3);
	o = opname(plain);
	if (tv_poison(a) || tv_poison(b))
		return true;
	if (!tv_tensor(a) || !o || strcmp(plain, "@") == 0)
		return tv_fail(f, "'%s' is only supported on tensors", op);
	return tv_aten(f, &out, arena_printf(f->r->a, "%s_", o->aten), 2, v);
}

const char *
tv_opsymbol(const char *name)
{
	const struct Opname *o = opname(name);

	return o ? o->op : NULL;
}
