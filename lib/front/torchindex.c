/* torchindex.c - x[...] and x[...] = v.
 *
 * As torch does it: integers, slices and None are views, one after the other
 * (select, slice, unsqueeze); tensors among the indices are left for one
 * aten.index or index_put_ at the end.
 */
#include "front/text.h"

typedef VEC(Tv) Tvs;

/* What torch.tensor makes of a literal. */
enum dtype
tv_dtypeof(const Tv *v)
{
	enum dtype d = DtI64;

	if (v->kind == TvList)
		for (int i = 0; i < v->n; i++) {
			enum dtype e = tv_dtypeof(&v->v[i]);

			d = i == 0 ? e : dt_promote(d, e);
		}
	if (v->kind != TvArg)
		return v->kind == TvList && v->n == 0 ? DtF32 : d;
	return v->arg.kind == ArgBool ? DtB8 : v->arg.kind == ArgFloat || (v->arg.kind == ArgInt && v->arg.i->isfloat) ? DtF32
	       : v->arg.kind == ArgComplex ? DtC64 : DtI64;
}

/* PyTorch's graphs have such a tensor as a constant (grad/inline.c). */
static bool
literal(Fn *f, const Tv *v)
{
	if (tv_tensor(v))
		tv_tensor(v)->def->tag = intern_str(f->r->cx, "torch.tensor");
	return true;
}

/* A tensor of a list of literals: scalars, stacked. */
bool
tv_tensorof(Fn *f, const Tv *v, const Tv *dtype, Tv *out)
{
	Tv d = tv_isnone(dtype) ? tv_ofarg(arg_dtype(tv_dtypeof(v))) : *dtype, l = {.kind = TvList};
	Str key = intern_str(f->r->cx, "dtype");

	if (v->kind != TvList)
		return tv_tensor(v) ? (*out = *v, true)
		       : tv_overload(f, "aten.scalar_tensor", "torch.tensor", v, 1, &key, &d, 1, out) && literal(f, out);
	if (v->n == 0 || v->n > 4096)
		return tv_fail(f, "a tensor of %d elements in the text is not supported", v->n);
	l.n = v->n;
	l.v = NEWN(f->r->a, Tv, v->n);
	for (int i = 0; i < v->n; i++)
		if (!tv_tensorof(f, &v->v[i], &d, &l.v[i]))
			return false;
	return tv_aten(f, out, "stack", 1, &l) && literal(f, out);
}

/* ---- indexing -------------------------------------------------------------------------------------- */

static bool
isslice(const Tv *v)
{
	return v->kind == TvArg && v->arg.kind == ArgSlice;
}

/* Index of a Python list, negative from its end; -1: reported. */
int
tv_position(Fn *f, const Tv *idx, int n)
{
	int64_t k;

	if (!tv_isint(idx) || !sym_isconst(idx->arg.i, &k)) {
		tv_fail(f, "the index of a list must be a number");
		return -1;
	}
	if (k < 0)
		k += n;
	if (k < 0 || k >= n) {
		tv_fail(f, "index %lld is out of range: there are %d elements", (long long)k, n);
		return -1;
	}
	return (int)k;
}

/* start, stop, step of a slice of n elements, as Python bounds them. */
static bool
bounds(Fn *f, const Tv *s, int n, int64_t *lo, int64_t *hi, int64_t *step)
{
	const Arg *v = s->arg.list.v;

	*lo = 0, *hi = n, *step = 1;
	if ((v[0].kind != ArgNone && !arg_isconst(&v[0], lo)) || (v[1].kind != ArgNone && !arg_isconst(&v[1], hi)) ||
	    (v[2].kind != ArgNone && !arg_isconst(&v[2], step)) || *step <= 0)
		return tv_fail(f, "this slice of a list is not supported");
	*lo = *lo < 0 ? *lo + n : *lo;
	*hi = *hi < 0 ? *hi + n : *hi;
	*lo = *lo < 0 ? 0 : *lo;
	*hi = *hi > n ? n : *hi;
	return true;
}

