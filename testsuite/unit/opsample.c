/* opsample.c - read a `sample` case of the operator tables.
 *
 * Arguments stand in order: a tensor (or list of tensors) goes to the first
 * free parameter that takes one, None to the first free optional one, any other
 * literal to the first free parameter that takes no tensor.  Values are random
 * but the same each time.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include "ir/lang.h"
#include "opsample.h"

typedef struct Reader {
	Sample *s;
	const char *p;
	int param;             /* that tensors being read belong to */
	bool hastensor;        /* the literal just read has one in it */
	bool failed;
} Reader;

double
sample_random(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static void
blank(Reader *r)
{
	while (isspace((unsigned char)*r->p) || *r->p == ',')
		r->p++;
}

static Arg
wrong(Reader *r, const char *what)
{
	if (!r->failed)
		error(r->s->cx, NOLOC, "%s:%d: sample: %s at '%.20s'", r->s->op->file, r->s->op->line, what, r->p);
	r->failed = true;
	return arg_none();
}

static void
fill(Sample *s, Tensor *t, double lo, double hi)
{
	t->bytes = (size_t)tensor_numel(t) * dtypeinfo[t->dt].bytes;
	t->data = arena_alloc(s->a, t->bytes + 16, 16);
	for (int64_t k = 0, n = tensor_numel(t); k < n; k++) {
		double u = sample_random(&s->seed);
		if (t->dt == DtB8)
			tensor_seti(t, k, u < 0.5);
		else if (dt_int(t->dt))
			tensor_seti(t, k, (int64_t)floor(lo + u * (hi - lo + 1)));
		else
			tensor_set(t, k, lo + u * (hi - lo));
		if (dtypeinfo[t->dt].kind == KindComplex) {
			Tensor half = {.dt = t->dt == DtC64 ? DtF32 : DtF64, .data = t->data};
			tensor_set(&half, 2 * k + 1, u - 0.5);
		}
	}
}

static const Sym *
dimension(Sample *s, int64_t n)
{
	if (s->symbolic && n > 1)
		return sym_var(s->cx, intern_printf(s->cx, "s%lld", (long long)n), 2, INT64_MAX);
	return sym_const(s->cx, n);
}

static Arg
tensorarg(Reader *r, enum dtype dt)
{
	Sample *s = r->s;
	Tensor *t = &s->in[s->nin];
	const Sym *dim[MaxRank];
	double lo = dtypeinfo[dt].kind == KindUint ? 0 : dt_int(dt) ? -9 : -2, hi = dt_int(dt) ? 9 : 2;
	char *end;
	Node *n;

	if (s->nin == MaxIn)
		return wrong(r, "too many tensors");
	*t = (Tensor){.dt = s->f64 && dt_float(dt) ? DtF64 : dt};
	r->p++;
	for (blank(r); *r->p && *r->p != ']'; blank(r)) {
		t->dim[t->rank] = strtoll(r->p, &end, 10);
		if (end == r->p || t->rank == MaxRank - 1)
			return wrong(r, "no size");
		dim[t->rank] = dimension(s, t->dim[t->rank]);
		t->rank++;
		r->p = end;
	}
	r->p += *r->p == ']';
	if (*r->p == '{') {
		lo = strtod(r->p + 1, &end);
		if (*end != ',')
			return wrong(r, "no range");
		hi = strtod(end + 1, &end);
		r->p = end + (*end == '}');
	}
	fill(s, t, lo, hi);
	n = node_placeholder(s->g, intern_printf(s->cx, "%s%d", s->op->param[r->param].name, s->nin),
	                     type_tensor(s->cx, t->dt, t->rank, dim), NOLOC);
	s->val[s->nin] = &n->out[0];
	s->param[s->nin++] = r->param;
	r->hastensor = true;
	return arg_val(&n->out[0]);
}

static Arg literal(Reader *);

static Arg
list(Reader *r)
{
	VEC(Arg) v = {0};

	r->p++;
	for (blank(r); *r->p && *r->p != ']' && !r->failed; blank(r))
		vec_push(r->s->a, &v, literal(r));
	r->p += *r->p == ']';
	return arg_list(r->s->a, v.v, v.n);
}

static Arg
word(Reader *r, size_t n)
{
	const char *w = r->p;
	enum dtype dt = dtype_parse(w, n);

	r->p += n;
#define IS(text) (n == sizeof text - 1 && memcmp(w, text, n) == 0)
	if (dt != DtNone && *r->p == '[')
		return tensorarg(r, dt);
	if (dt != DtNone)
		return arg_dtype(r->s->f64 && dt_float(dt) ? DtF64 : dt);
	if (IS("None"))
		return arg_none();
	if (IS("True") || IS("False"))
		return arg_bool(IS("True"));
	if (IS("inf") || IS("nan"))
		return arg_float(IS("inf") ? INFINITY : NAN);
	r->p -= n;
	return wrong(r, "unknown word");
}

static Arg
literal(Reader *r)
{
	const char *e;
	char *end;
	size_t n;

	if (*r->p == '[')
		return list(r);
	if (*r->p == '\'') {
		if (!(e = strchr(r->p + 1, '\'')))
			return wrong(r, "open string");
		Arg a = arg_str(intern(r->s->cx, r->p + 1, (size_t)(e - r->p - 1)));
		r->p = e + 1;
		return a;
	}
	for (n = 0; isalnum((unsigned char)r->p[n]) || r->p[n] == '_'; n++)
		;
	if (isalpha((unsigned char)*r->p))
		return word(r, n);
	if (strncmp(r->p, "-inf", 4) == 0) {
		r->p += 4;
		return arg_float(-INFINITY);
	}
	n = strspn(r->p, "+-0123456789");
	double f = strtod(r->p, &end);
	if (end == r->p)
		return wrong(r, "no literal");
	if ((size_t)(end - r->p) == n) {
		int64_t i = strtoll(r->p, &end, 10);
		r->p = end;
		return arg_int(r->s->cx, i);
	}
	r->p = end;
	return arg_float(f);
}

static bool
tensorparam(const OpDef *op, int k)
{
	return op->param[k].type == AtTensor;
}

/* The parameter that the literal beginning at r->p is for. */
static int
target(Reader *r, const bool *full)
{
	const OpDef *op = r->s->op;
	bool none = strncmp(r->p, "None", 4) == 0 && !isalnum((unsigned char)r->p[4]);
	const char *q = r->p + strspn(r->p, "[");
	size_t n = strspn(q, "abcdefghijklmnopqrstuvwxyz0123456789");
	bool tensor = (dtype_parse(q, n) != DtNone && q[n] == '[') || (*r->p == '[' && strncmp(q, "None", 4) == 0);

	for (int k = 0; k < op->nparam; k++)
		if (!full[k] && (none ? op->param[k].opt :
		    tensor ? tensorparam(op, k) : !tensorparam(op, k) && !op->param[k].kwonly))
			return k;
	for (int k = 0; k < op->nparam; k++)
		if (!full[k])
			return k;
	return -1;
}

/* Cases are shared by overloads: a number for a tensor is one without dimensions,
 * a tensor for a number is a number of its kind. */
static Arg
fitted(Reader *r, int k)
{
	const Param *p = &r->s->op->param[k];
	const char *q = r->p;
	int nin = r->s->nin;
	Arg a = literal(r);

	if (p->type == AtTensor && !p->list && (a.kind == ArgInt || a.kind == ArgFloat)) {
		r->p = a.kind == ArgInt ? "i64[]{1,3}" : "f32[]{0.5,2}";
		Arg t = literal(r);
		r->p = q + strcspn(q, ", ");
		return t;
	}
	if (p->type != AtTensor && !p->list && a.kind == ArgVal) {
		Tensor *t = &r->s->in[nin];
		bool isint = dt_int(t->dt);
		double v = tensor_numel(t) ? tensor_get(t, 0) : 1;
		r->s->nin = nin;
		node_delete(r->s->val[nin]->def);
		return isint ? arg_int(r->s->cx, (int64_t)v) : arg_float(v);
	}
	return a;
}

enum { Unknown = -2 };

/* The parameter that name= says; Unknown: there is none; -1: no name. */
static int
named(Reader *r)
{
	size_t n = 0;

	while (isalnum((unsigned char)r->p[n]) || r->p[n] == '_')
		n++;
	if (n == 0 || r->p[n] != '=')
		return -1;
	for (int k = 0; k < r->s->op->nparam; k++) {
		const char *name = r->s->op->param[k].name;
		if (strlen(name) == n && memcmp(name, r->p, n) == 0) {
			r->p += n + 1;
			return k;
		}
	}
	return Unknown;
}

/* Does the schema have what the case names, and the case what the schema needs?
 * Overloads share cases, and not every case is for each of them. */
static bool
fits(Reader *r, const bool *full, const Arg *arg, const int *param, int n)
{
	const OpDef *op = r->s->op;

	for (int k = 0; k < op->nparam; k++)
		if (!full[k] && !op->param[k].dflt)
			return false;
	for (int k = 0; k < n; k++)
		for (int j = 0; arg[k].kind == ArgList && j < arg[k].list.n; j++)
			if (arg[k].list.v[j].kind == ArgNone && !op->param[param[k]].elemopt)
				return false;
	return true;
}

static bool
arguments(Reader *r, Arg *out)
{
	Sample *s = r->s;
	const OpDef *op = s->op;
	Str *key = NEWN(s->a, Str, op->nparam + 1);
	Arg *arg = NEWN(s->a, Arg, op->nparam + 1);
	bool *full = NEWN(s->a, bool, op->nparam + 1);
	int *param = NEWN(s->a, int, op->nparam + 1), n = 0;

	for (blank(r); *r->p && !r->failed; blank(r)) {
		int k = named(r);
		if (k == Unknown || (k < 0 && (k = target(r, full)) < 0)) {
			s->unfit = true;
			return false;
		}
		r->param = k;
		full[k] = true;
		param[n] = k;
		key[n] = intern_str(s->cx, op->param[k].name);
		arg[n++] = fitted(r, k);
	}
	if (!r->failed && !fits(r, full, arg, param, n)) {
		s->unfit = true;
		return false;
	}
	return !r->failed && op_bind(s->cx, NOLOC, op, NULL, 0, key, arg, n, out);
}

bool
sample_make(Sample *s, Ctx *cx, const OpDef *op, const char *text, bool f64, bool symbolic)
{
	Reader r = {.s = s, .p = text};
	Arg *arg;
	const Type **type;
	int n = op->nret;

	*s = (Sample){.cx = cx, .a = ctx_arena(cx), .op = op, .text = text, .f64 = f64, .symbolic = symbolic,
	              .seed = 12345};
	s->mod = module_new(cx, intern_str(cx, "sample"));
	s->g = s->mod->main = graph_new(s->mod, intern_str(cx, "main"), NULL);
	arg = NEWN(s->a, Arg, op->nparam + 1);
	if (!arguments(&r, arg))
		return false;
	if (op->nret == 1 && op->ret[0].list && !infer_types(s->g, NOLOC, op, arg, &type, &n))
		return false;
	s->node = node_new(s->g, op, arg, op->nparam, n, NULL, NOLOC);
	return node_infer(s->node);
}

void
sample_output(Sample *s, Val *const *more, int n)
{
	Arg *list = NEWN(s->a, Arg, s->node->nout + n + 1);
	int m = 0;

	for (int k = 0; k < s->node->nout; k++)
		list[m++] = arg_val(&s->node->out[k]);
	for (int k = 0; k < n; k++)
		list[m++] = arg_val(more[k]);
	node_output(s->g, &(Arg){.kind = ArgList, .list = {list, m}}, NOLOC);
}

/* ---- comparing results ---- */

/* How far a result of dt may be from the exact one, relative to it. */
double
sample_tolerance(enum dtype dt)
{
	switch (dt) {
	case DtF64:  return 1e-9;
	case DtF32:  return 2e-4;
	case DtF16:  return 4e-3;
	case DtBF16: return 3e-2;
	default:     return dt_float(dt) ? 0.3 : 0;
	}
}

bool
sample_near(double a, double b, double tol)
{
	if (isnan(a) || isnan(b))
		return isnan(a) && isnan(b);
	return a == b || fabs(a - b) <= tol * (1 + fabs(b));
}
