/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports to test with, as constant data: nothing to free. Header only, since
 * every test is one source file.
 */
#ifndef SLM_TESTS_SAMPLES_H
#define SLM_TESTS_SAMPLES_H

#include <math.h>
#include <string.h>

#include "trace/trace.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LIST(type, ...)     \
	(const type[])      \
	{                   \
		__VA_ARGS__ \
	}
#define INTEGER(n)                              \
	{                                       \
		.kind = SLM_INT, .integer = (n) \
	}
#define REAL(n)                               \
	{                                     \
		.kind = SLM_REAL, .real = (n) \
	}
#define TEXT(s)                                                      \
	{                                                            \
		.kind = SLM_TEXT, .size = sizeof(s) - 1, .text = (s) \
	}
#define BLOB(s)                                                      \
	{                                                            \
		.kind = SLM_BLOB, .size = sizeof(s) - 1, .text = (s) \
	}
#define KEY(s)                                                      \
	{                                                           \
		.kind = SLM_KEY, .size = sizeof(s) - 1, .text = (s) \
	}
#define MASKED                     \
	{                          \
		.kind = SLM_MASKED \
	}
#define NIL                      \
	{                        \
		.kind = SLM_NULL \
	}

#define BACKEND "SQLite 3.40.1, memory store, journal delete, busy timeout 0 ms"

static const char *const id_bal[] = { "id", "bal" };
static const char *const bal[] = { "bal" };
static const char *const ok_ok[] = { "ok", "ok" };
static const char *const ok_ok_ok[] = { "ok", "ok", "ok" };

#define ROW(names, n, ...)                                                   \
	{                                                                    \
		.ncolumns = (n), .nkept = 1, .nrows = 1, .columns = (names), \
		.values = (const struct slm_value[])                         \
		{                                                            \
			__VA_ARGS__                                          \
		}                                                            \
	}

#define ACCOUNT(n)                                             \
	{                                                      \
		.name = "account",                             \
		.rows = ROW(id_bal, 2, INTEGER(1), INTEGER(n)) \
	}

static const struct slm_table account_100[] = { ACCOUNT(100) };
static const struct slm_table account_110[] = { ACCOUNT(110) };
static const struct slm_table account_130[] = { ACCOUNT(130) };

static const struct slm_result bal_100 = { .rows = ROW(bal, 1, INTEGER(100)),
					   .changes = -1 };
static const struct slm_result changed_1 = { .changes = 1 };
static const struct slm_result nothing = { .changes = -1 };
static const struct slm_result busy = { .changes = -1,
					.error = SLM_ERROR_RETRY,
					.code = "SQLITE_BUSY",
					.message = "database is locked" };

#define STEP(c, s, r)                                             \
	{                                                         \
		.kind = SLM_EVENT_STEP, .call = (c), .step = (s), \
		.choice = true, .result = (r)                     \
	}
#define QUIET(c, s, r)                                            \
	{                                                         \
		.kind = SLM_EVENT_STEP, .call = (c), .step = (s), \
		.result = (r)                                     \
	}
#define BLOCKED(c, s, by, why)                                       \
	{                                                            \
		.kind = SLM_EVENT_BLOCKED, .call = (c), .step = (s), \
		.choice = true, .blocked_by = (by), .what = (why)    \
	}
#define RESUMED(c, s, ms, r)                                         \
	{                                                            \
		.kind = SLM_EVENT_RESUMED, .call = (c), .step = (s), \
		.waited_ms = (ms), .result = (r)                     \
	}
#define SKIPPED(c, s)                                               \
	{                                                           \
		.kind = SLM_EVENT_SKIPPED, .call = (c), .step = (s) \
	}
#define END(c, good)                                                       \
	{                                                                  \
		.kind = SLM_EVENT_END, .call = (c), .step = SLM_STEP_NONE, \
		.ok = (good)                                               \
	}

/* ---- Lost update ------------------------------------------------------ */

