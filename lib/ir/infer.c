/* infer.c - types of the results of a node, from the tables.
 *
 * In this order: an argument that is written (in-place), a size (`is sym`), the
 * shape and type lines, a pointwise operator's broadcast and promotion, and for
 * what only has an expansion, the expansion in a scratch graph.  `where` lines
 * come first.  What cannot be decided about sizes becomes a guard of the module.
 */
#include "ir/hop.h"
#include "ir/lang.h"

typedef VEC(const Type *) Types;

typedef struct Infer {
	Graph *g;
	Ctx *cx;
	Loc loc;
	const OpDef *op;
	const Arg *arg;
	Types out;
} Infer;

/* A number that is found must be within what is asserted of it: that bounds memory. */
static void
bound_number(Ctx *cx, const Sym *cond)
{
	const Sym *a = cond->narg == 2 ? cond->arg[0] : NULL, *b = a ? cond->arg[1] : NULL, *var;
	int less = cond->fn == SymFnLt;
	int64_t k;

	if (cond->kind != SymFn || !a || (cond->fn != SymFnLe && cond->fn != SymFnLt && cond->fn != SymFnEq))
		return;
	var = sym_isconst(b, &k) ? a : sym_isconst(a, &k) ? b : NULL;
	if (!var || var->kind != SymVar || var->isfloat || var->name[0] != 'u' || (less && (k == INT64_MIN || k == INT64_MAX)))
		return;
	int64_t lo = cond->fn == SymFnEq || var == b ? k + less : INT64_MIN, hi = cond->fn == SymFnEq || var == a ? k - less : INT64_MAX;
	lo = lo > var->lo ? lo : var->lo;
	hi = hi < var->hi ? hi : var->hi;
	if (lo <= hi)
		sym_bound(cx, var, lo, hi);
}

void
infer_guard(Module *m, Loc loc, const Sym *cond, Str message)
{
	int64_t k;

	if (sym_isconst(cond, &k))
		return;
	for (int i = 0; i < m->guard.n; i++)
		if (m->guard.v[i].cond == cond)
			return;
	bound_number(m->cx, cond);
	vec_push(ctx_arena(m->cx), &m->guard,
	         ((Guard){cond, intern_str(m->cx, sym_str(m->cx, cond)), loc, message}));
}

static const Type *
typeof_arg(const Arg *a)
{
	return a->kind == ArgVal ? a->use->val->type : NULL;
}

static const Type *
firsttensor(const Infer *f)
{
	for (int k = 0; k < f->op->nparam; k++) {
		const Arg *a = &f->arg[k];
		if (f->op->param[k].type != AtTensor)
			continue;
		if (a->kind == ArgList && a->list.n)
			a = &a->list.v[0];
		const Type *t = typeof_arg(a);
		if (t && t->kind == TyTensor)
			return t;
	}
	return NULL;
}

/* ---- what is written ------------------------------------------------------------ */

/* t_, unsqueeze_ and their like change the sizes of what they return: the type is
 * that of the view of the same name.  NULL: no such operator. */
static const OpDef *
viewtwin(Ctx *cx, const OpDef *op)
{
	const char *dot = strchr(op->name, '.'), *end = dot ? strchr(dot + 1, '.') : NULL;
	const OpDef *twin;

	if (end == NULL || end[-1] != '_')
		return NULL;
	twin = op_find(intern_printf(cx, "%.*s%s", (int)(end - op->name - 1), op->name, end));
	return twin && twin->nret == 1 && twin->ret[0].alias && !twin->ret[0].mutated &&
	       twin->nparam == op->nparam ? twin : NULL;
}

static bool byexpansion(Infer *);

static bool
metadata(Infer *f)
{
	const OpDef *twin = f->op->flags & OP(Inplace) ? viewtwin(f->cx, f->op) : NULL;
	const Type **type;
	int n;

	if (f->op->flags & OP(Inplace) && f->op->expand)
		return byexpansion(f);
	if (twin == NULL || !infer_types(f->g, f->loc, twin, f->arg, &type, &n))
		return false;
	for (int k = 0; k < n; k++)
		vec_push(f->g->arena, &f->out, type[k]);
	return true;
}

