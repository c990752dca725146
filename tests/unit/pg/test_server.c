/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private server: it is what it promises, it leaves nothing behind however
 * it or its owner ends, and what does not work is said. Every test has a place
 * of its own for the server's directory, which must be empty at its end.
 *
 * Programs that only pretend to be initdb and postgres stand in for what is
 * hard to bring about with the real ones.
 *
 * Needs PostgreSQL's server package, as all C tests do that want a server:
 * they call slm_pg_server_start() in their group's setup. That it works is
 * shown here, with libpq and the kernel as witnesses.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/tree.h"
#include "pg/server.h"
#include "pg/server_keeper.h"

#define PLACE_SIZE 64

/* ---- Helpers ----------------------------------------------------------- */

static void pause_briefly(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

static int make_place(void **state)
{
	char *place = malloc(PLACE_SIZE);

	snprintf(place, PLACE_SIZE, "%s", P_tmpdir "/sqloom-test-XXXXXX");
	if (!mkdtemp(place) || chmod(place, 01777) != 0)
		return -1;
	*state = place;
	return 0;
}

/* Fails if anything was left there. */
static int remove_place(void **state)
{
	char *place = *state;
	int result = rmdir(place);

	if (result != 0)
		slm_tree_remove(AT_FDCWD, place);
	free(place);
	return result;
}

static struct slm_pg_server *start(const char *place)
{
	const struct slm_pg_server_options options = { .place = place };
	struct slm_pg_server *server = NULL;
	struct sqloom_error err;

	if (slm_pg_server_start(&options, &server, &err) != SQLOOM_OK)
		fail_msg("%s", err.message);
	return server;
}

/* The directory, from "host='DIRECTORY' ...". */
static void directory_of(const char *conninfo, char *out, size_t size)
{
	const char *from = strchr(conninfo, '\'') + 1;

	snprintf(out, size, "%.*s", (int)strcspn(from, "'"), from);
}

/* What the server's own file says of it. */
struct facts {
	int pid, shm;
};

static struct facts facts_of(const char *conninfo)
{
	char path[300], line[300];
	struct facts facts = { -1, -1 };
	FILE *file;

	directory_of(conninfo, line, sizeof(line));
	snprintf(path, sizeof(path), "%.200s/data/postmaster.pid", line);
	file = fopen(path, "re");
	assert_non_null(file);
	for (int i = 1; fgets(line, sizeof(line), file); i++) {
		if (i == 1)
			facts.pid = atoi(line);
		if (i == 7)
			sscanf(line, "%*d %d", &facts.shm);
	}
	fclose(file);
	assert_true(facts.pid > 1 && facts.shm >= 0);
	return facts;
}

static void assert_gone(const struct facts *facts)
{
	struct shmid_ds info;

	assert_int_equal(kill(facts->pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(shmctl(facts->shm, IPC_STAT, &info), -1);
}

static void assert_value(PGconn *conn, const char *sql, const char *expected)
{
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s", PQerrorMessage(conn));
	assert_string_equal(PQgetvalue(result, 0, 0), expected);
	PQclear(result);
}

static PGconn *connect_to(const struct slm_pg_server *server)
{
	PGconn *conn = PQconnectdb(slm_pg_server_conninfo(server));

	if (PQstatus(conn) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(conn));
	return conn;
}

/* ---- A process that has started a server ------------------------------- */

struct owner {
	pid_t pid;
	char conninfo[300];
};

/* Starts a server in a child, which then waits to be killed. Orphans of the
 * child become ours, so that their end can be waited for. */
static void start_owner(struct owner *owner, const char *place,
			const char *bindir)
{
	const struct slm_pg_server_options options = { .place = place,
						       .bindir = bindir };
	char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ready[2];
	char byte;

	assert_ptr_not_equal(shared, MAP_FAILED);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	owner->pid = fork();
	assert_true(owner->pid >= 0);
	if (owner->pid == 0) {
		struct slm_pg_server *server;
		ssize_t n;

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* if the test fails */
		if (bindir)			  /* it never ends */
			n = write(ready[1], "x", 1);
		if (slm_pg_server_start(&options, &server, NULL) != SQLOOM_OK)
			_exit(1);
		snprintf(shared, 4096, "%s", slm_pg_server_conninfo(server));
		n = write(ready[1], "x", 1);
		(void)n;
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	snprintf(owner->conninfo, sizeof(owner->conninfo), "%s", shared);
	munmap(shared, 4096);
}

/* Kills it, and waits until it and all that became ours have ended. */
static void kill_owner(const struct owner *owner)
{
	assert_int_equal(kill(owner->pid, SIGKILL), 0);
	while (waitpid(-1, NULL, 0) > 0)
		;
	assert_int_equal(errno, ECHILD);
}

/* ---- It is what it promises -------------------------------------------- */

static void test_starts_and_stops(void **state)
{
	struct slm_pg_server *server;
	struct facts facts;
	char dir[200];
	struct stat info;
	PGconn *conn;

	/* What leads to somebody's own server leads nowhere here. */
	setenv("PGHOSTADDR", "127.0.0.1", 1);
	setenv("PGPORT", "1", 1);
	setenv("PGDATABASE", "precious", 1);
	server = start(*state);
	conn = connect_to(server);
	assert_value(conn, "SELECT current_database()", "sqloom_test");
	assert_value(conn,
		     "SELECT count(*) FROM pg_class"
		     " WHERE relnamespace = 'public'::regnamespace",
		     "0");
	assert_value(conn, "SHOW server_encoding", "UTF8");
	assert_value(conn, "SHOW listen_addresses", "");
	assert_value(conn, "SHOW fsync", "off");
	assert_value(conn, "SHOW max_prepared_transactions", "64");
	assert_value(conn, "SELECT lower('É') || ('a' > 'B')::text", "étrue");
	assert_value(conn, "SHOW is_superuser", "on");
	directory_of(slm_pg_server_conninfo(server), dir, sizeof(dir));
	assert_int_equal(stat(dir, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0700);
	assert_int_not_equal(info.st_uid, 0);
	facts = facts_of(slm_pg_server_conninfo(server));
	/* A Ctrl-C at our terminal must not reach it. */
	assert_int_not_equal(getsid(facts.pid), getsid(0));
	assert_int_not_equal(getpgid(facts.pid), getpgid(0));
	slm_pg_server_stop(server); /* while somebody is connected */
	assert_gone(&facts);
	PQfinish(conn);
	unsetenv("PGHOSTADDR");
	unsetenv("PGPORT");
	unsetenv("PGDATABASE");
}

static void test_stop_of_none_is_fine(void **state)
{
	(void)state;
	slm_pg_server_stop(NULL);
}

/* Each ends when its owner says so, and keeps nothing of its owner's open. */
static void test_two_servers(void **state)
{
	struct slm_pg_server *first, *second;
	struct facts facts;
	struct pollfd end;
	int ours[2];
	PGconn *conn;

	assert_int_equal(pipe(ours), 0); /* on purpose not close-on-exec */
	first = start(*state);
	second = start(*state);
	close(ours[1]);
	end = (struct pollfd){ .fd = ours[0], .events = POLLIN };
	assert_int_equal(poll(&end, 1, 0), 1);
	assert_int_equal(end.revents, POLLHUP);
	close(ours[0]);
	facts = facts_of(slm_pg_server_conninfo(first));
	slm_pg_server_stop(first);
	assert_gone(&facts);
	conn = connect_to(second);
	assert_value(conn, "SELECT 1", "1");
	PQfinish(conn);
	facts = facts_of(slm_pg_server_conninfo(second));
	slm_pg_server_stop(second);
	assert_gone(&facts);
}

/* ---- Ends that nobody planned ------------------------------------------ */

static void test_owner_is_killed(void **state)
{
	struct owner owner;
	struct facts facts;

	start_owner(&owner, *state, NULL);
	facts = facts_of(owner.conninfo);
	kill_owner(&owner);
	assert_gone(&facts);
}

/* A killed postmaster leaves a session that is busy, and a segment. */
static void test_postmaster_is_killed(void **state)
{
	struct slm_pg_server *server = start(*state);
	struct facts facts = facts_of(slm_pg_server_conninfo(server));
	PGconn *conn = connect_to(server);
	int session = PQbackendPID(conn);

	assert_int_equal(PQsendQuery(conn, "SELECT count(*) FROM"
					   " generate_series(1, 1000000) a,"
					   " generate_series(1, 1000000) b"),
			 1);
	assert_int_equal(kill(facts.pid, SIGKILL), 0);
	slm_pg_server_stop(server);
	assert_gone(&facts);
	if (access("/proc/self/stat", F_OK) == 0)
		assert_int_equal(kill(session, 0), -1);
	PQfinish(conn);
}

static pid_t parent_of(pid_t pid)
{
	char path[64];
	int parent = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (file) {
		assert_int_equal(fscanf(file, "%*d %*s %*c %d", &parent), 1);
		fclose(file);
	}
	return parent;
}

/* Owner and keeper: the server ends, and the next start removes the rest. */
static void test_keeper_is_killed(void **state)
{
	struct slm_pg_server *server;
	struct owner owner;
	struct facts facts;
	char dir[200];
	pid_t keeper;

	if (access("/proc/self/stat", F_OK) != 0)
		skip();
	start_owner(&owner, *state, NULL);
	directory_of(owner.conninfo, dir, sizeof(dir));
	facts = facts_of(owner.conninfo);
	keeper = parent_of(facts.pid);
	assert_int_equal(parent_of(keeper), owner.pid);
	assert_int_equal(kill(keeper, SIGKILL), 0);
	kill_owner(&owner);
	assert_int_equal(access(dir, F_OK), 0);
	server = start(*state);
	assert_int_equal(access(dir, F_OK), -1);
	slm_pg_server_stop(server);
	assert_gone(&facts);
}

/* ---- Programs that pretend --------------------------------------------- */

/* A directory with two scripts; the user postgres may enter. */
static void make_programs(char *dir, size_t size, const char *initdb,
			  const char *postgres)
{
	const char *const names[] = { "initdb", "postgres" };
	const char *const texts[] = { initdb, postgres };

	snprintf(dir, size, "%s", P_tmpdir "/sqloom-bin-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	for (int i = 0; i < 2; i++) {
		char path[200];
		int fd;

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
		assert_true(fd >= 0);
		assert_true(write(fd, texts[i], strlen(texts[i])) > 0);
		assert_int_equal(fchmod(fd, 0755), 0);
		close(fd);
	}
}

#define FINE "#!/bin/sh\nexit 0\n"

/* Starting with these programs fails with such a message. */
static void assert_start_fails(const char *place, const char *initdb,
			       const char *postgres,
			       enum sqloom_status expected, const char *wanted)
{
	struct slm_pg_server *server = NULL;
	struct slm_pg_server_options options = { .place = place };
	struct sqloom_error err;
	char dir[64];

	make_programs(dir, sizeof(dir), initdb, postgres);
	options.bindir = dir;
	assert_int_equal(slm_pg_server_start(&options, &server, &err),
			 expected);
	assert_null(server);
	slm_tree_remove(AT_FDCWD, dir);
	if (!strstr(err.message, wanted))
		fail_msg("\"%s\" does not say \"%s\"", err.message, wanted);
}

static void test_initdb_fails(void **state)
{
	assert_start_fails(*state,
			   "#!/bin/sh\necho fixing >&2\n"
			   "echo 'initdb: error: no luck' >&2\nexit 3\n",
			   FINE, SQLOOM_DATABASE,
			   "/initdb ended with code 3: fixing initdb: error: "
			   "no luck");
	assert_start_fails(*state, "#!/bin/sh\nkill -9 $$\n", FINE,
			   SQLOOM_DATABASE,
			   "/initdb was ended by signal 9: it said nothing");
}

static void test_postgres_ends_early(void **state)
{
	assert_start_fails(*state, FINE,
			   "#!/bin/sh\nseq 1000\n"
			   "echo 'FATAL:  no luck'; exit 1\n",
			   SQLOOM_DATABASE, "999 1000 FATAL:  no luck");
	assert_start_fails(*state, FINE, FINE, SQLOOM_DATABASE,
			   "/postgres ended with code 0: it said nothing");
}

static void test_programs_cannot_be_executed(void **state)
{
	assert_start_fails(*state, "no program", FINE, SQLOOM_DATABASE,
			   "cannot execute ");
	assert_start_fails(*state, FINE, "#!/no/such/shell\n", SQLOOM_DATABASE,
			   "/postgres");
}

/* The owner is killed in the middle of initdb, which never ends by itself. */
static void test_owner_is_killed_while_it_starts(void **state)
{
	struct owner owner;
	char dir[64];

	/* It says when it is there: beside the directory of data. */
	make_programs(dir, sizeof(dir),
		      "#!/bin/sh\n: >\"${2%/*/*}/ready\"\nsleep 1000\n", FINE);
	start_owner(&owner, *state, dir);
	snprintf(owner.conninfo, sizeof(owner.conninfo), "%s/ready",
		 (char *)*state);
	while (access(owner.conninfo, F_OK) != 0)
		pause_briefly();
	unlink(owner.conninfo);
	kill_owner(&owner); /* which waits for the sleeper, too */
	slm_tree_remove(AT_FDCWD, dir);
}

/* ---- What crashes left ------------------------------------------------- */

/* Makes PLACE/sqloom-pg-left as a dead keeper would have left it. */
static void leave(const char *place, char *dir, size_t size, bool marked)
{
	struct passwd *user = getpwnam("postgres");
	char path[200];
	int fd;

	snprintf(dir, size, "%s/" SLM_PG_SERVER_PREFIX "left00", place);
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/data", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	if (geteuid() == 0)
		assert_int_equal(chown(path, user->pw_uid, user->pw_gid), 0);
	snprintf(path, sizeof(path), "%s/" SLM_PG_SERVER_MARK, dir);
	if (marked) {
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	if (geteuid() == 0)
		assert_int_equal(chown(dir, user->pw_uid, user->pw_gid), 0);
}

static void sweep(const char *place)
{
	assert_start_fails(place, "#!/bin/sh\nexit 1\n", FINE, SQLOOM_DATABASE,
			   "ended with code 1");
}

/* A server that goes on there is stopped; a process elsewhere that happens to
 * have its number is not. */
static void test_server_that_goes_on(void **state)
{
	for (int there = 0; there < 2; there++) {
		char dir[200], path[300];
		int status, ready[2];
		char byte;
		FILE *file;
		pid_t pid;

		if (access("/proc/self/stat", F_OK) != 0)
			skip();
		leave(*state, dir, sizeof(dir), true);
		snprintf(path, sizeof(path), "%s/data", dir);
		assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			struct passwd *user = getpwnam("postgres");

			if (chdir(there ? path : "/") != 0 ||
			    (geteuid() == 0 && (setgid(user->pw_gid) != 0 ||
						setuid(user->pw_uid) != 0)) ||
			    prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 ||
			    prctl(PR_SET_DUMPABLE, 1) != 0 ||
			    write(ready[1], "x", 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		close(ready[1]);
		assert_int_equal(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		snprintf(path, sizeof(path), "%s/data/postmaster.pid", dir);
		file = fopen(path, "we");
		assert_non_null(file);
		fprintf(file, "%d\n", (int)pid);
		fclose(file);
		if (geteuid() == 0)
			assert_int_equal(chmod(path, 0644), 0);
		signal(SIGCHLD, SIG_IGN); /* its end must show at once */
		sweep(*state);
		signal(SIGCHLD, SIG_DFL);
		assert_int_equal(access(dir, F_OK), -1);
		assert_int_equal(kill(pid, 0), there ? -1 : 0);
		if (!there) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
		}
	}
}

/* In use, or not marked as ours, or somebody else's: left alone. */
static void test_sweep_leaves_alone(void **state)
{
	char dir[200];
	int lock;

	leave(*state, dir, sizeof(dir), true);
	lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(lock >= 0);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	sweep(*state);
	assert_int_equal(access(dir, F_OK), 0);
	close(lock);
	if (geteuid() == 0) {
		assert_int_equal(chown(dir, 0, 0), 0);
		sweep(*state);
		assert_int_equal(access(dir, F_OK), 0);
	}
	assert_true(slm_tree_remove(AT_FDCWD, dir));
	leave(*state, dir, sizeof(dir), false);
	sweep(*state);
	assert_int_equal(access(dir, F_OK), 0);
	assert_true(slm_tree_remove(AT_FDCWD, dir));
}

/* ---- What is missing --------------------------------------------------- */

static void assert_refused(const struct slm_pg_server_options *options,
			   enum sqloom_status expected, const char *wanted)
{
	struct slm_pg_server *server = NULL;
	struct sqloom_error err;

	assert_int_equal(slm_pg_server_start(options, &server, &err), expected);
	assert_null(server);
	if (!strstr(err.message, wanted))
		fail_msg("\"%s\" does not say \"%s\"", err.message, wanted);
}

static void test_no_programs(void **state)
{
	struct slm_pg_server_options options = { .place = *state,
						 .bindir = "/no/such" };

	assert_refused(&options, SQLOOM_DATABASE,
		       "apt-get install postgresql-15");
	options.bindir = "/"; /* there, but empty of them */
	assert_refused(&options, SQLOOM_DATABASE,
		       "no programs initdb and postgres in /");
}

static void test_no_place(void **state)
{
	struct slm_pg_server_options options = { .place = "/no/such" };
	char path[200];

	assert_refused(&options, SQLOOM_IO, "/no/such");
	assert_refused(&options, SQLOOM_IO, "TMPDIR");
	options.place = path;
	snprintf(path, sizeof(path), "%s/%0100d", (char *)*state, 0);
	assert_int_equal(mkdir(path, 0777), 0);
	assert_refused(&options, SQLOOM_IO, "it must be at most 107");
	assert_int_equal(rmdir(path), 0);
	snprintf(path, sizeof(path), "%s/a,b", (char *)*state);
	assert_int_equal(mkdir(path, 0777), 0);
	assert_refused(&options, SQLOOM_IO, "comma");
	assert_int_equal(rmdir(path), 0);
	/* Root may, but the user postgres may not. */
	snprintf(path, sizeof(path), "%s/closed", (char *)*state);
	assert_int_equal(mkdir(path, geteuid() == 0 ? 0700 : 0500), 0);
	assert_refused(&options, SQLOOM_IO, path);
	assert_refused(&options, SQLOOM_IO, "Permission denied");
	assert_int_equal(rmdir(path), 0);
}

/* A name with every character that somebody has to quote. */
static void test_strange_place(void **state)
{
	struct slm_pg_server *server;
	char path[200];
	PGconn *conn;

	snprintf(path, sizeof(path), "%s/a \"b' c\\d", (char *)*state);
	assert_int_equal(mkdir(path, 0777), 0);
	assert_int_equal(chmod(path, 01777), 0);
	server = start(path);
	conn = connect_to(server);
	assert_value(conn, "SELECT 1", "1");
	PQfinish(conn);
	slm_pg_server_stop(server);
	assert_int_equal(rmdir(path), 0);
}

static void test_memory_is_out(void **state)
{
	const struct slm_pg_server_options options = { .place = *state };
	enum sqloom_status status = SQLOOM_NOMEM;
	int64_t live = slm_alloc_live();

	for (uint64_t n = 1; status != SQLOOM_OK; n++) {
		struct slm_pg_server *server = NULL;

		slm_alloc_fail_from(n);
		status = slm_pg_server_start(&options, &server, NULL);
		slm_alloc_fail_from(0);
		if (status != SQLOOM_OK) {
			assert_int_equal(status, SQLOOM_NOMEM);
			assert_null(server);
		}
		slm_pg_server_stop(server);
		assert_int_equal(slm_alloc_live(), live);
	}
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_starts_and_stops),
		TEST(test_stop_of_none_is_fine),
		TEST(test_two_servers),
		TEST(test_owner_is_killed),
		TEST(test_postmaster_is_killed),
		TEST(test_keeper_is_killed),
		TEST(test_initdb_fails),
		TEST(test_postgres_ends_early),
		TEST(test_programs_cannot_be_executed),
		TEST(test_owner_is_killed_while_it_starts),
		TEST(test_server_that_goes_on),
		TEST(test_sweep_leaves_alone),
		TEST(test_no_programs),
		TEST(test_no_place),
		TEST(test_strange_place),
		TEST(test_memory_is_out),
	};

	return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
