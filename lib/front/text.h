/* text.h - the reader of FX text: what its files share.
 *
 *   text.c     the whole file: classes
 *   textsig.c  pragmas, signature
 *   textfn.c   inputs, results, names of a function
 *   log.c      log output: prefixes, sections
 *   textlex.c  tokens
 *   annot.c    "f32[2, s0][s0, 1]cpu", "Sym(s0)"
 *   formb.c, formbval.c   Python source: statements, values
 *   forma.c    str(graph): %x : [num_users=1] = op[target=...](...)
 *   tv.c, torchnode.c, torchop.c, torchindex.c, torchfn.c, torchhop.c, autocast.c
 *              what expressions mean: values, nodes, operators, x[i], calls, sub-graphs, casts
 *
 * A Tv is the value that a Python expression of the text has while reading: an
 * argument for a node (a tensor, size, literal, list), a node with several
 * results that are not picked apart yet, a dict, or the name of a function.
 */
#ifndef TEXT_H
#define TEXT_H
#include "front/front.h"
#include "front/infix.h"

/* ---- tokens (textlex.c) ---------------------------------------------------- */

enum tok { TkEof, TkNewline, TkName, TkInt, TkFloat, TkImag, TkStr, TkOp };

typedef struct Tok {
	enum tok kind;
	uint32_t off, len;     /* in the file's text; a string with its quotes */
	char op[4];            /* TkOp: "+", "**=" */
	bool line;             /* first of its line */
} Tok;
typedef struct Comment { uint32_t off, len; } Comment;
typedef struct Toks { const char *s; Tok *v; int n, cap; Comment *c; int nc, ccap; } Toks;   /* s: the text that off counts in */

/* ---- annotations (annot.c) --------------------------------------------------- */

typedef struct Annot { const Type *type; const Sym *sym; } Annot;   /* one of the two */

/* ---- values and names ---------------------------------------------------------- */

enum tvkind { TvNone, TvArg, TvNode, TvList, TvDict, TvFn, TvAttr, TvSelf, TvGraph,
              TvPoison };      /* the result of an operator that fxcc does not know */

typedef struct Tv {
	enum tvkind kind;
	bool tuple;            /* TvList written with () */
	bool bare;             /* Form A: an unquoted word, meant by the schema */
	Arg  arg;              /* TvArg */
	Node *node;            /* TvNode: of several results; a size in arg: the node that gives it */
	Str  name;             /* TvFn: dotted name; TvAttr: path below self */
	struct Tv *v; int n;   /* TvList, TvDict: elements; TvGraph: n is the class */
	Str  *key;             /* TvDict */
} Tv;

/* ---- the reader ------------------------------------------------------------------- */

typedef struct StorageLine { Str name; int id; int64_t offset; uint32_t off; } StorageLine;

typedef struct Class {
	Str  name;
	size_t begin, end;     /* its def and body in the text */
	int  indent, parent;   /* index of the class around it; -1 */
	int  state;            /* 0 unread, 1 being read, 2 read */
	int  nfirst;           /* of return (a, b), (c,): how many are in the first */
	Graph *graph;
} Class;

/* What the pragmas and the trailer say. */
typedef struct SigLine { Str name, target; int kind; bool persistent; uint32_t off; } SigLine;
typedef struct Pair { Str a, b; uint32_t off; } Pair;
typedef VEC(SigLine) SigLines;
typedef VEC(Pair) Pairs;

/* What nodes are marked with. */
typedef struct Marks { int acgraph, part; enum recompute recompute; bool backward; Str origin; float budget; } Marks;

typedef struct Vmap Vmap;              /* vmap.h */

