/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of the sessions, known from their text and the catalogue: how
 * each is to be sent, and what that asks of the whole exploration. Part of the
 * PostgreSQL implementation of db.h.
 */
#include <string.h>

#include "base/error.h"
#include "db/postgres_internal.h"
#include "sql/sql.h"

/* ---- Steps ------------------------------------------------------------- */

static bool add_variables(struct pg_session *session, const char *sql)
{
	struct slm_arena *arena = &session->owner->arena;
	char name[SLM_SQL_NAME_MAX + 1];

	while (sql && (sql = slm_pg_next_parameter(sql, name, sizeof(name)))) {
		unsigned n = session->nvariables;
		bool known = false;

		for (unsigned i = 0; i < n; i++)
			known |= strcmp(session->variables[i].name, name) == 0;
		if (known)
			continue;
		if ((n & (n - 1)) == 0) { /* the list doubles */
			struct pg_variable *grown = slm_arena_zalloc(
				arena, n ? 2 * n : 1, sizeof(*grown));

			if (!grown)
				return false;
			if (n)
				memcpy(grown, session->variables,
				       n * sizeof(*grown));
			session->variables = grown;
		}
		session->variables[n].name = slm_arena_strdup(arena, name);
		if (!session->variables[n].name)
			return false;
		session->nvariables++;
	}
	return true;
}

static enum sqloom_status read_step(struct pg_session *session,
				    struct pg_step *step,
				    const struct slm_spec_step *spec,
				    const char *text, struct sqloom_error *err)
{
	char name[SLM_SQL_NAME_MAX + 1];

	step->spec = spec;
	step->text = text;
	if (!text)
		return SQLOOM_OK;
	step->has_parameters =
		slm_pg_next_parameter(text, name, sizeof(name)) != NULL;
	return slm_pg_step_read(text, &session->owner->arena, &step->parsed,
				err);
}

enum sqloom_status slm_pgsteps_read(struct pg_session *session,
				    struct sqloom_error *err)
{
	struct postgres *db = session->owner;
	const struct slm_spec_session *spec =
		&db->spec->sessions[session->call];
	enum sqloom_status status = SQLOOM_OK;
	bool ok = true;

	snprintf(session->name, sizeof(session->name), "session \"%s\"",
		 spec->name);
	session->nsteps = spec->nsteps;
	session->steps = slm_arena_zalloc(&db->arena, spec->nsteps,
					  sizeof(*session->steps));
	if (!session->steps)
		return slm_error_nomem(err);
	for (unsigned i = 0; !status && i < spec->nsteps; i++) {
		const struct slm_spec_step *step = &spec->steps[i];

		status = read_step(session, &session->steps[i], step,
				   step->sql.text, err);
		ok = ok && add_variables(session, step->sql.text) &&
		     add_variables(session, step->when.text);
	}
	if (!status)
		status = read_step(session, &session->setup, NULL,
				   spec->setup.text, err);
	if (!status)
		status = read_step(session, &session->teardown, NULL,
				   spec->teardown.text, err);
	if (!status)
		status = read_step(session, &session->rollback, NULL,
				   "ROLLBACK", err);
	if (!status)
		status = read_step(session, &session->commit, NULL, "COMMIT",
				   err);
	ok = ok && add_variables(session, spec->teardown.text);
	return status || ok ? status : slm_error_nomem(err);
}

/* All steps of a session that may write: the listed ones, setup, teardown. */
static struct pg_step *nth_step(struct pg_session *session, unsigned n)
{
	if (n < session->nsteps)
		return &session->steps[n];
	switch (n - session->nsteps) {
	case 0:
		return &session->setup;
	case 1:
		return &session->teardown;
	case 2:
		return &session->rollback;
	case 3:
		return &session->commit;
	default:
		return NULL;
	}
}

/* Does the step do what only a new copy of the database can undo? */
bool slm_pgstep_needs_clone(const struct pg_step *step)
{
	const struct slm_pg_step *parsed = &step->parsed;

	return step->text && (!parsed->parsed || parsed->ddl ||
			      (parsed->unknown_writes && !parsed->wrappable &&
			       !parsed->control));
}

