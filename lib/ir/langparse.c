/* langparse.c - text of a table line to syntax tree.
 *
 * A small Python.  All tokens are made first; each knows its column and whether
 * it is the first of its line.  That is enough for layout: within statements a
 * token that begins a line at or left of the block's column ends the statement,
 * everything deeper continues it.  Brackets and plain expressions ignore lines.
 * Precedence is Python's, by descent.
 */
#include <ctype.h>
#include <stdlib.h>
#include "ir/lang.h"

enum tok { TokEnd, TokInt, TokFloat, TokStr, TokName, TokOp };

typedef struct Token {
	enum tok kind;
	Str s;              /* name, operator, string */
	int64_t i; double f;
	int line, col;
	size_t at;          /* byte of the text */
	bool first;         /* of its line */
} Token;

typedef struct Parser {
	Ctx *cx;
	Arena *a;
	const char *file;   /* NULL: the text is part of a file that loc_file knows, */
	int line0;
	int source; size_t offset;   /* this one, from this byte */
	VEC(Token) tok;
	int pos, start;     /* start: where the statement began */
	bool layout;        /* lines mean something */
	int indent, depth;  /* column of the block; open brackets */
	int nest;           /* guards the C stack */
	Token end;
	bool failed;
} Parser;

enum { MaxNest = 200 };

static void
wrong(Parser *p, const Token *t, const char *what, const char *near)
{
	const char *text = arena_printf(p->a, "%s%s%s", what, near ? " near " : "", near ? near : "");

	if (!p->failed && p->file)
		error(p->cx, NOLOC, "%s:%d: %s", p->file, p->line0 + t->line, text);
	else if (!p->failed)
		error(p->cx, loc_at(p->cx, p->source, p->offset + t->at), "%s", text);
	p->failed = true;
}

/* ---- tokens -------------------------------------------------------------- */

static const char *const longops[] = {
	"**", "//", "<<", ">>", "==", "!=", "<=", ">=", "+=", "->"
};

static size_t
oplen(const char *s)
{
	for (int i = 0; i < COUNT(longops); i++)
		if (strncmp(s, longops[i], 2) == 0)
			return 2;
	return strchr("+-*/%@&|^~<>=()[]{},:.;", *s) && *s ? 1 : 0;
}

static const char *
number(Parser *p, const char *s, Token *t)
{
	const char *e = s;
	char *stop;

	while (isdigit((unsigned char)*e))
		e++;
	if (*s == '0' && (s[1] == 'x' || s[1] == 'X')) {
		t->kind = TokInt;
		t->i = (int64_t)strtoull(s, &stop, 16);
		return stop;
	}
	if (*e == '.' || *e == 'e' || *e == 'E') {
		t->kind = TokFloat;
		t->f = strtod(s, &stop);
		return stop;
	}
	t->kind = TokInt;
	t->i = (int64_t)strtoull(s, &stop, 10);
	(void)p;
	return stop;
}

static const char *
string(Parser *p, const char *s, Token *t)
{
	Text text = {.arena = p->a};
	char q = *s++;

	for (; *s && *s != q && *s != '\n'; s++) {
		if (*s == '\\' && s[1])
			s++;
		text_put(&text, s, 1);
	}
	if (*s != q)
		wrong(p, t, "string without end", NULL);
	t->kind = TokStr;
	t->s = intern(p->cx, text.n ? text.s : "", text.n);
	return *s ? s + 1 : s;
}

