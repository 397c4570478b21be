/* zip.c - archives: the records of a zip file, from its central directory.
 *
 * Local headers of torch's writer say size 0, so only the central directory
 * counts; a local header is read for where its data begins.  Everything an
 * archive says is checked before use: ranges inside the file and not
 * overlapping (the zip bomb), names sane and unique, sizes plausible.  Stored
 * records stay in the mapped file, deflated ones are inflated to exactly the
 * size that was declared, within a budget for the whole archive.
 */
#include <stdlib.h>
#include <zlib.h>
#include "front/front.h"
#include "front/bytes.h"

enum {
	LocalSize = 30, CentralSize = 46, EndSize = 22, End64Size = 56, Locator64Size = 20,
	MaxEntries = 10000000,
	MaxName = 4096,
	EntryBytes = 200,       /* memory of an entry, its name and its map slot */
	MaxBytes = 192 << 20,
};

typedef struct Dir {
	Ctx *cx;
	const char *what;
	const uint8_t *file;
	uint64_t size;
	uint64_t n, off, len;   /* the central directory */
	uint64_t tail;          /* where its end records begin */
} Dir;

/* Where a record lies: local header to end of data. */
typedef struct Range { uint64_t from, to; Str name; } Range;

static bool
bad(const Dir *d, const char *why)
{
	error(d->cx, NOLOC, "%s: zip: %s", d->what, why);
	return false;
}

static bool
badrecord(const Dir *d, Str name, const char *why)
{
	error(d->cx, NOLOC, "%s: zip: record \"%.200s\": %s", d->what, name, why);
	return false;
}

/* ---- the end records -------------------------------------------------------- */

/* The end record is the last one whose comment reaches the end of the file. */
static const uint8_t *
findend(const Dir *d)
{
	uint64_t least = d->size > EndSize + 0xffff ? d->size - EndSize - 0xffff : 0;

	if (d->size < EndSize)
		return NULL;
	for (uint64_t at = d->size - EndSize + 1; at-- > least;) {
		const uint8_t *p = d->file + at;
		if (memcmp(p, "PK\5\6", 4) == 0 && at + EndSize + u16le(p + 20) == d->size)
			return p;
	}
	return NULL;
}

static bool
end64(Dir *d, uint64_t end)
{
	const uint8_t *p;
	uint64_t at;

	if (end < Locator64Size || memcmp(d->file + end - Locator64Size, "PK\6\7", 4) != 0)
		return true;
	p = d->file + end - Locator64Size;
	at = u64le(p + 8);
	if (u32le(p + 4) != 0 || u32le(p + 16) > 1)
		return bad(d, "spread over several disks");
	if (at > d->size || d->size - at < End64Size || memcmp(d->file + at, "PK\6\6", 4) != 0)
		return bad(d, "zip64 end record lies outside the file");
	p = d->file + at;
	if (u32le(p + 16) != 0 || u32le(p + 20) != 0 || u64le(p + 24) != u64le(p + 32))
		return bad(d, "spread over several disks");
	if (d->n == 0xffff)
		d->n = u64le(p + 32);
	if (d->len == 0xffffffff)
		d->len = u64le(p + 40);
	if (d->off == 0xffffffff)
		d->off = u64le(p + 48);
	d->tail = at;
	return true;
}

static bool
finddir(Dir *d)
{
	const uint8_t *p = findend(d);

	if (p == NULL)
		return bad(d, "no end of central directory (the file is cut off, or no zip archive)");
	if (u16le(p + 4) != 0xffff && (u16le(p + 4) || u16le(p + 6) || u16le(p + 8) != u16le(p + 10)))
		return bad(d, "spread over several disks");
	d->n = u16le(p + 10);
	d->len = u32le(p + 12);
	d->off = u32le(p + 16);
	d->tail = (uint64_t)(p - d->file);
	if (!end64(d, d->tail))
		return false;
	if (d->off > d->tail || d->len > d->tail - d->off)
		return bad(d, "central directory lies outside the file");
	if (d->n > MaxEntries || d->n * EntryBytes > MaxBytes + d->size)
		return bad(d, "too many records");
	if (d->n * CentralSize > d->len)
		return bad(d, "more records than its central directory holds");
	return true;
}

/* ---- one entry ------------------------------------------------------------- */

