/* fuse.c - which values live in memory, and which are computed where they are read.
 *
 * Walks the graph backwards, so that all readers of a value are decided before
 * it: each is a Root, whose expression loads the value at known indices.  The
 * value becomes a root too, or its element takes the place of those loads.
 *
 *   views, constants          always inlined: a load with another index
 *   graph outputs, operands   roots
 *   of externs, scans
 *   folds                     roots; but inlined into a single reader of the
 *                             same size: what follows a matmul is its epilogue
 *   pointwise                 inlined if no element is computed twice, or if it
 *                             is cheap; never into a sum of products, where each
 *                             element is read many times
 */
#include "ir/part.h"
#include "lower/lower.h"

enum { Cheap = 3, CheapTwice = 6, MostCost = 600, MostBuffers = 20 };

typedef struct Fuse {
	Lower *lo;
	Ctx   *cx;
	uint8_t *need;                             /* by val id: must be in memory as it is */
	struct readers { VEC(Root *) r; } *readers;/* by val id; some may have ceased to read it */
} Fuse;

/* ---- loads of a root ------------------------------------------------------------ */

void
root_each(const Root *r, void (*fn)(void *, const Ex *), void *arg)
{
	if (r->e)
		fn(arg, r->e);
	if (r->put)
		fn(arg, r->put);
	if (r->putif)
		fn(arg, r->putif);
	for (int i = 0; r->at && i < r->low.nidx; i++)
		fn(arg, r->at[i]);
	for (int i = 0; r->part && i < r->low.npart; i++)
		fn(arg, r->part[i]);
}

struct note { Fuse *f; Root *root; };

static void
noteload(void *p, const Ex *load)
{
	struct note *n = p;
	struct readers *rs = &n->f->readers[load->val->id];

	if (rs->r.n == 0 || rs->r.v[rs->r.n - 1] != n->root)
		vec_push(n->f->lo->a, &rs->r, n->root);
}

static void
noteloads(void *p, const Ex *e)
{
	ex_loads(e, noteload, p);
}

/* Enter root as a reader of all it loads. */
static void
noteroot(Fuse *f, Root *r)
{
	root_each(r, noteloads, &(struct note){f, r});
}

/* What a root's loads of one value amount to. */
typedef struct Reading {
	Fuse *f;
	Root *root;
	Val  *val;
	Map   extent;                   /* variable -> extent */
	VEC(const Ex *) load;           /* distinct */
	bool  infold, incontraction;
	const Sym *evals;               /* elements computed if inlined */
} Reading;

static bool
has(const Reading *r, const Ex *e)
{
	for (int i = 0; i < r->load.n; i++)
		if (r->load.v[i] == e)
			return true;
	return false;
}

static const Sym *
evalsof(Reading *r, const Ex *load)
{
	const Sym **var = NULL, *n = sym_const(r->f->cx, 1), *e;
	int nvar = 0;

	for (int i = 0; i < load->nidx; i++)
		sym_vars(r->f->lo->a, load->idx[i], &var, &nvar);
	for (int i = 0; i < nvar; i++) {
		bool twice = false;
		for (int k = 0; k < i; k++)
			twice |= var[k] == var[i];
		if (!twice && (e = map_get(&r->extent, var[i])))
			n = sym_mul(r->f->cx, n, e);
		else if (!twice && ex_ofvar(r->f->cx, var[i]))
			n = sym_mul(r->f->cx, n, numel_of(r->f->cx, r->root->ext, r->root->n));
	}
	return n;
}

static void
gather(void *p, const Ex *load)
{
	Reading *r = p;

	if (load->val != r->val || has(r, load))
		return;
	vec_push(r->f->lo->a, &r->load, load);
}

static void
gathers(void *p, const Ex *e)
{
	ex_loads(e, gather, p);
}

struct infold { Reading *r; bool contraction; };

static void
markfold(void *p, const Ex *load)
{
	struct infold *m = p;

	if (load->val != m->r->val)
		return;
	m->r->infold = true;
	m->r->incontraction |= m->contraction;
}

static const Ex *
uncast(const Ex *e)
{
	while (e->kind == ExCast && !dt_int(e->dt) && !dt_int(e->arg[0]->dt))
		e = e->arg[0];
	return e;
}

