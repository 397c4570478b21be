/* pt2.c - archives of torch.export.save, torch 2.5 to 2.15.
 *
 *   2.5 - 2.7  a flat zip: serialized_exported_program.json, and torch.save
 *              archives serialized_state_dict.pt, serialized_constants.pt
 *   2.8        <root>/models/<m>.json, data/weights/<m>.pt, data/constants/<m>.pt
 *   2.9 -      the same with raw storages, data/weights/weight_<N>, that
 *              data/weights/<m>_weights_config.json describes; likewise constants
 *
 * Which it is shows from the records that are there.  Only values that an input
 * names are looked at.
 */
#include "front/weights.h"

enum where { Weights, Constants };
static const char *const dirname[] = { "weights", "constants" };

/* The values of one kind: a configuration, or the tensors of a torch.save dict. */
typedef struct Source {
	bool loaded;
	Json *config;
	View *v;
	Map   byname;           /* Str -> View */
} Source;

typedef struct Pt2 {
	Ctx *cx;
	const File *f;
	const ReadOptions *opt;
	Zip  zip;
	Str  root;              /* "mlp/"; "" of a flat one */
	Str  model;
	bool flat, swap;
	Source src[2];
	Map  record;            /* path -> View with its bytes */
	Map  seen;              /* for weight_set */
} Pt2;

static bool PRINTF(2, 3)
bad(Pt2 *z, const char *fmt, ...)
{
	Ctx *cx = z->cx;
	va_list ap;

	va_start(ap, fmt);
	error(cx, NOLOC, "%s: %s", z->f->name, arena_vprintf(ctx_arena(cx), fmt, ap));
	va_end(ap);
	return false;
}

static const ZipEntry *
record(Pt2 *z, const char *fmt, ...) PRINTF(2, 3);

static const ZipEntry *
record(Pt2 *z, const char *fmt, ...)
{
	Ctx *cx = z->cx;
	va_list ap;
	const char *path;

	va_start(ap, fmt);
	path = arena_vprintf(ctx_arena(cx), fmt, ap);
	va_end(ap);
	return zip_find(&z->zip, cx, intern_printf(cx, "%s%s", z->root, path));
}

static bool
bytes(Pt2 *z, const ZipEntry *e, const uint8_t **p, size_t *n)
{
	return zip_bytes(z->cx, &z->zip, e, p, n);
}

/* A small record of text. */
static bool
says(Pt2 *z, const char *name, Str *text)
{
	const ZipEntry *e = record(z, "%s", name);
	const uint8_t *p;
	size_t n;

	if (e == NULL)
		return bad(z, "not a .pt2 archive: record %s is missing", name);
	if (!bytes(z, e, &p, &n))
		return false;
	if (n > 64)
		return bad(z, "record %s is too long", name);
	while (n && (p[n - 1] == '\n' || p[n - 1] == '\r'))
		n--;
	*text = intern(z->cx, (const char *)p, n);
	return true;
}

/* ---- what kind of archive --------------------------------------------------------------- */

static bool
findroot(Pt2 *z)
{
	const char *first = z->zip.n ? z->zip.v[0].name : "", *slash = strchr(first, '/');
	size_t n = slash ? (size_t)(slash + 1 - first) : 0;

	z->root = "";
	if (zip_find(&z->zip, z->cx, "serialized_exported_program.json")) {
		z->flat = true;
		return true;
	}
	if (n == 0)
		return bad(z, "a zip archive, but not one of torch.export.save");
	z->root = intern(z->cx, first, n);
	for (int i = 1; i < z->zip.n; i++)
		if (strncmp(z->zip.v[i].name, z->root, n) != 0)
			return bad(z, "not a .pt2 archive: its records have different roots, %.200s and %.200s",
			           first, z->zip.v[i].name);
	return true;
}

