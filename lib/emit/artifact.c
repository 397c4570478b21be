/* artifact.c - what an artifact is made of: its entries, sizes, constants and kernels,
 * gathered from the plans before anything is printed.  Arguments are in ports.c.
 */
#include "emit/tables.h"
#include "rt/model.h"

/* ---- sizes --------------------------------------------------------------------------- */

int
artifact_sym(const Artifact *a, const Sym *s)
{
	for (int i = 0; i < a->sym.n; i++)
		if (a->sym.v[i] == s)
			return i;
	return -1;
}

static void
add_syms(Artifact *a, const Sym *e)
{
	const Sym **var = NULL;
	int n = 0;

	if (e == NULL)
		return;
	sym_vars(a->a, e, &var, &n);
	for (int i = 0; i < n; i++)
		if (artifact_sym(a, var[i]) < 0)
			vec_push(a->a, &a->sym, var[i]);
}

/* Those that the shapes of the inputs give come first, in order of appearance. */
static void
sizes(Artifact *a)
{
	const Ports *in = &a->entry[0].in;

	for (int i = 0; i < in->n; i++) {
		const Type *t = in->v[i].type;
		if (t->kind == TySym && t->sym->kind == SymVar && artifact_sym(a, t->sym) < 0)
			vec_push(a->a, &a->sym, t->sym);
		for (int d = 0; t->kind == TyTensor && d < t->rank; d++)
			if (t->dim[d]->kind == SymVar && artifact_sym(a, t->dim[d]) < 0)
				vec_push(a->a, &a->sym, t->dim[d]);
	}
	for (int i = 0; i < in->n; i++)            /* strides that only a call knows */
		for (int d = 0; in->v[i].type->kind == TyTensor && in->v[i].type->stride && d < in->v[i].type->rank; d++) {
			const Sym *s = in->v[i].type->stride[d];
			if (s->kind == SymVar && artifact_sym(a, s) < 0)
				vec_push(a->a, &a->sym, s);
		}
	for (int i = 0; i < in->n; i++)            /* those that occur within a size alone: 2*s0 */
		for (int d = 0; in->v[i].type->kind == TyTensor && d < in->v[i].type->rank; d++) {
			const Sym *e = in->v[i].type->dim[d], **var = NULL, *c, *rest;
			int n = 0;
			sym_vars(a->a, e, &var, &n);
			if (n == 1 && artifact_sym(a, var[0]) < 0 && sym_linear(a->cx, e, var[0], &c, &rest))
				vec_push(a->a, &a->sym, var[0]);
		}
	a->nsize = a->sym.n;
	for (int e = 0; e < a->nentry; e++)
		for (int v = 0; v < a->opt->ntarget; v++)
			for (int i = 0; i < a->entry[e].plan[v]->sym.n; i++)
				add_syms(a, a->entry[e].plan[v]->sym.v[i]);
}

/* ---- constants -------------------------------------------------------------------------- */

static void
add_konst(Artifact *a, const uint8_t *data, size_t bytes)
{
	if (map_get(&a->konstof, data))
		return;
	a->nkonst = (a->nkonst + 63) & ~UINT64_C(63);
	vec_push(a->a, &a->konst, (Konst){data, bytes, a->nkonst});
	map_put(a->a, &a->konstof, data, (void *)(intptr_t)a->konst.n);
	a->nkonst += bytes;
}

/* Bytes of a constant.  A buffer of no elements has none. */
static bool
konst_bytes(Artifact *a, const Buf *b, size_t *bytes)
{
	int64_t n;

	if (!sym_isconst(b->count, &n))
		bug(a->cx, NOLOC, "constant %s has a free size", b->name ? b->name : "?");
	*bytes = (size_t)n * dtypeinfo[b->dt].bytes;
	return *bytes > 0 && b->data;
}

/* A state that begins as zeros needs no bytes. */
static bool
iszero(const uint8_t *p, uint64_t n)
{
	while (n > 0 && *p == 0)
		p++, n--;
	return n == 0;
}

