/* ctx.h - inside of a Ctx; for lib/base alone.
 */
#ifndef CTX_H
#define CTX_H
#include "base/base.h"

typedef struct Place {        /* what a Loc stands for */
	int    file;          /* index of Ctx.src */
	size_t offset;        /* of the text; SIZE_MAX: a node */
	Str    node, python;
} Place;

typedef struct Source {
	const char *name, *text;      /* text NULL: none */
	size_t len;
	VEC(size_t) line;             /* offsets of the starts of lines; made when first asked for */
} Source;

typedef struct Msg {          /* kept for json and sarif, which print at the end */
	const char *kind, *text, *option;
	Loc loc;
	bool isnote;          /* of the message before */
} Msg;

typedef struct Mapping { void *p; size_t size; } Mapping;

struct Ctx {
	Arena *arena;
	Diag  diag;
	int   nerror;
	bool overlimit;              /* error_limit was called */
	bool  muted;          /* the last message was not shown: nor are its notes */
	bool  toomany;
	Map   slot;
	struct { Str s; size_t len; uint64_t hash; } *str;   /* interned strings, open addressing */
	int   nstr, capstr;
	VEC(Place) place;     /* [0] is nowhere */
	VEC(Source) src;
	VEC(Msg) msg;
	VEC(Mapping) mapping; /* of file_read; unmapped by ctx_free */
	VEC(Out *) out;       /* open ones are aborted by ctx_free */
	void (*onbug)(void *);
	void *bugarg;
};

/* The line and column (from 1) of a place in a text; line 0: it has none. */
void loc_line(Ctx *, const Place *, int *line, int *col);
#endif
