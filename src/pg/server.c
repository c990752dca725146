/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sqloom's side of a private server: finds the programs, makes the directory,
 * forks the keeper with all it needs, and waits until the server answers.
 * Everything that allocates happens before the fork.
 *
 * From the fork on the directory is the keeper's: whatever fails here, closing
 * the pipe is all there is to do.
 */
#include "pg/server.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/tree.h"
#include "pg/pg.h"
#include "pg/server_keeper.h"

#define DEBIAN_DIR "/usr/lib/postgresql"
#define MEMORY_DIR "/dev/shm"
#define MEMORY_MIN ((uint64_t)1 << 30) /* bytes free there, else /tmp */
#define FREE_MIN ((uint64_t)64 << 20)  /* initdb takes 39 MB of it */
#define SERVER_USER "postgres"	       /* instead of root */
#define SUPERUSER "postgres"	       /* of the database */
#define DATABASE "sqloom_test"
#define SOCKET ".s.PGSQL.5432"
#define GROUPS_MAX 256
#define USER_SIZE 16384 /* bytes of an entry of passwd */
#define START_LIMIT_MS 60000
#define LOOK_MS 2    /* between looks at a starting server */
#define SAID_MAX 300 /* bytes of a log that a message quotes */
#define ARGUMENTS_MAX 64

struct slm_pg_server {
	pid_t keeper; /* 0: not forked yet */
	int life;     /* write end; closed: the keeper stops all */
	int report;   /* read end */
	int output;   /* what initdb said; a file in memory */
	int lock;     /* the directory, until the keeper has it */
	char bindir[PATH_MAX];
	char place[PATH_MAX];
	char dir[PATH_MAX]; /* place/name; "": not made yet */
	const char *name;   /* in dir */
	char *conninfo;	    /* owned */
};

/* Who the server runs as. */
struct user {
	bool drop; /* we are root */
	uid_t uid;
	gid_t gid;
	gid_t groups[GROUPS_MAX];
	int ngroups;
};

/* What initdb and postgres are started with. */
struct arguments {
	struct slm_buf text; /* of those that are made here */
	const char *initdb[ARGUMENTS_MAX];
	const char *postgres[ARGUMENTS_MAX];
};

/*
 * Sorted by code point, as fast as bytes, but letters are letters. TZ spares
 * initdb a search through the time zones; UTC is what tests want.
 */
static const char *const initdb_options[] = {
	"--no-sync",	      "--no-instructions",   "--auth=trust",
	"--encoding=UTF8",    "--username=postgres", "--locale=C",
	"--lc-ctype=C.UTF-8",
};
static const char *const child_environment[] = {
	"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", NULL
};

static const char *const settings[] = {
	"listen_addresses=",
	"port=5432",
	"unix_socket_permissions=0700",
	/* Nothing has to survive. */
	"fsync=off",
	"synchronous_commit=off",
	"full_page_writes=off",
	"max_wal_size=256MB",
	/* Nothing may happen by itself: runs are compared. */
	"autovacuum=off",
	"jit=off",
	/* Segments are files in the directory, so they go with it. */
	"dynamic_shared_memory_type=mmap",
	"shared_buffers=32MB",
	"max_connections=100",
	"max_prepared_transactions=64",
	/* Only what says why it does not start: an exploration provokes
	 * errors, and a log of them would grow with the runs. */
	"log_min_messages=log",
	"log_checkpoints=off",
	"log_line_prefix=",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- The programs ------------------------------------------------------ */

static bool has_programs(const char *dir)
{
	static const char *const programs[] = { "initdb", "postgres" };

	for (size_t i = 0; i < COUNT(programs); i++) {
		char path[PATH_MAX + 16];
		struct stat info;

		snprintf(path, sizeof(path), "%s/%s", dir, programs[i]);
		if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) ||
		    access(path, X_OK) != 0)
			return false;
	}
	return true;
}

