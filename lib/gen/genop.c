/* genop.c - host tool: the operator tables, *.op, to one C file, optab.c.
 *
 *   genop -o optab.c file.op...      write the table
 *   genop -l file.op...              list the operators, for people
 *
 * lib/ir/op/README says what a table looks like.  The tool reads blocks, parses
 * schemas completely, and parses each line with the compiler's own parser, so
 * that a slip in a table ends the build at its line.  Operators come out sorted
 * by name: the overloads of a packet lie together.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "ir/lang.h"

/* The lines that hold text of the language, and how each is parsed. */
#define LINES(X)                                                               \
	X(doc, -1) X(type, FormExpr) X(shape, FormExpr) X(where, FormWhere)    \
	X(value, FormExpr) X(expand, FormBlock) X(inverse, FormExpr)           \
	X(lower, FormExpr) X(stride, FormExpr) X(torch, FormBlock)             \
	X(eager, FormBlock) X(zero, FormBlock)
enum line {
#define X(name, form) Line_##name,
	LINES(X)
#undef X
	NLine
};
static const struct { const char *name; int form; } linetab[NLine] = {
#define X(name, form) {#name, form},
	LINES(X)
#undef X
};

typedef struct Piece { const char *text; int line; } Piece;
typedef struct Grad { Str arg; Piece text; } Grad;

typedef struct Op {
	Str name, schema;
	VEC(Param) param, ret;
	int line;
	const char *file;
	struct Block *block;
} Op;

typedef struct Block {          /* the lines that its ops share */
	Piece piece[NLine];
	uint32_t flags;
	VEC(Grad) grad;
	VEC(const char *) sample;
	int id;                 /* index in the output, once written */
} Block;

typedef struct Macro { Str name; VEC(Str) param; Piece text; double ulp, within; const char *file; } Macro;

typedef struct Gen {
	Ctx *cx;
	Arena *a;
	const char *file;
	VEC(Op) op;
	VEC(Macro) fn, impl;
	VEC(Block *) block;
	Map seen;
} Gen;

PRINTF(3, 4) static void
fail(Gen *g, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error(g->cx, NOLOC, "%s:%d: %s", g->file, line,
	      arena_vprintf(g->a, fmt, ap));
	va_end(ap);
}

/* ---- schemas ---------------------------------------------------------------- */

typedef struct Scan { Gen *g; const char *s; int line; bool bad; } Scan;

static void
skip(Scan *s)
{
	while (*s->s == ' ' || *s->s == '\n' || *s->s == '\t')
		s->s++;
}

static bool
eat(Scan *s, const char *text)
{
	size_t n = strlen(text);

	skip(s);
	if (strncmp(s->s, text, n) != 0)
		return false;
	s->s += n;
	return true;
}

static void
need(Scan *s, const char *text)
{
	if (!eat(s, text) && !s->bad) {
		fail(s->g, s->line, "schema: '%s' expected at '%.20s'", text, s->s);
		s->bad = true;
	}
}

static Str
word(Scan *s, const char *more)
{
	const char *b;

	skip(s);
	for (b = s->s; isalnum((unsigned char)*s->s) || *s->s == '_' ||
	     (*s->s && strchr(more, *s->s)); s->s++)
		;
	return intern(s->g->cx, b, (size_t)(s->s - b));
}

static const struct { const char *name; enum argtype type; } typetab[] = {
	{"Tensor", AtTensor}, {"int", AtInt}, {"SymInt", AtInt},
	{"float", AtFloat}, {"SymFloat", AtFloat}, {"bool", AtBool}, {"SymBool", AtBool},
	{"Scalar", AtScalar}, {"str", AtStr}, {"ScalarType", AtDtype},
	{"Layout", AtLayout}, {"MemoryFormat", AtMemfmt}, {"Device", AtDevice},
	{"Generator", AtGenerator}, {"Graph", AtGraph}, {"GraphModule", AtGraph},
	{"Any", AtAny}, {"Dimname", AtStr}, {"DimnameList", AtStr}, {"Storage", AtAny},
	{"Stream", AtAny}, {"QScheme", AtAny}, {"DeviceIndex", AtInt},
	{"DispatchKeySet", AtAny}, {"complex", AtScalar}, {"number", AtScalar},
	{"t", AtAny}, {"AnyEnumType", AtAny}, {"Device", AtDevice},
};

