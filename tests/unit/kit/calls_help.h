/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of concurrent calls share: what there is before a test must be
 * all there is after it: descriptors, threads, children, blocks of memory.
 * Included once per program.
 */
#ifndef SLM_TESTS_CALLS_HELP_H
#define SLM_TESTS_CALLS_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqloom/sqloom.h>

#include <cmocka.h>

#include "base/alloc.h"

#define UNUSED __attribute__((unused))
#define TRIES 10000 /* pauses of a millisecond, then a test gives up */

static int64_t blocks_before;
static int files_before;
static int tasks_before;

static int entries(const char *path)
{
	DIR *dir = opendir(path);
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void pause_briefly(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

static int begin(void **state)
{
	(void)state;
	blocks_before = slm_alloc_live();
	files_before = entries("/proc/self/fd");
	tasks_before = entries("/proc/self/task");
	return 0;
}

/* A thread that is left alone, or was just joined, takes a moment to go. */
static bool wait_for_threads(void)
{
	for (int i = 0; i < TRIES; i++) {
		if (entries("/proc/self/task") <= tasks_before &&
		    slm_alloc_live() <= blocks_before)
			return true;
		pause_briefly();
	}
	return false;
}

static int end(void **state)
{
	int files, left = 0;

	(void)state;
	slm_alloc_fail_from(0);
	if (!wait_for_threads()) {
		print_error("left: %d threads, %d blocks\n",
			    entries("/proc/self/task") - tasks_before,
			    (int)(slm_alloc_live() - blocks_before));
		left = -1;
	}
	files = entries("/proc/self/fd") - files_before;
	if (files != 0) {
		print_error("left: %d descriptors\n", files);
		left = -1;
	}
	if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) {
		print_error("left: a child\n");
		left = -1;
	}
	return left;
}

UNUSED static void *do_nothing(void *arg)
{
	return arg;
}

/* The thread sanitizer starts a thread of its own with the first one. */
UNUSED static int start_first_thread(void **state)
{
	pthread_t thread;

	(void)state;
	if (pthread_create(&thread, NULL, do_nothing, NULL) != 0)
		return -1;
	return pthread_join(thread, NULL);
}

/* Fails with what the library said. */
#define assert_ok(status, err)                                 \
	do {                                                   \
		if ((status) != SQLOOM_OK)                     \
			fail_msg("not ok: %s", (err).message); \
	} while (0)

static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\"\n is not in \"%s\"", part, text);
}

static void assert_value(const struct sqloom_results *results, size_t index,
			 const char *value)
{
	const struct sqloom_result *result = sqloom_results_at(results, index);

	assert_non_null(result);
	if (result->ending != SQLOOM_RETURNED)
		fail_msg("%s: %s", result->name, result->error);
	assert_null(result->error);
	assert_string_equal(result->value, value);
	assert_int_equal(result->size, strlen(value));
}

UNUSED static void assert_failed(const struct sqloom_results *results,
				 size_t index, enum sqloom_ending ending,
				 const char *error)
{
	const struct sqloom_result *result = sqloom_results_at(results, index);

	assert_non_null(result);
	assert_non_null(result->value);
	assert_non_null(result->output);
	if (!result->error)
		fail_msg("%s did not fail", result->name);
	assert_contains(result->error, error);
	assert_int_equal(result->ending, ending);
}

#endif
