/* emit.h - from a plan to files. */
#ifndef EMIT_H
#define EMIT_H
#include "lower/kernel.h"

enum product { ProductSo, ProductObj, ProductArchive, ProductC, ProductLLVM, ProductAsm };
enum weights { WeightsEmbed, WeightsFile, WeightsExtern };

typedef struct EmitOptions {
	enum product product;
	Str   prefix;              /* C identifier */
	const char *command;       /* shown in the header: options without paths */
	const Target *const *target; Plan *const *plan; int ntarget;  /* one plan for each -march, best last */
	Plan *const *backward;     /* likewise; NULL: none */
	Plan *const *step;         /* likewise: a third entry, NAME_step, on the same states; NULL: none */
	Plan *const *fold;         /* likewise: computes what was folded from weights that can be replaced; NULL: none */
	double lr;                 /* of step: what the header gives as its default */
	int   optlevel;
	int   jobs;                /* compile that many modules at once; never changes the bytes */
	enum weights weights;
	const char *weightfile;    /* WeightsFile: its name without folder */
	bool  threads;             /* -fthreads=pthread: a pool inside */
	bool  debug;               /* -g */
	bool  checks;              /* -fcheck=full */
	bool  noaliascheck;        /* -fno-check-alias */
	int   asserts;             /* -fassert: FxrtAssertSize ... of lib/rt/model.h */
	bool  noheader;
	const char *header;        /* path; NULL: beside the output */
	const char *savetemps;     /* directory, NULL: none */
	bool  verbose;             /* print the commands run */
} EmitOptions;

/* Outputs that are views of inputs, states or other outputs are no results any more, unless copies are
 * wanted; intermediates that nothing is a view of neither (alias.c).  Before the module is lowered. */
void emit_views(Module *, bool copies);
/* States, saved tensors and tangents lie row-major; forward and backward agree on what is a state.
 * donate: backward may overwrite what is saved for it (layout.c).  Before the modules are lowered. */
void emit_layout(Module *, Module *step, bool donate);
/* Write the product to path ("-": stdout for texts) and its header. */
bool emit(Ctx *, const EmitOptions *, const char *path);
/* Texts */
bool emit_c_kernel(const Kernel *, const char *symbol, Text *);     /* one C function */
bool emit_wrapper(Ctx *, const EmitOptions *, Text *);   /* what a call does around the kernels, step by step */
bool emit_header(Ctx *, const EmitOptions *, Text *);
#endif
