/* SPDX-License-Identifier: Apache-2.0 */
/* See model.h. Memory that is out ends the program: it is a test's. */
#include "model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace/utf8.h"

#define CRASH "57P01" /* the only FATAL error */

enum result { DONE, FAILED, SUSPENDED, COPYING };

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- Answers ------------------------------------------------------------ */

static void put(struct model *model, uint8_t type, const void *body,
		size_t size)
{
	const uint32_t length = (uint32_t)size + 4;
	const uint8_t header[] = { type, (uint8_t)(length >> 24),
				   (uint8_t)(length >> 16),
				   (uint8_t)(length >> 8), (uint8_t)length };

	slm_buf_append(&model->out, header, sizeof(header));
	slm_buf_append(&model->out, body, size);
	must(!slm_buf_failed(&model->out));
}

/* The client is to get all that there is. */
static void ask(struct model *model)
{
	model->asked = model->sent = model->out.size;
}

static void put_simple(struct model *model, uint8_t type)
{
	put(model, type, "", 0);
}

static void put_tag(struct model *model, const char *tag)
{
	model->tag_at = model->out.size;
	must(slm_wire_put_tag(&model->out, tag));
}

/* at: where in the text the error is, from 1 on; 0: nowhere. */
static void put_report(struct model *model, uint8_t type, const char *sqlstate,
		       size_t at)
{
	char body[100];
	const char *severity = strcmp(sqlstate, CRASH) == 0 ? "FATAL" : "ERROR";
	int size = snprintf(body, sizeof(body), "S%s%cV%s%cC%s%cMa message%c",
			    severity, 0, severity, 0, sqlstate, 0, 0);

	if (at > 0)
		size += snprintf(body + size, sizeof(body) - (size_t)size,
				 "P%zu%c", at, 0);
	body[size++] = '\0';
	put(model, type, body, (size_t)size);
	model->sent = model->out.size; /* nobody has to ask */
}

static void put_ready(struct model *model)
{
	if (model->notified && model->status == 'I') {
		put(model, SLM_WIRE_NOTIFICATION_RESPONSE, "\0\0\0\1c\0\0", 7);
		model->notified = false;
	}
	must(slm_wire_put_ready(&model->out, model->status));
	ask(model);
}

static void put_columns(struct model *model)
{
	static const char body[] = "\0\1v\0\0\0\0\0\0\0\0\0\0\x19\xff\xff"
				   "\xff\xff\xff\xff\0";

	put(model, SLM_WIRE_ROW_DESCRIPTION, body, sizeof(body));
}

/* ---- Transactions ------------------------------------------------------- */

/* All portals are of the transaction. */
static void end_transaction(struct model *model)
{
	model->status = 'I';
	model->done = 0;
	model->deferred = false;
	memset(model->portals, 0, sizeof(model->portals));
}

static void fail(struct model *model, const char *sqlstate, size_t at)
{
	put_report(model, SLM_WIRE_ERROR_RESPONSE, sqlstate, at);
	model->notified = false;
	if (model->status == 'T')
		model->status = 'E';
	else if (model->status == 'I')
		end_transaction(model);
}

static enum result refuse(struct model *model, const char *sqlstate, size_t at)
{
	fail(model, sqlstate, at);
	return FAILED;
}

/* False: it failed, and was told. */
static bool commit(struct model *model)
{
	bool deferred = model->deferred;

	end_transaction(model);
	if (deferred) {
		put_report(model, SLM_WIRE_ERROR_RESPONSE, "23503", 0);
		model->notified = false;
	}
	return !deferred;
}

static bool may_leave_failed(enum slm_pg_kind kind)
{
	return kind == SLM_PG_COMMIT || kind == SLM_PG_ROLLBACK ||
	       kind == SLM_PG_ROLLBACK_TO || kind == SLM_PG_PREPARE_TRANSACTION;
}

static enum result execute_begin(struct model *model)
{
	model->status = 'T';
	put_tag(model, "BEGIN");
	return DONE;
}

