/* options.h - the command line of fxcc and fxcc1. */
#ifndef OPTIONS_H
#define OPTIONS_H
#include "base/base.h"

typedef VEC(const char *) StrList;

typedef struct Options {
	StrList input;                 /* model, then weights */
	/* the fields of opts.def */
	bool object, verbose, dryrun, nowarn, werror, md, mp, version, dumpversion, dumpmachine, printops, graphops,
	     dumpall, timereport, memreport, passstats, progress, train, trapnan, joint;
	const char *maxrounds, *out, *form, *stage, *opt, *debug, *header, *jobs, *march, *mtune, *target, *mf, *mt, *savetemps, *help,
	     *model, *section, *maxinput, *prefix, *check, *threads, *weights, *stop, *start, *optinfo, *checking,
	     *maxerrors, *color, *format, *decomp, *loss, *autocast, *optimizer, *partition, *budget, *constfold, *rng, *solver, *lists, *packfile, *unpackfile, *packmode, *compress;
	StrList partwords, type, dim, param, wrt, mutables, external, patterns, patternsoff;
	const char *sanitize, *breakpass, *decompose;
	int dynstrides;
	StrList asserts;               /* -fassert */
	StrList same, alias, scalar;   /* what the command line says of inputs (declare.c) */
	int header_on, fastmath, pack, keepmut, freeze, donate, checkalias, copies;
	StrList dump;                  /* PASS or PASS=FILE of -fdump-PASS */
	StrList skip;                  /* PASS of -fno-PASS */
	StrList warn;                  /* text after -W */
	const char *command;           /* the options that shape the product, without paths */
} Options;

/* false: reported on stderr ("fxcc: error: ..."); the exit status is 2. */
bool options_parse(Arena *, int argc, char **argv, Options *);
void options_help(FILE *, const char *class);
#endif
