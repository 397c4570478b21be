/* test_functional.c - functionalize against memory.
 *
 * Random programs of views, views of views and writes are run twice: here, on memory with offsets
 * and strides as eager PyTorch does it, and as the graph that functionalize makes of them,
 * by the interpreter.  All numbers are small integers, so that results are equal or wrong.
 * With a number as argument that program is printed.
 */
#include <stdlib.h>
#include "grad/grad.h"
#include "tap.h"

enum { NProg = 300, MaxVar = 64, MaxMem = 256 };

typedef struct Mem { double v[MaxMem]; } Mem;

/* A tensor: names that mean the same one share it. */
typedef struct Ref {
	Mem *m;
	int rank, off, dim[8], step[8];
	bool repeats;            /* elements share memory: not written */
} Ref;

typedef struct Var { Val *val; Ref *ref; } Var;

typedef struct Prog {
	uint64_t seed;
	Arena *a;
	Ctx *cx;
	Module *m;
	Var var[MaxVar];
	int nvar;
	Ref in[2];               /* the inputs as the caller sees them */
	double given[2][MaxMem];
	int size[2];
} Prog;

static int
rnd(Prog *p, int n)
{
	p->seed = p->seed*6364136223846793005u + 1442695040888963407u;
	return (int)((p->seed >> 33) % (uint64_t)n);
}

/* ---- memory --------------------------------------------------------------------------- */

static int
numel(const Ref *r)
{
	int n = 1;

	for (int d = 0; d < r->rank; d++)
		n *= r->dim[d];
	return n;
}

static double *
at(const Ref *r, int k)
{
	int pos = r->off;

	for (int d = r->rank - 1; d >= 0; d--) {
		pos += k % r->dim[d]*r->step[d];
		k /= r->dim[d];
	}
	return &r->m->v[pos];
}

/* Element k of a tensor of `to`'s sizes, of one that is broadcast to them. */
static double
broadcast(const Ref *r, const Ref *to, int k)
{
	int pos = r->off;

	for (int d = to->rank - 1, e = r->rank - 1; d >= 0 && e >= 0; d--, e--) {
		pos += r->dim[e] == 1 ? 0 : k % to->dim[d]*r->step[e];
		k /= to->dim[d];
	}
	return r->m->v[pos];
}

static bool
fits(const Ref *r, const Ref *to)
{
	if (r->rank > to->rank)
		return false;
	for (int e = 0; e < r->rank; e++) {
		int n = to->dim[to->rank - r->rank + e];
		if (r->dim[e] != 1 && r->dim[e] != n)
			return false;
	}
	return true;
}

static bool
dense(const Ref *r)
{
	int n = 1;

	for (int d = r->rank - 1; d >= 0; d--) {
		if (r->dim[d] != 1 && r->step[d] != n)
			return false;
		n *= r->dim[d];
	}
	return true;
}

static Ref
fresh(Prog *p, const Ref *like)
{
	Ref r = *like;
	int n = 1;

	r.m = NEW(p->a, Mem);
	r.off = 0;
	r.repeats = false;
	for (int d = r.rank - 1; d >= 0; d--) {
		r.step[d] = n;
		n *= r.dim[d];
	}
	return r;
}

/* ---- the program -------------------------------------------------------------------------- */

static Node *
node(Prog *p, const char *name, const Arg *pos, int npos, int nout)
{
	const OpDef *op = op_find(name);
	Arg all[12];
	Node *n;

	if (op == NULL || !op_bind(p->cx, NOLOC, op, pos, npos, NULL, NULL, 0, all)) {
		printf("# no %s\n", name);
		exit(1);
	}
	n = node_new(p->m->main, op, all, op->nparam, nout, NULL, NOLOC);
	if (!node_infer(n))
		exit(1);
	return n;
}

static void
var(Prog *p, Val *v, const Ref *r)
{
	Ref *own = NEW(p->a, Ref);

	*own = *r;
	if (p->nvar < MaxVar)
		p->var[p->nvar++] = (Var){v, own};
}

