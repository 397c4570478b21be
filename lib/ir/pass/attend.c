/* attend.c - the operator for attention that was found, and its operands.
 *
 * The scores of the operator lie as they did where they first met a mask (where
 * there is none: before softmax): moves of dimensions before that are done to
 * queries and keys, the ones behind it are done to the result, and undone on
 * values and masks.  What was done to the scores, from the product on, is
 *
 *     keep ? scale*(q @ k.T) + bias : other
 *
 * at every step; a step changes these four.
 */
#include "ir/lang.h"
#include "ir/pass/attention.h"

typedef struct Making {
	Attention *t;
	Node *at;                       /* where nodes are made: before it */
	Val  *q, *k, *bias, *keep, *other;
	double scale;
	VEC(Node *) behind;             /* moves behind the first mask, then down to the last product */
	bool  ok;
} Making;

/* ---- building ------------------------------------------------------------------------------ */

/* An operator that is made of others is expanded at once, as all of the graph is.  dt: its dtype; DtNone: none is given. */
static Val *
calldt(Making *m, const char *name, const Arg *pos, int npos, enum dtype dt)
{
	Graph *g = m->t->g;
	const OpDef *op = op_find(name);
	Arg arg[16];
	Val **res;
	int nres;
	Str key = intern_str(g->cx, "dtype");
	Arg kw = arg_dtype(dt);

	if (!m->ok || !(m->ok = op_bind(g->cx, m->at->loc, op, pos, npos, &key, &kw, dt != DtNone, arg)))
		return NULL;
	Node *n = node_new(g, op, arg, op->nparam, op->nret, m->at, m->at->loc), *before = n->prev;
	node_inherit(n, m->t->last);
	if (!(m->ok = node_infer(n)))
		return NULL;
	if (!node_composite(n))
		return &n->out[0];
	if (!(m->ok = expand_op(g, op, n->arg, n->loc, n, &res, &nres)))
		return NULL;
	for (Node *e = before ? before->next : g->first; e != n; e = e->next)
		node_inherit(e, m->t->last);
	node_delete(n);
	return res[0];
}

static Val *
call(Making *m, const char *name, const Arg *pos, int npos)
{
	return calldt(m, name, pos, npos, DtNone);
}

static Val *
call1(Making *m, const char *name, Val *v)
{
	Arg a = v ? arg_val(v) : arg_none();

	return m->ok ? call(m, name, &a, 1) : NULL;
}

static Val *
call2(Making *m, const char *name, Val *v, Arg b)
{
	return m->ok ? call(m, name, (Arg[]){arg_val(v), b}, 2) : NULL;
}

static Arg
detached(const Arg *a)
{
	return a->kind == ArgVal ? arg_val(a->use->val) : *a;
}

/* A number as a tensor of the dtype that the scores have. */
static Val *
tensor(Making *m, const Arg *a)
{
	return a->kind == ArgVal ? a->use->val
	       : calldt(m, "aten.scalar_tensor.default", a, 1, dt_acc(m->t->scores->type->dt));
}

/* ---- moves -------------------------------------------------------------------------------------- */

static Val *
shaped(Making *m, const char *name, Val *v, const Sym *const *batch, int nbatch, const Type *tail)
{
	Arg dim[MaxRank];
	int n = 0;

	for (int d = 0; d < nbatch; d++)
		dim[n++] = arg_sym(batch[d]);
	for (int d = tail->rank - 2; d < tail->rank; d++)
		dim[n++] = arg_sym(tail->dim[d]);
	bool same = v->type->rank == n;
	for (int d = 0; same && d < n; d++)
		same = sym_eq(v->type->dim[d], dim[d].i);
	return same ? v : call2(m, name, v, arg_list(m->t->g->arena, dim, n));
}

static Val *
permuted(Making *m, const Node *n, Val *v, bool back)
{
	const Arg *p = &n->arg[1];
	Arg to[MaxRank];
	int64_t k;

	for (int d = 0; d < p->list.n; d++) {
		if (!sym_isconst(p->list.v[d].i, &k))
			return NULL;
		k += k < 0 ? p->list.n : 0;
		to[back ? k : d] = arg_int(m->t->cx, back ? d : k);
	}
	return call2(m, "aten.permute.default", v, arg_list(m->t->g->arena, to, p->list.n));
}

