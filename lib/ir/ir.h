/* ir.h - the graph: types, operators, nodes, values, modules.
 *
 * A Module is a program as the user gave it: a main graph, its sub-graphs, the
 * signature (which input is a parameter, a buffer, a user's tensor ...) and
 * where the weights lie.  A Graph is a list of Nodes in program order; a Node
 * applies an operator to arguments and has results, Vals; a Use links a Val to
 * one place that reads it.  Placeholders come first, the output node is last.
 *
 * Arguments are kept in the order of the operator's schema, one Arg for each
 * parameter, defaults filled in.  An Arg is a literal, a size, a value, or a
 * list of these.  Integers are Syms always, so that symbolic sizes need no
 * second form; a value of type SymInt never occurs as an operand: its Sym does.
 */
#ifndef IR_H
#define IR_H
#include "base/base.h"
#include "ir/sym.h"

typedef struct Type Type;
typedef struct OpDef OpDef;
typedef struct Arg Arg;
typedef struct Node Node;
typedef struct Val Val;
typedef struct Use Use;
typedef struct Graph Graph;
typedef struct Module Module;

/* ---- types (type.c) ---------------------------------------------------- */

enum dtype {
#define DTYPE(name, text, bytes, kind, cname) Dt##name,
#include "ir/dtype.def"
#undef DTYPE
	NDtype, DtNone = 255
};
enum dtkind { KindBool, KindUint, KindInt, KindFloat, KindComplex };

extern const struct DtypeInfo { const char *text, *torch, *cname; uint8_t bytes, kind; } dtypeinfo[NDtype]; /* torch: "float32" */
enum dtype dtype_parse(const char *s, size_t n);          /* "f32", "float32", "bool", "b8"; DtNone */
static inline bool dt_float(enum dtype d) { return dtypeinfo[d].kind == KindFloat; }
static inline bool dt_int(enum dtype d) { return dtypeinfo[d].kind <= KindInt; }   /* bool too */
enum dtype dt_promote(enum dtype, enum dtype);            /* ATen's table for two tensors */
enum dtype dt_acc(enum dtype);                            /* what arithmetic is done in: bf16, f16, f8 -> f32 */

enum typekind { TyNone, TyTensor, TySym, TyList };        /* TyList: a Tensor[] result; its elements are further Vals */

/* Interned: equal types are the same pointer. */
struct Type {
	enum typekind kind;
	enum dtype dt;
	uint8_t rank;
	const Sym *const *dim;      /* TyTensor: rank sizes */
	const Sym *const *stride;   /* in elements; NULL: row-major contiguous */
	const Sym *sym;             /* TySym: its value */
	uint32_t id;
};
enum { MaxRank = 16 };

const Type *type_tensor(Ctx *, enum dtype, int rank, const Sym *const *dim);
const Type *type_strided(Ctx *, enum dtype, int rank, const Sym *const *dim, const Sym *const *stride);
const Type *type_sym(Ctx *, const Sym *);
const Type *type_none(Ctx *);
const Sym  *type_numel(Ctx *, const Type *);
const Sym  *type_stride(Ctx *, const Type *, int d);      /* also of a contiguous one */
bool        type_same(const Type *, const Type *);        /* tensors of one dtype and equal sizes, whatever their strides */
const char *type_str(Ctx *, const Type *);                /* "f32[2, s0]", "Sym(s0)" */

/* ---- operators (op.c, and optab.c made from the .op files by lib/gen) -------- */

/* What a parameter may be. */
enum argtype { AtTensor, AtInt, AtFloat, AtScalar, AtBool, AtStr, AtDtype, AtLayout,
               AtMemfmt, AtDevice, AtGenerator, AtGraph, AtAny };

typedef struct Param {
	const char *name;
	enum argtype type;
	bool opt;              /* T? */
	bool list, elemopt;    /* T[], T?[] */
	int8_t fixed;          /* int[2]: 2 (one int stands for two); 0: any */
	bool kwonly, mutated;  /* after '*'; Tensor(a!) */
	char alias;            /* 'a' of Tensor(a), 0: none */
	const char *dflt;      /* text of the default, NULL: required */
} Param;

