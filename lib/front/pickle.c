/* pickle.c - tensors of a torch.save archive, without running its pickle.
 *
 * Archives up to torch 2.8 keep weights as torch.save wrote them: a zip with
 * data.pkl and one record for each storage.  A pickle is a program; this machine
 * knows the opcodes that a dict of tensors needs and a list of harmless names.
 * Nothing is called: REDUCE only notes which name got which arguments.
 */
#include "front/bytes.h"
#include "front/weights.h"

enum {
	MaxStack = 1 << 20, MaxMemo = 1 << 20, MaxMarks = 64, MaxStr = 64 << 10,
	MaxObjects = 4 << 20,
};

enum kind { None, Bool, Int, Float, String, Tuple, List, Dict, Global, Storage, Rebuilt, Other };

enum globalkind { GOrderedDict, GTensor2, GTensor3, GParameter, GStorage, GUntyped, GDtype };

typedef struct Obj Obj;
struct Obj {
	enum kind kind;
	union {
		bool b;
		int64_t i;
		Str s;
		struct { enum globalkind kind; enum dtype dt; } global;
		VEC(Obj *) list;       /* Tuple, List, Dict: key, value, key, ... */
		struct { Str key; enum dtype dt; bool bytes; int64_t numel; } storage;
		View *view;            /* Rebuilt: fqn is its storage's key */
	};
};

typedef struct Machine {
	Ctx *cx;
	Arena *a;              /* scratch */
	const char *what;
	const uint8_t *p, *end;
	VEC(Obj *) stack;
	VEC(Obj *) memo;
	int mark[MaxMarks], nmark;
	int nobj;
	const Zip *zip;
	Map stores;            /* record's name -> View of its bytes */
	Str root;
	bool swap, failed;
} Machine;

static const struct { const char *module, *name; enum globalkind kind; uint8_t dt; } globals[] = {
	{ "collections", "OrderedDict", GOrderedDict, DtNone },
	{ "torch._utils", "_rebuild_tensor_v2", GTensor2, DtNone },
	{ "torch._utils", "_rebuild_tensor_v3", GTensor3, DtNone },
	{ "torch._utils", "_rebuild_parameter", GParameter, DtNone },
	{ "torch", "FloatStorage", GStorage, DtF32 },
	{ "torch", "DoubleStorage", GStorage, DtF64 },
	{ "torch", "HalfStorage", GStorage, DtF16 },
	{ "torch", "BFloat16Storage", GStorage, DtBF16 },
	{ "torch", "LongStorage", GStorage, DtI64 },
	{ "torch", "IntStorage", GStorage, DtI32 },
	{ "torch", "ShortStorage", GStorage, DtI16 },
	{ "torch", "CharStorage", GStorage, DtI8 },
	{ "torch", "ByteStorage", GStorage, DtU8 },
	{ "torch", "BoolStorage", GStorage, DtB8 },
	{ "torch", "ComplexFloatStorage", GStorage, DtC64 },
	{ "torch", "ComplexDoubleStorage", GStorage, DtC128 },
	{ "torch.storage", "UntypedStorage", GUntyped, DtU8 },
};

static bool PRINTF(2, 3)
bad(Machine *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (!m->failed)
		error(m->cx, NOLOC, "%s: pickle: %s", m->what, arena_vprintf(m->a, fmt, ap));
	va_end(ap);
	m->failed = true;
	return false;
}

/* ---- the stack --------------------------------------------------------------------- */

static Obj *
new(Machine *m, enum kind kind)
{
	Obj *o = NEW(m->a, Obj);

	if (++m->nobj > MaxObjects)
		bad(m, "too many objects");     /* which ends the run */
	o->kind = kind;
	return o;
}

static void
push(Machine *m, Obj *o)
{
	if (m->stack.n >= MaxStack)
		bad(m, "its stack is too deep");
	else
		vec_push(m->a, &m->stack, o);
}

static void
pushint(Machine *m, int64_t v)
{
	Obj *o = new(m, Int);

	o->i = v;
	push(m, o);
}

