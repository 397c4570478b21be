/* attention.c - one operator for attention that a model spells out.
 *
 *     q @ k.T -> up: scale, bias, mask -> softmax -> down: dropout -> @ v
 *
 * It is found by its structure, from softmax on: up to a product of matrices,
 * down to another, through whatever leaves rows and columns in their places.
 * Softmax is the operator, or its parts (exp of the distance from the largest,
 * over the sum).  Nothing between the two products may have another reader.
 * The pass runs on functional graphs, where matmul, einsum and the like are bmm
 * already; attend.c builds the operator.
 */
#include <math.h>
#include "ir/lang.h"
#include "ir/pass/attention.h"

/* ---- small questions ----------------------------------------------------------------- */

bool
attention_named(const Node *n, const char *const *name, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(n->op->name, name[i]) == 0)
			return true;
	return false;
}
#define IS(n, ...) attention_named(n, (const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})))

static Node *
def(const Node *n, int arg)
{
	const Val *v = arg_tensor(n, arg);

	return v ? v->def : NULL;
}

static bool
isint(const Arg *a, int64_t want, int64_t or)
{
	if (a->kind == ArgList)
		return a->list.n == 1 && isint(&a->list.v[0], want, or);
	return a->kind == ArgInt && (sym_is(a->i, want) || sym_is(a->i, or));
}

static bool
isnumber(const Arg *a, double want)
{
	return (a->kind == ArgFloat && a->f == want) || (a->kind == ArgInt && want == (double)(int64_t)want && sym_is(a->i, (int64_t)want));
}

/* Is argument `arg` of n the last dimension of v? */
static bool
lastdim(const Node *n, int arg, const Val *v)
{
	return v->type->rank > 0 && isint(&n->arg[arg], -1, v->type->rank - 1);
}

static bool
isfloat(const Val *v)
{
	return v->type && v->type->kind == TyTensor && dt_float(v->type->dt);
}

static bool
iscast(const Node *n)
{
	return IS(n, "aten._to_copy.default", "prims.convert_element_type.default", "aten.to.dtype") && isfloat(&n->out[0]) &&
	       arg_tensor(n, 0) && isfloat(arg_tensor(n, 0)) && n->out[0].type->rank == arg_tensor(n, 0)->type->rank;
}

static bool
sametail(const Type *a, const Type *b, int n)
{
	if (a->rank < n || b->rank < n)
		return false;
	for (int d = 1; d <= n; d++)
		if (!sym_eq(a->dim[a->rank - d], b->dim[b->rank - d]))
			return false;
	return true;
}

/* What a node does to the places of elements. */
enum moving
attention_moves(const Node *n)
{
	const Val *v = n->nout == 1 && n->op->nparam ? arg_tensor(n, 0) : NULL;
	const Type *a = v ? v->type : NULL, *b = v ? n->out[0].type : NULL;

	if (!a || !b || a->kind != TyTensor || b->kind != TyTensor || a->dt != b->dt)
		return MovesNot;
	if (IS(n, "aten.clone.default", "aten.alias.default", "aten.detach.default", "aten.contiguous.default"))
		return MovesKeep;
	if (IS(n, "aten.permute.default")) {
		const Arg *p = &n->arg[1];
		return a->rank >= 2 && isint(&p->list.v[a->rank - 1], a->rank - 1, -1) &&
		       isint(&p->list.v[a->rank - 2], a->rank - 2, -2) ? MovesRows : MovesNot;
	}
	if (!IS(n, "aten.view.default", "aten._unsafe_view.default", "aten.reshape.default", "aten.expand.default",
	        "aten.unsqueeze.default", "aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims"))
		return MovesNot;
	if (a->rank == b->rank && sametail(a, b, a->rank))
		return MovesKeep;
	return sametail(a, b, 2) && sym_eq(type_numel(n->graph->cx, a), type_numel(n->graph->cx, b)) ? MovesRows : MovesNot;
}

/* What it is, for messages. */
static Str
called(Attention *t, const Node *n)
{
	return intern_printf(t->cx, "%s (%s)", n->nout ? n->out[0].name : n->name, n->op->name);
}

static bool
no(Attention *t, Str why)
{
	if (t->why == NULL)
		t->why = why;
	return false;
}

static void
take(Attention *t, Node *n)
{
	vec_push(t->a, &t->inside, n);
}

/* ---- softmax ------------------------------------------------------------------------------ */

