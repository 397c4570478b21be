/* argument.c - the arguments of a node: literals, sizes, values, lists, graphs.
 *
 * The union Argument has some thirty members; those that are lists of others
 * are read element by element with the reader of their element.  A name stands
 * for what an input or an earlier node of the same graph bound to it.
 */
#include "front/export.h"

typedef bool Read(Scope *, const Json *, Arg *);

Bound *
lookup(Scope *s, Str name)
{
	return map_get(&s->bound, name);
}

void
bind(Scope *s, Str name, Bound b)
{
	Bound *p = NEW(s->r->a, Bound);

	*p = b;
	map_put(s->r->a, &s->bound, name, p);
}

static bool
known(void *reader, Val *v)
{
	(void)reader;
	return v->type || node_infer(v->def);
}

VmapAt
export_at(Scope *s)
{
	return (VmapAt){.cx = s->r->cx, .a = s->r->a, .mod = s->r->mod, .g = s->g, .in = s->vmap, .loc = s->r->loc, .known = known};
}

/* ---- one thing -------------------------------------------------------------- */

static bool
named(Scope *s, Str name, Arg *out)
{
	Bound *b = lookup(s, name);
	VmapAt at = export_at(s);

	if (b == NULL)
		return bad(s->r, "\"%s\" is used but not defined before", name);
	switch (b->kind) {
	case BoundVal:
		*out = arg_val(vmap_inside(&at, b->val));
		return true;
	case BoundSym:
		*out = arg_sym(b->sym);
		return true;
	case BoundToken:
		return bad(s->r, "effect token \"%s\" is used as a value", name);
	default:
		return bad(s->r, "\"%s\" is a TorchBind or opaque object (%s), which is not supported",
		           name, b->what);
	}
}

static bool
tensor(Scope *s, const Json *j, Arg *out)
{
	Str name;

	return need_str(s->r, j, "name", &name) && named(s, name, out);
}

static bool
none(Scope *s, const Json *j, Arg *out)
{
	(void)s;
	(void)j;
	*out = arg_none();
	return true;
}

static bool
integer(Scope *s, const Json *j, Arg *out)
{
	if (j->kind != JsonInt)
		return bad(s->r, "an argument that should be an integer is none");
	*out = arg_int(s->r->cx, j->i);
	return true;
}

static bool
number(Scope *s, const Json *j, Arg *out)
{
	double f;

	if (!as_float(s->r, j, &f))
		return false;
	*out = arg_float(f);
	return true;
}

static bool
text(Scope *s, const Json *j, Arg *out)
{
	if (j->kind != JsonStr)
		return bad(s->r, "an argument that should be a string is none");
	*out = arg_str(j->s);
	return true;
}

static bool
boolean(Scope *s, const Json *j, Arg *out)
{
	if (j->kind != JsonBool)
		return bad(s->r, "an argument that should be true or false is not");
	*out = arg_bool(j->b);
	return true;
}

/* SymIntArgument, SymFloatArgument, SymBoolArgument */
static bool
size(Scope *s, const Json *j, Arg *out)
{
	Str tag;
	Json *v = member(s->r, j, &tag);

	if (v == NULL)
		return false;
	if (strcmp(tag, "as_name") == 0 && v->kind == JsonStr)
		return named(s, v->s, out);
	if (strcmp(tag, "as_int") == 0)
		return integer(s, v, out);
	if (strcmp(tag, "as_float") == 0)
		return number(s, v, out);
	if (strcmp(tag, "as_bool") == 0)
		return boolean(s, v, out);
	return bad(s->r, "a size is given by an unknown \"%s\"", tag);
}

static bool
scalartype(Scope *s, const Json *j, Arg *out)
{
	enum dtype dt;

	if (!as_dtype(s->r, j, &dt))
		return false;
	*out = arg_dtype(dt);
	return true;
}

static bool
memoryformat(Scope *s, const Json *j, Arg *out)
{
	static const enum memfmt fmt[] = {
		[1] = MemContiguous, [2] = MemChannelsLast, [3] = MemChannelsLast3d, [4] = MemPreserve,
	};

	if (j->kind != JsonInt || j->i < 1 || j->i >= COUNT(fmt))
		return bad(s->r, "unknown memory format");
	*out = (Arg){ .kind = ArgMemfmt, .mf = fmt[j->i] };
	return true;
}

static bool
layout(Scope *s, const Json *j, Arg *out)
{
	if (j->kind != JsonInt || j->i != 7)
		return bad(s->r, "a layout other than strided is not supported");
	*out = (Arg){ .kind = ArgLayout, .s = intern_str(s->r->cx, "strided") };
	return true;
}

