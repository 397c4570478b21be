/* entry.h - private to lib/emit: the exported functions. */
#ifndef EMIT_ENTRY_H
#define EMIT_ENTRY_H
#include "emit/tables.h"

/* For which artifacts a function exists. */
enum when { Always, IfStates, IfTrains, IfRandom, IfSteps, IfWeights, IfOutside };
typedef struct Wrapper {
	const char *name, *rt, *ret;
	bool model, hidden;            /* passes the model first; not exported */
	const char *letters, *params;
	enum when when;
} Wrapper;

bool entry_has(const Artifact *, enum when);
void entry_simple_params(const Artifact *, Text *);
void entry_c_declare(const Artifact *, Text *);
void entry_c(const Artifact *, Text *);
void entry_llvm_declare(const Artifact *, void *llvmmodule);    /* before the tables */
void entry_llvm(const Artifact *, void *llvmmodule);            /* after them */

/* cprint.c */
bool emit_c(Artifact *, Text *);                               /* one self-contained C file */

/* elf.c: a relocatable object whose read-only section holds the constants */
bool elf_konst(const Artifact *, bool (*put)(void *, const void *, size_t), void *arg);
/* link.c */
typedef struct Part { const char *name; int fd; } Part;         /* an input of the linker: a memory file */
int  part_new(Ctx *, const char *name);                          /* -1: reported */
bool link_run(Ctx *, const char *const *argv, bool verbose);
bool link_product(Ctx *, const EmitOptions *, const Part *, int npart, const char *outtmp);
#endif
