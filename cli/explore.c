/* SPDX-License-Identifier: Apache-2.0 */
/* sqloom explore: runs the calls of a spec in many orders. */
#include "cli.h"

static int run(const struct slm_cli_arguments *arguments)
{
	struct sqloom_options options = arguments->options;
	struct sqloom_spec *spec = NULL;
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	enum sqloom_status status;
	int exit_code;

	status = sqloom_spec_read(arguments->operands[0], &spec, &err);
	if (!status) {
		slm_cli_signals_catch();
		slm_cli_progress_begin(arguments, &options);
		status = sqloom_explore(spec, &options, &report, &err);
		slm_cli_progress_end();
		slm_cli_signals_release();
	}
	if (status) {
		exit_code = slm_cli_error(&err);
		goto out;
	}
	exit_code = sqloom_verdict_exit_code(sqloom_report_verdict(report));
	exit_code = slm_cli_print_report(arguments, report, exit_code);
out:
	sqloom_report_free(report);
	sqloom_spec_free(spec);
	return exit_code;
}

const struct slm_cli_command slm_cli_explore = {
	.name = "explore",
	.bit = SLM_CLI_EXPLORE,
	.operands = { "FILE" },
	.summary = "run the calls of a spec in many orders, tell which go "
		   "wrong",
	.about = "Runs the sessions of the spec FILE in every order of their "
		 "steps, or in many,\n"
		 "and compares each outcome with what serial runs give. Shows "
		 "the worst wrong\n"
		 "run, and the line that replays it. Ctrl-C ends early and "
		 "reports what was seen.\n",
	.exits = "  0   holds: all schedules within the bounds were run, none "
		 "is wrong\n"
		 "  1   broken: at least one wrong outcome\n"
		 "  2   an option or the spec is not valid\n"
		 "  3   a file or the database could not be used\n"
		 "  4   inconclusive: none seen, but not all was seen\n"
		 "  70  internal error, a defect in sqloom\n",
	.examples = "  sqloom explore transfer.spec\n"
		    "  sqloom explore transfer.spec --db app.sqlite "
		    "--preemptions 2 --trace run.trace\n",
	.run = run,
};
