/* genrule.c - host tool: the tables of rewrites, *.pat, to one C file, ruletab.c.
 *
 *   genrule -o ruletab.c file.pat...
 *
 * They are read with the compiler's own reader (rulefile.c), so that a slip ends the build
 * at its line.
 */
#include <errno.h>
#include <stdlib.h>
#include "ir/rule.h"

static void
table(Ctx *cx, const char *path, Rules *out)
{
	const char *slash = strrchr(path, '/');
	File f;

	if (file_read(cx, path, &f))
		rules_read(cx, slash ? slash + 1 : path, (const char *)f.data, f.size, out);
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
writeall(FILE *f, const Rules *rules)
{
	fputs("/* ruletab.c - made from the tables of rewrites by genrule; do not edit. */\n"
	      "#include \"ir/rule.h\"\n\nconst RuleDef ruletab[] = {\n", f);
	for (int k = 0; k < rules->n; k++) {
		const RuleDef *r = &rules->v[k];
		const struct { const char *field, *text; } part[] = {
			{"{.name = ", r->name}, {"\n\t .pattern = ", r->pattern}, {" .replacement = ", r->replacement}, {" .when = ", r->when},
		};
		fputc('\t', f);
		for (int i = 0; i < COUNT(part); i++) {
			fputs(part[i].field, f);
			quoted(f, part[i].text);
			fputc(',', f);
		}
		fprintf(f, " .fast = %s, .pass = \"%.*s\", .file = \"%s\", .line = %d},\n", r->fast ? "true" : "false",
		        (int)strcspn(r->file, "."), r->file, r->file, r->line);
	}
	fprintf(f, "\t{.name = NULL}\n};\nconst int nruletab = %d;\n", rules->n);
}

int
main(int argc, char **argv)
{
	Ctx *cx = ctx_new(&(Diag){0});
	Rules rules = {0};
	FILE *f;

	if (argc < 4 || strcmp(argv[1], "-o") != 0) {
		fputs("usage: genrule -o ruletab.c file.pat...\n", stderr);
		return 2;
	}
	for (int i = 3; i < argc; i++)
		table(cx, argv[i], &rules);
	if (ctx_errors(cx))
		return 1;
	if ((f = fopen(argv[2], "w")) == NULL) {
		fprintf(stderr, "genrule: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	writeall(f, &rules);
	if (fclose(f) != 0) {
		fprintf(stderr, "genrule: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	ctx_free(cx);
	return 0;
}
