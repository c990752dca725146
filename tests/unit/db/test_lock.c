/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock table: what is allowed, and that the blockers are exactly those
 * whose going away lets a refused lock through. (That the rules are SQLite's
 * own is tested by test_store_rules.c.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>
#include <string.h>
#include <cmocka.h>

#include "base/hash.h"
#include "db/sqlite_lock.h"

#define HANDLES 4
#define S SQLITE_LOCK_SHARED
#define R SQLITE_LOCK_RESERVED
#define P SQLITE_LOCK_PENDING
#define X SQLITE_LOCK_EXCLUSIVE

struct setting {
	struct slm_lock_table table;
	struct slm_lock_file file;
	struct slm_lock_handle handles[HANDLES];
};

static void set_up(struct setting *setting)
{
	memset(setting, 0, sizeof(*setting));
	strcpy(setting->file.label, "main");
	for (unsigned i = 0; i < HANDLES; i++)
		slm_lock_open(&setting->table, &setting->handles[i],
			      &setting->file, i);
}

static bool ask(struct setting *setting, unsigned i, int level)
{
	bool granted = slm_lock_allowed(&setting->handles[i], level);

	slm_lock_record(&setting->table, &setting->handles[i], level, granted);
	if (!granted && setting->handles[0].owner < HANDLES)
		assert_int_not_equal(slm_lock_blockers(&setting->table, i), 0);
	return granted;
}

static bool ask_slots(struct setting *setting, unsigned i, uint8_t slots,
		      bool exclusively)
{
	struct slm_lock_handle *handle = &setting->handles[i];
	bool granted = slm_lock_slots_allowed(handle, slots, exclusively);

	slm_lock_record_slots(&setting->table, handle, slots, exclusively,
			      granted);
	if (!granted)
		assert_int_not_equal(slm_lock_blockers(&setting->table, i), 0);
	return granted;
}

static void test_writer_waits_for_readers(void **state)
{
	struct setting s;
	char text[SLM_LOCK_TEXT];

	(void)state;
	set_up(&s);
	assert_true(ask(&s, 0, S) && ask(&s, 1, S) && ask(&s, 2, S));
	assert_true(ask(&s, 0, R));
	assert_int_equal(slm_lock_blockers(&s.table, 0), 0);
	assert_false(ask(&s, 0, X));
	assert_int_equal(s.handles[0].level, P);
	assert_int_equal(slm_lock_blockers(&s.table, 0), 1 << 1 | 1 << 2);
	slm_lock_describe(&s.table, 0, text);
	assert_string_equal(text, "the EXCLUSIVE lock on main");
	/* PENDING keeps a new reader out; only its holder is in the way. */
	assert_false(ask(&s, 3, S));
	assert_int_equal(slm_lock_blockers(&s.table, 3), 1 << 0);
	slm_lock_lower(&s.table, &s.handles[1], SQLITE_LOCK_NONE);
	assert_int_equal(slm_lock_blockers(&s.table, 0), 1 << 2);
	slm_lock_lower(&s.table, &s.handles[2], SQLITE_LOCK_NONE);
	assert_int_equal(slm_lock_blockers(&s.table, 0), 0);
	assert_true(slm_lock_waits(&s.table, 0));
	assert_true(ask(&s, 0, X));
	assert_false(slm_lock_waits(&s.table, 0));
}

static void test_reserved_is_for_one(void **state)
{
	struct setting s;

	(void)state;
	set_up(&s);
	assert_true(ask(&s, 0, S) && ask(&s, 1, S) && ask(&s, 2, S));
	assert_true(ask(&s, 1, R));
	assert_false(ask(&s, 0, R));
	/* The reader is not in the way of RESERVED. */
	assert_int_equal(slm_lock_blockers(&s.table, 0), 1 << 1);
	/* A loser that let everything go waits for the same one. */
	slm_lock_lower(&s.table, &s.handles[0], SQLITE_LOCK_NONE);
	assert_int_equal(slm_lock_blockers(&s.table, 0), 1 << 1);
	assert_true(slm_lock_holds(&s.table, 1));
	slm_lock_lower(&s.table, &s.handles[1], SQLITE_LOCK_SHARED);
	assert_int_equal(slm_lock_blockers(&s.table, 0), 0);
}

static void test_refused_reader(void **state)
{
	struct setting s;

	(void)state;
	for (int pends = 0; pends < 2; pends++) {
		set_up(&s);
		s.table.reader_pends = pends;
		assert_true(ask(&s, 0, S) && ask(&s, 1, S));
		assert_false(ask(&s, 0, X));
		assert_int_equal(s.handles[0].level, pends ? P : S);
		assert_int_equal(slm_lock_blockers(&s.table, 0), 1 << 1);
	}
}

static void test_slots(void **state)
{
	struct setting s;
	char text[SLM_LOCK_TEXT];

	(void)state;
	set_up(&s);
	assert_true(ask_slots(&s, 0, 1 << 3, false));
	assert_true(ask_slots(&s, 1, 1 << 3, false));
	assert_true(ask_slots(&s, 1, 1 << 0, true));
	assert_false(ask_slots(&s, 2, 1 << 0, true));
	assert_int_equal(slm_lock_blockers(&s.table, 2), 1 << 1);
	slm_lock_describe(&s.table, 2, text);
	assert_string_equal(text, "the write lock of main's WAL");
	assert_false(ask_slots(&s, 3, 0xf8, true));
	assert_int_equal(slm_lock_blockers(&s.table, 3), 1 << 0 | 1 << 1);
	slm_lock_release_slots(&s.table, &s.handles[1], 0xff);
	assert_int_equal(slm_lock_blockers(&s.table, 2), 0);
	assert_int_equal(slm_lock_blockers(&s.table, 3), 1 << 0);
}

static void test_lasting_lock(void **state)
{
	struct setting s;

	(void)state;
	set_up(&s);
	assert_true(ask(&s, 0, S));
	assert_true(slm_lock_holds(&s.table, 0));
	s.handles[0].mapped = true; /* an open WAL keeps SHARED for good */
	assert_false(slm_lock_holds(&s.table, 0));
	assert_true(ask_slots(&s, 0, 1 << 4, false));
	assert_true(slm_lock_holds(&s.table, 0));
}

static void test_close(void **state)
{
	struct setting s;
	uint64_t before;

	(void)state;
	set_up(&s);
	assert_true(ask(&s, 0, S) && ask(&s, 0, R) && ask(&s, 0, X));
	assert_false(ask(&s, 1, S));
	before = s.table.releases;
	slm_lock_close(&s.table, &s.handles[0]);
	assert_true(s.table.releases > before);
	assert_int_equal(slm_lock_blockers(&s.table, 1), 0);
	assert_true(slm_lock_waits(&s.table, 1));
	slm_lock_close(&s.table, &s.handles[1]);
	assert_false(slm_lock_waits(&s.table, 1));
	slm_lock_close(&s.table, &s.handles[1]);
	slm_lock_close(&s.table, &s.handles[3]);
	slm_lock_close(&s.table, &s.handles[2]);
	assert_null(s.table.open);
	assert_null(s.file.handles);
}

static void test_nobody(void **state)
{
	struct setting s;

	(void)state;
	set_up(&s);
	s.handles[0].owner = SLM_LOCK_NOBODY;
	assert_true(ask(&s, 0, S) && ask(&s, 0, R) && ask(&s, 0, X));
	assert_false(ask(&s, 1, S));
	assert_int_equal(slm_lock_blockers(&s.table, 1), 0);
	assert_false(slm_lock_waits(&s.table, SLM_LOCK_NOBODY));
	slm_lock_forget(&s.table, SLM_LOCK_NOBODY);
}

/* Refused if and only if there are blockers, and free once they are gone. */
static void check_exact(const struct setting *setting, unsigned i)
{
	struct setting copy = *setting;
	uint32_t blockers = slm_lock_blockers(&setting->table, i);
	const struct slm_lock_wait wait = setting->table.waits[i];
	bool is_file = wait.level != SQLITE_LOCK_NONE;

	if (!slm_lock_waits(&setting->table, i))
		return;
	copy.file.handles = NULL;
	for (unsigned h = 0; h < HANDLES; h++) {
		copy.handles[h].file = &copy.file;
		copy.handles[h].next = NULL;
		if (blockers & 1u << h)
			continue;
		copy.handles[h].next = copy.file.handles;
		copy.file.handles = &copy.handles[h];
	}
	/* Without the blockers it is allowed ... */
	assert_true(is_file ?
			    slm_lock_allowed(&copy.handles[i], wait.level) :
			    slm_lock_slots_allowed(&copy.handles[i], wait.slots,
						   wait.exclusively));
	/* ... and with any one of them it is not. */
	for (unsigned h = 0; h < HANDLES; h++) {
		if (!(blockers & 1u << h))
			continue;
		copy.handles[h].next = &copy.handles[i];
		copy.handles[i].next = NULL;
		copy.file.handles = &copy.handles[h];
		assert_false(
			is_file ?
				slm_lock_allowed(&copy.handles[i], wait.level) :
				slm_lock_slots_allowed(&copy.handles[i],
						       wait.slots,
						       wait.exclusively));
	}
}

static int next_level(int level, uint64_t choice)
{
	if (level == SQLITE_LOCK_NONE)
		return S;
	if (level == S)
		return choice % 3 ? R : X;
	return X;
}

static void random_step(struct setting *s, struct slm_rng *rng)
{
	unsigned i = (unsigned)slm_rng_below(rng, HANDLES);
	struct slm_lock_handle *handle = &s->handles[i];
	uint64_t choice = slm_rng_next(rng);
	uint8_t slot = (uint8_t)(1u << slm_rng_below(rng, 8));
	uint8_t held = handle->shared | handle->exclusive;

	switch (slm_rng_below(rng, 5)) {
	case 0:
	case 1:
		ask(s, i, next_level(handle->level, choice));
		break;
	case 2:
		slm_lock_lower(&s->table, handle, choice & 1 ? S : 0);
		break;
	case 3:
		if (!(held & slot))
			ask_slots(s, i, slot, choice & 1);
		break;
	default:
		slm_lock_release_slots(&s->table, handle,
				       choice & 1 ? slot : 0xff);
	}
}

static void test_blockers_are_exact(void **state)
{
	struct setting s;
	struct slm_rng rng;

	(void)state;
	set_up(&s);
	slm_rng_init(&rng, 3);
	for (int step = 0; step < 100000; step++) {
		random_step(&s, &rng);
		for (unsigned i = 0; i < HANDLES; i++)
			check_exact(&s, i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writer_waits_for_readers),
		cmocka_unit_test(test_reserved_is_for_one),
		cmocka_unit_test(test_refused_reader),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_lasting_lock),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_blockers_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
