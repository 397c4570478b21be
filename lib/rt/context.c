/* context.c - contexts: the states, the random numbers, and how much memory calls need.
 *
 * A context is the caller's memory: header, then the states (buffers that the model
 * changes, parameters that may be replaced), unless bind gave other memory for them.
 */
#include <stdlib.h>
#include <string.h>
#include "model.h"

static unsigned char *
ctx_align(void *p)
{
	return (unsigned char *)(((uintptr_t)p + FxrtAlign - 1) & ~(uintptr_t)(FxrtAlign - 1));
}

const fxrt_entry *
fxrt_entry_of(const fxrt_model *m, int kind)
{
	for (int i = 0; i < m->nentry; i++)
		if (m->entry[i].kind == kind)
			return &m->entry[i];
	return NULL;
}

/* The best that this CPU can run; -1: none. */
int
fxrt_version_for(const fxrt_model *m)
{
	int level = fxrt_cpu_level(), i = m->entry->nversion - 1;

	while (i >= 0 && m->entry->version[i].cpu > level)
		i--;
	return i;
}

static int
ctx_alive(const fxrt_ctx *c, fxcc_error *e)
{
	if (e)
		memset(e, 0, sizeof *e);
	return c && c->model ? 0 : fxrt_fail(e, FXCC_ESTATE, NULL, "the context is not initialised");
}

/* A call of the entry of that kind; the versions of all entries are for the same CPUs. */
int
fxrt_start(fxrt_run *r, void *ctx, int kind, fxcc_error *e)
{
	int rc = ctx_alive(ctx, e);

	if (rc)
		return rc;
	r->cx = ctx;
	r->err = e;
	r->en = fxrt_entry_of(r->cx->model, kind);
	if (r->en == NULL)
		return fxrt_fail(e, FXCC_ESTATE, NULL, kind == FxrtStep ? "the model has no optimizer" : "the model has no backward");
	r->v = &r->en->version[r->cx->version];
	return 0;
}

/* ---- states ---------------------------------------------------------------------- */

static void
first_values(fxrt_ctx *c)
{
	const fxrt_model *m = c->model;

	for (int i = 0; i < m->nstate; i++)
		if (m->states[i].konst != UINT64_MAX)
			memcpy(c->state + m->states[i].offset, fxrt_konst(m) + m->states[i].konst, (size_t)m->states[i].bytes);
		else
			memset(c->state + m->states[i].offset, 0, (size_t)m->states[i].bytes);
}

int32_t
fxrt_reset(void *ctx, fxcc_error *e)
{
	int rc = ctx_alive(ctx, e);

	if (rc == 0)
		first_values(ctx);
	return rc;
}

/* The states lie in the caller's memory from now on, which several contexts may share;
 * NULL: in the context's own again.  What lies there stays. */
int32_t
fxrt_bind(void *ctx, void *state, size_t n, fxcc_error *e)
{
	fxrt_ctx *c = ctx;
	int rc = ctx_alive(c, e);

	if (rc)
		return rc;
	if (state && n < c->model->state)
		return fxrt_fail(e, FXCC_EARG, NULL, "the states need %llu bytes, %zu given", (unsigned long long)c->model->state, n);
	if ((uintptr_t)state % 16)
		return fxrt_fail(e, FXCC_EALIGN, NULL, "the memory of the states is not aligned to 16 bytes");
	c->state = state ? state : c->ownstate;
	return 0;
}

void *
fxrt_state_of(void *ctx, int32_t i)
{
	fxrt_ctx *c = ctx;

	return i < 0 || i >= c->model->nstate ? NULL : c->state + c->model->states[i].offset;
}

/* By its name in C or in the model; NULL: no such state. */
void *
fxrt_state_named(void *ctx, const char *name)
{
	fxrt_ctx *c = ctx;

	if (c == NULL || c->model == NULL || name == NULL)
		return NULL;
	for (int i = 0; i < c->model->nstate; i++) {
		const fxrt_state *s = &c->model->states[i];
		if (strcmp(s->name, name) == 0 || (s->fqn && strcmp(s->fqn, name) == 0))
			return c->state + s->offset;
	}
	return NULL;
}

/* ---- random numbers -------------------------------------------------------------- */

/* The next forward call draws with (seed, offset), the one after it with what the offset has grown to:
 * by 1, or by the words that the call drew. */