static const struct slm_trace_step alice_steps[] = {
	{ "read", "SELECT bal FROM account WHERE id = 1", "account", "", 0x1a2b,
	  false },
	{ "write", "UPDATE account SET bal = 110 WHERE id = 1", "account",
	  "account", 0x3c4d, false },
};
static const struct slm_trace_step bob_steps[] = {
	{ "read", "SELECT bal FROM account WHERE id = 1", "account", "", 0x1a2b,
	  false },
	{ "write", "UPDATE account SET bal = 120 WHERE id = 1", "account",
	  "account", 0x3c4d, false },
};
static const struct slm_trace_call alice_bob[] = {
	{ "alice", alice_steps, 2 },
	{ "bob", bob_steps, 2 },
};
static const struct slm_trace_serial serials_130[] = {
	{ "ab", { 3, 0, account_130, 1, ok_ok } },
	{ "ba", { 3, 0, account_130, 1, ok_ok } },
};
static const struct slm_event lost_events[] = {
	STEP(0, 0, &bal_100), STEP(1, 0, &bal_100),   STEP(1, 1, &changed_1),
	END(1, true),	      STEP(0, 1, &changed_1), END(0, true),
};
static const struct slm_difference lost_differences[] = {
	{ "account", "id=1 bal=110", "id=1 bal=130" },
};
static const struct slm_finding lost_findings[] = {
	{
		.class = SLM_CLASS_CONTENTS,
		.token = "abba~5f3a.aka2axaq",
		.schedule = "abba",
		.switches = 1,
		.count = 4,
		.name = "lost update (P4)",
		.cause = "alice wrote account from a value that she read "
			 "before bob's write was committed, so bob's write is "
			 "lost. Each call is several transactions, so no "
			 "isolation level prevents it: read and write in one "
			 "statement, or in one transaction.",
		.outcome = { 3, 0, account_110, 1, ok_ok },
		.differences = lost_differences,
		.ndifferences = 1,
		.nearest = "ba",
		.events = lost_events,
		.nevents = COUNT(lost_events),
	},
};

#define COMMON(file)                                                   \
	.kind = SLM_TRACE_EXPLORE, .spec = (file), .backend = BACKEND, \
	.strategy = "exhaustive", .bounds = "none", .options = "", .seed = 1

static const struct sqloom_report sample_lost_update = { {
	COMMON("lost-update.spec"),
	.calls = alice_bob,
	.ncalls = 2,
	.serials = serials_130,
	.nserials = 2,
	.findings = lost_findings,
	.nfindings = 1,
	.verdict = SQLOOM_BROKEN,
	.reason = "an outcome that no serial run gives",
	.explored = 6,
	.complete = true,
	.wrong = 4,
	.by_class = { [SLM_CLASS_CONTENTS] = 4, [SLM_CLASS_SERIAL] = 2 },
	.elapsed_ns = 3000000,
	.reruns = 9,
} };

/* ---- Holds, inconclusive ---------------------------------------------- */

static const struct sqloom_report sample_holds = { {
	COMMON("lost-update.spec"),
	.calls = alice_bob,
	.ncalls = 2,
	.serials = serials_130,
	.nserials = 2,
	.verdict = SQLOOM_HOLDS,
	.reason = "",
	.explored = 6,
	.complete = true,
	.by_class = { [SLM_CLASS_SERIAL] = 6 },
} };

static const struct slm_event busy_events[] = {
	STEP(0, 0, &bal_100), STEP(1, 0, &bal_100),   STEP(1, 1, &busy),
	END(1, false),	      STEP(0, 1, &changed_1), END(0, true),
};
static const char *const ok_busy[] = { "ok",
				       "SQLITE_BUSY: database is locked" };
