/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values, results and errors of PostgreSQL as sqloom's. Part of the PostgreSQL
 * implementation of db.h. Values come as text; integers are told as such,
 * bytea as its bytes, all others as the text that the server gives.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "db/postgres_internal.h"

/* Types by their number in pg_type.dat, which never changes. */
enum {
	TYPE_BYTEA = 17,
	TYPE_INT8 = 20,
	TYPE_INT2 = 21,
	TYPE_INT4 = 23,
};

static bool value_blob(const char *text, struct slm_arena *arena,
		       struct slm_value *out)
{
	size_t size;
	unsigned char *bytes =
		PQunescapeBytea((const unsigned char *)text, &size);
	char *copy = bytes ? slm_arena_strndup(arena, (char *)bytes, size) :
			     NULL;

	PQfreemem(bytes);
	out->kind = SLM_BLOB;
	out->text = copy;
	out->size = (uint32_t)size;
	return copy != NULL;
}

bool slm_pgvalue(const PGresult *result, int row, int column,
		 struct slm_arena *arena, struct slm_value *out)
{
	const char *text = PQgetvalue(result, row, column);
	int size = PQgetlength(result, row, column);

	memset(out, 0, sizeof(*out));
	if (PQgetisnull(result, row, column)) {
		out->kind = SLM_NULL;
		return true;
	}
	switch (PQftype(result, column)) {
	case TYPE_INT2:
	case TYPE_INT4:
	case TYPE_INT8:
		out->kind = SLM_INT;
		out->integer = strtoll(text, NULL, 10);
		return true;
	case TYPE_BYTEA:
		return value_blob(text, arena, out);
	default:
		out->kind = SLM_TEXT;
		out->text = slm_arena_strndup(arena, text, (size_t)size);
		out->size = (uint32_t)size;
		return out->text != NULL;
	}
}

uint64_t slm_pgvalue_digest(uint64_t digest, const struct slm_value *value)
{
	digest = slm_hash_mix(digest, value->kind);
	if (value->kind == SLM_INT)
		return slm_hash_mix(digest, (uint64_t)value->integer);
	if (value->kind == SLM_NULL)
		return digest;
	return slm_hash_mix(digest, slm_hash(value->text, value->size, 0));
}

/* ---- Errors ------------------------------------------------------------ */

/* The detail of a deadlock names processes and transactions by number, which
 * differ from run to run; ours names the calls, in the event. */
static bool detail_is_stable(const char *state)
{
	return strcmp(state, "40P01") != 0;
}

/* Also an error says where, if it is a constraint: part of the message. */
static enum sqloom_status set_error(struct postgres *db, const PGresult *result,
				    struct slm_result *out,
				    struct sqloom_error *err)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *primary =
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);

	state = state ? state : "XX000";
	primary = primary ? primary : PQresultErrorMessage(result);
	out->error = slm_error_kind_of(state);
	out->code = slm_arena_strdup(db->run, state);
	if (detail && detail_is_stable(state))
		out->message =
			slm_arena_printf(db->run, "%s (%s)", primary, detail);
	else
		out->message = slm_arena_strdup(db->run, primary);
	if (!out->code || !out->message)
		return slm_error_nomem(err);
	out->digest =
		slm_hash_mix(out->digest, slm_hash(state, strlen(state), 0));
	return SQLOOM_OK;
}

/* ---- Results ----------------------------------------------------------- */

/* A key that a sequence generated in the run is told by who made it, so that
 * equal results of runs in different orders are equal. */
static bool name_key(struct postgres *db, uint32_t table,
		     struct slm_value *value)
{
	const struct pg_generated *key;
	char *text;

	if (value->kind != SLM_INT || !db->ngenerated)
		return true;
	key = slm_pggenerated_find(db, table, value->integer);
	if (!key)
		return true;
	text = slm_arena_printf(db->run, "%s of %s #%u",
				db->catalogue.tables[table].shown,
				db->spec->sessions[key->call].name,
				key->ordinal);
	if (!text)
		return false;
	value->kind = SLM_KEY;
	value->text = text;
	value->size = (uint32_t)strlen(text);
	return true;
}

