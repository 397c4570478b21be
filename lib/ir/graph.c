/* graph.c - building and changing graphs.
 *
 * A Use is both an operand of a node and a link in the list of its value's uses;
 * all that links and unlinks is here.  Arguments are copied deeply into a node, so
 * that what a caller passes may lie anywhere, or belong to another node.
 *
 * Names are those that PyTorch would give: the stem, then stem_1, stem_2.  Names
 * of Python and of its builtins are avoided for what we name ourselves, since the
 * text of a graph is Python.
 */
#include <ctype.h>
#include <stdlib.h>
#include "ir/meta.h"

Module *
module_new(Ctx *cx, Str name)
{
	Module *m = NEW(ctx_arena(cx), Module);

	m->cx = cx;
	m->name = name;
	m->autocast = DtNone;
	return m;
}

void
module_obey(Module *m, const Module *as)
{
	m->fastmath = as->fastmath;
	m->foldlater = as->foldlater;
	m->decomp = as->decomp;
	m->rulesoff.v = as->rulesoff.v;
	m->rulesoff.n = as->rulesoff.n;
	m->loaded = as->loaded;
	m->nloaded = as->nloaded;
	m->part.v = as->part.v;
	m->part.n = as->part.n;
	m->decompose = as->decompose;
	m->decomposed.v = as->decomposed.v;
	m->decomposed.n = as->decomposed.n;
}

Graph *
graph_new(Module *m, Str name, Graph *parent)
{
	Graph *g = NEW(ctx_arena(m->cx), Graph);

	g->mod = m;
	g->cx = m->cx;
	g->arena = ctx_arena(m->cx);
	g->name = name;
	g->parent = parent;
	return g;
}

/* ---- names ---- */

static bool
reserved(const char *s)
{
	static const char words[] =
		" False None True and as assert async await break class "
		"continue def del elif else except finally for from global if "
		"import in is lambda nonlocal not or pass raise return try "
		"while with yield "
		"abs aiter all anext any ascii bin bool breakpoint bytearray "
		"bytes callable chr classmethod compile complex copyright "
		"credits delattr dict dir divmod enumerate eval exec exit "
		"filter float format frozenset getattr globals hasattr hash "
		"help hex id input int isinstance issubclass iter len license "
		"list locals map max memoryview min next object oct open ord "
		"pow print property quit range repr reversed round set setattr "
		"slice sorted staticmethod str sum super tuple type vars zip "
		"inf nan NoneType torch device fx_pytree pytree ";
	size_t n = strlen(s);

	for (const char *p = words; (p = strstr(p, s)) != NULL; p += n)
		if (p[-1] == ' ' && p[n] == ' ')
			return true;
	return false;
}

/* Names of nodes that have no value of that name are kept beside, as "!name". */
static bool
taken(Graph *g, Str name)
{
	return map_get(&g->names, name)
	       || map_get(&g->names, intern_printf(g->cx, "!%s", name));
}

