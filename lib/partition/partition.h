/* partition.h - cut a joint graph into a forward and a backward graph.
 *
 * What forward saves for backward is chosen by a minimum cut (PyTorch's min_cut_rematerialization_
 * partition: weights, bans and ties are its own), what is not saved is computed again.
 */
#ifndef PARTITION_H
#define PARTITION_H
#include "ir/ir.h"
#include "ir/meta.h"

enum partitioner { PartMincut, PartDefault, PartNone };   /* None: one function */

typedef struct PartOptions {
	enum partitioner how;
	double budget;           /* activation memory budget, 0..1 (1) */
	int64_t maxbytes;        /* ... or this many bytes; 0: not given */
	bool aggressive;         /* recompute whatever is not compute-intensive */
	bool recompute_views;
	bool nofar, nolong, nomaterial, noreduction;   /* bans that are switched off */
	const char *packmode;    /* saved-tensor hooks: "donated", "all", "no-static" */
	FILE *info;              /* -fopt-info-partition: why each value was saved or recomputed; NULL */
	Text *mincut;            /* -fdump-mincut: the graph with weights and bans, and the cut; NULL */
} PartOptions;

/* m is a joint graph.  Afterwards m is the forward part: results (mutated inputs, user's, bases, saved
 * tensors, saved sizes: ResSaved), and m->backward the backward part: inputs (sizes, saved tensors: InSaved,
 * tangents: InTangent), results the gradients, None for inputs without one.  The k-th ResSaved and the
 * InSaved of the same `target` are one value.  Tangents that are numbers (of a loss) are put in; with PartNone
 * this is all that happens, but for checkpointed regions, which are computed again in backward. */
bool partition(Module *m, const PartOptions *);

/* Forward does not hand on what backward can find itself: a saved parameter, buffer or constant
 * that nobody writes becomes backward's own input.  Done after -S=forward was printed. */
bool partition_share(Module *m);
#endif
