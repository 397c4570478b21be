/* autocast.c - torch.autocast as text shows it: calls enter and leave the mode, or a
 * sub-graph is wrapped in it.  What the mode does to an operator: ir/pass/autocast.c.
 */
#include "ir/autocast.h"
#include "front/text.h"

void
autocast_enter(Reader *r, enum dtype dt)
{
	vec_push(r->a, &r->autocast, dt);
}

void
autocast_exit(Reader *r)
{
	if (r->autocast.n)
		r->autocast.n--;
}

/* The widest dtype among the tensors of an argument. */
static bool
widen(Fn *f, const Arg *a, enum dtype *dt)
{
	if (a->kind == ArgList)
		for (int i = 0; i < a->list.n; i++)
			if (!widen(f, &a->list.v[i], dt))
				return false;
	if (a->kind != ArgVal)
		return true;
	if (!fn_known(f, a->use->val))
		return false;
	if (autocast_eligible(a->use->val))
		*dt = *dt == DtNone ? a->use->val->type->dt : dt_promote(*dt, a->use->val->type->dt);
	return true;
}

static bool
cast(Fn *f, Arg *a, enum dtype dt)
{
	Arg *l;
	Tv v[2], out;

	if (a->kind == ArgList) {
		l = arena_dup(f->r->a, a->list.v, sizeof *l * (size_t)a->list.n);
		for (int i = 0; i < a->list.n; i++)
			if (!cast(f, &l[i], dt))
				return false;
		a->list.v = l;
		return true;
	}
	if (a->kind != ArgVal)
		return true;
	if (!fn_known(f, a->use->val))
		return false;
	if (!autocast_eligible(a->use->val) || a->use->val->type->dt == dt)
		return true;
	v[0] = tv_val(a->use->val);
	v[1] = tv_ofarg(arg_dtype(dt));
	autocast_enter(f->r, DtNone);
	bool ok = tv_aten(f, &out, "to", 2, v);
	autocast_exit(f->r);
	if (ok && tv_tensor(&out))
		*a = arg_val(tv_tensor(&out));
	return ok;
}

bool
autocast_args(Fn *f, const OpDef *op, Arg *arg)
{
	enum dtype mode = f->r->autocast.v[f->r->autocast.n - 1], dt;
	bool wide;

	dt = autocast_dtype(op, mode, &wide);
	for (int i = 0; wide && i < op->nparam; i++)
		if (!widen(f, &arg[i], &dt))
			return false;
	for (int i = 0; dt != DtNone && i < op->nparam; i++)
		if (!cast(f, &arg[i], dt))
			return false;
	return true;
}
