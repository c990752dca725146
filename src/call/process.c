/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of a case, in the caller's libuv loop. The command is the child of
 * a guard (process_guard.c), which tells of its end by a pipe and ends with
 * all that it started when our pipe to it ends.
 *
 * Invariants: `ended` is called at most once, never after slm_process_free()
 * began. While `life` is open the guard may kill; at the end of file on its
 * report it has ended, and we have waited for it.
 */
#include "call/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "call/process_guard.h"
#include "call/process_tree.h"

#define READ_SIZE 65536	 /* as much as a pipe holds */
#define LEFT_OPEN_MS 200 /* how long output is waited for after the end */
#define WAKE_MS 1	 /* 0 would not outlive the turn of the loop */
#define KILL_SESSION_MS 5000

/* Pipes of a start: reading and writing ends. */
enum { OUTPUT, ERRORS, LIFE, REPORT, PIPES };

struct stream {
	uv_pipe_t pipe;
	struct slm_process *process;
	struct slm_buf text;
	bool ended; /* nobody writes there any more */
	bool cut;
};

struct slm_process {
	/* Of the options */
	uv_loop_t *loop;
	const char *name;
	bool keep_tail;
	void (*ended)(void *userdata, struct slm_process *process);
	void *userdata;

	pid_t guard; /* 0: we have waited for it */
	pid_t pid;
	int life;  /* the guard kills when it is closed; -1: it is */
	bool over; /* the command has ended; status is known */
	int status, signal;
	bool told; /* `ended` was called */
	bool freeing;
	unsigned open; /* handles that are not closed yet */

	struct stream output, errors;
	uv_pipe_t report;
	struct slm_guard_report message; /* as far as it was read */
	size_t message_size;
	uv_timer_t timer;
	bool waited; /* the timer was started and ran off */
	char buffer[READ_SIZE];
};

/* ---- Output ------------------------------------------------------------ */

/* Where the kept part of a stream starts. */
static size_t kept_from(const struct stream *stream)
{
	size_t size = stream->text.size;

	return size > SLM_PROCESS_OUTPUT_MAX ? size - SLM_PROCESS_OUTPUT_MAX :
					       0;
}

/* The beginning is dropped only now and then, so that it costs little. */
static void keep_end(struct stream *stream, const char *data, size_t size)
{
	struct slm_buf *text = &stream->text;
	size_t from;

	slm_buf_append(text, data, size);
	from = kept_from(stream);
	stream->cut = stream->cut || from > 0;
	if (from < SLM_PROCESS_OUTPUT_MAX)
		return;
	memmove(text->data, text->data + from, text->size - from + 1);
	text->size -= from;
}

static void keep_beginning(struct stream *stream, const char *data, size_t size)
{
	size_t room = SLM_PROCESS_OUTPUT_MAX - stream->text.size;

	stream->cut = stream->cut || size > room;
	slm_buf_append(&stream->text, data, size < room ? size : room);
}

static void keep(struct stream *stream, const char *data, size_t size)
{
	if (stream->process->keep_tail)
		keep_end(stream, data, size);
	else
		keep_beginning(stream, data, size);
	if (slm_buf_failed(&stream->text))
		stream->cut = true; /* no memory for more */
}

static const char *stream_text(const struct stream *stream, size_t *size,
			       bool *cut)
{
	size_t from = kept_from(stream);

	if (size)
		*size = stream->text.size - from;
	if (cut)
		*cut = stream->cut;
	return stream->text.data ? stream->text.data + from : "";
}

/* ---- The end of the command -------------------------------------------- */

static void tell_if_complete(struct slm_process *process)
{
	bool complete = process->waited ||
			(process->output.ended && process->errors.ended);

	if (!process->over || !complete || process->told || process->freeing)
		return;
	process->told = true;
	if (!process->waited)
		uv_timer_stop(&process->timer);
	if (process->ended)
		process->ended(process->userdata, process);
}

static void on_wake(uv_timer_t *timer)
{
	(void)timer;
}

/* uv_run(UV_RUN_ONCE) may call timers first and wait for more then. Who waits
 * in it for this end would wait for nothing. */
static void on_left_open(uv_timer_t *timer)
{
	struct slm_process *process = timer->data;

	uv_timer_start(timer, on_wake, WAKE_MS, 0);
	process->waited = true;
	tell_if_complete(process);
}

