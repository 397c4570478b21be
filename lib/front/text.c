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

typedef struct Line { size_t b, e; int indent; } Line;      /* b: first byte that is not blank */

static bool
nextline(const char *s, size_t n, size_t *at, Line *l)
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

static bool
begins(const char *s, const Line *l, const char *with)
{
	size_t n = strlen(with);

	return l->e - l->b >= n && memcmp(s + l->b, with, n) == 0;
}

/* ---- pragmas ------------------------------------------------------------------------ */

/* The next word or quoted string of a pragma; NULL: none left, or reported. */
static Str
word(Reader *r, size_t *at, size_t end)
{
	const char *s = r->s;
	size_t i = *at, b;
	Tok t = {.kind = TkStr};
	Toks toks = {.s = s};

	while (i < end && (s[i] == ' ' || s[i] == '\t'))
		i++;
	if (i >= end)
		return NULL;
	b = i;
	if (s[i] == '"') {
		for (i++; i < end && s[i] != '"'; i++)
			i += s[i] == '\\';
		if (i >= end) {
			error(r->cx, loc_at(r->cx, r->file, b), "string is not closed");
			r->failed = true;
			return NULL;
		}
		*at = i + 1;
		t.off = (uint32_t)b;
		t.len = (uint32_t)(i + 1 - b);
		return formb_unquote(r, &toks, &t);
	}
	while (i < end && s[i] != ' ' && s[i] != '\t')
		i++;
	*at = i;
	return intern(r->cx, s + b, i - b);
}

static bool
bound(const char *s, int64_t *v)
{
	char *e;

	if (strcmp(s, "oo") == 0 || strcmp(s, "int_oo") == 0)
		*v = INT64_MAX;
	else if (strcmp(s, "-oo") == 0 || strcmp(s, "-int_oo") == 0)
		*v = INT64_MIN;
	else
		return *v = strtoll(s, &e, 10), *s && !*e;
	return true;
}

static void
range(Reader *r, Str name, const char *lo, const char *hi, Loc loc)
{
	int64_t l, h;

	if (name[0] == 'z' && (name[1] == 'f' || name[1] == 'u')) {
		sym_floatvar(r->cx, name);
	} else if (!bound(lo, &l) || !bound(hi, &h) || l > h) {
		error(r->cx, loc, "bad range of %s: %s to %s", name, lo, hi);
		r->failed = true;
	} else {
		sym_var(r->cx, name, l, h);
	}
}

static int
kindof(const char *const *names, int n, const char *s)
{
	for (int i = 0; i < n; i++)
		if (s && strcmp(names[i], s) == 0)
			return i;
	return -1;
}

static const char *const inkinds[] = {
#define X(n, t) t,
	INKINDS(X)
#undef X
};
static const char *const outkinds[] = {
#define X(n, t) t,
	OUTKINDS(X)
#undef X
};

static void
bad(Reader *r, size_t at, const char *what)
{
	error(r->cx, loc_at(r->cx, r->file, at), "%s", what);
	r->failed = true;
}

/* #fxg in NAME KIND ["target"] [nonpersistent], #fxg out I KIND ["target"] */
static void
sigpragma(Reader *r, bool in, size_t *at, size_t end)
{
	size_t b = *at;
	Str name = word(r, at, end), kind = word(r, at, end), w;
	SigLine l = {.name = name, .target = NULL, .persistent = true, .off = (uint32_t)b};

	l.kind = in ? kindof(inkinds, COUNT(inkinds), kind) : kindof(outkinds, COUNT(outkinds), kind);
	if (!name || l.kind < 0) {
		bad(r, b, in ? "expected '#fxg in NAME KIND'" : "expected '#fxg out INDEX KIND'");
		return;
	}
	while ((w = word(r, at, end)))
		if (strcmp(w, "nonpersistent") == 0)
			l.persistent = false;
		else
			l.target = w;
	if (in)
		vec_push(r->a, &r->in, l);
	else
		vec_push(r->a, &r->out, l);
}

