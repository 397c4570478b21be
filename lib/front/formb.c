/* formb.c - Python source of a graph: gm.code, print_readable, print(ep), logs.
 *
 *     relu: "f32[2, 8]" = torch.ops.aten.relu.default(x);  x = None
 *
 * Exactly one operator stands in a statement, so there is no precedence:
 * `-2 ** y` is pow(-2, y), as FX printed it from a template.  A statement is
 * evaluated while it is parsed: names stand for Tvs, and calls make nodes
 * (torchfn.c).  Ends of life (`x = None`) and everything else that only manages
 * Python's memory is skipped.
 */
#include "front/text.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

enum { MaxNest = 200 };

/* ---- tokens ------------------------------------------------------------------ */

static const Tok *
peek(const Fn *f, int k)
{
	int i = f->p + k;

	return &f->t.v[i < f->t.n ? i : f->t.n - 1];
}

static bool
isop(const Fn *f, int k, const char *op)
{
	const Tok *t = peek(f, k);

	return t->kind == TkOp && strcmp(t->op, op) == 0;
}

static bool
accept(Fn *f, const char *op)
{
	if (!isop(f, 0, op))
		return false;
	f->p++;
	return true;
}

static bool
expect(Fn *f, const char *op)
{
	return accept(f, op) || fn_fail(f, peek(f, 0), "expected '%s'", op);
}

static Str
text(const Fn *f, const Tok *t)
{
	return intern(f->r->cx, f->t.s + t->off, t->len);
}

static bool
isword(const Fn *f, int k, const char *word)
{
	const Tok *t = peek(f, k);

	return t->kind == TkName && t->len == strlen(word) && memcmp(f->t.s + t->off, word, t->len) == 0;
}

static Loc
place(const Fn *f, const Tok *t)
{
	return f->builtin ? f->loc : loc_from(f->r->cx, f->r->file, t->off, f->python);
}

/* ---- values -------------------------------------------------------------------- */

typedef VEC(Tv) Tvs;
typedef VEC(Str) Strs;

static bool value(Fn *f, Tv *out, int nest);

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

static bool
isnumber(const Fn *f)
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
		if (!value(f, &one, nest + 1))
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

	if (isnumber(f)) {
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
		if (!value(f, &key, nest + 1) || !expect(f, ":") || !value(f, &val, nest + 1))
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
			if (!value(f, &v, nest + 1))
				return false;
			vec_push(f->r->a, &a->kw, v);
			continue;
		}
		if (a->kw.n)
			return fn_fail(f, peek(f, 0), "a positional argument after a keyword");
		bool star = accept(f, "*");
		if (!value(f, &v, nest + 1))
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
static bool
subscript(Fn *f, Tv *out, int nest)
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

			if (have && !value(f, &one, nest + 1))
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
			if (!subscript(f, &idx, nest))
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

static bool
value(Fn *f, Tv *out, int nest)
{
	const Tok *at = peek(f, 0);
	Tv *bound;
	bool comma;

	if (nest > MaxNest)
		return fn_fail(f, at, "nested too deeply");
	if (isnumber(f))
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
	return value(f, out, 0);
}

/* ---- statements ------------------------------------------------------------------- */

static const char *const binops[] = {
	"+", "-", "*", "/", "//", "%", "**", "@", "<<", ">>", "&", "|", "^", "==", "!=", "<", ">", "<=", ">=",
};
static const char *const inops[] = {
	"+=", "-=", "*=", "/=", "//=", "%=", "**=", "@=", "<<=", ">>=", "&=", "|=", "^=",
};

static bool
oneof(const Fn *f, const char *const *ops, int n, const char **op)
{
	for (int i = 0; i < n; i++)
		if (isop(f, 0, ops[i])) {
			*op = ops[i];
			return true;
		}
	return false;
}

