/* packing.c - the nodes that pack a saved tensor at the end of forward and unpack it in backward.
 *
 * They come from sub-graphs of the program (saved_tensors_hooks), which fit any type; from a text of
 * the user's that is read anew for the type of each tensor; or are fxcc.pack and fxcc.unpack, which
 * keep a tensor as bf16, or as fp8 or int8 with one scale for all of it.
 */
#include "partition/part.h"

typedef struct Copy {
	Graph *g;
	Node  *before;
	Arena *a;
	const Graph *from;
	const Type *type;        /* of the tensor that is packed */
	Val  **val;              /* by value id of from */
} Copy;

/* Sizes of the tensor for those that a sub-graph of the program was read with. */
static const Sym *
size(const Copy *c, const Sym *s)
{
	Ctx *cx = c->g->cx;
	const Sym *var[] = {sym_var(cx, intern_str(cx, "hook0"), 1, INT64_MAX), sym_var(cx, intern_str(cx, "hook1"), 1, INT64_MAX)};

	if (c->type->rank != 2)
		return sym_uses(s, var[0]) || sym_uses(s, var[1]) ? NULL : s;
	return sym_subst(cx, s, var, c->type->dim, 2);
}

static bool
argument(const Copy *c, const Arg *a, Arg *out)
{
	*out = *a;
	if (a->kind == ArgVal) {
		*out = arg_val(c->val[a->use->val->id]);
	} else if (a->kind == ArgInt) {
		out->i = size(c, a->i);
		return out->i != NULL;
	} else if (a->kind == ArgGraph) {
		return false;
	} else if (a->kind == ArgList || a->kind == ArgSlice) {
		out->list.v = NEWN(c->a, Arg, a->list.n + 1);
		for (int i = 0; i < a->list.n; i++)
			if (!argument(c, &a->list.v[i], &out->list.v[i]))
				return false;
	}
	return true;
}

static bool
sameshape(const Type *a, const Type *b)
{
	if (a->kind != b->kind || a->dt != b->dt || a->rank != b->rank)
		return false;
	for (int i = 0; i < a->rank; i++)
		if (a->dim[i] != b->dim[i])
			return false;
	return true;
}

/* Does a parameter fit what it is given? */
static bool
fits(const Copy *c, const Node *param, const Val *v)
{
	if (v == NULL)
		error(c->g->cx, param->loc, "%s takes more than the values that were packed", c->from->name);
	else if (param->out[0].type && v->type && !sameshape(param->out[0].type, v->type))
		error(c->g->cx, param->loc, "%s takes %s, it is given %s", c->from->name, type_str(c->g->cx, param->out[0].type),
		      type_str(c->g->cx, v->type));
	else
		return true;
	return false;
}

static bool
node(const Copy *c, const Node *n)
{
	Arg *arg = NEWN(c->a, Arg, n->narg + 1);
	Node *d;

	for (int i = 0; i < n->narg; i++)
		if (!argument(c, &n->arg[i], &arg[i])) {
			error(c->g->cx, n->loc, "%s looks at sizes or has sub-graphs: it packs matrices only, %s is none", c->from->name,
			      type_str(c->g->cx, c->type));
			return false;
		}
	d = node_new(c->g, n->op, arg, n->narg, n->nout, c->before, n->loc);
	if (!node_infer(d))
		return false;
	for (int i = 0; i < n->nout; i++)
		c->val[n->out[i].id] = &d->out[i];
	return true;
}

/* Copy a sub-graph; its results. */
static bool
copy(Copy *c, const Graph *from, Val *const *in, int nin, Vals *result)
{
	int k = 0;

	c->from = from;
	c->val = NEWN(c->a, Val *, from->nval + 1);
	FOREACH_NODE(from, n) {
		if (n->op == &opplaceholder) {
			if (!fits(c, n, k < nin ? in[k] : NULL))
				return false;
			c->val[n->out[0].id] = in[k++];
		} else if (n->op != &opoutput) {
			if (!node(c, n))
				return false;
		} else {
			for (int i = 0; i < n->arg[0].list.n; i++) {
				const Arg *a = &n->arg[0].list.v[i];

				vec_push(c->a, result, a->kind == ArgVal ? c->val[a->use->val->id] : NULL);
			}
		}
	}
	return true;
}

/* ---- as a narrower type --------------------------------------------------------------- */

