/* functional.c - does a program keep its hands off memory?
 *
 * After functionalize nothing is written but inputs, by copy_ or set_ nodes at the very end (they
 * stand for results; epilogue.c), and none of them twice.  What comes after it may then move,
 * merge, drop and repeat nodes as it likes.
 */
#include "grad/fun.h"

static bool
writesback(const Graph *g, const Node *n)
{
	Val *to = n->narg ? arg_tensor(n, 0) : NULL;

	return g == g->mod->main && to && to->def->op == &opplaceholder &&
	       (strcmp(n->op->name, "aten.copy_.default") == 0 || strcmp(n->op->name, "aten.set_.source_Tensor") == 0);
}

static bool
complain(const Node *n, const char *why)
{
	error(n->graph->cx, n->loc, "graph is not functional: %s%s", n->name, why);
	return false;
}

static bool
functional(Graph *g)
{
	Arena *a = arena_new();
	bool *written = NEWN(a, bool, g->nval + 1), end = false, ok = true;

	FOREACH_NODE(g, n) {
		bool read = false;
		if (!op_writes(n->op) && !node_stats(n)) {
			if (end && n != g->last && ok)
				ok = complain(n, ": it comes after an input was written");
			continue;
		}
		for (int k = 0; k < n->nout; k++)
			read |= n->out[k].uses != NULL;
		if (!writesback(g, n))
			ok = complain(n, "");
		else if (read)
			ok = complain(n, ": the input that it writes is read afterwards");
		else if (written[arg_tensor(n, 0)->id])
			ok = complain(n, ": the input is written twice");
		else
			end = written[arg_tensor(n, 0)->id] = true;
	}
	arena_free(a);
	return ok;
}

/* ---- sub-graphs ---------------------------------------------------------------------- */

typedef struct Given { bool *in; bool any; } Given;

static void
given(void *arg, Use *u)
{
	Given *g = arg;

	g->any |= g->in[u->val->id];
}

/* May the results share memory with what n reads? */
static bool
shares(const OpDef *op)
{
	return op->nparam && op->nret && op->param[0].alias;
}

static bool
written(const Node *n, int k)
{
	return n->op->param[k].mutated || (node_stats(n) && strncmp(n->op->param[k].name, "running_", 8) == 0);
}

bool
graph_writes_inputs(Graph *g)
{
	Arena *a = arena_new();
	Given s = {NEWN(a, bool, g->nval + 1), false};

	FOREACH_NODE(g, n) {
		bool writes = op_writes(n->op) || node_stats(n);
		Given of = {s.in, false};
		for (int k = 0; writes && k < n->narg; k++) {
			const Arg *x = &n->arg[k];
			for (int i = 0; written(n, k) && i < (x->kind == ArgList ? x->list.n : 1); i++) {
				const Arg *e = x->kind == ArgList ? &x->list.v[i] : x;
				s.any |= e->kind == ArgVal && s.in[e->use->val->id];
			}
		}
		if (shares(n->op))
			node_operands(n, given, &of);
		for (int k = 0; k < n->nout; k++)
			s.in[n->out[k].id] = n->op == &opplaceholder || of.any;
	}
	arena_free(a);
	return s.any;
}

/* ---- modules --------------------------------------------------------------------------- */

bool
module_functional(const Module *m)
{
	bool ok = functional(m->main);

	for (int k = 0; k < m->sub.n; k++)
		ok = functional(m->sub.v[k]) && ok;
	return ok && (m->backward == NULL || module_functional(m->backward));
}
