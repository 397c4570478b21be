/* print.c - a module as canonical FX text.
 *
 * Form B as PyTorch prints it, with strides and devices in the annotations, pragmas
 * before it and the signature and ranges after it, so that reading the text gives an
 * equal module.  A node of several results is followed by a getitem for each that
 * is used or has a name of its own.  A size among the arguments is printed as the
 * name of a value that holds it, if one was defined before, else as sym('2*s77').
 */
#include <math.h>
#include <stdlib.h>
#include "ir/ir.h"

/* ---- text ------------------------------------------------------------------------ */

static void
pystr(Text *t, const char *s, char q)
{
	text_add(t, "%c", q);
	for (; *s; s++) {
		if (*s == q || *s == '\\')
			text_add(t, "\\%c", *s);
		else if (*s == '\n')
			text_add(t, "\\n");
		else if (*s == '\t')
			text_add(t, "\\t");
		else if (*s == '\r')
			text_add(t, "\\r");
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			text_add(t, "\\x%02x", (unsigned char)*s);
		else
			text_put(t, s, 1);
	}
	text_add(t, "%c", q);
}

static void
number(Text *t, double d)
{
	char buf[32];

	double_str(buf, d);
	text_add(t, "%s", buf);
}

static void
complexnum(Text *t, const Arg *a)
{
	double v[2] = {0};

	for (int i = 0; i < 2 && i < a->list.n; i++)
		v[i] = a->list.v[i].kind == ArgFloat ? a->list.v[i].f : 0;
	text_add(t, "complex(");
	number(t, v[0]);
	text_add(t, ", ");
	number(t, v[1]);
	text_add(t, ")");
}

static void
device(Text *t, const char *s)
{
	const char *colon = strchr(s, ':');

	text_add(t, "device(type='%.*s'", colon ? (int)(colon - s) : (int)strlen(s), s);
	if (colon)
		text_add(t, ", index=%s", colon + 1);
	text_add(t, ")");
}

/* ---- what is defined where ----------------------------------------------------------- */

/* held: Sym -> Val that holds it, of the values printed so far. */
typedef struct Print {
	Ctx  *cx;
	Text *t;
	const Graph *g;
	Map   held;
	bool  getitems;      /* sizes may be named */
} Print;

static const char *
valname(const Val *v)
{
	return v->name ? v->name : "_";
}

static void
sym(Print *p, const Sym *s)
{
	const Val *v;
	int64_t k;

	if (sym_isconst(s, &k))
		text_add(p->t, "%lld", (long long)k);
	else if (s->kind == SymFloatConst)
		number(p->t, s->f);
	else if ((v = map_get(&p->held, s)))
		text_add(p->t, "%s", valname(v));
	else
		text_add(p->t, "sym('%s')", sym_str(p->cx, s));
}

static void
arg(Print *p, const Arg *a)
{
	static const char *const fmt[] = {
		[MemContiguous] = "torch.contiguous_format", [MemPreserve] = "torch.preserve_format",
		[MemChannelsLast] = "torch.channels_last", [MemChannelsLast3d] = "torch.channels_last_3d",
	};
	Text *t = p->t;

	switch (a->kind) {
	case ArgNone:     text_add(t, "None"); break;
	case ArgBool:     text_add(t, a->b ? "True" : "False"); break;
	case ArgInt:      sym(p, a->i); break;
	case ArgFloat:    number(t, a->f); break;
	case ArgStr:      pystr(t, a->s, '\''); break;
	case ArgDtype:    text_add(t, "torch.%s", dtypeinfo[a->dt].torch); break;
	case ArgLayout:   text_add(t, "torch.%s", a->s); break;
	case ArgMemfmt:   text_add(t, "%s", fmt[a->mf]); break;
	case ArgDevice:   device(t, a->s); break;
	case ArgVal:      text_add(t, "%s", a->use ? valname(a->use->val) : "_"); break;
	case ArgGraph:    text_add(t, "%s", a->graph->name); break;
	case ArgEllipsis: text_add(t, "Ellipsis"); break;
	case ArgComplex:  complexnum(t, a); break;
	case ArgList:
	case ArgSlice:
		text_add(t, a->kind == ArgList ? "[" : "slice(");
		for (int i = 0; i < a->list.n; i++) {
			if (i)
				text_add(t, ", ");
			arg(p, &a->list.v[i]);
		}
		text_add(t, a->kind == ArgList ? "]" : ")");
		break;
	}
}

