/* data.c - tables as C text or as LLVM constants (data.h). */
#include <llvm-c/Core.h>
#include "emit/data.h"

enum { Depth = 4 };

struct Data {
	Ctx *cx;
	Arena *arena;
	Text *text;                    /* C */
	LLVMModuleRef mod;             /* LLVM */
	LLVMContextRef lc;
	VEC(LLVMValueRef) stack[Depth];
	int depth;
	const char *symbol;
	int64_t n;
	enum dataflags flags;
	Map width;                     /* symbol -> bytes of an element + 1 */
	int nstr;
};

Data *
data_c(Ctx *cx, Text *t)
{
	Data *d = NEW(ctx_arena(cx), Data);

	d->cx = cx;
	d->arena = ctx_arena(cx);
	d->text = t;
	return d;
}

Data *
data_llvm(Ctx *cx, void *mod)
{
	Data *d = data_c(cx, NULL);

	d->mod = mod;
	d->lc = LLVMGetModuleContext(mod);
	return d;
}

/* ---- LLVM -------------------------------------------------------------------- */

static LLVMTypeRef
pointer(Data *d)
{
	return LLVMPointerTypeInContext(d->lc, 0);
}

static void
push(Data *d, LLVMValueRef v)
{
	vec_push(d->arena, &d->stack[d->depth], v);
}

static LLVMValueRef
global(Data *d, const char *symbol, LLVMTypeRef t)
{
	LLVMValueRef g = LLVMGetNamedGlobal(d->mod, symbol);

	return g ? g : LLVMAddGlobal(d->mod, t, symbol);
}

static void
finish(Data *d)
{
	LLVMValueRef *v = d->stack[0].v, init, g;
	LLVMTypeRef t;
	int n = d->stack[0].n;

	if (d->flags & DataZero) {
		t = LLVMArrayType2(LLVMInt8TypeInContext(d->lc), (uint64_t)d->n);
		init = LLVMConstNull(t);
	} else {
		t = n ? LLVMTypeOf(v[0]) : LLVMInt64TypeInContext(d->lc);
		init = LLVMConstArray2(t, v, (uint64_t)n);
		t = LLVMTypeOf(init);
	}
	g = LLVMAddGlobal(d->mod, t, d->symbol);
	LLVMSetInitializer(g, init);
	LLVMSetGlobalConstant(g, !(d->flags & DataZero));
	if (d->flags & DataExport)
		LLVMSetVisibility(g, LLVMDefaultVisibility);
	else
		LLVMSetLinkage(g, LLVMInternalLinkage);
	LLVMSetAlignment(g, 64);
}

/* ---- both ---------------------------------------------------------------------- */

void
data_open(Data *d, const char *ctype, const char *symbol, int64_t n, enum dataflags flags)
{
	bool zero = flags & DataZero;

	d->symbol = symbol;
	d->n = n;
	d->flags = flags;
	d->depth = 0;
	for (int i = 0; i < Depth; i++)
		d->stack[i].n = 0;
	if (d->mod)
		return;
	if (zero && ctype)
		text_add(d->text, "static %s %s[1]", ctype, symbol);
	else if (zero)
		text_add(d->text, "static uint64_t %s[%lld]", symbol, (long long)(n + 7) / 8 + 8);
	else
		text_add(d->text, "%sconst %s %s[%lld] = {\n", flags & DataExport ? "" : "static ", ctype, symbol, (long long)(n ? n : 1));
	if (!zero && n == 0)
		text_add(d->text, "\t0");
}

void
data_begin(Data *d)
{
	d->depth++;
	d->stack[d->depth].n = 0;
	if (d->text)
		text_add(d->text, d->depth == 1 ? "\t{" : "{");
}

void
data_end(Data *d)
{
	d->depth--;
	if (d->text) {
		text_add(d->text, d->depth ? "}, " : "},\n");
		return;
	}
	push(d, LLVMConstStructInContext(d->lc, d->stack[d->depth + 1].v, (unsigned)d->stack[d->depth + 1].n, false));
}

static const char *
sep(Data *d)
{
	return d->depth ? "," : ",\n";
}

void
data_int(Data *d, int bits, int64_t v)
{
	if (d->mod) {
		push(d, LLVMConstInt(LLVMIntTypeInContext(d->lc, (unsigned)bits), (uint64_t)v, true));
		return;
	}
	if (v == INT64_MIN)
		text_add(d->text, "INT64_MIN%s", sep(d));
	else if (v > INT32_MAX || v < INT32_MIN)
		text_add(d->text, "INT64_C(%lld)%s", (long long)v, sep(d));
	else
		text_add(d->text, "%lld%s", (long long)v, sep(d));
}

