/* options.c - parse the command line by the tables: opts.def, passes.def, warn.def. */
#include <stdlib.h>
#include "options.h"

enum optkind { Flag, Sep, Eq, EqOpt, List, SepList, OnOff, Joined, Ignored };

static const struct { const char *text; enum optkind kind; size_t at; const char *meta, *help; } opt[] = {
#define OPT(text, kind, field, meta, help) {text, kind, offsetof(Options, field), meta, help},
#include "opts.def"
#undef OPT
};

static const struct { const char *name, *unit, *doc; } pass[] = {
#define GROUP(name)
#define No false
#define Yes true
#define PASS(name, unit, level, skip, doc) {#name, #unit, doc},
#include "passes.def"
#undef PASS
#undef GROUP
#undef No
#undef Yes
};

static const struct { const char *opt; int on; const char *doc; } warning[] = {
#define WARN(id, opt, on, doc) {opt, on, doc},
#include "base/warn.def"
#undef WARN
};

static const struct { const char *torch, *pass, *rule; } torchpass[] = {
#define TORCHPASS(torch, pass, rule) {torch, pass, rule},
#include "torchpass.def"
#undef TORCHPASS
};

static bool
bad(const char *fmt, const char *arg)
{
	fputs("fxcc: error: ", stderr);
	fprintf(stderr, fmt, arg);
	fputc('\n', stderr);
	return false;
}

static const char *
after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* The pass that NAME or NAME=FILE names, where - is _; NULL: none. */
static const char *
passname(const char *s)
{
	size_t n = strcspn(s, "=");

	for (int i = 0; i < COUNT(pass); i++) {
		size_t k = 0;
		while (k < n && pass[i].name[k] == (s[k] == '-' ? '_' : s[k]))
			k++;
		if (k == n && pass[i].name[k] == '\0')
			return pass[i].name;
	}
	return NULL;
}

/* The pass of that name, ours or PyTorch's, or what rewrite it is (*rule); NULL: neither. */
static const char *
ours(const char *s, bool *rule)
{
	*rule = false;
	for (int i = 0; i < COUNT(torchpass); i++)
		if (strcmp(torchpass[i].torch, s) == 0) {
			*rule = *torchpass[i].rule != '\0';
			return *rule ? torchpass[i].rule : torchpass[i].pass;
		}
	return passname(s);
}

static void
without(StrList *l, const char *s)
{
	for (int i = 0; i < l->n; i++)
		if (strcmp(l->v[i], s) == 0)
			l->v[i--] = l->v[--l->n];
}

/* Does argv[*i] match entry k?  Sets *val to the value, moves *i over a separate one. */
static bool
match(int k, int argc, char **argv, int *i, const char **val)
{
	const char *s = argv[*i], *rest = after(s, opt[k].text);

	*val = "";
	switch (opt[k].kind) {
	case Flag: case Ignored:
		return rest && *rest == '\0';
	case OnOff:
		*val = "1";
		if (rest && *rest == '\0')
			return true;
		*val = "0";
		return strncmp(s, "-fno-", 5) == 0 && strcmp(s + 5, opt[k].text + 2) == 0;
	case Sep: case SepList:
		if (rest == NULL)
			return false;
		*val = *rest ? rest : ++*i < argc ? argv[*i] : NULL;
		return true;
	case EqOpt:
		if (rest == NULL || (*rest && *rest != '='))
			return false;
		*val = *rest ? rest + 1 : "";
		return true;
	case Eq: case List: case Joined:
		*val = rest;
		return rest != NULL;
	}
	return false;
}

static void
set(Arena *a, Options *o, int k, const char *val)
{
	void *field = (char *)o + opt[k].at;

	switch (opt[k].kind) {
	case Flag: case Ignored:   *(bool *)field = true; break;
	case OnOff:                *(int *)field = *val == '1'; break;
	case List: case SepList:   vec_push(a, (StrList *)field, val); break;
	default:                   *(const char **)field = val; break;
	}
}

/* What can be printed and is no pass. */
static bool
isrecord(const char *s)
{
	static const char *const names[] = {"meta", "mincut", "pareto", "wrapper"};
	size_t n = strcspn(s, "=");

	for (int i = 0; i < COUNT(names); i++)
		if (strlen(names[i]) == n && memcmp(s, names[i], n) == 0)
			return true;
	return false;
}

/* -fPASS, -fno-PASS, -fdump-PASS[=FILE], -W...; the last of -fPASS and -fno-PASS wins. */
static bool
other(Arena *a, Options *o, const char *s)
{
	const char *p;
	bool rule;

	if ((p = after(s, "-fdump-")) && (passname(p) || isrecord(p)))
		vec_push(a, &o->dump, passname(p) ? arena_printf(a, "%s%s", passname(p), p + strlen(passname(p))) : p);
	else if ((p = after(s, "-fno-")) && (p = ours(p, &rule)))
		vec_push(a, rule ? &o->patternsoff : &o->skip, p);
	else if ((p = after(s, "-f")) && (p = ours(p, &rule)))
		without(rule ? &o->patternsoff : &o->skip, p);
	else if ((p = after(s, "-W")) && *p)
		vec_push(a, &o->warn, p);
	else
		return bad("unrecognized command-line option '%s'", s);
	return true;
}

