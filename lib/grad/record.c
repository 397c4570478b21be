/* record.c - the record of mutations and aliases: Module.meta.
 *
 * What PyTorch's AOTAutograd finds out by running the program once (collect_metadata_analysis) is
 * read off the walk of functionalize here.  The kinds of mutations and of outputs follow its
 * decisions one by one, since wrappers and the backward graph are built on them: an output
 * that is a view of an intermediate needs that intermediate as a result of its own
 * only if other outputs share the memory and autograd sees both.
 */
#include "grad/fun.h"

/* ---- autograd ----------------------------------------------------------------------- */

/* A view requires a gradient if its base does, even one that was taken under no_grad. */
bool
tens_grad(const Tens *t)
{
	return t->grad || (t->base && t->base->grad);
}

/* Has it a grad_fn?  A view gets one anew after its base was written. */
static bool
hasfn(const Tens *t)
{
	return t->grad || (t->base && t->base->grad && t->is->root->version > t->seen);
}

static bool
isfloat(const Type *t)
{
	return t && t->kind == TyTensor && dtypeinfo[t->dt].kind >= KindFloat;
}

static bool
needsgrad(Fun *f, const Arg *a)
{
	bool any = false;

	if (a->kind == ArgVal)
		return isfloat(a->use->val->type) && tens_grad(fun_tensor(f, a->use->val));
	for (int k = 0; a->kind == ArgList && k < a->list.n; k++)
		any |= needsgrad(f, &a->list.v[k]);
	return any;
}

/* Does a gradient flow to that parameter?  To all of an operator without a word about it. */
static bool
differentiates(const OpDef *op, int param)
{
	for (int k = 0; k < op->ngrad; k++)
		if (strcmp(op->grad[k].arg, op->param[param].name) == 0)
			return strcmp(op->grad[k].text, "none") != 0;
	return op->ngrad == 0;
}

static bool
isdetach(const OpDef *op)
{
	return strcmp(op->name, "aten.detach.default") == 0;
}

bool
fun_differentiable(Fun *f, Node *n)
{
	bool any = false;

	if (!fun_gradmode(f, n) || n->op->flags & OP(Leaf) || isdetach(n->op))
		return false;
	for (int k = 0; k < n->narg; k++)
		any |= differentiates(n->op, k) && needsgrad(f, &n->arg[k]);
	return any;
}

static void
tell(void *f, Use *u)
{
	u->val->grad = tens_grad(fun_tensor(f, u->val)) ? 1 : -1;
}

void
fun_tell(Fun *f, Node *n)
{
	node_operands(n, tell, f);
}

void
fun_requiregrad(Fun *f, Node *n)
{
	for (int k = 0; k < n->nout; k++)
		fun_tensor(f, &n->out[k])->grad = isfloat(n->out[k].type);
}

/* ---- views as text ---------------------------------------------------------------------- */

static bool
symbolic(const Arg *a)
{
	int64_t k;

	if (a->kind == ArgInt)
		return !sym_isconst(a->i, &k);
	for (int i = 0; a->kind == ArgList && i < a->list.n; i++)
		if (symbolic(&a->list.v[i]))
			return true;
	return false;
}

/* chunk and narrow are split and slice to PyTorch: their arguments as those have them; slice's
 * ends where none is given. */
static int
arguments(Ctx *cx, const Node *n, Arg *arg)
{
	const Val *self = arg_tensor(n, 0);
	int64_t d;

	if (n->narg == 3 && strcmp(n->op->name, "aten.chunk.default") == 0 && self && sym_isconst(n->arg[2].i, &d)) {
		arg[0] = arg_sym(sym_ceildiv(cx, self->type->dim[d < 0 ? d + self->type->rank : d], n->arg[1].i));
		arg[1] = n->arg[2];
		return 2;
	}
	if (strcmp(n->op->name, "aten.narrow.default") == 0) {
		arg[0] = n->arg[1];
		arg[1] = n->arg[2];
		arg[2] = arg_sym(sym_add(cx, n->arg[2].i, n->arg[3].i));
		arg[3] = arg_int(cx, 1);
		return 4;
	}
	for (int k = 1; k < n->narg; k++)
		arg[k - 1] = n->arg[k];
	if (strcmp(n->op->name, "aten.slice.Tensor") == 0) {
		arg[1] = arg[1].kind == ArgNone ? arg_int(cx, 0) : arg[1];
		arg[2] = arg[2].kind == ArgNone ? arg_int(cx, INT64_MAX) : arg[2];
	}
	return n->narg - 1;
}

Str
view_text(Ctx *cx, const Node *n, int out)
{
	Text t = {.arena = ctx_arena(cx)};
	Arg arg[16];
	int narg = n->narg <= COUNT(arg) ? arguments(cx, n, arg) : 0;
	bool sym = false;

	for (int k = 0; k < narg; k++)
		sym |= symbolic(&arg[k]);
	text_add(&t, "(%s", sym ? "True" : "False");
	if (n->op->ret[0].list)
		text_add(&t, ", %d", out);
	if (strcmp(n->op->name, "aten._unsafe_view.default") != 0)   /* a view that never wants its base written */
		text_add(&t, ", True, <InverseReturnMode.ViewOrScatterInverse: 2>");
	for (int k = 0; k < narg; k++)
		text_add(&t, ", %s", arg_str_of(cx, &arg[k]));
	text_add(&t, ")");
	return intern_str(cx, t.s);
}

