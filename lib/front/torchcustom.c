/* torchcustom.c - operators of the user's own: torch.ops.mylib.op(x, 2.0).
 *
 * The text says with what they are called and what types their results have.  What an operator
 * changes, its schema would say; --extern=OP(SCHEMA)=SYMBOL gives it, else one whose name ends
 * in '_' changes its first tensor.  A call becomes PyTorch's functional form,
 *
 *     results..., new values of what it changes = auto_functionalized_v2(op, arguments, changed)
 *
 * and copies of the new values to what was changed.
 */
#include <stdlib.h>
#include "front/text.h"

typedef VEC(Tv) Tvs;

/* "op(schema)=symbol" of --extern for this operator; NULL: none. */
static const char *
declared(const Fn *f, const char *name)
{
	const ReadOptions *o = f->r->opt;
	size_t n = strlen(name);

	if (n > 8 && strcmp(name + n - 8, ".default") == 0)
		n -= 8;
	for (int i = 0; o && i < o->nextern; i++) {
		const char *s = o->external[i] + n;
		if (strncmp(o->external[i], name, n) != 0)
			continue;
		if (strncmp(s, ".default", 8) == 0)
			s += 8;
		if (*s == '=' || *s == '(')
			return s;
	}
	return NULL;
}

/* Is parameter k of "(Tensor(a!) x, int n) -> ..." changed? */
static bool
changes(const char *schema, int k)
{
	int depth = 0, at = 0;

	for (const char *s = schema; *s; s++) {
		depth += *s == '(' || *s == '[';
		depth -= *s == ')' || *s == ']';
		if (depth == 0)
			break;
		at += *s == ',' && depth == 1;
		if (*s == '!' && at == k)
			return true;
	}
	return false;
}

static bool
changed(const char *name, const char *spec, const Tv *pos, int k)
{
	const char *dot = strchr(name, '.'), *end = dot ? strchr(dot + 1, '.') : NULL;

	if (!tv_tensor(&pos[k]))
		return false;
	if (spec && *spec == '(')
		return changes(spec, k);
	end = end ? end : name + strlen(name);
	if (end[-1] != '_')
		return false;
	for (int i = 0; i < k; i++)
		if (tv_tensor(&pos[i]))
			return false;
	return true;
}

/* How many results the text takes: the largest NAME[k] after this statement, or its type. */
static int
taken(const Fn *f)
{
	int most = f->annot && f->annot->type ? 1 : 0;

	for (int i = f->p; f->target && i + 2 < f->t.n; i++) {
		const Tok *t = &f->t.v[i], *k = &f->t.v[i + 2];
		if (t->kind != TkName || t->len != strlen(f->target) || memcmp(f->t.s + t->off, f->target, t->len) != 0)
			continue;
		int index = k->kind == TkInt ? atoi(f->t.s + k->off) : -1;
		if (f->t.v[i + 1].kind == TkOp && f->t.v[i + 1].op[0] == '[' && index + 1 > most && index < 1000)
			most = index + 1;
	}
	return most;
}

/* The node: name, arguments, what is changed, the C function. */
static Node *
make(Fn *f, Str name, const char *spec, const Tvs *args, const Tvs *bases, int nret)
{
	const OpDef *op = op_find("higher_order.auto_functionalized_v2");
	const char *symbol = spec ? strrchr(spec, '=') : NULL;
	Tv list[2] = {{.kind = TvList, .v = args->v, .n = args->n}, {.kind = TvList, .v = bases->v, .n = bases->n}};
	Arg arg[4] = {arg_str(name)};
	Node *n;

	if (!tv_arg(f, &list[0], &arg[1]) || !tv_arg(f, &list[1], &arg[2]))
		return NULL;
	arg[3] = symbol ? arg_str(intern_str(f->r->cx, symbol + 1)) : arg_none();
	n = node_new(f->g, op, arg, 4, (nret > 1 ? nret : 1) + bases->n, NULL, f->loc);
	for (int i = 0; i < n->nout; i++)
		val_rename(f->g, &n->out[i], arena_printf(f->r->a, "%s_unused_%d", n->name, i));
	if (nret == 0)
		n->out[0].type = type_none(f->r->cx);
	for (int i = 0; i < bases->n; i++) {
		Val *v = tv_tensor(&bases->v[i]);
		const Type *t = fn_known(f, v) ? v->type : NULL;
		if (!t)
			return NULL;
		n->out[n->nout - bases->n + i].type = type_tensor(f->r->cx, t->dt, t->rank, t->dim);
	}
	return n;
}

