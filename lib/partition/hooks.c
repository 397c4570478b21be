/* hooks.c - saved tensors are packed for the time between forward and backward.
 *
 * The program may bring two sub-graphs (saved_tensors_hooks): what the first makes of a saved tensor
 * is saved in its place, the second gives it back.  They are copied to the end of forward and to
 * the beginning of backward, once for each tensor, with its types.
 */
#include "partition/part.h"

typedef struct Hook {
	Joint *j;
	Module *f, *b;
	const Type *type;        /* of the tensor */
} Hook;

/* Sizes of the tensor for those that the text was read with. */
static const Sym *
size(const Hook *h, const Sym *s)
{
	Ctx *cx = h->f->cx;
	const Sym *var[] = {sym_var(cx, intern_str(cx, "hook0"), 1, INT64_MAX), sym_var(cx, intern_str(cx, "hook1"), 1, INT64_MAX)};

	if (h->type->rank != 2)
		return sym_uses(s, var[0]) || sym_uses(s, var[1]) ? NULL : s;
	return sym_subst(cx, s, var, h->type->dim, 2);
}

static bool
argument(const Hook *h, const Arg *a, Val *const *val, Arg *out)
{
	*out = *a;
	if (a->kind == ArgVal) {
		*out = arg_val(val[a->use->val->id]);
	} else if (a->kind == ArgInt) {
		out->i = size(h, a->i);
		return out->i != NULL;
	} else if (a->kind == ArgList || a->kind == ArgSlice) {
		out->list.v = NEWN(h->j->a, Arg, a->list.n + 1);
		for (int i = 0; i < a->list.n; i++)
			if (!argument(h, &a->list.v[i], val, &out->list.v[i]))
				return false;
	}
	return true;
}

/* Copy a hook's nodes before a node of g; its results. */
static bool
inline_(const Hook *h, const Graph *from, Graph *g, Node *before, Val *const *in, int nin, Arg *result, int nresult)
{
	Val **val = NEWN(h->j->a, Val *, from->nval + 1);
	int k = 0;

	FOREACH_NODE(from, n) {
		Arg *arg = NEWN(h->j->a, Arg, n->narg + 1);
		Node *c;

		if (n->op == &opplaceholder) {
			val[n->out[0].id] = k < nin ? in[k] : NULL;
			if (k++ >= nin) {
				error(g->cx, n->loc, "%s takes more than the %d values that were packed", from->name, nin);
				return false;
			}
			continue;
		}
		for (int i = 0; i < n->narg; i++)
			if (!argument(h, &n->arg[i], val, &arg[i])) {
				error(g->cx, n->loc, "%s looks at sizes: it packs matrices only, %s is none", from->name,
				      type_str(g->cx, h->type));
				return false;
			}
		if (n->op == &opoutput) {
			for (int i = 0; i < nresult; i++)
				result[i] = arg[0].list.v[i];
			return true;
		}
		c = node_new(g, n->op, arg, n->narg, n->nout, before, n->loc);
		if (!node_infer(c))
			return false;
		for (int i = 0; i < n->nout; i++)
			val[n->out[i].id] = &c->out[i];
	}
	return true;
}

/* What was copied, all nodes from number `from` on, is made of the operators of the rest.  An operator
 * whose torch line leaves it as it is stays. */
static bool
expand(Graph *g, uint32_t from, Arena *a)
{
	Map stay = {0};

	for (Node *n = g->first, *next; n; n = next) {
		Node *before = n->prev, *end = n->next;
		const OpDef *op = n->op;

		next = end;
		if (n->id < from || !node_expands(n) || map_get(&stay, n))
			continue;
		if (!node_expand(n))
			return false;
		next = before ? before->next : g->first;
		for (Node *c = next; c != end; c = c->next)
			if (c->op == op)
				map_put(a, &stay, c, c);
	}
	return true;
}

static Input *
saved(Module *b, Str target)
{
	for (int i = 0; i < b->in.n; i++)
		if (b->in.v[i].kind == InSaved && b->in.v[i].target == target)
			return &b->in.v[i];
	return NULL;
}

static bool
chosen(const Hook *h, const Input *in, const Val *v)
{
	const char *mode = h->j->o->packmode ? h->j->o->packmode : "donated";

	if (strcmp(mode, "donated") == 0)
		return in->donated;
	if (strcmp(mode, "all") == 0)
		return true;
	for (int i = 0; i < h->f->in.n; i++)
		if (h->f->in.v[i].val == v && (h->f->in.v[i].kind == InParam || h->f->in.v[i].kind == InBuffer))
			return false;
	return true;
}

