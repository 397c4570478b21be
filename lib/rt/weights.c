/* weights.c - weights that can be replaced while calls run (-fmutable).
 *
 * There are three copies: the first values, constant, and two blocks that take turns.  set
 * fills a block that is not active (first with what the active one has), fold computes what
 * the compiler had folded from weights, swap makes the block active.  A call counts itself
 * in to the active copy and looks again: if that is still the active one, it reads it to
 * its end (forward.c); a block is filled only while nobody is counted in.  All this is sequentially
 * consistent: either the call sees the swap and leaves, or the filler sees the call.
 *
 * Under -fconst-fold=load the first values end before what is folded: the first block is
 * filled and folded when the first context is made, and copy 0 is never read by a call.
 */
#include <string.h>
#include "model.h"

static void
lock(fxrt_sets *s)
{
	while (__atomic_exchange_n(&s->lock, 1, __ATOMIC_ACQUIRE))
		;
}

static void
unlock(fxrt_sets *s)
{
	__atomic_store_n(&s->lock, 0, __ATOMIC_RELEASE);
}

static int
named(const fxrt_model *m, const char *name, fxcc_error *e)
{
	for (int i = 0; name && i < m->nweight; i++)
		if ((m->weights[i].fqn && strcmp(m->weights[i].fqn, name) == 0) || strcmp(m->weights[i].name, name) == 0)
			return i;
	return -fxrt_fail(e, FXCC_EWEIGHTS, NULL, "no weight that can be replaced is called %s", name ? name : "(null)");
}

/* The weight of that name, of n bytes; minus an error. */
static int
find(const fxrt_model *m, const char *name, const void *data, size_t n, fxcc_error *e)
{
	int i;

	if (e)
		memset(e, 0, sizeof *e);
	i = named(m, name, e);
	if (i >= 0 && n != m->weights[i].bytes) {
		if (e) {
			e->got = (int64_t)n;
			e->lo = e->hi = (int64_t)m->weights[i].bytes;
		}
		return -fxrt_fail(e, FXCC_EWEIGHTS, m->weights[i].fqn, "%s has %llu bytes, %zu given", name, (unsigned long long)m->weights[i].bytes, n);
	}
	if (i >= 0 && data == NULL && n)
		return -fxrt_fail(e, FXCC_EARG, m->weights[i].fqn, "%s: a null pointer", name);
	return i;
}

/* A block to fill, which begins as what calls read now. */
static int
begin(const fxrt_model *m, fxcc_error *e)
{
	fxrt_sets *s = m->sets;
	int active = s->active, b = active == 1 ? 2 : 1;

	if (s->building)
		return 0;
	if (m->find && m->find(m, e))
		return FXCC_EWEIGHTS;
	if (__atomic_load_n(&s->users[b], __ATOMIC_SEQ_CST) != 0)
		return fxrt_fail(e, FXCC_ESTATE, NULL, "calls that began before the last swap still read its weights");
	memcpy(fxrt_weights_at(m, b), fxrt_weights_at(m, active), (size_t)(active ? m->nset : m->nfirst));
	s->building = b;
	s->stale = m->nfirst < m->nset && !active;
	return 0;
}

int32_t
fxrt_weight_set(const fxrt_model *m, const char *name, const void *data, size_t n, fxcc_error *e)
{
	int i = find(m, name, data, n, e), rc;

	if (i < 0)
		return -i;
	if (i >= m->nplain)
		return fxrt_fail(e, FXCC_EWEIGHTS, m->weights[i].fqn, "%s is computed from other weights", name);
	lock(m->sets);
	rc = begin(m, e);
	if (rc == 0) {
		memcpy(fxrt_weights_at(m, m->sets->building) + m->weights[i].offset, data, n);
		m->sets->stale = 1;
	}
	unlock(m->sets);
	return rc;
}

int32_t
fxrt_weight_get(const fxrt_model *m, const char *name, void *data, size_t n, fxcc_error *e)
{
	fxrt_ctx c = {.model = m};
	fxrt_run r = {.cx = &c};
	int i = find(m, name, data, n, e), copy, rc;

	if (i < 0)
		return -i;
	if ((m->find && (rc = m->find(m, e))) || (m->first && (rc = m->first(m, e))))
		return rc;
	copy = fxrt_weights_enter(&r);
	memcpy(data, r.weights + m->weights[i].offset, n);
	fxrt_weights_leave(m, copy);
	return 0;
}

/* The fold entry over the block that is being filled; under the lock. */
static int
fold(const fxrt_model *m, fxcc_error *e)
{
	fxrt_ctx c = {.model = m, .version = fxrt_version_for(m), .narena = m->nfold};
	fxrt_run r = {.cx = &c, .en = fxrt_entry_of(m, FxrtFold), .err = e};
	int rc = 0;

	if (!m->sets->building || !m->sets->stale)
		return 0;
	if (r.en) {
		if (c.version < 0)
			return fxrt_fail(e, FXCC_ECPU, NULL, "this CPU lacks instructions that the library was built for (%s)", m->module->target);
		c.arena = (unsigned char *)(((uintptr_t)m->foldmem + FxrtAlign - 1) & ~(uintptr_t)(FxrtAlign - 1));
		r.v = &r.en->version[c.version];
		r.weights = fxrt_weights_at(m, m->sets->building);
		rc = fxrt_steps(&r);
	}
	m->sets->stale = rc != 0;
	return rc;
}

int32_t
fxrt_weight_fold(const fxrt_model *m, fxcc_error *e)
{
	int rc;

	if (e)
		memset(e, 0, sizeof *e);
	lock(m->sets);
	rc = fold(m, e);
	unlock(m->sets);
	return rc;
}

static int
swap(const fxrt_model *m, fxcc_error *e)
{
	int rc = fold(m, e);

	if (rc == 0 && m->sets->building) {
		__atomic_store_n(&m->sets->active, m->sets->building, __ATOMIC_SEQ_CST);
		m->sets->building = 0;
	}
	return rc;
}

/* Nothing set since the last swap: nothing to do. */
int32_t
fxrt_weight_swap(const fxrt_model *m, fxcc_error *e)
{
	int rc;

	if (e)
		memset(e, 0, sizeof *e);
	lock(m->sets);
	rc = swap(m, e);
	unlock(m->sets);
	return rc;
}

/* Before the first call.  What was set by then is in the block that is being filled. */
int
fxrt_weights_first(const fxrt_model *m, fxcc_error *e)
{
	int rc = 0;

	if (__atomic_load_n(&m->sets->active, __ATOMIC_SEQ_CST))
		return 0;
	lock(m->sets);
	if (m->sets->active == 0 && (rc = begin(m, e)) == 0)
		rc = swap(m, e);
	unlock(m->sets);
	return rc;
}
