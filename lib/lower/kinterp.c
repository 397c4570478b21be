/* kinterp.c - run a kernel by interpreting its instructions.
 *
 * A third executor beside the printers, to compare them with; slow and plain.
 * Memory is not checked: the caller's buffers must be as large as the plan says.
 */
#include "lower/lower.h"

enum { MaxLanes = 64 };

typedef struct Machine {
	const Kernel *k;
	Arena *a;
	uint8_t **buf;             /* by buffer */
	const int64_t *sym;
	Num   *val;                /* by instruction, MaxLanes each */
	KRef  *end;                /* by opener: its KEnd */
	int64_t begin, stop;
	KRef   parallel;
	bool   ok;
} Machine;

static Num *
lanes(Machine *m, KRef r)
{
	return m->val + (size_t)r * MaxLanes;
}

static Num
peek(enum dtype dt, const void *p)
{
	Num n = {0};
	int bytes = dtypeinfo[dt].bytes;

	if (!dt_int(dt)) {
		n.f = dt_load(dt, p);
		return n;
	}
	memcpy(&n.i, p, (size_t)bytes);
	n.i = num_wrap(dt, n.i);
	return n;
}

static void
poke(enum dtype dt, void *p, Num n)
{
	if (dt_int(dt))
		memcpy(p, &n.i, dtypeinfo[dt].bytes);
	else
		dt_store(dt, p, n.f);
}

static void *
address(Machine *m, const KIns *i, int lane)
{
	bool each = m->k->ins.v[i->a].lanes > 1;
	int64_t at = lanes(m, i->a)[each ? lane : 0].i + (each ? 0 : lane);

	return m->buf[i->buf] + at * dtypeinfo[m->k->buf.v[i->buf].dt].bytes;
}

static void
scalar(Machine *m, KRef r, const KIns *i)
{
	Num *d = lanes(m, r), a[3] = {{0}};
	KRef in[3] = {i->a, i->b, i->c};
	int n = scalarinfo[i->sub].arity;
	enum dtype dt = i->sub == ScSelect ? i->dt : m->k->ins.v[i->a].dt;

	for (int l = 0; l < i->lanes; l++) {
		for (int k = 0; k < n; k++)
			a[k] = lanes(m, in[k])[l];
		d[l] = scalar_eval(i->sub, dt, a);
	}
}

static void
reduce(Machine *m, KRef r, const KIns *i)
{
	static const uint8_t sc[NFold] = {
		[FoldSum] = ScAdd, [FoldProd] = ScMul, [FoldMax] = ScMax, [FoldMin] = ScMin,
		[FoldAny] = ScOr, [FoldAll] = ScAnd,
	};
	const Num *v = lanes(m, i->a);
	Num acc = v[0];

	for (int l = 1; l < m->k->ins.v[i->a].lanes; l++)
		acc = scalar_eval(sc[i->sub], i->dt, (Num[]){acc, v[l]});
	lanes(m, r)[0] = acc;
}

static void
simple(Machine *m, KRef r, const KIns *i)
{
	Num *d = lanes(m, r), *a = lanes(m, i->a);
	enum dtype from = m->k->ins.v[i->a].dt;

	for (int l = 0; l < i->lanes; l++)
		switch (i->op) {
		case KConst: d[l] = (Num){0}; if (dt_int(i->dt)) d[l].i = i->i; else d[l].f = i->f; break;
		case KSize:  d[l].i = m->sym[i->i]; break;
		case KVar: case KGet: d[l] = a[l]; break;
		case KCast:  d[l] = num_cast(from, i->dt, a[l]); break;
		case KBits:  d[l] = num_bits(from, i->dt, a[l]); break;
		case KSplat: d[l] = a[0]; break;
		case KIota:  d[l] = dt_int(i->dt) ? (Num){.i = l} : (Num){.f = l}; break;
		case KLane:  d[l] = a[i->i]; break;
		case KZip:   d[l] = (l % 2 ? lanes(m, i->b) : a)[(i->i * i->lanes + l) / 2]; break;
		case KLoad:
			d[l] = (Num){0};
			if (!i->b || lanes(m, i->b)[l].i)
				d[l] = peek(i->dt, address(m, i, l));
			break;
		default:
			m->ok = false;
		}
}

static void run(Machine *, KRef from, KRef to);

static void
loop(Machine *m, KRef r, const KIns *i)
{
	int64_t from = lanes(m, i->a)[0].i, to = lanes(m, i->b)[0].i;

	if (r == m->parallel) {
		from = m->begin;
		to = m->stop;
	}
	for (int64_t x = from; x < to && m->ok; x += i->i) {
		lanes(m, r)[0].i = x;
		run(m, r + 1, m->end[r]);
	}
}

static void
run(Machine *m, KRef from, KRef to)
{
	for (KRef r = from; r < to && m->ok; r++) {
		const KIns *i = &m->k->ins.v[r];
		switch (i->op) {
		case KNop: case KPrefetch: case KEnd: break;
		case KLoop:
			loop(m, r, i);
			r = m->end[r];
			break;
		case KIf:
			if (!lanes(m, i->a)[0].i)
				r = m->end[r];
			break;
		case KSet:
			memcpy(lanes(m, i->a), lanes(m, i->b), sizeof(Num) * i->lanes);
			break;
		case KStore:
			for (int l = 0; l < i->lanes; l++)
				if (!i->c || lanes(m, i->c)[l].i)
					poke(i->dt, address(m, i, l), lanes(m, i->b)[l]);
			break;
		case KScalar: scalar(m, r, i); break;
		case KReduce: reduce(m, r, i); break;
		default:      simple(m, r, i);
		}
	}
}

bool
kernel_run(const Kernel *k, void **buf, const int64_t *sym, int64_t begin, int64_t end)
{
	Machine m = {.k = k, .a = arena_new(), .sym = sym, .begin = begin, .stop = end, .ok = true};
	KRef open[256];
	int depth = 0, param = 0;

	m.buf = NEWN(m.a, uint8_t *, k->buf.n + 1);
	for (int i = 0; i < k->buf.n; i++)
		m.buf[i] = k->buf.v[i].home == KStack
		         ? arena_alloc(m.a, (size_t)k->buf.v[i].count * dtypeinfo[k->buf.v[i].dt].bytes, 64)
		         : buf[param++];
	m.val = NEWN(m.a, Num, (size_t)k->ins.n * MaxLanes);
	m.end = NEWN(m.a, KRef, k->ins.n + 1);
	for (int r = 1; r < k->ins.n; r++) {
		if (k->ins.v[r].op == KLoop || k->ins.v[r].op == KIf)
			open[depth++] = (KRef)r;
		else if (k->ins.v[r].op == KEnd)
			m.end[open[--depth]] = (KRef)r;
		if (k->parallel && !m.parallel && k->ins.v[r].op == KLoop && k->ins.v[r].sub == LoopParallel)
			m.parallel = (KRef)r;
	}
	run(&m, 1, (KRef)k->ins.n);
	arena_free(m.a);
	return m.ok;
}
