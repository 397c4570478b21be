/* composite.c - inputs that are made of several tensors.
 *
 * PyTorch flattens tensor subclasses before it compiles: what is left are their tensors.  A text
 * may name the whole,
 *
 *     w: "quant{int8: i8[4, 8], scale: f32[4, 1], zp: i8[4, 1]}"
 *
 * and mean the parts as w.int8, w.scale, w.zp.  They are the inputs w_int8, w_scale, w_zp; the
 * module remembers what they make up (Module.whole), the header says it.  A gradient for w is that
 * of its first part that can have one.
 *
 *     #fxg composite w quant w_int8 w_scale w_zp        the same of inputs that are flat already
 */
#include <ctype.h>
#include <string.h>
#include "front/formb.h"

static size_t
identifier(const char *s, size_t n)
{
	size_t k = 0;

	while (k < n && (isalnum((unsigned char)s[k]) || s[k] == '_'))
		k++;
	return k;
}

bool
composite_is(const char *s, size_t n)
{
	size_t k = identifier(s, n);

	return k > 0 && k < n && s[k] == '{' && s[n - 1] == '}';
}

/* How far the type of a part goes: to a comma outside of brackets. */
static size_t
extent(const char *s, size_t n)
{
	int depth = 0;
	size_t k;

	for (k = 0; k < n && (depth || s[k] != ','); k++)
		depth += s[k] == '[' ? 1 : s[k] == ']' ? -1 : 0;
	return k;
}

static bool
part(Fn *f, Whole *w, Str name, const char *s, size_t n, int64_t off, Loc loc)
{
	Reader *r = f->r;
	Annot *annot = NEW(r->a, Annot);

	if (!annot_parse(r, s, n, off, annot))
		return false;
	vec_push(r->a, &w->part, intern_printf(r->cx, "%s_%s", w->name, name));
	return fn_placeholder(f, w->part.v[w->part.n - 1], annot, loc);
}

/* Whether the whole needs a gradient is said by its name. */
static void
gradient(Reader *r, const Whole *w)
{
	bool wanted = false;

	for (int i = 0; i < r->wrt.n; i++)
		wanted |= r->wrt.v[i].a == w->name;
	for (int i = 0; wanted && i < r->mod->in.n; i++) {
		Input *in = &r->mod->in.v[i];
		for (int k = 0; wanted && k < w->part.n; k++)
			if (in->name == w->part.v[k] && in->val->type->kind == TyTensor && dt_float(in->val->type->dt)) {
				in->requires_grad = true;
				wanted = false;
			}
	}
}

/* s: "quant{int8: i8[4, 8], ...}", off its place in the text. */
bool
composite_read(Fn *f, Str name, const char *s, size_t n, int64_t off, Loc loc)
{
	Reader *r = f->r;
	size_t at = identifier(s, n);
	Whole w = {.name = name, .kind = intern(r->cx, s, at)};
	VEC(Tv) v = {0};
	VEC(Str) key = {0};

	for (at++; at < n - 1; ) {
		size_t k, type;
		at += strspn(s + at, " ,");
		k = identifier(s + at, n - 1 - at);
		if (k == 0 || s[at + k] != ':')
			return error(r->cx, loc, "%s: PART: TYPE is wanted in %s{...}", name, w.kind), false;
		Str what = intern(r->cx, s + at, k);
		for (int i = 0; i < key.n; i++)
			if (key.v[i] == what)
				return error(r->cx, loc, "%s has two parts %s", name, what), false;
		at += k + 1;
		at += strspn(s + at, " ");
		type = extent(s + at, n - 1 - at);
		if (!part(f, &w, what, s + at, type, off + (int64_t)at, loc))
			return false;
		at += type;
		vec_push(r->a, &key, what);
		vec_push(r->a, &v, *(Tv *)map_get(&f->env, w.part.v[w.part.n - 1]));
	}
	fn_bind(f, name, (Tv){.kind = TvDict, .v = v.v, .key = key.v, .n = v.n});
	gradient(r, &w);
	vec_push(r->a, &r->mod->whole, w);
	return true;
}
