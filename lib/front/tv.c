/* tv.c - the values that Python expressions of the text have while reading.
 */
#include "front/text.h"

Tv
tv_ofarg(Arg a)
{
	return (Tv){.kind = TvArg, .arg = a};
}

bool
tv_fail(Fn *f, const char *fmt, ...)
{
	va_list ap;
	const char *msg;

	va_start(ap, fmt);
	msg = arena_vprintf(f->r->a, fmt, ap);
	va_end(ap);
	error(f->r->cx, f->loc, "%s", msg);
	return false;
}

bool
tv_starts(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

bool
tv_poison(const Tv *v)
{
	if (v->kind == TvList || v->kind == TvDict)
		for (int i = 0; i < v->n; i++)
			if (tv_poison(&v->v[i]))
				return true;
	return v->kind == TvPoison;
}

bool
tv_poisons(const Tv *v, int n)
{
	for (int i = 0; i < n; i++)
		if (tv_poison(&v[i]))
			return true;
	return false;
}

bool
tv_unsupported(Fn *f, const char *name, Tv *out)
{
	unsupported_add(f->r->cx, &f->r->unsup, name, f->loc);
	*out = (Tv){.kind = TvPoison};
	return true;
}

Val *
tv_tensor(const Tv *v)
{
	return v->kind == TvArg && v->arg.kind == ArgVal ? v->arg.use->val : NULL;
}

bool
tv_isnum(const Tv *v)
{
	return v->kind == TvArg && (v->arg.kind == ArgInt || v->arg.kind == ArgFloat || v->arg.kind == ArgBool);
}

bool
tv_isint(const Tv *v)
{
	return v->kind == TvArg && v->arg.kind == ArgInt && !v->arg.i->isfloat;
}

bool
tv_isnone(const Tv *v)
{
	return v->kind == TvArg && v->arg.kind == ArgNone;
}

Tv
tv_int(Fn *f, int64_t k)
{
	return tv_ofarg(arg_int(f->r->cx, k));
}

Tv
tv_val(Val *v)
{
	if (v->type && v->type->kind == TySym)
		return (Tv){.kind = TvArg, .arg = arg_sym(v->type->sym), .node = v->def};
	return tv_ofarg(arg_val(v));
}

/* A Sym as an argument: a constant double is a float literal. */
Tv
tv_sym(const Sym *s)
{
	return tv_ofarg(s->kind == SymFloatConst ? arg_float(s->f) : arg_sym(s));
}

bool
arg_isconst(const Arg *a, int64_t *k)
{
	return a && a->kind == ArgInt && sym_isconst(a->i, k);
}

bool
tv_ismask(Fn *f, Val *v)
{
	return fn_known(f, v) && v->type->kind == TyTensor && v->type->dt == DtB8;
}

/* ---- arguments --------------------------------------------------------------------- */

bool
tv_arg(Fn *f, const Tv *v, Arg *out)
{
	Arg *l;
	Graph *g;

	switch (v->kind) {
	case TvArg:
		*out = v->arg;
		if (v->arg.kind == ArgVal)               /* each use is its own link */
			*out = arg_val(vmap_value(f, v->arg.use->val));
		return true;
	case TvList:
		l = NEWN(f->r->a, Arg, v->n + 1);
		for (int i = 0; i < v->n; i++)
			if (!tv_arg(f, &v->v[i], &l[i]))
				return false;
		*out = (Arg){.kind = ArgList, .list = {l, v->n}};
		return true;
	case TvNode:
		l = NEWN(f->r->a, Arg, v->node->nout + 1);
		for (int i = 0; i < v->node->nout; i++)
			l[i] = arg_val(vmap_value(f, &v->node->out[i]));
		*out = (Arg){.kind = ArgList, .list = {l, v->node->nout}};
		return true;
	case TvDict:                                     /* options: pairs of name and value */
		l = NEWN(f->r->a, Arg, v->n + 1);
		for (int i = 0; i < v->n; i++) {
			Arg pair[2] = {arg_str(v->key[i])};
			if (!tv_arg(f, &v->v[i], &pair[1]))
				return false;
			l[i] = arg_list(f->r->a, pair, 2);
		}
		*out = (Arg){.kind = ArgList, .list = {l, v->n}};
		return true;
	case TvGraph:
		if (!fn_graph(f, v->n, &g))
			return false;
		*out = (Arg){.kind = ArgGraph, .graph = g};
		return true;
	case TvFn:
		*out = arg_str(v->name);
		return true;
	case TvPoison:
		*out = arg_none();
		return true;
	case TvAttr:
		return tv_fail(f, "self.%s has no type: give it with -ftype=%s=f32[2,3]; a sub-graph is only in print_readable()",
		            v->name, v->name);
	default:
		return tv_fail(f, "this cannot be an argument here");
	}
}

/* torch.float32, torch.strided, torch.preserve_format, None, inf ... */
bool
const_name(Fn *f, const char *s, Tv *out)
{
	static const struct { const char *name; enum memfmt mf; } fmts[] = {
		{"contiguous_format", MemContiguous}, {"preserve_format", MemPreserve},
		{"channels_last", MemChannelsLast}, {"channels_last_3d", MemChannelsLast3d},
	};
	static const struct { const char *name; enum dtype dt; } old[] = {
		{"float", DtF32}, {"double", DtF64}, {"half", DtF16}, {"long", DtI64}, {"int", DtI32}, {"short", DtI16},
	};
	enum dtype dt;

	if (strcmp(s, "None") == 0)
		*out = tv_ofarg(arg_none());
	else if (strcmp(s, "True") == 0 || strcmp(s, "False") == 0)
		*out = tv_ofarg(arg_bool(*s == 'T'));
	else if (strcmp(s, "Ellipsis") == 0)
		*out = tv_ofarg((Arg){.kind = ArgEllipsis});
	else if (strcmp(s, "inf") == 0 || strcmp(s, "math.inf") == 0)
		*out = tv_ofarg(arg_float(__builtin_inf()));
	else if (strcmp(s, "nan") == 0 || strcmp(s, "math.nan") == 0)
		*out = tv_ofarg(arg_float(__builtin_nan("")));
	else if (strcmp(s, "math.pi") == 0)
		*out = tv_ofarg(arg_float(3.141592653589793));
	else if (!tv_starts(s, "torch."))
		return false;
	else {
		s += strlen("torch.");
		for (int i = 0; i < COUNT(fmts); i++)
			if (strcmp(s, fmts[i].name) == 0) {
				*out = tv_ofarg((Arg){.kind = ArgMemfmt, .mf = fmts[i].mf});
				return true;
			}
		for (int i = 0; i < COUNT(old); i++)
			if (strcmp(s, old[i].name) == 0) {
				*out = tv_ofarg(arg_dtype(old[i].dt));
				return true;
			}
		if (strcmp(s, "strided") == 0 || strcmp(s, "sparse_coo") == 0 || strcmp(s, "jagged") == 0) {
			*out = tv_ofarg((Arg){.kind = ArgLayout, .s = intern_str(f->r->cx, s)});
			return true;
		}
		if (strchr(s, '.') || (dt = dtype_parse(s, strlen(s))) == DtNone || strlen(s) < 4)
			return false;
		*out = tv_ofarg(arg_dtype(dt));
	}
	return true;
}
