/* run.c - the entry points: contexts, the door, the steps.
 *
 * A context is the caller's memory: header, then the states (buffers that the
 * model changes).  A run touches its context's arena only, so contexts run at
 * the same time; weights are constant data of the library, shared by all.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "model.h"

enum { Align = 64 };

static unsigned char *
align(void *p)
{
	return (unsigned char *)(((uintptr_t)p + Align - 1) & ~(uintptr_t)(Align - 1));
}

static const fxrt_version *
version_for(const fxrt_model *m)
{
	int level = fxrt_cpu_level();

	for (int i = m->nversion - 1; i >= 0; i--)
		if (m->version[i].cpu <= level)
			return &m->version[i];
	return NULL;
}

/* ---- the steps ---------------------------------------------------------------- */

typedef struct Run {
	fxrt_ctx *cx;
	const fxrt_version *v;
	void *const *in, *const *out;
	int64_t sym[FxrtMaxSym];
	fxcc_error *err;
	int bad;
} Run;

static void *
place(Run *r, int32_t i)
{
	static int64_t nothing[8];
	const fxrt_buf *b = &r->v->buf[i];
	void *p;

	switch (b->home) {
	case FxrtHomeInput:  p = r->in[b->index]; break;
	case FxrtHomeOutput: p = r->out[b->index]; break;
	case FxrtHomeConst:  p = (void *)(uintptr_t)(r->cx->model->konst + b->konst); break;
	case FxrtHomeState:  p = r->cx->state + r->cx->model->states[b->index].offset; break;
	default:             p = r->cx->arena + fxrt_eval(b->offset, r->sym, &r->bad); break;
	}
	return p ? p : nothing;       /* an empty tensor may have no address */
}

static int
step_extern(Run *r, const fxrt_step *s, void **buf)
{
	uint8_t dt[FxrtMaxBuf];
	int64_t num[64], found = 0;
	fxrt_call c = {buf, dt, num, s->real, &found, s->nbuf, s->nnum, s->nreal};
	int rc;

	for (int i = 0; i < s->nbuf; i++)
		dt[i] = s->buf[i] < 0 ? 255 : (uint8_t)r->v->buf[s->buf[i]].dtype;
	for (int i = 0; i < s->nnum; i++)
		num[i] = fxrt_eval(s->num[i], r->sym, &r->bad);
	rc = s->ext(&c);
	if (rc)
		return fxrt_fail(r->err, rc, NULL, "%s failed", s->text);
	if (s->define >= 0) {
		r->sym[s->define] = found;
		return fxrt_check_found(r->cx->model, s->define, found, r->err);
	}
	return 0;
}

static int
step_size(Run *r, const fxrt_step *s)
{
	int64_t v = fxrt_eval(s->num[0], r->sym, &r->bad);

	if (s->define >= 0) {
		r->sym[s->define] = v;
		return fxrt_check_found(r->cx->model, s->define, v, r->err);
	}
	if (v == 0 || r->bad)
		return fxrt_fail(r->err, FXCC_EASSERT, NULL, "%s", s->text);
	return 0;
}

static void
step_copy(Run *r, const fxrt_step *s, void **buf)
{
	const fxrt_buf *b = &r->v->buf[s->buf[1]];
	int64_t n = fxrt_eval(b->count, r->sym, &r->bad);

	if (!r->bad && buf[0] != buf[1] && n > 0)
		memmove(buf[1], buf[0], (size_t)n * (size_t)b->width);
}

static void
step_kernel(Run *r, const fxrt_step *s, void **buf)
{
	int64_t sym[FxrtMaxSym], n = s->parallel ? fxrt_eval(s->parallel, r->sym, &r->bad) : 1;
	uint64_t stride[FxrtMaxBuf];
	fxrt_work w = {buf, stride, s->nbuf, r->v->workers};

	for (int i = 0; i < s->nbuf; i++) {
		const fxrt_buf *b = s->buf[i] < 0 ? NULL : &r->v->buf[s->buf[i]];
		bool scratch = b && b->home == FxrtHomeScratch && r->v->workers > 1;
		stride[i] = scratch ? ((uint64_t)fxrt_eval(b->count, r->sym, &r->bad) * (uint64_t)b->width + 63) & ~UINT64_C(63) : 0;
	}
	for (int i = 0; i < s->nsym; i++)
		sym[i] = s->sym[i] < 0 ? (int64_t)(r->cx->seed + r->cx->calls) : r->sym[s->sym[i]];
	if (!r->bad)
		fxrt_parallel(s->parallel ? r->cx->pool : NULL, s->kernel, &w, sym, n, s->grain);
}

