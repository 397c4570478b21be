/* data.h - constant tables, written once and printed as LLVM constants or as C.
 *
 *     data_open(d, "fxrt_port", "m_in", n);        static const fxrt_port m_in[n] = {
 *     data_begin(d); data_str(d, "x"); data_int(d, 32, 7); ... data_end(d);   { "x", 7, ... },
 *     data_close(d);                                };
 *
 * Structs are laid out as C does, so fields come in order and at their own width.
 */
#ifndef EMIT_DATA_H
#define EMIT_DATA_H
#include "base/base.h"

typedef struct Data Data;
enum dataflags { DataConst, DataZero, DataExport = 2 };   /* DataZero: writable, n bytes of zero (one ctype, if given), no contents */

Data *data_c(Ctx *, Text *);
Data *data_llvm(Ctx *, void *llvmmodule);
void  data_open(Data *, const char *ctype, const char *symbol, int64_t n, enum dataflags);
void  data_begin(Data *);
void  data_end(Data *);
void  data_int(Data *, int bits, int64_t);
void  data_real(Data *, double);
void  data_str(Data *, const char *);                        /* NULL: a null pointer */
void  data_ptr(Data *, const char *symbol, int64_t element); /* &symbol[element]; NULL: null; symbol was opened or declared before */
void  data_fn(Data *, const char *symbol);
void  data_close(Data *);
/* Things defined elsewhere. */
void  data_extern(Data *, const char *ctype, const char *symbol);   /* an array of ctype */
void  data_kernel(Data *, const char *symbol);                      /* a kernel */
void  data_proto(Data *, const char *symbol);                       /* an fxrt_fn */
void  data_user(Data *, const char *symbol);                        /* one of the user's own */
#endif
