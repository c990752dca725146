/* SPDX-License-Identifier: Apache-2.0 */
/* The list of generated keys, without a database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "db/sqlite_internal.h"

static void release(struct sqlite *db)
{
	slm_free(db->generated);
	slm_free(db->generated_chains);
}

static void the_newest_owner_of_a_key_is_found(void **state)
{
	struct sqlite db = { 0 };

	(void)state;
	assert_null(slm_generated_find(&db, 0, 7));
	slm_generated_add(&db, 0, 0, 7);
	slm_generated_add(&db, 1, 0, 7); /* the other one was rolled back */
	slm_generated_add(&db, 1, 0, 8);
	slm_generated_add(&db, 0, 2, 7);
	assert_int_equal(slm_generated_find(&db, 0, 7)->call, 1);
	assert_int_equal(slm_generated_find(&db, 0, 7)->ordinal, 1);
	assert_int_equal(slm_generated_find(&db, 0, 8)->ordinal, 2);
	assert_int_equal(slm_generated_find(&db, 2, 7)->call, 0);
	assert_null(slm_generated_find(&db, 1, 7));
	release(&db);
}

static void nothing_of_the_run_before_is_found(void **state)
{
	struct sqlite db = { 0 };

	(void)state;
	for (int i = 0; i < 100; i++)
		slm_generated_add(&db, 0, 0, i);
	slm_generated_clear(&db);
	slm_generated_add(&db, 1, 0, 50);
	assert_int_equal(slm_generated_find(&db, 0, 50)->call, 1);
	assert_int_equal(slm_generated_find(&db, 0, 50)->ordinal, 1);
	for (int i = 0; i < 100; i++)
		if (i != 50)
			assert_null(slm_generated_find(&db, 0, i));
	release(&db);
}

/* A look at all keys for each of them would not end in time. */
static void many_keys_are_found(void **state)
{
	static const int many = 2000000;
	struct sqlite db = { 0 };

	(void)state;
	for (int i = 0; i < many; i++)
		slm_generated_add(&db, 0, 0, i);
	for (int i = 0; i < many; i++)
		if (slm_generated_find(&db, 0, i) != &db.generated[i])
			fail_msg("key %d", i);
	assert_false(db.failed_generated);
	release(&db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_owner_of_a_key_is_found),
		cmocka_unit_test(nothing_of_the_run_before_is_found),
		cmocka_unit_test(many_keys_are_found),
	};

	return cmocka_run_group_tests_name("sqlite_generated", tests, NULL,
					   NULL);
}
