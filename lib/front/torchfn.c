/* torchfn.c - what a call in the text means.
 *
 *   torch.ops.aten.add.Tensor(x, 1)     that operator
 *   torch.relu(x), F.dropout(x, 0.1)    a definition of torchfn.def, else the aten
 *   x.view(2, -1), x.float()            operator of the same name, whose overload is
 *   x + y, x[1:], x.T                   found from the arguments
 *   a + b of sizes, x.shape[0]          a Sym, known while reading
 *   higher_order.wrap(self.body, x)     the body's statements, in place
 *
 * An operator that is in no table is noted and its result is poison: what uses it
 * is poison too, and reading goes on to find the others.
 */
#include "front/text.h"

typedef VEC(Arg) Args;
typedef VEC(Str) Strs;
typedef VEC(Tv) Tvs;

Tv
tv_ofarg(Arg a)
{
	return (Tv){.kind = TvArg, .arg = a};
}

static bool
fail(Fn *f, const char *fmt, ...)
{
	va_list ap;
	const char *msg;

	va_start(ap, fmt);
	msg = arena_vprintf(f->r->a, fmt, ap);
	va_end(ap);
	error(f->r->cx, f->loc, "%s", msg);
	return false;
}

static bool
starts(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

static bool
poison(const Tv *v)
{
	if (v->kind == TvList || v->kind == TvDict)
		for (int i = 0; i < v->n; i++)
			if (poison(&v->v[i]))
				return true;
	return v->kind == TvPoison;
}

static bool
poisons(const Tv *v, int n)
{
	for (int i = 0; i < n; i++)
		if (poison(&v[i]))
			return true;
	return false;
}

static bool
unsupported(Fn *f, const char *name, Tv *out)
{
	unsupported_add(f->r->cx, &f->r->unsup, name, f->loc);
	*out = (Tv){.kind = TvPoison};
	return true;
}

static Val *
tensor(const Tv *v)
{
	return v->kind == TvArg && v->arg.kind == ArgVal ? v->arg.use->val : NULL;
}

static bool
isnum(const Tv *v)
{
	return v->kind == TvArg && (v->arg.kind == ArgInt || v->arg.kind == ArgFloat || v->arg.kind == ArgBool);
}

static bool
isint(const Tv *v)
{
	return v->kind == TvArg && v->arg.kind == ArgInt && !v->arg.i->isfloat;
}

static bool
isnone(const Tv *v)
{
	return v->kind == TvArg && v->arg.kind == ArgNone;
}

static Tv
tv_int(Fn *f, int64_t k)
{
	return tv_ofarg(arg_int(f->r->cx, k));
}

static Tv
tv_val(Val *v)
{
	if (v->type && v->type->kind == TySym)
		return (Tv){.kind = TvArg, .arg = arg_sym(v->type->sym), .node = v->def};
	return tv_ofarg(arg_val(v));
}

/* A Sym as an argument: a constant double is a float literal. */
static Tv
tv_sym(const Sym *s)
{
	return tv_ofarg(s->kind == SymFloatConst ? arg_float(s->f) : arg_sym(s));
}

/* ---- arguments --------------------------------------------------------------------- */

bool
tv_arg(Fn *f, const Tv *v, Arg *out)
{
	Arg *l;
	Graph *g;

	switch (v->kind) {
	case TvArg:
		*out = v->arg;
		if (v->arg.kind == ArgVal)               /* each use is its own link */
			*out = arg_val(v->arg.use->val);
		return true;
	case TvList:
		l = NEWN(f->r->a, Arg, v->n + 1);
		for (int i = 0; i < v->n; i++)
			if (!tv_arg(f, &v->v[i], &l[i]))
				return false;
		*out = (Arg){.kind = ArgList, .list = {l, v->n}};
		return true;
	case TvNode:
		l = NEWN(f->r->a, Arg, v->node->nout + 1);
		for (int i = 0; i < v->node->nout; i++)
			l[i] = arg_val(&v->node->out[i]);
		*out = (Arg){.kind = ArgList, .list = {l, v->node->nout}};
		return true;
	case TvGraph:
		if (!fn_graph(f, v->n, &g))
			return false;
		*out = (Arg){.kind = ArgGraph, .graph = g};
		return true;
	case TvFn:
		*out = arg_str(v->name);
		return true;
	case TvPoison:
		*out = arg_none();
		return true;
	case TvAttr:
		return fail(f, "self.%s has no type: give it with -ftype=%s=f32[2,3]; a sub-graph is only in print_readable()",
		            v->name, v->name);
	default:
		return fail(f, "this cannot be an argument here");
	}
}

static bool
tv_args(Fn *f, const Tv *v, int n, Args *out)
{
	Arg a;

	for (int i = 0; i < n; i++) {
		if (!tv_arg(f, &v[i], &a))
			return false;
		vec_push(f->r->a, out, a);
	}
	return true;
}

/* torch.float32, torch.strided, torch.preserve_format, None, inf ... */
bool
const_name(Fn *f, const char *s, Tv *out)
{
	static const struct { const char *name; enum memfmt mf; } fmts[] = {
		{"contiguous_format", MemContiguous}, {"preserve_format", MemPreserve},
		{"channels_last", MemChannelsLast}, {"channels_last_3d", MemChannelsLast3d},
	};
	static const struct { const char *name; enum dtype dt; } old[] = {
		{"float", DtF32}, {"double", DtF64}, {"half", DtF16}, {"long", DtI64}, {"int", DtI32}, {"short", DtI16},
	};
	enum dtype dt;

	if (strcmp(s, "None") == 0)
		*out = tv_ofarg(arg_none());
	else if (strcmp(s, "True") == 0 || strcmp(s, "False") == 0)
		*out = tv_ofarg(arg_bool(*s == 'T'));
	else if (strcmp(s, "Ellipsis") == 0)
		*out = tv_ofarg((Arg){.kind = ArgEllipsis});
	else if (strcmp(s, "inf") == 0 || strcmp(s, "math.inf") == 0)
		*out = tv_ofarg(arg_float(__builtin_inf()));
	else if (strcmp(s, "nan") == 0 || strcmp(s, "math.nan") == 0)
		*out = tv_ofarg(arg_float(__builtin_nan("")));
	else if (strcmp(s, "math.pi") == 0)
		*out = tv_ofarg(arg_float(3.141592653589793));
	else if (!starts(s, "torch."))
		return false;
	else {
		s += strlen("torch.");
		for (int i = 0; i < COUNT(fmts); i++)
			if (strcmp(s, fmts[i].name) == 0) {
				*out = tv_ofarg((Arg){.kind = ArgMemfmt, .mf = fmts[i].mf});
				return true;
			}
		for (int i = 0; i < COUNT(old); i++)
			if (strcmp(s, old[i].name) == 0) {
				*out = tv_ofarg(arg_dtype(old[i].dt));
				return true;
			}
		if (strcmp(s, "strided") == 0 || strcmp(s, "sparse_coo") == 0 || strcmp(s, "jagged") == 0) {
			*out = tv_ofarg((Arg){.kind = ArgLayout, .s = intern_str(f->r->cx, s)});
			return true;
		}
		if (strchr(s, '.') || (dt = dtype_parse(s, strlen(s))) == DtNone || strlen(s) < 4)
			return false;
		*out = tv_ofarg(arg_dtype(dt));
	}
	return true;
}

/* ---- making nodes --------------------------------------------------------------------- */

static const Arg *
param(const OpDef *op, const Arg *arg, const char *name)
{
	for (int i = 0; i < op->nparam; i++)
		if (strcmp(op->param[i].name, name) == 0)
			return &arg[i];
	return NULL;
}

static bool
constarg(const Arg *a, int64_t *k)
{
	return a && a->kind == ArgInt && sym_isconst(a->i, k);
}

/* Size of the first tensor along `dim`, which must be a known number. */
static bool
extent(Fn *f, const OpDef *op, const Arg *arg, int64_t *n)
{
	const Arg *d = param(op, arg, "dim");
	int64_t dim = 0;
	Val *v = op->nparam && arg[0].kind == ArgVal ? arg[0].use->val : NULL;

	if (!v || (d && d->kind != ArgNone && !constarg(d, &dim)) || !fn_known(f, v))
		return false;
	if (dim < 0)
		dim += v->type->rank;
	return dim >= 0 && dim < v->type->rank && sym_isconst(v->type->dim[dim], n);
}

/* How many tensors a Tensor[] result has; -1: reported.  The parameters tell: sizes
 * of the parts, their number, where to cut, or a list that goes in. */
static int
listcount(Fn *f, const OpDef *op, const Arg *arg)
{
	static const char *const size[] = {"split_size", "split_sizes"};
	const Arg *a;
	int64_t k, n;

	for (int i = 0; i < COUNT(size); i++) {
		if (!(a = param(op, arg, size[i])))
			continue;
		if (a->kind == ArgList)
			return a->list.n;
		if (constarg(a, &k) && k > 0 && extent(f, op, arg, &n))
			return n == 0 ? 1 : (int)((n + k - 1) / k);
	}
	if ((a = param(op, arg, "chunks")) && constarg(a, &k) && k > 0 && extent(f, op, arg, &n)) {
		int64_t part = (n + k - 1) / k;
		return part == 0 ? (int)k : (int)((n + part - 1) / part);
	}
	if ((a = param(op, arg, "sections")) && constarg(a, &k))
		return (int)k;
	if ((a = param(op, arg, "indices")) && a->kind == ArgList)
		return a->list.n + 1;
	for (int i = 0; i < op->nparam; i++)
		if (op->param[i].list && op->param[i].type == AtTensor && arg[i].kind == ArgList)
			return arg[i].list.n;
	if (extent(f, op, arg, &n))                     /* unbind */
		return (int)n;
	if (!ctx_errors(f->r->cx))
		fail(f, "%s: the number of results is not known", op->name);
	return -1;
}

static int
hopcount(const OpDef *op, const Arg *arg)
{
	int n = 1;

	for (int i = 0; i < op->nparam; i++)
		if (arg[i].kind == ArgGraph && arg[i].graph->last && arg[i].graph->last->narg)
			n = arg[i].graph->last->arg[0].list.n;
	return n;
}

static bool
symresult(const OpDef *op)
{
	if (op->flags & OP(Sym))
		return true;
	return op->nret == 1 && !op->ret[0].list && op->ret[0].type >= AtInt && op->ret[0].type <= AtBool;
}

/* A node of op with bound arguments, and what stands for its results. */
static bool
make(Fn *f, const OpDef *op, const Arg *arg, Tv *out)
{
	bool many = op->nret > 1 || (op->nret == 1 && op->ret[0].list) || (op->flags & OP(Hop)) != 0;
	bool sym = symresult(op) && !many;
	const Annot *annot = f->annot;
	const Type *t;
	int nout = op->nret;
	Node *n;

	if (op->flags & OP(Hop))
		nout = hopcount(op, arg);
	else if (op->nret == 1 && op->ret[0].list && (nout = listcount(f, op, arg)) < 0)
		return false;
	if (sym && annot && annot->sym && !(op->flags & OP(Sym)) &&
	    (annot->sym->kind == SymConst || annot->sym->kind == SymFloatConst)) {
		*out = tv_sym(annot->sym);               /* item() that was specialised */
		return true;
	}
	n = node_new(f->g, op, arg, op->nparam, nout, NULL, f->loc);
	if (!n)
		return false;
	if (many) {
		for (int i = 0; i < nout; i++)
			val_rename(f->g, &n->out[i], arena_printf(f->r->a, "%s_unused_%d", n->name, i));
		*out = (Tv){.kind = TvNode, .node = n};
		return true;
	}
	if (nout == 0) {
		*out = tv_ofarg(arg_none());
		return true;
	}
	if (sym) {
		if (annot && annot->sym) {
			n->out[0].type = n->annot = type_sym(f->r->cx, annot->sym);
		} else {
			if (!fn_known(f, &n->out[0]))
				return false;
		}
		t = n->out[0].type;
		if (t && t->kind == TySym) {
			*out = tv_sym(t->sym);
			out->node = n;
			return true;
		}
	}
	*out = tv_ofarg(arg_val(&n->out[0]));
	return true;
}

/* Form A prints strings without quotes: the schema says that '0' or 'None' is one. */
static void
unquoted(const Param *p, const Tv *v, Arg *a)
{
	if (p->type == AtStr && !p->list && v->kind == TvArg && v->bare && !(a->kind == ArgNone && p->opt))
		*a = arg_str(v->name);
}

static bool
opcall(Fn *f, const OpDef *op, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	Args p = {0}, k = {0};
	Arg *bound = NEWN(f->r->a, Arg, op->nparam + 1);

	if (!tv_args(f, pos, npos, &p) || !tv_args(f, kw, nkw, &k))
		return false;
	for (int i = 0; i < npos && i < op->nparam; i++)
		unquoted(&op->param[i], &pos[i], &p.v[i]);
	for (int i = 0; i < nkw; i++)
		for (int j = 0; j < op->nparam; j++)
			if (strcmp(op->param[j].name, key[i]) == 0)
				unquoted(&op->param[j], &kw[i], &k.v[i]);
	return op_bind(f->r->cx, f->loc, op, p.v, p.n, key, k.v, k.n, bound) && make(f, op, bound, out);
}

/* ---- overloads by the arguments ------------------------------------------------------------- */

static bool
inpacket(const OpDef *op, const char *packet)
{
	size_t n = strlen(packet);

	return strncmp(op->name, packet, n) == 0 && (op->name[n] == '.' || !op->name[n]);
}

static bool
haspacket(const char *packet)
{
	for (int i = 0; i < noptab; i++)
		if (inpacket(&optab[i], packet))
			return true;
	return false;
}

static bool
hasparam(const char *packet, const char *name)
{
	for (int i = 0; i < noptab; i++)
		if (inpacket(&optab[i], packet))
			for (int k = 0; k < optab[i].nparam; k++)
				if (strcmp(optab[i].param[k].name, name) == 0)
					return true;
	return false;
}

/* Python's names of parameters where the schema has others.  Keywords that no overload
 * has and that ask for nothing (None, False) are dropped. */
static void
keywords(Fn *f, const char *packet, Strs *key, Args *kw)
{
	static const char *const same[][2] = {
		{"input", "self"}, {"axis", "dim"}, {"keepdims", "keepdim"}, {"x", "self"}, {"x1", "self"}, {"x2", "other"},
		{"dim", "dims"}, {"size", "shape"}, {"exponent", "other"}, {"correction", "unbiased"}, {"sizes", "size"},
		{"shape", "size"}, {"dim0", "axis0"}, {"mat", "mat2"}, {"vec2", "other"},
	};
	int n = 0;

	for (int i = 0; i < kw->n; i++) {
		Str k = key->v[i];
		const Arg *a = &kw->v[i];

		for (int s = 0; s < COUNT(same) && !hasparam(packet, k); s++)
			if (strcmp(k, same[s][0]) == 0 && hasparam(packet, same[s][1]))
				k = intern_str(f->r->cx, same[s][1]);
		if (!hasparam(packet, k) && (a->kind == ArgNone || (a->kind == ArgBool && !a->b)))
			continue;
		if (strcmp(k, "out") == 0 && a->kind == ArgNone)
			continue;
		key->v[n] = k;
		kw->v[n++] = *a;
	}
	key->n = kw->n = n;
}

/* x.view(2, 3), torch.zeros(2, 3): the trailing ints are one list. */
static bool
collapse(Fn *f, const Args *p, Args *out)
{
	int b = p->n;

	while (b > 0 && p->v[b - 1].kind == ArgInt)
		b--;
	if (b == p->n || b > 1)
		return false;
	for (int i = 0; i < b; i++)
		vec_push(f->r->a, out, p->v[i]);
	vec_push(f->r->a, out, arg_list(f->r->a, p->v + b, p->n - b));
	return true;
}

static const char *
kinds(Fn *f, const Args *p)
{
	static const char *const name[] = {
		[ArgNone] = "None", [ArgBool] = "bool", [ArgInt] = "int", [ArgFloat] = "float", [ArgStr] = "str",
		[ArgDtype] = "dtype", [ArgLayout] = "layout", [ArgMemfmt] = "memory format", [ArgDevice] = "device",
		[ArgVal] = "tensor", [ArgList] = "list", [ArgGraph] = "graph", [ArgEllipsis] = "...", [ArgSlice] = "slice",
		[ArgComplex] = "complex",
	};
	Text t = {.arena = f->r->a};

	text_put(&t, "", 0);
	for (int i = 0; i < p->n; i++)
		text_add(&t, "%s%s", i ? ", " : "", name[p->v[i].kind]);
	return t.s ? t.s : "";
}

/* what: the name for a message that it is not supported. */
static bool
overload(Fn *f, const char *packet, const char *what, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw,
         Tv *out)
{
	Args p = {0}, k = {0}, list = {0};
	Strs ks = {0};
	const OpDef *op;
	Arg *bound;

	if (!haspacket(packet))
		return unsupported(f, what, out);
	if (!tv_args(f, pos, npos, &p) || !tv_args(f, kw, nkw, &k))
		return false;
	for (int i = 0; i < nkw; i++)
		vec_push(f->r->a, &ks, key[i]);
	keywords(f, packet, &ks, &k);
	op = op_overload(f->r->cx, packet, p.v, p.n, ks.v, k.v, k.n);
	if (!op && collapse(f, &p, &list)) {
		op = op_overload(f->r->cx, packet, list.v, list.n, ks.v, k.v, k.n);
		if (op)
			p = list;
	}
	if (!op)
		return fail(f, "%s: no overload takes (%s)", what, kinds(f, &p));
	bound = NEWN(f->r->a, Arg, op->nparam + 1);
	return op_bind(f->r->cx, f->loc, op, p.v, p.n, ks.v, k.v, k.n, bound) && make(f, op, bound, out);
}

/* A call of aten operators from here: aten(f, &out, "select", n, v...) */
static bool
aten(Fn *f, Tv *out, const char *name, int n, const Tv *v)
{
	const char *packet = arena_printf(f->r->a, "aten.%s", name);

	return overload(f, packet, packet, v, n, NULL, NULL, 0, out);
}

/* ---- definitions ------------------------------------------------------------------------------ */

static const struct Def { const char *name, *params, *body; } defs[] = {
#define FN(name, params, ...) {name, params, __VA_ARGS__},
#include "front/torchfn.def"
#undef FN
};

static const struct Def *
finddef(const char *name)
{
	for (int i = 0; i < COUNT(defs); i++)
		if (strcmp(defs[i].name, name) == 0)
			return &defs[i];
	return NULL;
}

/* Default of a parameter: a literal. */
static bool
dflt(Fn *f, const char *s, Tv *out)
{
	const char *body = arena_printf(f->r->a, "return %s", s);

	return formb_builtin(f, body, NULL, NULL, 0, out);
}

static bool
samekey(const char *key, const char *name)
{
	static const char *const same[][2] = {
		{"axis", "dim"}, {"keepdims", "keepdim"}, {"input", "self"}, {"self", "input"}, {"x", "input"},
	};

	if (strcmp(key, name) == 0)
		return true;
	for (int i = 0; i < COUNT(same); i++)
		if (strcmp(key, same[i][0]) == 0 && strcmp(name, same[i][1]) == 0)
			return true;
	return false;
}

/* Run a definition.  Its parameters are as in Python: "input, p=0.5, *size". */
static bool
define(Fn *f, const struct Def *d, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	Strs name = {0};
	Tvs val = {0};
	int at = 0, used = 0;
	const char *p = d->params;

	while (*p) {
		const char *e = p, *eq = NULL;
		Tv v = {0};
		bool star = *p == '*', got = false;

		for (int depth = 0; *e && (*e != ',' || depth); e++) {
			depth += (*e == '(' || *e == '[') - (*e == ')' || *e == ']');
			if (*e == '=' && !eq)
				eq = e;
		}
		Str n = intern(f->r->cx, p + star, (size_t)((eq ? eq : e) - p - star));
		if (star && at < npos && pos[at].kind == TvList) {
			v = pos[at++];
			got = true;
		} else if (star) {
			v = (Tv){.kind = TvList, .tuple = true, .v = (Tv *)pos + at, .n = npos - at};
			if ((got = v.n > 0))
				at = npos;
		} else if (at < npos) {
			v = pos[at++];
			got = true;
		}
		for (int i = 0; i < nkw && !got; i++)
			if (samekey(key[i], n)) {
				v = kw[i];
				got = true;
				used++;
			}
		if (!got && star)
			got = true;
		if (!got && !eq)
			return fail(f, "%s: argument '%s' is missing", d->name, n);
		if (!got && !dflt(f, intern(f->r->cx, eq + 1, (size_t)(e - eq - 1)), &v))
			return false;
		vec_push(f->r->a, &name, n);
		vec_push(f->r->a, &val, v);
		for (p = e; *p == ',' || *p == ' '; p++)
			;
	}
	if (at < npos)
		return fail(f, "%s takes %d arguments, %d given", d->name, name.n, npos);
	if (used < nkw)
		for (int i = 0; i < nkw; i++) {
			bool known = isnone(&kw[i]);

			for (int k = 0; k < name.n; k++)
				known = known || samekey(key[i], name.v[k]);
			if (!known)
				return fail(f, "%s has no argument '%s'", d->name, key[i]);
		}
	return formb_builtin(f, d->body, name.v, val.v, val.n, out);
}

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
		fail(f, "division by zero");
		return NULL;
	}
	if (strcmp(op, "&") == 0 || strcmp(op, "|") == 0) {
		if (x->lo < 0 || x->hi > 1 || y->lo < 0 || y->hi > 1) {
			fail(f, "'%s' of sizes is not supported", op);
			return NULL;
		}
		return sym_fn(cx, *op == '&' ? SymFnAnd : SymFnOr, arg, 2, NULL);
	}
	if (strcmp(op, "<<") == 0 || strcmp(op, ">>") == 0)
		return sym_fn(cx, *op == '<' ? SymFnShl : SymFnShr, arg, 2, NULL);
	if (strcmp(op, "@") == 0 || strcmp(op, "^") == 0) {
		fail(f, "'%s' of sizes is not supported", op);
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

	if (poison(a) || poison(b)) {
		*out = (Tv){.kind = TvPoison};
		return true;
	}
	if (a->kind == TvList && b->kind == TvList && strcmp(o->op, "+") == 0)
		return concat(f, a, b, out);
	if (isnum(a) && isnum(b)) {
		if (!(s = symop(f, o->op, a, b)))
			return false;
		*out = tv_sym(s);
		if (strchr("=!<>", *op) && op[0] != op[1] && s->kind == SymConst)
			out->arg = arg_bool(s->k != 0);
		symnode(f, arena_printf(f->r->a, "operator.%s", o->name), (const Tv *const[]){a, b}, 2, out);
		return true;
	}
	if (!tensor(a) && !tensor(b))
		return fail(f, "operator '%s' is not supported here", o->op);
	if (tensor(a) || !isnum(a))
		return aten(f, out, o->aten, 2, v);
	/* number OP tensor */
	t = v[0], v[0] = v[1], v[1] = t;
	if (o->reflected)
		return aten(f, out, o->reflected, 2, v);
	if (strcmp(o->op, "-") == 0)
		return aten(f, out, "rsub", 2, v);
	if (strcmp(o->op, "/") == 0) {
		if (!aten(f, &v[0], "reciprocal", 1, v))
			return false;
		if (poison(&v[0])) {
			*out = v[0];
			return true;
		}
		return aten(f, out, "mul", 2, v);
	}
	t = v[0], v[0] = v[1], v[1] = t;
	return aten(f, out, o->aten, 2, v);
}