/* Results that are arguments: Tensor(a!). */
static bool
written(Infer *f)
{
	const OpDef *op = f->op;

	if (op->nret == 0 || metadata(f))
		return op->nret > 0;
	for (int r = 0; r < op->nret; r++) {
		const Arg *found = NULL;
		for (int k = 0; k < op->nparam; k++)
			if (op->param[k].mutated && op->param[k].alias == op->ret[r].alias)
				found = &f->arg[k];
		if (!op->ret[r].mutated || found == NULL)
			return false;
		if (found->kind == ArgList) {
			for (int k = 0; k < found->list.n; k++)
				vec_push(f->g->arena, &f->out, typeof_arg(&found->list.v[k]));
			continue;
		}
		vec_push(f->g->arena, &f->out, typeof_arg(found));
	}
	return true;
}

/* ---- sizes -------------------------------------------------------------------------- */

static bool
size(Infer *f)
{
	Lang L;
	LVal v;
	const Sym *s;

	lang_init(&L, f->cx, f->g->mod, f->op, f->loc, LangPlain);
	lang_bind(&L, f->arg);
	/* A condition that is not known yet stays one, to be asserted or computed with. */
	L.guards = true;
	if (!lang_run(&L, "value", f->op->value, FormExpr, &v))
		return false;
	switch (v.kind) {
	case LInt: case LCond: s = v.i; break;
	case LBool:  s = sym_const(f->cx, v.b); break;
	case LFloat: s = sym_float(f->cx, v.f); break;
	default:
		error(f->cx, f->loc, "%s: %s is no number", f->op->name, lang_str(f->cx, v));
		return false;
	}
	vec_push(f->g->arena, &f->out, type_sym(f->cx, s));
	return true;
}

/* ---- lines ---------------------------------------------------------------------------- */

/* Broadcast of all tensors, with a message that names the two that clash. */
static bool
broadcast(Infer *f, Lang *L, const Sym **dim, int *rank)
{
	const Type *from[MaxRank] = {0};
	*rank = 0;

	for (int k = 0; k < f->op->nparam; k++) {
		const Arg *a = &f->arg[k];
		int n = a->kind == ArgList ? a->list.n : 1;
		for (int j = 0; j < n; j++) {
			const Type *t = typeof_arg(a->kind == ArgList ? &a->list.v[j] : a);
			if (t == NULL || t->kind != TyTensor)
				continue;
			int grow = t->rank - *rank;
			if (grow > 0) {
				memmove(dim + grow, dim, sizeof *dim * (size_t)*rank);
				memmove(from + grow, from, sizeof *from * (size_t)*rank);
				for (int d = 0; d < grow; d++)
					dim[d] = t->dim[d], from[d] = t;
				*rank = t->rank;
			}
			int skip = grow > 0 ? grow : 0, off = *rank - t->rank;
			for (int d = skip; d < t->rank; d++) {
				const Sym *m = lang_broadcastdim(L, dim[off + d], t->dim[d]);
				if (m == NULL) {
					error(f->cx, f->loc, "%s: shapes do not broadcast: %s and %s",
					      f->op->name, sym_str(f->cx, dim[off + d]), sym_str(f->cx, t->dim[d]));
					note(f->cx, NOLOC, "%s beside %s", type_str(f->cx, from[off + d]),
					     type_str(f->cx, t));
					return false;
				}
				if (m != dim[off + d])
					from[off + d] = t;
				dim[off + d] = m;
			}
		}
	}
	return true;
}

static bool
dims(Infer *f, LVal v, const Sym **dim, int *rank)
{
	if (v.kind != LList || v.list.n > MaxRank) {
		error(f->cx, f->loc, "%s: %s is no shape", f->op->name, lang_str(f->cx, v));
		return false;
	}
	*rank = v.list.n;
	for (int d = 0; d < v.list.n; d++) {
		LVal e = v.list.v[d];
		if (e.kind != LInt || e.i->isfloat) {
			error(f->cx, f->loc, "%s: %s is no size", f->op->name, lang_str(f->cx, e));
			return false;
		}
		if (e.i->kind == SymConst && e.i->k < 0) {
			error(f->cx, f->loc, "%s: a result would have size %lld", f->op->name, (long long)e.i->k);
			return false;
		}
		dim[d] = e.i;
	}
	return true;
}