static const struct slm_finding busy_findings[] = {
	{
		.class = SLM_CLASS_RETRY,
		.token = "abba~5f3a.aka2axaq",
		.schedule = "abba",
		.switches = 1,
		.count = 2,
		.outcome = { 3, 2, account_110, 1, ok_busy },
		.nearest = NULL,
		.events = busy_events,
		.nevents = COUNT(busy_events),
	},
};
static const char *const busy_notes[] = {
	"the column audit.at differs between equal runs and is not compared",
};
static const struct sqloom_report sample_retry = { {
	COMMON("it's a spec.spec"),
	.calls = alice_bob,
	.ncalls = 2,
	.serials = serials_130,
	.nserials = 2,
	.findings = busy_findings,
	.nfindings = 1,
	.verdict = SQLOOM_HOLDS,
	.reason = "",
	.explored = 12,
	.complete = true,
	.by_class = { [SLM_CLASS_RETRY] = 2,
		      [SLM_CLASS_BENIGN] = 3,
		      [SLM_CLASS_SERIAL] = 7 },
	.notes = busy_notes,
	.nnotes = 1,
} };

static const struct sqloom_report sample_inconclusive = { {
	.kind = SLM_TRACE_EXPLORE,
	.spec = "lost-update.spec",
	.backend = BACKEND,
	.strategy = "uniform and pct in turn",
	.bounds = "at most 3 switches",
	.options = " --max-preemptions 3",
	.seed = UINT64_MAX,
	.calls = alice_bob,
	.ncalls = 2,
	.serials = serials_130,
	.nserials = 2,
	.verdict = SQLOOM_INCONCLUSIVE,
	.reason = "the budget ended it (--max-runs 10000)",
	.explored = 10000,
	.by_class = { [SLM_CLASS_SERIAL] = 10000 },
} };

/* ---- A lock wait ------------------------------------------------------ */

static const struct slm_trace_step lock_a[] = {
	{ "begin", "BEGIN IMMEDIATE", "", "", 0x0001, false },
	{ "debit",
	  "UPDATE account SET bal = bal - 50\n   WHERE id = 1 AND "
	  "bal >= 50",
	  "account", "account", 0x0002, false },
	{ "commit", "COMMIT", "", "", 0x0003, false },
};
static const struct slm_trace_step lock_b[] = {
	{ "begin", "BEGIN IMMEDIATE", "", "", 0x0001, false },
	{ "look", "SELECT id, owner, bal FROM account ORDER BY id", "account",
	  "", 0x0004, false },
	{ "refill", "UPDATE account SET bal = 1000 WHERE bal < 0", "account",
	  "account", 0x0005, false },
	{ "commit", "COMMIT", "", "", 0x0003, false },
	{ "ROLLBACK", "ROLLBACK", "", "", 0x0006, true },
};
static const struct slm_trace_call lock_calls[] = {
	{ "debit", lock_a, 3 },
	{ "report", lock_b, 5 },
};
static const char *const owner_columns[] = { "id", "owner", "bal" };
static const struct slm_value seven_rows[] = {
	INTEGER(1),  TEXT("alice"), INTEGER(50),    INTEGER(2),	 TEXT("bob"),
	INTEGER(7),  INTEGER(3),    TEXT("carol"),  NIL,	 INTEGER(4),
	TEXT("dan"), REAL(1.5),	    INTEGER(5),	    TEXT("eve"), INTEGER(0),
	INTEGER(6),  TEXT("frank"), INTEGER(12345), INTEGER(7),	 TEXT("O'Hara"),
	REAL(1e300),
};
static const struct slm_result seven = {
	.rows = { 3, 7, 1234, owner_columns, seven_rows },
	.changes = -1,
};
static const struct slm_result unchanged = { .changes = 0 };
static const struct slm_event lock_events[] = {
	QUIET(0, 0, &nothing),	BLOCKED(1, 0, 1, "the RESERVED lock on main"),
	STEP(0, 1, &changed_1), STEP(0, 2, &nothing),
	END(0, true),		RESUMED(1, 0, 1250, &nothing),
	STEP(1, 1, &seven),	SKIPPED(1, 2),
	STEP(1, 3, &busy),	QUIET(1, 4, &unchanged),
	END(1, false),
};
static const struct slm_difference lock_differences[] = {
	{ "report: step look", "id=1 owner='alice' bal=50",
	  "id=1 owner='alice' bal=100" },
	{ "report: step look", NULL, "id=8 owner='gus' bal=0" },
};
static const struct slm_finding lock_findings[] = {
	{
		.class = SLM_CLASS_RESULT,
		.token = "abaabbb~0042",
		.schedule = "baabb",
		.switches = 0,
		.count = 1,
		.name = "read skew (A5A, G-single)",
		.cause = "report read account before and after debit.",
		.outcome = { 3, 2, account_100, 1, ok_busy },
		.differences = lock_differences,
		.ndifferences = 2,
		.nearest = "ba",
		.events = lock_events,
		.nevents = COUNT(lock_events),
	},
};
static const struct slm_trace_serial serials_100[] = {
	{ "ab", { 3, 0, account_130, 1, ok_ok } },
	{ "ba", { 3, 0, account_100, 1, ok_ok } },
};
static const struct sqloom_report sample_lock = { {
	COMMON("specs/lock.spec"),
	.calls = lock_calls,
	.ncalls = 2,
	.serials = serials_100,
	.nserials = 2,
	.findings = lock_findings,
	.nfindings = 1,
	.verdict = SQLOOM_BROKEN,
	.explored = 1200,
	.wrong = 1,
	.reason = "the budget ended it (--max-runs 1200)",
	.by_class = { [SLM_CLASS_RESULT] = 1, [SLM_CLASS_SERIAL] = 1199 },
} };

