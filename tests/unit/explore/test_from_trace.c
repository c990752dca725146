/* SPDX-License-Identifier: Apache-2.0 */
/* A recording as a spec. */
#include "explore_help.h"

#include <libpq-fe.h>

#include "pg/server.h"

#define EVENTS_MAX 1000
#define STEPS_MAX 40

/* A recording in the making. */
struct tape {
	struct slm_trace_step steps[STEPS_MAX];
	struct slm_trace_call calls[SLM_CALLS_MAX];
	struct slm_event events[EVENTS_MAX];
	struct slm_finding finding;
	struct sqloom_report report;
};

static void tape_begin(struct tape *t)
{
	memset(t, 0, sizeof(*t));
	t->report.trace.kind = SLM_TRACE_RECORD;
	t->report.trace.backend = "PostgreSQL 15.5";
	t->report.trace.calls = t->calls;
	t->report.trace.findings = &t->finding;
	t->report.trace.nfindings = 1;
	t->finding.events = t->events;
}

static uint32_t connect(struct tape *t, const char *name)
{
	struct slm_trace_call *call = &t->calls[t->report.trace.ncalls];

	call->name = name;
	call->kind = SLM_TRACE_CLIENT;
	call->steps = t->steps;
	return t->report.trace.ncalls++;
}

static struct slm_event *sent(struct tape *t, uint32_t call, const char *sql,
			      const char *params)
{
	static const struct slm_result done = { .changes = -1 };
	struct slm_event *event = &t->events[t->finding.nevents++];
	uint32_t step = 0;

	assert_true(t->finding.nevents <= EVENTS_MAX);
	while (t->steps[step].sql && strcmp(t->steps[step].sql, sql) != 0)
		step++;
	assert_true(step < STEPS_MAX);
	t->steps[step] = (struct slm_trace_step){ "s", sql, "", "", 0, false };
	for (uint32_t i = 0; i < t->report.trace.ncalls; i++)
		if (t->calls[i].nsteps <= step)
			t->calls[i].nsteps = step + 1;
	*event = (struct slm_event){ .kind = SLM_EVENT_STEP,
				     .call = call,
				     .step = step,
				     .params = params,
				     .result = &done };
	return event;
}

static struct sqloom_spec *convert(struct tape *t)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err;

	if (sqloom_spec_from_trace(&t->report, &spec, &err))
		fail_msg("%s", err.message);
	return spec;
}

#define assert_text(t, expected)                            \
	do {                                                \
		struct sqloom_spec *spec_ = convert(t);     \
		assert_string_equal(spec_->text, expected); \
		sqloom_spec_free(spec_);                    \
		assert_int_equal(slm_alloc_live(), 0);      \
	} while (0)

#define HEAD                                                            \
	"# Made by sqloom from a recording of PostgreSQL "              \
	"15.5.\n# To be explored on that database, as it was when the " \
	"recording began.\n"

#define LOOK "SELECT bal FROM account WHERE id = $1"
#define PAY "UPDATE account SET bal = $1 WHERE id = $2"

/* ---- The text --------------------------------------------------------- */

static void test_sessions(void **state)
{
	struct slm_event *waits;
	struct tape t;

	(void)state;
	tape_begin(&t);
	connect(&t, "shop");
	connect(&t, "psql");
	connect(&t, "shop");
	sent(&t, 0, "BEGIN", NULL);
	sent(&t, 0, LOOK, "$1 = 1");
	sent(&t, 1, "SET timezone = 'UTC'", NULL);
	sent(&t, 1, "SELECT 1", NULL);
	sent(&t, 2, "  SELECT bal FROM account;\n", "");
	waits = sent(&t, 0, PAY, "$1 = -90, $2 = 1");
	waits->kind = SLM_EVENT_BLOCKED;
	*sent(&t, 0, PAY, NULL) = (struct slm_event){ .kind = SLM_EVENT_RESUMED,
						      .call = 0,
						      .step = waits->step };
	sent(&t, 0, "COMMIT", NULL);
	t.events[t.finding.nevents++] = (struct slm_event){
		.kind = SLM_EVENT_END, .call = 0, .step = SLM_STEP_NONE
	};
	assert_text(&t, HEAD
		    "# Left out, as they neither read nor wrote a table: "
		    "psql.\n"
		    "option results joint\n"
		    "\nsession \"shop\"\n"
		    "step as1 { BEGIN }\n"
		    "step as2 { SELECT bal FROM account WHERE id = 1 }\n"
		    "step as3 { UPDATE account SET bal = (-90) WHERE id = 1 }\n"
		    "step as4 { COMMIT }\n"
		    "\nsession \"shop 2\"\n"
		    "step bs1 { SELECT bal FROM account }\n");
}

