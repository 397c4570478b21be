/* textfn.c - what the readers of both forms need for a function: its inputs, its
 * results, the names of its nodes.
 *
 * What the printed form does not say of an input is taken, in this order, from
 * -ftype, the annotation, `#fxg const`.
 */
#include <ctype.h>
#include <stdlib.h>
#include "front/text.h"

/* ---- what functions need ----------------------------------------------------------------- */

bool
fn_fail(Fn *f, const Tok *t, const char *fmt, ...)
{
	va_list ap;
	const char *msg;

	va_start(ap, fmt);
	msg = arena_vprintf(f->r->a, fmt, ap);
	va_end(ap);
	error(f->r->cx, t && !f->builtin ? loc_at(f->r->cx, f->r->file, t->off) : f->loc, "%s", msg);
	return false;
}

void
fn_bind(Fn *f, Str name, Tv v)
{
	map_put(f->r->a, &f->env, name, arena_dup(f->r->a, &v, sizeof v));
}

/* -ftype=NAME=TYPE */
static bool
ftype(Reader *r, Str name, Annot **out)
{
	size_t n = strlen(name);

	for (int i = 0; r->opt && i < r->opt->ntype; i++) {
		const char *t = r->opt->type[i];

		if (strncmp(t, name, n) != 0 || t[n] != '=')
			continue;
		*out = NEW(r->a, Annot);
		return annot_parse(r, t + n + 1, strlen(t + n + 1), -1, *out);
	}
	return true;
}

/* An input without a type of which --scalar says that it is a number; NULL. */
static Annot *
number(Reader *r, Str name)
{
	for (int i = 0; i < r->consts.n; i++)
		if (r->consts.v[i].a == name)
			return NULL;
	for (int i = 0; r->opt && i < r->opt->nscalar; i++)
		if (strcmp(r->opt->scalar[i], name) == 0)
			return arena_dup(r->a, &(Annot){.sym = sym_floatvar(r->cx, intern_printf(r->cx, "zf_%s", name))}, sizeof(Annot));
	return NULL;
}

/* A literal of `#fxg const`. */
static bool
constant(Reader *r, const Pair *p, Arg *out)
{
	char *e;

	if (strcmp(p->b, "True") == 0 || strcmp(p->b, "False") == 0) {
		*out = arg_bool(*p->b == 'T');
		return true;
	}
	if (strcmp(p->b, "None") == 0) {
		*out = arg_none();
		return true;
	}
	int64_t k = strtoll(p->b, &e, 10);
	if (*p->b && !*e) {
		*out = arg_int(r->cx, k);
		return true;
	}
	double d = strtod(p->b, &e);
	*out = *p->b && !*e ? arg_float(d) : arg_str(p->b);
	return true;
}

static const SigLine *
siginput(const Reader *r, Str name, int at)
{
	if (r->hassig)
		return at < r->in.n ? &r->in.v[at] : NULL;
	for (int i = 0; i < r->in.n; i++)
		if (r->in.v[i].name == name)
			return &r->in.v[i];
	return NULL;
}

static bool
named(const Pairs *v, Str name)
{
	for (int i = 0; i < v->n; i++)
		if (v->v[i].a == name)
			return true;
	return false;
}

static void
input(Fn *f, Str name, Val *val, const SigLine *sig)
{
	Reader *r = f->r;
	Input in = {.kind = sig ? (enum inkind)sig->kind : InUser, .val = val, .name = name, .argname = name,
	            .target = sig ? sig->target : NULL, .persistent = !sig || sig->persistent};
	const Type *t = val ? val->type : NULL;

	if (in.kind == InParam)
		in.requires_grad = t && t->kind == TyTensor && (dt_float(t->dt) || dtypeinfo[t->dt].kind == KindComplex) &&
		                   !(in.target && named(&r->frozen, in.target));
	if (named(&r->wrt, name))
		in.requires_grad = true;
	if (r->joint && !sig && strncmp(name, "tangents", 8) == 0)
		in.kind = InTangent;
	in.nonleaf = named(&r->nonleaf, name);
	for (int i = 0; i < r->storage.n; i++)
		if (strcmp(r->storage.v[i].name, name) == 0)
			in.storage = r->storage.v[i].id, in.offset = r->storage.v[i].offset;
	vec_push(r->a, &r->mod->in, in);
}

