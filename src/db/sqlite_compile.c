/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements and what they touch. Tables come from SQLite's authorizer; locks
 * and generated keys from the listing that EXPLAIN gives of the compiled
 * program, because that is what will run. Where a statement cannot be
 * compiled yet (an earlier step makes its table), it is compiled when its
 * turn comes and counts as touching everything until then.
 *
 * PRAGMA takes effect while it is compiled, so it is never compiled ahead.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "db/sqlite_internal.h"
#include "sql/sql.h"

/* ---- Places in the spec ------------------------------------------------ */

/* Adds to err the place of at, which points into sql->text. */
void slm_compile_place(const struct sqloom_spec *spec,
		       const struct slm_spec_sql *sql, const char *at,
		       struct sqloom_error *err)
{
	unsigned line = sql->line, column = sql->column;

	for (const char *p = sql->text; p < at; p++) {
		if (*p == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)*p & 0xc0) != 0x80) {
			column++;
		}
	}
	slm_spec_error_place(spec, line, column, err);
}

/* ---- Sets of names ----------------------------------------------------- */

bool slm_name_set_add(struct slm_arena *arena, struct name_set *set,
		      const char *name)
{
	unsigned at = 0;

	while (at < set->count && strcmp(set->names[at], name) < 0)
		at++;
	if (at < set->count && strcmp(set->names[at], name) == 0)
		return true;
	if (set->count == set->capacity) {
		unsigned grown = set->capacity * 2 + 4;
		const char **names =
			slm_arena_alloc(arena, grown * sizeof(*names));

		if (!names)
			return false;
		if (set->count)
			memcpy(names, set->names, set->count * sizeof(*names));
		set->names = names;
		set->capacity = grown;
	}
	name = slm_arena_strdup(arena, name);
	if (!name)
		return false;
	memmove(set->names + at + 1, set->names + at,
		(set->count - at) * sizeof(*set->names));
	set->names[at] = name;
	set->count++;
	return true;
}

const char *slm_compile_names(struct slm_arena *arena,
			      const struct name_set *set)
{
	const char *text = "";

	for (unsigned i = 0; text && i < set->count; i++)
		text = slm_arena_printf(arena, "%s%s%s", text, i ? ", " : "",
					set->names[i]);
	return text ? text : "";
}

/* ---- The authorizer ---------------------------------------------------- */

struct watch {
	struct slm_arena *arena;
	struct footprint *footprint;
	bool dml;
	bool failed;
};

static bool of_main(const char *schema)
{
	return !schema || strcmp(schema, "main") == 0;
}

static bool is_internal(const char *table)
{
	return sqlite3_strnicmp(table, "sqlite_", 7) == 0;
}

static void see_function(struct footprint *footprint, const char *name)
{
	static const char *const stateful[] = { "changes", "total_changes",
						"last_insert_rowid",
						"load_extension" };

	if (sqlite3_stricmp(name, "random") == 0 ||
	    sqlite3_stricmp(name, "randomblob") == 0)
		footprint->random = true;
	for (unsigned i = 0; i < sizeof(stateful) / sizeof(*stateful); i++)
		if (sqlite3_stricmp(name, stateful[i]) == 0)
			footprint->connection = true;
}

static void see_table(struct watch *watch, struct name_set *set,
		      const char *table, const char *schema)
{
	if (!table || is_internal(table) || !of_main(schema))
		return;
	if (!slm_name_set_add(watch->arena, set, table))
		watch->failed = true;
}

