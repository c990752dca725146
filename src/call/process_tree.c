/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process trees by /proc. A process's children hang on the threads that forked
 * them: /proc/PID/task/TID/children. Numbers of processes come again, but not
 * before all others were given out, so what was just read is not another's.
 */
#include "call/process_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"

#define PATH_SIZE 64
#define FILE_SIZE 4096
#define PAUSE_NS 5000000

/* The processes found so far, and the threads of those that were walked. */
struct tree {
	pid_t *pids;
	unsigned count, capacity;
	bool failed;  /* incomplete: memory is out, or over the limit */
	bool awake;   /* a thread runs, or waits for the disk */
	uint64_t ran; /* digest of all threads and how often each ran */
};

static void add(struct tree *tree, pid_t pid)
{
	unsigned capacity = tree->capacity ? tree->capacity * 2 : 16;
	pid_t *pids;

	if (tree->count == tree->capacity) {
		pids = tree->count < SLM_TREE_MAX ?
			       slm_reallocarray(tree->pids, capacity,
						sizeof(*pids)) :
			       NULL;
		if (!pids) {
			tree->failed = true;
			return;
		}
		tree->pids = pids;
		tree->capacity = capacity;
	}
	tree->pids[tree->count++] = pid;
}

/* The numbers in the file "children". */
static void add_children(struct tree *tree, const char *path)
{
	char text[FILE_SIZE];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size;
	pid_t pid = 0;

	if (fd < 0) {
		/* Of the root there is one if the kernel knows children. */
		tree->failed = tree->failed || tree->count == 1;
		return; /* it has just ended */
	}
	while ((size = read(fd, text, sizeof(text))) > 0) {
		for (ssize_t i = 0; i < size; i++) {
			if (text[i] >= '0' && text[i] <= '9') {
				pid = pid * 10 + (text[i] - '0');
				continue;
			}
			if (pid > 0)
				add(tree, pid);
			pid = 0;
		}
	}
	close(fd);
}

/* The first word behind a name at the start of a line. */
static const char *field(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? at + strlen(name) + strspn(at + strlen(name), " \t") : "";
}

/* Looks whether a thread sleeps, from its file "status". */
static void look_at(struct tree *tree, long tid, const char *path)
{
	char text[FILE_SIZE];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *state;

	if (fd >= 0)
		close(fd);
	if (size <= 0)
		return; /* it has just ended */
	text[size] = '\0';
	state = field(text, "\nState:");
	if (!*state || strchr("RDPW", *state))
		tree->awake = true;
	tree->ran = slm_hash_mix(tree->ran, (uint64_t)tid);
	tree->ran = slm_hash_mix(
		tree->ran,
		strtoull(field(text, "\nvoluntary_ctxt_switches:"), NULL, 10));
	tree->ran = slm_hash_mix(
		tree->ran,
		strtoull(field(text, "\nnonvoluntary_ctxt_switches:"), NULL,
			 10));
}

static void walk_process(struct tree *tree, pid_t pid, bool look)
{
	char path[PATH_SIZE];
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	if (!tasks) {
		/* ENOENT: it has ended */
		tree->failed = tree->failed || errno != ENOENT;
		return;
	}
	while ((entry = readdir(tasks))) {
		long tid = strtol(entry->d_name, NULL, 10);

		if (tid <= 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%ld/status",
			 (int)pid, tid);
		if (look)
			look_at(tree, tid, path);
		snprintf(path, sizeof(path), "/proc/%d/task/%ld/children",
			 (int)pid, tid);
		add_children(tree, path);
	}
	closedir(tasks);
}

/* The root is the first of pids, which is the caller's to free. */
static void walk(struct tree *tree, pid_t root, bool look)
{
	unsigned at = 0;

	*tree = (struct tree){ 0 };
	add(tree, root);
	while (at < tree->count && !tree->failed) {
		walk_process(tree, tree->pids[at], look && at > 0);
		at++;
	}
}

bool slm_tree_signal(pid_t root, int number)
{
	struct tree tree;

	walk(&tree, root, false);
	for (unsigned i = 1; i < tree.count; i++)
		kill(tree.pids[i], number);
	slm_free(tree.pids);
	return !tree.failed;
}

/*
 * One walk takes a while, in which one thread may wake another that was looked
 * at before, and go to sleep. So there are two walks. If every thread sleeps in
 * both, and none ran from its first look to its second, then all of them slept
 * between the two walks.
 */
bool slm_tree_is_quiet(pid_t root)
{
	struct tree first, second;

	walk(&first, root, true);
	slm_free(first.pids);
	if (first.failed || first.awake)
		return false;
	walk(&second, root, true);
	slm_free(second.pids);
	return !second.failed && !second.awake && first.ran == second.ran;
}

/* ---- Sessions ---------------------------------------------------------- */

/* From /proc/PID/stat: "pid (any text) state ppid pgrp session ...". -1: there
 * is no such process, or it is a zombie. */
static pid_t session_of(const char *pid)
{
	char path[PATH_SIZE], text[FILE_SIZE], state;
	const char *behind;
	ssize_t size;
	int fd, session;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size <= 0)
		return -1;
	text[size] = '\0';
	behind = strrchr(text, ')');
	if (!behind ||
	    sscanf(behind + 1, " %c %*d %*d %d", &state, &session) != 2 ||
	    state == 'Z' || state == 'X')
		return -1;
	return session;
}

/* How many were killed. */
static unsigned kill_round(pid_t session)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	unsigned count = 0;

	while (proc && (entry = readdir(proc))) {
		long pid = strtol(entry->d_name, NULL, 10);

		if (pid > 0 && session_of(entry->d_name) == session) {
			kill((pid_t)pid, SIGKILL);
			count++;
		}
	}
	if (proc)
		closedir(proc);
	return count;
}

void slm_tree_kill_session(pid_t session, int ms)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	uint64_t end = slm_clock_ms() + (uint64_t)ms;

	if (session <= 1)
		return;
	while (kill_round(session) > 0 && slm_clock_ms() < end)
		nanosleep(&pause, NULL);
}

void slm_tree_kill_children(void)
{
	char list[4096];
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? 0 : read(fd, list, sizeof(list));
	pid_t pid = 0;

	for (ssize_t i = 0; i < size; i++) {
		if (list[i] != ' ') {
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
