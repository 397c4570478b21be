/* lang.h - the table language: syntax trees, values, the evaluator.
 *
 * Private to lib/ir and lib/gen.  langparse.c makes an Ast of a line of a table
 * (genop calls it too, so that a wrong line never gets into the program);
 * lang.c evaluates it.  A Lang is one evaluation: the operator whose line it
 * is, the names in scope, and the mode, which says what a tensor is:
 *
 *   LangPlain    something with a type: where, type, shape, stride
 *   LangTensor   a Val: expand, inverse, grad; operators make nodes
 *   LangElement  its element at i, an Ex: value, lower
 *
 * Errors unwind to the one setjmp of the evaluation: the evaluator's memory is
 * the arena's, so there is nothing to clean up.
 */
#ifndef LANG_H
#define LANG_H
#include <setjmp.h>
#include "ir/ex.h"

/* ---- syntax (langparse.c) ---------------------------------------------- */

enum astkind {
	AstNone, AstBool, AstInt, AstFloat, AstStr, AstName,
	AstList,     /* [a, *b] and (a, b) */
	AstStar,     /* *b in a list or a call */
	AstBin,      /* s is the operator's text */
	AstNeg, AstInv, AstNot, AstAnd, AstOr,
	AstCmp,      /* s: == != < <= > >= is isnot in notin */
	AstIf,       /* kid: condition, then, else */
	AstIndex,    /* kid: what, subscripts */
	AstSlice,    /* kid: from, to, step; each may be NULL */
	AstAttr,     /* kid[0].s */
	AstCall,     /* kid: function, arguments */
	AstKw,       /* s = kid[0] */
	AstComp,     /* kid: expression, then AstFor and AstWhen clauses; b: in [] (a list), else a generator */
	AstFor,      /* clause: kid: iterated, names */
	AstWhen,     /* clause: kid: condition */
	AstLambda,   /* kid: body, names */
	/* statements */
	AstBlock, AstAssign /* kid: value, targets (names) */, AstAdd /* s += */,
	AstWhether /* if: kid: cond, block, else block or NULL */,
	AstLoop /* for: kid: iterated, block, names */,
	AstReturn, AstAssert /* kid: cond, message or NULL */, AstExpr
};

typedef struct Ast Ast;
struct Ast {
	enum astkind kind;
	bool b;
	int line;            /* within the text, from 0 */
	size_t at;           /* byte of the text where it begins */
	Str s;
	int64_t i; double f;
	int n;
	Ast **kid;
};

enum langform { FormExpr, FormWhere, FormBlock };   /* FormExpr: an expression, or statements if it begins as one */

/* file:line is where the text begins, for messages.  NULL: reported. */
Ast *lang_parse(Ctx *, const char *text, enum langform, const char *file, int line);
/* The text lies in a file that loc_file gave the number source, at offset: messages show the place. */
Ast *lang_parse_at(Ctx *, const char *text, enum langform, int source, size_t offset);

/* ---- macros of the tables ------------------------------------------------ */

typedef struct MacroDef {
	const char *name;
	const char *const *param; int nparam;
	const char *text;
	double ulp;              /* impl: its stated bound; 0: none */
	double within;           /* the bound is for arguments of at most this magnitude; 0: all */
	const char *file; int line;
} MacroDef;
extern const MacroDef fntab[], impltab[];     /* fn, impl: sorted by name; in optab.c */
extern const int nfntab, nimpltab;
/* What a scalar function is made of for f32 operands: an Ex over the simple scalars.
 * NULL: none, it is a machine's own. */
const Ex *lang_impl(Ctx *, enum scalar, const Ex *const *arg);

/* ---- values ---------------------------------------------------------------- */

enum lkind {
	LNone, LBool, LInt, LFloat, LStr, LDtype, LList, LTensor,
	LEx,         /* an element */
	LCond,       /* a comparison of sizes that is not known yet: only while evaluating a where */
	LFun, LRange,
	LSaved,      /* result of the forward node, number i: made readable when somebody reads it */
	LArg         /* memory format, layout, device ...: handed on as it is */
};
typedef struct LVal {
	enum lkind kind;             /* LNone with t: the gradient of result t, undefined (expand.c) */
	bool wrapped;                /* a number that was given for a Tensor */
	union {
		bool b;
		const Sym *i;                               /* LInt (may be isfloat), LCond */
		double f;
		Str s;
		enum dtype dt;
		Val *t;
		const Ex *ex;
		struct { struct LVal *v; int n; } list;
		struct { const Sym *from, *to; int64_t step; } range;
		const Ast *fun;
		const Arg *arg;
	};
} LVal;

enum { LangMaxDepth = 400, LangMaxList = 1 << 16 };   /* nesting; elements of a list */

enum langmode { LangPlain, LangTensor, LangElement };

