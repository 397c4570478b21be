/* bytes.h - little-endian numbers and text checks of the readers.
 */
#ifndef BYTES_H
#define BYTES_H
#include "base/base.h"

static inline uint32_t
u16le(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t
u32le(const uint8_t *p)
{
	return u16le(p) | u16le(p + 2) << 16;
}

static inline uint64_t
u64le(const uint8_t *p)
{
	return u32le(p) | (uint64_t)u32le(p + 4) << 32;
}

/* The length of the UTF-8 sequence at p, 0 if it is none. */
int  utf8_len(const char *p, size_t left);
bool utf8_ok(const char *s, size_t n);
#endif