/* Tensor(a!)?[2]? and so on. */
static void
type(Scan *s, Param *p)
{
	Str w = word(s, ".");

	p->type = (enum argtype)-1;
	for (int i = 0; i < COUNT(typetab); i++)
		if (strcmp(w, typetab[i].name) == 0)
			p->type = typetab[i].type;
	if (strncmp(w, "__torch__", 9) == 0)
		p->type = AtAny;
	if ((int)p->type == -1 && !s->bad) {
		fail(s->g, s->line, "schema: unknown type '%s'", w);
		s->bad = true;
	}
	for (;;) {
		if (eat(s, "(")) {           /* alias set: (a), (a!), (a -> *) */
			p->alias = *s->s;
			while (*s->s && *s->s != ')')
				p->mutated |= *s->s++ == '!';
			need(s, ")");
		} else if (*s->s == '?') {
			s->s++;
			p->opt = true;
		} else if (*s->s == '[') {
			s->s++;
			p->list = true;
			p->elemopt = p->opt;
			p->opt = false;
			p->fixed = (int8_t)strtol(s->s, (char **)&s->s, 10);
			need(s, "]");
		} else {
			return;
		}
	}
}

/* The text of a default: up to a ',' or ')' outside brackets and quotes. */
static const char *
deflt(Scan *s)
{
	const char *b = s->s;
	int depth = 0;
	char quote = 0;

	for (; *s->s; s->s++) {
		if (quote) {
			quote = *s->s == quote ? 0 : quote;
			continue;
		}
		if (*s->s == '\'' || *s->s == '"')
			quote = *s->s;
		if (*s->s == '[' || *s->s == '(')
			depth++;
		if (depth == 0 && (*s->s == ',' || *s->s == ')'))
			break;
		if (*s->s == ']' || *s->s == ')')
			depth--;
	}
	return intern(s->g->cx, b, (size_t)(s->s - b));
}

/* The registry prints enumerators as c10's numbers. */
static void
enumerator(Param *p)
{
	static const char *const dtype[] = {
		"u8", "i8", "i16", "i32", "i64", "f16", "f32", "f64",
		NULL, "c64", "c128", "b8", NULL, NULL, NULL, "bf16"
	};
	static const char *const memfmt[] = {
		"contiguous_format", "preserve_format", "channels_last", "channels_last_3d"
	};
	if (p->dflt == NULL || !isdigit((unsigned char)p->dflt[0]))
		return;
	unsigned k = (unsigned)atoi(p->dflt);
	if (p->type == AtDtype && (int)k < COUNT(dtype) && dtype[k])
		p->dflt = dtype[k];
	if (p->type == AtMemfmt && (int)k < COUNT(memfmt))
		p->dflt = memfmt[k];
	if (p->type == AtLayout && k == 0)
		p->dflt = "strided";
}

static void
params(Scan *s, Op *op)
{
	bool kwonly = false;

	need(s, "(");
	while (!s->bad && !eat(s, ")")) {
		if (op->param.n)
			need(s, ",");
		if (eat(s, "*")) {
			need(s, ",");
			kwonly = true;
		}
		Param p = {.kwonly = kwonly};
		type(s, &p);
		p.name = word(s, "");
		if (!*p.name && !s->bad) {
			fail(s->g, s->line, "schema: a parameter has no name");
			s->bad = true;
		}
		if (eat(s, "="))
			p.dflt = deflt(s);
		enumerator(&p);
		vec_push(s->g->a, &op->param, p);
	}
}