/* A number for each row, under views that give it the rank of the rows. */
static Node *
rowvalue(Attention *t, const Node *n, int arg, const Val *rows)
{
	Val *v = arg_tensor(n, arg);
	int r = rows->type->rank;

	if (!v || !v->type || v->type->rank != r || r == 0)
		return NULL;
	for (; v && v->def->op->nparam; v = arg_tensor(v->def, 0)) {
		if (!IS(v->def, "aten.expand.default", "aten.view.default", "aten.unsqueeze.default", "aten.alias.default",
		        "aten.detach.default", "aten.clone.default"))
			break;
		take(t, v->def);
	}
	if (!v || v->type->rank < r - 1)
		return NULL;
	for (int d = 0; d < r - 1; d++)
		if (!sym_eq(v->type->dim[d], rows->type->dim[d]))
			return NULL;
	take(t, v->def);
	return v->def;
}

/* n as exp(x - largest of x)/sum: x, or NULL. */
static Val *
parts(Attention *t, Node *n)
{
	Node *e, *sub, *sum, *max;
	Val *x;

	t->inside.n = 0;
	if (!IS(n, "aten.div.Tensor") || !(e = def(n, 0)) || !IS(e, "aten.exp.default"))
		return NULL;
	sum = rowvalue(t, n, 1, &e->out[0]);
	if (!sum || !IS(sum, "aten.sum.dim_IntList") || arg_tensor(sum, 0) != &e->out[0] || !lastdim(sum, 1, &e->out[0]))
		return NULL;
	if (!(sub = def(e, 0)) || !IS(sub, "aten.sub.Tensor") || !isnumber(&sub->arg[2], 1) || !(x = arg_tensor(sub, 0)))
		return NULL;
	max = rowvalue(t, sub, 1, x);
	if (!max || !IS(max, "aten.amax.default", "aten.max.dim") || arg_tensor(max, 0) != x || !lastdim(max, 1, x))
		return NULL;
	take(t, n);
	take(t, e);
	take(t, sub);
	return x;
}

/* Is v true for rows of x that are -inf throughout? */
static bool
deadrows(Attention *t, Node *where, const Val *x)
{
	Node *all = rowvalue(t, where, 0, x), *eq;

	if (all && IS(all, "aten.logical_not.default")) {       /* no element is other than -inf */
		all = def(all, 0);
		if (!all || !IS(all, "aten.any.dim", "aten.any.dims") || !lastdim(all, 1, x))
			return false;
		take(t, all);
		eq = def(all, 0);
		if (eq && IS(eq, "aten.logical_not.default")) {
			take(t, eq);
			eq = def(eq, 0);
		} else if (!eq || !IS(eq, "aten.ne.Scalar")) {
			return false;
		}
	} else if (!all || !IS(all, "aten.all.dim", "aten.all.dims") || !lastdim(all, 1, x)) {
		return false;
	} else {
		eq = def(all, 0);
	}
	if (!eq || !IS(eq, "aten.eq.Scalar", "aten.ne.Scalar") || arg_tensor(eq, 0) != x || !isnumber(&eq->arg[1], -(double)INFINITY))
		return false;
	take(t, eq);
	return true;
}

static bool
nought(const Arg *a)
{
	const Node *n = a->kind == ArgVal ? a->use->val->def : NULL;

	if (!n)
		return isnumber(a, 0);
	if (IS(n, "aten.full.default"))
		return isnumber(&n->arg[1], 0);
	return IS(n, "aten.scalar_tensor.default") && isnumber(&n->arg[0], 0);
}

/* where(dead, 0, softmax) around the parts. */
static void
safety(Attention *t)
{
	Use *u = t->weights->uses;
	int mark = t->inside.n;

	if (!u || u->next || !IS(u->user, "aten.where.ScalarSelf", "aten.where.self") || arg_tensor(u->user, 2) != t->weights ||
	    !nought(&u->user->arg[1]))
		return;
	if (!deadrows(t, u->user, t->scores)) {
		t->inside.n = mark;
		return;
	}
	take(t, u->user);
	t->weights = &u->user->out[0];
	t->safe = true;
}

/* Is n the end of a softmax over the last dimension? */
static bool
softmax(Attention *t, Node *n)
{
	t->safe = IS(n, "aten._safe_softmax.default");
	if (t->safe || IS(n, "aten._softmax.default", "aten.softmax.int")) {
		t->scores = arg_tensor(n, 0);
		if (!t->scores || !lastdim(n, 1, t->scores))
			return false;
		t->inside.n = 0;
		take(t, n);
		t->weights = &n->out[0];
		return true;
	}
	if (!(t->scores = parts(t, n)))
		return false;
	t->weights = &n->out[0];
	safety(t);
	return true;
}

/* ---- down: to the product with values --------------------------------------------------------- */

