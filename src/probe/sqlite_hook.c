/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wrappers of SQLite's functions, and how they get into the process.
 *
 * A statement is begun by the first sqlite3_step() and is over when a step does
 * not return a row, or it is reset or finalized. Most are over with the step
 * that began them, and are remembered nowhere; those that are not are kept in
 * a table until they are.
 *
 * Invariants: `inside` counts what this thread is inside of: a step, a hook, or
 * a function of SQLite that makes statements of its own. Only what is called
 * at 0 is seen. No lock of ours is held while a hook or SQLite is called,
 * except by the installation, whose hooks are not the user's.
 */
#include "probe/sqlite_hook.h"

#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "db/sqlite_front.h"
#include "probe/got.h"
#include "probe/sqlite_module.h"
#include "probe/sqlite_open.h"

#define PAUSE 0x10000u /* in `inside`: this thread's calls are not seen */

static _Atomic(const struct slm_sqlite_hooks *) current_hooks;
/* Changes twice whenever the hooks do; odd while they are changed. */
static _Atomic uint64_t era;
/* Reached without a call, in a shared library, too. */
#define TLS __attribute__((tls_model("initial-exec")))
static _Thread_local unsigned inside TLS;
/* Where a self-test on this thread notes how its statement was seen. */
static _Thread_local enum sqloom_sqlite_mode *testing TLS;

/* SQLite's own functions; set before anything leads to a wrapper. */
static struct slm_sqlite_functions functions;
#define REAL(name) __atomic_load_n(&functions.name, __ATOMIC_RELAXED)

static const struct slm_sqlite_hooks *hooks_now(void)
{
	return atomic_load_explicit(&current_hooks, memory_order_acquire);
}

/* The hooks as they are, and in which era. NULL: there are none. */
static const struct slm_sqlite_hooks *look_at_hooks(uint64_t *when)
{
	const struct slm_sqlite_hooks *hooks;

	do {
		*when = atomic_load(&era);
		hooks = atomic_load(&current_hooks);
	} while (*when % 2 || atomic_load(&era) != *when);
	return hooks;
}

static bool is_over(uint64_t when)
{
	return atomic_load_explicit(&era, memory_order_acquire) != when;
}

void slm_sqlite_hook_pause(void)
{
	inside += PAUSE;
}

void slm_sqlite_hook_resume(void)
{
	assert(inside >= PAUSE);
	inside -= PAUSE;
}

/* ---- Calling the hooks ------------------------------------------------- */

static void begin(const struct slm_sqlite_hooks *hooks, sqlite3_stmt *stmt)
{
	inside++;
	if (hooks->begin)
		hooks->begin(stmt, hooks->userdata);
	inside--;
}

static void row(const struct slm_sqlite_hooks *hooks, sqlite3_stmt *stmt)
{
	inside++;
	if (hooks->row)
		hooks->row(stmt, hooks->userdata);
	inside--;
}

static void end(const struct slm_sqlite_hooks *hooks, sqlite3_stmt *stmt,
		int rc)
{
	inside++;
	if (hooks->end)
		hooks->end(stmt, rc, hooks->userdata);
	inside--;
}

/* ---- Wrappers ---------------------------------------------------------- */

/*
 * Begins the statement, unless this step goes on with it. False: it is one
 * that began before there were hooks.
 */
static bool begin_or_go_on(const struct slm_sqlite_hooks *hooks,
			   sqlite3_stmt *stmt, bool *went_on)
{
	enum slm_sqlite_state state = slm_sqlite_open_state(stmt);
	bool busy = sqlite3_stmt_busy(stmt);

	*went_on = busy && state == SLM_SQLITE_BEGUN;
	if (*went_on)
		return true;
	if (busy && state == SLM_SQLITE_UNKNOWN)
		return false;
	if (slm_sqlite_open_remove(stmt))
		end(hooks, stmt, SQLITE_OK);
	begin(hooks, stmt);
	return true;
}

