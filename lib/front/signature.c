/* signature.c - what an exported program promises to its caller: which input is
 * a parameter and which the user's, what the outputs are, their names as the
 * Python function has them, ranges of sizes, guards.
 *
 * Tokens are left out of both lists; an object is an error where it is used.
 */
#include <math.h>
#include "front/export.h"
#include "front/infix.h"

/* ---- ranges -------------------------------------------------------------------- */

static bool
limit(Reader *r, const Json *range, const char *name, int64_t unbounded, int64_t *v)
{
	Json *j = get(r, range, name);

	*v = unbounded;
	if (j == NULL || (j->kind == JsonFloat && isinf(j->f)))
		return true;
	if (j->kind != JsonInt)
		return bad(r, "range_constraints: \"%s\" is not an integer", name);
	*v = j->i;
	return true;
}

bool
read_ranges(Reader *r, const Json *program)
{
	Json *all = get(r, program, "range_constraints");

	if (all && all->kind != JsonObject)
		return bad(r, "range_constraints is not an object");
	for (int i = 0; all && i < all->n; i++) {
		const Sym *var;
		int64_t lo, hi;
		if (all->key[i][0] == 'z')       /* a floating-point symbol */
			continue;
		if (!limit(r, all->v[i], "min_val", INT64_MIN, &lo) ||
		    !limit(r, all->v[i], "max_val", INT64_MAX, &hi))
			return false;
		if (lo > hi)
			return bad(r, "size %s has an empty range", all->key[i]);
		var = sym_var(r->cx, all->key[i], lo, hi);
		sym_bound(r->cx, var, lo, hi);
	}
	return true;
}

/* ---- inputs ---------------------------------------------------------------------- */

static bool
placeholder(Scope *s, Str name, Input *in)
{
	Reader *r = s->r;
	Json *grad;
	const Type *t;

	if (!tensor_type(s, name, &t))
		return false;
	grad = get(r, json_get(s->tensors, name), "requires_grad");
	in->name = in->argname = name;
	in->requires_grad = grad && grad->kind == JsonBool && grad->b;
	in->val = node_placeholder(s->g, name, t, loc_node(r->cx, r->file, name, NULL))->out;
	bind(s, name, (Bound){ .kind = BoundVal, .val = in->val });
	return true;
}

static bool
weight(Scope *s, const Json *spec, const char *key, Input *in)
{
	Json *arg = need(s->r, spec, "arg", JsonObject), *keep = get(s->r, spec, "persistent");
	Str name;

	in->persistent = in->kind != InConst && !(keep && keep->kind == JsonBool && !keep->b);
	return arg && need_str(s->r, arg, "name", &name) &&
	       need_str(s->r, spec, key, &in->target) && placeholder(s, name, in);
}

static bool
literal(Scope *s, const Json *u, Str name, Input *in)
{
	in->name = in->argname = name;
	return read_arg(s, u, &in->value);
}

static bool
user(Scope *s, const Json *spec, Input *in)
{
	Reader *r = s->r;
	Json *u = need(r, spec, "arg", JsonObject), *j;
	const Sym *sym;
	Str tag, name;

	if (!u || !(j = member(r, u, &tag)))
		return false;
	if (strcmp(tag, "as_tensor") == 0)
		return need_str(r, j, "name", &name) && placeholder(s, name, in);
	if (strncmp(tag, "as_sym_", 7) != 0 || !get(r, j, "as_name")) {
		if (strcmp(tag, "as_custom_obj") == 0)
			return bad(r, "an input of the user is a TorchBind or opaque object");
		return literal(s, u, intern_printf(r->cx, "arg%d", r->mod->in.n), in);
	}
	if (!need_str(r, j, "as_name", &name))
		return false;
	sym = sym_value(s, name);
	if (sym == NULL)
		return false;
	in->name = in->argname = name;
	in->val = node_placeholder(s->g, name, type_sym(r->cx, sym),
	                           loc_node(r->cx, r->file, name, NULL))->out;
	bind(s, name, (Bound){ .kind = BoundSym, .sym = sym });
	return true;
}

