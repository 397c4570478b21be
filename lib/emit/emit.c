/* emit.c - from plans to the product: compile kernels, write tables and constants,
 * link; or print everything as text.
 */
#include <errno.h>
#include <llvm-c/Core.h>
#include <unistd.h>
#include "emit/embed.h"
#include "emit/entry.h"
#include "emit/llvm.h"
#include "rt/model.h"

/* ---- the module of tables and entry points --------------------------------------- */

static LLVMModuleRef
table_module(Artifact *a, LLVMContextRef lc)
{
	LLVMModuleRef mod = LLVMModuleCreateWithNameInContext("fxcc", lc);
	Data *d = data_llvm(a->cx, mod);

	LLVMSetTarget(mod, "x86_64-unknown-linux-gnu");
	if (a->opt->weights == WeightsEmbed)
		data_extern(d, "uint8_t", arena_printf(a->a, "%skonst", a->p));
	for (int i = 0; i < a->unit.n; i++)
		data_kernel(d, a->unit.v[i].symbol);
	for (int i = 0; i < a->ext.n; i++)
		data_proto(d, arena_printf(a->a, "fxrt_%s", a->ext.v[i]));
	entry_llvm_declare(a, mod);
	artifact_tables(a, d);
	entry_llvm(a, mod);
	return mod;
}

/* ---- parts for the linker ---------------------------------------------------------- */

typedef struct Parts { VEC(Part) v; } Parts;

static bool
to_fd(void *fd, const void *p, size_t n)
{
	return write_all(*(int *)fd, p, n);
}

static bool
add_bytes(Artifact *a, Parts *ps, const char *name, const void *p, size_t n)
{
	int fd = part_new(a->cx, name);

	if (fd < 0)
		return false;
	if (!write_all(fd, p, n)) {
		error(a->cx, NOLOC, "%s: %s", name, strerror(errno));
		return false;
	}
	vec_push(a->a, &ps->v, (Part){name, fd});
	return true;
}

static bool
add_konst(Artifact *a, Parts *ps)
{
	int fd = part_new(a->cx, "constants");

	if (fd < 0)
		return false;
	if (!elf_konst(a, to_fd, &fd)) {
		error(a->cx, NOLOC, "constants: %s", strerror(errno));
		return false;
	}
	vec_push(a->a, &ps->v, (Part){"constants", fd});
	return true;
}

/* Each different kernel once. */
static Unit *
units(Artifact *a, int *n)
{
	Unit *u = NEWN(a->a, Unit, a->unit.n + 1);

	*n = 0;
	for (int i = 0; i < a->unit.n; i++) {
		bool seen = false;
		for (int j = 0; j < *n && !seen; j++)
			seen = u[j].symbol == a->unit.v[i].symbol;
		if (!seen)
			u[(*n)++] = (Unit){a->unit.v[i].kernel, a->unit.v[i].symbol, a->unit.v[i].target};
	}
	return u;
}

static bool
save(Artifact *a, const Parts *ps)
{
	for (int i = 0; a->opt->savetemps && i < ps->v.n; i++) {
		Out *o = out_open(a->cx, arena_printf(a->a, "%s/%s-%d.o", a->opt->savetemps, a->opt->prefix, i));
		char buf[65536];
		ssize_t n;
		off_t at = 0;
		if (o == NULL)
			return false;
		while ((n = pread(ps->v.v[i].fd, buf, sizeof buf, at)) > 0) {
			out_write(o, buf, (size_t)n);
			at += n;
		}
		if (!out_commit(a->cx, o))
			return false;
	}
	return true;
}

static bool
build_binary(Artifact *a, const char *outtmp)
{
	LLVMContextRef lc = LLVMContextCreate();
	Parts ps = {0};
	Object *obj, tables;
	int nobj, nunit;
	Unit *u = units(a, &nunit);
	bool ok = llvm_compile(a->cx, u, nunit, a->opt->optlevel, a->opt->jobs, &obj, &nobj) &&
	          llvm_object(a->cx, table_module(a, lc), a->opt->target[0], &tables) &&
	          add_bytes(a, &ps, "tables", tables.data, tables.size);

	LLVMContextDispose(lc);
	for (int i = 0; ok && i < nobj; i++)
		ok = add_bytes(a, &ps, "kernels", obj[i].data, obj[i].size);
	ok = ok && (a->opt->weights != WeightsEmbed || add_konst(a, &ps)) && add_bytes(a, &ps, "libfxrt.a", embed_libfxrt_a, embed_libfxrt_a_size) && save(a, &ps);
	ok = ok && link_product(a->cx, a->opt, ps.v.v, ps.v.n, outtmp);
	for (int i = 0; i < ps.v.n; i++)
		close(ps.v.v[i].fd);
	return ok;
}

