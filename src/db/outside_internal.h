/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of outside.h share: outside.c (opening, and what connections
 * write), outside_statement.c (what statements are), outside_server.c
 * (questions to the server about connections that are not ours). Nobody else
 * includes this.
 */
#ifndef SLM_DB_OUTSIDE_INTERNAL_H
#define SLM_DB_OUTSIDE_INTERNAL_H

#include "db/outside.h"
#include "db/postgres_internal.h"

/* A text that was seen, and what is known of it. */
struct pg_interned {
	struct slm_outside_statement known; /* first: what callers have */
	struct pg_interned *next;	    /* in its bucket */
	struct slm_arena arena;		    /* of all that is known */
	struct pg_step step;
	uint64_t hash;
	size_t size;
	uint64_t used; /* when last: counts statements */
};

struct pg_outside {
	enum sqloom_status (*setup)(struct slm_db *db, void *userdata,
				    struct sqloom_error *err);
	void *userdata;
	struct pg_interned **buckets; /* nbuckets, a power of two */
	size_t nbuckets, count;
	uint64_t clock;	       /* counts statements */
	struct pg_step commit; /* of what was split */
	bool *too_large;       /* per table of the catalogue: it is not shown */
	bool any_too_large;
	uint64_t run; /* counts them */
};

static inline struct postgres *slm_outside_of(struct slm_db *db)
{
	return (struct postgres *)db;
}

/* Of the COMMIT of what was split. */
enum sqloom_status slm_outside_read_commit(struct postgres *db,
					   struct sqloom_error *err);
/* The least recently used statements beyond the limit go. */
void slm_outside_evict(struct pg_outside *outside);
void slm_outside_free_statements(struct pg_outside *outside);

#endif
