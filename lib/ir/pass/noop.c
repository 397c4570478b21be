/* noop.c - remove operators whose result is their operand.
 *
 * What an operator does is asked of its table: if its element at i is the element
 * at i of one operand of the same type, uses of the result can read the operand.
 * So casts to the same dtype, views to the same shape, clones, slices of the whole,
 * permutations that permute nothing and additions of literal nothing all go by one
 * rule.  Aliasing is gone before this pass, so sharing the value is safe.
 */
#include "ir/pass/pass.h"

static Val *
same_as(Node *n)
{
	Low low;

	if (n->nout != 1 || n->out[0].type == NULL || n->out[0].type->kind != TyTensor || n->op->flags & (OP(Leaf) | OP(Effect) | OP(Random) | OP(Dynamic)))
		return NULL;
	if (n->op->value == NULL || n->op->lower || !node_low(n, 0, &low) || low.kind != LowElement)
		return NULL;
	const Ex *e = low.element;
	if (e->kind != ExLoad || e->dt != n->out[0].type->dt || e->nidx != low.nidx)
		return NULL;
	const Type *a = e->val->type, *b = n->out[0].type;
	for (int d = 0; d < low.nidx; d++)
		if (e->idx[d] != low.i[d] || !sym_eq(a->dim[d], b->dim[d]))
			return NULL;
	return e->val;
}

bool
pass_noop(Graph *g)
{
	for (Node *n = g->first, *next; n; n = next) {
		next = n->next;
		Val *v = node_leaves(n, PartNoop) ? NULL : same_as(n);
		if (v == NULL)
			continue;
		val_replace(&n->out[0], v);
		node_delete(n);
	}
	return true;
}
