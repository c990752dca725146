/* SPDX-License-Identifier: Apache-2.0 */
/* The trace's header, made before the first run, and its verdict, made after
 * the last. */
#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "explore/explorer.h"
#include "sql/sql.h"

#define NOTES_MAX 32

bool slm_note(struct explorer *explorer, const char *fmt, ...)
{
	struct slm_arena *arena = &explorer->trace->arena;
	va_list args;
	char *text;

	if (!explorer->notes)
		explorer->notes = slm_arena_zalloc(arena, NOTES_MAX,
						   sizeof(*explorer->notes));
	if (!explorer->notes)
		return false;
	if (explorer->nnotes == NOTES_MAX)
		return true;
	va_start(args, fmt);
	text = slm_arena_vprintf(arena, fmt, args);
	va_end(args);
	for (uint32_t i = 0; text && i < explorer->nnotes; i++)
		if (strcmp(explorer->notes[i], text) == 0)
			return true;
	if (text)
		explorer->notes[explorer->nnotes++] = text;
	return text != NULL;
}

/* ---- Calls and steps --------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *trimmed(struct slm_arena *arena, const char *text)
{
	size_t size = strlen(text);

	while (size && is_blank(*text)) {
		text++;
		size--;
	}
	while (size && is_blank(text[size - 1]))
		size--;
	return slm_arena_strndup(arena, text, size);
}

static bool fill_step(struct explorer *explorer, unsigned call, unsigned number,
		      const struct slm_spec_step *spec,
		      struct slm_trace_step *out)
{
	struct slm_arena *arena = &explorer->trace->arena;
	struct slm_db_step_info info = slm_db_info(explorer->db, call, number);

	out->name = slm_arena_strdup(arena, spec->name);
	out->sql = trimmed(arena, spec->sql.text);
	out->reads = slm_arena_strdup(arena, info.reads ? info.reads : "");
	out->writes = slm_arena_strdup(arena, info.writes ? info.writes : "");
	out->fingerprint = slm_sql_fingerprint(spec->sql.text);
	if (spec->when.text)
		out->fingerprint ^=
			(uint16_t)(slm_sql_fingerprint(spec->when.text) * 31);
	return out->name && out->sql && out->reads && out->writes;
}

static bool fill_implicit(struct slm_arena *arena, const char *name,
			  const char *sql, struct slm_trace_step *out)
{
	*out = (struct slm_trace_step){
		.name = name,
		.sql = slm_arena_strdup(arena, sql),
		.reads = "",
		.writes = "",
		.fingerprint = slm_sql_fingerprint(sql),
		.implicit = true,
	};
	return out->sql != NULL;
}

/* The steps of the session, the ROLLBACK, the teardown if there is one; the
 * COMMIT of split statements where there may be some, behind a teardown that
 * may be empty. */
static bool fill_call(struct explorer *explorer, unsigned call,
		      struct slm_trace_call *out)
{
	const struct slm_spec_session *spec = &explorer->spec->sessions[call];
	const struct slm_spec_step teardown = { .name = "teardown",
						.sql = spec->teardown };
	struct slm_arena *arena = &explorer->trace->arena;
	struct slm_trace_step *steps =
		slm_arena_zalloc(arena, spec->nsteps + 3, sizeof(*steps));

	out->name = slm_arena_strdup(arena, spec->name);
	if (!steps || !out->name)
		return false;
	for (unsigned i = 0; i < spec->nsteps; i++)
		if (!fill_step(explorer, call, i, &spec->steps[i], &steps[i]))
			return false;
	out->steps = steps;
	out->nsteps = spec->nsteps + 1;
	if (!fill_implicit(arena, "rollback", "ROLLBACK",
			   &steps[SLM_STEP_ROLLBACK(spec->nsteps)]))
		return false;
	if (explorer->db->splits) {
		out->nsteps = spec->nsteps + 3;
		if (!fill_implicit(arena, "teardown", "",
				   &steps[SLM_STEP_TEARDOWN(spec->nsteps)]) ||
		    !fill_implicit(arena, "commit", "COMMIT",
				   &steps[SLM_STEP_COMMIT(spec->nsteps)]))
			return false;
	}
	if (!spec->teardown.text)
		return true;
	if (!explorer->db->splits)
		out->nsteps++;
	return fill_step(explorer, call, SLM_DB_TEARDOWN, &teardown,
			 &steps[SLM_STEP_TEARDOWN(spec->nsteps)]);
}

/* ---- Calls that are programs -------------------------------------------- */

static bool fill_program(struct explorer *explorer, unsigned call,
			 struct slm_trace_call *out)
{
	const struct slm_spec_session *spec = &explorer->spec->sessions[call];
	struct slm_arena *arena = &explorer->trace->arena;

