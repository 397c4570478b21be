/* unsupported.c - collect the operators that fxcc does not know.
 *
 * A reader does not stop at the first unknown operator: it notes each one and
 * goes on, so that one run tells the user about all of them.  The message
 * points at the first place of the first one.
 */
#include "front/front.h"

void
unsupported_add(Ctx *cx, Unsupported *u, const char *name, Loc loc)
{
	Str key = intern_str(cx, name);

	for (int i = 0; i < u->n; i++)
		if (u->v[i].name == key) {
			u->v[i].count++;
			return;
		}
	vec_push(ctx_arena(cx), u, (UnsupportedOp){key, 1, loc});
}

bool
unsupported_report(Ctx *cx, const Unsupported *u)
{
	Text t = {.arena = ctx_arena(cx)};

	if (u->n == 0)
		return true;
	for (int i = 0; i < u->n; i++) {
		text_add(&t, "%s%s", i ? ", " : "", u->v[i].name);
		if (u->v[i].count > 1)
			text_add(&t, " (%d times)", u->v[i].count);
	}
	error(cx, u->v[0].loc, u->n == 1 ? "%d operator is not supported: %s"
	                                 : "%d operators are not supported: %s",
	      u->n, t.s);
	return false;
}
