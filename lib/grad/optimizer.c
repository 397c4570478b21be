/* optimizer.c - the step of an optimizer, as a program of its own.
 *
 * The arithmetic is in ir/op/optim.op.  Here: which operator a name means, which of its
 * states exist, and the signature: parameters and states come in and go out changed, so
 * that the pointwise chains between fuse into one kernel for each parameter.  Numbers
 * that all parameters share (the step count, bias corrections) are equal nodes, which cse
 * merges.
 */
#include <math.h>
#include <stdlib.h>
#include "grad/optimizer.h"

/* A tensor argument of the operator between grad and lr is a state: a zero of the parameter's
 * shape and dtype.  One of these exists only if that option is not zero. */
static const struct { const char *state, *option; } onlyif[] = {
	{"momentum_buffer", "momentum"}, {"max_exp_avg_sq", "amsgrad"}, {"grad_avg", "centered"},
};

struct optimkind {
	const char *name, *op;
	double lr, decay;              /* defaults of lr and weight_decay */
	bool decoupled;
};
static const struct optimkind kinds[] = {
	{"sgd",     "fxcc.optim_sgd",     1e-3, 0,    false},
	{"adam",    "fxcc.optim_adam",    1e-3, 0,    false},
	{"adamw",   "fxcc.optim_adam",    1e-3, 1e-2, true},
	{"rmsprop", "fxcc.optim_rmsprop", 1e-2, 0,    false},
	{"adagrad", "fxcc.optim_adagrad", 1e-2, 0,    false},
	{"lion",    "fxcc.optim_lion",    1e-4, 0,    false},
};

/* ---- the option ---------------------------------------------------------------- */

static int
param_of(const OpDef *op, const char *name)
{
	for (int i = 0; i < op->nparam; i++)
		if (strcmp(op->param[i].name, name) == 0)
			return i;
	return -1;
}

static const OpDef *
op_of(const Optimizer *o)
{
	return op_find(o->kind->op);
}

static double
number(const Optimizer *o, const char *name)
{
	int i = param_of(op_of(o), name);

	if (i < 0)
		return 0;
	return o->arg[i].kind == ArgBool ? o->arg[i].b : o->arg[i].f;
}

static void
set(Optimizer *o, const char *name, double v)
{
	int i = param_of(op_of(o), name);

	if (i >= 0)
		o->arg[i] = o->arg[i].kind == ArgBool ? arg_bool(v != 0) : arg_float(v);
}

/* A number or a truth; false: neither. */
static bool
parse_value(const char *s, size_t n, bool truth, double *v)
{
	static const struct { const char *text; double v; } word[] = {
		{"true", 1}, {"True", 1}, {"1", 1}, {"false", 0}, {"False", 0}, {"0", 0},
	};
	char *end, buf[64];

	if (n == 0 || n >= sizeof buf)
		return false;
	memcpy(buf, s, n);
	buf[n] = '\0';
	for (int i = 0; truth && i < COUNT(word); i++)
		if (strcmp(buf, word[i].text) == 0) {
			*v = word[i].v;
			return true;
		}
	*v = strtod(buf, &end);
	return !truth && *end == '\0' && isfinite(*v);
}

/* Keys that are no arguments of the operator. */
static double *
field(Optimizer *o, const char *key)
{
	if (strcmp(key, "lr") == 0)
		return &o->lr;
	if (strcmp(key, "clip") == 0)
		return &o->clip;
	if (strcmp(key, "clip_value") == 0)
		return &o->clipvalue;
	return strcmp(key, "initial_accumulator_value") == 0 && strcmp(o->kind->name, "adagrad") == 0 ? &o->initial : NULL;
}

static const char *
keys(Ctx *cx, const Optimizer *o)
{
	const OpDef *op = op_of(o);
	Text t = {.arena = ctx_arena(cx)};

	text_add(&t, "lr clip clip_value");
	for (int i = 0; i < op->nparam; i++)
		if (op->param[i].kwonly && strcmp(op->param[i].name, "decoupled") != 0)
			text_add(&t, " %s", op->param[i].name);
	if (param_of(op, "beta1") >= 0)
		text_add(&t, " betas");
	if (strcmp(o->kind->name, "adagrad") == 0)
		text_add(&t, " initial_accumulator_value");
	return t.s;
}

