/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loom: every cell of its table of moves, scenarios of two and three
 * calls, and long random sequences of legal and illegal events.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "loom/loom.h"

#define ALL UINT32_MAX

/* ---- Helpers ------------------------------------------------------------- */

static void expect_call(struct slm_loom *loom, enum slm_loom_order_kind kind,
			unsigned call)
{
	struct slm_loom_order order = slm_loom_next(loom);

	assert_int_equal(order.kind, kind);
	assert_int_equal(order.call, call);
}

static void expect_choice(struct slm_loom *loom, uint32_t enabled, int previous)
{
	struct slm_loom before = *loom;
	struct slm_loom_order order = slm_loom_next(loom);

	assert_int_equal(order.kind, SLM_ORDER_CHOOSE);
	assert_int_equal(order.enabled, enabled);
	assert_int_equal(order.previous, previous);
	assert_memory_equal(&before, loom, sizeof(before));
}

static void expect_kind(struct slm_loom *loom, enum slm_loom_order_kind kind)
{
	struct slm_loom before = *loom;

	assert_int_equal(slm_loom_next(loom).kind, kind);
	assert_memory_equal(&before, loom, sizeof(before));
}

/* Starts the call that is due and lets it arrive at a choice point. */
static void start_to_step(struct slm_loom *loom, unsigned call)
{
	expect_call(loom, SLM_ORDER_START, call);
	assert_true(slm_loom_arrive(loom, call, false));
}

static void grant_to_step(struct slm_loom *loom, unsigned call)
{
	assert_true(slm_loom_grant(loom, call));
	expect_call(loom, SLM_ORDER_WAIT, call);
	assert_true(slm_loom_arrive(loom, call, false));
}

static void grant_to_end(struct slm_loom *loom, unsigned call)
{
	assert_true(slm_loom_grant(loom, call));
	assert_true(slm_loom_finished(loom, call));
}

/* ---- The table ----------------------------------------------------------- */

/* The states that matter to the table: AT_STEP counts twice. */
enum place { WAITING, RUNNING, AT_STEP, AT_LOCAL, BLOCKED, STALLED, FINISHED };
#define PLACES (FINISHED + 1)

enum event {
	GRANT,
	ARRIVE,
	ARRIVE_LOCAL,
	BLOCK,
	UNBLOCK,
	STALL,
	FINISH,
};
#define EVENTS (FINISH + 1)

/* What the rest of the loom does meanwhile. */
enum others { OTHERS_SETTLED, OTHER_RUNNING, OTHER_LOCAL, OTHER_WAITING };
#define OTHERS (OTHER_WAITING + 1)

#define NO (-1)

/* Where the event leads when all other calls are settled. */
static const int expected[EVENTS][PLACES] = {
	/* WAITING, RUNNING, AT_STEP, AT_LOCAL, BLOCKED, STALLED, FINISHED */
	[GRANT] = { NO, NO, RUNNING, NO, NO, NO, NO },
	[ARRIVE] = { NO, AT_STEP, NO, NO, NO, NO, NO },
	[ARRIVE_LOCAL] = { NO, AT_LOCAL, NO, NO, NO, NO, NO },
	[BLOCK] = { NO, BLOCKED, NO, NO, NO, NO, NO },
	[UNBLOCK] = { NO, NO, NO, NO, RUNNING, RUNNING, NO },
	[STALL] = { NO, STALLED, NO, NO, NO, NO, NO },
	[FINISH] = { NO, FINISHED, NO, NO, NO, NO, NO },
};

static bool deliver(struct slm_loom *loom, unsigned call, enum event event)
{
	switch (event) {
	case GRANT:
		return slm_loom_grant(loom, call);
	case ARRIVE:
		return slm_loom_arrive(loom, call, false);
	case ARRIVE_LOCAL:
		return slm_loom_arrive(loom, call, true);
	case BLOCK:
		return slm_loom_blocked(loom, call);
	case UNBLOCK:
		return slm_loom_unblocked(loom, call);
	case STALL:
		return slm_loom_stalled(loom, call);
	case FINISH:
		return slm_loom_finished(loom, call);
	}
	fail();
	return false;
}

