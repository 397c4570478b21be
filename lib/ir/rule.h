/* rule.h - rewrites of the .pat tables: what lib/gen made of them, and applying one.
 *
 * rule/simplify.pat says how a rule is written.
 */
#ifndef RULE_H
#define RULE_H
#include "ir/lang.h"

typedef struct RuleDef {
	const char *name;
	const char *pattern, *replacement;
	const char *when;        /* NULL: always */
	bool fast;               /* only under -ffast-math */
	const char *pass;        /* the pass that applies it: the stem of its file */
	const char *file; int line;
} RuleDef;
extern const RuleDef ruletab[];      /* in the order of the files; in ruletab.c */
extern const int nruletab;

/* Is op one that the pattern, or a call within it, names? */
bool rule_names(Ctx *, const Ast *call, const OpDef *);
/* The parameter of op that argument k (from 1) of a call in a pattern is for; -1: none. */
int  rule_param(const Ast *call, int k, const OpDef *);
/* Names u to z, and those with digits behind (x1), stand for tensors, others for literals. */
bool rule_istensor(const char *name);
/* Is it a name that a pattern binds? */
bool rule_isvar(const Ast *);
/* What may stand for the result of root; its nodes are made before root.  NULL: the rule
 * does not apply, nothing was made; or an error, reported. */
Val *rule_apply(const RuleDef *, Node *root);
#endif
