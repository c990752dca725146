/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Concurrent calls on threads: what they give back, what is said of those that
 * failed, and that a call which is late takes nothing with it. (test_processes
 * has those in clean processes.)
 */
#include "calls_help.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

/* ---- Threads that cannot be created ------------------------------------ */

static atomic_int created;
static int refuse_from; /* the thread of this number, and later ones; 0: none */
static int refuse_to;
static int late; /* the thread of this number comes late; 0: none */

/* A thread that takes its time to come to what it shall run. */
struct slow {
	void *(*start)(void *);
	void *arg;
};

static atomic_int arrived;

static void *arrive_late(void *userdata)
{
	struct slow slow = *(struct slow *)userdata;

	free(userdata);
	for (int i = 0; i < 20; i++)
		pause_briefly();
	arrived++;
	return slow.start(slow.arg);
}

/* In place of the C library's. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
		   void *(*start)(void *), void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *,
			   void *(*)(void *), void *);
	int number = ++created;
	struct slow *slow;

	if (!real)
		real = (int (*)(pthread_t *, const pthread_attr_t *,
				void *(*)(void *), void *))(
			uintptr_t)dlsym(RTLD_NEXT, "pthread_create");
	if (refuse_from && number >= refuse_from && number <= refuse_to)
		return EAGAIN;
	if (number != late)
		return real(thread, attributes, start, arg);
	slow = malloc(sizeof(*slow));
	*slow = (struct slow){ start, arg };
	return real(thread, attributes, arrive_late, slow);
}

static int begin_threads(void **state)
{
	created = 0;
	refuse_from = refuse_to = late = 0;
	arrived = 0;
	return begin(state);
}

/* ---- Functions that are called ----------------------------------------- */

static int write_number(struct sqloom_call *call, void *arg)
{
	(void)arg;
	sqloom_call_printf(call, "%s is %zu", sqloom_call_name(call),
			   sqloom_call_number(call));
	return 0;
}

/* The odd ones fail, with a message or without. */
static int fail_odd(struct sqloom_call *call, void *arg)
{
	size_t number = sqloom_call_number(call);

	(void)arg;
	sqloom_call_write(call, "seen", 4);
	if (number == 1)
		return sqloom_call_fail(call, "no book %d\nleft", 7);
	return number % 2 ? 17 : 0;
}

static int meet(struct sqloom_call *call, void *arg)
{
	(void)call;
	pthread_barrier_wait(arg);
	return 0;
}

static int count_arrived(struct sqloom_call *call, void *arg)
{
	(void)arg;
	sqloom_call_printf(call, "%d of %d", arrived, created);
	return 0;
}

static int never_called(struct sqloom_call *call, void *arg)
{
	(void)call;
	(void)arg;
	abort();
}

/* ---- Results ----------------------------------------------------------- */

static void test_values_in_order(void **state)
{
	const struct sqloom_function calls[] = {
		{ .fn = write_number, .name = "first" },
		{ .fn = write_number },
		{ .fn = write_number, .name = "third" },
	};
	struct sqloom_results *results;
	struct sqloom_error err;

	(void)state;
	assert_ok(sqloom_make_concurrent_calls(calls, 3, NULL, &results, &err),
		  err);
	assert_int_equal(sqloom_results_count(results), 3);
	assert_int_equal(sqloom_results_failed(results), 0);
	assert_string_equal(sqloom_results_message(results), "");
	assert_value(results, 0, "first is 0");
	assert_value(results, 1, "call 2 is 1");
	assert_value(results, 2, "third is 2");
	assert_string_equal(sqloom_results_at(results, 1)->name, "call 2");
	assert_string_equal(sqloom_results_at(results, 1)->output, "");
	assert_null(sqloom_results_at(results, 3));
	sqloom_results_free(results);
}

static int write_bytes(struct sqloom_call *call, void *arg)
{
	return !sqloom_call_write(call, arg, sqloom_call_number(call) * 3);
}

static void test_value_is_bytes(void **state)
{
	struct sqloom_results *results;
	struct sqloom_error err;
	char bytes[] = "a\0b";

	(void)state;
	assert_ok(sqloom_call_concurrently(2, write_bytes, bytes, 0, NULL,
					   &results, &err),
		  err);
	assert_value(results, 0, "");
	assert_int_equal(sqloom_results_at(results, 1)->size, 3);
	assert_memory_equal(sqloom_results_at(results, 1)->value, "a\0b", 4);
	sqloom_results_free(results);
}

