/* arena.c - memory that is freed all at once.
 *
 * A list of chunks, each twice the one before up to a limit; a request that does
 * not fit the newest chunk gets a new one.  Chunks come from calloc, so fresh
 * memory is zero without being touched, and a large one costs address space only.
 */
#include <stdlib.h>
#include <unistd.h>
#include "base/base.h"

enum { FirstChunk = 1 << 15, LastChunk = 1 << 22 };

typedef struct Chunk {
	struct Chunk *next;
	size_t size, used;       /* bytes of mem */
	_Alignas(16) char mem[];
} Chunk;

struct Arena {
	Chunk *chunk;            /* newest first */
	size_t grow;             /* size of the next chunk */
	size_t bytes;
};

/* There is nobody to report to: an arena has no Ctx, and a report needs memory. */
static _Noreturn void
nomem(void)
{
	static const char msg[] = "fxcc: error: out of memory\n";

	if (write(STDERR_FILENO, msg, sizeof msg - 1) < 0)
		_Exit(4);
	abort();
}

Arena *
arena_new(void)
{
	Arena *a = calloc(1, sizeof *a);

	if (a == NULL)
		nomem();
	a->grow = FirstChunk;
	return a;
}

static Chunk *
chunk(Arena *a, size_t size)
{
	Chunk *c;

	if (size > SIZE_MAX / 2)
		nomem();
	c = calloc(1, sizeof *c + size);
	if (c == NULL)
		nomem();
	c->size = size;
	a->bytes += size;
	return c;
}

/* A request that takes much of a chunk gets its own, put behind the newest so
 * that the rest of that one is still used. */
static void *
large(Arena *a, size_t size)
{
	Chunk *c = chunk(a, size);

	c->used = size;
	if (a->chunk) {
		c->next = a->chunk->next;
		a->chunk->next = c;
	} else
		a->chunk = c;
	return c->mem;
}

void *
arena_alloc(Arena *a, size_t size, size_t align)
{
	Chunk *c = a->chunk;
	size_t at;

	if (size == 0)
		size = 1;
	if (align > 16)
		align = 16;
	at = c ? (c->used + align - 1) & ~(align - 1) : 0;
	if (c == NULL || at > c->size || size > c->size - at) {
		if (size > a->grow / 4)
			return large(a, size);
		c = chunk(a, a->grow);
		c->next = a->chunk;
		a->chunk = c;
		if (a->grow < LastChunk)
			a->grow *= 2;
		at = 0;
	}
	c->used = at + size;
	return c->mem + at;
}

void
arena_free(Arena *a)
{
	if (a == NULL)
		return;
	for (Chunk *c = a->chunk, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(a);
}

size_t
arena_bytes(const Arena *a)
{
	return a->bytes;
}

void *
arena_dup(Arena *a, const void *p, size_t n)
{
	void *q = arena_alloc(a, n, 16);

	if (n)
		memcpy(q, p, n);
	return q;
}

char *
arena_vprintf(Arena *a, const char *fmt, va_list ap)
{
	va_list again;
	int n;
	char *s;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		n = 0;
	s = arena_alloc(a, (size_t)n + 1, 1);
	vsnprintf(s, (size_t)n + 1, fmt, ap);
	return s;
}

char *
arena_printf(Arena *a, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return s;
}
