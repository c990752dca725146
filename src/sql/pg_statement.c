/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a step: parses its text, goes through its statements, and puts
 * together what is known of them. All that is decided about kinds is a table
 * in pg_kind.c; all that is decided about names is in pg_names.c.
 */
#include "sql/pg_statement.h"

#include <assert.h>
#include <pg_query.h>
#include <string.h>

#include "base/error.h"
#include "sql/pg_internal.h"

/* A statement that is being read. */
struct reader {
	struct pg_names names;
	struct slm_pg_statement *statement;
	struct slm_pg_step is; /* what is known of this statement alone */
	enum slm_pgkind_wrap wrap;
};

static bool is(const char *a, const char *b)
{
	return a && strcmp(a, b) == 0;
}

static const char *keep(struct reader *reader, const char *text)
{
	char *copy = text ? slm_arena_strdup(reader->names.arena, text) : NULL;

	reader->names.nomem |= text && !copy;
	return copy;
}

/* ---- Order of the rows ------------------------------------------------- */

/* Of a constant; -1 if it is none. */
static json_int_t constant_of(const json_t *node)
{
	const json_t *value =
		json_object_get(json_object_get(node, "A_Const"), "ival");
	const json_t *number = json_object_get(value, "ival");

	if (!value)
		return -1;
	return number ? json_integer_value(number) : 0; /* {}: zero */
}

/* Does SELECT have one row at most, whatever is in the database? */
static bool is_one_row(const json_t *select)
{
	const json_t *values = json_object_get(select, "valuesLists");
	const json_t *targets = json_object_get(select, "targetList");
	json_int_t limit = constant_of(json_object_get(select, "limitCount"));
	bool unknown = false;
	unsigned called =
		slm_pgnames_called(values ? values : targets, &unknown);

	if ((limit == 0 || limit == 1) &&
	    is(pg_text(select, "limitOption"), "LIMIT_OPTION_COUNT"))
		return true;
	/* Sets of rows may be returned; a union has two. */
	if (unknown || (called & PG_SET) || json_object_get(select, "larg"))
		return false;
	if (values)
		return json_array_size(values) == 1;
	if (json_object_get(select, "groupClause"))
		return false;
	return !json_object_get(select, "fromClause") ||
	       (called & PG_AGGREGATE);
}

static bool is_ordered(enum slm_pg_kind kind, const json_t *body)
{
	const json_t *rows = json_object_get(
		json_object_get(body, "selectStmt"), "SelectStmt");
	json_int_t count;

	switch (kind) {
	case SLM_PG_QUERY:
		return json_object_get(body, "sortClause") || is_one_row(body);
	case SLM_PG_INSERT:
		return !json_object_get(body, "returningList") || !rows ||
		       is_one_row(rows);
	case SLM_PG_UPDATE:
	case SLM_PG_DELETE:
	case SLM_PG_MERGE:
		return !json_object_get(body, "returningList");
	case SLM_PG_FETCH:
		count = json_integer_value(json_object_get(body, "howMany"));
		if (is(pg_text(body, "direction"), "FETCH_ABSOLUTE") ||
		    is(pg_text(body, "direction"), "FETCH_RELATIVE"))
			return true;
		return count >= -1 && count <= 1;
	case SLM_PG_EXECUTE:
		return false;
	case SLM_PG_COPY_TO: /* of a query: as that is */
		return false;
	default:
		return true;
	}
}

/* ---- Details ----------------------------------------------------------- */

static bool is_on(const json_t *body, const char *list, const char *name)
{
	const json_t *option;
	size_t i;

	json_array_foreach(json_object_get(body, list), i, option)
	{
		option = json_object_get(option, "DefElem");
		if (is(pg_text(option, "defname"), name))
			return constant_of(json_object_get(option, "arg")) > 0;
	}
	return false;
}

static const char *string_constant(const json_t *node)
{
	return pg_text(json_object_get(json_object_get(node, "A_Const"),
				       "sval"),
		       "sval");
}

