/* specialize.c - give a free size a value, or a narrower range (-fdim).
 *
 * A value is put everywhere: types, annotations, arguments, guards.  Only before
 * types are inferred, so that everything after sees a constant.
 */
#include "ir/lang.h"

static void
specialize_graph(Graph *g, const Renaming *r)
{
	FOREACH_NODE(g, n) {
		renamed_args(g->cx, r, n);
		if (n->annot)
			n->annot = renamed_type(g->cx, r, n->annot);
		for (int k = 0; k < n->nout; k++)
			if (n->out[k].type)
				n->out[k].type = renamed_type(g->cx, r, n->out[k].type);
	}
}

static bool
occurs(const Module *m, const Sym *var)
{
	for (int i = 0; i < m->in.n; i++) {
		const Type *t = m->in.v[i].val ? m->in.v[i].val->type : NULL;
		if (t && t->kind == TySym && sym_uses(t->sym, var))
			return true;
		for (int d = 0; t && t->kind == TyTensor && d < t->rank; d++)
			if (sym_uses(t->dim[d], var))
				return true;
	}
	return false;
}

bool
module_dim(Module *m, const char *name, int64_t lo, int64_t hi)
{
	const Sym *var = sym_var(m->cx, intern_str(m->cx, name), INT64_MIN, INT64_MAX), *with;
	Renaming r = {0};

	if (!occurs(m, var)) {
		error(m->cx, NOLOC, "-fdim=%s: no input has a size of that name", name);
		return false;
	}
	if (lo < var->lo || hi > var->hi || lo > hi) {
		error(m->cx, NOLOC, "-fdim=%s: %lld..%lld is not within the exported range %lld..%lld", name,
		      (long long)lo, (long long)hi, (long long)var->lo, (long long)var->hi);
		return false;
	}
	if (lo < hi) {
		sym_bound(m->cx, var, lo, hi);
		return true;
	}
	with = sym_const(m->cx, lo);
	vec_push(ctx_arena(m->cx), &r.var, var);
	vec_push(ctx_arena(m->cx), &r.with, with);
	specialize_graph(m->main, &r);
	for (int i = 0; i < m->sub.n; i++)
		specialize_graph(m->sub.v[i], &r);
	for (int i = 0; i < m->guard.n; i++)
		m->guard.v[i].cond = sym_subst(m->cx, m->guard.v[i].cond, &var, &with, 1);
	return true;
}
