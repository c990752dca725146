/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that are functions of this process, behind programs.h: each on a thread
 * of its own, kept from run to run, whose connections come through the proxy
 * like those of any other client. Points are told to the loop, and wait until
 * the runner grants them.
 *
 * What a thread and the loop share is under the thread's mutex.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "call/function.h"
#include "call/programs_internal.h"

#define END_PATIENCE_S 2 /* for threads that do not come back */

struct program_function {
	struct programs *owner;
	const struct sqloom_function *what;
	struct sqloom_call call;
	char *name, *database; /* owned */
	pthread_t thread;
	bool made;

	pthread_mutex_t mutex;
	pthread_cond_t wake;
	bool go, end, running;
	const char *point; /* it waits there; NULL: it does not */
	bool granted;	   /* it may go on behind it */
	pid_t tid;
	int returned;
	bool failed;

	uint64_t switches; /* of the thread, when the loop looked last */
};

/* ---- On the threads -------------------------------------------------------- */

static void hit_point(void *userdata, const char *name)
{
	struct program_function *function = userdata;
	struct programs *programs = function->owner;

	pthread_mutex_lock(&function->mutex);
	if (!function->end && programs->points) {
		function->point = name;
		function->granted = false;
		slm_programs_woken(programs);
		while (!function->granted)
			pthread_cond_wait(&function->wake, &function->mutex);
		function->point = NULL;
	}
	pthread_mutex_unlock(&function->mutex);
}

/* Waits for the next run. False: there is none. */
static bool wait_to_go(struct program_function *function)
{
	bool end;

	pthread_mutex_lock(&function->mutex);
	while (!function->go && !function->end)
		pthread_cond_wait(&function->wake, &function->mutex);
	end = function->end;
	function->go = false;
	pthread_mutex_unlock(&function->mutex);
	return !end;
}

/* False: it comes too late, the owner may be gone. */
static bool keep_result(struct program_function *function, int returned,
			bool failed)
{
	bool end;

	pthread_mutex_lock(&function->mutex);
	function->returned = returned;
	function->failed = failed;
	function->running = false;
	end = function->end;
	pthread_mutex_unlock(&function->mutex);
	return !end;
}

static void *function_main(void *userdata)
{
	struct program_function *function = userdata;

	slm_function_set_points(hit_point, function);
	pthread_mutex_lock(&function->mutex);
	function->tid = (pid_t)syscall(SYS_gettid);
	pthread_mutex_unlock(&function->mutex);
	while (wait_to_go(function)) {
		int returned;
		bool failed;

		slm_function_begin(&function->call);
		returned = function->what->fn(&function->call,
					      function->what->arg);
		failed = slm_function_end(&function->call, returned);
		if (!keep_result(function, returned, failed))
			break;
		slm_programs_ended(&function->owner->base,
				   (unsigned)function->call.number, failed);
	}
	slm_function_drop(&function->call);
	slm_function_set_points(NULL, NULL);
	return NULL;
}

/* ---- Making them ------------------------------------------------------------ */

/* The connection string among the variables of an environment, copied. */
static char *connection_of(struct programs *programs, int port)
{
	static const char name[] = "DATABASE_URL=";
	char **environment = slm_programs_environment(programs, port);
	char *found = NULL;

	for (char **at = environment; at && *at && !found; at++)
		if (strncmp(*at, name, sizeof(name) - 1) == 0)
			found = slm_strdup(*at + sizeof(name) - 1);
	slm_free(environment);
	return found;
}

static enum sqloom_status make(struct programs *programs, unsigned call,
			       struct sqloom_error *err)
{
	struct program_function *function = slm_calloc(1, sizeof(*function));
	int error;

	if (!function)
		return slm_error_nomem(err);
	programs->calls[call].function = function;
	function->owner = programs;
	function->what = &programs->spec->functions->calls[call];
	function->call.number = call;
	/* A thread that never comes back outlives the spec. */
	function->name = slm_strdup(programs->spec->sessions[call].name);
	function->call.name = function->name;
	pthread_mutex_init(&function->mutex, NULL);
	pthread_cond_init(&function->wake, NULL);
	function->database =
		connection_of(programs, programs->calls[call].port);
	if (!function->name || !function->database)
		return slm_error_nomem(err);
	function->call.database = function->database;
	error = pthread_create(&function->thread, NULL, function_main,
			       function);
	function->made = error == 0;
	if (!error)
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_IO,
			     "cannot start a thread for call \"%s\": %s",
			     function->call.name, strerror(error));
}

enum sqloom_status slm_programs_start_function(struct programs *programs,
					       unsigned call,
					       struct sqloom_error *err)
{
	struct program_function *function;
	enum sqloom_status status = SQLOOM_OK;

