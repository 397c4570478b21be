/* fxcc1 - the compiler proper: one model to one product, in one process.
 *
 * Takes the options of fxcc, which runs it.  Exit status: 0 done, 1 an error in the
 * input or in writing the output, 2 the command line, 4 a bug of ours.
 */
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "config.h"
#include "cmd/declare.h"
#include "cmd/job.h"
#include "front/front.h"
#include "ir/pass/pass.h"
#include "ir/rule.h"

/* ---- reading ------------------------------------------------------------------- */

Str
stem(Ctx *cx, const char *path)
{
	const char *s = strrchr(path, '/'), *dot;

	s = s ? s + 1 : path;
	dot = strchr(s, '.');
	return intern(cx, s, dot && dot > s ? (size_t)(dot - s) : strlen(s));
}

static bool
open_input(Job *j, const char *path, File *f)
{
	int64_t most = j->opt.maxinput ? size_of(j->opt.maxinput) : 0;

	if (!file_read(j->cx, path, f))
		return false;
	if (most == 0 || f->size <= (uint64_t)most)
		return true;
	error_limit(j->cx, NOLOC, "%s: %zu bytes, --max-input allows %lld", path, f->size, (long long)most);
	return false;
}

/* -fdim=SYM=N and -fdim=SYM=LO..HI */
static bool
dims(Job *j)
{
	for (int i = 0; i < j->opt.dim.n; i++) {
		const char *s = j->opt.dim.v[i], *eq = strchr(s, '=');
		long long lo, hi;
		int n = eq ? sscanf(eq + 1, "%lld..%lld", &lo, &hi) : 0;
		if (n < 1) {
			error(j->cx, NOLOC, "-fdim=%s: SYM=N or SYM=LO..HI is wanted", s);
			return false;
		}
		if (!module_dim(j->mod, intern(j->cx, s, (size_t)(eq - s)), lo, n == 2 ? hi : lo))
			return false;
	}
	return true;
}

static bool
read_input(Job *j)
{
	const Options *o = &j->opt;
	ReadOptions ro = {.form = o->form, .model = o->model, .section = o->section, .verbose = o->verbose,
	                  .maxinput = o->maxinput ? size_of(o->maxinput) : 0,
	                  .type = (const char *const *)o->type.v, .ntype = o->type.n, .scalar = (const char *const *)o->scalar.v, .nscalar = o->scalar.n,
	                  .external = (const char *const *)o->external.v, .nextern = o->external.n, .haveweights = o->input.n > 1};
	File f;

	if (!open_input(j, o->input.v[0], &f))
		return false;
	j->mod = read_model(j->cx, &f, &ro);
	if (j->mod == NULL)
		return false;
	for (int i = 0; i < j->mod->weight.n && j->mod->weightfile.n == 0; i++)
		if (j->mod->weight.v[i]->data)             /* an archive holds its own */
			vec_push(j->arena, &j->mod->weightfile, intern_str(j->cx, f.name));
	for (int i = 1; i < o->input.n; i++)
		if (!open_input(j, o->input.v[i], &f) || !read_weights(j->cx, j->mod, &f, &ro))
			return false;
	return declare_inputs(j->cx, j->mod, o) && dims(j) && ctx_errors(j->cx) == 0;
}

/* ---- texts of stages -------------------------------------------------------------- */

bool
write_text(Job *j, const Text *t)
{
	Out *out = out_open(j->cx, j->opt.out ? j->opt.out : "-");

	return out && out_write(out, t->s ? t->s : "", t->n) && out_commit(j->cx, out);
}

/* Weights are named as seen from where the text goes: by full path if that is another folder. */
static void
name_weights(Job *j)
{
	char full[PATH_MAX];

	if (j->opt.out == NULL || strchr(j->opt.out, '/') == NULL)
		return;
	for (int i = 0; i < j->mod->weightfile.n; i++)
		if (realpath(j->mod->weightfile.v[i], full))
			j->mod->weightfile.v[i] = intern_str(j->cx, full);
}

