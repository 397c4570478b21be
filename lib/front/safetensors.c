/* safetensors.c - the safetensors format: a JSON header, then the data.
 *
 * u64 n, n bytes of JSON, data.  The ranges of the tensors must tile the data
 * exactly; this rejects gaps, overlaps and trailing bytes.
 */
#include <stdlib.h>
#include "front/bytes.h"
#include "front/front.h"

static const struct { const char *name; uint8_t bits, dt; } dtypes[] = {
	{ "BOOL", 8, DtB8 },         { "U8", 8, DtU8 },           { "I8", 8, DtI8 },
	{ "I16", 16, DtI16 },        { "U16", 16, DtU16 },        { "I32", 32, DtI32 },
	{ "U32", 32, DtU32 },        { "I64", 64, DtI64 },        { "U64", 64, DtU64 },
	{ "F16", 16, DtF16 },        { "BF16", 16, DtBF16 },      { "F32", 32, DtF32 },
	{ "F64", 64, DtF64 },        { "C64", 64, DtC64 },        { "F8_E4M3", 8, DtF8E4M3 },
	{ "F8_E5M2", 8, DtF8E5M2 },  { "F8_E4M3FNUZ", 8, DtNone }, { "F8_E5M2FNUZ", 8, DtNone },
	{ "F8_E8M0", 8, DtNone },    { "F4", 4, DtNone },         { "F6_E2M3", 6, DtNone },
	{ "F6_E3M2", 6, DtNone },
};

typedef struct St {
	Ctx *cx;
	const char *what;
	const uint8_t *data;
	uint64_t ndata;
} St;

typedef struct Range { uint64_t from, to; } Range;

static bool
bad(const St *s, Str name, const char *why)
{
	if (name)
		error(s->cx, NOLOC, "%s: safetensors: tensor \"%.200s\": %s", s->what, name, why);
	else
		error(s->cx, NOLOC, "%s: safetensors: %s", s->what, why);
	return false;
}

static Json *
key(const St *s, const Json *j, const char *name)
{
	return json_get(j, intern_str(s->cx, name));
}

static bool
shape(const St *s, const Json *j, StEntry *e, uint64_t *numel)
{
	*numel = 1;
	if (!j || j->kind != JsonArray || j->n > 64)
		return bad(s, e->name, "its shape is not a list of sizes");
	for (int i = 0; i < j->n; i++) {
		if (j->v[i]->kind != JsonInt || j->v[i]->i < 0)
			return bad(s, e->name, "its shape is not a list of sizes");
		if (__builtin_mul_overflow(*numel, (uint64_t)j->v[i]->i, numel))
			return bad(s, e->name, "its shape is too large");
		if (i < MaxRank)
			e->dim[i] = j->v[i]->i;
	}
	if (j->n > MaxRank)
		return bad(s, e->name, "more than 16 dimensions are not supported");
	e->rank = j->n;
	return true;
}

static bool
entry(const St *s, const Json *j, StEntry *e, Range *r)
{
	Json *dt = key(s, j, "dtype"), *off = key(s, j, "data_offsets");
	uint64_t numel, bits;
	int k = 0;

	if (!dt || dt->kind != JsonStr)
		return bad(s, e->name, "its dtype is missing");
	while (k < COUNT(dtypes) && strcmp(dtypes[k].name, dt->s) != 0)
		k++;
	if (k == COUNT(dtypes))
		return bad(s, e->name, "its dtype is unknown");
	if (!shape(s, key(s, j, "shape"), e, &numel))
		return false;
	if (!off || off->kind != JsonArray || off->n != 2 ||
	    off->v[0]->kind != JsonInt || off->v[1]->kind != JsonInt ||
	    off->v[0]->i < 0 || off->v[0]->i > off->v[1]->i || (uint64_t)off->v[1]->i > s->ndata)
		return bad(s, e->name, "its data_offsets are impossible");
	*r = (Range){ (uint64_t)off->v[0]->i, (uint64_t)off->v[1]->i };
	if (__builtin_mul_overflow(numel, dtypes[k].bits, &bits) || bits % 8 ||
	    bits / 8 != r->to - r->from)
		return bad(s, e->name, "its data_offsets do not fit its shape and dtype");
	e->dt = dtypes[k].dt;
	e->data = s->data + r->from;
	e->bytes = (size_t)(r->to - r->from);
	return true;
}

static int
byplace(const void *a, const void *b)
{
	const Range *p = a, *q = b;

	return p->from != q->from ? (p->from < q->from ? -1 : 1) : (p->to > q->to) - (p->to < q->to);
}

static bool
tiled(const St *s, Range *r, int n)
{
	uint64_t at = 0;

	qsort(r, (size_t)n, sizeof *r, byplace);
	for (int i = 0; i < n; i++) {
		if (r[i].from != at)
			return bad(s, NULL, "the tensors overlap or leave a gap");
		at = r[i].to;
	}
	return at == s->ndata || bad(s, NULL, "bytes after the last tensor, or cut off");
}

static bool
metadata(const St *s, const Json *j)
{
	if (j->kind != JsonObject)
		return bad(s, NULL, "__metadata__ is not an object of strings");
	for (int i = 0; i < j->n; i++)
		if (j->v[i]->kind != JsonStr)
			return bad(s, NULL, "__metadata__ is not an object of strings");
	return true;
}

static int
depth(const Json *j)
{
	int most = 0, k;

	if (j->kind != JsonArray && j->kind != JsonObject)
		return 0;
	for (int i = 0; i < j->n; i++)
		if ((k = depth(j->v[i])) > most)
			most = k;
	return most + 1;
}

static bool
entries(const St *s, const Json *header, StEntry *v, int *n)
{
	Range *r = NEWN(ctx_arena(s->cx), Range, header->n);

	for (int i = 0; i < header->n; i++) {
		if (strcmp(header->key[i], "__metadata__") == 0) {
			if (!metadata(s, header->v[i]))
				return false;
			continue;
		}
		v[*n].name = header->key[i];
		if (!entry(s, header->v[i], &v[*n], &r[*n]))
			return false;
		++*n;
	}
	return tiled(s, r, *n);
}

bool
safetensors_read(Ctx *cx, const char *what, const uint8_t *p, size_t size, StEntry **v, int *n)
{
	St s = { .cx = cx, .what = what };
	uint64_t len;
	Json *header;

	if (size < 8)
		return bad(&s, NULL, "shorter than its header");
	len = u64le(p);
	if (len > 100000000 || len > size - 8)
		return bad(&s, NULL, "its header is longer than the file or 100 MB");
	header = json_parse(cx, what, (const char *)p + 8, (size_t)len, false);
	if (header == NULL)
		return false;
	if (header->kind != JsonObject || depth(header) > 4)
		return bad(&s, NULL, "its header is not an object of tensors");
	s.data = p + 8 + len;
	s.ndata = size - 8 - len;
	*v = NEWN(ctx_arena(cx), StEntry, header->n);
	*n = 0;
	return entries(&s, header, *v, n);
}
