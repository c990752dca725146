/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqloom isolation: runs PostgreSQL isolation specs as isolationtester does
 * and prints what it prints. One after another, on the same connections.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

#define EXIT_STOPPED 4 /* as an exploration that was stopped */
#define TIMEOUT_VARIABLE "PGISOLATIONTIMEOUT"

/* Where the output goes: a file of its own, or the standard streams. */
struct output {
	FILE *file; /* NULL: the standard streams */
};

struct runner {
	const struct slm_cli_arguments *arguments;
	struct sqloom_isolation *isolation;
	struct output output;
	int exit_code; /* of the first that failed */
	bool stop;     /* no more specs */
};

/* ---- Callbacks ---------------------------------------------------------- */

static bool write_output(enum sqloom_isolation_stream stream, const char *bytes,
			 size_t size, void *userdata)
{
	const struct runner *runner = userdata;
	FILE *file = runner->output.file;

	if (!file)
		file = stream == SQLOOM_ISOLATION_OUT ? stdout : stderr;
	return fwrite(bytes, 1, size, file) == size && fflush(file) == 0;
}

static bool goes_on(void *userdata)
{
	(void)userdata;
	return !slm_cli_signals_stopped();
}

/* ---- Names -------------------------------------------------------------- */

/* "specs/two-ids.spec" is the test two-ids. */
static char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	size_t length = strlen(base);

	if (length > 5 && strcmp(base + length - 5, ".spec") == 0)
		length -= 5;
	return strndup(base, length);
}

static int out_of_memory(void)
{
	fputs("sqloom: out of memory\n", stderr);
	return SLM_CLI_EXIT_ENVIRONMENT;
}

/* ---- One spec ----------------------------------------------------------- */

static int cannot_write(const char *path)
{
	fprintf(stderr, "sqloom: cannot write %s: %s\n", path, strerror(errno));
	return SLM_CLI_EXIT_ENVIRONMENT;
}

static int run_spec(struct runner *runner, const char *path, const char *name)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err;
	enum sqloom_status status = sqloom_spec_read(path, &spec, &err);
	bool complete = true;
	int exit_code = SLM_CLI_EXIT_OK;

	if (!status)
		status = sqloom_isolation_run(runner->isolation, spec, name,
					      &complete, &err);
	sqloom_spec_free(spec);
	if (!complete) {
		fprintf(stderr,
			"sqloom: stopped in %s; what ran was "
			"cancelled\n",
			path);
		runner->stop = true;
		return EXIT_STOPPED;
	}
	/* A reader that went away is no error. */
	if (status == SQLOOM_IO && !runner->output.file && ferror(stdout)) {
		runner->stop = true;
		return slm_cli_flush(SLM_CLI_EXIT_OK);
	}
	if (status) {
		/* Most messages come from the server and name no file. */
		if (!err.path[0])
			snprintf(err.path, sizeof(err.path), "%s", path);
		exit_code = slm_cli_error(&err);
	}
	return exit_code;
}

/* With a file of its own for the output. */
static int run_into_file(struct runner *runner, const char *path,
			 const char *name)
{
	const char *directory = runner->arguments->output_dir;
	int exit_code = SLM_CLI_EXIT_OK;
	char *out = NULL;

	if (asprintf(&out, "%s/%s.out", directory, name) < 0)
		return out_of_memory();
	runner->output.file = fopen(out, "we");
	if (runner->output.file) {
		exit_code = run_spec(runner, path, name);
		if (fclose(runner->output.file) != 0 && !exit_code)
			exit_code = cannot_write(out);
		runner->output.file = NULL;
	} else {
		exit_code = cannot_write(out);
		runner->stop = true;
	}
	free(out);
	return exit_code;
}

static void run_path(struct runner *runner, const char *path)
{
	char *name;
	int exit_code;

	if (runner->stop)
		return;
	name = name_of(path);
	if (!name)
		exit_code = out_of_memory();
	else if (runner->arguments->output_dir)
		exit_code = run_into_file(runner, path, name);
	else
		exit_code = run_spec(runner, path, name);
	free(name);
	if (!runner->exit_code)
		runner->exit_code = exit_code;
}

