/* SPDX-License-Identifier: Apache-2.0 */
/* Functions behind db.h: the life of an exploration and of a run. */
#include "call/functions.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "call/functions_internal.h"

static struct functions *of(struct slm_db *base)
{
	return (struct functions *)base;
}

/* ---- A run ---------------------------------------------------------------- */

static enum sqloom_status op_run_begin(struct slm_db *base, uint32_t members,
				       unsigned variant,
				       struct slm_arena *arena,
				       struct sqloom_error *err)
{
	struct functions *functions = of(base);
	enum sqloom_status status = slm_functions_are_all_here(functions, err);

	if (!status)
		status = slm_db_run_begin(functions->db, members, variant,
					  arena, err);
	if (status)
		return status;
	functions->run = arena;
	functions->marks = functions->moves = 0;
	functions->nfailures = 0;
	slm_functions_forget_cursors(functions);
	for (unsigned i = 0; i < functions->ncalls; i++) {
		struct function *function = &functions->calls[i];

		assert(function->agent.baton.parked);
		function->started = function->over = false;
		function->stalled = function->refused = false;
		function->at = function->blocked = NULL;
	}
	atomic_fetch_add(&functions->runs, 1);
	atomic_store(&functions->running, -1);
	atomic_store_explicit(&functions->control, true, memory_order_release);
	return SQLOOM_OK;
}

static enum sqloom_status op_arrive(struct slm_db *base, unsigned call,
				    struct slm_db_arrival *arrival,
				    struct sqloom_error *err)
{
	struct functions *functions = of(base);
	struct function *function = &functions->calls[call];

	atomic_store(&functions->running, (int)call);
	if (!function->started) {
		function->started = true;
		function->began_ns = slm_clock_ns();
		function->agent.at = AT_IDLE;
		function->agent.wait_began_ms = UINT64_MAX;
		slm_baton_let_go(functions->options.baton,
				 &function->agent.baton);
	}
	return slm_functions_settle(functions, call, arrival, err);
}

/* A place for the rows of the statement that agent is about to begin. */
static bool open_cursor(struct functions *functions, struct agent *agent,
			struct slm_result *result, struct sqloom_error *err)
{
	struct cursor *cursor = &agent->cursors[CURSORS_MAX - 1];
	const char *sql = sqlite3_sql(agent->stmt);

	for (unsigned i = CURSORS_MAX; i-- > 0;)
		if (!agent->cursors[i].stmt ||
		    agent->cursors[i].stmt == agent->stmt)
			cursor = &agent->cursors[i];
	*cursor = (struct cursor){ .stmt = agent->stmt, .result = result };
	return slm_sqlite_outside_statement(functions->db, sql ? sql : "",
					    &cursor->statement,
					    err) == SQLOOM_OK;
}

/* Was the step refused for a lock? Whoever tries again at once, in a loop, must
 * not do so for ever before somebody else gets a turn. */
static void note_refusal(struct functions *functions, struct function *function)
{
	function->refused = function->result->error == SLM_ERROR_RETRY;
	function->refused_step = function->number;
	function->refused_moves = functions->moves;
}

/* Lets the thread do the step that it stands before. */
static enum sqloom_status do_step(struct functions *functions, unsigned call,
				  struct slm_db_answer *answer,
				  struct sqloom_error *err)
{
	struct function *function = &functions->calls[call];
	struct agent *agent = function->at;
	enum sqloom_status status;

	function->result =
		slm_arena_zalloc(functions->run, 1, sizeof(struct slm_result));
	if (!function->result)
		return slm_error_nomem(err);
	function->result->changes = -1;
	if (agent->stmt &&
	    !open_cursor(functions, agent, function->result, err))
		return SQLOOM_NOMEM;
	functions->moves++;
	agent->granted = agent->stmt != NULL;
	atomic_store(&agent->doing, true);
	agent->wait_began_ms = UINT64_MAX;
	slm_baton_let_go(functions->options.baton, &agent->baton);
	status = slm_functions_finish(functions, call, answer, err);
	if (!status && !answer->blocked)
		note_refusal(functions, function);
	return status;
}

/* The same step again, nobody has moved, and somebody is still in the way: it
 * waits, as its loop does. */
static bool waits_in_place(struct functions *functions, unsigned call,
			   struct slm_db_answer *answer)
{
	struct function *function = &functions->calls[call];
	struct agent *agent = function->at;
	struct slm_front_route *route;
	int owner;

