/* torchfn.c - what a call in the text means.
 *
 *   torch.ops.aten.add.Tensor(x, 1)     that operator
 *   torch.relu(x), F.dropout(x, 0.1)    a definition of torchfn.def, else the aten
 *   x.view(2, -1), x.float()            operator of the same name, whose overload is
 *   x + y, x[1:], x.T                   found from the arguments
 *   a + b of sizes, x.shape[0]          a Sym, known while reading
 *   higher_order.wrap(self.body, x)     the body's statements, in place
 *
 * An operator that is in no table is noted and its result is poison: what uses it
 * is poison too, and reading goes on to find the others.
 */
#include "front/text.h"

typedef VEC(Str) Strs;
typedef VEC(Tv) Tvs;

/* ---- definitions ------------------------------------------------------------------------------ */

static const struct Def { const char *name, *params, *body; } defs[] = {
#define FN(name, params, ...) {name, params, __VA_ARGS__},
#include "front/torchfn.def"
#undef FN
};

static const struct Def *
finddef(const char *name)
{
	for (int i = 0; i < COUNT(defs); i++)
		if (strcmp(defs[i].name, name) == 0)
			return &defs[i];
	return NULL;
}

/* Default of a parameter: a literal. */
static bool
dflt(Fn *f, const char *s, Tv *out)
{
	const char *body = arena_printf(f->r->a, "return %s", s);

	return formb_builtin(f, body, NULL, NULL, 0, out);
}

static bool
samekey(const char *key, const char *name)
{
	static const char *const same[][2] = {
		{"axis", "dim"}, {"keepdims", "keepdim"}, {"input", "self"}, {"self", "input"}, {"x", "input"},
	};

	if (strcmp(key, name) == 0)
		return true;
	for (int i = 0; i < COUNT(same); i++)
		if (strcmp(key, same[i][0]) == 0 && strcmp(name, same[i][1]) == 0)
			return true;
	return false;
}

/* Run a definition.  Its parameters are as in Python: "input, p=0.5, *size". */
static bool
define(Fn *f, const struct Def *d, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	Strs name = {0};
	Tvs val = {0};
	int at = 0, used = 0;
	const char *p = d->params;

	while (*p) {
		const char *e = p, *eq = NULL;
		Tv v = {0};
		bool star = *p == '*', got = false;

		for (int depth = 0; *e && (*e != ',' || depth); e++) {
			depth += (*e == '(' || *e == '[') - (*e == ')' || *e == ']');
			if (*e == '=' && !eq)
				eq = e;
		}
		Str n = intern(f->r->cx, p + star, (size_t)((eq ? eq : e) - p - star));
		if (star && at < npos && pos[at].kind == TvList) {
			v = pos[at++];
			got = true;
		} else if (star) {
			v = (Tv){.kind = TvList, .tuple = true, .v = (Tv *)pos + at, .n = npos - at};
			if ((got = v.n > 0))
				at = npos;
		} else if (at < npos) {
			v = pos[at++];
			got = true;
		}
		for (int i = 0; i < nkw && !got; i++)
			if (samekey(key[i], n)) {
				v = kw[i];
				got = true;
				used++;
			}
		if (!got && star)
			got = true;
		if (!got && !eq)
			return tv_fail(f, "%s: argument '%s' is missing", d->name, n);
		if (!got && !dflt(f, intern(f->r->cx, eq + 1, (size_t)(e - eq - 1)), &v))
			return false;
		vec_push(f->r->a, &name, n);
		vec_push(f->r->a, &val, v);
		for (p = e; *p == ',' || *p == ' '; p++)
			;
	}
	if (at < npos)
		return tv_fail(f, "%s takes %d arguments, %d given", d->name, name.n, npos);
	if (used < nkw)
		for (int i = 0; i < nkw; i++) {
			bool known = tv_isnone(&kw[i]);

			for (int k = 0; k < name.n; k++)
				known = known || samekey(key[i], name.v[k]);
			if (!known)
				return tv_fail(f, "%s has no argument '%s'", d->name, key[i]);
		}
	return formb_builtin(f, d->body, name.v, val.v, val.n, out);
}

/* ---- attributes and methods ---------------------------------------------------------------------------- */

