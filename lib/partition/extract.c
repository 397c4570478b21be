/* extract.c - two modules out of one, once it is known what is saved.
 *
 * Backward is built anew: a placeholder for each size, saved value and tangent, then copies of
 * the nodes that the gradients need.  The joint graph itself becomes the forward part: its
 * results are then the program's and what is saved; what no longer has a reader goes.
 *
 * Saved is only what backward reads.  After the tensors come sizes: every variable of a size
 * that backward meets, so that its shapes are known before anything else is looked at.
 */
#include <stdlib.h>
#include "partition/part.h"

typedef VEC(const Sym *) Syms;

typedef struct Parts {
	Joint  *j;
	Module *bm;
	Graph  *bg;
	bool   *have, *need;     /* by Fx: saved; needed in backward */
	Val   **val;             /* by value id: what stands for it in backward */
	Ints    saved;           /* tensors */
	Syms    size;            /* saved sizes, those that are variables first */
	Map     graph;           /* sub-graph -> its copy */
} Parts;

/* ---- what backward needs ------------------------------------------------------------ */

static void
mark(void *arg, int i)
{
	((bool *)arg)[i] = true;
}

static bool
effect(const Fx *x)
{
	return x->tuple < 0 && ((x->node->op->flags & OP(Effect)) || op_mutable(x->node->op)) &&
	       (x->closure || x->node->backward);
}

static void
needs(Parts *p)
{
	Joint *j = p->j;
	const Arg *list = &j->g->last->arg[0];

	for (int i = 0; i < list->list.n; i++)
		if (res_isgrad(&j->m->out.v[i]) && list->list.v[i].kind == ArgVal)
			p->need[j->of[list->list.v[i].use->val->id]] = true;
	for (int i = j->n - 1; i >= 0; i--) {
		const Fx *x = &j->v[i];

		if (effect(x))
			p->need[i] = true;
		if (!p->need[i] || p->have[i])
			continue;
		if (x->tuple >= 0)
			p->need[x->tuple] = true;
		else
			node_reads(j, x->node, mark, p->need);
	}
}

/* ---- sizes -------------------------------------------------------------------------------- */

static bool
known(const Syms *v, const Sym *s)
{
	for (int i = 0; i < v->n; i++)
		if (v->v[i] == s)
			return true;
	return false;
}

static int
byname(const void *a, const void *b)
{
	return strcmp((*(const Sym *const *)a)->name, (*(const Sym *const *)b)->name);
}

/* The variables of one thing, those not yet bound, by name. */
static void
bind(Parts *p, const Sym **var, int n)
{
	if (n)
		qsort(var, (size_t)n, sizeof *var, byname);
	for (int i = 0; i < n; i++)
		if (!known(&p->size, var[i]))
			vec_push(p->j->a, &p->size, var[i]);
}

static void
bindtype(Parts *p, const Type *t)
{
	const Sym **var = NULL;
	int n = 0;

	if (t && t->kind == TySym)
		sym_vars(p->j->a, t->sym, &var, &n);
	for (int i = 0; t && t->kind == TyTensor && i < t->rank; i++) {
		sym_vars(p->j->a, t->dim[i], &var, &n);
		if (t->stride)
			sym_vars(p->j->a, t->stride[i], &var, &n);
	}
	bind(p, var, n);
}

static void
bindarg(Parts *p, const Arg *a)
{
	const Sym **var = NULL;
	int n = 0;

	if (a->kind == ArgInt)
		sym_vars(p->j->a, a->i, &var, &n);
	bind(p, var, n);
	for (int i = 0; (a->kind == ArgList || a->kind == ArgSlice) && i < a->list.n; i++)
		bindarg(p, &a->list.v[i]);
}

/* Sizes that the cut saves, then whatever else appears: in saved values, tangents, nodes. */
static void
sizes(Parts *p, const Ints *cut)
{
	Joint *j = p->j;
	Syms derived = {0};

	for (int i = 0; i < cut->n; i++) {
		const Sym *s = j->v[cut->v[i]].val->type->sym;

		if (!p->need[cut->v[i]])
			continue;
		if (s->kind == SymVar && !known(&p->size, s))
			vec_push(j->a, &p->size, s);
		else if (s->kind != SymVar && s->kind != SymConst)
			vec_push(j->a, &derived, s);
	}
	for (int i = 0; i < derived.n; i++)
		bindtype(p, type_sym(j->cx, derived.v[i]));
	for (int i = 0; i < p->saved.n; i++)
		bindtype(p, j->v[p->saved.v[i]].val->type);
	for (int i = 0; i < j->n; i++)
		if (j->v[i].tangent)
			bindtype(p, j->v[i].val->type);
	for (int i = 0; i < j->n; i++) {
		if (!p->need[i] || p->have[i] || j->v[i].tuple >= 0)
			continue;
		for (int k = 0; k < j->v[i].node->narg; k++)
			bindarg(p, &j->v[i].node->arg[k]);
		for (int k = 0; k < j->v[i].node->nout; k++)
			bindtype(p, j->v[i].node->out[k].type);
	}
	for (int i = 0; i < derived.n; i++)
		vec_push(j->a, &p->size, derived.v[i]);
}

