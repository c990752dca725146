/* SPDX-License-Identifier: Apache-2.0 */
/* What two runs of one order teach. */
#include "builder.h"

static const struct slm_trace_step steps[] = {
	{ "get", "SELECT v, t FROM log", "log", "", 0, false },
	{ "put", "INSERT INTO log VALUES (1, now())", "", "log", 0, false },
};
static const struct slm_trace_call calls[] = { { "alice", steps, 2 } };
static const struct slm_oracle_config config = { .calls = calls, .ncalls = 1 };

/* What a run is made of, so that a test changes one thing. */
struct recipe {
	int v, t, u;	    /* columns of the one row of log */
	int read_v, read_t; /* what get returns */
	int extra_rows;	    /* in log */
	int extra_reads;
	int changes;
	bool skip_put;
	const char *error;
};

static void cook(struct scene *s, const struct recipe *r)
{
	struct slm_value values[8];
	size_t n = 0;

	scene_begin(s, 1);
	for (int i = 0; i <= r->extra_reads; i++) {
		values[n++] = INT(r->read_v);
		values[n++] = INT(r->read_t);
	}
	read_rows(s, 0, 0, "v t", values, n);
	if (r->skip_put)
		skipped(s, 0, 1);
	else if (r->error)
		failed(s, 0, 1, SLM_ERROR_OTHER, r->error, "no");
	else
		changed(s, 0, 1, 1 + r->changes);
	over(s, 0, !r->error);
	table(s, "log", "v t u", -1);
	for (int i = 0; i <= r->extra_rows; i++)
		ROW(s, 0, INT(r->v), INT(r->t), INT(r->u));
}

/* Two runs of one order, by recipes; frees the scenes. */
static bool learn(struct slm_oracle *oracle, const struct recipe *first,
		  const struct recipe *again)
{
	struct scene a, b;
	bool remasked;

	cook(&a, first);
	cook(&b, again);
	remasked = add_pair(oracle, "a", &a, &b);
	scene_end(&a);
	scene_end(&b);
	return remasked;
}

static enum slm_class class_of(struct slm_oracle *oracle,
			       const struct recipe *recipe)
{
	struct scene s;
	enum slm_class class;

	cook(&s, recipe);
	class = judge(oracle, &s).class;
	scene_end(&s);
	return class;
}

static uint32_t notes(struct slm_oracle *oracle, struct slm_arena *arena,
		      const char *const **out)
{
	uint32_t count = 0;

	slm_arena_init(arena);
	assert_int_equal(slm_oracle_notes(oracle, arena, out, &count, NULL),
			 SQLOOM_OK);
	return count;
}

static void one_column(void **state)
{
	struct slm_oracle *oracle = new_oracle(&config);
	const char *const *list;
	struct slm_arena arena;

	(void)state;
	assert_true(learn(oracle, &(struct recipe){ .t = 1 },
			  &(struct recipe){ .t = 2 }));
	assert_false(slm_oracle_unstable(oracle));
	assert_int_equal(class_of(oracle, &(struct recipe){ .t = 77 }),
			 SLM_CLASS_SERIAL);
	assert_int_equal(class_of(oracle, &(struct recipe){ .v = 77 }),
			 SLM_CLASS_CONTENTS);
	assert_int_equal(class_of(oracle, &(struct recipe){ .read_t = 77 }),
			 SLM_CLASS_RESULT);
	assert_int_equal(notes(oracle, &arena, &list), 1);
	assert_string_equal(list[0], "log.t differs between two equal serial "
				     "runs and is compared only as NULL or not "
				     "NULL");
	slm_arena_deinit(&arena);
	slm_oracle_free(oracle);
}