static Arg
number(Prog *p, int k)
{
	return arg_int(p->cx, k);
}

static Arg
numbers(Prog *p, const int *v, int n)
{
	Arg a[8];

	for (int k = 0; k < n; k++)
		a[k] = number(p, v[k]);
	return arg_list(p->a, a, n);
}

static void
drop(Ref *r, int d)
{
	for (r->rank--; d < r->rank; d++) {
		r->dim[d] = r->dim[d + 1];
		r->step[d] = r->step[d + 1];
	}
}

static void
put(Ref *r, int d, int n, int step)
{
	for (int k = r->rank++; k > d; k--) {
		r->dim[k] = r->dim[k - 1];
		r->step[k] = r->step[k - 1];
	}
	r->dim[d] = n;
	r->step[d] = step;
}

static void
cut(Prog *p, Val *v, Ref r, int d, int how)
{
	int n = r.dim[d], from = rnd(p, n), step = r.step[d];
	Node *m;

	switch (how) {
	case 0:
		m = node(p, "aten.select.int", (Arg[]){arg_val(v), number(p, d), number(p, rnd(p, 2) ? from : from - n)}, 3, 1);
		r.off += from*step;
		drop(&r, d);
		break;
	case 1:
		m = node(p, "aten.slice.Tensor", (Arg[]){arg_val(v), number(p, d), number(p, from), number(p, n), number(p, 2)}, 5, 1);
		r.off += from*step;
		r.dim[d] = (n - from + 1)/2;
		r.step[d] *= 2;
		break;
	case 2:
		m = node(p, "aten.unbind.int", (Arg[]){arg_val(v), number(p, d)}, 2, n);
		r.off += from*step;
		drop(&r, d);
		var(p, &m->out[from], &r);
		return;
	default:
		m = node(p, "aten.split.Tensor", (Arg[]){arg_val(v), number(p, 2), number(p, d)}, 3, (n + 1)/2);
		from = from/2;
		r.off += 2*from*step;
		r.dim[d] = n - 2*from < 2 ? 1 : 2;
		var(p, &m->out[from], &r);
		return;
	}
	var(p, &m->out[0], &r);
}

static void
turn(Prog *p, Val *v, Ref r)
{
	Ref of = r;
	int order[8];
	Node *m;

	for (int d = 0; d < r.rank; d++) {
		int k = rnd(p, d + 1);
		order[d] = order[k];
		order[k] = d;
	}
	for (int d = 0; d < r.rank; d++) {
		r.dim[d] = of.dim[order[d]];
		r.step[d] = of.step[order[d]];
	}
	m = node(p, "aten.permute.default", (Arg[]){arg_val(v), numbers(p, order, r.rank)}, 2, 1);
	var(p, &m->out[0], &r);
}

static void
flat(Prog *p, Val *v, Ref r)
{
	Node *m = node(p, dense(&r) && rnd(p, 2) ? "aten.view.default" : "aten.reshape.default",
	               (Arg[]){arg_val(v), numbers(p, (int[]){-1}, 1)}, 2, 1);
	Ref to = fresh(p, &r);

	if (m->out[0].type->rank != 1)
		exit(1);
	if (dense(&r)) {
		to.m = r.m;
		to.off = r.off;
		to.repeats = r.repeats;
	} else {
		/* Whether strides can be merged is PyTorch's to know: a copy is read only once here. */
		for (int k = 0; k < numel(&r); k++)
			to.m->v[k] = *at(&r, k);
		to.repeats = true;
	}
	to.dim[0] = numel(&r);
	to.rank = 1;
	to.step[0] = 1;
	if (dense(&r) || numel(&r) == 0)
		var(p, &m->out[0], &to);
}

