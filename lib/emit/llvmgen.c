/* llvmgen.c - a kernel as an LLVM function.
 *
 *     void k(void *const *buf, const int64_t *sym, int64_t begin, int64_t end)
 *
 * One walk over the instructions.  Registers that change (KVar) are allocas,
 * which mem2reg removes.  Buffers that overlap no other carry alias scopes, so
 * that LLVM may keep loads in registers across stores.  The first loop, if it is
 * parallel, runs from begin to end.
 */
#include "emit/llvm.h"

typedef LLVMValueRef V;

/* ---- memory --------------------------------------------------------------------- */

/* Each buffer is a scope of its own; an access to it is noalias with all others. */
static void
scopes(Gen *g)
{
	LLVMMetadataRef domain, *scope, part[2];
	int n = g->k->buf.n;
	Arena *a = ctx_arena(g->cx);

	g->scope = NEWN(a, V, n);
	g->others = NEWN(a, V, n);
	scope = NEWN(a, LLVMMetadataRef, n);
	domain = LLVMMDStringInContext2(g->lc, g->k->name, strlen(g->k->name));
	domain = LLVMMDNodeInContext2(g->lc, &domain, 1);
	for (int i = 0; i < n; i++) {
		char name[16];
		int len = snprintf(name, sizeof name, "b%d", i);
		part[0] = LLVMMDStringInContext2(g->lc, name, (size_t)len);
		part[1] = domain;
		scope[i] = LLVMMDNodeInContext2(g->lc, part, 2);
	}
	for (int i = 0; i < n; i++) {
		LLVMMetadataRef *other = NEWN(a, LLVMMetadataRef, n);
		int m = 0;
		if (g->k->buf.v[i].alias)
			continue;
		for (int j = 0; j < n; j++)
			if (j != i && !g->k->buf.v[j].alias)
				other[m++] = scope[j];
		g->scope[i] = LLVMMetadataAsValue(g->lc, LLVMMDNodeInContext2(g->lc, &scope[i], 1));
		g->others[i] = LLVMMetadataAsValue(g->lc, LLVMMDNodeInContext2(g->lc, other, (size_t)m));
	}
}

static V
tagged(Gen *g, V access, int buf)
{
	if (g->scope[buf] == NULL)
		return access;
	LLVMSetMetadata(access, LLVMGetMDKindIDInContext(g->lc, "alias.scope", 11), g->scope[buf]);
	LLVMSetMetadata(access, LLVMGetMDKindIDInContext(g->lc, "noalias", 7), g->others[buf]);
	return access;
}

static V
address(Gen *g, int buf, V index)
{
	LLVMTypeRef t = ll_mem(g, g->k->buf.v[buf].dt, 1);

	return LLVMBuildGEP2(g->b, t, g->ptr[buf], &index, 1, "");
}

/* i1 for memory's i8 and back */
static V
frommem(Gen *g, V v, enum dtype dt, int lanes)
{
	return dt == DtB8 ? LLVMBuildICmp(g->b, LLVMIntNE, v, LLVMConstNull(ll_int(g, 8, lanes)), "") : v;
}

static V
tomem(Gen *g, V v, enum dtype dt, int lanes)
{
	return dt == DtB8 ? LLVMBuildZExt(g->b, v, ll_int(g, 8, lanes), "") : v;
}

/* llvm.masked.{load,store,gather,scatter}: before LLVM 22 they take the alignment
 * as an operand, from then on as an attribute that may be left out. */
static V
masked(Gen *g, const char *name, LLVMTypeRef over[2], V value, V ptr, V mask, V pass, int align)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	V fn = LLVMGetIntrinsicDeclaration(g->mod, id, over, 2), arg[4], call;
	LLVMTypeRef ft = LLVMGlobalGetValueType(fn);
	unsigned total = LLVMCountParamTypes(ft), n = 0;
	bool operand = total == (value ? 4u : pass ? 4u : 3u);

	if (value)
		arg[n++] = value;
	arg[n++] = ptr;
	if (operand)
		arg[n++] = ll_iconst(g, 32, 1, align);
	arg[n++] = mask;
	if (pass)
		arg[n++] = pass;
	call = LLVMBuildCall2(g->b, ft, fn, arg, n, "");
	if (!operand) {
		unsigned kind = LLVMGetEnumAttributeKindForName("align", 5);
		LLVMAddCallSiteAttribute(call, value ? 2 : 1, LLVMCreateEnumAttribute(g->lc, kind, (uint64_t)align));
	}
	return call;
}

