/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs behind db.h: the life of an exploration and of a run. The rest is
 * in the files that programs_internal.h lists.
 */
#include "call/programs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "call/programs_internal.h"

static struct programs *of(struct slm_db *base)
{
	return (struct programs *)base;
}

/* ---- A run -------------------------------------------------------------- */

static enum sqloom_status op_run_begin(struct slm_db *base, uint32_t members,
				       unsigned variant,
				       struct slm_arena *arena,
				       struct sqloom_error *err)
{
	struct programs *programs = of(base);
	enum sqloom_status status;

	status = slm_db_run_begin(programs->db, members, variant, arena, err);
	if (status)
		return status;
	programs->run = arena;
	programs->running = -1;
	for (unsigned i = 0; i < programs->ncalls; i++) {
		struct program *program = &programs->calls[i];

		program->started = program->ended = program->over = false;
		program->result = NULL;
		program->failed = program->blocked = false;
		program->blockers = 0;
		program->at = NULL;
		program->at_point = false;
	}
	slm_links_forget_texts(programs);
	slm_links_control(programs, true);
	atomic_store(&programs->points, true);
	return SQLOOM_OK;
}

static enum sqloom_status op_arrive(struct slm_db *base, unsigned call,
				    struct slm_db_arrival *arrival,
				    struct sqloom_error *err)
{
	struct programs *programs = of(base);
	enum sqloom_status status = SQLOOM_OK;

	if (!programs->calls[call].started)
		status = slm_programs_start(programs, call, err);
	return status ? status :
			slm_programs_settle(programs, call, arrival, err);
}

/* The client went away before its step was granted. */
static enum sqloom_status gone(struct programs *programs,
			       struct slm_db_answer *answer,
			       struct sqloom_error *err)
{
	struct slm_result *result =
		slm_arena_zalloc(programs->run, 1, sizeof(*result));

	if (!result)
		return slm_error_nomem(err);
	result->changes = -1;
	result->error = SLM_ERROR_OTHER;
	result->code = "08006";
	result->message = "the program closed the connection before the "
			  "statement was sent";
	*answer = (struct slm_db_answer){ .result = result };
	return SQLOOM_OK;
}

/* A point is done when it is granted. */
static enum sqloom_status pass_point(struct programs *programs, unsigned call,
				     struct slm_db_answer *answer,
				     struct sqloom_error *err)
{
	struct slm_result *result =
		slm_arena_zalloc(programs->run, 1, sizeof(*result));

	if (!result)
		return slm_error_nomem(err);
	result->changes = -1;
	programs->calls[call].at_point = false;
	slm_programs_grant_point(programs, call);
	*answer = (struct slm_db_answer){ .result = result };
	return SQLOOM_OK;
}

/* Could the step wait for a lock at all? NULL: a COMMIT of ours. */
static bool may_wait(const struct slm_outside_statement *statement)
{
	return statement && !statement->local && !statement->parsed->ends &&
	       !statement->parsed->begins_only;
}

/* Could the step close a circle of waits? */
static bool may_close(const struct programs *programs, unsigned call)
{
	for (unsigned i = 0; i < programs->ncalls; i++)
		if (programs->calls[i].blocked &&
		    slm_programs_wait_for(programs, programs->calls[i].blockers,
					  call))
			return true;
	return false;
}

static enum sqloom_status op_step(struct slm_db *base, unsigned call,
				  unsigned number, struct slm_db_answer *answer,
				  struct sqloom_error *err)
{
	struct programs *programs = of(base);
	struct link *link = programs->calls[call].at;
	const struct slm_outside_statement *statement;
	const struct slm_dialog_step *step;
	const char *before;
	enum sqloom_status status;
	bool split, inside;

