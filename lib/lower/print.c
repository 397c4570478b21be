/* print.c - kernels and plans as text.
 *
 * One instruction to a line, indented by its loops; constants stand where they
 * are used.  What a kernel comes from is said above it, with the model's own
 * file and line.
 */
#include "lower/kernel.h"

typedef struct Printer { const Kernel *k; Text *t; int depth; } Printer;

static const char *const foldname[NFold] = {
	"sum", "prod", "max", "min", "any", "all", "argmax", "argmin"
};

static void
indent(Printer *p)
{
	for (int i = 0; i < p->depth; i++)
		text_add(p->t, "\t");
}

static void
constant(Printer *p, const KIns *i)
{
	char buf[32];

	if (dt_int(i->dt)) {
		text_add(p->t, "%lld", (long long)i->i);
		return;
	}
	double_str(buf, i->f);
	text_add(p->t, "%s%s", buf, strpbrk(buf, ".einf") ? "" : ".0");
}

static void
operand(Printer *p, KRef r)
{
	const KIns *i = &p->k->ins.v[r];

	if (!r)
		text_add(p->t, "-");
	else if (i->op == KConst)
		constant(p, i);
	else if (i->op == KSize)
		text_add(p->t, "%s", p->k->sym.v[i->i]->name);
	else
		text_add(p->t, "%%%u", r);
}

static void
operands(Printer *p, const KIns *i)
{
	KRef r[3] = {i->a, i->b, i->c};

	for (int n = 0; n < 3 && r[n]; n++) {
		text_add(p->t, n ? ", " : " ");
		operand(p, r[n]);
	}
}

static const char *
typename(Printer *p, const KIns *i)
{
	return i->lanes > 1 ? arena_printf(p->t->arena, "%sx%d", dtypeinfo[i->dt].text, i->lanes)
	                    : dtypeinfo[i->dt].text;
}

static void
memory(Printer *p, const KIns *i, KRef mask)
{
	text_add(p->t, "%s[", p->k->buf.v[i->buf].name ? p->k->buf.v[i->buf].name : "?");
	operand(p, i->a);
	text_add(p->t, "]");
	if (mask) {
		text_add(p->t, " if ");
		operand(p, mask);
	}
}

static void
loop(Printer *p, KRef r, const KIns *i)
{
	static const char *const kind[] = {"for", "parallel", "vector", "unroll", "grid", "block"};

	text_add(p->t, "%s %%%u = ", kind[i->sub], r);
	operand(p, i->a);
	text_add(p->t, " .. ");
	operand(p, i->b);
	if (i->i != 1)
		text_add(p->t, " step %lld", (long long)i->i);
	text_add(p->t, " {\n");
	p->depth++;
}

static void
value(Printer *p, KRef r, const KIns *i)
{
	static const char *const name[NKop] = {
		[KVar] = "var", [KGet] = "get", [KCast] = "cast", [KBits] = "bits", [KSplat] = "splat",
		[KIota] = "iota", [KLane] = "lane", [KZip] = "zip", [KRandom] = "random",
	};

	text_add(p->t, "%%%u = %s ", r, typename(p, i));
	switch (i->op) {
	case KScalar: text_add(p->t, "%s", scalarinfo[i->sub].text); break;
	case KReduce: text_add(p->t, "reduce_%s", foldname[i->sub]); break;
	case KLoad:
		memory(p, i, i->b);
		return;
	default:
		text_add(p->t, "%s", name[i->op] ? name[i->op] : "?");
	}
	operands(p, i);
	if (i->op == KLane || i->op == KZip || i->op == KRandom)
		text_add(p->t, ", %lld", (long long)i->i);
}

