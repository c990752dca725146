/* SPDX-License-Identifier: Apache-2.0 */
/* Option lines: which values are good, what they become, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "spec/spec.h"

#define SESSION "session a step s {}\n"
#define CALL "call a { exec true }\n"

static const struct good {
	const char *line;
	const char *name;
	const char *value; /* as it is kept */
} good[] = {
	{ "option strict on", "strict", "on" },
	{ "option strict OFF # x", "strict", "off" },
	{ "option strict \"on\"", "strict", "on" },
	{ "option local_begin off", "local_begin", "off" },
	{ "option on_error continue", "on_error", "continue" },
	{ "option on_error Stop", "on_error", "stop" },
	{ "option busy_timeout 0", "busy_timeout", "0" },
	{ "option busy_timeout 86400000", "busy_timeout", "86400000" },
	{ "option journal WAL", "journal", "wal" },
	{ "option journal delete", "journal", "delete" },
	{ "option isolation serializable", "isolation", "serializable" },
	{ "option isolation repeatable  read", "isolation", "repeatable read" },
	{ "option isolation \"Read Committed\"", "isolation",
	  "read committed" },
	{ "option isolation READ uncommitted", "isolation",
	  "read uncommitted" },
	{ "option clock 2026-01-31", "clock", "2026-01-31" },
	{ "option clock 2024-02-29 23:59", "clock", "2024-02-29 23:59" },
	{ "option clock \"2000-02-29 00:00:59\"", "clock",
	  "2000-02-29 00:00:59" },
	{ "option ignore t", "ignore", "t" },
	{ "option ignore orders.updated_at", "ignore", "orders.updated_at" },
	{ "option database ../a-b/c.db", "database", "../a-b/c.db" },
	{ "option database \"a \"\"b\"\" c\"", "database", "a \"b\" c" },
	{ "option allow \"UNIQUE constraint\"", "allow", "UNIQUE constraint" },
	{ "option\tallow\t40001\t", "allow", "40001" },
}, good_of_calls[] = {
	{ "option proxy_port 1", "proxy_port", "1" },
	{ "option proxy_port 65535", "proxy_port", "65535" },
	{ "option attribution Exclusive", "attribution", "exclusive" },
	{ "option attribution port", "attribution", "port" },
	{ "option attribution name", "attribution", "name" },
	{ "option background \"a worker\"", "background", "a worker" },
	{ "option stall_after 1", "stall_after", "1" },
	{ "option call_limit 86400000", "call_limit", "86400000" },
};

static void check_good(const struct good *rows, size_t count, const char *rest)
{
	for (size_t i = 0; i < count; i++) {
		struct sqloom_error err = { 0 };
		struct sqloom_spec *spec = NULL;
		char text[200];

		snprintf(text, sizeof(text), "%s\n%s", rows[i].line, rest);
		if (sqloom_spec_parse(text, strlen(text), "t", &spec, &err))
			fail_msg("%s: %s", rows[i].line, err.message);
		assert_int_equal(spec->noptions, 1);
		assert_string_equal(spec->options[0].name, rows[i].name);
		assert_int_equal(spec->options[0].nvalues, 1);
		assert_string_equal(spec->options[0].values[0], rows[i].value);
		sqloom_spec_free(spec);
	}
}

static void good_values(void **state)
{
	(void)state;
	check_good(good, sizeof(good) / sizeof(good[0]), SESSION);
	check_good(good_of_calls,
		   sizeof(good_of_calls) / sizeof(good_of_calls[0]), CALL);
}

