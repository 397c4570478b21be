/* show.c - run the digits model on the held-out images and say how well it does.
 *
 *	show [DIR]
 *
 * DIR (default: the working directory) holds images.npy, labels.npy and expected.npy.
 * The model is one function of the library: digits(count, images, logits).  It is
 * called once for all images, then timed for one image and for all of them.
 */
#define _POSIX_C_SOURCE 200809L	/* clock_gettime */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "digits.h"

enum { Side = 8, Pixels = Side * Side, Classes = 10 };

static void
die(const char *path, const char *what)
{
	fprintf(stderr, "show: %s: %s\n", path, what);
	exit(1);
}

/* ---- .npy: magic, version, length of a Python dict as text, the elements ---- */

/* Number of elements that a header's shape says, e.g. 'shape': (360, 1, 8, 8) */
static long
count(const char *path, const char *header)
{
	const char *p = strstr(header, "'shape': (");
	long n = 1;

	if (p == NULL)
		die(path, "no shape in the header");
	p += strlen("'shape': (");
	while (*p != ')' && *p != '\0') {
		char *end;
		long d = strtol(p, &end, 10);
		if (end == p || d < 0 || d > 1 << 20 || n > 1 << 24)
			die(path, "cannot read the shape");
		n *= d;
		p = end + strspn(end, ", ");
	}
	return n;
}

/* The elements of DIR/NAME, which must be of type descr ("<f4", "<i8"); *n of them */
static void *
npy(const char *dir, const char *name, const char *descr, size_t size, long *n)
{
	char path[1024], header[4096], want[32];
	unsigned char pre[10];
	void *data;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	snprintf(want, sizeof want, "'descr': '%s'", descr);
	f = fopen(path, "rb");
	if (f == NULL)
		die(path, "cannot open");
	if (fread(pre, 1, 10, f) != 10 || memcmp(pre, "\x93NUMPY\x01", 7) != 0)
		die(path, "not a .npy file of version 1");
	size_t len = pre[8] | (size_t)pre[9] << 8;
	if (len >= sizeof header || fread(header, 1, len, f) != len)
		die(path, "cut short");
	header[len] = '\0';
	if (strstr(header, want) == NULL || strstr(header, "'fortran_order': False") == NULL)
		die(path, "elements of another type or order");
	*n = count(path, header);
	data = malloc((size_t)*n * size + 1);
	if (data == NULL || fread(data, size, (size_t)*n, f) != (size_t)*n)
		die(path, "cut short");
	fclose(f);
	return data;
}

/* ---- answers ---- */

static int
answer(const float *logit)
{
	int best = 0;

	for (int i = 1; i < Classes; i++)
		if (logit[i] > logit[best])
			best = i;
	return best;
}

static long
right(const float *logit, const int64_t *label, long n)
{
	long r = 0;

	for (long i = 0; i < n; i++)
		r += answer(logit + i * Classes) == label[i];
	return r;
}

/* Three digits side by side, a pixel two characters wide as characters are tall */
static void
draw(const float *image, const float *logit, const int64_t *label)
{
	static const char ink[] = " .:-=+*#%@";

	for (int y = 0; y < Side; y++) {
		for (int k = 0; k < 3; k++) {
			for (int x = 0; x < Side; x++) {
				int c = (int)(image[k * Pixels + y * Side + x] * 9.0f + 0.5f);
				printf("%c%c", ink[c], ink[c]);
			}
			printf("    ");
		}
		printf("\n");
	}
	for (int k = 0; k < 3; k++)
		printf("model %d, truth %-6d", answer(logit + k * Classes), (int)label[k]);
	printf("\n\n");
}

/* ---- time ---- */

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Best of many calls for the first n images, in microseconds */
static double
latency(const float *image, float *logit, long n)
{
	double best = HUGE_VAL, end = now() + 0.2;

	while (now() < end) {
		double t = now();
		digits(n, image, logit);
		t = now() - t;
		if (t < best)
			best = t;
	}
	return best * 1e6;
}

int
main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : ".";
	long nimage, n, nexpect;
	float *image = npy(dir, "images.npy", "<f4", sizeof *image, &nimage);
	int64_t *label = npy(dir, "labels.npy", "<i8", sizeof *label, &n);
	float *expect = npy(dir, "expected.npy", "<f4", sizeof *expect, &nexpect);
	float *logit = malloc((size_t)n * Classes * sizeof *logit);
	double diff = 0;
	int err;

	if (n < 3 || nimage != n * Pixels || nexpect != n * Classes || logit == NULL)
		die(dir, "the arrays do not belong together");
	err = digits(n, image, logit);
	if (err != 0) {
		fprintf(stderr, "show: the model returned error %d\n", err);
		return 1;
	}
	for (long i = 0; i < nexpect; i++) {
		double d = fabs((double)logit[i] - expect[i]);
		if (!(d <= diff))
			diff = isnan(d) ? HUGE_VAL : d;
	}

	draw(image, logit, label);
	printf("fxcc:    %ld of %ld held-out digits right (%.2f %%)\n", right(logit, label, n), n,
	       100.0 * (double)right(logit, label, n) / (double)n);
	printf("PyTorch: %ld of %ld; largest difference of a logit: %.2g\n", right(expect, label, n), n, diff);
	printf("latency: %.1f us for one image, ", latency(image, logit, 1));
	printf("%.1f us for %ld\n", latency(image, logit, n), n);
	free(image);
	free(label);
	free(expect);
	free(logit);
	return diff < 1e-3 ? 0 : 1;
}
