/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an exploration needs of the server: that it is there and nothing stands
 * between, rights, free connections, and nobody else at work in the database.
 * Each question is one query.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "db/db.h"
#include "doctor/doctor.h"
#include "sql/pg_statement.h"

#define CONNECTIONS_LEAST 10 /* ours, and some for the programs */
#define LISTED_MAX 3	     /* others that are named */

/* Asks; NULL after a problem was told. */
static PGresult *ask(struct doctor *doctor, const char *what, const char *sql)
{
	struct sqloom_error err;
	PGresult *result = NULL;

	if (!slm_pg_exec(&doctor->pg, "look around", sql, &result, &err))
		return result;
	slm_doctor_tell_error(doctor, what, &err);
	return NULL;
}

static bool is_true(const PGresult *result, int column)
{
	return *PQgetvalue(result, 0, column) == 't';
}

/* ---- The server --------------------------------------------------------- */

static const char *place_of(struct doctor *doctor)
{
	const char *host = PQhost(doctor->pg.conn);

	if (*host == '/')
		return slm_doctor_text(doctor, "the socket in %s, port %s",
				       host, PQport(doctor->pg.conn));
	return slm_doctor_text(doctor, "%s, port %s", host,
			       PQport(doctor->pg.conn));
}

/* A pooler invents the process that it tells to a client. */
static bool check_way(struct doctor *doctor)
{
	PGresult *result = ask(doctor, "way", "SELECT pg_backend_pid()");
	int pid;

	if (!result)
		return false;
	pid = atoi(PQgetvalue(result, 0, 0));
	PQclear(result);
	if (pid == doctor->pg.pid) {
		slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "way", NULL,
				"no pooler stands between");
		return true;
	}
	slm_doctor_tell(doctor, SQLOOM_HEALTH_PROBLEM, "way",
			"give --db the host and port of the server itself",
			"a pooler (such as pgbouncer) stands between: the "
			"server process is %d, and the connection was told %u. "
			"Which process works for whom could not be known",
			pid, (unsigned)doctor->pg.pid);
	return false;
}

bool slm_doctor_server(struct doctor *doctor)
{
	struct sqloom_error err;

	if (slm_pg_open(&doctor->pg, doctor->conninfo, NULL, "the doctor",
			&err)) {
		slm_doctor_tell_error(doctor, "server", &err);
		return false;
	}
	doctor->database = PQdb(doctor->pg.conn);
	slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "server", NULL,
			"PostgreSQL %s at %s: database \"%s\", role \"%s\"",
			PQparameterStatus(doctor->pg.conn, "server_version"),
			place_of(doctor), doctor->database,
			PQuser(doctor->pg.conn));
	return check_way(doctor);
}

void slm_doctor_parser(struct doctor *doctor)
{
	int server = PQserverVersion(doctor->pg.conn) / 10000;
	int parser = slm_pg_parser_version();

	if (server <= parser)
		slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "parser", NULL,
				"it knows the syntax of PostgreSQL %d", parser);
	else
		slm_doctor_tell(doctor, SQLOOM_HEALTH_NOTE, "parser", NULL,
				"it knows the syntax of PostgreSQL %d, and the "
				"server is %d: a statement with newer syntax "
				"is taken as one that may do anything",
				parser, server);
}

/* ---- The role ------------------------------------------------------------ */

