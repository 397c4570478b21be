/* explain.c - why a value is saved, why another is computed again, why there is no cut. */
#include "partition/part.h"

static const char *
name(const Fx *x)
{
	return x->val ? x->val->name : x->node->name ? x->node->name : "_";
}

static void
weight(const Cut *c, int i, Text *t)
{
	if (c->weight[i] < 0)
		text_add(t, " inf");
	else
		text_add(t, " %lld", (long long)c->weight[i]);
}

/* One line for each node: name, operator, where it belongs, bytes, distance, weight, ban, verdict. */
void
explain_cut(const Joint *j, const Cut *c, Text *t)
{
	int next = 0;

	text_add(t, "# mincut: %d nodes, capacity %lld, %d saved\n", j->n, (long long)c->flow, c->saved.n);
	text_add(t, "# node operator part bytes distance weight\n");
	for (int i = 0; i < j->n; i++) {
		const Fx *x = &j->v[i];

		text_add(t, "%s %s %s %lld ", name(x), x->tuple >= 0 ? "operator.getitem" : x->node->op->name,
		        x->closure ? "backward" : x->fw ? "forward" : x->bw ? "gradient" : "either", (long long)x->bytes);
		if (x->dist >= Far)
			text_add(t, "-");
		else
			text_add(t, "%d", x->dist);
		weight(c, i, t);
		if (fx_mustrecompute(x))
			text_add(t, " must-recompute");
		if (c->why[i])
			text_add(t, " banned: %s", c->why[i]);
		if (c->cannot[i])
			text_add(t, " not saved: %s", c->cannot[i]);
		if (next < c->saved.n && c->saved.v[next] == i) {
			text_add(t, " saved");
			next++;
		}
		text_add(t, "\n");
	}
}

static void
need(void *arg, int i)
{
	((bool *)arg)[i] = true;
}

static const char *
bytes(Ctx *cx, int64_t k)
{
	return arena_printf(ctx_arena(cx), k < 10240 ? "%.0f bytes" : k < 10 << 20 ? "%.1f KiB" : "%.1f MiB",
	                    (double)k / (k < 10240 ? 1 : k < 10 << 20 ? 1024 : 1 << 20));
}

/* -fopt-info-partition: what is saved and what backward computes again, with reasons. */
void
explain_saved(const Joint *j, const Cut *c, FILE *f)
{
	bool *needed = NEWN(j->a, bool, j->n + 1), *saved = NEWN(j->a, bool, j->n + 1);
	int64_t sum = 0;
	int n = 0, again = 0;

	for (int i = 0; i < c->saved.n; i++)
		saved[c->saved.v[i]] = true;
	for (int i = j->n - 1; i >= 0; i--) {
		const Fx *x = &j->v[i];

		needed[i] |= x->bw && x->live;
		if (!needed[i] || saved[i])
			continue;
		if (x->tuple >= 0)
			needed[x->tuple] = true;
		else
			node_reads(j, x->node, need, needed);
	}
	for (int i = 0; i < j->n; i++) {
		const Fx *x = &j->v[i];

		if (saved[i] && needed[i]) {
			fprintf(f, "partition: %s is saved, %s%s%s\n", name(x), bytes(j->cx, x->bytes), c->why[i] ? ": " : "",
			        c->why[i] ? c->why[i] : x->node->recompute == MustSave ? ": marked MUST_SAVE" : "");
			sum += x->stat ? 0 : x->bytes;
			n++;
		} else if (needed[i] && x->fw && !x->primal && x->tuple < 0) {
			fprintf(f, "partition: %s is computed again, %s%s%s\n", name(x), bytes(j->cx, x->bytes),
			        fx_mustrecompute(x) ? ": marked " : c->cannot[i] ? ": " : "",
			        fx_mustrecompute(x) ? recompute_text[x->node->recompute] : c->cannot[i] ? c->cannot[i] : "");
			again++;
		}
	}
	fprintf(f, "partition: %d values are saved, %s; %d nodes are computed again\n", n, bytes(j->cx, sum), again);
}

/* No cut is finite: path is a way on which nothing can be saved. */
bool
explain_path(const Joint *j, const Cut *c, const int *path, int n)
{
	const Fx *first = n ? &j->v[path[0]] : NULL;

	error(j->cx, first ? first->node->loc : NOLOC, "backward needs %s, which can neither be saved nor computed again",
	      first ? name(first) : "a value");
	for (int i = 0; i < n; i++) {
		const Fx *x = &j->v[path[i]];

		if (c->why[path[i]])
			note(j->cx, x->node->loc, "%s is not computed again: %s", name(x), c->why[path[i]]);
		if (c->cannot[path[i]])
			note(j->cx, x->node->loc, "%s is not saved: %s", name(x), c->cannot[path[i]]);
		if (i == n - 1)
			note(j->cx, x->node->loc, "%s is computed in backward%s", name(x),
			     fx_mustrecompute(x) ? ": it is marked so" : "");
	}
	return false;
}
