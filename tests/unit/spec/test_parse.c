/* SPDX-License-Identifier: Apache-2.0 */
/* What a good spec becomes, and that running out of memory is harmless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "spec/spec.h"

static struct sqloom_spec *parse(const char *text)
{
	struct sqloom_error err = { 0 };
	struct sqloom_spec *spec = NULL;

	if (sqloom_spec_parse(text, strlen(text), "t.spec", &spec, &err))
		fail_msg("line %u, column %u: %s", err.line, err.column,
			 err.message);
	return spec;
}

/* One of everything. */
static const char everything[] =
	"# The whole language.\n"
	"option database \"seed.db\"\n"
	"setup { CREATE TABLE t (v); }\n"
	"setup { INSERT INTO t VALUES (1); }\n"
	"check \"one row\" { SELECT 1 WHERE 0 }\n"
	"teardown { DROP TABLE t; }\n"
	"session a\n"
	"setup { BEGIN; }\n"
	"step a1 { SELECT v FROM t }\n"
	"step a2 unobserved when { :v > 0 } { UPDATE t SET v = 2 }\n"
	"step \"a 3\" { COMMIT; }\n"
	"teardown { ROLLBACK; }\n"
	"option strict ON\n"
	"session \"b\"\n"
	"step b1 when { 1 } unobserved { DELETE FROM t }\n"
	"step b2 {}\n"
	"permutation a1 b1\n"
	"  a2(*) # continued\n"
	"  \"a 3\"(b1, b2 notices 3, *) b2\n"
	"check second { SELECT 2 WHERE 0 }\n"
	"permutation b2 a1 a1\n"
	"option ignore t.v\n"
	"option ignore u\n";

static void blocks_and_sessions(void **state)
{
	struct sqloom_spec *spec = parse(everything);
	const struct slm_spec_session *a = &spec->sessions[0];
	const struct slm_spec_session *b = &spec->sessions[1];

	(void)state;
	assert_string_equal(spec->name, "t.spec");
	assert_string_equal(spec->text, everything);
	assert_int_equal(spec->nsetups, 2);
	assert_string_equal(spec->setups[1].text,
			    " INSERT INTO t VALUES (1); ");
	assert_int_equal(spec->setups[1].line, 4);
	assert_int_equal(spec->setups[1].column, 8);
	assert_string_equal(spec->teardown.text, " DROP TABLE t; ");
	assert_int_equal(spec->nsessions, 2);
	assert_string_equal(a->name, "a");
	assert_int_equal(a->line, 7);
	assert_int_equal(a->column, 9);
	assert_string_equal(a->setup.text, " BEGIN; ");
	assert_string_equal(a->teardown.text, " ROLLBACK; ");
	assert_int_equal(a->nsteps, 3);
	assert_string_equal(b->name, "b");
	assert_null(b->setup.text);
	assert_null(b->teardown.text);
	assert_int_equal(b->nsteps, 2);
	sqloom_spec_free(spec);
}

static void steps(void **state)
{
	struct sqloom_spec *spec = parse(everything);
	const struct slm_spec_step *step = &spec->sessions[0].steps[1];

	(void)state;
	assert_string_equal(step->name, "a2");
	assert_string_equal(step->sql.text, " UPDATE t SET v = 2 ");
	assert_int_equal(step->sql.size, strlen(step->sql.text));
	assert_string_equal(step->when.text, " :v > 0 ");
	assert_true(step->unobserved);
	assert_int_equal(step->session, 0);
	assert_int_equal(step->index, 1);
	assert_int_equal(step->line, 10);
	assert_int_equal(step->column, 6);
	step = &spec->sessions[1].steps[0];
	assert_string_equal(step->when.text, " 1 ");
	assert_true(step->unobserved);
	assert_int_equal(step->session, 1);
	step = &spec->sessions[1].steps[1];
	assert_int_equal(step->index, 1);
	assert_string_equal(step->sql.text, "");
	assert_null(step->when.text);
	assert_false(step->unobserved);
	sqloom_spec_free(spec);
}

static void permutations(void **state)
{
	struct sqloom_spec *spec = parse(everything);
	const struct slm_spec_permutation *line = &spec->permutations[0];
	const struct slm_spec_session *sessions = spec->sessions;

	(void)state;
	assert_int_equal(spec->npermutations, 2);
	assert_int_equal(line->line, 17);
	assert_int_equal(line->column, 1);
	assert_int_equal(line->nsteps, 5);
	assert_ptr_equal(line->steps[0].step, &sessions[0].steps[0]);
	assert_int_equal(line->steps[0].nblockers, 0);
	assert_int_equal(line->steps[2].nblockers, 1);
	assert_int_equal(line->steps[2].blockers[0].kind, SLM_BLOCKER_STAR);
	assert_null(line->steps[2].blockers[0].step);
	assert_int_equal(line->steps[3].nblockers, 3);
	assert_int_equal(line->steps[3].blockers[0].kind, SLM_BLOCKER_STEP);
	assert_ptr_equal(line->steps[3].blockers[0].step,
			 &sessions[1].steps[0]);
	assert_int_equal(line->steps[3].blockers[1].kind, SLM_BLOCKER_NOTICES);
	assert_int_equal(line->steps[3].blockers[1].notices, 3);
	assert_ptr_equal(line->steps[3].blockers[1].step,
			 &sessions[1].steps[1]);
	assert_int_equal(line->steps[3].blockers[2].kind, SLM_BLOCKER_STAR);
	/* A line may leave steps out and repeat some. */
	assert_int_equal(spec->permutations[1].nsteps, 3);
	assert_ptr_equal(spec->permutations[1].steps[1].step,
			 spec->permutations[1].steps[2].step);
	sqloom_spec_free(spec);
}

