/* artifact.c - what an artifact is made of: its entries and their arguments, sizes,
 * states, saved tensors, constants and kernels, gathered from the plans before anything
 * is printed.
 */
#include <ctype.h>
#include "emit/tables.h"
#include "ir/meta.h"
#include "rt/model.h"

/* ---- names --------------------------------------------------------------------- */

static const char *const cwords[] = {
	"auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
	"float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
	"sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "asm",
	"bool", "catch", "class", "delete", "explicit", "export", "false", "friend", "mutable", "namespace", "new",
	"operator", "private", "protected", "public", "template", "this", "throw", "true", "try", "typename", "using",
	"virtual", "xor", "and", "or", "not", "bitand", "bitor", "compl", "dims", "errno", "NULL", "main",
};

Str
c_identifier(Ctx *cx, const char *s)
{
	size_t n = strlen(s);
	char *t = arena_printf(ctx_arena(cx), "%s%s_", n == 0 || isdigit((unsigned char)s[0]) ? "_" : "", s);

	t[strlen(t) - 1] = '\0';
	for (char *p = t; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			*p = '_';
	for (int i = 0; i < COUNT(cwords); i++)
		if (strcmp(t, cwords[i]) == 0)
			return intern_printf(cx, "%s_", t);
	return intern_str(cx, t);
}

/* Among the arguments of one entry, and the sizes. */
static Str
unique(const Artifact *a, const Entry *e, Str name)
{
	Str s = name;

	for (int n = 1;; n++) {
		bool taken = false;
		for (int i = 0; i < e->in.n && !taken; i++)
			taken = e->in.v[i].name == s;
		for (int i = 0; i < e->out.n && !taken; i++)
			taken = e->out.v[i].name == s;
		for (int i = 0; i < a->sym.n && !taken; i++)
			taken = a->sym.v[i]->name == s;
		if (!taken)
			return s;
		s = intern_printf(a->cx, "%s_%d", name, n);
	}
}

const char *
port_ctype(const Port *p)
{
	return p->type->kind == TySym ? "int64_t" : dtypeinfo[p->type->dt].cname;
}

/* ---- arguments -------------------------------------------------------------------- */

static bool
known(const Input *in)
{
	return in->kind != InUser && in->weight && in->weight->data;
}

/* An input that the caller passes: a user's, or a weight whose value is not known. */
static bool
isport(const Input *in)
{
	if (in->val == NULL || in->kind == InToken || in->kind == InObject || in->kind == InSaved || in->value.kind != ArgNone)
		return false;
	return !known(in);
}

static int
inkind(enum inkind k)
{
	return k == InUser ? FXCC_USER : k == InParam ? FXCC_PARAM : k == InBuffer ? FXCC_BUFFER : FXCC_CONST;
}

static bool
same_input(const Input *a, const Input *b)
{
	return a->target || b->target ? a->target == b->target : a->name == b->name;
}

/* To a list of states, or of weights that can be replaced. */
static void
add_state(Artifact *a, States *list, uint64_t *bytes, const Input *in, bool written)
{
	Str name = c_identifier(a->cx, in->target ? in->target : in->name);
	const Type *t = in->val->type;
	int64_t n = 0;

	sym_isconst(type_numel(a->cx, t), &n);
	State s = {.name = name, .fqn = in->target, .in = in, .bytes = (uint64_t)n * dtypeinfo[t->dt].bytes, .written = written};
	for (int i = 0; i < list->n; i++)          /* tied weights are one */
		if (in->weight->storage && list->v[i].in->weight->storage == in->weight->storage &&
		    list->v[i].in->weight->data == in->weight->data && list->v[i].bytes == s.bytes) {
			s.offset = list->v[i].offset;
			vec_push(a->a, list, s);
			return;
		}
	s.offset = (*bytes + 63) & ~UINT64_C(63);
	*bytes = s.offset + s.bytes;
	vec_push(a->a, list, s);
}

/* Those that the user gives, then those that are folded from them. */
static void
weights(Artifact *a)
{
	for (int folded = 0; folded < 2; folded++) {
		for (int e = 0; e < a->nentry; e++)
			for (int i = 0; i < a->entry[e].mod->in.n; i++) {
				const Input *in = &a->entry[e].mod->in.v[i];
				if (in->val && in->swappable && known(in) && (in->kind == InConst) == folded && artifact_weight(a, in) < 0)
					add_state(a, &a->weight, &a->nweight, in, false);
			}
		if (!folded)
			a->nplain = a->weight.n;
	}
}

/* A weight that may change is a state, whichever entry reads it. */
static void
states(Artifact *a)
{
	for (int e = 0; e < a->nentry; e++)
		for (int i = 0; i < a->entry[e].mod->in.n; i++) {
			const Input *in = &a->entry[e].mod->in.v[i];
			bool written = input_written(a->entry[e].mod, in);
			if (in->val && known(in) && in->val->type->kind == TyTensor && !in->swappable && (written || in->updatable) && artifact_state(a, in) < 0)
				add_state(a, &a->state, &a->nstate, in, written && a->entry[e].kind != FxrtStep);
		}
}

static int
among(const States *list, const Input *in)
{
	for (int i = 0; i < list->n; i++)
		if (same_input(list->v[i].in, in))
			return i;
	return -1;
}

int
artifact_state(const Artifact *a, const Input *in)
{
	return among(&a->state, in);
}

int
artifact_weight(const Artifact *a, const Input *in)
{
	return among(&a->weight, in);
}

static int
forward_port(const Artifact *a, const Input *in)
{
	for (int i = 0; i < a->entry[0].in.n; i++)
		if (same_input(&a->mod->in.v[a->entry[0].in.v[i].index], in))
			return i;
	return -1;
}

int
artifact_kept(const Artifact *a, const Input *in)
{
	int port = forward_port(a, in);

	for (int i = 0; i < a->kept.n; i++)
		if (a->kept.v[i] == port)
			return i;
	return -1;
}

static void
ports_in(Artifact *a, Entry *e)
{
	Module *m = e->mod;

	for (int i = 0; i < m->in.n; i++) {
		const Input *in = &m->in.v[i];
		if (!isport(in))
			continue;
		Str name = unique(a, e, c_identifier(a->cx, in->argname ? in->argname : in->name));
		vec_push(a->a, &e->in, (Port){.name = name, .fqn = in->target, .type = in->val->type, .kind = inkind(in->kind), .index = i, .alias = -1,
		                              .written = input_written(m, in)});
	}
}

static int
port_of_val(const Entry *e, const Val *v)
{
	for (int i = 0; i < e->in.n; i++)
		if (e->mod->in.v[e->in.v[i].index].val == v)
			return i;
	return -1;
}

static const Type *
result_type(const Artifact *a, const Module *m, int i)
{
	const Arg *list = &m->main->last->arg[0];
	const Arg *v = i < list->list.n ? &list->list.v[i] : NULL;
	const Type *t = v == NULL ? NULL : v->kind == ArgVal ? v->use->val->type : v->kind == ArgInt ? type_sym(a->cx, v->i) : NULL;

	return t && (t->kind == TyTensor || t->kind == TySym) ? t : NULL;
}

/* Port of the user's output k, or of intermediate base k. */
static int
port_of_output(const Artifact *a, const Entry *e, bool base, int k)
{
	for (int i = 0; i < e->out.n; i++)
		if (e->out.v[i].onlybase == base && e->out.v[i].nth == k)
			return i;
	bug(a->cx, NOLOC, "an output is a view of %s %d, which is none", base ? "base" : "output", k);
	return -1;
}

/* Of which input, state or output an output is a view that nobody computes (fxcc1 has taken it
 * from the results). */
static void
view(Artifact *a, Entry *e, const OutMeta *o, Port *p)
{
	const Input *in = NULL;
	int n = 0;

	p->type = o->type;
	p->offset = o->offset;
	if (o->kind != OutIsInput && o->kind != OutAliasOfInput) {
		p->viewof = FxrtViewOut;
		p->base = o->base;             /* its port is known when all outputs are */
		return;
	}
	for (int i = 0; i < e->mod->in.n && !in; i++)
		if (e->mod->in.v[i].val && n++ == o->base)
			in = &e->mod->in.v[i];
	p->viewof = in && known(in) ? FxrtViewState : FxrtViewIn;
	if (in && in->storage)
		p->offset = sym_sub(a->cx, p->offset, sym_const(a->cx, in->offset));
	p->base = in == NULL ? -1 : known(in) ? artifact_state(a, in) : forward_port(a, in);
	if (p->base < 0)
		bug(a->cx, NOLOC, "output %s is a view of nothing", p->name);
}

static bool
isalias(enum outalias k)
{
	return k != OutNonAlias && k != OutUnsafeView && k != OutCustomView;
}

static void
port_out(Artifact *a, Entry *e, int i, int nth)
{
	const Output *o = &e->mod->out.v[i];
	const Arg *v = &e->mod->main->last->arg[0].list.v[i];
	const Meta *meta = e->mod->meta;
	const OutMeta *m = o->kind != ResBase && meta && nth < meta->out.n ? &meta->out.v[nth] : NULL;
	bool isview = v->kind == ArgNone && m && m->type && isalias(m->kind);
	const Type *t = result_type(a, e->mod, i);

	if (t == NULL && !isview)
		return;
	Str name = o->kind == ResBase ? intern_printf(a->cx, "base%d", nth) : o->name ? c_identifier(a->cx, o->name) : intern_printf(a->cx, "out%d", nth);
	Port p = {.name = unique(a, e, name), .fqn = o->name, .type = t, .kind = FXCC_OUTPUT, .index = i, .nth = nth, .onlybase = o->kind == ResBase};
	p.alias = v->kind == ArgVal ? port_of_val(e, v->use->val) : -1;
	if (isview)
		view(a, e, m, &p);
	vec_push(a->a, &e->out, p);
}

static void
ports_out(Artifact *a, Entry *e)
{
	int user = 0, base = 0;

	for (int i = 0; i < e->mod->out.n && i < e->mod->main->last->arg[0].list.n; i++) {
		enum outkind k = e->mod->out.v[i].kind;
		if (k == ResUser || k == ResLoss || k == ResBase)
			port_out(a, e, i, k == ResBase ? base++ : user++);
	}
	for (int i = 0; i < e->out.n; i++) {
		Port *p = &e->out.v[i];
		if (p->viewof == FxrtViewOut)
			p->base = port_of_output(a, e, e->mod->meta->out.v[p->nth].kind != OutAliasOfIntermUser, p->base);
	}
}

/* ---- backward ------------------------------------------------------------------------- */

static int
output_named(const Artifact *a, Str name)
{
	for (int i = 0; name && i < a->entry[0].out.n; i++)
		if (a->entry[0].out.v[i].fqn == name)
			return i;
	return -1;
}

/* NULL stands for 1 where there is one number; if a loss is marked, for that alone. */
static int
absent(const Artifact *a, const Input *in, int output)
{
	bool loss = false;
	int64_t n;

	for (int i = 0; i < a->mod->out.n; i++)
		loss |= a->mod->out.v[i].kind == ResLoss;
	if (in->val->type->kind != TyTensor || !sym_isconst(type_numel(a->cx, in->val->type), &n) || n != 1)
		return FxrtZeros;
	return loss && (output < 0 || a->mod->out.v[a->entry[0].out.v[output].index].kind != ResLoss) ? FxrtZeros : FxrtOne;
}

static void
tangents(Artifact *a, Entry *e)
{
	for (int i = 0; i < e->mod->in.n; i++) {
		const Input *in = &e->mod->in.v[i];
		if (in->kind != InTangent || in->val == NULL)
			continue;
		int out = output_named(a, in->target);
		Str name = out >= 0 ? a->entry[0].out.v[out].name : c_identifier(a->cx, in->target ? in->target : in->name);
		name = unique(a, e, intern_printf(a->cx, out >= 0 ? "g_%s" : "g_%s_out", name));
		vec_push(a->a, &e->in, (Port){.name = name, .fqn = in->target, .type = in->val->type, .kind = FXCC_TANGENT, .index = i, .alias = out,
		                              .absent = absent(a, in, out)});
	}
}

static const Input *
differentiated(const Artifact *a, const Output *o)
{
	for (int i = 0; i < a->mod->in.n; i++) {
		const Input *in = &a->mod->in.v[i];
		if (o->target && (in->name == o->target || (in->kind != InUser && in->target == o->target)))
			return in;
	}
	return NULL;
}

static void
gradients(Artifact *a, Entry *e)
{
	for (int i = 0; i < e->mod->out.n; i++) {
		const Output *o = &e->mod->out.v[i];
		const Type *t = result_type(a, e->mod, i);
		if ((o->kind != ResGradParam && o->kind != ResGradUser) || t == NULL || t->kind != TyTensor)
			continue;
		const Input *in = differentiated(a, o);
		Str of = in == NULL ? o->target : in->kind != InUser && in->target ? in->target : in->argname ? in->argname : in->name;
		Str name = unique(a, e, intern_printf(a->cx, "g_%s", c_identifier(a->cx, of ? of : "input")));
		vec_push(a->a, &e->out, (Port){.name = name, .fqn = of, .type = t, .kind = FXCC_GRAD, .index = i, .alias = in ? forward_port(a, in) : -1,
		                               .optional = true});
	}
}

/* A weight that the caller passes is not copied: backward reads it where forward did. */
static void
kept(Artifact *a, const Entry *e)
{
	for (int i = 0; i < e->mod->in.n; i++) {
		const Input *in = &e->mod->in.v[i];
		if (in->kind == InTangent || !isport(in))
			continue;
		if (forward_port(a, in) < 0)
			bug(a->cx, NOLOC, "backward reads %s, which forward does not have", in->name);
		if (artifact_kept(a, in) < 0)
			vec_push(a->a, &a->kept, forward_port(a, in));
	}
}

/* What a step of forward finds is not known when the saved buffer is laid out: its most. */
static const Sym *
most(const Artifact *a, const Sym *e)
{
	const Plan *p = a->entry[0].plan[0];

	for (int k = p->step.n; k-- > 0; ) {
		const Step *s = &p->step.v[k];
		const Sym *sum = sym_const(a->cx, 0);
		if (!s->define || s->define->kind != SymVar || !sym_uses(e, s->define))
			continue;
		for (int i = 0; i < s->nbuf; i++)
			if (s->buf[i] >= 0 && !sym_uses(p->buf.v[s->buf[i]].count, s->define))
				sum = sym_add(a->cx, sum, p->buf.v[s->buf[i]].count);
		if (s->define->hi < INT64_MAX)
			sum = sym_const(a->cx, s->define->hi);
		e = sym_subst(a->cx, e, &s->define, &sum, 1);
	}
	return e;
}

static const Sym *
rounded(const Artifact *a, const Sym *bytes)
{
	const Sym *align = sym_const(a->cx, FxrtAlign);

	return sym_mul(a->cx, sym_ceildiv(a->cx, bytes, align), align);
}

/* Head, sizes, addresses, then the tensors. */
static void
saved(Artifact *a, const Module *back)
{
	int64_t head = (int64_t)(sizeof(fxrt_head) + sizeof(int64_t) * (size_t)(a->sym.n + a->kept.n));
	const Sym *at = sym_const(a->cx, (head + FxrtAlign - 1) / FxrtAlign * FxrtAlign);

	for (int i = 0; i < a->mod->out.n; i++) {
		const Output *o = &a->mod->out.v[i];
		const Type *t = o->kind == ResSaved ? result_type(a, a->mod, i) : NULL;
		Saved s = {.name = o->target ? o->target : o->name, .type = t, .offset = at};
		if (t == NULL || t->kind != TyTensor)
			continue;
		s.count = type_numel(a->cx, t);
		for (int k = 0; k < back->in.n; k++)
			s.donated |= back->in.v[k].kind == InSaved && back->in.v[k].target == s.name && back->in.v[k].donated;
		a->donates |= s.donated;
		vec_push(a->a, &a->saved, s);
		at = sym_add(a->cx, at, rounded(a, sym_mul(a->cx, most(a, s.count), sym_const(a->cx, dtypeinfo[t->dt].bytes))));
	}
	a->savedsize = at;
}

/* ---- step ----------------------------------------------------------------------------- */

/* Its gradients are the results of backward, which it takes from backward's struct. */
static void
step_ports(Artifact *a, Entry *e, const Entry *back)
{
	ports_in(a, e);
	for (int i = 0; i < e->in.n; i++) {
		Port *p = &e->in.v[i];
		for (int k = 0; p->fqn && k < back->out.n; k++)
			if (back->out.v[k].fqn == p->fqn)
				p->alias = k;
	}
}

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
		if (a->weightat + s->offset < a->nkonst || s->bytes == 0)
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
	if (!seen)
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
	return sizeof(fxrt_ctx) + 2 * FxrtAlign + (size_t)a->nstate;
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
	const Entry *back;

	*a = (Artifact){.cx = cx, .a = ctx_arena(cx), .opt = opt, .mod = opt->plan[0]->mod};
	a->p = arena_printf(a->a, "%s__", opt->prefix);
	add_entry(a, FxrtForward, "f", opt->plan);
	add_entry(a, FxrtBackward, "b", opt->backward);
	add_entry(a, FxrtStep, "s", opt->step);
	add_entry(a, FxrtFold, "c", opt->fold);
	weights(a);
	states(a);
	ports_in(a, &a->entry[0]);
	ports_out(a, &a->entry[0]);
	sizes(a);
	for (int e = 1; e < a->nentry; e++)
		if (a->entry[e].kind == FxrtBackward) {
			tangents(a, &a->entry[e]);
			gradients(a, &a->entry[e]);
			kept(a, &a->entry[e]);
		} else if (a->entry[e].kind == FxrtStep) {
			step_ports(a, &a->entry[e], artifact_entry(a, FxrtBackward));
		}
	if (unbound(a))
		return false;
	if ((back = artifact_entry(a, FxrtBackward)))
		saved(a, back->mod);
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
