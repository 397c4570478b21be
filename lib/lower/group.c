/* group.c - roots that share their outer loops go into one kernel.
 *
 * A group keeps a list of outer loops; each member says which of its own index
 * variables each of them is.  A root joins the group of a value that it reads
 * if it reads at the same outer iteration: the index of each outer dimension is
 * one of its own variables.  Outer loops for which that does not hold become
 * inner ones (softmax: exp over rows and columns, its sum over rows alone, so
 * that rows remain).  All members must walk memory alike: either the elements of
 * rows lie inside the outer loops, or the last outer loop runs along them.
 *
 * Groups run in an order in which each comes after what it reads; joining must
 * not close a circle, hence the sets of what a group needs.
 */
#include "lower/lower.h"

enum { MostMembers = 16, LeastOuter = 16 };

typedef struct Grouping {
	Lower *lo;
	Groups *gs;
	int words;                       /* of a set of groups */
} Grouping;

static bool
inset(const uint64_t *s, int i)
{
	return s[i / 64] >> (i % 64) & 1;
}

static void
addset(uint64_t *s, int i)
{
	s[i / 64] |= (uint64_t)1 << (i % 64);
}

/* ---- what a root reads -------------------------------------------------------------- */

typedef struct Reads { Lower *lo; VEC(const Ex *) load; } Reads;

static void
addload(void *p, const Ex *load)
{
	Reads *r = p;

	vec_push(r->lo->a, &r->load, load);
}

static void
addloads(void *p, const Ex *e)
{
	ex_loads(e, addload, p);
}

static void
loadsof(Reads *r, const Root *root)
{
	root_each(root, addloads, r);
}

struct operands { Grouping *w; uint64_t *set; };

static void
operandgroup(void *p, Use *u)
{
	struct operands *o = p;
	Root *r = o->w->lo->rootof[u->val->id];

	if (r)
		addset(o->set, r->group);
}

/* Sizes found by another root: what a root uses of them orders the two. */
struct sizes { Grouping *w; uint64_t *set; const Root *self; };

static void
sizegroup(void *p, const Sym *s)
{
	struct sizes *z = p;
	Lower *lo = z->w->lo;

	for (int i = 0; s && i < lo->found.n; i++) {
		Root *r = lo->rootof[lo->found.v[i].from->id];
		if (r && r != z->self && r->val->def != z->self->val->def && sym_uses(s, lo->found.v[i].sym))
			addset(z->set, r->group);
	}
}

static void
sizesof(void *p, const Ex *e)
{
	struct sizes *z = p;

	ex_syms(z->w->lo->cx, e, sizegroup, p);
}

static void
sizegroups(Grouping *w, Root *root, uint64_t *set)
{
	struct sizes z = {w, set, root};

	if (!w->lo->found.n)
		return;
	for (int d = 0; d < root->n; d++)
		sizegroup(&z, root->ext[d]);
	for (int i = 0; i < root->low.nover; i++)
		sizegroup(&z, root->low.over[i]);
	for (int i = 0; i < root->low.nnum; i++)
		sizegroup(&z, root->low.num[i]);
	root_each(root, sizesof, &z);
}

/* Groups that root must come after, those that these need included. */
static uint64_t *
needsof(Grouping *w, Root *root, const Reads *reads)
{
	uint64_t *s = NEWN(w->lo->a, uint64_t, w->words), *direct = NEWN(w->lo->a, uint64_t, w->words);
	struct operands o = {w, direct};

	for (int i = 0; i < reads->load.n; i++) {
		Root *r = w->lo->rootof[reads->load.v[i]->val->id];
		if (r)
			addset(direct, r->group);
	}
	if (root->low.kind == LowExtern)
		node_operands(root->val->def, operandgroup, &o);
	if (root->low.kind == LowBlocks && root->val->out > 0)       /* result 0 stands for all */
		addset(direct, w->lo->rootof[root->val->def->out[0].id]->group);
	sizegroups(w, root, direct);
	for (int g = 0; g < w->gs->v.n; g++)
		if (inset(direct, g)) {
			addset(s, g);
			for (int k = 0; k < w->words; k++)
				s[k] |= w->gs->v.v[g]->needs[k];
		}
	return s;
}

/* ---- joining --------------------------------------------------------------------------- */

static int
dimof(const Root *r, const Sym *var)
{
	for (int d = 0; d < r->n; d++)
		if (r->i[d] == var)
			return d;
	return -1;
}

static Member *
memberof(Group *g, const Val *v)
{
	for (int i = 0; i < g->mem.n; i++)
		if (g->mem.v[i].root->val == v)
			return &g->mem.v[i];
	return NULL;
}

