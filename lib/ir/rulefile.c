/* rulefile.c - read a table of rewrites: the .pat files of lib/ir/rule and those of --patterns.
 *
 * A rule begins at column 0 and goes on over lines that are indented:
 *
 *   rule NAME PATTERN => REPLACEMENT [fast] [when CONDITION]
 *
 * The parts of a rule are cut out of a copy of the file in which comments are blanks, so
 * that a part's place in the copy is its place in the file: messages show the line.
 */
#include <ctype.h>
#include "ir/rule.h"

typedef struct Reader {
	Ctx *cx;
	Arena *a;
	const char *file;
	int source;            /* of loc_file */
	char *text;            /* the copy */
	const char *orig;
	Rules *out;
} Reader;

PRINTF(3, 4) static void
fail(Reader *r, const char *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error(r->cx, loc_at(r->cx, r->source, (size_t)(at - r->text)), "%s", arena_vprintf(r->a, fmt, ap));
	va_end(ap);
}

/* ---- text ---------------------------------------------------------------------- */

/* Everything from # to the end of the line, outside of quotes, becomes blanks. */
static void
uncomment(char *s)
{
	char quote = 0;

	for (; *s; s++) {
		if (*s == '\n')
			quote = 0;
		else if (quote ? *s == quote : *s == '\'' || *s == '"')
			quote = quote ? 0 : *s;
		else if (!quote && *s == '#')
			for (; s[1] && s[1] != '\n'; s++)
				s[0] = s[1] = ' ';
		if (!quote && *s == '#')
			*s = ' ';
	}
}

static char *
trim(char *s)
{
	char *e = s + strlen(s);

	while (isspace((unsigned char)*s))
		s++;
	while (e > s && isspace((unsigned char)e[-1]))
		*--e = '\0';
	return s;
}

/* Where a word stands by itself, not within quotes. */
static char *
word(char *s, const char *w)
{
	size_t n = strlen(w);
	char quote = 0, before = ' ';

	for (; *s; before = *s++) {
		if (quote ? *s == quote : *s == '\'' || *s == '"')
			quote = quote ? 0 : *s;
		else if (!quote && strncmp(s, w, n) == 0 && isspace((unsigned char)before) &&
		         (s[n] == '\0' || isspace((unsigned char)s[n])))
			return s;
	}
	return NULL;
}

static char *
cut(char *s, const char *w)
{
	char *at = word(s, w);

	if (at == NULL)
		return NULL;
	*at = '\0';
	return trim(at + strlen(w));
}

/* The next line after s that begins a statement; NULL: the end. */
static char *
nextstatement(char *s)
{
	while ((s = strchr(s, '\n')))
		if (*++s && !isspace((unsigned char)*s))
			return s;
	return NULL;
}

/* ---- rules ---------------------------------------------------------------------- */

static const Ast *
parse(Reader *r, const char *text)
{
	return lang_parse_at(r->cx, text, FormExpr, r->source, (size_t)(text - r->text));
}

static int
linenumber(const Reader *r, const char *at)
{
	int n = 1;

	for (const char *s = r->orig, *end = s + (at - r->text); s < end; s++)
		n += *s == '\n';
	return n;
}

static bool
iscall(const Ast *p)
{
	return p->kind == AstCall && (p->kid[0]->kind == AstName || p->kid[0]->kind == AstAttr);
}

static void
rule(Reader *r, char *s, int line)
{
	RuleDef d = {.file = r->file, .line = line, .source = r->source};
	char *name = trim(s + 4), *pattern, *to, *fast;

	pattern = name + strcspn(name, " \t\n");
	if (*pattern)
		*pattern++ = '\0';
	if (*name == '\0' || (to = cut(pattern, "=>")) == NULL) {
		fail(r, s, "rule %s has no =>", name);
		return;
	}
	d.name = name;
	d.when = cut(to, "when");
	d.fast = (fast = cut(to, "fast")) != NULL;
	if (fast && *fast)
		fail(r, fast, "'%s' behind fast in rule %s", fast, name);
	d.pattern = trim(pattern);
	d.replacement = trim(to);
	d.at = (size_t)(name - r->text);
	d.pattern_at = (size_t)(d.pattern - r->text);
	d.replacement_at = (size_t)(d.replacement - r->text);
	d.when_at = d.when ? (size_t)(d.when - r->text) : 0;
	const Ast *p = parse(r, d.pattern);
	if (p && !iscall(p))
		fail(r, d.pattern, "the pattern of %s is no call of an operator", name);
	parse(r, d.replacement);
	if (d.when)
		parse(r, d.when);
	for (int k = 0; k < r->out->n; k++)
		if (strcmp(r->out->v[k].name, name) == 0)
			fail(r, name, "there is a rule %s already, %s:%d", name, r->out->v[k].file, r->out->v[k].line);
	vec_push(r->a, r->out, d);
}

bool
rules_read(Ctx *cx, const char *file, const char *text, size_t n, Rules *out)
{
	Reader r = {.cx = cx, .a = ctx_arena(cx), .file = file, .orig = text, .source = loc_file(cx, file, text, n), .out = out};
	int before = ctx_errors(cx);

	r.text = arena_printf(r.a, "\n%.*s", (int)n, text) + 1;    /* so that every statement follows a line */
	uncomment(r.text);
	for (char *s = nextstatement(r.text - 1), *next; s; s = next) {
		int line = linenumber(&r, s);
		next = nextstatement(s);
		if (strncmp(s, "rule ", 5) != 0) {
			fail(&r, s, "a line that is no rule: it begins with 'rule', or is indented and belongs to the one before");
			continue;
		}
		if (next)
			next[-1] = '\0';
		rule(&r, s, line);
	}
	return ctx_errors(cx) == before;
}
