/* artifact.c - what an artifact is made of: its arguments, sizes, states,
 * constants and kernels, gathered from the plans before anything is printed.
 */
#include <ctype.h>
#include "emit/tables.h"
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

static Str
unique(Artifact *a, Str name)
{
	Str s = name;

	for (int n = 1;; n++) {
		bool taken = false;
		for (int i = 0; i < a->in.n && !taken; i++)
			taken = a->in.v[i].name == s;
		for (int i = 0; i < a->out.n && !taken; i++)
			taken = a->out.v[i].name == s;
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

/* An input that the caller passes: a user's, or a weight whose value is not known. */
static bool
isport(const Input *in)
{
	if (in->val == NULL || in->kind == InToken || in->kind == InObject || in->value.kind != ArgNone)
		return false;
	return in->kind == InUser || in->weight == NULL || in->weight->data == NULL;
}

static int
inkind(enum inkind k)
{
	return k == InUser ? FXCC_USER : k == InParam ? FXCC_PARAM : k == InBuffer ? FXCC_BUFFER : FXCC_CONST;
}

static void
ports_in(Artifact *a)
{
	Module *m = a->mod;

	for (int i = 0; i < m->in.n; i++) {
		const Input *in = &m->in.v[i];
		bool written = input_written(m, in);
		if (isport(in)) {
			Str name = unique(a, c_identifier(a->cx, in->argname ? in->argname : in->name));
			vec_push(a->a, &a->in, (Port){name, in->target, in->val->type, inkind(in->kind), i, -1, written});
		} else if (written && in->val) {
			vec_push(a->a, &a->state, i);
		}
	}
}

static int
port_of_val(const Artifact *a, const Val *v)
{
	for (int i = 0; i < a->in.n; i++)
		if (a->mod->in.v[a->in.v[i].index].val == v)
			return i;
	return -1;
}

static void
ports_out(Artifact *a)
{
	const Arg *list = &a->mod->main->last->arg[0];
	int n = 0;

	for (int i = 0; i < a->mod->out.n && i < list->list.n; i++) {
		const Output *o = &a->mod->out.v[i];
		const Arg *v = &list->list.v[i];
		const Type *t = v->kind == ArgVal ? v->use->val->type : v->kind == ArgInt ? type_sym(a->cx, v->i) : NULL;
		if ((o->kind != ResUser && o->kind != ResLoss) || t == NULL || (t->kind != TyTensor && t->kind != TySym))
			continue;
		Str name = o->name ? c_identifier(a->cx, o->name) : intern_printf(a->cx, "out%d", n);
		int alias = v->kind == ArgVal ? port_of_val(a, v->use->val) : -1;
		vec_push(a->a, &a->out, (Port){unique(a, name), o->name, t, FXCC_OUTPUT, i, alias, false});
		n++;
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
	for (int i = 0; i < a->in.n; i++) {
		const Type *t = a->in.v[i].type;
		if (t->kind == TySym && t->sym->kind == SymVar && artifact_sym(a, t->sym) < 0)
			vec_push(a->a, &a->sym, t->sym);
		for (int d = 0; t->kind == TyTensor && d < t->rank; d++)
			if (t->dim[d]->kind == SymVar && artifact_sym(a, t->dim[d]) < 0)
				vec_push(a->a, &a->sym, t->dim[d]);
	}
	for (int i = 0; i < a->in.n; i++)          /* those that occur within a size alone: 2*s0 */
		for (int d = 0; a->in.v[i].type->kind == TyTensor && d < a->in.v[i].type->rank; d++) {
			const Sym *e = a->in.v[i].type->dim[d], **var = NULL, *c, *rest;
			int n = 0;
			sym_vars(a->a, e, &var, &n);
			if (n == 1 && artifact_sym(a, var[0]) < 0 && sym_linear(a->cx, e, var[0], &c, &rest))
				vec_push(a->a, &a->sym, var[0]);
		}
	a->nsize = a->sym.n;
	for (int v = 0; v < a->opt->ntarget; v++)
		for (int i = 0; i < a->opt->plan[v]->sym.n; i++)
			add_syms(a, a->opt->plan[v]->sym.v[i]);
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

static void
constants(Artifact *a)
{
	for (int v = 0; v < a->opt->ntarget; v++)
		for (int i = 0; i < a->opt->plan[v]->buf.n; i++) {
			const Buf *b = &a->opt->plan[v]->buf.v[i];
			size_t bytes;
			if ((b->home == HomeConst || b->home == HomeState) && konst_bytes(a, b, &bytes))
				add_konst(a, b->data, bytes);
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
kernels(Artifact *a)
{
	for (int v = 0; v < a->opt->ntarget; v++)
		for (int i = 0; i < a->opt->plan[v]->kernel.n; i++) {
			Kernel *k = a->opt->plan[v]->kernel.v[i];
			const char *symbol = NULL;
			for (int u = 0; u < a->unit.n && symbol == NULL; u++)
				if (a->unit.v[u].target == a->opt->target[v] && same_kernel(a->unit.v[u].kernel, k))
					symbol = a->unit.v[u].symbol;
			bool first = symbol == NULL;
			if (first)
				symbol = arena_printf(a->a, "%s%s%d_%s", a->p, a->opt->ntarget > 1 ? "v" : "k", a->opt->ntarget > 1 ? v : i,
				                      k->name ? k->name : "kernel");
			for (int u = 0; first && u < a->unit.n; u++)
				if (strcmp(a->unit.v[u].symbol, symbol) == 0)
					symbol = arena_printf(a->a, "%s_%d", symbol, i);
			vec_push(a->a, &a->unit, (KernelUnit){k, a->opt->target[v], symbol});
		}
}

static void
externs(Artifact *a)
{
	for (int v = 0; v < a->opt->ntarget; v++)
		for (int i = 0; i < a->opt->plan[v]->step.n; i++) {
			const Step *s = &a->opt->plan[v]->step.v[i];
			bool seen = s->kind != StepExtern;
			for (int j = 0; j < a->ext.n && !seen; j++)
				seen = a->ext.v[j] == s->fn;
			if (!seen)
				vec_push(a->a, &a->ext, s->fn);
		}
}

/* ---- all ------------------------------------------------------------------------------------ */

static uint64_t
hash(uint64_t h, const void *p, size_t n)
{
	for (const uint8_t *s = p; n > 0; n--)
		h = (h ^ *s++) * UINT64_C(0x100000001b3);
	return h;
}

/* What header and library share: names, types and order of all arguments. */
static uint64_t
signature(const Artifact *a)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	h = hash(h, a->opt->prefix, strlen(a->opt->prefix));
	for (int k = 0; k < 2; k++)
		for (int i = 0; i < (k ? a->out.n : a->in.n); i++) {
			const Port *p = k ? &a->out.v[i] : &a->in.v[i];
			const char *t = type_str(a->cx, p->type);
			h = hash(h, p->name, strlen(p->name));
			h = hash(h, t, strlen(t));
		}
	return hash(h, &a->nkonst, sizeof a->nkonst);
}

static void
states(Artifact *a)
{
	for (int i = 0; i < a->state.n; i++) {
		int64_t n = 0;
		const Type *t = a->mod->in.v[a->state.v[i]].val->type;
		sym_isconst(type_numel(a->cx, t), &n);
		a->nstate = (a->nstate + 63) & ~UINT64_C(63);
		a->nstate += (uint64_t)n * dtypeinfo[t->dt].bytes;
	}
}

static bool
too_many(Artifact *a)
{
	if (a->in.n >= FxrtMaxBuf || a->out.n >= FxrtMaxBuf)
		return error(a->cx, NOLOC, "the model has %d inputs and %d outputs; at most %d are supported", a->in.n, a->out.n, FxrtMaxBuf - 1), true;
	if (a->sym.n >= FxrtMaxSym)
		return error(a->cx, NOLOC, "the model has %d free sizes; at most %d are supported", a->sym.n, FxrtMaxSym - 1), true;
	for (int v = 0; v < a->opt->ntarget; v++)
		for (int i = 0; i < a->opt->plan[v]->step.n; i++)
			if (a->opt->plan[v]->step.v[i].nbuf >= FxrtMaxBuf)
				return error(a->cx, a->opt->plan[v]->step.v[i].loc, "a step reads more than %d tensors", FxrtMaxBuf - 1), true;
	return false;
}

static bool
defined_by_step(const Artifact *a, const Sym *s)
{
	for (int i = 0; i < a->opt->plan[0]->step.n; i++)
		if (a->opt->plan[0]->step.v[i].define == s)
			return true;
	return s->name && strcmp(s->name, "rng_seed") == 0;
}

/* A size must come from the inputs or from a step; a number read by item() has no code yet. */
static bool
unbound(Artifact *a)
{
	for (int i = 0; i < a->out.n; i++) {
		const Type *t = a->out.v[i].type;
		add_syms(a, t->kind == TySym ? t->sym : NULL);
		for (int d = 0; t->kind == TyTensor && d < t->rank; d++)
			add_syms(a, t->dim[d]);
	}
	for (int i = a->nsize; i < a->sym.n; i++)
		if (!defined_by_step(a, a->sym.v[i]))
			return error(a->cx, NOLOC, "1 operator is not supported: a size or number read from data by item() (%s)", a->sym.v[i]->name), true;
	return false;
}

bool
artifact_new(Ctx *cx, const EmitOptions *opt, Artifact *a)
{
	*a = (Artifact){.cx = cx, .a = ctx_arena(cx), .opt = opt, .mod = opt->plan[0]->mod};
	a->p = arena_printf(a->a, "%s__", opt->prefix);
	ports_in(a);
	ports_out(a);
	sizes(a);
	if (unbound(a))
		return false;
	constants(a);
	kernels(a);
	externs(a);
	states(a);
	for (int v = 0; v < opt->ntarget && a->nsize == 0; v++) {
		int64_t n = 0;
		if (sym_isconst(opt->plan[v]->arena, &n) && (uint64_t)n + 64 > a->arena)
			a->arena = (uint64_t)n + 64;
	}
	a->signature = signature(a);
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
