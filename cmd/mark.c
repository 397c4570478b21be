/* mark.c - what the command line says of the inputs and outputs of a model, as marks in its signature.
 *
 * Which inputs get gradients, which output is the loss, which weights may be replaced, what is decomposed.
 */
#include <fnmatch.h>
#include <string.h>
#include "cmd/job.h"
#include "ir/pass/pass.h"

static bool
matches(const StrList *globs, Str name)
{
	for (int i = 0; name && i < globs->n; i++)
		if (fnmatch(globs->v[i], name, 0) == 0)
			return true;
	return false;
}

/* Parameters that share their memory are one, under the first name: it gets the whole gradient. */
static void
tie(Module *m)
{
	for (int i = 0; i < m->in.n; i++)
		for (int k = 0; k < i; k++) {
			Input *a = &m->in.v[k], *b = &m->in.v[i];
			if (a->kind == InParam && b->kind == InParam && a->val && b->val && a->weight && b->weight && a->weight->storage &&
			    a->weight->storage == b->weight->storage && a->weight->data == b->weight->data && a->val->type == b->val->type) {
				val_replace(b->val, a->val);
				a->requires_grad |= b->requires_grad;
				a->updatable |= b->updatable;
			}
		}
}

/* What an output is a view of is not constant: whoever gets the view may write it. */
static void
alias_states(Module *m)
{
	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i];
		if ((in->kind == InParam || in->kind == InBuffer) && in->weight && in->weight->data && input_aliased(m, in)) {
			in->updatable = true;
			in->swappable = false;
		}
	}
}

/* --loss=NAME: that output, and no other, is the loss.  NAME: as in the header, or of the node. */
static bool
lossnamed(Module *m, const char *name)
{
	Text names = {.arena = ctx_arena(m->cx)};
	const Arg *list = &m->main->last->arg[0];
	bool found = false;

	for (int i = 0; i < m->out.n; i++) {
		Output *o = &m->out.v[i];
		const char *node = i < list->list.n && list->list.v[i].kind == ArgVal ? list->list.v[i].use->val->name : "";
		if (o->kind != ResUser && o->kind != ResLoss)
			continue;
		o->kind = (o->name && strcmp(o->name, name) == 0) || strcmp(node, name) == 0 ? ResLoss : ResUser;
		found |= o->kind == ResLoss;
		text_add(&names, "%s%s", names.n ? " " : "", o->name ? o->name : node);
	}
	if (!found)
		error(m->cx, NOLOC, "--loss: no output is called '%s' (%s)", name, names.s ? names.s : "there is none");
	return found;
}

/* -fdecompose=all, none, NAME,... */
static void
decompose(Module *m, const char *s)
{
	if (s == NULL)
		return;
	m->decompose = strcmp(s, "all") == 0 ? DecomposeAll : DecomposeNone;
	for (size_t n; m->decompose == DecomposeNone && strcmp(s, "none") != 0 && *s; s += n + (s[n] == ',')) {
		n = strcspn(s, ",");
		vec_push(ctx_arena(m->cx), &m->decomposed, intern(m->cx, s, n));
	}
}

/* --wrt, --loss, -fmutable: marks in the signature. */
bool
mark_training(Job *j)
{
	const Options *o = &j->opt;
	Module *m = j->mod;
	bool any = m->train;

	m->autocast = o->autocast ? dtype_parse(o->autocast, strlen(o->autocast)) : DtNone;
	m->train = m->train || o->train;               /* a text with tangents is a joint graph */
	m->decomp = o->decomp && strcmp(o->decomp, "torch") == 0 ? DecompTorch : DecompNative;
	decompose(m, o->decompose);
	m->keepmut = m->decomp == DecompTorch && o->keepmut != 0;
	for (int i = 0; i < m->in.n; i++) {
		Input *in = &m->in.v[i];
		if (o->wrt.n && in->kind != InTangent)
			in->requires_grad = matches(&o->wrt, in->target) || matches(&o->wrt, in->name) || matches(&o->wrt, in->argname);
		any |= in->requires_grad;
		in->swappable = false;
		in->updatable = (in->kind == InParam || in->kind == InBuffer) &&
		                (o->freeze == 0 || matches(&o->mutables, in->target) || (m->train && in->requires_grad));
	}
	for (int i = 0; i < m->in.n && !m->train; i++)
		m->in.v[i].swappable = m->in.v[i].updatable;
	if (m->train)
		tie(m);
	if (o->loss && !lossnamed(m, o->loss))
		return false;
	if (m->train && !any) {
		error(m->cx, NOLOC, "--train: no input needs a gradient%s", o->wrt.n ? ": --wrt matches none" : "; say which with --wrt=GLOB");
		return false;
	}
	return true;
}

/* A text of one part, forward or backward, compiled by itself: what the parts hand on are plain
 * arguments and results. */
static void
alone(Module *m)
{
	bool part = false;

	for (int i = 0; i < m->in.n; i++)
		part |= m->in.v[i].kind == InSaved;
	for (int i = 0; i < m->out.n; i++)
		part |= m->out.v[i].kind == ResSaved;
	for (int i = 0; part && i < m->in.n; i++)
		if (m->in.v[i].kind == InSaved || m->in.v[i].kind == InTangent)
			m->in.v[i].kind = InUser;
	for (int i = 0; part && i < m->out.n; i++)
		if (m->out.v[i].kind == ResSaved || m->out.v[i].kind == ResGradParam || m->out.v[i].kind == ResGradUser)
			m->out.v[i].kind = ResUser;
}

void
mark_states(Module *m)
{
	alias_states(m);
	if (m->backward == NULL)
		alone(m);
}
