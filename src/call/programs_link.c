/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of programs, and whose they are. All functions but the last
 * group are called by the relay and its dialogs from within the loop: they
 * only write down what they see, and slm_programs_turn() tells what went wrong.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "call/programs_internal.h"

#define CLEAN_MS 5000 /* for what is rolled back or ended by force */

void slm_programs_note(struct programs *programs, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = slm_arena_vprintf(&programs->arena, fmt, args);
	va_end(args);
	for (unsigned i = 0; text && i < programs->nnotes; i++)
		if (strcmp(programs->notes[i], text) == 0)
			return;
	if (text && programs->nnotes < NOTES_MAX)
		programs->notes[programs->nnotes++] = text;
}

/* ---- Texts ------------------------------------------------------------- */

static const struct slm_pg_step *read_text(void *userdata, const char *sql,
					   size_t size)
{
	struct programs *programs = ((struct link *)userdata)->owner;
	uint64_t hash = slm_hash(sql, size, 0);
	struct text **place = &programs->texts[hash % TEXTS_MAX];
	struct text *text;
	char *copy;

	for (text = *place; text; text = text->chain)
		if (text->hash == hash && text->size == size)
			return &text->parsed;
	text = slm_arena_zalloc(&programs->parsed, 1, sizeof(*text));
	copy = slm_arena_strndup(&programs->parsed, sql, size);
	if (!text || !copy ||
	    slm_pg_step_read(copy, &programs->parsed, &text->parsed, NULL))
		return &programs->unread;
	text->hash = hash;
	text->size = size;
	text->chain = *place;
	*place = text;
	programs->ntexts++;
	return &text->parsed;
}

void slm_links_forget_texts(struct programs *programs)
{
	if (programs->ntexts < TEXTS_MAX)
		return;
	for (struct link *link = programs->links; link; link = link->next)
		if (slm_dialog_step(link->dialog))
			return;
	memset(programs->texts, 0, TEXTS_MAX * sizeof(*programs->texts));
	slm_arena_clear(&programs->parsed);
	programs->ntexts = 0;
}

/* ---- Whose a connection is ---------------------------------------------- */

static bool is_background(const struct programs *programs, const char *name)
{
	const char *const *rule = programs->options.background;

	for (; rule && *rule; rule++)
		if (strcmp(*rule, name) == 0)
			return true;
	return false;
}

/* The call that has this door for itself; -1: none. */
static int by_port(const struct programs *programs, int port)
{
	for (unsigned i = 0; i < programs->ncalls; i++)
		if (programs->calls[i].own_port &&
		    programs->calls[i].port == port)
			return (int)i;
	return -1;
}