static enum place place_of(const struct slm_loom *loom, unsigned call)
{
	switch (loom->state[call]) {
	case SLM_CALL_WAITING:
		return WAITING;
	case SLM_CALL_RUNNING:
		return RUNNING;
	case SLM_CALL_AT_STEP:
		return loom->local & (1u << call) ? AT_LOCAL : AT_STEP;
	case SLM_CALL_BLOCKED:
		return BLOCKED;
	case SLM_CALL_STALLED:
		return STALLED;
	case SLM_CALL_FINISHED:
		return FINISHED;
	}
	fail();
	return WAITING;
}

/* From RUNNING into any place that a running call can go to. */
static void settle(struct slm_loom *loom, unsigned call, enum place place)
{
	static const enum event way[PLACES] = {
		[AT_STEP] = ARRIVE,  [AT_LOCAL] = ARRIVE_LOCAL,
		[BLOCKED] = BLOCK,   [STALLED] = STALL,
		[FINISHED] = FINISH,
	};

	assert_true(place >= AT_STEP);
	assert_true(deliver(loom, call, way[place]));
}

/* The subject waits while the other one, which was started first, does what
 * it is to do. */
static void set_up_waiting(struct slm_loom *loom, enum others others)
{
	expect_call(loom, SLM_ORDER_START, 0);
	if (others != OTHER_RUNNING)
		settle(loom, 0, others == OTHER_LOCAL ? AT_LOCAL : AT_STEP);
}

/*
 * Three calls: 0 is the other one, 1 the subject, 2 waits or is no member.
 * False if there is no such situation.
 */
static bool set_up(struct slm_loom *loom, enum place place, enum others others)
{
	if (place == RUNNING && others == OTHER_RUNNING)
		return false;
	memset(loom, 0, sizeof(*loom));
	slm_loom_begin(loom, 3, others == OTHER_WAITING ? 7 : 3);
	if (place == WAITING) {
		set_up_waiting(loom, others);
		return true;
	}
	expect_call(loom, SLM_ORDER_START, 0);
	settle(loom, 0, BLOCKED);
	expect_call(loom, SLM_ORDER_START, 1);
	settle(loom, 1, place == RUNNING ? BLOCKED : place);
	if (others == OTHER_RUNNING || others == OTHER_LOCAL)
		assert_true(slm_loom_unblocked(loom, 0));
	if (others == OTHER_LOCAL)
		settle(loom, 0, AT_LOCAL);
	return place != RUNNING || slm_loom_unblocked(loom, 1);
}

static int expected_place(enum place place, enum event event,
			  enum others others)
{
	int to = expected[event][place];

	/* Never two running; no grant before all are settled. */
	if (others == OTHER_RUNNING && to == RUNNING)
		return NO;
	if (event == GRANT && others != OTHERS_SETTLED)
		return NO;
	return to;
}

static unsigned check_cell(enum place place, enum event event,
			   enum others others)
{
	struct slm_loom loom, before;
	int to;
	bool ok;

	if (!set_up(&loom, place, others))
		return 0;
	assert_int_equal(place_of(&loom, 1), place);
	before = loom;
	to = expected_place(place, event, others);
	ok = deliver(&loom, 1, event);
	if (ok != (to != NO))
		fail_msg("place %d, event %d, others %d", place, event, others);
	if (to == NO) {
		assert_memory_equal(&before, &loom, sizeof(loom));
		return 1;
	}
	assert_int_equal(place_of(&loom, 1), to);
	assert_int_equal(loom.state[0], before.state[0]);
	assert_int_equal(loom.state[2], before.state[2]);
	assert_int_equal(loom.previous, event == GRANT ? 1 : before.previous);
	assert_int_equal(loom.had_stall, before.had_stall || event == STALL);
	return 1;
}

static void test_every_cell(void **state)
{
	unsigned cells = 0;

	(void)state;
	for (int place = 0; place < PLACES; place++)
		for (int event = 0; event < EVENTS; event++)
			for (int others = 0; others < OTHERS; others++)
				cells += check_cell((enum place)place,
						    (enum event)event,
						    (enum others)others);
	/* Only two calls running at once cannot be set up. */
	assert_int_equal(cells, EVENTS * (PLACES * OTHERS - 1));
}

