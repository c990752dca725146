/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recording of a proxy as a spec of SQL sessions, which can be explored
 * without the programs: one session per connection, one step per statement,
 * with the values of its parameters in it. The text is made and then parsed as
 * any other. Not every SQL text can stand between braces: what has a brace is
 * written so that it can, and tried.
 */
#include <ctype.h>
#include <string.h>

#include "base/error.h"
#include "spec/spec.h"
#include "sql/pg_statement.h"
#include "trace/params.h"
#include "trace/trace.h"

#define EXCERPT 60 /* bytes of a statement that a message quotes */

/* What becomes of a statement. */
enum fate {
	TAKEN,
	LOCAL, /* a step that says nothing about others */
	/* Left out: */
	EMPTY,
	CATALOG, /* it reads nothing but the catalogue */
	COPY_OUT,
	FORGETS, /* DEALLOCATE of what the protocol prepared, not a step */
};

/* One statement of a connection. */
struct statement {
	const char *sql; /* as it was sent, parameters in it */
	enum fate fate;
	const char *text;     /* as it stands in the spec */
	const char *prepares; /* the name of a prepared statement; NULL */
};

struct connection {
	struct statement *list;
	uint32_t count;
	bool kept;
	bool failed; /* some statement did */
	const char *name;
};

struct making {
	const struct slm_trace *trace;
	struct slm_arena arena;
	struct connection connections[SLM_CALLS_MAX];
	struct slm_buf buf;
	struct sqloom_error *err;
};

/* ---- Text between braces ---------------------------------------------- */

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (c & 0x80);
}

/* The end of a quoted text, behind its last quote. */
static const char *quoted_end(const char *p, bool escapes)
{
	char quote = *p;

	for (p++; *p; p++) {
		if (escapes && *p == '\\' && p[1])
			p++;
		else if (*p == quote && p[1] == quote)
			p++;
		else if (*p == quote)
			return p + 1;
	}
	return p;
}

static const char *comment_end(const char *p)
{
	unsigned depth = 0;

	if (*p == '-')
		return p + strcspn(p, "\n");
	while (*p) {
		if (p[0] == '/' && p[1] == '*') {
			depth++;
			p += 2;
		} else if (p[0] == '*' && p[1] == '/') {
			p += 2;
			if (--depth == 0)
				break;
		} else {
			p++;
		}
	}
	return p;
}

/* Bytes of $tag$ at p; 0: none is there. */
static size_t dollar_tag(const char *p)
{
	const char *at = p + 1;

	if (isdigit((unsigned char)*at))
		return 0;
	while (*at != '$' && is_word(*at))
		at++;
	return *at == '$' ? (size_t)(at + 1 - p) : 0;
}

/* A brace ends a block unless it stands in quotes of one line: so a text that
 * has one becomes an escape string, which has no line breaks. */
static void put_escaped(struct slm_buf *buf, const char *text, size_t size,
			bool escapes, bool quotes)
{
	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		if (c == '\n')
			slm_buf_puts(buf, "\\n");
		else if (c == '\r')
			slm_buf_puts(buf, "\\r");
		else if (c == '\\' && !escapes)
			slm_buf_puts(buf, "\\\\");
		else if (c == '\'' && quotes)
			slm_buf_puts(buf, "''");
		else
			slm_buf_putc(buf, c);
	}
}

static bool needs_escapes(const char *text, size_t size)
{
	return memchr(text, '}', size) && memchr(text, '\n', size);
}

/* Is it the quote of N'...', U&'...' and the like? */
static bool has_prefix(const struct slm_buf *buf)
{
	char last = buf->size ? buf->data[buf->size - 1] : ' ';

	return is_word(last) || last == '&';
}

/* '...', with the E before it if there is one; the E was put already. */
static const char *put_literal(struct slm_buf *buf, const char *p, bool escapes)
{
	const char *end = quoted_end(p, escapes);
	size_t size = (size_t)(end - p);

	if (*p == '"' || size < 2 || !needs_escapes(p, size) ||
	    (!escapes && has_prefix(buf))) {
		slm_buf_append(buf, p, size);
		return end;
	}
	slm_buf_puts(buf, escapes ? "'" : "E'");
	put_escaped(buf, p + 1, size - 2, escapes, false);
	slm_buf_putc(buf, '\'');
	return end;
}

