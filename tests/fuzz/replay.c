/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over every file of a corpus directory, in the order of
 * their names, without libFuzzer. A missing or empty corpus is a failure: a
 * test that ran nothing has shown nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX ((off_t)16 * 1024 * 1024) /* bytes of one input */

static bool fail(const char *path)
{
	fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
	return false;
}

/*
 * The copy is exactly as large as the input, so that a sanitizer sees a read
 * beyond it.
 */
static bool run_file(const char *path, off_t size_bytes)
{
	size_t size = (size_t)size_bytes;
	uint8_t *data = malloc(size ? size : 1);
	FILE *file = fopen(path, "rb");
	bool ok = false;

	if (!data || !file || fread(data, 1, size, file) != size) {
		fail(path);
		goto out;
	}
	LLVMFuzzerTestOneInput(data, size);
	ok = true;
out:
	if (file)
		fclose(file);
	free(data);
	return ok;
}

/* Runs one entry of the directory; hidden files and folders are no inputs. */
static bool run_entry(const char *directory, const char *name, unsigned *count)
{
	char path[4096];
	struct stat info;
	int size;

	if (name[0] == '.')
		return true;
	size = snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (size < 0 || (size_t)size >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return fail(name);
	}
	if (stat(path, &info) != 0)
		return fail(path);
	if (!S_ISREG(info.st_mode))
		return true;
	if (info.st_size > INPUT_MAX) {
		errno = EFBIG;
		return fail(path);
	}
	/* Stays on the screen if the input brings the program down. */
	fprintf(stderr, "replay: %s\n", path);
	++*count;
	return run_file(path, info.st_size);
}

int main(int argc, char **argv)
{
	struct dirent **entries = NULL;
	unsigned count = 0;
	bool ok = true;
	int n;

	if (argc != 2) {
		fprintf(stderr, "usage: %s CORPUS_DIRECTORY\n", argv[0]);
		return 2;
	}
	n = scandir(argv[1], &entries, NULL, alphasort);
	if (n < 0) {
		fail(argv[1]);
		return 1;
	}
	for (int i = 0; i < n; i++) {
		ok = run_entry(argv[1], entries[i]->d_name, &count) && ok;
		free(entries[i]);
	}
	free(entries);
	if (count == 0) {
		fprintf(stderr, "replay: %s has no inputs\n", argv[1]);
		return 1;
	}
	printf("replay: %u inputs %s\n", count, ok ? "passed" : "run, FAILED");
	return ok ? 0 : 1;
}
