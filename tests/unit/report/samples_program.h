/* SPDX-License-Identifier: Apache-2.0 */
/* Reports of calls that are programs, and of a recording. Included by
 * samples.h, whose macros it uses. */
#ifndef SLM_TESTS_SAMPLES_PROGRAM_H
#define SLM_TESTS_SAMPLES_PROGRAM_H

#define SENT(c, s, p, r)                                          \
	{                                                         \
		.kind = SLM_EVENT_STEP, .call = (c), .step = (s), \
		.choice = true, .params = (p), .result = (r)      \
	}
#define STALLED(c, why)                                                        \
	{                                                                      \
		.kind = SLM_EVENT_STALLED, .call = (c), .step = SLM_STEP_NONE, \
		.choice = false, .what = (why)                                 \
	}
#define GAVE(c, good, r)                                                   \
	{                                                                  \
		.kind = SLM_EVENT_END, .call = (c), .step = SLM_STEP_NONE, \
		.ok = (good), .result = (r)                                \
	}

static const struct slm_trace_step redeem_steps[] = {
	{ "SELECT coupon", "SELECT used FROM coupon WHERE code = $1", "coupon",
	  "", 0x1111, false },
	{ "INSERT redemption",
	  "INSERT INTO redemption (code, who) VALUES ($1, $2)", "",
	  "redemption", 0x2222, false },
	{ "commit", "COMMIT", "", "", 0x3333, true },
	{ "s4", "BEGIN", "", "", 0x4444, false },
};
static const struct slm_trace_call redeem_calls[] = {
	{ "alice", redeem_steps, 4, SLM_TRACE_HTTP,
	  "POST http://127.0.0.1:8000/redeem code=SPRING who=alice" },
	{ "job", redeem_steps, 3, SLM_TRACE_EXEC, "./redeem --who bob SPRING" },
};
static const char *const used_column[] = { "used" };
static const struct slm_result not_used = {
	.rows = ROW(used_column, 1, TEXT("f")), .changes = -1
};
static const char *const answer_columns[] = { "status", "$.ok", "$.id" };
static const struct slm_result answer_200 = {
	.rows = ROW(answer_columns, 3, INTEGER(200), TEXT("yes"), INTEGER(7)),
	.changes = -1
};
static const char *const output_columns[] = { "exit", "line 1" };
static const struct slm_result exit_0 = {
	.rows = ROW(output_columns, 2, INTEGER(0), TEXT("redeemed")),
	.changes = -1
};
static const char *const exit_columns[] = { "exit" };
static const struct slm_result exit_1 = {
	.rows = ROW(exit_columns, 1, INTEGER(1)),
	.changes = -1,
	.error = SLM_ERROR_REFUSED,
	.code = "exit 1",
	.message = "used already",
};
static const struct slm_event redeem_events[] = {
	SENT(0, 0, "$1 = 'SPRING'", &not_used),
	SENT(1, 0, "$1 = 'SPRING'", &not_used),
	STALLED(0, "it does nothing"),
	SENT(1, 1, "$1 = 'SPRING', $2 = 'bob'", &changed_1),
	STEP(1, 2, &nothing),
	GAVE(1, true, &exit_0),
	SENT(0, 1, "$1 = 'SPRING', $2 = 'alice'", &changed_1),
	STEP(0, 2, &nothing),
	GAVE(0, true, &answer_200),
};
static const struct slm_event refused_events[] = {
	QUIET(0, 3, &nothing),	    SENT(0, 0, "", &not_used),
	GAVE(0, true, &answer_200), SENT(1, 0, NULL, &not_used),
	GAVE(1, false, &exit_1),
};
static const char *const redeem_results[] = { "HTTP 200 ok='yes' id=7",
					      "exit 0 'redeemed'" };
static const struct slm_difference redeem_differences[] = {
	{ "alice: $.ok", "'yes'", "'no'" },
	{ "job: line 1", "'redeemed'", "'sold out'" },
};
static const struct slm_finding redeem_findings[] = {
	{
		.class = SLM_CLASS_RESULT,
		.token = "abbbaa~5f3a",
		.schedule = "abbbaa",
		.switches = 1,
		.count = 4,
		.outcome = { 3, 0, NULL, 0, redeem_results },
		.differences = redeem_differences,
		.ndifferences = 2,
		.nearest = "ba",
		.events = redeem_events,
		.nevents = COUNT(redeem_events),
	},
	{
		.class = SLM_CLASS_ERROR,
		.token = "aabb~5f3a",
		.schedule = "aabb",
		.switches = 0,
		.count = 1,
		.outcome = { 3, 2, NULL, 0, redeem_results },
		.events = refused_events,
		.nevents = COUNT(refused_events),
	},
};
static const struct slm_trace_serial redeem_serials[] = {
	{ "ab", { 3, 0, NULL, 0, redeem_results } },
	{ "ba", { 3, 0, NULL, 0, redeem_results } },
};
static const struct sqloom_report sample_program = { {
	COMMON("redeem.spec"),
	.calls = redeem_calls,
	.ncalls = 2,
	.serials = redeem_serials,
	.nserials = 2,
	.findings = redeem_findings,
	.nfindings = 2,
	.verdict = SQLOOM_BROKEN,
	.reason = "",
	.explored = 6,
	.complete = true,
	.wrong = 5,
	.by_class = { [SLM_CLASS_RESULT] = 4,
		      [SLM_CLASS_ERROR] = 1,
		      [SLM_CLASS_SERIAL] = 1 },
} };

