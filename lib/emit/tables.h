/* tables.h - private to lib/emit: the model's tables (lib/rt/model.h) and the order of its arguments. */
#ifndef EMIT_TABLES_H
#define EMIT_TABLES_H
#include "emit/data.h"
#include "emit/emit.h"

/* An argument of the entry points. */
typedef struct Port {
	Str  name;                     /* a C identifier, unique */
	Str  fqn;                      /* what it is called in the model; NULL */
	const Type *type;              /* TyTensor, or TySym: one i64 */
	int  kind;                     /* FXCC_USER ... */
	int  index;                    /* in Module.in, Module.out */
	int  alias;                    /* output: the port whose value it is, -1 */
	bool written;
} Port;

typedef struct Konst { const uint8_t *data; size_t bytes; uint64_t offset; } Konst;

/* A kernel that is compiled, once however many steps and versions use it. */
typedef struct KernelUnit { Kernel *kernel; const Target *target; const char *symbol; } KernelUnit;

typedef struct Artifact {
	Ctx  *cx;
	Arena *a;
	const EmitOptions *opt;
	Module *mod;
	const char *p;                 /* prefix of hidden symbols: "mlp__" */
	VEC(Port) in;
	VEC(Port) out;
	VEC(int) state;                /* indices in Module.in of the buffers that change */
	VEC(const Sym *) sym;          /* free sizes, those bound at the door first */
	int   nsize;                   /* how many of them the caller gives */
	VEC(KernelUnit) unit;
	VEC(Str) ext;                  /* names of the rt functions used */
	VEC(Konst) konst;
	Map   konstof;                 /* data -> index + 1 */
	uint64_t nkonst;               /* bytes of all */
	uint64_t nstate, arena;        /* arena: bytes when no size is free, else 0 */
	uint64_t signature;
	VEC(int64_t) expr;             /* all size expressions */
	Map   exprof;                  /* Sym -> position + 1 */
} Artifact;

enum { CtxBytes = 256 };               /* room for fxrt_ctx and alignment; rt checks */

bool  artifact_new(Ctx *, const EmitOptions *, Artifact *);
void  artifact_tables(Artifact *, Data *);
int   artifact_sym(const Artifact *, const Sym *);     /* -1 */
/* How the C function writes the type of a port: "float", "int64_t", "uint16_t". */
const char *port_ctype(const Port *);
Str   c_identifier(Ctx *, const char *);
const char *artifact_target(const Artifact *);
#endif