static int
run_steps(Run *r)
{
	for (int i = 0; i < r->v->nstep; i++) {
		const fxrt_step *s = &r->v->step[i];
		void *buf[FxrtMaxBuf];
		int rc = 0;
		for (int j = 0; j < s->nbuf; j++)
			buf[j] = s->buf[j] < 0 ? NULL : place(r, s->buf[j]);
		if (s->kind == FxrtStepKernel)
			step_kernel(r, s, buf);
		else if (s->kind == FxrtStepExtern)
			rc = step_extern(r, s, buf);
		else if (s->kind == FxrtStepCopy)
			step_copy(r, s, buf);
		else
			rc = step_size(r, s);
		if (rc)
			return rc;
		if (r->bad)
			return fxrt_fail(r->err, FXCC_ESHAPE, NULL, "a size overflows in %s", s->text);
	}
	for (int i = 0; i < r->cx->model->nout; i++)
		if (r->cx->model->out[i].value && r->out[i])
			*(int64_t *)r->out[i] = fxrt_eval(r->cx->model->out[i].value, r->sym, &r->bad);
	r->cx->calls++;
	return 0;
}

/* Enough arena for these sizes? */
static int
arena_check(fxrt_ctx *c, const int64_t *sym, fxcc_error *e)
{
	int bad = 0;
	int64_t need = fxrt_eval(c->version->arena, sym, &bad);

	if (bad || need < 0)
		return fxrt_fail(e, FXCC_ESHAPE, NULL, "a size overflows");
	if ((uint64_t)need <= c->narena)
		return 0;
	if (e) {
		e->got = (int64_t)c->narena;
		e->lo = need;
	}
	return fxrt_fail(e, FXCC_EARENA, NULL, "the arena has %llu bytes, %lld are needed", (unsigned long long)c->narena, (long long)need);
}

/* ---- contexts -------------------------------------------------------------------- */

static size_t
ctx_bytes(const fxrt_model *m)
{
	return sizeof(fxrt_ctx) + 2 * Align + (size_t)m->state;
}

static fxrt_ctx *
ctx_make(const fxrt_model *m, void *mem)
{
	fxrt_ctx *c = (fxrt_ctx *)align(mem);

	memset(c, 0, sizeof *c);
	c->model = m;
	c->version = version_for(m);
	c->pool = m->pool ? m->pool() : NULL;
	c->state = align(c + 1);
	for (int i = 0; i < m->nstate; i++)
		if (m->states[i].konst != UINT64_MAX)
			memcpy(c->state + m->states[i].offset, m->konst + m->states[i].konst, (size_t)m->states[i].bytes);
		else
			memset(c->state + m->states[i].offset, 0, (size_t)m->states[i].bytes);
	return c;
}

int32_t
fxrt_init(const fxrt_model *m, void *mem, size_t n, uint64_t signature, const fxcc_config *cfg, void **ctx, fxcc_error *e)
{
	fxrt_ctx *c;

	if (e)
		memset(e, 0, sizeof *e);
	if (ctx == NULL || mem == NULL)
		return fxrt_fail(e, FXCC_EARG, NULL, "no memory for the context given");
	*ctx = NULL;
	if (signature != m->signature)
		return fxrt_fail(e, FXCC_EABI, NULL, "header and library are of different models or builds");
	if (n < ctx_bytes(m))
		return fxrt_fail(e, FXCC_EARG, NULL, "the context needs %zu bytes, %zu given", ctx_bytes(m), n);
	if (cfg && cfg->size < offsetof(fxcc_config, arena))
		return fxrt_fail(e, FXCC_EARG, NULL, "fxcc_config.size is not set");
	c = ctx_make(m, mem);
	if (c->version == NULL)
		return fxrt_fail(e, FXCC_ECPU, NULL, "this CPU lacks instructions that the library was built for (%s)", m->module->target);
	if (cfg) {
		unsigned char *a = cfg->arena ? align(cfg->arena) : NULL;
		c->pool = cfg->pool ? cfg->pool : c->pool;
		c->arena = a;
		if (a && cfg->arena_size > (size_t)(a - (unsigned char *)cfg->arena))
			c->narena = cfg->arena_size - (size_t)(a - (unsigned char *)cfg->arena);
	}
	*ctx = c;
	return 0;
}

