/* tables.c - the tables of lib/rt/model.h and the module description, through Data.
 *
 * Everything runs twice: once into nothing, to gather the size expressions, and
 * once for good.  Names of tables are the artifact's prefix and what they hold.
 */
#include "emit/tables.h"
#include "rt/model.h"

/* The printing pass: tables refer to expressions by their place in P_expr. */
typedef struct Tab { Artifact *a; Data *d; const Entry *e; } Tab;

static const char *
name(Artifact *a, const char *what)
{
	return arena_printf(a->a, "%s%s", a->p, what);
}

/* A table of the entry at hand. */
static const char *
ename(const Tab *t, const char *what)
{
	return arena_printf(t->a->a, "%s%s_%s", t->a->p, t->e->tag, what);
}

/* ---- size expressions ------------------------------------------------------------- */

static void
op(Artifact *a, int code, int64_t imm)
{
	vec_push(a->a, &a->expr, code);
	vec_push(a->a, &a->expr, imm);
}

static void encode(Artifact *, const Sym *);

static void
encode_poly(Artifact *a, const Sym *s)
{
	op(a, FxrtXConst, s->k);
	for (int i = 0; i < s->nterm; i++) {
		op(a, FxrtXConst, s->term[i].coef);
		for (int j = 0; j < s->term[i].natom; j++) {
			encode(a, s->term[i].atom[j]);
			op(a, FxrtXMul, 0);
		}
		op(a, FxrtXAdd, 0);
	}
}

static int
unary_float(const Sym *s)
{
	static const struct { const char *name; int code; } fn[] = {
		{"exp", FxrtXExp}, {"log", FxrtXLog}, {"sin", FxrtXSin}, {"cos", FxrtXCos}, {"tan", FxrtXTan},
		{"log2", FxrtXLog2}, {"sqrt", FxrtXSqrt},
	};

	for (int i = 0; i < COUNT(fn); i++)
		if (s->name && strcmp(s->name, fn[i].name) == 0)
			return fn[i].code;
	return -1;
}

static void
encode_fn(Artifact *a, const Sym *s)
{
	static const uint8_t code[NSymFn] = {
		[SymFnDiv] = FxrtXDiv, [SymFnMod] = FxrtXMod, [SymFnMin] = FxrtXMin, [SymFnMax] = FxrtXMax, [SymFnPow] = FxrtXPow,
		[SymFnEq] = FxrtXEq, [SymFnNe] = FxrtXNe, [SymFnLt] = FxrtXLt, [SymFnLe] = FxrtXLe, [SymFnAnd] = FxrtXAnd,
		[SymFnOr] = FxrtXOr, [SymFnNot] = FxrtXNot, [SymFnWhere] = FxrtXWhere, [SymFnShl] = FxrtXShl, [SymFnShr] = FxrtXShr,
		[SymFnToFloat] = FxrtXToFloat, [SymFnTrueDiv] = FxrtXTrueDiv, [SymFnFDiv] = FxrtXFDiv, [SymFnFAdd] = FxrtXFAdd,
		[SymFnFMul] = FxrtXFMul, [SymFnFPow] = FxrtXFPow, [SymFnSqrt] = FxrtXSqrt, [SymFnFloor] = FxrtXFloor,
		[SymFnCeil] = FxrtXCeil, [SymFnTrunc] = FxrtXTrunc, [SymFnRound] = FxrtXRound,
	};
	static const uint8_t fcode[NSymFn] = {
		[SymFnMin] = FxrtXFMin, [SymFnMax] = FxrtXFMax, [SymFnEq] = FxrtXFEq, [SymFnNe] = FxrtXFNe,
		[SymFnLt] = FxrtXFLt, [SymFnLe] = FxrtXFLe,
	};
	int c = s->fn == SymFnFFn ? unary_float(s) : code[s->fn];
	bool real = false;

	for (int i = 0; i < s->narg; i++)
		real |= s->arg[i]->isfloat;
	if (real && fcode[s->fn])
		c = fcode[s->fn];
	if (c < 0)
		bug(a->cx, NOLOC, "no run-time form of %s", sym_str(a->cx, s));
	bool wantfloat = real || s->fn == SymFnFDiv || s->fn == SymFnFAdd || s->fn == SymFnFMul || s->fn == SymFnFPow || s->fn == SymFnSqrt || s->fn == SymFnFFn;
	for (int i = 0; i < s->narg; i++) {
		encode(a, s->arg[i]);
		if (wantfloat && !s->arg[i]->isfloat && s->fn != SymFnWhere)
			op(a, FxrtXToFloat, 0);
		if (i > 0 && s->narg > 2 && s->fn != SymFnWhere)
			op(a, c, 0);
	}
	if (s->narg <= 2 || s->fn == SymFnWhere)
		op(a, c, 0);
}

