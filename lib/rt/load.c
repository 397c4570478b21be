/* load.c - constants that lie outside the library (-fweights=file, -fweights=extern).
 *
 * They are one block of bytes: a head of 64, then what the library would hold.  The head
 * says which build they belong to.  file: the block is mapped from NAME.weights beside the
 * library (or the program, if it is linked in) when first needed; extern: the caller gives
 * it to NAME_load.  It stays where it is, read only, as long as the library.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "model.h"

static int
check(const fxrt_model *m, const void *p, size_t n, fxcc_error *e)
{
	fxrt_blobhead h;

	if (p == NULL || n < sizeof h)
		return fxrt_fail(e, FXCC_EWEIGHTS, NULL, "weights: no bytes given");
	memcpy(&h, p, sizeof h);
	if (h.magic != FXRT_BLOB)
		return fxrt_fail(e, FXCC_EWEIGHTS, NULL, "weights: not what fxcc -fweights wrote");
	if (h.build != m->build)
		return fxrt_fail(e, FXCC_EWEIGHTS, NULL, "weights: of another model or build");
	if (h.bytes != m->nkonst || n < sizeof h + m->nkonst) {
		if (e) {
			e->got = (int64_t)n;
			e->lo = (int64_t)(sizeof h + m->nkonst);
		}
		return fxrt_fail(e, FXCC_EWEIGHTS, NULL, "weights: %zu bytes, %llu wanted", n, (unsigned long long)(sizeof h + m->nkonst));
	}
	if ((uintptr_t)p % FxrtAlign)
		return fxrt_fail(e, FXCC_EALIGN, NULL, "weights: not aligned to %d bytes", FxrtAlign);
	return 0;
}

int32_t
fxrt_load(const fxrt_model *m, const void *p, size_t n, fxcc_error *e)
{
	const uint8_t *none = NULL, *data;
	int rc;

	if (e)
		memset(e, 0, sizeof *e);
	if ((rc = check(m, p, n, e)))
		return rc;
	data = (const uint8_t *)p + sizeof(fxrt_blobhead);
	if (__atomic_compare_exchange_n(&m->blob->at, &none, data, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) || none == data)
		return 0;
	return fxrt_fail(e, FXCC_ESTATE, NULL, "weights: loaded already");
}

/* The file of that name in the folder of path. */
static int
open_beside(const char *path, const char *file)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	char full[4096];

	if (path == NULL || snprintf(full, sizeof full, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, file) >= (int)sizeof full)
		return -1;
	return open(full, O_RDONLY);
}

/* What the library, or the program, was mapped from. */
static int
open_file(const fxrt_model *m)
{
	FILE *f = fopen("/proc/self/maps", "r");
	uintptr_t here = (uintptr_t)m->module;
	char line[4300];
	int fd = -1;

	while (f && fd < 0 && fgets(line, sizeof line, f)) {
		unsigned long long from, to;
		int at = 0;
		if (sscanf(line, "%llx-%llx %*s %*s %*s %*s %n", &from, &to, &at) < 2 || here < from || here >= to)
			continue;
		line[strcspn(line, "\n")] = '\0';
		fd = open_beside(line + at, m->weightfile);
		break;
	}
	if (f)
		fclose(f);
	return fd;
}

/* Are the constants there?  Of -fweights=file they are looked for. */
int
fxrt_find(const fxrt_model *m, fxcc_error *e)
{
	struct stat st;
	void *p = MAP_FAILED;
	int fd, rc;

	if (fxrt_konst(m))
		return 0;
	if (m->weightfile == NULL)
		return fxrt_fail(e, FXCC_EWEIGHTS, NULL, "the weights are not in the library: %s_load comes first", m->module->name);
	fd = open_file(m);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED)
		return fxrt_fail(e, FXCC_EIO, NULL, "cannot read %s beside the library", m->weightfile);
	rc = fxrt_load(m, p, (size_t)st.st_size, e);
	if (fxrt_konst(m) != (const uint8_t *)p + sizeof(fxrt_blobhead))
		munmap(p, (size_t)st.st_size);     /* wrong, or another thread was first */
	return fxrt_konst(m) ? 0 : rc;
}
