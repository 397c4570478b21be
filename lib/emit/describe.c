/* describe.c - fxcc_module: what an artifact says of itself to loaders. */
#include "emit/tab.h"
#include "rt/model.h"

static size_t
type_bytes(Ctx *cx, const Type *t)
{
	int64_t n = 0;

	sym_isconst(type_numel(cx, t), &n);
	return (size_t)n * dtypeinfo[t->dt].bytes;
}

static void
dims(Tab *t, const char *what, const Type *y)
{
	if (y->kind != TyTensor || y->rank == 0)
		return;
	data_open(t->d, "fxcc_dim", tab_name(t->a, what), y->rank, DataConst);
	for (int i = 0; i < y->rank; i++) {
		int64_t k;
		bool fixed = sym_isconst(y->dim[i], &k);
		data_begin(t->d);
		data_str(t->d, fixed ? NULL : sym_str(t->a->cx, y->dim[i]));
		data_int(t->d, 64, fixed ? k : -1);
		data_int(t->d, 64, fixed ? k : y->dim[i]->lo);
		data_int(t->d, 64, fixed ? k : y->dim[i]->hi);
		data_int(t->d, 64, 1);
		data_end(t->d);
	}
	data_close(t->d);
}

typedef struct Info { const char *name, *fqn; const Type *type; int kind; uint32_t flags; int64_t offset; } Info;

static void
put_info(Tab *t, const Info *i, const char *dim)
{
	bool tensor = i->type->kind == TyTensor;
	DLDataType d = fxrt_dltype(tensor ? (int)i->type->dt : i->type->sym->isfloat ? DtF64 : DtI64);

	data_begin(t->d);
	data_str(t->d, i->name);
	data_str(t->d, i->fqn);
	data_begin(t->d);
	data_int(t->d, 8, d.code);
	data_int(t->d, 8, d.bits);
	data_int(t->d, 16, d.lanes);
	data_end(t->d);
	data_int(t->d, 32, tensor ? i->type->rank : 0);
	data_int(t->d, 32, i->kind);
	data_ptr(t->d, tensor && i->type->rank ? tab_name(t->a, dim) : NULL, 0);
	data_int(t->d, 32, i->flags);
	data_int(t->d, 64, i->offset);
	data_int(t->d, 64, tensor ? (int64_t)type_bytes(t->a->cx, i->type) : 8);
	data_begin(t->d);
	for (int k = 0; k < 32; k++)
		data_int(t->d, 8, 0);
	data_end(t->d);
	data_end(t->d);
}

static void
infos(Tab *t, const char *what, const Info *v, int n)
{
	for (int i = 0; i < n; i++)
		dims(t, arena_printf(t->a->a, "%sinfodim%d", what, i), v[i].type);
	data_open(t->d, "fxcc_tensor_info", tab_name(t->a, arena_printf(t->a->a, "%sinfo", what)), n, DataConst);
	for (int i = 0; i < n; i++)
		put_info(t, &v[i], arena_printf(t->a->a, "%sinfodim%d", what, i));
	data_close(t->d);
}

static int
known_params(Artifact *a, Info *v)
{
	int n = 0;

	for (int i = 0; i < a->mod->in.n; i++) {
		const Input *in = &a->mod->in.v[i];
		if (in->val == NULL || in->weight == NULL || in->weight->data == NULL || in->kind == InUser)
			continue;
		int s = artifact_state(a, in), w = artifact_weight(a, in);
		v[n++] = (Info){in->name, in->target, in->val->type,
		                in->kind == InParam ? FXCC_PARAM : in->kind == InBuffer ? FXCC_BUFFER : FXCC_CONST,
		                s >= 0 && a->state.v[s].written ? FXCC_WRITTEN : 0,
		                w >= 0 ? (int64_t)(a->weightat + a->weight.v[w].offset) : tab_konst(a, in->weight)};
	}
	return n;
}

static bool
unknown_size(const Artifact *a, const Type *t)
{
	for (int d = 0; t->kind == TyTensor && d < t->rank; d++)
		for (int i = a->nsize; i < a->sym.n; i++)
			if (sym_uses(t->dim[d], a->sym.v[i]))
				return true;
	return false;
}