bool
tv_unary(Fn *f, const char *op, const Tv *a, Tv *out)
{
	const Sym *s;

	if (poison(a)) {
		*out = (Tv){.kind = TvPoison};
		return true;
	}
	if (tensor(a)) {
		if (*op == '+') {
			*out = *a;
			return true;
		}
		return aten(f, out, *op == '-' ? "neg" : *op == '~' ? "bitwise_not" : "logical_not", 1, a);
	}
	if (!isnum(a))
		return fail(f, "operator '%s' is not supported here", op);
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
	if (poison(a) || poison(b))
		return true;
	if (!tensor(a) || !o || strcmp(plain, "@") == 0)
		return fail(f, "'%s' is only supported on tensors", op);
	return aten(f, &out, arena_printf(f->r->a, "%s_", o->aten), 2, v);
}

/* ---- indexing -------------------------------------------------------------------------------------- */

static bool
isslice(const Tv *v)
{
	return v->kind == TvArg && v->arg.kind == ArgSlice;
}

/* Index of a Python list, negative from its end; -1: reported. */
static int
position(Fn *f, const Tv *idx, int n)
{
	int64_t k;

	if (!isint(idx) || !sym_isconst(idx->arg.i, &k)) {
		fail(f, "the index of a list must be a number");
		return -1;
	}
	if (k < 0)
		k += n;
	if (k < 0 || k >= n) {
		fail(f, "index %lld is out of range: there are %d elements", (long long)k, n);
		return -1;
	}
	return (int)k;
}

