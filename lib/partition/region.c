/* region.c - repeated regions (invoke_subgraph) are cut before the graph that calls them.
 *
 * A region that is called forward and whose derivative is called backward comes as two bodies, the
 * second one a joint graph: its parameters are those of the first and tangents, its results gradients
 * and the results of the first.  That one is cut, once for all its calls.  Forward calls then hand out
 * what is saved, backward calls take that instead of the operands:
 *
 *     y = f(x, w);  gx, gw, _ = d(x, w, gy)     ->     y, a, b = f'(x, w);  gx, gw = d'(a, b, gy)
 *
 * What is saved of the parameters themselves need not be handed out.  Sizes need no hands: types
 * tell them.  A body with sizes that they do not tell stays as it is.
 */
#include "ir/hop.h"
#include "partition/part.h"

typedef struct Region {
	Graph *f, *d;            /* the bodies: forward, joint */
	Module *cut;             /* d, cut; NULL: not to be */
	int nparam, nresult;     /* of f */
	int ngrad;
	Ints from;               /* saved values in order: result of forward's body, or -1 - parameter */
} Region;

typedef struct Regions {
	Module *m;
	Ctx *cx;
	Arena *a;
	const PartOptions *o;
	VEC(Region *) region;
	bool *paired;            /* by node id: a forward call that has its backward call */
} Regions;

static Graph *
body(const Node *n)
{
	Graph *g[MaxHopGraphs];

	return hop_kind(n->op) == HopInvoke && hop_graphs(n, g) == 1 ? g[0] : NULL;
}

/* Is f's call on the operands with which d's begins? */
static bool
fits(const Node *f, const Node *d)
{
	HopList a = hop_operands(f), b = hop_operands(d);
	int nf = hop_results(body(f)).n, nd = hop_results(body(d)).n;

	if (a.n > b.n || nf > nd)
		return false;
	for (int i = 0; i < a.n; i++)
		if (a.v[i].kind != ArgVal || b.v[i].kind != ArgVal || a.v[i].use->val != b.v[i].use->val)
			return false;
	for (int i = 0; i < nf; i++)
		if (f->out[i].type != d->out[nd - nf + i].type)
			return false;
	return true;
}

/* The forward call that a backward one is the derivative of. */
static Node *
partner(const Regions *r, const Node *d)
{
	Node *best = NULL;

	FOREACH_NODE(r->m->main, n) {
		if (n == d)
			break;
		if (r->paired[n->id] || !body(n) || body(n) == body(d) || !fits(n, d))
			continue;
		best = n;
		if (d->origin && strcmp(d->origin, n->name) == 0)
			break;
	}
	return best;
}

/* ---- a body as a module ------------------------------------------------------------ */

static Module *
module(const Regions *r, const Region *x)
{
	Module *m = module_new(r->cx, x->d->name);
	HopList res;
	Val *p[MaxHopOperands];
	int n;

	module_obey(m, r->m);
	m->train = true;
	m->main = graph_clone(x->d);
	m->main->mod = m;
	m->main->parent = NULL;
	n = hop_params(m->main, p, MaxHopOperands);
	for (int i = 0; i < n; i++)
		vec_push(ctx_arena(r->cx), &m->in, (Input){.kind = i < x->nparam ? InUser : InTangent, .val = p[i],
		         .name = p[i]->name, .argname = p[i]->name, .persistent = true});
	res = hop_results(m->main);
	for (int i = 0; i < res.n; i++)
		vec_push(ctx_arena(r->cx), &m->out, (Output){.kind = i < x->ngrad ? ResGradUser : ResUser,
		         .name = intern_printf(r->cx, "out%d", i)});
	return m;
}

/* Sizes that a body is handed are dropped if the shapes of its tensors tell them. */
static bool
told(const Module *b, const Sym *s)
{
	for (int i = 0; i < b->in.n; i++) {
		const Type *t = b->in.v[i].val->type;

		for (int d = 0; t->kind == TyTensor && d < t->rank; d++)
			if (t->dim[d] == s)
				return true;
	}
	return false;
}

static bool
dropsizes(Module *m)
{
	Module *b = m->backward;
	const Arg *list = &m->main->last->arg[0];
	VEC(Arg) arg = {0};
	int k = 0;

	for (int i = 0; i < b->in.n; i++)
		if (b->in.v[i].val->type->kind == TySym && !told(b, b->in.v[i].val->type->sym))
			return false;
	for (int i = 0; i < b->in.n; i++)
		if (b->in.v[i].val->type->kind == TySym)
			node_delete(b->in.v[i].val->def);
		else
			b->in.v[k++] = b->in.v[i];
	b->in.n = k;
	for (int i = k = 0; i < m->out.n; i++)
		if (m->out.v[i].kind != ResSaved || list->list.v[i].kind == ArgVal) {
			vec_push(ctx_arena(m->cx), &arg, list->list.v[i]);
			m->out.v[k++] = m->out.v[i];
		}
	m->out.n = k;
	node_setargs(m->main->last, &(Arg){.kind = ArgList, .list = {arg.v, arg.n}}, 1);
	return true;
}