static int seen_step(sqlite3_stmt *stmt)
{
	uint64_t when;
	const struct slm_sqlite_hooks *hooks = look_at_hooks(&when);
	bool went_on;
	int rc;

	if (!hooks || !begin_or_go_on(hooks, stmt, &went_on))
		return REAL(step)(stmt);
	inside++;
	rc = REAL(step)(stmt);
	inside--;
	if (is_over(when))
		return rc;
	if (rc == SQLITE_ROW) {
		bool kept = went_on ||
			    slm_sqlite_open_add(stmt, SLM_SQLITE_BEGUN);

		row(hooks, stmt);
		if (!kept) /* no memory: what follows is not seen */
			end(hooks, stmt, SQLITE_OK);
		return rc;
	}
	if (went_on)
		slm_sqlite_open_remove(stmt);
	/* Refused a lock, it can be stepped again without a reset. */
	if (rc != SQLITE_DONE && sqlite3_stmt_busy(stmt))
		slm_sqlite_open_add(stmt, SLM_SQLITE_REFUSED);
	end(hooks, stmt, rc);
	return rc;
}

static int wrapped_step(sqlite3_stmt *stmt)
{
	if (!hooks_now() || inside || !stmt)
		return REAL(step)(stmt);
	if (testing) {
		*testing = SQLOOM_SQLITE_LINKED;
		return REAL(step)(stmt);
	}
	return seen_step(stmt);
}

/* The one that the preloaded module calls. */
static int preloaded_step(sqlite3_stmt *stmt)
{
	if (!hooks_now() || inside || !testing)
		return wrapped_step(stmt);
	*testing = SQLOOM_SQLITE_PRELOADED;
	return REAL(step)(stmt);
}

/* Is it to be ended by a reset? Then the hooks are there for that. What is
 * ended in a pause ends unseen. */
static const struct slm_sqlite_hooks *close_open(sqlite3_stmt *stmt)
{
	uint64_t when;
	const struct slm_sqlite_hooks *hooks;

	if (!hooks_now() || slm_sqlite_open_none())
		return NULL;
	hooks = look_at_hooks(&when);
	if (!slm_sqlite_open_remove(stmt) || inside >= PAUSE || is_over(when))
		return NULL;
	return hooks;
}

static int wrapped_reset(sqlite3_stmt *stmt)
{
	const struct slm_sqlite_hooks *hooks = close_open(stmt);
	int rc = REAL(reset)(stmt);

	if (hooks)
		end(hooks, stmt, SQLITE_OK);
	return rc;
}

/* It ends while it can still be asked what it is. */
static int wrapped_finalize(sqlite3_stmt *stmt)
{
	const struct slm_sqlite_hooks *hooks = close_open(stmt);
	int rc = SQLITE_OK, last;

	if (hooks) {
		rc = REAL(reset)(stmt);
		end(hooks, stmt, SQLITE_OK);
	}
	last = REAL(finalize)(stmt);
	return rc ? rc : last;
}

/* A blob, or a backup. */
static void before_other(sqlite3 *db, const char *what)
{
	uint64_t when;
	const struct slm_sqlite_hooks *hooks;

	if (!hooks_now() || inside)
		return;
	hooks = look_at_hooks(&when);
	if (!hooks || !hooks->other)
		return;
	inside++;
	hooks->other(db, what, hooks->userdata);
	inside--;
}

static int wrapped_blob_open(sqlite3 *db, const char *schema, const char *table,
			     const char *column, sqlite3_int64 row, int flags,
			     sqlite3_blob **blob)
{
	int rc;

	before_other(db, "sqlite3_blob_open");
	inside++;
	rc = REAL(blob_open)(db, schema, table, column, row, flags, blob);
	inside--;
	return rc;
}

static int wrapped_backup_step(sqlite3_backup *backup, int pages)
{
	int rc;

	before_other(NULL, "sqlite3_backup_step");
	inside++;
	rc = REAL(backup_step)(backup, pages);
	inside--;
	return rc;
}

#define BRACKET(name, parameters, arguments)         \
	static int wrapped_##name parameters         \
	{                                            \
		int rc;                              \
                                                     \
		if (!hooks_now())                    \
			return REAL(name) arguments; \
		inside++;                            \
		rc = REAL(name) arguments;           \
		inside--;                            \
		return rc;                           \
	}

SLM_SQLITE_BRACKET(BRACKET)

/* ---- sqlite3_exec() ---------------------------------------------------- */

/*
 * The real one steps with the connection locked, and through a slot only if
 * the library was linked so. So this is another, of the same meaning.
 */
typedef int (*row_fn)(void *arg, int columns, char **values, char **names);

