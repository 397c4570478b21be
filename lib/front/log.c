/* log.c - what surrounds a graph in a log or a terminal.
 *
 * Colours (ESC [ ... m) are removed.  In the output of TORCH_LOGS every line has a
 * prefix,
 *   V1122 01:00:09.316000 21060 torch/_dynamo/output_graph.py:2987] [0/0] [__graph_code] ...
 * and the file holds several graphs: one section begins at each `TRACED GRAPH`,
 * its title stands in `===== title =====`, and sections of different artifacts (the
 * last tag of the prefix) may be interleaved.  Of these one is kept; the others'
 * lines become empty, so that line numbers stay those of the file.
 */
#include "front/text.h"
#include <ctype.h>
#include <stdlib.h>

typedef struct Section { Str title, tag; int id; } Section;
typedef VEC(Section) Sections;

/* Without colours and carriage returns. */
static char *
plain(Ctx *cx, const File *f, size_t *n)
{
	char *b = arena_alloc(ctx_arena(cx), f->size + 1, 1);
	size_t m = 0, i = 0;

	if (f->size >= 3 && memcmp(f->data, "\xef\xbb\xbf", 3) == 0)
		i = 3;
	for (; i < f->size; i++) {
		char c = (char)f->data[i];

		if (c == 0x1b && i + 1 < f->size && f->data[i + 1] == '[') {
			for (i += 2; i < f->size && (isdigit(f->data[i]) || f->data[i] == ';'); i++)
				;
			continue;
		}
		if (c == '\r' && i + 1 < f->size && f->data[i + 1] == '\n')
			continue;
		b[m++] = c;
	}
	*n = m;
	return b;
}

/* Length of the log prefix of line s; 0: none.  tag: the artifact. */
static size_t
prefix(const char *s, size_t n, const char **tag, size_t *taglen)
{
	static const char form[] = "Adddd dd:dd:dd.dddddd ";
	size_t i, j;

	*tag = "";
	*taglen = 0;
	if (n < sizeof form)
		return 0;
	for (i = 0; form[i]; i++)
		if (form[i] == 'A' ? !strchr("VDIWEC", s[i]) : form[i] == 'd' ? !isdigit((unsigned char)s[i]) : s[i] != form[i])
			return 0;
	while (i < n && s[i] != ']')
		i++;
	if (i == n)
		return 0;
	for (i++; i < n; i = j + 1) {
		j = i + (s[i] == ' ');
		if (j == n || s[j] != '[')
			break;
		*tag = s + j + 1;
		while (j < n && s[j] != ']')
			j++;
		if (j == n)
			break;
		*taglen = (size_t)(s + j - *tag);
	}
	return i < n && s[i] == ' ' ? i + 1 : i;
}

/* The title of a line `===== title =====`, or NULL. */
static Str
title(Ctx *cx, const char *s, size_t n)
{
	while (n && isspace((unsigned char)*s))
		s++, n--;
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	if (n < 13 || memcmp(s, "===== ", 6) != 0 || memcmp(s + n - 6, " =====", 6) != 0)
		return NULL;
	return intern(cx, s + 6, n - 12);
}

static bool
traced(const char *s, size_t n)
{
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	return n == 12 && memcmp(s, "TRACED GRAPH", 12) == 0;
}

/* Which section each line belongs to; -1: none. */
static int *
sections(Ctx *cx, char *s, size_t n, bool log, Sections *out)
{
	Arena *a = ctx_arena(cx);
	VEC(int) of = {0};
	Map cur = {0};                          /* tag -> section + 1 */

	for (size_t i = 0, e; i < n; i = e + 1) {
		const char *end = memchr(s + i, '\n', n - i), *tag = "";
		size_t taglen = 0, p = 0;
		Str key, t;

		e = end ? (size_t)(end - s) : n;
		if (log)
			p = prefix(s + i, e - i, &tag, &taglen);
		key = intern(cx, tag, taglen);
		int at = (int)(intptr_t)map_get(&cur, key) - 1;
		if (traced(s + i + p, e - i - p)) {
			at = out->n;
			vec_push(a, out, (Section){"", key, at});
			map_put(a, &cur, key, (void *)(intptr_t)(at + 1));
		} else if ((t = title(cx, s + i + p, e - i - p))) {
			if (at < 0 || *out->v[at].title) {
				at = out->n;
				vec_push(a, out, (Section){t, key, at});
				map_put(a, &cur, key, (void *)(intptr_t)(at + 1));
			}
			out->v[at].title = t;
		}
		/* In a log, a line without prefix belongs to the line before. */
		if (log && p == 0 && of.n && e > i)
			at = of.v[of.n - 1];
		vec_push(a, &of, at);
	}
	vec_push(a, &of, -1);
	return of.v;
}

