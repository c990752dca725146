/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's process, from fork() to its end. Everything here is
 * async-signal-safe: system calls, and arithmetic on the stack. No heap, no
 * stdio, no assert.
 *
 * Once the user is changed, nothing here has rights of root: a directory that
 * turns out to be somebody else's cannot be harmed.
 */
#include "pg/server_keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/tree.h"

#define STOP_MS 10000	/* then a stopping postgres is killed */
#define KILLS 200	/* rounds of that, as long together */
#define PAUSE_MS 5	/* between looks at what we cannot wait for */
#define NEVER_USED_S 60 /* an empty directory that was never marked */
#define PID_FILE SLM_PG_SERVER_DATA "/postmaster.pid"

/* Descriptors 0 to 2 are /dev/null; the rest is closed. */
enum { LIFE = 3, REPORT, LOCK, OUTPUT, FIRST_CLOSED };

/* ---- Setting up -------------------------------------------------------- */

static void say(enum slm_pg_keeper_stage stage, int value)
{
	struct slm_pg_keeper_report report = { .stage = stage, .value = value };
	ssize_t ignored = write(REPORT, &report, sizeof(report));

	(void)ignored; /* nobody listens any more; the pipe will tell */
}

/* Nothing of the parent may stay open: not its pipes, whose readers would
 * wait for us, and not the pipes of other servers, which would then live as
 * long as this one. */
static void keep_descriptors(const struct slm_pg_keeper *plan)
{
	const int wanted[] = { plan->life, plan->report, plan->lock,
			       plan->output };
	int moved[FIRST_CLOSED - LIFE];
	int null;

	for (int i = 0; i < FIRST_CLOSED - LIFE; i++)
		moved[i] = fcntl(wanted[i], F_DUPFD, FIRST_CLOSED);
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < LIFE; fd++)
		dup2(null, fd);
	for (int i = 0; i < FIRST_CLOSED - LIFE; i++)
		dup3(moved[i], LIFE + i, O_CLOEXEC);
	if (close_range(FIRST_CLOSED, ~0U, 0) != 0)
		for (int fd = FIRST_CLOSED; fd < 65536; fd++)
			close(fd);
}

static void child_seen(int number)
{
	(void)number; /* only there so that ppoll() returns */
}

static void default_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	for (int number = 1; number < NSIG; number++)
		sigaction(number, &action, NULL);
}

/* The keeper ends when sqloom has ended, and not before: a shutdown of the
 * machine that asks all processes to end gets its answer through sqloom. */
static void keep_signals(void)
{
	static const int ignored[] = { SIGHUP,	SIGINT,	 SIGQUIT, SIGTERM,
				       SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM };
	struct sigaction action = { .sa_handler = SIG_IGN };
	sigset_t child;

	default_signals();
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		sigaction(ignored[i], &action, NULL);
	action.sa_handler = child_seen;
	sigaction(SIGCHLD, &action, NULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_SETMASK, &child, NULL);
}

/* Becomes the user for good: root must not come back. */
static int drop_root(const struct slm_pg_keeper *plan)
{
	uid_t real, effective, saved;
	gid_t greal, geffective, gsaved;

	if (setgroups(plan->ngroups, plan->groups) != 0 ||
	    setresgid(plan->gid, plan->gid, plan->gid) != 0 ||
	    setresuid(plan->uid, plan->uid, plan->uid) != 0 ||
	    getresuid(&real, &effective, &saved) != 0 ||
	    getresgid(&greal, &geffective, &gsaved) != 0)
		return errno;
	if (real != plan->uid || effective != plan->uid || saved != plan->uid ||
	    greal != plan->gid || geffective != plan->gid ||
	    gsaved != plan->gid || setuid(0) == 0)
		return EPERM;
	return 0;
}

/* ---- Children ---------------------------------------------------------- */

/* Executes a program, its output into fd. -1 with errno: no process. */
static pid_t spawn(char *const *argv, char *const *environment, int fd,
		   int death_signal)
{
	pid_t keeper = getpid();
	pid_t pid = fork();
	sigset_t none;

	if (pid != 0)
		return pid;
	default_signals();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	prctl(PR_SET_PDEATHSIG, death_signal);
	if (getppid() == keeper) /* else it is too late for that signal */
		execve(argv[0], argv, environment);
	_exit(SLM_PG_KEEPER_NO_EXEC);
}

/* Waits for a signal of a child, or end of file on the pipe, or ms (-1: no
 * limit). SIGCHLD is let in only here, so none is missed. True: sqloom is
 * gone. */
static bool wait_for_events(bool watch, int ms)
{
	struct pollfd life = { .fd = LIFE, .events = POLLIN };
	struct timespec limit = { .tv_sec = ms / 1000,
				  .tv_nsec = ms % 1000 * 1000000L };
	sigset_t none;

	sigemptyset(&none);
	return ppoll(&life, watch ? 1 : 0, ms < 0 ? NULL : &limit, &none) > 0;
}

