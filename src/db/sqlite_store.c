/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as its users see it: one sqlite3_vfs per store, the clock, sleep
 * and faults that both kinds have in common, and the choice between the kinds.
 */
#include "db/sqlite_store.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/sqlite_front.h"
#include "db/sqlite_vfs.h"

static_assert(SLM_STORE_OWNERS_MAX == SLM_LOCK_OWNERS, "one bit each");
static_assert(SLM_STORE_NOBODY == SLM_LOCK_NOBODY, "one nobody");

#define JULIAN_EPOCH_MS INT64_C(210866760000000) /* of 1970, as SQLite counts */
#define FIRST_CLOCK_MS INT64_C(946684800000)	 /* 2000-01-01 00:00 UTC */

/* ---- Methods of the VFS that both kinds share ------------------------- */

static void pass_us(struct slm_store *store, int64_t us)
{
	store->clock_us += us;
	store->clock_ms += store->clock_us / 1000;
	store->clock_us %= 1000;
}

/*
 * A busy handler waits. If the running owner was refused a lock, the driver
 * lets others run, and passes the time; else only the clock moves.
 */
static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
	struct slm_store *store = slm_vfs_store(vfs);
	unsigned ms = ((unsigned)us + 999) / 1000;

	if (us <= 0)
		return 0;
	if (store->hooks.sleep && slm_lock_waits(&store->locks, store->owner))
		store->hooks.sleep(ms, store->hooks.userdata);
	else
		pass_us(store, us);
	return us;
}

static int vfs_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
	*out = JULIAN_EPOCH_MS + slm_vfs_store(vfs)->clock_ms;
	return SQLITE_OK;
}

static int vfs_time(sqlite3_vfs *vfs, double *out)
{
	sqlite3_int64 ms;

	vfs_time_ms(vfs, &ms);
	*out = (double)ms / 86400000.0;
	return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int size, char *out)
{
	struct slm_store *store = slm_vfs_store(vfs);

	for (int i = 0; i < size; i++)
		out[i] = (char)slm_rng_next(&store->rng);
	return size;
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *out)
{
	(void)vfs;
	(void)size;
	(void)out;
	return 0;
}

/* Loadable extensions come from the disk, through the system's VFS. */
static void *vfs_dlopen(sqlite3_vfs *vfs, const char *path)
{
	sqlite3_vfs *system = slm_vfs_store(vfs)->system;

	return system->xDlOpen(system, path);
}

static void vfs_dlerror(sqlite3_vfs *vfs, int size, char *out)
{
	sqlite3_vfs *system = slm_vfs_store(vfs)->system;

	system->xDlError(system, size, out);
}

static void (*vfs_dlsym(sqlite3_vfs *vfs, void *library,
			const char *symbol))(void)
{
	sqlite3_vfs *system = slm_vfs_store(vfs)->system;

	return system->xDlSym(system, library, symbol);
}

static void vfs_dlclose(sqlite3_vfs *vfs, void *library)
{
	sqlite3_vfs *system = slm_vfs_store(vfs)->system;

	system->xDlClose(system, library);
}

static void init_vfs(struct slm_store *store)
{
	store->vfs = (sqlite3_vfs){
		.iVersion = 2,
		.mxPathname = SLM_VFS_PATH_MAX,
		.zName = store->name,
		.pAppData = store,
		.xDlOpen = vfs_dlopen,
		.xDlError = vfs_dlerror,
		.xDlSym = vfs_dlsym,
		.xDlClose = vfs_dlclose,
		.xRandomness = vfs_randomness,
		.xSleep = vfs_sleep,
		.xCurrentTime = vfs_time,
		.xGetLastError = vfs_last_error,
		.xCurrentTimeInt64 = vfs_time_ms,
	};
}

void slm_vfs_label(const struct slm_store *store, const char *path,
		   char label[64])
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	if (strcmp(path, store->main_path) == 0)
		name = "main";
	snprintf(label, 64, "%.63s", name);
}

/* ---- Making and freeing ----------------------------------------------- */

/* The main database exists from the start, empty. */
static enum sqloom_status make_main(struct slm_store *store,
				    struct sqloom_error *err)
{
	if (store->kind == SQLOOM_STORE_FILE)
		return slm_vfs_file_init(store, err);
	snprintf(store->main_path, sizeof(store->main_path), "/%s/main.db",
		 store->name);
	slm_vfs_mem_init(store);
	if (!slm_mem_create(&store->mem, store->main_path, SLM_MEM_DB))
		return slm_error_nomem(err);
	return SQLOOM_OK;
}

enum sqloom_status slm_store_new(enum sqloom_store kind,
				 const struct slm_store_hooks *hooks,
				 struct slm_store **out,
				 struct sqloom_error *err)
{
	static atomic_uint number;
	enum sqloom_status status;
	struct slm_store *store = slm_calloc(1, sizeof(*store));

