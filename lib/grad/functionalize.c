/* functionalize.c - turn mutation and aliasing into values.
 *
 * Walks the nodes in order and keeps, for every value of the program, an Alias:
 * what stands for it now.  Values that share memory form a tree: its root owns
 * the memory, the others are views of their parents.  A write makes a new value
 * and carries it from the view up to the root by the `inverse` lines of the
 * views; the root's version says that other views are out of date, and these are
 * derived anew (their view node copied) when somebody reads them.
 *
 *     y = x[0]            y is a view of x
 *     y.add_(1)           v = add(y, 1); x' = select_scatter(x, v, 0, 0)
 *     z = x + 1           z = add(x', 1)
 *
 * An operator that expands is expanded first, whatever it is: only then is it
 * seen what views it makes.  In the end the inputs whose memory was written
 * have results of their own, before the user's, in the order of the inputs.
 */
#include "grad/grad.h"
#include "ir/lang.h"

typedef struct Alias Alias;
struct Alias {
	Alias *root, *parent;    /* parent NULL: the root */
	Node *view;              /* what derives it from the parent */
	Val *cur;                /* its value, as of version */
	int version;             /* the root's: how often it was written */
};

/* A tensor as the program sees it: `y = x.add_(1)` makes y the same tensor as x, and
 * x.t_() makes both another view. */
typedef struct Tens { Alias *is; } Tens;

typedef struct Fun {
	Module *mod;
	Graph *g;
	Ctx *cx;
	Arena *a;
	Map tens;                /* Val * to Tens *; looked up only */
	VEC(Node *) dead;        /* writers that were replaced */
} Fun;

/* ---- arguments --------------------------------------------------------------- */

/* The arguments of one node for another: node_new copies them. */
static Arg *
argscopy(Fun *f, const Node *n)
{
	Arg *r = NEWN(f->a, Arg, n->narg + 1);

	memcpy(r, n->arg, sizeof *r * n->narg);
	return r;
}