static bool
isproduct(const Ex *fold)
{
	const Ex *b = uncast(fold->arg[0]);

	return fold->fold == FoldSum && b->kind == ExOp && b->sc == ScMul && ex_hasload(b->arg[0]) &&
	       ex_hasload(b->arg[1]);
}

static void
foldvars(void *p, const Ex *e)
{
	Reading *r = p;
	struct infold m = {r, false};

	if (e->kind != ExFold)
		return;
	for (int i = 0; i < e->nidx; i++)
		map_put(r->f->lo->a, &r->extent, e->var[i], (void *)e->idx[i]);
	m.contraction = isproduct(e);
	ex_loads(e->arg[0], markfold, &m);
}

static void
foldsof(void *p, const Ex *e)
{
	ex_visit(e, foldvars, p);
}

static Reading
reading(Fuse *f, Root *root, Val *v)
{
	Reading r = {.f = f, .root = root, .val = v};

	root_each(root, gathers, &r);
	if (!r.load.n)
		return r;
	for (int i = 0; i < root->n; i++)
		map_put(f->lo->a, &r.extent, root->i[i], (void *)root->ext[i]);
	for (int i = 0; i < root->low.nover; i++)
		map_put(f->lo->a, &r.extent, root->low.j[i], (void *)root->low.over[i]);
	root_each(root, foldsof, &r);
	r.evals = sym_const(f->cx, 0);
	for (int i = 0; i < r.load.n; i++)
		r.evals = sym_add(f->cx, r.evals, evalsof(&r, r.load.v[i]));
	return r;
}

/* ---- inlining ---------------------------------------------------------------------- */

struct subst { Fuse *f; Val *val; };

static const Ex *
substload(void *p, const Ex *load)
{
	struct subst *s = p;
	const Low *l = &s->f->lo->low[s->val->id];

	if (load->val != s->val)
		return NULL;
	return ex_rewrite(s->f->cx, l->element, NULL, NULL, l->i, load->idx, l->nidx);
}

static void
inlineinto(Fuse *f, Root *r, Val *v)
{
	struct subst s = {f, v};

	if (r->e)
		r->e = ex_rewrite(f->cx, r->e, substload, &s, NULL, NULL, 0);
	if (r->put)
		r->put = ex_rewrite(f->cx, r->put, substload, &s, NULL, NULL, 0);
	if (r->putif)
		r->putif = ex_rewrite(f->cx, r->putif, substload, &s, NULL, NULL, 0);
	for (int i = 0; r->at && i < r->low.nidx; i++)
		r->at[i] = ex_rewrite(f->cx, r->at[i], substload, &s, NULL, NULL, 0);
	for (int i = 0; r->part && i < r->low.npart; i++)
		r->part[i] = ex_rewrite(f->cx, r->part[i], substload, &s, NULL, NULL, 0);
	noteroot(f, r);
}

/* ---- decisions ------------------------------------------------------------------------ */

struct bufs { Val *v[64]; int n; };

static void
addbuf(void *p, const Ex *load)
{
	struct bufs *b = p;

	for (int i = 0; i < b->n; i++)
		if (b->v[i] == load->val)
			return;
	if (b->n < COUNT(b->v))
		b->v[b->n++] = load->val;
}

static int
nbufs(const Ex *e)
{
	struct bufs b = {.n = 0};

	ex_loads(e, addbuf, &b);
	return b.n;
}

bool
ex_hasload(const Ex *e)
{
	return nbufs(e) > 0;
}

static bool
isview(const Ex *e)
{
	return e->kind == ExLoad || e->kind == ExConst ||
	       (!ex_hasload(e) && !ex_hasfold(e) && ex_cost(e) <= 12);
}

/* A fold goes into the only place that reads it if that has as many elements. */
static bool
foldfits(Fuse *f, Val *v, const Reading *r, int n)
{
	const Sym *size = type_numel(f->cx, v->type);

	if (n != 1 || r->load.n != 1 || r->infold || r->root->low.kind != LowElement)
		return false;
	if (ex_hasfold(r->root->e) || !sym_eq(numel_of(f->cx, r->root->ext, r->root->n), size))
		return false;
	return sym_eq(r->evals, size);
}