static bool
write_module(Job *j)
{
	Text t = {.arena = j->arena};

	const char *stage = j->opt.stage ? j->opt.stage : "";

	name_weights(j);
	if (j->mod->backward == NULL || strcmp(stage, "backward") != 0)
		module_print(j->mod, &t);
	if (j->mod->backward && strcmp(stage, "forward") != 0)
		module_print(j->mod->backward, &t);
	return write_text(j, &t);
}

/* The step of the optimizer (-S=step). */
static bool
write_step(Job *j)
{
	Text t = {.arena = j->arena};

	module_print(j->step, &t);
	return write_text(j, &t);
}

static void
print_meta(const void *m, Text *t)
{
	meta_print(m, t);
}

/* The record of aliases and mutations; what the partition adds to it is found out for it. */
static bool
write_meta(Job *j)
{
	Options o = j->opt;

	if (j->mod->meta == NULL)
		return true;
	if (o.stop && strcmp(o.stop, "epilogue") == 0 && j->mod->train) {
		o.dump.n = 0, o.dumpall = false, o.timereport = false;
		o.start = o.stop = "partition";
		if (passes_run(j->mod, &o) == PassFailed)
			return false;
	}
	return pass_dump(j->cx, &j->opt, "meta", print_meta, j->mod);
}

/* ---- make rules -------------------------------------------------------------------------- */

static const char *
readfile(const Options *o, int i)
{
	return i < o->input.n ? o->input.v[i] : o->patterns.v[i - o->input.n];
}

static bool
depfile(Job *j)
{
	const Options *o = &j->opt;
	Text t = {.arena = j->arena};
	const char *out = output(j);

	if (!o->md)
		return true;
	text_add(&t, "%s:", o->mt ? o->mt : out);
	for (int i = 0; i < o->input.n + o->patterns.n; i++)
		text_add(&t, " %s", readfile(o, i));
	text_add(&t, "\n");
	for (int i = 0; o->mp && i < o->input.n + o->patterns.n; i++)
		text_add(&t, "\n%s:\n", readfile(o, i));
	Out *f = out_open(j->cx, o->mf ? o->mf : arena_printf(j->arena, "%s.d", out));
	return f && out_write(f, t.s, t.n) && out_commit(j->cx, f);
}

/* ---- lists --------------------------------------------------------------------------------- */

static const char *const routename[] = {"none", "value", "expand", "extern", "view", "functional", "special"};

static int
print_ops(void)
{
	int count[COUNT(routename)] = {0};

	for (int i = 0; i < noptab; i++) {
		enum route r = op_route(&optab[i]);
		count[r]++;
		printf("%-60s %s\n", optab[i].name, routename[r]);
	}
	printf("%d overloads:", noptab);
	for (int r = 1; r < COUNT(routename); r++)
		if (count[r])
			printf(" %d %s", count[r], routename[r]);
	putchar('\n');
	return ExitOk;
}

static void
print_graph_ops(Job *j)
{
	for (int i = 0; i < noptab; i++) {
		int n = 0;
		FOREACH_NODE(j->mod->main, d)
			n += d->op == &optab[i];
		if (n)
			fprintf(stderr, "%6d %-50s %s\n", n, optab[i].name, routename[op_route(&optab[i])]);
	}
}

/* ---- the whole --------------------------------------------------------------------------------- */

/* --patterns and -fno-pattern */
static bool
patterns(Job *j)
{
	const Options *o = &j->opt;
	File f;

	for (int i = 0; i < o->patterns.n; i++)
		if (!open_input(j, o->patterns.v[i], &f) || !rules_load(j->mod, &f, (const char *const *)o->external.v, o->external.n))
			return false;
	for (int i = 0; i < o->patternsoff.n; i++) {
		bool known = false;
		for (int k = 0; k < rule_count(j->mod); k++)
			known |= strcmp(rule_number(j->mod, k)->name, o->patternsoff.v[i]) == 0;
		if (!known)
			return error(j->cx, NOLOC, "-fno-pattern=%s: there is no such rule", o->patternsoff.v[i]), false;
		vec_push(j->arena, &j->mod->rulesoff, o->patternsoff.v[i]);
	}
	return true;
}