static bool
scan(Parser *p, const char *s)
{
	int line = 0;
	const char *bol = s, *begin = s;
	bool first = true;

	for (;;) {
		Token t = {.line = line, .col = (int)(s - bol), .at = (size_t)(s - begin), .first = first};

		if (*s == '\n') {
			line++, s++;
			bol = s, first = true;
			continue;
		}
		if (*s == ' ' || *s == '\t' || *s == '\r') {
			s++;
			continue;
		}
		if (*s == '#') {
			while (*s && *s != '\n')
				s++;
			continue;
		}
		if (*s == '\0')
			break;
		if (isdigit((unsigned char)*s) ||
		    (*s == '.' && isdigit((unsigned char)s[1]))) {
			s = number(p, s, &t);
		} else if (isalpha((unsigned char)*s) || *s == '_') {
			const char *e = s;
			while (isalnum((unsigned char)*e) || *e == '_')
				e++;
			t.kind = TokName;
			t.s = intern(p->cx, s, (size_t)(e - s));
			s = e;
		} else if (*s == '\'' || *s == '"') {
			s = string(p, s, &t);
		} else {
			size_t n = oplen(s);
			if (n == 0) {
				wrong(p, &t, "stray character", (char[]){*s, 0});
				return false;
			}
			t.kind = TokOp;
			t.s = intern(p->cx, s, n);
			s += n;
		}
		first = false;
		vec_push(p->a, &p->tok, t);
	}
	p->end = (Token){.kind = TokEnd, .line = line, .col = -1, .at = (size_t)(s - begin), .first = true};
	return !p->failed;
}

static Token *
raw(Parser *p, int ahead)
{
	return p->pos + ahead < p->tok.n ? &p->tok.v[p->pos + ahead] : &p->end;
}

/* The token to look at: the end, where layout ends the statement. */
static Token *
cur(Parser *p)
{
	Token *t = raw(p, 0);

	if (p->layout && p->depth == 0 && p->pos != p->start && t->first &&
	    t->col <= p->indent)
		return &p->end;
	return t;
}

static bool
isword(const Token *t, const char *s)
{
	return (t->kind == TokOp || t->kind == TokName) && strcmp(t->s, s) == 0;
}

static bool
is(Parser *p, const char *s)
{
	return isword(cur(p), s);
}

static bool
take(Parser *p, const char *s)
{
	if (!is(p, s))
		return false;
	p->pos++;
	if (strchr("([{", *s) && !s[1])
		p->depth++;
	else if (strchr(")]}", *s) && !s[1])
		p->depth--;
	return true;
}

static const char *
tokstr(Parser *p, const Token *t)
{
	switch (t->kind) {
	case TokEnd:   return "the end";
	case TokInt:   return arena_printf(p->a, "%lld", (long long)t->i);
	case TokFloat: return arena_printf(p->a, "%g", t->f);
	case TokStr:   return arena_printf(p->a, "'%s'", t->s);
	default:       return arena_printf(p->a, "'%s'", t->s);
	}
}

static void
unexpected(Parser *p, const char *want)
{
	Token *t = cur(p);

	wrong(p, t->kind == TokEnd && p->pos ? &p->tok.v[p->pos - 1] : t, arena_printf(p->a, "%s expected", want), tokstr(p, t));
}

static void
expect(Parser *p, const char *s)
{
	if (!take(p, s))
		unexpected(p, arena_printf(p->a, "'%s'", s));
}

/* ---- trees ----------------------------------------------------------------- */

static Ast *
node(Parser *p, enum astkind kind, int n)
{
	Ast *a = NEW(p->a, Ast);

	a->kind = kind;
	a->line = raw(p, 0)->line;
	a->at = raw(p, 0)->at;
	a->n = n;
	a->kid = n ? NEWN(p->a, Ast *, n) : NULL;
	return a;
}

static Ast *
node2(Parser *p, enum astkind kind, Str s, Ast *x, Ast *y)
{
	Ast *a = node(p, kind, y ? 2 : 1);

	a->s = s;
	a->kid[0] = x;
	if (y)
		a->kid[1] = y;
	if (x) {
		a->line = x->line;
		a->at = x->at;
	}
	return a;
}

typedef VEC(Ast *) Kids;

static Ast *
gather(Parser *p, enum astkind kind, const Kids *k, int line)
{
	Ast *a = node(p, kind, k->n);

	if (k->n)
		memcpy(a->kid, k->v, sizeof *k->v * (size_t)k->n);
	if (k->n && k->v[0])
		a->at = k->v[0]->at;
	a->line = line;
	return a;
}

/* ---- expressions ------------------------------------------------------------- */

static Ast *expr(Parser *);
static Ast *orexpr(Parser *);

static Ast *
name(Parser *p)
{
	Ast *a = node(p, AstName, 0);

	if (cur(p)->kind != TokName) {
		unexpected(p, "a name");
		a->s = intern_str(p->cx, "?");
		return a;
	}
	a->s = cur(p)->s;
	p->pos++;
	return a;
}

