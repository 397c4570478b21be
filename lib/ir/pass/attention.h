/* attention.h - what attention.c found and attend.c puts in its place. */
#ifndef PASS_ATTENTION_H
#define PASS_ATTENTION_H
#include "ir/pass/pass.h"

/* A node on the way from the first product to softmax; its operand number `arm` is the scores. */
typedef struct Stage { Node *n; int arm; } Stage;

typedef struct Attention {
	Graph *g;
	Ctx   *cx;
	Arena *a;
	Val  *scores, *weights;        /* what softmax is of, and gives */
	bool  safe;                    /* rows all at -inf give zeros, not NaN */
	Node *first, *last;            /* query by keys; weights by values */
	VEC(Stage) up;                 /* from softmax to the first product */
	VEC(Node *) down;              /* from softmax to the second one: views, casts, dropout */
	VEC(Node *) inside;            /* all that the one operator stands for */
	Str   why;                     /* why it is none */
} Attention;

enum moving { MovesNot, MovesRows, MovesKeep };    /* MovesRows: changes dimensions before the last two; Keep: nothing at all */
enum moving attention_moves(const Node *);
bool   attention_named(const Node *, const char *const *name, int n);

/* The one operator before `last`; its result has the place of last's.  false: an error, reported. */
bool   attention_make(Attention *);
#endif
