/* torchnode.c - nodes from calls: the operator, its overload, its results.
 *
 * An operator that is in no table is noted and its result is poison: what uses it
 * is poison too, and reading goes on to find the others.  How many tensors a
 * Tensor[] result has is found from the arguments; sizes become Syms at once.
 */
#include "front/text.h"

typedef VEC(Arg) Args;
typedef VEC(Str) Strs;

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

/* ---- making nodes --------------------------------------------------------------------- */

static const Arg *
param(const OpDef *op, const Arg *arg, const char *name)
{
	for (int i = 0; i < op->nparam; i++)
		if (strcmp(op->param[i].name, name) == 0)
			return &arg[i];
	return NULL;
}

/* Size of the first tensor along `dim`, which must be a known number. */
static bool
extent(Fn *f, const OpDef *op, const Arg *arg, int64_t *n)
{
	const Arg *d = param(op, arg, "dim");
	int64_t dim = 0;
	Val *v = op->nparam && arg[0].kind == ArgVal ? arg[0].use->val : NULL;

	if (!v || (d && d->kind != ArgNone && !arg_isconst(d, &dim)) || !fn_known(f, v))
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
		if (arg_isconst(a, &k) && k > 0 && extent(f, op, arg, &n))
			return n == 0 ? 1 : (int)((n + k - 1) / k);
	}
	if ((a = param(op, arg, "chunks")) && arg_isconst(a, &k) && k > 0 && extent(f, op, arg, &n)) {
		int64_t part = (n + k - 1) / k;
		return part == 0 ? (int)k : (int)((n + part - 1) / part);
	}
	if ((a = param(op, arg, "sections")) && arg_isconst(a, &k))
		return (int)k;
	if ((a = param(op, arg, "indices")) && a->kind == ArgList)
		return a->list.n + 1;
	for (int i = 0; i < op->nparam; i++)
		if (op->param[i].list && op->param[i].type == AtTensor && arg[i].kind == ArgList)
			return arg[i].list.n;
	if (extent(f, op, arg, &n))                     /* unbind */
		return (int)n;
	if (!ctx_errors(f->r->cx))
		tv_fail(f, "%s: the number of results is not known", op->name);
	return -1;
}

static int
hopcount(const OpDef *op, const Arg *arg)
{
	int n = 1;

	for (int i = 0; i < op->nparam; i++)
		if (arg[i].kind == ArgGraph && arg[i].graph->last && arg[i].graph->last->narg) {
			n = arg[i].graph->last->arg[0].list.n;
			if (strcmp(op->param[i].name, "fwd") == 0)
				break;
		}
	return n;
}

static bool
symresult(const OpDef *op)
{
	if (op->flags & OP(Sym))
		return true;
	return op->nret == 1 && !op->ret[0].list && op->ret[0].type >= AtInt && op->ret[0].type <= AtBool;
}

/* Under what modes it is recorded. */
static void
mark(const Reader *r, Node *n)
{
	const Marks *m = r->comment.acgraph || r->comment.recompute ? &r->comment : &r->region;

	n->region = r->nograd ? GradOff : GradOn;
	n->acgraph = m->acgraph;
	n->part = (uint16_t)r->comment.part;
	n->recompute = (uint8_t)m->recompute;
	n->backward = r->comment.backward;
	n->origin = r->comment.origin;
	n->budget = r->comment.budget;
}

/* t_, squeeze_ ...: what later reads the argument means the result, which is the same tensor
 * and has its sizes. */
static bool
reshapes(const Reader *r, const OpDef *op)
{
	const char *dot = strrchr(op->name, '.');
	const OpDef *view;

	if (!(op->flags & OP(Inplace)) || op->nret != 1 || dot == NULL || dot == op->name || dot[-1] != '_')
		return false;
	view = op_find(arena_printf(r->a, "%.*s%s", (int)(dot - 1 - op->name), op->name, dot));
	return view && view->nparam && view->param[0].alias && !view->param[0].mutated;
}

static void
latest(Reader *r, Arg *a)
{
	Val *v = a->kind == ArgVal ? a->use->val : NULL, *now;

	while (v && (now = map_get(&r->reshaped, v)) != NULL)
		v = now;
	if (v && v != a->use->val)
		*a = arg_val(v);
	for (int i = 0; a->kind == ArgList && i < a->list.n; i++)
		latest(r, &a->list.v[i]);
}