static void several_and_in_results(void **state)
{
	struct slm_oracle *oracle = new_oracle(&config);
	const char *const *list;
	struct slm_arena arena;

	(void)state;
	assert_true(learn(oracle,
			  &(struct recipe){ .t = 1, .u = 5, .read_t = 3 },
			  &(struct recipe){ .t = 2, .u = 6, .read_t = 4 }));
	assert_int_equal(
		class_of(oracle,
			 &(struct recipe){ .t = 9, .u = 9, .read_t = 9 }),
		SLM_CLASS_SERIAL);
	assert_int_equal(class_of(oracle, &(struct recipe){ .read_v = 9 }),
			 SLM_CLASS_RESULT);
	assert_int_equal(notes(oracle, &arena, &list), 3);
	assert_string_equal(list[2],
			    "alice: column t that step get returns differs "
			    "between two equal serial runs and is compared "
			    "only as NULL or not NULL");
	slm_arena_deinit(&arena);
	slm_oracle_free(oracle);
}

/* A mask learned from a later order changes what is kept of the earlier. */
static void growing_masks(void **state)
{
	struct slm_oracle *oracle = new_oracle(&config);
	const struct recipe plain = { .t = 1 }, later = { .t = 2 };

	(void)state;
	assert_false(learn(oracle, &plain, &plain));
	assert_int_equal(class_of(oracle, &later), SLM_CLASS_CONTENTS);
	assert_true(learn(oracle, &(struct recipe){ .v = 8, .t = 1 },
			  &(struct recipe){ .v = 8, .t = 2 }));
	/* Equals the first order now, which was added before the mask. */
	assert_int_equal(class_of(oracle, &later), SLM_CLASS_SERIAL);
	/* What is masked already is no news. */
	assert_false(learn(oracle, &(struct recipe){ .v = 8, .t = 3 },
			   &(struct recipe){ .v = 8, .t = 4 }));
	slm_oracle_free(oracle);
}

static void growing_masks_in_results(void **state)
{
	struct slm_oracle *oracle = new_oracle(&config);
	const struct recipe plain = { .read_t = 1 }, later = { .read_t = 2 };

	(void)state;
	assert_false(learn(oracle, &plain, &plain));
	assert_int_equal(class_of(oracle, &later), SLM_CLASS_RESULT);
	assert_true(learn(oracle, &(struct recipe){ .v = 8, .read_t = 1 },
			  &(struct recipe){ .v = 8, .read_t = 2 }));
	assert_int_equal(class_of(oracle, &later), SLM_CLASS_SERIAL);
	slm_oracle_free(oracle);
}

/* Each difference that cannot be masked, and what the note says. */
static void unstable(void **state)
{
	static const struct {
		struct recipe again;
		const char *what;
	} cases[] = {
		{ { .extra_rows = 1 }, "log has 1 rows, then 2" },
		{ { .extra_reads = 1 },
		  "alice: step get returns 1 rows, then 2" },
		{ { .changes = 1 }, "alice: step put returns something else" },
		{ { .skip_put = true },
		  "alice: step put is skipped only once" },
		{ { .error = "SQLITE_ERROR" },
		  "alice: step put fails only once, or with another error" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slm_oracle *oracle = new_oracle(&config);
		const char *const *list;
		struct slm_arena arena;
		char text[200];

		assert_false(slm_oracle_unstable(oracle));
		learn(oracle, &(struct recipe){ 0 }, &cases[i].again);
		assert_true(slm_oracle_unstable(oracle));
		assert_int_equal(notes(oracle, &arena, &list), 1);
		snprintf(text, sizeof(text),
			 "the calls are not deterministic: in two equal serial "
			 "runs (a), %s",
			 cases[i].what);
		assert_string_equal(list[0], text);
		slm_arena_deinit(&arena);
		/* Told once, however often it is seen. */
		learn(oracle, &(struct recipe){ 0 }, &cases[i].again);
		assert_int_equal(notes(oracle, &arena, &list), 1);
		slm_arena_deinit(&arena);
		slm_oracle_free(oracle);
	}
}

/* The columns agree as multisets, the rows do not: nothing to mask. */
static void paired_otherwise(void **state)
{
	struct slm_oracle *oracle = new_oracle(&config);
	struct scene a, b;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct scene *s = i ? &b : &a;

		scene_begin(s, 1);
		table(s, "log", "v t", -1);
		ROW(s, 0, INT(1), INT(i ? 4 : 3));
		ROW(s, 0, INT(2), INT(i ? 3 : 4));
	}
	assert_false(add_pair(oracle, "a", &a, &b));
	assert_true(slm_oracle_unstable(oracle));
	scene_end(&a);
	scene_end(&b);
	slm_oracle_free(oracle);
}

