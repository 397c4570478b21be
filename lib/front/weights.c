/* weights.c - values for parameters, buffers and constants, by name.
 *
 * A weight stays where it lies in the mapped file.  It is copied only if its
 * address does not suit its dtype or its bytes are in the other order; then the
 * part of the storage that the tensor spans is copied, strides kept.  Two names
 * for the same view of the same storage are tied: they get the same `storage`.
 */
#include <stdlib.h>
#include "front/bytes.h"
#include "front/weights.h"

int64_t
view_numel(const View *v)
{
	int64_t n = 1;

	for (int d = 0; d < v->rank; d++)
		if (v->size[d] < 0)
			return -1;
		else if (v->size[d] == 0)
			return 0;
	for (int d = 0; d < v->rank; d++)
		if (!mul_ok(n, v->size[d], &n))
			return -1;
	return n;
}

void
view_rowmajor(View *v)
{
	int64_t n = 1;

	for (int d = v->rank - 1; d >= 0; d--) {
		v->stride[d] = n;
		if (v->size[d] > 1 && !mul_ok(n, v->size[d], &n))
			n = 0;       /* numel is -1 then */
	}
}

/* Elements from the first to the last, both included; 0 if empty, -1 if that
 * does not fit. */
static int64_t
extent(const View *v)
{
	int64_t n = view_numel(v), last = 0, step;

	if (n <= 0)
		return n;
	for (int d = 0; d < v->rank; d++)
		if (v->stride[d] < 0 || !mul_ok(v->size[d] - 1, v->stride[d], &step) ||
		    !add_ok(last, step, &last))
			return -1;
	return add_ok(last, 1, &last) ? last : -1;
}

static const Type *
viewtype(Ctx *cx, const View *v)
{
	const Sym *dim[MaxRank], *stride[MaxRank];
	View dense = *v;
	bool same = true;

	view_rowmajor(&dense);
	for (int d = 0; d < v->rank; d++) {
		dim[d] = sym_const(cx, v->size[d]);
		stride[d] = sym_const(cx, v->stride[d]);
		same = same && (v->size[d] == 1 || v->stride[d] == dense.stride[d]);
	}
	if (same || view_numel(v) == 0)
		return type_tensor(cx, v->dt, v->rank, dim);
	return type_strided(cx, v->dt, v->rank, dim, stride);
}

static bool
sameshape(const Type *a, const Type *b)
{
	if (a->dt != b->dt || a->rank != b->rank)
		return false;
	for (int d = 0; d < a->rank; d++)
		if (a->dim[d] != b->dim[d])
			return false;
	return true;
}

/* What one number of a dtype takes: half of a complex. */
static size_t
unit(enum dtype dt)
{
	return dtypeinfo[dt].kind == KindComplex ? dtypeinfo[dt].bytes / 2u : dtypeinfo[dt].bytes;
}

static const uint8_t *
aligned(Ctx *cx, const View *v, const uint8_t *from, size_t n)
{
	size_t u = unit(v->dt);
	uint8_t *to;

	if ((uintptr_t)from % u == 0 && (!v->swap || u == 1))
		return from;
	to = arena_alloc(ctx_arena(cx), n, 16);
	memcpy(to, from, n);
	for (size_t i = 0; v->swap && i < n; i += u)
		for (size_t k = 0; k < u / 2; k++) {
			uint8_t t = to[i + k];
			to[i + k] = to[i + u - 1 - k];
			to[i + u - 1 - k] = t;
		}
	return to;
}

static Weight *
weight(Module *m, Input *in)
{
	if (in->weight == NULL) {
		in->weight = NEW(ctx_arena(m->cx), Weight);
		vec_push(ctx_arena(m->cx), &m->weight, in->weight);
	}
	return in->weight;
}

/* Does the view lie in its storage?  n: elements it spans. */
static bool
possible(Ctx *cx, const char *what, const View *v, int64_t *n)
{
	int64_t end, bytes;

	if (v->dt == DtNone) {
		error(cx, NOLOC, "%s: weight %s has a dtype that is not supported", what, v->fqn);
		return false;
	}
	*n = extent(v);
	if (*n < 0 || v->offset < 0 || !add_ok(v->offset, *n, &end) ||
	    !mul_ok(end, dtypeinfo[v->dt].bytes, &bytes)) {
		error(cx, NOLOC, "%s: weight %s: its sizes, strides or offset are impossible", what, v->fqn);
		return false;
	}
	if (*n > 0 && (uint64_t)bytes > v->nstore) {
		error(cx, NOLOC, "%s: weight %s needs %lld bytes, its record has %zu",
		      what, v->fqn, (long long)bytes, v->nstore);
		return false;
	}
	return true;
}

