/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of routes: which names are routed where; and the installation.
 *
 * A name is found out to be a routed one in xFullPathname, which gives the
 * route's own spelling for it: so later names (of journals, too) need no look
 * at the disk.
 */
#include "db/sqlite_front.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/sqlite_front_internal.h"

#define SYSTEM_NAME "unix"

static struct {
	pthread_mutex_t mutex; /* for the list */
	struct slm_front_route *routes;
	uint64_t ids;
	atomic_uint count; /* of routes */
} registry = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static pthread_mutex_t install_mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(sqlite3_vfs *) system_vfs; /* borrowed; set with the front */
static sqlite3_vfs front;

static sqlite3_vfs *system_of(void)
{
	return atomic_load_explicit(&system_vfs, memory_order_acquire);
}

bool slm_front_has_routes(void)
{
	return atomic_load_explicit(&registry.count, memory_order_acquire) > 0;
}

/* ---- Finding routes ---------------------------------------------------- */

/* Locks the route that a thread remembered; NULL: it is gone. */
struct slm_front_route *slm_front_lock_known(
	const struct slm_front_route *known, uint64_t id)
{
	struct slm_front_route *route;

	pthread_mutex_lock(&registry.mutex);
	route = registry.routes;
	while (route && (route != known || route->id != id))
		route = route->next;
	if (route)
		pthread_mutex_lock(&route->mutex);
	pthread_mutex_unlock(&registry.mutex);
	return route;
}

/* Is the rest of a name that of a file that SQLite has beside a database? -mj
 * and a number is the journal of a transaction over several databases. */
static bool is_companion(const char *suffix)
{
	return strcmp(suffix, "-journal") == 0 || strcmp(suffix, "-wal") == 0 ||
	       (strncmp(suffix, "-mj", 3) == 0 &&
		strlen(suffix) <= SLM_FRONT_SUFFIX_MAX);
}

/*
 * Locks the route of a name, and gives the name that the file has in the
 * store. NULL: it is not routed.
 */
struct slm_front_route *slm_front_lock_routed(const char *name,
					      char inner[SLM_FRONT_NAME_MAX])
{
	struct slm_front_route *route;
	const char *suffix = "";
	size_t size;

	if (!name || !slm_front_has_routes())
		return NULL;
	size = strlen(name);
	pthread_mutex_lock(&registry.mutex);
	for (route = registry.routes; route; route = route->next) {
		if (size < route->path_size ||
		    memcmp(name, route->path, route->path_size) != 0)
			continue;
		suffix = name + route->path_size;
		if (*suffix == '\0' || is_companion(suffix))
			break;
	}
	if (route)
		pthread_mutex_lock(&route->mutex);
	pthread_mutex_unlock(&registry.mutex);
	if (!route)
		return NULL;
	assert(route->store);
	stpcpy(stpcpy(inner, slm_store_main_path(route->store)), suffix);
	return route;
}

/* ---- Names ------------------------------------------------------------- */

