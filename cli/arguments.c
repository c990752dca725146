/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arguments of a command. An option stands anywhere, before or behind the
 * operands; `--` ends the options. The last of several equal options counts.
 * All that is not right is said here.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"

#define TYPED_MAX 40 /* a longer name is near to nothing */

static void unknown_option(const struct slm_cli_command *command,
			   const char *name, size_t length)
{
	const char *nearest = NULL;
	char typed[TYPED_MAX];

	if (length < sizeof(typed)) {
		snprintf(typed, sizeof(typed), "%.*s", (int)length, name);
		nearest = slm_cli_option_nearest(command, typed);
	}
	if (nearest)
		slm_cli_usage_error(command,
				    "unknown option --%.*s; did you mean "
				    "--%s?",
				    (int)length, name, nearest);
	else
		slm_cli_usage_error(command, "unknown option --%.*s",
				    (int)length, name);
}

static bool fits(const struct slm_cli_command *command,
		 const struct slm_cli_option *option)
{
	if (option->commands & command->bit)
		return true;
	slm_cli_usage_error(command,
			    "sqloom %s has no option --%s; sqloom %s "
			    "has",
			    command->name, option->name,
			    option->commands & SLM_CLI_EXPLORE ? "explore" :
			    option->commands & SLM_CLI_REPLAY  ? "replay" :
			    option->commands & SLM_CLI_SHOW    ? "show" :
			    option->commands & SLM_CLI_PROXY   ? "proxy" :
			    option->commands & SLM_CLI_DOCTOR  ? "doctor" :
								 "isolation");
	return false;
}

static bool set(struct slm_cli_arguments *out,
		const struct slm_cli_option *option, const char *value)
{
	if (option->set(out, value))
		return true;
	slm_cli_usage_error(out->command, "--%s: '%s' is not valid; give %s",
			    option->name, value, option->wants);
	return false;
}

/* --name, --name=value or --name value. Moves *argv to the last argument it
 * used. */
static bool parse_long(struct slm_cli_arguments *out, char ***argv)
{
	const char *name = **argv + 2;
	size_t length = strcspn(name, "=");
	const char *value = name[length] ? name + length + 1 : NULL;
	const struct slm_cli_option *option = slm_cli_option(name, length);

	if (!option) {
		unknown_option(out->command, name, length);
		return false;
	}
	if (!fits(out->command, option))
		return false;
	if (!option->argument && value) {
		slm_cli_usage_error(out->command, "--%s takes no value",
				    option->name);
		return false;
	}
	if (option->argument && !value) {
		value = (*argv)[1];
		/* Not "--trace --json": that would write a file --json. */
		if (!value || strncmp(value, "--", 2) == 0) {
			slm_cli_usage_error(out->command,
					    "--%s needs a value: %s",
					    option->name, option->wants);
			return false;
		}
		(*argv)++;
	}
	return set(out, option, value);
}

/* -q or -qh; no short option has a value. */
static bool parse_short(struct slm_cli_arguments *out, const char *letters)
{
	for (; *letters; letters++) {
		const struct slm_cli_option *option =
			slm_cli_option_letter(*letters);

		if (!option) {
			slm_cli_usage_error(out->command, "unknown option -%s",
					    letters);
			return false;
		}
		if (!fits(out->command, option))
			return false;
		option->set(out, NULL);
	}
	return true;
}

/* Gathers the files at the front of argv, which is read up to there. */
static bool add_file(struct slm_cli_arguments *out, char *text)
{
	if (!*text) {
		slm_cli_usage_error(out->command, "the name of a file is "
						  "empty");
		return false;
	}
	out->files[out->nfiles++] = text;
	return true;
}

static bool add_operand(struct slm_cli_arguments *out, char *text)
{
	const struct slm_cli_command *command = out->command;
	const char *name = command->operands[out->noperands];

	if (command->many)
		return add_file(out, text);
	if (!name) {
		slm_cli_usage_error(
			command, "there is an argument too many: '%s'", text);
		return false;
	}
	if (!*text) {
		slm_cli_usage_error(command, "%s is empty", name);
		return false;
	}
	out->operands[out->noperands++] = text;
	return true;
}

/* Are there as many operands as the command wants? */
static bool check_operands(const struct slm_cli_arguments *arguments)
{
	const struct slm_cli_command *command = arguments->command;
	unsigned given = arguments->noperands;
	const char *missing;

	/* Then FILE, the first one, is left out. */
	if (command->calls && slm_cli_has_calls(arguments))
		given++;
	missing = given > SLM_CLI_OPERANDS_MAX || command->optional ?
			  NULL :
			  command->operands[given];
	if (command->many)
		missing = arguments->nfiles || arguments->schedule ?
				  NULL :
				  "FILE, or --schedule FILE,";
	if (missing && command->calls && given == 0)
		slm_cli_usage_error(command,
				    "%s is missing; or give the calls: --call "
				    "COMMAND or --http REQUEST",
				    missing);
	else if (missing)
		slm_cli_usage_error(command, "%s is missing", missing);
	return !missing;
}

static bool check(const struct slm_cli_arguments *arguments)
{
	const struct slm_cli_command *command = arguments->command;

	if (!slm_cli_check_calls(arguments) || !check_operands(arguments))
		return false;
	if (arguments->json && arguments->quiet) {
		slm_cli_usage_error(command, "--json and --quiet do not go "
					     "together; take one out");
		return false;
	}
	if (arguments->finding && (arguments->json || arguments->quiet)) {
		slm_cli_usage_error(command,
				    "--finding and --%s do not go together; "
				    "take one out",
				    arguments->json ? "json" : "quiet");
		return false;
	}
	return true;
}

bool slm_cli_parse(const struct slm_cli_command *command, char **argv,
		   struct slm_cli_arguments *out)
{
	bool options_end = false;
	bool ok = true;

	memset(out, 0, sizeof(*out));
	out->command = command;
	out->findings = 1;
	out->port = -1;
	out->files = argv;
	sqloom_options_init(&out->options);
	for (; ok && *argv; argv++) {
		if (options_end || **argv != '-' || strcmp(*argv, "-") == 0)
			ok = add_operand(out, *argv);
		else if (strcmp(*argv, "--") == 0)
			options_end = true;
		else if ((*argv)[1] == '-')
			ok = parse_long(out, &argv);
		else
			ok = parse_short(out, *argv + 1);
	}
	/* Whoever asks for help need not have the rest right. */
	return ok && (out->help || check(out));
}
