/* writes.c - operators that write their arguments, as operators that do not.
 *
 * The new value comes from the operator of the same name without the underscore, from the
 * functional overload of an out= form, or from the table's `expand` line; fun_write carries it
 * to the memory.  Those that only give a tensor other sizes (t_, squeeze_) write nothing: the
 * tensor becomes another view.
 */
#include <ctype.h>
#include "grad/fun.h"

bool
fun_gradmode(const Fun *f, const Node *n)
{
	return f->gradmode && n->region != GradOff;
}

/* ---- running statistics --------------------------------------------------------------- */

/* Operators that write running_mean and running_var whatever their schema says. */
struct Stats { const char *name, *when, *momentum, *eps, *functional; };
static const struct Stats stattab[] = {
	{ "aten.batch_norm.default", "training", "momentum", "eps",
	  "aten._native_batch_norm_legit_functional.default" },
	{ "aten.native_batch_norm.default", "training", "momentum", "eps",
	  "aten._native_batch_norm_legit_functional.default" },
	{ "aten._native_batch_norm_legit.default", "training", "momentum", "eps",
	  "aten._native_batch_norm_legit_functional.default" },
	{ "aten.cudnn_batch_norm.default", "training", "exponential_average_factor", "epsilon",
	  "aten._native_batch_norm_legit_functional.default" },
	{ "aten._batch_norm_with_update.default", NULL, "momentum", "eps",
	  "aten._batch_norm_with_update_functional.default" },
	{ "aten.instance_norm.default", "use_input_stats", "momentum", "eps",
	  "fxcc.instance_norm_functional" },
};

static bool
istrue(const Node *n, const char *name)
{
	const Arg *a = node_arg(n, name);

	return a && a->kind == ArgBool && a->b;
}

const struct Stats *
node_stats(const Node *n)
{
	for (int k = 0; k < COUNT(stattab); k++) {
		const Arg *mean;
		if (strcmp(n->op->name, stattab[k].name) != 0)
			continue;
		mean = node_arg(n, "running_mean");
		if (mean && mean->kind == ArgVal && (!stattab[k].when || istrue(n, stattab[k].when)))
			return &stattab[k];
	}
	return NULL;
}

/* What the node calls `name`. */
static Arg
named(const Node *n, const char *name)
{
	const Arg *a = node_arg(n, name);

	return a ? *a : arg_none();
}

/* The results of n are those of m, which has more. */
static bool
replaced(Fun *f, Node *n, Node *m, int more)
{
	for (int k = 0; k < n->nout; k++) {
		if (k >= m->nout - more) {
			if (n->out[k].uses == NULL)
				continue;
			error(f->cx, n->loc, "%s: its result %d is not supported", n->op->name, k);
			return false;
		}
		if (n->out[k].name)
			val_rename(f->g, &m->out[k], n->out[k].name);
		val_replace(&n->out[k], &m->out[k]);
	}
	return true;
}

bool
fun_stats(Fun *f, Node *n, const struct Stats *s)
{
	const OpDef *op;
	Arg *arg;
	Node *m;
	Tens *stat[2];
	bool grad = fun_differentiable(f, n);

	if (s->functional == NULL || (op = op_find(s->functional)) == NULL) {
		error(f->cx, n->loc, "%s: updating running statistics is not supported", n->op->name);
		return false;
	}
	stat[0] = fun_tensor(f, node_arg(n, "running_mean")->use->val);
	stat[1] = fun_tensor(f, node_arg(n, "running_var")->use->val);
	if (!fun_refresh(f, n))
		return false;
	arg = NEWN(f->a, Arg, op->nparam);
	for (int k = 0; k < op->nparam; k++) {
		const char *p = op->param[k].name;
		if (strcmp(p, "training") == 0)
			arg[k] = arg_bool(true);
		else
			arg[k] = named(n, strcmp(p, "momentum") == 0 ? s->momentum :
			               strcmp(p, "eps") == 0 ? s->eps : p);
	}
	if ((m = fun_node(f, op, arg, op->nret, n)) == NULL)
		return false;
	if (grad)
		fun_requiregrad(f, m);
	for (int k = 0; k < 2; k++)
		if (!fun_write(f, stat[k]->is, &m->out[op->nret - 2 + k], NULL, n))
			return false;
	vec_push(f->a, &f->dead, n);
	return replaced(f, n, m, 2);
}

