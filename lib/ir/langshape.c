/* langshape.c - the table language's functions on shapes: broadcast, dimensions,
 * sizes of views, positions.
 *
 * All on Syms: what can be seen about symbolic sizes is used, what cannot becomes
 * a guard where ATen would have failed at run time.
 */
#include "ir/lang.h"

/* ---- shapes ------------------------------------------------------------------------- */

const Sym *
lang_broadcastdim(Lang *L, const Sym *a, const Sym *b)
{
	if (sym_eq(a, b) || sym_is(b, 1))
		return a;
	if (sym_is(a, 1))
		return b;
	if (sym_ne(a, b) || sym_lt(L->cx, a, b) || sym_lt(L->cx, b, a)) {
		/* Different for sure; only a 1 among them could still fit. */
		if (a->lo > 1 && b->lo > 1)
			return NULL;
		if (a->kind == SymConst && b->kind == SymConst)
			return NULL;
		return a->lo > 1 ? a : b;
	}
	if (L->mod)
		infer_guard(L->mod, L->loc,
		            sym_fn(L->cx, SymFnEq, (const Sym *[]){a, b}, 2, NULL), NULL);
	return b->kind == SymConst ? b : a;
}

LVal
lang_f_broadcast(const LCall *c)
{
	LVal r = lang_list(c->L, 0);

	for (int k = 0; k < c->n; k++) {
		LVal s = lang_listarg(c, k), big = s.list.n > r.list.n ? s : r;
		LVal small = s.list.n > r.list.n ? r : s, next = lang_list(c->L, big.list.n);
		int off = big.list.n - small.list.n;
		for (int d = 0; d < big.list.n; d++) {
			next.list.v[d] = big.list.v[d];
			if (d < off)
				continue;
			const Sym *a = lang_tosym(c->L, c->at, big.list.v[d]);
			const Sym *b = lang_tosym(c->L, c->at, small.list.v[d - off]);
			const Sym *m = lang_broadcastdim(c->L, a, b);
			if (m == NULL)
				lang_fail(c->L, c->at, "shapes %s and %s do not broadcast",
				          lang_str(c->L->cx, r), lang_str(c->L->cx, s));
			next.list.v[d] = lang_sym(m);
		}
		r = next;
	}
	return r;
}

static int64_t
wrapdim(const LCall *c, LVal d, int64_t ndim)
{
	int64_t k = lang_known(c, lang_tosym(c->L, c->at, d)), n = ndim ? ndim : 1;

	if (k < -n || k >= n)
		lang_fail(c->L, c->at, "dimension %lld of a tensor that has %lld", (long long)k, (long long)ndim);
	return k < 0 ? k + n : k;
}

LVal
lang_f_normdim(const LCall *c)
{
	return lang_int(c->L->cx, wrapdim(c, lang_arg(c, 0), lang_known(c, lang_symarg(c, 1))));
}

LVal
lang_f_normdims(const LCall *c)
{
	int64_t n = lang_known(c, lang_symarg(c, 1));
	LVal d = lang_arg(c, 0), r;

	if (d.kind == LNone) {
		r = lang_list(c->L, (int)n);
		for (int k = 0; k < n; k++)
			r.list.v[k] = lang_int(c->L->cx, k);
		return r;
	}
	if (d.kind == LInt) {
		r = lang_list(c->L, 1);
		r.list.v[0] = lang_int(c->L->cx, wrapdim(c, d, n));
		return r;
	}
	d = lang_listarg(c, 0);
	r = lang_list(c->L, d.list.n);
	for (int k = 0; k < d.list.n; k++)
		r.list.v[k] = lang_int(c->L->cx, wrapdim(c, d.list.v[k], n));
	for (int k = 0; k < r.list.n; k++)
		for (int j = 0; j < k; j++)
			if (r.list.v[j].i == r.list.v[k].i)
				lang_fail(c->L, c->at, "dimension %s appears twice in the list", sym_str(c->L->cx, r.list.v[k].i));
	return r;
}

static const Sym *
product(const LCall *c, LVal l, int from, int to)
{
	const Sym *p = sym_const(c->L->cx, 1);

	for (int k = from; k < to; k++)
		p = sym_mul(c->L->cx, p, lang_tosym(c->L, c->at, l.list.v[k]));
	return p;
}

