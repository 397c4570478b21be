/* rule.h - rewrites of the .pat tables: what lib/gen made of them, and applying one.
 *
 * rule/simplify.pat says how a rule is written.
 */
#ifndef RULE_H
#define RULE_H
#include "ir/lang.h"

enum { RuleMaxBound = 16 };      /* names in a pattern */

typedef struct RuleDef {
	const char *name;
	const char *pattern, *replacement;
	const char *when;        /* NULL: always */
	bool fast;               /* only under -ffast-math */
	const char *pass;        /* the pass that applies it: the stem of its file; "loaded" */
	const char *file; int line;
	/* of a rule that was read when compiling */
	int source;              /* of loc_file */
	size_t at, pattern_at, replacement_at, when_at;   /* where the name and the parts are in it */
	const char *external;    /* the replacement is a list of arguments for this operator of the user's own, */
	const char *symbol;      /* this C function */
} RuleDef;
typedef VEC(RuleDef) Rules;
extern const RuleDef ruletab[];      /* in the order of the files; in ruletab.c */
extern const int nruletab;

/* rulefile.c: add the rules of a text to out; false: reported. */
bool rules_read(Ctx *, const char *file, const char *text, size_t n, Rules *out);
/* rulecheck.c: the same, and what they say of operators and names is so; out becomes part of the
 * module.  external: "lib.op=symbol" of --extern. */
bool rules_load(Module *, const File *, const char *const *external, int nexternal);
/* All rules of a module, by number: ruletab, then what was loaded. */
static inline int rule_count(const Module *m) { return nruletab + m->nloaded; }
static inline const RuleDef *rule_number(const Module *m, int k) { return k < nruletab ? &ruletab[k] : &m->loaded[k - nruletab]; }

/* Is op one that the pattern, or a call within it, names? */
bool rule_names(Ctx *, const Ast *call, const OpDef *);
/* The parameter of op that argument k (from 1) of a call in a pattern is for; -1: none. */
int  rule_param(const Ast *call, int k, const OpDef *);
/* Names u to z, and those with digits behind (x1), stand for tensors, others for literals. */
bool rule_istensor(const char *name);
/* Is it a name that a pattern binds? */
bool rule_isvar(const Ast *);
/* A function that conditions know beside those of the table language. */
bool rule_ishelper(const char *name);
/* What may stand for the result of root; its nodes are made before root.  NULL: the rule
 * does not apply, nothing was made; or an error, reported. */
Val *rule_apply(const RuleDef *, Node *root);
#endif