/* for NAME, NAME in EXPR [if EXPR] ..., after the first expression. */
static Ast *
comprehension(Parser *p, Ast *body, bool list)
{
	Kids k = {0};
	Ast *a;

	vec_push(p->a, &k, body);
	while (!p->failed && (is(p, "for") || is(p, "if"))) {
		Kids f = {0};
		int line = cur(p)->line;

		if (take(p, "if")) {
			Ast *w = node(p, AstWhen, 1);
			w->kid[0] = orexpr(p);
			vec_push(p->a, &k, w);
			continue;
		}
		take(p, "for");
		vec_push(p->a, &f, NULL);
		bool paren = take(p, "(");
		do
			vec_push(p->a, &f, name(p));
		while (take(p, ","));
		if (paren)
			expect(p, ")");
		expect(p, "in");
		f.v[0] = orexpr(p);
		vec_push(p->a, &k, gather(p, AstFor, &f, line));
	}
	a = gather(p, AstComp, &k, body->line);
	a->b = list;
	return a;
}

static Ast *
element(Parser *p)
{
	if (take(p, "*")) {
		Ast *a = node(p, AstStar, 1);
		a->kid[0] = orexpr(p);
		return a;
	}
	return expr(p);
}

/* [a, *b], [e for ...], (a), (a, b), (). */
static Ast *
bracketed(Parser *p, const char *close)
{
	bool list = *close == ']';
	int line = cur(p)->line;
	bool comma = false;
	Kids k = {0};

	while (!p->failed && !is(p, close)) {
		vec_push(p->a, &k, element(p));
		if (k.n == 1 && is(p, "for")) {
			Ast *a = comprehension(p, k.v[0], list);
			expect(p, close);
			return a;
		}
		if (!take(p, ","))
			break;
		comma = true;
	}
	expect(p, close);
	if (!list && k.n == 1 && !comma)
		return k.v[0];
	return gather(p, AstList, &k, line);
}

static Ast *
number_or_name(Parser *p)
{
	Token *t = cur(p);
	static const struct { const char *s; enum astkind kind; bool b; } word[] = {
		{"None", AstNone, 0}, {"none", AstNone, 0},
		{"True", AstBool, 1}, {"False", AstBool, 0},
	};
	static const char *const reserved[] = {
		"if", "else", "elif", "for", "in", "is", "and", "or", "not",
		"lambda", "return", "assert"
	};
	Ast *a = node(p, AstName, 0);

	switch (t->kind) {
	case TokInt:   a->kind = AstInt; a->i = t->i; break;
	case TokFloat: a->kind = AstFloat; a->f = t->f; break;
	case TokStr:   a->kind = AstStr; a->s = t->s; break;
	case TokName:
		a->s = t->s;
		for (int i = 0; i < COUNT(reserved); i++)
			if (strcmp(t->s, reserved[i]) == 0) {
				unexpected(p, "an expression");
				return a;
			}
		for (int i = 0; i < COUNT(word); i++)
			if (strcmp(t->s, word[i].s) == 0) {
				a->kind = word[i].kind;
				a->b = word[i].b;
			}
		break;
	default:
		unexpected(p, "an expression");
		return a;
	}
	p->pos++;
	/* Adjacent strings are one, as in Python. */
	while (a->kind == AstStr && cur(p)->kind == TokStr) {
		a->s = intern_printf(p->cx, "%s%s", a->s, cur(p)->s);
		p->pos++;
	}
	return a;
}

static Ast *
atom(Parser *p)
{
	if (take(p, "("))
		return bracketed(p, ")");
	if (take(p, "["))
		return bracketed(p, "]");
	return number_or_name(p);
}

static Ast *
argument(Parser *p)
{
	if (cur(p)->kind == TokName && isword(raw(p, 1), "=")) {
		Ast *a = node(p, AstKw, 1);
		a->s = cur(p)->s;
		p->pos += 2;
		a->kid[0] = expr(p);
		return a;
	}
	Ast *a = element(p);
	return is(p, "for") ? comprehension(p, a, false) : a;
}

