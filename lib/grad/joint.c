/* joint.c - reverse mode: the graph and its derivative in one.
 *
 * Forward over the nodes: which values depend on an input whose gradient is wanted, through
 * parameters that have a derivative.  Then backward in reverse program order: when a node's turn
 * comes, all that read its results have added to their gradients, so these are complete; the `grad`
 * lines of its operator make nodes in front of the output node.  A value that several nodes read
 * collects add(sum so far, next), the order of PyTorch's engine.
 *
 * What starts it are the tangents, one new input for each result whose gradient the caller has; a
 * loss starts with one.  No derivative on the path is ever taken for zero: what is not known is
 * counted and reported together.
 */
#include "grad/grad.h"
#include "grad/hop.h"
#include "ir/lang.h"
#include "ir/pass/pass.h"

typedef struct Unknown { const OpDef *op; int param, count; Loc loc; } Unknown;

typedef struct Joint {
	Module *m;
	Graph *g;
	Ctx *cx;
	Arena *a;
	Node *end;               /* the output node: backward nodes go before it */
	bool *req;               /* by value id: depends on an input that is differentiated */
	Val **grad;              /* by value id: its gradient so far */
	uint32_t nval;           /* values of the forward part */
	VEC(Arg) result;
	VEC(Unknown) unknown;
	Map slots;               /* of slices.c */
	bool failed;
} Joint;

static bool
differentiable(const Val *v)
{
	return v->type && v->type->kind == TyTensor && !dt_int(v->type->dt);
}

/* ---- what depends on the inputs ------------------------------------------------------ */

bool
hop_wants(const Arg *a, const bool *req)
{
	if (a->kind == ArgVal)
		return req[a->use->val->id];
	for (int k = 0; a->kind == ArgList && k < a->list.n; k++)
		if (hop_wants(&a->list.v[k], req))
			return true;
	return false;
}

/* Does a gradient flow through the node?  An operator without any grad line is taken to depend on
 * all its operands: if a gradient reaches it, that is an error. */
static bool
through(const Joint *j, const Node *n)
{
	if (n->region == GradOff || n->op->flags & OP(Leaf))
		return false;
	for (int k = 0; k < n->narg; k++)
		if (hop_wants(&n->arg[k], j->req) && lang_gradline(n->op, k) != GradNone)
			return true;
	return false;
}

static void
flow(Joint *j)
{
	FOREACH_NODE(j->g, n) {
		if (!through(j, n))
			continue;
		for (int k = 0; k < n->nout; k++)
			j->req[n->out[k].id] = differentiable(&n->out[k]) && (n->op->ngrad == 0 || lang_gradflows(n->op, k));
	}
}

static void
start(Joint *j)
{
	j->nval = j->g->nval;
	j->req = NEWN(j->a, bool, j->nval + 1);
	j->grad = NEWN(j->a, Val *, j->nval + 1);
	for (int k = 0; k < j->m->in.n; k++) {
		const Input *in = &j->m->in.v[k];
		if (in->val && in->requires_grad && differentiable(in->val))
			j->req[in->val->id] = true;
	}
	flow(j);
}

/* An operator without a derivative of its own that has an expansion has that of the expansion. */
static bool
expanded(Joint *j, bool *again)
{
	*again = false;
	for (Node *n = j->g->first, *next; n; n = next) {
		next = n->next;
		if (n->op->ngrad || !n->op->expand || hop_kind(n->op) || !through(j, n) || hop_keepsflex(n, j->req))
			continue;
		if (!node_expand(n))
			return false;
		*again = true;
	}
	return *again || hop_prepare(j->g, j->req, again);
}

/* ---- nodes of the backward part ------------------------------------------------------- */

/* Nodes from `first` to the end are derived from `of`. */
static void
mark(Joint *j, Node *last, const Node *of)
{
	for (Node *n = last->next; n != j->end; n = n->next) {
		n->backward = true;
		n->origin = of->name;
		n->loc = of->loc;
	}
}

static Val *
call(Joint *j, const char *op, const Arg *arg, int n, const Node *of)
{
	const OpDef *def = op_find(op);
	Arg *bound = NEWN(j->a, Arg, def->nparam + 1);
	Node *last = j->end->prev, *m;

	if (!op_bind(j->cx, of->loc, def, arg, n, NULL, NULL, 0, bound))
		return NULL;
	m = node_new(j->g, def, bound, def->nparam, 1, j->end, of->loc);
	mark(j, last, of);
	return node_infer(m) ? &m->out[0] : NULL;
}