/* One parameter of the function.  annot NULL: the text gives no type. */
bool
fn_placeholder(Fn *f, Str name, const Annot *annot, Loc loc)
{
	Reader *r = f->r;
	bool main = f->g == r->mod->main && !f->inlined;
	const SigLine *sig = main ? siginput(r, name, f->nparam) : NULL;
	Annot *opt = NULL;
	const Type *type;
	Node *n;

	f->nparam++;
	if (f->inlined) {
		if (f->iactual == f->nactual) {
			error(r->cx, loc, "%s takes more arguments than the %d that are given", f->cls->name, f->nactual);
			return false;
		}
		fn_bind(f, name, f->actual[f->iactual++]);
		return true;
	}
	if (main && r->hassig && !sig) {
		error(r->cx, loc, "the signature has no input for '%s'", name);
		return false;
	}
	if (sig && sig->kind == InToken) {
		fn_bind(f, name, tv_ofarg(arg_none()));
		return true;
	}
	if (main && !ftype(r, name, &opt))
		return false;
	if (opt)
		annot = opt;
	if (main && !annot)
		annot = number(r, name);
	if (!annot && f->nparam <= r->nhook)
		annot = arena_dup(r->a, &(Annot){.type = r->hook[f->nparam - 1]}, sizeof(Annot));
	if (!annot) {
		Tv v = {.kind = TvNone};

		for (int i = 0; i < r->consts.n; i++)
			if (r->consts.v[i].a == name) {
				v.kind = TvArg;
				constant(r, &r->consts.v[i], &v.arg);
			}
		fn_bind(f, name, v);
		if (main)
			input(f, name, NULL, sig);
		if (main && v.kind == TvArg)
			r->mod->in.v[r->mod->in.n - 1].value = v.arg;
		return true;
	}
	type = annot->type ? annot->type : type_sym(r->cx, annot->sym);
	n = node_placeholder(f->g, name, type, loc);
	if (!n)
		return false;
	n->target = name;
	n->annot = type;
	f->lastin = n;
	fn_bind(f, name, annot->sym ? tv_ofarg(arg_sym(annot->sym)) : tv_ofarg(arg_val(&n->out[0])));
	if (main)
		input(f, name, &n->out[0], sig);
	return true;
}

/* A name for C and FX: letters, digits, '_'. */
static Str
identifier(Ctx *cx, const char *s)
{
	Text t = {.arena = ctx_arena(cx)};

	if (isdigit((unsigned char)*s))
		text_add(&t, "_");
	for (; *s; s++)
		text_add(&t, "%c", isalnum((unsigned char)*s) ? *s : '_');
	return intern_str(cx, t.n ? t.s : "_");
}

/* self.path is a tensor: the module's, so an input like its parameters. */
Val *
fn_attr(Fn *f, Str path)
{
	Reader *r = f->r;
	Val *v;
	Annot *annot = NULL;
	const Type *type;
	SigLine sig = {.target = path, .kind = InParam, .persistent = true};
	Node *n;

	for (int c = (int)(f->cls - r->cls.v); f->inlined && r->cls.v[c].parent >= 0; c = r->cls.v[c].parent)
		path = intern_printf(r->cx, "%s.%s", r->cls.v[c].name, path);
	if ((v = map_get(&r->attr, path)))
		return v;
	if (f->g != r->mod->main) {
		error(r->cx, f->loc, "a sub-graph uses the tensor self.%s: pass it as an argument", path);
		return NULL;
	}
	if (!ftype(r, path, &annot))
		return NULL;
	type = annot && annot->type ? annot->type : f->annot ? f->annot->type : NULL;
	if (!type) {
		error(r->cx, f->loc, "self.%s has no type: give it with -ftype=%s=f32[2,3]", path, path);
		return NULL;
	}
	if (strstr(path, "constant") || strstr(path, "lifted_tensor") || !dt_float(type->dt))
		sig.kind = InConst;
	n = node_placeholder(f->g, f->target && !f->builtin ? f->target : identifier(r->cx, path), type, f->loc);
	if (!n)
		return NULL;
	n->target = path;
	n->annot = type;
	sig.target = path;
	input(f, n->name, &n->out[0], &sig);
	map_put(r->a, &r->attr, path, &n->out[0]);
	return &n->out[0];
}

bool
fn_graph(Fn *f, int cls, Graph **out)
{
	Reader *r = f->r;
	Class *c = &r->cls.v[cls];

	if (c->state == 1) {
		error(r->cx, f->loc, "%s uses itself", c->name);
		return false;
	}
	if (c->state == 0) {
		c->state = 1;
		c->graph = graph_new(r->mod, c->name, f->g);
		vec_push(r->a, &r->mod->sub, c->graph);
		if (!formb_function(r, c))
			return false;
		c->state = 2;
	}
	*out = c->graph;
	return true;
}

/* Types are inferred where the text does not give them, and only when asked for.
 * known: all up to this node have theirs. */
bool
fn_known(Fn *f, Val *v)
{
	Reader *r = f->r;
	Node *n = r->known && r->known->graph == f->g ? r->known->next : f->g->first;

	if (v->type)
		return true;
	if (v->def->graph != f->g)
		return vmap_known(f, v);
	for (; n; n = n->next) {
		bool known = true;

		for (int i = 0; i < n->nout; i++)
			known = known && n->out[i].type;
		if (!known && !node_infer(n))
			return false;
		r->known = n;
		if (n == v->def)
			break;
	}
	return v->type || tv_fail(f, "the type of %s is not known", v->name);
}

/* ---- the results --------------------------------------------------------------------------- */

typedef VEC(Arg) Args;

