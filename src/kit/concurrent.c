/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Concurrent calls: what is asked for is checked here, before anything is
 * started. May use the rest of kit, and call/function.h through it.
 */
#include "kit/concurrent.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

#define TIMEOUT_MS 60000

void sqloom_calls_options_init(struct sqloom_calls_options *options)
{
	memset(options, 0, sizeof(*options));
	options->timeout_ms = TIMEOUT_MS;
}

/* ---- Checks ------------------------------------------------------------ */

static enum sqloom_status check_count(size_t ncalls, struct sqloom_error *err)
{
	if (ncalls == 0)
		return slm_error_set(err, SQLOOM_USAGE,
				     "no call was given; at least one is "
				     "needed");
	if (ncalls > SQLOOM_CALLS_MAX)
		return slm_error_set(err, SQLOOM_USAGE,
				     "%zu calls were given; at most %d can run "
				     "at once (SQLOOM_CALLS_MAX), so make them "
				     "in several batches",
				     ncalls, SQLOOM_CALLS_MAX);
	return SQLOOM_OK;
}

static enum sqloom_status check_arg(const struct sqloom_function *call,
				    const char *name, struct sqloom_error *err)
{
	if (call->arg && !call->arg_size)
		return slm_error_set(err, SQLOOM_USAGE,
				     "%s has an arg, but its arg_size is 0; a "
				     "clean process gets a copy, so say how "
				     "many bytes",
				     name);
	if (!call->arg && call->arg_size)
		return slm_error_set(err, SQLOOM_USAGE,
				     "%s has an arg_size of %zu, but its arg "
				     "is NULL",
				     name, call->arg_size);
	if (call->arg_size > SQLOOM_VALUE_MAX)
		return slm_error_set(err, SQLOOM_USAGE,
				     "%s has an arg of %zu bytes; at most %zu "
				     "(SQLOOM_VALUE_MAX) can be copied, so "
				     "put it into a file",
				     name, call->arg_size, SQLOOM_VALUE_MAX);
	return SQLOOM_OK;
}

static enum sqloom_status check_environment(const struct sqloom_function *call,
					    const char *name, bool process,
					    struct sqloom_error *err)
{
	const char *const *variables = call->environment;

	if (!variables || !variables[0])
		return SQLOOM_OK;
	if (!process)
		return slm_error_set(err, SQLOOM_USAGE,
				     "%s has an environment of its own, but "
				     "threads share the program's; use clean "
				     "processes (sqloom_processes_start())",
				     name);
	for (size_t i = 0; variables[i]; i++)
		if (variables[i][0] == '=' || !strchr(variables[i], '='))
			return slm_error_set(err, SQLOOM_USAGE,
					     "%s has \"%s\" in its "
					     "environment; write NAME=value",
					     name, variables[i]);
	return SQLOOM_OK;
}

static enum sqloom_status check_call(const struct sqloom_function *call,
				     size_t index, bool process,
				     struct sqloom_error *err)
{
	char text[SLM_CALL_NAME_MAX];
	const char *name = slm_call_name(call, index, text);
	enum sqloom_status status;

	if (!call->fn)
		return slm_error_set(err, SQLOOM_USAGE,
				     "%s has no function: its fn is NULL",
				     name);
	status = check_environment(call, name, process, err);
	if (!status && process)
		status = check_arg(call, name, err);
	return status;
}

static enum sqloom_status check(const struct sqloom_function *calls,
				size_t ncalls, bool process,
				struct sqloom_results **out,
				struct sqloom_error *err)
{
	enum sqloom_status status = check_count(ncalls, err);

	if (!status && !calls)
		status = slm_error_set(err, SQLOOM_USAGE,
				       "calls is NULL, although ncalls is %zu",
				       ncalls);
	if (!status && !out)
		status = slm_error_set(err, SQLOOM_USAGE,
				       "out is NULL: there is no place for the "
				       "results");
	for (size_t i = 0; !status && i < ncalls; i++)
		status = check_call(&calls[i], i, process, err);
	return status;
}

/* ---- The calls --------------------------------------------------------- */

enum sqloom_status sqloom_make_concurrent_calls(
	const struct sqloom_function *calls, size_t ncalls,
	const struct sqloom_calls_options *options, struct sqloom_results **out,
	struct sqloom_error *err)
{
	struct sqloom_calls_options defaults;
	struct slm_batch batch = { .calls = calls, .ncalls = ncalls };
	struct sqloom_results *results;
	enum sqloom_status status;

	sqloom_calls_options_init(&defaults);
	if (!options)
		options = &defaults;
	batch.timeout_ms = options->timeout_ms;
	batch.database = options->database;
	status = check(calls, ncalls, options->processes, out, err);
	if (status)
		return status;
	results = slm_results_new(calls, ncalls);
	if (!results)
		return slm_error_nomem(err);
	status = options->processes ? slm_processes_run(options->processes,
							&batch, results, err) :
				      slm_threads_run(&batch, results, err);
	if (!status)
		status = slm_results_finish(results, err);
	if (status)
		sqloom_results_free(results);
	else
		*out = results;
	return status;
}

enum sqloom_status sqloom_call_concurrently(
	size_t n, sqloom_fn fn, void *arg, size_t arg_size,
	const struct sqloom_calls_options *options, struct sqloom_results **out,
	struct sqloom_error *err)
{
	enum sqloom_status status = check_count(n, err);
	struct sqloom_function *calls;

	if (status)
		return status;
	calls = slm_calloc(n, sizeof(*calls));
	if (!calls)
		return slm_error_nomem(err);
	for (size_t i = 0; i < n; i++) {
		calls[i].fn = fn;
		calls[i].arg = arg;
		calls[i].arg_size = arg_size;
	}
	status = sqloom_make_concurrent_calls(calls, n, options, out, err);
	slm_free(calls);
	return status;
}

enum sqloom_status sqloom_test_concurrently(size_t times, sqloom_fn fn,
					    void *arg, struct sqloom_error *err)
{
	struct sqloom_results *results;
	char line[sizeof(err->message)];
	enum sqloom_status status = sqloom_call_concurrently(
		times, fn, arg, 0, NULL, &results, err);

	if (status)
		return status;
	if (sqloom_results_failed(results)) {
		slm_results_line(results, line, sizeof(line));
		status = slm_error_set(err, SQLOOM_CALL, "%s", line);
	}
	sqloom_results_free(results);
	return status;
}