	if (!function->refused || !agent->stmt ||
	    function->refused_step != function->number ||
	    function->refused_moves != functions->moves)
		return false;
	route = slm_sqlite_outside_route(functions->db);
	owner = slm_front_owner(route, sqlite3_db_handle(agent->stmt));
	if (owner < 0 ||
	    !slm_store_blockers(slm_sqlite_outside_store(functions->db),
				(unsigned)owner))
		return false;
	agent->owner_number = (unsigned)owner;
	agent->wake_at_ms = slm_sqlite_outside_now(functions->db) + 1;
	agent->blocked_since = functions->marks++;
	slm_functions_block(functions, agent, answer);
	return true;
}

static enum sqloom_status op_step(struct slm_db *base, unsigned call,
				  unsigned number, struct slm_db_answer *answer,
				  struct sqloom_error *err)
{
	struct functions *functions = of(base);

	/* It is the one that the call stands at. */
	functions->calls[call].number = number;
	atomic_store(&functions->running, (int)call);
	if (waits_in_place(functions, call, answer))
		return SQLOOM_OK;
	return do_step(functions, call, answer, err);
}

/* The blocked call goes on until it is done, or blocked again. */
static enum sqloom_status go_on(struct functions *functions, unsigned call,
				struct slm_db_answer *answer,
				struct sqloom_error *err)
{
	struct function *function = &functions->calls[call];
	struct agent *agent = function->blocked;
	enum sqloom_status status;

	function->blocked = NULL;
	function->at = agent;
	atomic_store(&functions->running, (int)call);
	if (agent->at == AT_STEP)
		return do_step(functions, call, answer, err);
	functions->moves++;
	slm_baton_let_go(functions->options.baton, &agent->baton);
	status = slm_functions_finish(functions, call, answer, err);
	if (!status && !answer->blocked)
		note_refusal(functions, function);
	return status;
}

static enum sqloom_status op_resume(struct slm_db *base, int *call,
				    struct slm_db_answer *answer,
				    struct sqloom_error *err)
{
	struct functions *functions = of(base);
	struct slm_store *store = slm_sqlite_outside_store(functions->db);
	struct agent *first = NULL;

	*call = -1;
	for (unsigned i = 0; i < functions->ncalls; i++) {
		struct agent *agent = functions->calls[i].blocked;

		if (agent && !slm_store_blockers(store, agent->owner_number) &&
		    (!first || agent->blocked_since < first->blocked_since))
			first = agent;
	}
	if (!first)
		return SQLOOM_OK;
	*call = (int)first->call;
	return go_on(functions, first->call, answer, err);
}

static enum sqloom_status op_expire(struct slm_db *base, int *call,
				    struct slm_db_answer *answer,
				    struct sqloom_error *err)
{
	struct functions *functions = of(base);

	*call = -1;
	for (;;) {
		struct agent *first = NULL;
		enum sqloom_status status;

		for (unsigned i = 0; i < functions->ncalls; i++) {
			struct agent *agent = functions->calls[i].blocked;

			if (agent &&
			    (!first || agent->wake_at_ms < first->wake_at_ms))
				first = agent;
		}
		if (!first)
			return SQLOOM_OK;
		slm_sqlite_outside_pass(functions->db, first->wake_at_ms);
		status = go_on(functions, first->call, answer, err);
		if (status)
			return status;
		if (answer->blocked)
			continue;
		*call = (int)first->call;
		return SQLOOM_OK;
	}
}

static unsigned op_nsteps(struct slm_db *base, unsigned call)
{
	return of(base)->calls[call].nsteps;
}

static enum sqloom_status op_awake(struct slm_db *base, uint32_t stalled,
				   bool patiently, int *call,
				   struct sqloom_error *err)
{
	return slm_functions_awake(of(base), stalled, patiently, call, err);
}

static bool op_in_transaction(struct slm_db *base, unsigned call)
{
	(void)base;
	(void)call;
	return false; /* a function ends its transactions itself */
}

static struct slm_db_step_info op_info(struct slm_db *base, unsigned call,
				       unsigned step)
{
	return of(base)->calls[call].steps[step].info;
}

/* ---- The end of a run ------------------------------------------------------- */

/* A function of the user's on the main thread. */
struct errand {
	struct functions *functions;
	sqloom_fn fn;
	bool failed;
};

static void do_errand(void *userdata)
{
	struct errand *errand = userdata;
	struct sqloom_call *call = &errand->functions->check;

	slm_function_begin(call);
	errand->failed = slm_function_end(
		call, errand->fn(call, errand->functions->options.calls->arg));
}

