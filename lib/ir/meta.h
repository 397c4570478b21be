/* meta.h - what a program does with the memory of its inputs and outputs.
 *
 * The record of PyTorch's AOTAutograd (ViewAndMutationMeta), field by field.  functionalize
 * fills it in, -fdump-meta prints it (grad/meta.c), joint and partition read it, and the
 * header tells users of it.
 */
#ifndef META_H
#define META_H
#include "ir/ir.h"

/* In graph: the new value is copied to the input by the graph itself.  Out of graph: it is an
 * additional result, before the user's, and whoever calls the graph copies it. */
enum mutation { NotMutated, MutatedInGraph, MutatedOutGraph };

/* Names as PyTorch prints them: mutation_text, outalias_text (grad/meta.c). */
enum outalias {
	OutNonAlias, OutAliasOfInput, OutIsInput, OutAliasOfIntermSave, OutAliasOfInterm,
	OutAliasOfIntermUser, OutUnsafeView, OutCustomView
};
extern const char *const mutation_text[], *const outalias_text[];

typedef struct InMeta {
	enum mutation kind;
	bool data, metadata, storage;   /* elements written; sizes or strides changed; set_ */
	bool hidden;                    /* every write was out of autograd's sight (detach, .data) */
	bool nograd;                    /* every write happened under no_grad */
	bool leaf, grad;
	const Type *type;               /* metadata, without set_: what the caller's tensor becomes, else NULL ... */
	const Sym *offset;              /* ... in elements from the start of its memory */
} InMeta;

typedef struct OutMeta {
	enum outalias kind;
	int  base;                      /* input, or output, or intermediate base; -1: None */
	bool grad, gradbw;              /* requires_grad, requires_grad_for_backward */
	VEC(Str) view;                  /* the chain of views from the base, as PyTorch prints each */
	const Type *type;               /* alias: sizes and strides of the view ... */
	const Sym *offset;              /* ... in elements from the start of the base's memory */
} OutMeta;

/* An input that stands for several which share memory (bases.c). */
typedef struct Merged {
	int in;                         /* which placeholder */
	bool hidden, nograd;            /* as of an InMeta, of all that it stands for */
} Merged;

/* What became part of another input. */
typedef struct Lies { Str name, in; int64_t offset; } Lies;

typedef struct Meta {
	VEC(Lies) lies;
	VEC(Merged) merged;
	VEC(Node *) rebuilt;            /* what makes the inputs again from those */
	VEC(InMeta) in;                 /* one for each placeholder */
	VEC(OutMeta) out;               /* one for each of the user's outputs */
	int nbase;                      /* intermediate bases: results after the user's */
	int naliased;                   /* outputs that are views of something */
	int ntoken;
	VEC(int) outgraph, ingraph;     /* mutated_inp_runtime_indices, graph_handled */
	VEC(int) statics;               /* static_input_indices: parameters and buffers of a module */
	bool partitioned;               /* the rest is known */
	VEC(int) donated;               /* indices in the backward graph's inputs, sizes first */
	int nsymsaved;
	bool inference;                 /* nothing needs a gradient */
} Meta;
#endif