	(void)number; /* it is the one that the call stands at */
	programs->running = (int)call;
	if (programs->calls[call].at_point)
		return pass_point(programs, call, answer, err);
	if (!link)
		return gone(programs, answer, err);
	step = slm_dialog_step(link->dialog);
	statement = link->statement;
	inside = step->status != 'I';
	link->out.failed = step->status == 'E';
	split = statement && statement->split && step->may_split &&
		!slm_link_is_own(link);
	status = slm_outside_before(programs->db, &link->out, statement, inside,
				    split, err);
	if (status)
		return status;
	before = may_wait(statement) ?
			 slm_outside_deadlock(programs->db, &link->out,
					      may_close(programs, call)) :
			 NULL;
	link->held = false;
	link->way = slm_hash_mix(link->way, statement ? statement->hash : 0);
	if (*step->params)
		link->way =
			slm_hash(step->params, strlen(step->params), link->way);
	link->under_way = true;
	link->keeps = statement && statement->keeps_locks;
	link->holds |= statement && !statement->reads_only;
	link->stateful |= statement && statement->session_state;
	link->took |= statement && statement->takes;
	link->done = link->lost = false;
	link->result = NULL;
	status = slm_dialog_grant(link->dialog, split, before, err);
	if (status)
		return status;
	slm_relay_go_on(link->connection);
	return slm_programs_finish(programs, call, answer, err);
}

/* The blocked call that began to wait next after `since`; -1. */
static int next_blocked(const struct programs *programs, uint64_t since)
{
	int next = -1;

	for (unsigned i = 0; i < programs->ncalls; i++) {
		const struct program *program = &programs->calls[i];

		if (program->blocked && program->blocked_since > since &&
		    (next < 0 || program->blocked_since <
					 programs->calls[next].blocked_since))
			next = (int)i;
	}
	return next;
}

/* Who is in the way of a blocked call now? With nobody it goes on, and must be
 * looked at. */
static enum sqloom_status look_again(struct programs *programs, unsigned call,
				     struct sqloom_error *err)
{
	struct program *program = &programs->calls[call];
	enum sqloom_status status =
		slm_programs_blockers(programs, call, &program->blockers, err);

	program->stale = !program->blockers;
	return status;
}

static enum sqloom_status op_resume(struct slm_db *base, int *call,
				    struct slm_db_answer *answer,
				    struct sqloom_error *err)
{
	struct programs *programs = of(base);
	uint64_t since = 0;
	int next;

	*call = -1;
	while ((next = next_blocked(programs, since)) >= 0) {
		struct program *program = &programs->calls[next];
		enum sqloom_status status =
			slm_programs_turn(programs, false, err);

		since = program->blocked_since;
		if (!status && program->stale && !program->at->done)
			status = look_again(programs, (unsigned)next, err);
		if (status)
			return status;
		if (!program->at->done && program->blockers)
			continue;
		programs->running = next;
		status = slm_programs_finish(programs, (unsigned)next, answer,
					     err);
		if (status)
			return status;
		if (answer->blocked)
			continue;
		*call = next;
		return SQLOOM_OK;
	}
	return SQLOOM_OK;
}

/* All that are left are blocked: until one of the waits ends. */
static enum sqloom_status op_expire(struct slm_db *base, int *call,
				    struct slm_db_answer *answer,
				    struct sqloom_error *err)
{
	struct programs *programs = of(base);
	enum sqloom_status status = SQLOOM_OK;

	*call = -1;
	while (!status && *call < 0) {
		for (unsigned i = 0; i < programs->ncalls && *call < 0; i++)
			if (programs->calls[i].blocked &&
			    programs->calls[i].at->done)
				*call = (int)i;
		if (*call < 0)
			status = slm_programs_wait_blocked(programs, err);
	}
	return status ? status :
			slm_programs_finish(programs, (unsigned)*call, answer,
					    err);
}

static unsigned op_nsteps(struct slm_db *base, unsigned call)
{
	return of(base)->calls[call].nsteps;
}

static enum sqloom_status op_awake(struct slm_db *base, uint32_t stalled,
				   bool patiently, int *call,
				   struct sqloom_error *err)
{
	return slm_programs_any(of(base), stalled, patiently, call, err);
}

static bool op_in_transaction(struct slm_db *base, unsigned call)
{
	(void)base;
	(void)call;
	return false; /* a program ends its transactions itself */
}

static struct slm_db_step_info op_info(struct slm_db *base, unsigned call,
				       unsigned step)
{
	return of(base)->calls[call].steps[step].info;
}

/* ---- The end of a run ---------------------------------------------------- */

static void end_calls(struct programs *programs)
{
	for (unsigned i = 0; i < programs->ncalls; i++) {
		struct program *program = &programs->calls[i];

		if (program->http)
			slm_http_cancel(program->http);
		program->http = NULL;
		slm_process_free(program->process, 0);
		program->process = NULL;
	}
}

