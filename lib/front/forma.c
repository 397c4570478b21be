/* forma.c - print(gm.graph), str(graph): one node in a line.
 *
 *     %gelu : [num_users=1] = call_function[target=torch.ops.aten.gelu.default](args = (%x,), kwargs = {approximate: tanh})
 *
 * Strings have no quotes here.  What separates values is always ", ", so a bare word
 * ends before that or before a bracket that was not opened in it; the operator's
 * schema says whether `None`, `0` or `tanh` is a string (torchfn.c).  The last line,
 * `return ...`, is Python as in Form B.  Sub-graphs and types are not printed: types
 * come from -ftype.
 */
#include "front/text.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

enum { MaxNest = 100 };

typedef struct P {
	Fn *f;
	const char *p, *e;     /* what is left of the line */
	int nest;
} P;

typedef VEC(Tv) Tvs;
typedef VEC(Str) Strs;

static bool value(P *, Tv *);

static bool
fail(P *p, const char *fmt, ...)
{
	Reader *r = p->f->r;
	va_list ap;
	const char *msg;

	va_start(ap, fmt);
	msg = arena_vprintf(r->a, fmt, ap);
	va_end(ap);
	error(r->cx, loc_at(r->cx, r->file, (size_t)(p->p - r->s)), "%s", msg);
	return false;
}

static bool
take(P *p, const char *s)
{
	size_t n = strlen(s);

	if ((size_t)(p->e - p->p) < n || memcmp(p->p, s, n) != 0)
		return false;
	p->p += n;
	return true;
}

static bool
expect(P *p, const char *s)
{
	return take(p, s) || fail(p, "expected '%s'", s);
}

static Str
ident(P *p)
{
	const char *b = p->p;

	while (p->p < p->e && (isalnum((unsigned char)*p->p) || *p->p == '_'))
		p->p++;
	return p->p > b ? intern(p->f->r->cx, b, (size_t)(p->p - b)) : NULL;
}

/* ---- values -------------------------------------------------------------------- */

/* Length of the bare word at s: to ", " or a bracket that closes more than it opened. */
static size_t
bareword(const char *s, const char *e)
{
	int depth = 0;
	const char *p = s;

	for (; p < e; p++) {
		if (depth == 0 && *p == ',' && p + 1 < e && (p[1] == ' ' || p[1] == ')'))   /* (word,) */
			break;
		if (strchr("([{", *p))
			depth++;
		else if (strchr(")]}", *p) && depth-- == 0)
			break;
	}
	return (size_t)(p - s);
}

/* What the word would be in Python; a string, if nothing. */
static Tv
classify(P *p, const char *s, size_t n)
{
	Fn *f = p->f;
	Str w = intern(f->r->cx, s, n);
	Tv v = {0};
	char *e;
	bool minus = *w == '-';

	if (!const_name(f, w + minus, &v) || (minus && v.arg.kind != ArgFloat)) {
		v = tv_ofarg(arg_str(w));
		if (strncmp(w, "torch.ops.", 10) == 0)
			v = (Tv){.kind = TvFn, .name = w};
		else if (isdigit((unsigned char)w[minus]) || w[minus] == '.') {
			errno = 0;
			int64_t k = strtoll(w, &e, 10);
			if (*e == 0 && errno == 0)
				v = tv_ofarg(arg_int(f->r->cx, k));
			else {
				double d = strtod(w, &e);
				if (*e == 0)
					v = tv_ofarg(arg_float(d));
			}
		}
	} else if (minus) {
		v.arg.f = -v.arg.f;
	}
	if (v.kind == TvArg) {
		v.bare = true;
		v.name = w;
	}
	return v;
}

static bool
list(P *p, const char *close, Tvs *v)
{
	Tv one;

	while (!take(p, close)) {
		if (v->n && !take(p, ", ") && !take(p, ","))
			return fail(p, "expected ', ' or '%s'", close);
		if (take(p, close))
			break;
		if (!value(p, &one))
			return false;
		vec_push(p->f->r->a, v, one);
	}
	return true;
}

/* (1+2j), 2j */
static bool
complexnum(P *p, Tv *out)
{
	const char *s = p->p + (*p->p == '(');
	char *e;
	double re = 0, im = strtod(s, &e);
	Arg v[2];

	if (e == s)
		return false;
	if (*e != 'j') {
		if (*e != '+' && *e != '-')
			return false;
		re = im;
		s = e;
		im = strtod(s, &e);
		if (e == s || *e != 'j')
			return false;
	}
	e++;
	if (*p->p == '(' && *e++ != ')')
		return false;
	p->p = e;
	v[0] = arg_float(re);
	v[1] = arg_float(im);
	*out = tv_ofarg(arg_list(p->f->r->a, v, 2));
	out->arg.kind = ArgComplex;
	return true;
}