static void
chain(Fun *f, const Alias *a, OutMeta *o)
{
	if (a->parent)
		chain(f, a->after ? a->after : a->parent, o);
	if (a->text)
		vec_push(ctx_arena(f->cx), &o->view, a->text);
}

/* ---- inputs ------------------------------------------------------------------------------- */

static bool
sametype(const Alias *a, const Alias *b)
{
	const Type *x = a->type, *y = b->type;

	if (a->offset != b->offset || x->rank != y->rank)
		return false;
	for (int d = 0; d < x->rank; d++)
		if (!sym_eq(x->dim[d], y->dim[d]))
			return false;
	return true;
}

/* Strides too. */
static bool
samelayout(Fun *f, const Alias *a, const Alias *b)
{
	if (!sametype(a, b))
		return false;
	for (int d = 0; d < a->type->rank; d++)
		if (!sym_eq(type_stride(f->cx, a->type, d), type_stride(f->cx, b->type, d)))
			return false;
	return true;
}

static enum mutation
mutation(const Module *m, const InMeta *in)
{
	bool keep = m->keepmut || m->decomp == DecompNative;

	if (!in->data && !in->metadata)
		return NotMutated;
	if (keep && (in->data || in->storage) && ((!in->metadata && !in->grad) || in->hidden || in->nograd))
		return MutatedInGraph;
	return MutatedOutGraph;
}

bool
fun_inmeta(Fun *f, const Input *in, const Tens *t, InMeta *r)
{
	const Alias *a = t ? t->is->root : NULL;

	*r = (InMeta){.kind = NotMutated};
	if (t == NULL)
		return true;
	r->storage = t->replaced;
	r->data = t->was->root->version > 0 && !t->replaced;
	r->metadata = t->replaced || !samelayout(f, t->is, t->was);
	r->hidden = a->version == 0;
	r->nograd = a->version > 0 && a->nograd == a->version;
	r->leaf = !in->nonleaf;
	r->grad = tens_grad(t);
	if (r->metadata && !t->replaced) {
		r->type = t->is->type;
		r->offset = sym_sub(f->cx, t->is->offset, t->was->offset);
	}
	r->kind = mutation(f->mod, r);
	if (r->storage && r->kind != MutatedInGraph && f->mod->keepmut) {
		error(f->cx, in->val->def->loc, "set_ on the input %s, which is also written or requires a gradient, is not supported",
		      in->name);
		return false;
	}
	return true;
}

/* An input that stands for several: what was found out about those holds for it. */
static void
ofbase(const Module *mod, const Meta *m, InMeta *r)
{
	for (int k = 0; k < m->merged.n; k++) {
		const Merged *b = &m->merged.v[k];
		if (b->in != m->in.n)
			continue;
		r->hidden = b->hidden;
		r->nograd = b->nograd;
		r->kind = mutation(mod, r);
	}
}

/* ---- outputs -------------------------------------------------------------------------------- */

typedef struct Shared { int all, multi; } Shared;

/* How many outputs lie in the memory of t, how many of them came from split or unbind. */
static Shared
shared(const Fun *f, const Tens *t)
{
	Shared s = {0};

	for (int k = 0; k < f->nout; k++)
		if (f->out[k] && f->out[k]->is->root == t->is->root) {
			s.all++;
			s.multi += f->out[k]->multi;
		}
	return s;
}

static int
outputof(const Fun *f, const Tens *t)
{
	for (int k = f->nout - 1; k >= 0; k--)
		if (f->out[k] == t)
			return k;
	return -1;
}

/* The input in whose memory t lies; -1. */
static int
holder(const Fun *f, const Tens *t, int n)
{
	for (int k = n - 1; k >= 0; k--)
		if (f->in[k] && f->in[k]->is->root == t->is->root)
			return k;
	return -1;
}

/* Another output of the same memory, sizes and strides that requires a gradient. */
static int
twin(Fun *f, const Tens *t)
{
	for (int k = 0; k < f->nout; k++)
		if (f->out[k] && f->out[k] != t && f->out[k]->is->root == t->is->root &&
		    tens_grad(f->out[k]) && samelayout(f, f->out[k]->is, t->is))
			return outputof(f, f->out[k]);
	return -1;
}

typedef struct Bases { VEC(Tens *) v; } Bases;

/* A differentiable view of something that the program made. */
static void
interm(Fun *f, const Tens *t, Bases *b, OutMeta *o)
{
	Shared s = shared(f, t);

	if (s.all == 1 || s.all - s.multi <= 1) {
		o->kind = OutUnsafeView;
		return;
	}
	o->kind = OutAliasOfIntermUser;
	if ((o->base = outputof(f, t->base)) >= 0)
		return;
	for (int k = 0; k < b->v.n; k++)
		if (b->v.v[k] == t->base) {
			o->kind = OutAliasOfInterm;
			o->base = k;
			return;
		}
	o->kind = OutAliasOfIntermSave;
	o->base = b->v.n;
	vec_push(f->a, &b->v, t->base);
}

