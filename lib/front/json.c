/* json.c - strict JSON with exact integers.
 *
 * cJSON builds the values, but it is lax (01, 1., raw control characters) and
 * keeps every number as a double, while exported graphs are full of
 * 9223372036854775807.  So a scan of our own comes first: it checks the grammar
 * to the letter of RFC 8259 and bounds depth and lengths.  Then the text is
 * taken apart: large objects and arrays by us, and each part below Chunk bytes by
 * cJSON, from a copy in which a number that cJSON would spoil is a string
 * beginning with the byte FF.  No UTF-8 text contains that byte, so the mark
 * cannot be forged.  cJSON's trees, ten times as large as ours, thus never live
 * long; ours has keys interned, large objects hashed, duplicate keys rejected.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include "front/bytes.h"
#include "front/front.h"

enum {
	MaxDepth = 256,
	MaxString = 16 << 20,
	MaxNumber = 1024,
	Chunk = 64 << 10,
	MaxBytes = 192 << 20,   /* of our tree, beyond twice the text's size */
	SmallObject = 8,        /* up to here keys are compared one by one */
	Mark = 0xff,
};

typedef struct Scan {
	const char *s, *p, *end;
	bool bareinf;
	size_t nvalue;
	Arena *a;               /* for large; NULL: they are known already */
	VEC(const char *) large;        /* where objects and arrays longer than Chunk begin, in order */
	char *out;              /* NULL: only check */
	const char *done;       /* what of s is in out already */
	const char *err;
} Scan;

static bool
fail(Scan *c, const char *why)
{
	if (c->err == NULL)
		c->err = why;
	return false;
}

static void
blanks(Scan *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' ||
	       *c->p == '\r' || *c->p == '\t'))
		c->p++;
}

static bool
digit(const Scan *c)
{
	return c->p < c->end && *c->p >= '0' && *c->p <= '9';
}

static bool
digits(Scan *c)
{
	if (!digit(c))
		return fail(c, "a digit is missing in a number");
	while (digit(c))
		c->p++;
	return true;
}

static bool
word(Scan *c, const char *w)
{
	size_t n = strlen(w);

	if ((size_t)(c->end - c->p) < n || memcmp(c->p, w, n) != 0)
		return false;
	c->p += n;
	return true;
}

/* Number from..p goes to cJSON as a marked string. */
static void
mark(Scan *c, const char *from)
{
	if (c->out == NULL)
		return;
	memcpy(c->out, c->done, (size_t)(from - c->done));
	c->out += from - c->done;
	*c->out++ = '"';
	*c->out++ = (char)Mark;
	memcpy(c->out, from, (size_t)(c->p - from));
	c->out += c->p - from;
	*c->out++ = '"';
	c->done = c->p;
}

static bool
number(Scan *c)
{
	const char *from = c->p;
	bool isfloat = false;

	if (*c->p == '-')
		c->p++;
	if (c->bareinf && word(c, "Infinity")) {
		mark(c, from);
		return true;
	}
	if (c->p < c->end && *c->p == '0')
		c->p++;
	else if (!digits(c))
		return false;
	if (digit(c))
		return fail(c, "a number begins with 0");
	if (c->p < c->end && *c->p == '.') {
		isfloat = true;
		c->p++;
		if (!digits(c))
			return false;
	}
	if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
		isfloat = true;
		c->p++;
		if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
			c->p++;
		if (!digits(c))
			return false;
	}
	if (c->p - from > MaxNumber)
		return fail(c, "a number is longer than 1024 characters");
	/* 15 digits are exact in a double */
	if (isfloat || c->p - from > 15)
		mark(c, from);
	return true;
}

static bool
hex4(Scan *c, uint32_t *v)
{
	*v = 0;
	if (c->end - c->p < 4)
		return fail(c, "a \\u escape is cut off");
	for (int i = 0; i < 4; i++) {
		int ch = *c->p++;
		int d = ch >= '0' && ch <= '9' ? ch - '0' :
			ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 :
			ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
		if (d < 0)
			return fail(c, "a \\u escape needs four hex digits");
		*v = *v << 4 | (uint32_t)d;
	}
	return true;
}

