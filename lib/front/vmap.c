/* vmap.c - torch.vmap as Dynamo traces it: a map over rows.
 *
 *     _vmap_increment_nesting(4, 'error')
 *     row = _add_batch_dim(x, 0, 1)             a row of x
 *     y = row.sin()                             what is done with each
 *     ys = _remove_batch_dim(y, 1, 4, 0)        all of them
 *     _vmap_decrement_nesting()
 *
 * What stands between is read into a graph of its own.  Values from outside become its
 * parameters where they are used; what leaves it is the result of a map whose body is that
 * graph as far as it has come.
 */
#include "front/text.h"
#include "ir/hop.h"

typedef VEC(Arg) Args;

/* A parameter of the graph and what it stands for outside. */
typedef struct Bound { Val *outer, *param; } Bound;

struct Vmap {
	Vmap  *up;
	Graph *outer, *g;
	VEC(Bound) row, rest;
};

static Val *
parameter(Fn *f, Graph *g, const char *name, const Type *t)
{
	Node *p = node_placeholder(g, intern_str(f->r->cx, name), t, f->loc);

	p->annot = t;
	return &p->out[0];
}

/* The types of what was read so far, in the graph of v. */
bool
vmap_known(Fn *f, Val *v)
{
	Graph *here = f->g;
	bool ok;

	f->g = v->def->graph;
	ok = fn_known(f, v);
	f->g = here;
	return ok;
}

/* v as a value of the graph of this level. */
static Val *
enter(Fn *f, Vmap *m, Val *v)
{
	if (m == NULL || v->def->graph == m->g)
		return v;
	v = enter(f, m->up, v);
	for (int i = 0; i < m->rest.n; i++)
		if (m->rest.v[i].outer == v)
			return m->rest.v[i].param;
	if (!vmap_known(f, v))
		return v;
	Val *p = parameter(f, m->g, v->name ? v->name : "outer", v->type);
	vec_push(f->r->a, &m->rest, (Bound){v, p});
	return p;
}

Val *
vmap_value(Fn *f, Val *v)
{
	return enter(f, f->r->vmap, v);
}

static bool
increment(Fn *f)
{
	Vmap *m = NEW(f->r->a, Vmap);

	*m = (Vmap){.up = f->r->vmap, .outer = f->g};
	m->g = graph_new(f->r->mod, intern_printf(f->r->cx, "vmap_body_%d", f->r->mod->sub.n), f->g);
	f->r->vmap = m;
	f->g = m->g;
	return true;
}

static bool
decrement(Fn *f)
{
	if (!f->r->vmap || f->r->vmap->g != f->g)
		return tv_fail(f, "the end of a vmap that was not begun here");
	f->g = f->r->vmap->outer;
	f->r->vmap = f->r->vmap->up;
	return true;
}

/* Run in the graph around: x.movedim(from, to). */
static bool
movedim(Fn *f, Val *x, const Tv *from, const Tv *to, Val **out)
{
	Graph *here = f->g;
	Vmap *m = f->r->vmap;
	Tv arg[3] = {tv_val(x), *from, *to}, res;
	const Annot *annot = f->annot;
	bool ok;

	f->g = m->outer;
	f->r->vmap = m->up;
	f->annot = NULL;
	ok = tv_overload(f, "aten.movedim", "vmap", arg, 3, NULL, NULL, 0, &res);
	f->annot = annot;
	f->g = here;
	f->r->vmap = m;
	*out = ok ? tv_tensor(&res) : NULL;
	return ok;
}

static bool
iszero(const Tv *v)
{
	int64_t k;

	return v->kind == TvArg && arg_isconst(&v->arg, &k) && k == 0;
}

