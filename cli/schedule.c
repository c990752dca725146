/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schedules: lists of tests, as PostgreSQL's regression tests have them. A
 * line is "test: NAME ..."; # begins a comment; "ignore: NAME" is passed over.
 * A test NAME is the spec specs/NAME.spec beside the schedule.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define BLANKS " \t\r\n"

void slm_cli_schedule_free(struct slm_cli_schedule *schedule)
{
	for (unsigned i = 0; i < schedule->npaths; i++)
		free(schedule->paths[i]);
	free(schedule->paths);
	memset(schedule, 0, sizeof(*schedule));
}

static bool add_test(struct slm_cli_schedule *schedule, const char *path,
		     const char *name)
{
	const char *slash = strrchr(path, '/');
	int directory = slash ? (int)(slash + 1 - path) : 0;
	char **paths = realloc(schedule->paths,
			       (schedule->npaths + 1) * sizeof(*paths));

	if (!paths)
		return false;
	schedule->paths = paths;
	if (asprintf(&paths[schedule->npaths], "%.*sspecs/%s.spec", directory,
		     path, name) < 0)
		return false;
	schedule->npaths++;
	return true;
}

/* 0, or an exit code after a message. */
static int read_line(struct slm_cli_schedule *schedule, const char *path,
		     unsigned number, char *line)
{
	char *rest = NULL, *word;
	bool is_test;

	line[strcspn(line, "#")] = '\0';
	word = strtok_r(line, BLANKS, &rest);
	if (!word)
		return SLM_CLI_EXIT_OK;
	is_test = strcmp(word, "test:") == 0;
	if (!is_test && strcmp(word, "ignore:") != 0) {
		fprintf(stderr,
			"sqloom: %s:%u: '%s' begins no line of a schedule; "
			"write test: NAME\n",
			path, number, word);
		return SLM_CLI_EXIT_USAGE;
	}
	while (is_test && (word = strtok_r(NULL, BLANKS, &rest)) != NULL)
		if (!add_test(schedule, path, word)) {
			fputs("sqloom: out of memory\n", stderr);
			return SLM_CLI_EXIT_ENVIRONMENT;
		}
	return SLM_CLI_EXIT_OK;
}

static int cannot_read(const char *path)
{
	fprintf(stderr, "sqloom: cannot read the schedule %s: %s\n", path,
		strerror(errno));
	return SLM_CLI_EXIT_ENVIRONMENT;
}

int slm_cli_schedule_read(const char *path, struct slm_cli_schedule *schedule)
{
	FILE *file = fopen(path, "re");
	int exit_code = SLM_CLI_EXIT_OK;
	unsigned number = 0;
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return cannot_read(path);
	errno = 0;
	while (!exit_code && getline(&line, &size, file) >= 0)
		exit_code = read_line(schedule, path, ++number, line);
	if (!exit_code && ferror(file))
		exit_code = cannot_read(path);
	free(line);
	fclose(file);
	return exit_code;
}
