/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorder: a dialog in TRACK mode for each connection, and a trace that
 * grows. May use base, sql, trace, and the relay.
 *
 * An event is where its statement was passed on, so that the order of events
 * is the order in which the server got the statements; what came back is
 * filled in later. Memory that is out ends the recording, not the relaying,
 * and is told when the trace is to be written.
 */
#include "probe/record.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/hash.h"
#include "sql/sql.h"
#include "trace/trace.h"

#define TEXTS_MAX 20000 /* different statements */
#define BUCKETS 4096
#define NOTES_MAX 4
#define NAME_BYTES 64
#define NONE UINT32_MAX

/* A statement that was seen. */
struct text {
	struct text *next; /* in its bucket */
	const char *sql;
	size_t size;
	struct slm_pg_step parsed;
	uint32_t steps[SLM_CALLS_MAX]; /* its step in each call, or NONE */
};

/* A statement that was passed on and is not answered. */
struct pending {
	const struct slm_dialog_step *step;
	uint32_t event;
};

/* A connection that is recorded. */
struct client {
	struct slm_record *record;
	struct slm_relay_connection *connection; /* NULL: closed */
	uint32_t call;
	struct slm_trace_step *steps;
	uint32_t nsteps, steps_capacity;
	struct pending *pending;
	uint32_t npending, pending_capacity;
};

struct slm_record {
	char *path;
	struct slm_trace trace;
	struct slm_trace_call calls[SLM_CALLS_MAX];
	struct client clients[SLM_CALLS_MAX];
	unsigned nclients;
	struct slm_event *events;
	uint32_t nevents, events_capacity;
	struct text *buckets[BUCKETS];
	unsigned ntexts;
	bool texts_out; /* there were more than TEXTS_MAX */
	uint64_t statements;
	uint64_t kept_bytes;
	uint64_t unrecorded; /* connections beyond the limit */
	uint64_t lost;	     /* statements beyond the limit */
	unsigned open_at_end;
	bool ended;
	bool nomem;
	char backend[100];
	const char *notes[NOTES_MAX];
	struct slm_finding finding;
};

/* What stands for a text that cannot be kept: nothing is known of it. */
static const struct slm_pg_step unknown = { .takes_snapshot = true,
					    .session_state = true,
					    .ddl = true,
					    .cluster_wide = true,
					    .unknown_writes = true,
					    .unknown_reads = true,
					    .truncates = true,
					    .locks_tables = true,
					    .explicit_sequence = true };

/* Room for one more in an array. */
static bool grow(struct slm_record *record, void **array, uint32_t count,
		 uint32_t *capacity, size_t size)
{
	uint32_t wanted = *capacity ? *capacity * 2 : 16;
	void *grown;

	if (count < *capacity)
		return true;
	grown = slm_reallocarray(*array, wanted, size);
	if (!grown) {
		record->nomem = true;
		return false;
	}
	*array = grown;
	*capacity = wanted;
	return true;
}

/* From then on nothing is recorded: transactions of which some statements are
 * there and others are not never happened. */
static bool is_full(const struct slm_record *record)
{
	return record->nomem || record->ended || record->texts_out ||
	       record->statements >= SLM_RECORD_EVENTS_MAX ||
	       record->kept_bytes > SLM_RECORD_BYTES_MAX;
}

/* ---- Texts --------------------------------------------------------------- */

static struct text *new_text(struct slm_record *record, const char *sql,
			     size_t size)
{
	struct slm_arena *arena = &record->trace.arena;
	struct text *text = slm_arena_zalloc(arena, 1, sizeof(*text));
	struct sqloom_error err;

	if (text)
		text->sql = slm_arena_strndup(arena, sql, size);
	if (!text || !text->sql ||
	    slm_pg_step_read(text->sql, arena, &text->parsed, &err)) {
		record->nomem = true;
		return NULL;
	}
	text->size = size;
	memset(text->steps, 0xff, sizeof(text->steps));
	record->ntexts++;
	record->kept_bytes += size;
	return text;
}

/* NULL: it is not kept. */
static struct text *find_text(struct slm_record *record, const char *sql,
			      size_t size)
{
	struct text **bucket =
		&record->buckets[slm_hash(sql, size, 0) % BUCKETS];
	struct text *text;

	for (text = *bucket; text; text = text->next)
		if (text->size == size && memcmp(text->sql, sql, size) == 0)
			return text;
	record->texts_out |= record->ntexts == TEXTS_MAX;
	if (is_full(record))
		return NULL;
	text = new_text(record, sql, size);
	if (text) {
		text->next = *bucket;
		*bucket = text;
	}
	return text;
}