static void test_failures_are_collected(void **state)
{
	struct sqloom_results *results;
	struct sqloom_error err;

	(void)state;
	assert_ok(sqloom_call_concurrently(5, fail_odd, NULL, 0, NULL, &results,
					   &err),
		  err);
	assert_int_equal(sqloom_results_failed(results), 2);
	assert_string_equal(sqloom_results_message(results),
			    "2 of 5 calls failed:\n"
			    "  call 2: no book 7 left\n"
			    "  call 4: it returned 17");
	assert_failed(results, 1, SQLOOM_FAILED, "no book");
	assert_int_equal(sqloom_results_at(results, 1)->status, -1);
	assert_int_equal(sqloom_results_at(results, 3)->status, 17);
	/* What a failed call wrote is there, too. */
	assert_string_equal(sqloom_results_at(results, 1)->value, "seen");
	assert_value(results, 4, "seen");
	sqloom_results_free(results);
}

static void test_nothing_of_null(void **state)
{
	(void)state;
	sqloom_results_free(NULL);
	assert_int_equal(sqloom_results_count(NULL), 0);
	assert_int_equal(sqloom_results_failed(NULL), 0);
	assert_string_equal(sqloom_results_message(NULL), "");
	assert_null(sqloom_results_at(NULL, 0));
}

/* ---- All at once ------------------------------------------------------- */

static void test_all_run_at_once(void **state)
{
	struct sqloom_results *results;
	struct sqloom_error err;
	pthread_barrier_t barrier;

	(void)state;
	pthread_barrier_init(&barrier, NULL, SQLOOM_CALLS_MAX);
	assert_ok(sqloom_call_concurrently(SQLOOM_CALLS_MAX, meet, &barrier, 0,
					   NULL, &results, &err),
		  err);
	assert_int_equal(sqloom_results_failed(results), 0);
	sqloom_results_free(results);
	pthread_barrier_destroy(&barrier);
}

/* None begins before the last one stands ready. */
static void test_released_together(void **state)
{
	struct sqloom_results *results;
	struct sqloom_error err;

	(void)state;
	late = 20;
	assert_ok(sqloom_call_concurrently(20, count_arrived, NULL, 0, NULL,
					   &results, &err),
		  err);
	for (size_t i = 0; i < 20; i++)
		assert_value(results, i, "1 of 20");
	sqloom_results_free(results);
}

/* ---- sqloom_test_concurrently() ---------------------------------------- */

static void test_test_concurrently(void **state)
{
	struct sqloom_error err;

	(void)state;
	assert_ok(sqloom_test_concurrently(1, fail_odd, NULL, &err), err);
	assert_int_equal(sqloom_test_concurrently(5, fail_odd, NULL, &err),
			 SQLOOM_CALL);
	assert_string_equal(err.message,
			    "2 of 5 calls failed: call 2: no book 7 left; "
			    "call 4: it returned 17");
	assert_int_equal(err.status, SQLOOM_CALL);
	assert_int_equal(sqloom_test_concurrently(5, fail_odd, NULL, NULL),
			 SQLOOM_CALL);
}

struct wordy {
	size_t letters;
	const char *letter;
};

static int fail_wordily(struct sqloom_call *call, void *arg)
{
	const struct wordy *wordy = arg;
	char text[SQLOOM_CALL_ERROR_MAX] = "";

	for (size_t i = 0; i < wordy->letters; i++)
		strcat(text, wordy->letter);
	return sqloom_call_fail(call, "%s", text);
}

static void test_whole_failures_then_a_count(void **state)
{
	struct wordy wordy = { 170, "x" };
	struct sqloom_error err;
	char *more;

	(void)state;
	assert_int_equal(sqloom_test_concurrently(12, fail_wordily, &wordy,
						  &err),
			 SQLOOM_CALL);
	more = strstr(err.message, "..., and 9 more");
	assert_non_null(more);
	assert_int_equal(strlen(more), strlen("..., and 9 more"));
	assert_memory_equal(more - 10, "xxxxxxxxxx", 10);
	assert_contains(err.message, "; call 3: xxx");
	assert_null(strstr(err.message, "call 4"));
}

/* Sizes around the limit: nothing is lost without a word. */
static void test_every_size_of_a_line(void **state)
{
	struct wordy wordy = { 0, "x" };
	struct sqloom_error err;

	(void)state;
	for (; wordy.letters < 700; wordy.letters += 7) {
		char two[2048], text[800];

		memset(text, 'x', wordy.letters);
		text[wordy.letters] = '\0';
		snprintf(two, sizeof(two),
			 "2 of 2 calls failed: call 1: %s; call 2: %s", text,
			 text);
		assert_int_equal(sqloom_test_concurrently(2, fail_wordily,
							  &wordy, &err),
				 SQLOOM_CALL);
		if (strlen(two) < sizeof(err.message))
			assert_string_equal(err.message, two);
		else
			assert_contains(err.message, "x..., and 1 more");
	}
}