bool
weight_set(Ctx *cx, Module *m, Input *in, const char *what, const View *v, Map *seen)
{
	const Type *type, *want = in->val ? in->val->type : NULL;
	const uint8_t *from;
	Weight *w, *tied;
	int64_t n;

	if (!possible(cx, what, v, &n))
		return false;
	type = viewtype(cx, v);
	if (want && !sameshape(type, want)) {
		error(cx, NOLOC, "%s: weight %s is %s, the model wants %s", what, v->fqn,
		      type_str(cx, type), type_str(cx, want));
		return false;
	}
	w = weight(m, in);
	w->fqn = v->fqn;
	w->type = type;
	w->requires_grad = v->requires_grad;
	w->bytes = (size_t)n * dtypeinfo[v->dt].bytes;
	w->data = (const uint8_t *)"";
	if (n == 0)
		return true;
	from = v->store + (size_t)v->offset * dtypeinfo[v->dt].bytes;
	tied = map_get(seen, from);
	if (tied && tied->type == type) {
		if (tied->storage == 0)
			tied->storage = 1u << 31 | (uint32_t)m->weight.n;   /* no number of a text's */
		w->storage = tied->storage;
		w->data = tied->data;
		return true;
	}
	w->data = aligned(cx, v, from, w->bytes);
	map_put(ctx_arena(cx), seen, from, w);
	return true;
}

/* ---- weights files ----------------------------------------------------------------- */

static bool
wants(const Input *in)
{
	return in->target && (in->weight == NULL || in->weight->data == NULL);
}

/* The inputs that want a value, by name. */
typedef struct Want { Input *in; struct Want *next; } Want;

typedef struct Target {
	Ctx *cx;
	Module *m;
	Map  byname;            /* Str -> Want */
	Map  seen;              /* of the container being read */
	const ReadOptions *opt;
} Target;

static Target
target(Ctx *cx, Module *m, const ReadOptions *opt)
{
	Target t = { .cx = cx, .m = m, .opt = opt };
	Arena *a = ctx_arena(cx);

	for (int i = m->in.n - 1; i >= 0; i--) {
		Input *in = &m->in.v[i];
		Want *w;
		if (!wants(in))
			continue;
		w = NEW(a, Want);
		*w = (Want){ in, map_get(&t.byname, in->target) };
		map_put(a, &t.byname, in->target, w);
	}
	return t;
}

/* To every input of that name; a file may hold what no input names. */
static bool
give(Target *t, const char *what, const View *v)
{
	Want *want = map_get(&t->byname, v->fqn);
	View w = *v;

	if (want == NULL)
		warn(t->cx, NOLOC, WarnUnused, "%s: no input of the model takes %s", what, v->fqn);
	for (; want; want = want->next) {
		w.requires_grad = want->in->kind == InParam;
		if (!weight_set(t->cx, t->m, want->in, what, &w, &t->seen))
			return false;
	}
	return true;
}

static bool
fromsafetensors(Target *t, const File *f)
{
	StEntry *e;
	int n;

	if (!safetensors_read(t->cx, f->name, f->data, f->size, &e, &n))
		return false;
	for (int i = 0; i < n; i++) {
		View v = { .fqn = e[i].name, .dt = e[i].dt, .rank = e[i].rank,
		           .store = e[i].data, .nstore = e[i].bytes };
		memcpy(v.size, e[i].dim, sizeof v.size);
		view_rowmajor(&v);
		if (!give(t, f->name, &v))
			return false;
	}
	return true;
}

static bool
fromnpy(Target *t, const char *what, Str name, const uint8_t *p, size_t n)
{
	const Want *w = map_get(&t->byname, name);
	const Type *type = w && w->in->val ? w->in->val->type : NULL;
	View v = { .fqn = name };
	Tensor a;

	/* what NumPy has no name for, the model declares */
	if (!npy_read(t->cx, what, p, n, type ? type->dt : DtNone, &a))
		return false;
	v.dt = a.dt;
	v.rank = a.rank;
	v.store = a.data;
	v.nstore = a.bytes;
	memcpy(v.size, a.dim, sizeof v.size);
	view_rowmajor(&v);
	return give(t, what, &v);
}

