/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqloom proxy: relays between clients and a PostgreSQL server until Ctrl-C,
 * and records who said what if that is wanted.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli.h"

static void print_started(const struct sqloom_proxy_place *place,
			  void *userdata)
{
	(void)userdata;
	printf("listening on port %d of %s", place->port, place->host);
	if (place->socket_dir)
		printf(" and on a Unix socket in %s", place->socket_dir);
	printf("\nconnect with: psql 'host=%s port=%d", place->host,
	       place->port);
	if (place->user)
		printf(" user=%s", place->user);
	if (place->database)
		printf(" dbname=%s", place->database);
	printf("'\n");
	/* Whoever waits for it, waits for this line. */
	fflush(stdout);
}

static void print_log(const char *line, void *userdata)
{
	(void)userdata;
	fprintf(stderr, "sqloom: %s\n", line);
}

static bool goes_on(void *userdata)
{
	(void)userdata;
	return !slm_cli_signals_stopped();
}

static void print_summary(const struct slm_cli_arguments *arguments,
			  const struct sqloom_proxy_summary *summary)
{
	printf("relayed %" PRIu64 " connection%s", summary->connections,
	       summary->connections == 1 ? "" : "s");
	if (summary->cancels)
		printf(", %" PRIu64 " cancel request%s", summary->cancels,
		       summary->cancels == 1 ? "" : "s");
	printf("\n");
	if (!arguments->record)
		return;
	printf("recorded %" PRIu64 " statement%s of %u client%s in %s; show "
	       "them with: sqloom show %s\n",
	       summary->statements, summary->statements == 1 ? "" : "s",
	       summary->clients, summary->clients == 1 ? "" : "s",
	       arguments->record, arguments->record);
}

static int run(const struct slm_cli_arguments *arguments)
{
	const struct sqloom_options *given = &arguments->options;
	struct sqloom_proxy_options options;
	struct sqloom_proxy_summary summary;
	struct sqloom_error err;
	enum sqloom_status status;

	sqloom_proxy_options_init(&options);
	options.database = given->database;
	options.pg_temp = given->pg_temp;
	options.pg_path = given->pg_path;
	options.pg_place = given->pg_place;
	options.host = arguments->host;
	if (arguments->port >= 0)
		options.port = arguments->port;
	options.socket_dir = arguments->socket_dir;
	options.connections_max = arguments->max_connections;
	options.record_path = arguments->record;
	options.started = print_started;
	options.log = print_log;
	options.goes_on = goes_on;
	slm_cli_signals_catch();
	status = sqloom_proxy_run(&options, &summary, &err);
	slm_cli_signals_release();
	if (status)
		return slm_cli_error(&err);
	print_summary(arguments, &summary);
	return slm_cli_flush(SLM_CLI_EXIT_OK);
}

const struct slm_cli_command slm_cli_proxy = {
	.name = "proxy",
	.bit = SLM_CLI_PROXY,
	.operands = { NULL },
	.summary = "relay to a PostgreSQL server, and record who says what",
	.about = "Listens as a PostgreSQL server does and relays to the server "
		 "of --db, or to a\n"
		 "private one (--pg-temp), until Ctrl-C. Passwords are between "
		 "client and server;\n"
		 "TLS is between the proxy and the server only, as sslmode in "
		 "--db says. Nothing\n"
		 "is held and nothing is changed. The PG* variables complete "
		 "--db.\n",
	.exits = "  0   stopped by Ctrl-C or SIGTERM\n"
		 "  2   an option or the connection string is not valid\n"
		 "  3   the port, a file or the server could not be used\n"
		 "  70  internal error, a defect in sqloom\n",
	.examples = "  sqloom proxy --db postgresql://localhost/shop_test "
		    "--record shop.trace\n"
		    "  sqloom proxy --pg-temp --port 0\n",
	.run = run,
};
