/* export.c - a program of torch.export, in JSON, becomes a Module.
 *
 * The JSON has calls only: no placeholders, getitems or outputs.  Values are
 * named by the outputs of nodes, and the inputs and outputs of a graph refer to
 * these names.  Three kinds of nodes never become nodes of ours:
 *
 *  - those that only compute sizes: the result is known as a Sym, and every use
 *    takes the Sym;
 *  - higher-order wrappers that run their body as it is (set_grad_enabled,
 *    autocast, checkpoint): the body is read in place;
 *  - with_effects: the operator inside becomes the node.  Tokens only order
 *    effects, and our nodes are in order.
 *
 * Unknown operators are collected over all graphs before anything is built, so
 * that one run names them all.
 */
#include "front/export.h"
#include "ir/autocast.h"
#include "ir/part.h"

enum { MaxNest = 32 };

/* ---- names of operators ------------------------------------------------------- */

static const char *
after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* "torch.ops.aten.add.Tensor" -> "aten.add.Tensor" */
static Str
opname(Reader *r, Str target)
{
	const char *s = after(target, "torch.ops.");

	if (s)
		return intern_str(r->cx, s);
	s = after(target, "_operator.");
	return s ? intern_printf(r->cx, "operator.%s", s) : target;
}

/* Wrappers whose body runs as it is, perhaps in a mode, and where it stands among the inputs. */
static const struct { const char *name; int body; } wrappers[] = {
	{ "higher_order.wrap_with_set_grad_enabled", 1 },
	{ "higher_order.wrap_with_autocast",         4 },
	{ "higher_order.wrap_activation_checkpoint", 0 },
	{ "higher_order.tag_activation_checkpoint",  0 },
	{ "higher_order.wrap",                       0 },
	{ "higher_order.strict_mode",                0 },
};

static Json *
input(Reader *r, const Json *node, int i, const char *tag)
{
	Json *in = get(r, node, "inputs");
	Str t = intern_str(r->cx, tag);

	if (in == NULL || in->kind != JsonArray || i >= in->n)
		return NULL;
	return json_get(get(r, in->v[i], "arg"), t);
}

/* The index of the node's wrapper, -1 if it is none. */
static int
wrapper(Reader *r, Str name, const Json *node)
{
	for (int i = 0; i < COUNT(wrappers); i++)
		if (strcmp(wrappers[i].name, name) == 0)
			return input(r, node, wrappers[i].body, "as_graph") ? i : -1;
	return -1;
}

/* Sizes computed from sizes: every output is a sym value, and the operator
 * only looks at shapes or numbers.  (item also gives one, but defines it.) */
static bool
sizeonly(Reader *r, Str target, const Json *outputs)
{
	if (after(target, "torch.ops.") && !after(target, "torch.ops.aten.sym_"))
		return false;
	for (int i = 0; i < outputs->n; i++) {
		const Json *u = outputs->v[i];
		if (u->kind != JsonObject || u->n != 1 || !after(u->key[0], "as_sym_"))
			return false;
	}
	return outputs->n > 0 && r != NULL;
}

/* Calls by which a vmap is written (vmap.c). */
static bool
vmapcall(Str target, const char **name)
{
	static const char *const known[] = {"lazy_load_decompositions", "_vmap_increment_nesting", "_vmap_decrement_nesting",
	                                    "_add_batch_dim", "_remove_batch_dim"};

	*name = after(target, "torch._functorch.predispatch.");
	for (int i = 0; *name && i < COUNT(known); i++)
		if (strcmp(*name, known[i]) == 0)
			return true;
	return false;
}

/* ---- places --------------------------------------------------------------------- */

/* One frame of a stack trace: File "PATH", line N, in FUNC */
static const char *
frame(const char *s, const char **path, int *npath, const char **line, int *nline,
      const char **fn, int *nfn)
{
	s = strstr(s, "File \"");
	if (s == NULL)
		return NULL;
	*path = s += 6;
	*npath = (int)strcspn(s, "\"\n");
	s += *npath;
	*line = s = strncmp(s, "\", line ", 8) == 0 ? s + 8 : s;
	*nline = (int)strspn(s, "0123456789");
	s += *nline;
	*fn = s = strncmp(s, ", in ", 5) == 0 ? s + 5 : s;
	*nfn = (int)strcspn(s, "\n");
	return s + *nfn;
}

