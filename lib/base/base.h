/* base.h - what every layer may use: memory, strings, places, messages, files.
 *
 * Memory comes from arenas: a compilation has one, a pass may have a scratch
 * one; nothing is freed singly.  A Ctx is one compilation: its arena, its
 * interned strings and its messages.  lib/ has no other state.
 */
#ifndef BASE_H
#define BASE_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define COUNT(a)     ((int)(sizeof(a) / sizeof *(a)))

typedef struct Arena Arena;
typedef struct Ctx Ctx;
typedef const char *Str;      /* interned: equal text, equal pointer */

/* ---- memory (arena.c) ------------------------------------------------ */

Arena *arena_new(void);
void  *arena_alloc(Arena *, size_t size, size_t align);  /* zeroed, never NULL */
void   arena_free(Arena *);                              /* all of it */
size_t arena_bytes(const Arena *);
#define NEW(a, T)     ((T *)arena_alloc((a), sizeof(T), _Alignof(T)))
#define NEWN(a, T, n) ((T *)arena_alloc((a), sizeof(T) * (size_t)(n), _Alignof(T)))

void  *arena_dup(Arena *, const void *, size_t);         /* aligned to 16 */
char  *arena_printf(Arena *, const char *fmt, ...) PRINTF(2, 3);
char  *arena_vprintf(Arena *, const char *fmt, va_list) PRINTF(2, 0);

/* The one growing list: VEC(int) v = {0}; vec_push(arena, &v, 7); v.v[i], v.n */
#define VEC(T) struct { T *v; int n, cap; }
#define vec_push(a, p, ...)                                                    \
	((p)->n < (p)->cap ? (void)0                                           \
	 : (void)((p)->v = vec_grow((a), (p)->v, &(p)->cap, sizeof *(p)->v)),  \
	 (p)->v[(p)->n++] = (__VA_ARGS__))
void  *vec_grow(Arena *, void *old, int *cap, size_t elem);

/* The one map: from pointers (interned strings, nodes) to pointers. */
typedef struct Map { struct { const void *key; void *val; } *slot; int n, cap; } Map;
void  *map_get(const Map *, const void *key);            /* NULL: absent */
void   map_put(Arena *, Map *, const void *key, void *val);

/* Growing text. */
typedef struct Text { Arena *arena; char *s; size_t n, cap; } Text;   /* s is NUL-ended once written */
void   text_add(Text *, const char *fmt, ...) PRINTF(2, 3);
void   text_put(Text *, const char *s, size_t n);

/* ---- a compilation (ctx.c) ------------------------------------------- */

/* Where something came from.  0 is "nowhere".  loc_* make and resolve them. */
typedef struct Loc { uint32_t id; } Loc;
#define NOLOC ((Loc){0})

typedef struct Diag {         /* how messages are shown; filled by cmd/ */
	FILE *out;            /* NULL: stderr */
	const char *format;   /* "text", "json", "sarif"; NULL: text */
	int  color;           /* 0 no, 1 yes */
	int  maxerrors;       /* 0: no limit */
	bool nowarn, werror;
	bool quiet;           /* count, print nothing */
	uint8_t *warnstate;   /* by enum warning: 0 off, 1 on, 2 error; NULL: defaults of warn.def */
} Diag;

Ctx   *ctx_new(const Diag *);
void   ctx_free(Ctx *);
Arena *ctx_arena(Ctx *);
int    ctx_errors(const Ctx *);
bool   ctx_overlimit(const Ctx *);                      /* was any of them error_limit's? */
const Diag *ctx_diag(const Ctx *);
void  *ctx_slot(Ctx *, const void *key, size_t size);  /* zeroed memory private to a module of lib/, made on first use; key: address of a static const */

Str    intern(Ctx *, const char *, size_t len);
Str    intern_str(Ctx *, const char *);
Str    intern_printf(Ctx *, const char *fmt, ...) PRINTF(2, 3);

/* Places: a line and column of a text the user wrote (the text is kept for the
 * caret), or a named node of a file without lines (a .pt2), with an optional
 * note such as the Python file and line and the module path. */
int    loc_file(Ctx *, const char *name, const char *text, size_t len);  /* text outlives cx; NULL: none */
Loc    loc_at(Ctx *, int file, size_t offset);           /* place at a byte of the file's text */
Loc    loc_from(Ctx *, int file, size_t offset, Str python);   /* the same, and where in the user's program it came from */
Loc    loc_node(Ctx *, int file, Str node, Str python);  /* python: "model.py:12 in forward (layer.0)" or NULL */
const char *loc_str(Ctx *, Loc);                         /* "model.fxg:12:8" */
Str    loc_python(Ctx *, Loc);

enum warning {
#define WARN(id, opt, on, doc) Warn##id,
#include "base/warn.def"
#undef WARN
	Nwarning
};
void   error(Ctx *, Loc, const char *fmt, ...) PRINTF(3, 4);
void   error_limit(Ctx *, Loc, const char *fmt, ...) PRINTF(3, 4);  /* a limit that the user set was exceeded */
void   warn(Ctx *, Loc, enum warning, const char *fmt, ...) PRINTF(4, 5);
void   note(Ctx *, Loc, const char *fmt, ...) PRINTF(3, 4);   /* belongs to the message before */
/* An invariant of ours is broken: print it and unwind to the handler. */
_Noreturn void bug(Ctx *, Loc, const char *fmt, ...) PRINTF(3, 4);
void   ctx_onbug(Ctx *, void (*fn)(void *arg), void *arg);     /* fn must not return; default abort() */
void   diag_flush(Ctx *);     /* json and sarif print here; ctx_free and bug() call it */

/* ---- files (file.c) --------------------------------------------------- */

/* A file read or mapped whole.  Ends of text files are followed by a NUL. */
typedef struct File { const char *name; const uint8_t *data; size_t size; bool mapped; } File;
bool   file_read(Ctx *, const char *path, File *);        /* "-" is stdin; reports errors itself */
bool   file_exists(const char *path);

/* Output that appears whole or not at all: written to a temporary beside the
 * target, synced, renamed by out_commit.  out_abort and exit by signal remove it. */
typedef struct Out Out;
Out   *out_open(Ctx *, const char *path);                 /* "-" is stdout */
bool   out_write(Out *, const void *, size_t);            /* errors are kept until commit */
FILE  *out_file(Out *);
const char *out_tmpname(Out *);                           /* for programs that write it themselves */
bool   out_commit(Ctx *, Out *);                          /* all outputs of a run: commit after all are written */
void   out_abort(Out *);
void   out_cleanup_all(void);                             /* remove all temporaries; for signal handlers */

bool   write_all(int fd, const void *, size_t);

/* ---- checked integers -------------------------------------------------- */
static inline bool add_ok(int64_t a, int64_t b, int64_t *r) { return !__builtin_add_overflow(a, b, r); }
static inline bool mul_ok(int64_t a, int64_t b, int64_t *r) { return !__builtin_mul_overflow(a, b, r); }
static inline int64_t floordiv(int64_t a, int64_t b) { int64_t q = a / b; return q - (a % b != 0 && (a < 0) != (b < 0)); }
static inline int64_t floormod(int64_t a, int64_t b) { int64_t r = a % b; return r && (r < 0) != (b < 0) ? r + b : r; }

/* Shortest decimal that reads back as the same double ("1e-05", "0.5", "inf"):
 * as Python's repr prints it. */
int    double_str(char buf[32], double);
#endif