/* numel/rest, exactly if it can be seen: a division of polynomials leaves no floor. */
LVal
lang_f_infer_size(const LCall *c)
{
	LVal s = lang_listarg(c, 0), r = lang_list(c->L, s.list.n);
	const Sym *numel = lang_symarg(c, 1), *rest = sym_const(c->L->cx, 1);
	Ctx *cx = c->L->cx;
	int hole = -1;

	for (int k = 0; k < s.list.n; k++) {
		const Sym *d = lang_tosym(c->L, c->at, s.list.v[k]);
		r.list.v[k] = lang_sym(d);
		if (!sym_is(d, -1)) {
			rest = sym_mul(cx, rest, d);
			continue;
		}
		if (hole >= 0)
			lang_fail(c->L, c->at, "more than one size is -1: %s", lang_str(cx, s));
		hole = k;
	}
	int64_t a, b;
	bool kn = sym_isconst(numel, &a), kr = sym_isconst(rest, &b);
	if (hole >= 0) {
		if (kr && b == 0)
			lang_fail(c->L, c->at, "the size -1 is ambiguous beside a 0: %s", lang_str(cx, s));
		if (kn && kr && a % b != 0)
			lang_fail(c->L, c->at, "%lld elements do not fit %s", (long long)a, lang_str(cx, s));
		r.list.v[hole] = lang_sym(sym_div(cx, numel, rest));
	} else if (kn && kr ? a != b : sym_ne(numel, rest)) {
		lang_fail(c->L, c->at, "%s elements do not fit %s", sym_str(cx, numel), lang_str(cx, s));
	} else if (!sym_eq(numel, rest) && c->L->mod) {
		infer_guard(c->L->mod, c->L->loc,
		            sym_fn(cx, SymFnEq, (const Sym *[]){numel, rest}, 2, NULL), NULL);
	}
	return r;
}

LVal
lang_f_flat(const LCall *c)
{
	LVal i = lang_listarg(c, 0), s = lang_listarg(c, 1);
	const Sym *p = sym_const(c->L->cx, 0);

	if (i.list.n != s.list.n)
		lang_fail(c->L, c->at, "flat: %d indices for %d sizes", i.list.n, s.list.n);
	for (int k = 0; k < i.list.n; k++) {
		p = sym_mul(c->L->cx, p, lang_tosym(c->L, c->at, s.list.v[k]));
		p = sym_add(c->L->cx, p, lang_tosym(c->L, c->at, i.list.v[k]));
	}
	return lang_sym(p);
}

/* Position p in sizes s[from..to), into r[from..to). */
static void
unflat(const LCall *c, const Sym *p, LVal s, int from, int to, LVal r)
{
	Ctx *cx = c->L->cx;

	for (int k = to; k-- > from; ) {
		const Sym *n = lang_tosym(c->L, c->at, s.list.v[k]);
		bool first = true;     /* all before are 1: what is left is the index */
		for (int j = from; j < k; j++)
			first &= s.list.v[j].kind == LInt && sym_is(s.list.v[j].i, 1);
		if (sym_is(n, 1) || sym_is(n, 0)) {
			r.list.v[k] = lang_int(cx, 0);
			continue;
		}
		r.list.v[k] = lang_sym(first ? p : sym_mod(cx, p, n));
		p = first ? sym_const(cx, 0) : sym_div(cx, p, n);
	}
}

LVal
lang_f_unflat(const LCall *c)
{
	LVal s = lang_listarg(c, 1), r = lang_list(c->L, s.list.n);

	unflat(c, lang_symarg(c, 0), s, 0, s.list.n, r);
	return r;
}

/* The index into sizes `to` of what index i of sizes `from` means.  Runs of
 * dimensions with equal products are converted by themselves, from the right:
 * a dimension that is in both stays an index, whatever stands beside it. */
