/* inline.c - sub-graphs that need not stay are put in the place of their calls.
 *
 * A conditional whose predicate is known, a region that is called from one place only or that
 * draws random numbers, a loop of a few short rounds.  Under -fdecomp=torch all stay, as they
 * do in PyTorch's dumps.  What only sets a mode (no_grad, autocast, checkpoints) the readers
 * have put in place already, with marks on its nodes.
 */
#include "grad/grad.h"
#include "grad/hop.h"
#include "ir/lang.h"

enum { MostRounds = 8, MostNodes = 200 };     /* of a loop that is unrolled */

typedef struct Inline {
	Arena *a;
	Ctx *cx;
	Node *call;
	HopList actual;          /* the call's operands */
	Arg *with;               /* by id of the sub-graph's value: what stands for it here */
	Renaming size;           /* parameters that are sizes */
	bool bad;
} Inline;

static void
bindsize(Inline *s, const Sym *from, const Sym *to)
{
	if (from->kind != SymVar || from == to)
		return;
	vec_push(s->a, &s->size.var, from);
	vec_push(s->a, &s->size.with, to);
}

static Arg
translated(Inline *s, const Arg *x)
{
	Arg r = *x;

	if (x->kind == ArgVal)
		return s->with[x->use->val->id].kind == ArgVal ? arg_val(s->with[x->use->val->id].use->val) : s->with[x->use->val->id];
	if (x->kind == ArgInt)
		r.i = sym_subst(s->cx, x->i, s->size.var.v, s->size.with.v, s->size.var.n);
	if (x->kind != ArgList && x->kind != ArgSlice && x->kind != ArgComplex)
		return r;
	r.list.v = x->list.n ? NEWN(s->a, Arg, x->list.n) : NULL;
	for (int k = 0; k < x->list.n; k++)
		r.list.v[k] = translated(s, &x->list.v[k]);
	return r;
}

static void
copynode(Inline *s, const Node *n)
{
	Arg *arg = NEWN(s->a, Arg, n->narg + 1);
	Node *m;

	for (int k = 0; k < n->narg; k++)
		arg[k] = translated(s, &n->arg[k]);
	m = node_new(s->call->graph, n->op, arg, n->narg, n->nout, s->call, n->loc);
	m->target = n->target;
	m->annot = n->annot;
	node_inherit(m, n);
	m->backward = s->call->backward;
	if (s->call->region == GradOff)
		m->region = GradOff;
	if (!n->acgraph && !n->recompute) {
		m->acgraph = s->call->acgraph;
		m->recompute = s->call->recompute;
	}
	for (int k = 0; k < n->nout; k++) {
		m->out[k].type = renamed_type(s->cx, &s->size, n->out[k].type);
		s->with[n->out[k].id] = arg_val(&m->out[k]);
	}
}

/* A size that only the sub-graph has is the operand's. */
static void
parameter(Inline *s, const Node *n, const Arg *a)
{
	const Type *t = n->out[0].type, *is = a->kind == ArgVal ? a->use->val->type : NULL;

	s->with[n->out[0].id] = *a;
	if (t && t->kind == TySym && a->kind == ArgInt)
		bindsize(s, t->sym, a->i);
	for (int d = 0; t && is && t->kind == TyTensor && is->rank == t->rank && d < t->rank; d++)
		bindsize(s, t->dim[d], is->dim[d]);
}

/* The call's results are what the sub-graph returns. */
static bool
returned(Inline *s, HopList res)
{
	if (res.n < s->call->nout) {
		error(s->cx, s->call->loc, "%s: its sub-graph returns %d values, %d are used", s->call->op->name, res.n, s->call->nout);
		return false;
	}
	for (int k = 0; k < s->call->nout; k++) {
		Arg r = translated(s, &res.v[k]);
		if (r.kind == ArgVal)
			val_replace(&s->call->out[k], r.use->val);
		else if (s->call->out[k].uses) {
			error(s->cx, s->call->loc, "%s: result %d of its sub-graph is no tensor", s->call->op->name, k);
			return false;
		}
	}
	node_delete(s->call);
	return true;
}

bool
hop_splice(Node *call, Graph *g)
{
	Inline s = {.a = call->graph->arena, .cx = call->graph->cx, .call = call, .actual = hop_operands(call)};
	int taken = 0;

	s.with = NEWN(s.a, Arg, g->nval + 1);
	FOREACH_NODE(g, n) {
		if (n == g->last)
			return returned(&s, hop_results(g));
		if (n->op != &opplaceholder)
			copynode(&s, n);
		else if (taken < s.actual.n)
			parameter(&s, n, &s.actual.v[taken++]);
		else
			break;
	}
	error(s.cx, call->loc, "%s: its sub-graph takes more than the %d values given", call->op->name, s.actual.n);
	return false;
}

