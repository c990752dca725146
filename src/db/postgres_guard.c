/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this database be used? Runs commit what they write; so it must be one
 * for tests, on this machine, of a version that is known, writable, and with
 * nobody in the middle of something.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "db/postgres_internal.h"

#define VERSION_MIN 120000

static bool contains_test(const char *name)
{
	for (; *name; name++)
		if (tolower((unsigned char)name[0]) == 't' &&
		    tolower((unsigned char)name[1]) == 'e' &&
		    tolower((unsigned char)name[2]) == 's' &&
		    tolower((unsigned char)name[3]) == 't')
			return true;
	return false;
}

/* A list of hosts or addresses, as libpq takes them: are all of them here? */
static bool is_local(const char *hosts)
{
	while (*hosts) {
		size_t n = strcspn(hosts, ",");
		bool here = n == 0 || *hosts == '/' || *hosts == '@' ||
			    strncmp(hosts, "127.", 4) == 0 ||
			    (n == 3 && strncmp(hosts, "::1", n) == 0) ||
			    (n == 9 && strncmp(hosts, "localhost", n) == 0);

		if (!here)
			return false;
		hosts += n + (hosts[n] == ',');
	}
	return true;
}

/* How to use it even so. */
static const char *way_out(const struct postgres *db)
{
	return db->options.keeps_only ? "set any_database" :
					"say --any-database";
}

/* The value of a keyword in a list of libpq's; NULL: not given. */
static const char *given(const PQconninfoOption *options, const char *keyword)
{
	for (; options && options->keyword; options++)
		if (strcmp(options->keyword, keyword) == 0)
			return options->val && *options->val ? options->val :
							       NULL;
	return NULL;
}

enum sqloom_status slm_pgguard_host(const struct postgres *db,
				    struct sqloom_error *err)
{
	static const char *const keywords[] = { "host", "hostaddr" };
	PQconninfoOption *said, *otherwise;
	enum sqloom_status status = SQLOOM_OK;

	if (db->options.any_database)
		return SQLOOM_OK;
	said = PQconninfoParse(db->options.conninfo, NULL);
	otherwise = PQconndefaults(); /* the environment's */
	for (size_t i = 0; said && !status && i < 2; i++) {
		const char *hosts = given(said, keywords[i]);

		/* A service file is read when we connect. */
		if (!hosts && !given(said, "service"))
			hosts = given(otherwise, keywords[i]);
		if (hosts && !is_local(hosts))
			status = slm_error_set(
				err, SQLOOM_USAGE,
				"the server is on another machine (%s): runs "
				"write to the database and commit, so sqloom "
				"works on this machine only; if it is a test "
				"server, %s",
				hosts, way_out(db));
	}
	PQconninfoFree(said);
	PQconninfoFree(otherwise);
	return status;
}

static enum sqloom_status check_names(const struct postgres *db,
				      struct sqloom_error *err)
{
	if (db->options.any_database)
		return SQLOOM_OK;
	if (!is_local(PQhost(db->admin.conn)))
		return slm_error_set(
			err, SQLOOM_USAGE,
			"the server is on another machine (%s): runs write to "
			"the database and commit, so sqloom works on this "
			"machine only; if it is a test server, %s",
			PQhost(db->admin.conn), way_out(db));
	if (!contains_test(db->database))
		return slm_error_set(
			err, SQLOOM_USAGE,
			"database \"%s\" does not look like one for tests (no "
			"\"test\" in its name): runs write to it and commit; "
			"use a test database%s, or %s",
			db->database,
			db->options.keeps_only ? "" : ", --pg-temp",
			way_out(db));
	return SQLOOM_OK;
}

static enum sqloom_status check_server(struct postgres *db,
				       struct sqloom_error *err)
{
	PGresult *result = NULL;
	enum sqloom_status status;