/* No step is asked for any more. A connection that was lost in the middle of
 * one has waited for that. */
static void drop_steps(struct programs *programs)
{
	for (unsigned i = 0; i < programs->ncalls; i++) {
		struct program *program = &programs->calls[i];

		if (program->at && program->at->lost)
			slm_free(program->at);
		program->at = NULL;
		program->blocked = false;
	}
}

/* Was the run not cut off? */
static bool all_are_over(const struct programs *programs)
{
	for (unsigned i = 0; i < programs->ncalls; i++)
		if (programs->calls[i].started && !programs->calls[i].over)
			return false;
	return true;
}

/* Commands and functions that look at what a run left. */
static enum sqloom_status check(struct programs *programs,
				struct sqloom_error *err)
{
	const struct sqloom_calls *functions = programs->spec->functions;
	bool asked = functions && functions->check, failed = false;
	enum sqloom_status status = SQLOOM_OK;

	if (!programs->spec->nchecks && !asked)
		return SQLOOM_OK;
	programs->failures = slm_arena_zalloc(programs->run,
					      programs->spec->nchecks + 1,
					      sizeof(*programs->failures));
	if (!programs->failures)
		return slm_error_nomem(err);
	if (programs->spec->nchecks)
		status = slm_programs_check(programs, programs->failures,
					    &programs->nfailures, err);
	if (!status && asked)
		status = slm_programs_errand(programs, functions->check,
					     "check", &failed, err);
	if (status || !failed)
		return status;
	return slm_function_failure(
		       &programs->errand, programs->run,
		       &programs->failures[programs->nfailures++]) ?
		       SQLOOM_OK :
		       slm_error_nomem(err);
}

static enum sqloom_status op_run_end(struct slm_db *base,
				     struct sqloom_error *err)
{
	struct programs *programs = of(base);
	bool whole = all_are_over(programs);
	enum sqloom_status status;

	programs->running = -1;
	/* Still under control: what a call would send now must not pass. */
	end_calls(programs);
	atomic_store(&programs->points, false);
	slm_links_control(programs, false);
	status = slm_programs_functions_return(programs, err);
	if (!status)
		status = slm_links_clean(programs, err);
	drop_steps(programs);
	programs->nfailures = 0;
	programs->failures = NULL;
	if (!status && whole)
		status = check(programs, err);
	if (!status)
		status = slm_db_run_end(programs->db, err);
	base->wants_clone = false;
	base->blind = programs->db->blind;
	return status;
}

static uint64_t op_image(struct slm_db *base)
{
	struct programs *programs = of(base);

	/* What a check command says is not known before it was run. */
	return programs->nfailures ? 0 : slm_db_image(programs->db);
}

static enum sqloom_status op_contents(struct slm_db *base,
				      struct slm_contents *out,
				      struct sqloom_error *err)
{
	return slm_db_contents(of(base)->db, out, err);
}

static enum sqloom_status op_checks(struct slm_db *base,
				    const struct slm_check_failure **failures,
				    uint32_t *count, struct sqloom_error *err)
{
	struct programs *programs = of(base);
	const struct slm_check_failure *theirs;
	struct slm_check_failure *all;
	uint32_t ntheirs;
	enum sqloom_status status =
		slm_db_checks(programs->db, &theirs, &ntheirs, err);

	if (status)
		return status;
	all = slm_arena_zalloc(programs->run, ntheirs + programs->nfailures,
			       sizeof(*all));
	if (!all)
		return slm_error_nomem(err);
	if (ntheirs)
		memcpy(all, theirs, ntheirs * sizeof(*all));
	if (programs->nfailures)
		memcpy(all + ntheirs, programs->failures,
		       programs->nfailures * sizeof(*all));
	*failures = all;
	*count = ntheirs + programs->nfailures;
	return SQLOOM_OK;
}

/* ---- The end ----------------------------------------------------------------- */

static void stop_servers(struct programs *programs)
{
	while (programs->nservers)
		slm_process_free(programs->servers[--programs->nservers], 2000);
}

static enum sqloom_status op_finish(struct slm_db *base,
				    struct sqloom_error *err)
{
	struct programs *programs = of(base);

	stop_servers(programs);
	slm_relay_stop(programs->relay);
	programs->relay = NULL;
	return slm_db_finish(programs->db, err);
}

