/* type.c - dtypes and the types of values.
 *
 * Types are interned: equal types are the same pointer.  Strides that are those
 * of a row-major contiguous tensor are left out (NULL), so a strided type that
 * happens to be contiguous is the contiguous type.
 */
#include "ir/ir.h"

const struct DtypeInfo dtypeinfo[NDtype] = {
	[DtB8]     = { "b8", "bool", "uint8_t", 1, KindBool },
	[DtU8]     = { "u8", "uint8", "uint8_t", 1, KindUint },
	[DtI8]     = { "i8", "int8", "int8_t", 1, KindInt },
	[DtI16]    = { "i16", "int16", "int16_t", 2, KindInt },
	[DtI32]    = { "i32", "int32", "int32_t", 4, KindInt },
	[DtI64]    = { "i64", "int64", "int64_t", 8, KindInt },
	[DtU16]    = { "u16", "uint16", "uint16_t", 2, KindUint },
	[DtU32]    = { "u32", "uint32", "uint32_t", 4, KindUint },
	[DtU64]    = { "u64", "uint64", "uint64_t", 8, KindUint },
	[DtF16]    = { "f16", "float16", "uint16_t", 2, KindFloat },
	[DtBF16]   = { "bf16", "bfloat16", "uint16_t", 2, KindFloat },
	[DtF32]    = { "f32", "float32", "float", 4, KindFloat },
	[DtF64]    = { "f64", "float64", "double", 8, KindFloat },
	[DtC64]    = { "c64", "complex64", "float", 8, KindComplex },
	[DtC128]   = { "c128", "complex128", "double", 16, KindComplex },
	[DtF8E4M3] = { "f8e4m3fn", "float8_e4m3fn", "uint8_t", 1, KindFloat },
	[DtF8E5M2] = { "f8e5m2", "float8_e5m2", "uint8_t", 1, KindFloat },
};

