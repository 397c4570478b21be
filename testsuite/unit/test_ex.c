/* test_ex.c - expressions: promotion, exact folding, rewriting; numbers in memory.
 */
#include <math.h>
#include "ir/eval.h"
#include "tap.h"

static Ctx *cx;
static const Sym *i, *j, *k;
static Val a, b, h, n8;

static const Ex *
op2(enum scalar sc, const Ex *x, const Ex *y)
{
	return ex_op(cx, sc, x, y, NULL);
}

static const Ex *
num(double f)
{
	return ex_float(cx, DtNone, f);
}

static const Ex *
at(Val *v, const Sym *x, const Sym *y)
{
	return ex_load(cx, v, (const Sym *[]){x, y}, 2);
}

static const Ex *
whole(int64_t n)
{
	return ex_int(cx, DtNone, n);
}

static void
promotion(void)
{
	const Ex *x = at(&a, i, j), *y = at(&h, i, j), *n = at(&n8, i, j);

	OK(op2(ScAdd, x, whole(1))->dt == DtF32);
	OK(op2(ScAdd, y, y)->dt == DtF32);             /* bf16 is widened */
	OK(op2(ScAdd, n, whole(1))->dt == DtI8);
	OK(op2(ScAdd, n, whole(1000))->dt == DtI64);   /* the number does not fit */
	OK(op2(ScMul, n, num(0.5))->dt == DtF32);
	OK(op2(ScDiv, n, n)->dt == DtF32);
	OK(op2(ScLt, n, x)->dt == DtB8);
	OK(ex_cast(cx, DtF64, op2(ScMul, num(0.1), num(1)))->f == 0.1);
	OK(op2(ScMul, ex_cast(cx, DtF64, x), num(0.1))->arg[1]->f == 0.1);
	OK(op2(ScMul, x, num(0.1))->arg[1]->f == (double)0.1f);
	const Ex *s = ex_op(cx, ScSelect, op2(ScLt, x, whole(0)), num(0.1), whole(1));
	OK(s->weak && ex_cast(cx, DtF64, s)->arg[1]->f == 0.1);
	OK(op2(ScMul, x, s)->dt == DtF32);
}

static void
folding(void)
{
	const Ex *x = at(&a, i, j), *y = at(&a, i, k), *n = ex_cast(cx, DtI64, at(&n8, i, j));

	OK(op2(ScAdd, x, y) == op2(ScAdd, x, y));
	OK(op2(ScMul, x, whole(1)) == x && op2(ScMul, num(1), x) == x);
	OK(op2(ScAdd, x, num(0.0)) != x);              /* -0.0 + 0.0 is 0.0 */
	OK(op2(ScSub, x, num(0.0)) == x);
	OK(op2(ScAdd, n, whole(0)) == n && op2(ScMul, n, whole(0))->kind == ExConst);
	OK(op2(ScMul, x, whole(0))->kind == ExOp);     /* NaN*0 */
	OK(op2(ScEq, x, x)->kind == ExOp && op2(ScEq, n, n)->i == 1);
	OK(op2(ScLt, ex_index(cx, i), whole(5))->i == 1);
	OK(op2(ScLe, whole(0), ex_index(cx, sym_sub(cx, i, j)))->kind == ExOp);
	OK(op2(ScAdd, ex_index(cx, i), whole(3))->kind == ExIndex);
	STREQ(ex_str(cx, op2(ScFloordiv, op2(ScAdd, op2(ScMul, ex_index(cx, i), whole(7)), ex_index(cx, j)), whole(7))), "i");
	OK(ex_op(cx, ScSelect, ex_int(cx, DtB8, 1), x, y) == x);
	OK(ex_cast(cx, DtBF16, ex_cast(cx, DtF32, at(&h, i, j))) == at(&h, i, j));
	OK(ex_cast(cx, DtF32, ex_cast(cx, DtBF16, x)) != x);
	OK(op2(ScQuot, ex_int(cx, DtI32, -7), ex_int(cx, DtI32, 2))->i == -3);
	OK(op2(ScFloordiv, ex_int(cx, DtI32, -7), ex_int(cx, DtI32, 2))->i == -4);
	OK(op2(ScMod, ex_int(cx, DtI32, -7), ex_int(cx, DtI32, 2))->i == 1);
	OK(op2(ScQuot, ex_int(cx, DtI64, INT64_MIN), ex_int(cx, DtI64, -1))->i == INT64_MIN);
	OK(op2(ScQuot, ex_int(cx, DtI64, 1), ex_int(cx, DtI64, 0))->i == 0);
	OK(op2(ScAdd, ex_int(cx, DtU8, 200), ex_int(cx, DtU8, 100))->i == 44);
	OK(op2(ScAdd, ex_float(cx, DtF32, 0x1p24), ex_float(cx, DtF32, 1))->f == 0x1p24);
	OK(isnan(op2(ScMax, ex_float(cx, DtF32, NAN), ex_float(cx, DtF32, 1))->f));
	OK(ex_bits(cx, DtI32, ex_float(cx, DtF32, 1))->i == 0x3f800000);
}

