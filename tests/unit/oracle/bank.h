/* SPDX-License-Identifier: Apache-2.0 */
/* The scenario of several tests: alice and bob each read a balance of 100 and
 * take 100 of it if it is there: read, then pay when bal >= 100. */
#ifndef TESTS_ORACLE_BANK_H
#define TESTS_ORACLE_BANK_H

#include "builder.h"

enum { READ_STEP, PAY_STEP };
enum { ALICE, BOB };
#define BOTH 3u

static const struct slm_trace_step alice_steps[] = {
	{ "a_read", "SELECT bal FROM account WHERE id = 1", "account", "", 0,
	  false },
	{ "a_pay", "UPDATE account SET bal = 0 WHERE id = 1", "account",
	  "account", 0, false },
};

static const struct slm_trace_step bob_steps[] = {
	{ "b_read", "SELECT bal FROM account WHERE id = 1", "account", "", 0,
	  false },
	{ "b_pay", "UPDATE account SET bal = 0 WHERE id = 1", "account",
	  "account", 0, false },
};

static const struct slm_trace_call bank_calls[] = {
	{ "alice", alice_steps, 2 },
	{ "bob", bob_steps, 2 },
};

static const struct slm_oracle_config bank_config = { .calls = bank_calls,
						      .ncalls = 2 };

static inline void bank_contents(struct scene *s, int bal)
{
	table(s, "account", "id bal", 0);
	ROW(s, 0, INT(1), INT(bal));
	ROW(s, 0, INT(2), INT(7));
}

/* first pays, second finds nothing left. */
static inline void bank_serial(struct scene *s, uint32_t first)
{
	uint32_t second = 1 - first;

	scene_begin(s, BOTH);
	READ(s, first, READ_STEP, "bal", INT(100));
	changed(s, first, PAY_STEP, 1);
	over(s, first, true);
	READ(s, second, READ_STEP, "bal", INT(0));
	skipped(s, second, PAY_STEP);
	over(s, second, true);
	bank_contents(s, 0);
}

/* One call alone, or nobody. */
static inline void bank_alone(struct scene *s, uint32_t members)
{
	uint32_t call = members == 1 ? ALICE : BOB;

	scene_begin(s, members);
	if (members) {
		READ(s, call, READ_STEP, "bal", INT(100));
		changed(s, call, PAY_STEP, 1);
		over(s, call, true);
	}
	bank_contents(s, members ? 0 : 100);
}

/* Both read before either pays. bob_changes: rows that bob's pay changed. */
static inline void bank_race(struct scene *s, int bob_changes)
{
	scene_begin(s, BOTH);
	READ(s, ALICE, READ_STEP, "bal", INT(100));
	READ(s, BOB, READ_STEP, "bal", INT(100));
	changed(s, ALICE, PAY_STEP, 1);
	over(s, ALICE, true);
	changed(s, BOB, PAY_STEP, bob_changes);
	over(s, BOB, true);
	bank_contents(s, 0);
}

/* alice pays; bob's pay fails. Contents as given. */
static inline void bank_error(struct scene *s, enum slm_error_kind kind,
			      const char *code, int bal)
{
	scene_begin(s, BOTH);
	READ(s, ALICE, READ_STEP, "bal", INT(100));
	READ(s, BOB, READ_STEP, "bal", INT(100));
	changed(s, ALICE, PAY_STEP, 1);
	over(s, ALICE, true);
	failed(s, BOB, PAY_STEP, kind, code, "it did not work");
	over(s, BOB, false);
	bank_contents(s, bal);
}

/* An oracle that knows all serial runs of all subsets. */
static inline struct slm_oracle *bank_oracle(
	const struct slm_oracle_config *config)
{
	static const char *const orders[] = { "", "a", "b" };
	struct slm_oracle *oracle = new_oracle(config);
	struct scene s;

	for (uint32_t first = 0; first < 2; first++) {
		bank_serial(&s, first);
		add_serial(oracle, first ? "ba" : "ab", &s);
		scene_end(&s);
	}
	for (uint32_t members = 0; members < 3; members++) {
		bank_alone(&s, members);
		add_serial(oracle, orders[members], &s);
		scene_end(&s);
	}
	return oracle;
}

#endif
