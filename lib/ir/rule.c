/* rule.c - match a pattern of a .pat table and make its replacement.
 *
 * A pattern is a call of the table language, matched down from the node that it
 * is tried on.  Commutative operators match both ways: every pattern is tried
 * with each choice of which of its commutative calls are turned round, as far as
 * the choice matters.  Matching binds names; the condition is evaluated over them
 * in plain mode, the replacement in tensor mode, in front of the node.
 */
#include <math.h>
#include "ir/rule.h"

enum { MaxTurned = 5 };

typedef struct Match {
	Ctx *cx;
	unsigned turned;       /* which calls, by number, have their first two arguments swapped */
	unsigned matters;      /* calls that could be */
	int ncall;
	int n;
	struct { Str name; LVal val; } bound[RuleMaxBound];
} Match;

/* ---- the words of a pattern -------------------------------------------------- */

bool
rule_istensor(const char *name)
{
	return name[0] >= 'u' && name[0] <= 'z' &&
	       strspn(name + 1, "0123456789") == strlen(name + 1);
}

bool
rule_isvar(const Ast *p)
{
	return p->kind == AstName && strcmp(p->s, "inf") && strcmp(p->s, "nan") &&
	       dtype_parse(p->s, strlen(p->s)) == DtNone;
}

/* The rest of the operator's name behind what the pattern says; NULL: another name. */
static const char *
rest(const Ast *f, const char *name)
{
	size_t n;

	if (f->kind == AstAttr) {
		name = rest(f->kid[0], name);
		if (name == NULL || *name++ != '.')
			return NULL;
	}
	if (f->kind != AstAttr && f->kind != AstName)
		return NULL;
	n = strlen(f->s);
	return strncmp(name, f->s, n) == 0 && (name[n] == '.' || name[n] == '\0') ? name + n : NULL;
}

bool
rule_names(Ctx *cx, const Ast *call, const OpDef *op)
{
	const char *dot = strchr(op->name, '.');

	(void)cx;
	if (call->kid[0]->kind == AstName)
		return dot && rest(call->kid[0], dot + 1);
	return rest(call->kid[0], op->name) != NULL;
}

int
rule_param(const Ast *call, int k, const OpDef *op)
{
	const Ast *a = call->kid[k];

	if (a->kind != AstKw)
		return k - 1 < op->nparam && !op->param[k - 1].kwonly ? k - 1 : -1;
	for (int i = 0; i < op->nparam; i++)
		if (strcmp(op->param[i].name, a->s) == 0)
			return i;
	return -1;
}

/* ---- literals ------------------------------------------------------------------ */

static bool
samelit(Ctx *cx, LVal a, LVal b)
{
	if (a.kind != b.kind)
		return false;
	switch (a.kind) {
	case LNone:   return true;
	case LBool:   return a.b == b.b;
	case LInt:    return a.i == b.i || (!a.i->isfloat && !b.i->isfloat && sym_eq(a.i, b.i));
	case LFloat:  return memcmp(&a.f, &b.f, sizeof a.f) == 0;
	case LStr:    return a.s == b.s;
	case LDtype:  return a.dt == b.dt;
	case LTensor: return a.t == b.t;
	case LArg:    return strcmp(arg_str_of(cx, a.arg), arg_str_of(cx, b.arg)) == 0;
	case LList:
		for (int k = 0; a.list.n == b.list.n && k < a.list.n; k++)
			if (!samelit(cx, a.list.v[k], b.list.v[k]))
				return false;
		return a.list.n == b.list.n;
	default:      return false;
	}
}

/* 1 is 1 and 1.0; 0 is not -0.0. */
static bool
number(double want, const Arg *a)
{
	int64_t k;

	if (a->kind == ArgInt)
		return sym_isconst(a->i, &k) && (double)k == want && !(want == 0 && signbit(want));
	return a->kind == ArgFloat && (isnan(want) ? isnan(a->f) :
	       a->f == want && signbit(a->f) == signbit(want));
}

static bool
literal(const Ast *p, const Arg *a)
{
	switch (p->kind) {
	case AstNone:  return a->kind == ArgNone;
	case AstBool:  return a->kind == ArgBool && a->b == p->b;
	case AstInt:   return number((double)p->i, a);
	case AstFloat: return number(p->f, a);
	case AstStr:   return a->kind == ArgStr && strcmp(a->s, p->s) == 0;
	case AstName:
		if (strcmp(p->s, "inf") == 0 || strcmp(p->s, "nan") == 0)
			return number(p->s[0] == 'i' ? INFINITY : NAN, a);
		return a->kind == ArgDtype && a->dt == dtype_parse(p->s, strlen(p->s));
	case AstNeg:
		p = p->kid[0];
		if (p->kind == AstName)
			return strcmp(p->s, "inf") == 0 && number(-INFINITY, a);
		return (p->kind == AstInt && number((double)-p->i, a)) || (p->kind == AstFloat && number(-p->f, a));
	default:       return false;
	}
}