static void
pushbool(Machine *m, bool b)
{
	Obj *o = new(m, Bool);

	o->b = b;
	push(m, o);
}

/* The bottom of what may be popped: above the last mark. */
static int
base(const Machine *m)
{
	return m->nmark ? m->mark[m->nmark - 1] : 0;
}

static Obj *
pop(Machine *m)
{
	if (m->stack.n <= base(m)) {
		bad(m, "its stack is empty");
		return NULL;
	}
	return m->stack.v[--m->stack.n];
}

static Obj *
top(Machine *m)
{
	if (m->stack.n <= base(m)) {
		bad(m, "its stack is empty");
		return NULL;
	}
	return m->stack.v[m->stack.n - 1];
}

/* The last n of the stack as a tuple. */
static Obj *
gather(Machine *m, int n)
{
	Obj *o = new(m, Tuple);

	if (m->stack.n - base(m) < n) {
		bad(m, "its stack is empty");
		return NULL;
	}
	m->nobj += n;
	for (int i = m->stack.n - n; !m->failed && i < m->stack.n; i++)
		vec_push(m->a, &o->list, m->stack.v[i]);
	m->stack.n -= n;
	return o;
}

static Obj *
tomark(Machine *m)
{
	int from;

	if (m->nmark == 0) {
		bad(m, "a mark is missing");
		return NULL;
	}
	from = m->mark[--m->nmark];
	return gather(m, m->stack.n - from);
}

static const uint8_t *
take(Machine *m, size_t n)
{
	const uint8_t *p = m->p;

	if ((size_t)(m->end - p) < n) {
		bad(m, "cut off");
		return NULL;
	}
	m->p += n;
	return p;
}

/* ---- names and what they make --------------------------------------------------------- */

static const char *
line(Machine *m, size_t *n)
{
	const uint8_t *from = m->p, *nl = memchr(from, '\n', (size_t)(m->end - from));

	if (nl == NULL || nl - from > 255) {
		bad(m, "a name is cut off");
		return NULL;
	}
	*n = (size_t)(nl - from);
	m->p = nl + 1;
	return (const char *)from;
}

static bool
is(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(s, word, n) == 0;
}

static bool
global(Machine *m)
{
	size_t nmod, nname;
	const char *mod = line(m, &nmod), *name = mod ? line(m, &nname) : NULL;
	Obj *o;
	enum dtype dt;

	if (name == NULL)
		return false;
	o = new(m, Global);
	push(m, o);
	for (int i = 0; i < COUNT(globals); i++)
		if (is(mod, nmod, globals[i].module) && is(name, nname, globals[i].name)) {
			o->global.kind = globals[i].kind;
			o->global.dt = globals[i].dt;
			return true;
		}
	dt = is(mod, nmod, "torch") ? dtype_parse(name, nname) : DtNone;
	if (dt == DtNone)
		return bad(m, "it names %.*s.%.*s, which no dict of tensors needs; a fake tensor, "
		           "tensor subclass or object is not supported",
		           (int)nmod, mod, (int)nname, name);
	o->global.kind = GDtype;
	o->global.dt = dt;
	return true;
}

/* ("storage", class, key, device, numel) */
static bool
persid(Machine *m)
{
	Obj *t = pop(m), **v, *o;

	if (t == NULL)
		return false;
	v = t->list.v;
	if (t->kind != Tuple || t->list.n != 5 || v[0]->kind != String ||
	    strcmp(v[0]->s, "storage") != 0 || v[1]->kind != Global ||
	    (v[1]->global.kind != GStorage && v[1]->global.kind != GUntyped) ||
	    v[2]->kind != String || v[4]->kind != Int || v[4]->i < 0)
		return bad(m, "a storage is described in an unknown way");
	if (v[2]->s[0] == '\0' || v[2]->s[strspn(v[2]->s, "0123456789")])
		return bad(m, "a storage's key is no number");
	o = new(m, Storage);
	o->storage.key = v[2]->s;
	o->storage.dt = v[1]->global.dt;
	o->storage.bytes = v[1]->global.kind == GUntyped;
	o->storage.numel = v[4]->i;
	push(m, o);
	return true;
}