static void test_left_out(void **state)
{
	static const struct slm_result error = { .changes = -1,
						 .error = SLM_ERROR_OTHER,
						 .code = "42P01" };
	struct tape t;

	(void)state;
	tape_begin(&t);
	connect(&t, "catalogue");
	connect(&t, "");
	sent(&t, 0, "SELECT oid FROM pg_type", NULL);
	sent(&t, 1, "SELECT oid FROM pg_catalog.pg_type", NULL);
	sent(&t, 1, "/* ping */", NULL);
	sent(&t, 1, "COPY t TO STDOUT", NULL);
	sent(&t, 1, "DELETE FROM t", NULL)->result = &error;
	t.steps[4].implicit = false;
	sent(&t, 1, "COMMIT", NULL);
	t.steps[5].implicit = true;
	/* Prepared by a statement, and by the protocol alone. */
	sent(&t, 1, "PREPARE p AS SELECT 1", NULL);
	sent(&t, 1, "DEALLOCATE p", NULL);
	sent(&t, 1, "DEALLOCATE pdo_stmt_00000001", NULL);
	sent(&t, 1, "DEALLOCATE ALL", NULL);
	assert_text(&t, HEAD
		    "# Left out, as they neither read nor wrote a table: "
		    "catalogue.\n"
		    "option results joint\n"
		    "option on_error continue\n"
		    "\nsession \"connection b\"\n"
		    "# Left out: 1 statement that reads only the catalogue.\n"
		    "# Left out: 1 COPY ... TO.\n"
		    "step as1 { DELETE FROM t }\n"
		    "step as2 { PREPARE p AS SELECT 1 }\n"
		    "step as3 { DEALLOCATE p }\n"
		    "step as4 { DEALLOCATE ALL }\n");
}