/* Weights are inside the library; a model whose weights were left out takes them as inputs. */
int32_t
fxrt_bind(void *ctx, const void *weights, size_t n, fxcc_error *e)
{
	(void)weights, (void)n;
	return ctx ? 0 : fxrt_fail(e, FXCC_EARG, NULL, "no context");
}

void
fxrt_fini(void *ctx)
{
	if (ctx)
		((fxrt_ctx *)ctx)->model = NULL;
}

void *
fxrt_state_of(void *ctx, int32_t i)
{
	fxrt_ctx *c = ctx;

	return i < 0 || i >= c->model->nstate ? NULL : c->state + c->model->states[i].offset;
}

/* ---- sizes ---------------------------------------------------------------------------- */

int32_t
fxrt_arena_need(const fxrt_model *m, const int64_t *const *shape, size_t *arena, size_t *saved, fxcc_error *e)
{
	const fxrt_version *v = version_for(m);
	int64_t sym[FxrtMaxSym];
	int rc = fxrt_bind_shapes(m, shape, sym, e), bad = 0;

	if (rc)
		return rc;
	if (saved)
		*saved = 0;
	*arena = v ? (size_t)fxrt_eval(v->arena, sym, &bad) + Align : 0;
	return bad ? fxrt_fail(e, FXCC_ESHAPE, NULL, "a size overflows") : 0;
}

size_t
fxrt_arena_size(const fxrt_model *m, const int64_t *size)
{
	const fxrt_version *v = version_for(m);
	int64_t sym[FxrtMaxSym];
	int bad = 0, n = 0;

	for (int i = 0; i < m->nsym; i++)
		sym[i] = m->sym[i].in >= 0 ? size[n++] : m->sym[i].hi;
	if (v == NULL || fxrt_check_sizes(m, sym, NULL))
		return 0;
	size_t need = (size_t)fxrt_eval(v->arena, sym, &bad) + Align;
	return bad ? 0 : need;
}

/* Nothing is saved: a model with a backward part has its own. */
size_t
fxrt_saved_size(const fxrt_model *m, const int64_t *size)
{
	(void)m, (void)size;
	return 0;
}

int32_t
fxrt_out_shape(const fxrt_model *m, const int64_t *const *in, int64_t *const *out, fxcc_error *e)
{
	int64_t sym[FxrtMaxSym];
	int rc = fxrt_bind_shapes(m, in, sym, e), bad = 0;

	for (int i = 0; !rc && i < m->nout; i++)
		for (int d = 0; d < m->out[i].rank; d++)
			out[i][d] = fxrt_eval(m->out[i].dim[d], sym, &bad);
	return rc ? rc : bad ? fxrt_fail(e, FXCC_ESHAPE, NULL, "a size overflows") : 0;
}

/* ---- forward --------------------------------------------------------------------------- */

/* Do the strides of t agree with those that the code was compiled for? */
static int
strides_agree(const fxrt_port *p, const DLTensor *t, const int64_t *sym)
{
	int64_t want = 1;
	int bad = 0;

	for (int d = p->rank - 1; d >= 0; d--) {
		int64_t w = p->stride ? fxrt_eval(p->stride[d], sym, &bad) : want;
		if (t->shape[d] != 1 && t->strides && t->strides[d] != w)
			return 0;
		if (t->strides == NULL && p->stride && t->shape[d] != 1 && w != want)
			return 0;
		want *= t->shape[d];
	}
	return !bad;
}

