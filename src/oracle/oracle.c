/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle as an object: the serial runs it was given, what they have in
 * common, and the masks. Copies of the runs are kept, because a new mask
 * changes what is compared of all of them.
 *
 * Invariant: digests of kept runs are those under the present masks.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "oracle/internal.h"
#include "oracle/statement.h"

bool slm_oracle_grow(void *array, uint32_t count, uint32_t *room, size_t size)
{
	uint32_t want = *room ? *room * 2 : 8;
	void *old, *grown;

	if (count < *room)
		return true;
	/* array points to a pointer of some type. */
	memcpy(&old, array, sizeof(old));
	grown = slm_reallocarray(old, want, size);
	if (!grown)
		return false;
	memcpy(array, &grown, sizeof(grown));
	*room = want;
	return true;
}

static bool number_steps(struct slm_oracle *oracle)
{
	const struct slm_oracle_config *config = &oracle->config;
	uint32_t total = 0;

	for (uint32_t call = 0; call < config->ncalls; call++) {
		oracle->first_step[call] = total;
		if (!slm_given_is_program(oracle, call))
			total += config->calls[call].nsteps;
	}
	oracle->first_step[config->ncalls] = total;
	oracle->control = slm_calloc(total, sizeof(*oracle->control));
	oracle->ordered = slm_calloc(total, sizeof(*oracle->ordered));
	if (!oracle->control || !oracle->ordered)
		return false;
	for (uint32_t call = 0; call < config->ncalls; call++)
		for (uint32_t i = 0; i < oracle->first_step[call + 1] -
						 oracle->first_step[call];
		     i++) {
			const char *sql = config->calls[call].steps[i].sql;
			uint32_t at = oracle->first_step[call] + i;

			oracle->control[at] = slm_statement_is_control(sql);
			oracle->ordered[at] = slm_statement_ordered(sql);
		}
	return true;
}

enum sqloom_status slm_oracle_new(const struct slm_oracle_config *config,
				  struct slm_oracle **out,
				  struct sqloom_error *err)
{
	struct slm_oracle *oracle;

	assert(config->ncalls <= SLM_CALLS_MAX);
	oracle = slm_calloc(1, sizeof(*oracle));
	if (!oracle)
		return slm_error_nomem(err);
	oracle->config = *config;
	slm_arena_init(&oracle->keep);
	slm_arena_init(&oracle->scratch);
	if (!number_steps(oracle)) {
		slm_oracle_free(oracle);
		return slm_error_nomem(err);
	}
	*out = oracle;
	return SQLOOM_OK;
}

void slm_oracle_free(struct slm_oracle *oracle)
{
	if (!oracle)
		return;
	for (uint32_t i = 0; i < oracle->ngroups; i++)
		slm_free(oracle->groups[i].variable);
	slm_free(oracle->groups);
	slm_free(oracle->serials);
	slm_free(oracle->control);
	slm_free(oracle->ordered);
	slm_free(oracle->column_masks);
	slm_free(oracle->result_masks);
	slm_free(oracle->given_masks);
	slm_free(oracle->given_keys);
	slm_free(oracle->notes);
	slm_arena_deinit(&oracle->keep);
	slm_arena_deinit(&oracle->scratch);
	slm_free(oracle);
}

bool slm_oracle_view(const struct slm_oracle *oracle, const struct slm_run *run,
		     struct slm_arena *arena, struct slm_view *out)
{
	out->run = run;
	if (!slm_results_make(oracle, run, arena, &out->results) ||
	    !slm_canonical_make(oracle, run->contents, arena, &out->contents))
		return false;
	slm_results_digest(oracle, &out->results, &out->contents);
	return true;
}

const struct slm_group *slm_oracle_group(const struct slm_oracle *oracle,
					 uint32_t members)
{
	for (uint32_t i = 0; i < oracle->ngroups; i++)
		if (oracle->groups[i].members == members)
			return &oracle->groups[i];
	return NULL;
}

/* ---- Serial runs ------------------------------------------------------ */

