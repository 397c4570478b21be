/* infix.h - expressions over sizes as Python and sympy print them. */
#ifndef INFIX_H
#define INFIX_H
#include "ir/ir.h"

/* Where the text lies, for messages, and how names outside of it are found. */
typedef struct Infix {
	Ctx *cx;
	int  file;       /* of loc_file, when the text is part of a file */
	size_t off;      /* then: where in it */
	bool infile;     /* else every message points at loc */
	Loc  loc;
	bool quiet;      /* report nothing */
	/* L['x'].size()[0]: path "x" ("d.q" for L['d']['q']), what: "size", "stride",
	 * "storage_offset".  NULL function or result: an error. */
	const Sym *(*access)(void *arg, const char *path, const char *what, int dim);
	void *arg;
} Infix;

/* The Sym that text s[0..n) stands for; NULL: reported. */
const Sym *infix_parse(const Infix *, const char *s, size_t n);
/* A guard over the arguments of m, by their names in Python; NULL: not understood (silent). */
const Sym *guard_parse(Module *m, const char *text);
/* The variable of that name with the range that such a name implies. */
const Sym *size_var(Ctx *, const char *name, size_t n);
#endif