/* value [BINOP value] | UNOP value */
static bool
rhs(Fn *f, Tv *out)
{
	const Tok *at = peek(f, 0);
	const char *op;
	Tv a, b;

	if (!isnumber(f) && (isop(f, 0, "-") || isop(f, 0, "~") || isop(f, 0, "+") || isword(f, 0, "not"))) {
		op = at->kind == TkName ? "not" : at->op;
		f->p++;
		if (!value(f, &a, 0))
			return false;
		f->loc = place(f, at);
		return tv_unary(f, op, &a, out);
	}
	if (!value(f, &a, 0))
		return false;
	if (!oneof(f, binops, COUNT(binops), &op)) {
		*out = a;
		return true;
	}
	at = peek(f, 0);
	f->p++;
	if (!value(f, &b, 0))
		return false;
	f->loc = place(f, at);
	return tv_binary(f, op, &a, &b, out);
}

/* The string annotation after ':' of an assignment, or a Python type, which says nothing. */
static bool
annotation(Fn *f, Annot **out)
{
	const Tok *t = peek(f, 0);

	*out = NULL;
	if (t->kind == TkStr) {
		f->p++;
		*out = NEW(f->r->a, Annot);
		return annot_parse(f->r, f->t.s + t->off + 1, t->len - 2, (int64_t)t->off + 1, *out);
	}
	for (int depth = 0;; f->p++) {
		t = peek(f, 0);
		if (t->kind == TkNewline || t->kind == TkEof)
			return true;
		if (t->kind != TkOp)
			continue;
		if (depth == 0 && strchr(",)=;:", t->op[0]))
			return true;
		depth += strchr("([{", t->op[0]) ? 1 : strchr(")]}", t->op[0]) ? -1 : 0;
	}
}

static void
skip_statement(Fn *f)
{
	while (peek(f, 0)->kind != TkNewline && peek(f, 0)->kind != TkEof)
		f->p++;
}

/* a, b, = fx_pytree.tree_flatten_spec(...): these are the inputs. */
static bool
flatten(Fn *f)
{
	while (peek(f, 0)->kind == TkName) {
		const Tok *t = peek(f, 0);
		Str name = text(f, t);

		if (!fn_placeholder(f, name, map_get(&f->decl, name), place(f, t)))
			return false;
		f->p++;
		if (!accept(f, ","))
			break;
	}
	if (!expect(f, "="))
		return false;
	skip_statement(f);
	return true;
}

static bool
isflatten(const Fn *f)
{
	int k = 0;

	while (peek(f, k)->kind == TkName && isop(f, k + 1, ","))
		k += 2;
	if (peek(f, k)->kind == TkName)
		k++;
	return k && isop(f, k, "=") && isword(f, k + 1, "fx_pytree");
}

/* x = y = None: nothing. */
static bool
deletion(Fn *f)
{
	int k = 0;

	while (peek(f, k)->kind == TkName && isop(f, k + 1, "="))
		k += 2;
	if (k == 0 || !isword(f, k, "None") || (peek(f, k + 1)->kind != TkNewline && !isop(f, k + 1, ";")))
		return false;
	f->p += k + 1;
	return true;
}

static bool
ret(Fn *f)
{
	Tv v;

	f->p++;
	f->loc = place(f, peek(f, 0));
	if (isword(f, 0, "pytree") && isop(f, 1, ".") && isword(f, 2, "tree_unflatten")) {
		f->p += 3;
		if (!expect(f, "(") || !value(f, &v, 0))
			return false;
		skip_statement(f);
	} else if (f->builtin ? !rhs(f, &v) : !value(f, &v, 0)) {
		return false;
	} else if (isop(f, 0, ",")) {              /* return a, b */
		Tvs l = {0};

		vec_push(f->r->a, &l, v);
		while (accept(f, ",") && peek(f, 0)->kind != TkNewline) {
			if (!value(f, &v, 0))
				return false;
			vec_push(f->r->a, &l, v);
		}
		v = (Tv){.kind = TvList, .tuple = true, .v = l.v, .n = l.n};
	}
	f->done = true;
	return fn_return(f, &v);
}

