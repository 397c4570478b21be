/* plan.c - steps, buffers, and where buffers lie.
 *
 * A buffer is an input, an output, a constant, a state (a buffer of the model
 * that it changes, a parameter that may be replaced), a tensor that forward
 * saves for backward, or a piece of the arena.  A result is written straight into
 * the caller's buffer where it can be; what cannot (an input given back, a value
 * given twice, a mutated input or state, which must be read before it is
 * written) is copied by steps at the end.  Where pieces lie in the arena: arena.c.
 */
#include "ir/hop.h"
#include "lower/planning.h"

enum { Align = 64 };

/* ---- buffers ---------------------------------------------------------------------- */

int
plan_addbuf(Planning *w, Buf b)
{
	b.first = -1;
	b.last = -1;
	vec_push(w->lo->a, &w->plan->buf, b);
	return w->plan->buf.n - 1;
}

static int
weightbuf(Planning *w, Val *v, const Weight *wt, enum home home, int index)
{
	int width = dtypeinfo[wt->type->dt].bytes;

	return plan_addbuf(w, (Buf){.name = v->name, .home = home, .dt = wt->type->dt, .index = index,
	                       .count = sym_const(w->lo->cx, (int64_t)(wt->bytes / (size_t)width)),
	                       .data = wt->data, .weight = wt});
}

static int
inputbuf(Planning *w, int i)
{
	Input *in = &w->m->in.v[i];
	const Type *t = in->val->type;

	if (in->kind != InUser && in->weight && in->weight->data)
		return weightbuf(w, in->val, in->weight, in->swappable ? HomeWeight : in->updatable || input_written(w->m, in) ? HomeState : HomeConst, i);
	return plan_addbuf(w, (Buf){.name = in->name, .home = in->kind == InSaved ? HomeSaved : HomeInput, .dt = t->dt, .index = i,
	                       .count = type_numel(w->lo->cx, t)});
}

static int
leafbuf(Planning *w, Val *v)
{
	for (int i = 0; i < w->m->in.n; i++)
		if (w->m->in.v[i].val == v)
			return inputbuf(w, i);
	for (int i = 0; v->def->target && i < w->m->weight.n; i++)
		if (w->m->weight.v[i]->fqn == v->def->target && w->m->weight.v[i]->data)
			return weightbuf(w, v, w->m->weight.v[i], HomeConst, 0);
	return -1;
}

/* The buffer of a value: made when first asked for. */
int
plan_bufof(Planning *w, Val *v)
{
	int *at = &w->lo->bufof[v->id];

	if (*at < 0 && w->lo->rootof[v->id])
		*at = plan_addbuf(w, (Buf){.name = v->name, .home = HomeArena, .dt = v->type->dt,
		                      .count = type_numel(w->lo->cx, v->type)});
	else if (*at < 0 && (*at = leafbuf(w, v)) < 0)
		error(w->lo->cx, v->def->loc, "no value is known for %s", v->def->target ? v->def->target : v->name);
	return *at;
}

Step *
plan_addstep(Planning *w, enum stepkind kind, Loc loc)
{
	vec_push(w->lo->a, &w->plan->step, (Step){.kind = kind, .loc = loc});
	return &w->plan->step.v[w->plan->step.n - 1];
}

static void
touch(Planning *w, int b)
{
	Buf *buf = &w->plan->buf.v[b];
	int now = w->plan->step.n - 1;

	if (buf->first < 0)
		buf->first = now;
	buf->last = now;
}

void
plan_setbufs(Planning *w, Step *s, const int *buf, int n)
{
	s->nbuf = n;
	s->buf = NEWN(w->lo->a, int, n + 1);
	for (int i = 0; i < n; i++) {
		s->buf[i] = buf[i];
		if (buf[i] >= 0)
			touch(w, buf[i]);
	}
}

/* ---- kernels -------------------------------------------------------------------------- */

/* The buffer that argument i of a kernel is for. */
static KBuf *
kernelparam(Kernel *k, int i)
{
	for (int b = 0; ; b++)
		if (k->buf.v[b].home != KStack && i-- == 0)
			return &k->buf.v[b];
}

/* Panels: bytes made when compiling, or memory that two kernels of a contraction share. */
static int
packedbuf(Planning *w, Packed *p)
{
	Buf b = {.name = p->val.name, .home = p->data ? HomeConst : HomeArena, .dt = p->val.type->dt,
	         .count = type_numel(w->lo->cx, p->val.type), .data = p->data};

	if (p->data)
		return plan_addbuf(w, b);
	if (!p->buf)
		p->buf = 1 + plan_addbuf(w, b);
	return p->buf - 1;
}

