/* llvm.h - private to lib/emit: printing kernels as LLVM IR. */
#ifndef EMIT_LLVM_H
#define EMIT_LLVM_H
#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include "lower/kernel.h"

/* One kernel being printed. */
typedef struct Gen {
	Ctx *cx;
	LLVMContextRef lc;
	LLVMModuleRef mod;
	LLVMBuilderRef b;
	LLVMValueRef fn;
	LLVMBasicBlockRef entry;       /* allocas go here */
	const Kernel *k;
	LLVMValueRef *val;             /* by KRef: its value, or its alloca (KVar) */
	LLVMValueRef *ptr;             /* by buffer */
	LLVMValueRef *scope, *others;  /* by buffer: alias.scope, noalias metadata; NULL: may alias */
	struct Block { LLVMBasicBlockRef head, exit; LLVMValueRef next; } *block;  /* by KRef of a KLoop or KIf */
	bool halfops;                  /* the target converts f16 in hardware */
} Gen;

/* llvmtype.c */
LLVMTypeRef  ll_int(Gen *, int bits, int lanes);
LLVMTypeRef  ll_reg(Gen *, enum dtype, int lanes);     /* in a register: b8 is i1; bf16, f16, f8 are their bits */
LLVMTypeRef  ll_mem(Gen *, enum dtype, int lanes);     /* in memory: b8 is i8 */
LLVMValueRef ll_splat(Gen *, LLVMValueRef scalar, int lanes);
LLVMValueRef ll_iconst(Gen *, int bits, int lanes, int64_t);
LLVMValueRef ll_fconst(Gen *, enum dtype, int lanes, double);
LLVMValueRef ll_zero(Gen *, enum dtype, int lanes);
LLVMValueRef ll_call(Gen *, const char *intrinsic, LLVMTypeRef *over, int nover, LLVMValueRef *arg, int narg);
LLVMValueRef ll_cast(Gen *, LLVMValueRef, enum dtype from, enum dtype to, int lanes);
/* llvmop.c */
LLVMValueRef ll_scalar(Gen *, enum scalar, enum dtype operand, enum dtype result, int lanes, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);
LLVMValueRef ll_reduce(Gen *, enum fold, enum dtype, int lanes, LLVMValueRef);
LLVMValueRef ll_random(Gen *, LLVMValueRef counter, LLVMValueRef seed, int64_t stream, int lanes);
/* llvmgen.c */
bool ll_kernel(Ctx *, LLVMModuleRef, const Kernel *, const Target *, const char *symbol);
/* llvm.c */
typedef struct Unit { const Kernel *kernel; const char *symbol; const Target *target; } Unit;
typedef struct Object { const uint8_t *data; size_t size; } Object;
/* Compile kernels to object code, several modules at once; objects in a fixed order. */
bool llvm_compile(Ctx *, const Unit *, int nunit, int optlevel, int jobs, Object **, int *nobj);
bool llvm_object(Ctx *, LLVMModuleRef, const Target *, Object *);   /* disposes of the module */
bool llvm_text(Ctx *, const Unit *, int nunit, int optlevel, bool assembly, Text *);
#endif