static int authorize(void *userdata, int action, const char *one,
		     const char *two, const char *schema, const char *trigger)
{
	struct watch *watch = userdata;
	struct footprint *footprint = watch->footprint;

	switch (action) {
	case SQLITE_READ:
		see_table(watch, footprint->reads, one, schema);
		break;
	case SQLITE_INSERT:
	case SQLITE_UPDATE:
	case SQLITE_DELETE:
		if (!trigger)
			watch->dml = true;
		see_table(watch, footprint->writes, one, schema);
		break;
	case SQLITE_FUNCTION:
		see_function(footprint, two);
		break;
	case SQLITE_SELECT:
	case SQLITE_TRANSACTION:
	case SQLITE_SAVEPOINT:
	case SQLITE_RECURSIVE:
		break;
	case SQLITE_CREATE_TEMP_INDEX:
	case SQLITE_CREATE_TEMP_TABLE:
	case SQLITE_CREATE_TEMP_TRIGGER:
	case SQLITE_CREATE_TEMP_VIEW:
	case SQLITE_DROP_TEMP_INDEX:
	case SQLITE_DROP_TEMP_TABLE:
	case SQLITE_DROP_TEMP_TRIGGER:
	case SQLITE_DROP_TEMP_VIEW:
	case SQLITE_DETACH:
		footprint->connection = true;
		break;
	case SQLITE_ATTACH:
		footprint->attaches = true;
		footprint->connection = true;
		break;
	case SQLITE_CREATE_VTABLE:
	case SQLITE_DROP_VTABLE:
		footprint->connection = true;
		footprint->ddl = true;
		see_table(watch, footprint->writes, one, schema);
		break;
	case SQLITE_CREATE_TABLE:
	case SQLITE_DROP_TABLE:
		footprint->ddl = true;
		see_table(watch, footprint->writes, one, schema);
		break;
	case SQLITE_CREATE_INDEX:
	case SQLITE_CREATE_TRIGGER:
	case SQLITE_DROP_INDEX:
	case SQLITE_DROP_TRIGGER:
		footprint->ddl = true;
		see_table(watch, footprint->writes, two, schema);
		break;
	case SQLITE_ALTER_TABLE: /* schema, table */
		footprint->ddl = true;
		see_table(watch, footprint->writes, two, one);
		break;
	default: /* views, REINDEX, ANALYZE */
		footprint->ddl = true;
	}
	return SQLITE_OK;
}

/* ---- The program ------------------------------------------------------- */

static bool any_of(const char *opcode, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(opcode, *list) == 0)
			return true;
	return false;
}

/* Notes one opcode; begin_only tells BEGIN from what touches tables. */
static void see_opcode(struct footprint *footprint, const char *opcode,
		       bool deferred_begin)
{
	static const char *const locks[] = { "Transaction", "JournalMode",
					     "Checkpoint",  "Vacuum",
					     "IncrVacuum",  "VBegin",
					     NULL };
	static const char *const control[] = { "AutoCommit", "Savepoint",
					       NULL };

	if (any_of(opcode, locks))
		footprint->touches = true;
	else if (!any_of(opcode, control))
		return;
	else if (deferred_begin)
		footprint->begins = true;
	else
		footprint->touches = true;
}

static bool add_generates(struct session *session, struct statement *statement,
			  const char *table)
{
	struct sqlite *db = session->owner;
	int index = slm_catalogue_find(&db->catalogue, table);
	uint32_t *grown;

	if (index < 0 || db->catalogue.tables[index].key_column < 0)
		return true;
	for (unsigned i = 0; i < statement->ngenerates; i++)
		if (statement->generates[i] == (uint32_t)index)
			return true;
	grown = slm_arena_alloc(&db->compiled,
				(statement->ngenerates + 1) * sizeof(*grown));
	if (!grown)
		return false;
	if (statement->ngenerates)
		memcpy(grown, statement->generates,
		       statement->ngenerates * sizeof(*grown));
	grown[statement->ngenerates++] = (uint32_t)index;
	statement->generates = grown;
	return true;
}

/*
 * NewRowid into register r of cursor c, followed by Insert of r into c: the
 * table's key is generated, unless NotNull on r right before it says that the
 * statement supplies a key which merely may be NULL.
 */
struct key_scan {
	int cursor, reg; /* of the last unguarded NewRowid, or -1 */
	int not_null;	 /* register of a NotNull right before, or -1 */
};

