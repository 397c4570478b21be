/* print.c - print: values written to standard output.
 *
 * num: the text, seven characters in each, and for a tensor -1, its rank and its sizes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "rt.h"

enum { Width = 7 };

static double
half(uint16_t h)
{
	int e = h >> 10 & 31, m = h & 1023;
	double v = e == 31 ? (m ? 0.0/0.0*0 : 1.0e300*1.0e300) : e ? (1024 + m)*1.0 : m*1.0;

	for (int k = e ? e : 1; e != 31 && k < 25; k++)
		v /= 2;
	for (int k = 25; e != 31 && k < e; k++)
		v *= 2;
	return h >> 15 ? -v : v;
}

/* Element i; *isint: it is exact. */
static double
element(const void *p, int dt, int64_t i, int *isint, int64_t *k)
{
	uint32_t bits;
	float f;

	*isint = 1;
	switch (dt) {
	case FxB8: case FxU8: *k = ((const uint8_t *)p)[i]; return 0;
	case FxI8:  *k = ((const int8_t *)p)[i]; return 0;
	case FxI16: *k = ((const int16_t *)p)[i]; return 0;
	case FxU16: *k = ((const uint16_t *)p)[i]; return 0;
	case FxI32: *k = ((const int32_t *)p)[i]; return 0;
	case FxU32: *k = ((const uint32_t *)p)[i]; return 0;
	case FxI64: case FxU64: *k = ((const int64_t *)p)[i]; return 0;
	}
	*isint = 0;
	switch (dt) {
	case FxF32: return (double)((const float *)p)[i];
	case FxF64: return ((const double *)p)[i];
	case FxBF16:
		bits = (uint32_t)((const uint16_t *)p)[i] << 16;
		memcpy(&f, &bits, 4);
		return (double)f;
	case FxF16: return half(((const uint16_t *)p)[i]);
	default:    return 0.0;
	}
}

/* As Python writes it: the fewest digits that read back. */
static void
number(const void *p, int dt, int64_t i, int alone)
{
	char s[40];
	int isint, digits = 1;
	int64_t k = 0;
	double v = element(p, dt, i, &isint, &k);

	if (dt == FxB8)
		fputs(k ? "True" : "False", stdout);
	else if (isint)
		printf("%lld", (long long)k);
	else if (!alone)
		printf(v == (double)(long long)(v > -1e9 && v < 1e9 ? v : 0.5) ? "%.0f." : "%.4f", v);
	else {
		do
			snprintf(s, sizeof s, "%.*g", digits, v);
		while (strtod(s, NULL) != v && digits++ < 17);
		if (strchr(s, 'e') && (v < 0 ? -v : v) >= 1e-4 && (v < 0 ? -v : v) < 1e16) {
			int decimals = digits - 1 - (int)strtol(strchr(s, 'e') + 1, NULL, 10);
			snprintf(s, sizeof s, "%.*f", decimals > 0 ? decimals : 0, v);
		}
		fputs(s, stdout);
		if (!strpbrk(s, ".en"))
			fputs(".0", stdout);
	}
}

static int64_t
tensor(const void *p, int dt, const int64_t *dim, int rank, int64_t at)
{
	if (rank == 0) {
		number(p, dt, at, 0);
		return at + 1;
	}
	putchar('[');
	for (int64_t i = 0; i < dim[0]; i++) {
		if (i)
			fputs(", ", stdout);
		at = tensor(p, dt, dim + 1, rank - 1, at);
	}
	putchar(']');
	return at;
}

int
fxrt_print(const fxrt_call *c)
{
	int b = 0;

	for (int i = 0; i < c->nnum; i++) {
		if (c->num[i] >= 0) {
			for (int k = 0; k < Width && (c->num[i] >> 8 * k & 255); k++)
				putchar((int)(c->num[i] >> 8 * k & 255));
			continue;
		}
		int rank = (int)c->num[i + 1];
		if (rank == 0)
			number(c->buf[b], c->dt[b], 0, 1);
		else {
			fputs("tensor(", stdout);
			tensor(c->buf[b], c->dt[b], c->num + i + 2, rank, 0);
			putchar(')');
		}
		b++;
		i += 1 + rank;
	}
	putchar('\n');
	return 0;
}