	if (!store)
		return slm_error_nomem(err);
	store->kind = kind;
	store->owner = SLM_STORE_NOBODY;
	store->clock_ms = FIRST_CLOCK_MS;
	if (hooks)
		store->hooks = *hooks;
	slm_rng_init(&store->rng, 1);
	snprintf(store->name, sizeof(store->name), "sqloom-%u",
		 atomic_fetch_add(&number, 1));
	init_vfs(store);
	status = SQLOOM_NOMEM;
	store->texts = slm_calloc(SLM_LOCK_OWNERS, sizeof(*store->texts));
	store->system = slm_front_system();
	if (!store->texts)
		slm_error_nomem(err);
	else if (!store->system)
		status = slm_error_set(err, SQLOOM_UNSUPPORTED,
				       "this SQLite has no \"unix\" VFS; "
				       "sqloom needs one");
	else
		status = make_main(store, err);
	if (!status)
		store->locks.reader_pends = slm_vfs_reader_pends(store->system);
	if (!status && sqlite3_vfs_register(&store->vfs, 0) != SQLITE_OK)
		status = slm_error_nomem(err);
	if (status) {
		slm_store_free(store);
		return status;
	}
	store->registered = true;
	*out = store;
	return SQLOOM_OK;
}

void slm_store_free(struct slm_store *store)
{
	if (!store)
		return;
	assert(!store->locks.open);
	if (store->registered)
		sqlite3_vfs_unregister(&store->vfs);
	if (store->kind == SQLOOM_STORE_FILE)
		slm_vfs_file_deinit(store);
	else
		slm_mem_deinit(&store->mem);
	slm_free(store->texts);
	slm_free(store);
}

const char *slm_store_vfs(const struct slm_store *store)
{
	return store->name;
}

const char *slm_store_main_path(const struct slm_store *store)
{
	return store->main_path;
}

enum sqloom_status slm_store_seed(struct slm_store *store, const char *path,
				  struct sqloom_error *err)
{
	if (store->kind == SQLOOM_STORE_FILE)
		return slm_vfs_file_load(store, path, err);
	return slm_vfs_mem_load(store, path, store->main_path, err);
}

void slm_store_set_owner(struct slm_store *store, unsigned owner)
{
	assert(owner < SLM_STORE_OWNERS_MAX || owner == SLM_STORE_NOBODY);
	store->owner = owner;
}

unsigned slm_store_owner(const struct slm_store *store)
{
	return store->owner;
}

/* ---- Locks ------------------------------------------------------------ */

uint32_t slm_store_blockers(const struct slm_store *store, unsigned owner)
{
	return slm_lock_blockers(&store->locks, owner);
}

bool slm_store_waits(const struct slm_store *store, unsigned owner)
{
	return slm_lock_waits(&store->locks, owner);
}

void slm_store_forget_wait(struct slm_store *store, unsigned owner)
{
	slm_lock_forget(&store->locks, owner);
}

const char *slm_store_wait_text(const struct slm_store *store, unsigned owner)
{
	if (owner >= SLM_LOCK_OWNERS)
		return "";
	slm_lock_describe(&store->locks, owner, store->texts[owner]);
	return store->texts[owner];
}

bool slm_store_holds(const struct slm_store *store, unsigned owner)
{
	return slm_lock_holds(&store->locks, owner);
}

uint64_t slm_store_releases(const struct slm_store *store)
{
	return store->locks.releases;
}

/* ---- Snapshot --------------------------------------------------------- */

enum sqloom_status slm_store_snapshot(struct slm_store *store,
				      struct sqloom_error *err)
{
	if (store->kind == SQLOOM_STORE_FILE)
		return slm_vfs_file_snapshot(store, err);
	return slm_mem_snapshot(&store->mem, err);
}

enum sqloom_status slm_store_restore(struct slm_store *store,
				     struct sqloom_error *err)
{
	if (store->kind == SQLOOM_STORE_FILE)
		return slm_vfs_file_restore(store, err);
	return slm_mem_restore(&store->mem, err);
}

uint64_t slm_store_image(struct slm_store *store)
{
	if (store->kind == SQLOOM_STORE_FILE)
		return 0;
	return slm_mem_image(&store->mem);
}

/* ---- Clock and faults ------------------------------------------------- */

void slm_store_set_clock(struct slm_store *store, int64_t unix_ms)
{
	store->clock_ms = unix_ms;
	store->clock_us = 0;
}

void slm_store_pass(struct slm_store *store, unsigned ms)
{
	store->clock_ms += ms;
}

void slm_store_fail_at(struct slm_store *store, uint64_t n, int code,
		       bool sticky)
{
	store->fail_at = n > 0 ? store->operations + n : 0;
	store->fail_code = code;
	store->fail_sticky = sticky;
}

uint64_t slm_store_operations(const struct slm_store *store)
{
	return store->operations;
}
