/* job.h - one run of fxcc1: the chapters of the compiler proper share it.
 *
 * fxcc1.c  reads, runs the passes, writes texts
 * known.c  what values the options may have
 * mark.c   what the command line says of inputs and outputs: parameters, losses, states
 * back.c   from graphs to the product
 */
#ifndef JOB_H
#define JOB_H
#include <setjmp.h>
#include "emit/emit.h"
#include "grad/grad.h"
#include "passes.h"

enum { ExitOk, ExitError, ExitUsage, ExitLimit, ExitBug };

typedef struct Job {
	Ctx *cx;
	Arena *arena;
	Options opt;
	Module *mod;
	Plan *plan[8], *backplan[8], *stepplan[8], *foldplan[8];
	const Target *target[8];
	int ntarget;
	Optimizer optim;               /* --optimizer; kind NULL: none */
	Module *step;                  /* its step, as a program */
	jmp_buf onbug;
} Job;

/* known.c: false: the command line is wrong, and said so. */
bool  usage(const char *fmt, const char *s);
bool  known_options(const Options *, Arena *);
bool  known_diagnostics(Job *, Diag *);
bool  known_optimizer(Job *);
bool  known_targets(Job *);
const char *stage_pass(const char *stage, bool torch);   /* the pass that -S=STAGE stops after; NULL: it is no graph */
enum { AssertScalar = 8 };                               /* beside FxrtAssertSize ... */
int   asserts(const Options *);                          /* -fassert; -1: an unknown word */
int   rng_kind(const Options *);                         /* enum rng; -1: no such kind */
int   weights_where(const Options *);                    /* enum weights; -1: no such place */
/* mark.c */
bool  mark_training(Job *);                              /* --wrt, --loss, -fmutable ...: marks in the signature */
void  mark_states(Module *);                             /* before the back half */
/* back.c */
bool  back_half(Job *);
const char *output(Job *);                               /* the name of the product */
bool  write_text(Job *, const Text *);                   /* fxcc1.c */
Str   stem(Ctx *, const char *path);                     /* file name up to its first dot */
#endif
