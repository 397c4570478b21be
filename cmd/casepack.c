/* casepack.c - packs: many small cases in one folder. */
#include <stdlib.h>
#include "casefile.h"

typedef struct Pack {
	Ctx *cx;
	Map data;                      /* key -> StEntry * */
	const char *text;
	Json *verified;
	bool train;
} Pack;

static const uint8_t *
pack_data(Pack *p, const char *key)
{
	StEntry *e = key ? map_get(&p->data, intern_str(p->cx, key)) : NULL;

	return e ? e->data : NULL;
}

static CaseTensor
pack_tensor(Pack *p, const Json *o)
{
	CaseTensor t = case_tensor(p->cx, o);

	if (t.istensor)
		t.data = pack_data(p, case_str(p->cx, o, "key"));
	return t;
}

/* w, with its float64 reference (NULL: none) and its bounds. */
static CaseWant
judged(Pack *p, const Json *o, CaseWant w, const StEntry *ref)
{
	if (ref) {
		w.ref = w.eager;
		w.ref.dt = ref->dt;
		w.ref.data = ref->data;
	}
	w.fqn = case_str(p->cx, o, "fqn");
	case_tolerance(p->cx, o, &w);
	return w;
}

static CaseWant
pack_want(Pack *p, const Json *o, int64_t id, int i, bool output)
{
	CaseWant w = {.eager = pack_tensor(p, o), .index = (int)case_int(p->cx, o, output ? "index" : "input", i)};
	StEntry *e = map_get(&p->data, intern_printf(p->cx, output ? "c%lld.ref%d" : "c%lld.mutref%d", (long long)id, i));

	return judged(p, o, w, e);
}

/* The text after `### case ID KIND`, up to the next such line. */
static const char *
pack_text(Pack *p, int64_t id, const char *kind, size_t *n)
{
	const char *head = arena_printf(ctx_arena(p->cx), "### case %lld %s", (long long)id, kind), *s = p->text, *end;

	while ((s = strstr(s, head))) {
		char c = s[strlen(head)];
		if ((s == p->text || s[-1] == '\n') && (c == '\n' || c == ' '))
			break;
		s++;
	}
	if (s == NULL || (s = strchr(s, '\n')) == NULL)
		return NULL;
	s++;
	end = strstr(s, "\n### case ");
	*n = end ? (size_t)(end + 1 - s) : strlen(s);
	return s;
}

static bool
pack_verified(Pack *p, int64_t id, const char *kind)
{
	const char *v = p->verified ? case_str(p->cx, json_get(p->verified, intern_printf(p->cx, "%lld", (long long)id)), kind) : NULL;

	return v && strcmp(v, "ok") == 0;
}

/* Its name in the module, said as such or as the end of its key: c18.w.weight.  NULL: no weight. */
static const char *
weight_name(Ctx *cx, const Json *w)
{
	const char *fqn = case_str(cx, w, "target"), *key = case_str(cx, w, "key"), *at = key ? strstr(key, ".w.") : NULL;

	return fqn ? fqn : at ? at + strlen(".w.") : NULL;
}

static void
pack_weights(Pack *p, const Json *c, int64_t id, const char *kind, CaseForm *f)
{
	Ctx *cx = p->cx;
	Json *w = case_get(cx, c, "weights"), *k = case_get(cx, c, "constants");
	StOut s = {.head = {.arena = ctx_arena(cx)}, .data = {.arena = ctx_arena(cx)}};
	Text t = {.arena = ctx_arena(cx)};

	for (int i = 0; w && i < w->n; i++) {
		const char *fqn = weight_name(cx, w->v[i]), *ph = case_str(cx, w->v[i], "placeholder"), *wk = case_str(cx, w->v[i], "kind");
		StEntry *e = fqn ? map_get(&p->data, intern_printf(cx, "c%lld.w.%s", (long long)id, fqn)) : NULL;
		if (ph && wk)
			text_add(&t, fqn ? "#fxg in %s %s \"%s\"\n" : "#fxg in %s %s\n", ph, wk, fqn);
		if (e)
			st_add(&s, fqn, e->dt, e->rank, e->dim, e->data, e->bytes);
	}
	for (int i = 0; k && i < k->n; i++) {
		const char *g = case_str(cx, k->v[i], "graph"), *name = case_str(cx, k->v[i], "name"), *key = case_str(cx, k->v[i], "key");
		StEntry *e = key ? map_get(&p->data, intern_str(cx, key)) : NULL;
		if (e && name && (g == NULL || strcmp(g, kind) == 0))
			st_add(&s, name, e->dt, e->rank, e->dim, e->data, e->bytes);
	}
	if (strcmp(kind, "core") == 0)                  /* of an export run_decompositions() lists mutations among the outputs */
		case_outputs(cx, case_get(cx, c, "outputs_sig"), &t);
	if (t.n && strstr(f->text, "Graph signature:") == NULL)
		f->before = arena_printf(ctx_arena(cx), "#fxg 1\n%s", t.s);
	st_done(cx, &s, f);
}

