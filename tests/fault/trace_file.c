/* SPDX-License-Identifier: Apache-2.0 */
/* A trace that cannot be written: the disk is full, the folder is missing. */
#include "sweep.h"

static enum sqloom_status explore_to(const char *path, struct sqloom_error *err)
{
	struct sqloom_spec *spec = parse(rich_spec);
	struct sqloom_report *report = NULL;
	struct sqloom_options options;
	enum sqloom_status status;
	unsigned files = open_files();

	sqloom_options_init(&options);
	options.max_runs = 10;
	options.trace_path = path;
	status = sqloom_explore(spec, &options, &report, err);
	assert_true((status == SQLOOM_OK) == (report != NULL));
	assert_int_equal(open_files(), files);
	sqloom_report_free(report);
	sqloom_spec_free(spec);
	assert_int_equal(slm_alloc_live(), 0);
	return status;
}

static void a_full_disk_is_told(void **state)
{
	struct sqloom_error err;

	(void)state;
	if (access("/dev/full", W_OK) != 0)
		skip();
	assert_int_equal(explore_to("/dev/full", &err), SQLOOM_IO);
	assert_non_null(strstr(err.message, "/dev/full"));
	assert_non_null(strstr(err.message, "No space"));
	assert_int_equal(access("/dev/full", F_OK), 0);
}

static void a_missing_folder_is_told(void **state)
{
	const char *path = "no-such-folder/x/trace.jsonl";
	struct sqloom_error err;

	(void)state;
	assert_int_equal(explore_to(path, &err), SQLOOM_IO);
	assert_non_null(strstr(err.message, path));
	assert_non_null(strstr(err.message, "No such file"));
}

static void a_folder_in_its_place_is_told(void **state)
{
	struct sqloom_error err;

	(void)state;
	assert_int_equal(explore_to(temporary, &err), SQLOOM_IO);
	assert_int_equal(access(temporary, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_disk_is_told),
		cmocka_unit_test(a_missing_folder_is_told),
		cmocka_unit_test(a_folder_in_its_place_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