/* ---- Steps ---------------------------------------------------------------- */

/* "account, orders" */
static const char *relations(struct slm_record *record,
			     const struct slm_pg_step *parsed, bool write)
{
	struct slm_buf buf;
	const char *kept = "";

	slm_buf_init(&buf);
	for (size_t i = 0; i < parsed->nstatements; i++) {
		const struct slm_pg_statement *s = &parsed->statements[i];

		for (size_t k = 0; k < s->nrelations; k++) {
			const struct slm_pg_relation *r = &s->relations[k];

			if (write ? r->write : r->read)
				slm_buf_printf(&buf, "%s%s",
					       buf.size ? ", " : "", r->name);
		}
	}
	if (buf.size)
		kept = slm_arena_strdup(&record->trace.arena, buf.data);
	slm_buf_deinit(&buf);
	return kept;
}

/* "UPDATE account" */
static const char *name_of(struct slm_record *record,
			   const struct slm_pg_step *parsed)
{
	const struct slm_pg_statement *s = parsed->statements;
	const char *table = NULL;

	if (!parsed->parsed || parsed->nstatements == 0)
		return "statement";
	for (size_t k = 0; k < s->nrelations; k++)
		if (!table || s->relations[k].write)
			table = s->relations[k].name;
	if (!table)
		return slm_pg_kind_name(s->kind);
	return slm_arena_printf(&record->trace.arena, "%s %s",
				slm_pg_kind_name(s->kind), table);
}

/* The step of this text in the call; NONE: memory is out. */
static uint32_t step_of(struct client *client, struct text *text)
{
	struct slm_record *record = client->record;
	uint32_t *known = &text->steps[client->call];
	struct slm_trace_step step;

	if (*known != NONE)
		return *known;
	if (!grow(record, (void **)&client->steps, client->nsteps,
		  &client->steps_capacity, sizeof(*client->steps)))
		return NONE;
	step = (struct slm_trace_step){
		.name = text->size ? name_of(record, &text->parsed) :
				     "function call",
		.sql = text->sql,
		.reads = relations(record, &text->parsed, false),
		.writes = relations(record, &text->parsed, true),
		.fingerprint = slm_sql_fingerprint(text->sql),
	};
	if (!step.name || !step.reads || !step.writes) {
		record->nomem = true;
		return NONE;
	}
	client->steps[client->nsteps] = step;
	*known = client->nsteps++;
	return *known;
}

/* ---- Events ---------------------------------------------------------------- */

/* NULL: there is no room. */
static struct slm_event *new_event(struct client *client,
				   enum slm_event_kind kind)
{
	struct slm_record *record = client->record;
	struct slm_event *event;

	if (!grow(record, (void **)&record->events, record->nevents,
		  &record->events_capacity, sizeof(*record->events)))
		return NULL;
	event = &record->events[record->nevents++];
	*event = (struct slm_event){ .kind = kind,
				     .call = client->call,
				     .step = SLM_STEP_NONE };
	return event;
}

static const char *keep_params(struct slm_record *record, const char *params)
{
	const char *kept;

	if (!params || !*params)
		return NULL;
	kept = slm_arena_strdup(&record->trace.arena, params);
	record->nomem |= !kept;
	record->kept_bytes += strlen(params);
	return kept;
}

static void add_statement(struct client *client,
			  const struct slm_dialog_step *step)
{
	struct slm_record *record = client->record;
	struct text *text = find_text(record, step->sql, step->sql_size);
	uint32_t index = text ? step_of(client, text) : NONE;
	struct slm_event *event;

	if (index == NONE ||
	    !grow(record, (void **)&client->pending, client->npending,
		  &client->pending_capacity, sizeof(*client->pending))) {
		record->lost++;
		return;
	}
	event = new_event(client, SLM_EVENT_STEP);
	if (!event) {
		record->lost++;
		return;
	}
	event->step = index;
	event->choice = true;
	event->params = keep_params(record, step->params);
	client->pending[client->npending++] =
		(struct pending){ step, record->nevents - 1 };
	record->statements++;
}

/* Bytes that a result takes, about. */
static uint64_t size_of(const struct slm_result *result)
{
	uint64_t size = 0;

	for (; result; result = result->next) {
		uint64_t cells =
			(uint64_t)result->rows.nkept * result->rows.ncolumns;

		size += sizeof(*result);
		for (uint64_t i = 0; i < cells; i++)
			size += sizeof(struct slm_value) +
				(result->rows.values[i].kind >= SLM_TEXT ?
					 result->rows.values[i].size :
					 0);
	}
	return size;
}

