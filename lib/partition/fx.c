/* fx.c - the joint graph as FX sees it, and what of it belongs to forward and to backward.
 *
 * PyTorch's heuristics count nodes and users of its own graph, where each result of a node with
 * several is a node (getitem), a size is a value that others read, and the output node is a user
 * like any other.  Here that graph is made beside ours, so that the same rules give the same cut.
 *
 * A value belongs to backward if it depends on a tangent, or is a gradient; to forward if the
 * program's own results need it.  What belongs to neither may be computed in either.
 */
#include "partition/part.h"

bool
res_isgrad(const Output *o)
{
	return o->kind == ResGradParam || o->kind == ResGradUser;
}

bool
fx_mustrecompute(const Fx *x)
{
	return !(x->node->op->flags & OP(Leaf)) && (x->node->recompute == PreferRecompute || x->node->recompute == MustRecompute);
}

/* ---- who reads what ------------------------------------------------------------ */

typedef struct Reads { const Joint *j; void (*fn)(void *, int); void *arg; } Reads;

static void
readval(void *arg, Use *u)
{
	const Reads *r = arg;
	int i = r->j->of[u->val->id];

	if (i >= 0)
		r->fn(r->arg, i);
}

/* A size: the value that holds it, else those that hold its variables. */
static void
readsym(const Reads *r, const Sym *s)
{
	const Joint *j = r->j;
	const Val *v = map_get(&j->held, s);
	const Sym **var = NULL;
	int n = 0;

	if (v) {
		r->fn(r->arg, j->of[v->id]);
		return;
	}
	if (s->kind == SymConst || s->kind == SymVar)
		return;
	sym_vars(j->a, s, &var, &n);
	for (int i = 0; i < n; i++)
		if ((v = map_get(&j->held, var[i])))
			r->fn(r->arg, j->of[v->id]);
}

static void
readsyms(const Reads *r, const Arg *a)
{
	if (a->kind == ArgInt)
		readsym(r, a->i);
	else if (a->kind == ArgList || a->kind == ArgSlice)
		for (int i = 0; i < a->list.n; i++)
			readsyms(r, &a->list.v[i]);
}

void
node_reads(const Joint *j, const Node *n, void (*fn)(void *, int), void *arg)
{
	Reads r = {j, fn, arg};

	node_operands((Node *)n, readval, &r);
	for (int i = 0; j->held.n && i < n->narg; i++)
		readsyms(&r, &n->arg[i]);
}

/* ---- the nodes ------------------------------------------------------------------ */

static bool
single(const Node *n)
{
	return n->nout == 1 && (n->op->flags & OP(Leaf) ||
	                        (n->op->nret == 1 && !n->op->ret[0].list && !(n->op->flags & OP(Hop))));
}

static int64_t
bytes(Ctx *cx, const Type *t)
{
	return t && t->kind == TyTensor ? type_bytes(cx, t) : t && t->kind == TySym;
}

/* In whose memory a value lies. */
static int
root(const Joint *j, const Fx *x)
{
	const Node *n = x->node;
	const Val *of = NULL;

	if (x->val == NULL || x->sym)
		return -1;
	if (n->op->flags & (OP(View) | OP(Inplace)))
		for (int i = 0; !of && i < n->narg; i++)
			of = arg_tensor(n, i);
	return of && j->of[of->id] >= 0 ? j->v[j->of[of->id]].root : (int)(x - j->v);
}

static Fx *
add(Joint *j, Node *n, Val *val, int tuple)
{
	Fx *x = &j->v[j->n];

	*x = (Fx){.node = n, .val = val, .tuple = tuple, .dist = Far, .order = -1, .live = true,
	           .sym = val && val->type && val->type->kind == TySym,
	          .type = optype(j->m, n->op, j->o ? j->o->lists : NULL)};
	if (val)
		j->of[val->id] = j->n;
	if (tuple < 0)
		j->first[n->id] = j->n;
	else
		x->type = OpRecompute;             /* operator.getitem */
	if (val)
		x->bytes = bytes(j->cx, val->type);
	for (int i = 0; !val && i < n->nout; i++)
		x->bytes += bytes(j->cx, n->out[i].type);
	if (x->sym && !map_get(&j->held, val->type->sym) && val->type->sym->kind != SymConst)
		map_put(j->a, &j->held, val->type->sym, val);
	x->root = root(j, x);
	j->n++;
	return x;
}

static void
nodes(Joint *j)
{
	FOREACH_NODE(j->g, n) {
		if (n->op == &opoutput)
			continue;
		if (single(n)) {
			add(j, n, &n->out[0], -1);
			continue;
		}
		int t = (int)(add(j, n, NULL, -1) - j->v);
		for (int i = 0; i < n->nout; i++)
			if (n->out[i].uses || (n->out[i].type && n->out[i].type->kind == TySym))
				add(j, n, &n->out[i], t);
	}
}

static void
inputs(Joint *j)
{
	const Module *m = j->m;
	bool torch = m->meta && m->decomp == DecompTorch;

	for (int i = 0, at = 0; i < m->in.n; i++) {
		const Input *in = &m->in.v[i];
		Fx *x;

		if (in->val == NULL)
			continue;
		x = &j->v[j->of[in->val->id]];
		x->tangent = in->kind == InTangent;
		x->primal = !x->tangent && in->kind != InConst;
		x->stat = in->kind == InParam || in->kind == InBuffer;
		for (int k = 0; torch && k < m->meta->statics.n; k++)     /* natively they are handed over like any input */
			x->stat |= m->meta->statics.v[k] == at && x->primal;
		if (torch && at < m->meta->in.n)
			x->epilogue = in->requires_grad && m->meta->in.v[at].kind == MutatedOutGraph && m->meta->in.v[at].data;
		at++;
	}
}

