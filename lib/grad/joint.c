/* joint.c - reverse mode: the graph and its derivative in one. */
#include "grad/grad.h"

bool
pass_joint(Module *m)
{
	if (!m->train)
		return true;
	error(m->cx, NOLOC, "--train is not there yet");
	return false;
}