/* Generated keys that differ between the two runs are neither masked nor
 * unstable: they are named by their rows. */
static void generated_keys_may_differ(void **state)
{
	struct slm_oracle *oracle = new_oracle(&config);
	struct scene a, b;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct scene *s = i ? &b : &a;

		scene_begin(s, 1);
		table(s, "log", "id v", 0);
		table(s, "ref", "id log", 0);
		reference(s, 1, 1, 0);
		NEW(s, 0, INT(7 + i), INT(3));
		NEW(s, 1, INT(i), INT(7 + i));
	}
	assert_false(add_pair(oracle, "a", &a, &b));
	assert_false(slm_oracle_unstable(oracle));
	assert_class(oracle, &b, SERIAL);
	scene_end(&a);
	scene_end(&b);
	slm_oracle_free(oracle);
}

/* What a step that is not observed returns may differ from run to run. */
static void unobserved_may_differ(void **state)
{
	static const bool alice[] = { true, false };
	static const bool *const unobserved[] = { alice };
	struct slm_oracle_config with = config;
	struct slm_oracle *oracle;

	(void)state;
	with.unobserved = unobserved;
	oracle = new_oracle(&with);
	assert_false(learn(oracle, &(struct recipe){ .read_t = 1 },
			   &(struct recipe){ .extra_reads = 2 }));
	assert_false(slm_oracle_unstable(oracle));
	slm_oracle_free(oracle);
}

static void failure_in_every_serial_run(void **state)
{
	struct slm_oracle *oracle = new_oracle(&config);
	const char *const *list;
	struct slm_arena arena;
	const struct recipe bad = { .error = "SQLITE_ERROR" };

	(void)state;
	assert_false(learn(oracle, &bad, &bad));
	assert_int_equal(notes(oracle, &arena, &list), 1);
	assert_string_equal(list[0],
			    "alice fails in every serial run at step put: no");
	slm_arena_deinit(&arena);
	/* Not in every one any more. */
	learn(oracle, &(struct recipe){ 0 }, &(struct recipe){ 0 });
	assert_int_equal(notes(oracle, &arena, &list), 0);
	slm_arena_deinit(&arena);
	slm_oracle_free(oracle);
}

/* log(v, t): rows of two values each, as one call's run, which reads them. */
static void log_of(struct scene *s, const struct slm_value *values)
{
	scene_begin(s, 1);
	read_rows(s, 0, 0, "v t", values, 4);
	changed(s, 0, 1, 1);
	over(s, 0, true);
	table(s, "log", "v t", -1);
	add_row(s, 0, false, values, 2);
	add_row(s, 0, false, values + 2, 2);
}

/* The class of a third run after two serial ones. */
static enum slm_class third(const struct slm_value *one,
			    const struct slm_value *two,
			    const struct slm_value *three, bool *nulls)
{
	struct slm_oracle *oracle = new_oracle(&config);
	const char *const *list;
	struct slm_arena arena;
	struct scene a, b, c;
	enum slm_class class;

	log_of(&a, one);
	log_of(&b, two);
	log_of(&c, three);
	assert_true(add_pair(oracle, "a", &a, &b));
	assert_false(slm_oracle_unstable(oracle));
	assert_class(oracle, &b, SERIAL);
	class = judge(oracle, &c).class;
	assert_int_equal(notes(oracle, &arena, &list), 2);
	*nulls = strstr(list[0], "NULL or not NULL") != NULL;
	assert_int_equal(strstr(list[1], "NULL or not NULL") != NULL, *nulls);
	slm_arena_deinit(&arena);
	scene_end(&a);
	scene_end(&b);
	scene_end(&c);
	slm_oracle_free(oracle);
	return class;
}

