/* langop.c - tensor mode of the table language: operators make nodes.
 *
 * A call binds its arguments to the schema, infers the types of the results and
 * puts a node before L->before.  The nodes carry the place of the node that is
 * being expanded, so that messages point at the user's program.
 */
#include "ir/lang.h"

/* First operator whose name is not less than s. */
static int
lowerbound(const char *s)
{
	int lo = 0, hi = noptab;

	while (lo < hi) {
		int mid = (lo + hi) / 2;
		if (strcmp(optab[mid].name, s) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const OpDef *
bare(const char *name)
{
	int k = lowerbound(name);

	return k < noptab && strcmp(optab[k].name, name) == 0 ? &optab[k] : NULL;
}

bool
lang_hasop(const char *packet)
{
	size_t n = strlen(packet);
	char dotted[128];

	if (bare(packet))
		return true;
	if (n + 2 > sizeof dotted)
		return false;
	memcpy(dotted, packet, n);
	dotted[n] = '.';
	dotted[n + 1] = '\0';
	int k = lowerbound(dotted);
	return k < noptab && strncmp(optab[k].name, dotted, n + 1) == 0;
}

Arg
lang_toarg(Lang *L, const Ast *at, LVal v)
{
	Arg *list;

	switch (v.kind) {
	case LNone:   return arg_none();
	case LBool:   return arg_bool(v.b);
	case LInt:    return arg_sym(v.i);
	case LFloat:  return arg_float(v.f);
	case LStr:    return arg_str(v.s);
	case LDtype:  return arg_dtype(v.dt);
	case LTensor: return arg_val(v.t);
	case LArg:    return *v.arg;
	case LSaved:  return arg_val(lang_unsaved(L, (int)v.i->k).t);
	case LRange:  v = lang_iter(L, at, v); /* fallthrough */
	case LList:
		list = v.list.n ? NEWN(L->a, Arg, v.list.n) : NULL;
		for (int k = 0; k < v.list.n; k++)
			list[k] = lang_toarg(L, at, v.list.v[k]);
		return arg_list(L->a, list, v.list.n);
	default:
		lang_fail(L, at, "%s cannot be an argument", lang_str(L->cx, v));
	}
}

static LVal
results(Lang *L, Node *n)
{
	LVal r;

	if (n->nout == 0)
		return (LVal){.kind = LNone};
	if (n->nout == 1 && !n->op->ret[0].list)
		return (LVal){.kind = LTensor, .t = &n->out[0]};
	r = lang_list(L, n->nout);
	for (int k = 0; k < n->nout; k++)
		r.list.v[k] = n->out[k].type && n->out[k].type->kind == TyNone
		            ? (LVal){.kind = LNone} : (LVal){.kind = LTensor, .t = &n->out[k]};
	return r;
}

static const char *
argtypes(Lang *L, const LVal *arg, int n, const LKey *kw, int nkw)
{
	Text t = {.arena = L->a};

	text_add(&t, "(");
	for (int k = 0; k < n; k++)
		text_add(&t, "%s%s", k ? ", " : "", lang_str(L->cx, arg[k]));
	for (int k = 0; k < nkw; k++)
		text_add(&t, "%s%s=%s", k || n ? ", " : "", kw[k].name, lang_str(L->cx, kw[k].val));
	text_add(&t, ")");
	return t.s;
}

/* ---- undefined gradients ------------------------------------------------------- */

static bool
undefined(LVal v)
{
	for (int k = 0; v.kind == LList && k < v.list.n; k++)
		if (undefined(v.list.v[k]))
			return true;
	return v.kind == LNone && v.t;
}

static LVal
defined(Lang *L, LVal v)
{
	if (v.kind != LList)
		return lang_defined(L, v);
	LVal r = lang_list(L, v.list.n);
	for (int k = 0; k < v.list.n; k++)
		r.list.v[k] = defined(L, v.list.v[k]);
	return r;
}

static bool
takesnone(const Param *p)
{
	return p->list ? p->elemopt : p->opt;
}

/* An undefined gradient stays None for a parameter that may be None, else it is zeros.  op NULL:
 * no overload takes a None there. */
static void
define(Lang *L, const OpDef *op, LVal *arg, int n, LKey *kw, int nkw)
{
	for (int k = 0; k < n; k++)
		if (undefined(arg[k]) && !(op && k < op->nparam && takesnone(&op->param[k])))
			arg[k] = defined(L, arg[k]);
	for (int k = 0; k < nkw && !op; k++)
		kw[k].val = defined(L, kw[k].val);
}

static bool
anyundefined(const LVal *arg, int n, const LKey *kw, int nkw)
{
	bool any = false;

	for (int k = 0; k < n; k++)
		any |= undefined(arg[k]);
	for (int k = 0; k < nkw; k++)
		any |= undefined(kw[k].val);
	return any;
}

/* ---- calls ----------------------------------------------------------------------- */

static void
toargs(Lang *L, const Ast *at, const LVal *arg, int n, Arg *pos, const LKey *kw, int nkw, Arg *kwv)
{
	for (int k = 0; k < n; k++)
		pos[k] = lang_toarg(L, at, arg[k]);
	for (int k = 0; k < nkw; k++)
		kwv[k] = lang_toarg(L, at, kw[k].val);
}

/* What PyTorch calls for x*2: in Python, and in C++ where a number stands for a tensor, mul.Tensor;
 * elsewhere in C++ mul.Scalar. */
static const OpDef *
tensorform(const OpDef *op)
{
	static const char *const packet[] = {"aten.add", "aten.sub", "aten.mul", "aten.div"};
	char name[32];

	for (int k = 0; op && k < COUNT(packet); k++) {
		size_t n = strlen(packet[k]);
		if (strncmp(op->name, packet[k], n) == 0 && strcmp(op->name + n, ".Scalar") == 0) {
			snprintf(name, sizeof name, "%s.Tensor", packet[k]);
			return bare(name);
		}
	}
	return op;
}

LVal
lang_opcall(Lang *L, const Ast *at, const char *packet, const OpDef *op, LVal *arg, int n, LKey *kw, int nkw)
{
	Arg *pos = n ? NEWN(L->a, Arg, n) : NULL, *kwv = nkw ? NEWN(L->a, Arg, nkw) : NULL;
	Str *key = nkw ? NEWN(L->a, Str, nkw) : NULL;
	const Type **type;
	int ntype;

	for (int k = 0; k < nkw; k++)
		key[k] = kw[k].name;
	toargs(L, at, arg, n, pos, kw, nkw, kwv);
	bool exact = op || (op = bare(packet)) != NULL;
	if (!exact)
		op = op_overload(L->cx, packet, pos, n, key, kwv, nkw);
	if (anyundefined(arg, n, kw, nkw)) {
		define(L, op, arg, n, kw, nkw);
		toargs(L, at, arg, n, pos, kw, nkw, kwv);
		if (!exact)
			op = op_overload(L->cx, packet, pos, n, key, kwv, nkw);
	}
	if (!exact && ((L->what && strcmp(L->what, "torch") == 0) || (n == 2 && (arg[0].wrapped || arg[1].wrapped))))
		op = tensorform(op);
	if (op == NULL)
		lang_fail(L, at, "no overload of %s takes %s", packet, argtypes(L, arg, n, kw, nkw));
	Arg *bound = op->nparam ? NEWN(L->a, Arg, op->nparam) : NULL;
	if (!op_bind(L->cx, L->loc, op, pos, n, key, kwv, nkw, bound))
		longjmp(*L->fail, 1);
	if (!infer_types(L->g, L->loc, op, bound, &type, &ntype)) {
		if (L->op)
			note(L->cx, NOLOC, "%s:%d: in the '%s' of %s", L->op->file, L->op->line,
			     L->what, L->op->name);
		longjmp(*L->fail, 1);
	}
	/* A size needs no node, unless it is read from data when running. */
	if (ntype == 1 && type[0]->kind == TySym && !(op->flags & OP(Dynamic)))
		return lang_sym(type[0]->sym);
	Node *node = node_new(L->g, op, bound, op->nparam, ntype, L->before, L->loc);
	for (int k = 0; k < ntype; k++)
		node->out[k].type = type[k];
	if (ntype == 1 && type[0]->kind == TySym)
		return lang_sym(type[0]->sym);
	return results(L, node);
}

/* A number on the left: turn the operator round, or use the form that takes one. */
static LVal
leftnumber(Lang *L, const Ast *at, const char *op, LVal a, LVal b)
{
	static const struct { const char *op, *packet; bool swap; } tab[] = {
		{"+", "aten.add", true}, {"*", "aten.mul", true}, {"-", "aten.rsub", true},
		{"**", "aten.pow", false}, {"//", "aten.floor_divide", false},
		{"%", "aten.remainder", false}, {"&", "aten.bitwise_and", true},
		{"|", "aten.bitwise_or", true}, {"^", "aten.bitwise_xor", true},
		{"<<", "aten.bitwise_left_shift", false}, {">>", "aten.bitwise_right_shift", false},
		{"==", "aten.eq", true}, {"!=", "aten.ne", true}, {"<", "aten.gt", true},
		{"<=", "aten.ge", true}, {">", "aten.lt", true}, {">=", "aten.le", true},
	};
	if (strcmp(op, "-") == 0 && L->what && strcmp(L->what, "torch") == 0)
		return lang_opcall(L, at, "aten.sub.Tensor", bare("aten.sub.Tensor"), (LVal[]){a, b}, 2, NULL, 0);
	if (strcmp(op, "/") == 0) {
		LVal r = lang_opcall(L, at, "aten.reciprocal", NULL, &b, 1, NULL, 0);
		return lang_opcall(L, at, "aten.mul", NULL, (LVal[]){r, a}, 2, NULL, 0);
	}
	for (int k = 0; k < COUNT(tab); k++)
		if (strcmp(op, tab[k].op) == 0) {
			LVal v[2] = {tab[k].swap ? b : a, tab[k].swap ? a : b};
			return lang_opcall(L, at, tab[k].packet, NULL, v, 2, NULL, 0);
		}
	lang_fail(L, at, "'%s' of a number and a tensor", op);
}

LVal
lang_opbinary(Lang *L, const Ast *at, const char *op, LVal a, LVal b)
{
	static const struct { const char *op, *packet; } tab[] = {
		{"+", "aten.add"}, {"-", "aten.sub"}, {"*", "aten.mul"}, {"/", "aten.div"},
		{"//", "aten.floor_divide"}, {"%", "aten.remainder"}, {"**", "aten.pow"},
		{"@", "aten.matmul"}, {"&", "aten.bitwise_and"}, {"|", "aten.bitwise_or"},
		{"^", "aten.bitwise_xor"}, {"<<", "aten.bitwise_left_shift"},
		{">>", "aten.bitwise_right_shift"}, {"==", "aten.eq"}, {"!=", "aten.ne"},
		{"<", "aten.lt"}, {"<=", "aten.le"}, {">", "aten.gt"}, {">=", "aten.ge"},
	};
	if (a.kind != LTensor)
		return leftnumber(L, at, op, a, b);
	for (int k = 0; k < COUNT(tab); k++)
		if (strcmp(op, tab[k].op) == 0)
			return lang_opcall(L, at, tab[k].packet, NULL, (LVal[]){a, b}, 2, NULL, 0);
	lang_fail(L, at, "'%s' of tensors", op);
}