static bool
kernelstep(Planning *w, Kernel *k, Gen *g)
{
	Step *s = plan_addstep(w, StepKernel, k->from.n ? k->from.v[0]->loc : NOLOC);
	int *buf = NEWN(w->lo->a, int, k->buf.n + 1), n = 0;

	s->kernel = k;
	vec_push(w->lo->a, &w->plan->kernel, k);
	for (int i = 0; i < k->buf.n; i++) {
		if (k->buf.v[i].home == KStack)
			continue;
		if (k->buf.v[i].home == KScratch) {     /* each worker has its own */
			buf[n] = plan_addbuf(w, (Buf){.name = k->buf.v[i].name, .home = HomeScratch, .dt = k->buf.v[i].dt,
			                         .count = k->buf.v[i].size});
		} else if (g->bufs.v[i] == w->lo->fault) {
			buf[n] = plan_addbuf(w, (Buf){.name = w->lo->fault->name, .home = HomeFault, .dt = w->lo->fault->type->dt,
			                         .count = type_numel(w->lo->cx, w->lo->fault->type)});
		} else if (g->bufs.v[i]->def == NULL) {
			buf[n] = packedbuf(w, (Packed *)g->bufs.v[i]);
		} else {
			buf[n] = plan_bufof(w, g->bufs.v[i]);
		}
		if (buf[n] < 0)
			return false;
		n++;
	}
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			if (i != j && buf[i] == buf[j])         /* written in place */
				kernelparam(k, i)->alias = true;
	plan_setbufs(w, s, buf, n);
	return true;
}

static bool
kernelsteps(Planning *w, const Made *made, int n)
{
	for (int i = 0; i < n; i++)
		if (!kernelstep(w, made[i].k, made[i].g))
			return false;
	return true;
}

/* ---- externs ---------------------------------------------------------------------------- */

typedef struct Operands { Planning *w; int buf[256]; int n; bool ok; } Operands;

static void
operand(Operands *o, const Arg *a)
{
	int b = -1;

	if (a->kind == ArgVal && o->ok)
		o->ok = (b = plan_bufof(o->w, a->use->val)) >= 0;
	if (o->n < COUNT(o->buf) - 32)
		o->buf[o->n++] = b;
}

static void
operands(Operands *o, Node *n)
{
	for (int i = 0; i < n->op->nparam; i++) {
		if (n->op->param[i].type != AtTensor)
			continue;
		if (n->arg[i].kind == ArgList)
			for (int k = 0; k < n->arg[i].list.n; k++)
				operand(o, &n->arg[i].list.v[k]);
		else
			operand(o, &n->arg[i]);
	}
}

/* The size that a data-dependent operator finds: the symbol that its types bring in. */
static const Sym *
defines(Planning *w, Node *n)
{
	const Sym **var = NULL;
	int nvar = 0;

	if (!(n->op->flags & OP(Dynamic)))
		return NULL;
	for (int i = 0; i < n->nout; i++)
		for (int d = 0; n->out[i].type->kind == TyTensor && d < n->out[i].type->rank; d++)
			sym_vars(w->lo->a, n->out[i].type->dim[d], &var, &nvar);
	for (int i = 0; i < nvar; i++)
		if (var[i]->name && var[i]->name[0] == 'u')
			return var[i];
	return NULL;
}

static bool
externstep(Planning *w, Root *r)
{
	Node *n = r->val->def;
	const Low *low = &r->low;
	Operands o = {.w = w, .ok = true};
	Step *s;

	operands(&o, n);
	int result0 = o.n, nresult;
	for (int i = 0; i < n->nout && o.ok && o.n < COUNT(o.buf) - 16; i++)
		o.buf[o.n++] = plan_bufof(w, &n->out[i]);
	nresult = o.n - result0;
	for (int i = 0; i < low->nscratch && i < 16; i++)
		o.buf[o.n++] = plan_addbuf(w, (Buf){.name = intern_printf(w->lo->cx, "%s_scratch%d", n->name, i),
		                               .home = HomeArena, .dt = DtU8, .count = low->scratch[i]});
	if (!o.ok)
		return false;
	s = plan_addstep(w, StepExtern, n->loc);
	s->fn = low->fn;
	s->num = low->num;
	s->nnum = low->nnum;
	s->real = low->real;
	s->nreal = low->nreal;
	s->define = defines(w, n);
	s->result0 = result0;
	s->nresult = nresult;
	plan_setbufs(w, s, o.buf, o.n);
	return true;
}

