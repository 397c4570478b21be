/* train.c - train the digits network from random weights, in C.
 *
 *	train [DIR [EPOCHS]]
 *
 * The library train.so, which fxcc made of train.fxg, has three functions that matter:
 *
 *	train_forward	the loss of a batch; what backward needs goes to a buffer of ours
 *	train_backward	the gradients
 *	train_step	AdamW: the parameters, which belong to the context, move
 *
 * digits.so is the same network for inference, compiled so that its weights can be
 * replaced; it gets the trained ones and reads the held-out digits.  The weights are
 * written to trained.safetensors in the working directory, and read back from there.
 *
 * DIR (default: the working directory) is this folder; ../digits lies beside it.
 * losses.txt there is the loss of every step in PyTorch, compared as we go.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "digits.h"
#include "weights.h"

enum { Pixels = 64, Classes = 10, Batch = 64, Epochs = 20, Compared = 20 };
static const double Rate = 3e-3, Pi = 3.14159265358979323846;

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "train: %s: %s\n", what, why);
	exit(1);
}

/* ---- data -------------------------------------------------------------------- */

/* The elements of a .npy file, size bytes each; *n of them. */
static void *
npy(const char *dir, const char *name, size_t size, long *n)
{
	char path[1024];
	unsigned char pre[10];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "rb");
	if (f == NULL || fread(pre, 1, 10, f) != 10 || memcmp(pre, "\x93NUMPY", 6) != 0)
		die(path, "cannot read");
	long head = 10 + (pre[8] | pre[9] << 8);
	fseek(f, 0, SEEK_END);
	*n = (ftell(f) - head) / (long)size;
	fseek(f, head, SEEK_SET);
	void *p = malloc((size_t)*n * size + 1);
	if (p == NULL || fread(p, size, (size_t)*n, f) != (size_t)*n)
		die(path, "cut short");
	fclose(f);
	return p;
}

