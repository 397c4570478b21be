/* decompose.c - expand composite operators until every node has code of its own.
 *
 * An expansion is put before the node that it replaces, so going back to the first
 * new node handles expansions of expansions.  Nodes are only ever expanded to
 * smaller ones; a table that loops is a bug and stops at a depth.
 */
#include "ir/pass/pass.h"

enum { MaxExpansions = 2000000 };

/* What a torch line leaves of its operator (cat of tensors that differ) stays. */
static void
kept(Arena *a, Map *stay, const OpDef *op, Node *from, const Node *to)
{
	for (Node *n = from; n != to; n = n->next)
		if (n->op == op)
			map_put(a, stay, n, n);
}

/* Is it to be expanded now?  late: everything that has no code of its own is. */
static bool
due(Node *n, bool late)
{
	enum decompose how = late ? DecomposeUsual : node_decompose(n);

	n->graph->mod->decomp = how == DecomposeAll ? DecompTorch : n->graph->mod->decomp;
	return how != DecomposeNone && node_expands(n);
}

static bool
decompose_here(Graph *g, bool late, bool *held)
{
	enum decomp usual = g->mod->decomp;
	int budget = MaxExpansions;
	Arena *a = arena_new();
	bool ok = true;
	Map stay = {0};

	for (Node *n = g->first, *next; n && ok; n = next) {
		Node *before = n->prev;
		const OpDef *op = n->op;
		bool now = due(n, late);
		next = n->next;
		*held |= !now && node_decompose(n) == DecomposeNone && node_expands(n);
		if (now && !map_get(&stay, n)) {
			if ((ok = node_expand(n)) && g->mod->decomp == DecompTorch && op->torch)
				kept(a, &stay, op, before ? before->next : g->first, next);
			next = before ? before->next : g->first;
			if (--budget == 0)
				bug(g->cx, NOLOC, "the expansion of an operator does not end");
		}
		g->mod->decomp = usual;
	}
	arena_free(a);
	return ok;
}

bool
decompose_between(Node *first, const Node *end)
{
	for (Node *n = first, *next; n != end; n = next) {
		Node *before = n->prev;
		Graph *g = n->graph;
		next = n->next;
		if (op_route(n->op) != RouteExpand)
			continue;
		if (!node_expand(n))
			return false;
		next = before ? before->next : g->first;
	}
	return true;
}

static bool
expand(Graph *g, bool late, bool *held)
{
	bool complex;

	if (!decompose_here(g, late, held))
		return false;
	if (g->mod->decomp == DecompTorch)
		return pass_dce(g);
	return *held || (complex_to_real(g, &complex) && (!complex || decompose_here(g, true, held)));
}

bool
pass_decompose(Graph *g)
{
	bool held = false;

	return expand(g, false, &held);
}

/* What -fdecompose and regions kept whole so far.  Of PyTorch's own granularity only that: what its
 * decompositions leave stays. */
bool
pass_expand(Graph *g)
{
	bool torch = g->mod->decomp == DecompTorch, held = !torch && graph_iscomplex(g);

	FOREACH_NODE(g, n)
		held |= (!torch || node_decompose(n) == DecomposeNone) && node_expands(n);
	return !held || (held = false, expand(g, true, &held));
}
