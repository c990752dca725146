/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are routed: every method locks the route, says whose code runs,
 * and passes the call on to the file object of the store. After the route was
 * removed there is no store: everything but closing is an I/O error.
 *
 * Invariants: file->route stays valid as long as the file is open. A file is
 * in its route's list from the opening to the closing, whatever becomes of the
 * route meanwhile.
 */
#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "db/sqlite_front_internal.h"

_Thread_local struct slm_front_refusal slm_front_refused SLM_TLS;

static struct slm_front_file *file_of(sqlite3_file *base)
{
	return (struct slm_front_file *)base;
}

static sqlite3_file *inner_of(struct slm_front_file *file)
{
	return (sqlite3_file *)file->inner;
}

static const sqlite3_io_methods *methods_of(struct slm_front_file *file)
{
	return inner_of(file)->pMethods;
}

/* Locks the route. False: it was removed, and is not locked. */
static bool enter(struct slm_front_file *file)
{
	struct slm_front_route *route = file->route;

	pthread_mutex_lock(&route->mutex);
	if (!route->store) {
		pthread_mutex_unlock(&route->mutex);
		return false;
	}
	slm_store_set_owner(route->store, file->owner);
	return true;
}

static void leave(struct slm_front_file *file)
{
	pthread_mutex_unlock(&file->route->mutex);
}

/* Passes a call on. */
#define FORWARD(file, failure, call)                 \
	do {                                         \
		int forward_rc;                      \
                                                     \
		if (!enter(file))                    \
			return failure;              \
		forward_rc = methods_of(file)->call; \
		leave(file);                         \
		return forward_rc;                   \
	} while (0)

/* ---- Bytes ------------------------------------------------------------- */

static int front_read(sqlite3_file *base, void *out, int amount,
		      sqlite3_int64 offset)
{
	struct slm_front_file *file = file_of(base);

	FORWARD(file, SQLITE_IOERR_READ,
		xRead(inner_of(file), out, amount, offset));
}

static int front_write(sqlite3_file *base, const void *data, int amount,
		       sqlite3_int64 offset)
{
	struct slm_front_file *file = file_of(base);

	FORWARD(file, SQLITE_IOERR_WRITE,
		xWrite(inner_of(file), data, amount, offset));
}

static int front_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct slm_front_file *file = file_of(base);

	FORWARD(file, SQLITE_IOERR_TRUNCATE, xTruncate(inner_of(file), size));
}

static int front_sync(sqlite3_file *base, int flags)
{
	struct slm_front_file *file = file_of(base);

	FORWARD(file, SQLITE_IOERR_FSYNC, xSync(inner_of(file), flags));
}

static int front_size(sqlite3_file *base, sqlite3_int64 *out)
{
	struct slm_front_file *file = file_of(base);

	FORWARD(file, SQLITE_IOERR_FSTAT, xFileSize(inner_of(file), out));
}

/* ---- Locks ------------------------------------------------------------- */

/* Remembers for this thread whether the lock it asked for was refused. */
static void note_lock(const struct slm_front_file *file, int rc)
{
	if (rc == SQLITE_BUSY) {
		slm_front_refused.route = file->route;
		slm_front_refused.id = file->route->id;
		slm_front_refused.owner = file->owner;
	} else if (rc == SQLITE_OK) {
		slm_front_refused.route = NULL;
	}
}

static int front_lock(sqlite3_file *base, int level)
{
	struct slm_front_file *file = file_of(base);
	int rc;

	if (!enter(file))
		return SQLITE_IOERR_LOCK;
	rc = methods_of(file)->xLock(inner_of(file), level);
	leave(file);
	note_lock(file, rc);
	return rc;
}

static int front_unlock(sqlite3_file *base, int level)
{
	struct slm_front_file *file = file_of(base);

	FORWARD(file, SQLITE_IOERR_UNLOCK, xUnlock(inner_of(file), level));
}

static int front_check_reserved(sqlite3_file *base, int *out)
{
	struct slm_front_file *file = file_of(base);

	FORWARD(file, SQLITE_IOERR_CHECKRESERVEDLOCK,
		xCheckReservedLock(inner_of(file), out));
}

/* ---- The WAL-index ----------------------------------------------------- */

static int front_shm_map(sqlite3_file *base, int region, int size, int extend,
			 void volatile **out)
{
	struct slm_front_file *file = file_of(base);

	*out = NULL;
	FORWARD(file, SQLITE_IOERR_SHMMAP,
		xShmMap(inner_of(file), region, size, extend, out));
}

static int front_shm_lock(sqlite3_file *base, int first, int count, int flags)
{
	struct slm_front_file *file = file_of(base);
	int rc;

	if (!enter(file))
		return SQLITE_IOERR_SHMLOCK;
	rc = methods_of(file)->xShmLock(inner_of(file), first, count, flags);
	leave(file);
	if (flags & SQLITE_SHM_LOCK)
		note_lock(file, rc);
	return rc;
}