/* ---- What the dialog tells -------------------------------------------------- */

static void to_server(void *userdata, const void *bytes, size_t size)
{
	struct client *client = userdata;

	slm_relay_to_server(client->connection, bytes, size);
}

static void to_client(void *userdata, const void *bytes, size_t size)
{
	struct client *client = userdata;

	slm_relay_to_client(client->connection, bytes, size);
}

static const struct slm_pg_step *on_read(void *userdata, const char *sql,
					 size_t size)
{
	struct client *client = userdata;
	struct text *text = find_text(client->record, sql, size);

	return text ? &text->parsed : &unknown;
}

static void on_arrived(void *userdata, const struct slm_dialog_step *step)
{
	struct client *client = userdata;

	if (is_full(client->record))
		client->record->lost += !client->record->ended;
	else
		add_statement(client, step);
}

static struct slm_arena *on_results(void *userdata)
{
	struct client *client = userdata;

	return is_full(client->record) ? NULL : &client->record->trace.arena;
}

static void on_done(void *userdata, const struct slm_dialog_step *step,
		    const struct slm_result *result, char status)
{
	struct client *client = userdata;
	struct slm_record *record = client->record;

	(void)status;
	for (uint32_t i = 0; i < client->npending; i++) {
		if (client->pending[i].step != step)
			continue;
		record->events[client->pending[i].event].result = result;
		record->kept_bytes += size_of(result);
		client->npending--;
		memmove(&client->pending[i], &client->pending[i + 1],
			(client->npending - i) * sizeof(*client->pending));
		return;
	}
}

static void on_idle(void *userdata, char status)
{
	(void)userdata, (void)status;
}

static void on_injected(void *userdata, const char *error)
{
	(void)userdata, (void)error;
}

/* ---- Connections ------------------------------------------------------------ */

static bool name_taken(const struct slm_record *record, const char *name)
{
	for (unsigned i = 0; i < record->trace.ncalls; i++)
		if (strcmp(record->calls[i].name, name) == 0)
			return true;
	return false;
}

/* "psql", "psql 2", "client 3" */
static const char *name_call(struct slm_record *record,
			     const struct slm_wire_startup *startup)
{
	const char *given = startup->application_name;
	char name[NAME_BYTES];
	unsigned number = 1;

	if (*given)
		snprintf(name, sizeof(name), "%.40s", given);
	else
		snprintf(name, sizeof(name), "client %u",
			 number = record->nclients + 1);
	while (name_taken(record, name))
		snprintf(name, sizeof(name), "%.40s %u",
			 *given ? given : "client", ++number);
	return slm_arena_strdup(&record->trace.arena, name);
}

static struct client *new_client(struct slm_record *record,
				 const struct slm_wire_startup *startup)
{
	struct slm_trace_call *call = &record->calls[record->nclients];
	struct client *client = &record->clients[record->nclients];
	const char *database = *startup->database ? startup->database :
						    startup->user;

	call->name = name_call(record, startup);
	call->text = slm_arena_printf(&record->trace.arena,
				      "user %.64s, database %.64s",
				      startup->user, database);
	call->kind = SLM_TRACE_CLIENT;
	if (!call->name || !call->text) {
		record->nomem = true;
		return NULL;
	}
	client->record = record;
	client->call = record->nclients++;
	record->trace.ncalls = record->nclients;
	return client;
}

struct slm_dialog *slm_record_open(struct slm_record *record,
				   struct slm_relay_connection *connection,
				   const struct slm_wire_startup *startup)
{
	static const struct slm_dialog_ops ops = {
		.to_server = to_server,
		.to_client = to_client,
		.read = on_read,
		.arrived = on_arrived,
		.results = on_results,
		.done = on_done,
		.idle = on_idle,
		.injected = on_injected,
	};
	struct slm_dialog *dialog = NULL;
	struct sqloom_error err;
	struct client *client;

	if (is_full(record))
		return NULL;
	if (record->nclients == SLM_CALLS_MAX) {
		record->unrecorded++;
		return NULL;
	}
	client = new_client(record, startup);
	if (!client)
		return NULL;
	if (slm_dialog_new(&ops, client, &dialog, &err)) {
		record->nomem = true;
		return NULL;
	}
	client->connection = connection;
	slm_relay_set_data(connection, client);
	return dialog;
}