/* BEGIN has a list of options, SET TRANSACTION and SET SESSION CHARACTERISTICS
 * one of arguments. */
static void read_modes(struct reader *reader, const json_t *body,
		       const char *list)
{
	struct slm_pg_statement *statement = reader->statement;
	const json_t *option;
	size_t i;

	json_array_foreach(json_object_get(body, list), i, option)
	{
		option = json_object_get(option, "DefElem");
		if (is(pg_text(option, "defname"), "transaction_isolation"))
			statement->isolation =
				keep(reader, string_constant(json_object_get(
						     option, "arg")));
	}
	statement->read_only = is_on(body, list, "transaction_read_only");
	statement->deferrable = is_on(body, list, "transaction_deferrable");
}

/* SET [default_]transaction_isolation = 'serializable' */
static void read_setting(struct reader *reader, const json_t *body)
{
	const char *name = pg_text(body, "name");
	const json_t *first = json_array_get(json_object_get(body, "args"), 0);

	read_modes(reader, body, "args");
	if (name && (strcasecmp(name, "transaction_isolation") == 0 ||
		     strcasecmp(name, "default_transaction_isolation") == 0))
		reader->statement->isolation =
			keep(reader, string_constant(first));
}

static const char *name_of(const json_t *body)
{
	static const char *const fields[] = { "savepoint_name", "gid", "name",
					      "portalname", "conditionname" };

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (pg_text(body, fields[i]))
			return pg_text(body, fields[i]);
	return NULL;
}

/* EXPLAIN (ANALYZE) ...; is it to be executed? */
static bool is_analyze(const json_t *body)
{
	static const char *const off[] = { "false", "off", "0" };
	const json_t *option = slm_pgkind_option(body, "analyze"), *value;
	const char *text;

	if (!option)
		return false;
	value = json_object_get(option, "arg");
	text = slm_pgnode_string(value);
	for (size_t i = 0; text && i < sizeof(off) / sizeof(*off); i++)
		if (strcasecmp(text, off[i]) == 0)
			return false;
	value = json_object_get(value, "Integer"); /* {}: zero */
	return !value || json_object_get(value, "ival");
}

/* DROP TABLE and the like have lists of names instead of relations. */
static void add_dropped(struct reader *reader, const json_t *body)
{
	static const char *const types[] = { "OBJECT_TABLE", "OBJECT_VIEW",
					     "OBJECT_MATVIEW",
					     "OBJECT_SEQUENCE",
					     "OBJECT_FOREIGN_TABLE" };
	const json_t *object;
	size_t i, type;

	for (type = 0; type < sizeof(types) / sizeof(*types); type++)
		if (is(pg_text(body, "removeType"), types[type]))
			break;
	if (type == sizeof(types) / sizeof(*types))
		return;
	json_array_foreach(json_object_get(body, "objects"), i, object)
	{
		const json_t *parts = json_object_get(
			json_object_get(object, "List"), "items");
		size_t n = json_array_size(parts);
		const char *name =
			slm_pgnode_string(json_array_get(parts, n - 1));

		if (name)
			slm_pgnames_add(
				&reader->names,
				n < 2 ? NULL :
					slm_pgnode_string(
						json_array_get(parts, n - 2)),
				name, PG_WRITE);
	}
}

/* What a relation is used for where it is named outside of a query. */
static unsigned mentioned(enum slm_pg_kind kind)
{
	switch (kind) {
	case SLM_PG_COPY_FROM:
	case SLM_PG_DDL:
		return PG_WRITE;
	case SLM_PG_TRUNCATE:
		return PG_WRITE | PG_TRUNCATE;
	case SLM_PG_LOCK:
	case SLM_PG_VACUUM:
	case SLM_PG_ANALYZE:
	case SLM_PG_CLUSTER:
	case SLM_PG_REINDEX:
		return PG_LOCK;
	default:
		return PG_READ;
	}
}

/* ---- What is known of a statement -------------------------------------- */

