/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL's frontend/backend protocol 3.0 as data: one list of messages
 * (SLM_WIRE_CLIENT, SLM_WIRE_SERVER) gives names, bounds, decoder and the
 * dictionary of the fuzzers. No sockets, no allocation: it reads bytes that
 * the caller has and writes into a slm_buf.
 *
 * Source: PostgreSQL 15 documentation, chapter 55 (message formats, 55.7).
 * All input is untrusted: nothing is asserted of it.
 */
#ifndef SLM_PGWIRE_PGWIRE_H
#define SLM_PGWIRE_PGWIRE_H

#include <sqloom/sqloom.h>

#include "base/buf.h"

#define SLM_WIRE_HEADER 5 /* type byte and length word */
/* Of the whole startup packet; the server takes 10000 behind the length. */
#define SLM_WIRE_STARTUP_MAX 10004
#define SLM_WIRE_BODY_MAX 0x3fffffff /* the server's own limit, 1 GB */
#define SLM_WIRE_SMALL_MAX 30000     /* of messages that are short */
#define SLM_WIRE_KEY_MIN 4	     /* of a cancel key, in bytes: 4 until */
#define SLM_WIRE_KEY_MAX 256	     /* protocol 3.2 */
#define SLM_WIRE_PROTOCOL(major, minor) ((uint32_t)(major) << 16 | (minor))

/* type, NAME, text name, least and most bytes of the body (behind the length
 * word) */
#define SLM_WIRE_CLIENT(X)                                           \
	X('B', BIND, "Bind", 8, SLM_WIRE_BODY_MAX)                   \
	X('C', CLOSE, "Close", 2, SLM_WIRE_BODY_MAX)                 \
	X('d', COPY_DATA, "CopyData", 0, SLM_WIRE_BODY_MAX)          \
	X('c', COPY_DONE, "CopyDone", 0, 0)                          \
	X('f', COPY_FAIL, "CopyFail", 1, SLM_WIRE_BODY_MAX)          \
	X('D', DESCRIBE, "Describe", 2, SLM_WIRE_BODY_MAX)           \
	X('E', EXECUTE, "Execute", 5, SLM_WIRE_BODY_MAX)             \
	X('H', FLUSH, "Flush", 0, 0)                                 \
	X('F', FUNCTION_CALL, "FunctionCall", 10, SLM_WIRE_BODY_MAX) \
	X('P', PARSE, "Parse", 4, SLM_WIRE_BODY_MAX)                 \
	X('p', PASSWORD, "PasswordMessage", 0, 65535)                \
	X('Q', QUERY, "Query", 1, SLM_WIRE_BODY_MAX)                 \
	X('S', SYNC, "Sync", 0, 0)                                   \
	X('X', TERMINATE, "Terminate", 0, 0)

#define SLM_WIRE_SERVER(X)                                                    \
	X('R', AUTHENTICATION, "Authentication", 4, 65535)                    \
	X('K', BACKEND_KEY_DATA, "BackendKeyData", 8, 260)                    \
	X('2', BIND_COMPLETE, "BindComplete", 0, 0)                           \
	X('3', CLOSE_COMPLETE, "CloseComplete", 0, 0)                         \
	X('C', COMMAND_COMPLETE, "CommandComplete", 1, SLM_WIRE_SMALL_MAX)    \
	X('d', S_COPY_DATA, "CopyData", 0, SLM_WIRE_BODY_MAX)                 \
	X('c', S_COPY_DONE, "CopyDone", 0, 0)                                 \
	X('G', COPY_IN_RESPONSE, "CopyInResponse", 3, SLM_WIRE_SMALL_MAX)     \
	X('H', COPY_OUT_RESPONSE, "CopyOutResponse", 3, SLM_WIRE_SMALL_MAX)   \
	X('W', COPY_BOTH_RESPONSE, "CopyBothResponse", 3, SLM_WIRE_SMALL_MAX) \
	X('D', DATA_ROW, "DataRow", 2, SLM_WIRE_BODY_MAX)                     \
	X('I', EMPTY_QUERY_RESPONSE, "EmptyQueryResponse", 0, 0)              \
	X('E', ERROR_RESPONSE, "ErrorResponse", 1, SLM_WIRE_BODY_MAX)         \
	X('V', FUNCTION_CALL_RESPONSE, "FunctionCallResponse", 4,             \
	  SLM_WIRE_BODY_MAX)                                                  \
	X('v', NEGOTIATE_PROTOCOL_VERSION, "NegotiateProtocolVersion", 8,     \
	  SLM_WIRE_SMALL_MAX)                                                 \
	X('n', NO_DATA, "NoData", 0, 0)                                       \
	X('N', NOTICE_RESPONSE, "NoticeResponse", 1, SLM_WIRE_BODY_MAX)       \
	X('A', NOTIFICATION_RESPONSE, "NotificationResponse", 6,              \
	  SLM_WIRE_BODY_MAX)                                                  \
	X('t', PARAMETER_DESCRIPTION, "ParameterDescription", 2, 262142)      \
	X('S', PARAMETER_STATUS, "ParameterStatus", 2, SLM_WIRE_SMALL_MAX)    \
	X('1', PARSE_COMPLETE, "ParseComplete", 0, 0)                         \
	X('s', PORTAL_SUSPENDED, "PortalSuspended", 0, 0)                     \
	X('Z', READY_FOR_QUERY, "ReadyForQuery", 1, 1)                        \
	X('T', ROW_DESCRIPTION, "RowDescription", 2, SLM_WIRE_BODY_MAX)

