/* fxcheck - compile and run every case below the directories given.
 *
 * Each case and form is a task in a process of its own, with limits on time and
 * memory; results are printed in order.  Exit status: 0 all passed, 1 not, 2 usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "case.h"

extern char **environ;

typedef struct Task {
	const Case *c;
	const CaseForm *f;
	pid_t pid;
	int fd;
	char line[512];
	bool done, passed, printed;
} Task;

typedef struct Check {
	Ctx *cx;
	const char *fxcc, *json;
	VEC(const char *) flag;
	bool allforms, train, quiet;
	const char *form;
	int jobs, seconds;
	int64_t megabytes;
	VEC(Task) task;
	char dir[PATH_MAX];
} Check;

/* ---- in the task's process --------------------------------------------------------- */

static const char *
write_file(const char *dir, const char *name, const char *a, const char *s, size_t n)
{
	static char path[4][PATH_MAX + 64];
	static int k;
	char *p = path[k++ % 4];
	int fd;

	snprintf(p, sizeof path[0], "%s/%s", dir, name);
	fd = open(p, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || (a && !write_all(fd, a, strlen(a))) || !write_all(fd, s, n))
		return NULL;
	close(fd);
	return p;
}

static const char *
first_line(const char *path, const char *want)
{
	static char buf[4000];
	FILE *f = fopen(path, "r");

	buf[0] = '\0';
	while (f && fgets(buf, sizeof buf, f))
		if (strstr(buf, want))
			break;
	if (f)
		fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
	return buf;
}

