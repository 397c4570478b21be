/* expand.c - replace an operator by what its table says it is made of.
 *
 * The expand line is evaluated with nodes made in front of the old one; then the
 * old one's results are replaced and it goes away.  The same evaluation in a
 * scratch graph gives the types (infer.c).
 */
#include <ctype.h>
#include <stdlib.h>
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

	if (torch && op->flags & OP(Through))
		return true;
	if (op->expand == NULL || op->flags & (OP(Opaque) | OP(Leaf) | OP(Whole)))
		return false;
	if (!torch && !n->graph->mod->train)
		return true;
	return op->ngrad == 0 && !(torch && keeps(op));
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
table_holds(Graph *g, Loc loc, const OpDef *op, const char *text, const char *const *name, const Sym *const *size, int n)
{
	Lang L;
	LVal v;

	lang_init(&L, g->cx, g->mod, op, loc, LangPlain);
	for (int k = 0; k < n; k++)
		lang_set(&L, name[k], lang_sym(size[k]));
	return lang_run(&L, "condition", text, FormExpr, &v) && v.kind == LBool && v.b;
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

/* The one size found as the model runs that s is made of; NULL: none, or several. */
static const Sym *
foundvar(Arena *a, const Sym *s)
{
	const Sym **var = NULL, *r = NULL;
	int n = 0;

	sym_vars(a, s, &var, &n);
	for (int i = 0; i < n; i++)
		if (var[i]->name[0] == 'u') {
			if (r)
				return NULL;
			r = var[i];
		}
	return r;
}

/* The types were inferred in a scratch graph, which made sizes of its own (u3); the
 * nodes that are here now made others (u7).  The first are in use already. */
static void
differs(Arena *a, Renaming *r, const Type *is, const Type *was)
{
	for (int d = 0; d < is->rank; d++) {
		const Sym *old, *new = foundvar(a, is->dim[d]);
		if (!new || sym_eq(is->dim[d], was->dim[d]))
			continue;
		old = is->dim[d] == new ? was->dim[d] : foundvar(a, was->dim[d]);
		if (old) {
			vec_push(a, &r->var, new);
			vec_push(a, &r->with, old);
		}
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

/* What was made between prev and n stands for n: res are its results. */
static bool
stand_in(Node *n, const Node *prev, Val **res, int nres)
{
	Graph *g = n->graph;
	Node *first = prev ? prev->next : g->first;
	Renaming r = {0};

	if (!fits(n, res, nres))
		return false;
	int drawing = 0;

	for (Node *m = first; m != n; m = m->next) {
		node_inherit(m, n);
		if (n->stream && (m->op->flags & OP(Random) || m->op->expand))     /* each a stream of its own */
			m->stream += (uint32_t)drawing++ << 24;
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
node_draw(Node *n, enum rng rng, const Sym *at, int64_t spare)
{
	const Node *prev = n->prev;
	bool zero = rng == RngZero;
	Val **res;
	int nres;
	Lang L;
	LVal v;

	lang_init(&L, n->graph->cx, n->graph->mod, n->op, n->loc, LangTensor);
	lang_bind(&L, n->arg);
	lang_set(&L, "at", lang_sym(at));
	lang_set(&L, "spare", lang_int(n->graph->cx, spare));
	return evaluate(&L, n->graph, n, zero ? "zero" : "eager", zero ? n->op->zero : n->op->eager, FormBlock, &v) &&
	       values(&L, v, &res, &nres) && stand_in(n, prev, res, nres);
}

bool
node_expand(Node *n)
{
	Graph *g = n->graph;
	const Node *prev = n->prev;
	Val **res;
	int nres;

	if (g->mod && g->mod->rng == RngEager && n->op->eager)
		return node_draw(n, RngEager, sym_const(g->cx, 0), -1);    /* a composite: the line refuses it */
	if (n->op->expand == NULL && (!torchlike(g) || n->op->torch == NULL || keeps(n->op)))
		return false;
	return expand_op(g, n->op, n->arg, n->loc, n, &res, &nres) && stand_in(n, prev, res, nres);
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

/* What autograd does to the gradient of an operand when a formula is done: the real part if the
 * operand is real, summed over what was broadcast, in the operand's dtype. */
static const char fitting[] =
	"g = real(g) if g.dtype.iscomplex and not t.iscomplex else g\n"
	"d = [k for k in range(g.ndim) if k < g.ndim - len(s) or (s[k - g.ndim + len(s)] == 1 and not (g.shape[k] == 1))]\n"
	"r = aten.sum.default(g) if len(s) == 0 and g.ndim > 0 else sum(g, d, True) if len(d) else g\n"
	"r = view(r, s) if r.ndim > len(s) else r\n"
	"return r if r.dtype == t else _to_copy(r, dtype=t)\n";

static const char *
gradtext(const OpDef *op, int param)
{
	for (int k = 0; k < op->ngrad; k++)
		if (strcmp(op->grad[k].arg, op->param[param].name) == 0)
			return op->grad[k].text;
	return NULL;
}

static bool
isnone(const char *text)
{
	return strncmp(text, "none", 4) == 0 && text[4 + strspn(text + 4, " \n")] == '\0';
}

enum gradline
lang_gradline(const OpDef *op, int param)
{
	const char *text = gradtext(op, param);

	return text == NULL ? GradUnknown : isnone(text) ? GradNone : GradExpr;
}

/* Is it there as a word?  Not as part of another, nor as the name of a keyword argument. */
static const char *
word(const char *text, const char *w)
{
	size_t n = strlen(w);

	for (const char *p = text; (p = strstr(p, w)) != NULL; p += n)
		if ((p == text || !(isalnum((unsigned char)p[-1]) || p[-1] == '_' || p[-1] == '.')) &&
		    !(isalnum((unsigned char)p[n]) || p[n] == '_') && !(p[n] == '=' && p[n + 1] != '='))
			return p;
	return NULL;
}

/* `grad` is the gradient of result 0, `grads[1]` of result 1, `grads` alone of all.  A Tensor[]
 * result flows in every element. */
bool
lang_gradflows(const OpDef *op, int result)
{
	for (int k = 0; k < op->ngrad; k++) {
		const char *text = op->grad[k].text, *p = text;
		if (isnone(text))
			continue;
		if (op->nret == 1)
			return true;
		if (result == 0 && word(text, "grad"))
			return true;
		for (; (p = word(p, "grads")) != NULL; p += 5)
			if (p[5] != '[' || !isdigit((unsigned char)p[6]) || atoi(p + 6) == result)
				return true;
	}
	return false;
}

/* A gradient that nobody defined is None where a line asks, zero where it calculates. */
LVal
lang_defined(Lang *L, LVal v)
{
	const Type *t;

	if (v.kind != LNone || v.t == NULL || (t = v.t->type) == NULL || t->kind != TyTensor)
		return v;
	LVal size = lang_list(L, t->rank);
	for (int d = 0; d < t->rank; d++)
		size.list.v[d] = lang_sym(t->dim[d]);
	LKey dt = {intern_str(L->cx, "dtype"), {.kind = LDtype, .dt = t->dt}};
	return lang_opcall(L, NULL, "aten.full", NULL, (LVal[]){size, lang_int(L->cx, 0)}, 2, &dt, 1);
}

static Val *
aliased(Lang *L, Val *v, Node *before, const Node *forward)
{
	Node *at = L->before;
	LVal r, arg = {.kind = LTensor, .t = v};

	L->before = before;
	r = lang_opcall(L, NULL, "aten.alias", NULL, &arg, 1, NULL, 0);
	L->before = at;
	if (forward)
		node_inherit(r.t->def, forward);
	return r.t;
}

/* A result that its own derivative reads is saved detached and given out detached again: two
 * aliases, the first in the forward part. */
LVal
lang_unsaved(Lang *L, int k)
{
	GradOf *o = L->grad;
	Val *v = &o->n->out[k];

	if (o->flows && o->flows[k]) {
		if (o->open[k] == NULL)
			o->open[k] = aliased(L, aliased(L, v, o->n->next, o->n), L->before, NULL);
		v = o->open[k];
	}
	return v->type && v->type->kind == TyNone ? (LVal){.kind = LNone} : (LVal){.kind = LTensor, .t = v};
}

bool
lang_needs(Lang *L, const Ast *at, Str param)
{
	const GradOf *o = L->grad;

	for (int k = 0; k < o->n->op->nparam; k++)
		if (strcmp(o->n->op->param[k].name, param) == 0) {
			const Val *v = arg_tensor(o->n, k);
			return o->need ? o->need[k] : v && v->type->kind == TyTensor && !dt_int(v->type->dt);
		}
	lang_fail(L, at, "needs('%s'): no such parameter", param);
}

static void
bindgrads(Lang *L, const GradOf *o)
{
	LVal grads = lang_list(L, o->n->nout), results = lang_list(L, o->n->nout);

	for (int k = 0; k < o->n->nout; k++) {
		grads.list.v[k] = o->out[k] ? (LVal){.kind = LTensor, .t = o->out[k]} : (LVal){.kind = LNone, .t = &o->n->out[k]};
		results.list.v[k] = (LVal){.kind = LSaved, .i = sym_const(L->cx, k)};
	}
	lang_set(L, "grads", grads);
	lang_set(L, "results", results);
	if (o->n->nout) {
		lang_set(L, "grad", grads.list.v[0]);
		lang_set(L, "result", results.list.v[0]);
	}
	lang_set(L, "none", (LVal){.kind = LNone});
}

/* The value of a line for one tensor. */
static bool
fitted(Lang *L, Node *before, const char *param, const Type *want, LVal v, Val **out)
{
	LVal s;

	*out = NULL;
	if (v.kind == LNone)
		return true;
	if (v.kind != LTensor) {
		error(L->cx, L->loc, "%s: the derivative with respect to %s is %s, not a tensor", L->op->name,
		      param, lang_str(L->cx, v));
		return false;
	}
	const Type *t = v.t->type;
	bool same = t->rank == want->rank && t->dt == want->dt;
	for (int d = 0; same && d < want->rank; d++)
		same = sym_eq(t->dim[d], want->dim[d]);
	if (!same) {
		s = lang_list(L, want->rank);
		for (int d = 0; d < want->rank; d++)
			s.list.v[d] = lang_sym(want->dim[d]);
		lang_set(L, "g", v);
		lang_set(L, "s", s);
		lang_set(L, "t", (LVal){.kind = LDtype, .dt = want->dt});
		if (!evaluate(L, L->g, before, "grad", fitting, FormBlock, &v) || v.kind != LTensor)
			return false;
	}
	*out = v.t;
	return true;
}

/* An argument that is a tensor or a list of these, as a list. */
static int
tensors(Lang *L, const Arg *a, const Type ***type)
{
	int n = a->kind == ArgList ? a->list.n : 1;
	const Arg *v = a->kind == ArgList ? a->list.v : a;

	*type = NEWN(L->a, const Type *, n + 1);
	for (int k = 0; k < n; k++)
		(*type)[k] = v[k].kind == ArgVal ? v[k].use->val->type : NULL;
	return n;
}

bool
lang_grads(GradOf *o, int param, Node *before, Val ***grad, int *n)
{
	Node *of = o->n;
	const char *text = gradtext(of->op, param), *name = of->op->param[param].name;
	bool list = of->arg[param].kind == ArgList;
	const Type **type;
	Lang L;
	LVal v;

	if (text == NULL) {
		error(of->graph->cx, of->loc, "%s: no derivative with respect to %s is known", of->op->name, name);
		return false;
	}
	lang_init(&L, of->graph->cx, of->graph->mod, of->op, of->loc, LangTensor);
	*n = tensors(&L, &of->arg[param], &type);
	*grad = NEWN(L.a, Val *, *n + 1);
	L.grad = o;
	lang_bind(&L, of->arg);
	bindgrads(&L, o);
	if (!evaluate(&L, of->graph, before, "grad", text, FormExpr, &v))
		return false;
	if (v.kind == LNone)
		return true;
	if (list && (v.kind != LList || v.list.n != *n)) {
		error(L.cx, of->loc, "%s: the derivative with respect to %s is %s, not a list of %d tensors", of->op->name,
		      name, lang_str(L.cx, v), *n);
		return false;
	}
	for (int k = 0; k < *n; k++)
		if (type[k] && !fitted(&L, before, name, type[k], list ? v.list.v[k] : v, &(*grad)[k]))
			return false;
	return true;
}

bool
lang_grad(Node *n, int param, Val *const *gradout, Node *before, Val **out)
{
	GradOf o = {.n = n, .out = gradout};
	Val **grad;
	bool any = false;
	int ngrad;

	*out = NULL;
	for (int k = 0; k < n->nout; k++)
		any |= gradout[k] != NULL;
	if (!any)
		return true;
	if (!lang_grads(&o, param, before, &grad, &ngrad))
		return false;
	*out = ngrad ? grad[0] : NULL;
	return true;
}