static bool
dict(P *p, Strs *key, Tvs *val)
{
	Tv v;

	while (!take(p, "}")) {
		const char *b;

		if (key->n && !expect(p, ", "))
			return false;
		for (b = p->p; p->p < p->e && *p->p != ':' && *p->p != '}'; p->p++)
			;
		Str k = intern(p->f->r->cx, b, (size_t)(p->p - b));
		if (!expect(p, ": ") || !value(p, &v))
			return false;
		vec_push(p->f->r->a, key, k);
		vec_push(p->f->r->a, val, v);
	}
	return true;
}

static bool
value(P *p, Tv *out)
{
	Reader *r = p->f->r;
	Tvs v = {0};
	Tv *bound;
	bool ok = true;

	if (++p->nest > MaxNest)
		return fail(p, "nested too deeply");
	if (p->p < p->e && (*p->p == '(' || isdigit((unsigned char)*p->p) || *p->p == '-') && complexnum(p, out)) {
		;
	} else if (take(p, "%")) {
		Str name = ident(p);

		if (!name || !(bound = map_get(&p->f->env, name)))
			return fail(p, "'%s' is not defined", name ? name : "");
		if (bound->kind == TvNone)
			return fail(p, "'%s' has no type: give it with -ftype=%s=f32[2,3]", name, name);
		*out = *bound;
	} else if (take(p, "(")) {
		ok = list(p, ")", &v);
		*out = (Tv){.kind = TvList, .tuple = true, .v = v.v, .n = v.n};
	} else if (take(p, "[")) {
		ok = list(p, "]", &v);
		*out = (Tv){.kind = TvList, .v = v.v, .n = v.n};
	} else if (take(p, "{")) {
		Strs key = {0};

		ok = dict(p, &key, &v);
		*out = (Tv){.kind = TvDict, .v = v.v, .key = key.v, .n = v.n};
	} else if (take(p, "slice(")) {
		Arg a[3];

		ok = list(p, ")", &v);
		if (ok && v.n != 3)
			return fail(p, "a slice has three parts");
		for (int i = 0; ok && i < 3; i++)
			ok = tv_arg(p->f, &v.v[i], &a[i]);
		*out = tv_ofarg(ok ? arg_list(r->a, a, 3) : arg_none());
		out->arg.kind = ArgSlice;
	} else {
		size_t n = bareword(p->p, p->e);

		*out = classify(p, p->p, n);
		p->p += n;
	}
	p->nest--;
	return ok;
}

/* ---- lines -------------------------------------------------------------------------- */

/* " : torch.Tensor [num_users=2] = " or ' : Tensor "f32[2]cpu"[num_users=2] = ' */
static bool
head(P *p, Str *name, const Annot **annot)
{
	Reader *r = p->f->r;
	const char *b;
	Annot *a;

	*annot = NULL;
	if (!(*name = ident(p)) || !expect(p, " : "))
		return fail(p, "expected a node");
	b = p->p;
	while (p->p < p->e && strncmp(p->p, "[num_users=", 11) != 0)
		p->p++;
	if (p->p == p->e)
		return fail(p, "expected '[num_users='");
	for (const char *q = b; q < p->p; q++)
		if (*q == '"') {
			const char *z = memchr(q + 1, '"', (size_t)(p->p - q - 1));

			if (!z)
				break;
			*annot = a = NEW(r->a, Annot);
			if (!annot_parse(r, q + 1, (size_t)(z - q - 1), q + 1 - r->s, a))
				return false;
			break;
		}
	if (!*annot && p->p - b > 12 && strncmp(b, "torch.SymInt", 12) == 0) {
		*annot = a = NEW(r->a, Annot);
		a->sym = size_var(r->cx, *name, strlen(*name));
	}
	while (p->p < p->e && *p->p != ']')
		p->p++;
	return expect(p, "] = ");
}

/* "[target=NAME]" */
static bool
target(P *p, Str *out)
{
	const char *b;

	if (!expect(p, "[target="))
		return false;
	for (b = p->p; p->p < p->e && *p->p != ']'; p->p++)
		;
	*out = intern(p->f->r->cx, b, (size_t)(p->p - b));
	return expect(p, "]");
}

