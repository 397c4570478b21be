/* torchvmap.c - torch._functorch.predispatch: the calls by which texts write a vmap. */
#include "front/text.h"
#include "front/vmap.h"

static bool
known(void *reader, Val *v)
{
	return vmap_known(reader, v);
}

static VmapAt
at(Fn *f)
{
	return (VmapAt){.cx = f->r->cx, .a = f->r->a, .mod = f->r->mod, .g = f->g, .in = f->r->vmap, .loc = f->loc,
	                .known = known, .reader = f};
}

/* The types of what was read so far, in the graph of v. */
bool
vmap_known(Fn *f, Val *v)
{
	Graph *here = f->g;
	bool ok;

	f->g = v->def->graph;
	ok = fn_known(f, v);
	f->g = here;
	return ok;
}

Val *
vmap_value(Fn *f, Val *v)
{
	VmapAt here = at(f);

	return f->r->vmap ? vmap_inside(&here, v) : v;
}

static bool
moved(Fn *f, const VmapAt *now, bool ok)
{
	f->g = now->g;
	f->r->vmap = now->in;
	return ok;
}

/* tensor, dim, level; tensor, level, size, dim */
static bool
batched(Fn *f, bool in, const Tv *pos, int npos, Tv *out)
{
	VmapAt here = at(f);
	Val *v = npos > (in ? 1 : 3) ? tv_tensor(&pos[0]) : NULL;
	int64_t dim;

	if (!v || pos[in ? 1 : 3].kind != TvArg || !arg_isconst(&pos[in ? 1 : 3].arg, &dim))
		return tv_fail(f, "%s needs a tensor and a dimension", in ? "_add_batch_dim" : "_remove_batch_dim");
	v = in ? vmap_row(&here, v, dim) : vmap_rows(&here, v, dim);
	if (v)
		*out = tv_val(v);
	return v != NULL;
}

bool
tv_vmap(Fn *f, const char *name, const Tv *pos, int npos, Tv *out)
{
	VmapAt here = at(f);

	*out = tv_ofarg(arg_none());
	if (strcmp(name, "lazy_load_decompositions") == 0)
		return true;
	if (strcmp(name, "_vmap_increment_nesting") == 0)
		return moved(f, &here, vmap_begin(&here));
	if (strcmp(name, "_vmap_decrement_nesting") == 0)
		return moved(f, &here, vmap_end(&here));
	if (strcmp(name, "_add_batch_dim") == 0)
		return batched(f, true, pos, npos, out);
	if (strcmp(name, "_remove_batch_dim") == 0)
		return batched(f, false, pos, npos, out);
	return tv_unsupported(f, intern_printf(f->r->cx, "torch._functorch.predispatch.%s", name), out);
}