/* Debian keeps every version in a directory of its own; the newest wins. */
static bool find_debian(char *out, size_t size)
{
	DIR *dir = opendir(DEBIAN_DIR);
	struct dirent *entry;
	double newest = 0;

	while (dir && (entry = readdir(dir))) {
		char path[PATH_MAX], *end;
		double version = strtod(entry->d_name, &end);

		snprintf(path, sizeof(path), DEBIAN_DIR "/%s/bin",
			 entry->d_name);
		if (*end || version <= newest || !has_programs(path))
			continue;
		newest = version;
		snprintf(out, size, "%s", path);
	}
	if (dir)
		closedir(dir);
	return newest > 0;
}

static bool find_in_path(const char *path, char *out, size_t size)
{
	while (path && *path) {
		size_t n = strcspn(path, ":");

		/* A relative one would be another after the fork. */
		if (*path == '/' && n < size) {
			memcpy(out, path, n);
			out[n] = '\0';
			if (has_programs(out))
				return true;
		}
		path += n + (path[n] == ':');
	}
	return false;
}

static enum sqloom_status find_programs(
	struct slm_pg_server *server,
	const struct slm_pg_server_options *options, struct sqloom_error *err)
{
	if (options->bindir) {
		if (realpath(options->bindir, server->bindir) &&
		    has_programs(server->bindir))
			return SQLOOM_OK;
		return slm_error_set(err, SQLOOM_DATABASE,
				     "there are no programs initdb and "
				     "postgres in %s; name the directory "
				     "that has them, or install PostgreSQL "
				     "(Debian: apt-get install postgresql-15)",
				     options->bindir);
	}
	if (find_debian(server->bindir, sizeof(server->bindir)) ||
	    find_in_path(options->path, server->bindir, sizeof(server->bindir)))
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_DATABASE,
			     "no PostgreSQL server is installed: initdb and "
			     "postgres are neither in " DEBIAN_DIR
			     "/VERSION/bin nor in PATH; install it (Debian: "
			     "apt-get install postgresql-15)");
}

/* ---- The user and the directory ---------------------------------------- */

static enum sqloom_status find_user(struct user *user, struct sqloom_error *err)
{
	char text[USER_SIZE];
	struct passwd entry, *found = NULL;
	int error;

	*user = (struct user){ .drop = geteuid() == 0,
			       .uid = geteuid(),
			       .gid = getegid() };
	if (!user->drop)
		return SQLOOM_OK;
	error = getpwnam_r(SERVER_USER, &entry, text, sizeof(text), &found);
	if (error)
		return slm_error_errno(err, SQLOOM_DATABASE, error,
				       "cannot look up the user " SERVER_USER);
	if (!found || entry.pw_uid == 0)
		return slm_error_set(err, SQLOOM_DATABASE,
				     "PostgreSQL does not run as root, and "
				     "there is no user " SERVER_USER
				     " to run it as; make one, or start "
				     "sqloom as another user than root");
	user->uid = entry.pw_uid;
	user->gid = entry.pw_gid;
	user->ngroups = GROUPS_MAX;
	if (getgrouplist(SERVER_USER, entry.pw_gid, user->groups,
			 &user->ngroups) < 0)
		user->ngroups = GROUPS_MAX; /* the first ones will do */
	return SQLOOM_OK;
}

static uint64_t bytes_free(const char *dir)
{
	struct statvfs info;

	if (statvfs(dir, &info) != 0)
		return 0;
	return (uint64_t)info.f_bavail * info.f_frsize;
}

/* A file system in memory makes the start, and later the copies of databases,
 * faster and steadier; containers often have only 64 MB there. */
static const char *default_place(void)
{
	struct stat info;

	/* In a bare chroot it may be there, but not for everybody. */
	if (stat(MEMORY_DIR, &info) == 0 && (info.st_mode & S_IWOTH) &&
	    bytes_free(MEMORY_DIR) >= MEMORY_MIN)
		return MEMORY_DIR;
	return P_tmpdir;
}

static enum sqloom_status choose_place(struct slm_pg_server *server,
				       const char *place,
				       struct sqloom_error *err)
{
	const size_t longest = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	const size_t more = strlen("/" SLM_PG_SERVER_PREFIX "XXXXXX/" SOCKET);