/* Statements that work on nothing but their own session. */
static bool is_own(enum slm_pg_kind kind, const json_t *body)
{
	switch (kind) {
	case SLM_PG_BEGIN:
	case SLM_PG_SAVEPOINT:
	case SLM_PG_RELEASE:
	case SLM_PG_SET:
	case SLM_PG_SET_LOCAL:
	case SLM_PG_SHOW:
	case SLM_PG_RESET:
	case SLM_PG_DEALLOCATE:
	case SLM_PG_CLOSE:
		return true;
	case SLM_PG_SET_TRANSACTION: /* SNAPSHOT: that of somebody else */
		return !is(pg_text(body, "name"), "TRANSACTION SNAPSHOT");
	case SLM_PG_SET_CONSTRAINTS: /* IMMEDIATE: they are checked */
		return pg_flag(body, "deferred");
	case SLM_PG_DISCARD: /* ALL, TEMP: tables, locks */
		return is(pg_text(body, "target"), "DISCARD_PLANS") ||
		       is(pg_text(body, "target"), "DISCARD_SEQUENCES");
	default:
		return false;
	}
}

/* The inverse is what PostgreSQL's PlannedStmtRequiresSnapshot() lists. */
static bool takes_snapshot(enum slm_pg_kind kind, const json_t *body)
{
	switch (kind) {
	case SLM_PG_BEGIN:
	case SLM_PG_COMMIT:
	case SLM_PG_ROLLBACK:
	case SLM_PG_SAVEPOINT:
	case SLM_PG_RELEASE:
	case SLM_PG_ROLLBACK_TO:
	case SLM_PG_PREPARE_TRANSACTION:
	case SLM_PG_COMMIT_PREPARED:
	case SLM_PG_ROLLBACK_PREPARED:
	case SLM_PG_LOCK:
	case SLM_PG_SET:
	case SLM_PG_SET_LOCAL:
	case SLM_PG_RESET:
	case SLM_PG_SHOW:
	case SLM_PG_FETCH:
	case SLM_PG_MOVE:
	case SLM_PG_LISTEN:
	case SLM_PG_UNLISTEN:
	case SLM_PG_NOTIFY:
	case SLM_PG_CHECKPOINT:
		return false;
	case SLM_PG_SET_TRANSACTION:
	case SLM_PG_SET_CONSTRAINTS:
		return !is_own(kind, body);
	default:
		return true;
	}
}

static bool leaves_state(enum slm_pg_kind kind, const json_t *body)
{
	switch (kind) {
	case SLM_PG_SET:
	case SLM_PG_RESET:
	case SLM_PG_DISCARD:
	case SLM_PG_PREPARE:
	case SLM_PG_DEALLOCATE:
	case SLM_PG_LISTEN:
	case SLM_PG_UNLISTEN:
	case SLM_PG_TEMP:
	case SLM_PG_DO:
	case SLM_PG_CALL:
	case SLM_PG_OTHER:
		return true;
	case SLM_PG_DECLARE:
		return slm_pgkind_is_held(body);
	default:
		return false;
	}
}

/* May it read or lock more than the relations it names? */
static bool reads_unknown(enum slm_pg_kind kind, const json_t *body)
{
	switch (kind) {
	case SLM_PG_DO:
	case SLM_PG_CALL:
	case SLM_PG_EXECUTE:
	case SLM_PG_FETCH:
	case SLM_PG_MOVE:
	case SLM_PG_COPY_FROM:
	case SLM_PG_COMMIT_PREPARED:
	case SLM_PG_ROLLBACK_PREPARED:
	case SLM_PG_OTHER:
		return true;
	case SLM_PG_SET_CONSTRAINTS:
		return !pg_flag(body, "deferred");
	case SLM_PG_VACUUM:
	case SLM_PG_ANALYZE:
		return !json_object_get(body, "rels");
	case SLM_PG_CLUSTER:
		return !json_object_get(body, "relation");
	case SLM_PG_REINDEX: /* of an index: its table, too */
		return !is(pg_text(body, "kind"), "REINDEX_OBJECT_TABLE");
	default:
		return false;
	}
}