#define OPFLAGS(X)                                                             \
	X(Pointwise, "pointwise")      /* value at i reads its tensors at i, broadcast */ \
	X(Float, "float")              /* pointwise: integers are promoted to f32 first */ \
	X(Bool, "bool")                /* the result is bool */                \
	X(View, "view")                /* the result shares memory with the first tensor */ \
	X(Commutative, "commutative")                                          \
	X(Random, "random")            /* draws random numbers: never merged, folded, nor removed twice */ \
	X(Effect, "effect")            /* kept although nobody reads it: asserts, prints */ \
	X(Mutates, "mutates")          /* writes an argument: gone after functionalize */ \
	X(Inplace, "inplace")          /* returns the argument that it writes */ \
	X(Leaf, "leaf")                /* placeholder, get_attr, output */     \
	X(Sym, "sym")                  /* result is a size, known at once */   \
	X(Dynamic, "dynamic")          /* the size of the result depends on data */ \
	X(Hop, "hop")                  /* takes sub-graphs */                  \
	X(Opaque, "opaque")            /* keep as a whole: lower has its own way */ \
	X(Whole, "whole")              /* one operator for all passes before decompose, with or without a derivative */ \
	X(Fast, "fast")                                                        \
	X(Through, "through")          /* -fdecomp=torch: autograd sees what the torch line makes of it */
enum opflag {
#define X(f, text) OpFlag##f,
	OPFLAGS(X)
#undef X
};
#define OP(f) (1u << OpFlag##f)

/* How an operator becomes code; -fprint-ops prints it. */
enum route { RouteNone, RouteValue, RouteExpand, RouteExtern, RouteView, RouteFunctional, RouteSpecial };

struct OpDef {
	const char *name;        /* "aten.gelu.default", "operator.getitem", "fxcc.philox" */
	const char *schema;      /* as in the ATen registry, with its namespace left out */
	int         nparam, nret;
	const Param *param;
	const Param *ret;        /* type, list, alias; no names needed */
	uint32_t    flags;       /* OP(Pointwise) | ... */
	/* Text of the table's lines (NULL: none), in the language of op/README, and
	 * where each begins, for messages about the table. */
	const char *doc, *type, *shape, *where, *value, *expand, *inverse, *lower, *stride, *torch, *eager, *zero;
	const struct { const char *arg, *text; int line; } *grad; int ngrad;
	const char *const *sample; int nsample;
	const char *file; int line;
	int         code;        /* index in optab */
};
extern const OpDef optab[];
extern const int noptab;
/* optab is sorted by name (strcmp).  The leaf operators are not in it: their code is -1. */
extern const OpDef opplaceholder, opgetattr, opoutput;
const OpDef *op_find(const char *name);                   /* "aten.add.Tensor"; "aten.relu" finds .default; NULL */
enum route   op_route(const OpDef *);
/* Every overload of "aten.add": the first; next of the same packet by code+1 while op_samepacket. */
bool         op_samepacket(const OpDef *, const OpDef *);

/* ---- arguments ---------------------------------------------------------- */

enum argkind { ArgNone, ArgBool, ArgInt, ArgFloat, ArgStr, ArgDtype, ArgLayout, ArgMemfmt,
               ArgDevice, ArgVal, ArgList, ArgGraph, ArgEllipsis, ArgSlice, ArgComplex };
enum memfmt { MemContiguous, MemPreserve, MemChannelsLast, MemChannelsLast3d };

struct Arg {
	enum argkind kind;
	union {
		bool b;
		const Sym *i;          /* ArgInt: a Sym; it may be isfloat (a symbolic float) */
		double f;
		Str s;                 /* ArgStr, ArgDevice ("cpu", "cuda:0"), ArgLayout ("strided") */
		enum dtype dt;
		enum memfmt mf;
		Use *use;              /* ArgVal */
		Graph *graph;
		struct { Arg *v; int n; } list;    /* ArgList; ArgSlice: start, stop, step; ArgComplex: re, im */
	};
};

/* One result of one node. */
struct Val {
	Node *def;
	const Type *type;      /* NULL until known */
	Use  *uses;
	Str   name;            /* "relu_1": unique in its graph */
	uint32_t id;           /* dense in the graph: index of side tables */
	uint16_t out;          /* which result of def */
	int8_t grad;           /* autograd wants its gradient: 1 yes, -1 no, 0 not known (functionalize.c) */
};

/* One operand: a link in the list of uses of the value it reads. */
struct Use { Val *val; Node *user; Use *next, **prev; };

/* One operation.  A node with several results has no value of its own: the FX
 * text's `getitem`s are its results (names kept), and a Tensor[] result (split,
 * unbind) is as many Vals as the list has elements. */