/* What n does to the first dimensions of scores, done to (back: undone on) those of v. */
static Val *
moved(Making *m, const Node *n, Val *v, bool back)
{
	const Type *to = back ? arg_tensor(n, 0)->type : n->out[0].type;

	if (v == NULL || attention_moves(n) != MovesRows)
		return v;
	if (strcmp(n->op->name, "aten.permute.default") == 0)
		return permuted(m, n, v, back);
	return shaped(m, "aten.reshape.default", v, to->dim, to->rank - 2, v->type);
}

/* v, as it meets scores after the first `count` moves behind the mask, where the operator has it. */
static Val *
undone(Making *m, Val *v, int count)
{
	bool moves = false;

	for (int i = 0; i < count; i++)
		moves |= attention_moves(m->behind.v[i]) == MovesRows;
	if (!moves || v == NULL)
		return v;
	const Type *s = m->behind.v[count - 1]->out[0].type;
	while (m->ok && v->type->rank < 2)
		v = call2(m, "aten.unsqueeze.default", v, arg_int(m->t->cx, 0));
	v = m->ok ? shaped(m, "aten.expand.default", v, s->dim, s->rank - 2, v->type) : NULL;
	for (int i = count; i-- > 0 && m->ok; )
		v = moved(m, m->behind.v[i], v, true);
	return v;
}

/* ---- steps ---------------------------------------------------------------------------------------- */

static bool
known(const Arg *a, double *k)
{
	int64_t i;

	if (a->kind == ArgVal) {
		const Node *n = a->use->val->def;
		bool full = attention_named(n, (const char *const[]){"aten.full.default"}, 1) && n->arg[0].list.n == 0;
		return (full && known(&n->arg[1], k)) ||
		       (attention_named(n, (const char *const[]){"aten.scalar_tensor.default"}, 1) && known(&n->arg[0], k));
	}
	if (a->kind == ArgInt && sym_isconst(a->i, &i)) {
		*k = (double)i;
		return true;
	}
	*k = a->f;
	return a->kind == ArgFloat;
}

/* Scores times, or over, f. */
static void
scaled(Making *m, const Arg *f, bool over)
{
	const char *op = over ? "aten.div.Tensor" : "aten.mul.Tensor";
	double k;

	if (m->bias)
		m->bias = call2(m, op, m->bias, detached(f));
	if (m->other)
		m->other = call2(m, op, m->other, detached(f));
	if (known(f, &k))
		m->scale = over ? m->scale / k : m->scale * k;
	else if (m->ok)
		m->q = call2(m, op, m->q, arg_val(undone(m, tensor(m, f), m->behind.n)));
}

static void
added(Making *m, const Arg *a, bool minus)
{
	Val *b = undone(m, tensor(m, a), m->behind.n);

	b = minus ? call1(m, "aten.neg.default", b) : b;
	if (m->ok && m->other)
		m->other = call2(m, "aten.add.Tensor", m->other, arg_val(b));
	m->bias = m->ok && m->bias ? call2(m, "aten.add.Tensor", m->bias, arg_val(b)) : b;
}

/* Scores where keep (or where not), else x. */
static void
masked(Making *m, Val *keep, const Arg *x, bool unless)
{
	Val *other = undone(m, tensor(m, x), m->behind.n);

	keep = undone(m, keep, m->behind.n);
	if (m->ok && unless)
		keep = call1(m, "aten.logical_not.default", keep);
	if (m->ok && m->keep) {
		other = call(m, "aten.where.self", (Arg[]){arg_val(keep), arg_val(m->other), arg_val(other)}, 3);
		keep = call2(m, "aten.logical_and.default", m->keep, arg_val(keep));
	}
	m->keep = keep;
	m->other = other;
}