/* A masked scalar load reads element 0 where the mask is off, and gives 0. */
static V
load_scalar(Gen *g, const KIns *i, V index, V mask)
{
	enum dtype dt = g->k->buf.v[i->buf].dt;
	V r;

	if (mask)
		index = LLVMBuildSelect(g->b, mask, index, ll_iconst(g, 64, 1, 0), "");
	r = LLVMBuildLoad2(g->b, ll_mem(g, dt, 1), address(g, i->buf, index), "");
	LLVMSetAlignment(r, dtypeinfo[dt].bytes);
	r = frommem(g, tagged(g, r, i->buf), dt, 1);
	return mask ? LLVMBuildSelect(g->b, mask, r, ll_zero(g, dt, 1), "") : r;
}

static V
allones(Gen *g, int lanes)
{
	return LLVMConstAllOnes(ll_int(g, 1, lanes));
}

static V
load(Gen *g, const KIns *i)
{
	enum dtype dt = g->k->buf.v[i->buf].dt;
	V index = g->val[i->a], mask = i->b ? g->val[i->b] : NULL, p, r;
	int lanes = i->lanes, width = dtypeinfo[dt].bytes;
	LLVMTypeRef t = ll_mem(g, dt, lanes);

	if (lanes == 1)
		return load_scalar(g, i, index, mask);
	p = address(g, i->buf, index);
	if (g->k->ins.v[i->a].lanes > 1) {
		r = masked(g, "llvm.masked.gather", (LLVMTypeRef[]){t, LLVMTypeOf(p)}, NULL, p,
		           mask ? mask : allones(g, lanes), LLVMConstNull(t), width);
	} else if (mask) {
		r = masked(g, "llvm.masked.load", (LLVMTypeRef[]){t, LLVMTypeOf(p)}, NULL, p, mask, LLVMConstNull(t), width);
	} else {
		r = LLVMBuildLoad2(g->b, t, p, "");
		LLVMSetAlignment(r, (unsigned)width);
	}
	return frommem(g, tagged(g, r, i->buf), dt, lanes);
}

static void
store(Gen *g, const KIns *i)
{
	enum dtype dt = g->k->buf.v[i->buf].dt;
	int lanes = g->k->ins.v[i->b].lanes, width = dtypeinfo[dt].bytes;
	V index = g->val[i->a], mask = i->c ? g->val[i->c] : NULL, p, r;
	V v = tomem(g, g->val[i->b], dt, lanes);

	p = address(g, i->buf, index);
	if (lanes == 1) {
		LLVMBasicBlockRef then = NULL, after = NULL;
		if (mask) {
			then = LLVMAppendBasicBlockInContext(g->lc, g->fn, "");
			after = LLVMAppendBasicBlockInContext(g->lc, g->fn, "");
			LLVMBuildCondBr(g->b, mask, then, after);
			LLVMPositionBuilderAtEnd(g->b, then);
		}
		r = LLVMBuildStore(g->b, v, p);
		LLVMSetAlignment(r, (unsigned)width);
		tagged(g, r, i->buf);
		if (mask) {
			LLVMBuildBr(g->b, after);
			LLVMPositionBuilderAtEnd(g->b, after);
		}
		return;
	}
	if (g->k->ins.v[i->a].lanes > 1) {
		r = masked(g, "llvm.masked.scatter", (LLVMTypeRef[]){LLVMTypeOf(v), LLVMTypeOf(p)}, v, p,
		           mask ? mask : allones(g, lanes), NULL, width);
	} else if (mask) {
		r = masked(g, "llvm.masked.store", (LLVMTypeRef[]){LLVMTypeOf(v), LLVMTypeOf(p)}, v, p, mask, NULL, width);
	} else {
		r = LLVMBuildStore(g->b, v, p);
		LLVMSetAlignment(r, (unsigned)width);
	}
	tagged(g, r, i->buf);
}

