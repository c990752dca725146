/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is run: the spec that the arguments name, or one that is made of the
 * options that describe programs. Knows how such options are written for a
 * shell again, and how a spec is kept in a file.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#define MADE_OF_OPTIONS "(command line)"
#define OPTION_PARTS_MAX (4 + SLM_CLI_BACKGROUND_MAX + SLM_CLI_IGNORE_MAX)
#define NUMBER_SIZE 24

/* The first line of a spec that was written here, and may be written again. */
#define WRITTEN "# Written by sqloom explore --write-spec.\n"

/* ---- What goes together ------------------------------------------------ */

static const char *const option_names[] = {
	[SQLOOM_PART_EXEC] = "call",	 [SQLOOM_PART_HTTP] = "http",
	[SQLOOM_PART_BEFORE] = "before", [SQLOOM_PART_SERVER] = "server",
	[SQLOOM_PART_CHECK] = "check",	 [SQLOOM_PART_CHECK_EXEC] = "check-cmd",
};

bool slm_cli_has_calls(const struct slm_cli_arguments *arguments)
{
	return arguments->nparts > 0 || arguments->from_trace;
}

static const struct sqloom_part *first_call(
	const struct slm_cli_arguments *arguments)
{
	for (unsigned i = 0; i < arguments->nparts; i++)
		if (arguments->parts[i].kind == SQLOOM_PART_EXEC ||
		    arguments->parts[i].kind == SQLOOM_PART_HTTP)
			return &arguments->parts[i];
	return NULL;
}

/* Is an operand there that must be FILE? */
static bool has_file(const struct slm_cli_arguments *arguments)
{
	const char *const *names = arguments->command->operands;
	unsigned wanted = 0;

	while (names[wanted])
		wanted++;
	return arguments->noperands == wanted;
}

/* Parts of a spec that stand in FILE, if there is one. */
static bool check_with_file(const struct slm_cli_arguments *arguments)
{
	static const char *const blocks[] = {
		[SQLOOM_PART_EXEC] = "call \"a\" { exec COMMAND }",
		[SQLOOM_PART_HTTP] = "call \"a\" { http REQUEST }",
		[SQLOOM_PART_BEFORE] = "before { COMMAND }",
		[SQLOOM_PART_SERVER] = "server { COMMAND }",
		[SQLOOM_PART_CHECK] = "check \"name\" { SQL }",
		[SQLOOM_PART_CHECK_EXEC] = "check \"name\" exec { COMMAND }",
	};
	const char *option;

	if (arguments->from_trace && has_file(arguments)) {
		slm_cli_usage_error(arguments->command,
				    "--from-trace and FILE do not go together: "
				    "take one out");
		return false;
	}
	if (!has_file(arguments) || !arguments->nparts)
		return true;
	option = option_names[arguments->parts[0].kind];
	slm_cli_usage_error(arguments->command,
			    "--%s and FILE do not go together: write it into "
			    "FILE, as %s, or leave FILE out",
			    option, blocks[arguments->parts[0].kind]);
	return false;
}

bool slm_cli_check_calls(const struct slm_cli_arguments *arguments)
{
	const struct slm_cli_command *command = arguments->command;

	if (arguments->too_many) {
		slm_cli_usage_error(command,
				    "%s: given too often; write a "
				    "spec FILE",
				    arguments->too_many);
		return false;
	}
	if (!command->calls)
		return true;
	if (arguments->ready_alone) {
		slm_cli_usage_error(command,
				    "--ready says when a server is ready; give "
				    "it behind --server COMMAND");
		return false;
	}
	if (!check_with_file(arguments))
		return false;
	if (arguments->from_trace && arguments->nparts) {
		slm_cli_usage_error(command,
				    "--from-trace and --%s do not go together: "
				    "what was recorded are SQL sessions; write "
				    "them to a file by --write-spec to add to "
				    "them",
				    option_names[arguments->parts[0].kind]);
		return false;
	}
	if (arguments->write_spec && !slm_cli_has_calls(arguments)) {
		slm_cli_usage_error(command,
				    "--write-spec writes the calls of the "
				    "command line; give --call COMMAND or "
				    "--http REQUEST");
		return false;
	}
	if (arguments->nparts && !first_call(arguments)) {
		slm_cli_usage_error(command,
				    "--%s needs calls: give --call COMMAND or "
				    "--http REQUEST",
				    option_names[arguments->parts[0].kind]);
		return false;
	}
	return true;
}