static Str
identifier(Graph *g, const char *stem)
{
	char *s = arena_printf(g->arena, "%s%s",
	                       isdigit((unsigned char)*stem) ? "_" : "",
	                       *stem ? stem : "_unnamed");

	for (char *p = s; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			*p = '_';
	return intern_str(g->cx, s);
}

/* "relu_12" is the stem "relu" and 12. */
static int
suffix(const char *s, size_t *stem)
{
	size_t n = strlen(s), i = n;

	*stem = n;
	while (i > 0 && isdigit((unsigned char)s[i - 1]))
		i--;
	if (i == n || i < 2 || s[i - 1] != '_' || n - i > 8)
		return 0;
	*stem = i - 1;
	return (int)strtol(s + i, NULL, 10);
}

/* A name like s that is free.  How far the numbers of a stem have come is kept
 * as "#stem", so that many nodes of a kind are not counted from 1 each time. */
static Str
unique(Graph *g, const char *s, bool ours)
{
	Str name = identifier(g, s), key;
	size_t stem;
	int n = suffix(name, &stem), *last;

	if (!taken(g, name) && !(ours && reserved(name)))
		return name;
	key = intern_printf(g->cx, "#%.*s", (int)stem, name);
	last = map_get(&g->names, key);
	if (last == NULL) {
		last = NEW(g->arena, int);
		map_put(g->arena, &g->names, key, last);
	}
	if (n == 0)
		n = *last;
	do
		name = intern_printf(g->cx, "%.*s_%d", (int)stem, identifier(g, s),
		                     ++n);
	while (taken(g, name));
	*last = n;
	return name;
}

static void
namenode(Graph *g, Node *n, const char *stem)
{
	n->name = unique(g, stem, true);
	map_put(g->arena, &g->names, intern_printf(g->cx, "!%s", n->name), n);
}

static void
nameval(Graph *g, Val *v, Str name)
{
	v->name = name;
	map_put(g->arena, &g->names, name, v);
	if (v->def->nout == 1)
		v->def->name = name;
}

void
val_rename(Graph *g, Val *v, const char *stem)
{
	if (v->name && strcmp(v->name, stem) == 0)
		return;
	if (v->name && map_get(&g->names, v->name) == v)
		map_put(g->arena, &g->names, v->name, NULL);
	nameval(g, v, unique(g, stem, false));
}

/* The node's own name, where it has no single value of that name. */
void
node_rename(Node *n, const char *stem)
{
	Graph *g = n->graph;

	if (n->nout == 1) {
		val_rename(g, n->out, stem);
		return;
	}
	if (n->name && strcmp(n->name, stem) == 0)
		return;
	if (n->name)
		map_put(g->arena, &g->names,
		        intern_printf(g->cx, "!%s", n->name), NULL);
	n->name = unique(g, stem, false);
	map_put(g->arena, &g->names, intern_printf(g->cx, "!%s", n->name), n);
}

/* "gelu" of "aten.gelu.default": the word after the namespace. */
static const char *
opstem(Graph *g, const OpDef *op)
{
	const char *s = strchr(op->name, '.'), *end;

	s = s ? s + 1 : op->name;
	end = strchr(s, '.');
	return arena_printf(g->arena, "%.*s",
	                    (int)(end ? end - s : (ptrdiff_t)strlen(s)), s);
}

/* ---- links ---- */

static Use *
link_(Graph *g, Node *n, Val *v)
{
	Use *u = NEW(g->arena, Use);

	u->val = v;
	u->user = n;
	u->next = v->uses;
	u->prev = &v->uses;
	if (u->next)
		u->next->prev = &u->next;
	v->uses = u;
	return u;
}

static void
unlink_(Use *u)
{
	*u->prev = u->next;
	if (u->next)
		u->next->prev = u->prev;
	u->next = NULL;
	u->prev = NULL;
}

static bool
haslist(const Arg *a)
{
	return a->kind == ArgList || a->kind == ArgSlice
	       || a->kind == ArgComplex;
}

/* Calls fn for each operand of an argument. */
static void
each(Arg *a, void (*fn)(void *, Use *), void *arg)
{
	if (a->kind == ArgVal)
		fn(arg, a->use);
	else if (haslist(a))
		for (int i = 0; i < a->list.n; i++)
			each(&a->list.v[i], fn, arg);
}

void
node_operands(Node *n, void (*fn)(void *, Use *), void *arg)
{
	for (int i = 0; i < n->narg; i++)
		each(&n->arg[i], fn, arg);
}

/* How values and sub-graphs of the original become those of the copy; NULL: as
 * they are. */
typedef struct Clone { Val **val; } Clone;

static Arg
copyarg(Graph *g, Node *n, const Arg *a, const Clone *c)
{
	Arg r = *a;

	if (a->kind == ArgVal) {
		Val *v = a->use->val;

		r.use = link_(g, n, c ? c->val[v->id] : v);
	} else if (a->kind == ArgGraph && c) {
		r.graph = graph_clone(a->graph);
		r.graph->parent = g;
	} else if (haslist(a)) {
		r.list.v = NEWN(g->arena, Arg, a->list.n);
		for (int i = 0; i < a->list.n; i++)
			r.list.v[i] = copyarg(g, n, &a->list.v[i], c);
	}
	return r;
}

static void
copyargs(Graph *g, Node *n, const Arg *arg, int narg, const Clone *c)
{
	Arg *v = NEWN(g->arena, Arg, narg);

	for (int i = 0; i < narg; i++)
		v[i] = copyarg(g, n, &arg[i], c);
	n->arg = v;
	n->narg = (uint16_t)narg;
}

static void
detach(void *arg, Use *u)
{
	(void)arg;
	unlink_(u);
}

void
node_setargs(Node *n, const Arg *arg, int narg)
{
	Node old = *n;

	copyargs(n->graph, n, arg, narg, NULL);
	node_operands(&old, detach, NULL);
}

/* ---- nodes ---- */

static void
insert(Graph *g, Node *n, Node *before)
{
	n->next = before;
	n->prev = before ? before->prev : g->last;
	*(n->prev ? &n->prev->next : &g->first) = n;
	*(before ? &before->prev : &g->last) = n;
}

/* A node without arguments and names. */
static Node *
blank(Graph *g, const OpDef *op, int nout, Node *before, Loc loc)
{
	Node *n = NEW(g->arena, Node);

	n->op = op;
	n->graph = g;
	n->id = g->nnode++;
	n->loc = loc;
	n->nout = (uint16_t)nout;
	n->out = NEWN(g->arena, Val, nout);
	for (int i = 0; i < nout; i++) {
		n->out[i].def = n;
		n->out[i].out = (uint16_t)i;
		n->out[i].id = g->nval++;
	}
	insert(g, n, before);
	return n;
}

/* In FX the results of a node with several are getitems. */
static void
namenew(Graph *g, Node *n, const char *stem)
{
	if (n->nout == 1) {
		nameval(g, n->out, unique(g, stem, true));
		return;
	}
	namenode(g, n, stem);
	for (int i = 0; i < n->nout; i++)
		nameval(g, &n->out[i], unique(g, "getitem", true));
}

Node *
node_new(Graph *g, const OpDef *op, const Arg *arg, int narg, int nout,
         Node *before, Loc loc)
{
	Node *n;

	if (nout < 0 || nout > UINT16_MAX || narg < 0 || narg > UINT16_MAX)
		bug(g->cx, loc, "%s: a node of %d arguments and %d results",
		    op->name, narg, nout);
	n = blank(g, op, nout, before, loc);
	copyargs(g, n, arg, narg, NULL);
	namenew(g, n, opstem(g, op));
	return n;
}

/* Placeholders stay together at the start, also when they come late. */
Node *
node_placeholder(Graph *g, Str name, const Type *type, Loc loc)
{
	Node *before = g->first, *n;

	while (before && before->op == &opplaceholder)
		before = before->next;
	n = blank(g, &opplaceholder, 1, before, loc);
	n->target = name;
	n->out->type = type;
	nameval(g, n->out, unique(g, name, false));
	return n;
}

Node *
node_output(Graph *g, const Arg *list, Loc loc)
{
	Node *n = blank(g, &opoutput, 0, NULL, loc);
	Arg one = *list;

	if (list->kind != ArgList)
		one = arg_list(g->arena, list, 1);
	copyargs(g, n, &one, 1, NULL);
	namenode(g, n, "output");
	return n;
}

void
node_inherit(Node *n, const Node *of)
{
	n->backward = of->backward;
	n->tag = of->tag;
	n->origin = of->origin;
	n->recompute = of->recompute;
	n->region = of->region;
	n->part = of->part;
	n->acgraph = of->acgraph;
	n->budget = of->budget;
	n->stream = of->stream;
}

void
node_delete(Node *n)
{
	Graph *g = n->graph;

	for (int i = 0; i < n->nout; i++)
		if (n->out[i].uses)
			bug(g->cx, n->loc, "%s is deleted but %s is used",
			    n->name, n->out[i].name);
	node_operands(n, detach, NULL);
	*(n->prev ? &n->prev->next : &g->first) = n->next;
	*(n->next ? &n->next->prev : &g->last) = n->prev;
}

/* ---- arguments ---- */

/* ---- arguments compared ----------------------------------------------------------------- */

uint64_t
hash_mix(uint64_t h, uint64_t x)
{
	h ^= x + UINT64_C(0x9e3779b97f4a7c15) + (h << 6) + (h >> 2);
	return h * UINT64_C(0xff51afd7ed558ccd);
}

uint64_t
arg_hash(const Arg *a)
{
	uint64_t h = a->kind, bits = 0;

	switch (a->kind) {
	case ArgVal:   return hash_mix(h, a->use->val->id);
	case ArgInt:   return hash_mix(h, a->i->id);
	case ArgBool:  return hash_mix(h, a->b);
	case ArgDtype: return hash_mix(h, a->dt);
	case ArgFloat: memcpy(&bits, &a->f, sizeof bits); return hash_mix(h, bits);
	case ArgList: case ArgSlice: case ArgComplex:
		for (int i = 0; i < a->list.n; i++)
			h = hash_mix(h, arg_hash(&a->list.v[i]));
		return h;
	case ArgStr: case ArgDevice: case ArgLayout:
		for (const char *s = a->s; *s; s++)
			h = hash_mix(h, (unsigned char)*s);
		return h;
	default:       return h;
	}
}

bool
arg_same(const Arg *a, const Arg *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case ArgVal:   return a->use->val == b->use->val;
	case ArgInt:   return a->i == b->i;
	case ArgBool:  return a->b == b->b;
	case ArgDtype: return a->dt == b->dt;
	case ArgMemfmt: return a->mf == b->mf;
	case ArgGraph: return a->graph == b->graph;
	case ArgFloat: return memcmp(&a->f, &b->f, sizeof a->f) == 0;
	case ArgStr: case ArgDevice: case ArgLayout: return a->s == b->s;
	case ArgNone: case ArgEllipsis: return true;
	case ArgList: case ArgSlice: case ArgComplex:
		for (int i = 0; a->list.n == b->list.n && i < a->list.n; i++)
			if (!arg_same(&a->list.v[i], &b->list.v[i]))
				return false;
		return a->list.n == b->list.n;
	}
	return false;
}

