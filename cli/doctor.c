/* SPDX-License-Identifier: Apache-2.0 */
/* sqloom doctor: is everything there that an exploration on PostgreSQL needs? */
#include <stdio.h>
#include <string.h>

#include "cli.h"

#define TEXT_COLUMN 25 /* where what was found begins */
#define WIDTH_PIPE 100
#define ROOM_LEAST 20 /* columns for words */

/* Prints words from column TEXT_COLUMN on, where the cursor is. */
static void print_wrapped(const char *text, unsigned width)
{
	unsigned room = width > TEXT_COLUMN + ROOM_LEAST ? width - TEXT_COLUMN :
							   ROOM_LEAST;
	unsigned used = 0;

	while (*text) {
		unsigned word = (unsigned)strcspn(text, " \n");

		if (used && used + 1 + word > room) {
			printf("\n%*s", TEXT_COLUMN, "");
			used = 0;
		}
		used += (unsigned)printf("%s%.*s", used ? " " : "", (int)word,
					 text);
		text += word;
		text += strspn(text, " \n");
	}
	putchar('\n');
}

static void print_checkup(const struct sqloom_checkup *checkup, void *userdata)
{
	static const char *const words[] = {
		[SQLOOM_HEALTH_OK] = "ok",
		[SQLOOM_HEALTH_NOTE] = "note",
		[SQLOOM_HEALTH_PROBLEM] = "problem",
	};
	const unsigned *width = userdata;

	printf("%-9s%-15s ", words[checkup->health], checkup->what);
	print_wrapped(checkup->found, *width);
	if (checkup->advice) {
		printf("%*s", TEXT_COLUMN, "to do: ");
		print_wrapped(checkup->advice, *width);
	}
	/* Some things take a while. */
	fflush(stdout);
}

static bool goes_on(void *userdata)
{
	(void)userdata;
	return !slm_cli_signals_stopped();
}

static unsigned find_width(const struct slm_cli_arguments *arguments)
{
	unsigned width = arguments->width;

	if (!width)
		width = slm_cli_terminal_width(1);
	return width ? width : WIDTH_PIPE;
}

static int print_end(unsigned problems)
{
	int exit_code = problems ? SLM_CLI_EXIT_ENVIRONMENT : SLM_CLI_EXIT_OK;

	if (slm_cli_signals_stopped())
		printf("stopped before the end\n");
	else if (problems)
		printf("%u problem%s\n", problems, problems == 1 ? "" : "s");
	else
		printf("no problem found\n");
	if (slm_cli_signals_stopped())
		exit_code = SLM_CLI_EXIT_ENVIRONMENT;
	return slm_cli_flush(exit_code);
}

static int run(const struct slm_cli_arguments *arguments)
{
	unsigned width = find_width(arguments), problems = 0;
	struct slm_cli_source source = { 0 };
	struct sqloom_doctor_options options;
	struct sqloom_error err;
	enum sqloom_status status;
	int exit_code = slm_cli_source_open(arguments, &source);

	if (exit_code)
		goto out;
	sqloom_doctor_options_init(&options);
	options.database = source.options.database;
	options.pg_temp = source.options.pg_temp;
	options.pg_path = source.options.pg_path;
	options.pg_place = source.options.pg_place;
	options.any_database = source.options.any_database;
	options.proxy_port = source.options.proxy_port;
	options.environment = source.options.environment;
	options.tell = print_checkup;
	options.goes_on = goes_on;
	options.userdata = &width;
	slm_cli_signals_catch();
	status = sqloom_doctor(source.spec, &options, &problems, &err);
	exit_code = status ? slm_cli_error(&err) : print_end(problems);
	slm_cli_signals_release();
out:
	slm_cli_source_close(&source);
	return exit_code;
}

const struct slm_cli_command slm_cli_doctor = {
	.name = "doctor",
	.bit = SLM_CLI_DOCTOR,
	.operands = { "FILE" },
	.calls = true,
	.optional = true,
	.summary = "look whether all is there that an exploration needs",
	.about = "Looks at the PostgreSQL server of --db, or of the PG* "
		 "variables: is it there,\n"
		 "is it one for tests, what may the role do, who else is "
		 "there. With calls, from\n"
		 "FILE or from options, each is run once: does it come to the "
		 "proxy? Each line\n"
		 "says what was found, and what to do.\n",
	.exits = "  0   no problem was found\n"
		 "  2   an option or the spec is not valid\n"
		 "  3   a problem was found\n"
		 "  70  internal error, a defect in sqloom\n",
	.examples = "  sqloom doctor --db dbname=app_test\n"
		    "  sqloom doctor --pg-temp --before 'psql -f schema.sql' "
		    "--call './redeem X'\n",
	.run = run,
};
