/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exploring functions of the program itself: a spec is made of them, and then
 * all is as for other calls. On SQLite the exploration is the driver of a
 * baton, and runs on whatever thread is at hand; what the caller has given to
 * be called back is called on the thread that the caller came with.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "call/baton.h"
#include "call/function.h"
#include "pg/pg.h"
#include "spec/spec.h"

/* One exploration of functions at a time: they share the process. */
static atomic_flag busy = ATOMIC_FLAG_INIT;

struct job {
	const struct sqloom_spec *spec;
	const struct sqloom_options *given;
	struct sqloom_options options; /* as given, but for what is called */
	struct slm_baton *baton;       /* NULL: PostgreSQL */
	const char *token;	       /* NULL: explore */
	const struct sqloom_report *recorded;
	struct sqloom_report **out;
	struct sqloom_error *err;
	enum sqloom_status status;
};

void sqloom_calls_init(struct sqloom_calls *calls)
{
	*calls = (struct sqloom_calls){ 0 };
}

/* Set-up, check and progress are called on the thread that explores. */
static _Thread_local bool exploring;

/* ---- The spec ------------------------------------------------------------ */

/* A name that reports can show, and that tells its call from the others. */
static enum sqloom_status check_name(const struct sqloom_calls *calls, size_t i,
				     struct sqloom_error *err)
{
	const char *name = calls->calls[i].name;

	if (!name)
		return SQLOOM_OK;
	if (!*name || strlen(name) > SLM_SPEC_NAME_MAX || strpbrk(name, "\n\r"))
		return slm_error_set(
			err, SQLOOM_USAGE,
			"the name of call %zu has %zu bytes%s; "
			"give one line of 1 to %d, or NULL",
			i + 1, strlen(name),
			strpbrk(name, "\n\r") ? " and more than one line" : "",
			SLM_SPEC_NAME_MAX);
	for (size_t j = 0; j < i; j++)
		if (calls->calls[j].name &&
		    strcmp(calls->calls[j].name, name) == 0)
			return slm_error_set(err, SQLOOM_USAGE,
					     "calls %zu and %zu are both "
					     "called \"%s\": give one of them "
					     "another name",
					     j + 1, i + 1, name);
	return SQLOOM_OK;
}

static enum sqloom_status check_calls(const struct sqloom_calls *calls,
				      struct sqloom_error *err)
{
	if (!calls || !calls->calls || calls->ncalls < 2)
		return slm_error_set(
			err, SQLOOM_USAGE,
			"%zu call%s to explore; give at least 2",
			calls && calls->calls ? calls->ncalls : 0,
			calls && calls->calls && calls->ncalls == 1 ? "" : "s");
	if (calls->ncalls > SQLOOM_EXPLORED_MAX)
		return slm_error_set(err, SQLOOM_USAGE,
				     "%zu calls to explore; the most is %d",
				     calls->ncalls, SQLOOM_EXPLORED_MAX);
	for (size_t i = 0; i < calls->ncalls; i++)
		if (!calls->calls[i].fn)
			return slm_error_set(err, SQLOOM_USAGE,
					     "call %zu (%s) has no function",
					     i + 1,
					     calls->calls[i].name ?
						     calls->calls[i].name :
						     "without a name");
	for (size_t i = 0; i < calls->ncalls; i++) {
		enum sqloom_status status = check_name(calls, i, err);

		if (status)
			return status;
	}
	if (exploring)
		return slm_error_set(err, SQLOOM_USAGE,
				     "an exploration inside of the setup, the "
				     "check or the progress function of "
				     "another: move it out of there");
	if (slm_function_is_explored())
		return slm_error_set(err, SQLOOM_USAGE,
				     "an exploration inside of a call that is "
				     "being explored: move it out of the "
				     "function");
	return SQLOOM_OK;
}

static enum sqloom_status build(const struct sqloom_calls *calls,
				struct slm_arena *arena,
				struct sqloom_spec **out,
				struct sqloom_error *err)
{
	size_t n = calls->ncalls, nqueries = 0;
	struct sqloom_part *parts;
	enum sqloom_status status;