static enum result execute_end(struct model *model, bool commits)
{
	if (commits && model->status != 'E') {
		if (!commit(model))
			return FAILED;
		put_tag(model, "COMMIT");
		return DONE;
	}
	end_transaction(model);
	model->notified = false;
	put_tag(model, "ROLLBACK");
	return DONE;
}

static enum result execute_savepoint(struct model *model, enum slm_pg_kind kind,
				     size_t at)
{
	if (model->status == 'I')
		return refuse(model, "25P01", at);
	model->status = 'T';
	put_tag(model, slm_pg_kind_name(kind));
	return DONE;
}

/* ---- Statements --------------------------------------------------------- */

static bool has(const struct slm_pg_statement *s, const char *word)
{
	return memmem(s->begin, (size_t)(s->end - s->begin), word,
		      strlen(word)) != NULL;
}

static bool returns_rows(const struct slm_pg_statement *s)
{
	return s->kind == SLM_PG_QUERY || s->kind == SLM_PG_SHOW ||
	       s->kind == SLM_PG_EXPLAIN || s->kind == SLM_PG_FETCH ||
	       s->returning;
}

/* The n-th row of a statement. */
static void put_row(struct model *model, const struct slm_pg_statement *s,
		    unsigned n)
{
	uint8_t body[2 + 4 + 3000] = { 0, 1 };
	const size_t size = has(s, "wide") ? 3000 :
					     (size_t)(s->end - s->begin) % 50;

	body[4] = (uint8_t)(size >> 8);
	body[5] = (uint8_t)size;
	memset(body + 6, 'a' + (int)(n % 26), size);
	put(model, SLM_WIRE_DATA_ROW, body, 6 + size);
}

static enum result start_copy_in(struct model *model, bool simple)
{
	put(model, SLM_WIRE_COPY_IN_RESPONSE, "\0\0\1\0\0", 5);
	model->copy = simple ? MODEL_COPY_QUERY : MODEL_COPY_EXECUTE;
	model->copied = 0;
	ask(model);
	return COPYING;
}

static void copy_out(struct model *model)
{
	put(model, SLM_WIRE_COPY_OUT_RESPONSE, "\0\0\1\0\0", 5);
	put(model, SLM_WIRE_S_COPY_DATA, "1\n", 2);
	put(model, SLM_WIRE_S_COPY_DATA, "", 0);
	put_simple(model, SLM_WIRE_S_COPY_DONE);
	put_tag(model, "COPY 2");
}

static void put_tag_of(struct model *model, const struct slm_pg_statement *s,
		       unsigned rows)
{
	char tag[64];

	if (s->kind == SLM_PG_INSERT)
		snprintf(tag, sizeof(tag), "INSERT 0 1");
	else if (s->kind == SLM_PG_QUERY || s->kind == SLM_PG_UPDATE ||
		 s->kind == SLM_PG_DELETE || s->kind == SLM_PG_MERGE)
		snprintf(tag, sizeof(tag), "%s %u", slm_pg_kind_name(s->kind),
			 rows);
	else
		snprintf(tag, sizeof(tag), "%s", slm_pg_kind_name(s->kind));
	put_tag(model, tag);
}

/* What the words in a statement ask for. */
static bool execute_words(struct model *model, const struct slm_pg_statement *s,
			  size_t at)
{
	if (has(s, "crash")) {
		put_report(model, SLM_WIRE_ERROR_RESPONSE, CRASH, 0);
		ask(model);
		model->dead = true;
	} else if (has(s, "fail")) {
		fail(model, "22012", has(s, "fails") ? at : 0);
	} else {
		return true;
	}
	return false;
}

/* Rows of a portal may stop in between; of a Query (portal NULL) they do not. */
static enum result execute_rows(struct model *model,
				const struct slm_pg_statement *s, size_t at,
				struct model_name *portal, uint32_t max_rows)
{
	const unsigned total = returns_rows(s) ? 2 : 0;
	unsigned sent = 0;

