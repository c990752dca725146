/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outcomes seen and findings. A run is looked at closely only when its key
 * (results of the calls, image of the database) is new: then its contents are
 * read and judged. All other runs cost a look-up.
 */
#include <assert.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "explore/explorer.h"
#include "explore/workers.h"
#include "trace/token.h"

/* ---- Outcomes seen ----------------------------------------------------- */

void slm_outcomes_clear(struct outcomes *outcomes)
{
	slm_free(outcomes->places);
	memset(outcomes, 0, sizeof(*outcomes));
}

static struct seen *place_of(const struct outcomes *outcomes, uint64_t key)
{
	uint32_t at = (uint32_t)key & (outcomes->capacity - 1);

	while (outcomes->places[at].key && outcomes->places[at].key != key)
		at = (at + 1) & (outcomes->capacity - 1);
	return &outcomes->places[at];
}

static const struct seen *look_up(const struct outcomes *outcomes, uint64_t key)
{
	const struct seen *seen;

	if (!key || !outcomes->capacity)
		return NULL;
	seen = place_of(outcomes, key);
	return seen->key ? seen : NULL;
}

static bool grow(struct outcomes *outcomes)
{
	struct outcomes grown = {
		.capacity = outcomes->capacity ? outcomes->capacity * 2 : 256,
		.used = outcomes->used,
	};

	grown.places = slm_calloc(grown.capacity, sizeof(*grown.places));
	if (!grown.places)
		return false;
	for (uint32_t i = 0; i < outcomes->capacity; i++)
		if (outcomes->places[i].key)
			*place_of(&grown, outcomes->places[i].key) =
				outcomes->places[i];
	slm_free(outcomes->places);
	*outcomes = grown;
	return true;
}

/* Remembers; over the limit runs are looked at one by one. */
static bool remember(struct outcomes *outcomes, const struct seen *seen)
{
	if (!seen->key || outcomes->used >= OUTCOMES_MAX)
		return true;
	if (outcomes->used * 2 >= outcomes->capacity && !grow(outcomes))
		return false;
	*place_of(outcomes, seen->key) = *seen;
	outcomes->used++;
	return true;
}

uint64_t slm_findings_key(const struct slm_runner *runner)
{
	uint64_t image = slm_db_image(runner->db);
	uint64_t key;

	if (!image)
		return 0;
	key = slm_hash_mix(runner->digest, image);
	return key ? key : 1;
}

bool slm_findings_know(const struct explorer *explorer, uint64_t key)
{
	return look_up(&explorer->outcomes, key) != NULL;
}

/* ---- Judging ----------------------------------------------------------- */

bool slm_findings_breaks(const struct explorer *explorer, enum slm_class class)
{
	return class <= SLM_CLASS_ERROR ||
	       (class == SLM_CLASS_RETRY && explorer->settings.strict);
}

enum sqloom_status slm_findings_describe(struct slm_runner *runner,
					 struct slm_run *out,
					 struct sqloom_error *err)
{
	struct slm_contents *contents =
		slm_arena_zalloc(&runner->arena, 1, sizeof(*contents));
	enum sqloom_status status;

	if (!contents)
		return slm_error_nomem(err);
	*out = (struct slm_run){ .members = runner->members,
				 .events = runner->events,
				 .nevents = runner->nevents,
				 .contents = contents };
	status = slm_db_contents(runner->db, contents, err);
	if (status)
		return status;
	return slm_db_checks(runner->db, &out->checks, &out->nchecks, err);
}

/* Is the run wrong, perhaps, only because the programs look at a clock of whole
 * seconds, and the serial runs were made in another one? */
static bool may_be_the_clock(const struct explorer *explorer,
			     enum slm_class class)
{
	return !explorer->across && slm_findings_breaks(explorer, class) &&
	       slm_db_arrives(explorer->db) && explorer->serial_s != time(NULL);
}

static enum sqloom_status judge_again(struct explorer *explorer,
				      const struct slm_run *run,
				      struct slm_judgement *out,
				      struct sqloom_error *err)
{
	enum sqloom_status status = slm_serial_across(explorer, err);

	explorer->across = true;
	return status ? status :
			slm_oracle_judge(explorer->oracle, run, out, err);
}

enum sqloom_status slm_findings_judge(struct explorer *explorer,
				      const struct slm_run *run,
				      struct slm_judgement *out,
				      struct sqloom_error *err)
{
	uint32_t survivors = slm_oracle_survivors(explorer->oracle, run);
	uint32_t undone = slm_oracle_undone(explorer->oracle, run);
	enum sqloom_status status = SQLOOM_OK;

	if (slm_oracle_lacks(explorer->oracle, survivors))
		status = slm_serial_all(explorer, survivors, err);
	if (!status && slm_oracle_lacks(explorer->oracle, undone))
		status = slm_serial_all(explorer, undone, err);
	if (!status)
		status = slm_oracle_judge(explorer->oracle, run, out, err);
	if (!status && may_be_the_clock(explorer, out->class))
		status = judge_again(explorer, run, out, err);
	return status;
}