	out->name = slm_arena_strdup(arena, spec->name);
	out->kind = spec->call == SLM_CALL_HTTP	    ? SLM_TRACE_HTTP :
		    spec->call == SLM_CALL_FUNCTION ? SLM_TRACE_FUNCTION :
						      SLM_TRACE_EXEC;
	/* There is no more to say of a function than its name. */
	out->text = out->kind == SLM_TRACE_FUNCTION ?
			    "" :
			    trimmed(arena, spec->text.text);
	out->steps = slm_arena_zalloc(arena, SLM_PROGRAM_STEPS_MAX,
				      sizeof(*out->steps));
	return out->name && out->text && out->steps;
}

static bool learn_step(struct explorer *explorer, unsigned call,
		       unsigned number, struct slm_trace_step *out)
{
	struct slm_arena *arena = &explorer->trace->arena;
	struct slm_db_step_info info = slm_db_info(explorer->db, call, number);

	if (info.implicit)
		return fill_implicit(arena, "commit", info.sql, out);
	out->name = slm_arena_printf(arena, "s%u", number + 1);
	out->sql = trimmed(arena, info.sql);
	out->reads = slm_arena_strdup(arena, info.reads);
	out->writes = slm_arena_strdup(arena, info.writes);
	out->fingerprint = slm_sql_fingerprint(info.sql);
	return out->name && out->sql && out->reads && out->writes;
}

enum sqloom_status slm_header_learn(struct explorer *explorer,
				    struct sqloom_error *err)
{
	struct slm_trace_call *calls =
		(struct slm_trace_call *)explorer->trace->calls;

	for (unsigned i = 0; i < explorer->trace->ncalls; i++) {
		struct slm_trace_step *steps =
			(struct slm_trace_step *)calls[i].steps;

		while (calls[i].nsteps < slm_db_nsteps(explorer->db, i)) {
			uint32_t n = calls[i].nsteps;

			if (!learn_step(explorer, i, n, &steps[n]))
				return slm_error_nomem(err);
			calls[i].nsteps = n + 1;
		}
	}
	return SQLOOM_OK;
}

uint16_t slm_steps_fingerprint(const struct slm_trace *trace)
{
	uint64_t digest = trace->ncalls;

	for (uint32_t i = 0; i < trace->ncalls; i++) {
		const struct slm_trace_call *call = &trace->calls[i];

		digest = slm_hash_mix(digest, slm_hash(call->name,
						       strlen(call->name), 0));
		/* A program's steps are known only as far as it went. */
		if (call->text)
			digest = slm_hash_mix(digest,
					      slm_hash(call->text,
						       strlen(call->text), 0));
		for (uint32_t j = 0; !call->text && j < call->nsteps; j++)
			digest = slm_hash_mix(digest,
					      call->steps[j].fingerprint);
	}
	return (uint16_t)(digest ^ (digest >> 16) ^ (digest >> 32) ^
			  (digest >> 48));
}

/* ---- The header -------------------------------------------------------- */

static const char *strategy_name(enum sqloom_strategy strategy)
{
	switch (strategy) {
	case SQLOOM_STRATEGY_AUTO:
		return "auto (exhaustive, fewest switches first)";
	case SQLOOM_STRATEGY_EXHAUSTIVE:
		return "exhaustive, fewest switches first";
	case SQLOOM_STRATEGY_RANDOM:
		return "random";
	case SQLOOM_STRATEGY_UNIFORM:
		return "uniform walk";
	case SQLOOM_STRATEGY_PCT:
		return "pct";
	}
	return "?";
}

static const char *bounds_of(struct explorer *explorer)
{
	const struct sqloom_options *options = explorer->options;

	if (options->max_preemptions < 0)
		return "none";
	return slm_arena_printf(&explorer->trace->arena,
				"at most %d voluntary switch%s",
				options->max_preemptions,
				options->max_preemptions == 1 ? "" : "es");
}

/* Quotes a value for the line to paste. */
static const char *quoted(struct slm_arena *arena, const char *text)
{
	const char *out = "'";

	for (; out && *text; text++)
		out = *text == '\'' ?
			      slm_arena_printf(arena, "%s'\\''", out) :
			      slm_arena_printf(arena, "%s%c", out, *text);
	return out ? slm_arena_printf(arena, "%s'", out) : NULL;
}

/* text and an option whose value is quoted; NULL: no memory, now or before. */
static const char *add_quoted(struct slm_arena *arena, const char *text,
			      const char *option, const char *value)
{
	const char *word = text && value ? quoted(arena, value) : NULL;

	return word ? slm_arena_printf(arena, "%s %s %s", text, option, word) :
		      NULL;
}