typedef struct Reader {
	VEC(Whole) whole;              /* #fxg composite */
	Ctx   *cx;
	Arena *a;
	const ReadOptions *opt;
	const File *f;
	const char *s; size_t n;       /* cleaned text; NUL-ended */
	int    file;                   /* for loc_at */
	Module *mod;
	VEC(Class) cls;
	Unsupported unsup;
	bool   hassig;                 /* a trailer, or in/out pragmas */
	SigLines in, out;
	VEC(Str) outname;              /* keys of a returned dict; NULL elements */
	Map    attr;                   /* path -> Val */
	Map    taken;                  /* Val, Node: those that have the text's name */
	Map    reshaped;               /* Val -> Val: what x is after x.t_() */
	Pairs  weights, alias, frozen, consts, argname, resname, guard, wrt, nonleaf;
	VEC(StorageLine) storage;
	bool   failed;
	const Type *const *hook; int nhook;   /* types of the inputs that say none */
	bool   joint;                  /* def forward(self, primals, tangents) */
	Node  *known;                  /* fn_known */
	VEC(enum dtype) autocast;      /* the modes that are on, innermost last */
	bool   nograd, said;           /* in no_grad; a comment says so */
	Marks  region;                 /* the checkpoint around what is read ... */
	Marks  comment;                /* ... and what a comment says of the nodes below it */
	int    nregion;                /* checkpointed regions seen */
	Vmap  *vmap;                   /* innermost; NULL: none */
} Reader;

/* One function being read. */
typedef struct Fn {
	Reader *r;
	Graph  *g;
	Class  *cls;
	Toks    t;
	int     p;              /* index of the next token */
	Map     env;            /* Str -> Tv * */
	Map     nout;           /* Str -> the largest index + 1 that the text takes of it */
	Map     decl;           /* Str -> Annot *: types of placeholders made later */
	Node   *lastin;         /* the last placeholder */
	Loc     loc;            /* of the statement */
	Str     python;         /* "model.py:12 in forward" of the last comment, or NULL */
	const Annot *annot;     /* claimed by the statement */
	Str     target;         /* name that the statement gives; NULL */
	int     depth;          /* of inlined definitions */
	int     path;           /* inside getattr(...): self.x is a path, not yet a value */
	bool    then;           /* just after a condition that holds */
	bool    builtin;        /* a definition of torchfn.def: places are the caller's */
	bool    inlined;        /* its parameters are actual[], its result goes to *result */
	const Tv *actual; int nactual, iactual;
	Tv     *result;
	int     nparam;         /* seen so far */
	bool    done;           /* saw return */
	bool    formA;
} Fn;

/* textlex.c */
bool    formb_lex(Reader *, const char *s, size_t begin, size_t end, Toks *);
Str     formb_unquote(Reader *, const Toks *, const Tok *);    /* NULL: reported */
/* log.c: ANSI escapes and log prefixes gone, lines kept; NULL: reported */
char   *log_clean(Ctx *, const File *, const char *section, size_t *n);

/* annot.c.  off: where s lies in the text, or -1. */
bool    annot_parse(Reader *, const char *s, size_t n, int64_t off, Annot *);

/* formb.c */
bool    formb_function(Reader *, Class *);
bool    value_parse(Fn *, Tv *);
bool    formb_inline(Fn *caller, int cls, const Tv *arg, int narg, Tv *out);
bool    formb_builtin(Fn *caller, const char *body, const Str *name, const Tv *val, int n, Tv *out);
/* forma.c */
bool    forma_graph(Reader *, Class *);

