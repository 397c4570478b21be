/* hop.c - higher-order operators that stay: what they are, and the types of their results.
 *
 * A higher-order operator (`is hop opaque`, hop.op) runs its sub-graphs when the model runs:
 * one of several, one again and again, or the same one from many places.  Its operands are
 * those of the sub-graphs, in order:
 *
 *   cond, switch, invoke_subgraph   operands
 *   while_loop and its like         carried values, then additional inputs
 *   scan                            carried values, a row of each xs, additional inputs
 *   associative_scan                two rows of each xs, additional inputs
 *   map_impl                        a row of each xs, other arguments
 *
 * A sub-graph may be called from several places with other sizes: the types of its results
 * are those that it has, with the sizes of its parameters replaced by the operands'.
 */
#include "ir/hop.h"
#include "ir/lang.h"

enum hopkind
hop_kind(const OpDef *op)
{
	static const char *const name[NHop] = {
		[HopCond] = "cond", [HopSwitch] = "switch", [HopWhile] = "while_loop",
		[HopWhileStack] = "while_loop_stack_output", [HopWhileKeep] = "while_loop_keep", [HopMap] = "map_impl", [HopScan] = "scan",
		[HopAssociative] = "associative_scan", [HopInvoke] = "invoke_subgraph",
		[HopPrint] = "print", [HopEffects] = "with_effects", [HopCustom] = "auto_functionalized_v2",
		[HopFunction] = "autograd_function_apply",
	};
	static const char prefix[] = "higher_order.";

	if (!(op->flags & OP(Hop)) || strncmp(op->name, prefix, sizeof prefix - 1) != 0)
		return HopNone;
	for (int k = HopNone + 1; k < NHop; k++)
		if (strcmp(op->name + sizeof prefix - 1, name[k]) == 0)
			return (enum hopkind)k;
	return HopNone;
}

bool
hop_isloop(const Node *n)
{
	enum hopkind k = hop_kind(n->op);

	return k >= HopWhile && k <= HopAssociative;
}

/* ---- parts ------------------------------------------------------------------------- */

static void
graphs(const Arg *a, Graph **g, int *n)
{
	if (a->kind == ArgGraph && *n < MaxHopGraphs)
		g[(*n)++] = a->graph;
	for (int k = 0; a->kind == ArgList && k < a->list.n; k++)
		graphs(&a->list.v[k], g, n);
}

int
hop_graphs(const Node *n, Graph *g[MaxHopGraphs])
{
	int count = 0;

	for (int k = 0; k < n->narg; k++)
		graphs(&n->arg[k], g, &count);
	return count;
}

/* A list, or one thing as a list of one. */
static HopList
aslist(const Node *n, const char *name)
{
	const Arg *a = node_arg(n, name);

	if (a == NULL || a->kind == ArgNone)
		return (HopList){NULL, 0};
	return a->kind == ArgList ? (HopList){a->list.v, a->list.n} : (HopList){a, 1};
}

HopList
hop_operands(const Node *n)
{
	return aslist(n, "operands");
}

HopList
hop_carried(const Node *n)
{
	enum hopkind k = hop_kind(n->op);

	return aslist(n, k == HopScan ? "init" : k == HopAssociative ? "xs" : "carried_inputs");
}

HopList
hop_rows(const Node *n)
{
	return aslist(n, "xs");
}

HopList
hop_rest(const Node *n)
{
	return aslist(n, hop_kind(n->op) == HopMap ? "pos_args" : "additional_inputs");
}

bool
hop_isreverse(const Node *n)
{
	const Arg *a = hop_kind(n->op) == HopScan ? node_arg(n, "reverse") : NULL;

	return a && a->kind == ArgBool && a->b;
}

const Type *
hop_rowtype(Ctx *cx, const Type *t)
{
	return type_tensor(cx, t->dt, t->rank - 1, t->dim + 1);
}

const Sym *
hop_length(const Node *n)
{
	HopList xs = hop_rows(n);

	for (int k = 0; k < xs.n; k++)
		if (xs.v[k].kind == ArgVal && xs.v[k].use->val->type->rank > 0)
			return xs.v[k].use->val->type->dim[0];
	return NULL;
}

HopList
hop_results(const Graph *g)
{
	const Arg *a = g->last && g->last->narg ? &g->last->arg[0] : NULL;

	if (a == NULL)
		return (HopList){NULL, 0};
	return a->kind == ArgList ? (HopList){a->list.v, a->list.n} : (HopList){a, 1};
}

