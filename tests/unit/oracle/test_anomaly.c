/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and causes. A test writes a run as a line of moves, a letter for the
 * call and a digit for its step: "a0 b0 a1 b1". What the steps return does not
 * matter to a name; the contents are wrong by construction.
 */
#include "builder.h"

#include <stdio.h>

#define STEPS_MAX 6

struct play {
	struct slm_trace_step steps[2][STEPS_MAX];
	struct slm_trace_call calls[2];
	struct slm_oracle_config config;
	struct slm_oracle *oracle;
	struct scene scene;
};

static void play_step(struct play *p, uint32_t call, const char *name,
		      const char *sql, const char *reads, const char *writes)
{
	struct slm_trace_call *to = &p->calls[call];

	assert(to->nsteps < STEPS_MAX);
	p->steps[call][to->nsteps++] =
		(struct slm_trace_step){ name, sql, reads, writes, 0, false };
}

static void play_begin(struct play *p)
{
	memset(p, 0, sizeof(*p));
	p->calls[0] = (struct slm_trace_call){ "alice", p->steps[0], 0 };
	p->calls[1] = (struct slm_trace_call){ "bob", p->steps[1], 0 };
	p->config.calls = p->calls;
	p->config.ncalls = 2;
}

/* Plays the moves; a capital letter is a step that is skipped. */
static void play_moves(struct play *p, struct scene *s, const char *moves)
{
	scene_begin(s, 3);
	for (; *moves; moves += moves[2] ? 3 : 2) {
		uint32_t call = (uint32_t)((*moves | 0x20) - 'a');
		uint32_t step = (uint32_t)(moves[1] - '0');
		bool writes = *p->steps[call][step].writes != '\0';

		assert(step < p->calls[call].nsteps);
		if (*moves < 'a')
			skipped(s, call, step);
		else if (writes)
			changed(s, call, step, 1);
		else if (strstr(p->steps[call][step].sql, " AS n "))
			READ(s, call, step, "n", INT(1));
		else
			done(s, call, step);
	}
	over(s, 0, true);
	over(s, 1, true);
}

/* Explains the run that the moves make. serial: the moves of a serial run. */
static struct slm_finding play(struct play *p, const char *serial,
			       const char *moves)
{
	struct scene s;

	p->oracle = new_oracle(&p->config);
	play_moves(p, &s, serial);
	table(&s, "account", "id bal", 0);
	ROW(&s, 0, INT(1), INT(0));
	ROW(&s, 0, INT(2), INT(0));
	add_serial(p->oracle, "ab", &s);
	scene_end(&s);
	play_moves(p, &p->scene, moves);
	table(&p->scene, "account", "id bal", 0);
	ROW(&p->scene, 0, INT(1), INT(0));
	ROW(&p->scene, 0, INT(2), INT(99));
	return explain(p->oracle, &p->scene);
}

static void play_end(struct play *p)
{
	scene_end(&p->scene);
	slm_oracle_free(p->oracle);
}

#define READS(sql) sql, "account", ""
#define WRITES(sql) sql, "account", "account"

static void two_savers(struct play *p, const char *write)
{
	play_begin(p);
	for (uint32_t call = 0; call < 2; call++) {
		play_step(p, call, call ? "b_read" : "a_read",
			  READS("SELECT bal FROM account WHERE id = 1"));
		play_step(p, call, call ? "b_write" : "a_write", write,
			  "account", "account");
	}
}

static void lost_update(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	two_savers(&p, "UPDATE account SET bal = 10 WHERE id = 1");
	f = play(&p, "a0 a1 b0 b1", "a0 b0 a1 b1");
	assert_string_equal(f.name, "lost update (P4)");
	assert_string_equal(
		f.cause,
		"bob's step b_write overwrote what alice wrote in a_write: bob "
		"had read account in b_read before alice's write (lost update)."
		" b_read and b_write are in different transactions: a stronger "
		"isolation level alone cannot prevent it.");
	play_end(&p);
}

/* bob reads what alice wrote: nothing is lost. */
static void no_lost_update_after_a_fresh_read(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	two_savers(&p, "UPDATE account SET bal = 10 WHERE id = 1");
	f = play(&p, "a0 a1 b0 b1", "a0 a1 b0 b1");
	assert_int_equal(f.class, SLM_CLASS_CONTENTS);
	assert_null(f.name);
	assert_null(f.cause);
	play_end(&p);
}