/* start, stop, step of a slice of n elements, as Python bounds them. */
static bool
bounds(Fn *f, const Tv *s, int n, int64_t *lo, int64_t *hi, int64_t *step)
{
	const Arg *v = s->arg.list.v;

	*lo = 0, *hi = n, *step = 1;
	if ((v[0].kind != ArgNone && !constarg(&v[0], lo)) || (v[1].kind != ArgNone && !constarg(&v[1], hi)) ||
	    (v[2].kind != ArgNone && !constarg(&v[2], step)) || *step <= 0)
		return fail(f, "this slice of a list is not supported");
	*lo = *lo < 0 ? *lo + n : *lo;
	*hi = *hi < 0 ? *hi + n : *hi;
	*lo = *lo < 0 ? 0 : *lo;
	*hi = *hi > n ? n : *hi;
	return true;
}

static bool
listitem(Fn *f, const Tv *base, const Tv *idx, Tv *out)
{
	int64_t lo, hi, step;
	Tvs v = {0};
	int n = base->kind == TvNode ? base->node->nout : base->n, k;

	if (!isslice(idx)) {
		if ((k = position(f, idx, n)) < 0)
			return false;
		*out = base->kind == TvNode ? tv_val(&base->node->out[k]) : base->v[k];
		return true;
	}
	if (!bounds(f, idx, n, &lo, &hi, &step))
		return false;
	for (; lo < hi; lo += step)
		vec_push(f->r->a, &v, base->kind == TvNode ? tv_val(&base->node->out[lo]) : base->v[lo]);
	*out = (Tv){.kind = TvList, .tuple = base->tuple, .v = v.v, .n = v.n};
	return true;
}