const char *
arg_str_of(Ctx *cx, const Arg *a)
{
	Text t = {.arena = ctx_arena(cx)};
	Print p = {.cx = cx, .t = &t};

	arg(&p, a);
	return t.s ? t.s : "";
}

/* ---- types ----------------------------------------------------------------------------- */

static void
annotation(Print *p, const Type *type)
{
	Text *t = p->t;

	if (!type || type->kind == TyNone || type->kind == TyList)
		return;
	if (type->kind == TySym) {
		text_add(t, ": \"Sym(%s)\"", sym_str(p->cx, type->sym));
		return;
	}
	text_add(t, ": \"%s[", dtypeinfo[type->dt].text);
	for (int i = 0; i < type->rank; i++)
		text_add(t, "%s%s", i ? ", " : "", sym_str(p->cx, type->dim[i]));
	text_add(t, "][");
	for (int i = 0; i < type->rank; i++)
		text_add(t, "%s%s", i ? ", " : "", sym_str(p->cx, type_stride(p->cx, type, i)));
	text_add(t, "]cpu\"");
}

/* ---- arguments of a call ------------------------------------------------------------------ */

/* Is argument i what the schema's default gives?  A trailing run of these is left out. */
static bool
isdefault(Ctx *cx, const OpDef *op, const Node *n, int i)
{
	const char *d = op->param[i].dflt, *s;
	const Arg *a = &n->arg[i];
	size_t len;
	char *e;

	if (!d)
		return false;
	s = arg_str_of(cx, a);
	if (strcmp(s, d) == 0)
		return true;
	len = strlen(d);
	switch (a->kind) {
	case ArgStr:                          /* the schema's quotes are either kind, or none */
		if (len >= 2 && (*d == '\'' || *d == '"'))
			return strlen(a->s) == len - 2 && memcmp(a->s, d + 1, len - 2) == 0;
		return strcmp(a->s, d) == 0;
	case ArgFloat:
		return strtod(d, &e) == a->f && e != d && !*e && !signbit(a->f);
	case ArgMemfmt:
		return strcmp(s + strlen("torch."), d) == 0;
	case ArgList:
		return a->list.n == 0 && strcmp(d, "[]") == 0;
	default:
		return false;
	}
}

static void
arguments(Print *p, const Node *n)
{
	const OpDef *op = n->op;
	int last = n->narg, npos = 0;
	bool first = true;

	while (npos < n->narg && npos < op->nparam && !op->param[npos].kwonly)
		npos++;
	last = npos;
	while (last > 0 && isdefault(p->cx, op, n, last - 1))
		last--;
	for (int i = 0; i < n->narg && i < op->nparam; i++) {
		if (i < npos ? i >= last : isdefault(p->cx, op, n, i))
			continue;
		text_add(p->t, "%s", first ? "" : ", ");
		first = false;
		if (i >= npos)
			text_add(p->t, "%s = ", op->param[i].name);
		arg(p, &n->arg[i]);
	}
}

static const char *
opsymbol(const char *name)
{
	static const char *const map[][2] = {
		{"add", "+"}, {"sub", "-"}, {"mul", "*"}, {"truediv", "/"}, {"floordiv", "//"}, {"mod", "%"}, {"pow", "**"},
		{"lshift", "<<"}, {"rshift", ">>"}, {"and_", "&"}, {"or_", "|"}, {"eq", "=="}, {"ne", "!="},
		{"lt", "<"}, {"le", "<="}, {"gt", ">"}, {"ge", ">="},
	};

	for (int i = 0; i < COUNT(map); i++)
		if (strcmp(name, map[i][0]) == 0)
			return map[i][1];
	return NULL;
}