static void
accumulate(Joint *j, Val *v, Val *g)
{
	Val **sum = &j->grad[v->id];

	if (g == NULL || !j->req[v->id])
		return;
	if (*sum)
		g = call(j, "aten.add.Tensor", (Arg[]){arg_val(*sum), arg_val(g)}, 2, v->def);
	*sum = g;
	j->failed |= g == NULL;
}

/* ---- one node from several lines ----------------------------------------------------------- */

/* Values made after node `since` are compared by how they are made. */
static bool samenode(const Node *, const Node *, const Node *since);

static bool
sameval(const Val *a, const Val *b, const Node *since)
{
	return a == b || (a->out == b->out && a->def->id > since->id && b->def->id > since->id &&
	                  samenode(a->def, b->def, since));
}

static bool
samearg(const Arg *a, const Arg *b, const Node *since)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case ArgVal:   return sameval(a->use->val, b->use->val, since);
	case ArgInt:   return sym_eq(a->i, b->i);
	case ArgBool:  return a->b == b->b;
	case ArgDtype: return a->dt == b->dt;
	case ArgMemfmt: return a->mf == b->mf;
	case ArgGraph: return a->graph == b->graph;
	case ArgFloat: return memcmp(&a->f, &b->f, sizeof a->f) == 0;
	case ArgStr: case ArgDevice: case ArgLayout: return a->s == b->s;
	case ArgNone: case ArgEllipsis: return true;
	case ArgList: case ArgSlice: case ArgComplex:
		for (int k = 0; a->list.n == b->list.n && k < a->list.n; k++)
			if (!samearg(&a->list.v[k], &b->list.v[k], since))
				return false;
		return a->list.n == b->list.n;
	}
	return false;
}

/* The same calculation, node by node back to what was there before `since`. */
static bool
samenode(const Node *a, const Node *b, const Node *since)
{
	if (a->op != b->op || a->nout != b->nout || a->op->flags & OP(Random))
		return false;
	for (int k = 0; k < a->narg; k++)
		if (!samearg(&a->arg[k], &b->arg[k], since))
			return false;
	return true;
}

/* Gradients with respect to one parameter: of each element if it is a list. */
typedef struct Part { Val **v; int n; } Part;

static void
replace(Node *old, Node *with, Part *part, int npart)
{
	for (int k = 0; k < old->nout; k++)
		val_replace(&old->out[k], &with->out[k]);
	for (int p = 0; p < npart; p++)
		for (int k = 0; k < part[p].n; k++)
			if (part[p].v[k] && part[p].v[k]->def == old)
				part[p].v[k] = &with->out[part[p].v[k]->out];
}

/* The lines of input, weight and bias each call convolution_backward: all mean one node. */
static void
merge(Joint *j, Node *last, Part *part, int npart)
{
	for (Node *n = last->next, *next; n != j->end; n = next) {
		next = n->next;
		if (n->op->nret < 2)
			continue;
		for (Node *m = last->next; m != n; m = m->next)
			if (samenode(m, n, last)) {
				replace(n, m, part, npart);
				node_delete(n);
				break;
			}
	}
}

/* ---- the derivative of a node ------------------------------------------------------------ */

static void
unknown(Joint *j, const Node *n, int param)
{
	for (int k = 0; k < j->unknown.n; k++)
		if (j->unknown.v[k].op == n->op && j->unknown.v[k].param == param) {
			j->unknown.v[k].count++;
			return;
		}
	vec_push(j->a, &j->unknown, (Unknown){n->op, param, 1, n->loc});
}

/* Parameters by name: the order in which PyTorch's nodes calculate. */
static int
byname(const OpDef *op, int *order)
{
	int n = 0;

	for (int k = 0; k < op->nparam; k++) {
		int i = n++;
		for (; i > 0 && strcmp(op->param[order[i - 1]].name, op->param[k].name) > 0; i--)
			order[i] = order[i - 1];
		order[i] = k;
	}
	return n;
}

/* Gradients of all operands of n, or false. */
static bool
lines(Joint *j, GradOf *o, Part *part)
{
	const OpDef *op = o->n->op;
	int *order = NEWN(j->a, int, op->nparam + 1), n = byname(op, order);
	Node *last = j->end->prev;
	bool ok = true;

	for (int k = 0; k < n; k++) {
		int p = order[k];
		if (!o->need[p])
			continue;
		if (lang_gradline(op, p) == GradUnknown) {
			unknown(j, o->n, p);
			ok = false;
		} else
			ok = lang_grads(o, p, j->end, &part[p].v, &part[p].n) && ok;
	}
	mark(j, last, o->n);
	merge(j, last, part, op->nparam);
	return ok;
}

