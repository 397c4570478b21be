/* inline.c - put sub-graphs that only run under a mode in the place of their calls.
 *
 * no_grad, autocast, activation checkpointing and invoke_subgraph say how PyTorch
 * is to run or differentiate a piece; what it computes is in the sub-graph.  Such
 * a call has one sub-graph, and its tensors are that sub-graph's inputs in order.
 */
#include "grad/grad.h"

static const char *const wrappers[] = {
	"higher_order.wrap_with_set_grad_enabled", "higher_order.wrap_with_autocast",
	"higher_order.tag_activation_checkpoint", "higher_order.wrap_activation_checkpoint",
	"higher_order.invoke_subgraph", "higher_order.wrap", "higher_order.strict_mode",
};

/* Calls without a result that set a mode for what follows. */
static const char *const modes[] = {
	"torch._C._set_grad_enabled", "torch.amp.autocast_mode._enter_autocast",
	"torch.amp.autocast_mode._exit_autocast",
};

static bool
among(const char *const *list, int n, const char *name)
{
	for (int k = 0; k < n; k++)
		if (strcmp(list[k], name) == 0)
			return true;
	return false;
}

static Graph *
body(const Node *n)
{
	Graph *g = NULL;

	if (!among(wrappers, COUNT(wrappers), n->op->name))
		return NULL;
	for (int k = 0; k < n->narg; k++)
		if (n->arg[k].kind == ArgGraph) {
			if (g)
				return NULL;
			g = n->arg[k].graph;
		}
	return g;
}

typedef struct Inline {
	Arena *a;
	Ctx *cx;
	Node *call;
	VEC(Val *) actual;       /* the call's tensors */
	Val **with;              /* by id of the sub-graph's value: what stands for it here */
	bool bad;
} Inline;

static void
collect(void *arg, Use *u)
{
	Inline *s = arg;

	vec_push(s->a, &s->actual, u->val);
}

static Arg
translated(Inline *s, const Arg *x)
{
	Arg r = *x;

	if (x->kind == ArgVal)
		return arg_val(s->with[x->use->val->id]);
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
	m->tag = n->tag;
	m->backward = s->call->backward;
	m->annot = n->annot;
	for (int k = 0; k < n->nout; k++) {
		m->out[k].type = n->out[k].type;
		s->with[n->out[k].id] = &m->out[k];
	}
}

/* The call's results are what the sub-graph returns. */
static bool
returned(Inline *s, const Node *end)
{
	const Arg *list = &end->arg[0];

	if (list->list.n < s->call->nout) {
		error(s->cx, s->call->loc, "%s: its sub-graph returns %d values, %d are used",
		      s->call->op->name, list->list.n, s->call->nout);
		return false;
	}
	for (int k = 0; k < s->call->nout; k++) {
		const Arg *r = &list->list.v[k];
		if (r->kind == ArgVal)
			val_replace(&s->call->out[k], s->with[r->use->val->id]);
		else if (s->call->out[k].uses) {
			error(s->cx, s->call->loc, "%s: result %d of its sub-graph is no tensor",
			      s->call->op->name, k);
			return false;
		}
	}
	node_delete(s->call);
	return true;
}

static bool
splice(Inline *s, Graph *g)
{
	int taken = 0;

	node_operands(s->call, collect, s);
	s->with = NEWN(s->a, Val *, g->nval + 1);
	FOREACH_NODE(g, n) {
		if (n == g->last)
			return returned(s, n);
		if (strcmp(n->op->name, "placeholder") == 0) {
			if (taken == s->actual.n)
				break;
			s->with[n->out[0].id] = s->actual.v[taken++];
		} else
			copynode(s, n);
	}
	error(s->cx, s->call->loc, "%s: its sub-graph takes more than the %d tensors given",
	      s->call->op->name, s->actual.n);
	return false;
}

static bool
inline_graph(Graph *g)
{
	for (Node *n = g->first, *prev; n; ) {
		Graph *b = body(n);
		prev = n->prev;
		if (b) {
			Inline s = {.a = g->arena, .cx = g->cx, .call = n};
			if (!splice(&s, b))
				return false;
			n = prev ? prev->next : g->first;     /* it may hold calls itself */
			continue;
		}
		Node *next = n->next;
		if (among(modes, COUNT(modes), n->op->name) && (n->nout == 0 || !n->out[0].uses))
			node_delete(n);
		n = next;
	}
	return true;
}

bool
pass_inline(Module *m)
{
	for (int k = 0; k < m->sub.n; k++)
		if (!inline_graph(m->sub.v[k]))
			return false;
	return inline_graph(m->main);
}