/* ---- Three calls, a unique violation ---------------------------------- */

#define LONG_INSERT                                                          \
	"INSERT INTO users (email, name, created_at, referrer, plan)\n"      \
	"\tSELECT 'carol@example.org', 'Carol', datetime('now'), 7, 'pro'\n" \
	"\t WHERE NOT EXISTS (SELECT 1 FROM users\n"                         \
	"\t                    WHERE email = 'carol@example.org')"

static const struct slm_trace_step signup_steps[] = {
	{ "check",
	  "SELECT count(*) FROM users WHERE email = "
	  "'carol@example.org'",
	  "users", "", 0x1111, false },
	{ "insert", LONG_INSERT, "users", "users", 0x2222, false },
	{ "log", "INSERT INTO log (what) VALUES ('signup')", "", "log", 0x3333,
	  false },
};
static const struct slm_trace_call signup_calls[] = {
	{ "signup_web", signup_steps, 3 },
	{ "signup_mobile", signup_steps, 3 },
	{ "nightly_import_of_users", signup_steps, 3 },
};
static const char *const count_columns[] = { "count(*)" };
static const struct slm_result count_0 = {
	.rows = ROW(count_columns, 1, INTEGER(0)), .changes = -1
};
static const struct slm_result not_unique = {
	.changes = -1,
	.error = SLM_ERROR_INTEGRITY,
	.code = "SQLITE_CONSTRAINT_UNIQUE",
	.message = "UNIQUE constraint failed: users.email",
};
static const struct slm_event signup_events[] = {
	STEP(0, 0, &count_0),
	STEP(1, 0, &count_0),
	STEP(1, 1, &changed_1),
	STEP(2, 0, &count_0),
	STEP(0, 1, &not_unique),
	END(0, false),
	STEP(1, 2, &changed_1),
	END(1, true),
	STEP(2, 1, &unchanged),
	STEP(2, 2, &changed_1),
	END(2, true),
};
static const char *const id_email[] = { "id", "email" };
static const char *const id_what[] = { "id", "what" };
static const struct slm_table signup_tables[] = {
	{ "users", ROW(id_email, 2, KEY("row of b in users"),
		       TEXT("carol@example.org")) },
	{ "log",
	  { 2, 2, 2, id_what,
	    LIST(struct slm_value, KEY("1st row"), TEXT("signup"),
		 KEY("2nd row"), TEXT("signup")) } },
};
static const struct slm_table signup_serial_tables[] = {
	{ "users", ROW(id_email, 2, KEY("row of b in users"),
		       TEXT("carol@example.org")) },
	{ "log",
	  { 2, 3, 3, id_what,
	    LIST(struct slm_value, KEY("1st row"), TEXT("signup"),
		 KEY("2nd row"), TEXT("signup"), KEY("3rd row"),
		 TEXT("signup")) } },
};
static const char *const unique_results[] = {
	"SQLITE_CONSTRAINT_UNIQUE: UNIQUE constraint failed: users.email", "ok",
	"ok"
};
#define SIGNUP_SERIAL(order)                                    \
	{                                                       \
		order,                                          \
		{                                               \
			7, 0, signup_serial_tables, 2, ok_ok_ok \
		}                                               \
	}
