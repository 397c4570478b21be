/* fxcc1 - the compiler proper: one model to one product, in one process.
 *
 * Takes the options of fxcc, which runs it.  Exit status: 0 done, 1 an error in the
 * input or in writing the output, 2 the command line, 4 a bug of ours.
 */
#include <ctype.h>
#include <fnmatch.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "config.h"
#include "cmd/declare.h"
#include "emit/emit.h"
#include "front/front.h"
#include "grad/grad.h"
#include "ir/pass/pass.h"
#include "ir/rule.h"
#include "passes.h"
#include "rt/model.h"

enum { ExitOk, ExitError, ExitUsage, ExitLimit, ExitBug };

typedef struct Job {
	Ctx *cx;
	Arena *arena;
	Options opt;
	Module *mod;
	Plan *plan[8], *backplan[8], *stepplan[8], *foldplan[8];
	const Target *target[8];
	int ntarget;
	Optimizer optim;               /* --optimizer; kind NULL: none */
	Module *step;                  /* its step, as a program */
	jmp_buf onbug;
} Job;

static bool
usage(const char *fmt, const char *s)
{
	fputs("fxcc: error: ", stderr);
	fprintf(stderr, fmt, s);
	fputc('\n', stderr);
	return false;
}

/* ---- reading ------------------------------------------------------------------- */

static Str
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

/* torch: the pass after which PyTorch prints it. */
static const struct { const char *stage, *pass, *torch; } stages[] = {
	{"graph", "verify", "verify"}, {"functional", "functionalize", "epilogue"}, {"joint", "epilogue", "epilogue"},
	{"forward", "partition", "partition"}, {"backward", "partition", "partition"}, {"post", "dce", "dce"},
};

static const char *
stage_pass(const char *stage, bool torch)
{
	for (int i = 0; i < COUNT(stages); i++)
		if (strcmp(stages[i].stage, stage) == 0)
			return torch ? stages[i].torch : stages[i].pass;
	return NULL;
}

static bool
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

/* ---- what is differentiated --------------------------------------------------------- */

static bool
matches(const StrList *globs, Str name)
{
	for (int i = 0; name && i < globs->n; i++)
		if (fnmatch(globs->v[i], name, 0) == 0)
			return true;
	return false;
}

/* Parameters that share their memory are one, under the first name: it gets the whole gradient. */
static void
tie(Module *m)
{
	for (int i = 0; i < m->in.n; i++)
		for (int k = 0; k < i; k++) {
			Input *a = &m->in.v[k], *b = &m->in.v[i];
			if (a->kind == InParam && b->kind == InParam && a->val && b->val && a->weight && b->weight && a->weight->storage &&
			    a->weight->storage == b->weight->storage && a->weight->data == b->weight->data && a->val->type == b->val->type) {
				val_replace(b->val, a->val);
				a->requires_grad |= b->requires_grad;
				a->updatable |= b->updatable;
			}
		}
}

/* What an output is a view of is not constant: whoever gets the view may write it. */
static void
alias_states(Module *m)
{
	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i];
		if ((in->kind == InParam || in->kind == InBuffer) && in->weight && in->weight->data && input_aliased(m, in)) {
			in->updatable = true;
			in->swappable = false;
		}
	}
}

/* --loss=NAME: that output, and no other, is the loss.  NAME: as in the header, or of the node. */
static bool
lossnamed(Module *m, const char *name)
{
	Text names = {.arena = ctx_arena(m->cx)};
	const Arg *list = &m->main->last->arg[0];
	bool found = false;

	for (int i = 0; i < m->out.n; i++) {
		Output *o = &m->out.v[i];
		const char *node = i < list->list.n && list->list.v[i].kind == ArgVal ? list->list.v[i].use->val->name : "";
		if (o->kind != ResUser && o->kind != ResLoss)
			continue;
		o->kind = (o->name && strcmp(o->name, name) == 0) || strcmp(node, name) == 0 ? ResLoss : ResUser;
		found |= o->kind == ResLoss;
		text_add(&names, "%s%s", names.n ? " " : "", o->name ? o->name : node);
	}
	if (!found)
		error(m->cx, NOLOC, "--loss: no output is called '%s' (%s)", name, names.s ? names.s : "there is none");
	return found;
}

/* -fdecompose=all, none, NAME,... */
static void
decompose(Module *m, const char *s)
{
	if (s == NULL)
		return;
	m->decompose = strcmp(s, "all") == 0 ? DecomposeAll : DecomposeNone;
	for (size_t n; m->decompose == DecomposeNone && strcmp(s, "none") != 0 && *s; s += n + (s[n] == ',')) {
		n = strcspn(s, ",");
		vec_push(ctx_arena(m->cx), &m->decomposed, intern(m->cx, s, n));
	}
}