/* dtype of each result: the type line's, one for all or one for each. */
static bool
dtypes(Infer *f, Lang *L, LVal *v)
{
	const Type *t;

	if (f->op->type) {
		if (!lang_run(L, "type", f->op->type, FormExpr, v))
			return false;
		if (v->kind == LTensor)
			*v = (LVal){.kind = LDtype, .dt = v->t->type->dt};
		return true;
	}
	v->kind = LDtype;
	if (f->op->flags & OP(Bool)) {
		v->dt = DtB8;
		return true;
	}
	if (f->op->flags & OP(Pointwise)) {
		v->dt = infer_promote(f->op, f->arg);
		if (v->dt != DtNone && f->op->flags & OP(Float) && dt_int(v->dt))
			v->dt = DtF32;
		if (v->dt != DtNone)
			return true;
	}
	if ((t = firsttensor(f)) == NULL) {
		error(f->cx, f->loc, "%s: the table gives no dtype", f->op->name);
		return false;
	}
	v->dt = t->dt;
	return true;
}

static bool
dtypeat(Infer *f, LVal v, int k, enum dtype *dt)
{
	if (v.kind == LList && k < v.list.n)
		v = v.list.v[k];
	if (v.kind == LTensor)
		v = (LVal){.kind = LDtype, .dt = v.t->type->dt};
	if (v.kind != LDtype) {
		error(f->cx, f->loc, "%s: %s is no dtype", f->op->name, lang_str(f->cx, v));
		return false;
	}
	*dt = v.dt;
	return true;
}

/* A view's strides, if its line gives some. */
static bool
strided(Infer *f, Lang *L, LVal shape, enum dtype dt, const Sym **dim, int rank)
{
	const Sym *st[MaxRank];
	int n;
	LVal v;

	bool named = false;
	for (int k = 0; k < f->op->nparam; k++)
		named |= strcmp(f->op->param[k].name, "shape") == 0;
	if (!named)
		lang_set(L, "shape", shape);
	if (!lang_run(L, "stride", f->op->stride, FormExpr, &v))
		return false;
	if (v.kind == LNone) {
		vec_push(f->g->arena, &f->out, type_tensor(f->cx, dt, rank, dim));
		return true;
	}
	if (!dims(f, v, st, &n))
		return false;
	if (n != rank) {
		error(f->cx, f->loc, "%s: %d strides for %d dimensions", f->op->name, n, rank);
		return false;
	}
	vec_push(f->g->arena, &f->out, type_strided(f->cx, dt, rank, dim, st));
	return true;
}

/* Are these the shapes of several results? */
static bool
manyshapes(const Infer *f, LVal v)
{
	if (v.kind != LList)
		return false;
	if (f->op->nret > 1 || f->op->ret[0].list)
		return v.list.n == 0 ? f->op->ret[0].list : v.list.v[0].kind == LList;
	return false;
}

static bool
bylines(Infer *f, Lang *L)
{
	const Sym *dim[MaxRank];
	int rank, n = f->op->nret;
	LVal shape = {.kind = LNone}, type;
	enum dtype dt;

	if (f->op->shape) {
		if (!lang_run(L, "shape", f->op->shape, FormExpr, &shape))
			return false;
		if (shape.kind == LTensor)
			shape = (LVal){.kind = LNone};
	}
	if (!dtypes(f, L, &type))
		return false;
	bool many = manyshapes(f, shape);
	if (many)
		n = shape.list.n;
	for (int k = 0; k < n; k++) {
		LVal one = many ? shape.list.v[k] : shape;
		if (f->op->shape == NULL ? !broadcast(f, L, dim, &rank) : !dims(f, one, dim, &rank))
			return false;
		if (!dtypeat(f, type, k, &dt))
			return false;
		if (f->op->stride && f->op->flags & OP(View)) {
			if (!strided(f, L, one, dt, dim, rank))
				return false;
			continue;
		}
		vec_push(f->g->arena, &f->out, type_tensor(f->cx, dt, rank, dim));
	}
	return true;
}

static bool
torchlike(const Infer *f)
{
	return f->g->mod && f->g->mod->decomp == DecompTorch && !(f->op->flags & OP(View));
}

/* PyTorch's strides of results that are no views. */
static bool
layouts(Infer *f, Lang *L)
{
	LVal v;

	if (f->op->flags & OP(Pointwise))
		for (int k = 0; k < f->out.n; k++)
			f->out.v[k] = layout_elementwise(f->g, f->op, f->arg, f->out.v[k]);
	if (f->op->stride == NULL)
		return true;
	if (!lang_run(L, "stride", f->op->stride, FormExpr, &v))
		return false;
	for (int k = 0; v.kind == LList && k < f->out.n; k++) {
		const Type *t = f->out.v[k];
		const Sym *st[MaxRank];
		int n;
		LVal one = f->op->nret > 1 ? v.list.v[k] : v;
		if (one.kind == LNone || t->kind != TyTensor)
			continue;
		if (!dims(f, one, st, &n) || n != t->rank)
			return false;
		f->out.v[k] = type_strided(f->cx, t->dt, t->rank, t->dim, st);
	}
	return true;
}

