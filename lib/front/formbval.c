/* formbval.c - values in Python source: literals, lists, names, calls, subscripts.
 *
 * A value is evaluated while it is parsed, left to right: a name gives what it is
 * bound to, `torch.relu` the name of a function, `self.a.b` a path; `(...)`, `[...]`
 * and `.name` after it then make the nodes (torchfn.c).  A minus directly before a
 * digit, inf or nan belongs to the number.
 */
#include <errno.h>
#include <stdlib.h>
#include "front/formb.h"

enum { MaxNest = 200 };

typedef VEC(Tv) Tvs;
typedef VEC(Str) Strs;

static bool
integer(Fn *f, const Tok *t, bool minus, Tv *out)
{
	char buf[80];
	size_t n = 0;
	char *e;

	if (minus)
		buf[n++] = '-';
	for (uint32_t i = 0; i < t->len && n < sizeof buf - 1; i++)
		if (f->t.s[t->off + i] != '_')
			buf[n++] = f->t.s[t->off + i];
	buf[n] = 0;
	errno = 0;
	int64_t k = strtoll(buf, &e, strchr(buf, 'x') || strchr(buf, 'X') ? 16 : 10);
	if (*e || errno == ERANGE)
		return fn_fail(f, t, "integer does not fit in 64 bits");
	*out = tv_ofarg(arg_int(f->r->cx, k));
	return true;
}

static double
real(const Fn *f, const Tok *t)
{
	char buf[64];
	size_t n = t->len < sizeof buf - 1 ? t->len : sizeof buf - 1;

	memcpy(buf, f->t.s + t->off, n);
	buf[n] = 0;
	return strtod(buf, NULL);
}

static Tv
imaginary(Fn *f, double re, double im)
{
	Arg v[2] = {arg_float(re), arg_float(im)}, a = arg_list(f->r->a, v, 2);

	a.kind = ArgComplex;
	return tv_ofarg(a);
}

/* A number, its sign before it.  inf and nan count as numbers. */
static bool
number(Fn *f, Tv *out)
{
	bool minus = accept(f, "-");
	const Tok *t = peek(f, 0);
	double sign = minus ? -1 : 1;

	f->p++;
	switch (t->kind) {
	case TkInt:
		return integer(f, t, minus, out);
	case TkFloat:
		*out = tv_ofarg(arg_float(sign * real(f, t)));
		return true;
	case TkImag:
		*out = imaginary(f, 0, sign * real(f, t));
		return true;
	default:
		*out = tv_ofarg(arg_float(sign * (f->t.s[t->off] == 'n' ? __builtin_nan("") : __builtin_inf())));
		return true;
	}
}

bool
formb_isnumber(const Fn *f)
{
	int k = isop(f, 0, "-");
	const Tok *t = peek(f, k);

	if (t->kind == TkName)
		return k && (isword(f, k, "inf") || isword(f, k, "nan"));
	return t->kind == TkInt || t->kind == TkFloat || t->kind == TkImag;
}

static double
asdouble(const Tv *t)
{
	int64_t k;

	if (t->arg.kind == ArgFloat)
		return t->arg.f;
	return t->arg.kind == ArgInt && sym_isconst(t->arg.i, &k) ? (double)k : 0;
}

/* Values up to the closing bracket; the opening one is taken. */
static bool
list(Fn *f, const char *close, Tvs *v, bool *comma, int nest)
{
	Tv one;

	*comma = false;
	while (!accept(f, close)) {
		if (v->n && !*comma)
			return fn_fail(f, peek(f, 0), "expected ',' or '%s'", close);
		/* One operator may stand in brackets of its own: a formatter puts them. */
		if (*close == ')' ? !formb_rhs(f, &one, nest + 1) : !formb_value(f, &one, nest + 1))
			return false;
		vec_push(f->r->a, v, one);
		*comma = accept(f, ",");
	}
	return true;
}

/* ( ... ): a tuple, a value in brackets, or (1+2j). */
static bool
paren(Fn *f, Tv *out, int nest)
{
	Tvs v = {0};
	bool comma;

	if (formb_isnumber(f)) {
		int at = f->p;
		Tv re, im;

		if (number(f, &re) && (isop(f, 0, "+") || isop(f, 0, "-")) && peek(f, 1)->kind == TkImag) {
			accept(f, "+");
			number(f, &im);
			*out = imaginary(f, asdouble(&re), im.arg.list.v[1].f);
			return expect(f, ")");
		}
		f->p = at;
	}
	if (!list(f, ")", &v, &comma, nest))
		return false;
	if (v.n == 1 && !comma) {
		*out = v.v[0];
		return true;
	}
	*out = (Tv){.kind = TvList, .tuple = true, .v = v.v, .n = v.n};
	return true;
}

