/* decompose.c - expand composite operators until every node has code of its own.
 *
 * An expansion is put before the node that it replaces, so going back to the first
 * new node handles expansions of expansions.  Nodes are only ever expanded to
 * smaller ones; a table that loops is a bug and stops at a depth.
 */
#include "ir/pass/pass.h"

enum { MaxExpansions = 2000000 };

static bool
composite(const Node *n)
{
	return n->op->expand && !(n->op->flags & OP(Opaque));
}

static bool
decompose_here(Graph *g)
{
	int budget = MaxExpansions;

	for (Node *n = g->first, *next; n; n = next) {
		Node *before = n->prev;
		next = n->next;
		if (!composite(n))
			continue;
		if (!node_expand(n))
			return false;
		next = before ? before->next : g->first;
		if (--budget == 0)
			bug(g->cx, NOLOC, "the expansion of an operator does not end");
	}
	return true;
}

bool
pass_decompose(Graph *g)
{
	bool complex;

	return decompose_here(g) && complex_to_real(g, &complex) && (!complex || decompose_here(g));
}
