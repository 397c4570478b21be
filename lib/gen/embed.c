/* embed - write files as C arrays.
 *
 * usage: embed -o out.c fxcc_abi.h libfxrt.a SOURCE...
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
base(const char *path)
{
	const char *s = strrchr(path, '/');

	return s ? s + 1 : path;
}

static void
symbol(const char *path, char *out, size_t n)
{
	snprintf(out, n, "%s", base(path));
	for (char *p = out; *p; p++)
		if (!isalnum((unsigned char)*p))
			*p = '_';
}

static int
embed(FILE *out, const char *path)
{
	char name[256];
	size_t n = 0;
	FILE *f = fopen(path, "rb");
	int c;

	if (f == NULL) {
		perror(path);
		return 1;
	}
	symbol(path, name, sizeof name);
	fprintf(out, "const unsigned char embed_%s[] = {", name);
	for (; (c = getc(f)) != EOF; n++)
		fprintf(out, "%s%d,", n % 24 == 0 ? "\n\t" : "", c);
	fprintf(out, "%s\n};\nconst size_t embed_%s_size = %zu;\n", n ? "" : "0", name, n);
	fclose(f);
	return 0;
}

int
main(int argc, char **argv)
{
	FILE *out;
	int bad = 0;

	if (argc < 5 || strcmp(argv[1], "-o") != 0) {
		fprintf(stderr, "usage: embed -o out.c fxcc_abi.h libfxrt.a SOURCE...\n");
		return 2;
	}
	out = fopen(argv[2], "w");
	if (out == NULL) {
		perror(argv[2]);
		return 1;
	}
	fprintf(out, "#include \"emit/embed.h\"\n");
	for (int i = 3; i < argc; i++)
		bad |= embed(out, argv[i]);
	fprintf(out, "const EmbedFile embed_source[] = {\n");
	for (int i = 5; i < argc; i++) {
		char name[256];
		symbol(argv[i], name, sizeof name);
		fprintf(out, "\t{\"%s\", embed_%s, sizeof embed_%s},\n", base(argv[i]), name, name);
	}
	fprintf(out, "};\nconst int embed_nsource = %d;\n", argc - 5);
	if (fclose(out) || bad) {
		remove(argv[2]);
		return 1;
	}
	return 0;
}