static bool
listitem(Fn *f, const Tv *base, const Tv *idx, Tv *out)
{
	int64_t lo, hi, step;
	Tvs v = {0};
	int n = base->kind == TvNode ? base->node->nout : base->n, k;

	if (!isslice(idx)) {
		if ((k = tv_position(f, idx, n)) < 0)
			return false;
		*out = base->kind == TvNode ? tv_val(&base->node->out[k]) : base->v[k];
		return true;
	}
	if (!bounds(f, idx, n, &lo, &hi, &step))
		return false;
	for (; lo < hi; lo += step)
		vec_push(f->r->a, &v, base->kind == TvNode ? tv_val(&base->node->out[lo]) : base->v[lo]);
	*out = (Tv){.kind = TvList, .tuple = base->tuple, .v = v.v, .n = v.n};
	return true;
}

/* The views that the indices of x[...] ask for, applied in order; tensors among the
 * indices are left in list, at their dimension (None elsewhere). */
static bool
views(Fn *f, const Tv *base, const Tv *idx, Tv *x, Tvs *list, bool *any)
{
	const Tv *v = idx->kind == TvList ? idx->v : idx;
	int n = idx->kind == TvList ? idx->n : 1, dim = 0, used = 0;
	Val *t = tv_tensor(base);

	*x = *base;
	*any = false;
	for (int i = 0; i < n; i++) {
		Val *it = tv_tensor(&v[i]);

		if (it && !fn_known(f, it))
			return false;
		used += it ? (tv_ismask(f, it) ? it->type->rank : 1) : tv_isint(&v[i]) || isslice(&v[i]);
	}
	for (int i = 0; i < n; i++) {
		Tv arg[5] = {*x, tv_int(f, dim), v[i]};
		Val *it = tv_tensor(&v[i]);

		if (v[i].kind == TvArg && v[i].arg.kind == ArgEllipsis) {
			if (!fn_known(f, t))
				return false;
			for (; dim < 0; dim++)
				;
			for (int k = t->type->rank - used; k > 0; k--) {
				vec_push(f->r->a, list, tv_ofarg(arg_none()));
				dim++;
			}
		} else if (tv_isint(&v[i])) {
			if (!tv_aten(f, x, "select", 3, arg))
				return false;
		} else if (isslice(&v[i])) {
			const Arg *s = v[i].arg.list.v;
			int64_t one = 1;

			if (s[0].kind != ArgNone || s[1].kind != ArgNone || (arg_isconst(&s[2], &one) && one != 1) ||
			    (s[2].kind != ArgNone && !arg_isconst(&s[2], &one))) {
				for (int k = 0; k < 3; k++)
					arg[2 + k] = s[k].kind == ArgNone && k == 2 ? tv_int(f, 1) : tv_ofarg(s[k]);
				if (!tv_aten(f, x, "slice", 5, arg))
					return false;
			}
			vec_push(f->r->a, list, tv_ofarg(arg_none()));
			dim++;
		} else if (tv_isnone(&v[i])) {
			if (!tv_aten(f, x, "unsqueeze", 2, arg))
				return false;
			vec_push(f->r->a, list, tv_ofarg(arg_none()));
			dim++;
		} else if (it) {
			int r = tv_ismask(f, it) ? it->type->rank : 1;

			vec_push(f->r->a, list, v[i]);
			dim += r;
			*any = true;
		} else {
			return tv_fail(f, "this kind of index is not supported");
		}
		if (tv_poison(x))
			return true;
	}
	return true;
}

/* x[[0, 2]], x[:, [0, 2]]: lists among the indices are tensors. */
static bool
lists(Fn *f, const Tv *idx, Tv *out)
{
	Tv none = tv_ofarg(arg_none());

	*out = *idx;
	if (idx->kind != TvList)
		return true;
	if (!idx->tuple)
		return tv_tensorof(f, idx, &none, out);
	out->v = NEWN(f->r->a, Tv, idx->n + 1);
	for (int i = 0; i < idx->n; i++) {
		out->v[i] = idx->v[i];
		if (idx->v[i].kind == TvList && !tv_tensorof(f, &idx->v[i], &none, &out->v[i]))
			return false;
	}
	return true;
}