static int
isempty(const DLTensor *t)
{
	for (int d = 0; d < t->ndim; d++)
		if (t->shape[d] == 0)
			return 1;
	return 0;
}

static int
bind_inputs(Run *r, const DLTensor *const *in, void **ptr)
{
	const fxrt_model *m = r->cx->model;
	int rc;

	for (int i = 0; i < m->nin; i++) {
		if (in[i] == NULL || in[i]->ndim != m->in[i].rank)
			return fxrt_check_tensor(&m->in[i], in[i], i, r->sym, 0, r->err);
		ptr[i] = (char *)in[i]->data + in[i]->byte_offset;
	}
	for (int i = 0; i < m->nsym; i++)
		if (m->sym[i].in >= 0 && m->sym[i].dim < 0 && !in[m->sym[i].in]->data)
			return fxrt_fail(r->err, FXCC_EARG, m->sym[i].name, "%s: a null pointer", m->sym[i].name);
	for (int i = 0; i < m->nsym; i++) {
		const fxrt_sym *s = &m->sym[i];
		r->sym[i] = s->in < 0 ? s->hi : s->dim >= 0 ? fxrt_size_of(s, in[s->in]->shape[s->dim]) : *(const int64_t *)ptr[s->in];
	}
	rc = fxrt_check_sizes(m, r->sym, r->err);
	for (int i = 0; !rc && i < m->nin; i++) {
		rc = fxrt_check_tensor(&m->in[i], in[i], i, r->sym, 0, r->err);
		if (!rc && !strides_agree(&m->in[i], in[i], r->sym) && !isempty(in[i]))
			rc = fxrt_fail(r->err, FXCC_ESTRIDE, m->in[i].name, "%s: its strides differ from those that the model was compiled for", m->in[i].name);
	}
	return rc;
}

/* Sizes that only the run finds are given as their most; after it they are set. */
static int
bind_outputs(Run *r, DLTensor *const *out, void **ptr)
{
	const fxrt_model *m = r->cx->model;

	for (int i = 0; i < m->nout; i++) {
		int rc = fxrt_check_tensor(&m->out[i], out[i], i, r->sym, 1, r->err);
		if (rc)
			return rc;
		if (!strides_agree(&m->out[i], out[i], r->sym) && !isempty(out[i]))
			return fxrt_fail(r->err, FXCC_ESTRIDE, m->out[i].name, "%s: outputs are row-major contiguous", m->out[i].name);
		ptr[i] = (char *)out[i]->data + out[i]->byte_offset;
	}
	return 0;
}

int32_t
fxrt_forward(void *ctx, const DLTensor *const *in, DLTensor *const *out, void *saved, fxcc_error *e)
{
	void *pi[FxrtMaxBuf], *po[FxrtMaxBuf];
	Run r = {.cx = ctx, .in = pi, .out = po, .err = e};
	const fxrt_model *m;
	int rc;

	(void)saved;
	if (e)
		memset(e, 0, sizeof *e);
	if (ctx == NULL || r.cx->model == NULL)
		return fxrt_fail(e, FXCC_ESTATE, NULL, "the context is not initialised");
	m = r.cx->model;
	r.v = r.cx->version;
	if ((rc = bind_inputs(&r, in, pi)) || (rc = bind_outputs(&r, out, po)) ||
	    (rc = fxrt_check_overlap(m, r.sym, pi, po, e)) || (rc = arena_check(r.cx, r.sym, e)))
		return rc;
	rc = run_steps(&r);
	for (int i = 0; !rc && i < m->nout; i++)
		for (int d = 0; d < m->out[i].rank; d++)
			out[i]->shape[d] = fxrt_eval(m->out[i].dim[d], r.sym, &r.bad);
	return rc;
}