/* v = v - 10 loses nothing. */
static void no_lost_update_by_increments(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	two_savers(&p, "UPDATE account SET bal = bal - 10 WHERE id = 1");
	f = play(&p, "a0 a1 b0 b1", "a0 b0 a1 b1");
	assert_null(f.name);
	play_end(&p);
}

/* What is written is fixed, whether it is written was decided too early. */
static void a_decided_write_is_no_lost_update(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	two_savers(&p, "UPDATE account SET bal = 10 WHERE id = 1");
	f = play(&p, "a0 a1 b0 B1", "a0 b0 a1 b1");
	assert_string_equal(f.name, "check-then-act");
	play_end(&p);
	two_savers(&p, "UPDATE account SET bal = :bal WHERE id = 1");
	f = play(&p, "a0 a1 b0 B1", "a0 b0 a1 b1");
	assert_string_equal(f.name, "lost update (P4)");
	play_end(&p);
}

/* A counter that is kept beside the rows it counts. */
static void stale_read(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	play_begin(&p);
	for (uint32_t call = 0; call < 2; call++) {
		play_step(&p, call, call ? "b_like" : "a_like",
			  "INSERT INTO likes VALUES (1)", "", "likes");
		play_step(&p, call, call ? "b_count" : "a_count",
			  "SELECT count(*) AS n FROM likes", "likes", "");
		play_step(&p, call, call ? "b_store" : "a_store",
			  "UPDATE account SET bal = :n WHERE id = 1", "account",
			  "account");
	}
	f = play(&p, "a0 a1 a2 b0 b1 b2", "b0 b1 a0 a1 a2 b2");
	assert_string_equal(f.name, "stale read");
	assert_string_equal(
		f.cause,
		"bob's step b_store wrote by a value that b_count had read "
		"from likes before alice's write in a_like (stale read). "
		"b_count and b_store are in different transactions: a stronger "
		"isolation level alone cannot prevent it.");
	play_end(&p);
}

static void check_then_act(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	two_savers(&p, "UPDATE account SET bal = bal - 10 WHERE id = 1");
	f = play(&p, "a0 a1 b0 B1", "a0 b0 a1 b1");
	assert_string_equal(f.name, "check-then-act");
	assert_string_equal(
		f.cause,
		"bob's step b_write, which some serial run leaves out, was "
		"decided on a stale read: b_read had read account before "
		"alice's write in a_write (check-then-act). b_read and b_write "
		"are in different transactions: a stronger isolation level "
		"alone cannot prevent it.");
	play_end(&p);
}

/* The rows that are written are not known to be the same. */
static void no_name_when_rows_are_unknown(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	two_savers(&p, "UPDATE account SET bal = 10 WHERE id = ?");
	f = play(&p, "a0 a1 b0 b1", "a0 b0 a1 b1");
	assert_null(f.name);
	play_end(&p);
}

static void in_one_transaction(struct play *p, const char *begin)
{
	play_begin(p);
	for (uint32_t call = 0; call < 2; call++) {
		play_step(p, call, "begin", begin, "", "");
		play_step(p, call, call ? "b_read" : "a_read",
			  READS("SELECT bal FROM account WHERE id = 1"));
		play_step(p, call, call ? "b_write" : "a_write",
			  WRITES("UPDATE account SET bal = 1 WHERE id = 1"));
		play_step(p, call, "commit", "COMMIT", "", "");
	}
}

static void lost_update_in_transactions(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	in_one_transaction(&p, "BEGIN");
	/* bob reads after alice's write, but before her commit. */
	f = play(&p, "a0 a1 a2 a3 b0 b1 b2 b3", "a0 b0 a1 a2 b1 a3 b2 b3");
	assert_string_equal(f.name, "lost update (P4)");
	assert_string_equal(
		f.cause,
		"bob's step b_write overwrote what alice wrote in a_write: bob "
		"had read account in b_read before alice's commit (lost "
		"update). b_read and b_write are in one transaction: a "
		"stronger isolation level can prevent it.");
	play_end(&p);
	/* After her commit the read is fresh. */
	in_one_transaction(&p, "BEGIN");
	f = play(&p, "a0 a1 a2 a3 b0 b1 b2 b3", "a0 b0 a1 a2 a3 b1 b2 b3");
	assert_null(f.name);
	play_end(&p);
	/* With savepoints it is not certain; the sentence is left out. */
	in_one_transaction(&p, "SAVEPOINT x");
	f = play(&p, "a0 a1 a2 a3 b0 b1 b2 b3", "a0 b0 a1 b1 a2 a3 b2 b3");
	assert_string_equal(f.name, "lost update (P4)");
	assert_null(strstr(f.cause, "isolation"));
	play_end(&p);
}