static bool add_group(struct slm_oracle *oracle, uint32_t members)
{
	struct slm_group group = { .members = members };

	if (slm_oracle_group(oracle, members))
		return true;
	if (!slm_oracle_grow(&oracle->groups, oracle->ngroups,
			     &oracle->groups_room, sizeof(group)))
		return false;
	group.variable = slm_calloc(oracle->first_step[oracle->config.ncalls],
				    sizeof(*group.variable));
	if (!group.variable)
		return false;
	oracle->groups[oracle->ngroups++] = group;
	return true;
}

static bool copy_serial(struct slm_oracle *oracle, const char *order,
			const struct slm_run *run, struct slm_serial *out)
{
	memset(out, 0, sizeof(*out));
	out->order = slm_arena_strdup(&oracle->keep, order);
	return out->order && slm_copy_run(&oracle->keep, run, &out->run) &&
	       slm_results_make(oracle, &out->run, &oracle->keep,
				&out->results) &&
	       slm_oracle_grow(&oracle->serials, oracle->nserials,
			       &oracle->serials_room, sizeof(*out));
}

/* Digests serial runs again, from the given one on. */
static bool digest_serials(struct slm_oracle *oracle, uint32_t from)
{
	for (uint32_t i = from; i < oracle->nserials; i++) {
		struct slm_serial *serial = &oracle->serials[i];
		struct slm_canonical contents;

		slm_arena_clear(&oracle->scratch);
		if (!slm_canonical_make(oracle, serial->run.contents,
					&oracle->scratch, &contents))
			return false;
		serial->contents = contents.digest;
		slm_results_digest(oracle, &serial->results, &contents);
	}
	for (uint32_t i = 0; i < oracle->ngroups; i++)
		if (from == 0 || oracle->groups[i].members ==
					 oracle->serials[from].run.members)
			slm_judge_group(oracle, &oracle->groups[i]);
	return true;
}

enum sqloom_status slm_oracle_add_serial(struct slm_oracle *oracle,
					 const char *order,
					 const struct slm_run *first,
					 const struct slm_run *again,
					 bool *remasked,
					 struct sqloom_error *err)
{
	struct slm_serial serial;
	bool grown = false;

	slm_arena_clear(&oracle->scratch);
	if (!slm_masks_learn(oracle, order, first, again, &grown) ||
	    !add_group(oracle, first->members) ||
	    !copy_serial(oracle, order, first, &serial))
		return slm_error_nomem(err);
	oracle->serials[oracle->nserials++] = serial;
	if (!digest_serials(oracle, grown ? 0 : oracle->nserials - 1))
		return slm_error_nomem(err);
	if (remasked)
		*remasked = grown;
	return SQLOOM_OK;
}

enum sqloom_status slm_oracle_compare_serial(struct slm_oracle *oracle,
					     const char *order,
					     const struct slm_run *first,
					     const struct slm_run *again,
					     bool *remasked,
					     struct sqloom_error *err)
{
	bool grown = false;

	slm_arena_clear(&oracle->scratch);
	if (!slm_masks_learn(oracle, order, first, again, &grown) ||
	    (grown && !digest_serials(oracle, 0)))
		return slm_error_nomem(err);
	if (remasked)
		*remasked = grown;
	return SQLOOM_OK;
}

bool slm_oracle_unstable(const struct slm_oracle *oracle)
{
	return oracle->unstable;
}

bool slm_oracle_lacks(const struct slm_oracle *oracle, uint32_t members)
{
	for (uint32_t i = 0; i < oracle->nserials; i++)
		if (oracle->serials[i].run.members == members)
			return false;
	return true;
}

/* ---- Judging ---------------------------------------------------------- */

/* What became of one call, from the events alone: nothing is allocated. */
struct fate {
	bool ended, ok, error, abort;
};

static void follow(struct fate *fate, const struct slm_event *event)
{
	if (event->kind == SLM_EVENT_END) {
		fate->ended = true;
		fate->ok = event->ok;
	}
	if (event->kind != SLM_EVENT_STEP && event->kind != SLM_EVENT_RESUMED)
		return;
	for (const struct slm_result *r = event->result; r; r = r->next) {
		fate->error = fate->error || r->error != SLM_ERROR_NONE;
		fate->abort = fate->abort || r->error == SLM_ERROR_RETRY ||
			      r->error == SLM_ERROR_DEADLOCK;
	}
}

/* How each call of a run ended: masks of those that failed, and of those among
 * them that the database aborted. */