static const struct {
	const char *lines;
	unsigned line, column;
	const char *part;
} bad[] = {
	{ "option", 1, 1, "expected option NAME VALUE" },
	{ "option\nstrict on", 1, 1, "expected option NAME VALUE" },
	{ "option stric on", 1, 8,
	  "no option \"stric\"; did you mean"
	  " \"strict\"? (options: database, journal," },
	{ "option xyzzy on", 1, 8, "no option \"xyzzy\" (options: database" },
	{ "option strict", 1, 8,
	  "takes one value to the end of the line,"
	  " found 0" },
	{ "option strict # on", 1, 8, "found 0" },
	{ "option strict on off", 1, 8, "found 2" },
	{ "option isolation a b c d", 1, 8, "found 4" },
	{ "option allow a b", 1, 8, "in double quotes" },
	{ "option strict on\noption strict on", 2, 8,
	  "option strict is already given in line 1" },
	{ "option strict yes", 1, 15,
	  "\"yes\" is not valid; it must be on or"
	  " off" },
	{ "option on_error ignore", 1, 17, "stop or continue" },
	{ "option busy_timeout 86400001", 1, 21, "0 to 86400000" },
	{ "option busy_timeout -1", 1, 21, "0 to 86400000" },
	{ "option busy_timeout 5s", 1, 21, "0 to 86400000" },
	{ "option busy_timeout \"\"", 1, 21, "0 to 86400000" },
	{ "option busy_timeout 000000001", 1, 21, "0 to 86400000" },
	{ "option journal wall", 1, 16, "persist, memory, wal or off" },
	{ "option isolation snapshot", 1, 18, "serializable, repeatable" },
	{ "option isolation repeatable write", 1, 18, "serializable," },
	{ "option clock 2026-13-01", 1, 14, "YYYY-MM-DD" },
	{ "option clock 2026-00-01", 1, 14, "YYYY-MM-DD" },
	{ "option clock 2026-04-31", 1, 14, "a real date" },
	{ "option clock 2026-01-00", 1, 14, "a real date" },
	{ "option clock 2026-02-29", 1, 14, "a real date" },
	{ "option clock 1900-02-29", 1, 14, "a real date" },
	{ "option clock 0000-01-01", 1, 14, "a real date" },
	{ "option clock 2026-1-01", 1, 14, "YYYY-MM-DD" },
	{ "option clock 2026-01-01 24:00", 1, 14, "YYYY-MM-DD" },
	{ "option clock 2026-01-01 12", 1, 14, "YYYY-MM-DD" },
	{ "option clock 2026-01-01 12:60", 1, 14, "YYYY-MM-DD" },
	{ "option clock 2026-01-01 12:00:60", 1, 14, "YYYY-MM-DD" },
	{ "option clock 2026-01-01 12:00:00Z", 1, 14, "YYYY-MM-DD" },
	{ "option clock 2026-01-01T12:00", 1, 14, "YYYY-MM-DD" },
	{ "option clock \"\"", 1, 14, "YYYY-MM-DD" },
	{ "option ignore a.b.c", 1, 15, "a table or table.column" },
	{ "option ignore .b", 1, 15, "a table or table.column" },
	{ "option ignore a.", 1, 15, "a table or table.column" },
	{ "option database \"\"", 1, 17, "a path" },
	{ "option proxy_port 0", 1, 19, "a port, 1 to 65535" },
	{ "option proxy_port 65536", 1, 19, "a port, 1 to 65535" },
	{ "option proxy_port x", 1, 19, "a port, 1 to 65535" },
	{ "option attribution address", 1, 20, "exclusive, port or name" },
	{ "option background \"\"", 1, 19, "of 1 to 63 bytes" },
	{ "option background aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaa",
	  1, 19, "of 1 to 63 bytes" },
	{ "option stall_after 0", 1, 20, "milliseconds, 1 to 86400000" },
	{ "option call_limit 0", 1, 19, "milliseconds, 1 to 86400000" },
	{ "option call_limit 5s", 1, 19, "milliseconds, 1 to 86400000" },
	{ "option allow 'x'", 1, 14,
	  "unexpected \"'\" in an option line;"
	  " write the value in double quotes" },
	{ "option allow \"x", 1, 14, "no closing \"" },
	{ "option allow {x}", 1, 14, "unexpected \"{\"" },
};

static void bad_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sqloom_error err = { 0 };
		struct sqloom_spec *spec = NULL;
		enum sqloom_status status;
		char text[200];

		snprintf(text, sizeof(text), "%s\n" SESSION, bad[i].lines);
		status =
			sqloom_spec_parse(text, strlen(text), "t", &spec, &err);
		assert_null(spec);
		if (status != SQLOOM_SPEC || err.line != bad[i].line ||
		    err.column != bad[i].column ||
		    !strstr(err.message, bad[i].part))
			fail_msg("[%s] gave status %d, %u:%u: %s", bad[i].lines,
				 status, err.line, err.column, err.message);
	}
}

static void some_may_be_repeated(void **state)
{
	const char text[] = "option allow a\noption ignore t\noption allow a\n"
			    "option ignore t\n" SESSION;
	struct sqloom_error err = { 0 };
	struct sqloom_spec *spec = NULL;

	(void)state;
	assert_int_equal(sqloom_spec_parse(text, strlen(text), "t", &spec,
					   &err),
			 SQLOOM_OK);
	assert_int_equal(spec->noptions, 4);
	sqloom_spec_free(spec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_values),
		cmocka_unit_test(bad_values),
		cmocka_unit_test(some_may_be_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
