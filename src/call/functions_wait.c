/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver waits for: that a call stands at its next step, waits for a
 * lock, is over, or does nothing although the database is not why (it waits for
 * a lock of the program's own, sleeps, or waits for something else). The last
 * is found by time, and only while its threads are asleep.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "call/functions_internal.h"
#include "call/http.h"
#include "sql/sql.h"

void slm_functions_note(struct functions *functions, const char *fmt, ...)
{
	char text[400];
	va_list arguments;

	va_start(arguments, fmt);
	vsnprintf(text, sizeof(text), fmt, arguments);
	va_end(arguments);
	for (unsigned i = 0; i < functions->nnotes; i++)
		if (strcmp(functions->notes[i], text) == 0)
			return;
	if (functions->nnotes == NOTES_MAX)
		return;
	functions->notes[functions->nnotes] =
		slm_arena_strdup(&functions->arena, text);
	functions->nnotes += functions->notes[functions->nnotes] != NULL;
}

/* ---- Asleep? --------------------------------------------------------------- */

/* Nothing has parked for a tick. For how long has every thread of the call been
 * asleep? */
static uint64_t quiet_ms(struct functions *functions, unsigned call)
{
	struct agent *own = &functions->calls[call].agent;
	bool quiet = slm_call_is_quiet(own->tid, &own->switches);

	pthread_mutex_lock(&functions->mutex);
	for (struct agent *agent = functions->agents; agent;
	     agent = agent->next)
		if (agent->call == call && !agent->baton.parked)
			quiet = slm_thread_is_quiet(agent->tid,
						    &agent->switches) &&
				quiet;
	pthread_mutex_unlock(&functions->mutex);
	own->quiet_ms = quiet ? own->quiet_ms + SLM_BATON_TICK_MS : 0;
	return own->quiet_ms;
}

/* The call does not come back. */
static enum sqloom_status give_up(struct functions *functions, unsigned call,
				  struct sqloom_error *err)
{
	functions->base.interrupted = true;
	functions->calls[call].lost = true;
	if (atomic_load(&functions->calls[call].gone))
		return slm_error_set(
			err, SQLOOM_LIMIT,
			"call \"%s\" has ended its thread (pthread_exit): it "
			"is to return",
			functions->calls[call].call.name);
	return slm_error_set(
		err, SQLOOM_LIMIT,
		"call \"%s\" has not come back for more than %llu ms "
		"(call_limit_ms); its thread is left alone",
		functions->calls[call].call.name,
		(unsigned long long)functions->options.call_limit_ms);
}

enum sqloom_status slm_functions_are_all_here(struct functions *functions,
					      struct sqloom_error *err)
{
	for (unsigned i = 0; i < functions->ncalls; i++)
		if (functions->calls[i].lost)
			return slm_error_set(
				err, SQLOOM_LIMIT,
				"call \"%s\" has never come back: nothing "
				"can be run any more",
				functions->calls[i].call.name);
	return SQLOOM_OK;
}

/* Lets threads run until one parks. False: a tick has passed; *status says if
 * the exploration shall end. */
static bool wait_for(struct functions *functions, unsigned call,
		     enum sqloom_status *status, struct sqloom_error *err)
{
	const struct slm_sqlite_options *db = &functions->options.db;
	uint64_t ns;

	if (slm_baton_wait(functions->options.baton))
		return true;
	ns = slm_clock_ns() - functions->calls[call].began_ns;
	if (atomic_load(&functions->calls[call].gone) ||
	    (functions->options.call_limit_ms &&
	     ns / 1000000 > functions->options.call_limit_ms)) {
		*status = give_up(functions, call, err);
	} else if (db->goes_on && !db->goes_on(db->goes_on_userdata)) {
		functions->base.interrupted = true;
		*status = slm_error_set(err, SQLOOM_LIMIT,
					"stopped in the middle of a run");
	}
	return false;
}

/* ---- Arrivals -------------------------------------------------------------- */

static bool stands(const struct agent *agent, unsigned call, enum place at)
{
	return agent->call == call && agent->baton.parked && agent->at == at;
}

/* The thread of the call that stands there; NULL: none does. */
static struct agent *standing(struct functions *functions, unsigned call,
			      enum place at)
{
	struct agent *found = NULL;

	if (stands(&functions->calls[call].agent, call, at))
		return &functions->calls[call].agent;
	pthread_mutex_lock(&functions->mutex);
	for (struct agent *agent = functions->agents; agent && !found;
	     agent = agent->next)
		if (stands(agent, call, at))
			found = agent;
	pthread_mutex_unlock(&functions->mutex);
	return found;
}

static enum sqloom_status number(struct functions *functions, unsigned call,
				 const struct slm_db_step_info *info,
				 uint32_t *out, struct sqloom_error *err)
{
	struct function *function = &functions->calls[call];
	uint64_t hash = slm_hash(info->sql, strlen(info->sql), 0);
	struct function_step *step;

	for (unsigned i = 0; i < function->nsteps; i++)
		if (function->steps[i].hash == hash) {
			*out = i;
			return SQLOOM_OK;
		}
	if (function->nsteps == SLM_FUNCTION_STEPS_MAX)
		return slm_error_set(
			err, SQLOOM_LIMIT,
			"call \"%s\" has sent more than %d different "
			"statements: bind values as parameters",
			function->call.name, SLM_FUNCTION_STEPS_MAX);
	step = &function->steps[function->nsteps];
	*step = (struct function_step){ .hash = hash, .info = *info };
	step->info.sql = slm_arena_strdup(&functions->arena, info->sql);
	if (!step->info.sql)
		return slm_error_nomem(err);
	*out = function->nsteps++;
	return SQLOOM_OK;
}

/* Its text with the values apart, and its number. */
static enum sqloom_status learn(struct functions *functions, unsigned call,
				sqlite3_stmt *stmt,
				const struct slm_sqlite_outside_statement *known,
				struct told *out, struct sqloom_error *err)
{
	struct slm_db_step_info info = { .sql = known->sql,
					 .reads = known->reads,
					 .writes = known->writes,
					 .local = known->local };
	enum sqloom_status status = SQLOOM_OK;
	struct told told = { .known = known,
			     .bound = sqlite3_bind_parameter_count(stmt) > 0 };
	struct slm_buf text, values;
	bool lifted = false;

	slm_buf_init(&text);
	slm_buf_init(&values);
	if (told.bound) {
		char *expanded = sqlite3_expanded_sql(stmt);

		lifted = expanded &&
			 slm_sql_lift_bound(info.sql, expanded, &text, &values);
		sqlite3_free(expanded);
	} else if (!info.local) {
		lifted = slm_sql_lift_literals(info.sql, &text, &values);
	}
	if (slm_buf_failed(&text) || slm_buf_failed(&values))
		status = slm_error_nomem(err);
	if (!status && lifted)
		info.sql = text.data;
	if (!status && lifted && !told.bound) {
		told.params = slm_arena_strdup(&functions->arena, values.data);
		if (!told.params)
			status = slm_error_nomem(err);
	}
	if (!status)
		status = number(functions, call, &info, &told.step, err);
	if (!status)
		*out = told;
	slm_buf_deinit(&text);
	slm_buf_deinit(&values);
	return status;
}

/* The values of its parameters, in the run's arena. */
static enum sqloom_status values_of(struct functions *functions,
				    sqlite3_stmt *stmt, const char *sql,
				    const char **out, struct sqloom_error *err)
{
	char *expanded = sqlite3_expanded_sql(stmt);
	enum sqloom_status status = SQLOOM_OK;
	struct slm_buf *values = &functions->values;

	if (expanded && slm_sql_lift_bound(sql, expanded, NULL, values)) {
		*out = slm_buf_failed(values) ?
			       NULL :
			       slm_arena_strdup(functions->run, values->data);
		if (!*out)
			status = slm_error_nomem(err);
	}
	sqlite3_free(expanded);
	return status;
}

/* The statement as it is told: values apart from the text. */
static enum sqloom_status tell(struct functions *functions, unsigned call,
			       sqlite3_stmt *stmt,
			       const struct slm_sqlite_outside_statement *known,
			       struct slm_db_arrival *arrival,
			       struct sqloom_error *err)
{
	struct told *told =
		&functions->calls[call]
			 .told[((uintptr_t)known >> 6) & (TOLD_MAX - 1)];
	enum sqloom_status status = SQLOOM_OK;

	if (told->known != known)
		status = learn(functions, call, stmt, known, told, err);
	if (status)
		return status;
	arrival->step = told->step;
	arrival->params = told->params;
	return told->bound ? values_of(functions, stmt, known->sql,
				       &arrival->params, err) :
			     SQLOOM_OK;
}

static enum sqloom_status at_point(struct functions *functions, unsigned call,
				   const char *name,
				   struct slm_db_arrival *arrival,
				   struct sqloom_error *err)
{
	struct slm_db_step_info info = { .reads = "", .writes = "" };
	char text[SLM_POINT_TEXT];

	slm_function_point_text(name, text);
	info.sql = text;
	return number(functions, call, &info, &arrival->step, err);
}

static enum sqloom_status at_step(struct functions *functions,
				  struct agent *agent,
				  struct slm_db_arrival *arrival,
				  struct sqloom_error *err)
{
	const struct slm_sqlite_outside_statement *known;
	enum sqloom_status status;
	const char *sql;

	functions->calls[agent->call].at = agent;
	*arrival = (struct slm_db_arrival){ .kind = SLM_ARRIVAL_STEP };
	if (!agent->stmt)
		return at_point(functions, agent->call, agent->point, arrival,
				err);
	sql = sqlite3_sql(agent->stmt);
	status = slm_sqlite_outside_statement(functions->db, sql ? sql : "",
					      &known, err);
	if (status)
		return status;
	arrival->local = known->local;
	return tell(functions, agent->call, agent->stmt, known, arrival, err);
}

static enum sqloom_status at_end(struct functions *functions, unsigned call,
				 struct slm_db_arrival *arrival,
				 struct sqloom_error *err)
{
	struct function *function = &functions->calls[call];
	bool failed = slm_function_end(&function->call, function->returned);

	if (function->left_open)
		slm_functions_note(functions,
				   "call \"%s\" returned in the middle of a "
				   "transaction, which was rolled back",
				   function->call.name);
	function->over = true;
	function->at = NULL;
	atomic_store(&functions->running, -1);
	*arrival = (struct slm_db_arrival){ .kind = SLM_ARRIVAL_END,
					    .failed = failed };
	return slm_function_result(&function->call, failed, function->returned,
				   functions->run, &arrival->result, err);
}

static enum sqloom_status stalled(struct functions *functions, unsigned call,
				  struct slm_db_arrival *arrival)
{
	functions->calls[call].stalled = true;
	atomic_store(&functions->running, -1);
	*arrival = (struct slm_db_arrival){
		.kind = SLM_ARRIVAL_STALLED,
		.what = "it does nothing, and no lock in the database is why",
	};
	return SQLOOM_OK;
}

/* Has it come to where the runner wants to know of it? */
static bool has_settled(struct functions *functions, unsigned call)
{
	return standing(functions, call, AT_STEP) ||
	       standing(functions, call, AT_END);
}

enum sqloom_status slm_functions_settle(struct functions *functions,
					unsigned call,
					struct slm_db_arrival *arrival,
					struct sqloom_error *err)
{
	struct function *function = &functions->calls[call];
	enum sqloom_status status = SQLOOM_OK;

	if (function->stalled && !has_settled(functions, call))
		return stalled(functions, call, arrival);
	function->stalled = false;
	function->agent.quiet_ms = 0;
	while (!status) {
		struct agent *agent = standing(functions, call, AT_STEP);

		if (agent)
			return at_step(functions, agent, arrival, err);
		if (standing(functions, call, AT_END))
			return at_end(functions, call, arrival, err);
		if (!wait_for(functions, call, &status, err) && !status &&
		    quiet_ms(functions, call) >=
			    functions->options.stall_after_ms)
			return stalled(functions, call, arrival);
	}
	return status;
}

/* ---- A step ----------------------------------------------------------------- */

static uint32_t calls_of(const struct functions *functions, uint32_t owners)
{
	uint32_t calls = 0;

	for (; owners; owners &= owners - 1) {
		unsigned call = functions->call_of[__builtin_ctz(owners)];

		if (call < functions->ncalls)
			calls |= 1u << call;
	}
	return calls;
}

void slm_functions_block(struct functions *functions, struct agent *agent,
			 struct slm_db_answer *answer)
{
	struct slm_store *store = slm_sqlite_outside_store(functions->db);

	functions->calls[agent->call].blocked = agent;
	*answer = (struct slm_db_answer){
		.blocked = true,
		.blocked_by = calls_of(functions,
				       slm_store_blockers(store,
							  agent->owner_number)),
		.what = slm_store_wait_text(store, agent->owner_number),
	};
}

enum sqloom_status slm_functions_finish(struct functions *functions,
					unsigned call,
					struct slm_db_answer *answer,
					struct sqloom_error *err)
{
	struct function *function = &functions->calls[call];
	struct agent *agent = function->at;
	enum sqloom_status status = SQLOOM_OK;

	function->agent.quiet_ms = 0;
	function->stalled = false;
	/* Another thread of the call may stand at a step all the while. */
	while (atomic_load(&agent->doing) || !has_settled(functions, call)) {
		if (stands(agent, call, AT_BLOCKED)) {
			slm_functions_block(functions, agent, answer);
			return SQLOOM_OK;
		}
		if (!wait_for(functions, call, &status, err) && !status &&
		    quiet_ms(functions, call) >=
			    functions->options.stall_after_ms) {
			function->stalled = true;
			break;
		}
		if (status)
			return status;
	}
	if (atomic_load(&functions->nomem))
		return slm_error_nomem(err);
	*answer = (struct slm_db_answer){ .result = function->result };
	if (agent->wait_began_ms != UINT64_MAX)
		answer->waited_ms =
			(uint32_t)(slm_sqlite_outside_now(functions->db) -
				   agent->wait_began_ms);
	return SQLOOM_OK;
}

/* ---- Stalled calls ------------------------------------------------------------ */

/* What a stalled call waited for may just have come: has anybody woken up? */
static bool all_asleep(struct functions *functions, uint32_t calls)
{
	for (; calls; calls &= calls - 1) {
		struct agent *agent =
			&functions->calls[__builtin_ctz(calls)].agent;

		if (!slm_call_is_quiet(agent->tid, &agent->switches))
			return false;
	}
	return true;
}

enum sqloom_status slm_functions_awake(struct functions *functions,
				       uint32_t stalled, bool patiently,
				       int *call, struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	*call = -1;
	while (!status) {
		for (uint32_t left = stalled; left; left &= left - 1)
			if (has_settled(functions,
					(unsigned)__builtin_ctz(left))) {
				*call = __builtin_ctz(left);
				atomic_store(&functions->running, *call);
				return SQLOOM_OK;
			}
		if (!patiently && all_asleep(functions, stalled))
			return SQLOOM_OK;
		(void)wait_for(functions, (unsigned)__builtin_ctz(stalled),
			       &status, err);
	}
	return status;
}

/* ---- The end -------------------------------------------------------------------- */

enum sqloom_status slm_functions_until_parked(struct functions *functions,
					      struct agent *agent,
					      struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	unsigned call = agent->call;

	functions->calls[call].began_ns = slm_clock_ns();
	while (!status && !agent->baton.parked)
		(void)wait_for(functions, call, &status, err);
	return status;
}

void slm_functions_let_go(struct functions *functions)
{
	for (unsigned i = 0; i < functions->ncalls; i++) {
		struct agent *agent = &functions->calls[i].agent;

		if (!agent->baton.parked || agent->at == AT_IDLE ||
		    agent->at == AT_END)
			continue;
		slm_baton_let_go(functions->options.baton, &agent->baton);
	}
	pthread_mutex_lock(&functions->mutex);
	for (struct agent *agent = functions->agents; agent;
	     agent = agent->next)
		if (agent->baton.parked)
			slm_baton_let_go(functions->options.baton,
					 &agent->baton);
	pthread_mutex_unlock(&functions->mutex);
}

/* Until its function has returned. */
static enum sqloom_status see_off(struct functions *functions, unsigned call,
				  struct sqloom_error *err)
{
	struct function *function = &functions->calls[call];
	uint64_t began_ns = slm_clock_ns();
	uint64_t patience_ms = functions->base.interrupted ?
				       FUNCTION_PATIENCE_MS :
				       functions->options.call_limit_ms;

	while (!stands(&function->agent, call, AT_END)) {
		if (function->lost || atomic_load(&function->gone) ||
		    (slm_clock_ns() - began_ns) / 1000000 > patience_ms)
			return give_up(functions, call, err);
		/* One may have parked although there is no control any more:
		 * it had looked just before. */
		slm_functions_let_go(functions);
		(void)slm_baton_wait(functions->options.baton);
	}
	return SQLOOM_OK;
}

enum sqloom_status slm_functions_drain(struct functions *functions,
				       struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	atomic_store_explicit(&functions->control, false, memory_order_release);
	atomic_store(&functions->running, -1);
	slm_functions_let_go(functions);
	for (unsigned i = 0; !status && i < functions->ncalls; i++) {
		struct function *function = &functions->calls[i];

		if (!function->started || function->over)
			continue;
		status = see_off(functions, i, err);
		function->over = true;
		function->blocked = NULL;
	}
	return status;
}