/* A session's setup began the transaction: there is a COMMIT only. */
static void transaction_begun_before(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	in_one_transaction(&p, "BEGIN");
	f = play(&p, "a1 a2 a3 b1 b2 b3", "a1 b1 a2 a3 b2 b3");
	assert_string_equal(f.name, "lost update (P4)");
	assert_non_null(strstr(f.cause, "in one transaction"));
	play_end(&p);
}

static void rolled_back_writes_are_none(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	in_one_transaction(&p, "BEGIN");
	p.steps[0][3].sql = "ROLLBACK";
	f = play(&p, "a0 a1 a2 a3 b0 b1 b2 b3", "a0 b0 a1 b1 a2 a3 b2 b3");
	assert_null(f.name);
	play_end(&p);
}

/* Nor is a write of one's own that is rolled back afterwards. */
static void own_write_rolled_back(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	in_one_transaction(&p, "BEGIN");
	p.steps[1][3].sql = "ROLLBACK";
	f = play(&p, "a0 a1 a2 a3 b0 b1 b2 b3", "a0 b0 a1 b1 a2 a3 b2 b3");
	assert_null(f.name);
	play_end(&p);
}

static void write_skew(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	play_begin(&p);
	play_step(&p, 0, "a_sum", READS("SELECT sum(bal) FROM account"));
	play_step(&p, 0, "a_take",
		  WRITES("UPDATE account SET bal = bal - 9 WHERE id = 1"));
	play_step(&p, 1, "b_sum", READS("SELECT sum(bal) FROM account"));
	play_step(&p, 1, "b_take",
		  WRITES("UPDATE account SET bal = bal - 9 WHERE id = 2"));
	f = play(&p, "a0 a1 b0 B1", "a0 b0 a1 b1");
	assert_string_equal(f.name, "write skew (A5B)");
	assert_string_equal(
		f.cause,
		"alice (in a_sum) and bob (in b_sum) each read what the other "
		"then changed (b_take and a_take), and neither saw the other's "
		"change (write skew). a_sum and a_take are in different "
		"transactions: a stronger isolation level alone cannot prevent "
		"it.");
	play_end(&p);
	/* Each reads only what it writes itself: no skew. */
	play_begin(&p);
	play_step(&p, 0, "a_sum",
		  READS("SELECT bal FROM account WHERE id = 1"));
	play_step(&p, 0, "a_take",
		  WRITES("UPDATE account SET bal = bal - 9 WHERE id = 1"));
	play_step(&p, 1, "b_sum",
		  READS("SELECT bal FROM account WHERE id = 2"));
	play_step(&p, 1, "b_take",
		  WRITES("UPDATE account SET bal = bal - 9 WHERE id = 2"));
	f = play(&p, "a0 a1 b0 b1", "a0 b0 a1 b1");
	assert_null(f.name);
	play_end(&p);
}

static void write_skew_over_two_tables(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	play_begin(&p);
	play_step(&p, 0, "a_read", "SELECT v FROM x", "x", "");
	play_step(&p, 0, "a_write", "UPDATE y SET v = 1", "", "y");
	play_step(&p, 1, "b_read", "SELECT v FROM y", "y", "");
	play_step(&p, 1, "b_write", "UPDATE x SET v = 1", "", "x");
	f = play(&p, "a0 a1 b0 b1", "a0 b0 a1 b1");
	assert_string_equal(f.name, "write skew (A5B)");
	play_end(&p);
	play_begin(&p);
	play_step(&p, 0, "a_read", "SELECT v FROM x", "x", "");
	play_step(&p, 0, "a_write", "UPDATE y SET v = 1", "", "y");
	play_step(&p, 1, "b_read", "SELECT v FROM y", "y", "");
	play_step(&p, 1, "b_write", "UPDATE x SET v = 1", "", "x");
	/* bob saw alice's change: one of the two is not missed. */
	f = play(&p, "a0 a1 b0 b1", "a0 a1 b0 b1");
	assert_null(f.name);
	play_end(&p);
}

static void two_inserters(struct play *p)
{
	play_begin(p);
	for (uint32_t call = 0; call < 2; call++) {
		play_step(p, call, call ? "b_look" : "a_look",
			  READS("SELECT count(*) FROM account"));
		play_step(p, call, call ? "b_add" : "a_add",
			  "INSERT INTO account(bal) VALUES (5)", "", "account");
	}
}

