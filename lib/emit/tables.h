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
	int  alias;                    /* output: the port whose value it is, -1; tangent: the output that it belongs to;
	                                  gradient that step reads: which of backward's results */
	bool written;
	int  absent;                   /* what NULL stands for: FxrtNeeded, FxrtZeros, FxrtOne */
	bool optional;                 /* a gradient */
	int  viewof, base;             /* output without memory: FxrtViewIn ..., and which */
	const Sym *offset;             /* ... elements from its start; strides: type's */
	struct Port *after;            /* input: what the caller's tensor becomes, a view of itself; NULL: what it was */
	int  nth;                      /* output: which of the user's ... */
	bool onlybase;                 /* ... or of the intermediates that others are views of */
} Port;
typedef VEC(Port) Ports;

typedef struct Konst { const uint8_t *data; size_t bytes; uint64_t offset; } Konst;

/* A kernel that is compiled, once however many steps and versions use it. */
typedef struct KernelUnit { Kernel *kernel; const Target *target; const char *symbol; } KernelUnit;

/* A function of the library: forward, backward, step. */
typedef struct Entry {
	int   kind;                    /* FxrtForward ... */
	const char *tag;               /* of its tables: "f", "b", "s" */
	Module *mod;
	Plan *const *plan;             /* one for each target */
	Ports in, out;
} Entry;

/* A tensor that belongs to the context: a buffer that changes, a parameter that may be replaced. */
/* or a weight that can be replaced, which belongs to the library. */
typedef struct State {
	Str   name, fqn;
	const Input *in;
	uint64_t offset, bytes;
	bool  written;
} State;
typedef VEC(State) States;

/* A tensor of the saved buffer. */
typedef struct Saved {
	Str   name;
	const Type *type;
	const Sym *offset, *count;
	bool  donated;
} Saved;

typedef struct Artifact {
	Ctx  *cx;
	Arena *a;
	const EmitOptions *opt;
	Module *mod;                   /* forward's */
	const char *p;                 /* prefix of hidden symbols: "mlp__" */
	Entry entry[4]; int nentry;    /* the first is forward */
	States state;
	States weight; int nplain;     /* the first nplain are given; the others are folded from them */
	uint64_t nfirst;               /* bytes of weights that lie in the product: not what is computed when it is loaded */
	VEC(Saved) saved;
	VEC(int) kept;                 /* inputs of forward whose address is saved */
	const Sym *savedsize;          /* NULL: no backward */
	bool  donates, random;
	VEC(const Sym *) sym;          /* free sizes, those bound at the door first */
	int   nsize;                   /* how many of them the caller gives */
	VEC(KernelUnit) unit;
	VEC(Str) user;                 /* functions of the user's own (--extern) */
	VEC(Str) ext;                  /* names of the rt functions used */
	VEC(Konst) konst;
	Map   konstof;                 /* data -> index + 1 */
	uint64_t nkonst;               /* bytes of all */
	uint64_t nstate, nweight;      /* bytes of all states, of all weights that can be replaced */
	uint64_t weightat;             /* where these have their first values among the constants */
	uint64_t arena, arenamax;      /* when no size is free, else 0: of a forward call, of any */
	uint64_t signature, build;
	VEC(int64_t) expr;             /* all size expressions */
	Map   exprof;                  /* Sym -> position + 1 */
} Artifact;

bool  artifact_new(Ctx *, const EmitOptions *, Artifact *);
void  artifact_tables(Artifact *, Data *);
/* Where a size is bound: a tensor's size that is the symbol itself, else an input that
 * is a size (dim -1), else a tensor's that is mul*symbol + add, else a stride (dim FxrtStrideOf + d).  Shapes come first since they
 * are what the shapes of outputs are asked with.  in -1: a step finds it. */
typedef struct Binding { int in, dim; int64_t mul, add; } Binding;
Binding tab_binding(const Artifact *, const Sym *);
bool  tab_atdoor(const Artifact *, const Guard *);     /* do the arguments decide it? */
/* ports.c */
void  ports_forward(Artifact *);
void  ports_others(Artifact *);
void  ports_saved(Artifact *);
int   artifact_sym(const Artifact *, const Sym *);     /* -1 */
int   artifact_state(const Artifact *, const Input *); /* by its name in the model; -1 */
int   artifact_weight(const Artifact *, const Input *); /* likewise */
int   artifact_kept(const Artifact *, const Input *);  /* likewise, in kept; -1 */
const Entry *artifact_entry(const Artifact *, int kind);   /* NULL */
size_t artifact_ctxsize(const Artifact *);
/* How the C function writes the type of a port: "float", "int64_t", "uint16_t". */
const char *port_ctype(const Port *);
enum dtype port_dtype(const Port *);
/* A size or a number: an argument of the C functions by value, among the sizes. */
bool  port_issize(const Port *);
const char *size_ctype(const Sym *);                   /* "int64_t", "double" */
Str   c_identifier(Ctx *, const char *);
const char *artifact_target(const Artifact *);
/* descr.c */
Str descr_kind(int kind);                          /* FXCC_PARAM: "param" */
Str descr_input(Artifact *, const Port *);         /* "buffer bn.running_mean" */
Str descr_gradient(Artifact *, const Port *);      /* "grad(param l.weight)" */
#endif
