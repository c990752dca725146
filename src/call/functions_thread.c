/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs on the threads of the calls: the functions, and the hooks by which
 * their statements, waits and points park. A thread that the exploration has not
 * made is one that a call has started: what it does belongs to the call that
 * runs.
 *
 * Between being let go and parking a thread has its agent to itself.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "call/functions_internal.h"

#define END_PATIENCE_MS 2000 /* for threads that do not come back */

static _Thread_local struct agent *self;
static _Thread_local uint64_t self_generation; /* of self's functions */
static _Atomic uint64_t generations;

static void point(void *userdata, const char *name);

void slm_functions_publish(struct functions *functions)
{
	if (functions)
		functions->generation = atomic_fetch_add(&generations, 1) + 1;
	slm_function_publish_points(functions ? point : NULL, functions);
}

/* ---- Agents --------------------------------------------------------------- */

static struct agent *new_agent(struct functions *functions)
{
	struct agent *agent = slm_calloc(1, sizeof(*agent));

	if (!agent) {
		atomic_store(&functions->nomem, true);
		return NULL;
	}
	agent->owner = functions;
	agent->tid = (pid_t)syscall(SYS_gettid);
	pthread_mutex_lock(&functions->mutex);
	agent->next = functions->agents;
	functions->agents = agent;
	pthread_mutex_unlock(&functions->mutex);
	self = agent;
	self_generation = functions->generation;
	return agent;
}

/* The agent of this thread, if what it does now is to be held. */
static struct agent *held_agent(struct functions *functions)
{
	int running = atomic_load(&functions->running);
	struct agent *agent = self;

	if (!atomic_load_explicit(&functions->control, memory_order_acquire) ||
	    slm_baton_drives())
		return NULL;
	if (agent && self_generation == functions->generation && agent->own)
		return agent;
	if (running < 0)
		return NULL;
	if (!agent || self_generation != functions->generation)
		agent = new_agent(functions);
	if (agent)
		agent->call = (unsigned)running;
	return agent;
}

static void park(struct agent *agent, enum place at)
{
	agent->at = at;
	slm_baton_park(agent->owner->options.baton, &agent->baton);
}

/* ---- Statements ------------------------------------------------------------ */

static struct cursor *find_cursor(struct agent *agent, const sqlite3_stmt *stmt)
{
	for (unsigned i = 0; i < CURSORS_MAX; i++)
		if (agent->cursors[i].stmt == stmt)
			return &agent->cursors[i];
	return NULL;
}

/* So that what it leaves open can be ended. */
static void keep_handle(struct function *function, sqlite3 *db, int owner,
			uint64_t serial)
{
	for (unsigned i = 0; i < function->nhandles; i++)
		if (function->handles[i].owner == owner) {
			function->handles[i] =
				(struct handle){ db, owner, serial };
			return;
		}
	if (function->nhandles < HANDLES_MAX)
		function->handles[function->nhandles++] =
			(struct handle){ db, owner, serial };
}

static void hook_begin(sqlite3_stmt *stmt, void *userdata)
{
	struct functions *functions = userdata;
	struct agent *agent = held_agent(functions);
	sqlite3 *db = sqlite3_db_handle(stmt);
	struct slm_front_route *route;
	int owner;

	if (!agent)
		return;
	route = slm_sqlite_outside_route(functions->db);
	owner = slm_front_owner(route, db);
	if (owner < 0) {
		/* A private database in memory is nobody else's business. */
		if (sqlite3_db_filename(db, "main") &&
		    *sqlite3_db_filename(db, "main"))
			atomic_store(&functions->elsewhere, true);
		return;
	}
	agent->stmt = stmt;
	agent->point = NULL;
	agent->granted = false;
	park(agent, AT_STEP);
	/* The driver has put a cursor there. */
	functions->call_of[owner] = agent->call;
	keep_handle(&functions->calls[agent->call], db, owner,
		    slm_front_serial(route, owner));
}

static void hook_row(sqlite3_stmt *stmt, void *userdata)
{
	struct functions *functions = userdata;
	struct cursor *cursor;

	if (!self || self_generation != functions->generation ||
	    slm_baton_drives() ||
	    !atomic_load_explicit(&functions->control, memory_order_acquire))
		return;
	cursor = find_cursor(self, stmt);
	if (cursor &&
	    !slm_sqlite_outside_row(functions->db, stmt, cursor->statement,
				    &cursor->result->rows, &cursor->capacity))
		atomic_store(&functions->nomem, true);
}

static void hook_end(sqlite3_stmt *stmt, int rc, void *userdata)
{
	struct functions *functions = userdata;
	struct cursor *cursor;

	if (!self || self_generation != functions->generation ||
	    slm_baton_drives())
		return;
	cursor = find_cursor(self, stmt);
	if (!cursor)
		return;
	if (atomic_load_explicit(&functions->control, memory_order_acquire) &&
	    !slm_sqlite_outside_end(functions->db, self->call, stmt, rc,
				    cursor->statement, cursor->result))
		atomic_store(&functions->nomem, true);
	cursor->stmt = NULL;
	self->granted = false;
}

