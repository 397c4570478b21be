/* wrapper.c - -fdump-wrapper: what a call does around the kernels, in order.
 *
 * PyTorch wraps a compiled graph in generated Python (RuntimeWrapper and its kin); here lib/rt
 * does the same from tables.  This prints those tables as the straight line that they are:
 *
 *     bind   s0 = x.shape[0]
 *     check  2 <= s0 <= 8                                 FXCC_ESHAPE
 *     check  in[0] input x: f32[s0, 4]                    FXCC_EMISSING FXCC_EDEVICE ...
 *     check  x is written and overlaps nothing else       FXCC_EALIAS
 *     run    3 steps
 *     mutate x in place
 *     alias  out1 = x[3], strides [4]
 */
#include "emit/tables.h"
#include "rt/model.h"

typedef struct Wrap {
	Artifact *a;
	const Entry *e;
	Text *t;
} Wrap;

static void
strides(Wrap *w, const Type *t)
{
	text_add(w->t, "strides [");
	for (int d = 0; d < t->rank; d++)
		text_add(w->t, "%s%s", d ? ", " : "", sym_str(w->a->cx, type_stride(w->a->cx, t, d)));
	text_add(w->t, "]");
}

/* f32[s0, 4] */
static const char *
plain(Wrap *w, const Type *t)
{
	return type_str(w->a->cx, t->kind == TyTensor ? type_tensor(w->a->cx, t->dt, t->rank, t->dim) : t);
}

static void
binds(Wrap *w)
{
	const Ports *in = &w->a->entry[0].in;

	for (int i = 0; i < w->a->sym.n; i++) {
		const Sym *s = w->a->sym.v[i];
		Binding b = tab_binding(w->a, s);
		if (b.in < 0)
			continue;
		text_add(w->t, "    bind   %s = ", s->name);
		text_add(w->t, b.dim < 0 ? "%s" : b.dim >= FxrtStrideOf ? "%s.strides[%d]" : b.add || b.mul != 1 ? "(%s.shape[%d]" : "%s.shape[%d]", in->v[b.in].name, b.dim % FxrtStrideOf);
		if (b.add || b.mul != 1)
			text_add(w->t, " - %lld)/%lld", (long long)b.add, (long long)b.mul);
		text_add(w->t, "\n");
		if (s->isfloat || (s->lo <= 0 && s->hi == INT64_MAX && b.dim >= 0))
			continue;
		text_add(w->t, s->hi == INT64_MAX ? "    check  %lld <= %s%.0s    FXCC_ESHAPE\n" : "    check  %lld <= %s <= %s    FXCC_ESHAPE\n",
		         (long long)s->lo, s->name, arena_printf(w->a->a, "%lld", (long long)s->hi));
	}
	for (int i = 0; i < w->a->mod->guard.n; i++)
		if (tab_atdoor(w->a, &w->a->mod->guard.v[i]))
			text_add(w->t, "    check  %s    FXCC_ESHAPE\n", sym_str(w->a->cx, w->a->mod->guard.v[i].cond));
}

static void
port_checks(Wrap *w, bool out)
{
	const Ports *p = out ? &w->e->out : &w->e->in;

	for (int i = 0; i < p->n; i++) {
		const Port *x = &p->v[i];
		if (port_issize(x)) {
			text_add(w->t, "    check  %s[%d] %s: a number    FXCC_EMISSING FXCC_EDTYPE FXCC_EARG\n", out ? "out" : "in", i, x->name);
			continue;
		}
		text_add(w->t, "    check  %s[%d] %s: %s", out ? "out" : "in", i, w->e->kind != FxrtForward || out ? x->name : descr_input(w->a, x), plain(w, x->type));
		if (!out && x->type->rank && x->type->stride) {
			text_add(w->t, " ");
			strides(w, x->type);
		}
		text_add(w->t, "    %s%sFXCC_EDEVICE FXCC_EDTYPE FXCC_ERANK FXCC_ESHAPE FXCC_EALIGN FXCC_ESTRIDE\n",
		         x->absent != FxrtNeeded || x->optional || x->viewof ? "may be NULL " : "FXCC_EMISSING ",
		         x->absent != FxrtNeeded || x->optional || x->viewof ? "" : "FXCC_EARG ");
	}
}

