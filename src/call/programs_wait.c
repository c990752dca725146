/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the loop until a call has come to something that the runner wants to
 * know. Whether a statement waits for a lock is asked of the server, at once
 * and without a clock; only a call that does nothing at all (it waits for a
 * lock inside of the program, sleeps, or waits for another service) is found
 * by time, and only while every thread of its program is asleep.
 */
#include <poll.h>
#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "call/programs_internal.h"

#define ASK_AGAIN_MS 5	  /* a statement that takes longer is slow */
#define PATIENCE_MS 2	  /* for a step that never waited so far */
#define OTHERS_US 2000	  /* between looks at threads that are awake */
#define GIVE_WAY_US 50	  /* between questions about a step that may wait */
#define RESUMED_US 300	  /* for one that nobody is in the way of now */
#define LOOK_FROM_MS 10	  /* programs are looked at from here on */
#define LOOK_MAX_MS 5	  /* one look tells of no longer time */
#define WAKE_QUIET_MS 10  /* asleep for so long: nothing has woken it up */
#define AFTER_END_TURNS 3 /* for what a program does behind its answer */

static uint64_t now_ms(void)
{
	return slm_clock_ns() / 1000000;
}

static const char *name_of(const struct programs *programs, unsigned call)
{
	return programs->spec->sessions[call].name;
}

/* ---- One turn of the loop ------------------------------------------------ */

static enum sqloom_status server_ended(const struct slm_process *server,
				       struct sqloom_error *err)
{
	const char *text = slm_process_errors(server, NULL, NULL);
	size_t size = strlen(text);

	if (!size) {
		text = slm_process_output(server, NULL, NULL);
		size = strlen(text);
	}
	while (size && (text[size - 1] == '\n' || text[size - 1] == ' '))
		size--;
	return slm_error_set(
		err, SQLOOM_DATABASE,
		"the program's server has ended with status %d%s%.*s%s",
		slm_process_status(server),
		size ? "; the end of what it said: " : "",
		(int)(size > 300 ? 300 : size),
		text + (size > 300 ? size - 300 : 0),
		size ? "" : " and said nothing");
}

static enum sqloom_status interrupted(struct programs *programs,
				      struct sqloom_error *err)
{
	programs->base.interrupted = true;
	return slm_error_set(err, SQLOOM_LIMIT,
			     "stopped in the middle of a run");
}

/* Is there nothing that ends the run? */
static enum sqloom_status look_around(struct programs *programs,
				      struct sqloom_error *err)
{
	const struct slm_postgres_options *pg = &programs->options.pg;

	for (unsigned i = 0; i < programs->nservers; i++)
		if (slm_process_has_ended(programs->servers[i]))
			return server_ended(programs->servers[i], err);
	if (pg->goes_on && !pg->goes_on(pg->goes_on_userdata))
		return interrupted(programs, err);
	return SQLOOM_OK;
}

enum sqloom_status slm_programs_turn(struct programs *programs, bool wait,
				     struct sqloom_error *err)
{
	if (wait)
		uv_timer_again(&programs->ticker);
	uv_run(&programs->loop, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
	if (programs->status) {
		enum sqloom_status status = programs->status;

		if (err)
			*err = programs->err;
		programs->status = SQLOOM_OK;
		return status;
	}
	return wait ? look_around(programs, err) : SQLOOM_OK;
}

/* Sleeps until something comes, or for so long; less than a tick. */
static enum sqloom_status rest(struct programs *programs, long us,
			       struct sqloom_error *err)
{
	struct pollfd loop = { .fd = uv_backend_fd(&programs->loop),
			       .events = POLLIN };
	struct timespec limit = { .tv_nsec = us * 1000 };
	enum sqloom_status status;