int
hop_params(const Graph *g, Val **v, int most)
{
	int n = 0;

	FOREACH_NODE(g, p)
		if (p->op == &opplaceholder) {
			if (n < most)
				v[n] = &p->out[0];
			n++;
		}
	return n;
}

void
hop_adopt(Module *m, Graph *g)
{
	Graph *v[MaxHopGraphs];

	for (int k = 0; k < m->sub.n; k++)
		if (m->sub.v[k] == g)
			return;
	vec_push(ctx_arena(m->cx), &m->sub, g);
	FOREACH_NODE(g, n)
		for (int k = n->op->flags & OP(Hop) ? hop_graphs(n, v) : 0; k-- > 0; )
			hop_adopt(m, v[k]);
}

/* ---- types ---------------------------------------------------------------------------- */

/* What the parameters of g are called with: sizes that are theirs alone become the operands'. */
static void
rename1(Ctx *cx, Renaming *r, const Sym *from, const Sym *to)
{
	if (from->kind != SymVar || from == to)
		return;
	for (int k = 0; k < r->var.n; k++)
		if (r->var.v[k] == from)
			return;
	vec_push(ctx_arena(cx), &r->var, from);
	vec_push(ctx_arena(cx), &r->with, to);
}

static void
renaming(Ctx *cx, Renaming *r, const Type *param, const Arg *a)
{
	const Type *t = a->kind == ArgVal ? a->use->val->type : NULL;

	if (param == NULL)
		return;
	if (param->kind == TySym && a->kind == ArgInt)
		rename1(cx, r, param->sym, a->i);
	for (int d = 0; t && param->kind == TyTensor && t->kind == TyTensor && t->rank == param->rank && d < t->rank; d++)
		rename1(cx, r, param->dim[d], t->dim[d]);
}

static bool
typed(Node *n, int k, const Type *t)
{
	if (k >= n->nout)
		return true;
	if (t && t->kind == TyTensor && t->stride)
		t = type_tensor(n->graph->cx, t->dt, t->rank, t->dim);
	n->out[k].type = t;
	return t != NULL;
}

static const Type *
resulttype(Ctx *cx, const Arg *a)
{
	switch (a->kind) {
	case ArgVal:  return a->use->val->type;
	case ArgInt:  return type_sym(cx, a->i);
	case ArgNone: return type_none(cx);
	default:      return NULL;
	}
}

static const Type *
stacked(Ctx *cx, const Sym *n, const Type *t)
{
	const Sym *dim[MaxRank + 1];

	if (t == NULL || t->kind != TyTensor || t->rank >= MaxRank)
		return NULL;
	dim[0] = n;
	for (int d = 0; d < t->rank; d++)
		dim[d + 1] = t->dim[d];
	return type_tensor(cx, t->dt, t->rank + 1, dim);
}

/* The number of rows that a while loop makes is found as it runs. */
static const Sym *
looplength(Node *n)
{
	int first = hop_kind(n->op) == HopWhileKeep ? hop_carried(n).n : 0;
	const Type *t = n->nout <= first ? NULL : n->out[first].type || first ? n->out[first].type : n->annot;

	if (t && t->kind == TyTensor && t->rank)
		return t->dim[0];
	return sym_fresh(n->graph->cx, "u", 0, INT64_MAX);
}

static bool
wrongcount(Node *n, const Graph *g, int has, int want)
{
	error(n->graph->cx, n->loc, "%s: its sub-graph %s takes %d values, %d are given", n->op->name, g->name, has, want);
	return false;
}

/* The values that the sub-graphs are called with; rows stand for what they are cut from. */
static int
given(const Node *n, Arg *a, int most)
{
	enum hopkind k = hop_kind(n->op);
	HopList part[4] = {{0}};
	int count = 0;

	if (k == HopCond || k == HopSwitch || k == HopInvoke || k == HopFunction)
		part[0] = hop_operands(n);
	if (hop_isloop(n) && k != HopMap)
		part[0] = hop_carried(n);
	if (k == HopMap || k == HopScan || k == HopAssociative)
		part[1] = hop_rows(n);
	if (k != HopCond && k != HopSwitch && k != HopInvoke && k != HopFunction)
		part[2] = hop_rest(n);
	for (int p = 0; p < 3; p++)
		for (int i = 0; i < part[p].n && count < most; i++)
			a[count++] = part[p].v[i];
	return count;
}

