/* pass.h - passes over graphs that need no target: each one row of cmd/passes.def, one file here. */
#ifndef PASS_H
#define PASS_H
#include "ir/ex.h"
#include "ir/part.h"

bool pass_decompose(Graph *);    /* expand every operator that has no code of its own */
bool decompose_between(Node *first, const Node *end);   /* what a later pass made with operators that are made of others */
bool pass_expand(Graph *);       /* and what -fdecompose kept whole until then */
bool pass_replace_random(Graph *);   /* number the streams of random operators */
bool complex_to_real(Graph *, bool *changed);   /* part of it (complex.c) */
bool graph_iscomplex(Graph *);   /* the interpreter wants it decomposed first */
bool pass_autocast(Graph *);     /* casts of torch.autocast, if Module.autocast says a dtype */
bool pass_attention(Graph *);    /* one operator for attention that is spelled out (fxcc.attention) */
bool pass_noop(Graph *);
bool pass_cse(Graph *);
bool pass_uniform(Graph *);      /* the rules of uniform.pat; fast ones if Module.fastmath */
bool pass_views(Graph *);
bool pass_patterns(Graph *);
bool pass_loaded(Graph *);       /* the rules of --patterns */
bool pass_simplify(Graph *);     /* all rules whose table is not in Module.rulesoff */
bool pass_binary_folding(Graph *);
bool pass_batch_gemm(Graph *);
bool pass_constfold(Graph *);
enum { FoldMost = 1 << 24 };     /* elements of what constfold evaluates */
bool *values_known(Graph *, Arena *);   /* by id: what constfold could evaluate, and the weights it is made of */
bool pass_slice_writes(Graph *);
bool pass_dce(Graph *);
/* All return false only after reporting an error. */
void simplify_report(const Module *, FILE *, const char *what);   /* how often each rule was applied */
void attention_report(Ctx *, FILE *, bool found, bool missed);   /* what became attention, and which softmax did not */
#endif