	(void)ppoll(&loop, 1, &limit, NULL);
	status = slm_programs_turn(programs, false, err);
	return status ? status : look_around(programs, err);
}

/* ---- Asleep? ------------------------------------------------------------- */

/* Can we see what the call's program does? */
static bool is_visible(const struct programs *programs, unsigned call)
{
	return programs->calls[call].process || programs->nservers;
}

/* Does nothing go on for the call: neither on a connection nor in a program? */
static bool is_quiet(struct programs *programs, unsigned call)
{
	const struct program *program = &programs->calls[call];

	for (struct link *link = programs->links; link; link = link->next)
		if (link->out.call == (int)call && !link->held &&
		    (!link->open || !slm_dialog_is_quiet(link->dialog)))
			return false;
	if (program->process)
		return slm_process_is_quiet(program->process);
	if (program->function)
		return slm_programs_function_is_quiet(programs, call);
	for (unsigned i = 0; i < programs->nservers; i++)
		if (!slm_process_is_quiet(programs->servers[i]))
			return false;
	return true;
}

/* How long a call has been asleep, as far as we have looked: on a busy machine
 * we are not always there, and what happened meanwhile we have not seen. */
struct sleep {
	uint64_t began_ms, looked_ms, quiet_ms;
	uint64_t marks;
};

static void sleep_begin(struct programs *programs, struct sleep *sleep)
{
	sleep->began_ms = sleep->looked_ms = now_ms();
	sleep->quiet_ms = 0;
	sleep->marks = programs->marks;
}

static uint64_t sleep_ms(struct programs *programs, struct sleep *sleep,
			 unsigned call)
{
	uint64_t now = now_ms(), gap = now - sleep->looked_ms;

	sleep->looked_ms = now;
	if (now - sleep->began_ms < LOOK_FROM_MS)
		return 0;
	if (sleep->marks != programs->marks || !is_quiet(programs, call)) {
		sleep->marks = programs->marks;
		sleep->quiet_ms = 0;
	} else {
		sleep->quiet_ms += gap < LOOK_MAX_MS ? gap : LOOK_MAX_MS;
	}
	return sleep->quiet_ms;
}

/* ---- Steps ---------------------------------------------------------------- */

/* The number of a text among those of the call. */
static enum sqloom_status number(struct programs *programs, unsigned call,
				 const struct slm_db_step_info *info,
				 uint64_t hash, uint32_t *out,
				 struct sqloom_error *err)
{
	struct program *program = &programs->calls[call];
	struct program_step *step;

	/* Few different texts: a search finds soon. */
	for (unsigned i = 0; i < program->nsteps; i++)
		if (program->steps[i].hash == hash &&
		    program->steps[i].info.implicit == info->implicit) {
			*out = i;
			return SQLOOM_OK;
		}
	if (program->nsteps == SLM_PROGRAM_STEPS_MAX)
		return slm_error_set(
			err, SQLOOM_LIMIT,
			"call \"%s\" has sent more than %d different "
			"statements: pass values as parameters, not in the "
			"text",
			name_of(programs, call), SLM_PROGRAM_STEPS_MAX);
	step = &program->steps[program->nsteps];
	*step = (struct program_step){ .hash = hash, .info = *info };
	step->info.sql = slm_arena_strdup(&programs->arena, info->sql);
	step->info.reads = slm_arena_strdup(&programs->arena,
					    info->reads ? info->reads : "");
	step->info.writes = slm_arena_strdup(&programs->arena,
					     info->writes ? info->writes : "");
	if (!step->info.sql || !step->info.reads || !step->info.writes)
		return slm_error_nomem(err);
	*out = program->nsteps++;
	return SQLOOM_OK;
}

static enum sqloom_status look_up(struct programs *programs, struct link *link,
				  const struct slm_dialog_step *step,
				  struct sqloom_error *err)
{
	const char *sql = step->kind == SLM_DIALOG_FUNCTION ?
				  "CALL function_call()" :
				  step->sql;
	enum sqloom_status status = SQLOOM_OK;

	link->statement = link->query = NULL;
	if (step->kind == SLM_DIALOG_COMMIT)
		return SQLOOM_OK;
	if (step->query)
		status = slm_outside_statement(programs->db, step->query,
					       step->query_size, &link->query,
					       err);
	return status ? status :
			slm_outside_statement(programs->db, sql, strlen(sql),
					      &link->statement, err);
}

/* The call stands at the step that link holds. */
static enum sqloom_status at_step(struct programs *programs, unsigned call,
				  struct link *link,
				  struct slm_db_arrival *arrival,
				  struct sqloom_error *err)
{
	const struct slm_dialog_step *step = slm_dialog_step(link->dialog);
	const char *values = step->params;
	struct slm_db_step_info info = { .sql = "COMMIT", .implicit = true };
	uint64_t hash = 0;
	enum sqloom_status status = look_up(programs, link, step, err);

