/* llvm.c - from kernels to object code, in process, several modules at once.
 *
 * Kernels are dealt to a fixed number of modules by cost, so the objects are the
 * same for any number of jobs; each module has its own LLVM context and is
 * compiled by one thread.  Printing (which uses the compilation's arena) happens
 * before, on the calling thread.  The kernels are already vectorised and tiled,
 * so a light pipeline suffices.
 */
#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include "emit/llvm.h"

static const char pipeline[] =
	"function(mem2reg,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,"
	"loop-mssa(licm),gvn,early-cse,adce)";

enum { UnitsPerModule = 12, MaxModules = 64 };

typedef struct Mod {
	LLVMContextRef lc;
	LLVMModuleRef mod;
	const Target *target;
	LLVMMemoryBufferRef out;
	char *failed;
	int64_t cost;
} Mod;

typedef struct Work {
	Mod *mod;
	int nmod, optlevel;
	LLVMCodeGenFileType type;
	int next;                       /* the module to take next */
	pthread_mutex_t lock;
} Work;

/* ---- targets ------------------------------------------------------------------- */

static pthread_once_t started = PTHREAD_ONCE_INIT;

static void
start(void)
{
	LLVMInitializeX86TargetInfo();
	LLVMInitializeX86Target();
	LLVMInitializeX86TargetMC();
	LLVMInitializeX86AsmPrinter();
	LLVMInitializeX86AsmParser();
}

static LLVMTargetMachineRef
machine(const Target *t, int optlevel, char **err)
{
	static const char triple[] = "x86_64-unknown-linux-gnu";
	LLVMCodeGenOptLevel level = optlevel == 0 ? LLVMCodeGenLevelNone : optlevel == 1 ? LLVMCodeGenLevelLess : LLVMCodeGenLevelDefault;
	LLVMTargetRef target;

	if (LLVMGetTargetFromTriple(triple, &target, err))
		return NULL;
	return LLVMCreateTargetMachine(target, triple, t->cpu, t->features, level, LLVMRelocPIC, LLVMCodeModelDefault);
}

/* ---- one module ------------------------------------------------------------------ */

static bool
optimise(Mod *m, LLVMTargetMachineRef tm, int optlevel)
{
	LLVMPassBuilderOptionsRef opt = LLVMCreatePassBuilderOptions();
	LLVMErrorRef e = LLVMRunPasses(m->mod, optlevel == 0 ? "function(mem2reg)" : pipeline, tm, opt);

	LLVMDisposePassBuilderOptions(opt);
	if (e == NULL)
		return true;
	char *s = LLVMGetErrorMessage(e);
	m->failed = strdup(s);
	LLVMDisposeErrorMessage(s);
	return false;
}

static void
compile(Mod *m, int optlevel, LLVMCodeGenFileType type)
{
	char *err = NULL;
	LLVMTargetMachineRef tm = machine(m->target, optlevel, &err);

	if (tm == NULL) {
		m->failed = strdup(err ? err : "no target machine");
		LLVMDisposeMessage(err);
		return;
	}
	LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(tm);
	LLVMSetModuleDataLayout(m->mod, layout);
	LLVMDisposeTargetData(layout);
	if (LLVMVerifyModule(m->mod, LLVMReturnStatusAction, &err)) {
		m->failed = strdup(err);
	} else if (optimise(m, tm, optlevel)) {
		char *err2 = NULL;
		if (LLVMTargetMachineEmitToMemoryBuffer(tm, m->mod, type, &err2, &m->out)) {
			m->failed = strdup(err2);
			LLVMDisposeMessage(err2);
		}
	}
	LLVMDisposeMessage(err);
	LLVMDisposeTargetMachine(tm);
}

static void *
worker(void *arg)
{
	Work *w = arg;

	for (;;) {
		pthread_mutex_lock(&w->lock);
		int i = w->next++;
		pthread_mutex_unlock(&w->lock);
		if (i >= w->nmod)
			return NULL;
		compile(&w->mod[i], w->optlevel, w->type);
	}
}

/* ---- all --------------------------------------------------------------------------- */

static bool
print_units(Ctx *cx, const Unit *unit, int nunit, Mod *mod, int nmod)
{
	int64_t *cost = NEWN(ctx_arena(cx), int64_t, nmod);

	for (int i = 0; i < nunit; i++) {
		int best = -1;
		for (int m = 0; m < nmod; m++)
			if ((mod[m].target == NULL || mod[m].target == unit[i].target) && (best < 0 || cost[m] < cost[best]))
				best = m;
		if (best < 0)
			best = 0;
		Mod *m = &mod[best];
		if (m->target == NULL) {
			m->target = unit[i].target;
			m->lc = LLVMContextCreate();
			m->mod = LLVMModuleCreateWithNameInContext("fxcc", m->lc);
			LLVMSetTarget(m->mod, "x86_64-unknown-linux-gnu");
		}
		cost[best] += unit[i].kernel->ins.n;
		if (!ll_kernel(cx, m->mod, unit[i].kernel, unit[i].target, unit[i].symbol))
			return false;
	}
	return true;
}