static void
returns(Scan *s, Op *op)
{
	need(s, "->");
	if (!eat(s, "(")) {
		Param p = {.name = ""};
		type(s, &p);
		vec_push(s->g->a, &op->ret, p);
		return;
	}
	while (!s->bad && !eat(s, ")")) {
		Param p = {0};
		if (op->ret.n)
			need(s, ",");
		type(s, &p);
		p.name = word(s, "");
		vec_push(s->g->a, &op->ret, p);
	}
}

/* Python's functions have no overloads: operator.add, torch.sym_max. */
static bool
plainname(const char *ns)
{
	static const char *const plain[] = {
		"operator", "_operator", "math", "torch", "builtins", "fxcc",
		"higher_order"
	};
	for (int i = 0; i < COUNT(plain); i++)
		if (strcmp(ns, plain[i]) == 0)
			return true;
	return false;
}

static Str
opname(Scan *s)
{
	Ctx *cx = s->g->cx;
	Str w = word(s, "."), ns = NULL;
	const char *dot;

	if (eat(s, "::")) {
		ns = w;
		w = word(s, ".");
	}
	dot = strchr(w, '.');
	if (ns == NULL && dot && plainname(intern(cx, w, (size_t)(dot - w))))
		return w;
	/* Leaves of the graph stand outside every namespace. */
	if (ns && !*ns)
		return w;
	if (ns && plainname(ns))
		return intern_printf(cx, "%s.%s", ns, w);
	return intern_printf(cx, "%s.%s%s", ns ? ns : "aten", w, dot ? "" : ".default");
}

/* text: what follows `op`. */
static bool
schema(Gen *g, const char *text, int line, Block *b)
{
	Scan s = {.g = g, .s = text, .line = line};
	Op op = {.line = line, .file = g->file, .block = b};
	const Op *old;

	skip(&s);
	op.schema = s.s;
	op.name = opname(&s);
	const char *colon = strstr(op.schema, "::"), *paren = strchr(op.schema, '(');
	if (colon && paren && colon < paren)
		op.schema = colon + 2;
	params(&s, &op);
	if (!s.bad)
		returns(&s, &op);
	skip(&s);
	if (!s.bad && *s.s) {
		fail(g, line, "schema: nothing should follow the results: '%s'", s.s);
		return false;
	}
	if (s.bad)
		return false;
	if ((old = map_get(&g->seen, op.name)) != NULL) {
		fail(g, line, "%s is there already: %s:%d", op.name, old->file, old->line);
		return false;
	}
	vec_push(g->a, &g->op, op);
	map_put(g->a, &g->seen, op.name, arena_dup(g->a, &op, sizeof op));
	return true;
}

/* ---- blocks ------------------------------------------------------------------- */

/* Lines first..last of the file as one text: what follows the keyword, and the
 * lines under it, all moved left so that the text's columns stay true. */
static const char *
moved(Gen *g, char *const *line, int first, int last, int col)
{
	Text t = {.arena = g->a};
	int left = col;
	const char *head = line[first] + col;

	head += strspn(head, " ");
	if (*head == '#')
		head = "";
	if (*head) {
		left = (int)(head - line[first]);
		text_put(&t, head, strlen(head));
	} else {
		left = 1000;
		for (int k = first + 1; k <= last; k++) {
			int c = (int)strspn(line[k], " ");
			if (line[k][c] && line[k][c] != '#' && c < left)
				left = c;
		}
	}
	for (int k = first + 1; k <= last; k++) {
		int c = (int)strspn(line[k], " ");
		text_put(&t, "\n", 1);
		c = c < left ? c : left;
		text_put(&t, line[k] + c, strlen(line[k] + c));
	}
	while (t.n && isspace((unsigned char)t.s[t.n - 1]))
		t.s[--t.n] = 0;
	return t.s ? t.s : "";
}