static const char *add_all(struct slm_arena *arena, const char *text,
			   const char *option, const char *const *values)
{
	for (; values && *values; values++)
		text = add_quoted(arena, text, option, *values);
	return text;
}

/* The options of this call that a replay needs to see the same. */
static const char *options_of(struct explorer *explorer)
{
	const struct sqloom_options *o = explorer->options;
	struct slm_arena *arena = &explorer->trace->arena;
	const char *text = "";

	if (o->source)
		text = slm_arena_printf(arena, " %s", o->source);
	if (explorer->spec->functions) /* the rest is in the program */
		return text;
	if (text && o->database)
		text = add_quoted(arena, text, "--db",
				  slm_database_shown(arena, o->database));
	if (text && o->pg_temp)
		text = slm_arena_printf(arena, "%s --pg-temp", text);
	if (text && o->any_database)
		text = slm_arena_printf(arena, "%s --any-database", text);
	if (text && o->isolation)
		text = add_quoted(arena, text, "--isolation", o->isolation);
	if (text && o->store == SQLOOM_STORE_FILE)
		text = slm_arena_printf(arena, "%s --store file", text);
	if (text && o->journal)
		text = slm_arena_printf(arena, "%s --journal %s", text,
					o->journal);
	if (text && o->busy_timeout_ms >= 0)
		text = slm_arena_printf(arena, "%s --busy-timeout %d", text,
					o->busy_timeout_ms);
	if (text && o->local_begin)
		text = slm_arena_printf(arena, "%s --local-begin", text);
	if (text && o->all_schedules)
		text = slm_arena_printf(arena, "%s --all-schedules", text);
	if (text && o->joint)
		text = slm_arena_printf(arena, "%s --joint", text);
	if (text && o->strict)
		text = slm_arena_printf(arena, "%s --strict", text);
	if (text && o->proxy_port)
		text = slm_arena_printf(arena, "%s --proxy-port %d", text,
					o->proxy_port);
	if (text && o->attribution)
		text = slm_arena_printf(arena, "%s --attribution %s", text,
					o->attribution);
	if (text && o->stall_after_ms)
		text = slm_arena_printf(arena, "%s --stall-after %llums", text,
					(unsigned long long)o->stall_after_ms);
	if (text && o->call_limit_ms)
		text = slm_arena_printf(arena, "%s --call-limit %llums", text,
					(unsigned long long)o->call_limit_ms);
	text = add_all(arena, text, "--background", o->background);
	text = add_all(arena, text, "--ignore", o->ignore);
	if (text && o->seed)
		text = slm_arena_printf(arena, "%s --seed %llu", text,
					(unsigned long long)o->seed);
	return text;
}

enum sqloom_status slm_header_fill(struct explorer *explorer,
				   enum slm_trace_kind kind,
				   struct sqloom_error *err)
{
	struct slm_trace *trace = explorer->trace;
	const struct sqloom_spec *spec = explorer->spec;
	struct slm_trace_call *calls = slm_arena_zalloc(
		&trace->arena, spec->nsessions, sizeof(*calls));

	if (!calls)
		return slm_error_nomem(err);
	for (unsigned i = 0; i < spec->nsessions; i++)
		if (!(spec->has_calls ? fill_program : fill_call)(explorer, i,
								  &calls[i]))
			return slm_error_nomem(err);
	trace->kind = kind;
	trace->spec = slm_arena_strdup(&trace->arena, spec->name);
	trace->backend = slm_arena_strdup(&trace->arena, explorer->db->backend);
	trace->strategy = kind == SLM_TRACE_REPLAY ?
				  "replay" :
			  slm_explorer_lines(explorer) ?
				  "permutation lines of the spec" :
				  strategy_name(explorer->options->strategy);
	trace->bounds = bounds_of(explorer);
	trace->options = options_of(explorer);
	trace->seed = explorer->options->seed;
	trace->calls = calls;
	trace->ncalls = spec->nsessions;
	trace->strict = explorer->settings.strict;
	trace->reason = "";
	return trace->spec && trace->backend && trace->bounds &&
			       trace->options ?
		       SQLOOM_OK :
		       slm_error_nomem(err);
}

/* ---- The verdict ------------------------------------------------------- */

