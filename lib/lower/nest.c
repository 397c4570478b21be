/* nest.c - a group of roots becomes one kernel of loops.
 *
 *     for outer variables (the first: parallel; the last: perhaps over lanes)
 *             what depends on these alone: folds, row values
 *             for each piece: its inner loops and a store
 *
 * A member of a group that nobody outside reads needs no memory: without inner
 * variables its expression takes the place of its loads, and since equal
 * expressions are one, it is computed once for each outer iteration (softmax's
 * maximum and sum).  With inner variables it is repeated where cheap, kept in a
 * row buffer where short (softmax's exponentials), stored otherwise.
 *
 * Adjacent loops whose indices only occur as a*extent(b) + b are one loop.
 */
#include "lower/lower.h"

enum { RowBytes = 16384, CheapCost = 6, MostBlock = 2048, LeastBlock = 64, Blocks = 16, WorkerCost = 65536 };

/* ---- members over common variables --------------------------------------------- */

static const Sym *
rangevar(Ctx *cx, const char *stem, const Sym *ext)
{
	return sym_fresh(cx, stem, 0, ext->hi == INT64_MAX ? INT64_MAX : ext->hi - 1);
}

typedef struct Inline {
	Nest *nest;
	Group *group;
	Map   by;               /* Val -> Inlined */
} Inline;

/* A member whose loads are replaced. */
typedef struct Inlined {
	Piece *p;
	const Ex *e;            /* put at in[] := the index; NULL: load row instead */
	Val   *row;
	Member *m;
} Inlined;

static bool
isouter(const Group *gr, const Member *m, const Sym *var, int *t)
{
	for (*t = 0; *t < gr->nouter; ++*t)
		if (m->outer[*t] == var)
			return true;
	return false;
}

/* The piece of one member: its own variables replaced by common and fresh inner ones. */
static void
newpiece(Nest *n, Group *gr, Member *m, Piece *p)
{
	Root *r = m->root;
	Ctx *cx = n->lo->cx;
	const Sym *with[MaxRank * 2];
	int t;

	p->root = r;
	p->val = r->val;
	p->in = NEWN(n->lo->a, const Sym *, r->n + 1);
	p->ext = NEWN(n->lo->a, const Sym *, r->n + 1);
	for (int d = 0; d < r->n; d++) {
		if (isouter(gr, m, r->i[d], &t)) {
			with[d] = n->outer[t];
		} else if (sym_is(r->ext[d], 1)) {
			with[d] = sym_const(cx, 0);
		} else {
			p->ext[p->nin] = r->ext[d];
			with[d] = p->in[p->nin++] = rangevar(cx, "j", r->ext[d]);
		}
	}
	p->e = ex_rewrite(cx, r->e, NULL, NULL, r->i, with, r->n);
	p->at = linear_index(cx, type_tensor(cx, r->val->type->dt, r->n, r->ext), with);
}

/* Inner indices of a load of member m, in the order of its piece's in[]. */
static int
innerindex(const Group *gr, const Inlined *x, const Ex *load, const Sym **idx)
{
	Root *r = x->m->root;
	int n = 0, t;

	for (int d = 0; d < r->n; d++)
		if (!isouter(gr, x->m, r->i[d], &t) && !sym_is(r->ext[d], 1))
			idx[n++] = load->idx[d];
	return n;
}

static const Ex *
inlineload(void *arg, const Ex *load)
{
	Inline *w = arg;
	Inlined *x = map_get(&w->by, load->val);
	Ctx *cx = w->nest->lo->cx;
	const Sym *idx[MaxRank * 2], *at = sym_const(cx, 0);
	int n;

	if (!x)
		return NULL;
	n = innerindex(w->group, x, load, idx);
	if (x->e)
		return ex_rewrite(cx, x->e, NULL, NULL, x->p->in, idx, n);
	for (int k = 0; k < n; k++)
		at = sym_add(cx, sym_mul(cx, at, x->p->ext[k]), idx[k]);
	return ex_load(cx, x->row, &at, 1);
}

