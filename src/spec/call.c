/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that are programs, and what stands around them: call, before and
 * server blocks. A spec has these or sessions, never both. What a command or a
 * request says is not looked at here.
 */
#include <string.h>

#include "spec/parser.h"

/* ---- Texts ------------------------------------------------------------- */

static bool is_blank(char c)
{
	return c != '\0' && strchr(" \t\r\n\f", c);
}

static void pass(struct slm_spec_sql *text, size_t count)
{
	for (; count > 0; count--, text->text++, text->size--) {
		bool line_end = *text->text == '\n';

		text->line += line_end;
		text->column = line_end ? 1 : text->column + 1;
	}
}

static void trim(struct slm_spec_sql *text)
{
	while (text->size && is_blank(*text->text))
		pass(text, 1);
	while (text->size && is_blank(text->text[text->size - 1]))
		text->size--;
}

static enum sqloom_status keep(struct slm_parser *parser,
			       struct slm_spec_sql *text)
{
	text->text =
		slm_arena_strndup(&parser->spec->arena, text->text, text->size);
	return text->text ? slm_parser_next(parser) : slm_parser_nomem(parser);
}

/* The text of the current lexeme, borrowed and trimmed; it must be a block that
 * is not empty. */
static enum sqloom_status block_text(struct slm_parser *parser,
				     const char *what,
				     struct slm_spec_sql *text)
{
	const struct slm_lexeme *lexeme = &parser->lexeme;

	if (lexeme->kind != SLM_LEXEME_SQL)
		return slm_parser_expected(parser, what);
	*text = (struct slm_spec_sql){ lexeme->sql, lexeme->sql_size,
				       lexeme->sql_line, lexeme->sql_column };
	trim(text);
	if (text->size)
		return SQLOOM_OK;
	return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, lexeme->line,
			      lexeme->column, parser->err,
			      "the block is empty; expected %s", what);
}

enum sqloom_status slm_parser_take_command(struct slm_parser *parser,
					   const char *what,
					   struct slm_spec_sql *command)
{
	enum sqloom_status status = block_text(parser, what, command);

	return status == SQLOOM_OK ? keep(parser, command) : status;
}

/* ---- Calls ------------------------------------------------------------- */

enum sqloom_status slm_parser_both(struct slm_parser *parser, const char *what)
{
	const struct slm_spec_session *first = parser->sessions.items;

	return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, parser->lexeme.line,
			      parser->lexeme.column, parser->err,
			      "a %s in a spec that has %s: \"%s\" in line %u; a"
			      " spec has sessions, which are SQL, or calls,"
			      " which are programs, not both",
			      what,
			      parser->spec->has_calls ? "calls" : "sessions",
			      first->name, first->line);
}

static enum sqloom_status call_name(struct slm_parser *parser,
				    struct slm_spec_session *call)
{
	const struct slm_spec_session *others = parser->sessions.items;
	const struct slm_lexeme *lexeme = &parser->lexeme;

	call->line = lexeme->line;
	call->column = lexeme->column;
	if (lexeme->kind == SLM_LEXEME_SQL ||
	    (lexeme->kind == SLM_LEXEME_NAME && !lexeme->name[0]))
		return slm_parser_fail(parser, "a call needs a name: call"
					       " \"alice\" { exec COMMAND }");
	for (unsigned i = 0; i < parser->sessions.count; i++)
		if (lexeme->kind == SLM_LEXEME_NAME &&
		    strcmp(others[i].name, lexeme->name) == 0)
			return slm_parser_given_twice(
				parser, "call", others[i].name, others[i].line);
	return slm_parser_keep_name(parser, "the call's name after \"call\"",
				    &call->name);
}

/* Passes the word at the begin of text, and the blanks behind it. */
static bool pass_word(struct slm_spec_sql *text, const char *word)
{
	size_t size = strlen(word);

	if (text->size < size || memcmp(text->text, word, size) != 0 ||
	    (text->size > size && !is_blank(text->text[size])))
		return false;
	pass(text, size);
	trim(text);
	return true;
}