/* ---- control ---------------------------------------------------------------------- */

static LLVMBasicBlockRef
block(Gen *g)
{
	return LLVMAppendBasicBlockInContext(g->lc, g->fn, "");
}

/* An alloca in the entry block, before its branch. */
static V
slot(Gen *g, LLVMTypeRef t)
{
	LLVMBasicBlockRef here = LLVMGetInsertBlock(g->b);
	V first = LLVMGetFirstInstruction(g->entry), a;

	if (first)
		LLVMPositionBuilderBefore(g->b, first);
	else
		LLVMPositionBuilderAtEnd(g->b, g->entry);
	a = LLVMBuildAlloca(g->b, t, "");
	LLVMPositionBuilderAtEnd(g->b, here);
	return a;
}

/* How often a loop runs, as branch weights: the register allocator must not take a
 * deep loop of few iterations for hotter than a long one beside it. */
static void
weigh(Gen *g, V branch, const KIns *loop)
{
	const KIns *a = &g->k->ins.v[loop->a], *b = &g->k->ins.v[loop->b];
	int64_t trips = 8;
	LLVMMetadataRef w[3] = {LLVMMDStringInContext2(g->lc, "branch_weights", 14)};

	if (a->op == KConst && b->op == KConst && loop->i > 0)
		trips = (b->i - a->i + loop->i - 1) / loop->i;
	trips = trips < 1 ? 1 : trips > 1 << 20 ? 1 << 20 : trips;
	w[1] = LLVMValueAsMetadata(ll_iconst(g, 32, 1, trips));
	w[2] = LLVMValueAsMetadata(ll_iconst(g, 32, 1, 1));
	LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(g->lc, "prof", 4),
	                LLVMMetadataAsValue(g->lc, LLVMMDNodeInContext2(g->lc, w, 3)));
}

static void
loop_open(Gen *g, KRef r, V first, V end)
{
	const KIns *i = &g->k->ins.v[r];
	LLVMBasicBlockRef before = LLVMGetInsertBlock(g->b), body = block(g);
	struct Block *b = &g->block[r];
	V in;

	b->head = block(g);
	b->exit = block(g);
	LLVMBuildBr(g->b, b->head);
	LLVMPositionBuilderAtEnd(g->b, b->head);
	g->val[r] = LLVMBuildPhi(g->b, ll_int(g, 64, 1), "");
	LLVMAddIncoming(g->val[r], &first, &before, 1);
	in = LLVMBuildICmp(g->b, LLVMIntSLT, g->val[r], end, "");
	weigh(g, LLVMBuildCondBr(g->b, in, body, b->exit), i);
	LLVMPositionBuilderAtEnd(g->b, body);
	b->next = ll_iconst(g, 64, 1, i->i ? i->i : 1);
}

static void
if_open(Gen *g, KRef r)
{
	struct Block *b = &g->block[r];
	LLVMBasicBlockRef then = block(g);

	b->head = NULL;
	b->exit = block(g);
	LLVMBuildCondBr(g->b, g->val[g->k->ins.v[r].a], then, b->exit);
	LLVMPositionBuilderAtEnd(g->b, then);
}

static void
close_block(Gen *g, KRef opener)
{
	struct Block *b = &g->block[opener];

	if (b->head) {
		LLVMBasicBlockRef latch = LLVMGetInsertBlock(g->b);
		V next = LLVMBuildNSWAdd(g->b, g->val[opener], b->next, "");
		LLVMAddIncoming(g->val[opener], &next, &latch, 1);
		LLVMBuildBr(g->b, b->head);
	} else {
		LLVMBuildBr(g->b, b->exit);
	}
	LLVMPositionBuilderAtEnd(g->b, b->exit);
}

/* ---- one instruction ------------------------------------------------------------------ */