static bool
bind(Match *m, Str name, const Arg *a)
{
	LVal v = lang_frarg(m->cx, a);

	if (rule_istensor(name) != (v.kind == LTensor))
		return false;
	if (v.kind == LTensor && (v.t->type == NULL || v.t->type->kind != TyTensor))
		return false;
	for (int k = 0; k < m->n; k++)
		if (m->bound[k].name == name)
			return samelit(m->cx, m->bound[k].val, v);
	if (m->n == RuleMaxBound)
		return false;
	m->bound[m->n].name = name;
	m->bound[m->n++].val = v;
	return true;
}

/* ---- arguments that a pattern does not mention --------------------------------------- */

/* Where a tensor lies and how is nothing that a value depends on. */
static bool
irrelevant(const Param *p)
{
	static const char *const name[] = {"pin_memory", "non_blocking", "implicit"};

	if (p->type == AtLayout || p->type == AtDevice || p->type == AtMemfmt || p->type == AtGenerator)
		return true;
	for (int k = 0; k < COUNT(name); k++)
		if (strcmp(p->name, name[k]) == 0)
			return true;
	return false;
}

static const char defaultskey;

/* The defaults of an operator, made once: bound with what it must be given. */
static const Arg *
defaults(Ctx *cx, const Node *n)
{
	Map *made = ctx_slot(cx, &defaultskey, sizeof(Map));
	const OpDef *op = n->op;
	Arena *a = ctx_arena(cx);
	Arg *out = map_get(made, op), *given;
	Str *key;
	int ngiven = 0;

	if (out)
		return out;
	out = NEWN(a, Arg, op->nparam + 1);
	given = NEWN(a, Arg, op->nparam + 1);
	key = NEWN(a, Str, op->nparam + 1);
	for (int k = 0; k < op->nparam; k++)
		if (op->param[k].dflt == NULL && !op->param[k].opt) {
			key[ngiven] = op->param[k].name;
			given[ngiven++] = n->arg[k];
		}
	if (!op_bind(cx, n->loc, op, NULL, 0, key, given, ngiven, out))
		return NULL;
	map_put(a, made, op, out);
	return out;
}

static bool
isdefault(Ctx *cx, const Node *n, int k)
{
	const Param *p = &n->op->param[k];
	const Arg *d;

	if (irrelevant(p))
		return true;
	if (p->dflt == NULL && !p->opt)
		return false;
	d = defaults(cx, n);
	return d && samelit(cx, lang_frarg(cx, &n->arg[k]), lang_frarg(cx, &d[k]));
}

/* ---- matching --------------------------------------------------------------------------- */

static bool call(Match *, const Ast *, const Node *), argument(Match *, const Ast *, const Arg *);

static bool
elements(Match *m, const Ast *p, int from, int n, const Arg *a)
{
	for (int k = 0; k < n; k++)
		if (!argument(m, p->kid[from + k], a + k))
			return false;
	return true;
}

static bool
starred(Match *m, const Ast *p, Arg *a, int n)
{
	return p->kind != AstStar || bind(m, p->kid[0]->s, &(Arg){.kind = ArgList, .list = {a, n}});
}

/* [*before, p, q, *rest]: before and rest are lists of what is left over, the shortest before. */
static bool
list(Match *m, const Ast *p, const Arg *a)
{
	bool head = p->n > 1 && p->kid[0]->kind == AstStar, tail = p->n && p->kid[p->n - 1]->kind == AstStar;
	int n = p->n - head - tail, left;

	if (a->kind != ArgList || a->list.n < n || (!head && !tail && a->list.n != n))
		return false;
	left = a->list.n - n;
	for (int k = head && !tail ? left : 0; k <= (head ? left : 0); k++) {
		Match was = *m;
		if (starred(m, p->kid[0], a->list.v, k) && elements(m, p, head, n, a->list.v + k) &&
		    (!tail || starred(m, p->kid[p->n - 1], a->list.v + k + n, left - k)))
			return true;
		was.matters = m->matters;
		*m = was;
	}
	return false;
}

/* The node whose results, all of them in their order, are the elements of the list; NULL: none. */
static Node *
producer(const Arg *a)
{
	Node *n = a->list.n && a->list.v[0].kind == ArgVal ? a->list.v[0].use->val->def : NULL;

	for (int k = 0; n && k < a->list.n; k++)
		if (a->list.v[k].kind != ArgVal || a->list.v[k].use->val->def != n || a->list.v[k].use->val->out != k)
			return NULL;
	return n && n->nout == a->list.n ? n : NULL;
}

