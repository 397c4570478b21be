/* map.c - the growing list and the map from pointers.
 *
 * Both keep their memory in an arena and leave the old copy there when they
 * grow: at most as much again as what is in use.
 */
#include <limits.h>
#include <stdlib.h>
#include "base/base.h"

void *
vec_grow(Arena *a, void *old, int *cap, size_t elem)
{
	int n = *cap, bigger = n < 8 ? 8 : n <= INT_MAX / 2 ? 2 * n : INT_MAX;
	void *v = arena_alloc(a, elem * (size_t)bigger, 16);

	if (n == INT_MAX)
		abort();
	if (n)
		memcpy(v, old, elem * (size_t)n);
	*cap = bigger;
	return v;
}

/* Pointers differ in the middle bits: multiply by 2^64/phi and take the top. */
static int
slot(const Map *m, const void *key)
{
	uint64_t h = (uint64_t)(uintptr_t)key * UINT64_C(0x9e3779b97f4a7c15);
	int i = (int)(h >> 33) & (m->cap - 1);

	while (m->slot[i].key && m->slot[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return i;
}

void *
map_get(const Map *m, const void *key)
{
	return m->cap ? m->slot[slot(m, key)].val : NULL;
}

static void
grow(Arena *a, Map *m)
{
	Map old = *m;

	m->cap = old.cap ? 2 * old.cap : 16;
	m->slot = arena_alloc(a, sizeof *m->slot * (size_t)m->cap, 16);
	for (int i = 0; i < old.cap; i++)
		if (old.slot[i].key)
			m->slot[slot(m, old.slot[i].key)] = old.slot[i];
}

void
map_put(Arena *a, Map *m, const void *key, void *val)
{
	int i;

	if (2 * (m->n + 1) > m->cap)
		grow(a, m);
	i = slot(m, key);
	if (m->slot[i].key == NULL) {
		m->slot[i].key = key;
		m->n++;
	}
	m->slot[i].val = val;
}
