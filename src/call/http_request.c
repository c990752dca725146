/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a request, read: its words, then what each of them says. URLs
 * are read, and values encoded, by libcurl, JSON by jansson.
 */
#include "call/http_request.h"

#include <ctype.h>
#include <curl/curl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"

#define TEXT_MAX (1024 * 1024) /* bytes of a request's text */
#define WORDS_MAX 256
#define TIMEOUT_MAX 86400 /* seconds */
#define SHOWN_MAX 80	  /* bytes of a word in a message */

enum field_kind { FIELD_TEXT, FIELD_JSON, FIELD_FILE };

/* name=value, name:=json, name@path */
struct field {
	enum field_kind kind;
	const char *name, *value;
};

struct reader {
	struct slm_arena *arena;
	struct sqloom_error *err;
	const char *words[WORDS_MAX];
	unsigned nwords, at; /* at: the next word */
	struct slm_http_request *request;
	CURLU *url;
	const char *method; /* NULL: not given */
	struct field fields[WORDS_MAX];
	unsigned nfields;
	const char *headers[WORDS_MAX + 2];
	unsigned nheaders;
	const char *type; /* of the body, if no header says it; NULL: curl's */
};

#define wrong(reader, ...) \
	slm_error_set((reader)->err, SQLOOM_SPEC, __VA_ARGS__)

/* ---- Words ------------------------------------------------------------- */

/* One character behind a backslash. Within "..." only some are special. */
static const char *unescape(const char *at, bool quoted, struct slm_buf *word)
{
	if (quoted && !strchr("\"\\$`", at[1]))
		slm_buf_putc(word, '\\');
	slm_buf_putc(word, at[1]);
	return at + 2;
}

/* Reads a word at a character that is no space. NULL: a quote or a backslash
 * has no end. */
static const char *read_word(const char *at, struct slm_buf *word)
{
	char quote = '\0';

	for (; *at && (quote || !isspace((unsigned char)*at));) {
		if (*at == '\\' && quote != '\'') {
			if (!at[1])
				return NULL;
			at = unescape(at, quote != '\0', word);
		} else if (*at == quote) {
			quote = '\0';
			at++;
		} else if (!quote && (*at == '\'' || *at == '"')) {
			quote = *at++;
		} else {
			slm_buf_putc(word, *at++);
		}
	}
	return quote ? NULL : at;
}

static enum sqloom_status keep_word(struct reader *reader,
				    const struct slm_buf *word)
{
	const char *text = word->data ? word->data : "";

	if (reader->nwords == WORDS_MAX)
		return slm_error_set(reader->err, SQLOOM_LIMIT,
				     "a request has more than %d words; put "
				     "its body into a file and write @FILE",
				     WORDS_MAX);
	text = slm_buf_failed(word) ? NULL :
				      slm_arena_strdup(reader->arena, text);
	if (!text)
		return slm_error_nomem(reader->err);
	reader->words[reader->nwords++] = text;
	return SQLOOM_OK;
}

static enum sqloom_status read_words(struct reader *reader, const char *text)
{
	enum sqloom_status status = SQLOOM_OK;
	struct slm_buf word;

	if (strlen(text) > TEXT_MAX)
		return slm_error_set(reader->err, SQLOOM_LIMIT,
				     "the text of a request is longer than %d "
				     "bytes; put its body into a file and "
				     "write @FILE",
				     TEXT_MAX);
	slm_buf_init(&word);
	while (status == SQLOOM_OK) {
		while (isspace((unsigned char)*text))
			text++;
		if (!*text)
			break;
		slm_buf_clear(&word);
		text = read_word(text, &word);
		status = text ? keep_word(reader, &word) :
				wrong(reader, "a quote (' or \") or a "
					      "backslash has no end in the "
					      "request");
	}
	slm_buf_deinit(&word);
	return status;
}

/* ---- Method and URL ---------------------------------------------------- */