static bool
ints(Machine *m, const Obj *o, int64_t *v, int *n)
{
	if (o->kind != Tuple || o->list.n > MaxRank)
		return bad(m, "a tensor's sizes are no short tuple");
	for (*n = 0; *n < o->list.n; ++*n) {
		if (o->list.v[*n]->kind != Int)
			return bad(m, "a tensor's sizes are no integers");
		v[*n] = o->list.v[*n]->i;
	}
	return true;
}

static bool
store(Machine *m, View *v, const Obj *o)
{
	Str name = intern_printf(m->cx, "%sdata/%s", m->root, o->storage.key);
	const ZipEntry *e = zip_find(m->zip, m->cx, name);
	int64_t bytes, elem = o->storage.bytes ? 1 : dtypeinfo[o->storage.dt].bytes;
	View *done = map_get(&m->stores, name);

	if (e == NULL)
		return bad(m, "record %s is missing", name);
	if (done == NULL) {
		done = NEW(m->a, View);
		map_put(m->a, &m->stores, name, done);
		if (!zip_bytes(m->cx, m->zip, e, &done->store, &done->nstore)) {
			m->failed = true;
			return false;
		}
	}
	v->store = done->store;
	v->nstore = done->nstore;
	if (!mul_ok(o->storage.numel, elem, &bytes) || (uint64_t)bytes != v->nstore)
		return bad(m, "record %s has %zu bytes, not %lld elements", name, v->nstore,
		           (long long)o->storage.numel);
	return true;
}

/* (storage, offset, sizes, strides, requires_grad, hooks[, dtype][, metadata]) */
static bool
rebuild(Machine *m, const Obj *t, bool v3, Obj *out)
{
	Obj **a = t->list.v;
	int n = t->list.n, need = v3 ? 7 : 6, nstride;
	View *v = out->view = NEW(m->a, View);

	if ((n != need && n != need + 1) || a[0]->kind != Storage || a[1]->kind != Int ||
	    a[4]->kind != Bool || (v3 && (a[6]->kind != Global || a[6]->global.kind != GDtype)))
		return bad(m, "a tensor is described in an unknown way");
	if (a[5]->kind != Dict || a[5]->list.n)
		return bad(m, "a tensor has hooks");
	if (n == need + 1 && a[need]->kind != None && (a[need]->kind != Dict || a[need]->list.n))
		return bad(m, "a tensor has metadata (conjugated or negated), which is not supported");
	v->dt = v3 ? a[6]->global.dt : a[0]->storage.dt;
	v->offset = a[1]->i;
	v->requires_grad = a[4]->b;
	v->swap = m->swap;
	if (!ints(m, a[2], v->size, &v->rank) || !ints(m, a[3], v->stride, &nstride))
		return false;
	if (nstride != v->rank)
		return bad(m, "a tensor has %d sizes and %d strides", v->rank, nstride);
	return store(m, v, a[0]);
}

static bool
reduce(Machine *m)
{
	Obj *args = pop(m), *fn = args ? pop(m) : NULL, *o;

	if (fn == NULL)
		return false;
	if (fn->kind != Global || args->kind != Tuple)
		return bad(m, "it calls something that is no known name");
	o = new(m, Rebuilt);
	push(m, o);
	switch (fn->global.kind) {
	case GOrderedDict:
		o->kind = Dict;
		return args->list.n == 0 || bad(m, "an OrderedDict with arguments");
	case GTensor2:
	case GTensor3:
		return rebuild(m, args, fn->global.kind == GTensor3, o);
	case GParameter:
		if (args->list.n != 3 || args->list.v[0]->kind != Rebuilt || args->list.v[1]->kind != Bool)
			return bad(m, "a parameter is described in an unknown way");
		o->view = arena_dup(m->a, args->list.v[0]->view, sizeof *o->view);
		o->view->requires_grad = args->list.v[1]->b;
		return true;
	default:
		return bad(m, "it calls something that makes no tensor");
	}
}

/* ---- opcodes ---------------------------------------------------------------------------- */

