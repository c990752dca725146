/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds which lock of which SQLite file, who was refused what, and who
 * stands in the way. The rules are those of SQLite's unix VFS (POSIX advisory
 * locks) and of its WAL-index slots. Knows no file contents and no VFS: both
 * kinds of store fill in the same table.
 *
 * Invariants: at most one handle of a file is above SHARED; while one is at
 * EXCLUSIVE no other is at SHARED. A slot is held exclusively by one handle
 * or shared by any number.
 */
#ifndef SLM_DB_SQLITE_LOCK_H
#define SLM_DB_SQLITE_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLM_LOCK_OWNERS 32	   /* owners with a number */
#define SLM_LOCK_NOBODY UINT32_MAX /* an owner that nobody waits for */
#define SLM_LOCK_TEXT 160	   /* bytes of a text for people */

/* The lock side of a file: everybody who has it open. */
struct slm_lock_file {
	struct slm_lock_handle *handles; /* borrowed */
	char label[64];			 /* its name for people */
};

/* The lock side of one open handle. */
struct slm_lock_handle {
	struct slm_lock_file *file;   /* borrowed; NULL: not in the table */
	struct slm_lock_handle *next; /* of the same file */
	struct slm_lock_handle *next_open; /* of the table */
	unsigned owner;
	int level;	   /* SQLITE_LOCK_NONE .. SQLITE_LOCK_EXCLUSIVE */
	uint8_t shared;	   /* WAL-index slots held shared, a bit each */
	uint8_t exclusive; /* and exclusively */
	bool mapped;	   /* has the WAL-index mapped */
};

/* The lock that an owner was refused last. */
struct slm_lock_wait {
	const struct slm_lock_handle *handle; /* NULL: it waits for nothing */
	int level;     /* wanted of the file; 0: it is slots */
	uint8_t slots; /* wanted of the WAL-index, a bit each */
	bool exclusively;
};

struct slm_lock_table {
	struct slm_lock_wait waits[SLM_LOCK_OWNERS];
	struct slm_lock_handle *open; /* all of them, borrowed */
	/* A handle at SHARED that is refused EXCLUSIVE is left at PENDING. */
	bool reader_pends;
	uint64_t releases; /* locks released or lowered so far */
};

/* Puts a handle of this owner into the table, or takes it out with all its
 * locks. */
void slm_lock_open(struct slm_lock_table *table, struct slm_lock_handle *handle,
		   struct slm_lock_file *file, unsigned owner);
void slm_lock_close(struct slm_lock_table *table,
		    struct slm_lock_handle *handle);

/* What the rules say: may the handle have this level now? Changes nothing. */
bool slm_lock_allowed(const struct slm_lock_handle *handle, int level);
bool slm_lock_slots_allowed(const struct slm_lock_handle *handle, uint8_t slots,
			    bool exclusively);

/* Writes down what was decided. A refused EXCLUSIVE can leave PENDING. */
void slm_lock_record(struct slm_lock_table *table,
		     struct slm_lock_handle *handle, int level, bool granted);
void slm_lock_record_slots(struct slm_lock_table *table,
			   struct slm_lock_handle *handle, uint8_t slots,
			   bool exclusively, bool granted);
/* Lowers to SHARED or NONE; lets slots go. */
void slm_lock_lower(struct slm_lock_table *table,
		    struct slm_lock_handle *handle, int level);
void slm_lock_release_slots(struct slm_lock_table *table,
			    struct slm_lock_handle *handle, uint8_t slots);

/* Is anybody above SHARED? */
bool slm_lock_reserved(const struct slm_lock_file *file);

/* Does the owner hold a lock that lasts no longer than a transaction? The
 * SHARED lock that goes with an open WAL does not count. */
bool slm_lock_holds(const struct slm_lock_table *table, unsigned owner);

/* The owners in the way of what this owner was refused last, a bit each. */
uint32_t slm_lock_blockers(const struct slm_lock_table *table, unsigned owner);
bool slm_lock_waits(const struct slm_lock_table *table, unsigned owner);
void slm_lock_forget(struct slm_lock_table *table, unsigned owner);
/* Writes what it was refused into text; "" if nothing. */
void slm_lock_describe(const struct slm_lock_table *table, unsigned owner,
		       char text[SLM_LOCK_TEXT]);

#endif
