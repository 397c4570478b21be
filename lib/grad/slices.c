/* slices.c - writes to a view of what is differentiated, in PyTorch's granularity (CopySlices).
 *
 * To PyTorch such a write makes a new history of the base, not of the scatter that functionalize
 * writes: its gradient is copied, the gradient of what was written is taken out of the copy, and what
 * the view had before puts its own in there.  Two operators, which are what they are given, stand for that until
 * joint.c comes by:
 *
 *     y = x[1:]; y.mul_(3)     y0 = fxcc.sliced(slice(x), x)
 *                              y1 = mul(y0, 3)
 *                              x1 = fxcc.slices(slice_scatter(x, y1), y1, y0)
 *
 *     gradient of x1: g        copy = copy(new_empty_strided(g), g); s = slice(copy)
 *     of y1, then of y0        clone(s); mul(clone, 3)
 *     of x                     slice_scatter(copy, copy(s, mul))
 */
#include "grad/fun.h"
#include "grad/hop.h"

/* ---- forward ---------------------------------------------------------------------- */

/* How many views lie between a and the memory of `base`; 0: it is none of that, or one cannot be written. */
static int
depth(const Alias *a, const Alias *base)
{
	int n = 0;

	for (; a && a != base; a = a->parent, n++)
		if (a->parent == NULL || !op_isview(a->view->op))
			return 0;
	return a ? n : 0;
}

bool
fun_sliced(Fun *f, Node *n, Tens *t, Slices *s)
{
	int steps = t->base ? depth(t->is, t->base->is) : 0;
	Val *v = arg_tensor(n, 0), *base = v;
	Arg arg[2], *all;
	Node *m;

	*s = (Slices){0};
	if (!f->mod->train || f->mod->decomp != DecompTorch || !fun_gradmode(f, n) || !tens_grad(t) || steps == 0)
		return true;
	for (int k = 0; k < steps; k++) {
		if (!op_isview(base->def->op))
			return true;
		base = arg_tensor(base->def, 0);
	}
	arg[0] = arg_val(v);
	arg[1] = arg_val(base);
	if ((m = fun_node(f, op_find("fxcc.sliced"), arg, 1, n)) == NULL)
		return false;
	all = NEWN(f->a, Arg, n->narg);
	memcpy(all, n->arg, sizeof *all * n->narg);
	all[0] = arg_val(&m->out[0]);
	node_setargs(n, all, n->narg);
	*s = (Slices){.base = t->base->is, .was = &m->out[0]};
	return true;
}

Val *
fun_slices(Fun *f, const Slices *s, Val *base, Val *wrote, Node *before)
{
	Arg arg[3] = {arg_val(base), arg_val(wrote), arg_val(s->was)};
	Node *n = fun_node(f, op_find("fxcc.slices"), arg, 1, before);

	return n ? &n->out[0] : NULL;
}

/* ---- backward ----------------------------------------------------------------------- */

typedef struct Back {
	const HopGrad *h;
	Node *sliced;            /* fxcc.sliced */
	Graph *g;
	Node *before;
} Back;

static Val *
make(Back *b, const OpDef *op, const Arg *arg, int narg)
{
	Node *n = node_new(b->g, op, arg, narg, 1, b->before, b->h->n->loc);

	return node_infer(n) ? &n->out[0] : NULL;
}

static Val *
call(Back *b, const char *name, const Arg *pos, int npos, Str key, Arg kw)
{
	const OpDef *op = op_find(name);
	Arg all[16];

	return op && op->nparam <= COUNT(all) &&
	       op_bind(b->g->cx, b->h->n->loc, op, pos, npos, &key, &kw, key != NULL, all)
	       ? make(b, op, all, op->nparam) : NULL;
}

/* The views between base and `view`, of something else. */
static Val *
derived(Back *b, const Val *view, const Val *base, Val *of)
{
	Arg *arg;

	if (view == base)
		return of;
	if ((of = derived(b, arg_tensor(view->def, 0), base, of)) == NULL)
		return NULL;
	arg = NEWN(b->g->arena, Arg, view->def->narg);
	memcpy(arg, view->def->arg, sizeof *arg * view->def->narg);
	arg[0] = arg_val(of);
	return make(b, view->def->op, arg, view->def->narg);
}