/* The path of the innermost module: `key,path,type;key,path,type`; brackets may
 * hold commas and semicolons. */
static const char *
modulepath(const char *s, int *n)
{
	const char *path = "";
	int field = 0, depth = 0;

	*n = 0;
	for (; *s; s++) {
		if (*s == '(' || *s == '[')
			depth++;
		else if (*s == ')' || *s == ']')
			depth--;
		else if (depth <= 0 && (*s == ';' || *s == ',')) {
			field = *s == ';' ? 0 : field + 1;
			if (field == 1) {
				path = s + 1;
				*n = 0;
			}
			continue;
		}
		if (field == 1)
			*n = (int)(s + 1 - path);
	}
	return path;
}

/* "model.py:12 in forward (layer.0)": the innermost frame that is not torch's
 * own, since that is the line the user wrote. */
static Str
python(Reader *r, const Json *meta)
{
	Json *trace = get(r, meta, "stack_trace"), *stack = get(r, meta, "nn_module_stack");
	const char *s = trace && trace->kind == JsonStr ? trace->s : "", *p, *l, *f, *m = "";
	const char *path = NULL, *line = "", *fn = "";
	int np, nl, nf, npath = 0, nline = 0, nfn = 0, nm = 0;
	bool user = false;

	while ((s = frame(s, &p, &np, &l, &nl, &f, &nf)) != NULL) {
		bool torch = memmem(p, (size_t)np, "site-packages/torch/", 20) != NULL;
		if (torch && user)
			continue;
		user |= !torch;
		path = p, npath = np, line = l, nline = nl, fn = f, nfn = nf;
	}
	if (stack && stack->kind == JsonStr)
		m = modulepath(stack->s, &nm);
	if (path == NULL)
		return nm ? intern_printf(r->cx, "(%.*s)", nm, m) : NULL;
	return intern_printf(r->cx, nm ? "%.*s:%.*s in %.*s (%.*s)" : "%.*s:%.*s in %.*s",
	                     npath, path, nline, line, nfn, fn, nm, m);
}

/* The name of what a union TensorArgument, SymIntArgument ... defines; NULL: none. */
static Str
defines(Reader *r, const Json *u)
{
	Json *j;

	if (u->kind != JsonObject || u->n != 1)
		return NULL;
	j = get(r, u->v[0], after(u->key[0], "as_sym_") ? "as_name" : "name");
	return j && j->kind == JsonStr ? j->s : NULL;
}

static Str
nodename(Reader *r, const Json *node, const Json *outputs)
{
	Json *name = get(r, node, "name");
	Str s = NULL;

	if (name && name->kind == JsonStr)
		return name->s;
	for (int i = 0; i < outputs->n && s == NULL; i++) {
		const Json *u = outputs->v[i];
		if (u->kind != JsonObject || u->n != 1 || u->v[0]->kind != JsonArray)
			s = defines(r, u);
		else if (u->v[0]->n && (name = get(r, u->v[0]->v[0], "name")) != NULL)
			s = name->kind == JsonStr ? name->s : NULL;
	}
	return s;
}

/* ---- what is not supported ---------------------------------------------------------- */

static bool collect(Reader *, const Json *graph, Unsupported *, int depth);

static bool
collectnode(Reader *r, const Json *node, Unsupported *u, int depth)
{
	Json *in = need(r, node, "inputs", JsonArray), *out = need(r, node, "outputs", JsonArray);
	const char *call;
	Str target, name;

	if (!in || !out || !need_str(r, node, "target", &target))
		return false;
	name = opname(r, target);
	r->loc = loc_node(r->cx, r->file, nodename(r, node, out), python(r, get(r, node, "metadata")));
	if (strcmp(name, "higher_order.with_effects") == 0) {
		Json *op = input(r, node, 1, "as_operator");
		if (op && op->kind == JsonStr)
			name = opname(r, op->s);
	}
	if (!op_find(name) && wrapper(r, name, node) < 0 && !sizeonly(r, target, out) && !vmapcall(target, &call))
		unsupported_add(r->cx, u, name, r->loc);
	for (int i = 0; i < in->n; i++) {
		Json *g = input(r, node, i, "as_graph");
		if (g && !collect(r, get(r, g, "graph"), u, depth + 1))
			return false;
	}
	return true;
}

