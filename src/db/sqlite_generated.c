/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that the database generated in a run: who made which. They are told by
 * that, not by their values, which depend on the order of the calls.
 *
 * Invariant: each key of the list is in the chain of its hash, newest first.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "db/sqlite_internal.h"

static uint32_t *chain_of(const struct sqlite *db, uint32_t table,
			  sqlite3_int64 key)
{
	uint64_t hash = slm_hash_mix(table, (uint64_t)key);

	return &db->generated_chains[hash & (db->generated_capacity - 1)];
}

const struct generated *slm_generated_find(const struct sqlite *db,
					   uint32_t table, sqlite3_int64 key)
{
	uint32_t at = db->ngenerated ? *chain_of(db, table, key) : 0;

	/* The newest: a key may be used again after a rollback. */
	for (; at; at = db->generated[at - 1].next)
		if (db->generated[at - 1].table == table &&
		    db->generated[at - 1].key == key)
			return &db->generated[at - 1];
	return NULL;
}

void slm_generated_clear(struct sqlite *db)
{
	for (unsigned i = 0; i < db->ngenerated; i++)
		*chain_of(db, db->generated[i].table, db->generated[i].key) = 0;
	db->ngenerated = 0;
}

static uint32_t next_ordinal(const struct sqlite *db, unsigned call,
			     uint32_t table)
{
	for (unsigned i = db->ngenerated; i-- > 0;)
		if (db->generated[i].call == call &&
		    db->generated[i].table == table)
			return db->generated[i].ordinal + 1;
	return 1;
}

static void link_key(struct sqlite *db, uint32_t at)
{
	struct generated *key = &db->generated[at];
	uint32_t *chain = chain_of(db, key->table, key->key);

	key->next = *chain;
	*chain = at + 1;
}

static bool grow(struct sqlite *db)
{
	unsigned grown = db->generated_capacity ? db->generated_capacity * 2 :
						  16;
	struct generated *list =
		slm_reallocarray(db->generated, grown, sizeof(*list));
	uint32_t *chains;

	if (!list)
		return false;
	db->generated = list;
	chains = slm_calloc(grown, sizeof(*chains));
	if (!chains)
		return false;
	slm_free(db->generated_chains);
	db->generated_chains = chains;
	db->generated_capacity = grown;
	for (uint32_t i = 0; i < db->ngenerated; i++)
		link_key(db, i);
	return true;
}

void slm_generated_add(struct sqlite *db, unsigned call, uint32_t table,
		       sqlite3_int64 key)
{
	if (db->ngenerated == db->generated_capacity && !grow(db)) {
		db->failed_generated = true;
		return;
	}
	db->generated[db->ngenerated] = (struct generated){
		.table = table,
		.call = call,
		.ordinal = next_ordinal(db, call, table),
		.key = key,
	};
	link_key(db, db->ngenerated++);
}

/* A generated key is told by who made it, so that equal results of runs in
 * different orders are equal. */
void slm_generated_name(struct sqlite *db, uint32_t table,
			struct slm_value *value, bool *failed)
{
	const struct generated *key;
	char *text;

	if (value->kind != SLM_INT)
		return;
	key = slm_generated_find(db, table, value->integer);
	if (!key)
		return;
	text = slm_arena_printf(db->run, "%s of %s #%u",
				db->catalogue.tables[table].name,
				db->spec->sessions[key->call].name,
				key->ordinal);
	if (!text) {
		*failed = true;
		return;
	}
	value->kind = SLM_KEY;
	value->text = text;
	value->size = (uint32_t)strlen(text);
}
