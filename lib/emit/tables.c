/* tables.c - the tables of lib/rt/model.h and the module description, through Data.
 *
 * Everything runs twice: once into nothing, to gather the size expressions, and
 * once for good.  Names of tables are the artifact's prefix and what they hold.
 */
#include "emit/tab.h"
#include "rt/model.h"

const char *
tab_name(const Artifact *a, const char *what)
{
	return arena_printf(a->a, "%s%s", a->p, what);
}

/* A table of the entry at hand. */
const char *
tab_ename(const Tab *t, const char *what)
{
	return arena_printf(t->a->a, "%s%s_%s", t->a->p, t->e->tag, what);
}

/* ---- a version: buffers and steps ------------------------------------------------------ */

static int
port_at(const Ports *p, int index)
{
	for (int i = 0; i < p->n; i++)
		if (p->v[i].index == index)
			return i;
	return -1;
}

static int
saved_at(const Artifact *a, Str target)
{
	for (int i = 0; target && i < a->saved.n; i++)
		if (a->saved.v[i].name == target)
			return i;
	return -1;
}

/* A place as lib/rt knows it: its home, and which of those that live there. */
typedef struct Place { int home, index; } Place;

static Place
place(const Tab *t, const Buf *b)
{
	const Module *m = t->e->mod;
	Place p = {(int)b->home, 0};

	if (b->home == HomeOutput)
		p.index = port_at(&t->e->out, b->index);
	else if (b->home == HomeWeight)
		p = (Place){FxrtHomeWeight, artifact_weight(t->a, &m->in.v[b->index])};
	else if (b->home == HomeFault)
		p.home = FxrtHomeFault;
	else if (b->home == HomeState)
		p.index = artifact_state(t->a, &m->in.v[b->index]);
	else if (b->home == HomeSaved && t->e->kind == FxrtForward)
		p.index = saved_at(t->a, m->out.v[b->index].target ? m->out.v[b->index].target : m->out.v[b->index].name);
	else if (b->home == HomeSaved)
		p.index = saved_at(t->a, m->in.v[b->index].target);
	else if (b->home == HomeInput && (p.index = port_at(&t->e->in, b->index)) < 0)
		p = (Place){FxrtHomeKept, artifact_kept(t->a, &m->in.v[b->index])};
	if (p.index < 0)
		bug(t->a->cx, NOLOC, "buffer %s is at home nowhere", b->name ? b->name : "?");
	return p;
}

static void
put_buf(Tab *t, const Buf *b)
{
	intptr_t k = b->home == HomeConst ? (intptr_t)map_get(&t->a->konstof, b->data) : 0;
	Place p = place(t, b);

	data_begin(t->d);
	data_int(t->d, 32, p.home);
	data_int(t->d, 32, p.index);
	data_int(t->d, 32, b->dt);
	data_int(t->d, 32, dtypeinfo[b->dt].bytes);
	tab_expr(t, b->count);
	tab_expr(t, b->home == HomeArena || b->home == HomeScratch ? b->offset : NULL);
	data_int(t->d, 64, k ? (int64_t)t->a->konst.v[k - 1].offset : 0);
	data_end(t->d);
}

/* What a step points to, named after version and step. */
typedef struct StepNames { const char *buf, *sym, *num, *real; } StepNames;

static void
kernel_syms(Tab *t, const Kernel *k)
{
	for (int i = 0; i < k->sym.n; i++) {
		bool seed = k->sym.v[i]->name && strcmp(k->sym.v[i]->name, "rng_seed") == 0;
		data_int(t->d, 32, seed ? -1 : artifact_sym(t->a, k->sym.v[i]));
	}
}

static StepNames
step_parts(Tab *t, const Step *s, int v, int i)
{
	StepNames n = {0};
	Artifact *a = t->a;

	if (s->nbuf) {
		n.buf = tab_ename(t, arena_printf(a->a, "buf%d_%d", v, i));
		data_open(t->d, "int32_t", n.buf, s->nbuf, DataConst);
		for (int j = 0; j < s->nbuf; j++)
			data_int(t->d, 32, s->buf[j]);
		data_close(t->d);
	}
	if (s->kind == StepKernel && s->kernel->sym.n) {
		n.sym = tab_ename(t, arena_printf(a->a, "sym%d_%d", v, i));
		data_open(t->d, "int32_t", n.sym, s->kernel->sym.n, DataConst);
		kernel_syms(t, s->kernel);
		data_close(t->d);
	}
	n.num = tab_exprs(t, arena_printf(a->a, "num%d_%d", v, i), s->num, s->nnum);
	if (s->nreal) {
		n.real = tab_ename(t, arena_printf(a->a, "real%d_%d", v, i));
		data_open(t->d, "double", n.real, s->nreal, DataConst);
		for (int j = 0; j < s->nreal; j++)
			data_real(t->d, s->real[j]);
		data_close(t->d);
	}
	return n;
}