/* ---- the backward module --------------------------------------------------------------------- */

static Input *
input(Parts *p, enum inkind kind, Str name, const Type *type, Loc loc)
{
	Node *n = node_placeholder(p->bg, name, type, loc);

	n->annot = type;
	vec_push(ctx_arena(p->j->cx), &p->bm->in, (Input){.kind = kind, .val = &n->out[0], .name = n->out[0].name,
	         .argname = n->out[0].name, .target = name, .persistent = true});
	return &p->bm->in.v[p->bm->in.n - 1];
}

/* What a saved size is called: as the value that holds it, else by its own name. */
static Str
sizename(const Joint *j, const Sym *s, int nth)
{
	const Val *v = map_get(&j->held, s);

	return v ? v->name : s->kind == SymVar ? s->name : intern_printf(j->cx, "size_%d", nth);
}

static void
inputs(Parts *p)
{
	Joint *j = p->j;
	const Module *m = j->m;

	for (int i = 0; i < p->size.n; i++)
		input(p, InSaved, sizename(j, p->size.v[i], i), type_sym(j->cx, p->size.v[i]), NOLOC);
	for (int i = 0; i < p->saved.n; i++) {
		const Fx *x = &j->v[p->saved.v[i]];

		p->val[x->val->id] = input(p, InSaved, x->val->name, x->val->type, x->node->loc)->val;
	}
	for (int i = 0; i < m->in.n; i++) {
		const Input *in = &m->in.v[i];
		Input *to;

		if (in->val == NULL || in->value.kind != ArgNone || (in->kind != InTangent && !(in->kind == InConst && p->need[j->of[in->val->id]])))
			continue;
		to = input(p, in->kind, in->val->name, in->val->type, in->val->def->loc);
		p->val[in->val->id] = to->val;
		to->argname = in->argname;
		to->target = in->target;
		if (in->kind == InTangent)
			to->val->def->tag = intern_str(j->cx, "tangent");
		to->weight = in->weight;
		if (in->weight)
			vec_push(ctx_arena(j->cx), &p->bm->weight, in->weight);
	}
}

static void
adopt(Module *m, Graph *g, Graph *parent);

static void
adoptarg(Module *m, Arg *a, Graph *parent)
{
	if (a->kind == ArgGraph)
		adopt(m, a->graph, parent);
	for (int i = 0; a->kind == ArgList && i < a->list.n; i++)
		adoptarg(m, &a->list.v[i], parent);
}

/* A copied sub-graph and those in it belong to m. */
static void
adopt(Module *m, Graph *g, Graph *parent)
{
	for (int i = 0; i < m->sub.n; i++)
		if (m->sub.v[i] == g)
			return;
	g->mod = m;
	g->parent = parent;
	vec_push(ctx_arena(m->cx), &m->sub, g);
	FOREACH_NODE(g, n)
		for (int i = 0; i < n->narg; i++)
			adoptarg(m, &n->arg[i], g);
}

static Arg
copyarg(Parts *p, const Arg *a)
{
	Arg r = *a;

	if (a->kind == ArgVal) {
		r = arg_val(p->val[a->use->val->id]);
	} else if (a->kind == ArgGraph) {
		if (!(r.graph = map_get(&p->graph, a->graph))) {
			r.graph = graph_clone(a->graph);
			map_put(p->j->a, &p->graph, a->graph, r.graph);
			adopt(p->bm, r.graph, p->bg);
		}
	} else if (a->kind == ArgList || a->kind == ArgSlice || a->kind == ArgComplex) {
		r.list.v = NEWN(p->j->a, Arg, a->list.n + 1);
		for (int i = 0; i < a->list.n; i++)
			r.list.v[i] = copyarg(p, &a->list.v[i]);
	}
	return r;
}