/* ---- Copying a run into the trace -------------------------------------- */

static const char *copy_text(struct slm_arena *arena, const char *text)
{
	return text ? slm_arena_strdup(arena, text) : NULL;
}

/* Rows beyond the limits of a trace are left out, texts are cut. */
static bool copy_rows(struct slm_arena *arena, const struct slm_rows *rows,
		      struct slm_rows *out)
{
	uint32_t kept = rows->nkept < SLM_TRACE_ROWS_MAX ? rows->nkept :
							   SLM_TRACE_ROWS_MAX;
	size_t n = (size_t)kept * rows->ncolumns;
	const char **columns =
		slm_arena_zalloc(arena, rows->ncolumns, sizeof(*columns));
	struct slm_value *values = slm_arena_zalloc(arena, n, sizeof(*values));

	if (!columns || !values)
		return false;
	for (uint32_t i = 0; i < rows->ncolumns; i++)
		if (!(columns[i] = copy_text(arena, rows->columns[i])))
			return false;
	for (size_t i = 0; i < n; i++) {
		values[i] = rows->values[i];
		if (values[i].kind != SLM_TEXT && values[i].kind != SLM_BLOB &&
		    values[i].kind != SLM_KEY)
			continue;
		if (values[i].size > SLM_TRACE_VALUE_MAX)
			values[i].size = SLM_TRACE_VALUE_MAX;
		values[i].text = slm_arena_strndup(arena, rows->values[i].text,
						   values[i].size);
		if (!values[i].text)
			return false;
	}
	*out = (struct slm_rows){ .ncolumns = rows->ncolumns,
				  .nkept = kept,
				  .nrows = rows->nrows,
				  .columns = columns,
				  .values = values };
	return true;
}

static const struct slm_result *copy_results(struct slm_arena *arena,
					     const struct slm_result *from,
					     bool *failed)
{
	struct slm_result *first = NULL, **link = &first;

	for (; from; from = from->next) {
		struct slm_result *result =
			slm_arena_alloc(arena, sizeof(*result));

		if (!result || !copy_rows(arena, &from->rows, &result->rows)) {
			*failed = true;
			return NULL;
		}
		result->next = NULL;
		result->changes = from->changes;
		result->error = from->error;
		result->digest = from->digest;
		result->code = copy_text(arena, from->code);
		result->message = copy_text(arena, from->message);
		if ((from->code && !result->code) ||
		    (from->message && !result->message))
			*failed = true;
		*link = result;
		link = (struct slm_result **)&result->next;
	}
	return first;
}

static const struct slm_event *copy_events(struct slm_arena *arena,
					   const struct slm_event *from,
					   uint32_t count)
{
	struct slm_event *events =
		slm_arena_alloc(arena, count * sizeof(*events));
	bool failed = !events;

	for (uint32_t i = 0; !failed && i < count; i++) {
		events[i] = from[i];
		events[i].what = copy_text(arena, from[i].what);
		events[i].params = copy_text(arena, from[i].params);
		if ((from[i].what && !events[i].what) ||
		    (from[i].params && !events[i].params))
			failed = true;
		events[i].result = copy_results(arena, from[i].result, &failed);
	}
	return failed ? NULL : events;
}

/* ---- Findings ---------------------------------------------------------- */

static bool give_token(struct explorer *explorer, struct slm_finding *out)
{
	const struct slm_runner *main = &explorer->main;
	struct slm_arena *arena = &explorer->trace->arena;
	char *letters = slm_arena_alloc(arena, main->nletters + 1);
	uint16_t *steps =
		slm_arena_alloc(arena, (main->nletters + 1) * sizeof(*steps));
	struct slm_token token;

	if (!letters || !steps)
		return false;
	for (uint32_t i = 0; i < main->nletters; i++) {
		const struct slm_trace_call *call =
			&explorer->trace->calls[main->schedule[i]];

		letters[i] = (char)('a' + main->schedule[i]);
		steps[i] = call->steps[main->taken[i]].fingerprint &
			   SLM_TOKEN_STEP_MASK;
	}
	letters[main->nletters] = '\0';
	token = (struct slm_token){
		.schedule = letters,
		.length = main->nletters,
		.fingerprint = slm_steps_fingerprint(explorer->trace),
		.steps = steps,
	};
	out->schedule = letters;
	out->token = slm_token_format(arena, &token);
	return out->token != NULL;
}

enum sqloom_status slm_findings_tell(struct explorer *explorer,
				     const struct slm_run *run,
				     struct slm_finding *out,
				     struct sqloom_error *err)
{
	struct slm_arena *arena = &explorer->trace->arena;
	struct slm_finding finding = { 0 };
	enum sqloom_status status;

	status =
		slm_oracle_explain(explorer->oracle, run, arena, &finding, err);
	if (status)
		return status;
	finding.switches = explorer->main.switches;
	finding.count = 1;
	finding.nevents = run->nevents;
	finding.events = copy_events(arena, run->events, run->nevents);
	if (finding.events)
		slm_oracle_mask_events(explorer->oracle,
				       (struct slm_event *)finding.events,
				       finding.nevents);
	if (!finding.events || !give_token(explorer, &finding))
		return slm_error_nomem(err);
	*out = finding;
	return SQLOOM_OK;
}