/* Sizes that are read from val, once it is there; val NULL: from values that are there from
 * the beginning. */
static bool
itemsteps(Planning *w, Val *val)
{
	for (int i = 0; i < w->lo->found.n; i++) {
		const struct Found *f = &w->lo->found.v[i];
		int b;
		Step *s;
		if (!f->item || (val ? f->from != val : w->lo->rootof[f->from->id] != NULL))
			continue;
		if ((b = plan_bufof(w, f->from)) < 0)
			return false;
		s = plan_addstep(w, StepExtern, f->item->loc);
		s->fn = intern_str(w->lo->cx, "item");
		s->define = f->sym;
		plan_setbufs(w, s, &b, 1);
	}
	return true;
}

/* ---- assertions ------------------------------------------------------------------------------ */

enum known { Unknown, AtTheDoor, Found };

static enum known
known(const Planning *w, const Sym *var)
{
	const Plan *p = w->plan;

	for (int i = 0; i < p->step.n; i++)
		if (p->step.v[i].define == var)
			return Found;
	for (int i = 0; i < w->m->in.n; i++) {
		const Type *t = w->m->in.v[i].val ? w->m->in.v[i].val->type : NULL;
		if (t && t->kind == TySym && sym_uses(t->sym, var))
			return AtTheDoor;
		for (int d = 0; t && t->kind == TyTensor && d < t->rank; d++)
			if (sym_uses(t->dim[d], var))
				return AtTheDoor;
	}
	return Unknown;
}

/* What is asserted of numbers that the run finds is checked as soon as they are there; the door
 * checks what is asserted of sizes of inputs alone. */
static void
checks(Planning *w)
{
	for (int i = 0; i < w->m->guard.n && !w->lo->opt.noscalarchecks; i++) {
		const Guard *g = &w->m->guard.v[i];
		const Sym **var = NULL;
		int n = 0, found = 0, ready = 0;
		Step *s;

		sym_vars(w->lo->a, g->cond, &var, &n);
		for (int k = 0; k < n; k++) {
			enum known of = known(w, var[k]);
			found += of == Found;
			ready += of != Unknown;
		}
		if (w->checked[i] || found == 0 || ready < n)
			continue;
		w->checked[i] = 1;
		s = plan_addstep(w, StepSize, g->loc);
		s->assertion = g->message ? g->message : g->text ? g->text : intern_str(w->lo->cx, sym_str(w->lo->cx, g->cond));
		s->num = arena_dup(w->lo->a, &g->cond, sizeof g->cond);
		s->nnum = 1;
	}
}

static bool
firstresult(const Lower *lo, const Val *v)
{
	for (int i = 0; i < v->out; i++)
		if (lo->rootof[v->def->out[i].id])
			return false;
	return true;
}

static bool
groupstep(Planning *w, Group *gr)
{
	Root *r = gr->mem.v[0].root;
	Gen *g = NULL;
	Kernel *k = NULL;
	Made made[MaxMade];
	int n;

	switch (r->low.kind) {
	case LowExtern:
		if (hop_kind(r->val->def->op))
			return firstresult(w->lo, r->val) ? flow_steps(w, r->val->def) : true;
		return r->val->out == 0 ? externstep(w, r) : true;
	case LowBlocks:
		if (r->val->out > 0)
			return true;
		k = flash_kernel(w->lo, r, &g);
		break;
	case LowScan:    k = scan_kernel(w->lo, r, &g); break;
	case LowScatter: k = scatter_kernel(w->lo, r, &g); break;
	default:
		if (r->contraction && (n = contract_kernels(w->lo, gr, made)))
			return kernelsteps(w, made, n);
		k = nest_kernel(w->lo, gr, &g);
	}
	return kernelstep(w, k, g);
}

/* ---- results -------------------------------------------------------------------------------- */

/* The caller's: outputs, bases of outputs, gradients. */
static bool
isuser(const Output *o)
{
	return o->kind == ResUser || o->kind == ResLoss || o->kind == ResBase || o->kind == ResGradParam || o->kind == ResGradUser;
}

/* A leaf that is a result, or will be written over an input, gets a copy of its own: a
 * value beyond those of the graph, whose element is the leaf's. */
