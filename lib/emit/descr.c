/* descr.c - what an argument is, in the words of PyTorch's descriptors.
 *
 *     param l.weight     buffer bn.running_mean     constant c     input x
 *     grad(param l.weight)     tangent(out0)     saved(mm)
 *
 * A graph of Dynamo has parameters and buffers among its inputs, and says which in their names:
 * L_s_modules_bn_buffers_running_mean_ is s.bn.running_mean of module s.
 */
#include <string.h>
#include "emit/tables.h"
#include "rt/fxcc_abi.h"

static const char *const words[] = {"input", "param", "buffer", "constant"};   /* FXCC_USER ... */

/* The kind that follows at s: "_modules_", "_parameters_", "_buffers_"; how long it is. */
static int
section(const char *s, size_t *n)
{
	static const struct { const char *text; int kind; } list[] = {
		{"_modules_", FXCC_USER}, {"_parameters_", FXCC_PARAM}, {"_buffers_", FXCC_BUFFER},
	};

	for (int i = 0; i < COUNT(list); i++)
		if (strncmp(s, list[i].text, *n = strlen(list[i].text)) == 0)
			return list[i].kind;
	return -1;
}

/* The path that a name of Dynamo stands for, and what is there; NULL. */
static Str
path(Artifact *a, Str name, int *kind)
{
	Text t = {.arena = a->a};
	const char *s = name + 2;
	size_t n;
	int k = -1;

	if (strncmp(name, "L_", 2) != 0)
		return NULL;
	while (*s && (k = section(s, &n)) < 0)          /* the module's own name */
		s++;
	while (k == FXCC_USER) {
		for (s += n; *s && (k = section(s, &n)) < 0; s++)
			text_put(&t, s, 1);
		text_add(&t, ".");
	}
	if (k < 0)
		return NULL;
	s += n;
	n = strlen(s);
	text_put(&t, s, n && s[n - 1] == '_' ? n - 1 : n);
	*kind = k;
	return t.s;
}

Str
descr_kind(int kind)
{
	return words[kind >= 0 && kind < COUNT(words) ? kind : 0];
}

/* Of an argument of forward. */
Str
descr_input(Artifact *a, const Port *p)
{
	int kind = p->kind;
	Str name = p->fqn && p->kind != FXCC_USER ? p->fqn : path(a, p->name, &kind);

	return arena_printf(a->a, "%s %s", descr_kind(kind), name ? name : p->name);
}

/* Of a result of backward. */
Str
descr_gradient(Artifact *a, const Port *p)
{
	if (p->alias >= 0)
		return arena_printf(a->a, "grad(%s)", descr_input(a, &a->entry[0].in.v[p->alias]));
	return arena_printf(a->a, "grad(param %s)", p->fqn ? p->fqn : p->name);
}