/* Has the input, or the state, a gradient? */
static uint32_t
trained(const Artifact *a, int port, Str fqn)
{
	const Entry *b = artifact_entry(a, FxrtBackward);

	for (int i = 0; b && i < b->out.n; i++)
		if ((port >= 0 && b->out.v[i].alias == port) || (fqn && b->out.v[i].fqn == fqn))
			return FXCC_TRAINED;
	return 0;
}

static const uint32_t viewflag[] = {0, FXCC_VIEW_IN, FXCC_VIEW_STATE, FXCC_VIEW_OUT};

static void
describe_forward(Tab *t, Info *v)
{
	const Artifact *a = t->a;
	const Ports *in = &a->entry[0].in, *out = &a->entry[0].out;

	for (int i = 0; i < in->n; i++) {
		const Port *p = &in->v[i];
		v[i] = (Info){p->name, p->fqn, p->type, p->type->kind == TySym ? FXCC_SIZE : p->kind,
		              (p->written ? FXCC_WRITTEN : 0) | (p->after ? FXCC_RESHAPED : 0) | trained(a, i, NULL), 0};
	}
	infos(t, "in", v, in->n);
	for (int i = 0; i < out->n; i++) {
		const Port *p = &out->v[i];
		v[i] = (Info){p->name, p->fqn, p->type, FXCC_OUTPUT,
		              (p->alias >= 0 ? FXCC_ALIAS_IN : 0) | (unknown_size(a, p->type) ? FXCC_DYNAMIC : 0) | (p->onlybase ? FXCC_BASE : 0) | viewflag[p->viewof],
		              p->viewof ? p->base : p->alias >= 0 ? p->alias : 0};
	}
	infos(t, "out", v, out->n);
}

static void
describe_backward(Tab *t, Info *v)
{
	const Artifact *a = t->a;
	const Entry *b = artifact_entry(a, FxrtBackward);

	for (int i = 0; b && i < b->in.n; i++)
		v[i] = (Info){b->in.v[i].name, b->in.v[i].fqn, b->in.v[i].type, FXCC_TANGENT, b->in.v[i].absent == FxrtOne ? FXCC_ONE : 0, b->in.v[i].alias};
	infos(t, "tangent", v, b ? b->in.n : 0);
	for (int i = 0; b && i < b->out.n; i++)
		v[i] = (Info){b->out.v[i].name, b->out.v[i].fqn, b->out.v[i].type, FXCC_GRAD, 0, b->out.v[i].alias};
	infos(t, "grad", v, b ? b->out.n : 0);
	for (int i = 0; i < a->saved.n; i++) {
		const Saved *s = &a->saved.v[i];
		int64_t at = -1;
		sym_isconst(s->offset, &at);
		v[i] = (Info){s->name, NULL, s->type, FXCC_SAVED, s->donated ? FXCC_DONATED : 0, at};
	}
	infos(t, "saved", v, a->saved.n);
}

static int
describe(Tab *t)
{
	Artifact *a = t->a;
	const Entry *b = artifact_entry(a, FxrtBackward);
	int nmax = a->entry[0].in.n + a->entry[0].out.n + a->mod->in.n + a->saved.n + a->state.n + a->weight.n + 1, n;
	Info *v = NEWN(a->a, Info, nmax + (b ? b->in.n + b->out.n : 0));

	describe_forward(t, v);
	describe_backward(t, v);
	for (int i = 0; i < a->state.n; i++) {
		const State *s = &a->state.v[i];
		v[i] = (Info){s->name, s->fqn, s->in->val->type, s->in->kind == InParam ? FXCC_PARAM : FXCC_BUFFER,
		              (s->written ? FXCC_WRITTEN : 0) | trained(a, -1, s->fqn), (int64_t)s->offset};
	}
	infos(t, "state", v, a->state.n);
	for (int i = 0; i < a->weight.n; i++) {
		const State *s = &a->weight.v[i];
		v[i] = (Info){s->name, s->fqn, s->in->val->type, i >= a->nplain ? FXCC_CONST : s->in->kind == InParam ? FXCC_PARAM : FXCC_BUFFER,
		              0, (int64_t)s->offset};
	}
	infos(t, "weight", v, a->weight.n);
	n = known_params(a, v);
	infos(t, "param", v, n);
	return n;
}

