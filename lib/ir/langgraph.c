/* langgraph.c - tensor mode: a sub-graph called as a function.
 *
 * The expand line of a higher-order operator calls its Graph parameters:
 *
 *   [where(pred, x, y) for x, y in zip(true_fn(*operands), false_fn(*operands))]
 *
 * A call copies the sub-graph's nodes to where the expansion stands, its
 * placeholders replaced by the arguments, types inferred anew.  The result is
 * the list of what the sub-graph returns.
 */
#include "ir/lang.h"

typedef struct Copy {
	Lang *L;
	const Ast *at;
	LVal *of;              /* by id of the sub-graph's value: what stands for it */
	Renaming size;         /* placeholders that are sizes */
} Copy;

static LVal
value(Copy *c, const Arg *a)
{
	LVal r;

	switch (a->kind) {
	case ArgVal:
		return c->of[a->use->val->id];
	case ArgInt:
		return lang_sym(sym_subst(c->L->cx, a->i, c->size.var.v, c->size.with.v, c->size.var.n));
	case ArgList:
		r = lang_list(c->L, a->list.n);
		for (int k = 0; k < a->list.n; k++)
			r.list.v[k] = value(c, &a->list.v[k]);
		return r;
	default:
		return lang_frarg(c->L->cx, a);
	}
}

static void
parameter(Copy *c, const Node *n, LVal v)
{
	const Type *t = n->out[0].type;

	c->of[n->out[0].id] = v;
	if (t && t->kind == TySym && t->sym->kind == SymVar && v.kind == LInt) {
		vec_push(c->L->a, &c->size.var, t->sym);
		vec_push(c->L->a, &c->size.with, v.i);
	}
}

/* get_attr and other leaves have no arguments to bind. */
static Node *
leaf(Copy *c, const Node *n)
{
	Node *m = node_new(c->L->g, n->op, NULL, 0, n->nout, c->L->before, c->L->loc);

	m->target = n->target;
	for (int k = 0; k < n->nout; k++)
		m->out[k].type = n->out[k].type ? n->out[k].type : n->annot;
	return m;
}

static Node *
copied(Copy *c, const Node *n)
{
	Lang *L = c->L;
	Arg *arg = n->narg ? NEWN(L->a, Arg, n->narg) : NULL;
	const Type **type;
	int ntype;

	if (n->op->flags & OP(Leaf))
		return leaf(c, n);
	for (int k = 0; k < n->narg; k++)
		arg[k] = lang_toarg(L, c->at, value(c, &n->arg[k]));
	if (!infer_types(L->g, n->loc, n->op, arg, &type, &ntype))
		longjmp(*L->fail, 1);
	if (ntype < n->nout)
		lang_fail(L, c->at, "%s has %d results, its sub-graph uses %d", n->op->name, ntype, n->nout);
	if (ntype == 1 && type[0]->kind == TySym && !(n->op->flags & OP(Dynamic)))
		return NULL;
	Node *m = node_new(L->g, n->op, arg, n->narg, ntype, L->before, n->loc);
	for (int k = 0; k < ntype; k++)
		m->out[k].type = type[k];
	return m;
}

LVal
lang_graphcall(Lang *L, const Ast *at, const Graph *g, const LVal *arg, int n)
{
	Copy c = {.L = L, .at = at, .of = NEWN(L->a, LVal, g->nval + 1)};
	int taken = 0;

	if (g->last == NULL || g->last->narg == 0)
		lang_fail(L, at, "sub-graph %s has no output", g->name);
	FOREACH_NODE(g, p) {
		if (p == g->last)
			break;
		if (strcmp(p->op->name, "placeholder") == 0) {
			if (taken == n)
				lang_fail(L, at, "sub-graph %s takes more than %d arguments", g->name, n);
			parameter(&c, p, arg[taken++]);
			continue;
		}
		Node *m = copied(&c, p);
		for (int k = 0; m && k < p->nout; k++)
			c.of[p->out[k].id] = m->out[k].type && m->out[k].type->kind == TySym
			                   ? lang_sym(m->out[k].type->sym)
			                   : (LVal){.kind = LTensor, .t = &m->out[k]};
	}
	if (taken != n)
		lang_fail(L, at, "sub-graph %s takes %d arguments, not %d", g->name, taken, n);
	LVal r = value(&c, &g->last->arg[0]);
	if (r.kind == LList)
		return r;
	LVal one = lang_list(L, 1);
	one.list.v[0] = r;
	return one;
}
