/* file.c - files read whole, and outputs that appear whole or not at all.
 *
 * An output is written to a temporary file in the directory of its target, so
 * that the rename at the end stays within one file system.  A target that is no
 * regular file (/dev/null, a pipe) is written directly.  Standard output has its
 * temporary in TMPDIR, copied by out_commit.
 *
 * A fatal signal must remove the temporaries, so their names are also in a list
 * that a signal handler may walk (out_cleanup_all).  Its nodes are never freed:
 * a finished output leaves an empty one for the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/ctx.h"

/* ---- reading ---- */

bool
file_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static bool
refused(Ctx *cx, const char *verb, const char *path)
{
	error(cx, NOLOC, "cannot %s %s: %s", verb, path, strerror(errno));
	return false;
}

/* Pages of zeros are reserved behind the file's bytes, so a NUL follows also
 * when the size is a multiple of the page's. */
static bool
mapfile(Ctx *cx, int fd, size_t size, File *f)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), all;
	void *p, *q;

	if (size > SIZE_MAX / 2) {
		errno = EFBIG;
		return refused(cx, "read", f->name);
	}
	all = (size / page + 1) * page;
	p = mmap(NULL, all, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return refused(cx, "map", f->name);
	vec_push(cx->arena, &cx->mapping, (Mapping){ p, all });
	if (size) {
		q = mmap(p, size, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
		if (q == MAP_FAILED)
			return refused(cx, "map", f->name);
	}
	f->data = p;
	f->size = size;
	f->mapped = true;
	return true;
}

static bool
slurp(Ctx *cx, int fd, File *f)
{
	Text t = { .arena = cx->arena };
	char buf[1 << 14];
	ssize_t n;

	text_put(&t, "", 0);
	while ((n = read(fd, buf, sizeof buf)) != 0) {
		if (n > 0)
			text_put(&t, buf, (size_t)n);
		else if (errno != EINTR)
			return refused(cx, "read", f->name);
	}
	f->data = (const uint8_t *)t.s;
	f->size = t.n;
	return true;
}

static bool
readfd(Ctx *cx, int fd, File *f)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return refused(cx, "read", f->name);
	if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return refused(cx, "read", f->name);
	}
	/* files of /proc say that they are empty */
	if (S_ISREG(st.st_mode) && st.st_size > 0 && fd != STDIN_FILENO)
		return mapfile(cx, fd, (size_t)st.st_size, f);
	return slurp(cx, fd, f);
}

