/* SPDX-License-Identifier: Apache-2.0 */
/* A tree is removed to its last entry, and nothing that it points at is. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/tree.h"

static void make_file(int at, const char *name)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

/* More entries than one reading brings. */
static void test_many_and_deep(void **state)
{
	char path[] = P_tmpdir "/sqloom-test-XXXXXX", name[32];
	int dir, deep;

	(void)state;
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		make_file(dir, name);
	}
	deep = dup(dir);
	for (int i = 0; i < 20; i++) {
		int next;

		assert_int_equal(mkdirat(deep, "deeper", 0700), 0);
		next = openat(deep, "deeper", O_RDONLY | O_CLOEXEC);
		assert_true(next >= 0);
		make_file(next, "file");
		close(deep);
		deep = next;
	}
	close(deep);
	close(dir);
	assert_true(slm_tree_remove(AT_FDCWD, path));
	assert_int_equal(access(path, F_OK), -1);
}

static void test_links_are_not_followed(void **state)
{
	char path[] = P_tmpdir "/sqloom-test-XXXXXX";
	int dir;

	(void)state;
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	assert_int_equal(mkdirat(dir, "tree", 0700), 0);
	assert_int_equal(mkdirat(dir, "other", 0700), 0);
	make_file(dir, "other/kept");
	assert_int_equal(symlinkat("../other", dir, "tree/link"), 0);
	assert_true(slm_tree_remove(dir, "tree"));
	assert_int_equal(faccessat(dir, "tree", F_OK, 0), -1);
	assert_int_equal(faccessat(dir, "other/kept", F_OK, 0), 0);
	close(dir);
	assert_true(slm_tree_remove(AT_FDCWD, path));
}

static void test_what_is_not_there_is_gone(void **state)
{
	(void)state;
	assert_true(slm_tree_remove(AT_FDCWD, "/no/such/tree"));
}

static void test_says_what_could_not_be_removed(void **state)
{
	(void)state;
	assert_false(slm_tree_remove(AT_FDCWD, "/dev/null/x"));
	assert_int_equal(errno, ENOTDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_and_deep),
		cmocka_unit_test(test_links_are_not_followed),
		cmocka_unit_test(test_what_is_not_there_is_gone),
		cmocka_unit_test(test_says_what_could_not_be_removed),
	};

	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