static bool
shape(Fn *f, Val *v, Tv *out)
{
	Tvs l = {0};

	if (!fn_known(f, v))
		return false;
	for (int i = 0; i < v->type->rank; i++)
		vec_push(f->r->a, &l, tv_ofarg(arg_sym(v->type->dim[i])));
	*out = (Tv){.kind = TvList, .tuple = true, .v = l.v, .n = l.n};
	return true;
}

/* max(...).values and the like. */
static bool
field(Fn *f, const Tv *a, Str name, Tv *out)
{
	static const struct { const char *name; int at; } common[] = {
		{"values", 0}, {"indices", 1}, {"output", 0}, {"hist", 0}, {"bin_edges", 1}, {"sign", 0}, {"logabsdet", 1},
		{"eigenvalues", 0}, {"eigenvectors", 1}, {"U", 0}, {"S", 1}, {"Vh", 2}, {"V", 2}, {"Q", 0}, {"R", 1}, {"L", 0},
		{"LU", 0}, {"pivots", 1}, {"info", 1}, {"mantissa", 0}, {"exponent", 1}, {"min", 0}, {"max", 1}, {"P", 0},
		{"inverse", 0}, {"solution", 0}, {"residuals", 1}, {"rank", 2}, {"singular_values", 3},
	};
	const OpDef *op = a->node->op;
	int at = -1;

	for (int i = 0; i < op->nret && at < 0; i++)
		if (op->ret[i].name && strcmp(op->ret[i].name, name) == 0)
			at = i;
	for (int i = 0; i < COUNT(common) && at < 0; i++)
		if (strcmp(common[i].name, name) == 0)
			at = common[i].at;
	if (at < 0 || at >= a->node->nout)
		return tv_fail(f, "the result of %s has no '%s'", op->name, name);
	*out = tv_val(&a->node->out[at]);
	return true;
}

bool
tv_getattr(Fn *f, const Tv *a, Str name, Tv *out)
{
	Val *v = tv_tensor(a);
	const struct Def *d;

	if (tv_poison(a)) {
		*out = *a;
		return true;
	}
	if (a->kind == TvNode)
		return field(f, a, name, out);
	for (int i = 0; a->kind == TvDict && i < a->n; i++)     /* a part of an input */
		if (strcmp(a->key[i], name) == 0) {
			*out = a->v[i];
			return true;
		}
	if (!v)
		return tv_fail(f, "this value has no attribute '%s'", name);
	if (strcmp(name, "shape") == 0)
		return shape(f, v, out);
	if (strcmp(name, "dtype") == 0 || strcmp(name, "ndim") == 0) {
		if (!fn_known(f, v))
			return false;
		*out = *name == 'd' ? tv_ofarg(arg_dtype(v->type->dt)) : tv_int(f, v->type->rank);
		return true;
	}
	if (strcmp(name, "device") == 0) {
		*out = tv_ofarg((Arg){.kind = ArgDevice, .s = intern_str(f->r->cx, "cpu")});
		return true;
	}
	if (strcmp(name, "layout") == 0) {
		*out = tv_ofarg((Arg){.kind = ArgLayout, .s = intern_str(f->r->cx, "strided")});
		return true;
	}
	if (tv_starts(name, "is_") || strcmp(name, "requires_grad") == 0) {
		*out = tv_ofarg(arg_bool(strcmp(name, "is_cpu") == 0));
		return true;
	}
	if ((d = finddef(arena_printf(f->r->a, "getattr.%s", name))))
		return define(f, d, a, 1, NULL, NULL, 0, out);
	return tv_unsupported(f, arena_printf(f->r->a, "Tensor.%s", name), out);
}

