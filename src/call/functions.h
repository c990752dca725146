/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that are functions of this process, on threads of their own which are
 * kept from run to run, with SQLite seen from inside: behind db.h, as programs.h
 * is for PostgreSQL. The statements of the functions park in the wrapped
 * sqlite3_step(), their waits for locks in the VFS, their points in
 * sqloom_point().
 *
 * All functions of the db must be called by the driver of baton.
 */
#ifndef SLM_CALL_FUNCTIONS_H
#define SLM_CALL_FUNCTIONS_H

#include "call/baton.h"
#include "db/db.h"

#define SLM_FUNCTION_STEPS_MAX 4096 /* different texts of one call */
#define SLM_FUNCTION_STALL_MS 20    /* when nothing was said */

struct slm_functions_options {
	struct slm_sqlite_options db;
	struct slm_baton *baton;	  /* borrowed */
	const struct sqloom_calls *calls; /* borrowed */
	uint64_t stall_after_ms, call_limit_ms;
};

/* spec (with one call of kind function for each of options->calls) and options'
 * strings are borrowed for the life of the db. SQLOOM_USAGE: statements of this
 * process cannot be seen. SQLOOM_CALL: the setup failed. */
enum sqloom_status slm_functions_open(
	const struct sqloom_spec *spec,
	const struct slm_functions_options *options, struct slm_db **out,
	struct sqloom_error *err);

/* What is to be said at the end; as slm_programs_notes(). */
const char *const *slm_functions_notes(struct slm_db *db, unsigned *count);

#endif
