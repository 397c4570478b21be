/* simplify.c - apply the rules of the .pat tables until none applies.
 *
 * Each table is a pass of its own; simplify, the last of them, applies all that are
 * not switched off, since one makes work for another.
 *
 * Sweeps over the graph in program order; a node is tried with the rules whose
 * pattern has its operator at the root, in the order of the table.  What a
 * rewrite leaves without readers goes at once, so that single_use() means what
 * it says.  Rules make graphs smaller or cheaper; a table with a circle in it is
 * stopped by the number of rewrites.
 */
#include "ir/pass/pass.h"
#include "ir/rule.h"

typedef VEC(int) Numbers;     /* of rules: rule_number */

typedef struct Simplify {
	Graph *g;
	Arena *a;
	const char *pass;      /* whose rules; NULL: of all that are on */
	Map rules;             /* of an operator: Numbers *; made when it is first met */
	int budget;
	int removed;           /* nodes, less those that were made */
} Simplify;

/* ---- which rules ------------------------------------------------------------------ */

/* How often each rule was applied, and how many nodes fewer there were then. */
typedef struct Count { int applied, removed; } Count;
typedef struct Counts { Count *v; int n; } Counts;

static const char countkey;

static Count *
counts(const Module *m)
{
	Counts *c = ctx_slot(m->cx, &countkey, sizeof(Counts));
	int n = rule_count(m);

	if (c->n < n) {
		Count *v = NEWN(ctx_arena(m->cx), Count, n);
		for (int k = 0; k < c->n; k++)
			v[k] = c->v[k];
		*c = (Counts){v, n};
	}
	return c->v;
}

static bool
applies(const Simplify *s, const RuleDef *r)
{
	const Module *m = s->g->mod;

	if ((r->fast && !m->fastmath) || (s->pass && strcmp(s->pass, r->pass) != 0))
		return false;
	for (int k = 0; k < m->rulesoff.n; k++)
		if (strcmp(m->rulesoff.v[k], r->pass) == 0 || strcmp(m->rulesoff.v[k], r->name) == 0)
			return false;
	return true;
}

static Numbers *
rules_of(Simplify *s, const OpDef *op)
{
	Numbers *v = map_get(&s->rules, op);
	Ctx *cx = s->g->cx;

	if (v)
		return v;
	v = NEW(s->a, Numbers);
	for (int k = 0; k < rule_count(s->g->mod); k++) {
		const RuleDef *r = rule_number(s->g->mod, k);
		const Ast *p;
		if (!applies(s, r))
			continue;
		p = lang_ast(cx, NULL, r->name, r->pattern, FormExpr);
		if (p && p->kind == AstCall && rule_names(cx, p, op))
			vec_push(s->a, v, k);
	}
	map_put(s->a, &s->rules, op, v);
	return v;
}

/* ---- what nobody reads any more ------------------------------------------------------ */

typedef struct Defs { Arena *a; VEC(Node *) v; } Defs;

static void
operand(void *arg, Use *u)
{
	Defs *d = arg;

	for (int k = 0; k < d->v.n; k++)
		if (d->v.v[k] == u->val->def)
			return;
	vec_push(d->a, &d->v, u->val->def);
}

static bool
dead(const Node *n)
{
	if (n->nout == 0 || n->op->flags & (OP(Leaf) | OP(Effect) | OP(Random) | OP(Mutates) | OP(Hop)))
		return false;
	for (int k = 0; k < n->nout; k++)
		if (n->out[k].uses)
			return false;
	return true;
}

static void
bury(Simplify *s, Node *n)
{
	Defs todo = {.a = s->a};

	vec_push(s->a, &todo.v, n);
	while (todo.v.n) {
		n = todo.v.v[--todo.v.n];
		if (!dead(n))
			continue;
		node_operands(n, operand, &todo);
		node_delete(n);
		s->removed++;
	}
}

/* ---- rewriting ------------------------------------------------------------------------- */

/* with stands for the result of n; the nodes made for it lie between prev and n. */
static bool
replace(Simplify *s, Node *n, Val *with, Node *prev)
{
	Node *first = prev ? prev->next : s->g->first;
	Use *read = n->out[0].uses;    /* stays a reader of the result, whatever that becomes */
	Str name = n->out[0].name;
	bool fresh = with->def->id > n->id;

	for (Node *m = first; m != n; m = m->next)
		node_inherit(m, n);
	val_replace(&n->out[0], with);
	if (!decompose_between(first, n))
		return false;
	for (Node *m = prev ? prev->next : s->g->first; m != n; m = m->next)
		s->removed--;
	bury(s, n);
	if (fresh && name)
		val_rename(s->g, read->val, name);
	return true;
}

static bool
rewrite(Simplify *s, Node *n, bool *changed)
{
	Numbers *r = rules_of(s, n->op);

	for (int k = 0; k < r->n; k++) {
		Node *prev = n->prev;
		int before = s->removed;
		Val *v = rule_apply(rule_number(s->g->mod, r->v[k]), n);
		if (ctx_errors(s->g->cx))
			return false;
		if (v == NULL)
			continue;
		s->budget--;
		*changed = true;
		bool ok = replace(s, n, v, prev);
		Count *c = &counts(s->g->mod)[r->v[k]];
		c->applied++;
		c->removed += s->removed - before;
		return ok;
	}
	return true;
}

static bool
apply(Graph *g, const char *pass, enum partpass as)
{
	Simplify s = {.g = g, .a = arena_new(), .pass = pass, .budget = 8 * (int)g->nnode + 64};
	bool changed = true, ok = true;

	while (ok && changed) {
		changed = false;
		for (Node *n = g->first, *next; ok && n && s.budget > 0; n = next) {
			next = n->next;
			if (!(n->op->flags & OP(Leaf)) && !node_leaves(n, as) && n->nout == 1 && n->out[0].uses)
				ok = rewrite(&s, n, &changed);
		}
	}
	arena_free(s.a);
	return ok;
}

bool
pass_uniform(Graph *g)
{
	return apply(g, "uniform", PartUniform);
}

bool
pass_views(Graph *g)
{
	return apply(g, "views", PartViews);
}

bool
pass_patterns(Graph *g)
{
	return apply(g, "patterns", PartPatterns);
}

bool
pass_simplify(Graph *g)
{
	return apply(g, NULL, PartSimplify);
}

bool
pass_loaded(Graph *g)
{
	return apply(g, "loaded", PartPatterns);
}

void
simplify_report(const Module *m, FILE *f, const char *what)
{
	const Count *n = counts(m);

	for (int k = 0; k < rule_count(m); k++) {
		const RuleDef *r = rule_number(m, k);
		if (n[k].applied)
			fprintf(f, "%s: %s:%d: %s: %d applied, %+d nodes\n", what, r->file, r->line, r->name, n[k].applied, -n[k].removed);
	}
}