static bool runs_well(struct functions *functions, sqloom_fn fn,
		      const char *name)
{
	struct errand errand = { .functions = functions, .fn = fn };

	functions->check.name = name;
	slm_baton_on_main(functions->options.baton, do_errand, &errand);
	return !errand.failed;
}

/* The check of the user's says no. */
static enum sqloom_status add_failure(struct functions *functions,
				      struct sqloom_error *err)
{
	functions->failures = slm_arena_zalloc(functions->run, 1,
					       sizeof(*functions->failures));
	if (!functions->failures ||
	    !slm_function_failure(&functions->check, functions->run,
				  functions->failures))
		return slm_error_nomem(err);
	functions->nfailures = 1;
	return SQLOOM_OK;
}

static bool all_are_over(const struct functions *functions)
{
	for (unsigned i = 0; i < functions->ncalls; i++)
		if (functions->calls[i].started && !functions->calls[i].over)
			return false;
	return true;
}

/* A call was refused a connection, which is nothing about the call. */
static enum sqloom_status too_many_connections(struct functions *functions,
					       struct sqloom_error *err)
{
	functions->base.interrupted = true;
	return slm_error_set(err, SQLOOM_LIMIT,
			     "the calls have more than %d connections to the "
			     "database open at once: close those that are not "
			     "used any more",
			     SLM_STORE_OWNERS_MAX - 1);
}

static enum sqloom_status op_run_end(struct slm_db *base,
				     struct sqloom_error *err)
{
	struct functions *functions = of(base);
	bool whole = all_are_over(functions);
	enum sqloom_status status = slm_functions_drain(functions, err);

	if (!status)
		status = slm_db_run_end(functions->db, err);
	if (!status &&
	    slm_front_was_full(slm_sqlite_outside_route(functions->db)))
		return too_many_connections(functions, err);
	if (!status && whole && functions->options.calls->check &&
	    !runs_well(functions, functions->options.calls->check, "check"))
		status = add_failure(functions, err);
	base->blind = functions->db->blind;
	base->variants = functions->db->variants;
	if (atomic_load(&functions->elsewhere)) {
		base->blind = "statements on another SQLite file were seen, "
			      "see the notes";
		slm_functions_note(functions,
				   "statements on another SQLite file were "
				   "seen: they are not held, and what they "
				   "write is neither compared nor put back");
	}
	return status;
}

static uint64_t op_image(struct slm_db *base)
{
	struct functions *functions = of(base);

	return functions->nfailures ? 0 : slm_db_image(functions->db);
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
	struct functions *functions = of(base);
	const struct slm_check_failure *queries;
	struct slm_check_failure *all;
	uint32_t nqueries;
	enum sqloom_status status =
		slm_db_checks(functions->db, &queries, &nqueries, err);

	if (status || !functions->nfailures) {
		*failures = queries;
		*count = nqueries;
		return status;
	}
	all = slm_arena_zalloc(functions->run, nqueries + 1, sizeof(*all));
	if (!all)
		return slm_error_nomem(err);
	if (nqueries)
		memcpy(all, queries, nqueries * sizeof(*all));
	all[nqueries] = functions->failures[0];
	*failures = all;
	*count = nqueries + 1;
	return SQLOOM_OK;
}

static enum sqloom_status op_finish(struct slm_db *base,
				    struct sqloom_error *err)
{
	return slm_db_finish(of(base)->db, err);
}

/* ---- The end ------------------------------------------------------------------ */

static void free_agents(struct functions *functions)
{
	while (functions->agents) {
		struct agent *agent = functions->agents;

		functions->agents = agent->next;
		slm_free(agent);
	}
}

static void op_free(struct slm_db *base)
{
	struct functions *functions = of(base);
	bool all = slm_functions_end_threads(functions);

	/* A thread that never comes back may still use all of this. */
	if (!all) {
		slm_front_remove(slm_sqlite_outside_route(functions->db), NULL);
		slm_baton_abandon(functions->options.baton);
		return;
	}
	slm_db_free(functions->db);
	free_agents(functions);
	for (unsigned i = 0; i < functions->ncalls; i++) {
		slm_function_deinit(&functions->calls[i].call);
		slm_free(functions->calls[i].steps);
	}
	slm_function_drop(&functions->check);
	slm_function_deinit(&functions->check);
	slm_buf_deinit(&functions->values);
	pthread_mutex_destroy(&functions->mutex);
	slm_arena_deinit(&functions->arena);
	slm_free(functions);
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

const char *const *slm_functions_notes(struct slm_db *db, unsigned *count)
{
	*count = 0;
	if (db->ops != &ops)
		return NULL;
	*count = of(db)->nnotes;
	return of(db)->notes;
}

/* ---- The constructor ------------------------------------------------------------ */

static enum sqloom_status set_up(void *userdata, struct sqloom_error *err)
{
	struct functions *functions = userdata;

	if (!functions->options.calls->setup ||
	    runs_well(functions, functions->options.calls->setup, "setup"))
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_CALL, "the setup failed: %s",
			     functions->check.error);
}