static bool
drops(Attention *t, const Node *n)
{
	bool trains = n->arg[2].kind != ArgBool || n->arg[2].b;

	if (n->out[1].uses)
		return no(t, "what dropout keeps is read elsewhere");
	if (trains && (n->arg[1].kind != ArgFloat || n->arg[1].f >= 1))
		return no(t, "dropout leaves nothing");
	return true;
}

static bool
down(Attention *t)
{
	for (Val *v = t->weights; ; v = &t->down.v[t->down.n - 1]->out[0]) {
		Node *n = v->uses ? v->uses->user : NULL;

		if (!n || v->uses->next || n->op == &opoutput)
			return no(t, intern_printf(t->cx, "its weights %s are read by more than a product with values", v->name));
		if (IS(n, "aten.bmm.default", "aten.mm.default")) {
			if (arg_tensor(n, 0) != v || arg_tensor(n, 1) == v)
				return no(t, intern_printf(t->cx, "its weights are not the first factor of %s", called(t, n)));
			take(t, t->last = n);
			return true;
		}
		if (IS(n, "aten.native_dropout.default") ? !drops(t, n) : !iscast(n) && attention_moves(n) == MovesNot)
			return no(t, intern_printf(t->cx, "%s stands between softmax and a product with values", called(t, n)));
		take(t, n);
		vec_push(t->a, &t->down, n);
	}
}

/* ---- up: to the product of queries and keys ------------------------------------------------------ */

/* Does n keep the shape of its operand number arm? */
static bool
keepsshape(const Node *n, int arm)
{
	const Val *v = arg_tensor(n, arm);

	return v && isfloat(v) && v->type->rank == n->out[0].type->rank && sametail(v->type, n->out[0].type, v->type->rank);
}

/* A factor that is the same for all elements of a row and of a column. */
static bool
uniform(const Arg *a)
{
	const Type *t = a->kind == ArgVal ? a->use->val->type : NULL;

	if (!t)
		return a->kind == ArgFloat || a->kind == ArgInt;
	return (t->rank < 1 || sym_is(t->dim[t->rank - 1], 1)) && (t->rank < 2 || sym_is(t->dim[t->rank - 2], 1));
}

/* The operands of n that may be the scores, as bits. */
static int
arms(Attention *t, const Node *n)
{
	if (iscast(n) || attention_moves(n) != MovesNot)
		return 1;
	if (IS(n, "aten.mul.Tensor", "aten.mul.Scalar"))
		return (uniform(&n->arg[1]) ? 1 : 0) | (uniform(&n->arg[0]) ? 2 : 0);
	if (IS(n, "aten.div.Tensor", "aten.div.Scalar"))
		return uniform(&n->arg[1]) ? 1 : 0;
	if (IS(n, "aten.add.Tensor", "aten.add.Scalar", "aten.sub.Tensor", "aten.sub.Scalar")) {
		if (!isnumber(&n->arg[2], 1))
			return no(t, intern_printf(t->cx, "%s has a factor", called(t, n)));
		return n->op->name[5] == 'a' ? 3 : 1;
	}
	if (IS(n, "aten.where.self", "aten.where.ScalarSelf", "aten.where.ScalarOther"))
		return 6;
	return IS(n, "aten.masked_fill.Scalar", "aten.masked_fill.Tensor") ? 1 : 0;
}

static bool up(Attention *, Val *, int depth);

static bool
through(Attention *t, Node *n, int arm, int depth)
{
	int mark = t->up.n;

	if (attention_moves(n) == MovesNot && !keepsshape(n, arm))
		return false;
	vec_push(t->a, &t->up, ((Stage){n, arm}));
	if (up(t, arg_tensor(n, arm), depth + 1))
		return true;
	t->up.n = mark;
	return false;
}

static bool
up(Attention *t, Val *v, int depth)
{
	Node *n = v->def;
	int a;

	if (n->op->flags & OP(Leaf) || depth > 64)
		return false;
	if (IS(n, "aten.bmm.default", "aten.mm.default", "aten.baddbmm.default")) {
		t->first = n;
		return true;
	}
	a = arms(t, n);
	for (int arm = 0; arm < 3; arm++)
		if (a & 1 << arm && through(t, n, arm, depth))
			return true;
	if (!a)
		no(t, intern_printf(t->cx, "%s stands between a product of queries and keys and softmax", called(t, n)));
	return false;
}

/* ---- is it attention? ------------------------------------------------------------------------------ */

static bool
isinside(const Attention *t, const Node *n)
{
	for (int i = 0; i < t->inside.n; i++)
		if (t->inside.v[i] == n)
			return true;
	return false;
}