void slm_record_closed(struct slm_record *record,
		       struct slm_relay_connection *connection)
{
	struct client *client = slm_relay_data(connection);
	struct slm_event *event;

	if (!client)
		return;
	assert(client->connection == connection);
	client->connection = NULL;
	client->npending = 0;
	if (record->ended)
		return;
	event = new_event(client, SLM_EVENT_END);
	if (event)
		event->ok = true;
}

void slm_record_end(struct slm_record *record, const char *server_version)
{
	record->ended = true;
	for (unsigned i = 0; i < record->nclients; i++)
		record->open_at_end += record->clients[i].connection != NULL;
	snprintf(record->backend, sizeof(record->backend), "PostgreSQL%s%.60s",
		 *server_version ? " " : "", server_version);
}

/* ---- The whole --------------------------------------------------------------- */

/* It would be a pity to learn it only at the end. */
static enum sqloom_status try_to_write(const char *path,
				       struct sqloom_error *err)
{
	bool is_there = access(path, F_OK) == 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0666);

	if (fd < 0)
		return slm_error_errno(err, SQLOOM_IO, errno,
				       "cannot write the trace '%s'", path);
	close(fd);
	if (!is_there)
		unlink(path);
	return SQLOOM_OK;
}

enum sqloom_status slm_record_new(const char *path, struct slm_record **out,
				  struct sqloom_error *err)
{
	enum sqloom_status status = slm_trace_may_write(path, err);
	struct slm_record *record;

	if (!status)
		status = try_to_write(path, err);
	if (status)
		return status;
	record = slm_calloc(1, sizeof(*record));
	if (!record)
		return slm_error_nomem(err);
	slm_arena_init(&record->trace.arena);
	record->path = slm_strdup(path);
	if (!record->path) {
		slm_record_free(record);
		return slm_error_nomem(err);
	}
	*out = record;
	return SQLOOM_OK;
}

void slm_record_free(struct slm_record *record)
{
	if (!record)
		return;
	for (unsigned i = 0; i < record->nclients; i++) {
		assert(!record->clients[i].connection);
		slm_free(record->clients[i].steps);
		slm_free(record->clients[i].pending);
	}
	slm_free(record->events);
	slm_free(record->path);
	slm_arena_deinit(&record->trace.arena);
	slm_free(record);
}

static void note(struct slm_record *record, const char *fmt, uint64_t count)
	__attribute__((format(printf, 2, 0)));

/* fmt has one %llu. */
static void note(struct slm_record *record, const char *fmt, uint64_t count)
{
	const char *text;

	if (count == 0)
		return;
	text = slm_arena_printf(&record->trace.arena, fmt,
				(unsigned long long)count);
	if (text)
		record->notes[record->trace.nnotes++] = text;
	else
		record->nomem = true;
}

static void add_notes(struct slm_record *record)
{
	note(record,
	     "connections that were relayed and not recorded, because "
	     "a recording has room for 16: %llu",
	     record->unrecorded);
	note(record,
	     "statements that were relayed and not recorded, because "
	     "the recording was full: %llu",
	     record->lost);
	note(record,
	     "connections that were open when the recording ended: "
	     "%llu",
	     record->open_at_end);
	record->trace.notes = record->notes;
}

enum sqloom_status slm_record_write(struct slm_record *record,
				    struct sqloom_proxy_summary *summary,
				    struct sqloom_error *err)
{
	struct slm_trace *trace = &record->trace;

	assert(record->ended);
	add_notes(record);
	if (record->nomem)
		return slm_error_set(err, SQLOOM_NOMEM,
				     "memory was out while clients were "
				     "recorded, so %s is not written; record "
				     "less at a time",
				     record->path);
	for (unsigned i = 0; i < record->nclients; i++) {
		record->calls[i].steps = record->clients[i].steps;
		record->calls[i].nsteps = record->clients[i].nsteps;
	}
	record->finding = (struct slm_finding){
		.class = SLM_CLASS_SERIAL,
		.token = "",
		.schedule = "",
		.events = record->events,
		.nevents = record->nevents,
	};
	trace->kind = SLM_TRACE_RECORD;
	trace->spec = trace->strategy = trace->bounds = trace->options = "";
	trace->reason = "";
	trace->backend = record->backend;
	trace->calls = record->calls;
	trace->findings = &record->finding;
	trace->nfindings = 1;
	trace->verdict = SQLOOM_INCONCLUSIVE;
	summary->clients = record->nclients;
	summary->statements = record->statements;
	return slm_trace_write(trace, record->path, err);
}
