/* tab.h - private to tables.c and describe.c: tables refer to each other by name, to
 * size expressions by their place in P_expr. */
#ifndef EMIT_TAB_H
#define EMIT_TAB_H
#include "emit/tables.h"

/* e: the entry at hand, or NULL. */
typedef struct Tab { Artifact *a; Data *d; const Entry *e; } Tab;

const char *tab_name(const Artifact *, const char *what);
const char *tab_ename(const Tab *, const char *what);      /* of the entry at hand */
void  tab_expr(Tab *, const Sym *);                         /* sizes.c; NULL: a null pointer */
const char *tab_exprs(Tab *, const char *what, const Sym *const *, int n);   /* a table of n; its name, NULL: none */
int64_t tab_konst(const Artifact *, const Weight *);
void  tab_module(Tab *);                                    /* describe.c */
#endif