bool
tv_getitem(Fn *f, const Tv *base, const Tv *idx, Tv *out)
{
	Tvs list = {0};
	Tv x, arg[2], ix;
	bool any;

	if (tv_poison(base) || tv_poison(idx)) {
		*out = (Tv){.kind = TvPoison};
		return true;
	}
	if (tv_tensor(base) && !lists(f, idx, &ix))
		return false;
	if (tv_tensor(base))
		idx = &ix;
	if (base->kind == TvList || base->kind == TvNode)
		return listitem(f, base, idx, out);
	if (base->kind == TvDict) {
		for (int i = 0; i < base->n; i++)
			if (idx->kind == TvArg && idx->arg.kind == ArgStr && base->key[i] == idx->arg.s) {
				*out = base->v[i];
				return true;
			}
		return tv_fail(f, "the dict has no such key");
	}
	if (!tv_tensor(base))
		return tv_fail(f, "this value has no elements");
	if (!views(f, base, idx, &x, &list, &any))
		return false;
	if (tv_poison(&x)) {
		*out = x;
		return true;
	}
	arg[0] = x;
	arg[1] = (Tv){.kind = TvList, .v = list.v, .n = list.n};
	if (any)
		return tv_aten(f, out, "index", 2, arg);
	if (tv_tensor(&x) == tv_tensor(base))
		return tv_aten(f, out, "alias", 1, arg);
	*out = x;
	return true;
}

bool
tv_setitem(Fn *f, const Tv *base, const Tv *idx, const Tv *value)
{
	Tvs list = {0};
	Tv x, arg[3], out, ix;
	bool any;
	Val *mask;

	if (tv_poison(base) || tv_poison(idx) || tv_poison(value))
		return true;
	if (!tv_tensor(base))
		return tv_fail(f, "only elements of tensors can be assigned");
	if (!lists(f, idx, &ix))
		return false;
	idx = &ix;
	if (!views(f, base, idx, &x, &list, &any))
		return false;
	if (tv_poison(&x))
		return true;
	arg[0] = x;
	if (!any) {
		arg[1] = *value;
		return tv_aten(f, &out, tv_tensor(value) ? "copy_" : "fill_", 2, arg);
	}
	mask = list.n == 1 ? tv_tensor(&list.v[0]) : NULL;
	if (mask && tv_ismask(f, mask) && tv_isnum(value) && fn_known(f, tv_tensor(&x))) {
		arg[1] = list.v[0];
		for (int k = mask->type->rank; k < tv_tensor(&x)->type->rank && !tv_poison(&arg[1]); k++)
			if (!tv_aten(f, &arg[1], "unsqueeze", 2, (Tv[]){arg[1], tv_int(f, -1)}))
				return false;
		arg[2] = *value;
		return tv_poison(&arg[1]) || tv_aten(f, &out, "masked_fill_", 3, arg);
	}
	arg[1] = (Tv){.kind = TvList, .v = list.v, .n = list.n};
	arg[2] = *value;
	if (tv_isnum(value)) {                       /* the values must be a tensor */
		Str key = intern_str(f->r->cx, "dtype");
		Tv dt;

		if (!fn_known(f, tv_tensor(&x)))
			return false;
		dt = tv_ofarg(arg_dtype(tv_tensor(&x)->type->dt));
		if (!tv_overload(f, "aten.scalar_tensor", "aten.scalar_tensor", value, 1, &key, &dt, 1, &arg[2]) ||
		    tv_poison(&arg[2]))
			return tv_poison(&arg[2]);
	}
	return tv_aten(f, &out, "index_put_", 3, arg);
}
