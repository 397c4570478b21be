/* known.c - which values the options may have; anything else is a usage error, before any file is read. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmd/job.h"
#include "rt/model.h"

bool
usage(const char *fmt, const char *s)
{
	fputs("fxcc: error: ", stderr);
	fprintf(stderr, fmt, s);
	fputc('\n', stderr);
	return false;
}

/* ---- stages ----------------------------------------------------------------------- */

/* torch: the pass after which PyTorch prints it. */
static const struct { const char *stage, *pass, *torch; } stages[] = {
	{"graph", "verify", "verify"}, {"functional", "functionalize", "epilogue"}, {"joint", "epilogue", "epilogue"},
	{"forward", "partition", "partition"}, {"backward", "partition", "partition"}, {"post", "dce", "dce"},
};

const char *
stage_pass(const char *stage, bool torch)
{
	for (int i = 0; i < COUNT(stages); i++)
		if (strcmp(stages[i].stage, stage) == 0)
			return torch ? stages[i].torch : stages[i].pass;
	return NULL;
}

static bool
stage_known(const char *s)
{
	static const char *const more[] = {"", "loops", "c", "llvm", "asm", "step"};

	for (int i = 0; i < COUNT(more); i++)
		if (strcmp(more[i], s) == 0)
			return true;
	return stage_pass(s, false) != NULL;
}

/* ---- words ------------------------------------------------------------------------ */

int
rng_kind(const Options *o)
{
	static const char *const name[] = {[RngPhilox] = "philox", [RngEager] = "eager-cpu", [RngZero] = "zero"};

	for (int i = 0; o->rng && i < COUNT(name); i++)
		if (strcmp(name[i], o->rng) == 0)
			return i;
	return o->rng ? -1 : (int)RngPhilox;
}

int
weights_where(const Options *o)
{
	static const char *const name[] = {[WeightsEmbed] = "embed", [WeightsFile] = "file", [WeightsExtern] = "extern"};

	for (int i = 0; o->weights && i < COUNT(name); i++)
		if (strcmp(name[i], o->weights) == 0)
			return i;
	return o->weights ? -1 : (int)WeightsEmbed;
}

/* ---- -fassert ---------------------------------------------------------------------------- */

/* WORD[,WORD...] on what is there already; scalar is, unless it is taken away.  -1: an unknown word. */
int
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

bool
known_targets(Job *j)
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

/* ---- the command line ---------------------------------------------------------------- */

bool
known_diagnostics(Job *j, Diag *d)
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

bool
known_options(const Options *o, Arena *a)
{
	const char *wrong;

	if (o->check && strcmp(o->check, "full"))
		return usage("-fcheck=%s is not supported, only full", o->check);
	if (o->stage && !stage_known(o->stage))
		return usage("unknown stage '-S=%s'", o->stage);
	if (o->threads && strcmp(o->threads, "none") && strcmp(o->threads, "callback") && strcmp(o->threads, "pthread"))
		return usage("unknown -fthreads=%s (none, callback, pthread)", o->threads);
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

bool
known_optimizer(Job *j)
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
