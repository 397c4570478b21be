/* case.c - read case directories; packs are in casepack.c. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "casefile.h"

/* ---- json helpers ---------------------------------------------------------------- */

Json *
case_get(Ctx *cx, const Json *o, const char *key)
{
	return o ? json_get(o, intern_str(cx, key)) : NULL;
}

const char *
case_str(Ctx *cx, const Json *o, const char *key)
{
	Json *j = case_get(cx, o, key);

	return j && j->kind == JsonStr ? j->s : NULL;
}

double
case_num(Ctx *cx, const Json *o, const char *key)
{
	Json *j = case_get(cx, o, key);

	return j == NULL ? 0 : j->kind == JsonFloat ? j->f : j->kind == JsonInt ? (double)j->i : 0;
}

int64_t
case_int(Ctx *cx, const Json *o, const char *key, int64_t dflt)
{
	Json *j = case_get(cx, o, key);

	return j && j->kind == JsonInt ? j->i : dflt;
}

bool
case_truth(Ctx *cx, const Json *o, const char *key, bool dflt)
{
	Json *j = case_get(cx, o, key);

	return j && j->kind == JsonBool ? j->b : dflt;
}

Json *
case_json(Ctx *cx, const char *path)
{
	File f;

	return file_read(cx, path, &f) ? json_parse(cx, path, (const char *)f.data, f.size, true) : NULL;
}

const char *
case_join(Ctx *cx, const char *dir, const char *name)
{
	return arena_printf(ctx_arena(cx), "%s/%s", dir, name);
}

/* ---- tensors ------------------------------------------------------------------------ */

static int
sizes(Ctx *cx, const Json *o, const char *key, int64_t *dim)
{
	Json *j = case_get(cx, o, key);
	int n = j && j->kind == JsonArray && j->n <= MaxRank ? j->n : 0;

	for (int i = 0; i < n; i++)
		dim[i] = j->v[i]->i;
	return n;
}

CaseTensor
case_tensor(Ctx *cx, const Json *o)
{
	CaseTensor t = {0};
	const char *dt = case_str(cx, o, "dtype");
	Json *v = case_get(cx, o, "value");

	t.istensor = dt != NULL;
	if (v && !t.istensor) {
		t.isint = v->kind == JsonInt;
		t.value = v->i;
		return t;
	}
	t.dt = dt ? dtype_parse(dt, strlen(dt)) : DtNone;
	t.rank = sizes(cx, o, "shape", t.dim);
	sizes(cx, o, "stride", t.stride);
	t.storage = case_int(cx, o, "storage", 0);
	return t;
}

/* dt: what is expected, for dtypes that .npy has no name for; becomes what is there. */
static const uint8_t *
npy_bytes(Ctx *cx, const char *path, enum dtype *dt)
{
	File f;
	Tensor t;

	if (!file_read(cx, path, &f) || !npy_read(cx, path, f.data, f.size, *dt, &t))
		return NULL;
	*dt = t.dt;
	return t.data ? t.data : (const uint8_t *)"";
}

void
case_tolerance(Ctx *cx, const Json *o, CaseWant *w)
{
	Json *tol = case_get(cx, o, "tol");

	w->hastol = tol != NULL;
	w->atol = case_num(cx, tol, "atol");
	w->rtol = case_num(cx, tol, "rtol");
}

static CaseWant
want_file(Ctx *cx, const char *dir, const Json *o)
{
	CaseWant w = {.eager = case_tensor(cx, o), .index = (int)case_int(cx, o, "index", 0)};
	const char *f = case_str(cx, o, "file"), *f64 = case_str(cx, o, "file64");

	if (f)
		w.eager.data = npy_bytes(cx, case_join(cx, dir, f), &w.eager.dt);
	if (f64) {
		w.ref = w.eager;
		w.ref.dt = DtF64;                          /* f32 where there are many */
		w.ref.data = npy_bytes(cx, case_join(cx, dir, f64), &w.ref.dt);
	}
	w.fqn = case_str(cx, o, "fqn");
	case_tolerance(cx, o, &w);
	return w;
}