/* A copy of a node of the joint graph: the same name, place and random numbers. */
static void
copy(Parts *p, const Fx *x)
{
	const Node *n = x->node;
	Arg *arg = NEWN(p->j->a, Arg, n->narg + 1);
	Node *c;

	for (int i = 0; i < n->narg; i++)
		arg[i] = copyarg(p, &n->arg[i]);
	c = node_new(p->bg, n->op, arg, n->narg, n->nout, NULL, n->loc);
	node_inherit(c, n);
	c->target = n->target;
	c->annot = n->annot;
	c->backward = true;
	if (x->fw)
		c->origin = n->name;
	node_rename(c, n->name);
	for (int i = 0; i < n->nout; i++) {
		c->out[i].type = n->out[i].type;
		val_rename(p->bg, &c->out[i], n->out[i].name);
		if (!p->val[n->out[i].id])
			p->val[n->out[i].id] = &c->out[i];
	}
}

/* The tangent of a loss: a number everywhere. */
static Val *
tangent_value(Graph *g, const Input *in, Node *before)
{
	const OpDef *op = op_find("aten.full.default");
	const Type *t = in->val->type;
	Arg *size = NEWN(g->arena, Arg, t->rank + 1), *arg = NEWN(g->arena, Arg, op->nparam);
	Node *n;

	for (int i = 0; i < t->rank; i++)
		size[i] = arg_sym(t->dim[i]);
	arg[0] = arg_list(g->arena, size, t->rank);
	arg[1] = in->value;
	arg[2] = arg_dtype(t->dt);
	n = node_new(g, op, arg, op->nparam, 1, before, NOLOC);
	n->out[0].type = type_tensor(g->cx, t->dt, t->rank, t->dim);
	n->backward = true;
	n->tag = intern_str(g->cx, "tangent");         /* order.c begins with its readers */
	return &n->out[0];
}

static void
backward(Parts *p)
{
	Joint *j = p->j;
	Module *m = j->m;
	const Arg *list = &j->g->last->arg[0];
	VEC(Arg) grad = {0};

	inputs(p);
	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].kind == InTangent && m->in.v[i].val && m->in.v[i].value.kind != ArgNone)
			p->val[m->in.v[i].val->id] = tangent_value(p->bg, &m->in.v[i], NULL);
	for (int i = 0; i < j->n; i++)
		if (p->need[i] && !p->have[i] && j->v[i].tuple < 0 && !(j->v[i].node->op->flags & OP(Leaf)))
			copy(p, &j->v[i]);
	for (int i = 0; i < list->list.n; i++) {
		if (!res_isgrad(&m->out.v[i]))
			continue;
		vec_push(j->a, &grad, copyarg(p, &list->list.v[i]));
		vec_push(ctx_arena(j->cx), &p->bm->out, m->out.v[i]);
	}
	node_output(p->bg, &(Arg){.kind = ArgList, .list = {grad.v, grad.n}}, j->g->last->loc);
}

/* ---- the forward module ------------------------------------------------------------------------ */

static void
results(Parts *p)
{
	Joint *j = p->j;
	Module *m = j->m;
	Arena *a = ctx_arena(j->cx);
	const Arg *list = &j->g->last->arg[0];
	VEC(Arg) arg = {0};
	Module old = *m;

	m->out.v = NULL;
	m->out.n = m->out.cap = 0;
	for (int i = 0; i < list->list.n; i++)
		if (!res_isgrad(&old.out.v[i])) {
			vec_push(j->a, &arg, list->list.v[i]);
			vec_push(a, &m->out, old.out.v[i]);
		}
	for (int i = 0; i < p->saved.n; i++) {
		Val *v = j->v[p->saved.v[i]].val;

		vec_push(j->a, &arg, arg_val(v));
		vec_push(a, &m->out, (Output){.kind = ResSaved, .name = v->name, .target = v->name});
	}
	for (int i = 0; i < p->size.n; i++) {
		Str name = p->bm->in.v[i].target;

		vec_push(j->a, &arg, arg_sym(p->size.v[i]));
		vec_push(a, &m->out, (Output){.kind = ResSaved, .name = name, .target = name});
	}
	node_setargs(j->g->last, &(Arg){.kind = ArgList, .list = {arg.v, arg.n}}, 1);
}

static bool
unread(const Node *n)
{
	for (int i = 0; i < n->nout; i++)
		if (n->out[i].uses)
			return false;
	return true;
}

/* Does forward keep a node that no node reads: for its effect, or for a size? */
static bool
kept(const Parts *p, const Node *n, const Fx *x)
{
	const Sym *s = n->nout && n->out[0].type && n->out[0].type->kind == TySym ? n->out[0].type->sym : NULL;

	if (n->op->flags & OP(Leaf))
		return !x->tangent;
	if (x->closure)
		return false;
	if (n->op->flags & (OP(Effect) | OP(Dynamic)) || op_mutable(n->op) || (s && x->fw))
		return true;
	for (int i = 0; s && i < p->size.n; i++)
		if (sym_uses(p->size.v[i], s) || p->size.v[i] == s)
			return true;
	return false;
}