static void
call(Print *p, const Node *n)
{
	const char *name = n->op->name, *s;

	if (strncmp(name, "operator.", 9) == 0 && n->narg == 2 && (s = opsymbol(name + 9))) {
		arg(p, &n->arg[0]);
		text_add(p->t, " %s ", s);
		arg(p, &n->arg[1]);
		return;
	}
	if (strcmp(name, "operator.neg") == 0 && n->arg[0].kind == ArgInt) {
		text_add(p->t, "-");
		arg(p, &n->arg[0]);
		return;
	}
	if (strncmp(name, "torch.", 6) == 0 || strncmp(name, "operator.", 9) == 0 || strncmp(name, "math.", 5) == 0 ||
	    strncmp(name, "builtins.", 9) == 0)
		text_add(p->t, "%s(", name);
	else
		text_add(p->t, "torch.ops.%s(", name);
	arguments(p, n);
	text_add(p->t, ")");
}

/* ---- statements -------------------------------------------------------------------------------- */

static bool
shown(const Val *v)
{
	return v->uses || (v->name && !strstr(v->name, "_unused_"));
}

static bool
single(const Node *n)
{
	return n->nout == 1 && n->op->nret == 1 && !n->op->ret[0].list && !(n->op->flags & OP(Hop));
}

static void
hold(Print *p, const Val *v)
{
	const Type *t = v->type;
	Arena *a = ctx_arena(p->cx);

	if (t && t->kind == TySym && t->sym->kind != SymConst && !map_get(&p->held, t->sym))
		map_put(a, &p->held, t->sym, (void *)v);
}

/* A sub-graph is an attribute of the module around it. */
static void
names(Text *t, const Arg *a, const char *indent)
{
	if (a->kind == ArgGraph)
		text_add(t, "%s%s = self.%s\n", indent, a->graph->name, a->graph->name);
	for (int i = 0; a->kind == ArgList && i < a->list.n; i++)
		names(t, &a->list.v[i], indent);
}

/* Hooks of saved tensors are no part of the program: a cast in one is written as Dynamo
 * writes it, so that whoever counts operators does not meet it. */
static bool
hookcast(Print *p, const Node *n)
{
	Str name = n->graph->name;

	if (name == NULL || strncmp(name, "saved_tensors_hooks_", 20) != 0 || strcmp(n->op->name, "aten.to.dtype") != 0)
		return false;
	for (int i = 2; i < n->narg; i++)
		if (n->arg[i].kind != ArgNone && !(n->arg[i].kind == ArgBool && !n->arg[i].b))
			return false;
	arg(p, &n->arg[0]);
	text_add(p->t, ".to(");
	arg(p, &n->arg[1]);
	text_add(p->t, ")");
	return true;
}

static void
statement(Print *p, const Node *n, const char *indent)
{
	Text *t = p->t;

	if (n->op == &opplaceholder)
		return;
	if (n->op == &opgetattr) {
		text_add(t, "%s%s", indent, valname(&n->out[0]));
		annotation(p, n->out[0].type);
		text_add(t, " = self.%s\n", n->target);
		return;
	}
	if (n->op == &opoutput) {
		text_add(t, "%sreturn (", indent);
		for (int i = 0; i < n->arg[0].list.n; i++) {
			if (i)
				text_add(t, ", ");
			arg(p, &n->arg[0].list.v[i]);
		}
		text_add(t, n->arg[0].list.n == 1 ? ",)\n" : ")\n");
		return;
	}
	for (int i = 0; i < n->narg; i++)
		names(t, &n->arg[i], indent);
	text_add(t, "%s%s", indent, single(n) ? valname(&n->out[0]) : n->name ? n->name : "_");
	if (single(n))
		annotation(p, n->out[0].type);
	text_add(t, " = ");
	if (!hookcast(p, n))
		call(p, n);
	text_add(t, "\n");
	if (single(n)) {
		hold(p, &n->out[0]);
		return;
	}
	for (int i = 0; i < n->nout; i++)
		if (shown(&n->out[i])) {
			text_add(t, "%s%s", indent, valname(&n->out[i]));
			annotation(p, n->out[i].type);
			text_add(t, " = %s[%d]\n", n->name, i);
			hold(p, &n->out[i]);
		}
}

void
node_print(const Node *n, Text *t)
{
	Print p = {.cx = n->graph->cx, .t = t, .g = n->graph};

	if (n->op == &opplaceholder) {
		text_add(t, "%s", valname(&n->out[0]));
		annotation(&p, n->out[0].type);
		text_add(t, "\n");
		return;
	}
	statement(&p, n, "");
}

