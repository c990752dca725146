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
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "call/functions_internal.h"

static _Thread_local struct agent *self;
static _Thread_local uint64_t self_generation; /* of self's functions */
static _Thread_local bool self_own; /* this thread is one that we made */
static _Atomic uint64_t generations;

/* Threads that the exploration knows nothing of may be in a hook at any time:
 * each counts itself, and then asks what is explored. */
static _Atomic(struct functions *) explored;
static atomic_uint visitors;

/* NULL: nothing is explored, or another than that (NULL: than any). */
static struct functions *enter(const void *that)
{
	struct functions *functions;

	atomic_fetch_add(&visitors, 1);
	functions = atomic_load(&explored);
	if (functions && (!that || that == functions))
		return functions;
	atomic_fetch_sub(&visitors, 1);
	return NULL;
}

static void leave(void)
{
	atomic_fetch_sub(&visitors, 1);
}

/* ---- Agents --------------------------------------------------------------- */

/* A new thread has the name of the one that started it. */
#define THREAD_NAME "sqloom call %u"

static unsigned parent_call(void)
{
	char name[16 + 1] = "";
	unsigned call;

	if (prctl(PR_GET_NAME, name) || sscanf(name, THREAD_NAME, &call) != 1)
		return UINT32_MAX;
	return call;
}

static struct agent *new_agent(struct functions *functions)
{
	struct agent *agent = slm_calloc(1, sizeof(*agent));

	if (!agent) {
		atomic_store(&functions->nomem, true);
		return NULL;
	}
	agent->owner = functions;
	agent->tid = (pid_t)syscall(SYS_gettid);
	agent->call = parent_call();
	agent->born = atomic_load(&functions->runs);
	pthread_mutex_lock(&functions->mutex);
	agent->next = functions->agents;
	functions->agents = agent;
	pthread_mutex_unlock(&functions->mutex);
	self = agent;
	self_generation = functions->generation;
	return agent;
}

/* Is anything that this thread does now? */
static bool is_seen(struct functions *functions)
{
	return atomic_load_explicit(&functions->control,
				    memory_order_acquire) &&
	       !slm_baton_drives();
}

static bool is_under_way(const struct functions *functions, unsigned call)
{
	return call < functions->ncalls && functions->calls[call].started &&
	       !functions->calls[call].over;
}

/*
 * The agent of this thread, if what it does now is to be held. A thread that a
 * call has started in this run is its; one that stays from run to run works for
 * the call that runs. A thread that no call has started is nobody's until it is
 * concerned with the database.
 */
static struct agent *held_agent(struct functions *functions, bool concerned)
{
	int running = atomic_load(&functions->running);
	struct agent *agent = self;

	if (self_own) /* of another: left over from an exploration before */
		return self_generation == functions->generation ? agent : NULL;
	if (running < 0)
		return NULL;
	if (!agent || self_generation != functions->generation) {
		if (!concerned && parent_call() == UINT32_MAX)
			return NULL;
		agent = new_agent(functions);
	}
	if (agent && (agent->born != atomic_load(&functions->runs) ||
		      !is_under_way(functions, agent->call)))
		agent->call = (unsigned)running;
	return agent;
}

static void park(struct agent *agent, enum place at)
{
	agent->at = at;
	if (at != AT_BLOCKED)
		atomic_store(&agent->doing, false);
	slm_baton_park(agent->owner->options.baton, &agent->baton);
}

