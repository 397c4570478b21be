/* symstr.c - expressions as text, the way sympy prints them: variables in the
 * order of their names, higher powers first, the constant last.  The text reads
 * back to the same expression.
 */
#include <ctype.h>
#include <stdlib.h>
#include "ir/symrep.h"

enum { MaxText = 1 << 16 };   /* shared parts are printed again each time */

static void show(Text *, const Sym *);

/* What sorts an atom among others: variables by name, then functions. */
static int
cmpatom(const Sym *a, const Sym *b)
{
	if (a == b)
		return 0;
	if (a->kind != b->kind)
		return a->kind == SymVar ? -1 : 1;
	if (a->kind == SymVar)
		return strcmp(a->name, b->name);
	if (a->fn != b->fn)
		return a->fn < b->fn ? -1 : 1;
	return a->id < b->id ? -1 : 1;
}

static int
byname(const void *a, const void *b)
{
	return cmpatom(*(const Sym *const *)a, *(const Sym *const *)b);
}

/* Terms as words of atoms; a word comes before those that it continues into. */
static int
bylex(const void *p, const void *q)
{
	const SymTerm *a = p, *b = q;

	for (int i = 0; i < a->natom && i < b->natom; i++) {
		int c = cmpatom(a->atom[i], b->atom[i]);

		if (c)
			return c;
	}
	return b->natom - a->natom;
}

/* As a factor, or an argument of //, it needs parentheses? */
static void
factor(Text *t, const Sym *s)
{
	bool bare = s->kind == SymVar || (s->kind == SymConst && s->k >= 0)
	            || (s->kind == SymFloatConst && s->f >= 0)
	            || (s->kind == SymFn && s->fn != SymFnFAdd
	                && s->fn != SymFnFMul && s->fn != SymFnPow
	                && s->fn != SymFnLt && s->fn != SymFnLe
	                && s->fn != SymFnAnd && s->fn != SymFnOr
	                && s->fn != SymFnShl && s->fn != SymFnShr);

	if (!bare)
		text_put(t, "(", 1);
	show(t, s);
	if (!bare)
		text_put(t, ")", 1);
}

static void
infix(Text *t, const Sym *s, const char *op)
{
	for (int i = 0; i < s->narg; i++) {
		if (i)
			text_add(t, "%s", op);
		factor(t, s->arg[i]);
	}
}

/* u0 >= 2, not 2 <= u0. */
static void
order(Text *t, const Sym *s)
{
	bool swap = s->arg[0]->kind <= SymFloatConst;

	factor(t, s->arg[swap]);
	text_add(t, " %c%s ", swap ? '>' : '<', s->fn == SymFnLe ? "=" : "");
	factor(t, s->arg[!swap]);
}

static void
called(Text *t, const Sym *s, const char *fn)
{
	text_add(t, "%s(", fn);
	for (int i = 0; i < s->narg; i++) {
		if (i)
			text_put(t, ", ", 2);
		show(t, s->arg[i]);
	}
	text_put(t, ")", 1);
}

/* Numbers first, then by text. */
static int
bytext(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	bool m = isdigit((unsigned char)*x), n = isdigit((unsigned char)*y);

	return m != n ? n - m : strcmp(x, y);
}

/* Arguments whose order means nothing: the same whatever was made first. */
static void
symmetric(Text *t, const Sym *s, const char *fn)
{
	char **v = NEWN(t->arena, char *, s->narg);
	size_t start;

	text_add(t, "%s(", fn);
	start = t->n;
	for (int i = 0; i < s->narg; i++) {
		size_t from = t->n;

		show(t, s->arg[i]);
		v[i] = arena_printf(t->arena, "%s", t->s + from);
	}
	t->n = start;
	qsort(v, (size_t)s->narg, sizeof *v, bytext);
	for (int i = 0; i < s->narg; i++)
		text_add(t, "%s%s", i ? ", " : "", v[i]);
	text_put(t, ")", 1);
}

static void
opaque(Text *t, const Sym *s, const char *fn)
{
	text_add(t, "OpaqueUnaryFn_%s(", fn);
	show(t, s->arg[0]);
	text_put(t, ")", 1);
}

