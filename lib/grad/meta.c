/* meta.c - the record of mutations and aliases as text. */
#include "grad/grad.h"

void
meta_print(const Module *m, Text *t)
{
	(void)m;
	(void)t;
}