static bool
sizemethod(Fn *f, Str name, Val *v, const Tv *pos, int npos, Tv *out, bool *did)
{
	Tv l;
	int k;

	*did = true;
	if (strcmp(name, "size") == 0 || strcmp(name, "stride") == 0) {
		if (!shape(f, v, &l))
			return false;
		if (*name == 's' && name[1] == 't')
			for (int i = 0; i < l.n; i++)
				l.v[i] = tv_ofarg(arg_sym(type_stride(f->r->cx, v->type, i)));
		*out = l;
		if (npos == 0 || tv_isnone(&pos[0]))
			return true;
		if ((k = tv_position(f, &pos[0], l.n)) < 0)
			return false;
		*out = l.v[k];
		return true;
	}
	if (strcmp(name, "dim") == 0 || strcmp(name, "ndimension") == 0 || strcmp(name, "element_size") == 0) {
		if (!fn_known(f, v))
			return false;
		*out = tv_int(f, *name == 'e' ? dtypeinfo[v->type->dt].bytes : v->type->rank);
		return true;
	}
	if (strcmp(name, "numel") == 0 || strcmp(name, "nelement") == 0) {
		if (!fn_known(f, v))
			return false;
		*out = tv_ofarg(arg_sym(type_numel(f->r->cx, v->type)));
		return true;
	}
	if (strcmp(name, "is_floating_point") == 0 || strcmp(name, "is_complex") == 0) {
		if (!fn_known(f, v))
			return false;
		*out = tv_ofarg(arg_bool(dtypeinfo[v->type->dt].kind == (name[3] == 'f' ? KindFloat : KindComplex)));
		return true;
	}
	if (strcmp(name, "is_contiguous") == 0) {
		if (!fn_known(f, v))
			return false;
		*out = tv_ofarg(arg_bool(v->type->stride == NULL));
		return true;
	}
	*did = false;
	return true;
}

bool
tv_method(Fn *f, Str name, const Tv *self, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	Arena *a = f->r->a;
	const struct Def *d;
	Val *v = tv_tensor(self);
	Tvs all = {0};
	bool did;

	if (tv_poison(self) || tv_poisons(pos, npos) || tv_poisons(kw, nkw)) {
		*out = (Tv){.kind = TvPoison};
		return true;
	}
	if (self->kind == TvList && strcmp(name, "numel") == 0) {
		*out = tv_int(f, 1);
		for (int i = 0; i < self->n; i++)
			if (!tv_binary(f, "*", out, &self->v[i], out))
				return false;
		return true;
	}
	if (!v)
		return tv_fail(f, "method '%s' of this value is not supported", name);
	vec_push(a, &all, *self);
	for (int i = 0; i < npos; i++)
		vec_push(a, &all, pos[i]);
	if (nkw == 0 && (!sizemethod(f, name, v, pos, npos, out, &did) || did))
		return did;
	if ((d = finddef(arena_printf(a, "Tensor.%s", name))))
		return define(f, d, all.v, all.n, key, kw, nkw, out);
	return tv_overload(f, arena_printf(a, "aten.%s", name), arena_printf(a, "Tensor.%s", name), all.v, all.n, key, kw,
	                nkw, out);
}

/* ---- calls ----------------------------------------------------------------------------------------------- */

/* reduction='mean' as ATen's number. */
static bool
reduction(Fn *f, const Tv *v, Tv *out)
{
	static const char *const names[] = {"none", "mean", "sum"};

	for (int i = 0; i < COUNT(names); i++)
		if (v->kind == TvArg && v->arg.kind == ArgStr && strcmp(v->arg.s, names[i]) == 0) {
			*out = tv_int(f, i);
			return true;
		}
	if (tv_isint(v)) {
		*out = *v;
		return true;
	}
	return tv_fail(f, "unknown reduction");
}

