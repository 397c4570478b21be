/* forward.c - the forward entries: over DLTensors, over the header's struct, and the simple one. */
#include <stdlib.h>
#include <string.h>
#include "model.h"

/* ---- weights that can be replaced: see weights.c ---------------------------------- */

unsigned char *
fxrt_weights_at(const fxrt_model *m, int i)
{
	uintptr_t mask = ~(uintptr_t)(FxrtAlign - 1), mem = ((uintptr_t)m->setmem + FxrtAlign - 1) & mask;

	if (i == 0)
		return (unsigned char *)(uintptr_t)(fxrt_konst(m) + m->weightat);
	return (unsigned char *)mem + (size_t)(i - 1) * (((size_t)m->nset + FxrtAlign - 1) & mask);
}

int
fxrt_weights_enter(fxrt_run *r)
{
	const fxrt_model *m = r->cx->model;
	fxrt_sets *s = m->sets;

	if (s == NULL)
		return -1;
	for (;;) {
		int i = __atomic_load_n(&s->active, __ATOMIC_SEQ_CST);
		__atomic_fetch_add(&s->users[i], 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&s->active, __ATOMIC_SEQ_CST) == i) {
			r->weights = fxrt_weights_at(m, i);
			return i;
		}
		__atomic_fetch_sub(&s->users[i], 1, __ATOMIC_SEQ_CST);
	}
}

void
fxrt_weights_leave(const fxrt_model *m, int copy)
{
	if (copy >= 0)
		__atomic_fetch_sub(&m->sets->users[copy], 1, __ATOMIC_SEQ_CST);
}

/* ---- the saved buffer ------------------------------------------------------------ */

static int
saved_begin(fxrt_run *r, void *saved)
{
	const fxrt_model *m = r->cx->model;
	int64_t arena = fxrt_round(fxrt_eval(r->v->arena, r->sym, &r->bad), &r->bad);
	int64_t need = saved ? arena : fxrt_forward_need(m, r->cx->version, r->sym, &r->bad);

	if (r->bad)
		return fxrt_fail(r->err, FXCC_ESHAPE, NULL, "a size overflows");
	if ((uintptr_t)saved % 16)
		return fxrt_fail(r->err, FXCC_EALIGN, NULL, "saved: not aligned to 16 bytes");
	r->saved = saved ? saved : r->cx->arena ? r->cx->arena + arena : NULL;
	r->key = r->cx->seed + (m->words ? 0 : r->cx->offset * UINT64_C(0x9e3779b97f4a7c15));
	r->base = r->cx->offset;
	if (saved && m->savedsize)
		memset(saved, 0, sizeof(fxrt_head));       /* not good until the call has ended well */
	return fxrt_arena_check(r->cx, need, r->err);
}

/* Sizes and addresses go behind the head, then the head makes all of it valid. */
static int
saved_end(fxrt_run *r, void *saved)
{
	const fxrt_model *m = r->cx->model;
	fxrt_head *h = saved;
	int64_t *sym;
	void **kept;

	if (h == NULL || m->savedsize == NULL)
		return 0;
	sym = (int64_t *)(h + 1);
	kept = (void **)(sym + m->nsym);
	memcpy(sym, r->sym, (size_t)m->nsym * sizeof *sym);
	for (int i = 0; i < m->nkept; i++)
		kept[i] = r->in[m->kept[i]];
	h->build = m->build;
	h->bytes = (uint64_t)fxrt_eval(m->savedsize, r->sym, &r->bad);
	h->key = r->key;
	h->base = r->base;
	h->nsym = (uint32_t)m->nsym;
	h->state = FxrtFilled;
	h->magic = FXRT_MAGIC;
	return r->bad ? fxrt_fail(r->err, FXCC_ESHAPE, NULL, "a size overflows") : 0;
}

/* All but the binding of arguments: the last checks, the steps. */
static int
forward_go(fxrt_run *r, void *saved)
{
	int copy = fxrt_weights_enter(r), rc;

	if ((rc = fxrt_check_overlap(r)) == 0 && (rc = saved_begin(r, saved)) == 0)
		rc = fxrt_steps(r);
	fxrt_weights_leave(r->cx->model, copy);
	if (rc)
		return rc;
	fxrt_copy_views(r);
	r->cx->offset += r->cx->model->words ? (uint64_t)fxrt_eval(r->cx->model->words, r->sym, &r->bad) : 1;
	return saved_end(r, saved);
}