static const char *put_dollar(struct slm_buf *buf, const char *p, size_t tag)
{
	const char *text = p + tag, *end = text;

	while (*end && strncmp(end, p, tag) != 0)
		end++;
	if (!*end || !memchr(text, '}', (size_t)(end - text))) {
		end += *end ? tag : 0;
		slm_buf_append(buf, p, (size_t)(end - p));
		return end;
	}
	slm_buf_puts(buf, " E'");
	put_escaped(buf, text, (size_t)(end - text), false, true);
	slm_buf_putc(buf, '\'');
	return end + tag;
}

/* Puts what begins at p, one token or character, and returns its end. */
static const char *put_one(struct slm_buf *buf, const char *p)
{
	const char *begin = p;
	size_t tag;

	if (*p == '\'' || *p == '"')
		return put_literal(buf, p, false);
	if ((p[0] == '-' && p[1] == '-') || (p[0] == '/' && p[1] == '*')) {
		slm_buf_putc(buf, ' ');
		return comment_end(p);
	}
	if (*p == '$' && (tag = dollar_tag(p)))
		return put_dollar(buf, p, tag);
	if (p[0] == ':' && p[1] == ':') {
		slm_buf_puts(buf, "::");
		return p + 2;
	}
	/* a[x:y]: here :y would be a value that was read. */
	if (*p == ':' && (isalpha((unsigned char)p[1]) || p[1] == '_')) {
		slm_buf_puts(buf, ": ");
		return p + 1;
	}
	if ((*p == 'E' || *p == 'e') && p[1] == '\'') {
		slm_buf_putc(buf, *p);
		return put_literal(buf, p + 1, true);
	}
	while (is_word(*p))
		p++;
	p += p == begin;
	slm_buf_append(buf, begin, (size_t)(p - begin));
	return p;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ';';
}

/* The statement as it can stand in a block; NULL: memory is out. */
static const char *block_text(struct making *m, const char *sql)
{
	const char *text = NULL, *begin;
	size_t size;

	slm_buf_clear(&m->buf);
	slm_buf_puts(&m->buf, "");
	while (*sql)
		sql = put_one(&m->buf, sql);
	if (!slm_buf_failed(&m->buf)) {
		begin = m->buf.data ? m->buf.data : "";
		size = m->buf.size;
		for (; size && is_blank(*begin); size--)
			begin++;
		while (size && is_blank(begin[size - 1]))
			size--;
		text = slm_arena_strndup(&m->arena, begin, size);
	}
	slm_buf_clear(&m->buf);
	return text;
}

/* ---- Statements ------------------------------------------------------- */

static enum sqloom_status cannot(struct making *m, enum sqloom_status status,
				 uint32_t call, uint32_t number,
				 const char *sql, const char *why)
{
	return slm_error_set(m->err, status,
			     "statement %u of connection %c (%.63s) cannot be "
			     "a step of a spec: %s; it begins %.*s",
			     number + 1, (char)('a' + call),
			     m->trace->calls[call].name, why, EXCERPT, sql);
}

/* A step of its own, to see where its block ends. */
static enum sqloom_status try_block(struct making *m, uint32_t call,
				    uint32_t number,
				    const struct statement *statement)
{
	struct sqloom_spec *spec = NULL;
	enum sqloom_status status;
	const struct slm_spec_sql *sql;
	const char *text;
	bool same = false;

	if (!strchr(statement->text, '}'))
		return SQLOOM_OK;
	text = slm_arena_printf(&m->arena, "session a step s { %s }",
				statement->text);
	if (!text)
		return slm_error_nomem(m->err);
	status = sqloom_spec_parse(text, strlen(text), "step", &spec, m->err);
	if (status == SQLOOM_NOMEM)
		return status;
	if (!status && spec->nsessions == 1 && spec->sessions[0].nsteps == 1) {
		sql = &spec->sessions[0].steps[0].sql;
		same = sql->size == strlen(statement->text) + 2;
	}
	sqloom_spec_free(spec);
	if (same)
		return SQLOOM_OK;
	return cannot(m, SQLOOM_UNSUPPORTED, call, number, statement->sql,
		      "it has a } where a block of a spec would end");
}