/* ---- the operator without writing ---------------------------------------------------------- */

/* Of the operators in stattab only node_stats can tell. */
bool
op_writes(const OpDef *op)
{
	for (int k = 0; k < COUNT(stattab); k++)
		if (strcmp(op->name, stattab[k].name) == 0)
			return false;
	if (op->flags & OP(Inplace))
		return true;
	for (int k = 0; k < op->nparam; k++)
		if (op->param[k].mutated)
			return true;
	return false;
}

/* "aten.add_.Tensor" -> "aten.add.Tensor"; NULL: the name does not end in '_'. */
static const char *
stripped(Fun *f, const char *name)
{
	const char *dot = strrchr(name, '.');

	if (dot == NULL || dot == name || dot[-1] != '_')
		return NULL;
	return arena_printf(f->a, "%.*s%s", (int)(dot - 1 - name), name, dot);
}

/* The arguments that op takes by name or place from n's; false: one is missing. */
static bool
matched(Fun *f, const Node *n, const OpDef *op, Arg **arg)
{
	*arg = NEWN(f->a, Arg, op->nparam + 1);
	for (int k = 0; k < op->nparam; k++) {
		const Arg *a = node_arg(n, op->param[k].name);
		if (a == NULL && k < n->narg && k < n->op->nparam && !n->op->param[k].kwonly)
			a = &n->arg[k];
		if (a == NULL)
			return false;
		(*arg)[k] = *a;
	}
	return true;
}

/* The operator that computes what n writes, and its arguments.  Those of an out= form
 * are n's but the ones written. */
static const OpDef *
functional(Fun *f, Node *n, Arg **arg)
{
	const char *name = stripped(f, n->op->name), *dot;
	const OpDef *op = name ? op_find(name) : NULL;
	VEC(Arg) pos = {0}, kw = {0};
	VEC(Str) key = {0};

	/* pow_.Scalar(Tensor, Scalar) is not pow.Scalar(Scalar, Tensor) */
	if (op && op->nret > 0 && op->nparam > 0 &&
	    op->param[0].type == n->op->param[0].type && op->param[0].list == n->op->param[0].list)
		return matched(f, n, op, arg) ? op : NULL;
	for (int k = 0; k < n->narg; k++) {
		const Param *p = &n->op->param[k];
		if (p->mutated && p->kwonly)
			continue;
		if (!p->kwonly) {
			vec_push(f->a, &pos, n->arg[k]);
			continue;
		}
		vec_push(f->a, &kw, n->arg[k]);
		vec_push(f->a, &key, intern_str(f->cx, p->name));
	}
	name = name ? name : n->op->name;
	dot = strrchr(name, '.');
	name = arena_printf(f->a, "%.*s", (int)(dot - name), name);
	op = op_overload(f->cx, name, pos.v, pos.n, key.v, kw.v, kw.n);
	if (op == NULL || op == n->op || op_writes(op))
		return NULL;
	*arg = NEWN(f->a, Arg, op->nparam + 1);
	return op_bind(f->cx, n->loc, op, pos.v, pos.n, key.v, kw.v, kw.n, *arg) ? op : NULL;
}

/* The tensors that n writes, in order. */
static int
targets(Fun *f, Node *n, Tens ***list)
{
	VEC(Tens *) v = {0};

	for (int k = 0; k < n->narg; k++) {
		const Arg *a = &n->arg[k];
		if (!n->op->param[k].mutated)
			continue;
		if (a->kind == ArgVal)
			vec_push(f->a, &v, fun_tensor(f, a->use->val));
		for (int j = 0; a->kind == ArgList && j < a->list.n; j++)
			if (a->list.v[j].kind == ArgVal)
				vec_push(f->a, &v, fun_tensor(f, a->list.v[j].use->val));
	}
	*list = v.v;
	return v.n;
}

static bool
sameshape(const Type *a, const Type *b)
{
	if (a->rank != b->rank)
		return false;
	for (int d = 0; d < a->rank; d++)
		if (!sym_eq(a->dim[d], b->dim[d]))
			return false;
	return true;
}