static V
constant(Gen *g, const KIns *i)
{
	if (i->dt == DtF32 || i->dt == DtF64)
		return ll_fconst(g, i->dt, i->lanes, i->f);
	if (dt_int(i->dt))
		return ll_iconst(g, i->dt == DtB8 ? 1 : dtypeinfo[i->dt].bytes * 8, i->lanes, i->dt == DtB8 ? i->i != 0 : i->i);
	return ll_cast(g, ll_fconst(g, DtF32, i->lanes, i->f), DtF32, i->dt, i->lanes);
}

static V
iota(Gen *g, const KIns *i)
{
	V v[256];

	for (int l = 0; l < i->lanes; l++)
		v[l] = dt_float(i->dt) ? ll_fconst(g, i->dt, 1, l) : ll_iconst(g, dtypeinfo[i->dt].bytes * 8, 1, l);
	return i->lanes == 1 ? v[0] : LLVMConstVector(v, i->lanes);
}

static V
size(Gen *g, const KIns *i)
{
	V index = ll_iconst(g, 64, 1, i->i), p;

	p = LLVMBuildGEP2(g->b, ll_int(g, 64, 1), LLVMGetParam(g->fn, 1), &index, 1, "");
	return LLVMBuildLoad2(g->b, ll_int(g, 64, 1), p, "");
}

static V
zip(Gen *g, const KIns *i)
{
	V lane[64];
	int first = i->i ? i->lanes / 2 : 0;

	for (int l = 0; l < i->lanes; l++)
		lane[l] = ll_iconst(g, 32, 1, first + l / 2 + (l % 2 ? i->lanes : 0));
	return LLVMBuildShuffleVector(g->b, g->val[i->a], g->val[i->b], LLVMConstVector(lane, i->lanes), "");
}

static V
scalar(Gen *g, const KIns *i)
{
	const KIns *first = &g->k->ins.v[i->a];

	return ll_scalar(g, i->sub, first->dt, i->dt, i->lanes, g->val[i->a],
	                 i->b ? g->val[i->b] : NULL, i->c ? g->val[i->c] : NULL);
}

static void
print(Gen *g, KRef r)
{
	const KIns *i = &g->k->ins.v[r], *a = &g->k->ins.v[i->a];

	switch ((enum kop)i->op) {
	case KConst:  g->val[r] = constant(g, i); break;
	case KSize:   g->val[r] = size(g, i); break;
	case KLoop:   loop_open(g, r, g->val[i->a], g->val[i->b]); break;
	case KIf:     if_open(g, r); break;
	case KEnd:    close_block(g, i->a); break;
	case KVar:
		g->val[r] = slot(g, ll_reg(g, i->dt, i->lanes));
		LLVMBuildStore(g->b, g->val[i->a], g->val[r]);
		break;
	case KGet:    g->val[r] = LLVMBuildLoad2(g->b, ll_reg(g, i->dt, i->lanes), g->val[i->a], ""); break;
	case KSet:    LLVMBuildStore(g->b, g->val[i->b], g->val[i->a]); break;
	case KLoad:   g->val[r] = load(g, i); break;
	case KStore:  store(g, i); break;
	case KScalar: g->val[r] = scalar(g, i); break;
	case KCast:   g->val[r] = ll_cast(g, g->val[i->a], a->dt, i->dt, i->lanes); break;
	case KBits:   g->val[r] = LLVMBuildBitCast(g->b, g->val[i->a], ll_reg(g, i->dt, i->lanes), ""); break;
	case KSplat:  g->val[r] = ll_splat(g, g->val[i->a], i->lanes); break;
	case KIota:   g->val[r] = iota(g, i); break;
	case KReduce: g->val[r] = ll_reduce(g, i->sub, i->dt, a->lanes, g->val[i->a]); break;
	case KLane:   g->val[r] = LLVMBuildExtractElement(g->b, g->val[i->a], ll_iconst(g, 32, 1, i->i), ""); break;
	case KZip:    g->val[r] = zip(g, i); break;
	case KRandom: g->val[r] = ll_random(g, g->val[i->a], i->b ? g->val[i->b] : NULL, i->i, i->lanes); break;
	case KPrefetch: case KNop: case NKop: break;
	}
}

