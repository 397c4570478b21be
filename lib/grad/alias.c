/* alias.c - which memory a value lies in, and what is in it now.
 *
 * The picture is in fun.h.
 */
#include "grad/fun.h"
#include "ir/ex.h"

/* ---- nodes ------------------------------------------------------------------ */

Node *
fun_node(Fun *f, const OpDef *op, const Arg *arg, int nout, Node *before)
{
	Node *n = node_new(f->g, op, arg, op->nparam, nout, before, before->loc);

	node_inherit(n, before);
	return node_infer(n) ? n : NULL;
}

static void
relink(Use *u, Val *v)
{
	*u->prev = u->next;
	if (u->next)
		u->next->prev = u->prev;
	u->val = v;
	u->next = v->uses;
	if (v->uses)
		v->uses->prev = &u->next;
	u->prev = &v->uses;
	v->uses = u;
}

/* ---- tensors ------------------------------------------------------------------- */

Tens *
fun_known(Fun *f, const Val *v)
{
	return map_get(&f->tens, v);
}

void
fun_same(Fun *f, Val *v, Tens *t)
{
	map_put(f->a, &f->tens, v, t);
}

Tens *
fun_tensor(Fun *f, Val *v)
{
	Tens *t = fun_known(f, v);
	Alias *a;

	if (t)
		return t;
	a = NEW(f->a, Alias);
	*a = (Alias){.root = a, .cur = v, .type = v->type, .offset = sym_const(f->cx, 0)};
	t = NEW(f->a, Tens);
	*t = (Tens){.is = a, .was = a, .input = -1};
	a->owner = t;
	fun_same(f, v, t);
	return t;
}

/* ---- views ------------------------------------------------------------------------ */

static bool
aliases(const OpDef *op)
{
	return op->nret == 1 && op->nparam > 0 && op->param[0].type == AtTensor && !op->param[0].mutated &&
	       op->param[0].alias && op->param[0].alias == op->ret[0].alias;
}

bool
op_isview(const OpDef *op)
{
	return op->flags & OP(View) && op->inverse && aliases(op) && !op->ret[0].list;
}

bool
op_ismultiview(const OpDef *op)
{
	return aliases(op) && op->expand && op->ret[0].list;
}

/* Where the first element of a view lies: its `value` is one load. */
static const Sym *
offset(Fun *f, Node *n, int out, const Alias *parent)
{
	const Type *t = n->out[out].type, *of = parent->type;
	const Sym *zero[MaxRank], *sum = parent->offset;
	const Arg *at = node_arg(n, "storage_offset");
	const Ex *e;

	if (at)                                  /* as_strided counts from the start of the memory */
		return at->kind == ArgInt ? at->i : sum;
	if (n->op->value == NULL)
		return sum;
	for (int d = 0; d < t->rank; d++)
		zero[d] = sym_const(f->cx, 0);
	for (e = ex_element(n, out, zero, t->rank); e && e->kind != ExLoad; )
		e = e->narg == 1 ? e->arg[0] : NULL;
	for (int d = 0; e && d < e->nidx && d < of->rank; d++)
		sum = sym_add(f->cx, sum, sym_mul(f->cx, e->idx[d], type_stride(f->cx, of, d)));
	return sum;
}

/* Its sizes and strides over the parent's; what stands for the parent now may lie otherwise. */
static const Type *
layout(Fun *f, Node *n, int out, const Alias *parent)
{
	Val *v = arg_tensor(n, 0);
	const Type *was = v->type, *is = n->out[out].type, **t;
	int count;

	if (was == parent->type || was->rank != parent->type->rank)
		return is;
	v->type = parent->type;
	if (infer_types(f->g, n->loc, n->op, n->arg, &t, &count) && out < count)
		is = t[out];
	v->type = was;
	return is;
}