	if (!programs->calls[call].function)
		status = make(programs, call, err);
	if (status)
		return status;
	function = programs->calls[call].function;
	pthread_mutex_lock(&function->mutex);
	assert(!function->running);
	function->go = function->running = true;
	pthread_cond_signal(&function->wake);
	pthread_mutex_unlock(&function->mutex);
	return SQLOOM_OK;
}

/* ---- What the loop sees ------------------------------------------------------ */

enum sqloom_status slm_programs_function_result(struct programs *programs,
						unsigned call,
						struct sqloom_error *err)
{
	struct program_function *function = programs->calls[call].function;
	struct program *program = &programs->calls[call];

	program->failed = function->failed;
	return slm_function_result(&function->call, function->failed,
				   function->returned, programs->run,
				   &program->result, err);
}

const char *slm_programs_point(struct programs *programs, unsigned call)
{
	struct program_function *function = programs->calls[call].function;
	const char *point = NULL;

	if (!function)
		return NULL;
	pthread_mutex_lock(&function->mutex);
	if (!function->granted)
		point = function->point;
	pthread_mutex_unlock(&function->mutex);
	return point;
}

void slm_programs_grant_point(struct programs *programs, unsigned call)
{
	struct program_function *function = programs->calls[call].function;

	pthread_mutex_lock(&function->mutex);
	function->granted = true;
	pthread_cond_signal(&function->wake);
	pthread_mutex_unlock(&function->mutex);
}

bool slm_programs_function_is_quiet(struct programs *programs, unsigned call)
{
	struct program_function *function = programs->calls[call].function;

	return slm_call_is_quiet(function->tid, &function->switches);
}

static bool is_running(struct program_function *function)
{
	bool running;

	pthread_mutex_lock(&function->mutex);
	running = function->running;
	pthread_mutex_unlock(&function->mutex);
	return running;
}

enum sqloom_status slm_programs_functions_return(struct programs *programs,
						 struct sqloom_error *err)
{
	uint64_t began_ns = slm_clock_ns();
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; i < programs->ncalls; i++) {
		struct program_function *function = programs->calls[i].function;

		while (!status && function && is_running(function)) {
			if (slm_programs_point(programs, i))
				slm_programs_grant_point(programs, i);
			status = slm_programs_turn(programs, true, err);
			if (!status && programs->options.call_limit_ms &&
			    (slm_clock_ns() - began_ns) / 1000000 >
				    programs->options.call_limit_ms)
				status = slm_error_set(
					err, SQLOOM_LIMIT,
					"call \"%s\" has not come back for more "
					"than %llu ms (call_limit_ms); its "
					"thread is left alone",
					function->call.name,
					(unsigned long long)programs->options
						.call_limit_ms);
		}
	}
	return status;
}

/* ---- The end ------------------------------------------------------------------- */

/* False: its thread never came back, and it is left alone. */
static bool end_function(struct program_function *function)
{
	struct timespec until;
	bool over = true;

	pthread_mutex_lock(&function->mutex);
	function->end = function->granted = true;
	pthread_cond_signal(&function->wake);
	pthread_mutex_unlock(&function->mutex);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += END_PATIENCE_S;
	if (function->made)
		over = pthread_timedjoin_np(function->thread, NULL, &until) ==
		       0;
	if (!over) {
		pthread_detach(function->thread);
		return false;
	}
	pthread_cond_destroy(&function->wake);
	pthread_mutex_destroy(&function->mutex);
	slm_function_deinit(&function->call);
	slm_free(function->database);
	slm_free(function->name);
	slm_free(function);
	return true;
}

bool slm_programs_end_functions(struct programs *programs)
{
	bool all = true;

	for (unsigned i = 0; i < programs->ncalls; i++) {
		if (!programs->calls[i].function)
			continue;
		all = end_function(programs->calls[i].function) && all;
		programs->calls[i].function = NULL;
	}
	slm_function_drop(&programs->errand);
	slm_function_deinit(&programs->errand);
	slm_free(programs->errand_database);
	programs->errand_database = NULL;
	return all;
}

/* ---- Set-up and check ------------------------------------------------------------ */

enum sqloom_status slm_programs_errand(struct programs *programs, sqloom_fn fn,
				       const char *name, bool *failed,
				       struct sqloom_error *err)
{
	struct sqloom_call *call = &programs->errand;

	if (!programs->errand_database)
		programs->errand_database = connection_of(programs, 0);
	if (!programs->errand_database)
		return slm_error_nomem(err);
	call->name = name;
	call->database = programs->errand_database;
	slm_function_begin(call);
	*failed = slm_function_end(call,
				   fn(call, programs->spec->functions->arg));
	return SQLOOM_OK;
}