static bool
isbool(Fn *f, Val *v)
{
	return fn_known(f, v) && v->type->kind == TyTensor && v->type->dt == DtB8;
}

/* The views that the indices of x[...] ask for, applied in order; tensors among the
 * indices are left in list, at their dimension (None elsewhere). */
static bool
views(Fn *f, const Tv *base, const Tv *idx, Tv *x, Tvs *list, bool *any)
{
	const Tv *v = idx->kind == TvList ? idx->v : idx;
	int n = idx->kind == TvList ? idx->n : 1, dim = 0, used = 0;
	Val *t = tensor(base);

	*x = *base;
	*any = false;
	for (int i = 0; i < n; i++) {
		Val *it = tensor(&v[i]);

		if (it && !fn_known(f, it))
			return false;
		used += it ? (isbool(f, it) ? it->type->rank : 1) : isint(&v[i]) || isslice(&v[i]);
	}
	for (int i = 0; i < n; i++) {
		Tv arg[5] = {*x, tv_int(f, dim), v[i]};
		Val *it = tensor(&v[i]);

		if (v[i].kind == TvArg && v[i].arg.kind == ArgEllipsis) {
			if (!fn_known(f, t))
				return false;
			for (; dim < 0; dim++)
				;
			for (int k = t->type->rank - used; k > 0; k--) {
				vec_push(f->r->a, list, tv_ofarg(arg_none()));
				dim++;
			}
		} else if (isint(&v[i])) {
			if (!aten(f, x, "select", 3, arg))
				return false;
		} else if (isslice(&v[i])) {
			const Arg *s = v[i].arg.list.v;
			int64_t one = 1;

			if (s[0].kind != ArgNone || s[1].kind != ArgNone || (constarg(&s[2], &one) && one != 1) ||
			    (s[2].kind != ArgNone && !constarg(&s[2], &one))) {
				for (int k = 0; k < 3; k++)
					arg[2 + k] = s[k].kind == ArgNone && k == 2 ? tv_int(f, 1) : tv_ofarg(s[k]);
				if (!aten(f, x, "slice", 5, arg))
					return false;
			}
			vec_push(f->r->a, list, tv_ofarg(arg_none()));
			dim++;
		} else if (isnone(&v[i])) {
			if (!aten(f, x, "unsqueeze", 2, arg))
				return false;
			vec_push(f->r->a, list, tv_ofarg(arg_none()));
			dim++;
		} else if (it) {
			int r = isbool(f, it) ? it->type->rank : 1;

			vec_push(f->r->a, list, v[i]);
			dim += r;
			*any = true;
		} else {
			return fail(f, "this kind of index is not supported");
		}
		if (poison(x))
			return true;
	}
	return true;
}