static bool
sanename(const char *s, size_t n)
{
	if (n == 0 || n > MaxName || s[0] == '/' || memchr(s, 0, n) || memchr(s, '\\', n))
		return false;
	for (const char *p = s, *end = s + n, *q; p <= end; p = q + 1) {
		q = memchr(p, '/', (size_t)(end - p));
		if (q == NULL)
			q = end;
		if (q - p == 2 && memcmp(p, "..", 2) == 0)
			return false;
	}
	return utf8_ok(s, n);
}

/* Sizes and offset that did not fit 32 bits: the extra field 1. */
static bool
extra64(const uint8_t *p, size_t n, ZipEntry *e, uint64_t *local)
{
	uint64_t *want[] = { &e->usize, &e->csize, local };

	while (n >= 4) {
		size_t id = u16le(p), len = u16le(p + 2);
		if (len > n - 4)
			return false;
		p += 4;
		n -= 4;
		for (int i = 0; id == 1 && i < COUNT(want); i++) {
			if (*want[i] != 0xffffffff)
				continue;
			if (len < 8)
				return false;
			*want[i] = u64le(p);
			p += 8;
			n -= 8;
			len -= 8;
		}
		p += len;
		n -= len;
	}
	return true;
}

/* From the local header to the data. */
static bool
locate(const Dir *d, ZipEntry *e, uint64_t local, const char *name, size_t len)
{
	const uint8_t *p = d->file + local;
	uint64_t skip;

	if (local > d->off || d->off - local < LocalSize || memcmp(p, "PK\3\4", 4) != 0)
		return badrecord(d, e->name, "its local header is not where the directory says");
	skip = LocalSize + (uint64_t)u16le(p + 26) + u16le(p + 28);
	if (d->off - local < skip)
		return badrecord(d, e->name, "its data lies outside the file");
	if (u16le(p + 26) != len || memcmp(p + LocalSize, name, len) != 0)
		return badrecord(d, e->name, "its local header has another name");
	if (e->csize > d->off - local - skip)
		return badrecord(d, e->name, "its data lies outside the file");
	e->data = p + skip;
	return true;
}

static bool
plausible(const Dir *d, const ZipEntry *e, unsigned flags)
{
	if (flags & 1)
		return badrecord(d, e->name, "encrypted");
	if (e->method != 0 && e->method != 8)
		return badrecord(d, e->name, "compressed by a method other than deflate");
	if (e->method == 0 && e->csize != e->usize)
		return badrecord(d, e->name, "stored, but its two sizes differ");
	if (e->method == 8 && (e->usize > UINT64_C(1) << 48 || e->usize > 1032 * e->csize + 64))
		return badrecord(d, e->name, "its declared size is more than deflate can give");
	return true;
}

/* The central header at *at, which is moved behind it. */
static bool
entry(const Dir *d, uint64_t *at, ZipEntry *e, Range *r)
{
	const uint8_t *p = d->file + *at;
	uint64_t left = d->off + d->len - *at, local;
	size_t len, extra;

	if (left < CentralSize || memcmp(p, "PK\1\2", 4) != 0)
		return bad(d, "central directory is damaged");
	len = u16le(p + 28);
	extra = u16le(p + 30);
	if (left - CentralSize < len + extra + u16le(p + 32))
		return bad(d, "central directory is damaged");
	*at += CentralSize + len + extra + u16le(p + 32);
	if (!sanename((const char *)p + CentralSize, len))
		return bad(d, "a record has an unusable name (empty, absolute, '..', '\\', NUL, too long or not UTF-8)");
	e->name = intern(d->cx, (const char *)p + CentralSize, len);
	e->method = (uint16_t)u16le(p + 10);
	e->crc = u32le(p + 16);
	e->csize = u32le(p + 20);
	e->usize = u32le(p + 24);
	local = u32le(p + 42);
	if (!extra64(p + CentralSize + len, extra, e, &local))
		return badrecord(d, e->name, "its extra field is damaged");
	if (u16le(p + 34) != 0 && u16le(p + 34) != 0xffff)
		return bad(d, "spread over several disks");
	if (!plausible(d, e, u16le(p + 8)) ||
	    !locate(d, e, local, (const char *)p + CentralSize, len))
		return false;
	*r = (Range){local, (uint64_t)(e->data - d->file) + e->csize, e->name};
	return true;
}