/* --wrt, --loss, -fmutable: marks in the signature. */
static bool
training(Job *j)
{
	const Options *o = &j->opt;
	Module *m = j->mod;
	bool any = m->train;

	m->autocast = o->autocast ? dtype_parse(o->autocast, strlen(o->autocast)) : DtNone;
	m->train = m->train || o->train;               /* a text with tangents is a joint graph */
	m->decomp = o->decomp && strcmp(o->decomp, "torch") == 0 ? DecompTorch : DecompNative;
	decompose(m, o->decompose);
	m->keepmut = m->decomp == DecompTorch && o->keepmut != 0;
	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i];
		if (o->wrt.n && in->kind != InTangent)
			in->requires_grad = matches(&o->wrt, in->target) || matches(&o->wrt, in->name) || matches(&o->wrt, in->argname);
		any |= in->requires_grad;
		in->swappable = false;
		in->updatable = (in->kind == InParam || in->kind == InBuffer) &&
		                (o->freeze == 0 || matches(&o->mutables, in->target) || (m->train && in->requires_grad));
	}
	for (int i = 0; i < m->in.n && !m->train; i++)
		m->in.v[i].swappable = m->in.v[i].updatable;
	if (m->train)
		tie(m);
	if (o->loss && !lossnamed(m, o->loss))
		return false;
	if (m->train && !any) {
		error(m->cx, NOLOC, "--train: no input needs a gradient%s", o->wrt.n ? ": --wrt matches none" : "; say which with --wrt=GLOB");
		return false;
	}
	return true;
}

/* ---- targets ------------------------------------------------------------------------ */

static const char *
native(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
		return "x86-64-v4";
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return "x86-64-v3";
#endif
	return "x86-64-v2";
}

static bool
isc(const Options *o)
{
	const char *dot = o->out ? strrchr(o->out, '.') : NULL;

	return (o->stage && strcmp(o->stage, "c") == 0) || (!o->stage && dot && strcmp(dot, ".c") == 0);
}

static bool
targets(Job *j)
{
	const char *list = j->opt.march ? j->opt.march : "x86-64-v2,x86-64-v3,x86-64-v4";

	if (isc(&j->opt))
		list = "c99";
	while (*list) {
		size_t n = strcspn(list, ",");
		Str name = intern(j->cx, list, n);
		const Target *t = target_find(strcmp(name, "native") == 0 ? native() : name);
		if (t == NULL)
			return usage("unknown -march '%s' (x86-64-v2, x86-64-v3, x86-64-v4, native)", name);
		if (j->ntarget == COUNT(j->target))
			return usage("too many CPUs in -march=%s", j->opt.march);
		bool seen = false;
		for (int i = 0; i < j->ntarget; i++)
			seen |= j->target[i] == t;
		if (!seen)
			j->target[j->ntarget++] = t;
		list += n + (list[n] == ',');
	}
	for (int i = 1; i < j->ntarget; i++)           /* best last, by name: v2 < v3 < v4 */
		for (int k = i; k > 0 && strcmp(j->target[k - 1]->name, j->target[k]->name) > 0; k--) {
			const Target *t = j->target[k];
			j->target[k] = j->target[k - 1];
			j->target[k - 1] = t;
		}
	return true;
}

/* ---- -fassert ---------------------------------------------------------------------------- */

enum { AssertScalar = 8 };

/* WORD[,WORD...] on what is there already; scalar is, unless it is taken away.  -1: an unknown word. */
static int
asserts(const Options *o)
{
	static const struct { const char *word; int bits; } words[] = {
		{"size", FxrtAssertSize}, {"align", FxrtAssertAlign}, {"nan", FxrtAssertNan}, {"scalar", AssertScalar},
		{"all", FxrtAssertSize | FxrtAssertAlign | FxrtAssertNan | AssertScalar},
	};
	int r = AssertScalar | (o->trapnan ? FxrtAssertNan : 0);

	for (int i = 0; i < o->asserts.n; i++)
		for (const char *s = o->asserts.v[i]; *s; s += *s == ',') {
			bool no = strncmp(s, "no-", 3) == 0;
			size_t n = strcspn(s += no ? 3 : 0, ",");
			int k = 0;
			while (k < COUNT(words) && (strlen(words[k].word) != n || strncmp(s, words[k].word, n) != 0))
				k++;
			if (k == COUNT(words))
				return -1;
			r = no ? r & ~words[k].bits : r | words[k].bits;
			s += n;
		}
	return r;
}

