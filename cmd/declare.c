/* declare.c - what the command line says of the inputs of a model.
 *
 *     --same=x,y                        the caller gives one tensor for both
 *     --alias=x=buf[0:4],y=buf[2:6]     where they lie in one memory, in elements
 *     --scalar=s                        a number of each call, not a tensor
 *     -fdynamic-strides                 inputs have the strides that a call gives
 *
 * PyTorch finds out the first two by looking at the tensors of a call, and compiles for what it
 * finds; here they are promises.  They become numbers of memories (Input.storage), as
 * `#fxg storage` of a text does; the pass bases acts on them.
 */
#include <stdlib.h>
#include <string.h>
#include "cmd/declare.h"

static Input *
input(Ctx *cx, Module *m, const char *option, Str name)
{
	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i];
		if (in->name == name || in->argname == name || in->target == name)
			return in;
	}
	error(cx, NOLOC, "%s: the model has no input %s", option, name);
	return NULL;
}

static Input *
tensor(Ctx *cx, Module *m, const char *option, Str name)
{
	Input *in = input(cx, m, option, name);

	if (in && (!in->val || !in->val->type || in->val->type->kind != TyTensor))
		return error(cx, NOLOC, "%s: %s is no tensor", option, name), NULL;
	return in;
}

static int
freshstorage(const Module *m)
{
	int most = 0;

	for (int i = 0; i < m->in.n; i++)
		most = m->in.v[i].storage > most ? m->in.v[i].storage : most;
	return most + 1;
}

/* in lies in a memory, from an element on. */
static bool
place(Ctx *cx, Input *in, int storage, int64_t offset)
{
	if (in->storage && (in->storage != storage || in->offset != offset))
		return error(cx, NOLOC, "where input %s lies is said twice", in->name), false;
	in->storage = storage;
	in->offset = offset;
	return true;
}

/* ---- --same --------------------------------------------------------------------------- */

static bool
same(Ctx *cx, Module *m, const char *list)
{
	const char *option = arena_printf(ctx_arena(cx), "--same=%s", list);
	Input *first = NULL;
	int storage = freshstorage(m);

	for (const char *p = list; *p; ) {
		size_t n = strcspn(p, ",");
		Input *in = tensor(cx, m, option, intern(cx, p, n));
		if (in == NULL || !place(cx, in, storage, 0))
			return false;
		if (first && in->val->type != first->val->type)
			return error(cx, NOLOC, "%s: %s is %s, %s is %s", option, first->name, type_str(cx, first->val->type),
			             in->name, type_str(cx, in->val->type)), false;
		first = first ? first : in;
		p += n + (p[n] == ',');
	}
	return true;
}

/* ---- --alias -------------------------------------------------------------------------- */

typedef struct Memory { Str name; int storage; } Memory;
typedef VEC(Memory) Memories;

/* The memory of that name; of a tensor input's name, which it begins with. */
static int
memory(Ctx *cx, Module *m, Memories *mem, Str name)
{
	int storage;

	for (int i = 0; i < mem->n; i++)
		if (mem->v[i].name == name)
			return mem->v[i].storage;
	storage = freshstorage(m);
	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i];
		if ((in->name == name || in->argname == name) && in->val && in->val->type && in->val->type->kind == TyTensor) {
			storage = in->storage ? in->storage : storage;
			if (!place(cx, in, storage, 0))
				return 0;
		}
	}
	vec_push(ctx_arena(cx), mem, ((Memory){name, storage}));
	return storage;
}

/* x=buf[LO:HI] */
static bool
part(Ctx *cx, Module *m, Memories *mem, const char *option, const char *p, size_t n)
{
	const char *eq = memchr(p, '=', n), *open = eq ? memchr(eq, '[', n - (size_t)(eq - p)) : NULL;
	long long lo, hi;
	int64_t numel;
	int used = 0, storage;
	Input *in;

	if (!open || sscanf(open, "[%lld:%lld]%n", &lo, &hi, &used) != 2 || open + used != p + n || lo < 0 || hi < lo)
		return error(cx, NOLOC, "%s: NAME=MEMORY[FROM:TO] is wanted", option), false;
	if (!(in = tensor(cx, m, option, intern(cx, p, (size_t)(eq - p)))))
		return false;
	if (sym_isconst(type_numel(cx, in->val->type), &numel) && in->val->type->stride == NULL && numel != hi - lo)
		return error(cx, NOLOC, "%s: %s has %lld elements, its place has %lld", option, in->name, (long long)numel, hi - lo), false;
	storage = memory(cx, m, mem, intern(cx, eq + 1, (size_t)(open - eq - 1)));
	return storage && place(cx, in, storage, lo);
}

static bool
alias(Ctx *cx, Module *m, Memories *mem, const char *list)
{
	const char *option = arena_printf(ctx_arena(cx), "--alias=%s", list);

	for (const char *p = list; *p; ) {
		size_t n = strcspn(p, ",");
		if (!part(cx, m, mem, option, p, n))
			return false;
		p += n + (p[n] == ',');
	}
	return true;
}

/* ---- --scalar ------------------------------------------------------------------------- */

static bool
scalar(Ctx *cx, Module *m, const char *name)
{
	Input *in = input(cx, m, "--scalar", intern_str(cx, name));

	if (in == NULL)
		return false;
	if (in->value.kind != ArgNone) {
		error(cx, NOLOC, "--scalar=%s: the export made it the constant %s, and what is computed from it too", name,
		      arg_str_of(cx, &in->value));
		note(cx, NOLOC, "export a tensor of one element instead, and read it with .item()");
		return false;
	}
	if (in->val && in->val->type && in->val->type->kind == TySym)
		return true;
	return error(cx, NOLOC, "--scalar=%s: it is %s", name, in->val && in->val->type ? type_str(cx, in->val->type) : "no number"), false;
}

/* ---- -fdynamic-strides --------------------------------------------------------------------- */

static void
anystrides(Ctx *cx, Input *in)
{
	const Type *t = in->val->type;
	const Sym *stride[MaxRank];

	for (int d = 0; d < t->rank; d++)
		stride[d] = sym_var(cx, intern_printf(cx, "%s_stride%d", in->name, d), 0, INT64_MAX);
	in->val->type = type_strided(cx, t->dt, t->rank, t->dim, stride);
	in->val->def->annot = in->val->type;
}

bool
declare_inputs(Ctx *cx, Module *m, const Options *o)
{
	Memories mem = {0};
	bool ok = true;

	for (int i = 0; i < o->same.n; i++)
		ok &= same(cx, m, o->same.v[i]);
	for (int i = 0; i < o->alias.n; i++)
		ok &= alias(cx, m, &mem, o->alias.v[i]);
	for (int i = 0; o->dynstrides == 1 && i < m->in.n; i++) {
		Input *in = &m->in.v[i];
		if (in->kind == InUser && in->val && in->val->type && in->val->type->kind == TyTensor && in->val->type->rank)
			anystrides(cx, in);
	}
	for (int i = 0; i < o->scalar.n; i++)
		ok &= scalar(cx, m, o->scalar.v[i]);
	return ok;
}