/* Call op with positional arguments; NULL: reported. */
static Val *
call(Fun *f, const char *name, const Arg *pos, int npos, Node *before)
{
	const OpDef *op = op_find(name);
	Arg all[16];
	Node *n;

	if (op == NULL || op->nparam > COUNT(all) ||
	    !op_bind(f->cx, before->loc, op, pos, npos, NULL, NULL, 0, all))
		return NULL;
	n = fun_node(f, op, all, 1, before);
	return n ? &n->out[0] : NULL;
}

/* v as the dtype of what it is written to. */
static Val *
fitted(Fun *f, Node *n, Val *v, const Type *t)
{
	Arg to[2] = {arg_val(v), arg_dtype(t->dt)};

	if (v->type == NULL || v->type->kind != TyTensor || v->type->dt == t->dt)
		return v;
	return call(f, "prims.convert_element_type.default", to, 2, n);
}

/* copy_ of a whole tensor of the same type needs no node.  An input stays a copy:
 * a result that is another input's memory would be read after it was written.  So does
 * anything that is differentiated: PyTorch's graph has the copy. */
static Val *
copied(Fun *f, Node *n)
{
	Val *to, *from;

	if (strcmp(n->op->name, "aten.copy_.default") != 0)
		return NULL;
	to = arg_tensor(n, 0), from = arg_tensor(n, 1);
	if (to == NULL || from == NULL || from->def->op->flags & OP(Leaf) || f->mod->decomp == DecompTorch)
		return NULL;
	return to->type->dt == from->type->dt && sameshape(to->type, from->type) ? from : NULL;
}

/* The new values, one for each target, before n. */
static bool
results(Fun *f, Node *n, Val ***res, int *nres)
{
	Val *v = copied(f, n);
	const OpDef *op;
	const Type **t;
	int count;
	Arg *arg;
	Node *m;

	if (v) {
		*res = NEWN(f->a, Val *, 1);
		(*res)[0] = v;
		*nres = 1;
		return true;
	}
	if (n->op->expand || (n->op->torch && f->mod->decomp == DecompTorch))
		return expand_op(f->g, n->op, n->arg, n->loc, n, res, nres);
	if ((op = functional(f, n, &arg)) == NULL) {
		error(f->cx, n->loc, "%s writes its argument, and there is no operator without that",
		      n->op->name);
		return false;
	}
	count = op->nret;
	if (op->nret == 1 && op->ret[0].list && !infer_types(f->g, n->loc, op, arg, &t, &count))
		return false;
	if ((m = fun_node(f, op, arg, count, n)) == NULL)
		return false;
	*nres = m->nout;
	*res = NEWN(f->a, Val *, m->nout);
	for (int k = 0; k < m->nout; k++)
		(*res)[k] = &m->out[k];
	return true;
}

/* ---- other sizes, other memory ------------------------------------------------------------- */

/* From here on `self` is v: a chain of views, made between prev and n, of what it was. */
static bool
becomes(Fun *f, Node *n, Node *prev, Tens *self, Val *v, Str text)
{
	Alias *is = self->is;
	bool first = true;

	for (Node *m = prev ? prev->next : f->g->first; m != n; m = m->next)
		if (op_isview(m->op) && arg_tensor(m, 0) == is->cur) {
			is = fun_view(f, m, 0, is);
			if (text)
				is->text = first ? text : NULL;
			first = false;
		}
	if (is->cur != v) {
		error(f->cx, n->loc, "%s: changing the shape of a tensor in place is not supported here",
		      n->op->name);
		return false;
	}
	self->is = is;
	if (n->nout)
		fun_same(f, &n->out[0], self);
	vec_push(f->a, &f->dead, n);
	return true;
}

