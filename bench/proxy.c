/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy beside a direct connection and beside pgbouncer (session mode):
 * pgbench -S, prepared and simple, one client and eight. All on one CPU and by
 * Unix sockets, in turns. Latencies are those that pgbench logs, in
 * microseconds; a quantile lies within its microsecond where its rank lies
 * among those of the same one.
 */
#include "postgres.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PLACE "/tmp/sqloom-bench-XXXXXX"
#define SECONDS "1" /* of a side in a round */
#define SCALE "5"
#define MICROSECONDS_MAX 1000000
#define PEER_PORT "6432"
#define WAIT_US 10000
#define WAITS_MAX 1000

enum side { DIRECT, OURS, PEER, SIDES };

static const char *const side_names[SIDES] = { "direct", "sqloom",
					       "pgbouncer" };

struct place {
	char directory[sizeof(PLACE)];
	char host[SIDES][200], port[SIDES][16]; /* of the Unix sockets */
	char user[100], database[100], pgbench[300], pgbouncer[300];
	pid_t ours, peer;
};

struct load {
	const char *name, *mode, *clients;
	double p50_target, tps_target;
};

static const struct load loads[] = {
	{ "pgbench -S, prepared, 1 client", "prepared", "1", 1, 0 },
	{ "pgbench -S, simple, 1 client", "simple", "1", 1, 0 },
	{ "pgbench -S, prepared, 8 clients", "prepared", "8", 0, 1 },
	{ "pgbench -S, simple, 8 clients", "simple", "8", 0, 1 },
};

struct figures {
	double p50[SIDES][BENCH_ROUNDS_MAX], p99[SIDES][BENCH_ROUNDS_MAX];
	double tps[SIDES][BENCH_ROUNDS_MAX];
};

/* ---- Programs ------------------------------------------------------------ */

static bool find_program(const char *name, char *path, size_t size)
{
	static const char *const places[] = { "/usr/lib/postgresql/15/bin",
					      "/usr/lib/postgresql/16/bin",
					      "/usr/lib/postgresql/17/bin",
					      "/usr/sbin", "/usr/bin" };

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		snprintf(path, size, "%s/%s", places[i], name);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

/* Runs to its end in the directory, silently. */
static void run(const struct place *place, char *const *argv)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (chdir(place->directory) || !freopen("out", "w", stdout) ||
		    !freopen("err", "w", stderr))
			_exit(127);
		execv(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		bench_die("%s fails; what it says is in %s/err", argv[0],
			  place->directory);
}

static void end(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
}

static void wait_for(const char *path)
{
	for (unsigned i = 0; access(path, F_OK) != 0; i++) {
		if (i == WAITS_MAX)
			bench_die("%s does not come to be", path);
		usleep(WAIT_US);
	}
}

/* ---- Ours ----------------------------------------------------------------- */

static volatile sig_atomic_t ended;

static void on_end(int number)
{
	(void)number;
	ended = 1;
}

static bool goes_on(void *userdata)
{
	(void)userdata;
	return !ended;
}

static void tell_port(const struct sqloom_proxy_place *place, void *userdata)
{
	FILE *file = fopen("port.new", "w");

	(void)userdata;
	if (!file || fprintf(file, "%d", place->port) < 0 || fclose(file) ||
	    rename("port.new", "port"))
		_exit(3);
}

static pid_t start_ours(struct place *place, const char *conninfo)
{
	struct sqloom_proxy_options options;
	struct sqloom_error err;
	char path[300];
	FILE *file;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		signal(SIGTERM, on_end);
		sqloom_proxy_options_init(&options);
		options.database = conninfo;
		options.port = 0;
		options.socket_dir = place->directory;
		options.started = tell_port;
		options.goes_on = goes_on;
		if (chdir(place->directory) ||
		    sqloom_proxy_run(&options, NULL, &err))
			_exit(3);
		_exit(0);
	}
	snprintf(path, sizeof(path), "%s/port", place->directory);
	wait_for(path);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%15s", place->port[OURS]) != 1)
		bench_die("the proxy does not start");
	fclose(file);
	snprintf(place->host[OURS], sizeof(place->host[OURS]), "%s",
		 place->directory);
	return pid;
}

/* ---- pgbouncer ------------------------------------------------------------- */