static bool
collect(Fn *f, const Tv *v, Args *list, const char *key)
{
	Reader *r = f->r;
	bool main = f->g == r->mod->main;
	Arg a;

	if (v->kind == TvList || v->kind == TvDict) {
		for (int i = 0; i < v->n; i++) {
			const char *k = v->kind == TvDict ? v->key[i] : NULL;

			if (k || key)
				k = !key ? k : k ? arena_printf(r->a, "%s.%s", key, k) : arena_printf(r->a, "%s.%d", key, i);
			if (!collect(f, &v->v[i], list, k))
				return false;
		}
		return true;
	}
	if (v->kind == TvNode) {
		for (int i = 0; i < v->node->nout; i++) {
			Tv one = tv_ofarg(arg_val(&v->node->out[i]));

			if (!collect(f, &one, list, key ? arena_printf(r->a, "%s.%d", key, i) : NULL))
				return false;
		}
		return true;
	}
	if (!tv_arg(f, v, &a))
		return false;
	vec_push(r->a, list, a);
	if (main)
		vec_push(r->a, &r->outname, key ? intern_str(r->cx, key) : NULL);
	return true;
}

/* The last results of a joint graph are the gradients of its primals, None where there is none. */
static bool
gradients(Fn *f)
{
	Module *m = f->r->mod;
	const Arg *list = m->main->last->arg[0].list.v;
	int k = m->out.n;

	for (int i = 0; i < m->in.n; i++)
		k -= m->in.v[i].kind != InTangent;
	if (k < 0)
		return fn_fail(f, NULL, "a joint graph returns a gradient for each of its primals");
	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i];

		if (in->kind == InTangent)
			continue;
		m->out.v[k].kind = in->kind == InParam ? ResGradParam : ResGradUser;
		m->out.v[k].target = in->kind == InParam ? in->target : in->name;
		in->requires_grad = list[k++].kind != ArgNone;
	}
	return true;
}

bool
fn_return(Fn *f, const Tv *v)
{
	Reader *r = f->r;
	Args list = {0}, kept = {0};
	bool main = f->g == r->mod->main;

	if (f->inlined) {
		*f->result = *v;
		return true;
	}
	if (r->unsup.n)                          /* the graph is not complete: it is reported in the end */
		return true;
	if (!main && v->kind == TvList && v->n == 2 && !collect(f, &v->v[0], &kept, NULL))
		return false;
	f->cls->nfirst = kept.n;
	kept.n = 0;
	if (!collect(f, v, &list, NULL))
		return false;
	if (!main) {
		node_output(f->g, &(Arg){.kind = ArgList, .list = {list.v, list.n}}, f->loc);
		return true;
	}
	if (r->hassig && r->out.n != list.n) {
		error(r->cx, f->loc, "the signature has %d outputs, the function returns %d", r->out.n, list.n);
		return false;
	}
	for (int i = 0; i < list.n; i++) {
		const SigLine *sig = NULL;
		Output o = {.kind = ResUser};

		for (int k = 0; !r->hassig && k < r->out.n; k++)
			if (atoi(r->out.v[k].name) == i && isdigit((unsigned char)*r->out.v[k].name))
				sig = &r->out.v[k];
		if (r->hassig)
			sig = &r->out.v[i];
		if (sig && sig->kind == ResToken)
			continue;
		if (sig) {
			o.kind = (enum outkind)sig->kind;
			o.target = sig->target;
		}
		o.name = r->outname.v[i];
		vec_push(r->a, &kept, list.v[i]);
		vec_push(r->a, &r->mod->out, o);
	}
	node_output(f->g, &(Arg){.kind = ArgList, .list = {kept.v, kept.n}}, f->loc);
	return !r->joint || gradients(f);
}

/* ---- naming nodes ------------------------------------------------------------------------------ */

/* The statement's name and type go to the node that it made, or to the result that it
 * took; a second name of the same value is only a name. */
bool
fn_name(Fn *f, Str name, Tv *v)
{
	Reader *r = f->r;
	const Type *type = f->annot ? f->annot->type : NULL;

	if (f->builtin) {
		fn_bind(f, name, *v);
		return true;
	}
	if (v->kind == TvNode && !map_get(&r->taken, v->node) && v->node->nout != 1) {
		map_put(r->a, &r->taken, v->node, v->node);
		node_rename(v->node, name);
		for (int i = 0; i < v->node->nout; i++)
			if (!map_get(&r->taken, &v->node->out[i]))
				val_rename(f->g, &v->node->out[i], arena_printf(r->a, "%s_unused_%d", name, i));
	} else if (v->kind == TvArg && v->node && v->node->nout == 0) {
		node_rename(v->node, name);
	} else if (v->kind == TvArg && (v->arg.kind == ArgVal || v->node)) {
		Val *val = v->node ? &v->node->out[0] : v->arg.use->val;
		Node *n = val->def;

		if (!map_get(&r->taken, val) && !(n->op->flags & OP(Leaf))) {
			map_put(r->a, &r->taken, val, val);
			val_rename(f->g, val, name);
			if (n->nout == 1)
				n->name = val->name;
			if (type && val->out == 0)
				n->annot = type;
			if (type && !val->type)
				val->type = type;
		}
	}
	fn_bind(f, name, *v);
	return true;
}