int32_t
fxrt_seed(void *ctx, uint64_t seed, uint64_t offset, fxcc_error *e)
{
	fxrt_ctx *c = ctx;
	int rc = ctx_alive(c, e);

	if (rc == 0) {
		c->seed = seed;
		c->offset = offset;
	}
	return rc;
}

int32_t
fxrt_rng(void *ctx, uint64_t *seed, uint64_t *offset, fxcc_error *e)
{
	fxrt_ctx *c = ctx;
	int rc = ctx_alive(c, e);

	if (rc == 0 && seed)
		*seed = c->seed;
	if (rc == 0 && offset)
		*offset = c->offset;
	return rc;
}

/* ---- making ---------------------------------------------------------------------- */

size_t
fxrt_ctx_bytes(const fxrt_model *m)
{
	return sizeof(fxrt_ctx) + 2 * FxrtAlign + (m->words ? 2 * sizeof(fxrt_twister) : 0) + (size_t)m->state;
}

fxrt_ctx *
fxrt_ctx_make(const fxrt_model *m, void *mem)
{
	fxrt_ctx *c = (fxrt_ctx *)ctx_align(mem);

	memset(c, 0, sizeof *c);
	c->model = m;
	c->version = fxrt_version_for(m);
	c->pool = m->pool ? m->pool() : NULL;
	if (m->words) {
		c->twister = (fxrt_twister *)(c + 1);
		memset(c->twister, 0, 2 * sizeof *c->twister);
	}
	c->state = c->ownstate = ctx_align(m->words ? (void *)(c->twister + 2) : (void *)(c + 1));
	first_values(c);
	return c;
}

void **
fxrt_user(void *ctx)
{
	return &((fxrt_ctx *)ctx)->user;
}

int32_t
fxrt_init(const fxrt_model *m, void *mem, size_t n, uint64_t signature, const fxcc_config *cfg, void **ctx, fxcc_error *e)
{
	fxrt_ctx *c;
	int i;

	if (e)
		memset(e, 0, sizeof *e);
	if (ctx == NULL || mem == NULL)
		return fxrt_fail(e, FXCC_EARG, NULL, "no memory for the context given");
	*ctx = NULL;
	if (signature != m->signature)
		return fxrt_fail(e, FXCC_EABI, NULL, "header and library are of different models or builds");
	if (n < fxrt_ctx_bytes(m))
		return fxrt_fail(e, FXCC_EARG, NULL, "the context needs %zu bytes, %zu given", fxrt_ctx_bytes(m), n);
	if (m->find && (i = m->find(m, e)))
		return i;
	if (cfg && cfg->size < offsetof(fxcc_config, arena))
		return fxrt_fail(e, FXCC_EARG, NULL, "fxcc_config.size is not set");
	c = fxrt_ctx_make(m, mem);
	if (c->version < 0)
		return fxrt_fail(e, FXCC_ECPU, NULL, "this CPU lacks instructions that the library was built for (%s)", m->module->target);
	if (m->first && (i = m->first(m, e)))
		return i;
	if (cfg) {
		unsigned char *a = cfg->arena ? ctx_align(cfg->arena) : NULL;
		c->pool = cfg->pool ? cfg->pool : c->pool;
		c->arena = a;
		if (a && cfg->arena_size > (size_t)(a - (unsigned char *)cfg->arena))
			c->narena = cfg->arena_size - (size_t)(a - (unsigned char *)cfg->arena);
	}
	*ctx = c;
	return 0;
}

void
fxrt_fini(void *ctx)
{
	if (ctx)
		((fxrt_ctx *)ctx)->model = NULL;
}

/* ---- sizes ----------------------------------------------------------------------- */

int64_t
fxrt_round(int64_t bytes, int *bad)
{
	if (bytes < 0 || bytes > INT64_MAX - FxrtAlign) {
		*bad = 1;
		return 0;
	}
	return (bytes + FxrtAlign - 1) & ~(int64_t)(FxrtAlign - 1);
}

int64_t
fxrt_port_bytes(const fxrt_port *p, const int64_t *sym, int *bad)
{
	int64_t n = (fxrt_dltype(p->dtype).bits + 7) / 8;

	for (int d = 0; d < p->rank; d++)
		if (__builtin_mul_overflow(n, fxrt_eval(p->dim[d], sym, bad), &n))
			*bad = 1;
	return *bad ? 0 : n;
}