static void checks_and_options(void **state)
{
	struct sqloom_spec *spec = parse(everything);
	const struct slm_spec_option *option;

	(void)state;
	assert_int_equal(spec->nchecks, 2);
	assert_string_equal(spec->checks[0].name, "one row");
	assert_string_equal(spec->checks[0].sql.text, " SELECT 1 WHERE 0 ");
	assert_int_equal(spec->checks[0].line, 5);
	assert_int_equal(spec->checks[0].column, 7);
	assert_string_equal(spec->checks[1].name, "second");
	assert_int_equal(spec->noptions, 4);
	option = slm_spec_option(spec, "strict");
	assert_non_null(option);
	assert_int_equal(option->nvalues, 1);
	assert_string_equal(option->values[0], "on");
	assert_int_equal(option->line, 13);
	assert_int_equal(option->column, 8);
	/* The last one of the name. */
	assert_string_equal(slm_spec_option(spec, "ignore")->values[0], "u");
	assert_null(slm_spec_option(spec, "journal"));
	sqloom_spec_free(spec);
}

/* The new words have no meaning where the old language has one. */
static void new_words_are_still_names(void **state)
{
	struct sqloom_spec *spec =
		parse("session check\n"
		      "step check { a }\n"
		      "step unobserved { b }\n"
		      "session option\n"
		      "step option { c }\n"
		      "step when { d }\n"
		      "step strict { e }\n"
		      "permutation check option strict\n"
		      "option when check\n"
		      "unobserved(when)\n"
		      "check \"a check\" { SELECT 1 WHERE 0 }\n");

	(void)state;
	assert_string_equal(spec->sessions[0].name, "check");
	assert_string_equal(spec->sessions[1].name, "option");
	assert_string_equal(spec->sessions[0].steps[1].sql.text, " b ");
	assert_int_equal(spec->npermutations, 1);
	assert_int_equal(spec->permutations[0].nsteps, 7);
	assert_int_equal(spec->noptions, 0);
	assert_int_equal(spec->nchecks, 1);
	sqloom_spec_free(spec);
}

static void an_option_line_ends_a_permutation(void **state)
{
	struct sqloom_spec *spec = parse("session a step s {}\n"
					 "permutation s s\n"
					 "option strict on\n"
					 "permutation s\n");

	(void)state;
	assert_int_equal(spec->npermutations, 2);
	assert_int_equal(spec->permutations[0].nsteps, 2);
	assert_int_equal(spec->noptions, 1);
	sqloom_spec_free(spec);
}

static void windows_files_are_fine(void **state)
{
	struct sqloom_spec *spec = parse("\xef\xbb\xbfsession a\r\n"
					 "step s { SELECT\r\n1 } # x\r\n"
					 "option strict on\r\n");

	(void)state;
	assert_int_equal(spec->sessions[0].line, 1);
	assert_int_equal(spec->sessions[0].column, 9);
	assert_string_equal(spec->sessions[0].steps[0].sql.text,
			    " SELECT\r\n1 ");
	assert_string_equal(spec->options[0].values[0], "on");
	sqloom_spec_free(spec);
}

static void text_need_not_end_in_nul(void **state)
{
	const char text[] = "session a step s {} garbage";
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err;

	(void)state;
	assert_int_equal(sqloom_spec_parse(text, 19, NULL, &spec, &err),
			 SQLOOM_OK);
	assert_string_equal(spec->name, "-");
	assert_int_equal(spec->size, 19);
	assert_string_equal(spec->text, "session a step s {}");
	sqloom_spec_free(spec);
	sqloom_spec_free(NULL);
}

static void a_place_can_be_told_later(void **state)
{
	struct sqloom_spec *spec = parse(everything);
	struct sqloom_error err = { 0 };

	(void)state;
	slm_spec_error_place(spec, 10, 6, &err);
	assert_string_equal(err.path, "t.spec");
	assert_int_equal(err.line, 10);
	assert_int_equal(err.column, 6);
	assert_string_equal(
		err.excerpt,
		"step a2 unobserved when { :v > 0 } { UPDATE t SET v = 2 }\n"
		"     ^");
	sqloom_spec_free(spec);
}

static void running_out_of_memory_is_told_and_leaks_nothing(void **state)
{
	int64_t before = slm_alloc_live();
	enum sqloom_status status;
	uint64_t n = 0;

	(void)state;
	do {
		struct sqloom_spec *spec = NULL;
		struct sqloom_error err = { 0 };

		slm_alloc_fail_from(++n);
		status = sqloom_spec_parse(everything, strlen(everything), "t",
					   &spec, &err);
		slm_alloc_fail_from(0);
		if (status == SQLOOM_OK) {
			sqloom_spec_free(spec);
		} else {
			assert_int_equal(status, SQLOOM_NOMEM);
			assert_int_equal(err.status, SQLOOM_NOMEM);
			assert_null(spec);
		}
		assert_int_equal(slm_alloc_live(), before);
	} while (status != SQLOOM_OK && n < 1000);
	assert_int_equal(status, SQLOOM_OK);
	/* The spec, its arena, and a list of each kind. */
	assert_true(n > 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_and_sessions),
		cmocka_unit_test(steps),
		cmocka_unit_test(permutations),
		cmocka_unit_test(checks_and_options),
		cmocka_unit_test(new_words_are_still_names),
		cmocka_unit_test(an_option_line_ends_a_permutation),
		cmocka_unit_test(windows_files_are_fine),
		cmocka_unit_test(text_need_not_end_in_nul),
		cmocka_unit_test(a_place_can_be_told_later),
		cmocka_unit_test(
			running_out_of_memory_is_told_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