static bool is_catalog(const struct slm_pg_relation *relation)
{
	if (relation->schema)
		return strcmp(relation->schema, "pg_catalog") == 0 ||
		       strcmp(relation->schema, "information_schema") == 0;
	return strncmp(relation->name, "pg_", 3) == 0;
}

static bool reads_catalog(const struct slm_pg_step *step)
{
	for (size_t i = 0; i < step->nstatements; i++)
		for (size_t k = 0; k < step->statements[i].nrelations; k++)
			if (!is_catalog(&step->statements[i].relations[k]))
				return false;
	return step->pure && !step->touches_nothing;
}

/* Is there a statement of this kind? */
static bool has_kind(const struct slm_pg_step *step, enum slm_pg_kind kind)
{
	for (size_t i = 0; i < step->nstatements; i++)
		if (step->statements[i].kind == kind)
			return true;
	return false;
}

static bool is_prepared(const struct connection *connection, const char *name)
{
	for (uint32_t i = 0; i < connection->count; i++)
		if (connection->list[i].prepares &&
		    strcmp(connection->list[i].prepares, name) == 0)
			return true;
	return false;
}

/* PDO prepares by the protocol, of which a session knows nothing, and ends
 * that by a Query. */
static bool is_stranger(const struct connection *connection,
			const struct slm_pg_step *step)
{
	const struct slm_pg_statement *one = step->statements;

	return step->nstatements == 1 && one->kind == SLM_PG_DEALLOCATE &&
	       one->name && !is_prepared(connection, one->name);
}

static enum sqloom_status read_statement(struct making *m, uint32_t call,
					 uint32_t number,
					 const struct slm_trace_step *step,
					 const char *params,
					 struct statement *out)
{
	struct slm_pg_step parsed;
	enum sqloom_status status;
	bool whole = true;

	if (!*step->sql)
		return cannot(m, SQLOOM_UNSUPPORTED, call, number, step->name,
			      "it has no SQL text (a function call "
			      "of the protocol)");
	out->sql = slm_params_put(&m->arena, step->sql, params, &whole);
	if (!out->sql)
		return slm_error_nomem(m->err);
	status = slm_pg_step_read(out->sql, &m->arena, &parsed, m->err);
	if (status)
		return status;
	/* Those of PREPARE are nobody's values. */
	if (!whole && !has_kind(&parsed, SLM_PG_PREPARE))
		return cannot(m, SQLOOM_UNSUPPORTED, call, number, step->sql,
			      "the value of a parameter is not in the "
			      "recording, or not all of it");
	out->fate = TAKEN;
	if (has_kind(&parsed, SLM_PG_COPY_FROM))
		return cannot(m, SQLOOM_UNSUPPORTED, call, number, step->sql,
			      "the data of COPY is not in the recording");
	if (has_kind(&parsed, SLM_PG_COPY_TO))
		out->fate = COPY_OUT;
	else if (parsed.parsed && parsed.nstatements == 0)
		out->fate = EMPTY;
	else if (is_stranger(&m->connections[call], &parsed))
		out->fate = FORGETS;
	else if (parsed.parsed && parsed.touches_nothing)
		out->fate = LOCAL;
	else if (parsed.parsed && reads_catalog(&parsed))
		out->fate = CATALOG;
	if (parsed.nstatements == 1 &&
	    parsed.statements->kind == SLM_PG_PREPARE)
		out->prepares = parsed.statements->name;
	out->text = block_text(m, out->sql);
	if (!out->text)
		return slm_error_nomem(m->err);
	return try_block(m, call, number, out);
}

static bool is_sent(const struct slm_event *event)
{
	return event->kind == SLM_EVENT_STEP ||
	       event->kind == SLM_EVENT_BLOCKED;
}

