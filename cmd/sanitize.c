/* sanitize.c - -fsanitize=graph: after every pass on graphs, what is recorded is found out again.
 *
 * The structure is verified, each node's type is inferred anew from its operands and compared with
 * the one that it carries, the program is functional as soon as it has to be, and the record of
 * aliases fits its inputs and outputs.  -fdebug-break-pass=PASS spoils what a pass left, to show
 * that this finds it and whom it names.
 */
#include "cmd/passes.h"
#include "grad/grad.h"

static bool
tensor(const Val *v)
{
	return v->type && v->type->kind == TyTensor;
}

/* Types that a node had before it was inferred again are what it keeps. */
static bool
same_types(Node *n, const char *pass)
{
	Ctx *cx = n->graph->cx;
	const Type **was = NEWN(ctx_arena(cx), const Type *, n->nout + 1);
	bool ok;

	for (int i = 0; i < n->nout; i++)
		was[i] = n->out[i].type;
	ok = node_infer(n);
	for (int i = 0; i < n->nout; i++) {
		const Type *now = n->out[i].type;
		bool wrong = was[i] == NULL || now == NULL || was[i]->kind != now->kind || (tensor(&n->out[i]) && !type_same(was[i], now));
		n->out[i].type = was[i];
		if (!ok || !wrong)
			continue;
		error(cx, n->loc, "pass %s: %s is recorded as %s, but %s gives %s", pass, n->out[i].name,
		      was[i] ? type_str(cx, was[i]) : "nothing", n->op->name, now ? type_str(cx, now) : "nothing");
		return false;
	}
	return ok || (error(cx, n->loc, "pass %s: %s cannot be what it was made", pass, n->name), false);
}

static bool
graph(Graph *g, const char *pass)
{
	FOREACH_NODE(g, n)
		if (!(n->op->flags & OP(Leaf)) && !same_types(n, pass))
			return false;
	return true;
}

/* An entry of the record for each placeholder that the program had (constants are added), one element of the output list for each output. */
static bool
record(const Module *m, const char *pass)
{
	const Node *end = m->main->last;
	int in = 0, out = end->narg && end->arg[0].kind == ArgList ? end->arg[0].list.n : 0;

	for (int i = 0; i < m->in.n; i++)
		in += m->in.v[i].val != NULL && m->in.v[i].kind != InTangent && m->in.v[i].kind != InSaved && m->in.v[i].kind != InToken;
	if (m->meta && m->meta->in.n > in)
		return error(m->cx, NOLOC, "pass %s: the program has %d inputs, its record of aliases %d", pass, in, m->meta->in.n), false;
	if (m->out.n && m->out.n != out)
		return error(m->cx, NOLOC, "pass %s: the program returns %d values, its signature has %d", pass, out, m->out.n), false;
	return true;
}

static bool
module(Module *m, const char *pass)
{
	bool ok = graph(m->main, pass);

	for (int i = 0; ok && i < m->sub.n; i++)
		ok = graph(m->sub.v[i], pass);
	if (ok && (!module_verify(m) || (m->meta && m->meta->in.n && !module_functional(m))))
		return error(m->cx, NOLOC, "pass %s leaves a graph that is not well formed", pass), false;
	return ok && record(m, pass);
}

bool
sanitize_graph(Module *m, const char *pass)
{
	return module(m, pass) && (!m->backward || module(m->backward, pass)) && (!m->fold || module(m->fold, pass));
}

/* The last tensor gets a size too much. */
void
sanitize_break(Module *m)
{
	const Sym *dim[MaxRank + 1];

	for (Node *n = m->main->last; n; n = n->prev) {
		const Type *t = n->nout && tensor(&n->out[0]) ? n->out[0].type : NULL;
		if (n->op->flags & OP(Leaf) || t == NULL || t->rank == MaxRank)
			continue;
		for (int d = 0; d < t->rank; d++)
			dim[d] = t->dim[d];
		dim[t->rank] = sym_const(m->cx, 7);
		n->out[0].type = type_tensor(m->cx, t->dt, t->rank + 1, dim);
		return;
	}
}
