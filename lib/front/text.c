/* text.c - read FX text: find the graph, its pragmas and its signature.
 *
 * The order: clean the text (log.c), pragmas (`#fxg ...`), classes, ranges of the
 * sizes (they must be known before a size is first named), the signature, then
 * the function of the outermost class; sub-graphs are read when first used.
 * What the printed form does not say is taken from pragmas and -ftype, in that
 * order: annotation, -ftype, `#fxg const`.
 */
#include "front/text.h"
#include <ctype.h>
#include <stdlib.h>

/* ---- lines --------------------------------------------------------------------- */

bool
text_line(const char *s, size_t n, size_t *at, Line *l)
{
	size_t i = *at;

	if (i >= n)
		return false;
	l->b = i;
	while (l->b < n && (s[l->b] == ' ' || s[l->b] == '\t'))
		l->b++;
	l->indent = (int)(l->b - i);
	for (l->e = l->b; l->e < n && s[l->e] != '\n'; l->e++)
		;
	*at = l->e + 1;
	while (l->e > l->b && isspace((unsigned char)s[l->e - 1]))
		l->e--;
	return true;
}

bool
text_begins(const char *s, const Line *l, const char *with)
{
	size_t n = strlen(with);

	return l->e - l->b >= n && memcmp(s + l->b, with, n) == 0;
}

void
text_bad(Reader *r, size_t at, const char *what)
{
	error(r->cx, loc_at(r->cx, r->file, at), "%s", what);
	r->failed = true;
}

/* ---- classes --------------------------------------------------------------------------- */

/* [PATH ]class NAME(torch.nn.Module): */
static Str
classname(Reader *r, const Line *l)
{
	static const char base[] = "(torch.nn.Module):";
	const char *s = r->s, *p = NULL;
	size_t n = sizeof base - 1;

	if (l->e - l->b < n + 7 || memcmp(s + l->e - n, base, n) != 0)
		return NULL;
	for (const char *q = s + l->b; q + 6 < s + l->e; q++)
		if (memcmp(q, "class ", 6) == 0 && (q == s + l->b || q[-1] == ' '))
			p = q + 6;
	return p ? intern(r->cx, p, (size_t)(s + l->e - n - p)) : NULL;
}

/* Find classes and functions.  A class ends where a line that is not deeper begins
 * another one, or the signature. */
static bool
classes(Reader *r)
{
	size_t at = 0;
	Line l;
	Str name;
	int cur = -1, tops = 0;
	bool quoted = false, infn = false;

	while (text_line(r->s, r->n, &at, &l)) {
		if (text_begins(r->s, &l, "\"\"\"")) {
			quoted = !quoted && l.e - l.b < 6;
			continue;
		}
		if (quoted || l.b == l.e)
			continue;
		if ((name = classname(r, &l))) {
			Class c = {.name = name, .indent = l.indent, .parent = -1, .begin = SIZE_MAX};

			for (int i = r->cls.n - 1; i >= 0 && c.parent < 0; i--)
				if (r->cls.v[i].indent < l.indent)
					c.parent = i;
			if (cur >= 0 && !r->cls.v[cur].end)
				r->cls.v[cur].end = l.b - (size_t)l.indent;
			cur = r->cls.n;
			tops += c.parent < 0;
			vec_push(r->a, &r->cls, c);
			infn = false;
		} else if (text_begins(r->s, &l, "def ")) {
			if (cur < 0 || (infn && l.indent == 0)) {
				if (cur >= 0 && !r->cls.v[cur].end)
					r->cls.v[cur].end = l.b;
				cur = r->cls.n;
				tops++;
				vec_push(r->a, &r->cls, (Class){.name = intern_str(r->cx, "GraphModule"), .indent = l.indent,
				                                .parent = -1});
			} else if (infn) {
				text_bad(r, l.b, "a second function in a class");
				return false;
			}
			r->cls.v[cur].begin = l.b;
			infn = true;
		} else if (text_begins(r->s, &l, "Graph signature:") && cur >= 0) {
			if (!r->cls.v[cur].end)
				r->cls.v[cur].end = l.b - (size_t)l.indent;
			break;
		}
	}
	if (cur >= 0 && !r->cls.v[cur].end)
		r->cls.v[cur].end = r->n;
	for (int i = 0; i < r->cls.n; i++)
		if (r->cls.v[i].begin == SIZE_MAX) {
			error(r->cx, NOLOC, "%s: class %s has no function", r->f->name, r->cls.v[i].name);
			return false;
		}
	if (tops > 1) {
		error(r->cx, NOLOC, "%s: %d graphs in one text, expected one", r->f->name, tops);
		return false;
	}
	return true;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

/* Tangents make a joint graph, unless it is the backward part of one. */
static bool
isjoint(const Module *m)
{
	bool tangent = false;

	for (int i = 0; i < m->in.n; i++) {
		if (m->in.v[i].kind == InSaved)
			return false;
		tangent |= m->in.v[i].kind == InTangent;
	}
	return tangent;
}

/* What the pragmas say of inputs and outputs by their order. */
static void
names(Reader *r)
{
	Module *m = r->mod;
	int k = 0;

	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].kind == InUser && k < r->argname.n)
			m->in.v[i].argname = r->argname.v[k++].a;
	for (int i = 0; i < m->in.n; i++)                /* the tangent of a loss is a number */
		for (int c = 0; m->in.v[i].kind == InTangent && c < r->consts.n; c++)
			if (r->consts.v[c].a == m->in.v[i].name)
				m->in.v[i].value = arg_float(strtod(r->consts.v[c].b, NULL));
	k = 0;
	for (int i = 0; i < m->out.n; i++) {
		Output *o = &m->out.v[i];

		if (o->kind != ResUser && o->kind != ResLoss) {
			o->name = o->target ? o->target : intern_printf(r->cx, "out%d", i);
			continue;
		}
		if (k < r->resname.n)
			o->name = r->resname.v[k].a;
		else if (!o->name)
			o->name = intern_printf(r->cx, "out%d", k);
		k++;
	}
}

