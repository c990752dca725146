/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examples as tests of the engine: the same seed gives the same bytes, the
 * stores agree, and a fixed example is broken again once its fix is taken out.
 * SQLOOM_EXAMPLES is the folder; meson sets it. The number of workers changes
 * nothing: there the specs of the golden outputs (SQLOOM_SPECS) take part, too.
 */
#include "explore_help.h"

#include <glob.h>

static struct sqloom_spec *read_example(const char *path)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err;

	if (sqloom_spec_read(path, &spec, &err))
		fail_msg("%s: %s", path, err.message);
	return spec;
}

typedef void (*example_fn)(const char *path, const struct sqloom_spec *spec);

static void each_spec(const char *pattern, size_t at_least, example_fn fn)
{
	glob_t found = { 0 };

	glob(pattern, 0, NULL, &found);
	assert_true(found.gl_pathc >= at_least);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct sqloom_spec *spec = read_example(found.gl_pathv[i]);

		fn(found.gl_pathv[i], spec);
		sqloom_spec_free(spec);
	}
	globfree(&found);
}

static void each_example(example_fn fn)
{
	static const char *const patterns[] = { "/*.spec",
						"/django/sql/*.spec" };
	glob_t found = { 0 };
	char pattern[1000];

	for (unsigned i = 0; i < 2; i++) {
		snprintf(pattern, sizeof(pattern), "%s%s", SQLOOM_EXAMPLES,
			 patterns[i]);
		glob(pattern, i ? GLOB_APPEND : 0, NULL, &found);
	}
	assert_true(found.gl_pathc >= 30);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct sqloom_spec *spec = read_example(found.gl_pathv[i]);

		fn(found.gl_pathv[i], spec);
		sqloom_spec_free(spec);
	}
	globfree(&found);
}

static char *trace_text(const struct sqloom_spec *spec,
			const struct sqloom_options *options)
{
	struct sqloom_report *report = explore_spec(spec, options);
	struct sqloom_error err;
	size_t size;
	char *text;

	if (slm_trace_format(&report->trace, &text, &size, &err))
		fail_msg("%s", err.message);
	sqloom_report_free(report);
	return text;
}

static void compare_traces(const char *path, const struct sqloom_spec *spec)
{
	for (int s = SQLOOM_STRATEGY_AUTO; s <= SQLOOM_STRATEGY_PCT; s++) {
		struct sqloom_options options = usual();
		char *first, *again;

		options.strategy = (enum sqloom_strategy)s;
		options.seed = 7;
		options.max_runs = 150;
		first = trace_text(spec, &options);
		again = trace_text(spec, &options);
		if (strcmp(first, again) != 0)
			fail_msg("%s: strategy %d: traces differ", path, s);
		slm_free(first);
		slm_free(again);
	}
}

static void the_same_seed_gives_the_same_bytes(void **state)
{
	(void)state;
	each_example(compare_traces);
}

/* With workers, whole and over budget, in memory and on files. */
static void compare_jobs(const char *path, const struct sqloom_spec *spec)
{
	static const unsigned jobs[] = { 2, 3, 8 };
	static const unsigned runs[] = { 1000, 77, 300, 41, 99 };

	for (int s = SQLOOM_STRATEGY_AUTO; s <= SQLOOM_STRATEGY_PCT; s++) {
		struct sqloom_options options = usual();
		char *one;

		options.strategy = (enum sqloom_strategy)s;
		options.seed = 7;
		options.max_runs = runs[s];
		options.store = s == SQLOOM_STRATEGY_EXHAUSTIVE ?
					SQLOOM_STORE_FILE :
					SQLOOM_STORE_MEMORY;
		one = trace_text(spec, &options);
		for (unsigned i = 0; i < 3; i++) {
			char *many;

			options.jobs = jobs[i];
			many = trace_text(spec, &options);
			if (strcmp(one, many) != 0)
				fail_msg("%s: strategy %d: %u jobs differ",
					 path, s, jobs[i]);
			slm_free(many);
		}
		slm_free(one);
	}
}

static void any_number_of_jobs_gives_the_same_bytes(void **state)
{
	(void)state;
	each_example(compare_jobs);
	each_spec(SQLOOM_SPECS "/*.spec", 15, compare_jobs);
}

static void compare_counts(const char *path, const struct sqloom_report *a,
			   const struct sqloom_report *b)
{
	if (a->trace.verdict != b->trace.verdict ||
	    a->trace.explored != b->trace.explored ||
	    memcmp(a->trace.by_class, b->trace.by_class,
		   sizeof(a->trace.by_class)) != 0)
		fail_msg("%s: the stores do not agree", path);
	assert_int_equal(a->trace.nfindings, b->trace.nfindings);
	for (uint32_t i = 0; i < a->trace.nfindings; i++)
		assert_string_equal(a->trace.findings[i].token,
				    b->trace.findings[i].token);
}