bool
tv_custom(Fn *f, Str name, const Tv *pos, int npos, const Tv *kw, int nkw, Tv *out)
{
	const char *spec = declared(f, name);
	Tvs args = {0}, bases = {0}, res = {0};
	int nret = taken(f);
	Node *n;

	for (int i = 0; i < npos + nkw; i++)
		vec_push(f->r->a, &args, i < npos ? pos[i] : kw[i - npos]);
	for (int i = 0; i < args.n; i++)
		if (changed(name, spec, args.v, i))
			vec_push(f->r->a, &bases, args.v[i]);
	if (nret == 0 && bases.n == 0)
		return tv_unsupported(f, name, out);
	if (!strchr(strchr(name, '.') + 1, '.'))
		name = intern_printf(f->r->cx, "%s.default", name);
	bool same = bases.n == 1 && nret == 1 && (!spec || *spec != '(');     /* y = op_(x) is x */
	if (!(n = make(f, name, spec, &args, &bases, same ? 0 : nret)))
		return false;
	for (int i = 0; i < bases.n; i++) {
		Tv copy[2] = {bases.v[i], tv_val(&n->out[n->nout - bases.n + i])}, none;
		if (!tv_opcall(f, op_find("fxcc.assign_"), copy, 2, NULL, NULL, 0, &none))
			return false;
	}
	if (same || nret == 0) {
		*out = same ? bases.v[0] : tv_ofarg(arg_none());
		return true;
	}
	if (nret == 1 && f->annot && f->annot->type) {
		n->out[0].type = f->annot->type;
		*out = tv_val(&n->out[0]);
		return true;
	}
	for (int i = 0; i < nret; i++)
		vec_push(f->r->a, &res, tv_val(&n->out[i]));
	*out = (Tv){.kind = TvList, .tuple = true, .v = res.v, .n = res.n};
	return true;
}

/* auto_functionalized_v2(op, _x_base_index = 0, k = 2.0, _all_bases = [a]), as PyTorch prints it. */
bool
tv_functionalized(Fn *f, Str name, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	const char *spec = declared(f, name);
	const Tv *all = NULL;
	Tvs args = {0}, bases = {0};
	int64_t k;
	Node *n;

	for (int i = 0; i < nkw; i++)
		if (strcmp(key[i], "_all_bases") == 0)
			all = &kw[i];
	for (int i = 0; all && i < all->n; i++)
		vec_push(f->r->a, &bases, all->v[i]);
	for (int i = 0; i < nkw; i++) {
		size_t len = strlen(key[i]);
		if (&kw[i] == all)
			continue;
		if (key[i][0] == '_' && len > 11 && strcmp(key[i] + len - 11, "_base_index") == 0) {
			if (kw[i].kind == TvArg && arg_isconst(&kw[i].arg, &k) && k >= 0 && k < bases.n)
				vec_push(f->r->a, &args, bases.v[k]);
			else
				return tv_fail(f, "%s: a base that is a view is not supported", name);
		} else
			vec_push(f->r->a, &args, kw[i]);
	}
	int nret = taken(f) - bases.n;
	if (!(n = make(f, name, spec, &args, &bases, nret > 1 ? nret : 1)))
		return false;
	*out = (Tv){.kind = TvNode, .node = n};
	return true;
}
