/* replace_random.c - say which random numbers each operator draws.
 *
 * Each operator that draws gets a stream of its own, numbered in the order of the program;
 * copies that are made later (recomputation) keep the number and so draw the same numbers.
 *
 * Under -frng=eager-cpu it is replaced by arithmetic on words of PyTorch's generator, which
 * eager PyTorch hands out in the order of the program.  Where an operator begins is known
 * when compiling, so that they may run in any order: the `at` of fxcc.mt_words.  Of a pair
 * of normal numbers the second is left over for whoever draws the next ones by pairs.  Under
 * -frng=zero nothing is left to chance.
 */
#include "ir/pass/pass.h"

typedef struct Drawing {
	Ctx *cx;
	const Sym *at;         /* the first word that is free */
	int64_t spare;         /* where a pair begins of which one number is left; -1: none */
} Drawing;

static bool
isop(const Node *n, const char *name)
{
	return strcmp(n->op->name, name) == 0;
}

/* From what a node that was made for an operator takes: where the next one begins. */
static void
taken(Drawing *d, const Node *n)
{
	int64_t all, at;

	if (isop(n, "fxcc.mt_words") && sym_eq(node_arg(n, "at")->i, d->at))
		d->at = sym_add(d->cx, d->at, node_arg(n, "n")->i);
	if (!isop(n, "fxcc.mt_pairs") || !sym_isconst(type_numel(d->cx, n->out[0].type), &all) || all == 0)
		return;
	all += node_arg(n, "half")->b;
	d->spare = all % 2 && sym_isconst(d->at, &at) ? at - 4 : -1;
}

static bool
draw(Drawing *d, Node *n)
{
	enum rng rng = n->graph->mod->rng;
	const Node *prev = n->prev, *end = n->next;

	if (n->graph != n->graph->mod->main)
		return error(d->cx, n->loc, "%s: random numbers in a sub-graph are drawn by -frng=philox alone", n->op->name), false;
	if ((rng == RngZero ? n->op->zero : n->op->eager) == NULL)
		return error(d->cx, n->loc, "%s is not known under -frng=%s", n->op->name, rng == RngZero ? "zero" : "eager-cpu"), false;
	if (!node_draw(n, rng, d->at, d->spare))
		return false;
	Node *first = prev ? prev->next : n->graph->first;
	for (const Node *m = first; m != end; m = m->next)
		taken(d, m);
	return decompose_between(first, end);
}

/* A text may have them already. */
static const Sym *
words(const Graph *g)
{
	const Sym *most = NULL;

	FOREACH_NODE(g, n)
		if (isop(n, "fxcc.mt_words")) {
			const Sym *end = sym_add(g->cx, node_arg(n, "at")->i, node_arg(n, "n")->i);
			most = most ? sym_max(g->cx, most, end) : end;
		}
	return most;
}

bool
pass_replace_random(Graph *g)
{
	Drawing d = {.cx = g->cx, .at = sym_const(g->cx, 0), .spare = -1};
	const Sym *before = words(g);
	uint32_t last = 0;

	d.at = before ? before : d.at;
	for (Node *n = g->first, *next; n; n = next) {
		next = n->next;
		if (n->op->flags & OP(Random) && g->mod->rng != RngPhilox && !isop(n, "fxcc.mt_words") && !draw(&d, n))
			return false;
	}
	if (g == g->mod->main && (before || (g->mod->rng == RngEager && words(g))))
		g->mod->rngwords = d.at;
	FOREACH_NODE(g, n)
		last = n->stream > last ? n->stream : last;
	FOREACH_NODE(g, n)
		if (n->op->flags & OP(Random) && !n->stream)
			n->stream = ++last;
	return true;
}