static bool
getattr(P *p, Str name, Str path)
{
	Fn *f = p->f;
	size_t n = strlen(path);
	Val *v;
	Tv tv = {.kind = TvAttr, .name = path};

	for (int i = 0; f->r->opt && i < f->r->opt->ntype; i++)
		if (strncmp(f->r->opt->type[i], path, n) == 0 && f->r->opt->type[i][n] == '=') {
			if (!(v = fn_attr(f, path)))
				return false;
			tv = tv_ofarg(arg_val(v));
		}
	fn_bind(f, name, tv);
	return true;
}

static bool
call(P *p, bool method, Str fn, Tv *out)
{
	Tvs pos = {0}, kw = {0};
	Strs key = {0};

	if (!expect(p, "(args = (") || !list(p, ")", &pos) || !expect(p, ", kwargs = {") || !dict(p, &key, &kw) ||
	    !expect(p, ")"))
		return false;
	if (!method)
		return tv_call(p->f, fn, pos.v, pos.n, key.v, kw.v, kw.n, out);
	if (pos.n == 0)
		return fail(p, "a method needs an object");
	return tv_method(p->f, fn, &pos.v[0], pos.v + 1, pos.n - 1, key.v, kw.v, kw.n, out);
}

/* -ftype may name the node or what the user calls it. */
static bool
placeholder(Fn *f, Str name, Str tgt, Loc loc)
{
	Reader *r = f->r;
	size_t n = strlen(tgt);
	Annot *a;

	if (*tgt == '*')
		return true;
	for (int i = 0; !f->annot && r->opt && i < r->opt->ntype; i++)
		if (strncmp(r->opt->type[i], tgt, n) == 0 && r->opt->type[i][n] == '=') {
			f->annot = a = NEW(r->a, Annot);
			if (!annot_parse(r, r->opt->type[i] + n + 1, strlen(r->opt->type[i] + n + 1), -1, a))
				return false;
		}
	return fn_placeholder(f, name, f->annot, loc);
}

static bool
node(P *p)
{
	Fn *f = p->f;
	Reader *r = f->r;
	const char *at = p->p;
	Str name, tgt;
	Tv v = {0};

	f->annot = NULL;
	if (!head(p, &name, &f->annot))
		return false;
	f->target = name;
	f->loc = loc_at(r->cx, r->file, (size_t)(p->p - r->s));
	if (take(p, "placeholder"))
		return target(p, &tgt) && placeholder(f, name, tgt, loc_at(r->cx, r->file, (size_t)(at - r->s)));
	if (take(p, "get_attr"))
		return target(p, &tgt) && getattr(p, name, tgt);
	if (take(p, "call_module")) {
		if (target(p, &tgt)) {
			error(r->cx, f->loc, "call of module '%s': the text does not say what it computes", tgt);
			note(r->cx, f->loc, "print a graph of torch.export or torch.compile instead");
		}
		return false;
	}
	bool method = take(p, "call_method");
	if (!method && !take(p, "call_function"))
		return fail(p, "expected a kind of node");
	return target(p, &tgt) && call(p, method, tgt, &v) && fn_name(f, name, &v);
}

static bool
ret(Fn *f, const char *b, const char *e)
{
	Reader *r = f->r;
	Tv v;

	f->t = (Toks){0};
	f->p = 0;
	f->loc = loc_at(r->cx, r->file, (size_t)(b - r->s));
	if (!formb_lex(r, r->s, (size_t)(b - r->s), (size_t)(e - r->s), &f->t) || !value_parse(f, &v))
		return false;
	f->done = true;
	return fn_return(f, &v);
}

bool
forma_graph(Reader *r, Class *c)
{
	Fn f = {.r = r, .cls = c, .g = c->graph, .formA = true};
	const char *s = r->s + c->begin, *end = r->s + c->end, *e;

	for (; s < end && !f.done; s = e + 1) {
		P p = {.f = &f};

		if (!(e = memchr(s, '\n', (size_t)(end - s))))
			e = end;
		p.p = s;
		for (p.e = e; p.e > s && isspace((unsigned char)p.e[-1]); p.e--)
			;
		while (p.p < p.e && isspace((unsigned char)*p.p))
			p.p++;
		if (p.p == p.e || take(&p, "graph("))
			continue;
		if (take(&p, "return ")) {
			if (!ret(&f, p.p, p.e))
				return false;
			continue;
		}
		if (!expect(&p, "%") || !node(&p))
			return false;
		if (p.p != p.e && *p.p != '(')
			return fail(&p, "a string of this line has ', ' or a bracket: use print_readable()");
	}
	if (!f.done)
		error(r->cx, loc_at(r->cx, r->file, c->begin), "the graph has no return");
	return f.done;
}