static Ast *
subscript(Parser *p)
{
	Ast *part[3] = {0};
	int n = 0;

	if (!is(p, ":"))
		part[0] = element(p);
	if (!is(p, ":"))
		return part[0];
	Ast *a = node(p, AstSlice, 3);
	while (n < 2 && take(p, ":")) {
		n++;
		if (!is(p, ":") && !is(p, "]") && !is(p, ","))
			part[n] = expr(p);
	}
	memcpy(a->kid, part, sizeof part);
	return a;
}

static Ast *
postfix(Parser *p)
{
	Ast *a = atom(p);

	while (!p->failed) {
		Kids k = {0};

		vec_push(p->a, &k, a);
		if (take(p, ".")) {
			Ast *d = node(p, AstAttr, 1);
			d->kid[0] = a;
			d->s = name(p)->s;
			a = d;
		} else if (take(p, "(")) {
			while (!p->failed && !is(p, ")")) {
				vec_push(p->a, &k, argument(p));
				if (!take(p, ","))
					break;
			}
			expect(p, ")");
			a = gather(p, AstCall, &k, a->line);
		} else if (take(p, "[")) {
			while (!p->failed && !is(p, "]")) {
				vec_push(p->a, &k, subscript(p));
				if (!take(p, ","))
					break;
			}
			expect(p, "]");
			a = gather(p, AstIndex, &k, a->line);
		} else {
			break;
		}
	}
	return a;
}

static Ast *unary(Parser *);

static Ast *
power(Parser *p)
{
	Ast *a = postfix(p);

	if (is(p, "**")) {
		Str s = cur(p)->s;
		p->pos++;
		return node2(p, AstBin, s, a, unary(p));
	}
	return a;
}

static Ast *
unary(Parser *p)
{
	if (++p->nest > MaxNest) {
		wrong(p, cur(p), "nested too deeply", NULL);
		return node(p, AstNone, 0);
	}
	Ast *a = take(p, "-") ? node2(p, AstNeg, NULL, unary(p), NULL)
	       : take(p, "~") ? node2(p, AstInv, NULL, unary(p), NULL)
	       : take(p, "+") ? unary(p)
	       : power(p);
	p->nest--;
	return a;
}

/* Binary operators from loose to tight; comparisons and `not` stand above. */
static const char *const level[][6] = {
	{"|"}, {"^"}, {"&"}, {"<<", ">>"}, {"+", "-"}, {"*", "/", "//", "%", "@"},
};

static Ast *
binary(Parser *p, int lv)
{
	if (lv == COUNT(level))
		return unary(p);
	Ast *a = binary(p, lv + 1);
again:
	for (int i = 0; i < 6 && level[lv][i] && !p->failed; i++)
		if (is(p, level[lv][i])) {
			Str s = cur(p)->s;
			p->pos++;
			a = node2(p, AstBin, s, a, binary(p, lv + 1));
			goto again;
		}
	return a;
}

static const char *
cmpop(Parser *p)
{
	static const char *const op[] = {"==", "!=", "<=", ">=", "<", ">"};

	for (int i = 0; i < COUNT(op); i++)
		if (take(p, op[i]))
			return op[i];
	if (take(p, "is"))
		return take(p, "not") ? "isnot" : "is";
	if (is(p, "not") && isword(raw(p, 1), "in")) {
		p->pos += 2;
		return "notin";
	}
	return take(p, "in") ? "in" : NULL;
}

/* a < b < c is a < b and b < c. */
static Ast *
comparison(Parser *p)
{
	Ast *a = binary(p, 0), *all = NULL;
	const char *op;

	while (!p->failed && (op = cmpop(p)) != NULL) {
		Ast *b = binary(p, 0);
		Ast *c = node2(p, AstCmp, intern_str(p->cx, op), a, b);
		all = all ? node2(p, AstAnd, NULL, all, c) : c;
		a = b;
	}
	return all ? all : a;
}

static Ast *
notexpr(Parser *p)
{
	if (++p->nest > MaxNest) {
		wrong(p, cur(p), "nested too deeply", NULL);
		return node(p, AstNone, 0);
	}
	Ast *a = take(p, "not") ? node2(p, AstNot, NULL, notexpr(p), NULL)
	                        : comparison(p);
	p->nest--;
	return a;
}

