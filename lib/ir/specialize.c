/* specialize.c - give a free size a value, or a narrower range (-fdim).
 *
 * A value is put everywhere: types, annotations, arguments, guards.  Only before
 * types are inferred, so that everything after sees a constant.
 *
 * A size that is a number of the data (the greatest number that bincount counts, the sum of the
 * repeats) has no bound that the shapes give, but memory for it must be planned: it is at most
 * what -fdim says, or what 64 MiB hold of the largest tensor that has it (module_found).
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

/* The free size of that name that an input has; a name that is none is not made one. */
static const Sym *
inputsize(const Module *m, Arena *a, const char *name)
{
	const Sym **var = NULL;
	int n = 0;

	for (int i = 0; i < m->in.n; i++) {
		const Type *t = m->in.v[i].val ? m->in.v[i].val->type : NULL;
		if (t && t->kind == TySym)
			sym_vars(a, t->sym, &var, &n);
		for (int d = 0; t && t->kind == TyTensor && d < t->rank; d++)
			sym_vars(a, t->dim[d], &var, &n);
	}
	for (int i = 0; i < n; i++)
		if (strcmp(var[i]->name, name) == 0)
			return var[i];
	return NULL;
}

bool
module_dim(Module *m, const char *name, int64_t lo, int64_t hi)
{
	const Sym *var = inputsize(m, ctx_arena(m->cx), name), *with;
	Renaming r = {0};

	if (!var && name[0] == 'u') {
		vec_push(ctx_arena(m->cx), &m->bound, ((SizeBound){intern_str(m->cx, name), lo, hi}));
		return true;
	}
	if (!var) {
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

/* ---- sizes that are found ---------------------------------------------------------------- */

typedef struct Finding { Module *m; bool ok; bool *used; } Finding;

/* Bytes of the largest tensor for each one of var. */
static int64_t
bytesfor(const Graph *g, const Sym *var)
{
	const Sym *one = sym_const(g->cx, 1);
	int64_t most = 1, n;

	FOREACH_NODE(g, d)
		for (int k = 0; k < d->nout; k++) {
			const Type *t = d->out[k].type;
			const Sym *numel = t && t->kind == TyTensor ? type_numel(g->cx, t) : NULL;
			if (!numel || !sym_uses(numel, var))
				continue;
			n = sym_isconst(sym_subst(g->cx, numel, &var, &one, 1), &n) ? n * dtypeinfo[t->dt].bytes : 1 << 20;
			most = n > most ? n : most;
		}
	return most;
}

static void
bound(Finding *f, const Graph *g, const Node *n, const Sym *var)
{
	Ctx *cx = g->cx;
	int64_t hi = var->hi, most;

	for (int i = 0; i < f->m->bound.n; i++) {
		const SizeBound *b = &f->m->bound.v[i];
		if (strcmp(b->name, var->name) != 0)
			continue;
		f->used[i] = true;
		if (b->lo < 0 || b->lo > b->hi) {
			error(cx, n->loc, "-fdim=%s: %lld..%lld is no range of a size", b->name, (long long)b->lo, (long long)b->hi);
			f->ok = false;
			return;
		}
		hi = b->hi < hi ? b->hi : hi;
	}
	if (hi == INT64_MAX && (most = bytesfor(g, var)) > 1)
		hi = (64 << 20) / most + 16;
	if (hi < var->hi)
		sym_bound(cx, var, var->lo, hi);
}

static void
bounds(Finding *f, const Graph *g)
{
	FOREACH_NODE(g, n)
		if (n->op->flags & OP(Dynamic) && n->nout == 1 && n->out[0].type && n->out[0].type->kind == TySym &&
		    n->out[0].type->sym->kind == SymVar && !n->out[0].type->sym->isfloat)
			bound(f, g, n, n->out[0].type->sym);
}

bool
module_found(Module *m)
{
	Finding f = {m, true, NEWN(ctx_arena(m->cx), bool, m->bound.n + 1)};

	bounds(&f, m->main);
	for (int i = 0; i < m->sub.n; i++)
		bounds(&f, m->sub.v[i]);
	if (m->backward)
		bounds(&f, m->backward->main);
	for (int i = 0; i < m->bound.n; i++)
		if (!f.used[i]) {
			error(m->cx, NOLOC, "-fdim=%s: no input has a size of that name, and none is found as the model runs", m->bound.v[i].name);
			f.ok = false;
		}
	return f.ok;
}
