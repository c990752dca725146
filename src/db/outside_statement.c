/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What statements of programs are, known by their text: each is parsed and
 * looked up in the catalogue once. A hash of texts with chains; each text has
 * an arena of its own, so that it can go alone.
 *
 * Invariant: between two begins of runs nothing goes, so that what callers
 * were given stays.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/hash.h"
#include "db/outside_internal.h"

#define BUCKETS_MIN 256

static struct pg_interned *find(const struct pg_outside *outside,
				const char *sql, size_t size, uint64_t hash)
{
	struct pg_interned *at;

	if (!outside->nbuckets)
		return NULL;
	for (at = outside->buckets[hash & (outside->nbuckets - 1)]; at;
	     at = at->next)
		if (at->hash == hash && at->size == size &&
		    memcmp(at->known.sql, sql, size) == 0)
			return at;
	return NULL;
}

static void put(struct pg_outside *outside, struct pg_interned *interned)
{
	struct pg_interned **bucket =
		&outside->buckets[interned->hash & (outside->nbuckets - 1)];

	interned->next = *bucket;
	*bucket = interned;
}

/* Room for one more. False: no memory. */
static bool make_room(struct pg_outside *outside)
{
	size_t old = outside->nbuckets;
	size_t grown = old ? old * 2 : BUCKETS_MIN;
	struct pg_interned **before = outside->buckets, **list;

	if (outside->count < old)
		return true;
	list = slm_calloc(grown, sizeof(*list));
	if (!list)
		return false;
	outside->buckets = list;
	outside->nbuckets = grown;
	for (size_t i = 0; i < old; i++)
		for (struct pg_interned *at = before[i], *next; at; at = next) {
			next = at->next;
			put(outside, at);
		}
	slm_free(before);
	return true;
}

static void free_one(struct pg_interned *interned)
{
	slm_arena_deinit(&interned->arena);
	slm_free(interned);
}

/* ---- What sessions keep ------------------------------------------------- */

static bool unlocks_at_most(const struct slm_pg_statement *statement)
{
	static const char unlock[] = "pg_advisory_unlock";

	for (size_t i = 0; i < statement->nfunctions; i++) {
		const struct slm_pg_function *f = &statement->functions[i];

		if (!f->harmless &&
		    strncmp(f->name, unlock, sizeof(unlock) - 1) != 0)
			return false;
	}
	return !statement->nrelations;
}

bool slm_outside_gives_back(const struct slm_pg_step *parsed)
{
	for (size_t i = 0; i < parsed->nstatements; i++)
		switch (parsed->statements[i].kind) {
		case SLM_PG_SET:
		case SLM_PG_RESET:
		case SLM_PG_CLOSE:
		case SLM_PG_DEALLOCATE:
		case SLM_PG_DISCARD:
		case SLM_PG_UNLISTEN:
			break;
		case SLM_PG_QUERY:
			if (unlocks_at_most(&parsed->statements[i]))
				break;
			return false;
		default:
			return false;
		}
	return parsed->parsed && parsed->nstatements;
}

/* What is not certain may call a function of the user's. */
static bool takes(const struct postgres *db, const struct pg_step *step)
{
	bool unknown = db->catalogue.takes ? !step->certain :
					     step->parsed.unknown_writes;

	return unknown || step->parsed.session_state;
}

/* ---- Looking up --------------------------------------------------------- */

/* Libraries that nest transactions number their savepoints, or take random
 * names: the name is a value as others are. False: it is none of these. */
static bool lift_savepoint(const struct slm_pg_step *parsed,
			   struct slm_buf *text, struct slm_buf *values)
{
	static const char simple[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
	const struct slm_pg_statement *s = parsed->statements;
	bool quote;

	if (parsed->nstatements != 1 || !s->name)
		return false;
	if (s->kind == SLM_PG_SAVEPOINT)
		slm_buf_printf(text, "SAVEPOINT $1");
	else if (s->kind == SLM_PG_RELEASE)
		slm_buf_printf(text, "RELEASE SAVEPOINT $1");
	else if (s->kind == SLM_PG_ROLLBACK_TO)
		slm_buf_printf(text, "ROLLBACK TO SAVEPOINT $1");
	else
		return false;
	quote = s->name[strspn(s->name, simple)] ||
		(*s->name >= '0' && *s->name <= '9');
	slm_buf_printf(values, "$1 = %s", quote ? "\"" : "");
	for (const char *c = s->name; *c; c++)
		slm_buf_printf(values, "%s%c", *c == '"' ? "\"" : "", *c);
	slm_buf_printf(values, "%s", quote ? "\"" : "");
	return true;
}

/* What is lifted out of a step of this text. */
static bool lift_from(struct slm_outside_statement *known, struct slm_buf *text,
		      struct slm_buf *values)
{
	const struct slm_pg_step *parsed = known->parsed;
	bool temporary = parsed->nstatements == 1 &&
			 parsed->statements[0].kind == SLM_PG_TEMP;

	known->varies = lift_savepoint(parsed, text, values) ||
			(temporary && slm_pg_lift_tags(known->sql, text));
	if (known->varies)
		return true;
	slm_buf_clear(text);
	return slm_pg_lift_literals(known->sql, text, values);
}

static enum sqloom_status lift(struct pg_interned *interned,
			       struct sqloom_error *err)
{
	struct slm_outside_statement *known = &interned->known;
	struct slm_buf text, values;
	enum sqloom_status status = SQLOOM_OK;