static Val *
copyof(Lower *lo, Val *leaf, uint32_t id)
{
	Val *v = NEW(lo->a, Val);
	Root *r = NEW(lo->a, Root);
	const Sym **i = NEWN(lo->a, const Sym *, leaf->type->rank + 1);
	int n = leaf->type->rank;

	*v = (Val){.def = leaf->def, .type = type_tensor(lo->cx, leaf->type->dt, n, leaf->type->dim),
	           .name = intern_printf(lo->cx, "%s_copy", leaf->name), .id = id};
	for (int d = 0; d < n; d++)
		i[d] = sym_fresh(lo->cx, "i", 0, leaf->type->dim[d]->hi == INT64_MAX ? INT64_MAX
		                                 : leaf->type->dim[d]->hi - 1);
	r->val = v;
	r->n = n;
	r->i = i;
	r->ext = v->type->dim;
	r->e = ex_load(lo->cx, leaf, i, n);
	r->low = (Low){.kind = LowElement, .nidx = n, .i = i, .element = r->e};
	lo->rootof[id] = r;
	lo->isout[id] = 1;
	vec_push(lo->a, &lo->root, r);
	return v;
}

static Val **
results(Lower *lo, int *n)
{
	const Arg *list = &lo->g->last->arg[0];
	Val **v = NEWN(lo->a, Val *, list->list.n + 1);

	*n = list->kind == ArgList ? list->list.n : 0;
	for (int i = 0; i < *n; i++)
		if (list->list.v[i].kind == ArgVal && list->list.v[i].use->val->type &&
		    list->list.v[i].use->val->type->kind == TyTensor)
			v[i] = list->list.v[i].use->val;
	return v;
}

/* Leaves among the results are replaced by copies; extends the side tables by n values. */
static void
copyleaves(Lower *lo, Val **v, int n)
{
	uint32_t nval = lo->g->nval;
	Root **roots = NEWN(lo->a, Root *, nval + (uint32_t)n + 1);
	uint8_t *isout = NEWN(lo->a, uint8_t, nval + (uint32_t)n + 1);

	memcpy(roots, lo->rootof, nval * sizeof *roots);
	memcpy(isout, lo->isout, nval);
	lo->rootof = roots;
	lo->isout = isout;
	for (int i = 0; i < n; i++)
		if (v[i] && !lo->rootof[v[i]->id])
			v[i] = copyof(lo, v[i], nval + (uint32_t)i);
}

static Buf
resultbuf(Planning *w, Val *v, int i)
{
	const Output *o = &w->m->out.v[i];

	return (Buf){.name = o->name ? o->name : v->name, .home = o->kind == ResSaved ? HomeSaved : HomeOutput,
	             .dt = v->type->dt, .index = i, .count = type_numel(w->lo->cx, v->type)};
}

/* The first user result that a root is becomes its home, else the first saved one. */
static void
outputbufs(Planning *w, Val **v, int n)
{
	for (int saved = 0; saved < 2; saved++)
		for (int i = 0; i < n && i < w->m->out.n; i++)
			if (v[i] && (saved ? w->m->out.v[i].kind == ResSaved : isuser(&w->m->out.v[i])) && w->lo->bufof[v[i]->id] < 0)
				w->lo->bufof[v[i]->id] = plan_addbuf(w, resultbuf(w, v[i], i));
}

/* The input that result o is the new value of; NULL: none. */
static Val *
mutated(Planning *w, const Output *o)
{
	for (int k = 0; k < w->m->in.n; k++) {
		Input *in = &w->m->in.v[k];
		bool hit = o->kind == ResUserMut ? o->target == in->name
		         : (o->kind == ResBufferMut || o->kind == ResParamMut) && o->target && o->target == in->target;
		if (hit && in->val)
			return in->val;
	}
	return NULL;
}

static void
inplacebufs(Planning *w, Val **v, int n, const Groups *groups)
{
	for (int i = 0; i < n && i < w->m->out.n; i++) {
		Val *leaf = v[i] ? mutated(w, &w->m->out.v[i]) : NULL;
		if (leaf && w->lo->bufof[v[i]->id] < 0 && reinplace(w->lo, groups, v[i], leaf))
			w->lo->bufof[v[i]->id] = plan_bufof(w, leaf);
	}
}

/* The buffer that result i is copied to; -1: none, it is there already. */
static int
target(Planning *w, const Output *o, Val *v, int i)
{
	const Buf *b = &w->plan->buf.v[w->lo->bufof[v->id]];

	if (isuser(o) || o->kind == ResSaved)
		return (b->home == HomeOutput || b->home == HomeSaved) && b->index == i ? -1 : plan_addbuf(w, resultbuf(w, v, i));
	Val *leaf = mutated(w, o);
	int to = leaf ? plan_bufof(w, leaf) : -1;
	return to == w->lo->bufof[v->id] ? -1 : to;
}

