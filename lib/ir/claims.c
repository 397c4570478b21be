/* claims.c - types of a whole graph, against what its text claims.
 *
 * Annotations are checked, and believed where the tables cannot know better: the
 * strides of a tensor, the name of a size.
 */
#include "ir/lang.h"

typedef struct Sizes {
	Ctx *cx;
	Map known;             /* variables that something has given a value */
	Renaming is;           /* names that the text made up for a size that the tables can say */
} Sizes;

static void
know(Sizes *z, const Type *t)
{
	const Sym **var = NULL;
	int n = 0;

	if (t && t->kind == TySym)
		sym_vars(ctx_arena(z->cx), t->sym, &var, &n);
	for (int d = 0; t && t->kind == TyTensor && d < t->rank; d++)
		sym_vars(ctx_arena(z->cx), t->dim[d], &var, &n);
	for (int k = 0; k < n; k++)
		map_put(ctx_arena(z->cx), &z->known, var[k], (void *)var[k]);
}

/* x[:u0] has u1 rows, says the text; nothing else gives u1 a value: it is what the
 * table says. */
static bool
madeup(Sizes *z, const Sym *a, const Sym *t)
{
	if (a->kind != SymVar || a->name[0] != 'u' || map_get(&z->known, a) || sym_uses(t, a))
		return false;
	vec_push(ctx_arena(z->cx), &z->is.var, a);
	vec_push(ctx_arena(z->cx), &z->is.with, t);
	return true;
}

/* What the text claims against what the tables say.  Sizes that may be equal are
 * taken as the text writes them; strides are the text's. */
static bool
agree(Sizes *z, Node *n)
{
	const Type *a = n->annot, *t = n->out[0].type;
	Ctx *cx = n->graph->cx;

	if (a == NULL || t == NULL || a == t || a->kind != t->kind || a->kind != TyTensor) {
		if (a && t && a->kind != t->kind && a->kind != TyNone && n->nout == 1) {
			error(cx, n->loc, "%s: annotated %s, but it is %s", n->op->name,
			      type_str(cx, a), type_str(cx, t));
			return false;
		}
		return true;
	}
	bool same = a->rank == t->rank && a->dt == t->dt;
	for (int d = 0; same && d < a->rank; d++)
		same = sym_eq(a->dim[d], t->dim[d]) || !sym_ne(a->dim[d], t->dim[d]);
	if (!same) {
		error(cx, n->loc, "%s: annotated %s, but it is %s", n->op->name,
		      type_str(cx, a), type_str(cx, t));
		return false;
	}
	for (int d = 0; d < a->rank; d++)
		madeup(z, a->dim[d], t->dim[d]);
	a = n->annot = renamed_type(cx, &z->is, a);
	n->out[0].type = a->stride || !t->stride ? a
	               : type_strided(cx, a->dt, a->rank, a->dim, t->stride);
	return true;
}

/* After unsqueeze_(x), x has other sizes: what comes later reads the result, which is
 * x, under its new type. */
typedef struct Rewire { Val *old, *now; bool found; } Rewire;

static void
reads(void *arg, Use *u)
{
	Rewire *r = arg;

	r->found |= u->val == r->old;
}

static Arg
rewired(Arena *a, const Arg *from, const Rewire *r)
{
	Arg to = *from;

	if (from->kind == ArgVal)
		return arg_val(from->use->val == r->old ? r->now : from->use->val);
	if (from->kind == ArgList) {
		to.list.v = from->list.n ? NEWN(a, Arg, from->list.n) : NULL;
		for (int k = 0; k < from->list.n; k++)
			to.list.v[k] = rewired(a, &from->list.v[k], r);
	}
	return to;
}

static void
rewire(Node *n)
{
	Val *self = n->narg ? arg_tensor(n, 0) : NULL;
	Arena *a = n->graph->arena;

	if (!(n->op->flags & OP(Inplace)) || self == NULL || n->nout == 0 ||
	    n->out[0].type == self->type)
		return;
	for (Node *m = n->next; m; m = m->next) {
		Rewire r = {self, &n->out[0], false};
		node_operands(m, reads, &r);
		if (!r.found)
			continue;
		Arg *arg = NEWN(a, Arg, m->narg);
		for (int k = 0; k < m->narg; k++)
			arg[k] = rewired(a, &m->arg[k], &r);
		node_setargs(m, arg, m->narg);
	}
}

bool
graph_infer(Graph *g)
{
	Sizes z = {.cx = g->cx};
	bool ok = true;

	FOREACH_NODE(g, n) {
		if (z.is.var.n) {
			renamed_args(g->cx, &z.is, n);
			n->annot = renamed_type(g->cx, &z.is, n->annot);
		}
		if (n->op->flags & OP(Hop) && !infer_subgraphs(n))
			return false;
		if (n->op->flags & OP(Leaf)) {
			for (int k = 0; k < n->nout; k++)
				if (n->out[k].type == NULL)
					n->out[k].type = n->annot;
			for (int k = 0; k < n->nout; k++)
				know(&z, n->out[k].type);
			continue;
		}
		if (!node_infer(n))
			return false;
		ok &= agree(&z, n);
		for (int k = 0; k < n->nout; k++)
			know(&z, n->out[k].type);
		rewire(n);
	}
	return ok;
}
