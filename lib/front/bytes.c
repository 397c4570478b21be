/* bytes.c - UTF-8 as RFC 3629 has it: shortest form, no surrogates.
 */
#include "front/bytes.h"

int
utf8_len(const char *s, size_t left)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t c = p[0], least;
	int n;

	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	least = n == 2 ? 0x80 : n == 3 ? 0x800 : 0x10000;
	if (left < (size_t)n)
		return 0;
	c &= 0xffu >> (n + 1);
	for (int i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	return c < least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

bool
utf8_ok(const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		int k = utf8_len(s + i, n - i);
		if (k == 0)
			return false;
		i += (size_t)k;
	}
	return true;
}
