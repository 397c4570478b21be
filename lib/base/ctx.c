/* ctx.c - one compilation: its memory, interned strings and places.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include "base/ctx.h"

Ctx *
ctx_new(const Diag *d)
{
	Arena *a = arena_new();
	Ctx *cx = NEW(a, Ctx);

	cx->arena = a;
	if (d)
		cx->diag = *d;
	vec_push(a, &cx->place, (Place){0});
	return cx;
}

void
ctx_free(Ctx *cx)
{
	if (cx == NULL)
		return;
	diag_flush(cx);
	for (int i = 0; i < cx->out.n; i++)
		out_abort(cx->out.v[i]);
	for (int i = 0; i < cx->mapping.n; i++)
		munmap(cx->mapping.v[i].p, cx->mapping.v[i].size);
	arena_free(cx->arena);
}

Arena *
ctx_arena(Ctx *cx)
{
	return cx->arena;
}

int
ctx_errors(const Ctx *cx)
{
	return cx->nerror;
}

bool
ctx_overlimit(const Ctx *cx)
{
	return cx->overlimit;
}

const Diag *
ctx_diag(const Ctx *cx)
{
	return &cx->diag;
}

void *
ctx_slot(Ctx *cx, const void *key, size_t size)
{
	void *p = map_get(&cx->slot, key);

	if (p == NULL) {
		p = arena_alloc(cx->arena, size, 16);
		map_put(cx->arena, &cx->slot, key, p);
	}
	return p;
}

/* ---- interned strings ---- */

static uint64_t
hash(const char *s, size_t n)       /* FNV-1a */
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
	return h ^ h >> 32;
}

static int
find(const Ctx *cx, const char *s, size_t len, uint64_t h)
{
	int i = (int)(h & (uint64_t)(cx->capstr - 1));

	while (cx->str[i].s
	       && (cx->str[i].hash != h || cx->str[i].len != len
	           || memcmp(cx->str[i].s, s, len) != 0))
		i = (i + 1) & (cx->capstr - 1);
	return i;
}

static void
growstr(Ctx *cx)
{
	int n = cx->capstr ? 2 * cx->capstr : 256, j;
	void *mem = arena_alloc(cx->arena, sizeof *cx->str * (size_t)n, 16);
	__typeof__(cx->str) old = cx->str, str = mem;

	for (int i = 0; i < cx->capstr; i++) {
		if (old[i].s == NULL)
			continue;
		j = (int)(old[i].hash & (uint64_t)(n - 1));
		while (str[j].s)
			j = (j + 1) & (n - 1);
		str[j] = old[i];
	}
	cx->str = str;
	cx->capstr = n;
}

Str
intern(Ctx *cx, const char *s, size_t len)
{
	uint64_t h = hash(s, len);
	char *copy;
	int i;

	if (2 * (cx->nstr + 1) > cx->capstr)
		growstr(cx);
	i = find(cx, s, len, h);
	if (cx->str[i].s)
		return cx->str[i].s;
	copy = arena_alloc(cx->arena, len + 1, 1);
	memcpy(copy, s, len);
	cx->str[i].s = copy;
	cx->str[i].len = len;
	cx->str[i].hash = h;
	cx->nstr++;
	return copy;
}

Str
intern_str(Ctx *cx, const char *s)
{
	return intern(cx, s, strlen(s));
}

Str
intern_printf(Ctx *cx, const char *fmt, ...)
{
	char buf[256], *s = buf;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof buf, fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof buf) {
		va_start(ap, fmt);
		s = arena_vprintf(cx->arena, fmt, ap);
		va_end(ap);
	}
	return intern(cx, s, n < 0 ? 0 : (size_t)n);
}

/* ---- places ---- */

int
loc_file(Ctx *cx, const char *name, const char *text, size_t len)
{
	Source s = { .name = intern_str(cx, name), .text = text, .len = len };

	vec_push(cx->arena, &cx->src, s);
	return cx->src.n - 1;
}

static Loc
place(Ctx *cx, Place p)
{
	Loc l = { (uint32_t)cx->place.n };

	vec_push(cx->arena, &cx->place, p);
	return l;
}

Loc
loc_at(Ctx *cx, int file, size_t offset)
{
	return place(cx, (Place){ .file = file, .offset = offset });
}

Loc
loc_from(Ctx *cx, int file, size_t offset, Str python)
{
	return place(cx, (Place){ file, offset, NULL, python });
}

Loc
loc_node(Ctx *cx, int file, Str node, Str python)
{
	return place(cx, (Place){ file, SIZE_MAX, node, python });
}

static void
lines(Ctx *cx, Source *s)
{
	const char *end = s->text + s->len, *p = s->text;

	vec_push(cx->arena, &s->line, (size_t)0);
	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		p++;
		vec_push(cx->arena, &s->line, (size_t)(p - s->text));
	}
}

void
loc_line(Ctx *cx, const Place *p, int *line, int *col)
{
	Source *s = &cx->src.v[p->file];
	size_t at = p->offset < s->len ? p->offset : s->len;
	int lo = 0, hi;

	*line = *col = 0;
	if (s->text == NULL || p->offset == SIZE_MAX)
		return;
	if (s->line.n == 0)
		lines(cx, s);
	hi = s->line.n;                /* the last start that is <= at */
	while (hi - lo > 1) {
		int mid = lo + (hi - lo) / 2;

		if (s->line.v[mid] <= at)
			lo = mid;
		else
			hi = mid;
	}
	*line = lo + 1;
	*col = (int)(at - s->line.v[lo]) + 1;
}

const char *
loc_str(Ctx *cx, Loc l)
{
	const Place *p = &cx->place.v[l.id];
	const char *file;
	int line, col;

	if (l.id == 0)
		return "fxcc";
	file = cx->src.v[p->file].name;
	if (p->node)
		return intern_printf(cx, "%s:%s", file, p->node);
	loc_line(cx, p, &line, &col);
	return line ? intern_printf(cx, "%s:%d:%d", file, line, col) : file;
}

Str
loc_python(Ctx *cx, Loc l)
{
	return cx->place.v[l.id].python;
}
