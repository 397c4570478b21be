/* torchhop.c - torch.ops.higher_order: calls that take sub-graphs or operators.
 *
 * One row for each of PyTorch's names.  What only groups or sets a mode is read in place of the
 * call, its nodes marked; what chooses or repeats becomes a node (ir/op/hop.op); what runs
 * something that the text does not hold (a Python function, a kernel, a delegate) is refused
 * with the reason.
 */
#include "front/text.h"

typedef VEC(Tv) Tvs;

typedef struct Call {
	Fn *f;
	const char *name;
	const Tv *pos; int npos;
	const Str *key; const Tv *kw; int nkw;
	int g;                         /* the first sub-graph; npos: none */
} Call;

bool
tv_isfalse(const Tv *v)
{
	return v->kind == TvArg && v->arg.kind == ArgBool && !v->arg.b;
}

/* Positional arguments from the i-th on; those in tuples or lists one by one. */
static Tvs
operands(const Call *c, int i)
{
	Tvs v = {0};

	for (; i < c->npos; i++)
		if (c->pos[i].kind == TvList)
			for (int k = 0; k < c->pos[i].n; k++)
				vec_push(c->f->r->a, &v, c->pos[i].v[k]);
		else if (c->pos[i].kind == TvNode)
			for (int k = 0; k < c->pos[i].node->nout; k++)
				vec_push(c->f->r->a, &v, tv_val(&c->pos[i].node->out[k]));
		else if (c->pos[i].kind != TvDict)
			vec_push(c->f->r->a, &v, c->pos[i]);
	return v;
}

/* ---- read in place of the call -------------------------------------------------------- */

static bool
inlined(const Call *c, Tv *out)
{
	Tvs v = operands(c, c->g + 1);

	if (c->g == c->npos)
		return tv_fail(c->f, "%s: no sub-graph is given", c->name);
	return formb_inline(c->f, c->pos[c->g].n, v.v, v.n, out);
}

static bool
gradmode(const Call *c, Tv *out)
{
	Reader *r = c->f->r;
	bool was = r->nograd, ok;

	r->nograd = c->npos > 0 && tv_isfalse(&c->pos[0]);
	ok = inlined(c, out);
	r->nograd = was;
	return ok;
}

static bool
checkpoint(const Call *c, Tv *out)
{
	Reader *r = c->f->r;
	Marks was = r->region;
	bool ok;

	r->region = (Marks){.acgraph = ++r->nregion, .recompute = PreferRecompute};
	ok = inlined(c, out);
	r->region = was;
	return ok;
}

/* device, dtype, enabled, cache, body */
static bool
autocast(const Call *c, Tv *out)
{
	const Tv *pos = c->pos;
	bool on, ok;

	if (c->g < 3)
		return inlined(c, out);
	on = pos[2].kind == TvArg && pos[2].arg.kind == ArgBool && pos[2].arg.b;
	autocast_enter(c->f->r, !on ? DtNone : pos[1].kind == TvArg && pos[1].arg.kind == ArgDtype ? pos[1].arg.dt : DtBF16);
	ok = inlined(c, out);
	autocast_exit(c->f->r);
	return ok;
}

/* What it is given. */
static bool
identity(const Call *c, Tv *out)
{
	Tvs v = operands(c, 0);

	*out = (Tv){.kind = TvList, .tuple = true, .v = v.v, .n = v.n};
	return true;
}

/* ---- operators as arguments ------------------------------------------------------------- */

/* The i-th argument as an operator's name, "torch.ops.aten.mm.default"; NULL: reported. */
static Str
opname(const Call *c, int i)
{
	const Tv *v = i < c->npos ? &c->pos[i] : NULL;
	Ctx *cx = c->f->r->cx;

	if (v && v->kind == TvFn)
		return v->name;
	if (v && v->kind == TvArg && v->arg.kind == ArgStr)      /* Form A, and our own text */
		return tv_starts(v->arg.s, "torch.ops.") ? v->arg.s : intern_printf(cx, "torch.ops.%s", v->arg.s);
	tv_fail(c->f, "%s: argument %d is no operator", c->name, i);
	return NULL;
}

static bool
apply(const Call *c, int at, Tv *out)
{
	Str fn = opname(c, at);

	return fn && tv_call(c->f, fn, c->pos + at + 1, c->npos - at - 1, c->key, c->kw, c->nkw, out);
}

/* (token, operator, ...) gives (token, results...).  Order is that of the program. */
static bool
effects(const Call *c, Tv *out)
{
	Tvs v = {0};
	Tv res;

	if (!apply(c, 1, &res))
		return false;
	vec_push(c->f->r->a, &v, tv_ofarg(arg_none()));
	if (res.kind == TvNode)
		for (int i = 0; i < res.node->nout; i++)
			vec_push(c->f->r->a, &v, tv_val(&res.node->out[i]));
	else
		vec_push(c->f->r->a, &v, res);
	*out = (Tv){.kind = TvList, .tuple = true, .v = v.v, .n = v.n};
	return true;
}