static bool
collect(Reader *r, const Json *graph, Unsupported *u, int depth)
{
	Json *nodes = need(r, graph, "nodes", JsonArray);

	if (nodes == NULL)
		return false;
	if (depth > MaxNest)
		return bad(r, "sub-graphs are nested deeper than %d", MaxNest);
	for (int i = 0; i < nodes->n; i++)
		if (!collectnode(r, nodes->v[i], u, depth))
			return false;
	return true;
}

/* ---- nodes ---------------------------------------------------------------------------- */

/* One call while it is read. */
typedef struct Call {
	const OpDef *op;
	Json *inputs, *outputs;
	int   in, out;          /* the first that belong to the operator */
	Str   name;
	bool  positional;
	int   part;             /* region of "custom" metadata, 0 */
} Call;

static Node *
make(Scope *s, const Call *c, int nout)
{
	Reader *r = s->r;
	int n = c->inputs->n - c->in, npos = 0, nkw = 0;
	Arg *pos = NEWN(r->a, Arg, n + 1), *kw = NEWN(r->a, Arg, n + 1), v;
	Arg *bound = NEWN(r->a, Arg, c->op->nparam + 1);
	Str *key = NEWN(r->a, Str, n + 1);

	for (int i = c->in; i < c->inputs->n; i++) {
		const Json *in = c->inputs->v[i], *arg = need(r, in, "arg", JsonObject);
		Str name;
		if (!arg || !need_str(r, in, "name", &name) || !read_arg(s, arg, &v))
			return NULL;
		if (c->positional || *name == '\0') {
			pos[npos++] = v;
		} else {
			key[nkw] = name;
			kw[nkw++] = v;
		}
	}
	if (npos > 2 && strcmp(c->op->name, "higher_order.print") == 0) {
		pos[1] = arg_list(r->a, pos + 1, npos - 1);
		npos = 2;
	}
	if (!op_bind(r->cx, r->loc, c->op, pos, npos, key, kw, nkw, bound))
		return NULL;
	Node *made = node_new(s->g, c->op, bound, c->op->nparam, nout, NULL, r->loc);
	made->region = r->nograd ? GradOff : GradOn;
	made->part = (uint16_t)c->part;
	made->acgraph = r->acgraph;
	made->recompute = r->acgraph ? PreferRecompute : RecomputeFree;
	return made;
}

static bool
result(Scope *s, Node *n, int i, Str name, const Type *t)
{
	Val *v = &n->out[i];

	if (lookup(s, name))
		return bad(s->r, "\"%s\" is defined twice", name);
	v->type = t;
	if (i == 0)
		n->annot = t;
	val_rename(s->g, v, name);
	bind(s, name, (Bound){ .kind = BoundVal, .val = v });
	return true;
}

/* A tensor of the list or option that an output is; name "" is none. */
static bool
tensorresult(Scope *s, Node *n, int i, const Json *arg)
{
	const Type *t;
	Str name;

	return need_str(s->r, arg, "name", &name) && tensor_type(s, name, &t) &&
	       result(s, n, i, name, t);
}

static bool
symresult(Scope *s, Node *n, int i, const Json *arg)
{
	Str name;
	const Sym *sym;

	if (!need_str(s->r, arg, "as_name", &name))
		return false;
	sym = sym_value(s, name);
	if (sym == NULL)
		return false;
	if (!result(s, n, i, name, type_sym(s->r->cx, sym)))
		return false;
	bind(s, name, (Bound){ .kind = BoundSym, .sym = sym });
	return true;
}

/* An output that may be absent: as_none, or an OptionalTensorArgument. */
static bool
noneresult(Scope *s, Node *n, int i)
{
	Str name = intern_printf(s->r->cx, "%s_none", n->name ? n->name : "result");

	n->out[i].type = type_none(s->r->cx);
	val_rename(s->g, &n->out[i], name);
	return true;
}