/* Variables of root for the outer loops of g: map[t], NULL where they do not fit. */
static bool
align(Group *g, const Root *root, const Reads *reads, const Sym **map)
{
	bool any = false;
	int last = -1;

	for (int i = 0; i < reads->load.n; i++) {
		const Ex *load = reads->load.v[i];
		Member *m = memberof(g, load->val);
		if (!m)
			continue;
		for (int t = 0; t < g->nouter; t++) {
			const Sym *at = load->idx[dimof(m->root, m->outer[t])];
			if (dimof(root, at) < 0 || (any && map[t] != at))
				at = NULL;
			map[t] = any && !map[t] ? NULL : at;
		}
		any = true;
	}
	for (int t = 0; t < g->nouter; t++) {
		if (map[t] && (dimof(root, map[t]) <= last || root->ext[dimof(root, map[t])] != g->ext[t]))
			map[t] = NULL;
		if (map[t])
			last = dimof(root, map[t]);
	}
	return any;
}

/* Is the last dimension of the root, of extent not 1, an outer loop (1), inner (-1), or is
 * there nothing inside (0)? */
static int
style(const Root *r, const Sym *const *outer, int n)
{
	int inner = 0, last = 0;

	for (int d = 0; d < r->n; d++) {
		bool out = sym_is(r->ext[d], 1);
		for (int t = 0; t < n; t++)
			out |= outer[t] == r->i[d];
		inner += !out;
		if (!sym_is(r->ext[d], 1))
			last = out ? 1 : -1;
	}
	return inner ? last : 0;
}

static bool
walkalike(Group *g, const Root *root, const Sym *const *map)
{
	const Sym *mine[MaxRank * 2];
	int all = 0, s;

	for (int i = -1; i < g->mem.n; i++) {
		const Sym *const *var = i < 0 ? map : g->mem.v[i].outer;
		int n = 0;
		for (int t = 0; t < g->nouter; t++)
			if (map[t])
				mine[n++] = var[t];
		s = style(i < 0 ? root : g->mem.v[i].root, mine, n);
		if (s && all && s != all)
			return false;
		all = s ? s : all;
	}
	return true;
}

/* Are the loops that remain worth sharing? */
static bool
enough(Grouping *w, Group *g, const Sym *const *map)
{
	const Sym *left = sym_const(w->lo->cx, 1);
	int n = 0;
	int64_t k;

	for (int t = 0; t < g->nouter; t++)
		if (map[t]) {
			left = sym_mul(w->lo->cx, left, g->ext[t]);
			n++;
		}
	if (n == g->nouter)
		return n > 0;
	return n > 0 && (!sym_isconst(left, &k) || k >= LeastOuter);
}

static void
keep(Grouping *w, Group *g, const Sym *const *map)
{
	int n = 0;

	for (int t = 0; t < g->nouter; t++) {
		if (!map[t])
			continue;
		g->ext[n] = g->ext[t];
		for (int i = 0; i < g->mem.n; i++)
			((const Sym **)g->mem.v[i].outer)[n] = g->mem.v[i].outer[t];
		n++;
	}
	g->nouter = n;
	(void)w;
}

static void
join(Grouping *w, Group *g, Root *root, const Sym *const *map, const uint64_t *needs)
{
	const Sym **mine = NEWN(w->lo->a, const Sym *, g->nouter + 1);
	int n = 0;

	for (int t = 0; t < g->nouter; t++)
		if (map[t])
			mine[n++] = map[t];
	keep(w, g, map);
	vec_push(w->lo->a, &g->mem, (Member){root, mine});
	root->group = g->id;
	for (int k = 0; k < w->words; k++)
		g->needs[k] |= needs[k];
	g->needs[g->id / 64] &= ~((uint64_t)1 << (g->id % 64));
	for (int h = 0; h < w->gs->v.n; h++)
		if (inset(w->gs->v.v[h]->needs, g->id))
			for (int k = 0; k < w->words; k++)
				w->gs->v.v[h]->needs[k] |= g->needs[k];
}

/* Would root in g wait for something that waits for g? */
static bool
circle(Grouping *w, Group *g, const uint64_t *needs)
{
	for (int h = 0; h < w->gs->v.n; h++)
		if (h != g->id && inset(needs, h) && inset(w->gs->v.v[h]->needs, g->id))
			return true;
	return false;
}

/* Are all dimensions of the group's members outer loops, and none of them folds? */
static bool
flat(const Group *g)
{
	for (int i = 0; i < g->mem.n; i++) {
		const Root *r = g->mem.v[i].root;
		int n = 0;
		for (int d = 0; d < r->n; d++)
			n += !sym_is(r->ext[d], 1);
		if (n != g->nouter || ex_hasfold(r->e))
			return false;
	}
	return true;
}