static void
folds(void)
{
	const Sym *seven = sym_const(cx, 7), *one = sym_const(cx, 1), *zero = sym_const(cx, 0);
	const Ex *x = at(&a, i, k), *f = ex_fold(cx, FoldSum, &k, &seven, 1, NULL, x);

	OK(f->kind == ExFold && f->dt == DtF32);
	OK(ex_fold(cx, FoldSum, &k, &one, 1, NULL, x) == at(&a, i, zero));
	OK(ex_fold(cx, FoldMax, &k, &zero, 1, NULL, x)->f == -INFINITY);
	OK(ex_fold(cx, FoldSum, &k, &seven, 1, op2(ScLt, ex_index(cx, k), whole(9)), x) == f);
	OK(ex_fold(cx, FoldSum, &k, &seven, 1, NULL, op2(ScLt, x, num(0)))->dt == DtI64);
	/* the index that comes in is the fold's own variable: it must not be caught */
	const Ex *g = ex_rewrite(cx, f, NULL, NULL, &i, &k, 1);
	OK(g->kind == ExFold && g->var[0] != k && g->arg[0]->idx[0] == k && g->arg[0]->idx[1] == g->var[0]);
	OK(ex_cost(f) > 7);
}

static const Ex *
negated(void *p, const Ex *load)
{
	(void)p;
	return load->val == &a ? ex_op(cx, ScNeg, at(&b, load->idx[1], load->idx[0]), NULL, NULL) : NULL;
}

static int nload;

static void
counted(void *p, const Ex *load)
{
	(void)p, (void)load;
	nload++;
}

static void
rewriting(void)
{
	const Ex *row = ex_cast(cx, DtI64, at(&n8, i, j));
	const Sym *x = ex_indirect(cx, row, 0, 4);
	const Ex *e = at(&b, x, j), *r = ex_rewrite(cx, e, NULL, NULL, &i, (const Sym *[]){sym_const(cx, 3)}, 1);

	OK(ex_indirect(cx, row, 0, 4) == x && ex_ofvar(cx, x) == row && !ex_ofvar(cx, i));
	OK(r->idx[0] != x && ex_ofvar(cx, r->idx[0]) == ex_cast(cx, DtI64, at(&n8, sym_const(cx, 3), j)));
	STREQ(ex_str(cx, ex_rewrite(cx, op2(ScAdd, at(&a, i, j), at(&b, i, j)), negated, NULL, NULL, NULL, 0)),
	      "add(neg(b[j, i]), b[i, j])");
	ex_loads(e, counted, NULL);
	OK(nload == 2);
	OK(ex_indirect(cx, ex_index(cx, i), 0, 4) == i);
}

static void
memory(void)
{
	int bad = 0;

	for (int dt = 0; dt < NDtype; dt++)
		for (int u = 0; dt_float((enum dtype)dt) && dtypeinfo[dt].bytes <= 2 && u < 1 << 8 * dtypeinfo[dt].bytes; u++) {
			uint16_t in = (uint16_t)u, out = 0;
			double d = dt_load((enum dtype)dt, &in);
			dt_store((enum dtype)dt, &out, d);
			bad += !isnan(d) && in != out;
			bad += isnan(d) && !isnan(dt_load((enum dtype)dt, &out));
		}
	OK(bad == 0);
	OK(num_round(DtBF16, 1 + 0x1p-8) == 1 && num_round(DtBF16, 1 + 3 * 0x1p-8) == 1 + 0x1p-6);
	OK(num_round(DtF16, 65519) == 65504 && isinf(num_round(DtF16, 65520)));
	OK(num_round(DtF16, 0x1p-25) == 0 && num_round(DtF16, 0x1.8p-25) == 0x1p-24);
	OK(num_round(DtF8E4M3, 464) == 448 && isnan(num_round(DtF8E4M3, 465)));
	OK(num_cast(DtF32, DtU8, (Num){.f = 3.9}).i == 3 && num_cast(DtF32, DtB8, (Num){.f = 0.1}).i == 1);
	OK(num_cast(DtI64, DtF32, (Num){.i = 16777217}).f == 16777216);
}