/* An archive of the one object. */
static bool
build_archive(Artifact *a, const char *outtmp)
{
	char *dir = arena_printf(a->a, "%s.o", outtmp);
	const char *const ar[] = {"ar", "rcsD", outtmp, dir, NULL};
	bool ok;

	unlink(outtmp);
	ok = build_binary(a, dir) && link_run(a->cx, ar, a->opt->verbose);
	unlink(dir);
	return ok;
}

/* ---- texts ----------------------------------------------------------------------------- */

static bool
build_text(Artifact *a, Text *t)
{
	int n;
	Unit *u = units(a, &n);

	if (a->opt->product == ProductC)
		return emit_c(a, t);
	return llvm_text(a->cx, u, n, a->opt->optlevel, a->opt->product == ProductAsm, t);
}

static bool
istext(enum product p)
{
	return p == ProductC || p == ProductLLVM || p == ProductAsm;
}

static const char *
header_path(const EmitOptions *o, Arena *a, const char *path)
{
	const char *dot, *slash = strrchr(path, '/');

	if (o->noheader || o->product == ProductLLVM || o->product == ProductAsm || (o->header == NULL && strcmp(path, "-") == 0))
		return NULL;
	if (o->header)
		return o->header;
	dot = strrchr(slash ? slash : path, '.');
	return arena_printf(a, "%.*s.h", (int)(dot ? dot - path : (long)strlen(path)), path);
}

/* The constants as a file: a head (lib/rt/load.c), then they as they would lie in the library. */
static bool
write_weights(Artifact *a, Out *out)
{
	static const char zero[64];
	fxrt_blobhead h = {.magic = FXRT_BLOB, .build = a->build, .bytes = a->nkonst};
	uint64_t at = 0;

	bool ok = out_write(out, &h, sizeof h);
	for (int i = 0; i < a->konst.n; i++) {
		const Konst *k = &a->konst.v[i];
		for (uint64_t n; at < k->offset; at += n) {
			n = k->offset - at < sizeof zero ? k->offset - at : sizeof zero;
			ok = out_write(out, zero, n) && ok;
		}
		ok = out_write(out, k->data, k->bytes) && ok;
		at += k->bytes;
	}
	return ok;
}

/* OUT-stem.weights */
static const char *
weights_path(Arena *a, const char *path)
{
	const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');

	return arena_printf(a, "%.*s.weights", (int)(dot ? dot - path : (long)strlen(path)), path);
}

static bool
write_product(Artifact *a, Out *out)
{
	Text t = {.arena = a->a};

	if (istext(a->opt->product))
		return build_text(a, &t) && out_write(out, t.s, t.n);
	return a->opt->product == ProductArchive ? build_archive(a, out_tmpname(out)) : build_binary(a, out_tmpname(out));
}

bool
emit(Ctx *cx, const EmitOptions *opt, const char *path)
{
	Artifact a;
	EmitOptions mine = *opt;
	const char *hpath = header_path(opt, ctx_arena(cx), path), *wpath = NULL;
	Text header = {.arena = ctx_arena(cx)};
	Out *out, *hout = NULL, *wout = NULL;

	if (opt->weights != WeightsEmbed && opt->product != ProductLLVM && opt->product != ProductAsm) {
		wpath = weights_path(ctx_arena(cx), path);
		mine.weightfile = strrchr(wpath, '/') ? strrchr(wpath, '/') + 1 : wpath;
	}
	if (!artifact_new(cx, &mine, &a))
		return false;
	out = out_open(cx, path);
	if (out == NULL)
		return false;
	bool ok = write_product(&a, out);
	if (ok && hpath) {
		hout = out_open(cx, hpath);
		ok = hout && emit_header(cx, &mine, &header) && out_write(hout, header.s, header.n);
	}
	if (ok && wpath) {
		wout = out_open(cx, wpath);
		ok = wout && write_weights(&a, wout);
	}
	if (!ok) {
		out_abort(out);
		if (hout)
			out_abort(hout);
		if (wout)
			out_abort(wout);
		return false;
	}
	ok = wout == NULL || out_commit(cx, wout);
	ok = out_commit(cx, out) && ok;
	return (hout == NULL || out_commit(cx, hout)) && ok;
}
