/* lists.c - what users give to the partition as files: operators by kind, names of values to save.
 *
 * A list of operators (--partition-lists) has PyTorch's four sections, one packet a line:
 *
 *     # compute_intensive_ops
 *     aten.mm
 *     # view_ops
 *     aten.permute
 *
 * A section that is given replaces what oplist.def says of that kind, others stay.  Lines of functions
 * of Python's (<built-in ...>) are skipped: the graph has none.
 *
 * A list of values (-fpartition=FILE) has their names, with blanks or commas between; `#` begins a
 * comment.  They and nothing else are saved.
 */
#include <ctype.h>
#include "partition/part.h"

typedef struct Lines { Ctx *cx; const File *f; int file; size_t at; const char *s; size_t n; } Lines;

/* The next line, without blanks at its ends. */
static bool
next(Lines *l)
{
	const char *text = (const char *)l->f->data, *e;

	if (l->at >= l->f->size)
		return false;
	l->s = text + l->at;
	e = memchr(l->s, '\n', l->f->size - l->at);
	l->n = e ? (size_t)(e - l->s) : l->f->size - l->at;
	l->at += l->n + 1;
	while (l->n && isspace((unsigned char)*l->s))
		l->s++, l->n--;
	while (l->n && isspace((unsigned char)l->s[l->n - 1]))
		l->n--;
	return true;
}

static Lines
lines(Ctx *cx, const File *f)
{
	return (Lines){.cx = cx, .f = f, .file = loc_file(cx, f->name, (const char *)f->data, f->size)};
}

static Loc
place(const Lines *l, const char *s)
{
	return loc_at(l->cx, l->file, (size_t)(s - (const char *)l->f->data));
}

/* ---- operators ------------------------------------------------------------------ */

static const struct section { const char *name; unsigned type; } sections[] = {
	{"compute_intensive_ops", OpIntensive}, {"random_ops", OpRandomList}, {"view_ops", OpViewList},
	{"recomputable_ops", OpRecompute},
};

static bool
section(OpLists *o, const Lines *l, unsigned *now)
{
	const char *s = l->s + 1;

	while (s < l->s + l->n && isspace((unsigned char)*s))
		s++;
	for (int i = 0; i < COUNT(sections); i++)
		if (l->n - (size_t)(s - l->s) == strlen(sections[i].name) && memcmp(s, sections[i].name, strlen(sections[i].name)) == 0) {
			o->given |= *now = sections[i].type;
			return true;
		}
	error(l->cx, place(l, l->s), "'%.*s' is no kind of operators: compute_intensive_ops, random_ops, view_ops, recomputable_ops",
	      (int)l->n, l->s);
	return false;
}

const OpLists *
oplists_read(Ctx *cx, const File *f)
{
	OpLists *o = NEW(ctx_arena(cx), OpLists);
	Lines l = lines(cx, f);
	unsigned now = 0;

	while (next(&l)) {
		Str packet;

		if (l.n == 0 || *l.s == '<')
			continue;
		if (*l.s == '#') {
			if (!section(o, &l, &now))
				return NULL;
			continue;
		}
		packet = intern(cx, l.s, l.n);
		if (!now || !memchr(l.s, '.', l.n) || !packet_known(packet)) {
			error(cx, place(&l, l.s), now ? "'%s' names no operator (aten.mm)" : "'%s' stands in no section (# view_ops)", packet);
			return NULL;
		}
		map_put(ctx_arena(cx), &o->type, packet, (void *)((uintptr_t)map_get(&o->type, packet) | now));
	}
	return o;
}

/* ---- values --------------------------------------------------------------------- */

typedef struct Named { Joint *j; Lines l; bool *want; Map by; } Named;

static bool
want(Named *w, const char *s, size_t n)
{
	const int *at = map_get(&w->by, intern(w->l.cx, s, n));
	const Fx *x = at ? &w->j->v[*at] : NULL;

	if (!x)
		error(w->l.cx, place(&w->l, s), "no value of the joint graph is called '%.*s'", (int)n, s);
	else if (x->closure || x->tangent)
		error(w->l.cx, place(&w->l, s), "forward cannot save %s: it is computed from a tangent", x->val->name);
	else if (!x->val->type || x->val->type->kind == TyNone)
		error(w->l.cx, place(&w->l, s), "%s has no value to save", x->val->name);
	else
		w->want[*at] = true;
	return x && w->want[*at];
}

static bool
names(Named *w)
{
	while (next(&w->l)) {
		size_t i = 0, n;

		for (const char *s = w->l.s; i < w->l.n && s[i] != '#'; i += n) {
			for (n = 0; i + n < w->l.n && !isspace((unsigned char)s[i + n]) && s[i + n] != ',' && s[i + n] != '#'; n++)
				;
			if (n == 0)
				n = 1;
			else if (!want(w, s + i, n))
				return false;
		}
	}
	return true;
}

/* Is there for each thing that backward reads a way from what is saved? */
static bool
reachable(const Named *w, const Cut *c)
{
	const Joint *j = w->j;
	const bool *need = cut_needs(j, &c->saved);

	for (int i = 0; i < j->n; i++) {
		const Fx *x = &j->v[i];

		if (!need[i] || w->want[i] || x->tangent || x->closure || x->tuple >= 0)
			continue;
		if (x->primal && !x->sym)
			error(j->cx, x->node->loc, "backward needs the input %s, which %s does not name", x->val->name, w->l.f->name);
		else if (x->node->op->flags & (OP(Effect) | OP(Dynamic)) && x->fw)
			error(j->cx, x->node->loc, "%s cannot be computed again, and %s does not name it", x->node->name, w->l.f->name);
		else
			continue;
		return false;
	}
	return true;
}

bool
choose_named(Joint *j, Cut *c)
{
	Named w = {.j = j, .l = lines(j->cx, j->o->saved), .want = NEWN(j->a, bool, j->n + 1)};
	int *at = NEWN(j->a, int, j->n + 1);

	cut_empty(j, c);
	for (int i = 0; i < j->n; i++) {
		at[i] = i;
		if (j->v[i].val && j->v[i].live)
			map_put(j->a, &w.by, j->v[i].val->name, &at[i]);
	}
	if (!names(&w))
		return false;
	for (int i = 0; i < j->n; i++)
		if (w.want[i])
			vec_push(j->a, &c->saved, i);
	return reachable(&w, c);
}