/* #fxg alias: the same memory.  The storage's number stands for it. */
static void
aliases(Reader *r)
{
	Module *m = r->mod;

	for (int i = 0; i < r->alias.n; i++) {
		Input *of = NULL, *to = NULL;

		for (int k = 0; k < m->in.n; k++) {
			if (m->in.v[k].target && m->in.v[k].target == r->alias.v[i].a)
				of = &m->in.v[k];
			if (m->in.v[k].target && m->in.v[k].target == r->alias.v[i].b)
				to = &m->in.v[k];
		}
		if (!of || !to || !of->val || !to->val)
			continue;
		for (int k = 0; k < 2; k++) {
			Input *in = k ? of : to;

			if (in->weight)
				continue;
			in->weight = NEW(r->a, Weight);
			*in->weight = (Weight){.fqn = in->target, .type = in->val->type, .requires_grad = in->requires_grad};
			if (k && to->weight->data) {
				in->weight->data = to->weight->data;
				in->weight->bytes = to->weight->bytes;
			}
			vec_push(r->a, &m->weight, in->weight);
		}
		if (!to->weight->storage)
			to->weight->storage = (uint32_t)(0x10000 + i);
		of->weight->storage = to->weight->storage;
	}
}

static bool
weights(Reader *r)
{
	for (int i = 0; i < r->weights.n; i++) {
		const char *slash = strrchr(r->f->name, '/'), *path = r->weights.v[i].a;
		File *w = NEW(r->a, File);

		if (*path != '/' && slash)
			path = arena_printf(r->a, "%.*s/%s", (int)(slash - r->f->name), r->f->name, path);
		if (!file_read(r->cx, path, w) || !read_weights(r->cx, r->mod, w, r->opt))
			return false;
	}
	return true;
}

/* What `#fxg composite` says, of inputs that there are. */
static void
wholes(Reader *r)
{
	for (int i = 0; i < r->whole.n; i++) {
		const Whole *w = &r->whole.v[i];
		for (int k = 0; k < w->part.n; k++) {
			bool known = false;
			for (int j = 0; j < r->mod->in.n; j++)
				known |= r->mod->in.v[j].name == w->part.v[k];
			if (!known) {
				error(r->cx, NOLOC, "#fxg composite %s: there is no input %s", w->name, w->part.v[k]);
				r->failed = true;
			}
		}
		vec_push(r->a, &r->mod->whole, *w);
	}
}

static void
guards(Reader *r)
{
	for (int i = 0; i < r->guard.n; i++) {
		Loc loc = loc_at(r->cx, r->file, r->guard.v[i].off);
		const Sym *s = guard_parse(r->mod, r->guard.v[i].a);

		if (s)
			vec_push(r->a, &r->mod->guard, (Guard){s, r->guard.v[i].a, loc, r->guard.v[i].b});
		else
			warn(r->cx, loc, WarnGuards, "guard '%s' is not understood and not checked", r->guard.v[i].a);
	}
}

/* Saved tensors are handed to backward as one sub-graph packs them and another unpacks them.  They
 * take tensors of any type: types are only there while reading. */
