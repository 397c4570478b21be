/* weigh.c - what it costs to save a value, and which ones are not computed again.
 *
 * The weight of a value is its bytes, growing with its distance from the backward part
 * (saving late is better: more may be fused), twice if nobody needs it in memory otherwise.
 * A ban says that forward's copy is the only one; it is a reason in words.
 */
#include <math.h>
#include "partition/part.h"

/* ---- weights ------------------------------------------------------------------ */

static bool
materialised(const Joint *j, int i)
{
	const Fx *x = &j->v[i];

	if (x->node->op == &opplaceholder || x->output)
		return true;
	for (int k = 0; k < x->nuser; k++)
		if (!fx_fusible(j, i, j->user[x->user + k]))
			return true;
	return false;
}

/* -1: infinite; then *cannot says why it cannot be saved. */
int64_t
fx_weight(const Joint *j, int i, const char **cannot)
{
	const Fx *x = &j->v[i];
	int64_t w;

	*cannot = NULL;
	if (x->sym)
		return x->val->type->sym->isfloat ? 4 : 1;
	if (x->val == NULL) {
		*cannot = "it is several values";
		return -1;
	}
	if (x->epilogue) {
		*cannot = "the caller writes this input after the forward part";
		return -1;
	}
	if (x->stat)
		return 0;
	if (j->o->recompute_views && x->type & OpViewList) {
		*cannot = "a view";
		return -1;
	}
	w = (int64_t)((double)x->bytes * pow(1.1, x->dist > 100 ? 100 : x->dist < 1 ? 1 : x->dist));
	return materialised(j, i) ? w : 2 * w;
}

/* ---- bans ------------------------------------------------------------------------ */

/* Does backward read it, or a view of it, by an operator that wants it in memory? */
static bool
wanted(const Joint *j, int i)
{
	VEC(int) todo = {0};

	if (j->v[i].type & OpViewList)
		return false;
	vec_push(j->a, &todo, i);
	while (todo.n > 0) {
		int at = todo.v[--todo.n];
		const Fx *x = &j->v[at];

		if (x->output)
			return true;
		for (int k = 0; k < x->nuser; k++) {
			int u = j->user[x->user + k];

			if (!j->v[u].fw && !fx_fusible(j, at, u))
				return true;
			if (j->v[u].type & OpViewList)
				vec_push(j->a, &todo, u);
		}
	}
	return false;
}

/* A sum over much: its result is a quarter of what it reads, or less. */
static bool
reduces(const Joint *j, const Fx *x)
{
	const Node *n = x->node;
	int64_t in = 0;

	for (int i = 0; i < n->narg; i++) {
		const Val *v = arg_tensor(n, i);
		int k = v ? j->of[v->id] : -1;

		if (k >= 0 && !(i < n->op->nparam && n->op->param[i].kwonly))
			in += j->v[k].bytes;
	}
	return x->bytes * 4 < in;
}

/* Why a node of the forward part must not be computed again; NULL: it may. */
const char *
ban_reason(const Joint *j, int i, const Bans *b)
{
	const Fx *x = &j->v[i];

	if (x->node->op->flags & OP(Leaf) || x->tuple >= 0)
		return NULL;
	if (x->node->recompute == MustSave)
		return "marked MUST_SAVE";
	if ((j->o->recompute_views && x->type & OpViewList) || op_is(x->node->op, "aten.lift_fresh") ||
	    op_is(x->node->op, "aten.lift_fresh_copy"))
		return NULL;
	if (b->allowlist && !(x->type & OpRecompute))
		return x->type & OpIntensive ? "expensive" : "not among the operators that may be recomputed";
	if (!b->allowlist && x->type & OpRandomList)
		return "random";
	if (!b->allowlist && x->type & OpIntensive)
		return "expensive";
	if (b->material && wanted(j, i))
		return "backward wants it in memory";
	if (b->dist && x->dist > b->dist && x->dist < 1000)   /* beyond 1000 PyTorch does not look */
		return "far from backward";
	if (b->reduction && reduces(j, x))
		return "a reduction";
	return NULL;
}

/* ---- heaps ------------------------------------------------------------------------- */

typedef struct Heap { Arena *a; int *v; int n, cap; } Heap;

static void
push(Heap *h, int key)
{
	int i = h->n;

	if (h->n == h->cap)
		h->v = vec_grow(h->a, h->v, &h->cap, sizeof *h->v);
	h->v[h->n++] = key;
	for (int up; i > 0 && h->v[up = (i - 1) / 2] > key; i = up) {
		h->v[i] = h->v[up];
		h->v[up] = key;
	}
}