static void conclude(struct slm_process *process, int wait_status)
{
	if (process->over)
		return;
	process->over = true;
	if (WIFSIGNALED(wait_status)) {
		process->signal = WTERMSIG(wait_status);
		process->status = 128 + process->signal;
	} else {
		process->status = WEXITSTATUS(wait_status);
	}
	if (process->freeing)
		return; /* the timer is for the grace now */
	/* What the command wrote before its end stood in the pipes before this,
	 * and is read in the same turn of the loop at the latest. */
	uv_update_time(process->loop);
	uv_timer_start(&process->timer, on_left_open, LEFT_OPEN_MS, 0);
	tell_if_complete(process);
}

/* The guard has ended, and with it all that it started, unless somebody killed
 * it. Then the command has died with it, but not its children. */
static void on_guard_gone(struct slm_process *process)
{
	while (waitpid(process->guard, NULL, 0) < 0 && errno == EINTR)
		;
	process->guard = 0;
	if (process->over)
		return;
	slm_tree_kill_session(process->pid, KILL_SESSION_MS);
	conclude(process, SIGKILL);
}

/* ---- Reading ----------------------------------------------------------- */

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct stream *stream = handle->data;

	(void)suggested;
	*out = uv_buf_init(stream->process->buffer, READ_SIZE);
}

static void on_output(uv_stream_t *handle, ssize_t size, const uv_buf_t *buf)
{
	struct stream *stream = handle->data;

	if (size > 0) {
		keep(stream, buf->base, (size_t)size);
	} else if (size < 0) {
		uv_read_stop(handle);
		stream->ended = true;
		tell_if_complete(stream->process);
	}
}

/* A report arrives whole as a rule, but nobody promises it. */
static void give_message(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct slm_process *process = handle->data;

	(void)suggested;
	*out = uv_buf_init(
		(char *)&process->message + process->message_size,
		(unsigned)(sizeof(process->message) - process->message_size));
}

static void on_report(uv_stream_t *handle, ssize_t size, const uv_buf_t *buf)
{
	struct slm_process *process = handle->data;

	(void)buf;
	if (size < 0) {
		uv_read_stop(handle);
		on_guard_gone(process);
		return;
	}
	process->message_size += (size_t)size;
	if (process->message_size < sizeof(process->message))
		return;
	process->message_size = 0;
	if (process->message.stage == SLM_GUARD_ENDED)
		conclude(process, process->message.value);
}

/* ---- Starting ---------------------------------------------------------- */

static void close_pair(int *pair)
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
		pair[i] = -1;
	}
}

static bool open_pipes(int pipes[PIPES][2])
{
	for (int i = 0; i < PIPES; i++)
		pipes[i][0] = pipes[i][1] = -1;
	for (int i = 0; i < PIPES; i++)
		if (pipe2(pipes[i], O_CLOEXEC) != 0)
			return false;
	return true;
}

/* No handler of this process may run in the child. */
static pid_t fork_guard(const struct slm_process_options *options,
			int pipes[PIPES][2])
{
	const struct slm_guard_plan plan = {
		.command = options->command,
		.environment = (char *const *)options->environment,
		.directory = options->directory,
		.cpu = options->cpu,
		.life = pipes[LIFE][0],
		.report = pipes[REPORT][1],
		.output = pipes[OUTPUT][1],
		.errors = pipes[ERRORS][1],
	};
	sigset_t all, before;
	pid_t pid;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	error = errno;
	if (pid == 0)
		slm_guard(&plan);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return pid;
}

/* Why it could not be started, as the guard says. */
static enum sqloom_status refuse(const struct slm_process_options *options,
				 const struct slm_guard_report *report,
				 struct sqloom_error *err)
{
	switch (report->stage) {
	case SLM_GUARD_FORK:
		return slm_error_errno(err, SQLOOM_IO, report->value,
				       "cannot start %s: no process can be "
				       "made; end some, or raise the limit "
				       "(ulimit -u)",
				       options->name);
	case SLM_GUARD_DIRECTORY:
		return slm_error_errno(err, SQLOOM_IO, report->value,
				       "cannot start %s in the directory %s",
				       options->name, options->directory);
	case SLM_GUARD_CPU:
		return slm_error_errno(err, SQLOOM_IO, report->value,
				       "cannot start %s on CPU %d; choose "
				       "another one",
				       options->name, options->cpu);
	case SLM_GUARD_EXEC:
		if (report->value == E2BIG)
			return slm_error_set(
				err, SQLOOM_LIMIT,
				"cannot start %s: its command or its "
				"environment is too long; put the command "
				"into a script",
				options->name);
		return slm_error_errno(err, SQLOOM_IO, report->value,
				       "cannot start %s: the shell /bin/sh "
				       "cannot be executed",
				       options->name);
	case SLM_GUARD_STARTED:
	case SLM_GUARD_ENDED:
		break;
	}
	return slm_error_set(err, SQLOOM_IO,
			     "cannot start %s: its guard process ended at "
			     "once; are there limits on open files or on "
			     "memory (ulimit -a)?",
			     options->name);
}

