/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The methods of the front's VFS: names, the clock, sleep; all else is passed
 * on. What is not routed is opened by the system's VFS in SQLite's own file
 * object, and is never seen again here.
 *
 * A sleep does not say for which file. It follows a lock that was refused on
 * the same thread: that is what slm_front_refused remembers. Routes that a
 * thread remembers are looked up by their number before use.
 */
#include <string.h>

#include "db/sqlite_front_internal.h"

/* The route whose clock this thread has. */
static _Thread_local struct {
	struct slm_front_route *route;
	uint64_t id;
} clock_of_thread SLM_TLS;

/* ---- Files ------------------------------------------------------------- */

static int front_full_path(sqlite3_vfs *vfs, const char *name, int size,
			   char *out)
{
	sqlite3_vfs *system = slm_front_system();
	int rc = system->xFullPathname(system, name, size, out);

	(void)vfs;
	if ((rc & 0xff) == SQLITE_OK && slm_front_has_routes())
		slm_front_respell(size, out);
	return rc;
}

static int front_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base,
		      int flags, int *out_flags)
{
	sqlite3_vfs *system = slm_front_system();
	struct slm_front_file *file = (struct slm_front_file *)base;
	char inner[SLM_FRONT_NAME_MAX];
	struct slm_front_route *route = slm_front_lock_routed(name, inner);
	int rc;

	(void)vfs;
	if (!route)
		return system->xOpen(system, name, base, flags, out_flags);
	memset(file, 0, sizeof(*file));
	file->route = route;
	rc = slm_front_file_open(file, name, inner, flags, out_flags);
	pthread_mutex_unlock(&route->mutex);
	return rc;
}

static int front_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
	sqlite3_vfs *system = slm_front_system();
	char inner[SLM_FRONT_NAME_MAX];
	struct slm_front_route *route = slm_front_lock_routed(name, inner);
	sqlite3_vfs *store;
	int rc;

	(void)vfs;
	if (!route)
		return system->xDelete(system, name, sync_directory);
	store = &route->store->vfs;
	slm_store_set_owner(route->store, SLM_STORE_NOBODY);
	rc = store->xDelete(store, inner, sync_directory);
	pthread_mutex_unlock(&route->mutex);
	return rc;
}

static int front_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
	sqlite3_vfs *system = slm_front_system();
	char inner[SLM_FRONT_NAME_MAX];
	struct slm_front_route *route = slm_front_lock_routed(name, inner);
	sqlite3_vfs *store;
	int rc;

	(void)vfs;
	if (!route)
		return system->xAccess(system, name, flags, out);
	store = &route->store->vfs;
	slm_store_set_owner(route->store, SLM_STORE_NOBODY);
	rc = store->xAccess(store, inner, flags, out);
	pthread_mutex_unlock(&route->mutex);
	return rc;
}

/* ---- Time -------------------------------------------------------------- */

/* Locks the route whose clock this thread has; NULL: it has the real one. */
static struct slm_front_route *lock_clock(void)
{
	struct slm_front_route *route;

	if (!clock_of_thread.route)
		return NULL;
	route = slm_front_lock_known(clock_of_thread.route, clock_of_thread.id);
	if (!route)
		clock_of_thread.route = NULL;
	return route;
}

/*
 * Calls the sleep hook of the route whose lock this thread was refused. False:
 * there is none, or the lock is not waited for any more.
 */
static bool sleep_for_lock(unsigned ms)
{
	struct slm_front_refusal refused = slm_front_refused;
	void (*hook)(unsigned, unsigned, void *);
	struct slm_front_route *route;
	void *userdata;

	if (!refused.route)
		return false;
	route = slm_front_lock_known(refused.route, refused.id);
	if (!route || (refused.owner != SLM_STORE_NOBODY &&
		       !slm_store_waits(route->store, refused.owner))) {
		slm_front_refused.route = NULL;
		if (route)
			pthread_mutex_unlock(&route->mutex);
		return false;
	}
	hook = route->sleep;
	userdata = route->userdata;
	pthread_mutex_unlock(&route->mutex);
	if (hook)
		hook(refused.owner, ms, userdata);
	return hook != NULL;
}

static int front_sleep(sqlite3_vfs *vfs, int us)
{
	sqlite3_vfs *system = slm_front_system();
	struct slm_front_route *route;

	(void)vfs;
	if (us > 0 && sleep_for_lock(((unsigned)us + 999) / 1000))
		return us;
	route = lock_clock();
	if (!route)
		return system->xSleep(system, us);
	/* Of nobody, who waits for nothing: only the clock moves. */
	slm_store_set_owner(route->store, SLM_STORE_NOBODY);
	us = route->store->vfs.xSleep(&route->store->vfs, us);
	pthread_mutex_unlock(&route->mutex);
	return us;
}