/* A token or object: it has a name in the graph and no place among the inputs. */
static bool
unseen(Scope *s, const Json *spec, enum bound kind)
{
	Json *arg = need(s->r, spec, "arg", JsonObject), *what = get(s->r, arg, "class_fqn");
	Str name;

	if (!arg || !need_str(s->r, arg, "name", &name))
		return false;
	bind(s, name, (Bound){ .kind = kind, .what = what && what->kind == JsonStr ? what->s : "" });
	return true;
}

static bool
inputspec(Scope *s, const Json *u)
{
	Reader *r = s->r;
	Input in = { .kind = InUser };
	Str tag, name;
	Json *spec = member(r, u, &tag), *value;
	bool ok;

	if (spec == NULL)
		return false;
	if (strcmp(tag, "token") == 0)
		return unseen(s, spec, BoundToken);
	if (strcmp(tag, "custom_obj") == 0)
		return unseen(s, spec, BoundObject);
	if (strcmp(tag, "parameter") == 0) {
		in.kind = InParam;
		ok = weight(s, spec, "parameter_name", &in);
	} else if (strcmp(tag, "buffer") == 0) {
		in.kind = InBuffer;
		ok = weight(s, spec, "buffer_name", &in);
	} else if (strcmp(tag, "tensor_constant") == 0) {
		in.kind = InConst;
		ok = weight(s, spec, "tensor_constant_name", &in);
	} else if (strcmp(tag, "user_input") == 0) {
		ok = user(s, spec, &in);
	} else if (strcmp(tag, "constant_input") == 0) {
		value = need(r, spec, "value", JsonObject);
		ok = value && need_str(r, spec, "name", &name) && literal(s, value, name, &in);
	} else {
		return bad(r, "an input of the unknown kind \"%s\"", tag);
	}
	if (ok)
		vec_push(r->a, &r->mod->in, in);
	return ok;
}

bool
read_inputs(Scope *s, const Json *sig)
{
	Json *specs = need(s->r, sig, "input_specs", JsonArray);
	Json *inputs = need(s->r, s->json, "inputs", JsonArray);

	if (!specs || !inputs)
		return false;
	if (specs->n != inputs->n)
		return bad(s->r, "the signature has %d inputs, the graph %d", specs->n, inputs->n);
	for (int i = 0; i < specs->n; i++)
		if (!inputspec(s, specs->v[i]))
			return false;
	return true;
}

/* ---- outputs ------------------------------------------------------------------------ */

static const struct { const char *tag, *target; enum outkind kind; } outkinds[] = {
	{ "user_output",            NULL,              ResUser },
	{ "loss_output",            NULL,              ResLoss },
	{ "buffer_mutation",        "buffer_name",     ResBufferMut },
	{ "parameter_mutation",     "parameter_name",  ResParamMut },
	{ "user_input_mutation",    "user_input_name", ResUserMut },
	{ "gradient_to_parameter",  "parameter_name",  ResGradParam },
	{ "gradient_to_user_input", "user_input_name", ResGradUser },
	{ "token",                  NULL,              ResToken },
};

static bool
outputspec(Scope *s, const Json *u, const Json *arg, Arg *list, int *n)
{
	Reader *r = s->r;
	Output out = { 0 };
	Str tag;
	Json *spec = member(r, u, &tag);
	int k = 0;

	if (spec == NULL)
		return false;
	while (k < COUNT(outkinds) && strcmp(outkinds[k].tag, tag) != 0)
		k++;
	if (k == COUNT(outkinds))
		return bad(r, "an output of the unknown kind \"%s\"", tag);
	out.kind = outkinds[k].kind;
	if (out.kind == ResToken)
		return true;
	if (outkinds[k].target && !need_str(r, spec, outkinds[k].target, &out.target))
		return false;
	out.name = out.target;
	if (out.kind == ResGradParam || out.kind == ResGradUser)
		out.name = intern_printf(r->cx, "grad.%s", out.target);
	if (!read_arg(s, arg, &list[*n]))
		return false;
	++*n;
	vec_push(r->a, &r->mod->out, out);
	return true;
}