static Val *
full(Back *b, const Type *t)
{
	Arg *size = NEWN(b->g->arena, Arg, t->rank + 1), arg[2];

	for (int d = 0; d < t->rank; d++)
		size[d] = arg_sym(t->dim[d]);
	arg[0] = arg_list(b->g->arena, size, t->rank);
	arg[1] = arg_int(b->g->cx, 0);
	return call(b, "aten.full.default", arg, 2, intern_str(b->g->cx, "dtype"), arg_dtype(t->dt));
}

/* A copy of g that lies as `base` does. */
static Val *
copied(Back *b, Val *g, const Type *base)
{
	Ctx *cx = b->g->cx;
	Arg *size = NEWN(b->g->arena, Arg, base->rank + 1), *stride = NEWN(b->g->arena, Arg, base->rank + 1), arg[3];
	Val *v;

	for (int d = 0; d < base->rank; d++) {
		size[d] = arg_sym(base->dim[d]);
		stride[d] = arg_sym(type_stride(cx, base, d));
	}
	arg[0] = arg_val(g);
	arg[1] = arg_list(b->g->arena, size, base->rank);
	arg[2] = arg_list(b->g->arena, stride, base->rank);
	if ((v = call(b, "aten.new_empty_strided.default", arg, 3, NULL, arg_none())) == NULL)
		return NULL;
	arg[0] = arg_val(v);
	arg[1] = arg_val(g);
	return call(b, "aten.copy.default", arg, 2, NULL, arg_none());
}

/* fxcc.slices: the gradient of what was written; *slot: that of the view, in the copy. */
static bool
wrote(Back *b, Val **slot)
{
	Val *view = arg_tensor(b->sliced, 0), *base = arg_tensor(b->sliced, 1), *copy, *g;
	Arg arg;

	if (b->h->out[0] == NULL)
		return true;
	if ((copy = copied(b, b->h->out[0], base->type)) == NULL || (*slot = derived(b, view, base, copy)) == NULL)
		return false;
	arg = arg_val(*slot);
	g = call(b, "aten.clone.default", &arg, 1, intern_str(b->g->cx, "memory_format"), (Arg){.kind = ArgMemfmt, .mf = MemContiguous});
	if (g == NULL)
		return false;
	b->h->add(b->h->arg, arg_tensor(b->h->n, 1), g);
	return true;
}

/* fxcc.sliced: the gradient of the view before it was written goes where `slot` lies in the copy. */
static bool
before(Back *b, Val *slot)
{
	Val *view = arg_tensor(b->sliced, 0), *base = arg_tensor(b->sliced, 1), *copy = slot, *v = b->h->out[0];
	Arg arg[2];

	if (slot == NULL || !b->h->req[base->id])
		return true;
	for (const Val *x = view; x != base; x = arg_tensor(x->def, 0))
		copy = arg_tensor(copy->def, 0);
	if (v == NULL && (v = full(b, view->type)) == NULL)
		return false;
	arg[0] = arg_val(slot);
	arg[1] = arg_val(v);
	if ((v = call(b, "aten.copy.default", arg, 2, NULL, arg_none())) == NULL)
		return false;
	if (arg_tensor(view->def, 0) != base && (slot = derived(b, view, base, copy)) == NULL)
		return false;
	for (; slot != copy; slot = arg_tensor(slot->def, 0))
		if (!lang_inverse(slot->def, v, b->before, &v))
			return false;
	b->h->add(b->h->arg, base, v);
	return true;
}

bool
slices_node(const Node *n)
{
	return strcmp(n->op->name, "fxcc.slices") == 0 || strcmp(n->op->name, "fxcc.sliced") == 0;
}

bool
slices_grad(const HopGrad *h, Arena *a, Map *slots)
{
	bool first = strcmp(h->n->op->name, "fxcc.slices") == 0;
	Back b = {.h = h, .sliced = first ? arg_tensor(h->n, 2)->def : h->n, .g = h->n->graph, .before = h->before};
	Val *slot = NULL;
	bool ok;

	if (!first)
		return before(&b, map_get(slots, h->n));
	ok = wrote(&b, &slot);
	map_put(a, slots, b.sliced, slot);
	return ok;
}