static bool
escape(Scan *c)
{
	uint32_t u, low;

	if (c->p == c->end)
		return fail(c, "a string is not closed");
	if (*c->p != 'u')
		return strchr("\"\\/bfnrt", *c->p++) != NULL && c->p[-1] ? true :
			fail(c, "an unknown escape in a string");
	c->p++;
	if (!hex4(c, &u))
		return false;
	if (u == 0)
		return fail(c, "a string contains U+0000");
	if (u >= 0xdc00 && u < 0xe000)
		return fail(c, "a lone surrogate in a string");
	if (u < 0xd800 || u >= 0xdc00)
		return true;
	if (!word(c, "\\u") || !hex4(c, &low) || low < 0xdc00 || low >= 0xe000)
		return fail(c, "a lone surrogate in a string");
	return true;
}

static bool
string(Scan *c)
{
	const char *from = ++c->p;

	while (c->p < c->end && *c->p != '"') {
		unsigned char ch = (unsigned char)*c->p;
		if (ch < 0x20)
			return fail(c, "a control character in a string");
		if (ch == '\\') {
			c->p++;
			if (!escape(c))
				return false;
		} else if (ch < 0x80) {
			c->p++;
		} else {
			int n = utf8_len(c->p, (size_t)(c->end - c->p));
			if (n == 0)
				return fail(c, "a string is not UTF-8");
			c->p += n;
		}
	}
	if (c->p == c->end)
		return fail(c, "a string is not closed");
	if (c->p - from > MaxString)
		return fail(c, "a string is longer than 16 MiB");
	c->p++;
	return true;
}

/* Bytes that our tree may take. */
static size_t
most(const Scan *c)
{
	return MaxBytes + 2 * (size_t)(c->end - c->s);
}

static bool value(Scan *c, int depth);

static bool
key(Scan *c)
{
	blanks(c);
	if (c->p == c->end || *c->p != '"')
		return fail(c, "a key is missing");
	if (!string(c))
		return false;
	blanks(c);
	if (c->p == c->end || *c->p++ != ':')
		return fail(c, "a ':' is missing");
	return true;
}

/* An array or object from its bracket on. */
static bool
list(Scan *c, int depth, char close)
{
	c->p++;
	blanks(c);
	if (c->p < c->end && *c->p == close) {
		c->p++;
		return true;
	}
	for (;;) {
		if (close == '}' && !key(c))
			return false;
		if (!value(c, depth + 1))
			return false;
		blanks(c);
		if (c->p == c->end)
			return fail(c, "the text ends within a list");
		if (*c->p == close) {
			c->p++;
			return true;
		}
		if (*c->p++ != ',') {
			c->p--;
			return fail(c, "a ',' is missing");
		}
	}
}

/* Of nested ones the inner end first, so a short one is the last of large. */
static bool
container(Scan *c, int depth, char close)
{
	const char *from = c->p;

	if (c->a)
		vec_push(c->a, &c->large, from);
	if (!list(c, depth, close))
		return false;
	if (c->a && c->p - from <= Chunk)
		c->large.n--;
	return true;
}

static bool
value(Scan *c, int depth)
{
	const char *from;

	if (depth > MaxDepth)
		return fail(c, "nested deeper than 256");
	/* a value takes a Json and a pointer to it */
	if (++c->nvalue > most(c) / (sizeof(Json) + sizeof(Json *)))
		return fail(c, "too many values for its size");
	blanks(c);
	from = c->p;
	if (c->p == c->end)
		return fail(c, "a value is missing");
	switch (*c->p) {
	case '{':
		return container(c, depth, '}');
	case '[':
		return container(c, depth, ']');
	case '"':
		return string(c);
	case '-': case '0': case '1': case '2': case '3': case '4':
	case '5': case '6': case '7': case '8': case '9':
		return number(c);
	}
	if (word(c, "true") || word(c, "false") || word(c, "null"))
		return true;
	if (c->bareinf && (word(c, "NaN") || word(c, "Infinity"))) {
		mark(c, from);
		return true;
	}
	return fail(c, "no JSON value");
}

