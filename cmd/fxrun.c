/* fxrun - call a compiled library, or interpret a model.
 *
 * Exit status: 0 right, 1 wrong numbers or an error, 2 usage, 3 the library cannot
 * be loaded.  No LLVM inside: this program goes where the libraries go.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "case.h"
#include "config.h"
#include "fxrun.h"

static int
usage(const char *fmt, const char *arg)
{
	if (fmt) {
		fputs("fxrun: ", stderr);
		fprintf(stderr, fmt, arg);
		fputc('\n', stderr);
	}
	fputs("usage: fxrun [options] LIB.so [INPUT...]\n"
	      "       fxrun --interpret [options] MODEL [INPUT...]\n"
	      "       fxrun LIB.so --case DIR|PACK#ID\n"
	      "INPUT: FILE.npy, NAME=FILE.npy, an integer, or rand, zeros, arange (the last one fills the rest)\n"
	      "  -o PREFIX            write PREFIX_NAME.npy for every output; FILE.npy for the only one\n"
	      "  --expect Y.npy ...   compare the outputs, in order, with these\n"
	      "  --rtol=R --atol=A    how far they may differ\n"
	      "  --case DIR           inputs and answers from a case\n"
	      "  --info               say what the library holds, run nothing\n"
	      "  --grad               backward too: gradients are further outputs grad_NAME; tangents are g_OUT=FILE, else 1 for a number\n"
	      "  --bench[=SECONDS]    time it (1 second)\n"
	      "  --threads=N          on a pool of N threads (1)\n"
	      "  --seed=S             of rand, and of the random numbers that the model draws\n"
	      "  --dim=SYM=N          a free size, where no file gives it\n"
	      "  --interpret          MODEL is a graph: evaluate it with the reference interpreter\n"
	      "  --f64                ... with every float as double\n"
	      "  --weights=FILE       ... values of its parameters and buffers\n"
	      "  --type=NAME=TYPE     ... type of an input, as -ftype= of fxcc\n"
	      "  -q                   print nothing about outputs\n", stderr);
	return ExitUsage;
}

/* The value of --name=V or --name V. */
static const char *
value(char **argv, int *i, const char *name)
{
	size_t n = strlen(name);

	if (strncmp(argv[*i], name, n) != 0)
		return NULL;
	if (argv[*i][n] == '=')
		return argv[*i] + n + 1;
	if (argv[*i][n] == '\0' && argv[*i + 1])
		return argv[++*i];
	return NULL;
}

static bool
number(const char *s, double *d)
{
	char *end;

	*d = strtod(s, &end);
	return end != s && *end == '\0' && *d >= 0;
}

static bool
flag(Run *r, const char *s)
{
	static const struct { const char *name; size_t at; } flags[] = {
		{"--info", offsetof(Run, info)}, {"--bench", offsetof(Run, bench)}, {"--f64", offsetof(Run, f64)},
		{"--interpret", offsetof(Run, interpret)}, {"--grad", offsetof(Run, grad)}, {"-q", offsetof(Run, quiet)},
	};

	for (int i = 0; i < COUNT(flags); i++)
		if (strcmp(flags[i].name, s) == 0)
			return *(bool *)((char *)r + flags[i].at) = true;
	return false;
}

