/* autocast.c - torch.autocast: what dtype an operator computes in.
 *
 * Dynamo's text enters and leaves the mode by calls, an exported program wraps a
 * sub-graph in it.  As ATen's dispatcher for the CPU does: operators that gain from
 * it get their f32 and half tensors in the mode's dtype, operators that need the
 * range get theirs in f32, and those that join tensors get the widest of theirs.
 * f64 is never touched.  The casts become nodes of their own.
 */
#include "front/text.h"

static const char *const lower[] = {
	"conv1d", "conv2d", "conv3d", "bmm", "mm", "linalg_vecdot", "baddbmm", "addmm", "addbmm", "linear", "_convolution",
	"convolution", "matmul", "conv_tbc", "mkldnn_rnn_layer", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
	"scaled_dot_product_attention", "_native_multi_head_attention", NULL,
};
static const char *const single[] = {
	"avg_pool3d", "binary_cross_entropy", "grid_sampler", "polar", "prod", "quantile", "nanquantile", "stft", "cdist",
	"trace", "cholesky", "inverse", "lu_solve", "pinverse", "max_pool3d", "max_unpool2d", "max_unpool3d",
	"adaptive_avg_pool3d", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d",
	"replication_pad3d", "mse_loss", "cosine_embedding_loss", "nll_loss", "nll_loss2d", "hinge_embedding_loss",
	"poisson_nll_loss", "smooth_l1_loss", "cross_entropy_loss", "l1_loss", "huber_loss", "margin_ranking_loss",
	"soft_margin_loss", "triplet_margin_loss", "multi_margin_loss", "ctc_loss", "kl_div", "multilabel_margin_loss",
	"binary_cross_entropy_with_logits", "linalg_cond", "linalg_det", "linalg_inv", "linalg_inv_ex", "linalg_norm",
	"linalg_qr", "linalg_solve", "linalg_svd", "linalg_eigh", "linalg_cholesky", "linalg_matrix_rank", "linalg_pinv", NULL,
};
static const char *const widest[] = {"stack", "cat", "index_copy", NULL};

void
autocast_enter(Reader *r, enum dtype dt)
{
	vec_push(r->a, &r->autocast, dt);
}

void
autocast_exit(Reader *r)
{
	if (r->autocast.n)
		r->autocast.n--;
}

static bool
in(const char *const *list, const OpDef *op)
{
	const char *name = op->name + 5;

	for (; *list; list++) {
		size_t n = strlen(*list);

		if (strncmp(name, *list, n) == 0 && (name[n] == '.' || !name[n]))
			return true;
	}
	return false;
}

static bool
eligible(const Val *v)
{
	return v->type && v->type->kind == TyTensor && dt_float(v->type->dt) && v->type->dt != DtF64;
}

/* The widest dtype among the tensors of an argument. */
static bool
widen(Fn *f, const Arg *a, enum dtype *dt)
{
	if (a->kind == ArgList)
		for (int i = 0; i < a->list.n; i++)
			if (!widen(f, &a->list.v[i], dt))
				return false;
	if (a->kind != ArgVal)
		return true;
	if (!fn_known(f, a->use->val))
		return false;
	if (eligible(a->use->val))
		*dt = *dt == DtNone ? a->use->val->type->dt : dt_promote(*dt, a->use->val->type->dt);
	return true;
}

static bool
cast(Fn *f, Arg *a, enum dtype dt)
{
	Arg *l;
	Tv v[2], out;

	if (a->kind == ArgList) {
		l = arena_dup(f->r->a, a->list.v, sizeof *l * (size_t)a->list.n);
		for (int i = 0; i < a->list.n; i++)
			if (!cast(f, &l[i], dt))
				return false;
		a->list.v = l;
		return true;
	}
	if (a->kind != ArgVal)
		return true;
	if (!fn_known(f, a->use->val))
		return false;
	if (!eligible(a->use->val) || a->use->val->type->dt == dt)
		return true;
	v[0] = tv_val(a->use->val);
	v[1] = tv_ofarg(arg_dtype(dt));
	autocast_enter(f->r, DtNone);
	bool ok = tv_aten(f, &out, "to", 2, v);
	autocast_exit(f->r);
	if (ok && tv_tensor(&out))
		*a = arg_val(tv_tensor(&out));
	return ok;
}

bool
autocast_args(Fn *f, const OpDef *op, Arg *arg)
{
	enum dtype mode = f->r->autocast.v[f->r->autocast.n - 1], dt = DtNone;

	if (mode == DtNone || !tv_starts(op->name, "aten."))
		return true;
	if (in(lower, op))
		dt = mode;
	else if (in(single, op))
		dt = DtF32;
	else if (in(widest, op))
		for (int i = 0; i < op->nparam; i++)
			if (!widen(f, &arg[i], &dt))
				return false;
	for (int i = 0; dt != DtNone && i < op->nparam; i++)
		if (!cast(f, &arg[i], dt))
			return false;
	return true;
}