static enum sqloom_status call_body(struct slm_parser *parser,
				    struct slm_spec_session *call)
{
	struct slm_spec_sql *text = &call->text;
	enum sqloom_status status;

	status = block_text(parser,
			    "the call's { exec COMMAND } or { http"
			    " REQUEST }",
			    text);
	if (status != SQLOOM_OK)
		return status;
	if (pass_word(text, "exec")) {
		call->call = SLM_CALL_EXEC;
	} else if (pass_word(text, "http")) {
		call->call = SLM_CALL_HTTP;
	} else if (pass_word(text, "function")) {
		call->call = SLM_CALL_FUNCTION;
	} else {
		return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, text->line,
				      text->column, parser->err,
				      "a call is { exec COMMAND } or { http"
				      " REQUEST }; write one of the two words"
				      " first, or make it a session if it is"
				      " SQL");
	}
	if (text->size)
		return keep(parser, text);
	return slm_lexer_fail(
		&parser->lexer, SQLOOM_SPEC, text->line, text->column,
		parser->err, "nothing stands behind \"%s\"; add %s",
		call->call == SLM_CALL_EXEC ? "exec" :
		call->call == SLM_CALL_HTTP ? "http" :
					      "function",
		call->call == SLM_CALL_EXEC ?
			"a command: exec psql -f redeem.sql" :
		call->call == SLM_CALL_HTTP ?
			"a request: http POST http://127.0.0.1:8000/redeem" :
			"its name: function redeem");
}

enum sqloom_status slm_parser_call(struct slm_parser *parser)
{
	struct slm_spec_session call = { 0 };
	struct slm_spec_session *added;
	enum sqloom_status status;

	if (parser->sessions.count && !parser->spec->has_calls)
		return slm_parser_both(parser, "call");
	if (parser->sessions.count == SLM_SPEC_SESSIONS_MAX)
		return slm_lexer_fail(
			&parser->lexer, SQLOOM_LIMIT, parser->lexeme.line,
			parser->lexeme.column, parser->err,
			"more than %d calls, which is the limit; split the"
			" spec",
			SLM_SPEC_SESSIONS_MAX);
	status = slm_parser_next(parser);
	if (status == SQLOOM_OK)
		status = call_name(parser, &call);
	if (status == SQLOOM_OK)
		status = slm_parser_next_command(parser);
	if (status == SQLOOM_OK)
		status = call_body(parser, &call);
	if (status != SQLOOM_OK)
		return status;
	call.steps = slm_list_move(&parser->steps, &parser->spec->arena);
	added = call.steps ? slm_list_add(&parser->sessions) : NULL;
	if (!added)
		return slm_parser_nomem(parser);
	*added = call;
	parser->part = SLM_PART_SESSIONS;
	parser->spec->has_calls = true;
	return SQLOOM_OK;
}

/* ---- What runs before them --------------------------------------------- */

enum sqloom_status slm_parser_before(struct slm_parser *parser)
{
	struct slm_spec_sql command = { 0 };
	struct slm_spec_sql *added;
	enum sqloom_status status = slm_parser_next_command(parser);

	if (status == SQLOOM_OK)
		status = slm_parser_take_command(
			parser, "{ COMMAND } after \"before\"", &command);
	if (status != SQLOOM_OK)
		return status;
	added = slm_list_add(&parser->befores);
	if (!added)
		return slm_parser_nomem(parser);
	*added = command;
	return SQLOOM_OK;
}

/* A URL, HOST:PORT, or the path of a socket? */
static bool is_ready(const char *text)
{
	const char *colon = strrchr(text, ':');
	const char *host = strstr(text, "://");

	if (strncmp(text, "http://", 7) == 0 ||
	    strncmp(text, "https://", 8) == 0)
		return host[3] && host[3] != '/';
	if (strchr(text, ' ') || host)
		return false;
	if (*text == '/')
		return true;
	return colon && colon > text && !strchr(text, '/') &&
	       slm_parser_is_number(colon + 1, 1, 65535);
}

/* ready "WHAT"; the lexer stands behind the word. */
static enum sqloom_status ready(struct slm_parser *parser,
				struct slm_spec_server *server)
{
	struct slm_spec_word word;
	enum sqloom_status status;
	bool found;