static bool
hook(Reader *r, const char *name, const Type *const *in, int n, Graph **out)
{
	for (int i = 1; i < r->cls.n; i++) {
		Class *c = &r->cls.v[i];

		if (c->parent != 0 || c->state || strcmp(c->name, name) != 0)
			continue;
		*out = c->graph = graph_new(r->mod, c->name, r->mod->main);
		c->state = 2;
		r->hook = in;
		r->nhook = n;
		if (!formb_function(r, c) || !graph_infer(c->graph))
			return false;
		r->nhook = 0;
	}
	return true;
}

static bool
hooks(Reader *r)
{
	Module *m = r->mod;
	const Sym *dim[] = {sym_var(r->cx, intern_str(r->cx, "hook0"), 1, INT64_MAX), sym_var(r->cx, intern_str(r->cx, "hook1"), 1, INT64_MAX)};
	const Type *one = type_tensor(r->cx, DtF32, 2, dim), **packed;
	const Arg *list;
	int n = 0;

	if (!hook(r, "saved_tensors_hooks_pack_0", &one, 1, &m->pack) || !m->pack)
		return !m->pack;
	list = &m->pack->last->arg[0];
	packed = NEWN(r->a, const Type *, list->list.n + 1);
	for (int i = 0; i < list->list.n; i++)
		if (list->list.v[i].kind == ArgVal)
			packed[n++] = list->list.v[i].use->val->type;
	if (!hook(r, "saved_tensors_hooks_unpack_0", packed, n, &m->unpack))
		return false;
	if (!m->unpack) {
		error(r->cx, NOLOC, "%s: saved tensors are packed, but not unpacked", r->f->name);
		return false;
	}
	for (int i = 0; i < 2; i++)
		FOREACH_NODE(i ? m->unpack : m->pack, node) {
			node->annot = NULL;
			for (int k = 0; k < node->nout; k++)
				node->out[k].type = NULL;
		}
	return true;
}

static bool
tabular(const char *s, size_t n)
{
	size_t at = 0;
	Line l;

	while (text_line(s, n, &at, &l))
		if (l.e > l.b)
			return l.e - l.b > 16 && memcmp(s + l.b, "opcode ", 7) == 0;
	return false;
}

/* Form A begins with a line `graph(...):`. */
static bool
findgraph(Reader *r)
{
	size_t at = 0;
	Line l;

	while (text_line(r->s, r->n, &at, &l))
		if (text_begins(r->s, &l, "graph(")) {
			Class c = {.name = intern_str(r->cx, "GraphModule"), .begin = l.b, .end = r->n, .parent = -1};

			vec_push(r->a, &r->cls, c);
			return true;
		}
	return false;
}

static Str
stem(Ctx *cx, const char *path)
{
	const char *b = strrchr(path, '/'), *dot;

	b = b ? b + 1 : path;
	dot = strrchr(b, '.');
	return intern(cx, b, dot && dot > b ? (size_t)(dot - b) : strlen(b));
}

Module *
read_text(Ctx *cx, const File *f, const ReadOptions *opt)
{
	Reader r = {.cx = cx, .a = ctx_arena(cx), .opt = opt, .f = f};
	bool a, ok;

	if (!(r.s = log_clean(cx, f, opt ? opt->section : NULL, &r.n)))
		return NULL;
	r.file = loc_file(cx, f->name, r.s, r.n);
	if (tabular(r.s, r.n)) {
		error(cx, loc_at(cx, r.file, 0), "a table of print_tabular() does not name its functions: use print_readable()");
		return NULL;
	}
	r.mod = module_new(cx, stem(cx, f->name));
	text_pragmas(&r);
	a = findgraph(&r);
	if (!a && !classes(&r))
		return NULL;
	if (r.cls.n == 0) {
		error(cx, NOLOC, "%s: no graph found: expected 'class', 'def' or 'graph():'", f->name);
		return NULL;
	}
	text_trailer(&r);
	if (r.failed)
		return NULL;
	r.mod->main = r.cls.v[0].graph = graph_new(r.mod, r.cls.v[0].name, NULL);
	r.cls.v[0].state = 1;
	r.hook = opt ? opt->param : NULL;
	r.nhook = opt ? opt->nparam : 0;
	ok = a ? forma_graph(&r, &r.cls.v[0]) : formb_function(&r, &r.cls.v[0]) && hooks(&r);
	if (!unsupported_report(cx, &r.unsup) || !ok || r.failed)
		return NULL;
	names(&r);
	r.mod->train = isjoint(r.mod);
	if (!weights(&r))
		return NULL;
	aliases(&r);
	guards(&r);
	wholes(&r);
	return r.mod;
}