bool slm_pgsteps_any(struct postgres *db, bool (*is)(const struct pg_step *))
{
	for (unsigned i = 0; i < db->nsessions; i++) {
		struct pg_step *step;

		for (unsigned j = 0; (step = nth_step(&db->sessions[i], j));
		     j++)
			if (is(step))
				return true;
	}
	return false;
}

bool slm_pgstep_goes_back(const struct slm_pg_step *parsed)
{
	for (size_t i = 0; i < parsed->nstatements; i++)
		if (parsed->statements[i].kind == SLM_PG_ROLLBACK_TO)
			return true;
	return false;
}

bool slm_pgstep_is_uncertain(const struct pg_step *step)
{
	return step->text && !step->certain;
}

/* May the step hold a table so that its snapshot could not be taken later? */
bool slm_pgstep_needs_snapshots(const struct pg_step *step)
{
	return step->text && (!step->certain || step->parsed.truncates ||
			      step->parsed.locks_tables);
}

/* Is it executed as BEGIN; step, and a COMMIT of its own? */
static bool is_split(const struct pg_step *step)
{
	return step->parsed.parsed && step->parsed.wrappable &&
	       !(step->certain && step->parsed.pure) && !step->info.local;
}

/* Where a step may write anything, contents show all tables: the same in
 * every run, and for every worker. */
void slm_pgsteps_show_all(struct postgres *db)
{
	for (uint32_t i = 0; i < db->catalogue.ntables; i++)
		db->catalogue.tables[i].written = true;
}

/* What a step waits for when it waits, as well as its text tells. */
static bool name_lock(struct postgres *db, struct pg_step *step)
{
	struct slm_arena *arena = step->arena ? step->arena : &db->arena;
	const char *tables = step->info.writes && *step->info.writes ?
				     step->info.writes :
				     step->info.reads;

	step->waits_for =
		tables && *tables ?
			slm_arena_printf(arena, "a lock on %s", tables) :
			"a lock";
	return step->waits_for != NULL;
}

/* Values of sequences are taken by what inserts, by nextval(), by SET ... =
 * DEFAULT, and by what cannot be seen. */
static bool takes_keys(const struct pg_step *step)
{
	if (!step->certain || step->parsed.explicit_sequence)
		return true;
	for (size_t i = 0; i < step->parsed.nstatements; i++)
		switch (step->parsed.statements[i].kind) {
		case SLM_PG_INSERT:
		case SLM_PG_MERGE:
		case SLM_PG_TRUNCATE:
			return step->nsequences;
		default:
			break;
		}
	return step->nsequences && strcasestr(step->text, "default");
}

/* Not ROLLBACK TO, pg_advisory_unlock() and the like. */
static bool keeps_locks(const struct pg_step *step)
{
	for (size_t i = 0; i < step->parsed.nstatements; i++) {
		const struct slm_pg_statement *s = &step->parsed.statements[i];

		switch (s->kind) {
		case SLM_PG_QUERY:
		case SLM_PG_INSERT:
		case SLM_PG_UPDATE:
		case SLM_PG_DELETE:
		case SLM_PG_BEGIN:
		case SLM_PG_SAVEPOINT:
			break;
		default:
			return false;
		}
		for (size_t j = 0; j < s->nfunctions; j++)
			if (s->functions[j].effects)
				return false;
	}
	return step->parsed.parsed && step->certain;
}

enum sqloom_status slm_pgstep_resolve(struct postgres *db, struct pg_step *step,
				      struct sqloom_error *err)
{
	enum sqloom_status status = slm_pgcat_resolve(db, step, err);

	step->split = is_split(step);
	step->takes_keys = takes_keys(step);
	step->keeps_locks = keeps_locks(step);
	if (!status && !name_lock(db, step))
		status = slm_error_nomem(err);
	return status;
}

enum sqloom_status slm_pgsteps_resolve(struct postgres *db,
				       struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; i < db->nsessions; i++) {
		struct pg_session *session = &db->sessions[i];
		struct pg_step *step;

		for (unsigned j = 0; !status && (step = nth_step(session, j));
		     j++) {
			if (!step->text)
				continue;
			status = slm_pgstep_resolve(db, step, err);
			step->split &= j < session->nsteps;
		}
	}
	db->resolved = true;
	return status;
}
