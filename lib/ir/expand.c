/* expand.c - replace an operator by what its table says it is made of.
 *
 * The expand line is evaluated with nodes made in front of the old one; then the
 * old one's results are replaced and it goes away.  The same evaluation in a
 * scratch graph gives the types (infer.c).
 */
#include "ir/lang.h"

/* What the line returned, as values; NULL for a None among several. */
static bool
values(Lang *L, LVal v, Val ***res, int *n)
{
	LVal one = v, *list = &one;
	int count = 1;

	if (v.kind == LList)
		list = v.list.v, count = v.list.n;
	if (v.kind == LNone && L->op->nret == 0)
		count = 0;
	*res = count ? NEWN(L->a, Val *, count) : NULL;
	*n = count;
	for (int k = 0; k < count; k++) {
		if (list[k].kind == LNone && v.kind == LList)
			continue;
		if (list[k].kind != LTensor) {
			error(L->cx, L->loc, "%s: its expansion gives %s, not a tensor",
			      L->op->name, lang_str(L->cx, list[k]));
			return false;
		}
		(*res)[k] = list[k].t;
	}
	return true;
}

static bool
evaluate(Lang *L, Graph *g, Node *before, const char *what, const char *text,
         enum langform form, LVal *v)
{
	L->g = g;
	L->before = before;
	return lang_run(L, what, text, form, v);
}

/* ---- which line, and when ------------------------------------------------------------- */

static bool
keeps(const OpDef *op)
{
	return op->torch && strcmp(op->torch, "keep") == 0;
}

static bool
torchlike(const Graph *g)
{
	return g->mod && g->mod->decomp == DecompTorch;
}

/* Composite operators are not there for autograd, nor for whoever follows views. */
bool
node_composite(const Node *n)
{
	const OpDef *op = n->op;
	bool torch = torchlike(n->graph);

	if (op->expand == NULL || op->flags & (OP(Opaque) | OP(Leaf)))
		return false;
	if (!torch && !n->graph->mod->train)
		return true;
	return op->ngrad == 0 && !(torch && op->torch);
}

bool
node_expands(const Node *n)
{
	const OpDef *op = n->op;

	if (op->flags & OP(Opaque))
		return false;
	if (torchlike(n->graph) && op->torch)
		return !keeps(op);
	return op->expand != NULL;
}

bool
expand_op(Graph *g, const OpDef *op, const Arg *arg, Loc loc, Node *before, Val ***res, int *n)
{
	Lang L;
	LVal v;
	bool torch = torchlike(g) && op->torch && !keeps(op);

	lang_init(&L, g->cx, g->mod, op, loc, LangTensor);
	lang_bind(&L, arg);
	return evaluate(&L, g, before, torch ? "torch" : "expand", torch ? op->torch : op->expand, FormBlock, &v) &&
	       values(&L, v, res, n);
}

/* ---- sizes that only the run knows --------------------------------------------------- */

/* The types were inferred in a scratch graph, which made sizes of its own (u3); the
 * nodes that are here now made others (u7).  The first are in use already. */
static void
differs(Arena *a, Renaming *r, const Type *is, const Type *was)
{
	for (int d = 0; d < is->rank; d++)
		if (is->dim[d]->kind == SymVar && is->dim[d]->name[0] == 'u' && !sym_eq(is->dim[d], was->dim[d])) {
			vec_push(a, &r->var, is->dim[d]);
			vec_push(a, &r->with, was->dim[d]);
		}
}

const Type *
renamed_type(Ctx *cx, const Renaming *r, const Type *t)
{
	const Sym *dim[MaxRank], *stride[MaxRank];

	if (t && t->kind == TySym)
		return type_sym(cx, sym_subst(cx, t->sym, r->var.v, r->with.v, r->var.n));
	if (t == NULL || t->kind != TyTensor)
		return t;
	for (int d = 0; d < t->rank; d++) {
		dim[d] = sym_subst(cx, t->dim[d], r->var.v, r->with.v, r->var.n);
		if (t->stride)
			stride[d] = sym_subst(cx, t->stride[d], r->var.v, r->with.v, r->var.n);
	}
	return t->stride ? type_strided(cx, t->dt, t->rank, dim, stride)
	                 : type_tensor(cx, t->dt, t->rank, dim);
}