/* The finding of this outcome, made if it is new and there is room. */
static enum sqloom_status keep(struct explorer *explorer,
			       const struct slm_run *run, struct seen *seen,
			       struct sqloom_error *err)
{
	enum sqloom_status status;
	uint32_t n = explorer->nfindings;

	for (uint32_t i = 0; i < n; i++)
		if (explorer->finding_outcome[i] == seen->outcome) {
			explorer->findings[i].count++;
			seen->finding = (uint8_t)(i + 1);
			return SQLOOM_OK;
		}
	if (n == FINDINGS_MAX) {
		explorer->findings_left_out = true;
		return SQLOOM_OK;
	}
	status = slm_findings_tell(explorer, run, &explorer->findings[n], err);
	if (status)
		return status;
	explorer->finding_outcome[n] = seen->outcome;
	explorer->finding_plan[n] = explorer->plan;
	explorer->nfindings = n + 1;
	seen->finding = (uint8_t)(n + 1);
	return SQLOOM_OK;
}

static void count_class(struct explorer *explorer, enum slm_class class)
{
	explorer->trace->by_class[class]++;
	if (slm_findings_breaks(explorer, class))
		explorer->trace->wrong++;
}

/* Counts a run whose key is known; false: it is not. */
static bool add_known(struct explorer *explorer, uint64_t key)
{
	const struct seen *known = look_up(&explorer->outcomes, key);

	if (!known)
		return false;
	if (known->finding)
		explorer->findings[known->finding - 1].count++;
	count_class(explorer, known->class);
	explorer->joint += known->joint;
	return true;
}

static enum sqloom_status add_new(struct explorer *explorer, uint64_t key,
				  const struct slm_run *run,
				  struct sqloom_error *err)
{
	struct seen seen = { .key = key };
	struct slm_judgement judgement;
	enum sqloom_status status =
		slm_findings_judge(explorer, run, &judgement, err);

	if (status)
		return status;
	seen.class = (uint8_t)judgement.class;
	seen.outcome = judgement.outcome;
	seen.joint = judgement.joint;
	explorer->joint += judgement.joint;
	count_class(explorer, judgement.class);
	if (judgement.class <= SLM_CLASS_RETRY)
		status = keep(explorer, run, &seen, err);
	if (status)
		return status;
	slm_workers_lock(explorer->workers);
	if (!remember(&explorer->outcomes, &seen))
		status = slm_error_nomem(err);
	slm_workers_unlock(explorer->workers);
	return status;
}

enum sqloom_status slm_findings_try(struct explorer *explorer, uint32_t members,
				    struct slm_director *director,
				    struct slm_run *run,
				    struct slm_judgement *judgement,
				    struct sqloom_error *err)
{
	enum sqloom_status status = slm_explorer_make(
		explorer, &explorer->main, members, 0, director, err);

	if (!status)
		status = slm_findings_describe(&explorer->main, run, err);
	if (!status)
		status = slm_findings_judge(explorer, run, judgement, err);
	if (!status)
		explorer->trace->reruns++;
	return status;
}

enum sqloom_status slm_findings_add(struct explorer *explorer,
				    struct sqloom_error *err)
{
	uint64_t key = slm_findings_key(&explorer->main);
	struct slm_run run;
	enum sqloom_status status;

	if (add_known(explorer, key))
		return SQLOOM_OK;
	status = slm_findings_describe(&explorer->main, &run, err);
	return status ? status : add_new(explorer, key, &run, err);
}

enum sqloom_status slm_findings_add_made(struct explorer *explorer,
					 uint64_t key,
					 const struct slm_run *run,
					 struct sqloom_error *err)
{
	if (add_known(explorer, key))
		return SQLOOM_OK;
	assert(run);
	return add_new(explorer, key, run, err);
}

/* ---- Order ------------------------------------------------------------- */

static bool before(const struct slm_finding *a, const struct slm_finding *b)
{
	if (a->class != b->class)
		return a->class < b->class;
	return a->switches < b->switches;
}

/* Worst first, then fewest switches, then first found: insertion sort, which
 * is stable. The look-up by index is no longer valid afterwards. */
void slm_findings_sort(struct explorer *explorer)
{
	struct slm_finding *list = explorer->findings;

	for (uint32_t i = 1; i < explorer->nfindings; i++) {
		struct slm_finding moving = list[i];
		const struct plan *plan = explorer->finding_plan[i];
		uint32_t at = i;

		for (; at > 0 && before(&moving, &list[at - 1]); at--) {
			list[at] = list[at - 1];
			explorer->finding_plan[at] =
				explorer->finding_plan[at - 1];
		}
		list[at] = moving;
		explorer->finding_plan[at] = plan;
	}
	slm_outcomes_clear(&explorer->outcomes);
}