static bool
optionalresult(Scope *s, Node *n, int i, const Json *u)
{
	Json *t = get(s->r, u, "as_tensor");

	return t ? tensorresult(s, n, i, t) : noneresult(s, n, i);
}

/* How many results the outputs are: a Tensor[] counts each element. */
static int
nresult(const Call *c)
{
	int n = 0;

	for (int i = c->out; i < c->outputs->n; i++) {
		const Json *u = c->outputs->v[i];
		n += u->kind == JsonObject && u->n == 1 && u->v[0]->kind == JsonArray &&
		     strcmp(u->key[0], "as_none") != 0 ? u->v[0]->n : 1;
	}
	/* an operator without results may be written as returning none */
	return c->op->nret == 0 && !(c->op->flags & OP(Hop)) ? 0 : n;
}

static bool
results(Scope *s, Node *n, const Call *c)
{
	int k = 0;
	Str tag;

	for (int i = c->out; i < c->outputs->n && k < n->nout; i++) {
		const Json *j = member(s->r, c->outputs->v[i], &tag);
		bool ok = true;
		if (j == NULL)
			return false;
		if (strcmp(tag, "as_tensor") == 0)
			ok = tensorresult(s, n, k++, j);
		else if (strcmp(tag, "as_none") == 0)
			ok = noneresult(s, n, k++);
		else if (strcmp(tag, "as_optional_tensor") == 0)
			ok = optionalresult(s, n, k++, j);
		else if (strncmp(tag, "as_sym_", 7) == 0 && j->kind == JsonObject)
			ok = symresult(s, n, k++, j);
		else if (j->kind != JsonArray)
			return bad(s->r, "a result of the unsupported kind \"%s\"", tag);
		else for (int e = 0; e < j->n && ok; e++)
			ok = strcmp(tag, "as_tensors") == 0 ? tensorresult(s, n, k++, j->v[e]) :
			     strcmp(tag, "as_optional_tensors") == 0 ? optionalresult(s, n, k++, j->v[e]) :
			     strncmp(tag, "as_sym_", 7) == 0 ? symresult(s, n, k++, j->v[e]) :
			     bad(s->r, "a result of the unsupported kind \"%s\"", tag);
		if (!ok)
			return false;
	}
	return true;
}

static bool
sizes(Scope *s, const Json *outputs)
{
	for (int i = 0; i < outputs->n; i++) {
		Str name = defines(s->r, outputs->v[i]);
		const Sym *sym;
		if (name == NULL)
			return bad(s->r, "a size without a name");
		sym = sym_value(s, name);
		if (sym == NULL)
			return false;
		bind(s, name, (Bound){ .kind = BoundSym, .sym = sym });
	}
	return true;
}

static bool readnode(Scope *, const Json *);

static bool
readnodes(Scope *s)
{
	Json *nodes = need(s->r, s->json, "nodes", JsonArray);

	for (int i = 0; nodes && i < nodes->n; i++)
		if (!readnode(s, nodes->v[i]))
			return false;
	return nodes != NULL;
}

static bool
scope(Scope *s, Reader *r, Graph *g, const Json *json, int depth)
{
	*s = (Scope){ .r = r, .g = g, .json = json, .depth = depth };
	s->tensors = need(r, json, "tensor_values", JsonObject);
	if (depth > MaxNest)
		return bad(r, "sub-graphs are nested deeper than %d", MaxNest);
	return s->tensors != NULL;
}

/* What a wrapper's operand gives to the body's parameter. */
static bool
pass(Scope *outer, const Json *operand, Scope *inner, const Json *parameter)
{
	Json *arg = need(outer->r, operand, "arg", JsonObject);
	Str name = defines(outer->r, parameter), from = arg ? defines(outer->r, arg) : NULL;
	Bound *b = from ? lookup(outer, from) : NULL;

	if (name == NULL)
		return arg != NULL;     /* a literal, written in the body too */
	if (b == NULL)
		return bad(outer->r, "parameter \"%s\" of the body gets no value", name);
	bind(inner, name, *b);
	return true;
}