static bool tensorof(Fn *f, const Tv *v, const Tv *dtype, Tv *out);

/* x[[0, 2]], x[:, [0, 2]]: lists among the indices are tensors. */
static bool
lists(Fn *f, const Tv *idx, Tv *out)
{
	Tv none = tv_ofarg(arg_none());

	*out = *idx;
	if (idx->kind != TvList)
		return true;
	if (!idx->tuple)
		return tensorof(f, idx, &none, out);
	out->v = NEWN(f->r->a, Tv, idx->n + 1);
	for (int i = 0; i < idx->n; i++) {
		out->v[i] = idx->v[i];
		if (idx->v[i].kind == TvList && !tensorof(f, &idx->v[i], &none, &out->v[i]))
			return false;
	}
	return true;
}

bool
tv_getitem(Fn *f, const Tv *base, const Tv *idx, Tv *out)
{
	Tvs list = {0};
	Tv x, arg[2], ix;
	bool any;

	if (poison(base) || poison(idx)) {
		*out = (Tv){.kind = TvPoison};
		return true;
	}
	if (tensor(base) && !lists(f, idx, &ix))
		return false;
	if (tensor(base))
		idx = &ix;
	if (base->kind == TvList || base->kind == TvNode)
		return listitem(f, base, idx, out);
	if (base->kind == TvDict) {
		for (int i = 0; i < base->n; i++)
			if (idx->kind == TvArg && idx->arg.kind == ArgStr && base->key[i] == idx->arg.s) {
				*out = base->v[i];
				return true;
			}
		return fail(f, "the dict has no such key");
	}
	if (!tensor(base))
		return fail(f, "this value has no elements");
	if (!views(f, base, idx, &x, &list, &any))
		return false;
	if (poison(&x)) {
		*out = x;
		return true;
	}
	arg[0] = x;
	arg[1] = (Tv){.kind = TvList, .v = list.v, .n = list.n};
	if (any)
		return aten(f, out, "index", 2, arg);
	if (tensor(&x) == tensor(base))
		return aten(f, out, "alias", 1, arg);
	*out = x;
	return true;
}

bool
tv_setitem(Fn *f, const Tv *base, const Tv *idx, const Tv *value)
{
	Tvs list = {0};
	Tv x, arg[3], out, ix;
	bool any;
	Val *mask;

	if (poison(base) || poison(idx) || poison(value))
		return true;
	if (!tensor(base))
		return fail(f, "only elements of tensors can be assigned");
	if (!lists(f, idx, &ix))
		return false;
	idx = &ix;
	if (!views(f, base, idx, &x, &list, &any))
		return false;
	if (poison(&x))
		return true;
	arg[0] = x;
	if (!any) {
		arg[1] = *value;
		return aten(f, &out, tensor(value) ? "copy_" : "fill_", 2, arg);
	}
	mask = list.n == 1 ? tensor(&list.v[0]) : NULL;
	if (mask && isbool(f, mask) && isnum(value) && fn_known(f, tensor(&x))) {
		arg[1] = list.v[0];
		for (int k = mask->type->rank; k < tensor(&x)->type->rank && !poison(&arg[1]); k++)
			if (!aten(f, &arg[1], "unsqueeze", 2, (Tv[]){arg[1], tv_int(f, -1)}))
				return false;
		arg[2] = *value;
		return poison(&arg[1]) || aten(f, &out, "masked_fill_", 3, arg);
	}
	arg[1] = (Tv){.kind = TvList, .v = list.v, .n = list.n};
	arg[2] = *value;
	if (isnum(value)) {                       /* the values must be a tensor */
		Str key = intern_str(f->r->cx, "dtype");
		Tv dt;

		if (!fn_known(f, tensor(&x)))
			return false;
		dt = tv_ofarg(arg_dtype(tensor(&x)->type->dt));
		if (!overload(f, "aten.scalar_tensor", "aten.scalar_tensor", value, 1, &key, &dt, 1, &arg[2]) ||
		    poison(&arg[2]))
			return poison(&arg[2]);
	}
	return aten(f, &out, "index_put_", 3, arg);
}

/* ---- attributes and methods ---------------------------------------------------------------------------- */

