/* mincut.c - what to save, as the minimum cut of a network.
 *
 * Each value is two vertices, in and out; the edge between them is the cost of saving it.  An
 * infinite edge from the source to `in` says that it must not be computed again, one from `in`
 * to the sink that backward computes it, one from `out` to the sink that backward has it as it
 * is; from `out` to the reader's `in` that who computes the reader has the value.
 *
 *     source --inf--> x.in --bytes--> x.out --inf--> y.in --bytes--> y.out --inf--> sink
 *
 * What the cut separates, in from out, is saved.
 */
#include "partition/part.h"

/* ---- cuts of any origin ---------------------------------------------------------- */

void
cut_empty(const Joint *j, Cut *c)
{
	*c = (Cut){.why = NEWN(j->a, const char *, j->n + 1), .cannot = NEWN(j->a, const char *, j->n + 1),
	           .weight = NEWN(j->a, int64_t, j->n + 1)};
}

static void
mark(void *arg, int i)
{
	((bool *)arg)[i] = true;
}

const bool *
cut_needs(const Joint *j, const Ints *saved)
{
	bool *need = NEWN(j->a, bool, j->n + 1), *have = NEWN(j->a, bool, j->n + 1);

	for (int i = 0; i < saved->n; i++)
		have[saved->v[i]] = true;
	for (int i = j->n - 1; i >= 0; i--) {
		const Fx *x = &j->v[i];

		need[i] = x->live && (need[i] || x->bw);
		if (!need[i] || have[i])
			continue;
		if (x->tuple >= 0)
			need[x->tuple] = true;
		else
			node_reads(j, x->node, mark, need);
	}
	return need;
}

double
cut_flops(const Joint *j, const Ints *saved)
{
	const bool *need = cut_needs(j, saved);
	double work = 0;

	for (int i = 0, k = 0; i < j->n; i++) {
		const Fx *x = &j->v[i];
		bool have = k < saved->n && saved->v[k] == i;

		k += have;
		if (need[i] && !have && x->fw && !x->primal && x->tuple < 0)
			work += node_flops(x->node);
	}
	return work;
}

int64_t
cut_bytes(const Joint *j, const Ints *saved)
{
	int64_t k = 0;

	for (int i = 0; i < saved->n; i++)
		if (!j->v[saved->v[i]].stat)
			k += j->v[saved->v[i]].bytes;
	return k;
}

/* ---- the network ----------------------------------------------------------------- */

enum { Source, Sink, First };          /* vertices; in of i: First + 2*i, out: one more */

typedef struct Net { Joint *j; Flow *f; Cut *c; const bool *dontban; } Net;

/* May be called again for one that is banned. */
static bool
ban(void *arg, int i, const char *why)
{
	Net *n = arg;
	const Fx *x = &n->j->v[i];

	if (x->type & OpViewList || (n->dontban && n->dontban[i]) || fx_mustrecompute(x) ||
	    (x->sym && x->val->type->sym->isfloat))
		return false;
	if (!n->c->why[i]) {
		n->c->why[i] = why;
		vec_push(n->j->a, &n->c->banned, i);
	}
	flow_edge(n->f, Source, First + 2 * i, -1);
	return true;
}

static void
vertex(Net *n, int i, const Bans *b)
{
	Joint *j = n->j;
	const Fx *x = &j->v[i];
	const char *why;
	int in = First + 2 * i, out = in + 1;

	n->c->weight[i] = -1;
	if (x->bw && x->closure) {
		flow_edge(n->f, in, Sink, -1);
		return;
	}
	if (x->bw)
		flow_edge(n->f, out, Sink, -1);
	if (fx_mustrecompute(x)) {
		flow_edge(n->f, in, Sink, -1);
		return;
	}
	if (x->primal)
		ban(n, i, "an input");
	if (x->fw && (why = ban_reason(j, i, b)))
		ban(n, i, why);
	n->c->weight[i] = fx_weight(j, i, &n->c->cannot[i]);
	flow_edge(n->f, in, out, n->c->weight[i]);
	for (int k = 0; k < x->nuser; k++)
		flow_edge(n->f, out, First + 2 * j->user[x->user + k], -1);
}

/* There is no cut: say what stands in the way. */
static bool
unbounded(Net *n)
{
	int *path = NEWN(n->j->a, int, 2 * n->j->n + First), k = 0;
	int len = flow_path(n->f, Source, Sink, path);

	for (int i = 0; i < len; i++)
		if (path[i] >= First && (k == 0 || path[k - 1] != (path[i] - First) / 2))
			path[k++] = (path[i] - First) / 2;
	return explain_path(n->j, n->c, path, k);
}

bool
mincut(Joint *j, const Bans *b, const bool *dontban, Cut *c)
{
	Net n = {j, flow_new(j->a, 2 * j->n + First), c, dontban};
	const bool *side;

	cut_empty(j, c);
	for (int i = 0; i < j->n; i++)
		if (j->v[i].live)
			vertex(&n, i, b);
	ban_far(j, b, c, ban, &n);
	side = flow_solve(n.f, Source, Sink, &c->flow);
	if (side == NULL)
		return unbounded(&n);
	for (int i = 0; i < j->n; i++)
		if (!side[First + 2 * i] && side[First + 2 * i + 1])
			vec_push(j->a, &c->saved, i);
	return true;
}