/* Threads read the WAL-index without any lock. */
static void front_shm_barrier(sqlite3_file *base)
{
	struct slm_front_file *file = file_of(base);

	atomic_thread_fence(memory_order_seq_cst);
	if (enter(file))
		leave(file);
}

static int front_shm_unmap(sqlite3_file *base, int delete_index)
{
	struct slm_front_file *file = file_of(base);

	FORWARD(file, SQLITE_OK, xShmUnmap(inner_of(file), delete_index));
}

/* ---- The rest ---------------------------------------------------------- */

static int front_control(sqlite3_file *base, int op, void *arg)
{
	struct slm_front_file *file = file_of(base);

	FORWARD(file, SQLITE_IOERR, xFileControl(inner_of(file), op, arg));
}

static int front_sector(sqlite3_file *base)
{
	struct slm_front_file *file = file_of(base);

	FORWARD(file, SLM_VFS_SECTOR, xSectorSize(inner_of(file)));
}

static int front_characteristics(sqlite3_file *base)
{
	struct slm_front_file *file = file_of(base);

	FORWARD(file, 0, xDeviceCharacteristics(inner_of(file)));
}

/* ---- Opening and closing ----------------------------------------------- */

int slm_front_file_cut(struct slm_front_file *file)
{
	slm_store_set_owner(file->route->store, file->owner);
	return methods_of(file)->xClose(inner_of(file));
}

static void take_out(struct slm_front_file *file)
{
	struct slm_front_file **at = &file->route->open;

	while (*at != file) {
		assert(*at);
		at = &(*at)->next;
	}
	*at = file->next;
	if (file->numbered)
		file->route->numbers &= ~(UINT32_C(1) << file->owner);
}

static int front_close(sqlite3_file *base)
{
	struct slm_front_file *file = file_of(base);
	struct slm_front_route *route = file->route;
	int rc = SQLITE_OK;

	if (slm_front_refused.route == route &&
	    slm_front_refused.owner == file->owner)
		slm_front_refused.route = NULL;
	pthread_mutex_lock(&route->mutex);
	if (route->store)
		rc = slm_front_file_cut(file);
	take_out(file);
	base->pMethods = NULL;
	slm_front_release(route);
	return rc;
}

/* A number that no open connection has. */
static bool take_number(struct slm_front_file *file)
{
	struct slm_front_route *route = file->route;

	/* The last number is for a connection of the store's owner. */
	for (unsigned i = 0; i < SLM_STORE_OWNERS_MAX - 1; i++) {
		if (route->numbers & UINT32_C(1) << i)
			continue;
		route->numbers |= UINT32_C(1) << i;
		route->serials[i] = ++route->openings;
		file->owner = i;
		file->numbered = true;
		return true;
	}
	route->full = true;
	return false;
}

/* A journal or WAL belongs to the connection whose database it is of. */
static unsigned owner_of_database(const struct slm_front_route *route,
				  const char *name)
{
	sqlite3_file *database = sqlite3_database_file_object(name);
	struct slm_front_file *file = slm_front_file_of(database);

	return file && file->route == route ? file->owner : SLM_STORE_NOBODY;
}

int slm_front_file_open(struct slm_front_file *file, const char *name,
			const char *inner_name, int flags, int *out_flags)
{
	struct slm_front_route *route = file->route;
	struct slm_store *store = route->store;
	int rc;

	file->owner = SLM_STORE_NOBODY;
	file->numbered = false;
	file->database = flags & SQLITE_OPEN_MAIN_DB;
	if (route->owners && file->database && !take_number(file))
		return SQLITE_CANTOPEN;
	if (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL))
		file->owner = owner_of_database(route, name);
	slm_store_set_owner(store, file->owner);
	/* The parameters of a URI do not go with the name in the store. */
	rc = store->vfs.xOpen(&store->vfs, inner_name, inner_of(file),
			      flags & ~SQLITE_OPEN_URI, out_flags);
	if (rc != SQLITE_OK) {
		if (file->numbered)
			route->numbers &= ~(UINT32_C(1) << file->owner);
		return rc;
	}
	file->next = route->open;
	route->open = file;
	file->base.pMethods = &slm_front_methods;
	return SQLITE_OK;
}

struct slm_front_file *slm_front_file_of(sqlite3_file *base)
{
	if (!base || base->pMethods != &slm_front_methods)
		return NULL;
	return file_of(base);
}

const sqlite3_io_methods slm_front_methods = {
	.iVersion = 2,
	.xClose = front_close,
	.xRead = front_read,
	.xWrite = front_write,
	.xTruncate = front_truncate,
	.xSync = front_sync,
	.xFileSize = front_size,
	.xLock = front_lock,
	.xUnlock = front_unlock,
	.xCheckReservedLock = front_check_reserved,
	.xFileControl = front_control,
	.xSectorSize = front_sector,
	.xDeviceCharacteristics = front_characteristics,
	.xShmMap = front_shm_map,
	.xShmLock = front_shm_lock,
	.xShmBarrier = front_shm_barrier,
	.xShmUnmap = front_shm_unmap,
};