/* x, dim, level */
static bool
add(Fn *f, const Tv *pos, int npos, Tv *out)
{
	Vmap *m = f->r->vmap;
	Val *x = npos > 1 ? tv_tensor(&pos[0]) : NULL;
	Tv zero = tv_int(f, 0);

	if (!m || !x)
		return tv_fail(f, "_add_batch_dim outside of a vmap, or of no tensor");
	x = enter(f, m->up, x);
	if (!iszero(&pos[1]) && !movedim(f, x, &pos[1], &zero, &x))
		return false;
	if (!vmap_known(f, x))
		return false;
	if (x->type->rank == 0)
		return tv_fail(f, "vmap over a tensor without dimensions");
	Val *p = parameter(f, m->g, "row", type_tensor(f->r->cx, x->type->dt, x->type->rank - 1, x->type->dim + 1));
	vec_push(f->r->a, &m->row, (Bound){x, p});
	*out = tv_val(p);
	return true;
}

/* The graph so far, its rows first, with result y. */
static Graph *
body(Fn *f, Vmap *m, Val *y)
{
	Graph *c = graph_clone(m->g);
	Val *to = NULL;

	for (Node *n = m->g->first, *d = c->first; n && d; n = n->next, d = d->next)
		if (n == y->def)
			to = &d->out[y->out];
	for (int i = m->row.n - 1; i >= 0; i--) {             /* each to the front */
		Node *d = c->first;
		for (Node *n = m->g->first; n; n = n->next)
			if (n->op == &opplaceholder && n == m->row.v[i].param->def)
				while (d && d->name != n->name)
					d = d->next;
		if (!d || d == c->first)
			continue;
		d->prev->next = d->next;
		*(d->next ? &d->next->prev : &c->last) = d->prev;
		d->prev = NULL;
		d->next = c->first;
		c->first->prev = d;
		c->first = d;
	}
	c->name = intern_printf(f->r->cx, "vmap_body_%d", f->r->mod->sub.n);
	c->parent = m->outer;
	hop_adopt(f->r->mod, c);
	Arg res = arg_val(to);
	node_output(c, &(Arg){.kind = ArgList, .list = {&res, 1}}, f->loc);
	return c;
}

/* y, level, n, dim */
static bool
removed(Fn *f, const Tv *pos, int npos, Tv *out)
{
	Vmap *m = f->r->vmap;
	Val *y = npos > 3 ? tv_tensor(&pos[0]) : NULL;
	const OpDef *op = op_find("higher_order.map_impl");
	Args xs = {0}, rest = {0};
	Tv zero = tv_int(f, 0);
	Val *all;
	Arg arg[4];

	if (!m || !y)
		return tv_fail(f, "_remove_batch_dim outside of a vmap, or of no tensor");
	if (m->row.n == 0)
		return tv_fail(f, "vmap over nothing");
	y = enter(f, m, y);
	arg[0] = (Arg){.kind = ArgGraph, .graph = body(f, m, y)};
	for (int i = 0; i < m->row.n; i++)
		vec_push(f->r->a, &xs, arg_val(m->row.v[i].outer));
	for (int i = 0; i < m->rest.n; i++)
		vec_push(f->r->a, &rest, arg_val(m->rest.v[i].outer));
	arg[1] = arg_list(f->r->a, xs.v, xs.n);
	arg[2] = arg_list(f->r->a, rest.v, rest.n);
	arg[3] = arg_none();
	Node *n = node_new(m->outer, op, arg, op->nparam, 1, NULL, f->loc);
	if (!node_infer(n))
		return false;
	all = &n->out[0];
	if (!iszero(&pos[3]) && !movedim(f, all, &zero, &pos[3], &all))
		return false;
	*out = tv_val(all);
	return true;
}

bool
tv_vmap(Fn *f, const char *name, const Tv *pos, int npos, Tv *out)
{
	*out = tv_ofarg(arg_none());
	if (strcmp(name, "lazy_load_decompositions") == 0)
		return true;
	if (strcmp(name, "_vmap_increment_nesting") == 0)
		return increment(f);
	if (strcmp(name, "_vmap_decrement_nesting") == 0)
		return decrement(f);
	if (strcmp(name, "_add_batch_dim") == 0)
		return add(f, pos, npos, out);
	if (strcmp(name, "_remove_batch_dim") == 0)
		return removed(f, pos, npos, out);
	return tv_unsupported(f, intern_printf(f->r->cx, "torch._functorch.predispatch.%s", name), out);
}