static const struct slm_trace_serial signup_serials[] = {
	SIGNUP_SERIAL("abc"), SIGNUP_SERIAL("acb"), SIGNUP_SERIAL("bac"),
	SIGNUP_SERIAL("bca"), SIGNUP_SERIAL("cab"), SIGNUP_SERIAL("cba"),
};
static const struct slm_difference signup_differences[] = {
	{ "log", NULL, "id=3 what='signup'" },
	{ "signup_web: result", "SQLITE_CONSTRAINT_UNIQUE", "ok" },
};
static const struct slm_finding signup_findings[] = {
	{
		.class = SLM_CLASS_ERROR,
		.token = "abbcabcc~beef.aaabacadaeafagah",
		.schedule = "abbcabcc",
		.switches = 5,
		.count = 600,
		.name = "duplicate insert",
		.cause = "signup_web and signup_mobile both saw that there is "
			 "no such row, and both inserted it.",
		.outcome = { 7, 1, signup_tables, 2, unique_results },
		.differences = signup_differences,
		.ndifferences = 2,
		.nearest = "bca",
		.events = signup_events,
		.nevents = COUNT(signup_events),
	},
};
static const struct sqloom_report sample_three = { {
	COMMON("signup.spec"),
	.calls = signup_calls,
	.ncalls = 3,
	.serials = signup_serials,
	.nserials = 6,
	.findings = signup_findings,
	.nfindings = 1,
	.verdict = SQLOOM_BROKEN,
	.reason = "",
	.explored = 1680,
	.complete = true,
	.wrong = 600,
	.by_class = { [SLM_CLASS_ERROR] = 600, [SLM_CLASS_SERIAL] = 1080 },
} };

/* ---- A check ---------------------------------------------------------- */

static const struct slm_finding check_findings[] = {
	{
		.class = SLM_CLASS_CHECK,
		.token = "abba~5f3a.aka2axaq",
		.schedule = "abba",
		.switches = 1,
		.count = 4,
		.name = "write skew (A5B, G2-item)",
		.check = "no overdraft",
		.check_rows = ROW(id_bal, 2, INTEGER(1), INTEGER(-20)),
		.outcome = { 3, 0, account_110, 1, ok_ok },
		.differences = lost_differences,
		.ndifferences = 1,
		.nearest = "ba",
		.events = lost_events,
		.nevents = COUNT(lost_events),
	},
};
static const struct sqloom_report sample_check = { {
	COMMON("-odd name.spec"),
	.calls = alice_bob,
	.ncalls = 2,
	.serials = serials_130,
	.nserials = 2,
	.findings = check_findings,
	.nfindings = 1,
	.verdict = SQLOOM_BROKEN,
	.reason = "",
	.explored = 6,
	.complete = true,
	.wrong = 4,
	.by_class = { [SLM_CLASS_CHECK] = 4, [SLM_CLASS_SERIAL] = 2 },
} };

/* ---- Replays ---------------------------------------------------------- */

static const struct sqloom_report sample_replay = { {
	.kind = SLM_TRACE_REPLAY,
	.spec = "lost-update.spec",
	.backend = BACKEND,
	.strategy = "replay",
	.bounds = "none",
	.options = " --journal wal",
	.calls = alice_bob,
	.ncalls = 2,
	.serials = serials_130,
	.nserials = 2,
	.findings = lost_findings,
	.nfindings = 1,
	.verdict = SQLOOM_BROKEN,
	.reason = "",
	.explored = 1,
	.wrong = 1,
	.by_class = { [SLM_CLASS_CONTENTS] = 1 },
} };

