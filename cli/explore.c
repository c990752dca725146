/* SPDX-License-Identifier: Apache-2.0 */
/* sqloom explore: runs calls in many orders. */
#include "cli.h"

static int run(const struct slm_cli_arguments *arguments)
{
	struct slm_cli_source source = { 0 };
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	enum sqloom_status status;
	int exit_code = slm_cli_source_open(arguments, &source);

	if (exit_code)
		goto out;
	slm_cli_signals_catch();
	slm_cli_progress_begin(arguments, &source.options);
	status = sqloom_explore(source.spec, &source.options, &report, &err);
	slm_cli_progress_end();
	slm_cli_signals_release();
	if (status) {
		exit_code = slm_cli_error(&err);
		goto out;
	}
	exit_code = sqloom_verdict_exit_code(sqloom_report_verdict(report));
	exit_code = slm_cli_print_report(arguments, report, exit_code);
out:
	sqloom_report_free(report);
	slm_cli_source_close(&source);
	return exit_code;
}

const struct slm_cli_command slm_cli_explore = {
	.name = "explore",
	.bit = SLM_CLI_EXPLORE,
	.operands = { "FILE" },
	.calls = true,
	.summary = "run calls in many orders, tell which go wrong",
	.about = "Runs the sessions of the spec FILE in every order of their "
		 "steps, or in many,\n"
		 "and compares each outcome with what serial runs give. Shows "
		 "the worst wrong\n"
		 "run, and the line that replays it. Ctrl-C ends early and "
		 "reports what was seen.\n"
		 "\n"
		 "Instead of FILE, the calls can be programs, unmodified: "
		 "commands and HTTP\n"
		 "requests. They find PostgreSQL in PGHOST, PGPORT and "
		 "DATABASE_URL, which lead to\n"
		 "a proxy; their steps are the statements that pass through "
		 "it.\n",
	.exits = "  0   holds: all schedules within the bounds were run, none "
		 "is wrong\n"
		 "  1   broken: at least one wrong outcome\n"
		 "  2   an option or the spec is not valid\n"
		 "  3   a file or the database could not be used\n"
		 "  4   inconclusive: none seen, but not all was seen\n"
		 "  70  internal error, a defect in sqloom\n",
	.examples = "  sqloom explore transfer.spec\n"
		    "  sqloom explore transfer.spec --db app.sqlite "
		    "--preemptions 2 --trace run.trace\n"
		    "  sqloom explore --pg-temp --before 'psql -f schema.sql' "
		    "\\\n"
		    "      --call './redeem X alice' --call './redeem X bob'\n"
		    "  sqloom explore --db dbname=app_test --server 'python3 "
		    "app.py' \\\n"
		    "      --ready http://127.0.0.1:8000/ \\\n"
		    "      --http 'POST http://127.0.0.1:8000/redeem code=X' "
		    "\\\n"
		    "      --http 'POST http://127.0.0.1:8000/redeem code=X'\n",
	.run = run,
};