static bool
device(Scope *s, const Json *j, Arg *out)
{
	Json *index = get(s->r, j, "index");
	Str type;

	if (!need_str(s->r, j, "type", &type))
		return false;
	*out = (Arg){ .kind = ArgDevice, .s = type };
	if (index && index->kind == JsonInt)
		out->s = intern_printf(s->r->cx, "%s:%lld", type, (long long)index->i);
	return true;
}

static bool
graph(Scope *s, const Json *j, Arg *out)
{
	Graph *g = read_subgraph(s, j);

	*out = (Arg){ .kind = ArgGraph, .graph = g };
	return g != NULL;
}

/* OptionalTensorArgument */
static bool
optional(Scope *s, const Json *j, Arg *out)
{
	Str tag;
	Json *v = member(s->r, j, &tag);

	if (v == NULL)
		return false;
	return strcmp(tag, "as_tensor") == 0 ? tensor(s, v, out) : none(s, v, out);
}

static bool
complexvalue(Scope *s, const Json *j, Arg *out)
{
	Json *re = get(s->r, j, "real"), *im = get(s->r, j, "imag");
	Arg v[2];

	if (re == NULL || im == NULL)
		return bad(s->r, "a complex number lacks a part");
	if (!number(s, re, &v[0]) || !number(s, im, &v[1]))
		return false;
	*out = arg_list(s->g->arena, v, 2);
	out->kind = ArgComplex;
	return true;
}

static bool
object(Scope *s, const Json *j, Arg *out)
{
	Str name;

	(void)out;
	return need_str(s->r, j, "name", &name) &&
	       bad(s->r, "\"%s\" is a TorchBind or opaque object, which is not supported", name);
}

/* ---- lists -------------------------------------------------------------------- */

static bool
list(Scope *s, const Json *j, Read *element, Arg *out)
{
	Arg *v;

	if (j->kind != JsonArray)
		return bad(s->r, "an argument that should be a list is none");
	v = NEWN(s->g->arena, Arg, j->n);
	for (int i = 0; i < j->n; i++)
		if (!element(s, j->v[i], &v[i]))
			return false;
	*out = (Arg){ .kind = ArgList, .list = { v, j->n } };
	return true;
}

static bool
integers(Scope *s, const Json *j, Arg *out)
{
	return list(s, j, integer, out);
}

static bool
numbers(Scope *s, const Json *j, Arg *out)
{
	return list(s, j, number, out);
}

static bool
tensors(Scope *s, const Json *j, Arg *out)
{
	return list(s, j, tensor, out);
}

static const struct { const char *tag; Read *one, *each; } members[] = {
	{ "as_none",             none,         NULL },
	{ "as_tensor",           tensor,       NULL },
	{ "as_tensors",          NULL,         tensor },
	{ "as_int",              integer,      NULL },
	{ "as_ints",             NULL,         integer },
	{ "as_float",            number,       NULL },
	{ "as_floats",           NULL,         number },
	{ "as_string",           text,         NULL },
	{ "as_strings",          NULL,         text },
	{ "as_bool",             boolean,      NULL },
	{ "as_bools",            NULL,         boolean },
	{ "as_sym_int",          size,         NULL },
	{ "as_sym_ints",         NULL,         size },
	{ "as_sym_bool",         size,         NULL },
	{ "as_sym_bools",        NULL,         size },
	{ "as_sym_float",        size,         NULL },
	{ "as_sym_floats",       NULL,         size },
	{ "as_scalar_type",      scalartype,   NULL },
	{ "as_memory_format",    memoryformat, NULL },
	{ "as_layout",           layout,       NULL },
	{ "as_device",           device,       NULL },
	{ "as_graph",            graph,        NULL },
	{ "as_optional_tensor",  optional,     NULL },
	{ "as_optional_tensors", NULL,         optional },
	{ "as_custom_obj",       object,       NULL },
	{ "as_operator",         text,         NULL },
	{ "as_complex",          complexvalue, NULL },
	{ "as_nested_tensors",   NULL,         tensors },
	{ "as_int_lists",        NULL,         integers },
	{ "as_float_lists",      NULL,         numbers },
};

bool
read_arg(Scope *s, const Json *u, Arg *out)
{
	Str tag;
	Json *j = member(s->r, u, &tag);

	if (j == NULL)
		return false;
	for (int i = 0; i < COUNT(members); i++)
		if (strcmp(members[i].tag, tag) == 0)
			return members[i].one ? members[i].one(s, j, out) :
			                        list(s, j, members[i].each, out);
	return bad(s->r, "an argument of the unknown kind \"%s\"", tag);
}