static bool
option(Run *r, char **argv, int *i)
{
	Arena *a = ctx_arena(r->cx);
	const char *v;
	double d = 0;

	if (flag(r, argv[*i]))
		return true;
	if ((v = value(argv, i, "--expect"))) {
		vec_push(a, &r->expect, v);
		while (argv[*i + 1] && argv[*i + 1][0] != '-')
			vec_push(a, &r->expect, argv[++*i]);
	} else if ((v = value(argv, i, "--rtol")))
		return number(v, &r->rtol);
	else if ((v = value(argv, i, "--atol")))
		return number(v, &r->atol);
	else if (strncmp(argv[*i], "--bench=", 8) == 0)
		return r->bench = number(argv[*i] + 8, &r->seconds);
	else if ((v = value(argv, i, "--threads"))) {
		bool ok = number(v, &d) && d >= 1 && d <= 1024;
		r->threads = ok ? (int)d : 1;
		return ok;
	} else if ((v = value(argv, i, "--seed"))) {
		r->seed = strtoull(v, NULL, 0);
		r->seeded = true;
	} else if ((v = value(argv, i, "--case")))
		r->cases = v;
	else if ((v = value(argv, i, "--weights")))
		vec_push(a, &r->weights, v);
	else if ((v = value(argv, i, "--type")))
		vec_push(a, &r->type, v);
	else if ((v = value(argv, i, "--dim")))
		vec_push(a, &r->dim, v);
	else if (strcmp(argv[*i], "-o") == 0 && argv[*i + 1])
		r->out = argv[++*i];
	else
		return false;
	return true;
}

static int
run_case(Run *r)
{
	CaseList list = {0};
	char why[256] = "";
	int failed = 0;

	if (!cases_find(r->cx, r->cases, r->grad, &list) || list.n == 0) {
		fprintf(stderr, "fxrun: %s: no case there\n", r->cases);
		return ExitWrong;
	}
	for (int i = 0; i < list.n; i++) {
		bool ok = caselib_run(r->model, list.v[i], why, sizeof why);
		failed += !ok;
		printf("%s %s%s%s\n", ok ? "PASS" : "FAIL", list.v[i]->id, *why ? " " : "", why);
	}
	return failed ? ExitWrong : ExitRight;
}

Slot
info_slot(const fxcc_tensor_info *t)
{
	Slot s = {.name = t->name, .dt = artifact_dtype(t->dtype), .rank = t->ndim, .isint = t->kind == FXCC_SIZE};

	for (int d = 0; d < t->ndim && d < MaxRank; d++) {
		s.dim[d] = t->dim[d].value;
		s.lo[d] = t->dim[d].lo;
		s.sym[d] = t->dim[d].sym;
	}
	return s;
}

Tensor
dl_tensor(const DLTensor *t)
{
	Tensor x = {.dt = artifact_dtype(t->dtype), .rank = t->ndim, .data = t->data};

	for (int d = 0; d < t->ndim; d++)
		x.dim[d] = t->shape[d];
	x.bytes = (size_t)tensor_numel(&x) * dtypeinfo[x.dt].bytes;
	return x;
}

static bool
give_inputs(Run *r, Call *c)
{
	int n = c->m->nin;
	Slot *slot = NEWN(ctx_arena(r->cx), Slot, n + 1);
	Tensor *in = NEWN(ctx_arena(r->cx), Tensor, n + 1);

	for (int i = 0; i < n; i++)
		slot[i] = info_slot(&c->m->in[i]);
	if (!run_inputs(r, slot, n, in))
		return false;
	for (int i = 0; i < n; i++) {
		DLDataType d = c->m->in[i].dtype;
		if (in[i].dt != slot[i].dt) {
			fprintf(stderr, "fxrun: %s is %s, the library takes %s\n", slot[i].name, dtypeinfo[in[i].dt].text, dtypeinfo[slot[i].dt].text);
			return false;
		}
		c->in[i] = artifact_tensor(d, in[i].rank, in[i].dim, NULL, in[i].bytes);
		memcpy(c->in[i]->data, in[i].data, in[i].bytes);
	}
	return true;
}