static void
constants(Artifact *a)
{
	for (int e = 0; e < a->nentry; e++)
		for (int v = 0; v < a->opt->ntarget; v++)
			for (int i = 0; i < a->entry[e].plan[v]->buf.n; i++) {
				const Buf *b = &a->entry[e].plan[v]->buf.v[i];
				size_t bytes;
				if (b->home == HomeConst && konst_bytes(a, b, &bytes))
					add_konst(a, b->data, bytes);
			}
	for (int i = 0; i < a->state.n; i++)       /* also those that no kernel reads */
		if (!iszero(a->state.v[i].in->weight->data, a->state.v[i].bytes))
			add_konst(a, a->state.v[i].in->weight->data, a->state.v[i].bytes);
	a->weightat = (a->nkonst + 63) & ~UINT64_C(63);
	for (int i = 0; i < a->weight.n; i++) {    /* in one piece, as their copies will lie */
		const State *s = &a->weight.v[i];
		if (a->weightat + s->offset < a->nkonst || s->bytes == 0 || s->offset >= a->nfirst)
			continue;                  /* tied to an earlier one */
		vec_push(a->a, &a->konst, (Konst){s->in->weight->data, s->bytes, a->weightat + s->offset});
		a->nkonst = a->weightat + s->offset + s->bytes;
	}
}

/* ---- kernels ------------------------------------------------------------------------------ */

static bool
same_kernel(const Kernel *a, const Kernel *b)
{
	if (a->ins.n != b->ins.n || a->buf.n != b->buf.n || a->sym.n != b->sym.n || !a->parallel != !b->parallel)
		return false;
	for (int i = 0; i < a->buf.n; i++) {
		const KBuf *x = &a->buf.v[i], *y = &b->buf.v[i];
		if (x->dt != y->dt || x->home != y->home || x->alias != y->alias || x->count != y->count)
			return false;
	}
	for (int i = 0; i < a->ins.n; i++) {
		const KIns *x = &a->ins.v[i], *y = &b->ins.v[i];
		if (x->op != y->op || x->dt != y->dt || x->lanes != y->lanes || x->sub != y->sub || x->buf != y->buf ||
		    x->a != y->a || x->b != y->b || x->c != y->c || x->i != y->i)
			return false;
	}
	return true;
}

static void
add_kernel(Artifact *a, const Entry *e, int v, int i)
{
	Kernel *k = e->plan[v]->kernel.v[i];
	const char *symbol = NULL, *tag = e->kind == FxrtForward ? "" : e->tag;

	a->random |= a->mod->rngwords != NULL;
	for (int j = 0; j < k->sym.n; j++)
		a->random |= k->sym.v[j]->name && strcmp(k->sym.v[j]->name, "rng_seed") == 0;
	for (int u = 0; u < a->unit.n && symbol == NULL; u++)
		if (a->unit.v[u].target == a->opt->target[v] && same_kernel(a->unit.v[u].kernel, k))
			symbol = a->unit.v[u].symbol;
	bool first = symbol == NULL;
	if (first)
		symbol = arena_printf(a->a, "%s%s%s%d_%s", a->p, tag, a->opt->ntarget > 1 ? "v" : "k", a->opt->ntarget > 1 ? v : i,
		                      k->name ? k->name : "kernel");
	for (int u = 0; first && u < a->unit.n; u++)
		if (strcmp(a->unit.v[u].symbol, symbol) == 0)
			symbol = arena_printf(a->a, "%s_%d", symbol, i);
	vec_push(a->a, &a->unit, (KernelUnit){k, a->opt->target[v], symbol});
}

static void
kernels(Artifact *a)
{
	for (int e = 0; e < a->nentry; e++)
		for (int v = 0; v < a->opt->ntarget; v++)
			for (int i = 0; i < a->entry[e].plan[v]->kernel.n; i++)
				add_kernel(a, &a->entry[e], v, i);
}

static void
add_extern(Artifact *a, const Step *s)
{
	bool seen = s->kind != StepExtern;

	for (int j = 0; j < a->ext.n && !seen; j++)
		seen = a->ext.v[j] == s->fn;
	for (int j = 0; j < a->user.n && s->symbol && !seen; j++)
		seen = a->user.v[j] == s->symbol;
	if (!seen && s->symbol)
		vec_push(a->a, &a->user, s->symbol);
	else if (!seen)
		vec_push(a->a, &a->ext, s->fn);
}

