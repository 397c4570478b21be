/* text.c - growing text, and numbers as Python prints them.
 */
#include <math.h>
#include <stdlib.h>
#include "base/base.h"

static void
room(Text *t, size_t more)
{
	size_t cap = t->cap ? t->cap : 64;
	char *s;

	if (more < t->cap - t->n)
		return;
	while (cap - t->n <= more)
		cap *= 2;
	s = arena_alloc(t->arena, cap, 1);
	if (t->n)
		memcpy(s, t->s, t->n);
	t->s = s;
	t->cap = cap;
}

void
text_put(Text *t, const char *s, size_t n)
{
	room(t, n);
	if (n)
		memcpy(t->s + t->n, s, n);
	t->n += n;
	t->s[t->n] = 0;
}

void
text_add(Text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->cap ? t->s + t->n : NULL, t->cap - t->n, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= t->cap - t->n) {
		room(t, (size_t)n);
		va_start(ap, fmt);
		vsnprintf(t->s + t->n, t->cap - t->n, fmt, ap);
		va_end(ap);
	}
	t->n += (size_t)n;
}

/* The fewest significant digits that read back as x, with the exponent of the
 * first: "12345e-2" is digits "12345", exponent 2.  Every decimal of 15 digits
 * survives the way through a normal double, so if 15 do, the shorter ones are
 * those with the zeros cut; only subnormals need the search from 1. */
static int
shortest(double x, char digit[32], int *exp10)
{
	int n = 0;
	char buf[40], *e;

	for (int p = fabs(x) < 0x1p-1022 ? 1 : 15; p <= 17; p++) {
		snprintf(buf, sizeof buf, "%.*e", p - 1, x);
		if (strtod(buf, NULL) == x)
			break;
	}
	e = strchr(buf, 'e');
	*exp10 = (int)strtol(e + 1, NULL, 10);
	for (char *p = buf; p < e; p++)
		if (*p != '.' && *p != '-')
			digit[n++] = *p;
	while (n > 1 && digit[n - 1] == '0')
		n--;
	digit[n] = 0;
	return n;
}

int
double_str(char buf[32], double x)
{
	char d[32];
	const char *sign = signbit(x) ? "-" : "";
	int n, e;

	if (isnan(x))
		return snprintf(buf, 32, "nan");
	if (isinf(x))
		return snprintf(buf, 32, "%sinf", sign);
	n = shortest(x, d, &e);
	if (e < -4 || e >= 16)
		return snprintf(buf, 32, "%s%c%s%.16se%c%02d", sign, d[0],
		                n > 1 ? "." : "", d + 1, e < 0 ? '-' : '+',
		                abs(e));
	if (e < 0)
		return snprintf(buf, 32, "%s0.%.*s%.17s", sign, -e - 1, "000",
		                d);
	if (n <= e + 1)
		return snprintf(buf, 32, "%s%.17s%.*s.0", sign, d, e + 1 - n,
		                "0000000000000000");
	return snprintf(buf, 32, "%s%.*s.%.16s", sign, e + 1, d, d + e + 1);
}
