/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress of an exploration: one line on stderr, rewritten in place about
 * ten times a second, only where a terminal shows it. The same callback
 * carries the wish to stop into the library.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define INTERVAL_MS 100
#define WIDTH_MAX 200
#define WIDTH_DEFAULT 80
#define ERASE "\r\033[K"

/* There is one exploration at a time in a command. */
struct progress {
	bool shows;    /* a terminal is there, and nobody said no */
	bool is_there; /* a line is on the terminal now */
	uint64_t shown_ms;
};

static struct progress state;

/* 12,345 */
static void put_number(FILE *file, uint64_t number)
{
	if (number >= 1000) {
		put_number(file, number / 1000);
		fprintf(file, ",%03" PRIu64, number % 1000);
	} else {
		fprintf(file, "%" PRIu64, number);
	}
}

/* An estimate needs no digits that nobody knows. */
static void put_estimate(FILE *file, double number)
{
	static const struct {
		double from;
		const char *name;
	} units[] = {
		{ 1e12, " trillion" },
		{ 1e9, " billion" },
		{ 1e6, " million" },
	};

	if (number >= 1e15) {
		fprintf(file, "%.0e", number);
		return;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (number >= units[i].from) {
			fprintf(file, "%.1f%s", number / units[i].from,
				units[i].name);
			return;
		}
	put_number(file, (uint64_t)(number + 0.5));
}

static void put_line(FILE *file, const struct sqloom_progress *progress)
{
	put_number(file, progress->runs);
	fputs(progress->runs == 1 ? " run" : " runs", file);
	if (progress->elapsed_ms) {
		fputs("  ", file);
		put_number(file, (uint64_t)((double)progress->runs * 1000 /
					    (double)progress->elapsed_ms));
		fputs("/s", file);
	}
	if (progress->left >= 0) {
		fputs("  about ", file);
		put_estimate(file, progress->left);
		fputs(" left", file);
	}
	fprintf(file, "  %u finding%s", progress->findings,
		progress->findings == 1 ? "" : "s");
	fprintf(file, "  %" PRIu64 ".%" PRIu64 " s",
		progress->elapsed_ms / 1000, progress->elapsed_ms % 1000 / 100);
}

static void show(const struct sqloom_progress *progress)
{
	char line[WIDTH_MAX] = "";
	unsigned width = slm_cli_terminal_width(STDERR_FILENO);
	FILE *file = fmemopen(line, sizeof(line), "w");

	if (!file)
		return;
	put_line(file, progress);
	fclose(file);
	if (!width)
		width = WIDTH_DEFAULT;
	/* A line that wraps could not be erased. */
	if (width <= strlen(line))
		line[width - 1] = '\0';
	fprintf(stderr, ERASE "%s", line);
	fflush(stderr);
	state.is_there = true;
}

static bool on_progress(const struct sqloom_progress *progress, void *userdata)
{
	(void)userdata;
	if (slm_cli_signals_stopped())
		return false;
	if (state.shows &&
	    progress->elapsed_ms - state.shown_ms >= INTERVAL_MS) {
		state.shown_ms = progress->elapsed_ms;
		show(progress);
	}
	return true;
}

void slm_cli_progress_begin(const struct slm_cli_arguments *arguments,
			    struct sqloom_options *options)
{
	state = (struct progress){
		.shows = !arguments->no_progress && !arguments->quiet &&
			 !arguments->json &&
			 slm_cli_terminal_is_able(STDERR_FILENO),
	};
	options->progress = on_progress;
}

void slm_cli_progress_end(void)
{
	if (state.is_there) {
		fputs(ERASE, stderr);
		fflush(stderr);
	}
	state.is_there = false;
}