static void read_fates(const struct slm_oracle *oracle,
		       const struct slm_run *run, uint32_t *failed,
		       uint32_t *aborted)
{
	struct fate fates[SLM_CALLS_MAX] = { { false } };

	*failed = *aborted = 0;
	for (uint32_t i = 0; i < run->nevents; i++) {
		const struct slm_event *event = &run->events[i];
		const struct slm_trace_call *call;

		assert(event->call < oracle->config.ncalls);
		call = &oracle->config.calls[event->call];
		assert(event->kind == SLM_EVENT_END ||
		       event->kind == SLM_EVENT_STALLED ||
		       event->step < call->nsteps);
		follow(&fates[event->call], event);
	}
	for (uint32_t i = 0; i < oracle->config.ncalls; i++) {
		if (!(run->members & (1u << i)))
			continue;
		if (slm_given_is_program(oracle, i)) {
			struct slm_fate fate;

			slm_given_fate(oracle, run, i, &fate);
			*failed |= (uint32_t)!fate.ok << i;
			*aborted |= (uint32_t)fate.aborted << i;
			continue;
		}
		if (fates[i].ended ? fates[i].ok : !fates[i].error)
			continue;
		*failed |= 1u << i;
		if (fates[i].abort)
			*aborted |= 1u << i;
	}
}

uint32_t slm_oracle_survivors(const struct slm_oracle *oracle,
			      const struct slm_run *run)
{
	uint32_t failed, aborted;

	read_fates(oracle, run, &failed, &aborted);
	return run->members & ~aborted;
}

uint32_t slm_oracle_undone(const struct slm_oracle *oracle,
			   const struct slm_run *run)
{
	uint32_t failed, aborted;

	read_fates(oracle, run, &failed, &aborted);
	return run->members & ~failed;
}

enum sqloom_status slm_oracle_judge(struct slm_oracle *oracle,
				    const struct slm_run *run,
				    struct slm_judgement *out,
				    struct sqloom_error *err)
{
	uint32_t members = slm_oracle_survivors(oracle, run);
	const struct slm_group *group = slm_oracle_group(oracle, members);
	struct slm_view view;

	if (!group || slm_oracle_lacks(oracle, members))
		return slm_error_set(err, SQLOOM_INTERNAL,
				     "a run was judged before the serial runs "
				     "of its calls (mask %#x) were known; "
				     "please report this",
				     members);
	slm_arena_clear(&oracle->scratch);
	if (!slm_oracle_view(oracle, run, &oracle->scratch, &view))
		return slm_error_nomem(err);
	out->class = slm_judge_class(oracle, group, &view);
	out->outcome = slm_judge_outcome(out->class, &view);
	out->joint = out->class == SLM_CLASS_BENIGN &&
		     slm_judge_joint(oracle, group, &view);
	return SQLOOM_OK;
}

/* ---- For the trace ---------------------------------------------------- */

enum sqloom_status slm_oracle_serials(struct slm_oracle *oracle,
				      struct slm_arena *arena,
				      const struct slm_trace_serial **serials,
				      uint32_t *count, struct sqloom_error *err)
{
	uint32_t all = (1u << oracle->config.ncalls) - 1, n = 0;
	struct slm_trace_serial *list =
		slm_arena_zalloc(arena, oracle->nserials, sizeof(*list));

	for (uint32_t i = 0; list && i < oracle->nserials; i++) {
		const struct slm_serial *serial = &oracle->serials[i];
		const struct slm_order *orders;
		struct slm_view view;

		if (serial->run.members != all)
			continue;
		slm_arena_clear(&oracle->scratch);
		list[n].order = slm_arena_strdup(arena, serial->order);
		if (!list[n].order || !slm_oracle_view(oracle, &serial->run,
						       &oracle->scratch, &view))
			return slm_error_nomem(err);
		orders = slm_order_make(&view.contents, &oracle->scratch);
		if (!orders || !slm_outcome_make(oracle, &view, orders, NULL,
						 arena, &list[n].outcome))
			return slm_error_nomem(err);
		n++;
	}
	if (!list)
		return slm_error_nomem(err);
	*serials = list;
	*count = n;
	return SQLOOM_OK;
}
