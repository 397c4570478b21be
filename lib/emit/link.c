/* link.c - run the system's linker on objects that exist in memory alone.
 *
 * Inputs are memory files (memfd), named to the linker as /proc/self/fd/N, so
 * that a kill at any moment leaves nothing behind; the output goes to the
 * temporary name that out_commit renames.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "emit/entry.h"

extern char **environ;

int
part_new(Ctx *cx, const char *name)
{
	int fd = memfd_create(name, 0);

	if (fd < 0)
		error(cx, NOLOC, "memory for %s: %s", name, strerror(errno));
	return fd;
}

static void
collect(Ctx *cx, int fd, Text *t)
{
	char buf[4096];
	ssize_t n;

	t->arena = ctx_arena(cx);
	while ((n = read(fd, buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			text_put(t, buf, (size_t)n);
	close(fd);
}

/* Run a program; what it says on stderr is shown only if it fails. */
bool
link_run(Ctx *cx, const char *const *argv, bool verbose)
{
	posix_spawn_file_actions_t act;
	Text said = {0};
	int pipefd[2], status = 0, rc;
	pid_t pid;

	if (verbose) {
		for (int i = 0; argv[i]; i++)
			fprintf(stderr, " %s", argv[i]);
		fputc('\n', stderr);
	}
	if (pipe(pipefd)) {
		error(cx, NOLOC, "pipe: %s", strerror(errno));
		return false;
	}
	posix_spawn_file_actions_init(&act);
	posix_spawn_file_actions_adddup2(&act, pipefd[1], 2);
	posix_spawn_file_actions_addclose(&act, pipefd[0]);
	posix_spawn_file_actions_addclose(&act, pipefd[1]);
	rc = posix_spawnp(&pid, argv[0], &act, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&act);
	close(pipefd[1]);
	if (rc) {
		close(pipefd[0]);
		error(cx, NOLOC, "cannot run %s: %s", argv[0], strerror(rc));
		return false;
	}
	collect(cx, pipefd[0], &said);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	error(cx, NOLOC, "%s failed: %s", argv[0], said.s ? said.s : "no message");
	return false;
}

static bool
inpath(const char *prog)
{
	const char *path = getenv("PATH");
	char buf[4096];

	for (path = path ? path : "/usr/bin:/bin"; *path;) {
		size_t n = strcspn(path, ":");
		snprintf(buf, sizeof buf, "%.*s/%s", (int)n, path, prog);
		if (access(buf, X_OK) == 0)
			return true;
		path += n + (path[n] == ':');
	}
	return false;
}

static const char *
linker(void)
{
	static const char *const name[] = {"ld", "ld.bfd", "ld.lld", "ld.lld-22", "ld.gold"};

	for (int i = 0; i < COUNT(name); i++)
		if (inpath(name[i]))
			return name[i];
	return NULL;
}

/* Only the model's own names leave the library. */
static int
version_script(Ctx *cx, const EmitOptions *o)
{
	int fd = part_new(cx, "version");
	char *s = arena_printf(ctx_arena(cx), "{ global: %s; %s_*; fxcc_module; local: *; };\n", o->prefix, o->prefix);

	return fd >= 0 && write_all(fd, s, strlen(s)) ? fd : -1;
}

bool
link_product(Ctx *cx, const EmitOptions *o, const Part *part, int npart, const char *out)
{
	VEC(const char *) arg = {0};
	Arena *a = ctx_arena(cx);
	const char *ld = linker();
	bool ok;

	if (ld == NULL) {
		error(cx, NOLOC, "no linker found: install binutils");
		return false;
	}
	vec_push(a, &arg, ld);
	if (o->product == ProductSo) {
		int fd = version_script(cx, o);
		if (fd < 0)
			return false;
		static const char *const opt[] = {"-shared", "-z", "noexecstack", "-z", "relro", "--gc-sections", "--build-id=none",
		                                  "--hash-style=gnu", "--as-needed"};
		for (int i = 0; i < COUNT(opt); i++)
			vec_push(a, &arg, opt[i]);
		vec_push(a, &arg, arena_printf(a, "--version-script=/proc/self/fd/%d", fd));
		if (!o->debug)
			vec_push(a, &arg, "-s");
	} else {
		vec_push(a, &arg, "-r");
	}
	vec_push(a, &arg, "-o");
	vec_push(a, &arg, out);
	for (int i = 0; i < npart; i++)
		vec_push(a, &arg, arena_printf(a, "/proc/self/fd/%d", part[i].fd));
	if (o->product == ProductSo) {
		vec_push(a, &arg, "-l:libm.so.6");
		vec_push(a, &arg, "-l:libc.so.6");
	}
	vec_push(a, &arg, NULL);
	ok = link_run(cx, arg.v, o->verbose);
	if (ok && o->product != ProductSo) {
		const char *const objcopy[] = {"objcopy", "--localize-hidden", "--strip-unneeded", out, NULL};
		ok = link_run(cx, objcopy, o->verbose);
	}
	return ok;
}