static bool
fits(Fuse *f, Val *v, const Reading *r, int n)
{
	const Ex *e = f->lo->low[v->id].element;
	const Sym *evals = sym_const(f->cx, 0), *size = type_numel(f->cx, v->type);
	int cost = ex_cost(e), loads = 0;
	bool contraction = false, once;

	if (isview(e))
		return true;
	if (ex_hasfold(e))
		return foldfits(f, v, r, n);
	for (int i = 0; i < n; i++) {
		evals = sym_add(f->cx, evals, r[i].evals);
		contraction |= r[i].incontraction;
		loads += r[i].load.n;
		if (r[i].root->low.kind == LowElement &&
		    (ex_cost(r[i].root->e) > MostCost && cost > Cheap))
			return false;
		if (r[i].root->e && nbufs(r[i].root->e) + nbufs(e) > MostBuffers)
			return false;
	}
	if (contraction)
		return false;
	once = sym_le(f->cx, evals, size);
	if (n == 1 && once)
		return true;
	if (cost <= Cheap && !r[0].infold)
		return true;
	if (n == 1 && loads <= 2)
		return cost <= CheapTwice && !r[0].infold;
	return false;
}

static void
newroot(Fuse *f, Val *v)
{
	const Low *low = &f->lo->low[v->id];
	Root *r = NEW(f->lo->a, Root);

	r->val = v;
	r->alone = node_leaves(v->def, PartFuse);
	r->low = *low;
	r->n = v->type->rank;
	r->i = low->i;
	r->ext = v->type->dim;
	r->e = low->element;
	r->put = low->put;
	r->putif = low->putif;
	if (low->kind == LowScatter) {
		r->at = NEWN(f->lo->a, const Ex *, low->nidx + 1);
		for (int i = 0; i < low->nidx; i++)
			r->at[i] = ex_index(f->cx, low->at[i]);
	}
	if (low->npart)
		r->part = arena_dup(f->lo->a, low->part, sizeof *low->part * (size_t)low->npart);
	f->lo->rootof[v->id] = r;
	noteroot(f, r);
}

/* For -fopt-info-fuse: why a value gets memory of its own. */
static void
explain(Fuse *f, Val *v, const Reading *r, int n)
{
	const Low *low = &f->lo->low[v->id];
	Str py = loc_python(f->cx, v->def->loc);
	const char *why = "computing it where it is read would repeat work";
	bool product = false;

	if (!f->lo->opt.info)
		return;
	for (int i = 0; i < n; i++)
		product |= r[i].incontraction;
	if (f->lo->isout[v->id])
		why = "it is a result of the graph";
	else if (f->need[v->id])
		why = "a function of the run time reads it";
	else if (low->kind != LowElement)
		why = "it is no plain element";
	else if (ex_hasfold(low->element))
		why = "it is a fold, and not read by one value of the same size alone";
	else if (product)
		why = "a sum of products reads each element many times";
	fprintf(f->lo->opt.info, "%s: %s stays in memory: %s%s%s\n", loc_str(f->cx, v->def->loc), v->name, why,
	        py ? "  # " : "", py ? py : "");
}

static void
decide(Fuse *f, Val *v)
{
	struct readers *rs = &f->readers[v->id];
	Reading *r = NEWN(f->lo->a, Reading, rs->r.n + 1);
	bool element = f->lo->low[v->id].kind == LowElement;
	int n = 0;

	for (int i = 0; i < rs->r.n; i++) {
		bool twice = false;
		for (int k = 0; k < n; k++)
			twice |= r[k].root == rs->r.v[i];
		if (!twice && (r[n] = reading(f, rs->r.v[i], v)).load.n)
			n++;
	}
	if (n == 0 && !f->need[v->id] && !f->lo->isout[v->id])
		return;
	if (!element || f->need[v->id] || f->lo->isout[v->id] || !fits(f, v, r, n)) {
		/* A view that must be in memory may still be seen through. */
		newroot(f, v);
		explain(f, v, r, n);
		if (!element || !isview(f->lo->low[v->id].element))
			return;
	}
	for (int i = 0; i < n; i++)
		inlineinto(f, r[i].root, v);
}

static void
needs(void *p, Use *u)
{
	Fuse *f = p;

	f->need[u->val->id] = 1;
}

/* The variable that the number of item() gives a value: that of u0, of Eq(u0, 1) for a bool; of a
 * number that a check of the program made a constant a new one, which may only be that. */