	if (status)
		return status;
	if (link->statement) {
		const struct slm_outside_statement *known = link->statement;
		bool lifted;

		info.reads = known->reads;
		info.writes = known->writes;
		info.local = slm_link_is_own(link);
		info.implicit = false;
		lifted = !*values && known->lifted &&
			 (!info.local || known->varies);
		info.sql = lifted ? known->lifted : known->sql;
		hash = lifted ? known->lifted_hash : known->hash;
		if (lifted)
			values = known->values;
	}
	programs->calls[call].at = link;
	*arrival = (struct slm_db_arrival){ .kind = SLM_ARRIVAL_STEP,
					    .local = info.local };
	status = number(programs, call, &info, hash, &arrival->step, err);
	programs->calls[call].number = arrival->step;
	if (status || !*values)
		return status;
	arrival->params = slm_arena_strdup(programs->run, values);
	return arrival->params ? SQLOOM_OK : slm_error_nomem(err);
}

/* The call stands at a point of its function. */
static enum sqloom_status at_point(struct programs *programs, unsigned call,
				   const char *name,
				   struct slm_db_arrival *arrival,
				   struct sqloom_error *err)
{
	struct program *program = &programs->calls[call];
	struct slm_db_step_info info = { 0 };
	char text[SLM_POINT_TEXT];
	enum sqloom_status status;

	slm_function_point_text(name, text);
	info.sql = text;
	program->at = NULL;
	program->at_point = true;
	*arrival = (struct slm_db_arrival){ .kind = SLM_ARRIVAL_STEP };
	status = number(programs, call, &info, slm_hash(text, strlen(text), 0),
			&arrival->step, err);
	program->number = arrival->step;
	return status;
}

/* ---- Settling --------------------------------------------------------------- */

static enum sqloom_status over_limit(struct programs *programs, unsigned call,
				     const char *what, struct sqloom_error *err)
{
	programs->base.interrupted = true;
	return slm_error_set(
		err, SQLOOM_LIMIT,
		"call \"%s\" %s for more than %llu ms "
		"(--call-limit)",
		name_of(programs, call), what,
		(unsigned long long)programs->options.call_limit_ms);
}

static bool is_over_limit(const struct programs *programs, unsigned call)
{
	uint64_t ns = slm_clock_ns() - programs->calls[call].began_ns;

	return programs->options.call_limit_ms &&
	       ns / 1000000 > programs->options.call_limit_ms;
}

/* Its command or request has ended, and nothing of it is open. */
static bool is_over(struct programs *programs, unsigned call)
{
	const struct program *program = &programs->calls[call];

	if (!program->ended)
		return false;
	return program->process ? !slm_links_any(programs, call) :
				  !slm_links_busy(programs, call);
}

/* What a program does behind its answer, before it sleeps, is its own. */
static enum sqloom_status look_behind(struct programs *programs,
				      struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	for (int i = 0; !status && i < AFTER_END_TURNS; i++) {
		sched_yield();
		status = slm_programs_turn(programs, false, err);
	}
	return status;
}

static void end_of(struct programs *programs, unsigned call,
		   struct slm_db_arrival *arrival)
{
	struct program *program = &programs->calls[call];

	program->over = true;
	program->at = NULL;
	if (programs->running == (int)call)
		programs->running = -1;
	*arrival = (struct slm_db_arrival){ .kind = SLM_ARRIVAL_END,
					    .result = program->result,
					    .failed = program->failed };
}

/* It has given its answer, and sleeps in a transaction. */
static void note_open(struct programs *programs, unsigned call)
{
	slm_programs_note(programs,
			  "call \"%s\" gives its answer, but leaves a "
			  "connection in a transaction: others may wait for "
			  "its locks, and its work may never be committed",
			  name_of(programs, call));
}

/* Another thread of the call may be about to send something, too: *settled if
 * all are asleep, and nothing came in meanwhile. */
static enum sqloom_status others_settle(struct programs *programs,
					unsigned call, bool *settled,
					struct sqloom_error *err)
{
	uint64_t marks = programs->marks;
	bool quiet = is_quiet(programs, call);
	enum sqloom_status status =
		quiet ? slm_programs_turn(programs, false, err) :
			rest(programs, OTHERS_US, err);

	*settled = quiet && marks == programs->marks;
	if (!status && !*settled && is_over_limit(programs, call))
		status = over_limit(programs, call, "is at work", err);
	return status;
}

enum sqloom_status slm_programs_settle(struct programs *programs, unsigned call,
				       struct slm_db_arrival *arrival,
				       struct sqloom_error *err)
{
	struct program *program = &programs->calls[call];
	struct sleep sleep;
	const char *point;
	bool looked = false;
	enum sqloom_status status = SQLOOM_OK;