static void
externs(Artifact *a)
{
	for (int e = 0; e < a->nentry; e++)
		for (int v = 0; v < a->opt->ntarget; v++)
			for (int i = 0; i < a->entry[e].plan[v]->step.n; i++)
				add_extern(a, &a->entry[e].plan[v]->step.v[i]);
}

/* ---- all ------------------------------------------------------------------------------------ */

static uint64_t
hash(uint64_t h, const void *p, size_t n)
{
	for (const uint8_t *s = p; n > 0; n--)
		h = (h ^ *s++) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t
hash_ports(const Artifact *a, uint64_t h, const Ports *p)
{
	for (int i = 0; i < p->n; i++) {
		const char *t = type_str(a->cx, p->v[i].type);
		h = hash(h, p->v[i].name, strlen(p->v[i].name));
		h = hash(h, t, strlen(t));
	}
	return h;
}

/* What header and library share: names, types and order of all arguments. */
static uint64_t
signature(const Artifact *a)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	h = hash(h, a->opt->prefix, strlen(a->opt->prefix));
	for (int e = 0; e < a->nentry; e++)
		h = hash_ports(a, hash_ports(a, h, &a->entry[e].in), &a->entry[e].out);
	return hash(h, &a->nkonst, sizeof a->nkonst);
}

/* What forward and backward share: all that decides what a saved buffer means. */
static uint64_t
build(const Artifact *a)
{
	uint64_t h = a->signature;

	for (int i = 0; i < a->saved.n; i++) {
		const char *t = type_str(a->cx, a->saved.v[i].type), *at = sym_str(a->cx, a->saved.v[i].offset);
		h = hash(h, a->saved.v[i].name, strlen(a->saved.v[i].name));
		h = hash(h, t, strlen(t));
		h = hash(h, at, strlen(at));
	}
	for (int i = 0; i < a->unit.n; i++) {
		const Kernel *k = a->unit.v[i].kernel;
		h = hash(h, a->unit.v[i].symbol, strlen(a->unit.v[i].symbol));
		h = hash(h, &k->ins.n, sizeof k->ins.n);
	}
	for (int i = 0; i < a->konst.n; i++)
		h = hash(h, a->konst.v[i].data, a->konst.v[i].bytes < 4096 ? a->konst.v[i].bytes : 4096);
	return hash(h, a->opt->command ? a->opt->command : "", a->opt->command ? strlen(a->opt->command) : 0);
}

static bool
too_many(Artifact *a)
{
	for (int e = 0; e < a->nentry; e++)
		if (a->entry[e].in.n >= FxrtMaxBuf || a->entry[e].out.n >= FxrtMaxBuf)
			return error(a->cx, NOLOC, "the model has %d inputs and %d outputs; at most %d are supported",
			             a->entry[e].in.n, a->entry[e].out.n, FxrtMaxBuf - 1), true;
	if (a->sym.n >= FxrtMaxSym)
		return error(a->cx, NOLOC, "the model has %d free sizes; at most %d are supported", a->sym.n, FxrtMaxSym - 1), true;
	for (int e = 0; e < a->nentry; e++)
		for (int v = 0; v < a->opt->ntarget; v++)
			for (int i = 0; i < a->entry[e].plan[v]->step.n; i++)
				if (a->entry[e].plan[v]->step.v[i].nbuf >= FxrtMaxBuf)
					return error(a->cx, a->entry[e].plan[v]->step.v[i].loc, "a step reads more than %d tensors", FxrtMaxBuf - 1), true;
	return false;
}

static bool
defined_by_step(const Artifact *a, const Sym *s)
{
	for (int e = 0; e < a->nentry; e++)
		for (int i = 0; i < a->entry[e].plan[0]->step.n; i++)
			if (a->entry[e].plan[0]->step.v[i].define == s)
				return true;
	return s->name && strcmp(s->name, "rng_seed") == 0;
}

