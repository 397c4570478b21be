/* embed.h - files of lib/rt inside the compiler; lib/gen/embed.c writes embed.c. */
#ifndef EMIT_EMBED_H
#define EMIT_EMBED_H
#include <stddef.h>
extern const unsigned char embed_fxcc_abi_h[]; extern const size_t embed_fxcc_abi_h_size;
extern const unsigned char embed_libfxrt_a[];  extern const size_t embed_libfxrt_a_size;
/* The sources, for C output: name, then text; headers first. */
typedef struct EmbedFile { const char *name; const unsigned char *data; size_t size; } EmbedFile;
extern const EmbedFile embed_source[]; extern const int embed_nsource;
#endif