/* What a callback of a statement gets: n names, n values and a NULL. */
static bool collect(sqlite3_stmt *stmt, int columns, char ***texts)
{
	if (!*texts) {
		*texts = slm_calloc((size_t)columns * 2 + 1, sizeof(**texts));
		if (!*texts)
			return false;
		for (int i = 0; i < columns; i++)
			(*texts)[i] = (char *)sqlite3_column_name(stmt, i);
	}
	for (int i = 0; i < columns; i++) {
		char *text = (char *)sqlite3_column_text(stmt, i);

		if (!text && sqlite3_column_type(stmt, i) != SQLITE_NULL)
			return false;
		(*texts)[columns + i] = text;
	}
	return true;
}

/* Steps a statement to its end, and finalizes it. */
static int run_statement(sqlite3_stmt *stmt, row_fn on_row, void *arg)
{
	int columns = sqlite3_column_count(stmt);
	char **texts = NULL;
	int rc, wrong = SQLITE_OK;

	while ((rc = wrapped_step(stmt)) == SQLITE_ROW && !wrong && on_row) {
		if (!collect(stmt, columns, &texts))
			wrong = SQLITE_NOMEM;
		else if (on_row(arg, columns, texts + columns, texts))
			wrong = SQLITE_ABORT;
		if (wrong)
			break;
	}
	while (rc == SQLITE_ROW && !wrong)
		rc = wrapped_step(stmt);
	rc = wrapped_finalize(stmt);
	slm_free(texts);
	return wrong ? wrong : rc;
}

static int seen_exec(sqlite3 *db, const char *sql, row_fn on_row, void *arg,
		     char **message)
{
	int rc = SQLITE_OK;

	if (!sql)
		sql = "";
	while (rc == SQLITE_OK && *sql) {
		sqlite3_stmt *stmt = NULL;
		const char *tail = sql;

		rc = wrapped_prepare_v2(db, sql, -1, &stmt, &tail);
		if (rc == SQLITE_OK && stmt)
			rc = run_statement(stmt, on_row, arg);
		sql = tail + strspn(tail, " \t\n\v\f\r");
	}
	if (message)
		*message = NULL;
	if (message && rc == SQLITE_ABORT)
		*message = sqlite3_mprintf("query aborted");
	else if (message && rc != SQLITE_OK)
		*message = sqlite3_mprintf("%s", sqlite3_errmsg(db));
	return rc;
}

static int wrapped_exec(sqlite3 *db, const char *sql, row_fn on_row, void *arg,
			char **message)
{
	if (!hooks_now() || inside || testing || !db)
		return REAL(exec)(db, sql, on_row, arg, message);
	return seen_exec(db, sql, on_row, arg, message);
}

/* ---- An SQLite that is linked statically ------------------------------- */

static atomic_bool by_trace; /* the mode is EXTENSION */

/*
 * A statement that is not another's says its own text; what is inside of one
 * has a text made up for it. The end tells no result, and comes again if the
 * statement was prepared anew in between.
 */
static void on_trace(unsigned event, sqlite3_stmt *stmt, const char *text)
{
	uint64_t when;
	const struct slm_sqlite_hooks *hooks;

	if (!hooks_now() || inside)
		return;
	if (testing) {
		if (*testing == SQLOOM_SQLITE_ABSENT) /* no wrapper did */
			*testing = SQLOOM_SQLITE_EXTENSION;
		return;
	}
	hooks = look_at_hooks(&when);
	if (!hooks || !atomic_load(&by_trace))
		return;
	if (event == SQLITE_TRACE_PROFILE) {
		if (slm_sqlite_open_remove(stmt) && !is_over(when))
			end(hooks, stmt, SQLITE_OK);
	} else if (text == sqlite3_sql(stmt)) {
		if (slm_sqlite_open_remove(stmt))
			end(hooks, stmt, SQLITE_OK);
		begin(hooks, stmt);
		if (!is_over(when) &&
		    !slm_sqlite_open_add(stmt, SLM_SQLITE_BEGUN))
			end(hooks, stmt, SQLITE_OK);
	}
}

/* ---- Installing -------------------------------------------------------- */

/* Guards all that follows, and the setting of hooks. */
static pthread_mutex_t install_mutex = PTHREAD_MUTEX_INITIALIZER;

static struct {
	bool done;
	enum sqloom_sqlite_mode mode;
	uint64_t changes; /* of the list of libraries */
	bool extension;	  /* the module was loaded by SQLite */
	bool kept;	  /* this library stays in the process */
} installed;