static bool has_failed(const struct slm_result *result)
{
	for (; result; result = result->next)
		if (result->error != SLM_ERROR_NONE)
			return true;
	return false;
}

/* The statements of all connections, in order. */
static enum sqloom_status read_events(struct making *m)
{
	const struct slm_finding *finding = m->trace->findings;
	uint32_t room[SLM_CALLS_MAX] = { 0 };
	enum sqloom_status status = SQLOOM_OK;

	for (uint32_t i = 0; i < finding->nevents; i++)
		room[finding->events[i].call]++;
	for (uint32_t i = 0; i < m->trace->ncalls; i++) {
		m->connections[i].list = slm_arena_zalloc(
			&m->arena, room[i], sizeof(struct statement));
		if (!m->connections[i].list)
			return slm_error_nomem(m->err);
	}
	for (uint32_t i = 0; i < finding->nevents && !status; i++) {
		const struct slm_event *event = &finding->events[i];
		const struct slm_trace_call *call =
			&m->trace->calls[event->call];
		struct connection *to = &m->connections[event->call];

		to->failed = to->failed || has_failed(event->result);
		if (!is_sent(event) || call->steps[event->step].implicit)
			continue;
		status = read_statement(m, event->call, to->count,
					&call->steps[event->step],
					event->params, &to->list[to->count]);
		to->kept = to->kept || to->list[to->count].fate == TAKEN;
		to->count++;
	}
	return status;
}

/* ---- Names ------------------------------------------------------------ */

static bool is_taken(const struct making *m, uint32_t upto, const char *name)
{
	for (uint32_t i = 0; i < upto; i++)
		if (m->connections[i].name &&
		    strcmp(m->connections[i].name, name) == 0)
			return true;
	return false;
}

/* A name as it can stand in quotes: one line, not too long, not there yet. */
static const char *session_name(struct making *m, uint32_t call)
{
	const char *from = m->trace->calls[call].name;
	char name[SLM_SPEC_NAME_MAX + 1];
	const char *made = name;
	size_t size = strlen(from), most = SLM_SPEC_NAME_MAX - 4;

	if (size > most)
		for (size = most; size && (from[size] & 0xc0) == 0x80;)
			size--;
	memcpy(name, from, size);
	name[size] = '\0';
	for (char *at = name; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	if (!*name)
		made = slm_arena_printf(&m->arena, "connection %c",
					(char)('a' + call));
	for (unsigned n = 2; made && is_taken(m, call, made); n++)
		made = slm_arena_printf(&m->arena, "%s %u", name, n);
	return made == name ? slm_arena_strdup(&m->arena, name) : made;
}

static void put_name(struct slm_buf *buf, const char *name)
{
	slm_buf_putc(buf, '"');
	for (; *name; name++)
		slm_buf_puts(buf,
			     *name == '"' ? "\"\"" : (char[]){ *name, '\0' });
	slm_buf_putc(buf, '"');
}

/* ---- The text --------------------------------------------------------- */

/* In a comment nothing may end the line. */
static void put_comment(struct slm_buf *buf, const char *text)
{
	for (; *text; text++)
		slm_buf_putc(buf, (unsigned char)*text < ' ' || *text == 0x7f ?
					  '?' :
					  *text);
}

static uint32_t count_fate(const struct connection *connection, enum fate fate)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < connection->count; i++)
		count += connection->list[i].fate == fate;
	return count;
}

static void put_left_out(struct making *m, const struct connection *connection)
{
	uint32_t catalog = count_fate(connection, CATALOG);
	uint32_t copies = count_fate(connection, COPY_OUT);

	if (catalog)
		slm_buf_printf(&m->buf,
			       "# Left out: %u statement%s that read%s only "
			       "the catalogue.\n",
			       catalog, catalog == 1 ? "" : "s",
			       catalog == 1 ? "s" : "");
	if (copies)
		slm_buf_printf(&m->buf, "# Left out: %u COPY ... TO.\n",
			       copies);
}