const char *const recompute_text[] = {"", "MUST_SAVE", "PREFER_SAVE", "PREFER_RECOMPUTE", "MUST_RECOMPUTE"};

/* Where a node comes from and what autograd is to do with it; NULL: nothing is known. */
static const char *
provenance(Ctx *cx, const Node *n)
{
	Str at = loc_python(cx, n->loc);
	Text t = {.arena = ctx_arena(cx)};

	if (n->region == GradOff)
		text_add(&t, "no_grad ");
	if (n->part) {
		const Settings *r = &n->graph->mod->part.v[n->part - 1];
		text_add(&t, "fxcc.region=\"%s\", opts=\"%s\" ", r->name, r->opts);
	}
	if (n->budget > 0)
		text_add(&t, "Annotation: {'_region_activation_memory_budget': %g} ", (double)n->budget - 1);
	if (n->acgraph)
		text_add(&t, "ac_graph_id: %d %s", n->acgraph, n->recompute ? "- " : "");
	else if (n->recompute)
		text_add(&t, "recompute: ");
	if (n->recompute)
		text_add(&t, "%s ", recompute_text[n->recompute]);
	if (n->backward)
		text_add(&t, "Backward of forward node: %s%s", n->origin ? n->origin : "", n->origin ? " " : "");
	if (t.n == 0 && !at)
		return NULL;
	text_add(&t, "%s%s", at ? "File: " : "No stacktrace found for following nodes", at ? at : "");
	return t.s;
}

/* The comment that says where the next nodes come from, when that changes. */
static void
location(Print *p, const Node *n, const char **last, bool first, const char *indent)
{
	const char *at = n->op->flags & OP(Leaf) ? *last : provenance(p->cx, n);

	if (at == *last || (at && *last && strcmp(at, *last) == 0))
		return;
	text_add(p->t, "%s%s# %s\n", first ? "" : "\n", indent, at ? at : "No stacktrace found for following nodes");
	*last = at;
}

/* ---- graphs ------------------------------------------------------------------------------------- */

/* Inputs that have no placeholder are parameters too, in their place. */
static void
params(Print *p, const Graph *g, const Module *m)
{
	Node *n = g->first;
	bool main = m && m->main == g;

	text_add(p->t, "self");
	for (int i = 0; main && i < m->in.n; i++) {
		const Input *in = &m->in.v[i];

		if (in->kind == InToken && !in->val)
			continue;
		if (!in->val) {
			text_add(p->t, ", %s", in->name);
			continue;
		}
		text_add(p->t, ", %s", valname(in->val));
		annotation(p, in->val->type);
		hold(p, in->val);
	}
	for (; !(main && m->in.n) && n && n->op == &opplaceholder; n = n->next) {
		text_add(p->t, ", %s", valname(&n->out[0]));
		annotation(p, n->out[0].type);
		hold(p, &n->out[0]);
	}
}

static void
graph(Text *t, const Graph *g, int depth);

static void
child(Text *t, const Arg *a, int depth, Arena *arena, Map *seen)
{
	for (int i = 0; a->kind == ArgList && i < a->list.n; i++)
		child(t, &a->list.v[i], depth, arena, seen);
	if (a->kind != ArgGraph || map_get(seen, a->graph))
		return;
	map_put(arena, seen, a->graph, a->graph);
	text_add(t, "\n");
	graph(t, a->graph, depth);
}

/* The sub-graphs that the nodes of g use, each once, in order. */
static void
children(Text *t, const Graph *g, int depth)
{
	Map seen = {0};

	FOREACH_NODE(g, n)
		for (int i = 0; i < n->narg; i++)
			child(t, &n->arg[i], depth, g->arena, &seen);
}

