/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that sequences gave out in a run, and to which call: a list in the
 * order in which they became known, with a hash over it. The list is the
 * heap's and stays from run to run, the hash is the run's.
 *
 * Invariant: while generated_indexed == ngenerated > 0, each key of the list
 * is in the hash, with its last place.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "db/postgres_keep.h"

static uint64_t key_hash(uint32_t table, int64_t key)
{
	return slm_hash_mix(table, (uint64_t)key);
}

/* The slot of a key, or the free one where it belongs. */
static uint32_t *slot_of(const struct postgres *db, uint32_t table, int64_t key)
{
	uint64_t at = key_hash(table, key);

	for (;; at++) {
		uint32_t *slot = &db->generated_slots[at & db->generated_mask];
		const struct pg_generated *found;

		if (!*slot)
			return slot;
		found = &db->generated[*slot - 1];
		if (found->table == table && found->key == key)
			return slot;
	}
}

/* Slots for twice as many keys as there are, in the run's arena. */
static bool index_anew(struct postgres *db)
{
	uint32_t size = 16;
	uint32_t *slots;

	while (size < db->ngenerated * 4)
		size *= 2;
	slots = slm_arena_zalloc(db->run, size, sizeof(*slots));
	if (!slots)
		return false;
	db->generated_slots = slots;
	db->generated_mask = size - 1;
	for (uint32_t i = 0; i < db->ngenerated; i++)
		*slot_of(db, db->generated[i].table, db->generated[i].key) =
			i + 1;
	db->generated_indexed = db->ngenerated;
	return true;
}

static uint32_t next_ordinal(const struct postgres *db, unsigned call,
			     uint32_t table)
{
	for (unsigned i = db->ngenerated; i-- > 0;)
		if (db->generated[i].call == call &&
		    db->generated[i].table == table)
			return db->generated[i].ordinal + 1;
	return 1;
}

bool slm_pggenerated_add(struct postgres *db, unsigned call, uint32_t table,
			 int64_t key)
{
	/* A new run empties the list without a word. */
	bool indexed = db->ngenerated &&
		       db->generated_indexed == db->ngenerated;
	uint32_t ordinal = next_ordinal(db, call, table);

	if (db->ngenerated == db->generated_capacity) {
		unsigned grown = db->generated_capacity * 2 + 16;
		struct pg_generated *list =
			slm_reallocarray(db->generated, grown, sizeof(*list));

		if (!list)
			return false;
		db->generated = list;
		db->generated_capacity = grown;
	}
	db->generated[db->ngenerated++] = (struct pg_generated){
		.table = table, .call = call, .ordinal = ordinal, .key = key
	};
	if (!indexed || db->ngenerated * 2 > db->generated_mask)
		return index_anew(db);
	/* The last one counts: setval() can give a key out again. */
	*slot_of(db, table, key) = db->ngenerated;
	db->generated_indexed = db->ngenerated;
	return true;
}

/* ---- Who took them ----------------------------------------------------- */

enum sqloom_status slm_pggenerated_learn(struct postgres *db, int call,
					 struct pg_sequence *sequence,
					 const PGresult *position,
					 struct sqloom_error *err)
{
	int64_t last = strtoll(PQgetvalue(position, 0, 0), NULL, 10);
	int64_t step = sequence->increment, first = sequence->known;
	uint64_t distance;

	if (*PQgetvalue(position, 0, 1) != 't')
		last -= step;
	sequence->known = last;
	sequence->taker = 0;
	distance = step > 0 ? (uint64_t)last - (uint64_t)first :
			      (uint64_t)first - (uint64_t)last;
	/* It was set back, or set to somewhere else. */
	if (call < 0 || (step > 0 ? last < first : last > first) ||
	    distance / (uint64_t)(step > 0 ? step : -step) > PG_ROWS_MAX)
		return SQLOOM_OK;
	while (first != last && (step > 0) == (first < last)) {
		first += step;
		if (!slm_pggenerated_add(db, (unsigned)call,
					 (uint32_t)sequence->table, first))
			return slm_error_nomem(err);
	}
	return SQLOOM_OK;
}

static enum sqloom_status ask(struct postgres *db, int call, uint32_t index,
			      struct sqloom_error *err)
{
	struct pg_sequence *sequence = &db->catalogue.sequences[index];
	enum sqloom_status status;
	PGresult *position;
	const char *state;
	char name[32];

