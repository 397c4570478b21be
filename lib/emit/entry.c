/* entry.c - the exported functions: thin wrappers that hand the model to lib/rt.
 *
 * One table describes them; it prints as prototypes in the header, as C, and as
 * LLVM.  Parameter letters: p pointer, l 64-bit integer, i 32-bit integer, d double.
 */
#include <llvm-c/Core.h>
#include <string.h>
#include "emit/entry.h"
#include "rt/model.h"

static const Wrapper wrappertab[] = {
	{"arena_need", "fxrt_arena_need", "int32_t", true, true, "pppp",
	 "const int64_t *const *in_shape, size_t *arena, size_t *saved, fxcc_error *error", Always},
	{"out_shape", "fxrt_out_shape", "int32_t", true, true, "ppp",
	 "const int64_t *const *in_shape, int64_t *const *out_shape, fxcc_error *error", Always},
	{"out_view", "fxrt_out_view", "int32_t", true, true, "pipppp",
	 "const int64_t *const *in_shape, int32_t out, int32_t *base, int64_t *offset, int64_t *stride, fxcc_error *error", Always},
	{"in_after", "fxrt_in_after", "int32_t", true, true, "pippppp",
	 "const int64_t *const *in_shape, int32_t in, int32_t *ndim, int64_t *shape, int64_t *stride, int64_t *offset, fxcc_error *error", Always},
	{"arena_size", "fxrt_arena_size", "size_t", true, false, "p", "const int64_t *size", Always},
	{"saved_size", "fxrt_saved_size", "size_t", true, false, "p", "const int64_t *size", Always},
	{"init", "fxrt_init", "int32_t", true, false, "pllppp",
	 "void *mem, size_t n, uint64_t signature, const fxcc_config *config, void **ctx, fxcc_error *error", Always},
	{"bind", "fxrt_bind", "int32_t", false, false, "pplp", "void *ctx, void *state, size_t n, fxcc_error *error", Always},
	{"reset", "fxrt_reset", "int32_t", false, false, "pp", "void *ctx, fxcc_error *error", IfStates},
	{"state", "fxrt_state_named", "void *", false, false, "pp", "void *ctx, const char *name", IfStates},
	{"user", "fxrt_user", "void **", false, false, "p", "void *ctx", Always},
	{"seed", "fxrt_seed", "int32_t", false, false, "pllp", "void *ctx, uint64_t seed, uint64_t offset, fxcc_error *error", IfRandom},
	{"rng", "fxrt_rng", "int32_t", false, false, "pppp", "void *ctx, uint64_t *seed, uint64_t *offset, fxcc_error *error", IfRandom},
	{"forward", "fxrt_forward_struct", "int32_t", false, false, "pppp",
	 "void *ctx, const void *args, void *saved, fxcc_error *error", Always},
	{"backward", "fxrt_backward_struct", "int32_t", false, false, "pppp",
	 "void *ctx, void *saved, const void *args, fxcc_error *error", IfTrains},
	{"step", "fxrt_update_struct", "int32_t", false, false, "ppdp",
	 "void *ctx, const void *args, double lr, fxcc_error *error", IfSteps},
	{"weight_set", "fxrt_weight_set", "int32_t", true, false, "pplp",
	 "const char *name, const void *data, size_t n, fxcc_error *error", IfWeights},
	{"weight_get", "fxrt_weight_get", "int32_t", true, false, "pplp",
	 "const char *name, void *data, size_t n, fxcc_error *error", IfWeights},
	{"weight_fold", "fxrt_weight_fold", "int32_t", true, false, "p", "fxcc_error *error", IfWeights},
	{"weight_swap", "fxrt_weight_swap", "int32_t", true, false, "p", "fxcc_error *error", IfWeights},
	{"load", "fxrt_load", "int32_t", true, false, "plp", "const void *weights, size_t n, fxcc_error *error", IfOutside},
	{"fini", "fxrt_fini", "void", false, false, "p", "void *ctx", Always},
};

