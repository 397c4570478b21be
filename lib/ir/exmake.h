/* exmake.h - the table of expressions of a compilation; for ex.c and exwalk.c. */
#ifndef EXMAKE_H
#define EXMAKE_H
#include "ir/ex.h"

typedef struct ExTable {
	const Ex **slot;       /* open addressing, cap a power of two */
	int n, cap;
	Map byex, byvar;       /* indirect variables: Ex -> struct Indirect, Sym -> Ex */
} ExTable;

ExTable *ex_table(Ctx *);
#endif