/* One that is longer than the line is cut, at a whole character. */
static void test_long_failure_is_cut(void **state)
{
	struct sqloom_error err;

	(void)state;
	for (size_t more = 0; more < 3; more++) {
		struct wordy wordy = { 300, "\xe2\x82\xac" };
		char *last;

		assert_int_equal(sqloom_test_concurrently(
					 1 + more, fail_wordily, &wordy, &err),
				 SQLOOM_CALL);
		last = strstr(err.message, "...");
		assert_non_null(last);
		assert_memory_equal(last - 3, "\xe2\x82\xac", 3);
		if (more == 0)
			assert_string_equal(last, "...");
		if (more == 2)
			assert_string_equal(last, "..., and 2 more");
	}
}

/* ---- Values that are too large ----------------------------------------- */

static int write_too_much(struct sqloom_call *call, void *arg)
{
	size_t rest = sqloom_call_number(call); /* of the second: a byte */

	if (!sqloom_call_write(call, arg, SQLOOM_VALUE_MAX))
		return 1;
	return sqloom_call_write(call, "x", rest) == (rest == 0) ? 0 : 2;
}

static void test_largest_value(void **state)
{
	char *bytes = calloc(1, SQLOOM_VALUE_MAX);
	struct sqloom_results *results;
	struct sqloom_error err;

	(void)state;
	assert_ok(sqloom_call_concurrently(2, write_too_much, bytes, 0, NULL,
					   &results, &err),
		  err);
	free(bytes);
	assert_int_equal(sqloom_results_at(results, 0)->size, SQLOOM_VALUE_MAX);
	assert_int_equal(sqloom_results_at(results, 0)->ending,
			 SQLOOM_RETURNED);
	/* Although it returned 0. */
	assert_failed(results, 1, SQLOOM_FAILED, "more than 16777216 bytes");
	sqloom_results_free(results);
}

/* ---- Timeouts ---------------------------------------------------------- */

struct gate {
	sem_t open;
	sem_t entered;
};

static int wait_at_gate(struct sqloom_call *call, void *arg)
{
	struct gate *gate = arg;

	sem_post(&gate->entered);
	if (sqloom_call_number(call) == 1)
		while (sem_wait(&gate->open) != 0)
			;
	/* Everything that it touches must still be there. */
	sqloom_call_printf(call, "%s, %s, %zu", sqloom_call_name(call),
			   sqloom_call_database(call),
			   sqloom_call_number(call));
	return 0;
}

static void test_late_thread(void **state)
{
	char *database = strdup("a.db");
	char *name = strdup("late");
	struct sqloom_calls_options options;
	struct sqloom_results *results;
	struct sqloom_error err;
	struct gate gate;
	struct sqloom_function calls[3] = {
		{ .fn = wait_at_gate, .arg = &gate },
		{ .fn = wait_at_gate, .arg = &gate, .name = name },
		{ .fn = wait_at_gate, .arg = &gate },
	};

	(void)state;
	sem_init(&gate.open, 0, 0);
	sem_init(&gate.entered, 0, 0);
	sqloom_calls_options_init(&options);
	options.timeout_ms = 1500; /* much more than the others need */
	options.database = database;
	assert_ok(sqloom_make_concurrent_calls(calls, 3, &options, &results,
					       &err),
		  err);
	free(database);
	free(name);
	memset(calls, 0xff, sizeof(calls));
	assert_value(results, 0, "call 1, a.db, 0");
	assert_failed(results, 1, SQLOOM_TIMED_OUT,
		      "it had not ended after 1500 ms; a thread cannot be "
		      "killed");
	assert_failed(results, 1, SQLOOM_TIMED_OUT, "sqloom_processes_start()");
	assert_value(results, 2, "call 3, a.db, 2");
	assert_contains(sqloom_results_message(results),
			"1 of 3 calls failed:\n  late: it had not");
	sqloom_results_free(results);
	/* Now it ends, and end() sees that nothing is left. */
	sem_post(&gate.open);
	assert_true(wait_for_threads());
}

