/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the server is: libpq reads the connection string and fills in what it
 * leaves open, as for every program that uses libpq. Of a list of hosts the
 * first one counts.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/error.h"
#include "probe/relay_internal.h"

/* libpq completes a connection string only on its way to a connection. A
 * value that it does not know ends that way before any socket is made. */
#define STOP "target_session_attrs"
#define NAME_BYTES 256

/* What is known of a server, by libpq. */
struct found {
	PQconninfoOption *options;
	char host[NAME_BYTES], hostaddr[NAME_BYTES], port[NAME_BYTES];
};

static void copy_first(const char *list, char *out)
{
	size_t length = list ? strcspn(list, ",") : 0;

	if (length >= NAME_BYTES)
		length = NAME_BYTES - 1;
	if (length)
		memcpy(out, list, length);
	out[length] = '\0';
}

static const char *option(const struct found *found, const char *keyword)
{
	for (PQconninfoOption *at = found->options; at && at->keyword; at++)
		if (strcmp(at->keyword, keyword) == 0)
			return at->val ? at->val : "";
	return "";
}

static enum sqloom_status bad_conninfo(const char *why,
				       struct sqloom_error *err)
{
	return slm_error_set(err, SQLOOM_USAGE,
			     "the connection string is not valid: %.*s",
			     (int)strcspn(why, "\n"), why);
}

/* "" is valid. */
static enum sqloom_status check(const char *conninfo, struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	char *why = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &why);

	if (!options)
		status = why ? bad_conninfo(why, err) : slm_error_nomem(err);
	PQconninfoFree(options);
	PQfreemem(why);
	return status;
}

static enum sqloom_status check_port(const char *port, struct sqloom_error *err)
{
	char *end;
	long number = strtol(port, &end, 10);

	if (end > port && !*end && number > 0 && number <= 65535)
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_USAGE,
			     "the connection string is not valid: '%s' is no "
			     "port; give one from 1 to 65535",
			     port);
}

static enum sqloom_status look(const char *conninfo, struct found *found,
			       struct sqloom_error *err)
{
	const char *const keywords[] = { "dbname", STOP, NULL };
	const char *const values[] = { conninfo, "none", NULL };
	enum sqloom_status status = check(conninfo, err);
	PGconn *conn;

	if (status)
		return status;
	conn = PQconnectStartParams(keywords, values, 1);
	if (!conn)
		return slm_error_nomem(err);
	found->options = PQconninfo(conn);
	if (!strstr(PQerrorMessage(conn), STOP))
		status = bad_conninfo(PQerrorMessage(conn), err);
	else if (!found->options)
		status = slm_error_nomem(err);
	copy_first(PQhost(conn), found->host);
	copy_first(PQport(conn), found->port);
	copy_first(option(found, "hostaddr"), found->hostaddr);
	PQfinish(conn);
	return status ? status : check_port(found->port, err);
}

/* ---- Addresses --------------------------------------------------------- */

static enum sqloom_status use_socket(struct slm_relay_server *server,
				     const struct found *found,
				     struct sqloom_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int length = snprintf(address.sun_path, sizeof(address.sun_path),
			      "%s/.s.PGSQL.%s", found->host, found->port);

	if (length >= (int)sizeof(address.sun_path))
		return slm_error_set(err, SQLOOM_USAGE,
				     "the path of the server's Unix socket in "
				     "%s is too long",
				     found->host);
	/* "@..." is a name that no file has. */
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	server->addresses[0].size =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			    (size_t)length + (found->host[0] != '@'));
	memcpy(&server->addresses[0].bytes, &address, sizeof(address));
	server->naddresses = 1;
	snprintf(server->name, sizeof(server->name), "socket %.*s",
		 (int)sizeof(address.sun_path),
		 found->host[0] == '@' ? found->host : address.sun_path);
	return SQLOOM_OK;
}

static enum sqloom_status use_name(struct slm_relay_server *server,
				   const struct found *found,
				   struct sqloom_error *err)
{
	const char *host = found->hostaddr[0] ? found->hostaddr : found->host;
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = found->hostaddr[0] ?
						      AI_NUMERICHOST :
						      0 };
	struct addrinfo *list = NULL;
	int code = getaddrinfo(host, found->port, &hints, &list);

	if (code)
		return slm_error_set(err, SQLOOM_DATABASE,
				     "cannot find the server %s: %s; correct "
				     "host and port in the connection string",
				     host, gai_strerror(code));
	for (struct addrinfo *at = list;
	     at && server->naddresses < SLM_RELAY_ADDRESSES_MAX;
	     at = at->ai_next) {
		struct slm_relay_address *address =
			&server->addresses[server->naddresses++];

		memcpy(&address->bytes, at->ai_addr, at->ai_addrlen);
		address->size = at->ai_addrlen;
	}
	freeaddrinfo(list);
	snprintf(server->name, sizeof(server->name), "port %.9s of %s",
		 found->port, host);
	return SQLOOM_OK;
}

/* ---- TLS --------------------------------------------------------------- */

static enum sqloom_status use_tls(struct slm_relay_server *server,
				  const struct found *found,
				  struct sqloom_error *err)
{
	const char *mode = option(found, "sslmode");
	struct slm_tls_options options = {
		.root = option(found, "sslrootcert"),
		.certificate = option(found, "sslcert"),
		.key = option(found, "sslkey"),
		.host = found->host,
	};

	server->tls_mode = SLM_TLS_PREFER;
	if (*mode && !slm_tls_mode_of(mode, &server->tls_mode))
		return slm_error_set(err, SQLOOM_USAGE,
				     "there is no sslmode '%s'; give disable, "
				     "prefer, require, verify-ca or "
				     "verify-full",
				     mode);
	options.mode = server->tls_mode;
	if (options.mode == SLM_TLS_DISABLE)
		return SQLOOM_OK;
	/* A host that was not given is its address: no name. */
	if (strcmp(found->host, found->hostaddr) == 0 && found->hostaddr[0])
		options.host = NULL;
	return slm_tls_context_new(&options, &server->tls, err);
}

enum sqloom_status slm_relay_server_init(struct slm_relay_server *server,
					 const char *conninfo,
					 struct sqloom_error *err)
{
	struct found found = { 0 };
	enum sqloom_status status = look(conninfo, &found, err);
	bool local = found.host[0] == '/' || found.host[0] == '@';

	*server = (struct slm_relay_server){ 0 };
	if (!status && local && !found.hostaddr[0]) {
		/* As libpq: there is no TLS on a Unix socket. */
		status = use_socket(server, &found, err);
	} else if (!status) {
		status = use_name(server, &found, err);
		if (!status)
			status = use_tls(server, &found, err);
	}
	PQconninfoFree(found.options);
	return status;
}

void slm_relay_server_deinit(struct slm_relay_server *server)
{
	slm_tls_context_free(server->tls);
	server->tls = NULL;
}