/* NAME [annot] = rhs */
static bool
assign(Fn *f)
{
	const Tok *name = peek(f, 0);
	Annot *annot = NULL;
	Tv v = {0}, *bound;

	f->p++;
	f->target = text(f, name);
	if (accept(f, ":") && !annotation(f, &annot))
		return false;
	if (annot && !isop(f, 0, "=")) {
		map_put(f->r->a, &f->decl, f->target, annot);
		return true;
	}
	if (!expect(f, "="))
		return false;
	if (isword(f, 0, "next") && isop(f, 1, "(") && isword(f, 2, "args_iter")) {
		skip_statement(f);
		return fn_placeholder(f, f->target, annot ? annot : map_get(&f->decl, f->target), place(f, name));
	}
	if (isword(f, 0, "iter") && isop(f, 1, "(")) {
		skip_statement(f);
		return true;
	}
	f->annot = annot;
	if (peek(f, 0)->kind == TkName && (peek(f, 1)->kind == TkNewline || isop(f, 1, ";")) &&
	    (bound = map_get(&f->env, text(f, peek(f, 0)))) && bound->kind == TvNone) {
		fn_bind(f, f->target, *bound);           /* another name of an input without a type */
		f->p++;
		return true;
	}
	return rhs(f, &v) && fn_name(f, f->target, &v);
}

/* x[i] = v, x += v, or a call for its effect. */
static bool
effect(Fn *f)
{
	const Tok *at = peek(f, 0);
	Tv base, idx, v, *bound;
	const char *op;

	if (at->kind == TkName && isop(f, 1, "[") && (bound = map_get(&f->env, text(f, at)))) {
		int back = f->p;

		f->p += 2;
		if (!subscript(f, &idx, 0))
			return false;
		if (accept(f, "=")) {
			base = *bound;
			if (!value(f, &v, 0))
				return false;
			f->loc = place(f, at);
			return tv_setitem(f, &base, &idx, &v);
		}
		f->p = back;
	}
	if (isword(f, 0, "args_list")) {
		skip_statement(f);
		return true;
	}
	if (!value(f, &base, 0))
		return false;
	if (oneof(f, inops, COUNT(inops), &op)) {
		f->p++;
		if (!value(f, &v, 0))
			return false;
		f->loc = place(f, at);
		return tv_inplace(f, op, &base, &v);
	}
	return true;
}

static bool
sametv(const Tv *a, const Tv *b)
{
	if (a->kind != TvArg || b->kind != TvArg || a->arg.kind != b->arg.kind)
		return false;
	switch (a->arg.kind) {
	case ArgNone: return true;
	case ArgBool: return a->arg.b == b->arg.b;
	case ArgInt:  return sym_eq(a->arg.i, b->arg.i);
	case ArgStr:  return a->arg.s == b->arg.s;
	default:      return false;
	}
}

static bool
truth(const Tv *v)
{
	int64_t k;

	if (v->kind != TvArg)
		return v->kind != TvList || v->n > 0;
	switch (v->arg.kind) {
	case ArgNone:  return false;
	case ArgBool:  return v->arg.b;
	case ArgInt:   return !sym_isconst(v->arg.i, &k) || k != 0;
	case ArgFloat: return v->arg.f != 0;
	default:       return true;
	}
}

/* Of a definition only:  if [not] VALUE [is VALUE]: STATEMENT   decided while reading. */
static bool
condition(Fn *f)
{
	bool not, yes;
	Tv a, b;

	f->p++;
	if ((not = isword(f, 0, "not")))
		f->p++;
	if (!value(f, &a, 0))
		return false;
	yes = truth(&a);
	if (isword(f, 0, "is")) {
		f->p++;
		if (!value(f, &b, 0))
			return false;
		yes = sametv(&a, &b);
	}
	if (!expect(f, ":"))
		return false;
	if (yes == not)
		skip_statement(f);
	else
		f->then = true;
	return true;
}

static bool
simple(Fn *f)
{
	f->annot = NULL;
	f->target = NULL;
	f->loc = place(f, peek(f, 0));
	if (isword(f, 0, "pass")) {
		f->p++;
		return true;
	}
	if (f->builtin && isword(f, 0, "if"))
		return condition(f);
	if (isword(f, 0, "return"))
		return ret(f);
	if (!f->builtin && deletion(f))
		return true;
	if (isflatten(f))
		return flatten(f);
	if (peek(f, 0)->kind == TkName && (isop(f, 1, "=") || isop(f, 1, ":")))
		return assign(f);
	return effect(f);
}

