/* constfold.c - evaluate what depends on weights alone.
 *
 * A node is constant if it computes and all that it reads is constant: weights
 * whose bytes are known and that nobody changes, and constant nodes.  Of these,
 * the last of each chain (a constant that something else reads) is evaluated by
 * the interpreter and becomes a weight of its own.  Chains of mere element moves
 * (views, casts, permutes) are left: lowering reads through them, and packs once.
 * Nothing grows: a result much larger than what it was made from stays code.
 *
 * Weights that the library may replace (Input.swappable) are folded as well: what was
 * evaluated of them can be replaced too, and Module.fold is the program that computes it;
 * all that is evaluated, if that is to be done when the library is loaded (Module.foldlater).
 */
#include "ir/pass/pass.h"

enum { Slack = 1 << 12 };

typedef struct Fold {
	Graph *g;
	Arena *a;
	Weight **weight;      /* by val id: of placeholders */
	bool *constant;       /* by node id */
	bool *moves;          /* by node id: only moves elements */
	bool *loose;          /* by val id of placeholders, and ... */
	bool *loosenode;      /* ... by node id: depends on what may be replaced */
	Tensor **value;       /* by val id: evaluated */
	int made;
} Fold;

static void
note_weights(Fold *f)
{
	Module *m = f->g->mod;

	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i];
		if (in->val && in->kind != InUser && in->weight && in->weight->data && (in->swappable || !in->updatable) &&
		    !input_written(m, in) && !input_aliased(m, in)) {
			f->weight[in->val->id] = in->weight;
			f->loose[in->val->id] = in->swappable;
		}
	}
}

typedef struct Ask { Fold *f; bool all, any, loose; int64_t elements; } Ask;

static void
ask(void *arg, Use *u)
{
	Ask *q = arg;
	Val *v = u->val;
	int64_t n = 0;

	q->any = true;
	if (v->type == NULL || v->type->kind != TyTensor || !sym_isconst(type_numel(q->f->g->cx, v->type), &n))
		q->all = false;
	q->elements += n;
	if (v->def->op->flags & OP(Leaf)) {
		q->all = q->all && q->f->weight[v->id];
		q->loose |= q->f->loose[v->id];
	} else {
		q->all = q->all && q->f->constant[v->def->id];
		q->loose |= q->f->loosenode[v->def->id];
	}
}

static bool
result_fits(Fold *f, const Node *n, int64_t from)
{
	for (int i = 0; i < n->nout; i++) {
		int64_t k;
		const Type *t = n->out[i].type;
		if (t == NULL || t->kind != TyTensor || !sym_isconst(type_numel(f->g->cx, t), &k) || k > FoldMost || k > 2 * from + Slack)
			return false;
		if (dtypeinfo[t->dt].kind == KindComplex)
			return false;
	}
	return n->nout > 0;
}

static void
count(void *n, Use *u)
{
	(void)u;
	++*(int *)n;
}

/* Of one tensor: joining several is work, and nothing packs what lies in pieces. */
static bool
is_move(Node *n)
{
	int tensors = 0;
	Low low;

	node_operands(n, count, &tensors);
	if (tensors > 1)
		return false;
	if (n->nout != 1 || n->op->value == NULL || n->op->lower || !node_low(n, 0, &low) || low.kind != LowElement)
		return false;
	const Ex *e = low.element;
	while (e->kind == ExCast || (e->kind == ExOp && e->sc == ScSelect))
		e = e->arg[e->kind == ExCast ? 0 : 1];
	return e->kind == ExLoad || e->kind == ExConst || e->kind == ExIndex;
}

/* Does it depend on sizes or numbers that only a call knows? */
static bool
free_sizes(const Arg *a)
{
	for (int i = 0; a->kind == ArgList && i < a->list.n; i++)
		if (free_sizes(&a->list.v[i]))
			return true;
	return a->kind == ArgInt && a->i->kind != SymConst && a->i->kind != SymFloatConst;
}

static void
classify(Fold *f, Node *n)
{
	Ask q = {f, true, false, false, 0};

	if (n->op->flags & (OP(Leaf) | OP(Effect) | OP(Random) | OP(Dynamic) | OP(Mutates) | OP(Hop) | OP(Sym)) || node_leaves(n, PartConstfold))
		return;
	for (int i = 0; i < n->narg; i++)
		if (free_sizes(&n->arg[i]))
			return;
	node_operands(n, ask, &q);
	if (!q.all || !result_fits(f, n, q.any ? q.elements : 0))
		return;
	f->constant[n->id] = true;
	f->loosenode[n->id] = q.loose;
	f->moves[n->id] = is_move(n);
}