static void
strided(Prog *p, Val *v, Ref r)
{
	int step = 1 + rnd(p, 2), off = rnd(p, 3), n = 1 + rnd(p, 3);
	Node *m = node(p, "aten.as_strided.default",
	               (Arg[]){arg_val(v), numbers(p, &n, 1), numbers(p, &step, 1), number(p, off)}, 4, 1);

	r = (Ref){.m = r.m, .rank = 1, .off = off, .dim = {n}, .step = {step}, .repeats = r.repeats};
	var(p, &m->out[0], &r);
}

static void
view(Prog *p, Var t)
{
	Ref r = *t.ref;
	int d = r.rank ? rnd(p, r.rank) : 0, k = rnd(p, 10);
	Node *m;

	if (k < 4 && r.rank && r.dim[d] > 0) {
		cut(p, t.val, r, d, k);
	} else if (k == 4) {
		turn(p, t.val, r);
	} else if (k == 5 && r.rank < 5) {
		d = rnd(p, r.rank + 1);
		m = node(p, "aten.unsqueeze.default", (Arg[]){arg_val(t.val), number(p, d)}, 2, 1);
		put(&r, d, 1, 1);
		var(p, &m->out[0], &r);
	} else if (k == 6 && r.rank == 2) {
		m = node(p, "aten.diagonal.default", (Arg[]){arg_val(t.val)}, 1, 1);
		r.dim[0] = r.dim[0] < r.dim[1] ? r.dim[0] : r.dim[1];
		r.step[0] += r.step[1];
		r.rank = 1;
		var(p, &m->out[0], &r);
	} else if (k == 7) {
		flat(p, t.val, r);
	} else if (k == 8 && r.rank < 5) {
		int to[8] = {2};
		memcpy(to + 1, r.dim, sizeof *to*(size_t)r.rank);
		m = node(p, "aten.expand.default", (Arg[]){arg_val(t.val), numbers(p, to, r.rank + 1)}, 2, 1);
		put(&r, 0, 2, 0);
		r.repeats = true;
		var(p, &m->out[0], &r);
	} else if (k == 9 && t.val->def->op == &opplaceholder) {
		strided(p, t.val, r);
	} else {
		m = node(p, "aten.detach.default", (Arg[]){arg_val(t.val)}, 1, 1);
		var(p, &m->out[0], &r);
	}
}

/* The result is the tensor that was written, under another name. */
static void
wrote(Prog *p, Var t, Node *n)
{
	if (p->nvar < MaxVar && rnd(p, 2))
		p->var[p->nvar++] = (Var){&n->out[0], t.ref};
}

static void
index_fill(Prog *p, Var t)
{
	Ref *r = t.ref;
	int d = rnd(p, r->rank), k = rnd(p, r->dim[d]), inner = 1;
	Node *index = node(p, "aten.arange.start", (Arg[]){number(p, k), number(p, k + 1)}, 2, 1);
	Node *n = node(p, "aten.index_fill_.int_Scalar",
	               (Arg[]){arg_val(t.val), number(p, d), arg_val(&index->out[0]), number(p, 5)}, 4, 1);

	for (int e = d + 1; e < r->rank; e++)
		inner *= r->dim[e];
	for (int i = 0; i < numel(r); i++)
		if (i/inner % r->dim[d] == k)
			*at(r, i) = 5;
	wrote(p, t, n);
}

/* x.t_() and the like: the tensor itself gets other sizes, whatever it is called. */
static void
reshaped(Prog *p, Var t)
{
	Ref *r = t.ref;
	Node *n;

	if (r->rank == 2) {
		int dim = r->dim[0], step = r->step[0];
		n = node(p, "aten.t_.default", (Arg[]){arg_val(t.val)}, 1, 1);
		r->dim[0] = r->dim[1], r->step[0] = r->step[1];
		r->dim[1] = dim, r->step[1] = step;
	} else if (r->rank < 5) {
		n = node(p, "aten.unsqueeze_.default", (Arg[]){arg_val(t.val), number(p, 0)}, 2, 1);
		put(r, 0, 1, 1);
	} else
		return;
	for (int k = 0; k < p->nvar; k++)
		if (p->var[k].ref == r)
			p->var[k].val = &n->out[0];
}

