/* artifact.c - load and call a compiled library through its generic entry.
 *
 * Everything is found from the symbol fxcc_module: what the inputs are, how much
 * memory a call needs, and the functions.  Nothing here is freed: a tool makes
 * one call, or many on the same memory, and ends.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include "artifact.h"

/* A library that somebody made of the C product has no fxcc_module, but the function
 * NAME_module; NAME is tried as the stem of the file. */
static const fxcc_module *
by_name(void *h, const char *path)
{
	const char *base = strrchr(path, '/');
	char name[256];
	const fxcc_module *(*f)(void);
	size_t n;

	base = base ? base + 1 : path;
	n = strcspn(base, ".");
	snprintf(name, sizeof name, "%.*s_module", (int)n, base);
	*(void **)&f = dlsym(h, name);
	return f ? f() : NULL;
}

const fxcc_module *
artifact_load(const char *path, char *why, size_t n)
{
	char here[4096];
	const fxcc_module *m;
	void *h;

	snprintf(here, sizeof here, "%s%s", strchr(path, '/') ? "" : "./", path);
	h = dlopen(here, RTLD_NOW | RTLD_LOCAL);
	if (h == NULL) {
		snprintf(why, n, "cannot load: %s", dlerror());
		return NULL;
	}
	m = dlsym(h, "fxcc_module");
	if (m == NULL)
		m = by_name(h, path);
	if (m == NULL) {
		snprintf(why, n, "cannot load: %s has no symbol fxcc_module", path);
		return NULL;
	}
	if (m->abi_major != FXCC_ABI_MAJOR || m->size < offsetof(fxcc_module, nstate)) {
		snprintf(why, n, "cannot load: %s has ABI %u.%u, this program knows %d", path, m->abi_major, m->abi_minor, FXCC_ABI_MAJOR);
		return NULL;
	}
	return m;
}

enum dtype
artifact_dtype(DLDataType d)
{
	switch (d.code << 8 | d.bits) {
	case 6 << 8 | 8:   return DtB8;
	case 1 << 8 | 8:   return DtU8;
	case 0 << 8 | 8:   return DtI8;
	case 0 << 8 | 16:  return DtI16;
	case 0 << 8 | 32:  return DtI32;
	case 0 << 8 | 64:  return DtI64;
	case 1 << 8 | 16:  return DtU16;
	case 1 << 8 | 32:  return DtU32;
	case 1 << 8 | 64:  return DtU64;
	case 2 << 8 | 16:  return DtF16;
	case 4 << 8 | 16:  return DtBF16;
	case 2 << 8 | 32:  return DtF32;
	case 2 << 8 | 64:  return DtF64;
	case 5 << 8 | 64:  return DtC64;
	case 5 << 8 | 128: return DtC128;
	case 10 << 8 | 8:  return DtF8E4M3;
	case 12 << 8 | 8:  return DtF8E5M2;
	default:           return DtNone;
	}
}

void *
artifact_memory(size_t n)
{
	void *p = NULL;

	if (n > SIZE_MAX - 64 || posix_memalign(&p, 64, n + 64)) {
		fprintf(stderr, "out of memory: %zu bytes\n", n);
		exit(1);
	}
	memset(p, 0, n + 64);
	return p;
}

DLTensor *
artifact_tensor(DLDataType d, int rank, const int64_t *dim, const int64_t *stride, size_t bytes)
{
	DLTensor *t = artifact_memory(sizeof *t);
	int64_t *shape = artifact_memory(2 * MaxRank * sizeof *shape);

	*t = (DLTensor){artifact_memory(bytes), {1, 0}, rank, d, shape, stride ? shape + MaxRank : NULL, 0};
	for (int i = 0; i < rank; i++) {
		shape[i] = dim[i];
		shape[MaxRank + i] = stride ? stride[i] : 0;
	}
	return t;
}

void
call_new(Call *c, const fxcc_module *m, const fxcc_pool *pool)
{
	*c = (Call){.m = m, .pool = pool};
	c->in = artifact_memory(((size_t)m->nin + 1) * sizeof *c->in);
	c->out = artifact_memory(((size_t)m->nout + 1) * sizeof *c->out);
}

static bool
make_outputs(Call *c, const int64_t *const *shape, char *why, size_t n)
{
	int64_t **out = artifact_memory(((size_t)c->m->nout + 1) * sizeof *out);

	for (int i = 0; i < c->m->nout; i++)
		out[i] = artifact_memory(MaxRank * sizeof *out[i]);
	if (c->m->out_shape(shape, out, &c->err)) {
		snprintf(why, n, "out_shape: %s", c->err.msg);
		return false;
	}
	for (int i = 0; i < c->m->nout; i++) {
		const fxcc_tensor_info *o = &c->m->out[i];
		int64_t bytes = o->dtype.bits / 8;
		for (int d = 0; d < o->ndim; d++)
			if (out[i][d] < 0 || !mul_ok(bytes, out[i][d], &bytes) || bytes > INT64_C(1) << 40) {
				snprintf(why, n, "output %s has no bound on its size", o->name);
				return false;
			}
		c->out[i] = artifact_tensor(o->dtype, o->ndim, out[i], NULL, (size_t)bytes);
	}
	return true;
}