struct Node {
	const OpDef *op;
	Arg  *arg;             /* op->nparam of them; Leaf ops: see leaf */
	Val  *out;
	Node *prev, *next;
	Graph *graph;
	uint32_t id;
	uint16_t narg, nout;
	Loc   loc;
	Str   name;            /* FX name of the node; for one result that of the Val */
	Str   target;          /* placeholder: its name as the user knows it; get_attr: path */
	Str   tag;             /* partitioner tags and the like, NULL */
	Str   origin;          /* of a node of the backward part: name of the forward node it came from, NULL */
	uint8_t recompute;     /* enum recompute: what activation checkpointing asks of it */
	uint8_t region;        /* enum gradmode: under what it was recorded */
	uint16_t part;         /* number of its Settings, from 1; 0: none */
	int32_t acgraph;       /* checkpointed region, from 1; 0: none */
	float budget;          /* activation memory budget of the region it was recorded in, plus 1; 0: none */
	uint32_t stream;       /* of an operator that draws: its stream of random numbers, from 1; 0: not numbered */
	bool  backward;
	Type const *annot;     /* type that the text claimed for out[0], NULL: none */
};

/* A node of a checkpointed region is recomputed unless it must be saved. */
enum recompute { RecomputeFree, MustSave, PreferSave, PreferRecompute, MustRecompute };
extern const char *const recompute_text[];   /* "PREFER_RECOMPUTE" (print.c) */
enum gradmode { GradOn, GradOff };    /* GradOff: under no_grad; no gradient flows through it */

struct Graph {
	Module *mod;
	Ctx   *cx;
	Arena *arena;
	Str    name;
	Node  *first, *last;   /* last: the output node; its arg[0] is the list of results */
	Graph *parent;         /* of a sub-graph */
	uint32_t nnode, nval;  /* ids in use: size side tables with these */
	Map    names;          /* value names in use */
};

/* ---- signature and weights ---------------------------------------------- */

#define INKINDS(X)  X(User, "USER_INPUT") X(Param, "PARAMETER") X(Buffer, "BUFFER") \
	X(Const, "CONSTANT_TENSOR") X(Object, "CUSTOM_OBJ") X(Token, "TOKEN")  \
	X(Tangent, "TANGENT") X(Saved, "SAVED")
#define OUTKINDS(X) X(User, "USER_OUTPUT") X(Loss, "LOSS_OUTPUT") X(BufferMut, "BUFFER_MUTATION") \
	X(ParamMut, "PARAMETER_MUTATION") X(UserMut, "USER_INPUT_MUTATION")     \
	X(GradParam, "GRADIENT_TO_PARAMETER") X(GradUser, "GRADIENT_TO_USER_INPUT") X(Token, "TOKEN") \
	X(Base, "INTERMEDIATE_BASE") X(Saved, "SAVED")
enum inkind  {
#define X(n, t) In##n,
	INKINDS(X)
#undef X
	NinKind
};
enum outkind {
#define X(n, t) Res##n,
	OUTKINDS(X)
#undef X
	NoutKind
};

/* Bytes of a tensor that is known when compiling.  data points into a mapped
 * file (never copied) or an arena; layout as type says, strides included. */
typedef struct Weight {
	Str   fqn;
	const Type *type;      /* strides in elements from offset */
	const uint8_t *data;   /* NULL: not given; the caller passes it at run time */
	size_t bytes;
	bool  requires_grad;
	uint32_t storage;      /* equal: same memory (tied); 0: its own */
} Weight;

typedef struct Input {
	enum inkind kind;
	Val   *val;            /* its placeholder's result; NULL: a specialised constant that has none */
	Str    name;           /* placeholder */
	Str    argname;        /* what C and the header call it */
	Str    target;         /* fqn of a parameter, buffer, constant */
	bool   persistent, requires_grad;
	bool   nonleaf;        /* as seen by autograd: some program computed it (#fxg nonleaf) */
	bool   updatable;      /* parameter, buffer: its value may be replaced after compiling: never folded */
	bool   swappable;      /* updatable, and shared by all contexts of the library, which replaces it at once */
	bool   donated;        /* InSaved: backward may overwrite it */
	int    storage;        /* inputs of the same number share memory (#fxg storage), from 1; 0: its own */
	int64_t offset;        /* elements from the start of that memory */
	Arg    value;          /* specialised constant input: its literal; tangent of a loss: 1; else ArgNone */
	Weight *weight;        /* parameter, buffer, constant: its value if known */
} Input;

typedef struct Output {
	enum outkind kind;
	Str    name;           /* what C and the header call it: "out0" */
	Str    target;         /* fqn, or placeholder name of a mutated user input */
} Output;