static const char *
set_key(Ctx *cx, Optimizer *o, const char *key, const char *value, size_t n)
{
	const OpDef *op = op_of(o);
	double *f = field(o, key), v;
	int i = param_of(op, key);

	if (f == NULL && (i < 0 || !op->param[i].kwonly || strcmp(key, "decoupled") == 0))
		return arena_printf(ctx_arena(cx), "%s has no option '%s' (%s)", o->kind->name, key, keys(cx, o));
	if (!parse_value(value, n, !f && o->arg[i].kind == ArgBool, &v) || v < 0)
		return arena_printf(ctx_arena(cx), "%s=%.*s: %s is wanted", key, (int)n, value,
		                    !f && o->arg[i].kind == ArgBool ? "true or false" : "a number that is not negative");
	if (strncmp(key, "beta", 4) == 0 && v >= 1)
		return arena_printf(ctx_arena(cx), "%s=%.*s: a number below 1 is wanted", key, (int)n, value);
	if (f)
		*f = v;
	else
		set(o, key, v);
	return NULL;
}

/* One KEY=VALUE, or betas=B1,B2; *s moves behind it. */
static const char *
parse_option(Ctx *cx, Optimizer *o, const char **s)
{
	size_t nkey = strcspn(*s, "=,"), n;
	const char *key = intern(cx, *s, nkey), *value = *s + nkey + 1, *wrong;

	if ((*s)[nkey] != '=')
		return arena_printf(ctx_arena(cx), "'%s': KEY=VALUE is wanted (keys of %s: %s)", key, o->kind->name, keys(cx, o));
	n = strcspn(value, ",");
	*s = value + n;
	if (strcmp(key, "betas") != 0 || param_of(op_of(o), "beta1") < 0)
		return set_key(cx, o, key, value, n);
	if (**s != ',')
		return "betas wants two numbers: betas=0.9,0.999";
	wrong = set_key(cx, o, "beta1", value, n);
	value = *s + 1;
	n = strcspn(value, ",");
	*s = value + n;
	return wrong ? wrong : set_key(cx, o, "beta2", value, n);
}

static const char *
names(Ctx *cx)
{
	Text t = {.arena = ctx_arena(cx)};

	for (int i = 0; i < COUNT(kinds); i++)
		text_add(&t, "%s%s", i ? ", " : "", kinds[i].name);
	return t.s;
}

/* The defaults: of torch.optim's class, else of the operator. */
static bool
defaults(Ctx *cx, Optimizer *o)
{
	const OpDef *op = op_of(o);

	o->arg = NEWN(ctx_arena(cx), Arg, op->nparam + 1);
	o->lr = o->kind->lr;
	for (int i = 0; i < op->nparam; i++) {
		const Param *p = &op->param[i];
		if (p->kwonly)
			o->arg[i] = strcmp(p->dflt, "True") == 0 || strcmp(p->dflt, "False") == 0 ? arg_bool(*p->dflt == 'T') : arg_float(strtod(p->dflt, NULL));
	}
	set(o, "weight_decay", o->kind->decay);
	set(o, "decoupled", o->kind->decoupled);
	return true;
}

const char *
optimizer_parse(Ctx *cx, const char *text, Optimizer *o)
{
	size_t n = strcspn(text, ":");
	const char *s = text + n, *wrong;

	*o = (Optimizer){0};
	for (int i = 0; i < COUNT(kinds); i++)
		if (strlen(kinds[i].name) == n && strncmp(kinds[i].name, text, n) == 0)
			o->kind = &kinds[i];
	if (o->kind == NULL)
		return arena_printf(ctx_arena(cx), "unknown optimizer '%.*s' (%s)", (int)n, text, names(cx));
	defaults(cx, o);
	while (*s) {
		s++;
		if ((wrong = parse_option(cx, o, &s)) != NULL)
			return wrong;
	}
	if (number(o, "nesterov") && (number(o, "momentum") == 0 || number(o, "dampening") != 0))
		return "nesterov needs momentum and no dampening";
	return NULL;
}

/* ---- the program ----------------------------------------------------------------- */

typedef struct Step {
	Module *m, *of;
	Graph *g;
	Ctx *cx;
	Arena *a;
	const Optimizer *o;
	const OpDef *op;
	VEC(Arg) result;
	Val *lr, *count;
	bool ok;
} Step;

