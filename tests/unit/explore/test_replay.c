/* SPDX-License-Identifier: Apache-2.0 */
/* Replays: the same outcome, or a divergence that says where. */
#include "explore_help.h"

static char *token_of(const struct sqloom_report *report, uint32_t finding)
{
	assert_true(finding < report->trace.nfindings);
	return strdup(report->trace.findings[finding].token);
}

static void every_finding_replays_to_the_same_outcome(void **state)
{
	struct sqloom_report *report = explore(lost_update, NULL);

	(void)state;
	for (uint32_t i = 0; i < report->trace.nfindings; i++) {
		const struct slm_finding *f = &report->trace.findings[i];
		struct sqloom_report *again =
			replay(lost_update, f->token, report, NULL);

		assert_int_equal(again->trace.kind, SLM_TRACE_REPLAY);
		assert_int_equal(again->trace.verdict, SQLOOM_BROKEN);
		assert_int_equal(again->trace.findings[0].class, f->class);
		assert_string_equal(again->trace.findings[0].token, f->token);
		assert_int_equal(again->trace.findings[0].nevents, f->nevents);
		assert_false(again->trace.divergence.diverged);
		sqloom_report_free(again);
	}
	sqloom_report_free(report);
}

/* A serial schedule replays to a pass. */
static void a_right_schedule_holds(void **state)
{
	struct sqloom_report *report = explore(lost_update, NULL);
	char *token = token_of(report, 0), serial[40];
	struct sqloom_report *again;
	const char *tail = strchr(token, '~');

	(void)state;
	snprintf(serial, sizeof(serial), "aabb%.5s", tail);
	again = replay(lost_update, serial, NULL, NULL);
	assert_int_equal(again->trace.verdict, SQLOOM_HOLDS);
	assert_int_equal(again->trace.findings[0].class, SLM_CLASS_SERIAL);
	sqloom_report_free(again);
	sqloom_report_free(report);
	free(token);
}

static void expect_divergence(const char *text, const char *token,
			      const struct sqloom_report *recorded,
			      const char *what, bool both)
{
	struct sqloom_report *again = replay(text, token, recorded, NULL);
	const struct slm_divergence *d = &again->trace.divergence;

	if (!d->diverged)
		fail_msg("%s: no divergence", what);
	if (!strstr(d->what, what))
		fail_msg("\"%s\" is not in \"%s\"", what, d->what);
	assert_int_equal(again->trace.verdict, SQLOOM_INCONCLUSIVE);
	if (both) {
		assert_non_null(d->recorded);
		assert_non_null(d->now);
	}
	sqloom_report_free(again);
}

static void what_differs_from_the_token_is_told(void **state)
{
	struct sqloom_report *report = explore(lost_update, NULL);
	char *token = token_of(report, 0), *text, changed[100];

	(void)state;
	/* edited SQL, with and without the recorded text */
	text = edited(lost_update, "b2 { UPDATE t SET v = :v + 2",
		      "b2 { UPDATE t SET v = :v * 2");
	expect_divergence(text, token, report, "b2", true);
	expect_divergence(text, token, NULL, "b2", false);
	free(text);
	/* another literal is no divergence */
	text = edited(lost_update, ":v + 2", ":v + 3");
	{
		struct sqloom_report *again = replay(text, token, report, NULL);

		assert_int_equal(again->trace.verdict, SQLOOM_BROKEN);
		sqloom_report_free(again);
	}
	free(text);
	/* a step less */
	text = edited(lost_update,
		      "step b2 { UPDATE t SET v = :v + 2 WHERE id = 1 }", "");
	expect_divergence(text, token, report, "", false);
	free(text);
	/* a session of another name */
	text = edited(lost_update, "session b", "session carol");
	expect_divergence(text, token, report, "are not those of the token",
			  false);
	free(text);
	/* too short, too long */
	snprintf(changed, sizeof(changed), "aab%.5s", strchr(token, '~'));
	expect_divergence(lost_update, changed, NULL, "more steps", false);
	snprintf(changed, sizeof(changed), "aabbb%.5s", strchr(token, '~'));
	expect_divergence(lost_update, changed, NULL, "goes on", false);
	snprintf(changed, sizeof(changed), "aaab%.5s", strchr(token, '~'));
	expect_divergence(lost_update, changed, NULL, "call a", false);
	free(token);
	sqloom_report_free(report);
}

