/* cse.c - merge equal nodes: same operator, same arguments.
 *
 * Random, effectful and leaf nodes are never merged.  A value that is returned
 * stays itself: two results that are equal are still two tensors.
 */
#include "ir/pass/pass.h"

static bool
same(const Node *a, const Node *b)
{
	if (a->op != b->op || a->nout != b->nout || a->narg != b->narg)
		return false;
	for (int i = 0; i < a->nout; i++)
		if (a->out[i].type != b->out[i].type)
			return false;
	for (int i = 0; i < a->narg; i++)
		if (!arg_same(&a->arg[i], &b->arg[i]))
			return false;
	return true;
}

static uint64_t
node_hash(const Node *n)
{
	uint64_t h = (uint64_t)n->op->code;

	for (int i = 0; i < n->narg; i++)
		h = hash_mix(h, arg_hash(&n->arg[i]));
	return h;
}

static bool
mergeable(const Node *n)
{
	return n->nout > 0 && !node_leaves(n, PartCse) && !(n->op->flags & (OP(Leaf) | OP(Effect) | OP(Random) | OP(Dynamic) | OP(Mutates) | OP(Hop)));
}

static bool
returned(const Graph *g, const Node *n)
{
	for (int i = 0; i < n->nout; i++)
		for (const Use *u = n->out[i].uses; u; u = u->next)
			if (u->user == g->last)
				return true;
	return false;
}

bool
pass_cse(Graph *g)
{
	int cap = 64;
	while (cap < 2 * (int)g->nnode + 1)
		cap *= 2;
	Arena *a = arena_new();
	Node **slot = NEWN(a, Node *, cap);

	for (Node *n = g->first, *next; n; n = next) {
		next = n->next;
		if (!mergeable(n))
			continue;
		size_t h = node_hash(n) & (size_t)(cap - 1);
		while (slot[h] && !same(slot[h], n))
			h = (h + 1) & (size_t)(cap - 1);
		if (slot[h] == NULL || returned(g, n)) {
			slot[h] = slot[h] ? slot[h] : n;
			continue;
		}
		for (int i = 0; i < n->nout; i++)
			val_replace(&n->out[i], &slot[h]->out[i]);
		node_delete(n);
	}
	arena_free(a);
	return true;
}