bool
read_outputs(Scope *s, const Json *sig, Arg *list)
{
	Json *specs = need(s->r, sig, "output_specs", JsonArray);
	Json *outputs = need(s->r, s->json, "outputs", JsonArray);
	Arg *v;
	int n = 0;

	if (!specs || !outputs)
		return false;
	if (specs->n != outputs->n)
		return bad(s->r, "the signature has %d outputs, the graph %d", specs->n, outputs->n);
	v = NEWN(s->r->a, Arg, specs->n);
	for (int i = 0; i < specs->n; i++)
		if (!outputspec(s, specs->v[i], outputs->v[i], v, &n))
			return false;
	*list = arg_list(s->g->arena, v, n);
	return true;
}

/* ---- names: the leaves of the pytrees that the Python function takes and gives -------- */

typedef VEC(Str) Names;

typedef struct Tree {
	Reader *r;
	const Json *fields;     /* treespec_namedtuple_fields */
	Names *names;
	int depth;
} Tree;

static Str
dotted(Reader *r, Str path, Str key)
{
	return *path ? intern_printf(r->cx, "%s.%s", path, key) : key;
}

/* The keys of a node's children: a list of strings (or numbers), NULL: they count. */
static const Json *
keys(Tree *t, Str type, Str context)
{
	Json *list;

	if (strcmp(type, "collections.namedtuple") == 0) {
		list = get(t->r, json_get(t->fields, context), "field_names");
	} else if (strcmp(type, "builtins.dict") == 0 || strcmp(type, "collections.OrderedDict") == 0) {
		/* the text was inside a string already: its size is bounded */
		list = json_parse(t->r->cx, "treespec", context, strlen(context), false);
	} else {
		return NULL;
	}
	return list && list->kind == JsonArray ? list : NULL;
}

static Str
childkey(Tree *t, const Json *keylist, int i)
{
	if (keylist && i < keylist->n && keylist->v[i]->kind == JsonStr)
		return keylist->v[i]->s;
	if (keylist && i < keylist->n && keylist->v[i]->kind == JsonInt)
		return intern_printf(t->r->cx, "%lld", (long long)keylist->v[i]->i);
	return intern_printf(t->r->cx, "%d", i);
}

static bool
leaves(Tree *t, const Json *node, Str path)
{
	Json *type = get(t->r, node, "type"), *children = get(t->r, node, "children_spec");
	Json *context = get(t->r, node, "context");
	const Json *keylist = NULL;

	if (type == NULL) {
		vec_push(t->r->a, t->names, path);
		return true;
	}
	if (type->kind != JsonStr || !children || children->kind != JsonArray || ++t->depth > 64)
		return false;
	if (context && context->kind == JsonStr)
		keylist = keys(t, type->s, context->s);
	for (int i = 0; i < children->n; i++)
		if (!leaves(t, children->v[i], dotted(t->r, path, childkey(t, keylist, i))))
			return false;
	t->depth--;
	return true;
}

/* Text of a treespec: [1, node]. */
static const Json *
treespec(Reader *r, const Json *sig, const char *name)
{
	Json *text = get(r, sig, name), *j;

	if (!text || text->kind != JsonStr)
		return NULL;
	j = json_parse(r->cx, name, text->s, strlen(text->s), false);
	return j && j->kind == JsonArray && j->n == 2 ? j->v[1] : NULL;
}

/* in_spec is tuple(args, kwargs): the first tuple's children have the names of
 * the Python function's parameters, the dict's their keys. */
