/* exwalk.c - walks over expressions: rewriting, loads, cost, text.
 *
 * Expressions are DAGs and a walk visits each node once: results are kept by
 * node for the duration of the walk.  A variable of a Sym may stand for an
 * expression (an indirect index); walks go through it as through an operand.
 */
#include "ir/exmake.h"

/* ---- rewriting ------------------------------------------------------------------ */

typedef struct Rewrite {
	Ctx *cx;
	Arena *scratch;
	const Ex *(*load)(void *, const Ex *);
	void *arg;
	const Sym *const *var, *const *with;
	int nvar;
	Map ex, sym;           /* what became of those already seen */
} Rewrite;

static const Ex *rewrite(Rewrite *, const Ex *);

static const Sym *
newvar(Rewrite *w, const Sym *v)
{
	const Ex *e, *r;

	for (int k = 0; k < w->nvar; k++)
		if (w->var[k] == v)
			return w->with[k];
	if (!(e = ex_ofvar(w->cx, v)))
		return v;
	r = rewrite(w, e);
	return r == e ? v : ex_indirect(w->cx, r, v->lo, v->hi);
}

static const Sym *
newsym(Rewrite *w, const Sym *s)
{
	const Sym **var = NULL, **with, *r;
	int n = 0, changed = 0;

	if (s->kind == SymConst || s->kind == SymFloatConst)
		return s;
	if (s->kind == SymVar)
		return newvar(w, s);
	if ((r = map_get(&w->sym, s)))
		return r;
	sym_vars(w->scratch, s, &var, &n);
	with = NEWN(w->scratch, const Sym *, n + 1);
	for (int k = 0; k < n; k++) {
		with[changed] = newvar(w, var[k]);
		if (with[changed] != var[k])
			var[changed++] = var[k];
	}
	r = changed ? sym_subst(w->cx, s, var, with, changed) : s;
	map_put(w->scratch, &w->sym, s, (void *)r);
	return r;
}

static const Sym *const *
newsyms(Rewrite *w, const Sym *const *s, int n)
{
	const Sym **r = NEWN(w->scratch, const Sym *, n + 1);

	for (int k = 0; k < n; k++)
		r[k] = newsym(w, s[k]);
	return r;
}

/* A fold's own variables must not be those that substitution brings in. */
static bool
captures(const Rewrite *w, const Ex *e)
{
	for (int k = 0; k < e->nidx; k++)
		for (int j = 0; j < w->nvar; j++)
			if (w->var[j] == e->var[k] || sym_uses(w->with[j], e->var[k]))
				return true;
	return false;
}

static const Ex *
newfold(Rewrite *w, const Ex *e)
{
	const Sym *const *var = e->var;
	const Ex *body = e->arg[0], *cond = e->cond;

	if (captures(w, e)) {
		const Sym **fresh = NEWN(w->scratch, const Sym *, e->nidx);
		for (int k = 0; k < e->nidx; k++)
			fresh[k] = sym_fresh(w->cx, "k", e->var[k]->lo, e->var[k]->hi);
		body = ex_rewrite(w->cx, body, NULL, NULL, var, fresh, e->nidx);
		cond = cond ? ex_rewrite(w->cx, cond, NULL, NULL, var, fresh, e->nidx) : NULL;
		var = fresh;
	}
	return ex_fold(w->cx, e->fold, var, newsyms(w, e->idx, e->nidx), e->nidx,
	               cond ? rewrite(w, cond) : NULL, rewrite(w, body));
}

static const Ex *
newload(Rewrite *w, const Ex *e)
{
	const Ex *l = ex_load(w->cx, e->val, newsyms(w, e->idx, e->nidx), e->nidx), *r;

	r = w->load ? w->load(w->arg, l) : NULL;
	return r ? r : l;
}