static void
graph(Text *t, const Graph *g, int depth)
{
	Print p = {.cx = g->cx, .t = t, .g = g};
	const char *in = arena_printf(g->arena, "%*s", depth * 4, "");
	const char *body = arena_printf(g->arena, "%*s", depth * 4 + 8, "");
	const char *last = NULL;
	bool first = true;

	text_add(t, "%sclass %s(torch.nn.Module):\n%s    def forward(", in, g->name ? g->name : "GraphModule", in);
	params(&p, g, g->parent ? NULL : g->mod);
	text_add(t, "):\n");
	FOREACH_NODE(g, n) {
		if (n->op == &opplaceholder)
			continue;
		location(&p, n, &last, first, body);
		first = false;
		statement(&p, n, body);
	}
	children(t, g, depth + 1);
	for (int i = 0; g == g->mod->main && i < 2; i++)
		if (i ? g->mod->unpack : g->mod->pack) {
			text_add(t, "\n");
			graph(t, i ? g->mod->unpack : g->mod->pack, depth + 1);
		}
}

void
graph_print(const Graph *g, Text *t)
{
	graph(t, g, 0);
}

/* ---- modules ----------------------------------------------------------------------------------------- */

const char *const inkind_text[] = {
#define X(n, t) t,
	INKINDS(X)
#undef X
};
const char *const outkind_text[] = {
#define X(n, t) t,
	OUTKINDS(X)
#undef X
};

static void
pragma(Text *t, const char *word, const char *a, const char *b)
{
	text_add(t, "#fxg %s ", word);
	pystr(t, a, '"');
	if (b) {
		text_add(t, " ");
		pystr(t, b, '"');
	}
	text_add(t, "\n");
}

static void
constant(Text *t, Ctx *cx, const Input *in)
{
	if (in->value.kind == ArgStr)
		pystr(t, in->value.s, '"');
	else
		text_add(t, "%s", arg_str_of(cx, &in->value));
}

static void
pragmas(const Module *m, Text *t)
{
	bool grad = false;

	text_add(t, "#fxg 1\n");
	if (m->torch)
		text_add(t, "#fxg torch %s\n", m->torch);
	if (m->dialect)
		text_add(t, "#fxg dialect %s\n", m->dialect);
	for (int i = 0; i < m->weightfile.n; i++)
		pragma(t, "weights", m->weightfile.v[i], NULL);
	for (int i = 0; i < m->in.n; i++) {
		const Input *in = &m->in.v[i];
		const Type *ty = in->val ? in->val->type : NULL;

		if (in->kind == InParam && !in->requires_grad && ty && ty->kind == TyTensor && dt_float(ty->dt) && in->target)
			pragma(t, "frozen", in->target, NULL);
		if (in->value.kind != ArgNone && in->kind == InTangent)        /* of a loss */
			text_add(t, "#fxg const %s %s\n", in->name, arg_str_of(m->cx, &in->value));
		if (in->kind == InUser && !in->val) {
			text_add(t, "#fxg const %s ", in->name);
			constant(t, m->cx, in);
			text_add(t, "\n");
		}
		grad |= in->kind == InUser && in->requires_grad;
	}
	for (int i = 0; i < m->in.n; i++) {                 /* tied weights: the first of a storage is the one */
		const Weight *w = m->in.v[i].weight;

		for (int k = 0; w && w->storage && k < i; k++) {
			const Weight *v = m->in.v[k].weight;

			if (v && v != w && v->storage == w->storage && v->type == w->type && v->data == w->data &&
			    m->in.v[i].target && m->in.v[k].target) {
				pragma(t, "alias", m->in.v[i].target, m->in.v[k].target);
				break;
			}
		}
	}
	for (int i = 0; i < m->whole.n; i++) {
		text_add(t, "#fxg composite %s %s", m->whole.v[i].name, m->whole.v[i].kind);
		for (int k = 0; k < m->whole.v[i].part.n; k++)
			text_add(t, " %s", m->whole.v[i].part.v[k]);
		text_add(t, "\n");
	}
	for (int i = 0; i < m->guard.n; i++)
		pragma(t, "guard", m->guard.v[i].text, m->guard.v[i].message);
	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].kind == InUser)
			pragma(t, "argname", m->in.v[i].argname ? m->in.v[i].argname : m->in.v[i].name, NULL);
	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].nonleaf)
			text_add(t, "#fxg nonleaf %s\n", m->in.v[i].name);
	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].storage)
			text_add(t, "#fxg storage %s %d %lld\n", m->in.v[i].name, m->in.v[i].storage - 1, (long long)m->in.v[i].offset);
	for (int i = 0; i < m->out.n; i++)
		if ((m->out.v[i].kind == ResUser || m->out.v[i].kind == ResLoss) && m->out.v[i].name)
			pragma(t, "resname", m->out.v[i].name, NULL);
	if (grad) {
		text_add(t, "#fxg requires_grad");
		for (int i = 0; i < m->in.n; i++)
			if (m->in.v[i].kind == InUser && m->in.v[i].requires_grad)
				text_add(t, " %s", m->in.v[i].val ? valname(m->in.v[i].val) : m->in.v[i].name);
		text_add(t, "\n");
	}
}