static const char *
kernel_symbol(const Artifact *a, int v, const Kernel *k)
{
	for (int i = 0; i < a->unit.n; i++)
		if (a->unit.v[i].kernel == k && a->unit.v[i].target == a->opt->target[v])
			return a->unit.v[i].symbol;
	return NULL;
}

static const char *
step_text(Artifact *a, const Step *s)
{
	if (s->kind == StepKernel)
		return s->kernel->name;
	if (s->kind == StepExtern)
		return s->fn;
	return s->assertion ? s->assertion : s->kind == StepCopy ? "copy" : arena_printf(a->a, "size");
}

static void
put_step(Tab *t, const Step *s, const StepNames *n, int v)
{
	const Kernel *k = s->kind == StepKernel ? s->kernel : NULL;

	data_begin(t->d);
	data_int(t->d, 32, (int)s->kind);
	data_int(t->d, 32, s->nbuf);
	data_int(t->d, 32, s->nnum);
	data_int(t->d, 32, s->nreal);
	data_int(t->d, 32, k ? k->sym.n : 0);
	data_int(t->d, 32, s->kind == StepJump ? s->target : s->define ? artifact_sym(t->a, s->define) : -1);
	data_ptr(t->d, n->buf, 0);
	data_ptr(t->d, n->sym, 0);
	data_fn(t->d, k ? kernel_symbol(t->a, v, k) : NULL);
	data_fn(t->d, s->symbol ? s->symbol : s->kind == StepExtern ? arena_printf(t->a->a, "fxrt_%s", s->fn) : NULL);
	tab_expr(t, k ? k->parallel : NULL);
	data_int(t->d, 64, k ? k->grain : 0);
	data_ptr(t->d, n->num, 0);
	data_ptr(t->d, n->real, 0);
	data_str(t->d, step_text(t->a, s));
	data_end(t->d);
}

static void
version(Tab *t, int v)
{
	const Plan *p = t->e->plan[v];
	StepNames *n = NEWN(t->a->a, StepNames, p->step.n + 1);

	for (int i = 0; i < p->step.n; i++)
		n[i] = step_parts(t, &p->step.v[i], v, i);
	data_open(t->d, "fxrt_buf", tab_ename(t, arena_printf(t->a->a, "bufs%d", v)), p->buf.n, DataConst);
	for (int i = 0; i < p->buf.n; i++)
		put_buf(t, &p->buf.v[i]);
	data_close(t->d);
	data_open(t->d, "fxrt_step", tab_ename(t, arena_printf(t->a->a, "steps%d", v)), p->step.n, DataConst);
	for (int i = 0; i < p->step.n; i++)
		put_step(t, &p->step.v[i], &n[i], v);
	data_close(t->d);
}

static void
put_made(Tab *t, int step, int pos, Str name)
{
	data_begin(t->d);
	data_int(t->d, 32, step);
	data_int(t->d, 32, pos);
	data_str(t->d, name);
	data_end(t->d);
}

/* What the steps of a version leave, under its names in the program; how many. */
static int
made(Tab *t, int v)
{
	const Plan *p = t->e->plan[v];
	int n = 0;

	if (!(t->a->opt->asserts & FxrtAssertNan))
		return 0;
	for (int put = 0; put < 2; put++) {
		if (put)
			data_open(t->d, "fxrt_made", tab_ename(t, arena_printf(t->a->a, "made%d", v)), n, DataConst);
		n = 0;
		for (int i = 0; i < p->step.n; i++) {
			const Step *s = &p->step.v[i];
			const Kernel *k = s->kernel;
			for (int b = 0, pos = 0; s->kind == StepKernel && b < k->buf.n; b++) {
				if (k->buf.v[b].home == KParam && k->buf.v[b].written && !dt_int(k->buf.v[b].dt) && ++n && put)
					put_made(t, i, pos, k->buf.v[b].name);
				pos += k->buf.v[b].home != KStack;
			}
			for (int b = s->result0; s->kind == StepExtern && b < s->result0 + s->nresult; b++)
				if (!dt_int(p->buf.v[s->buf[b]].dt) && ++n && put)
					put_made(t, i, b, p->buf.v[s->buf[b]].name);
		}
	}
	data_close(t->d);
	return n;
}