static const Sym *
variable(Fuse *f, const Node *n, enum dtype from)
{
	const Sym *s = n->out[0].type->sym;
	int64_t k;

	if (s->kind == SymVar && s->isfloat != dt_int(from))
		return s;
	if (s->kind == SymFn && s->fn == SymFnEq && from == DtB8)
		for (int i = 0; i < 2; i++)
			if (s->arg[i]->kind == SymVar && sym_is(s->arg[!i], 1))
				return s->arg[i];
	return sym_isconst(s, &k) && dt_int(from) ? sym_var(f->cx, intern_printf(f->cx, "u_%s", n->name), k, k) : NULL;
}

static bool
readnumber(Fuse *f, Node *n)
{
	Val *from = n->op->nparam ? arg_tensor(n, 0) : NULL;
	const Sym *var;

	if (!from || !from->type || dtypeinfo[from->type->dt].kind == KindComplex ||
	    (var = variable(f, n, from->type->dt)) == NULL) {
		error(f->cx, n->loc, "%s: a number of %s read from a tensor as %s is not supported", n->op->name,
		      from && from->type ? dtypeinfo[from->type->dt].text : "no tensor", sym_str(f->cx, n->out[0].type->sym));
		return false;
	}
	f->need[from->id] = 1;
	vec_push(f->lo->a, &f->lo->found, (struct Found){var, from, n});
	return true;
}

/* A node that finds a size: item reads it from its operand; an extern counts. */
static bool
findsize(Fuse *f, Node *n)
{
	Lower *lo = f->lo;
	const Type *t = n->nout ? n->out[0].type : NULL;
	const Sym **var = NULL;
	int nvar = 0;

	if (!(n->op->flags & OP(Dynamic)) || !t)
		return true;
	if (t->kind == TySym)
		return readnumber(f, n);
	for (int i = 0; i < n->nout; i++)
		for (int d = 0; n->out[i].type->kind == TyTensor && d < n->out[i].type->rank; d++)
			sym_vars(lo->a, n->out[i].type->dim[d], &var, &nvar);
	for (int i = 0; i < nvar; i++)
		if (var[i]->name && var[i]->name[0] == 'u')
			vec_push(lo->a, &lo->found, (struct Found){var[i], &n->out[0], NULL});
	return true;
}

static bool
lowerall(Fuse *f)
{
	Lower *lo = f->lo;
	bool ok = true;

	FOREACH_NODE(lo->g, n) {
		if (n->op->flags & OP(Leaf))
			continue;
		ok &= findsize(f, n);
		for (int i = 0; i < n->nout; i++) {
			Val *v = &n->out[i];
			if (!v->type || v->type->kind != TyTensor)
				continue;
			ok &= node_low(n, i, &lo->low[v->id]);
			if (node_leaves(n, PartFuse))
				f->need[v->id] = 1;
			check_low(lo, v);
			if (lo->low[v->id].kind == LowExtern)
				node_operands(n, needs, f);
		}
	}
	return ok;
}

/* What is made at one stroke has all its results in memory, read or not. */
static void
visitnode(Fuse *f, Node *n)
{
	for (int i = n->nout; i-- > 0; ) {
		Val *v = &n->out[i];
		enum lowkind k = f->lo->low[v->id].kind;
		if (k == LowExtern || k == LowBlocks)
			f->need[v->id] = 1;
		if (k != LowNone && k != LowLeaf)
			decide(f, v);
	}
}

bool
fuse_roots(Lower *lo)
{
	Fuse f = {.lo = lo, .cx = lo->cx};
	uint32_t nval = lo->g->nval;

	lo->low = NEWN(lo->a, Low, nval + 1);
	lo->rootof = NEWN(lo->a, Root *, nval + 1);
	f.need = NEWN(lo->a, uint8_t, nval + 1);
	f.readers = NEWN(lo->a, struct readers, nval + 1);
	if (!lowerall(&f))
		return false;
	for (Node *n = lo->g->last; n; n = n->prev)
		if (!(n->op->flags & OP(Leaf)))
			visitnode(&f, n);
	for (int i = 0; i < lo->found.n; i++)
		if (lo->found.v[i].item && lo->rootof[lo->found.v[i].from->id])
			lo->rootof[lo->found.v[i].from->id]->alone = true;
	FOREACH_NODE(lo->g, n)
		for (int i = 0; i < n->nout; i++)
			if (lo->rootof[n->out[i].id])
				vec_push(lo->a, &lo->root, lo->rootof[n->out[i].id]);
	return true;
}
