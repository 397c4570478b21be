/* batch.c - torch.vmap as PyTorch's graphs have it (-fdecomp=torch): operators on whole tensors.
 *
 * The readers make a map of a vmap.  Here its body is copied to the place of the map, each operator
 * by a rule that says what it is of all rows: dimensions move up by one, sizes get the number of rows
 * in front, what has fewer dimensions than the others gets ones behind it.  Rows are always the first
 * dimension.  What no row is part of is done once.  A body with an operator that has no rule stays a
 * map; natively all do.
 */
#include "grad/hopgrad.h"

enum rule { None, Point, Dim, Dims, Size, All, Put };

static const struct Rule { const char *name; enum rule rule; int param; } rules[] = {
	{"aten.unsqueeze.default", Dim, 1}, {"aten.slice.Tensor", Dim, 1}, {"aten.select.int", Dim, 1},
	{"aten.squeeze.dim", Dim, 1}, {"aten.sum.dim_IntList", Dims, 1}, {"aten.permute.default", Dims, 1},
	{"aten.view.default", Size, 1}, {"aten.reshape.default", Size, 1}, {"aten.expand.default", Size, 1},
	{"aten.new_zeros.default", Size, 1}, {"aten.new_ones.default", Size, 1}, {"aten.new_full.default", Size, 1},
	{"aten.sum.default", All, 0}, {"aten.index_put.default", Put, 1}, {"aten.alias.default", Point, 0},
	{"aten.detach.default", Point, 0}, {"aten.lift_fresh_copy.default", Point, 0},
};

typedef struct Batch {
	Graph *g;
	Node *map;
	Ctx *cx;
	Arena *a;
	const Sym *n;            /* rows */
	Val **val;               /* by id of a value of the body: what stands for it; NULL: nothing yet */
	bool *rows;              /* by id: with all rows in front */
} Batch;

static enum rule
ruleof(const Node *n, int *param)
{
	for (int k = 0; k < COUNT(rules); k++)
		if (strcmp(rules[k].name, n->op->name) == 0) {
			*param = rules[k].param;
			return rules[k].rule;
		}
	*param = 0;
	return n->op->flags & OP(Pointwise) && n->nout == 1 ? Point : None;
}

static bool
hasrows(const Batch *b, const Arg *a)
{
	if (a->kind == ArgVal)
		return b->rows[a->use->val->id];
	for (int k = 0; a->kind == ArgList && k < a->list.n; k++)
		if (hasrows(b, &a->list.v[k]))
			return true;
	return false;
}

static bool
noderows(const Batch *b, const Node *n)
{
	for (int k = 0; k < n->narg; k++)
		if (hasrows(b, &n->arg[k]))
			return true;
	return false;
}

/* ---- may it be done? ------------------------------------------------------------------- */

/* A row that is a number does not change the dtype of what it meets; all of them would. */
static bool
promotes(const Batch *b, const Node *n)
{
	const Type *one = NULL;
	bool number = false, differ = false;

	for (int k = 0; k < n->narg; k++) {
		const Type *t = n->arg[k].kind == ArgVal ? n->arg[k].use->val->type : NULL;
		if (!t || t->kind != TyTensor)
			continue;
		number |= t->rank == 0 && hasrows(b, &n->arg[k]);
		differ |= one && one->dt != t->dt;
		one = t;
	}
	return number && differ;
}

/* What a rule does not do: rows where it does not look for them, and numbers that are read. */
static bool
fits(const Batch *b, const Node *n)
{
	int param;
	enum rule r = ruleof(n, &param);
	const Type *t = n->nout == 1 ? n->out[0].type : NULL;

	if (!t || t->kind != TyTensor || n->op->flags & (OP(Effect) | OP(Random) | OP(Hop) | OP(Mutates) | OP(Dynamic)))
		return false;
	const Type *in = n->narg && n->arg[0].kind == ArgVal ? n->arg[0].use->val->type : NULL;
	if (r == None || (r == Point && promotes(b, n)) || (r != Point && (!in || in->kind != TyTensor)))
		return false;
	if (in && in->rank == 0 && (r == All || r == Dims || (r == Dim && t->rank == 0)))
		return false;
	if (r == Dims && (n->arg[param].kind != ArgList || n->arg[param].list.n == 0))      /* of all */
		return false;
	if (r == Put && (n->arg[1].kind != ArgList || !hasrows(b, &n->arg[0])))
		return false;
	for (int k = 0; r == Put && k < n->arg[1].list.n; k++)
		if (n->arg[1].list.v[k].kind != ArgVal || n->arg[1].list.v[k].use->val->type->dt == DtB8)
			return false;
	for (int k = 1; k < n->narg; k++)
		if (r != Point && r != Put && hasrows(b, &n->arg[k]))
			return false;
	return r == Put || r == Point || hasrows(b, &n->arg[0]);
}

