/* ports.c - the arguments of the entries: inputs, outputs, tangents, gradients; what
 * belongs to the context (states), what may be replaced (weights), what is saved.
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

bool
port_issize(const Port *p)
{
	return p->type->kind == TySym;
}

const char *
size_ctype(const Sym *s)
{
	return s->isfloat ? "double" : "int64_t";
}

enum dtype
port_dtype(const Port *p)
{
	return !port_issize(p) ? p->type->dt : p->type->sym->isfloat ? DtF64 : DtI64;
}

const char *
port_ctype(const Port *p)
{
	return port_issize(p) ? size_ctype(p->type->sym) : dtypeinfo[p->type->dt].cname;
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
	return k == InUser ? FXCC_USER : k == InParam ? FXCC_PARAM : k == InBuffer ? FXCC_BUFFER : k == InTangent ? FXCC_TANGENT : FXCC_CONST;
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
		if (!folded) {
			a->nplain = a->weight.n;
			a->nfirst = a->nweight;
		}
	}
	if (!a->mod->foldlater)
		a->nfirst = a->nweight;
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

/* t_, squeeze_, resize_: the program changes sizes and strides of the caller's tensor. */
static Port *
after(Artifact *a, const Meta *m, int placeholder, int port)
{
	const InMeta *in = m && placeholder < m->in.n ? &m->in.v[placeholder] : NULL;

	if (in == NULL || in->type == NULL)
		return NULL;
	return arena_dup(a->a, &(Port){.name = "", .type = in->type, .alias = -1, .viewof = FxrtViewIn, .base = port, .offset = in->offset}, sizeof(Port));
}

static void
ports_in(Artifact *a, Entry *e)
{
	Module *m = e->mod;
	int placeholder = -1;

	for (int i = 0; i < m->in.n; i++) {
		const Input *in = &m->in.v[i];
		placeholder += in->val != NULL;
		if (!isport(in))
			continue;
		Str name = c_identifier(a->cx, in->argname ? in->argname : in->name);
		if (in->kind == InTangent && in->target)       /* of one function for forward and backward */
			name = intern_printf(a->cx, "g_%s", c_identifier(a->cx, in->target));
		name = unique(a, e, name);
		vec_push(a->a, &e->in, (Port){.name = name, .fqn = in->target, .type = in->val->type, .kind = inkind(in->kind), .index = i, .alias = -1,
		                              .written = in->kind != InTangent && input_written(m, in),
		                              .after = e->kind == FxrtForward ? after(a, m->meta, placeholder, e->in.n) : NULL});
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
gradient(Artifact *a, Entry *e, int i, const Type *t, bool optional)
{
	const Output *o = &e->mod->out.v[i];
	const Input *in = differentiated(a, o);
	Str of = in == NULL ? o->target : in->kind != InUser && in->target ? in->target : in->argname ? in->argname : in->name;
	Str name = unique(a, e, intern_printf(a->cx, "g_%s", c_identifier(a->cx, of ? of : "input")));

	vec_push(a->a, &e->out, (Port){.name = name, .fqn = of, .type = t, .kind = FXCC_GRAD, .index = i, .alias = in && optional ? forward_port(a, in) : -1,
	                               .nth = -1, .optional = optional});
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
		else if ((k == ResGradParam || k == ResGradUser) && result_type(a, e->mod, i))
			gradient(a, e, i, result_type(a, e->mod, i), false);
	}
	for (int i = 0; i < e->out.n; i++) {
		Port *p = &e->out.v[i];
		if (p->viewof == FxrtViewOut)
			p->base = port_of_output(a, e, e->mod->meta->out.v[p->nth].kind != OutAliasOfIntermUser, p->base);
	}
}

/* ---- backward ------------------------------------------------------------------------- */

/* The output that a tangent is of, by the name that joint gave it; those of a joint graph that
 * was read as such have none: they are in the order of the outputs.  -1: of what forward writes. */
static int
output_of(const Artifact *a, const Entry *e, const Input *in)
{
	const Ports *out = &a->entry[0].out;
	int i = 0;

	if (in->target) {
		while (i < out->n && out->v[i].fqn != in->target)
			i++;
		return i < out->n ? i : -1;
	}
	for (int k = 0; k < e->in.n; k++)
		i = e->in.v[k].alias >= i ? e->in.v[k].alias + 1 : i;
	while (i < out->n && !(out->v[i].type->kind == TyTensor && out->v[i].type->dt == in->val->type->dt && out->v[i].type->rank == in->val->type->rank))
		i++;
	return i < out->n ? i : -1;
}

/* NULL stands for 1 where there is one number; if a loss is marked, for that alone. */
static int
absent(const Artifact *a, const Input *in, int output)
{
	bool loss = false;
	int64_t n;

	for (int i = 0; i < a->mod->out.n; i++)
		loss |= a->mod->out.v[i].kind == ResLoss;
	if (output < 0 || in->val->type->kind != TyTensor || !sym_isconst(type_numel(a->cx, in->val->type), &n) || n != 1)
		return FxrtZeros;
	return loss && a->mod->out.v[a->entry[0].out.v[output].index].kind != ResLoss ? FxrtZeros : FxrtOne;
}

static bool
has_port(const Entry *e, int index)
{
	for (int i = 0; i < e->in.n; i++)
		if (e->in.v[i].index == index)
			return true;
	return false;
}

/* Those of outputs first, then those of what forward writes. */
static void
tangents(Artifact *a, Entry *e, bool written)
{
	for (int i = 0; i < e->mod->in.n; i++) {
		const Input *in = &e->mod->in.v[i];
		int out = in->kind == InTangent && in->val ? output_of(a, e, in) : -1;
		if (in->kind != InTangent || in->val == NULL || (out < 0) != written || has_port(e, i))
			continue;
		Str name = out >= 0 ? a->entry[0].out.v[out].name : c_identifier(a->cx, in->target ? in->target : in->name);
		name = unique(a, e, intern_printf(a->cx, out >= 0 ? "g_%s" : "g_%s_out", name));
		vec_push(a->a, &e->in, (Port){.name = name, .fqn = in->target, .type = in->val->type, .kind = FXCC_TANGENT, .index = i, .alias = out,
		                              .absent = absent(a, in, out)});
	}
}

static void
gradients(Artifact *a, Entry *e)
{
	for (int i = 0; i < e->mod->out.n; i++) {
		const Output *o = &e->mod->out.v[i];
		const Type *t = result_type(a, e->mod, i);
		if ((o->kind != ResGradParam && o->kind != ResGradUser) || t == NULL || t->kind != TyTensor)
			continue;
		gradient(a, e, i, t, true);
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

/* ---- all ------------------------------------------------------------------------------ */

/* Forward's arguments; the sizes, which they give, are named beside those of the others. */
void
ports_forward(Artifact *a)
{
	weights(a);
	states(a);
	ports_in(a, &a->entry[0]);
	ports_out(a, &a->entry[0]);
}

void
ports_others(Artifact *a)
{
	for (int e = 1; e < a->nentry; e++)
		if (a->entry[e].kind == FxrtBackward) {
			tangents(a, &a->entry[e], false);
			tangents(a, &a->entry[e], true);
			gradients(a, &a->entry[e]);
			kept(a, &a->entry[e]);
		} else if (a->entry[e].kind == FxrtStep) {
			step_ports(a, &a->entry[e], artifact_entry(a, FxrtBackward));
		}
}

/* When all sizes are known. */
void
ports_saved(Artifact *a)
{
	const Entry *back = artifact_entry(a, FxrtBackward);

	if (back)
		saved(a, back->mod);
}
