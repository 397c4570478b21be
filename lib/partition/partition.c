/* partition.c - cut a joint graph in two.
 *
 * The order of things: the graph is tidied, seen as FX sees it (fx.c), what is saved is chosen
 * (budget.c, mincut.c, default.c), the two modules are made (extract.c), the backward part is
 * put in the order of autograd, and it is found out which saved values only backward reads, so
 * that it may write over them.
 */
#include "partition/part.h"

static bool
checkpointed(const Graph *g)
{
	FOREACH_NODE(g, n)
		if (n->recompute == PreferRecompute || n->recompute == MustRecompute)
			return true;
	return false;
}

static bool
isjoint(const Module *m)
{
	const Arg *list = m->main->last ? &m->main->last->arg[0] : NULL;

	for (int i = 0; i < m->out.n; i++)
		if (res_isgrad(&m->out.v[i]))
			return list && list->list.n == m->out.n;
	return false;
}

/* ---- donated buffers -------------------------------------------------------------- */

typedef struct Roots { const Joint *j; bool *taken; } Roots;

static void
take(const Roots *r, const Val *v)
{
	int i = r->j->of[v->id];

	if (i >= 0 && r->j->v[i].root >= 0)
		r->taken[r->j->v[i].root] = true;
}

/* Saved tensors in whose memory lies no input, no result of the program, no gradient. */
static bool *
owned(const Joint *j)
{
	Roots r = {j, NEWN(j->a, bool, j->n + 1)};
	const Arg *list = &j->g->last->arg[0];

	for (int i = 0; i < j->m->in.n; i++)
		if (j->m->in.v[i].val && j->m->in.v[i].kind != InTangent)
			take(&r, j->m->in.v[i].val);
	for (int i = 0; i < list->list.n; i++)
		if (list->list.v[i].kind == ArgVal)
			take(&r, list->list.v[i].use->val);
	return r.taken;
}

/* An operator that changes what memory a tensor has: nothing is known then. */
static bool
resets(const Graph *g)
{
	FOREACH_NODE(g, n)
		if (op_is(n->op, "aten.set_") || op_is(n->op, "aten.resize_"))
			return true;
	return false;
}

static void
donate(const Joint *j, const bool *taken, const int *root)
{
	Module *b = j->m->backward;
	bool unknown = resets(j->g);

	for (int i = 0; i < b->in.n; i++) {
		Input *in = &b->in.v[i];

		if (in->kind == InSaved && in->val->type->kind == TyTensor)
			in->donated = !unknown && (root[i] < 0 || !taken[root[i]]);
	}
}

/* What was found out, for those who read the record. */
static void
record(const Module *m)
{
	Meta *meta = m->meta;

	if (meta == NULL)
		return;
	meta->partitioned = true;
	for (int i = 0; i < m->backward->in.n; i++) {
		const Input *in = &m->backward->in.v[i];

		meta->nsymsaved += in->kind == InSaved && in->val->type->kind == TySym;
		if (in->donated)
			vec_push(ctx_arena(m->cx), &meta->donated, i);
	}
}

/* ---- random numbers --------------------------------------------------------------------- */

/* A recomputed operator draws the same numbers because it draws from the same stream.  PyTorch's own
 * graphs hand over the state of the generator, one for each such operator, before the tangents:
 * so that these count the same values, what is handed over is the stream. */
static bool
state(Module *m, Node *n, const Output *o, Arg *out)
{
	Module *b = m->backward;
	Arena *a = ctx_arena(m->cx);
	Arg arg = arg_int(m->cx, n->stream);
	Node *s = node_new(m->main, op_find("fxcc.rng_state"), &arg, 1, 1, m->main->last, n->loc), *p;
	int at = 0;

	if (!node_infer(s))
		return false;
	*out = arg_val(&s->out[0]);
	p = node_placeholder(b->main, o->target, s->out[0].type, n->loc);
	p->annot = p->out[0].type;
	while (at < b->in.n && b->in.v[at].kind == InSaved)
		at++;
	vec_push(a, &b->in, (Input){0});
	memmove(&b->in.v[at + 1], &b->in.v[at], sizeof *b->in.v * (size_t)(b->in.n - 1 - at));
	b->in.v[at] = (Input){.kind = InSaved, .val = &p->out[0], .name = p->out[0].name, .argname = p->out[0].name,
	                      .target = o->target, .persistent = true, .donated = true};
	return true;
}

static bool
drawsagain(const Module *b, const Node *n)
{
	FOREACH_NODE(b->main, c)
		if (c->op == n->op && c->stream == n->stream)
			return true;
	return false;
}

