/* op.c - the table of operators: finding one, and fitting arguments to a schema.
 *
 * The table is sorted by name, so the overloads of a packet ("aten.add") lie
 * together, and a name is found by bisection.
 *
 * An argument fits a parameter at a cost: none if it is what the schema says, some
 * if it is converted (an int for a float, one int for int[2]), much if a number
 * stands for a tensor - AOT graphs write mul.Tensor(x, 0.5).  Of several overloads
 * the cheapest is taken.  Binding converts; what a bound argument may be is what
 * fits.
 */
#include <stdlib.h>
#include "ir/ir.h"

static const Param outparam[] = {
	{ .name = "results", .type = AtAny, .list = true },
};
const OpDef opplaceholder = { .name = "placeholder", .schema = "placeholder()",
	.nret = 1, .flags = OP(Leaf), .code = -1 };
const OpDef opgetattr = { .name = "get_attr", .schema = "get_attr()",
	.nret = 1, .flags = OP(Leaf), .code = -1 };
const OpDef opoutput = { .name = "output", .schema = "output(Any[] results)",
	.nparam = 1, .param = outparam, .flags = OP(Leaf), .code = -1 };

/* ---- finding ---- */

/* The first operator whose name is not smaller. */
static int
lowerbound(const char *name)
{
	int lo = 0, hi = noptab;

	while (lo < hi) {
		int mid = lo + (hi - lo) / 2;

		if (strcmp(optab[mid].name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const OpDef *
exact(const char *name)
{
	int i = lowerbound(name);

	return i < noptab && strcmp(optab[i].name, name) == 0 ? &optab[i]
	                                                      : NULL;
}

const OpDef *
op_find(const char *name)
{
	static const OpDef *const leaf[] = {
		&opplaceholder, &opgetattr, &opoutput,
	};
	const OpDef *op = exact(name);
	char buf[256];

	for (int i = 0; op == NULL && i < COUNT(leaf); i++)
		if (strcmp(leaf[i]->name, name) == 0)
			return leaf[i];
	if (op || snprintf(buf, sizeof buf, "%s.default", name)
	          >= (int)sizeof buf)
		return op;
	return exact(buf);
}

/* Length of "aten.add" in "aten.add.Tensor". */
static size_t
packet(const char *name)
{
	const char *dot = strchr(name, '.');

	dot = dot ? strchr(dot + 1, '.') : NULL;
	return dot ? (size_t)(dot - name) : strlen(name);
}

bool
op_samepacket(const OpDef *a, const OpDef *b)
{
	size_t n = packet(a->name);

	return n == packet(b->name) && memcmp(a->name, b->name, n) == 0;
}

enum route
op_route(const OpDef *op)
{
	if (op->flags & (OP(Leaf) | OP(Hop) | OP(Sym) | OP(Effect)))
		return RouteSpecial;
	if (op->flags & (OP(Inplace) | OP(Mutates)))
		return RouteFunctional;
	if (op->lower && strncmp(op->lower, "extern", 6) == 0)
		return RouteExtern;
	if (op->value || op->lower)
		return op->flags & OP(View) ? RouteView : RouteValue;
	return op->expand ? RouteExpand : RouteNone;
}

/* ---- fitting ---- */

enum { Exact = 0, Listed = 1, Widened = 2, Loose = 8, AsTensor = 64, Never = 1 << 20 };

static bool
constint(const Arg *a, int64_t *k)
{
	return a->kind == ArgInt && sym_isconst(a->i, k);
}

static int
fitint(const Arg *a)
{
	if (a->kind == ArgInt && !a->i->isfloat)
		return Exact;
	return a->kind == ArgBool ? Loose : Never;
}

static int
fitfloat(const Arg *a)
{
	if (a->kind == ArgFloat || (a->kind == ArgInt && a->i->isfloat))
		return Exact;
	return a->kind == ArgInt ? Widened : a->kind == ArgBool ? Loose : Never;
}

static int
fitscalar(const Arg *a)
{
	switch (a->kind) {
	case ArgInt:
	case ArgFloat:
	case ArgComplex: return Exact;
	case ArgBool:    return Widened;
	default:         return Never;
	}
}

/* A symbolic condition is an ArgInt of 0 or 1. */
static int
fitbool(const Arg *a)
{
	if (a->kind == ArgBool)
		return Exact;
	return a->kind == ArgInt && a->i->lo >= 0 && a->i->hi <= 1 ? Loose
	                                                           : Never;
}

static int
fittensor(const Arg *a)
{
	if (a->kind == ArgVal)
		return Exact;
	return fitscalar(a) < Never ? AsTensor : Never;
}

static int
fitkind(const Arg *a, enum argkind k, enum argkind k2)
{
	return a->kind == k ? Exact : a->kind == k2 ? Loose : Never;
}

static int
fitone(enum argtype t, const Arg *a)
{
	switch (t) {
	case AtTensor:    return fittensor(a);
	case AtInt:       return fitint(a);
	case AtFloat:     return fitfloat(a);
	case AtScalar:    return fitscalar(a);
	case AtBool:      return fitbool(a);
	case AtStr:       return fitkind(a, ArgStr, ArgStr);
	case AtDtype:     return fitkind(a, ArgDtype, ArgDtype);
	case AtLayout:    return fitkind(a, ArgLayout, ArgStr);
	case AtMemfmt:    return fitkind(a, ArgMemfmt, ArgMemfmt);
	case AtDevice:    return fitkind(a, ArgDevice, ArgStr);
	case AtGenerator: return Never;
	case AtGraph:     return fitkind(a, ArgGraph, ArgGraph);
	case AtAny:       return Exact;
	}
	return Never;
}

static int
fitlist(const Param *p, const Arg *a)
{
	int worst = Exact;

	for (int i = 0; i < a->list.n && worst < Never; i++) {
		const Arg *x = &a->list.v[i];
		int c = x->kind == ArgNone && p->elemopt ? Exact
		        : fitone(p->type, x);

		if (c == AsTensor)
			c = Never;
		worst = c > worst ? c : worst;
	}
	return worst;
}

static int
fit(const Param *p, const Arg *a)
{
	if (a->kind == ArgNone)
		return p->opt || p->type == AtAny ? Exact : Never;
	if (!p->list)
		return fitone(p->type, a);
	if (a->kind == ArgList)
		return fitlist(p, a);
	if (p->type == AtAny)
		return Exact;
	return p->fixed && p->type != AtTensor ? fitone(p->type, a) + Listed
	                                       : Never;
}

bool
op_fits(const Param *p, const Arg *a)
{
	return fit(p, a) < Never;
}

/* ---- converting ---- */

static Arg
convertone(Ctx *cx, enum argtype t, const Arg *a)
{
	int64_t k;

	if ((t == AtFloat || t == AtScalar) && a->kind == ArgInt
	    && a->i->kind == SymFloatConst)
		return arg_float(a->i->f);
	if (t == AtFloat && constint(a, &k))
		return arg_float((double)k);
	if (t == AtFloat && a->kind == ArgInt)
		return arg_sym(sym_fn(cx, SymFnToFloat, &a->i, 1, NULL));
	if (t == AtFloat && a->kind == ArgBool)
		return arg_float(a->b);
	if (t == AtInt && a->kind == ArgBool)
		return arg_int(cx, a->b);
	if (t == AtBool && constint(a, &k))
		return arg_bool(k != 0);
	if (t == AtDevice && a->kind == ArgStr)
		return (Arg){ .kind = ArgDevice, .s = a->s };
	if (t == AtLayout && a->kind == ArgStr)
		return (Arg){ .kind = ArgLayout, .s = a->s };
	return *a;
}

/* a, which fits, as the schema has it. */
static Arg
convert(Ctx *cx, const Param *p, const Arg *a)
{
	int n = a->kind == ArgList ? a->list.n : p->fixed;
	Arg *v;

	if (a->kind == ArgNone || (!p->list && p->type == AtAny))
		return *a;
	if (!p->list)
		return convertone(cx, p->type, a);
	if (a->kind != ArgList && p->type == AtAny)
		return *a;
	v = NEWN(ctx_arena(cx), Arg, n);
	for (int i = 0; i < n; i++) {
		const Arg *x = a->kind == ArgList ? &a->list.v[i] : a;

		v[i] = x->kind == ArgNone ? *x : convertone(cx, p->type, x);
	}
	return (Arg){ .kind = ArgList, .list = { v, n } };
}

/* ---- defaults ---- */

static bool
is(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(s, word, n) == 0;
}

/* Words that stand for a number, a format, a layout in ATen's schemas. */
static bool
word(Ctx *cx, const char *s, size_t n, Arg *out)
{
	static const struct { const char *w; enum argkind kind; int v; } words[] = {
		{ "None", ArgNone, 0 }, { "True", ArgBool, 1 },
		{ "False", ArgBool, 0 }, { "Mean", ArgInt, 1 },
		{ "Sum", ArgInt, 2 },
		{ "contiguous_format", ArgMemfmt, MemContiguous },
		{ "preserve_format", ArgMemfmt, MemPreserve },
		{ "channels_last", ArgMemfmt, MemChannelsLast },
	};
	enum dtype dt;

	for (int i = 0; i < COUNT(words); i++) {
		if (!is(s, n, words[i].w))
			continue;
		*out = (Arg){ .kind = words[i].kind };
		if (out->kind == ArgInt)
			*out = arg_int(cx, words[i].v);
		else if (out->kind == ArgBool)
			out->b = words[i].v;
		else if (out->kind == ArgMemfmt)
			out->mf = (enum memfmt)words[i].v;
		return true;
	}
	if (is(s, n, "strided")) {
		*out = (Arg){ .kind = ArgLayout, .s = intern(cx, s, n) };
		return true;
	}
	dt = dtype_parse(s, n);
	*out = arg_dtype(dt);
	return dt != DtNone;
}

/* One literal, which ends at p[n]. */
static bool
literal(Ctx *cx, const char *p, size_t n, Arg *out)
{
	char buf[64], *end;
	long long k;

	if (n >= 2 && (p[0] == '"' || p[0] == '\'') && p[n - 1] == p[0]) {
		*out = arg_str(intern(cx, p + 1, n - 2));
		return true;
	}
	if (word(cx, p, n, out))
		return true;
	if (n == 0 || n >= sizeof buf)
		return false;
	memcpy(buf, p, n);
	buf[n] = 0;
	k = strtoll(buf, &end, 10);
	if (*end == 0) {
		*out = arg_int(cx, k);
		return true;
	}
	*out = arg_float(strtod(buf, &end));
	return *end == 0;
}

static bool
parselist(Ctx *cx, const char *s, size_t n, Arg *out)
{
	VEC(Arg) v = {0};
	Arg one;

	for (size_t i = 1, j; i < n - 1; i = j + 1) {
		while (s[i] == ' ')
			i++;
		for (j = i; j < n - 1 && s[j] != ','; j++)
			;
		if (!literal(cx, s + i, j - i, &one))
			return false;
		vec_push(ctx_arena(cx), &v, one);
	}
	*out = (Arg){ .kind = ArgList, .list = { v.v, v.n } };
	return true;
}

/* The registry's schemas write dtypes and memory formats by number. */
static void
unnumber(const Param *p, Arg *a)
{
	static const uint8_t dtype[] = {      /* c10/core/ScalarType.h */
		DtU8, DtI8, DtI16, DtI32, DtI64, DtF16, DtF32, DtF64, DtNone,
		DtC64, DtC128, DtB8, DtNone, DtNone, DtNone, DtBF16,
	};
	int64_t k;

	if (!constint(a, &k) || k < 0)
		return;
	if (p->type == AtDtype && k < COUNT(dtype) && dtype[k] != DtNone)
		*a = arg_dtype((enum dtype)dtype[k]);
	if (p->type == AtMemfmt && k <= MemChannelsLast3d)
		*a = (Arg){ .kind = ArgMemfmt, .mf = (enum memfmt)k };
}

static bool
dflt(Ctx *cx, Loc loc, const OpDef *op, const Param *p, Arg *out)
{
	size_t n = strlen(p->dflt);
	Arg a;
	bool ok = n >= 2 && p->dflt[0] == '[' && p->dflt[n - 1] == ']'
	          ? parselist(cx, p->dflt, n, &a)
	          : literal(cx, p->dflt, n, &a);

	if (ok)
		unnumber(p, &a);
	if (!ok || fit(p, &a) >= Never) {
		error(cx, loc, "%s: default %s of parameter %s has not its type",
		      op->name, p->dflt, p->name);
		return false;
	}
	*out = convert(cx, p, &a);
	return true;
}

/* ---- binding ---- */

/* torch functions call the first tensor input and have numpy's names too. */
static bool
named(const OpDef *op, const Param *p, const char *key)
{
	static const char *const alias[][2] = {
		{ "input", "self" }, { "axis", "dim" }, { "keepdims", "keepdim" },
	};

	if (strcmp(p->name, key) == 0)
		return true;
	for (int i = 0; i < op->nparam; i++)
		if (strcmp(op->param[i].name, key) == 0)
			return false;
	for (int i = 0; i < COUNT(alias); i++)
		if (strcmp(key, alias[i][0]) == 0
		    && strcmp(p->name, alias[i][1]) == 0)
			return true;
	return false;
}

static int
paramof(const OpDef *op, const char *key)
{
	for (int i = 0; i < op->nparam; i++)
		if (named(op, &op->param[i], key))
			return i;
	return -1;
}

static int
npositional(const OpDef *op)
{
	int n = 0;

	while (n < op->nparam && !op->param[n].kwonly)
		n++;
	return n;
}

/* Parameter i of a call: which argument; NULL: none given. */
static const Arg *
given(const OpDef *op, int i, const Arg *pos, int npos, const Str *key,
      const Arg *kw, int nkw)
{
	if (i < npos)
		return &pos[i];
	for (int k = 0; k < nkw; k++)
		if (named(op, &op->param[i], key[k]))
			return &kw[k];
	return NULL;
}

static const char *
kindname(const Arg *a)
{
	static const char *const name[] = {
		[ArgNone] = "None", [ArgBool] = "a bool", [ArgInt] = "an int",
		[ArgFloat] = "a float", [ArgStr] = "a string",
		[ArgDtype] = "a dtype", [ArgLayout] = "a layout",
		[ArgMemfmt] = "a memory format", [ArgDevice] = "a device",
		[ArgVal] = "a tensor", [ArgList] = "a list",
		[ArgGraph] = "a graph", [ArgEllipsis] = "...",
		[ArgSlice] = "a slice", [ArgComplex] = "a complex number",
	};

	return name[a->kind];
}

static const char *
typename(Ctx *cx, const Param *p)
{
	static const char *const name[] = {
		[AtTensor] = "Tensor", [AtInt] = "int", [AtFloat] = "float",
		[AtScalar] = "Scalar", [AtBool] = "bool", [AtStr] = "str",
		[AtDtype] = "dtype", [AtLayout] = "layout",
		[AtMemfmt] = "memory_format", [AtDevice] = "device",
		[AtGenerator] = "Generator", [AtGraph] = "graph",
		[AtAny] = "any",
	};

	return arena_printf(ctx_arena(cx), "%s%s%s%s", name[p->type],
	                    p->elemopt ? "?" : "", p->list ? "[]" : "",
	                    p->opt ? "?" : "");
}

static bool
keysok(Ctx *cx, Loc loc, const OpDef *op, int npos, const Str *key, int nkw)
{
	for (int k = 0; k < nkw; k++) {
		int i = paramof(op, key[k]);

		if (i < 0) {
			error(cx, loc, "%s has no parameter %s", op->name,
			      key[k]);
			return false;
		}
		if (i < npos) {
			error(cx, loc, "%s: parameter %s is given twice",
			      op->name, key[k]);
			return false;
		}
		for (int j = 0; j < k; j++)
			if (paramof(op, key[j]) == i) {
				error(cx, loc, "%s: parameter %s is given twice",
				      op->name, key[k]);
				return false;
			}
	}
	return true;
}

bool
op_bind(Ctx *cx, Loc loc, const OpDef *op, const Arg *pos, int npos,
        const Str *key, const Arg *kw, int nkw, Arg *out)
{
	const Arg *a;

	if (npos > npositional(op)) {
		error(cx, loc, "%s takes %d positional arguments, %d are given",
		      op->name, npositional(op), npos);
		return false;
	}
	if (!keysok(cx, loc, op, npos, key, nkw))
		return false;
	for (int i = 0; i < op->nparam; i++) {
		const Param *p = &op->param[i];

		a = given(op, i, pos, npos, key, kw, nkw);
		if (a == NULL && p->dflt == NULL && !p->opt) {
			error(cx, loc, "%s: parameter %s is missing", op->name,
			      p->name);
			return false;
		}
		if (a == NULL) {
			out[i] = arg_none();
			if (p->dflt && !dflt(cx, loc, op, p, &out[i]))
				return false;
			continue;
		}
		if (fit(p, a) >= Never) {
			error(cx, loc, "%s: parameter %s is %s, not %s",
			      op->name, p->name, typename(cx, p), kindname(a));
			return false;
		}
		out[i] = convert(cx, p, a);
	}
	return true;
}

/* ---- overloads ---- */

/* What the call costs with this overload; Never and above: it does not fit. */
static int
cost(const OpDef *op, const Arg *pos, int npos, const Str *key, const Arg *kw,
     int nkw)
{
	int c = 0, tensors = 0, numbers = 0, one;

	if (npos > npositional(op))
		return Never;
	for (int k = 0; k < nkw; k++)
		if (paramof(op, key[k]) < npos)
			return Never;
	for (int i = 0; i < op->nparam; i++) {
		const Param *p = &op->param[i];
		const Arg *a = given(op, i, pos, npos, key, kw, nkw);

		if (a == NULL && p->dflt == NULL && !p->opt)
			return Never;
		if (a == NULL)
			continue;
		one = fit(p, a);
		if (one >= Never)
			return Never;
		tensors += p->type == AtTensor && one == Exact;
		numbers += one == AsTensor;
		c += one;
	}
	return numbers && !tensors ? Never : c;
}

static bool
isdefault(const OpDef *op)
{
	return strcmp(op->name + packet(op->name), ".default") == 0;
}

const OpDef *
op_overload(Ctx *cx, const char *name, const Arg *pos, int npos,
            const Str *key, const Arg *kw, int nkw)
{
	const OpDef *best = NULL, *first = exact(name);
	int least = Never;

	if (first == NULL)
		first = optab + lowerbound(arena_printf(ctx_arena(cx), "%s.",
		                                        name));
	for (const OpDef *op = first; op < optab + noptab; op++) {
		int c;

		if (packet(op->name) != strlen(name)
		    || strncmp(op->name, name, strlen(name)) != 0)
			break;
		c = cost(op, pos, npos, key, kw, nkw);
		if (c < least || (c == least && c < Never && isdefault(op))) {
			best = op;
			least = c;
		}
	}
	return best;
}