/* cond != 0 must hold: at the door, or once the numbers in it are found.  message: of the program, NULL */
typedef struct SizeBound { Str name; int64_t lo, hi; } SizeBound;   /* -fdim of a size that only the run finds */
typedef struct Guard { const Sym *cond; Str text; Loc loc; Str message; } Guard;

/* DecompTorch: as PyTorch's own dumps: the `torch` lines of the tables decide, not the `expand` lines. */
enum decomp { DecompNative, DecompTorch };
/* Whose random numbers: by counter; those of eager PyTorch on a CPU; none (op/rng.op). */
enum rng { RngPhilox, RngEager, RngZero };

/* Usual: what has no code of its own is expanded.  All: as PyTorch's decompositions do.  None: late, before lowering. */
enum decompose { DecomposeUsual, DecomposeAll, DecomposeNone };

/* Nodes with options of their own (part.c). */
typedef struct Settings { Str name, opts; uint32_t off; enum decompose decompose; } Settings;

/* Inputs that are the tensors of one value of a class of its own (front/composite.c). */
typedef struct Whole { Str name, kind; VEC(Str) part; } Whole;

struct Module {
	Ctx   *cx;
	Str    name;           /* file stem */
	Graph *main;
	VEC(Graph *) sub;
	VEC(Input) in;         /* one for each placeholder, in order (and constants) */
	VEC(Output) out;       /* one for each element of the output list */
	VEC(Weight *) weight;
	VEC(Guard) guard;
	VEC(SizeBound) bound;
	VEC(Whole) whole;
	VEC(Str) weightfile;   /* files that the values came from, as named to file_read; printed, so that texts read back */
	Str    torch, dialect; /* informative */
	VEC(const char *) rulesoff;   /* tables of rules, and rules, that are switched off (-fno-views, -fno-pattern=relu_relu) */
	const struct RuleDef *loaded; int nloaded;    /* rules of --patterns (rule.h) */
	bool   fastmath;       /* results may differ beyond rounding */
	bool   train;          /* a graph that is differentiated (--train), or a joint graph */
	bool   foldlater;      /* what weights alone give is computed when the library is loaded (-fconst-fold=load) */
	bool   keepmut;        /* torch: mutations of inputs stay in the graph as copy_ (-fkeep-input-mutations) */
	enum decomp decomp;    /* -fdecomp */
	enum rng rng;          /* -frng */
	const Sym *rngwords;   /* words of PyTorch's generator that forward draws; NULL: it draws by philox */
	VEC(Settings) part;
	enum decompose decompose;      /* -fdecompose: of all nodes; those of the names below: All */
	VEC(Str) decomposed;
	enum dtype autocast;   /* --autocast: the whole program runs under it; DtNone: no */
	struct Meta *meta;     /* what functionalize found out (meta.h); NULL before */
	Graph  *pack, *unpack; /* what is done to saved tensors and undone; without types; NULL */
	Module *backward;      /* after partition: this is the forward part, that the backward one */
	Module *fold;          /* computes anew what constfold evaluated of weights that can be replaced; NULL */
};

/* Does the program change it: is there an output that is written back to it? */
bool    input_written(const Module *, const Input *);
/* Does an output share its memory (as functionalize found out)? */
bool    input_aliased(const Module *, const Input *);
extern const char *const inkind_text[], *const outkind_text[];   /* "PARAMETER", "BUFFER_MUTATION" (print.c) */

/* ---- building and changing graphs (graph.c) ------------------------------ */

Module *module_new(Ctx *, Str name);
void    module_obey(Module *, const Module *as);    /* the options that passes look at are those of `as` */
Graph  *graph_new(Module *, Str name, Graph *parent);
/* Make a node before `before` (NULL: at the end).  arg: op->nparam of them, copied;
 * ArgVal entries have use == NULL replaced by arg_val().  Types are set by node_infer. */