static void
addgrad(void *p, Val *v, Val *g)
{
	accumulate(p, v, g);
}

/* Nodes that no line can speak for: hopgrad.c, slices.c. */
static void
special(Joint *j, Node *n)
{
	Node *last = j->end->prev;
	Val **out = NEWN(j->a, Val *, n->nout + 1);
	HopGrad h = {.n = n, .before = j->end, .out = out, .req = j->req, .add = addgrad, .arg = j};

	for (int k = 0; k < n->nout; k++)
		out[k] = j->grad[n->out[k].id];
	j->failed |= !(slices_node(n) ? slices_grad(&h, j->a, &j->slots) : hop_grad(&h));
	mark(j, last, n);
}

static void
differentiate(Joint *j, Node *n)
{
	const OpDef *op = n->op;
	GradOf o = {.n = n, .open = NEWN(j->a, Val *, n->nout + 1)};
	Val **out = NEWN(j->a, Val *, n->nout + 1);
	bool *need = NEWN(j->a, bool, op->nparam + 1), *flows = NEWN(j->a, bool, n->nout + 1), any = false;
	Part *part = NEWN(j->a, Part, op->nparam + 1);

	if (op->flags & OP(Leaf))
		return;
	for (int k = 0; k < n->nout; k++) {
		out[k] = j->grad[n->out[k].id];
		flows[k] = j->req[n->out[k].id];
		any |= out[k] != NULL;
	}
	if (slices_node(n) || (any && (hop_kind(op) || hop_keepsflex(n, j->req)))) {
		special(j, n);
		return;
	}
	if (!any)
		return;
	for (int k = 0; k < op->nparam; k++)
		need[k] = hop_wants(&n->arg[k], j->req) && lang_gradline(op, k) != GradNone;
	o.out = out;
	o.need = need;
	o.flows = j->m->decomp == DecompTorch ? flows : NULL;
	if (!lines(j, &o, part)) {
		j->failed = true;
		return;
	}
	for (int p = 0; p < op->nparam; p++)
		for (int k = 0; k < part[p].n; k++) {
			const Arg *a = n->arg[p].kind == ArgList ? &n->arg[p].list.v[k] : &n->arg[p];
			if (a->kind == ArgVal)
				accumulate(j, a->use->val, part[p].v[k]);
		}
}

static bool
complain(Joint *j)
{
	for (int k = 0; k < j->unknown.n; k++) {
		const Unknown *u = &j->unknown.v[k];
		error(j->cx, u->loc, "%s: no derivative with respect to %s is known (%d node%s)", u->op->name,
		      u->op->param[u->param].name, u->count, u->count == 1 ? "" : "s");
	}
	return !j->failed;
}

static bool
backward(Joint *j)
{
	Node *last = j->end->prev;

	while (last && last->backward)
		last = last->prev;
	for (Node *n = last; n; n = n->prev)
		differentiate(j, n);
	return complain(j);
}

/* Lines calculate more than somebody reads: the gradient of each element of a list. */
static void
sweep(Joint *j)
{
	for (Node *n = j->end->prev, *prev; n && n->backward; n = prev) {
		bool used = false;
		prev = n->prev;
		for (int k = 0; k < n->nout; k++)
			used |= n->out[k].uses != NULL;
		if (!used && !(n->op->flags & (OP(Effect) | OP(Random))))
			node_delete(n);
	}
}

/* ---- where it starts --------------------------------------------------------------------- */

static Val *
tangent(Joint *j, const Val *of, Str target)
{
	int n = 0;

	for (int k = 0; k < j->m->in.n; k++)
		n += j->m->in.v[k].kind == InTangent;
	Str name = intern_printf(j->cx, "tangents_%d", n + 1);
	Node *p = node_placeholder(j->g, name, of->type, NOLOC);
	Input in = {.kind = InTangent, .val = &p->out[0], .name = p->out[0].name, .argname = name, .target = target};
	vec_push(ctx_arena(j->cx), &j->m->in, in);
	return &p->out[0];
}

/* A loss starts with one.  It is a tangent too, so that the cut sees where backward begins; the
 * partition puts the number in its place. */