static const Ex *
rebuild(Rewrite *w, const Ex *e)
{
	const Ex *a[3] = {0};

	switch (e->kind) {
	case ExIndex:  return ex_index(w->cx, newsym(w, e->sym));
	case ExLoad:   return newload(w, e);
	case ExFold:   return newfold(w, e);
	case ExRandom: return ex_random(w->cx, e->val, newsym(w, e->sym));
	case ExCheck:
		return ex_check(w->cx, rewrite(w, e->arg[0]), newsym(w, e->sym), e->cond ? rewrite(w, e->cond) : NULL);
	default:       break;
	}
	for (int k = 0; k < e->narg; k++)
		a[k] = rewrite(w, e->arg[k]);
	if (a[0] == e->arg[0] && a[1] == e->arg[1] && a[2] == e->arg[2])
		return e;
	switch (e->kind) {
	case ExOp:   return ex_op(w->cx, e->sc, a[0], a[1], a[2]);
	case ExCast: return ex_cast(w->cx, e->dt, a[0]);
	case ExBits: return ex_bits(w->cx, e->dt, a[0]);
	default:     return e;
	}
}

static const Ex *
rewrite(Rewrite *w, const Ex *e)
{
	const Ex *r;

	if (e->kind == ExConst)
		return e;
	if (!(r = map_get(&w->ex, e))) {
		r = rebuild(w, e);
		map_put(w->scratch, &w->ex, e, (void *)r);
	}
	return r;
}

const Ex *
ex_rewrite(Ctx *cx, const Ex *e, const Ex *(*load)(void *, const Ex *), void *arg,
           const Sym *const *var, const Sym *const *with, int nvar)
{
	Rewrite w = {.cx = cx, .load = load, .arg = arg, .var = var, .with = with, .nvar = nvar};
	const Ex *r;

	if (e->kind == ExConst || (!load && nvar == 0))
		return e;
	w.scratch = arena_new();
	r = rewrite(&w, e);
	arena_free(w.scratch);
	return r;
}

/* ---- visiting ----------------------------------------------------------------------- */

typedef struct Visit {
	Ctx *cx;
	Arena *scratch;
	Map seen;
	void (*fn)(void *, const Ex *);
	void *arg;
} Visit;

static void visit(Visit *, const Ex *);

static void
visitsym(Visit *v, const Sym *s)
{
	const Sym **var = NULL;
	const Ex *e;
	int n = 0;

	if (!s || s->kind == SymConst || map_get(&v->seen, s))
		return;
	map_put(v->scratch, &v->seen, s, v);
	sym_vars(v->scratch, s, &var, &n);
	for (int k = 0; k < n; k++)
		if ((e = ex_ofvar(v->cx, var[k])))
			visit(v, e);
}

/* Operands before what uses them; each once. */
static void
visit(Visit *v, const Ex *e)
{
	if (map_get(&v->seen, e))
		return;
	map_put(v->scratch, &v->seen, e, v);
	for (int k = 0; k < e->narg; k++)
		visit(v, e->arg[k]);
	if (e->cond)
		visit(v, e->cond);
	visitsym(v, e->sym);
	for (int k = 0; k < e->nidx; k++)
		visitsym(v, e->idx[k]);
	v->fn(v->arg, e);
}

void
ex_visit(const Ex *e, void (*fn)(void *, const Ex *), void *arg)
{
	Visit v = {.cx = e->cx, .scratch = arena_new(), .fn = fn, .arg = arg};

	visit(&v, e);
	arena_free(v.scratch);
}

struct loads { void (*fn)(void *, const Ex *); void *arg; };

static void
ifload(void *p, const Ex *e)
{
	struct loads *l = p;

	if (e->kind == ExLoad)
		l->fn(l->arg, e);
}

void
ex_loads(const Ex *e, void (*fn)(void *, const Ex *), void *arg)
{
	ex_visit(e, ifload, &(struct loads){fn, arg});
}

/* ---- cost ------------------------------------------------------------------------------ */

static int
cycles(enum scalar sc)
{
	switch (sc) {
	case ScDiv: case ScSqrt: return 4;
	case ScQuot: case ScFloordiv: case ScMod: case ScFmod: return 8;
	case ScExp: case ScExp2: return 8;
	case ScSin: case ScCos: case ScLog: case ScLog2: case ScLog10:
	case ScTanh: case ScErf: case ScNdtr: return 14;
	case ScLgamma: case ScPow: return 40;
	default: return sc >= ScExp ? 20 : 1;
	}
}