/* The x86-64 level that a target needs. */
static int
cpu_level(const Target *t)
{
	const char *v = strstr(t->name, "x86-64-v");

	return v ? v[8] - '0' : strcmp(t->name, "x86-64") == 0 ? 1 : 0;
}

static void
versions(Tab *t)
{
	int n = t->a->opt->ntarget;

	int *nmade = NEWN(t->a->a, int, n + 1);

	for (int v = 0; v < n; v++) {
		version(t, v);
		nmade[v] = made(t, v);
	}
	data_open(t->d, "fxrt_version", tab_ename(t, "versions"), n, DataConst);
	for (int v = 0; v < n; v++) {
		const Plan *p = t->e->plan[v];
		data_begin(t->d);
		data_int(t->d, 32, cpu_level(t->a->opt->target[v]));
		data_int(t->d, 32, p->buf.n);
		data_int(t->d, 32, p->step.n);
		data_int(t->d, 32, p->maxwork);
		data_ptr(t->d, tab_ename(t, arena_printf(t->a->a, "bufs%d", v)), 0);
		data_ptr(t->d, tab_ename(t, arena_printf(t->a->a, "steps%d", v)), 0);
		tab_expr(t, p->arena ? p->arena : sym_const(t->a->cx, 0));
		data_ptr(t->d, nmade[v] ? tab_ename(t, arena_printf(t->a->a, "made%d", v)) : NULL, 0);
		data_int(t->d, 32, nmade[v]);
		data_end(t->d);
	}
	data_close(t->d);
}

/* ---- the door ------------------------------------------------------------------------------ */

static bool
solves(const Artifact *a, const Sym *e, const Sym *s, Binding *b, bool plain)
{
	const Sym *c, *rest;

	if (plain) {
		b->mul = 1;
		b->add = 0;
		return e == s;
	}
	return sym_linear(a->cx, e, s, &c, &rest) && sym_isconst(c, &b->mul) && b->mul > 0 && sym_isconst(rest, &b->add);
}

Binding
tab_binding(const Artifact *a, const Sym *s)
{
	const Ports *in = &a->entry[0].in;
	Binding b = {-1, -1, 1, 0};

	for (int k = 0; k < 4; k++)
		for (int i = 0; i < in->n; i++) {
			const Type *t = in->v[i].type;
			for (int d = 0; k == 3 && t->kind == TyTensor && t->stride && d < t->rank; d++)
				if (t->stride[d] == s)
					return (Binding){i, FxrtStrideOf + d, 1, 0};
			if (k == 3)
				continue;
			if (k == 1 && t->kind == TySym && t->sym == s)
				return (Binding){i, -1, 1, 0};
			for (int d = 0; k != 1 && t->kind == TyTensor && d < t->rank; d++)
				if (solves(a, t->dim[d], s, &b, k == 0)) {
					b.in = i;
					b.dim = d;
					return b;
				}
		}
	return (Binding){-1, -1, 1, 0};
}

static void
syms(Tab *t)
{
	data_open(t->d, "fxrt_sym", tab_name(t->a, "syms"), t->a->sym.n, DataConst);
	for (int i = 0; i < t->a->sym.n; i++) {
		const Sym *s = t->a->sym.v[i];
		Binding b = tab_binding(t->a, s);
		data_begin(t->d);
		data_str(t->d, s->name);
		data_int(t->d, 64, s->lo);
		data_int(t->d, 64, s->hi);
		data_int(t->d, 32, b.in);
		data_int(t->d, 32, b.dim);
		data_int(t->d, 64, b.mul);
		data_int(t->d, 64, b.add);
		data_end(t->d);
	}
	data_close(t->d);
}

static bool
strided(const Port *p, bool out)
{
	return p->type->kind == TyTensor && p->type->rank && !out && p->kind != FXCC_TANGENT && p->type->stride;
}