/* Which parameter of forward's body result i is; -1: none. */
static int
parameter(const Module *m, int i)
{
	const Arg *a = &m->main->last->arg[0].list.v[i];

	for (int k = 0; k < m->in.n; k++)
		if (a->kind == ArgVal && m->in.v[k].val == a->use->val)
			return k;
	return -1;
}

/* Saved parameters are not handed out: whoever calls has them. */
static void
dropparams(Region *x, Module *m, Arena *a)
{
	const Arg *list = &m->main->last->arg[0];
	VEC(Arg) arg = {0};
	int k = 0;

	for (int i = 0; i < m->out.n; i++) {
		int p = m->out.v[i].kind == ResSaved ? parameter(m, i) : -1;

		if (m->out.v[i].kind == ResSaved)
			vec_push(a, &x->from, p >= 0 ? -1 - p : k);
		if (p >= 0)
			continue;
		vec_push(a, &arg, list->list.v[i]);
		m->out.v[k++] = m->out.v[i];
	}
	m->out.n = k;
	node_setargs(m->main->last, &(Arg){.kind = ArgList, .list = {arg.v, arg.n}}, 1);
	x->cut = m;
}

/* ---- calls ------------------------------------------------------------------------------ */

static Node *
call(const Regions *r, Node *old, Graph *g, const Arg *ops, int nops)
{
	int n = hop_results(g).n;
	Arg arg[3] = {{.kind = ArgGraph, .graph = g}, arg_str(g->name), arg_list(r->a, ops, nops)};
	Node *c = node_new(r->m->main, old->op, arg, 3, n, old, old->loc);

	node_inherit(c, old);
	for (int i = 0; i < n; i++) {
		const Arg *a = &hop_results(g).v[i];

		c->out[i].type = a->kind == ArgVal ? a->use->val->type : type_none(r->cx);
	}
	return c;
}

static void
stitch(const Regions *r, const Region *x, Node *f, Node *d)
{
	HopList ops = hop_operands(f), all = hop_operands(d);
	VEC(Arg) arg = {0};
	Node *nf = call(r, f, x->cut->main, ops.v, ops.n), *nd;

	for (int i = 0; i < x->from.n; i++)
		vec_push(r->a, &arg, x->from.v[i] < 0 ? arg_val(ops.v[-1 - x->from.v[i]].use->val) : arg_val(&nf->out[x->from.v[i]]));
	for (int i = x->nparam; i < all.n; i++)
		vec_push(r->a, &arg, all.v[i]);
	nd = call(r, d, x->cut->backward->main, arg.v, arg.n);
	for (int i = 0; i < x->nresult; i++) {
		Str name = f->out[i].name;

		val_replace(&f->out[i], &nf->out[i]);
		val_replace(&d->out[x->ngrad + i], &nf->out[i]);
		node_rename(nf, f->name);
		val_rename(r->m->main, &nf->out[i], name);
	}
	for (int i = 0; i < x->ngrad; i++)
		val_replace(&d->out[i], &nd->out[i]);
	node_delete(d);
	node_delete(f);
}

static Region *
region(Regions *r, Graph *f, Graph *d)
{
	PartOptions o = *r->o;
	Region *x;
	Module *m;

	for (int i = 0; i < r->region.n; i++)
		if (r->region.v[i]->f == f && r->region.v[i]->d == d)
			return r->region.v[i];
	x = NEW(r->a, Region);
	*x = (Region){.f = f, .d = d, .nresult = hop_results(f).n};
	x->nparam = hop_params(f, (Val *[MaxHopOperands]){0}, MaxHopOperands);
	x->ngrad = hop_results(d).n - x->nresult;
	vec_push(r->a, &r->region, x);
	m = module(r, x);
	o.maxbytes = 0;
	o.mincut = o.pareto = NULL;
	if (o.how == PartNamed)
		o.how = PartMincut;
	if (!partition(m, &o))
		return NULL;
	if (!dropsizes(m))
		return x;
	m->main->name = intern_printf(r->cx, "partitioned_fw_%s", f->name);
	m->backward->main->name = intern_printf(r->cx, "partitioned_bw_%s", f->name);
	dropparams(x, m, r->a);
	m->main->parent = m->backward->main->parent = r->m->main;
	for (int i = 0; i < 2; i++) {
		Graph *g = i ? m->backward->main : m->main;

		g->mod = r->m;
		hop_adopt(r->m, g);
	}
	return x;
}

bool
regions(Module *m, Arena *a, const PartOptions *o)
{
	Regions r = {.m = m, .cx = m->cx, .a = a, .o = o, .paired = NEWN(a, bool, m->main->nnode + 1)};
	VEC(Node *) back = {0};

	FOREACH_NODE(m->main, n)
		if (n->backward && body(n))
			vec_push(a, &back, n);
	for (int i = 0; i < back.n; i++) {
		Node *d = back.v[i], *f = partner(&r, d);
		Region *x;

		if (!f)
			continue;
		r.paired[f->id] = true;
		if (!(x = region(&r, body(f), body(d))))
			return false;
		if (x->cut)
			stitch(&r, x, f, d);
	}
	return true;
}
