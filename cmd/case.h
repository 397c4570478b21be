/* case.h - cases and packs (cases/README.md): graphs with inputs and PyTorch's answers. */
#ifndef CASE_H
#define CASE_H
#include "front/front.h"

/* A tensor of a case.  data: row-major in logical order, or, if storage > 0, that many
 * flat elements which shape and stride view.  value: an input that is no tensor. */
typedef struct CaseTensor {
	enum dtype dt;
	int rank;
	int64_t dim[MaxRank], stride[MaxRank], storage;
	const uint8_t *data;
	bool istensor, isint;
	int64_t value;
} CaseTensor;

typedef struct CaseWant {
	CaseTensor eager, ref;        /* ref.data NULL: judge by eager */
	bool hastol;
	double atol, rtol;
	int index;                    /* which output or input */
	Str fqn;                      /* mutated buffer */
} CaseWant;

typedef struct CaseRun {
	VEC(CaseTensor) in;
	VEC(CaseWant) out;
	VEC(CaseWant) mutin;
	VEC(CaseWant) mutbuf;
	VEC(CaseWant) grad;           /* of input `index`, or of the parameter fqn; no tensor: None */
	VEC(CaseWant) tangent;        /* of output `index`; none at all: the loss has 1 */
	bool deterministic;
} CaseRun;

/* One way in which the graph is written. */
typedef struct CaseForm {
	Str   kind;                   /* "model.pt2", "graph.fxg", "core" */
	const char *path;             /* a file to compile as it is; NULL: text */
	const char *text; size_t ntext;
	const char *before;           /* pragmas put before the text; NULL */
	VEC(const char *) weights;    /* files */
	VEC(const char *) option;     /* -ftype=... */
	const char *safetensors; size_t nsafetensors;   /* weights made for this case; NULL */
} CaseForm;

typedef struct Case {
	Str   id;                     /* "mlp", "ops/add#3" */
	VEC(CaseRun) run;
	VEC(CaseForm) form;
} Case;

typedef VEC(Case *) CaseList;

/* Everything below dir (a case, a pack, or a tree of them), sorted; "PACK#ID" is one case of a pack.
 * train: those with gradients alone, to be compiled with --train. */
bool  cases_find(Ctx *, const char *dir, bool train, CaseList *);
/* An input of a training case: a weight with its name, or a user's (fqn NULL). */
typedef struct JointInput { const char *kind, *fqn; CaseTensor type; } JointInput;
const char *joint_pragmas(Ctx *, const char *text, const JointInput *, int n, const CaseRun *);    /* casejoint.c */
/* Does out (row-major) pass?  Writes the reason or the largest error to why. */
bool  case_passes(const CaseWant *, enum dtype, int rank, const int64_t *dim, const void *out, bool deterministic, char *why, size_t n);
bool  caselib_run(const char *lib, const Case *, char *why, size_t n);     /* caserun.c: load and run all */
#endif
