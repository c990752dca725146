/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sqloom is compared with on PostgreSQL. The serial loop is the floor:
 * the same statements as simple queries on a connection per session, nobody
 * ever waits, nothing is scheduled, recorded or judged; the two tables are put
 * back with the same statements in one message. isolationtester is
 * PostgreSQL's own tool, given the cheapest set-up that we could write by hand
 * and only orders that can happen.
 */
#include <errno.h>
#include <glob.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "postgres.h"

extern char **environ;

#define VACUUM_EVERY 100
#define VACUUM "VACUUM (TRUNCATE FALSE) account, entry"

#define READ "SELECT * FROM account; SELECT * FROM entry; "
#define RESTORE                                            \
	"DELETE FROM entry; DELETE FROM account; "         \
	"INSERT INTO account SELECT * FROM keep.account; " \
	"INSERT INTO entry SELECT * FROM keep.entry; "
#define SEQUENCES \
	"SELECT setval('account_id_seq', 10), setval('entry_id_seq', 10)"
/* Foreign keys need not be checked: what is put back was right before. */
#define UNCHECKED "SET session_replication_role = replica; "

/* ---- The serial loop --------------------------------------------------- */

struct bench_loop {
	const struct bench_workload *workload;
	PGconn *restorer, *sessions[3];
	char statements[3][BENCH_STEPS_MAX][200];
	unsigned turns;
};

struct bench_loop *bench_loop_open(const struct bench_workload *workload,
				   const char *conninfo)
{
	struct bench_loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		bench_die("out of memory");
	loop->workload = workload;
	loop->restorer = bench_connect(conninfo);
	bench_execute(loop->restorer, "SET client_min_messages = warning; "
				      "DROP SCHEMA IF EXISTS keep CASCADE; "
				      "DROP TABLE IF EXISTS entry, account");
	bench_execute(loop->restorer, bench_workload_tables);
	bench_execute(loop->restorer,
		      "CREATE SCHEMA keep; "
		      "CREATE TABLE keep.account AS TABLE account; "
		      "CREATE TABLE keep.entry AS TABLE entry; " UNCHECKED);
	bench_execute(loop->restorer, VACUUM);
	for (unsigned i = 0; i < workload->nsessions; i++) {
		loop->sessions[i] = bench_connect(conninfo);
		for (unsigned j = 0; j < bench_workload_nsteps(workload); j++)
			bench_workload_statement(
				workload, i, j, loop->statements[i][j],
				sizeof(loop->statements[i][j]));
	}
	return loop;
}

void bench_loop_run(struct bench_loop *loop, unsigned turns, bool reading)
{
	const struct bench_workload *workload = loop->workload;
	unsigned nsteps = bench_workload_nsteps(workload);

	for (unsigned turn = 0; turn < turns; turn++) {
		for (unsigned i = 0; i < workload->nsessions; i++)
			for (unsigned j = 0; j < nsteps; j++)
				bench_execute(loop->sessions[i],
					      loop->statements[i][j]);
		bench_execute(loop->restorer, reading ? READ RESTORE SEQUENCES :
							RESTORE SEQUENCES);
		if (++loop->turns % VACUUM_EVERY == 0)
			bench_execute(loop->restorer, VACUUM);
	}
}

void bench_loop_close(struct bench_loop *loop)
{
	for (unsigned i = 0; i < loop->workload->nsessions; i++)
		PQfinish(loop->sessions[i]);
	PQfinish(loop->restorer);
	free(loop);
}

/* ---- isolationtester --------------------------------------------------- */

const char *bench_tester_path(void)
{
	static char path[200];
	glob_t found;

	if (!*path && glob("/usr/lib/postgresql/*/lib/pgxs/src/test/isolation/"
			   "isolationtester",
			   0, NULL, &found) == 0) {
		snprintf(path, sizeof(path), "%s",
			 found.gl_pathv[found.gl_pathc - 1]);
		globfree(&found);
	}
	return *path ? path : NULL;
}

static void write_orders(const struct bench_workload *workload,
			 const struct bench_orders *orders, unsigned sample,
			 struct slm_buf *out)
{
	unsigned length = workload->nsessions * bench_workload_nsteps(workload);

	for (unsigned i = 0; i < sample; i++) {
		const unsigned char *order =
			orders->sessions[(size_t)i * orders->count / sample];
		unsigned next[3] = { 0 };

		slm_buf_puts(out, "permutation");
		for (unsigned j = 0; j < length; j++)
			slm_buf_printf(out, " s%u_%u", order[j],
				       next[order[j]]++);
		slm_buf_putc(out, '\n');
	}
}

/* A file in memory. */
static int memory_file(const char *name, const struct slm_buf *text)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0 ||
	    (text &&
	     write(fd, text->data, text->size) != (ssize_t)text->size) ||
	    lseek(fd, 0, SEEK_SET) != 0)
		bench_die("cannot make a file in memory: %s", strerror(errno));
	return fd;
}

static double run_tester(const char *conninfo, int input, int output)
{
	const char *path = bench_tester_path();
	char *arguments[] = { (char *)"isolationtester", (char *)conninfo,
			      NULL };
	posix_spawn_file_actions_t files;
	double began = bench_now();
	pid_t pid;
	int status;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, input, 0);
	posix_spawn_file_actions_adddup2(&files, output, 1);
	if (posix_spawn(&pid, path, &files, NULL, arguments, environ) != 0 ||
	    waitpid(pid, &status, 0) != pid)
		bench_die("cannot execute %s", path);
	posix_spawn_file_actions_destroy(&files);
	if (status != 0)
		bench_die("isolationtester failed");
	return bench_now() - began;
}

/* It must have run all the orders, and waited for no step in vain. */
static void check_output(int output, unsigned sample)
{
	off_t size = lseek(output, 0, SEEK_END);
	char *text =
		mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, output, 0);
	unsigned count = 0;

	if (text == MAP_FAILED)
		bench_die("isolationtester printed nothing");
	for (const char *at = text, *end = text + size; at < end; at++) {
		count += strncmp(at, "starting permutation", 20) == 0;
		if (strncmp(at, "isolationtester: canceling", 26) == 0)
			bench_die("%.80s", at);
		at = memchr(at, '\n', (size_t)(end - at));
		if (!at)
			break;
	}
	if (count != sample)
		bench_die("isolationtester ran %u of %u orders", count, sample);
	munmap(text, (size_t)size);
}

double bench_tester_run(const struct bench_workload *workload,
			const char *conninfo, const struct bench_orders *orders,
			unsigned sample, bool plain)
{
	struct slm_buf spec;
	double seconds;
	int input, output;

	slm_buf_init(&spec);
	slm_buf_printf(&spec, "setup { %s" RESTORE "}\n",
		       plain ? "" : UNCHECKED);
	bench_workload_sessions(workload, &spec);
	write_orders(workload, orders, sample, &spec);
	if (slm_buf_failed(&spec))
		bench_die("out of memory");
	input = memory_file("spec", &spec);
	output = memory_file("output", NULL);
	seconds = run_tester(conninfo, input, output);
	check_output(output, sample);
	close(input);
	close(output);
	slm_buf_deinit(&spec);
	return seconds;
}