/* ---- by expansion ------------------------------------------------------------------------ */

/* The argument with placeholders of the scratch graph for its values. */
static Arg
scratcharg(Graph *s, const Arg *a)
{
	Arg r = *a;

	if (a->kind == ArgVal) {
		Node *p = node_placeholder(s, a->use->val->name, a->use->val->type, NOLOC);
		return arg_val(&p->out[0]);
	}
	if (a->kind == ArgList) {
		r.list.v = a->list.n ? NEWN(s->arena, Arg, a->list.n) : NULL;
		for (int k = 0; k < a->list.n; k++)
			r.list.v[k] = scratcharg(s, &a->list.v[k]);
	}
	return r;
}

static const char depthkey;

static bool
byexpansion(Infer *f)
{
	int *depth = ctx_slot(f->cx, &depthkey, sizeof *depth), n;
	Graph *s = NEW(f->g->arena, Graph);
	Arg *arg = f->op->nparam ? NEWN(f->g->arena, Arg, f->op->nparam) : NULL;
	Val **res;

	if (*depth > 40) {
		error(f->cx, f->loc, "%s: its expansion does not end", f->op->name);
		return false;
	}
	*s = (Graph){.mod = f->g->mod, .cx = f->cx, .arena = f->g->arena, .name = f->g->name};
	for (int k = 0; k < f->op->nparam; k++)
		arg[k] = scratcharg(s, &f->arg[k]);
	++*depth;
	bool ok = expand_op(s, f->op, arg, f->loc, NULL, &res, &n);
	--*depth;
	for (int k = 0; ok && k < n; k++)
		vec_push(f->g->arena, &f->out, res[k] ? res[k]->type : type_none(f->cx));
	return ok;
}

/* ---- all -------------------------------------------------------------------------------------- */

static bool
missing(Infer *f)
{
	for (int k = 0; k < f->op->nparam; k++) {
		const Arg *a = &f->arg[k];
		int n = a->kind == ArgList ? a->list.n : 1;
		for (int j = 0; j < n; j++) {
			const Arg *e = a->kind == ArgList ? &a->list.v[j] : a;
			if (e->kind == ArgVal && e->use->val->type == NULL) {
				error(f->cx, f->loc, "%s: %s has no known type", f->op->name, e->use->val->name);
				return true;
			}
		}
	}
	return false;
}

/* A higher-order operator that is not a node yet. */
static bool
hoptypes(Infer *f)
{
	Node n = {.op = f->op, .arg = (Arg *)f->arg, .narg = (uint16_t)f->op->nparam, .graph = f->g, .loc = f->loc};
	Graph *g[MaxHopGraphs];
	int ng = hop_graphs(&n, g);

	if (f->op->flags & OP(Effect))
		vec_push(f->g->arena, &f->out, type_tensor(f->cx, DtF32, 1, (const Sym *[]){sym_const(f->cx, 0)}));
	if (f->op->flags & OP(Effect))
		return true;
	if (ng == 0 || !graph_infer(g[ng - 1]))
		return false;
	n.nout = (uint16_t)hop_results(g[ng - 1]).n;
	n.out = NEWN(f->g->arena, Val, n.nout + 1);
	if (!hop_infer(&n))
		return false;
	for (int k = 0; k < n.nout; k++)
		vec_push(f->g->arena, &f->out, n.out[k].type);
	return true;
}

bool
infer_types(Graph *g, Loc loc, const OpDef *op, const Arg *arg, const Type ***type, int *n)
{
	Infer f = {.g = g, .cx = g->cx, .loc = loc, .op = op, .arg = arg};
	bool ok = true;
	Lang L;
	LVal v;

	*n = 0, *type = NULL;
	if (missing(&f))
		return false;
	lang_init(&L, f.cx, g->mod, op, loc, LangPlain);
	lang_bind(&L, arg);
	if (op->where && !lang_run(&L, "where", op->where, FormWhere, &v))
		return false;
	if (hop_kind(op))
		ok = hoptypes(&f);
	else if (written(&f) || op->nret == 0)
		;
	else if (op->flags & OP(Sym) && op->value)
		ok = size(&f);
	else if (op->shape || (op->flags & OP(Pointwise) && !(op->expand && !op->value)))
		ok = bylines(&f, &L);
	else if (op->expand)
		ok = byexpansion(&f);
	else {
		error(f.cx, loc, "%s: the tables give no shape for it", op->name);
		ok = false;
	}
	if (ok && torchlike(&f))
		ok = layouts(&f, &L);
	*type = f.out.v;
	*n = f.out.n;
	return ok;
}

