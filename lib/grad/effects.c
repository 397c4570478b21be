/* effects.c - what prints is ordered by a token, as in PyTorch's graphs (-fdecomp=torch).
 *
 * The token is the first input, goes through each with_effects, and is the first result.
 */
#include "grad/hopgrad.h"

static Val *
tokeninput(Module *m)
{
	const Sym *zero = sym_const(m->cx, 0);
	Node *p = node_placeholder(m->main, intern_str(m->cx, "token"), type_tensor(m->cx, DtF32, 1, &zero), NOLOC);
	Input in = {.kind = InToken, .val = &p->out[0], .name = p->out[0].name, .argname = p->out[0].name};
	Val *first[1] = {&p->out[0]};

	hop_reorder(m->main, first, 1);
	while (p->prev) {                                  /* in front of the others */
		Node *q = p->prev;
		q->next = p->next;
		*(p->next ? &p->next->prev : &m->main->last) = q;
		p->prev = q->prev;
		*(q->prev ? &q->prev->next : &m->main->first) = p;
		q->prev = p;
		p->next = q;
	}
	vec_push(ctx_arena(m->cx), &m->in, in);
	memmove(&m->in.v[1], &m->in.v[0], sizeof in * (size_t)(m->in.n - 1));
	m->in.v[0] = in;
	return &p->out[0];
}

static void
tokenresult(Module *m, Val *token)
{
	Output o = {.kind = ResToken, .name = token->name};
	const Arg *list = &m->main->last->arg[0];
	VEC(Arg) all = {0};

	vec_push(m->main->arena, &all, arg_val(token));
	for (int k = 0; k < list->list.n; k++)
		vec_push(m->main->arena, &all, list->list.v[k].kind == ArgVal ? arg_val(list->list.v[k].use->val) : list->list.v[k]);
	Arg one = arg_list(m->main->arena, all.v, all.n);
	node_setargs(m->main->last, &one, 1);
	vec_push(ctx_arena(m->cx), &m->out, o);
	memmove(&m->out.v[1], &m->out.v[0], sizeof o * (size_t)(m->out.n - 1));
	m->out.v[0] = o;
}

bool
hop_effects(Module *m)
{
	Val *token = NULL;

	for (Node *n = m->main->first, *next; n; n = next) {
		Arg arg[4];
		next = n->next;
		if (hop_kind(n->op) != HopPrint)
			continue;
		token = token ? token : tokeninput(m);
		arg[0] = arg_val(token);
		arg[1] = arg_str(intern_str(m->cx, n->op->name));
		arg[2] = n->arg[0];
		arg[3] = n->arg[1];
		Node *w = node_new(m->main, op_find("higher_order.with_effects"), arg, 4, 1, n, n->loc);
		node_inherit(w, n);
		if (!node_infer(w))
			return false;
		token = &w->out[0];
		node_delete(n);
	}
	if (token)
		tokenresult(m, token);
	return true;
}