static int
modules_for(const Unit *unit, int nunit)
{
	int n = (nunit + UnitsPerModule - 1) / UnitsPerModule, targets = 0;

	for (int i = 0; i < nunit; i++) {
		bool seen = false;
		for (int j = 0; j < i && !seen; j++)
			seen = unit[j].target == unit[i].target;
		targets += !seen;
	}
	n = n < 2 * targets ? 2 * targets : n;
	return n > MaxModules ? MaxModules : n;
}

static void
run(Work *w, int jobs)
{
	pthread_t th[16];
	int n = 0;

	pthread_mutex_init(&w->lock, NULL);
	for (; n < jobs - 1 && n < COUNT(th) && n < w->nmod - 1; n++)
		if (pthread_create(&th[n], NULL, worker, w))
			break;
	worker(w);
	while (n > 0)
		pthread_join(th[--n], NULL);
	pthread_mutex_destroy(&w->lock);
}

static bool
collect(Ctx *cx, Mod *m, Object *o)
{
	if (m->failed)
		bug(cx, NOLOC, "LLVM refuses a module: %s", m->failed);
	*o = (Object){arena_dup(ctx_arena(cx), LLVMGetBufferStart(m->out), LLVMGetBufferSize(m->out)), LLVMGetBufferSize(m->out)};
	LLVMDisposeMemoryBuffer(m->out);
	LLVMDisposeModule(m->mod);
	LLVMContextDispose(m->lc);
	return true;
}

static bool
build(Ctx *cx, const Unit *unit, int nunit, int optlevel, int jobs, LLVMCodeGenFileType type, int nmod, Object *obj, int *nobj)
{
	Mod *mod = NEWN(ctx_arena(cx), Mod, nmod);
	Work w = {.mod = mod, .optlevel = optlevel, .type = type};
	int used = 0;

	pthread_once(&started, start);
	if (!print_units(cx, unit, nunit, mod, nmod))
		return false;
	for (int i = 0; i < nmod; i++)
		if (mod[i].mod)
			mod[used++] = mod[i];
	w.nmod = used;
	run(&w, jobs);
	for (int i = 0; i < used; i++)
		collect(cx, &mod[i], &obj[i]);
	*nobj = used;
	return true;
}

bool
llvm_compile(Ctx *cx, const Unit *unit, int nunit, int optlevel, int jobs, Object **obj, int *nobj)
{
	int nmod = modules_for(unit, nunit);

	*obj = NEWN(ctx_arena(cx), Object, nmod);
	return build(cx, unit, nunit, optlevel, jobs, LLVMObjectFile, nmod, *obj, nobj);
}

/* A module that somebody else printed. */
bool
llvm_object(Ctx *cx, LLVMModuleRef mod, const Target *t, Object *o)
{
	Mod m = {.mod = mod, .target = t};

	pthread_once(&started, start);
	compile(&m, 0, LLVMObjectFile);
	if (m.failed)
		bug(cx, NOLOC, "LLVM refuses the tables: %s", m.failed);
	*o = (Object){arena_dup(ctx_arena(cx), LLVMGetBufferStart(m.out), LLVMGetBufferSize(m.out)), LLVMGetBufferSize(m.out)};
	LLVMDisposeMemoryBuffer(m.out);
	LLVMDisposeModule(mod);
	return true;
}

/* All kernels as one text: LLVM IR after the pipeline, or assembly. */
bool
llvm_text(Ctx *cx, const Unit *unit, int nunit, int optlevel, bool assembly, Text *t)
{
	Mod m = {0};
	Object o;
	int n;

	pthread_once(&started, start);
	if (assembly) {
		for (int i = 0; i < nunit; i++) {
			if (!build(cx, &unit[i], 1, optlevel, 1, LLVMAssemblyFile, 1, &o, &n))
				return false;
			text_put(t, (const char *)o.data, o.size);
		}
		return true;
	}
	if (!print_units(cx, unit, nunit, &m, 1))
		return false;
	if (m.mod == NULL)
		return true;
	char *err = NULL;
	LLVMTargetMachineRef tm = machine(m.target, optlevel, &err);
	if (tm && optimise(&m, tm, optlevel)) {
		char *s = LLVMPrintModuleToString(m.mod);
		text_put(t, s, strlen(s));
		LLVMDisposeMessage(s);
	}
	if (m.failed || tm == NULL)
		bug(cx, NOLOC, "LLVM refuses a module: %s", m.failed ? m.failed : err);
	LLVMDisposeTargetMachine(tm);
	LLVMDisposeModule(m.mod);
	LLVMContextDispose(m.lc);
	return true;
}
