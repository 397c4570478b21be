/* json.c - strict JSON with exact integers.
 *
 * cJSON builds the tree, but it is lax (01, 1., raw control characters) and keeps
 * every number as a double, while exported graphs are full of 9223372036854775807.
 * So a scan of our own comes first: it checks the grammar to the letter of RFC
 * 8259, bounds depth and memory, and writes a copy in which a number that cJSON
 * would spoil is a string beginning with the byte FF.  No UTF-8 text contains
 * that byte, so the mark cannot be forged.  Then the cJSON tree is turned into
 * ours: keys interned, large objects hashed, duplicate keys rejected.
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
	NodeBytes = 208,        /* a value's cost: in cJSON's tree and in ours */
	MaxBytes = 192 << 20,   /* of values, beyond twice the text's size */
	SmallObject = 8,        /* up to here keys are compared one by one */
	Mark = 0xff,
};

typedef struct Scan {
	const char *s, *p, *end;
	bool bareinf;
	int64_t nvalue;
	size_t nmark;           /* numbers to be quoted */
	char *out;              /* NULL: only check and count */
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
	c->nmark++;
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

static bool
value(Scan *c, int depth)
{
	const char *from;

	if (depth > MaxDepth)
		return fail(c, "nested deeper than 256");
	blanks(c);
	if (++c->nvalue * NodeBytes > MaxBytes + 2 * (c->end - c->s))
		return fail(c, "too many values for its size");
	from = c->p;
	if (c->p == c->end)
		return fail(c, "a value is missing");
	switch (*c->p) {
	case '{':
		return list(c, depth, '}');
	case '[':
		return list(c, depth, ']');
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
scan(Scan *c, char *out)
{
	c->p = c->done = c->s;
	c->out = out;
	c->nvalue = 0;
	c->nmark = 0;
	if (!value(c, 0))
		return false;
	blanks(c);
	if (c->p != c->end)
		return fail(c, "text after the value");
	if (c->out) {
		memcpy(c->out, c->done, (size_t)(c->end - c->done));
		c->out += c->end - c->done;
		*c->out = '\0';
	}
	return true;
}

/* ---- from cJSON's tree to ours ------------------------------------------- */

typedef struct Conv { Ctx *cx; Arena *a; locale_t c; const char *err; } Conv;

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

static Json *
build(Ctx *cx, const char *what, const char *text, size_t n)
{
	Conv c = {.cx = cx, .a = ctx_arena(cx)};
	cJSON *tree = cJSON_ParseWithLengthOpts(text, n + 1, NULL, 1);
	Json *j = NEW(c.a, Json);
	bool ok;

	if (tree == NULL) {
		error(cx, NOLOC, "%s: JSON: no memory for %zu bytes of text", what, n);
		return NULL;
	}
	c.c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	ok = convert(&c, tree, j);
	freelocale(c.c);
	cJSON_Delete(tree);
	if (!ok)
		error(cx, NOLOC, "%s: JSON: %s", what, c.err);
	return ok ? j : NULL;
}

Json *
json_parse(Ctx *cx, const char *what, const char *text, size_t n, bool bareinf)
{
	Scan c = {.s = text, .end = text + n, .bareinf = bareinf};
	char *copy;
	Json *j;

	if (n > 1u << 30) {
		error(cx, NOLOC, "%s: JSON: larger than 1 GiB", what);
		return NULL;
	}
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		c.s += 3;
	if (!scan(&c, NULL)) {
		error(cx, NOLOC, "%s: JSON: byte %zu: %s", what,
		      (size_t)(c.p - text), c.err);
		return NULL;
	}
	/* a mark adds two quotes and its byte */
	copy = malloc((size_t)(c.end - c.s) + 3 * c.nmark + 1);
	if (copy == NULL) {
		error(cx, NOLOC, "%s: JSON: no memory for %zu bytes of text", what, n);
		return NULL;
	}
	scan(&c, copy);
	j = build(cx, what, copy, (size_t)(c.out - copy));
	free(copy);
	return j;
}
