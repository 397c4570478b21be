/* diag.c - messages: gcc's text form, gcc's JSON, and SARIF.
 *
 *     model.fxg:12:8: error: mm: inner sizes differ: 3 and 4
 *        12 |         mm = torch.ops.aten.mm.default(a, b)
 *           |              ^
 *
 * Text is printed at once.  The others are one document for the run: messages
 * are kept and printed by diag_flush.
 */
#include <stdlib.h>
#include "base/ctx.h"

static const struct warninfo { const char *opt; bool on; } warninfo[] = {
#define WARN(id, opt, on, doc) [Warn##id] = { opt, on },
#include "base/warn.def"
#undef WARN
};

enum { Window = 160 };        /* bytes of a long line that are shown */

static FILE *
stream(const Ctx *cx)
{
	return cx->diag.out ? cx->diag.out : stderr;
}

static bool
istext(const Ctx *cx)
{
	const char *f = cx->diag.format;

	return f == NULL || strcmp(f, "text") == 0;
}

/* ---- text ---- */

static const char *
colour(const Ctx *cx, const char *code)
{
	return cx->diag.color ? code : "";
}

static const char *
kindcolour(const char *kind)
{
	return strcmp(kind, "warning") == 0 ? "\33[01;35m"
	       : strcmp(kind, "note") == 0  ? "\33[01;36m" : "\33[01;31m";
}

/* A model is not trusted: its bytes must not drive the terminal. */
static void
putsource(FILE *f, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		fputc(c == '\t' || (c >= ' ' && c != 127) ? c : ' ', f);
	}
}

/* The blanks under the line's first n bytes: tabs stay tabs, and a character
 * of several bytes takes one column. */
static void
putblank(FILE *f, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] == '\t')
			fputc('\t', f);
		else if ((s[i] & 0xc0) != 0x80)
			fputc(' ', f);
}

static void
showline(Ctx *cx, Loc l)
{
	const Place *p = &cx->place.v[l.id];
	const Source *src;
	const char *s, *end, *dots = "";
	FILE *f = stream(cx);
	size_t at, len;
	int line, col;

	if (l.id == 0)
		return;
	loc_line(cx, p, &line, &col);
	if (line == 0)
		return;
	src = &cx->src.v[p->file];
	s = src->text + src->line.v[line - 1];
	end = memchr(s, '\n', (size_t)(src->text + src->len - s));
	len = (size_t)((end ? end : src->text + src->len) - s);
	if (len && s[len - 1] == '\r')
		len--;
	at = (size_t)col - 1;
	if (at > Window / 2 && len > Window) {
		size_t cut = at - Window / 2;

		if (cut + Window > len)
			cut = at > len - Window ? len - Window : cut;
		while (cut < at && (s[cut] & 0xc0) == 0x80)
			cut++;
		s += cut;
		len -= cut;
		at -= cut;
		dots = "...";
	}
	fprintf(f, "%5d | %s", line, dots);
	putsource(f, s, len > Window ? Window : len);
	fprintf(f, "%s\n      | %*s", len > Window ? "..." : "",
	        (int)strlen(dots), "");
	putblank(f, s, at < len ? at : len);
	fprintf(f, "%s^%s\n", colour(cx, "\33[01;32m"), colour(cx, "\33[m"));
}

static void
showtext(Ctx *cx, Loc l, const char *kind, const char *text, const char *option)
{
	FILE *f = stream(cx);
	const char *bold = colour(cx, "\33[01m"), *off = colour(cx, "\33[m");

	fprintf(f, "%s%s:%s %s%s:%s %s", bold, loc_str(cx, l), off,
	        colour(cx, kindcolour(kind)), kind, off, text);
	if (option)
		fprintf(f, " [%s%s%s]", colour(cx, kindcolour(kind)), option,
		        off);
	fputc('\n', f);
	showline(cx, l);
	if (l.id && loc_python(cx, l) && strcmp(kind, "note") != 0)
		fprintf(f, "%s%s:%s %snote:%s from %s\n", bold, loc_str(cx, l),
		        off, colour(cx, kindcolour("note")), off,
		        loc_python(cx, l));
	fflush(f);
}

