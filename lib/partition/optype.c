/* optype.c - what kind of work an operator is: cheap, expensive, a view.
 *
 * PyTorch's partitioner goes by lists of packets, and so do we.  Among the operators that
 * remain in a graph of ours are some that no list of PyTorch's has; these are judged by what
 * the tables say of them.
 */
#include <stdlib.h>
#include "partition/part.h"

static const struct listed { const char *packet; unsigned type; } list[] = {
#define R OpRecompute
#define D OpRandomList
#define I OpIntensive
#define V OpViewList
#define PARTOP(packet, type) {packet, type},
#include "partition/oplist.def"
#undef PARTOP
#undef R
#undef D
#undef I
#undef V
};

/* Length of "aten.add" in "aten.add.Tensor". */
static size_t
packetlen(const char *name)
{
	const char *dot = strchr(name, '.'), *over = dot ? strchr(dot + 1, '.') : NULL;

	return over ? (size_t)(over - name) : strlen(name);
}

bool
op_is(const OpDef *op, const char *packet)
{
	size_t n = packetlen(op->name);

	return strlen(packet) == n && memcmp(op->name, packet, n) == 0;
}

typedef struct Key { const char *s; size_t n; } Key;

static int
compare(const void *a, const void *b)
{
	const Key *k = a;
	const char *p = ((const struct listed *)b)->packet;
	int c = strncmp(k->s, p, k->n);

	return c ? c : -(int)(unsigned char)p[k->n];
}

/* Sums over products of two tensors, or whole algorithms. */
static bool
heavy(const OpDef *op)
{
	int tensors = 0;

	if (op->lower || op->flags & (OP(Opaque) | OP(Hop)))
		return true;
	for (int i = 0; i < op->nparam; i++)
		tensors += op->param[i].type == AtTensor;
	return tensors > 1 && op->value && strstr(op->value, "sum(");
}

/* Elements that are picked or made one by one, with no sum over others. */
static bool
cheap(const OpDef *op)
{
	if (op->flags & (OP(Mutates) | OP(Effect) | OP(Hop) | OP(Dynamic)))
		return false;
	return op->flags & OP(Pointwise) || (op->value && !op->lower && !strstr(op->value, "for "));
}

/* Is there an operator of that packet, or does PyTorch know one? */
bool
packet_known(Str packet)
{
	Key k = {packet, strlen(packet)};

	if (bsearch(&k, list, COUNT(list), sizeof *list, compare))
		return true;
	for (int i = 0; i < noptab; i++)
		if (op_is(&optab[i], packet))
			return true;
	return false;
}

static unsigned
builtin(const Module *m, const OpDef *op)
{
	Key k = {op->name, packetlen(op->name)};
	const struct listed *l = bsearch(&k, list, COUNT(list), sizeof *list, compare);

	if (l)
		return l->type;
	if (op->flags & OP(Sym))
		return OpRecompute;
	if (m->decomp == DecompTorch)
		return 0;
	if (op->flags & OP(View))
		return OpRecompute | OpViewList;
	if (op->flags & OP(Random))
		return OpRandomList;
	if (cheap(op))
		return OpRecompute;
	return heavy(op) ? OpIntensive : 0;
}

/* lists: the user's, in place of ours; NULL. */
unsigned
optype(const Module *m, const OpDef *op, const OpLists *lists)
{
	unsigned type = builtin(m, op);

	if (!lists)
		return type;
	return (type & ~lists->given) | (unsigned)(uintptr_t)map_get(&lists->type, intern(m->cx, op->name, packetlen(op->name)));
}

/* Attention without dropout draws nothing. */
bool
op_draws(const Node *n)
{
	const Arg *p;

	if (!(n->op->flags & OP(Random)))
		return false;
	p = node_arg(n, "dropout_p");
	return !(p && ((p->kind == ArgFloat && p->f == 0) || (p->kind == ArgInt && sym_is(p->i, 0))));
}

bool
op_mutable(const OpDef *op)
{
	for (int i = 0; i < op->nparam; i++)
		if (op->param[i].mutated)
			return true;
	return (op->flags & OP(Mutates)) != 0;
}

/* ---- work -------------------------------------------------------------------------- */

static bool
look(void *arg, const Sym *var, int64_t *k)
{
	(void)arg;
	*k = var->lo > 4096 ? var->lo : var->hi < 4096 ? var->hi : 4096;
	return true;
}

/* 4096 for a free size, as near as its range allows. */
int64_t
sym_hint(const Sym *s)
{
	int64_t k;

	return sym_eval(s, look, NULL, &k) ? k : 4096;
}

int64_t
type_bytes(Ctx *cx, const Type *t)
{
	return sym_hint(type_numel(cx, t))*dtypeinfo[t->dt].bytes;
}

static double
size(const Node *n, int arg, int d)
{
	const Val *v = arg_tensor(n, arg);

	return v && v->type && d < v->type->rank ? (double)sym_hint(v->type->dim[d]) : 1;
}

static double
numel(const Type *t, int from)
{
	double k = 1;

	for (int i = from; t && t->kind == TyTensor && i < t->rank; i++)
		k *= (double)sym_hint(t->dim[i]);
	return k;
}

/* Of a product of matrices (b of them), the first factor being argument a. */
static double
product(const Node *n, int a, int b)
{
	return b ? 2 * size(n, a, 0) * size(n, a, 1) * size(n, a, 2) * size(n, a + 1, 2)
	         : 2 * size(n, a, 0) * size(n, a, 1) * size(n, a + 1, 1);
}

static double
convolution(const Node *n)
{
	const Val *w = arg_tensor(n, 1), *x = arg_tensor(n, 0);
	const Arg *t = node_arg(n, "transposed");
	bool transposed = t && t->kind == ArgBool && t->b;
	const Type *at = transposed ? x ? x->type : NULL : n->out[0].type;

	return w && x ? 2 * size(n, 0, 0) * numel(at, 2) * numel(w->type, 0) : 1;
}

/* So many products of all queries with all keys. */
static double
attention(const Node *n, int products)
{
	const Val *k = arg_tensor(n, 1);

	return 2.0 * products * numel(arg_tensor(n, 0)->type, 0) * size(n, 1, k->type->rank - 2);
}

/* What torch.utils.flop_counter counts: products, convolutions, attention. */
double
node_flops(const Node *n)
{
	const OpDef *op = n->op;
	double k = 1;

	if (op_is(op, "aten.mm") || op_is(op, "aten._scaled_mm"))
		k = product(n, 0, 0);
	else if (op_is(op, "aten.addmm"))
		k = product(n, 1, 0);
	else if (op_is(op, "aten.bmm"))
		k = product(n, 0, 1);
	else if (op_is(op, "aten.baddbmm"))
		k = product(n, 1, 1);
	else if (op_is(op, "aten.convolution") || op_is(op, "aten._convolution"))
		k = convolution(n);
	else if (strncmp(op->name, "fxcc.flash", 10) == 0)
		k = attention(n, op->name[10] == '_' ? 5 : 2);
	else if (strncmp(op->name, "aten._scaled_dot_product", 24) == 0)
		k = 2 * numel(arg_tensor(n, 0) ? arg_tensor(n, 0)->type : NULL, 0) * size(n, 1, 2) +
		    2 * size(n, 0, 0) * size(n, 0, 1) * size(n, 0, 2) * size(n, 1, 2) * size(n, 2, 3);
	return k > 1 ? k : 1;
}