static bool
argument(Match *m, const Ast *p, const Arg *a)
{
	Node *n;

	if (p->kind == AstCall && a->kind == ArgList)
		return (n = producer(a)) && call(m, p, n);
	if (p->kind == AstCall)
		return a->kind == ArgVal && a->use->val->def->nout == 1 && call(m, p, a->use->val->def);
	if (p->kind == AstList)
		return list(m, p, a);
	return rule_isvar(p) ? bind(m, p->s, a) : literal(p, a);
}

static bool
call(Match *m, const Ast *p, const Node *n)
{
	int number = m->ncall++;
	uint64_t mentioned = 0;
	bool turn = false;

	if (n->narg != n->op->nparam || n->op->nparam > 63 || !rule_names(m->cx, p, n->op))
		return false;
	if (n->op->flags & OP(Commutative) && n->narg >= 2 && number < MaxTurned) {
		m->matters |= 1u << number;
		turn = m->turned >> number & 1;
	}
	for (int k = 1; k < p->n; k++) {
		int i = rule_param(p, k, n->op);
		if (i < 0)
			return false;
		if (turn && i < 2)
			i = 1 - i;
		mentioned |= UINT64_C(1) << i;
		if (!argument(m, p->kid[k]->kind == AstKw ? p->kid[k]->kid[0] : p->kid[k], &n->arg[i]))
			return false;
	}
	for (int i = 0; i < n->narg; i++)
		if (!(mentioned >> i & 1) && !isdefault(m->cx, n, i))
			return false;
	return true;
}

/* ---- conditions ---------------------------------------------------------------------------- */

/* Bits of the integers that a float holds exactly, sign left out; of an int, all of its. */
static int
digits(enum dtype d)
{
	switch (d) {
	case DtB8:   return 1;
	case DtF64:  return 53;
	case DtF32:  return 24;
	case DtF16:  return 11;
	case DtBF16: return 8;
	default:     break;
	}
	if (dtypeinfo[d].kind == KindUint || dtypeinfo[d].kind == KindInt)
		return 8 * dtypeinfo[d].bytes - (dtypeinfo[d].kind == KindInt);
	return 0;
}

/* Every value of d is one of e. */
static bool
exact(enum dtype d, enum dtype e)
{
	static const enum dtype wide[] = {DtF32, DtF64};

	if (d == e || d == DtB8)
		return true;
	if (digits(d) == 0 || digits(e) == 0 || e == DtB8)
		return false;
	if (dt_float(d)) {
		for (int k = 0; k < COUNT(wide); k++)
			if (e == wide[k])
				return d == DtF16 || d == DtBF16 || (d == DtF32 && e == DtF64);
		return false;
	}
	if (e == DtF16 && digits(d) > 11)
		return false;
	if (dtypeinfo[d].kind == KindInt && dtypeinfo[e].kind == KindUint)
		return false;
	return digits(d) <= digits(e);
}

static LVal
operand(Lang *L, const Ast *e, int k)
{
	if (e->n <= k)
		lang_fail(L, e, "%s needs %d arguments", e->kid[0]->s, k);
	return lang_eval(L, e->kid[k]);
}

static bool
single_use(Lang *L, const Ast *e)
{
	LVal v = operand(L, e, 1);

	return v.kind == LTensor && node_nuse(v.t) == 1;
}

static bool
exactly(Lang *L, const Ast *e)
{
	LVal d = operand(L, e, 1), x = operand(L, e, 2);

	return d.kind == LDtype && x.kind == LDtype && exact(d.dt, x.dt);
}

/* The number is a value of the dtype; -0.0 is one of floats alone. */
static bool
represents(Lang *L, const Ast *e)
{
	LVal d = operand(L, e, 1), v = operand(L, e, 2);
	int64_t k = 0;
	uint8_t raw[16];

	if (d.kind != LDtype || dtypeinfo[d.dt].kind == KindComplex)
		return false;
	if (v.kind == LInt && !sym_isconst(v.i, &k))
		return false;
	double f = v.kind == LFloat ? v.f : v.kind == LBool ? v.b : (double)k;
	if ((v.kind != LFloat && v.kind != LBool && v.kind != LInt) || (v.kind == LInt && (k > INT64_C(1) << 53 || k < -(INT64_C(1) << 53))))
		return false;
	if (dt_int(d.dt) && (!isfinite(f) || fabs(f) > 0x1p53 || signbit(f) != (f < 0)))
		return false;
	dt_store(d.dt, raw, f);
	double back = dt_load(d.dt, raw);
	return isnan(f) ? isnan(back) : back == f;
}

/* A power of two, not so large or small that its reciprocal would not be one. */
static bool
power2(Lang *L, const Ast *e)
{
	LVal v = operand(L, e, 1);
	int64_t k = 0;
	double f = v.kind == LFloat ? v.f : v.kind == LInt && sym_isconst(v.i, &k) ? (double)k : 0;
	int ex;

	return isfinite(f) && fabs(frexp(f, &ex)) == 0.5 && ex > -100 && ex < 100;
}