/* ---- over DLTensors -------------------------------------------------------------- */

static int
bind_inputs(fxrt_run *r, const DLTensor *const *in, void **ptr)
{
	const fxrt_model *m = r->cx->model;
	const fxrt_entry *en = r->en;
	int rc;

	for (int i = 0; i < en->nin; i++) {
		if (in[i] == NULL || in[i]->ndim != en->in[i].rank)
			return fxrt_check_tensor(&en->in[i], in[i], i, r->sym, r->err);
		ptr[i] = (char *)in[i]->data + in[i]->byte_offset;
	}
	for (int i = 0; i < m->nsym; i++)
		if (m->sym[i].in >= 0 && m->sym[i].dim < 0 && !in[m->sym[i].in]->data)
			return fxrt_fail(r->err, FXCC_EARG, m->sym[i].name, "%s: a null pointer", m->sym[i].name);
	for (int i = 0; i < m->nsym; i++) {
		const fxrt_sym *s = &m->sym[i];
		r->sym[i] = s->in < 0 ? s->hi : s->dim >= 0 ? fxrt_size_of(s, in[s->in]->ndim, in[s->in]->shape, in[s->in]->strides) : *(const int64_t *)ptr[s->in];
	}
	rc = fxrt_check_sizes(m, r->sym, r->err);
	for (int i = 0; !rc && i < en->nin; i++)
		if ((rc = fxrt_check_tensor(&en->in[i], in[i], i, r->sym, r->err)) == 0)
			rc = fxrt_check_strides(&en->in[i], in[i], r->sym, 0, r->err);
	return rc;
}

/* Sizes that only the run finds are given as their most; after it they are set. */
static int
bind_outputs(fxrt_run *r, DLTensor *const *out, void **ptr)
{
	int rc = 0;

	for (int i = 0; !rc && i < r->en->nout; i++) {
		ptr[i] = NULL;
		if (r->en->out[i].viewof && (out[i] == NULL || out[i]->data == NULL)) {
			rc = fxrt_check_view(r, i, out[i]);
			continue;
		}
		if ((rc = fxrt_check_tensor(&r->en->out[i], out[i], i, r->sym, r->err)) == 0)
			rc = fxrt_check_strides(&r->en->out[i], out[i], r->sym, 1, r->err);
		if (rc == 0)
			ptr[i] = (char *)out[i]->data + out[i]->byte_offset;
	}
	return rc;
}

int32_t
fxrt_forward(void *ctx, const DLTensor *const *in, DLTensor *const *out, void *saved, fxcc_error *e)
{
	void *pi[FxrtMaxBuf], *po[FxrtMaxBuf];
	fxrt_run r = {.in = pi, .out = po};
	int rc;

	if ((rc = fxrt_start(&r, ctx, FxrtForward, e)) || (rc = bind_inputs(&r, in, pi)) || (rc = bind_outputs(&r, out, po)) || (rc = forward_go(&r, saved)))
		return rc;
	fxrt_set_views(&r, out);
	for (int i = 0; i < r.en->nout; i++)
		for (int d = 0; out[i] && d < r.en->out[i].rank; d++)
			out[i]->shape[d] = fxrt_eval(r.en->out[i].dim[d], r.sym, &r.bad);
	return 0;
}

/* ---- over pointers --------------------------------------------------------------- */

static int
given(fxrt_run *r, const fxrt_port *p, const void *ptr, int i)
{
	if (r->err)
		r->err->index = i;
	if (ptr && !p->value)
		return fxrt_check_aligned(p, ptr, r->err);
	if (ptr || p->value || fxrt_port_bytes(p, r->sym, &r->bad) == 0)
		return 0;
	return fxrt_fail(r->err, FXCC_EARG, p->name, "%s: a null pointer", p->name);
}

/* Pointers and sizes in the order of the header's struct: sizes, inputs, outputs. */
static int
run_pointers(fxrt_ctx *c, const int64_t *size, void *const *in, void *const *out, void *saved, fxcc_error *e)
{
	fxrt_run r = {.in = in, .out = out};
	int rc = fxrt_start(&r, c, FxrtForward, e), n = 0;

	for (int i = 0; !rc && i < c->model->nsym; i++) {
		const fxrt_sym *s = &c->model->sym[i];
		r.sym[i] = s->in < 0 ? s->hi : size[n++];
	}
	rc = rc ? rc : fxrt_check_sizes(c->model, r.sym, e);
	for (int i = 0; !rc && i < r.en->nin; i++)
		rc = given(&r, &r.en->in[i], in[i], i);
	for (int i = 0; !rc && i < r.en->nout; i++)
		rc = r.en->out[i].viewof ? 0 : given(&r, &r.en->out[i], out[i], i);
	return rc ? rc : forward_go(&r, saved);
}