/* SLM_WIRE_QUERY is 'Q'; names of the server's that the client has too begin
 * with S_. */
enum slm_wire_type {
#define X(type, name, text, min, max) SLM_WIRE_##name = type,
	SLM_WIRE_CLIENT(X)
#undef X
};
enum slm_wire_server_type {
#define X(type, name, text, min, max) SLM_WIRE_##name = type,
	SLM_WIRE_SERVER(X)
#undef X
};

enum slm_wire_side { SLM_WIRE_FROM_CLIENT, SLM_WIRE_FROM_SERVER };

/* "Query", ...; NULL: there is no such message. */
const char *slm_wire_name(enum slm_wire_side side, uint8_t type);

/* The beginning of a message: header, and as much of the body as is there. */
struct slm_wire_message {
	uint8_t type;
	uint32_t size;	     /* bytes of the whole body */
	const uint8_t *body; /* borrowed from the caller's bytes */
	size_t have;	     /* bytes of the body that are there, <= size */
};

enum slm_wire_found {
	SLM_WIRE_MORE, /* the header is not there yet */
	SLM_WIRE_MESSAGE,
	SLM_WIRE_BAD, /* no such message, or a length out of its bounds */
};

/* Looks at the message that begins at bytes. MESSAGE: its header is there,
 * its body perhaps not yet (have). BAD: why (SLM_WIRE_WHY bytes; may be NULL)
 * receives what is wrong, in one line. Otherwise why is untouched, as is *out
 * unless it is a MESSAGE. */
#define SLM_WIRE_WHY 160
enum slm_wire_found slm_wire_look(enum slm_wire_side side, const void *bytes,
				  size_t size, struct slm_wire_message *out,
				  char *why);

/* ---- Before the first message: startup packets -------------------------- */

enum slm_wire_startup_kind {
	SLM_WIRE_STARTUP, /* protocol 3.x */
	SLM_WIRE_SSL_REQUEST,
	SLM_WIRE_GSSENC_REQUEST,
	SLM_WIRE_CANCEL_REQUEST,
	SLM_WIRE_OTHER_PROTOCOL, /* protocol 2, or what we do not know */
};

struct slm_wire_startup {
	enum slm_wire_startup_kind kind;
	uint32_t size;	   /* bytes of the packet, length word included */
	uint32_t protocol; /* as sent */
	/* STARTUP; all borrowed, "" if not given */
	const char *user, *database, *application_name, *options;
	bool replication; /* replication=... is given and not false */
	/* CANCEL_REQUEST */
	uint32_t pid;
	const uint8_t *key;
	uint32_t key_size;
};

/* MESSAGE: the whole packet is there. BAD: length out of bounds (8 to
 * SLM_WIRE_STARTUP_MAX), parameters without an end; why as above. */
enum slm_wire_found slm_wire_look_startup(const void *bytes, size_t size,
					  struct slm_wire_startup *out,
					  char *why);

/* ---- Bodies: each false if the body is not whole or not valid ------------ */

/*
 * What bodies are made of; also for the beginning of a body that is not whole
 * (at = m->body, end = m->body + m->have). They go from *at to behind what was
 * read; false, and *at untouched, if it is not there before end.
 */
bool slm_wire_next_text(const uint8_t **at, const uint8_t *end,
			const char **out);
bool slm_wire_next_u16(const uint8_t **at, const uint8_t *end, uint16_t *out);
bool slm_wire_next_u32(const uint8_t **at, const uint8_t *end, uint32_t *out);

struct slm_wire_parse {
	const char *name, *sql; /* NUL-terminated, borrowed */
	size_t sql_size;
	unsigned ntypes;
	const uint8_t *types; /* ntypes numbers, for slm_wire_next_u32() */
};
bool slm_wire_parse(const struct slm_wire_message *m,
		    struct slm_wire_parse *out);

struct slm_wire_bind {
	const char *portal, *statement;
	unsigned nformats, nparams, nresult_formats;
	const uint8_t *formats;	       /* nformats * 2 bytes */
	const uint8_t *params;	       /* the first one's length word */
	const uint8_t *end;	       /* of the params */
	const uint8_t *result_formats; /* nresult_formats * 2 bytes */
};
bool slm_wire_bind(const struct slm_wire_message *m, struct slm_wire_bind *out);
/* 0: text, 1: binary, as sent, of param i < nparams. One format stands for all,
 * none for text; what is missing is text. */