static void
pragma(Reader *r, const Line *l, bool first)
{
	/* Pragmas with one word or with two, and where these go. */
	const struct { const char *word; Pairs *to; bool two; } lists[] = {
		{"weights", &r->weights, false}, {"frozen", &r->frozen, false}, {"argname", &r->argname, false},
		{"resname", &r->resname, false}, {"guard", &r->guard, false}, {"alias", &r->alias, true},
		{"const", &r->consts, true},
	};
	static const char *const silent[] = {"dialect", "hint", "nonleaf", "storage"};
	size_t at = l->b + 5;
	Str w = word(r, &at, l->e), a, b, c;

	if (!w)
		return;
	if (isdigit((unsigned char)*w)) {
		if (!first)
			bad(r, l->b, "the version must be the first pragma");
		else if (strcmp(w, "1") != 0)
			bad(r, l->b, "this fxcc reads version 1 of the format");
		return;
	}
	for (int i = 0; i < COUNT(lists); i++)
		if (strcmp(w, lists[i].word) == 0) {
			a = word(r, &at, l->e);
			b = lists[i].two ? word(r, &at, l->e) : NULL;
			if (!a || (lists[i].two && !b))
				bad(r, l->b, "the pragma lacks a word");
			else
				vec_push(r->a, lists[i].to, (Pair){a, b, (uint32_t)l->b});
			return;
		}
	if (strcmp(w, "range") == 0) {
		a = word(r, &at, l->e);
		b = word(r, &at, l->e);
		c = word(r, &at, l->e);
		if (a && b && c)
			range(r, a, b, c, loc_at(r->cx, r->file, l->b));
		else
			bad(r, l->b, "expected '#fxg range SIZE LOW HIGH'");
	} else if (strcmp(w, "requires_grad") == 0) {
		while ((a = word(r, &at, l->e)))
			vec_push(r->a, &r->wrt, (Pair){a, NULL, (uint32_t)l->b});
	} else if (strcmp(w, "torch") == 0) {
		r->mod->torch = word(r, &at, l->e);
	} else if (strcmp(w, "in") == 0 || strcmp(w, "out") == 0) {
		sigpragma(r, *w == 'i', &at, l->e);
	} else {
		for (int i = 0; i < COUNT(silent); i++)
			if (strcmp(w, silent[i]) == 0) {
				if (i == 0)
					r->mod->dialect = word(r, &at, l->e);
				return;
			}
		warn(r->cx, loc_at(r->cx, r->file, l->b), WarnPragma, "unknown pragma '%s'", w);
	}
}