/* ---- the back half -------------------------------------------------------------------- */

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

static const char *
output(Job *j)
{
	const Options *o = &j->opt;

	if (o->out)
		return o->out;
	if (o->stage)
		return "-";
	return arena_printf(j->arena, "%s%s", stem(j->cx, o->input.v[0]), o->object ? ".o" : ".so");
}

/* -1: no such kind */
static int
rng_kind(const Options *o)
{
	static const char *const name[] = {[RngPhilox] = "philox", [RngEager] = "eager-cpu", [RngZero] = "zero"};

	for (int i = 0; o->rng && i < COUNT(name); i++)
		if (strcmp(name[i], o->rng) == 0)
			return i;
	return o->rng ? -1 : (int)RngPhilox;
}

/* -1: no such place */
static int
weights_where(const Options *o)
{
	static const char *const name[] = {[WeightsEmbed] = "embed", [WeightsFile] = "file", [WeightsExtern] = "extern"};

	for (int i = 0; o->weights && i < COUNT(name); i++)
		if (strcmp(name[i], o->weights) == 0)
			return i;
	return o->weights ? -1 : (int)WeightsEmbed;
}

struct wrap { Ctx *cx; const EmitOptions *opt; };

static void
print_wrapper(const void *arg, Text *t)
{
	const struct wrap *w = arg;

	emit_wrapper(w->cx, w->opt, t);
}

static bool
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

static bool
stage_known(const char *s)
{
	static const char *const more[] = {"", "loops", "c", "llvm", "asm", "step"};

	for (int i = 0; i < COUNT(more); i++)
		if (strcmp(more[i], s) == 0)
			return true;
	return stage_pass(s, false) != NULL;
}

/* A text of one part, forward or backward, compiled by itself: what the parts hand on are plain
 * arguments and results. */
static void
alone(Module *m)
{
	bool part = false;

	for (int i = 0; i < m->in.n; i++)
		part |= m->in.v[i].kind == InSaved;
	for (int i = 0; i < m->out.n; i++)
		part |= m->out.v[i].kind == ResSaved;
	for (int i = 0; part && i < m->in.n; i++)
		if (m->in.v[i].kind == InSaved || m->in.v[i].kind == InTangent)
			m->in.v[i].kind = InUser;
	for (int i = 0; part && i < m->out.n; i++)
		if (m->out.v[i].kind == ResSaved || m->out.v[i].kind == ResGradParam || m->out.v[i].kind == ResGradUser)
			m->out.v[i].kind = ResUser;
}

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
	if (!training(j))
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
	alias_states(j->mod);
	if (j->mod->backward == NULL)
		alone(j->mod);
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

static bool
diagnostics(Job *j, Diag *d)
{
	const Options *o = &j->opt;
	static const struct { const char *opt; uint8_t on; } w[] = {
#define WARN(id, opt, on, doc) {opt, on},
#include "base/warn.def"
#undef WARN
	};

	*d = (Diag){.format = o->format, .nowarn = o->nowarn, .werror = o->werror,
	            .maxerrors = o->maxerrors ? atoi(o->maxerrors) : 0};
	d->color = o->color ? strcmp(o->color, "always") == 0 || (strcmp(o->color, "never") && isatty(2)) : isatty(2) && !getenv("NO_COLOR");
	d->warnstate = NEWN(j->arena, uint8_t, Nwarning);
	for (int i = 0; i < Nwarning; i++)
		d->warnstate[i] = w[i].on;
	for (int i = 0; i < o->warn.n; i++) {
		const char *s = o->warn.v[i];
		bool no = strncmp(s, "no-", 3) == 0, err = strncmp(s, "error=", 6) == 0, known = strcmp(s, "all") == 0 || strcmp(s, "extra") == 0;
		for (int k = 0; k < Nwarning; k++)
			if (strcmp(w[k].opt, s + (no ? 3 : err ? 6 : 0)) == 0 || strcmp(s, "all") == 0) {
				d->warnstate[k] = no ? 0 : err ? 2 : 1;
				known = true;
			}
		if (!known)
			return usage("unknown warning '-W%s'", s);
	}
	return true;
}