static Ast *
andexpr(Parser *p)
{
	Ast *a = notexpr(p);

	while (!p->failed && take(p, "and"))
		a = node2(p, AstAnd, NULL, a, notexpr(p));
	return a;
}

static Ast *
orexpr(Parser *p)
{
	Ast *a = andexpr(p);

	while (!p->failed && take(p, "or"))
		a = node2(p, AstOr, NULL, a, andexpr(p));
	return a;
}

static Ast *
lambda(Parser *p)
{
	Kids k = {0};
	int line = cur(p)->line;

	vec_push(p->a, &k, NULL);
	while (!p->failed && !is(p, ":")) {
		vec_push(p->a, &k, name(p));
		if (!take(p, ","))
			break;
	}
	expect(p, ":");
	k.v[0] = expr(p);
	return gather(p, AstLambda, &k, line);
}

static Ast *
expr(Parser *p)
{
	if (++p->nest > MaxNest) {
		wrong(p, cur(p), "nested too deeply", NULL);
		return node(p, AstNone, 0);
	}
	Ast *a = take(p, "lambda") ? lambda(p) : orexpr(p);

	if (!p->failed && take(p, "if")) {
		Ast *c = node(p, AstIf, 3);
		c->line = a->line;
		c->kid[0] = orexpr(p);
		c->kid[1] = a;
		expect(p, "else");
		c->kid[2] = expr(p);
		a = c;
	}
	p->nest--;
	return a;
}

/* a, b, c without brackets is a list. */
static Ast *
exprs(Parser *p)
{
	int line = cur(p)->line;
	Kids k = {0};

	vec_push(p->a, &k, element(p));
	if (!is(p, ","))
		return k.v[0];
	while (!p->failed && take(p, ",") && cur(p)->kind != TokEnd)
		vec_push(p->a, &k, element(p));
	return gather(p, AstList, &k, line);
}

/* ---- statements ---------------------------------------------------------------- */

static Ast *block(Parser *);

/* Is what follows  NAME [, NAME ...] =  ? */
static bool
assigns(Parser *p)
{
	int k = 0;
	bool paren = isword(raw(p, 0), "(");

	if (paren)
		k++;
	while (raw(p, k)->kind == TokName && isword(raw(p, k + 1), ","))
		k += 2;
	if (raw(p, k)->kind != TokName)
		return false;
	if (paren)
		return isword(raw(p, k + 1), ")") && isword(raw(p, k + 2), "=");
	return isword(raw(p, k + 1), "=") || (k == 0 && isword(raw(p, 1), "+="));
}

static Ast *
assignment(Parser *p)
{
	int line = cur(p)->line;
	Kids k = {0};
	bool paren = take(p, "(");

	vec_push(p->a, &k, NULL);
	do
		vec_push(p->a, &k, name(p));
	while (take(p, ","));
	if (paren)
		expect(p, ")");
	enum astkind kind = take(p, "+=") ? AstAdd : AstAssign;
	if (kind == AstAssign)
		expect(p, "=");
	k.v[0] = exprs(p);
	return gather(p, kind, &k, line);
}

static Ast *statement(Parser *);

/* After a ':': statements on the same line, or a deeper block below. */
static Ast *
suite(Parser *p)
{
	Kids k = {0};
	int line = cur(p)->line;

	expect(p, ":");
	if (raw(p, 0)->first && raw(p, 0)->col > p->indent)
		return block(p);
	do
		vec_push(p->a, &k, statement(p));
	while (!p->failed && take(p, ";") && cur(p)->kind != TokEnd);
	return gather(p, AstBlock, &k, line);
}

/* elif and else stand at the column of their if. */
static bool
continues(Parser *p, const char *word)
{
	Token *t = raw(p, 0);

	if (!isword(t, word) || !t->first || t->col != p->indent)
		return false;
	p->start = p->pos;
	p->pos++;
	return true;
}