/* "dir/fc1.weight.npy" -> "fc1.weight" */
static Str
arrayname(Ctx *cx, const char *path)
{
	const char *base = strrchr(path, '/');
	size_t n;

	base = base ? base + 1 : path;
	n = strlen(base);
	return intern(cx, base, n > 4 && strcmp(base + n - 4, ".npy") == 0 ? n - 4 : n);
}

static bool
fromnpz(Target *t, const File *f, const Zip *z)
{
	Ctx *cx = t->cx;

	for (int i = 0; i < z->n; i++) {
		const char *what = intern_printf(cx, "%s(%s)", f->name, z->v[i].name);
		const uint8_t *p;
		size_t n, len = strlen(z->v[i].name);
		if (!zip_bytes(cx, z, &z->v[i], &p, &n) ||
		    !fromnpy(t, what, intern(cx, z->v[i].name, len - 4), p, n))
			return false;
	}
	return true;
}

static bool
isnpz(const Zip *z)
{
	for (int i = 0; i < z->n; i++) {
		size_t n = strlen(z->v[i].name);
		if (n < 5 || strcmp(z->v[i].name + n - 4, ".npy") != 0)
			return false;
	}
	return z->n > 0;
}

static bool
fromzip(Target *t, const File *f)
{
	const ReadOptions *opt = t->opt;
	Zip z;

	if (!zip_open(t->cx, f->name, f->data, f->size, &z))
		return false;
	if (opt && opt->maxinput > 0)
		*z.budget = (uint64_t)opt->maxinput;
	return isnpz(&z) ? fromnpz(t, f, &z) : pt2_weights(t->cx, t->m, f, opt);
}

/* model.safetensors.index.json: each file that its weight_map names, once. */
static bool
fromindex(Target *t, const File *f)
{
	Ctx *cx = t->cx;
	Json *j = json_parse(cx, f->name, (const char *)f->data, f->size, false);
	Json *map = json_get(j, intern_str(cx, "weight_map"));
	const char *slash = strrchr(f->name, '/');
	int ndir = slash ? (int)(slash + 1 - f->name) : 0;
	Map done = {0};

	if (j == NULL)
		return false;
	if (map == NULL || map->kind != JsonObject) {
		error(cx, NOLOC, "%s: not a weights file: no index of safetensors (no \"weight_map\")", f->name);
		return false;
	}
	for (int i = 0; i < map->n; i++) {
		const Json *v = map->v[i];
		File shard;
		if (v->kind != JsonStr || v->s[0] == '/' || strchr(v->s, '\\') || strstr(v->s, "..")) {
			error(cx, NOLOC, "%s: unusable file name for %.200s", f->name, map->key[i]);
			return false;
		}
		if (map_get(&done, v->s))
			continue;
		map_put(ctx_arena(cx), &done, v->s, t);
		if (!file_read(cx, intern_printf(cx, "%.*s%s", ndir, f->name, v->s), &shard) ||
		    !fromsafetensors(t, &shard))
			return false;
	}
	return true;
}

/* Weights that the text declared to share memory (storage, not 0) and of which
 * one has got a value now. */
static void
spread(Module *m)
{
	for (int i = 0; i < m->in.n; i++) {
		Weight *w = m->in.v[i].weight;
		if (w == NULL || w->data || w->storage == 0)
			continue;
		for (int k = 0; k < m->in.n; k++) {
			Weight *o = m->in.v[k].weight;
			if (o && o->data && o->storage == w->storage) {
				w->data = o->data;
				w->bytes = o->bytes;
				w->type = o->type;
				break;
			}
		}
	}
}

bool
read_weights(Ctx *cx, Module *m, const File *f, const ReadOptions *opt)
{
	const uint8_t *p = f->data, *end = f->data + f->size;
	Target t = target(cx, m, opt);
	bool ok;

	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	if (f->size >= 4 && memcmp(f->data, "PK\3\4", 4) == 0)
		ok = fromzip(&t, f);
	else if (f->size >= 6 && memcmp(f->data, "\x93NUMPY", 6) == 0)
		ok = fromnpy(&t, f->name, arrayname(cx, f->name), f->data, f->size);
	else if (p < end && *p == '{')
		ok = fromindex(&t, f);
	else
		ok = fromsafetensors(&t, f);
	if (!ok)
		return false;
	spread(m);
	vec_push(ctx_arena(cx), &m->weightfile, intern_str(cx, f->name));
	return true;
}