/* Run fxcc with its messages in a file; its exit status, or -signal. */
static int
compile(const Check *k, const Task *t, const char *dir, const char *lib, const char *err)
{
	VEC(const char *) arg = {0};
	Arena *a = ctx_arena(k->cx);
	posix_spawn_file_actions_t act;
	int status = 0;
	pid_t pid;

	vec_push(a, &arg, k->fxcc);
	for (int i = 0; i < k->flag.n; i++)
		vec_push(a, &arg, k->flag.v[i]);
	for (int i = 0; i < t->f->option.n; i++)
		vec_push(a, &arg, t->f->option.v[i]);
	if (k->train)
		vec_push(a, &arg, "--train");
	vec_push(a, &arg, "-fno-header");
	vec_push(a, &arg, "-j1");
	vec_push(a, &arg, t->f->path ? t->f->path : arena_printf(a, "%s", write_file(dir, "model.fxg", t->f->before, t->f->text, t->f->ntext)));
	if (t->f->safetensors)
		vec_push(a, &arg, arena_printf(a, "%s", write_file(dir, "made.safetensors", NULL, t->f->safetensors, t->f->nsafetensors)));
	for (int i = 0; i < t->f->weights.n; i++)
		vec_push(a, &arg, t->f->weights.v[i]);
	vec_push(a, &arg, "-o");
	vec_push(a, &arg, lib);
	vec_push(a, &arg, NULL);
	posix_spawn_file_actions_init(&act);
	posix_spawn_file_actions_addopen(&act, 2, err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (posix_spawn(&pid, k->fxcc, &act, NULL, (char *const *)(uintptr_t)arg.v, environ))
		return 127;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void
say(int fd, const char *status, const char *why)
{
	char line[500];
	int n = snprintf(line, sizeof line,  "%s%s%.400s", status, *why ? " " : "", why);

	if (n > 0)
		write_all(fd, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static void
remove_dir(const char *dir)
{
	static const char *const name[] = {"model.fxg", "made.safetensors", "m.so", "err"};
	char path[PATH_MAX + 64];

	for (int i = 0; i < COUNT(name); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, name[i]);
		unlink(path);
	}
	rmdir(dir);
}

static bool
limits(const Check *k)
{
	struct rlimit cpu = {(rlim_t)k->seconds, (rlim_t)k->seconds + 5}, as = {(rlim_t)k->megabytes << 20, (rlim_t)k->megabytes << 20};

	return setrlimit(RLIMIT_CPU, &cpu) == 0 && (k->megabytes == 0 || setrlimit(RLIMIT_AS, &as) == 0);
}

static void
run_case(const Task *t, const char *lib, int fd)
{
	char why[400] = "";
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		bool ok = caselib_run(lib, t->c, why, sizeof why);
		say(fd, ok ? "PASS" : "FAIL", why);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		say(fd, WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL ? "TIMEOUT" : "CRASH", strsignal(WTERMSIG(status)));
}

static void
task_main(const Check *k, const Task *t, int index, int fd)
{
	const char *dir = arena_printf(ctx_arena(k->cx), "%s/%d", k->dir, index);
	const char *lib = arena_printf(ctx_arena(k->cx), "%s/m.so", dir), *err = arena_printf(ctx_arena(k->cx), "%s/err", dir);
	int rc;

	if (mkdir(dir, 0700))
		_exit(1);
	limits(k);
	rc = compile(k, t, dir, lib, err);
	if (rc == 0) {
		run_case(t, lib, fd);
	} else if (rc == -SIGXCPU || rc == -SIGKILL) {
		say(fd, "TIMEOUT", "compiling");
	} else if (rc < 0 || rc == 4) {
		say(fd, "CRASH", first_line(err, "error"));
	} else {
		const char *s = first_line(err, "not supported");
		if (!strstr(s, "not supported"))
			s = first_line(err, "no derivative");
		if (strstr(s, "not supported") || strstr(s, "no derivative"))
			say(fd, "UNSUPPORTED", strstr(s, "error: ") ? strstr(s, "error: ") + 7 : s);
		else
			say(fd, "ERROR", first_line(err, "error"));
	}
	remove_dir(dir);
	_exit(0);
}

/* ---- the parent --------------------------------------------------------------------- */

static bool
start(Check *k, int i)
{
	int p[2];

	if (pipe(p))
		return false;
	k->task.v[i].pid = fork();
	if (k->task.v[i].pid == 0) {
		setpgid(0, 0);
		close(p[0]);
		task_main(k, &k->task.v[i], i, p[1]);
	}
	close(p[1]);
	k->task.v[i].fd = p[0];
	return k->task.v[i].pid > 0;
}

static void
finish(Task *t)
{
	size_t n = 0;
	ssize_t r;

	while (n < sizeof t->line - 1 && ((r = read(t->fd, t->line + n, sizeof t->line - 1 - n)) > 0 || (r < 0 && errno == EINTR)))
		n += r > 0 ? (size_t)r : 0;
	t->line[n] = '\0';
	if (n == 0)
		strcpy(t->line, "CRASH of the checker");
	close(t->fd);
	waitpid(t->pid, NULL, 0);
	t->done = true;
	t->passed = strncmp(t->line, "PASS", 4) == 0;
}

static void
print_ready(Check *k, int *next)
{
	for (; *next < k->task.n && k->task.v[*next].done; ++*next) {
		const Task *t = &k->task.v[*next];
		size_t n = strcspn(t->line, " ");
		if (k->quiet && t->passed)
			continue;
		printf("%.*s %s %s%s\n", (int)n, t->line, t->c->id, t->f->kind, t->line + n);
		fflush(stdout);
	}
}

static void
run_all(Check *k)
{
	int running = 0, begun = 0, printed = 0;

	while (printed < k->task.n) {
		while (begun < k->task.n && running < k->jobs && start(k, begun))
			begun++, running++;
		struct pollfd p[64];
		int which[64], n = 0;
		for (int i = printed; i < begun && n < COUNT(p); i++)
			if (!k->task.v[i].done) {
				p[n] = (struct pollfd){k->task.v[i].fd, POLLIN, 0};
				which[n++] = i;
			}
		if (n == 0 || (poll(p, (nfds_t)n, -1) < 0 && errno != EINTR))
			break;
		for (int i = 0; i < n; i++)
			if (p[i].revents) {
				finish(&k->task.v[which[i]]);
				running--;
			}
		print_ready(k, &printed);
	}
}

static void
json_string(FILE *f, const char *s)
{
	putc('"', f);
	for (; *s; s++)
		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s < ' ')
			fprintf(f, "\\u%04x", *s);
		else
			putc(*s, f);
	putc('"', f);
}

static void
write_json(const Check *k, int passed, int failed)
{
	FILE *f = fopen(k->json, "w");

	if (f == NULL) {
		fprintf(stderr, "fxcheck: %s: %s\n", k->json, strerror(errno));
		return;
	}
	fprintf(f, "{\"passed\":%d,\"failed\":%d,\"cases\":[", passed, failed);
	for (int i = 0; i < k->task.n; i++) {
		const Task *t = &k->task.v[i];
		fprintf(f, "%s\n{\"id\":", i ? "," : "");
		json_string(f, t->c->id);
		fprintf(f, ",\"form\":");
		json_string(f, t->f->kind);
		fprintf(f, ",\"result\":");
		json_string(f, t->line);
		fprintf(f, "}");
	}
	fprintf(f, "\n]}\n");
	fclose(f);
}

static void
add_tasks(Check *k, const CaseList *list)
{
	for (int i = 0; i < list->n; i++)
		for (int j = 0; j < list->v[i]->form.n; j++) {
			const CaseForm *f = &list->v[i]->form.v[j];
			if (k->form && strcmp(k->form, f->kind) != 0)
				continue;
			vec_push(ctx_arena(k->cx), &k->task, (Task){.c = list->v[i], .f = f});
			if (!k->allforms && !k->form)
				break;
		}
}

static const char *
beside(Ctx *cx)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n < 0)
		return "fxcc";
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	return arena_printf(ctx_arena(cx), "%s/fxcc", self);
}