static bool
shape(Fn *f, Val *v, Tv *out)
{
	Tvs l = {0};

	if (!fn_known(f, v))
		return false;
	for (int i = 0; i < v->type->rank; i++)
		vec_push(f->r->a, &l, tv_ofarg(arg_sym(v->type->dim[i])));
	*out = (Tv){.kind = TvList, .tuple = true, .v = l.v, .n = l.n};
	return true;
}

/* max(...).values and the like. */
static bool
field(Fn *f, const Tv *a, Str name, Tv *out)
{
	static const struct { const char *name; int at; } common[] = {
		{"values", 0}, {"indices", 1}, {"output", 0}, {"hist", 0}, {"bin_edges", 1}, {"sign", 0}, {"logabsdet", 1},
		{"eigenvalues", 0}, {"eigenvectors", 1}, {"U", 0}, {"S", 1}, {"Vh", 2}, {"V", 2}, {"Q", 0}, {"R", 1}, {"L", 0},
		{"LU", 0}, {"pivots", 1}, {"info", 1}, {"mantissa", 0}, {"exponent", 1}, {"min", 0}, {"max", 1}, {"P", 0},
		{"inverse", 0}, {"solution", 0}, {"residuals", 1}, {"rank", 2}, {"singular_values", 3},
	};
	const OpDef *op = a->node->op;
	int at = -1;

	for (int i = 0; i < op->nret && at < 0; i++)
		if (op->ret[i].name && strcmp(op->ret[i].name, name) == 0)
			at = i;
	for (int i = 0; i < COUNT(common) && at < 0; i++)
		if (strcmp(common[i].name, name) == 0)
			at = common[i].at;
	if (at < 0 || at >= a->node->nout)
		return fail(f, "the result of %s has no '%s'", op->name, name);
	*out = tv_val(&a->node->out[at]);
	return true;
}

bool
tv_getattr(Fn *f, const Tv *a, Str name, Tv *out)
{
	Val *v = tensor(a);
	const struct Def *d;

	if (poison(a)) {
		*out = *a;
		return true;
	}
	if (a->kind == TvNode)
		return field(f, a, name, out);
	if (!v)
		return fail(f, "this value has no attribute '%s'", name);
	if (strcmp(name, "shape") == 0)
		return shape(f, v, out);
	if (strcmp(name, "dtype") == 0 || strcmp(name, "ndim") == 0) {
		if (!fn_known(f, v))
			return false;
		*out = *name == 'd' ? tv_ofarg(arg_dtype(v->type->dt)) : tv_int(f, v->type->rank);
		return true;
	}
	if (strcmp(name, "device") == 0) {
		*out = tv_ofarg((Arg){.kind = ArgDevice, .s = intern_str(f->r->cx, "cpu")});
		return true;
	}
	if (strcmp(name, "layout") == 0) {
		*out = tv_ofarg((Arg){.kind = ArgLayout, .s = intern_str(f->r->cx, "strided")});
		return true;
	}
	if (starts(name, "is_") || strcmp(name, "requires_grad") == 0) {
		*out = tv_ofarg(arg_bool(strcmp(name, "is_cpu") == 0));
		return true;
	}
	if ((d = finddef(arena_printf(f->r->a, "getattr.%s", name))))
		return define(f, d, a, 1, NULL, NULL, 0, out);
	return unsupported(f, arena_printf(f->r->a, "Tensor.%s", name), out);
}

static bool
sizemethod(Fn *f, Str name, Val *v, const Tv *pos, int npos, Tv *out, bool *did)
{
	Tv l;
	int k;

	*did = true;
	if (strcmp(name, "size") == 0 || strcmp(name, "stride") == 0) {
		if (!shape(f, v, &l))
			return false;
		if (*name == 's' && name[1] == 't')
			for (int i = 0; i < l.n; i++)
				l.v[i] = tv_ofarg(arg_sym(type_stride(f->r->cx, v->type, i)));
		*out = l;
		if (npos == 0 || isnone(&pos[0]))
			return true;
		if ((k = position(f, &pos[0], l.n)) < 0)
			return false;
		*out = l.v[k];
		return true;
	}
	if (strcmp(name, "dim") == 0 || strcmp(name, "ndimension") == 0 || strcmp(name, "element_size") == 0) {
		if (!fn_known(f, v))
			return false;
		*out = tv_int(f, *name == 'e' ? dtypeinfo[v->type->dt].bytes : v->type->rank);
		return true;
	}
	if (strcmp(name, "numel") == 0 || strcmp(name, "nelement") == 0) {
		if (!fn_known(f, v))
			return false;
		*out = tv_ofarg(arg_sym(type_numel(f->r->cx, v->type)));
		return true;
	}
	if (strcmp(name, "is_floating_point") == 0 || strcmp(name, "is_complex") == 0) {
		if (!fn_known(f, v))
			return false;
		*out = tv_ofarg(arg_bool(dtypeinfo[v->type->dt].kind == (name[3] == 'f' ? KindFloat : KindComplex)));
		return true;
	}
	if (strcmp(name, "is_contiguous") == 0) {
		if (!fn_known(f, v))
			return false;
		*out = tv_ofarg(arg_bool(v->type->stride == NULL));
		return true;
	}
	*did = false;
	return true;
}

bool
tv_method(Fn *f, Str name, const Tv *self, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	Arena *a = f->r->a;
	const struct Def *d;
	Val *v = tensor(self);
	Tvs all = {0};
	bool did;

	if (poison(self) || poisons(pos, npos) || poisons(kw, nkw)) {
		*out = (Tv){.kind = TvPoison};
		return true;
	}
	if (self->kind == TvList && strcmp(name, "numel") == 0) {
		*out = tv_int(f, 1);
		for (int i = 0; i < self->n; i++)
			if (!tv_binary(f, "*", out, &self->v[i], out))
				return false;
		return true;
	}
	if (!v)
		return fail(f, "method '%s' of this value is not supported", name);
	vec_push(a, &all, *self);
	for (int i = 0; i < npos; i++)
		vec_push(a, &all, pos[i]);
	if (nkw == 0 && (!sizemethod(f, name, v, pos, npos, out, &did) || did))
		return did;
	if ((d = finddef(arena_printf(a, "Tensor.%s", name))))
		return define(f, d, all.v, all.n, key, kw, nkw, out);
	return overload(f, arena_printf(a, "aten.%s", name), arena_printf(a, "Tensor.%s", name), all.v, all.n, key, kw,
	                nkw, out);
}

/* ---- calls ----------------------------------------------------------------------------------------------- */

