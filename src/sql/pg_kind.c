/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of which kind a statement is, and whether PostgreSQL accepts it in a
 * transaction block with the same effect: from the type of its node and a few
 * fields. No statement is executed, none is unknown: what is in no table here
 * changes the schema.
 */
#include <string.h>

#include "sql/pg_internal.h"

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

const char *slm_pg_kind_name(enum slm_pg_kind kind)
{
	static const char *const names[] = {
#define X(name, text) [SLM_PG_##name] = text,
		SLM_PG_KINDS(X)
#undef X
	};

	return (size_t)kind < COUNT(names) ? names[kind] : "?";
}

static bool is(const char *a, const char *b)
{
	return a && strcmp(a, b) == 0;
}

/* ---- Kinds ------------------------------------------------------------- */

struct named_kind {
	const char *name;
	enum slm_pg_kind kind;
};

static enum slm_pg_kind find(const struct named_kind *list, size_t n,
			     const char *name, enum slm_pg_kind otherwise)
{
	for (size_t i = 0; i < n; i++)
		if (is(name, list[i].name))
			return list[i].kind;
	return otherwise;
}

/* The one of the kinds that a type stands for; the default is the first. */
static enum slm_pg_kind transaction_kind(const json_t *body)
{
	static const struct named_kind kinds[] = {
		{ "TRANS_STMT_BEGIN", SLM_PG_BEGIN },
		{ "TRANS_STMT_START", SLM_PG_BEGIN },
		{ "TRANS_STMT_COMMIT", SLM_PG_COMMIT },
		{ "TRANS_STMT_ROLLBACK", SLM_PG_ROLLBACK },
		{ "TRANS_STMT_SAVEPOINT", SLM_PG_SAVEPOINT },
		{ "TRANS_STMT_RELEASE", SLM_PG_RELEASE },
		{ "TRANS_STMT_ROLLBACK_TO", SLM_PG_ROLLBACK_TO },
		{ "TRANS_STMT_PREPARE", SLM_PG_PREPARE_TRANSACTION },
		{ "TRANS_STMT_COMMIT_PREPARED", SLM_PG_COMMIT_PREPARED },
		{ "TRANS_STMT_ROLLBACK_PREPARED", SLM_PG_ROLLBACK_PREPARED },
	};

	/* An unknown one would have to be feared most. */
	return find(kinds, COUNT(kinds), pg_text(body, "kind"), SLM_PG_COMMIT);
}

static enum slm_pg_kind set_kind(const json_t *body)
{
	const char *name = pg_text(body, "name");
	const char *how = pg_text(body, "kind");

	/* SET TRANSACTION SNAPSHOT, SET transaction_isolation = ... too. */
	if (name && strncasecmp(name, "transaction", 11) == 0 &&
	    (!name[11] || name[11] == ' ' || name[11] == '_'))
		return SLM_PG_SET_TRANSACTION;
	if (pg_flag(body, "is_local"))
		return SLM_PG_SET_LOCAL;
	if (is(how, "VAR_RESET") || is(how, "VAR_RESET_ALL"))
		return SLM_PG_RESET;
	return SLM_PG_SET;
}

/* What a definition makes or changes, if it is a relation. */
const json_t *slm_pgkind_defined(const json_t *body)
{
	static const char *const fields[] = { "relation", "view", "sequence" };
	const json_t *into = json_object_get(body, "into");

	if (json_object_get(body, "base")) /* CREATE FOREIGN TABLE */
		body = json_object_get(body, "base");
	if (!into)
		into = json_object_get(body, "intoClause");
	if (into)
		return json_object_get(into, "rel");
	for (size_t i = 0; i < COUNT(fields); i++)
		if (json_object_get(body, fields[i]))
			return json_object_get(body, fields[i]);
	return NULL;
}

/* DROP of nothing but what the session alone has, and what depends on it is
 * not dropped, too. */
static bool drops_temp(const json_t *body)
{
	const json_t *objects = json_object_get(body, "objects");
	const json_t *object;
	size_t i;

	if (!json_object_get(body, "removeType") ||
	    is(pg_text(body, "behavior"), "DROP_CASCADE"))
		return false;
	json_array_foreach(objects, i, object)
	{
		const json_t *parts = json_object_get(
			json_object_get(object, "List"), "items");
		size_t n;

		if (!parts)
			parts = json_object_get(
				json_object_get(object, "ObjectWithArgs"),
				"objname");
		n = json_array_size(parts);
		if (n < 2 || !slm_pgnames_is_temp(slm_pgnode_string(
				     json_array_get(parts, n - 2))))
			return false;
	}
	return json_array_size(objects) > 0;
}