static void
renamearg(Ctx *cx, const Renaming *r, Arg *a)
{
	if (a->kind == ArgInt)
		a->i = sym_subst(cx, a->i, r->var.v, r->with.v, r->var.n);
	for (int k = 0; (a->kind == ArgList || a->kind == ArgSlice) && k < a->list.n; k++)
		renamearg(cx, r, &a->list.v[k]);
}

void
renamed_args(Ctx *cx, const Renaming *r, Node *n)
{
	for (int k = 0; k < n->narg; k++)
		renamearg(cx, r, &n->arg[k]);
}

static void
rename_sizes(Graph *g, const Renaming *r, Node *from, Node *to)
{
	for (Node *n = from; n != to; n = n->next) {
		renamed_args(g->cx, r, n);
		for (int k = 0; k < n->nout; k++)
			n->out[k].type = renamed_type(g->cx, r, n->out[k].type);
	}
}

/* ---- a node ------------------------------------------------------------------------------ */

static bool
fits(Node *n, Val **res, int nres)
{
	Ctx *cx = n->graph->cx;

	if (nres < n->nout) {
		error(cx, n->loc, "%s: its expansion has %d results, not %d", n->op->name, nres, n->nout);
		return false;
	}
	for (int k = 0; k < n->nout; k++) {
		const Type *is = res[k] ? res[k]->type : type_none(cx), *was = n->out[k].type;
		if (res[k] == NULL && n->out[k].uses) {
			error(cx, n->loc, "%s: result %d is None here, but it is used", n->op->name, k);
			return false;
		}
		if (was && (is->dt != was->dt || is->rank != was->rank || is->kind != was->kind)) {
			error(cx, n->loc, "%s: its expansion gives %s, not %s", n->op->name,
			      type_str(cx, is), type_str(cx, was));
			return false;
		}
	}
	return true;
}

bool
node_expand(Node *n)
{
	Graph *g = n->graph;
	Node *prev = n->prev, *first;
	Renaming r = {0};
	Val **res;
	int nres;

	if ((n->op->expand == NULL && (!torchlike(g) || n->op->torch == NULL || keeps(n->op))) ||
	    !expand_op(g, n->op, n->arg, n->loc, n, &res, &nres) || !fits(n, res, nres))
		return false;
	first = prev ? prev->next : g->first;
	for (Node *m = first; m != n; m = m->next) {
		node_inherit(m, n);
	}
	for (int k = 0; k < n->nout; k++)
		if (res[k] && n->out[k].type && res[k]->type->kind == TyTensor)
			differs(g->arena, &r, res[k]->type, n->out[k].type);
	if (r.var.n)
		rename_sizes(g, &r, first, n);
	Str *name = n->nout ? NEWN(g->arena, Str, n->nout) : NULL;
	for (int k = 0; k < n->nout; k++) {
		name[k] = n->out[k].name;
		if (res[k])
			val_replace(&n->out[k], res[k]);
	}
	/* New ones among the results take over the names, first come first named. */
	uint32_t newest = n->id;
	int nout = n->nout;
	node_delete(n);
	for (int k = 0; k < nout; k++) {
		bool again = false;
		for (int j = 0; j < k; j++)
			again |= res[j] == res[k];
		if (!again && res[k] && res[k]->def->id > newest && name[k])
			val_rename(g, res[k], name[k]);
	}
	return true;
}

