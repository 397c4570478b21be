/* show.c - call the compiled digits model on held-out images and say how it does.
 *
 *     fxcc digits.pt2 -o digits.so && cc show.c ./digits.so -lm -o show && ./show DIR
 *
 * DIR holds images.npy (f32[n, 1, 8, 8]), labels.npy (i64[n]) and expected.npy, the
 * logits (f32[n, 10]) that PyTorch computes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "digits.h"

enum { Pixels = 64, Classes = 10, Max = 4096 };

/* The data of DIR/name; how many bytes it has goes to *n. */
static void *
load(const char *dir, const char *name, size_t *n)
{
	char path[4096];
	unsigned char head[10];
	void *p = malloc((size_t)Max * Pixels * 8);
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "rb");
	if (f == NULL || p == NULL || fread(head, 1, 10, f) != 10 || fseek(f, head[8] | head[9] << 8, SEEK_CUR)) {
		perror(path);
		exit(1);
	}
	*n = fread(p, 1, (size_t)Max * Pixels * 8, f);
	fclose(f);
	return p;
}

static int
answer(const float *logit)
{
	int best = 0;

	for (int i = 1; i < Classes; i++)
		if (logit[i] > logit[best])
			best = i;
	return best;
}

static void
pictures(const float *image, const float *logit, const int64_t *label, int n)
{
	for (int row = 0; row < 8; row++) {
		for (int k = 0; k < n; k++) {
			for (int col = 0; col < 8; col++) {
				int v = (int)(image[k * Pixels + row * 8 + col] * 4.999f);
				printf("%c%c", " .+#@"[v], " .+#@"[v]);
			}
			printf("  ");
		}
		putchar('\n');
	}
	for (int k = 0; k < n; k++)
		printf("model: %d, label: %d  ", answer(logit + k * Classes), (int)label[k]);
	putchar('\n');
}

static double
now(void)
{
	return (double)clock() / CLOCKS_PER_SEC;
}

int
main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : ".";
	size_t bytes, nlabel, nexpected;
	const float *image = load(dir, "images.npy", &bytes), *expected = load(dir, "expected.npy", &nexpected);
	const int64_t *label = load(dir, "labels.npy", &nlabel);
	int n = (int)(nlabel / sizeof *label), right = 0, torch = 0, runs = 2000, rc;
	float *logit = malloc(sizeof *logit * Classes * (size_t)(n + 1));
	double t;

	if (n < 4 || logit == NULL || bytes < sizeof *image * Pixels * (size_t)n || nexpected < sizeof *expected * Classes * (size_t)n) {
		fprintf(stderr, "%s: the files do not fit together\n", dir);
		return 1;
	}
	if ((rc = digits(n, image, logit)) != 0) {
		fprintf(stderr, "digits: error %d\n", rc);
		return 1;
	}
	pictures(image, logit, label, 4);
	for (int i = 0; i < n; i++) {
		right += answer(logit + i * Classes) == label[i];
		torch += answer(expected + i * Classes) == label[i];
	}
	printf("\n%d of %d held-out digits right (%.2f %%); PyTorch: %d\n", right, n, 100.0 * right / n, torch);
	t = now();
	for (int i = 0; i < runs; i++)
		digits(1, image, logit);
	printf("one image: %.1f us (one thread)\n", 1e6 * (now() - t) / runs);
	return right != torch;
}
