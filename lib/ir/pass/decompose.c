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

static bool
decompose_here(Graph *g)
{
	int budget = MaxExpansions;
	Arena *a = arena_new();
	bool ok = true;
	Map stay = {0};

	for (Node *n = g->first, *next; n && ok; n = next) {
		Node *before = n->prev;
		const OpDef *op = n->op;
		next = n->next;
		if (!node_expands(n) || map_get(&stay, n))
			continue;
		if (!(ok = node_expand(n)))
			break;
		if (g->mod->decomp == DecompTorch && op->torch)
			kept(a, &stay, op, before ? before->next : g->first, next);
		next = before ? before->next : g->first;
		if (--budget == 0)
			bug(g->cx, NOLOC, "the expansion of an operator does not end");
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

bool
pass_decompose(Graph *g)
{
	bool complex;

	if (!decompose_here(g))
		return false;
	if (g->mod->decomp == DecompTorch)
		return pass_dce(g);
	return complex_to_real(g, &complex) && (!complex || decompose_here(g));
}