void
tab_module(Tab *t)
{
	Artifact *a = t->a;
	int nparam = describe(t);
	const Entry *b = artifact_entry(a, FxrtBackward);
	const char *p = a->opt->prefix;

	data_open(t->d, "fxcc_module", arena_printf(a->a, "%smodule", a->p), 1, DataConst);
	data_begin(t->d);
	data_int(t->d, 32, FXCC_ABI_MAJOR);
	data_int(t->d, 32, FXCC_ABI_MINOR);
	data_int(t->d, 32, sizeof(fxcc_module));
	data_int(t->d, 32, (b ? FXCC_TRAINS : 0) | (a->random ? FXCC_RANDOM : 0) | (a->donates ? FXCC_DONATES : 0));
	data_int(t->d, 64, (int64_t)a->signature);
	data_str(t->d, p);
	data_str(t->d, "0.1");
	data_str(t->d, a->opt->command ? a->opt->command : "");
	data_str(t->d, artifact_target(a));
	data_int(t->d, 32, a->entry[0].in.n);
	data_int(t->d, 32, a->entry[0].out.n);
	data_int(t->d, 32, nparam);
	data_int(t->d, 32, b ? b->out.n : 0);
	data_int(t->d, 32, a->saved.n);
	data_int(t->d, 32, a->unit.n);
	data_ptr(t->d, tab_name(a, "ininfo"), 0);
	data_ptr(t->d, tab_name(a, "outinfo"), 0);
	data_ptr(t->d, tab_name(a, "paraminfo"), 0);
	data_ptr(t->d, tab_name(a, "gradinfo"), 0);
	data_ptr(t->d, tab_name(a, "savedinfo"), 0);
	data_int(t->d, 64, (int64_t)artifact_ctxsize(a));
	data_int(t->d, 64, 64);
	data_int(t->d, 64, 64);
	data_fn(t->d, tab_name(a, "arena_need"));
	data_fn(t->d, arena_printf(a->a, "%s_init", p));
	data_fn(t->d, "fxrt_bind");
	data_fn(t->d, tab_name(a, "out_shape"));
	data_fn(t->d, "fxrt_forward");
	data_fn(t->d, b ? "fxrt_backward" : NULL);
	data_fn(t->d, "fxrt_fini");
	data_int(t->d, 32, a->state.n);
	data_ptr(t->d, tab_name(a, "stateinfo"), 0);
	data_fn(t->d, "fxrt_state_of");
	data_int(t->d, 32, b ? b->in.n : 0);
	data_ptr(t->d, tab_name(a, "tangentinfo"), 0);
	data_int(t->d, 64, (int64_t)a->nstate);
	data_fn(t->d, "fxrt_reset");
	data_fn(t->d, "fxrt_seed");
	data_fn(t->d, "fxrt_rng");
	data_fn(t->d, tab_name(a, "out_view"));
	data_fn(t->d, artifact_entry(a, FxrtStep) ? "fxrt_update" : NULL);
	data_real(t->d, a->opt->lr);
	data_int(t->d, 32, a->nplain);
	data_ptr(t->d, tab_name(a, "weightinfo"), 0);
	static const char *const fn[] = {"weight_set", "weight_get", "weight_fold", "weight_swap"};
	bool outside = a->opt->weights != WeightsEmbed;
	for (int i = 0; i < COUNT(fn); i++)
		data_fn(t->d, a->nplain ? arena_printf(a->a, "%s_%s", p, fn[i]) : NULL);
	data_fn(t->d, outside ? arena_printf(a->a, "%s_load", p) : NULL);
	data_fn(t->d, tab_name(a, "in_after"));
	data_fn(t->d, "fxrt_user");
	data_end(t->d);
	data_close(t->d);
}