static bool is_method(const char *word)
{
	return *word &&
	       word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

static enum sqloom_status read_url(struct reader *reader)
{
	char *scheme = NULL;
	const char *text;
	bool ok;

	if (reader->at < reader->nwords && is_method(reader->words[reader->at]))
		reader->method = reader->words[reader->at++];
	if (reader->at == reader->nwords)
		return wrong(reader, "a request needs a URL, as in: POST "
				     "http://127.0.0.1:8000/ name=value");
	text = reader->words[reader->at++];
	if (strncmp(text, "http://", 7) != 0 &&
	    strncmp(text, "https://", 8) != 0)
		return wrong(reader,
			     "\"%.*s\" is no URL; write it with http:// or "
			     "https://, after the method, which is in "
			     "capitals",
			     SHOWN_MAX, text);
	ok = curl_url_set(reader->url, CURLUPART_URL, text, 0) == CURLUE_OK &&
	     curl_url_get(reader->url, CURLUPART_SCHEME, &scheme, 0) ==
		     CURLUE_OK;
	curl_free(scheme);
	if (!ok)
		return wrong(reader,
			     "\"%.*s\" is not a valid URL; a space in it is "
			     "written %%20, and parameters are best written "
			     "as items: name==value",
			     SHOWN_MAX, text);
	return SQLOOM_OK;
}

static const char *copy_url(struct reader *reader, bool secrets)
{
	char *text = NULL;
	const char *copy = NULL;

	if (!secrets) {
		curl_url_set(reader->url, CURLUPART_USER, NULL, 0);
		curl_url_set(reader->url, CURLUPART_PASSWORD, NULL, 0);
	}
	if (curl_url_get(reader->url, CURLUPART_URL, &text, 0) == CURLUE_OK)
		copy = slm_arena_strdup(reader->arena, text);
	curl_free(text);
	return copy;
}

/* ---- Items ------------------------------------------------------------- */

static enum sqloom_status add_field(struct reader *reader, enum field_kind kind,
				    const char *name, const char *value)
{
	if (!*name)
		return wrong(reader,
			     "a field of a form has no name before "
			     "\"%.*s\"",
			     SHOWN_MAX, value);
	reader->fields[reader->nfields++] =
		(struct field){ .kind = kind, .name = name, .value = value };
	return SQLOOM_OK;
}

/* A line break would begin another header. */
static bool is_line(const char *text)
{
	return text[strcspn(text, "\r\n")] == '\0';
}

/* The characters of a token (RFC 9110, 5.6.2). */
static bool is_token(const char *text)
{
	for (const char *at = text; *at; at++)
		if (!isalnum((unsigned char)*at) &&
		    !strchr("!#$%&'*+-.^_`|~", *at))
			return false;
	return *text != '\0';
}

/* Without a value: the header is not sent. */
static enum sqloom_status add_header(struct reader *reader, const char *name,
				     const char *value)
{
	const char *line;

	if (!is_token(name) || !is_line(value))
		return wrong(reader,
			     "\"%.*s\" is no header; it is written Name:value",
			     SHOWN_MAX, name);
	value += strspn(value, " \t");
	line = slm_arena_printf(reader->arena, *value ? "%s: %s" : "%s:%s",
				name, value);
	if (!line)
		return slm_error_nomem(reader->err);
	reader->headers[reader->nheaders++] = line;
	return SQLOOM_OK;
}

static enum sqloom_status add_parameter(struct reader *reader, const char *name,
					const char *value)
{
	const char *text =
		slm_arena_printf(reader->arena, "%s=%s", name, value);

	if (!text ||
	    curl_url_set(reader->url, CURLUPART_QUERY, text,
			 CURLU_APPENDQUERY | CURLU_URLENCODE) != CURLUE_OK)
		return slm_error_nomem(reader->err);
	return SQLOOM_OK;
}

static enum sqloom_status set_body(struct reader *reader,
				   enum slm_http_body body, const char *value,
				   const char *type)
{
	struct slm_http_request *request = reader->request;

	if (request->body != SLM_HTTP_NOTHING)
		return wrong(reader, "a request has one body: give one of "
				     "--data, --json and @FILE, once");
	request->body = body;
	if (body == SLM_HTTP_FILE) {
		request->path = value;
	} else {
		request->text = value;
		request->size = strlen(value);
	}
	reader->type = type;
	return SQLOOM_OK;
}

/* The first separator decides; of two at one place the longer. */
static enum sqloom_status read_item(struct reader *reader, const char *word)
{
	size_t size = strcspn(word, ":=@");
	const char *at = word + size;
	const char *name = slm_arena_strndup(reader->arena, word, size);

	if (!name)
		return slm_error_nomem(reader->err);
	if (*at == ':' && at[1] == '=')
		return add_field(reader, FIELD_JSON, name, at + 2);
	if (*at == ':')
		return add_header(reader, name, at + 1);
	if (*at == '=' && at[1] == '=')
		return add_parameter(reader, name, at + 2);
	if (*at == '=')
		return add_field(reader, FIELD_TEXT, name, at + 1);
	if (*at == '@' && size == 0)
		return set_body(reader, SLM_HTTP_FILE, at + 1,
				"application/octet-stream");
	if (*at == '@')
		return add_field(reader, FIELD_FILE, name, at + 1);
	return wrong(reader,
		     "\"%.*s\" is none of name=value, name:=json, Name:value, "
		     "name==value, name@FILE, @FILE",
		     SHOWN_MAX, word);
}

/* ---- Options ----------------------------------------------------------- */

static enum sqloom_status wrong_json(struct reader *reader, const char *text,
				     const json_error_t *error)
{
	return wrong(reader, "\"%.*s\" is not JSON: %s, at byte %d", SHOWN_MAX,
		     text, error->text, error->position);
}

static enum sqloom_status set_json(struct reader *reader, const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, JSON_DECODE_ANY, &error);

	if (!json)
		return wrong_json(reader, text, &error);
	json_decref(json);
	return set_body(reader, SLM_HTTP_TEXT, text, "application/json");
}