/* ---- json and sarif ---- */

static void
quoted(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c < ' ')
			fprintf(f, "\\u%04x", c);
		else
			fputc(c, f);
	}
	fputc('"', f);
}

static const char *
placename(Ctx *cx, Loc l, int *line, int *col)
{
	const Place *p = &cx->place.v[l.id];

	*line = *col = 0;
	if (l.id == 0)
		return NULL;
	loc_line(cx, p, line, col);
	return cx->src.v[p->file].name;
}

static void
jsonplace(Ctx *cx, Loc l)
{
	FILE *f = stream(cx);
	int line, col;
	const char *file = placename(cx, l, &line, &col);

	fputs("\"locations\": [", f);
	if (file) {
		fputs("{\"caret\": {\"file\": ", f);
		quoted(f, file);
		if (line)
			fprintf(f, ", \"line\": %d, \"column\": %d, "
			        "\"byte-column\": %d", line, col, col);
		if (cx->place.v[l.id].node) {
			fputs(", \"node\": ", f);
			quoted(f, cx->place.v[l.id].node);
		}
		fputs("}}", f);
	}
	fputc(']', f);
}

static void
jsonmsg(Ctx *cx, const Msg *m)
{
	FILE *f = stream(cx);

	fputs("{\"kind\": ", f);
	quoted(f, m->kind);
	fputs(", \"message\": ", f);
	quoted(f, m->text);
	if (m->option) {
		fputs(", \"option\": ", f);
		quoted(f, m->option);
	}
	fputs(", ", f);
	jsonplace(cx, m->loc);
	if (loc_python(cx, m->loc)) {
		fputs(", \"python\": ", f);
		quoted(f, loc_python(cx, m->loc));
	}
}

static void
flushjson(Ctx *cx)
{
	FILE *f = stream(cx);

	fputc('[', f);
	for (int i = 0, j; i < cx->msg.n; i = j) {
		fputs(i ? ",\n " : "", f);
		jsonmsg(cx, &cx->msg.v[i]);
		fputs(", \"children\": [", f);
		for (j = i + 1; j < cx->msg.n && cx->msg.v[j].isnote; j++) {
			fputs(j > i + 1 ? ", " : "", f);
			jsonmsg(cx, &cx->msg.v[j]);
			fputs(", \"children\": []}", f);
		}
		fputs("]}", f);
	}
	fputs("]\n", f);
}

static void
sarifplace(Ctx *cx, const Msg *m)
{
	FILE *f = stream(cx);
	int line, col;
	const char *file = placename(cx, m->loc, &line, &col);

	if (file == NULL)
		return;
	fputs("{\"physicalLocation\": {\"artifactLocation\": {\"uri\": ", f);
	quoted(f, file);
	fputc('}', f);
	if (line)
		fprintf(f, ", \"region\": {\"startLine\": %d, \"startColumn\": "
		        "%d}", line, col);
	fputc('}', f);
	if (cx->place.v[m->loc.id].node) {
		fputs(", \"logicalLocations\": [{\"name\": ", f);
		quoted(f, cx->place.v[m->loc.id].node);
		fputs("}]", f);
	}
	if (m->isnote) {
		fputs(", \"message\": {\"text\": ", f);
		quoted(f, m->text);
		fputc('}', f);
	}
	fputc('}', f);
}

static int
sarifmsg(Ctx *cx, int i)
{
	FILE *f = stream(cx);
	const Msg *m = &cx->msg.v[i];
	int j;

	fputs("{\"level\": ", f);
	quoted(f, strcmp(m->kind, "internal error") == 0 ? "error" : m->kind);
	fputs(", \"message\": {\"text\": ", f);
	quoted(f, m->text);
	fputc('}', f);
	if (m->option) {
		fputs(", \"ruleId\": ", f);
		quoted(f, m->option);
	}
	fputs(", \"locations\": [", f);
	sarifplace(cx, m);
	fputs("], \"relatedLocations\": [", f);
	for (j = i + 1; j < cx->msg.n && cx->msg.v[j].isnote; j++) {
		if (cx->msg.v[j].loc.id == 0)
			continue;
		fputs(j > i + 1 ? ", " : "", f);
		sarifplace(cx, &cx->msg.v[j]);
	}
	fputs("]}", f);
	return j;
}

