/* weights.c - see weights.h.
 *
 * A .safetensors file: 8 bytes with the length of a JSON text, the text, the data.  The text maps
 * names to {"dtype":"F32","shape":[2,3],"data_offsets":[from,to]}.
 */
#include "weights.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct { unsigned char code, bits; const char *name; } dtypes[] = {
	{2, 32, "F32"}, {2, 64, "F64"}, {2, 16, "F16"}, {4, 16, "BF16"}, {0, 64, "I64"}, {0, 32, "I32"},
	{0, 16, "I16"}, {0, 8, "I8"}, {1, 8, "U8"}, {6, 8, "BOOL"},
};

static const char *
dtype(DLDataType t)
{
	for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
		if (dtypes[i].code == t.code && dtypes[i].bits == t.bits)
			return dtypes[i].name;
	return NULL;
}

static int
wanted(const char *fqn, const char *prefix)
{
	if (*prefix == '!')
		return strncmp(fqn, prefix + 1, strlen(prefix + 1)) != 0;
	return strncmp(fqn, prefix, strlen(prefix)) == 0;
}

/* ---- saving -------------------------------------------------------------- */

static void
entry(FILE *f, const fxcc_tensor_info *t, uint64_t *at, int first)
{
	fprintf(f, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", first ? "{" : ",", t->fqn, dtype(t->dtype));
	for (int d = 0; d < t->ndim; d++)
		fprintf(f, "%s%lld", d ? "," : "", (long long)t->dim[d].value);
	fprintf(f, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)*at, (unsigned long long)(*at + t->nbytes));
	*at += t->nbytes;
}

/* The text, padded so that the data begin at a multiple of 8; the length goes in front at last. */
static void
write_all(FILE *f, const char *prefix, const fxcc_module *m, void *ctx)
{
	uint64_t at = 0, n = 0;
	int first = 1;

	fwrite(&n, 8, 1, f);
	for (int i = 0; i < m->nstate; i++)
		if (wanted(m->state[i].fqn, prefix)) {
			entry(f, &m->state[i], &at, first);
			first = 0;
		}
	fputs(first ? "{}" : "}", f);
	while (ftell(f) % 8)
		putc(' ', f);
	n = (uint64_t)ftell(f) - 8;
	for (int i = 0; i < m->nstate; i++)
		if (wanted(m->state[i].fqn, prefix))
			fwrite(m->state_data(ctx, i), 1, (size_t)m->state[i].nbytes, f);
	fseek(f, 0, SEEK_SET);
	fwrite(&n, 8, 1, f);
}

const char *
weights_save(const char *path, const char *prefix, const fxcc_module *m, void *ctx)
{
	FILE *f;

	for (int i = 0; i < m->nstate; i++)
		if (dtype(m->state[i].dtype) == NULL)
			return "a dtype that .safetensors does not have";
	f = fopen(path, "wb");
	if (f == NULL)
		return strerror(errno);
	write_all(f, prefix, m, ctx);
	int bad = ferror(f);
	return fclose(f) || bad ? strerror(errno) : NULL;
}

/* ---- loading -------------------------------------------------------------- */

/* Where the entry of a name begins; names of ours need no escapes. */
static const char *
find(const char *text, const char *fqn)
{
	size_t n = strlen(fqn);

	for (const char *p = text; (p = strstr(p, fqn)) != NULL; p++)
		if (p > text && p[-1] == '"' && p[n] == '"' && p[n + 1 + strspn(p + n + 1, " ")] == ':')
			return p + n;
	return NULL;
}

static int
matches(const char *p, const fxcc_tensor_info *t, uint64_t *from)
{
	const char *end = strchr(p, '}'), *d = strstr(p, "\"dtype\""), *o = strstr(p, "\"data_offsets\"");
	unsigned long long a, b;
	size_t n = strlen(dtype(t->dtype));

	if (end == NULL || d == NULL || o == NULL || d > end || o > end)
		return 0;
	d += 7 + strspn(d + 7, ": \"");
	if (strncmp(d, dtype(t->dtype), n) != 0 || d[n] != '"')
		return 0;
	o = strchr(o, '[');
	if (o == NULL || sscanf(o, "[ %llu , %llu ]", &a, &b) != 2 || b - a != t->nbytes)
		return 0;
	*from = a;
	return 1;
}

static const char *
load(FILE *f, char *text, uint64_t len, const fxcc_module *m, void *ctx, int *n)
{
	for (int i = 0; i < m->nstate; i++) {
		const fxcc_tensor_info *t = &m->state[i];
		const char *p = find(text, t->fqn);
		uint64_t from;
		if (p == NULL)
			continue;
		if (!matches(p, t, &from))
			return t->fqn;
		if (fseek(f, (long)(8 + len + from), SEEK_SET) || fread(m->state_data(ctx, i), 1, (size_t)t->nbytes, f) != t->nbytes)
			return "cut short";
		++*n;
	}
	return NULL;
}

const char *
weights_load(const char *path, const fxcc_module *m, void *ctx, int *n)
{
	FILE *f = fopen(path, "rb");
	const char *wrong = "not a .safetensors file";
	char *text = NULL;
	uint64_t len;

	*n = 0;
	if (f == NULL)
		return strerror(errno);
	if (fread(&len, 8, 1, f) == 1 && len < 1 << 26 && (text = malloc((size_t)len + 1)) != NULL && fread(text, 1, (size_t)len, f) == len) {
		text[len] = '\0';
		wrong = load(f, text, len, m, ctx, n);
	}
	free(text);
	fclose(f);
	return wrong;
}