/* ---- the function ------------------------------------------------------------------------ */

static void
attribute(Gen *g, const char *name, const char *value)
{
	LLVMAddAttributeAtIndex(g->fn, LLVMAttributeFunctionIndex,
		LLVMCreateStringAttribute(g->lc, name, (unsigned)strlen(name), value, (unsigned)strlen(value)));
}

static void
attributes(Gen *g, const Target *t)
{
	unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
	unsigned readonly = LLVMGetEnumAttributeKindForName("noalias", 7);

	LLVMAddAttributeAtIndex(g->fn, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(g->lc, nounwind, 0));
	LLVMAddAttributeAtIndex(g->fn, 1, LLVMCreateEnumAttribute(g->lc, readonly, 0));
	LLVMAddAttributeAtIndex(g->fn, 2, LLVMCreateEnumAttribute(g->lc, readonly, 0));
	attribute(g, "target-cpu", t->cpu);
	attribute(g, "target-features", t->features);
	attribute(g, "prefer-vector-width", t->vecbytes >= 64 ? "512" : "256");
	attribute(g, "no-trapping-math", "true");
}

/* Pointers of all buffers, read once in the entry block. */
static void
pointers(Gen *g)
{
	LLVMTypeRef p = LLVMPointerTypeInContext(g->lc, 0);
	int param = 0;

	g->ptr = NEWN(ctx_arena(g->cx), V, g->k->buf.n);
	for (int i = 0; i < g->k->buf.n; i++) {
		const KBuf *b = &g->k->buf.v[i];
		if (b->home == KStack) {
			g->ptr[i] = slot(g, LLVMArrayType2(ll_mem(g, b->dt, 1), (uint64_t)b->count));
			LLVMSetAlignment(g->ptr[i], 64);
			continue;
		}
		V index = ll_iconst(g, 64, 1, param++);
		V at = LLVMBuildGEP2(g->b, p, LLVMGetParam(g->fn, 0), &index, 1, "");
		g->ptr[i] = LLVMBuildLoad2(g->b, p, at, b->name ? b->name : "");
	}
}

bool
ll_kernel(Ctx *cx, LLVMModuleRef mod, const Kernel *k, const Target *t, const char *symbol)
{
	Gen g = {.cx = cx, .mod = mod, .lc = LLVMGetModuleContext(mod), .k = k};
	Arena *a = ctx_arena(cx);
	LLVMTypeRef p = LLVMPointerTypeInContext(g.lc, 0), i64 = LLVMInt64TypeInContext(g.lc);
	bool parallel = k->parallel != NULL;

	g.b = LLVMCreateBuilderInContext(g.lc);
	g.halfops = strstr(t->features, "+f16c") || strstr(t->features, "+fullfp16");
	g.fn = LLVMAddFunction(mod, symbol, LLVMFunctionType(LLVMVoidTypeInContext(g.lc), (LLVMTypeRef[]){p, p, i64, i64}, 4, false));
	LLVMSetVisibility(g.fn, LLVMHiddenVisibility);
	attributes(&g, t);
	g.entry = block(&g);
	LLVMBasicBlockRef body = block(&g);
	LLVMPositionBuilderAtEnd(g.b, body);
	g.val = NEWN(a, V, k->ins.n);
	g.block = NEWN(a, struct Block, k->ins.n);
	scopes(&g);
	pointers(&g);
	for (int r = 1; r < k->ins.n; r++) {
		if (parallel && k->ins.v[r].op == KLoop && k->ins.v[r].sub == LoopParallel) {
			loop_open(&g, (KRef)r, LLVMGetParam(g.fn, 2), LLVMGetParam(g.fn, 3));
			parallel = false;
		} else {
			print(&g, (KRef)r);
		}
	}
	LLVMBuildRetVoid(g.b);
	LLVMPositionBuilderAtEnd(g.b, g.entry);
	LLVMBuildBr(g.b, body);
	LLVMDisposeBuilder(g.b);
	return true;
}