	status = slm_lexer_word(&parser->lexer, &word, &found, parser->err);
	if (status != SQLOOM_OK)
		return status;
	if (!found)
		return slm_parser_fail(parser,
				       "expected ready \"http://...\","
				       " \"HOST:PORT\" or \"/path/of/socket\""
				       " in one line");
	server->ready = slm_parser_join(&parser->spec->arena, &word, 1);
	if (!server->ready)
		return slm_parser_nomem(parser);
	if (is_ready(server->ready))
		return slm_parser_next(parser);
	return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, word.line,
			      word.column, parser->err,
			      "\"%.80s\" is nothing that can be ready; write a"
			      " URL (http://127.0.0.1:8000/), HOST:PORT, or the"
			      " path of a socket (/run/app.sock)",
			      server->ready);
}

enum sqloom_status slm_parser_server(struct slm_parser *parser)
{
	struct slm_spec_server server = { .line = parser->lexeme.line,
					  .column = parser->lexeme.column };
	struct slm_spec_server *added;
	enum sqloom_status status;

	if (parser->servers.count == SLM_SPEC_SERVERS_MAX)
		return slm_lexer_fail(
			&parser->lexer, SQLOOM_LIMIT, server.line,
			server.column, parser->err,
			"more than %d servers, which is the limit; start"
			" several by one command",
			SLM_SPEC_SERVERS_MAX);
	status = slm_parser_next_command(parser);
	if (status == SQLOOM_OK)
		status = slm_parser_take_command(parser,
						 "{ COMMAND } after \"server\"",
						 &server.command);
	if (status == SQLOOM_OK && slm_lexeme_is_word(&parser->lexeme, "ready"))
		status = ready(parser, &server);
	if (status != SQLOOM_OK)
		return status;
	added = slm_list_add(&parser->servers);
	if (!added)
		return slm_parser_nomem(parser);
	*added = server;
	return SQLOOM_OK;
}

/* ---- What does not go together ----------------------------------------- */

static enum sqloom_status needs_calls(struct slm_parser *parser,
				      const char *what, const char *name,
				      unsigned line, unsigned column)
{
	return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, line, column,
			      parser->err,
			      "%s%s is for calls, and this spec has sessions;"
			      " take it out, or write calls: call NAME { exec"
			      " COMMAND }",
			      what, name);
}

static enum sqloom_status check_options(struct slm_parser *parser)
{
	static const char *const of_calls[] = { "attribution", "background",
						"call_limit", "proxy_port",
						"stall_after" };
	const struct slm_spec_option *options = parser->options.items;

	for (unsigned i = 0; i < parser->options.count; i++) {
		bool found = false;

		for (size_t j = 0; j < sizeof(of_calls) / sizeof(of_calls[0]);
		     j++)
			found |= strcmp(options[i].name, of_calls[j]) == 0;
		if (found && !parser->spec->has_calls)
			return needs_calls(parser, "option ", options[i].name,
					   options[i].line, options[i].column);
		if (parser->spec->has_calls &&
		    strcmp(options[i].name, "on_error") == 0)
			return slm_lexer_fail(
				&parser->lexer, SQLOOM_SPEC, options[i].line,
				options[i].column, parser->err,
				"option on_error is for sessions: a program"
				" decides itself what it does after an error;"
				" take it out");
	}
	return SQLOOM_OK;
}

enum sqloom_status slm_parser_check_calls(struct slm_parser *parser)
{
	const struct slm_spec_sql *before = parser->befores.items;
	const struct slm_spec_server *server = parser->servers.items;
	const struct slm_spec_check *checks = parser->checks.items;

	if (parser->spec->has_calls)
		return check_options(parser);
	if (parser->befores.count)
		return needs_calls(parser, "a before block", "", before->line,
				   before->column);
	if (parser->servers.count)
		return needs_calls(parser, "a server block", "", server->line,
				   server->column);
	for (unsigned i = 0; i < parser->checks.count; i++)
		if (checks[i].exec)
			return needs_calls(parser, "a check by a command", "",
					   checks[i].line, checks[i].column);
	return check_options(parser);
}
