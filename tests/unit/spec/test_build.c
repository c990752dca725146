/* SPDX-License-Identifier: Apache-2.0 */
/* Specs from parts: what comes back is what was given, whatever it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "spec/spec.h"

static const struct sqloom_part all[] = {
	{ SQLOOM_PART_BEFORE, NULL, "psql -f schema.sql", NULL },
	{ SQLOOM_PART_SERVER, NULL, "app --x", "http://127.0.0.1:8000/\"" },
	{ SQLOOM_PART_SERVER, NULL, "worker", NULL },
	{ SQLOOM_PART_EXEC, NULL, "echo ${X}", NULL },
	{ SQLOOM_PART_HTTP, NULL, "http://h/ --json '{\"a\": 1}'", NULL },
	{ SQLOOM_PART_EXEC, "my \"name\"", "true", NULL },
	{ SQLOOM_PART_CHECK, NULL, "SELECT '}' FROM t", NULL },
	{ SQLOOM_PART_CHECK_EXEC, NULL, "test -e x", NULL },
	{ SQLOOM_PART_OPTION, "background", "a \"b\" c", NULL },
};

#define NALL (sizeof(all) / sizeof(all[0]))

static void all_kinds(void **state)
{
	static const char text[] =
		"before { psql -f schema.sql }\n"
		"server { app --x } ready \"http://127.0.0.1:8000/\"\"\"\n"
		"server { worker }\n"
		"call \"a\" { exec echo ${X} }\n"
		"call \"b\" { http http://h/ --json '{\"a\": 1}' }\n"
		"call \"my \"\"name\"\"\" { exec true }\n"
		"check \"check 1\" { SELECT '}' FROM t }\n"
		"check \"check 2\" exec { test -e x }\n"
		"option background \"a \"\"b\"\" c\"\n";
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err = { 0 };
	size_t size;

	(void)state;
	if (sqloom_spec_build(all, NALL, "here", &spec, &err))
		fail_msg("%s", err.message);
	assert_string_equal(sqloom_spec_text(spec, &size), text);
	assert_int_equal(size, strlen(text));
	assert_string_equal(spec->name, "here");
	assert_string_equal(spec->sessions[2].name, "my \"name\"");
	assert_string_equal(spec->servers[0].ready, "http://127.0.0.1:8000/\"");
	assert_string_equal(spec->options[0].values[0], "a \"b\" c");
	sqloom_spec_free(spec);
}

/* Commands that are no block as they stand. */
static const char *const hard[] = {
	"}",
	"{",
	"'",
	"\"",
	"\\",
	"echo it's",
	"x } call \"b\" { exec y",
	"echo \\",
	"# '",
	"a\n}\nb",
	"''\\'''}",
	"' } '' { '",
	"cat <<'E'\n}'\nE\n",
};

static void hard_commands(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(hard) / sizeof(hard[0]); i++) {
		struct sqloom_part part = { .kind = SQLOOM_PART_EXEC,
					    .text = hard[i] };
		struct sqloom_spec *spec = NULL;
		struct sqloom_error err = { 0 };
		const char *got;
		char *echo = NULL;

		if (sqloom_spec_build(&part, 1, "t", &spec, &err))
			fail_msg("[%s] %s", hard[i], err.message);
		assert_int_equal(spec->nsessions, 1);
		got = spec->sessions[0].text.text;
		if (strncmp(got, "eval ", 5) != 0) {
			assert_string_equal(got, hard[i]);
		} else {
			/* What a shell makes of the word. */
			FILE *pipe;
			char back[200] = "";
			size_t n;

			assert_true(asprintf(&echo, "printf %%s %s", got + 5) >
				    0);
			pipe = popen(echo, "r");
			assert_non_null(pipe);
			n = fread(back, 1, sizeof(back) - 1, pipe);
			assert_int_equal(pclose(pipe), 0);
			back[n] = '\0';
			assert_string_equal(back, hard[i]);
			free(echo);
		}
		sqloom_spec_free(spec);
	}
}

static const struct {
	struct sqloom_part part;
	enum sqloom_status status;
	const char *message;
} refused[] = {
	{ { SQLOOM_PART_HTTP, NULL, "http://h/ a={", NULL },
	  SQLOOM_USAGE,
	  "a request has a quote or brace that is not closed, or one too many;"
	  " close it, or write the brace in quotes" },
	{ { SQLOOM_PART_HTTP, NULL, "http://h/ 'a", NULL },
	  SQLOOM_USAGE,
	  "a request has a quote or brace that" },
	{ { SQLOOM_PART_CHECK, NULL, "SELECT 1 } call x { exec y", NULL },
	  SQLOOM_USAGE,
	  "a check has a } that no spec can hold; write chr(125) for it" },
	{ { SQLOOM_PART_CHECK, NULL, "SELECT 'a\n}'", NULL },
	  SQLOOM_USAGE,
	  "a check has a }" },
	{ { SQLOOM_PART_EXEC, NULL, "echo \xff", NULL },
	  SQLOOM_USAGE,
	  "is no UTF-8 text; a spec is" },
	{ { SQLOOM_PART_EXEC, NULL, " ", NULL },
	  SQLOOM_SPEC,
	  "nothing stands behind \"exec\"" },
	{ { SQLOOM_PART_SERVER, NULL, "x", "8000" },
	  SQLOOM_SPEC,
	  "is nothing that can be ready" },
	{ { SQLOOM_PART_OPTION, "attribution", "x", NULL },
	  SQLOOM_SPEC,
	  "it must be exclusive, port or name" },
	{ { SQLOOM_PART_BEFORE, NULL, "x", NULL },
	  SQLOOM_SPEC,
	  "has no session and no call" },
};

static void what_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct sqloom_spec *spec = NULL;
		struct sqloom_error err = { 0 };
		enum sqloom_status status;

		status = sqloom_spec_build(&refused[i].part, 1, "here", &spec,
					   &err);
		assert_null(spec);
		if (status != refused[i].status ||
		    !strstr(err.message, refused[i].message))
			fail_msg("%zu: %d, %s", i, status, err.message);
		assert_string_equal(err.path, "here");
		assert_int_equal(sqloom_spec_build(&refused[i].part, 1, NULL,
						   &spec, NULL),
				 status);
	}
}

static void no_memory(void **state)
{
	(void)state;
	for (uint64_t n = 1;; n++) {
		int64_t before = slm_alloc_live();
		struct sqloom_spec *spec = NULL;
		enum sqloom_status status;

		slm_alloc_fail_from(n);
		status = sqloom_spec_build(all, NALL, "t", &spec, NULL);
		slm_alloc_fail_from(0);
		if (status == SQLOOM_OK) {
			sqloom_spec_free(spec);
			return;
		}
		assert_int_equal(status, SQLOOM_NOMEM);
		assert_int_equal(slm_alloc_live(), before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_kinds),
		cmocka_unit_test(hard_commands),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