	if (total > 0 && !portal)
		put_columns(model);
	for (unsigned i = portal ? portal->rows : 0; i < total; i++) {
		if (max_rows > 0 && sent == max_rows) {
			portal->rows = i;
			put_simple(model, SLM_WIRE_PORTAL_SUSPENDED);
			return SUSPENDED;
		}
		put_row(model, s, i);
		sent++;
	}
	if (!execute_words(model, s, at))
		return FAILED;
	if (portal)
		portal->rows = total;
	put_tag_of(model, s, total > 0 ? sent : 1);
	return DONE;
}

static void drop(struct model_name *names, const char *name)
{
	for (size_t i = 0; i < MODEL_NAMES_MAX; i++)
		if (names[i].name &&
		    (!name || strcmp(names[i].name, name) == 0))
			names[i].name = NULL;
}

static enum result deallocate(struct model *model,
			      const struct slm_pg_statement *s)
{
	drop(model->statements, s->name);
	put_tag(model, s->kind == SLM_PG_DISCARD ? "DISCARD ALL" :
		       s->name			 ? "DEALLOCATE" :
						   "DEALLOCATE ALL");
	return DONE;
}

/* What does not care whether there is a transaction. */
static enum result execute_plain(struct model *model,
				 const struct slm_pg_statement *s, size_t at,
				 struct model_name *portal, uint32_t max_rows)
{
	if (has(s, "notice"))
		put_report(model, SLM_WIRE_NOTICE_RESPONSE, "00000",
			   has(s, "notices") ? at : 0);
	if (s->kind == SLM_PG_DEALLOCATE ||
	    (s->kind == SLM_PG_DISCARD && has(s, "ALL")))
		return deallocate(model, s);
	if (s->kind == SLM_PG_COPY_TO && has(s, "STDOUT")) {
		copy_out(model);
		return DONE;
	}
	if (s->kind == SLM_PG_COPY_FROM && has(s, "STDIN"))
		return start_copy_in(model, !portal);
	return execute_rows(model, s, at, portal, max_rows);
}

/* alone: no other statement can be in its implicit transaction. */
static enum result execute(struct model *model,
			   const struct slm_pg_statement *s, size_t at,
			   bool alone, struct model_name *portal,
			   uint32_t max_rows)
{
	const bool block = model->status != 'I' || !alone || model->done > 0;

	if (model->status == 'E' && !may_leave_failed(s->kind))
		return refuse(model, "25P02", 0);
	switch (s->kind) {
	case SLM_PG_BEGIN:
		return execute_begin(model);
	case SLM_PG_COMMIT:
	case SLM_PG_ROLLBACK:
	case SLM_PG_PREPARE_TRANSACTION:
		return execute_end(model, s->kind != SLM_PG_ROLLBACK);
	case SLM_PG_SAVEPOINT:
	case SLM_PG_RELEASE:
	case SLM_PG_ROLLBACK_TO:
		return execute_savepoint(model, s->kind, at);
	case SLM_PG_VACUUM:
	case SLM_PG_DISCARD:
		if (block && (s->kind == SLM_PG_VACUUM || has(s, "ALL")))
			return refuse(model, "25001", at);
		break;
	case SLM_PG_LOCK:
	case SLM_PG_DECLARE:
		if (!block)
			return refuse(model, "25P01", at);
		break;
	default:
		break;
	}
	model->deferred = model->deferred || has(s, "defer");
	model->notified = model->notified || has(s, "notify");
	model->done++;
	return execute_plain(model, s, at, portal, max_rows);
}

/* ---- Simple protocol ---------------------------------------------------- */

static const struct slm_pg_step *read_sql(struct model *model, const char *sql)
{
	struct slm_pg_step *step =
		slm_arena_zalloc(&model->arena, 1, sizeof(*step));

	must(step &&
	     slm_pg_step_read(sql, &model->arena, step, NULL) == SQLOOM_OK);
	return step;
}

/* Positions are told in characters, from 1 on. */
static size_t position(const char *text, const char *at)
{
	size_t n = 1;

	for (; text < at; text++)
		n += ((uint8_t)*text & 0xc0) != 0x80;
	return n;
}

static void end_query(struct model *model)
{
	model->text = NULL;
	put_ready(model);
}

/*
 * The last statement's tag is sent when its implicit transaction has been
 * committed, so that an error there takes its place.
 */