/* Waits until pid has ended (true, with its wait status) or sqloom has. */
static bool wait_or_gone(pid_t pid, int *status)
{
	for (;;) {
		pid_t ended = waitpid(-1, status, WNOHANG);

		if (ended == pid)
			return true;
		if (ended <= 0 && wait_for_events(true, -1))
			return false;
	}
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

/* Waits until pid has ended (0: all children have), at most ms. True: so. */
static bool wait_for_end(pid_t pid, int ms)
{
	long end = now_ms() + ms;

	for (;;) {
		pid_t ended = waitpid(-1, NULL, WNOHANG);

		if (ended < 0 || (ended > 0 && ended == pid))
			return true;
		if (ended > 0)
			continue;
		if (now_ms() >= end)
			return false;
		wait_for_events(false, PAUSE_MS);
	}
}

/* Kills all children that there are now. Without /proc: none. */
static void kill_children(void)
{
	char list[4096];
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? 0 : read(fd, list, sizeof(list));
	pid_t pid = 0;

	for (ssize_t i = 0; i < size; i++) {
		if (list[i] >= '0' && list[i] <= '9') {
			pid = pid * 10 + (list[i] - '0');
			continue;
		}
		if (pid > 0)
			kill(pid, SIGKILL);
		pid = 0;
	}
	if (fd >= 0)
		close(fd);
}

/*
 * Ends all that was started. SIGQUIT is PostgreSQL's immediate shutdown: it
 * waits for nobody, and kills its own after 5 s. What a killed postmaster or
 * initdb leaves becomes our child, but only once its parent is gone.
 */
static void end_children(pid_t postgres)
{
	if (postgres > 0) {
		kill(postgres, SIGQUIT);
		wait_for_end(postgres, STOP_MS);
	}
	for (int tries = 0; tries < KILLS; tries++) {
		kill_children();
		if (wait_for_end(0, STOP_MS / KILLS))
			return;
	}
}

/* ---- What postmaster.pid says ------------------------------------------ */

struct pid_file {
	int pid; /* line 1 */
	int shm; /* line 7: "key id" of the System V segment; -1 */
};

/* The number at the start of a line, or the second one. */
static int number_in(const char *text, const char *end, bool second)
{
	int number = 0;

	if (second) {
		while (text < end && *text == ' ')
			text++;
		while (text < end && *text != ' ' && *text != '\n')
			text++;
		while (text < end && *text == ' ')
			text++;
	}
	if (text == end || *text < '0' || *text > '9')
		return -1;
	while (text < end && *text >= '0' && *text <= '9' && number < 100000000)
		number = number * 10 + (*text++ - '0');
	return number;
}

static bool read_pid_file(int dir, struct pid_file *out)
{
	char text[2048];
	int fd = openat(dir, PID_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text));
	const char *end = text + size, *line = text;

	if (fd >= 0)
		close(fd);
	if (size <= 0)
		return false;
	*out = (struct pid_file){ .pid = number_in(text, end, false),
				  .shm = -1 };
	for (int number = 1; line < end; number++) {
		if (number == 7)
			out->shm = number_in(line, end, true);
		while (line < end && *line != '\n')
			line++;
		line++;
	}
	return true;
}

/* A postmaster that was killed leaves a small System V segment, which no
 * removal of files would free. */
static void remove_segment(const struct pid_file *file)
{
	struct shmid_ds info;

	if (file->shm >= 0 && shmctl(file->shm, IPC_STAT, &info) == 0 &&
	    info.shm_cpid == file->pid && info.shm_nattch == 0)
		shmctl(file->shm, IPC_RMID, NULL);
}

static bool remove_directory(int at, const char *name, int dir)
{
	struct pid_file file;

	if (read_pid_file(dir, &file))
		remove_segment(&file);
	return slm_tree_remove(at, name);
}

/* ---- What others left -------------------------------------------------- */

/* Does this process work in this directory of data? Numbers come again. */
static bool works_in(int pid, int dir)
{
	char path[32], *at = path + sizeof(path);
	struct stat data, work;

	/* "/proc/PID/cwd", built from its end */
	at -= sizeof("/cwd");
	memcpy(at, "/cwd", sizeof("/cwd"));
	for (int rest = pid; rest > 0; rest /= 10)
		*--at = (char)('0' + rest % 10);
	at -= strlen("/proc/");
	memcpy(at, "/proc/", strlen("/proc/"));
	return pid > 0 && stat(at, &work) == 0 &&
	       fstatat(dir, SLM_PG_SERVER_DATA, &data, AT_SYMLINK_NOFOLLOW) ==
		       0 &&
	       work.st_dev == data.st_dev && work.st_ino == data.st_ino;
}