static enum slm_pg_kind definition_kind(const json_t *body)
{
	const json_t *relation = slm_pgkind_defined(body);
	const json_t *name = json_object_get(body, "funcname");
	const char *schema = pg_text(relation, "schemaname");

	if (json_array_size(name) > 1)
		schema = slm_pgnode_string(json_array_get(name, 0));
	if (is(pg_text(relation, "relpersistence"), "t") ||
	    slm_pgnames_is_temp(schema) || drops_temp(body))
		return SLM_PG_TEMP;
	return SLM_PG_DDL;
}

enum slm_pg_kind slm_pgkind_of(const char *type, const json_t *body)
{
	static const struct named_kind kinds[] = {
		{ "SelectStmt", SLM_PG_QUERY },
		{ "InsertStmt", SLM_PG_INSERT },
		{ "UpdateStmt", SLM_PG_UPDATE },
		{ "DeleteStmt", SLM_PG_DELETE },
		{ "MergeStmt", SLM_PG_MERGE },
		{ "TransactionStmt", SLM_PG_BEGIN },
		{ "VariableSetStmt", SLM_PG_SET },
		{ "VariableShowStmt", SLM_PG_SHOW },
		{ "ConstraintsSetStmt", SLM_PG_SET_CONSTRAINTS },
		{ "DiscardStmt", SLM_PG_DISCARD },
		{ "PrepareStmt", SLM_PG_PREPARE },
		{ "ExecuteStmt", SLM_PG_EXECUTE },
		{ "DeallocateStmt", SLM_PG_DEALLOCATE },
		{ "DeclareCursorStmt", SLM_PG_DECLARE },
		{ "FetchStmt", SLM_PG_FETCH },
		{ "ClosePortalStmt", SLM_PG_CLOSE },
		{ "CopyStmt", SLM_PG_COPY_TO },
		{ "LockStmt", SLM_PG_LOCK },
		{ "TruncateStmt", SLM_PG_TRUNCATE },
		{ "ListenStmt", SLM_PG_LISTEN },
		{ "UnlistenStmt", SLM_PG_UNLISTEN },
		{ "NotifyStmt", SLM_PG_NOTIFY },
		{ "VacuumStmt", SLM_PG_ANALYZE },
		{ "CheckPointStmt", SLM_PG_CHECKPOINT },
		{ "ClusterStmt", SLM_PG_CLUSTER },
		{ "ReindexStmt", SLM_PG_REINDEX },
		{ "DoStmt", SLM_PG_DO },
		{ "CallStmt", SLM_PG_CALL },
		{ "ExplainStmt", SLM_PG_EXPLAIN },
		{ "LoadStmt", SLM_PG_OTHER },
	};
	enum slm_pg_kind kind = find(kinds, COUNT(kinds), type, SLM_PG_DDL);

	switch (kind) {
	case SLM_PG_QUERY: /* SELECT INTO */
		return json_object_get(body, "intoClause") ?
			       definition_kind(body) :
			       kind;
	case SLM_PG_BEGIN:
		return transaction_kind(body);
	case SLM_PG_SET:
		return set_kind(body);
	case SLM_PG_FETCH:
		return pg_flag(body, "ismove") ? SLM_PG_MOVE : kind;
	case SLM_PG_COPY_TO:
		return pg_flag(body, "is_from") ? SLM_PG_COPY_FROM : kind;
	case SLM_PG_ANALYZE:
		return pg_flag(body, "is_vacuumcmd") ? SLM_PG_VACUUM : kind;
	case SLM_PG_DDL:
		return definition_kind(body);
	default:
		return kind;
	}
}

bool slm_pgkind_is_cluster_wide(const char *type, const json_t *body)
{
	static const char *const types[] = {
		"CreatedbStmt",
		"DropdbStmt",
		"AlterDatabaseStmt",
		"AlterDatabaseSetStmt",
		"AlterDatabaseRefreshCollStmt",
		"CreateRoleStmt",
		"AlterRoleStmt",
		"AlterRoleSetStmt",
		"DropRoleStmt",
		"GrantRoleStmt",
		"CreateTableSpaceStmt",
		"DropTableSpaceStmt",
		"AlterTableSpaceOptionsStmt",
		"AlterSystemStmt",
		"CreateSubscriptionStmt",
		"AlterSubscriptionStmt",
		"DropSubscriptionStmt",
	};
	static const char *const objects[] = {
		"OBJECT_ROLE",		"OBJECT_DATABASE",
		"OBJECT_TABLESPACE",	"OBJECT_SUBSCRIPTION",
		"OBJECT_PARAMETER_ACL",
	};
	/* RENAME; OWNER TO, COMMENT, SECURITY LABEL, GRANT */
	const char *object = pg_text(body, "renameType");

	for (size_t i = 0; i < COUNT(types); i++)
		if (is(type, types[i]))
			return true;
	if (!object)
		object = pg_text(body, "objectType");
	if (!object)
		object = pg_text(body, "objtype");
	for (size_t i = 0; i < COUNT(objects); i++)
		if (is(object, objects[i]))
			return true;
	return false;
}