static void
port_syms(Artifact *a, const Ports *p)
{
	for (int i = 0; i < p->n; i++) {
		const Type *t = p->v[i].type;
		if (p->v[i].after)
			port_syms(a, &(Ports){.v = p->v[i].after, .n = 1});
		add_syms(a, t->kind == TySym ? t->sym : NULL);
		add_syms(a, p->v[i].offset);
		for (int d = 0; t->kind == TyTensor && d < t->rank; d++) {
			add_syms(a, t->dim[d]);
			add_syms(a, p->v[i].viewof ? type_stride(a->cx, t, d) : NULL);
		}
	}
}

/* A size must come from the inputs or from a step; a number read by item() has no code yet. */
static bool
unbound(Artifact *a)
{
	for (int e = 0; e < a->nentry; e++) {
		if (e)
			port_syms(a, &a->entry[e].in);
		port_syms(a, &a->entry[e].out);
	}
	for (int i = a->nsize; i < a->sym.n; i++)
		if (!defined_by_step(a, a->sym.v[i]))
			return error(a->cx, NOLOC, "1 operator is not supported: a size or number read from data by item() (%s)", a->sym.v[i]->name), true;
	return false;
}

const Entry *
artifact_entry(const Artifact *a, int kind)
{
	for (int i = 0; i < a->nentry; i++)
		if (a->entry[i].kind == kind)
			return &a->entry[i];
	return NULL;
}

size_t
artifact_ctxsize(const Artifact *a)
{
	return sizeof(fxrt_ctx) + 2 * FxrtAlign + (a->mod->rngwords ? 2 * sizeof(fxrt_twister) : 0) + (size_t)a->nstate;
}

static void
add_entry(Artifact *a, int kind, const char *tag, Plan *const *plan)
{
	if (plan)
		a->entry[a->nentry++] = (Entry){.kind = kind, .tag = tag, .mod = plan[0]->mod, .plan = plan};
}

/* Bytes that calls need where no size is free: as lib/rt counts them. */
static void
measure(Artifact *a)
{
	int64_t n = 0, save = 0;

	if (a->savedsize)
		sym_isconst(a->savedsize, &save);
	for (int e = 0; e < a->nentry; e++)
		for (int v = 0; v < a->opt->ntarget; v++) {
			uint64_t need = 0;
			if (sym_isconst(a->entry[e].plan[v]->arena, &n))
				need = ((uint64_t)n + 63) / 64 * 64 + (e ? 0 : ((uint64_t)save + 63) / 64 * 64);
			for (int k = 0; e && k < 2; k++)
				for (int i = 0; i < (k ? a->entry[e].out.n : a->entry[e].in.n); i++) {
					const Port *p = k ? &a->entry[e].out.v[i] : &a->entry[e].in.v[i];
					if ((k ? p->optional : p->absent) && sym_isconst(type_numel(a->cx, p->type), &n))
						need += ((uint64_t)n * dtypeinfo[p->type->dt].bytes + 63) / 64 * 64;
				}
			if (e == 0 && need > a->arena)
				a->arena = need;
			if (need > a->arenamax)
				a->arenamax = need;
		}
}

bool
artifact_new(Ctx *cx, const EmitOptions *opt, Artifact *a)
{
	*a = (Artifact){.cx = cx, .a = ctx_arena(cx), .opt = opt, .mod = opt->plan[0]->mod};
	a->p = arena_printf(a->a, "%s__", opt->prefix);
	add_entry(a, FxrtForward, "f", opt->plan);
	add_entry(a, FxrtBackward, "b", opt->backward);
	add_entry(a, FxrtStep, "s", opt->step);
	add_entry(a, FxrtFold, "c", opt->fold);
	ports_forward(a);
	sizes(a);
	ports_others(a);
	if (unbound(a))
		return false;
	ports_saved(a);
	constants(a);
	kernels(a);
	externs(a);
	if (a->nsize == 0)
		measure(a);
	a->signature = signature(a);
	a->build = build(a);
	return !too_many(a);
}

const char *
artifact_target(const Artifact *a)
{
	Text t = {.arena = a->a};

	for (int v = 0; v < a->opt->ntarget; v++)
		text_add(&t, "%s%s", v ? "," : "", a->opt->target[v]->name);
	return t.s;
}
