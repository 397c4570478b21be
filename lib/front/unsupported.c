/* unsupported.c - collect the operators that fxcc does not know.
 *
 * A reader does not stop at the first unknown operator: it notes each one and
 * goes on, so that one run tells the user about all of them.  The message
 * points at the first place of the first one.
 */
#include <stdlib.h>
#include "front/front.h"

enum { MaxNames = 1000 };       /* more are no help to anybody */

void
unsupported_add(Ctx *cx, Unsupported *u, const char *name, Loc loc)
{
	Str key = intern_str(cx, name);

	for (int i = 0; i < u->n; i++)
		if (u->v[i].name == key) {
			u->v[i].count++;
			return;
		}
	if (u->n < MaxNames)
		vec_push(ctx_arena(cx), u, (UnsupportedOp){key, 1, loc});
}

/* By name, so that the message is the same whatever the order of the nodes. */
static int
byname(const void *a, const void *b)
{
	const UnsupportedOp *p = a, *q = b;

	return strcmp(p->name, q->name);
}

bool
unsupported_report(Ctx *cx, const Unsupported *u)
{
	Arena *a = ctx_arena(cx);
	Text t = {.arena = a};
	UnsupportedOp *v;

	if (u->n == 0)
		return true;
	v = arena_dup(a, u->v, sizeof *v * (size_t)u->n);
	qsort(v, (size_t)u->n, sizeof *v, byname);
	for (int i = 0; i < u->n; i++) {
		text_add(&t, "%s%s", i ? ", " : "", v[i].name);
		if (v[i].count > 1)
			text_add(&t, " (%d times)", v[i].count);
	}
	error(cx, u->v[0].loc, u->n == 1 ? "%d operator is not supported: %s"
	                                 : "%d operators are not supported: %s",
	      u->n, t.s);
	for (int i = 0; i < u->n && u->n > 1; i++)
		note(cx, v[i].loc, "%s is first used here", v[i].name);
	return false;
}