static int
count_sizes(const fxrt_model *m)
{
	int n = 0;

	for (int i = 0; i < m->nsym; i++)
		n += m->sym[i].in >= 0;
	return n;
}

int32_t
fxrt_forward_struct(void *ctx, const void *args, void *saved, fxcc_error *e)
{
	fxrt_run r;
	int rc = fxrt_start(&r, ctx, FxrtForward, e);
	void *in[FxrtMaxBuf];

	if (rc)
		return rc;
	if (args == NULL)
		return fxrt_fail(e, FXCC_EARG, NULL, "no arguments");
	void *const *ptr = (void *const *)((const char *)args + sizeof(int64_t) * (size_t)count_sizes(r.cx->model));
	for (int i = 0; i < r.en->nin; i++)                /* sizes stand in front, not here */
		in[i] = r.en->in[i].value ? NULL : *ptr++;
	return run_pointers(ctx, args, in, ptr, saved, e);
}

/* ---- the simple entry ------------------------------------------------------------ */

static size_t
simple_need(const fxrt_model *m, const int64_t *size)
{
	int64_t sym[FxrtMaxSym], need;
	int bad = 0, n = 0;

	for (int i = 0; i < m->nsym; i++)
		sym[i] = m->sym[i].in >= 0 ? size[n++] : m->sym[i].hi;
	need = fxrt_forward_need(m, fxrt_version_for(m), sym, &bad);
	return bad ? 0 : (size_t)need + FxrtAlign;
}

static void
use_arena(fxrt_ctx *c, void *mem, size_t n)
{
	c->arena = (unsigned char *)(((uintptr_t)mem + FxrtAlign - 1) & ~(uintptr_t)(FxrtAlign - 1));
	c->narena = n - (size_t)(c->arena - (unsigned char *)mem);
}

/* Memory of its own: the library's static arena when it is free, else malloc. */
static int
simple_private(const fxrt_model *m, const int64_t *size, void *const *in, void *const *out)
{
	size_t need = simple_need(m, size), n = fxrt_ctx_bytes(m);
	unsigned char *mem = malloc(n + need + FxrtAlign);
	fxrt_ctx *c;
	int rc;

	if (mem == NULL)
		return FXCC_ENOMEM;
	c = fxrt_ctx_make(m, mem);
	use_arena(c, mem + n, need + FxrtAlign);
	rc = run_pointers(c, size, in, out, NULL, NULL);
	free(mem);
	return rc;
}

static int
own_prepare(const fxrt_model *m, const int64_t *size)
{
	fxrt_own *o = m->own;
	size_t need = simple_need(m, size);

	if (!o->ready) {
		void *mem = m->ownctx ? m->ownctx : malloc(fxrt_ctx_bytes(m));
		if (mem == NULL)
			return FXCC_ENOMEM;
		o->ctx = fxrt_ctx_make(m, mem);
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
	use_arena(o->ctx, o->arena, o->narena);
	((fxrt_ctx *)o->ctx)->offset = 0;              /* the same random numbers in every call */
	return 0;
}

int
fxrt_simple(const fxrt_model *m, const int64_t *size, const void *const *in, void *const *out)
{
	void *const *args = (void *const *)(uintptr_t)in;
	int rc;

	if (fxrt_version_for(m) < 0)
		return FXCC_ECPU;
	if ((m->find && (rc = m->find(m, NULL))) || (m->first && (rc = m->first(m, NULL))))
		return rc;
	while (__atomic_exchange_n(&m->own->lock, 1, __ATOMIC_ACQUIRE))
		if (m->nstate == 0)
			return simple_private(m, size, args, out);
	rc = own_prepare(m, size);
	if (rc == 0)
		rc = run_pointers(m->own->ctx, size, args, out, NULL, NULL);
	__atomic_store_n(&m->own->lock, 0, __ATOMIC_RELEASE);
	return rc;
}
