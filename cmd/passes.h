/* passes.h - running passes.def. */
#ifndef PASSES_H
#define PASSES_H
#include "grad/optimizer.h"
#include "options.h"
#include "partition/partition.h"

enum passend { PassFailed, PassStopped, PassDone };
enum passend passes_run(Module *, const Options *);
Module *passes_step(Module *, const Optimizer *, const Options *);   /* NULL: reported */
bool pass_skipped(const Options *, const char *name);
/* Write what print prints as the dump of a pass, if the options ask for it. */
bool pass_dump(Ctx *, const Options *, const char *name, void (*print)(const void *, Text *), const void *arg);
bool pass_ongraphs(const char *name);     /* does a pass on graphs have that name? */
/* sanitize.c */
bool sanitize_graph(Module *, const char *pass);  /* false: what pass left is wrong, reported */
void sanitize_break(Module *);
const char *pass_dump_name(Ctx *, const Options *, const char *name, int number);   /* the file; NULL: no dump is wanted */
/* partopt.c */
bool partition_known(const Options *, Arena *, const char **wrong);   /* false: *wrong says what is not */
bool partition_cut(Module *, const Options *);
int64_t size_of(const char *);            /* "64M" as bytes */
void passes_report(FILE *, double seconds, const char *name);
#endif