/* sum over k of a[i, k]*b[k, j], both ways of using lanes, against a loop. */
enum { M = 3, K = 700, N = 70 };
static float adata[M * K], bdata[K * N];
static const Tensor at_ = {.dt = DtF32, .rank = 2, .dim = {M, K}, .data = adata};
static const Tensor bt_ = {.dt = DtF32, .rank = 2, .dim = {K, N}, .data = bdata};

static const Tensor *
find(void *p, const Val *v)
{
	(void)p;
	return v == &a ? &at_ : &bt_;
}

typedef struct Got { int reg; double v[M * N]; } Got;

static void
keep(void *p, Eval *E, int64_t base, int n)
{
	Got *g = p;

	for (int l = 0; l < n; l++)
		g->v[base + l] = eval_lane(E, g->reg, l).f;
}

static void
running(void)
{
	const Sym *x = sym_var(cx, intern_str(cx, "x"), 0, M - 1), *y = sym_var(cx, intern_str(cx, "y"), 0, N - 1);
	const Sym *z = sym_var(cx, intern_str(cx, "z"), 0, K - 1), *len = sym_const(cx, K);
	const Sym *left = sym_sub(cx, y, sym_const(cx, 1));
	const Ex *e = ex_fold(cx, FoldSum, &z, &len, 1, NULL, op2(ScMul, at(&a, x, z), at(&b, z, y)));
	const Ex *pad = ex_op(cx, ScSelect, op2(ScLe, whole(0), ex_index(cx, left)), at(&b, x, left), num(7));

	for (int l = 0; l < M * K; l++)
		adata[l] = (float)(l % 17 - 8);
	for (int l = 0; l < K * N; l++)
		bdata[l] = (float)(l % 13 - 6);
	e = op2(ScAdd, e, pad);
	for (int wide = 0; wide < 2; wide++) {
		int64_t extent[2] = {M, wide ? 2 : N};
		int bad = 0;
		Got g;
		Eval E;
		eval_init(&E, cx, ctx_arena(cx), NOLOC, false, eval_iswide(e, extent[0] * extent[1]), (const Sym *[]){x, y}, extent, 2);
		E.tensor = find;
		OK(E.wide == wide);
		g.reg = eval_ex(&E, e);
		OK(g.reg >= 0 && eval_run(&E, keep, &g));
		for (int r = 0; r < M; r++)
			for (int c = 0; c < extent[1]; c++) {
				double want = c ? bdata[r * N + c - 1] : 7;
				for (int l = 0; l < K; l++)
					want += adata[r * K + l] * bdata[l * N + c];
				bad += want != g.v[r * extent[1] + c];
			}
		OK(bad == 0);
	}
}

int
main(void)
{
	static const Diag quiet = {.quiet = true};
	const Sym *dim[2];

	cx = ctx_new(&quiet);
	i = sym_var(cx, intern_str(cx, "i"), 0, 4);
	j = sym_var(cx, intern_str(cx, "j"), 0, 6);
	k = sym_var(cx, intern_str(cx, "k"), 0, 6);
	dim[0] = sym_const(cx, 5);
	dim[1] = sym_const(cx, 7);
	a = (Val){.type = type_tensor(cx, DtF32, 2, dim), .name = intern_str(cx, "a")};
	b = (Val){.type = a.type, .name = intern_str(cx, "b")};
	h = (Val){.type = type_tensor(cx, DtBF16, 2, dim), .name = intern_str(cx, "h")};
	n8 = (Val){.type = type_tensor(cx, DtI8, 2, dim), .name = intern_str(cx, "n8")};
	promotion();
	folding();
	folds();
	rewriting();
	memory();
	running();
	ctx_free(cx);
	return tap_end();
}