static void
showfn(Text *t, const Sym *s)
{
	static const char *const name[NSymFn] = {
		[SymFnMod] = "Mod", [SymFnMin] = "Min", [SymFnMax] = "Max",
		[SymFnEq] = "Eq", [SymFnNe] = "Ne", [SymFnWhere] = "Where",
		[SymFnToFloat] = "ToFloat", [SymFnTrueDiv] = "IntTrueDiv",
		[SymFnFDiv] = "FloatTrueDiv", [SymFnFPow] = "FloatPow",
		[SymFnFloor] = "FloorToInt", [SymFnCeil] = "CeilToInt",
		[SymFnTrunc] = "TruncToInt", [SymFnRound] = "RoundToInt",
		[SymFnShl] = "LShift", [SymFnShr] = "RShift",
	};

	switch (s->fn) {
	case SymFnDiv:
		text_put(t, "(", 1);
		infix(t, s, "//");
		text_put(t, ")", 1);
		break;
	/* Mod is for operands that are not negative */
	case SymFnMod:
		called(t, s, s->arg[0]->lo >= 0 ? "Mod" : "PythonMod");
		break;
	case SymFnMin:
	case SymFnMax:
		symmetric(t, s, name[s->fn]);
		break;
	case SymFnPow:  infix(t, s, "**"); break;
	case SymFnLt:
	case SymFnLe:
		order(t, s);
		break;
	case SymFnAnd:  infix(t, s, " & "); break;
	case SymFnOr:   infix(t, s, " | "); break;
	case SymFnFAdd: infix(t, s, " + "); break;
	case SymFnFMul: infix(t, s, "*"); break;
	case SymFnNot:
		text_put(t, "~(", 2);
		show(t, s->arg[0]);
		text_put(t, ")", 1);
		break;
	case SymFnSqrt: opaque(t, s, "sqrt"); break;
	case SymFnFFn:  opaque(t, s, s->name); break;
	default:        called(t, s, name[s->fn]); break;
	}
}

static void
showterm(Text *t, const SymTerm *term, bool first)
{
	uint64_t c = term->coef < 0 ? -(uint64_t)term->coef
	                            : (uint64_t)term->coef;

	text_add(t, "%s", term->coef < 0 ? first ? "-" : " - "
	                                 : first ? "" : " + ");
	if (c != 1)
		text_add(t, "%llu*", (unsigned long long)c);
	for (int i = 0, n; i < term->natom; i += n) {
		for (n = 1; i + n < term->natom
		     && term->atom[i + n] == term->atom[i]; n++)
			;
		if (i)
			text_put(t, "*", 1);
		factor(t, term->atom[i]);
		if (n > 1)
			text_add(t, "**%d", n);
	}
}

static void
showpoly(Text *t, const Sym *s)
{
	SymTerm *term = arena_dup(t->arena, s->term,
	                          sizeof *term * (size_t)s->nterm);

	for (int i = 0; i < s->nterm; i++) {
		size_t bytes = sizeof(Sym *) * (size_t)term[i].natom;
		const Sym **atom = arena_dup(t->arena, term[i].atom, bytes);

		qsort(atom, (size_t)term[i].natom, sizeof *atom, byname);
		term[i].atom = atom;
	}
	qsort(term, (size_t)s->nterm, sizeof *term, bylex);
	for (int i = 0; i < s->nterm; i++)
		showterm(t, &term[i], i == 0);
	if (s->k)
		text_add(t, " %c %llu", s->k < 0 ? '-' : '+',
		         s->k < 0 ? -(unsigned long long)s->k
		                  : (unsigned long long)s->k);
}

static void
show(Text *t, const Sym *s)
{
	char buf[32];

	if (t->n > MaxText) {
		text_put(t, "...", 3);
		return;
	}
	switch (s->kind) {
	case SymConst:
		text_add(t, "%lld", (long long)s->k);
		break;
	case SymFloatConst:
		double_str(buf, s->f);
		text_add(t, "%s", buf);
		break;
	case SymVar:
		text_add(t, "%s", s->name);
		break;
	case SymPoly:
		showpoly(t, s);
		break;
	case SymFn:
		showfn(t, s);
		break;
	}
}

const char *
sym_str(Ctx *cx, const Sym *s)
{
	Text t = { .arena = ctx_arena(cx) };

	text_put(&t, "", 0);
	show(&t, s);
	return t.s;
}
