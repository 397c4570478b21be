/* dce.c - delete nodes whose results nobody reads.
 *
 * Walks backwards, so a chain of dead nodes goes in one sweep.  Placeholders, the
 * output and nodes with an effect stay.
 */
#include "ir/pass/pass.h"

static bool
dead(const Node *n)
{
	if (n->op->flags & (OP(Leaf) | OP(Effect) | OP(Mutates)))
		return false;
	for (int i = 0; i < n->nout; i++)
		if (n->out[i].uses)
			return false;
	return true;
}

/* A size that the data gives (nonzero's u0) may be read by types alone. */
static bool
defines_size(const Node *n)
{
	return (n->op->flags & OP(Dynamic)) != 0;
}

/* PyTorch's graphs keep a size that another node reads. */
static bool
read_later(const Node *n)
{
	const Type *t = n->nout == 1 ? n->out[0].type : NULL;

	if (!t || t->kind != TySym || t->sym->kind != SymVar || n->graph->mod == NULL || n->graph->mod->decomp != DecompTorch)
		return false;
	for (const Node *m = n->next; m; m = m->next)
		for (int k = 0; k < m->narg; k++)
			if (m->arg[k].kind == ArgInt && sym_uses(m->arg[k].i, t->sym))
				return true;
	return false;
}

bool
pass_dce(Graph *g)
{
	for (Node *n = g->last, *prev; n; n = prev) {
		prev = n->prev;
		if (dead(n) && !defines_size(n) && !read_later(n))
			node_delete(n);
	}
	return true;
}
