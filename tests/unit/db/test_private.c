/* SPDX-License-Identifier: Apache-2.0 */
/* Private directories: removed with their store, and swept after a crash. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "db/sqlite_private.h"

static const char *place(void)
{
	return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : P_tmpdir;
}

/* A directory as a process of this number would have left it. */
static void leave(char *path, size_t size, unsigned pid, bool old)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_NOW },
				     { .tv_nsec = UTIME_NOW } };
	char file[300];
	int fd;

	snprintf(path, size, "%s/sqloom-%u-left%u", place(), pid,
		 (unsigned)getpid());
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(file, sizeof(file), "%s/live", path);
	assert_int_equal(mkdir(file, 0700), 0);
	snprintf(file, sizeof(file), "%s/live/main.db", path);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	if (old)
		times[1] = (struct timespec){ .tv_sec = 1000000 };
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static void made_and_removed(void **state)
{
	char path[64], file[100];
	struct stat info;
	int lock, fd;

	(void)state;
	assert_true(slm_private_make(path, sizeof(path), &lock));
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0700);
	snprintf(file, sizeof(file), "%s/x", path);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	slm_private_remove(path, lock);
	assert_false(exists(path));
}

/* Old and locked by nobody: swept. In use, or just made: left alone. */
static void swept_after_a_crash(void **state)
{
	char dead[200], used[200], young[200], path[64];
	int lock, fd;

	(void)state;
	leave(dead, sizeof(dead), 4000001, true);
	leave(used, sizeof(used), 4000002, true);
	leave(young, sizeof(young), 4000003, false);
	fd = open(used, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_true(slm_private_make(path, sizeof(path), &lock));
	assert_false(exists(dead));
	assert_true(exists(used));
	assert_true(exists(young));
	slm_private_remove(path, lock);
	slm_private_remove(used, fd);
	slm_private_remove(young, -1);
	assert_false(exists(used) || exists(young));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(made_and_removed),
		cmocka_unit_test(swept_after_a_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