static void write_configuration(const struct place *place, const char *path)
{
	FILE *file = fopen(path, "w");

	if (!file ||
	    fprintf(file,
		    "[databases]\n%s = host=%s port=%s user=%s dbname=%s\n"
		    "[pgbouncer]\nlisten_addr =\nlisten_port = " PEER_PORT "\n"
		    "unix_socket_dir = %s\nauth_type = any\n"
		    "pool_mode = session\nlogfile = %s/pgbouncer.log\n"
		    "default_pool_size = 50\n"
		    "pidfile = %s/pgbouncer.pid\n%s%s\n",
		    place->database, place->host[DIRECT], place->port[DIRECT],
		    place->user, place->database, place->directory,
		    place->directory, place->directory,
		    geteuid() == 0 ? "user = " : "",
		    geteuid() == 0 ? "postgres" : "") < 0 ||
	    fclose(file) != 0)
		bench_die("cannot write %s", path);
}

static pid_t start_peer(struct place *place)
{
	char path[300];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/pgbouncer.ini", place->directory);
	write_configuration(place, path);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGINT);
		execl(place->pgbouncer, "pgbouncer", "-q", path, (char *)NULL);
		_exit(127);
	}
	snprintf(place->host[PEER], sizeof(place->host[PEER]), "%s",
		 place->directory);
	strcpy(place->port[PEER], PEER_PORT);
	snprintf(path, sizeof(path), "%s/.s.PGSQL." PEER_PORT,
		 place->directory);
	wait_for(path);
	return pid;
}

/* ---- The place ------------------------------------------------------------- */

static void read_conninfo(struct place *place, const char *conninfo)
{
	static const char *const keywords[] = { "host", "port", "user",
						"dbname" };
	char *const values[] = { place->host[DIRECT], place->port[DIRECT],
				 place->user, place->database };
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

	strcpy(place->port[DIRECT], "5432");
	for (PQconninfoOption *at = options; at && at->keyword; at++)
		for (int i = 0; i < 4; i++)
			if (at->val && strcmp(at->keyword, keywords[i]) == 0)
				sprintf(values[i], "%.*s", i == 1 ? 15 : 99,
					at->val);
	PQconninfoFree(options);
}

static bool make_place(struct place *place)
{
	*place = (struct place){ .directory = PLACE };
	if (!find_program("pgbench", place->pgbench, sizeof(place->pgbench)) ||
	    !find_program("pgbouncer", place->pgbouncer,
			  sizeof(place->pgbouncer))) {
		printf("The proxy is left out: pgbench or pgbouncer is not "
		       "installed (Debian: apt-get install postgresql-15 "
		       "pgbouncer)\n");
		return false;
	}
	/* pgbouncer does not work for root. */
	if (!mkdtemp(place->directory) || chmod(place->directory, 0777) != 0)
		bench_die("cannot make a directory in /tmp");
	return true;
}

static void remove_place(const struct place *place)
{
	DIR *directory = opendir(place->directory);
	struct dirent *entry;

	while (directory && (entry = readdir(directory)))
		unlinkat(dirfd(directory), entry->d_name, 0);
	if (directory)
		closedir(directory);
	rmdir(place->directory);
}

/* ---- pgbench ---------------------------------------------------------------- */

static void fill(const struct place *place)
{
	char *const argv[] = { (char *)place->pgbench,
			       "-iq",
			       "-s",
			       SCALE,
			       "-h",
			       (char *)place->host[DIRECT],
			       "-p",
			       (char *)place->port[DIRECT],
			       "-U",
			       (char *)place->user,
			       (char *)place->database,
			       NULL };

	run(place, argv);
}

/* How many transactions took so many microseconds. */
static unsigned *counts;

static unsigned long count_log(const char *path)
{
	FILE *file = fopen(path, "r");
	unsigned long total = 0;
	unsigned us;

	if (!file)
		bench_die("pgbench has written no %s", path);
	memset(counts, 0, MICROSECONDS_MAX * sizeof(*counts));
	while (fscanf(file, "%*u %*u %u %*u %*u %*u", &us) == 1) {
		counts[us < MICROSECONDS_MAX ? us : MICROSECONDS_MAX - 1]++;
		total++;
	}
	fclose(file);
	return total;
}

static double quantile(unsigned long total, double part)
{
	double rank = part * (double)total, below = 0;

	for (unsigned us = 0; us < MICROSECONDS_MAX; us++) {
		if (counts[us] && below + counts[us] >= rank)
			return us + (rank - below) / counts[us];
		below += counts[us];
	}
	return MICROSECONDS_MAX;
}