	programs->running = (int)call;
	sleep_begin(programs, &sleep);
	while (!status) {
		struct link *link = slm_links_held(programs, call);

		if (slm_links_ending(programs, call) &&
		    !is_over_limit(programs, call)) {
			status = slm_programs_turn(programs, true, err);
			continue;
		}
		program->several |= slm_links_several(programs, call);
		if (link && program->several) {
			bool settled;

			status = others_settle(programs, call, &settled, err);
			if (status || !settled)
				continue;
		}
		if (link)
			return at_step(programs, call, link, arrival, err);
		point = slm_programs_point(programs, call);
		if (point)
			return at_point(programs, call, point, arrival, err);
		if (is_over(programs, call) &&
		    (looked || programs->options.start)) {
			end_of(programs, call, arrival);
			return SQLOOM_OK;
		}
		if (is_over(programs, call)) {
			/* A function has closed what it closes before its end
			 * is told. */
			looked = true;
			status = program->function ?
					 slm_programs_turn(programs, false,
							   err) :
					 look_behind(programs, err);
			continue;
		}
		if (sleep_ms(programs, &sleep, call) >=
		    programs->options.stall_after_ms) {
			if (program->ended && !program->process) {
				note_open(programs, call);
				end_of(programs, call, arrival);
				return SQLOOM_OK;
			}
			programs->running = -1;
			*arrival = (struct slm_db_arrival){
				.kind = SLM_ARRIVAL_STALLED,
				.what = "it does nothing, and no lock in the "
					"database is why",
			};
			return SQLOOM_OK;
		}
		if (is_over_limit(programs, call))
			return over_limit(programs, call, "is at work", err);
		status = slm_programs_turn(programs, true, err);
	}
	return status;
}

/* ---- Waiting in the database -------------------------------------------------- */

static uint32_t call_of_pid(const struct programs *programs, int pid)
{
	for (struct link *link = programs->links; link; link = link->next)
		if (link->out.pid == pid && link->out.call >= 0)
			return 1u << link->out.call;
	return 0;
}

/* Could somebody wait for what this connection holds? */
static bool holds(const struct link *link, unsigned other_than)
{
	return link->out.call >= 0 && link->out.call != (int)other_than &&
	       link->open &&
	       (link->under_way || slm_dialog_status(link->dialog) != 'I');
}

static uint32_t holders(const struct programs *programs, unsigned call)
{
	uint32_t mask = 0;

	for (struct link *link = programs->links; link; link = link->next)
		if (holds(link, call))
			mask |= 1u << link->out.call;
	return mask;
}

/* Does nobody hold anything that the step was ever seen to wait for? A guess,
 * which only decides how soon the server is asked. */
static bool hardly_waits(const struct programs *programs, unsigned call)
{
	const struct program *program = &programs->calls[call];
	const struct slm_outside_statement *statement = program->at->statement;
	uint32_t calls = program->steps[program->number].blocked_by;
	bool whole = statement && statement->locks_tables;

	for (struct link *link = programs->links; link; link = link->next)
		if (link->out.call >= 0 && (calls & (1u << link->out.call)) &&
		    (link->stateful || link->holds ||
		     (whole && holds(link, call))))
			return false;
	return true;
}

enum sqloom_status slm_programs_blockers(struct programs *programs,
					 unsigned call, uint32_t *calls,
					 struct sqloom_error *err)
{
	const struct link *waits = programs->calls[call].at;
	int ours[SLM_PG_BLOCKERS_MAX], pids[SLM_PG_BLOCKERS_MAX];
	unsigned nours = 0, npids = 0;
	enum sqloom_status status;