/* Options whose other values are for later versions. */
static bool
supported(const Options *o, Arena *a)
{
	const char *wrong;

	const struct { const char *opt, *got, *only; } v[] = {
		{"-fcheck", o->check, "full"},
	};

	for (int i = 0; i < COUNT(v); i++)
		if (v[i].got && strcmp(v[i].got, v[i].only) != 0) {
			fprintf(stderr, "fxcc: error: %s=%s is not supported, only %s\n", v[i].opt, v[i].got, v[i].only);
			return false;
		}
	if (o->weights && weights_where(o) < 0)
		return usage("unknown -fweights=%s (embed, file, extern)", o->weights);
	if (o->weights && weights_where(o) != WeightsEmbed && o->out && strcmp(o->out, "-") == 0 && !o->stage)
		return usage("-fweights=%s writes a file beside the product: -o FILE is wanted", o->weights);
	if (o->decomp && strcmp(o->decomp, "native") && strcmp(o->decomp, "torch"))
		return usage("unknown -fdecomp=%s (native, torch)", o->decomp);
	if (rng_kind(o) < 0)
		return usage("unknown -frng=%s (philox, eager-cpu, zero)", o->rng);
	if (o->constfold && strcmp(o->constfold, "compile") && strcmp(o->constfold, "load"))
		return usage("unknown -fconst-fold=%s (compile, load)", o->constfold);
	if (o->constfold && strcmp(o->constfold, "load") == 0 && o->train)
		return usage("-fconst-fold=%s is for inference", o->constfold);
	if (o->autocast && strcmp(o->autocast, "bf16") && strcmp(o->autocast, "f16"))
		return usage("unknown --autocast=%s (bf16, f16)", o->autocast);
	if (o->keepmut == 0 && o->train && !o->stop && !(o->stage && stage_pass(o->stage, false)))
		return usage("-fno-keep-input-mutations is for libraries without backward%s", "");
	if (o->sanitize && strcmp(o->sanitize, "graph"))
		return usage("unknown -fsanitize=%s (graph)", o->sanitize);
	if (o->breakpass && !pass_ongraphs(o->breakpass))
		return usage("-fdebug-break-pass=%s: there is no such pass on graphs (--help=passes)", o->breakpass);
	if (o->breakpass && !o->sanitize)
		return usage("-fdebug-break-pass=%s is for -fsanitize=graph", o->breakpass);
	if (asserts(o) < 0)
		return usage("unknown -fassert=%s (size, nan, align, scalar, all, no-...)", o->asserts.v[o->asserts.n - 1]);
	if (!partition_known(o, a, &wrong))
		return usage("%s", wrong);
	if (o->target && strncmp(o->target, "x86_64", 6) != 0)
		return usage("unsupported target '%s' (x86_64-linux-gnu; use a .c product elsewhere)", o->target);
	return true;
}

static bool
optimizer(Job *j)
{
	const Options *o = &j->opt;
	const char *wrong;

	if (o->optimizer == NULL)
		return !o->stage || strcmp(o->stage, "step") != 0 || usage("-S=step shows the step of an --optimizer%s", "");
	if (!o->train)
		return usage("--optimizer=%s is for --train", o->optimizer);
	if (o->joint || (o->partition && strcmp(o->partition, "none") == 0))
		return usage("--optimizer=%s is for a library of forward and backward, not for one function", o->optimizer);
	wrong = optimizer_parse(j->cx, o->optimizer, &j->optim);
	return wrong == NULL || usage("--optimizer: %s", wrong);
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
	if (j->opt.stage && !stage_known(j->opt.stage))
		return usage("unknown stage '-S=%s'", j->opt.stage), ExitUsage;
	if (j->opt.threads && strcmp(j->opt.threads, "none") && strcmp(j->opt.threads, "callback") && strcmp(j->opt.threads, "pthread"))
		return usage("unknown -fthreads=%s (none, callback, pthread)", j->opt.threads), ExitUsage;
	if (!supported(&j->opt, j->arena) || !diagnostics(j, &d))
		return ExitUsage;
	signals();
	prctl(PR_SET_PDEATHSIG, SIGTERM);          /* a driver that is killed takes us along */
	j->cx = ctx_new(&d);
	ctx_onbug(j->cx, onbug, j);
	if (setjmp(j->onbug)) {
		out_cleanup_all();
		return ExitBug;
	}
	if (!targets(j) || !optimizer(j))
		return ExitUsage;
	rc = compile(j) && ctx_errors(j->cx) == 0 ? ExitOk : ctx_overlimit(j->cx) ? ExitLimit : ExitError;
	diag_flush(j->cx);
	out_cleanup_all();
	if (j->opt.memreport)
		fprintf(stderr, " arena            %8.1f MiB\n", (double)arena_bytes(ctx_arena(j->cx)) / (1 << 20));
	return rc;
}