static void compare_stores(const char *path, const struct sqloom_spec *spec)
{
	static const char *const journals[] = { NULL, "wal", "truncate" };
	bool own = slm_spec_option(spec, "journal");

	for (unsigned i = 0; i < (own ? 1 : 3); i++) {
		struct sqloom_options options = usual();
		struct sqloom_report *memory, *file;

		options.journal = journals[i];
		options.max_runs = 60;
		options.strategy = SQLOOM_STRATEGY_EXHAUSTIVE;
		memory = explore_spec(spec, &options);
		options.store = SQLOOM_STORE_FILE;
		file = explore_spec(spec, &options);
		compare_counts(path, memory, file);
		sqloom_report_free(memory);
		sqloom_report_free(file);
	}
}

static void the_stores_agree(void **state)
{
	(void)state;
	each_example(compare_stores);
}

/* One fix, and what was there before it; twice, since both calls have it. */
struct mutation {
	const char *file;
	const char *fixes[2], *without[2];
};

static const struct mutation mutations[] = {
	{ "lost-update-fixed.spec",
	  { "step a_add { UPDATE account SET bal = bal + 10",
	    "step b_add { UPDATE account SET bal = bal + 10" },
	  { "step a_see { SELECT bal FROM account WHERE id = 1 }\n"
	    "step a_add { UPDATE account SET bal = :bal + 10",
	    "step b_see { SELECT bal FROM account WHERE id = 1 }\n"
	    "step b_add { UPDATE account SET bal = :bal + 10" } },
	{ "like-counter-fixed.spec",
	  { "step a_count when { :member IS NOT NULL }\n"
	    "             { UPDATE post SET likes = likes + 1",
	    "step b_count when { :member IS NOT NULL }\n"
	    "             { UPDATE post SET likes = likes + 1" },
	  { "step a_see { SELECT likes FROM post WHERE id = 7 }\n"
	    "step a_count { UPDATE post SET likes = :likes + 1",
	    "step b_see { SELECT likes FROM post WHERE id = 7 }\n"
	    "step b_count { UPDATE post SET likes = :likes + 1" } },
	{ "write-skew-fixed.spec",
	  { "{ BEGIN IMMEDIATE }", "{ COMMIT }" },
	  { "{ SELECT 1 }", "{ SELECT 1 }" } },
	{ "seat-booking-fixed.spec",
	  { "step a_sell   { UPDATE seat SET sold = 1 WHERE seat_no = 'F7' "
	    "AND sold = 0",
	    "step b_sell   { UPDATE seat SET sold = 1 WHERE seat_no = 'F7' "
	    "AND sold = 0" },
	  { "step a_see { SELECT sold FROM seat WHERE seat_no = 'F7' }\n"
	    "step a_sell { UPDATE seat SET sold = 1 WHERE seat_no = 'F7' "
	    "AND NOT :sold",
	    "step b_see { SELECT sold FROM seat WHERE seat_no = 'F7' }\n"
	    "step b_sell { UPDATE seat SET sold = 1 WHERE seat_no = 'F7' "
	    "AND NOT :sold" } },
};

/* Every place of the text where fix stands. */
static char *take_out(char *text, const char *fix, const char *without)
{
	assert_non_null(strstr(text, fix));
	while (strstr(text, fix)) {
		char *next = edited(text, fix, without);

		free(text);
		text = next;
	}
	return text;
}

/* A verdict that cannot turn is worth nothing. */
static void without_its_fix_an_example_is_broken(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(mutations) / sizeof(*mutations); i++) {
		const struct mutation *m = &mutations[i];
		struct sqloom_spec *spec;
		char path[1000], *text;

		snprintf(path, sizeof(path), "%s/%s", SQLOOM_EXAMPLES, m->file);
		spec = read_example(path);
		text = strdup(spec->text);
		sqloom_spec_free(spec);
		if (verdict_of(text, NULL) != SQLOOM_HOLDS)
			fail_msg("%s does not hold", m->file);
		for (unsigned n = 0; n < 2; n++)
			text = take_out(text, m->fixes[n], m->without[n]);
		if (verdict_of(text, NULL) != SQLOOM_BROKEN)
			fail_msg("%s: the fix is not missed", m->file);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_number_of_jobs_gives_the_same_bytes),
		cmocka_unit_test(the_same_seed_gives_the_same_bytes),
		cmocka_unit_test(the_stores_agree),
		cmocka_unit_test(without_its_fix_an_example_is_broken),
	};

	return cmocka_run_group_tests(tests, NULL, nothing_leaks);
}