static void
list(Ctx *cx, const Sections *v)
{
	for (int i = 0; i < v->n; i++)
		note(cx, NOLOC, "section %d: %s%s%s", i + 1, v->v[i].title, *v->v[i].tag ? " " : "", v->v[i].tag);
}

/* Index of the section wanted; -1: reported. */
static int
choose(Ctx *cx, const Sections *v, const char *want)
{
	char *end;
	int found = -1, count = 0;

	if (!want) {
		if (v->n == 1)
			return 0;
		error(cx, NOLOC, "the log has %d graphs: choose one with --section=N or --section=TITLE", v->n);
		list(cx, v);
		return -1;
	}
	long k = strtol(want, &end, 10);
	if (*want && !*end && k >= 1 && k <= v->n)
		return (int)k - 1;
	for (int exact = 1; exact >= 0 && count == 0; exact--)
		for (int i = 0; i < v->n; i++)
			if (exact ? strcmp(v->v[i].title, want) == 0 : strstr(v->v[i].title, want) != NULL) {
				found = i;
				count++;
			}
	if (count == 1)
		return found;
	error(cx, NOLOC, count ? "%d sections of the log are called '%s'" : "%d sections: none is called '%s'",
	      count ? count : v->n, want);
	list(cx, v);
	return -1;
}

/* Move the lines of section k to the front of their lines' places. */
static char *
keep(Ctx *cx, const char *s, size_t n, bool log, const int *of, int k, size_t *len)
{
	Text t = {.arena = ctx_arena(cx)};
	const char *tag;
	size_t taglen;
	int line = 0;

	for (size_t i = 0, e; i < n; i = e + 1, line++) {
		const char *end = memchr(s + i, '\n', n - i);

		e = end ? (size_t)(end - s) : n;
		if (of[line] == k) {
			size_t p = log ? prefix(s + i, e - i, &tag, &taglen) : 0;
			text_put(&t, s + i + p, e - i - p);
		}
		text_put(&t, "\n", 1);
	}
	*len = t.n;
	return t.n ? t.s : "";
}

/* Does some line have the prefix?  Other output may come before. */
static bool
islog(const char *s, size_t n)
{
	const char *tag;
	size_t taglen;

	for (size_t i = 0, e; i < n; i = e + 1) {
		const char *end = memchr(s + i, '\n', n - i);
		e = end ? (size_t)(end - s) : n;
		if (prefix(s + i, e - i, &tag, &taglen))
			return true;
	}
	return false;
}

char *
log_clean(Ctx *cx, const File *f, const char *section, size_t *n)
{
	char *s = plain(cx, f, n);
	Sections v = {0};
	bool log;
	int *of, k;

	if (memchr(s, 0, *n)) {
		error(cx, NOLOC, "%s: not a text: it has NUL bytes", f->name);
		return NULL;
	}
	log = islog(s, *n);
	if (!log && !section && !strstr(s, "===== "))
		return s;
	of = sections(cx, s, *n, log, &v);
	if (v.n == 0 || (!log && v.n == 1 && !section)) {
		if (!log && !section)
			return s;
		error(cx, NOLOC, "%s: no section of the text holds a graph (TRACED GRAPH)", f->name);
		return NULL;
	}
	k = choose(cx, &v, section);
	return k < 0 ? NULL : keep(cx, s, *n, log, of, k, n);
}