/* ---- what is put in place -------------------------------------------------------------- */

static int
ncalls(const Module *m, const Graph *g)
{
	int count = 0;

	for (int k = -1; k < m->sub.n; k++)
		FOREACH_NODE(k < 0 ? m->main : m->sub.v[k], n) {
			Graph *v[MaxHopGraphs];
			int ng = n->op->flags & OP(Hop) ? hop_graphs(n, v) : 0;
			for (int i = 0; i < ng; i++)
				count += v[i] == g;
		}
	return count;
}

static int
nnodes(const Graph *g)
{
	int n = 0;

	FOREACH_NODE(g, node)
		n += !(node->op->flags & OP(Leaf));
	return n;
}

/* Operators that draw in sub-graphs have streams that the rest of the program does not use, and that
 * copies of the sub-graph - its derivative - keep. */
static void
streams(Module *m)
{
	for (int k = 0; k < m->sub.n; k++)
		FOREACH_NODE(m->sub.v[k], n)
			if (hop_nodedraws(n) && !n->stream)
				n->stream = ((uint32_t)k + 1) << 16 | (n->id & 0xffff);
}

/* The branch that a predicate known when compiling chooses. */
static Graph *
chosen(const Node *n, Graph *const *g, int ng)
{
	enum hopkind k = hop_kind(n->op);
	const Arg *a = node_arg(n, k == HopCond ? "pred" : "index");
	int64_t i;

	if (a->kind == ArgBool)
		i = a->b;
	else if (a->kind != ArgInt || !sym_isconst(a->i, &i))
		return NULL;
	if (k == HopCond)
		i = i == 0;
	return g[i < 0 || i >= ng ? ng - 1 : i];
}

/* The sub-graph to be put in the place of n; NULL: it stays. */
static Graph *
body(const Node *n)
{
	const Module *m = n->graph->mod;
	Graph *g[MaxHopGraphs];
	int ng;

	switch (hop_kind(n->op)) {
	case HopCond: case HopSwitch:
		ng = hop_graphs(n, g);
		return ng ? chosen(n, g, ng) : NULL;
	case HopInvoke:
		if (hop_graphs(n, g) != 1)
			return NULL;
		if (graph_writes_inputs(g[0]))             /* the caller must see it */
			return g[0];
		if (m->decomp == DecompTorch)
			return NULL;
		return ncalls(m, g[0]) == 1 || hop_draws(g[0]) ? g[0] : NULL;
	case HopFunction:
		return !m->train && hop_graphs(n, g) ? g[0] : NULL;
	default:
		return NULL;
	}
}

static bool
unrolls(const Node *n)
{
	const Sym *len = NULL;
	Graph *g[MaxHopGraphs];
	int64_t k;

	switch (hop_kind(n->op)) {
	case HopMap: case HopScan: case HopAssociative:
		len = n->graph->mod->decomp == DecompNative ? hop_length(n) : NULL;
		return len && sym_isconst(len, &k) && k > 0 && k <= MostRounds && hop_graphs(n, g) == 1 && k * nnodes(g[0]) <= MostNodes;
	default:
		return false;
	}
}

/* PyTorch's graphs have item() under its inner name. */
static void
rename_item(Node *n)
{
	if (n->graph->mod->decomp == DecompTorch && strcmp(n->op->name, "aten.item.default") == 0)
		n->op = op_find("aten._local_scalar_dense.default");
}

/* ---- torch.tensor(literal) ------------------------------------------------------------------ */

/* The numbers that scalar_tensor and stack of them hold, in order; false: they are no literals. */
static bool
numbers(const Val *v, Tensor *t, int64_t *at)
{
	const Arg *a = &v->def->arg[0];
	int64_t k;

	if (strcmp(v->def->op->name, "aten.stack.default") == 0) {
		for (int i = 0; i < a->list.n; i++)
			if (a->list.v[i].kind != ArgVal || !numbers(a->list.v[i].use->val, t, at))
				return false;
		return true;
	}
	if (strcmp(v->def->op->name, "aten.scalar_tensor.default") != 0 || *at >= tensor_numel(t))
		return false;
	if (a->kind == ArgFloat)
		tensor_set(t, (*at)++, a->f);
	else if (a->kind == ArgBool || (a->kind == ArgInt && sym_isconst(a->i, &k))) {
		if (dt_int(t->dt))
			tensor_seti(t, (*at)++, a->kind == ArgBool ? a->b : k);
		else
			tensor_set(t, (*at)++, a->kind == ArgBool ? a->b : (double)k);
	} else
		return false;
	return true;
}