/* Resolves all links of a name, also where the last part does not exist. */
static void resolve(const char *name, char out[SLM_VFS_PATH_MAX])
{
	char real[PATH_MAX], directory[SLM_VFS_PATH_MAX];
	const char *slash = strrchr(name, '/');
	int n = -1;

	if (realpath(name, real)) {
		n = snprintf(out, SLM_VFS_PATH_MAX, "%s", real);
	} else if (slash && slash != name) {
		snprintf(directory, sizeof(directory), "%.*s",
			 (int)(slash - name), name);
		if (realpath(directory, real))
			n = snprintf(out, SLM_VFS_PATH_MAX, "%s%s", real,
				     slash);
	}
	if (n < 0 || n >= SLM_VFS_PATH_MAX)
		snprintf(out, SLM_VFS_PATH_MAX, "%s", name);
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat one, other;

	return stat(a, &one) == 0 && stat(b, &other) == 0 &&
	       one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* Puts the route's own spelling in the place of another name of its file. */
void slm_front_respell(int size, char *name)
{
	char resolved[SLM_VFS_PATH_MAX];
	struct slm_front_route *route;

	resolve(name, resolved);
	pthread_mutex_lock(&registry.mutex);
	route = registry.routes;
	while (route && strcmp(route->path, resolved) != 0)
		route = route->next;
	if (!route) {
		route = registry.routes;
		while (route && !is_same_file(route->path, resolved))
			route = route->next;
	}
	if (route && route->path_size < (size_t)size)
		memcpy(name, route->path, route->path_size + 1);
	pthread_mutex_unlock(&registry.mutex);
}

/* ---- Installing -------------------------------------------------------- */

/*
 * Also after a sqlite3_shutdown(): SQLite then puts its own VFS back in the
 * first place. A program that has a default VFS of its own keeps it.
 */
static enum sqloom_status install(struct sqloom_error *err)
{
	sqlite3_vfs *found = sqlite3_vfs_find(SYSTEM_NAME);
	bool is_default = sqlite3_vfs_find(NULL) == found;

	if (found == &front)
		return SQLOOM_OK;
	if (!found)
		return slm_error_set(err, SQLOOM_UNSUPPORTED,
				     "this SQLite has no \"" SYSTEM_NAME
				     "\" VFS; sqloom needs one");
	if (!system_of()) {
		slm_front_init_vfs(&front, found);
		atomic_store_explicit(&system_vfs, found, memory_order_release);
	}
	if (sqlite3_vfs_register(&front, is_default) != SQLITE_OK)
		return slm_error_nomem(err);
	return SQLOOM_OK;
}

enum sqloom_status slm_front_install(struct sqloom_error *err)
{
	enum sqloom_status status;

	pthread_mutex_lock(&install_mutex);
	status = install(err);
	pthread_mutex_unlock(&install_mutex);
	return status;
}

sqlite3_vfs *slm_front_system(void)
{
	sqlite3_vfs *system = system_of();

	return system ? system : sqlite3_vfs_find(SYSTEM_NAME);
}

/* ---- Routes ------------------------------------------------------------ */

static enum sqloom_status set_path(struct slm_front_route *route,
				   const char *path, struct sqloom_error *err)
{
	sqlite3_vfs *system = system_of();
	char full[SLM_VFS_PATH_MAX + 1] = "";
	int rc = system->xFullPathname(system, path, sizeof(full), full);

	if ((rc & 0xff) != SQLITE_OK || strlen(full) >= SLM_VFS_PATH_MAX)
		return slm_error_set(err, SQLOOM_USAGE,
				     "%.200s is no path of a database: %s; "
				     "give one of at most %d bytes",
				     path, sqlite3_errstr(rc & 0xff),
				     SLM_VFS_PATH_MAX - 1);
	resolve(full, route->path);
	route->path_size = strlen(route->path);
	return SQLOOM_OK;
}

static enum sqloom_status check_options(const struct slm_front_options *options,
					struct sqloom_error *err)
{
	assert(options->store);
	assert(options->store->kind == SQLOOM_STORE_MEMORY);
	assert(options->store->vfs.szOsFile <= SLM_FRONT_INNER_SIZE);
	if (!options->path || !*options->path ||
	    strcmp(options->path, ":memory:") == 0)
		return slm_error_set(err, SQLOOM_USAGE,
				     "a database without a file belongs to "
				     "one connection; give the path of a file, "
				     "which need not exist");
	return SQLOOM_OK;
}

/* Puts it into the registry, if there is none of this path. */
static bool enrol(struct slm_front_route *route)
{
	const struct slm_front_route *other;

	pthread_mutex_lock(&registry.mutex);
	other = registry.routes;
	while (other && strcmp(other->path, route->path) != 0)
		other = other->next;
	if (!other) {
		route->id = ++registry.ids;
		route->next = registry.routes;
		registry.routes = route;
		atomic_fetch_add(&registry.count, 1);
	}
	pthread_mutex_unlock(&registry.mutex);
	return !other;
}

static void free_route(struct slm_front_route *route)
{
	pthread_mutex_destroy(&route->mutex);
	slm_mem_keep_unref(route->keep);
	slm_free(route);
}

enum sqloom_status slm_front_add(const struct slm_front_options *options,
				 struct slm_front_route **out,
				 struct sqloom_error *err)
{
	enum sqloom_status status = check_options(options, err);
	struct slm_front_route *route;

	if (!status)
		status = slm_front_install(err);
	if (status)
		return status;
	route = slm_calloc(1, sizeof(*route));
	if (!route)
		return slm_error_nomem(err);
	pthread_mutex_init(&route->mutex, NULL);
	route->store = options->store;
	route->owners = options->owners;
	route->sleep = options->sleep;
	route->userdata = options->userdata;
	route->keep = slm_mem_keep_new();
	status = route->keep ? set_path(route, options->path, err) :
			       slm_error_nomem(err);
	if (!status && !enrol(route))
		status = slm_error_set(err, SQLOOM_USAGE,
				       "%s is explored already; end that first",
				       route->path);
	if (status) {
		free_route(route);
		return status;
	}
	*out = route;
	return SQLOOM_OK;
}

void slm_front_release(struct slm_front_route *route)
{
	bool unused = !route->store && !route->open;

	pthread_mutex_unlock(&route->mutex);
	if (unused)
		free_route(route);
}

static unsigned count_databases(const struct slm_front_route *route)
{
	unsigned count = 0;

	for (const struct slm_front_file *file = route->open; file;
	     file = file->next)
		count += file->database;
	return count;
}

/* Nobody finds it any more; locked. */
static void strike_off(struct slm_front_route *route)
{
	struct slm_front_route **at = &registry.routes;

	pthread_mutex_lock(&registry.mutex);
	while (*at != route) {
		assert(*at);
		at = &(*at)->next;
	}
	*at = route->next;
	atomic_fetch_sub(&registry.count, 1);
	pthread_mutex_lock(&route->mutex);
	pthread_mutex_unlock(&registry.mutex);
}

void slm_front_remove(struct slm_front_route *route, unsigned *open)
{
	if (!route)
		return;
	strike_off(route);
	if (open)
		*open = count_databases(route);
	/* SQLite reads the WAL-index without asking. */
	if (route->open)
		route->keep =
			slm_mem_keep_regions(&route->store->mem, route->keep);
	for (struct slm_front_file *file = route->open; file; file = file->next)
		slm_front_file_cut(file);
	route->store = NULL;
	slm_front_release(route);
}

int slm_front_owner(const struct slm_front_route *route, sqlite3 *db)
{
	sqlite3_file *base = NULL;
	const struct slm_front_file *file;

	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER,
				 &base) != SQLITE_OK)
		return -1;
	file = slm_front_file_of(base);
	return file && file->route == route && file->numbered ?
		       (int)file->owner :
		       -1;
}