static bool
setitems(Machine *m, Obj *items)
{
	Obj *d = items ? top(m) : NULL;

	if (d == NULL)
		return false;
	if (d->kind != Dict || items->list.n % 2)
		return bad(m, "an item is set in something that is no dict");
	m->nobj += items->list.n;
	for (int i = 0; i < items->list.n && m->nobj <= MaxObjects; i++)
		vec_push(m->a, &d->list, items->list.v[i]);
	return true;
}

static bool
append(Machine *m, Obj *items)
{
	Obj *l = items ? top(m) : NULL;

	if (l == NULL)
		return false;
	if (l->kind != List)
		return bad(m, "something is appended to what is no list");
	m->nobj += items->list.n;
	for (int i = 0; i < items->list.n && m->nobj <= MaxObjects; i++)
		vec_push(m->a, &l->list, items->list.v[i]);
	return true;
}

static bool
put(Machine *m, uint32_t at)
{
	Obj *o = top(m);

	if (o == NULL)
		return false;
	if (at >= MaxMemo)
		return bad(m, "its memo is too large");
	while ((uint32_t)m->memo.n <= at)
		vec_push(m->a, &m->memo, NULL);
	m->memo.v[at] = o;
	return true;
}

static bool
recall(Machine *m, uint32_t at)
{
	if (at >= (uint32_t)m->memo.n || m->memo.v[at] == NULL)
		return bad(m, "its memo has no such entry");
	push(m, m->memo.v[at]);
	return true;
}

static bool
unicode(Machine *m)
{
	const uint8_t *p = take(m, 4);
	uint32_t n = p ? u32le(p) : 0;
	Obj *o;

	if (p == NULL)
		return false;
	if (n > MaxStr)
		return bad(m, "a string is longer than 64 KiB");
	p = take(m, n);
	if (p == NULL)
		return false;
	if (memchr(p, 0, n) || !utf8_ok((const char *)p, n))
		return bad(m, "a string is not UTF-8");
	o = new(m, String);
	o->s = intern(m->cx, (const char *)p, n);
	push(m, o);
	return true;
}

static bool
longint(Machine *m)
{
	const uint8_t *p = take(m, 1);
	size_t n = p ? *p : 0;
	uint64_t v = 0;

	if (p == NULL)
		return false;
	if (n > 8)
		return bad(m, "an integer does not fit 64 bits");
	p = take(m, n);
	if (p == NULL)
		return false;
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	if (n && n < 8 && p[n - 1] & 0x80)
		v |= ~UINT64_C(0) << 8 * n;
	pushint(m, (int64_t)v);
	return true;
}

/* PROTO: only 2, which is what torch.save writes. */
static bool
protocol(Machine *m)
{
	const uint8_t *p = take(m, 1);

	return p && (*p == 2 || bad(m, "protocol %d, not 2", *p));
}

static bool
step(Machine *m, uint8_t op)
{
	static const uint8_t operand[256] = {
		[0x47] = 8, [0x4a] = 4, [0x4b] = 1, [0x4d] = 2, [0x71] = 1, [0x72] = 4,
		[0x68] = 1, [0x6a] = 4,
	};
	const uint8_t *p = take(m, operand[op]);
	Obj *t;

	if (p == NULL)
		return false;
	switch (op) {
	case 0x80: return protocol(m);
	case 0x28:              /* MARK */
		if (m->nmark == MaxMarks)
			return bad(m, "nested too deeply");
		m->mark[m->nmark++] = m->stack.n;
		return true;
	case 0x74: t = tomark(m); break;
	case 0x85: t = gather(m, 1); break;
	case 0x86: t = gather(m, 2); break;
	case 0x87: t = gather(m, 3); break;
	case 0x29: t = new(m, Tuple); break;
	case 0x7d: t = new(m, Dict); break;
	case 0x5d: t = new(m, List); break;
	case 0x61: return append(m, gather(m, 1));
	case 0x65: return append(m, tomark(m));
	case 0x73: return setitems(m, gather(m, 2));
	case 0x75: return setitems(m, tomark(m));
	case 0x4e: t = new(m, None); break;
	case 0x88: pushbool(m, true); return true;
	case 0x89: pushbool(m, false); return true;
	case 0x47: t = new(m, Float); break;
	case 0x4a: pushint(m, (int32_t)u32le(p)); return true;
	case 0x4b: pushint(m, p[0]); return true;
	case 0x4d: pushint(m, u16le(p)); return true;
	case 0x8a: return longint(m);
	case 0x58: return unicode(m);
	case 0x71: return put(m, p[0]);
	case 0x72: return put(m, u32le(p));
	case 0x68: return recall(m, p[0]);
	case 0x6a: return recall(m, u32le(p));
	case 0x63: return global(m);
	case 0x51: return persid(m);
	case 0x52: return reduce(m);
	case 0x62: return pop(m) != NULL;       /* BUILD: attributes of a dict */
	default:   return bad(m, "opcode %02x is not allowed", op);
	}
	if (t)
		push(m, t);
	return t != NULL;
}