static bool
dict(Fn *f, Tv *out, int nest)
{
	Tvs v = {0};
	Strs k = {0};
	Tv key, val;

	while (!accept(f, "}")) {
		if (v.n && !expect(f, ","))
			return false;
		if (accept(f, "}"))
			break;
		const Tok *at = peek(f, 0);
		if (!formb_value(f, &key, nest + 1) || !expect(f, ":") || !formb_value(f, &val, nest + 1))
			return false;
		if (key.kind != TvArg || (key.arg.kind != ArgStr && key.arg.kind != ArgInt))
			return fn_fail(f, at, "a dict's key must be a string or an integer");
		vec_push(f->r->a, &k, key.arg.kind == ArgStr ? key.arg.s : intern_str(f->r->cx, sym_str(f->r->cx, key.arg.i)));
		vec_push(f->r->a, &v, val);
	}
	*out = (Tv){.kind = TvDict, .v = v.v, .key = k.v, .n = v.n};
	return true;
}

typedef struct Args { Tvs pos, kw; Strs key; } Args;

static bool
arguments(Fn *f, Args *a, int nest)
{
	Tv v;

	if (!expect(f, "("))
		return false;
	while (!accept(f, ")")) {
		if ((a->pos.n || a->kw.n) && !expect(f, ","))
			return false;
		if (accept(f, ")"))
			break;
		if (peek(f, 0)->kind == TkName && isop(f, 1, "=")) {
			vec_push(f->r->a, &a->key, text(f, peek(f, 0)));
			f->p += 2;
			if (!formb_value(f, &v, nest + 1))
				return false;
			vec_push(f->r->a, &a->kw, v);
			continue;
		}
		if (a->kw.n)
			return fn_fail(f, peek(f, 0), "a positional argument after a keyword");
		bool star = accept(f, "*");
		if (!formb_value(f, &v, nest + 1))
			return false;
		if (star && v.kind == TvList)
			for (int i = 0; i < v.n; i++)
				vec_push(f->r->a, &a->pos, v.v[i]);
		else
			vec_push(f->r->a, &a->pos, v);
	}
	return true;
}

static bool
isstr(const Tv *v)
{
	return v->kind == TvArg && v->arg.kind == ArgStr;
}

/* slice(...), device(...), complex(...), float('inf'), sym('...'), getattr(..., "..."):
 * calls that make a literal.  *did: it was one. */
static bool
literal(Fn *f, const Tok *at, Str fn, Args *a, Tv *out, bool *did)
{
	Reader *r = f->r;
	Arg v[3] = {arg_none(), arg_none(), arg_none()};
	const Tv *p = a->pos.v;
	int n = a->pos.n;

	*did = true;
	if (strcmp(fn, "slice") == 0 && n >= 1 && n <= 3) {
		for (int i = 0; i < n; i++)
			if (!tv_arg(f, &p[i], &v[n == 1 ? 1 : i]))
				return false;
		*out = tv_ofarg(arg_list(r->a, v, 3));
		out->arg.kind = ArgSlice;
		return true;
	}
	if (strcmp(fn, "device") == 0 || strcmp(fn, "torch.device") == 0) {
		const Tv *type = n ? &p[0] : a->kw.n ? &a->kw.v[0] : NULL, *idx = n > 1 ? &p[1] : NULL;

		for (int i = 0; i < a->kw.n; i++)
			if (strcmp(a->key.v[i], "index") == 0)
				idx = &a->kw.v[i];
		if (!type || !isstr(type))
			return fn_fail(f, at, "device needs a type");
		v[0] = type->arg;
		v[0].kind = ArgDevice;
		if (idx && idx->kind == TvArg && idx->arg.kind == ArgInt)
			v[0].s = intern_printf(r->cx, "%s:%s", type->arg.s, sym_str(r->cx, idx->arg.i));
		*out = tv_ofarg(v[0]);
		return true;
	}
	if (strcmp(fn, "complex") == 0 && n == 2) {
		*out = imaginary(f, asdouble(&p[0]), asdouble(&p[1]));
		return true;
	}
	if (strcmp(fn, "float") == 0 && n == 1 && isstr(&p[0])) {
		*out = tv_ofarg(arg_float(strtod(p[0].arg.s, NULL)));
		return true;
	}
	if (strcmp(fn, "sym") == 0 && n == 1 && isstr(&p[0])) {
		Infix in = {.cx = r->cx, .file = r->file, .loc = place(f, at)};
		const Sym *s = infix_parse(&in, p[0].arg.s, strlen(p[0].arg.s));

		if (s)
			*out = tv_ofarg(arg_sym(s));
		return s != NULL;
	}
	if (strcmp(fn, "torch.Size") == 0 && n == 1) {
		*out = p[0];
		return true;
	}
	if (strcmp(fn, "getattr") == 0 && n >= 2 && isstr(&p[1])) {
		if (p[0].kind == TvSelf || p[0].kind == TvAttr) {
			*out = (Tv){.kind = TvAttr, .name = p[0].kind == TvSelf ? p[1].arg.s
			            : intern_printf(r->cx, "%s.%s", p[0].name, p[1].arg.s)};
			return true;
		}
		return tv_getattr(f, &p[0], p[1].arg.s, out);
	}
	*did = false;
	return true;
}