static void close_loop(struct programs *programs)
{
	if (!programs->loop_open)
		return;
	uv_close((uv_handle_t *)&programs->ticker, NULL);
	if (programs->ending.loop)
		uv_close((uv_handle_t *)&programs->ending, NULL);
	while (uv_run(&programs->loop, UV_RUN_DEFAULT))
		;
	(void)uv_loop_close(&programs->loop);
	if (programs->ending_fd >= 0)
		close(programs->ending_fd);
}

static void op_free(struct slm_db *base)
{
	struct programs *programs = of(base);

	end_calls(programs);
	/* A thread that never comes back may still use all of this. */
	if (!slm_programs_end_functions(programs))
		return;
	stop_servers(programs);
	slm_relay_stop(programs->relay);
	drop_steps(programs);
	slm_http_free(programs->http);
	slm_db_free(programs->db);
	close_loop(programs);
	for (unsigned i = 0; i < programs->ncalls; i++) {
		slm_free(programs->calls[i].environment);
		slm_free(programs->calls[i].steps);
	}
	slm_free(programs->texts);
	slm_arena_deinit(&programs->scratch);
	slm_arena_deinit(&programs->parsed);
	slm_arena_deinit(&programs->arena);
	slm_free(programs);
}

static const struct slm_db_ops ops = {
	.free = op_free,
	.info = op_info,
	.run_begin = op_run_begin,
	.step = op_step,
	.resume = op_resume,
	.expire = op_expire,
	.arrive = op_arrive,
	.nsteps = op_nsteps,
	.awake = op_awake,
	.in_transaction = op_in_transaction,
	.run_end = op_run_end,
	.image = op_image,
	.contents = op_contents,
	.checks = op_checks,
	.finish = op_finish,
};

/* ---- The constructor ------------------------------------------------------------ */

static enum sqloom_status read_calls(struct programs *programs,
				     struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; !status && i < programs->ncalls; i++) {
		const struct slm_spec_session *spec =
			&programs->spec->sessions[i];
		struct program *program = &programs->calls[i];

		program->steps = slm_calloc(SLM_PROGRAM_STEPS_MAX,
					    sizeof(*program->steps));
		if (!program->steps)
			return slm_error_nomem(err);
		if (spec->call != SLM_CALL_HTTP)
			continue;
		status = slm_http_read(spec->text.text, &programs->arena,
				       &program->request, err);
		if (status)
			slm_spec_error_place(programs->spec, spec->text.line,
					     spec->text.column, err);
	}
	return status;
}

enum sqloom_status slm_programs_open(const struct sqloom_spec *spec,
				     const struct slm_programs_options *options,
				     struct slm_db **out,
				     struct sqloom_error *err)
{
	struct programs *programs = slm_calloc(1, sizeof(*programs));
	enum sqloom_status status;

	if (!programs)
		return slm_error_nomem(err);
	slm_arena_init(&programs->arena);
	slm_arena_init(&programs->scratch);
	slm_arena_init(&programs->parsed);
	programs->base.ops = &ops;
	programs->base.variants = 2;
	programs->spec = spec;
	programs->options = *options;
	programs->ncalls = spec->nsessions;
	programs->running = -1;
	programs->ending_fd = -1;
	programs->texts = slm_calloc(TEXTS_MAX, sizeof(*programs->texts));
	status = programs->texts ? read_calls(programs, err) :
				   slm_error_nomem(err);
	if (!status)
		status = slm_pg_step_read("CALL unread()", &programs->arena,
					  &programs->unread, err);
	if (!status)
		status = slm_programs_prepare(programs, err);
	if (!status)
		status = slm_outside_open(spec, &options->pg,
					  slm_programs_set_up, programs,
					  &programs->db, err);
	if (!status)
		status = slm_links_see_levels(programs, err);
	if (status) {
		slm_db_free(&programs->base);
		return status;
	}
	snprintf(programs->base.backend, sizeof(programs->base.backend), "%s",
		 programs->db->backend);
	programs->base.note = programs->db->note;
	programs->base.blind = programs->db->blind;
	programs->base.variants = programs->db->variants;
	*out = &programs->base;
	return SQLOOM_OK;
}

const char *const *slm_programs_notes(struct slm_db *db, unsigned *count)
{
	*count = 0;
	if (db->ops != &ops)
		return NULL;
	*count = of(db)->nnotes;
	return of(db)->notes;
}
