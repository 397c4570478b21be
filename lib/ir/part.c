/* part.c - parts of a program that are compiled with options of their own.
 *
 * A text marks the nodes below a comment, an archive has the same as a node's "custom" metadata,
 * PyTorch prints that as an annotation:
 *
 *     # fxcc.region=R, opts="-O1 -fno-fuse"
 *     # Annotation: {'fxcc.region': 'R', 'opts': '-O0'} File: ...
 *
 * Whoever makes a node in place of another hands its region on (node_inherit).
 */
#include <string.h>
#include "ir/part.h"

static const struct { const char *name; enum partpass pass; } passes[] = {
	{"noop", PartNoop}, {"cse", PartCse}, {"uniform", PartUniform}, {"views", PartViews},
	{"patterns", PartPatterns}, {"simplify", PartSimplify}, {"constfold", PartConstfold}, {"fuse", PartFuse},
};

static uint32_t
pass_bit(const char *name, size_t n)
{
	for (int i = 0; i < COUNT(passes); i++)
		if (strlen(passes[i].name) == n && strncmp(passes[i].name, name, n) == 0)
			return 1u << passes[i].pass;
	return 0;
}

static bool
is(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && strncmp(s, word, n) == 0;
}

static bool
option(Settings *r, const char *s, size_t n)
{
	uint32_t bit;

	if (is(s, n, "-O0")) {
		r->off = ~0u & ~(1u << PartFuse);
		r->decompose = DecomposeNone;
	} else if (is(s, n, "-O1") || is(s, n, "-O2") || is(s, n, "-O3")) {
		r->off = 0;
	} else if (is(s, n, "-fdecompose=all")) {
		r->decompose = DecomposeAll;
	} else if (is(s, n, "-fdecompose=none")) {
		r->decompose = DecomposeNone;
	} else if (n > 5 && strncmp(s, "-fno-", 5) == 0 && (bit = pass_bit(s + 5, n - 5))) {
		r->off |= bit;
	} else if (n > 2 && strncmp(s, "-f", 2) == 0 && (bit = pass_bit(s + 2, n - 2))) {
		r->off &= ~bit;
	} else {
		return false;
	}
	return true;
}

int
part_add(Module *m, Loc loc, Str name, Str opts)
{
	Settings r = {.name = name, .opts = opts};

	for (int i = 0; i < m->part.n; i++) {
		const Settings *old = &m->part.v[i];
		if (strcmp(old->name, name) != 0)
			continue;
		if (strcmp(old->opts, opts) == 0)
			return i + 1;
		return error(m->cx, loc, "region %s has options \"%s\" here, \"%s\" elsewhere", name, opts, old->opts), -1;
	}
	for (const char *s = opts; *s; ) {
		size_t n = strcspn(s, " ");
		if (n && !option(&r, s, n))
			return error(m->cx, loc, "region %s: unknown option '%.*s' (-O0 to -O3, -fno-PASS, -fno-fuse, -fdecompose=all|none)", name, (int)n, s), -1;
		s += n + (s[n] == ' ');
	}
	vec_push(ctx_arena(m->cx), &m->part, r);
	return m->part.n;
}

/* ---- KEY=VALUE, ... and {'KEY': 'VALUE', ...} ---------------------------------------------- */

static const char *
blank(const char *s)
{
	return s + strspn(s, " ,{");
}

/* A word, or what stands in quotes; s is moved behind it. */
static Str
word(Ctx *cx, const char **s, const char *until)
{
	const char *b = *s;
	size_t n;

	if (*b == '"' || *b == '\'') {
		const char *e = strchr(b + 1, *b);
		n = e ? (size_t)(e - b - 1) : strlen(b + 1);
		*s = b + 1 + n + (e != NULL);
		return intern(cx, b + 1, n);
	}
	n = strcspn(b, until);
	*s = b + n;
	return intern(cx, b, n);
}

int
part_parse(Module *m, Loc loc, const char *s)
{
	Str name = NULL, opts = "", key, value;

	for (s = blank(s); *s && *s != '}' && strncmp(s, "File:", 5) != 0 && strncmp(s, "No stack", 8) != 0; s = blank(s)) {
		key = word(m->cx, &s, "=: ,}");
		s += strspn(s, ":= ");
		value = word(m->cx, &s, " ,}");
		if (strcmp(key, "fxcc.region") == 0)
			name = value;
		else if (strcmp(key, "opts") == 0)
			opts = value;
		else
			return error(m->cx, loc, "fxcc.region: unknown key '%s' (fxcc.region, opts)", key), -1;
	}
	return name ? part_add(m, loc, name, opts) : 0;
}

bool
node_leaves(const Node *n, enum partpass pass)
{
	return n->part && n->graph->mod->part.v[n->part - 1].off & 1u << pass;
}

enum decompose
node_decompose(const Node *n)
{
	const Module *m = n->graph->mod;
	enum decompose of = n->part ? m->part.v[n->part - 1].decompose : DecomposeUsual;
	const char *name = strchr(n->op->name, '.');
	size_t len = name ? strcspn(name + 1, ".") : 0;

	if (of != DecomposeUsual || m->decompose == DecomposeUsual)
		return of;
	for (int i = 0; i < m->decomposed.n; i++)
		if (is(name ? name + 1 : "", len, m->decomposed.v[i]))
			return DecomposeAll;
	return m->decompose;
}