/* ---- For a shell ------------------------------------------------------- */

static void put_word(FILE *file, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-./:,@%+=";

	if (*text && !text[strspn(text, plain)]) {
		fputs(text, file);
		return;
	}
	putc('\'', file);
	for (; *text; text++)
		if (*text == '\'')
			fputs("'\\''", file);
		else
			putc(*text, file);
	putc('\'', file);
}

static void put_option(FILE *file, const char *name, const char *value)
{
	/* Behind a blank, what begins with a dash is an option. */
	fprintf(file, "%s--%s%c", ftell(file) ? " " : "", name,
		*value == '-' ? '=' : ' ');
	put_word(file, value);
}

/* What makes the same spec in another command. NULL: memory is out. */
static char *for_shell(const struct slm_cli_arguments *arguments)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		return NULL;
	if (arguments->from_trace)
		put_option(file, "from-trace", arguments->from_trace);
	for (unsigned i = 0; i < arguments->nparts; i++) {
		const struct sqloom_part *part = &arguments->parts[i];

		put_option(file, option_names[part->kind], part->text);
		if (part->ready)
			put_option(file, "ready", part->ready);
	}
	if (fclose(file) == 0)
		return text;
	free(text);
	return NULL;
}

/* ---- A spec of options ------------------------------------------------- */

/* The options of the run, so that a file that is kept has them, too. */
static unsigned option_parts(const struct slm_cli_arguments *arguments,
			     char numbers[3][NUMBER_SIZE],
			     struct sqloom_part *parts)
{
	const struct sqloom_options *options = &arguments->options;
	const struct {
		const char *name;
		uint64_t value;
	} times[] = {
		{ "proxy_port", (uint64_t)options->proxy_port },
		{ "stall_after", options->stall_after_ms },
		{ "call_limit", options->call_limit_ms },
	};
	unsigned count = 0;

	for (unsigned i = 0; i < 3; i++) {
		if (!times[i].value)
			continue;
		snprintf(numbers[i], NUMBER_SIZE, "%" PRIu64, times[i].value);
		parts[count++] = (struct sqloom_part){ SQLOOM_PART_OPTION,
						       times[i].name,
						       numbers[i], NULL };
	}
	if (options->attribution)
		parts[count++] =
			(struct sqloom_part){ SQLOOM_PART_OPTION, "attribution",
					      options->attribution, NULL };
	for (unsigned i = 0; i < arguments->nbackground; i++)
		parts[count++] =
			(struct sqloom_part){ SQLOOM_PART_OPTION, "background",
					      arguments->background[i], NULL };
	for (unsigned i = 0; i < arguments->nignore; i++)
		parts[count++] =
			(struct sqloom_part){ SQLOOM_PART_OPTION, "ignore",
					      arguments->ignore[i], NULL };
	return count;
}

static enum sqloom_status build(const struct slm_cli_arguments *arguments,
				struct sqloom_spec **spec,
				struct sqloom_error *err)
{
	struct sqloom_part parts[SLM_CLI_PARTS_MAX + OPTION_PARTS_MAX];
	const char *name = arguments->write_spec;
	unsigned count = arguments->nparts;
	char numbers[3][NUMBER_SIZE];

	memcpy(parts, arguments->parts, count * sizeof(*parts));
	if (name)
		count += option_parts(arguments, numbers, parts + count);
	return sqloom_spec_build(parts, count, name ? name : MADE_OF_OPTIONS,
				 spec, err);
}

/* ---- Writing it -------------------------------------------------------- */

