/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that are programs, on a private server: whatever goes wrong, and
 * wherever it does, nothing is left. After every test the kernel, the server
 * and the allocator are asked: no process, no descriptor, no session, no block
 * of memory, and the contents are as they were.
 */
#include <dirent.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "call/programs.h"
#include "call/run.h"
#include "pg/server.h"

#define CALL_LIMIT_MS 20000
#define STALL_MS 100
#define TRIES 2000 /* pauses of a millisecond, then a test gives up */

/* Serves HTTP, and never answers. */
static const char deaf[] = "DEAF=import socket, sys, time\n"
			   "server = socket.socket()\n"
			   "server.bind(('127.0.0.1', int(sys.argv[1])))\n"
			   "server.listen()\n"
			   "time.sleep(1000)\n";

static const char *const environment[] = { "PATH=/usr/local/bin:/usr/bin:/bin",
					   "LC_ALL=C", deaf, NULL };

/* Two that add to the same row. */
#define PSQL "psql -XqAt -v ON_ERROR_STOP=1 "
#define ADD PSQL "-c BEGIN -c 'UPDATE t SET v = v + 1' -c COMMIT"
#define TWO "call \"a\" { exec " ADD " }\ncall \"b\" { exec " ADD " }\n"

static struct slm_pg_server *server;
static PGconn *conn; /* the test's own */

/* ---- Who is there ------------------------------------------------------ */

struct census {
	int64_t blocks;
	int files, children, sessions;
};

static int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static int count_children(void)
{
	char path[64];
	FILE *file;
	int pid, count = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children",
		 (int)getpid());
	file = fopen(path, "re");
	assert_non_null(file);
	while (fscanf(file, "%d", &pid) == 1)
		count++;
	fclose(file);
	return count;
}

static int number_of(const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	int number;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s", PQerrorMessage(conn));
	number = atoi(PQgetvalue(result, 0, 0));
	PQclear(result);
	return number;
}

static void execute(const char *sql)
{
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) == PGRES_FATAL_ERROR)
		fail_msg("%s", PQerrorMessage(conn));
	PQclear(result);
}

static struct census census(void)
{
	return (struct census){
		.blocks = slm_alloc_live(),
		.files = count_entries("/proc/self/fd"),
		.children = count_children(),
		.sessions =
			number_of("SELECT count(*) FROM pg_stat_activity WHERE "
				  "backend_type = 'client backend' AND "
				  "pid <> pg_backend_pid()"),
	};
}