static const struct slm_finding serial_findings[] = {
	{
		.class = SLM_CLASS_SERIAL,
		.token = "aabb~5f3a.aka2axaq",
		.schedule = "aabb",
		.count = 1,
		.outcome = { 3, 0, account_130, 1, ok_ok },
		.nearest = "ab",
		.events = lost_events,
		.nevents = COUNT(lost_events),
	},
};

static const struct sqloom_report sample_diverged = { {
	.kind = SLM_TRACE_REPLAY,
	.spec = "lost-update.spec",
	.backend = BACKEND,
	.strategy = "replay",
	.bounds = "none",
	.options = "",
	.calls = alice_bob,
	.ncalls = 2,
	.serials = serials_130,
	.nserials = 2,
	.findings = serial_findings,
	.nfindings = 1,
	.verdict = SQLOOM_INCONCLUSIVE,
	.reason = "diverged",
	.explored = 1,
	.by_class = { [SLM_CLASS_SERIAL] = 1 },
	.divergence = { true, 3, "bob has another statement now",
			"UPDATE account SET bal = ? WHERE id = ?",
			"UPDATE account\n   SET bal = bal + ?\n WHERE id = ?" },
} };

/* ---- Many findings, five calls ---------------------------------------- */

static const struct slm_trace_step five_steps[] = {
	{ "take",
	  "UPDATE stock SET left = left - 1 WHERE item = 'lamp' AND "
	  "left > 0",
	  "stock", "stock", 0x1111, false },
	{ "commit", "COMMIT", "", "", 0x2222, false },
};
static const struct slm_trace_call five_calls[] = {
	{ "anna", five_steps, 2 }, { "ben", five_steps, 2 },
	{ "cleo", five_steps, 2 }, { "dora", five_steps, 2 },
	{ "emil", five_steps, 2 },
};
static const struct slm_event five_events[] = {
	STEP(0, 0, &changed_1),
	BLOCKED(1, 0, 1, "the RESERVED lock on main"),
	BLOCKED(2, 0, 3, "the RESERVED lock on main"),
	STEP(0, 1, &nothing),
	END(0, true),
	RESUMED(1, 0, 0, &changed_1),
	STEP(4, 0, &unchanged),
	STEP(1, 1, &nothing),
	END(1, true),
	RESUMED(2, 0, 5000, &busy),
	END(2, false),
	STEP(3, 0, &unchanged),
	STEP(4, 1, &nothing),
	END(4, true),
	STEP(3, 1, &nothing),
	END(3, true),
};
static const char *const five_results[] = { "ok", "ok",
					    "SQLITE_BUSY: database is locked",
					    "ok", "ok" };
static const char *const five_ok[] = { "ok", "ok", "ok", "ok", "ok" };
static const char *const item_left[] = { "item", "left" };
static const struct slm_table stock_0[] = {
	{ "stock", ROW(item_left, 2, TEXT("lamp"), INTEGER(-2)) },
};
static const struct slm_table stock_1[] = {
	{ "stock", ROW(item_left, 2, TEXT("lamp"), INTEGER(0)) },
};
static const struct slm_table stock_2[] = {
	{ "stock", ROW(item_left, 2, TEXT("lamp"), INTEGER(1)) },
};
static const struct slm_trace_serial five_serials[] = {
	{ "abcde", { 31, 0, stock_1, 1, five_ok } },
	{ "abced", { 31, 0, stock_1, 1, five_ok } },
	{ "abdce", { 31, 0, stock_2, 1, five_ok } },
	{ "abdec", { 31, 0, stock_1, 1, five_ok } },
	{ "abecd", { 31, 0, stock_1, 1, five_ok } },
};
#define FIVE(c, t, n, called)                                        \
	{                                                            \
		.class = (c), .token = (t), .schedule = "abcaebded", \
		.switches = 6, .count = (n), .name = (called),       \
		.outcome = { 31, 4, stock_0, 1, five_results },      \
		.nearest = "abced", .events = five_events,           \
		.nevents = COUNT(five_events)                        \
	}