/* Does it read more than one number? */
static bool
varies(const Ex *load)
{
	for (int k = 0; k < load->nidx; k++)
		if (load->idx[k]->kind != SymConst)
			return true;
	return false;
}

/* What reads the same input over the same dimensions, folds or elements: one pass over it. */
static bool
siblings(Grouping *w, Group *g, const Root *root, const Reads *reads, const Sym **map)
{
	Root *first = g->mem.v[0].root;
	Reads theirs = {.lo = w->lo};
	bool share = first->val->def == root->val->def;
	int n = 0;

	if (first->n != root->n || (ex_hasfold(root->e) ? !ex_hasfold(first->e) : !flat(g)))
		return false;
	loadsof(&theirs, first);
	for (int i = 0; i < reads->load.n; i++)
		for (int k = 0; k < theirs.load.n; k++)
			share |= reads->load.v[i]->val == theirs.load.v[k]->val && varies(reads->load.v[i]);
	for (int d = 0; d < root->n; d++) {
		if (root->ext[d] != first->ext[d])
			return false;
		if (!sym_is(root->ext[d], 1) && n < g->nouter && g->mem.v[0].outer[n] == first->i[d])
			map[n++] = root->i[d];
	}
	return share && n == g->nouter && n > 0;
}

static bool
tryjoin(Grouping *w, Group *g, Root *root, const Reads *reads, const uint64_t *needs)
{
	const Sym *map[MaxRank * 2] = {0};

	if (g->alone || g->mem.n >= MostMembers || circle(w, g, needs))
		return false;
	if (!align(g, root, reads, map) && !siblings(w, g, root, reads, map))
		return false;
	if (!enough(w, g, map) || !walkalike(g, root, map))
		return false;
	join(w, g, root, map, needs);
	return true;
}

static void
newgroup(Grouping *w, Root *root, uint64_t *needs, bool alone)
{
	Group *g = NEW(w->lo->a, Group);
	const Sym **mine = NEWN(w->lo->a, const Sym *, root->n + 1);

	g->id = w->gs->v.n;
	g->alone = alone;
	g->needs = needs;
	g->ext = NEWN(w->lo->a, const Sym *, root->n + 1);
	for (int d = 0; d < root->n; d++)
		if (!sym_is(root->ext[d], 1)) {
			g->ext[g->nouter] = root->ext[d];
			mine[g->nouter++] = root->i[d];
		}
	vec_push(w->lo->a, &g->mem, (Member){root, mine});
	root->group = g->id;
	vec_push(w->lo->a, &w->gs->v, g);
}

static void
place(Grouping *w, Root *root)
{
	Reads reads = {.lo = w->lo};
	bool alone = root->low.kind != LowElement || root->contraction || root->alone || w->lo->opt.nofuse;
	uint64_t *needs;

	loadsof(&reads, root);
	needs = needsof(w, root, &reads);
	for (int g = w->gs->v.n; !alone && g-- > 0; )
		if (tryjoin(w, w->gs->v.v[g], root, &reads, needs))
			return;
	newgroup(w, root, needs, alone);
}

/* ---- what must be stored, and the order ------------------------------------------------- */

static void
markuse(void *p, Use *u)
{
	Lower *lo = p;

	if (lo->rootof[u->val->id])
		lo->rootof[u->val->id]->escapes = true;
}

static void
escapes(Lower *lo)
{
	for (int i = 0; i < lo->root.n; i++) {
		Root *r = lo->root.v[i];
		Reads reads = {.lo = lo};
		loadsof(&reads, r);
		r->escapes |= lo->isout[r->val->id] || r->low.kind != LowElement || r->alone;
		if (r->low.kind == LowExtern)
			node_operands(r->val->def, markuse, lo);
		for (int k = 0; k < reads.load.n; k++) {
			Root *from = lo->rootof[reads.load.v[k]->val->id];
			if (from && from->group != r->group)
				from->escapes = true;
		}
	}
}

static void
emit(Grouping *w, Groups *out, Group *g, uint8_t *done)
{
	if (done[g->id])
		return;
	done[g->id] = 1;
	for (int h = 0; h < w->gs->v.n; h++)
		if (inset(g->needs, h))
			emit(w, out, w->gs->v.v[h], done);
	vec_push(w->lo->a, &out->v, g);
}

bool
group_roots(Lower *lo, Groups *out)
{
	Groups made = {{0}};
	Grouping w = {lo, &made, (lo->root.n + 64) / 64};
	uint8_t *done;

	for (int i = 0; i < lo->root.n; i++)
		place(&w, lo->root.v[i]);
	escapes(lo);
	done = NEWN(lo->a, uint8_t, made.v.n + 1);
	for (int g = 0; g < made.v.n; g++)
		emit(&w, out, made.v.v[g], done);
	return true;
}