static void test_no_timeout(void **state)
{
	const uint64_t none[] = { 0, UINT64_MAX, UINT64_MAX / 2, INT64_MAX };
	struct sqloom_calls_options options;
	struct sqloom_results *results;
	struct sqloom_error err;

	(void)state;
	sqloom_calls_options_init(&options);
	assert_int_equal(options.timeout_ms, 60000);
	assert_null(options.processes);
	assert_null(options.database);
	for (size_t i = 0; i < 4; i++) {
		options.timeout_ms = none[i];
		assert_ok(sqloom_call_concurrently(2, write_number, NULL, 0,
						   &options, &results, &err),
			  err);
		assert_value(results, 1, "call 2 is 1");
		sqloom_results_free(results);
	}
}

/* ---- What a call keeps ------------------------------------------------- */

static __thread int on_this_thread;
static atomic_int dropped;

static void drop(void *kept)
{
	/* Of the same thread, and not before the function has returned. */
	dropped += kept == &on_this_thread && on_this_thread == 2;
}

static int keep_something(struct sqloom_call *call, void *arg)
{
	void **kept = sqloom_call_keep(call, drop);

	(void)arg;
	if (*kept)
		return 1;
	*kept = &on_this_thread;
	on_this_thread = 2;
	return 0;
}

static void test_kept_is_dropped(void **state)
{
	struct sqloom_error err;

	(void)state;
	dropped = 0;
	assert_ok(sqloom_test_concurrently(3, keep_something, NULL, &err), err);
	assert_int_equal(dropped, 3);
}

/* ---- Threads that go astray -------------------------------------------- */

static int leave_by_exit(struct sqloom_call *call, void *arg)
{
	*sqloom_call_keep(call, drop) = &on_this_thread;
	on_this_thread = 2;
	sqloom_call_write(call, "half", 4);
	if (sqloom_call_number(call) == 0)
		pthread_exit(arg);
	return 0;
}

static void test_thread_ends_itself(void **state)
{
	struct sqloom_results *results;
	struct sqloom_error err;

	(void)state;
	dropped = 0;
	assert_ok(sqloom_call_concurrently(2, leave_by_exit, NULL, 0, NULL,
					   &results, &err),
		  err);
	assert_failed(results, 0, SQLOOM_FAILED,
		      "it ended its thread instead of returning");
	assert_value(results, 1, "half");
	assert_int_equal(dropped, 2);
	sqloom_results_free(results);
}

static void test_thread_refused(void **state)
{
	struct sqloom_results *results;
	struct sqloom_error err;

	(void)state;
	refuse_from = refuse_to = 2;
	assert_ok(sqloom_call_concurrently(4, write_number, NULL, 0, NULL,
					   &results, &err),
		  err);
	assert_int_equal(sqloom_results_failed(results), 1);
	assert_failed(results, 1, SQLOOM_LOST,
		      "its thread could not be created: Resource temporarily "
		      "unavailable; make fewer calls at once");
	assert_value(results, 0, "call 1 is 0");
	assert_value(results, 3, "call 4 is 3");
	sqloom_results_free(results);
}

static void test_all_threads_refused(void **state)
{
	struct sqloom_error err;

	(void)state;
	refuse_from = 1;
	refuse_to = 4;
	assert_int_equal(sqloom_test_concurrently(4, never_called, NULL, &err),
			 SQLOOM_CALL);
	assert_contains(err.message, "4 of 4 calls failed: call 1: its thread");
}

/* ---- Calls in calls ---------------------------------------------------- */

static int call_others(struct sqloom_call *call, void *arg)
{
	struct sqloom_results *results;
	struct sqloom_error err;

	(void)arg;
	if (sqloom_call_concurrently(3, write_number, NULL, 0, NULL, &results,
				     &err))
		return sqloom_call_fail(call, "%s", err.message);
	sqloom_call_printf(call, "%s",
			   (const char *)sqloom_results_at(results, 2)->value);
	sqloom_results_free(results);
	return 0;
}

static void test_calls_in_calls(void **state)
{
	struct sqloom_results *results;
	struct sqloom_error err;

	(void)state;
	assert_ok(sqloom_call_concurrently(3, call_others, NULL, 0, NULL,
					   &results, &err),
		  err);
	for (size_t i = 0; i < 3; i++)
		assert_value(results, i, "call 3 is 2");
	sqloom_results_free(results);
}

/* ---- Misuse ------------------------------------------------------------ */

static void refused(const struct sqloom_function *calls, size_t ncalls,
		    const char *message)
{
	struct sqloom_results *results = (struct sqloom_results *)&refuse_to;
	struct sqloom_error err;

	assert_int_equal(sqloom_make_concurrent_calls(calls, ncalls, NULL,
						      &results, &err),
			 SQLOOM_USAGE);
	assert_string_equal(err.message, message);
	assert_ptr_equal(results, &refuse_to);
	assert_int_equal(sqloom_make_concurrent_calls(calls, ncalls, NULL,
						      &results, NULL),
			 SQLOOM_USAGE);
}

