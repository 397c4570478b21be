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
#include "front/vmap.h"
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
parameter(VmapAt *at, Graph *g, const char *name, const Type *t)
{
	Node *p = node_placeholder(g, intern_str(at->cx, name), t, at->loc);

	p->annot = t;
	return &p->out[0];
}

/* v as a value of the graph of this level. */
static Val *
enter(VmapAt *at, Vmap *m, Val *v)
{
	if (m == NULL || v->def->graph == m->g)
		return v;
	v = enter(at, m->up, v);
	for (int i = 0; i < m->rest.n; i++)
		if (m->rest.v[i].outer == v)
			return m->rest.v[i].param;
	if (!at->known(at->reader, v))
		return v;
	Val *p = parameter(at, m->g, v->name ? v->name : "outer", v->type);
	vec_push(at->a, &m->rest, (Bound){v, p});
	return p;
}

Val *
vmap_inside(VmapAt *at, Val *v)
{
	return enter(at, at->in, v);
}

bool
vmap_begin(VmapAt *at)
{
	Vmap *m = NEW(at->a, Vmap);

	*m = (Vmap){.up = at->in, .outer = at->g};
	m->g = graph_new(at->mod, intern_printf(at->cx, "vmap_body_%d", at->mod->sub.n), at->g);
	at->in = m;
	at->g = m->g;
	return true;
}

bool
vmap_end(VmapAt *at)
{
	if (!at->in || at->in->g != at->g) {
		error(at->cx, at->loc, "the end of a vmap that was not begun here");
		return false;
	}
	at->g = at->in->outer;
	at->in = at->in->up;
	return true;
}

/* x.movedim(from, to) in the graph around. */
static Val *
movedim(VmapAt *at, Val *x, int64_t from, int64_t to)
{
	const OpDef *op = op_find("aten.movedim.int");
	Arg bound[3];
	Node *n;

	if (from == to)
		return x;
	if (!op_bind(at->cx, at->loc, op, (Arg[]){arg_val(x), arg_int(at->cx, from), arg_int(at->cx, to)}, 3, NULL, NULL, 0, bound))
		return NULL;
	n = node_new(at->in->outer, op, bound, op->nparam, 1, NULL, at->loc);
	return node_infer(n) ? &n->out[0] : NULL;
}

Val *
vmap_row(VmapAt *at, Val *x, int64_t dim)
{
	Vmap *m = at->in;

	if (!m) {
		error(at->cx, at->loc, "_add_batch_dim outside of a vmap");
		return NULL;
	}
	x = enter(at, m->up, x);
	if (!at->known(at->reader, x) || !(x = movedim(at, x, dim, 0)))
		return NULL;
	if (x->type->kind != TyTensor || x->type->rank == 0) {
		error(at->cx, at->loc, "vmap over a tensor without dimensions");
		return NULL;
	}
	Val *p = parameter(at, m->g, "row", type_tensor(at->cx, x->type->dt, x->type->rank - 1, x->type->dim + 1));
	vec_push(at->a, &m->row, (Bound){x, p});
	return p;
}

/* The graph so far, its rows first, with result y. */
static Graph *
body(VmapAt *at, Vmap *m, Val *y)
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
	c->name = intern_printf(at->cx, "vmap_body_%d", at->mod->sub.n);
	c->parent = m->outer;
	hop_adopt(at->mod, c);
	Arg res = arg_val(to);
	node_output(c, &(Arg){.kind = ArgList, .list = {&res, 1}}, at->loc);
	return c;
}

Val *
vmap_rows(VmapAt *at, Val *y, int64_t dim)
{
	Vmap *m = at->in;
	const OpDef *op = op_find("higher_order.map_impl");
	Args xs = {0}, rest = {0};
	Arg arg[4];

	if (!m || m->row.n == 0) {
		error(at->cx, at->loc, m ? "vmap over nothing" : "_remove_batch_dim outside of a vmap");
		return NULL;
	}
	y = enter(at, m, y);
	arg[0] = (Arg){.kind = ArgGraph, .graph = body(at, m, y)};
	for (int i = 0; i < m->row.n; i++)
		vec_push(at->a, &xs, arg_val(m->row.v[i].outer));
	for (int i = 0; i < m->rest.n; i++)
		vec_push(at->a, &rest, arg_val(m->rest.v[i].outer));
	arg[1] = arg_list(at->a, xs.v, xs.n);
	arg[2] = arg_list(at->a, rest.v, rest.n);
	arg[3] = arg_none();
	Node *n = node_new(m->outer, op, arg, op->nparam, 1, NULL, at->loc);
	n->tag = intern_str(at->cx, "vmap");
	return node_infer(n) ? movedim(at, &n->out[0], 0, dim) : NULL;
}