/* Gradients lie beside their float64 references: c0.grad1, c0.rgrad1. */
static CaseWant
pack_grad(Pack *p, const Json *o)
{
	CaseWant w = {.eager = pack_tensor(p, o), .index = (int)case_int(p->cx, o, "input", 0)};
	const char *key = case_str(p->cx, o, "key"), *at = key ? strstr(key, ".grad") : NULL;
	StEntry *e = at ? map_get(&p->data, intern_printf(p->cx, "%.*s.r%s", (int)(at - key), key, at + 1)) : NULL;

	return judged(p, o, w, e);
}

/* Placeholder k of a text, in order: what stands before its ':' or ','. */
static const char *
placeholder(Ctx *cx, const char *text, int k)
{
	const char *s = strstr(text, "def forward(self");
	int depth = 0;
	bool quoted = false;

	for (s = s ? s + strlen("def forward(self") : ""; *s && *s != '\n' && !(*s == ')' && depth == 0 && !quoted); s++) {
		if (*s == '"')
			quoted = !quoted;
		depth += quoted ? 0 : (*s == '[' || *s == '(') - (*s == ']' || *s == ')');
		if (*s != ',' || depth || quoted || k-- > 0)
			continue;
		s += strspn(s, ", ");
		return intern(cx, s, strcspn(s, ":,) "));
	}
	return NULL;
}

static void
pack_backward(Pack *p, const Json *b, CaseRun *run, CaseForm *f)
{
	Ctx *cx = p->cx;
	Json *ct = case_get(cx, b, "cotangents"), *grads = case_get(cx, b, "grads");

	for (int i = 0; run && ct && i < ct->n; i++)
		vec_push(ctx_arena(cx), &run->tangent, ((CaseWant){.eager = pack_tensor(p, ct->v[i]), .index = (int)case_int(cx, ct->v[i], "output", i)}));
	for (int i = 0; run && grads && i < grads->n; i++)
		vec_push(ctx_arena(cx), &run->grad, pack_grad(p, grads->v[i]));
	for (int i = 0; f && grads && i < grads->n; i++) {
		const char *name = placeholder(cx, f->text, (int)case_int(cx, grads->v[i], "input", i));
		if (name)
			vec_push(ctx_arena(cx), &f->option, arena_printf(ctx_arena(cx), "--wrt=%s", name));
	}
}

static Case *
pack_case(Pack *p, const Json *j, Str base)
{
	static const char *const kind[] = {"aten", "core", "export"};
	Ctx *cx = p->cx;
	Case *c = NEW(ctx_arena(cx), Case);
	int64_t id = case_int(cx, j, "id", 0);
	CaseRun run = {.deterministic = case_truth(cx, j, "deterministic", true) && !case_truth(cx, j, "random", false)};
	Json *in = case_get(cx, j, "inputs"), *out = case_get(cx, j, "outputs"), *mut = case_get(cx, j, "mutated");
	Json *back = p->train ? case_get(cx, j, "backward") : NULL;

	c->id = intern_printf(cx, "%s#%lld", base, (long long)id);
	for (int i = 0; in && i < in->n; i++)
		vec_push(ctx_arena(cx), &run.in, pack_tensor(p, in->v[i]));
	for (int i = 0; out && i < out->n; i++)
		vec_push(ctx_arena(cx), &run.out, pack_want(p, out->v[i], id, i, true));
	for (int i = 0; mut && i < mut->n; i++) {
		CaseWant w = pack_want(p, mut->v[i], id, i, false);
		if (w.fqn)
			vec_push(ctx_arena(cx), &run.mutbuf, w);
		else
			vec_push(ctx_arena(cx), &run.mutin, w);
	}
	if (back)
		pack_backward(p, back, &run, NULL);
	vec_push(ctx_arena(cx), &c->run, run);
	for (int k = 0; k < COUNT(kind); k++) {
		CaseForm f = {.kind = kind[k]};
		if (!pack_verified(p, id, kind[k]) || (f.text = pack_text(p, id, kind[k], &f.ntext)) == NULL)
			continue;
		pack_weights(p, j, id, kind[k], &f);
		if (back)
			pack_backward(p, back, NULL, &f);
		vec_push(ctx_arena(cx), &c->form, f);
	}
	return c;
}

bool
pack_read(Ctx *cx, const char *dir, Str base, int64_t only, bool train, CaseList *list)
{
	Pack p = {.cx = cx, .train = train};
	Json *j = case_json(cx, case_join(cx, dir, "cases.json")), *cases = case_get(cx, j, "cases");
	File st, text;
	StEntry *e;
	int n;

	if (cases == NULL || !file_read(cx, case_join(cx, dir, "data.safetensors"), &st) || !file_read(cx, case_join(cx, dir, "graphs.txt"), &text) ||
	    !safetensors_read(cx, "data.safetensors", st.data, st.size, &e, &n))
		return false;
	for (int i = 0; i < n; i++)
		map_put(ctx_arena(cx), &p.data, e[i].name, &e[i]);
	p.text = (const char *)text.data;
	if (file_exists(case_join(cx, dir, "verified.json")))
		p.verified = case_json(cx, case_join(cx, dir, "verified.json"));
	for (int i = 0; i < cases->n; i++)
		if ((only < 0 || case_int(cx, cases->v[i], "id", -1) == only) && (!train || case_get(cx, cases->v[i], "backward")))
			vec_push(ctx_arena(cx), list, pack_case(&p, cases->v[i], base));
	return true;
}
