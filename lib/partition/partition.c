/* partition.c - cut a joint graph in two. */
#include "partition/partition.h"

bool
partition(Module *m, const PartOptions *o)
{
	(void)o;
	error(m->cx, NOLOC, "joint graphs cannot be cut yet");
	return false;
}

bool
partition_share(Module *m)
{
	(void)m;
	return true;
}