static enum sqloom_status set_data(struct reader *reader, const char *text)
{
	return set_body(reader, SLM_HTTP_TEXT, text, NULL);
}

static enum sqloom_status add_cookie(struct reader *reader, const char *text)
{
	struct slm_http_request *request = reader->request;

	if (!strchr(text, '=') || !is_line(text))
		return wrong(reader,
			     "\"%.*s\" is no cookie; it is written --cookie "
			     "'name=value'",
			     SHOWN_MAX, text);
	request->cookies = request->cookies ?
				   slm_arena_printf(reader->arena, "%s; %s",
						    request->cookies, text) :
				   text;
	return request->cookies ? SQLOOM_OK : slm_error_nomem(reader->err);
}

static enum sqloom_status set_user(struct reader *reader, const char *text)
{
	if (!strchr(text, ':'))
		return wrong(reader, "--user wants name:password");
	reader->request->user = text;
	return SQLOOM_OK;
}

static enum sqloom_status set_timeout(struct reader *reader, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0.001) || seconds > TIMEOUT_MAX)
		return wrong(reader,
			     "--timeout wants seconds, from 0.001 to %d, not "
			     "\"%.*s\"",
			     TIMEOUT_MAX, SHOWN_MAX, text);
	reader->request->timeout_ms = (long)(seconds * 1000);
	return SQLOOM_OK;
}

static enum sqloom_status read_option(struct reader *reader, const char *word)
{
	static const struct {
		const char *name;
		enum sqloom_status (*set)(struct reader *reader,
					  const char *value);
	} options[] = {
		{ "--json", set_json },	      { "--data", set_data },
		{ "--cookie", add_cookie },   { "--user", set_user },
		{ "--timeout", set_timeout },
	};

