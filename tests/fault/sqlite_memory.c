/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite's own allocations: the n-th fails, and only that one, or all after
 * it too. An exploration then ends with SQLOOM_NOMEM, or SQLite coped, or the
 * statement's SQLITE_NOMEM is an error of the run; it never crashes, leaks or
 * says that something holds.
 *
 * A process of its own, since SQLITE_CONFIG_MALLOC is for the whole process.
 */
#include "sweep.h"

#include <sqlite3.h>

static sqlite3_mem_methods system_memory;
static uint64_t count, fail_at;
static bool fail_all_after;

static bool fails(void)
{
	count++;
	return fail_at &&
	       (fail_all_after ? count >= fail_at : count == fail_at);
}

static void *failing_malloc(int size)
{
	return fails() ? NULL : system_memory.xMalloc(size);
}

static void *failing_realloc(void *old, int size)
{
	return fails() ? NULL : system_memory.xRealloc(old, size);
}

static void set_fault(uint64_t n, bool all_after)
{
	count = 0;
	fail_at = n;
	fail_all_after = all_after;
}

static enum sqloom_status explore(const struct sqloom_spec *spec,
				  enum sqloom_verdict *verdict,
				  struct sqloom_error *err)
{
	struct sqloom_options options;
	struct sqloom_report *report = NULL;
	enum sqloom_status status;

	sqloom_options_init(&options);
	options.max_runs = 20;
	status = sqloom_explore(spec, &options, &report, err);
	assert_true((status == SQLOOM_OK) == (report != NULL));
	if (report)
		*verdict = sqloom_report_verdict(report);
	sqloom_report_free(report);
	return status;
}

static void sweep(bool all_after)
{
	struct sqloom_spec *spec = parse(rich_spec);
	struct sqloom_error err;
	enum sqloom_verdict verdict = SQLOOM_HOLDS;
	uint64_t total, step;
	int64_t live, used;

	assert_int_equal(explore(spec, &verdict, &err), SQLOOM_OK);
	assert_int_equal(verdict, SQLOOM_BROKEN);
	live = slm_alloc_live();
	used = sqlite3_memory_used();
	set_fault(0, false);
	assert_int_equal(explore(spec, &verdict, &err), SQLOOM_OK);
	total = count;
	/* Every one of the first, where things are opened; then samples. */
	for (uint64_t n = 1; n <= total; n += step) {
		enum sqloom_status status;

		step = n < 1500 ? 1 : 1 + total / 400;
		set_fault(n, all_after);
		verdict = SQLOOM_BROKEN;
		status = explore(spec, &verdict, &err);
		set_fault(0, false);
		if (status == SQLOOM_INTERNAL || status == SQLOOM_SPEC ||
		    status == SQLOOM_USAGE)
			fail_msg("allocation %d: %s: %s", (int)n,
				 sqloom_status_text(status), err.message);
		if (!status && verdict == SQLOOM_HOLDS)
			fail_msg("allocation %d: it holds?", (int)n);
		if (slm_alloc_live() != live)
			fail_msg("allocation %d: %d blocks left", (int)n,
				 (int)(slm_alloc_live() - live));
		if (sqlite3_memory_used() != used)
			fail_msg("allocation %d: %d bytes left", (int)n,
				 (int)(sqlite3_memory_used() - used));
	}
	print_message("%d allocations of SQLite\n", (int)total);
	sqloom_spec_free(spec);
}

static void one_allocation_fails(void **state)
{
	(void)state;
	sweep(false);
}

static void all_later_allocations_fail(void **state)
{
	(void)state;
	sweep(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_allocation_fails),
		cmocka_unit_test(all_later_allocations_fail),
	};
	sqlite3_mem_methods failing;

	sqlite3_config(SQLITE_CONFIG_GETMALLOC, &system_memory);
	failing = system_memory;
	failing.xMalloc = failing_malloc;
	failing.xRealloc = failing_realloc;
	sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
	/* Without a stock of small pieces every request can fail. */
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
