/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benches share: bench.c (options, figures), sqlite.c, and
 * postgres.c with its parts (postgres.h).
 */
#ifndef SLM_BENCH_BENCH_H
#define SLM_BENCH_BENCH_H

#include <sched.h>
#include <stdint.h>

#define BENCH_ROUNDS_MAX 101

/* Says what is wrong and exits with 3. */
void bench_die(const char *fmt, ...)
	__attribute__((format(printf, 1, 2), noreturn));

/* Seconds of the wall clock. */
double bench_now(void);

/* Sorts the values. */
double bench_median(double *values, unsigned count);

/* Keeps this process, and so what it starts, on one CPU, and says so. */
void bench_pin(cpu_set_t *before, const char *who);
void bench_unpin(const cpu_set_t *before);

/* Schedules per second on SQLite, and memory over a million runs. */
void bench_sqlite(uint64_t runs, unsigned rounds);

/* On PostgreSQL; says so if it is not installed. */
void bench_postgres(unsigned rounds);
/* Only: what grows over so many runs. */
void bench_postgres_growth(uint64_t runs);

/* Controlled programs beside sessions of a spec. */
void bench_programs(unsigned rounds);

/* The test kit: fixtures beside emptying all tables, calls in clean processes
 * beside starting programs. Call it before anything opens connections. */
void bench_kit(unsigned rounds);

/* Functions of a program on threads, over SQLite. */
void bench_functions(unsigned rounds);

/* The proxy beside pgbouncer; says so if that is not installed. */
void bench_proxy(unsigned rounds);

#endif
