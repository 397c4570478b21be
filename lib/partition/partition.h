/* partition.h - cut a joint graph into a forward and a backward graph.
 *
 * What forward saves for backward is chosen by a minimum cut (PyTorch's min_cut_rematerialization_
 * partition: weights, bans and ties are its own), what is not saved is computed again.
 */
#ifndef PARTITION_H
#define PARTITION_H
#include "ir/ir.h"
#include "ir/meta.h"

enum partitioner { PartMincut, PartDefault, PartNone, PartNamed };   /* None: one function; Named: what a file says */
enum solver { SolveDp, SolveGreedy, SolveIlp };
enum cutform { CutText, CutDot, CutJson };

/* What operators are, in place of our lists; NULL: reported. */
typedef struct OpLists OpLists;
const OpLists *oplists_read(Ctx *, const File *);

typedef struct PartOptions {
	enum partitioner how;
	const File *saved;       /* PartNamed: names of values */
	const OpLists *lists;    /* NULL: PyTorch's */
	double budget;           /* activation memory budget, 0..1 (1) */
	int64_t maxbytes;        /* ... or this many bytes; 0: not given */
	bool aggressive;         /* recompute whatever is not compute-intensive */
	bool recompute_views;
	bool nofar, nolong, nomaterial, noreduction, noallowlist;   /* bans that are switched off */
	int maxdist;             /* what is farther from backward is not computed again; 0: any distance */
	enum solver solver;      /* of the knapsack */
	const char *packmode;    /* saved-tensor hooks: "donated", "all", "no-static" */
	enum dtype compress;     /* saved tensors are kept as bf16, f8e4m3fn, i8; 0: as they are */
	int64_t compressmin;     /* ... those of so many bytes and more */
	/* A graph that packs a tensor of that type, or unpacks such ones; NULL: reported.  NULL: the program's own hooks. */
	const Graph *(*hook)(void *arg, bool unpack, const Type *const *, int n);
	void *hookarg;
	FILE *info;              /* -fopt-info-partition: why each value was saved or recomputed; NULL */
	Text *mincut;            /* -fdump-mincut: the graph with weights and bans, and the cut; NULL */
	enum cutform mincutform;
	Text *pareto;            /* -fdump-pareto: budgets, what they save, what they compute again; NULL */
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
