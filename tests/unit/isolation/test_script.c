/* SPDX-License-Identifier: Apache-2.0 */
/* What a spec means for a run: texts, orders, marks, steps that are unused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "isolation/isolation.h"

struct fixture {
	struct slm_arena arena;
	struct sqloom_spec *spec;
	struct slm_iso_script script;
	struct sqloom_error err;
};

static enum sqloom_status make(struct fixture *f, const char *text)
{
	assert_int_equal(sqloom_spec_parse(text, strlen(text), "-", &f->spec,
					   &f->err),
			 SQLOOM_OK);
	slm_arena_init(&f->arena);
	return slm_iso_script_make(&f->arena, f->spec, &f->script, &f->err);
}

static void drop(struct fixture *f)
{
	sqloom_spec_free(f->spec);
	slm_arena_deinit(&f->arena);
	memset(f, 0, sizeof(*f));
}

/* Blanks around a block go, line ends stay. */
static void test_texts(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	assert_int_equal(make(&f, "setup {\t A  }\nsetup{\n B\n }\nteardown { }"
				  "session s setup { C }\n"
				  "step x { D \r\f} step y {} teardown {E}\n"),
			 SQLOOM_OK);
	assert_string_equal(f.script.setups[0], "A");
	assert_string_equal(f.script.setups[1], "\n B\n");
	assert_string_equal(f.script.teardown, "");
	assert_string_equal(f.script.sessions[0].setup, "C");
	assert_string_equal(f.script.sessions[0].teardown, "E");
	assert_string_equal(f.script.sessions[0].steps[0], "D");
	assert_string_equal(f.script.sessions[0].steps[1], "");
	drop(&f);
	assert_int_equal(make(&f, "session s step x { D }"), SQLOOM_OK);
	assert_null(f.script.teardown);
	assert_null(f.script.sessions[0].setup);
	drop(&f);
}

static void test_unused(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	assert_int_equal(make(&f, "session s step z {1} step b {2} step a {3}\n"
				  "session t step m {4}\n"
				  "permutation m b\npermutation b m m\n"),
			 SQLOOM_OK);
	assert_int_equal(f.script.nunused, 2);
	assert_string_equal(f.script.unused[0]->name, "a");
	assert_string_equal(f.script.unused[1]->name, "z");
	drop(&f);
	/* All interleavings use all. */
	assert_int_equal(make(&f, "session s step z {1} step b {2}"),
			 SQLOOM_OK);
	assert_int_equal(f.script.nunused, 0);
	drop(&f);
}

static void names_of(const struct slm_iso_permutation *permutation, char *names)
{
	unsigned i;

	for (i = 0; i < permutation->nsteps; i++)
		names[i] = permutation->steps[i].step->name[0];
	names[i] = '\0';
}

static void test_all_interleavings(void **state)
{
	struct slm_iso_permutation permutation = { 0 };
	struct fixture f = { 0 };
	unsigned n = 0;
	char names[8] = "", before[8] = "";
	bool more;

	(void)state;
	assert_int_equal(make(&f, "session s step a {A} step b {B}\n"
				  "session t step x {X}\n"
				  "session u step p {P} step q {Q}\n"),
			 SQLOOM_OK);
	for (;; n++) {
		assert_int_equal(slm_iso_script_next(&f.script, &f.arena,
						     &permutation, &more,
						     &f.err),
				 SQLOOM_OK);
		if (!more)
			break;
		names_of(&permutation, names);
		if (n == 0)
			assert_string_equal(names, "abxpq");
		assert_string_not_equal(names, before);
		assert_true(strchr(names, 'a') < strchr(names, 'b'));
		assert_true(strchr(names, 'p') < strchr(names, 'q'));
		assert_int_equal(permutation.steps[0].sql[0],
				 names[0] - 'a' + 'A');
		assert_int_equal(permutation.steps[0].nblockers, 0);
		strcpy(before, names);
	}
	assert_int_equal(n, 30); /* 5! / (2! 1! 2!) */
	assert_string_equal(names, "pqxab");
	drop(&f);
}

static void test_line(void **state)
{
	struct slm_iso_permutation permutation = { 0 };
	struct fixture f = { 0 };

	(void)state;
	assert_int_equal(make(&f, "session s step a {A}\n"
				  "session t step x { X }\n"
				  "permutation a\n"
				  "permutation x(*, a notices 2) a x\n"),
			 SQLOOM_OK);
	assert_int_equal(slm_iso_script_line(&f.script, 1, &f.arena,
					     &permutation, &f.err),
			 SQLOOM_OK);
	assert_int_equal(permutation.nsteps, 3);
	assert_int_equal(permutation.line, 4);
	assert_string_equal(permutation.steps[0].sql, "X");
	assert_int_equal(permutation.steps[0].nblockers, 2);
	assert_int_equal(permutation.steps[0].blockers[1].notices, 2);
	assert_int_equal(permutation.steps[2].nblockers, 0);
	/* Equal steps, each with a life of its own. */
	assert_ptr_equal(permutation.steps[0].step, permutation.steps[2].step);
	drop(&f);
}

static void test_condition_is_refused(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	assert_int_equal(make(&f, "session s\nstep a when { 1 } {A}"),
			 SQLOOM_UNSUPPORTED);
	assert_int_equal(f.err.line, 2);
	assert_non_null(strstr(f.err.message, "\"a\""));
	drop(&f);
}

/* Each allocation fails in turn. */
static void test_memory_is_out(void **state)
{
	static const char text[] = "setup {S} session s setup {T} step a {A}\n"
				   "session t step x {X} teardown {U}\n"
				   "permutation a x(a)\n";
	struct slm_iso_permutation permutation = { 0 };
	enum sqloom_status status = SQLOOM_NOMEM;
	struct fixture f = { 0 };

	(void)state;
	assert_int_equal(sqloom_spec_parse(text, strlen(text), "-", &f.spec,
					   &f.err),
			 SQLOOM_OK);
	for (unsigned n = 1; status; n++) {
		slm_arena_init(&f.arena);
		slm_alloc_fail_from(n);
		status = slm_iso_script_make(&f.arena, f.spec, &f.script,
					     &f.err);
		if (!status)
			status = slm_iso_script_line(&f.script, 0, &f.arena,
						     &permutation, &f.err);
		slm_alloc_fail_from(0);
		assert_true(!status || status == SQLOOM_NOMEM);
		slm_arena_deinit(&f.arena);
	}
	sqloom_spec_free(f.spec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_unused),
		cmocka_unit_test(test_all_interleavings),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_condition_is_refused),
		cmocka_unit_test(test_memory_is_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
