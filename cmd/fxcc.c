/* fxcc - the driver: checks the command line, runs fxcc1, and answers for it.
 *
 * fxcc1 lies beside this program, or in ../libexec/fxcc of where it is installed.
 * If it dies of a signal that nobody sent, that is a bug of ours: the model and
 * the command are copied to a reproducer directory, which is named, and the exit
 * status is 4.  A signal from outside is raised again.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "options.h"

extern char **environ;

static volatile sig_atomic_t child;

static bool
beside(char *out, size_t n, const char *rel)
{
	char self[PATH_MAX];
	ssize_t k = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	if (k < 0)
		return false;
	self[k] = '\0';
	slash = strrchr(self, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	return snprintf(out, n, "%s/%s", self, rel) < (int)n && access(out, X_OK) == 0;
}

static const char *
compiler(void)
{
	static char path[PATH_MAX];

	if (beside(path, sizeof path, "fxcc1") || beside(path, sizeof path, "../libexec/fxcc/fxcc1"))
		return path;
	return NULL;
}

static void
forward(int sig)
{
	if (child > 0)
		kill((pid_t)child, sig);
}

static bool
copy(const char *from, const char *to)
{
	char buf[65536];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0644);
	ssize_t n = -1;

	while (in >= 0 && out >= 0 && (n = read(in, buf, sizeof buf)) > 0)
		if (!write_all(out, buf, (size_t)n))
			break;
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return n == 0;
}

/* The inputs and the command that crash the compiler, for a report. */
static void
reproducer(const Options *o, int argc, char **argv)
{
	char dir[] = "fxcc-bug-XXXXXX", path[PATH_MAX];
	FILE *f;

	if (mkdtemp(dir) == NULL) {
		fprintf(stderr, "fxcc: cannot make a reproducer directory: %s\n", strerror(errno));
		return;
	}
	for (int i = 0; i < o->input.n; i++) {
		const char *s = strrchr(o->input.v[i], '/');
		if (strcmp(o->input.v[i], "-") == 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, s ? s + 1 : o->input.v[i]);
		copy(o->input.v[i], path);
	}
	snprintf(path, sizeof path, "%s/command", dir);
	if ((f = fopen(path, "w"))) {
		for (int i = 0; i < argc; i++)
			fprintf(f, "%s%s", i ? " " : "", argv[i]);
		fputc('\n', f);
		fclose(f);
	}
	fprintf(stderr, "fxcc: please report this bug with the directory %s\n", dir);
}

static int
finish(int status, const Options *o, int argc, char **argv)
{
	int sig;

	if (WIFEXITED(status)) {
		if (WEXITSTATUS(status) == 4)
			reproducer(o, argc, argv);
		return WEXITSTATUS(status);
	}
	sig = WTERMSIG(status);
	if (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGABRT) {
		fprintf(stderr, "fxcc: internal error: the compiler died: %s\n", strsignal(sig));
		reproducer(o, argc, argv);
		return 4;
	}
	signal(sig, SIG_DFL);
	raise(sig);
	return 1;
}

int
main(int argc, char **argv)
{
	Arena *a = arena_new();
	Options o;
	pid_t pid;
	int status, rc;
	const char *prog;

	if (!options_parse(a, argc, argv, &o))
		return 2;
	prog = compiler();
	if (prog == NULL) {
		fprintf(stderr, "fxcc: error: fxcc1 not found beside fxcc nor in ../libexec/fxcc\n");
		return 1;
	}
	if (o.verbose || o.dryrun) {
		fprintf(stderr, " %s", prog);
		for (int i = 1; i < argc; i++)
			fprintf(stderr, o.dryrun ? " \"%s\"" : " %s", argv[i]);
		fputc('\n', stderr);
	}
	if (o.dryrun)
		return 0;
	signal(SIGINT, forward);
	signal(SIGTERM, forward);
	signal(SIGHUP, forward);
	rc = posix_spawn(&pid, prog, NULL, NULL, argv, environ);
	if (rc) {
		fprintf(stderr, "fxcc: error: cannot run %s: %s\n", prog, strerror(rc));
		return 1;
	}
	child = pid;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return finish(status, &o, argc, argv);
}
