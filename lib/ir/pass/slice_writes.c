/* slice_writes.c - parts of an input that the program changes are written, not the whole.
 *
 * `cache[:, p:p+1].copy_(k)` is by now a new value of cache: slice_scatter, an element of
 * which is one of k or one of the old cache.  Fused with what reads it that is what one
 * wants, but as the new value of the input itself it would write every element.  So where
 * such values follow each other from the input to its new value, they become scatters of
 * the part alone, region_put: reinplace then has them work in the input's memory.  A part
 * of a part, which is scattered into the part and that back into the whole,
 *
 *     select_scatter(p, select_scatter(select(p, 0, 1), row, 0, 7), 0, 1)
 *
 * is one region of the whole.
 */
#include "ir/pass/pass.h"

/* Element [start + step*j ...] of the whole for element j of the part; step 0: the part has no such dimension. */
typedef struct Region { int n; const Sym *start[MaxRank], *step[MaxRank]; } Region;

static bool
isop(const Node *n, const char *name)
{
	return strcmp(n->op->name, name) == 0;
}

static bool
partial(const Node *n)
{
	return isop(n, "aten.slice_scatter.default") || isop(n, "aten.select_scatter.default");
}

/* An index as slices count: from the end if negative, at most n.  NULL: not known. */
static const Sym *
place(Ctx *cx, const Arg *a, const Sym *n)
{
	int64_t k;

	if (a->kind == ArgNone)
		return sym_const(cx, 0);
	if (a->kind != ArgInt || (!sym_isconst(a->i, &k) && a->i->lo < 0))
		return NULL;
	if (sym_isconst(a->i, &k) && k < 0)
		return sym_max(cx, sym_add(cx, n, a->i), sym_const(cx, 0));
	return sym_min(cx, a->i, n);
}

/* The region that one scatter writes; false: not known. */
static bool
region(const Node *n, Region *r)
{
	Ctx *cx = n->graph->cx;
	const Type *t = n->out[0].type;
	bool slice = isop(n, "aten.slice_scatter.default");
	const Arg *dim = node_arg(n, "dim"), *start = node_arg(n, slice ? "start" : "index");
	int64_t d;

	if (!sym_isconst(dim->i, &d) || t->rank == 0)
		return false;
	d = d < 0 ? d + t->rank : d;
	r->n = t->rank;
	for (int k = 0; k < r->n; k++) {
		r->start[k] = sym_const(cx, 0);
		r->step[k] = sym_const(cx, 1);
	}
	r->start[d] = place(cx, start, t->dim[d]);
	r->step[d] = slice ? node_arg(n, "step")->i : sym_const(cx, 0);
	return r->start[d] != NULL;
}

/* Is v the part of base that scatter n writes back? */
static bool
part_of(const Val *v, const Val *base, const Node *n)
{
	const Node *view = v->def;
	bool slice = isop(n, "aten.slice_scatter.default");

	if (!isop(view, slice ? "aten.slice.Tensor" : "aten.select.int") || arg_tensor(view, 0) != base)
		return false;
	for (int k = 1; k < view->narg; k++)
		if (!arg_same(&view->arg[k], &n->arg[k + 1]))
			return false;
	return true;
}

/* r, then of that part region in. */
static void
compose(Ctx *cx, Region *r, const Region *in)
{
	for (int k = 0, m = 0; k < r->n; k++) {
		int64_t s;
		if (sym_isconst(r->step[k], &s) && s == 0)
			continue;
		r->start[k] = sym_add(cx, r->start[k], sym_mul(cx, r->step[k], in->start[m]));
		r->step[k] = sym_mul(cx, r->step[k], in->step[m++]);
	}
}

/* The region of the whole that n writes in the end, and with what. */
static bool
nested(const Node *n, Region *r, Val **src)
{
	Region in;

	if (!region(n, r))
		return false;
	for (const Node *next; ; n = next) {
		*src = arg_tensor(n, 1);
		next = (*src)->def;
		if (!partial(next) || node_nuse(*src) != 1 || !part_of(arg_tensor(next, 0), arg_tensor(n, 0), n) || !region(next, &in))
			return true;
		compose(next->graph->cx, r, &in);
	}
}

/* Does a node begin with the value of its first argument, and write some of it? */
static bool
scatters(Node *n)
{
	Low low;

	return n->nout == 1 && n->op->lower && n->narg && n->arg[0].kind == ArgVal && node_low(n, 0, &low) && low.kind == LowScatter;
}

/* The input that output i is the new value of; NULL: none. */
static Val *
changed(const Module *m, const Output *o)
{
	for (int k = 0; k < m->in.n; k++) {
		const Input *in = &m->in.v[k];
		if (in->val && ((o->kind == ResUserMut && o->target == in->name) ||
		                ((o->kind == ResBufferMut || o->kind == ResParamMut) && o->target && o->target == in->target)))
			return in->val;
	}
	return NULL;
}

/* From the new value back to the input by values that nothing else reads but what is written next. */
static bool
leads(Val *v, const Val *leaf)
{
	while (v != leaf) {
		Node *n = v->def;
		Region r;
		Val *src;
		if (!v->type || !type_same(v->type, leaf->type) || !(partial(n) ? nested(n, &r, &src) : scatters(n)))
			return false;
		v = n->arg[0].use->val;
		for (const Use *u = v->uses; u && v != leaf; u = u->next)
			if (u->user != n && !(partial(n) && u->user->nout == 1 && part_of(&u->user->out[0], v, n)))
				return false;
	}
	return true;
}

static bool
rewrite(Graph *g, Node *n)
{
	Str name = n->out[0].name;
	Arg arg[4], *list = NEWN(g->arena, Arg, 2*MaxRank);
	Region r;
	Val *src;

	if (!partial(n))
		return true;
	nested(n, &r, &src);
	for (int k = 0; k < r.n; k++) {
		list[k] = arg_sym(r.start[k]);
		list[MaxRank + k] = arg_sym(r.step[k]);
	}
	arg[0] = arg_val(arg_tensor(n, 0));
	arg[1] = arg_val(src);
	arg[2] = arg_list(g->arena, list, r.n);
	arg[3] = arg_list(g->arena, list + MaxRank, r.n);
	Node *put = node_new(g, op_find("fxcc.region_put"), arg, 4, 1, n, n->loc);
	node_inherit(put, n);
	if (!node_infer(put))
		return false;
	val_replace(&n->out[0], &put->out[0]);
	node_delete(n);
	val_rename(g, &put->out[0], name);
	return true;
}

bool
pass_slice_writes(Graph *g)
{
	Module *m = g->mod;
	const Arg *out = g->last ? g->last->arg : NULL;
	bool ok = pass_dce(g);             /* so that uses are uses */

	for (int i = 0; g == m->main && out && out->kind == ArgList && i < out->list.n && i < m->out.n; i++) {
		Val *v = out->list.v[i].kind == ArgVal ? out->list.v[i].use->val : NULL, *leaf = v ? changed(m, &m->out.v[i]) : NULL;
		if (!leaf || !v->type || !leads(v, leaf))
			continue;
		while (ok && v != leaf) {
			Val *before = v->def->arg[0].use->val;
			ok = rewrite(g, v->def);
			v = before;
		}
	}
	return ok;
}
