/* print.c - print: values written to standard output.
 *
 * num: the text, seven characters in each, and for a tensor -1, its rank and its sizes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "rt/element.h"

enum { Width = 7 };

/* As Python writes it: the fewest digits that read back. */
static void
number(const void *p, int dt, int64_t i, int alone)
{
	char s[40];
	int isint = element_isint(dt), digits = 1;
	int64_t k = isint ? element_int(dt, p, i) : 0;
	double v = isint ? 0 : element_float(dt, p, i);

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