	if (!place)
		place = default_place();
	if (!realpath(place, server->place))
		return slm_error_errno(err, SQLOOM_IO, errno,
				       "cannot use %s for the private server; "
				       "choose another place for temporary "
				       "files (TMPDIR)",
				       place);
	if (bytes_free(server->place) < FREE_MIN)
		return slm_error_set(
			err, SQLOOM_IO,
			"only %llu MB are free in %s, and a "
			"private server needs %llu; make room, "
			"or choose another place for temporary "
			"files (TMPDIR)",
			(unsigned long long)(bytes_free(server->place) >> 20),
			server->place, (unsigned long long)(FREE_MIN >> 20));
	if (strchr(server->place, ','))
		return slm_error_set(err, SQLOOM_IO,
				     "the directory %s has a comma in its "
				     "name, which libpq takes for a list; "
				     "choose another place for temporary "
				     "files (TMPDIR)",
				     server->place);
	if (strlen(server->place) + more > longest)
		return slm_error_set(err, SQLOOM_IO,
				     "the name of the directory %s is too "
				     "long: with %zu bytes more it must be at "
				     "most %zu, for a socket is made there; "
				     "choose another place for temporary "
				     "files (TMPDIR)",
				     server->place, more, longest);
	return SQLOOM_OK;
}

