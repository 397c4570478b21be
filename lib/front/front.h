/* front.h - readers: from bytes to a Module.  Every reader takes bytes in memory, never trusts
 * them, reports one clear error and returns NULL or false. */
#ifndef FRONT_H
#define FRONT_H
#include "ir/ir.h"

typedef struct ReadOptions {
	const char *form;          /* -x: "fxg", "json", "pt2"; NULL: from the content */
	const char *model;         /* --model: which of an archive; NULL: "model" or the only one */
	const char *section;       /* --section of a log; NULL */
	int64_t maxinput;          /* bytes; 0: 64 GiB */
	const char *const *type; int ntype;   /* -ftype=NAME=f32[8,64] */
	const char *const *scalar; int nscalar;   /* --scalar=NAME: numbers, if they have no type */
	const Type *const *param; int nparam;       /* types of the parameters, in order, that say none (texts) */
	const char *const *external; int nextern;   /* --extern=OP(SCHEMA)=SYMBOL */
	bool verbose;
	bool haveweights;          /* weights files follow: read_pt2 need not find every value */
} ReadOptions;

/* Any input; the form is found from the content. */
Module *read_model(Ctx *, const File *, const ReadOptions *);
Module *read_pt2(Ctx *, const File *, const ReadOptions *);     /* zip archives of torch.export.save, old and new */
Module *read_json(Ctx *, const File *, const char *text, size_t n, const ReadOptions *);
Module *read_text(Ctx *, const File *, const ReadOptions *);    /* FX text, all printed forms */
/* Weights for inputs that have none: safetensors, index.json, npz, npy, pt2. */
bool    read_weights(Ctx *, Module *, const File *, const ReadOptions *);

/* Operators that a reader does not know: all are noted, then reported in one message. */
typedef struct UnsupportedOp { Str name; int count; Loc loc; } UnsupportedOp;
typedef VEC(UnsupportedOp) Unsupported;
void    unsupported_add(Ctx *, Unsupported *, const char *name, Loc);
bool    unsupported_report(Ctx *, const Unsupported *);         /* false: there were some, and an error was reported */

/* ---- containers, also for the tools ------------------------------------- */
typedef struct NpArray { Str name; Tensor t; bool fortran; } NpArray;     /* data: points into the file if it lies there in row-major order, else arena */
bool    npy_read(Ctx *, const char *what, const uint8_t *, size_t, enum dtype want, Tensor *);   /* want: DtNone, or what <V2, |V1 and u16 bit patterns stand for */
bool    npz_read(Ctx *, const File *, NpArray **, int *n);
typedef struct StEntry { Str name; enum dtype dt; int rank; int64_t dim[MaxRank]; const uint8_t *data; size_t bytes; } StEntry;
bool    safetensors_read(Ctx *, const char *what, const uint8_t *, size_t, StEntry **, int *n);

typedef struct ZipEntry { Str name; uint16_t method; uint32_t crc; uint64_t csize, usize; const uint8_t *data; } ZipEntry;   /* data: compressed bytes in the file */
typedef struct Zip { const char *what; ZipEntry *v; int n; Map byname; uint64_t *budget; } Zip;   /* budget: bytes that may still be inflated */
bool    zip_open(Ctx *, const char *what, const uint8_t *, size_t, Zip *);
const ZipEntry *zip_find(const Zip *, Ctx *, const char *name);
bool    zip_bytes(Ctx *, const Zip *, const ZipEntry *, const uint8_t **, size_t *);   /* inflated if need be; CRC checked */

/* Strict JSON (cJSON behind an exact scan): objects are hash-looked-up, ints are exact. */
typedef struct Json Json;
enum jsonkind { JsonNull, JsonBool, JsonInt, JsonFloat, JsonStr, JsonArray, JsonObject };
struct Json {
	enum jsonkind kind;
	int n;                     /* JsonArray, JsonObject: how many */
	union {
		bool b; int64_t i; double f; Str s;
		struct { Json **v; Str *key; Map *map; };   /* key, map: JsonObject; map: NULL for a small one */
	};
};
Json   *json_parse(Ctx *, const char *what, const char *text, size_t n, bool bareinf);   /* bareinf: NaN, Infinity are numbers; reports */
Json   *json_get(const Json *obj, Str key);                /* NULL if absent or not an object */
#endif
