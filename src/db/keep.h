/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PostgreSQL database that others use as they like, without a word to us,
 * and that is put back to a snapshot whenever they are done: for tests that
 * commit. What is behind it is the same as for explorations (snapshots,
 * restore, leftovers of a crash, exclusive use); what differs is that nobody
 * tells what was written. So every table has a trigger that notes it, made at
 * the opening and gone at the close, or, after a crash, at the next opening.
 *
 * What is found out: writes of whatever kind to tables, also by cascades,
 * through parents and partitions, and under session_replication_role; TRUNCATE;
 * positions of sequences, also where the transaction was rolled back; tables,
 * indexes, sequences, views that are new or gone, and columns that were added
 * (for a superuser also columns that were dropped, and other names).
 * What is not: what functions, types, policies and grants were, contents of
 * materialized views and foreign tables, large objects, and in a database of
 * more than SLM_KEEP_EXACT_MAX sequences the position that setval(..., false)
 * gives to a sequence that was never used, if its table was not written.
 *
 * The role must own the tables (or be superuser), because of the triggers. One
 * thread at a time.
 */
#ifndef SLM_DB_KEEP_H
#define SLM_DB_KEEP_H

#include <sqloom/sqloom.h>

#include "base/buf.h"

#define SLM_KEEP_EXACT_MAX 100 /* sequences that are read as a whole */

struct slm_keep;

struct slm_keep_options {
	const char *conninfo; /* as libpq understands it; copied */
	bool any_database;    /* also one that does not look like a test's */
	/* Called once, before the snapshot is taken; what it makes is dropped
	 * at the close. May connect to the database by itself, and must leave
	 * no transaction open. NULL: nothing is set up. */
	enum sqloom_status (*setup)(void *userdata, struct sqloom_error *err);
	void *userdata;
};

/* SQLOOM_USAGE (not a test's database), SQLOOM_DATABASE, SQLOOM_UNSUPPORTED,
 * SQLOOM_NOMEM, or what setup returned. A failure leaves nothing behind. */
enum sqloom_status slm_keep_open(const struct slm_keep_options *options,
				 struct slm_keep **out,
				 struct sqloom_error *err);

/*
 * Sessions of others that are in a transaction are ended, each with a line in
 * left (initialized by the caller; a failure of it is not looked at). Then what
 * was written since the last time is put back. SQLOOM_UNSUPPORTED: the schema
 * is not what it was; everything else has been put back, and it is said again
 * until the schema is as it was.
 */
enum sqloom_status slm_keep_restore(struct slm_keep *keep, struct slm_buf *left,
				    struct sqloom_error *err);

/* Takes away what was made, after a restore. Best effort after an error: what
 * stays is put right by the next opening. keep is freed in any case. */
enum sqloom_status slm_keep_close(struct slm_keep *keep,
				  struct sqloom_error *err);

#endif
