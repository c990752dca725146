/* SPDX-License-Identifier: Apache-2.0 */
/* What a function that is called can say about its call. */
#include "call/function.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "trace/contents.h"
#include "trace/trace.h"

void slm_function_begin(struct sqloom_call *call)
{
	slm_buf_clear(&call->value);
	call->too_large = false;
	call->has_error = call->refuses = false;
	call->error[0] = '\0';
}

bool slm_function_end(struct sqloom_call *call, int returned)
{
	if (call->too_large) {
		(void)sqloom_call_fail(call,
				       "it wrote more than %zu bytes; write a "
				       "digest of the value instead",
				       SQLOOM_VALUE_MAX);
		return true;
	}
	if (slm_buf_failed(&call->value)) {
		(void)sqloom_call_fail(call, "out of memory for its value");
		return true;
	}
	if (returned == 0)
		call->refuses = false;
	if (returned != 0 && !call->has_error)
		(void)sqloom_call_fail(call, "it returned %d", returned);
	return returned != 0;
}

void slm_function_drop(struct sqloom_call *call)
{
	void (*drop)(void *kept) = call->drop;
	void *kept = call->kept;

	call->drop = NULL;
	call->kept = NULL;
	if (drop && kept)
		drop(kept);
}

void slm_function_deinit(struct sqloom_call *call)
{
	slm_buf_deinit(&call->value);
}

/* ---- For the function --------------------------------------------------- */

static bool fits(struct sqloom_call *call, size_t size)
{
	if (call->too_large || size > SQLOOM_VALUE_MAX - call->value.size) {
		call->too_large = true;
		return false;
	}
	return true;
}

bool sqloom_call_write(struct sqloom_call *call, const void *bytes, size_t size)
{
	assert(call && (bytes || !size));
	if (!fits(call, size))
		return false;
	slm_buf_append(&call->value, bytes, size);
	return !slm_buf_failed(&call->value);
}

bool sqloom_call_printf(struct sqloom_call *call, const char *fmt, ...)
{
	va_list arguments;
	char *text = NULL;
	bool written;
	int size;

	assert(call && fmt);
	va_start(arguments, fmt);
	size = vasprintf(&text, fmt, arguments);
	va_end(arguments);
	if (size < 0)
		return false;
	written = sqloom_call_write(call, text, (size_t)size);
	free(text);
	return written;
}