/* Is there nothing at path, or what was written here? */
static bool may_write(const char *path)
{
	char line[sizeof(WRITTEN)] = WRITTEN;
	struct stat info;
	FILE *file;
	bool may;

	/* What is no file holds nothing; reading it might wait forever. */
	if (stat(path, &info) < 0 || !S_ISREG(info.st_mode))
		return true;
	file = fopen(path, "r");
	if (!file)
		return true;
	may = !fgets(line, sizeof(line), file) || strcmp(line, WRITTEN) == 0;
	fclose(file);
	return may;
}

static int write_spec(const struct sqloom_spec *spec, const char *path)
{
	bool written = false;
	FILE *file;

	if (!may_write(path)) {
		fprintf(stderr,
			"sqloom: --write-spec: %s is there, and was written by "
			"somebody else; remove it, or name another file\n",
			path);
		return SLM_CLI_EXIT_USAGE;
	}
	file = fopen(path, "w");
	if (file) {
		fputs(WRITTEN, file);
		fputs(sqloom_spec_text(spec, NULL), file);
		written = fflush(file) == 0 && !ferror(file);
		written = fclose(file) == 0 && written;
	}
	if (written)
		return SLM_CLI_EXIT_OK;
	fprintf(stderr, "sqloom: --write-spec: cannot write %s: %s\n", path,
		strerror(errno));
	return SLM_CLI_EXIT_ENVIRONMENT;
}

/* ---- The source -------------------------------------------------------- */

static enum sqloom_status from_trace(const char *path,
				     struct sqloom_spec **spec,
				     struct sqloom_error *err)
{
	struct sqloom_report *report = NULL;
	struct sqloom_spec *made = NULL;
	enum sqloom_status status = sqloom_trace_read(path, &report, err);

	if (!status)
		status = sqloom_spec_from_trace(report, &made, err);
	/* By this name lines to paste know that there is no file. */
	if (!status)
		status = sqloom_spec_parse(sqloom_spec_text(made, NULL),
					   strlen(sqloom_spec_text(made, NULL)),
					   MADE_OF_OPTIONS, spec, err);
	sqloom_spec_free(made);
	sqloom_report_free(report);
	return status;
}

/* What is explored is what stands in the file: its name is in the report. */
static int written(const char *path, struct slm_cli_source *source)
{
	int exit_code = write_spec(source->spec, path);
	struct sqloom_error err;

	sqloom_spec_free(source->spec);
	source->spec = NULL;
	if (!exit_code && sqloom_spec_read(path, &source->spec, &err))
		exit_code = slm_cli_error(&err);
	return exit_code;
}

static int made_of_options(const struct slm_cli_arguments *arguments,
			   struct slm_cli_source *source)
{
	struct sqloom_error err;
	enum sqloom_status status =
		arguments->from_trace ?
			from_trace(arguments->from_trace, &source->spec, &err) :
			build(arguments, &source->spec, &err);

	if (status)
		return slm_cli_error(&err);
	if (arguments->write_spec)
		return written(arguments->write_spec, source);
	source->shell = for_shell(arguments);
	if (source->shell)
		return SLM_CLI_EXIT_OK;
	fputs("sqloom: out of memory\n", stderr);
	return SLM_CLI_EXIT_ENVIRONMENT;
}

int slm_cli_source_open(const struct slm_cli_arguments *arguments,
			struct slm_cli_source *source)
{
	struct sqloom_error err;
	int exit_code = SLM_CLI_EXIT_OK;

	memset(source, 0, sizeof(*source));
	if (slm_cli_has_calls(arguments))
		exit_code = made_of_options(arguments, source);
	else if (arguments->noperands &&
		 sqloom_spec_read(arguments->operands[0], &source->spec, &err))
		exit_code = slm_cli_error(&err);
	source->options = arguments->options;
	source->options.source = source->shell;
	source->options.environment = (const char *const *)environ;
	if (arguments->nbackground)
		source->options.background = arguments->background;
	if (arguments->nignore)
		source->options.ignore = arguments->ignore;
	return exit_code;
}

void slm_cli_source_close(struct slm_cli_source *source)
{
	sqloom_spec_free(source->spec);
	free(source->shell);
}