static bool
isfalse(const Json *j)
{
	return j && j->kind == JsonBool && !j->b;
}

/* device, dtype, enabled, cache */
static bool
autocast(Reader *r, const Json *node)
{
	Json *dt = input(r, node, 1, "as_scalar_type");

	r->autocast = DtBF16;
	if (isfalse(input(r, node, 2, "as_bool")))
		r->autocast = DtNone;
	else if (dt)
		return as_dtype(r, dt, &r->autocast);
	return true;
}

/* The body of a wrapper, read in place. */
static bool
inlined(Scope *s, const Json *node, int w, const Call *c)
{
	Reader *r = s->r;
	Json *body = need(r, input(r, node, wrappers[w].body, "as_graph"), "graph", JsonObject);
	Json *in, *out;
	Loc loc = r->loc;
	Scope b;

	if (!body || !scope(&b, r, s->g, body, s->depth + 1))
		return false;
	in = need(r, body, "inputs", JsonArray);
	out = need(r, body, "outputs", JsonArray);
	if (!in || !out)
		return false;
	if (in->n != c->inputs->n - wrappers[w].body - 1 || out->n != c->outputs->n)
		return bad(r, "the body does not fit the call");
	for (int i = 0; i < in->n; i++)
		if (!pass(s, c->inputs->v[wrappers[w].body + 1 + i], &b, in->v[i]))
			return false;
	bool nograd = r->nograd, ok;
	int acgraph = r->acgraph;
	enum dtype cast = r->autocast;

	if (wrappers[w].body == 4 && !autocast(r, node))
		return false;
	if (wrappers[w].body == 1)
		r->nograd = isfalse(input(r, node, 0, "as_bool"));
	if (strstr(wrappers[w].name, "activation_checkpoint"))
		r->acgraph = ++r->nregion;
	ok = readnodes(&b);
	r->nograd = nograd;
	r->acgraph = acgraph;
	r->autocast = cast;
	if (!ok)
		return false;
	r->loc = loc;
	for (int i = 0; i < out->n; i++) {
		Str outer = defines(r, c->outputs->v[i]), inner = defines(r, out->v[i]);
		Bound *v = inner ? lookup(&b, inner) : NULL;
		if (outer && v == NULL)
			return bad(r, "result \"%s\" of the body is not defined", outer);
		if (outer)
			bind(s, outer, *v);
	}
	return true;
}

/* with_effects(token, op, args...) gives (token, results...). */
static bool
effects(Scope *s, const Json *node, Call *c)
{
	Json *op = input(s->r, node, 1, "as_operator");
	Str token = c->outputs->n ? defines(s->r, c->outputs->v[0]) : NULL;

	if (op == NULL || op->kind != JsonStr || token == NULL)
		return bad(s->r, "with_effects of this form is not supported");
	bind(s, token, (Bound){ .kind = BoundToken });
	c->op = op_find(opname(s->r, op->s));
	c->in = 2;
	c->out = 1;
	return true;
}

/* tensor, dim, level; tensor, level, size, dim */
static bool
batched(Scope *s, const Json *node, const Call *c, bool in)
{
	Json *of = input(s->r, node, 0, "as_tensor"), *dim = input(s->r, node, in ? 1 : 3, "as_int");
	VmapAt at = export_at(s);
	Str from, to = c->outputs->n ? defines(s->r, c->outputs->v[0]) : NULL;
	Bound *b;
	Val *v;

	if (!of || !need_str(s->r, of, "name", &from) || !(b = lookup(s, from)) || b->kind != BoundVal || !dim || dim->kind != JsonInt || !to)
		return bad(s->r, "%s needs a tensor and a dimension", in ? "_add_batch_dim" : "_remove_batch_dim");
	v = in ? vmap_row(&at, b->val, dim->i) : vmap_rows(&at, b->val, dim->i);
	if (!v)
		return false;
	if (lookup(s, to))
		return bad(s->r, "\"%s\" is defined twice", to);
	bind(s, to, (Bound){.kind = BoundVal, .val = v});
	return true;
}

