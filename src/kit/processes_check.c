/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must not be there when the helper is forked. Reads /proc/self.
 *
 * No file is opened here that the program may have open: closing it would
 * take the program's locks on it away. It is read through the program's own
 * descriptor.
 */
#include "kit/processes_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

#define TASKS "/proc/self/task"
#define DESCRIPTORS "/proc/self/fd"
#define SQLITE_MAGIC "SQLite format 3" /* and its NUL */
#define DELETED " (deleted)"
/* A thread that was joined may be there for a moment yet. */
#define TRIES 100
#define PAUSE_NS 1000000

/* The thread sanitizer has a thread of its own, which no fork copies. */
extern void __tsan_acquire(void *) __attribute__((weak));

/* ---- Threads ----------------------------------------------------------- */

/* Counts the other threads, and names one of them. Returns an errno. */
static int find_threads(size_t *count, char *name, size_t size)
{
	DIR *tasks = opendir(TASKS);
	struct dirent *entry;

	if (!tasks)
		return errno;
	*count = 0;
	while ((entry = readdir(tasks))) {
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == gettid())
			continue;
		++*count;
		snprintf(name, size, "%.20s", entry->d_name);
	}
	closedir(tasks);
	if (__tsan_acquire && *count > 0)
		--*count;
	return 0;
}

/* " (its name)" of a thread, or nothing. */
static void read_name(const char *thread, char *name, size_t size)
{
	char path[sizeof(TASKS) + 64];
	char text[32];
	ssize_t length = -1;
	int fd;

	snprintf(path, sizeof(path), TASKS "/%.32s/comm", thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	text[length > 0 ? length : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	snprintf(name, size, text[0] ? " (%s)" : "%s", text);
}

static enum sqloom_status check_threads(struct sqloom_error *err)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	char thread[32] = "", name[64];
	size_t count = 0;
	int error = 0;

	for (int try = 0; try < TRIES; try++) {
		error = find_threads(&count, thread, sizeof(thread));
		if (error || count == 0)
			break;
		nanosleep(&pause, NULL);
	}
	if (error)
		return slm_error_errno(err, SQLOOM_IO, error,
				       "cannot look for threads in " TASKS
				       "; mount /proc");
	if (count == 0)
		return SQLOOM_OK;
	read_name(thread, name, sizeof(name));
	return slm_error_set(err, SQLOOM_USAGE,
			     "the program has %zu other thread%s, such as "
			     "%s%s; a fork copies what they hold, but not "
			     "them: start the helper at the begin of main(), "
			     "before any thread",
			     count, count == 1 ? "" : "s", thread, name);
}

/* ---- Descriptors ------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
	size_t size = strlen(text), end_size = strlen(end);

	return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* The files that SQLite keeps beside a database are known by their names. */
static bool is_sqlite(int fd, const char *path)
{
	char magic[sizeof(SQLITE_MAGIC)];

	if (pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
	    memcmp(magic, SQLITE_MAGIC, sizeof(magic)) == 0)
		return true;
	return ends_with(path, "-wal") || ends_with(path, "-shm") ||
	       ends_with(path, "-journal");
}

static void read_path(int fd, char *path, size_t size)
{
	char link[sizeof(DESCRIPTORS) + 16];
	ssize_t length;

	snprintf(link, sizeof(link), DESCRIPTORS "/%d", fd);
	length = readlink(link, path, size - 1);
	path[length > 0 ? length : 0] = '\0';
	if (ends_with(path, DELETED))
		path[strlen(path) - strlen(DELETED)] = '\0';
}

static enum sqloom_status check_descriptor(int fd, struct sqloom_error *err)
{
	char path[4096];
	struct stat file;

	if (fstat(fd, &file) != 0)
		return SQLOOM_OK;
	if (!S_ISSOCK(file.st_mode) && !S_ISREG(file.st_mode))
		return SQLOOM_OK;
	read_path(fd, path, sizeof(path));
	if (S_ISSOCK(file.st_mode))
		return slm_error_set(err, SQLOOM_USAGE,
				     "descriptor %d is a socket (%.64s), so a "
				     "connection may be open; start the helper "
				     "before it is opened, or close it",
				     fd, path);
	if (is_sqlite(fd, path))
		return slm_error_set(err, SQLOOM_USAGE,
				     "descriptor %d is a file of an SQLite "
				     "database (%.400s); start the helper "
				     "before the database is opened, or close "
				     "it",
				     fd, path);
	return SQLOOM_OK;
}

/* Standard descriptors are what the program was given: whoever starts it may
 * use sockets for them. */
static enum sqloom_status check_descriptors(bool (*is_ours)(int fd), int *floor,
					    struct sqloom_error *err)
{
	DIR *descriptors = opendir(DESCRIPTORS);
	enum sqloom_status status = SQLOOM_OK;
	int highest = STDERR_FILENO;
	struct dirent *entry;
	struct rlimit limit;

	if (!descriptors)
		return slm_error_errno(err, SQLOOM_IO, errno,
				       "cannot look for descriptors "
				       "in " DESCRIPTORS "; mount /proc");
	getrlimit(RLIMIT_NOFILE, &limit);
	while (!status && (entry = readdir(descriptors))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd <= STDERR_FILENO)
			continue;
		if (fd > highest && (rlim_t)fd < limit.rlim_cur)
			highest = fd;
		if (fd != dirfd(descriptors) && !is_ours(fd))
			status = check_descriptor(fd, err);
	}
	closedir(descriptors);
	if (!status)
		*floor = highest + 1;
	return status;
}

enum sqloom_status slm_processes_check(bool (*is_ours)(int fd), int *floor,
				       struct sqloom_error *err)
{
	enum sqloom_status status = check_threads(err);

	return status ? status : check_descriptors(is_ours, floor, err);
}
