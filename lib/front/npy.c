/* npy.c - NumPy arrays: .npy, and .npz, a zip of them.
 *
 * The header is a Python dict literal with exactly three keys; it is read by a
 * scanner for just that, never evaluated.  Row-major native data stays where it
 * lies; column-major or byte-swapped data is copied.
 *
 * NumPy has no bfloat16 or float8: they come as <V2, <V1, <f1, and as integers
 * of the same width.  Such an array gets the dtype that the caller wants of it,
 * if that has the same size; wanted nothing, it stays raw (u16, u8).
 */
#include "front/bytes.h"
#include "front/front.h"

enum { MaxHeader = 64 << 10 };

typedef struct Npy {
	Ctx *cx;
	const char *what;
	const char *p, *end;       /* of the header */
	char  order, kind;         /* of descr: '<', 'f' */
	int   width;
	bool  fortran;
	int   rank;
	int64_t dim[64];
} Npy;

static bool
bad(const Npy *c, const char *why)
{
	error(c->cx, NOLOC, "%s: npy: %s", c->what, why);
	return false;
}

/* ---- the header ----------------------------------------------------------------- */

static void
blanks(Npy *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\n'))
		c->p++;
}

static bool
accept(Npy *c, const char *s)
{
	size_t n = strlen(s);

	blanks(c);
	if ((size_t)(c->end - c->p) < n || memcmp(c->p, s, n) != 0)
		return false;
	c->p += n;
	return true;
}

