/* header.c - the C header of a model, readable as if written by hand. */
#include <ctype.h>
#include "emit/embed.h"
#include "emit/entry.h"
#include "ir/meta.h"
#include "rt/model.h"

static const char *
upper(Artifact *a, const char *s)
{
	char *t = arena_printf(a->a, "%s", s);

	for (char *p = t; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return t;
}

static void
list(Artifact *a, Text *t, const Ports *p)
{
	for (int i = 0; i < p->n; i++)
		text_add(t, "%s%s: %s", i ? ", " : "", p->v[i].name, type_str(a->cx, p->v[i].type));
}

/* forward(x: f32[n, 64]) -> (out0: f32[n, 10]) */
static void
summary(Artifact *a, Text *t)
{
	text_add(t, " *\n * %s(", a->opt->prefix);
	list(a, t, &a->entry[0].in);
	text_add(t, ") -> (");
	list(a, t, &a->entry[0].out);
	text_add(t, ")\n");
	for (int i = 0; i < a->nsize; i++) {
		const Sym *s = a->sym.v[i];
		if (s->isfloat)
			text_add(t, " *     %s: any number\n", s->name);
		else
			text_add(t, s->hi == INT64_MAX ? " *     %s in [%lld, any]\n" : " *     %s in [%lld, %lld]\n", s->name,
			         (long long)s->lo, (long long)s->hi);
	}
	for (int i = 0; i < a->mod->guard.n; i++)
		text_add(t, " *     %s\n", a->mod->guard.v[i].text ? a->mod->guard.v[i].text : sym_str(a->cx, a->mod->guard.v[i].cond));
}

static void
strides(Artifact *a, Text *t, const Type *y)
{
	for (int d = 0; d < y->rank; d++)
		text_add(t, "%s%s", d ? ", " : "", sym_str(a->cx, type_stride(a->cx, y, d)));
}

static void
input_notes(Artifact *a, Text *t, const Port *p, int i)
{
	Str what = descr_input(a, p);
	bool given = p->kind != FXCC_USER, kept = given && a->kept.n && artifact_kept(a, &a->mod->in.v[p->index]) >= 0;

	if (given || p->written || strncmp(what, "input ", 6) != 0)
		text_add(t, " *   in[%d] %s is %s%s%s%s\n", i, p->name, what, given ? ", given at run time" : "",
		         kept ? ", which backward reads where forward did" : "",
		         p->written ? ", mutated in place: forward leaves it as PyTorch would" : "");
	if (p->after) {
		text_add(t, " *   %s is %s after forward, from element %s, strides [", p->name,
		         type_str(a->cx, type_tensor(a->cx, p->after->type->dt, p->after->type->rank, p->after->type->dim)), sym_str(a->cx, p->after->offset));
		strides(a, t, p->after->type);
		text_add(t, "]: its memory stays, the caller's tensor takes these (module()->in_after)\n");
	}
	if (p->type->kind == TyTensor && p->type->stride && p->type->rank > 1) {
		text_add(t, " *   %s has strides [", p->name);
		strides(a, t, p->type);
		text_add(t, "] (elements)\n");
	}
}

static void
view_note(Artifact *a, Text *t, const Port *p)
{
	const char *base = p->viewof == FxrtViewIn ? a->entry[0].in.v[p->base].name : p->viewof == FxrtViewOut ? a->entry[0].out.v[p->base].name
	                   : a->state.v[p->base].name;

	text_add(t, " *   %s owns no memory: it is a view of %s%s, from element %s, strides [", p->name, p->viewof == FxrtViewState ? "state " : "", base,
	         sym_str(a->cx, p->offset));
	strides(a, t, p->type);
	text_add(t, "]; it is copied if memory is given, NULL: not\n");
}

/* Names, as many to a line as fit. */
static void
constants(Artifact *a, Text *t)
{
	size_t room = 0;

	for (int i = 0; i < a->mod->in.n; i++) {
		const Input *in = &a->mod->in.v[i];
		const char *s = in->target ? in->target : in->name;
		if (in->val == NULL || in->kind == InUser || in->kind == InSaved || in->weight == NULL || in->weight->data == NULL ||
		    artifact_state(a, in) >= 0 || artifact_weight(a, in) >= 0)
			continue;
		if (room < strlen(s) + 1) {
			text_add(t, room ? "\n *    " : " *   constant:");
			room = 100;
		}
		text_add(t, " %s", s);
		room -= strlen(s) + 1 < room ? strlen(s) + 1 : room;
		room = room ? room : 1;
	}
	if (room)
		text_add(t, "\n");
}

static void
notes(Artifact *a, Text *t)
{
	const Ports *in = &a->entry[0].in, *out = &a->entry[0].out;

	for (int i = 0; i < in->n; i++)
		input_notes(a, t, &in->v[i], i);
	for (int i = 0; i < a->mod->whole.n; i++) {
		const Whole *w = &a->mod->whole.v[i];
		text_add(t, " *   %s is %s{", w->name, w->kind);
		for (int k = 0; k < w->part.n; k++)
			text_add(t, "%s%s", k ? ", " : "", w->part.v[k]);
		text_add(t, "}\n");
	}
	for (int i = 0; a->mod->meta && i < a->mod->meta->lies.n; i++) {
		const Lies *s = &a->mod->meta->lies.v[i];
		text_add(t, " *   %s lies in %s, from element %lld\n", s->name, s->in, (long long)s->offset);
	}
	for (int i = 0; i < a->state.n; i++) {
		const State *s = &a->state.v[i];
		text_add(t, " *   %s %s: %s%s, kept in the context (%s at byte %llu)\n", descr_kind(s->in->kind == InParam ? FXCC_PARAM : FXCC_BUFFER),
		         s->fqn ? s->fqn : s->name, type_str(a->cx, s->in->val->type), s->written ? ", mutated in place by forward" : "",
		         s->name, (unsigned long long)s->offset);
	}
	for (int i = 0; i < a->weight.n; i++) {
		const State *s = &a->weight.v[i];
		text_add(t, i < a->nplain ? " *   %s %s: %s, can be replaced\n" :
		         s->offset >= a->nfirst ? " *   %s %s: %s, computed from weights when the library is loaded\n" :
		         " *   %s %s: %s, folded from weights that can be replaced\n",
		         descr_kind(i >= a->nplain ? FXCC_CONST : s->in->kind == InParam ? FXCC_PARAM : FXCC_BUFFER), s->fqn ? s->fqn : s->name,
		         type_str(a->cx, s->in->val->type));
	}
	constants(a, t);
	for (int i = 0; i < out->n; i++)
		if (out->v[i].viewof)
			view_note(a, t, &out->v[i]);
		else if (out->v[i].alias >= 0)
			text_add(t, " *   %s has the value of %s, copied\n", out->v[i].name, in->v[out->v[i].alias].name);
}

/* What backward does, and how the saved buffer is laid out. */
static void
train_notes(Artifact *a, Text *t)
{
	const Entry *b = artifact_entry(a, FxrtBackward);

	if (b == NULL)
		return;
	text_add(t, " *\n * backward(");
	list(a, t, &b->in);
	text_add(t, ") -> (");
	list(a, t, &b->out);
	text_add(t, ")\n");
	for (int i = 0; i < b->in.n; i++)
		text_add(t, " *   %s is tangent(%s); NULL: %s\n", b->in.v[i].name, b->in.v[i].fqn ? b->in.v[i].fqn : "an output",
		         b->in.v[i].absent == FxrtOne ? "1" : "zeros");
	for (int i = 0; i < b->out.n; i++) {
		const Port *p = &b->out.v[i];
		text_add(t, " *   %s is %s\n", p->name, descr_gradient(a, p));
	}
	text_add(t, " * saved: %s bytes, valid for this build alone\n", sym_str(a->cx, a->savedsize));
	for (int i = 0; i < a->saved.n; i++)
		text_add(t, " *   at %s: saved(%s): %s%s\n", sym_str(a->cx, a->saved.v[i].offset), a->saved.v[i].name, type_str(a->cx, a->saved.v[i].type),
		         a->saved.v[i].donated ? ", donated" : "");
	if (a->donates)
		text_add(t, " *   backward may overwrite what is donated: one backward for each forward (-fno-donate: any number)\n");
}

static void
text_of(Text *t, const char *s)
{
	text_put(t, s, strlen(s));
}

static void
member(Artifact *a, Text *t, const Port *p, bool readonly, const char *what)
{
	text_add(t, "    %s%s *%s;    /* %s%s */\n", readonly ? "const " : "", port_ctype(p), p->name, type_str(a->cx, p->type), what);
}

static void
structs(Artifact *a, Text *t)
{
	const Ports *in = &a->entry[0].in, *out = &a->entry[0].out;
	const Entry *b = artifact_entry(a, FxrtBackward);
	const char *p = a->opt->prefix;

	text_add(t, "typedef struct %s_ctx %s_ctx;\n", p, p);
	text_add(t, "typedef struct %s_dims {", p);
	for (int i = 0; i < a->nsize; i++)
		text_add(t, " %s %s;", size_ctype(a->sym.v[i]), c_identifier(a->cx, a->sym.v[i]->name));
	text_add(t, "%s } %s_dims;\n", a->nsize ? "" : " char unused;", p);
	text_add(t, "typedef struct %s_fwd {\n", p);
	if (a->nsize)
		text_add(t, "    %s_dims dims;\n", p);
	for (int i = 0; i < in->n; i++)
		if (!port_issize(&in->v[i]))
			member(a, t, &in->v[i], !in->v[i].written, in->v[i].written ? ", mutated in place" : "");
	for (int i = 0; i < out->n; i++)
		member(a, t, &out->v[i], false, out->v[i].viewof ? ", a view: copied, or NULL" : ", written");
	if (in->n + out->n + a->nsize == 0)
		text_add(t, "    char unused;\n");
	text_add(t, "} %s_fwd;\n", p);
	if (b) {
		text_add(t, "typedef struct %s_bwd {\n", p);
		for (int i = 0; i < b->in.n; i++)
			member(a, t, &b->in.v[i], true, b->in.v[i].absent == FxrtOne ? ", NULL: 1" : ", NULL: zeros");
		for (int i = 0; i < b->out.n; i++)
			member(a, t, &b->out.v[i], false, ", written; NULL: not wanted");
		text_add(t, "    uint32_t accumulate;    /* 0: gradients are stored, 1: added to what is there */\n} %s_bwd;\n", p);
	}
	text_add(t, "\n");
}

static const char *
opt_weightfile(const Artifact *a)
{
	return a->opt->weightfile ? a->opt->weightfile : "a file of their own";
}

static void
functions(Artifact *a, Text *t)
{
	const char *p = a->opt->prefix;

	text_of(t, "/* Compute the outputs.  Tensors are row-major contiguous unless said above.  0, or an\n"
	           " * FXCC_E code.  Safe from any thread; memory comes from the library. */\n");
	text_add(t, "int %s(", p);
	entry_simple_params(a, t);
	text_of(t, ");\n\n");
	text_of(t, "/* The same with all memory the caller's and messages in error.  mem: ");
	text_add(t, "%s_CTX_SIZE bytes. */\n", upper(a, p));
	text_add(t, "size_t  %s_arena_size(const %s_dims *size);\n", p, p);
	text_add(t, "size_t  %s_saved_size(const %s_dims *size);\n", p, p);
	text_add(t, "int32_t %s_init(void *mem, size_t n, uint64_t signature, const fxcc_config *config, %s_ctx **ctx, fxcc_error *error);\n", p, p);
	if (entry_has(a, IfTrains))
		text_of(t, "/* saved: NULL, or saved_size bytes for backward, aligned to 64; forward calls may be many. */\n");
	text_add(t, "int32_t %s_forward(%s_ctx *ctx, const %s_fwd *args, void *saved, fxcc_error *error);\n", p, p, p);
	if (entry_has(a, IfTrains))
		text_add(t, "int32_t %s_backward(%s_ctx *ctx, void *saved, const %s_bwd *args, fxcc_error *error);\n", p, p, p);
	if (entry_has(a, IfSteps))
		text_add(t, "/* One step of the optimizer: parameters and its own states move.  args: as given to backward. */\n"
		            "int32_t %s_step(%s_ctx *ctx, const %s_bwd *args, double lr, fxcc_error *error);\n", p, p, p);
	text_add(t, "void    %s_fini(%s_ctx *ctx);\n", p, p);
	text_add(t, "void  **%s_user(%s_ctx *ctx);    /* a pointer of your own, NULL at first; the library never touches it */\n", p, p);
	if (entry_has(a, IfStates))
		text_add(t, "/* A state by its name, to read or change between calls; bind: all states in the caller's memory of %s_STATE_SIZE\n"
		            " * bytes, as it is, for one context or several (NULL: in the context); reset: first values. */\n"
		            "void   *%s_state(%s_ctx *ctx, const char *name);\n"
		            "int32_t %s_reset(%s_ctx *ctx, fxcc_error *error);\n", upper(a, p), p, p, p, p);
	text_add(t, "int32_t %s_bind(%s_ctx *ctx, void *state, size_t n, fxcc_error *error);\n", p, p);
	if (entry_has(a, IfRandom))
		text_add(t, "/* Random numbers of a forward call are those of (seed, offset); each call adds %s to offset.  First: (0, 0), which is\n"
		            " * what %s() draws with every time. */\n"
		            "int32_t %s_seed(%s_ctx *ctx, uint64_t seed, uint64_t offset, fxcc_error *error);\n"
		            "int32_t %s_rng(%s_ctx *ctx, uint64_t *seed, uint64_t *offset, fxcc_error *error);\n",
		         a->mod->rngwords ? arena_printf(a->a, "%s (32-bit words of mt19937)", sym_str(a->cx, a->mod->rngwords)) : "1", p, p, p, p, p);
	if (entry_has(a, IfOutside))
		text_add(t, "\n/* The weights lie outside the library, in %s, %s.\n"
		            " * load: all bytes of that file, aligned to 64; they are read where they are. */\n"
		            "int32_t %s_load(const void *weights, size_t n, fxcc_error *error);\n", opt_weightfile(a),
		         a->opt->weights == WeightsFile ? "which is mapped from beside the library when first needed" : "which has to be loaded before anything else", p);
	if (entry_has(a, IfWeights))
		text_add(t, "\n/* Weights that can be replaced, for all contexts at once, by their names in the model.  set writes into a copy that\n"
		            " * no call reads yet, fold computes what was folded from weights (swap does if that is due), swap: calls that\n"
		            " * begin from now on read that copy; those in progress keep theirs.  get: what calls read now.  From any thread.\n"
		            " * FXCC_ESTATE of set: calls that began before the last swap still run, try again. */\n"
		            "int32_t %s_weight_set(const char *name, const void *data, size_t n, fxcc_error *error);\n"
		            "int32_t %s_weight_get(const char *name, void *data, size_t n, fxcc_error *error);\n"
		            "int32_t %s_weight_fold(fxcc_error *error);\n"
		            "int32_t %s_weight_swap(fxcc_error *error);\n", p, p, p, p);
	text_of(t, "\n/* What is inside, for generic loaders. */\n");
	text_add(t, "const fxcc_module *%s_module(void);\n", p);
}

/* In a comment, which it must not end. */
static void
command(Text *t, const char *s)
{
	text_of(t, s && *s ? " " : "");
	for (; s && *s; s++)
		text_add(t, s[0] == '*' && s[1] == '/' ? "* " : "%c", *s);
	text_of(t, "\n");
}

bool
emit_header(Ctx *cx, const EmitOptions *opt, Text *t)
{
	Artifact art, *a = &art;
	const char *p = opt->prefix;

	if (!artifact_new(cx, opt, a))
		return false;
	const char *u = upper(a, p);
	text_add(t, "/* %s.h - generated by fxcc 0.1: fxcc", p);
	command(t, opt->command);
	summary(a, t);
	notes(a, t);
	train_notes(a, t);
	if (a->nsize == 0)
		text_add(t, " * arena %llu bytes,", (unsigned long long)(a->arenamax ? a->arenamax : 64));
	else
		text_add(t, " * arena of forward %s bytes,", sym_str(cx, opt->plan[0]->arena));
	text_add(t, " constants %llu bytes\n */\n", (unsigned long long)a->nkonst);
	text_add(t, "#ifndef FXCC_GEN_%s_H\n#define FXCC_GEN_%s_H\n\n", u, u);
	text_put(t, (const char *)embed_fxcc_abi_h, embed_fxcc_abi_h_size);
	text_of(t, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
	text_add(t, "#define %s_SIGNATURE UINT64_C(0x%016llx)\n", u, (unsigned long long)a->signature);
	text_add(t, "#define %s_CTX_SIZE  %zuu\n", u, artifact_ctxsize(a));
	if (a->nstate)
		text_add(t, "#define %s_STATE_SIZE %lluu\n", u, (unsigned long long)a->nstate);
	text_add(t, "#define %s_ALIGN     64u\n", u);
	if (entry_has(a, IfSteps))
		text_add(t, "#define %s_LR        %.17g    /* the optimizer's default */\n", u, opt->lr);
	if (a->nsize == 0)
		text_add(t, "#define %s_ARENA_MAX %lluu\n", u, (unsigned long long)(a->arenamax ? a->arenamax + 64 : 128));
	text_of(t, "\n");
	structs(a, t);
	functions(a, t);
	text_of(t, "#ifdef __cplusplus\n}\n#endif\n#endif\n");
	return true;
}
