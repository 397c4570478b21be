/* formb.h - walking over the tokens of a function: what formb.c and formbval.c share.
 */
#ifndef FORMB_H
#define FORMB_H
#include "front/text.h"

/* composite.c: inputs that are made of several tensors. */
bool composite_is(const char *annotation, size_t n);
bool composite_read(Fn *, Str name, const char *annotation, size_t n, int64_t off, Loc);

/* The token k after the next; the last one is TkEof. */
static inline const Tok *
peek(const Fn *f, int k)
{
	int i = f->p + k;

	return &f->t.v[i < f->t.n ? i : f->t.n - 1];
}

static inline bool
isop(const Fn *f, int k, const char *op)
{
	const Tok *t = peek(f, k);

	return t->kind == TkOp && strcmp(t->op, op) == 0;
}

static inline bool
accept(Fn *f, const char *op)
{
	if (!isop(f, 0, op))
		return false;
	f->p++;
	return true;
}

static inline bool
expect(Fn *f, const char *op)
{
	return accept(f, op) || fn_fail(f, peek(f, 0), "expected '%s'", op);
}

static inline Str
text(const Fn *f, const Tok *t)
{
	return intern(f->r->cx, f->t.s + t->off, t->len);
}

static inline bool
isword(const Fn *f, int k, const char *word)
{
	const Tok *t = peek(f, k);

	return t->kind == TkName && t->len == strlen(word) && memcmp(f->t.s + t->off, word, t->len) == 0;
}

static inline Loc
place(const Fn *f, const Tok *t)
{
	return f->builtin ? f->loc : loc_from(f->r->cx, f->r->file, t->off, f->python);
}

/* formb.c: value [OP value], or OP value */
bool    formb_rhs(Fn *, Tv *, int nest);
/* formbval.c.  nest: how many brackets are open around it. */
bool    formb_value(Fn *, Tv *, int nest);
bool    formb_subscript(Fn *, Tv *, int nest);              /* after the '[' of x[...] */
bool    formb_isnumber(const Fn *);                         /* a number comes next, its sign before it */
#endif
