/* casefile.h - private to case.c and casepack.c: fields of JSON objects, tensors, weights made for a case. */
#ifndef CASEFILE_H
#define CASEFILE_H
#include "case.h"

Json *case_get(Ctx *, const Json *o, const char *key);             /* NULL: none */
const char *case_str(Ctx *, const Json *o, const char *key);       /* NULL: none, or no string */
double  case_num(Ctx *, const Json *o, const char *key);           /* 0: none */
int64_t case_int(Ctx *, const Json *o, const char *key, int64_t dflt);
bool    case_truth(Ctx *, const Json *o, const char *key, bool dflt);
Json *case_json(Ctx *, const char *path);
const char *case_join(Ctx *, const char *dir, const char *name);
void  case_outputs(Ctx *, const Json *outputs, Text *);             /* kinds and targets, as pragmas */
CaseTensor case_tensor(Ctx *, const Json *o);                      /* without data */
void  case_tolerance(Ctx *, const Json *o, CaseWant *);

/* A safetensors file in memory. */
typedef struct StOut { Text head; Text data; bool any; } StOut;
void  st_add(StOut *, const char *name, enum dtype, int rank, const int64_t *dim, const void *, size_t bytes);
void  st_done(Ctx *, StOut *, CaseForm *);

/* Case number `only` of the pack in dir, or all (-1). */
bool  pack_read(Ctx *, const char *dir, Str base, int64_t only, bool train, CaseList *);
#endif
