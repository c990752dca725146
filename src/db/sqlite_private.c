/* SPDX-License-Identifier: Apache-2.0 */
/* Private directories: made, locked, removed, and swept after a crash. */
#include "db/sqlite_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/tree.h"

#define PREFIX "sqloom-"
#define YOUNG_S 60 /* may have been made, but not been locked yet */

static const char *const places[] = { "/dev/shm", P_tmpdir };

/* Ours by name and owner, a directory, and not just made? */
static bool is_ours(int fd)
{
	struct stat info;

	return fstat(fd, &info) == 0 && S_ISDIR(info.st_mode) &&
	       info.st_uid == geteuid() && info.st_mtime + YOUNG_S < time(NULL);
}

/* Removes what dead processes left: nobody holds its lock any more. */
static void sweep(const char *place)
{
	DIR *dir = opendir(place);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char path[512];
		unsigned pid;
		int fd;

		if (sscanf(entry->d_name, PREFIX "%u-", &pid) != 1)
			continue;
		snprintf(path, sizeof(path), "%s/%s", place, entry->d_name);
		fd = open(path,
			  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (is_ours(fd) && flock(fd, LOCK_EX | LOCK_NB) == 0)
			slm_tree_remove(AT_FDCWD, path);
		close(fd);
	}
	if (dir)
		closedir(dir);
}

bool slm_private_make(char *path, size_t size, int *lock)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		sweep(places[i]);
		snprintf(path, size, "%s/" PREFIX "%u-XXXXXX", places[i],
			 (unsigned)getpid());
		if (!mkdtemp(path))
			continue;
		*lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (*lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) == 0)
			return true;
		slm_private_remove(path, *lock);
	}
	path[0] = '\0';
	*lock = -1;
	return false;
}

void slm_private_remove(const char *path, int lock)
{
	int before = errno;

	slm_tree_remove(AT_FDCWD, path);
	if (lock >= 0)
		close(lock);
	errno = before;
}