static void
output(Fun *f, const Meta *m, const Tens *t, Bases *b, OutMeta *o)
{
	int in = holder(f, t, m->in.n);
	Shared s = shared(f, t);

	if (in >= 0 && !t->replaced) {
		o->base = in;
		o->kind = hasfn(t) && s.all == s.multi ? OutNonAlias : t->input >= 0 ? OutIsInput : OutAliasOfInput;
	} else if (t->replaced && t->input >= 0) {
		o->base = t->input;
		o->kind = OutIsInput;
	} else if (t->base && tens_grad(t) && tens_grad(t->base)) {
		interm(f, t, b, o);
	} else if (s.all > 1 && !tens_grad(t) && twin(f, t) >= 0) {
		o->kind = OutAliasOfIntermUser;
		o->base = twin(f, t);
	} else if (t->base && samelayout(f, t->is, t->base->is) && outputof(f, t->base) >= 0) {
		o->kind = OutAliasOfIntermUser;
		o->base = outputof(f, t->base);
	}
	if (o->kind == OutAliasOfInterm || o->kind == OutAliasOfIntermSave || o->kind == OutAliasOfIntermUser ||
	    (o->kind == OutAliasOfInput && !m->in.v[o->base].metadata))
		chain(f, t->is, o);
	if (o->kind != OutNonAlias && o->kind != OutUnsafeView) {
		o->type = t->is->type;
		o->offset = t->is->offset;
	}
}

/* ---- the rest --------------------------------------------------------------------------------- */

/* Operators whose effects are kept in order by a token that is handed on. */
static bool
ordered(const OpDef *op)
{
	return strcmp(op->name, "higher_order.print") == 0 || strcmp(op->name, "aten._print.default") == 0;
}

static void
tokens(const Graph *g, Meta *m)
{
	FOREACH_NODE(g, n)
		if (ordered(n->op))
			m->ntoken = 1;
}

/* Parameters and buffers, which lie where they lie; Dynamo says so by their names. */
static bool
isstatic(const Input *in)
{
	if (in->kind != InUser)
		return in->kind == InParam || in->kind == InBuffer;
	return strchr("LlGg", in->name[0]) && in->name[0] && in->name[1] == '_' &&
	       (strstr(in->name, "_parameters_") || strstr(in->name, "_buffers_"));
}

static void
append(Fun *f, Bases *b)
{
	Module *m = f->mod;
	Arena *a = ctx_arena(f->cx);
	Node *end = f->g->last;
	VEC(Arg) list = {0};
	Arg all;

	for (int k = 0; k < end->arg[0].list.n; k++)
		vec_push(f->a, &list, end->arg[0].list.v[k]);
	for (int k = 0; k < b->v.n; k++) {
		Output o = {.kind = ResBase, .name = intern_printf(f->cx, "base%d", k)};
		Val *v = fun_value(f, b->v.v[k]->is, end);
		if (v == NULL)
			continue;
		vec_push(f->a, &list, arg_val(v));
		vec_push(a, &m->out, o);
	}
	all = arg_list(f->a, list.v, list.n);
	node_setargs(end, &all, 1);
}

bool
fun_record(Fun *f)
{
	Arena *a = ctx_arena(f->cx);
	Module *mod = f->mod;
	Meta *m = mod->meta = mod->meta ? mod->meta : NEW(a, Meta);
	Bases bases = {0};
	bool ok = true;

	for (int k = 0; k < mod->in.n; k++) {
		InMeta r;
		if (mod->in.v[k].val == NULL)
			continue;
		ok = fun_inmeta(f, &mod->in.v[k], f->in[m->in.n], &r) && ok;
		ofbase(mod, m, &r);
		if (r.kind == MutatedInGraph)
			vec_push(a, &m->ingraph, m->in.n);
		else if (r.kind == MutatedOutGraph)
			vec_push(a, &m->outgraph, m->in.n);
		if (isstatic(&mod->in.v[k]))
			vec_push(a, &m->statics, m->in.n);
		vec_push(a, &m->in, r);
	}
	for (int k = 0; k < f->nout; k++) {
		OutMeta o = {.base = -1};
		Tens *t = f->out[k];
		if (t) {
			output(f, m, t, &bases, &o);
			o.grad = tens_grad(t);
			o.gradbw = o.grad && (t->base == NULL || hasfn(t));
		}
		m->naliased += o.kind != OutNonAlias && o.kind != OutUnsafeView && o.kind != OutCustomView;
		vec_push(a, &m->out, o);
	}
	m->nbase = bases.v.n;
	m->inference = !mod->train;
	tokens(f->g, m);
	append(f, &bases);
	return ok && ctx_errors(f->cx) == 0;
}