/* ---- detached arguments ----------------------------------------------------------------- */

/* No list has it yet: node_new makes a linked one of it. */
Arg
arg_val(Val *v)
{
	Use *u = NEW(v->def->graph->arena, Use);

	u->val = v;
	return (Arg){ .kind = ArgVal, .use = u };
}

Arg
arg_int(Ctx *cx, int64_t i)
{
	return (Arg){ .kind = ArgInt, .i = sym_const(cx, i) };
}

Arg
arg_sym(const Sym *s)
{
	return (Arg){ .kind = ArgInt, .i = s };
}

Arg
arg_float(double f)
{
	return (Arg){ .kind = ArgFloat, .f = f };
}

Arg
arg_bool(bool b)
{
	return (Arg){ .kind = ArgBool, .b = b };
}

Arg
arg_str(Str s)
{
	return (Arg){ .kind = ArgStr, .s = s };
}

Arg
arg_dtype(enum dtype dt)
{
	return (Arg){ .kind = ArgDtype, .dt = dt };
}

Arg
arg_none(void)
{
	return (Arg){ .kind = ArgNone };
}

Arg
arg_list(Arena *a, const Arg *v, int n)
{
	return (Arg){ .kind = ArgList,
	              .list = { arena_dup(a, v, sizeof *v * (size_t)n), n } };
}

