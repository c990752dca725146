/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL's own functions: which of them others may notice, and which
 * common ones are certainly harmless. The first list is made from those that
 * pg_proc calls volatile, with what txid_current and the xml functions do in
 * spite of their being "stable"; what only reads (pg_locks and the like) is
 * in none of the lists, so that callers look it up or take it for a read.
 * Sorted by name.
 */
#include <stdlib.h>
#include <string.h>

#include "sql/pg_internal.h"

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

/* clang-format off */
#define H PG_HARMLESS
#define A (PG_HARMLESS | PG_AGGREGATE)
#define S (PG_HARMLESS | PG_SET)
#define C (PG_HARMLESS | PG_SESSION)
#define E PG_EFFECTS
#define Q (PG_EFFECTS | PG_SEQUENCE)
#define X (PG_EFFECTS | PG_ANYTHING)

static const struct known {
	const char *name;
	unsigned flags;
} functions[] = {
	{ "abs", H }, { "age", H }, { "array_agg", A }, { "array_append", H },
	{ "array_cat", H }, { "array_fill", H }, { "array_length", H },
	{ "array_lower", H }, { "array_ndims", H }, { "array_position", H },
	{ "array_positions", H }, { "array_prepend", H }, { "array_remove", H },
	{ "array_replace", H }, { "array_to_json", H },
	{ "array_to_string", H }, { "array_upper", H }, { "ascii", H },
	{ "avg", A }, { "bit_and", A }, { "bit_length", H }, { "bit_or", A },
	{ "bit_xor", A }, { "bool_and", A }, { "bool_or", A },
	{ "brin_desummarize_range", E }, { "brin_summarize_new_values", E },
	{ "brin_summarize_range", E }, { "btrim", H }, { "cardinality", H },
	{ "ceil", H }, { "ceiling", H }, { "char_length", H },
	{ "character_length", H }, { "chr", H }, { "clock_timestamp", H },
	{ "concat", H }, { "concat_ws", H }, { "corr", A }, { "cos", H },
	{ "count", A }, { "covar_pop", A }, { "covar_samp", A },
	{ "cume_dist", H }, { "current_database", H }, { "current_schema", H },
	{ "current_setting", H }, { "currval", H }, { "cursor_to_xml", X },
	{ "cursor_to_xmlschema", X }, { "database_to_xml", X },
	{ "database_to_xml_and_xmlschema", X }, { "database_to_xmlschema", X },
	{ "date_bin", H }, { "date_part", H }, { "date_trunc", H },
	{ "daterange", H }, { "decode", H }, { "degrees", H },
	{ "dense_rank", H }, { "div", H }, { "encode", H }, { "every", A },
	{ "exp", H }, { "extract", H }, { "first_value", H }, { "floor", H },
	{ "format", H }, { "gcd", H }, { "gen_random_uuid", H },
	{ "generate_series", S }, { "generate_subscripts", S },
	{ "get_bit", H }, { "get_byte", H }, { "gin_clean_pending_list", E },
	{ "initcap", H }, { "int4range", H }, { "int8range", H },
	{ "is_normalized", H }, { "isempty", H }, { "isfinite", H },
	{ "json_agg", A }, { "json_array_elements", S },
	{ "json_array_elements_text", S }, { "json_array_length", H },
	{ "json_build_array", H }, { "json_build_object", H },
	{ "json_each", S }, { "json_each_text", S }, { "json_extract_path", H },
	{ "json_extract_path_text", H }, { "json_object_agg", A },
	{ "json_object_keys", S }, { "json_populate_record", H },
	{ "json_populate_recordset", S }, { "json_to_record", H },
	{ "json_to_recordset", S }, { "json_typeof", H }, { "jsonb_agg", A },
	{ "jsonb_array_elements", S }, { "jsonb_array_elements_text", S },
	{ "jsonb_array_length", H }, { "jsonb_build_array", H },
	{ "jsonb_build_object", H }, { "jsonb_each", S },
	{ "jsonb_each_text", S }, { "jsonb_extract_path", H },
	{ "jsonb_extract_path_text", H }, { "jsonb_insert", H },
	{ "jsonb_object_agg", A }, { "jsonb_object_keys", S },
	{ "jsonb_path_query", S }, { "jsonb_populate_record", H },
	{ "jsonb_populate_recordset", S }, { "jsonb_pretty", H },
	{ "jsonb_set", H }, { "jsonb_strip_nulls", H },
	{ "jsonb_to_record", H }, { "jsonb_to_recordset", S },
	{ "jsonb_typeof", H }, { "justify_days", H }, { "justify_hours", H },
	{ "justify_interval", H }, { "lag", H }, { "last_value", H },
	{ "lastval", H }, { "lcm", H }, { "lead", H }, { "left", H },
	{ "length", H }, { "like_escape", H }, { "ln", H }, { "log", H },
	{ "log10", H }, { "loread", E }, { "lower", H }, { "lower_inc", H },
	{ "lowrite", E }, { "lpad", H }, { "ltrim", H }, { "make_date", H },
	{ "make_interval", H }, { "make_time", H }, { "make_timestamp", H },
	{ "make_timestamptz", H }, { "max", A }, { "md5", H }, { "min", A },
	{ "mod", H }, { "mode", A }, { "nextval", Q }, { "normalize", H },
	{ "now", H }, { "nth_value", H }, { "ntile", H }, { "num_nonnulls", H },
	{ "num_nulls", H }, { "numrange", H }, { "octet_length", H },
	{ "overlaps", H }, { "overlay", H }, { "percent_rank", H },
	{ "percentile_cont", A }, { "percentile_disc", A },
	{ "pg_backend_pid", H }, { "pg_backup_start", E },
	{ "pg_backup_stop", E }, { "pg_cancel_backend", E },
	{ "pg_current_xact_id", E }, { "pg_export_snapshot", E },
	{ "pg_extension_config_dump", E }, { "pg_import_system_collations", E },
	{ "pg_log_backend_memory_contexts", E }, { "pg_nextoid", E },
	{ "pg_notify", E }, { "pg_promote", E }, { "pg_reload_conf", E },
	{ "pg_replication_slot_advance", E }, { "pg_rotate_logfile", E },
	{ "pg_sleep", H }, { "pg_sleep_for", H }, { "pg_sleep_until", H },
	{ "pg_start_backup", E }, { "pg_stat_clear_snapshot", E },
	{ "pg_stat_force_next_flush", E }, { "pg_stop_backup", E },
	{ "pg_stop_making_pinned_objects", E }, { "pg_switch_wal", E },
	{ "pg_terminate_backend", E }, { "pg_typeof", H }, { "pi", H },
	{ "position", H }, { "power", H }, { "query_to_xml", X },
	{ "query_to_xml_and_xmlschema", X }, { "query_to_xmlschema", X },
	{ "quote_ident", H }, { "quote_literal", H }, { "quote_nullable", H },
	{ "random", H }, { "range_agg", A }, { "rank", H },
	{ "regexp_count", H }, { "regexp_like", H }, { "regexp_match", H },
	{ "regexp_matches", S }, { "regexp_replace", H },
	{ "regexp_split_to_array", H }, { "regexp_split_to_table", S },
	{ "regr_count", A }, { "regr_slope", A }, { "repeat", H },
	{ "replace", H }, { "reverse", H }, { "right", H }, { "round", H },
	{ "row_number", H }, { "row_to_json", H }, { "rpad", H },
	{ "rtrim", H }, { "schema_to_xml", X },
	{ "schema_to_xml_and_xmlschema", X }, { "schema_to_xmlschema", X },
	{ "set_bit", H }, { "set_config", C }, { "setseed", C },
	{ "setval", Q }, { "sha256", H }, { "sign", H }, { "sin", H },
	{ "split_part", H }, { "sqrt", H }, { "starts_with", H },
	{ "statement_timestamp", H }, { "stddev", A }, { "stddev_pop", A },
	{ "stddev_samp", A }, { "string_agg", A }, { "string_to_array", H },
	{ "string_to_table", S }, { "strpos", H }, { "substr", H },
	{ "substring", H }, { "sum", A }, { "table_to_xml", X },
	{ "table_to_xml_and_xmlschema", X }, { "table_to_xmlschema", X },
	{ "tan", H }, { "timeofday", H }, { "timezone", H }, { "to_char", H },
	{ "to_date", H }, { "to_hex", H }, { "to_json", H }, { "to_jsonb", H },
	{ "to_number", H }, { "to_timestamp", H },
	{ "transaction_timestamp", H }, { "translate", H }, { "trunc", H },
	{ "ts_rewrite", X }, { "ts_stat", X }, { "tsrange", H },
	{ "tstzrange", H }, { "txid_current", E }, { "unnest", S },
	{ "upper", H }, { "upper_inc", H }, { "var_pop", A }, { "var_samp", A },
	{ "variance", A }, { "version", H }, { "width_bucket", H },
	{ "xmlagg", A }, { "xmlcomment", H },
};
#undef H
#undef A
#undef S
#undef C
#undef E
#undef Q
#undef X
/* clang-format on */