static void tell_rights(struct doctor *doctor, const PGresult *rights)
{
	const char *role = PQgetvalue(rights, 0, 0);
	bool grants = PQserverVersion(doctor->pg.conn) >= 150000;

	if (!is_true(rights, 3))
		slm_doctor_tell(
			doctor, SQLOOM_HEALTH_NOTE, "role",
			grants ? slm_doctor_text(
					 doctor,
					 "GRANT SET ON PARAMETER "
					 "session_replication_role TO \"%s\"",
					 role) :
				 "use a superuser",
			"\"%s\" may not set session_replication_role: after a "
			"run rows are put back one by one by their primary "
			"keys, which is slower, and cannot be done where "
			"triggers stand in the way",
			role);
	if (!is_true(rights, 4))
		slm_doctor_tell(
			doctor, SQLOOM_HEALTH_NOTE, "role",
			grants ? slm_doctor_text(doctor,
						 "GRANT SET ON PARAMETER "
						 "deadlock_timeout TO \"%s\"",
						 role) :
				 "use a superuser",
			"\"%s\" may not set deadlock_timeout: a deadlock takes "
			"the server's %s, and the server chooses the victim",
			role, PQgetvalue(rights, 0, 5));
	if (!is_true(rights, 2))
		slm_doctor_tell(doctor, SQLOOM_HEALTH_NOTE, "role",
				slm_doctor_text(doctor,
						"ALTER ROLE \"%s\" CREATEDB",
						role),
				"\"%s\" may not create databases: that is "
				"needed for --jobs, and for steps that change "
				"the schema",
				role);
}

void slm_doctor_role(struct doctor *doctor)
{
	bool grants = PQserverVersion(doctor->pg.conn) >= 150000;
	PGresult *rights = ask(
		doctor, "role",
		grants ? "SELECT rolname, rolsuper, rolcreatedb OR rolsuper, "
			 "has_parameter_privilege('session_replication_role', "
			 "'SET'), has_parameter_privilege('deadlock_timeout', "
			 "'SET'), current_setting('deadlock_timeout') FROM "
			 "pg_roles WHERE rolname = current_user" :
			 "SELECT rolname, rolsuper, rolcreatedb OR rolsuper, "
			 "rolsuper, rolsuper, "
			 "current_setting('deadlock_timeout') FROM pg_roles "
			 "WHERE rolname = current_user");

	if (!rights)
		return;
	if (is_true(rights, 1))
		slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "role", NULL,
				"\"%s\" is a superuser: no right is missing",
				PQgetvalue(rights, 0, 0));
	else if (is_true(rights, 2) && is_true(rights, 3) && is_true(rights, 4))
		slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "role", NULL,
				"\"%s\" has all rights that help",
				PQgetvalue(rights, 0, 0));
	else
		tell_rights(doctor, rights);
	PQclear(rights);
}

/* ---- Who else is there --------------------------------------------------- */

void slm_doctor_connections(struct doctor *doctor)
{
	PGresult *result = ask(
		doctor, "connections",
		"SELECT current_setting('max_connections')::int, "
		"current_setting('superuser_reserved_connections')::int, "
		"(SELECT count(*) FROM pg_stat_activity WHERE backend_type = "
		"'client backend')");
	int most, free;

	if (!result)
		return;
	most = atoi(PQgetvalue(result, 0, 0));
	free = most - atoi(PQgetvalue(result, 0, 1)) -
	       atoi(PQgetvalue(result, 0, 2));
	PQclear(result);
	if (free >= CONNECTIONS_LEAST)
		slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "connections", NULL,
				"%d of %d are free", free, most);
	else
		slm_doctor_tell(doctor, SQLOOM_HEALTH_PROBLEM, "connections",
				"end other clients, or raise max_connections",
				"%d of %d are free, and sqloom takes about 4 "
				"besides those of the programs",
				free < 0 ? 0 : free, most);
}

/* "psql (process 12), app (process 13) and 2 more" */
static const char *list_of(struct doctor *doctor, const PGresult *others,
			   int from, int count)
{
	const char *list = "";

	for (int i = from; i < from + count && i < from + LISTED_MAX; i++)
		list = slm_doctor_text(doctor, "%s%s%s (process %s)", list,
				       i > from ? ", " : "",
				       PQgetvalue(others, i, 1),
				       PQgetvalue(others, i, 0));
	return count > LISTED_MAX ? slm_doctor_text(doctor, "%s and %d more",
						    list, count - LISTED_MAX) :
				    list;
}