static Val *
one(Joint *j, const Val *of, Str target)
{
	Val *v = tangent(j, of, target);

	j->m->in.v[j->m->in.n - 1].value = arg_float(1);
	return v;
}

static const InMeta *
inmeta(const Module *m, const Output *o)
{
	for (int k = 0, at = 0; k < m->in.n; k++) {
		const Input *in = &m->in.v[k];
		if (in->val == NULL)
			continue;
		if (o->target && (o->kind == ResUserMut ? in->name == o->target : in->target == o->target))
			return m->meta && at < m->meta->in.n ? &m->meta->in.v[at] : NULL;
		at++;
	}
	return NULL;
}

/* Has the caller a gradient for it?  In PyTorch what is a view of an input or of another result has
 * none: the caller makes the view himself, and its gradient arrives there.  A caller without
 * autograd has one for each result that he asked for, and none for bases. */
static bool
hastangent(const Joint *j, const Output *o, const Val *v, int user)
{
	const Meta *meta = j->m->meta;
	const InMeta *in;
	bool native = j->m->decomp == DecompNative;

	switch (o->kind) {
	case ResBufferMut: case ResParamMut: case ResUserMut:
		in = inmeta(j->m, o);
		return in == NULL || (in->kind == MutatedOutGraph && in->data);
	case ResUser:
		if (native)
			return true;
		if (meta && user < meta->out.n) {
			enum outalias k = meta->out.v[user].kind;
			return k == OutNonAlias || k == OutUnsafeView || k == OutCustomView;
		}
		return v->def->op != &opplaceholder;
	case ResBase: return !native;
	default:      return false;
	}
}

/* The loss: one number, that depends on something. */
static bool
lossfits(Joint *j, const Output *o, const Val *v)
{
	int64_t n = 0;

	if (v && v->type->kind == TyTensor && (!sym_isconst(type_numel(j->cx, v->type), &n) || n != 1)) {
		error(j->cx, v->def->loc, "the loss %s is %s: it must be one number", o->name ? o->name : v->name, type_str(j->cx, v->type));
		return false;
	}
	if (v && j->req[v->id])
		return true;
	error(j->cx, v ? v->def->loc : NOLOC, "the loss %s does not depend on an input that needs a gradient", o->name ? o->name : "");
	return false;
}

static bool
hasloss(const Module *m)
{
	for (int k = 0; k < m->out.n; k++)
		if (m->out.v[k].kind == ResLoss)
			return true;
	return false;
}

/* Where there is a loss it is all that is differentiated: what is returned beside it is to be looked at. */
static bool
seeds(Joint *j)
{
	bool any = false, loss = hasloss(j->m);
	int user = 0;

	for (int k = 0; k < j->m->out.n && k < j->result.n; k++) {
		const Output *o = &j->m->out.v[k];
		bool isuser = o->kind == ResUser || o->kind == ResLoss;
		Val *v = j->result.v[k].kind == ArgVal ? j->result.v[k].use->val : NULL;
		if (o->kind == ResLoss && !lossfits(j, o, v))
			j->failed = true;
		else if (v && j->req[v->id] && !(loss && o->kind == ResUser)) {
			any = true;
			if (o->kind == ResLoss)
				accumulate(j, v, one(j, v, o->name ? o->name : v->name));
			else if (hastangent(j, o, v, user))
				accumulate(j, v, tangent(j, v, o->name ? o->name : v->name));
		}
		user += isuser;
	}
	return any;
}

/* ---- the module -------------------------------------------------------------------------- */

static void
results(Joint *j)
{
	Module *m = j->m;

	for (int k = 0; k < m->in.n; k++) {
		const Input *in = &m->in.v[k];
		if (in->val == NULL || in->kind == InTangent || in->kind == InToken)
			continue;
		bool param = in->kind == InParam;
		Val *g = j->grad[in->val->id];
		Output o = {.kind = param ? ResGradParam : ResGradUser,
		            .name = intern_printf(j->cx, "grad_%s", in->argname ? in->argname : in->name),
		            .target = param && in->target ? in->target : in->name};
		vec_push(ctx_arena(j->cx), &m->out, o);
		vec_push(j->a, &j->result, g ? arg_val(g) : arg_none());
	}
	Arg all = arg_list(j->a, j->result.v, j->result.n);
	node_setargs(j->end, &all, 1);
}

static bool
isjoint(const Module *m)
{
	for (int k = 0; k < m->in.n; k++)
		if (m->in.v[k].kind == InTangent)
			return true;
	for (int k = 0; k < m->out.n; k++)
		if (m->out.v[k].kind == ResGradParam || m->out.v[k].kind == ResGradUser)
			return true;
	return false;
}