static void test_no_such_call_is_refused(void **state)
{
	struct slm_loom loom, before;

	(void)state;
	slm_loom_begin(&loom, 2, ALL);
	before = loom;
	for (int event = 0; event < EVENTS; event++) {
		assert_false(deliver(&loom, 2, (enum event)event));
		assert_false(deliver(&loom, 16, (enum event)event));
		assert_false(deliver(&loom, 31, (enum event)event));
		assert_false(deliver(&loom, UINT32_MAX, (enum event)event));
	}
	assert_memory_equal(&before, &loom, sizeof(loom));
	/* Nor one past the end, whatever lies there. */
	slm_loom_begin(&loom, SLM_LOOM_CALLS_MAX, 1);
	for (int event = 0; event < EVENTS; event++)
		assert_false(
			deliver(&loom, SLM_LOOM_CALLS_MAX, (enum event)event));
}

/* ---- Scenarios ----------------------------------------------------------- */

static void test_two_calls(void **state)
{
	struct slm_loom loom;

	(void)state;
	slm_loom_begin(&loom, 2, ALL);
	start_to_step(&loom, 0);
	start_to_step(&loom, 1);
	expect_choice(&loom, 3, -1);
	grant_to_step(&loom, 1);
	expect_choice(&loom, 3, 1);
	grant_to_end(&loom, 0);
	/* One enabled call is a choice too. */
	expect_choice(&loom, 2, 0);
	grant_to_end(&loom, 1);
	expect_kind(&loom, SLM_ORDER_DONE);
	assert_int_equal(loom.finished, 2);
	assert_false(loom.had_stall);
}

/* A call that ends, blocks or stalls while it starts lets the next one start;
 * no choice before all have been started. */
static void test_starts_one_after_another(void **state)
{
	struct slm_loom loom;

	(void)state;
	slm_loom_begin(&loom, 4, ALL);
	expect_call(&loom, SLM_ORDER_START, 0);
	expect_call(&loom, SLM_ORDER_WAIT, 0);
	assert_true(slm_loom_finished(&loom, 0));
	expect_call(&loom, SLM_ORDER_START, 1);
	assert_true(slm_loom_blocked(&loom, 1));
	expect_call(&loom, SLM_ORDER_START, 2);
	assert_true(slm_loom_stalled(&loom, 2));
	start_to_step(&loom, 3);
	expect_choice(&loom, 8, -1);
}

static void test_local_steps_are_no_choice(void **state)
{
	struct slm_loom loom;

	(void)state;
	slm_loom_begin(&loom, 2, ALL);
	expect_call(&loom, SLM_ORDER_START, 0);
	assert_true(slm_loom_arrive(&loom, 0, true));
	/* Two local steps in a row, before the other call is started. */
	expect_call(&loom, SLM_ORDER_GO, 0);
	assert_true(slm_loom_arrive(&loom, 0, true));
	expect_call(&loom, SLM_ORDER_GO, 0);
	assert_true(slm_loom_arrive(&loom, 0, false));
	start_to_step(&loom, 1);
	expect_choice(&loom, 3, -1);
	assert_true(slm_loom_grant(&loom, 1));
	assert_true(slm_loom_arrive(&loom, 1, true));
	assert_false(slm_loom_grant(&loom, 0));
	expect_call(&loom, SLM_ORDER_GO, 1);
	assert_true(slm_loom_finished(&loom, 1));
	/* A local step is no grant. */
	expect_choice(&loom, 1, 1);
	grant_to_end(&loom, 0);
	expect_kind(&loom, SLM_ORDER_DONE);
}

static void test_blocked_call_resumes(void **state)
{
	struct slm_loom loom;

	(void)state;
	slm_loom_begin(&loom, 3, ALL);
	for (unsigned i = 0; i < 3; i++)
		start_to_step(&loom, i);
	grant_to_step(&loom, 0); /* takes the lock */
	assert_true(slm_loom_grant(&loom, 2));
	assert_true(slm_loom_blocked(&loom, 2));
	expect_choice(&loom, 3, 2);
	assert_true(slm_loom_grant(&loom, 1));
	assert_true(slm_loom_blocked(&loom, 1));
	assert_int_equal(loom.blocked, 6);
	expect_choice(&loom, 1, 1);
	/* The holder ends. Both go on, one after another, in the order the
	 * database says: 2 before 1. */
	assert_true(slm_loom_grant(&loom, 0));
	assert_false(slm_loom_unblocked(&loom, 2));
	assert_true(slm_loom_finished(&loom, 0));
	assert_true(slm_loom_unblocked(&loom, 2));
	expect_call(&loom, SLM_ORDER_WAIT, 2);
	assert_false(slm_loom_unblocked(&loom, 1));
	assert_true(slm_loom_arrive(&loom, 2, false));
	assert_true(slm_loom_unblocked(&loom, 1));
	/* It runs into the next lock at once. */
	assert_true(slm_loom_blocked(&loom, 1));
	expect_choice(&loom, 4, 0);
	grant_to_end(&loom, 2);
	assert_true(slm_loom_unblocked(&loom, 1));
	assert_true(slm_loom_finished(&loom, 1));
	expect_kind(&loom, SLM_ORDER_DONE);
}