static bool
layout(Pt2 *z)
{
	Str s;

	if (!findroot(z))
		return false;
	if (z->flat)
		return true;
	if (record(z, "data.pkl") && !record(z, "archive_format"))
		return bad(z, "an archive of torch.save, which holds no graph; use torch.export.save");
	if (!says(z, "archive_format", &s))
		return false;
	if (strcmp(s, "pt2") != 0)
		return bad(z, "archive_format is \"%s\", not \"pt2\"", s);
	if (!says(z, "archive_version", &s))
		return false;
	if (strcmp(s, "0") != 0)
		return bad(z, "archive_version is %s, only 0 is known", s);
	if (!says(z, "byteorder", &s))
		return false;
	z->swap = strcmp(s, "big") == 0;
	return z->swap || strcmp(s, "little") == 0 || bad(z, "byteorder is \"%s\"", s);
}

/* ---- which model ---------------------------------------------------------------------------- */

/* "mlp/models/model.json" -> "model"; NULL: another record */
static Str
modelname(Pt2 *z, Str path)
{
	size_t nroot = strlen(z->root), n = strlen(path);
	const char *s = path + nroot;

	if (n < nroot + 13 || strncmp(s, "models/", 7) != 0 || strcmp(path + n - 5, ".json") != 0 ||
	    strchr(s + 7, '/'))
		return NULL;
	return intern(z->cx, s + 7, n - nroot - 12);
}

static bool
compiled(Pt2 *z)
{
	size_t n = strlen(z->root);

	for (int i = 0; i < z->zip.n; i++)
		if (strncmp(z->zip.v[i].name + n, "data/aotinductor/", 17) == 0)
			return true;
	return false;
}

static bool
choose(Pt2 *z)
{
	Text names = { .arena = ctx_arena(z->cx) };
	const char *want = z->opt ? z->opt->model : NULL;
	Str only = NULL, s;
	int n = 0;

	if (z->flat)
		return !want || strcmp(want, "model") == 0 ||
		       bad(z, "no model \"%s\": the archive has one without a name", want);
	for (int i = 0; i < z->zip.n; i++) {
		s = modelname(z, z->zip.v[i].name);
		if (s == NULL)
			continue;
		text_add(&names, "%s%s", n++ ? ", " : "", s);
		only = s;
		if (strcmp(s, want ? want : "model") == 0)
			z->model = s;
	}
	if (z->model)
		return true;
	if (n == 0 && compiled(z))
		return bad(z, "compiled AOTInductor package, contains no graph; use torch.export.save");
	if (n == 0)
		return bad(z, "the archive has no models/*.json");
	if (want)
		return bad(z, "no model \"%s\"; the archive has %s", want, names.s);
	if (n > 1)
		return bad(z, "several models: %s; choose one by --model=NAME", names.s);
	z->model = only;
	return true;
}

static const ZipEntry *
program(Pt2 *z)
{
	return z->flat ? record(z, "serialized_exported_program.json") :
	                 record(z, "models/%s.json", z->model);
}

/* ---- values ------------------------------------------------------------------------------------ */

static bool
fromdict(Pt2 *z, Source *s, const ZipEntry *e)
{
	const uint8_t *p;
	size_t len;
	int n;

	if (!bytes(z, e, &p, &len) ||
	    !torch_load(z->cx, intern_printf(z->cx, "%s(%s)", z->f->name, e->name), p, len,
	                z->zip.budget, &s->v, &n))
		return false;
	for (int i = 0; i < n; i++)
		map_put(ctx_arena(z->cx), &s->byname, s->v[i].fqn, &s->v[i]);
	return true;
}

static bool
fromconfig(Pt2 *z, Source *s, const ZipEntry *e)
{
	const uint8_t *p;
	size_t len;
	Json *j;

	if (!bytes(z, e, &p, &len))
		return false;
	j = json_parse(z->cx, intern_printf(z->cx, "%s(%s)", z->f->name, e->name),
	               (const char *)p, len, false);
	if (j == NULL)
		return false;
	s->config = json_get(j, intern_str(z->cx, "config"));
	return (s->config && s->config->kind == JsonObject) ||
	       bad(z, "%s: no \"config\"", e->name);
}