/* What a block, or a session, would take for something else. */
static void test_texts(void **state)
{
	static const struct {
		const char *sql, *params, *text;
	} cases[] = {
		{ "INSERT INTO t VALUES ($1)", "$1 = '{\"a\": {}}'",
		  "INSERT INTO t VALUES ('{\"a\": {}}')" },
		{ "INSERT INTO t VALUES ($1)", "$1 = 'a\\b\n}it''s'",
		  "INSERT INTO t VALUES (E'a\\\\b\\n}it''s')" },
		{ "INSERT INTO t VALUES (E'\\'}\r\n')", NULL,
		  "INSERT INTO t VALUES (E'\\'}\\r\\n')" },
		{ "INSERT INTO t VALUES ($q$it's }$q$)", NULL,
		  "INSERT INTO t VALUES ( E'it''s }')" },
		{ "INSERT INTO t VALUES ($q$plain$q$)", NULL,
		  "INSERT INTO t VALUES ($q$plain$q$)" },
		{ "DELETE FROM t -- all of it }", NULL, "DELETE FROM t" },
		{ "DELETE /* a /* } */ } */ FROM t", NULL, "DELETE   FROM t" },
		{ "SELECT a[x:y], '1:a', a::int FROM t", NULL,
		  "SELECT a[x: y], '1:a', a::int FROM t" },
		{ "SELECT \"a}\" FROM t", NULL, "SELECT \"a}\" FROM t" },
		{ "PREPARE p AS DELETE FROM t WHERE a = $1", NULL,
		  "PREPARE p AS DELETE FROM t WHERE a = $1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sqloom_spec *spec;
		struct tape t;
		const char *text;

		tape_begin(&t);
		connect(&t, "x");
		sent(&t, 0, cases[i].sql, cases[i].params);
		sent(&t, 0, "DELETE FROM u", NULL);
		spec = convert(&t);
		assert_int_equal(spec->nsessions, 1);
		assert_int_equal(spec->sessions[0].nsteps, 2);
		text = spec->sessions[0].steps[0].sql.text;
		if (strncmp(text + 1, cases[i].text, strlen(text) - 2) != 0 ||
		    strlen(text) != strlen(cases[i].text) + 2)
			fail_msg("case %zu: '%s'", i, text);
		sqloom_spec_free(spec);
	}
}

static void test_names(void **state)
{
	static char longer[] =
		"a name that is much longer than a name may be in a spec, and "
		"that ends with \xc3\xa4";
	struct sqloom_spec *spec;
	struct tape t;

	(void)state;
	tape_begin(&t);
	connect(&t, "a \"b\"\n#");
	connect(&t, longer);
	connect(&t, longer);
	t.report.trace.backend = "x\nsession y";
	for (uint32_t i = 0; i < 3; i++)
		sent(&t, i, "DELETE FROM t", NULL);
	spec = convert(&t);
	assert_int_equal(spec->nsessions, 3);
	assert_string_equal(spec->sessions[0].name, "a \"b\"?#");
	assert_memory_equal(spec->sessions[1].name, longer, 59);
	assert_string_equal(spec->sessions[2].name + 59, " 2");
	sqloom_spec_free(spec);
}

/* ---- What cannot be --------------------------------------------------- */

static void refuse(struct tape *t, enum sqloom_status status, const char *says)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err = { 0 };

	assert_int_equal(sqloom_spec_from_trace(&t->report, &spec, &err),
			 status);
	assert_null(spec);
	if (!strstr(err.message, says))
		fail_msg("%s", err.message);
	assert_int_equal(slm_alloc_live(), 0);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *sql, *params, *says;
		enum sqloom_status status;
	} cases[] = {
		{ "COPY t FROM STDIN", NULL, "the data of COPY",
		  SQLOOM_UNSUPPORTED },
		{ LOOK, "$1 = 'abc'...", "the value of a parameter",
		  SQLOOM_UNSUPPORTED },
		{ LOOK, NULL, "statement 1 of connection a (x)",
		  SQLOOM_UNSUPPORTED },
		{ "", NULL, "no SQL text", SQLOOM_UNSUPPORTED },
		{ "INSERT INTO t VALUES (U&'\n}')", NULL, "has a }",
		  SQLOOM_UNSUPPORTED },
		{ "SELECT 1", NULL, "nothing to explore", SQLOOM_USAGE },
	};
	struct tape t;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tape_begin(&t);
		connect(&t, "x");
		sent(&t, 0, cases[i].sql, cases[i].params);
		refuse(&t, cases[i].status, cases[i].says);
	}
	tape_begin(&t);
	refuse(&t, SQLOOM_USAGE, "nothing to explore");
	t.report.trace.kind = SLM_TRACE_EXPLORE;
	refuse(&t, SQLOOM_USAGE, "no recording");
}

static void test_limits(void **state)
{
	static char large[SLM_SPEC_SIZE_MAX];
	struct tape t;

	(void)state;
	tape_begin(&t);
	connect(&t, "x");
	for (unsigned i = 0; i < SLM_SPEC_STEPS_MAX; i++)
		sent(&t, 0, "DELETE FROM t", NULL);
	sqloom_spec_free(convert(&t));
	sent(&t, 0, "DELETE FROM t", NULL);
	refuse(&t, SQLOOM_LIMIT, "has 257 statements");
	tape_begin(&t);
	connect(&t, "x");
	memset(large, 'x', sizeof(large) - 1);
	memcpy(large, "DELETE FROM ", 12);
	sent(&t, 0, large, NULL);
	refuse(&t, SQLOOM_LIMIT, "");
}