/* tv.c */
Tv      tv_ofarg(Arg);
Tv      tv_int(Fn *, int64_t);
Tv      tv_val(Val *);
Tv      tv_sym(const Sym *);                                /* a constant double is a float literal */
Val    *tv_tensor(const Tv *);                              /* NULL: not a tensor */
bool    tv_isnum(const Tv *);
bool    tv_isint(const Tv *);
bool    tv_isnone(const Tv *);
bool    tv_ismask(Fn *, Val *);                             /* a tensor of bools */
bool    tv_poison(const Tv *);
bool    tv_poisons(const Tv *, int n);
bool    arg_isconst(const Arg *, int64_t *);
bool    tv_starts(const char *, const char *with);
bool    tv_fail(Fn *, const char *fmt, ...) PRINTF(2, 3);   /* false */
bool    tv_unsupported(Fn *, const char *name, Tv *out);    /* true: out is poison */
bool    tv_arg(Fn *, const Tv *, Arg *);                    /* as an argument of a node */
bool    const_name(Fn *, const char *dotted, Tv *);         /* torch.float32, inf, None ... */
/* torchnode.c: all return false after a report. */
bool    tv_opcall(Fn *, const OpDef *, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *);
/* The overload of packet that the arguments fit; what: its name in messages. */
bool    tv_overload(Fn *, const char *packet, const char *what, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *);
bool    tv_aten(Fn *, Tv *out, const char *name, int n, const Tv *);      /* aten.name(v...) */
bool    tv_direct(Fn *, const char *name, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *);
/* torchop.c */
bool    tv_binary(Fn *, const char *op, const Tv *, const Tv *, Tv *);
bool    tv_unary(Fn *, const char *op, const Tv *, Tv *);
bool    tv_inplace(Fn *, const char *op, const Tv *, const Tv *);
const char *tv_opsymbol(const char *name);                  /* "+" of "add"; NULL */
/* torchindex.c */
bool    tv_getitem(Fn *, const Tv *, const Tv *index, Tv *);
bool    tv_setitem(Fn *, const Tv *, const Tv *index, const Tv *value);
bool    tv_tensorof(Fn *, const Tv *, const Tv *dtype, Tv *);  /* torch.tensor of literals; dtype None: theirs */
enum dtype tv_dtypeof(const Tv *);                          /* of a literal */
int     tv_position(Fn *, const Tv *idx, int n);            /* of a list of n; -1: reported */
/* torchfn.c */
bool    tv_call(Fn *, Str fn, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *);
bool    tv_method(Fn *, Str name, const Tv *self, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *);
bool    tv_getattr(Fn *, const Tv *, Str name, Tv *);
/* torchvmap.c */
bool    tv_vmap(Fn *, const char *name, const Tv *pos, int npos, Tv *);
Val    *vmap_value(Fn *, Val *);                            /* as a value of the graph that is read */
bool    vmap_known(Fn *, Val *);                            /* fn_known in the graph of the value */
/* torchcustom.c: an operator that is in no table, as "gold.addone_" */
bool    tv_custom(Fn *, Str name, const Tv *pos, int npos, const Tv *kw, int nkw, Tv *);
bool    tv_functionalized(Fn *, Str name, const Str *key, const Tv *kw, int nkw, Tv *);
/* torchhop.c */
bool    tv_hop(Fn *, const char *name, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *);
bool    tv_isfalse(const Tv *);
/* autocast.c */
void    autocast_enter(Reader *, enum dtype);               /* DtNone: off */
void    autocast_exit(Reader *);
bool    autocast_args(Fn *, const OpDef *, Arg *);          /* insert the casts that the mode asks for */

/* text.c */
typedef struct Line { size_t b, e; int indent; } Line;      /* b: first byte that is not blank; e: end without blanks */
bool    text_line(const char *s, size_t n, size_t *at, Line *);
bool    text_begins(const char *s, const Line *, const char *with);
void    text_bad(Reader *, size_t at, const char *what);
/* textsig.c */
void    text_pragmas(Reader *);
void    text_trailer(Reader *);
/* textfn.c */
bool    fn_fail(Fn *, const Tok *, const char *fmt, ...) PRINTF(3, 4);
bool    fn_placeholder(Fn *, Str name, const Annot *, Loc);
bool    fn_return(Fn *, const Tv *);
bool    fn_graph(Fn *, int cls, Graph **);                  /* a sub-graph, read when first wanted */
bool    fn_known(Fn *, Val *);                              /* infer types up to it */
void    fn_bind(Fn *, Str name, Tv);
bool    fn_name(Fn *, Str name, Tv *);                      /* name the node of a statement */
Val    *fn_attr(Fn *, Str path);                            /* a tensor of the module: becomes an input */
#endif
