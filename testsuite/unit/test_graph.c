/* test_graph.c - graphs, binding of arguments, overloads, the verifier.
 */
#include "ir/ir.h"
#include "tap.h"

static Ctx *cx;

static Str
S(const char *s)
{
	return intern_str(cx, s);
}

static const Type *
f32(int64_t n)
{
	return type_tensor(cx, DtF32, 1, (const Sym *[]){ sym_const(cx, n) });
}

/* x, y -> relu(x) + y */
static Module *
sample(Node **relu, Node **add)
{
	Module *m = module_new(cx, S("m"));
	Graph *g = m->main = graph_new(m, S("main"), NULL);
	Node *x = node_placeholder(g, S("x"), f32(4), NOLOC);
	Node *y = node_placeholder(g, S("y"), f32(4), NOLOC);
	Arg a = arg_val(x->out), b[3];

	*relu = node_new(g, op_find("aten.relu"), &a, 1, 1, NULL, NOLOC);
	b[0] = arg_val((*relu)->out);
	b[1] = arg_val(y->out);
	b[2] = arg_int(cx, 1);
	*add = node_new(g, op_find("aten.add.Tensor"), b, 3, 1, NULL, NOLOC);
	a = arg_val((*add)->out);
	node_output(g, &a, NOLOC);
	return m;
}

static int
errorsof(const Module *m)
{
	int before = ctx_errors(cx);

	module_verify(m);
	return ctx_errors(cx) - before;
}

static void
count(void *arg, Use *u)
{
	(void)u;
	++*(int *)arg;
}

static void
building(void)
{
	Node *relu, *add, *n;
	Module *m = sample(&relu, &add);
	Graph *g = m->main;
	Arg a = arg_val(relu->out), list, l2[2];
	int k = 0;

	OK(errorsof(m) == 0);
	STREQ(relu->name, "relu");
	STREQ(add->out->name, "add");
	OK(node_nuse(relu->out) == 1 && relu->out->uses->user == add);
	OK(arg_tensor(add, 0) == relu->out && arg_tensor(add, 2) == NULL
	   && arg_tensor(add, 9) == NULL);
	OK(node_arg(add, "alpha")->i->k == 1 && node_arg(add, "beta") == NULL);
	n = node_new(g, op_find("aten.relu.default"), &a, 1, 1, add, NOLOC);
	STREQ(n->name, "relu_1");
	OK(n->next == add && n->prev == relu);
	val_replace(relu->out, n->out);
	OK(relu->out->uses == NULL && node_nuse(n->out) == 2);
	a = arg_val(relu->out);
	node_setargs(n, &a, 1);
	OK(errorsof(m) == 0 && node_nuse(n->out) == 1);
	val_rename(g, n->out, "act");
	STREQ(n->name, "act");
	val_rename(g, n->out, "add");
	STREQ(n->name, "add_1");
	val_rename(g, n->out, "act");
	STREQ(n->name, "act");

	l2[0] = arg_val(n->out);
	l2[1] = arg_val(relu->out);
	list = arg_list(ctx_arena(cx), l2, 2);
	Arg cat[2] = { list, arg_int(cx, 0) };
	n = node_new(g, op_find("aten.cat"), cat, 2, 1, add, NOLOC);
	node_operands(n, count, &k);
	OK(k == 2 && n->arg[0].list.v != list.list.v && node_nuse(relu->out) == 2);
	OK(errorsof(m) == 0);
	node_delete(n);
	OK(node_nuse(relu->out) == 1 && errorsof(m) == 0);
	n = node_new(g, op_find("aten.sum"), (Arg[]){ arg_val(relu->out),
	             arg_none() }, 2, 1, add, NOLOC);
	STREQ(n->name, "sum_1");
	n = node_placeholder(g, S("z"), f32(4), NOLOC);
	OK(n->prev->op == &opplaceholder && n->next == relu && errorsof(m) == 0);
	n = node_placeholder(g, S("0.bad name"), f32(4), NOLOC);
	STREQ(n->name, "_0_bad_name");
}

static void
cloning(void)
{
	Node *relu, *add, *r2;
	Module *m = sample(&relu, &add);
	Graph *g = m->main, *c = graph_clone(g);
	Arg a;

	OK(c->nnode == g->nnode && c->nval == g->nval);
	r2 = c->first->next->next;
	OK(r2 != relu && r2->op == relu->op && r2->name == relu->name);
	OK(arg_tensor(r2, 0) == c->first->out && r2->graph == c);
	OK(node_nuse(g->first->out) == 1 && c->first->out->type == f32(4));
	a = arg_val(r2->out);
	STREQ(node_new(c, relu->op, &a, 1, 1, c->last, NOLOC)->name, "relu_1");
	m->main = c;
	OK(errorsof(m) == 0);
	m->main = g;
	OK(errorsof(m) == 0);
}