/* Functions that only definitions use. */
static bool
helper(Fn *f, const char *fn, const Tv *pos, int npos, Tv *out, bool *did)
{
	*did = true;
	if (npos < 1)
		*did = false;
	else if (strcmp(fn, "is_tensor") == 0)
		*out = tv_ofarg(arg_bool(tv_tensor(&pos[0]) != NULL));
	else if (strcmp(fn, "is_mask") == 0)
		*out = tv_ofarg(arg_bool(tv_tensor(&pos[0]) && tv_ismask(f, tv_tensor(&pos[0]))));
	else if (strcmp(fn, "is_list") == 0)
		*out = tv_ofarg(arg_bool(pos[0].kind == TvList || pos[0].kind == TvNode));
	else if (strcmp(fn, "is_int") == 0)
		*out = tv_ofarg(arg_bool(tv_isint(&pos[0])));
	else if (strcmp(fn, "is_dtype") == 0)
		*out = tv_ofarg(arg_bool(pos[0].kind == TvArg && pos[0].arg.kind == ArgDtype));
	else if (strcmp(fn, "is_device") == 0)
		*out = tv_ofarg(arg_bool(pos[0].kind == TvArg && (pos[0].arg.kind == ArgDevice || pos[0].arg.kind == ArgStr)));
	else if (strcmp(fn, "is_number") == 0)
		*out = tv_ofarg(arg_bool(tv_isnum(&pos[0])));
	else if (strcmp(fn, "reduction_of") == 0)
		return reduction(f, &pos[0], out);
	else if (strcmp(fn, "autocast_enter") == 0) {
		autocast_enter(f->r, tv_isnone(&pos[0]) || pos[0].arg.kind != ArgDtype ? DtNone : pos[0].arg.dt);
		*out = tv_ofarg(arg_none());
	} else if (strcmp(fn, "grad_enabled") == 0) {
		f->r->nograd = tv_isfalse(&pos[0]);
		*out = tv_ofarg(arg_none());
	} else if (strcmp(fn, "autocast_exit") == 0) {
		autocast_exit(f->r);
		*out = tv_ofarg(arg_none());
	} else if (strcmp(fn, "len") == 0)
		*out = tv_int(f, pos[0].kind == TvNode ? pos[0].node->nout : pos[0].n);
	else if (strcmp(fn, "repeat") == 0 && npos == 2) {
		Tvs v = {0};
		int64_t n;

		if (!arg_isconst(&pos[1].arg, &n))
			return tv_fail(f, "expected a number");
		for (int64_t i = 0; i < n; i++)
			vec_push(f->r->a, &v, pos[0]);
		*out = (Tv){.kind = TvList, .v = v.v, .n = v.n};
	} else if (strcmp(fn, "dtype_of") == 0)
		*out = tv_ofarg(arg_dtype(tv_dtypeof(&pos[0])));
	else if (strcmp(fn, "tensor_of") == 0 && npos == 2)
		return tv_tensorof(f, &pos[0], &pos[1], out);
	else if (strcmp(fn, "range") == 0 && npos == 2) {
		Tvs v = {0};
		int64_t lo, hi;

		if (!arg_isconst(&pos[0].arg, &lo) || !arg_isconst(&pos[1].arg, &hi) || hi - lo > 1000)
			return tv_fail(f, "expected a number");
		for (; lo < hi; lo++)
			vec_push(f->r->a, &v, tv_int(f, lo));
		*out = (Tv){.kind = TvList, .v = v.v, .n = v.n};
	} else if (strcmp(fn, "fail") == 0 && pos[0].kind == TvArg && pos[0].arg.kind == ArgStr)
		return tv_fail(f, "%s", pos[0].arg.s);
	else if (strcmp(fn, "unsupported") == 0 && pos[0].kind == TvArg && pos[0].arg.kind == ArgStr)
		return tv_unsupported(f, pos[0].arg.s, out);
	else
		*did = false;
	return true;
}

/* operator.add(a, b), operator.getitem(x, i), builtins.getattr(x, 'T') of Form A; math.trunc ... */
static bool
python(Fn *f, const char *fn, const Tv *pos, int npos, Tv *out, bool *did)
{
	const char *name = strrchr(fn, '.') + 1;
	const OpDef *op;

	*did = true;
	if (strcmp(name, "getitem") == 0 && npos == 2)
		return tv_getitem(f, &pos[0], &pos[1], out);
	if (strcmp(name, "setitem") == 0 && npos == 3) {
		*out = pos[0];
		return tv_setitem(f, &pos[0], &pos[1], &pos[2]);
	}
	if (strcmp(name, "getattr") == 0 && npos == 2 && pos[1].kind == TvArg && pos[1].arg.kind == ArgStr)
		return tv_getattr(f, &pos[0], pos[1].arg.s, out);
	if (npos == 2 && tv_opsymbol(name))
		return tv_binary(f, name, &pos[0], &pos[1], out);
	if (npos == 2 && *name == 'i' && tv_opsymbol(name + 1) && tv_starts(fn, "operator.")) {
		if (!tv_tensor(&pos[0]))
			return tv_binary(f, name + 1, &pos[0], &pos[1], out);
		*out = pos[0];
		return tv_inplace(f, arena_printf(f->r->a, "%s=", tv_opsymbol(name + 1)), &pos[0], &pos[1]);
	}
	if (npos == 2 && *name == 'i' && (strcmp(name, "iand") == 0 || strcmp(name, "ior") == 0)) {
		*out = pos[0];
		return tv_inplace(f, name[1] == 'a' ? "&=" : "|=", &pos[0], &pos[1]);
	}
	if (npos == 1 && (strcmp(name, "neg") == 0 || strcmp(name, "invert") == 0 || strcmp(name, "pos") == 0))
		return tv_unary(f, *name == 'n' ? "-" : *name == 'i' ? "~" : "+", &pos[0], out);
	if (npos >= 1 && tv_tensor(&pos[0]))
		return tv_aten(f, out, strcmp(name, "not_") == 0 ? "logical_not" : name, npos, pos);
	if ((op = op_find(fn)))
		return tv_opcall(f, op, pos, npos, NULL, NULL, 0, out);
	*did = false;
	return true;
}