struct countloads { const Val *val; VEC(const Ex *) load; Arena *a; };

static void
countload(void *p, const Ex *e)
{
	struct countloads *c = p;

	if (e->val != c->val)
		return;
	for (int i = 0; i < c->load.n; i++)
		if (c->load.v[i] == e)
			return;
	vec_push(c->a, &c->load, e);
}

/* How many different elements of val do the members after `from` read? */
static int
readings(Nest *n, Group *gr, const Val *val, int from)
{
	struct countloads c = {.val = val, .a = n->lo->a};

	for (int i = from; i < gr->mem.n; i++)
		ex_loads(gr->mem.v[i].root->e, countload, &c);
	return c.load.n;
}

static Val *
rowbuffer(Nest *n, Piece *p)
{
	const Sym *size = numel_of(n->lo->cx, p->ext, p->nin);
	enum dtype dt = p->val->type->dt;
	int64_t k;
	Val *row;

	if (!sym_isconst(size, &k) || k * dtypeinfo[dt].bytes > RowBytes)
		return NULL;
	row = NEW(n->lo->a, Val);
	row->type = type_tensor(n->lo->cx, dt, 1, &size);
	row->name = intern_printf(n->lo->cx, "row_%s", p->val->name);
	gen_localbuf(n->g, row, row->name, dt, KStack, k, NULL);
	return row;
}

/* Is the innermost variable of p the one by which its elements follow each other? */
static bool
isrow(Ctx *cx, const Piece *p)
{
	const Sym *c, *rest;

	return sym_linear(cx, p->at, p->in[p->nin - 1], &c, &rest) && sym_is(c, 1);
}

/* Decide how later members read piece p; false: p needs no store of its own. */
static bool
place(Inline *w, Piece *p, Member *m, int next)
{
	Nest *n = w->nest;
	Ctx *cx = n->lo->cx;
	Inlined *x = NEW(n->lo->a, Inlined);
	int reads = readings(n, w->group, p->val, next);
	bool cheap = reads <= 1 || (ex_cost(p->e) <= CheapCost && !ex_hasfold(p->e));

	*x = (Inlined){.p = p, .m = m, .e = p->e};
	if (p->nin == 0 || (cheap && !ex_hasfold(p->e))) {
		/* What is read back has been rounded to the stored dtype. */
		x->e = ex_cast(cx, p->val->type->dt, p->e);
		map_put(n->lo->a, &w->by, p->val, x);
		return m->root->escapes;
	}
	if (m->root->escapes)
		return true;
	/* A row that does not lie along the memory would keep lanes apart: repeat it. */
	if (!ex_hasfold(p->e) && !isrow(cx, p)) {
		x->e = ex_cast(cx, p->val->type->dt, p->e);
		map_put(n->lo->a, &w->by, p->val, x);
		return false;
	}
	x->e = NULL;
	if (!(x->row = rowbuffer(n, p))) {
		m->root->escapes = true;
		return true;
	}
	map_put(n->lo->a, &w->by, p->val, x);
	p->val = x->row;
	p->at = sym_const(cx, 0);
	for (int k = 0; k < p->nin; k++)
		p->at = sym_add(cx, sym_mul(cx, p->at, p->ext[k]), p->in[k]);
	return true;
}

static void
members(Nest *n, Group *gr)
{
	Inline w = {.nest = n, .group = gr};

	for (int i = 0; i < gr->mem.n; i++) {
		Piece *p = NEW(n->lo->a, Piece);
		newpiece(n, gr, &gr->mem.v[i], p);
		p->e = ex_rewrite(n->lo->cx, p->e, inlineload, &w, NULL, NULL, 0);
		if (place(&w, p, &gr->mem.v[i], i + 1))
			vec_push(n->lo->a, &n->piece, *p);
	}
}

/* ---- collapsing -------------------------------------------------------------------- */

typedef struct Symlist { VEC(const Sym *) v; Map seen; Arena *a; } Symlist;