static void
verifying(void)
{
	Node *relu, *add;
	Module *m = sample(&relu, &add);
	const Sym *s = sym_const(cx, 3);

	add->out->type = f32(4);
	OK(errorsof(m) == 1);                 /* relu has no type */
	relu->out->type = f32(4);
	OK(errorsof(m) == 0);
	add->arg[2] = arg_str(S("no"));
	OK(errorsof(m) == 1);
	add->arg[2] = arg_sym(s);
	add->narg = 2;
	OK(errorsof(m) >= 1);
	add->narg = 3;
	add->out->name = S("relu");
	OK(errorsof(m) >= 1);
	add->out->name = S("add");
	add->arg[0].use->val = add->out;
	OK(errorsof(m) >= 1);
	add->arg[0].use->val = relu->out;
	OK(errorsof(m) == 0);
	relu->out->uses = NULL;
	OK(errorsof(m) >= 1);
	m = module_new(cx, S("none"));
	OK(errorsof(m) == 1);
}

/* ---- operators ---- */

static void
finding(void)
{
	bool all = true, sorted = true;

	for (int i = 0; i < noptab; i++) {
		all &= op_find(optab[i].name) == &optab[i];
		sorted &= i == 0 || strcmp(optab[i - 1].name, optab[i].name) < 0;
	}
	OK(noptab > 100 && all && sorted);
	OK(op_find("aten.relu") == op_find("aten.relu.default"));
	OK(op_find("no.such.op") == NULL && op_find("") == NULL);
	OK(op_find("output") == &opoutput);
	OK(op_samepacket(op_find("aten.add.Tensor"), op_find("aten.add.Scalar")));
	OK(!op_samepacket(op_find("aten.add.Tensor"), op_find("aten.sub.Tensor")));
}

static Val *
tensor(void)
{
	Node *relu, *add;

	return sample(&relu, &add)->main->first->out;
}

static const OpDef *
pick(const char *packet, const Arg *pos, int npos)
{
	return op_overload(cx, packet, pos, npos, NULL, NULL, 0);
}

static void
overloads(void)
{
	Arg x = arg_val(tensor()), i = arg_int(cx, 2), f = arg_float(0.5);
	Arg l = arg_list(ctx_arena(cx), &i, 1), t = arg_bool(true);
	Str dim = S("dim"), bad = S("nope"), alpha = S("alpha");
	const OpDef *op;

	STREQ(pick("aten.add", (Arg[]){ x, x }, 2)->name, "aten.add.Tensor");
	STREQ(pick("aten.add", (Arg[]){ x, i }, 2)->name, "aten.add.Scalar");
	STREQ(pick("aten.add", (Arg[]){ x, f }, 2)->name, "aten.add.Scalar");
	STREQ(pick("aten.pow", (Arg[]){ x, i }, 2)->name, "aten.pow.Tensor_Scalar");
	STREQ(pick("aten.pow", (Arg[]){ f, x }, 2)->name, "aten.pow.Scalar");
	STREQ(pick("aten.sum", (Arg[]){ x }, 1)->name, "aten.sum.default");
	STREQ(pick("aten.sum", (Arg[]){ x, l, t }, 3)->name, "aten.sum.dim_IntList");
	STREQ(pick("aten.sum", (Arg[]){ x, i }, 2)->name, "aten.sum.dim_IntList");
	STREQ(pick("aten.max", (Arg[]){ x, i }, 2)->name, "aten.max.dim");
	STREQ(pick("aten.max", (Arg[]){ x, x }, 2)->name, "aten.max.other");
	STREQ(pick("aten.max", (Arg[]){ x }, 1)->name, "aten.max.default");
	OK(pick("aten.add", (Arg[]){ l, x }, 2) == NULL);
	OK(pick("aten.nonsense", (Arg[]){ x }, 1) == NULL);
	op = op_overload(cx, "aten.mean", &x, 1, &dim, &i, 1);
	STREQ(op->name, "aten.mean.dim");
	OK(op_overload(cx, "aten.mean", &x, 1, &bad, &i, 1) == NULL);
	OK(op_overload(cx, "aten.add", (Arg[]){ x, x }, 2, &alpha, &f, 1)
	   == op_find("aten.add.Tensor"));
}

