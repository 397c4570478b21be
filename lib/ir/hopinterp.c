/* hopinterp.c - the reference interpreter's higher-order operators.
 *
 * Sub-graphs are run by the caller's function; here is which of them, how often and on what.
 */
#include "ir/hop.h"
#include "rt/rt.h"

extern fxrt_fn fxrt_print;

enum { MaxRounds = 1 << 20 };        /* of a while loop: beyond it the model is taken to hang */

typedef struct Interp {
	Node *n;
	const HopRun *r;
	Arena *a;                    /* of the results */
	Graph *g[MaxHopGraphs];
	int ng;
	int64_t outer;               /* the round of the loop around */
} Interp;

static bool
values(Interp *p, HopList l, Tensor *t)
{
	for (int k = 0; k < l.n; k++)
		if (!p->r->value(p->r->run, p->n, &l.v[k], &t[k], p->a))
			return false;
	return true;
}

static bool
call(Interp *p, Graph *g, const Tensor *in, int nin, Tensor *out, int nout, Arena *a)
{
	return p->r->call(p->r->run, g, in, nin, out, nout, a);
}

static bool
branch(Interp *p, Tensor *out, const char *chooser)
{
	HopList ops = hop_operands(p->n);
	Tensor *in = NEWN(p->a, Tensor, ops.n + 1), which;
	int64_t k = 0;

	if (chooser) {
		if (!p->r->value(p->r->run, p->n, node_arg(p->n, chooser), &which, p->a))
			return false;
		k = dt_int(which.dt) ? tensor_geti(&which, 0) : tensor_get(&which, 0) != 0;
		if (hop_kind(p->n->op) == HopCond)
			k = k == 0;
		k = k < 0 || k >= p->ng ? p->ng - 1 : k;
	}
	return values(p, ops, in) && call(p, p->g[k], in, ops.n, out, p->n->nout, p->a);
}

/* Row k of t, or room for it. */
static Tensor
row(const Tensor *t, int64_t k)
{
	Tensor r = *t;

	r.rank--;
	memmove(r.dim, r.dim + 1, sizeof r.dim[0] * (size_t)r.rank);
	r.bytes = (size_t)tensor_numel(&r) * dtypeinfo[r.dt].bytes;
	r.data = (char *)t->data + (size_t)k * r.bytes;
	return r;
}

/* Rows of results: all of one are kept until their number is known. */
typedef struct Rows { VEC(Tensor) v; } Rows;

static void
stack(Interp *p, const Rows *rows, const Type *type, Tensor *out)
{
	Tensor one = {.dt = type->dt, .rank = type->rank - 1};
	int64_t k;

	if (rows->v.n)
		one = rows->v.v[0];
	else
		for (int d = 0; d < one.rank; d++)
			one.dim[d] = sym_isconst(type->dim[d + 1], &k) ? k : 0;
	*out = one;
	memmove(out->dim + 1, out->dim, sizeof out->dim[0] * (size_t)one.rank);
	out->dim[0] = rows->v.n;
	out->rank = one.rank + 1;
	out->bytes = one.bytes * (size_t)rows->v.n;
	out->data = arena_alloc(p->a, out->bytes + 16, 16);
	for (int i = 0; i < rows->v.n; i++)
		memcpy((char *)out->data + (size_t)i * one.bytes, rows->v.v[i].data, one.bytes);
}

/* In what a round is called: the carried, rows, the rest. */
typedef struct Round { Tensor *in, *out, *xs; int nc, nx, nr, nout; } Round;

static bool
begin(Interp *p, Round *r, Graph *body)
{
	HopList c = hop_carried(p->n), x = hop_rows(p->n), rest = hop_rest(p->n);
	enum hopkind kind = hop_kind(p->n->op);

	r->nc = kind == HopMap ? 0 : c.n;
	r->nx = x.n;
	r->nr = rest.n;
	r->nout = hop_results(body).n;
	r->in = NEWN(p->a, Tensor, r->nc + r->nx + r->nr + 1);
	r->out = NEWN(p->a, Tensor, r->nout + 1);
	r->xs = NEWN(p->a, Tensor, r->nx + 1);
	return (r->nc == 0 || values(p, c, r->in)) && (r->nx == 0 || values(p, x, r->xs)) &&
	       values(p, rest, r->in + r->nc + r->nx);
}

static void
record(Interp *p, Rows *rows, const Round *r)
{
	for (int i = 0; i < r->nc; i++)
		vec_push(p->a, &rows[i].v, r->in[i]);
}