/* The lists of sizes and strides of port i have the names kind+"dim"+i ... */
static void
put_port(Tab *t, const Port *p, const char *kind, int i, bool out)
{
	bool tensor = p->type->kind == TyTensor;

	data_begin(t->d);
	data_str(t->d, p->name);
	data_int(t->d, 32, (int)port_dtype(p));
	data_int(t->d, 32, tensor ? p->type->rank : 0);
	data_ptr(t->d, tensor && p->type->rank ? tab_ename(t, arena_printf(t->a->a, "%sdim%d", kind, i)) : NULL, 0);
	data_ptr(t->d, strided(p, out) ? tab_ename(t, arena_printf(t->a->a, "%sstride%d", kind, i)) : NULL, 0);
	tab_expr(t, tensor ? NULL : p->type->sym);
	data_int(t->d, 32, p->alias);
	data_int(t->d, 32, p->written);
	data_int(t->d, 32, p->absent);
	data_int(t->d, 32, p->optional);
	data_int(t->d, 32, p->viewof);
	data_int(t->d, 32, p->base);
	data_ptr(t->d, p->viewof && p->type->rank ? tab_ename(t, arena_printf(t->a->a, "%sview%d", kind, i)) : NULL, 0);
	tab_expr(t, p->viewof ? p->offset : NULL);
	data_ptr(t->d, p->after ? tab_ename(t, arena_printf(t->a->a, "after%d", i)) : NULL, 0);
	data_end(t->d);
}

static void
port_lists(Tab *t, const Port *p, const char *kind, int i, bool out)
{
	const Type *y = p->type;

	if (y->kind != TyTensor || y->rank == 0)
		return;
	tab_exprs(t, arena_printf(t->a->a, "%sdim%d", kind, i), y->dim, y->rank);
	if (p->viewof) {
		const Sym **stride = NEWN(t->a->a, const Sym *, y->rank);
		for (int d = 0; d < y->rank; d++)
			stride[d] = type_stride(t->a->cx, y, d);
		tab_exprs(t, arena_printf(t->a->a, "%sview%d", kind, i), stride, y->rank);
	}
	if (strided(p, out))
		tab_exprs(t, arena_printf(t->a->a, "%sstride%d", kind, i), y->stride, y->rank);
}

static void
ports(Tab *t, bool out)
{
	const Ports *p = out ? &t->e->out : &t->e->in;
	const char *kind = out ? "out" : "in";

	for (int i = 0; i < p->n; i++) {
		port_lists(t, &p->v[i], kind, i, out);
		if (p->v[i].after == NULL)
			continue;
		port_lists(t, p->v[i].after, "after", i, true);
		data_open(t->d, "fxrt_port", tab_ename(t, arena_printf(t->a->a, "after%d", i)), 1, DataConst);
		put_port(t, p->v[i].after, "after", i, true);
		data_close(t->d);
	}
	data_open(t->d, "fxrt_port", tab_ename(t, arena_printf(t->a->a, "%ss", kind)), p->n, DataConst);
	for (int i = 0; i < p->n; i++)
		put_port(t, &p->v[i], kind, i, out);
	data_close(t->d);
}

static void
entries(Tab *t)
{
	Artifact *a = t->a;

	for (int i = 0; i < a->nentry; i++) {
		t->e = &a->entry[i];
		versions(t);
		ports(t, false);
		ports(t, true);
	}
	data_open(t->d, "fxrt_entry", tab_name(a, "entries"), a->nentry, DataConst);
	for (int i = 0; i < a->nentry; i++) {
		t->e = &a->entry[i];
		data_begin(t->d);
		data_int(t->d, 32, t->e->kind);
		data_int(t->d, 32, t->e->in.n);
		data_int(t->d, 32, t->e->out.n);
		data_int(t->d, 32, a->opt->ntarget);
		data_ptr(t->d, tab_ename(t, "ins"), 0);
		data_ptr(t->d, tab_ename(t, "outs"), 0);
		data_ptr(t->d, tab_ename(t, "versions"), 0);
		data_end(t->d);
	}
	t->e = NULL;
	data_close(t->d);
}

bool
tab_atdoor(const Artifact *a, const Guard *g)
{
	const Sym **var = NULL;
	int n = 0;

	sym_vars(a->a, g->cond, &var, &n);
	for (int i = 0; i < n; i++)
		if (artifact_sym(a, var[i]) < 0 || artifact_sym(a, var[i]) >= a->nsize)
			return false;
	return true;
}