static int
pop(Heap *h)
{
	int top = h->v[0], key = h->v[--h->n], i = 0;

	for (int c; (c = 2 * i + 1) < h->n; i = c) {
		c += c + 1 < h->n && h->v[c + 1] < h->v[c];
		if (h->v[c] >= key)
			break;
		h->v[i] = h->v[c];
	}
	h->v[i] = key;
	return top;
}

/* ---- used far apart --------------------------------------------------------------------- */

/* A key is 2*number + (reached by a fusible edge); in: which of the two were pushed this round. */
/* next: from a place on, the next node that cannot be fused with all that it reads. */
typedef struct Scan { Heap heap; int *in; int round; int *next; } Scan;

/* The first use, going down from the users of i, that cannot be fused with what is before it. */
static int
unfusible(const Joint *j, int i, int last, Scan *s)
{
	const Fx *x = &j->v[i];

	if (s->next[i + 1] > last)
		return last;
	s->heap.n = 0;
	s->round += 4;
	for (int k = 0; k < x->nuser; k++)
		if (j->v[j->user[x->user + k]].fw)
			push(&s->heap, 2 * j->user[x->user + k] + 1);
	while (s->heap.n > 0) {
		int key = pop(&s->heap), at = key / 2;

		if (key % 2 == 0)
			return at;
		for (int k = 0; k < j->v[at].nuser; k++) {
			int u = j->user[j->v[at].user + k], bit = 1 + fx_fusible(j, at, u);

			if (!j->v[u].fw || u > last)
				continue;
			if (s->in[u] < s->round)
				s->in[u] = s->round;
			if ((s->in[u] - s->round) & bit)
				continue;
			s->in[u] += bit;
			push(&s->heap, 2 * u + (bit == 2));
		}
	}
	return last;
}

static int *
barriers(const Joint *j)
{
	int *next = NEWN(j->a, int, j->n + 2);

	for (int i = 0; i < j->n; i++)
		for (int k = 0; j->v[i].fw && k < j->v[i].nuser; k++) {
			int u = j->user[j->v[i].user + k];

			if (j->v[u].fw && !fx_fusible(j, i, u))
				next[u] = u;
		}
	next[j->n] = next[j->n + 1] = j->n;
	for (int i = j->n - 1; i >= 0; i--)
		next[i] = next[i] == i && i > 0 ? i : next[i + 1];
	return next;
}

/* A value read nearby and, beyond something that cannot be fused, far away: the far reader could
 * not be fused with the near one when both are computed again. */
static void
apart(Joint *j, bool (*ban)(void *, int, const char *), void *arg, const Cut *c)
{
	Scan s = {.heap = {.a = j->a}, .in = NEWN(j->a, int, j->n), .next = barriers(j)};

	for (int i = 0; i < j->n; i++) {
		const Fx *x = &j->v[i];
		int last = -1, first, users = 0;

		for (int k = 0; x->fw && k < x->nuser; k++)
			if (j->v[j->user[x->user + k]].fw) {
				last = j->user[x->user + k];
				users++;
			}
		if (users == 0)
			continue;
		first = unfusible(j, i, last, &s);
		for (int k = 0; k < x->nuser; k++) {
			int u = j->user[x->user + k];

			if (j->v[u].fw && u > first && fx_fusible(j, i, u) && !c->why[u])
				ban(arg, u, "used far apart");
		}
	}
}

/* ---- long chains ---------------------------------------------------------------------------- */

/* A chain of fusible nodes from one end of the model to the other is cut every 100 nodes. */
static void
chains(Joint *j, bool (*ban)(void *, int, const char *), void *arg, const Cut *c)
{
	Heap h = {.a = j->a};
	bool *seen = NEWN(j->a, bool, j->n);

	for (int i = 0; i < j->n; i++) {
		if (!j->v[i].fw)
			continue;
		h.n = 0;
		push(&h, i);
		while (h.n > 0) {
			int at = pop(&h);

			if (seen[at])
				continue;
			seen[at] = true;
			if (j->v[at].order > j->v[i].order + 100 && h.n == 0) {
				ban(arg, at, "in a long chain");
				break;
			}
			for (int k = 0; k < j->v[at].nuser; k++) {
				int u = j->user[j->v[at].user + k];

				if (j->v[u].fw && fx_fusible(j, at, u) && !c->why[u])
					push(&h, u);
			}
		}
	}
}

/* The bans that look at more than one node; after all others. */
void
ban_far(Joint *j, const Bans *b, Cut *c, bool (*ban)(void *, int, const char *), void *arg)
{
	if (b->far)
		apart(j, ban, arg, c);
	if (b->chains)
		chains(j, ban, arg, c);
}