static bool locks_tables(enum slm_pg_kind kind)
{
	return kind == SLM_PG_LOCK || kind == SLM_PG_VACUUM ||
	       kind == SLM_PG_ANALYZE || kind == SLM_PG_CLUSTER ||
	       kind == SLM_PG_REINDEX;
}

/* Queries, and what only holds one. The names have been collected. */
static bool is_query(enum slm_pg_kind kind, const json_t *body)
{
	return kind == SLM_PG_QUERY ||
	       /* COPY to a file or program: others see that */
	       (kind == SLM_PG_COPY_TO && !json_object_get(body, "filename"));
}

static void judge(struct reader *reader, const char *type, const json_t *body)
{
	enum slm_pg_kind kind = reader->statement->kind;
	const struct pg_names *names = &reader->names;
	struct slm_pg_step *it = &reader->is;
	bool quiet = !names->modifies && !names->locks_rows &&
		     !(names->called & PG_EFFECTS);

	it->pure = quiet && (is_query(kind, body) || is_own(kind, body));
	it->touches_nothing = it->pure && !names->nrelations &&
			      names->all_harmless;
	it->takes_snapshot = takes_snapshot(kind, body);
	it->session_state = leaves_state(kind, body) ||
			    (names->called & PG_SESSION);
	it->ddl = kind == SLM_PG_DDL;
	it->cluster_wide = it->ddl && slm_pgkind_is_cluster_wide(type, body);
	it->unknown_writes =
		kind == SLM_PG_DO || kind == SLM_PG_CALL ||
		kind == SLM_PG_EXECUTE || kind == SLM_PG_COPY_FROM ||
		kind == SLM_PG_COMMIT_PREPARED ||
		kind == SLM_PG_ROLLBACK_PREPARED || kind == SLM_PG_OTHER ||
		pg_flag(body, "is_program") || (names->called & PG_ANYTHING);
	it->unknown_reads = reads_unknown(kind, body) ||
			    (names->called & PG_ANYTHING);
	it->truncates = kind == SLM_PG_TRUNCATE;
	it->locks_tables = locks_tables(kind);
	it->explicit_sequence = names->called & PG_SEQUENCE;
}

/* ---- Statements -------------------------------------------------------- */

static void read_node(struct reader *reader, const char *type,
		      const json_t *body);

/* EXPLAIN: what it explains was read; unless that is executed, little of it
 * counts (but tables are locked as if). */
static void read_explain(struct reader *reader, const json_t *body)
{
	struct slm_pg_step *it = &reader->is;

	reader->statement->analyze = is_analyze(body);
	reader->statement->ordered = true;
	reader->statement->returning = false;
	reader->statement->name = NULL;
	if (reader->statement->analyze)
		return;
	it->session_state = it->ddl = it->unknown_writes = false;
	it->explicit_sequence = false;
	reader->statement->temp = false;
}

/*
 * A statement that holds another: EXPLAIN, PREPARE, DECLARE, COPY of a query,
 * CREATE TABLE AS. The inner one is read first, then what is around it.
 */
static bool read_outer(struct reader *reader, enum slm_pg_kind kind,
		       const char *type, const json_t *body)
{
	struct slm_pg_step *it = &reader->is;
	struct slm_pg_statement *statement = reader->statement;
	const char *inner_type;
	const json_t *inner =
		slm_pgnode(json_object_get(body, "query"), &inner_type);

	if (!inner || (kind != SLM_PG_EXPLAIN && kind != SLM_PG_PREPARE &&
		       kind != SLM_PG_DECLARE && kind != SLM_PG_COPY_TO &&
		       !is(type, "CreateTableAsStmt")))
		return false;
	read_node(reader, inner_type, inner);
	statement->kind = kind;
	switch (kind) {
	case SLM_PG_EXPLAIN:
		read_explain(reader, body);
		break;
	case SLM_PG_PREPARE:
	case SLM_PG_DECLARE:
		it->session_state |= leaves_state(kind, body);
		statement->name = keep(reader, name_of(body));
		statement->ordered = true;
		statement->returning = false;
		break;
	case SLM_PG_COPY_TO:
		it->pure &= !json_object_get(body, "filename");
		it->touches_nothing &= it->pure;
		it->unknown_writes |= pg_flag(body, "is_program");
		break;
	default: /* CREATE TABLE AS */
		slm_pgnames_add_range(&reader->names, slm_pgkind_defined(body),
				      PG_WRITE);
		it->pure = it->touches_nothing = false;
		it->ddl = kind == SLM_PG_DDL;
		it->session_state |= kind == SLM_PG_TEMP;
		statement->temp = kind == SLM_PG_TEMP;
		statement->ordered = true;
	}
	it->takes_snapshot = true;
	return true;
}