static bool
vmapped(Scope *s, const char *name, const Json *node, const Call *c)
{
	VmapAt at = export_at(s);
	bool begins = strcmp(name, "_vmap_increment_nesting") == 0;

	if (strcmp(name, "lazy_load_decompositions") == 0)
		return true;
	if (name[1] != 'v')
		return batched(s, node, c, strcmp(name, "_add_batch_dim") == 0);
	if (!(begins ? vmap_begin(&at) : vmap_end(&at)))
		return false;
	s->g = at.g;
	s->vmap = at.in;
	return true;
}

static bool
readnode(Scope *s, const Json *node)
{
	const char *call;
	Reader *r = s->r;
	Call c = { .inputs = need(r, node, "inputs", JsonArray),
	           .outputs = need(r, node, "outputs", JsonArray) };
	Str target, name;
	Json *given;
	Node *n;
	int w;

	if (!c.inputs || !c.outputs || !need_str(r, node, "target", &target))
		return false;
	c.name = nodename(r, node, c.outputs);
	r->loc = loc_node(r->cx, r->file, c.name, python(r, get(r, node, "metadata")));
	if (vmapcall(target, &call))
		return vmapped(s, call, node, &c);
	if (sizeonly(r, target, c.outputs))
		return sizes(s, c.outputs);
	name = opname(r, target);
	w = wrapper(r, name, node);
	if (w >= 0)
		return inlined(s, node, w, &c);
	c.op = op_find(name);
	c.positional = strncmp(target, "torch.ops.", 10) != 0;
	given = get(r, node, "metadata");
	given = given ? get(r, given, "custom") : NULL;
	if (given && given->kind == JsonStr && strstr(given->s, "fxcc.region") && (c.part = part_parse(r->mod, r->loc, given->s)) < 0)
		return false;
	if (strcmp(name, "higher_order.with_effects") == 0 && !effects(s, node, &c))
		return false;
	if (c.op == NULL)
		return bad(r, "operator %s is not supported", name);
	n = make(s, &c, nresult(&c));
	if (n == NULL || !autocast_node(n, r->autocast))
		return false;
	if (!results(s, n, &c))
		return false;
	given = get(r, node, "name");
	if (n->nout != 1 && given && given->kind == JsonStr)
		node_rename(n, given->s);
	return true;
}

/* ---- graphs ------------------------------------------------------------------------------ */

/* A parameter of a sub-graph; the main graph's are the signature's. */
static bool
parameter(Scope *s, const Json *u)
{
	Reader *r = s->r;
	Str tag, name = defines(r, u);
	Json *j = member(r, u, &tag);
	const Type *t;

	if (j == NULL)
		return false;
	if (strcmp(tag, "as_tensor") == 0) {
		if (!need_str(r, j, "name", &name) || !tensor_type(s, name, &t))
			return false;
		bind(s, name, (Bound){ .kind = BoundVal, .val = node_placeholder(s->g, name, t, r->loc)->out });
		return true;
	}
	if (strncmp(tag, "as_sym_", 7) == 0 && name) {
		const Sym *sym = sym_value(s, name);
		if (sym == NULL)
			return false;
		node_placeholder(s->g, name, type_sym(r->cx, sym), r->loc);
		bind(s, name, (Bound){ .kind = BoundSym, .sym = sym });
		return true;
	}
	if (name)
		return bad(r, "a parameter of a sub-graph is an unsupported \"%s\"", tag);
	/* a literal: keeps its place among the operands */
	node_placeholder(s->g, intern_printf(r->cx, "arg%d", (int)s->g->nnode), type_none(r->cx), r->loc);
	return true;
}