	if (db->version < VERSION_MIN)
		return slm_error_set(err, SQLOOM_UNSUPPORTED,
				     "the server is PostgreSQL %s; sqloom "
				     "needs 12 or later, and is tested with 15",
				     PQparameterStatus(db->admin.conn,
						       "server_version"));
	status = slm_pg_exec(&db->admin, "look whether the server is writable",
			     "SELECT pg_is_in_recovery(), "
			     "current_setting('default_transaction_read_only'),"
			     " pg_backend_pid(), has_database_privilege("
			     "current_database(), 'CREATE'), current_user",
			     &result, err);
	if (status)
		return status;
	if (*PQgetvalue(result, 0, 0) == 't')
		status = slm_error_set(err, SQLOOM_DATABASE,
				       "the server is a standby, which cannot "
				       "be written to: give its primary, or "
				       "use --pg-temp");
	else if (strcmp(PQgetvalue(result, 0, 1), "on") == 0)
		status = slm_error_set(
			err, SQLOOM_DATABASE,
			"transactions in database \"%s\" are read only "
			"(default_transaction_read_only is on): runs could "
			"not write",
			db->database);
	else if (atoi(PQgetvalue(result, 0, 2)) != db->admin.pid)
		status = slm_error_set(
			err, SQLOOM_UNSUPPORTED,
			"the connection goes through a pooler that changes "
			"server processes: connect to the server itself");
	else if (*PQgetvalue(result, 0, 3) != 't' && !db->cloning)
		status = slm_error_set(
			err, SQLOOM_DATABASE,
			"role \"%s\" may not create a schema in database "
			"\"%s\", where rows are kept to go back to: GRANT "
			"CREATE ON DATABASE \"%s\" TO \"%s\"",
			PQgetvalue(result, 0, 4), db->database, db->database,
			PQgetvalue(result, 0, 4));
	PQclear(result);
	return status;
}

/* Transactions of others that hold what they wrote: calls would not see it,
 * or wait for it. */
static enum sqloom_status check_others(struct postgres *db,
				       struct sqloom_error *err)
{
	static const char sql[] =
		"SELECT a.pid, coalesce(nullif(a.application_name, ''), 'no "
		"name'), a.state, left(regexp_replace(a.query, '\\s+', ' ', "
		"'g'), 120) FROM pg_stat_activity a WHERE a.datname = "
		"current_database() AND a.pid <> pg_backend_pid() AND "
		"a.backend_type = 'client backend' AND EXISTS (SELECT FROM "
		"pg_locks l WHERE l.pid = a.pid AND l.granted AND l.locktype = "
		"'relation' AND l.relation >= 16384 AND l.mode NOT IN "
		"('AccessShareLock', 'RowShareLock')) AND NOT EXISTS ("
		/* Another sqloom: slm_pgsnap_begin() says so. */
		"SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND "
		"l.classid = 1936812143 AND l.objid = 28525 AND l.database = "
		"(SELECT oid FROM pg_database WHERE datname = "
		"current_database())) ORDER BY a.pid LIMIT 1";
	PGresult *result = NULL;
	enum sqloom_status status =
		slm_pg_exec(&db->admin, "look who else works in the database",
			    sql, &result, err);

	if (!status && PQntuples(result) > 0)
		status = slm_error_set(
			err, SQLOOM_DATABASE,
			"server process %s (%s, %s) holds uncommitted changes "
			"in database \"%s\", which the calls could not see or "
			"would wait for; end its transaction first. Its last "
			"statement: %s",
			PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1),
			PQgetvalue(result, 0, 2), db->database,
			PQgetvalue(result, 0, 3));
	PQclear(result);
	return status;
}

/* Transactions of others that see the rows of before: as long as they are
 * open, nothing that a run deletes can be cleaned up, and the next run reads
 * past all of it. */
static enum sqloom_status note_snapshots(struct postgres *db,
					 struct sqloom_error *err)
{
	static const char sql[] =
		"SELECT a.pid, coalesce(nullif(a.application_name, ''), 'no "
		"name') FROM pg_stat_activity a WHERE a.datname = "
		"current_database() AND a.pid <> pg_backend_pid() AND "
		"a.backend_type = 'client backend' AND a.backend_xmin IS NOT "
		"NULL AND a.state LIKE 'idle in transaction%' ORDER BY "
		"a.xact_start, a.pid LIMIT 1";
	PGresult *result = NULL;
	enum sqloom_status status =
		slm_pg_exec(&db->admin, "look who keeps a snapshot open", sql,
			    &result, err);

	if (!status && PQntuples(result) > 0) {
		db->base.note = slm_arena_printf(
			&db->arena,
			"server process %s (%s) is idle in a transaction that "
			"keeps a snapshot of database \"%s\": as long as it is "
			"open, what runs delete cannot be cleaned up, and each "
			"run takes longer than the one before; end it",
			PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1),
			db->database);
		if (!db->base.note)
			status = slm_error_nomem(err);
	}
	PQclear(result);
	return status;
}

enum sqloom_status slm_pgguard_check(struct postgres *db,
				     struct sqloom_error *err)
{
	enum sqloom_status status = check_names(db, err);

	if (!status)
		status = check_server(db, err);
	if (!status)
		status = check_others(db, err);
	if (!status)
		status = note_snapshots(db, err);
	return status;
}