static int64_t
capped(int64_t a, int64_t b)
{
	int64_t r;

	return mul_ok(a, b, &r) && r < 1 << 30 ? r : 1 << 30;
}

/* Adds what e costs when it runs `times` times; a shared part counts once. */
static void
addcost(Arena *scratch, Map *seen, const Ex *e, int64_t times, int64_t *sum)
{
	int64_t own = 1, extent;

	if (e->kind == ExConst || e->kind == ExIndex || map_get(seen, e))
		return;
	map_put(scratch, seen, e, (void *)e);
	switch (e->kind) {
	case ExLoad:   own = 2; break;
	case ExRandom: own = 40; break;
	case ExCheck:  own = 4; break;
	case ExOp:     own = cycles(e->sc); break;
	case ExFold:
		for (int k = 0; k < e->nidx; k++)
			times = capped(times, sym_isconst(e->idx[k], &extent) ? extent : 64);
		break;
	default: break;
	}
	*sum = capped(*sum + capped(own, times), 1);
	for (int k = 0; k < e->narg; k++)
		addcost(scratch, seen, e->arg[k], times, sum);
	if (e->cond)
		addcost(scratch, seen, e->cond, times, sum);
}

int
ex_cost(const Ex *e)
{
	Arena *scratch = arena_new();
	Map seen = {0};
	int64_t sum = 0;

	addcost(scratch, &seen, e, 1, &sum);
	arena_free(scratch);
	return (int)sum;
}

/* ---- text --------------------------------------------------------------------------------- */

enum { TextMax = 6000 };       /* DAGs print as trees: stop somewhere */

static const char *const foldname[NFold] = {
	"sum", "prod", "max", "min", "any", "all", "argmax", "argmin"
};

static void
puts_(Ctx *cx, Text *t, const Sym *const *s, int n, const char *sep)
{
	for (int k = 0; k < n; k++)
		text_add(t, "%s%s", k ? sep : "", sym_str(cx, s[k]));
}

static void
putex(Ctx *cx, Text *t, const Ex *e)
{
	char buf[32];

	if (t->n > TextMax) {
		text_add(t, "...");
		return;
	}
	switch (e->kind) {
	case ExConst:
		if (dt_int(e->dt)) {
			text_add(t, "%lld", (long long)e->i);
		} else {
			double_str(buf, e->f);
			text_add(t, "%s", buf);
		}
		return;
	case ExIndex:
		text_add(t, "%s", sym_str(cx, e->sym));
		return;
	case ExLoad:
		text_add(t, "%s[", e->val->name ? e->val->name : "?");
		puts_(cx, t, e->idx, e->nidx, ", ");
		text_add(t, "]");
		return;
	case ExRandom:
		text_add(t, "bits32(%s)", sym_str(cx, e->sym));
		return;
	case ExOp:   text_add(t, "%s(", scalarinfo[e->sc].text); break;
	case ExCast: text_add(t, "%s(", dtypeinfo[e->dt].text); break;
	case ExBits: text_add(t, "bits(%s, ", dtypeinfo[e->dt].text); break;
	case ExFold: text_add(t, "%s(", foldname[e->fold]); break;
	case ExCheck: text_add(t, "check("); break;
	}
	for (int k = 0; k < e->narg; k++) {
		text_add(t, "%s", k ? ", " : "");
		putex(cx, t, e->arg[k]);
	}
	for (int k = 0; e->kind == ExFold && k < e->nidx; k++)
		text_add(t, " for %s in %s", sym_str(cx, e->var[k]), sym_str(cx, e->idx[k]));
	if (e->cond) {
		text_add(t, " if ");
		putex(cx, t, e->cond);
	}
	text_add(t, ")");
}

const char *
ex_str(Ctx *cx, const Ex *e)
{
	Text t = {.arena = ctx_arena(cx)};

	putex(cx, &t, e);
	return t.s ? t.s : "";
}