/* A node of op with bound arguments, and what stands for its results. */
static bool
make(Fn *f, const OpDef *op, Arg *arg, Tv *out)
{
	bool many = op->nret > 1 || (op->nret == 1 && op->ret[0].list) || (op->flags & OP(Hop)) != 0;
	bool sym = symresult(op) && !many;
	const Annot *annot = f->annot;
	const Type *t;
	int nout = op->nret;
	Node *n;

	for (int i = 0; f->r->reshaped.n && i < op->nparam; i++)
		latest(f->r, &arg[i]);
	if (op->flags & OP(Hop))
		nout = op->nret > 1 ? op->nret : hopcount(op, arg);
	else if (op->nret == 1 && op->ret[0].list && (nout = listcount(f, op, arg)) < 0)
		return false;
	if (sym && annot && annot->sym && !(op->flags & OP(Sym)) &&
	    (annot->sym->kind == SymConst || annot->sym->kind == SymFloatConst)) {
		*out = tv_sym(annot->sym);               /* item() that was specialised */
		return true;
	}
	if (f->r->autocast.n && !autocast_args(f, op, arg))
		return false;
	n = node_new(f->g, op, arg, op->nparam, nout, NULL, f->loc);
	if (!n)
		return false;
	mark(f->r, n);
	if (reshapes(f->r, op) && arg_tensor(n, 0))
		map_put(f->r->a, &f->r->reshaped, arg_tensor(n, 0), &n->out[0]);
	if (many) {
		for (int i = 0; i < nout; i++)
			val_rename(f->g, &n->out[i], arena_printf(f->r->a, "%s_unused_%d", n->name, i));
		*out = (Tv){.kind = TvNode, .node = n};
		return true;
	}
	if (nout == 0) {
		*out = tv_ofarg(arg_none());
		out->node = n;
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

bool
tv_opcall(Fn *f, const OpDef *op, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
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

/* Python's x + 1, torch.mul(x, 2) are the overloads of tensors with a number for the second: what
 * PyTorch traces, and what its derivatives are written for. */
static const OpDef *
numberform(const OpDef *op, int npos)
{
	static const struct { const char *scalar, *tensor; } form[] = {
		{"aten.add.Scalar", "aten.add.Tensor"}, {"aten.sub.Scalar", "aten.sub.Tensor"},
		{"aten.mul.Scalar", "aten.mul.Tensor"}, {"aten.div.Scalar", "aten.div.Tensor"},
		{"aten.div.Scalar_mode", "aten.div.Tensor_mode"},
		{"aten.add_.Scalar", "aten.add_.Tensor"}, {"aten.sub_.Scalar", "aten.sub_.Tensor"},
		{"aten.mul_.Scalar", "aten.mul_.Tensor"}, {"aten.div_.Scalar", "aten.div_.Tensor"},
		{"aten.div_.Scalar_mode", "aten.div_.Tensor_mode"},
	};
	for (int k = 0; k < COUNT(form) && npos == 2; k++)
		if (strcmp(op->name, form[k].scalar) == 0)
			return op_find(form[k].tensor);
	return op;
}

/* what: the name for a message that it is not supported. */
bool
tv_overload(Fn *f, const char *packet, const char *what, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw,
         Tv *out)
{
	Args p = {0}, k = {0}, list = {0};
	Strs ks = {0};
	const OpDef *op;
	Arg *bound;

	if (!haspacket(packet))
		return tv_unsupported(f, what, out);
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
		return tv_fail(f, "%s: no overload takes (%s)", what, kinds(f, &p));
	op = numberform(op, p.n);
	bound = NEWN(f->r->a, Arg, op->nparam + 1);
	return op_bind(f->r->cx, f->loc, op, p.v, p.n, ks.v, k.v, k.n, bound) && make(f, op, bound, out);
}

/* A call of aten operators from here: tv_aten(f, &out, "select", n, v...) */
bool
tv_aten(Fn *f, Tv *out, const char *name, int n, const Tv *v)
{
	const char *packet = arena_printf(f->r->a, "aten.%s", name);

	return tv_overload(f, packet, packet, v, n, NULL, NULL, 0, out);
}

/* Is there any operator in that namespace? */
static bool
ownspace(const char *name, size_t n)
{
	for (int i = 0; i < noptab; i++)
		if (strncmp(optab[i].name, name, n + 1) == 0)
			return true;
	return strncmp(name, "aten", n) == 0 || strncmp(name, "prims", n) == 0;
}

/* torch.ops.aten.relu.default, or a packet torch.ops.aten.relu. */
bool
tv_direct(Fn *f, const char *name, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	const OpDef *op = op_find(name);
	const char *dot = strchr(name, '.');

	if (op && (strrchr(name, '.') != dot || !dot))
		return tv_opcall(f, op, pos, npos, key, kw, nkw, out);
	if (dot && strrchr(name, '.') == dot && haspacket(name))
		return tv_overload(f, name, name, pos, npos, key, kw, nkw, out);
	if (!op && dot && !ownspace(name, (size_t)(dot - name)))
		return tv_custom(f, intern_str(f->r->cx, name), pos, npos, kw, nkw, out);
	return op ? tv_opcall(f, op, pos, npos, key, kw, nkw, out) : tv_unsupported(f, name, out);
}
