/* functionalize.c - turn mutation and aliasing into values.
 *
 * Walks the nodes in order and keeps, for every value of the program, which tensor it names and
 * in which memory that lies (fun.h).  Writers are replaced (writes.c), what reads a view after
 * its memory was written reads a view derived anew (alias.c), and at the end the record of
 * all that is made (record.c).  An operator that only stands for others is expanded first: only
 * then is it seen what views it makes; one that has a derivative of its own stays.
 *
 * In the end the inputs whose memory was written have results of their own, before the user's,
 * in the order of the inputs; after the user's come the bases of views that were returned.
 */
#include "grad/fun.h"
#include "grad/hop.h"

/* ---- views ------------------------------------------------------------------------------- */

/* PyTorch's own views that are expanded here, or made with several results; they keep their
 * names in the record.  All others expand to what PyTorch has too. */
static bool
printed(const OpDef *op)
{
	static const char *const name[] = {
		"aten.t.default", "aten.transpose.int", "aten.split.Tensor", "aten.split_with_sizes.default",
		"aten.swapaxes.default", "aten.swapdims.default", "aten.unbind.int", "aten.chunk.default", "aten._reshape_alias.default",
	};

	for (int k = 0; k < COUNT(name); k++)
		if (strcmp(op->name, name[k]) == 0)
			return true;
	return false;
}

/* An operator that may be a view, or a copy, or its argument: only its expansion tells. */
static bool
perhapsview(const OpDef *op)
{
	return op->expand && !op->inverse && op->nret == 1 && !op->ret[0].list && op->nparam > 0 &&
	       op->ret[0].alias && op->param[0].alias == op->ret[0].alias && !op->param[0].mutated;
}

static bool
expands(const Node *n)
{
	return (node_composite(n) || (perhapsview(n->op) && node_expands(n))) && !op_writes(n->op) && !node_stats(n);
}

/* Expand n; of PyTorch's own views remember how they are printed. */
static bool
expand(Fun *f, Node *n)
{
	int nout = n->nout;
	bool multi = n->op->nret && n->op->ret[0].list;
	Printed *p = printed(n->op) ? NEWN(f->a, Printed, nout + 1) : NULL;
	Node *next = n->next, *m;

	fun_tell(f, n);
	for (int k = 0; p && k < nout; k++)
		p[k] = (Printed){.text = view_text(f->cx, n, k), .multi = multi};
	if (!node_expand(n))
		return false;
	m = next ? next->prev : f->g->last;
	for (int k = nout - 1; p && k >= 0 && m; k--, m = m->prev)
		map_put(f->a, &f->printed, m, &p[k]);
	return true;
}

/* The results of n are views of `of`, as it was before n was refreshed. */
static void
viewed(Fun *f, Node *n, Tens *of)
{
	const Printed *p = map_get(&f->printed, n);
	bool detached = strcmp(n->op->name, "aten.detach.default") == 0;

	for (int k = 0; k < n->nout; k++) {
		Tens *t = fun_tensor(f, &n->out[k]);
		const Type *type = n->out[k].type;
		t->is = t->was = fun_view(f, n, k, of->is);
		t->multi = of->multi || op_ismultiview(n->op) || (p && p->multi);
		t->seen = of->is->root->version;
		if (t->seen && f->mod->decomp == DecompTorch)   /* PyTorch takes it for out of date, and replays it */
			t->is->version = -1;
		if (!detached && dtypeinfo[type->dt].kind >= KindFloat)
			t->base = of->base ? of->base : of;
	}
}

/* ---- the walk ------------------------------------------------------------------------------- */

static bool
node(Fun *f, Node *n)
{
	const struct Stats *s = node_stats(n);
	bool view = op_isview(n->op) || op_ismultiview(n->op), grad;
	Tens *of;

	if (s)
		return fun_stats(f, n, s);
	if (op_writes(n->op))
		return fun_mutation(f, n);
	of = view && arg_tensor(n, 0) ? fun_tensor(f, arg_tensor(n, 0)) : NULL;
	grad = fun_differentiable(f, n);
	if (!fun_refresh(f, n))
		return false;
	if (of && node_arg(n, "storage_offset")) {
		Alias *is = of->is;
		Str text = view_text(f->cx, n, 0);
		if (!fun_wholememory(f, n, is) || !node_infer(n))
			return false;
		of->is = is->root;
		viewed(f, n, of);
		of->is = is;
		fun_tensor(f, &n->out[0])->is->after = is;
		if (map_get(&f->printed, n) == NULL)
			fun_tensor(f, &n->out[0])->is->text = text;
	} else if (of)
		viewed(f, n, of);
	if (grad)
		fun_requiregrad(f, n);
	if (strcmp(n->op->name, "aten._unsafe_view.default") == 0)
		fun_tensor(f, &n->out[0])->is->text = view_text(f->cx, n, 0);
	return true;
}