static void commit_query(struct model *model)
{
	if (model->status != 'I')
		return;
	if (model->deferred)
		model->out.size = model->tag_at;
	commit(model);
}

/* From model->part on, until the end or a COPY. */
static void run_query(struct model *model)
{
	const struct slm_pg_step *step = model->step;

	while (model->part < step->nstatements) {
		const struct slm_pg_statement *s =
			&step->statements[model->part++];
		enum result result = execute(model, s,
					     position(model->text, s->begin),
					     step->nstatements == 1, NULL, 0);

		if (result == COPYING)
			return;
		if (model->dead)
			return;
		if (result == FAILED)
			break;
		if (model->part == step->nstatements)
			commit_query(model);
	}
	end_query(model);
}

static const struct slm_pg_statement *first_of(const struct slm_pg_step *step)
{
	return step->nstatements > 0 ? &step->statements[0] : NULL;
}

static void answer_query(struct model *model, const struct slm_wire_message *m)
{
	const char *sql = slm_wire_text(m);

	drop(model->statements, "");
	drop(model->portals, "");
	model->skip = false;
	if (!sql || !slm_utf8_valid(sql, strlen(sql))) {
		fail(model, "22021", 0);
		put_ready(model);
		return;
	}
	model->text = slm_arena_strdup(&model->arena, sql);
	must(model->text != NULL);
	model->step = read_sql(model, model->text);
	model->part = 0;
	if (!model->step->parsed) {
		fail(model, "42601", 1);
		end_query(model);
	} else if (model->step->nstatements == 0) {
		put_simple(model, SLM_WIRE_EMPTY_QUERY_RESPONSE);
		if (model->status == 'I')
			end_transaction(model);
		end_query(model);
	} else {
		run_query(model);
	}
}

/* ---- Extended protocol -------------------------------------------------- */

static struct model_name *find(struct model_name *names, const char *name)
{
	for (size_t i = 0; i < MODEL_NAMES_MAX; i++)
		if (names[i].name && strcmp(names[i].name, name) == 0)
			return &names[i];
	return NULL;
}

/* NULL: a named one is there already, or there are too many. */
static struct model_name *make(struct model *model, struct model_name *names,
			       const char *name)
{
	if (*name && find(names, name))
		return NULL;
	drop(names, name);
	for (size_t i = 0; i < MODEL_NAMES_MAX; i++) {
		if (names[i].name)
			continue;
		names[i] = (struct model_name){ .name = slm_arena_strdup(
							&model->arena, name) };
		must(names[i].name != NULL);
		return &names[i];
	}
	return NULL;
}

static void fail_extended(struct model *model, const char *sqlstate)
{
	fail(model, sqlstate, 0);
	model->skip = true;
}

static bool may_run(const struct model *model, const struct slm_pg_step *step)
{
	const struct slm_pg_statement *s = first_of(step);

	return model->status != 'E' || !s || may_leave_failed(s->kind);
}

static void answer_parse(struct model *model, const struct slm_wire_message *m)
{
	struct slm_wire_parse parse;
	const struct slm_pg_step *step;
	struct model_name *statement;
	const char *sql;

	if (!slm_wire_parse(m, &parse) ||
	    !slm_utf8_valid(parse.sql, parse.sql_size)) {
		fail_extended(model, "08P01");
		return;
	}
	sql = slm_arena_strdup(&model->arena, parse.sql);
	must(sql != NULL);
	if (!*parse.name)
		drop(model->statements, "");
	step = read_sql(model, sql);
	if (!step->parsed || step->nstatements > 1) {
		fail_extended(model, "42601");
		return;
	}
	if (!may_run(model, step)) {
		fail_extended(model, "25P02");
		return;
	}
	statement = make(model, model->statements, parse.name);
	if (!statement) {
		fail_extended(model, "42P05");
		return;
	}
	statement->sql = sql;
	statement->step = step;
	put_simple(model, SLM_WIRE_PARSE_COMPLETE);
}

