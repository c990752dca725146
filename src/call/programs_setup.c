/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is there before the first run: the proxy, the environment that leads
 * programs to it, set-up commands, the application's servers. And the commands
 * of checks.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "call/programs_internal.h"

#define READY_LIMIT_MS 60000
#define READY_QUIET_MS 300 /* asleep for so long: it has started */
#define PROBE_EVERY_MS 20
#define SILENCE_MS 1000 /* no answer for so long: nobody is there */
#define SERVER_GRACE_MS 2000
#define TAIL 400 /* bytes of what a command said that are told */

/* ---- The environment of programs ----------------------------------------- */

/* Percent-encodes what a URI's parts must not contain. */
static void put_encoded(struct slm_buf *out, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";

	for (; *text; text++) {
		if (strchr(plain, *text))
			slm_buf_putc(out, *text);
		else
			slm_buf_printf(out, "%%%02X", (unsigned char)*text);
	}
}

static void put_url(struct slm_buf *out, const struct slm_outside_place *place)
{
	slm_buf_puts(out, "DATABASE_URL=postgresql://");
	put_encoded(out, place->user);
	if (place->password && *place->password) {
		slm_buf_putc(out, ':');
		put_encoded(out, place->password);
	}
	slm_buf_putc(out, '@');
	put_encoded(out, place->host);
	slm_buf_printf(out, ":%s/", place->port);
	put_encoded(out, place->database);
	slm_buf_puts(out, "?sslmode=disable");
}

#define CHANGES_MAX 12

/* The changes one after another in out, each with its NUL; list points to
 * them. */
static void list_changes(const struct slm_outside_place *place, bool proxy,
			 struct slm_buf *out, const char **list)
{
	size_t starts[CHANGES_MAX];
	unsigned n = 0;

#define CHANGE(...)                               \
	do {                                      \
		starts[n++] = out->size;          \
		slm_buf_printf(out, __VA_ARGS__); \
		slm_buf_putc(out, '\0');          \
	} while (0)
	CHANGE("PGHOST=%s", place->host);
	CHANGE("PGPORT=%s", place->port);
	CHANGE("PGDATABASE=%s", place->database);
	CHANGE("PGUSER=%s", place->user);
	if (place->password)
		CHANGE("PGPASSWORD=%s", place->password);
	if (proxy)
		CHANGE("PGSSLMODE=disable");
	CHANGE("PGHOSTADDR");
	CHANGE("PGSERVICE");
#undef CHANGE
	starts[n++] = out->size;
	put_url(out, place);
	slm_buf_putc(out, '\0');
	for (unsigned i = 0; i < n && !slm_buf_failed(out); i++)
		list[i] = out->data + starts[i];
	list[n] = NULL;
}

char **slm_programs_environment(struct programs *programs, int port)
{
	static const char *const none[] = { NULL };
	const char *const *base = programs->options.environment;
	struct slm_outside_place place;
	const char *changes[CHANGES_MAX + 1] = { NULL };
	char **environment = NULL;
	struct slm_buf text;
	char digits[12];

	slm_outside_place(programs->db, &place);
	if (port) {
		snprintf(digits, sizeof(digits), "%d", port);
		place.host = "127.0.0.1";
		place.port = digits;
	}
	slm_buf_init(&text);
	list_changes(&place, port != 0, &text, changes);
	if (!slm_buf_failed(&text))
		environment =
			slm_process_environment(base ? base : none, changes);
	slm_buf_deinit(&text);
	return environment;
}

/* ---- Commands -------------------------------------------------------------- */

/* The end of what a command said, in one line. */
static const char *tail_of(struct slm_arena *arena,
			   const struct slm_process *process)
{
	size_t size;
	const char *text = slm_process_errors(process, &size, NULL);
	char *line;

	if (!size)
		text = slm_process_output(process, &size, NULL);
	if (size > TAIL) {
		text += size - TAIL;
		size = TAIL;
	}
	line = slm_arena_strndup(arena, text, size);
	for (char *at = line; at && *at; at++)
		if (*at == '\n')
			*at = at[1] ? '|' : '\0';
	return line && *line ? line : "nothing";
}

static enum sqloom_status run_command(struct programs *programs,
				      const char *what, const char *command,
				      int *exit_status, const char **said,
				      struct sqloom_error *err)
{
	char **environment = slm_programs_environment(programs, 0);
	struct slm_process_options options = {
		.loop = &programs->loop,
		.command = command,
		.name = what,
		.environment = (const char *const *)environment,
		.cpu = -1,
	};
	uint64_t limit_ms = programs->options.call_limit_ms;
	uint64_t began_ns = slm_clock_ns();
	struct slm_process *process = NULL;
	enum sqloom_status status;