bool
call_prepare(Call *c, char *why, size_t n)
{
	const fxcc_module *m = c->m;
	const int64_t **shape = artifact_memory(((size_t)m->nin + 1) * sizeof *shape);
	fxcc_config cfg = {.size = sizeof cfg, .pool = c->pool};

	for (int i = 0; i < m->nin; i++)
		shape[i] = c->in[i]->shape;
	if (!make_outputs(c, shape, why, n))
		return false;
	if (m->arena_need(shape, &c->arena, &c->nsaved, &c->err)) {
		snprintf(why, n, "arena_need: %s", c->err.msg);
		return false;
	}
	cfg.arena = artifact_memory(c->arena);
	cfg.arena_size = c->arena;
	if (m->init(artifact_memory(m->ctx_size), m->ctx_size, m->signature, &cfg, &c->ctx, &c->err)) {
		snprintf(why, n, "init: %s", c->err.msg);
		return false;
	}
	return true;
}

bool
call_forward(Call *c, char *why, size_t n)
{
	if (c->m->forward(c->ctx, (const DLTensor *const *)c->in, c->out, c->saved, &c->err) == 0)
		return true;
	snprintf(why, n, "forward: error %d: %s", c->err.code, c->err.msg);
	return false;
}

/* Elements in any order of memory, from x's first on, row-major. */
static void
gather(const DLTensor *x, uint8_t *to)
{
	size_t width = x->dtype.bits / 8;
	int64_t n = 1, idx[MaxRank] = {0};

	for (int i = 0; i < x->ndim; i++)
		n *= x->shape[i];
	for (int64_t i = 0; i < n; i++) {
		int64_t at = 0;
		for (int k = 0; k < x->ndim; k++)
			at += idx[k] * x->strides[k];
		memcpy(to + (size_t)i * width, (uint8_t *)x->data + x->byte_offset + (size_t)at * width, width);
		for (int k = x->ndim - 1; k >= 0 && ++idx[k] == x->shape[k]; k--)
			idx[k] = 0;
	}
}

DLTensor *
call_after(const Call *c, int i)
{
	const fxcc_module *m = c->m;
	const int64_t **shape = artifact_memory(((size_t)m->nin + 1) * sizeof *shape);
	int64_t size[MaxRank], stride[MaxRank], offset = 0, bytes = c->in[i]->dtype.bits / 8;
	DLTensor x = *c->in[i], *r;

	for (int k = 0; k < m->nin; k++)
		shape[k] = c->in[k]->shape;
	if (m->in[i].flags & FXCC_RESHAPED && m->in_after(shape, i, &x.ndim, size, stride, &offset, NULL) == 0) {
		x.shape = size;
		x.strides = stride;
		x.byte_offset += (uint64_t)(offset * bytes);
	} else if (x.strides == NULL) {
		x.strides = stride;
		for (int64_t d = x.ndim, row = 1; d-- > 0; row *= x.shape[d])
			stride[d] = row;
	}
	for (int d = 0; d < x.ndim; d++)
		bytes *= x.shape[d];
	r = artifact_tensor(x.dtype, x.ndim, x.shape, NULL, (size_t)bytes);
	gather(&x, r->data);
	return r;
}

/* ---- training -------------------------------------------------------------------- */

bool
artifact_trains(const fxcc_module *m)
{
	return m->backward && m->size >= offsetof(fxcc_module, rng) && m->flags & FXCC_TRAINS;
}

/* The tensor that gradient i belongs to: an input of the call, or a state. */
static bool
gradient_shape(const Call *c, int i, int64_t *dim)
{
	const fxcc_tensor_info *g = &c->m->grad[i];

	for (int d = 0; d < g->ndim; d++) {
		dim[d] = g->offset < (uint64_t)c->m->nin ? c->in[g->offset]->shape[d] : g->dim[d].value;
		if (dim[d] < 0)
			return false;
	}
	return true;
}

bool
call_train(Call *c, char *why, size_t n)
{
	const fxcc_module *m = c->m;

	if (!artifact_trains(m)) {
		snprintf(why, n, "the library has no backward: compile with --train");
		return false;
	}
	c->saved = artifact_memory(c->nsaved);
	c->tangent = artifact_memory(((size_t)m->ntangent + 1) * sizeof *c->tangent);
	c->grad = artifact_memory(((size_t)m->ngrad + 1) * sizeof *c->grad);
	for (int i = 0; i < m->ngrad; i++) {
		int64_t dim[MaxRank], bytes = m->grad[i].dtype.bits / 8;
		if (!gradient_shape(c, i, dim)) {
			snprintf(why, n, "gradient %s has a free size", m->grad[i].name);
			return false;
		}
		for (int d = 0; d < m->grad[i].ndim; d++)
			bytes *= dim[d];
		c->grad[i] = artifact_tensor(m->grad[i].dtype, m->grad[i].ndim, dim, NULL, (size_t)bytes);
	}
	return true;
}

bool
call_backward(Call *c, bool accumulate, char *why, size_t n)
{
	if (c->m->backward(c->ctx, c->saved, (const DLTensor *const *)c->tangent, c->grad, accumulate, &c->err) == 0)
		return true;
	snprintf(why, n, "backward: error %d: %s", c->err.code, c->err.msg);
	return false;
}