static void check_then_insert(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	two_inserters(&p);
	f = play(&p, "a0 a1 b0 B1", "a0 b0 a1 b1");
	assert_string_equal(f.name, "check-then-insert");
	assert_string_equal(
		f.cause,
		"bob's step b_add inserted into account after b_look had "
		"looked at it before alice's insert in a_add "
		"(check-then-insert). b_look and b_add are in different "
		"transactions: a stronger isolation level alone cannot prevent "
		"it.");
	/* With two rows that only the key tells apart it is a duplicate. */
	NEW(&p.scene, 0, INT(3), INT(5));
	NEW(&p.scene, 0, INT(4), INT(5));
	f = explain(p.oracle, &p.scene);
	assert_string_equal(f.name, "duplicate insert");
	/* It stays one if another row hangs on one of them only. */
	table(&p.scene, "entry", "account", -1);
	reference(&p.scene, p.scene.contents.ntables - 1, 0, 0);
	ROW(&p.scene, p.scene.contents.ntables - 1, INT(3));
	f = explain(p.oracle, &p.scene);
	assert_string_equal(f.name, "duplicate insert");
	play_end(&p);
}

static void read_skew(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	play_begin(&p);
	play_step(&p, 0, "w1",
		  WRITES("UPDATE account SET bal = bal - 1 WHERE id = 1"));
	play_step(&p, 0, "w2",
		  WRITES("UPDATE account SET bal = bal + 1 WHERE id = 2"));
	play_step(&p, 1, "r1", READS("SELECT bal FROM account WHERE id = 1"));
	play_step(&p, 1, "r2", READS("SELECT bal FROM account WHERE id = 2"));
	f = play(&p, "a0 a1 b0 b1", "b0 a0 a1 b1");
	assert_string_equal(f.name, "read skew (A5A)");
	assert_string_equal(
		f.cause,
		"bob saw what alice wrote in w2 (step r2), but had read in r1 "
		"what was there before w1 (read skew). r1 and r2 are in "
		"different transactions: a stronger isolation level alone "
		"cannot prevent it.");
	play_end(&p);
}

/* The other call writes both in one step. */
static void read_skew_of_one_step(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	play_begin(&p);
	play_step(&p, 0, "w",
		  WRITES("BEGIN; "
			 "UPDATE account SET bal = bal - 1 WHERE id = 1; "
			 "UPDATE account SET bal = bal + 1 WHERE id = 2; "
			 "COMMIT"));
	play_step(&p, 1, "r1", READS("SELECT bal FROM account WHERE id = 1"));
	play_step(&p, 1, "r2", READS("SELECT bal FROM account WHERE id = 2"));
	f = play(&p, "a0 b0 b1", "b0 a0 b1");
	assert_string_equal(f.name, "read skew (A5A)");
	play_end(&p);
}

static void non_repeatable_read(void **state)
{
	struct slm_finding f;
	struct play p;
	struct slm_event *event;
	struct slm_result other = { .changes = -1 };
	struct slm_value five = INT(5);
	const char *const columns[] = { "bal" };

	(void)state;
	play_begin(&p);
	play_step(&p, 0, "w", WRITES("UPDATE account SET bal = 5"));
	play_step(&p, 1, "r1", READS("SELECT bal FROM account"));
	play_step(&p, 1, "r2", READS("SELECT  bal FROM account;"));
	f = play(&p, "a0 b0 b1", "b0 a0 b1");
	assert_null(f.name); /* it read the same twice */
	other.rows.ncolumns = 1;
	other.rows.nrows = other.rows.nkept = 1;
	other.rows.columns = columns;
	other.rows.values = &five;
	event = &p.scene.events[2];
	event->result = &other;
	f = explain(p.oracle, &p.scene);
	assert_string_equal(f.name, "non-repeatable read (P2)");
	play_end(&p);
}

/* ---- Errors ----------------------------------------------------------- */

static void over_with(struct play *p, uint32_t step, enum slm_error_kind kind,
		      const char *code, const char *message)
{
	/* The last move was bob's; it fails instead. */
	p->scene.run.nevents -= 3;
	failed(&p->scene, 1, step, kind, code, message);
	over(&p->scene, 0, true);
	over(&p->scene, 1, false);
	/* Contents as in the serial run. */
	memset(&p->scene.tables[0], 0, sizeof(p->scene.tables[0]));
	p->scene.contents.ntables = 0;
	table(&p->scene, "account", "id bal", 0);
	ROW(&p->scene, 0, INT(1), INT(0));
	ROW(&p->scene, 0, INT(2), INT(0));
}