/* operator, dtype, ...: computed in that dtype. */
static bool
outdtype(const Call *c, Tv *out)
{
	Str fn = opname(c, 0);
	Tvs v = {0};
	Tv one;

	if (!fn || c->npos < 2)
		return fn && tv_fail(c->f, "%s: no dtype is given", c->name);
	for (int i = 2; i < c->npos; i++) {
		one = c->pos[i];
		if (tv_tensor(&one) && !tv_overload(c->f, "aten._to_copy", c->name, &c->pos[i], 1,
		                                    (Str[]){intern_str(c->f->r->cx, "dtype")}, &c->pos[1], 1, &one))
			return false;
		vec_push(c->f->r->a, &v, one);
	}
	return tv_call(c->f, fn, v.v, v.n, c->key, c->kw, c->nkw, out);
}

/* A state of the generator is nothing here: streams are numbered, and a copy of an operator draws
 * what the operator draws. */
static bool
saverng(const Call *c, Tv *out)
{
	Tvs v = {0};
	Tv size = {.kind = TvList}, state, dtype = tv_ofarg(arg_dtype(DtU8)), n = tv_int(c->f, 0), res;

	size.v = &n;
	size.n = 1;
	if (!tv_overload(c->f, "aten.zeros", c->name, &size, 1, (Str[]){intern_str(c->f->r->cx, "dtype")}, &dtype, 1, &state) ||
	    !apply(c, 0, &res))
		return false;
	vec_push(c->f->r->a, &v, state);
	vec_push(c->f->r->a, &v, res);
	*out = (Tv){.kind = TvList, .tuple = true, .v = v.v, .n = v.n};
	return true;
}

static bool
withrng(const Call *c, Tv *out)
{
	return apply(c, 1, out);
}

static bool
graphrng(const Call *c, Tv *out)
{
	Call d = *c;
	Tvs kw = {0};
	VEC(Str) key = {0};

	for (int i = 0; i < c->nkw; i++)
		if (strcmp(c->key[i], "rng_state") != 0) {
			vec_push(c->f->r->a, &key, c->key[i]);
			vec_push(c->f->r->a, &kw, c->kw[i]);
		}
	d.key = key.v;
	d.kw = kw.v;
	d.nkw = kw.n;
	return apply(&d, 0, out);
}

/* ---- nodes --------------------------------------------------------------------------------- */

static bool
node(const Call *c, Tv *out)
{
	return tv_direct(c->f, arena_printf(c->f->r->a, "higher_order.%s", c->name), c->pos, c->npos, c->key, c->kw,
	                 c->nkw, out);
}

/* sub-graph, name, operands... */
static bool
invoke(const Call *c, Tv *out)
{
	Tvs v = operands(c, c->g + 2);
	Tv arg[3];

	if (c->g + 1 >= c->npos)
		return tv_fail(c->f, "%s: a sub-graph and its name are needed", c->name);
	arg[0] = c->pos[c->g];
	arg[1] = c->pos[c->g + 1];
	arg[2] = (Tv){.kind = TvList, .tuple = true, .v = v.v, .n = v.n};
	return tv_direct(c->f, "higher_order.invoke_subgraph", arg, 3, NULL, NULL, 0, out);
}

/* fwd, bwd, operands...: what fwd returns first are the results, then what bwd wants to have kept. */
static bool
function(const Call *c, Tv *out)
{
	Tvs v = operands(c, c->g + 2), res = {0};
	Tv arg[4], all;

	if (c->g + 1 >= c->npos || c->pos[c->g + 1].kind != TvGraph)
		return tv_fail(c->f, "%s: two sub-graphs are needed", c->name);
	arg[0] = c->pos[c->g];
	arg[1] = c->pos[c->g + 1];
	arg[2] = (Tv){.kind = TvList, .tuple = true, .v = v.v, .n = v.n};
	Graph *fwd;
	if (!fn_graph(c->f, arg[0].n, &fwd))
		return false;
	int n = c->f->r->cls.v[arg[0].n].nfirst;
	if (c->npos > c->g + 3 && c->pos[c->npos - 1].kind == TvArg && c->pos[c->npos - 1].arg.kind == ArgInt && n == 0) {
		int64_t k;                                     /* our own text */
		if (arg_isconst(&c->pos[c->npos - 1].arg, &k))
			n = (int)k, arg[2].n--;
	}
	arg[3] = tv_int(c->f, n);
	if (!tv_direct(c->f, "higher_order.autograd_function_apply", arg, 4, NULL, NULL, 0, &all) || all.kind != TvNode)
		return false;
	for (int i = 0; i < n && i < all.node->nout; i++)
		vec_push(c->f->r->a, &res, tv_val(&all.node->out[i]));
	*out = (Tv){.kind = TvList, .tuple = true, .v = res.v, .n = res.n};
	return true;
}

