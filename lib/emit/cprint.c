/* cprint.c - kernels and whole artifacts as portable C99.
 *
 * Every instruction is a local named after its number; arithmetic that C leaves
 * open goes through lib/rt/karith.h.  The file holds everything: the ABI, lib/rt,
 * constants, kernels, tables, entry points; names of lib/rt carry the model's
 * prefix, so many models link into one program.
 */
#include "emit/embed.h"
#include "emit/entry.h"
#include "rt/model.h"

typedef struct Printer { const Kernel *k; Text *t; int depth; int *uses; } Printer;

/* ---- one instruction ------------------------------------------------------------ */

static void
line(Printer *p, const char *fmt, ...)
{
	va_list ap;

	for (int i = 0; i < p->depth; i++)
		text_put(p->t, "\t", 1);
	va_start(ap, fmt);
	char *s = arena_vprintf(p->t->arena, fmt, ap);
	va_end(ap);
	text_put(p->t, s, strlen(s));
	text_put(p->t, "\n", 1);
}

static const char *
real(Arena *a, double f, bool single)
{
	if (f != f)
		return single ? "(float)NAN" : "(double)NAN";
	if (f - f != 0)
		return arena_printf(a, "%s(%s)INFINITY", f < 0 ? "-" : "", single ? "float" : "double");
	return arena_printf(a, "%a%s", f, single ? "f" : "");
}

static const char *
constant(Printer *p, const KIns *i)
{
	Arena *a = p->t->arena;

	if (i->dt == DtF32 || i->dt == DtF64)
		return real(a, i->f, i->dt == DtF32);
	if (!dt_int(i->dt)) {
		uint64_t bits = 0;
		dt_store(i->dt, &bits, i->f);
		return arena_printf(a, "%llu", (unsigned long long)bits);
	}
	if (i->i == INT64_MIN)
		return "INT64_MIN";
	if (i->dt == DtU64 || i->dt == DtU32)
		return arena_printf(a, "UINT64_C(%llu)", (unsigned long long)i->i);
	return arena_printf(a, i->i > INT32_MAX || i->i < -INT32_MAX ? "INT64_C(%lld)" : "%lld", (long long)i->i);
}

/* Constants stand where they are used. */
static const char *
ref(Printer *p, KRef r)
{
	const KIns *i = &p->k->ins.v[r];

	if (i->op == KConst)
		return arena_printf(p->t->arena, "(%s)%s", dtypeinfo[i->dt].cname, constant(p, i));
	return arena_printf(p->t->arena, "v%u", r);
}

static bool
wide(enum dtype dt)
{
	return dt == DtF32 || dt == DtF64;
}

static const char *
cast(Printer *p, const char *x, enum dtype from, enum dtype to)
{
	Arena *a = p->t->arena;
	const char *t = dtypeinfo[to].text;

	if (from == to)
		return x;
	if (dt_float(from) && !wide(from))
		return cast(p, arena_printf(a, "fxrt_k_from_%s(%s)", dtypeinfo[from].text, x), DtF32, to);
	if (dt_float(to) && !wide(to))
		return arena_printf(a, "fxrt_k_to_%s(%s)", t, cast(p, x, from, DtF32));
	if (to == DtB8)
		return arena_printf(a, "(uint8_t)(%s != 0)", x);
	if (dt_float(from) && dt_int(to))
		return arena_printf(a, "(%s)fxrt_k_to%s(%s)", dtypeinfo[to].cname,
		                    to == DtU64 ? "u64" : to == DtU32 || dtypeinfo[to].bytes == 8 ? "i64" : "i32", x);
	return arena_printf(a, "(%s)%s", dtypeinfo[to].cname, x);
}