static void
pragmas(Reader *r)
{
	size_t at = 0;
	Line l;
	bool first = true;

	while (nextline(r->s, r->n, &at, &l)) {
		if (begins(r->s, &l, "class ") || begins(r->s, &l, "def "))
			break;
		if (l.indent == 0 && begins(r->s, &l, "#fxg ")) {
			pragma(r, &l, first);
			first = false;
		}
	}
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

	while (nextline(r->s, r->n, &at, &l)) {
		if (begins(r->s, &l, "\"\"\"")) {
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
		} else if (begins(r->s, &l, "def ")) {
			if (cur < 0 || (infn && l.indent == 0)) {
				if (cur >= 0 && !r->cls.v[cur].end)
					r->cls.v[cur].end = l.b;
				cur = r->cls.n;
				tops++;
				vec_push(r->a, &r->cls, (Class){.name = intern_str(r->cx, "GraphModule"), .indent = l.indent,
				                                .parent = -1});
			} else if (infn) {
				bad(r, l.b, "a second function in a class");
				return false;
			}
			r->cls.v[cur].begin = l.b;
			infn = true;
		} else if (begins(r->s, &l, "Graph signature:") && cur >= 0) {
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

/* ---- the trailer ------------------------------------------------------------------------- */

/* [NAME]: KIND [target='...'] [persistent=True] */
static void
spec(Reader *r, const Line *l, bool in)
{
	const char *s = r->s + l->b, *e = r->s + l->e, *colon = s, *k, *ke, *t;
	SigLine out = {.persistent = true, .off = (uint32_t)l->b};

	while (colon < e && *colon != ':')
		colon++;
	if (colon == e || e - colon < 3) {
		bad(r, l->b, "expected 'NAME: KIND'");
		return;
	}
	out.name = intern(r->cx, s, (size_t)(colon - s));
	for (k = colon + 1; k < e && *k == ' '; k++)
		;
	for (ke = k; ke < e && *ke != ' '; ke++)
		;
	Str kind = intern(r->cx, k, (size_t)(ke - k));
	out.kind = in ? kindof(inkinds, COUNT(inkinds), kind) : kindof(outkinds, COUNT(outkinds), kind);
	if (out.kind < 0) {
		bad(r, l->b, "unknown kind in the signature");
		return;
	}
	for (t = ke; t + 8 < e; t++)
		if (memcmp(t, "target='", 8) == 0) {
			const char *q = t += 8;

			while (q < e && *q != '\'')
				q++;
			out.target = intern(r->cx, t, (size_t)(q - t));
			break;
		}
	for (t = ke; t + 16 <= e; t++)
		if (memcmp(t, "persistent=False", 16) == 0)
			out.persistent = false;
	if (in)
		vec_push(r->a, &r->in, out);
	else
		vec_push(r->a, &r->out, out);
}

/* {s77: VR[2, 64], ...} */
static void
constraints(Reader *r, const Line *l)
{
	const char *p = r->s + l->b, *e = r->s + l->e;

	while (p < e && *p != '{')
		p++;
	while (p < e && *p != '}') {
		const char *name = ++p, *ne, *lo, *hi, *he;

		while (p < e && *p == ' ')
			name = ++p;
		for (ne = p; ne < e && *ne != ':' && *ne != '}'; ne++)
			;
		if (ne == e || *ne == '}')
			break;
		for (lo = ne; lo < e && *lo != '['; lo++)
			;
		for (hi = lo; hi < e && *hi != ','; hi++)
			;
		for (he = hi; he < e && *he != ']'; he++)
			;
		if (he == e) {
			bad(r, l->b, "expected 'SIZE: VR[LOW, HIGH]'");
			return;
		}
		const char *h = hi + 1;
		while (h < he && *h == ' ')
			h++;
		range(r, intern(r->cx, name, (size_t)(ne - name)), intern(r->cx, lo + 1, (size_t)(hi - lo - 1)),
		      intern(r->cx, h, (size_t)(he - h)), loc_at(r->cx, r->file, l->b));
		for (p = he + 1; p < e && *p != ',' && *p != '}'; p++)
			;
	}
}

static void
trailer(Reader *r)
{
	size_t at = r->cls.n ? r->cls.v[0].begin : 0;
	Line l;
	int part = 0;                        /* 1 inputs, 2 outputs */

	while (nextline(r->s, r->n, &at, &l)) {
		if (begins(r->s, &l, "Graph signature:")) {
			part = 1;
			r->hassig = true;
			r->in.n = r->out.n = 0;
		} else if (!part || l.b == l.e) {
			continue;
		} else if (begins(r->s, &l, "Range constraints:")) {
			constraints(r, &l);
			return;
		} else if (begins(r->s, &l, "# inputs") || begins(r->s, &l, "# outputs")) {
			part = r->s[l.b + 2] == 'i' ? 1 : 2;
		} else {
			spec(r, &l, part == 1);
		}
	}
}

/* ---- what functions need ----------------------------------------------------------------- */

bool
fn_fail(Fn *f, const Tok *t, const char *fmt, ...)
{
	va_list ap;
	const char *msg;

	va_start(ap, fmt);
	msg = arena_vprintf(f->r->a, fmt, ap);
	va_end(ap);
	error(f->r->cx, t && !f->builtin ? loc_at(f->r->cx, f->r->file, t->off) : f->loc, "%s", msg);
	return false;
}

void
fn_bind(Fn *f, Str name, Tv v)
{
	map_put(f->r->a, &f->env, name, arena_dup(f->r->a, &v, sizeof v));
}

/* -ftype=NAME=TYPE */
static bool
ftype(Reader *r, Str name, Annot **out)
{
	size_t n = strlen(name);

	for (int i = 0; r->opt && i < r->opt->ntype; i++) {
		const char *t = r->opt->type[i];

		if (strncmp(t, name, n) != 0 || t[n] != '=')
			continue;
		*out = NEW(r->a, Annot);
		return annot_parse(r, t + n + 1, strlen(t + n + 1), -1, *out);
	}
	return true;
}

/* A literal of `#fxg const`. */
static bool
constant(Reader *r, const Pair *p, Arg *out)
{
	char *e;

	if (strcmp(p->b, "True") == 0 || strcmp(p->b, "False") == 0) {
		*out = arg_bool(*p->b == 'T');
		return true;
	}
	if (strcmp(p->b, "None") == 0) {
		*out = arg_none();
		return true;
	}
	int64_t k = strtoll(p->b, &e, 10);
	if (*p->b && !*e) {
		*out = arg_int(r->cx, k);
		return true;
	}
	double d = strtod(p->b, &e);
	*out = *p->b && !*e ? arg_float(d) : arg_str(p->b);
	return true;
}

static const SigLine *
siginput(const Reader *r, Str name, int at)
{
	if (r->hassig)
		return at < r->in.n ? &r->in.v[at] : NULL;
	for (int i = 0; i < r->in.n; i++)
		if (r->in.v[i].name == name)
			return &r->in.v[i];
	return NULL;
}

static bool
named(const Pairs *v, Str name)
{
	for (int i = 0; i < v->n; i++)
		if (v->v[i].a == name)
			return true;
	return false;
}

static void
input(Fn *f, Str name, Val *val, const SigLine *sig)
{
	Reader *r = f->r;
	Input in = {.kind = sig ? (enum inkind)sig->kind : InUser, .val = val, .name = name, .argname = name,
	            .target = sig ? sig->target : NULL, .persistent = !sig || sig->persistent};
	const Type *t = val ? val->type : NULL;

	if (in.kind == InParam)
		in.requires_grad = t && t->kind == TyTensor && (dt_float(t->dt) || dtypeinfo[t->dt].kind == KindComplex) &&
		                   !(in.target && named(&r->frozen, in.target));
	if (named(&r->wrt, name))
		in.requires_grad = true;
	vec_push(r->a, &r->mod->in, in);
}

/* One parameter of the function.  annot NULL: the text gives no type. */
bool
fn_placeholder(Fn *f, Str name, const Annot *annot, Loc loc)
{
	Reader *r = f->r;
	bool main = f->g == r->mod->main && !f->inlined;
	const SigLine *sig = main ? siginput(r, name, f->nparam) : NULL;
	Annot *opt = NULL;
	const Type *type;
	Node *n;

	f->nparam++;
	if (f->inlined) {
		if (f->iactual == f->nactual) {
			error(r->cx, loc, "%s takes more arguments than the %d that are given", f->cls->name, f->nactual);
			return false;
		}
		fn_bind(f, name, f->actual[f->iactual++]);
		return true;
	}
	if (main && r->hassig && !sig) {
		error(r->cx, loc, "the signature has no input for '%s'", name);
		return false;
	}
	if (sig && sig->kind == InToken) {
		fn_bind(f, name, tv_ofarg(arg_none()));
		return true;
	}
	if (main && !ftype(r, name, &opt))
		return false;
	if (opt)
		annot = opt;
	if (!annot) {
		Tv v = {.kind = TvNone};

		for (int i = 0; i < r->consts.n; i++)
			if (r->consts.v[i].a == name) {
				v.kind = TvArg;
				constant(r, &r->consts.v[i], &v.arg);
			}
		fn_bind(f, name, v);
		if (main)
			input(f, name, NULL, sig);
		if (main && v.kind == TvArg)
			r->mod->in.v[r->mod->in.n - 1].value = v.arg;
		return true;
	}
	type = annot->type ? annot->type : type_sym(r->cx, annot->sym);
	n = node_placeholder(f->g, name, type, loc);
	if (!n)
		return false;
	n->target = name;
	n->annot = type;
	f->lastin = n;
	fn_bind(f, name, annot->sym ? tv_ofarg(arg_sym(annot->sym)) : tv_ofarg(arg_val(&n->out[0])));
	if (main)
		input(f, name, &n->out[0], sig);
	return true;
}

/* A name for C and FX: letters, digits, '_'. */
static Str
identifier(Ctx *cx, const char *s)
{
	Text t = {.arena = ctx_arena(cx)};

	if (isdigit((unsigned char)*s))
		text_add(&t, "_");
	for (; *s; s++)
		text_add(&t, "%c", isalnum((unsigned char)*s) ? *s : '_');
	return intern_str(cx, t.n ? t.s : "_");
}

/* self.path is a tensor: the module's, so an input like its parameters. */
Val *
fn_attr(Fn *f, Str path)
{
	Reader *r = f->r;
	Val *v;
	Annot *annot = NULL;
	const Type *type;
	SigLine sig = {.target = path, .kind = InParam, .persistent = true};
	Node *n;

	for (int c = (int)(f->cls - r->cls.v); f->inlined && r->cls.v[c].parent >= 0; c = r->cls.v[c].parent)
		path = intern_printf(r->cx, "%s.%s", r->cls.v[c].name, path);
	if ((v = map_get(&r->attr, path)))
		return v;
	if (f->g != r->mod->main) {
		error(r->cx, f->loc, "a sub-graph uses the tensor self.%s: pass it as an argument", path);
		return NULL;
	}
	if (!ftype(r, path, &annot))
		return NULL;
	type = annot && annot->type ? annot->type : f->annot ? f->annot->type : NULL;
	if (!type) {
		error(r->cx, f->loc, "self.%s has no type: give it with -ftype=%s=f32[2,3]", path, path);
		return NULL;
	}
	if (strstr(path, "constant") || strstr(path, "lifted_tensor") || !dt_float(type->dt))
		sig.kind = InConst;
	n = node_placeholder(f->g, f->target && !f->builtin ? f->target : identifier(r->cx, path), type, f->loc);
	if (!n)
		return NULL;
	n->target = path;
	n->annot = type;
	sig.target = path;
	input(f, n->name, &n->out[0], &sig);
	map_put(r->a, &r->attr, path, &n->out[0]);
	return &n->out[0];
}

bool
fn_graph(Fn *f, int cls, Graph **out)
{
	Reader *r = f->r;
	Class *c = &r->cls.v[cls];

	if (c->state == 1) {
		error(r->cx, f->loc, "%s uses itself", c->name);
		return false;
	}
	if (c->state == 0) {
		c->state = 1;
		c->graph = graph_new(r->mod, c->name, f->g);
		vec_push(r->a, &r->mod->sub, c->graph);
		if (!formb_function(r, c))
			return false;
		c->state = 2;
	}
	*out = c->graph;
	return true;
}

/* Types are inferred where the text does not give them, and only when asked for. */
bool
fn_known(Fn *f, Val *v)
{
	if (v->type)
		return true;
	for (Node *n = f->g->first; n; n = n->next) {
		bool known = n->nout > 0;

		for (int i = 0; i < n->nout; i++)
			known = known && n->out[i].type;
		if (!known && n->nout && !node_infer(n))
			return false;
		if (n == v->def)
			break;
	}
	return v->type != NULL;
}

/* ---- the results --------------------------------------------------------------------------- */

typedef VEC(Arg) Args;

static bool
collect(Fn *f, const Tv *v, Args *list, const char *key)
{
	Reader *r = f->r;
	bool main = f->g == r->mod->main;
	Arg a;

	if (v->kind == TvList || v->kind == TvDict) {
		for (int i = 0; i < v->n; i++) {
			const char *k = v->kind == TvDict ? v->key[i] : NULL;

			if (k || key)
				k = !key ? k : k ? arena_printf(r->a, "%s.%s", key, k) : arena_printf(r->a, "%s.%d", key, i);
			if (!collect(f, &v->v[i], list, k))
				return false;
		}
		return true;
	}
	if (v->kind == TvNode) {
		for (int i = 0; i < v->node->nout; i++) {
			Tv one = tv_ofarg(arg_val(&v->node->out[i]));

			if (!collect(f, &one, list, key ? arena_printf(r->a, "%s.%d", key, i) : NULL))
				return false;
		}
		return true;
	}
	if (!tv_arg(f, v, &a))
		return false;
	vec_push(r->a, list, a);
	if (main)
		vec_push(r->a, &r->outname, key ? intern_str(r->cx, key) : NULL);
	return true;
}

bool
fn_return(Fn *f, const Tv *v)
{
	Reader *r = f->r;
	Args list = {0}, kept = {0};
	bool main = f->g == r->mod->main;

	if (f->inlined) {
		*f->result = *v;
		return true;
	}
	if (r->unsup.n)                          /* the graph is not complete: it is reported in the end */
		return true;
	if (!collect(f, v, &list, NULL))
		return false;
	if (!main) {
		node_output(f->g, &(Arg){.kind = ArgList, .list = {list.v, list.n}}, f->loc);
		return true;
	}
	if (r->hassig && r->out.n != list.n) {
		error(r->cx, f->loc, "the signature has %d outputs, the function returns %d", r->out.n, list.n);
		return false;
	}
	for (int i = 0; i < list.n; i++) {
		const SigLine *sig = NULL;
		Output o = {.kind = ResUser};

		for (int k = 0; !r->hassig && k < r->out.n; k++)
			if (atoi(r->out.v[k].name) == i && isdigit((unsigned char)*r->out.v[k].name))
				sig = &r->out.v[k];
		if (r->hassig)
			sig = &r->out.v[i];
		if (sig && sig->kind == ResToken)
			continue;
		if (sig) {
			o.kind = (enum outkind)sig->kind;
			o.target = sig->target;
		}
		o.name = r->outname.v[i];
		vec_push(r->a, &kept, list.v[i]);
		vec_push(r->a, &r->mod->out, o);
	}
	node_output(f->g, &(Arg){.kind = ArgList, .list = {kept.v, kept.n}}, f->loc);
	return true;
}

/* ---- naming nodes ------------------------------------------------------------------------------ */

/* The statement's name and type go to the node that it made, or to the result that it
 * took; a second name of the same value is only a name. */
bool
fn_name(Fn *f, Str name, Tv *v)
{
	Reader *r = f->r;
	const Type *type = f->annot ? f->annot->type : NULL;

	if (f->builtin) {
		fn_bind(f, name, *v);
		return true;
	}
	if (v->kind == TvNode && !map_get(&r->taken, v->node) && v->node->nout != 1) {
		map_put(r->a, &r->taken, v->node, v->node);
		node_rename(v->node, name);
		for (int i = 0; i < v->node->nout; i++)
			if (!map_get(&r->taken, &v->node->out[i]))
				val_rename(f->g, &v->node->out[i], arena_printf(r->a, "%s_unused_%d", name, i));
	} else if (v->kind == TvArg && v->node && v->node->nout == 0) {
		node_rename(v->node, name);
	} else if (v->kind == TvArg && (v->arg.kind == ArgVal || v->node)) {
		Val *val = v->node ? &v->node->out[0] : v->arg.use->val;
		Node *n = val->def;

		if (!map_get(&r->taken, val) && !(n->op->flags & OP(Leaf))) {
			map_put(r->a, &r->taken, val, val);
			val_rename(f->g, val, name);
			if (n->nout == 1)
				n->name = val->name;
			if (type && val->out == 0)
				n->annot = type;
			if (type && !val->type)
				val->type = type;
		}
	}
	fn_bind(f, name, *v);
	return true;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

/* What the pragmas say of inputs and outputs by their order. */
static void
names(Reader *r)
{
	Module *m = r->mod;
	int k = 0;

	for (int i = 0; i < m->in.n; i++)
		if (m->in.v[i].kind == InUser && k < r->argname.n)
			m->in.v[i].argname = r->argname.v[k++].a;
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

static void
guards(Reader *r)
{
	for (int i = 0; i < r->guard.n; i++) {
		Loc loc = loc_at(r->cx, r->file, r->guard.v[i].off);
		const Sym *s = guard_parse(r->mod, r->guard.v[i].a);

		if (s)
			vec_push(r->a, &r->mod->guard, (Guard){s, r->guard.v[i].a, loc});
		else
			warn(r->cx, loc, WarnGuards, "guard '%s' is not understood and not checked", r->guard.v[i].a);
	}
}

static bool
tabular(const char *s, size_t n)
{
	size_t at = 0;
	Line l;

	while (nextline(s, n, &at, &l))
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

	while (nextline(r->s, r->n, &at, &l))
		if (begins(r->s, &l, "graph(")) {
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
	pragmas(&r);
	a = findgraph(&r);
	if (!a && !classes(&r))
		return NULL;
	if (r.cls.n == 0) {
		error(cx, NOLOC, "%s: no graph found: expected 'class', 'def' or 'graph():'", f->name);
		return NULL;
	}
	trailer(&r);
	if (r.failed)
		return NULL;
	r.mod->main = r.cls.v[0].graph = graph_new(r.mod, r.cls.v[0].name, NULL);
	r.cls.v[0].state = 1;
	ok = a ? forma_graph(&r, &r.cls.v[0]) : formb_function(&r, &r.cls.v[0]);
	if (!unsupported_report(cx, &r.unsup) || !ok || r.failed)
		return NULL;
	names(&r);
	if (!weights(&r))
		return NULL;
	aliases(&r);
	guards(&r);
	return r.mod;
}