static void
written_checks(Wrap *w)
{
	for (int i = 0; !w->a->opt->noaliascheck && i < w->e->in.n + w->e->out.n; i++) {
		const Port *x = i < w->e->in.n ? &w->e->in.v[i] : &w->e->out.v[i - w->e->in.n];
		if (i >= w->e->in.n || x->written)
			text_add(w->t, "    check  %s is written and overlaps nothing else    FXCC_EALIAS\n", x->name);
	}
}

static void
after(Wrap *w)
{
	for (int i = 0; i < w->e->in.n; i++) {
		const Port *x = &w->e->in.v[i];
		if (x->written)
			text_add(w->t, "    mutate %s in place\n", x->name);
		if (x->after) {
			text_add(w->t, "    mutate %s: the caller makes it %s, from element %s, ", x->name, plain(w, x->after->type), sym_str(w->a->cx, x->after->offset));
			strides(w, x->after->type);
			text_add(w->t, "\n");
		}
	}
	for (int i = 0; w->e->kind == FxrtForward && i < w->a->state.n; i++)
		if (w->a->state.v[i].written)
			text_add(w->t, "    mutate state %s in place\n", w->a->state.v[i].name);
	for (int i = 0; i < w->e->out.n; i++) {
		const Port *x = &w->e->out.v[i];
		if (!x->viewof)
			continue;
		text_add(w->t, "    alias  %s = %s from element %s, ", x->name,
		         x->viewof == FxrtViewIn ? w->e->in.v[x->base].name : x->viewof == FxrtViewOut ? w->e->out.v[x->base].name
		         : arena_printf(w->a->a, "state %s", w->a->state.v[x->base].name), sym_str(w->a->cx, x->offset));
		strides(w, x->type);
		text_add(w->t, "; copied if memory is given\n");
	}
}

static void
entry(Wrap *w)
{
	static const char *const name[] = {"forward", "backward", "step", "fold"};
	const Plan *p = w->e->plan[0];

	text_add(w->t, "%s_%s:\n", w->a->opt->prefix, name[w->e->kind]);
	if (w->e->kind == FxrtForward)
		binds(w);
	if (w->e->kind == FxrtBackward)
		text_add(w->t, "    check  saved: of this build, filled by forward%s    FXCC_EABI FXCC_ESTATE\n", w->a->donates ? ", not used up" : "");
	port_checks(w, false);
	port_checks(w, true);
	written_checks(w);
	text_add(w->t, "    check  arena of %s bytes    FXCC_EARENA\n", p->arena ? sym_str(w->a->cx, p->arena) : "0");
	text_add(w->t, "    run    %d steps\n", p->step.n);
	for (int i = 0; i < p->step.n; i++)
		if (p->step.v[i].assertion)
			text_add(w->t, "    check  %s, in step %d    FXCC_EASSERT\n", sym_str(w->a->cx, p->step.v[i].num[0]), i);
	after(w);
	if (w->e->kind == FxrtForward && w->a->savedsize)
		text_add(w->t, "    save   %d tensors, %d addresses of arguments, if a buffer is given\n", w->a->saved.n, w->a->kept.n);
	text_add(w->t, "    return FXCC_OK\n");
}

bool
emit_wrapper(Ctx *cx, const EmitOptions *opt, Text *t)
{
	Artifact art;

	if (!artifact_new(cx, opt, &art))
		return false;
	for (int i = 0; i < art.nentry; i++)
		if (art.entry[i].kind != FxrtFold)
			entry(&(Wrap){&art, &art.entry[i], t});
	return true;
}
