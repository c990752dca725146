/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs: can the proxy listen, and do the calls come to it? Each call is run
 * once, alone, exactly as an exploration runs it; meanwhile the server is asked
 * which other clients it has. A client that is none of our sockets has found
 * another way to the database.
 */
#include <dirent.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

#include "base/clock.h"
#include "call/programs.h"
#include "call/run.h"
#include "doctor/doctor.h"
#include "probe/relay.h"

#define CALL_LIMIT_MS 60000
#define LOOK_EVERY_MS 5
#define SETTLE_MS 100  /* until the server has let go of who went away */
#define COUNTED_MS 300 /* until the server has counted who went away */
#define SAID_MAX 200   /* bytes of a program's words that are told */

/* ---- The proxy ----------------------------------------------------------- */

bool slm_doctor_proxy(struct doctor *doctor)
{
	struct slm_relay *relay = NULL;
	struct slm_relay_options options = {
		.conninfo = doctor->conninfo,
		.port = doctor->options->proxy_port,
	};
	struct sqloom_error err;
	uv_loop_t loop;
	bool listens;

	if (uv_loop_init(&loop)) {
		doctor->status = SQLOOM_NOMEM;
		return false;
	}
	options.loop = &loop;
	listens = slm_relay_start(&options, &relay, &err) == SQLOOM_OK;
	if (listens && options.port)
		slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "proxy", NULL,
				"it can listen on port %d", options.port);
	else if (listens)
		slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "proxy", NULL,
				"it can listen");
	else
		slm_doctor_tell_error(doctor, "proxy", &err);
	slm_relay_stop(relay);
	uv_loop_close(&loop);
	return listens;
}

/* ---- Who talks to the server --------------------------------------------- */

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_storage room;
};

static bool peer_of(int fd, union address *out)
{
	socklen_t size = sizeof(*out);

	memset(out, 0, sizeof(*out));
	return getpeername(fd, &out->any, &size) == 0;
}

static int port_of(const union address *address)
{
	switch (address->any.sa_family) {
	case AF_INET:
		return ntohs(address->in.sin_port);
	case AF_INET6:
		return ntohs(address->in6.sin6_port);
	default:
		return -1;
	}
}

/* Do both lead to the same server? localhost has two addresses. */
static bool same_server(const union address *a, const union address *b)
{
	if (port_of(a) != port_of(b))
		return false;
	return a->any.sa_family != AF_UNIX ||
	       (b->any.sa_family == AF_UNIX &&
		strcmp(a->un.sun_path, b->un.sun_path) == 0);
}

/* How many sockets to the server has this process? */
static int sockets_of_ours(const struct doctor *doctor)
{
	DIR *dir = opendir("/proc/self/fd");
	union address server, peer;
	struct dirent *entry;
	int count = 0;

	if (!peer_of(PQsocket(doctor->pg.conn), &server)) {
		if (dir)
			closedir(dir);
		return -1;
	}
	while (dir && (entry = readdir(dir)))
		count += peer_of(atoi(entry->d_name), &peer) &&
			 same_server(&peer, &server);
	if (dir)
		closedir(dir);
	return dir ? count : -1;
}

struct watch {
	struct doctor *doctor;
	uint64_t looked_ms, since_ms;
	char seen[64];	  /* application_name of a client that was seen */
	bool there;	  /* when it was looked last: since_ms */
	bool any;	  /* at some time */
	bool stays;	  /* for so long that it was not about to go */
	int64_t sessions; /* that the server has counted before the call */
};

/* Clients that came since the doctor did, the doctor included, and the name of
 * the newest that is not sqloom's. -1: not known. */
