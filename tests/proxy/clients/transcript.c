/* SPDX-License-Identifier: Apache-2.0 */
/* See transcript.h. Bytes that are not printable ASCII are written in hex. */
#include "transcript.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 60 /* longer values are told by length and sum */

void title(const char *text)
{
	printf("== %s\n", text);
	/* If the program is killed, it is seen how far it came. */
	fflush(stdout);
}

static void write_text(const char *text)
{
	for (const char *c = text; *c; c++)
		if (*c == '\n')
			printf("\\n");
		else
			putchar(*c);
}

static void note(void *userdata, const PGresult *result)
{
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);

	(void)userdata;
	printf("  notice %s %s: ",
	       PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED),
	       PQresultErrorField(result, PG_DIAG_SQLSTATE));
	write_text(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
	printf("%s%s\n", hint ? " / " : "", hint ? hint : "");
}

PGconn *must_connect(const char *more)
{
	PGconn *conn = PQconnectdb(more);

	if (PQstatus(conn) != CONNECTION_OK) {
		printf("no connection: %s", PQerrorMessage(conn));
		exit(1);
	}
	PQsetNoticeReceiver(conn, note, NULL);
	return conn;
}

static void write_bytes(const unsigned char *bytes, size_t size)
{
	unsigned sum = 0;

	if (size > VALUE_MAX) {
		for (size_t i = 0; i < size; i++)
			sum = sum * 31 + bytes[i];
		printf("<%zu bytes, %08x>", size, sum);
		return;
	}
	for (size_t i = 0; i < size; i++)
		if (bytes[i] >= ' ' && bytes[i] < 0x7f && bytes[i] != '\\')
			putchar(bytes[i]);
		else
			printf("\\x%02x", bytes[i]);
}

static void write_rows(const PGresult *result)
{
	for (int row = 0; row < PQntuples(result); row++) {
		printf("    ");
		for (int i = 0; i < PQnfields(result); i++) {
			printf("%s", i ? " | " : "");
			if (PQgetisnull(result, row, i))
				printf("NULL");
			else
				write_bytes((unsigned char *)PQgetvalue(result,
									row, i),
					    (size_t)PQgetlength(result, row,
								i));
		}
		putchar('\n');
	}
}

static void write_columns(const PGresult *result)
{
	for (int i = 0; i < PQnparams(result); i++)
		printf("    $%d type %u\n", i + 1, PQparamtype(result, i));
	for (int i = 0; i < PQnfields(result); i++)
		printf("    column %s: type %u/%d/%d format %d%s\n",
		       PQfname(result, i), PQftype(result, i),
		       PQfsize(result, i), PQfmod(result, i),
		       PQfformat(result, i),
		       PQftable(result, i) ? " of a table" : "");
}

static void write_error(const PGresult *result)
{
	static const struct {
		int code;
		const char *name;
	} fields[] = {
		{ PG_DIAG_SEVERITY_NONLOCALIZED, "severity" },
		{ PG_DIAG_SQLSTATE, "sqlstate" },
		{ PG_DIAG_MESSAGE_PRIMARY, "message" },
		{ PG_DIAG_MESSAGE_DETAIL, "detail" },
		{ PG_DIAG_MESSAGE_HINT, "hint" },
		{ PG_DIAG_STATEMENT_POSITION, "position" },
		{ PG_DIAG_INTERNAL_POSITION, "internal position" },
		{ PG_DIAG_INTERNAL_QUERY, "internal query" },
		{ PG_DIAG_CONTEXT, "context" },
		{ PG_DIAG_SCHEMA_NAME, "schema" },
		{ PG_DIAG_TABLE_NAME, "table" },
		{ PG_DIAG_COLUMN_NAME, "column" },
		{ PG_DIAG_DATATYPE_NAME, "datatype" },
		{ PG_DIAG_CONSTRAINT_NAME, "constraint" },
		{ PG_DIAG_SOURCE_FUNCTION, "function" },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const char *value = PQresultErrorField(result, fields[i].code);

		if (!value)
			continue;
		printf("    %s: ", fields[i].name);
		write_text(value);
		putchar('\n');
	}
	/* Without fields it comes from libpq: the connection is lost. */
	if (!PQresultErrorField(result, PG_DIAG_SQLSTATE)) {
		printf("    ");
		write_text(PQresultErrorMessage(result));
		putchar('\n');
	}
}

void show(PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (!result) {
		puts("  no result");
		return;
	}
	printf("  %s", PQresStatus(status));
	if (*PQcmdStatus(result))
		printf(" [%s]", PQcmdStatus(result));
	if (PQoidValue(result))
		printf(" oid");
	putchar('\n');
	if (status == PGRES_FATAL_ERROR || status == PGRES_NONFATAL_ERROR)
		write_error(result);
	write_columns(result);
	write_rows(result);
	PQclear(result);
}

void show_state(PGconn *conn)
{
	static const char *const transactions[] = { "idle", "active",
						    "in transaction", "failed",
						    "unknown" };
	static const char *const pipelines[] = { "", ", pipeline",
						 ", pipeline aborted" };

	printf("  state: %s%s%s\n", transactions[PQtransactionStatus(conn)],
	       pipelines[PQpipelineStatus(conn)],
	       PQstatus(conn) == CONNECTION_OK ? "" : ", connection lost");
	fflush(stdout);
}

void run(PGconn *conn, const char *sql)
{
	printf("> %s\n", sql);
	show(PQexec(conn, sql));
	show_state(conn);
}

void show_rest(PGconn *conn)
{
	PGresult *result;

	while ((result = PQgetResult(conn)))
		show(result);
	show_state(conn);
}

void run_all(PGconn *conn, const char *sql)
{
	printf("> %s\n", sql);
	if (!PQsendQuery(conn, sql))
		printf("  not sent: %s", PQerrorMessage(conn));
	show_rest(conn);
}