/* ---- generated weights ------------------------------------------------------------------ */

static uint64_t
splitmix(uint64_t seed, uint64_t i)
{
	uint64_t z = seed + (i + 1) * UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

static double
generated(Ctx *cx, const Json *w, const char *gen, uint64_t i)
{
	uint64_t z = splitmix((uint64_t)case_int(cx, w, "seed", 0), i);

	if (strcmp(gen, "const") == 0)
		return case_num(cx, w, "value");
	if (strcmp(gen, "int") == 0) {
		int64_t lo = case_int(cx, w, "lo", 0), hi = case_int(cx, w, "hi", 1);
		return (double)(lo + (int64_t)(z % (uint64_t)(hi - lo)));
	}
	return (double)(float)((double)(float)case_num(cx, w, "mean") + (double)(float)case_num(cx, w, "scale") * ((double)(z >> 40) * 0x1p-23 - 1.0));
}

void
st_add(StOut *s, const char *name, enum dtype dt, int rank, const int64_t *dim, const void *p, size_t bytes)
{
	static const char *const tag[NDtype] = {"BOOL", "U8", "I8", "I16", "I32", "I64", "U16", "U32", "U64", "F16", "BF16", "F32", "F64", "C64", "C64", "F8_E4M3", "F8_E5M2"};

	text_add(&s->head, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", s->any ? "," : "{", name, tag[dt]);
	for (int i = 0; i < rank; i++)
		text_add(&s->head, "%s%lld", i ? "," : "", (long long)dim[i]);
	text_add(&s->head, "],\"data_offsets\":[%zu,%zu]}", s->data.n, s->data.n + bytes);
	text_put(&s->data, p, bytes);
	s->any = true;
}

void
st_done(Ctx *cx, StOut *s, CaseForm *f)
{
	Text t = {.arena = ctx_arena(cx)};
	uint64_t n;

	if (!s->any)
		return;
	text_add(&s->head, "}");
	while (s->head.n % 8)
		text_add(&s->head, " ");
	n = s->head.n;
	text_put(&t, (const char *)&n, 8);
	text_put(&t, s->head.s, s->head.n);
	text_put(&t, s->data.s ? s->data.s : "", s->data.n);
	f->safetensors = t.s;
	f->nsafetensors = t.n;
}

/* Largest elements first would be the writers' order; any order is valid. */
static void
generate(Ctx *cx, const Json *weights, StOut *s)
{
	for (int i = 0; weights && i < weights->n; i++) {
		const Json *w = weights->v[i];
		const char *gen = case_str(cx, w, "gen");
		CaseTensor t = case_tensor(cx, w);
		int64_t n = 1;
		if (gen == NULL)
			continue;
		for (int d = 0; d < t.rank; d++)
			n *= t.dim[d];
		size_t width = dtypeinfo[t.dt].bytes;
		uint8_t *p = malloc((size_t)n * width + 1);
		for (int64_t k = 0; p && k < n; k++)
			dt_store(t.dt, p + (size_t)k * width, generated(cx, w, gen, (uint64_t)k));
		if (p)
			st_add(s, weights->key[i], t.dt, t.rank, t.dim, p, (size_t)n * width);
		free(p);
	}
}

/* ---- model case directories -------------------------------------------------------------- */

/* Which input of the undecomposed export is what: its archive says so, by the names that the
 * text has too; the case's own signature is that of the core graph. */
static const char *
export_pragmas(Ctx *cx, const char *pt2)
{
	Text t = {.arena = ctx_arena(cx)};
	File f;
	Module *m = file_exists(pt2) && file_read(cx, pt2, &f) ? read_model(cx, &f, &(ReadOptions){0}) : NULL;

	if (m == NULL)
		return NULL;
	text_add(&t, "#fxg 1\n");
	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].name)
			text_add(&t, m->in.v[i].target ? "#fxg in %s %s \"%s\"\n" : "#fxg in %s %s\n", m->in.v[i].name, inkind_text[m->in.v[i].kind], m->in.v[i].target);
	return t.s;
}

static void
range_pragmas(Ctx *cx, const Json *meta, Text *t)
{
	Json *range = case_get(cx, meta, "range_constraints");

	for (int i = 0; range && i < range->n; i++) {
		long long lo, hi;
		const char *s = range->v[i]->s;
		if (range->v[i]->kind == JsonStr && sscanf(s, "VR[%lld, %lld]", &lo, &hi) == 2)
			text_add(t, "#fxg range %s %lld %lld\n", range->key[i], lo, hi);
		else if (range->v[i]->kind == JsonStr && sscanf(s, "VR[%lld,", &lo) == 1)
			text_add(t, "#fxg range %s %lld oo\n", range->key[i], lo);
	}
}

/* The same, "" if absent. */
static const char *
text(Ctx *cx, const Json *o, const char *key)
{
	const char *s = case_str(cx, o, key);

	return s ? s : "";
}

void
case_outputs(Ctx *cx, const Json *out, Text *t)
{
	for (int i = 0; out && i < out->n; i++) {
		const char *target = case_str(cx, out->v[i], "target");
		text_add(t, "#fxg out %d %s", i, text(cx, out->v[i], "kind"));
		if (target)
			text_add(t, " \"%s\"", target);
		text_add(t, "\n");
	}
}

/* The signature as pragmas, for texts without a trailer. */
static const char *
pragmas(Ctx *cx, const Json *meta, bool outputs)
{
	Text t = {.arena = ctx_arena(cx)};
	Json *sig = case_get(cx, meta, "signature"), *in = case_get(cx, sig, "inputs"), *out = case_get(cx, sig, "outputs");

	text_add(&t, "#fxg 1\n");
	for (int i = 0; in && i < in->n; i++) {
		const char *target = case_str(cx, in->v[i], "target");
		text_add(&t, "#fxg in %s %s", text(cx, in->v[i], "name"), text(cx, in->v[i], "kind"));
		if (target)
			text_add(&t, " \"%s\"", target);
		text_add(&t, "\n");
	}
	if (outputs)
		case_outputs(cx, out, &t);
	return t.s;
}

/* Annotations of the placeholders of graph.fxg: name: "type", for the form that has none. */
static void
types_from_text(Ctx *cx, const char *path, CaseForm *f)
{
	File file;
	const char *s, *end, *q;

	if (!file_read(cx, path, &file) || (s = strstr((const char *)file.data, "def forward(self, ")) == NULL)
		return;
	s += strlen("def forward(self, ");
	end = strstr(s, "):\n");
	while (end && s < end && (q = memchr(s, ':', (size_t)(end - s))) && q[1] == ' ' && q[2] == '"') {
		const char *close = strchr(q + 3, '"');
		vec_push(ctx_arena(cx), &f->option, arena_printf(ctx_arena(cx), "-ftype=%.*s=%.*s", (int)(q - s), s, (int)(close - q - 3), q + 3));
		s = close + 1;
		while (s < end && (*s == ',' || *s == ' '))
			s++;
	}
}

static void
constants_from_meta(Ctx *cx, const Json *meta, CaseForm *f)
{
	Json *in = case_get(cx, case_get(cx, meta, "runs")->v[0], "inputs"), *sig = case_get(cx, case_get(cx, meta, "signature"), "inputs");
	int user = 0;
	Text t = {.arena = ctx_arena(cx)};

	for (int i = 0; in && sig && i < sig->n; i++) {
		const char *kind = case_str(cx, sig->v[i], "kind");
		if (kind == NULL || strcmp(kind, "USER_INPUT") != 0)
			continue;
		const Json *o = user < in->n ? in->v[user++] : NULL;
		const Json *v = o ? case_get(cx, o, "value") : NULL;
		const char *name = case_str(cx, sig->v[i], "name");
		if (v == NULL || name == NULL || case_get(cx, o, "dtype"))
			continue;
		if (v->kind == JsonBool)
			text_add(&t, "#fxg const %s %s\n", name, v->b ? "True" : "False");
		else if (v->kind == JsonInt)
			text_add(&t, "#fxg const %s %lld\n", name, (long long)v->i);
		else if (v->kind == JsonFloat)
			text_add(&t, "#fxg const %s %.17g\n", name, v->f);
		else if (v->kind == JsonNull)
			text_add(&t, "#fxg const %s None\n", name);
	}
	if (t.n)
		f->before = arena_printf(ctx_arena(cx), "%s%s", f->before ? f->before : "#fxg 1\n", t.s);
}

/* joint.fxg: what AOTAutograd made of it. */
static void
joint_form(Ctx *cx, const char *dir, const Json *meta, const CaseForm *like, Case *c)
{
	const char *path = case_join(cx, dir, "joint.fxg");
	Json *sig = case_get(cx, case_get(cx, meta, "signature"), "inputs"), *w = case_get(cx, meta, "weights");
	CaseForm f = *like;
	JointInput *in;
	File file;
	int user = 0;

	if (sig == NULL || c->run.n == 0 || !file_exists(path) || !file_read(cx, path, &file))
		return;
	in = NEWN(ctx_arena(cx), JointInput, sig->n + 1);
	for (int i = 0; i < sig->n; i++) {
		in[i] = (JointInput){.kind = text(cx, sig->v[i], "kind"), .fqn = case_str(cx, sig->v[i], "target")};
		if (in[i].fqn && w && case_get(cx, w, in[i].fqn))
			in[i].type = case_tensor(cx, case_get(cx, w, in[i].fqn));
		else if (!in[i].fqn && user < c->run.v[0].in.n)
			in[i].type = c->run.v[0].in.v[user++];
	}
	f.kind = "joint.fxg";
	f.path = NULL;
	f.text = (const char *)file.data;
	f.ntext = file.size;
	f.option.n = 0;
	f.before = joint_pragmas(cx, f.text, in, sig->n, &c->run.v[0]);
	if (f.before)
		vec_push(ctx_arena(cx), &c->form, f);
}

static void
model_forms(Ctx *cx, const char *dir, const Json *meta, bool train, Case *c)
{
	static const char *const name[] = {"model.pt2", "model.core.json", "graph.export.fxg", "graph.fxg", "graph.str.txt", "ep.txt"};
	const char *st = case_join(cx, dir, "model.safetensors"), *pt2 = case_join(cx, dir, "model.pt2");
	StOut gen = {.head = {.arena = ctx_arena(cx)}, .data = {.arena = ctx_arena(cx)}};
	CaseForm made = {0};

	generate(cx, case_get(cx, meta, "weights"), &gen);
	st_done(cx, &gen, &made);
	for (int i = 0; i < COUNT(name); i++) {
		CaseForm f = {.kind = name[i], .path = case_join(cx, dir, name[i]), .safetensors = made.safetensors, .nsafetensors = made.nsafetensors};
		File file;
		if (!file_exists(f.path))
			continue;
		if (i > 0 && file_exists(st))
			vec_push(ctx_arena(cx), &f.weights, st);
		else if (i > 0 && file_exists(pt2))
			vec_push(ctx_arena(cx), &f.weights, pt2);
		if (i == 2)
			f.before = export_pragmas(cx, pt2);
		if (i >= 2 && i <= 4 && f.before == NULL)
			f.before = pragmas(cx, meta, i > 2);
		if (f.before) {
			Text t = {.arena = ctx_arena(cx)};
			range_pragmas(cx, meta, &t);
			f.before = arena_printf(ctx_arena(cx), "%s%s", f.before, t.s ? t.s : "");
		}
		if (i >= 2)
			constants_from_meta(cx, meta, &f);
		if (i == 4)
			types_from_text(cx, case_join(cx, dir, "graph.fxg"), &f);
		if (f.before && file_read(cx, f.path, &file)) {
			f.text = (const char *)file.data;
			f.ntext = file.size;
			f.path = NULL;
		}
		vec_push(ctx_arena(cx), &c->form, f);
		if (train && i == COUNT(name) - 1)
			joint_form(cx, dir, meta, &f, c);
	}
}

static bool
read_model_case(Ctx *cx, const char *dir, Str id, bool train, CaseList *list)
{
	Json *meta = case_json(cx, case_join(cx, dir, "meta.json")), *runs;
	const char *kind = case_str(cx, meta, "kind");
	Case *c;

	if (meta == NULL)
		return false;
	if (kind && (strcmp(kind, "train") == 0) != train)
		return true;
	c = NEW(ctx_arena(cx), Case);
	c->id = id;
	runs = case_get(cx, meta, "runs");
	for (int r = 0; runs && r < runs->n; r++) {
		const Json *j = runs->v[r];
		CaseRun run = {.deterministic = case_truth(cx, j, "deterministic", true)};
		Json *in = case_get(cx, j, "inputs");
		for (int i = 0; in && i < in->n; i++) {
			CaseTensor t = case_tensor(cx, in->v[i]);
			const char *f = case_str(cx, in->v[i], "file");
			if (t.istensor && f)
				t.data = npy_bytes(cx, case_join(cx, dir, f), &t.dt);
			vec_push(ctx_arena(cx), &run.in, t);
		}
		Json *out = case_get(cx, j, "outputs"), *mi = case_get(cx, j, "mutated_inputs"), *mb = case_get(cx, j, "mutated_buffers");
		Json *grad = train ? case_get(cx, j, "grads") : NULL;
		for (int i = 0; out && i < out->n; i++)
			vec_push(ctx_arena(cx), &run.out, want_file(cx, dir, out->v[i]));
		for (int i = 0; mi && i < mi->n; i++)
			vec_push(ctx_arena(cx), &run.mutin, want_file(cx, dir, mi->v[i]));
		for (int i = 0; mb && i < mb->n; i++)
			vec_push(ctx_arena(cx), &run.mutbuf, want_file(cx, dir, mb->v[i]));
		for (int i = 0; grad && i < grad->n; i++)
			vec_push(ctx_arena(cx), &run.grad, want_file(cx, dir, grad->v[i]));
		vec_push(ctx_arena(cx), &c->run, run);
	}
	model_forms(cx, dir, meta, train, c);
	vec_push(ctx_arena(cx), list, c);
	return true;
}

/* ---- finding ---------------------------------------------------------------------------------- */

static int
byname(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool
walk(Ctx *cx, const char *dir, Str id, bool train, CaseList *list)
{
	VEC(char *) sub = {0};
	struct dirent *e;
	struct stat st;
	DIR *d;
	bool ok = true;

	if (file_exists(case_join(cx, dir, "cases.json")))
		return pack_read(cx, dir, id, -1, train, list);
	if (file_exists(case_join(cx, dir, "meta.json")))
		return read_model_case(cx, dir, id, train, list);
	if ((d = opendir(dir)) == NULL) {
		error(cx, NOLOC, "%s: no case, pack or directory", dir);
		return false;
	}
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && stat(case_join(cx, dir, e->d_name), &st) == 0 && S_ISDIR(st.st_mode))
			vec_push(ctx_arena(cx), &sub, arena_printf(ctx_arena(cx), "%s", e->d_name));
	closedir(d);
	if (sub.n)
		qsort(sub.v, (size_t)sub.n, sizeof *sub.v, byname);
	for (int i = 0; i < sub.n; i++)
		ok = walk(cx, case_join(cx, dir, sub.v[i]), *id ? intern_printf(cx, "%s/%s", id, sub.v[i]) : sub.v[i], train, list) && ok;
	return ok;
}

bool
cases_find(Ctx *cx, const char *dir, bool train, CaseList *list)
{
	char *path = arena_printf(ctx_arena(cx), "%s", dir), *hash = strrchr(path, '#');
	size_t n = strlen(path);
	const char *base;
	int64_t only = -1;

	if (hash && !file_exists(path)) {
		only = strtoll(hash + 1, NULL, 10);
		*hash = '\0';
	}
	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	base = strrchr(path, '/');
	base = base ? base + 1 : path;
	if (only >= 0)
		return pack_read(cx, path, base, only, train, list);
	return walk(cx, path, base, train, list);
}