static int
usage(void)
{
	fprintf(stderr, "usage: fxcheck [-j N] [-q] [--form=all|FORM] [--train] [--fxcc=PROGRAM] [--fxcc-flags=...] [--timeout=SECONDS]\n"
	                "               [--memory=MIB] [--json=FILE] DIR|PACK#ID...\n");
	return 2;
}

static bool
option(Check *k, char **argv, int *i)
{
	char *s = argv[*i], *save, *w;

	if (strncmp(s, "-j", 2) == 0)
		k->jobs = atoi(s[2] ? s + 2 : argv[*i + 1] ? argv[++*i] : "1");
	else if (strcmp(s, "-q") == 0)
		k->quiet = true;
	else if (strcmp(s, "--form=all") == 0)
		k->allforms = true;
	else if (strncmp(s, "--form=", 7) == 0)
		k->form = s + 7;
	else if (strcmp(s, "--train") == 0)
		k->train = true;
	else if (strncmp(s, "--fxcc=", 7) == 0)
		k->fxcc = s + 7;
	else if (strncmp(s, "--json=", 7) == 0)
		k->json = s + 7;
	else if (strncmp(s, "--timeout=", 10) == 0)
		k->seconds = atoi(s + 10);
	else if (strncmp(s, "--memory=", 9) == 0)
		k->megabytes = atoll(s + 9);
	else if (strncmp(s, "--fxcc-flags=", 13) == 0)
		for (w = strtok_r(s + 13, " ", &save); w; w = strtok_r(NULL, " ", &save))
			vec_push(ctx_arena(k->cx), &k->flag, w);
	else
		return false;
	return true;
}

int
main(int argc, char **argv)
{
	Check k = {.cx = ctx_new(NULL), .jobs = (int)sysconf(_SC_NPROCESSORS_ONLN), .seconds = 120};
	CaseList list = {0};
	int passed = 0, dirs = 0;
	const char *tmp = getenv("TMPDIR");

	k.fxcc = beside(k.cx);
	for (int i = 1; i < argc; i++)
		if (argv[i][0] == '-' && !option(&k, argv, &i))
			return usage();
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-j") == 0)
			i++;
		else if (argv[i][0] != '-' && ++dirs && !cases_find(k.cx, argv[i], k.train, &list))
			return 2;
	}
	if (dirs == 0)
		return usage();
	k.jobs = k.jobs < 1 ? 1 : k.jobs > 60 ? 60 : k.jobs;
	add_tasks(&k, &list);
	snprintf(k.dir, sizeof k.dir, "%s/fxcheck-XXXXXX", tmp ? tmp : "/tmp");
	if (mkdtemp(k.dir) == NULL) {
		fprintf(stderr, "fxcheck: %s: %s\n", k.dir, strerror(errno));
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	run_all(&k);
	rmdir(k.dir);
	for (int i = 0; i < k.task.n; i++)
		passed += k.task.v[i].passed;
	if (k.json)
		write_json(&k, passed, k.task.n - passed);
	printf("%d passed, %d failed\n", passed, k.task.n - passed);
	return passed == k.task.n ? 0 : 1;
}