/* ---- the archive ------------------------------------------------------------- */

static int
byplace(const void *a, const void *b)
{
	const Range *p = a, *q = b;

	return p->from != q->from ? (p->from < q->from ? -1 : 1) :
	       (p->to > q->to) - (p->to < q->to);
}

static bool
disjoint(const Dir *d, Range *r)
{
	qsort(r, d->n, sizeof *r, byplace);
	for (uint64_t i = 1; i < d->n; i++)
		if (r[i].from < r[i - 1].to)
			return badrecord(d, r[i].name, "overlaps another record");
	return true;
}

bool
zip_open(Ctx *cx, const char *what, const uint8_t *file, size_t size, Zip *z)
{
	Arena *a = ctx_arena(cx), *scratch;
	Dir d = {.cx = cx, .what = what, .file = file, .size = size};
	uint64_t at;
	Range *r;
	bool ok = true;

	*z = (Zip){.what = what};
	if (!finddir(&d))
		return false;
	z->v = NEWN(a, ZipEntry, d.n);
	z->budget = NEW(a, uint64_t);
	*z->budget = UINT64_C(64) << 30;
	scratch = arena_new();
	r = NEWN(scratch, Range, d.n);
	at = d.off;
	for (uint64_t i = 0; i < d.n && ok; i++) {
		ZipEntry *e = &z->v[z->n++];
		ok = entry(&d, &at, e, &r[i]);
		if (ok && map_get(&z->byname, e->name))
			ok = badrecord(&d, e->name, "occurs twice");
		if (ok)
			map_put(a, &z->byname, e->name, e);
	}
	ok = ok && disjoint(&d, r);
	arena_free(scratch);
	return ok;
}

const ZipEntry *
zip_find(const Zip *z, Ctx *cx, const char *name)
{
	return map_get(&z->byname, intern_str(cx, name));
}

/* zlib counts in unsigned int: feed it by pieces.  `to` has a byte more than
 * the declared size, so that data that goes on is seen. */
static bool
inflateall(const ZipEntry *e, uint8_t *to)
{
	z_stream s = {0};
	uint64_t in = e->csize, out = e->usize + 1;
	const uint64_t most = 1u << 30;
	int rc;

	if (inflateInit2(&s, -15) != Z_OK)
		return false;
	s.next_in = (Bytef *)(uintptr_t)e->data;
	s.next_out = to;
	do {
		if (s.avail_in == 0) {
			s.avail_in = (uInt)(in < most ? in : most);
			in -= s.avail_in;
		}
		if (s.avail_out == 0) {
			s.avail_out = (uInt)(out < most ? out : most);
			out -= s.avail_out;
		}
		rc = inflate(&s, Z_NO_FLUSH);
	} while (rc == Z_OK);
	inflateEnd(&s);
	return rc == Z_STREAM_END && in == 0 && s.avail_in == 0 &&
	       s.next_out == to + e->usize;
}

static uint32_t
checksum(const uint8_t *p, uint64_t n)
{
	uLong c = crc32(0, NULL, 0);

	for (uint64_t k; n; p += k, n -= k) {
		k = n < 1u << 30 ? n : 1u << 30;
		c = crc32(c, p, (uInt)k);
	}
	return (uint32_t)c;
}

bool
zip_bytes(Ctx *cx, const Zip *z, const ZipEntry *e, const uint8_t **data, size_t *n)
{
	Dir d = {.cx = cx, .what = z->what};
	uint8_t *to;

	*data = e->data;
	*n = e->usize;
	if (e->method == 8) {
		if (e->usize > *z->budget)
			return badrecord(&d, e->name, "inflated, the archive would pass --max-input");
		*z->budget -= e->usize;
		to = arena_alloc(ctx_arena(cx), e->usize + 1, 64);
		if (!inflateall(e, to))
			return badrecord(&d, e->name, "its compressed data is damaged");
		*data = to;
	}
	/* torch can be told to leave the sum out, which then is 0 */
	if (e->crc != checksum(*data, *n) && (e->crc != 0 || e->method == 8))
		return badrecord(&d, e->name, "damaged: its checksum is wrong");
	return true;
}