static int give_up(struct sqloom_call *call, bool refuses, const char *fmt,
		   va_list arguments)
{
	vsnprintf(call->error, sizeof(call->error), fmt, arguments);
	for (char *c = call->error; *c; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	call->has_error = true;
	call->refuses = refuses;
	return -1;
}

int sqloom_call_fail(struct sqloom_call *call, const char *fmt, ...)
{
	va_list arguments;

	if (!call)
		return -1;
	va_start(arguments, fmt);
	(void)give_up(call, false, fmt ? fmt : "it failed", arguments);
	va_end(arguments);
	return -1;
}

int sqloom_call_refuse(struct sqloom_call *call, const char *fmt, ...)
{
	va_list arguments;

	if (!call)
		return -1;
	va_start(arguments, fmt);
	(void)give_up(call, true, fmt ? fmt : "it refused", arguments);
	va_end(arguments);
	return -1;
}

size_t sqloom_call_number(const struct sqloom_call *call)
{
	return call->number;
}

const char *sqloom_call_name(const struct sqloom_call *call)
{
	return call->name;
}

const char *sqloom_call_database(const struct sqloom_call *call)
{
	return call->database;
}

void **sqloom_call_keep(struct sqloom_call *call, void (*drop)(void *kept))
{
	call->drop = drop;
	return &call->kept;
}

bool slm_function_failure(const struct sqloom_call *call,
			  struct slm_arena *arena,
			  struct slm_check_failure *out)
{
	static const char *const columns[] = { "message" };
	struct slm_value *value = slm_arena_zalloc(arena, 1, sizeof(*value));
	char *text = slm_arena_strdup(arena, call->error);

	if (!value || !text)
		return false;
	value->kind = SLM_TEXT;
	value->text = text;
	value->size = (uint32_t)strlen(text);
	*out = (struct slm_check_failure){ .name = call->name,
					   .rows = { .ncolumns = 1,
						     .nkept = 1,
						     .nrows = 1,
						     .columns = columns,
						     .values = value } };
	return true;
}

/* ---- Points --------------------------------------------------------------- */

struct points {
	slm_point_fn hit;
	void *userdata;
};

static _Thread_local struct points own;
/* Of all others. They change while other threads look: who reads one of them
 * too late has a hit that knows its userdata no more, and must not follow it. */
static _Atomic(slm_point_fn) all_hit;
static _Atomic(void *) all_userdata;
static _Atomic int active; /* how many of these are set */

void slm_function_set_points(slm_point_fn hit, void *userdata)
{
	atomic_fetch_add(&active, (hit != NULL) - (own.hit != NULL));
	own = (struct points){ hit, userdata };
}

void slm_function_publish_points(slm_point_fn hit, void *userdata)
{
	bool was = atomic_exchange(&all_hit, NULL) != NULL;

	atomic_store(&all_userdata, userdata);
	atomic_store(&all_hit, hit);
	atomic_fetch_add(&active, (hit != NULL) - was);
}

bool slm_function_is_explored(void)
{
	return own.hit != NULL;
}

void sqloom_point(const char *name)
{
	slm_point_fn hit;

	if (!atomic_load_explicit(&active, memory_order_relaxed))
		return;
	if (own.hit) {
		own.hit(own.userdata, name ? name : "");
		return;
	}
	hit = atomic_load(&all_hit);
	if (hit)
		hit(atomic_load(&all_userdata), name ? name : "");
}

void slm_function_point_text(const char *name, char text[SLM_POINT_TEXT])
{
	snprintf(text, SLM_POINT_TEXT, "-- point: %s", name);
	for (char *c = text; *c; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
}

/* ---- Asleep? --------------------------------------------------------------- */

/* Who waits for the disk (D) goes on by itself, however long a busy machine
 * takes for that. */
static bool is_asleep(char state)
{
	return state != 'R' && state != 'D';
}

/* The number behind "name:" in a status file of /proc. */
static uint64_t number_behind(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

bool slm_thread_is_quiet(pid_t tid, uint64_t *last)
{
	char path[64], text[4096];
	const char *state;
	uint64_t switches;
	bool same;
	ssize_t size;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true; /* it has ended */
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[size > 0 ? size : 0] = '\0';
	state = strstr(text, "State:\t");
	switches = number_behind(text, "\nvoluntary_ctxt_switches:\t") +
		   number_behind(text, "\nnonvoluntary_ctxt_switches:\t");
	same = switches == *last;
	*last = switches;
	return same && state && is_asleep(state[7]);
}

/* The state of a thread, and when it was started, in ticks since the machine
 * was. '\0': it has ended. */
static char look_at_thread(const char *tid, uint64_t *started)
{
	char path[64], text[1024];
	const char *at;
	ssize_t size;
	char state;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return '\0';
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[size > 0 ? size : 0] = '\0';
	at = strrchr(text, ')'); /* the name may have anything in it */
	if (!at || at[1] != ' ')
		return '\0';
	at += 2;
	state = *at;
	for (int field = 3; at && field < 22; field++) {
		at = strchr(at, ' ');
		at += at != NULL;
	}
	*started = at ? strtoull(at, NULL, 10) : 0;
	return state;
}

static bool younger_ones_sleep(pid_t tid)
{
	pid_t self = (pid_t)syscall(SYS_gettid);
	char name[24];
	uint64_t since = 0, started = 0;
	bool sleep = true;
	struct dirent *entry;
	DIR *directory;

	snprintf(name, sizeof(name), "%d", (int)tid);
	if (!look_at_thread(name, &since) ||
	    !(directory = opendir("/proc/self/task")))
		return true;
	while (sleep && (entry = readdir(directory)))
		if (entry->d_name[0] != '.' && atoi(entry->d_name) != self)
			sleep = is_asleep(look_at_thread(entry->d_name,
							 &started)) ||
				started < since;
	closedir(directory);
	return sleep;
}

bool slm_call_is_quiet(pid_t tid, uint64_t *last)
{
	return slm_thread_is_quiet(tid, last) && younger_ones_sleep(tid);
}
