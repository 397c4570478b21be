/* alias.c - which outputs own no memory.
 *
 * What the program returns of an input, a state or another output is a view of it: nobody
 * computes it, the caller is told where it lies.  Such outputs are taken from the results
 * before these are lowered.  Where memory is not laid out as the view takes it to be, the
 * output stays a tensor of its own.
 */
#include "emit/emit.h"
#include "ir/meta.h"

static const Input *
input_of(const Module *m, int base)
{
	for (int i = 0, n = 0; i < m->in.n; i++)
		if (m->in.v[i].val && n++ == base)
			return &m->in.v[i];
	return NULL;
}

/* Position in the results of the user's output k, or of intermediate base k; -1. */
static int
result_of(const Module *m, bool base, int k)
{
	for (int i = 0; i < m->out.n; i++) {
		enum outkind o = m->out.v[i].kind;
		if ((base ? o == ResBase : o == ResUser || o == ResLoss) && k-- == 0)
			return i;
	}
	return -1;
}

/* Sizes of the results that only a step finds are not known when a view is described. */
static bool
plain(const Type *t, const Sym *offset)
{
	return t && t->kind == TyTensor && offset && offset->kind != SymFloatConst;
}

static bool
same_dims(const Type *a, const Type *b)
{
	bool same = a->rank == b->rank && a->dt == b->dt;

	for (int d = 0; same && d < a->rank; d++)
		same = sym_eq(a->dim[d], b->dim[d]);
	return same;
}

/* Does an input of the caller, or a state, lie as the record says? */
static bool
of_input(const Module *m, const OutMeta *o, const Type *t)
{
	const Input *in = input_of(m, o->base);
	bool known = in && in->kind != InUser && in->weight && in->weight->data;

	if (in == NULL || in->val->type->kind != TyTensor || in->val->type->dt != t->dt || in->value.kind != ArgNone)
		return false;
	return in->kind == InUser || in->kind == InParam || in->kind == InBuffer ? !known || (in->updatable && !in->swappable) || input_written(m, in) : false;
}

static bool
of_output(const Module *m, const OutMeta *o, const Type *t)
{
	int i = result_of(m, o->kind != OutAliasOfIntermUser, o->base);
	const Arg *list = &m->main->last->arg[0];
	const Val *v = i >= 0 && i < list->list.n && list->list.v[i].kind == ArgVal ? list->list.v[i].use->val : NULL;

	return v && v->type->kind == TyTensor && v->type->dt == t->dt && !v->type->stride;
}

static bool
isview(const Module *m, const OutMeta *o, const Val *v)
{
	const Type *t = v->type;

	if (!plain(o->type, o->offset) || t->kind != TyTensor || !same_dims(t, o->type) || dtypeinfo[t->dt].bytes != dtypeinfo[o->type->dt].bytes)
		return false;
	switch (o->kind) {
	case OutIsInput: case OutAliasOfInput: return of_input(m, o, t);
	case OutAliasOfInterm: case OutAliasOfIntermSave: case OutAliasOfIntermUser: return of_output(m, o, t);
	default: return false;
	}
}

/* An intermediate that no output is a view of any more is no result. */
static bool
base_used(const Module *m, const Arg *list, int base)
{
	for (int k = 0; k < m->meta->out.n; k++) {
		const OutMeta *o = &m->meta->out.v[k];
		int i = result_of(m, false, k);
		if ((o->kind == OutAliasOfInterm || o->kind == OutAliasOfIntermSave) && o->base == base && i >= 0 && list[i].kind == ArgNone)
			return true;
	}
	return false;
}

void
emit_views(Module *m, bool copies)
{
	Node *end = m->main->last;
	int n = end->arg[0].list.n;
	Arg *list = NEWN(m->main->arena, Arg, n + 1), all;

	if (m->meta == NULL)
		return;
	for (int i = 0, user = 0; i < n && i < m->out.n; i++) {
		const Arg *a = &end->arg[0].list.v[i];
		bool isuser = m->out.v[i].kind == ResUser || m->out.v[i].kind == ResLoss;
		const OutMeta *o = isuser && user < m->meta->out.n ? &m->meta->out.v[user] : NULL;
		user += isuser;
		list[i] = *a;
		if (!copies && o && a->kind == ArgVal && isview(m, o, a->use->val))
			list[i] = arg_none();
		else if (a->kind == ArgVal)
			list[i] = arg_val(a->use->val);
	}
	for (int i = 0, base = 0; i < n && i < m->out.n; i++)
		if (m->out.v[i].kind == ResBase && !base_used(m, list, base++))
			list[i] = arg_none();
	all = arg_list(m->main->arena, list, n);
	node_setargs(end, &all, 1);
}