static bool
compile(Job *j)
{
	Options *o = &j->opt;

	if (!read_input(j))
		return false;
	if (o->graphops)
		print_graph_ops(j);
	if (!mark_training(j))
		return false;
	if (o->stage && stage_pass(o->stage, j->mod->decomp == DecompTorch))
		o->stop = stage_pass(o->stage, j->mod->decomp == DecompTorch);
	bool post = j->mod->train && o->stop && strcmp(o->stop, "dce") == 0;    /* after the cut, not before it */
	if (post)
		o->stop = NULL, vec_push(j->arena, &o->skip, "constfold");
	if (o->stop)                                   /* a text has no place for values made while compiling */
		vec_push(j->arena, &o->skip, "constfold");
	j->mod->fastmath = o->fastmath == 1;
	j->mod->rng = (enum rng)rng_kind(o);
	j->mod->foldlater = o->constfold && strcmp(o->constfold, "load") == 0;
	for (int i = 0; i < o->skip.n; i++)
		vec_push(j->arena, &j->mod->rulesoff, o->skip.v[i]);
	if (!patterns(j))
		return false;
	enum passend end = passes_run(j->mod, o);
	if (o->optinfo || o->passstats)
		simplify_report(j->mod, stderr, o->passstats ? "rule" : "simplify");
	if (o->optinfo)
		attention_report(j->cx, stderr, strcmp(o->optinfo, "") == 0 || strcmp(o->optinfo, "-attention") == 0, strcmp(o->optinfo, "-missed") == 0);
	switch (end) {
	case PassFailed:  return false;
	case PassStopped: return write_module(j) && write_meta(j);
	case PassDone:    break;
	}
	mark_states(j->mod);
	if (!write_meta(j))
		return false;
	if (post)
		return write_module(j);
	if (j->optim.kind && (j->step = passes_step(j->mod, &j->optim, o)) == NULL)
		return false;
	if (o->stage && strcmp(o->stage, "step") == 0)
		return write_step(j);
	if (j->step && !j->mod->backward) {
		error(j->cx, NOLOC, "--optimizer: the program has no backward part");
		return false;
	}
	return back_half(j) && depfile(j);
}

static void
onbug(void *arg)
{
	longjmp(((Job *)arg)->onbug, 1);
}

/* The linker may be at work on the output: what it writes goes after it has ended. */
static void
onsignal(int sig)
{
	while (waitpid(-1, NULL, 0) > 0)
		;
	out_cleanup_all();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void
signals(void)
{
	static const int sig[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

	for (int i = 0; i < COUNT(sig); i++)
		signal(sig[i], onsignal);
	signal(SIGPIPE, SIG_IGN);
}

static int
early(const Options *o)
{
	if (o->version)
		printf("fxcc %s\n", PACKAGE_VERSION);
	else if (o->dumpversion)
		puts(PACKAGE_VERSION);
	else if (o->dumpmachine)
		puts("x86_64-linux-gnu");
	else if (o->help)
		options_help(stdout, o->help);
	else if (o->printops)
		return print_ops();
	else
		return -1;
	return ExitOk;
}

int
main(int argc, char **argv)
{
	static Job job;
	Job *j = &job;
	Diag d;
	int rc;

	j->arena = arena_new();
	if (!options_parse(j->arena, argc, argv, &j->opt))
		return ExitUsage;
	if ((rc = early(&j->opt)) >= 0)
		return rc;
	if (j->opt.input.n == 0)
		return usage("no input file%s", ""), ExitUsage;
	if (!known_options(&j->opt, j->arena) || !known_diagnostics(j, &d))
		return ExitUsage;
	signals();
	prctl(PR_SET_PDEATHSIG, SIGTERM);          /* a driver that is killed takes us along */
	j->cx = ctx_new(&d);
	ctx_onbug(j->cx, onbug, j);
	if (setjmp(j->onbug)) {
		out_cleanup_all();
		return ExitBug;
	}
	if (!known_targets(j) || !known_optimizer(j))
		return ExitUsage;
	rc = compile(j) && ctx_errors(j->cx) == 0 ? ExitOk : ctx_overlimit(j->cx) ? ExitLimit : ExitError;
	diag_flush(j->cx);
	out_cleanup_all();
	if (j->opt.memreport)
		fprintf(stderr, " arena            %8.1f MiB\n", (double)arena_bytes(ctx_arena(j->cx)) / (1 << 20));
	return rc;
}
