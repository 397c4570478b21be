/* reinplace.c - the new value of an input or of a state is computed where it will lie.
 *
 * A program that changes its input (`cache.index_put_((i,), v)`) is functional by now: a
 * new tensor that is copied over the input at the end.  If nobody reads the old value once
 * the new one is being written, and whoever writes it reads only the element that it
 * writes, the new tensor gets the input's buffer: the copy goes, and a scatter that began
 * with the old value writes its elements and nothing else.
 *
 * A scatter into what another kernel made works there, too, if nobody reads that later: so
 * a chain of them is one buffer, be it the caller's or our own.
 */
#include "lower/planning.h"

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
		same = sym_eq(e->idx[d], r->at[d]);
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

/* The index of each element that a scatter puts, if it puts none twice; NULL: it may, or is none. */
static const Sym **
own_places(Lower *lo, const Root *root)
{
	const Sym **at = NEWN(lo->a, const Sym *, root->low.nidx + 1);

	if (root->low.kind != LowScatter || strcmp(root->val->def->op->name, "fxcc.region_put") != 0)
		return NULL;
	for (int d = 0; d < root->low.nidx; d++) {
		const Ex *e = root->at[d];
		if (e->kind != ExIndex && (e->kind != ExConst || !dt_int(e->dt)))
			return NULL;
		at[d] = e->kind == ExIndex ? e->sym : sym_const(lo->cx, e->i);
	}
	return at;
}

/* How root reads the leaf.  own: at the index that it computes is not elsewhere. */
static Reads
reads(Lower *lo, const Root *root, const Val *leaf, bool own)
{
	Reads r = {.of = leaf, .at = root->i, .n = root->n, .own = own}, put = {.of = leaf}, one = {.of = leaf};

	if (root->low.kind == LowExtern)
		node_operands(root->val->def, operand, &r);
	look(root->e, &r);
	one.at = own ? own_places(lo, root) : NULL;
	one.n = root->low.nidx;
	one.own = one.at != NULL;
	look(root->put, &one);
	look(root->putif, &put);
	for (int d = 0; root->at && d < root->low.nidx; d++)
		look(root->at[d], &put);
	for (int k = 0; root->part && k < root->low.npart; k++)
		look(root->part[k], &put);
	r.any |= put.any || one.any;
	r.elsewhere |= put.any || one.elsewhere;
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
				if (reads(lo, root, leaf, true).elsewhere)
					return "other elements of the old value are read for it";
			} else if ((here || after) && reads(lo, other, leaf, false).any) {
				return "the old value is read afterwards";
			}
		}
		after |= here;
	}
	return after ? NULL : "nothing computes it";
}

/* A line of the record. */
static void
record(Lower *lo, const Val *v, const char *why)
{
	const char *bytes = sym_str(lo->cx, sym_mul(lo->cx, type_numel(lo->cx, v->type), sym_const(lo->cx, dtypeinfo[v->type->dt].bytes)));
	Text *t = &lo->plan->inplace;

	t->arena = lo->a;
	if (why)
		text_add(t, "missed: %s bytes, %s: %s\n", bytes, why, v->name);
	else
		text_add(t, "in place: %s bytes: %s\n", bytes, v->name);
	if (why && lo->opt.info)
		fprintf(lo->opt.info, "reinplace: missed: %s bytes, %s: %s\n", bytes, why, v->name);
}

bool
reinplace(Lower *lo, const Groups *groups, Val *v, Val *leaf)
{
	const char *why = lo->opt.noreinplace ? "switched off" : hindrance(lo, groups, v, leaf);
	Root *root = lo->rootof[v->id];

	record(lo, leaf, why);
	if (why)
		return false;
	/* A scatter that begins with the old value finds it there. */
	root->started = root->low.kind == LowScatter && root->e->kind == ExLoad && root->e->val == leaf;
	return true;
}

/* ---- chains ------------------------------------------------------------------------------- */

static int
group_of(const Groups *groups, const Root *root)
{
	for (int i = 0; i < groups->v.n; i++)
		for (int k = 0; k < groups->v.v[i]->mem.n; k++)
			if (groups->v.v[i]->mem.v[k].root == root)
				return i;
	return -1;
}

/* The input in whose buffer v is computed; NULL: none. */
static Val *
leaf_of(const Lower *lo, const Val *v)
{
	Module *m = lo->g->mod;

	for (int i = 0; i < m->in.n && lo->bufof[v->id] >= 0; i++)
		if (m->in.v[i].val && lo->bufof[m->in.v[i].val->id] == lo->bufof[v->id])
			return m->in.v[i].val;
	return NULL;
}

/* Why scatter r, in group at, cannot work where p lies, which it begins with; NULL: it can. */
static const char *
apart(Lower *lo, const Groups *groups, Root *r, int at, Val *p)
{
	Val *leaf = leaf_of(lo, r->val);
	int made = lo->rootof[p->id] ? group_of(groups, lo->rootof[p->id]) : -1;

	if (!lo->rootof[p->id] || lo->isout[p->id])
		return lo->isout[p->id] ? "the old value is an output" : "the old value is an input";
	for (const Use *u = p->uses; u; u = u->next)
		if (u->user->op->flags & OP(Hop))
			return "a sub-graph reads the old value";
	if (made < 0 || made >= at || lo->bufof[p->id] >= 0)
		return "the old value is made by the same kernel";
	if (!type_same(p->type, r->val->type))
		return "the layout differs";
	if (reads(lo, r, p, true).elsewhere)
		return "other elements of the old value are read for it";
	for (int i = at; i < groups->v.n; i++)
		for (int k = 0; k < groups->v.v[i]->mem.n; k++)
			if (groups->v.v[i]->mem.v[k].root != r && reads(lo, groups->v.v[i]->mem.v[k].root, p, false).any)
				return "the old value is read afterwards";
	return leaf ? hindrance(lo, groups, p, leaf) : NULL;
}

void
reinplace_chains(Planning *w, const Groups *groups)
{
	Lower *lo = w->lo;

	for (int i = groups->v.n; i-- > 0; )
		for (int k = groups->v.v[i]->mem.n; k-- > 0; ) {
			Root *r = groups->v.v[i]->mem.v[k].root;
			if (r->low.kind != LowScatter || r->started || r->e->kind != ExLoad)
				continue;
			Val *p = r->e->val;
			const char *why = lo->opt.noreinplace ? "switched off" : apart(lo, groups, r, i, p);
			record(lo, r->val, why);
			if (why)
				continue;
			lo->bufof[p->id] = plan_bufof(w, r->val);
			r->started = true;
			Root *before = lo->rootof[p->id];
			Val *leaf = leaf_of(lo, p);
			if (leaf && before->low.kind == LowScatter && before->e->kind == ExLoad && before->e->val == leaf)
				before->started = true;
		}
}