static bool
load(Pt2 *z, enum where w)
{
	Source *s = &z->src[w];
	const ZipEntry *e;

	if (s->loaded)
		return true;
	s->loaded = true;
	if (z->flat) {
		e = record(z, "%s", w == Weights ? "serialized_state_dict.pt" : "serialized_constants.pt");
		return !e || fromdict(z, s, e);
	}
	e = record(z, "data/%s/%s_%s_config.json", dirname[w], z->model, dirname[w]);
	if (e)
		return fromconfig(z, s, e);
	e = record(z, "data/%s/%s.pt", dirname[w], z->model);
	return !e || fromdict(z, s, e);
}

static Json *
key(Pt2 *z, const Json *j, const char *name)
{
	return json_get(j, intern_str(z->cx, name));
}

/* The bytes of a raw record; inflated once, however many tensors it holds. */
static View *
raw(Pt2 *z, enum where w, Str path)
{
	const ZipEntry *e = record(z, "data/%s/%s", dirname[w], path);
	View *v;

	if (e == NULL) {
		bad(z, "record data/%s/%.200s is missing", dirname[w], path);
		return NULL;
	}
	v = map_get(&z->record, e);
	if (v)
		return v;
	v = NEW(ctx_arena(z->cx), View);
	map_put(ctx_arena(z->cx), &z->record, e, v);
	return bytes(z, e, &v->store, &v->nstore) ? v : NULL;
}

static bool
dims(Pt2 *z, const Json *meta, const char *name, int64_t *v, int *n)
{
	Json *list = key(z, meta, name);

	if (!list || list->kind != JsonArray || list->n > MaxRank)
		return false;
	for (*n = 0; *n < list->n; ++*n) {
		Json *k = key(z, list->v[*n], "as_int");
		if (!k || k->kind != JsonInt)
			return false;
		v[*n] = k->i;
	}
	return true;
}

/* TensorMeta of a payload; every number is a constant. */
static bool
describe(Pt2 *z, const Json *meta, View *v)
{
	Json *dt = key(z, meta, "dtype"), *grad = key(z, meta, "requires_grad");
	Json *off = key(z, key(z, meta, "storage_offset"), "as_int");
	int nstride;

	if (!dt || dt->kind != JsonInt || !off || off->kind != JsonInt ||
	    !dims(z, meta, "sizes", v->size, &v->rank) ||
	    !dims(z, meta, "strides", v->stride, &nstride) || nstride != v->rank)
		return bad(z, "weight %s: its tensor_meta is damaged", v->fqn);
	v->dt = schema_dtype(dt->i, NULL);
	v->offset = off->i;
	v->requires_grad = grad && grad->kind == JsonBool && grad->b;
	v->swap = z->swap;
	return true;
}

/* An entry of a configuration.  absent: it has no bytes, which is no error if
 * weights files follow. */
static bool
payload(Pt2 *z, enum where w, Str fqn, const Json *j, View *v, bool *absent)
{
	Json *path = key(z, j, "path_name"), *pickle = key(z, j, "use_pickle");
	Json *meta = key(z, j, "tensor_meta");
	View *bytes;

	*v = (View){ .fqn = fqn };
	if (!path || path->kind != JsonStr)
		return bad(z, "weight %s: its path_name is missing", fqn);
	if (strncmp(path->s, "custom_obj_", 11) == 0 || strncmp(path->s, "opaque_obj_", 11) == 0)
		return bad(z, "%s is a TorchBind or opaque object, which is not supported", fqn);
	if (pickle && pickle->kind == JsonBool && pickle->b)
		return bad(z, "weight %s is a tensor subclass (pickled), which is not supported", fqn);
	if (!meta || meta->kind != JsonObject)
		return bad(z, "weight %s: its tensor_meta is missing", fqn);
	if (!describe(z, meta, v))
		return false;
	bytes = raw(z, w, path->s);
	if (bytes == NULL)
		return false;
	v->store = bytes->store;
	v->nstore = bytes->nstore;
	*absent = v->nstore == 0 && view_numel(v) > 0;
	return true;
}