static Obj *
run(Machine *m)
{
	for (;;) {
		const uint8_t *op = take(m, 1);
		Obj *o;
		if (op == NULL)
			return NULL;
		if (*op != 0x2e) {
			if (!step(m, *op) || m->failed)
				return NULL;
			continue;
		}
		o = pop(m);
		if (o && o->kind != Dict) {
			bad(m, "it holds no dict of tensors");
			return NULL;
		}
		return o;
	}
}

/* The dict's tensors; anything else in it is left out, and missed only if an
 * input asks for it. */
static int
tensors(Machine *m, const Obj *dict, View **v)
{
	int n = 0;

	*v = NEWN(ctx_arena(m->cx), View, dict->list.n / 2);
	for (int i = 0; i + 1 < dict->list.n; i += 2) {
		const Obj *key = dict->list.v[i], *val = dict->list.v[i + 1];
		if (key->kind != String || val->kind != Rebuilt)
			continue;
		(*v)[n] = *val->view;
		(*v)[n++].fqn = key->s;
	}
	return n;
}

static bool
byteorder(Machine *m)
{
	const ZipEntry *e = zip_find(m->zip, m->cx, intern_printf(m->cx, "%sbyteorder", m->root));
	const uint8_t *p;
	size_t n;

	if (e == NULL)
		return true;
	if (!zip_bytes(m->cx, m->zip, e, &p, &n))
		return false;
	m->swap = n == 3 && memcmp(p, "big", 3) == 0;
	return m->swap || (n == 6 && memcmp(p, "little", 6) == 0) || bad(m, "unknown byte order");
}

static bool
load(Machine *m, View **v, int *n)
{
	const char *slash = m->zip->n ? strchr(m->zip->v[0].name, '/') : NULL;
	const ZipEntry *pkl;
	const uint8_t *p;
	size_t len;
	Obj *dict;

	if (slash == NULL)
		return bad(m, "not an archive of torch.save");
	m->root = intern(m->cx, m->zip->v[0].name, (size_t)(slash + 1 - m->zip->v[0].name));
	pkl = zip_find(m->zip, m->cx, intern_printf(m->cx, "%sdata.pkl", m->root));
	if (pkl == NULL)
		return bad(m, "not an archive of torch.save: it has no data.pkl");
	if (!byteorder(m) || !zip_bytes(m->cx, m->zip, pkl, &p, &len))
		return false;
	m->p = p;
	m->end = p + len;
	dict = run(m);
	if (dict)
		*n = tensors(m, dict, v);
	return dict != NULL;
}

bool
torch_load(Ctx *cx, const char *what, const uint8_t *p, size_t size, uint64_t *budget, View **v, int *n)
{
	Machine m = { .cx = cx, .what = what };
	Zip z;
	bool ok;

	*v = NULL;
	*n = 0;
	if (size == 0)          /* an empty dict */
		return true;
	if (!zip_open(cx, what, p, size, &z))
		return false;
	z.budget = budget;
	m.zip = &z;
	m.a = arena_new();
	ok = load(&m, v, n);
	arena_free(m.a);
	return ok;
}