static void
flags(Gen *g, const char *s, int line, Block *b)
{
	static const char *const text[] = {
#define X(f, t) t,
		OPFLAGS(X)
#undef X
	};
	while (*(s += strspn(s, " ,\n"))) {
		size_t n = strcspn(s, " ,\n");
		bool known = false;
		if (*s == '#')
			break;
		for (int i = 0; i < COUNT(text); i++)
			if (strlen(text[i]) == n && strncmp(s, text[i], n) == 0) {
				b->flags |= 1u << i;
				known = true;
			}
		if (!known)
			fail(g, line, "unknown flag '%.*s'", (int)n, s);
		s += n;
	}
}

static void
grad(Gen *g, const char *s, int line, Block *b)
{
	Grad gr = {.text.line = line};
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
	const char *e = s + n + strspn(s + n, " ");

	if (n == 0 || *e != '=' || e[1] == '=') {
		fail(g, line, "grad: NAME = EXPRESSION expected");
		return;
	}
	gr.arg = intern(g->cx, s, n);
	gr.text.text = e + 1 + strspn(e + 1, " ");
	lang_parse(g->cx, gr.text.text, FormExpr, g->file, line);
	vec_push(g->a, &b->grad, gr);
}

/* Cases are separated by ';'; a comment ends a line. */
static void
samples(Gen *g, const char *s, Block *b)
{
	Text t = {.arena = g->a};

	for (char quote = 0;; s++) {
		if (*s == '\'' && (!quote || quote == *s))
			quote = quote ? 0 : *s;
		if (*s == '#' && !quote)
			s += strcspn(s, "\n");
		if ((*s == ';' && !quote) || !*s) {
			while (t.n && t.s[t.n - 1] == ' ')
				t.s[--t.n] = 0;
			if (t.n)
				vec_push(g->a, &b->sample, intern(g->cx, t.s, t.n));
			t.n = 0;
			if (!*s)
				return;
			continue;
		}
		if (t.n || !isspace((unsigned char)*s))
			text_put(&t, *s == '\n' ? " " : s, 1);
	}
}

static void
line(Gen *g, const char *key, const char *text, int no, Block *b)
{
	if (strcmp(key, "is") == 0) {
		flags(g, text, no, b);
		return;
	}
	if (strcmp(key, "grad") == 0) {
		grad(g, text, no, b);
		return;
	}
	if (strcmp(key, "sample") == 0) {
		samples(g, text, b);
		return;
	}
	for (int i = 0; i < NLine; i++) {
		if (strcmp(key, linetab[i].name) != 0)
			continue;
		Piece *p = &b->piece[i];
		if (linetab[i].form >= 0)
			lang_parse(g->cx, text, (enum langform)linetab[i].form, g->file, no);
		if (p->text && i == Line_where) {
			p->text = arena_printf(g->a, "%s;\n%s", p->text, text);
			return;
		}
		if (p->text)
			fail(g, no, "a second '%s' line", key);
		*p = (Piece){text, no};
		return;
	}
	fail(g, no, "unknown line '%s'", key);
}

/* fn NAME(a, b) = TEXT;  impl NAME(a) ulp 1 within 1e6 = TEXT */
static void
macro(Gen *g, const char *text, int no, bool impl)
{
	Scan s = {.g = g, .s = text, .line = no};
	Macro m = {.file = g->file, .text.line = no};

	m.name = word(&s, "");
	need(&s, "(");
	while (!s.bad && !eat(&s, ")")) {
		if (m.param.n)
			need(&s, ",");
		Str p = word(&s, "");
		if (!*p)
			need(&s, "a name");
		vec_push(g->a, &m.param, p);
	}
	if (eat(&s, "ulp"))
		m.ulp = strtod(s.s, (char **)&s.s);
	if (eat(&s, "within"))
		m.within = strtod(s.s, (char **)&s.s);
	need(&s, "=");
	if (s.bad)
		return;
	while (*s.s == ' ')
		s.s++;
	/* Statements under the head: as they stand; after it: in line with it. */
	m.text.text = s.s + (*s.s == '\n');
	m.text.line += *s.s == '\n';
	lang_parse(g->cx, m.text.text, FormExpr, g->file, m.text.line);
	if (impl)
		vec_push(g->a, &g->impl, m);
	else
		vec_push(g->a, &g->fn, m);
}

