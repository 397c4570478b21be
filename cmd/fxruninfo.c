/* fxruninfo.c - what a library holds, from its own description. */
#include "fxrun.h"

static void
type(const fxcc_tensor_info *t)
{
	enum dtype dt = artifact_dtype(t->dtype);

	printf("%s[", t->kind == FXCC_SIZE ? "size" : dt == DtNone ? "?" : dtypeinfo[dt].text);
	for (int d = 0; d < t->ndim; d++)
		if (t->dim[d].sym)
			printf("%s%s", d ? ", " : "", t->dim[d].sym);
		else
			printf("%s%lld", d ? ", " : "", (long long)t->dim[d].value);
	printf("]");
}

static void
tensor(const char *what, const fxcc_module *m, const fxcc_tensor_info *t)
{
	printf("%-7s %-24s ", what, t->name ? t->name : "");
	type(t);
	if (t->fqn && *t->fqn)
		printf("  \"%s\"", t->fqn);
	if (t->flags & FXCC_WRITTEN)
		printf("  written");
	if (t->flags & FXCC_RESHAPED)
		printf("  reshaped");
	if (t->flags & FXCC_ALIAS_IN && t->offset < (uint64_t)m->nin)
		printf("  is %s", m->in[t->offset].name);
	if (t->flags & FXCC_VIEW_IN)
		printf("  view of %s", m->in[t->offset].name);
	if (t->flags & FXCC_VIEW_STATE)
		printf("  view of %s", m->state[t->offset].name);
	if (t->flags & FXCC_VIEW_OUT)
		printf("  view of %s", m->out[t->offset].name);
	if (t->flags & FXCC_DYNAMIC)
		printf("  at most");
	if (t->flags & FXCC_TRAINED)
		printf("  trained");
	if (t->kind == FXCC_TANGENT)
		printf(t->flags & FXCC_ONE ? "  1 if not given" : "  zeros if not given");
	if (t->kind == FXCC_SAVED && t->offset != UINT64_MAX)
		printf("  at %llu", (unsigned long long)t->offset);
	if (t->flags & FXCC_DONATED)
		printf("  donated");
	putchar('\n');
}

/* Every free size once, with its range. */
static void
sizes(const fxcc_module *m)
{
	for (int i = 0; i < m->nin; i++)
		for (int d = 0; d < m->in[i].ndim; d++) {
			const fxcc_dim *x = &m->in[i].dim[d];
			bool seen = x->sym == NULL;
			for (int k = 0; !seen && k <= i; k++)
				for (int e = 0; e < (k < i ? m->in[k].ndim : d); e++)
					seen |= m->in[k].dim[e].sym && strcmp(m->in[k].dim[e].sym, x->sym) == 0;
			if (seen)
				continue;
			printf("size    %-24s %lld", x->sym, (long long)x->lo);
			printf(x->hi >= INT64_MAX / 2 ? " or more\n" : " to %lld\n", (long long)x->hi);
		}
}

static uint64_t
bytes(const fxcc_tensor_info *t, int n)
{
	uint64_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += t[i].nbytes;
	return sum;
}

/* Known without a call if no size is free. */
static void
arena(const fxcc_module *m)
{
	const int64_t *shape[256];
	int64_t dim[256][MaxRank];
	size_t need, saved;
	fxcc_error e;

	for (int i = 0; i < m->nin; i++) {
		if (i == COUNT(shape) || m->in[i].kind == FXCC_SIZE)
			return;
		for (int d = 0; d < m->in[i].ndim; d++)
			if ((dim[i][d] = m->in[i].dim[d].value) < 0)
				return;
		shape[i] = dim[i];
	}
	if (m->arena_need(shape, &need, &saved, &e) == 0)
		printf("arena   %zu bytes\n", need);
	if (artifact_trains(m) && m->arena_need(shape, &need, &saved, &e) == 0)
		printf("saved   %zu bytes in %d tensors\n", saved, m->nsaved);
}

static void
training(const fxcc_module *m)
{
	if (!artifact_trains(m))
		return;
	printf("trains  %d gradients%s\n", m->ngrad, m->flags & FXCC_DONATES ? "; one backward for each forward" : "");
	for (int i = 0; i < m->ntangent; i++)
		tensor("tangent", m, &m->tangent[i]);
	for (int i = 0; i < m->ngrad; i++)
		tensor("grad", m, &m->grad[i]);
	for (int i = 0; i < m->nsaved; i++)
		tensor("saved", m, &m->saved[i]);
}

/* What may change between calls: by the optimizer, by the program. */
static void
changes(const fxcc_module *m)
{
	if (m->size >= offsetof(fxcc_module, nweight) && m->step)
		printf("steps   learning rate %g\n", m->lr);
	for (int i = 0; m->size >= offsetof(fxcc_module, load) && i < m->nweight; i++)
		tensor("mutable", m, &m->weight[i]);
	if (m->size >= offsetof(fxcc_module, load) + sizeof m->load && m->load)
		printf("outside the library: its weights\n");
}

void
module_info(const fxcc_module *m)
{
	printf("name    %s\nabi     %u.%u\nversion fxcc %s\ntarget  %s\noptions %s\nkernels %d\n", m->name, m->abi_major, m->abi_minor,
	       m->version, m->target ? m->target : "", m->options ? m->options : "", m->nkernel);
	printf("weights %llu bytes in %d tensors\n", (unsigned long long)bytes(m->param, m->nparam), m->nparam);
	printf("context %zu bytes\n", m->ctx_size);
	arena(m);
	sizes(m);
	for (int i = 0; i < m->nin; i++)
		tensor("input", m, &m->in[i]);
	for (int i = 0; i < m->nout; i++)
		tensor("output", m, &m->out[i]);
	for (int i = 0; i < m->nstate; i++)
		tensor("state", m, &m->state[i]);
	if (m->flags & FXCC_RANDOM)
		printf("random  numbers of (seed, offset): (0, 0) at first, offset grows by 1 with each forward call\n");
	training(m);
	changes(m);
	for (int i = 0; i < m->nparam; i++)
		tensor(m->param[i].kind == FXCC_PARAM ? "param" : m->param[i].kind == FXCC_BUFFER ? "buffer" : "const", m, &m->param[i]);
}