static void
write_(Prog *p, Var t, Var u)
{
	Ref *r = t.ref;
	int n = numel(r), k = rnd(p, 8);
	double v[MaxMem];
	Node *m;

	if (r->repeats || n == 0)
		return;
	for (int i = 0; i < n && fits(u.ref, r); i++)
		v[i] = broadcast(u.ref, r, i);
	if (k < 2 && fits(u.ref, r)) {
		m = node(p, "aten.copy_.default", (Arg[]){arg_val(t.val), arg_val(u.val)}, 2, 1);
		for (int i = 0; i < n; i++)
			*at(r, i) = v[i];
	} else if (k < 4 && fits(u.ref, r)) {
		m = node(p, "aten.add_.Tensor", (Arg[]){arg_val(t.val), arg_val(u.val)}, 2, 1);
		for (int i = 0; i < n; i++)
			*at(r, i) += v[i];
	} else if (k == 4) {
		m = node(p, "aten.fill_.Scalar", (Arg[]){arg_val(t.val), number(p, 7)}, 2, 1);
		for (int i = 0; i < n; i++)
			*at(r, i) = 7;
	} else if (k == 5 && r->rank) {
		index_fill(p, t);
		return;
	} else if (k == 6) {
		reshaped(p, t);
		return;
	} else {
		m = node(p, "aten.neg_.default", (Arg[]){arg_val(t.val)}, 1, 1);
		for (int i = 0; i < n; i++)
			*at(r, i) = -*at(r, i);
	}
	wrote(p, t, m);
}

static void
compute(Prog *p, Var t)
{
	Ref r = fresh(p, t.ref);
	Node *m = node(p, "aten.add.Scalar", (Arg[]){arg_val(t.val), number(p, 1)}, 2, 1);

	if (numel(&r) > MaxMem)
		return;
	for (int k = 0; k < numel(&r); k++)
		r.m->v[k] = *at(t.ref, k) + 1;
	var(p, &m->out[0], &r);
}

static void
begin(Prog *p)
{
	static const int shape[][3] = {{3, 4, 0}, {2, 3, 2}, {12, 0, 0}};

	p->m = module_new(p->cx, intern_str(p->cx, "m"));
	p->m->main = graph_new(p->m, intern_str(p->cx, "main"), NULL);
	for (int k = 0; k < 2; k++) {
		Ref *r = &p->in[k];
		const int *s = shape[rnd(p, COUNT(shape))];
		const Sym *dim[3];
		Str name = intern_printf(p->cx, "x%d", k);
		Node *n;
		while (r->rank < 3 && s[r->rank]) {
			r->dim[r->rank] = s[r->rank];
			dim[r->rank] = sym_const(p->cx, s[r->rank]);
			r->rank++;
		}
		*r = fresh(p, r);
		p->size[k] = numel(r);
		for (int i = 0; i < p->size[k]; i++)
			p->given[k][i] = r->m->v[i] = rnd(p, 9) - 4;
		n = node_placeholder(p->m->main, name, type_tensor(p->cx, DtF32, r->rank, dim), NOLOC);
		vec_push(p->a, &p->m->in, (Input){.kind = InUser, .val = &n->out[0], .name = name, .argname = name});
		var(p, &n->out[0], r);
	}
}

static void
end(Prog *p, Ref **out, int nout)
{
	Arg list[8];

	for (int k = 0; k < nout; k++) {
		Var t = p->var[k == 0 ? p->nvar - 1 : rnd(p, p->nvar)];
		list[k] = arg_val(t.val);
		out[k] = t.ref;
		vec_push(p->a, &p->m->out, (Output){.kind = ResUser, .name = intern_printf(p->cx, "out%d", k)});
	}
	Arg all = arg_list(p->a, list, nout);
	node_output(p->m->main, &all, NOLOC);
}

/* ---- both ways --------------------------------------------------------------------------------- */

