/* bases.c - inputs that share memory.
 *
 * The pragma `#fxg storage NAME N OFFSET` says that inputs of the same N lie in one memory, OFFSET
 * elements from its start.  As long as none of them is written that changes nothing.  Of two that
 * are the same tensor and written one goes.  Those that overlap otherwise, one of them written,
 * are replaced by their memory as a whole, from which the program makes its inputs again
 * (as_strided): then functionalize sees who reads what was written.
 *
 *     x = buf[0:4], y = buf[2:6]          base: f32[6]
 *     x.mul_(2); return x + y             x = as_strided(base, [4], [1], 0) ...
 *
 * Inputs of one memory that have no element in common are no concern of anybody, be it halves
 * or every second element: their elements are compared.
 */
#include "grad/fun.h"

enum { MaxCompared = 1 << 24 };       /* elements of memory that are looked at singly */

typedef struct Place {
	Input *in;
	int at;                  /* which placeholder */
	bool goes;               /* into a base */
} Place;

/* Inputs of one memory. */
typedef struct Group {
	Place *v;
	int n;
} Group;

typedef struct Pass {
	Module *mod;
	Ctx *cx;
	Arena *a;
	InMeta *meta;            /* by placeholder */
} Pass;

/* ---- sizes -------------------------------------------------------------------------- */

/* First and last element of memory that an input has; false: only the run knows. */
static bool
extent(Ctx *cx, const Input *in, int64_t *lo, int64_t *hi)
{
	const Type *t = in->val->type;

	*lo = *hi = in->offset;
	for (int d = 0; d < t->rank; d++) {
		int64_t n, s, step;
		if (!sym_isconst(t->dim[d], &n) || !sym_isconst(type_stride(cx, t, d), &s) ||
		    !mul_ok(n > 0 ? n - 1 : 0, s, &step))
			return false;
		if (n == 0)
			*hi = *lo - 1;
		if (n == 0 || !add_ok(*hi, step, hi))
			return n == 0;
	}
	return true;
}

/* Mark its elements in a map of memory from lo on; false: one was marked by another. */
static bool
mark(Ctx *cx, const Input *in, uint8_t *seen, int64_t lo, int64_t hi, uint8_t with)
{
	const Type *t = in->val->type;
	int64_t at[MaxRank] = {0}, n[MaxRank], s[MaxRank], p;
	bool free = true;

	for (int d = 0; d < t->rank; d++)
		if (!sym_isconst(t->dim[d], &n[d]) || !sym_isconst(type_stride(cx, t, d), &s[d]) || n[d] == 0)
			return true;
	for (;;) {
		int d = t->rank - 1;
		p = in->offset;
		for (int k = 0; k < t->rank; k++)
			p += at[k]*s[k];
		if (p >= lo && p <= hi) {
			free = free && (seen[p - lo] == 0 || seen[p - lo] == with);
			seen[p - lo] = with;
		}
		while (d >= 0 && ++at[d] == n[d])
			at[d--] = 0;
		if (d < 0)
			return free;
	}
}

static bool
sameplace(Ctx *cx, const Input *a, const Input *b)
{
	const Type *x = a->val->type, *y = b->val->type;

	if (a->offset != b->offset || x->rank != y->rank || x->dt != y->dt)
		return false;
	for (int d = 0; d < x->rank; d++)
		if (!sym_eq(x->dim[d], y->dim[d]) || !sym_eq(type_stride(cx, x, d), type_stride(cx, y, d)))
			return false;
	return true;
}

/* Have they an element in common?  false: reported. */
static bool
overlap(Pass *p, const Input *a, const Input *b, bool *yes)
{
	int64_t alo, ahi, blo, bhi, lo, hi;
	uint8_t *seen;
	Arena *scratch;

	if (!extent(p->cx, a, &alo, &ahi) || !extent(p->cx, b, &blo, &bhi)) {
		error(p->cx, b->val->def->loc, "the inputs %s and %s share memory, one is written, and only the run knows "
		      "their sizes: not supported", a->name, b->name);
		return false;
	}
	lo = alo > blo ? alo : blo;
	hi = ahi < bhi ? ahi : bhi;
	*yes = lo <= hi;
	if (!*yes || hi - lo >= MaxCompared)
		return true;
	scratch = arena_new();
	seen = NEWN(scratch, uint8_t, hi - lo + 1);
	mark(p->cx, a, seen, lo, hi, 1);
	*yes = !mark(p->cx, b, seen, lo, hi, 2);
	arena_free(scratch);
	return true;
}

