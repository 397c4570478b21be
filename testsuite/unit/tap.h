/* tap.h - what the unit tests share: count, print TAP, say where it failed.
 */
#ifndef TAP_H
#define TAP_H
#include <stdio.h>
#include <string.h>

static int ntest, nfail;

#define OK(cond) tap(cond, #cond, __FILE__, __LINE__)
#define STREQ(a, b) streq(a, b, #a, __FILE__, __LINE__)

static inline void
tap(int ok, const char *what, const char *file, int line)
{
	ntest++;
	nfail += !ok;
	printf("%sok %d - %s\n", ok ? "" : "not ", ntest, what);
	if (!ok)
		printf("# %s:%d\n", file, line);
}

static inline void
streq(const char *a, const char *b, const char *what, const char *file, int line)
{
	int ok = a && strcmp(a, b) == 0;

	tap(ok, what, file, line);
	if (!ok)
		printf("#   got: %s\n#  want: %s\n", a ? a : "(null)", b);
}

static inline int
tap_end(void)
{
	printf("1..%d\n", ntest);
	return nfail != 0;
}
#endif