/* Lines k+1.. that belong to line k: deeper than col, or blank between such. */
static int
extent(char *const *ln, int n, int k, int col)
{
	int last = k;

	for (int j = k + 1; j < n; j++) {
		int c = (int)strspn(ln[j], " ");
		if (ln[j][c] == '\0')
			continue;
		if (c <= col && ln[j][c] != '#')
			break;
		if (c > col)
			last = j;
	}
	return last;
}

static char **
lines(Gen *g, char *text, int *n)
{
	VEC(char *) v = {0};

	for (char *s = text; s; ) {
		char *e = strchr(s, '\n');
		if (e)
			*e++ = '\0';
		size_t len = strlen(s);
		while (len && (s[len - 1] == ' ' || s[len - 1] == '\r'))
			s[--len] = '\0';
		if (strchr(s, '\t'))
			fail(g, v.n + 1, "a tab: tables are indented with blanks");
		vec_push(g->a, &v, s);
		s = e;
	}
	*n = v.n;
	return v.v;
}

static void
top(Gen *g, char *const *ln, int k, int last, Block **b, bool *open)
{
	const char *s = ln[k];
	int no = k + 1;

	if (strncmp(s, "op ", 3) == 0) {
		if (!*open) {
			*b = NEW(g->a, Block);
			(*b)->id = -1;
			vec_push(g->a, &g->block, *b);
		}
		*open = true;
		schema(g, moved(g, ln, k, last, 3), no, *b);
	} else if (strncmp(s, "fn ", 3) == 0) {
		macro(g, moved(g, ln, k, last, 3), no, false);
	} else if (strncmp(s, "impl ", 5) == 0) {
		macro(g, moved(g, ln, k, last, 5), no, true);
	} else {
		fail(g, no, "op, fn or impl expected");
	}
}

static void
table(Gen *g, const char *path)
{
	File f;
	Block *b = NULL;
	bool open = false;      /* op lines follow each other */
	int n;

	if (!file_read(g->cx, path, &f))
		return;
	const char *slash = strrchr(path, '/');
	g->file = slash ? slash + 1 : path;
	char **ln = lines(g, arena_printf(g->a, "%.*s", (int)f.size, (const char *)f.data), &n);
	for (int k = 0; k < n; k++) {
		int c = (int)strspn(ln[k], " ");

		if (!ln[k][c] || ln[k][c] == '#')
			continue;
		if (c == 0) {
			/* A schema may go on, deeper than any line's keyword. */
			bool isop = strncmp(ln[k], "op ", 3) == 0;
			int last = isop ? extent(ln, n, k, 5) : extent(ln, n, k, 0);
			top(g, ln, k, last, &b, &open);
			k = last;
			continue;
		}
		if (b == NULL) {
			fail(g, k + 1, "a line outside of an op");
			continue;
		}
		open = false;
		if (c != 2)
			fail(g, k + 1, "keywords stand at column 2, this is %d", c);
		int len = (int)strcspn(ln[k] + c, " "), last = extent(ln, n, k, c);
		line(g, intern(g->cx, ln[k] + c, (size_t)len),
		     moved(g, ln, k, last, c + len), k + 1, b);
		k = last;
	}
}

/* ---- writing -------------------------------------------------------------------- */

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
			fputs(s[1] ? "\\n\"\n\t\t\"" : "\\n", f);
		else if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if (*s == '?')
			fputs("\\?", f);        /* no trigraphs */
		else
			fputc(*s, f);
	}
	fputc('"', f);
}