/* ---- the same tensor twice ------------------------------------------------------------- */

static void
removed(Module *m, int k)
{
	memmove(&m->in.v[k], &m->in.v[k + 1], sizeof *m->in.v * (size_t)(m->in.n - 1 - k));
	m->in.n--;
}

static bool
written(const InMeta *r)
{
	return r->data || r->metadata;
}

/* Merge b into a. */
static void
merge(Pass *p, Input *a, Input *b)
{
	Node *n = b->val->def;

	a->requires_grad |= b->requires_grad;
	val_replace(b->val, a->val);
	node_delete(n);
	for (int k = 0; k < p->mod->in.n; k++)
		if (&p->mod->in.v[k] == b)
			removed(p->mod, k);
}

/* For the header: the caller gives that other input instead. */
static void
lies(Pass *p, const Input *in, Str where, int64_t offset)
{
	vec_push(ctx_arena(p->cx), &p->mod->meta->lies, ((Lies){in->name, where, offset}));
}

/* PyTorch takes all duplicates away as soon as one tensor that it got twice is written. */
static bool
duplicates(Pass *p)
{
	Module *m = p->mod;
	bool any = false, merged = false;

	for (int round = 0; round < 2; round++) {
		int at = 0;
		for (int k = 0; k < m->in.n; k++) {
			Input *a = &m->in.v[k];
			if (a->val == NULL)
				continue;
			for (int i = k + 1, bt = at + 1; i < m->in.n; i++) {
				Input *b = &m->in.v[i];
				if (b->val == NULL)
					continue;
				if (a->storage && a->storage == b->storage && sameplace(p->cx, a, b)) {
					if (round == 0)
						any |= written(&p->meta[at]) || written(&p->meta[bt]);
					else {
						lies(p, b, a->name, 0);
						merge(p, a, b);
						merged = true;
						i--;
					}
				}
				bt++;
			}
			at++;
		}
		if (!any)
			break;
	}
	return merged;
}

/* ---- one base for several ----------------------------------------------------------------- */

/* All of `all` that overlap another one, if something in the group is written; none: false. */
static bool
overlapping(Pass *p, Group *g, bool *ok)
{
	bool data = false;
	int n = 0;

	for (int k = 0; k < g->n; k++)
		data |= p->meta[g->v[k].at].data;
	for (int a = 0; data && a < g->n; a++)
		for (int b = a + 1; b < g->n; b++) {
			bool yes;
			if (!overlap(p, g->v[a].in, g->v[b].in, &yes)) {
				*ok = false;
				return false;
			}
			if (yes)
				g->v[a].goes = g->v[b].goes = true;
		}
	data = false;
	for (int k = 0; k < g->n; k++)
		if (g->v[k].goes) {
			data |= p->meta[g->v[k].at].data;
			g->v[n++] = g->v[k];
		}
	g->n = n;
	return data && n > 1;
}

static bool
mixed(Pass *p, const Group *g)
{
	const Input *a = g->v[0].in;

	for (int k = 1; k < g->n; k++) {
		const Input *b = g->v[k].in;
		const char *what = a->val->type->dt != b->val->type->dt ? "dtypes" :
		                   a->requires_grad != b->requires_grad ? "needs of gradients" :
		                   a->kind != b->kind ? "kinds" : NULL;
		if (what) {
			error(p->cx, b->val->def->loc, "the inputs %s and %s overlap, one is written, and their %s differ: not supported",
			      a->name, b->name, what);
			return true;
		}
	}
	return false;
}

static void
movefirst(Node *n, Node *after)
{
	Graph *g = n->graph;
	Node *next = after ? after->next : g->first;

	if (next == n)
		return;
	n->prev->next = n->next;
	if (n->next)
		n->next->prev = n->prev;
	else
		g->last = n->prev;
	n->prev = after;
	n->next = next;
	next->prev = n;
	*(after ? &after->next : &g->first) = n;
}

/* The input as a view of the base, before anything reads it. */
static bool
rebuild(Pass *p, const Input *in, Val *base, Node *before)
{
	const OpDef *op = op_find("aten.as_strided.default");
	const Type *t = in->val->type;
	Arg *size = NEWN(p->a, Arg, t->rank + 1), *stride = NEWN(p->a, Arg, t->rank + 1), arg[4];
	Node *n;

	for (int d = 0; d < t->rank; d++) {
		size[d] = arg_sym(t->dim[d]);
		stride[d] = arg_sym(type_stride(p->cx, t, d));
	}
	arg[0] = arg_val(base);
	arg[1] = arg_list(p->a, size, t->rank);
	arg[2] = arg_list(p->a, stride, t->rank);
	arg[3] = arg_int(p->cx, in->offset);
	n = node_new(p->mod->main, op, arg, 4, 1, before, in->val->def->loc);
	if (!node_infer(n))
		return false;
	val_replace(in->val, &n->out[0]);
	vec_push(ctx_arena(p->cx), &p->mod->meta->rebuilt, n);
	lies(p, in, base->name, in->offset);
	node_delete(in->val->def);
	return true;
}