#define DTYPE(name, text, bytes, kind, cname) \
	_Static_assert(Dt##name < NDtype && (bytes) <= 16, text);
#include "ir/dtype.def"
#undef DTYPE

/* Other names that PyTorch and its printers have for them. */
static const struct { const char *name; enum dtype dt; } also[] = {
	{ "bool", DtB8 }, { "byte", DtU8 }, { "char", DtI8 },
	{ "short", DtI16 }, { "int", DtI32 }, { "long", DtI64 },
	{ "half", DtF16 }, { "float", DtF32 }, { "double", DtF64 },
	{ "cfloat", DtC64 }, { "cdouble", DtC128 },
	{ "f8e4m3", DtF8E4M3 },
};

static bool
is(const char *name, const char *s, size_t n)
{
	return strlen(name) == n && memcmp(name, s, n) == 0;
}

enum dtype
dtype_parse(const char *s, size_t n)
{
	if (n > 6 && memcmp(s, "torch.", 6) == 0) {
		s += 6;
		n -= 6;
	}
	for (int d = 0; d < NDtype; d++)
		if (is(dtypeinfo[d].text, s, n) || is(dtypeinfo[d].torch, s, n))
			return (enum dtype)d;
	for (int i = 0; i < COUNT(also); i++)
		if (is(also[i].name, s, n))
			return also[i].dt;
	return DtNone;
}

/* ---- promotion ---- */

/* c10/core/ScalarType.cpp: within a kind the wider wins; a signed and an unsigned
 * integer meet in the next wider signed one; a higher kind wins over a lower.
 * What PyTorch refuses (u16 to u64 with signed integers, two kinds of f8) is
 * promoted here in the same spirit. */
static enum dtype
promoteint(enum dtype a, enum dtype b)
{
	static const enum dtype wider[] = {
		[1] = DtI16, [2] = DtI32, [4] = DtI64, [8] = DtI64,
	};
	int wa = dtypeinfo[a].bytes, wb = dtypeinfo[b].bytes;
	enum dtype t;

	if (dtypeinfo[a].kind == dtypeinfo[b].kind)
		return wa >= wb ? a : b;
	if (dtypeinfo[a].kind == KindInt) {      /* make b the signed one */
		t = a;
		a = b;
		b = t;
		t = (enum dtype)wa;
		wa = wb;
		wb = (int)t;
	}
	return wb > wa ? b : wider[wa];
}

static enum dtype
promotefloat(enum dtype a, enum dtype b)
{
	int wa = dtypeinfo[a].bytes, wb = dtypeinfo[b].bytes;

	if (wa != wb)
		return wa > wb ? a : b;
	return DtF32;                    /* f16 with bf16, f8 with f8 */
}

static enum dtype
promotecomplex(enum dtype c, enum dtype f)
{
	if (c == DtC128 || f == DtF64 || f == DtC128)
		return DtC128;
	return DtC64;
}

enum dtype
dt_promote(enum dtype a, enum dtype b)
{
	int ka = dtypeinfo[a].kind, kb = dtypeinfo[b].kind;

	if (a == b)
		return a;
	if (ka == KindBool || kb == KindBool)
		return ka == KindBool ? b : a;
	if (ka == KindComplex)
		return promotecomplex(a, b);
	if (kb == KindComplex)
		return promotecomplex(b, a);
	if (ka == KindFloat && kb == KindFloat)
		return promotefloat(a, b);
	if (ka == KindFloat || kb == KindFloat)
		return ka == KindFloat ? a : b;
	return promoteint(a, b);
}

enum dtype
dt_acc(enum dtype d)
{
	return dt_float(d) && dtypeinfo[d].bytes < 4 ? DtF32 : d;
}

/* ---- types ---- */

static const char tabkey;

typedef struct TypeTab {
	Type **type;               /* open addressing */
	int   n, cap;
	uint32_t nid;
} TypeTab;

static uint64_t
mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

static uint64_t
hash(const Type *t)
{
	uint64_t h = mix(mix(t->kind, t->dt), t->rank);

	for (int i = 0; i < t->rank; i++) {
		h = mix(h, t->dim[i]->id);
		h = mix(h, t->stride ? t->stride[i]->id : UINT32_MAX);
	}
	return mix(h, t->sym ? t->sym->id : UINT32_MAX);
}

static bool
same(const Type *a, const Type *b)
{
	size_t n = sizeof *a->dim * a->rank;

	return a->kind == b->kind && a->dt == b->dt && a->rank == b->rank
	       && a->sym == b->sym && !a->stride == !b->stride
	       && (n == 0 || memcmp(a->dim, b->dim, n) == 0)
	       && (n == 0 || !a->stride || memcmp(a->stride, b->stride, n) == 0);
}

static int
find(const TypeTab *tab, const Type *t)
{
	int i = (int)(hash(t) & (uint64_t)(tab->cap - 1));

	while (tab->type[i] && !same(tab->type[i], t))
		i = (i + 1) & (tab->cap - 1);
	return i;
}

static const Type *
intern_type(Ctx *cx, Type t)
{
	TypeTab *tab = ctx_slot(cx, &tabkey, sizeof *tab);
	Arena *a = ctx_arena(cx);
	Type **old = tab->type, *copy;
	int n = tab->cap, i;

	if (2 * (tab->n + 1) > n) {
		tab->cap = n ? 2 * n : 128;
		tab->type = NEWN(a, Type *, tab->cap);
		for (i = 0; i < n; i++)
			if (old[i])
				tab->type[find(tab, old[i])] = old[i];
	}
	i = find(tab, &t);
	if (tab->type[i])
		return tab->type[i];
	copy = arena_dup(a, &t, sizeof t);
	copy->id = tab->nid++;
	if (t.kind == TyTensor)
		copy->dim = arena_dup(a, t.dim, sizeof *t.dim * t.rank);
	if (t.stride)
		copy->stride = arena_dup(a, t.stride, sizeof *t.dim * t.rank);
	tab->type[i] = copy;
	tab->n++;
	return copy;
}

const Type *
type_tensor(Ctx *cx, enum dtype dt, int rank, const Sym *const *dim)
{
	return type_strided(cx, dt, rank, dim, NULL);
}

/* As PyTorch's is_contiguous: the stride of a size 1 does not matter, and of a
 * tensor without elements no stride does. */
static bool
contiguous(Ctx *cx, int rank, const Sym *const *dim, const Sym *const *stride)
{
	const Sym *n = sym_const(cx, 1);

	for (int i = 0; i < rank; i++)
		if (sym_is(dim[i], 0))
			return true;
	for (int i = rank - 1; i >= 0; i--) {
		if (sym_is(dim[i], 1))
			continue;
		if (!sym_eq(stride[i], n))
			return false;
		n = sym_mul(cx, n, dim[i]);
	}
	return true;
}

const Type *
type_strided(Ctx *cx, enum dtype dt, int rank, const Sym *const *dim,
             const Sym *const *stride)
{
	Type t = { .kind = TyTensor, .dt = dt, .rank = (uint8_t)rank,
	           .dim = dim, .stride = stride };

	if (rank < 0 || rank > MaxRank) {
		error(cx, NOLOC, "a tensor of %d dimensions: at most %d are "
		      "supported", rank, MaxRank);
		t.rank = 0;
	}
	if (stride && contiguous(cx, t.rank, dim, stride))
		t.stride = NULL;
	return intern_type(cx, t);
}

bool
type_same(const Type *a, const Type *b)
{
	if (a == b)
		return true;
	if (a == NULL || b == NULL || a->kind != TyTensor || b->kind != TyTensor || a->dt != b->dt || a->rank != b->rank)
		return false;
	for (int d = 0; d < a->rank; d++)
		if (!sym_eq(a->dim[d], b->dim[d]))
			return false;
	return true;
}

const Type *
type_sym(Ctx *cx, const Sym *s)
{
	return intern_type(cx, (Type){ .kind = TySym,
	                               .dt = s->isfloat ? DtF64 : DtI64,
	                               .sym = s });
}

const Type *
type_none(Ctx *cx)
{
	return intern_type(cx, (Type){ .kind = TyNone });
}

const Sym *
type_numel(Ctx *cx, const Type *t)
{
	const Sym *n = sym_const(cx, 1);

	for (int i = 0; i < t->rank; i++)
		n = sym_mul(cx, n, t->dim[i]);
	return n;
}

/* A size of 0 counts as 1, as in PyTorch's strides. */
const Sym *
type_stride(Ctx *cx, const Type *t, int d)
{
	const Sym *n = sym_const(cx, 1);

	if (t->stride)
		return t->stride[d];
	for (int i = d + 1; i < t->rank; i++)
		if (!sym_is(t->dim[i], 0))
			n = sym_mul(cx, n, t->dim[i]);
	return n;
}

static void
addlist(Ctx *cx, Text *t, const Sym *const *s, int n)
{
	text_put(t, "[", 1);
	for (int i = 0; i < n; i++)
		text_add(t, "%s%s", i ? ", " : "", sym_str(cx, s[i]));
	text_put(t, "]", 1);
}

const char *
type_str(Ctx *cx, const Type *t)
{
	Text out = { .arena = ctx_arena(cx) };

	if (t == NULL)
		return "?";
	switch (t->kind) {
	case TyNone: return "None";
	case TyList: return "list";
	case TySym:
		text_add(&out, "Sym(%s)", sym_str(cx, t->sym));
		break;
	case TyTensor:
		text_add(&out, "%s", dtypeinfo[t->dt].text);
		addlist(cx, &out, t->dim, t->rank);
		if (t->stride)
			addlist(cx, &out, t->stride, t->rank);
		break;
	}
	return out.s;
}
