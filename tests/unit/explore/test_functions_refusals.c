/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that refuse what was asked for: a refusal that no serial run has is no
 * finding, a failure there is.
 * And values that say themselves what the function returned.
 */
#include "functions_help.h"

static int set_stock_up(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return run_script(call, "CREATE TABLE stock (id INTEGER PRIMARY KEY, "
				"n INT); INSERT INTO stock VALUES (1, 5)");
}

/* Optimistic locking. *arg: how it ends when somebody else was faster. */
static int buy(struct sqloom_call *call, void *arg)
{
	int (**late)(struct sqloom_call *, const char *, ...) = arg;
	sqlite3 *db = kept(call);
	int n = query(db, "SELECT n FROM stock WHERE id = 1");
	char *sql = sqlite3_mprintf(
		"UPDATE stock SET n = %d WHERE id = 1 AND n = %d", n - 1, n);

	(void)execute(db, sql);
	sqlite3_free(sql);
	return sqlite3_changes(db) ? 0 : (*late)(call, "changed meanwhile");
}

static struct sqloom_report *explore_late(int (*late)(struct sqloom_call *,
						      const char *, ...))
{
	struct many many;

	same(&many, 2, buy, &late, set_stock_up);
	return explore_calls(&many.calls, NULL);
}

static void a_late_refusal_is_no_finding(void **state)
{
	struct sqloom_report *report = explore_late(sqloom_call_refuse);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	assert_true(report->trace.by_class[SLM_CLASS_BENIGN] > 0);
	sqloom_report_free(report);
}

static void a_late_failure_is_a_finding(void **state)
{
	struct sqloom_report *report = explore_late(sqloom_call_fail);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
	assert_int_equal(report->trace.by_class[SLM_CLASS_BENIGN], 0);
	assert_true(report->trace.by_class[SLM_CLASS_ERROR] > 0);
	sqloom_report_free(report);
}

/* A call that says no, and then yes, has succeeded. */
static int change_its_mind(struct sqloom_call *call, void *arg)
{
	(void)arg;
	(void)query(kept(call), "SELECT n FROM stock WHERE id = 1");
	sqloom_call_refuse(call, "no");
	return sqloom_call_printf(call, "{\"returned\": \"a \\\"hat\\\"\"}") ?
		       0 :
		       -1;
}

static void the_value_says_what_was_returned(void **state)
{
	struct sqloom_report *report;
	struct sqloom_render render;
	struct sqloom_error err;
	struct many many;
	char *text;

	(void)state;
	same(&many, 2, change_its_mind, NULL, set_stock_up);
	report = explore_calls(&many.calls, NULL);
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	sqloom_render_init(&render);
	render.format = SQLOOM_FORMAT_JSON;
	assert_int_equal(sqloom_report_render(report, &render, &text, NULL,
					      &err),
			 SQLOOM_OK);
	assert_null(strstr(text, "refused"));
	sqloom_text_free(text);
	sqloom_report_free(report);
}

static void without_a_call(void **state)
{
	(void)state;
	assert_int_equal(sqloom_call_refuse(NULL, "no"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_late_refusal_is_no_finding),
		cmocka_unit_test(a_late_failure_is_a_finding),
		cmocka_unit_test(the_value_says_what_was_returned),
		cmocka_unit_test(without_a_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