static void a_token_of_another_spec_is_refused(void **state)
{
	static const char *const bad[] = { "abc~1234", "",	 "~",
					   "ab",       "ab~xyz", "ab~1234.2",
					   "p~0000" };
	struct sqloom_spec *spec = parse(lost_update);
	struct sqloom_options options = usual();

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct sqloom_report *report = NULL;
		struct sqloom_error err;

		if (sqloom_replay(spec, bad[i], NULL, &options, &report,
				  &err) != SQLOOM_TOKEN)
			fail_msg("\"%s\" is taken", bad[i]);
		assert_null(report);
		assert_true(err.message[0] != '\0');
	}
	sqloom_spec_free(spec);
}

/* Of several plans the one is replayed that the token is of, also if some of
 * its steps have no letter. */
static void tokens_of_permutation_lines_replay(void **state)
{
	char text[2000];
	struct sqloom_report *report, *again;
	char *token;

	(void)state;
	snprintf(text, sizeof(text), "%s%s",
		 "setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER);"
		 " INSERT INTO t VALUES (1, 10) }\n"
		 "session a\n"
		 "step a0 { SELECT 1 }\n"
		 "step a1 { SELECT v FROM t WHERE id = 1 }\n"
		 "step a2 { UPDATE t SET v = :v + 1 WHERE id = 1 }\n"
		 "step a3 { SELECT 2 }\n"
		 "step a4 when { 0 } { SELECT v FROM t }\n"
		 "session b\n"
		 "step b1 { SELECT v FROM t WHERE id = 1 }\n"
		 "step b2 { UPDATE t SET v = :v + 2 WHERE id = 1 }\n",
		 "permutation a0 a3 b1 b2\n"
		 "permutation b1 b2 a0\n"
		 "permutation a4 a0 a1 b1 b2 a3 a2\n");
	report = explore(text, NULL);
	assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
	token = token_of(report, 0);
	again = replay(text, token, report, NULL);
	assert_false(again->trace.divergence.diverged);
	assert_int_equal(again->trace.verdict, SQLOOM_BROKEN);
	sqloom_report_free(again);
	sqloom_report_free(report);
	free(token);
}

/* A ROLLBACK after an error has a letter of its own. */
static void a_run_with_a_rollback_replays(void **state)
{
	static const char text[] =
		"option strict on\n"
		"setup { CREATE TABLE t (v INTEGER); INSERT INTO t VALUES (1)"
		" }\n"
		"session a\n"
		"step a1 { BEGIN; SELECT v FROM t }\n"
		"step a2 { UPDATE t SET v = :v + 1 }\n"
		"step a3 { COMMIT }\n"
		"session b\n"
		"step b1 { BEGIN; SELECT v FROM t }\n"
		"step b2 { UPDATE t SET v = :v + 1 }\n"
		"step b3 { COMMIT }\n";
	struct sqloom_report *report = explore(text, NULL);

	(void)state;
	assert_true(report->trace.nfindings > 0);
	for (uint32_t i = 0; i < report->trace.nfindings; i++) {
		const struct slm_finding *f = &report->trace.findings[i];
		struct sqloom_report *again =
			replay(text, f->token, report, NULL);

		assert_false(again->trace.divergence.diverged);
		assert_int_equal(again->trace.findings[0].class, f->class);
		sqloom_report_free(again);
	}
	sqloom_report_free(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_finding_replays_to_the_same_outcome),
		cmocka_unit_test(a_right_schedule_holds),
		cmocka_unit_test(what_differs_from_the_token_is_told),
		cmocka_unit_test(a_token_of_another_spec_is_refused),
		cmocka_unit_test(tokens_of_permutation_lines_replay),
		cmocka_unit_test(a_run_with_a_rollback_replays),
	};

	return cmocka_run_group_tests(tests, NULL, nothing_leaks);
}
