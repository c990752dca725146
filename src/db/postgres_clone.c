/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases of ours: copies of the database that is tested, made from a
 * template by the server. They are worked on from a maintenance database. A
 * comment marks each as ours; its owner holds an advisory lock on its name in
 * the maintenance database for as long as it lives, so one without the lock
 * was left by a sqloom that is dead.
 */
#include <string.h>

#include "base/error.h"
#include "db/postgres_internal.h"

#define MARK "scratch database of sqloom"
#define LOCK_CLASS "1397510224"

static enum sqloom_status connect(struct postgres *db, struct sqloom_error *err)
{
	static const char *const names[] = { "postgres", "template1" };
	enum sqloom_status status = SQLOOM_OK;

	if (db->maintenance.conn)
		return SQLOOM_OK;
	for (size_t i = 0; i < 2; i++) {
		status = slm_pg_open(&db->maintenance, db->options.conninfo,
				     names[i], "sqloom's maker of copies", err);
		if (!status)
			break;
	}
	if (!status)
		status = slm_pg_lift_limits(&db->maintenance, err);
	return status ? status :
			slm_pg_exec(&db->maintenance, "set up a connection",
				    "SET client_min_messages = warning", NULL,
				    err);
}

/* Puts a name, quoted as an identifier (or bare, in a literal), into fmt where
 * it has %I or %L. Names of databases have 63 bytes at most. */
static void put_name(struct slm_buf *sql, char quote, const char *name)
{
	slm_buf_putc(sql, quote);
	for (; *name; name++) {
		if (*name == quote)
			slm_buf_putc(sql, quote);
		slm_buf_putc(sql, *name);
	}
	slm_buf_putc(sql, quote);
}

static enum sqloom_status run(struct postgres *db, const char *doing,
			      const char *fmt, const char *name,
			      const char *other, struct sqloom_error *err)
{
	struct slm_buf sql;
	enum sqloom_status status;

	slm_buf_init(&sql);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			slm_buf_putc(&sql, *fmt);
			continue;
		}
		put_name(&sql, *++fmt == 'I' ? '"' : '\'', name);
		name = other;
	}
	status = slm_buf_failed(&sql) ? slm_error_nomem(err) :
					slm_pg_exec(&db->maintenance, doing,
						    sql.data, NULL, err);
	slm_buf_deinit(&sql);
	return status;
}

/* Who is connected to the database, in words; in db->arena. */
static const char *who(struct postgres *db, const char *name)
{
	static const char sql[] =
		"SELECT string_agg(format('%s (%s)', pid, "
		"coalesce(nullif(application_name, ''), 'no name')), ', ' "
		"ORDER BY pid) FROM pg_stat_activity WHERE datname = $1";
	PGresult *result = NULL;
	const char *text = NULL;

	if (!slm_pg_exec_params(&db->maintenance, "ask who is connected", sql,
				1, &name, &result, NULL))
		text = slm_arena_strdup(&db->arena, PQgetvalue(result, 0, 0));
	PQclear(result);
	return text && *text ? text : "nobody any more: try again";
}

static enum sqloom_status explain(struct postgres *db, const char *from,
				  const struct sqloom_error *why,
				  struct sqloom_error *err)
{
	if (strcmp(why->sqlstate, "42501") == 0)
		return slm_error_set(
			err, SQLOOM_DATABASE,
			"the role \"%s\" may not create databases, which "
			"--jobs and steps that change the schema need: ALTER "
			"ROLE %s CREATEDB, or use --pg-temp",
			PQuser(db->maintenance.conn),
			PQuser(db->maintenance.conn));
	if (strcmp(why->sqlstate, "55006") == 0) /* object_in_use */
		return slm_error_set(
			err, SQLOOM_DATABASE,
			"cannot copy database \"%s\" while others are "
			"connected to it: server process %s; end these "
			"connections and start again",
			from, who(db, from));
	if (err)
		*err = *why;
	return why->status;
}

enum sqloom_status slm_pgclone_create(struct postgres *db, const char *name,
				      const char *from,
				      struct sqloom_error *err)
{
	struct sqloom_error why = { 0 };
	enum sqloom_status status = connect(db, err);

	if (!status)
		status = run(db, "lock the name of a copy",
			     "SELECT pg_advisory_lock_shared(" LOCK_CLASS
			     ", hashtext(%L))",
			     name, NULL, err);
	if (!status)
		status = run(db, "drop an old copy",
			     "DROP DATABASE IF EXISTS %I (FORCE)", name, NULL,
			     err);
	if (status)
		return status;
	status = run(db, "copy the database", "CREATE DATABASE %I TEMPLATE %I",
		     name, from, &why);
	if (status)
		return explain(db, from, &why, err);
	return run(db, "mark a copy", "COMMENT ON DATABASE %I IS '" MARK "'",
		   name, NULL, err);
}

enum sqloom_status slm_pgclone_drop(struct postgres *db, const char *name,
				    struct sqloom_error *err)
{
	enum sqloom_status status = connect(db, err);

	return status ? status :
			run(db, "drop a copy",
			    "DROP DATABASE IF EXISTS %I (FORCE)", name, NULL,
			    err);
}

enum sqloom_status slm_pgclone_sweep(struct postgres *db,
				     struct sqloom_error *err)
{
	static const char list[] =
		"SELECT datname FROM pg_database d WHERE "
		/* One that was killed before it was marked has the name. */
		"(shobj_description(d.oid, 'pg_database') = '" MARK "' OR "
		"datname ~ '^sqloom_[0-9]+_([0-9]+|template)_test$') "
		"AND pg_has_role(d.datdba, 'MEMBER') AND "
		"pg_try_advisory_lock(" LOCK_CLASS ", hashtext(datname)) "
		"AND pg_advisory_unlock(" LOCK_CLASS ", hashtext(datname))";
	PGresult *dead = NULL;
	enum sqloom_status status = connect(db, err);

	if (!status)
		status = slm_pg_exec(&db->maintenance,
				     "look for copies that were left", list,
				     &dead, err);
	for (int i = 0; !status && i < PQntuples(dead); i++)
		status = slm_pgclone_drop(db, PQgetvalue(dead, i, 0), err);
	PQclear(dead);
	return status;
}