static void
instruction(Printer *p, KRef r)
{
	const KIns *i = &p->k->ins.v[r];

	switch (i->op) {
	case KNop: case KConst: case KSize:
		return;
	case KEnd:
		p->depth--;
		indent(p);
		text_add(p->t, "}\n");
		return;
	case KLoop:
		indent(p);
		loop(p, r, i);
		return;
	case KIf:
		indent(p);
		text_add(p->t, "if ");
		operand(p, i->a);
		text_add(p->t, " {\n");
		p->depth++;
		return;
	case KSet:
		indent(p);
		text_add(p->t, "set");
		operands(p, i);
		break;
	case KStore:
		indent(p);
		memory(p, i, i->c);
		text_add(p->t, " = ");
		operand(p, i->b);
		break;
	case KPrefetch:
		indent(p);
		text_add(p->t, "prefetch ");
		memory(p, i, 0);
		break;
	default:
		indent(p);
		value(p, r, i);
	}
	text_add(p->t, "\n");
}

static void
buffers(const Kernel *k, Text *t)
{
	static const char *const home[] = {"", " stack", " scratch"};
	int n = 0;

	for (int i = 0; i < k->buf.n; i++) {
		const KBuf *b = &k->buf.v[i];
		text_add(t, "%s%s%s %s%s", n++ ? ", " : "", b->written ? b->read ? "inout " : "out " : "",
		         dtypeinfo[b->dt].text, b->name ? b->name : "?", home[b->home]);
		if (b->home == KStack)
			text_add(t, " %lld", (long long)b->count);
	}
}

static void
origin(const Kernel *k, Text *t)
{
	for (int i = 0; i < k->from.n; i++) {
		Node *n = k->from.v[i];
		Str py = loc_python(n->graph->cx, n->loc);
		text_add(t, "# %s%s%s\n", n->name ? n->name : "?", py ? "  " : "", py ? py : "");
	}
}

void
kernel_print(const Kernel *k, Text *t)
{
	Printer p = {k, t, 1};

	origin(k, t);
	text_add(t, "kernel %s(", k->name);
	buffers(k, t);
	text_add(t, ") {\n");
	for (int r = 1; r < k->ins.n; r++)
		instruction(&p, (KRef)r);
	text_add(t, "}\n");
}

/* ---- plans ----------------------------------------------------------------------- */

static const char *const homename[] = {"input", "output", "const", "state", "arena", "scratch", "saved", "weight", "fault"};

static void
printbuf(Ctx *cx, const Buf *b, int i, Text *t)
{
	text_add(t, "buf b%d: %s %s[%s] %s", i, b->name ? b->name : "?", dtypeinfo[b->dt].text,
	         sym_str(cx, b->count), homename[b->home]);
	if (b->home == HomeArena && b->offset)
		text_add(t, " at %s, steps %d to %d", sym_str(cx, b->offset), b->first, b->last);
	if (b->weight)
		text_add(t, " = %s", b->weight->fqn);
	text_add(t, "\n");
}

static void
printstep(Ctx *cx, const Step *s, int i, Text *t)
{
	static const char *const kind[] = {"run", "call", "copy", "size", "jump", "spread"};

	text_add(t, "step %d: %s", i, s->assertion ? "check" : kind[s->kind]);
	text_add(t, " %s", s->kernel ? s->kernel->name : s->fn ? s->fn : "");
	for (int k = 0; k < s->nbuf; k++)
		text_add(t, "%sb%d", k ? ", " : " ", s->buf[k]);
	for (int k = 0; k < s->nnum; k++)
		text_add(t, "%s%s", s->assertion && k == 0 ? "" : ", ", sym_str(cx, s->num[k]));
	if (s->define)
		text_add(t, " -> %s", sym_str(cx, s->define));
	if (s->kind == StepJump)
		text_add(t, " to step %d", s->target);
	text_add(t, "\n");
}

void
plan_print(const Plan *p, Text *t)
{
	Ctx *cx = p->mod->cx;

	for (int i = 0; i < p->buf.n; i++)
		printbuf(cx, &p->buf.v[i], i, t);
	text_add(t, "arena %s bytes\n", p->arena ? sym_str(cx, p->arena) : "0");
	for (int i = 0; i < p->step.n; i++)
		printstep(cx, &p->step.v[i], i, t);
	for (int i = 0; i < p->kernel.n; i++) {
		text_add(t, "\n");
		kernel_print(p->kernel.v[i], t);
	}
}
