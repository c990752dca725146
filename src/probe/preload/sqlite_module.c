/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libsqloom-sqlite.so: for programs that libsqloom cannot see into by itself.
 * Preloaded (LD_PRELOAD) it stands before libsqlite3 with functions of the same
 * names. Loaded by SQLite as an extension it traces the connections that are
 * opened from then on: the only way where SQLite is linked statically.
 *
 * It uses nothing but libc, so that it can be in any process, and does nothing
 * by itself: as long as there is no libsqloom, or that has no use for it, a
 * function passes straight on to the real one.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The struct of SQLite's functions, without the macros that rename them. */
#define SQLITE_CORE 1
#include <sqlite3ext.h>

#include "probe/sqlite_module.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT extern struct slm_sqlite_module sqloom_sqlite_hooks;
struct slm_sqlite_module sqloom_sqlite_hooks = {
	.version = SLM_SQLITE_MODULE_VERSION,
};

static const struct slm_sqlite_wrappers *wrappers(void)
{
	return atomic_load_explicit(&sqloom_sqlite_hooks.wrappers,
				    memory_order_acquire);
}

/* ---- Preloaded --------------------------------------------------------- */

/* What the library that called, or one that it was linked to, has. */
static void *find_with(const void *caller, const char *name)
{
	Dl_info info;
	void *library;

	if (!dladdr(caller, &info))
		return NULL;
	library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
	return library ? dlsym(library, name) : NULL;
}

/*
 * The function behind ours. A library that a plugin loaded for itself alone
 * (Python's _sqlite3), or has in itself, is not behind us in the order of the
 * program: it is looked for from there, and at last by its usual name.
 */
static uintptr_t find_real(const char *name, const void *caller)
{
	void *function = dlsym(RTLD_NEXT, name);
	void *library;

	if (!function)
		function = find_with(caller, name);
	if (function)
		return (uintptr_t)function;
	library = dlopen("libsqlite3.so.0", RTLD_LAZY);
	return library ? (uintptr_t)dlsym(library, name) : 0;
}

/* The real functions, found when they are first called. */
#define FUNCTION(name, parameters, arguments)                              \
	EXPORT int sqlite3_##name parameters                               \
	{                                                                  \
		static atomic_uintptr_t known;                             \
		const struct slm_sqlite_wrappers *ours = wrappers();       \
		uintptr_t real;                                            \
                                                                           \
		if (ours && ours->functions.name)                          \
			return ours->functions.name arguments;             \
		real = atomic_load_explicit(&known, memory_order_acquire); \
		if (!real) {                                               \
			real = find_real("sqlite3_" #name,                 \
					 __builtin_return_address(0));     \
			atomic_store_explicit(&known, real,                \
					      memory_order_release);       \
		}                                                          \
		if (!real)                                                 \
			return SQLITE_MISUSE;                              \
		return ((int(*) parameters)real)arguments;                 \
	}

SLM_SQLITE_WRAPPED(FUNCTION)

/* ---- An extension ------------------------------------------------------ */

static int on_trace(unsigned event, void *userdata, void *stmt, void *text)
{
	const struct slm_sqlite_wrappers *ours = wrappers();

	(void)userdata;
	if (ours)
		ours->trace(event, stmt, text);
	return 0;
}

/* SQLite calls it with every connection that is opened. */
static int trace_connection(sqlite3 *db, char **message,
			    const sqlite3_api_routines *api)
{
	(void)message;
	api->trace_v2(db, SQLITE_TRACE_STMT | SQLITE_TRACE_PROFILE, on_trace,
		      NULL);
	return SQLITE_OK;
}

EXPORT int sqlite3_sqloomsqlite_init(sqlite3 *db, char **message,
				     const sqlite3_api_routines *api);
EXPORT int sqlite3_extension_init(sqlite3 *db, char **message,
				  const sqlite3_api_routines *api);

int sqlite3_sqloomsqlite_init(sqlite3 *db, char **message,
			      const sqlite3_api_routines *api)
{
	if (api->libversion_number() < 3014000) {
		*message = api->mprintf("sqloom needs SQLite 3.14 or later");
		return SQLITE_ERROR;
	}
	if (api->auto_extension((void (*)(void))trace_connection) != SQLITE_OK)
		return SQLITE_NOMEM;
	atomic_store_explicit(&sqloom_sqlite_hooks.extension, true,
			      memory_order_release);
	trace_connection(db, message, api);
	return SQLITE_OK_LOAD_PERMANENTLY;
}

int sqlite3_extension_init(sqlite3 *db, char **message,
			   const sqlite3_api_routines *api)
{
	return sqlite3_sqloomsqlite_init(db, message, api);
}