/* The bytes of a weight, dense. */
static Tensor *
dense(Fold *f, const Weight *w)
{
	Tensor *t = NEW(f->a, Tensor);
	int64_t idx[MaxRank] = {0}, n = 1, stride[MaxRank];
	size_t width = dtypeinfo[w->type->dt].bytes;

	t->dt = w->type->dt;
	t->rank = w->type->rank;
	for (int d = 0; d < t->rank; d++) {
		sym_isconst(w->type->dim[d], &t->dim[d]);
		sym_isconst(type_stride(f->g->cx, w->type, d), &stride[d]);
		n *= t->dim[d];
	}
	t->bytes = (size_t)n * width;
	if (w->type->stride == NULL) {
		t->data = (void *)(uintptr_t)w->data;
		return t;
	}
	t->data = arena_alloc(f->a, t->bytes + 1, 64);
	for (int64_t i = 0; i < n; i++) {
		int64_t at = 0;
		for (int d = 0; d < t->rank; d++)
			at += idx[d] * stride[d];
		memcpy((char *)t->data + (size_t)i * width, w->data + (size_t)at * width, width);
		for (int d = t->rank - 1; d >= 0 && ++idx[d] == t->dim[d]; d--)
			idx[d] = 0;
	}
	return t;
}

typedef struct Collect { Fold *f; VEC(const Tensor *) v; bool ok; } Collect;

static bool evaluate(Fold *, Node *);

static void
collect(void *arg, Use *u)
{
	Collect *c = arg;
	Val *v = u->val;

	if (c->f->value[v->id] == NULL && c->f->weight[v->id])
		c->f->value[v->id] = dense(c->f, c->f->weight[v->id]);
	if (c->f->value[v->id] == NULL)
		c->ok = c->ok && evaluate(c->f, v->def);
	vec_push(c->f->a, &c->v, c->f->value[v->id]);
}

static bool
evaluate(Fold *f, Node *n)
{
	Collect c = {.f = f, .ok = true};

	node_operands(n, collect, &c);
	if (!c.ok)
		return false;
	Tensor *out = NEWN(f->a, Tensor, n->nout);
	if (!node_interp(n, ctx_arena(f->g->cx), c.v.v, out, false, NULL, 0))
		return false;
	for (int i = 0; i < n->nout; i++)
		f->value[n->out[i].id] = &out[i];
	return true;
}

/* By something that is not folded: also through moves, which stay. */
static bool
read_outside(const Fold *f, const Val *v)
{
	for (const Use *u = v->uses; u; u = u->next)
		if (!f->constant[u->user->id] || (f->moves[u->user->id] && read_outside(f, u->user->out)))
			return true;
	return false;
}

/* Is it computed when the library is loaded, or its weights are replaced? */
static bool
later(const Fold *f, const Node *n)
{
	return f->loosenode[n->id] || f->g->mod->foldlater;
}

/* Forward and backward share their constants by name: those that backward folds alone have other names. */
static bool
isbackward(const Module *m)
{
	for (int k = 0; k < m->out.n; k++)
		if (m->out.v[k].kind != ResGradParam && m->out.v[k].kind != ResGradUser)
			return false;
	return m->out.n > 0;
}

/* The value becomes a placeholder with a weight. */
static void
replace(Fold *f, Val *v)
{
	Module *m = f->g->mod;
	Ctx *cx = f->g->cx;
	const Tensor *t = f->value[v->id];
	Weight *w = NEW(ctx_arena(cx), Weight);
	Str name = intern_printf(cx, "_folded_%s%s", isbackward(m) ? "backward_" : "", v->name);
	const Type *type = type_tensor(cx, v->type->dt, v->type->rank, v->type->dim);
	Node *p = node_placeholder(f->g, name, type, v->def->loc);

	*w = (Weight){.fqn = name, .type = type, .data = t->data, .bytes = t->bytes};
	vec_push(ctx_arena(cx), &m->weight, w);
	bool loose = later(f, v->def);
	vec_push(ctx_arena(cx), &m->in, (Input){.kind = InConst, .val = &p->out[0], .name = p->out[0].name, .argname = p->out[0].name,
	                                          .target = name, .weight = w, .updatable = loose, .swappable = loose});
	val_replace(v, &p->out[0]);
}