/* What the program returns: which tensors, before they are refreshed. */
static void
returned(Fun *f, Node *end)
{
	const Arg *list = &end->arg[0];
	Module *m = f->mod;

	f->out = NEWN(f->a, Tens *, list->list.n + 1);
	for (int k = 0; k < list->list.n; k++) {
		const Arg *a = &list->list.v[k];
		if (k < m->out.n && m->out.v[k].kind != ResUser && m->out.v[k].kind != ResLoss)
			continue;
		f->out[f->nout++] = a->kind == ArgVal && a->use->val->type && a->use->val->type->kind == TyTensor
		                    ? fun_tensor(f, a->use->val) : NULL;
	}
}

static bool
nodes(Fun *f)
{
	for (Node *n = f->g->first, *prev; n; ) {
		prev = n->prev;
		if (expands(n)) {
			if (!expand(f, n))
				return false;
			n = prev ? prev->next : f->g->first;
			continue;
		}
		if (n == f->g->last && f->in)
			returned(f, n);
		if (!node(f, n))
			return false;
		n = n->next;
	}
	for (int k = f->dead.n - 1; k >= 0; k--) {
		Node *n = f->dead.v[k];
		for (int i = 0; i < n->nout; i++)
			if (n->out[i].uses)
				bug(f->cx, n->loc, "%s is read after it was replaced", n->name);
		node_delete(n);
	}
	return true;
}

/* The tensors that the module is given. */
static void
given(Fun *f)
{
	Module *m = f->mod;
	Node *n = f->g->first;
	int at = 0;

	f->in = NEWN(f->a, Tens *, m->in.n + 1);
	for (int k = 0; k < m->in.n; k++) {
		Input *in = &m->in.v[k];
		if (in->val == NULL || n == NULL)
			continue;
		if (n->out[0].type && n->out[0].type->kind == TyTensor) {
			f->in[at] = fun_tensor(f, &n->out[0]);
			f->in[at]->input = at;
			f->in[at]->grad = in->requires_grad;
		}
		at++;
		n = n->next;
	}
	for (int k = 0; m->meta && k < m->meta->rebuilt.n; k++)
		map_put(f->a, &f->printed, m->meta->rebuilt.v[k], NEW(f->a, Printed));
}

/* A text of a joint or a backward graph: what autograd has to do is done. */
static bool
differentiated(const Module *m)
{
	for (int k = 0; k < m->in.n; k++)
		if (m->in.v[k].kind == InTangent || m->in.v[k].kind == InSaved)
			return true;
	return false;
}

/* Dynamo's programs run with gradients on, whether there are any or not. */
static bool
gradmode(const Module *m)
{
	if (differentiated(m))
		return false;
	for (int k = 0; k < m->in.n; k++)
		if (strncmp(m->in.v[k].name, "L_", 2) == 0)
			return true;
	return m->train;
}

/* ---- the signature --------------------------------------------------------------------------- */

/* What input number k, whose tensor is t, has become; NULL: it is what it was.  A caller of the
 * native library keeps sizes and strides himself: he gets the memory as it lies. */
static Val *
written(Fun *f, int k, Tens *t, Node *before)
{
	const InMeta *r = &f->mod->meta->in.v[k];

	if (r->kind == NotMutated || (f->mod->decomp == DecompNative && !r->data && !r->storage))
		return NULL;
	if (r->storage || (r->metadata && r->kind == MutatedOutGraph && f->mod->decomp == DecompTorch))
		return fun_value(f, t->is, before);
	return fun_value(f, t->was, before);
}

static enum outkind
kindof(enum inkind k)
{
	return k == InParam ? ResParamMut : k == InUser ? ResUserMut : ResBufferMut;
}

/* Outputs that the signature had already for this input; -1. */
static int
present(const Module *m, enum outkind kind, Str target)
{
	for (int k = 0; k < m->out.n; k++)
		if (m->out.v[k].kind == kind && m->out.v[k].target == target)
			return k;
	return -1;
}

static void
insert(Fun *f, int at, Output o)
{
	Module *m = f->mod;

	vec_push(ctx_arena(f->cx), &m->out, o);
	memmove(&m->out.v[at + 1], &m->out.v[at], sizeof o * (size_t)(m->out.n - 1 - at));
	m->out.v[at] = o;
}

static void
results_of_inputs(Fun *f)
{
	Module *m = f->mod;
	Node *end = f->g->last;
	VEC(Arg) list = {0};
	int at = 0, number = -1;

	for (int k = 0; k < end->arg[0].list.n; k++)
		vec_push(f->a, &list, end->arg[0].list.v[k]);
	while (at < m->out.n && m->out.v[at].kind != ResUser && m->out.v[at].kind != ResLoss)
		at++;
	for (int k = 0; k < m->in.n; k++) {
		Input *in = &m->in.v[k];
		Output o = {.kind = kindof(in->kind)};
		number += in->val != NULL;
		Val *v = in->val && f->in[number] ? written(f, number, f->in[number], end) : NULL;
		if (v == NULL)
			continue;
		o.target = in->kind == InUser || in->target == NULL ? in->name : in->target;
		o.name = o.target;
		int old = present(m, o.kind, o.target);
		if (old >= 0) {
			list.v[old] = arg_val(v);
			continue;
		}
		insert(f, at, o);
		vec_push(f->a, &list, arg_none());
		memmove(&list.v[at + 1], &list.v[at], sizeof *list.v * (size_t)(list.n - 1 - at));
		list.v[at++] = arg_val(v);
	}
	Arg all = arg_list(f->a, list.v, list.n);
	node_setargs(end, &all, 1);
}

