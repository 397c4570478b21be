/* bases.c - inputs that share memory. */
#include "grad/grad.h"

bool
pass_bases(Module *m)
{
	(void)m;
	return true;
}
