/* casejoint.c - what the inputs of a case's joint graph are.
 *
 * AOTAutograd's text names them primals_1, primals_2 ... in the order in which the program
 * first used them; the case knows parameters, buffers and inputs by name.  They are matched
 * in order among those of the same type, with gradients apart from those without.
 */
#include "case.h"

typedef struct Names { VEC(const char *) v; } Names;

/* f32[16, 3] of "f32[16, 3][3, 1]cpu" */
static const char *
shape_text(Ctx *cx, const char *s)
{
	const char *end = strchr(s, ']');

	return end ? intern(cx, s, (size_t)(end - s) + 1) : "";
}

/* primals_1: "f32[64, 32][32, 1]cpu"; ... */
static void
primals(Ctx *cx, const char *text, Names *type)
{
	for (int k = 1;; k++) {
		const char *s = strstr(text, arena_printf(ctx_arena(cx), " primals_%d: \"", k));
		if (s == NULL)
			return;
		vec_push(ctx_arena(cx), &type->v, shape_text(cx, strchr(s, '"') + 1));
	}
}

static void
results(Ctx *cx, const char *text, Names *out)
{
	const char *s = strstr(text, "return pytree.tree_unflatten([");

	for (s = s ? strchr(s, '[') + 1 : "]"; *s && *s != ']';) {
		size_t n = strcspn(s, ",]");
		vec_push(ctx_arena(cx), &out->v, intern(cx, s, n));
		s += n;
		s += strspn(s, ", ");
	}
}

static const char *
type_text(Ctx *cx, const CaseTensor *t)
{
	Text s = {.arena = ctx_arena(cx)};

	text_add(&s, "%s[", t->istensor ? dtypeinfo[t->dt].text : "?");
	for (int d = 0; d < t->rank; d++)
		text_add(&s, "%s%lld", d ? ", " : "", (long long)t->dim[d]);
	text_add(&s, "]");
	return s.s;
}

static bool
named(const CaseWant *w, int n, const char *fqn)
{
	for (int i = 0; fqn && i < n; i++)
		if (w[i].fqn && strcmp(w[i].fqn, fqn) == 0)
			return true;
	return false;
}

/* The first input that is not taken yet, of this type, that has a gradient or not. */
static int
match(Ctx *cx, const JointInput *in, int nin, const bool *taken, const CaseRun *r, const char *type, bool grad)
{
	for (int i = 0; i < nin; i++)
		if (!taken[i] && named(r->grad.v, r->grad.n, in[i].fqn) == grad && strcmp(type_text(cx, &in[i].type), type) == 0)
			return i;
	return -1;
}

/* Pragmas that say it; NULL: they do not fit. */
const char *
joint_pragmas(Ctx *cx, const char *text, const JointInput *in, int nin, const CaseRun *r)
{
	Text t = {.arena = ctx_arena(cx)};
	bool *taken = NEWN(ctx_arena(cx), bool, nin + 1);
	Names type = {0}, out = {0};
	int nout = 0;

	primals(cx, text, &type);
	results(cx, text, &out);
	if (type.v.n == 0 || out.v.n < type.v.n)
		return NULL;
	text_add(&t, "#fxg 1\n");
	for (int k = 0; k < type.v.n; k++) {
		bool grad = strcmp(out.v.v[out.v.n - type.v.n + k], "None") != 0;
		int i = match(cx, in, nin, taken, r, type.v.v[k], grad);
		if (i < 0)
			return NULL;
		taken[i] = true;
		if (in[i].fqn)
			text_add(&t, "#fxg in primals_%d %s \"%s\"\n", k + 1, in[i].kind, in[i].fqn);
		if (named(r->mutbuf.v, r->mutbuf.n, in[i].fqn))
			text_add(&t, "#fxg out %d BUFFER_MUTATION \"%s\"\n", nout++, in[i].fqn);
	}
	return t.s;
}