/* The log has the number of pgbench's process in its name. */
static void find_log(const struct place *place, char *path, size_t size)
{
	DIR *directory = opendir(place->directory);
	struct dirent *entry;

	path[0] = '\0';
	while (directory && (entry = readdir(directory)))
		if (strncmp(entry->d_name, "log.", 4) == 0)
			snprintf(path, size, "%s/%.100s", place->directory,
				 entry->d_name);
	if (directory)
		closedir(directory);
}

static double read_tps(const struct place *place)
{
	char path[300], line[300];
	double tps = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/out", place->directory);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "tps = %lf", &tps);
	if (file)
		fclose(file);
	return tps;
}

static void measure(const struct place *place, const struct load *load,
		    enum side side, struct figures *figures, unsigned round)
{
	char *const argv[] = { (char *)place->pgbench,
			       "-Sn",
			       "-M",
			       (char *)load->mode,
			       "-c",
			       (char *)load->clients,
			       "-T",
			       SECONDS,
			       "-l",
			       "--log-prefix=log",
			       "-h",
			       (char *)place->host[side],
			       "-p",
			       (char *)place->port[side],
			       "-U",
			       (char *)place->user,
			       (char *)place->database,
			       NULL };
	unsigned long total;
	char path[400];

	run(place, argv);
	find_log(place, path, sizeof(path));
	total = count_log(path);
	unlink(path);
	figures->p50[side][round] = quantile(total, 0.5);
	figures->p99[side][round] = quantile(total, 0.99);
	figures->tps[side][round] = read_tps(place);
}

/* ---- The table ---------------------------------------------------------------- */

/* lower: the lower, the better. */
static void show(const char *what, double figures[SIDES][BENCH_ROUNDS_MAX],
		 enum side peer, unsigned rounds, bool lower, double target)
{
	double ratios[BENCH_ROUNDS_MAX], copy[BENCH_ROUNDS_MAX];
	char left[32], right[32], name[100];

	for (unsigned i = 0; i < rounds; i++)
		ratios[i] = lower ? figures[peer][i] / figures[OURS][i] :
				    figures[OURS][i] / figures[peer][i];
	memcpy(copy, figures[OURS], rounds * sizeof(*copy));
	snprintf(left, sizeof(left), "%.*f", lower, bench_median(copy, rounds));
	memcpy(copy, figures[peer], rounds * sizeof(*copy));
	snprintf(right, sizeof(right), "%.*f", lower,
		 bench_median(copy, rounds));
	snprintf(name, sizeof(name), "%s : %s", what, side_names[peer]);
	bench_row(name, left, right, bench_median(ratios, rounds), target);
}

static void measure_load(const struct place *place, const struct load *load,
			 unsigned rounds)
{
	static struct figures figures;

	for (unsigned round = 0; round < rounds + 1; round++)
		for (unsigned i = 0; i < SIDES; i++)
			/* Round 0 warms up; nobody is always first. */
			measure(place, load, (i + round) % SIDES, &figures,
				round ? round - 1 : 0);
	printf("%-48s %8s %8s %7s\n", load->name, "sqloom", "peer", "ratio");
	for (int peer = DIRECT; peer < SIDES; peer += PEER) {
		bool counts_now = peer == PEER;

		show("p50 in us", figures.p50, peer, rounds, true,
		     counts_now ? load->p50_target : 0);
		show("p99 in us", figures.p99, peer, rounds, true,
		     counts_now ? load->p50_target : 0);
		show("transactions/s", figures.tps, peer, rounds, false,
		     counts_now ? load->tps_target : 0);
	}
	printf("\n");
}

void bench_proxy(unsigned rounds)
{
	struct slm_pg_server *server;
	struct place place;
	const char *conninfo;
	cpu_set_t all;

	if (!make_place(&place))
		return;
	bench_pin(&all, "pgbench, proxies, all processes of the server");
	server = bench_server_start(false);
	if (server) {
		conninfo = bench_server_database(server, "relay_test");
		read_conninfo(&place, conninfo);
		counts = calloc(MICROSECONDS_MAX, sizeof(*counts));
		if (!counts)
			bench_die("out of memory");
		fill(&place);
		place.ours = start_ours(&place, conninfo);
		place.peer = start_peer(&place);
		for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++)
			measure_load(&place, &loads[i], rounds);
		end(place.ours);
		end(place.peer);
		free(counts);
		slm_pg_server_stop(server);
	}
	remove_place(&place);
	bench_unpin(&all);
}