/* "# File: PATH:LINE in FUNC, code: ..." -> "PATH:LINE in FUNC" */
static void
location(Fn *f, const Comment *c)
{
	static const char key[] = "File: ";
	Text t = {.arena = f->r->a};
	const char *e, *b;

	text_put(&t, f->t.s + c->off, c->len);
	if (!(b = strstr(t.s, key))) {
		if (strstr(t.s, "No stacktrace"))
			f->python = NULL;
		return;
	}
	b += sizeof key - 1;
	e = strstr(b, ", code:");
	f->python = intern(f->r->cx, b, e ? (size_t)(e - b) : strlen(b));
}

static bool
body(Fn *f)
{
	int c = 0;

	while (c < f->t.nc && f->t.c[c].off < peek(f, 0)->off)
		c++;
	while (c > 0 && f->t.c[c - 1].off > peek(f, -1)->off)
		c--;
	while (peek(f, 0)->kind != TkEof) {
		const Tok *t = peek(f, 0);

		for (; c < f->t.nc && f->t.c[c].off < t->off; c++)
			location(f, &f->t.c[c]);
		if (t->kind == TkNewline || isop(f, 0, ";")) {
			f->p++;
			continue;
		}
		if (f->done && f->builtin)
			return true;
		if (f->done)
			return fn_fail(f, t, "text after the return");
		f->then = false;
		if (!simple(f))
			return false;
		if (peek(f, 0)->kind != TkNewline && peek(f, 0)->kind != TkEof && !isop(f, 0, ";") && !f->then)
			return fn_fail(f, peek(f, 0), "syntax error: one operator per statement");
	}
	return f->done || fn_fail(f, peek(f, 0), "the function has no return");
}

/* ---- the def line ------------------------------------------------------------------- */

static bool
boxed(const Fn *f)
{
	for (int i = 0; i < f->t.n; i++) {
		const Tok *t = &f->t.v[i];

		if (t->kind == TkName && ((t->len == 17 && memcmp(f->t.s + t->off, "tree_flatten_spec", 17) == 0) ||
		                          (t->len == 9 && memcmp(f->t.s + t->off, "args_iter", 9) == 0)))
			return true;
	}
	return false;
}

static bool
parameters(Fn *f)
{
	bool skip = boxed(f);

	while (!accept(f, ")")) {
		const Tok *t = peek(f, 0);
		Annot *annot = NULL;
		bool star = false;
		Tv dflt = {0};

		while (accept(f, "*") || accept(f, "**"))
			star = true;
		t = peek(f, 0);
		if (t->kind != TkName)
			return fn_fail(f, t, "expected a parameter");
		f->p++;
		bool isint = isop(f, 0, ":") && isword(f, 1, "torch") && isword(f, 3, "SymInt");
		if (accept(f, ":") && !annotation(f, &annot))
			return false;
		if (isint) {
			annot = NEW(f->r->a, Annot);
			annot->sym = size_var(f->r->cx, f->t.s + t->off, t->len);
		}
		if (accept(f, "=") && !value(f, &dflt, 0))
			return false;
		if (!accept(f, ",") && !isop(f, 0, ")"))
			return fn_fail(f, peek(f, 0), "expected ',' or ')'");
		if (star)
			fn_bind(f, text(f, t), (Tv){.kind = TvNone});
		if (skip || star || (t->len == 4 && memcmp(f->t.s + t->off, "self", 4) == 0))
			continue;
		if (!fn_placeholder(f, text(f, t), annot, place(f, t)))
			return false;
	}
	return true;
}

/* AOT's descriptors in comments: what an input or a result of a joint graph is.
 *     primals_1: "f32[8, 4]"  # ParamAOTInput(target='fc1.weight')
 *     t_8,  # GradAOTOutput(grad_of=ParamAOTInput(target='fc1.weight')) */