static void
step(Making *m, const Stage *s)
{
	const Node *n = s->n;
	const char *name = n->op->name + 5;
	const Arg *rest = &n->arg[s->arm ? 0 : 1];

	if (attention_moves(n) != MovesNot) {
		if (m->bias || m->keep) {
			vec_push(m->t->a, &m->behind, s->n);
		} else {
			m->q = moved(m, n, m->q, false);
			m->k = moved(m, n, m->k, false);
		}
	} else if (strncmp(name, "mul", 3) == 0 || strncmp(name, "div", 3) == 0) {
		scaled(m, rest, *name == 'd');
	} else if (strncmp(name, "add", 3) == 0 || strncmp(name, "sub", 3) == 0) {
		added(m, rest, *name == 's');
	} else if (strncmp(name, "where", 5) == 0) {
		masked(m, arg_tensor(n, 0), &n->arg[3 - s->arm], s->arm == 2);
	} else if (strncmp(name, "masked_fill", 11) == 0) {
		masked(m, arg_tensor(n, 1), &n->arg[2], true);
	}
}

/* The first product: queries, keys; beta*self + alpha*product. */
static void
product(Making *m)
{
	const Node *n = m->t->first;
	int a = n->op->nparam > 3 ? 1 : 0, r;
	Val *kt = arg_tensor(n, a + 1);
	Arg order[3];
	double alpha = 1, beta = 0;

	r = kt->type->rank;
	m->q = arg_tensor(n, a);
	for (int d = 0; d < r; d++)
		order[d] = arg_int(m->t->cx, d < r - 2 ? d : 2*r - 3 - d);
	m->k = call2(m, "aten.permute.default", kt, arg_list(m->t->g->arena, order, r));
	if (a == 0)
		return;
	known(node_arg(n, "beta"), &beta);
	known(node_arg(n, "alpha"), &alpha);
	m->scale = alpha;
	if (beta != 0)
		m->bias = arg_tensor(n, 0);
	if (beta != 0 && beta != 1)
		m->bias = call2(m, "aten.mul.Tensor", m->bias, *node_arg(n, "beta"));
}

/* ---- the operator ----------------------------------------------------------------------------------- */

/* What dropout keeps is drawn where dropout stood, so that it draws the same numbers. */
static Val *
kept(Making *m, Node *drop)
{
	const Type *t = drop->out[0].type;
	Node *at = m->at;
	Arg dim[MaxRank];
	Val *v;

	for (int d = 0; d < t->rank; d++)
		dim[d] = arg_sym(t->dim[d]);
	m->at = drop;
	v = call(m, "fxcc.kept", (Arg[]){arg_list(m->t->g->arena, dim, t->rank), drop->arg[1]}, 2);
	if (v)
		v->def->stream = drop->stream;
	m->at = at;
	return v;
}

static bool
isdrop(const Node *n)
{
	return n->graph->mod->rng != RngZero && strcmp(n->op->name, "aten.native_dropout.default") == 0 && !(n->arg[2].kind == ArgBool && !n->arg[2].b) && n->arg[1].f > 0;
}

static Arg
optional(Val *v)
{
	return v ? arg_val(v) : arg_none();
}

bool
attention_make(Attention *t)
{
	Making m = {.t = t, .at = t->last, .scale = 1, .ok = true};
	Val *drop = NULL, *v, *r;
	double p = 0;

	product(&m);
	for (int i = t->up.n; i-- > 0 && m.ok; )
		step(&m, &t->up.v[i]);
	for (int i = 0; i < t->down.n && m.ok; i++) {
		Node *n = t->down.v[i];
		if (isdrop(n)) {
			p = n->arg[1].f;
			drop = undone(&m, kept(&m, n), m.behind.n);
		}
		vec_push(t->a, &m.behind, n);
	}
	v = arg_tensor(t->last, 1);
	for (int i = m.behind.n; i-- > 0 && m.ok; )
		v = moved(&m, m.behind.v[i], v, true);
	if (!m.ok)
		return false;
	r = call(&m, "fxcc.attention", (Arg[]){arg_val(m.q), arg_val(m.k), arg_val(v), optional(m.bias), optional(m.keep), optional(m.other),
	         optional(drop), arg_float(m.scale), arg_float(p), arg_bool(false), arg_bool(t->safe)}, 11);
	for (int i = 0; i < m.behind.n && m.ok; i++)
		r = moved(&m, m.behind.v[i], r, false);
	if (m.ok)
		val_replace(&t->last->out[0], r);
	return m.ok;
}