static int
guards(Tab *t)
{
	Module *m = t->a->mod;
	int n = 0;

	for (int i = 0; i < m->guard.n; i++)
		n += tab_atdoor(t->a, &m->guard.v[i]);
	data_open(t->d, "fxrt_guard", tab_name(t->a, "guards"), n, DataConst);
	for (int i = 0; i < m->guard.n; i++) {
		const Guard *g = &m->guard.v[i];
		if (!tab_atdoor(t->a, g))
			continue;
		data_begin(t->d);
		tab_expr(t, g->cond);
		data_str(t->d, g->message ? g->message : g->text ? g->text : sym_str(t->a->cx, g->cond));
		data_end(t->d);
	}
	data_close(t->d);
	return n;
}

/* Where a weight lies among the constants; -1. */
int64_t
tab_konst(const Artifact *a, const Weight *w)
{
	intptr_t k = w ? (intptr_t)map_get(&a->konstof, w->data) : 0;

	return k ? (int64_t)a->konst.v[k - 1].offset : -1;
}

static void
states(Tab *t)
{
	Artifact *a = t->a;

	data_open(t->d, "fxrt_state", tab_name(a, "states"), a->state.n, DataConst);
	for (int i = 0; i < a->state.n; i++) {
		const State *s = &a->state.v[i];
		data_begin(t->d);
		data_str(t->d, s->name);
		data_str(t->d, s->fqn);
		data_int(t->d, 64, tab_konst(a, s->in->weight));
		data_int(t->d, 64, (int64_t)s->offset);
		data_int(t->d, 64, (int64_t)s->bytes);
		data_end(t->d);
	}
	data_close(t->d);
}

static void
weights(Tab *t)
{
	Artifact *a = t->a;

	data_open(t->d, "fxrt_state", tab_name(a, "weights"), a->weight.n, DataConst);
	for (int i = 0; i < a->weight.n; i++) {
		const State *s = &a->weight.v[i];
		data_begin(t->d);
		data_str(t->d, s->name);
		data_str(t->d, s->fqn);
		data_int(t->d, 64, (int64_t)(a->weightat + s->offset));
		data_int(t->d, 64, (int64_t)s->offset);
		data_int(t->d, 64, (int64_t)s->bytes);
		data_end(t->d);
	}
	data_close(t->d);
}

static void
saved(Tab *t)
{
	Artifact *a = t->a;

	data_open(t->d, "fxrt_saved", tab_name(a, "saveds"), a->saved.n, DataConst);
	for (int i = 0; i < a->saved.n; i++) {
		const Saved *s = &a->saved.v[i];
		data_begin(t->d);
		tab_expr(t, s->offset);
		tab_expr(t, s->count);
		data_int(t->d, 32, dtypeinfo[s->type->dt].bytes);
		data_int(t->d, 32, s->donated);
		data_end(t->d);
	}
	data_close(t->d);
	data_open(t->d, "int32_t", tab_name(a, "kept"), a->kept.n, DataConst);
	for (int i = 0; i < a->kept.n; i++)
		data_int(t->d, 32, a->kept.v[i]);
	data_close(t->d);
}

/* ---- the model ---------------------------------------------------------------------------------- */

static int64_t
set_bytes(const Artifact *a)
{
	return (int64_t)((a->nweight + FxrtAlign - 1) / FxrtAlign * FxrtAlign);
}

/* Arena of the fold entry: its sizes are known. */
static int64_t
fold_bytes(const Artifact *a)
{
	const Entry *e = artifact_entry(a, FxrtFold);
	int64_t most = 0, n;

	for (int v = 0; e && v < a->opt->ntarget; v++)
		if (sym_isconst(e->plan[v]->arena, &n) && n > most)
			most = n;
	return most;
}