static void
encode(Artifact *a, const Sym *s)
{
	int64_t bits;
	int i;

	switch (s->kind) {
	case SymConst:
		op(a, FxrtXConst, s->k);
		break;
	case SymFloatConst:
		memcpy(&bits, &s->f, sizeof bits);
		op(a, FxrtXReal, bits);
		break;
	case SymVar:
		i = artifact_sym(a, s);
		if (i < 0)
			bug(a->cx, NOLOC, "size %s has no place where it gets its value", s->name);
		op(a, FxrtXVar, i);
		break;
	case SymPoly:
		encode_poly(a, s);
		break;
	case SymFn:
		encode_fn(a, s);
		break;
	}
}

static int64_t
expr_of(Artifact *a, const Sym *s)
{
	intptr_t at = (intptr_t)map_get(&a->exprof, s);

	if (at == 0) {
		at = a->expr.n + 1;
		map_put(a->a, &a->exprof, s, (void *)at);
		vec_push(a->a, &a->expr, 0);
		encode(a, s);
		a->expr.v[at - 1] = (a->expr.n - at) / 2;
	}
	return at - 1;
}

static void
put_expr(Tab *t, const Sym *s)
{
	data_ptr(t->d, s ? name(t->a, "expr") : NULL, s ? expr_of(t->a, s) : 0);
}

/* A table of pointers to expressions; gives its name, or NULL if there are none. */
static const char *
exprs(Tab *t, const char *what, const Sym *const *s, int n)
{
	const char *symbol = t->e ? ename(t, what) : name(t->a, what);

	if (n == 0)
		return NULL;
	data_open(t->d, "int64_t *const", symbol, n, DataConst);
	for (int i = 0; i < n; i++)
		put_expr(t, s[i]);
	data_close(t->d);
	return symbol;
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
	put_expr(t, b->count);
	put_expr(t, b->home == HomeArena || b->home == HomeScratch ? b->offset : NULL);
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
		n.buf = ename(t, arena_printf(a->a, "buf%d_%d", v, i));
		data_open(t->d, "int32_t", n.buf, s->nbuf, DataConst);
		for (int j = 0; j < s->nbuf; j++)
			data_int(t->d, 32, s->buf[j]);
		data_close(t->d);
	}
	if (s->kind == StepKernel && s->kernel->sym.n) {
		n.sym = ename(t, arena_printf(a->a, "sym%d_%d", v, i));
		data_open(t->d, "int32_t", n.sym, s->kernel->sym.n, DataConst);
		kernel_syms(t, s->kernel);
		data_close(t->d);
	}
	n.num = exprs(t, arena_printf(a->a, "num%d_%d", v, i), s->num, s->nnum);
	if (s->nreal) {
		n.real = ename(t, arena_printf(a->a, "real%d_%d", v, i));
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
	data_fn(t->d, s->kind == StepExtern ? arena_printf(t->a->a, "fxrt_%s", s->fn) : NULL);
	put_expr(t, k ? k->parallel : NULL);
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
	data_open(t->d, "fxrt_buf", ename(t, arena_printf(t->a->a, "bufs%d", v)), p->buf.n, DataConst);
	for (int i = 0; i < p->buf.n; i++)
		put_buf(t, &p->buf.v[i]);
	data_close(t->d);
	data_open(t->d, "fxrt_step", ename(t, arena_printf(t->a->a, "steps%d", v)), p->step.n, DataConst);
	for (int i = 0; i < p->step.n; i++)
		put_step(t, &p->step.v[i], &n[i], v);
	data_close(t->d);
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

	for (int v = 0; v < n; v++)
		version(t, v);
	data_open(t->d, "fxrt_version", ename(t, "versions"), n, DataConst);
	for (int v = 0; v < n; v++) {
		const Plan *p = t->e->plan[v];
		data_begin(t->d);
		data_int(t->d, 32, cpu_level(t->a->opt->target[v]));
		data_int(t->d, 32, p->buf.n);
		data_int(t->d, 32, p->step.n);
		data_int(t->d, 32, p->maxwork);
		data_ptr(t->d, ename(t, arena_printf(t->a->a, "bufs%d", v)), 0);
		data_ptr(t->d, ename(t, arena_printf(t->a->a, "steps%d", v)), 0);
		put_expr(t, p->arena ? p->arena : sym_const(t->a->cx, 0));
		data_end(t->d);
	}
	data_close(t->d);
}

