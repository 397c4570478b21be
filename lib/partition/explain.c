/* explain.c - why a value is saved, why another is computed again, why there is no cut. */
#include "partition/part.h"

static const char *
name(const Fx *x)
{
	return x->val ? x->val->name : x->node->name ? x->node->name : "_";
}

static const char *
part(const Fx *x)
{
	return x->closure ? "backward" : x->fw ? "forward" : x->bw ? "gradient" : "either";
}

static const char *
operator(const Fx *x)
{
	return x->tuple >= 0 ? "operator.getitem" : x->node->op->name;
}

/* A number, or what stands for an infinite one. */
static const char *
number(const Joint *j, int64_t n, bool infinite, const char *inf)
{
	return infinite ? inf : arena_printf(j->a, "%lld", (long long)n);
}

/* ---- the network ------------------------------------------------------------------- */

/* One line for each node: name, operator, where it belongs, bytes, distance, weight, ban, verdict. */
static void
textnode(const Joint *j, const Cut *c, int i, bool saved, Text *t)
{
	const Fx *x = &j->v[i];

	text_add(t, "%s %s %s %lld %s %s", name(x), operator(x), part(x), (long long)x->bytes,
	         number(j, x->dist, x->dist >= Far, "-"), number(j, c->weight[i], c->weight[i] < 0, "inf"));
	if (fx_mustrecompute(x))
		text_add(t, " must-recompute");
	if (c->why[i])
		text_add(t, " banned: %s", c->why[i]);
	if (c->cannot[i])
		text_add(t, " not saved: %s", c->cannot[i]);
	text_add(t, "%s\n", saved ? " saved" : "");
}

/* A box for each node, filled if it is saved; arrows to who reads it. */
static void
dotnode(const Joint *j, const Cut *c, int i, bool saved, Text *t)
{
	const Fx *x = &j->v[i];

	text_add(t, "\tn%d [label=\"%s\\n%s\\n%s%s%s\"%s%s]\n", i, name(x), operator(x), number(j, c->weight[i], c->weight[i] < 0, "inf"),
	         c->why[i] ? "\\nbanned: " : "", c->why[i] ? c->why[i] : "", x->closure ? " color=gray" : "",
	         saved ? " style=filled fillcolor=gold" : "");
	for (int k = 0; k < x->nuser; k++)
		text_add(t, "\tn%d -> n%d\n", i, j->user[x->user + k]);
}

static void
jsonstr(Text *t, const char *key, const char *s)
{
	if (s)
		text_add(t, ", \"%s\": \"%s\"", key, s);
}

static void
jsonnode(const Joint *j, const Cut *c, int i, bool saved, Text *t)
{
	const Fx *x = &j->v[i];

	text_add(t, "%s\n  {\"name\": \"%s\"", i ? "," : "", name(x));
	jsonstr(t, "op", operator(x));
	jsonstr(t, "part", part(x));
	text_add(t, ", \"bytes\": %lld, \"distance\": %s, \"weight\": %s, \"must_recompute\": %s, \"saved\": %s", (long long)x->bytes,
	         number(j, x->dist, x->dist >= Far, "null"), number(j, c->weight[i], c->weight[i] < 0, "null"),
	         fx_mustrecompute(x) ? "true" : "false", saved ? "true" : "false");
	jsonstr(t, "banned", c->why[i]);
	jsonstr(t, "not_saved", c->cannot[i]);
	text_add(t, ", \"users\": [");
	for (int k = 0; k < x->nuser; k++)
		text_add(t, "%s%d", k ? ", " : "", j->user[x->user + k]);
	text_add(t, "]}");
}

/* -fdump-mincut: the network and its cut. */
void
explain_cut(const Joint *j, const Cut *c, enum cutform form, Text *t)
{
	static void (*const fn[])(const Joint *, const Cut *, int, bool, Text *) = {textnode, dotnode, jsonnode};
	static const char *const tail[] = {"", "}\n", "]}\n"};
	int next = 0;

	switch (form) {
	case CutText: text_add(t, "# mincut: %d nodes, capacity %lld, %d saved\n# node operator part bytes distance weight\n", j->n, (long long)c->flow, c->saved.n); break;
	case CutDot:  text_add(t, "digraph mincut {\n\tlabel=\"%d nodes, capacity %lld, %d saved\"\n\tnode [shape=box]\n", j->n, (long long)c->flow, c->saved.n); break;
	case CutJson: text_add(t, "{\"count\": %d, \"capacity\": %lld, \"nsaved\": %d, \"nodes\": [", j->n, (long long)c->flow, c->saved.n); break;
	}
	for (int i = 0; i < j->n; i++) {
		bool saved = next < c->saved.n && c->saved.v[next] == i;

		next += saved;
		fn[form](j, c, i, saved, t);
	}
	text_add(t, "%s", tail[form]);
}

/* ---- in words -------------------------------------------------------------------------- */

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
	const bool *needed = cut_needs(j, &c->saved);
	bool *saved = NEWN(j->a, bool, j->n + 1);
	int64_t sum = 0;
	int n = 0, again = 0;

	for (int i = 0; i < c->saved.n; i++)
		saved[c->saved.v[i]] = true;
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
	fprintf(f, "partition: %d values are saved, %s; %d nodes are computed again, %.0f flops\n", n, bytes(j->cx, sum), again,
	        cut_flops(j, &c->saved));
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
