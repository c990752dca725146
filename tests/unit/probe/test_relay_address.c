/* SPDX-License-Identifier: Apache-2.0 */
/* Where a connection string says that the server is. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "probe/relay_internal.h"

/* No surroundings but ours. */
static int forget_surroundings(void **state)
{
	static const char *const names[] = { "PGHOST",	     "PGHOSTADDR",
					     "PGPORT",	     "PGSSLMODE",
					     "PGSERVICE",    "PGSERVICEFILE",
					     "PGSSLROOTCERT" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unsetenv(names[i]);
	return 0;
}

static struct slm_relay_server found(const char *conninfo)
{
	struct slm_relay_server server;
	struct sqloom_error err = { 0 };

	if (slm_relay_server_init(&server, conninfo, &err))
		fail_msg("%s: %s", conninfo, err.message);
	return server;
}

static void check_tcp(const char *conninfo, const char *address, int port,
		      enum slm_tls_mode mode)
{
	struct slm_relay_server server = found(conninfo);
	const struct sockaddr_in *in =
		(const struct sockaddr_in *)&server.addresses[0].bytes;
	char text[INET_ADDRSTRLEN] = "";

	assert_int_equal(in->sin_family, AF_INET);
	inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
	assert_string_equal(text, address);
	assert_int_equal(ntohs(in->sin_port), port);
	assert_int_equal(server.tls_mode, mode);
	assert_int_equal(server.tls != NULL, mode != SLM_TLS_DISABLE);
	slm_relay_server_deinit(&server);
}

static void check_socket(const char *conninfo, const char *path)
{
	struct slm_relay_server server = found(conninfo);
	const struct sockaddr_un *un =
		(const struct sockaddr_un *)&server.addresses[0].bytes;

	assert_int_equal(un->sun_family, AF_UNIX);
	assert_string_equal(un->sun_path, path);
	assert_int_equal(server.naddresses, 1);
	assert_null(server.tls);
	slm_relay_server_deinit(&server);
}

static void test_tcp(void **state)
{
	(void)state;
	check_tcp("postgresql://u:p@127.0.0.1:6000/d?sslmode=disable",
		  "127.0.0.1", 6000, SLM_TLS_DISABLE);
	check_tcp("host=127.0.0.1", "127.0.0.1", 5432, SLM_TLS_PREFER);
	check_tcp("host=127.0.0.1 sslmode=allow", "127.0.0.1", 5432,
		  SLM_TLS_PREFER);
	check_tcp("host=a,b hostaddr=127.0.0.2,127.0.0.3 port=1,2 "
		  "sslmode=require",
		  "127.0.0.2", 1, SLM_TLS_REQUIRE);
	check_tcp("host=127.0.0.4,127.0.0.5 port=7 sslmode=disable",
		  "127.0.0.4", 7, SLM_TLS_DISABLE);
}

static void test_socket(void **state)
{
	(void)state;
	check_socket("host=/run/x port=77", "/run/x/.s.PGSQL.77");
	check_socket("postgresql://%2Frun%2Fx/d", "/run/x/.s.PGSQL.5432");
	/* There is no TLS on it, whatever is asked. */
	check_socket("host=/run/x sslmode=verify-full", "/run/x/.s.PGSQL.5432");
}

static void test_surroundings(void **state)
{
	(void)state;
	setenv("PGHOST", "/run/y", 1);
	setenv("PGPORT", "99", 1);
	check_socket("", "/run/y/.s.PGSQL.99");
	check_socket("dbname=x port=98", "/run/y/.s.PGSQL.98");
	forget_surroundings(NULL);
}

static void check_fault(const char *conninfo, enum sqloom_status status,
			const char *says)
{
	struct slm_relay_server server;
	struct sqloom_error err = { 0 };

	assert_int_equal(slm_relay_server_init(&server, conninfo, &err),
			 status);
	if (!strstr(err.message, says))
		fail_msg("%s: '%s' is not in: %s", conninfo, says, err.message);
}

static void test_faults(void **state)
{
	(void)state;
	check_fault("nonsense", SQLOOM_USAGE, "nonsense");
	check_fault("no_such_word=1", SQLOOM_USAGE, "no_such_word");
	check_fault("service=no-such-service", SQLOOM_USAGE, "no-such-service");
	check_fault("host=127.0.0.1 sslmode=maybe", SQLOOM_USAGE, "maybe");
	check_fault("host=127.0.0.1 port=0", SQLOOM_USAGE, "port");
	check_fault("hostaddr=nowhere", SQLOOM_DATABASE, "nowhere");
	check_fault("host=127.0.0.1 sslmode=verify-ca sslrootcert=/none.crt",
		    SQLOOM_UNSUPPORTED, "/none.crt");
	check_fault("hostaddr=127.0.0.1 sslmode=verify-full",
		    SQLOOM_UNSUPPORTED, "host=NAME");
	check_fault("host=127.0.0.1 sslmode=require sslcert=/none.crt",
		    SQLOOM_UNSUPPORTED, "/none.crt");
	check_fault(
		"host=/a-directory-whose-name-is-much-too-long-for-the-path-"
		"of-a-unix-socket-which-has-room-for-one-hundred-and-seven-"
		"characters-only",
		SQLOOM_USAGE, "too long");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_socket),
		cmocka_unit_test(test_surroundings),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, forget_surroundings, NULL);
}