void slm_doctor_others(struct doctor *doctor)
{
	PGresult *others = ask(
		doctor, "others",
		"SELECT pid, coalesce(nullif(application_name, ''), 'a client "
		"without a name'), coalesce(state, '') LIKE 'idle in "
		"transaction%' FROM pg_stat_activity WHERE datname = "
		"current_database() AND pid <> pg_backend_pid() AND "
		"backend_type = 'client backend' ORDER BY 3 DESC, 1");
	int count = 0, inside = 0;

	if (!others)
		return;
	count = PQntuples(others);
	while (inside < count && *PQgetvalue(others, inside, 2) == 't')
		inside++;
	if (inside)
		slm_doctor_tell(
			doctor, SQLOOM_HEALTH_PROBLEM, "others",
			slm_doctor_text(doctor,
					"let it end its transaction, or SELECT "
					"pg_terminate_backend(%s)",
					PQgetvalue(others, 0, 0)),
			"idle in a transaction in this database: %s. Calls "
			"would wait for what it has locked, and not see what "
			"it wrote",
			list_of(doctor, others, 0, inside));
	if (count > inside)
		slm_doctor_tell(
			doctor, SQLOOM_HEALTH_NOTE, "others",
			"see to it that they do nothing there while sqloom "
			"runs",
			"connected to this database: %s",
			list_of(doctor, others, inside, count - inside));
	if (!count)
		slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "others", NULL,
				"nobody else is connected to database \"%s\"",
				doctor->database);
	PQclear(others);
}

void slm_doctor_prepared(struct doctor *doctor)
{
	PGresult *result =
		ask(doctor, "prepared",
		    "SELECT gid, count(*) OVER () FROM pg_prepared_xacts WHERE "
		    "database = current_database() ORDER BY prepared LIMIT 1");

	if (!result)
		return;
	if (PQntuples(result) == 0)
		slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "prepared", NULL,
				"no prepared transaction holds locks");
	else
		slm_doctor_tell(
			doctor, SQLOOM_HEALTH_PROBLEM, "prepared",
			slm_doctor_text(doctor,
					"COMMIT PREPARED '%s', or ROLLBACK "
					"PREPARED '%s'",
					PQgetvalue(result, 0, 0),
					PQgetvalue(result, 0, 0)),
			"%s prepared transaction%s: locks and what they wrote "
			"stay until somebody ends them",
			PQgetvalue(result, 0, 1),
			strcmp(PQgetvalue(result, 0, 1), "1") == 0 ? "" : "s");
	PQclear(result);
}

/* ---- Does an exploration begin? ------------------------------------------ */

static bool keep_going(void *userdata)
{
	const struct doctor *doctor = userdata;
	const struct sqloom_doctor_options *options = doctor->options;

	return !options->goes_on || options->goes_on(options->userdata);
}

void slm_doctor_database(struct doctor *doctor)
{
	static const char text[] = "session a step s { SELECT 1 }";
	const struct sqloom_spec *spec = doctor->spec;
	struct sqloom_spec *smallest = NULL;
	struct slm_db *db = NULL;
	struct sqloom_error err;
	struct slm_postgres_options options = {
		.conninfo = doctor->conninfo,
		.any_database = doctor->options->any_database || doctor->server,
		.jobs = 1,
		.goes_on = keep_going,
		.goes_on_userdata = doctor,
	};
	enum sqloom_status status = SQLOOM_OK;

	if (!spec || spec->has_calls) {
		status = sqloom_spec_parse(text, strlen(text), "the doctor's",
					   &smallest, &err);
		spec = smallest;
	}
	if (!status)
		status = slm_postgres_open(spec, &options, &db, &err);
	if (!status)
		status = slm_db_finish(db, &err);
	if (status)
		slm_doctor_tell_error(doctor, "database", &err);
	else
		slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "database", NULL,
				"an exploration can begin in \"%s\"%s%s",
				doctor->database, db->note ? "; " : "",
				db->note ? db->note : "");
	slm_db_free(db);
	sqloom_spec_free(smallest);
}