static void read_node(struct reader *reader, const char *type,
		      const json_t *body)
{
	struct slm_pg_statement *statement = reader->statement;
	enum slm_pg_kind kind = slm_pgkind_of(type, body);

	reader->wrap = slm_pgkind_wrap(kind, type, body);
	if (read_outer(reader, kind, type, body)) {
		reader->wrap = slm_pgkind_wrap(kind, type, body);
		return;
	}
	statement->kind = kind;
	reader->names.mentioned = mentioned(kind);
	slm_pgnames_collect(&reader->names, type, body);
	if (is(type, "DropStmt"))
		add_dropped(reader, body);
	if (kind == SLM_PG_TEMP)
		slm_pgnames_add_range(&reader->names, slm_pgkind_defined(body),
				      PG_WRITE);
	statement->returning = json_object_get(body, "returningList");
	statement->ordered = is_ordered(kind, body);
	statement->temp = kind == SLM_PG_TEMP;
	if (is(type, "TransactionStmt"))
		read_modes(reader, body, "options");
	if (is(type, "VariableSetStmt"))
		read_setting(reader, body);
	if (kind != SLM_PG_DDL && kind != SLM_PG_TEMP)
		statement->name = keep(reader, name_of(body));
	judge(reader, type, body);
}

/* Where the statement is in the text. The parse tells where the one before
 * ended, and (0: up to the end) how many bytes there are. */
static void place(struct slm_pg_statement *statement, const char *sql,
		  const json_t *raw)
{
	json_int_t size = json_integer_value(json_object_get(raw, "stmt_len"));

	statement->begin =
		sql + json_integer_value(json_object_get(raw, "stmt_location"));
	statement->end = size ? statement->begin + size :
				statement->begin + strlen(statement->begin);
	statement->begin = slm_pgtext_skip_blank(statement->begin);
	assert(statement->begin <= statement->end);
	statement->end = slm_pgtext_trim(statement->begin, statement->end);
}

/* ---- Steps ------------------------------------------------------------- */

/* Adds what is known of one of its n statements to the step. */
static void add(struct slm_pg_step *step, const struct reader *reader)
{
	enum slm_pg_kind kind = reader->statement->kind;
	const struct slm_pg_step *it = &reader->is;

	step->wrappable &=
		reader->wrap == PG_WRAP_ALWAYS ||
		(reader->wrap == PG_WRAP_AMONG_OTHERS && step->nstatements > 1);
	step->control |= kind >= SLM_PG_BEGIN &&
			 kind <= SLM_PG_ROLLBACK_PREPARED;
	step->begins_only &= kind == SLM_PG_BEGIN;
	step->commits |= kind == SLM_PG_COMMIT;
	step->ends |= kind == SLM_PG_COMMIT || kind == SLM_PG_ROLLBACK ||
		      kind == SLM_PG_PREPARE_TRANSACTION;
	step->pure &= it->pure;
	step->touches_nothing &= it->touches_nothing;
	step->takes_snapshot |= it->takes_snapshot;
	step->session_state |= it->session_state;
	step->ddl |= it->ddl;
	step->cluster_wide |= it->cluster_wide;
	step->unknown_writes |= it->unknown_writes;
	step->unknown_reads |= it->unknown_reads;
	step->truncates |= it->truncates;
	step->locks_tables |= it->locks_tables;
	step->explicit_sequence |= it->explicit_sequence;
}