static char **
response(Arena *a, const char *path, int *n)
{
	VEC(char *) v = {0};
	FILE *f = fopen(path, "r");
	Text t = {.arena = a};
	int c, quote = 0;
	bool in = false;

	if (f == NULL)
		return NULL;
	while ((c = getc(f)) != EOF) {
		if (quote ? c == quote : c == '"' || c == '\'') {
			quote = quote ? 0 : c;
			in = true;
		} else if (!quote && (c == ' ' || c == '\n' || c == '\t' || c == '\r')) {
			if (in)
				vec_push(a, &v, t.s ? t.s : "");
			t = (Text){.arena = a};
			in = false;
		} else {
			if (c == '\\' && (c = getc(f)) == EOF)
				break;
			text_add(&t, "%c", c);
			in = true;
		}
	}
	fclose(f);
	if (in)
		vec_push(a, &v, t.s ? t.s : (char *)"");
	*n = v.n;
	vec_push(a, &v, NULL);
	return v.v;
}

static bool parse(Arena *, int, char **, Options *, int depth);

static bool
one(Arena *a, int argc, char **argv, int *i, Options *o, int depth)
{
	const char *val;

	if (argv[*i][0] == '@' && argv[*i][1]) {
		int n = 0;
		char **v = depth < 8 ? response(a, argv[*i] + 1, &n) : NULL;
		return v ? parse(a, n, v, o, depth + 1) : bad("cannot read options from '%s'", argv[*i]);
	}
	if (argv[*i][0] != '-' || strcmp(argv[*i], "-") == 0) {
		vec_push(a, &o->input, argv[*i]);
		return true;
	}
	for (int k = 0; k < COUNT(opt); k++) {
		const char *text = argv[*i];
		if (opt[k].kind == Joined && strcmp(opt[k].text, "-g") == 0 && strlen(text) > 3)
			continue;
		if (!match(k, argc, argv, i, &val))
			continue;
		if (val == NULL)
			return bad("missing argument to '%s'", text);
		set(a, o, k, val);
		return true;
	}
	return other(a, o, argv[*i]);
}

static bool
parse(Arena *a, int argc, char **argv, Options *o, int depth)
{
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			while (++i < argc)
				vec_push(a, &o->input, argv[i]);
			break;
		}
		if (!one(a, argc, argv, &i, o, depth))
			return false;
	}
	return true;
}

/* Options of FXCC_FLAGS come first, so that the command line wins. */
static bool
environment(Arena *a, Options *o)
{
	char *s = getenv("FXCC_FLAGS"), *copy, *word, *save;
	VEC(char *) v = {0};

	if (s == NULL)
		return true;
	copy = arena_printf(a, "%s", s);
	for (word = strtok_r(copy, " \t\n", &save); word; word = strtok_r(NULL, " \t\n", &save))
		vec_push(a, &v, word);
	return parse(a, v.n, v.v, o, 0);
}

/* Does an option shape the product? */
static bool
shapes(const char *s)
{
	static const char *const yes[] = {"-O", "-m", "-ff", "-fd", "-ft", "--train", "--loss=", "--wrt=", "--joint", "--optimizer=",
	                                  "-fpartition", "-factivation", "--partition-lists", "--pack", "--unpack", "--compress", "--param", "-fkeep", "-fmutable", "-fweights", "-fno-", "--patterns=",
	                                  "--autocast=", "--same=", "--alias=", "--scalar=", "-foutput", "-fassert", "--keep-param=", "-fconst-fold=", "-frng="};
	static const char *const no[] = {"-fdump", "-ftime", "-fdiag", "-fno-header", "-fno-color"};
	bool r = false;

	for (int i = 0; i < COUNT(yes); i++)
		r |= after(s, yes[i]) != NULL;
	for (int i = 0; i < COUNT(no); i++)
		r &= after(s, no[i]) == NULL;
	return r;
}

bool
options_parse(Arena *a, int argc, char **argv, Options *o)
{
	Text t = {.arena = a};

	*o = (Options){.header_on = -1, .fastmath = -1, .pack = -1, .keepmut = -1, .freeze = -1, .donate = -1, .checkalias = -1, .copies = -1, .dynstrides = -1};
	if (!environment(a, o) || !parse(a, argc - 1, argv + 1, o, 0))
		return false;
	for (int i = 1; i < argc; i++)
		if (shapes(argv[i]))
			text_add(&t, "%s%s", t.n ? " " : "", argv[i]);
	o->command = t.s ? t.s : "";
	return true;
}

void
options_help(FILE *f, const char *class)
{
	if (class && strcmp(class, "passes") == 0) {
		for (int i = 0; i < COUNT(pass); i++)
			fprintf(f, "  -fdump-%-14s %-7s %s\n", pass[i].name, pass[i].unit, pass[i].doc);
		for (int i = 0; i < COUNT(torchpass); i++)
			fprintf(f, "  -fno-%-28s -fno-%s%s\n", torchpass[i].torch, *torchpass[i].rule ? "pattern=" : torchpass[i].pass, torchpass[i].rule);
		return;
	}
	if (class && strcmp(class, "warnings") == 0) {
		for (int i = 0; i < COUNT(warning); i++)
			fprintf(f, "  -W%-18s %s%s\n", warning[i].opt, warning[i].doc, warning[i].on ? " (on)" : "");
		return;
	}
	fprintf(f, "Usage: fxcc [options] MODEL [WEIGHTS...] -o OUT\n\n");
	for (int i = 0; i < COUNT(opt); i++) {
		char left[64];
		if (opt[i].kind == Ignored)
			continue;
		snprintf(left, sizeof left, "%s%s%s", opt[i].text, opt[i].kind == Sep ? " " : opt[i].kind == EqOpt ? "=" : "", opt[i].meta);
		fprintf(f, "  %-24s %s\n", left, opt[i].help);
	}
	fprintf(f, "  -fPASS, -fno-PASS        run a pass or not; -fdump-PASS[=FILE] prints what it leaves (--help=passes)\n");
	fprintf(f, "  -WNAME, -Wno-NAME        a warning on or off; -Werror=NAME an error (--help=warnings)\n");
}