	if (strcmp(word, "--follow") == 0) {
		reader->request->follow = true;
		return SQLOOM_OK;
	}
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (strcmp(word, options[i].name) != 0)
			continue;
		if (reader->at == reader->nwords)
			return wrong(reader, "%s wants a value behind it",
				     word);
		return options[i].set(reader, reader->words[reader->at++]);
	}
	return wrong(reader,
		     "a request has no option \"%.*s\"; there are --json, "
		     "--data, --cookie, --follow, --user and --timeout",
		     SHOWN_MAX, word);
}

/* ---- Bodies ------------------------------------------------------------ */

/* name=value&name=value */
static enum sqloom_status make_form(struct reader *reader)
{
	struct slm_http_request *request = reader->request;
	struct slm_buf body;

	slm_buf_init(&body);
	for (unsigned i = 0; i < reader->nfields; i++) {
		char *name = curl_easy_escape(NULL, reader->fields[i].name, 0);
		char *value =
			curl_easy_escape(NULL, reader->fields[i].value, 0);

		slm_buf_printf(&body, "%s%s=%s", i ? "&" : "", name ? name : "",
			       value ? value : "");
		body.failed = body.failed || !name || !value;
		curl_free(name);
		curl_free(value);
	}
	request->body = SLM_HTTP_TEXT;
	request->size = body.size;
	request->text = slm_buf_failed(&body) ?
				NULL :
				slm_arena_strdup(reader->arena, body.data);
	slm_buf_deinit(&body);
	return request->text ? SQLOOM_OK : slm_error_nomem(reader->err);
}

/* A field of a JSON object; a plain one is a string. */
static enum sqloom_status add_json(struct reader *reader, json_t *object,
				   const struct field *field)
{
	json_error_t error;
	json_t *value;

	if (field->kind == FIELD_FILE)
		return wrong(reader,
			     "a file (%.*s@...) cannot be sent with fields of "
			     "JSON",
			     SHOWN_MAX, field->name);
	if (field->kind == FIELD_TEXT) {
		value = json_string(field->value);
	} else {
		value = json_loads(field->value, JSON_DECODE_ANY, &error);
		if (!value)
			return wrong_json(reader, field->value, &error);
	}
	if (json_object_set_new(object, field->name, value) != 0)
		return wrong(reader, "the field %.*s is not UTF-8", SHOWN_MAX,
			     field->name);
	return SQLOOM_OK;
}

static enum sqloom_status make_json(struct reader *reader)
{
	struct slm_http_request *request = reader->request;
	enum sqloom_status status = SQLOOM_OK;
	json_t *object = json_object();
	char *text = NULL;

	if (!object)
		return slm_error_nomem(reader->err);
	for (unsigned i = 0; i < reader->nfields && status == SQLOOM_OK; i++)
		status = add_json(reader, object, &reader->fields[i]);
	if (status == SQLOOM_OK)
		text = json_dumps(object, JSON_COMPACT);
	if (text)
		request->text = slm_arena_strdup(reader->arena, text);
	if (status == SQLOOM_OK && !request->text)
		status = slm_error_nomem(reader->err);
	request->body = SLM_HTTP_TEXT;
	request->size = request->text ? strlen(request->text) : 0;
	reader->type = "application/json";
	free(text);
	json_decref(object);
	return status;
}

static enum sqloom_status make_parts(struct reader *reader)
{
	struct slm_http_request *request = reader->request;
	struct slm_http_part *parts = slm_arena_zalloc(
		reader->arena, reader->nfields, sizeof(*parts));

	if (!parts)
		return slm_error_nomem(reader->err);
	for (unsigned i = 0; i < reader->nfields; i++) {
		const struct field *field = &reader->fields[i];

		parts[i].name = field->name;
		if (field->kind == FIELD_FILE)
			parts[i].path = field->value;
		else
			parts[i].value = field->value;
	}
	request->body = SLM_HTTP_PARTS;
	request->parts = parts;
	request->nparts = reader->nfields;
	return SQLOOM_OK;
}

