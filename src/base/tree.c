/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing a directory tree. opendir() and nftw() allocate, which a child of a
 * process with threads must not do; so the entries are read by the system call
 * into a buffer on the stack. Each level costs one descriptor and ENTRIES_SIZE
 * bytes of stack; DEPTH_MAX bounds both.
 */
#include "base/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 64
#define ENTRIES_SIZE 2048

static bool remove_entry(int at, const char *name, unsigned depth);

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Reads the directory once and removes what it can. False: nothing was. */
static bool remove_some(int dir, unsigned depth)
{
	_Alignas(struct dirent64) char entries[ENTRIES_SIZE];
	bool any = false;
	ssize_t size;

	while ((size = getdents64(dir, entries, sizeof(entries))) > 0) {
		for (ssize_t at = 0; at < size;) {
			struct dirent64 *entry = (void *)(entries + at);

			if (!is_dot(entry->d_name) &&
			    remove_entry(dir, entry->d_name, depth))
				any = true;
			at += entry->d_reclen;
		}
	}
	return any;
}

static bool remove_entry(int at, const char *name, unsigned depth)
{
	int dir, last;

	if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
		return true;
	if (errno != EISDIR && errno != EPERM)
		return false;
	if (unlinkat(at, name, AT_REMOVEDIR) == 0)
		return true;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return false;
	if (depth == DEPTH_MAX) {
		errno = ENAMETOOLONG;
		return false;
	}
	dir = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return false;
	/* An entry may be passed over while others disappear: read again
	 * until a reading removes nothing. */
	while (remove_some(dir, depth + 1))
		if (lseek(dir, 0, SEEK_SET) != 0)
			break;
	last = errno;
	close(dir);
	if (unlinkat(at, name, AT_REMOVEDIR) == 0)
		return true;
	if (errno == ENOTEMPTY)
		errno = last;
	return false;
}

bool slm_tree_remove(int at, const char *name)
{
	return remove_entry(at, name, 0);
}
