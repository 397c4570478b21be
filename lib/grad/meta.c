/* meta.c - the record of mutations and aliases as text, as PyTorch's fields are printed.
 *
 *     in[0] mutation_type=MUTATED_IN_GRAPH data=True metadata=False ...
 *     out[0] alias_of_input base_idx=0 req_grad=True req_grad_bw=True views=[(False, True, ..., [2, 2])]
 *     num_intermediate_bases=0 ...
 */
#include "grad/grad.h"

const char *const mutation_text[] = {"NOT_MUTATED", "MUTATED_IN_GRAPH", "MUTATED_OUT_GRAPH"};
const char *const outalias_text[] = {
	[OutNonAlias] = "non_alias", [OutAliasOfInput] = "alias_of_input", [OutIsInput] = "is_input",
	[OutAliasOfIntermSave] = "alias_of_intermediate_save_as_output",
	[OutAliasOfInterm] = "alias_of_intermediate",
	[OutAliasOfIntermUser] = "alias_of_intermediate_base_is_user_output",
	[OutUnsafeView] = "unsafe_view_alias", [OutCustomView] = "custom_function_view",
};

static const char *
yes(bool b)
{
	return b ? "True" : "False";
}

static void
numbers(Text *t, const char *what, const int *v, int n)
{
	text_add(t, " %s=[", what);
	for (int k = 0; k < n; k++)
		text_add(t, "%s%d", k ? ", " : "", v[k]);
	text_add(t, "]");
}

static void
input(Text *t, int k, const InMeta *r)
{
	text_add(t, "  in[%d] mutation_type=%s data=%s metadata=%s storage=%s hidden=%s no_grad=%s leaf=%s req_grad=%s\n",
	         k, mutation_text[r->kind], yes(r->data), yes(r->metadata), yes(r->storage),
	         yes(r->hidden), yes(r->nograd), yes(r->leaf), yes(r->grad));
}

static void
output(Text *t, int k, const OutMeta *o)
{
	text_add(t, "  out[%d] %s base_idx=", k, outalias_text[o->kind]);
	if (o->base < 0)
		text_add(t, "None");
	else
		text_add(t, "%d", o->base);
	text_add(t, " req_grad=%s req_grad_bw=%s views=[", yes(o->grad), yes(o->gradbw));
	for (int i = 0; i < o->view.n; i++)
		text_add(t, "%s%s", i ? ", " : "", o->view.v[i]);
	text_add(t, "]\n");
}

void
meta_print(const Module *m, Text *t)
{
	const Meta *r = m->meta;

	if (r == NULL)
		return;
	text_add(t, "== meta\n");
	for (int k = 0; k < r->in.n; k++)
		input(t, k, &r->in.v[k]);
	for (int k = 0; k < r->out.n; k++)
		output(t, k, &r->out.v[k]);
	text_add(t, "  num_intermediate_bases=%d num_outputs_aliased=%d", r->nbase, r->naliased);
	numbers(t, "mutated_inp_runtime_indices", r->outgraph.v, r->outgraph.n);
	numbers(t, "graph_handled", r->ingraph.v, r->ingraph.n);
	text_add(t, " tokens=%d", r->ntoken);
	if (r->partitioned) {
		numbers(t, "bw_donated_idxs", r->donated.v, r->donated.n);
		text_add(t, " num_symints_saved=%d", r->nsymsaved);
	} else
		text_add(t, " bw_donated_idxs=None num_symints_saved=None");
	numbers(t, "static_input_indices", r->statics.v, r->statics.n);
	text_add(t, " rng_states=0\n");
}
