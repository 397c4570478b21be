/* textlex.c - tokens of Form B.
 *
 * Python's tokens as far as printed graphs have them: names, numbers, strings,
 * operators, ends of lines (none inside brackets).  Comments are kept aside with
 * their places: some say which line of the user's program a node comes from.
 * Form B has no operator precedence, so the minus of a negative literal is left
 * to the parser.
 */
#include "front/text.h"
#include <ctype.h>

static bool
isname(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static Tok *
push(Reader *r, Toks *t, enum tok kind, size_t off, size_t len)
{
	bool line = t->n == 0 || t->v[t->n - 1].kind == TkNewline;

	vec_push(r->a, t, (Tok){.kind = kind, .off = (uint32_t)off, .len = (uint32_t)len, .line = line});
	return &t->v[t->n - 1];
}

static void
comment(Reader *r, Toks *t, size_t off, size_t len)
{
	if (t->nc == t->ccap)
		t->c = vec_grow(r->a, t->c, &t->ccap, sizeof *t->c);
	t->c[t->nc++] = (Comment){(uint32_t)off, (uint32_t)len};
}

static size_t
number(const char *s, size_t i, size_t end, enum tok *kind)
{
	*kind = TkInt;
	if (s[i] == '0' && i + 1 < end && (s[i + 1] == 'x' || s[i + 1] == 'X')) {
		for (i += 2; i < end && isxdigit((unsigned char)s[i]); i++)
			;
		return i;
	}
	for (; i < end; i++) {
		if (isdigit((unsigned char)s[i]) || (s[i] == '_' && i + 1 < end && isdigit((unsigned char)s[i + 1])))
			continue;
		if (s[i] == '.' && *kind == TkInt) {
			*kind = TkFloat;
			continue;
		}
		if (s[i] != 'e' && s[i] != 'E')
			break;
		size_t j = i + 1;
		if (j < end && (s[j] == '-' || s[j] == '+'))
			j++;
		if (j == end || !isdigit((unsigned char)s[j]))
			break;
		*kind = TkFloat;
		for (i = j; i + 1 < end && isdigit((unsigned char)s[i + 1]); i++)
			;
	}
	if (i < end && (s[i] == 'j' || s[i] == 'J')) {
		*kind = TkImag;
		i++;
	}
	return i;
}

/* End of the string whose opening quote is at i; 0: not closed. */
static size_t
string(const char *s, size_t i, size_t end)
{
	char q = s[i];

	if (end - i >= 6 && s[i + 1] == q && s[i + 2] == q) {
		for (i += 3; i + 2 < end; i++)
			if (s[i] == q && s[i + 1] == q && s[i + 2] == q)
				return i + 3;
		return 0;
	}
	for (i++; i < end && s[i] != '\n'; i++) {
		if (s[i] == '\\')
			i++;
		else if (s[i] == q)
			return i + 1;
	}
	return 0;
}

/* The longest operator at s. */
static size_t
operator(const char *s, size_t n)
{
	static const char *const ops[] = {
		"**=", "//=", "<<=", ">>=", "...", "**", "//", "<<", ">>", "->", "==", "!=", "<=", ">=",
		"+=", "-=", "*=", "/=", "%=", "@=", "&=", "|=", "^=", ":=",
	};

	for (int i = 0; i < COUNT(ops); i++) {
		size_t l = strlen(ops[i]);

		if (l <= n && memcmp(s, ops[i], l) == 0)
			return l;
	}
	return *s && strchr("+-*/%@&|^~<>=()[]{},.:;", *s) ? 1 : 0;
}

bool
formb_lex(Reader *r, const char *s, size_t begin, size_t end, Toks *t)
{
	int depth = 0;
	enum tok kind;

	t->s = s;
	for (size_t i = begin, e; i < end; i = e) {
		char c = s[i];

		e = i + 1;
		if (c == '\n') {
			if (depth == 0 && t->n && t->v[t->n - 1].kind != TkNewline)
				push(r, t, TkNewline, i, 1);
		} else if (isspace((unsigned char)c)) {
			continue;
		} else if (c == '\\' && e < end && s[e] == '\n') {
			e++;
		} else if (c == '#') {
			while (e < end && s[e] != '\n')
				e++;
			comment(r, t, i, e - i);
		} else if (c == '"' || c == '\'' || ((c == 'r' || c == 'b') && e < end && (s[e] == '"' || s[e] == '\''))) {
			e = string(s, i + (c == 'r' || c == 'b'), end);
			if (e == 0) {
				error(r->cx, loc_at(r->cx, r->file, i), "string is not closed");
				return false;
			}
			push(r, t, TkStr, i, e - i);
		} else if (isdigit((unsigned char)c) || (c == '.' && e < end && isdigit((unsigned char)s[e]))) {
			e = number(s, i, end, &kind);
			push(r, t, kind, i, e - i);
		} else if (isname(c)) {
			while (e < end && isname(s[e]))
				e++;
			push(r, t, TkName, i, e - i);
		} else {
			size_t n = operator(s + i, end - i);

			if (n == 0) {
				error(r->cx, loc_at(r->cx, r->file, i), "unexpected character '%c'", c);
				return false;
			}
			e = i + n;
			memcpy(push(r, t, TkOp, i, n)->op, s + i, n);
			if (n == 1)
				depth += strchr("([{", c) ? 1 : strchr(")]}", c) && depth ? -1 : 0;
		}
	}
	push(r, t, TkNewline, end, 0);
	push(r, t, TkEof, end, 0);
	return true;
}

static void
utf8(Text *t, uint32_t c)
{
	static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
	int n = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	char b[4];

	b[0] = (char)(lead[n] | (c >> 6 * n & 0x7f));
	for (int i = 1; i <= n; i++)
		b[i] = (char)(0x80 | (c >> 6 * (n - i) & 63));
	text_put(t, b, (size_t)n + 1);
}

/* Up to max digits of the base at *p. */
static uint32_t
digits(const char **p, const char *end, int max, int base)
{
	uint32_t v = 0;

	for (int i = 0; i < max && *p < end && isxdigit((unsigned char)**p); i++, ++*p) {
		char c = **p;
		int d = isdigit((unsigned char)c) ? c - '0' : (c | 32) - 'a' + 10;

		if (d >= base)
			break;
		v = v * (uint32_t)base + (uint32_t)d;
	}
	return v;
}

Str
formb_unquote(Reader *r, const Toks *toks, const Tok *k)
{
	const char *p = toks->s + k->off, *end = p + k->len;
	bool raw = *p == 'r';
	int q;
	Text t = {.arena = r->a};
	static const char from[] = "nrtabfv\\'\"", to[] = "\n\r\t\a\b\f\v\\'\"";

	if (*p == 'b') {
		error(r->cx, loc_at(r->cx, r->file, k->off), "bytes are not supported here");
		return NULL;
	}
	p += raw;
	q = end - p >= 6 && p[1] == *p && p[2] == *p ? 3 : 1;
	p += q, end -= q;
	text_put(&t, "", 0);
	while (p < end) {
		const char *m;

		if (raw || *p != '\\') {
			text_put(&t, p++, 1);
			continue;
		}
		if (++p == end)
			break;
		if (*p && (m = strchr(from, *p))) {
			text_put(&t, &to[m - from], 1);
			p++;
		} else if (*p == 'x' || *p == 'u' || *p == 'U') {
			int n = *p == 'x' ? 2 : *p == 'u' ? 4 : 8;

			p++;
			utf8(&t, digits(&p, end, n, 16));
		} else if (*p >= '0' && *p <= '7') {
			utf8(&t, digits(&p, end, 3, 8));
		} else if (*p == '\n') {
			p++;
		} else {
			text_put(&t, p - 1, 2);
			p++;
		}
	}
	return intern(r->cx, t.s ? t.s : "", t.n);
}