static void answer_bind(struct model *model, const struct slm_wire_message *m)
{
	struct slm_wire_bind bind;
	struct model_name *statement, *portal;

	if (!slm_wire_bind(m, &bind)) {
		fail_extended(model, "08P01");
		return;
	}
	statement = find(model->statements, bind.statement);
	if (!statement) {
		fail_extended(model, "26000");
		return;
	}
	if (!may_run(model, statement->step)) {
		fail_extended(model, "25P02");
		return;
	}
	portal = make(model, model->portals, bind.portal);
	if (!portal) {
		fail_extended(model, "42P03");
		return;
	}
	portal->sql = statement->sql;
	portal->step = statement->step;
	put_simple(model, SLM_WIRE_BIND_COMPLETE);
}

static void answer_describe(struct model *model,
			    const struct slm_wire_message *m)
{
	struct slm_wire_target target;
	const struct slm_pg_statement *s;
	const struct model_name *object;

	if (!slm_wire_target(m, &target)) {
		fail_extended(model, "08P01");
		return;
	}
	object = find(target.kind == 'S' ? model->statements : model->portals,
		      target.name);
	if (!object) {
		fail_extended(model, target.kind == 'S' ? "26000" : "34000");
		return;
	}
	s = first_of(object->step);
	if (model->status == 'E' && s && returns_rows(s)) {
		fail_extended(model, "25P02");
		return;
	}
	if (target.kind == 'S')
		put(model, SLM_WIRE_PARAMETER_DESCRIPTION, "\0\0", 2);
	if (s && returns_rows(s))
		put_columns(model);
	else
		put_simple(model, SLM_WIRE_NO_DATA);
}

static void answer_execute(struct model *model,
			   const struct slm_wire_message *m)
{
	struct slm_wire_execute wanted;
	struct model_name *portal;
	const struct slm_pg_statement *s;
	enum result result;

	if (!slm_wire_execute(m, &wanted)) {
		fail_extended(model, "08P01");
		return;
	}
	portal = find(model->portals, wanted.portal);
	if (!portal) {
		fail_extended(model, "34000");
		return;
	}
	s = first_of(portal->step);
	if (!s) {
		put_simple(model, SLM_WIRE_EMPTY_QUERY_RESPONSE);
		return;
	}
	if (portal->done && !returns_rows(s)) {
		fail_extended(model, "55000");
		return;
	}
	result = execute(model, s, position(portal->sql, s->begin), true,
			 portal, wanted.max_rows);
	if (result == FAILED)
		model->skip = true;
	else if (portal->name)
		portal->done = result != SUSPENDED;
}

static void answer_close(struct model *model, const struct slm_wire_message *m)
{
	struct slm_wire_target target;

	if (!slm_wire_target(m, &target)) {
		fail_extended(model, "08P01");
		return;
	}
	drop(target.kind == 'S' ? model->statements : model->portals,
	     target.name);
	put_simple(model, SLM_WIRE_CLOSE_COMPLETE);
}

static void answer_sync(struct model *model)
{
	model->skip = false;
	if (model->status == 'I')
		commit(model);
	put_ready(model);
}

static void answer_function(struct model *model)
{
	model->skip = false;
	if (model->status == 'E')
		fail(model, "25P02", 0);
	else
		put(model, SLM_WIRE_FUNCTION_CALL_RESPONSE, "\xff\xff\xff\xff",
		    4);
	if (model->status == 'I')
		commit(model);
	put_ready(model);
}

/* ---- COPY --------------------------------------------------------------- */

static void fail_copy(struct model *model, const char *sqlstate)
{
	bool simple = model->copy == MODEL_COPY_QUERY;

	model->copy = MODEL_NO_COPY;
	fail(model, sqlstate, 0);
	if (simple)
		end_query(model);
	else
		model->skip = true;
}

static void end_copy(struct model *model)
{
	bool simple = model->copy == MODEL_COPY_QUERY;
	char tag[32];

	model->copy = MODEL_NO_COPY;
	snprintf(tag, sizeof(tag), "COPY %u", model->copied);
	put_tag(model, tag);
	if (!simple)
		return;
	if (model->part == model->step->nstatements)
		commit_query(model);
	run_query(model);
}