	*calls = 0;
	/* Idle ones, too: a session keeps its advisory locks. */
	for (struct link *link = programs->links;
	     link && nours < SLM_PG_BLOCKERS_MAX; link = link->next)
		if (link->out.call >= 0 && link->out.call != (int)call &&
		    link->open)
			ours[nours++] = link->out.pid;
	if (!nours || waits->lost)
		return SQLOOM_OK;
	status = slm_outside_blockers(programs->db, waits->out.pid, ours, nours,
				      pids, &npids, NULL, err);
	for (unsigned i = 0; !status && i < npids; i++)
		*calls |= call_of_pid(programs, pids[i]);
	*calls &= ~(1u << call);
	return status;
}

bool slm_programs_wait_for(const struct programs *programs, uint32_t from,
			   unsigned call)
{
	uint32_t seen = 0;

	while (from & ~seen) {
		unsigned next = (unsigned)__builtin_ctz(from & ~seen);

		if (next == call)
			return true;
		seen |= 1u << next;
		if (programs->calls[next].blocked)
			from |= programs->calls[next].blockers;
	}
	return false;
}

/* The connection was lost in the middle. */
static const struct slm_result *lost_result(struct programs *programs)
{
	struct slm_result *result =
		slm_arena_zalloc(programs->run, 1, sizeof(*result));

	if (!result)
		return NULL;
	result->changes = -1;
	result->error = SLM_ERROR_OTHER;
	result->code = "08006";
	result->message = "the connection was closed in the middle of the "
			  "statement";
	return result;
}

/* The step has its answer. */
static enum sqloom_status take(struct programs *programs, unsigned call,
			       struct slm_db_answer *answer,
			       struct sqloom_error *err)
{
	struct program *program = &programs->calls[call];
	struct link *link = program->at;
	enum sqloom_status status = SQLOOM_OK;

	link->done = false;
	program->at = NULL;
	program->blocked = false;
	program->blockers = 0;
	*answer = (struct slm_db_answer){ .result = link->result };
	link->result = NULL;
	if (!link->lost) {
		char now = slm_dialog_status(link->dialog);

		return slm_outside_after(programs->db, &link->out, now != 'I',
					 err);
	}
	if (!answer->result)
		answer->result = lost_result(programs);
	if (!answer->result)
		status = slm_error_nomem(err);
	slm_outside_forget(&link->out);
	slm_free(link);
	return status;
}

static enum sqloom_status give_blocked(struct programs *programs, unsigned call,
				       uint32_t blockers,
				       struct slm_db_answer *answer,
				       struct sqloom_error *err)
{
	struct program *program = &programs->calls[call];
	const struct slm_outside_statement *statement = program->at->statement;

	if (!program->blocked)
		program->blocked_since = ++programs->marks;
	program->blocked = true;
	program->stale = false;
	program->blockers = blockers;
	*answer = (struct slm_db_answer){ .blocked = true,
					  .blocked_by = blockers,
					  .what = statement ?
							  statement->waits_for :
							  "a lock" };
	return slm_outside_after(programs->db, &program->at->out, true, err);
}

/* A circle of waits, which the server ends: until one of it is done. */
static enum sqloom_status wait_for_victim(struct programs *programs,
					  unsigned call,
					  struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	for (;;) {
		for (unsigned i = 0; i < programs->ncalls; i++) {
			const struct program *other = &programs->calls[i];

			if ((i == call || other->blocked) && other->at &&
			    other->at->done)
				return SQLOOM_OK;
		}
		if (is_over_limit(programs, call))
			return over_limit(programs, call, "waits in a deadlock",
					  err);
		status = slm_programs_turn(programs, true, err);
		if (status)
			return status;
	}
}

static enum sqloom_status cancel(struct programs *programs, unsigned call,
				 struct sqloom_error *err)
{
	enum sqloom_status status = slm_outside_cancel(
		programs->db, programs->calls[call].at->out.pid, err);

	if (status)
		return status;
	programs->base.interrupted = true;
	return slm_error_set(err, SQLOOM_LIMIT,
			     "cancelled a statement of call \"%s\", which took "
			     "longer than --statement-limit",
			     name_of(programs, call));
}

static bool is_too_slow(const struct programs *programs, uint64_t began_ms)
{
	uint64_t limit = programs->options.pg.statement_limit_ms;

	return limit && now_ms() - began_ms > limit;
}

/* The statement waits for these calls. *leave: that is what is told; else the
 * circle that it closed is open again. */
static enum sqloom_status waits(struct programs *programs, unsigned call,
				uint32_t blockers, bool *leave,
				struct slm_db_answer *answer,
				struct sqloom_error *err)
{
	struct program *program = &programs->calls[call];
	enum sqloom_status status =
		give_blocked(programs, call, blockers, answer, err);