static void pause_briefly(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

/* A session ends a moment after its connection. */
static void assert_same(const struct census *before)
{
	struct census now = census();

	for (int i = 0; i < TRIES && now.sessions > 0; i++) {
		pause_briefly();
		now = census();
	}
	assert_int_equal(now.sessions, before->sessions);
	assert_int_equal(now.children, before->children);
	assert_int_equal(now.files, before->files);
	assert_int_equal(now.blocks, before->blocks);
	assert_int_equal(number_of("SELECT v FROM t"), 10);
}

/* ---- A case ------------------------------------------------------------ */

struct world {
	struct census before;
	struct sqloom_spec *spec;
	struct slm_programs_options options;
	struct slm_db *db;
	struct slm_arena run;
	struct sqloom_error err;
	int asked, stop_at;   /* goes_on says no at this question; 0: never */
	uint64_t allocations; /* of the last whole() */
};

static struct world w;

static bool goes_on(void *userdata)
{
	(void)userdata;
	return ++w.asked != w.stop_at;
}

static int begin(void **state)
{
	(void)state;
	execute("DROP TABLE IF EXISTS t; CREATE TABLE t (v integer); "
		"INSERT INTO t VALUES (10)");
	memset(&w, 0, sizeof(w));
	w.before = census();
	w.before.sessions = 0;
	w.options = (struct slm_programs_options){
		.pg = { .conninfo = slm_pg_server_conninfo(server),
			.jobs = 1,
			.goes_on = goes_on },
		.stall_after_ms = STALL_MS,
		.call_limit_ms = CALL_LIMIT_MS,
		.environment = environment,
	};
	return 0;
}

static void finish(void)
{
	slm_db_free(w.db);
	w.db = NULL;
	sqloom_spec_free(w.spec);
	w.spec = NULL;
	slm_arena_deinit(&w.run);
}

static int end(void **state)
{
	(void)state;
	finish();
	assert_same(&w.before);
	return 0;
}

static enum sqloom_status try_open(const char *text)
{
	if (sqloom_spec_parse(text, strlen(text), "case.spec", &w.spec,
			      &w.err) != SQLOOM_OK)
		return w.err.status;
	return slm_programs_open(w.spec, &w.options, &w.db, &w.err);
}

static void open_case(const char *text)
{
	if (try_open(text) != SQLOOM_OK)
		fail_msg("%s", w.err.message);
}

static void begin_run(void)
{
	slm_arena_clear(&w.run);
	if (slm_db_run_begin(w.db, 3, 0, &w.run, &w.err) != SQLOOM_OK)
		fail_msg("%s", w.err.message);
}

static struct slm_db_arrival arrive(unsigned call)
{
	struct slm_db_arrival arrival = { 0 };

	if (slm_db_arrive(w.db, call, &arrival, &w.err) != SQLOOM_OK)
		fail_msg("%s", w.err.message);
	return arrival;
}

/* The call takes its next step. */
static struct slm_db_answer step(unsigned call)
{
	struct slm_db_arrival arrival = arrive(call);
	struct slm_db_answer answer = { 0 };

	assert_int_equal(arrival.kind, SLM_ARRIVAL_STEP);
	if (slm_db_step(w.db, call, arrival.step, &answer, &w.err) != SQLOOM_OK)
		fail_msg("%s", w.err.message);
	return answer;
}

/* a holds a lock for which b waits. */
static void block(void)
{
	begin_run();
	assert_false(step(0).blocked);
	assert_false(step(0).blocked);
	assert_false(step(1).blocked);
	assert_true(step(1).blocked);
}

static void refused(const char *text, enum sqloom_status status,
		    const char *part)
{
	assert_int_equal(try_open(text), status);
	assert_null(w.db);
	if (!strstr(w.err.message, part))
		fail_msg("not '%s' in: %s", part, w.err.message);
}

/* All of it: set-up, one run, the end. */
static enum sqloom_status whole(const char *text)
{
	static const struct slm_director director = { .order = "ab" };
	struct slm_plan plan = { .ncalls = 2 };
	struct slm_runner runner;
	enum sqloom_status status = try_open(text);

	if (status)
		return status;
	slm_runner_init(&runner);
	runner.db = w.db;
	runner.spec = w.spec;
	runner.plan = &plan;
	status = slm_run(&runner, 3, 0, &director, &w.err);
	if (!status)
		status = slm_db_finish(w.db, &w.err);
	w.allocations = slm_alloc_count();
	slm_alloc_fail_from(0);
	finish();
	slm_runner_deinit(&runner);
	return status;
}

/* ---- As it should be --------------------------------------------------- */

static void test_whole(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		if (whole(TWO) != SQLOOM_OK)
			fail_msg("%s", w.err.message);
		assert_same(&w.before);
	}
}

static void test_freed_at_once(void **state)
{
	(void)state;
	open_case("server { sleep 1000 }\n" TWO);
}

/* ---- The set-up fails -------------------------------------------------- */

static void test_before_fails(void **state)
{
	(void)state;
	refused("before { sleep 1000 & echo no way >&2; exit 3 }\n" TWO,
		SQLOOM_SPEC, "status 3, and says: no way");
}

static void test_server_fails(void **state)
{
	(void)state;
	refused("server { sleep 1000 }\n"
		"server { sleep 1000 & echo bad port >&2; exit 1 } "
		"ready \"127.0.0.1:1\"\n" TWO,
		SQLOOM_DATABASE, "bad port");
}

static void test_bad_requests(void **state)
{
	(void)state;
	refused("server { sleep 1000 } ready \"nonsense\"\n" TWO, SQLOOM_SPEC,
		"nonsense");
	finish();
	refused("call \"a\" { http nonsense }\n", SQLOOM_SPEC, "nonsense");
}

static int taken_port(int *fd)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);

	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(*fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(*fd, 1), 0);
	assert_int_equal(getsockname(*fd, (struct sockaddr *)&address, &size),
			 0);
	return ntohs(address.sin_port);
}

static void test_port_taken(void **state)
{
	int fd;

	(void)state;
	w.options.proxy_port = taken_port(&fd);
	refused(TWO, SQLOOM_IO, "");
	close(fd);
}

static void test_no_database(void **state)
{
	(void)state;
	w.options.pg.conninfo = "host=/no/such/directory dbname=x_test";
	refused("before { sleep 1000 }\n" TWO, SQLOOM_DATABASE, "");
}

/* ---- A run ends in the middle ------------------------------------------ */

static void test_not_started(void **state)
{
	(void)state;
	open_case(TWO);
	begin_run();
	assert_int_equal(slm_db_run_end(w.db, &w.err), SQLOOM_OK);
}