static void
flushsarif(Ctx *cx)
{
	FILE *f = stream(cx);

	fputs("{\"$schema\": \"https://docs.oasis-open.org/sarif/sarif/v2.1.0/"
	      "errata01/os/schemas/sarif-schema-2.1.0.json\", \"version\": "
	      "\"2.1.0\",\n \"runs\": [{\"tool\": {\"driver\": {\"name\": "
	      "\"fxcc\"}},\n  \"results\": [", f);
	for (int i = 0; i < cx->msg.n;) {
		fputs(i ? ",\n   " : "", f);
		i = sarifmsg(cx, i);
	}
	fputs("]}]}\n", f);
}

void
diag_flush(Ctx *cx)
{
	if (istext(cx) || cx->diag.quiet)
		return;
	if (strcmp(cx->diag.format, "sarif") == 0)
		flushsarif(cx);
	else
		flushjson(cx);
	cx->msg.n = 0;
	fflush(stream(cx));
}

/* ---- the messages ---- */

static void
show(Ctx *cx, Loc l, const char *kind, const char *option, const char *fmt,
     va_list ap)
{
	Msg m = { .kind = kind, .option = option, .loc = l };

	if (cx->diag.quiet)
		return;
	m.text = arena_vprintf(cx->arena, fmt, ap);
	m.isnote = strcmp(kind, "note") == 0 && cx->msg.n;
	if (istext(cx))
		showtext(cx, l, kind, m.text, option);
	else
		vec_push(cx->arena, &cx->msg, m);
}

/* Counts an error; true if it is within the limit. */
static bool
counted(Ctx *cx)
{
	int max = cx->diag.maxerrors;

	cx->nerror++;
	cx->muted = max && cx->nerror > max;
	if (cx->muted && !cx->toomany) {
		cx->toomany = true;
		if (!cx->diag.quiet && istext(cx))
			fprintf(stream(cx), "fxcc: note: more errors are not "
			        "shown (-fmax-errors=%d)\n", max);
	}
	return !cx->muted;
}

static void
complain(Ctx *cx, Loc l, const char *fmt, va_list ap)
{
	if (counted(cx))
		show(cx, l, "error", NULL, fmt, ap);
}

void
error(Ctx *cx, Loc l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(cx, l, fmt, ap);
	va_end(ap);
}

void
error_limit(Ctx *cx, Loc l, const char *fmt, ...)
{
	va_list ap;

	cx->overlimit = true;
	va_start(ap, fmt);
	complain(cx, l, fmt, ap);
	va_end(ap);
}

void
warn(Ctx *cx, Loc l, enum warning w, const char *fmt, ...)
{
	const Diag *d = &cx->diag;
	int state = d->warnstate ? d->warnstate[w] : warninfo[w].on;
	bool fatal = state == 2 || (state == 1 && d->werror);
	va_list ap;

	cx->muted = state == 0 || d->nowarn;
	if (cx->muted || (fatal && !counted(cx)))
		return;
	va_start(ap, fmt);
	show(cx, l, fatal ? "error" : "warning",
	     intern_printf(cx, fatal ? "-Werror=%s" : "-W%s", warninfo[w].opt),
	     fmt, ap);
	va_end(ap);
}

void
note(Ctx *cx, Loc l, const char *fmt, ...)
{
	va_list ap;

	if (cx->muted)
		return;
	va_start(ap, fmt);
	show(cx, l, "note", NULL, fmt, ap);
	va_end(ap);
}

void
bug(Ctx *cx, Loc l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	show(cx, l, "internal error", NULL, fmt, ap);
	va_end(ap);
	diag_flush(cx);
	if (cx->onbug)
		cx->onbug(cx->bugarg);
	abort();
}

void
ctx_onbug(Ctx *cx, void (*fn)(void *), void *arg)
{
	cx->onbug = fn;
	cx->bugarg = arg;
}