LVal
lang_f_reindex(const LCall *c)
{
	LVal i = lang_listarg(c, 0), from = lang_listarg(c, 1), to = lang_listarg(c, 2);
	LVal r = lang_list(c->L, to.list.n);
	int a = from.list.n, b = to.list.n, a1 = a, b1 = b;
	Ctx *cx = c->L->cx;

	while (a1 > 0 || b1 > 0) {
		/* Grow [a, a1) and [b, b1) until their products agree. */
		const Sym *x = sym_const(cx, 1), *y = x;
		a = a1, b = b1;
		do {
			bool left;
			if (a == 0 || b == 0)
				left = b == 0 && a > 0;
			else if (a == a1 && b == b1)
				left = true;
			else
				left = sym_lt(cx, x, y) || (!sym_lt(cx, y, x) && a1 - a <= b1 - b);
			if (left)
				x = sym_mul(cx, x, lang_tosym(c->L, c->at, from.list.v[--a]));
			else
				y = sym_mul(cx, y, lang_tosym(c->L, c->at, to.list.v[--b]));
		} while (!(sym_eq(x, y) && (a < a1 || b < b1)) && (a > 0 || b > 0));
		if (!sym_eq(x, y))
			a = b = 0;
		LVal part = lang_list(c->L, a1 - a), sizes = lang_list(c->L, a1 - a);
		for (int k = a; k < a1; k++) {
			part.list.v[k - a] = i.list.v[k];
			sizes.list.v[k - a] = from.list.v[k];
		}
		if (a1 - a == 1 && b1 - b == 1) {
			r.list.v[b] = part.list.v[0];
		} else {
			LVal fv[2] = {part, sizes};
			LCall f = *c;
			f.v = fv, f.n = 2;
			unflat(c, lang_tosym(c->L, c->at, lang_f_flat(&f)), to, b, b1, r);
		}
		a1 = a, b1 = b;
	}
	return r;
}

/* The strides with which memory of (shape, stride) is seen as `to`; None: it must
 * be copied.  ATen's computeStride: runs of old dimensions that are contiguous
 * with each other are split among the new ones. */
LVal
lang_f_viewstride(const LCall *c)
{
	LVal shape = lang_listarg(c, 0), stride = lang_listarg(c, 1), to = lang_listarg(c, 2);
	LVal r = lang_list(c->L, to.list.n);
	Ctx *cx = c->L->cx;
	int k = to.list.n - 1;

	if (shape.list.n == 0) {
		for (int j = 0; j <= k; j++)
			r.list.v[j] = lang_int(cx, 1);
		return r;
	}
	const Sym *numel = product(c, shape, 0, shape.list.n);
	if (sym_is(numel, 0)) {
		for (int j = k; j >= 0; j--)
			r.list.v[j] = j == k ? lang_int(cx, 1) :
			    lang_binary(c->L, c->at, "*", r.list.v[j + 1], to.list.v[j + 1]);
		return r;
	}
	const Sym *base = lang_tosym(c->L, c->at, stride.list.v[shape.list.n - 1]);
	const Sym *old = sym_const(cx, 1), *new = old;
	for (int d = shape.list.n - 1; d >= 0; d--) {
		old = sym_mul(cx, old, lang_tosym(c->L, c->at, shape.list.v[d]));
		if (d > 0) {
			const Sym *before = lang_tosym(c->L, c->at, shape.list.v[d - 1]);
			const Sym *st = lang_tosym(c->L, c->at, stride.list.v[d - 1]);
			if (sym_is(before, 1) || sym_eq(st, sym_mul(cx, old, base)))
				continue;
		}
		while (k >= 0) {
			const Sym *n = lang_tosym(c->L, c->at, to.list.v[k]);
			if (!(sym_lt(cx, new, old) || sym_is(n, 1) ||
			      (!sym_eq(new, old) && !sym_lt(cx, old, new))))
				break;
			r.list.v[k--] = lang_sym(sym_mul(cx, new, base));
			new = sym_mul(cx, new, n);
		}
		if (!sym_eq(new, old) && d > 0)
			return (LVal){.kind = LNone};
		if (d > 0)
			base = lang_tosym(c->L, c->at, stride.list.v[d - 1]);
		old = new = sym_const(cx, 1);
	}
	for (; k >= 0; k--)
		r.list.v[k] = lang_sym(base);
	return r;
}

LVal
lang_f_newsize(const LCall *c)
{
	int64_t lo = 0, hi = INT64_MAX;

	if (c->n > 0)
		lo = lang_symarg(c, 0)->lo;
	if (c->n > 1)
		hi = lang_symarg(c, 1)->hi;
	return lang_sym(sym_fresh(c->L->cx, "u", lo < 0 ? 0 : lo, hi));
}

LVal
lang_f_newnumber(const LCall *c)
{
	enum dtype dt = c->v[0].kind == LDtype ? c->v[0].dt : DtNone;
	Ctx *cx = c->L->cx;

	if (dt == DtB8)
		return lang_sym(sym_fresh(cx, "u", 0, 1));
	return lang_sym(dt_int(dt) ? sym_fresh(cx, "u", INT64_MIN, INT64_MAX) : sym_freshfloat(cx, "zuf"));
}