/* Index of a sub-graph that self.path names; -1. */
static int
child(const Fn *f, Str path)
{
	int at = (int)(f->cls - f->r->cls.v);

	for (int i = 0; i < f->r->cls.n; i++)
		if (f->r->cls.v[i].parent == at && f->r->cls.v[i].name == path)
			return i;
	return -1;
}

/* self.path without a call: a sub-graph, or a tensor. */
static bool
attribute(Fn *f, const Tok *at, Tv *v)
{
	int c = child(f, v->name);
	Val *val;

	if (c >= 0) {
		*v = (Tv){.kind = TvGraph, .name = v->name, .n = c};
		return true;
	}
	f->loc = place(f, at);
	if (!(val = fn_attr(f, v->name)))
		return false;
	*v = tv_ofarg(arg_val(val));
	if (val->type && val->type->kind == TySym)
		*v = tv_ofarg(arg_sym(val->type->sym));
	return true;
}

/* x[...]: one value, or several as a tuple; a:b:c is a slice. */
bool
formb_subscript(Fn *f, Tv *out, int nest)
{
	Tvs v = {0};
	bool comma = false;

	do {
		Arg part[3] = {arg_none(), arg_none(), arg_none()};
		int k = 0;
		Tv one = {0};

		if (comma && isop(f, 0, "]"))
			break;
		for (;;) {
			bool have = !isop(f, 0, ":") && !isop(f, 0, "]") && !isop(f, 0, ",");

			if (have && !formb_value(f, &one, nest + 1))
				return false;
			if (have && (k || isop(f, 0, ":")) && !tv_arg(f, &one, &part[k]))
				return false;
			if (k == 2 || !accept(f, ":"))
				break;
			k++;
		}
		if (k) {
			one = tv_ofarg(arg_list(f->r->a, part, 3));
			one.arg.kind = ArgSlice;
		} else if (one.kind == TvNone) {
			return fn_fail(f, peek(f, 0), "expected an index");
		}
		vec_push(f->r->a, &v, one);
	} while (accept(f, ",") && (comma = true));
	*out = v.v[0];
	if (comma)
		*out = (Tv){.kind = TvList, .tuple = true, .v = v.v, .n = v.n};
	return expect(f, "]");
}

static bool
callmodule(Fn *f, const Tok *at, Str path)
{
	fn_fail(f, at, "call of module 'self.%s': the text does not say what it computes", path);
	note(f->r->cx, place(f, at), "print a graph of torch.export or torch.compile instead");
	return false;
}

