/* fxrunoutput.c - outputs: to files, against what is expected, or in short on stdout. */
#include <math.h>
#include "fxrun.h"

/* ---- .npy ------------------------------------------------------------------------- */

/* bfloat16 and float8 have no NumPy name: they go as unsigned bit patterns. */
static const char *const descr[NDtype] = {
	[DtB8] = "|b1", [DtU8] = "|u1", [DtI8] = "|i1", [DtI16] = "<i2", [DtI32] = "<i4", [DtI64] = "<i8",
	[DtU16] = "<u2", [DtU32] = "<u4", [DtU64] = "<u8", [DtF16] = "<f2", [DtBF16] = "<u2", [DtF32] = "<f4",
	[DtF64] = "<f8", [DtC64] = "<c8", [DtC128] = "<c16", [DtF8E4M3] = "|u1", [DtF8E5M2] = "|u1",
};

bool
npy_write(Ctx *cx, const char *path, const Tensor *t)
{
	Text h = {.arena = ctx_arena(cx)};
	uint8_t magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
	Out *out;

	text_add(&h, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr[t->dt]);
	for (int d = 0; d < t->rank; d++)
		text_add(&h, "%lld%s", (long long)t->dim[d], t->rank == 1 ? "," : d + 1 < t->rank ? ", " : "");
	text_add(&h, "), }");
	while ((sizeof magic + h.n + 1) % 64)
		text_add(&h, " ");
	text_add(&h, "\n");
	magic[8] = h.n & 255;
	magic[9] = (uint8_t)(h.n >> 8);
	out = out_open(cx, path);
	return out && out_write(out, magic, sizeof magic) && out_write(out, h.s, h.n) &&
	       out_write(out, t->data ? t->data : "", t->bytes) && out_commit(cx, out);
}

/* ---- comparison ---------------------------------------------------------------------- */

/* What torch.testing allows for each dtype; of two dtypes, the wider tolerance. */
static double
allowed(enum dtype dt, bool relative)
{
	if (dt_int(dt))
		return 0;
	if (dt == DtF64 || dt == DtC128)
		return 1e-7;
	if (!relative)
		return 1e-5;
	return dt == DtF32 || dt == DtC64 ? 1.3e-6 : dt == DtF16 ? 1e-3 : 1.6e-2;
}

static double
tolerance(const Run *r, const Tensor *a, const Tensor *b, bool relative)
{
	double given = relative ? r->rtol : r->atol;
	double x = allowed(a->dt, relative), y = allowed(b->dt, relative);

	return given >= 0 ? given : x > y ? x : y;
}

/* Element i of the real numbers in t: complex ones are pairs. */
static double
element(const Tensor *t, int64_t i)
{
	if (t->dt == DtC64)
		return (double)((const float *)t->data)[i];
	return t->dt == DtC128 ? ((const double *)t->data)[i] : tensor_get(t, i);
}

static bool
equal(const Run *r, const Slot *s, const Tensor *got, const Tensor *want)
{
	int64_t n = tensor_numel(got) * (dtypeinfo[got->dt].kind == KindComplex ? 2 : 1), worst = -1;
	double rtol = tolerance(r, got, want, true), atol = tolerance(r, got, want, false), most = 0;

	for (int d = 0; d < got->rank || d < want->rank; d++)
		if (got->rank != want->rank || got->dim[d] != want->dim[d]) {
			fprintf(stderr, "fxrun: %s: its shape is not the expected one\n", s->name);
			return false;
		}
	if ((dtypeinfo[got->dt].kind == KindComplex) != (dtypeinfo[want->dt].kind == KindComplex)) {
		fprintf(stderr, "fxrun: %s is %s, expected %s\n", s->name, dtypeinfo[got->dt].text, dtypeinfo[want->dt].text);
		return false;
	}
	for (int64_t i = 0; i < n; i++) {
		double a = element(got, i), b = element(want, i), e = fabs(a - b) - rtol * fabs(b);
		bool same = a == b || (isnan(a) && isnan(b)) || (dt_int(got->dt) && dt_int(want->dt) && tensor_geti(got, i) == tensor_geti(want, i));
		if (same || e <= atol)
			continue;
		if (worst < 0 || e > most || isnan(e)) {
			most = e;
			worst = i;
		}
	}
	if (worst >= 0)
		fprintf(stderr, "fxrun: %s: element %lld is %.9g, expected %.9g (rtol %g, atol %g)\n", s->name, (long long)worst,
		        element(got, worst), element(want, worst), rtol, atol);
	return worst < 0;
}

static bool
compare(Run *r, const Slot *s, const Tensor *out, int n, int k)
{
	const char *path = r->expect.v[k], *eq = strchr(path, '=');
	Tensor want;
	File f;

	for (int i = 0; eq && i < n; i++)
		if (strlen(s[i].name) == (size_t)(eq - path) && strncmp(s[i].name, path, (size_t)(eq - path)) == 0) {
			path = eq + 1;
			k = i;
			break;
		}
	if (k >= n) {
		fprintf(stderr, "fxrun: %s: there are only %d outputs\n", path, n);
		return false;
	}
	if (!file_read(r->cx, path, &f) || !npy_read(r->cx, path, f.data, f.size, out[k].dt, &want))
		return false;
	return equal(r, &s[k], &out[k], &want);
}

/* ---- on the terminal ------------------------------------------------------------------- */

static void
summary(const Slot *s, const Tensor *t)
{
	int64_t n = tensor_numel(t) * (dtypeinfo[t->dt].kind == KindComplex ? 2 : 1);
	double lo = INFINITY, hi = -INFINITY, sum = 0;
	char buf[32];

	printf("%s: %s[", s->name, dtypeinfo[t->dt].text);
	for (int d = 0; d < t->rank; d++)
		printf("%s%lld", d ? ", " : "", (long long)t->dim[d]);
	printf("]");
	for (int64_t i = 0; i < n; i++) {
		double v = element(t, i);
		lo = v < lo || isnan(v) ? v : lo;
		hi = v > hi || isnan(v) ? v : hi;
		sum += v;
	}
	if (n > 1)
		printf(" min %.6g max %.6g mean %.6g:", lo, hi, sum / (double)n);
	for (int64_t i = 0; i < n && i < 8; i++) {
		snprintf(buf, sizeof buf, "%.6g", element(t, i));
		printf(" %s", buf);
	}
	printf("%s\n", n > 8 ? " ..." : "");
}

static const char *
file_name(const Run *r, const char *name, int n)
{
	size_t len = strlen(r->out);

	if (n == 1 && len > 4 && strcmp(r->out + len - 4, ".npy") == 0)
		return r->out;
	return arena_printf(ctx_arena(r->cx), "%s_%s.npy", r->out, name);
}

int
run_outputs(Run *r, const Slot *s, const Tensor *out, int n)
{
	bool right = true;

	for (int i = 0; r->out && i < n; i++)
		if (!npy_write(r->cx, file_name(r, s[i].name, n), &out[i]))
			return ExitWrong;
	for (int i = 0; i < r->expect.n; i++)
		right = compare(r, s, out, n, i) && right;
	if (r->out == NULL && r->expect.n == 0 && !r->quiet)
		for (int i = 0; i < n; i++)
			summary(&s[i], &out[i]);
	return right ? ExitRight : ExitWrong;
}
