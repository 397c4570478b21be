/* forma.c - print(gm.graph): one node in a line. */
#include "front/text.h"
bool
forma_graph(Reader *r, Class *c)
{
	(void)c;
	error(r->cx, NOLOC, "form A");
	return false;
}