bool
tv_call(Fn *f, Str fn, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	/* Python's modules: where a definition is sought, and the aten name. */
	static const struct { const char *module, *def, *aten; } modules[] = {
		{"torch.nn.functional.", "F.", "aten."}, {"torch._C._nn.", "nn.", "aten."},
		{"torch._C._linalg.", "aten.", "aten."}, {"torch._C._special.", "aten.", "aten."},
		{"torch._C._fft.", "aten.", "aten."}, {"torch._VF.", "aten.", "aten."},
		{"torch.linalg.", "aten.linalg_", "aten.linalg_"}, {"torch.special.", "special.", "aten.special_"},
		{"torch.fft.", "fft.", "aten.fft_"}, {"torch.functional.", "torch.", "aten."},
		{"torch._C._VariableFunctions.", "torch.", "aten."}, {"torch.", "torch.", "aten."},
	};
	Arena *a = f->r->a;
	const struct Def *d;
	const OpDef *op;
	bool did;

	if (tv_poisons(pos, npos) || tv_poisons(kw, nkw)) {
		*out = (Tv){.kind = TvPoison};
		if (tv_starts(fn, "torch.ops.") && !tv_starts(fn, "torch.ops.higher_order.") && !op_find(fn + 10))
			unsupported_add(f->r->cx, &f->r->unsup, fn + 10, f->loc);
		return true;
	}
	if (tv_starts(fn, "torch._functorch.predispatch."))
		return tv_vmap(f, fn + strlen("torch._functorch.predispatch."), pos, npos, out);
	if (tv_starts(fn, "torch.ops.higher_order."))
		return tv_hop(f, fn + strlen("torch.ops.higher_order."), pos, npos, key, kw, nkw, out);
	if (tv_starts(fn, "torch.ops."))
		return tv_direct(f, fn + strlen("torch.ops."), pos, npos, key, kw, nkw, out);
	if (f->builtin && tv_starts(fn, "aten."))
		return tv_direct(f, fn, pos, npos, key, kw, nkw, out);
	if (f->builtin) {
		if (!helper(f, fn, pos, npos, out, &did) || did)
			return did;
	}
	if (tv_starts(fn, "_operator."))
		fn++;
	if (tv_starts(fn, "_operator_"))                    /* how FX names it in a module of its own */
		fn = intern_printf(f->r->cx, "operator.%s", fn + strlen("_operator_"));
	if (tv_starts(fn, "operator.") || tv_starts(fn, "builtins.") || tv_starts(fn, "math.")) {
		if (!python(f, fn, pos, npos, out, &did) || did)
			return did;
		return tv_unsupported(f, fn, out);
	}
	if (tv_starts(fn, "torch.Tensor.") && npos)
		return tv_method(f, intern_str(f->r->cx, fn + strlen("torch.Tensor.")), &pos[0], pos + 1, npos - 1, key, kw,
		                 nkw, out);
	if ((d = finddef(fn)))
		return define(f, d, pos, npos, key, kw, nkw, out);
	if ((op = op_find(fn)) && op->flags & OP(Sym))
		return tv_opcall(f, op, pos, npos, key, kw, nkw, out);
	for (int i = 0; i < COUNT(modules); i++) {
		const char *rest = fn + strlen(modules[i].module), *packet;

		if (!tv_starts(fn, modules[i].module))
			continue;
		if (strchr(rest, '.'))
			break;
		if ((d = finddef(arena_printf(a, "%s%s", modules[i].def, rest))))
			return define(f, d, pos, npos, key, kw, nkw, out);
		packet = arena_printf(a, "%s%s", modules[i].aten, rest);
		return tv_overload(f, packet, fn, pos, npos, key, kw, nkw, out);
	}
	return tv_unsupported(f, fn, out);
}
