/* back.c - from graphs to the product: plans for each CPU, then emit.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmd/job.h"
#include "ir/pass/pass.h"

static int
jobs(const Options *o)
{
	int n = o->jobs && *o->jobs ? atoi(o->jobs) : (int)sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > 16 ? 16 : n;
}

/* Workers that arenas are planned for. */
static int
threads(const Options *o)
{
	return o->threads && strcmp(o->threads, "none") != 0 ? 16 : 1;
}

static void
print_plan(const void *p, Text *t)
{
	plan_print(p, t);
}

/* What reinplace did before the plan. */
static void
print_inplace(const void *plan, Text *t)
{
	const Plan *p = plan;

	text_put(t, p->inplace.s ? p->inplace.s : "", p->inplace.n);
	plan_print(p, t);
}

/* What -fdecomp=torch keeps for texts has no code of its own. */
static bool
native_ops(Module *m)
{
	bool torch = m->decomp == DecompTorch;

	m->decomp = DecompNative;
	for (int i = 0; torch && i < m->sub.n; i++)
		if (!pass_expand(m->sub.v[i]) || !pass_replace_random(m->sub.v[i]))
			return false;
	return !torch || (pass_expand(m->main) && pass_replace_random(m->main));
}

/* -fno-keep-input-mutations: nothing of the caller's is written; new values come before the results. */
static void
mutations_are_results(Module *m)
{
	for (int i = 0; i < m->out.n; i++) {
		Output *o = &m->out.v[i];
		if (o->kind != ResUserMut && o->kind != ResBufferMut && o->kind != ResParamMut)
			continue;
		o->kind = ResUser;
		o->name = intern_printf(m->cx, "%s_after", o->target);
	}
}

static bool
lower(Job *j)
{
	const Options *o = &j->opt;

	for (Module *m = j->mod; m; m = m->backward)
		if (!native_ops(m))
			return false;
	emit_views(j->mod, o->copies == 1 || o->keepmut == 0);
	if (o->keepmut == 0)
		mutations_are_results(j->mod);
	if (!pass_dce(j->mod->main))
		return false;
	emit_layout(j->mod, j->step, o->donate != 0);
	for (int i = 0; i < j->ntarget; i++) {
		LowerOptions lo = {.target = j->target[i], .threads = threads(o), .fastmath = o->fastmath == 1,
		                   .nopack = o->pack == 0, .maxrounds = o->maxrounds ? atoll(o->maxrounds) : 0, .noscalarchecks = !(asserts(o) & AssertScalar),
		                   .novector = pass_skipped(o, "vectorise"), .noreinplace = pass_skipped(o, "reinplace"),
		                   .info = o->optinfo ? stderr : NULL};
		j->plan[i] = lower_graph(j->mod->main, &lo);
		if (j->plan[i] && j->mod->backward)
			j->backplan[i] = lower_graph(j->mod->backward->main, &lo);
		if (j->plan[i] && j->step)
			j->stepplan[i] = lower_graph(j->step->main, &lo);
		if (j->plan[i] && j->mod->fold)
			j->foldplan[i] = lower_graph(j->mod->fold->main, &lo);
		if (j->plan[i] == NULL || (j->mod->backward && j->backplan[i] == NULL) || (j->step && j->stepplan[i] == NULL) || (j->mod->fold && j->foldplan[i] == NULL) || ctx_errors(j->cx))
			return false;
	}
	/* One walk makes them all, so their dumps are the same text. */
	static const struct { const char *pass; void (*print)(const void *, Text *); } dump[] = {
		{"fuse", print_plan}, {"loops", print_plan}, {"vectorise", print_plan}, {"reinplace", print_inplace}, {"plan", print_plan},
	};
	for (int i = 0; i < COUNT(dump); i++)
		if (!pass_dump(j->cx, o, dump[i].pass, dump[i].print, j->plan[j->ntarget - 1]))
			return false;
	return true;
}

static bool
stops_at_plan(const Options *o)
{
	return o->stop && (strcmp(o->stop, "fuse") == 0 || strcmp(o->stop, "loops") == 0 || strcmp(o->stop, "vectorise") == 0 || strcmp(o->stop, "plan") == 0);
}

static enum product
product(const Options *o)
{
	const char *dot = o->out ? strrchr(o->out, '.') : NULL;

	if (o->stage && *o->stage)
		return strcmp(o->stage, "c") == 0 ? ProductC : strcmp(o->stage, "asm") == 0 ? ProductAsm : ProductLLVM;
	if (o->object || (dot && strcmp(dot, ".o") == 0))
		return ProductObj;
	if (dot && strcmp(dot, ".a") == 0)
		return ProductArchive;
	return dot && strcmp(dot, ".c") == 0 ? ProductC : ProductSo;
}

static Str
prefix(Job *j)
{
	const char *s = j->opt.prefix ? j->opt.prefix : j->opt.out && strcmp(j->opt.out, "-") ? stem(j->cx, j->opt.out) : stem(j->cx, j->opt.input.v[0]);
	char *t = arena_printf(j->arena, "%s%s", isdigit((unsigned char)*s) || *s == '\0' || *s == '-' ? "m" : "", s);

	for (char *p = t; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			*p = '_';
	return intern_str(j->cx, t);
}

const char *
output(Job *j)
{
	const Options *o = &j->opt;

	if (o->out)
		return o->out;
	if (o->stage)
		return "-";
	return arena_printf(j->arena, "%s%s", stem(j->cx, o->input.v[0]), o->object ? ".o" : ".so");
}

struct wrap { Ctx *cx; const EmitOptions *opt; };

static void
print_wrapper(const void *arg, Text *t)
{
	const struct wrap *w = arg;

	emit_wrapper(w->cx, w->opt, t);
}

bool
back_half(Job *j)
{
	const Options *o = &j->opt;
	Text t = {.arena = j->arena};

	if (!module_found(j->mod) || !lower(j))
		return false;
	if (stops_at_plan(o) || (o->stage && (*o->stage == '\0' || strcmp(o->stage, "loops") == 0))) {
		plan_print(j->plan[j->ntarget - 1], &t);
		if (j->mod->backward)
			plan_print(j->backplan[j->ntarget - 1], &t);
		if (j->step)
			plan_print(j->stepplan[j->ntarget - 1], &t);
		if (j->mod->fold)
			plan_print(j->foldplan[j->ntarget - 1], &t);
		return write_text(j, &t);
	}
	EmitOptions eo = {
		.product = product(o), .prefix = prefix(j), .command = o->command,
		.target = j->target, .plan = j->plan, .backward = j->mod->backward ? j->backplan : NULL,
		.step = j->step ? j->stepplan : NULL, .lr = j->optim.lr, .fold = j->mod->fold ? j->foldplan : NULL, .ntarget = j->ntarget,
		.optlevel = o->opt && *o->opt == '0' ? 0 : o->opt && *o->opt == '1' ? 1 : 2, .jobs = jobs(o),
		.weights = (enum weights)weights_where(o),
		.threads = o->threads && strcmp(o->threads, "pthread") == 0, .debug = o->debug != NULL, .checks = !o->check || strcmp(o->check, "none") != 0,
		.noaliascheck = o->checkalias == 0, .asserts = asserts(o) & ~AssertScalar,
		.noheader = o->header_on == 0 || o->stage, .header = o->header,
		.savetemps = o->savetemps ? *o->savetemps ? o->savetemps : "." : NULL, .verbose = o->verbose,
	};
	struct wrap w = {j->cx, &eo};
	return pass_dump(j->cx, o, "wrapper", print_wrapper, &w) && emit(j->cx, &eo, output(j));
}