static void
addsym(void *p, const Sym *s)
{
	Symlist *l = p;

	if (s->kind == SymConst || map_get(&l->seen, s))
		return;
	map_put(l->a, &l->seen, s, (void *)s);
	vec_push(l->a, &l->v, s);
}

/* Do a and b occur only as c*(a*extb + b)? */
bool
nest_collapse(Ctx *cx, const Sym *const *sym, int n, const Sym *a, const Sym *b, const Sym *extb)
{
	const Sym *ca, *cb, *ra, *rb;

	for (int i = 0; i < n; i++) {
		if (!sym_linear(cx, sym[i], a, &ca, &ra) || !sym_linear(cx, ra, b, &cb, &rb))
			return false;
		if (ca != sym_mul(cx, cb, extb) || sym_uses(cb, a) || sym_uses(ca, b))
			return false;
	}
	return true;
}

/* var[k], var[k+1] become one; returns the substitution. */
static void
unite(Ctx *cx, const Sym **var, const Sym **ext, int *n, int k, const Sym **old, const Sym **with)
{
	const Sym *both = sym_mul(cx, ext[k], ext[k + 1]);

	old[0] = var[k];
	old[1] = var[k + 1];
	with[0] = sym_const(cx, 0);
	with[1] = rangevar(cx, "c", both);
	var[k] = with[1];
	ext[k] = both;
	for (int i = k + 1; i + 1 < *n; i++) {
		var[i] = var[i + 1];
		ext[i] = ext[i + 1];
	}
	--*n;
}

static void
collapsepiece(Nest *n, Piece *p)
{
	Ctx *cx = n->lo->cx;
	const Sym *old[2], *with[2];

	for (int k = 0; k + 1 < p->nin; ) {
		Symlist l = {.a = n->lo->a};
		ex_syms(cx, p->e, addsym, &l);
		addsym(&l, p->at);
		if (!nest_collapse(cx, l.v.v, l.v.n, p->in[k], p->in[k + 1], p->ext[k + 1])) {
			k++;
			continue;
		}
		unite(cx, p->in, p->ext, &p->nin, k, old, with);
		p->e = ex_rewrite(cx, p->e, NULL, NULL, old, with, 2);
		p->at = sym_subst(cx, p->at, old, with, 2);
		k = 0;
	}
}

static void
collapseouter(Nest *n)
{
	Ctx *cx = n->lo->cx;
	const Sym *old[2], *with[2];

	for (int k = 0; k + 1 < n->nouter; ) {
		Symlist l = {.a = n->lo->a};
		for (int i = 0; i < n->piece.n; i++) {
			ex_syms(cx, n->piece.v[i].e, addsym, &l);
			addsym(&l, n->piece.v[i].at);
		}
		if (!nest_collapse(cx, l.v.v, l.v.n, n->outer[k], n->outer[k + 1], n->ext[k + 1])) {
			k++;
			continue;
		}
		unite(cx, n->outer, n->ext, &n->nouter, k, old, with);
		for (int i = 0; i < n->piece.n; i++) {
			Piece *p = &n->piece.v[i];
			p->e = ex_rewrite(cx, p->e, NULL, NULL, old, with, 2);
			p->at = sym_subst(cx, p->at, old, with, 2);
		}
		k = 0;
	}
}

/* Folds collapse too: rebuild the expression bottom-up. */
typedef struct Refold { Lower *lo; Map memo; } Refold;

static const Ex *
collapsefold(Lower *lo, const Ex *e)
{
	Ctx *cx = lo->cx;
	const Sym *var[MaxRank * 2], *ext[MaxRank * 2], *old[2], *with[2];
	const Ex *body = e->arg[0], *cond = e->cond;
	int n = e->nidx;

	memcpy(var, e->var, sizeof *var * (size_t)n);
	memcpy(ext, e->idx, sizeof *ext * (size_t)n);
	for (int k = 0; k + 1 < n; ) {
		Symlist l = {.a = lo->a};
		ex_syms(cx, body, addsym, &l);
		if (cond)
			ex_syms(cx, cond, addsym, &l);
		if (!nest_collapse(cx, l.v.v, l.v.n, var[k], var[k + 1], ext[k + 1])) {
			k++;
			continue;
		}
		unite(cx, var, ext, &n, k, old, with);
		body = ex_rewrite(cx, body, NULL, NULL, old, with, 2);
		cond = cond ? ex_rewrite(cx, cond, NULL, NULL, old, with, 2) : NULL;
		k = 0;
	}
	return n == e->nidx ? e : ex_fold(cx, e->fold, var, ext, n, cond, body);
}