/* t_, squeeze_ ...: the tensor becomes a view of what it was; its memory is not written. */
static bool
reshaping(Fun *f, Node *n, bool *done)
{
	const char *name = stripped(f, n->op->name);
	const OpDef *op = name ? op_find(name) : NULL;
	Node *prev, *m;
	Val **res;
	Tens *self;
	Arg *arg;
	int nres = 1;

	*done = op && op->nparam > 0 && op->param[0].alias && !op->param[0].mutated;
	if (!*done)
		return true;
	self = fun_tensor(f, arg_tensor(n, 0));
	if (!fun_refresh(f, n) || functional(f, n, &arg) == NULL)
		return false;
	prev = n->prev;
	if (op->expand && !op_isview(op)) {
		if (!expand_op(f->g, op, arg, n->loc, n, &res, &nres))
			return false;
		if (res[0]->def == self->is->cur->def && prev == n->prev) {   /* it is that already */
			fun_same(f, &n->out[0], self);
			vec_push(f->a, &f->dead, n);
			return true;
		}
		return becomes(f, n, prev, self, res[0], view_text(f->cx, n, 0));
	}
	if (strcmp(op->name, "aten.detach.default") == 0)
		self->grad = false, self->base = NULL;
	m = fun_node(f, op, arg, 1, n);
	return m && becomes(f, n, prev, self, &m->out[0], NULL);
}

/* set_: from here on a tensor lies in another's memory. */
static bool
replacing(Fun *f, Node *n, bool *done)
{
	Tens *self, *source;
	Val *v;

	*done = strcmp(n->op->name, "aten.set_.source_Tensor") == 0;
	if (!*done)
		return true;
	self = fun_tensor(f, arg_tensor(n, 0));
	source = fun_tensor(f, arg_tensor(n, 1));
	if ((v = fun_value(f, source->is, n)) == NULL)
		return false;
	self->is = source->is;
	self->replaced = true;
	if (n->nout)
		fun_same(f, &n->out[0], self);
	vec_push(f->a, &f->dead, n);
	return true;
}

/* resize_ to as many elements or fewer gives the tensor other sizes; to more, other memory:
 * which an input or a view cannot have. */
static bool
resizing(Fun *f, Node *n, bool *done)
{
	const Sym *numel, *size;
	const Type *was;
	Arg arg[4];
	Node *prev;
	Tens *self;
	Val *v;

	*done = false;
	if (strcmp(n->op->name, "aten.resize_.default") != 0)
		return true;
	self = fun_tensor(f, arg_tensor(n, 0));
	was = self->is->cur->type;
	numel = type_numel(f->cx, was);
	size = sym_const(f->cx, 1);
	for (int k = 0; k < n->arg[1].list.n; k++)
		size = sym_mul(f->cx, size, n->arg[1].list.v[k].i);
	*done = sym_le(f->cx, size, numel);
	if (!*done) {
		if (self->input < 0 && self->is->parent == NULL)
			return true;
		error(f->cx, n->loc, "resize_: %s cannot grow from %s to %s elements: its memory is not its own",
		      self->input >= 0 ? "an input" : "a view", sym_str(f->cx, numel), sym_str(f->cx, size));
		return false;
	}
	if (!fun_refresh(f, n))
		return false;
	int rank = n->arg[1].list.n;
	Arg *stride = NEWN(f->a, Arg, rank + 1);
	const Sym *step = sym_const(f->cx, 1);
	for (int d = rank - 1; d >= 0; d--) {
		stride[d] = arg_sym(step);
		step = sym_mul(f->cx, step, n->arg[1].list.v[d].i);
	}
	prev = n->prev;
	arg[0] = arg_val(self->is->cur);
	arg[1] = n->arg[1];
	arg[2] = arg_list(f->a, stride, rank);
	arg[3] = arg_sym(self->is->offset);
	v = call(f, "aten.as_strided.default", arg, 4, n);
	return v && becomes(f, n, prev, self, v, NULL);
}

/* ---- a node ------------------------------------------------------------------------------- */

/* A write under autograd: what is written requires a gradient if anything that n reads does. */
static void
tracked(Fun *f, Node *n, Tens **to, int nto)
{
	bool any = false;

	if (!fun_gradmode(f, n))
		return;
	for (int k = 0; k < n->narg; k++) {
		Val *v = arg_tensor(n, k);
		if (v && v->type && v->type->kind == TyTensor && dtypeinfo[v->type->dt].kind >= KindFloat)
			any |= tens_grad(fun_tensor(f, v));
	}
	for (int k = 0; any && k < nto; k++) {
		to[k]->grad = true;
		if (to[k]->base)
			to[k]->base->grad = true;
	}
}