bool
lang_inverse(Node *view, Val *newval, Node *before, Val **newbase)
{
	Lang L;
	LVal v;

	if (view->op->inverse == NULL)
		return false;
	lang_init(&L, view->graph->cx, view->graph->mod, view->op, view->loc, LangTensor);
	lang_bind(&L, view->arg);
	lang_set(&L, "new", (LVal){.kind = LTensor, .t = newval});
	if (!evaluate(&L, view->graph, before, "inverse", view->op->inverse, FormExpr, &v))
		return false;
	if (v.kind != LTensor) {
		error(L.cx, view->loc, "%s: its inverse gives %s, not a tensor", view->op->name,
		      lang_str(L.cx, v));
		return false;
	}
	*newbase = v.t;
	return true;
}

/* ---- gradients -------------------------------------------------------------------------- */

/* A gradient of an operand that was broadcast is summed over what was added. */
static const char unbroadcast[] =
	"d = [k for k in range(g.ndim) if k < g.ndim - len(s) or (s[k - g.ndim + len(s)] == 1 and g.shape[k] != 1)]\n"
	"r = sum(g, d, True) if len(d) else g\n"
	"return reshape(r, s)\n";

static const char *
gradline(const OpDef *op, const char *param)
{
	for (int k = 0; k < op->ngrad; k++)
		if (strcmp(op->grad[k].arg, param) == 0)
			return op->grad[k].text;
	return NULL;
}

/* Values by number; None where there is none. */
static LVal
vallist(Lang *L, Val *const *v, int n)
{
	LVal l = lang_list(L, n);

	for (int k = 0; k < n; k++)
		l.list.v[k] = v[k] ? (LVal){.kind = LTensor, .t = v[k]} : (LVal){.kind = LNone};
	return l;
}

static bool
fitted(Lang *L, Graph *g, Node *before, const Type *want, LVal *v)
{
	LVal s;

	if (v->t->type->rank == want->rank) {
		bool same = true;
		for (int d = 0; d < want->rank; d++)
			same &= sym_eq(v->t->type->dim[d], want->dim[d]);
		if (same)
			return true;
	}
	s = lang_list(L, want->rank);
	for (int d = 0; d < want->rank; d++)
		s.list.v[d] = lang_sym(want->dim[d]);
	lang_set(L, "g", *v);
	lang_set(L, "s", s);
	return evaluate(L, g, before, "grad", unbroadcast, FormBlock, v) && v->kind == LTensor;
}

bool
lang_grad(Node *n, int param, Val *const *gradout, Node *before, Val **out)
{
	const char *text = gradline(n->op, n->op->param[param].name);
	Val **result = NEWN(n->graph->arena, Val *, n->nout + 1);
	Val *of = arg_tensor(n, param);
	Lang L;
	LVal v;

	*out = NULL;
	if (text == NULL || of == NULL) {
		error(n->graph->cx, n->loc, "%s: no derivative with respect to %s is known", n->op->name, n->op->param[param].name);
		return false;
	}
	bool any = false;
	for (int k = 0; k < n->nout; k++) {
		result[k] = &n->out[k];
		any |= gradout[k] != NULL;
	}
	if (!any)
		return true;
	lang_init(&L, n->graph->cx, n->graph->mod, n->op, n->loc, LangTensor);
	lang_bind(&L, n->arg);
	lang_set(&L, "grads", vallist(&L, gradout, n->nout));
	lang_set(&L, "results", vallist(&L, result, n->nout));
	lang_set(&L, "grad", vallist(&L, gradout, 1).list.v[0]);
	lang_set(&L, "result", vallist(&L, result, 1).list.v[0]);
	lang_set(&L, "none", (LVal){.kind = LNone});
	if (!evaluate(&L, n->graph, before, "grad", text, FormExpr, &v))
		return false;
	if (v.kind == LNone)
		return true;
	if (v.kind != LTensor) {
		error(L.cx, n->loc, "%s: the derivative with respect to %s is %s, not a tensor", n->op->name,
		      n->op->param[param].name, lang_str(L.cx, v));
		return false;
	}
	if (!fitted(&L, n->graph, before, of->type, &v))
		return false;
	*out = v.t;
	return true;
}
