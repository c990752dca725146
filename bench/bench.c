/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benches' command line. All figures are medians over rounds in which the
 * sides that are compared take turns, in one process; the ratios are what to
 * quote, absolute times are those of this machine.
 */
#include "bench.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sqloom/sqloom.h>

#define USAGE                                                                  \
	"usage: sqloom-bench [--kit] [--functions] [--sqlite] [--postgres]\n"  \
	"                    [--programs] [--proxy] [--rounds N] [--runs N]\n" \
	"                    [--growth N]\n"                                   \
	"  --kit, --functions, --sqlite, --postgres, --programs, --proxy\n"    \
	"                        only these\n"                                 \
	"  --rounds N            at least 5 are worth quoting (5)\n"           \
	"  --runs N              SQLite: runs of a round (100000)\n"           \
	"  --growth N            only: what grows over N runs on PostgreSQL\n"

void bench_die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(stderr, "sqloom-bench: ");
	vfprintf(stderr, fmt, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(3);
}

double bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void bench_pin(cpu_set_t *before, const char *who)
{
	cpu_set_t one;
	int cpu = 0;

	if (sched_getaffinity(0, sizeof(*before), before) != 0)
		bench_die("cannot ask for the CPUs");
	while (!CPU_ISSET(cpu, before))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one) != 0)
		bench_die("cannot use one CPU only");
	printf("pinned to CPU %d of %d: %s\n", cpu, CPU_COUNT(before), who);
}

void bench_unpin(const cpu_set_t *before)
{
	sched_setaffinity(0, sizeof(*before), before);
}

double bench_median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

struct wanted {
	bool kit, functions, sqlite, postgres, programs, proxy;
	unsigned long long rounds, runs, growth;
};

static void parse(int argc, char **argv, struct wanted *wanted)
{
	static const struct option options[] = {
		{ "kit", no_argument, NULL, 'k' },
		{ "functions", no_argument, NULL, 'f' },
		{ "sqlite", no_argument, NULL, 's' },
		{ "postgres", no_argument, NULL, 'p' },
		{ "programs", no_argument, NULL, 'P' },
		{ "proxy", no_argument, NULL, 'x' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "runs", required_argument, NULL, 'n' },
		{ "growth", required_argument, NULL, 'g' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned long long n = optarg ? strtoull(optarg, NULL, 10) : 1;

		if (c == '?' || n == 0 || (c == 'r' && n > BENCH_ROUNDS_MAX))
			optind = argc + 1;
		else if (c == 'k')
			wanted->kit = true;
		else if (c == 'f')
			wanted->functions = true;
		else if (c == 's')
			wanted->sqlite = true;
		else if (c == 'p')
			wanted->postgres = true;
		else if (c == 'P')
			wanted->programs = true;
		else if (c == 'x')
			wanted->proxy = true;
		else
			*(c == 'r' ? &wanted->rounds :
			  c == 'n' ? &wanted->runs :
				     &wanted->growth) = n;
		if (optind > argc)
			break;
	}
	if (optind != argc) {
		fputs(USAGE, stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct wanted wanted = { .rounds = 5, .runs = 100000 };
	bool all;

	/* What bench_kit() starts to compare with. */
	if (argc == 2 && strcmp(argv[1], "--nothing") == 0)
		return putchar('x') == 'x' ? 0 : 1;
	parse(argc, argv, &wanted);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (wanted.growth) {
		bench_postgres_growth(wanted.growth);
		return 0;
	}
	printf("sqloom %s, medians of %llu rounds\n\n", SQLOOM_VERSION,
	       wanted.rounds);
	all = !wanted.kit && !wanted.functions && !wanted.sqlite &&
	      !wanted.postgres && !wanted.programs && !wanted.proxy;
	if (wanted.kit || all)
		bench_kit((unsigned)wanted.rounds);
	if (wanted.functions || all)
		bench_functions((unsigned)wanted.rounds);
	if (wanted.sqlite || all)
		bench_sqlite(wanted.runs, (unsigned)wanted.rounds);
	if (all)
		printf("\n");
	if (wanted.postgres || all)
		bench_postgres((unsigned)wanted.rounds);
	if (wanted.programs || all)
		bench_programs((unsigned)wanted.rounds);
	if (wanted.proxy || all)
		bench_proxy((unsigned)wanted.rounds);
	return 0;
}