/* ---- All of them -------------------------------------------------------- */

/* False after a message. */
static bool read_timeout(struct sqloom_isolation_options *options)
{
	const char *text = getenv(TIMEOUT_VARIABLE);
	uint64_t seconds;

	if (!text)
		return true;
	if (!slm_cli_read_count(text, &seconds) || seconds > UINT32_MAX) {
		slm_cli_usage_error(&slm_cli_isolation,
				    "%s: '%s' is no number of seconds",
				    TIMEOUT_VARIABLE, text);
		return false;
	}
	options->step_timeout_ms = seconds * 1000;
	return true;
}

static int prepare_directory(const char *directory)
{
	struct stat info;

	if (!directory || mkdir(directory, 0777) == 0)
		return SLM_CLI_EXIT_OK;
	if (errno == EEXIST && stat(directory, &info) == 0 &&
	    S_ISDIR(info.st_mode))
		return SLM_CLI_EXIT_OK;
	fprintf(stderr, "sqloom: cannot make the directory %s: %s\n", directory,
		strerror(errno));
	return SLM_CLI_EXIT_ENVIRONMENT;
}

static int run_all(const struct slm_cli_arguments *arguments,
		   const struct slm_cli_schedule *schedule)
{
	struct runner runner = { .arguments = arguments };
	struct sqloom_isolation_options options;
	struct sqloom_error err;

	sqloom_isolation_options_init(&options);
	options.conninfo = arguments->options.database;
	options.write = write_output;
	options.goes_on = goes_on;
	options.userdata = &runner;
	if (!read_timeout(&options))
		return SLM_CLI_EXIT_USAGE;
	runner.exit_code = prepare_directory(arguments->output_dir);
	if (runner.exit_code)
		return runner.exit_code;
	if (sqloom_isolation_new(&options, &runner.isolation, &err))
		return slm_cli_error(&err);
	slm_cli_signals_catch();
	for (unsigned i = 0; i < schedule->npaths; i++)
		run_path(&runner, schedule->paths[i]);
	for (unsigned i = 0; i < arguments->nfiles; i++)
		run_path(&runner, arguments->files[i]);
	slm_cli_signals_release();
	sqloom_isolation_free(runner.isolation);
	return runner.exit_code;
}

static int run(const struct slm_cli_arguments *arguments)
{
	struct slm_cli_schedule schedule = { 0 };
	int exit_code = SLM_CLI_EXIT_OK;

	if (arguments->schedule)
		exit_code =
			slm_cli_schedule_read(arguments->schedule, &schedule);
	if (!exit_code)
		exit_code = run_all(arguments, &schedule);
	slm_cli_schedule_free(&schedule);
	return slm_cli_flush(exit_code);
}

const struct slm_cli_command slm_cli_isolation = {
	.name = "isolation",
	.bit = SLM_CLI_ISOLATION,
	.operands = { "FILE..." },
	.many = true,
	.summary = "run PostgreSQL isolation specs as isolationtester does",
	.about = "Runs isolation specs on PostgreSQL exactly as PostgreSQL's "
		 "own isolationtester\n"
		 "does, and prints exactly what it prints. Nothing is "
		 "explored, nothing is judged:\n"
		 "the permutations that a spec lists are run, or all if it "
		 "lists none. --db is a\n"
		 "connection string (default: dbname=postgres); the PG* "
		 "variables complete it. Use\n"
		 "a database that may be written to: specs make their own "
		 "tables.\n"
		 "PGISOLATIONTIMEOUT is the time in seconds after which a "
		 "step is cancelled (300).\n",
	.exits = "  0   all specs were run to their end\n"
		 "  2   an option or a spec is not valid\n"
		 "  3   a file or the database could not be used, or a setup "
		 "failed\n"
		 "  4   stopped by Ctrl-C\n"
		 "  70  internal error, a defect in sqloom\n",
	.examples = "  sqloom isolation specs/two-ids.spec --db "
		    "dbname=isolation_test\n"
		    "  sqloom isolation --schedule isolation_schedule "
		    "--output-dir results\n",
	.run = run,
};