/* What the slots lead to, in the order of struct slm_sqlite_functions. */
static struct slm_got_function slots[] = {
#define SLOT(name, parameters, arguments) \
	{ "sqlite3_" #name, (void (*)(void))wrapped_##name, 0 },
	SLM_SQLITE_WRAPPED(SLOT)
};

#define NSLOTS (sizeof(slots) / sizeof(slots[0]))

/* Takes the real functions from the slots. */
static void keep_real(void)
{
	const struct slm_got_function *slot = slots;

#define KEEP(name, parameters, arguments)                                    \
	__atomic_store_n(&functions.name, (int(*) parameters)(slot++)->real, \
			 __ATOMIC_RELEASE);
	SLM_SQLITE_WRAPPED(KEEP)
	assert(slot == slots + NSLOTS);
}

/* What the module gets. */
static const struct slm_sqlite_wrappers wrappers = {
	.functions = {
#define WRAPPER(name, parameters, arguments) .name = wrapped_##name,
		SLM_SQLITE_BRACKET(WRAPPER)
		.step = preloaded_step,
		.reset = wrapped_reset,
		.finalize = wrapped_finalize,
		.exec = wrapped_exec,
		.blob_open = wrapped_blob_open,
		.backup_step = wrapped_backup_step,
	},
	.trace = on_trace,
};
static const struct slm_sqlite_wrappers trace_only = { .trace = on_trace };

static struct slm_sqlite_module *find_module(void)
{
	struct slm_sqlite_module *module =
		dlsym(RTLD_DEFAULT, SLM_SQLITE_MODULE_NAME);

	return module && module->version == SLM_SQLITE_MODULE_VERSION ? module :
									NULL;
}

static void change_hooks(const struct slm_sqlite_hooks *hooks)
{
	atomic_fetch_add(&era, 1);
	slm_sqlite_open_clear();
	atomic_store(&current_hooks, hooks);
	atomic_fetch_add(&era, 1);
}

static void try_statement(void)
{
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(":memory:", &db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
			    NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, "SELECT 1", -1, &stmt, NULL) == SQLITE_OK)
		sqlite3_step(stmt);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
}

/* Executes a statement and tells which wrapper saw it. */
static enum sqloom_sqlite_mode self_test(void)
{
	static const struct slm_sqlite_hooks nothing;
	enum sqloom_sqlite_mode mode = SQLOOM_SQLITE_ABSENT;
	unsigned before = inside;
	bool alone = !hooks_now();

	if (alone)
		change_hooks(&nothing);
	inside = 0;
	testing = &mode;
	try_statement();
	testing = NULL;
	inside = before;
	if (alone)
		change_hooks(NULL);
	return mode;
}

/* Slots and the module lead here: this library must not be unloaded. */
static void stay(void)
{
	Dl_info info;

	if (!installed.kept && dladdr(&installed, &info))
		dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
	installed.kept = true;
}

static void put_in_place(struct slm_sqlite_module *module)
{
	/* A text that is in the library itself. */
	const char *library = sqlite3_sourceid();
	bool found = slm_got_resolve(library, slots, NSLOTS);

	if (found)
		keep_real();
	if (found || module)
		stay();
	if (module)
		atomic_store_explicit(&module->wrappers,
				      found ? &wrappers : &trace_only,
				      memory_order_release);
	if (found)
		slm_got_patch(library, slots, NSLOTS);
}

enum sqloom_sqlite_mode slm_sqlite_hook_install(void)
{
	struct slm_sqlite_module *module;
	enum sqloom_sqlite_mode mode;
	uint64_t changes;
	bool extension;

	pthread_mutex_lock(&install_mutex);
	changes = slm_got_changes();
	module = find_module();
	extension = module && atomic_load(&module->extension);
	if (!installed.done || installed.changes != changes ||
	    installed.extension != extension) {
		put_in_place(module);
		installed.mode = self_test();
		atomic_store(&by_trace,
			     installed.mode == SQLOOM_SQLITE_EXTENSION);
		installed.changes = changes;
		installed.extension = extension;
		installed.done = true;
	}
	mode = installed.mode;
	pthread_mutex_unlock(&install_mutex);
	return mode;
}

void slm_sqlite_hook_set(const struct slm_sqlite_hooks *hooks)
{
	pthread_mutex_lock(&install_mutex);
	change_hooks(hooks);
	pthread_mutex_unlock(&install_mutex);
}

enum sqloom_sqlite_mode sqloom_sqlite_selftest(void)
{
	slm_front_install(NULL);
	return slm_sqlite_hook_install();
}