bool
entry_has(const Artifact *a, enum when when)
{
	bool trains = artifact_entry(a, FxrtBackward) != NULL;

	return when == Always || (when == IfStates && a->state.n) || (when == IfTrains && trains) || (when == IfRandom && (a->random || trains)) ||
	       (when == IfSteps && artifact_entry(a, FxrtStep)) || (when == IfWeights && a->nplain) ||
	       (when == IfOutside && a->opt->weights != WeightsEmbed);
}

static const Wrapper *
wrapper(const Artifact *a, int *i)
{
	while (*i < COUNT(wrappertab) && !entry_has(a, wrappertab[*i].when))
		++*i;
	return *i < COUNT(wrappertab) ? &wrappertab[*i] : NULL;
}
#define FOREACH_WRAPPER(a, w) for (int i_ = 0; ((w) = wrapper(a, &i_)); i_++)

static const char *
wrapper_symbol(const Artifact *a, const Wrapper *w)
{
	return w->hidden ? arena_printf(a->a, "%s%s", a->p, w->name) : arena_printf(a->a, "%s_%s", a->opt->prefix, w->name);
}

/* The last word of each parameter, to pass it on. */
static void
pass_on(Text *t, const char *params, bool model, const char *modelname)
{
	bool first = !model;

	if (model)
		text_add(t, "%s", modelname);
	while (*params) {
		const char *end = strchr(params, ','), *p;
		end = end ? end : params + strlen(params);
		for (p = end; p > params && p[-1] != ' ' && p[-1] != '*'; p--)
			;
		text_add(t, "%s%.*s", first ? "" : ", ", (int)(end - p), p);
		first = false;
		params = *end ? end + 1 : end;
	}
}

/* ---- C ------------------------------------------------------------------------- */

void
entry_c_declare(const Artifact *a, Text *t)
{
	const Wrapper *w;

	FOREACH_WRAPPER(a, w)
		text_add(t, "%s%s %s(%s);\n", w->hidden ? "static " : "", w->ret, wrapper_symbol(a, w), w->params);
}

static void
c_simple(const Artifact *a, Text *t)
{
	text_add(t, "int\n%s(", a->opt->prefix);
	entry_simple_params(a, t);
	text_add(t, ")\n{\n");
	const Ports *in = &a->entry[0].in, *out = &a->entry[0].out;

	text_add(t, "\tint64_t size[%d];\n\tconst void *in[%d];\n\tvoid *out[%d];\n\n", a->nsize + 1, in->n + 1, out->n + 1);
	for (int i = 0; i < a->nsize; i++)
		text_add(t, a->sym.v[i]->isfloat ? "\tmemcpy(&size[%d], &%s, 8);\n" : "\tsize[%d] = %s;\n", i, c_identifier(a->cx, a->sym.v[i]->name));
	for (int i = 0; i < in->n; i++)
		text_add(t, "\tin[%d] = %s;\n", i, port_issize(&in->v[i]) ? "0" : in->v[i].name);
	for (int i = 0; i < out->n; i++)
		text_add(t, "\tout[%d] = %s;\n", i, out->v[i].name);
	text_add(t, "\tsize[%d] = 0;\n\tin[%d] = 0;\n\tout[%d] = 0;\n", a->nsize, in->n, out->n);
	text_add(t, "\treturn fxrt_simple(%smodel, size, in, out);\n}\n", a->p);
}

void
entry_c(const Artifact *a, Text *t)
{
	const Wrapper *w;

	FOREACH_WRAPPER(a, w) {
		text_add(t, "%s%s\n%s(%s)\n{\n\t%s%s(", w->hidden ? "static " : "", w->ret, wrapper_symbol(a, w), w->params,
		         strcmp(w->ret, "void") ? "return " : "", w->rt);
		pass_on(t, w->params, w->model, arena_printf(a->a, "%smodel", a->p));
		text_add(t, ");\n}\n\n");
	}
	text_add(t, "const fxcc_module *\n%s_module(void)\n{\n\treturn %smodule;\n}\n\n", a->opt->prefix, a->p);
	c_simple(a, t);
}