static void
outmeta(Joint *j)
{
	Meta *meta = j->m->meta;
	int user = 0;

	for (int k = 0; meta && k < j->m->out.n && k < j->result.n; k++) {
		const Arg *a = &j->result.v[k];
		if (j->m->out.v[k].kind != ResUser && j->m->out.v[k].kind != ResLoss)
			continue;
		if (user < meta->out.n)
			meta->out.v[user].grad = a->kind == ArgVal && j->req[a->use->val->id];
		user++;
	}
}

static bool
joint(Joint *j)
{
	bool again = true;

	while (again) {
		start(j);
		if (!expanded(j, &again))
			return false;
	}
	const Arg *list = &j->end->arg[0];
	for (int k = 0; k < list->list.n; k++)
		vec_push(j->a, &j->result, list->list.v[k]);
	outmeta(j);
	if (!seeds(j) && !j->failed) {
		error(j->cx, NOLOC, "--train: no result depends on an input that needs a gradient");
		return false;
	}
	if (j->failed || !backward(j))
		return false;
	results(j);
	sweep(j);
	return true;
}

/* ---- sub-graphs -------------------------------------------------------------------------- */

/* Which values depend on the parameters that are wanted. */
static void
startbody(Joint *j, Val *const *param, int n, const bool *wrt)
{
	j->nval = j->g->nval;
	j->req = NEWN(j->a, bool, j->nval + 1);
	j->grad = NEWN(j->a, Val *, j->nval + 1);
	for (int k = 0; k < n; k++)
		j->req[param[k]->id] = wrt[k] && differentiable(param[k]);
	flow(j);
}

/* Tangents are parameters behind those of the graph. */
static void
bodytangents(Joint *j, HopList res, const bool *open)
{
	for (int k = 0; k < res.n; k++) {
		Val *v = res.v[k].kind == ArgVal ? res.v[k].use->val : NULL;
		if (!v || !open[k])
			continue;
		Node *t = node_placeholder(j->g, intern_printf(j->cx, "tangents_%d", k), v->type, NOLOC);
		if (v->id < j->nval && j->req[v->id])
			accumulate(j, v, &t->out[0]);
	}
}

static bool
bodyresults(Joint *j, Val *const *param, int n, const bool *wrt, bool also)
{
	HopList res = hop_results(j->g);
	Arg all;

	for (int k = 0; k < n; k++) {
		Val *g = wrt[k] ? j->grad[param[k]->id] : NULL;
		if (wrt[k] && !g)
			g = call(j, "aten.zeros_like.default", (Arg[]){arg_val(param[k])}, 1, param[k]->def);
		if (wrt[k] && !g)
			return false;
		if (g)
			vec_push(j->a, &j->result, arg_val(g));
	}
	for (int k = 0; also && k < res.n; k++)
		vec_push(j->a, &j->result, res.v[k].kind == ArgVal ? arg_val(res.v[k].use->val) : res.v[k]);
	all = arg_list(j->a, j->result.v, j->result.n);
	node_setargs(j->end, &all, 1);
	return true;
}

Graph *
joint_body(Module *m, Graph *of, const bool *wrt, const bool *open, bool also, Str name)
{
	Graph *g = graph_clone(of);
	Joint j = {.m = m, .g = g, .cx = m->cx, .end = g->last, .a = arena_new()};
	Val *param[MaxHopOperands];
	int n = hop_params(g, param, MaxHopOperands);
	bool again = true, ok = n <= MaxHopOperands;

	g->name = name;
	hop_adopt(m, g);
	while (ok && again) {
		startbody(&j, param, n, wrt);
		ok = expanded(&j, &again);
	}
	if (ok)
		bodytangents(&j, hop_results(g), open);
	ok = ok && !j.failed && backward(&j) && bodyresults(&j, param, n, wrt, also);
	if (ok)
		ok = pass_dce(g);
	arena_free(j.a);
	return ok ? g : NULL;
}

bool
pass_joint(Module *m)
{
	Joint j = {.m = m, .g = m->main, .cx = m->cx, .end = m->main->last};
	bool ok;

	if (m->decomp == DecompTorch && !hop_effects(m))
		return false;
	if (!m->train || isjoint(m))
		return true;
	j.a = arena_new();
	ok = joint(&j) && hop_finish(m);
	arena_free(j.a);
	return ok;
}