/* At a statement or a point. */
static void stand(struct agent *agent, sqlite3_stmt *stmt, const char *point)
{
	agent->stmt = stmt;
	agent->point = point;
	agent->granted = false;
	park(agent, AT_STEP);
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
static void keep_handle(struct functions *functions, struct function *function,
			sqlite3 *db, int owner)
{
	struct slm_front_route *route = slm_sqlite_outside_route(functions->db);
	struct handle handle = { db, owner, slm_front_serial(route, owner) };
	unsigned i = 0;

	pthread_mutex_lock(&functions->mutex);
	while (i < function->nhandles && function->handles[i].owner != owner)
		i++;
	if (i < HANDLES_MAX)
		function->handles[i] = handle;
	if (i == function->nhandles && i < HANDLES_MAX)
		function->nhandles++;
	pthread_mutex_unlock(&functions->mutex);
}

/* Before a statement, or (NULL) before what the point says. */
static void use(struct functions *functions, sqlite3 *db, sqlite3_stmt *stmt,
		const char *point)
{
	struct agent *agent;
	int owner;

	if (!is_seen(functions))
		return;
	owner = slm_front_owner(slm_sqlite_outside_route(functions->db), db);
	if (owner < 0) {
		/* A private database in memory is nobody else's business. */
		if (sqlite3_db_filename(db, "main") &&
		    *sqlite3_db_filename(db, "main"))
			atomic_store(&functions->elsewhere, true);
		return;
	}
	agent = held_agent(functions, true);
	if (!agent)
		return;
	stand(agent, stmt, point);
	/* The driver has put a cursor there. */
	functions->call_of[owner] = agent->call;
	keep_handle(functions, &functions->calls[agent->call], db, owner);
	if (!stmt) {
		agent->granted = true;
		atomic_store(&agent->doing, false);
	}
}

static void hook_begin(sqlite3_stmt *stmt, void *userdata)
{
	struct functions *functions = enter(userdata);

	if (functions) {
		use(functions, sqlite3_db_handle(stmt), stmt, NULL);
		leave();
	}
}

/* Is what a statement of this thread gives to be kept? What a stalled call
 * does is not: others may run beside it. */
static bool is_recorded(struct functions *functions)
{
	return atomic_load_explicit(&functions->control,
				    memory_order_acquire) &&
	       !atomic_load(&functions->calls[self->call].stalled);
}

static void row(struct functions *functions, sqlite3_stmt *stmt)
{
	struct cursor *cursor;

	if (!self || self_generation != functions->generation ||
	    slm_baton_drives() || !is_recorded(functions))
		return;
	cursor = find_cursor(self, stmt);
	if (cursor &&
	    !slm_sqlite_outside_row(functions->db, stmt, cursor->statement,
				    &cursor->result->rows, &cursor->capacity))
		atomic_store(&functions->nomem, true);
	atomic_store(&self->doing, false);
}

static void hook_row(sqlite3_stmt *stmt, void *userdata)
{
	struct functions *functions = enter(userdata);

	if (functions) {
		row(functions, stmt);
		leave();
	}
}

static void end(struct functions *functions, sqlite3_stmt *stmt, int rc)
{
	struct cursor *cursor;

	if (!self || self_generation != functions->generation ||
	    slm_baton_drives())
		return;
	cursor = find_cursor(self, stmt);
	if (!cursor)
		return;
	if (is_recorded(functions) &&
	    !slm_sqlite_outside_end(functions->db, self->call, stmt, rc,
				    cursor->statement, cursor->result))
		atomic_store(&functions->nomem, true);
	cursor->stmt = NULL;
	self->granted = false;
	atomic_store(&self->doing, false);
}

static void forget(struct agent *agent)
{
	for (unsigned i = 0; i < CURSORS_MAX; i++)
		agent->cursors[i].stmt = NULL;
}

void slm_functions_forget_cursors(struct functions *functions)
{
	for (unsigned i = 0; i < functions->ncalls; i++)
		forget(&functions->calls[i].agent);
	pthread_mutex_lock(&functions->mutex);
	for (struct agent *agent = functions->agents; agent;
	     agent = agent->next)
		forget(agent);
	pthread_mutex_unlock(&functions->mutex);
}

static void hook_end(sqlite3_stmt *stmt, int rc, void *userdata)
{
	struct functions *functions = enter(userdata);

	if (functions) {
		end(functions, stmt, rc);
		leave();
	}
}

/* ---- Waits ------------------------------------------------------------------ */

/* A lock was refused on this thread, and the busy handler sleeps. Only a wait
 * of a step lets others in between; else time passes, for nobody. */
static void wait_for_lock(struct functions *functions, unsigned owner,
			  unsigned ms)
{
	struct agent *agent = self;
	uint64_t now = slm_sqlite_outside_now(functions->db);

	if (!agent || self_generation != functions->generation ||
	    !is_recorded(functions)) {
		slm_sqlite_outside_pass(functions->db, now + ms);
		return;
	}
	/* SQLite reads the schema before a statement, say. */
	if (!agent->granted) {
		stand(agent, NULL, "it finds the database locked");
		agent->granted = true;
		return;
	}
	if (agent->wait_began_ms == UINT64_MAX)
		agent->wait_began_ms = now;
	agent->owner_number = owner;
	agent->wake_at_ms = now + ms;
	agent->blocked_since = functions->marks++;
	park(agent, AT_BLOCKED);
}

void slm_functions_sleep(unsigned owner, unsigned ms, void *userdata)
{
	struct functions *functions = enter(userdata);

	if (functions) {
		wait_for_lock(functions, owner, ms);
		leave();
	}
}

/* ---- Points ------------------------------------------------------------------ */

static void point(void *userdata, const char *name)
{
	struct functions *functions = enter(userdata);
	struct agent *agent;

	if (!functions)
		return;
	agent = is_seen(functions) ? held_agent(functions, false) : NULL;
	if (agent) {
		stand(agent, NULL, name);
		atomic_store(&agent->doing, false);
	}
	leave();
}

/* What SQLite does without a statement has a point before it. */
static void hook_other(sqlite3 *db, const char *what, void *userdata)
{
	struct functions *functions;

	if (!db) {
		point(userdata, what);
		return;
	}
	functions = enter(userdata);
	if (functions) {
		use(functions, db, NULL, what);
		leave();
	}
}

/* They outlive every exploration: a thread may be about to call one. */
static const struct slm_sqlite_hooks hooks = { .begin = hook_begin,
					       .row = hook_row,
					       .end = hook_end,
					       .other = hook_other };

void slm_functions_publish(struct functions *functions)
{
	if (functions)
		functions->generation = atomic_fetch_add(&generations, 1) + 1;
	atomic_store(&explored, functions);
	slm_function_publish_points(functions ? point : NULL, functions);
	slm_sqlite_hook_set(functions ? &hooks : NULL);
}

/* ---- The threads --------------------------------------------------------------- */

/* Does another call that is not over use that connection, too? Then what is
 * open there may be that one's. */
static bool is_shared(struct functions *functions,
		      const struct function *function,
		      const struct handle *handle)
{
	bool shared = false;

	pthread_mutex_lock(&functions->mutex);
	for (unsigned i = 0; i < functions->ncalls && !shared; i++) {
		const struct function *other = &functions->calls[i];

		if (other == function || !other->started || other->over)
			continue;
		for (unsigned j = 0; j < other->nhandles; j++)
			shared = shared ||
				 (other->handles[j].owner == handle->owner &&
				  other->handles[j].serial == handle->serial);
	}
	pthread_mutex_unlock(&functions->mutex);
	return shared;
}

/* The handles of a blob have statements without a text, which must not be
 * reset. */
static void end_statements(sqlite3 *db)
{
	sqlite3_stmt *stmt = NULL;

	while ((stmt = sqlite3_next_stmt(db, stmt)))
		if (sqlite3_sql(stmt) && sqlite3_stmt_busy(stmt))
			sqlite3_reset(stmt);
}

/* Those that were closed are forgotten. */
static void forget_closed(struct functions *functions,
			  struct function *function)
{
	struct slm_front_route *route = slm_sqlite_outside_route(functions->db);

	pthread_mutex_lock(&functions->mutex);
	for (unsigned i = function->nhandles; i-- > 0;)
		if (slm_front_serial(route, function->handles[i].owner) !=
		    function->handles[i].serial)
			function->handles[i] =
				function->handles[--function->nhandles];
	pthread_mutex_unlock(&functions->mutex);
}

/* False: nothing was open. */
static bool end_transaction(sqlite3 *db)
{
	end_statements(db);
	if (sqlite3_get_autocommit(db))
		return false;
	slm_sqlite_hook_pause();
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	slm_sqlite_hook_resume();
	return true;
}

/* Ends what the function has left open on its connections. A thread that it
 * started may go on, and close them at any time. */
static bool end_transactions(struct functions *functions,
			     struct function *function)
{
	struct slm_front_route *route = slm_sqlite_outside_route(functions->db);
	bool open = false;

	forget_closed(functions, function);
	for (unsigned i = 0; i < function->nhandles; i++) {
		const struct handle handle = function->handles[i];

		if (is_shared(functions, function, &handle) ||
		    !slm_front_hold(route, handle.owner, handle.serial,
				    handle.db))
			continue;
		open = end_transaction(handle.db) || open;
		sqlite3_mutex_leave(sqlite3_db_mutex(handle.db));
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
}

/* Also if the function ends the thread itself. */
static void say_goodbye(void *userdata)
{
	struct function *function = userdata;

	slm_function_drop(&function->call);
	slm_function_set_points(NULL, NULL);
	atomic_store(&function->gone, true);
}

static void *thread_main(void *userdata)
{
	struct function *function = userdata;
	struct functions *functions = function->agent.owner;
	char name[16];

	self = &function->agent;
	self_generation = functions->generation;
	self_own = true;
	self->tid = (pid_t)syscall(SYS_gettid);
	snprintf(name, sizeof(name), THREAD_NAME, self->call);
	prctl(PR_SET_NAME, name);
	slm_function_set_points(point, functions);
	slm_front_use_clock(slm_sqlite_outside_route(functions->db));
	park(self, AT_IDLE);
	pthread_cleanup_push(say_goodbye, function);
	while (!atomic_load(&functions->ending)) {
		run_function(functions, function);
		if (!atomic_load(&functions->ending))
			park(self, AT_END);
	}
	pthread_cleanup_pop(1);
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

static bool is_over(uint64_t began_ns)
{
	return slm_clock_ns() - began_ns >
	       FUNCTION_PATIENCE_MS * UINT64_C(1000000);
}

/* A thread that does not come back within some time never will. */
static bool end_thread(struct functions *functions, struct function *function)
{
	uint64_t began_ns = slm_clock_ns();

	while (!atomic_load(&function->gone) && !function->lost &&
	       !is_over(began_ns)) {
		slm_functions_let_go(functions);
		if (function->agent.baton.parked)
			slm_baton_let_go(functions->options.baton,
					 &function->agent.baton);
		/* The driver gives way: it may have this thread's CPU. */
		(void)slm_baton_wait(functions->options.baton);
	}
	if (!atomic_load(&function->gone)) {
		pthread_detach(function->thread);
		return false;
	}
	pthread_join(function->thread, NULL);
	return true;
}

/* Until nobody is in a hook any more. */
static bool see_visitors_off(struct functions *functions)
{
	uint64_t began_ns = slm_clock_ns();

	while (atomic_load(&visitors) && !is_over(began_ns)) {
		slm_functions_let_go(functions);
		(void)slm_baton_wait(functions->options.baton);
	}
	return !atomic_load(&visitors);
}

bool slm_functions_end_threads(struct functions *functions)
{
	bool all = true;

	atomic_store(&functions->ending, true);
	atomic_store_explicit(&functions->control, false, memory_order_release);
	for (unsigned i = 0; i < functions->ncalls; i++) {
		if (functions->calls[i].made)
			all = end_thread(functions, &functions->calls[i]) &&
			      all;
		functions->calls[i].made = false;
	}
	slm_functions_publish(NULL);
	return see_visitors_off(functions) && all;
}
