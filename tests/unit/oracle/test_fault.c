/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out at every allocation in turn: the status says so, nothing is
 * lost, nothing is touched. And the same input gives the same output. */
#include "bank.h"

#include <stdio.h>

#include "base/buf.h"

static void race_contents(struct scene *s)
{
	table(s, "log", "id account at", 0);
	reference(s, 1, 1, 0);
	NEW(s, 1, INT(5), INT(1), INT(7));
	NEW(s, 1, INT(6), INT(1), INT(8));
}

/* The whole life of an oracle; what it says is appended to say. */
static enum sqloom_status live(const struct scene *first,
			       const struct scene *again,
			       const struct scene *race,
			       struct slm_arena *arena, struct slm_buf *say)
{
	struct slm_oracle *oracle = NULL;
	struct slm_judgement judgement;
	struct slm_finding finding = { .class = SLM_CLASS_SERIAL };
	const struct slm_trace_serial *serials;
	const char *const *notes;
	enum sqloom_status status;
	uint32_t nserials, nnotes;

	status = slm_oracle_new(&bank_config, &oracle, NULL);
	if (status == SQLOOM_OK)
		status = slm_oracle_add_serial(oracle, "ab", &first->run,
					       &again->run, NULL, NULL);
	if (status == SQLOOM_OK)
		status = slm_oracle_judge(oracle, &race->run, &judgement, NULL);
	if (status == SQLOOM_OK)
		status = slm_oracle_explain(oracle, &race->run, arena, &finding,
					    NULL);
	if (status == SQLOOM_OK)
		status = slm_oracle_serials(oracle, arena, &serials, &nserials,
					    NULL);
	if (status == SQLOOM_OK)
		status = slm_oracle_notes(oracle, arena, &notes, &nnotes, NULL);
	if (status == SQLOOM_OK) {
		slm_buf_printf(say, "%d %llx %s %s %u %u\n", judgement.class,
			       (unsigned long long)judgement.outcome,
			       finding.name, finding.cause, nserials, nnotes);
		for (uint32_t i = 0; i < finding.ndifferences; i++)
			slm_buf_printf(say, "%s|%s|%s\n",
				       finding.differences[i].where,
				       finding.differences[i].actual,
				       finding.differences[i].expected);
		for (uint32_t i = 0; i < nnotes; i++)
			slm_buf_printf(say, "%s\n", notes[i]);
	}
	slm_oracle_free(oracle);
	return status;
}

static void prepare(struct scene *first, struct scene *again,
		    struct scene *race)
{
	bank_serial(first, ALICE);
	race_contents(first);
	bank_serial(again, ALICE);
	race_contents(again);
	/* An unstable column, so that a mask is learned. */
	memset(&again->tables[1], 0, sizeof(again->tables[1]));
	again->contents.ntables = 1;
	table(again, "log", "id account at", 0);
	reference(again, 1, 1, 0);
	NEW(again, 1, INT(5), INT(1), INT(17));
	NEW(again, 1, INT(6), INT(1), INT(18));
	bank_race(race, 1);
	race_contents(race);
	NEW(race, 1, INT(7), INT(1), INT(9));
	fail_check(race, "never");
}

static void every_allocation_fails_in_turn(void **state)
{
	struct scene first, again, race;
	int64_t live_before;
	uint64_t n = 0;
	enum sqloom_status status;

	(void)state;
	prepare(&first, &again, &race);
	live_before = slm_alloc_live();
	do {
		struct slm_arena arena;
		struct slm_buf say;

		slm_arena_init(&arena);
		slm_buf_init(&say);
		slm_alloc_fail_from(++n);
		status = live(&first, &again, &race, &arena, &say);
		slm_alloc_fail_from(0);
		assert_true(status == SQLOOM_OK || status == SQLOOM_NOMEM);
		slm_arena_deinit(&arena);
		slm_buf_deinit(&say);
		assert_int_equal(slm_alloc_live(), live_before);
	} while (status == SQLOOM_NOMEM && n < 10000);
	assert_int_equal(status, SQLOOM_OK);
	assert_true(n > 10);
	scene_end(&first);
	scene_end(&again);
	scene_end(&race);
}

/* Out-parameters are as they were after a failure. */
static void failure_touches_nothing(void **state)
{
	struct slm_oracle *oracle = (struct slm_oracle *)0x1;
	struct sqloom_error err;

	(void)state;
	slm_alloc_fail_from(1);
	assert_int_equal(slm_oracle_new(&bank_config, &oracle, &err),
			 SQLOOM_NOMEM);
	slm_alloc_fail_from(0);
	assert_ptr_equal(oracle, (struct slm_oracle *)0x1);
	assert_int_equal(err.status, SQLOOM_NOMEM);
}

static void same_input_same_output(void **state)
{
	struct scene first, again, race;
	struct slm_buf say[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct slm_arena arena;

		prepare(&first, &again, &race);
		slm_arena_init(&arena);
		slm_buf_init(&say[i]);
		assert_int_equal(live(&first, &again, &race, &arena, &say[i]),
				 SQLOOM_OK);
		slm_arena_deinit(&arena);
		scene_end(&first);
		scene_end(&again);
		scene_end(&race);
	}
	assert_string_equal(say[0].data, say[1].data);
	assert_non_null(strstr(say[0].data, "check-then-act"));
	assert_non_null(strstr(say[0].data, "log.at differs"));
	slm_buf_deinit(&say[0]);
	slm_buf_deinit(&say[1]);
}

/* Judging takes its memory from what earlier calls left: once warm, it asks
 * the heap for nothing. */
static void judging_is_warm(void **state)
{
	struct slm_oracle *oracle = bank_oracle(&bank_config);
	struct scene s;

	(void)state;
	bank_race(&s, 1);
	judge(oracle, &s);
	slm_alloc_fail_from(0);
	for (int i = 0; i < 1000; i++)
		judge(oracle, &s);
	assert_int_equal(slm_alloc_count(), 0);
	scene_end(&s);
	slm_oracle_free(oracle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_fails_in_turn),
		cmocka_unit_test(failure_touches_nothing),
		cmocka_unit_test(same_input_same_output),
		cmocka_unit_test(judging_is_warm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