static const Ex *
refold(Refold *w, const Ex *e)
{
	Ctx *cx = w->lo->cx;
	const Ex *a[3] = {0}, *r;

	if (e->kind == ExConst || e->kind == ExLoad || e->kind == ExIndex || e->kind == ExRandom)
		return e;
	if ((r = map_get(&w->memo, e)))
		return r;
	for (int i = 0; i < e->narg; i++)
		a[i] = refold(w, e->arg[i]);
	switch (e->kind) {
	case ExOp:   r = ex_op(cx, e->sc, a[0], a[1], a[2]); break;
	case ExCast: r = ex_cast(cx, e->dt, a[0]); break;
	case ExBits: r = ex_bits(cx, e->dt, a[0]); break;
	case ExCheck: r = ex_check(cx, a[0], e->sym, e->cond ? refold(w, e->cond) : NULL); break;
	default:
		r = ex_fold(cx, e->fold, e->var, e->idx, e->nidx, e->cond ? refold(w, e->cond) : NULL, a[0]);
		r = r->kind == ExFold ? collapsefold(w->lo, r) : r;
	}
	map_put(w->lo->a, &w->memo, e, (void *)r);
	return r;
}

Nest *
nest_prepare(Lower *lo, Group *gr)
{
	Nest *n = NEW(lo->a, Nest);
	Refold w = {.lo = lo};

	n->lo = lo;
	n->g = gen_new(lo, nest_name(lo, gr));
	n->nouter = gr->nouter;
	n->outer = NEWN(lo->a, const Sym *, gr->nouter + 1);
	n->ext = NEWN(lo->a, const Sym *, gr->nouter + 1);
	for (int t = 0; t < gr->nouter; t++) {
		n->ext[t] = gr->ext[t];
		n->outer[t] = rangevar(lo->cx, "o", gr->ext[t]);
	}
	members(n, gr);
	for (int i = 0; i < n->piece.n; i++) {
		Piece *p = &n->piece.v[i];
		p->e = ex_ready(lo, nest_linear(lo, p->e));
		p->e = refold(&w, p->e);
		collapsepiece(n, p);
	}
	collapseouter(n);
	nest_from(n, gr);
	return n;
}

/* ---- names ------------------------------------------------------------------------------- */