static const char *
float_op(Printer *p, enum scalar sc, enum dtype dt, const char *x, const char *y, const char *z)
{
	Arena *a = p->t->arena;
	const char *s = dt == DtF32 ? "f" : "", *n = dtypeinfo[dt].text;

	switch (sc) {
	case ScNeg:  return arena_printf(a, "-%s", x);
	case ScAbs:  return arena_printf(a, "fabs%s(%s)", s, x);
	case ScAdd:  return arena_printf(a, "%s + %s", x, y);
	case ScSub:  return arena_printf(a, "%s - %s", x, y);
	case ScMul:  return arena_printf(a, "%s*%s", x, y);
	case ScDiv:  return arena_printf(a, "%s/%s", x, y);
	case ScQuot: return arena_printf(a, "trunc%s(%s/%s)", s, x, y);
	case ScFma:  return arena_printf(a, "fma%s(%s, %s, %s)", s, x, y, z);
	case ScMod: case ScFloordiv: case ScMin: case ScMax:
		return arena_printf(a, "fxrt_k_%s_%s(%s, %s)", scalarinfo[sc].text, n, x, y);
	case ScIsnan: return arena_printf(a, "%s != %s", x, x);
	case ScIsinf: return arena_printf(a, "fabs%s(%s) == (%s)INFINITY", s, x, dtypeinfo[dt].cname);
	case ScSignbit: return arena_printf(a, "signbit(%s) != 0", x);
	case ScLgamma: case ScFmod: default:
		return y ? arena_printf(a, "%s%s(%s, %s)", scalarinfo[sc].text, s, x, y) : arena_printf(a, "%s%s(%s)", scalarinfo[sc].text, s, x);
	}
}

static const char *
bool_op(Printer *p, enum scalar sc, const char *x, const char *y)
{
	Arena *a = p->t->arena;

	switch (sc) {
	case ScAdd: case ScOr: case ScMax:  return arena_printf(a, "%s | %s", x, y);
	case ScMul: case ScAnd: case ScMin: return arena_printf(a, "%s & %s", x, y);
	case ScSub: case ScXor: return arena_printf(a, "%s ^ %s", x, y);
	case ScNot:  return arena_printf(a, "!%s", x);
	case ScPow:  return arena_printf(a, "%s | !%s", x, y);
	case ScQuot: case ScFloordiv: return arena_printf(a, "%s & %s", x, y);
	case ScMod: case ScFmod: return arena_printf(a, "%s & !%s", x, y);
	default:     return x;
	}
}

static const char *
int_op(Printer *p, enum scalar sc, enum dtype dt, const char *x, const char *y, const char *z)
{
	Arena *a = p->t->arena;
	const char *n = dtypeinfo[dt].text;

	switch (sc) {
	case ScMin:  return arena_printf(a, "%s < %s ? %s : %s", x, y, x, y);
	case ScMax:  return arena_printf(a, "%s < %s ? %s : %s", x, y, y, x);
	case ScAnd:  return arena_printf(a, "%s & %s", x, y);
	case ScOr:   return arena_printf(a, "%s | %s", x, y);
	case ScXor:  return arena_printf(a, "%s ^ %s", x, y);
	case ScNot:  return arena_printf(a, "(%s)~%s", dtypeinfo[dt].cname, x);
	case ScFma:  return arena_printf(a, "fxrt_k_add_%s(fxrt_k_mul_%s(%s, %s), %s)", n, n, x, y, z);
	case ScIsnan: case ScIsinf: return "0";
	case ScSignbit: return dtypeinfo[dt].kind == KindInt ? arena_printf(a, "%s < 0", x) : "0";
	case ScFloor: case ScCeil: case ScRint: case ScTrunc: return x;
	default:
		return y ? arena_printf(a, "fxrt_k_%s_%s(%s, %s)", scalarinfo[sc].text, n, x, y)
		         : arena_printf(a, "fxrt_k_%s_%s(%s)", scalarinfo[sc].text, n, x);
	}
}

