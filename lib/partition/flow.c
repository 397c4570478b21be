/* flow.c - the minimum cut of a network, by Dinic's algorithm.
 *
 * Phases: a breadth-first search gives each vertex its distance from the source; then flow is
 * sent along edges that go one step farther, until no such path is left.  Nothing recurses:
 * graphs of models are long.  Of several minimum cuts the one closest to the sink is taken: the
 * sink's side is what can still reach the sink.
 *
 * An infinite capacity is three times the sum of the others, so that no minimum cut has one.
 */
#include "partition/part.h"

typedef struct Edge { int to; bool infinite; int64_t left; } Edge;   /* edge^1 is its reverse */

struct Flow {
	Arena *a;
	int    n;
	VEC(Edge) edge;
	int   *at, *list;        /* edges of a vertex: list[at[v] .. at[v+1]-1] */
	int   *level, *cur, *queue;
};

Flow *
flow_new(Arena *a, int n)
{
	Flow *f = NEW(a, Flow);

	f->a = a;
	f->n = n;
	return f;
}

void
flow_edge(Flow *f, int from, int to, int64_t cap)
{
	if (cap == 0)
		return;
	vec_push(f->a, &f->edge, (Edge){to, cap < 0, cap < 0 ? 0 : cap});
	vec_push(f->a, &f->edge, (Edge){from, false, 0});
}

/* Edges by vertex; infinite ones get their number.  Sums stay below 2^62. */
static void
prepare(Flow *f)
{
	double sum = 0;
	int64_t total = 0;
	int shift = 0, *fill = NEWN(f->a, int, f->n + 1);

	for (int i = 0; i < f->edge.n; i++)
		sum += (double)f->edge.v[i].left;
	for (; sum > 0x1p60; sum /= 2)
		shift++;
	for (int i = 0; i < f->edge.n; i += 2) {
		Edge *e = &f->edge.v[i];

		if (shift && !e->infinite)
			e->left = e->left >> shift ? e->left >> shift : 1;
		total += e->left;
	}
	for (int i = 0; i < f->edge.n; i++)
		if (f->edge.v[i].infinite)
			f->edge.v[i].left = total ? 3 * total : 1;
	f->at = NEWN(f->a, int, f->n + 2);
	for (int i = 0; i < f->edge.n; i++)
		f->at[f->edge.v[i ^ 1].to + 1]++;
	for (int v = 0; v < f->n; v++)
		f->at[v + 1] += f->at[v];
	memcpy(fill, f->at, sizeof *fill * (size_t)(f->n + 1));
	f->list = NEWN(f->a, int, f->edge.n + 1);
	for (int i = 0; i < f->edge.n; i++)
		f->list[fill[f->edge.v[i ^ 1].to]++] = i;
	f->level = NEWN(f->a, int, f->n);
	f->cur = NEWN(f->a, int, f->n);
	f->queue = NEWN(f->a, int, f->n);
}

static bool
levels(Flow *f, int source, int sink)
{
	int head = 0, tail = 0;

	memset(f->level, 0xff, sizeof *f->level * (size_t)f->n);
	f->level[source] = 0;
	f->queue[tail++] = source;
	while (head < tail && f->level[sink] < 0) {
		int v = f->queue[head++];

		for (int k = f->at[v]; k < f->at[v + 1]; k++) {
			const Edge *e = &f->edge.v[f->list[k]];

			if (e->left > 0 && f->level[e->to] < 0) {
				f->level[e->to] = f->level[v] + 1;
				f->queue[tail++] = e->to;
			}
		}
	}
	return f->level[sink] >= 0;
}

/* Send what the path takes; the number of its edges that are still whole before the first full one. */
static int
send(Flow *f, const int *path, int n, int64_t *flow)
{
	int64_t most = INT64_MAX;
	int keep = n;

	for (int i = 0; i < n; i++)
		if (f->edge.v[path[i]].left < most)
			most = f->edge.v[path[i]].left;
	for (int i = n - 1; i >= 0; i--) {
		f->edge.v[path[i]].left -= most;
		f->edge.v[path[i] ^ 1].left += most;
		if (f->edge.v[path[i]].left == 0)
			keep = i;
	}
	*flow += most;
	return keep;
}

static int64_t
blocking(Flow *f, int source, int sink, int *path)
{
	int64_t flow = 0;
	int n = 0, v = source;

	memcpy(f->cur, f->at, sizeof *f->cur * (size_t)f->n);
	for (;;) {
		if (v == sink) {
			n = send(f, path, n, &flow);
			v = f->edge.v[path[n] ^ 1].to;
		}
		while (f->cur[v] < f->at[v + 1]) {
			const Edge *e = &f->edge.v[f->list[f->cur[v]]];

			if (e->left > 0 && f->level[e->to] == f->level[v] + 1)
				break;
			f->cur[v]++;
		}
		if (f->cur[v] < f->at[v + 1]) {
			path[n++] = f->list[f->cur[v]];
			v = f->edge.v[path[n - 1]].to;
			continue;
		}
		f->level[v] = -1;
		if (n == 0)
			return flow;
		v = f->edge.v[path[--n] ^ 1].to;
	}
}

int
flow_path(Flow *f, int source, int sink, int *path)
{
	int head = 0, tail = 0, n = 0, *from = f->level;

	memset(from, 0xff, sizeof *from * (size_t)f->n);
	f->queue[tail++] = source;
	from[source] = source;
	while (head < tail && from[sink] < 0) {
		int v = f->queue[head++];

		for (int k = f->at[v]; k < f->at[v + 1]; k++) {
			const Edge *e = &f->edge.v[f->list[k]];

			if (e->infinite && from[e->to] < 0) {
				from[e->to] = v;
				f->queue[tail++] = e->to;
			}
		}
	}
	if (from[sink] < 0)
		return 0;
	for (int v = sink; v != source; v = from[v])
		path[n++] = v;
	path[n++] = source;
	for (int i = 0; i < n / 2; i++) {
		int t = path[i];

		path[i] = path[n - 1 - i];
		path[n - 1 - i] = t;
	}
	return n;
}

const bool *
flow_solve(Flow *f, int source, int sink, int64_t *flow)
{
	int *path, head = 0, tail = 0;
	bool *side = NEWN(f->a, bool, f->n);

	prepare(f);
	path = NEWN(f->a, int, f->n + 1);
	if (flow_path(f, source, sink, path))
		return NULL;
	*flow = 0;
	while (levels(f, source, sink))
		*flow += blocking(f, source, sink, path);
	side[sink] = true;
	f->queue[tail++] = sink;
	while (head < tail) {
		int v = f->queue[head++];

		for (int k = f->at[v]; k < f->at[v + 1]; k++) {
			int e = f->list[k], u = f->edge.v[e].to;

			if (f->edge.v[e ^ 1].left > 0 && !side[u]) {
				side[u] = true;
				f->queue[tail++] = u;
			}
		}
	}
	return side;
}