static void
writeparams(FILE *f, const char *what, int id, const Param *p, int n)
{
	if (n == 0)
		return;
	fprintf(f, "static const Param %s%d[] = {\n", what, id);
	for (int i = 0; i < n; i++) {
		fprintf(f, "\t{.name = \"%s\", .type = %d", p[i].name, (int)p[i].type);
		if (p[i].opt)
			fputs(", .opt = true", f);
		if (p[i].list)
			fputs(", .list = true", f);
		if (p[i].elemopt)
			fputs(", .elemopt = true", f);
		if (p[i].fixed)
			fprintf(f, ", .fixed = %d", p[i].fixed);
		if (p[i].kwonly)
			fputs(", .kwonly = true", f);
		if (p[i].mutated)
			fputs(", .mutated = true", f);
		if (p[i].alias)
			fprintf(f, ", .alias = '%c'", p[i].alias);
		if (p[i].dflt) {
			fputs(", .dflt = ", f);
			quoted(f, p[i].dflt);
		}
		fputs("},\n", f);
	}
	fputs("};\n", f);
}

static void
writeblock(FILE *f, const Block *b)
{
	if (b->grad.n) {
		fprintf(f, "static const struct grad g%d[] = {\n", b->id);
		for (int i = 0; i < b->grad.n; i++) {
			fprintf(f, "\t{\"%s\", ", b->grad.v[i].arg);
			quoted(f, b->grad.v[i].text.text);
			fprintf(f, ", %d},\n", b->grad.v[i].text.line);
		}
		fputs("};\n", f);
	}
	if (b->sample.n) {
		fprintf(f, "static const char *const s%d[] = {\n", b->id);
		for (int i = 0; i < b->sample.n; i++) {
			fputc('\t', f);
			quoted(f, b->sample.v[i]);
			fputs(",\n", f);
		}
		fputs("};\n", f);
	}
}

static void
writeop(FILE *f, const Op *op, int code)
{
	const Block *b = op->block;

	fprintf(f, "{\n\t.name = \"%s\",\n\t.schema = ", op->name);
	quoted(f, op->schema);
	fprintf(f, ",\n\t.nparam = %d, .nret = %d, .flags = 0x%x, .code = %d,\n",
	        op->param.n, op->ret.n, (unsigned)b->flags, code);
	if (op->param.n)
		fprintf(f, "\t.param = p%d,\n", code);
	if (op->ret.n)
		fprintf(f, "\t.ret = r%d,\n", code);
	for (int i = 0; i < NLine; i++)
		if (b->piece[i].text) {
			fprintf(f, "\t.%s = ", linetab[i].name);
			quoted(f, b->piece[i].text);
			fputs(",\n", f);
		}
	if (b->grad.n)
		fprintf(f, "\t.grad = (const void *)g%d, .ngrad = %d,\n", b->id, b->grad.n);
	if (b->sample.n)
		fprintf(f, "\t.sample = s%d, .nsample = %d,\n", b->id, b->sample.n);
	fprintf(f, "\t.file = \"%s\", .line = %d,\n},\n", op->file, op->line);
}

static void
writemacros(FILE *f, const char *name, const Macro *m, int n)
{
	for (int i = 0; i < n; i++) {
		fprintf(f, "static const char *const %s_p%d[] = {", name, i);
		for (int k = 0; k < m[i].param.n; k++)
			fprintf(f, "\"%s\", ", m[i].param.v[k]);
		fputs("NULL};\n", f);
	}
	fprintf(f, "const MacroDef %s[] = {\n", name);
	for (int i = 0; i < n; i++) {
		fprintf(f, "{\"%s\", %s_p%d, %d, ", m[i].name, name, i, m[i].param.n);
		quoted(f, m[i].text.text);
		fprintf(f, ", %g, %g, \"%s\", %d},\n", m[i].ulp, m[i].within, m[i].file, m[i].text.line);
	}
	fprintf(f, "{.name = NULL}\n};\nconst int n%s = %d;\n", name, n);
}

