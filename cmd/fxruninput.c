/* fxruninput.c - the inputs of a call from the words of the command line.
 *
 * Words are taken in the order of the signature, NAME=... out of order.  A word that
 * fills (rand, zeros, arange) stands for one input, the last word, if it is one, for
 * all that are left.  What rand draws is the same everywhere: splitmix64 of the seed,
 * the input's place and the element; floats in [-1, 1), integers and bools 0 or 1, which
 * are good indices of any table.
 */
#include <errno.h>
#include <stdlib.h>
#include "fxrun.h"

static bool
isfill(const char *s)
{
	return strcmp(s, "rand") == 0 || strcmp(s, "zeros") == 0 || strcmp(s, "arange") == 0;
}

static bool
complain(const char *fmt, const char *a, const char *b)
{
	fputs("fxrun: ", stderr);
	fprintf(stderr, fmt, a, b);
	fputc('\n', stderr);
	return false;
}

/* A free size: from --dim, or the least that is allowed but no special 0 or 1. */
static int64_t
free_size(const Run *r, const char *sym, int64_t lo)
{
	size_t n = strlen(sym);

	for (int i = r->dim.n - 1; i >= 0; i--)
		if (strncmp(r->dim.v[i], sym, n) == 0 && r->dim.v[i][n] == '=')
			return strtoll(r->dim.v[i] + n + 1, NULL, 10);
	return lo > 2 ? lo : 2;
}

static uint64_t
splitmix(uint64_t seed, uint64_t i)
{
	uint64_t z = seed + (i + 1) * UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

static void
fill_complex(Tensor *t, int64_t i, double v)
{
	if (t->dt == DtC64)
		((float *)t->data)[2 * i] = (float)v;
	else
		((double *)t->data)[2 * i] = v;
}

static bool
fill(Run *r, const Slot *s, int place, const char *how, Tensor *t)
{
	int64_t n = 1;

	*t = (Tensor){.dt = s->dt, .rank = s->rank};
	for (int d = 0; d < s->rank; d++) {
		t->dim[d] = s->dim[d] >= 0 ? s->dim[d] : free_size(r, s->sym[d], s->lo[d]);
		if (t->dim[d] < 0 || !mul_ok(n, t->dim[d], &n) || n > INT64_C(1) << 40)
			return complain("%s: too large to fill%s", s->name, "");
	}
	t->bytes = (size_t)n * dtypeinfo[t->dt].bytes;
	t->data = artifact_memory(t->bytes);
	for (int64_t i = 0; *how != 'z' && i < n; i++) {
		uint64_t z = splitmix(r->seed + (uint64_t)place * 1000003, (uint64_t)i);
		double v = *how == 'a' ? (double)i : dtypeinfo[t->dt].kind <= KindInt ? (double)(z & 1) : (double)(z >> 40) * 0x1p-23 - 1.0;
		if (dtypeinfo[t->dt].kind == KindComplex)
			fill_complex(t, i, v);
		else if (t->dt == DtB8)
			tensor_seti(t, i, v != 0);
		else
			tensor_set(t, i, v);
	}
	return true;
}

static bool
from_file(Run *r, const Slot *s, const char *path, Tensor *t)
{
	File f;

	return file_read(r->cx, path, &f) && npy_read(r->cx, path, f.data, f.size, s->dt, t);
}

static bool
one(Run *r, const Slot *s, int place, const char *word, Tensor *t)
{
	char *end, *fend;
	int64_t k;
	double f;

	if (isfill(word))
		return fill(r, s, place, word, t);
	k = strtoll(word, &end, 0);
	f = strtod(word, &fend);
	if (*word && (*end == '\0' || (*fend == '\0' && !dt_int(s->dt)))) {
		if (s->rank || dtypeinfo[s->dt].kind == KindComplex)
			return complain("%s: %s is a number, a tensor is wanted", s->name, word);
		fill(r, s, place, "zeros", t);
		if (dt_int(s->dt))
			tensor_seti(t, 0, k);
		else
			tensor_set(t, 0, f);
		return true;
	}
	return from_file(r, s, word, t);
}

/* NAME of NAME=VALUE among the slots; -1. */
static int
named(const Slot *s, int n, const char *word)
{
	const char *eq = strchr(word, '=');

	for (int i = 0; eq && i < n; i++)
		if (strlen(s[i].name) == (size_t)(eq - word) && strncmp(s[i].name, word, (size_t)(eq - word)) == 0)
			return i;
	return -1;
}

bool
run_inputs(Run *r, const Slot *slot, int n, Tensor *in)
{
	const char **word = NEWN(ctx_arena(r->cx), const char *, n + 1), *rest = NULL;
	int next = 0;

	for (int i = 0; i < r->in.n; i++) {
		int k = named(slot, n, r->in.v[i]);
		if (k >= 0)
			word[k] = strchr(r->in.v[i], '=') + 1;
	}
	for (int i = 0; i < r->in.n; i++) {
		const char *w = r->in.v[i];
		if (named(slot, n, w) >= 0)
			continue;
		while (next < n && word[next])
			next++;
		if (isfill(w) && i + 1 == r->in.n)
			rest = w;
		else if (next == n)
			return complain("too many inputs: %s%s", w, "");
		else
			word[next++] = w;
	}
	for (int i = 0; i < n; i++) {
		if (word[i] == NULL && (word[i] = rest) == NULL)
			return complain("no value for input %s%s", slot[i].name, "");
		if (!one(r, &slot[i], i, word[i], &in[i]))
			return false;
	}
	return true;
}