static const char *
scalar(Printer *p, const KIns *i)
{
	static const struct { enum scalar sc; const char *op; } cmp[] = {{ScLt, "<"}, {ScLe, "<="}, {ScEq, "=="}, {ScNe, "!="}};
	enum dtype dt = p->k->ins.v[i->a].dt;
	const char *x = ref(p, i->a), *y = i->b ? ref(p, i->b) : NULL, *z = i->c ? ref(p, i->c) : NULL;

	if (i->sub == ScSelect)
		return arena_printf(p->t->arena, "%s ? %s : %s", x, y, z);
	for (int k = 0; k < COUNT(cmp); k++)
		if (i->sub == cmp[k].sc)
			return arena_printf(p->t->arena, "%s %s %s", x, cmp[k].op, y);
	if (wide(dt))
		return float_op(p, i->sub, dt, x, y, z);
	return dt == DtB8 ? bool_op(p, i->sub, x, y) : int_op(p, i->sub, dt, x, y, z);
}

static const char *
bits(Printer *p, const KIns *i)
{
	enum dtype from = p->k->ins.v[i->a].dt;
	const char *x = ref(p, i->a), *fn = from == DtF32 ? "asu" : from == DtF64 ? "asul" : i->dt == DtF32 ? "asf" : i->dt == DtF64 ? "asd" : NULL;

	if (fn && i->dt == from)
		return x;
	if (fn)
		return arena_printf(p->t->arena, "(%s)fxrt_k_%s((%s)%s)", dtypeinfo[i->dt].cname, fn,
		                    from == DtF32 ? "float" : from == DtF64 ? "double" : i->dt == DtF32 ? "uint32_t" : "uint64_t", x);
	return arena_printf(p->t->arena, "(%s)%s", dtypeinfo[i->dt].cname, x);
}

static const char *
load(Printer *p, const KIns *i)
{
	const char *at = arena_printf(p->t->arena, "b%d[%s]%s", i->buf, ref(p, i->a), p->k->buf.v[i->buf].dt == DtB8 ? " != 0" : "");

	return i->b ? arena_printf(p->t->arena, "%s ? %s : 0", ref(p, i->b), at) : at;
}

static void
loop(Printer *p, KRef r, bool parallel)
{
	const KIns *i = &p->k->ins.v[r];
	const char *from = parallel ? "begin" : ref(p, i->a), *to = parallel ? "end" : ref(p, i->b);

	line(p, "for (int64_t v%u = %s; v%u < %s; v%u += %lld) {", r, from, r, to, r, (long long)(i->i ? i->i : 1));
	p->depth++;
}

static void
print(Printer *p, KRef r, bool parallel)
{
	const KIns *i = &p->k->ins.v[r];
	const char *e = NULL;

	switch ((enum kop)i->op) {
	case KLoop:   loop(p, r, parallel); return;
	case KIf:     line(p, "if (%s) {", ref(p, i->a)); p->depth++; return;
	case KEnd:    p->depth--; line(p, "}"); return;
	case KVar:    line(p, "%s v%u = %s;", dtypeinfo[i->dt].cname, r, ref(p, i->a)); return;
	case KSet:    line(p, "v%u = %s;", i->a, ref(p, i->b)); return;
	case KStore:
		if (i->c)
			line(p, "if (%s)\n%*sb%d[%s] = %s;", ref(p, i->c), p->depth + 1, "\t", i->buf, ref(p, i->a), ref(p, i->b));
		else
			line(p, "b%d[%s] = %s;", i->buf, ref(p, i->a), ref(p, i->b));
		return;
	case KSize:   e = arena_printf(p->t->arena, "sym[%lld]", (long long)i->i); break;
	case KGet:    e = arena_printf(p->t->arena, "v%u", i->a); break;
	case KLoad:   e = load(p, i); break;
	case KScalar: e = scalar(p, i); break;
	case KCast:   e = cast(p, ref(p, i->a), p->k->ins.v[i->a].dt, i->dt); break;
	case KBits:   e = bits(p, i); break;
	case KRandom: e = arena_printf(p->t->arena, "fxrt_k_philox(%s, %s, %lldu)", ref(p, i->a), i->b ? ref(p, i->b) : "0", (long long)i->i); break;
	case KSplat: case KReduce: case KLane: case KZip: e = ref(p, i->a); break;
	case KIota:   e = "0"; break;
	case KNop: case KConst: case KPrefetch: case NKop: return;
	}
	if (p->uses[r])
		line(p, "const %s v%u = (%s)(%s);", dtypeinfo[i->dt].cname, r, dtypeinfo[i->dt].cname, e);
}