bool
file_read(Ctx *cx, const char *path, File *f)
{
	bool ok;
	int fd;

	*f = (File){ .name = intern_str(cx, path) };
	if (strcmp(path, "-") == 0) {
		f->name = "<stdin>";
		return readfd(cx, STDIN_FILENO, f);
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return refused(cx, "read", path);
	ok = readfd(cx, fd, f);
	close(fd);
	return ok;
}

bool
write_all(int fd, const void *p, size_t n)
{
	const char *s = p;
	ssize_t k;

	while (n) {
		k = write(fd, s, n < 1u << 30 ? n : 1u << 30);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return false;
		s += k;
		n -= (size_t)k;
	}
	return true;
}

/* ---- temporaries, for the signal handler ---- */

typedef struct Temp {
	struct Temp *next;
	_Atomic(char *) name;        /* NULL: free */
} Temp;

static _Atomic(Temp *) temps;        /* the one state of the process: what is on disk */

static Temp *
temp_add(char *name)
{
	Temp *t;
	char *none;

	for (t = atomic_load(&temps); t; t = t->next) {
		none = NULL;
		if (atomic_compare_exchange_strong(&t->name, &none, name))
			return t;
	}
	t = malloc(sizeof *t);
	if (t == NULL)
		return NULL;
	atomic_init(&t->name, name);
	t->next = atomic_load(&temps);
	while (!atomic_compare_exchange_weak(&temps, &t->next, t))
		;
	return t;
}

void
out_cleanup_all(void)
{
	for (Temp *t = atomic_load(&temps); t; t = t->next) {
		const char *name = atomic_load(&t->name);

		if (name)
			unlink(name);
	}
}

/* ---- writing ---- */

struct Out {
	Ctx  *cx;
	const char *path;      /* as the user wrote it */
	char *final;           /* where to rename to; NULL: written directly */
	char *tmp;             /* the file written */
	Temp *temp;
	FILE *f;
	mode_t mode;           /* of an older file of that name; 0: none */
	int   err;             /* errno of the first failure */
	bool  tostdout, done;
};

/* What path names, links followed, so that a link stays one. */
static char *
resolve(Ctx *cx, const char *path)
{
	char *real = realpath(path, NULL), *s;

	s = arena_printf(cx->arena, "%s", real ? real : path);
	free(real);
	return s;
}

static mode_t
newmode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

/* Makes the temporary file.  No signal may come between its making and its
 * entry in the list. */
static bool
opentemp(Out *o)
{
	sigset_t all, old;
	int fd;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	fd = mkostemp(o->tmp, O_CLOEXEC);
	if (fd >= 0 && (o->temp = temp_add(o->tmp)) == NULL) {
		unlink(o->tmp);
		close(fd);
		fd = -1;
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (fd < 0)
		return false;
	if (fchmod(fd, o->mode ? o->mode : newmode()) != 0)
		o->err = errno;
	o->f = fdopen(fd, "wb");
	if (o->f == NULL)
		close(fd);
	return o->f != NULL;
}

static bool
openstdout(Out *o)
{
	const char *dir = getenv("TMPDIR");

	o->path = "<stdout>";
	o->tostdout = true;
	o->tmp = arena_printf(o->cx->arena, "%s/fxcc-XXXXXX",
	                      dir && *dir ? dir : "/tmp");
	return opentemp(o);
}

static bool
openpath(Out *o)
{
	Arena *a = o->cx->arena;
	struct stat st;
	char *real = resolve(o->cx, o->path), *slash = strrchr(real, '/');

	if (stat(real, &st) == 0) {
		if (S_ISDIR(st.st_mode)) {
			errno = EISDIR;
			return false;
		}
		if (!S_ISREG(st.st_mode)) {
			o->tmp = real;
			o->f = fopen(real, "wbe");
			return o->f != NULL;
		}
		o->mode = st.st_mode & 0777;
	}
	o->final = real;
	if (slash)
		o->tmp = arena_printf(a, "%.*s/.%s.XXXXXX", (int)(slash - real),
		                      real, slash + 1);
	else
		o->tmp = arena_printf(a, ".%s.XXXXXX", real);
	return opentemp(o);
}

Out *
out_open(Ctx *cx, const char *path)
{
	Out *o = NEW(cx->arena, Out);

	o->cx = cx;
	o->path = intern_str(cx, path);
	if (!(strcmp(path, "-") == 0 ? openstdout(o) : openpath(o))) {
		refused(cx, "write", o->path);
		out_abort(o);
		return NULL;
	}
	vec_push(cx->arena, &cx->out, o);
	return o;
}

bool
out_write(Out *o, const void *p, size_t n)
{
	if (n && fwrite(p, 1, n, o->f) != n && o->err == 0)
		o->err = errno ? errno : EIO;
	return o->err == 0;
}

FILE *
out_file(Out *o)
{
	return o->f;
}

const char *
out_tmpname(Out *o)
{
	return o->tmp;
}

static void
forget(Out *o)
{
	o->done = true;
	if (o->temp)
		atomic_store(&o->temp->name, NULL);
	o->temp = NULL;
}

static void
fail(Out *o)
{
	if (o->err == 0)
		o->err = errno ? errno : EIO;
}

/* Another program may have replaced the temporary by a file of its own: sync
 * what the name stands for now, not what was opened. */
static void
syncname(Out *o)
{
	int fd = open(o->tmp, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		fail(o);
		return;
	}
	if (fsync(fd) != 0 && errno != EINVAL)
		fail(o);
	close(fd);
}

static void
copyout(Out *o)
{
	char buf[1 << 14];
	ssize_t n;
	int fd = open(o->tmp, O_RDONLY | O_CLOEXEC);

	fflush(stdout);
	if (fd < 0) {
		fail(o);
		return;
	}
	while ((n = read(fd, buf, sizeof buf)) > 0)
		if (!write_all(STDOUT_FILENO, buf, (size_t)n)) {
			fail(o);
			break;
		}
	if (n < 0)
		fail(o);
	close(fd);
}

bool
out_commit(Ctx *cx, Out *o)
{
	errno = 0;
	if (ferror(o->f))
		fail(o);
	if (fclose(o->f) != 0)
		fail(o);
	o->f = NULL;
	if (o->tostdout && o->err == 0)
		copyout(o);
	else if (o->final && o->err == 0) {
		syncname(o);
		if (o->err == 0 && rename(o->tmp, o->final) != 0)
			fail(o);
	}
	if (o->err) {
		errno = o->err;
		refused(cx, "write", o->path);
		out_abort(o);
		return false;
	}
	if (o->tostdout)
		unlink(o->tmp);
	forget(o);
	return true;
}

void
out_abort(Out *o)
{
	if (o == NULL || o->done)
		return;
	if (o->f)
		fclose(o->f);
	o->f = NULL;
	if (o->temp)
		unlink(o->tmp);
	forget(o);
}