static void
binding(void)
{
	Arg x = arg_val(tensor()), i = arg_int(cx, 2), f = arg_float(0.5), out[32];
	const OpDef *op = op_find("aten.convolution"), *pool;
	Arg one = arg_int(cx, 1), l = arg_list(ctx_arena(cx), &one, 1);
	Str dim = S("dim"), self = S("self"), dt = S("dtype"), axis = S("axis");
	Arg bf = arg_dtype(DtBF16);
	int before = ctx_errors(cx);

	OK(op_bind(cx, NOLOC, op_find("aten.add.Tensor"), (Arg[]){ x, x }, 2, NULL,
	           NULL, 0, out) && out[2].kind == ArgInt && out[2].i->k == 1);
	OK(op_bind(cx, NOLOC, op_find("aten.mul.Tensor"), (Arg[]){ x, f }, 2, NULL,
	           NULL, 0, out) && out[1].kind == ArgFloat);
	OK(op_bind(cx, NOLOC, op_find("aten.sum.dim_IntList"), (Arg[]){ x, i }, 2,
	           &dt, &bf, 1, out) && out[1].kind == ArgList
	   && out[1].list.n == 1 && out[2].b == false && out[3].dt == DtBF16);
	OK(op_bind(cx, NOLOC, op_find("aten.mean.dim"), &x, 1, &axis, &i, 1, out)
	   && out[1].kind == ArgList);
	OK(op_bind(cx, NOLOC, op_find("aten.gelu"), &x, 1, NULL, NULL, 0, out)
	   && out[1].kind == ArgStr && strcmp(out[1].s, "none") == 0);
	pool = op_find("aten.max_pool2d_with_indices");
	OK(op_bind(cx, NOLOC, pool, (Arg[]){ x, i }, 2, NULL, NULL, 0, out)
	   && out[1].list.n == 2 && out[2].kind == ArgList && out[2].list.n == 0
	   && out[3].list.n == 2 && out[3].list.v[1].i->k == 0
	   && out[5].kind == ArgBool);
	OK(op_bind(cx, NOLOC, op_find("aten.leaky_relu"), &x, 1, NULL, NULL, 0, out)
	   && out[1].kind == ArgFloat && out[1].f == 0.01);
	OK(op_bind(cx, NOLOC, op_find("aten.mse_loss"), (Arg[]){ x, x }, 2, NULL,
	           NULL, 0, out) && out[2].i->k == 1);
	OK(ctx_errors(cx) == before);

	OK(!op_bind(cx, NOLOC, op, (Arg[]){ x, x }, 2, NULL, NULL, 0, out));
	OK(!op_bind(cx, NOLOC, op_find("aten.relu"), (Arg[]){ x, x }, 2, NULL,
	            NULL, 0, out));
	OK(!op_bind(cx, NOLOC, op_find("aten.relu"), &x, 1, &dim, &i, 1, out));
	OK(!op_bind(cx, NOLOC, op_find("aten.relu"), &x, 1, &self, &x, 1, out));
	OK(!op_bind(cx, NOLOC, op_find("aten.sum.dim_IntList"), (Arg[]){ x, f }, 2,
	            NULL, NULL, 0, out));
	OK(!op_bind(cx, NOLOC, op_find("aten.relu"), &l, 1, NULL, NULL, 0, out));
	OK(ctx_errors(cx) == before + 6);
}

/* Every default of the table has its parameter's type. */
static void
defaults(void)
{
	int wrong = 0;
	Arg v[64];

	for (int i = 0; i < noptab; i++) {
		const OpDef *op = &optab[i];
		Param param[64];
		OpDef free_ = *op;

		if (op->nparam > 64)
			continue;
		for (int k = 0; k < op->nparam; k++) {
			param[k] = op->param[k];
			if (param[k].dflt == NULL)
				param[k].opt = true;
		}
		free_.param = param;
		if (!op_bind(cx, NOLOC, &free_, NULL, 0, NULL, NULL, 0, v))
			wrong++ < 5 ? printf("# %s\n", op->schema) : 0;
	}
	OK(wrong == 0);
}

int
main(void)
{
	cx = ctx_new(&(Diag){ .quiet = true });
	building();
	cloning();
	verifying();
	finding();
	overloads();
	binding();
	defaults();
	ctx_free(cx);
	return tap_end();
}