/* The table whose keys a column of a result holds: index + 1, or 0. */
static uint32_t origin(struct postgres *db, const PGresult *result, int column)
{
	int table =
		slm_pgcat_find_oid(&db->catalogue, PQftable(result, column));
	int at = PQftablecol(result, column) - 1;
	const struct pg_table *t;

	if (table < 0 || at < 0)
		return 0;
	t = &db->catalogue.tables[table];
	/* Attribute numbers have gaps where columns were dropped. */
	for (uint32_t i = 0; i < t->ncolumns; i++) {
		if (t->columns[i].number != at + 1)
			continue;
		if (t->key_column == (int)i)
			return (uint32_t)table + 1;
		return t->columns[i].reference;
	}
	return 0;
}

static bool read_rows(struct postgres *db, const PGresult *from, bool ordered,
		      struct slm_rows *out)
{
	int nrows = PQntuples(from), ncolumns = PQnfields(from);
	struct slm_value *values =
		slm_arena_alloc(db->run, ((size_t)nrows * (size_t)ncolumns +
					  1) * sizeof(*values));
	const char **columns = slm_arena_zalloc(db->run, (size_t)ncolumns + 1,
						sizeof(*columns));

	if (!values || !columns)
		return false;
	for (int c = 0; c < ncolumns; c++) {
		uint32_t keys = origin(db, from, c);

		columns[c] = slm_arena_strdup(db->run, PQfname(from, c));
		if (!columns[c])
			return false;
		for (int r = 0; r < nrows; r++) {
			struct slm_value *value = &values[r * ncolumns + c];

			if (!slm_pgvalue(from, r, c, db->run, value) ||
			    (keys && !name_key(db, keys - 1, value)))
				return false;
		}
	}
	if (!ordered && nrows > 1 && ncolumns > 0)
		slm_rows_sort(values, (uint32_t)nrows, (uint32_t)ncolumns);
	*out = (struct slm_rows){ .ncolumns = (uint32_t)ncolumns,
				  .nkept = (uint32_t)nrows,
				  .nrows = (uint64_t)nrows,
				  .columns = columns,
				  .values = values };
	return true;
}

bool slm_pgresult_failed(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE ||
	       status == PGRES_NONFATAL_ERROR;
}

/* "UPDATE 3": 3; -1 where the tag has no number of rows written. */
static int64_t changes_of(const PGresult *result)
{
	const char *tuples = PQcmdTuples((PGresult *)result);
	const char *tag = PQcmdStatus((PGresult *)result);

	if (!*tuples || strncmp(tag, "SELECT", 6) == 0 ||
	    strncmp(tag, "FETCH", 5) == 0 || strncmp(tag, "MOVE", 4) == 0)
		return -1;
	return strtoll(tuples, NULL, 10);
}

enum sqloom_status slm_pgresult(struct postgres *db, const PGresult *from,
				bool ordered, struct slm_result **out,
				struct sqloom_error *err)
{
	struct slm_result *result =
		slm_arena_zalloc(db->run, 1, sizeof(*result));
	uint64_t digest;

	if (!result)
		return slm_error_nomem(err);
	*out = result;
	result->changes = -1;
	if (slm_pgresult_failed(from))
		return set_error(db, from, result, err);
	if (PQntuples(from) > PG_ROWS_MAX)
		return slm_error_set(err, SQLOOM_LIMIT,
				     "a step returned more than %d rows; "
				     "narrow it down with WHERE or LIMIT",
				     PG_ROWS_MAX);
	if (PQresultStatus(from) == PGRES_TUPLES_OK &&
	    !read_rows(db, from, ordered, &result->rows))
		return slm_error_nomem(err);
	result->changes = changes_of(from);
	digest = result->rows.ncolumns;
	for (size_t i = 0;
	     i < (size_t)result->rows.nkept * result->rows.ncolumns; i++)
		digest = slm_pgvalue_digest(digest, &result->rows.values[i]);
	result->digest = slm_hash_mix(digest, (uint64_t)result->changes);
	return SQLOOM_OK;
}