Graph *
read_subgraph(Scope *s, const Json *j)
{
	Reader *r = s->r;
	Json *json = need(r, j, "graph", JsonObject), *in, *out;
	Loc loc = r->loc;
	Scope sub;
	Arg *list;
	Str name;

	if (json == NULL || !need_str(r, j, "name", &name))
		return NULL;
	if (!scope(&sub, r, graph_new(r->mod, name, s->g), json, s->depth + 1))
		return NULL;
	in = need(r, json, "inputs", JsonArray);
	out = need(r, json, "outputs", JsonArray);
	if (!in || !out)
		return NULL;
	for (int i = 0; i < in->n; i++)
		if (!parameter(&sub, in->v[i]))
			return NULL;
	if (!readnodes(&sub))
		return NULL;
	r->loc = loc;
	list = NEWN(r->a, Arg, out->n + 1);
	for (int i = 0; i < out->n; i++)
		if (!read_arg(&sub, out->v[i], &list[i]))
			return NULL;
	*list = arg_list(sub.g->arena, list, out->n);
	node_output(sub.g, list, loc);
	return sub.g;
}

static bool
maingraph(Reader *r, const Json *gm)
{
	Json *json = need(r, gm, "graph", JsonObject), *sig = need(r, gm, "signature", JsonObject);
	Unsupported unknown = {0};
	Scope s;
	Arg list;
	Loc loc = r->loc;

	if (!json || !sig || !collect(r, json, &unknown, 0) ||
	    !unsupported_report(r->cx, &unknown))
		return false;
	r->loc = loc;
	if (r->mod->main == NULL)
		r->mod->main = graph_new(r->mod, intern_str(r->cx, "main"), NULL);
	if (!scope(&s, r, r->mod->main, json, 0) || !read_inputs(&s, sig) || !readnodes(&s))
		return false;
	if (s.vmap)
		return bad(r, "a vmap does not end");
	r->loc = loc;
	if (!read_outputs(&s, sig, &list))
		return false;
	node_output(s.g, &list, loc);
	return read_names(r, gm);
}

/* ---- the program --------------------------------------------------------------------------- */

static bool
versions(Reader *r, const Json *program)
{
	Json *v = need(r, program, "schema_version", JsonObject), *opset, *torch, *dialect;
	int64_t major, minor;

	if (!v || !need_int(r, v, "major", &major) || !need_int(r, v, "minor", &minor))
		return false;
	if (major != 7 && major != 8 && !(major == 0 && minor == 0))
		return bad(r, "schema version %lld.%lld: only 7 and 8 are known (torch 2.5 to 2.15)",
		           (long long)major, (long long)minor);
	r->old = major == 7;
	opset = get(r, get(r, program, "opset_version"), "aten");
	if (opset && opset->kind == JsonInt && opset->i > 10)
		warn(r->cx, r->loc, WarnOpset, "written for aten opset %lld, newer than 10",
		     (long long)opset->i);
	torch = get(r, program, "torch_version");
	if (torch && torch->kind == JsonStr)
		r->mod->torch = torch->s;
	dialect = get(r, program, "verifiers");
	if (dialect && dialect->kind == JsonArray && dialect->n && dialect->v[0]->kind == JsonStr)
		r->mod->dialect = dialect->v[0]->s;
	return true;
}

/* "dir/mlp.v2.pt2" -> "mlp.v2" */
static Str
stem(Ctx *cx, const char *path)
{
	const char *base = strrchr(path, '/'), *dot;

	base = base ? base + 1 : path;
	dot = strrchr(base, '.');
	return intern(cx, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

Module *
read_json(Ctx *cx, const File *f, const char *text, size_t n, const ReadOptions *opt)
{
	Json *program = json_parse(cx, f->name, text, n, true), *gm;
	Reader r = { .cx = cx, .a = ctx_arena(cx), .what = f->name, .autocast = DtNone };

	(void)opt;
	if (program == NULL)
		return NULL;
	r.file = loc_file(cx, f->name, NULL, 0);
	r.loc = loc_node(cx, r.file, NULL, NULL);
	r.mod = module_new(cx, stem(cx, f->name));
	if (get(&r, program, "graph_module") == NULL || get(&r, program, "schema_version") == NULL) {
		error(cx, r.loc, "not an exported program: it lacks \"graph_module\" and \"schema_version\"");
		return NULL;
	}
	gm = need(&r, program, "graph_module", JsonObject);
	if (!gm || !versions(&r, program) || !read_ranges(&r, program) ||
	    !maingraph(&r, gm) || !read_guards(&r, program))
		return NULL;
	return r.mod;
}
