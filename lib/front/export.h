/* export.h - what the chapters of the exported-program reader share.
 *
 * schema.c reads fields and unions of the JSON, argument.c arguments, export.c
 * graphs, signature.c what the module promises to its caller, srepr.c sizes.
 */
#ifndef EXPORT_H
#define EXPORT_H
#include "front/front.h"
#include "front/vmap.h"

typedef struct Reader {
	Ctx    *cx;
	Arena  *a;
	Module *mod;
	const char *what;      /* the file, for messages without a node */
	int     file;          /* of loc_node */
	Loc     loc;           /* the node being read */
	bool    old;           /* torch 2.5: bare Infinity, as_none is [] */
	Map     sym;           /* expr_str, interned -> Sym */
	bool    nograd;        /* in no_grad */
	enum dtype autocast;   /* of torch.autocast; DtNone: not in it */
	int     acgraph, nregion;  /* the checkpoint around what is read, 0: none; how many were seen */
} Reader;

/* What a name of the graph stands for. */
enum bound { BoundVal, BoundSym, BoundToken, BoundObject };
typedef struct Bound { enum bound kind; Val *val; const Sym *sym; Str what; } Bound;

/* One graph of the JSON.  A sub-graph that is inlined has its own names but
 * shares g with its caller. */
typedef struct Scope {
	Reader *r;
	Graph  *g;
	const Json *json;      /* Graph */
	const Json *tensors;   /* tensor_values */
	Map     bound;         /* Str -> Bound */
	int     depth;
	Vmap   *vmap;          /* the innermost; NULL: none */
} Scope;

/* ---- schema.c: false or NULL after an error message --------------------- */
bool   bad(Reader *, const char *fmt, ...) PRINTF(2, 3);
Json  *get(Reader *, const Json *, const char *name);              /* NULL: absent or null; no message */
Json  *need(Reader *, const Json *, const char *name, enum jsonkind);
bool   need_str(Reader *, const Json *, const char *name, Str *);
bool   need_int(Reader *, const Json *, const char *name, int64_t *);
bool   need_bool(Reader *, const Json *, const char *name, bool *);
/* The value of a union; its member's name goes to *tag. */
Json  *member(Reader *, const Json *, Str *tag);
bool   as_float(Reader *, const Json *, double *);
bool   as_dtype(Reader *, const Json *, enum dtype *);
const Type *tensor_meta(Reader *, const Json *meta);
const Sym  *sym_union(Reader *, const Json *);                     /* SymInt, SymFloat, SymBool */
const Sym  *sym_value(Scope *, Str name);                          /* of the sym_*_values of the graph */
bool   tensor_type(Scope *, Str name, const Type **);

/* ---- argument.c ------------------------------------------------------------ */
bool   read_arg(Scope *, const Json *, Arg *);
Bound *lookup(Scope *, Str name);
VmapAt export_at(Scope *);                                         /* where the reader is, for vmap.c */
void   bind(Scope *, Str name, Bound);

/* ---- export.c --------------------------------------------------------------- */
Graph *read_subgraph(Scope *, const Json *graphargument);

/* ---- signature.c ------------------------------------------------------------ */
bool   read_ranges(Reader *, const Json *program);
bool   read_inputs(Scope *, const Json *signature);
bool   read_outputs(Scope *, const Json *signature, Arg *list);    /* tokens are left out */
bool   read_names(Reader *, const Json *module);                   /* argument names of user inputs and outputs */
bool   read_guards(Reader *, const Json *program);

/* ---- srepr.c ------------------------------------------------------------------ */
/* The size that sympy's srepr text stands for; NULL: *why says what is wrong. */
const Sym *srepr_parse(Ctx *, const char *s, size_t n, const char **why);
#endif
