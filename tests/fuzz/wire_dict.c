/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the dictionary of the fuzzers of the wire: the messages of the list
 * in pgwire.h, each with the least length that it may have, and the codes of
 * startup packets.
 */
#include <stdint.h>
#include <stdio.h>

#include "pgwire/pgwire.h"

static void print_number(uint32_t n)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		printf("\\x%02x", n >> shift & 0xff);
}

static void print_message(const char *side, char type, const char *name,
			  uint32_t min)
{
	printf("%s_%s=\"\\x%02x", side, name, (unsigned char)type);
	print_number(min + 4);
	printf("\"\n");
}

static void print_code(const char *name, uint32_t code)
{
	printf("%s=\"", name);
	print_number(code);
	printf("\"\n");
}

static void print_texts(void)
{
	static const char *const texts[] = {
		"user\\x00",
		"database\\x00",
		"application_name\\x00",
		"options\\x00",
		"replication\\x00",
		"SCRAM-SHA-256\\x00",
		"INSERT 0 1\\x00",
		"SELECT 1\\x00",
		"C40001\\x00",
		"BEGIN",
		"COMMIT",
		"ROLLBACK",
		"SAVEPOINT s",
		"ROLLBACK TO s",
		"SELECT 1",
		"INSERT INTO t VALUES (1)",
		" RETURNING v",
		"COPY t FROM STDIN",
		"COPY t TO STDOUT",
		"VACUUM t",
		"LOCK t",
		"DEALLOCATE s",
		"; ",
		/* What model.c understands */
		"fail",
		"defer",
		"notice",
		"notify",
		"wide",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		printf("\"%s\"\n", texts[i]);
}

int main(void)
{
#define X(type, NAME, text, min, max) print_message("client", type, text, min);
	SLM_WIRE_CLIENT(X)
#undef X
#define X(type, NAME, text, min, max) print_message("server", type, text, min);
	SLM_WIRE_SERVER(X)
#undef X
	print_code("protocol_3_0", SLM_WIRE_PROTOCOL(3, 0));
	print_code("protocol_3_2", SLM_WIRE_PROTOCOL(3, 2));
	print_code("cancel", SLM_WIRE_PROTOCOL(1234, 5678));
	print_code("ssl", SLM_WIRE_PROTOCOL(1234, 5679));
	print_code("gssenc", SLM_WIRE_PROTOCOL(1234, 5680));
	print_code("null_value", UINT32_MAX);
	print_texts();
	return 0;
}