static void answer_in_copy(struct model *model,
			   const struct slm_wire_message *m)
{
	switch (m->type) {
	case SLM_WIRE_COPY_DATA:
		model->copied++;
		if (memmem(m->body, m->size, "fail", 4))
			fail_copy(model, "22P04");
		break;
	case SLM_WIRE_COPY_DONE:
		end_copy(model);
		break;
	case SLM_WIRE_COPY_FAIL:
		fail_copy(model, "57014");
		break;
	case SLM_WIRE_FLUSH:
	case SLM_WIRE_SYNC:
		break;
	default:
		model->dead = true;
	}
}

/* ---- Messages ----------------------------------------------------------- */

static void answer(struct model *model, const struct slm_wire_message *m)
{
	switch (m->type) {
	case SLM_WIRE_QUERY:
		answer_query(model, m);
		break;
	case SLM_WIRE_PARSE:
		answer_parse(model, m);
		break;
	case SLM_WIRE_BIND:
		answer_bind(model, m);
		break;
	case SLM_WIRE_DESCRIBE:
		answer_describe(model, m);
		break;
	case SLM_WIRE_EXECUTE:
		answer_execute(model, m);
		break;
	case SLM_WIRE_CLOSE:
		answer_close(model, m);
		break;
	case SLM_WIRE_FUNCTION_CALL:
		answer_function(model);
		break;
	case SLM_WIRE_SYNC:
		answer_sync(model);
		break;
	case SLM_WIRE_FLUSH:
		ask(model);
		break;
	case SLM_WIRE_TERMINATE:
		model->dead = true;
		break;
	default: /* what is left of a COPY, and passwords */
		break;
	}
}

static bool is_skipped(const struct model *model, uint8_t type)
{
	switch (type) {
	case SLM_WIRE_QUERY:
	case SLM_WIRE_FUNCTION_CALL:
	case SLM_WIRE_PARSE:
	case SLM_WIRE_BIND:
	case SLM_WIRE_DESCRIBE:
	case SLM_WIRE_EXECUTE:
	case SLM_WIRE_CLOSE:
	case SLM_WIRE_FLUSH:
		return model->skip;
	default:
		return false;
	}
}

bool model_answer(struct model *model)
{
	struct slm_wire_message m;

	if (model->dead ||
	    slm_wire_look(SLM_WIRE_FROM_CLIENT, model->in.data + model->at,
			  model->in.size - model->at, &m,
			  NULL) != SLM_WIRE_MESSAGE ||
	    m.have < m.size)
		return false;
	model->at += SLM_WIRE_HEADER + m.size;
	if (model->copy != MODEL_NO_COPY)
		answer_in_copy(model, &m);
	else if (!is_skipped(model, m.type))
		answer(model, &m);
	return true;
}

void model_feed(struct model *model, const void *bytes, size_t size)
{
	slm_buf_append(&model->in, bytes, size);
	must(!slm_buf_failed(&model->in));
}

static void put_setting(struct model *model, const char *name,
			const char *value)
{
	char body[100];
	int size = snprintf(body, sizeof(body), "%s%c%s%c", name, 0, value, 0);

	put(model, SLM_WIRE_PARAMETER_STATUS, body, (size_t)size);
}

void model_start(struct model *model)
{
	put(model, SLM_WIRE_AUTHENTICATION, "\0\0\0\0", 4);
	put_setting(model, "server_version", "15.0");
	put_setting(model, "client_encoding", "UTF8");
	put_setting(model, "standard_conforming_strings", "on");
	put(model, SLM_WIRE_BACKEND_KEY_DATA, "\0\0\0\7abcd", 8);
	put_ready(model);
}

void model_init(struct model *model)
{
	*model = (struct model){ .status = 'I' };
	slm_arena_init(&model->arena);
	slm_buf_init(&model->in);
	slm_buf_init(&model->out);
	slm_buf_append(&model->in, "", 0);
	slm_buf_append(&model->out, "", 0);
}

void model_deinit(struct model *model)
{
	slm_buf_deinit(&model->in);
	slm_buf_deinit(&model->out);
	slm_arena_deinit(&model->arena);
}
