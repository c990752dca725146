/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is printed: errors on stderr, reports on stdout, and the decisions
 * about colour, width and characters. Only this file and progress.c look at
 * terminals and the environment.
 */
#include <errno.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"

#define WIDTH_MIN 40
#define WIDTH_MAX 1000
#define WIDTH_TERMINAL 80
#define WIDTH_PIPE 100

/* ---- Errors ------------------------------------------------------------ */

void slm_cli_usage_error(const struct slm_cli_command *command, const char *fmt,
			 ...)
{
	va_list args;

	fputs("sqloom: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\ntry sqloom %s%s--help\n",
		command ? command->name : "", command ? " " : "");
}

static void print_place(const struct sqloom_error *err)
{
	if (!err->path[0])
		return;
	if (err->line && err->column)
		fprintf(stderr, "%s:%u:%u: ", err->path, err->line,
			err->column);
	else if (err->line)
		fprintf(stderr, "%s:%u: ", err->path, err->line);
	else if (!strstr(err->message, err->path))
		fprintf(stderr, "%s: ", err->path);
}

int slm_cli_error(const struct sqloom_error *err)
{
	fputs("sqloom: ", stderr);
	print_place(err);
	fprintf(stderr, "%s\n",
		err->message[0] ? err->message :
				  sqloom_status_text(err->status));
	/* A caret below an empty line shows nothing. */
	if (err->excerpt[0] && err->excerpt[0] != '\n')
		fprintf(stderr, "%s\n", err->excerpt);
	if (err->status == SQLOOM_INTERNAL)
		fputs("This is a defect in sqloom; please report it with the "
		      "spec.\n",
		      stderr);
	return sqloom_status_exit_code(err->status);
}

/* ---- Terminals --------------------------------------------------------- */

unsigned slm_cli_terminal_width(int fd)
{
	struct winsize size;

	return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

bool slm_cli_terminal_is_able(int fd)
{
	const char *term = getenv("TERM");

	return isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
}

static bool wants_color(enum slm_cli_color color)
{
	const char *no_color = getenv("NO_COLOR");

	if (color != SLM_CLI_COLOR_AUTO)
		return color == SLM_CLI_COLOR_ALWAYS;
	return slm_cli_terminal_is_able(STDOUT_FILENO) &&
	       !(no_color && *no_color);
}

static unsigned choose_width(unsigned given)
{
	const char *columns = getenv("COLUMNS");
	uint64_t number = 0;

	if (given)
		return given;
	number = slm_cli_terminal_width(STDOUT_FILENO);
	if (!number && columns && !slm_cli_read_count(columns, &number))
		number = 0;
	if (!number)
		number = isatty(STDOUT_FILENO) ? WIDTH_TERMINAL : WIDTH_PIPE;
	if (number < WIDTH_MIN)
		return WIDTH_MIN;
	return number > WIDTH_MAX ? WIDTH_MAX : (unsigned)number;
}

static bool is_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* ---- Reports ----------------------------------------------------------- */

static struct sqloom_render choose(const struct slm_cli_arguments *arguments)
{
	struct sqloom_render render;

	sqloom_render_init(&render);
	render.format = arguments->json ? SQLOOM_FORMAT_JSON :
					  SQLOOM_FORMAT_TEXT;
	render.color = wants_color(arguments->color);
	render.ascii = arguments->ascii || !is_utf8();
	/* In a file, equal runs give equal bytes. */
	render.timing = isatty(STDOUT_FILENO);
	render.width = choose_width(arguments->width);
	render.findings = arguments->findings;
	render.finding = arguments->finding;
	render.brief = arguments->quiet;
	if (arguments->quiet)
		render.width = WIDTH_MAX;
	return render;
}

int slm_cli_print_report(const struct slm_cli_arguments *arguments,
			 const struct sqloom_report *report, int exit_code)
{
	struct sqloom_render render = choose(arguments);
	struct sqloom_error err;
	char *text = NULL;
	size_t size;

	if (arguments->trace_is_stdout)
		return exit_code;
	if (sqloom_report_render(report, &render, &text, &size, &err))
		return slm_cli_error(&err);
	fwrite(text, 1, size, stdout);
	if (size && text[size - 1] != '\n')
		putchar('\n');
	sqloom_text_free(text);
	return slm_cli_flush(exit_code);
}

int slm_cli_flush(int exit_code)
{
	/* fflush() reports an error once; ferror() remembers it. */
	if (fflush(stdout) == 0 && !ferror(stdout))
		return exit_code;
	if (errno == EPIPE)
		return exit_code;
	fprintf(stderr, "sqloom: cannot write to standard output: %s\n",
		strerror(errno));
	return SLM_CLI_EXIT_ENVIRONMENT;
}
