/* schema.c - the exported program's JSON: fields, unions, tensors, sizes.
 *
 * Writers emit every field; readers take a default for an absent one and ignore
 * unknown ones.  A union is an object with exactly one key.  Messages name the
 * node that is being read (r->loc).
 */
#include <math.h>
#include "front/export.h"
#include "front/infix.h"
#include "front/weights.h"

bool
bad(Reader *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error(r->cx, r->loc, "%s", arena_vprintf(r->a, fmt, ap));
	va_end(ap);
	return false;
}

Json *
get(Reader *r, const Json *obj, const char *name)
{
	Json *j = json_get(obj, intern_str(r->cx, name));

	return j && j->kind != JsonNull ? j : NULL;
}

static const char *const kindname[] = {
	[JsonNull] = "null", [JsonBool] = "a boolean", [JsonInt] = "an integer",
	[JsonFloat] = "a number", [JsonStr] = "a string", [JsonArray] = "a list",
	[JsonObject] = "an object",
};

Json *
need(Reader *r, const Json *obj, const char *name, enum jsonkind kind)
{
	Json *j = get(r, obj, name);

	if (j == NULL) {
		bad(r, "the exported program lacks \"%s\"", name);
		return NULL;
	}
	if (j->kind != kind) {
		bad(r, "\"%s\" of the exported program is %s, not %s", name,
		    kindname[j->kind], kindname[kind]);
		return NULL;
	}
	return j;
}

bool
need_str(Reader *r, const Json *obj, const char *name, Str *s)
{
	Json *j = need(r, obj, name, JsonStr);

	if (j)
		*s = j->s;
	return j != NULL;
}

bool
need_int(Reader *r, const Json *obj, const char *name, int64_t *i)
{
	Json *j = need(r, obj, name, JsonInt);

	if (j)
		*i = j->i;
	return j != NULL;
}

bool
need_bool(Reader *r, const Json *obj, const char *name, bool *b)
{
	Json *j = need(r, obj, name, JsonBool);

	if (j)
		*b = j->b;
	return j != NULL;
}

Json *
member(Reader *r, const Json *u, Str *tag)
{
	if (u == NULL || u->kind != JsonObject || u->n != 1) {
		bad(r, "a union of the exported program is not an object with one key");
		return NULL;
	}
	*tag = u->key[0];
	return u->v[0];
}

bool
as_float(Reader *r, const Json *j, double *f)
{
	if (j->kind == JsonFloat)
		*f = j->f;
	else if (j->kind == JsonInt)
		*f = (double)j->i;
	else if (j->kind == JsonStr && strcmp(j->s, "Infinity") == 0)
		*f = INFINITY;
	else if (j->kind == JsonStr && strcmp(j->s, "-Infinity") == 0)
		*f = -INFINITY;
	else if (j->kind == JsonStr && strcmp(j->s, "NaN") == 0)
		*f = NAN;
	else
		return bad(r, "%s where a number is expected", kindname[j->kind]);
	return true;
}

/* ---- tensors --------------------------------------------------------------- */

/* ScalarType of the schema; c10 counts differently. */
static const struct { const char *name; uint8_t dt; } scalartype[] = {
	[0]  = { "unknown", DtNone },          [1]  = { "uint8", DtU8 },
	[2]  = { "int8", DtI8 },               [3]  = { "int16", DtI16 },
	[4]  = { "int32", DtI32 },             [5]  = { "int64", DtI64 },
	[6]  = { "float16", DtF16 },           [7]  = { "float32", DtF32 },
	[8]  = { "float64", DtF64 },           [9]  = { "complex32", DtNone },
	[10] = { "complex64", DtC64 },         [11] = { "complex128", DtC128 },
	[12] = { "bool", DtB8 },               [13] = { "bfloat16", DtBF16 },
	[28] = { "uint16", DtU16 },            [29] = { "float8_e4m3fn", DtF8E4M3 },
	[30] = { "float8_e5m2", DtF8E5M2 },    [31] = { "float8_e4m3fnuz", DtNone },
	[32] = { "float8_e5m2fnuz", DtNone },  [33] = { "float8_e8m0fnu", DtNone },
	[34] = { "uint32", DtU32 },            [35] = { "uint64", DtU64 },
};

enum dtype
schema_dtype(int64_t code, const char **name)
{
	bool known = code >= 0 && code < COUNT(scalartype) && scalartype[code].name;

	if (name)
		*name = known ? scalartype[code].name : NULL;
	return known ? scalartype[code].dt : DtNone;
}

bool
as_dtype(Reader *r, const Json *j, enum dtype *dt)
{
	const char *name = NULL;

	*dt = j->kind == JsonInt ? schema_dtype(j->i, &name) : DtNone;
	if (*dt != DtNone)
		return true;
	return name ? bad(r, "scalar type %s is not supported", name) : bad(r, "unknown scalar type");
}