static bool
number(Npy *c, int64_t *v)
{
	const char *from;

	blanks(c);
	from = c->p;
	for (*v = 0; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
		if (!mul_ok(*v, 10, v) || !add_ok(*v, *c->p - '0', v))
			return false;
	if (c->p == from)
		return false;
	if (c->p < c->end && *c->p == 'L')       /* Python 2 */
		c->p++;
	return true;
}

/* '<f4' */
static bool
descr(Npy *c)
{
	int64_t width;

	blanks(c);
	if (c->p < c->end && *c->p == '[')
		return bad(c, "structured arrays are not supported");
	if (!accept(c, "'") || c->end - c->p < 2)
		return bad(c, "its descr is damaged");
	c->order = '=';
	if (strchr("<>|=", *c->p) && *c->p)
		c->order = *c->p++;
	c->kind = *c->p++;
	if (c->kind == 'O')
		return bad(c, "an array of Python objects (pickle) is not supported");
	if (!number(c, &width) || width < 1 || width > 16 || !accept(c, "'"))
		return bad(c, "its dtype is not supported");
	c->width = (int)width;
	return true;
}

static bool
shape(Npy *c)
{
	if (!accept(c, "("))
		return bad(c, "its shape is damaged");
	while (!accept(c, ")")) {
		if (c->rank == 64)
			return bad(c, "more than 64 dimensions");
		if (!number(c, &c->dim[c->rank++]))
			return bad(c, "its shape is damaged");
		if (!accept(c, ",") && !(accept(c, ")") && c->rank > 1))
			return bad(c, "its shape is damaged");
		if (c->p[-1] == ')')
			return true;
	}
	return true;
}

static bool
order(Npy *c)
{
	if (!accept(c, "True") && !accept(c, "False"))
		return bad(c, "its fortran_order is damaged");
	c->fortran = c->p[-2] == 'u';
	return true;
}

static bool
header(Npy *c)
{
	static const struct { const char *name; bool (*read)(Npy *); } keys[] = {
		{ "'descr'", descr }, { "'fortran_order'", order }, { "'shape'", shape },
	};
	unsigned seen = 0;

	if (!accept(c, "{"))
		return bad(c, "its header is no dictionary");
	while (!accept(c, "}")) {
		int k = 0;
		while (k < COUNT(keys) && !accept(c, keys[k].name))
			k++;
		if (k == COUNT(keys) || seen & 1u << k || !accept(c, ":"))
			return bad(c, "its header has an unexpected key");
		seen |= 1u << k;
		if (!keys[k].read(c))
			return false;
		if (!accept(c, ",")) {
			if (!accept(c, "}"))
				return bad(c, "its header is damaged");
			break;
		}
	}
	blanks(c);
	if (seen != 7)
		return bad(c, "its header lacks a key");
	return c->p == c->end || bad(c, "text after its header");
}

/* ---- the dtype ---------------------------------------------------------------------- */

static const struct { char kind; uint8_t width, dt; bool raw; } dtypes[] = {
	{ 'f', 2, DtF16, false },  { 'f', 4, DtF32, false },  { 'f', 8, DtF64, false },
	{ 'i', 1, DtI8, false },   { 'i', 2, DtI16, true },   { 'i', 4, DtI32, false },
	{ 'i', 8, DtI64, false },  { 'u', 1, DtU8, true },    { 'u', 2, DtU16, true },
	{ 'u', 4, DtU32, false },  { 'u', 8, DtU64, false },  { 'b', 1, DtB8, false },
	{ 'c', 8, DtC64, false },  { 'c', 16, DtC128, false },
	{ 'V', 2, DtU16, true },   { 'V', 1, DtU8, true },    { 'f', 1, DtU8, true },
};

/* Dtypes that NumPy cannot name. */
static bool
nameless(enum dtype dt, int width)
{
	return (dt == DtBF16 && width == 2) ||
	       ((dt == DtF8E4M3 || dt == DtF8E5M2) && width == 1);
}

static bool
todtype(const Npy *c, enum dtype want, enum dtype *dt)
{
	for (int i = 0; i < COUNT(dtypes); i++) {
		bool opaque = c->kind == 'V' || c->width == 1;
		if (dtypes[i].kind != c->kind || dtypes[i].width != c->width)
			continue;
		*dt = dtypes[i].dt;
		if (want == DtNone || !dtypes[i].raw)
			return true;
		if (nameless(want, c->width))
			*dt = want;
		else if (opaque && (c->kind == 'V' || c->kind == 'f'))
			return bad(c, "its dtype (V or f1) only stands for bfloat16 or float8");
		return true;
	}
	return bad(c, "its dtype is not supported");
}

/* ---- the data ------------------------------------------------------------------------- */

static void
swapbytes(uint8_t *p, size_t n, size_t unit)
{
	for (size_t i = 0; i < n; i += unit)
		for (size_t k = 0; k < unit / 2; k++) {
			uint8_t t = p[i + k];
			p[i + k] = p[i + unit - 1 - k];
			p[i + unit - 1 - k] = t;
		}
}

/* Column-major to row-major: walk the result, keeping the place in the source. */
static void
transpose(const Tensor *t, const uint8_t *from, uint8_t *to)
{
	size_t w = dtypeinfo[t->dt].bytes;
	int64_t n = tensor_numel(t), at[MaxRank] = {0}, stride[MaxRank], k = 1, src = 0;

	for (int d = 0; d < t->rank; d++) {
		stride[d] = k;
		k *= t->dim[d];
	}
	for (int64_t i = 0; i < n; i++) {
		memcpy(to + (size_t)i * w, from + (size_t)src * w, w);
		for (int d = t->rank - 1; d >= 0; d--) {
			src += stride[d];
			if (++at[d] < t->dim[d])
				break;
			src -= stride[d] * t->dim[d];
			at[d] = 0;
		}
	}
}

static bool
data(const Npy *c, const uint8_t *p, size_t left, Tensor *t)
{
	int64_t n = 1, bytes;
	size_t w = dtypeinfo[t->dt].bytes, unit = dtypeinfo[t->dt].kind == KindComplex ? w / 2 : w;
	bool swap = c->order == '>' && unit > 1;
	uint8_t *copy;

	if (c->rank > MaxRank)
		return bad(c, "more than 16 dimensions are not supported");
	t->rank = c->rank;
	for (int d = 0; d < c->rank; d++) {
		t->dim[d] = c->dim[d];
		if (!mul_ok(n, c->dim[d], &n))
			return bad(c, "its shape is too large");
	}
	if (!mul_ok(n, (int64_t)w, &bytes) || (uint64_t)bytes > left)
		return bad(c, "cut off: its data is shorter than its shape needs");
	if ((uint64_t)bytes < left)
		warn(c->cx, NOLOC, WarnTrailing, "%s: npy: %zu bytes after the data", c->what,
		     left - (size_t)bytes);
	t->bytes = (size_t)bytes;
	t->data = (void *)(uintptr_t)p;
	if (!swap && !(c->fortran && c->rank > 1) && (uintptr_t)p % unit == 0)
		return true;
	copy = arena_alloc(ctx_arena(c->cx), t->bytes + 1, 64);
	if (c->fortran && c->rank > 1)
		transpose(t, p, copy);
	else
		memcpy(copy, p, t->bytes);
	if (swap)
		swapbytes(copy, t->bytes, unit);
	t->data = copy;
	return true;
}

bool
npy_read(Ctx *cx, const char *what, const uint8_t *p, size_t n, enum dtype want, Tensor *t)
{
	Npy c = { .cx = cx, .what = what };
	size_t at, len;

	*t = (Tensor){0};
	if (n < 10 || memcmp(p, "\x93NUMPY", 6) != 0)
		return bad(&c, "not a NumPy array");
	if (p[6] < 1 || p[6] > 3 || p[7] != 0)
		return bad(&c, "of an unknown version");
	at = p[6] == 1 ? 10 : 12;
	if (n < at)
		return bad(&c, "cut off");
	len = p[6] == 1 ? u16le(p + 8) : u32le(p + 8);
	if (len > MaxHeader || len > n - at)
		return bad(&c, "its header is longer than the file or 64 KiB");
	c.p = (const char *)p + at;
	c.end = c.p + len;
	return header(&c) && todtype(&c, want, &t->dt) && data(&c, p + at + len, n - at - len, t);
}

bool
npz_read(Ctx *cx, const File *f, NpArray **v, int *n)
{
	Zip z;

	*n = 0;
	if (!zip_open(cx, f->name, f->data, f->size, &z))
		return false;
	*v = NEWN(ctx_arena(cx), NpArray, z.n);
	for (int i = 0; i < z.n; i++) {
		const char *name = z.v[i].name;
		size_t len = strlen(name), bytes;
		const uint8_t *p;
		if (len < 5 || strcmp(name + len - 4, ".npy") != 0) {
			error(cx, NOLOC, "%s: npz: record \"%.200s\" is no array", f->name, name);
			return false;
		}
		if (!zip_bytes(cx, &z, &z.v[i], &p, &bytes) ||
		    !npy_read(cx, intern_printf(cx, "%s(%s)", f->name, name), p, bytes, DtNone, &(*v)[i].t))
			return false;
		(*v)[i].name = intern(cx, name, len - 4);
		++*n;
	}
	return true;
}