/* Does a gradient formula read `self`, and not only its sizes or dtype? */
static bool
readsself(const char *text)
{
	static const char *const facts[] = {".shape", ".dtype", ".ndim", ".numel", ".stride"};

	for (const char *s = text; (s = strstr(s, "self")) != NULL; s += 4) {
		bool fact = (s > text && (isalnum((unsigned char)s[-1]) || s[-1] == '_')) ||
		            isalnum((unsigned char)s[4]) || s[4] == '_';
		for (int k = 0; k < COUNT(facts); k++)
			fact |= strncmp(s + 4, facts[k], strlen(facts[k])) == 0;
		if (!fact)
			return true;
	}
	return false;
}

/* Autograd keeps a copy of what an in-place operator overwrites, if the derivative reads it.
 * Before fun_refresh. */
static bool
keepsself(Fun *f, const Node *n)
{
	const char *name = stripped(f, n->op->name);
	const OpDef *op = name ? op_find(name) : NULL;

	if (op == NULL || n->op->torch || f->mod->decomp != DecompTorch || !f->mod->train || !fun_gradmode(f, n))
		return false;
	for (int k = 0; k < op->ngrad; k++) {
		const Arg *a = node_arg(n, op->grad[k].arg);
		if (a && a->kind == ArgVal && tens_grad(fun_tensor(f, a->use->val)) && readsself(op->grad[k].text))
			return true;
	}
	return false;
}

static bool
copyself(Fun *f, Node *n)
{
	Arg *arg = NEWN(f->a, Arg, n->narg + 1), self = arg_val(arg_tensor(n, 0));
	Val *v = call(f, "aten.clone.default", &self, 1, n);

	if (v == NULL)
		return false;
	memcpy(arg, n->arg, sizeof *arg * n->narg);
	arg[0] = arg_val(v);
	node_setargs(n, arg, n->narg);
	return true;
}

/* What is no view to autograd (x after x.t_(), a detached tensor) has the history of what was
 * written to it, not that of the memory. */
static bool
ownhistory(Fun *f, Tens *t, Val *v, Node *n)
{
	if (f->mod->decomp != DecompTorch || t->base || t->is->parent == NULL || !t->grad || !fun_gradmode(f, n))
		return true;
	return (v = fun_unseen(f, fun_value(f, t->is, n), v, n)) && (t->is->cur = v);
}

static bool
writing(Fun *f, Node *n)
{
	Tens **to;
	Val **res, *v;
	int nto = targets(f, n, &to), nres;
	bool keep = keepsself(f, n);
	Slices s = {0};

	tracked(f, n, to, nto);
	fun_tell(f, n);
	if (!fun_refresh(f, n) || (nto == 1 && !fun_sliced(f, n, to[0], &s)) || (keep && !copyself(f, n)) || !results(f, n, &res, &nres))
		return false;
	if (nres < nto) {
		error(f->cx, n->loc, "%s writes %d tensors, its functional form gives %d",
		      n->op->name, nto, nres);
		return false;
	}
	for (int k = 0; k < nto; k++) {
		Str name = k < n->nout ? n->out[k].name : NULL;
		if ((v = fitted(f, n, res[k], to[k]->is->cur->type)) == NULL ||
		    !fun_write(f, to[k]->is, v, &s, n) || !ownhistory(f, to[k], v, n))
			return false;
		to[k]->seen = to[k]->is->version;
		if (name && v->def->id > n->id)
			val_rename(f->g, v, name);
		if (k < n->nout)
			fun_same(f, &n->out[k], to[k]);
	}
	vec_push(f->a, &f->dead, n);
	return true;
}

bool
fun_mutation(Fun *f, Node *n)
{
	static bool (*const special[])(Fun *, Node *, bool *) = {reshaping, replacing, resizing};
	bool done = false;

	for (int k = 0; k < COUNT(special); k++) {
		if (!(n->op->flags & OP(Inplace)))
			break;
		if (!special[k](f, n, &done))
			return false;
		if (done)
			return true;
	}
	return writing(f, n);
}