static const struct slm_finding five_findings[] = {
	FIVE(SLM_CLASS_CONTENTS, "abcaebded~0001", 1, "lost update (P4)"),
	FIVE(SLM_CLASS_CONTENTS, "abcaebded~0002", 2, "phantom (G2)"),
	FIVE(SLM_CLASS_RESULT, "abcaebded~0003", 3, NULL),
	FIVE(SLM_CLASS_ERROR, "abcaebded~0004", 4, "deadlock"),
	FIVE(SLM_CLASS_ERROR, "abcaebded~0005", 5, NULL),
	FIVE(SLM_CLASS_ERROR, "abcaebded~0006", 6, NULL),
	FIVE(SLM_CLASS_ERROR, "abcaebded~0007", 7, NULL),
	FIVE(SLM_CLASS_ERROR, "abcaebded~0008", 8, NULL),
	FIVE(SLM_CLASS_ERROR, "abcaebded~0009", 9, NULL),
	FIVE(SLM_CLASS_ERROR, "abcaebded~000a", 10, NULL),
	FIVE(SLM_CLASS_RETRY, "abcaebded~000b", 11, NULL),
	FIVE(SLM_CLASS_RETRY, "abcaebded~000c", 12, NULL),
	FIVE(SLM_CLASS_RETRY, "abcaebded~000d", 13, NULL),
	FIVE(SLM_CLASS_BENIGN, "abcaebded~000e", 14, NULL),
};
static const char *const five_notes[] = {
	"the call dora stalled in 2 schedules: it neither took a step nor "
	"waited in the database for 1,000 ms, so those schedules prove nothing",
	"the column stock.seen_at differs between equal runs and is not "
	"compared",
};
static const struct sqloom_report sample_many = { {
	COMMON("shop/stock.spec"),
	.calls = five_calls,
	.ncalls = 5,
	.serials = five_serials,
	.nserials = 5,
	.findings = five_findings,
	.nfindings = COUNT(five_findings),
	.verdict = SQLOOM_BROKEN,
	.explored = 123456,
	.reason = "the budget ended it (--max-time 60s)",
	.wrong = 55,
	.by_class = { [SLM_CLASS_CONTENTS] = 3,
		      [SLM_CLASS_RESULT] = 3,
		      [SLM_CLASS_ERROR] = 49,
		      [SLM_CLASS_RETRY] = 36,
		      [SLM_CLASS_BENIGN] = 14,
		      [SLM_CLASS_SERIAL] = 123351 },
	.notes = five_notes,
	.nnotes = 2,
	.elapsed_ns = 60012345678,
	.reruns = 300,
} };

/* ---- Everything that is evil ------------------------------------------ */

#define ESC "\033[31m"
#define EVIL                                       \
	ESC "\a\b\r\t\x7f\xff\xc0\xaf\xe2\x80\xae" \
	    "reversed\xc2\x9b"                     \
	    "2J"