	slm_buf_init(&text);
	slm_buf_init(&values);
	if (lift_from(known, &text, &values)) {
		known->lifted_hash = slm_hash(text.data, text.size, 0);
		known->lifted = slm_arena_strndup(&interned->arena, text.data,
						  text.size);
		known->values = slm_arena_strndup(
			&interned->arena, values.data ? values.data : "",
			values.size);
		if (!known->lifted || !known->values)
			status = slm_error_nomem(err);
	}
	if (slm_buf_failed(&text) || slm_buf_failed(&values))
		status = slm_error_nomem(err);
	slm_buf_deinit(&text);
	slm_buf_deinit(&values);
	return status;
}

static enum sqloom_status look_up(struct postgres *db,
				  struct pg_interned *interned,
				  struct sqloom_error *err)
{
	struct pg_step *step = &interned->step;
	enum sqloom_status status;

	step->arena = &interned->arena;
	status = slm_pg_step_read(step->text, &interned->arena, &step->parsed,
				  err);
	if (!status)
		status = slm_pgstep_resolve(db, step, err);
	if (status)
		return status;
	interned->known.parsed = &step->parsed;
	interned->known.local = step->info.local;
	interned->known.local_idle = step->local_idle;
	interned->known.split = step->split;
	interned->known.keeps_locks = step->keeps_locks;
	interned->known.reads_only = step->certain && step->parsed.pure;
	interned->known.locks_tables = step->parsed.locks_tables ||
				       step->parsed.truncates;
	interned->known.session_state = step->parsed.session_state;
	interned->known.gives_back = step->certain &&
				     slm_outside_gives_back(&step->parsed);
	interned->known.takes = !interned->known.gives_back && takes(db, step);
	interned->known.reads = step->info.reads;
	interned->known.writes = step->info.writes;
	interned->known.waits_for = step->waits_for;
	interned->known.hash = interned->hash;
	return lift(interned, err);
}

static enum sqloom_status add(struct postgres *db, const char *sql, size_t size,
			      uint64_t hash, struct pg_interned **out,
			      struct sqloom_error *err)
{
	struct pg_outside *outside = db->outside;
	struct pg_interned *interned = slm_calloc(1, sizeof(*interned));
	enum sqloom_status status;

	if (!interned)
		return slm_error_nomem(err);
	slm_arena_init(&interned->arena);
	interned->hash = hash;
	interned->size = size;
	interned->step.text = interned->known.sql =
		slm_arena_strndup(&interned->arena, sql, size);
	status = interned->known.sql && make_room(outside) ?
			 look_up(db, interned, err) :
			 slm_error_nomem(err);
	if (status) {
		free_one(interned);
		return status;
	}
	put(outside, interned);
	outside->count++;
	*out = interned;
	return SQLOOM_OK;
}

enum sqloom_status slm_outside_statement(
	struct slm_db *base, const char *sql, size_t size,
	const struct slm_outside_statement **out, struct sqloom_error *err)
{
	struct postgres *db = slm_outside_of(base);
	uint64_t hash = slm_hash(sql, size, 0);
	struct pg_interned *interned = find(db->outside, sql, size, hash);
	enum sqloom_status status = SQLOOM_OK;

	assert(db->catalogue.version); /* not during the setup */
	if (!interned)
		status = add(db, sql, size, hash, &interned, err);
	if (status)
		return status;
	interned->used = ++db->outside->clock;
	*out = &interned->known;
	return SQLOOM_OK;
}

enum sqloom_status slm_outside_read_commit(struct postgres *db,
					   struct sqloom_error *err)
{
	struct pg_step *commit = &db->outside->commit;
	enum sqloom_status status;

	commit->text = "COMMIT";
	status = slm_pg_step_read(commit->text, &db->arena, &commit->parsed,
				  err);
	return status ? status : slm_pgstep_resolve(db, commit, err);
}

/* ---- Going ------------------------------------------------------------- */

static int by_use(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* When the newest of those was used that must go: a quarter more than needed,
 * so that it is not done at each run. 0: memory is out, nothing goes. */
static uint64_t oldest_to_stay(const struct pg_outside *outside)
{
	size_t excess = outside->count - SLM_OUTSIDE_STATEMENTS_MAX * 3 / 4;
	uint64_t *uses = slm_calloc(outside->count, sizeof(*uses)), stay = 0;
	size_t n = 0;

	if (!uses)
		return 0;
	for (size_t i = 0; i < outside->nbuckets; i++)
		for (struct pg_interned *at = outside->buckets[i]; at;
		     at = at->next)
			uses[n++] = at->used;
	assert(n == outside->count && excess < n);
	qsort(uses, n, sizeof(*uses), by_use);
	stay = uses[excess];
	slm_free(uses);
	return stay;
}

void slm_outside_evict(struct pg_outside *outside)
{
	uint64_t stay;

	if (outside->count <= SLM_OUTSIDE_STATEMENTS_MAX)
		return;
	stay = oldest_to_stay(outside);
	for (size_t i = 0; i < outside->nbuckets; i++) {
		struct pg_interned **link = &outside->buckets[i];

		while (*link) {
			struct pg_interned *at = *link;

			if (at->used >= stay) {
				link = &at->next;
				continue;
			}
			*link = at->next;
			free_one(at);
			outside->count--;
		}
	}
}

void slm_outside_free_statements(struct pg_outside *outside)
{
	for (size_t i = 0; i < outside->nbuckets; i++)
		for (struct pg_interned *at = outside->buckets[i], *next; at;
		     at = next) {
			next = at->next;
			free_one(at);
		}
	slm_free(outside->buckets);
	outside->buckets = NULL;
	outside->nbuckets = outside->count = 0;
}
