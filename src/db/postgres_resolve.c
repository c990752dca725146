/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a step of a spec reads and writes: the names in its text looked up in
 * the catalogue, and what their tables reach. Errs to the safe side: tables
 * that might be written are listed; a step is `certain` only if nothing else
 * can be.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "db/postgres_internal.h"

/* Sets of tables as lists with marks; room for all tables. */
struct table_set {
	uint32_t *list;
	uint32_t count;
	bool *seen;
};

struct resolving {
	struct postgres *db;
	struct slm_arena scratch;
	struct table_set reads, writes, of_one; /* of_one statement */
	bool *sequences;			/* per sequence */
	bool certain;
};

static bool make_set(struct resolving *resolving, struct table_set *set)
{
	size_t n = (size_t)resolving->db->catalogue.ntables + 1;

	set->count = 0;
	set->list =
		slm_arena_zalloc(&resolving->scratch, n, sizeof(*set->list));
	set->seen =
		slm_arena_zalloc(&resolving->scratch, n, sizeof(*set->seen));
	return set->list && set->seen;
}

static void add(struct table_set *set, uint32_t table)
{
	if (set->seen[table])
		return;
	set->seen[table] = true;
	set->list[set->count++] = table;
}

static void clear(struct table_set *set)
{
	for (uint32_t i = 0; i < set->count; i++)
		set->seen[set->list[i]] = false;
	set->count = 0;
}

/* ---- Names ------------------------------------------------------------- */

/* A word of the text that begins with this one, in any case. Literals and
 * comments count: they only make the answer less certain. */
static bool has_word(const struct slm_pg_statement *statement, const char *word)
{
	size_t size = strlen(word);

	for (const char *at = statement->begin; at + size <= statement->end;
	     at++)
		if (strncasecmp(at, word, size) == 0)
			return true;
	return false;
}

/* Tables of the system; what is read there is written by DDL only. */
static bool is_system(const struct slm_pg_relation *relation)
{
	if (!relation->schema)
		return strncmp(relation->name, "pg_", 3) == 0;
	return strcmp(relation->schema, "pg_catalog") == 0 ||
	       strcmp(relation->schema, "information_schema") == 0;
}

/* Adds the tables that a name may mean. False: there is none. */
static bool look_up(const struct postgres *db,
		    const struct slm_pg_relation *relation,
		    struct table_set *set)
{
	const struct pg_catalogue *catalogue = &db->catalogue;
	int index = slm_pgcat_find(db, relation->schema, relation->name);
	bool found = index >= 0;

	if (found)
		add(set, (uint32_t)index);
	if (relation->schema || !catalogue->paths)
		return found;
	for (uint32_t i = 0; i < catalogue->ntables; i++) {
		if (strcmp(catalogue->tables[i].name, relation->name) != 0)
			continue;
		add(set, i);
		found = true;
	}
	return found;
}

/* May it be temporary? A table is nobody else's then, but what a view is made
 * of, or what a function does, only its session knows. */
