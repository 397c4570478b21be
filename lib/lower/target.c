/* target.c - the table of machines. */
#include "lower/kernel.h"

const Target targettab[] = {
#define TARGET(name, cpu, features, vec, nreg, mr, nv, l1, l2, gather, masked)  \
	{name, cpu, features, vec, nreg, mr, nv, l1, l2, gather, masked},
#include "lower/target.def"
#undef TARGET
};
const int ntarget = COUNT(targettab);

const Target *
target_find(const char *name)
{
	for (int i = 0; i < ntarget; i++)
		if (strcmp(targettab[i].name, name) == 0)
			return &targettab[i];
	return NULL;
}