/* A program that does not come to the proxy is not controlled. */
static bool note_silent(struct explorer *explorer)
{
	const struct slm_trace *trace = explorer->trace;
	unsigned silent = 0;

	/* What ended in the middle of its first run tells nothing. */
	if (!slm_db_arrives(explorer->db) ||
	    (explorer->reason && !explorer->runs))
		return true;
	for (uint32_t i = 0; i < trace->ncalls; i++) {
		if (trace->calls[i].nsteps)
			continue;
		silent++;
		if (!slm_note(
			    explorer,
			    explorer->spec->functions ?
				    "call \"%s\" never executed a statement "
				    "on the database that is explored: does "
				    "it connect to what "
				    "sqloom_call_database() gives, and did it "
				    "open the connection in this exploration?" :
				    "call \"%s\" never sent a statement "
				    "through the proxy: does it connect by "
				    "PGHOST and PGPORT, or by DATABASE_URL? "
				    "sqloom doctor --call tells",
			    trace->calls[i].name))
			return false;
	}
	if (silent == trace->ncalls && !explorer->reason)
		explorer->reason =
			explorer->spec->functions ?
				"no call used the database that is explored, "
				"see the notes" :
				"no call sent a statement through the proxy, "
				"see the notes";
	/* A function may have used it past us, which nobody could see. */
	if (silent && explorer->spec->functions && !explorer->reason)
		explorer->reason = "a call did not use the database that is "
				   "explored, see the notes";
	return true;
}

/* What the programs' driver has to say, and what a stall means. */
static bool note_programs(struct explorer *explorer)
{
	unsigned count;
	const char *const *notes =
		explorer->spec->baton ?
			slm_functions_notes(explorer->db, &count) :
			slm_programs_notes(explorer->db, &count);

	for (unsigned i = 0; i < count; i++)
		if (!slm_note(explorer, "%s", notes[i]))
			return false;
	return !explorer->stalled ||
	       slm_note(
		       explorer,
		       "in %llu of the runs a call waited for something that "
		       "is not the database (a lock inside of the program, a "
		       "sleep, another service; a server or a pool with fewer "
		       "workers or connections than calls): the others went on, and "
		       "these orders were run, as every serial one was, but "
		       "such a wait is not controlled. If it is a lock of one process, it does "
		       "not protect against a second process of the same "
		       "program",
		       (unsigned long long)explorer->stalled);
}

static enum sqloom_status give_notes(struct explorer *explorer,
				     struct sqloom_error *err)
{
	struct slm_trace *trace = explorer->trace;
	const char *const *theirs = NULL;
	const char **all;
	uint32_t ntheirs = 0;
	enum sqloom_status status = SQLOOM_OK;

	if (!note_silent(explorer) || !note_programs(explorer))
		return slm_error_nomem(err);
	if (explorer->oracle)
		status = slm_oracle_notes(explorer->oracle, &trace->arena,
					  &theirs, &ntheirs, err);
	if (status)
		return status;
	all = slm_arena_zalloc(&trace->arena, explorer->nnotes + ntheirs,
			       sizeof(*all));
	if (!all)
		return slm_error_nomem(err);
	if (explorer->nnotes)
		memcpy(all, explorer->notes, explorer->nnotes * sizeof(*all));
	if (ntheirs)
		memcpy(all + explorer->nnotes, theirs, ntheirs * sizeof(*all));
	trace->notes = all;
	trace->nnotes = explorer->nnotes + ntheirs;
	return SQLOOM_OK;
}

/* Serial runs, findings, notes, and what follows from them all. */
enum sqloom_status slm_header_finish(struct explorer *explorer,
				     struct sqloom_error *err)
{
	struct slm_trace *trace = explorer->trace;
	enum sqloom_status status;

	status = slm_oracle_serials(explorer->oracle, &trace->arena,
				    &trace->serials, &trace->nserials, err);
	if (!status)
		status = give_notes(explorer, err);
	if (status)
		return status;
	trace->findings = explorer->findings;
	trace->nfindings = explorer->nfindings;
	trace->explored = explorer->runs;
	if ((explorer->unstable || slm_oracle_unstable(explorer->oracle)) &&
	    !explorer->reason)
		explorer->reason = "two equal serial runs gave different "
				   "results, see the notes";
	if (!explorer->reason)
		explorer->reason = explorer->db->blind;
	if (explorer->stalled && (!explorer->reason || explorer->diverged))
		explorer->reason =
			"calls waited for something that is not the database, "
			"see the notes";
	trace->complete = !explorer->reason;
	if (explorer->by_chance && !explorer->reason)
		explorer->reason = "what went wrong did not go wrong again in "
				   "the same order, see the notes";
	/* on_error continue: whoever goes on after an error expects it. */
	if (!explorer->reason && explorer->settings.stop_on_error &&
	    slm_oracle_fails_always(explorer->oracle))
		explorer->reason = "a call fails in every serial run, see the "
				   "notes: mend it, or name the error by "
				   "option allow";
	if (trace->wrong && !explorer->by_chance)
		trace->verdict = SQLOOM_BROKEN;
	else
		trace->verdict = explorer->reason ? SQLOOM_INCONCLUSIVE :
						    SQLOOM_HOLDS;
	if (explorer->reason)
		trace->reason = explorer->reason;
	return SQLOOM_OK;
}
