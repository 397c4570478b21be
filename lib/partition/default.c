/* default.c - the partitioner that leaves every operator where the program has it.
 *
 * What stands before the first node of the derivative is forward; all of its values that the
 * rest reads are saved, but for regions that are checkpointed.  Of a tensor of which only the
 * size is read, the size is saved.
 */
#include "partition/part.h"

/* The end of the forward part: by the marks of differentiation, else by what the results need. */
static int
boundary(const Joint *j)
{
	int last = 0;
	bool marked = false;

	for (int i = 0; i < j->n; i++)
		marked |= j->v[i].node->backward;
	for (int i = 0; i < j->n; i++) {
		const Fx *x = &j->v[i];

		if (!x->tangent && !op_mutable(x->node->op) && (marked ? !x->node->backward && !x->closure : x->fw))
			last = i;
	}
	/* The other results of the last node, and what was only made to be kept. */
	while (last + 1 < j->n && j->v[last + 1].node == j->v[last].node)
		last++;
	if (!marked && last + 1 < j->n && op_is(j->v[last + 1].node->op, "aten.alias"))
		last++;
	return last;
}

static bool
read_beyond(const Joint *j, const Fx *x, int last)
{
	if (x->output && x->bw)
		return true;
	for (int k = 0; k < x->nuser; k++)
		if (j->user[x->user + k] > last && !j->v[j->user[x->user + k]].sym)
			return true;
	return false;
}

static void
want(void *arg, int i)
{
	((bool *)arg)[i] = true;
}

/* Under recompute_views what a view is of is saved in its place. */
void
choose_default(Joint *j, Cut *c)
{
	int last = boundary(j);
	bool *wanted = NEWN(j->a, bool, j->n + 1);

	cut_empty(j, c);
	for (int i = last; i >= 0; i--) {
		const Fx *x = &j->v[i];

		if (x->tangent || !x->val || !x->live || (x->node->op == &opplaceholder && !x->primal))
			wanted[i] = false;
		else if (x->sym || x->node->recompute == MustSave || (read_beyond(j, x, last) && !fx_mustrecompute(x)))
			wanted[i] = true;
		if (wanted[i] && j->o->recompute_views && x->type & OpViewList && x->tuple < 0) {
			wanted[i] = false;
			node_reads(j, x->node, want, wanted);
		}
	}
	for (int i = 0; i <= last; i++)
		if (wanted[i])
			vec_push(j->a, &c->saved, i);
}