/* Everything but the result is for itself alone, and was recorded alike. */
static bool
closed(Attention *t)
{
	for (int i = 0; i < t->inside.n; i++) {
		Node *n = t->inside.v[i];
		if (n->region != t->last->region || n->acgraph != t->last->acgraph)
			return no(t, intern_printf(t->cx, "%s is in another region", called(t, n)));
		for (int k = 0; k < n->nout && n != t->last; k++)
			for (Use *u = n->out[k].uses; u; u = u->next)
				if (!isinside(t, u->user))
					return no(t, u->user->op == &opoutput ? intern_printf(t->cx, "%s is a result", n->out[k].name)
					             : intern_printf(t->cx, "%s is read by %s too", n->out[k].name, called(t, u->user)));
	}
	return true;
}

/* Nothing is computed more exactly than the operator would. */
static bool
dtypes(Attention *t)
{
	const Val *q = arg_tensor(t->first, t->first->op->nparam > 3 ? 1 : 0);
	enum dtype acc = dt_acc(q->type->dt);

	if (!isfloat(q))
		return no(t, intern_printf(t->cx, "queries are of %s", dtypeinfo[q->type->dt].text));
	for (int i = 0; i < t->inside.n; i++) {
		const Type *ty = t->inside.v[i]->out[0].type;
		if (ty->dt != DtB8 && (!dt_float(ty->dt) || dtypeinfo[ty->dt].bytes > dtypeinfo[acc].bytes) && t->inside.v[i] != t->last)
			return no(t, intern_printf(t->cx, "%s is of %s", t->inside.v[i]->out[0].name, dtypeinfo[ty->dt].text));
	}
	return true;
}

/* Of few queries or keys the parts are faster. */
static bool
worth(Attention *t)
{
	int a = t->first->op->nparam > 3 ? 1 : 0;
	const Type *q = arg_tensor(t->first, a)->type, *k = arg_tensor(t->first, a + 1)->type, *v = arg_tensor(t->last, 1)->type;
	const Sym *size[] = {q->dim[q->rank - 2], k->dim[k->rank - 1], q->dim[q->rank - 1], v->dim[v->rank - 1]};

	return table_holds(t->g, t->last->loc, op_find("fxcc.attention"), "attention_found(queries, keys, columns, valuecolumns)",
	                   (const char *const[]){"queries", "keys", "columns", "valuecolumns"}, size, 4) ||
	       no(t, "there are too few queries or keys to gain by it");
}

static bool
attention(Attention *t, bool *near)
{
	bool below = down(t), above = up(t, t->scores, 0);

	*near = below || above;
	if (!below || !above)
		return no(t, "no product of queries and keys leads to it");
	for (int i = 0; i < t->up.n; i++)
		take(t, t->up.v[i].n);
	take(t, t->first);
	return closed(t) && dtypes(t) && worth(t);
}

/* ---- the report -------------------------------------------------------------------------------------- */

typedef struct Notes { VEC(Str) found, missed; } Notes;
static const char noteskey;

static void
remark(Attention *t, bool found)
{
	Notes *w = ctx_slot(t->cx, &noteskey, sizeof *w);
	Str py = loc_python(t->cx, t->weights->def->loc), at = loc_str(t->cx, t->weights->def->loc);

	if (found)
		vec_push(ctx_arena(t->cx), &w->found, intern_printf(t->cx, "%s: %s to %s are one attention%s%s", at,
		         t->first->out[0].name, t->last->out[0].name, py ? "  # " : "", py ? py : ""));
	else
		vec_push(ctx_arena(t->cx), &w->missed, intern_printf(t->cx, "%s: softmax %s is not made attention: %s%s%s", at,
		         t->weights->name, t->why, py ? "  # " : "", py ? py : ""));
}

void
attention_report(Ctx *cx, FILE *f, bool found, bool missed)
{
	Notes *w = ctx_slot(cx, &noteskey, sizeof *w);

	for (int i = 0; found && i < w->found.n; i++)
		fprintf(f, "%s\n", w->found.v[i]);
	for (int i = 0; missed && i < w->missed.n; i++)
		fprintf(f, "%s\n", w->missed.v[i]);
}

bool
pass_attention(Graph *g)
{
	Arena *a = arena_new();
	bool changed = false, ok = true;

	for (Node *n = g->first; n && ok && g->mod->decomp == DecompNative; n = n->next) {
		Attention t = {.g = g, .cx = g->cx, .a = a};
		bool near;
		if (n->nout != 1 || n->op->flags & OP(Leaf) || !softmax(&t, n))
			continue;
		if (attention(&t, &near)) {
			remark(&t, true);
			ok = attention_make(&t);
			changed = true;
		} else if (near) {
			remark(&t, false);
		}
	}
	arena_free(a);
	return ok && (!changed || pass_dce(g));
}
