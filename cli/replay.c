/* SPDX-License-Identifier: Apache-2.0 */
/* sqloom replay: runs the one schedule that a token names. */
#include "cli.h"

static enum sqloom_status replay(const struct slm_cli_arguments *arguments,
				 const struct slm_cli_source *source,
				 struct sqloom_report **out,
				 struct sqloom_error *err)
{
	const char *token = arguments->operands[arguments->noperands - 1];
	struct sqloom_report *recorded = NULL;
	enum sqloom_status status = SQLOOM_OK;

	if (arguments->from)
		status = sqloom_trace_read(arguments->from, &recorded, err);
	if (!status)
		status = sqloom_replay(source->spec, token, recorded,
				       &source->options, out, err);
	sqloom_report_free(recorded);
	return status;
}

static int run(const struct slm_cli_arguments *arguments)
{
	struct slm_cli_source source = { 0 };
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	int exit_code = slm_cli_source_open(arguments, &source);

	if (exit_code)
		goto out;
	if (replay(arguments, &source, &report, &err) != SQLOOM_OK) {
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

const struct slm_cli_command slm_cli_replay = {
	.name = "replay",
	.bit = SLM_CLI_REPLAY,
	.operands = { "FILE", "TOKEN" },
	.calls = true,
	.summary = "run the one schedule that a token names",
	.about = "Runs the sessions of the spec FILE in the order that TOKEN "
		 "names and shows the\n"
		 "run. Give the options that the exploration had; the line in "
		 "its report has them.\n"
		 "If the steps of the spec are not those of the token any "
		 "more, it says where the\n"
		 "run left the recorded one, and that is no pass. FILE is left "
		 "out where options\n"
		 "say what the calls are.\n",
	.exits = "  0   holds: this schedule does not end wrong\n"
		 "  1   broken: it ends wrong\n"
		 "  2   an option, the spec, the token or the trace is not "
		 "valid\n"
		 "  3   a file or the database could not be used\n"
		 "  4   inconclusive: the run left the recorded one\n"
		 "  70  internal error, a defect in sqloom\n",
	.examples = "  sqloom replay transfer.spec abab~5f3a.aka2axaq\n"
		    "  sqloom replay transfer.spec abab~5f3a.aka2axaq --from "
		    "run.trace\n",
	.run = run,
};