Alias *
fun_view(Fun *f, Node *n, int out, Alias *parent)
{
	Alias *a = NEW(f->a, Alias);
	const Printed *p = map_get(&f->printed, n);

	*a = (Alias){.root = parent->root, .parent = parent, .view = n, .out = out,
		.text = p ? p->text : view_text(f->cx, n, out), .offset = offset(f, n, out, parent),
		.type = layout(f, n, out, parent),
		.cur = &n->out[out], .version = parent->root->version};
	return a;
}

static bool
samestrides(Ctx *cx, const Type *a, const Type *b)
{
	for (int d = 0; d < a->rank; d++)
		if (!sym_is(a->dim[d], 1) && !sym_eq(type_stride(cx, a, d), type_stride(cx, b, d)))
			return false;
	return true;
}

/* v, the value of the memory of `root`, laid out as that memory: as_strided counts in it. */
static Val *
aslying(Fun *f, const Alias *root, Val *v, Node *before)
{
	const OpDef *op = op_find("aten.clone.default");
	Arg arg[2] = {arg_val(v), arg_none()};
	Node *n;

	if (v->type->rank != root->type->rank || samestrides(f->cx, v->type, root->type))
		return v;
	if (!root->type->stride && (n = fun_node(f, op, arg, 1, before)) != NULL && samestrides(f->cx, n->out[0].type, root->type))
		return &n->out[0];
	error(f->cx, before->loc, "as_strided of memory that is not row-major, after it was written, is not supported");
	return NULL;
}

static bool
counts(const Node *view)
{
	return node_arg(view, "storage_offset") != NULL;
}

/* as_strided looks at the memory, not at the view that it is given. */
bool
fun_wholememory(Fun *f, Node *n, Alias *of)
{
	Arg *arg = NEWN(f->a, Arg, n->narg);
	Val *v = aslying(f, of->root, of->root->cur, n);

	if (v == NULL)
		return false;
	of->root->cur = v;
	memcpy(arg, n->arg, sizeof *arg * n->narg);
	for (int k = 1; k < n->narg; k++)
		if (strcmp(n->op->param[k].name, "storage_offset") == 0 && arg[k].kind == ArgNone)
			arg[k] = arg_sym(of->offset);
	arg[0] = arg_val(v);
	node_setargs(n, arg, n->narg);
	return true;
}

/* ---- reading and writing ------------------------------------------------------------- */

/* The view again, of another value; one of several as what its operator expands to. */
static Val *
derive(Fun *f, Alias *a, Val *base, Node *before)
{
	const OpDef *op = a->view->op;
	Arg *arg = NEWN(f->a, Arg, a->view->narg + 1);
	Val **res;
	int nres;
	Node *n;

	if (counts(a->view) && (base = aslying(f, a->root, base, before)) == NULL)
		return NULL;
	memcpy(arg, a->view->arg, sizeof *arg * a->view->narg);
	arg[0] = arg_val(base);
	if (op_isview(op)) {
		if ((n = fun_node(f, op, arg, 1, before)) == NULL)
			return NULL;
		a->view = n;
		return &n->out[0];
	}
	if (!expand_op(f->g, op, arg, before->loc, before, &res, &nres) || a->out >= nres)
		return NULL;
	return res[a->out];
}

static bool
torchlike(const Fun *f)
{
	return f->mod->decomp == DecompTorch;
}

/* Every view from the root's memory to a, made again.  all: remembered for each of them. */
static Val *
rederive(Fun *f, Alias *a, bool all, Node *before)
{
	Val *v = a->parent->parent ? rederive(f, a->parent, all, before) : a->root->cur;

	if (v && (v = derive(f, a, v, before)) && all) {
		a->cur = v;
		a->version = a->root->version;
	}
	return v;
}

/* PyTorch replays the whole chain for each view; here views share what they have in common. */
Val *
fun_value(Fun *f, Alias *a, Node *before)
{
	Val *v;

	if (a->parent == NULL || a->version == a->root->version)
		return a->cur;
	if (torchlike(f))
		v = rederive(f, a, false, before);
	else
		v = (v = fun_value(f, a->parent, before)) ? derive(f, a, v, before) : NULL;
	if (v == NULL)
		return NULL;
	a->cur = v;
	a->version = a->root->version;
	return v;
}