/* OP(in..., dtype) */
static bool
call(const Copy *c, const char *name, Val *const *in, int nin, enum dtype dt, Vals *result)
{
	const OpDef *op = op_find(name);
	Arg *arg = NEWN(c->a, Arg, nin + 1);
	Node *n;

	for (int i = 0; i < nin; i++)
		arg[i] = arg_val(in[i]);
	arg[nin] = arg_dtype(dt);
	n = node_new(c->g, op, arg, nin + 1, op->nret, c->before, in[0]->def->loc);
	if (!node_infer(n))
		return false;
	for (int i = 0; i < n->nout; i++)
		vec_push(c->a, result, &n->out[i]);
	return true;
}

/* bf16 has the exponents of f32 and needs no scale. */
static bool
narrow(const Copy *c, enum dtype to, bool unpack, Val *const *in, int nin, Vals *result)
{
	if (to == DtBF16)
		return call(c, "prims.convert_element_type.default", in, nin, unpack ? c->type->dt : to, result);
	return call(c, unpack ? "fxcc.unpack" : "fxcc.pack", in, nin, unpack ? c->type->dt : to, result);
}

bool
packs_smaller(const Joint *j, const Type *t)
{
	enum dtype to = j->o->compress;

	return dt_float(t->dt) && dtypeinfo[t->dt].bytes > dtypeinfo[to].bytes && type_bytes(j->cx, t) >= j->o->compressmin;
}

/* ---- the two sides ----------------------------------------------------------------------- */

/* Packed as soon as forward has read it for the last time, unpacked before backward first reads it, so
 * that both are alive for a short while; PyTorch packs at the end and unpacks at the beginning. */
static Node *
place(const Joint *j, Graph *g, const Val *v, bool unpack)
{
	Node *at = unpack ? g->first : g->last, *last = v->def;
	bool *reads = NEWN(j->a, bool, g->nnode + 1);

	if (j->m->decomp == DecompTorch) {
		while (at->op == &opplaceholder)
			at = at->next;
		return at;
	}
	for (const Use *u = v->uses; u; u = u->next)
		reads[u->user->id] = true;
	for (Node *n = v->def; n != g->last; n = n->next) {
		if (unpack && reads[n->id])
			return n;
		if (reads[n->id] || n->op == &opplaceholder)
			last = n;
	}
	return unpack ? g->last : last->next;
}

static bool
side(Joint *j, bool unpack, const Val *of, Val *const *in, int nin, Vals *result)
{
	Copy c = {.g = unpack ? j->m->backward->main : j->m->main, .a = j->a, .type = of->type};
	const Graph *from = unpack ? j->m->unpack : j->m->pack;
	const Type **type = NEWN(j->a, const Type *, nin + 1);

	c.before = place(j, c.g, of, unpack);
	if (j->o->compress)
		return narrow(&c, j->o->compress, unpack, in, nin, result);
	for (int i = 0; i < nin; i++)
		type[i] = in[i]->type;
	if (j->o->hook)
		from = j->o->hook(j->o->hookarg, unpack, type, nin);
	return from && copy(&c, from, in, nin, result);
}

/* What v is packed to. */
bool
packing_pack(Joint *j, Val *v, Vals *result)
{
	if (!side(j, false, v, &v, 1, result))
		return false;
	for (int i = 0; i < result->n; i++)
		if (!result->v[i] || result->v[i]->type->kind != TyTensor) {
			error(j->cx, v->def->loc, "what %s is packed to is not a tensor", v->name);
			return false;
		}
	return true;
}

/* What stands in backward for v, of its type; NULL: reported. */
Val *
packing_unpack(Joint *j, const Val *v, const Vals *in)
{
	const Type *t = v->type;
	Vals result = {0};

	if (!side(j, true, v, in->v, in->n, &result))
		return NULL;
	if (result.n == 1 && result.v[0] && sameshape(result.v[0]->type, t))
		return result.v[0];
	if (result.n != 1 || !result.v[0])
		error(j->cx, NOLOC, "unpacking gives no tensor");
	else
		error(j->cx, result.v[0]->def->loc, "what was packed was %s, unpacked it is %s", type_str(j->cx, t), type_str(j->cx, result.v[0]->type));
	return NULL;
}

/* ---- operators of the rest ------------------------------------------------------------------- */

/* What was added, all nodes from number `from` on, is made of the operators of the rest.  An operator
 * whose torch line leaves it as it is stays. */
bool
packing_expand(Graph *g, uint32_t from, Arena *a)
{
	Map stay = {0};

	for (Node *n = g->first, *next; n; n = next) {
		Node *before = n->prev, *end = n->next;
		const OpDef *op = n->op;

		next = end;
		if (n->id < from || !node_expands(n) || map_get(&stay, n))
			continue;
		if (!node_expand(n))
			return false;
		next = before ? before->next : g->first;
		for (Node *c = next; c != end; c = c->next)
			if (c->op == op)
				map_put(a, &stay, c, c);
	}
	return true;
}