/* ---- edges ------------------------------------------------------------------------- */

typedef struct Edges { Joint *j; int to; int *seen, *fill; } Edges;

static void
count(void *arg, int from)
{
	Edges *e = arg;

	if (e->seen[from] == e->to)
		return;
	e->seen[from] = e->to;
	if (e->fill)
		e->j->user[e->fill[from]++] = e->to;
	else
		e->j->v[from].nuser++;
}

static void
walk(Joint *j, Edges *e)
{
	memset(e->seen, 0xff, sizeof *e->seen * (size_t)j->n);
	for (int i = 0; i < j->n; i++) {
		e->to = i;
		if (!j->v[i].live)
			continue;
		if (j->v[i].tuple >= 0)
			count(e, j->v[i].tuple);
		else
			node_reads(j, j->v[i].node, count, e);
	}
}

static void
edges(Joint *j)
{
	Edges e = {.j = j, .seen = NEWN(j->a, int, j->n + 1)};
	int at = 0;

	for (int i = 0; i < j->n; i++)
		j->v[i].nuser = 0;
	walk(j, &e);
	e.fill = NEWN(j->a, int, j->n + 1);
	for (int i = 0; i < j->n; i++) {
		j->v[i].user = e.fill[i] = at;
		at += j->v[i].nuser;
	}
	j->user = NEWN(j->a, int, at + 1);
	walk(j, &e);
}

static void
setoutput(void *arg, int i)
{
	((Joint *)arg)->v[i].output = true;
}

static bool
impure(const Node *n)
{
	return (n->op->flags & OP(Effect)) || op_mutable(n->op);
}

/* Nothing reads it: FX would have deleted it. */
static void
liveness(Joint *j)
{
	for (int i = j->n - 1; i >= 0; i--) {
		Fx *x = &j->v[i];

		x->live = x->output || x->node->op == &opplaceholder || impure(x->node);
		for (int k = 0; !x->live && k < x->nuser; k++)
			x->live = j->v[j->user[x->user + k]].live;
	}
}

/* ---- what belongs where ---------------------------------------------------------------- */

static void
backwards(Joint *j)
{
	const Arg *list = &j->g->last->arg[0];

	for (int i = 0; i < j->n; i++) {
		Fx *x = &j->v[i];

		if (x->tangent || (op_mutable(x->node->op) && x->node->backward))
			x->bw = true;
		for (int k = 0; x->bw && k < x->nuser; k++)
			j->v[j->user[x->user + k]].bw = true;
	}
	for (int i = 0; i < j->n; i++)
		j->v[i].closure = j->v[i].bw;
	for (int i = 0; i < list->list.n; i++)
		if (res_isgrad(&j->m->out.v[i]) && list->list.v[i].kind == ArgVal)
			j->v[j->of[list->list.v[i].use->val->id]].bw = true;
}

static void
need(void *arg, int i)
{
	((bool *)arg)[i] = true;
}

/* Needed by the results that are no gradients, or for its effect. */
static void
forwards(Joint *j)
{
	bool *needed = NEWN(j->a, bool, j->n + 1);
	const Arg *list = &j->g->last->arg[0];
	Node out = *j->g->last;
	Arg one;
	int order = 0;

	for (int i = 0; i < list->list.n; i++)
		if (!res_isgrad(&j->m->out.v[i])) {
			one = list->list.v[i];
			out.arg = &one;
			out.narg = 1;
			node_reads(j, &out, need, needed);
		}
	for (int i = j->n - 1; i >= 0; i--) {
		Fx *x = &j->v[i];

		if (x->closure)
			continue;
		x->fw = needed[i] || x->primal || (impure(x->node) && x->tuple < 0 && !x->node->backward);
		if (x->fw && x->tuple >= 0)
			needed[x->tuple] = true;
		else if (x->fw)
			node_reads(j, x->node, need, needed);
	}
	for (int i = 0; i < j->n; i++)
		if (j->v[i].fw)
			j->v[i].order = order++;
}

static void
distances(Joint *j)
{
	for (int i = j->n - 1; i >= 0; i--) {
		Fx *x = &j->v[i];

		x->dist = x->fw ? Far : 0;
		for (int k = 0; x->fw && k < x->nuser; k++) {
			const Fx *u = &j->v[j->user[x->user + k]];

			if (u->dist + 1 < x->dist)
				x->dist = u->dist + 1;
		}
	}
}

Joint *
joint_new(Module *m, Arena *a, const PartOptions *o)
{
	Joint *j = NEW(a, Joint);
	int most = 0;

	*j = (Joint){.m = m, .g = m->main, .cx = m->cx, .a = a, .o = o};
	FOREACH_NODE(j->g, n)
		most += n->nout + 1;
	j->v = NEWN(a, Fx, most);
	j->of = NEWN(a, int, j->g->nval + 1);
	j->first = NEWN(a, int, j->g->nnode + 1);
	memset(j->of, 0xff, sizeof *j->of * j->g->nval);
	memset(j->first, 0xff, sizeof *j->first * j->g->nnode);
	nodes(j);
	inputs(j);
	edges(j);
	node_reads(j, j->g->last, setoutput, j);
	liveness(j);
	edges(j);
	backwards(j);
	forwards(j);
	distances(j);
	return j;
}

/* May b be computed in one kernel with a, which it reads?  Everything may be written
 * straight into a cat. */
bool
fx_fusible(const Joint *j, int a, int b)
{
	const Fx *x = &j->v[a], *y = &j->v[b];

	if (y->tuple < 0 && op_is(y->node->op, "aten.cat"))
		return true;
	return optype_fusible(x->type) && optype_fusible(y->type);
}