static int front_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
	struct slm_front_route *route = lock_clock();
	sqlite3_vfs *system = slm_front_system();
	int rc;

	(void)vfs;
	if (!route)
		return system->xCurrentTimeInt64(system, out);
	rc = route->store->vfs.xCurrentTimeInt64(&route->store->vfs, out);
	pthread_mutex_unlock(&route->mutex);
	return rc;
}

static int front_time(sqlite3_vfs *vfs, double *out)
{
	struct slm_front_route *route = lock_clock();
	sqlite3_vfs *system = slm_front_system();
	int rc;

	(void)vfs;
	if (!route)
		return system->xCurrentTime(system, out);
	rc = route->store->vfs.xCurrentTime(&route->store->vfs, out);
	pthread_mutex_unlock(&route->mutex);
	return rc;
}

void slm_front_use_clock(struct slm_front_route *route)
{
	clock_of_thread.route = route;
	clock_of_thread.id = route ? route->id : 0;
}

/* ---- The rest of the VFS: passed on ------------------------------------ */

static void *front_dlopen(sqlite3_vfs *vfs, const char *path)
{
	sqlite3_vfs *system = slm_front_system();

	(void)vfs;
	return system->xDlOpen(system, path);
}

static void front_dlerror(sqlite3_vfs *vfs, int size, char *out)
{
	sqlite3_vfs *system = slm_front_system();

	(void)vfs;
	system->xDlError(system, size, out);
}

static void (*front_dlsym(sqlite3_vfs *vfs, void *library,
			  const char *symbol))(void)
{
	sqlite3_vfs *system = slm_front_system();

	(void)vfs;
	return system->xDlSym(system, library, symbol);
}

static void front_dlclose(sqlite3_vfs *vfs, void *library)
{
	sqlite3_vfs *system = slm_front_system();

	(void)vfs;
	system->xDlClose(system, library);
}

static int front_randomness(sqlite3_vfs *vfs, int size, char *out)
{
	sqlite3_vfs *system = slm_front_system();

	(void)vfs;
	return system->xRandomness(system, size, out);
}

static int front_last_error(sqlite3_vfs *vfs, int size, char *out)
{
	sqlite3_vfs *system = slm_front_system();

	(void)vfs;
	return system->xGetLastError(system, size, out);
}

static int front_set_call(sqlite3_vfs *vfs, const char *name,
			  sqlite3_syscall_ptr call)
{
	sqlite3_vfs *system = slm_front_system();

	(void)vfs;
	return system->xSetSystemCall(system, name, call);
}

static sqlite3_syscall_ptr front_get_call(sqlite3_vfs *vfs, const char *name)
{
	sqlite3_vfs *system = slm_front_system();

	(void)vfs;
	return system->xGetSystemCall(system, name);
}

static const char *front_next_call(sqlite3_vfs *vfs, const char *name)
{
	sqlite3_vfs *system = slm_front_system();

	(void)vfs;
	return system->xNextSystemCall(system, name);
}

/* ---- All of them -------------------------------------------------------- */

void slm_front_init_vfs(sqlite3_vfs *front, const sqlite3_vfs *system)
{
	int size = (int)sizeof(struct slm_front_file);

	*front = (sqlite3_vfs){
		.iVersion = system->iVersion < 3 ? system->iVersion : 3,
		.szOsFile = system->szOsFile > size ? system->szOsFile : size,
		.mxPathname = system->mxPathname,
		.zName = system->zName,
		.xOpen = front_open,
		.xDelete = front_delete,
		.xAccess = front_access,
		.xFullPathname = front_full_path,
		.xDlOpen = system->xDlOpen ? front_dlopen : NULL,
		.xDlError = system->xDlError ? front_dlerror : NULL,
		.xDlSym = system->xDlSym ? front_dlsym : NULL,
		.xDlClose = system->xDlClose ? front_dlclose : NULL,
		.xRandomness = front_randomness,
		.xSleep = front_sleep,
		.xCurrentTime = front_time,
		.xGetLastError = system->xGetLastError ? front_last_error :
							 NULL,
	};
	if (system->iVersion >= 2 && system->xCurrentTimeInt64)
		front->xCurrentTimeInt64 = front_time_ms;
	if (system->iVersion >= 3 && system->xSetSystemCall) {
		front->xSetSystemCall = front_set_call;
		front->xGetSystemCall = front_get_call;
		front->xNextSystemCall = front_next_call;
	}
}