/* Whole families; the first that fits counts. */
static const struct known families[] = {
	{ "binary_upgrade_", PG_EFFECTS },
	{ "dblink", PG_EFFECTS | PG_ANYTHING | PG_SESSION },
	{ "lo_", PG_EFFECTS },
	{ "pg_advisory_unlock", PG_EFFECTS },
	{ "pg_advisory_xact_", PG_EFFECTS },
	{ "pg_advisory_", PG_EFFECTS | PG_SESSION },
	{ "pg_copy_", PG_EFFECTS },
	{ "pg_create_", PG_EFFECTS },
	{ "pg_drop_", PG_EFFECTS },
	{ "pg_logical_", PG_EFFECTS },
	{ "pg_replication_origin_", PG_EFFECTS | PG_SESSION },
	{ "pg_stat_reset", PG_EFFECTS },
	{ "pg_try_advisory_xact_", PG_EFFECTS },
	{ "pg_try_advisory_", PG_EFFECTS | PG_SESSION },
	{ "pg_wal_replay_", PG_EFFECTS },
};

static int compare(const void *key, const void *element)
{
	return strcmp(key, ((const struct known *)element)->name);
}

unsigned slm_pgfunction_flags(const char *schema, const char *name)
{
	const struct known *known = bsearch(name, functions, COUNT(functions),
					    sizeof(*functions), compare);

	for (size_t i = 0; !known && i < COUNT(families); i++)
		if (strncmp(name, families[i].name, strlen(families[i].name)) ==
		    0)
			known = &families[i];
	if (!known)
		return 0;
	/* A function of that name in another schema is not PostgreSQL's own,
	 * but an extension's or a wrapper may well do the same. */
	if ((known->flags & PG_HARMLESS) && schema &&
	    strcmp(schema, "pg_catalog") != 0)
		return 0;
	return known->flags;
}