static void test_deadlock_is_stuck(void **state)
{
	struct slm_loom loom;

	(void)state;
	slm_loom_begin(&loom, 2, ALL);
	start_to_step(&loom, 0);
	start_to_step(&loom, 1);
	assert_true(slm_loom_grant(&loom, 0));
	assert_true(slm_loom_blocked(&loom, 0));
	assert_true(slm_loom_grant(&loom, 1));
	assert_true(slm_loom_blocked(&loom, 1));
	expect_kind(&loom, SLM_ORDER_STUCK);
	/* The database picks a victim; the other one goes on. */
	assert_true(slm_loom_unblocked(&loom, 1));
	assert_true(slm_loom_finished(&loom, 1));
	expect_kind(&loom, SLM_ORDER_STUCK);
	assert_true(slm_loom_unblocked(&loom, 0));
	assert_true(slm_loom_finished(&loom, 0));
	expect_kind(&loom, SLM_ORDER_DONE);
}

static void test_stall_comes_back(void **state)
{
	struct slm_loom loom;

	(void)state;
	slm_loom_begin(&loom, 2, ALL);
	start_to_step(&loom, 0);
	start_to_step(&loom, 1);
	assert_true(slm_loom_grant(&loom, 0));
	assert_true(slm_loom_stalled(&loom, 0));
	assert_int_equal(loom.stalled, 1);
	expect_choice(&loom, 2, 0);
	grant_to_end(&loom, 1);
	expect_kind(&loom, SLM_ORDER_STUCK);
	assert_true(slm_loom_unblocked(&loom, 0));
	assert_true(slm_loom_arrive(&loom, 0, false));
	expect_choice(&loom, 1, 1);
	grant_to_end(&loom, 0);
	expect_kind(&loom, SLM_ORDER_DONE);
	/* The run proves nothing, whatever came after. */
	assert_true(loom.had_stall);
	slm_loom_begin(&loom, 2, ALL);
	assert_false(loom.had_stall);
}

static void test_members_only(void **state)
{
	struct slm_loom loom;

	(void)state;
	slm_loom_begin(&loom, 4, 0xfffffffau); /* 1 and 3 */
	assert_int_equal(loom.members, 0xa);
	assert_int_equal(loom.state[0], SLM_CALL_FINISHED);
	assert_int_equal(loom.finished, 2);
	start_to_step(&loom, 1);
	start_to_step(&loom, 3);
	expect_choice(&loom, 0xa, -1);
	grant_to_end(&loom, 3);
	grant_to_end(&loom, 1);
	expect_kind(&loom, SLM_ORDER_DONE);
	slm_loom_begin(&loom, 3, 0);
	expect_kind(&loom, SLM_ORDER_DONE);
}

static void test_most_calls(void **state)
{
	struct slm_loom loom;

	(void)state;
	slm_loom_begin(&loom, SLM_LOOM_CALLS_MAX, ALL);
	for (unsigned i = 0; i < SLM_LOOM_CALLS_MAX; i++)
		start_to_step(&loom, i);
	expect_choice(&loom, 0xffff, -1);
	for (unsigned i = SLM_LOOM_CALLS_MAX; i-- > 0;)
		grant_to_end(&loom, i);
	expect_kind(&loom, SLM_ORDER_DONE);
}

static void test_names(void **state)
{
	(void)state;
	for (int i = 0; i < SLM_CALL_STATES; i++) {
		const char *name = slm_call_state_name((enum slm_call_state)i);

		assert_string_not_equal(name, "unknown");
		for (int j = 0; j < i; j++)
			assert_string_not_equal(
				name,
				slm_call_state_name((enum slm_call_state)j));
	}
	assert_string_equal(slm_call_state_name((enum slm_call_state)99),
			    "unknown");
}

/* ---- Random events ------------------------------------------------------- */

