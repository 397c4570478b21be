/* annot.c - the types that a text claims.
 *
 *   f32[2, s0][s0, 1]cpu     dtype, sizes, strides in elements, device
 *   Sym(s77 + 1)             a size
 *
 * Sizes are expressions (infix.c).  Tensor subclasses, sparse tensors and the
 * bits types are refused; the device says nothing to fxcc.
 */
#include "front/text.h"
#include <ctype.h>

typedef struct P { Reader *r; const char *s, *p, *end; int64_t off; } P;

static bool
fail(P *p, const char *at, const char *what)
{
	Loc loc = p->off >= 0 ? loc_at(p->r->cx, p->r->file, (size_t)(p->off + (at - p->s))) : NOLOC;

	error(p->r->cx, loc, "type '%.*s': %s", (int)(p->end - p->s), p->s, what);
	return false;
}

static const Sym *
size(P *p, const char *b, const char *e)
{
	Infix in = {.cx = p->r->cx, .file = p->r->file, .off = (size_t)(p->off + (b - p->s)), .infile = p->off >= 0};

	return infix_parse(&in, b, (size_t)(e - b));
}

/* [a, b, ...] at p->p into v; the number of them, or -1. */
static int
sizes(P *p, const Sym **v)
{
	int n = 0;
	const char *b = ++p->p;

	for (int depth = 0; p->p < p->end; p->p++) {
		char c = *p->p;

		if (c == '(' || c == '[') {
			depth++;
		} else if (depth && (c == ')' || c == ']')) {
			depth--;
		} else if (depth == 0 && (c == ',' || c == ']')) {
			const char *q = b;

			while (q < p->p && *q == ' ')
				q++;
			if (q == p->p && c == ']' && n == 0) {
				p->p++;
				return 0;
			}
			if (n == MaxRank) {
				fail(p, b, "too many dimensions");
				return -1;
			}
			if (!(v[n++] = size(p, b, p->p)))
				return -1;
			b = p->p + 1;
			if (c == ']') {
				p->p++;
				return n;
			}
		}
	}
	fail(p, b, "expected ']'");
	return -1;
}

static bool
nonneg(P *p, const Sym *const *v, int n, const char *what)
{
	int64_t k;

	for (int i = 0; i < n; i++)
		if (v[i]->isfloat || (sym_isconst(v[i], &k) && k < 0))
			return fail(p, p->s, what);
	return true;
}

static bool
rowmajor(Ctx *cx, const Sym *const *dim, const Sym *const *stride, int n)
{
	const Sym *s = sym_const(cx, 1);

	for (int i = n; i-- > 0;) {
		if (!sym_eq(stride[i], s))
			return false;
		s = sym_mul(cx, s, dim[i]);
	}
	return true;
}

bool
annot_parse(Reader *r, const char *s, size_t n, int64_t off, Annot *out)
{
	P p = {r, s, s, s + n, off};
	const Sym *dim[MaxRank], *stride[MaxRank];
	const char *b = s;
	enum dtype dt;
	int rank, ns = -1;

	*out = (Annot){0};
	if (n > 5 && memcmp(s, "Sym(", 4) == 0 && s[n - 1] == ')') {
		out->sym = size(&p, s + 4, s + n - 1);
		return out->sym != NULL;
	}
	while (p.p < p.end && (isalnum((unsigned char)*p.p) || *p.p == '_'))
		p.p++;
	if (p.p < p.end && *p.p == '(')
		return fail(&p, s, "tensor subclasses are not supported: export plain tensors");
	dt = dtype_parse(b, (size_t)(p.p - b));
	if (dt == DtNone || p.p == p.end || *p.p != '[')
		return fail(&p, s, "unknown type");
	if ((rank = sizes(&p, dim)) < 0)
		return false;
	if (p.p < p.end && *p.p == '[' && (ns = sizes(&p, stride)) < 0)
		return false;
	if (ns >= 0 && ns != rank)
		return fail(&p, s, "not as many strides as sizes");
	if (!nonneg(&p, dim, rank, "a size is negative") || !nonneg(&p, stride, ns, "a stride is negative"))
		return false;
	out->type = ns < 0 || rowmajor(r->cx, dim, stride, rank)
	            ? type_tensor(r->cx, dt, rank, dim) : type_strided(r->cx, dt, rank, dim, stride);
	return true;
}