	while (calls->queries && calls->queries[nqueries])
		nqueries++;
	parts = slm_arena_zalloc(arena, n + nqueries, sizeof(*parts));
	if (!parts)
		return slm_error_nomem(err);
	for (size_t i = 0; i < n; i++) {
		const char *name = calls->calls[i].name;

		if (!name)
			name = slm_arena_printf(arena, "call %zu", i + 1);
		if (!name)
			return slm_error_nomem(err);
		parts[i] = (struct sqloom_part){ .kind = SQLOOM_PART_FUNCTION,
						 .name = name,
						 .text = "of the program" };
	}
	for (size_t i = 0; i < nqueries; i++)
		parts[n + i] =
			(struct sqloom_part){ .kind = SQLOOM_PART_CHECK,
					      .text = calls->queries[i] };
	status = sqloom_spec_build(parts, n + nqueries,
				   calls->name ? calls->name : "calls", out,
				   err);
	if (!status)
		(*out)->functions = calls;
	return status;
}

/* ---- The exploration ------------------------------------------------------- */

struct question {
	struct job *job;
	const struct sqloom_progress *progress;
	bool answer;
};

static void ask(void *userdata)
{
	struct question *question = userdata;
	const struct sqloom_options *given = question->job->given;

	question->answer = given->progress(question->progress, given->userdata);
}

static bool progress(const struct sqloom_progress *progress, void *userdata)
{
	struct question question = { .job = userdata, .progress = progress };

	slm_baton_on_main(question.job->baton, ask, &question);
	return question.answer;
}

static void do_job(void *userdata)
{
	struct job *job = userdata;

	job->status = job->token ? sqloom_replay(job->spec, job->token,
						 job->recorded, &job->options,
						 job->out, job->err) :
				   sqloom_explore(job->spec, &job->options,
						  job->out, job->err);
}

static enum sqloom_status do_driven(struct job *job, struct sqloom_spec *spec,
				    struct sqloom_error *err)
{
	enum sqloom_status status = slm_baton_new(&job->baton, err);

	if (status)
		return status;
	if (job->given->progress) {
		job->options.progress = progress;
		job->options.userdata = job;
	}
	spec->baton = job->baton;
	slm_baton_drive(job->baton, do_job, job);
	slm_baton_free(job->baton);
	return job->status;
}

static enum sqloom_status run(const struct sqloom_calls *calls,
			      const char *token,
			      const struct sqloom_report *recorded,
			      const struct sqloom_options *options,
			      struct sqloom_report **out,
			      struct sqloom_error *err)
{
	struct job job = { .given = options,
			   .options = *options,
			   .token = token,
			   .recorded = recorded,
			   .out = out,
			   .err = err };
	bool postgres =
		options->pg_temp ||
		(options->database && slm_pg_is_conninfo(options->database));
	struct sqloom_spec *spec = NULL;
	struct slm_arena arena;
	enum sqloom_status status;

	slm_arena_init(&arena);
	status = build(calls, &arena, &spec, err);
	job.spec = spec;
	if (!status && postgres) {
		do_job(&job);
		status = job.status;
	} else if (!status) {
		status = do_driven(&job, spec, err);
	}
	sqloom_spec_free(spec);
	slm_arena_deinit(&arena);
	return status;
}

static enum sqloom_status run_alone(const struct sqloom_calls *calls,
				    const char *token,
				    const struct sqloom_report *recorded,
				    const struct sqloom_options *options,
				    struct sqloom_report **out,
				    struct sqloom_error *err)
{
	enum sqloom_status status = check_calls(calls, err);
	struct sqloom_options defaults;

	if (!status && !out)
		status = slm_error_set(err, SQLOOM_USAGE,
				       "no place for the report: out is NULL");
	if (status)
		return status;
	sqloom_options_init(&defaults);
	if (!options)
		options = &defaults;
	if (atomic_flag_test_and_set(&busy))
		return slm_error_set(err, SQLOOM_USAGE,
				     "another thread of this process explores "
				     "calls; wait until it has ended");
	exploring = true;
	status = run(calls, token, recorded, options, out, err);
	exploring = false;
	atomic_flag_clear(&busy);
	return status;
}

enum sqloom_status sqloom_explore_calls(const struct sqloom_calls *calls,
					const struct sqloom_options *options,
					struct sqloom_report **out,
					struct sqloom_error *err)
{
	return run_alone(calls, NULL, NULL, options, out, err);
}

enum sqloom_status sqloom_replay_calls(const struct sqloom_calls *calls,
				       const char *token,
				       const struct sqloom_report *recorded,
				       const struct sqloom_options *options,
				       struct sqloom_report **out,
				       struct sqloom_error *err)
{
	if (!token)
		return slm_error_set(err, SQLOOM_USAGE,
				     "no token to replay: give that of a "
				     "finding");
	return run_alone(calls, token, recorded, options, out, err);
}