	if (!environment)
		return slm_error_nomem(err);
	status = slm_process_start(&options, &process, err);
	while (!status && !slm_process_has_ended(process)) {
		status = slm_programs_turn(programs, true, err);
		if (!status && limit_ms &&
		    (slm_clock_ns() - began_ns) / 1000000 > limit_ms)
			status = slm_error_set(
				err, SQLOOM_DATABASE,
				"%s takes longer than %llu ms (--call-limit), "
				"and was ended; it said: %s",
				what, (unsigned long long)limit_ms,
				tail_of(&programs->scratch, process));
	}
	if (!status) {
		*exit_status = slm_process_status(process);
		*said = tail_of(programs->run ? programs->run :
						&programs->scratch,
				process);
	}
	slm_process_free(process, 0);
	slm_free(environment);
	return status;
}

static enum sqloom_status run_before(struct programs *programs,
				     const struct slm_spec_sql *command,
				     struct sqloom_error *err)
{
	const char *said = NULL;
	int exit_status = 0;
	enum sqloom_status status = run_command(programs, "the set-up command",
						command->text, &exit_status,
						&said, err);

	if (status || !exit_status)
		return status;
	slm_error_set(err, SQLOOM_SPEC,
		      "the set-up command fails with status %d, and says: %s",
		      exit_status, said);
	slm_spec_error_place(programs->spec, command->line, command->column,
			     err);
	return SQLOOM_SPEC;
}

enum sqloom_status slm_programs_check(struct programs *programs,
				      struct slm_check_failure *failures,
				      uint32_t *count, struct sqloom_error *err)
{
	static const char *const columns[] = { "exit", "said" };
	const struct sqloom_spec *spec = programs->spec;
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; !status && i < spec->nchecks; i++) {
		struct slm_value *values;
		const char *said = NULL;
		int exit_status = 0;

		if (!spec->checks[i].exec)
			continue;
		status = run_command(programs, "the check command",
				     spec->checks[i].sql.text, &exit_status,
				     &said, err);
		if (status || !exit_status)
			continue;
		values = slm_arena_zalloc(programs->run, 2, sizeof(*values));
		if (!values)
			return slm_error_nomem(err);
		values[0].kind = SLM_INT;
		values[0].integer = exit_status;
		values[1].kind = SLM_TEXT;
		values[1].text = said;
		values[1].size = (uint32_t)strlen(said);
		failures[(*count)++] = (struct slm_check_failure){
			.name = spec->checks[i].name,
			.rows = { .ncolumns = 2,
				  .nkept = 1,
				  .nrows = 1,
				  .columns = columns,
				  .values = values },
		};
	}
	return status;
}

/* ---- Servers: is it ready? --------------------------------------------------- */

struct probe {
	const char *ready;
	struct slm_http_request *request; /* of a URL */
	struct slm_http_call *call;
	bool yes;
	uint64_t asked_ms;
};

static void answered(void *userdata, const struct slm_http_answer *answer)
{
	struct probe *probe = userdata;

	probe->call = NULL;
	probe->yes |= answer->status > 0 && answer->status < 500;
}

static bool connects(int family, const struct sockaddr *address, socklen_t size)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes = fd >= 0 && connect(fd, address, size) == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

static bool socket_listens(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		return false;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return connects(AF_UNIX, (struct sockaddr *)&address, sizeof(address));
}

static bool port_listens(const char *host_port)
{
	const char *colon = strrchr(host_port, ':');
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	char host[256];
	bool yes = false;

	snprintf(host, sizeof(host), "%.*s", (int)(colon - host_port),
		 host_port);
	if (getaddrinfo(*host ? host : "127.0.0.1", colon + 1, &hints, &list))
		return false;
	for (struct addrinfo *at = list; at && !yes; at = at->ai_next)
		yes = connects(at->ai_family, at->ai_addr, at->ai_addrlen);
	freeaddrinfo(list);
	return yes;
}

static enum sqloom_status ask(struct programs *programs, struct probe *probe,
			      struct sqloom_error *err)
{
	if (probe->request)
		return probe->call ? SQLOOM_OK :
				     slm_http_start(programs->http,
						    probe->request, answered,
						    probe, &probe->call, err);
	probe->yes = *probe->ready == '/' ? socket_listens(probe->ready) :
					    port_listens(probe->ready);
	return SQLOOM_OK;
}