static int by_name(const struct programs *programs, const char *name)
{
	for (unsigned i = 0; i < programs->ncalls; i++)
		if (strcmp(programs->spec->sessions[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* Whose a new connection is. */
static void find_owner(struct programs *programs, struct link *link)
{
	int port = slm_relay_connection_port(link->connection);

	link->out.call = -1;
	link->settled = true;
	if (link->background)
		return;
	if (programs->options.attribution == SLM_ATTRIBUTION_NAME) {
		link->out.call = by_name(programs, link->name);
		return;
	}
	link->out.call = by_port(programs, port);
	link->settled = link->out.call >= 0 ||
			programs->options.attribution == SLM_ATTRIBUTION_PORT;
	if (!link->settled && programs->controlling)
		link->out.call = programs->running;
}

/* Takes part in this run, was started, and is not over. */
static bool is_at_work(const struct programs *programs, int call)
{
	return call >= 0 && programs->calls[call].started &&
	       !programs->calls[call].over;
}

/* Has waited, and goes on beside the call that runs. */
static bool goes_on(const struct programs *programs, int call)
{
	const struct link *at =
		is_at_work(programs, call) ? programs->calls[call].at : NULL;

	return at && at->done && programs->calls[call].blocked;
}

/* An idle connection belongs to whoever uses it next: the call that runs, or
 * the one that opened it and goes on. */
static void attribute(struct link *link, const struct slm_dialog_step *step)
{
	struct programs *programs = link->owner;
	bool idle = step->status == 'I' && !step->in_split;

	if (link->settled || (link->fresh && goes_on(programs, link->out.call)))
		return;
	if (idle && programs->running >= 0)
		link->out.call = programs->running;
	else if (!is_at_work(programs, link->out.call))
		link->out.call = programs->running;
}

/* Traffic while no call is at work, or of a connection that is no call's. */
static void note_stray(struct link *link, const struct slm_dialog_step *step)
{
	if (link->background || link->owner->controlling == false)
		return;
	slm_programs_note(link->owner,
			  "a connection that is no call's (application_name "
			  "\"%s\") sent \"%.60s\" during a run: it was let "
			  "through; if it is known, name it with --background "
			  "\"%s\"",
			  link->name, step->sql, link->name);
}

/* ---- What a dialog tells ------------------------------------------------ */

static void to_server(void *userdata, const void *bytes, size_t size)
{
	slm_relay_to_server(((struct link *)userdata)->connection, bytes, size);
}

static void to_client(void *userdata, const void *bytes, size_t size)
{
	slm_relay_to_client(((struct link *)userdata)->connection, bytes, size);
}

static void fail(struct programs *programs, enum sqloom_status status,
		 const struct sqloom_error *err)
{
	if (programs->status)
		return;
	programs->status = status;
	programs->err = *err;
}

static bool is_idle(const struct link *link)
{
	return link->open && slm_dialog_is_idle(link->dialog) &&
	       slm_dialog_status(link->dialog) == 'I';
}

/* A connection that was there before is used beside another one of the call.
 * One of them may be that of a timer or a worker inside of the application,
 * which comes at any time, so that no two runs are the same. */
static void note_second(const struct link *link)
{
	struct programs *programs = link->owner;
	const struct link *other = programs->links;
	int order;

	if (link->settled || link->fresh || programs->second_noted ||
	    programs->spec->sessions[link->out.call].call != SLM_CALL_HTTP)
		return;
	while (other && (other == link || other->out.call != link->out.call ||
			 is_idle(other)))
		other = other->next;
	if (!other)
		return;
	programs->second_noted = true;
	order = strcmp(link->name, other->name);
	slm_programs_note(
		programs,
		"a call uses two connections at the same time (application_name "
		"\"%s\" and \"%s\"): if one is that of a timer or a worker "
		"in the application, %sname it with --background, or its "
		"statements count as the call's",
		order < 0 ? link->name : other->name,
		order < 0 ? other->name : link->name,
		order ? "" : "give it a name of its own and ");
}

/* Of what no call sends only the text is known. */
static void see_taken(struct link *link, const struct slm_dialog_step *step)
{
	link->took_ever |= step->parsed && !step->parsed->touches_nothing &&
			   !slm_outside_gives_back(step->parsed);
}

/* A step is held until the runner asks for it; of nobody's connection it goes
 * on at once. */
static void arrived(void *userdata, const struct slm_dialog_step *step)
{
	struct link *link = userdata;
	struct programs *programs = link->owner;
	struct sqloom_error err;
	enum sqloom_status status;

	programs->marks++;
	if (!programs->controlling || link->background) {
		/* TRACK: it is gone already. */
		see_taken(link, step);
		return;
	}
	attribute(link, step);
	if (is_at_work(programs, link->out.call)) {
		note_second(link);
		link->held = true;
		return;
	}
	note_stray(link, step);
	see_taken(link, step);
	status = slm_dialog_grant(link->dialog, false, NULL, &err);
	if (status)
		fail(programs, status, &err);
}

static struct slm_arena *results(void *userdata)
{
	struct link *link = userdata;

	return link->owner->controlling ? link->owner->run : NULL;
}

/* Does what a step has locked stay locked? What had waited had locks meanwhile
 * that others may wait for. */
static bool kept_locks(const struct link *link, char status)
{
	return link->under_way && link->keeps && status == 'T' &&
	       link->out.call >= 0 &&
	       !link->owner->calls[link->out.call].blocked;
}

static void step_done(void *userdata, const struct slm_dialog_step *step,
		      const struct slm_result *result, char status)
{
	struct link *link = userdata;

	(void)step;
	link->owner->marks++;
	if (!kept_locks(link, status))
		slm_links_give_back(link->owner);
	if (!link->under_way)
		return;
	link->under_way = false;
	link->done = true;
	link->result = result;
}

static void idle(void *userdata, char status)
{
	struct link *link = userdata;

	link->owner->marks++;
	if (status != 'T')
		slm_links_give_back(link->owner);
	if (status == 'I')
		link->holds = false;
	if (link->open)
		return;
	link->open = true;
	link->out.pid = (int)slm_dialog_pid(link->dialog);
	if (link->owner->db && link->out.pid)
		slm_outside_pin(link->owner->db, link->out.pid);
}

static void injected(void *userdata, const char *error)
{
	struct link *link = userdata;

	(void)error;
	link->owner->marks++;
}

static const struct slm_dialog_ops dialog_ops = {
	.to_server = to_server,
	.to_client = to_client,
	.read = read_text,
	.arrived = arrived,
	.results = results,
	.done = step_done,
	.idle = idle,
	.injected = injected,
};

/* ---- What the relay tells ----------------------------------------------- */

/* As in PGOPTIONS="-c default_transaction_isolation=serializable". */
static bool wants_one_snapshot(const char *options)
{
	const char *level = strstr(options, "default_transaction_isolation");

	return level &&
	       (strstr(level, "repeatable") || strstr(level, "serializable"));
}

static struct slm_dialog *opened(void *userdata,
				 struct slm_relay_connection *connection,
				 const struct slm_wire_startup *startup)
{
	struct programs *programs = userdata;
	struct link *link = slm_calloc(1, sizeof(*link));
	struct sqloom_error err;

	if (!link) {
		slm_error_nomem(&err);
		fail(programs, SQLOOM_NOMEM, &err);
		return NULL;
	}
	programs->marks++;
	link->owner = programs;
	link->connection = connection;
	link->fresh = true;
	snprintf(link->name, sizeof(link->name), "%s",
		 startup->application_name);
	link->background = is_background(programs, link->name);
	find_owner(programs, link);
	if (slm_dialog_new(&dialog_ops, link, &link->dialog, &err)) {
		fail(programs, err.status, &err);
		slm_free(link);
		return NULL;
	}
	slm_dialog_set_mode(link->dialog,
			    programs->controlling && !link->background ?
				    SLM_DIALOG_HOLD :
				    SLM_DIALOG_TRACK);
	if (programs->repeatable || wants_one_snapshot(startup->options))
		slm_dialog_set_repeatable(link->dialog);
	link->next = programs->links;
	programs->links = link;
	slm_relay_set_data(connection, link);
	return link->dialog;
}

static void unlink_it(struct programs *programs, struct link *link)
{
	struct link **at = &programs->links;

	while (*at && *at != link)
		at = &(*at)->next;
	if (*at)
		*at = link->next;
}

/* Both sides are gone, and the server has let go of all locks. */
static void closed(void *userdata, struct slm_relay_connection *connection,
		   const char *why)
{
	struct programs *programs = userdata;
	struct link *link = slm_relay_data(connection);

	(void)why;
	if (!link)
		return;
	programs->marks++;
	slm_links_give_back(programs);
	unlink_it(programs, link);
	for (unsigned i = 0; i < programs->ncalls; i++) {
		if (programs->calls[i].at != link)
			continue;
		if (link->under_way || link->done) {
			/* Told by slm_programs_finish(), which frees it: the
			 * last word of a server that ends is a result, too. */
			link->under_way = false;
			link->done = true;
			link->lost = true;
			link->dialog = NULL;
			link->connection = NULL;
			return;
		}
		programs->calls[i].at = NULL;
	}
	slm_free(link);
}

static void log_line(void *userdata, const char *line)
{
	slm_programs_note(userdata, "the proxy: %s", line);
}

struct slm_relay_hooks slm_programs_hooks(void)
{
	return (struct slm_relay_hooks){ .open = opened,
					 .closed = closed,
					 .log = log_line };
}

/* ---- For the others ------------------------------------------------------ */

bool slm_link_is_own(const struct link *link)
{
	const struct slm_dialog_step *step = slm_dialog_step(link->dialog);
	const struct slm_outside_statement *known = link->statement;
	const struct slm_outside_statement *query = link->query;
	bool idle = step->status == 'I' && !step->in_split;
	bool has_nothing = !link->took && !link->took_ever;

	if (!known)
		return false;
	/* A later snapshot changes nothing, or is of this statement only. */
	if (known->local || (known->local_idle && step->snapshot))
		return true;
	/* The parts of a Query share a snapshot, if there is one. */
	if (!query && idle)
		query = known;
	return query &&
	       (query->local_idle || (query->gives_back && has_nothing));
}

void slm_links_give_back(struct programs *programs)
{
	for (unsigned i = 0; i < programs->ncalls; i++)
		programs->calls[i].stale = true;
}

enum sqloom_status slm_links_see_levels(struct programs *programs,
					struct sqloom_error *err)
{
	enum sqloom_status status = slm_outside_repeatable(
		programs->db, &programs->repeatable, err);

	/* What was opened before may have got the level in the meantime. */
	for (struct link *link = programs->links;
	     !status && programs->repeatable && link; link = link->next)
		if (link->connection)
			slm_dialog_set_repeatable(link->dialog);
	return status;
}

void slm_links_control(struct programs *programs, bool control)
{
	struct link *next;

	programs->controlling = control;
	for (struct link *link = programs->links; link; link = next) {
		next = link->next;
		if (!link->connection || link->background)
			continue;
		slm_dialog_set_mode(link->dialog, control ? SLM_DIALOG_HOLD :
							    SLM_DIALOG_TRACK);
		if (!link->settled)
			link->out.call = -1;
		link->fresh = false;
		link->way = 0;
		link->stateful = link->took = false;
		if (!link->held)
			continue;
		/* The run was cut off: its contents are no longer watched, so
		 * nothing of it may change them. */
		link->held = false;
		slm_relay_end(link->connection,
			      "sqloom: the run is over; the statement was not "
			      "sent");
	}
}

/* Threads come in any order, but what each of them sends is the same: the text
 * decides, then what was sent before. */
static bool goes_first(const struct link *a, const struct link *b)
{
	const struct slm_dialog_step *x = slm_dialog_step(a->dialog);
	const struct slm_dialog_step *y = slm_dialog_step(b->dialog);
	int order = strcmp(x->sql, y->sql);

	if (!order)
		order = strcmp(x->params, y->params);
	return order ? order < 0 : a->way < b->way;
}

struct link *slm_links_held(struct programs *programs, unsigned call)
{
	struct link *first = NULL;

	for (struct link *link = programs->links; link; link = link->next)
		if (link->held && link->out.call == (int)call &&
		    (!first || goes_first(link, first)))
			first = link;
	return first;
}

bool slm_links_several(struct programs *programs, unsigned call)
{
	unsigned count = 0;

	for (struct link *link = programs->links; link; link = link->next)
		count += link->out.call == (int)call && !is_idle(link);
	return count > 1;
}

bool slm_links_busy(struct programs *programs, unsigned call)
{
	for (struct link *link = programs->links; link; link = link->next)
		if (link->out.call == (int)call && !is_idle(link))
			return true;
	return false;
}

bool slm_links_ending(struct programs *programs, unsigned call)
{
	for (struct link *link = programs->links; link; link = link->next)
		if (link->out.call == (int)call &&
		    slm_relay_is_ending(link->connection))
			return true;
	return false;
}

bool slm_links_any(struct programs *programs, unsigned call)
{
	for (struct link *link = programs->links; link; link = link->next)
		if (link->out.call == (int)call)
			return true;
	return false;
}

/* One step towards an idle connection outside of a transaction; true: it is
 * there. */
static bool clean(struct programs *programs, struct link *link)
{
	char status = slm_dialog_status(link->dialog);

	if (link->background || !link->open)
		return true;
	if (!slm_dialog_is_idle(link->dialog))
		return false;
	if (status != 'T' && status != 'E')
		return true;
	if (slm_dialog_inject(link->dialog, "ROLLBACK")) {
		slm_relay_go_on(link->connection);
		slm_outside_forget(&link->out);
		slm_programs_note(
			programs,
			"a transaction was left open when all calls were over "
			"(application_name \"%s\"): it was rolled back",
			link->name);
	}
	return false;
}

static bool all_clean(struct programs *programs)
{
	bool all = true;

	for (struct link *link = programs->links; link; link = link->next)
		all &= clean(programs, link);
	return all;
}

/* Ends the server's sessions that are still in the middle of something. */
static enum sqloom_status end_the_rest(struct programs *programs,
				       struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	for (struct link *link = programs->links; !status && link;
	     link = link->next) {
		if (clean(programs, link))
			continue;
		slm_programs_note(programs,
				  "a statement that still ran when all calls "
				  "were over was ended by force "
				  "(application_name \"%s\")",
				  link->name);
		if (link->out.pid)
			status = slm_outside_terminate(programs->db,
						       &link->out.pid, 1, err);
		slm_relay_end(link->connection,
			      "sqloom: the run is over; the statement still "
			      "ran");
	}
	return status;
}

enum sqloom_status slm_links_clean(struct programs *programs,
				   struct sqloom_error *err)
{
	uint64_t began_ns = slm_clock_ns();
	enum sqloom_status status = SQLOOM_OK;
	bool forced = false;

	while (!status && !all_clean(programs)) {
		uint64_t ms = (slm_clock_ns() - began_ns) / 1000000;

		status = slm_programs_turn(programs, true, err);
		if (!status && !forced && ms > CLEAN_MS / 10) {
			status = end_the_rest(programs, err);
			forced = true;
		}
		if (!status && ms > CLEAN_MS)
			return slm_error_set(
				err, SQLOOM_DATABASE,
				"a connection of a program could not be brought "
				"out of its transaction in %d seconds: end the "
				"program, and start again",
				CLEAN_MS / 1000);
	}
	return status;
}