/* .name, (args), [index] after a value. */
static bool
postfix(Fn *f, const Tok *at, Tv *v, int nest)
{
	for (;;) {
		if (v->kind == TvAttr && !f->path && !isop(f, 0, ".") && !isop(f, 0, "(") && !attribute(f, at, v))
			return false;
		if (isop(f, 0, ".") && peek(f, 1)->kind == TkName) {
			Str name = text(f, peek(f, 1));
			Tv self = *v;

			f->p += 2;
			if (v->kind == TvSelf) {
				*v = (Tv){.kind = TvAttr, .name = name};
			} else if (v->kind == TvAttr) {
				v->name = intern_printf(f->r->cx, "%s.%s", v->name, name);
			} else if (v->kind == TvFn) {
				v->name = intern_printf(f->r->cx, "%s.%s", v->name, name);
			} else if (isop(f, 0, "(")) {
				Args a = {0};

				if (!arguments(f, &a, nest))
					return false;
				f->loc = place(f, at);
				if (!tv_method(f, name, &self, a.pos.v, a.pos.n, a.key.v, a.kw.v, a.kw.n, v))
					return false;
			} else {
				f->loc = place(f, at);
				if (!tv_getattr(f, &self, name, v))
					return false;
			}
		} else if (isop(f, 0, "(") && (v->kind == TvFn || v->kind == TvAttr)) {
			Args a = {0};
			Str name = v->name;
			bool did;

			if (v->kind == TvAttr && child(f, v->name) < 0)
				return callmodule(f, at, v->name);
			f->path += strcmp(name, "getattr") == 0;     /* of getattr(self.layers, "0") */
			bool ok = arguments(f, &a, nest);
			f->path -= strcmp(name, "getattr") == 0;
			if (!ok)
				return false;
			f->loc = place(f, at);
			if (v->kind == TvAttr) {           /* self.body(x): as invoke_subgraph */
				Tvs all = {0};

				if (!attribute(f, at, v))
					return false;
				vec_push(f->r->a, &all, *v);
				for (int i = 0; i < a.pos.n; i++)
					vec_push(f->r->a, &all, a.pos.v[i]);
				name = intern_str(f->r->cx, "torch.ops.higher_order.wrap");
				if (!tv_call(f, name, all.v, all.n, a.key.v, a.kw.v, a.kw.n, v))
					return false;
				continue;
			}
			if (!literal(f, at, name, &a, v, &did))
				return false;
			if (!did && !tv_call(f, name, a.pos.v, a.pos.n, a.key.v, a.kw.v, a.kw.n, v))
				return false;
		} else if (isop(f, 0, "[") && v->kind != TvFn) {
			Tv idx, base = *v;

			f->p++;
			if (!formb_subscript(f, &idx, nest))
				return false;
			f->loc = place(f, at);
			if (!tv_getitem(f, &base, &idx, v))
				return false;
		} else {
			break;
		}
	}
	if (v->kind == TvFn) {
		Str dotted = v->name;

		if (!const_name(f, dotted, v) && !strchr(dotted, '.'))
			return fn_fail(f, at, "'%s' is not defined", dotted);
	}
	return true;
}

bool
formb_value(Fn *f, Tv *out, int nest)
{
	const Tok *at = peek(f, 0);
	Tv *bound;
	bool comma;

	if (nest > MaxNest)
		return fn_fail(f, at, "nested too deeply");
	if (formb_isnumber(f))
		return number(f, out);
	switch (at->kind) {
	case TkStr: {
		Text t = {.arena = f->r->a};

		text_put(&t, "", 0);
		while (peek(f, 0)->kind == TkStr) {
			Str s = formb_unquote(f->r, &f->t, peek(f, 0));

			if (!s)
				return false;
			text_put(&t, s, strlen(s));
			f->p++;
		}
		*out = tv_ofarg(arg_str(intern_str(f->r->cx, t.s ? t.s : "")));
		return true;
	}
	case TkOp: {
		Tvs v = {0};

		f->p++;
		if (strcmp(at->op, "(") == 0)
			return paren(f, out, nest) && postfix(f, at, out, nest);
		if (strcmp(at->op, "{") == 0)
			return dict(f, out, nest);
		if (strcmp(at->op, "...") == 0) {
			*out = tv_ofarg((Arg){.kind = ArgEllipsis});
			return true;
		}
		if (strcmp(at->op, "[") == 0) {
			if (!list(f, "]", &v, &comma, nest))
				return false;
			*out = (Tv){.kind = TvList, .v = v.v, .n = v.n};
			return postfix(f, at, out, nest);
		}
		f->p--;
		return fn_fail(f, at, "expected a value");
	}
	case TkName:
		f->p++;
		if ((bound = map_get(&f->env, text(f, at))))
			*out = *bound;
		else if (isword(f, -1, "self"))
			*out = (Tv){.kind = TvSelf};
		else
			*out = (Tv){.kind = TvFn, .name = text(f, at)};
		if (out->kind == TvNone)
			return fn_fail(f, at, "'%s' has no type: give it with -ftype=%s=f32[2,3]", text(f, at), text(f, at));
		return postfix(f, at, out, nest);
	default:
		return fn_fail(f, at, "expected a value");
	}
}

bool
value_parse(Fn *f, Tv *out)
{
	return formb_value(f, out, 0);
}