static enum sqloom_status read_probe(struct programs *programs,
				     const struct slm_spec_server *server,
				     struct probe *probe,
				     struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	*probe = (struct probe){ .ready = server->ready };
	if (!server->ready || *server->ready == '/')
		return SQLOOM_OK;
	if (strncmp(server->ready, "http", 4) == 0) {
		status = slm_http_read(server->ready, &programs->arena,
				       &probe->request, err);
	} else if (!strchr(server->ready, ':')) {
		status = slm_error_set(err, SQLOOM_SPEC,
				       "ready \"%s\" is no URL, host:port or "
				       "path of a socket",
				       server->ready);
	}
	if (status)
		slm_spec_error_place(programs->spec, server->line,
				     server->column, err);
	return status;
}

/* What answers before the server is started is another: it would be taken for
 * the server, which may have ended because its port is not free. */
static enum sqloom_status expect_silence(struct programs *programs,
					 const struct slm_spec_server *server,
					 struct sqloom_error *err)
{
	uint64_t began_ns = slm_clock_ns();
	struct probe probe;
	enum sqloom_status status = read_probe(programs, server, &probe, err);

	if (status || !probe.ready)
		return status;
	status = ask(programs, &probe, err);
	while (!status && probe.call &&
	       (slm_clock_ns() - began_ns) / 1000000 < SILENCE_MS)
		status = slm_programs_turn(programs, true, err);
	if (probe.call)
		slm_http_cancel(probe.call);
	if (status || !probe.yes)
		return status;
	return slm_error_set(err, SQLOOM_DATABASE,
			     "something answers at %s before the server is "
			     "started: end it, or use another port",
			     probe.ready);
}

static enum sqloom_status not_ready(struct programs *programs,
				    const struct slm_process *process,
				    const char *why, const char *ready,
				    struct sqloom_error *err)
{
	return slm_error_set(err, SQLOOM_DATABASE,
			     "the server %s%s%s; it said: %s", why,
			     ready ? " at " : "", ready ? ready : "",
			     tail_of(&programs->arena, process));
}

/* Until the server says that it is ready, or sleeps for a while if it has no
 * way to say so. */
static enum sqloom_status wait_ready(struct programs *programs,
				     const struct slm_process *process,
				     struct probe *probe,
				     struct sqloom_error *err)
{
	uint64_t began = slm_clock_ns() / 1000000, quiet = began;
	enum sqloom_status status = SQLOOM_OK;

	while (!status && !probe->yes) {
		uint64_t now = slm_clock_ns() / 1000000;

		if (slm_process_has_ended(process))
			return not_ready(programs, process,
					 "has ended before it was ready",
					 probe->ready, err);
		if (now - began > READY_LIMIT_MS)
			return not_ready(programs, process,
					 "is not ready after 60 seconds",
					 probe->ready, err);
		if (!probe->ready && !slm_process_is_quiet(process))
			quiet = now;
		if (!probe->ready)
			probe->yes = now - quiet >= READY_QUIET_MS;
		else if (now - probe->asked_ms >= PROBE_EVERY_MS) {
			probe->asked_ms = now;
			status = ask(programs, probe, err);
		}
		if (!status && !probe->yes)
			status = slm_programs_turn(programs, true, err);
	}
	return status;
}

static enum sqloom_status start_server(struct programs *programs,
				       const struct slm_spec_server *server,
				       struct sqloom_error *err)
{
	char **environment = slm_programs_environment(
		programs, slm_relay_port(programs->relay));
	struct slm_process_options options = {
		.loop = &programs->loop,
		.command = server->command.text,
		.name = "the server",
		.environment = (const char *const *)environment,
		.keep_tail = true,
		.cpu = -1,
	};
	struct slm_process *process = NULL;
	struct probe probe;
	enum sqloom_status status;

	if (!environment)
		return slm_error_nomem(err);
	if (programs->nservers == SERVERS_MAX) {
		slm_free(environment);
		return slm_error_set(err, SQLOOM_LIMIT, "more than %d servers",
				     SERVERS_MAX);
	}
	status = read_probe(programs, server, &probe, err);
	if (!status)
		status = slm_process_start(&options, &process, err);
	slm_free(environment);
	if (status)
		return status;
	status = wait_ready(programs, process, &probe, err);
	if (probe.call)
		slm_http_cancel(probe.call);
	if (status)
		slm_process_free(process, SERVER_GRACE_MS);
	else
		programs->servers[programs->nservers++] = process;
	return status;
}

