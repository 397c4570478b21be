/* test_base.c - memory, strings, messages, files.
 */
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/base.h"
#include "tap.h"

static void
arenas(void)
{
	Arena *a = arena_new();
	char *p = arena_alloc(a, 100, 1), *big = arena_alloc(a, 1 << 20, 16);
	int64_t *n = NEWN(a, int64_t, 1000);
	bool zero = true;

	for (int i = 0; i < 1000; i++)
		zero &= n[i] == 0;
	OK(zero);
	OK((uintptr_t)n % 8 == 0 && (uintptr_t)big % 16 == 0);
	OK(p[99] == 0 && big[(1 << 20) - 1] == 0);
	OK(arena_bytes(a) >= 1 << 20);
	STREQ(arena_printf(a, "%d-%s", 7, "x"), "7-x");
	STREQ(arena_dup(a, "abc", 4), "abc");
	arena_free(a);
}

static void
containers(void)
{
	Arena *a = arena_new();
	VEC(int) v = {0};
	Map m = {0};
	Text t = { .arena = a };
	static int key[2000];
	bool right = true;

	for (int i = 0; i < 2000; i++) {
		vec_push(a, &v, i * 3);
		map_put(a, &m, &key[i], &key[1999 - i]);
		text_add(&t, "%d,", i);
	}
	for (int i = 0; i < 2000; i++)
		right &= v.v[i] == 3 * i && map_get(&m, &key[i]) == &key[1999 - i];
	OK(right && v.n == 2000 && m.n == 2000);
	OK(map_get(&m, &right) == NULL);
	map_put(a, &m, &key[0], NULL);
	OK(map_get(&m, &key[0]) == NULL);
	OK(strlen(t.s) == t.n && strcmp(t.s + t.n - 5, "1999,") == 0);
	text_put(&t, "end", 3);
	STREQ(t.s + t.n - 3, "end");
	arena_free(a);
}

static void
number(double x, const char *want)
{
	char buf[32];
	int n = double_str(buf, x);

	STREQ(buf, want);
	OK(n == (int)strlen(buf));
	if (!isnan(x))
		OK(strtod(buf, NULL) == x);
}

static void
numbers(void)
{
	number(0.5, "0.5");
	number(1e-5, "1e-05");
	number(1, "1.0");
	number(-0.0, "-0.0");
	number(0.1, "0.1");
	number(1.0 / 3, "0.3333333333333333");
	number(0.0001, "0.0001");
	number(123456.789, "123456.789");
	number(1e15, "1000000000000000.0");
	number(1e16, "1e+16");
	number(1.5e300, "1.5e+300");
	number(5e-324, "5e-324");
	number(1.7976931348623157e308, "1.7976931348623157e+308");
	number(-0.00012345678901234567, "-0.00012345678901234567");
	number(9007199254740993.0, "9007199254740992.0");
	number(INFINITY, "inf");
	number(-INFINITY, "-inf");
	number(NAN, "nan");
}

static void
strings(void)
{
	Ctx *cx = ctx_new(NULL);
	Str a = intern_str(cx, "relu"), b = intern(cx, "relu_1", 4);
	static const char key;
	int *slot = ctx_slot(cx, &key, sizeof *slot);
	Str first = intern_printf(cx, "n%d", 0);
	bool same = true;

	OK(a == b);
	OK(intern(cx, "a\0b", 3) != intern(cx, "a\0c", 3));
	for (int i = 0; i < 1000; i++)
		same &= intern_printf(cx, "n%d", i) == intern_printf(cx, "n%d", i);
	OK(same && first == intern_str(cx, "n0"));
	OK(*slot == 0 && ctx_slot(cx, &key, sizeof *slot) == slot);
	ctx_free(cx);
}

/* What the messages made by say() print. */
static char *
captured(const Diag *base, void (*say)(Ctx *))
{
	static char *buf;
	size_t n;
	Diag d = *base;
	Ctx *cx;

	free(buf);
	buf = NULL;
	d.out = open_memstream(&buf, &n);
	cx = ctx_new(&d);
	say(cx);
	ctx_free(cx);
	fclose(d.out);
	return buf;
}

static const char source[] = "class M:\n\tx = mm(a, b)\n";

static void
saymm(Ctx *cx)
{
	int f = loc_file(cx, "m.fxg", source, strlen(source));

	error(cx, loc_at(cx, f, 14), "mm: sizes %d and %d", 3, 4);
	note(cx, loc_at(cx, f, 0), "made \"here\"");
}

static void
saynode(Ctx *cx)
{
	int f = loc_file(cx, "m.pt2", NULL, 0);

	error(cx, loc_node(cx, f, intern_str(cx, "relu_1"),
	                   intern_str(cx, "m.py:3 in forward (a.b)")), "bad");
}

static int errors;

static void
saywarn(Ctx *cx)
{
	warn(cx, NOLOC, WarnUnused, "off by default");
	note(cx, NOLOC, "nor its note");
	warn(cx, NOLOC, WarnTrailing, "3 bytes");
	errors = ctx_errors(cx);
}