/* ---- the door ------------------------------------------------------------------------------ */

/* Where a size is bound: a tensor's size that is the symbol itself, else an input that
 * is a size, else a tensor's that is mul*symbol + add.  Shapes come first since they are
 * what the shapes of outputs are asked with. */
typedef struct Binding { int in, dim; int64_t mul, add; } Binding;

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

static Binding
bound_at(const Artifact *a, const Sym *s)
{
	const Ports *in = &a->entry[0].in;
	Binding b = {-1, -1, 1, 0};

	for (int k = 0; k < 3; k++)
		for (int i = 0; i < in->n; i++) {
			const Type *t = in->v[i].type;
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
	data_open(t->d, "fxrt_sym", name(t->a, "syms"), t->a->sym.n, DataConst);
	for (int i = 0; i < t->a->sym.n; i++) {
		const Sym *s = t->a->sym.v[i];
		Binding b = bound_at(t->a, s);
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
contiguous(Ctx *cx, const Type *t)
{
	const Sym *want = sym_const(cx, 1);

	if (t->kind != TyTensor || t->stride == NULL)
		return true;
	for (int d = t->rank - 1; d >= 0; d--) {
		if (!sym_eq(t->stride[d], want) && !sym_is(t->dim[d], 1))
			return false;
		want = sym_mul(cx, want, t->dim[d]);
	}
	return true;
}

static bool
strided(const Tab *t, const Port *p, bool out)
{
	return p->type->kind == TyTensor && p->type->rank && !out && p->kind != FXCC_TANGENT && !contiguous(t->a->cx, p->type);
}

static void
put_port(Tab *t, const Port *p, int i, bool out)
{
	bool tensor = p->type->kind == TyTensor;
	const char *kind = out ? "out" : "in";

	data_begin(t->d);
	data_str(t->d, p->name);
	data_int(t->d, 32, tensor ? (int)p->type->dt : DtI64);
	data_int(t->d, 32, tensor ? p->type->rank : 0);
	data_ptr(t->d, tensor && p->type->rank ? ename(t, arena_printf(t->a->a, "%sdim%d", kind, i)) : NULL, 0);
	data_ptr(t->d, strided(t, p, out) ? ename(t, arena_printf(t->a->a, "%sstride%d", kind, i)) : NULL, 0);
	put_expr(t, out && !tensor ? p->type->sym : NULL);
	data_int(t->d, 32, p->alias);
	data_int(t->d, 32, p->written);
	data_int(t->d, 32, p->absent);
	data_int(t->d, 32, p->optional);
	data_int(t->d, 32, p->viewof);
	data_int(t->d, 32, p->base);
	data_ptr(t->d, p->viewof && p->type->rank ? ename(t, arena_printf(t->a->a, "view%d", i)) : NULL, 0);
	put_expr(t, p->viewof ? p->offset : NULL);
	data_end(t->d);
}

static void
ports(Tab *t, bool out)
{
	const Ports *p = out ? &t->e->out : &t->e->in;
	const char *kind = out ? "out" : "in";

	for (int i = 0; i < p->n; i++) {
		const Type *y = p->v[i].type;
		if (y->kind != TyTensor || y->rank == 0)
			continue;
		exprs(t, arena_printf(t->a->a, "%sdim%d", kind, i), y->dim, y->rank);
		if (p->v[i].viewof) {
			const Sym **stride = NEWN(t->a->a, const Sym *, y->rank);
			for (int d = 0; d < y->rank; d++)
				stride[d] = type_stride(t->a->cx, y, d);
			exprs(t, arena_printf(t->a->a, "view%d", i), stride, y->rank);
		}
		if (strided(t, &p->v[i], out))
			exprs(t, arena_printf(t->a->a, "%sstride%d", kind, i), y->stride, y->rank);
	}
	data_open(t->d, "fxrt_port", ename(t, arena_printf(t->a->a, "%ss", kind)), p->n, DataConst);
	for (int i = 0; i < p->n; i++)
		put_port(t, &p->v[i], i, out);
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
	data_open(t->d, "fxrt_entry", name(a, "entries"), a->nentry, DataConst);
	for (int i = 0; i < a->nentry; i++) {
		t->e = &a->entry[i];
		data_begin(t->d);
		data_int(t->d, 32, t->e->kind);
		data_int(t->d, 32, t->e->in.n);
		data_int(t->d, 32, t->e->out.n);
		data_int(t->d, 32, a->opt->ntarget);
		data_ptr(t->d, ename(t, "ins"), 0);
		data_ptr(t->d, ename(t, "outs"), 0);
		data_ptr(t->d, ename(t, "versions"), 0);
		data_end(t->d);
	}
	t->e = NULL;
	data_close(t->d);
}

static bool
guard_known(const Artifact *a, const Guard *g)
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
		n += guard_known(t->a, &m->guard.v[i]);
	data_open(t->d, "fxrt_guard", name(t->a, "guards"), n, DataConst);
	for (int i = 0; i < m->guard.n; i++) {
		const Guard *g = &m->guard.v[i];
		if (!guard_known(t->a, g))
			continue;
		data_begin(t->d);
		put_expr(t, g->cond);
		data_str(t->d, g->text ? g->text : sym_str(t->a->cx, g->cond));
		data_end(t->d);
	}
	data_close(t->d);
	return n;
}

static int64_t
konst_at(const Artifact *a, const Weight *w)
{
	intptr_t k = w ? (intptr_t)map_get(&a->konstof, w->data) : 0;

	return k ? (int64_t)a->konst.v[k - 1].offset : -1;
}

static size_t
type_bytes(Ctx *cx, const Type *t)
{
	int64_t n = 0;

	sym_isconst(type_numel(cx, t), &n);
	return (size_t)n * dtypeinfo[t->dt].bytes;
}

static void
states(Tab *t)
{
	Artifact *a = t->a;

	data_open(t->d, "fxrt_state", name(a, "states"), a->state.n, DataConst);
	for (int i = 0; i < a->state.n; i++) {
		const State *s = &a->state.v[i];
		data_begin(t->d);
		data_str(t->d, s->name);
		data_str(t->d, s->fqn);
		data_int(t->d, 64, konst_at(a, s->in->weight));
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

	data_open(t->d, "fxrt_state", name(a, "weights"), a->weight.n, DataConst);
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

	data_open(t->d, "fxrt_saved", name(a, "saveds"), a->saved.n, DataConst);
	for (int i = 0; i < a->saved.n; i++) {
		const Saved *s = &a->saved.v[i];
		data_begin(t->d);
		put_expr(t, s->offset);
		put_expr(t, s->count);
		data_int(t->d, 32, dtypeinfo[s->type->dt].bytes);
		data_int(t->d, 32, s->donated);
		data_end(t->d);
	}
	data_close(t->d);
	data_open(t->d, "int32_t", name(a, "kept"), a->kept.n, DataConst);
	for (int i = 0; i < a->kept.n; i++)
		data_int(t->d, 32, a->kept.v[i]);
	data_close(t->d);
}

/* ---- the description ------------------------------------------------------------------------- */

static void
dims(Tab *t, const char *what, const Type *y)
{
	if (y->kind != TyTensor || y->rank == 0)
		return;
	data_open(t->d, "fxcc_dim", name(t->a, what), y->rank, DataConst);
	for (int i = 0; i < y->rank; i++) {
		int64_t k;
		bool fixed = sym_isconst(y->dim[i], &k);
		data_begin(t->d);
		data_str(t->d, fixed ? NULL : sym_str(t->a->cx, y->dim[i]));
		data_int(t->d, 64, fixed ? k : -1);
		data_int(t->d, 64, fixed ? k : y->dim[i]->lo);
		data_int(t->d, 64, fixed ? k : y->dim[i]->hi);
		data_int(t->d, 64, 1);
		data_end(t->d);
	}
	data_close(t->d);
}

typedef struct Info { const char *name, *fqn; const Type *type; int kind; uint32_t flags; int64_t offset; } Info;

static void
put_info(Tab *t, const Info *i, const char *dim)
{
	bool tensor = i->type->kind == TyTensor;
	DLDataType d = fxrt_dltype(tensor ? (int)i->type->dt : DtI64);

	data_begin(t->d);
	data_str(t->d, i->name);
	data_str(t->d, i->fqn);
	data_begin(t->d);
	data_int(t->d, 8, d.code);
	data_int(t->d, 8, d.bits);
	data_int(t->d, 16, d.lanes);
	data_end(t->d);
	data_int(t->d, 32, tensor ? i->type->rank : 0);
	data_int(t->d, 32, i->kind);
	data_ptr(t->d, tensor && i->type->rank ? name(t->a, dim) : NULL, 0);
	data_int(t->d, 32, i->flags);
	data_int(t->d, 64, i->offset);
	data_int(t->d, 64, tensor ? (int64_t)type_bytes(t->a->cx, i->type) : 8);
	data_begin(t->d);
	for (int k = 0; k < 32; k++)
		data_int(t->d, 8, 0);
	data_end(t->d);
	data_end(t->d);
}

static void
infos(Tab *t, const char *what, const Info *v, int n)
{
	for (int i = 0; i < n; i++)
		dims(t, arena_printf(t->a->a, "%sinfodim%d", what, i), v[i].type);
	data_open(t->d, "fxcc_tensor_info", name(t->a, arena_printf(t->a->a, "%sinfo", what)), n, DataConst);
	for (int i = 0; i < n; i++)
		put_info(t, &v[i], arena_printf(t->a->a, "%sinfodim%d", what, i));
	data_close(t->d);
}

static int
known_params(Artifact *a, Info *v)
{
	int n = 0;

	for (int i = 0; i < a->mod->in.n; i++) {
		const Input *in = &a->mod->in.v[i];
		if (in->val == NULL || in->weight == NULL || in->weight->data == NULL || in->kind == InUser)
			continue;
		int s = artifact_state(a, in), w = artifact_weight(a, in);
		v[n++] = (Info){in->name, in->target, in->val->type,
		                in->kind == InParam ? FXCC_PARAM : in->kind == InBuffer ? FXCC_BUFFER : FXCC_CONST,
		                s >= 0 && a->state.v[s].written ? FXCC_WRITTEN : 0,
		                w >= 0 ? (int64_t)(a->weightat + a->weight.v[w].offset) : konst_at(a, in->weight)};
	}
	return n;
}

static bool
unknown_size(const Artifact *a, const Type *t)
{
	for (int d = 0; t->kind == TyTensor && d < t->rank; d++)
		for (int i = a->nsize; i < a->sym.n; i++)
			if (sym_uses(t->dim[d], a->sym.v[i]))
				return true;
	return false;
}

/* Has the input, or the state, a gradient? */
static uint32_t
trained(const Artifact *a, int port, Str fqn)
{
	const Entry *b = artifact_entry(a, FxrtBackward);

	for (int i = 0; b && i < b->out.n; i++)
		if ((port >= 0 && b->out.v[i].alias == port) || (fqn && b->out.v[i].fqn == fqn))
			return FXCC_TRAINED;
	return 0;
}

static const uint32_t viewflag[] = {0, FXCC_VIEW_IN, FXCC_VIEW_STATE, FXCC_VIEW_OUT};

static void
describe_forward(Tab *t, Info *v)
{
	const Artifact *a = t->a;
	const Ports *in = &a->entry[0].in, *out = &a->entry[0].out;

	for (int i = 0; i < in->n; i++) {
		const Port *p = &in->v[i];
		v[i] = (Info){p->name, p->fqn, p->type, p->type->kind == TySym ? FXCC_SIZE : p->kind,
		              (p->written ? FXCC_WRITTEN : 0) | trained(a, i, NULL), 0};
	}
	infos(t, "in", v, in->n);
	for (int i = 0; i < out->n; i++) {
		const Port *p = &out->v[i];
		v[i] = (Info){p->name, p->fqn, p->type, FXCC_OUTPUT,
		              (p->alias >= 0 ? FXCC_ALIAS_IN : 0) | (unknown_size(a, p->type) ? FXCC_DYNAMIC : 0) | (p->onlybase ? FXCC_BASE : 0) | viewflag[p->viewof],
		              p->viewof ? p->base : p->alias >= 0 ? p->alias : 0};
	}
	infos(t, "out", v, out->n);
}

static void
describe_backward(Tab *t, Info *v)
{
	const Artifact *a = t->a;
	const Entry *b = artifact_entry(a, FxrtBackward);

	for (int i = 0; b && i < b->in.n; i++)
		v[i] = (Info){b->in.v[i].name, b->in.v[i].fqn, b->in.v[i].type, FXCC_TANGENT, b->in.v[i].absent == FxrtOne ? FXCC_ONE : 0, b->in.v[i].alias};
	infos(t, "tangent", v, b ? b->in.n : 0);
	for (int i = 0; b && i < b->out.n; i++)
		v[i] = (Info){b->out.v[i].name, b->out.v[i].fqn, b->out.v[i].type, FXCC_GRAD, 0, b->out.v[i].alias};
	infos(t, "grad", v, b ? b->out.n : 0);
	for (int i = 0; i < a->saved.n; i++) {
		const Saved *s = &a->saved.v[i];
		int64_t at = -1;
		sym_isconst(s->offset, &at);
		v[i] = (Info){s->name, NULL, s->type, FXCC_SAVED, s->donated ? FXCC_DONATED : 0, at};
	}
	infos(t, "saved", v, a->saved.n);
}

static int
describe(Tab *t)
{
	Artifact *a = t->a;
	const Entry *b = artifact_entry(a, FxrtBackward);
	int nmax = a->entry[0].in.n + a->entry[0].out.n + a->mod->in.n + a->saved.n + a->state.n + a->weight.n + 1, n;
	Info *v = NEWN(a->a, Info, nmax + (b ? b->in.n + b->out.n : 0));

	describe_forward(t, v);
	describe_backward(t, v);
	for (int i = 0; i < a->state.n; i++) {
		const State *s = &a->state.v[i];
		v[i] = (Info){s->name, s->fqn, s->in->val->type, s->in->kind == InParam ? FXCC_PARAM : FXCC_BUFFER,
		              (s->written ? FXCC_WRITTEN : 0) | trained(a, -1, s->fqn), (int64_t)s->offset};
	}
	infos(t, "state", v, a->state.n);
	for (int i = 0; i < a->weight.n; i++) {
		const State *s = &a->weight.v[i];
		v[i] = (Info){s->name, s->fqn, s->in->val->type, i >= a->nplain ? FXCC_CONST : s->in->kind == InParam ? FXCC_PARAM : FXCC_BUFFER,
		              0, (int64_t)s->offset};
	}
	infos(t, "weight", v, a->weight.n);
	n = known_params(a, v);
	infos(t, "param", v, n);
	return n;
}

static void
module(Tab *t, int nparam)
{
	Artifact *a = t->a;
	const Entry *b = artifact_entry(a, FxrtBackward);
	const char *p = a->opt->prefix;

	data_open(t->d, "fxcc_module", arena_printf(a->a, "%smodule", a->p), 1, DataConst);
	data_begin(t->d);
	data_int(t->d, 32, FXCC_ABI_MAJOR);
	data_int(t->d, 32, FXCC_ABI_MINOR);
	data_int(t->d, 32, sizeof(fxcc_module));
	data_int(t->d, 32, (b ? FXCC_TRAINS : 0) | (a->random ? FXCC_RANDOM : 0) | (a->donates ? FXCC_DONATES : 0));
	data_int(t->d, 64, (int64_t)a->signature);
	data_str(t->d, p);
	data_str(t->d, "0.1");
	data_str(t->d, a->opt->command ? a->opt->command : "");
	data_str(t->d, artifact_target(a));
	data_int(t->d, 32, a->entry[0].in.n);
	data_int(t->d, 32, a->entry[0].out.n);
	data_int(t->d, 32, nparam);
	data_int(t->d, 32, b ? b->out.n : 0);
	data_int(t->d, 32, a->saved.n);
	data_int(t->d, 32, a->unit.n);
	data_ptr(t->d, name(a, "ininfo"), 0);
	data_ptr(t->d, name(a, "outinfo"), 0);
	data_ptr(t->d, name(a, "paraminfo"), 0);
	data_ptr(t->d, name(a, "gradinfo"), 0);
	data_ptr(t->d, name(a, "savedinfo"), 0);
	data_int(t->d, 64, (int64_t)artifact_ctxsize(a));
	data_int(t->d, 64, 64);
	data_int(t->d, 64, 64);
	data_fn(t->d, name(a, "arena_need"));
	data_fn(t->d, arena_printf(a->a, "%s_init", p));
	data_fn(t->d, "fxrt_bind");
	data_fn(t->d, name(a, "out_shape"));
	data_fn(t->d, "fxrt_forward");
	data_fn(t->d, b ? "fxrt_backward" : NULL);
	data_fn(t->d, "fxrt_fini");
	data_int(t->d, 32, a->state.n);
	data_ptr(t->d, name(a, "stateinfo"), 0);
	data_fn(t->d, "fxrt_state_of");
	data_int(t->d, 32, b ? b->in.n : 0);
	data_ptr(t->d, name(a, "tangentinfo"), 0);
	data_int(t->d, 64, (int64_t)a->nstate);
	data_fn(t->d, "fxrt_reset");
	data_fn(t->d, "fxrt_seed");
	data_fn(t->d, "fxrt_rng");
	data_fn(t->d, name(a, "out_view"));
	data_fn(t->d, artifact_entry(a, FxrtStep) ? "fxrt_update" : NULL);
	data_real(t->d, a->opt->lr);
	data_int(t->d, 32, a->nplain);
	data_ptr(t->d, name(a, "weightinfo"), 0);
	static const char *const fn[] = {"weight_set", "weight_get", "weight_fold", "weight_swap"};
	for (int i = 0; i < COUNT(fn); i++)
		data_fn(t->d, a->weight.n ? arena_printf(a->a, "%s_%s", p, fn[i]) : NULL);
	data_end(t->d);
	data_close(t->d);
}

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

	data_open(t->d, "fxrt_own", name(a, "own"), sizeof(fxrt_own), DataZero);
	data_close(t->d);
	data_open(t->d, NULL, name(a, "ownctx"), ctx, DataZero);
	data_close(t->d);
	if (fixed) {
		data_open(t->d, NULL, name(a, "ownarena"), arena, DataZero);
		data_close(t->d);
	}
	if (a->weight.n) {
		data_open(t->d, "fxrt_sets", name(a, "sets"), sizeof(fxrt_sets), DataZero);
		data_close(t->d);
		data_open(t->d, NULL, name(a, "setmem"), 2 * set_bytes(a) + FxrtAlign, DataZero);
		data_close(t->d);
		data_open(t->d, NULL, name(a, "foldmem"), fold_bytes(a) + FxrtAlign, DataZero);
		data_close(t->d);
	}
	data_open(t->d, "fxrt_model", name(a, "model"), 1, DataConst);
	data_begin(t->d);
	data_ptr(t->d, name(a, "module"), 0);
	data_ptr(t->d, name(a, "konst"), 0);
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
	data_ptr(t->d, name(a, "syms"), 0);
	data_ptr(t->d, name(a, "guards"), 0);
	data_ptr(t->d, name(a, "states"), 0);
	data_ptr(t->d, name(a, "saveds"), 0);
	data_ptr(t->d, name(a, "kept"), 0);
	put_expr(t, a->savedsize);
	data_ptr(t->d, name(a, "entries"), 0);
	data_fn(t->d, a->opt->threads ? "fxrt_pthread_pool" : NULL);
	data_ptr(t->d, name(a, "own"), 0);
	data_ptr(t->d, name(a, "ownctx"), 0);
	data_ptr(t->d, fixed ? name(a, "ownarena") : NULL, 0);
	data_int(t->d, 32, a->weight.n);
	data_int(t->d, 32, a->nplain);
	data_ptr(t->d, name(a, "weights"), 0);
	data_int(t->d, 64, (int64_t)a->weightat);
	data_int(t->d, 64, (int64_t)a->nweight);
	data_int(t->d, 64, fold_bytes(a));
	data_ptr(t->d, a->weight.n ? name(a, "sets") : NULL, 0);
	data_ptr(t->d, a->weight.n ? name(a, "setmem") : NULL, 0);
	data_ptr(t->d, a->weight.n ? name(a, "foldmem") : NULL, 0);
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
	module(t, describe(t));
	model(t, nguard);
}

void
artifact_tables(Artifact *a, Data *d)
{
	Text nowhere = {.arena = arena_new()};
	Tab dry = {a, data_c(a->cx, &nowhere), NULL}, t = {a, d, NULL};

	everything(&dry);
	arena_free(nowhere.arena);
	data_open(d, "int64_t", name(a, "expr"), a->expr.n, DataConst);
	for (int i = 0; i < a->expr.n; i++)
		data_int(d, 64, a->expr.v[i]);
	data_close(d);
	everything(&t);
}
