/* textsig.c - what stands around the class: pragmas (`#fxg ...`) before it, the
 * signature and the ranges of sizes after it.
 */
#include <ctype.h>
#include <stdlib.h>
#include "front/text.h"

/* ---- pragmas ------------------------------------------------------------------------ */

/* The next word or quoted string of a pragma; NULL: none left, or reported. */
static Str
word(Reader *r, size_t *at, size_t end)
{
	const char *s = r->s;
	size_t i = *at, b;
	Tok t = {.kind = TkStr};
	Toks toks = {.s = s};

	while (i < end && (s[i] == ' ' || s[i] == '\t'))
		i++;
	if (i >= end)
		return NULL;
	b = i;
	if (s[i] == '"') {
		for (i++; i < end && s[i] != '"'; i++)
			i += s[i] == '\\';
		if (i >= end) {
			error(r->cx, loc_at(r->cx, r->file, b), "string is not closed");
			r->failed = true;
			return NULL;
		}
		*at = i + 1;
		t.off = (uint32_t)b;
		t.len = (uint32_t)(i + 1 - b);
		return formb_unquote(r, &toks, &t);
	}
	while (i < end && s[i] != ' ' && s[i] != '\t')
		i++;
	*at = i;
	return intern(r->cx, s + b, i - b);
}

static bool
bound(const char *s, int64_t *v)
{
	char *e;

	if (strcmp(s, "oo") == 0 || strcmp(s, "int_oo") == 0)
		*v = INT64_MAX;
	else if (strcmp(s, "-oo") == 0 || strcmp(s, "-int_oo") == 0)
		*v = INT64_MIN;
	else
		return *v = strtoll(s, &e, 10), *s && !*e;
	return true;
}

static void
range(Reader *r, Str name, const char *lo, const char *hi, Loc loc)
{
	int64_t l, h;

	if (name[0] == 'z' && (name[1] == 'f' || name[1] == 'u')) {
		sym_floatvar(r->cx, name);
	} else if (!bound(lo, &l) || !bound(hi, &h) || l > h) {
		error(r->cx, loc, "bad range of %s: %s to %s", name, lo, hi);
		r->failed = true;
	} else {
		sym_var(r->cx, name, l, h);
	}
}

static int
kindof(const char *const *names, int n, const char *s)
{
	for (int i = 0; i < n; i++)
		if (s && strcmp(names[i], s) == 0)
			return i;
	return -1;
}

/* #fxg in NAME KIND ["target"] [nonpersistent], #fxg out I KIND ["target"] */
static void
sigpragma(Reader *r, bool in, size_t *at, size_t end)
{
	size_t b = *at;
	Str name = word(r, at, end), kind = word(r, at, end), w;
	SigLine l = {.name = name, .target = NULL, .persistent = true, .off = (uint32_t)b};

	l.kind = in ? kindof(inkind_text, NinKind, kind) : kindof(outkind_text, NoutKind, kind);
	if (!name || l.kind < 0) {
		text_bad(r, b, in ? "expected '#fxg in NAME KIND'" : "expected '#fxg out INDEX KIND'");
		return;
	}
	while ((w = word(r, at, end)))
		if (strcmp(w, "nonpersistent") == 0)
			l.persistent = false;
		else
			l.target = w;
	if (in)
		vec_push(r->a, &r->in, l);
	else
		vec_push(r->a, &r->out, l);
}

/* #fxg storage NAME NUMBER OFFSET: inputs of one number share memory; offset in elements. */
static void
storage(Reader *r, size_t *at, const Line *l)
{
	Str a = word(r, at, l->e), b = word(r, at, l->e), c = word(r, at, l->e);
	int64_t id, off;

	if (!a || !b || !c || !bound(b, &id) || !bound(c, &off) || id < 0 || off < 0 || id > 1 << 20)
		text_bad(r, l->b, "expected '#fxg storage NAME NUMBER OFFSET'");
	else
		vec_push(r->a, &r->storage, (StorageLine){a, (int)id + 1, off, (uint32_t)l->b});
}

static void
pragma(Reader *r, const Line *l, bool first)
{
	/* Pragmas with at least so many words and at most so many, and where these go. */
	const struct { const char *word; Pairs *to; int least, most; } lists[] = {
		{"weights", &r->weights, 1, 1}, {"frozen", &r->frozen, 1, 1}, {"argname", &r->argname, 1, 1},
		{"resname", &r->resname, 1, 1}, {"guard", &r->guard, 1, 2}, {"alias", &r->alias, 2, 2},
		{"const", &r->consts, 2, 2},
	};
	static const char *const silent[] = {"dialect", "hint"};
	size_t at = l->b + 5;
	Str w = word(r, &at, l->e), a, b, c;

	if (!w)
		return;
	if (isdigit((unsigned char)*w)) {
		if (!first)
			text_bad(r, l->b, "the version must be the first pragma");
		else if (strcmp(w, "1") != 0)
			text_bad(r, l->b, "this fxcc reads version 1 of the format");
		return;
	}
	for (int i = 0; i < COUNT(lists); i++)
		if (strcmp(w, lists[i].word) == 0) {
			a = word(r, &at, l->e);
			b = lists[i].most > 1 ? word(r, &at, l->e) : NULL;
			if (!a || (lists[i].least > 1 && !b))
				text_bad(r, l->b, "the pragma lacks a word");
			else
				vec_push(r->a, lists[i].to, (Pair){a, b, (uint32_t)l->b});
			return;
		}
	if (strcmp(w, "range") == 0) {
		a = word(r, &at, l->e);
		b = word(r, &at, l->e);
		c = word(r, &at, l->e);
		if (a && b && c)
			range(r, a, b, c, loc_at(r->cx, r->file, l->b));
		else
			text_bad(r, l->b, "expected '#fxg range SIZE LOW HIGH'");
	} else if (strcmp(w, "requires_grad") == 0) {
		while ((a = word(r, &at, l->e)))
			vec_push(r->a, &r->wrt, (Pair){a, NULL, (uint32_t)l->b});
	} else if (strcmp(w, "nonleaf") == 0) {
		while ((a = word(r, &at, l->e)))
			vec_push(r->a, &r->nonleaf, (Pair){a, NULL, (uint32_t)l->b});
	} else if (strcmp(w, "storage") == 0) {
		storage(r, &at, l);
	} else if (strcmp(w, "composite") == 0) {
		Whole whole = {.name = word(r, &at, l->e), .kind = word(r, &at, l->e)};
		while ((a = word(r, &at, l->e)))
			vec_push(r->a, &whole.part, a);
		if (whole.part.n == 0)
			text_bad(r, l->b, "expected '#fxg composite NAME KIND INPUT ...'");
		else
			vec_push(r->a, &r->whole, whole);
	} else if (strcmp(w, "torch") == 0) {
		r->mod->torch = word(r, &at, l->e);
	} else if (strcmp(w, "in") == 0 || strcmp(w, "out") == 0) {
		sigpragma(r, *w == 'i', &at, l->e);
	} else {
		for (int i = 0; i < COUNT(silent); i++)
			if (strcmp(w, silent[i]) == 0) {
				if (i == 0)
					r->mod->dialect = word(r, &at, l->e);
				return;
			}
		warn(r->cx, loc_at(r->cx, r->file, l->b), WarnPragma, "unknown pragma '%s'", w);
	}
}