static void
saymany(Ctx *cx)
{
	for (int i = 0; i < 5; i++) {
		error(cx, NOLOC, "e%d", i);
		note(cx, NOLOC, "n%d", i);
	}
	errors = ctx_errors(cx);
}

static void
messages(void)
{
	STREQ(captured(&(Diag){0}, saymm),
	      "m.fxg:2:6: error: mm: sizes 3 and 4\n"
	      "    2 | \tx = mm(a, b)\n"
	      "      | \t    ^\n"
	      "m.fxg:1:1: note: made \"here\"\n"
	      "    1 | class M:\n"
	      "      | ^\n");
	STREQ(captured(&(Diag){0}, saynode),
	      "m.pt2:relu_1: error: bad\n"
	      "m.pt2:relu_1: note: from m.py:3 in forward (a.b)\n");
	STREQ(captured(&(Diag){0}, saywarn),
	      "fxcc: warning: 3 bytes [-Wtrailing]\n");
	OK(errors == 0);
	STREQ(captured(&(Diag){ .werror = true }, saywarn),
	      "fxcc: error: 3 bytes [-Werror=trailing]\n");
	OK(errors == 1);
	STREQ(captured(&(Diag){ .nowarn = true }, saywarn), "");
	STREQ(captured(&(Diag){ .maxerrors = 1 }, saymany),
	      "fxcc: error: e0\nfxcc: note: n0\n"
	      "fxcc: note: more errors are not shown (-fmax-errors=1)\n");
	OK(errors == 5);
	STREQ(captured(&(Diag){ .format = "json" }, saymm),
	      "[{\"kind\": \"error\", \"message\": \"mm: sizes 3 and 4\", "
	      "\"locations\": [{\"caret\": {\"file\": \"m.fxg\", \"line\": 2, "
	      "\"column\": 6, \"byte-column\": 6}}], \"children\": ["
	      "{\"kind\": \"note\", \"message\": \"made \\\"here\\\"\", "
	      "\"locations\": [{\"caret\": {\"file\": \"m.fxg\", \"line\": 1, "
	      "\"column\": 1, \"byte-column\": 1}}], \"children\": []}]}]\n");
	OK(strstr(captured(&(Diag){ .format = "sarif" }, saymm),
	          "\"startLine\": 2, \"startColumn\": 6") != NULL);
	STREQ(captured(&(Diag){ .quiet = true }, saymany), "");
	OK(strstr(captured(&(Diag){ .color = 1 }, saymm), "\33[01;31merror:") != NULL);
}

static int
entries(const char *dir)
{
	DIR *d = opendir(dir);
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void
files(void)
{
	Ctx *cx = ctx_new(&(Diag){ .quiet = true });
	char dir[] = "/tmp/fxcc-test-XXXXXX", *path, *link_, page[8192];
	File f;
	Out *o;
	struct stat st;

	if (mkdtemp(dir) == NULL) {
		OK(!"mkdtemp");
		return;
	}
	path = arena_printf(ctx_arena(cx), "%s/m.so", dir);
	o = out_open(cx, path);
	OK(o && out_write(o, "one", 3) && !file_exists(path));
	OK(out_commit(cx, o) && entries(dir) == 1);
	OK(file_read(cx, path, &f) && f.size == 3 && strcmp((char *)f.data, "one") == 0);

	o = out_open(cx, path);
	out_write(o, "two", 3);
	OK(entries(dir) == 2);
	out_abort(o);
	OK(entries(dir) == 1 && file_read(cx, path, &f) && f.data[0] == 'o');

	chmod(path, 0755);
	link_ = arena_printf(ctx_arena(cx), "%s/link", dir);
	OK(symlink(path, link_) == 0);
	memset(page, 'x', sizeof page);
	o = out_open(cx, link_);
	fwrite(page, 1, sizeof page, out_file(o));
	OK(out_commit(cx, o));
	OK(lstat(link_, &st) == 0 && S_ISLNK(st.st_mode));
	OK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0755);
	OK(file_read(cx, path, &f) && f.size == sizeof page && f.mapped
	   && f.data[f.size] == 0);

	o = out_open(cx, path);
	out_cleanup_all();
	OK(entries(dir) == 2);
	OK(!out_commit(cx, o) && entries(dir) == 2);
	o = out_open(cx, path);
	OK(o && entries(dir) == 3);
	o = out_open(cx, "/dev/null");
	OK(o && out_write(o, "x", 1) && out_commit(cx, o));
	OK(ctx_errors(cx) == 1);
	OK(!file_read(cx, dir, &f) && !file_read(cx, "/no/such", &f)
	   && out_open(cx, "/no/such/file") == NULL && ctx_errors(cx) == 4);
	OK(file_read(cx, "/proc/self/stat", &f) && f.size > 10);
	ctx_free(cx);
	OK(entries(dir) == 2);
	unlink(path);
	unlink(link_);
	OK(rmdir(dir) == 0);
}

int
main(void)
{
	arenas();
	containers();
	numbers();
	strings();
	messages();
	files();
	return tap_end();
}