static bool
possible(Batch *b, Graph *g, int nx)
{
	int seen = 0;

	FOREACH_NODE(g, n) {
		bool any = n->op == &opplaceholder ? seen++ < nx : noderows(b, n);
		if (n == g->last)
			return hop_results(g).n == 1 && hop_results(g).v[0].kind == ArgVal;
		if (any && n->op != &opplaceholder && !fits(b, n))
			return false;
		if (n->op->flags & OP(Leaf) && n->op != &opplaceholder)
			return false;
		for (int k = 0; k < n->nout; k++)
			b->rows[n->out[k].id] = any;
	}
	return false;
}

/* ---- doing it ----------------------------------------------------------------------------- */

static Val *
add(Batch *b, const char *op, const Arg *arg, int n)
{
	Node *made = hop_add(b->g, op, arg, n, b->map);

	if (made)
		node_inherit(made, b->map);
	return made ? &made->out[0] : NULL;
}

/* v with ones between the rows and its dimensions, so that it has `rank` of these. */
static Val *
padded(Batch *b, Val *v, int rank)
{
	Arg *size = NEWN(b->a, Arg, rank + 2);
	int have = v->type->rank - 1, at = 0;

	if (have >= rank)
		return v;
	size[at++] = arg_sym(v->type->dim[0]);
	for (int k = have; k < rank; k++)
		size[at++] = arg_int(b->cx, 1);
	for (int k = 1; k <= have; k++)
		size[at++] = arg_sym(v->type->dim[k]);
	return add(b, "aten.view.default", (Arg[]){arg_val(v), arg_list(b->a, size, at)}, 2);
}

static int
mostdims(const Arg *a)
{
	int most = 0, k;

	if (a->kind == ArgVal)
		return a->use->val->type->rank;
	for (int i = 0; a->kind == ArgList && i < a->list.n; i++)
		most = (k = mostdims(&a->list.v[i])) > most ? k : most;
	return most;
}

/* a, its values replaced, those with rows padded to `rank`. */
static bool
replaced(Batch *b, const Arg *a, int rank, Arg *out)
{
	*out = *a;
	if (a->kind == ArgVal) {
		Val *v = b->val[a->use->val->id];
		if (v && b->rows[a->use->val->id])
			v = padded(b, v, rank);
		if (v)
			*out = arg_val(v);
		return v != NULL;
	}
	if (a->kind != ArgList)
		return true;
	out->list.v = NEWN(b->a, Arg, a->list.n + 1);
	for (int k = 0; k < a->list.n; k++)
		if (!replaced(b, &a->list.v[k], rank, &out->list.v[k]))
			return false;
	return true;
}

static Arg
shifted(Batch *b, const Arg *a, int rank)
{
	int64_t k;
	Arg r = *a;

	if (a->kind == ArgInt && sym_isconst(a->i, &k))
		return arg_int(b->cx, (k < 0 ? k + rank : k) + 1);
	if (a->kind != ArgList)
		return r;
	r.list.v = NEWN(b->a, Arg, a->list.n + 1);
	for (int i = 0; i < a->list.n; i++)
		r.list.v[i] = shifted(b, &a->list.v[i], rank);
	return r;
}

/* [first, *list] */
static Arg
front(Batch *b, Arg first, const Arg *list)
{
	Arg *v = NEWN(b->a, Arg, list->list.n + 2);

	v[0] = first;
	memcpy(v + 1, list->list.v, sizeof *v * (size_t)list->list.n);
	return arg_list(b->a, v, list->list.n + 1);
}

/* The number of each row, as an index in front of the others. */
static bool
rownumbers(Batch *b, int rank, Arg *out)
{
	Val *v = add(b, "aten.arange.default", (Arg[]){arg_sym(b->n)}, 1);

	for (int k = 0; v && k < rank; k++)
		v = add(b, "aten.unsqueeze.default", (Arg[]){arg_val(v), arg_int(b->cx, -1)}, 2);
	if (v)
		*out = arg_val(v);
	return v != NULL;
}