	*leave = true;
	program->steps[program->number].blocked_by |= blockers;
	if (status || !slm_programs_wait_for(programs, blockers, call))
		return status;
	status = wait_for_victim(programs, call, err);
	*leave = !status && !program->at->done;
	return status;
}

/* The server's process, which shares our CPU, comes to its answer or to its
 * lock before it is asked about. Mostly it does when we yield. But if it has
 * used up its share, question after question and their answers would keep it
 * from the CPU for a millisecond: so then we sleep. */
static enum sqloom_status give_way(struct programs *programs,
				   const struct program *program,
				   unsigned asked, struct sqloom_error *err)
{
	if (program->blocked)
		return rest(programs, RESUMED_US, err);
	if (asked)
		return rest(programs, GIVE_WAY_US, err);
	sched_yield();
	return slm_programs_turn(programs, false, err);
}

enum sqloom_status slm_programs_finish(struct programs *programs, unsigned call,
				       struct slm_db_answer *answer,
				       struct sqloom_error *err)
{
	struct program *program = &programs->calls[call];
	/* One whose way is free again is done soon. */
	bool patient = !program->blocked && hardly_waits(programs, call);
	unsigned asked = 0;
	uint64_t began_ms = now_ms();
	enum sqloom_status status = SQLOOM_OK;

	while (!status) {
		uint32_t blockers = 0;
		bool leave = false;

		if (program->at->done)
			return take(programs, call, answer, err);
		if (patient && now_ms() - began_ms < PATIENCE_MS) {
			status = slm_programs_turn(programs, true, err);
			continue;
		}
		status = give_way(programs, program, asked++, err);
		if (status || program->at->done)
			continue;
		status = slm_programs_blockers(programs, call, &blockers, err);
		if (!status)
			status = slm_programs_turn(programs, false, err);
		if (!status && blockers && !program->at->done)
			status = waits(programs, call, blockers, &leave, answer,
				       err);
		if (status || leave)
			return status;
		if (program->at->done)
			continue;
		if (is_too_slow(programs, began_ms))
			return cancel(programs, call, err);
		if (now_ms() - began_ms >= ASK_AGAIN_MS + PATIENCE_MS ||
		    !holders(programs, call))
			status = slm_programs_turn(programs, true, err);
	}
	return status;
}

enum sqloom_status slm_programs_wait_blocked(struct programs *programs,
					     struct sqloom_error *err)
{
	for (unsigned i = 0; i < programs->ncalls; i++)
		if (programs->calls[i].blocked && is_over_limit(programs, i))
			return over_limit(programs, i,
					  "waits for a lock that nobody gives "
					  "up",
					  err);
	return slm_programs_turn(programs, true, err);
}

/* ---- Several calls ---------------------------------------------------------- */

/* A stalled call that has settled, or a blocked one that is done; -1. */
static int ready(struct programs *programs, uint32_t stalled)
{
	for (unsigned i = 0; i < programs->ncalls; i++)
		if ((stalled & (1u << i)) &&
		    (slm_links_held(programs, i) || is_over(programs, i)))
			return (int)i;
	return -1;
}

static bool any_blocked_done(const struct programs *programs)
{
	for (unsigned i = 0; i < programs->ncalls; i++)
		if (programs->calls[i].blocked && programs->calls[i].at &&
		    programs->calls[i].at->done)
			return true;
	return false;
}

/* So long nothing has to happen before a stalled call is still stalled. */
static uint64_t patience_ms(struct programs *programs, uint32_t stalled)
{
	unsigned first = (unsigned)__builtin_ctz(stalled);

	return is_visible(programs, first) ? WAKE_QUIET_MS :
					     programs->options.stall_after_ms;
}

enum sqloom_status slm_programs_any(struct programs *programs, uint32_t stalled,
				    bool patiently, int *call,
				    struct sqloom_error *err)
{
	unsigned first = (unsigned)__builtin_ctz(stalled);
	struct sleep sleep;
	enum sqloom_status status = SQLOOM_OK;

	/* What comes now is of a call that wakes up: of several, of the first. */
	programs->running = (int)first;
	sleep_begin(programs, &sleep);
	while (!status) {
		*call = ready(programs, stalled);
		if (*call >= 0 || any_blocked_done(programs))
			return SQLOOM_OK;
		if (!patiently && sleep_ms(programs, &sleep, first) >=
					  patience_ms(programs, stalled))
			return SQLOOM_OK;
		if (is_over_limit(programs, first))
			return over_limit(programs, first, "does nothing", err);
		status = slm_programs_turn(programs, true, err);
	}
	return status;
}