/* Everything that reads v reads what op makes of it. */
static bool
instead(Fun *f, Val *v, const char *name, const Arg *more, int nmore, Node *before)
{
	const OpDef *op = op_find(name);
	Arg pos[2] = {arg_val(v)}, all[8];
	Node *n;

	if (nmore)
		pos[1] = *more;
	if (op == NULL || op->nparam > COUNT(all) ||
	    !op_bind(f->cx, before->loc, op, pos, 1 + nmore, NULL, NULL, 0, all) ||
	    (n = fun_node(f, op, all, 1, before)) == NULL)
		return false;
	val_replace(v, &n->out[0]);
	all[0] = arg_val(v);
	node_setargs(n, all, op->nparam);
	return true;
}

/* PyTorch differentiates with respect to an input as it was: a copy of one that is written, a
 * view of one that gets other sizes, so that the input itself stays what the caller gave. */
static bool
fresh(Fun *f)
{
	Module *m = f->mod;
	Node *before = f->g->first;
	int at = -1;

	while (before->op == &opplaceholder)
		before = before->next;
	for (int k = 0; k < m->in.n; k++) {
		Val *v = m->in.v[k].val;
		const InMeta *in = v ? &m->meta->in.v[++at] : NULL;
		Arg *size, list;
		if (in == NULL || in->kind != MutatedOutGraph)
			continue;
		if (in->grad && in->data) {
			if (!instead(f, v, "aten.clone.default", NULL, 0, before))
				return false;
		} else if (in->metadata) {
			size = NEWN(f->a, Arg, v->type->rank + 1);
			for (int d = 0; d < v->type->rank; d++)
				size[d] = arg_sym(v->type->dim[d]);
			list = arg_list(f->a, size, v->type->rank);
			if (!instead(f, v, "aten.view.default", &list, 1, before))
				return false;
		}
	}
	return true;
}

/* What was made on the way may stand for others, too. */
static bool
expandall(Graph *g)
{
	for (Node *n = g->first, *prev; n; ) {
		prev = n->prev;
		if (expands(n)) {
			if (!node_expand(n))
				return false;
			n = prev ? prev->next : g->first;
		} else
			n = n->next;
	}
	return true;
}

/* ---- graphs -------------------------------------------------------------------------------- */

/* A sub-graph may write its own tensors, not those it was given. */
static bool
inputs_kept(Fun *f)
{
	FOREACH_NODE(f->g, n) {
		Tens *t;
		if (n->op != &opplaceholder)
			break;
		t = n->nout ? fun_known(f, &n->out[0]) : NULL;
		if (t && t->is->root->version) {
			error(f->cx, n->loc, "the sub-graph %s writes its argument %s: not supported",
			      f->g->name, n->name);
			return false;
		}
	}
	return true;
}

static bool
graph(Module *m, Graph *g)
{
	Arena *a = arena_new();
	Fun f = {.mod = m, .g = g, .cx = m->cx, .a = a, .gradmode = gradmode(m)};
	bool ok;

	if (g == m->main) {
		given(&f);
		ok = nodes(&f) && fun_record(&f);
		if (ok)
			results_of_inputs(&f);
		if (ok && f.gradmode && m->train && m->decomp == DecompTorch)
			ok = fresh(&f);
	} else
		ok = nodes(&f) && inputs_kept(&f);
	arena_free(a);
	return ok && expandall(g);
}

bool
fun_survey(Module *m, InMeta *in)
{
	Arena *a = arena_new();
	Fun f = {.mod = m, .g = graph_clone(m->main), .cx = m->cx, .a = a, .gradmode = gradmode(m)};
	int at = 0;
	bool ok;

	given(&f);
	ok = nodes(&f);
	for (int k = 0; ok && k < m->in.n; k++)
		if (m->in.v[k].val) {
			ok = fun_inmeta(&f, &m->in.v[k], f.in[at], &in[at]);
			at++;
		}
	arena_free(a);
	return ok;
}

bool
pass_functionalize(Module *m)
{
	if (differentiated(m) && !module_functional(m))
		return false;
	for (int k = 0; k < m->sub.n; k++)
		if (!graph(m, m->sub.v[k]))
			return false;
	return graph(m, m->main) && (m->decomp != DecompTorch || hop_batch(m));
}