typedef VEC(Arg) Args;
typedef VEC(Output) Outputs;
typedef VEC(Input) Inputs;

/* The tensors that stand for v: results of forward and inputs of backward. */
static bool
pack(Hook *h, Val *v, Input *in, Args *arg, Outputs *out, Inputs *ins)
{
	Arena *a = ctx_arena(h->f->cx);
	Graph *fg = h->f->main, *bg = h->b->main;
	int n = h->f->pack->last->arg[0].list.n, k = 0;
	Arg *packed = NEWN(a, Arg, n + 1), back;
	Val **unpacked = NEWN(a, Val *, n + 1);
	Node *first = bg->first;

	h->type = v->type;
	if (!inline_(h, h->f->pack, fg, fg->last, &v, 1, packed, n))
		return false;
	for (int i = 0; i < n; i++) {
		Val *p = packed[i].kind == ArgVal ? packed[i].use->val : NULL;
		Node *ph;
		Str name;

		if (!p || p->type->kind != TyTensor) {
			error(h->f->cx, h->f->pack->last->loc, "a packed value is not a tensor");
			return false;
		}
		if (p == v)                                     /* the hook gave it back as it was */
			val_rename(bg, in->val, "replaced");
		name = p == v ? in->target : intern_printf(h->f->cx, "%s_hook_%d", in->target, i);
		ph = node_placeholder(bg, name, p->type, p->def->loc);
		ph->annot = p->type;
		unpacked[k++] = &ph->out[0];
		vec_push(a, arg, arg_val(p));
		vec_push(a, out, (Output){.kind = ResSaved, .name = name, .target = name});
		vec_push(a, ins, (Input){.kind = InSaved, .val = &ph->out[0], .name = ph->out[0].name, .argname = ph->out[0].name,
		                         .target = name, .persistent = true, .donated = p != v || in->donated});
	}
	while (first->op == &opplaceholder)
		first = first->next;
	if (!inline_(h, h->f->unpack, bg, first, unpacked, k, &back, 1) || back.kind != ArgVal)
		return false;
	val_replace(in->val, back.use->val);
	node_delete(in->val->def);
	return true;
}

/* After the parts are made and it is known what is donated. */
bool
pack_saved(Joint *j)
{
	Hook h = {.j = j, .f = j->m, .b = j->m->backward};
	Arena *a = ctx_arena(j->cx);
	const Arg *list = &h.f->main->last->arg[0];
	Args arg = {0};
	Outputs out = {0};
	Inputs ins = {0};
	uint32_t ffrom = h.f->main->nnode, bfrom = h.b->main->nnode;

	if (!h.f->pack)
		return true;
	for (int i = 0; i < h.b->in.n && h.b->in.v[i].kind == InSaved && h.b->in.v[i].val->type->kind == TySym; i++)
		vec_push(a, &ins, h.b->in.v[i]);
	for (int i = 0; i < h.f->out.n; i++) {
		const Output *o = &h.f->out.v[i];
		Val *v = list->list.v[i].kind == ArgVal ? list->list.v[i].use->val : NULL;
		Input *in = o->kind == ResSaved ? saved(h.b, o->target) : NULL;

		if (in && v && chosen(&h, in, v)) {
			if (!pack(&h, v, in, &arg, &out, &ins))
				return false;
			continue;
		}
		vec_push(a, &arg, list->list.v[i]);
		vec_push(a, &out, *o);
		if (in && in->val->type->kind != TySym)
			vec_push(a, &ins, *in);
	}
	for (int i = 0; i < h.b->in.n; i++)
		if (h.b->in.v[i].kind != InSaved)
			vec_push(a, &ins, h.b->in.v[i]);
	node_setargs(h.f->main->last, &(Arg){.kind = ArgList, .list = {arg.v, arg.n}}, 1);
	h.f->out.v = out.v;
	h.f->out.n = out.n;
	h.f->out.cap = out.cap;
	h.b->in.v = ins.v;
	h.b->in.n = ins.n;
	h.b->in.cap = ins.cap;
	inputs_sort(h.b);
	h.f->pack = h.f->unpack = NULL;
	if (!expand(h.f->main, ffrom, j->a) || !expand(h.b->main, bfrom, j->a))
		return false;
	list = &h.f->main->last->arg[0];
	for (int i = 0; i < h.f->out.n; i++)                /* expanding gave them other names */
		if (h.f->out.v[i].kind == ResSaved && list->list.v[i].kind == ArgVal && saved(h.b, h.f->out.v[i].target))
			val_rename(h.f->main, list->list.v[i].use->val, h.f->out.v[i].target);
	return true;
}