static bool
value(Pt2 *z, Module *m, Input *in)
{
	enum where w = in->kind == InConst || (in->kind == InBuffer && !in->persistent) ?
	               Constants : Weights;
	bool lenient = z->opt && z->opt->haveweights, absent = false;
	Source *s = &z->src[w];
	View *v, made;
	Json *j;

	if (!load(z, w))
		return false;
	j = s->config ? json_get(s->config, in->target) : NULL;
	v = s->config ? NULL : map_get(&s->byname, in->target);
	if (j) {
		v = &made;
		if (!payload(z, w, in->target, j, v, &absent))
			return false;
	}
	if (absent && !lenient)
		return bad(z, "exported without weight values (fake tensors): %s has no data", in->target);
	if (v == NULL && !lenient)
		return bad(z, "%s %s has no value in the archive", w == Weights ? "weight" : "constant",
		           in->target);
	if (v == NULL || absent)
		return true;
	return weight_set(z->cx, m, in, z->f->name, v, &z->seen);
}

/* A file of weights for a model that was read from elsewhere: a name may stand in
 * either place. */
static bool
has(const Pt2 *z, enum where w, Str fqn)
{
	const Source *s = &z->src[w];

	return s->config ? json_get(s->config, fqn) != NULL : map_get(&s->byname, fqn) != NULL;
}

static bool
values(Pt2 *z, Module *m)
{
	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i];
		if (in->target && (!in->weight || !in->weight->data) && !value(z, m, in))
			return false;
	}
	return true;
}

/* ---- the two doors -------------------------------------------------------------------------------- */

static bool
opened(Ctx *cx, const File *f, const ReadOptions *opt, Pt2 *z)
{
	*z = (Pt2){ .cx = cx, .f = f, .opt = opt };
	if (!zip_open(cx, f->name, f->data, f->size, &z->zip))
		return false;
	if (opt && opt->maxinput > 0)
		*z->zip.budget = (uint64_t)opt->maxinput;
	return layout(z) && choose(z);
}

static void
extras(Pt2 *z)
{
	size_t n = strlen(z->root);

	for (int i = 0; i < z->zip.n; i++) {
		const char *s = z->zip.v[i].name + n;
		if (strncmp(s, "extra/", 6) == 0 || strncmp(s, "extra_files/", 12) == 0)
			note(z->cx, NOLOC, "%s: not used: %s", z->f->name, z->zip.v[i].name);
	}
}

Module *
read_pt2(Ctx *cx, const File *f, const ReadOptions *opt)
{
	const uint8_t *p;
	const ZipEntry *e;
	Module *m;
	size_t n;
	Pt2 z;

	if (!opened(cx, f, opt, &z))
		return NULL;
	if (opt && opt->verbose)
		extras(&z);
	e = program(&z);
	/* text of a graph deflates to a thirtieth; blanks would to a thousandth */
	if (e->usize > 1u << 30 || (e->usize > 1u << 26 && e->usize / 256 > e->csize)) {
		bad(&z, "%s is larger than 1 GiB, or blown up by compression", e->name);
		return NULL;
	}
	if (!bytes(&z, e, &p, &n))
		return NULL;
	m = read_json(cx, f, (const char *)p, n, opt);
	return m && values(&z, m) ? m : NULL;
}

bool
pt2_weights(Ctx *cx, Module *m, const File *f, const ReadOptions *opt)
{
	Pt2 z;

	if (!opened(cx, f, opt, &z) || !load(&z, Weights) || !load(&z, Constants))
		return false;
	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i], as = *in;
		if (!in->target || (in->weight && in->weight->data))
			continue;
		if (!has(&z, Weights, in->target) && !has(&z, Constants, in->target))
			continue;
		as.kind = has(&z, Weights, in->target) ? InParam : InConst;
		if (!value(&z, m, &as))
			return false;
		in->weight = as.weight;
	}
	return true;
}