	status = slm_pgkeep_position(db, index, name, err);
	if (status)
		return status;
	position = PQexecPrepared(db->admin.conn, name, 0, NULL, NULL, NULL, 0);
	state = PQresultErrorField(position, PG_DIAG_SQLSTATE);
	if (PQresultStatus(position) == PGRES_TUPLES_OK)
		status = slm_pggenerated_learn(db, call, sequence, position,
					       err);
	else if (PQstatus(db->admin.conn) == CONNECTION_BAD)
		status = slm_pg_broken(&db->admin, err);
	/* lock_not_available: it is being restarted or altered. */
	else if (!state || strcmp(state, "55P03") != 0)
		status = slm_error_set(
			err, SQLOOM_DATABASE, "cannot read a sequence: %s",
			PQresultErrorField(position, PG_DIAG_MESSAGE_PRIMARY));
	PQclear(position);
	return status;
}

/* Those whose keys a step may take, one after another. */
struct taken {
	const struct postgres *db;
	const struct pg_step *step;
	uint32_t next;
};

static bool next_taken(struct taken *taken, uint32_t *index)
{
	const struct pg_catalogue *catalogue = &taken->db->catalogue;
	const struct pg_step *step = taken->step;
	uint32_t n = step->certain ? step->nsequences : catalogue->nsequences;

	while (taken->next < n) {
		*index = step->certain ? step->sequences[taken->next] :
					 taken->next;
		taken->next++;
		if (catalogue->sequences[*index].table >= 0)
			return true;
	}
	return false;
}

enum sqloom_status slm_pggenerated_begins(struct postgres *db, unsigned call,
					  const struct pg_step *step,
					  struct sqloom_error *err)
{
	struct taken taken = { .db = db, .step = step };
	enum sqloom_status status = SQLOOM_OK;
	uint32_t i;

	while (!status && next_taken(&taken, &i)) {
		unsigned taker = db->catalogue.sequences[i].taker;

		if (taker && taker != call + 1)
			status = ask(db, (int)taker - 1, i, err);
		db->catalogue.sequences[i].taker = call + 1;
	}
	return status;
}

enum sqloom_status slm_pggenerated_ends(struct postgres *db, unsigned call,
					const struct pg_step *step, bool others,
					struct sqloom_error *err)
{
	struct taken taken = { .db = db, .step = step };
	uint32_t i;

	if (others)
		return slm_pggenerated_ask(db, (int)call, step, err);
	while (next_taken(&taken, &i))
		db->catalogue.sequences[i].taker = call + 1;
	return SQLOOM_OK;
}

enum sqloom_status slm_pggenerated_ask(struct postgres *db, int call,
				       const struct pg_step *step,
				       struct sqloom_error *err)
{
	struct taken taken = { .db = db, .step = step };
	enum sqloom_status status = SQLOOM_OK;
	uint32_t i;

	while (!status && next_taken(&taken, &i))
		status = ask(db, call, i, err);
	return status;
}

/* ---- Looking them up --------------------------------------------------- */

void slm_pggenerated_renumber(struct postgres *db,
			      const struct pg_catalogue *from,
			      const struct pg_catalogue *to)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < db->ngenerated; i++) {
		struct pg_generated *generated = &db->generated[i];
		int table;

		assert(generated->table < from->ntables);
		table = slm_pgcat_find_oid(to,
					   from->tables[generated->table].oid);
		if (table < 0)
			continue;
		generated->table = (uint32_t)table;
		db->generated[kept++] = *generated;
	}
	db->ngenerated = kept;
	db->generated_indexed = 0; /* find() looks through the list */
}

const struct pg_generated *slm_pggenerated_find(const struct postgres *db,
						uint32_t table, int64_t key)
{
	const struct pg_table *t = &db->catalogue.tables[table];

	if (!db->ngenerated)
		return NULL;
	/* Keys are listed under the table that the sequence belongs to. */
	if (t->sequence >= 0 && db->catalogue.sequences[t->sequence].table >= 0)
		table = (uint32_t)db->catalogue.sequences[t->sequence].table;
	if (db->generated_indexed == db->ngenerated) {
		uint32_t slot = *slot_of(db, table, key);

		return slot ? &db->generated[slot - 1] : NULL;
	}
	for (unsigned i = db->ngenerated; i-- > 0;)
		if (db->generated[i].table == table &&
		    db->generated[i].key == key)
			return &db->generated[i];
	return NULL;
}