static const struct slm_trace_step evil_steps[] = {
	{ "st\nep" EVIL,
	  "SELECT '" EVIL "',\n\t\"a  b\" -- why" ESC "\n"
	  "FROM \xe8\xa1\xa8 WHERE \xe5\x90\x8d\xe5\x89\x8d = "
	  "'\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e' -- " EVIL,
	  "t" EVIL, "u" EVIL, 0xffff, false },
	{ "", "", "", "", 0, false },
};
static const struct slm_trace_call evil_calls[] = {
	{ "ev" EVIL "il", evil_steps, 2 },
	{ "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xae\xe5\x90\x8d",
	  evil_steps, 2 },
};
static const char *const evil_columns[] = { "na" EVIL "me", "", "c3" };
static const struct slm_value evil_values[] = {
	TEXT("O'" EVIL),
	BLOB("\0\1\2\377"),
	REAL(0.1),
	KEY("k" EVIL),
	MASKED,
	REAL(INFINITY),
	TEXT("a\0b"),
	REAL(-0.0),
	REAL(-INFINITY),
	TEXT("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"),
	REAL(1.0),
	REAL(NAN),
	TEXT("combining e\xcc\x81"),
	INTEGER(INT64_MIN),
	INTEGER(INT64_MAX),
	TEXT(""),
	BLOB(""),
	NIL,
};
static const struct slm_table evil_tables[] = {
	{ "t" EVIL, { 3, 6, 100000, evil_columns, evil_values } },
	{ "empty", { 3, 0, 0, evil_columns, NULL } },
	{ "no columns", { 0 } },
};
static const struct slm_table evil_serial_tables[] = {
	{ "t" EVIL, { 3, 1, 1, evil_columns, evil_values + 3 } },
	{ "empty", { 3, 1, 1, evil_columns, evil_values } },
};
static const struct slm_result evil_result = {
	.rows = { 3, 6, 6, evil_columns, evil_values },
	.changes = INT64_MAX,
	.error = SLM_ERROR_OTHER,
	.code = "CODE" EVIL,
	.message = "message" EVIL,
};
static const struct slm_event evil_events[] = {
	RESUMED(0, 0, UINT32_MAX, &evil_result),
	STEP(0, 0, &evil_result),
	BLOCKED(0, 0, 3, "the lock" EVIL),
	BLOCKED(0, 1, 0, NULL),
	BLOCKED(1, 0, 2, NULL),
	END(0, true),
	STEP(0, 1, NULL),
	SKIPPED(1, 0),
	END(0, false),
	END(0, false),
};
static const char *const evil_results[] = { "ok" EVIL, NULL };
static const struct slm_difference evil_differences[] = {
	{ "w" EVIL, "a" EVIL, "e" EVIL },
	{ "w", NULL, NULL },
};
static const struct slm_finding evil_findings[] = {
	{
		.class = SLM_CLASS_CHECK,
		.token = "a8192~ffff",
		.schedule = "",
		.switches = 8192,
		.count = UINT64_MAX,
		.name = "name" EVIL,
		.cause = "cause" EVIL,
		.check = "check" EVIL,
		.check_rows = { 3, 2, UINT64_MAX, evil_columns, evil_values },
		.outcome = { 3, 3, evil_tables, 3, evil_results },
		.differences = evil_differences,
		.ndifferences = 2,
		.events = evil_events,
		.nevents = COUNT(evil_events),
	},
};
static const struct slm_trace_serial evil_serials[] = {
	{ "ab", { 3, 0, evil_serial_tables, 2, evil_results } },
	{ "ba", { 3, 3, NULL, 0, NULL } },
};
static const char *const evil_notes[] = { "note" EVIL, "" };
static const struct sqloom_report sample_evil = { {
	.kind = SLM_TRACE_EXPLORE,
	.spec = "sp'ec " EVIL,
	.backend = "back" EVIL,
	.strategy = "strat" EVIL,
	.bounds = "bounds" EVIL,
	.options = "",
	.seed = UINT64_MAX,
	.calls = evil_calls,
	.ncalls = 2,
	.serials = evil_serials,
	.nserials = 2,
	.findings = evil_findings,
	.nfindings = 1,
	.verdict = SQLOOM_BROKEN,
	.reason = "reason" EVIL,
	.explored = UINT64_MAX,
	.complete = false,
	.wrong = UINT64_MAX,
	.by_class = { UINT64_MAX, 1, 2, 3, 4, 5, UINT64_MAX },
	.notes = evil_notes,
	.nnotes = 2,
} };

#include "samples_program.h"

/* ---- All of them ------------------------------------------------------ */

static const struct {
	const char *name;
	const struct sqloom_report *report;
} samples[] = {
	{ "lost-update", &sample_lost_update },
	{ "holds", &sample_holds },
	{ "retry", &sample_retry },
	{ "inconclusive", &sample_inconclusive },
	{ "lock", &sample_lock },
	{ "three", &sample_three },
	{ "check", &sample_check },
	{ "replay", &sample_replay },
	{ "diverged", &sample_diverged },
	{ "many", &sample_many },
	{ "evil", &sample_evil },
	{ "program", &sample_program },
	{ "nameless", &sample_nameless },
	{ "record", &sample_record },
	{ "evil-program", &sample_evil_program },
	{ "evil-record", &sample_evil_record },
};

#endif