static bool
argleaves(Tree *t, const Json *spec, const Json *names)
{
	Json *top = get(t->r, spec, "children_spec"), *args;

	if (!top || top->kind != JsonArray || top->n != 2)
		return false;
	args = get(t->r, top->v[0], "children_spec");
	if (!args || args->kind != JsonArray)
		return false;
	for (int i = 0; i < args->n; i++) {
		Str name = names && names->kind == JsonArray && i < names->n &&
		           names->v[i]->kind == JsonStr ? names->v[i]->s : NULL;
		if (name == NULL || !leaves(t, args->v[i], name))
			return false;
	}
	return leaves(t, top->v[1], "");
}

static bool
isuser(const Input *in)
{
	return in->kind == InUser;
}

static void
nameinputs(Reader *r, const Names *names)
{
	Module *m = r->mod;
	int n = 0, k = 0;

	for (int i = 0; i < m->in.n; i++)
		n += isuser(&m->in.v[i]);
	if (n != names->n)
		return;         /* placeholders' names stay */
	for (int i = 0; i < m->in.n; i++)
		if (isuser(&m->in.v[i]))
			m->in.v[i].argname = names->v[k++];
}

/* A name that no argument or earlier output has. */
static Str
unique(Reader *r, Map *taken, Str name, int k)
{
	if (map_get(taken, name))
		name = intern_printf(r->cx, "out_%s", name);
	if (map_get(taken, name))
		name = intern_printf(r->cx, "out%d_", k);
	map_put(r->a, taken, name, r->mod);
	return name;
}

/* "out0", or what the returned dict calls it. */
static void
nameoutputs(Reader *r, const Names *names)
{
	Module *m = r->mod;
	Map taken = {0};
	int n = 0, k = 0;

	for (int i = 0; i < m->in.n; i++)
		map_put(r->a, &taken, m->in.v[i].argname, m);
	for (int i = 0; i < m->out.n; i++)
		n += m->out.v[i].kind == ResUser || m->out.v[i].kind == ResLoss;
	for (int i = 0; i < m->out.n; i++) {
		Output *o = &m->out.v[i];
		Str name = n == names->n ? names->v[k] : "";
		if (o->kind != ResUser && o->kind != ResLoss)
			continue;
		if (*name == '\0')
			name = intern_printf(r->cx, "out%d", k);
		else if (*name >= '0' && *name <= '9')
			name = intern_printf(r->cx, "out%s", name);
		o->name = unique(r, &taken, name, k++);
	}
}

bool
read_names(Reader *r, const Json *gm)
{
	Json *calls = get(r, gm, "module_call_graph"), *sig;
	Names in = {0}, out = {0};
	const Json *inspec, *outspec;
	Tree t = { .r = r, .fields = get(r, gm, "treespec_namedtuple_fields") };
	int before = ctx_errors(r->cx);

	sig = calls && calls->kind == JsonArray && calls->n ? get(r, calls->v[0], "signature") : NULL;
	inspec = treespec(r, sig, "in_spec");
	t.names = &in;
	if (inspec && argleaves(&t, inspec, get(r, sig, "forward_arg_names")))
		nameinputs(r, &in);
	if (ctx_errors(r->cx) > before)         /* a treespec that is no JSON */
		return false;
	outspec = treespec(r, sig, "out_spec");
	t.names = &out;
	t.depth = 0;
	if (!outspec || !leaves(&t, outspec, intern_str(r->cx, "")))
		out.n = -1;
	nameoutputs(r, &out);
	return ctx_errors(r->cx) == before;
}

/* ---- guards -------------------------------------------------------------------------- */

bool
read_guards(Reader *r, const Json *program)
{
	Json *list = get(r, program, "guards_code");

	for (int i = 0; list && list->kind == JsonArray && i < list->n; i++) {
		const Json *j = list->v[i];
		const Sym *cond = j->kind == JsonStr ? guard_parse(r->mod, j->s) : NULL;
		if (cond == NULL && j->kind == JsonStr)
			warn(r->cx, r->loc, WarnGuards, "guard \"%s\" is not understood and not checked", j->s);
		else if (cond && !sym_is(cond, 1))
			vec_push(r->a, &r->mod->guard, (Guard){ .cond = cond, .text = j->s, .loc = r->loc });
	}
	return true;
}