static bool
called(Node *n, const Graph *g, Renaming *r)
{
	Arg a[MaxHopOperands];
	Val *p[MaxHopOperands];
	int na = given(n, a, MaxHopOperands), np = hop_params(g, p, MaxHopOperands);

	if (na != np || na >= MaxHopOperands)
		return wrongcount(n, g, np, na);
	for (int k = 0; k < na; k++)
		renaming(n->graph->cx, r, p[k]->type, &a[k]);
	return true;
}

static bool
carriedfits(Node *n, HopList init, HopList made)
{
	for (int k = 0; k < init.n && k < made.n; k++) {
		const Type *a = init.v[k].kind == ArgVal ? init.v[k].use->val->type : NULL;
		const Type *b = made.v[k].kind == ArgVal ? made.v[k].use->val->type : NULL;
		if (a && b && (a->dt != b->dt || a->rank != b->rank)) {
			error(n->graph->cx, n->loc, "%s: carried value %d begins as %s and becomes %s", n->op->name, k,
			      type_str(n->graph->cx, a), type_str(n->graph->cx, b));
			return false;
		}
	}
	return true;
}

/* A number that a while loop carries is known when it ends. */
static const Type *
carriednumber(Node *n, int k)
{
	const Type *t = n->out[k].type;

	return t && t->kind == TySym ? t : type_sym(n->graph->cx, sym_fresh(n->graph->cx, "u", INT64_MIN, INT64_MAX));
}

/* Is result k the body's, or a row of it for each round? */
static bool
isstacked(enum hopkind kind, int k, int ncarried)
{
	return kind == HopMap || kind == HopWhileStack || kind == HopAssociative ||
	       ((kind == HopScan || kind == HopWhileKeep) && k >= ncarried);
}

/* ---- random numbers ------------------------------------------------------------------- */

/* Made of others, one of which draws. */
static bool
dropout(const Node *n)
{
	const Arg *train = node_arg(n, "train"), *p = node_arg(n, "dropout_p");

	if (p && p->kind == ArgFloat)
		return p->f > 0;
	return strstr(n->op->name, "dropout") && train && train->kind == ArgBool && train->b;
}

bool
hop_nodedraws(const Node *n)
{
	return n->op->flags & OP(Random) || dropout(n);
}

bool
hop_draws(const Graph *g)
{
	FOREACH_NODE(g, n) {
		Graph *v[MaxHopGraphs];
		int ng = n->op->flags & OP(Hop) ? hop_graphs(n, v) : 0;
		if (hop_nodedraws(n))
			return true;
		for (int k = 0; k < ng; k++)
			if (hop_draws(v[k]))
				return true;
	}
	return false;
}

/* The number of a round among those of its loop and of the loops around: one is drawn from counters
 * that the other is not.  Below 2**31, so that it fits above the position of an element. */
enum { RoundsApart = 65599 };

const Sym *
hop_round(Ctx *cx)
{
	return sym_var(cx, intern_str(cx, "rng_round"), 0, INT32_MAX);
}

const Sym *
hop_roundof(Ctx *cx, const Sym *outer, const Sym *k)
{
	const Sym *n = sym_add(cx, sym_mul(cx, outer, sym_const(cx, RoundsApart)), sym_add(cx, k, sym_const(cx, 1)));

	return sym_mod(cx, n, sym_const(cx, INT32_MAX));
}

int64_t
hop_roundnum(int64_t outer, int64_t k)
{
	return (outer*RoundsApart + k + 1)%INT32_MAX;
}

/* ---- print ----------------------------------------------------------------------------- */

static void
addtext(Ctx *cx, HopText *t, const char *s, size_t n)
{
	while (n > 0) {
		int64_t word = 0;
		for (int k = 0; k < 7 && n > 0; k++, n--)
			word |= (int64_t)(unsigned char)*s++ << 8 * k;
		vec_push(ctx_arena(cx), &t->num, sym_const(cx, word));
	}
}