/* The serial run of alice alone leaves what both leave. */
static void add_alice_alone(struct play *p)
{
	struct scene s;

	scene_begin(&s, 1);
	over(&s, 0, true);
	table(&s, "account", "id bal", 0);
	ROW(&s, 0, INT(1), INT(0));
	ROW(&s, 0, INT(2), INT(0));
	add_serial(p->oracle, "a", &s);
	scene_end(&s);
}

static void integrity_error(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	two_inserters(&p);
	play(&p, "a0 a1 b0 B1", "a0 b0 a1 b1");
	over_with(&p, 1, SLM_ERROR_INTEGRITY, "SQLITE_CONSTRAINT_UNIQUE",
		  "UNIQUE constraint failed: account.name");
	f = explain(p.oracle, &p.scene);
	assert_int_equal(f.class, SLM_CLASS_ERROR);
	assert_string_equal(f.name, "integrity error after check");
	assert_string_equal(
		f.cause,
		"bob's step b_add failed: UNIQUE constraint failed: "
		"account.name. bob had looked at account in b_look before "
		"alice's write in a_add.");
	play_end(&p);
}

static void busy(struct play *p, const char *begin, const char *serial,
		 const char *moves, uint32_t step, struct slm_finding *f)
{
	in_one_transaction(p, begin);
	play(p, serial, moves);
	add_alice_alone(p);
	over_with(p, step, SLM_ERROR_RETRY, "SQLITE_BUSY",
		  "database is locked");
	*f = explain(p->oracle, &p->scene);
	assert_int_equal(f->class, SLM_CLASS_RETRY);
	assert_string_equal(f->name, "database is locked");
}

static void busy_after_read(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	busy(&p, "BEGIN", "b0", "b0 b1 b2", 2, &f);
	assert_string_equal(
		f.cause,
		"bob's step b_write was refused: bob's transaction had read in "
		"b_read, and a transaction that has read cannot become a "
		"writer while another is writing (SQLITE_BUSY at once). BEGIN "
		"IMMEDIATE takes the write lock first.");
	play_end(&p);
	busy(&p, "BEGIN IMMEDIATE", "b0", "b0 b1 b2", 2, &f);
	assert_string_equal(f.cause,
			    "bob's step b_write found the database locked by "
			    "another call (SQLITE_BUSY).");
	play_end(&p);
	busy(&p, "BEGIN", "b0", "b0 b1 b2 b3", 3, &f);
	assert_string_equal(f.cause,
			    "bob's step commit could not commit while others "
			    "were reading (SQLITE_BUSY).");
	play_end(&p);
}

static void deadlock(void **state)
{
	struct slm_finding f;
	struct play p;

	(void)state;
	in_one_transaction(&p, "BEGIN");
	play(&p, "b0", "b0 b2");
	add_alice_alone(&p);
	over_with(&p, 2, SLM_ERROR_DEADLOCK, "40P01", "deadlock detected");
	f = explain(p.oracle, &p.scene);
	assert_int_equal(f.class, SLM_CLASS_ERROR);
	assert_string_equal(f.name, "deadlock");
	assert_non_null(strstr(f.cause, "bob was ended by the database"));
	blocked(&p.scene, 0, 2, 2);
	blocked(&p.scene, 1, 2, 1);
	f = explain(p.oracle, &p.scene);
	assert_string_equal(f.cause,
			    "alice's step a_write waited for bob, and bob's "
			    "step b_write for alice: the database ended bob "
			    "(deadlock).");
	play_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lost_update),
		cmocka_unit_test(no_lost_update_after_a_fresh_read),
		cmocka_unit_test(no_lost_update_by_increments),
		cmocka_unit_test(a_decided_write_is_no_lost_update),
		cmocka_unit_test(stale_read),
		cmocka_unit_test(check_then_act),
		cmocka_unit_test(no_name_when_rows_are_unknown),
		cmocka_unit_test(lost_update_in_transactions),
		cmocka_unit_test(transaction_begun_before),
		cmocka_unit_test(rolled_back_writes_are_none),
		cmocka_unit_test(own_write_rolled_back),
		cmocka_unit_test(write_skew),
		cmocka_unit_test(write_skew_over_two_tables),
		cmocka_unit_test(check_then_insert),
		cmocka_unit_test(read_skew),
		cmocka_unit_test(read_skew_of_one_step),
		cmocka_unit_test(non_repeatable_read),
		cmocka_unit_test(integrity_error),
		cmocka_unit_test(busy_after_read),
		cmocka_unit_test(deadlock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