/* ---- a kernel ------------------------------------------------------------------------ */

static void
count_uses(Printer *p)
{
	for (int r = p->k->ins.n - 1; r > 0; r--) {
		const KIns *i = &p->k->ins.v[r];
		bool pure = i->op == KScalar || i->op == KCast || i->op == KBits || i->op == KLoad || i->op == KGet || i->op == KSize;
		if (pure && p->uses[r] == 0)
			continue;
		p->uses[i->a]++;
		p->uses[i->b]++;
		p->uses[i->c]++;
	}
}

static void
buffers(Printer *p, const char *symbol)
{
	int param = 0;

	for (int i = 0; i < p->k->buf.n; i++) {
		const KBuf *b = &p->k->buf.v[i];
		const char *t = dtypeinfo[b->dt].cname;
		if (b->home == KStack)
			line(p, "%s b%d[%lld];", t, i, (long long)(b->count ? b->count : 1));
		else
			line(p, "%s%s *const b%d = buf[%d];", b->written ? "" : "const ", t, i, param++);
	}
	(void)symbol;
}

bool
emit_c_kernel(const Kernel *k, const char *symbol, Text *t)
{
	Printer p = {k, t, 1, NEWN(t->arena, int, k->ins.n + 1)};
	bool parallel = k->parallel != NULL;

	count_uses(&p);
	text_add(t, "static void\n%s(void *const *buf, const int64_t *sym, int64_t begin, int64_t end)\n{\n", symbol);
	buffers(&p, symbol);
	text_add(t, "\n\t(void)buf, (void)sym, (void)begin, (void)end;\n");
	for (int i = 0; i < k->buf.n; i++)
		line(&p, "(void)b%d;", i);
	for (int r = 1; r < k->ins.n; r++) {
		bool first = parallel && k->ins.v[r].op == KLoop && k->ins.v[r].sub == LoopParallel;
		if (k->ins.v[r].lanes > 1)
			return false;
		print(&p, (KRef)r, first);
		parallel = parallel && !first;
	}
	text_add(t, "}\n\n");
	return true;
}

/* ---- the whole file --------------------------------------------------------------------- */

/* A file of lib/rt, without its includes of the others. */
static void
source(Text *t, const EmbedFile *f)
{
	const char *s = (const char *)f->data, *end = s + f->size;

	text_add(t, "\n/* ---- %s ---- */\n", f->name);
	while (s < end) {
		const char *nl = memchr(s, '\n', (size_t)(end - s));
		size_t n = nl ? (size_t)(nl - s) + 1 : (size_t)(end - s);
		if (strncmp(s, "#include \"", 10) != 0)
			text_put(t, s, n);
		s += n;
	}
}

static bool wanted(const Artifact *, const char *file);

/* Is one of the extern operators of the model in this file? */
static bool
defines(const Artifact *a, const EmbedFile *f)
{
	for (int i = 0; i < a->ext.n; i++) {
		char start[80];
		size_t n = (size_t)snprintf(start, sizeof start, "\nfxrt_%s(", a->ext.v[i]);
		if (memmem(f->data, f->size, start, n))
			return true;
	}
	return false;
}

/* Does a source that is wanted include this header? */
static bool
included(const Artifact *a, const char *header)
{
	char line[80];
	size_t n = (size_t)snprintf(line, sizeof line, "#include \"rt/%s\"", header);

	for (int i = 0; i < embed_nsource; i++) {
		const EmbedFile *f = &embed_source[i];
		if (strstr(f->name, ".c") && wanted(a, f->name) && memmem(f->data, f->size, line, n))
			return true;
	}
	return false;
}

