/* genrule.c - host tool: the tables of rewrites, *.pat, to one C file, ruletab.c.
 *
 *   genrule -o ruletab.c file.pat...
 *
 * A rule begins at column 0 and goes on over lines that are indented:
 *
 *   rule NAME PATTERN => REPLACEMENT [fast] [when CONDITION]
 *
 * The three texts are parsed with the compiler's own parser, so that a slip ends
 * the build at its line.
 */
#include <errno.h>
#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>
#include "ir/rule.h"

typedef struct Gen {
	Ctx *cx;
	Arena *a;
	const char *file;
	VEC(RuleDef) rule;
} Gen;

PRINTF(3, 4) static void
fail(Gen *g, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error(g->cx, NOLOC, "%s:%d: %s", g->file, line, arena_vprintf(g->a, fmt, ap));
	va_end(ap);
}

/* ---- reading ------------------------------------------------------------------ */

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

static const Ast *
parse(Gen *g, const char *text, int line)
{
	return lang_parse(g->cx, text, FormExpr, g->file, line);
}

static void
rule(Gen *g, char *s, int line)
{
	RuleDef r = {.file = g->file, .line = line};
	char *to, *when, *fast, *name = trim(s + 4);
	const Ast *p;

	s = name + strcspn(name, " \t\n");
	if (*s)
		*s++ = '\0';
	if ((to = cut(s, "=>")) == NULL) {
		fail(g, line, "rule %s has no =>", name);
		return;
	}
	when = cut(to, "when");
	r.fast = (fast = cut(to, "fast")) != NULL;
	if (fast && *fast)
		fail(g, line, "'%s' behind fast in rule %s", fast, name);
	r.name = name;
	r.pattern = trim(s);
	r.replacement = trim(to);
	r.when = when;
	p = parse(g, r.pattern, line);
	if (p && (p->kind != AstCall || (p->kid[0]->kind != AstName && p->kid[0]->kind != AstAttr)))
		fail(g, line, "the pattern of %s is no call of an operator", name);
	parse(g, r.replacement, line);
	if (when)
		parse(g, when, line);
	for (int k = 0; k < g->rule.n; k++)
		if (strcmp(g->rule.v[k].name, name) == 0)
			fail(g, line, "there is a rule %s already, %s:%d", name, g->rule.v[k].file, g->rule.v[k].line);
	vec_push(g->a, &g->rule, r);
}

static void
comment(char *s)
{
	char quote = 0;

	for (; *s; s++) {
		if (quote ? *s == quote : *s == '\'' || *s == '"')
			quote = quote ? 0 : *s;
		else if (!quote && *s == '#') {
			*s = '\0';
			return;
		}
	}
}

static void
table(Gen *g, const char *path)
{
	const char *slash = strrchr(path, '/');
	Text text = {.arena = g->a};
	int number = 0, begin = 0;
	char *s, *next;
	File f;

	if (!file_read(g->cx, path, &f))
		return;
	g->file = slash ? slash + 1 : path;
	for (s = arena_printf(g->a, "%.*s", (int)f.size, (const char *)f.data); s && *s; s = next) {
		next = strchr(s, '\n');
		if (next)
			*next++ = '\0';
		number++;
		comment(s);
		if (*trim(s) == '\0')
			continue;
		if (isspace((unsigned char)*s) && begin) {
			text_add(&text, "\n%s", s);
			continue;
		}
		if (begin)
			rule(g, text.s, begin);
		if (strncmp(s, "rule ", 5) != 0) {
			fail(g, number, "a line that is no rule");
			begin = 0;
			continue;
		}
		text = (Text){.arena = g->a};
		text_add(&text, "%s", s);
		begin = number;
	}
	if (begin)
		rule(g, text.s, begin);
}

/* ---- writing --------------------------------------------------------------------- */

static void
quoted(FILE *f, const char *s)
{
	if (s == NULL) {
		fputs("NULL", f);
		return;
	}
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '\n')
			fputs("\\n", f);
		else if (*s == '"' || *s == '\\' || *s == '?')
			fprintf(f, "\\%c", *s);
		else
			fputc(*s, f);
	}
	fputc('"', f);
}

static void
writeall(FILE *f, const Gen *g)
{
	fputs("/* ruletab.c - made from the tables of rewrites by genrule; do not edit. */\n"
	      "#include \"ir/rule.h\"\n\nconst RuleDef ruletab[] = {\n", f);
	for (int k = 0; k < g->rule.n; k++) {
		const RuleDef *r = &g->rule.v[k];
		const char *const part[] = {r->name, r->pattern, r->replacement, r->when};
		fputs("\t{", f);
		for (int i = 0; i < COUNT(part); i++) {
			quoted(f, part[i]);
			fputs(i == 0 ? ",\n\t " : ", ", f);
		}
		fprintf(f, "%s, \"%.*s\", \"%s\", %d},\n", r->fast ? "true" : "false",
		        (int)strcspn(r->file, "."), r->file, r->file, r->line);
	}
	fprintf(f, "\t{.name = NULL}\n};\nconst int nruletab = %d;\n", g->rule.n);
}

int
main(int argc, char **argv)
{
	Gen g = {.cx = ctx_new(&(Diag){0})};
	FILE *f;

	g.a = ctx_arena(g.cx);
	if (argc < 4 || strcmp(argv[1], "-o") != 0) {
		fputs("usage: genrule -o ruletab.c file.pat...\n", stderr);
		return 2;
	}
	for (int i = 3; i < argc; i++)
		table(&g, argv[i]);
	if (ctx_errors(g.cx))
		return 1;
	if ((f = fopen(argv[2], "w")) == NULL) {
		fprintf(stderr, "genrule: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	writeall(f, &g);
	if (fclose(f) != 0) {
		fprintf(stderr, "genrule: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	ctx_free(g.cx);
	return 0;
}