static bool is_temporary(const struct slm_pg_relation *relation)
{
	return relation->temp ||
	       (relation->schema && strcmp(relation->schema, "pg_temp") == 0);
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Does it call a function of the user's that may do anything? */
static bool calls_user(const struct pg_catalogue *catalogue,
		       const struct slm_pg_statement *statement)
{
	for (size_t i = 0; i < statement->nfunctions; i++)
		if (statement->functions[i].temp ||
		    (catalogue->nfunctions &&
		     bsearch(&statement->functions[i].name,
			     catalogue->functions, catalogue->nfunctions,
			     sizeof(*catalogue->functions), compare_text)))
			return true;
	return false;
}

/* (row).name may call a function of the user's. */
static bool calls_by_field(const struct postgres *db,
			   const struct pg_step *step)
{
	return db->catalogue.nfunctions && strstr(step->text, ").");
}

/* ---- One statement ----------------------------------------------------- */

/* What the tables it reads are made of; functions in a view's query. */
static void see_reads(struct resolving *resolving,
		      const struct slm_pg_statement *statement)
{
	const struct pg_catalogue *catalogue = &resolving->db->catalogue;
	struct table_set *set = &resolving->of_one;

	clear(set);
	for (size_t i = 0; i < statement->nrelations; i++) {
		const struct slm_pg_relation *relation =
			&statement->relations[i];

		if (!relation->read && !relation->lock)
			continue;
		if (is_temporary(relation))
			resolving->certain &= statement->kind == SLM_PG_TEMP;
		else if (!look_up(resolving->db, relation, set) &&
			 !is_system(relation))
			resolving->certain = false;
	}
	set->count = slm_pgcat_close(catalogue, set->list, set->count,
				     set->seen, PG_REACH_READ);
	for (uint32_t i = 0; i < set->count; i++) {
		resolving->certain &= !catalogue->tables[set->list[i]].calls;
		add(&resolving->reads, set->list[i]);
	}
}

/* Over which edges its writes go on. */
static unsigned reach_of(const struct slm_pg_statement *statement)
{
	if (statement->kind == SLM_PG_TRUNCATE)
		return PG_REACH_TRUNCATE |
		       (has_word(statement, "cascade") ? PG_REACH_REFERRER : 0);
	/* An INSERT that neither updates on conflict nor has another write in
	 * a WITH query. */
	if (statement->kind == SLM_PG_INSERT &&
	    !has_word(statement, "update") && !has_word(statement, "delete") &&
	    !has_word(statement, "merge"))
		return PG_REACH_INSERT;
	return PG_REACH_WRITE;
}

static void see_writes(struct resolving *resolving,
		       const struct slm_pg_statement *statement)
{
	const struct pg_catalogue *catalogue = &resolving->db->catalogue;
	struct table_set *set = &resolving->of_one;

	clear(set);
	for (size_t i = 0; i < statement->nrelations; i++) {
		const struct slm_pg_relation *relation =
			&statement->relations[i];

		if (!relation->write && !relation->truncate)
			continue;
		if (is_temporary(relation))
			resolving->certain &= statement->kind == SLM_PG_TEMP;
		else if (!look_up(resolving->db, relation, set))
			resolving->certain = false;
	}
	set->count = slm_pgcat_close(catalogue, set->list, set->count,
				     set->seen, reach_of(statement));
	for (uint32_t i = 0; i < set->count; i++) {
		const struct pg_table *table = &catalogue->tables[set->list[i]];

		resolving->certain &= table->plain;
		add(&resolving->writes, set->list[i]);
		for (uint32_t j = 0; j < table->nsequences; j++)
			resolving->sequences[table->sequences[j]] = true;
	}
}

static void see_statement(struct resolving *resolving,
			  const struct slm_pg_statement *statement)
{
	const struct pg_catalogue *catalogue = &resolving->db->catalogue;

	if (calls_user(catalogue, statement))
		resolving->certain = false;
	/* Event triggers see temporary tables made, too. */
	if (statement->kind == SLM_PG_TEMP && !catalogue->simple)
		resolving->certain = false;
	see_reads(resolving, statement);
	see_writes(resolving, statement);
}

/* ---- Can it matter to others? ------------------------------------------ */

/* Views and tables of the system that tell what others do at the moment. */
static bool tells_of_others(const char *name)
{
	static const char *const prefixes[] = {
		"pg_stat",	"pg_locks",	  "pg_prepared_xacts",
		"pg_sequences", "pg_largeobject", "pg_replication",
	};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

/* Drivers ask for types and tables. What they read is written by DDL only,
 * which no call may do. */
static bool asks_for_schema(const struct postgres *db,
			    const struct pg_step *step)
{
	const struct slm_pg_step *parsed = &step->parsed;

	for (size_t i = 0; i < parsed->nstatements; i++) {
		const struct slm_pg_statement *s = &parsed->statements[i];

		for (size_t j = 0; j < s->nrelations; j++)
			if (!is_system(&s->relations[j]) ||
			    slm_pgcat_find(db, s->relations[j].schema,
					   s->relations[j].name) >= 0 ||
			    tells_of_others(s->relations[j].name))
				return false;
		for (size_t j = 0; j < s->nfunctions; j++)
			if (s->functions[j].effects)
				return false;
	}
	return parsed->pure;
}

/* Does it make or drop what is temporary, and nothing else? */
static bool is_temporary_only(const struct pg_step *step)
{
	const struct slm_pg_statement *s = step->parsed.statements;

	if (step->parsed.nstatements != 1 || s->kind != SLM_PG_TEMP ||
	    !step->certain)
		return false;
	for (size_t i = 0; i < s->nrelations; i++)
		if (!is_temporary(&s->relations[i]))
			return false;
	for (size_t i = 0; i < s->nfunctions; i++)
		if (!s->functions[i].harmless)
			return false;
	return true;
}

/*
 * LISTEN is none of these: a NOTIFY before it is missed. Nor is PREPARE of a
 * query: it waits for who has the table locked.
 */
static bool is_local(const struct postgres *db, const struct pg_step *step)
{
	const struct slm_pg_step *parsed = &step->parsed;

	if (!parsed->parsed || !(parsed->touches_nothing ||
				 (db->outside && (asks_for_schema(db, step) ||
						  is_temporary_only(step)))))
		return false;
	for (size_t i = 0; i < parsed->nstatements; i++) {
		const struct slm_pg_statement *s = &parsed->statements[i];

		if ((s->kind == SLM_PG_BEGIN && !db->options.local_begin) ||
		    calls_user(&db->catalogue, s))
			return false;
		/* An operator or a cast may be a function of the user's:
		 * SELECT 1 @@@ 2. */
		if (s->kind == SLM_PG_QUERY &&
		    (!db->catalogue.quiet || calls_by_field(db, step)))
			return false;
	}
	return true;
}

/* ---- The step ---------------------------------------------------------- */

/* The names of tables as contents show them; views are what they are made of.
 * NULL: no memory. */
static const char *names_of(struct resolving *resolving,
			    const struct table_set *set)
{
	const struct pg_catalogue *catalogue = &resolving->db->catalogue;
	struct slm_arena *arena = &resolving->scratch;
	bool *shown =
		slm_arena_zalloc(arena, catalogue->ntables + 1, sizeof(bool));
	struct slm_buf text;
	const char *copy;

	if (!shown)
		return NULL;
	for (uint32_t i = 0; i < set->count; i++)
		if (catalogue->tables[set->list[i]].kind != 'v')
			shown[catalogue->tables[set->list[i]].root] = true;
	slm_buf_init(&text);
	slm_buf_puts(&text, "");
	for (uint32_t i = 0; i < catalogue->ntables; i++)
		if (shown[i])
			slm_buf_printf(&text, "%s%s", text.size ? ", " : "",
				       catalogue->tables[i].shown);
	copy = slm_buf_failed(&text) ?
		       NULL :
		       slm_arena_strdup(arena, text.data ? text.data : "");
	slm_buf_deinit(&text);
	return copy;
}

/* Keeps the old text if it is the same, so that memory does not grow with
 * every load. */
static bool keep_text(struct slm_arena *arena, const char **kept,
		      const char *text)
{
	if (*kept && strcmp(*kept, text) == 0)
		return true;
	*kept = slm_arena_strdup(arena, text);
	return *kept != NULL;
}

static bool keep_list(struct slm_arena *arena, uint32_t **kept, uint32_t *nkept,
		      const uint32_t *list, uint32_t count)
{
	if (!*kept || *nkept < count) {
		*kept = slm_arena_alloc(arena, (count + 1) * sizeof(**kept));
		if (!*kept)
			return false;
	}
	if (count)
		memcpy(*kept, list, count * sizeof(*list));
	*nkept = count;
	return true;
}

static int compare_index(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool finish(struct resolving *resolving, struct pg_step *step)
{
	struct postgres *db = resolving->db;
	struct slm_arena *arena = step->arena ? step->arena : &db->arena;
	struct table_set *writes = &resolving->writes;
	const char *reads_text = names_of(resolving, &resolving->reads);
	const char *writes_text = names_of(resolving, writes);
	uint32_t *sequences = slm_arena_alloc(&resolving->scratch,
					      (db->catalogue.nsequences + 1) *
						      sizeof(*sequences));
	uint32_t nsequences = 0;

	if (!reads_text || !writes_text || !sequences)
		return false;
	for (uint32_t i = 0; i < db->catalogue.nsequences; i++)
		if (resolving->sequences[i])
			sequences[nsequences++] = i;
	if (writes->count)
		qsort(writes->list, writes->count, sizeof(*writes->list),
		      compare_index);
	step->certain = resolving->certain;
	step->local_idle = is_local(db, step);
	/* What is the first decides what a whole transaction sees. */
	step->info.local = step->local_idle && !(step->parsed.takes_snapshot &&
						 !db->catalogue.read_committed);
	return keep_text(arena, &step->info.reads, reads_text) &&
	       keep_text(arena, &step->info.writes, writes_text) &&
	       keep_list(arena, &step->writes, &step->nwrites, writes->list,
			 writes->count) &&
	       keep_list(arena, &step->sequences, &step->nsequences, sequences,
			 nsequences);
}

static void mark_written(struct postgres *db, const struct pg_step *step)
{
	for (uint32_t i = 0; i < step->nwrites; i++) {
		struct pg_table *table = &db->catalogue.tables[step->writes[i]];

		table->written = true;
		if (table->kind == 'f')
			db->base.blind =
				"a step writes a foreign table, whose rows are "
				"neither compared nor put back";
	}
}

enum sqloom_status slm_pgcat_resolve(struct postgres *db, struct pg_step *step,
				     struct sqloom_error *err)
{
	const struct slm_pg_step *parsed = &step->parsed;
	struct resolving resolving = {
		.db = db,
		.certain = parsed->parsed && db->catalogue.quiet &&
			   !calls_by_field(db, step) &&
			   !parsed->unknown_writes && !parsed->ddl &&
			   !parsed->explicit_sequence,
	};
	bool done;

	slm_arena_init(&resolving.scratch);
	resolving.sequences = slm_arena_zalloc(
		&resolving.scratch, db->catalogue.nsequences + 1, sizeof(bool));
	done = resolving.sequences && make_set(&resolving, &resolving.reads) &&
	       make_set(&resolving, &resolving.writes) &&
	       make_set(&resolving, &resolving.of_one);
	for (size_t i = 0; done && i < parsed->nstatements; i++)
		see_statement(&resolving, &parsed->statements[i]);
	done = done && finish(&resolving, step);
	slm_arena_deinit(&resolving.scratch);
	if (!done)
		return slm_error_nomem(err);
	mark_written(db, step);
	return SQLOOM_OK;
}