static bool
wanted(const Artifact *a, const char *file)
{
	static const char *const always[] = {"rt.h", "model.h", "karith.h", "door.c", "expr.c", "flow.c", "run.c", "context.c",
	                                    "forward.c", "view.c", "pool.c"};

	for (int i = 0; i < COUNT(always); i++)
		if (strcmp(always[i], file) == 0)
			return true;
	if (strstr(file, ".h"))
		return included(a, file);
	const struct { const char *file; bool on; } some[] = {
		{"pthread.c", a->opt->threads}, {"backward.c", artifact_entry(a, FxrtBackward)}, {"step.c", artifact_entry(a, FxrtStep)},
		{"weights.c", a->weight.n}, {"assert.c", a->opt->asserts}, {"load.c", a->opt->weights != WeightsEmbed},
	};
	for (int i = 0; i < COUNT(some); i++)
		if (some[i].on && strcmp(some[i].file, file) == 0)
			return true;
	for (int i = 0; i < embed_nsource; i++)
		if (strcmp(embed_source[i].name, file) == 0)
			return defines(a, &embed_source[i]);
	return false;
}

static void
constants(const Artifact *a, Text *t)
{
	uint64_t at = 0;

	text_add(t, "static const union { unsigned char byte[%llu]; double align; } %skonst_ = {{\n", (unsigned long long)(a->nkonst ? a->nkonst : 1), a->p);
	for (int i = 0; i < a->konst.n; i++) {
		for (; at < a->konst.v[i].offset; at++)
			text_put(t, "0,", 2);
		for (size_t k = 0; k < a->konst.v[i].bytes; k++, at++)
			text_add(t, at % 24 == 23 ? "%d,\n" : "%d,", a->konst.v[i].data[k]);
	}
	text_add(t, "%s\n}};\n#define %skonst %skonst_.byte\n\n", a->nkonst ? "" : "0", a->p, a->p);
}

/* fxrt_ becomes the model's own prefix everywhere. */
static void
rename_rt(const Artifact *a, const Text *from, Text *to)
{
	const char *s = from->s, *hit;

	while ((hit = strstr(s, "fxrt_"))) {
		text_put(to, s, (size_t)(hit - s));
		text_add(to, "%srt_", a->p);
		s = hit + 5;
	}
	text_put(to, s, strlen(s));
}

static bool
kernels(Artifact *a, Text *t)
{
	for (int i = 0; i < a->unit.n; i++) {
		bool seen = false;
		for (int j = 0; j < i && !seen; j++)
			seen = a->unit.v[j].symbol == a->unit.v[i].symbol;
		if (!seen && !emit_c_kernel(a->unit.v[i].kernel, a->unit.v[i].symbol, t))
			bug(a->cx, NOLOC, "kernel %s has vectors, which C has not", a->unit.v[i].symbol);
	}
	return true;
}

bool
emit_c(Artifact *a, Text *out)
{
	Text t = {.arena = a->a};

	text_add(out, "/* %s - generated by fxcc 0.1; C99, needs libc and libm alone. */\n", a->opt->prefix);
	text_add(out, "#if defined(__GNUC__) && !defined(__clang__)\n#pragma GCC optimize (\"fp-contract=off\")\n#else\n#pragma STDC FP_CONTRACT OFF\n#endif\n");
	text_put(out, (const char *)embed_fxcc_abi_h, embed_fxcc_abi_h_size);
	for (int i = 0; i < embed_nsource; i++)
		if (wanted(a, embed_source[i].name))
			source(&t, &embed_source[i]);
	text_add(&t, "\n/* ---- the model ---- */\n");
	if (a->opt->weights == WeightsEmbed)
		constants(a, &t);
	if (!kernels(a, &t))
		return false;
	entry_c_declare(a, &t);
	artifact_tables(a, data_c(a->cx, &t));
	entry_c(a, &t);
	rename_rt(a, &t, out);
	return true;
}