typedef struct Lang {
	Ctx *cx;
	Arena *a;
	Module *mod;             /* where guards go; NULL: none */
	const OpDef *op;
	Loc loc;
	enum langmode mode;
	const char *what;        /* the line: "value"; for messages */
	VEC(struct { Str name; LVal val; }) env;
	int frame;               /* names below are not visible */
	bool guards;             /* in a where */
	int depth;
	bool returned;
	LVal ret;
	jmp_buf *fail;
	/* LangTensor */
	Graph *g;
	Node *before;
	struct GradOf *grad;     /* of a grad line */
	/* LangElement */
	Val *out;                /* the result in question */
	const Sym *const *i;
	int ni;
	enum dtype compute;      /* what a pointwise op computes in; DtNone: elements keep their dtype */
	VEC(const Sym *) ivar;   /* variables that are indices, not sizes */
	Low *low;                /* of a lower line */
} Lang;

typedef VEC(LVal) LVals;
typedef struct LKey { Str name; LVal val; } LKey;
typedef VEC(LKey) LKeys;

static inline LVal
lang_bool(bool b)
{
	return (LVal){.kind = LBool, .b = b};
}

/* lang.c */
void  lang_init(Lang *, Ctx *, Module *, const OpDef *, Loc, enum langmode);
void  lang_bind(Lang *, const Arg *);                /* the parameters, from the arguments of a node */
void  lang_set(Lang *, const char *name, LVal);
/* The line's value; false: reported. */
bool  lang_run(Lang *, const char *what, const char *text, enum langform, LVal *);
const Ast *lang_ast(Ctx *, const OpDef *, const char *what, const char *text, enum langform);
LVal  lang_eval(Lang *, const Ast *);
LVal  lang_call1(Lang *, LVal fun, LVal arg);        /* a lambda */
_Noreturn void lang_fail(Lang *, const Ast *, const char *fmt, ...) PRINTF(3, 4);
LVal  lang_frarg(Ctx *, const Arg *);
LVal  lang_list(Lang *, int n);
LVal  lang_sym(const Sym *);
LVal  lang_int(Ctx *, int64_t);
const Sym *lang_tosym(Lang *, const Ast *, LVal);    /* an int, or fails */
bool  lang_dtypeof(LVal, enum dtype *);              /* of a tensor or a number, as ATen sees it */
bool  lang_isindex(Lang *, const Sym *);             /* mentions an index variable */
bool  lang_isnum(LVal);
bool  lang_isel(Lang *, LVal);                       /* an element: LEx, or a tensor in element mode */
LVal  lang_binary(Lang *, const Ast *, const char *op, LVal, LVal);
LVal  lang_compare(Lang *, const Ast *, const char *op, LVal, LVal);
LVal  lang_iter(Lang *, const Ast *, LVal);          /* as a list */
LVal  lang_comp(Lang *, const Ast *comp);            /* a comprehension, as a list */
void  lang_bindnames(Lang *, const Ast *, Ast *const *name, int n, LVal);
const char *lang_str(Ctx *, LVal);

LVal *lang_lookup(Lang *, Str name);                 /* NULL: no such local */
void  lang_push(Lang *, Str name, LVal);
LVal  lang_body(Lang *, const Ast *);                /* an expression, or statements that return */
LVal  lang_truth(Lang *, const Ast *, LVal);         /* LBool, LCond, or an element */
bool  lang_holds(Lang *, const Ast *at, const Ast *cond);
LVal  lang_negate(Lang *, const Ast *, LVal);        /* langval.c */
LVal  lang_aslist(Lang *, const LVals *);            /* langlist.c */
void  lang_spread(Lang *, const Ast *, LVals *out);  /* e, or the elements of *e */
LVal  lang_subscript(Lang *, const Ast *);
LVal  lang_attribute(Lang *, const Ast *);
LVal  lang_call(Lang *, const Ast *);                /* langcall.c */
bool  lang_isfunction(const char *name);             /* may name(...) be a call? */

/* langfn.c: functions on plain values; false: there is none of that name that takes these. */
typedef struct LCall {
	Lang *L;
	const Ast *at;
	Str name;
	LVal *v;
	int n;
	LKey *kw;
	int nkw;
} LCall;
LVal  lang_arg(const LCall *, int k);
const Sym *lang_symarg(const LCall *, int k);
LVal  lang_listarg(const LCall *, int k);
int64_t lang_known(const LCall *, const Sym *);      /* its value when compiling, or fails */
bool  lang_builtin(Lang *, const Ast *, Str name, LVal *arg, int n, LKey *kw, int nkw, LVal *out);
bool  lang_isstructural(Str name);
bool  lang_isbuiltin(const char *name);
/* langshape.c */
LVal  lang_f_broadcast(const LCall *), lang_f_normdim(const LCall *), lang_f_normdims(const LCall *),
      lang_f_infer_size(const LCall *), lang_f_flat(const LCall *), lang_f_unflat(const LCall *),
      lang_f_reindex(const LCall *), lang_f_viewstride(const LCall *), lang_f_newsize(const LCall *), lang_f_newnumber(const LCall *);
const Sym *lang_broadcastdim(Lang *, const Sym *, const Sym *);  /* NULL: they do not fit */