static bool
addvalue(const Node *n, HopText *t, const Arg *a)
{
	Ctx *cx = n->graph->cx;
	const char *s = NULL;
	int64_t k;

	if (a->kind == ArgVal && a->use->val->type->kind == TyTensor) {
		const Type *y = a->use->val->type;
		vec_push(ctx_arena(cx), &t->val, a->use->val);
		vec_push(ctx_arena(cx), &t->num, sym_const(cx, -1));
		vec_push(ctx_arena(cx), &t->num, sym_const(cx, y->rank));
		for (int d = 0; d < y->rank; d++)
			vec_push(ctx_arena(cx), &t->num, y->dim[d]);
		return true;
	}
	if (a->kind == ArgInt && sym_isconst(a->i, &k))
		s = arena_printf(ctx_arena(cx), "%lld", (long long)k);
	else if (a->kind == ArgBool)
		s = a->b ? "True" : "False";
	else if (a->kind == ArgStr)
		s = a->s;
	else if (a->kind == ArgNone)
		s = "None";
	else if (a->kind == ArgFloat)
		s = arg_str_of(cx, a);
	if (s)
		addtext(cx, t, s, strlen(s));
	else
		error(cx, n->loc, "print: a value of this kind is not supported");
	return s != NULL;
}

bool
hop_text(const Node *n, HopText *t)
{
	Ctx *cx = n->graph->cx;
	HopList v = aslist(n, "args");
	const Arg *format = node_arg(n, "format");
	const char *s = format && format->kind == ArgStr ? format->s : "";
	int next = 0;

	for (size_t len; *s; s += len) {
		len = strcspn(s, "{}");
		addtext(cx, t, s, len);
		if (s[len] == '\0')
			break;
		if (s[len] == s[len + 1]) {            /* {{, }} */
			addtext(cx, t, s + len, 1);
			len += 2;
			continue;
		}
		if (s[len] != '{' || s[len + 1] != '}' || next >= v.n) {
			error(cx, n->loc, "print: in the format only {} for each value is supported: '%s'", format->s);
			return false;
		}
		if (!addvalue(n, t, &v.v[next++]))
			return false;
		len += 2;
	}
	if (t->num.n > 60) {
		error(cx, n->loc, "print: the text is too long");
		return false;
	}
	return true;
}

/* A token, which is nothing. */
static bool
effect(Node *n)
{
	Ctx *cx = n->graph->cx;
	const Sym *zero = sym_const(cx, 0);

	for (int k = 0; k < n->nout; k++)
		n->out[k].type = type_tensor(cx, DtF32, 1, &zero);
	return true;
}

/* The text says what types the results have. */
static bool
custom(Node *n)
{
	if (n->nout && n->out[0].type == NULL)
		n->out[0].type = n->annot;
	for (int k = 0; k < n->nout; k++) {
		if (n->out[k].type == NULL && n->out[k].uses == NULL)
			n->out[k].type = type_none(n->graph->cx);
		if (n->out[k].type == NULL) {
			error(n->graph->cx, n->loc, "%s: the text does not say what type result %d has", n->arg[0].s, k);
			return false;
		}
	}
	return true;
}

bool
hop_infer(Node *n)
{
	Ctx *cx = n->graph->cx;
	enum hopkind kind = hop_kind(n->op);
	Graph *g[MaxHopGraphs];
	int ng = hop_graphs(n, g), nc = hop_carried(n).n;
	Renaming r = {0};

	if (kind == HopPrint || kind == HopEffects)
		return effect(n);
	if (kind == HopCustom)
		return custom(n);
	if (ng == 0) {
		error(cx, n->loc, "%s: it has no sub-graph", n->op->name);
		return false;
	}
	for (int k = 0; k < ng; k++)
		if (!graph_infer(g[k]))
			return false;
	if (kind == HopFunction)
		ng = 1;
	for (int k = 0; k < ng; k++)
		if (!called(n, g[k], &r))
			return false;
	HopList res = hop_results(g[ng - 1]);
	int most = kind == HopWhileKeep ? 2 * nc : res.n;
	if (n->nout > most) {
		error(cx, n->loc, "%s: its sub-graph gives %d values, %d are used", n->op->name, most, n->nout);
		return false;
	}
	if (hop_isloop(n) && kind != HopMap && kind != HopAssociative && !carriedfits(n, hop_carried(n), res))
		return false;
	const Sym *len = kind == HopWhileStack || kind == HopWhileKeep ? looplength(n) : hop_length(n);
	for (int k = 0; k < n->nout; k++) {
		const Type *t = renamed_type(cx, &r, resulttype(cx, &res.v[kind == HopWhileKeep && k >= nc ? k - nc : k]));
		if (kind == HopWhile && t && t->kind == TySym)
			t = carriednumber(n, k);
		if (isstacked(kind, k, nc))
			t = len ? stacked(cx, len, t) : NULL;
		if (!typed(n, k, t)) {
			error(cx, n->loc, "%s: the type of result %d cannot be inferred", n->op->name, k);
			return false;
		}
	}
	return true;
}
