/* SPDX-License-Identifier: Apache-2.0 */
/* sqloom show: the report of a trace that was written before. */
#include "cli.h"

static int run(const struct slm_cli_arguments *arguments)
{
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	int exit_code;

	if (sqloom_trace_read(arguments->operands[0], &report, &err))
		return slm_cli_error(&err);
	/* Whatever the verdict: it could be shown. */
	exit_code = slm_cli_print_report(arguments, report, SLM_CLI_EXIT_OK);
	sqloom_report_free(report);
	return exit_code;
}

const struct slm_cli_command slm_cli_show = {
	.name = "show",
	.bit = SLM_CLI_SHOW,
	.operands = { "TRACE" },
	.summary = "show the report of a recorded trace",
	.about = "Shows the report of a TRACE that sqloom explore --trace "
		 "wrote, or what\n"
		 "sqloom proxy --record saw; - is standard input. Nothing is "
		 "run, no database is\n"
		 "needed.\n",
	.exits = "  0   it could be shown, whatever the verdict\n"
		 "  2   an option or the trace is not valid\n"
		 "  3   the trace could not be read\n"
		 "  70  internal error, a defect in sqloom\n",
	.examples = "  sqloom show run.trace --findings all\n"
		    "  sqloom show run.trace --finding abab~5f3a.aka2axaq\n",
	.run = run,
};