static Input *
add_input(Step *s, enum inkind kind, Str name, Str target, const Type *t)
{
	Node *p = node_placeholder(s->g, name, t, NOLOC);

	p->target = name;
	vec_push(s->a, &s->m->in, (Input){.kind = kind, .val = &p->out[0], .name = p->out[0].name, .argname = name,
	                                  .target = target, .persistent = true, .updatable = kind != InUser});
	return &s->m->in.v[s->m->in.n - 1];
}

static void
add_result(Step *s, enum outkind kind, Str target, Val *v)
{
	vec_push(s->a, &s->result, arg_val(v));
	vec_push(s->a, &s->m->out, (Output){.kind = kind, .name = intern_printf(s->cx, "new_%s", v->name), .target = target});
}

static Val *
call(Step *s, const char *name, const Arg *arg, int narg, int nout)
{
	Node *n = node_new(s->g, op_find(name), arg, narg, nout, NULL, NOLOC);

	s->ok = s->ok && node_infer(n);
	return n->out;
}

/* A state begins as a tensor of one number; zeros are the arena's own and cost nothing. */
static Input *
add_state(Step *s, Str fqn, const Type *t, double first)
{
	Weight *w = NEW(s->a, Weight);
	Input *in = add_input(s, InBuffer, fqn, fqn, t);
	int64_t n = 0, width = dtypeinfo[t->dt].bytes;

	s->ok = s->ok && sym_isconst(type_numel(s->cx, t), &n);
	*w = (Weight){.fqn = fqn, .type = t, .bytes = (size_t)(n * width)};
	uint8_t *data = arena_alloc(s->a, w->bytes + 1, 64);
	for (int64_t i = 0; first != 0 && i < n; i++)
		dt_store(t->dt, data + i * width, first);
	w->data = data;
	in->weight = w;
	vec_push(s->a, &s->m->weight, w);
	return in;
}

static bool
absent(const Step *s, const char *state)
{
	for (int i = 0; i < COUNT(onlyif); i++)
		if (strcmp(onlyif[i].state, state) == 0)
			return number(s->o, onlyif[i].option) == 0;
	return false;
}

/* Does the program give a gradient for input in?  Of a joint graph the gradients are the last
 * results, one or None for each primal; a backward part names the input that each is for. */
static bool
has_gradient(const Module *of, const Input *in)
{
	const Module *b = of->backward ? of->backward : of;

	if (in->kind != InParam || !in->requires_grad || in->val == NULL)
		return false;
	for (int i = 0; i < b->out.n; i++)
		if (b->out.v[i].kind == ResGradParam && b->out.v[i].target && strcmp(b->out.v[i].target, in->target) == 0)
			return b->main->last->arg[0].list.v[i].kind == ArgVal;
	return false;
}

/* Row-major: gradients come so, and states are made so. */
static const Type *
dense(Ctx *cx, const Type *t)
{
	return type_tensor(cx, t->dt, t->rank, t->dim);
}

static bool
can_update(Step *s, const Input *p)
{
	const Type *t = p->val->type;
	int64_t n;

	if (t->kind == TyTensor && dt_float(t->dt) && sym_isconst(type_numel(s->cx, t), &n))
		return true;
	error(s->cx, p->val->def->loc, "--optimizer: parameter %s is %s: only float tensors of known size are updated",
	      p->target, type_str(s->cx, t));
	return false;
}

static Val *
clipped(Step *s, Val *g)
{
	double v = s->o->clipvalue;

	if (v == 0)
		return g;
	return call(s, "aten.clamp", (Arg[]){arg_val(g), arg_float(-v), arg_float(v)}, 3, 1);
}

/* Every gradient times the factor that brings their joint norm down. */
static void
clip_norm(Step *s, Val **grad, int n)
{
	Arg *list = NEWN(s->a, Arg, n + 1);

	if (s->o->clip == 0)
		return;
	for (int i = 0; i < n; i++)
		list[i] = arg_val(grad[i]);
	Val *f = call(s, "fxcc.optim_clip_norm", (Arg[]){arg_list(s->a, list, n), arg_float(s->o->clip)}, 2, 1);
	for (int i = 0; s->ok && i < n; i++) {
		const Type *t = grad[i]->type;
		Val *v = call(s, "aten.mul.Tensor", (Arg[]){arg_val(grad[i]), arg_val(f)}, 2, 1);
		if (s->ok && v->type->dt != t->dt)
			v = call(s, "prims.convert_element_type", (Arg[]){arg_val(v), arg_dtype(t->dt)}, 2, 1);
		grad[i] = v;
	}
}