static Node *
build(Fun *f, const OpDef *op, const Arg *arg, int nout, Node *before)
{
	Node *n = node_new(f->g, op, arg, op->nparam, nout, before, before->loc);

	n->backward = before->backward;
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

/* ---- reading and writing ------------------------------------------------------- */

static Tens *
tensor(Fun *f, Val *v)
{
	Tens *t = map_get(&f->tens, v);

	if (t == NULL) {
		t = NEW(f->a, Tens);
		t->is = NEW(f->a, Alias);
		t->is->root = t->is;
		t->is->cur = v;
		map_put(f->a, &f->tens, v, t);
	}
	return t;
}

static Alias *
alias(Fun *f, Val *v)
{
	return tensor(f, v)->is;
}

/* The value now; NULL: reported. */
static Val *
value(Fun *f, Alias *a, Node *before)
{
	Val *base;
	Arg *arg;
	Node *n;

	if (a->parent == NULL || a->version == a->root->version)
		return a->cur;
	if ((base = value(f, a->parent, before)) == NULL)
		return NULL;
	arg = argscopy(f, a->view);
	arg[0] = arg_val(base);
	if ((n = build(f, a->view->op, arg, 1, before)) == NULL)
		return NULL;
	a->view = n;
	a->cur = &n->out[0];
	a->version = a->root->version;
	return a->cur;
}

static bool
overwrite(Fun *f, Alias *a, Val *v, Node *before)
{
	Val *base;

	if (a->parent) {
		/* The view node must stand on the parent's value of now. */
		if (value(f, a, before) == NULL ||
		    !lang_inverse(a->view, v, before, &base) ||
		    !overwrite(f, a->parent, base, before))
			return false;
	} else
		a->version++;
	a->cur = v;
	a->version = a->root->version;
	return true;
}

typedef struct Refresh { Fun *f; Node *n; bool bad; } Refresh;

static void
refresh1(void *arg, Use *u)
{
	Refresh *r = arg;
	Tens *t = map_get(&r->f->tens, u->val);
	Val *v;

	if (t == NULL || r->bad)
		return;
	if ((v = value(r->f, t->is, r->n)) == NULL)
		r->bad = true;
	else if (v != u->val)
		relink(u, v);
}

/* Let the node read what its operands are now. */
static bool
refresh(Fun *f, Node *n)
{
	Refresh r = {.f = f, .n = n};

	node_operands(n, refresh1, &r);
	return !r.bad;
}

/* ---- views ------------------------------------------------------------------------ */

static bool
isview(const OpDef *op)
{
	return op->flags & OP(View) && op->inverse && op->nret == 1 && op->nparam > 0 &&
	       op->param[0].type == AtTensor && op->param[0].alias &&
	       op->param[0].alias == op->ret[0].alias;
}

/* The result of n is a view of what its first operand was before refresh. */
static Alias *
viewof(Fun *f, Node *n, Alias *parent)
{
	Alias *a = NEW(f->a, Alias);

	*a = (Alias){.root = parent->root, .parent = parent, .view = n,
		.cur = &n->out[0], .version = parent->root->version};
	return a;
}

/* ---- running statistics --------------------------------------------------------------- */

/* Operators that write running_mean and running_var whatever their schema says. */
static const struct Stats { const char *name, *when, *momentum, *eps, *functional; } stattab[] = {
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
	{ "aten.instance_norm.default", "use_input_stats", NULL, NULL, NULL },
};

static bool
istrue(const Node *n, const char *name)
{
	const Arg *a = node_arg(n, name);

	return a && a->kind == ArgBool && a->b;
}

static const struct Stats *
stats(const Node *n)
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

static bool
functional_stats(Fun *f, Node *n, const struct Stats *s)
{
	const OpDef *op;
	Arg *arg;
	Node *m;
	Alias *stat[2];

	if (s->functional == NULL || (op = op_find(s->functional)) == NULL) {
		error(f->cx, n->loc, "%s: updating running statistics is not supported", n->op->name);
		return false;
	}
	stat[0] = alias(f, node_arg(n, "running_mean")->use->val);
	stat[1] = alias(f, node_arg(n, "running_var")->use->val);
	if (!refresh(f, n))
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
	if ((m = build(f, op, arg, op->nret, n)) == NULL)
		return false;
	for (int k = 0; k < 2; k++)
		if (!overwrite(f, stat[k], &m->out[op->nret - 2 + k], n))
			return false;
	for (int k = 0; k < n->nout; k++) {
		if (k >= m->nout - 2) {
			if (n->out[k].uses == NULL)
				continue;
			error(f->cx, n->loc, "%s: its result %d is not supported", n->op->name, k);
			return false;
		}
		if (n->out[k].name)
			val_rename(f->g, &m->out[k], n->out[k].name);
		val_replace(&n->out[k], &m->out[k]);
	}
	vec_push(f->a, &f->dead, n);
	return true;
}

/* ---- writing operators --------------------------------------------------------------------- */

/* Of the operators in stattab only stats() can tell. */
static bool
writes(const OpDef *op)
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
	    op->param[0].type == n->op->param[0].type && op->param[0].list == n->op->param[0].list) {
		*arg = NEWN(f->a, Arg, op->nparam + 1);
		for (int k = 0; k < op->nparam; k++) {
			const Arg *a = node_arg(n, op->param[k].name);
			if (a == NULL && k < n->narg && k < n->op->nparam && !n->op->param[k].kwonly)
				a = &n->arg[k];
			if (a == NULL)
				return NULL;
			(*arg)[k] = *a;
		}
		return op;
	}
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
	if (op == NULL || op == n->op || writes(op))
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
			vec_push(f->a, &v, tensor(f, a->use->val));
		for (int j = 0; a->kind == ArgList && j < a->list.n; j++)
			if (a->list.v[j].kind == ArgVal)
				vec_push(f->a, &v, tensor(f, a->list.v[j].use->val));
	}
	*list = v.v;
	return v.n;
}

/* v as the dtype of what it is written to. */
static Val *
fitted(Fun *f, Node *n, Val *v, const Type *t)
{
	const OpDef *op = op_find("aten._to_copy.default");
	Arg dt = arg_dtype(t->dt), self = arg_val(v), all[16];
	Node *m;

	if (v->type == NULL || v->type->kind != TyTensor || v->type->dt == t->dt)
		return v;
	Str key = intern_str(f->cx, "dtype");
	if (op == NULL || op->nparam > COUNT(all) ||
	    !op_bind(f->cx, n->loc, op, &self, 1, &key, &dt, 1, all))
		return NULL;
	m = build(f, op, all, 1, n);
	return m ? &m->out[0] : NULL;
}

/* copy_ of a whole tensor of the same type needs no node.  An input stays a copy:
 * a result that is another input's memory would be read after it was written. */