/* The next order of the images: reference.py makes the same. */
static void
shuffle(int *order, int n)
{
	static uint64_t x = 1;

	for (int i = n - 1; i > 0; i--) {
		x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		int j = (int)((x >> 33) % (uint64_t)(i + 1)), t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
}

/* ---- the model ------------------------------------------------------------------ */

typedef struct Model {
	train_ctx *ctx;
	void *saved;
	train_bwd grad;
	fxcc_error err;
} Model;

static void
check(int32_t rc, const fxcc_error *e)
{
	if (rc)
		die("the library", e->msg);
}

/* Room for a gradient of each parameter: the structure's members from the first one on are pointers. */
static void
model_open(Model *m)
{
	const fxcc_module *d = train_module();
	train_dims none = {0};
	size_t n = train_arena_size(&none);
	fxcc_config cfg = {.size = sizeof cfg, .arena = malloc(n), .arena_size = n};
	float **g[] = {&m->grad.g_conv1_weight, &m->grad.g_conv1_bias, &m->grad.g_bn1_weight, &m->grad.g_bn1_bias,
	               &m->grad.g_conv2_weight, &m->grad.g_conv2_bias, &m->grad.g_bn2_weight, &m->grad.g_bn2_bias,
	               &m->grad.g_fc1_weight, &m->grad.g_fc1_bias, &m->grad.g_fc2_weight, &m->grad.g_fc2_bias};

	m->saved = aligned_alloc(64, (train_saved_size(&none) + 63) / 64 * 64);
	check(train_init(malloc(TRAIN_CTX_SIZE), TRAIN_CTX_SIZE, TRAIN_SIGNATURE, &cfg, &m->ctx, &m->err), &m->err);
	for (int i = 0; i < d->ngrad; i++)
		*g[i] = malloc((size_t)d->grad[i].nbytes);
}

static float
step(Model *m, const float *image, const int64_t *label, double rate)
{
	float loss;

	check(train_forward(m->ctx, &(train_fwd){.image = image, .label = label, .out0 = &loss}, m->saved, &m->err), &m->err);
	check(train_backward(m->ctx, m->saved, &m->grad, &m->err), &m->err);
	check(train_step(m->ctx, &m->grad, rate, &m->err), &m->err);
	return loss;
}

/* ---- held-out digits ---------------------------------------------------------------- */

/* The trained weights replace those of the library for inference, all at once. */
static void
hand_over(Model *m)
{
	const fxcc_module *from = train_module();
	fxcc_error e;

	for (int i = 0; i < from->nstate; i++)
		if (strncmp(from->state[i].fqn, "optim.", 6) != 0 && strstr(from->state[i].fqn, "num_batches") == NULL)
			check(digits_weight_set(from->state[i].fqn, from->state_data(m->ctx, i), (size_t)from->state[i].nbytes, &e), &e);
	check(digits_weight_swap(&e), &e);
}

static int
held_out(const char *dir)
{
	char data[1024];
	long nimage, n, right = 0;

	snprintf(data, sizeof data, "%s/../digits", dir);
	float *image = npy(data, "images.npy", sizeof *image, &nimage), *logit;
	int64_t *label = npy(data, "labels.npy", sizeof *label, &n);
	logit = malloc((size_t)n * Classes * sizeof *logit);
	if (digits(n, image, logit))
		die("digits", "the call failed");
	for (long i = 0; i < n; i++) {
		int best = 0;
		for (int c = 1; c < Classes; c++)
			if (logit[i * Classes + c] > logit[i * Classes + best])
				best = c;
		right += best == label[i];
	}
	printf("%ld of %ld held-out digits right (%.2f %%)\n", right, n, 100.0 * (double)right / (double)n);
	free(image);
	free(label);
	free(logit);
	return right * 100 >= n * 97;
}

/* ---- training ------------------------------------------------------------------------ */

static double *
losses(const char *dir, int *n)
{
	char path[1024];
	double *v = malloc(10000 * sizeof *v);
	FILE *f;

	snprintf(path, sizeof path, "%s/losses.txt", dir);
	f = fopen(path, "r");
	for (*n = 0; f && *n < 10000 && fscanf(f, "%lf", &v[*n]) == 1; ++*n)
		;
	if (f)
		fclose(f);
	return v;
}

int
main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : ".", *wrong;
	int epochs = argc > 2 ? atoi(argv[2]) : Epochs, nref, nstep = 0, ok = 1, nload;
	long n, nlabel;
	unsigned char *pixel = npy(dir, "images.npy", 1, &n), *digit = npy(dir, "labels.npy", 1, &nlabel);
	double *ref = losses(dir, &nref), worst = 0;
	int *order = malloc((size_t)nlabel * sizeof *order), steps = Epochs * (int)(nlabel / Batch);
	static float image[Batch * Pixels];
	static int64_t label[Batch];
	static Model m;

	if (n != nlabel * Pixels)
		die(dir, "images and labels do not belong together");
	for (int i = 0; i < nlabel; i++)
		order[i] = i;
	model_open(&m);
	for (int e = 0; e < epochs; e++) {
		float loss = 0;
		shuffle(order, (int)nlabel);
		for (int b = 0; b < nlabel / Batch; b++, nstep++) {
			for (int i = 0; i < Batch; i++) {
				int at = order[b * Batch + i];
				label[i] = digit[at];
				for (int k = 0; k < Pixels; k++)
					image[i * Pixels + k] = (float)pixel[at * Pixels + k] / 16;
			}
			loss = step(&m, image, label, Rate * 0.5 * (1 + cos(Pi * nstep / steps)));
			if (nstep < nref && nstep < Compared)
				worst = fmax(worst, isnan(loss) ? HUGE_VAL : fabs(loss - ref[nstep]));
		}
		printf("epoch %2d  loss %.6f%s", e + 1, loss, nstep <= nref ? "" : "\n");
		if (nstep <= nref)
			printf("  PyTorch %.6f\n", ref[nstep - 1]);
	}
	if (nref) {
		ok = worst < 2e-5;
		printf("the first %d losses differ from PyTorch's by at most %.2g%s\n", Compared, worst, ok ? "" : ": too much");
	}
	if ((wrong = weights_save("trained.safetensors", "!optim.", train_module(), m.ctx)) != NULL)
		die("trained.safetensors", wrong);
	check(train_reset(m.ctx, &m.err), &m.err);
	if ((wrong = weights_load("trained.safetensors", train_module(), m.ctx, &nload)) != NULL)
		die("trained.safetensors", wrong);
	printf("trained.safetensors: %d tensors\n", nload);
	hand_over(&m);
	ok = held_out(dir) && ok;
	return !ok;
}