static void test_held(void **state)
{
	(void)state;
	open_case(TWO);
	begin_run();
	assert_int_equal(arrive(0).kind, SLM_ARRIVAL_STEP);
	assert_int_equal(arrive(1).kind, SLM_ARRIVAL_STEP);
	assert_int_equal(slm_db_run_end(w.db, &w.err), SQLOOM_OK);
	assert_int_equal(number_of("SELECT v FROM t"), 10);
}

/* A statement waits in the server when its call is ended. */
static void test_blocked(void **state)
{
	(void)state;
	open_case(TWO);
	for (int i = 0; i < 3; i++) {
		block();
		assert_int_equal(slm_db_run_end(w.db, &w.err), SQLOOM_OK);
		assert_int_equal(number_of("SELECT v FROM t"), 10);
	}
}

/* The same without the end of the run. */
static void test_blocked_and_freed(void **state)
{
	(void)state;
	open_case(TWO);
	block();
}

/* The server process of the call that holds the lock ends. */
static void test_holder_ended(void **state)
{
	struct slm_db_answer answer = { 0 };
	int call = -1;

	(void)state;
	open_case(TWO);
	block();
	execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
		"query LIKE 'UPDATE%' AND wait_event_type = 'Client'");
	while (call < 0)
		assert_int_equal(slm_db_resume(w.db, &call, &answer, &w.err),
				 SQLOOM_OK);
	assert_int_equal(call, 1);
	assert_int_equal(answer.result->error, SLM_ERROR_NONE);
	assert_int_equal(slm_db_run_end(w.db, &w.err), SQLOOM_OK);
}

/* That of the one that waits. */
static void test_waiter_ended(void **state)
{
	struct slm_db_answer answer = { 0 };
	int call = -1;

	(void)state;
	open_case(TWO);
	block();
	execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
		"wait_event_type = 'Lock'");
	while (call < 0)
		assert_int_equal(slm_db_resume(w.db, &call, &answer, &w.err),
				 SQLOOM_OK);
	assert_int_equal(call, 1);
	assert_int_equal(answer.result->error, SLM_ERROR_OTHER);
	assert_int_equal(slm_db_run_end(w.db, &w.err), SQLOOM_OK);
}

/* The application ends while its calls are in the middle. */
static void test_server_ends(void **state)
{
	char path[] = P_tmpdir "/sqloom-test-XXXXXX", text[1000];
	int fd = mkstemp(path), pid = 0, call = -1;
	struct slm_db_answer answer;
	enum sqloom_status status;
	FILE *file;

	(void)state;
	snprintf(text, sizeof(text),
		 "server { echo $$ >%s; echo it was me >&2; exec sleep 1000 "
		 "}\n" TWO,
		 path);
	open_case(text);
	file = fdopen(fd, "r");
	assert_int_equal(fscanf(file, "%d", &pid), 1);
	fclose(file);
	unlink(path);
	block();
	kill(pid, SIGKILL);
	/* Nothing else could come. */
	status = slm_db_expire(w.db, &call, &answer, &w.err);
	assert_int_equal(status, SQLOOM_DATABASE);
	assert_non_null(strstr(w.err.message, "it was me"));
	slm_db_run_end(w.db, NULL);
}

/* A child of the command has the connection, and its statement knows no end. */
static void test_statement_limit(void **state)
{
	struct slm_db_answer answer;

	(void)state;
	w.options.pg.statement_limit_ms = 200;
	open_case("call \"a\" { exec " PSQL
		  "-c 'SELECT pg_sleep(1000)' & wait }\n"
		  "call \"b\" { exec true }\n");
	begin_run();
	assert_int_equal(arrive(0).kind, SLM_ARRIVAL_STEP);
	assert_int_equal(slm_db_step(w.db, 0, 0, &answer, &w.err),
			 SQLOOM_LIMIT);
	slm_db_run_end(w.db, NULL);
}

/* A request that is never answered. */
static void test_stalled_request(void **state)
{
	char text[400];
	int fd, port = taken_port(&fd);

	(void)state;
	close(fd);
	snprintf(text, sizeof(text),
		 "server { exec python3 -c \"$DEAF\" %d } "
		 "ready \"127.0.0.1:%d\"\n"
		 "call \"a\" { http http://127.0.0.1:%d/ }\n"
		 "call \"b\" { http http://127.0.0.1:%d/ }\n",
		 port, port, port, port);
	open_case(text);
	for (int i = 0; i < 3; i++) {
		begin_run();
		assert_int_equal(arrive(0).kind, SLM_ARRIVAL_STALLED);
		assert_int_equal(arrive(1).kind, SLM_ARRIVAL_STALLED);
		assert_int_equal(slm_db_run_end(w.db, &w.err), SQLOOM_OK);
	}
	begin_run();
	assert_int_equal(arrive(0).kind, SLM_ARRIVAL_STALLED);
}