/* Arena of a forward call that has no saved buffer: what it would save lies in the arena. */
int64_t
fxrt_forward_need(const fxrt_model *m, int version, const int64_t *sym, int *bad)
{
	int64_t n = fxrt_round(fxrt_eval(m->entry->version[version].arena, sym, bad), bad);

	if (m->savedsize && __builtin_add_overflow(n, fxrt_round(fxrt_eval(m->savedsize, sym, bad), bad), &n))
		*bad = 1;
	return n;
}

/* ... of a call of another entry, whatever is absent, unwanted or added up. */
static int64_t
most_arena(const fxrt_model *m, const fxrt_entry *en, int version, const int64_t *sym, int *bad)
{
	int64_t n = fxrt_round(fxrt_eval(en->version[version].arena, sym, bad), bad);

	for (int k = 0; k < 2; k++)
		for (int i = 0; i < (k ? en->nout : en->nin); i++) {
			const fxrt_port *p = k ? &en->out[i] : &en->in[i];
			if ((k ? p->optional : p->absent) && __builtin_add_overflow(n, fxrt_round(fxrt_port_bytes(p, sym, bad), bad), &n))
				*bad = 1;
		}
	(void)m;
	return n;
}

/* Arena for any call, with room to align it. */
static size_t
arena_bytes(const fxrt_model *m, const int64_t *sym, int *bad)
{
	int version = fxrt_version_for(m);
	int64_t n = version < 0 ? 0 : fxrt_forward_need(m, version, sym, bad);

	for (int i = 1; version >= 0 && i < m->nentry; i++) {
		int64_t k = most_arena(m, &m->entry[i], version, sym, bad);
		n = k > n ? k : n;
	}
	return version < 0 || *bad ? 0 : (size_t)n + FxrtAlign;
}

static size_t
saved_bytes(const fxrt_model *m, const int64_t *sym, int *bad)
{
	return m->savedsize ? (size_t)fxrt_eval(m->savedsize, sym, bad) : 0;
}

int32_t
fxrt_arena_need(const fxrt_model *m, const int64_t *const *shape, size_t *arena, size_t *saved, fxcc_error *e)
{
	int64_t sym[FxrtMaxSym];
	int rc = fxrt_bind_shapes(m, shape, sym, e), bad = 0;

	if (rc)
		return rc;
	if (saved)
		*saved = saved_bytes(m, sym, &bad);
	if (arena)
		*arena = arena_bytes(m, sym, &bad);
	return bad ? fxrt_fail(e, FXCC_ESHAPE, NULL, "a size overflows") : 0;
}

/* Sizes in the order of the header's struct to all sizes; not 0: out of range. */
static int
all_sizes(const fxrt_model *m, const int64_t *size, int64_t *sym)
{
	int n = 0;

	for (int i = 0; i < m->nsym; i++)
		sym[i] = m->sym[i].in >= 0 ? size[n++] : m->sym[i].hi;
	return fxrt_check_sizes(m, sym, NULL);
}

size_t
fxrt_arena_size(const fxrt_model *m, const int64_t *size)
{
	int64_t sym[FxrtMaxSym];
	int bad = 0;

	return all_sizes(m, size, sym) ? 0 : arena_bytes(m, sym, &bad);
}

size_t
fxrt_saved_size(const fxrt_model *m, const int64_t *size)
{
	int64_t sym[FxrtMaxSym];
	int bad = 0;
	size_t n = all_sizes(m, size, sym) ? 0 : saved_bytes(m, sym, &bad);

	return bad ? 0 : n;
}

int32_t
fxrt_out_shape(const fxrt_model *m, const int64_t *const *in, int64_t *const *out, fxcc_error *e)
{
	const fxrt_entry *f = m->entry;
	int64_t sym[FxrtMaxSym];
	int rc = fxrt_bind_shapes(m, in, sym, e), bad = 0;

	for (int i = 0; !rc && i < f->nout; i++)
		for (int d = 0; d < f->out[i].rank; d++)
			out[i][d] = fxrt_eval(f->out[i].dim[d], sym, &bad);
	return rc ? rc : bad ? fxrt_fail(e, FXCC_ESHAPE, NULL, "a size overflows") : 0;
}