Val *
arg_tensor(const Node *n, int i)
{
	if (i < 0 || i >= n->narg || n->arg[i].kind != ArgVal)
		return NULL;
	return n->arg[i].use->val;
}

const Arg *
node_arg(const Node *n, const char *name)
{
	for (int i = 0; i < n->op->nparam && i < n->narg; i++)
		if (strcmp(n->op->param[i].name, name) == 0)
			return &n->arg[i];
	return NULL;
}

/* ---- values ---- */

int
node_nuse(const Val *v)
{
	int n = 0;

	for (const Use *u = v->uses; u; u = u->next)
		n++;
	return n;
}

void
val_replace(Val *old, Val *with)
{
	Use *u;

	if (old == with)
		return;
	while ((u = old->uses) != NULL) {
		unlink_(u);
		u->val = with;
		u->next = with->uses;
		u->prev = &with->uses;
		if (u->next)
			u->next->prev = &u->next;
		with->uses = u;
	}
}

/* ---- copies ---- */

static void
clonenode(Graph *g, const Node *n, const Clone *c)
{
	Node *m = blank(g, n->op, n->nout, NULL, n->loc);

	m->target = n->target;
	node_inherit(m, n);
	m->annot = n->annot;
	m->name = n->name;
	if (m->nout != 1)
		map_put(g->arena, &g->names,
		        intern_printf(g->cx, "!%s", m->name), m);
	for (int i = 0; i < n->nout; i++) {
		c->val[n->out[i].id] = &m->out[i];
		m->out[i].type = n->out[i].type;
		nameval(g, &m->out[i], n->out[i].name);
	}
	copyargs(g, m, n->arg, n->narg, c);
}

Graph *
graph_clone(Graph *old)
{
	Graph *g = graph_new(old->mod, old->name, old->parent);
	Clone c = { NEWN(g->arena, Val *, old->nval) };

	FOREACH_NODE(old, n)
		clonenode(g, n, &c);
	return g;
}

/* ---- modules ---- */

bool
input_written(const Module *m, const Input *in)
{
	for (int i = 0; i < m->out.n; i++) {
		const Output *o = &m->out.v[i];
		if (o->kind == ResUserMut && o->target == in->name)
			return true;
		if ((o->kind == ResBufferMut || o->kind == ResParamMut) && o->target && o->target == in->target)
			return true;
	}
	return false;
}

bool
input_aliased(const Module *m, const Input *in)
{
	int at = 0;

	for (int i = 0; i < m->in.n && &m->in.v[i] != in; i++)
		at += m->in.v[i].val != NULL;
	for (int i = 0; m->meta && in->val && i < m->meta->out.n; i++) {
		const OutMeta *o = &m->meta->out.v[i];
		if ((o->kind == OutAliasOfInput || o->kind == OutIsInput) && o->base == at)
			return true;
	}
	return false;
}