static bool
same(const Tensor *got, const Ref *want, const char *what)
{
	bool ok = got->rank == want->rank;

	for (int d = 0; ok && d < got->rank; d++)
		ok = got->dim[d] == want->dim[d];
	for (int k = 0; ok && k < numel(want); k++)
		if (tensor_get(got, k) != *at(want, k)) {
			printf("# %s: element %d is %g, not %g\n", what, k, tensor_get(got, k), *at(want, k));
			return false;
		}
	if (!ok)
		printf("# %s: other sizes\n", what);
	return ok;
}

static bool
runs(Prog *p, Ref **out)
{
	Tensor in[2] = {{0}}, res[16];
	int n = p->m->main->last->arg[0].list.n, user = 0;
	bool ok;

	for (int k = 0; k < 2; k++) {
		float *v = NEWN(p->a, float, p->size[k]);
		const Type *t = p->m->in.v[k].val->type;
		for (int i = 0; i < p->size[k]; i++)
			v[i] = (float)p->given[k][i];
		in[k] = (Tensor){.dt = DtF32, .rank = t->rank, .data = v, .bytes = sizeof *v*(size_t)p->size[k]};
		for (int d = 0; d < t->rank; d++)
			in[k].dim[d] = t->dim[d]->k;
	}
	ok = n <= COUNT(res) && graph_interp(p->m->main, p->a, in, 2, res, n, false);
	for (int k = 0; ok && k < n; k++) {
		const Output *o = &p->m->out.v[k];
		int of = o->kind == ResUserMut && strcmp(o->target, "x1") == 0;
		if (o->kind == ResBase)
			continue;
		if (o->kind == ResUser)
			ok = same(&res[k], out[user++], o->name);
		else if (p->m->decomp == DecompNative || !p->m->meta->in.v[of].metadata || p->m->meta->in.v[of].kind == MutatedInGraph)
			ok = same(&res[k], &p->in[of], o->target);
		else
			ok = same(&res[k], p->var[of].ref, o->target);
	}
	return ok;
}

/* way: bit 0: PyTorch's form of graphs; bit 1: under autograd. */
static bool
program(int seed, int way, bool print)
{
	Prog p = {.seed = (uint64_t)seed*7919 + 17, .cx = ctx_new(NULL)};
	Text t = {0};
	Ref *out[4];
	bool ok;

	p.a = t.arena = ctx_arena(p.cx);
	begin(&p);
	for (int k = 4 + rnd(&p, 10); k > 0; k--) {
		Var a = p.var[rnd(&p, p.nvar)], b = p.var[rnd(&p, p.nvar)];
		int what = rnd(&p, 10);
		if (what < 5)
			view(&p, a);
		else if (what < 9)
			write_(&p, a, b);
		else
			compute(&p, a);
	}
	end(&p, out, 3);
	p.m->decomp = way & 1 ? DecompTorch : DecompNative;
	p.m->keepmut = way & 1;
	p.m->train = way & 2;
	for (int k = 0; k < 2; k++)
		p.m->in.v[k].requires_grad = way & 2;
	if (print)
		module_print(p.m, &t);
	ok = module_verify(p.m) && pass_functionalize(p.m) && module_functional(p.m) && pass_epilogue(p.m) &&
	     module_functional(p.m) && mutations_returned(p.m) && module_verify(p.m);
	if (print) {
		module_print(p.m, &t);
		printf("%s\n", t.s);
	}
	ok = ok && runs(&p, out);
	ctx_free(p.cx);
	return ok;
}

int
main(int argc, char **argv)
{
	int bad = 0;

	if (argc > 1)
		return !(program(atoi(argv[1]), 0, true) && program(atoi(argv[1]), argc > 2 ? atoi(argv[2]) : 1, true));
	for (int k = 0; k < NProg; k++)
		for (int way = 0; way < 4; way++)
			if (!program(k, way, false)) {
				printf("# program %d, way %d\n", k, way);
				bad++;
			}
	OK(bad == 0);
	return tap_end();
}