Node   *node_new(Graph *, const OpDef *, const Arg *arg, int narg, int nout, Node *before, Loc);
Node   *node_placeholder(Graph *, Str name, const Type *, Loc);
Node   *node_output(Graph *, const Arg *list, Loc);
void    node_inherit(Node *, const Node *of);       /* backward, tag, origin, recompute ...: of the node it stands for */
void    node_delete(Node *);                       /* its results have no uses */
void    node_setargs(Node *, const Arg *arg, int narg);
Arg     arg_val(Val *);                            /* a detached operand: node_new links it */
Arg     arg_int(Ctx *, int64_t); Arg arg_sym(const Sym *); Arg arg_float(double); Arg arg_bool(bool);
Arg     arg_str(Str); Arg arg_dtype(enum dtype); Arg arg_none(void); Arg arg_list(Arena *, const Arg *, int n);
bool     arg_same(const Arg *, const Arg *);        /* the same value, literal, list; -0.0 is not 0.0, nan is nan */
uint64_t arg_hash(const Arg *);                    /* equal for what arg_same holds */
uint64_t hash_mix(uint64_t h, uint64_t x);
Val    *arg_tensor(const Node *, int i);           /* the value of argument i; NULL if None or not a value */
const Arg *node_arg(const Node *, const char *name);
void    val_replace(Val *old, Val *with);          /* every use of old */
void    val_rename(Graph *, Val *, const char *stem); /* made unique */
void    node_rename(Node *, const char *stem);        /* likewise, of a node of several results or none */
Graph  *graph_clone(Graph *);
#define FOREACH_NODE(g, n) for (Node *n = (g)->first; n; n = n->next)
/* Calls fn for every value that a node reads, in order, lists included. */
void    node_operands(Node *, void (*fn)(void *, Use *), void *arg);
int     node_nuse(const Val *);
/* The stream that an operator draws from: a copy of it draws the same numbers. */
static inline uint32_t node_stream(const Node *n) { return n->stream ? n->stream : n->id + (1u << 24); }

/* Bind positional and keyword arguments to a schema: defaults, None, int for int[2],
 * int for float.  Reports and returns false.  out has op->nparam entries. */
bool    op_bind(Ctx *, Loc, const OpDef *, const Arg *pos, int npos, const Str *key, const Arg *kw, int nkw, Arg *out);
bool    op_fits(const Param *, const Arg *);           /* may a bound argument stand there? */
/* The overload of packet "aten.add" that these arguments fit; NULL: none. */
const OpDef *op_overload(Ctx *, const char *packet, const Arg *pos, int npos, const Str *key, const Arg *kw, int nkw);

/* ---- what the tables know (infer.c, expand.c, ex.h) ----------------------- */

bool    node_infer(Node *);                        /* set the types of its results; reports */
bool    graph_infer(Graph *);                      /* all; checks annotations */
/* Replace a node by its table's `expand`; false: it has none, or an error (reported). */
bool    node_expand(Node *);
/* Replace a random operator by what its `eager` or `zero` line says; which words are free: op/rng.op. */
bool    node_draw(Node *, enum rng, const Sym *at, int64_t spare);
/* Is it to be expanded before anything looks at views and derivatives (composite), and in the end?
 * Under DecompTorch its `torch` line says how ("keep": not at all), else its `expand` line. */
bool    node_composite(const Node *);
bool    node_expands(const Node *);

/* The free size `name` is in lo..hi (lo == hi: is that number).  Before types are inferred. */
bool    module_dim(Module *, const char *name, int64_t lo, int64_t hi);
/* Sizes that are numbers of the data get bounds: -fdim's, or what memory allows.  After the last pass on graphs. */
bool    module_found(Module *);

/* ---- text (print.c, verify.c) ---------------------------------------------- */

void    module_print(const Module *, Text *);      /* canonical fxg: reads back to the same module */
void    graph_print(const Graph *, Text *);        /* class, def, statements */
void    node_print(const Node *, Text *);          /* one statement */
const char *arg_str_of(Ctx *, const Arg *);        /* as printed */
bool    module_verify(const Module *);             /* structure, uses, types; bug() is the caller's */

/* ---- reference interpreter (interp.c) -------------------------------------- */

/* A tensor in memory: row-major contiguous, data owned by whoever made it. */
typedef struct Tensor { enum dtype dt; int rank; int64_t dim[MaxRank]; void *data; size_t bytes; } Tensor;
typedef struct SymVal { const Sym *var; int64_t val; } SymVal;

/* Run g on in[] (one for each placeholder; contiguous); results go to out[] (one for
 * each element of the output list; data from the arena).  f64: every float is computed
 * in double.  Symbols are bound from the shapes of the inputs. */
bool    graph_interp(Graph *, Arena *, const Tensor *in, int nin, Tensor *out, int nout, bool f64);
bool    node_interp(Node *, Arena *, const Tensor *const *operand, Tensor *out, bool f64, const SymVal *, int nsym);
double  tensor_get(const Tensor *, int64_t i);     /* as double */
int64_t tensor_geti(const Tensor *, int64_t i);
void    tensor_set(Tensor *, int64_t i, double);
void    tensor_seti(Tensor *, int64_t i, int64_t);
int64_t tensor_numel(const Tensor *);
/* Of raw bytes */
double  dt_load(enum dtype, const void *);
void    dt_store(enum dtype, void *, double);
#endif