enum sqloom_status slm_programs_set_up(struct slm_db *db, void *userdata,
				       struct sqloom_error *err)
{
	struct programs *programs = userdata;
	const struct sqloom_spec *spec = programs->spec;
	enum sqloom_status status = SQLOOM_OK;

	programs->db = db; /* for its place */
	if (spec->functions && spec->functions->setup) {
		bool failed = false;

		status = slm_programs_errand(programs, spec->functions->setup,
					     "setup", &failed, err);
		if (!status && failed)
			status = slm_error_set(err, SQLOOM_CALL,
					       "the setup failed: %s",
					       programs->errand.error);
		slm_function_drop(&programs->errand);
	}
	for (unsigned i = 0; !status && i < spec->nbefores; i++)
		status = run_before(programs, &spec->befores[i], err);
	for (unsigned i = 0; !status && i < spec->nservers; i++)
		status = expect_silence(programs, &spec->servers[i], err);
	for (unsigned i = 0; !status && i < spec->nservers; i++)
		status = start_server(programs, &spec->servers[i], err);
	programs->db = NULL;
	return status;
}

/* ---- The proxy ------------------------------------------------------------------ */

static void tick(uv_timer_t *timer)
{
	(void)timer; /* wakes the loop up */
}

/* Functions have ended: their masks say which. */
static void functions_ended(uv_poll_t *poll, int error, int events)
{
	struct programs *programs = poll->data;
	uint64_t count;
	ssize_t n = read(programs->ending_fd, &count, sizeof(count));
	uint32_t ended = atomic_exchange(&programs->functions_ended, 0);
	uint32_t failed = atomic_load(&programs->functions_failed);

	(void)n; /* the masks count */
	(void)error;
	(void)events;
	programs->marks++;
	for (unsigned i = 0; i < programs->ncalls; i++) {
		struct program *program = &programs->calls[i];
		struct sqloom_error err;

		if (!(ended & (1u << i)) || !program->started)
			continue;
		program->ended = true;
		program->failed = failed & (1u << i);
		if ((program->function ?
			     slm_programs_function_result(programs, i, &err) :
			     slm_exec_result(program->failed, 0, "", 0, "",
					     programs->run, &program->result,
					     &err)) &&
		    !programs->status) {
			programs->status = err.status;
			programs->err = err;
		}
	}
}

void slm_programs_ended(struct slm_db *db, unsigned call, bool failed)
{
	struct programs *programs = (struct programs *)db;

	if (failed)
		atomic_fetch_or(&programs->functions_failed, 1u << call);
	else
		atomic_fetch_and(&programs->functions_failed, ~(1u << call));
	atomic_fetch_or(&programs->functions_ended, 1u << call);
	slm_programs_woken(programs);
}

void slm_programs_woken(struct programs *programs)
{
	const uint64_t one = 1;
	/* Fails only when it is said already. */
	ssize_t n = write(programs->ending_fd, &one, sizeof(one));

	(void)n;
}

/* A command finds the proxy where its environment says, so it can have a door
 * of its own, and there is no doubt whose its connections are. */
static bool has_own_door(const struct programs *programs, unsigned call)
{
	return programs->options.attribution == SLM_ATTRIBUTION_PORT ||
	       (programs->options.attribution == SLM_ATTRIBUTION_EXCLUSIVE &&
		!programs->options.proxy_port && !programs->options.start &&
		programs->spec->sessions[call].call == SLM_CALL_EXEC);
}

static enum sqloom_status open_doors(struct programs *programs,
				     struct sqloom_error *err)
{
	bool ports = programs->options.attribution == SLM_ATTRIBUTION_PORT;
	int first = slm_relay_port(programs->relay);
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; !status && i < programs->ncalls; i++) {
		struct program *program = &programs->calls[i];
		int wanted = programs->options.proxy_port ? first + (int)i : 0;

		program->port = first;
		program->own_port = has_own_door(programs, i);
		if (program->own_port && !(ports && i == 0))
			status = slm_relay_listen(programs->relay, wanted,
						  &program->port, err);
	}
	return status;
}

/* Not uv_async_t: where a thread shares our CPU, it is pre-empted by what it
 * wakes up, and libuv would spin until the thread has left uv_async_send(). */
