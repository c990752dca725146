/* SPDX-License-Identifier: Apache-2.0 */
/* Specs from files: good ones, and everything that is no spec file. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "spec/spec.h"

/* A fresh directory per test, with one path in it. */
struct fixture {
	char dir[64];
	char path[128];
};

static struct fixture fixture;

static int make_dir(void **state)
{
	strcpy(fixture.dir, "spec-read-XXXXXX");
	if (!mkdtemp(fixture.dir))
		return -1;
	snprintf(fixture.path, sizeof(fixture.path), "%s/a.spec", fixture.dir);
	*state = &fixture;
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(fixture.path);
	return rmdir(fixture.dir);
}

static void write_file(const char *path, const char *text, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, size), size);
	close(fd);
}

static void check_refused(const char *path, enum sqloom_status status,
			  const char *part)
{
	int64_t before = slm_alloc_live();
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err = { 0 };

	assert_int_equal(sqloom_spec_read(path, &spec, &err), status);
	assert_null(spec);
	if (!strstr(err.message, part))
		fail_msg("%s", err.message);
	assert_string_equal(err.path, path);
	assert_int_equal(slm_alloc_live(), before);
}

static void a_good_file(void **state)
{
	const struct fixture *f = *state;
	const char text[] = "session a step s { SELECT 1 }\n";
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err = { 0 };

	write_file(f->path, text, strlen(text));
	assert_int_equal(sqloom_spec_read(f->path, &spec, &err), SQLOOM_OK);
	assert_string_equal(spec->name, f->path);
	assert_string_equal(spec->text, text);
	sqloom_spec_free(spec);
}

static void a_wrong_file_is_told_with_its_path(void **state)
{
	const struct fixture *f = *state;

	write_file(f->path, "session", 7);
	check_refused(f->path, SQLOOM_SPEC, "expected the session's name");
	write_file(f->path, "", 0);
	check_refused(f->path, SQLOOM_SPEC, "the spec is empty");
}

static void what_is_no_file(void **state)
{
	const struct fixture *f = *state;

	check_refused(f->path, SQLOOM_IO, "No such file");
	check_refused(f->dir, SQLOOM_IO, "is a directory");
	check_refused("/dev/null", SQLOOM_IO, "is not a regular file");
	check_refused("", SQLOOM_IO, "cannot read the spec");
}

static void a_fifo_does_not_hang(void **state)
{
	const struct fixture *f = *state;

	assert_int_equal(mkfifo(f->path, 0600), 0);
	check_refused(f->path, SQLOOM_IO, "is not a regular file");
}

static void an_unreadable_file(void **state)
{
	const struct fixture *f = *state;

	if (geteuid() == 0)
		skip(); /* root may read it */
	write_file(f->path, "session a step s {}", 19);
	assert_int_equal(chmod(f->path, 0), 0);
	check_refused(f->path, SQLOOM_IO, "Permission denied");
}

static void a_large_file_is_refused_unread(void **state)
{
	const struct fixture *f = *state;

	write_file(f->path, "", 0);
	assert_int_equal(truncate(f->path, (off_t)1 << 40), 0);
	check_refused(f->path, SQLOOM_LIMIT, "1099511627776 bytes, the limit");
}

static void running_out_of_memory(void **state)
{
	const struct fixture *f = *state;
	int64_t before = slm_alloc_live();
	enum sqloom_status status;
	uint64_t n = 0;

	write_file(f->path, "session a step s {}", 19);
	do {
		struct sqloom_spec *spec = NULL;

		slm_alloc_fail_from(++n);
		status = sqloom_spec_read(f->path, &spec, NULL);
		slm_alloc_fail_from(0);
		assert_true(status == SQLOOM_OK || status == SQLOOM_NOMEM);
		sqloom_spec_free(spec);
		assert_int_equal(slm_alloc_live(), before);
	} while (status != SQLOOM_OK && n < 100);
	assert_int_equal(status, SQLOOM_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_good_file),
		TEST(a_wrong_file_is_told_with_its_path),
		TEST(what_is_no_file),
		TEST(a_fifo_does_not_hang),
		TEST(an_unreadable_file),
		TEST(a_large_file_is_refused_unread),
		TEST(running_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
