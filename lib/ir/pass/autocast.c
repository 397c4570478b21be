/* autocast.c - torch.autocast: what dtype an operator computes in.
 *
 * As ATen's dispatcher for the CPU does: operators that gain from it get their f32 and
 * half tensors in the mode's dtype, operators that need the range get theirs in f32, and
 * those that join tensors get the widest of theirs.  f64 is never touched.  The casts
 * become nodes of their own.  Text that enters and leaves the mode is read so (front);
 * --autocast puts a whole program under it (the pass).
 */
#include "ir/autocast.h"
#include "ir/pass/pass.h"

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

bool
autocast_eligible(const Val *v)
{
	return v->type && v->type->kind == TyTensor && dt_float(v->type->dt) && v->type->dt != DtF64;
}

enum dtype
autocast_dtype(const OpDef *op, enum dtype mode, bool *wide)
{
	*wide = false;
	if (mode == DtNone || strncmp(op->name, "aten.", 5) != 0)
		return DtNone;
	*wide = in(widest, op);
	return in(lower, op) ? mode : in(single, op) ? DtF32 : DtNone;
}

/* ---- a whole graph --------------------------------------------------------------------- */

typedef struct Casts {
	Graph *g;
	Node *before;
	enum dtype dt;
	Val **made;            /* by id of a parameter: its cast, which is made once */
	uint32_t nmade;
	bool ok;
} Casts;

static void
widen(void *arg, Use *u)
{
	Casts *c = arg;

	if (autocast_eligible(u->val))
		c->dt = c->dt == DtNone ? u->val->type->dt : dt_promote(c->dt, u->val->type->dt);
}

static Val *
cast(Casts *c, Val *v)
{
	const OpDef *op = op_find("aten.to.dtype");
	Arg self = arg_val(v), dt = arg_dtype(c->dt), all[16];
	Str key = intern_str(c->g->cx, "dtype");
	bool leaf = v->id < c->nmade && v->def->op->flags & OP(Leaf);
	Node *n;

	if (leaf && c->made[v->id] && c->made[v->id]->type->dt == c->dt)
		return c->made[v->id];
	if (!op_bind(c->g->cx, c->before->loc, op, &self, 1, &key, &dt, 1, all))
		return NULL;
	n = node_new(c->g, op, all, op->nparam, 1, c->before, c->before->loc);
	node_inherit(n, c->before);
	if (!node_infer(n))
		return NULL;
	if (leaf)
		c->made[v->id] = &n->out[0];
	return &n->out[0];
}

static Arg
castarg(Casts *c, const Arg *a)
{
	Arg r = *a;
	Val *v;

	if (a->kind == ArgVal) {
		v = autocast_eligible(a->use->val) && a->use->val->type->dt != c->dt ? cast(c, a->use->val) : a->use->val;
		c->ok &= v != NULL;
		return arg_val(v ? v : a->use->val);
	}
	if (a->kind != ArgList)
		return r;
	r.list.v = NEWN(c->g->arena, Arg, a->list.n + 1);
	for (int i = 0; i < a->list.n; i++)
		r.list.v[i] = castarg(c, &a->list.v[i]);
	return r;
}

static bool
castnode(Casts *c, Node *n, enum dtype mode)
{
	Arg *arg = NEWN(c->g->arena, Arg, n->narg + 1);
	bool wide;

	c->before = n;
	c->dt = autocast_dtype(n->op, mode, &wide);
	if (wide)
		node_operands(n, widen, c);
	if (c->dt == DtNone)
		return c->ok;
	for (int i = 0; i < n->narg; i++)
		arg[i] = castarg(c, &n->arg[i]);
	if (c->ok)
		node_setargs(n, arg, n->narg);
	return c->ok;
}

bool
autocast_node(Node *n, enum dtype mode)
{
	Casts c = {.g = n->graph, .ok = true};

	return mode == DtNone || castnode(&c, n, mode);
}

bool
pass_autocast(Graph *g)
{
	enum dtype mode = g->mod->autocast;
	Casts c = {.g = g, .ok = true, .nmade = g->nval, .made = NEWN(g->arena, Val *, g->nval + 1)};

	for (Node *n = g->first; mode != DtNone && n && c.ok; n = n->next) {
		if (n->op->flags & OP(Leaf))
			continue;
		c.ok = castnode(&c, n, mode);
		n->annot = NULL;
		c.ok = c.ok && node_infer(n);
	}
	return c.ok;
}