void
text_pragmas(Reader *r)
{
	size_t at = 0;
	Line l;
	bool first = true;

	while (text_line(r->s, r->n, &at, &l)) {
		if (text_begins(r->s, &l, "class ") || text_begins(r->s, &l, "def "))
			break;
		if (l.indent == 0 && text_begins(r->s, &l, "#fxg ")) {
			pragma(r, &l, first);
			first = false;
		}
	}
}

/* ---- the trailer ------------------------------------------------------------------------- */

/* [NAME]: KIND [target='...'] [persistent=True] */
static void
spec(Reader *r, const Line *l, bool in)
{
	const char *s = r->s + l->b, *e = r->s + l->e, *colon = s, *k, *ke, *t;
	SigLine out = {.persistent = true, .off = (uint32_t)l->b};

	while (colon < e && *colon != ':')
		colon++;
	if (colon == e || e - colon < 3) {
		text_bad(r, l->b, "expected 'NAME: KIND'");
		return;
	}
	out.name = intern(r->cx, s, (size_t)(colon - s));
	for (k = colon + 1; k < e && *k == ' '; k++)
		;
	for (ke = k; ke < e && *ke != ' '; ke++)
		;
	Str kind = intern(r->cx, k, (size_t)(ke - k));
	out.kind = in ? kindof(inkind_text, NinKind, kind) : kindof(outkind_text, NoutKind, kind);
	if (out.kind < 0) {
		text_bad(r, l->b, "unknown kind in the signature");
		return;
	}
	for (t = ke; t + 8 < e; t++)
		if (memcmp(t, "target='", 8) == 0) {
			const char *q = t += 8;

			while (q < e && *q != '\'')
				q++;
			out.target = intern(r->cx, t, (size_t)(q - t));
			break;
		}
	for (t = ke; t + 16 <= e; t++)
		if (memcmp(t, "persistent=False", 16) == 0)
			out.persistent = false;
	if (in)
		vec_push(r->a, &r->in, out);
	else
		vec_push(r->a, &r->out, out);
}

/* {s77: VR[2, 64], ...} */
static void
constraints(Reader *r, const Line *l)
{
	const char *p = r->s + l->b, *e = r->s + l->e;

	while (p < e && *p != '{')
		p++;
	while (p < e && *p != '}') {
		const char *name = ++p, *ne, *lo, *hi, *he;

		while (p < e && *p == ' ')
			name = ++p;
		for (ne = p; ne < e && *ne != ':' && *ne != '}'; ne++)
			;
		if (ne == e || *ne == '}')
			break;
		for (lo = ne; lo < e && *lo != '['; lo++)
			;
		for (hi = lo; hi < e && *hi != ','; hi++)
			;
		for (he = hi; he < e && *he != ']'; he++)
			;
		if (he == e) {
			text_bad(r, l->b, "expected 'SIZE: VR[LOW, HIGH]'");
			return;
		}
		const char *h = hi + 1;
		while (h < he && *h == ' ')
			h++;
		range(r, intern(r->cx, name, (size_t)(ne - name)), intern(r->cx, lo + 1, (size_t)(hi - lo - 1)),
		      intern(r->cx, h, (size_t)(he - h)), loc_at(r->cx, r->file, l->b));
		for (p = he + 1; p < e && *p != ',' && *p != '}'; p++)
			;
	}
}

void
text_trailer(Reader *r)
{
	size_t at = r->cls.n ? r->cls.v[0].begin : 0;
	Line l;
	int part = 0;                        /* 1 inputs, 2 outputs */

	while (text_line(r->s, r->n, &at, &l)) {
		if (text_begins(r->s, &l, "Graph signature:")) {
			part = 1;
			r->hassig = true;
			r->in.n = r->out.n = 0;
		} else if (!part || l.b == l.e) {
			continue;
		} else if (text_begins(r->s, &l, "Range constraints:")) {
			constraints(r, &l);
			return;
		} else if (text_begins(r->s, &l, "# inputs") || text_begins(r->s, &l, "# outputs")) {
			part = r->s[l.b + 2] == 'i' ? 1 : 2;
		} else {
			spec(r, &l, part == 1);
		}
	}
}
