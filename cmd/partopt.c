/* partopt.c - what the options say to the partition.
 *
 * Names are checked before anything is read (partition_known); files are read when the partition
 * is due: a list of values, of operators, the graphs that pack what is saved.
 */
#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include "front/front.h"
#include "passes.h"

int64_t
size_of(const char *s)
{
	char *end;
	int64_t n = strtoll(s, &end, 10);

	switch (tolower((unsigned char)*end)) {
	case 'k': return n << 10;
	case 'm': return n << 20;
	case 'g': return n << 30;
	default:  return n;
	}
}

/* ---- words ------------------------------------------------------------------------ */

static int
choice(const char *s, size_t n, const char *const *v, int count)
{
	for (int i = 0; i < count; i++)
		if (strlen(v[i]) == n && strncmp(s, v[i], n) == 0)
			return i;
	return -1;
}

static const char *const packmodes[] = {"donated", "all", "no-static"}, *const solvers[] = {"dp", "greedy", "ilp"};
static const struct { const char *name; enum dtype dt; } compressions[] = {{"bf16", DtBF16}, {"fp8", DtF8E4M3}, {"int8", DtI8}};

static enum dtype
compression(const char *s)
{
	for (int i = 0; s && i < COUNT(compressions); i++)
		if (strcmp(s, compressions[i].name) == 0)
			return compressions[i].dt;
	return 0;
}

/* max-distance=N */
static bool
distance(const char *s, size_t n, PartOptions *po)
{
	static const char key[] = "max-distance=";
	char *e;

	if (n < sizeof key || strncmp(s, key, sizeof key - 1) != 0)
		return false;
	po->maxdist = (int)strtol(s + sizeof key - 1, &e, 10);
	return e == s + n && po->maxdist > 0 && po->maxdist < 1000;
}

static bool
word(const char *s, size_t n, PartOptions *po)
{
	static const struct { const char *word; size_t at; bool on; } words[] = {
		{"aggressive", offsetof(PartOptions, aggressive), true},
		{"aggressive-recomputation", offsetof(PartOptions, aggressive), true},
		{"recompute-views", offsetof(PartOptions, recompute_views), true},
		{"views", offsetof(PartOptions, recompute_views), true},
		{"no-views", offsetof(PartOptions, recompute_views), false},
		{"no-far", offsetof(PartOptions, nofar), true},
		{"no-chains", offsetof(PartOptions, nolong), true},
		{"no-materialised", offsetof(PartOptions, nomaterial), true},
		{"no-allowlist", offsetof(PartOptions, noallowlist), true},
		{"no-reductions", offsetof(PartOptions, noreduction), true},
	};

	for (int i = 0; i < COUNT(words); i++)
		if (strlen(words[i].word) == n && strncmp(s, words[i].word, n) == 0) {
			*(bool *)((char *)po + words[i].at) = words[i].on;
			return true;
		}
	if (n > 5 && strncmp(s, "pack-", 5) == 0 && choice(s + 5, n - 5, packmodes, COUNT(packmodes)) >= 0) {
		po->packmode = packmodes[choice(s + 5, n - 5, packmodes, COUNT(packmodes))];
		return true;
	}
	return distance(s, n, po);
}

/* HOW[,WORD...] of -fpartition; a HOW that is the name of a file is put into *file. */
static bool
words(const char *s, PartOptions *po, Arena *a, const char **file)
{
	static const char *const how[] = {"mincut", "default", "none"};

	for (size_t n; s && *s; s += n + (s[n] == ',')) {
		int k;

		n = strcspn(s, ",");
		k = choice(s, n, how, COUNT(how));
		if (k >= 0)
			po->how = (enum partitioner)k;
		else if (file && a && !word(s, n, po) && file_exists(*file = arena_printf(a, "%.*s", (int)n, s)))
			po->how = PartNamed;
		else if (!word(s, n, po))
			return false;
	}
	return true;
}

/* ---- are they right? ------------------------------------------------------------------ */

static bool
budget_known(const char *s)
{
	char *end;
	double b = strtod(s, &end);

	if (end == s || !(b >= 0 && b < 1e300))
		return false;
	return *end == '\0' || (strchr("kKmMgG", *end) && end[1] == '\0');
}

/* --param=NAME=VALUE: the value; -1: it is another, or no number. */
static int64_t
parameter(const char *s)
{
	static const char key[] = "compress-min-bytes=";

	return strncmp(s, key, sizeof key - 1) == 0 && isdigit((unsigned char)s[sizeof key - 1]) ? size_of(s + sizeof key - 1) : -1;
}