/* torch.ops.aten.relu.default, or a packet torch.ops.aten.relu. */
static bool
direct(Fn *f, const char *name, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	const OpDef *op = op_find(name);
	const char *dot = strchr(name, '.');

	if (op && (strrchr(name, '.') != dot || !dot))
		return opcall(f, op, pos, npos, key, kw, nkw, out);
	if (dot && strrchr(name, '.') == dot && haspacket(name))
		return overload(f, name, name, pos, npos, key, kw, nkw, out);
	return op ? opcall(f, op, pos, npos, key, kw, nkw, out) : unsupported(f, name, out);
}

/* Sub-graphs that only group or set a mode are read in place of the call. */
static bool
inlinable(const char *name, const Tv *pos, int npos)
{
	static const char *const names[] = {
		"wrap", "tag_activation_checkpoint", "wrap_activation_checkpoint", "invoke_subgraph", "strict_mode",
		"wrap_with_set_grad_enabled", "hints_wrapper", "run_const_graph", "inductor_compiled_code",
	};

	for (int i = 0; i < COUNT(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	/* wrap_with_autocast(device, dtype, enabled, cache, body, ...) */
	return strcmp(name, "wrap_with_autocast") == 0 && npos > 2 && pos[2].kind == TvArg &&
	       pos[2].arg.kind == ArgBool && !pos[2].arg.b;
}

static bool
hop(Fn *f, const char *name, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	Tvs v = {0};
	Tv res;
	int g = 0;

	if (strcmp(name, "with_effects") == 0 && npos >= 2 && pos[1].kind == TvFn) {
		if (!tv_call(f, pos[1].name, pos + 2, npos - 2, key, kw, nkw, &res))
			return false;
		vec_push(f->r->a, &v, tv_ofarg(arg_none()));     /* the token */
		if (res.kind == TvNode)
			for (int i = 0; i < res.node->nout; i++)
				vec_push(f->r->a, &v, tv_val(&res.node->out[i]));
		else
			vec_push(f->r->a, &v, res);
		*out = (Tv){.kind = TvList, .tuple = true, .v = v.v, .n = v.n};
		return true;
	}
	while (g < npos && pos[g].kind != TvGraph)
		g++;
	if (g == npos || !inlinable(name, pos, npos))
		return direct(f, arena_printf(f->r->a, "higher_order.%s", name), pos, npos, key, kw, nkw, out);
	for (int i = g + 1; i < npos; i++) {
		if (i == g + 1 && strcmp(name, "invoke_subgraph") == 0)
			continue;                                 /* its name */
		if (pos[i].kind == TvList && pos[i].tuple)
			for (int k = 0; k < pos[i].n; k++)
				vec_push(f->r->a, &v, pos[i].v[k]);
		else if (pos[i].kind != TvDict)
			vec_push(f->r->a, &v, pos[i]);
	}
	return formb_inline(f, pos[g].n, v.v, v.n, out);
}

/* reduction='mean' as ATen's number. */
static bool
reduction(Fn *f, const Tv *v, Tv *out)
{
	static const char *const names[] = {"none", "mean", "sum"};

	for (int i = 0; i < COUNT(names); i++)
		if (v->kind == TvArg && v->arg.kind == ArgStr && strcmp(v->arg.s, names[i]) == 0) {
			*out = tv_int(f, i);
			return true;
		}
	if (isint(v)) {
		*out = *v;
		return true;
	}
	return fail(f, "unknown reduction");
}

/* What torch.tensor makes of a literal. */
static enum dtype
dtypeof(const Tv *v)
{
	enum dtype d = DtI64;

	if (v->kind == TvList)
		for (int i = 0; i < v->n; i++) {
			enum dtype e = dtypeof(&v->v[i]);

			d = i == 0 ? e : dt_promote(d, e);
		}
	if (v->kind != TvArg)
		return v->kind == TvList && v->n == 0 ? DtF32 : d;
	return v->arg.kind == ArgBool ? DtB8 : v->arg.kind == ArgFloat || (v->arg.kind == ArgInt && v->arg.i->isfloat) ? DtF32
	       : v->arg.kind == ArgComplex ? DtC64 : DtI64;
}

/* A tensor of a list of literals: scalars, stacked. */
static bool
tensorof(Fn *f, const Tv *v, const Tv *dtype, Tv *out)
{
	Tv d = isnone(dtype) ? tv_ofarg(arg_dtype(dtypeof(v))) : *dtype, l = {.kind = TvList};
	Str key = intern_str(f->r->cx, "dtype");

	if (v->kind != TvList)
		return tensor(v) ? (*out = *v, true)
		       : overload(f, "aten.scalar_tensor", "torch.tensor", v, 1, &key, &d, 1, out);
	if (v->n == 0 || v->n > 4096)
		return fail(f, "a tensor of %d elements in the text is not supported", v->n);
	l.n = v->n;
	l.v = NEWN(f->r->a, Tv, v->n);
	for (int i = 0; i < v->n; i++)
		if (!tensorof(f, &v->v[i], &d, &l.v[i]))
			return false;
	return aten(f, out, "stack", 1, &l);
}

/* Functions that only definitions use. */
static bool
helper(Fn *f, const char *fn, const Tv *pos, int npos, Tv *out, bool *did)
{
	*did = true;
	if (npos < 1)
		*did = false;
	else if (strcmp(fn, "is_tensor") == 0)
		*out = tv_ofarg(arg_bool(tensor(&pos[0]) != NULL));
	else if (strcmp(fn, "is_mask") == 0)
		*out = tv_ofarg(arg_bool(tensor(&pos[0]) && isbool(f, tensor(&pos[0]))));
	else if (strcmp(fn, "is_list") == 0)
		*out = tv_ofarg(arg_bool(pos[0].kind == TvList || pos[0].kind == TvNode));
	else if (strcmp(fn, "is_int") == 0)
		*out = tv_ofarg(arg_bool(isint(&pos[0])));
	else if (strcmp(fn, "is_dtype") == 0)
		*out = tv_ofarg(arg_bool(pos[0].kind == TvArg && pos[0].arg.kind == ArgDtype));
	else if (strcmp(fn, "is_device") == 0)
		*out = tv_ofarg(arg_bool(pos[0].kind == TvArg && (pos[0].arg.kind == ArgDevice || pos[0].arg.kind == ArgStr)));
	else if (strcmp(fn, "is_number") == 0)
		*out = tv_ofarg(arg_bool(isnum(&pos[0])));
	else if (strcmp(fn, "reduction_of") == 0)
		return reduction(f, &pos[0], out);
	else if (strcmp(fn, "len") == 0)
		*out = tv_int(f, pos[0].kind == TvNode ? pos[0].node->nout : pos[0].n);
	else if (strcmp(fn, "repeat") == 0 && npos == 2) {
		Tvs v = {0};
		int64_t n;

		if (!constarg(&pos[1].arg, &n))
			return fail(f, "expected a number");
		for (int64_t i = 0; i < n; i++)
			vec_push(f->r->a, &v, pos[0]);
		*out = (Tv){.kind = TvList, .v = v.v, .n = v.n};
	} else if (strcmp(fn, "dtype_of") == 0)
		*out = tv_ofarg(arg_dtype(dtypeof(&pos[0])));
	else if (strcmp(fn, "tensor_of") == 0 && npos == 2)
		return tensorof(f, &pos[0], &pos[1], out);
	else if (strcmp(fn, "range") == 0 && npos == 2) {
		Tvs v = {0};
		int64_t lo, hi;

		if (!constarg(&pos[0].arg, &lo) || !constarg(&pos[1].arg, &hi) || hi - lo > 1000)
			return fail(f, "expected a number");
		for (; lo < hi; lo++)
			vec_push(f->r->a, &v, tv_int(f, lo));
		*out = (Tv){.kind = TvList, .v = v.v, .n = v.n};
	} else if (strcmp(fn, "fail") == 0 && pos[0].kind == TvArg && pos[0].arg.kind == ArgStr)
		return fail(f, "%s", pos[0].arg.s);
	else if (strcmp(fn, "unsupported") == 0 && pos[0].kind == TvArg && pos[0].arg.kind == ArgStr)
		return unsupported(f, pos[0].arg.s, out);
	else
		*did = false;
	return true;
}

/* operator.add(a, b), operator.getitem(x, i), builtins.getattr(x, 'T') of Form A; math.trunc ... */
static bool
python(Fn *f, const char *fn, const Tv *pos, int npos, Tv *out, bool *did)
{
	const char *name = strrchr(fn, '.') + 1;
	const OpDef *op;

	*did = true;
	if (strcmp(name, "getitem") == 0 && npos == 2)
		return tv_getitem(f, &pos[0], &pos[1], out);
	if (strcmp(name, "setitem") == 0 && npos == 3) {
		*out = pos[0];
		return tv_setitem(f, &pos[0], &pos[1], &pos[2]);
	}
	if (strcmp(name, "getattr") == 0 && npos == 2 && pos[1].kind == TvArg && pos[1].arg.kind == ArgStr)
		return tv_getattr(f, &pos[0], pos[1].arg.s, out);
	if (npos == 2 && opname(name))
		return tv_binary(f, name, &pos[0], &pos[1], out);
	if (npos == 2 && *name == 'i' && opname(name + 1) && starts(fn, "operator.")) {
		if (!tensor(&pos[0]))
			return tv_binary(f, name + 1, &pos[0], &pos[1], out);
		*out = pos[0];
		return tv_inplace(f, arena_printf(f->r->a, "%s=", opname(name + 1)->op), &pos[0], &pos[1]);
	}
	if (npos == 2 && *name == 'i' && (strcmp(name, "iand") == 0 || strcmp(name, "ior") == 0)) {
		*out = pos[0];
		return tv_inplace(f, name[1] == 'a' ? "&=" : "|=", &pos[0], &pos[1]);
	}
	if (npos == 1 && (strcmp(name, "neg") == 0 || strcmp(name, "invert") == 0 || strcmp(name, "pos") == 0))
		return tv_unary(f, *name == 'n' ? "-" : *name == 'i' ? "~" : "+", &pos[0], out);
	if (npos >= 1 && tensor(&pos[0]))
		return aten(f, out, strcmp(name, "not_") == 0 ? "logical_not" : name, npos, pos);
	if ((op = op_find(fn)))
		return opcall(f, op, pos, npos, NULL, NULL, 0, out);
	*did = false;
	return true;
}

bool
tv_call(Fn *f, Str fn, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	/* Python's modules: where a definition is sought, and the aten name. */
	static const struct { const char *module, *def, *aten; } modules[] = {
		{"torch.nn.functional.", "F.", "aten."}, {"torch._C._nn.", "nn.", "aten."},
		{"torch._C._linalg.", "aten.", "aten."}, {"torch._C._special.", "aten.", "aten."},
		{"torch._C._fft.", "aten.", "aten."}, {"torch._VF.", "aten.", "aten."},
		{"torch.linalg.", "aten.linalg_", "aten.linalg_"}, {"torch.special.", "special.", "aten.special_"},
		{"torch.fft.", "fft.", "aten.fft_"}, {"torch.functional.", "torch.", "aten."},
		{"torch._C._VariableFunctions.", "torch.", "aten."}, {"torch.", "torch.", "aten."},
	};
	Arena *a = f->r->a;
	const struct Def *d;
	const OpDef *op;
	bool did;

	if (poisons(pos, npos) || poisons(kw, nkw)) {
		*out = (Tv){.kind = TvPoison};
		if (starts(fn, "torch.ops.") && !starts(fn, "torch.ops.higher_order.") && !op_find(fn + 10))
			unsupported_add(f->r->cx, &f->r->unsup, fn + 10, f->loc);
		return true;
	}
	if (starts(fn, "torch.ops.higher_order."))
		return hop(f, fn + strlen("torch.ops.higher_order."), pos, npos, key, kw, nkw, out);
	if (starts(fn, "torch.ops."))
		return direct(f, fn + strlen("torch.ops."), pos, npos, key, kw, nkw, out);
	if (f->builtin && starts(fn, "aten."))
		return direct(f, fn, pos, npos, key, kw, nkw, out);
	if (f->builtin) {
		if (!helper(f, fn, pos, npos, out, &did) || did)
			return did;
	}
	if (starts(fn, "_operator."))
		fn++;
	if (starts(fn, "_operator_"))                    /* how FX names it in a module of its own */
		fn = intern_printf(f->r->cx, "operator.%s", fn + strlen("_operator_"));
	if (starts(fn, "operator.") || starts(fn, "builtins.") || starts(fn, "math.")) {
		if (!python(f, fn, pos, npos, out, &did) || did)
			return did;
		return unsupported(f, fn, out);
	}
	if (starts(fn, "torch.Tensor.") && npos)
		return tv_method(f, intern_str(f->r->cx, fn + strlen("torch.Tensor.")), &pos[0], pos + 1, npos - 1, key, kw,
		                 nkw, out);
	if ((d = finddef(fn)))
		return define(f, d, pos, npos, key, kw, nkw, out);
	if ((op = op_find(fn)) && op->flags & OP(Sym))
		return opcall(f, op, pos, npos, key, kw, nkw, out);
	for (int i = 0; i < COUNT(modules); i++) {
		const char *rest = fn + strlen(modules[i].module), *packet;

		if (!starts(fn, modules[i].module))
			continue;
		if (strchr(rest, '.'))
			break;
		if ((d = finddef(arena_printf(a, "%s%s", modules[i].def, rest))))
			return define(f, d, pos, npos, key, kw, nkw, out);
		packet = arena_printf(a, "%s%s", modules[i].aten, rest);
		return overload(f, packet, fn, pos, npos, key, kw, nkw, out);
	}
	return unsupported(f, fn, out);
}