static int clients_since(struct doctor *doctor, char *name, size_t size)
{
	PGresult *result = NULL;
	int count;

	if (slm_pg_exec(&doctor->pg, "look who is there",
			"SELECT coalesce(nullif(application_name, ''), 'a "
			"client without a name') FROM pg_stat_activity WHERE "
			"datname = current_database() AND backend_type = "
			"'client backend' AND backend_start >= (SELECT "
			"backend_start FROM pg_stat_activity WHERE pid = "
			"pg_backend_pid()) ORDER BY application_name = "
			"'sqloom', backend_start DESC",
			&result, NULL))
		return -1;
	count = PQntuples(result);
	if (count)
		snprintf(name, size, "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	return count;
}

/* Sessions of the database since its statistics began; -1: not known. A session
 * is counted when it ends, if it was short. */
static int64_t sessions_so_far(struct doctor *doctor)
{
	PGresult *result = NULL;
	int64_t count;

	if (PQserverVersion(doctor->pg.conn) < 140000 ||
	    slm_pg_exec(&doctor->pg, "count the sessions",
			"SELECT sessions FROM pg_stat_database WHERE datname = "
			"current_database()",
			&result, NULL))
		return -1;
	count = PQntuples(result) ?
			strtoll(PQgetvalue(result, 0, 0), NULL, 10) :
			-1;
	PQclear(result);
	return count;
}

/* Did somebody come and go too fast to be seen? */
static bool somebody_came(struct doctor *doctor, int64_t before)
{
	uint64_t began = slm_clock_ns();
	int64_t now;

	do {
		now = sessions_so_far(doctor);
	} while (now >= 0 && now == before &&
		 slm_clock_ns() - began < COUNTED_MS * UINT64_C(1000000));
	return before >= 0 && now > before;
}

/* Has the server more clients than we have sockets? */
static bool others_there(struct doctor *doctor, char *name, size_t size)
{
	char newest[64] = "";
	int clients = clients_since(doctor, newest, sizeof(newest));
	int ours = sockets_of_ours(doctor);

	if (clients < 0 || ours < 0 || clients <= ours)
		return false;
	snprintf(name, size, "%s", newest);
	return true;
}

/* The same, but not who is just going away. */
static bool others_stay(struct doctor *doctor, char *name, size_t size)
{
	uint64_t began = slm_clock_ns();

	while (others_there(doctor, name, size))
		if (slm_clock_ns() - began > SETTLE_MS * UINT64_C(1000000))
			return true;
	return false;
}

/* Asked by the loop of the programs now and then. */
static bool look(void *userdata)
{
	struct watch *watch = userdata;
	const struct sqloom_doctor_options *options = watch->doctor->options;
	uint64_t now = slm_clock_ns() / 1000000;

	if (!watch->stays && now - watch->looked_ms >= LOOK_EVERY_MS) {
		bool there = others_there(watch->doctor, watch->seen,
					  sizeof(watch->seen));

		if (there && !watch->there)
			watch->since_ms = now;
		watch->looked_ms = now;
		watch->there = there;
		watch->any |= there;
		watch->stays = there && now - watch->since_ms > SETTLE_MS;
	}
	return !options->goes_on || options->goes_on(options->userdata);
}

/* ---- A call --------------------------------------------------------------- */

static unsigned steps_of(const struct slm_runner *runner)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < runner->nevents; i++)
		count += runner->events[i].kind == SLM_EVENT_STEP ||
			 runner->events[i].kind == SLM_EVENT_BLOCKED;
	return count;
}

/* How the call ended; NULL: well. */
static const struct slm_result *refusal_of(const struct slm_runner *runner)
{
	for (uint32_t i = runner->nevents; i-- > 0;)
		if (runner->events[i].kind == SLM_EVENT_END &&
		    !runner->events[i].ok && runner->events[i].result)
			return runner->events[i].result;
	return NULL;
}

/* Does it complain that there is no TLS? All drivers name one of the two. */
static bool wants_tls(const struct slm_result *refusal)
{
	return refusal && refusal->message &&
	       (strstr(refusal->message, "SSL") ||
		strstr(refusal->message, "TLS"));
}

static void tell_missing(struct doctor *doctor, const char *what,
			 const struct watch *watch,
			 const struct slm_result *refusal)
{
	static const char take_from[] =
		"take host and port from PGHOST and PGPORT, or from "
		"DATABASE_URL; a Unix socket or a fixed address in its "
		"settings leads past the proxy";
	const char *said = refusal && refusal->message ? refusal->message : "";

	if (watch->any)
		slm_doctor_tell(
			doctor, SQLOOM_HEALTH_PROBLEM, what, take_from,
			"it went to the server directly (as \"%s\"), not to "
			"the proxy: nothing of it can be controlled",
			watch->seen);
	else if (somebody_came(doctor, watch->sessions))
		slm_doctor_tell(
			doctor, SQLOOM_HEALTH_PROBLEM, what, take_from,
			"no statement of it came to the proxy, but a session "
			"was opened at the server: it went there directly");
	else if (wants_tls(refusal))
		slm_doctor_tell(
			doctor, SQLOOM_HEALTH_PROBLEM, what,
			"set its sslmode to disable or prefer; TLS between the "
			"proxy and the server is what sslmode in --db says",
			"it wants TLS, which the proxy has not: %.*s", SAID_MAX,
			said);
	else
		slm_doctor_tell(
			doctor, SQLOOM_HEALTH_PROBLEM, what,
			"take host and port from PGHOST and PGPORT, or from "
			"DATABASE_URL; if they are in a file, write "
			"--proxy-port there",
			"it ended without a statement to the proxy%s%.*s",
			*said ? "; it said: " : "", SAID_MAX, said);
}