void slm_functions_hooks(struct functions *functions)
{
	functions->hooks = (struct slm_sqlite_hooks){ .begin = hook_begin,
						      .row = hook_row,
						      .end = hook_end,
						      .userdata = functions };
}

/* ---- Waits ------------------------------------------------------------------ */

/* A lock was refused on this thread, and the busy handler sleeps. Only a wait
 * of a step lets others in between; else time passes, for nobody. */
void slm_functions_sleep(unsigned owner, unsigned ms, void *userdata)
{
	struct functions *functions = userdata;
	struct agent *agent = self;
	uint64_t now = slm_sqlite_outside_now(functions->db);

	if (!agent || self_generation != functions->generation ||
	    !agent->granted ||
	    !atomic_load_explicit(&functions->control, memory_order_acquire)) {
		slm_sqlite_outside_pass(functions->db, now + ms);
		return;
	}
	if (agent->wait_began_ms == UINT64_MAX)
		agent->wait_began_ms = now;
	agent->owner_number = owner;
	agent->wake_at_ms = now + ms;
	agent->blocked_since = functions->marks++;
	park(agent, AT_BLOCKED);
}

/* ---- Points ------------------------------------------------------------------ */

static void point(void *userdata, const char *name)
{
	struct agent *agent = held_agent(userdata);

	if (!agent)
		return;
	agent->stmt = NULL;
	agent->point = name;
	agent->granted = false;
	park(agent, AT_STEP);
}

/* ---- The threads --------------------------------------------------------------- */

/* Ends what the function has left open on its connections. */
static bool end_transactions(struct functions *functions,
			     struct function *function)
{
	struct slm_front_route *route =
		slm_sqlite_outside_route(functions->db);
	bool open = false;

	for (unsigned i = 0; i < function->nhandles; i++) {
		struct handle *handle = &function->handles[i];
		sqlite3_stmt *stmt = NULL;

		if (slm_front_serial(route, handle->owner) != handle->serial) {
			function->handles[i--] =
				function->handles[--function->nhandles];
			continue;
		}
		while ((stmt = sqlite3_next_stmt(handle->db, stmt)))
			if (sqlite3_stmt_busy(stmt))
				sqlite3_reset(stmt);
		if (sqlite3_get_autocommit(handle->db))
			continue;
		open = true;
		slm_sqlite_hook_pause();
		sqlite3_exec(handle->db, "ROLLBACK", NULL, NULL, NULL);
		slm_sqlite_hook_resume();
	}
	return open;
}

static void run_function(struct functions *functions, struct function *function)
{
	const struct sqloom_function *what =
		&functions->options.calls->calls[function->call.number];

	slm_function_begin(&function->call);
	function->returned = what->fn(&function->call, what->arg);
	if (atomic_load(&functions->ending)) /* it comes late: too late */
		return;
	function->left_open = end_transactions(functions, function);
	for (unsigned i = 0; i < CURSORS_MAX; i++)
		function->agent.cursors[i].stmt = NULL;
}

static void *thread_main(void *userdata)
{
	struct function *function = userdata;
	struct functions *functions = function->agent.owner;

	self = &function->agent;
	self_generation = functions->generation;
	self->tid = (pid_t)syscall(SYS_gettid);
	slm_function_set_points(point, functions);
	slm_front_use_clock(slm_sqlite_outside_route(functions->db));
	park(self, AT_IDLE);
	while (!atomic_load(&functions->ending)) {
		run_function(functions, function);
		if (!atomic_load(&functions->ending))
			park(self, AT_END);
	}
	slm_function_drop(&function->call);
	slm_function_set_points(NULL, NULL);
	return NULL;
}

enum sqloom_status slm_functions_start_threads(struct functions *functions,
					       struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; !status && i < functions->ncalls; i++) {
		struct function *function = &functions->calls[i];
		int error = pthread_create(&function->thread, NULL, thread_main,
					   function);

		if (error)
			return slm_error_set(err, SQLOOM_IO,
					     "cannot start a thread for call "
					     "\"%s\": %s",
					     function->call.name,
					     strerror(error));
		function->made = true;
		status = slm_functions_until_parked(functions, &function->agent,
						    err);
	}
	return status;
}

/* A thread that does not come back within this time never will. */
static bool join(struct function *function)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += END_PATIENCE_MS / 1000;
	if (pthread_timedjoin_np(function->thread, NULL, &until) == 0)
		return true;
	pthread_detach(function->thread);
	return false;
}

bool slm_functions_end_threads(struct functions *functions)
{
	bool all = true;

	atomic_store(&functions->ending, true);
	atomic_store_explicit(&functions->control, false, memory_order_release);
	for (unsigned i = 0; i < functions->ncalls; i++) {
		struct function *function = &functions->calls[i];

		if (!function->made)
			continue;
		if (function->agent.baton.parked)
			slm_baton_let_go(functions->options.baton,
					 &function->agent.baton);
		/* The driver gives way: it may have this thread's CPU. */
		(void)slm_baton_wait(functions->options.baton);
		all = join(function) && all;
		function->made = false;
	}
	return all;
}