static void
model(Tab *t, int nguard)
{
	Artifact *a = t->a;
	bool fixed = a->nsize == 0 && a->arena < UINT64_C(1) << 28;
	int64_t ctx = (int64_t)artifact_ctxsize(a), arena = (int64_t)a->arena + FxrtAlign;

	data_open(t->d, "fxrt_own", tab_name(a, "own"), sizeof(fxrt_own), DataZero);
	data_close(t->d);
	data_open(t->d, NULL, tab_name(a, "ownctx"), ctx, DataZero);
	data_close(t->d);
	if (fixed) {
		data_open(t->d, NULL, tab_name(a, "ownarena"), arena, DataZero);
		data_close(t->d);
	}
	if (a->weight.n) {
		data_open(t->d, "fxrt_sets", tab_name(a, "sets"), sizeof(fxrt_sets), DataZero);
		data_close(t->d);
		data_open(t->d, NULL, tab_name(a, "setmem"), 2 * set_bytes(a) + FxrtAlign, DataZero);
		data_close(t->d);
		data_open(t->d, NULL, tab_name(a, "foldmem"), fold_bytes(a) + FxrtAlign, DataZero);
		data_close(t->d);
	}
	bool outside = a->opt->weights != WeightsEmbed;
	if (outside) {
		data_open(t->d, "fxrt_blob", tab_name(a, "blob"), sizeof(fxrt_blob), DataZero);
		data_close(t->d);
	}
	data_open(t->d, "fxrt_model", tab_name(a, "model"), 1, DataConst);
	data_begin(t->d);
	data_ptr(t->d, tab_name(a, "module"), 0);
	data_ptr(t->d, outside ? NULL : tab_name(a, "konst"), 0);
	data_int(t->d, 64, (int64_t)a->signature);
	data_int(t->d, 64, (int64_t)a->build);
	data_int(t->d, 64, (int64_t)a->nstate);
	data_int(t->d, 64, fixed ? arena : 0);
	data_int(t->d, 32, a->sym.n);
	data_int(t->d, 32, nguard);
	data_int(t->d, 32, a->state.n);
	data_int(t->d, 32, a->saved.n);
	data_int(t->d, 32, a->kept.n);
	data_int(t->d, 32, a->nentry);
	data_int(t->d, 32, a->donates);
	data_int(t->d, 32, !a->opt->noaliascheck);
	data_ptr(t->d, tab_name(a, "syms"), 0);
	data_ptr(t->d, tab_name(a, "guards"), 0);
	data_ptr(t->d, tab_name(a, "states"), 0);
	data_ptr(t->d, tab_name(a, "saveds"), 0);
	data_ptr(t->d, tab_name(a, "kept"), 0);
	tab_expr(t, a->savedsize);
	data_ptr(t->d, tab_name(a, "entries"), 0);
	data_fn(t->d, a->opt->threads ? "fxrt_pthread_pool" : NULL);
	data_ptr(t->d, tab_name(a, "own"), 0);
	data_ptr(t->d, tab_name(a, "ownctx"), 0);
	data_ptr(t->d, fixed ? tab_name(a, "ownarena") : NULL, 0);
	data_int(t->d, 32, a->weight.n);
	data_int(t->d, 32, a->nplain);
	data_ptr(t->d, tab_name(a, "weights"), 0);
	data_int(t->d, 64, (int64_t)a->weightat);
	data_int(t->d, 64, (int64_t)a->nweight);
	data_int(t->d, 64, (int64_t)a->nfirst);
	data_int(t->d, 64, fold_bytes(a));
	data_ptr(t->d, a->weight.n ? tab_name(a, "sets") : NULL, 0);
	data_ptr(t->d, a->weight.n ? tab_name(a, "setmem") : NULL, 0);
	data_ptr(t->d, a->weight.n ? tab_name(a, "foldmem") : NULL, 0);
	data_ptr(t->d, outside ? tab_name(a, "blob") : NULL, 0);
	data_str(t->d, a->opt->weights == WeightsFile ? a->opt->weightfile : NULL);
	data_int(t->d, 64, (int64_t)a->nkonst);
	data_fn(t->d, outside ? "fxrt_find" : NULL);
	tab_expr(t, a->mod->rngwords);
	data_fn(t->d, a->nfirst < a->nweight ? "fxrt_weights_first" : NULL);
	data_fn(t->d, a->opt->asserts ? "fxrt_assert" : NULL);
	data_int(t->d, 32, a->opt->asserts);
	data_end(t->d);
	data_close(t->d);
}

static void
everything(Tab *t)
{
	entries(t);
	syms(t);
	int nguard = guards(t);
	states(t);
	weights(t);
	saved(t);
	tab_module(t);
	model(t, nguard);
}

void
artifact_tables(Artifact *a, Data *d)
{
	Text nowhere = {.arena = arena_new()};
	Tab dry = {a, data_c(a->cx, &nowhere), NULL}, t = {a, d, NULL};

	everything(&dry);
	arena_free(nowhere.arena);
	for (int i = 0; i < a->user.n; i++)
		data_user(d, a->user.v[i]);
	data_open(d, "int64_t", tab_name(a, "expr"), a->expr.n, DataConst);
	for (int i = 0; i < a->expr.n; i++)
		data_int(d, 64, a->expr.v[i]);
	data_close(d);
	everything(&t);
}
