/* hooks.c - saved tensors are packed for the time between forward and backward.
 *
 * What packing makes of a saved tensor is saved in its place, unpacking gives it back; how is said
 * by the program (saved_tensors_hooks), by texts of the user's, or by a type to keep tensors in
 * (packing.c).  Packed is what only backward reads, unless the mode says otherwise: what is kept for
 * somebody else anyway would only take more.
 */
#include "partition/part.h"

typedef struct Hook {
	Joint *j;
	Module *f, *b;
	int64_t was, is;         /* bytes of what was packed, before and after */
	int n;
} Hook;

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

	if (v->type->kind != TyTensor || (h->j->o->compress && !packs_smaller(h->j, v->type)))
		return false;
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
	Graph *bg = h->b->main;
	Vals packed = {0}, unpacked = {0};
	Val *back;

	if (!packing_pack(h->j, v, &packed))
		return false;
	for (int i = 0; i < packed.n; i++) {
		Val *p = packed.v[i];
		Node *ph;
		Str name;

		if (p == v)                                     /* the hook gave it back as it was */
			val_rename(bg, in->val, "replaced");
		name = p == v ? in->target : intern_printf(h->f->cx, "%s_hook_%d", in->target, i);
		ph = node_placeholder(bg, name, p->type, p->def->loc);
		ph->annot = p->type;
		vec_push(a, &unpacked, &ph->out[0]);
		vec_push(a, arg, arg_val(p));
		vec_push(a, out, (Output){.kind = ResSaved, .name = name, .target = name});
		vec_push(a, ins, (Input){.kind = InSaved, .val = &ph->out[0], .name = ph->out[0].name, .argname = ph->out[0].name,
		                         .target = name, .persistent = true, .donated = p != v || in->donated});
		h->is += type_bytes(h->f->cx, p->type);
	}
	h->was += type_bytes(h->f->cx, v->type);
	h->n++;
	if (!(back = packing_unpack(h->j, in->val, &unpacked)))
		return false;
	val_replace(in->val, back);
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

	if (!h.f->pack && !j->o->hook && !j->o->compress)
		return true;
	if (h.f->pack && (j->o->hook || j->o->compress)) {
		error(j->cx, NOLOC, "the program brings saved_tensors_hooks of its own: --pack and --compress-activations have no place");
		return false;
	}
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
	if (j->o->info)
		fprintf(j->o->info, "partition: %d values are saved packed, in %lld bytes of %lld\n", h.n, (long long)h.is, (long long)h.was);
	if (!packing_expand(h.f->main, ffrom, j->a) || !packing_expand(h.b->main, bfrom, j->a))
		return false;
	list = &h.f->main->last->arg[0];
	for (int i = 0; i < h.f->out.n; i++)                /* expanding gave them other names */
		if (h.f->out.v[i].kind == ResSaved && list->list.v[i].kind == ArgVal && saved(h.b, h.f->out.v[i].target))
			val_rename(h.f->main, list->list.v[i].use->val, h.f->out.v[i].target);
	return true;
}
