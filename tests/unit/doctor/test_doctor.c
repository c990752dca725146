/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor as a library: what it tells where nothing answers, what it
 * refuses, and no memory. tests/cli/test_doctor.py has the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sqloom/sqloom.h>
#include <cmocka.h>

#include "base/alloc.h"

#define NOWHERE "host=/nonexistent dbname=test"

struct told {
	unsigned count;
	enum sqloom_health health;
	char what[40], found[400];
	bool advice;
};

static void keep(const struct sqloom_checkup *checkup, void *userdata)
{
	struct told *told = userdata;

	told->count++;
	told->health = checkup->health;
	told->advice = checkup->advice != NULL;
	snprintf(told->what, sizeof(told->what), "%s", checkup->what);
	snprintf(told->found, sizeof(told->found), "%s", checkup->found);
}

static void no_server(void **state)
{
	struct sqloom_doctor_options options;
	struct told told = { 0 };
	struct sqloom_error err = { 0 };
	unsigned problems = 0;
	int64_t before = slm_alloc_live();

	(void)state;
	sqloom_doctor_options_init(&options);
	options.database = NOWHERE;
	options.tell = keep;
	options.userdata = &told;
	assert_int_equal(sqloom_doctor(NULL, &options, &problems, &err),
			 SQLOOM_OK);
	assert_int_equal(problems, 1);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.health, SQLOOM_HEALTH_PROBLEM);
	assert_string_equal(told.what, "server");
	assert_non_null(strstr(told.found, "No such file or directory"));
	assert_int_equal(slm_alloc_live(), before);
}

static void a_spec_names_the_server(void **state)
{
	static const char text[] = "option database \"" NOWHERE "\"\n"
				   "session a step s { SELECT 1 }\n";
	struct sqloom_doctor_options options;
	struct sqloom_spec *spec = NULL;
	struct told told = { 0 };
	unsigned problems = 0;

	(void)state;
	assert_int_equal(sqloom_spec_parse(text, strlen(text), "t", &spec,
					   NULL),
			 SQLOOM_OK);
	sqloom_doctor_options_init(&options);
	options.tell = keep;
	options.userdata = &told;
	assert_int_equal(sqloom_doctor(spec, &options, &problems, NULL),
			 SQLOOM_OK);
	assert_int_equal(problems, 1);
	assert_non_null(strstr(told.found, "/nonexistent/"));
	sqloom_spec_free(spec);
}

static void no_programs_for_a_private_server(void **state)
{
	struct sqloom_doctor_options options;
	struct told told = { 0 };
	unsigned problems = 0;

	(void)state;
	sqloom_doctor_options_init(&options);
	options.pg_temp = true;
	options.pg_bindir = "/nonexistent";
	options.tell = keep;
	options.userdata = &told;
	assert_int_equal(sqloom_doctor(NULL, &options, &problems, NULL),
			 SQLOOM_OK);
	assert_int_equal(problems, 1);
	assert_int_equal(told.count, 1);
	assert_string_equal(told.what, "private server");
	assert_non_null(strstr(told.found, "apt-get install postgresql"));
}

static void what_is_refused(void **state)
{
	struct sqloom_doctor_options options;
	struct sqloom_error err = { 0 };
	struct told told = { 0 };
	unsigned problems = 7;

	(void)state;
	sqloom_doctor_options_init(&options);
	options.tell = keep;
	options.userdata = &told;
	options.database = "x.sqlite";
	assert_int_equal(sqloom_doctor(NULL, &options, &problems, &err),
			 SQLOOM_USAGE);
	options.database = NOWHERE;
	options.pg_temp = true;
	assert_int_equal(sqloom_doctor(NULL, &options, &problems, &err),
			 SQLOOM_USAGE);
	assert_int_equal(told.count, 0);
	assert_int_equal(problems, 7);
}

static void no_memory(void **state)
{
	struct sqloom_doctor_options options;
	struct told told = { 0 };
	unsigned problems = 0;
	int64_t before = slm_alloc_live();

	(void)state;
	sqloom_doctor_options_init(&options);
	options.database = NOWHERE;
	options.tell = keep;
	options.userdata = &told;
	slm_alloc_fail_from(1);
	assert_int_equal(sqloom_doctor(NULL, &options, &problems, NULL),
			 SQLOOM_NOMEM);
	slm_alloc_fail_from(0);
	assert_int_equal(slm_alloc_live(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_server),
		cmocka_unit_test(a_spec_names_the_server),
		cmocka_unit_test(no_programs_for_a_private_server),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