/* ---- what computes it anew ----------------------------------------------------- */

/* The program as it is, with other results: dce leaves what these need. */
static Module *
refold_new(Module *m, Val **map)
{
	Module *r = module_new(m->cx, intern_printf(m->cx, "%s_fold", m->name ? m->name : "model"));
	Graph *g = graph_clone(m->main);

	r->main = g;
	g->mod = r;
	module_obey(r, m);
	r->weight = m->weight;
	for (Node *o = m->main->first, *c = g->first; o && c; o = o->next, c = c->next)
		for (int i = 0; i < o->nout; i++)
			map[o->out[i].id] = &c->out[i];
	return r;
}

/* Of the first n inputs those that are still read. */
static void
refold_inputs(const Module *m, int n, Module *r, Val **map)
{
	for (int i = 0; i < n; i++) {
		Input in = m->in.v[i];
		Val *v = in.val ? map[in.val->id] : NULL;
		if (v && v->uses) {
			in.val = v;
			vec_push(ctx_arena(m->cx), &r->in, in);
		} else if (v) {
			node_delete(v->def);
		}
	}
}

/* Computes the values whose replacements are the last n inputs of m. */
static bool
refold_results(Module *m, Module *r, const Val *const *was, Val **map, int n)
{
	Arg *list = NEWN(ctx_arena(m->cx), Arg, n + 1);
	int k = 0;

	for (int i = 0; i < n; i++)
		if (m->in.v[m->in.n - n + i].swappable)
			list[k++] = arg_val(map[was[i]->id]);
	node_setargs(r->main->last, &(Arg){.kind = ArgList, .list = {list, k}}, 1);
	if (!pass_dce(r->main))
		return false;
	refold_inputs(m, m->in.n - n, r, map);
	for (int i = 0; i < n; i++) {
		Input in = m->in.v[m->in.n - n + i];
		if (!in.swappable)
			continue;
		in.val = node_placeholder(r->main, in.name, in.val->type, NOLOC)->out;
		vec_push(ctx_arena(m->cx), &r->in, in);
		vec_push(ctx_arena(m->cx), &r->out, (Output){.kind = ResBufferMut, .name = in.name, .target = in.target});
	}
	return true;
}

static void
analyse(Fold *f)
{
	uint32_t nval = f->g->nval, nnode = f->g->nnode;

	f->weight = NEWN(f->a, Weight *, nval);
	f->constant = NEWN(f->a, bool, nnode);
	f->moves = NEWN(f->a, bool, nnode);
	f->value = NEWN(f->a, Tensor *, nval);
	f->loose = NEWN(f->a, bool, nval);
	f->loosenode = NEWN(f->a, bool, nnode);
	note_weights(f);
	FOREACH_NODE(f->g, n)
		classify(f, n);
}

bool *
values_known(Graph *g, Arena *a)
{
	Fold f = {.g = g, .a = a};
	bool *known = NEWN(a, bool, g->nval + 1);

	if (g != g->mod->main)
		return known;
	analyse(&f);
	FOREACH_NODE(g, n)
		for (int i = 0; i < n->nout; i++)
			known[n->out[i].id] = f.constant[n->id] || f.weight[n->out[i].id];
	return known;
}

bool
pass_constfold(Graph *g)
{
	Arena *a = arena_new();
	Fold f = {.g = g, .a = a};
	uint32_t nval = g->nval;
	VEC(Val *) make = {0};

	if (g != g->mod->main) {
		arena_free(a);
		return true;
	}
	analyse(&f);
	Module *m = g->mod, *again = NULL;
	Val **map = NEWN(a, Val *, nval);
	FOREACH_NODE(g, n)
		for (int i = 0; f.constant[n->id] && !f.moves[n->id] && i < n->nout; i++)
			if (read_outside(&f, &n->out[i]) && evaluate(&f, n))
				vec_push(a, &make, &n->out[i]);
	for (int i = 0; i < make.n && again == NULL; i++)
		if (later(&f, make.v[i]->def))
			again = refold_new(m, map);
	for (int i = 0; i < make.n; i++)
		replace(&f, make.v[i]);
	bool ok = again == NULL || refold_results(m, again, (const Val *const *)make.v, map, make.n);
	m->fold = ok ? again : NULL;
	arena_free(a);
	return ok && ctx_errors(g->cx) == 0;
}