/* Stops a server whose keeper was killed, too. It is not our child. */
static void stop_left(int dir)
{
	long end = now_ms() + STOP_MS;
	struct pid_file file;

	if (!read_pid_file(dir, &file) || !works_in(file.pid, dir))
		return;
	kill(file.pid, SIGQUIT);
	while (works_in(file.pid, dir) && now_ms() < end)
		wait_for_events(false, PAUSE_MS);
	if (works_in(file.pid, dir))
		kill(file.pid, SIGKILL);
}

/* A directory of ours whose keeper is dead is locked by nobody. It is locked
 * before it is marked, so one that is just being made is left alone. */
static void sweep_one(int at, const char *name)
{
	int dir = openat(at, name,
			 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat info, mark;

	if (dir < 0)
		return;
	if (fstat(dir, &info) != 0 || info.st_uid != geteuid())
		goto out;
	if (fstatat(dir, SLM_PG_SERVER_MARK, &mark, AT_SYMLINK_NOFOLLOW) != 0) {
		/* Its maker died before it was marked; only if empty. */
		if (info.st_mtime + NEVER_USED_S < time(NULL))
			unlinkat(at, name, AT_REMOVEDIR);
		goto out;
	}
	if (flock(dir, LOCK_EX | LOCK_NB) != 0)
		goto out;
	stop_left(dir);
	remove_directory(at, name, dir);
out:
	close(dir);
}

static void sweep(const char *place)
{
	_Alignas(struct dirent64) char entries[4096];
	int fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const size_t prefix = strlen(SLM_PG_SERVER_PREFIX);
	ssize_t size;

	if (fd < 0)
		return;
	while ((size = getdents64(fd, entries, sizeof(entries))) > 0) {
		for (ssize_t at = 0; at < size;) {
			struct dirent64 *entry = (void *)(entries + at);

			if (strncmp(entry->d_name, SLM_PG_SERVER_PREFIX,
				    prefix) == 0)
				sweep_one(fd, entry->d_name);
			at += entry->d_reclen;
		}
	}
	close(fd);
}

/* ---- The life of a server ---------------------------------------------- */

/* True: initdb did its work, and sqloom is there. */
static bool initialise(const struct slm_pg_keeper *plan)
{
	pid_t pid = spawn(plan->initdb, plan->environment, OUTPUT, SIGKILL);
	int status;

	if (pid < 0) {
		say(SLM_PG_KEEPER_FORK, errno);
		return false;
	}
	if (!wait_or_gone(pid, &status)) {
		kill(pid, SIGKILL);
		return false;
	}
	if (status != 0) {
		say(SLM_PG_KEEPER_INITDB, status);
		return false;
	}
	return true;
}

/* The process of postgres; 0: there is none. */
static pid_t start_postgres(const struct slm_pg_keeper *plan)
{
	int log = openat(LOCK, SLM_PG_SERVER_LOG,
			 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	pid_t pid;

	if (log < 0) {
		say(SLM_PG_KEEPER_DIRECTORY, errno);
		return 0;
	}
	pid = spawn(plan->postgres, plan->environment, log, SIGQUIT);
	if (pid < 0)
		say(SLM_PG_KEEPER_FORK, errno);
	else
		say(SLM_PG_KEEPER_STARTED, pid);
	close(log);
	return pid < 0 ? 0 : pid;
}

/* Until sqloom is gone. */
static void serve(const struct slm_pg_keeper *plan)
{
	pid_t pid = 0;
	int status;

	if (initialise(plan))
		pid = start_postgres(plan);
	if (pid > 0 && wait_or_gone(pid, &status)) {
		say(SLM_PG_KEEPER_ENDED, status);
		pid = 0;
	}
	/* Whatever went wrong, sqloom wants to read the log first. */
	while (!wait_for_events(true, -1))
		;
	end_children(pid);
}

_Noreturn void slm_pg_keep(const struct slm_pg_keeper *plan)
{
	int place, failure = 0;

	keep_signals();
	setsid(); /* Ctrl-C at the terminal is not for us */
	keep_descriptors(plan);
	prctl(PR_SET_NAME, "sqloom-pg");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	umask(077);
	if (plan->drop && (failure = drop_root(plan)) != 0)
		say(SLM_PG_KEEPER_USER, failure);
	place = open(plan->place, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* To remove our directory, it must be able to write in the place. */
	if (!failure &&
	    (place < 0 || access(plan->place, W_OK | X_OK) != 0 ||
	     access(plan->dir, W_OK | X_OK) != 0 || chdir("/") != 0)) {
		failure = errno;
		say(SLM_PG_KEEPER_DIRECTORY, failure);
	}
	if (!failure) {
		sweep(plan->place);
		serve(plan);
	}
	while (!wait_for_events(true, -1))
		;
	_exit(remove_directory(place, plan->name, LOCK) ? 0 : 1);
}