/* false: *wrong is the message. */
bool
partition_known(const Options *o, Arena *a, const char **wrong)
{
	PartOptions po = {0};
	const char *file;

	*wrong = NULL;
	if (!words(o->partition, &po, a, &file))
		*wrong = arena_printf(a, "unknown -fpartition=%s (mincut, default, none, a file; aggressive, views, no-far, ...: see the manual)", o->partition);
	for (int i = 0; i < o->partwords.n; i++)
		if (!words(o->partwords.v[i], &po, NULL, NULL))
			*wrong = arena_printf(a, "unknown -fpartition-%s (aggressive, views, no-views, no-far, no-chains, no-materialised, no-reductions, no-allowlist, max-distance=1..999)", o->partwords.v[i]);
	for (int i = 0; i < o->param.n; i++)
		if (parameter(o->param.v[i]) < 0)
			*wrong = arena_printf(a, "unknown parameter '--param=%s' (compress-min-bytes=N)", o->param.v[i]);
	if (o->budget && !budget_known(o->budget))
		*wrong = arena_printf(a, "-factivation-budget=%s: 0 to 1, or a size (64M), is wanted", o->budget);
	if (o->solver && choice(o->solver, strlen(o->solver), solvers, COUNT(solvers)) < 0)
		*wrong = arena_printf(a, "unknown -fpartition-solver=%s (dp, greedy, ilp)", o->solver);
	if (o->packmode && choice(o->packmode, strlen(o->packmode), packmodes, COUNT(packmodes)) < 0)
		*wrong = arena_printf(a, "unknown --pack-mode=%s (donated, all, no-static)", o->packmode);
	if (o->compress && !compression(o->compress))
		*wrong = arena_printf(a, "unknown --compress-activations=%s (bf16, fp8, int8)", o->compress);
	if (!o->packfile != !o->unpackfile)
		*wrong = "--pack and --unpack belong together";
	if (o->packfile && o->compress)
		*wrong = "--pack and --compress-activations exclude each other";
	return *wrong == NULL;
}

/* ---- graphs that pack -------------------------------------------------------------------- */

typedef struct Hooks { Ctx *cx; const Options *o; File pack, unpack; } Hooks;

static const Graph *
hook(void *arg, bool unpack, const Type *const *type, int n)
{
	Hooks *h = arg;
	ReadOptions ro = {.form = "fxg", .param = type, .nparam = n};
	Module *m = read_model(h->cx, unpack ? &h->unpack : &h->pack, &ro);

	if (!m)
		return NULL;
	if (m->in.n == n && m->weight.n == 0)
		return m->main;
	error(h->cx, NOLOC, "%s: the graph takes %d tensors and has %d weights, it is given %d and none", (unpack ? &h->unpack : &h->pack)->name,
	      m->in.n, m->weight.n, n);
	return NULL;
}

static bool
packing(Hooks *h, PartOptions *po)
{
	const Options *o = h->o;

	po->compress = compression(o->compress);
	po->compressmin = 4096;
	for (int i = 0; i < o->param.n; i++)
		po->compressmin = parameter(o->param.v[i]);
	if (o->packmode)
		po->packmode = o->packmode;
	if (!o->packfile)
		return true;
	po->hook = hook;
	po->hookarg = h;
	return file_read(h->cx, o->packfile, &h->pack) && file_read(h->cx, o->unpackfile, &h->unpack);
}

/* ---- the partition ----------------------------------------------------------------------- */

static void
print_text(const void *text, Text *t)
{
	const Text *of = text;

	text_put(t, of->s ? of->s : "", of->n);
}

static void
budget(const Options *o, PartOptions *po)
{
	char *end;

	if (!o->budget)
		return;
	po->budget = strtod(o->budget, &end);
	if (po->budget > 1 || *end) {
		po->maxbytes = size_of(o->budget);
		po->budget = 1;
	}
}

static enum cutform
form(const char *path)
{
	const char *dot = path ? strrchr(path, '.') : NULL;

	return dot && strcmp(dot, ".dot") == 0 ? CutDot : dot && strcmp(dot, ".json") == 0 ? CutJson : CutText;
}

static bool
lists(Ctx *cx, const Options *o, const char *values, PartOptions *po)
{
	File *f = NEW(ctx_arena(cx), File), ops;

	if (po->how == PartNamed && !file_read(cx, values, f))
		return false;
	po->saved = f;
	return !o->lists || (file_read(cx, o->lists, &ops) && (po->lists = oplists_read(cx, &ops)));
}

bool
partition_cut(Module *m, const Options *o)
{
	Text mincut = {.arena = ctx_arena(m->cx)}, pareto = mincut;
	Hooks h = {.cx = m->cx, .o = o};
	PartOptions po = {
		.how = PartMincut, .budget = 1, .recompute_views = m->decomp == DecompNative,
		.info = o->optinfo && (strcmp(o->optinfo, "") == 0 || strncmp(o->optinfo, "-partition", 10) == 0) ? stderr : NULL,
	};
	const char *values = NULL, *to;

	if (m->backward)
		return true;
	if ((o->packfile || o->compress) && (!m->train || o->joint)) {
		error(m->cx, NOLOC, "%s: forward saves nothing: --train is wanted, without --joint", o->packfile ? "--pack" : "--compress-activations");
		return false;
	}
	if (!m->train)
		return true;
	words(o->partition, &po, ctx_arena(m->cx), &values);
	for (int i = 0; i < o->partwords.n; i++)
		words(o->partwords.v[i], &po, NULL, NULL);
	if (o->joint)
		po.how = PartNone;
	budget(o, &po);
	if (o->solver)
		po.solver = (enum solver)choice(o->solver, strlen(o->solver), solvers, COUNT(solvers));
	to = pass_dump_name(m->cx, o, "mincut", 0);
	po.mincut = to ? &mincut : NULL;
	po.mincutform = form(to);
	po.pareto = pass_dump_name(m->cx, o, "pareto", 0) && po.how == PartMincut ? &pareto : NULL;
	return lists(m->cx, o, values, &po) && packing(&h, &po) && partition(m, &po) &&
	       pass_dump(m->cx, o, "mincut", print_text, &mincut) && (!po.pareto || pass_dump(m->cx, o, "pareto", print_text, &pareto));
}