static bool init_calls(struct functions *functions)
{
	for (unsigned i = 0; i < functions->ncalls; i++) {
		struct function *function = &functions->calls[i];

		function->call.number = i;
		/* A thread that never comes back outlives the spec. */
		function->call.name = slm_arena_strdup(
			&functions->arena, functions->spec->sessions[i].name);
		function->call.database = functions->path;
		function->agent.owner = functions;
		function->agent.call = i;
		function->agent.own = true;
		function->steps = slm_calloc(SLM_FUNCTION_STEPS_MAX,
					     sizeof(*function->steps));
		if (!function->call.name || !function->steps)
			return false;
	}
	return true;
}

/* Where the functions find the database: under the name of the file that seeds
 * it, or one that no file has. */
static enum sqloom_status choose_path(struct functions *functions,
				      struct sqloom_error *err)
{
	const char *database = functions->options.db.database;
	int size = database ?
			   snprintf(functions->path, sizeof(functions->path),
				    "%s", database) :
			   snprintf(functions->path, sizeof(functions->path),
				    "/tmp/sqloom-%d-memory.db", (int)getpid());

	if (size < (int)sizeof(functions->path))
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_LIMIT,
			     "the database's path has %d bytes; the most is "
			     "%zu",
			     size, sizeof(functions->path) - 1);
}

static enum sqloom_status see_statements(struct sqloom_error *err)
{
	switch (slm_sqlite_hook_install()) {
	case SQLOOM_SQLITE_LINKED:
	case SQLOOM_SQLITE_PRELOADED:
	case SQLOOM_SQLITE_EXTENSION:
		return SQLOOM_OK;
	case SQLOOM_SQLITE_ABSENT:
		break;
	}
	return slm_error_set(err, SQLOOM_USAGE,
			     "the statements of this program cannot be seen: "
			     "link it with the shared libsqlite3, start it "
			     "with LD_PRELOAD=libsqloom-sqlite.so, or load "
			     "that as an extension");
}

static enum sqloom_status open_all(struct functions *functions,
				   struct sqloom_error *err)
{
	struct slm_sqlite_outside_options outside = {
		.db = functions->options.db,
		.path = functions->path,
		.sleep = slm_functions_sleep,
		.setup = set_up,
		.userdata = functions,
	};
	enum sqloom_status status = see_statements(err);

	if (!status)
		status = slm_front_install(err);
	if (!status)
		status = slm_sqlite_outside_open(functions->spec, &outside,
						 &functions->db, err);
	if (status)
		return status;
	slm_functions_publish(functions);
	return slm_functions_start_threads(functions, err);
}

enum sqloom_status slm_functions_open(
	const struct sqloom_spec *spec,
	const struct slm_functions_options *options, struct slm_db **out,
	struct sqloom_error *err)
{
	struct functions *functions = slm_calloc(1, sizeof(*functions));
	enum sqloom_status status;

	if (!functions)
		return slm_error_nomem(err);
	slm_arena_init(&functions->arena);
	pthread_mutex_init(&functions->mutex, NULL);
	functions->base.ops = &ops;
	functions->spec = spec;
	functions->options = *options;
	functions->ncalls = spec->nsessions;
	functions->check.database = functions->path;
	atomic_store(&functions->running, -1);
	for (unsigned i = 0; i < SLM_STORE_OWNERS_MAX; i++)
		functions->call_of[i] = UINT32_MAX;
	status = choose_path(functions, err);
	if (!status && !init_calls(functions))
		status = slm_error_nomem(err);
	if (!status)
		status = open_all(functions, err);
	if (status) {
		slm_db_free(&functions->base);
		return status;
	}
	memcpy(functions->base.backend, functions->db->backend,
	       sizeof(functions->base.backend));
	functions->base.blind = functions->db->blind;
	functions->base.variants = functions->db->variants;
	*out = &functions->base;
	return SQLOOM_OK;
}