/* format, values... */
static bool
print(const Call *c, Tv *out)
{
	Tvs v = operands(c, 1);
	Tv arg[2];

	if (c->npos == 0 || c->nkw)
		return tv_fail(c->f, "print: %s", c->npos ? "values by name are not supported" : "no format is given");
	arg[0] = c->pos[0];
	arg[1] = (Tv){.kind = TvList, .v = v.v, .n = v.n};
	return tv_direct(c->f, "higher_order.print", arg, 2, NULL, NULL, 0, out);
}

/* ---- custom operators ---------------------------------------------------------------------- */

static bool
custom(const Call *c, Tv *out)
{
	Str fn = opname(c, 0);

	if (!fn)
		return false;
	if (c->npos > 1)                        /* our own text */
		return node(c, out);
	return tv_functionalized(c->f, intern_str(c->f->r->cx, fn + strlen("torch.ops.")), c->key, c->kw, c->nkw, out);
}

/* ---- the table ----------------------------------------------------------------------------- */

static const struct Row {
	const char *name;
	bool (*read)(const Call *, Tv *);
	const char *why;                   /* read NULL: why not */
} rows[] = {
	{"_export_tracepoint", identity, NULL},
	{"aoti_call_delegate", NULL, "it calls a compiled library that the text does not hold"},
	{"associative_scan", node, NULL},
	{"auto_functionalized", custom, NULL},
	{"auto_functionalized_v2", custom, NULL},
	{"autograd_function_apply", function, NULL},
	{"call_torchbind", NULL, "it calls a method of a C++ object"},
	{"cond", node, NULL},
	{"control_deps", inlined, NULL},
	{"custom_function_call", NULL, "it calls a Python class; export or compile the model, which traces it"},
	{"dynamo_bypassing_wrapper", inlined, NULL},
	{"executorch_call_delegate", NULL, "it calls a delegate that the text does not hold"},
	{"flat_apply", NULL, "it calls a Python function"},
	{"flex_attention", node, NULL},
	{"flex_attention_backward", node, NULL},
	{"flex_gemm", inlined, NULL},
	{"foreach_map", inlined, NULL},
	{"graphsafe_run_with_rng_state", graphrng, NULL},
	{"hints_wrapper", inlined, NULL},
	{"inductor_compiled_code", inlined, NULL},
	{"inline_asm_elementwise", NULL, "it is assembler for a GPU"},
	{"invoke_leaf_function", NULL, "it calls a Python function"},
	{"invoke_quant", inlined, NULL},
	{"invoke_quant_packed", inlined, NULL},
	{"invoke_subgraph", invoke, NULL},
	{"local_map_hop", inlined, NULL},
	{"map_impl", node, NULL},
	{"out_dtype", outdtype, NULL},
	{"print", print, NULL},
	{"run_and_save_rng_state", saverng, NULL},
	{"run_const_graph", inlined, NULL},
	{"run_dtensor_rng_op", NULL, "distributed tensors are not supported"},
	{"run_with_rng_state", withrng, NULL},
	{"scan", node, NULL},
	{"strict_mode", inlined, NULL},
	{"switch", node, NULL},
	{"tag_activation_checkpoint", checkpoint, NULL},
	{"trace_wrapped", NULL, "it calls a Python function"},
	{"triton_kernel_wrapper_functional", NULL, "it calls a Triton kernel"},
	{"triton_kernel_wrapper_mutation", NULL, "it calls a Triton kernel"},
	{"while_loop", node, NULL},
	{"while_loop_keep", node, NULL},                        /* our own */
	{"while_loop_stack_output", node, NULL},
	{"with_effects", effects, NULL},
	{"wrap", inlined, NULL},
	{"wrap_activation_checkpoint", checkpoint, NULL},
	{"wrap_with_autocast", autocast, NULL},
	{"wrap_with_set_grad_enabled", gradmode, NULL},
};

bool
tv_hop(Fn *f, const char *name, const Tv *pos, int npos, const Str *key, const Tv *kw, int nkw, Tv *out)
{
	Call c = {f, name, pos, npos, key, kw, nkw, 0};

	while (c.g < npos && pos[c.g].kind != TvGraph)
		c.g++;
	for (int i = 0; i < COUNT(rows); i++) {
		if (strcmp(rows[i].name, name) != 0)
			continue;
		if (!rows[i].read)
			return tv_fail(f, "torch.ops.higher_order.%s is not supported: %s", name, rows[i].why);
		return rows[i].read(&c, out);
	}
	return tv_unsupported(f, intern_printf(f->r->cx, "higher_order.%s", name), out);
}