static Ast *
whether(Parser *p)
{
	Ast *a = node(p, AstWhether, 3);

	a->kid[0] = expr(p);
	a->kid[1] = suite(p);
	if (p->failed)
		return a;
	if (continues(p, "elif"))
		a->kid[2] = whether(p);
	else if (continues(p, "else"))
		a->kid[2] = suite(p);
	return a;
}

static Ast *
loop(Parser *p)
{
	int line = cur(p)->line;
	Kids k = {0};
	bool paren = take(p, "(");

	vec_push(p->a, &k, NULL);
	vec_push(p->a, &k, NULL);
	do
		vec_push(p->a, &k, name(p));
	while (take(p, ","));
	if (paren)
		expect(p, ")");
	expect(p, "in");
	k.v[0] = exprs(p);
	k.v[1] = suite(p);
	return gather(p, AstLoop, &k, line);
}

static Ast *
condition(Parser *p)
{
	Ast *a = node(p, AstAssert, 2);

	a->kid[0] = expr(p);
	if (take(p, ","))
		a->kid[1] = expr(p);
	return a;
}

static Ast *
statement(Parser *p)
{
	if (++p->nest > MaxNest) {
		wrong(p, cur(p), "nested too deeply", NULL);
		return node(p, AstNone, 0);
	}
	Ast *a = take(p, "if") ? whether(p)
	       : take(p, "for") ? loop(p)
	       : take(p, "return") ? node2(p, AstReturn, NULL, exprs(p), NULL)
	       : take(p, "assert") ? condition(p)
	       : assigns(p) ? assignment(p)
	       : node2(p, AstExpr, NULL, exprs(p), NULL);
	p->nest--;
	return a;
}

static Ast *
block(Parser *p)
{
	int outer = p->indent, line = raw(p, 0)->line;
	Kids k = {0};

	p->indent = raw(p, 0)->col;
	while (!p->failed && raw(p, 0)->kind != TokEnd &&
	       raw(p, 0)->col == p->indent && raw(p, 0)->first) {
		do {
			p->start = p->pos;
			vec_push(p->a, &k, statement(p));
		} while (!p->failed && take(p, ";") && cur(p)->kind != TokEnd);
		if (!p->failed && !raw(p, 0)->first)
			unexpected(p, "the end of the statement");
	}
	if (!p->failed && raw(p, 0)->kind != TokEnd && raw(p, 0)->col > outer &&
	    raw(p, 0)->col != p->indent)
		wrong(p, raw(p, 0), "this line's indentation fits no block", NULL);
	p->indent = outer;
	return gather(p, AstBlock, &k, line);
}

/* Does the text begin as a statement does? */
static bool
begins(Parser *p)
{
	static const char *const word[] = {"if", "for", "return", "assert"};

	for (int i = 0; i < COUNT(word); i++)
		if (isword(raw(p, 0), word[i]))
			return true;
	return assigns(p);
}

static Ast *
conditions(Parser *p)
{
	Kids k = {0};

	do
		vec_push(p->a, &k, condition(p));
	while (!p->failed && take(p, ";") && cur(p)->kind != TokEnd);
	return gather(p, AstBlock, &k, 0);
}

static Ast *
parse(Parser *p, const char *text, enum langform form)
{
	Ast *a;

	if (!scan(p, text))
		return NULL;
	if (p->tok.n == 0) {
		wrong(p, &p->end, "nothing here", NULL);
		return NULL;
	}
	p->tok.v[0].first = true;
	p->layout = form == FormBlock || (form == FormExpr && begins(p));
	if (p->layout)
		a = block(p);
	else
		a = form == FormWhere ? conditions(p) : exprs(p);
	if (!p->failed && p->pos < p->tok.n)
		unexpected(p, "the end of the line");
	return p->failed ? NULL : a;
}

Ast *
lang_parse(Ctx *cx, const char *text, enum langform form, const char *file, int line)
{
	Parser p = {.cx = cx, .a = ctx_arena(cx), .file = file, .line0 = line, .start = -1, .indent = -1};

	return parse(&p, text, form);
}

Ast *
lang_parse_at(Ctx *cx, const char *text, enum langform form, int source, size_t offset)
{
	Parser p = {.cx = cx, .a = ctx_arena(cx), .source = source, .offset = offset, .start = -1, .indent = -1};

	return parse(&p, text, form);
}