static void test_misuse(void **state)
{
	const char *const environment[] = { "A=1", NULL };
	const char *const none[] = { NULL };
	struct sqloom_function calls[2] = { { .fn = never_called },
					    { .name = "odd" } };
	struct sqloom_results *results;
	struct sqloom_error err;

	(void)state;
	refused(calls, 0, "no call was given; at least one is needed");
	refused(NULL, 0, "no call was given; at least one is needed");
	refused(NULL, 2, "calls is NULL, although ncalls is 2");
	refused(calls, 2, "odd has no function: its fn is NULL");
	refused(calls, 1000,
		"1000 calls were given; at most 256 can run at once "
		"(SQLOOM_CALLS_MAX), so make them in several batches");
	calls[1].fn = never_called;
	calls[1].environment = environment;
	refused(calls, 2,
		"odd has an environment of its own, but threads share the "
		"program's; use clean processes (sqloom_processes_start())");
	assert_int_equal(sqloom_make_concurrent_calls(calls, 1, NULL, NULL,
						      &err),
			 SQLOOM_USAGE);
	assert_contains(err.message, "out is NULL");
	assert_int_equal(sqloom_test_concurrently(3, NULL, NULL, &err),
			 SQLOOM_USAGE);
	assert_string_equal(err.message,
			    "call 1 has no function: its fn is NULL");
	assert_int_equal(sqloom_test_concurrently(0, never_called, NULL, &err),
			 SQLOOM_USAGE);
	assert_int_equal(sqloom_test_concurrently(1000, never_called, NULL,
						  &err),
			 SQLOOM_USAGE);
	assert_int_equal(created, 0);
	/* An empty environment asks for nothing. */
	calls[0].fn = write_number;
	calls[0].environment = none;
	assert_ok(sqloom_make_concurrent_calls(calls, 1, NULL, &results, &err),
		  err);
	sqloom_results_free(results);
}

/* ---- Memory ------------------------------------------------------------ */

/* The n-th allocation and all behind it fail; end() counts what is left. */
static void test_out_of_memory(void **state)
{
	struct sqloom_results *results = NULL;
	struct sqloom_calls_options options;
	enum sqloom_status status;
	struct sqloom_error err;
	uint64_t n = 0;

	(void)state;
	sqloom_calls_options_init(&options);
	options.database = "a.db";
	do {
		slm_alloc_fail_from(++n);
		status = sqloom_call_concurrently(3, fail_odd, NULL, 0,
						  &options, &results, &err);
		slm_alloc_fail_from(0);
		if (status) {
			assert_int_equal(status, SQLOOM_NOMEM);
			assert_null(results);
			assert_string_equal(err.message, "out of memory");
			assert_int_equal(slm_alloc_live(), blocks_before);
		}
	} while (status);
	assert_true(n > 10);
	sqloom_results_free(results);
}

static int allocate_nothing(struct sqloom_call *call, void *arg)
{
	(void)arg;
	slm_alloc_fail_from(1);
	sqloom_call_write(call, "x", 1);
	slm_alloc_fail_from(0);
	return 0;
}

static void test_no_memory_for_a_value(void **state)
{
	struct sqloom_results *results;
	struct sqloom_error err;

	(void)state;
	assert_ok(sqloom_call_concurrently(1, allocate_nothing, NULL, 0, NULL,
					   &results, &err),
		  err);
	assert_failed(results, 0, SQLOOM_FAILED, "out of memory for its value");
	sqloom_results_free(results);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_threads, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_values_in_order),
		TEST(test_value_is_bytes),
		TEST(test_failures_are_collected),
		TEST(test_nothing_of_null),
		TEST(test_all_run_at_once),
		TEST(test_released_together),
		TEST(test_test_concurrently),
		TEST(test_whole_failures_then_a_count),
		TEST(test_every_size_of_a_line),
		TEST(test_long_failure_is_cut),
		TEST(test_largest_value),
		TEST(test_late_thread),
		TEST(test_no_timeout),
		TEST(test_kept_is_dropped),
		TEST(test_thread_ends_itself),
		TEST(test_thread_refused),
		TEST(test_all_threads_refused),
		TEST(test_calls_in_calls),
		TEST(test_misuse),
		TEST(test_out_of_memory),
		TEST(test_no_memory_for_a_value),
	};

	return cmocka_run_group_tests(tests, start_first_thread, NULL);
}