uint64_t slm_front_serial(struct slm_front_route *route, int owner)
{
	uint64_t serial = 0;

	pthread_mutex_lock(&route->mutex);
	if (owner >= 0 && route->numbers & (UINT32_C(1) << owner))
		serial = route->serials[owner];
	pthread_mutex_unlock(&route->mutex);
	return serial;
}

/* Who closes it has its mutex first, and comes to front_close() with it: until
 * then the connection is there. */
bool slm_front_hold(struct slm_front_route *route, int owner, uint64_t serial,
		    sqlite3 *db)
{
	bool held;

	pthread_mutex_lock(&route->mutex);
	held = owner >= 0 && route->numbers & (UINT32_C(1) << owner) &&
	       route->serials[owner] == serial &&
	       sqlite3_mutex_try(sqlite3_db_mutex(db)) == SQLITE_OK;
	pthread_mutex_unlock(&route->mutex);
	return held;
}

unsigned slm_front_count(const struct slm_front_route *route)
{
	struct slm_front_route *locked = (struct slm_front_route *)route;
	unsigned count;

	pthread_mutex_lock(&locked->mutex);
	count = count_databases(route);
	pthread_mutex_unlock(&locked->mutex);
	return count;
}

bool slm_front_was_full(struct slm_front_route *route)
{
	bool full;

	pthread_mutex_lock(&route->mutex);
	full = route->full;
	pthread_mutex_unlock(&route->mutex);
	return full;
}

void slm_front_lock(struct slm_front_route *route)
{
	pthread_mutex_lock(&route->mutex);
}

void slm_front_unlock(struct slm_front_route *route)
{
	pthread_mutex_unlock(&route->mutex);
}