static void
descriptors(Fn *f)
{
	static const struct { const char *word; int kind; } is[] = {
		{"ParamAOTInput(target='", InParam}, {"BufferAOTInput(target='", InBuffer},
	};
	uint32_t ret = UINT32_MAX;
	int nth = 0;

	for (int i = 0; i < f->t.n; i++)
		if (f->t.v[i].kind == TkName && f->t.v[i].len == 6 && memcmp(f->t.s + f->t.v[i].off, "return", 6) == 0)
			ret = f->t.v[i].off;
	for (int i = 0; i < f->t.nc; i++) {
		Text t = {.arena = f->r->a};
		int k = 0, lo = 0, hi = f->t.n;
		const char *b, *e;

		text_put(&t, f->t.s + f->t.c[i].off, f->t.c[i].len);
		while (k < COUNT(is) && !strstr(t.s, is[k].word))
			k++;
		nth += f->t.c[i].off > ret;
		if (k == COUNT(is))
			continue;
		b = strstr(t.s, is[k].word) + strlen(is[k].word);
		if (!(e = strchr(b, '\'')))
			continue;
		if (strstr(t.s, "GradAOTOutput(grad_of=ParamAOTInput") && f->t.c[i].off > ret)
			vec_push(f->r->a, &f->r->out, (SigLine){intern_printf(f->r->cx, "%d", nth - 1),
			         intern(f->r->cx, b, (size_t)(e - b)), ResGradParam, true, 0});
		if (strstr(t.s, "AOTOutput("))
			continue;
		while (lo < hi) {                       /* the first token after the comment */
			int mid = (lo + hi) / 2;

			if (f->t.v[mid].off < f->t.c[i].off)
				lo = mid + 1;
			else
				hi = mid;
		}
		while (--lo >= 0 && !(f->t.v[lo].kind == TkOp && f->t.v[lo].op[0] == ':'))
			if (f->t.c[i].off - f->t.v[lo].off > 400)
				break;
		if (lo > 0 && f->t.v[lo - 1].kind == TkName)
			vec_push(f->r->a, &f->r->in, (SigLine){text(f, &f->t.v[lo - 1]), intern(f->r->cx, b, (size_t)(e - b)),
			                                       is[k].kind, true, 0});
	}
}

/* def NAME(params) [-> type]: and the statements. */
static bool
function(Fn *f, const Class *c)
{
	if (!formb_lex(f->r, f->r->s, c->begin, c->end, &f->t))
		return false;
	if (!isword(f, 0, "def"))
		return fn_fail(f, peek(f, 0), "expected 'def'");
	f->p = 2;
	if (!f->r->hassig && c->parent < 0 && !f->inlined)
		descriptors(f);
	if (!expect(f, "(") || !parameters(f))
		return false;
	while (peek(f, 0)->kind != TkEof && !isop(f, 0, ":"))     /* -> type */
		f->p++;
	return expect(f, ":") && body(f);
}

bool
formb_function(Reader *r, Class *c)
{
	Fn f = {.r = r, .cls = c, .g = c->graph};

	return function(&f, c);
}

/* The body of a sub-graph in the place of its call. */
bool
formb_inline(Fn *caller, int cls, const Tv *arg, int narg, Tv *out)
{
	Class *c = &caller->r->cls.v[cls];
	Fn f = {.r = caller->r, .cls = c, .g = caller->g, .lastin = caller->lastin, .depth = caller->depth + 1,
	        .inlined = true, .actual = arg, .nactual = narg, .result = out};

	if (f.depth > 100) {
		error(f.r->cx, caller->loc, "sub-graphs are nested too deeply");
		return false;
	}
	if (!function(&f, c))
		return false;
	if (f.iactual != narg) {
		error(f.r->cx, caller->loc, "%s takes %d arguments, %d given", c->name, f.iactual, narg);
		return false;
	}
	return true;
}

/* A definition of torchfn.def: body with the names bound. */
bool
formb_builtin(Fn *caller, const char *text, const Str *name, const Tv *val, int n, Tv *out)
{
	Fn f = {.r = caller->r, .cls = caller->cls, .g = caller->g, .lastin = caller->lastin, .depth = caller->depth + 1,
	        .builtin = true, .inlined = true, .result = out, .loc = caller->loc, .python = caller->python};

	if (f.depth > 100) {
		error(f.r->cx, caller->loc, "nested too deeply");
		return false;
	}
	if (!formb_lex(f.r, text, 0, strlen(text), &f.t))
		return false;
	for (int i = 0; i < n; i++)
		fn_bind(&f, name[i], val[i]);
	return body(&f);
}
