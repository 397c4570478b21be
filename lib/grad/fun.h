/* fun.h - what functionalize knows while it walks a graph.
 *
 * A Val of the program names a tensor (Tens).  Several names may mean one tensor: `y = x.add_(1)`
 * makes y the same as x.  A tensor is a view (Alias) of some memory; x.t_() makes it another view.
 * Aliases of one memory form a tree: the root owns it, the others are views of their parents.
 * A write makes a new value and carries it from the view up to the root by the `inverse` lines of
 * the views; the root's version says that other views are out of date, and these are derived
 * anew when somebody reads them.
 *
 *     y = x[0]            y is a view of x
 *     y.add_(1)           v = add(y, 1); x' = select_scatter(x, v, 0, 0)
 *     z = x + 1           z = add(x', 1)
 *
 * What autograd would think of a tensor (does it require a gradient, what is it a differentiable
 * view of) is kept beside that, for the record of aliases (record.c).
 */
#ifndef FUN_H
#define FUN_H
#include "grad/grad.h"
#include "ir/lang.h"

typedef struct Alias Alias;
typedef struct Tens Tens;

struct Alias {
	Alias *root, *parent;    /* parent NULL: the root */
	Node *view;              /* what derives it from the parent ... */
	int out;                 /* ... as which of its results */
	Alias *after;            /* the view that the program took it of, where that is not the parent (as_strided) */
	Str text;                /* the view as PyTorch prints it; NULL: a step that it does not count */
	const Type *type;        /* sizes and strides in that memory */
	const Sym *offset;       /* elements from the start of the memory to its first one */
	Val *cur;                /* its value, as of version */
	int version;             /* the root's: how often it was written */
	int nograd;              /* root: writes under no_grad */
	Tens *owner;             /* root: the tensor that it was made for */
};

struct Tens {
	Alias *is, *was;         /* was: in the beginning */
	int input;               /* which input of the module it is; -1 */
	Tens *base;              /* what it is a differentiable view of; NULL: nothing */
	bool grad;               /* requires a gradient, not only because its base does */
	bool multi;              /* came from split, unbind or the like */
	bool replaced;           /* its memory was by set_ */
	int seen;                /* version of the memory when autograd last looked at it */
};

/* A write to a view of what is differentiated: `base` gets a new history, in place of that of the
 * view, which was `was`.  base NULL: it is no such write. */
typedef struct Slices { Alias *base; Val *was; } Slices;

/* How a view is printed that was expanded. */
typedef struct Printed { Str text; bool multi; } Printed;

typedef struct Fun {
	Module *mod;
	Graph *g;
	Ctx *cx;
	Arena *a;
	Map tens;                /* Val * to Tens *; looked up only */
	Map printed;             /* Node * to Printed *: of views that were expanded */
	VEC(Node *) dead;        /* writers that were replaced */
	bool gradmode;           /* gradients are on where no node says otherwise */
	Tens **in;               /* one for each input of the module; NULL: no tensor */
	Tens **out; int nout;    /* what the user's graph returned; NULL: no tensor */
} Fun;

/* ---- alias.c ---- */

Tens  *fun_tensor(Fun *, Val *);                           /* made when it is new */
Tens  *fun_known(Fun *, const Val *);                      /* NULL: nobody has named it yet */
void   fun_same(Fun *, Val *, Tens *);                     /* v is that tensor */
Val   *fun_value(Fun *, Alias *, Node *before);            /* as it is now; NULL: reported */
/* v is its value from here on; to autograd as in `s`, if given. */
bool   fun_write(Fun *, Alias *, Val *, const Slices *s, Node *before);
Val   *fun_unseen(Fun *, Val *v, Val *was, Node *before);  /* v, with the gradient of `was`; NULL: reported */
bool   fun_refresh(Fun *, Node *);                         /* let it read what its operands are now */
/* Is an operator's result a view of its first argument; of several: are all results? */
bool   op_isview(const OpDef *);
bool   op_ismultiview(const OpDef *);
Alias *fun_view(Fun *, Node *, int out, Alias *parent);
bool   fun_wholememory(Fun *, Node *as_strided, Alias *of);
Node  *fun_node(Fun *, const OpDef *, const Arg *, int nout, Node *before);   /* types set; NULL: reported */

/* ---- writes.c ---- */

bool   op_writes(const OpDef *);                           /* by its schema */
struct Stats;
const struct Stats *node_stats(const Node *);              /* writes running statistics; NULL */
bool   fun_stats(Fun *, Node *, const struct Stats *);
bool   fun_mutation(Fun *, Node *);
bool   fun_gradmode(const Fun *, const Node *);

/* ---- slices.c ---- */

bool   fun_sliced(Fun *, Node *, Tens *, Slices *);        /* n is about to write that tensor, its first operand */
Val   *fun_slices(Fun *, const Slices *, Val *base, Val *wrote, Node *before);   /* NULL: reported */

/* ---- record.c ---- */

bool   tens_grad(const Tens *);                            /* requires_grad */
bool   fun_differentiable(Fun *, Node *);                  /* do its results require a gradient?  Before fun_refresh */
void   fun_requiregrad(Fun *, Node *);                     /* they do */
void   fun_tell(Fun *, Node *);                            /* notes in its operands whether they do (Val.grad) */
Str    view_text(Ctx *, const Node *, int out);            /* "(False, True, <...>, [2, 2])" */
bool   fun_inmeta(Fun *, const Input *, const Tens *, InMeta *);
bool   fun_record(Fun *);                                  /* fills in Module.meta */

/* ---- functionalize.c ---- */

/* What the program does to its inputs (one for each placeholder); it stays as it is. */
bool   fun_survey(Module *, InMeta *in);
#endif
