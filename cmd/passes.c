/* passes.c - run the table of passes over a program.
 *
 * The order is that of passes.def.  After each pass: its dump if asked for, the
 * verifier if asked for, its row of the time report.  Passes over graphs run on
 * every graph of the module.
 */
#include <stdlib.h>
#include <time.h>
#include "grad/grad.h"
#include "grad/optimizer.h"
#include "ir/pass/pass.h"
#include "passes.h"

enum unit { Module_, Graph_, Plan_ };

static bool
pass_verify(Module *m)
{
	bool ok = graph_infer(m->main);

	for (int i = 0; i < m->sub.n; i++)
		ok = graph_infer(m->sub.v[i]) && ok;
	return ok && module_verify(m);
}

/* Cut by partition_cut, which has the options. */
static bool
pass_partition(Module *m)
{
	return m != NULL;
}

/* Rows of lower and emit run in fxcc1.c, on plans: they have no function here. */
static const struct row {
	const char *name;
	enum unit unit;
	int level;
	bool mayskip;
	bool (*module)(Module *);
	bool (*graph)(Graph *);
} row[] = {
#define Yes true
#define No  false
#define GROUP(name)
#define FN_Module(name) .module = pass_##name
#define FN_Graph(name)  .graph = pass_##name
#define FN_Plan(name)   .module = NULL
#define PASS(name, unit, level, skip, doc) {#name, unit##_, level, skip, FN_##unit(name)},
#define pass_fuse NULL
#include "passes.def"
#undef pass_fuse
#undef PASS
#undef GROUP
#undef Yes
#undef No
};

static bool
listed(const StrList *l, const char *name)
{
	for (int i = 0; i < l->n; i++)
		if (strcmp(l->v[i], name) == 0)
			return true;
	return false;
}