typedef struct Target { const Input *of; Val *param, *state[4]; Str fqn[4]; int nstate; } Target;

static void
add_target(Step *s, const Input *p, Target *t)
{
	const Type *type = dense(s->cx, p->val->type);

	*t = (Target){.of = p};
	Input *in = add_input(s, InParam, p->name, p->target, type);
	in->weight = p->weight;
	in->requires_grad = true;
	t->param = in->val;
	for (int i = 2; strcmp(s->op->param[i].name, "lr") != 0; i++) {
		const char *name = s->op->param[i].name;
		if (absent(s, name))
			continue;
		t->fqn[t->nstate] = intern_printf(s->cx, "optim.%s.%s", p->target, name);
		t->state[t->nstate] = add_state(s, t->fqn[t->nstate], type, s->o->initial)->val;
		t->nstate++;
	}
}

static void
update(Step *s, const Target *t, Val *grad)
{
	Arg *arg = NEWN(s->a, Arg, s->op->nparam + 1);
	int k = 0, i;

	memcpy(arg, s->o->arg, sizeof *arg * (size_t)s->op->nparam);
	arg[0] = arg_val(t->param);
	arg[1] = arg_val(grad);
	for (i = 2; strcmp(s->op->param[i].name, "lr") != 0; i++)
		arg[i] = absent(s, s->op->param[i].name) ? arg_none() : arg_val(t->state[k++]);
	arg[i] = arg_val(s->lr);
	arg[i + 1] = arg_val(s->count);
	Val *r = call(s, s->o->kind->op, arg, s->op->nparam, 1 + t->nstate);
	if (!s->ok)
		return;
	add_result(s, ResParamMut, t->of->target, &r[0]);
	for (k = 0; k < t->nstate; k++)
		add_result(s, ResBufferMut, t->fqn[k], &r[1 + k]);
}

Module *
optimizer_module(Module *of, const Optimizer *o)
{
	Ctx *cx = of->cx;
	Module *m = module_new(cx, intern_printf(cx, "%s_step", of->name ? of->name : "model"));
	Step s = {.m = m, .of = of, .cx = cx, .a = ctx_arena(cx), .o = o, .op = op_of(o), .ok = true};
	Target *t = NEWN(s.a, Target, of->in.n + 1);
	Val **grad = NEWN(s.a, Val *, of->in.n + 1), *counted;
	Str step = intern_str(cx, "optim.step");
	int n = 0;

	s.g = m->main = graph_new(m, intern_str(cx, "step"), NULL);
	for (int i = 0; i < of->in.n; i++)
		if (has_gradient(of, &of->in.v[i])) {
			if (!can_update(&s, &of->in.v[i]))
				return NULL;
			add_target(&s, &of->in.v[i], &t[n++]);
		}
	if (n == 0) {
		error(cx, NOLOC, "--optimizer: no parameter gets a gradient");
		return NULL;
	}
	counted = add_state(&s, step, type_tensor(cx, DtF32, 0, NULL), 0)->val;
	for (int i = 0; i < n; i++)
		grad[i] = add_input(&s, InUser, intern_printf(cx, "g_%s", t[i].of->argname ? t[i].of->argname : t[i].of->name),
		                    t[i].of->target, t[i].param->type)->val;
	s.lr = add_input(&s, InUser, intern_str(cx, "lr"), NULL, type_tensor(cx, DtF64, 0, NULL))->val;
	s.count = call(&s, "fxcc.optim_step", (Arg[]){arg_val(counted)}, 1, 1);
	for (int i = 0; i < n && s.ok; i++)
		grad[i] = clipped(&s, grad[i]);
	if (s.ok)
		clip_norm(&s, grad, n);
	for (int i = 0; i < n && s.ok; i++)
		update(&s, &t[i], grad[i]);
	if (!s.ok)
		return NULL;
	add_result(&s, ResBufferMut, step, s.count);
	node_output(s.g, &(Arg){.kind = ArgList, .list = {s.result.v, s.result.n}}, NOLOC);
	return graph_infer(s.g) ? m : NULL;
}
