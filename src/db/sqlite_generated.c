/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that the database generated in a run: who made which. They are told by
 * that, not by their values, which depend on the order of the calls.
 */
#include <string.h>

#include "base/alloc.h"
#include "db/sqlite_internal.h"

const struct generated *slm_generated_find(const struct sqlite *db,
					   uint32_t table, sqlite3_int64 key)
{
	/* The last one: a key may be used again after a rollback. */
	for (unsigned i = db->ngenerated; i-- > 0;)
		if (db->generated[i].table == table &&
		    db->generated[i].key == key)
			return &db->generated[i];
	return NULL;
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

void slm_generated_add(struct sqlite *db, unsigned call, uint32_t table,
		       sqlite3_int64 key)
{
	if (db->ngenerated == db->generated_capacity) {
		unsigned grown = db->generated_capacity * 2 + 16;
		struct generated *list =
			slm_reallocarray(db->generated, grown, sizeof(*list));

		if (!list) {
			db->failed_generated = true;
			return;
		}
		db->generated = list;
		db->generated_capacity = grown;
	}
	db->generated[db->ngenerated] = (struct generated){
		.table = table,
		.call = call,
		.ordinal = next_ordinal(db, call, table),
		.key = key,
	};
	db->ngenerated++;
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