bool
pass_skipped(const Options *o, const char *name)
{
	return listed(&o->skip, name);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Where -fdump-PASS goes: the file given, or OUT.NN.PASS; NULL: nowhere. */
const char *
pass_dump_name(Ctx *cx, const Options *o, const char *name, int number)
{
	size_t n = strlen(name);

	for (int i = 0; i < o->dump.n; i++)
		if (strncmp(o->dump.v[i], name, n) == 0 && (o->dump.v[i][n] == '=' || o->dump.v[i][n] == '\0'))
			return o->dump.v[i][n] ? o->dump.v[i] + n + 1 : arena_printf(ctx_arena(cx), "%s.%02d.%s", o->out ? o->out : "a", number, name);
	return o->dumpall ? arena_printf(ctx_arena(cx), "%s.%02d.%s", o->out ? o->out : "a", number, name) : NULL;
}

/* Beside a text on stdout a dump without a file goes there too. */
bool
pass_dump(Ctx *cx, const Options *o, const char *name, void (*print)(const void *, Text *), const void *arg)
{
	Text t = {.arena = ctx_arena(cx)};
	const char *path;
	Out *out;
	int number = 0;

	while (number < COUNT(row) && strcmp(row[number].name, name) != 0)
		number++;
	path = pass_dump_name(cx, o, name, number + 1);
	if (path == NULL)
		return true;
	if (strncmp(path, "-.", 2) == 0)
		path = "-";
	print(arg, &t);
	out = out_open(cx, path);
	return out && out_write(out, t.s, t.n) && out_commit(cx, out);
}

static void
print_module(const void *m, Text *t)
{
	module_print(m, t);
}

static bool
run_row(const struct row *r, Module *m, const Options *o)
{
	bool ok = true;

	if (strcmp(r->name, "partition") == 0)
		return partition_cut(m, o);
	if (r->module)
		return r->module(m) && (!m->backward || strcmp(r->name, "verify") == 0 || r->module(m->backward));
	if (m->backward && !run_row(r, m->backward, o))
		return false;
	for (int i = 0; i < m->sub.n; i++)
		ok = r->graph(m->sub.v[i]) && ok;
	return r->graph(m->main) && ok;
}

void
passes_report(FILE *f, double seconds, const char *name)
{
	fprintf(f, " %-16s %8.3f s\n", name, seconds);
}

/* Without inputs and outputs. */
static int
nodes(const Module *m)
{
	int n = m->backward ? nodes(m->backward) : 0;

	FOREACH_NODE(m->main, d)
		n += !(d->op->flags & OP(Leaf));
	for (int i = 0; i < m->sub.n; i++)
		FOREACH_NODE(m->sub.v[i], d)
			n += !(d->op->flags & OP(Leaf));
	return n;
}

static bool
runs(const struct row *r, const Options *o)
{
	return !r->mayskip || !(listed(&o->skip, r->name) || (o->opt && strcmp(o->opt, "0") == 0 && r->level > 0));
}

static enum passend
run_one(const struct row *r, Module *m, const Options *o)
{
	double t0 = now();
	int before = o->passstats ? nodes(m) : 0;

	if (!run_row(r, m, o) || ctx_errors(m->cx))
		return PassFailed;
	if (o->passstats)
		fprintf(stderr, "pass: %s: %d nodes of %d\n", r->name, nodes(m), before);
	if (o->timereport)
		passes_report(stderr, now() - t0, r->name);
	if (o->breakpass && strcmp(o->breakpass, r->name) == 0)
		sanitize_break(m);
	if (o->sanitize && !sanitize_graph(m, r->name))
		return PassFailed;
	if (o->checking && *o->checking >= '1' && !(module_verify(m) && (!m->backward || module_verify(m->backward)) && (m->meta == NULL || m->meta->in.n == 0 || module_functional(m))))
		bug(m->cx, NOLOC, "pass %s leaves a graph that is not well formed", r->name);
	if (!pass_dump(m->cx, o, r->name, print_module, m))
		return PassFailed;
	return o->stop && strcmp(o->stop, r->name) == 0 ? PassStopped : PassDone;
}

bool
pass_ongraphs(const char *name)
{
	for (int i = 0; i < COUNT(row); i++)
		if (strcmp(row[i].name, name) == 0)
			return row[i].module || row[i].graph;
	return false;
}

static const struct row *
find(const char *name)
{
	const struct row *r = row;

	while (strcmp(r->name, name) != 0)
		r++;
	return r;
}

static bool
expanded1(Module *m)
{
	bool ok;

	m->decomp = DecompNative;
	for (int k = 0; k < m->in.n; k++) {          /* gradients that the caller gives lie row-major */
		Val *v = m->in.v[k].kind == InTangent ? m->in.v[k].val : NULL;
		if (v && v->type->kind == TyTensor)
			v->type = type_tensor(m->cx, v->type->dt, v->type->rank, v->type->dim);
	}
	ok = pass_decompose(m->main);
	for (int k = 0; ok && k < m->sub.n; k++)
		ok = pass_decompose(m->sub.v[k]);
	return ok;
}

/* What PyTorch's graphs keep (attention, complex numbers) is expanded for our kernels. */
static bool
expanded(Module *m)
{
	return expanded1(m) && (m->backward == NULL || expanded1(m->backward));
}

/* From the pass that -fstart-at names (or the first) to the last one on graphs.  The passes of
 * "post" run on the joint graph, then on what it was cut into; under -fdecomp=torch only then,
 * since PyTorch's dumps are cut as AOTAutograd made them. */
enum passend
passes_run(Module *m, const Options *o)
{
	const struct row *post = find("loaded"), *cut = find("partition");
	bool started = o->start == NULL, torch = m->train && m->decomp == DecompTorch;
	enum passend end = PassDone;

	for (const struct row *r = row; end == PassDone && r < row + COUNT(row) && (r->module || r->graph); r++) {
		started = started || strcmp(o->start, r->name) == 0;
		if (started && runs(r, o) && !(torch && r >= post && r < cut))
			end = run_one(r, m, o);
		if (r + 1 == post && started && !torch && end == PassDone && !mutations_returned(m))
			return PassFailed;
	}
	if (end == PassDone && !mutations_returned(m))
		return PassFailed;
	if (end == PassDone && m->decomp == DecompTorch && !expanded(m))
		return PassFailed;
	if (end == PassDone && m->backward && !partition_share(m))
		return PassFailed;
	for (const struct row *r = post; end == PassDone && m->backward && r < cut; r++)
		if (runs(r, o))
			end = run_one(r, m, o);
	return end;
}

/* Parameters that the caller would pass with every call have no place where they could move. */
static bool
has_values(Module *step)
{
	for (int i = 0; i < step->in.n; i++) {
		const Input *in = &step->in.v[i];
		if (in->kind == InParam && (in->weight == NULL || in->weight->data == NULL))
			return error(step->cx, NOLOC, "--optimizer: parameter %s has no value: weights are wanted behind the model", in->target), false;
	}
	return true;
}

/* The step of an optimizer over the parameters of m, ready to be lowered. */
Module *
passes_step(Module *m, const Optimizer *opt, const Options *o)
{
	Module *step = optimizer_module(m, opt);
	Options only = *o;

	bool text = o->stage && strcmp(o->stage, "step") == 0;

	if (step == NULL || !(text || has_values(step)))
		return NULL;
	module_obey(step, m);
	only.start = "decompose";
	only.stop = NULL;
	only.dump.n = 0;
	only.dumpall = only.timereport = only.passstats = false;
	return passes_run(step, &only) == PassDone ? step : NULL;
}