static bool scan_keys(struct session *session, struct statement *statement,
		      struct key_scan *scan, sqlite3_stmt *explain,
		      const char *opcode)
{
	int p1 = sqlite3_column_int(explain, 2);
	int p2 = sqlite3_column_int(explain, 3);
	int p3 = sqlite3_column_int(explain, 4);
	const char *p4 = (const char *)sqlite3_column_text(explain, 5);

	if (strcmp(opcode, "Insert") == 0) {
		if (p4 && scan->cursor == p1 && scan->reg == p3)
			return add_generates(session, statement, p4);
	} else if (strcmp(opcode, "NewRowid") == 0) {
		scan->cursor = scan->not_null == p2 ? -1 : p1;
		scan->reg = p2;
	}
	scan->not_null = strcmp(opcode, "NotNull") == 0 ? p1 : -1;
	return true;
}

/* A BEGIN that takes no lock: not IMMEDIATE, not EXCLUSIVE; SAVEPOINT. */
static bool is_deferred_begin(const char *sql)
{
	char word[16];

	if (slm_sql_starts_with(sql, "savepoint"))
		return true;
	if (!slm_sql_starts_with(sql, "begin"))
		return false;
	slm_sql_second_word(sql, word, sizeof(word));
	return strcmp(word, "immediate") != 0 && strcmp(word, "exclusive") != 0;
}

/* Reads the program that the statement compiles to. */
static bool see_program(struct session *session, struct statement *statement,
			struct footprint *footprint)
{
	int size = (int)(statement->end - statement->sql);
	struct key_scan scan = { -1, -1, -1 };
	sqlite3_stmt *explain = NULL;
	bool deferred = is_deferred_begin(statement->sql);
	bool ok = true;
	char *sql = sqlite3_mprintf("EXPLAIN %.*s", size, statement->sql);

	if (!sql)
		return false;
	if (slm_sql_starts_with(statement->sql, "explain") ||
	    sqlite3_prepare_v2(session->db, sql, -1, &explain, NULL)) {
		footprint->touches = true; /* not known: assume the worst */
		sqlite3_free(sql);
		return true;
	}
	while (ok && sqlite3_step(explain) == SQLITE_ROW) {
		const char *opcode =
			(const char *)sqlite3_column_text(explain, 1);

		see_opcode(footprint, opcode, deferred);
		ok = scan_keys(session, statement, &scan, explain, opcode);
	}
	sqlite3_finalize(explain);
	sqlite3_free(sql);
	return ok;
}

/* Does the text name a field of the database's header that is the user's? */
static bool names_header(const char *sql)
{
	return strcasestr(sql, "user_version") ||
	       strcasestr(sql, "application_id");
}

/* Most PRAGMAs only set something on the connection. */
void slm_compile_see_pragma(const char *sql, struct footprint *footprint)
{
	static const char *const harmless[] = { "busy_timeout",
						"foreign_keys",
						"synchronous",
						"cache_size",
						"temp_store",
						"recursive_triggers",
						"query_only",
						"defer_foreign_keys",
						"legacy_alter_table",
						"automatic_index",
						"case_sensitive_like",
						"read_uncommitted",
						"mmap_size",
						"cache_spill",
						"ignore_check_constraints",
						NULL };
	char word[40];

	slm_sql_second_word(sql, word, sizeof(word));
	if (!any_of(word, harmless))
		footprint->touches = true;
	footprint->pragma |= names_header(sql);
	footprint->connection = true;
}

/* ---- Columns and parameters -------------------------------------------- */