static void tell_call(struct doctor *doctor, const char *what,
		      const struct slm_runner *runner, struct watch *watch)
{
	const struct slm_result *refusal = refusal_of(runner);
	unsigned steps = steps_of(runner);

	if (!steps) {
		tell_missing(doctor, what, watch, refusal);
		return;
	}
	if (watch->stays ||
	    others_stay(doctor, watch->seen, sizeof(watch->seen)))
		slm_doctor_tell(doctor, SQLOOM_HEALTH_PROBLEM, what,
				"lead all its connections to the proxy; a "
				"fixed address is left somewhere",
				"%u step%s came through the proxy, but \"%s\" "
				"is connected to the server directly",
				steps, steps == 1 ? "" : "s", watch->seen);
	else if (refusal)
		slm_doctor_tell(doctor, SQLOOM_HEALTH_NOTE, what,
				"if that is not what it is to do, look at it "
				"first",
				"%u step%s came through the proxy, and it "
				"ended with %s: %.*s",
				steps, steps == 1 ? "" : "s",
				refusal->code ? refusal->code : "an error",
				SAID_MAX,
				refusal->message ? refusal->message : "");
	else
		slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, what, NULL,
				"%u step%s came through the proxy", steps,
				steps == 1 ? "" : "s");
}

static enum sqloom_status try_call(struct doctor *doctor, unsigned call,
				   struct slm_runner *runner,
				   struct watch *watch,
				   struct sqloom_error *err)
{
	char order[2] = { (char)('a' + call), '\0' };
	struct slm_director director = { .order = order };
	const char *what = slm_doctor_text(doctor, "call %s",
					   doctor->spec->sessions[call].name);
	enum sqloom_status status;

	watch->any = watch->there = watch->stays = false;
	watch->sessions = sessions_so_far(doctor);
	status = slm_run(runner, UINT32_C(1) << call, 0, &director, err);
	if (status)
		slm_doctor_tell_error(doctor, what, err);
	else
		tell_call(doctor, what, runner, watch);
	return status;
}

/* What the driver of the programs saw: traffic that is no call's ... */
static void tell_notes(struct doctor *doctor, struct slm_db *db)
{
	unsigned count;
	const char *const *notes = slm_programs_notes(db, &count);

	for (unsigned i = 0; i < count; i++)
		slm_doctor_tell(doctor, SQLOOM_HEALTH_NOTE, "programs", NULL,
				"%s", notes[i]);
}

void slm_doctor_calls(struct doctor *doctor)
{
	const struct sqloom_doctor_options *options = doctor->options;
	struct watch watch = { .doctor = doctor };
	struct slm_programs_options programs = {
		.pg = { .conninfo = doctor->conninfo,
			.any_database = options->any_database || doctor->server,
			.jobs = 1,
			.statement_limit_ms = CALL_LIMIT_MS,
			.goes_on = look,
			.goes_on_userdata = &watch },
		.proxy_port = options->proxy_port,
		/* It is alone: nobody else could go on. */
		.stall_after_ms = CALL_LIMIT_MS,
		.call_limit_ms = CALL_LIMIT_MS,
		.environment = options->environment,
	};
	struct slm_plan plan = { .ncalls = doctor->spec->nsessions };
	struct slm_runner runner;
	struct slm_db *db = NULL;
	struct sqloom_error err;
	enum sqloom_status status;

	slm_runner_init(&runner);
	status = slm_programs_open(doctor->spec, &programs, &db, &err);
	if (status)
		slm_doctor_tell_error(doctor, "programs", &err);
	runner.db = db;
	runner.spec = doctor->spec;
	runner.plan = &plan;
	for (unsigned i = 0; !status && i < doctor->spec->nsessions; i++)
		status = try_call(doctor, i, &runner, &watch, &err);
	if (!status && !doctor->problems)
		tell_notes(doctor, db);
	slm_runner_deinit(&runner);
	slm_db_free(db);
}
