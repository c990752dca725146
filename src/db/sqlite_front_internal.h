/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the front: what its files share. Not for other modules.
 *
 * Order of the locks: the registry (sqlite_front.c), then a route. Neither is
 * held while a hook is called or a thread sleeps.
 */
#ifndef SLM_DB_SQLITE_FRONT_INTERNAL_H
#define SLM_DB_SQLITE_FRONT_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "db/sqlite_front.h"
#include "db/sqlite_vfs.h"

#define SLM_FRONT_INNER_SIZE 256 /* bytes for a file object of the store */
#define SLM_FRONT_SUFFIX_MAX 15	 /* bytes of "-journal" and its like */
/* Bytes of a name in the store. */
#define SLM_FRONT_NAME_MAX \
	(sizeof((struct slm_store *)NULL)->main_path + SLM_FRONT_SUFFIX_MAX)

/* Reached without a call, in a shared library, too. */
#define SLM_TLS __attribute__((tls_model("initial-exec")))

struct slm_front_file;

struct slm_front_route {
	struct slm_front_route *next; /* of the registry */
	uint64_t id;		      /* never used again */
	char path[SLM_VFS_PATH_MAX];  /* without symbolic links */
	size_t path_size;
	void (*sleep)(unsigned owner, unsigned ms, void *userdata);
	void *userdata;
	bool owners;

	struct slm_mem_keep *keep; /* for what is open at the end */

	pthread_mutex_t mutex;	     /* for all that follows, and the store */
	struct slm_store *store;     /* borrowed; NULL: the route is removed */
	struct slm_front_file *open; /* what is open, files of SQLite's */
	uint32_t numbers;	     /* owner numbers in use, a bit each */
	bool full;		     /* a connection got no number */
	uint64_t openings;	     /* of connections with a number */
	uint64_t serials[SLM_STORE_OWNERS_MAX]; /* theirs, by number */
};

/* A file that is routed. */
struct slm_front_file {
	sqlite3_file base;
	struct slm_front_route *route;
	struct slm_front_file *next; /* of the route */
	unsigned owner;
	bool database; /* the main file of a connection */
	bool numbered; /* its owner number is its own */
	/* The store's file object, as aligned as SQLite gives ours. */
	sqlite3_int64 inner[SLM_FRONT_INNER_SIZE / 8];
};

/* The lock that was refused last on this thread, see sqlite_front.c. */
struct slm_front_refusal {
	struct slm_front_route *route; /* NULL: none */
	uint64_t id;		       /* of the route */
	unsigned owner;
};
extern _Thread_local struct slm_front_refusal slm_front_refused SLM_TLS;

/* Is anything routed at all? */
bool slm_front_has_routes(void);
/* Locks the route that a thread remembered; NULL: it is gone. */
struct slm_front_route *slm_front_lock_known(
	const struct slm_front_route *known, uint64_t id);
/* Locks the route of a name, and gives the name that the file has in the
 * store. NULL: it is not routed. */
struct slm_front_route *slm_front_lock_routed(const char *name,
					      char inner[SLM_FRONT_NAME_MAX]);
/* Puts the route's own spelling in the place of another name (with room for
 * size bytes) of its file. */
void slm_front_respell(int size, char *name);

/* Makes the VFS that stands before system. */
void slm_front_init_vfs(sqlite3_vfs *vfs, const sqlite3_vfs *system);

/* Methods of routed files. */
extern const sqlite3_io_methods slm_front_methods;

/* The file that base is, if it is routed; else NULL. */
struct slm_front_file *slm_front_file_of(sqlite3_file *base);

/* Opens the store's file of that name behind file, whose route is locked. name
 * is what SQLite gave. */
int slm_front_file_open(struct slm_front_file *file, const char *name,
			const char *inner_name, int flags, int *out_flags);
/* Closes what the store has of it; the route is locked and has a store. */
int slm_front_file_cut(struct slm_front_file *file);

/* Unlocks a route, and frees it if it is removed and nothing is open. */
void slm_front_release(struct slm_front_route *route);

#endif