static void put_head(struct making *m)
{
	bool failed = false, first = true;

	slm_buf_puts(&m->buf, "# Made by sqloom from a recording of ");
	put_comment(&m->buf, m->trace->backend ? m->trace->backend : "");
	slm_buf_puts(&m->buf,
		     ".\n# To be explored on that database, as it was when the "
		     "recording began.\n");
	for (uint32_t i = 0; i < m->trace->ncalls; i++) {
		failed = failed ||
			 (m->connections[i].kept && m->connections[i].failed);
		if (m->connections[i].kept)
			continue;
		slm_buf_puts(&m->buf, first ? "# Left out, as they neither "
					      "read nor wrote a table: " :
					      ", ");
		put_comment(&m->buf, m->trace->calls[i].name);
		first = false;
	}
	if (!first)
		slm_buf_puts(&m->buf, ".\n");
	/* What the programs wrote may follow from what they had read. */
	slm_buf_puts(&m->buf, "option results joint\n");
	/* A program that goes on after an error has its reasons. */
	if (failed)
		slm_buf_puts(&m->buf, "option on_error continue\n");
}

/* letter: of the session in the spec, so that names of steps are unique. */
static enum sqloom_status put_session(struct making *m, uint32_t call,
				      char letter)
{
	struct connection *connection = &m->connections[call];
	uint32_t number = 0;

	slm_buf_puts(&m->buf, "\nsession ");
	put_name(&m->buf, connection->name);
	slm_buf_putc(&m->buf, '\n');
	put_left_out(m, connection);
	for (uint32_t i = 0; i < connection->count; i++) {
		const struct statement *statement = &connection->list[i];

		if (statement->fate > LOCAL)
			continue;
		if (++number > SLM_SPEC_STEPS_MAX)
			return slm_error_set(
				m->err, SQLOOM_LIMIT,
				"connection %c (%.63s) of the recording has "
				"%u statements, and a session of a spec at "
				"most %d; record less at a time",
				(char)('a' + call), m->trace->calls[call].name,
				connection->count, SLM_SPEC_STEPS_MAX);
		slm_buf_printf(&m->buf, "step %cs%u { %s }\n", letter, number,
			       statement->text);
	}
	return SQLOOM_OK;
}

static enum sqloom_status put_all(struct making *m)
{
	enum sqloom_status status = SQLOOM_OK;
	char letter = 'a';

	slm_buf_clear(&m->buf);
	put_head(m);
	for (uint32_t i = 0; i < m->trace->ncalls && !status; i++) {
		if (!m->connections[i].kept)
			continue;
		m->connections[i].name = session_name(m, i);
		if (!m->connections[i].name)
			return slm_error_nomem(m->err);
		status = put_session(m, i, letter++);
	}
	if (!status && letter == 'a')
		return slm_error_set(m->err, SQLOOM_USAGE,
				     "nothing in the recording reads or writes "
				     "a table: there is nothing to explore");
	if (!status && slm_buf_failed(&m->buf))
		return slm_error_nomem(m->err);
	return status;
}

static enum sqloom_status parse(struct making *m, struct sqloom_spec **out)
{
	const char *name = m->trace->spec;

	return sqloom_spec_parse(m->buf.data, m->buf.size,
				 name && *name ? name : "recording", out,
				 m->err);
}

enum sqloom_status sqloom_spec_from_trace(const struct sqloom_report *report,
					  struct sqloom_spec **out,
					  struct sqloom_error *err)
{
	const struct slm_trace *trace = &report->trace;
	struct making m = { .trace = trace, .err = err };
	enum sqloom_status status;

	if (trace->kind != SLM_TRACE_RECORD || trace->nfindings == 0)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the trace is no recording of sqloom "
				     "proxy --record, but of an exploration; "
				     "explore the spec that it names");
	slm_arena_init(&m.arena);
	slm_buf_init(&m.buf);
	status = read_events(&m);
	if (!status)
		status = put_all(&m);
	if (!status)
		status = parse(&m, out);
	slm_buf_deinit(&m.buf);
	slm_arena_deinit(&m.arena);
	return status;
}