/* ---- nodes -------------------------------------------------------------------------------------- */

static const Graph *
lastgraph(const Node *n)
{
	const Graph *g = NULL;

	for (int k = 0; k < n->narg; k++)
		if (n->arg[k].kind == ArgGraph)
			g = n->arg[k].graph;
	return g;
}

bool
infer_subgraphs(Node *n)
{
	for (int k = 0; k < n->narg; k++)
		if (n->arg[k].kind == ArgGraph && !graph_infer(n->arg[k].graph))
			return false;
	return true;
}

/* A higher-order operator gives what its last sub-graph gives (cond's branches agree,
 * while_loop's body gives its carried values). */
static bool
higherorder(Node *n)
{
	if (!infer_subgraphs(n))
		return false;
	const Graph *s = lastgraph(n);
	const Arg *list = s && s->last && s->last->narg ? &s->last->arg[0] : NULL;
	int count = list == NULL ? 0 : list->kind == ArgList ? list->list.n : 1;

	for (int k = 0; k < n->nout; k++) {
		const Arg *a = list == NULL || k >= count ? NULL
		             : list->kind == ArgList ? &list->list.v[k] : list;
		if (a && a->kind == ArgVal)
			n->out[k].type = a->use->val->type;
		else if (a && a->kind == ArgInt)
			n->out[k].type = type_sym(n->graph->cx, a->i);
		else if (k == 0 && n->annot)
			n->out[k].type = n->annot;
		else if (a && a->kind == ArgNone)
			n->out[k].type = type_none(n->graph->cx);
		if (n->out[k].type == NULL) {
			error(n->graph->cx, n->loc, "%s: the type of result %d cannot be inferred", n->op->name, k);
			return false;
		}
	}
	return true;
}

static bool
tabled(const OpDef *op)
{
	return op->shape || op->expand || op->flags & (OP(Pointwise) | OP(Inplace) | OP(Mutates)) ||
	       (op->flags & OP(Sym) && op->value) || op->nret == 0;
}

/* A size that the text names (u0) is bounded by what the table says of it. */
static void
bound_sizes(Node *n)
{
	const Type **type, *t = n->out[0].type;
	int k;

	if (n->op->shape == NULL || t->kind != TyTensor || !infer_types(n->graph, n->loc, n->op, n->arg, &type, &k))
		return;
	for (int d = 0; k > 0 && type[0]->kind == TyTensor && type[0]->rank == t->rank && d < t->rank; d++) {
		const Sym *u = t->dim[d], *most = type[0]->dim[d];
		if (u->kind == SymVar && u->hi == INT64_MAX && most->hi != INT64_MAX)
			sym_bound(n->graph->cx, u, most->lo > u->lo ? most->lo : u->lo, most->hi);
	}
}

bool
node_infer(Node *n)
{
	Ctx *cx = n->graph->cx;
	const Type **type;
	int k;

	if (n->op->flags & OP(Leaf))
		return true;
	/* A size that only the run knows is made once. */
	if (n->op->flags & OP(Dynamic) && n->nout && (n->out[0].type || n->annot)) {
		if (n->out[0].type == NULL)
			n->out[0].type = n->annot;
		bool all = true;
		for (int j = 0; j < n->nout; j++)
			all &= n->out[j].type != NULL;
		if (all) {
			bound_sizes(n);
			return true;
		}
	}
	if (hop_kind(n->op))
		return hop_infer(n);
	if (!tabled(n->op)) {
		if (n->op->flags & OP(Hop))
			return higherorder(n);
		if (n->annot && n->nout) {
			n->out[0].type = n->annot;
			return true;
		}
	}
	if (!infer_types(n->graph, n->loc, n->op, n->arg, &type, &k))
		return false;
	if (n->nout > k) {
		error(cx, n->loc, "%s has %d results, the program uses %d", n->op->name, k, n->nout);
		return false;
	}
	for (int j = 0; j < n->nout; j++)
		n->out[j].type = type[j];
	return true;
}