unsigned slm_wire_bind_format(const struct slm_wire_bind *bind, unsigned i);

/* One value of Bind or DataRow: goes to the next one; false at the end, or if
 * it is cut off. */
struct slm_wire_value {
	const uint8_t *bytes; /* NULL: NULL */
	uint32_t size;
};
bool slm_wire_next_value(const uint8_t **at, const uint8_t *end,
			 struct slm_wire_value *out);

/* Describe and Close: 'S' or 'P', and a name. */
struct slm_wire_target {
	char kind;
	const char *name;
};
bool slm_wire_target(const struct slm_wire_message *m,
		     struct slm_wire_target *out);

struct slm_wire_execute {
	const char *portal;
	uint32_t max_rows; /* 0: all (so mean negative numbers) */
};
bool slm_wire_execute(const struct slm_wire_message *m,
		      struct slm_wire_execute *out);

/* Query and CommandComplete: the text; NULL if the body is not one text that
 * ends in a NUL. */
const char *slm_wire_text(const struct slm_wire_message *m);

/* ParameterDescription: the types of a prepared statement's parameters. */
struct slm_wire_types {
	unsigned ntypes;
	const uint8_t *types; /* ntypes numbers, for slm_wire_next_u32() */
};
bool slm_wire_types(const struct slm_wire_message *m,
		    struct slm_wire_types *out);

struct slm_wire_row_description {
	unsigned ncolumns;
	const uint8_t *columns, *end; /* for slm_wire_next_column() */
};
struct slm_wire_column {
	const char *name;
	uint32_t table, type;
	uint16_t attribute, format;
};
bool slm_wire_row_description(const struct slm_wire_message *m,
			      struct slm_wire_row_description *out);
bool slm_wire_next_column(const uint8_t **at, const uint8_t *end,
			  struct slm_wire_column *out);

struct slm_wire_data_row {
	unsigned nvalues;
	const uint8_t *values, *end;
};
/* Also of a message that is not whole: then the values that are, found with
 * slm_wire_next_value() (a value that is cut off is none). */
bool slm_wire_data_row(const struct slm_wire_message *m,
		       struct slm_wire_data_row *out);

/* ErrorResponse, NoticeResponse: fields that are not there are NULL. severity
 * is the untranslated one where the server sends it. */
struct slm_wire_error {
	const char *severity, *sqlstate, *message, *detail, *hint, *constraint;
};
bool slm_wire_error(const struct slm_wire_message *m,
		    struct slm_wire_error *out);

/* ReadyForQuery: 'I', 'T' or 'E'; 0: not valid. */
char slm_wire_status(const struct slm_wire_message *m);

struct slm_wire_key {
	uint32_t pid;
	const uint8_t *key;
	uint32_t key_size;
};
bool slm_wire_key(const struct slm_wire_message *m, struct slm_wire_key *out);

struct slm_wire_setting {
	const char *name, *value;
};
bool slm_wire_setting(const struct slm_wire_message *m,
		      struct slm_wire_setting *out);

/* Authentication: the code (0 is Ok, 10 SASL ...). */
bool slm_wire_authentication(const struct slm_wire_message *m, uint32_t *code);

/* Rows written by the command of a tag ("INSERT 0 3", "UPDATE 2"), -1: the
 * tag has no such number or the command writes nothing (SELECT). COPY counts
 * in both directions: the tag does not tell which. */
int64_t slm_wire_changes(const char *tag);

/* ---- Writing: false when memory is out (out->failed) --------------------- */

/* Texts are the caller's own or were decoded: without a NUL in them, and no
 * longer than SLM_WIRE_BODY_MAX allows. */
bool slm_wire_put_query(struct slm_buf *out, const char *sql, size_t size);
bool slm_wire_put_simple(struct slm_buf *out, uint8_t type); /* no body */
bool slm_wire_put_parse(struct slm_buf *out, const char *name, const char *sql,
			size_t size);
/* No parameters, results as text. */
bool slm_wire_put_bind(struct slm_buf *out, const char *portal,
		       const char *statement);
bool slm_wire_put_execute(struct slm_buf *out, const char *portal,
			  uint32_t max_rows);
bool slm_wire_put_close(struct slm_buf *out, char kind, const char *name);
/* CommandComplete */
bool slm_wire_put_tag(struct slm_buf *out, const char *tag);
bool slm_wire_put_ready(struct slm_buf *out, char status);
/* severity "ERROR" or "FATAL" */
bool slm_wire_put_error(struct slm_buf *out, const char *severity,
			const char *sqlstate, const char *message);
bool slm_wire_put_notice(struct slm_buf *out, const char *severity,
			 const char *sqlstate, const char *message);

#endif