static void
signature(const Module *m, Text *t)
{
	const Node *out = m->main->last;

	text_add(t, "\nGraph signature:\n    # inputs\n");
	for (int i = 0; i < m->in.n; i++) {
		const Input *in = &m->in.v[i];

		if (in->kind == InToken && !in->val)
			continue;
		text_add(t, "    %s: %s", in->val ? valname(in->val) : in->name, inkind_text[in->kind]);
		if (in->target && in->kind != InUser)
			text_add(t, " target='%s'", in->target);
		if (in->kind == InBuffer)
			text_add(t, " persistent=%s", in->persistent ? "True" : "False");
		text_add(t, "\n");
	}
	text_add(t, "\n    # outputs\n");
	for (int i = 0; i < m->out.n && out && out->narg && i < out->arg[0].list.n; i++) {
		const Arg *a = &out->arg[0].list.v[i];

		text_add(t, "    %s: %s", a->kind == ArgVal ? valname(a->use->val) : "", outkind_text[m->out.v[i].kind]);
		if (m->out.v[i].target)
			text_add(t, " target='%s'", m->out.v[i].target);
		text_add(t, "\n");
	}
}

typedef VEC(const Sym *) Syms;

static void
symvars(Ctx *cx, const Sym *s, Syms *v)
{
	const Sym **var = NULL;
	int n = 0;

	sym_vars(ctx_arena(cx), s, &var, &n);
	for (int i = 0; i < n; i++) {
		bool have = false;

		for (int k = 0; k < v->n; k++)
			have |= v->v[k] == var[i];
		if (!have)
			vec_push(ctx_arena(cx), v, var[i]);
	}
}

static void graphvars(const Graph *, Syms *);

static void
argvars(Ctx *cx, const Arg *a, Syms *v)
{
	if (a->kind == ArgInt)
		symvars(cx, a->i, v);
	else if (a->kind == ArgGraph)
		graphvars(a->graph, v);
	else if (a->kind == ArgList || a->kind == ArgSlice)
		for (int i = 0; i < a->list.n; i++)
			argvars(cx, &a->list.v[i], v);
}

static void
graphvars(const Graph *g, Syms *v)
{
	FOREACH_NODE(g, n) {
		for (int i = 0; i < n->nout; i++) {
			const Type *t = n->out[i].type;

			if (!t)
				continue;
			if (t->kind == TySym)
				symvars(g->cx, t->sym, v);
			for (int d = 0; t->kind == TyTensor && d < t->rank; d++) {
				symvars(g->cx, t->dim[d], v);
				if (t->stride)
					symvars(g->cx, t->stride[d], v);
			}
		}
		for (int i = 0; i < n->narg; i++) {
			argvars(g->cx, &n->arg[i], v);
		}
	}
}

static void
bound(Text *t, int64_t k)
{
	if (k == INT64_MIN)
		text_add(t, "-int_oo");
	else if (k == INT64_MAX)
		text_add(t, "int_oo");
	else
		text_add(t, "%lld", (long long)k);
}

static void
ranges(const Module *m, Text *t)
{
	Syms v = {0};

	graphvars(m->main, &v);
	text_add(t, "\nRange constraints: {");
	for (int i = 0; i < v.n; i++) {
		text_add(t, "%s%s: VR[", i ? ", " : "", v.v[i]->name);
		bound(t, v.v[i]->lo);
		text_add(t, ", ");
		bound(t, v.v[i]->hi);
		text_add(t, "]");
	}
	text_add(t, "}\n");
}

void
module_print(const Module *m, Text *t)
{
	pragmas(m, t);
	text_add(t, "\n");
	graph(t, m->main, 0);
	signature(m, t);
	ranges(m, t);
}