/* The first report; it comes within a moment, whatever happened. */
static enum sqloom_status read_start(const struct slm_process_options *options,
				     int fd, pid_t *pid,
				     struct sqloom_error *err)
{
	struct slm_guard_report report = { .stage = SLM_GUARD_ENDED };
	size_t have = 0;
	ssize_t size = 1;

	while (have < sizeof(report) && size > 0) {
		size = read(fd, (char *)&report + have, sizeof(report) - have);
		if (size < 0 && errno == EINTR)
			size = 1;
		else if (size > 0)
			have += (size_t)size;
	}
	if (have < sizeof(report) || report.stage != SLM_GUARD_STARTED)
		return refuse(options, &report, err);
	*pid = report.value;
	return SQLOOM_OK;
}

/* Makes guard and command. On failure nothing is left of them. */
static enum sqloom_status launch(const struct slm_process_options *options,
				 int pipes[PIPES][2], pid_t *guard, pid_t *pid,
				 struct sqloom_error *err)
{
	struct slm_guard_report report = { .stage = SLM_GUARD_FORK };
	enum sqloom_status status;

	*guard = fork_guard(options, pipes);
	report.value = errno;
	close(pipes[LIFE][0]);
	close(pipes[REPORT][1]);
	close(pipes[OUTPUT][1]);
	close(pipes[ERRORS][1]);
	pipes[LIFE][0] = pipes[REPORT][1] = -1;
	pipes[OUTPUT][1] = pipes[ERRORS][1] = -1;
	if (*guard < 0)
		return refuse(options, &report, err);
	status = read_start(options, pipes[REPORT][0], pid, err);
	if (status == SQLOOM_OK)
		return status;
	close_pair(pipes[LIFE]);
	while (waitpid(*guard, NULL, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* A pipe that was just made, and a loop that works: neither can fail. */
static void take_pipe(struct slm_process *process, uv_pipe_t *pipe, int fd,
		      void *data)
{
	int failure;

	uv_pipe_init(process->loop, pipe, 0);
	pipe->data = data;
	failure = uv_pipe_open(pipe, fd);
	assert(failure == 0);
	(void)failure;
	process->open++;
}

static void listen_to(struct slm_process *process, int pipes[PIPES][2])
{
	struct stream *streams[] = { &process->output, &process->errors };

	for (int i = OUTPUT; i <= ERRORS; i++) {
		streams[i]->process = process;
		slm_buf_init(&streams[i]->text);
		take_pipe(process, &streams[i]->pipe, pipes[i][0], streams[i]);
		uv_read_start((uv_stream_t *)&streams[i]->pipe, give_buffer,
			      on_output);
	}
	take_pipe(process, &process->report, pipes[REPORT][0], process);
	uv_read_start((uv_stream_t *)&process->report, give_message, on_report);
	uv_timer_init(process->loop, &process->timer);
	process->timer.data = process;
	process->open++;
}

enum sqloom_status slm_process_start(const struct slm_process_options *options,
				     struct slm_process **out,
				     struct sqloom_error *err)
{
	struct slm_process *process = slm_calloc(1, sizeof(*process));
	enum sqloom_status status = SQLOOM_OK;
	int pipes[PIPES][2];

	assert(options->loop && options->command && options->environment);
	if (!process)
		return slm_error_nomem(err);
	process->loop = options->loop;
	process->name = options->name;
	process->keep_tail = options->keep_tail;
	process->ended = options->ended;
	process->userdata = options->userdata;
	if (!open_pipes(pipes))
		status = slm_error_errno(err, SQLOOM_IO, errno,
					 "cannot start %s: no pipe for its "
					 "output; raise the limit of open "
					 "files (ulimit -n)",
					 options->name);
	else
		status = launch(options, pipes, &process->guard, &process->pid,
				err);
	if (status != SQLOOM_OK) {
		for (int i = 0; i < PIPES; i++)
			close_pair(pipes[i]);
		slm_free(process);
		return status;
	}
	process->life = pipes[LIFE][1];
	listen_to(process, pipes);
	*out = process;
	return SQLOOM_OK;
}

/* ---- Asking ------------------------------------------------------------ */

bool slm_process_has_ended(const struct slm_process *process)
{
	return process->told || (process->over && process->freeing);
}

int slm_process_status(const struct slm_process *process)
{
	return process->status;
}

int slm_process_signal(const struct slm_process *process)
{
	return process->signal;
}

int slm_process_pid(const struct slm_process *process)
{
	return process->pid;
}

const char *slm_process_output(const struct slm_process *process, size_t *size,
			       bool *cut)
{
	return stream_text(&process->output, size, cut);
}

const char *slm_process_errors(const struct slm_process *process, size_t *size,
			       bool *cut)
{
	return stream_text(&process->errors, size, cut);
}

void slm_process_forget_output(struct slm_process *process)
{
	slm_buf_clear(&process->output.text);
	slm_buf_clear(&process->errors.text);
	process->output.cut = process->errors.cut = false;
}

/* While output is waited for that orphans may still write, it is not they who
 * decide how it goes on, but time. */
bool slm_process_is_quiet(const struct slm_process *process)
{
	if (process->over && !process->told)
		return false;
	return process->guard == 0 || slm_tree_is_quiet(process->guard);
}

/* ---- Ending ------------------------------------------------------------ */

static void on_grace_over(uv_timer_t *timer)
{
	struct slm_process *process = timer->data;

	close(process->life);
	process->life = -1;
}

static void on_closed(uv_handle_t *handle)
{
	unsigned *open = handle->data;

	(*open)--;
}

static void close_handle(struct slm_process *process, void *handle)
{
	uv_handle_t *h = handle;

	h->data = &process->open;
	uv_close(h, on_closed);
}

/* Who was stopped must go on in order to end. */
static void ask_to_end(struct slm_process *process, unsigned grace_ms)
{
	slm_tree_signal(process->guard, SIGTERM);
	slm_tree_signal(process->guard, SIGCONT);
	uv_update_time(process->loop);
	uv_timer_start(&process->timer, on_grace_over, grace_ms, 0);
}

void slm_process_free(struct slm_process *process, unsigned grace_ms)
{
	if (!process)
		return;
	process->freeing = true;
	uv_timer_stop(&process->timer);
	if (process->guard && grace_ms > 0)
		ask_to_end(process, grace_ms);
	else
		on_grace_over(&process->timer);
	while (process->guard)
		uv_run(process->loop, UV_RUN_ONCE);
	if (process->life >= 0)
		close(process->life);
	close_handle(process, &process->output.pipe);
	close_handle(process, &process->errors.pipe);
	close_handle(process, &process->report);
	close_handle(process, &process->timer);
	while (process->open > 0)
		uv_run(process->loop, UV_RUN_ONCE);
	slm_buf_deinit(&process->output.text);
	slm_buf_deinit(&process->errors.text);
	slm_free(process);
}

/* ---- The environment --------------------------------------------------- */

static size_t name_size(const char *entry)
{
	return strcspn(entry, "=");
}

static bool same_name(const char *a, const char *b)
{
	size_t size = name_size(a);

	return size == name_size(b) && memcmp(a, b, size) == 0;
}

/* Does a later change say something else of it? */
static bool is_changed(const char *entry, const char *const *changes)
{
	for (; changes && *changes; changes++)
		if (same_name(entry, *changes))
			return true;
	return false;
}

/* The entries of the result, counted first and then made. */
struct entries {
	size_t count, bytes; /* so far */
	char **array;	     /* NULL: they are only counted */
	char *text;
};

static void add_entry(struct entries *to, const char *entry)
{
	size_t size = strlen(entry) + 1;

	if (to->array) {
		to->array[to->count] = to->text + to->bytes;
		memcpy(to->text + to->bytes, entry, size);
	}
	to->count++;
	to->bytes += size;
}

static void add_entries(struct entries *to, const char *const *base,
			const char *const *changes)
{
	for (; base && *base; base++)
		if (!is_changed(*base, changes))
			add_entry(to, *base);
	for (; changes && *changes; changes++)
		if (strchr(*changes, '=') && !is_changed(*changes, changes + 1))
			add_entry(to, *changes);
}

char **slm_process_environment(const char *const *base,
			       const char *const *changes)
{
	struct entries needed = { 0 }, made = { 0 };

	add_entries(&needed, base, changes);
	made.array =
		slm_malloc((needed.count + 1) * sizeof(char *) + needed.bytes);
	if (!made.array)
		return NULL;
	made.text = (char *)(made.array + needed.count + 1);
	add_entries(&made, base, changes);
	assert(made.count == needed.count && made.bytes == needed.bytes);
	made.array[made.count] = NULL;
	return made.array;
}