/* The base of a view whose value becomes v: through what derived it, step by step. */
static bool
invert(Fun *f, Alias *a, Val *v, Node *before, Val **base)
{
	Val *now = fun_value(f, a->parent, before), *at;

	if (now == NULL)
		return false;
	if (counts(a->view) && (now = a->parent->cur = aslying(f, a->root, now, before)) == NULL)
		return false;
	if (op_isview(a->view->op)) {
		/* The view node must stand on the parent's value of now. */
		if (arg_tensor(a->view, 0) != now && derive(f, a, now, before) == NULL)
			return false;
		return lang_inverse(a->view, v, before, base);
	}
	if ((at = derive(f, a, now, before)) == NULL)
		return false;
	for (*base = v; at != now; at = arg_tensor(at->def, 0))
		if (!op_isview(at->def->op) || !lang_inverse(at->def, *base, before, base)) {
			error(f->cx, before->loc, "%s: its results cannot be written", a->view->op->name);
			return false;
		}
	return true;
}

/* v, whose gradient is that of `was`: memory written behind autograd's back, under no_grad or by
 * way of detach, is to autograd what it was. */
Val *
fun_unseen(Fun *f, Val *v, Val *was, Node *before)
{
	const OpDef *op = op_find("fxcc.written.default");
	Arg arg[2] = {arg_val(v), arg_val(was)};
	Node *n;

	if (op == NULL)
		op = op_find("fxcc.written");
	if ((n = op ? fun_node(f, op, arg, 1, before) : NULL) == NULL)
		return NULL;
	n->region = GradOn;
	return &n->out[0];
}

static bool
detached(const Alias *a)
{
	return strcmp(a->view->op->name, "aten.detach.default") == 0;
}

/* Does autograd miss that the root of a is written through a? */
static bool
hidden(Fun *f, Alias *a, const Node *before)
{
	if (!f->gradmode || !a->root->owner || !tens_grad(a->root->owner))
		return false;
	for (; a->parent; a = a->parent)
		if (detached(a))
			return true;
	return !fun_gradmode(f, before);
}

/* PyTorch derives even the view that was written anew. */
bool
fun_write(Fun *f, Alias *a, Val *v, const Slices *s, Node *before)
{
	bool unnoticed = hidden(f, a, before), stale = unnoticed || torchlike(f);
	Val *was = a->root->cur, *wrote = v;
	Alias *view = a;

	if (a->parent && torchlike(f) && !rederive(f, a, true, before))
		return false;
	for (; a->parent; a = a->parent) {
		Val *base;
		Arg arg = arg_val(v);
		Node *n;
		if (!invert(f, a, v, before, &base))
			return false;
		if (base == v && torchlike(f) && strcmp(a->view->op->name, "aten.alias.default") == 0) {   /* PyTorch inverts it so */
			if ((n = fun_node(f, op_find("aten.alias.default"), &arg, 1, before)) == NULL)
				return false;
			base = &n->out[0];
		}
		a->cur = v;
		v = base;
		if (s && a->parent == s->base && (v = fun_slices(f, s, v, wrote, before)) == NULL)
			return false;
	}
	if (unnoticed && (v = fun_unseen(f, v, was, before)) == NULL)
		return false;
	a->cur = v;
	a->version++;
	a->nograd += !fun_gradmode(f, before);
	for (; !stale && view != a; view = view->parent)
		view->version = a->version;
	return true;
}

typedef struct Refresh { Fun *f; Node *n; bool bad; } Refresh;

static void
refresh1(void *arg, Use *u)
{
	Refresh *r = arg;
	Tens *t = fun_known(r->f, u->val);
	Val *v;

	if (t == NULL || r->bad)
		return;
	if ((v = fun_value(r->f, t->is, r->n)) == NULL)
		r->bad = true;
	else if (v != u->val)
		relink(u, v);
}

bool
fun_refresh(Fun *f, Node *n)
{
	Refresh r = {.f = f, .n = n};

	node_operands(n, refresh1, &r);
	return !r.bad;
}