static void test_no_memory(void **state)
{
	struct sqloom_spec *spec = NULL;
	enum sqloom_status status;
	uint64_t n = 0;
	struct tape t;

	(void)state;
	tape_begin(&t);
	connect(&t, "shop");
	connect(&t, "shop");
	connect(&t, "");
	sent(&t, 0, LOOK, "$1 = '}\n'");
	sent(&t, 1, PAY, "$1 = 1, $2 = 3");
	sent(&t, 2, "SELECT 1", NULL);
	do {
		slm_alloc_fail_from(++n);
		status = sqloom_spec_from_trace(&t.report, &spec, NULL);
		slm_alloc_fail_from(0);
		assert_true(status == SQLOOM_OK || status == SQLOOM_NOMEM);
		assert_true(!status == !!spec);
		sqloom_spec_free(spec);
		assert_int_equal(slm_alloc_live(), 0);
	} while (status && n < 10000);
	assert_int_equal(status, SQLOOM_OK);
}

/* ---- Exploring it ----------------------------------------------------- */

static void execute(const char *conninfo, const char *sql)
{
	PGconn *conn = PQconnectdb(conninfo);
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail_msg("%s", PQerrorMessage(conn));
	PQclear(result);
	PQfinish(conn);
}

/* Two withdrawals that went well one after the other. */
static void record_withdrawals(struct tape *t)
{
	tape_begin(t);
	connect(t, "first");
	connect(t, "second");
	for (uint32_t i = 0; i < 2; i++) {
		sent(t, i, "BEGIN", NULL);
		sent(t, i, LOOK, "$1 = '1'");
		sent(t, i, PAY,
		     i ? "$1 = '80', $2 = '1'" : "$1 = '90', $2 = '1'");
		sent(t, i, "COMMIT", NULL);
	}
}

static void test_explored(void **state)
{
	struct sqloom_options options = usual();
	struct slm_pg_server *server = NULL;
	struct sqloom_report *report, *read = NULL;
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err;
	char *text = NULL;
	size_t size;
	struct tape t;

	(void)state;
	if (slm_pg_server_start(NULL, &server, &err)) {
		print_message("%s\n", err.message);
		skip();
	}
	execute(slm_pg_server_conninfo(server),
		"CREATE TABLE account (id int PRIMARY KEY, bal int NOT NULL);"
		"INSERT INTO account VALUES (1, 100)");
	record_withdrawals(&t);
	/* By way of a file, as the command does it. */
	assert_int_equal(slm_trace_format(&t.report.trace, &text, &size, NULL),
			 0);
	assert_int_equal(slm_trace_parse(text, size, "t", &read, NULL), 0);
	assert_int_equal(sqloom_spec_from_trace(read, &spec, &err), SQLOOM_OK);
	sqloom_report_free(read);
	slm_free(text);
	options.database = slm_pg_server_conninfo(server);
	report = explore_spec(spec, &options);
	/* The first one's 90, or the second one's 80: there is nothing that
	 * no serial run leaves, but what is read shows the race. */
	assert_true(report->trace.complete);
	assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
	assert_int_equal(report->trace.findings[0].class, SLM_CLASS_RESULT);
	assert_string_equal(report->trace.findings[0].name, "lost update (P4)");
	assert_int_equal(report->trace.ncalls, 2);
	assert_string_equal(report->trace.calls[1].name, "second");
	sqloom_report_free(report);
	sqloom_spec_free(spec);
	slm_pg_server_stop(server);
	assert_int_equal(slm_alloc_live(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_left_out),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_explored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