static void check_invariants(const struct slm_loom *loom)
{
	struct {
		uint32_t waiting, enabled, local, blocked, stalled;
		unsigned finished;
		int running;
	} is = { .running = -1 };

	for (unsigned i = 0; i < loom->ncalls; i++) {
		uint32_t bit = 1u << i;

		switch (place_of(loom, i)) {
		case WAITING:
			is.waiting |= bit;
			break;
		case RUNNING:
			assert_int_equal(is.running, -1);
			is.running = (int)i;
			break;
		case AT_STEP:
			is.enabled |= bit;
			break;
		case AT_LOCAL:
			is.local |= bit;
			break;
		case BLOCKED:
			is.blocked |= bit;
			break;
		case STALLED:
			is.stalled |= bit;
			assert_true(loom->had_stall);
			break;
		case FINISHED:
			is.finished++;
			break;
		}
	}
	assert_int_equal(loom->waiting, is.waiting);
	assert_int_equal(loom->enabled, is.enabled);
	assert_int_equal(loom->local, is.local);
	assert_int_equal(loom->blocked, is.blocked);
	assert_int_equal(loom->stalled, is.stalled);
	assert_int_equal(loom->finished, is.finished);
	assert_int_equal(loom->running, is.running);
}

/* The order must follow from the state before it. */
static void check_order(struct slm_loom *loom)
{
	struct slm_loom before = *loom;
	struct slm_loom_order order = slm_loom_next(loom);
	enum slm_loom_order_kind due;

	if (before.running >= 0)
		due = SLM_ORDER_WAIT;
	else if (before.local)
		due = SLM_ORDER_GO;
	else if (before.waiting)
		due = SLM_ORDER_START;
	else if (before.enabled)
		due = SLM_ORDER_CHOOSE;
	else if (before.blocked || before.stalled)
		due = SLM_ORDER_STUCK;
	else
		due = SLM_ORDER_DONE;
	assert_int_equal(order.kind, due);
	assert_int_equal(order.previous, before.previous);
	if (due == SLM_ORDER_WAIT || due == SLM_ORDER_GO ||
	    due == SLM_ORDER_START)
		assert_int_equal(order.call, loom->running);
	else
		assert_memory_equal(&before, loom, sizeof(before));
	if (due == SLM_ORDER_CHOOSE)
		assert_int_equal(order.enabled, before.enabled);
}

static void random_event(struct slm_loom *loom, struct slm_rng *rng)
{
	struct slm_loom before = *loom;
	unsigned call = (unsigned)slm_rng_below(rng, loom->ncalls + 1);
	enum event event = (enum event)slm_rng_below(rng, EVENTS);
	enum others others = OTHERS_SETTLED;
	int to = NO;
	bool ok;

	if (call < loom->ncalls) {
		uint32_t mine = 1u << call;

		if (before.running >= 0 && before.running != (int)call)
			others = OTHER_RUNNING;
		else if ((before.local | before.waiting) & ~mine)
			others = OTHER_LOCAL;
		to = expected_place(place_of(loom, call), event, others);
	}
	ok = deliver(loom, call, event);
	assert_int_equal(ok, to != NO);
	if (ok)
		assert_int_equal(place_of(loom, call), to);
	else
		assert_memory_equal(&before, loom, sizeof(before));
}

static void test_random_events(void **state)
{
	struct slm_rng rng;
	struct slm_loom loom;
	unsigned done = 0;

	(void)state;
	slm_rng_init(&rng, 20240607);
	memset(&loom, 0, sizeof(loom));
	slm_loom_begin(&loom, 3, ALL);
	for (int i = 0; i < 400000; i++) {
		if (slm_rng_below(&rng, 4) == 0)
			check_order(&loom);
		else
			random_event(&loom, &rng);
		check_invariants(&loom);
		if (loom.finished == loom.ncalls) {
			done++;
			slm_loom_begin(&loom,
				       1 + (unsigned)slm_rng_below(&rng, 5),
				       (uint32_t)slm_rng_next(&rng));
			check_invariants(&loom);
		}
	}
	assert_true(done > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cell),
		cmocka_unit_test(test_no_such_call_is_refused),
		cmocka_unit_test(test_two_calls),
		cmocka_unit_test(test_starts_one_after_another),
		cmocka_unit_test(test_local_steps_are_no_choice),
		cmocka_unit_test(test_blocked_call_resumes),
		cmocka_unit_test(test_deadlock_is_stuck),
		cmocka_unit_test(test_stall_comes_back),
		cmocka_unit_test(test_members_only),
		cmocka_unit_test(test_most_calls),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_random_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