/* Commands that leave children behind, which know no end. */
static void test_orphans(void **state)
{
	struct slm_db_arrival arrival;

	(void)state;
	open_case("call \"a\" { exec setsid sleep 1000 & }\n"
		  "call \"b\" { exec trap '' TERM; (sleep 1000) & }\n"
		  "check \"c\" exec { setsid sleep 1000 & exit 4 }\n");
	for (int i = 0; i < 2; i++) {
		const struct slm_check_failure *failures;
		uint32_t count = 0;

		begin_run();
		for (unsigned call = 0; call < 2; call++) {
			arrival = arrive(call);
			assert_int_equal(arrival.kind, SLM_ARRIVAL_END);
			assert_false(arrival.failed);
		}
		assert_int_equal(slm_db_run_end(w.db, &w.err), SQLOOM_OK);
		assert_int_equal(slm_db_checks(w.db, &failures, &count, &w.err),
				 SQLOOM_OK);
		assert_int_equal(count, 1);
	}
}

/* ---- Sweeps ------------------------------------------------------------ */

#define CASE                                                \
	"before { " PSQL "-c 'UPDATE t SET v = 10' }\n" TWO \
	"check \"c\" exec { sleep 0.01 }\n"                 \
	"check \"d\" { SELECT 1 WHERE false }\n"

/* Somebody presses Ctrl-C, at every question whether to go on. */
static void test_stopped_anywhere(void **state)
{
	int complete = 0, stopped = 0;

	(void)state;
	for (int at = 1; !complete; at += at < 20 ? 1 : 7) {
		enum sqloom_status status;

		w.asked = 0;
		w.stop_at = at;
		status = whole(at < 40 ? "server { sleep 1000 }\n" CASE : CASE);
		complete = w.asked < at;
		stopped += status == SQLOOM_LIMIT;
		if (complete && status)
			fail_msg("%s", w.err.message);
		finish();
		assert_same(&w.before);
	}
	assert_true(stopped > 20);
}

/* Memory is out, from some allocation on. */
static void test_memory_anywhere(void **state)
{
	uint64_t total;

	(void)state;
	slm_alloc_fail_from(0);
	assert_int_equal(whole(CASE), SQLOOM_OK);
	total = w.allocations;
	assert_true(total > 100);
	for (uint64_t n = 1; n < total; n += 1 + n / 12) {
		enum sqloom_status status;

		slm_alloc_fail_from(n);
		status = whole(CASE);
		slm_alloc_fail_from(0);
		if (status != SQLOOM_NOMEM && status != SQLOOM_OK &&
		    status != SQLOOM_SPEC && status != SQLOOM_DATABASE)
			fail_msg("%d: %s", (int)n, w.err.message);
		finish();
		assert_same(&w.before);
	}
}

/* ---- The server -------------------------------------------------------- */

/* libuv, libpq and libcurl keep what they open first. */
static int start_all(void **state)
{
	struct sqloom_error err;

	(void)state;
	if (slm_pg_server_start(NULL, &server, &err)) {
		print_error("%s\n", err.message);
		return -1;
	}
	conn = PQconnectdb(slm_pg_server_conninfo(server));
	if (PQstatus(conn) != CONNECTION_OK) {
		print_error("%s\n", PQerrorMessage(conn));
		return -1;
	}
	begin(NULL);
	if (whole(TWO) != SQLOOM_OK) {
		print_error("%s\n", w.err.message);
		return -1;
	}
	return 0;
}

static int stop_all(void **state)
{
	(void)state;
	PQfinish(conn);
	slm_pg_server_stop(server);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(whole),
		TEST(freed_at_once),
		TEST(before_fails),
		TEST(server_fails),
		TEST(bad_requests),
		TEST(port_taken),
		TEST(no_database),
		TEST(not_started),
		TEST(held),
		TEST(blocked),
		TEST(blocked_and_freed),
		TEST(holder_ended),
		TEST(waiter_ended),
		TEST(server_ends),
		TEST(statement_limit),
		TEST(stalled_request),
		TEST(orphans),
		TEST(stopped_anywhere),
		TEST(memory_anywhere),
	};

	return cmocka_run_group_tests(tests, start_all, stop_all);
}