static bool
whileloop(Interp *p, Tensor *out)
{
	bool stacks = hop_kind(p->n->op) == HopWhileStack, keeps = hop_kind(p->n->op) == HopWhileKeep, ok;
	Rows *rows;
	Tensor go;
	Round r;

	if (!begin(p, &r, p->g[1]))
		return false;
	rows = NEWN(p->a, Rows, r.nc + 1);
	for (int k = 0; ; k++) {
		*p->r->round = hop_roundnum(p->outer, k);
		if (!call(p, p->g[0], r.in, r.nc + r.nr, &go, 1, p->a))
			return false;
		if (!tensor_get(&go, 0))
			break;
		if (k == MaxRounds) {
			error(p->n->graph->cx, p->n->loc, "%s: more than %d rounds", p->n->op->name, k);
			return false;
		}
		if (keeps)
			record(p, rows, &r);
		ok = call(p, p->g[1], r.in, r.nc + r.nr, r.out, r.nout, p->a);
		for (int i = 0; ok && i < r.nc; i++)
			r.in[i] = r.out[i];
		if (!ok)
			return false;
		if (stacks)
			record(p, rows, &r);
	}
	if (stacks && r.nc && rows[0].v.n == 0)
		record(p, rows, &r);
	for (int i = 0; i < p->n->nout; i++)
		if (stacks || i >= r.nc)
			stack(p, &rows[i % r.nc], p->n->out[i].type, &out[i]);
		else
			out[i] = r.in[i];
	return true;
}

static const Rows *
backwards(Rows *rows)
{
	for (int i = 0, j = rows->v.n - 1; i < j; i++, j--) {
		Tensor t = rows->v.v[i];
		rows->v.v[i] = rows->v.v[j];
		rows->v.v[j] = t;
	}
	return rows;
}

static bool
rowloop(Interp *p, Tensor *out)
{
	enum hopkind kind = hop_kind(p->n->op);
	bool assoc = kind == HopAssociative, ok = true;
	Rows *rows = NEWN(p->a, Rows, p->n->nout + 1);
	Round r;

	if (!begin(p, &r, p->g[0]))
		return false;
	for (int64_t k = 0, n = r.nx ? r.xs[0].dim[0] : 0; ok && k < n; k++) {
		int64_t at = hop_isreverse(p->n) ? n - 1 - k : k;
		*p->r->round = hop_roundnum(p->outer, at);
		for (int i = 0; i < r.nx; i++)
			r.in[r.nc + i] = row(&r.xs[i], at);
		if (assoc && k == 0)
			memcpy(r.out, r.in + r.nc, sizeof *r.out * (size_t)(r.nx < r.nout ? r.nx : r.nout));
		else
			ok = call(p, p->g[0], r.in, r.nc + r.nx + r.nr, r.out, r.nout, p->a);
		for (int i = 0; ok && i < p->n->nout; i++)
			vec_push(p->a, &rows[i].v, r.out[i]);
		for (int i = 0; ok && i < r.nc; i++)
			r.in[i] = r.out[i];
	}
	for (int i = 0; ok && i < p->n->nout; i++)
		if (kind == HopScan && i < r.nc)
			out[i] = r.in[i];
		else
			stack(p, hop_isreverse(p->n) ? backwards(&rows[i]) : &rows[i], p->n->out[i].type, &out[i]);
	return ok;
}

/* As artifacts do. */
static bool
print(Interp *p)
{
	HopText t = {0};
	int64_t num[64];
	void *buf[64];
	uint8_t dt[64];
	Tensor v;

	if (!hop_text(p->n, &t))
		return false;
	for (int i = 0; i < t.val.n; i++) {
		const Arg a = arg_val(t.val.v[i]);
		if (!p->r->value(p->r->run, p->n, &a, &v, p->a))
			return false;
		buf[i] = v.data;
		dt[i] = (uint8_t)v.dt;
	}
	for (int i = 0; i < t.num.n; i++) {
		const Arg a = arg_sym(t.num.v[i]);
		if (!p->r->value(p->r->run, p->n, &a, &v, p->a))
			return false;
		num[i] = tensor_geti(&v, 0);
	}
	return fxrt_print(&(fxrt_call){.buf = buf, .dt = dt, .num = num, .nbuf = t.val.n, .nnum = t.num.n}) == 0;
}

static bool
interp(Interp *p, Tensor *out)
{
	Node *n = p->n;

	switch (hop_kind(n->op)) {
	case HopCond:   return branch(p, out, "pred");
	case HopSwitch: return branch(p, out, "index");
	case HopInvoke: case HopFunction: return branch(p, out, NULL);
	case HopPrint: case HopEffects: return print(p);
	case HopWhile: case HopWhileStack: case HopWhileKeep: return whileloop(p, out);
	case HopMap: case HopScan: case HopAssociative: return rowloop(p, out);
	case HopCustom:
		error(n->graph->cx, n->loc, "%s: the interpreter does not know what it computes", n->arg[0].s);
		return false;
	default:
		error(n->graph->cx, n->loc, "%s: the interpreter has no way to run it", n->op->name);
		return false;
	}
}

bool
hop_interp(Node *n, const HopRun *r, Tensor *out, Arena *a)
{
	Interp p = {.n = n, .r = r, .a = a, .outer = *r->round};
	bool ok;

	p.ng = hop_graphs(n, p.g);
	ok = interp(&p, out);
	*r->round = p.outer;
	return ok;
}
