/* decompose.c - expand composite operators until every node has code of its own.
 *
 * An expansion is put before the node that it replaces, so going back to the first
 * new node handles expansions of expansions.  Nodes are only ever expanded to
 * smaller ones; a table that loops is a bug and stops at a depth.
 */
#include "ir/pass/pass.h"

enum { MaxExpansions = 2000000 };

static bool
decompose_here(Graph *g)
{
	int budget = MaxExpansions;

	for (Node *n = g->first, *next; n; n = next) {
		Node *before = n->prev;
		next = n->next;
		if (!node_expands(n))
			continue;
		if (!node_expand(n))
			return false;
		next = before ? before->next : g->first;
		if (--budget == 0)
			bug(g->cx, NOLOC, "the expansion of an operator does not end");
	}
	return true;
}

/* Each draws from a stream of its own, in the order of the program; copies that are made
 * later (recomputation) keep the number. */
static void
streams(Graph *g)
{
	uint32_t last = 0;

	FOREACH_NODE(g, n)
		last = n->stream > last ? n->stream : last;
	FOREACH_NODE(g, n)
		if (n->op->flags & OP(Random) && !n->stream)
			n->stream = ++last;
}

bool
pass_decompose(Graph *g)
{
	bool complex;

	if (!decompose_here(g))
		return false;
	streams(g);
	if (g->mod->decomp == DecompTorch)
		return pass_dce(g);
	return complex_to_real(g, &complex) && (!complex || decompose_here(g));
}