/* langel.c: element mode */
const Ex *lang_ex(Lang *, const Ast *, LVal);
const Sym *lang_indirect(Lang *, const Ast *, LVal, int64_t lo, int64_t hi);   /* an element as an index */
const Ex *lang_cond(Lang *, const Ast *, LVal);      /* as b8 */
LVal  lang_exbinary(Lang *, const Ast *, const char *op, LVal, LVal);
LVal  lang_excompare(Lang *, const Ast *, const char *op, LVal, LVal);
LVal  lang_select(Lang *, const Ast *, LVal c, LVal a, LVal b);
LVal  lang_load(Lang *, const Ast *, LVal t, const LVal *idx, int n);
/* sum(EXPR for k in N) and its like; false: not that. */
bool  lang_exfold(Lang *, const Ast *call, Str name, LVal *out);
/* A function of elements; false: none of that name, or all arguments are plain. */
bool  lang_excall(Lang *, const Ast *, Str name, LVal *arg, int n, LKey *kw, int nkw, LVal *out);
/* The last resort: a scalar function of plain numbers that plain values do not have. */
bool  lang_exscalar(Lang *, const Ast *, Str name, LVal *arg, int n, LVal *out);

int   lang_foldof(const char *name);                 /* enum fold; -1 */
const Sym *lang_freshvar(Lang *, const char *stem, const Sym *extent);   /* an index over 0..extent-1 */
void  lang_need(Lang *, const Ast *, Str name, int n, int want);         /* arguments */

/* low.c: scan, scatter, extern, blocks; false: none of these */
bool  lang_lowering(Lang *, const Ast *, Str name, LVal *, int n, LKey *, int nkw);

/* langop.c: tensor mode */
LVal  lang_opcall(Lang *, const Ast *, const char *packet, const OpDef *exact, LVal *arg, int n, LKey *kw, int nkw);
LVal  lang_opbinary(Lang *, const Ast *, const char *op, LVal, LVal);
bool  lang_hasop(const char *packet);
Arg   lang_toarg(Lang *, const Ast *, LVal);

/* langgraph.c: a sub-graph called with these; the list of its results */
LVal  lang_graphcall(Lang *, const Ast *, const Graph *, const LVal *arg, int n);

/* infer.c: types of the results of op applied to arg (bound).  For a Tensor[] result
 * there is a type for each element. */
bool  infer_types(Graph *, Loc, const OpDef *, const Arg *arg, const Type ***type, int *n);
bool  infer_subgraphs(Node *);                       /* those of a higher-order operator */
/* The type of a pointwise operator's result with PyTorch's strides (layout.c). */
const Type *layout_elementwise(Graph *, const OpDef *, const Arg *arg, const Type *);
const Type *layout_like(Ctx *, const Type *);          /* that of empty_like: no gaps */
void  infer_guard(Module *, Loc, const Sym *cond, Str message);   /* cond holds from here on; checked at the door */
enum dtype infer_promote(const OpDef *, const Arg *arg);   /* ATen's result type of all that take part */

/* expand.c: does a condition of the tables hold of sizes?  text: macros over these names. */
bool  table_holds(Graph *, Loc, const OpDef *, const char *text, const char *const *name, const Sym *const *size, int n);
/* Evaluate the expand line of op before a node, in g. */
bool  expand_op(Graph *, const OpDef *, const Arg *, Loc, Node *before, Val ***res, int *n);
/* Sizes that took other names: var[k] is now with[k], in types and arguments. */
typedef struct Renaming { VEC(const Sym *) var, with; } Renaming;
const Type *renamed_type(Ctx *, const Renaming *, const Type *);
void  renamed_args(Ctx *, const Renaming *, Node *);
/* functionalize: the new value of the base of a view when the view's value becomes newval. */
bool  lang_inverse(Node *view, Val *newval, Node *before, Val **newbase);
/* A node that is differentiated.  Its grad lines share what they save: one GradOf for all. */
typedef struct GradOf {
	Node *n;
	Val *const *out;         /* gradients of its results; NULL: none */
	const bool *need;        /* by parameter: which are differentiated; NULL: all tensors of floats */
	const bool *flows;       /* by result: is a gradient wanted of it?  Such a result is saved through aliases, as
	                          * PyTorch does (detach).  NULL: no aliases */
	Val **open;              /* by result: what backward reads; cache, zeroed by the caller, if flows */
} GradOf;
/* Gradients with respect to argument `param`, as nodes before `before`: one for each element if it
 * is a list, else one; NULL: none.  false: reported. */
bool  lang_grads(GradOf *, int param, Node *before, Val ***grad, int *n);
/* The same of one tensor. */
bool  lang_grad(Node *n, int param, Val *const *gradout, Node *before, Val **out);
/* What the line of a parameter says: there is none; `none`; an expression. */
enum gradline { GradUnknown, GradNone, GradExpr };
enum gradline lang_gradline(const OpDef *, int param);
bool  lang_gradflows(const OpDef *, int result);     /* does some line read its gradient? */
LVal  lang_unsaved(Lang *, int result);              /* an LSaved as a tensor */
LVal  lang_defined(Lang *, LVal);                    /* zeros for an undefined gradient; else as it is */
bool  lang_needs(Lang *, const Ast *, Str param);
#endif