static void
cname(Text *t, const char *s)
{
	for (; *s; s++)
		text_put(t, (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		            (*s >= '0' && *s <= '9') ? s : "_", 1);
}

Str
nest_name(Lower *lo, Group *gr)
{
	Text t = {.arena = lo->a};

	text_add(&t, "k%d", lo->nkernel++);
	for (int i = 0; i < gr->mem.n && i < 3; i++) {
		text_add(&t, "_");
		cname(&t, gr->mem.v[i].root->val->name);
	}
	return intern_str(lo->cx, t.s);
}

void
nest_from(Nest *n, Group *gr)
{
	Text t = {.arena = n->lo->a};

	for (int i = 0; i < gr->mem.n; i++) {
		vec_push(n->lo->a, &n->g->k->from, gr->mem.v[i].root->val->def);
		text_add(&t, "%s%s", i ? ", " : "", gr->mem.v[i].root->val->name);
	}
	n->g->k->doc = intern_str(n->lo->cx, t.s ? t.s : "");
}

/* ---- choosing what runs over lanes ---------------------------------------------------------- */

struct widest { Gen *g; int bytes; };

/* A number that no loop changes is computed on one lane. */
static void
widen(void *p, const Ex *e)
{
	struct widest *w = p;

	if (e->dt == DtF64 && w->bytes < 8 && gen_fv(w->g, e))
		w->bytes = 8;
}

int
gen_lanes(Nest *n)
{
	struct widest w = {n->g, 4};

	for (int i = 0; i < n->piece.n; i++) {
		ex_visit(n->piece.v[i].e, widen, &w);
		if (dtypeinfo[n->piece.v[i].val->type->dt].bytes > w.bytes)
			w.bytes = dtypeinfo[n->piece.v[i].val->type->dt].bytes;
	}
	int lanes = n->lo->opt.novector ? 1 : n->lo->opt.target->vecbytes / w.bytes;
	return lanes < 2 ? 1 : lanes;
}

static int
score(const Moves *m)
{
	return m->next - 2 * m->jump;
}

static bool
isshort(const Gen *g, const Sym *ext)
{
	int64_t k;

	return sym_isconst(ext, &k) && 2 * k <= g->W;
}

struct foldscore { Gen *g; int score; bool any; };

static void
scorefold(void *p, const Ex *e)
{
	struct foldscore *s = p;
	Moves m = {0};

	if (e->kind != ExFold)
		return;
	s->any = true;
	ex_moves(s->g, e->arg[0], e->var[e->nidx - 1], &m);
	s->score += isshort(s->g, e->idx[e->nidx - 1]) ? -2 * (m.next + m.jump) : score(&m);
}

/* Should the last outer variable run over lanes, rather than loops inside? */
static bool
outervector(Nest *n)
{
	Gen *g = n->g;
	struct foldscore in = {.g = g};
	Moves out = {0};
	const Sym *o;
	bool inner = false;

	if (g->W == 1 || n->nouter == 0)
		return false;
	o = n->outer[n->nouter - 1];
	for (int i = 0; i < n->piece.n; i++) {
		Piece *p = &n->piece.v[i];
		ex_visit(p->e, scorefold, &in);
		ex_moves(g, p->e, o, &out);
		if (p->nin) {
			Moves m = {0};
			inner = true;
			ex_moves(g, p->e, p->in[p->nin - 1], &m);
			m.next++;
			in.score += isshort(g, p->ext[p->nin - 1]) ? -2 : score(&m);
			if (p->val->def)
				out.jump++;
		}
	}
	if (!in.any && !inner)
		return true;
	if (isshort(g, n->ext[n->nouter - 1]))
		return false;
	/* Row buffers hold a row, not a row for each lane. */
	for (int i = 0; i < n->piece.n; i++)
		if (!n->piece.v[i].val->def)
			return false;
	return score(&out) >= in.score;
}

/* ---- writing ------------------------------------------------------------------------------------ */

typedef struct Write {
	Nest *n;
	bool vec;               /* the last outer variable runs over lanes */
	int level;              /* outer variables bound so far */
	int first, count;       /* pieces written together */
	int in;                 /* their inner variables bound so far */
	int64_t cost;           /* of one iteration of the outer loops */
} Write;

static void
hoistpieces(Gen *g, Write *w)
{
	for (int i = 0; i < w->n->piece.n; i++)
		gen_hoist(g, w->n->piece.v[i].e);
}

static void
store(Gen *g, Piece *p)
{
	gen_store(g, gen_buf(g, p->val), p->at, p->e);
}

static void
innerloops(Gen *g, void *arg)
{
	Write *w = arg;
	Piece *p = &w->n->piece.v[w->first];
	int in = w->in;

	for (int i = 0; i < w->count; i++)
		gen_hoist(g, p[i].e);
	if (in == p->nin) {
		for (int i = 0; i < w->count; i++)
			store(g, &p[i]);
		return;
	}
	w->in++;
	gen_for(g, p->in[in], p->ext[in], !g->vec && in == p->nin - 1, innerloops, w);
	w->in--;
}

struct reads { const Piece *p; int n; bool yes; };

static void
readsany(void *arg, const Ex *load)
{
	struct reads *r = arg;

	for (int i = 0; i < r->n; i++)
		r->yes |= r->p[i].val == load->val;
}

/* Can piece b run in the same inner loops as pieces a[0..n-1]? */
static bool
alike(Nest *n, const Piece *a, int na, Piece *b)
{
	struct reads r = {a, na, false};

	if (a->nin != b->nin)
		return false;
	for (int k = 0; k < a->nin; k++)
		if (a->ext[k] != b->ext[k])
			return false;
	ex_loads(b->e, readsany, &r);
	if (r.yes)
		return false;
	if (a->nin > 0 && ex_hasfold(b->e))
		return false;
	b->e = ex_rewrite(n->lo->cx, b->e, NULL, NULL, b->in, a->in, a->nin);
	b->at = sym_subst(n->lo->cx, b->at, b->in, a->in, a->nin);
	b->in = a->in;
	return true;
}

static void
pieces(Gen *g, Write *w)
{
	Nest *n = w->n;

	for (w->first = 0; w->first < n->piece.n; w->first += w->count) {
		Piece *p = &n->piece.v[w->first];
		for (w->count = 1; w->first + w->count < n->piece.n; w->count++)
			if (!alike(n, p, w->count, p + w->count))
				break;
		w->in = 0;
		innerloops(g, w);
	}
}

static void
outerloops(Gen *g, void *arg)
{
	Write *w = arg;
	Nest *n = w->n;
	int k = w->level;

	if (k == n->nouter) {
		pieces(g, w);
		return;
	}
	hoistpieces(g, w);
	w->level++;
	gen_for(g, n->outer[k], n->ext[k], w->vec && k == n->nouter - 1, outerloops, w);
	w->level--;
}

/* How many iterations of the parallel loop are worth a worker, if one costs `each`. */
static void
grain(Kernel *k, int64_t each)
{
	k->grain = 1 + WorkerCost / (each > 0 ? each : 1);
}

/* Elements of a block of the last outer variable: few enough that all workers get some. */
static int64_t
blocksize(const Nest *n)
{
	int64_t k, b;

	if (!sym_isconst(n->ext[n->nouter - 1], &k))
		return MostBlock;
	b = (k / Blocks + LeastBlock - 1) / LeastBlock * LeastBlock;
	return b < LeastBlock ? LeastBlock : b > MostBlock ? MostBlock : b;
}

static bool
oneblock(const Nest *n)
{
	int64_t k;

	return sym_isconst(n->ext[n->nouter - 1], &k) && k <= blocksize(n);
}

/* The last outer variable, over lanes, within a block. */
static void
block(Gen *g, Write *w, KRef number)
{
	Nest *n = w->n;
	int last = n->nouter - 1;
	KRef from = gen_mul(g, number, gen_int(g, DtI64, blocksize(n))), to;

	to = gen_add(g, from, gen_int(g, DtI64, blocksize(n)));
	to = gen_op(g, ScMin, DtI64, to, gen_sym(g, n->ext[last]), 0);
	hoistpieces(g, w);
	w->level = n->nouter;
	gen_range(g, n->outer[last], from, to, NULL, true, outerloops, w);
}

/* rest % ext; rest becomes rest / ext. */
static KRef
digit(Gen *g, KRef *rest, const Sym *ext)
{
	KRef e = gen_sym(g, ext), d = gen_op(g, ScFmod, DtI64, *rest, e, 0);

	*rest = gen_op(g, ScQuot, DtI64, *rest, e, 0);
	return d;
}

/* The parallel loop runs over the first outer variables together, and over blocks of the last
 * if these are too few. */
static void
parallel(Gen *g, Write *w)
{
	Nest *n = w->n;
	int p = 0, most = n->nouter - w->vec;
	const Sym *all = sym_const(g->cx, 1), *nblock = NULL;
	int64_t k = 1, each = w->cost;
	KRef loop, rest, number = 0;

	for (; p < most && (p == 0 || (sym_isconst(all, &k) && k < 64)); p++)
		all = sym_mul(g->cx, all, n->ext[p]);
	if (w->vec && p == most && sym_isconst(all, &k) && k < Blocks && !oneblock(n)) {
		nblock = sym_ceildiv(g->cx, n->ext[most], sym_const(g->cx, blocksize(n)));
		all = sym_mul(g->cx, all, nblock);
		each *= blocksize(n);
	} else {
		for (int i = p; i < n->nouter; i++)
			each *= sym_isconst(n->ext[i], &k) ? k : 64;
	}
	g->k->parallel = all;
	grain(g->k, each);
	loop = rest = gen_loop(g, LoopParallel, gen_int(g, DtI64, 0), gen_sym(g, all), 1);
	if (nblock)
		number = p ? digit(g, &rest, nblock) : rest;
	for (int i = p; i-- > 0; )
		gen_bind(g, n->outer[i], i ? digit(g, &rest, n->ext[i]) : rest);
	w->level = p;
	if (nblock)
		block(g, w, number);
	else
		outerloops(g, w);
	for (int i = 0; i < p; i++)
		gen_unbind(g, n->outer[i]);
	gen_end(g, loop);
}

/* What one iteration of the outer loops costs. */
static int64_t
cost(const Nest *n)
{
	int64_t in, per = 0;

	for (int i = 0; i < n->piece.n; i++) {
		Piece *p = &n->piece.v[i];
		if (!sym_isconst(numel_of(n->lo->cx, p->ext, p->nin), &in))
			in = 64;
		per += in * (ex_cost(p->e) + 1);
	}
	return per;
}

struct sums { int64_t least; int n; };

static void
countsum(void *p, const Ex *e)
{
	struct sums *s = p;
	int64_t k;

	if (e->kind != ExFold)
		return;
	s->n++;
	if (!sym_isconst(e->idx[e->nidx - 1], &k))
		k = 0;
	s->least = k < s->least ? k : s->least;
}

/* Sums down the columns of a matrix: several vectors at a time, so that more than one line is
 * read of each row.  How many; there are Unroll accumulators for each. */
static int
abreast(const Nest *n, bool vec)
{
	struct sums s = {INT64_MAX, 0};
	int64_t k;
	int most;

	if (!vec || n->g->W < 4 || n->nouter != 1 || n->piece.n != 1 || n->piece.v[0].nin)
		return 1;
	ex_visit(n->piece.v[0].e, countsum, &s);
	most = s.n ? n->lo->opt.target->nreg / (8 * s.n) : 1;
	while (most > 1 && (!sym_isconst(n->ext[0], &k) || k % (most * n->g->W) || most * n->g->W > 64))
		most--;
	return s.least < 16 || most < 1 ? 1 : most;
}

Kernel *
nest_kernel(Lower *lo, Group *gr, Gen **gen)
{
	Nest *n = nest_prepare(lo, gr);
	Gen *g = n->g;
	Write w = {.n = n};
	int64_t k;

	for (int i = 0; i < n->nouter; i++)
		gen_declare(g, n->outer[i]);
	for (int i = 0; i < n->nouter; i++)
		g->local |= gen_bit(g, n->outer[i]);
	for (int i = 0; i < n->piece.n; i++)
		gen_buf(g, n->piece.v[i].val);
	for (int i = 0; i < n->piece.n; i++)
		for (int k = 0; k < n->piece.v[i].nin; k++)
			gen_declare(g, n->piece.v[i].in[k]);
	for (int i = 0; i < n->piece.n; i++)
		gen_fv(g, n->piece.v[i].e);      /* declares all variables before anything is asked */
	g->W = gen_lanes(n);
	w.vec = outervector(n);
	w.cost = cost(n);
	if (!sym_isconst(numel_of(lo->cx, n->ext, n->nouter), &k))
		k = 1024;
	g->k->flops = k * w.cost;
	g->W *= abreast(n, w.vec);
	if (lo->opt.threads <= 1 || n->nouter == 0 || g->k->flops < 32768)
		outerloops(g, &w);
	else if (n->nouter == 1 && w.vec && oneblock(n))
		outerloops(g, &w);
	else
		parallel(g, &w);
	*gen = g;
	return g->k;
}