static bool
allrows(Batch *b, Node *n, Arg *arg, int *narg, const OpDef **op)
{
	int param, rank = n->arg[0].kind == ArgVal ? n->arg[0].use->val->type->rank : 0;
	Arg *dim, first;

	switch (ruleof(n, &param)) {
	case Dim:
		arg[param] = shifted(b, &n->arg[param], rank + (strcmp(n->op->name, "aten.unsqueeze.default") == 0));
		return true;
	case Dims:
		arg[param] = shifted(b, &n->arg[param], rank);
		if (strcmp(n->op->name, "aten.permute.default") == 0)
			arg[param] = front(b, arg_int(b->cx, 0), &arg[param]);
		return true;
	case Size:
		arg[param] = front(b, arg_sym(b->n), &n->arg[param]);
		return true;
	case All:
		dim = NEWN(b->a, Arg, rank + 1);
		for (int k = 0; k < rank; k++)
			dim[k] = arg_int(b->cx, k + 1);
		arg[3] = *narg > 1 ? arg[1] : arg_none();
		arg[1] = arg_list(b->a, dim, rank);
		arg[2] = arg_bool(false);
		*narg = 4;
		*op = op_find("aten.sum.dim_IntList");
		return rank > 0;
	case Put:
		if (!rownumbers(b, mostdims(&n->arg[1]), &first))
			return false;
		arg[1] = front(b, first, &arg[1]);
		return true;
	default:
		return true;
	}
}

static bool
copied(Batch *b, Node *n)
{
	Arg *arg = NEWN(b->a, Arg, n->narg + 4);
	const OpDef *op = n->op;
	int param, rank = 0, narg = n->narg, k;
	enum rule r = ruleof(n, &param);
	Node *m;

	for (int i = 0; r == Point && i < n->narg; i++)
		rank = (k = mostdims(&n->arg[i])) > rank ? k : rank;
	if (r == Put)
		rank = mostdims(&n->arg[1]);
	if (strcmp(op->name, "aten.expand.default") == 0)
		rank = n->arg[1].list.n;
	for (int i = 0; i < n->narg; i++) {
		int behind = r == Put && i == 2 ? n->arg[0].use->val->type->rank - n->arg[1].list.n : 0;    /* what no index picks */
		if (!replaced(b, &n->arg[i], r == Put && i == 0 ? 0 : rank + behind, &arg[i]))
			return false;
	}
	if (noderows(b, n) && !allrows(b, n, arg, &narg, &op))
		return false;
	m = node_new(b->g, op, arg, narg, n->nout, b->map, n->loc);
	node_inherit(m, n);
	for (int i = 0; i < n->nout; i++)
		b->val[n->out[i].id] = &m->out[i];
	if (noderows(b, n))
		return node_infer(m);
	for (int i = 0; i < n->nout; i++)
		m->out[i].type = n->out[i].type;
	return true;
}

/* A result that no row is part of is the same for all. */
static Val *
result(Batch *b, const Val *of)
{
	Val *v = b->val[of->id];
	Arg *size = NEWN(b->a, Arg, of->type->rank + 2);

	if (b->rows[of->id])
		return v;
	size[0] = arg_sym(b->n);
	for (int k = 0; k < of->type->rank; k++)
		size[k + 1] = arg_sym(of->type->dim[k]);
	v = add(b, "aten.unsqueeze.default", (Arg[]){arg_val(v), arg_int(b->cx, 0)}, 2);
	return v ? add(b, "aten.expand.default", (Arg[]){arg_val(v), arg_list(b->a, size, of->type->rank + 1)}, 2) : NULL;
}

static bool
batch(Node *map)
{
	Graph *body[MaxHopGraphs];
	HopList xs = hop_rows(map), rest = hop_rest(map);
	Batch b = {.g = map->graph, .map = map, .cx = map->graph->cx, .a = map->graph->arena, .n = hop_length(map)};
	int at = 0;
	Val *v;

	if (hop_graphs(map, body) != 1 || !b.n || map->nout != 1)
		return true;
	b.val = NEWN(b.a, Val *, body[0]->nval + 1);
	b.rows = NEWN(b.a, bool, body[0]->nval + 1);
	if (!possible(&b, body[0], xs.n))
		return true;
	FOREACH_NODE(body[0], n) {
		if (n == body[0]->last)
			break;
		if (n->op == &opplaceholder) {
			const Arg *a = at < xs.n ? &xs.v[at] : at - xs.n < rest.n ? &rest.v[at - xs.n] : NULL;
			if (!a || a->kind != ArgVal)
				return true;
			b.val[n->out[0].id] = a->use->val;
			at++;
		} else if (!copied(&b, n))
			return false;
	}
	if (!(v = result(&b, hop_results(body[0]).v[0].use->val)))
		return false;
	val_replace(&map->out[0], v);
	node_delete(map);
	return true;
}

bool
hop_batch(Module *m)
{
	for (int k = m->sub.n - 1; k >= -1; k--)               /* inner ones were read later */
		for (Node *n = (k < 0 ? m->main : m->sub.v[k])->first, *next; n; n = next) {
			next = n->next;
			if (hop_kind(n->op) == HopMap && n->tag && strcmp(n->tag, "vmap") == 0 && !batch(n))
				return false;
		}
	return true;
}