static bool
check(Scan *c)
{
	if (!value(c, 0))
		return false;
	blanks(c);
	return c->p == c->end || fail(c, "text after the value");
}

/* ---- from cJSON's tree to ours ------------------------------------------- */

typedef struct Conv {
	Ctx *cx;
	Arena *a;
	locale_t c;
	const char *err;
	size_t most;            /* bytes of a */
	Scan scan;
	int large;              /* of scan.large: the next */
	char *buf;
	size_t cap;
} Conv;

/* A number token that the scan marked. */
static bool
marked(Conv *c, const char *s, Json *j)
{
	char *end;

	if (strpbrk(s, ".eEIN") == NULL) {
		errno = 0;
		j->kind = JsonInt;
		j->i = strtoll(s, &end, 10);
		if (errno == 0)
			return true;
		c->err = "an integer does not fit 64 bits";
		return false;
	}
	j->kind = JsonFloat;
	j->f = strtod_l(s, &end, c->c);
	if (isfinite(j->f) || strpbrk(s, "IN"))
		return true;
	c->err = "a number is too large for a double";
	return false;
}

static bool convert(Conv *c, const cJSON *from, Json *j);

static bool
addkey(Conv *c, Json *j, Json *v, const char *name)
{
	Str k = intern_str(c->cx, name);

	if (json_get(j, k)) {
		c->err = intern_printf(c->cx, "key \"%.100s\" occurs twice", name);
		return false;
	}
	j->key[j->n] = k;
	j->v[j->n++] = v;
	if (j->map)
		map_put(c->a, j->map, k, v);
	return true;
}

static bool
children(Conv *c, const cJSON *from, Json *j)
{
	int n = 0;
	Json *v;

	for (const cJSON *i = from->child; i; i = i->next)
		n++;
	if (arena_bytes(c->a) > c->most) {
		c->err = "too many values for its size";
		return false;
	}
	v = NEWN(c->a, Json, n);
	j->v = NEWN(c->a, Json *, n);
	if (j->kind == JsonObject) {
		j->key = NEWN(c->a, Str, n);
		j->map = n > SmallObject ? NEW(c->a, Map) : NULL;
	}
	for (const cJSON *i = from->child; i; i = i->next, v++) {
		if (!convert(c, i, v))
			return false;
		if (j->kind == JsonArray)
			j->v[j->n++] = v;
		else if (!addkey(c, j, v, i->string))
			return false;
	}
	return true;
}

static bool
convert(Conv *c, const cJSON *from, Json *j)
{
	switch (from->type & 0xff) {
	case cJSON_NULL:
		j->kind = JsonNull;
		return true;
	case cJSON_False:
	case cJSON_True:
		j->kind = JsonBool;
		j->b = (from->type & 0xff) == cJSON_True;
		return true;
	case cJSON_Number:
		j->kind = JsonInt;
		j->i = (int64_t)from->valuedouble;
		return true;
	case cJSON_String:
		if ((unsigned char)from->valuestring[0] == Mark)
			return marked(c, from->valuestring + 1, j);
		j->kind = JsonStr;
		j->s = intern_str(c->cx, from->valuestring);
		return true;
	case cJSON_Array:
		j->kind = JsonArray;
		return children(c, from, j);
	default:
		j->kind = JsonObject;
		return children(c, from, j);
	}
}

Json *
json_get(const Json *obj, Str key)
{
	if (obj == NULL || obj->kind != JsonObject)
		return NULL;
	if (obj->map)
		return map_get(obj->map, key);
	for (int i = 0; i < obj->n; i++)
		if (obj->key[i] == key)
			return obj->v[i];
	return NULL;
}

/* ---- taking the text apart -------------------------------------------------------- */