static bool
constant(const Val *v, Tensor *t)
{
	const Type *y = v->type;
	int64_t at = 0;

	if (y == NULL || y->kind != TyTensor || dtypeinfo[y->dt].kind == KindComplex)
		return false;
	*t = (Tensor){.dt = y->dt, .rank = y->rank};
	for (int d = 0; d < y->rank; d++)
		if (!sym_isconst(y->dim[d], &t->dim[d]))
			return false;
	t->bytes = (size_t)tensor_numel(t) * dtypeinfo[t->dt].bytes;
	t->data = arena_alloc(v->def->graph->arena, t->bytes + 16, 64);
	return numbers(v, t, &at) && at == tensor_numel(t);
}

/* PyTorch keeps it as a tensor of the module and copies it where it is used. */
static bool
lift(Node *n)
{
	Graph *g = n->graph;
	Module *m = g->mod;
	Weight *w;
	Tensor t;
	int count = 0;

	if (m->decomp != DecompTorch || n->tag == NULL || strcmp(n->tag, "torch.tensor") != 0 || !constant(&n->out[0], &t))
		return true;
	for (int k = 0; k < m->weight.n; k++)
		count += strncmp(m->weight.v[k]->fqn, "_tensor_constant", 16) == 0;
	w = NEW(ctx_arena(m->cx), Weight);
	*w = (Weight){.fqn = intern_printf(m->cx, "_tensor_constant%d", count), .type = n->out[0].type, .data = t.data, .bytes = t.bytes};
	vec_push(ctx_arena(m->cx), &m->weight, w);
	Node *attr = node_new(g, &opgetattr, NULL, 0, 1, n, n->loc);
	attr->target = w->fqn;
	attr->out[0].type = w->type;
	Node *copy = node_new(g, op_find("aten.lift_fresh_copy.default"), (Arg[]){arg_val(&attr->out[0])}, 1, 1, n, n->loc);
	node_inherit(copy, n);
	copy->tag = NULL;
	if (!node_infer(copy))
		return false;
	val_replace(&n->out[0], &copy->out[0]);
	n->tag = NULL;
	return true;
}

static bool
inline_graph(Graph *g)
{
	for (Node *n = g->first, *prev; n; ) {
		rename_item(n);
		if (!lift(n))
			return false;
		Graph *b = body(n);
		bool unroll = !b && unrolls(n);
		prev = n->prev;
		if ((b && !hop_splice(n, b)) || (unroll && !node_expand(n)))
			return false;
		if (!b && !unroll)
			n = n->next;
		else
			n = prev ? prev->next : g->first;     /* it may hold calls itself */
	}
	return true;
}

/* ---- sub-graphs that are still called --------------------------------------------------------- */

static void
reached(Arena *a, Map *seen, const Graph *g)
{
	FOREACH_NODE(g, n) {
		Graph *v[MaxHopGraphs];
		int ng = n->op->flags & OP(Hop) ? hop_graphs(n, v) : 0;
		for (int k = 0; k < ng; k++)
			if (!map_get(seen, v[k])) {
				map_put(a, seen, v[k], v[k]);
				reached(a, seen, v[k]);
			}
	}
}

/* All sub-graphs that are called are the module's: readers may not have said so. */
static void
gather(Module *m)
{
	Graph *v[MaxHopGraphs];

	for (int k = -1; k < m->sub.n; k++)
		FOREACH_NODE(k < 0 ? m->main : m->sub.v[k], n)
			for (int i = 0, ng = n->op->flags & OP(Hop) ? hop_graphs(n, v) : 0; i < ng; i++)
				hop_adopt(m, v[i]);
}

static void
sweep(Module *m)
{
	Map seen = {0};
	int n = 0;

	reached(ctx_arena(m->cx), &seen, m->main);
	for (int k = 0; k < m->sub.n; k++)
		if (map_get(&seen, m->sub.v[k]))
			m->sub.v[n++] = m->sub.v[k];
	m->sub.n = n;
}

bool
pass_inline(Module *m)
{
	gather(m);
	for (int k = m->sub.n - 1; k >= 0; k--)        /* inner ones were read later */
		if (!inline_graph(m->sub.v[k]))
			return false;
	if (!inline_graph(m->main))
		return false;
	sweep(m);
	streams(m);
	return true;
}