/* A NULL is not masked: a time lost is seen, another time is not. */
static void null_in_masked_column(void **state)
{
	const struct slm_value *one = VALUES(INT(1), INT(10), INT(2), NIL);
	const struct slm_value *two = VALUES(INT(1), INT(20), INT(2), NIL);
	bool nulls;

	(void)state;
	assert_int_equal(third(one, two, VALUES(INT(1), NIL, INT(2), NIL),
			       &nulls),
			 SLM_CLASS_CONTENTS);
	assert_true(nulls);
	assert_int_equal(third(one, two, VALUES(INT(1), NIL, INT(2), INT(3)),
			       &nulls),
			 SLM_CLASS_CONTENTS);
	assert_int_equal(third(one, two, VALUES(INT(1), INT(7), INT(2), NIL),
			       &nulls),
			 SLM_CLASS_SERIAL);
}

/* Where NULL comes and goes, or wanders, in equal serial runs, nothing of the
 * column is compared. */
static void null_that_is_unstable(void **state)
{
	const struct slm_value *one = VALUES(INT(1), INT(10), INT(2), NIL);
	const struct slm_value *wanders = VALUES(INT(1), NIL, INT(2), INT(20));
	const struct slm_value *comes = VALUES(INT(1), NIL, INT(2), NIL);
	bool nulls;

	(void)state;
	assert_int_equal(third(one, comes, wanders, &nulls), SLM_CLASS_SERIAL);
	assert_false(nulls);
	assert_int_equal(third(one, wanders, comes, &nulls), SLM_CLASS_SERIAL);
	assert_false(nulls);
}

/* ORDER BY random(): the order is learned not to count. */
static void order_that_is_unstable(void **state)
{
	const struct slm_trace_step step = {
		"s", "SELECT v FROM t ORDER BY random()", "t", "", 0, false
	};
	const struct slm_trace_call call = { "alice", &step, 1 };
	const struct slm_oracle_config with = { .calls = &call, .ncalls = 1 };
	struct slm_oracle *oracle = new_oracle(&with);
	const char *const *list;
	struct slm_arena arena;
	struct scene a, b;

	(void)state;
	scene_begin(&a, 1);
	READ(&a, 0, 0, "v", INT(1), INT(2));
	over(&a, 0, true);
	scene_begin(&b, 1);
	READ(&b, 0, 0, "v", INT(2), INT(1));
	over(&b, 0, true);
	assert_true(add_pair(oracle, "a", &a, &b));
	assert_false(slm_oracle_unstable(oracle));
	assert_class(oracle, &b, SERIAL);
	assert_int_equal(notes(oracle, &arena, &list), 1);
	assert_string_equal(list[0],
			    "alice: the order of the rows that step s returns "
			    "differs between two equal serial runs and is not "
			    "compared");
	slm_arena_deinit(&arena);
	scene_end(&a);
	scene_end(&b);
	slm_oracle_free(oracle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_column),
		cmocka_unit_test(several_and_in_results),
		cmocka_unit_test(growing_masks),
		cmocka_unit_test(growing_masks_in_results),
		cmocka_unit_test(unstable),
		cmocka_unit_test(paired_otherwise),
		cmocka_unit_test(generated_keys_may_differ),
		cmocka_unit_test(unobserved_may_differ),
		cmocka_unit_test(failure_in_every_serial_run),
		cmocka_unit_test(null_in_masked_column),
		cmocka_unit_test(null_that_is_unstable),
		cmocka_unit_test(order_that_is_unstable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