/* Without names, as on a command line. */
static const struct slm_trace_call nameless_calls[] = {
	{ "a", redeem_steps, 4, SLM_TRACE_HTTP,
	  "POST http://127.0.0.1:8000/redeem code=SPRING who=alice" },
	{ "b", redeem_steps, 3, SLM_TRACE_EXEC, "./redeem --who bob SPRING" },
};
static const struct sqloom_report sample_nameless = { {
	COMMON("redeem.spec"),
	.calls = nameless_calls,
	.ncalls = 2,
	.findings = redeem_findings + 1,
	.nfindings = 1,
	.verdict = SQLOOM_BROKEN,
	.reason = "",
	.explored = 1,
	.wrong = 1,
	.by_class = { [SLM_CLASS_ERROR] = 1 },
} };

/* ---- A recording ------------------------------------------------------ */

static const struct slm_trace_step recorded_steps[] = {
	{ "BEGIN", "BEGIN", "", "", 1, false },
	{ "SELECT account", "SELECT bal FROM account WHERE id = $1", "account",
	  "", 2, false },
	{ "UPDATE account", "UPDATE account SET bal = $1 WHERE id = $2",
	  "account", "account", 3, false },
	{ "COMMIT", "COMMIT", "", "", 4, false },
	{ "ROLLBACK", "ROLLBACK TO SAVEPOINT a", "", "", 5, false },
};
static const struct slm_trace_call recorded_calls[] = {
	{ "shop", recorded_steps, 5, SLM_TRACE_CLIENT,
	  "application_name shop" },
	{ "psql", recorded_steps, 5, SLM_TRACE_CLIENT, NULL },
};
static const struct slm_event recorded_events[] = {
	STEP(0, 0, &nothing),
	SENT(0, 1, "$1 = 1", &bal_100),
	SENT(1, 1, "$1 = 1", &bal_100),
	STEP(1, 0, &nothing),
	STEP(0, 4, &nothing),
	SENT(0, 2, "$1 = 90, $2 = 1", &changed_1),
	STEP(0, 3, &nothing),
	SENT(1, 2, "$1 = 80, $2 = 1", &busy),
	END(1, true),
	SENT(0, 1, "$1 = 1", &bal_100),
};
static const struct slm_finding recorded_findings[] = {
	{ .class = SLM_CLASS_SERIAL,
	  .token = "",
	  .schedule = "",
	  .events = recorded_events,
	  .nevents = COUNT(recorded_events) },
};
static const char *const recorded_notes[] = {
	"1 connection was open when the recording ended",
};
static const struct sqloom_report sample_record = { {
	.kind = SLM_TRACE_RECORD,
	.spec = "",
	.backend = "PostgreSQL 15.5",
	.strategy = "",
	.bounds = "",
	.options = "",
	.calls = recorded_calls,
	.ncalls = 2,
	.findings = recorded_findings,
	.nfindings = 1,
	.verdict = SQLOOM_HOLDS, /* says nothing in a recording */
	.reason = "",
	.notes = recorded_notes,
	.nnotes = 1,
} };

/* ---- Evil ones -------------------------------------------------------- */

static const struct slm_trace_call evil_programs[] = {
	{ "ev" EVIL "il", evil_steps, 2, SLM_TRACE_EXEC, "sh" EVIL "\n-c" },
	{ "", evil_steps, 2, SLM_TRACE_HTTP, "" },
};
static const struct slm_event evil_program_events[] = {
	SENT(0, 0, "$1 = '" EVIL, &evil_result),
	STALLED(0, "what" EVIL),
	STALLED(1, NULL),
	GAVE(0, false, &evil_result),
	GAVE(0, true, &evil_result),
	GAVE(1, true, &nothing),
	GAVE(1, false, &busy),
	RESUMED(1, 1, 3, &evil_result),
};
static const struct slm_finding evil_program_findings[] = {
	{ .class = SLM_CLASS_ERROR,
	  .token = "a~0000",
	  .schedule = "a",
	  .outcome = { 3, 3, NULL, 0, evil_results },
	  .events = evil_program_events,
	  .nevents = COUNT(evil_program_events) },
};
static const struct sqloom_report sample_evil_program = { {
	COMMON("evil"),
	.calls = evil_programs,
	.ncalls = 2,
	.findings = evil_program_findings,
	.nfindings = 1,
	.verdict = SQLOOM_BROKEN,
	.reason = "",
	.explored = 1,
	.wrong = 1,
	.by_class = { [SLM_CLASS_ERROR] = 1 },
} };
static const struct slm_finding evil_recorded_findings[] = {
	{ .class = SLM_CLASS_SERIAL,
	  .token = "",
	  .schedule = "",
	  .events = evil_program_events,
	  .nevents = COUNT(evil_program_events) },
};
static const struct sqloom_report sample_evil_record = { {
	.kind = SLM_TRACE_RECORD,
	.spec = "",
	.backend = EVIL,
	.strategy = "",
	.bounds = "",
	.options = "",
	.calls = evil_programs,
	.ncalls = 2,
	.findings = evil_recorded_findings,
	.nfindings = 1,
	.reason = "",
	.verdict = SQLOOM_INCONCLUSIVE,
} };

#endif
