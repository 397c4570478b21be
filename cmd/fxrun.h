/* fxrun.h - the parts of fxrun: what was asked, inputs, outputs, the interpreter. */
#ifndef FXRUN_H
#define FXRUN_H
#include "artifact.h"
#include "front/front.h"

enum { ExitRight, ExitWrong, ExitUsage, ExitLoad };

typedef VEC(const char *) Words;

typedef struct Run {
	Ctx *cx;
	const char *model;
	Words in;                      /* FILE, NAME=FILE, rand, zeros, arange, an integer */
	Words expect, weights, type, dim;
	const char *out, *cases;
	double rtol, atol, seconds;    /* negative: not given */
	bool info, bench, interpret, f64, quiet, grad, seeded;
	int threads;
	uint64_t seed;
} Run;

/* One input or output by its description; dim -1: a free size, which sym names. */
typedef struct Slot {
	const char *name;
	enum dtype dt;
	int rank;
	bool isint;                    /* a number, not a tensor */
	int64_t dim[MaxRank], lo[MaxRank];
	const char *sym[MaxRank];
} Slot;

/* fxruntrain.c: --grad */
bool run_train(Run *, Call *, char *why, size_t n);
int  take_gradients(Run *, const Call *, Slot *, Tensor *, int n);   /* appended to the n outputs; how many there are now */
Slot info_slot(const fxcc_tensor_info *);
Tensor dl_tensor(const DLTensor *);
/* fxruninput.c */
bool run_inputs(Run *, const Slot *, int n, Tensor *in);
/* fxrunoutput.c: files, comparison, or a summary on stdout; an exit status */
int  run_outputs(Run *, const Slot *, const Tensor *out, int n);
bool npy_write(Ctx *, const char *path, const Tensor *);
/* fxruninfo.c */
void module_info(const fxcc_module *);
/* fxrunbench.c */
const fxcc_pool *pool_new(int threads);
int  bench(Call *, double seconds);
/* fxruninterp.c */
int  run_interp(Run *);
#endif