static enum sqloom_status make_body(struct reader *reader)
{
	bool kinds[FIELD_FILE + 1] = { false };

	if (!reader->nfields)
		return SQLOOM_OK;
	if (reader->request->body != SLM_HTTP_NOTHING)
		return wrong(reader,
			     "a request has one body: either fields (%.*s) or "
			     "one of --data, --json and @FILE",
			     SHOWN_MAX, reader->fields[0].name);
	for (unsigned i = 0; i < reader->nfields; i++)
		kinds[reader->fields[i].kind] = true;
	if (kinds[FIELD_JSON])
		return make_json(reader);
	if (kinds[FIELD_FILE])
		return make_parts(reader);
	return make_form(reader);
}

/* ---- The whole --------------------------------------------------------- */

static bool has_header(const struct reader *reader, const char *name)
{
	size_t size = strlen(name);

	for (unsigned i = 0; i < reader->nheaders; i++)
		if (strncasecmp(reader->headers[i], name, size) == 0 &&
		    reader->headers[i][size] == ':')
			return true;
	return false;
}

/* What a request says if nobody says otherwise. libcurl would wait for a
 * permission to send a large body, which few servers give. */
static enum sqloom_status add_headers(struct reader *reader)
{
	enum sqloom_status status = SQLOOM_OK;

	if (reader->type && !has_header(reader, "Content-Type"))
		status = add_header(reader, "Content-Type", reader->type);
	if (status == SQLOOM_OK && !has_header(reader, "Expect"))
		status = add_header(reader, "Expect", "");
	return status;
}

static enum sqloom_status finish(struct reader *reader)
{
	struct slm_http_request *request = reader->request;
	size_t size = reader->nheaders * sizeof(*request->headers);
	const char **headers = slm_arena_alloc(reader->arena, size + 1);
	const char *shown;

	request->method = reader->method;
	if (!request->method)
		request->method = request->body == SLM_HTTP_NOTHING ? "GET" :
								      "POST";
	request->url = copy_url(reader, true);
	shown = copy_url(reader, false);
	if (!headers || !request->url || !shown)
		return slm_error_nomem(reader->err);
	request->title = slm_arena_printf(reader->arena, "%s %s",
					  request->method, shown);
	if (!request->title)
		return slm_error_nomem(reader->err);
	memcpy(headers, reader->headers, size);
	request->headers = headers;
	request->nheaders = reader->nheaders;
	return SQLOOM_OK;
}

static enum sqloom_status read_all(struct reader *reader, const char *text)
{
	enum sqloom_status status = read_words(reader, text);

	if (status == SQLOOM_OK)
		status = read_url(reader);
	while (status == SQLOOM_OK && reader->at < reader->nwords) {
		const char *word = reader->words[reader->at++];

		if (strncmp(word, "--", 2) == 0)
			status = read_option(reader, word);
		else
			status = read_item(reader, word);
	}
	if (status == SQLOOM_OK)
		status = make_body(reader);
	if (status == SQLOOM_OK)
		status = add_headers(reader);
	if (status == SQLOOM_OK)
		status = finish(reader);
	return status;
}

enum sqloom_status slm_http_read(const char *text, struct slm_arena *arena,
				 struct slm_http_request **out,
				 struct sqloom_error *err)
{
	struct reader *reader = slm_arena_zalloc(arena, 1, sizeof(*reader));
	enum sqloom_status status;

	if (!reader)
		return slm_error_nomem(err);
	reader->arena = arena;
	reader->err = err;
	reader->request = slm_arena_zalloc(arena, 1, sizeof(*reader->request));
	reader->url = curl_url();
	if (reader->request && reader->url)
		status = read_all(reader, text);
	else
		status = slm_error_nomem(err);
	curl_url_cleanup(reader->url);
	if (status == SQLOOM_OK)
		*out = reader->request;
	return status;
}

const char *slm_http_title(const struct slm_http_request *request)
{
	return request->title;
}