/* Pointers and sizes in the order of the header's struct: sizes, inputs, outputs. */
static int
run_pointers(fxrt_ctx *c, const int64_t *size, void *const *in, void *const *out, fxcc_error *e)
{
	Run r = {.cx = c, .v = c->version, .in = in, .out = out, .err = e};
	const fxrt_model *m = c->model;
	int rc, n = 0, bad = 0;

	for (int i = 0; i < m->nsym; i++) {
		const fxrt_sym *s = &m->sym[i];
		r.sym[i] = s->in < 0 ? s->hi : size[n++];
	}
	if ((rc = fxrt_check_sizes(m, r.sym, e)) || (rc = arena_check(c, r.sym, e)))
		return rc;
	for (int k = 0; k < 2; k++)
		for (int i = 0; i < (k ? m->nout : m->nin); i++) {
			const fxrt_port *p = k ? &m->out[i] : &m->in[i];
			int64_t count = 1;
			for (int d = 0; d < p->rank; d++)
				count *= fxrt_eval(p->dim[d], r.sym, &bad);
			if ((k ? out[i] : in[i]) == NULL && count != 0) {
				if (e)
					e->index = i;
				return fxrt_fail(e, FXCC_EARG, p->name, "%s: a null pointer", p->name);
			}
		}
	rc = fxrt_check_overlap(m, r.sym, in, out, e);
	return rc ? rc : run_steps(&r);
}

int32_t
fxrt_forward_struct(void *ctx, const void *args, void *saved, fxcc_error *e)
{
	fxrt_ctx *c = ctx;
	const fxrt_model *m;
	const char *p = args;
	int n = 0;

	(void)saved;
	if (e)
		memset(e, 0, sizeof *e);
	if (ctx == NULL || c->model == NULL || args == NULL)
		return fxrt_fail(e, FXCC_ESTATE, NULL, "the context is not initialised");
	m = c->model;
	for (int i = 0; i < m->nsym; i++)
		n += m->sym[i].in >= 0;
	void *const *ptr = (void *const *)(p + sizeof(int64_t) * (size_t)n);
	return run_pointers(c, (const int64_t *)p, ptr, ptr + m->nin, e);
}

/* ---- the simple entry ------------------------------------------------------------------ */

/* Memory of its own: the library's static arena when it is free, else malloc. */
static int
simple_private(const fxrt_model *m, const int64_t *size, void *const *in, void *const *out)
{
	size_t need = fxrt_arena_size(m, size), n = ctx_bytes(m);
	unsigned char *mem = malloc(n + need + Align);
	fxrt_ctx *c;
	int rc;

	if (mem == NULL)
		return FXCC_ENOMEM;
	c = ctx_make(m, mem);
	c->arena = align(mem + n);
	c->narena = need;
	rc = run_pointers(c, size, in, out, NULL);
	free(mem);
	return rc;
}

static int
own_prepare(const fxrt_model *m, const int64_t *size)
{
	fxrt_own *o = m->own;
	size_t need = fxrt_arena_size(m, size);

	if (!o->ready) {
		void *mem = m->ownctx ? m->ownctx : malloc(ctx_bytes(m));
		if (mem == NULL)
			return FXCC_ENOMEM;
		o->ctx = ctx_make(m, mem);
		o->arena = m->ownarena;
		o->narena = m->ownarena ? m->arena : 0;
		o->ready = 1;
	}
	if (o->narena < need) {
		void *p = malloc(need);
		if (p == NULL)
			return FXCC_ENOMEM;
		if (o->arena != m->ownarena)
			free(o->arena);
		o->arena = p;
		o->narena = need;
	}
	fxrt_ctx *c = o->ctx;
	c->arena = align(o->arena);
	c->narena = o->narena - (size_t)(c->arena - (unsigned char *)o->arena);
	return 0;
}

int
fxrt_simple(const fxrt_model *m, const int64_t *size, const void *const *in, void *const *out)
{
	void *const *args = (void *const *)(uintptr_t)in;
	int rc;

	if (version_for(m) == NULL)
		return FXCC_ECPU;
	while (__atomic_exchange_n(&m->own->lock, 1, __ATOMIC_ACQUIRE))
		if (m->nstate == 0)
			return simple_private(m, size, args, out);
	rc = own_prepare(m, size);
	if (rc == 0)
		rc = run_pointers(m->own->ctx, size, args, out, NULL);
	__atomic_store_n(&m->own->lock, 0, __ATOMIC_RELEASE);
	return rc;
}
