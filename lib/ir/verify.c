/* verify.c - is a module what ir.h says it is?
 *
 * Run after reading and after every pass.  It reports everything that is wrong
 * with a node, then goes on with the next: links of uses, order of definitions,
 * names, arguments against the schema, types, the signature.
 */
#include "ir/ir.h"

typedef struct Check {
	Ctx   *cx;
	Graph *g;
	Arena *scratch;
	Node  **defined;       /* by val id: its node, once met */
	int   *nread;          /* by val id: operands that read it */
	Map    name;
	bool   typed;          /* types have been inferred */
	Node  *node;
} Check;

static bool graph_ok(Ctx *, Graph *, int depth);

enum { MaxNest = 64 };

/* ---- operands ---- */

static bool
linked(const Val *v, const Use *u)
{
	return u->prev && *u->prev == u && (u->next == NULL
	                                    || u->next->prev == &u->next)
	       && v->uses;
}

static void
operand(void *arg, Use *u)
{
	Check *c = arg;
	Node *n = c->node;
	Val *v = u->val;

	if (v == NULL || v->id >= c->g->nval || v->def->graph != c->g)
		error(c->cx, n->loc, "%s reads a value of another graph",
		      n->name);
	else if (c->defined[v->id] != v->def)
		error(c->cx, n->loc, "%s reads %s before it is defined",
		      n->name, v->name);
	else if (u->user != n || !linked(v, u))
		error(c->cx, n->loc, "%s is not among the uses of %s",
		      n->name, v->name);
	else
		c->nread[v->id]++;
}

static void
subgraphs(Check *c, const Arg *a, int depth)
{
	if (a->kind == ArgList)
		for (int i = 0; i < a->list.n; i++)
			subgraphs(c, &a->list.v[i], depth);
	if (a->kind == ArgGraph && a->graph == NULL)
		error(c->cx, c->node->loc, "%s: a graph is missing",
		      c->node->name);
	else if (a->kind == ArgGraph)
		graph_ok(c->cx, a->graph, depth + 1);
}

static void
arguments(Check *c, Node *n, int depth)
{
	const OpDef *op = n->op;

	if (n->narg != op->nparam) {
		error(c->cx, n->loc, "%s has %d arguments, %s has %d parameters",
		      n->name, n->narg, op->name, op->nparam);
		return;
	}
	for (int i = 0; i < n->narg; i++) {
		if (!op_fits(&op->param[i], &n->arg[i]))
			error(c->cx, n->loc, "%s: argument %s does not fit %s",
			      n->name, op->param[i].name, op->schema);
		subgraphs(c, &n->arg[i], depth);
	}
	node_operands(n, operand, c);
}

/* ---- results ---- */

static void
takename(Check *c, Node *n, Str name)
{
	const Node *other;

	if (name == NULL) {
		error(c->cx, n->loc, "a node of %s has no name", n->op->name);
		return;
	}
	other = map_get(&c->name, name);
	if (other && other != n)
		error(c->cx, n->loc, "two nodes are named %s", name);
	map_put(c->scratch, &c->name, name, n);
}

static void
results(Check *c, Node *n)
{
	takename(c, n, n->name);
	for (int i = 0; i < n->nout; i++) {
		Val *v = &n->out[i];

		if (v->def != n || v->out != i || v->id >= c->g->nval
		    || c->defined[v->id]) {
			error(c->cx, n->loc, "result %d of %s is not its own",
			      i, n->name);
			continue;
		}
		c->defined[v->id] = n;
		takename(c, n, v->name);
		if (c->typed && v->type == NULL && v->uses)
			error(c->cx, n->loc, "%s has no type", v->name);
	}
}

static void
useds(Check *c)
{
	FOREACH_NODE(c->g, n)
		for (int i = 0; i < n->nout; i++)
			if (c->nread[n->out[i].id] != node_nuse(&n->out[i]))
				error(c->cx, n->loc, "%s has %d uses, %d nodes "
				      "read it", n->out[i].name,
				      node_nuse(&n->out[i]),
				      c->nread[n->out[i].id]);
}

/* ---- a graph ---- */

static void
order(Check *c, Node *n, bool *body)
{
	bool ph = n->op == &opplaceholder;

	if (n->graph != c->g || (n->prev ? n->prev->next : c->g->first) != n
	    || (n->next ? n->next->prev : c->g->last) != n)
		error(c->cx, n->loc, "%s is not linked into its graph", n->name);
	if (ph && *body)
		error(c->cx, n->loc, "placeholder %s comes after other nodes",
		      n->name);
	*body |= !ph;
	if (n->op == &opoutput && n->next)
		error(c->cx, n->loc, "the output node is not the last");
}

/* Types are there or not for all: a value without one among others that have was
 * made by a pass that forgot.  Readers set types of some results of nodes with
 * several, where an annotation tells; those do not count. */
static bool
inferred(Graph *g)
{
	FOREACH_NODE(g, n)
		if (!(n->op->flags & OP(Leaf)) && n->nout == 1 && n->out->type)
			return true;
	return false;
}

static bool
graph_ok(Ctx *cx, Graph *g, int depth)
{
	Arena *scratch;
	Check c = { .cx = cx, .g = g, .typed = inferred(g) };
	int before = ctx_errors(cx);
	bool body = false;

	if (depth > MaxNest) {
		error(cx, NOLOC, "graphs are nested more than %d deep", MaxNest);
		return false;
	}
	c.scratch = scratch = arena_new();
	c.defined = NEWN(scratch, Node *, g->nval);
	c.nread = NEWN(scratch, int, g->nval);
	FOREACH_NODE(g, n) {
		c.node = n;
		order(&c, n, &body);
		arguments(&c, n, depth);
		results(&c, n);
	}
	useds(&c);
	if (g->last == NULL || g->last->op != &opoutput)
		error(cx, NOLOC, "graph %s has no output", g->name);
	arena_free(scratch);
	return ctx_errors(cx) == before;
}

/* ---- the signature ---- */

static void
inputs(const Module *m)
{
	Node *n = m->main->first;

	for (int i = 0; i < m->in.n; i++) {
		const Input *in = &m->in.v[i];

		if (in->val == NULL)
			continue;
		if (n == NULL || n->op != &opplaceholder) {
			error(m->cx, NOLOC, "input %s has no placeholder",
			      in->name);
			return;
		}
		if (in->val != n->out)
			error(m->cx, n->loc, "placeholder %s is not input %s",
			      n->name, in->name);
		n = n->next;
	}
	if (m->in.n && n && n->op == &opplaceholder)
		error(m->cx, n->loc, "placeholder %s is no input", n->name);
}

static void
outputs(const Module *m)
{
	const Node *n = m->main->last;
	int k = n && n->op == &opoutput && n->narg ? n->arg[0].list.n : 0;

	if (m->out.n && m->out.n != k)
		error(m->cx, n ? n->loc : NOLOC, "the graph has %d outputs, its "
		      "signature %d", k, m->out.n);
}

bool
module_verify(const Module *m)
{
	int before = ctx_errors(m->cx);

	if (m->main == NULL) {
		error(m->cx, NOLOC, "the module has no graph");
		return false;
	}
	if (graph_ok(m->cx, m->main, 0)) {
		inputs(m);
		outputs(m);
	}
	return ctx_errors(m->cx) == before;
}