static bool watch_functions(struct programs *programs)
{
	programs->ending_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (programs->ending_fd < 0 ||
	    uv_poll_init(&programs->loop, &programs->ending,
			 programs->ending_fd))
		return false;
	programs->ending.data = programs;
	return uv_poll_start(&programs->ending, UV_READABLE, functions_ended) ==
	       0;
}

enum sqloom_status slm_programs_prepare(struct programs *programs,
					struct sqloom_error *err)
{
	struct slm_relay_options relay = {
		.loop = &programs->loop,
		.conninfo = programs->options.pg.conninfo,
		.port = programs->options.proxy_port,
		.socket_dir = programs->options.socket_dir,
		.hooks = slm_programs_hooks(),
		.userdata = programs,
	};
	enum sqloom_status status;

	if (uv_loop_init(&programs->loop))
		return slm_error_set(err, SQLOOM_IO,
				     "cannot make an event loop: too many open "
				     "files?");
	programs->loop_open = true;
	uv_timer_init(&programs->loop, &programs->ticker);
	uv_timer_start(&programs->ticker, tick, TICK_MS, TICK_MS);
	if (!watch_functions(programs))
		return slm_error_set(err, SQLOOM_IO,
				     "cannot make an event loop: too many open "
				     "files?");
	status = slm_http_new(&programs->loop, &programs->http, err);
	if (!status)
		status = slm_relay_start(&relay, &programs->relay, err);
	return status ? status : open_doors(programs, err);
}

/* ---- A call starts ---------------------------------------------------------------- */

static void command_ended(void *userdata, struct slm_process *process)
{
	struct programs *programs = userdata;
	struct sqloom_error err;

	programs->marks++;
	for (unsigned i = 0; i < programs->ncalls; i++) {
		struct program *program = &programs->calls[i];
		const char *output, *errors;
		size_t size;
		enum sqloom_status status;

		if (program->process != process || program->ended)
			continue;
		output = slm_process_output(process, &size, NULL);
		errors = slm_process_errors(process, NULL, NULL);
		program->ended = true;
		program->failed = slm_process_status(process) != 0;
		status = slm_exec_result(slm_process_status(process),
					 slm_process_signal(process), output,
					 size, errors, programs->run,
					 &program->result, &err);
		if (status && !programs->status) {
			programs->status = status;
			programs->err = err;
		}
	}
}

struct request_of {
	struct programs *programs;
	unsigned call;
};

static void request_ended(void *userdata, const struct slm_http_answer *answer)
{
	struct request_of *of = userdata;
	struct programs *programs = of->programs;
	struct program *program = &programs->calls[of->call];
	struct sqloom_error err;
	enum sqloom_status status;

	programs->marks++;
	program->http = NULL;
	program->ended = true;
	program->failed = answer->status < 200 || answer->status >= 400;
	status = slm_http_result(answer, programs->run, &program->result, &err);
	if (status && !programs->status) {
		programs->status = status;
		programs->err = err;
	}
}

static enum sqloom_status start_request(struct programs *programs,
					unsigned call, struct sqloom_error *err)
{
	struct program *program = &programs->calls[call];
	struct request_of *of = slm_arena_zalloc(programs->run, 1, sizeof(*of));

	if (!of)
		return slm_error_nomem(err);
	of->programs = programs;
	of->call = call;
	return slm_http_start(programs->http, program->request, request_ended,
			      of, &program->http, err);
}

enum sqloom_status slm_programs_start(struct programs *programs, unsigned call,
				      struct sqloom_error *err)
{
	const struct slm_spec_session *spec = &programs->spec->sessions[call];
	struct program *program = &programs->calls[call];
	struct slm_process_options options = {
		.loop = &programs->loop,
		.command = spec->text.text,
		.name = spec->name,
		.cpu = -1,
		.ended = command_ended,
		.userdata = programs,
	};

	program->started = true;
	program->began_ns = slm_clock_ns();
	programs->running = (int)call;
	if (programs->options.start) {
		programs->options.start(programs->options.start_userdata, call,
					program->port);
		return SQLOOM_OK;
	}
	if (spec->call == SLM_CALL_FUNCTION)
		return slm_programs_start_function(programs, call, err);
	if (spec->call == SLM_CALL_HTTP)
		return start_request(programs, call, err);
	if (!program->environment)
		program->environment =
			slm_programs_environment(programs, program->port);
	if (!program->environment)
		return slm_error_nomem(err);
	options.environment = (const char *const *)program->environment;
	return slm_process_start(&options, &program->process, err);
}