static bool
states(Module *m)
{
	const Arg *list = &m->main->last->arg[0];
	VEC(Arg) arg = {0};
	VEC(Output) out = {0};
	int nth = 0, i = 0;

	if (m->decomp != DecompTorch)
		return true;
	for (; i < m->out.n && !(m->out.v[i].kind == ResSaved && list->list.v[i].kind != ArgVal); i++) {
		vec_push(ctx_arena(m->cx), &arg, list->list.v[i]);
		vec_push(ctx_arena(m->cx), &out, m->out.v[i]);
	}
	FOREACH_NODE(m->main, n) {
		Str name = intern_printf(m->cx, "rng_state_output_%d", nth);
		Output o = {.kind = ResSaved, .name = name, .target = name};
		Arg v;

		if (!op_draws(n) || !(n->recompute == PreferRecompute || n->recompute == MustRecompute) ||
		    !drawsagain(m->backward, n))
			continue;
		if (!state(m, n, &o, &v))
			return false;
		vec_push(ctx_arena(m->cx), &arg, v);
		vec_push(ctx_arena(m->cx), &out, o);
		nth++;
	}
	for (; i < m->out.n; i++) {
		vec_push(ctx_arena(m->cx), &arg, list->list.v[i]);
		vec_push(ctx_arena(m->cx), &out, m->out.v[i]);
	}
	if (nth == 0)
		return true;
	node_setargs(m->main->last, &(Arg){.kind = ArgList, .list = {arg.v, arg.n}}, 1);
	m->out.v = out.v;
	m->out.n = out.n;
	m->out.cap = out.cap;
	inputs_sort(m->backward);
	return true;
}

/* ---- the whole ------------------------------------------------------------------------- */

/* Forward has no tangents. */
static bool
resultsof(const Joint *j)
{
	const Arg *list = &j->g->last->arg[0];

	for (int i = 0; i < list->list.n; i++) {
		const Val *v = list->list.v[i].kind == ArgVal ? list->list.v[i].use->val : NULL;

		if (!v || res_isgrad(&j->m->out.v[i]) || !j->v[j->of[v->id]].closure)
			continue;
		error(j->cx, v->def->loc, "%s is a result of the forward part, but depends on a tangent", v->name);
		return false;
	}
	return true;
}

static bool
cut(Module *m, const PartOptions *o, Arena *a)
{
	bool mincut = o->how != PartDefault, ac = checkpointed(m->main), *taken;
	int *root;
	Joint *j;
	Cut c = {0};

	if (!regions(m, a, o) || !tidy(m, mincut) || !tidy_tags(m, !mincut))
		return false;
	j = joint_new(m, a, o);
	if (!resultsof(j))
		return false;
	taken = owned(j);
	if (o->how == PartDefault)
		choose_default(j, &c);
	else if (!(o->how == PartNamed ? choose_named : choose)(j, &c))
		return false;
	if (o->mincut)
		explain_cut(j, &c, o->mincutform, o->mincut);
	if (o->info)
		explain_saved(j, &c, o->info);
	root = extract(j, &c.saved);
	donate(j, taken, root);
	if (!states(m))
		return false;
	if (mincut || ac)
		order_backward(m->backward, o->info);
	if (!pack_saved(j))
		return false;
	record(m);
	return true;
}

bool
partition(Module *m, const PartOptions *o)
{
	Arena *a;
	bool ok;

	if (o->how == PartNone) {
		extract_none(m);
		return !checkpointed(m->main) || remat(m);
	}
	if (!isjoint(m)) {
		error(m->cx, NOLOC, "this is no joint graph: it has no gradients");
		return false;
	}
	a = arena_new();
	ok = cut(m, o, a);
	arena_free(a);
	return ok;
}

/* ---- what need not be saved --------------------------------------------------------------- */

static Input *
held(Module *m, Str name)
{
	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].val && m->in.v[i].name == name)
			return &m->in.v[i];
	return NULL;
}

static bool
written(const Module *m, const Input *in)
{
	if (input_written(m, in))
		return true;
	for (const Use *u = in->val->uses; u; u = u->next)
		if (op_mutable(u->user->op))
			return true;
	return false;
}

/* Forward does not hand on what backward can find itself: parameters, buffers and constants that
 * nobody writes.  Sizes stay, so that backward knows its shapes first. */
bool
partition_share(Module *m)
{
	Module *b = m->backward;
	Arena *a = ctx_arena(m->cx);
	const Arg *list = &m->main->last->arg[0];
	VEC(Arg) arg = {0};
	int k = 0;

	for (int i = 0; i < m->out.n; i++) {
		Output o = m->out.v[i];
		Input *from = o.kind == ResSaved && list->list.v[i].kind == ArgVal ? held(m, list->list.v[i].use->val->name) : NULL;
		Input *to = from ? held(b, o.target) : NULL;

		if (!to || to->kind != InSaved || from->kind == InUser || from->val != list->list.v[i].use->val || written(m, from)) {
			vec_push(a, &arg, list->list.v[i]);
			m->out.v[k++] = o;
			continue;
		}
		to->kind = from->kind;
		to->target = from->target;
		to->argname = from->argname;
		to->persistent = from->persistent;
		to->updatable = from->updatable;
		to->weight = from->weight;
		to->donated = false;
		if (from->weight)
			vec_push(a, &b->weight, from->weight);
	}
	if (k == m->out.n)
		return true;
	m->out.n = k;
	node_setargs(m->main->last, &(Arg){.kind = ArgList, .list = {arg.v, arg.n}}, 1);
	return true;
}