void
data_real(Data *d, double v)
{
	if (d->mod)
		push(d, LLVMConstReal(LLVMDoubleTypeInContext(d->lc), v));
	else if (v != v)
		text_add(d->text, "(double)NAN%s", sep(d));
	else if (v - v != 0)
		text_add(d->text, "%s%s", v > 0 ? "(double)INFINITY" : "-(double)INFINITY", sep(d));
	else
		text_add(d->text, "%.17g%s", v, sep(d));
}

static void
c_string(Text *t, const char *s)
{
	text_put(t, "\"", 1);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			text_add(t, "\\%c", *s);
		else if (*s >= ' ' && *s < 127 && *s != '?')
			text_put(t, s, 1);
		else
			text_add(t, "\\%03o", (unsigned char)*s);
	}
	text_put(t, "\"", 1);
}

void
data_str(Data *d, const char *s)
{
	if (s == NULL) {
		data_ptr(d, NULL, 0);
		return;
	}
	if (d->text) {
		c_string(d->text, s);
		text_add(d->text, "%s", sep(d));
		return;
	}
	char name[32];
	snprintf(name, sizeof name, ".s%d", d->nstr++);
	LLVMValueRef init = LLVMConstStringInContext2(d->lc, s, strlen(s), false);
	LLVMValueRef g = LLVMAddGlobal(d->mod, LLVMTypeOf(init), name);
	LLVMSetInitializer(g, init);
	LLVMSetGlobalConstant(g, true);
	LLVMSetLinkage(g, LLVMPrivateLinkage);
	LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
	push(d, g);
}

void
data_ptr(Data *d, const char *symbol, int64_t element)
{
	if (d->text) {
		if (symbol == NULL)
			text_add(d->text, "0%s", sep(d));
		else
			text_add(d->text, "%s + %lld%s", symbol, (long long)element, sep(d));
		return;
	}
	if (symbol == NULL) {
		push(d, LLVMConstNull(pointer(d)));
		return;
	}
	LLVMValueRef g = global(d, symbol, LLVMArrayType2(LLVMInt64TypeInContext(d->lc), 0));
	LLVMTypeRef t = LLVMGlobalGetValueType(g);
	LLVMTypeRef e = LLVMGetTypeKind(t) == LLVMArrayTypeKind ? LLVMGetElementType(t) : t;
	LLVMValueRef at = LLVMConstInt(LLVMInt64TypeInContext(d->lc), (uint64_t)element, true);
	push(d, element ? LLVMConstGEP2(e, g, &at, 1) : g);
}

void
data_fn(Data *d, const char *symbol)
{
	if (d->text)
		text_add(d->text, "%s%s", symbol ? symbol : "0", sep(d));
	else
		push(d, symbol ? LLVMGetNamedFunction(d->mod, symbol) : LLVMConstNull(pointer(d)));
}

void
data_close(Data *d)
{
	if (d->mod)
		finish(d);
	else
		text_add(d->text, d->flags & DataZero ? ";\n" : "};\n");
}

void
data_extern(Data *d, const char *ctype, const char *symbol)
{
	if (d->text) {
		text_add(d->text, "extern const %s %s[];\n", ctype, symbol);
		return;
	}
	LLVMValueRef g = LLVMAddGlobal(d->mod, LLVMArrayType2(LLVMInt8TypeInContext(d->lc), 0), symbol);
	LLVMSetVisibility(g, LLVMHiddenVisibility);
	LLVMSetGlobalConstant(g, true);
}

static void
declare(Data *d, const char *symbol, LLVMTypeRef ret, LLVMTypeRef *par, unsigned n)
{
	if (LLVMGetNamedFunction(d->mod, symbol))
		return;
	LLVMSetVisibility(LLVMAddFunction(d->mod, symbol, LLVMFunctionType(ret, par, n, false)), LLVMHiddenVisibility);
}

void
data_kernel(Data *d, const char *symbol)
{
	if (d->mod) {
		LLVMTypeRef p = pointer(d), i = LLVMInt64TypeInContext(d->lc), par[] = {p, p, i, i};
		declare(d, symbol, LLVMVoidTypeInContext(d->lc), par, 4);
	}
}

void
data_proto(Data *d, const char *symbol)
{
	if (d->mod) {
		LLVMTypeRef p = pointer(d);
		declare(d, symbol, LLVMInt32TypeInContext(d->lc), &p, 1);
	}
}

void
data_user(Data *d, const char *symbol)
{
	if (d->text)
		text_add(d->text, "extern int %s(const fxrt_call *);\n", symbol);
	else if (!LLVMGetNamedFunction(d->mod, symbol)) {
		data_proto(d, symbol);
		LLVMSetVisibility(LLVMGetNamedFunction(d->mod, symbol), LLVMDefaultVisibility);
	}
}