/* Bases come before all other inputs; `nth` of them are there. */
static bool
replace(Pass *p, const Group *g, int nth)
{
	Module *m = p->mod;
	Input first = *g->v[0].in, base;
	Merged r = {.in = nth, .hidden = true, .nograd = true};
	int64_t lo, hi, size = 0;
	const Sym *dim;
	Node *ph, *after = NULL, *before;

	for (int k = 0; k < g->n; k++) {
		const InMeta *of = &p->meta[g->v[k].at];
		if (extent(p->cx, g->v[k].in, &lo, &hi) && hi + 1 > size)
			size = hi + 1;
		r.hidden &= of->hidden;
		r.nograd &= of->nograd;
	}
	for (int k = 0; k < nth; k++)
		after = after ? after->next : m->main->first;
	dim = sym_const(p->cx, size);
	ph = node_placeholder(m->main, intern_printf(p->cx, "%s_base", first.name),
	                      type_tensor(p->cx, first.val->type->dt, 1, &dim), first.val->def->loc);
	movefirst(ph, after);
	for (before = ph; before->op == &opplaceholder; )
		before = before->next;
	base = first;
	base.val = &ph->out[0];
	base.name = ph->out[0].name;
	base.argname = base.name;
	base.offset = base.storage = 0;
	base.weight = NULL;
	for (int k = 0; k < g->n; k++)
		if (!rebuild(p, g->v[k].in, base.val, before))
			return false;
	for (int k = g->n - 1; k >= 0; k--)
		removed(m, (int)(g->v[k].in - m->in.v));
	vec_push(ctx_arena(p->cx), &m->in, base);
	memmove(&m->in.v[nth + 1], &m->in.v[nth], sizeof base * (size_t)(m->in.n - 1 - nth));
	m->in.v[nth] = base;
	vec_push(ctx_arena(p->cx), &m->meta->merged, r);
	return true;
}

/* The inputs of a memory, if there are several. */
static bool
group(Pass *p, int storage, Group *g)
{
	Module *m = p->mod;
	int at = 0;

	*g = (Group){.v = NEWN(p->a, Place, m->in.n + 1)};
	for (int k = 0; k < m->in.n; k++) {
		Input *in = &m->in.v[k];
		if (in->val == NULL)
			continue;
		if (in->storage == storage && in->val->type && in->val->type->kind == TyTensor)
			g->v[g->n++] = (Place){in, at, false};
		at++;
	}
	return g->n > 1;
}

/* Numbers of memory that inputs share, each once. */
static int
storages(Pass *p, int **list)
{
	const Module *m = p->mod;
	int n = 0;
	Group g;

	*list = NEWN(p->a, int, m->in.n + 1);
	for (int k = 0; k < m->in.n; k++) {
		int s = m->in.v[k].storage;
		bool again = s == 0;
		for (int i = 0; i < n; i++)
			again |= (*list)[i] == s;
		if (!again && group(p, s, &g))
			(*list)[n++] = s;
	}
	return n;
}

/* What was found out about the inputs that are left, in their order now. */
static bool
survey(Pass *p)
{
	p->meta = NEWN(p->a, InMeta, p->mod->in.n + 1);
	return fun_survey(p->mod, p->meta);
}

static bool
bases(Pass *p)
{
	Module *m = p->mod;
	int *list, n = storages(p, &list), nbase = 0;
	bool ok = true;
	Group g;

	if (n == 0)
		return true;
	m->meta = m->meta ? m->meta : NEW(ctx_arena(p->cx), Meta);
	if (!survey(p) || (duplicates(p) && !survey(p)))
		return false;
	for (int s = 0; s < n && ok; s++)
		if (group(p, list[s], &g) && overlapping(p, &g, &ok))
			ok = !mixed(p, &g) && replace(p, &g, nbase++) && survey(p);
	return ok;
}

bool
pass_bases(Module *m)
{
	Arena *a = arena_new();
	Pass p = {.mod = m, .cx = m->cx, .a = a};
	bool ok = bases(&p);

	arena_free(a);
	return ok;
}
