/* verify.c - is a kernel well formed?  What printers take for granted:
 * operands come before their users and are visible there, dtypes and lanes fit. */
#include "lower/kernel.h"

typedef struct Check {
	Ctx *cx;
	const Kernel *k;
	KRef *open; int depth;           /* loops and ifs around */
	KRef *in;                        /* by instruction: its innermost opener */
	bool ok;
} Check;

static void PRINTF(3, 4)
wrong(Check *c, KRef r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error(c->cx, NOLOC, "kernel %s, %%%u: %s", c->k->name, r, arena_vprintf(ctx_arena(c->cx), fmt, ap));
	va_end(ap);
	c->ok = false;
}

static bool
visible(const Check *c, KRef a)
{
	if (!c->in[a])
		return true;
	for (int i = 0; i < c->depth; i++)
		if (c->open[i] == c->in[a])
			return true;
	return false;
}

static void
operand(Check *c, KRef r, KRef a, bool must)
{
	if (!a) {
		if (must)
			wrong(c, r, "an operand is missing");
		return;
	}
	if (a >= r)
		wrong(c, r, "operand %%%u comes later", a);
	else if (!visible(c, a))
		wrong(c, r, "operand %%%u is inside a loop that has ended", a);
}

static const KIns *
at(const Check *c, KRef r)
{
	return &c->k->ins.v[r];
}

static void
scalar(Check *c, KRef r, const KIns *i)
{
	int n = scalarinfo[i->sub].arity;
	KRef a[3] = {i->a, i->b, i->c};
	bool test = scalarinfo[i->sub].rule == ScCmp || scalarinfo[i->sub].rule == ScTest;

	for (int k = 0; k < n; k++) {
		operand(c, r, a[k], true);
		if (!c->ok)
			return;
		if (at(c, a[k])->lanes != i->lanes)
			wrong(c, r, "%s: lanes of operand %d", scalarinfo[i->sub].text, k);
		if (!test && at(c, a[k])->dt != (i->sub == ScSelect && k == 0 ? DtB8 : i->dt))
			wrong(c, r, "%s: operand %d is %s", scalarinfo[i->sub].text, k, dtypeinfo[at(c, a[k])->dt].text);
	}
	if (test && n == 2 && at(c, i->a)->dt != at(c, i->b)->dt)
		wrong(c, r, "%s of %s and %s", scalarinfo[i->sub].text, dtypeinfo[at(c, i->a)->dt].text,
		      dtypeinfo[at(c, i->b)->dt].text);
}

static void
memory(Check *c, KRef r, const KIns *i, KRef mask)
{
	if (i->buf >= c->k->buf.n) {
		wrong(c, r, "no such buffer");
		return;
	}
	operand(c, r, i->a, true);
	operand(c, r, mask, false);
	if (!c->ok)
		return;
	if (at(c, i->a)->dt != DtI64)
		wrong(c, r, "index is %s", dtypeinfo[at(c, i->a)->dt].text);
	if (at(c, i->a)->lanes != 1 && at(c, i->a)->lanes != i->lanes)
		wrong(c, r, "lanes of the index");
	if (mask && at(c, mask)->lanes != i->lanes)
		wrong(c, r, "lanes of the mask");
	if (c->k->buf.v[i->buf].dt != i->dt)
		wrong(c, r, "buffer %s holds %s, not %s", c->k->buf.v[i->buf].name,
		      dtypeinfo[c->k->buf.v[i->buf].dt].text, dtypeinfo[i->dt].text);
}

static void
control(Check *c, KRef r, const KIns *i)
{
	if (i->op == KEnd) {
		if (c->depth == 0 || c->open[--c->depth] != i->a)
			wrong(c, r, "ends what is not open");
		return;
	}
	operand(c, r, i->a, true);
	if (i->op == KLoop)
		operand(c, r, i->b, true);
	c->open[c->depth++] = r;
}

static void
instruction(Check *c, KRef r)
{
	const KIns *i = at(c, r);

	c->in[r] = c->depth ? c->open[c->depth - 1] : 0;
	switch (i->op) {
	case KLoop: case KIf: case KEnd:
		control(c, r, i);
		break;
	case KScalar:
		scalar(c, r, i);
		break;
	case KLoad:
		memory(c, r, i, i->b);
		break;
	case KStore:
		operand(c, r, i->b, true);
		memory(c, r, i, i->c);
		if (c->ok && (at(c, i->b)->lanes != i->lanes || at(c, i->b)->dt != i->dt))
			wrong(c, r, "value stored is %sx%d", dtypeinfo[at(c, i->b)->dt].text, at(c, i->b)->lanes);
		break;
	case KSet:
		operand(c, r, i->a, true);
		operand(c, r, i->b, true);
		if (c->ok && (at(c, i->a)->op != KVar || at(c, i->b)->dt != at(c, i->a)->dt ||
		              at(c, i->b)->lanes != at(c, i->a)->lanes))
			wrong(c, r, "set of a different type");
		break;
	case KZip:
		operand(c, r, i->a, true);
		operand(c, r, i->b, true);
		if (c->ok && (at(c, i->a)->lanes != i->lanes || at(c, i->b)->lanes != i->lanes))
			wrong(c, r, "zip of a different width");
		break;
	case KVar: case KGet: case KCast: case KBits: case KSplat: case KReduce: case KLane: case KRandom:
		operand(c, r, i->a, true);
		break;
	default:
		break;
	}
}

bool
kernel_verify(Ctx *cx, const Kernel *k)
{
	Arena *a = arena_new();
	Check c = {.cx = cx, .k = k, .ok = true};

	c.open = NEWN(a, KRef, k->ins.n + 1);
	c.in = NEWN(a, KRef, k->ins.n + 1);
	for (int r = 1; r < k->ins.n && c.ok; r++)
		instruction(&c, (KRef)r);
	if (c.ok && c.depth)
		wrong(&c, 0, "%d loops are open at the end", c.depth);
	arena_free(a);
	return c.ok;
}