/* ---- Transaction blocks ------------------------------------------------ */

/* ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY */
static bool detaches_concurrently(const json_t *body)
{
	const json_t *command, *part;
	size_t i;

	json_array_foreach(json_object_get(body, "cmds"), i, command)
	{
		command = json_object_get(command, "AlterTableCmd");
		part = json_object_get(json_object_get(command, "def"),
				       "PartitionCmd");
		if (is(pg_text(command, "subtype"), "AT_DetachPartition") &&
		    pg_flag(part, "concurrent"))
			return true;
	}
	return false;
}

const json_t *slm_pgkind_option(const json_t *body, const char *name)
{
	const json_t *option;
	size_t i;

	json_array_foreach(json_object_get(body, "options"), i, option)
	{
		option = json_object_get(option, "DefElem");
		if (is(pg_text(option, "defname"), name))
			return option;
	}
	return NULL;
}

/* A definition that a transaction block refuses. */
static bool is_refused(const char *type, const json_t *body)
{
	static const char *const types[] = {
		"CreatedbStmt",		 "DropdbStmt",
		"CreateTableSpaceStmt",	 "DropTableSpaceStmt",
		"AlterSystemStmt",	 "CreateSubscriptionStmt",
		"AlterSubscriptionStmt", "DropSubscriptionStmt",
	};

	for (size_t i = 0; i < COUNT(types); i++)
		if (is(type, types[i]))
			return true;
	if (is(type, "IndexStmt") || is(type, "DropStmt"))
		return pg_flag(body, "concurrent");
	if (is(type, "AlterTableStmt"))
		return detaches_concurrently(body);
	if (is(type, "AlterDatabaseStmt"))
		return slm_pgkind_option(body, "tablespace") != NULL;
	return false;
}

/*
 * The places in PostgreSQL 15 that decide: callers of
 * PreventInTransactionBlock() (refused inside), RequireTransactionBlock() and
 * WarnNoTransactionBlock() (an error, or without effect, outside), and
 * IsInTransactionBlock() (ANALYZE commits after each table outside).
 */
enum slm_pgkind_wrap slm_pgkind_wrap(enum slm_pg_kind kind, const char *type,
				     const json_t *body)
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
		return PG_WRAP_NEVER;
	case SLM_PG_DO: /* may COMMIT inside */
	case SLM_PG_CALL:
	case SLM_PG_VACUUM:
	case SLM_PG_ANALYZE:
	case SLM_PG_CLUSTER: /* refused if the table is partitioned: not in */
	case SLM_PG_REINDEX: /* the text */
		return PG_WRAP_NEVER;
	case SLM_PG_DISCARD:
		return is(pg_text(body, "target"), "DISCARD_ALL") ?
			       PG_WRAP_NEVER :
			       PG_WRAP_ALWAYS;
	case SLM_PG_SET_LOCAL:
	case SLM_PG_SET_TRANSACTION:
	case SLM_PG_SET_CONSTRAINTS:
	case SLM_PG_LOCK:
		return PG_WRAP_AMONG_OTHERS;
	case SLM_PG_DECLARE:
		return slm_pgkind_is_held(body) ? PG_WRAP_ALWAYS :
						  PG_WRAP_AMONG_OTHERS;
	case SLM_PG_DDL:
	case SLM_PG_TEMP:
		return is_refused(type, body) ? PG_WRAP_NEVER : PG_WRAP_ALWAYS;
	default:
		return PG_WRAP_ALWAYS;
	}
}

/* DECLARE ... WITH HOLD */
bool slm_pgkind_is_held(const json_t *body)
{
	enum { CURSOR_OPT_HOLD = 0x20 }; /* of PostgreSQL's parsenodes.h */

	return json_integer_value(json_object_get(body, "options")) &
	       CURSOR_OPT_HOLD;
}