static int
byname(const void *a, const void *b)
{
	return strcmp(((const Op *)a)->name, ((const Op *)b)->name);
}

static int
bymacro(const void *a, const void *b)
{
	return strcmp(((const Macro *)a)->name, ((const Macro *)b)->name);
}

static void
order(Gen *g)
{
	if (g->op.n)
		qsort(g->op.v, (size_t)g->op.n, sizeof *g->op.v, byname);
	if (g->fn.n)
		qsort(g->fn.v, (size_t)g->fn.n, sizeof *g->fn.v, bymacro);
	if (g->impl.n)
		qsort(g->impl.v, (size_t)g->impl.n, sizeof *g->impl.v, bymacro);
	for (int i = 0; i < g->block.n; i++)
		g->block.v[i]->id = i;
}

static void
duplicates(Gen *g, const Macro *m, int n, const char *what)
{
	for (int i = 1; i < n; i++)
		if (m[i].name == m[i - 1].name)
			fail(g, m[i].text.line, "%s %s is there twice", what, m[i].name);
}

static void
writeall(FILE *f, Gen *g)
{
	fputs("/* optab.c - made from the operator tables by genop; do not edit. */\n"
	      "#include \"ir/lang.h\"\n\n"
	      "struct grad { const char *arg, *text; int line; };\n\n", f);
	for (int i = 0; i < g->op.n; i++) {
		writeparams(f, "p", i, g->op.v[i].param.v, g->op.v[i].param.n);
		writeparams(f, "r", i, g->op.v[i].ret.v, g->op.v[i].ret.n);
	}
	for (int i = 0; i < g->block.n; i++)
		writeblock(f, g->block.v[i]);
	fputs("\nconst OpDef optab[] = {\n", f);
	for (int i = 0; i < g->op.n; i++)
		writeop(f, &g->op.v[i], i);
	fprintf(f, "{.name = NULL}\n};\nconst int noptab = %d;\n\n", g->op.n);
	writemacros(f, "fntab", g->fn.v, g->fn.n);
	writemacros(f, "impltab", g->impl.v, g->impl.n);
}

static void
list(const Gen *g)
{
	for (int i = 0; i < g->op.n; i++) {
		const Op *op = &g->op.v[i];
		const char *doc = op->block->piece[Line_doc].text;
		printf("%-40s %s\n", op->name, doc ? doc : "");
	}
}

int
main(int argc, char **argv)
{
	Gen g = {.cx = ctx_new(&(Diag){0})};
	const char *out = NULL;
	bool listing = false;
	int opt;

	g.a = ctx_arena(g.cx);
	while ((opt = getopt(argc, argv, "lo:")) != -1) {
		if (opt == 'l')
			listing = true;
		else if (opt == 'o')
			out = optarg;
		else
			return 2;
	}
	if (optind == argc || (!listing && out == NULL)) {
		fputs("usage: genop -o optab.c file.op...\n       genop -l file.op...\n", stderr);
		return 2;
	}
	for (int i = optind; i < argc; i++)
		table(&g, argv[i]);
	order(&g);
	duplicates(&g, g.fn.v, g.fn.n, "fn");
	duplicates(&g, g.impl.v, g.impl.n, "impl");
	if (ctx_errors(g.cx) == 0 && listing)
		list(&g);
	if (ctx_errors(g.cx) == 0 && out) {
		FILE *f = fopen(out, "w");
		if (f == NULL) {
			fprintf(stderr, "genop: %s: %s\n", out, strerror(errno));
			return 1;
		}
		writeall(f, &g);
		if (fclose(f) != 0) {
			fprintf(stderr, "genop: %s: %s\n", out, strerror(errno));
			return 1;
		}
	}
	int status = ctx_errors(g.cx) ? 1 : 0;
	ctx_free(g.cx);
	return status;
}
