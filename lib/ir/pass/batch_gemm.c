/* batch_gemm.c - several small products of one matrix become one.
 *
 *     x @ a, x @ b, x @ c  ->  slices of x @ [a b c]
 *
 * where the weights are known when compiling, so that joining them costs nothing.  A product
 * computes whole tiles of columns: it pays if what the tiles of few columns have too much is
 * at least a quarter of the work.  Wide products gain nothing, nor do those of a few rows,
 * which are as long as reading the weights takes; and what is a result of the program would
 * be copied out of the slice.
 */
#include "ir/lang.h"
#include "ir/pass/pass.h"

enum { Tile = 16, FewRows = 4, MostColumns = 4096 };

typedef struct Batch {
	Graph *g;
	Arena *a;
	bool *known;
	VEC(Node *) mem;       /* of one x, in the order of the program */
} Batch;

static bool
isaddmm(const Node *n)
{
	return strcmp(n->op->name, "aten.addmm.default") == 0;
}

static bool
isone(const Arg *a)
{
	int64_t k;

	return (a->kind == ArgInt && sym_isconst(a->i, &k) && k == 1) || (a->kind == ArgFloat && a->f == 1);
}

static Val *
matrix(const Node *n)
{
	return arg_tensor(n, isaddmm(n));
}

static Val *
weight(const Node *n)
{
	return arg_tensor(n, 1 + isaddmm(n));
}

static int64_t
columns(const Node *n)
{
	int64_t k;

	return sym_isconst(n->out[0].type->dim[1], &k) ? k : -1;
}

static bool
returned(const Graph *g, const Val *v)
{
	for (const Use *u = v->uses; u; u = u->next)
		if (u->user == g->last)
			return true;
	return false;
}

static bool
candidate(const Batch *b, const Node *n)
{
	int64_t rows;

	if (!isaddmm(n) && strcmp(n->op->name, "aten.mm.default") != 0)
		return false;
	if (isaddmm(n) && (arg_tensor(n, 0)->type->rank != 1 || !b->known[arg_tensor(n, 0)->id] ||
	                   !sym_eq(arg_tensor(n, 0)->type->dim[0], n->out[0].type->dim[1]) ||
	                   !isone(node_arg(n, "beta")) || !isone(node_arg(n, "alpha"))))
		return false;
	if (sym_isconst(n->out[0].type->dim[0], &rows) && rows < FewRows)
		return false;
	return b->known[weight(n)->id] && !b->known[matrix(n)->id] && columns(n) > 0 && !returned(b->g, &n->out[0]);
}

static bool
alike(const Node *n, const Node *m)
{
	return n->op == m->op && matrix(n) == matrix(m) && n->out[0].type->dt == m->out[0].type->dt;
}

static int64_t
tiles(int64_t n)
{
	return (n + Tile - 1) / Tile * Tile;
}

static bool
pays(const Batch *b)
{
	int64_t apart = 0, all = 0, rows;

	for (int k = 0; k < b->mem.n; k++) {
		apart += tiles(columns(b->mem.v[k]));
		all += columns(b->mem.v[k]);
	}
	return b->mem.n > 1 && all <= MostColumns && 4 * (apart - tiles(all)) >= apart &&
	       sym_isconst(weight(b->mem.v[0])->type->dim[0], &rows) && rows * all <= FoldMost;
}

/* A known value again, made before a node: what it is made of may come later in the program. */
static Val *
earlier(Batch *b, Val *v, Node *before)
{
	Node *n = v->def;
	Arg *arg;

	if (n->op->flags & OP(Leaf))
		return v;
	arg = NEWN(b->a, Arg, n->narg + 1);
	for (int i = 0; i < n->narg; i++) {
		arg[i] = n->arg[i];
		if (arg[i].kind == ArgVal)
			arg[i] = arg_val(earlier(b, arg[i].use->val, before));
		for (int k = 0; arg[i].kind == ArgList && k < arg[i].list.n; k++) {
			if (k == 0)
				arg[i] = arg_list(b->a, n->arg[i].list.v, n->arg[i].list.n);
			if (arg[i].list.v[k].kind == ArgVal)
				arg[i].list.v[k] = arg_val(earlier(b, arg[i].list.v[k].use->val, before));
		}
	}
	Node *c = node_new(b->g, n->op, arg, n->narg, n->nout, before, n->loc);
	return node_infer(c) ? &c->out[v->out] : NULL;
}

static bool
join(Batch *b)
{
	Node *first = b->mem.v[0];
	int64_t at = 0;
	LVal made;
	Lang L;

	lang_init(&L, b->g->cx, NULL, NULL, first->loc, LangTensor);
	LVal w = lang_list(&L, b->mem.n), bias = lang_list(&L, b->mem.n);
	for (int k = 0; k < b->mem.n; k++) {
		Node *n = b->mem.v[k];
		w.list.v[k] = (LVal){.kind = LTensor, .t = earlier(b, weight(n), first)};
		bias.list.v[k] = (LVal){.kind = LTensor, .t = isaddmm(n) ? earlier(b, arg_tensor(n, 0), first) : NULL};
		if (!w.list.v[k].t || (isaddmm(n) && !bias.list.v[k].t))
			return false;
	}
	L.g = b->g;
	L.before = first;
	lang_set(&L, "x", (LVal){.kind = LTensor, .t = matrix(first)});
	lang_set(&L, "w", w);
	lang_set(&L, "b", bias);
	if (!lang_run(&L, "product", isaddmm(first) ? "addmm(cat(b, 0), x, cat(w, 1))" : "mm(x, cat(w, 1))", FormExpr, &made))
		return false;
	for (int k = 0; k < b->mem.n; k++) {
		Node *n = b->mem.v[k];
		LVal part;
		lang_set(&L, "m", made);
		lang_set(&L, "from", lang_int(b->g->cx, at));
		at += columns(n);
		lang_set(&L, "to", lang_int(b->g->cx, at));
		if (!lang_run(&L, "part", "slice(m, 1, from, to)", FormExpr, &part))
			return false;
		val_replace(&n->out[0], part.t);
	}
	for (int k = 0; k < b->mem.n; k++)
		node_delete(b->mem.v[k]);
	return true;
}

bool
pass_batch_gemm(Graph *g)
{
	Batch b = {.g = g, .a = arena_new()};
	uint32_t last = g->nnode;
	bool ok = pass_dce(g), joined = false;

	b.known = values_known(g, b.a);
	for (Node *n = g->first, *next; ok && n; n = next) {
		next = n->next;
		if (n->id >= last || !candidate(&b, n))
			continue;
		b.mem.n = 0;
		for (Node *m = n; m; m = m->next)
			if (m->id < last && candidate(&b, m) && alike(n, m))
				vec_push(b.a, &b.mem, m);
		if (!pays(&b))
			continue;
		Node *before = n->prev;
		ok = join(&b);
		joined = true;
		next = before ? before->next : g->first;
	}
	arena_free(b.a);
	return ok && (!joined || (pass_cse(g) && pass_dce(g)));    /* what was made earlier may be there twice */
}