/* The value at scan.p, by cJSON; NULL: no memory. */
static cJSON *
chunk(Conv *c)
{
	Scan *s = &c->scan;
	const char *from = s->p;
	size_t need;

	s->nvalue = 0;
	value(s, 0);
	/* a mark adds three bytes, and the shortest marked number has three */
	need = 2 * (size_t)(s->p - from) + 8;
	if (need > c->cap) {
		free(c->buf);
		c->cap = need > 4 * Chunk ? need : 4 * Chunk;
		c->buf = malloc(c->cap);
		if (c->buf == NULL)
			return NULL;
	}
	s->p = s->done = from;
	s->out = c->buf;
	value(s, 0);
	memcpy(s->out, s->done, (size_t)(s->p - s->done));
	s->out += s->p - s->done;
	*s->out = '\0';
	need = (size_t)(s->out - c->buf) + 1;
	s->out = NULL;
	return cJSON_ParseWithLengthOpts(c->buf, need, NULL, 1);
}

static bool part(Conv *c, Json *j);

static bool
largekey(Conv *c, Json *j, Json *v)
{
	cJSON *name = chunk(c);
	bool ok = name && addkey(c, j, v, name->valuestring);

	cJSON_Delete(name);
	blanks(&c->scan);
	c->scan.p++;            /* the colon */
	return ok;
}

/* An array or object too long for cJSON: its elements one by one.  The text
 * was checked, so that brackets and commas are where they should be. */
static bool
large(Conv *c, Json *j)
{
	Scan *s = &c->scan;
	VEC(Json *) v = {0};
	VEC(Str) key = {0};

	j->kind = *s->p == '{' ? JsonObject : JsonArray;
	if (j->kind == JsonObject)
		j->map = NEW(c->a, Map);
	do {
		Json *e = NEW(c->a, Json);
		s->p++;         /* the bracket or comma */
		blanks(s);
		vec_push(c->a, &v, e);
		j->v = v.v;
		if (j->kind == JsonObject) {
			vec_push(c->a, &key, NULL);
			j->key = key.v;
			if (!largekey(c, j, e))
				return false;
		} else {
			j->n++;
		}
		if (!part(c, e))
			return false;
		blanks(s);
	} while (*s->p == ',');
	s->p++;
	return true;
}

static bool
part(Conv *c, Json *j)
{
	cJSON *tree;
	bool ok;

	blanks(&c->scan);
	if (arena_bytes(c->a) > c->most) {
		c->err = "too many values for its size";
		return false;
	}
	if (c->large < c->scan.large.n && c->scan.p == c->scan.large.v[c->large]) {
		c->large++;
		return large(c, j);
	}
	tree = chunk(c);
	ok = tree && convert(c, tree, j);
	cJSON_Delete(tree);
	return ok;
}

static Json *
build(Ctx *cx, const char *what, const Scan *s)
{
	Conv c = { .cx = cx, .a = ctx_arena(cx), .scan = *s };
	Json *j = NEW(c.a, Json);
	bool ok;

	c.most = arena_bytes(c.a) + most(s);
	c.scan.p = s->s;
	c.scan.a = NULL;
	c.c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	ok = part(&c, j);
	freelocale(c.c);
	free(c.buf);
	if (!ok)
		error(cx, NOLOC, "%s: JSON: %s", what, c.err ? c.err : "no memory");
	return ok ? j : NULL;
}

Json *
json_parse(Ctx *cx, const char *what, const char *text, size_t n, bool bareinf)
{
	Scan c = { .s = text, .p = text, .end = text + n, .bareinf = bareinf };
	Json *j = NULL;

	if (n > 1u << 30) {
		error(cx, NOLOC, "%s: JSON: larger than 1 GiB", what);
		return NULL;
	}
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		c.s = c.p = text + 3;
	c.a = arena_new();
	if (check(&c))
		j = build(cx, what, &c);
	else
		error(cx, NOLOC, "%s: JSON: byte %zu: %s", what, (size_t)(c.p - text), c.err);
	arena_free(c.a);
	return j;
}