static bool read_statement(struct slm_pg_step *step, size_t n,
			   struct slm_arena *arena, const char *sql,
			   const json_t *raw)
{
	struct slm_pg_statement *statement = &step->statements[n];
	struct reader reader = {
		.names = { .arena = arena, .all_harmless = true },
		.statement = statement,
	};
	const char *type = "";
	const json_t *body = slm_pgnode(json_object_get(raw, "stmt"), &type);

	place(statement, sql, raw);
	read_node(&reader, type, body);
	statement->relations = reader.names.relations;
	statement->nrelations = reader.names.nrelations;
	statement->functions = reader.names.functions;
	statement->nfunctions = reader.names.nfunctions;
	statement->locks_rows = reader.names.locks_rows;
	add(step, &reader);
	return !reader.names.nomem;
}

static bool read_tree(struct slm_pg_step *step, struct slm_arena *arena,
		      const char *sql, const json_t *tree)
{
	const json_t *raws = json_object_get(tree, "stmts"), *raw;
	size_t n = json_array_size(raws), i;

	*step = (struct slm_pg_step){
		.nstatements = n,
		.parsed = true,
		.wrappable = n > 0,
		.begins_only = n > 0,
		.pure = true,
		.touches_nothing = true,
	};
	if (!n)
		return true;
	step->statements =
		slm_arena_zalloc(arena, n, sizeof(*step->statements));
	if (!step->statements)
		return false;
	json_array_foreach(raws, i,
			   raw) if (!read_statement(step, i, arena, sql,
						    raw)) return false;
	return true;
}

/* The step is not understood: everything is on its safe side. */
static bool refuse(struct slm_pg_step *step, struct slm_arena *arena,
		   const char *message)
{
	*step = (struct slm_pg_step){
		.message = slm_arena_strdup(arena, message),
		.control = true,
		.commits = true,
		.ends = true,
		.takes_snapshot = true,
		.session_state = true,
		.ddl = true,
		.cluster_wide = true,
		.unknown_writes = true,
		.unknown_reads = true,
		.truncates = true,
		.locks_tables = true,
		.explicit_sequence = true,
	};
	return step->message != NULL;
}

/* Parses the text with something in the place of its parameters: the first way
 * that the grammar accepts. The message is of the first one, if none. */
static PgQueryParseResult parse(const char *sql, char *copy)
{
	PgQueryParseResult result, other;

	strcpy(copy, sql);
	slm_pgtext_hide_parameters(copy, 0);
	result = pg_query_parse(copy);
	for (unsigned way = 1; result.error; way++) {
		strcpy(copy, sql);
		if (!slm_pgtext_hide_parameters(copy, way))
			break;
		other = pg_query_parse(copy);
		if (other.error) {
			pg_query_free_parse_result(other);
			continue;
		}
		pg_query_free_parse_result(result);
		result = other;
	}
	return result;
}

enum sqloom_status slm_pg_step_read(const char *sql, struct slm_arena *arena,
				    struct slm_pg_step *out,
				    struct sqloom_error *err)
{
	char *copy = slm_arena_alloc(arena, strlen(sql) + 1);
	PgQueryParseResult result;
	struct slm_pg_step step;
	json_t *tree = NULL;
	json_error_t why;
	bool ok;

	if (!copy)
		return slm_error_nomem(err);
	result = parse(sql, copy);
	if (!result.error)
		tree = json_loads(result.parse_tree, 0, &why);
	if (tree)
		ok = read_tree(&step, arena, sql, tree);
	else if (result.error)
		ok = refuse(&step, arena, result.error->message);
	else if (json_error_code(&why) == json_error_out_of_memory)
		ok = false;
	else
		ok = refuse(&step, arena, why.text);
	json_decref(tree);
	pg_query_free_parse_result(result);
	if (!ok)
		return slm_error_nomem(err);
	*out = step;
	return SQLOOM_OK;
}

int slm_pg_parser_version(void)
{
	return PG_VERSION_NUM / 10000;
}