static Val *
copied(Node *n)
{
	Val *to, *from;

	if (strcmp(n->op->name, "aten.copy_.default") != 0)
		return NULL;
	to = arg_tensor(n, 0), from = arg_tensor(n, 1);
	if (to == NULL || from == NULL || from->def->op->flags & OP(Leaf))
		return NULL;
	if (to->type->dt != from->type->dt || to->type->rank != from->type->rank)
		return NULL;
	for (int d = 0; d < to->type->rank; d++)
		if (!sym_eq(to->type->dim[d], from->type->dim[d]))
			return NULL;
	return from;
}

/* The new values, one for each target, before n. */
static bool
results(Fun *f, Node *n, Val ***res, int *nres)
{
	Val *v = copied(n);
	const OpDef *op;
	Arg *arg;
	Node *m;

	if (v) {
		*res = NEWN(f->a, Val *, 1);
		(*res)[0] = v;
		*nres = 1;
		return true;
	}
	if (n->op->expand)
		return expand_op(f->g, n->op, n->arg, n->loc, n, res, nres);
	if ((op = functional(f, n, &arg)) == NULL) {
		error(f->cx, n->loc, "%s writes its argument, and there is no operator without that",
		      n->op->name);
		return false;
	}
	if (op->nret == 1 && op->ret[0].list) {
		const Type **t;
		int k;
		if (!infer_types(f->g, n->loc, op, arg, &t, &k))
			return false;
		m = build(f, op, arg, k, n);
	} else
		m = build(f, op, arg, op->nret, n);
	if (m == NULL)
		return false;
	*nres = m->nout;
	*res = NEWN(f->a, Val *, m->nout);
	for (int k = 0; k < m->nout; k++)
		(*res)[k] = &m->out[k];
	return true;
}

/* t_, squeeze_ ...: the tensor becomes a view of what it was; its memory is not written. */
static bool
reshaping(Fun *f, Node *n, bool *done)
{
	const char *name = stripped(f, n->op->name);
	const OpDef *op = name ? op_find(name) : NULL;
	Val *v, **res;
	Tens *self;
	Alias *was;
	Arg *arg;
	int nres = 1;
	Node *prev = n->prev, *m;

	*done = false;
	if (op == NULL || op->nparam == 0 || !op->param[0].alias || op->param[0].mutated)
		return true;
	*done = true;
	self = tensor(f, arg_tensor(n, 0));
	was = self->is;
	if (!refresh(f, n) || functional(f, n, &arg) == NULL)
		return false;
	if (op->expand && !isview(op)) {
		if (!expand_op(f->g, op, arg, n->loc, n, &res, &nres))
			return false;
		v = res[0];
	} else if ((m = build(f, op, arg, 1, n)) == NULL)
		return false;
	else
		v = &m->out[0];
	/* One node after the other: each is a view of the one before. */
	for (m = prev ? prev->next : f->g->first; m != n; m = m->next)
		if (isview(m->op))
			was = viewof(f, m, was);
	if (was->cur != v) {
		error(f->cx, n->loc, "%s: changing the shape of a tensor in place is not supported here",
		      n->op->name);
		return false;
	}
	self->is = was;
	if (n->nout)
		map_put(f->a, &f->tens, &n->out[0], self);
	vec_push(f->a, &f->dead, n);
	return true;
}

static bool
mutation(Fun *f, Node *n)
{
	Tens **to;
	Val **res, *v;
	int nto, nres;
	bool done;

	if (n->op->flags & OP(Inplace)) {
		if (!reshaping(f, n, &done))
			return false;
		if (done)
			return true;
	}
	nto = targets(f, n, &to);
	if (!refresh(f, n) || !results(f, n, &res, &nres))
		return false;
	if (nres < nto) {
		error(f->cx, n->loc, "%s writes %d tensors, its functional form gives %d",
		      n->op->name, nto, nres);
		return false;
	}
	for (int k = 0; k < nto; k++) {
		Str name = k < n->nout ? n->out[k].name : NULL;
		if ((v = fitted(f, n, res[k], to[k]->is->cur->type)) == NULL ||
		    !overwrite(f, to[k]->is, v, n))
			return false;
		if (name && v->def->id > n->id)
			val_rename(f->g, v, name);
		if (k < n->nout)
			map_put(f->a, &f->tens, &n->out[k], to[k]);
	}
	vec_push(f->a, &f->dead, n);
	return true;
}

/* ---- the graph ---------------------------------------------------------------------------- */

static bool
expands(const Node *n)
{
	return node_composite(n) && !writes(n->op);
}