/* int64_t n, const float *x, float *out0 */
void
entry_simple_params(const Artifact *a, Text *t)
{
	const Ports *in = &a->entry[0].in, *out = &a->entry[0].out;
	const char *sep = "";

	for (int i = 0; i < a->nsize; i++, sep = ", ")
		text_add(t, "%s%s %s", sep, size_ctype(a->sym.v[i]), c_identifier(a->cx, a->sym.v[i]->name));
	for (int i = 0; i < in->n; i++) {
		if (port_issize(&in->v[i]))
			continue;
		text_add(t, "%s%s%s *%s", sep, in->v[i].written ? "" : "const ", port_ctype(&in->v[i]), in->v[i].name);
		sep = ", ";
	}
	for (int i = 0; i < out->n; i++, sep = ", ")
		text_add(t, "%s%s *%s", sep, port_ctype(&out->v[i]), out->v[i].name);
	if (*sep == '\0')
		text_add(t, "void");
}

/* ---- LLVM ------------------------------------------------------------------------ */

typedef struct L { LLVMModuleRef mod; LLVMContextRef lc; LLVMTypeRef p, i32, i64, f64; } L;

static L
types(LLVMModuleRef mod)
{
	LLVMContextRef lc = LLVMGetModuleContext(mod);

	return (L){mod, lc, LLVMPointerTypeInContext(lc, 0), LLVMInt32TypeInContext(lc), LLVMInt64TypeInContext(lc), LLVMDoubleTypeInContext(lc)};
}

static LLVMTypeRef
letter(const L *l, char c)
{
	return c == 'p' ? l->p : c == 'l' ? l->i64 : c == 'd' ? l->f64 : l->i32;
}

static LLVMTypeRef
letters(const L *l, const Wrapper *w, bool model)
{
	LLVMTypeRef par[16], ret = strcmp(w->ret, "void") == 0 ? LLVMVoidTypeInContext(l->lc) : strcmp(w->ret, "size_t") == 0 ? l->i64
	                               : strchr(w->ret, '*') ? l->p : l->i32;
	unsigned n = 0;

	if (model)
		par[n++] = l->p;
	for (const char *s = w->letters; *s; s++)
		par[n++] = letter(l, *s);
	return LLVMFunctionType(ret, par, n, false);
}

/* Functions of lib/rt that the module's description names. */
static const struct { const char *name, *letters; bool ptr; } named[] = {
	{"fxrt_forward", "ppppp", false}, {"fxrt_backward", "ppppip", false}, {"fxrt_pthread_pool", "", true}, {"fxrt_state_of", "pi", true},
	{"fxrt_reset", "pp", false}, {"fxrt_seed", "pllp", false}, {"fxrt_rng", "pppp", false}, {"fxrt_update", "ppdp", false}, {"fxrt_find", "pp", false}, {"fxrt_weights_first", "pp", false},
	{"fxrt_user", "p", true},
	{"fxrt_assert", "pipi", false},
};

static void
declare(const L *l, const char *name, LLVMTypeRef t)
{
	if (LLVMGetNamedFunction(l->mod, name) == NULL)
		LLVMSetVisibility(LLVMAddFunction(l->mod, name, t), LLVMHiddenVisibility);
}

void
entry_llvm_declare(const Artifact *a, void *mod)
{
	const Wrapper *w;
	L l = types(mod);

	FOREACH_WRAPPER(a, w) {
		LLVMValueRef fn = LLVMAddFunction(mod, wrapper_symbol(a, w), letters(&l, w, false));
		if (w->hidden)
			LLVMSetLinkage(fn, LLVMInternalLinkage);
		declare(&l, w->rt, letters(&l, w, w->model));
	}
	for (int i = 0; i < COUNT(named); i++) {
		LLVMTypeRef par[8];
		unsigned n = 0;
		for (const char *s = named[i].letters; *s; s++)
			par[n++] = letter(&l, *s);
		declare(&l, named[i].name, LLVMFunctionType(named[i].ptr ? l.p : l.i32, par, n, false));
	}
}