static int find_variable(const struct session *session, const char *name)
{
	for (unsigned i = 0; i < session->nvariables; i++)
		if (sqlite3_stricmp(session->variables[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* The table + 1 whose key a result column holds, or 0. */
static uint32_t origin_of(const struct session *session, sqlite3_stmt *stmt,
			  int column)
{
	const struct catalogue *catalogue = &session->owner->catalogue;
	const char *schema = sqlite3_column_database_name(stmt, column);
	const char *table = sqlite3_column_table_name(stmt, column);
	const char *name = sqlite3_column_origin_name(stmt, column);
	int index;

	if (!schema || !table || !name || strcmp(schema, "main") != 0)
		return 0;
	index = slm_catalogue_find(catalogue, table);
	if (index < 0)
		return 0;
	for (uint32_t i = 0; i < catalogue->tables[index].ncolumns; i++) {
		if (strcmp(catalogue->tables[index].columns[i], name) != 0)
			continue;
		if ((int)i == catalogue->tables[index].key_column)
			return (uint32_t)index + 1;
		return catalogue->tables[index].reference[i];
	}
	return 0;
}

void slm_compile_origins(struct session *session, struct statement *statement)
{
	for (unsigned i = 0; statement->stmt && i < statement->ncolumns; i++)
		statement->origins[i] =
			origin_of(session, statement->stmt, (int)i);
}

bool slm_compile_columns(struct session *session, sqlite3_stmt *stmt,
			 struct slm_arena *arena, struct statement *statement)
{
	unsigned n = (unsigned)sqlite3_column_count(stmt);

	statement->columns = slm_arena_zalloc(arena, n, sizeof(char *));
	statement->captures = slm_arena_zalloc(arena, n, sizeof(int));
	statement->origins = slm_arena_zalloc(arena, n, sizeof(uint32_t));
	if (!statement->columns || !statement->captures || !statement->origins)
		return false;
	for (unsigned i = 0; i < n; i++) {
		const char *name = sqlite3_column_name(stmt, (int)i);

		statement->columns[i] = name ? slm_arena_strdup(arena, name) :
					       NULL;
		if (!statement->columns[i])
			return false;
		statement->captures[i] = find_variable(session, name);
		statement->origins[i] = origin_of(session, stmt, (int)i);
	}
	statement->ncolumns = n;
	return true;
}

/* Variables of the parameters; SQLITE_RANGE: one has no name. */
static int compile_parameters(struct session *session, sqlite3_stmt *stmt,
			      unsigned **parameters, unsigned *count)
{
	unsigned n = (unsigned)sqlite3_bind_parameter_count(stmt);
	unsigned *list =
		slm_arena_zalloc(&session->owner->compiled, n, sizeof(*list));

	if (!list)
		return SQLITE_NOMEM;
	for (unsigned i = 0; i < n; i++) {
		const char *name =
			sqlite3_bind_parameter_name(stmt, (int)i + 1);
		int variable = name && *name != '?' ?
				       find_variable(session, name + 1) :
				       -1;

		if (variable < 0)
			return SQLITE_RANGE;
		list[i] = (unsigned)variable;
	}
	*parameters = list;
	*count = n;
	return SQLITE_OK;
}

/* ---- Statements -------------------------------------------------------- */

static struct statement *add_statement(struct session *session,
				       struct step *step)
{
	if (step->nstatements == step->capacity) {
		unsigned grown = step->capacity * 2 + 2;
		struct statement *list = slm_arena_zalloc(
			&session->owner->compiled, grown, sizeof(*list));

		if (!list)
			return NULL;
		if (step->nstatements)
			memcpy(list, step->statements,
			       step->nstatements * sizeof(*list));
		step->statements = list;
		step->capacity = grown;
	}
	memset(&step->statements[step->nstatements], 0,
	       sizeof(struct statement));
	return &step->statements[step->nstatements];
}

static int compile_pragma(struct step *step, struct statement *statement)
{
	statement->end = slm_sql_skip_statement(statement->sql);
	slm_compile_see_pragma(statement->sql, &step->footprint);
	step->rest = slm_sql_skip_blank(statement->end);
	step->nstatements++;
	return SQLITE_OK;
}

/* Only these set changes(). DROP, ALTER and EXPLAIN of one of them do not,
 * though the authorizer tells of writes: the old count would be read. */
static bool is_dml(const char *sql)
{
	static const char *const words[] = { "insert", "update", "delete",
					     "replace", "with" };

	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (slm_sql_starts_with(sql, words[i]))
			return true;
	return false;
}

static int prepare_watched(struct session *session, struct footprint *footprint,
			   struct statement *statement)
{
	struct watch watch = { .arena = &session->owner->compiled,
			       .footprint = footprint };
	int rc;

	sqlite3_set_authorizer(session->db, authorize, &watch);
	rc = sqlite3_prepare_v3(session->db, statement->sql, -1,
				SQLITE_PREPARE_PERSISTENT, &statement->stmt,
				&statement->end);
	sqlite3_set_authorizer(session->db, NULL, NULL);
	statement->dml = watch.dml && is_dml(statement->sql);
	return rc == SQLITE_OK && watch.failed ? SQLITE_NOMEM : rc;
}

int slm_compile_one(struct session *session, struct footprint *footprint,
		    struct statement *statement)
{
	int rc = prepare_watched(session, footprint, statement);

	if (rc == SQLITE_OK && statement->stmt &&
	    (!slm_compile_columns(session, statement->stmt,
				  &session->owner->compiled, statement) ||
	     !see_program(session, statement, footprint)))
		rc = SQLITE_NOMEM;
	return rc;
}

int slm_compile_next(struct session *session, struct step *step,
		     unsigned *index)
{
	struct statement *statement = add_statement(session, step);
	int rc;

	if (!statement)
		return SQLITE_NOMEM;
	*index = step->nstatements;
	statement->sql = slm_sql_skip_blank(step->rest);
	if (!*statement->sql) {
		step->rest = statement->sql; /* it held nothing but blanks */
		return SQLITE_DONE;
	}
	if (slm_sql_starts_with(statement->sql, "pragma"))
		return compile_pragma(step, statement);
	rc = slm_compile_one(session, &step->footprint, statement);
	if (rc == SQLITE_OK)
		rc = compile_parameters(session, statement->stmt,
					&statement->parameters,
					&statement->nparameters);
	if (rc != SQLITE_OK) {
		sqlite3_finalize(statement->stmt);
		statement->stmt = NULL;
		return rc;
	}
	step->rest = slm_sql_skip_blank(statement->end);
	step->nstatements++;
	return SQLITE_OK;
}

enum sqloom_status slm_compile_script(struct session *session,
				      const struct slm_spec_sql *sql,
				      struct footprint *out,
				      struct sqloom_error *err)
{
	struct name_set reads = { 0 }, writes = { 0 };
	struct step step = { .rest = sql->text,
			     .footprint = { .reads = &reads,
					    .writes = &writes } };
	bool connection = false;
	unsigned index;
	int rc;

	while ((rc = slm_compile_next(session, &step, &index)) == SQLITE_OK) {
		/* A PRAGMA of a script is set again whenever it is run. */
		if (!step.statements[index].stmt)
			step.footprint.connection = connection;
		connection = step.footprint.connection;
	}
	for (unsigned i = 0; i < step.nstatements; i++)
		sqlite3_finalize(step.statements[i].stmt);
	*out = step.footprint;
	if (rc == SQLITE_NOMEM)
		return slm_error_nomem(err);
	if (rc != SQLITE_DONE)
		out->touches = true;
	return SQLOOM_OK;
}

/* ---- Steps ------------------------------------------------------------- */

/* Adds the variables that the parameters of this text name. */
static enum sqloom_status collect_variables(struct session *session,
					    const char *sql,
					    struct variable *list,
					    unsigned capacity,
					    struct sqloom_error *err)
{
	char name[SLM_SPEC_NAME_MAX + 1];

	while ((sql = slm_sql_next_parameter(sql, name, sizeof(name)))) {
		session->variables = list;
		if (find_variable(session, name) >= 0)
			continue;
		if (session->nvariables == capacity)
			return slm_error_set(
				err, SQLOOM_LIMIT,
				"session \"%s\" uses more than %u different "
				":names; use fewer",
				session->owner->spec->sessions[session->call]
					.name,
				capacity);
		list[session->nvariables].name =
			slm_arena_strdup(&session->owner->arena, name);
		list[session->nvariables].type = SQLITE_NULL;
		if (!list[session->nvariables].name)
			return slm_error_nomem(err);
		session->nvariables++;
	}
	return SQLOOM_OK;
}

#define VARIABLES_MAX 256

static enum sqloom_status find_variables(struct session *session,
					 struct sqloom_error *err)
{
	struct variable *list = slm_arena_zalloc(&session->owner->arena,
						 VARIABLES_MAX, sizeof(*list));
	enum sqloom_status status = SQLOOM_OK;

	if (!list)
		return slm_error_nomem(err);
	session->variables = list;
	for (unsigned i = 0; !status && i < session->nsteps; i++) {
		const struct slm_spec_step *spec = session->steps[i].spec;

		status = collect_variables(session, spec->sql.text, list,
					   VARIABLES_MAX, err);
		if (!status && spec->when.text)
			status = collect_variables(session, spec->when.text,
						   list, VARIABLES_MAX, err);
	}
	return status;
}

/* Can an earlier step of the session return a column of this name? Steps that
 * are not compiled yet may. */
static bool can_be_read(const struct session *session, unsigned before,
			const char *name)
{
	for (unsigned i = 0; i < before; i++) {
		const struct step *step = &session->steps[i];

		if (*step->rest)
			return true;
		for (unsigned j = 0; j < step->nstatements; j++) {
			const struct statement *s = &step->statements[j];

			if (!s->stmt)
				return true;
			for (unsigned k = 0; k < s->ncolumns; k++)
				if (sqlite3_stricmp(s->columns[k], name) == 0)
					return true;
		}
	}
	return false;
}

static const char *columns_read(struct session *session, unsigned before)
{
	struct slm_arena *arena = &session->owner->compiled;
	const char *text = "";

	for (unsigned i = 0; i < before; i++)
		for (unsigned j = 0; j < session->steps[i].nstatements; j++) {
			const struct statement *s =
				&session->steps[i].statements[j];

			for (unsigned k = 0; text && k < s->ncolumns; k++)
				text = slm_arena_printf(arena, "%s%s:%s", text,
							*text ? ", " : "",
							s->columns[k]);
		}
	return text ? text : "";
}

/* Each parameter of the text must be a column that an earlier step reads. */
static enum sqloom_status check_parameters(struct session *session,
					   unsigned step,
					   const struct slm_spec_sql *sql,
					   struct sqloom_error *err)
{
	const struct slm_spec_session *spec =
		&session->owner->spec->sessions[session->call];
	const char *at = sql->text;
	char name[SLM_SPEC_NAME_MAX + 1];

	while ((at = slm_sql_next_parameter(at, name, sizeof(name)))) {
		const char *known;

		if (*name && can_be_read(session, step, name))
			continue;
		known = columns_read(session, step);
		if (!*name)
			slm_error_set(err, SQLOOM_SPEC,
				      "step \"%s\" has a parameter without a "
				      "name; write :column for a value that an "
				      "earlier step of session \"%s\" read",
				      spec->steps[step].name, spec->name);
		else
			slm_error_set(
				err, SQLOOM_SPEC,
				"step \"%s\" uses :%s, but no earlier step of "
				"session \"%s\" returns a column of that name "
				"(%s%s)",
				spec->steps[step].name, name, spec->name,
				*known ? "there are: " : "none returns any",
				known);
		slm_compile_place(session->owner->spec, sql,
				  at - strlen(name) - 1, err);
		return SQLOOM_SPEC;
	}
	return SQLOOM_OK;
}

static enum sqloom_status step_error(struct session *session,
				     const struct slm_spec_sql *sql,
				     const char *from, int head,
				     const char *what, const char *name,
				     struct sqloom_error *err)
{
	int offset = sqlite3_error_offset(session->db) - head;
	int end = (int)strlen(from);

	offset = offset > end ? end : offset;
	if (sqlite3_errcode(session->db) == SQLITE_NOMEM)
		return slm_error_nomem(err);
	if (sqlite3_errcode(session->db) == SQLITE_OK) {
		/* compile_parameters() refused, not SQLite. */
		slm_error_set(err, SQLOOM_SPEC,
			      "%s \"%s\" has a parameter that is no :name of "
			      "at most %d characters",
			      what, name, SLM_SPEC_NAME_MAX);
		slm_compile_place(session->owner->spec, sql, from, err);
		return SQLOOM_SPEC;
	}
	slm_error_set(err, SQLOOM_SPEC, "%s \"%s\": %s", what, name,
		      sqlite3_errmsg(session->db));
	slm_compile_place(session->owner->spec, sql,
			  from + (offset > 0 ? offset : 0), err);
	return SQLOOM_SPEC;
}

/* May a step or per-run setup make tables that other steps need? */
static bool spec_has_ddl(const struct sqloom_spec *spec)
{
	static const char *const words[] = { "create", "drop", "alter",
					     "attach" };

	for (unsigned i = 0; i < spec->nsessions; i++) {
		const struct slm_spec_session *session = &spec->sessions[i];

		for (unsigned j = 0; j <= session->nsteps; j++) {
			const char *sql = j < session->nsteps ?
						  session->steps[j].sql.text :
						  session->setup.text;

			while (sql && *(sql = slm_sql_skip_blank(sql))) {
				for (unsigned w = 0; w < 4; w++)
					if (slm_sql_starts_with(sql, words[w]))
						return true;
				sql = slm_sql_skip_statement(sql);
			}
		}
	}
	return false;
}

#define WHEN_HEAD "SELECT ("

static enum sqloom_status compile_when(struct session *session,
				       struct step *step,
				       struct sqloom_error *err)
{
	const struct slm_spec_sql *when = &step->spec->when;
	struct name_set reads = { 0 }, writes = { 0 };
	struct footprint footprint = { .reads = &reads, .writes = &writes };
	struct watch watch = { .arena = &session->owner->compiled,
			       .footprint = &footprint };
	/* The line break ends a comment that the expression may end with. */
	char *sql = sqlite3_mprintf(WHEN_HEAD "%s\n)", when->text);
	int rc;

	if (!sql)
		return slm_error_nomem(err);
	sqlite3_set_authorizer(session->db, authorize, &watch);
	rc = sqlite3_prepare_v3(session->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
				&step->when, NULL);
	sqlite3_set_authorizer(session->db, NULL, NULL);
	sqlite3_free(sql);
	if (rc != SQLITE_OK)
		return step_error(session, when, when->text,
				  sizeof(WHEN_HEAD) - 1, "when of step",
				  step->spec->name, err);
	if (reads.count || writes.count) {
		slm_error_set(err, SQLOOM_SPEC,
			      "the `when` of step \"%s\" reads table %s; it "
			      "may use only values that earlier steps read "
			      "(:name)",
			      step->spec->name, reads.names[0]);
		slm_compile_place(session->owner->spec, when, when->text, err);
		return SQLOOM_SPEC;
	}
	rc = compile_parameters(session, step->when, &step->when_parameters,
				&step->nwhen);
	return rc == SQLITE_NOMEM ? slm_error_nomem(err) : SQLOOM_OK;
}

static void tell_info(struct session *session, struct step *step)
{
	const struct footprint *f = &step->footprint;
	struct slm_arena *arena = &session->owner->arena;

	if (step->info.reads) /* a new connection: nothing new is learnt */
		return;
	step->info.reads = slm_compile_names(arena, &step->reads);
	step->info.writes = slm_compile_names(arena, &step->writes);
	step->info.local = !*step->rest && !f->touches && !f->ddl &&
			   (!f->begins || session->owner->options.local_begin);
}

void slm_compile_blind(struct sqlite *db, const struct footprint *footprint)
{
	if (footprint->attaches)
		db->base.blind = "the spec attaches databases, and their "
				 "tables are not compared";
}

/* Nothing of the step is compiled. */
static void begin_step(struct step *step, const char *text)
{
	step->text = step->rest = text;
	step->nstatements = step->capacity = 0;
	step->statements = NULL;
	step->reads = step->writes = (struct name_set){ 0 };
	step->footprint = (struct footprint){ .reads = &step->reads,
					      .writes = &step->writes };
}

/* Compiles what can be compiled of a step whose text is set; an SQLite result
 * code, SQLITE_DONE when all is. */
static int compile_text(struct session *session, struct step *step)
{
	unsigned index;
	int rc;

	while ((rc = slm_compile_next(session, step, &index)) == SQLITE_OK)
		;
	tell_info(session, step);
	/* Of what cannot be compiled yet the worst is assumed. */
	session->owner->ddl |= step->footprint.ddl || *step->rest;
	session->owner->random |= step->footprint.random || *step->rest;
	session->owner->fresh |= step->footprint.connection || *step->rest;
	slm_compile_blind(session->owner, &step->footprint);
	session->owner->pragma |= step->footprint.pragma ||
				  names_header(step->rest);
	return rc;
}

static enum sqloom_status compile_step(struct session *session, unsigned number,
				       bool lazily, struct sqloom_error *err)
{
	struct step *step = &session->steps[number];
	enum sqloom_status status = SQLOOM_OK;
	int rc;

	begin_step(step, step->text);
	if (step->spec && step->spec->when.text) {
		status = check_parameters(session, number, &step->spec->when,
					  err);
		if (!status)
			status = compile_when(session, step, err);
	}
	if (!status && step->spec)
		status = check_parameters(session, number, &step->spec->sql,
					  err);
	if (status)
		return status;
	rc = compile_text(session, step);
	if (rc == SQLITE_NOMEM)
		return slm_error_nomem(err);
	if (rc != SQLITE_DONE && !lazily)
		return step_error(session, &step->spec->sql,
				  slm_sql_skip_blank(step->rest), 0, "step",
				  step->spec->name, err);
	return SQLOOM_OK;
}

enum sqloom_status slm_compile_session(struct session *session,
				       struct sqloom_error *err)
{
	const struct slm_spec_session *spec =
		&session->owner->spec->sessions[session->call];
	bool lazily = spec_has_ddl(session->owner->spec);
	enum sqloom_status status = SQLOOM_OK;

	if (!session->variables)
		status = find_variables(session, err);
	for (unsigned i = 0; !status && i < spec->nsteps; i++)
		status = compile_step(session, i, lazily, err);
	begin_step(&session->rollback, "ROLLBACK");
	begin_step(&session->teardown, spec->teardown.text);
	if (!status && spec->teardown.text)
		compile_text(session, &session->teardown);
	return status;
}

static void release_step(struct step *step)
{
	for (unsigned j = 0; j < step->nstatements; j++)
		sqlite3_finalize(step->statements[j].stmt);
	sqlite3_finalize(step->when);
	step->when = NULL;
	step->nstatements = 0;
}

void slm_compile_release(struct session *session)
{
	release_step(&session->rollback);
	release_step(&session->teardown);
	for (unsigned i = 0; i < session->nsteps; i++)
		release_step(&session->steps[i]);
}

enum sqloom_status slm_compile_checks(struct sqlite *db,
				      struct sqloom_error *err)
{
	for (unsigned i = 0; i < db->spec->nchecks; i++) {
		struct check *check = &db->checks[i];
		const struct slm_spec_sql *sql = &db->spec->checks[i].sql;
		const char *tail = NULL;

		check->spec = &db->spec->checks[i];
		if (sqlite3_prepare_v3(db->admin, sql->text, -1,
				       SQLITE_PREPARE_PERSISTENT, &check->stmt,
				       &tail) != SQLITE_OK) {
			int offset = sqlite3_error_offset(db->admin);

			if (sqlite3_errcode(db->admin) == SQLITE_NOMEM)
				return slm_error_nomem(err);
			slm_error_set(err, SQLOOM_SPEC, "check \"%s\": %s",
				      check->spec->name,
				      sqlite3_errmsg(db->admin));
			slm_compile_place(db->spec, sql,
					  sql->text + (offset > 0 ? offset : 0),
					  err);
			return SQLOOM_SPEC;
		}
		if (check->stmt && !*slm_sql_skip_blank(tail) &&
		    sqlite3_stmt_readonly(check->stmt) &&
		    sqlite3_column_count(check->stmt) > 0)
			continue;
		slm_error_set(err, SQLOOM_SPEC,
			      "check \"%s\" must be one SELECT: the rows it "
			      "returns are what is wrong",
			      check->spec->name);
		slm_compile_place(db->spec, sql, sql->text, err);
		return SQLOOM_SPEC;
	}
	return SQLOOM_OK;
}
