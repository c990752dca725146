/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that are programs: commands and HTTP requests, which reach PostgreSQL
 * through our proxy. Behind db.h, so that the runner, strategies and the oracle
 * see what they know: calls that take steps on a database. The steps are known
 * when they come (slm_db_arrive).
 *
 * One thread, one loop: the proxy, the processes and the requests run in it;
 * whatever the runner asks for runs the loop until it is there.
 */
#ifndef SLM_CALL_PROGRAMS_H
#define SLM_CALL_PROGRAMS_H

#include "db/db.h"

/* Whose is a connection? */
enum slm_attribution {
	SLM_ATTRIBUTION_EXCLUSIVE, /* that of the call which runs when it is
				      opened, or used after it was idle */
	SLM_ATTRIBUTION_PORT,	   /* each call has a port of its own */
	SLM_ATTRIBUTION_NAME,	   /* application_name is the call's name */
};

#define SLM_PROGRAM_STEPS_MAX 4096 /* different texts of one call */

struct slm_programs_options {
	struct slm_postgres_options pg;
	int proxy_port; /* 0: a free one; PORT: that of the first call */
	const char *socket_dir; /* the proxy's Unix socket, too; NULL: TCP only */
	enum slm_attribution attribution;
	const char *const *background; /* application names; NULL ends; NULL:
					  none */
	uint64_t stall_after_ms, call_limit_ms;
	const char *const *environment; /* NULL: empty */
	/* Calls that are functions of this process, instead of what the spec
	 * says: start makes the call begin on a thread of the owner's, which
	 * uses the proxy at this port, and tells its end by
	 * slm_programs_ended(). NULL: commands and requests. */
	void (*start)(void *userdata, unsigned call, int port);
	void *start_userdata;
};

/* The call that `start` began is over. From any thread. */
void slm_programs_ended(struct slm_db *db, unsigned call, bool failed);

/* spec (with calls) and options' strings are borrowed for the life of the db.
 * Sets up: database, proxy, the spec's `before` commands and servers. */
enum sqloom_status slm_programs_open(const struct sqloom_spec *spec,
				     const struct slm_programs_options *options,
				     struct slm_db **out,
				     struct sqloom_error *err);

/* What is to be said at the end: traffic that belongs to no call, calls that
 * left a transaction open ...; one sentence each. *count is 0 for another kind
 * of db. Valid until the db is freed. */
const char *const *slm_programs_notes(struct slm_db *db, unsigned *count);

#endif