/* What belongs to backward alone, and what nobody reads now. */
static void
prune(Parts *p)
{
	Joint *j = p->j;
	Module *m = j->m;
	int k = 0;

	for (Node *n = j->g->last, *prev; n; n = prev) {
		const Fx *x = j->first[n->id] >= 0 ? &j->v[j->first[n->id]] : NULL;

		prev = n->prev;
		if (x && unread(n) && !kept(p, n, x))
			node_delete(n);
	}
	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].kind == InConst && m->in.v[i].val && !m->in.v[i].val->uses)
			node_delete(m->in.v[i].val->def);
		else if (m->in.v[i].kind != InTangent)
			m->in.v[k++] = m->in.v[i];
	m->in.n = k;
	m->sub.v = NULL;
	m->sub.n = m->sub.cap = 0;
	FOREACH_NODE(j->g, n)
		for (int i = 0; i < n->narg; i++)
			adoptarg(m, &n->arg[i], j->g);
}

/* Placeholders in the order of the inputs. */
void
inputs_sort(Module *m)
{
	Graph *g = m->main;
	Node *last = NULL, *rest = g->first;

	while (rest && rest->op == &opplaceholder)
		rest = rest->next;
	for (int i = 0; i < m->in.n; i++) {
		Node *n = m->in.v[i].val->def;

		n->prev = last;
		*(last ? &last->next : &g->first) = n;
		last = n;
	}
	if (last) {
		last->next = rest;
		rest->prev = last;
	}
}

/* ---- the whole ------------------------------------------------------------------------------------ */

static Module *
module(Joint *j)
{
	const Module *m = j->m;
	Module *b = module_new(m->cx, intern_printf(m->cx, "%s_backward", m->name));

	b->main = graph_new(b, m->main->name, NULL);
	b->torch = m->torch;
	b->dialect = m->dialect;
	b->train = true;
	b->weightfile.v = m->weightfile.v;
	b->weightfile.n = m->weightfile.n;
	module_obey(b, m);
	return b;
}

/* What sub-graphs of backward read of the module. */
static void
attributes(Parts *p)
{
	const Module *m = p->j->m;

	for (int k = 0; k < p->bm->sub.n; k++)
		FOREACH_NODE(p->bm->sub.v[k], n)
			for (int i = 0; n->op == &opgetattr && i < m->weight.n; i++)
				if (m->weight.v[i]->fqn == n->target)
					vec_push(ctx_arena(m->cx), &p->bm->weight, m->weight.v[i]);
}

/* The module stays one: tangents that are numbers are put in. */
void
extract_none(Module *m)
{
	Node *first = m->main->first;
	int k = 0;

	while (first->op == &opplaceholder)
		first = first->next;
	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i];

		if (in->kind == InTangent && in->val && in->value.kind != ArgNone) {
			val_replace(in->val, tangent_value(m->main, in, first));
			node_delete(in->val->def);
		} else {
			m->in.v[k++] = *in;
		}
	}
	m->in.n = k;
}

int *
extract(Joint *j, const Ints *saved)
{
	Parts p = {.j = j, .bm = module(j), .have = NEWN(j->a, bool, j->n + 1), .need = NEWN(j->a, bool, j->n + 1),
	           .val = NEWN(j->a, Val *, j->g->nval + 1)};
	Ints cut = {0};
	int *root;

	p.bg = p.bm->main;
	for (int i = 0; i < saved->n; i++)
		p.have[saved->v[i]] = true;
	for (int i = 0; i < j->n; i++)
		p.have[i] |= j->v[i].tangent;
	FOREACH_NODE(j->g, n)
		if (op_draws(n))
			n->stream = node_stream(n);
	needs(&p);
	for (int i = 0; i < saved->n; i++)
		if (j->v[saved->v[i]].sym)
			vec_push(j->a, &cut, saved->v[i]);
		else if (p.need[saved->v[i]])
			vec_push(j->a, &p.saved, saved->v[i]);
	sizes(&p, &cut);
	backward(&p);
	results(&p);
	attributes(&p);
	prune(&p);
	j->m->backward = p.bm;
	root = NEWN(j->a, int, p.bm->in.n + 1);
	for (int i = 0; i < p.bm->in.n; i++)
		root[i] = i >= p.size.n && i < p.size.n + p.saved.n ? j->v[p.saved.v[i - p.size.n]].root : -1;
	return root;
}