/* The step writes to memory of that type, which is not row-major. */
static void
spread(Planning *w, Step *s, const Type *t)
{
	const Sym **num = NEWN(w->lo->a, const Sym *, 2 * t->rank + 1);

	for (int d = 0; d < t->rank; d++) {
		num[d] = t->dim[d];
		num[t->rank + d] = type_stride(w->lo->cx, t, d);
	}
	s->kind = StepSpread;
	s->num = num;
	s->nnum = 2 * t->rank;
}

static bool
copies(Planning *w, Val **v, int n)
{
	for (int i = 0; i < n && i < w->m->out.n; i++) {
		int to;
		if (!v[i] || (to = target(w, &w->m->out.v[i], v[i], i)) < 0)
			continue;
		Step *s = plan_addstep(w, StepCopy, v[i]->def->loc);
		Val *leaf = isuser(&w->m->out.v[i]) ? NULL : mutated(w, &w->m->out.v[i]);
		if (leaf && storage_type(w->lo, leaf)->stride)
			spread(w, s, storage_type(w->lo, leaf));
		plan_setbufs(w, s, (int[]){plan_bufof(w, v[i]), to}, 2);
	}
	return true;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void
addsyms(Planning *w, const Sym *e)
{
	const Sym **var = NULL;
	int n = 0, k;

	if (!e)
		return;
	sym_vars(w->lo->a, e, &var, &n);
	for (int i = 0; i < n; i++) {
		for (k = 0; k < w->plan->sym.n && w->plan->sym.v[k] != var[i]; k++)
			;
		if (k == w->plan->sym.n && strcmp(var[i]->name, "rng_seed") != 0)
			vec_push(w->lo->a, &w->plan->sym, var[i]);
	}
}

static void
symbols(Planning *w)
{
	Plan *p = w->plan;

	for (int i = 0; i < p->buf.n; i++)
		addsyms(w, p->buf.v[i].count);
	for (int i = 0; i < p->kernel.n; i++) {
		for (int k = 0; k < p->kernel.v[i]->sym.n; k++)
			addsyms(w, p->kernel.v[i]->sym.v[k]);
		addsyms(w, p->kernel.v[i]->parallel);
	}
	for (int i = 0; i < p->step.n; i++) {
		for (int k = 0; k < p->step.v[i].nnum; k++)
			addsyms(w, p->step.v[i].num[k]);
		addsyms(w, p->step.v[i].define);
	}
}

static void
finishkernels(Plan *p)
{
	for (int i = 0; i < p->step.n; i++) {
		Step *s = &p->step.v[i];
		for (int b = 0, k = 0; s->kernel && !s->called && b < s->kernel->buf.n; b++) {
			if (s->kernel->buf.v[b].home == KStack)
				continue;
			enum home h = p->buf.v[s->buf[k++]].home;
			if (h == HomeArena || h == HomeConst || h == HomeScratch)
				s->kernel->buf.v[b].align = Align;
		}
	}
}

bool
plan_build(Lower *lo, Groups *groups)
{
	Planning w = {.lo = lo, .plan = lo->plan, .m = lo->g->mod};
	uint32_t all;
	int n;
	Val **v = results(lo, &n);

	copyleaves(lo, v, n);
	all = lo->g->nval + (uint32_t)n + 1;
	lo->bufof = NEWN(lo->a, int, all);
	for (uint32_t i = 0; i < all; i++)
		lo->bufof[i] = -1;
	if (!group_roots(lo, groups))
		return false;
	outputbufs(&w, v, n);
	inplacebufs(&w, v, n, groups);
	w.checked = NEWN(lo->a, uint8_t, w.m->guard.n + 1);
	reinplace_chains(&w, groups);
	if (!itemsteps(&w, NULL))
		return false;
	checks(&w);
	for (int i = 0; i < groups->v.n; i++) {
		Group *gr = groups->v.v[i];
		if (!groupstep(&w, gr))
			return false;
		for (int k = 0; k < gr->mem.n; k++)
			if (!itemsteps(&w, gr->mem.v[k].root->val))
				return false;
		checks(&w);
	}
	copies(&w, v, n);
	flow_live(&w);
	plan_arena(&w);
	symbols(&w);
	finishkernels(lo->plan);
	return true;
}
