/* reinplace.c - the new value of an input or of a state is computed where it will lie.
 *
 * A program that changes its input (`cache.index_put_((i,), v)`) is functional by now: a
 * new tensor that is copied over the input at the end.  If nobody reads the old value once
 * the new one is being written, and whoever writes it reads only the element that it
 * writes, the new tensor gets the input's buffer: the copy goes, and a scatter that began
 * with the old value writes its elements and nothing else.
 */
#include "lower/lower.h"

/* Loads of one value: any at all, any at another index than at[]. */
typedef struct Reads { const Val *of; const Sym *const *at; int n; bool own, any, elsewhere; } Reads;

static void
load(void *arg, const Ex *e)
{
	Reads *r = arg;
	bool same = r->own;

	if (e->kind != ExLoad || e->val != r->of)
		return;
	r->any = true;
	for (int d = 0; same && d < r->n; d++)
		same = e->idx[d] == r->at[d];
	r->elsewhere |= !same;
}

static void
look(const Ex *e, Reads *r)
{
	if (e)
		ex_loads(e, load, r);
}

static void
operand(void *arg, Use *u)
{
	Reads *r = arg;

	if (u->val == r->of)
		r->any = r->elsewhere = true;
}

/* How root reads the leaf.  own: at the index that it computes is not elsewhere. */
static Reads
reads(const Root *root, const Val *leaf, bool own)
{
	Reads r = {.of = leaf, .at = root->i, .n = root->n, .own = own}, put = {.of = leaf};

	if (root->low.kind == LowExtern)
		node_operands(root->val->def, operand, &r);
	look(root->e, &r);
	look(root->put, &put);
	look(root->putif, &put);
	for (int d = 0; root->at && d < root->low.nidx; d++)
		look(root->at[d], &put);
	for (int k = 0; root->part && k < root->low.npart; k++)
		look(root->part[k], &put);
	r.any |= put.any;
	r.elsewhere |= put.any;
	return r;
}

/* Why v cannot lie where leaf does; NULL: it can. */
static const char *
hindrance(Lower *lo, const Groups *groups, Val *v, Val *leaf)
{
	const Root *root = lo->rootof[v->id];
	bool after = false;

	if (root == NULL || root->low.kind == LowExtern)
		return "an operator of the run-time library computes it";
	if (root->low.kind == LowBlocks)
		return "it is computed in blocks";
	if (!type_same(v->type, leaf->type) || storage_type(lo, leaf)->stride)
		return "the input's layout differs";
	for (int i = 0; i < groups->v.n; i++) {
		const Group *g = groups->v.v[i];
		bool here = false;
		for (int k = 0; k < g->mem.n; k++)
			here |= g->mem.v[k].root == root;
		for (int k = 0; k < g->mem.n; k++) {
			Root *other = g->mem.v[k].root;
			if (other == root) {
				if (reads(root, leaf, true).elsewhere)
					return "other elements of the old value are read for it";
			} else if ((here || after) && reads(other, leaf, false).any) {
				return "the old value is read afterwards";
			}
		}
		after |= here;
	}
	return after ? NULL : "nothing computes it";
}

bool
reinplace(Lower *lo, const Groups *groups, Val *v, Val *leaf)
{
	const char *why = lo->opt.noreinplace ? "switched off" : hindrance(lo, groups, v, leaf);
	Root *root = lo->rootof[v->id];

	if (lo->opt.info && why)
		fprintf(lo->opt.info, "reinplace: missed: %s, %s bytes: %s\n", leaf->name,
		        sym_str(lo->cx, sym_mul(lo->cx, type_numel(lo->cx, leaf->type), sym_const(lo->cx, dtypeinfo[leaf->type->dt].bytes))), why);
	if (why)
		return false;
	/* A scatter that begins with the old value finds it there. */
	root->started = root->low.kind == LowScatter && root->e->kind == ExLoad && root->e->val == leaf;
	return true;
}
