/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqloom, the command: finds the subcommand and runs it. Everything is found
 * out about the process (locale, signals, descriptors) here, before the first
 * line is printed.
 */
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const struct slm_cli_command *const commands[] = {
	&slm_cli_explore,   &slm_cli_replay, &slm_cli_show,
	&slm_cli_isolation, &slm_cli_doctor, &slm_cli_proxy,
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

/* ---- Help -------------------------------------------------------------- */

static void print_synopsis(FILE *file, const struct slm_cli_command *command)
{
	fprintf(file, "sqloom %s", command->name);
	for (unsigned i = 0; command->operands[i]; i++)
		fprintf(file, command->optional ? " [%s]" : " %s",
			command->operands[i]);
	fputs(" [options]\n", file);
	if (!command->calls)
		return;
	fprintf(file, "       sqloom %s", command->name);
	for (unsigned i = 1; command->operands[i]; i++)
		fprintf(file, " %s", command->operands[i]);
	fputs(" --call COMMAND --call COMMAND ... [options]\n", file);
}

static void print_short_help(FILE *file)
{
	fputs("sqloom finds concurrency bugs in programs that use a database "
	      "and replays them.\n\n",
	      file);
	for (unsigned i = 0; i < NCOMMANDS; i++) {
		fputs(i ? "       " : "usage: ", file);
		print_synopsis(file, commands[i]);
	}
}

static int help(void)
{
	print_short_help(stdout);
	fputs("\ncommands:\n", stdout);
	for (unsigned i = 0; i < NCOMMANDS; i++)
		printf("  %-11s%s\n", commands[i]->name, commands[i]->summary);
	fputs("\n"
	      "options:\n"
	      "  -h, --help     this text; sqloom COMMAND --help tells more\n"
	      "  -V, --version  the version\n"
	      "\n"
	      "exit codes:\n"
	      "  0   holds: all schedules within the bounds were run, none is "
	      "wrong\n"
	      "  1   broken: at least one wrong outcome\n"
	      "  2   an option, the spec, a token or a trace is not valid\n"
	      "  3   a file or the database could not be used\n"
	      "  4   inconclusive: none seen, but not all was seen\n"
	      "  70  internal error, a defect in sqloom\n",
	      stdout);
	return slm_cli_flush(SLM_CLI_EXIT_OK);
}

static int command_help(const struct slm_cli_command *command)
{
	fputs("usage: ", stdout);
	print_synopsis(stdout, command);
	printf("\n%s", command->about);
	slm_cli_print_options(command);
	printf("\nexit codes:\n%s\nexamples:\n%s", command->exits,
	       command->examples);
	return slm_cli_flush(SLM_CLI_EXIT_OK);
}

static int version(void)
{
	printf("%s\n", sqloom_version());
	return slm_cli_flush(SLM_CLI_EXIT_OK);
}

/* ---- Which command ----------------------------------------------------- */

static bool is_one_of(const char *text, const char *a, const char *b)
{
	return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

static const struct slm_cli_command *find(const char *name)
{
	for (unsigned i = 0; i < NCOMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static int unknown(const char *name)
{
	const char *names[NCOMMANDS + 2] = { NULL };
	const char *nearest;

	if (name[0] == '-') {
		slm_cli_usage_error(NULL,
				    "%s is no option here; the command comes "
				    "first, as in: sqloom explore FILE %s",
				    name, name);
		return SLM_CLI_EXIT_USAGE;
	}
	for (unsigned i = 0; i < NCOMMANDS; i++)
		names[i] = commands[i]->name;
	names[NCOMMANDS] = "help";
	nearest = slm_cli_nearest(name, names);
	if (nearest)
		slm_cli_usage_error(NULL,
				    "there is no command '%s'; did you mean "
				    "'%s'?",
				    name, nearest);
	else if (access(name, F_OK) == 0)
		slm_cli_usage_error(NULL,
				    "'%s' is a file, not a command; did you "
				    "mean sqloom explore %s?",
				    name, name);
	else
		slm_cli_usage_error(NULL, "there is no command '%s'", name);
	return SLM_CLI_EXIT_USAGE;
}

static int run(const struct slm_cli_command *command, char **argv)
{
	struct slm_cli_arguments arguments;

	if (!slm_cli_parse(command, argv, &arguments))
		return SLM_CLI_EXIT_USAGE;
	if (arguments.help)
		return command_help(command);
	return command->run(&arguments);
}

static int dispatch(char **argv)
{
	const struct slm_cli_command *command;

	if (!argv[0] || !argv[1]) {
		print_short_help(stderr);
		fputs("\ntry sqloom --help\n", stderr);
		return SLM_CLI_EXIT_USAGE;
	}
	if (is_one_of(argv[1], "--version", "-V"))
		return version();
	if (is_one_of(argv[1], "--help", "-h"))
		return help();
	if (strcmp(argv[1], "help") == 0) {
		if (!argv[2])
			return help();
		command = find(argv[2]);
		return command ? command_help(command) : unknown(argv[2]);
	}
	command = find(argv[1]);
	return command ? run(command, argv + 2) : unknown(argv[1]);
}

/* ---- The process ------------------------------------------------------- */

/*
 * Started with stdin, stdout or stderr closed, a database or a trace would get
 * its number, and messages would be written into it. Writing to a descriptor
 * that is open for reading fails as to a closed one.
 */
static void fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
			_exit(SLM_CLI_EXIT_ENVIRONMENT);
}

int main(int argc, char **argv)
{
	(void)argc;
	fill_standard_descriptors();
	/* Only what a character is: numbers and messages stay the same. */
	setlocale(LC_CTYPE, "");
	slm_cli_signals_init();
	return dispatch(argv);
}
