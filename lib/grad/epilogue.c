/* epilogue.c - mutations of inputs as copy_ nodes at the end of the graph, and back.
 *
 * functionalize makes what an input becomes a leading result of the graph.  PyTorch's graphs
 * (keep_input_mutations) have in its place
 *
 *     copy_ = torch.ops.aten.copy_.default(x, value)
 *
 * right before the output node, set_ if the input got other memory.  That is the form of texts
 * under -fdecomp=torch; lowering wants results, so they are turned back after the partition.
 */
#include "grad/grad.h"

/* ---- the signature ----------------------------------------------------------------- */

static bool
ismutation(const Output *o)
{
	return o->kind == ResUserMut || o->kind == ResBufferMut || o->kind == ResParamMut;
}

/* Which of the module's inputs that have placeholders an output is written to; -1. */
static int
target(const Module *m, const Output *o, Input **in)
{
	int at = -1;

	for (int k = 0; k < m->in.n; k++) {
		*in = &m->in.v[k];
		at += (*in)->val != NULL;
		if ((*in)->val && (o->kind == ResUserMut) == ((*in)->kind == InUser) &&
		    o->target == ((*in)->kind == InUser || (*in)->target == NULL ? (*in)->name : (*in)->target))
			return at;
	}
	return -1;
}

static void
setresults(Module *m, const Arg *v, int n)
{
	Arg all = arg_list(m->main->arena, v, n);

	node_setargs(m->main->last, &all, 1);
}

/* ---- forth ------------------------------------------------------------------------------- */

static bool
writeback(Module *m, const Input *in, const Arg *value, const char *name)
{
	const OpDef *op = op_find(name);
	Arg pos[2] = {arg_val(in->val), *value}, all[8];
	Node *end = m->main->last, *n;

	if (op == NULL || op->nparam > COUNT(all))
		return false;
	if (value->kind == ArgVal && value->use->val == in->val)
		return true;                              /* it is what it was */
	if (!op_bind(m->cx, end->loc, op, pos, 2, NULL, NULL, 0, all))
		return false;
	n = node_new(m->main, op, all, op->nparam, 1, end, end->loc);
	return node_infer(n);
}

bool
pass_epilogue(Module *m)
{
	const Arg *list = &m->main->last->arg[0];
	Arg *v = NEWN(m->main->arena, Arg, list->list.n + 1);
	int n = 0;

	if (!m->keepmut || m->meta == NULL || m->out.n != list->list.n)
		return true;
	for (int k = 0; k < list->list.n; k++) {
		const Output *o = &m->out.v[k];
		Input *in;
		int at = ismutation(o) ? target(m, o, &in) : -1;
		if (at >= 0 && m->meta->in.v[at].kind == MutatedInGraph) {
			if (!writeback(m, in, &list->list.v[k], m->meta->in.v[at].storage ? "aten.set_.source_Tensor" : "aten.copy_.default"))
				return false;
			continue;
		}
		m->out.v[n] = m->out.v[k];
		v[n++] = list->list.v[k];
	}
	m->out.n = n;
	setresults(m, v, n);
	return true;
}

/* ---- and back ------------------------------------------------------------------------------ */

static bool
iswriteback(const Node *n)
{
	return (strcmp(n->op->name, "aten.copy_.default") == 0 || strcmp(n->op->name, "aten.set_.source_Tensor") == 0) &&
	       arg_tensor(n, 0) && arg_tensor(n, 0)->def->op == &opplaceholder;
}

static Input *
inputof(const Module *m, const Val *v, int *at)
{
	for (*at = 0; *at < m->in.n; ++*at)
		if (m->in.v[*at].val == v)
			return &m->in.v[*at];
	return NULL;
}

/* src as what copy_ writes to `to`. */
static Val *
copied(Node *n, Val *to, Val *src)
{
	const OpDef *op = op_find("aten.copy.default");
	Arg pos[2] = {arg_val(to), arg_val(src)}, all[8];
	bool same = to->type->dt == src->type->dt && to->type->rank == src->type->rank;
	Node *c;

	for (int d = 0; same && d < to->type->rank; d++)
		same = sym_eq(to->type->dim[d], src->type->dim[d]);
	if (same)
		return src;
	if (op == NULL || op->nparam > COUNT(all) || !op_bind(n->graph->cx, n->loc, op, pos, 2, NULL, NULL, 0, all))
		return NULL;
	c = node_new(n->graph, op, all, op->nparam, 1, n, n->loc);
	return node_infer(c) ? &c->out[0] : NULL;
}

/* Among the leading results in the order of the inputs. */
static void
addresult(Module *m, const Input *in, int at, Val *v)
{
	Arena *a = m->main->arena;
	const Arg *list = &m->main->last->arg[0];
	VEC(Arg) r = {0};
	Output o = {.kind = in->kind == InParam ? ResParamMut : in->kind == InUser ? ResUserMut : ResBufferMut};
	Input *other;
	int k = 0;

	o.name = o.target = in->kind == InUser || in->target == NULL ? in->name : in->target;
	while (k < m->out.n && ismutation(&m->out.v[k]) && target(m, &m->out.v[k], &other) < at)
		k++;
	for (int i = 0; i <= list->list.n; i++) {
		if (i == k)
			vec_push(a, &r, arg_val(v));
		if (i < list->list.n)
			vec_push(a, &r, list->list.v[i]);
	}
	vec_push(ctx_arena(m->cx), &m->out, o);
	memmove(&m->out.v[k + 1], &m->out.v[k], sizeof o * (size_t)(m->out.n - 1 - k));
	m->out.v[k] = o;
	setresults(m, r.v, r.n);
}

bool
mutations_returned(Module *m)
{
	for (Node *n = m->main->first, *next; n; n = next) {
		Input *in;
		Val *v;
		int at;
		next = n->next;
		if (!iswriteback(n) || (in = inputof(m, arg_tensor(n, 0), &at)) == NULL || arg_tensor(n, 1) == NULL)
			continue;
		if (n->nout && n->out[0].uses) {
			error(m->cx, n->loc, "graph is not functional: %s: the input that it writes is read afterwards", n->name);
			return false;
		}
		if ((v = copied(n, in->val, arg_tensor(n, 1))) == NULL)
			return false;
		addresult(m, in, at, v);
		node_delete(n);
	}
	return true;
}
