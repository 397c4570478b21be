/* replace_random.c - say which random numbers each operator draws.
 *
 * Each operator that draws gets a stream of its own, numbered in the order of the program;
 * copies that are made later (recomputation) keep the number and so draw the same numbers.
 */
#include "ir/pass/pass.h"

bool
pass_replace_random(Graph *g)
{
	uint32_t last = 0;

	FOREACH_NODE(g, n)
		last = n->stream > last ? n->stream : last;
	FOREACH_NODE(g, n)
		if (n->op->flags & OP(Random) && !n->stream)
			n->stream = ++last;
	return true;
}