/* The mark says whose it is; it comes after the lock (sweep_one()). */
static bool mark(int dir, const struct user *user)
{
	int fd = openat(dir, SLM_PG_SERVER_MARK,
			O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && dprintf(fd, "%d\n", (int)getpid()) > 0;

	if (ok && user->drop)
		ok = fchown(fd, user->uid, user->gid) == 0 &&
		     fchown(dir, user->uid, user->gid) == 0;
	if (fd >= 0) {
		int before = errno;

		close(fd);
		errno = before;
	}
	return ok;
}

static enum sqloom_status make_directory(struct slm_pg_server *server,
					 const struct user *user,
					 struct sqloom_error *err)
{
	char dir[PATH_MAX + 32];

	snprintf(dir, sizeof(dir), "%s/" SLM_PG_SERVER_PREFIX "XXXXXX",
		 strcmp(server->place, "/") == 0 ? "" : server->place);
	if (!mkdtemp(dir))
		goto failed;
	/* Its length has been checked. */
	assert(strlen(dir) < sizeof(server->dir));
	memcpy(server->dir, dir, strlen(dir) + 1);
	server->name = strrchr(server->dir, '/') + 1;
	server->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (server->lock >= 0 && flock(server->lock, LOCK_EX) == 0 &&
	    mark(server->lock, user))
		return SQLOOM_OK;
failed:
	return slm_error_errno(err, SQLOOM_IO, errno,
			       "cannot make a directory for the private "
			       "server in %s; choose another place for "
			       "temporary files (TMPDIR)",
			       server->place);
}

/* ---- The keeper -------------------------------------------------------- */

/* Appends a path as a text of its own, and gives back where it starts. */
static size_t keep_path(struct slm_buf *text, const char *dir, const char *name)
{
	size_t start = text->size;

	slm_buf_printf(text, "%s/%s", dir, name);
	slm_buf_putc(text, '\0');
	return start;
}

/* A path within a value that PostgreSQL takes for a list. */
static size_t keep_socket_directory(struct slm_buf *text, const char *dir)
{
	size_t start = text->size;

	slm_buf_puts(text, "unix_socket_directories=\"");
	for (; *dir; dir++) {
		if (*dir == '"')
			slm_buf_putc(text, '"');
		slm_buf_putc(text, *dir);
	}
	slm_buf_putc(text, '"');
	slm_buf_putc(text, '\0');
	return start;
}

static bool make_arguments(struct arguments *arguments,
			   const struct slm_pg_server *server)
{
	struct slm_buf *text = &arguments->text;
	size_t initdb, postgres, data, socket, n = 0;

	initdb = keep_path(text, server->bindir, "initdb");
	postgres = keep_path(text, server->bindir, "postgres");
	data = keep_path(text, server->dir, SLM_PG_SERVER_DATA);
	socket = keep_socket_directory(text, server->dir);
	if (slm_buf_failed(text))
		return false;
	/* The text stays where it is from now on. */
	arguments->initdb[n++] = text->data + initdb;
	arguments->initdb[n++] = "-D";
	arguments->initdb[n++] = text->data + data;
	for (size_t i = 0; i < COUNT(initdb_options); i++)
		arguments->initdb[n++] = initdb_options[i];
	n = 0;
	arguments->postgres[n++] = text->data + postgres;
	arguments->postgres[n++] = "-D";
	arguments->postgres[n++] = text->data + data;
	arguments->postgres[n++] = "-c";
	arguments->postgres[n++] = text->data + socket;
	for (size_t i = 0; i < COUNT(settings); i++) {
		arguments->postgres[n++] = "-c";
		arguments->postgres[n++] = settings[i];
	}
	assert(n < ARGUMENTS_MAX);
	return true;
}

/* No handler of this process may run in the child. */
static pid_t fork_keeper(const struct slm_pg_keeper *plan)
{
	sigset_t all, before;
	pid_t pid;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	error = errno;
	if (pid == 0)
		slm_pg_keep(plan);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return pid;
}

static enum sqloom_status start_keeper(struct slm_pg_server *server,
				       const struct user *user,
				       const struct arguments *arguments,
				       struct sqloom_error *err)
{
	int life[2] = { -1, -1 }, report[2] = { -1, -1 };
	enum sqloom_status status = SQLOOM_OK;
	struct slm_pg_keeper plan = {
		.place = server->place,
		.name = server->name,
		.dir = server->dir,
		.initdb = (char *const *)arguments->initdb,
		.postgres = (char *const *)arguments->postgres,
		.environment = (char *const *)child_environment,
		.drop = user->drop,
		.uid = user->uid,
		.gid = user->gid,
		.groups = user->groups,
		.ngroups = (size_t)user->ngroups,
		.lock = server->lock,
	};
	pid_t pid = -1;

	/* In memory: when the disk is full, it still says so. */
	server->output = memfd_create("initdb", MFD_CLOEXEC);
	if (server->output >= 0 && pipe2(life, O_CLOEXEC) == 0 &&
	    pipe2(report, O_CLOEXEC | O_NONBLOCK) == 0) {
		plan.life = life[0];
		plan.report = report[1];
		plan.output = server->output;
		pid = fork_keeper(&plan);
	}
	if (pid < 0)
		status = slm_error_errno(err, SQLOOM_IO, errno,
					 "cannot start a process for the "
					 "private server");
	else
		server->keeper = pid;
	server->life = life[1];
	server->report = report[0];
	if (life[0] >= 0)
		close(life[0]);
	if (report[1] >= 0)
		close(report[1]);
	return status;
}

/* ---- What went wrong --------------------------------------------------- */

/* The last lines of a log, on one line; "" if it says nothing. */
static const char *last_said(int fd, char *out, size_t size)
{
	struct stat info;
	off_t from = 0;
	ssize_t n;
	char *text = out;

	if (fd >= 0 && fstat(fd, &info) == 0 && info.st_size >= (off_t)size)
		from = info.st_size - (off_t)size + 1;
	n = fd < 0 ? 0 : pread(fd, out, size - 1, from);
	if (n < 0)
		n = 0;
	while (n > 0 && out[n - 1] == '\n')
		n--;
	out[n] = '\0';
	if (from > 0 && strchr(text, '\n'))
		text = strchr(text, '\n') + 1; /* whole lines only */
	for (char *c = text; *c; c++)
		if (*c == '\n')
			*c = ' ';
	return text;
}

/* The rest of a sentence: what it said, or what may be behind its silence. */
static const char *explain(const struct slm_pg_server *server, bool initdb,
			   char *out, size_t size)
{
	char path[PATH_MAX + 16];
	const char *said;
	int log = -1;

	if (!initdb) {
		snprintf(path, sizeof(path), "%s/" SLM_PG_SERVER_LOG,
			 server->dir);
		log = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	}
	said = last_said(initdb ? server->output : log, out, size);
	if (log >= 0)
		close(log);
	if (*said)
		return said;
	if (bytes_free(server->dir) < 1 << 20)
		return "it said nothing; the disk is full";
	return "it said nothing";
}

static enum sqloom_status ended(const struct slm_pg_server *server, bool initdb,
				int value, struct sqloom_error *err)
{
	const char *program = initdb ? "initdb" : "postgres";
	char how[64], text[SAID_MAX];

	if (WIFSIGNALED(value))
		snprintf(how, sizeof(how), "was ended by signal %d",
			 WTERMSIG(value));
	else
		snprintf(how, sizeof(how), "ended with code %d",
			 WEXITSTATUS(value));
	if (WIFEXITED(value) && WEXITSTATUS(value) == SLM_PG_KEEPER_NO_EXEC)
		return slm_error_set(err, SQLOOM_DATABASE,
				     "cannot execute %s/%s", server->bindir,
				     program);
	return slm_error_set(err, SQLOOM_DATABASE,
			     "the private PostgreSQL server does not start: "
			     "%s/%s %s: %s",
			     server->bindir, program, how,
			     explain(server, initdb, text, sizeof(text)));
}

/* What the keeper reported is the end. */
static enum sqloom_status failed(const struct slm_pg_server *server,
				 const struct slm_pg_keeper_report *report,
				 struct sqloom_error *err)
{
	switch (report->stage) {
	case SLM_PG_KEEPER_USER:
		return slm_error_errno(
			err, SQLOOM_DATABASE, report->value,
			"PostgreSQL does not run as root, and "
			"sqloom cannot become the user " SERVER_USER
			"; start sqloom as another user");
	case SLM_PG_KEEPER_DIRECTORY:
		return slm_error_errno(err, SQLOOM_IO, report->value,
				       "the user that PostgreSQL runs as "
				       "cannot make files in %s; choose "
				       "another place for temporary files "
				       "(TMPDIR)",
				       server->place);
	case SLM_PG_KEEPER_FORK:
		return slm_error_errno(err, SQLOOM_IO, report->value,
				       "cannot start a process for the "
				       "private server");
	case SLM_PG_KEEPER_INITDB:
		return ended(server, true, report->value, err);
	case SLM_PG_KEEPER_ENDED:
		return ended(server, false, report->value, err);
	case SLM_PG_KEEPER_STARTED:
		break;
	}
	return slm_error_set(err, SQLOOM_INTERNAL,
			     "the keeper of the private server says %d",
			     (int)report->stage);
}

/* ---- Waiting until it answers ------------------------------------------ */

/* The eighth line of postmaster.pid says what the server is at. */
static bool is_ready(const struct slm_pg_server *server)
{
	char path[PATH_MAX + 32], text[1024], *line = text;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/" SLM_PG_SERVER_DATA "/postmaster.pid",
		 server->dir);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	for (int i = 1; line && i < 8; i++) {
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return line && strncmp(line, "ready", strlen("ready")) == 0;
}

static enum sqloom_status wait_until_ready(const struct slm_pg_server *server,
					   struct sqloom_error *err)
{
	uint64_t end = slm_clock_ms() + START_LIMIT_MS;
	char text[SAID_MAX];
	bool started = false;

	while (slm_clock_ms() < end) {
		struct pollfd fd = { .fd = server->report, .events = POLLIN };
		struct slm_pg_keeper_report report;
		int n = poll(&fd, 1, started ? LOOK_MS : START_LIMIT_MS);

		if (n > 0 && read(server->report, &report, sizeof(report)) !=
				     (ssize_t)sizeof(report))
			return slm_error_set(err, SQLOOM_DATABASE,
					     "the process that keeps the "
					     "private server was killed");
		if (n > 0 && report.stage != SLM_PG_KEEPER_STARTED)
			return failed(server, &report, err);
		started = started || n > 0;
		if (started && is_ready(server))
			return SQLOOM_OK;
	}
	return slm_error_set(err, SQLOOM_DATABASE,
			     "the private PostgreSQL server does not start "
			     "within %d s: %s",
			     START_LIMIT_MS / 1000,
			     explain(server, !started, text, sizeof(text)));
}

/*
 * Keywords that are not given come from PG* variables, which are about
 * somebody's own server: PGHOSTADDR would win over the host. So those that
 * lead elsewhere are given, even if empty.
 */
static enum sqloom_status make_conninfo(struct slm_pg_server *server,
					struct sqloom_error *err)
{
	struct slm_buf buf;

	slm_buf_init(&buf);
	slm_buf_puts(&buf, "host='");
	for (const char *c = server->dir; *c; c++) {
		if (*c == '\'' || *c == '\\')
			slm_buf_putc(&buf, '\\');
		slm_buf_putc(&buf, *c);
	}
	slm_buf_puts(&buf, "' hostaddr='' port=5432 user=" SUPERUSER
			   " dbname=" DATABASE);
	server->conninfo = slm_buf_take(&buf);
	slm_buf_deinit(&buf);
	return server->conninfo ? SQLOOM_OK : slm_error_nomem(err);
}

static enum sqloom_status make_database(const struct slm_pg_server *server,
					struct sqloom_error *err)
{
	struct slm_pg pg = { 0 };
	enum sqloom_status status = slm_pg_open(
		&pg, server->conninfo, "postgres", "the private server", err);

	if (status == SQLOOM_OK)
		status = slm_pg_exec(&pg,
				     "make a database in the private "
				     "server",
				     "CREATE DATABASE " DATABASE, NULL, err);
	slm_pg_close(&pg);
	return status;
}

/* ---- Start and stop ---------------------------------------------------- */

static enum sqloom_status start(struct slm_pg_server *server,
				const struct slm_pg_server_options *options,
				struct arguments *arguments,
				struct sqloom_error *err)
{
	enum sqloom_status status;
	struct user user;

	status = find_programs(server, options, err);
	if (status == SQLOOM_OK)
		status = find_user(&user, err);
	if (status == SQLOOM_OK)
		status = choose_place(server, options->place, err);
	if (status == SQLOOM_OK)
		status = make_directory(server, &user, err);
	if (status == SQLOOM_OK)
		status = make_conninfo(server, err);
	if (status == SQLOOM_OK && !make_arguments(arguments, server))
		status = slm_error_nomem(err);
	if (status == SQLOOM_OK)
		status = start_keeper(server, &user, arguments, err);
	if (status == SQLOOM_OK)
		status = wait_until_ready(server, err);
	if (status == SQLOOM_OK)
		status = make_database(server, err);
	return status;
}

enum sqloom_status slm_pg_server_start(
	const struct slm_pg_server_options *options, struct slm_pg_server **out,
	struct sqloom_error *err)
{
	static const struct slm_pg_server_options defaults;
	struct slm_pg_server *server = slm_calloc(1, sizeof(*server));
	struct arguments arguments = { 0 };
	enum sqloom_status status;

	if (!server)
		return slm_error_nomem(err);
	server->life = server->report = server->output = server->lock = -1;
	slm_buf_init(&arguments.text);
	status = start(server, options ? options : &defaults, &arguments, err);
	slm_buf_deinit(&arguments.text);
	if (status != SQLOOM_OK) {
		slm_pg_server_stop(server);
		return status;
	}
	/* The keeper holds the lock now; nobody else should. */
	close(server->lock);
	server->lock = -1;
	*out = server;
	return SQLOOM_OK;
}

const char *slm_pg_server_conninfo(const struct slm_pg_server *server)
{
	return server->conninfo;
}

/* True: the directory is gone, too. */
static bool wait_for_keeper(pid_t keeper)
{
	int status = 0;
	pid_t ended;

	do
		ended = waitpid(keeper, &status, 0);
	while (ended < 0 && errno == EINTR);
	/* Somebody else may have waited for it, or nobody may (SIG_IGN). */
	return ended == keeper && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void slm_pg_server_stop(struct slm_pg_server *server)
{
	const int fds[] = { server ? server->report : -1,
			    server ? server->output : -1,
			    server ? server->lock : -1 };

	if (!server)
		return;
	if (server->life >= 0)
		close(server->life);
	if ((server->keeper == 0 || !wait_for_keeper(server->keeper)) &&
	    server->dir[0])
		slm_tree_remove(AT_FDCWD, server->dir);
	for (size_t i = 0; i < COUNT(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	slm_free(server->conninfo);
	slm_free(server);
}