static bool
node(Fun *f, Node *n)
{
	const struct Stats *s = stats(n);
	Alias *base;

	if (s)
		return functional_stats(f, n, s);
	if (writes(n->op))
		return mutation(f, n);
	base = isview(n->op) && arg_tensor(n, 0) ? alias(f, arg_tensor(n, 0)) : NULL;
	if (!refresh(f, n))
		return false;
	if (base)
		tensor(f, &n->out[0])->is = viewof(f, n, base);
	return true;
}

static bool
nodes(Fun *f)
{
	for (Node *n = f->g->first, *prev; n; ) {
		prev = n->prev;
		if (expands(n) && !stats(n)) {
			if (!node_expand(n))
				return false;
			n = prev ? prev->next : f->g->first;
			continue;
		}
		if (!node(f, n))
			return false;
		n = n->next;
	}
	for (int k = f->dead.n - 1; k >= 0; k--) {
		Node *n = f->dead.v[k];
		for (int i = 0; i < n->nout; i++)
			if (n->out[i].uses)
				bug(f->cx, n->loc, "%s is read after it was replaced", n->name);
		node_delete(n);
	}
	return true;
}

static bool
mutates(const Graph *g)
{
	FOREACH_NODE(g, n)
		if (writes(n->op) || stats(n))
			return true;
	return false;
}

/* ---- the signature --------------------------------------------------------------------------- */

/* The value that was written to the memory of v; NULL: none was. */
static Val *
written(Fun *f, Val *v)
{
	Tens *t = v ? map_get(&f->tens, v) : NULL;

	if (t == NULL || t->is->root->version == 0)
		return NULL;
	return t->is->root->cur;
}

static enum outkind
kindof(enum inkind k)
{
	return k == InParam ? ResParamMut : k == InUser ? ResUserMut : ResBufferMut;
}

/* Outputs that the signature had already for this input; -1. */
static int
present(const Module *m, enum outkind kind, Str target)
{
	for (int k = 0; k < m->out.n; k++)
		if (m->out.v[k].kind == kind && m->out.v[k].target == target)
			return k;
	return -1;
}

static void
insert(Fun *f, int at, Output o)
{
	Module *m = f->mod;

	vec_push(ctx_arena(f->cx), &m->out, o);
	memmove(&m->out.v[at + 1], &m->out.v[at], sizeof o * (size_t)(m->out.n - 1 - at));
	m->out.v[at] = o;
}

static void
results_of_inputs(Fun *f)
{
	Module *m = f->mod;
	Node *end = f->g->last;
	VEC(Arg) list = {0};
	int at = 0;

	for (int k = 0; k < end->arg[0].list.n; k++)
		vec_push(f->a, &list, end->arg[0].list.v[k]);
	while (at < m->out.n && m->out.v[at].kind != ResUser && m->out.v[at].kind != ResLoss)
		at++;
	for (int k = 0; k < m->in.n; k++) {
		Input *in = &m->in.v[k];
		Val *v = written(f, in->val);
		Output o = {.kind = kindof(in->kind)};
		if (v == NULL)
			continue;
		o.target = in->kind == InUser || in->target == NULL ? in->name : in->target;
		o.name = o.target;
		int old = present(m, o.kind, o.target);
		if (old >= 0) {
			list.v[old] = arg_val(v);
			continue;
		}
		insert(f, at, o);
		vec_push(f->a, &list, arg_none());
		memmove(&list.v[at + 1], &list.v[at], sizeof *list.v * (size_t)(list.n - 1 - at));
		list.v[at++] = arg_val(v);
	}
	Arg all = arg_list(f->a, list.v, list.n);
	node_setargs(end, &all, 1);
}

/* A sub-graph may write its own tensors, not those it was given. */
static bool
inputs_kept(Fun *f)
{
	FOREACH_NODE(f->g, n) {
		if (strcmp(n->op->name, "placeholder") != 0)
			break;
		if (n->nout && written(f, &n->out[0])) {
			error(f->cx, n->loc, "the sub-graph %s writes its argument %s: not supported",
			      f->g->name, n->name);
			return false;
		}
	}
	return true;
}

static bool
graph(Module *m, Graph *g)
{
	Arena *a = arena_new();
	Fun f = {.mod = m, .g = g, .cx = m->cx, .a = a};
	bool ok = true;

	if (mutates(g)) {
		ok = nodes(&f);
		if (ok && g == m->main)
			results_of_inputs(&f);
		else if (ok)
			ok = inputs_kept(&f);
	}
	arena_free(a);
	return ok;
}

bool
pass_functionalize(Module *m)
{
	for (int k = 0; k < m->sub.n; k++)
		if (!graph(m, m->sub.v[k]))
			return false;
	return graph(m, m->main);
}