/* Outputs, then what the call wrote elsewhere: inputs and buffers. */
static int
take_outputs(Run *r, const Call *c)
{
	const fxcc_module *m = c->m;
	int max = m->nout + m->nin + m->nstate + m->ngrad, n = m->nout, rc;
	Slot *slot = NEWN(ctx_arena(r->cx), Slot, max + 1);
	Tensor *t = NEWN(ctx_arena(r->cx), Tensor, max + 1);

	for (int i = 0; i < m->nout; i++) {
		slot[i] = info_slot(&m->out[i]);
		t[i] = dl_tensor(c->out[i]);
	}
	if (r->grad)
		n = take_gradients(r, c, slot, t, n);
	rc = run_outputs(r, slot, t, n);
	for (int i = 0; r->out && i < m->nin; i++)
		if (m->in[i].flags & (FXCC_WRITTEN | FXCC_RESHAPED)) {
			t[n] = dl_tensor(call_after(c, i));
			if (!npy_write(r->cx, arena_printf(ctx_arena(r->cx), "%s_%s.npy", r->out, m->in[i].name), &t[n++]))
				return ExitWrong;
		}
	for (int i = 0; r->out && i < m->nstate; i++) {
		Slot s = info_slot(&m->state[i]);
		t[n] = (Tensor){.dt = s.dt, .rank = s.rank, .data = m->state_data(c->ctx, i)};
		memcpy(t[n].dim, s.dim, sizeof s.dim);
		t[n].bytes = (size_t)tensor_numel(&t[n]) * dtypeinfo[s.dt].bytes;
		if (!npy_write(r->cx, arena_printf(ctx_arena(r->cx), "%s_%s.npy", r->out, s.name), &t[n++]))
			return ExitWrong;
	}
	return rc;
}

/* Words that name tangents are no inputs. */
static Words
take_words(Run *r, const fxcc_module *m)
{
	Words in = {0}, tangents = {0};

	for (int i = 0; i < r->in.n; i++) {
		size_t n = strcspn(r->in.v[i], "=");
		bool is = false;
		for (int k = 0; r->grad && artifact_trains(m) && r->in.v[i][n] && k < m->ntangent; k++)
			is |= strlen(m->tangent[k].name) == n && strncmp(m->tangent[k].name, r->in.v[i], n) == 0;
		if (is)
			vec_push(ctx_arena(r->cx), &tangents, r->in.v[i]);
		else
			vec_push(ctx_arena(r->cx), &in, r->in.v[i]);
	}
	r->in = in;
	return tangents;
}

static int
run_library(Run *r)
{
	char why[512] = "";
	const fxcc_module *m = artifact_load(r->model, why, sizeof why);
	Call c;

	if (m == NULL) {
		fprintf(stderr, "fxrun: %s\n", why);
		return ExitLoad;
	}
	if (r->info)
		return module_info(m), ExitRight;
	call_new(&c, m, r->threads > 1 ? pool_new(r->threads) : NULL);
	if (r->bench && r->in.n == 0)
		vec_push(ctx_arena(r->cx), &r->in, "rand");
	Words tangents = take_words(r, m);
	if (!give_inputs(r, &c))
		return ExitWrong;
	r->in = tangents;
	if (!call_prepare(&c, why, sizeof why) || (r->seeded && m->size > offsetof(fxcc_module, rng) && m->seed(c.ctx, r->seed, 0, NULL)) ||
	    !(r->grad ? run_train(r, &c, why, sizeof why) : call_forward(&c, why, sizeof why))) {
		fprintf(stderr, "fxrun: %s\n", why);
		return ExitWrong;
	}
	if (r->bench)
		return bench(&c, r->seconds < 0 ? 1 : r->seconds);
	return take_outputs(r, &c);
}

int
main(int argc, char **argv)
{
	Run r = {.cx = ctx_new(NULL), .rtol = -1, .atol = -1, .seconds = -1, .threads = 1};

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0)
			return usage(NULL, NULL), ExitRight;
		if (strcmp(argv[i], "--version") == 0)
			return puts("fxrun " PACKAGE_VERSION), ExitRight;
		if (argv[i][0] == '-' && (argv[i][1] < '0' || argv[i][1] > '9')) {
			const char *s = argv[i];
			if (!option(&r, argv, &i))
				return usage("bad option '%s'", s);
		} else if (r.model == NULL)
			r.model = argv[i];
		else
			vec_push(ctx_arena(r.cx), &r.in, argv[i]);
	}
	if (r.model == NULL)
		return usage("no library given%s", "");
	return r.interpret ? run_interp(&r) : r.cases ? run_case(&r) : run_library(&r);
}
