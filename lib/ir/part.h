/* part.h - parts of a program that are compiled with options of their own. */
#ifndef PART_H
#define PART_H
#include "ir/ir.h"

enum partpass { PartNoop, PartCse, PartUniform, PartViews, PartPatterns, PartSimplify, PartConstfold, PartFuse };

/* The number of a region, from 1; -1: an error, reported. */
int part_add(Module *, Loc, Str name, Str opts);
int part_parse(Module *, Loc, const char *);    /* "fxcc.region=R, opts=..." or a dictionary; 0: names no region */
bool node_leaves(const Node *, enum partpass);  /* is the node not to be touched by that pass? */
enum decompose node_decompose(const Node *);
#endif