static const struct { const char *name; bool (*fn)(Lang *, const Ast *); } helper[] = {
	{"single_use", single_use}, {"exact", exactly}, {"power2", power2}, {"represents", represents},
};

bool
rule_ishelper(const char *name)
{
	for (int k = 0; k < COUNT(helper); k++)
		if (strcmp(helper[k].name, name) == 0)
			return true;
	return false;
}

static bool
condition(Lang *L, const Ast *e)
{
	if (e->kind == AstAnd)
		return condition(L, e->kid[0]) && condition(L, e->kid[1]);
	if (e->kind == AstOr)
		return condition(L, e->kid[0]) || condition(L, e->kid[1]);
	if (e->kind == AstNot)
		return !condition(L, e->kid[0]);
	for (int k = 0; e->kind == AstCall && e->kid[0]->kind == AstName && k < COUNT(helper); k++)
		if (strcmp(helper[k].name, e->kid[0]->s) == 0)
			return helper[k].fn(L, e);
	return lang_holds(L, e, e);
}

static void
scope(Lang *L, const Match *m, const RuleDef *r, Node *root, enum langmode mode)
{
	lang_init(L, m->cx, NULL, NULL, root->loc, mode);
	L->what = r->name;
	L->g = root->graph;
	L->before = root;
	for (int k = 0; k < m->n; k++)
		lang_push(L, m->bound[k].name, m->bound[k].val);
	lang_set(L, "result", (LVal){.kind = LTensor, .t = &root->out[0]});
}

static bool
holds(const Match *m, const RuleDef *r, Node *root)
{
	const Ast *e = r->when ? lang_ast(m->cx, NULL, r->name, r->when, FormExpr) : NULL;
	jmp_buf fail;
	Lang L;

	if (e == NULL)
		return r->when == NULL;
	scope(&L, m, r, root, LangPlain);
	L.fail = &fail;
	if (setjmp(fail))
		return false;
	return condition(&L, e);
}

/* ---- replacing ------------------------------------------------------------------------------ */

/* Nodes made for nothing: from the last to the first, so that none has uses. */
static void
undo(Graph *g, const Node *prev, Node *root)
{
	Node *n;

	while ((n = root->prev) != prev && n != NULL)
		node_delete(n);
	(void)g;
}

/* A call of an operator of the user's own: the arguments are there. */
static Val *
foreign(const RuleDef *r, Node *root, Lang *L, LVal list)
{
	Ctx *cx = root->graph->cx;
	const Type *t = root->out[0].type;
	Arg arg[4] = {arg_str(intern_printf(cx, "%s%s", r->external, strchr(strchr(r->external, '.') + 1, '.') ? "" : ".default")),
	              lang_toarg(L, NULL, list), arg_list(root->graph->arena, NULL, 0), arg_str(intern_str(cx, r->symbol))};
	Node *n = node_new(root->graph, op_find("higher_order.auto_functionalized_v2"), arg, 4, 1, root, root->loc);

	n->out[0].type = type_tensor(cx, t->dt, t->rank, t->dim);
	return &n->out[0];
}

static Val *
replacement(const Match *m, const RuleDef *r, Node *root)
{
	const Node *prev = root->prev;
	LVal v = {.kind = LNone};
	Lang L;

	scope(&L, m, r, root, LangTensor);
	if (!lang_run(&L, r->name, r->replacement, FormExpr, &v)) {
		if (r->source)
			note(m->cx, loc_at(m->cx, r->source, r->replacement_at), "in the replacement of rule %s", r->name);
		else
			note(m->cx, NOLOC, "%s:%d: in rule %s", r->file, r->line, r->name);
		return NULL;
	}
	if (r->external)
		return foreign(r, root, &L, v);
	if (v.kind == LTensor && v.t != &root->out[0] && type_same(v.t->type, root->out[0].type))
		return v.t;
	undo(root->graph, prev, root);
	return NULL;
}

Val *
rule_apply(const RuleDef *r, Node *root)
{
	Ctx *cx = root->graph->cx;
	const Ast *p = lang_ast(cx, NULL, r->name, r->pattern, FormExpr);
	Match m = {.cx = cx};
	unsigned matters = 0;

	if (p == NULL || p->kind != AstCall || root->nout != 1 || root->out[0].type == NULL || root->out[0].type->kind != TyTensor)
		return NULL;
	for (unsigned turned = 0; turned < 1u << MaxTurned; turned++) {
		if (turned & ~matters)
			continue;
		m = (Match){.cx = cx, .turned = turned};
		if (call(&m, p, root) && holds(&m, r, root))
			return replacement(&m, r, root);
		matters |= m.matters;
	}
	return NULL;
}