/* Row-major strides; those of sizes 1 say nothing. */
static bool
contiguous(Ctx *cx, int rank, const Sym *const *dim, const Sym *const *stride)
{
	const Sym *want = sym_const(cx, 1);

	for (int d = 0; d < rank; d++)
		if (sym_is(dim[d], 0))
			return true;
	for (int d = rank - 1; d >= 0; d--) {
		if (sym_is(dim[d], 1))
			continue;
		if (!sym_eq(stride[d], want))
			return false;
		want = sym_mul(cx, want, dim[d]);
	}
	return true;
}

static const Sym **
sizes(Reader *r, const Json *meta, const char *name, int *rank)
{
	Json *list = need(r, meta, name, JsonArray);
	const Sym **v;

	if (list == NULL)
		return NULL;
	if (list->n > MaxRank) {
		bad(r, "a tensor of %d dimensions: at most %d are supported", list->n, MaxRank);
		return NULL;
	}
	v = NEWN(r->a, const Sym *, list->n);
	for (int i = 0; i < list->n; i++) {
		int64_t k;
		v[i] = sym_union(r, list->v[i]);
		if (v[i] == NULL)
			return NULL;
		if (v[i]->isfloat || (sym_isconst(v[i], &k) && k < 0)) {
			bad(r, "\"%s\" of a tensor has %s", name, sym_str(r->cx, v[i]));
			return NULL;
		}
	}
	*rank = list->n;
	return v;
}

const Type *
tensor_meta(Reader *r, const Json *meta)
{
	Json *jdt = need(r, meta, "dtype", JsonInt), *layout = get(r, meta, "layout");
	const Sym **dim, **stride;
	enum dtype dt;
	int rank, n;

	if (jdt == NULL || !as_dtype(r, jdt, &dt))
		return NULL;
	if (layout && (layout->kind != JsonInt || layout->i != 7)) {
		bad(r, "a tensor whose layout is not strided is not supported");
		return NULL;
	}
	dim = sizes(r, meta, "sizes", &rank);
	stride = dim ? sizes(r, meta, "strides", &n) : NULL;
	if (stride == NULL)
		return NULL;
	if (n != rank) {
		bad(r, "a tensor has %d sizes and %d strides", rank, n);
		return NULL;
	}
	if (contiguous(r->cx, rank, dim, stride))
		return type_tensor(r->cx, dt, rank, dim);
	return type_strided(r->cx, dt, rank, dim, stride);
}

bool
tensor_type(Scope *s, Str name, const Type **t)
{
	Json *meta = json_get(s->tensors, name);

	if (meta == NULL)
		return bad(s->r, "tensor \"%s\" has no entry in tensor_values", name);
	*t = tensor_meta(s->r, meta);
	return *t != NULL;
}

/* ---- sizes ------------------------------------------------------------------ */

static const Sym *
expression(Reader *r, const Json *j)
{
	const char *why = NULL;
	const Sym *sym;
	Str s;

	if (!need_str(r, j, "expr_str", &s))
		return NULL;
	sym = map_get(&r->sym, s);
	if (sym)
		return sym;
	sym = srepr_parse(r->cx, s, strlen(s), &why);
	if (sym == NULL && r->old)      /* torch 2.5 wrote conditions in infix form */
		sym = infix_parse(&(Infix){ .cx = r->cx, .quiet = true }, s, strlen(s));
	if (sym)
		map_put(r->a, &r->sym, s, (void *)(uintptr_t)sym);
	else
		bad(r, "size expression: %s in \"%.200s\"", why, s);
	return sym;
}

const Sym *
sym_union(Reader *r, const Json *u)
{
	Str tag;
	Json *j = member(r, u, &tag);
	double f;

	if (j == NULL)
		return NULL;
	if (strcmp(tag, "as_expr") == 0)
		return expression(r, j);
	if (strcmp(tag, "as_int") == 0 && j->kind == JsonInt)
		return sym_const(r->cx, j->i);
	if (strcmp(tag, "as_bool") == 0 && j->kind == JsonBool)
		return sym_const(r->cx, j->b);
	if (strcmp(tag, "as_float") == 0)
		return as_float(r, j, &f) ? sym_float(r->cx, f) : NULL;
	bad(r, "a size is given by an unknown \"%s\"", tag);
	return NULL;
}

const Sym *
sym_value(Scope *s, Str name)
{
	static const char *const maps[] = { "sym_int_values", "sym_float_values", "sym_bool_values" };

	for (int i = 0; i < COUNT(maps); i++) {
		Json *u = json_get(get(s->r, s->json, maps[i]), name);
		if (u)
			return sym_union(s->r, u);
	}
	bad(s->r, "size \"%s\" has no value", name);
	return NULL;
}