static void
llvm_wrapper(const Artifact *a, const L *l, const Wrapper *w)
{
	LLVMValueRef fn = LLVMGetNamedFunction(l->mod, wrapper_symbol(a, w)), arg[16], r;
	LLVMBuilderRef b = LLVMCreateBuilderInContext(l->lc);
	unsigned n = 0;

	LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(l->lc, fn, ""));
	if (w->model)
		arg[n++] = LLVMGetNamedGlobal(l->mod, arena_printf(a->a, "%smodel", a->p));
	for (unsigned i = 0; w->letters[i]; i++)
		arg[n++] = LLVMGetParam(fn, i);
	r = LLVMBuildCall2(b, letters(l, w, w->model), LLVMGetNamedFunction(l->mod, w->rt), arg, n, "");
	LLVMSetTailCall(r, true);
	if (strcmp(w->ret, "void") == 0)
		LLVMBuildRetVoid(b);
	else
		LLVMBuildRet(b, r);
	LLVMDisposeBuilder(b);
}

/* Parameters of fn from *next on, as an array of n; NULL stands for those of ports that are sizes. */
static LLVMValueRef
array_of(const L *l, LLVMBuilderRef b, LLVMTypeRef t, LLVMValueRef fn, unsigned *next, int n, const Ports *p)
{
	LLVMValueRef a = LLVMBuildArrayAlloca(b, t, LLVMConstInt(l->i64, (unsigned)n + 1, false), "");

	for (int i = 0; i < n; i++) {
		LLVMValueRef at = LLVMConstInt(l->i64, (unsigned)i, false);
		LLVMValueRef v = p && port_issize(&p->v[i]) ? LLVMConstNull(t) : LLVMGetParam(fn, (*next)++);
		LLVMBuildStore(b, v, LLVMBuildGEP2(b, t, a, &at, 1, ""));
	}
	return a;
}

static void
llvm_simple(const Artifact *a, const L *l)
{
	const Ports *in = &a->entry[0].in, *out = &a->entry[0].out;
	int n = 0;
	unsigned next = 0;
	LLVMTypeRef *par = NEWN(a->a, LLVMTypeRef, a->nsize + in->n + out->n + 1), ft;
	LLVMBuilderRef b = LLVMCreateBuilderInContext(l->lc);
	LLVMValueRef fn, arg[4], rt;

	for (int i = 0; i < a->nsize; i++)
		par[n++] = a->sym.v[i]->isfloat ? l->f64 : l->i64;
	for (int i = 0; i < in->n + out->n; i++)
		if (i >= in->n || !port_issize(&in->v[i]))
			par[n++] = l->p;
	fn = LLVMAddFunction(l->mod, a->opt->prefix, LLVMFunctionType(l->i32, par, (unsigned)n, false));
	ft = LLVMFunctionType(l->i32, (LLVMTypeRef[]){l->p, l->p, l->p, l->p}, 4, false);
	rt = LLVMAddFunction(l->mod, "fxrt_simple", ft);
	LLVMSetVisibility(rt, LLVMHiddenVisibility);
	LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(l->lc, fn, ""));
	arg[0] = LLVMGetNamedGlobal(l->mod, arena_printf(a->a, "%smodel", a->p));
	arg[1] = array_of(l, b, l->i64, fn, &next, a->nsize, NULL);
	arg[2] = array_of(l, b, l->p, fn, &next, in->n, in);
	arg[3] = array_of(l, b, l->p, fn, &next, out->n, NULL);
	LLVMBuildRet(b, LLVMBuildCall2(b, ft, rt, arg, 4, ""));
	LLVMDisposeBuilder(b);
}

void
entry_llvm(const Artifact *a, void *mod)
{
	L l = types(mod);
	LLVMBuilderRef b = LLVMCreateBuilderInContext(l.lc);
	LLVMValueRef fn, module = LLVMGetNamedGlobal(mod, arena_printf(a->a, "%smodule", a->p));
	const Wrapper *w;

	FOREACH_WRAPPER(a, w)
		llvm_wrapper(a, &l, w);
	llvm_simple(a, &l);
	fn = LLVMAddFunction(mod, arena_printf(a->a, "%s_module", a->opt->prefix), LLVMFunctionType(l.p, NULL, 0, false));
	LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(l.lc, fn, ""));
	LLVMBuildRet(b, module);
	LLVMDisposeBuilder(b);
	if (a->opt->product == ProductSo)
		LLVMAddAlias2(mod, LLVMGlobalGetValueType(module), 0, module, "fxcc_module");
}
