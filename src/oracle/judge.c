/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The class of a run. Several may apply; they are tried worst first. All of it
 * compares digests.
 *
 * What counts as a result that no serial run gives (class RESULT) is narrower
 * than "differs", since a call that refuses at another step than it would in
 * any serial run is no bug: more calls succeed; or a call that succeeded
 * returns rows or changes at a step that it returns there in no serial run;
 * or more of the steps that take effect in some serial runs only took effect.
 * A call that has no step that writes only tells what it saw, so that is
 * compared as a whole: values of two moments that no serial run shows together
 * are read skew. A call that writes may see them, as one does that reads,
 * counts up in place and reads again; so may one that skips its write after a
 * second look.
 * A write that changed no row and returned none is never held against a run:
 * it is how compare-and-set refuses.
 *
 * Of a program all that is compared is what it gave at its end, as a whole.
 */
#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "oracle/internal.h"

static bool is_member(uint32_t mask, uint32_t call)
{
	return (mask >> call) & 1;
}

/* ---- What serial runs have in common ---------------------------------- */

enum effect { EFFECT, NO_EFFECT, SKIPPED, ABSENT };

/* What became of a step in a serial run. */
static enum effect step_effect(const struct slm_call_result *call,
			       uint32_t step)
{
	enum effect found = ABSENT;

	for (uint32_t i = 0; i < call->ntaken; i++) {
		const struct slm_taken *taken = &call->taken[i];

		if (taken->step != step)
			continue;
		if (taken->effect)
			return EFFECT;
		found = taken->skipped ? SKIPPED : NO_EFFECT;
	}
	return found;
}

static bool step_writes(const struct slm_call_result *call, uint32_t step)
{
	for (uint32_t i = 0; i < call->ntaken; i++)
		if (call->taken[i].step == step &&
		    (call->taken[i].wrote || call->taken[i].idle))
			return true;
	return false;
}

/* Does the step take effect in some serial runs only? A step that only reads
 * counts when it was skipped, not when its call had failed before it. */
static bool is_variable(const struct slm_oracle *oracle, uint32_t members,
			uint32_t call, uint32_t step)
{
	bool without = false, absent = false, writes = false;

	for (uint32_t i = 0; i < oracle->nserials; i++) {
		const struct slm_serial *serial = &oracle->serials[i];
		const struct slm_call_result *result =
			&serial->results.calls[call];
		enum effect effect;

		if (serial->run.members != members)
			continue;
		effect = step_effect(result, step);
		without = without || effect == SKIPPED || effect == NO_EFFECT;
		absent = absent || effect == ABSENT;
		writes = writes || step_writes(result, step);
	}
	return without || (absent && writes);
}

/* Effects of the calls that succeeded; what a failed call did was undone or
 * shows in the contents. */
static uint32_t count_effects(const struct slm_oracle *oracle,
			      const struct slm_group *group,
			      const struct slm_results *results)
{
	uint32_t count = 0;

	for (uint32_t call = 0; call < oracle->config.ncalls; call++) {
		const struct slm_call_result *result = &results->calls[call];

		if (!is_member(group->members, call) || !result->ok)
			continue;
		for (uint32_t i = 0; i < result->ntaken; i++)
			count += result->taken[i].effect &&
				 group->variable[oracle->first_step[call] +
						 result->taken[i].step];
	}
	return count;
}

static uint32_t count_ok(const struct slm_results *results, uint32_t members)
{
	return (uint32_t)__builtin_popcount(members & ~results->failed);
}

void slm_judge_group(struct slm_oracle *oracle, struct slm_group *group)
{
	group->most_ok = 0;
	group->most_effects = 0;
	for (uint32_t call = 0; call < oracle->config.ncalls; call++)
		for (uint32_t step = 0; step < oracle->first_step[call + 1] -
						       oracle->first_step[call];
		     step++)
			group->variable[oracle->first_step[call] + step] =
				is_member(group->members, call) &&
				is_variable(oracle, group->members, call, step);
	for (uint32_t i = 0; i < oracle->nserials; i++) {
		struct slm_serial *serial = &oracle->serials[i];
		uint32_t ok;

		if (serial->run.members != group->members)
			continue;
		serial->effects =
			count_effects(oracle, group, &serial->results);
		if (serial->effects > group->most_effects)
			group->most_effects = serial->effects;
		ok = count_ok(&serial->results, group->members);
		if (ok > group->most_ok)
			group->most_ok = ok;
	}
}

/* ---- One run ---------------------------------------------------------- */

static bool equals(const struct slm_oracle *oracle, const struct slm_view *view,
		   const struct slm_serial *serial)
{
	if (view->contents.digest != serial->contents)
		return false;
	for (uint32_t i = 0; i < oracle->config.ncalls; i++)
		if (is_member(serial->run.members, i) &&
		    view->results.calls[i].digest !=
			    serial->results.calls[i].digest)
			return false;
	return true;
}

/* Does any serial run equal the run as a whole (*whole), or leave the same
 * contents (the result)? */
static bool find_contents(const struct slm_oracle *oracle, uint32_t members,
			  const struct slm_view *view, bool *whole)
{
	bool found = false;

	*whole = false;
	for (uint32_t i = 0; i < oracle->nserials && !*whole; i++) {
		const struct slm_serial *serial = &oracle->serials[i];

		if (serial->run.members != members)
			continue;
		found = found || serial->contents == view->contents.digest;
		*whole = equals(oracle, view, serial);
	}
	return found;
}

static bool returns(const struct slm_call_result *call,
		    const struct slm_taken *taken)
{
	for (uint32_t i = 0; i < call->ntaken; i++)
		if (call->taken[i].step == taken->step &&
		    !call->taken[i].skipped &&
		    call->taken[i].value == taken->value)
			return true;
	return false;
}

static bool in_some_serial(const struct slm_oracle *oracle, uint32_t members,
			   uint32_t call, const struct slm_taken *taken)
{
	for (uint32_t i = 0; i < oracle->nserials; i++)
		if (oracle->serials[i].run.members == members &&
		    returns(&oracle->serials[i].results.calls[call], taken))
			return true;
	return false;
}

/* What a call that writes nothing saw has to fit together: does it see the
 * same in some serial run? */
static bool sees_alike(const struct slm_oracle *oracle, uint32_t members,
		       uint32_t call, uint64_t seen)
{
	for (uint32_t i = 0; i < oracle->nserials; i++)
		if (oracle->serials[i].run.members == members &&
		    oracle->serials[i].results.calls[call].seen == seen)
			return true;
	return false;
}

/* Did a call that succeeded return what it returns in no serial run? */
static bool has_foreign_value(const struct slm_oracle *oracle, uint32_t members,
			      const struct slm_view *view)
{
	for (uint32_t call = 0; call < oracle->config.ncalls; call++) {
		const struct slm_call_result *result =
			&view->results.calls[call];

		if (!is_member(members, call) || !result->ok)
			continue;
		if ((result->reads_only || result->program) &&
		    !sees_alike(oracle, members, call, result->seen))
			return true;
		for (uint32_t i = 0; i < result->ntaken; i++) {
			const struct slm_taken *taken = &result->taken[i];

			if (taken->observed && !taken->skipped &&
			    !taken->idle && !taken->error &&
			    !in_some_serial(oracle, members, call, taken))
				return true;
		}
	}
	return false;
}

static bool same_code(const struct slm_result *a, const struct slm_result *b)
{
	if (a->error != b->error || !a->code != !b->code)
		return false;
	return !a->code || strcmp(a->code, b->code) == 0;
}

bool slm_judge_fails_alike(const struct slm_oracle *oracle, uint32_t members,
			   uint32_t call, const struct slm_result *error)
{
	for (uint32_t i = 0; i < oracle->nserials; i++) {
		const struct slm_serial *serial = &oracle->serials[i];
		const struct slm_result *other =
			serial->results.calls[call].error;

		if (members ? serial->run.members != members :
			      !is_member(serial->run.members, call))
			continue;
		if (other && same_code(other, error))
			return true;
	}
	return false;
}

/* Does the program end with the same status and message in some serial run?
 * Whatever went wrong on its way, that is how it refuses. */
static bool refuses_alike(const struct slm_oracle *oracle, uint32_t call,
			  const struct slm_call_result *result)
{
	const struct slm_result *given = result->given;

	for (uint32_t i = 0; i < oracle->nserials; i++) {
		const struct slm_call_result *serial =
			&oracle->serials[i].results.calls[call];
		const struct slm_result *other = serial->given;

		if (!is_member(oracle->serials[i].run.members, call) ||
		    serial->ok || !other || !given ||
		    !same_code(other, given) || serial->seen != result->seen)
			continue;
		if (!other->message || !given->message ?
			    other->message == given->message :
			    strcmp(other->message, given->message) == 0)
			return true;
	}
	return false;
}

/* Can the callers expect the error with which the call failed? */
static bool is_expected(const struct slm_oracle *oracle, uint32_t members,
			uint32_t call, const struct slm_call_result *result)
{
	const struct slm_result *error = result->error;
	bool refused = error->error == SLM_ERROR_REFUSED;

	if (slm_given_declares(error))
		return true;
	if (result->program && error->error == SLM_ERROR_INTEGRITY &&
	    refuses_alike(oracle, call, result))
		return true;
	return slm_judge_fails_alike(oracle, refused ? 0 : members, call,
				     error);
}

/* The class of the errors of the calls that failed. */
static enum slm_class error_class(const struct slm_oracle *oracle,
				  uint32_t members,
				  const struct slm_results *results)
{
	enum slm_class worst = SLM_CLASS_BENIGN;

	for (uint32_t call = 0; call < oracle->config.ncalls; call++) {
		const struct slm_call_result *result = &results->calls[call];
		const struct slm_result *error = result->error;

		if (!is_member(results->failed, call) || !error ||
		    slm_results_allowed(oracle, error))
			continue;
		if (error->error == SLM_ERROR_RETRY)
			worst = SLM_CLASS_RETRY;
		else if (!is_expected(oracle, members, call, result))
			return SLM_CLASS_ERROR;
	}
	return worst;
}

/*
 * Do the contents equal those of the calls that did not fail, run serially?
 * Then what the failed calls had done was undone as a whole, and the error is
 * what is to be told. The serial runs are there if the caller of
 * slm_oracle_judge() asked slm_oracle_undone().
 */
static bool failed_left_nothing(const struct slm_oracle *oracle,
				uint32_t members, const struct slm_view *view)
{
	uint32_t rest = members & ~view->results.failed;
	bool whole;

	return rest != members && find_contents(oracle, rest, view, &whole);
}

bool slm_judge_joint(const struct slm_oracle *oracle,
		     const struct slm_group *group, const struct slm_view *view)
{
	bool whole;

	return view->results.failed == 0 &&
	       find_contents(oracle, group->members, view, &whole) && !whole;
}

enum slm_class slm_judge_class(const struct slm_oracle *oracle,
			       const struct slm_group *group,
			       const struct slm_view *view)
{
	const struct slm_results *results = &view->results;
	uint32_t members = group->members;
	bool whole;

	assert(members == (results->members & ~results->aborted));
	if (view->run->nchecks > 0)
		return SLM_CLASS_CHECK;
	if (!find_contents(oracle, members, view, &whole) &&
	    !failed_left_nothing(oracle, members, view))
		return SLM_CLASS_CONTENTS;
	if (whole && results->aborted == 0)
		return SLM_CLASS_SERIAL;
	if (count_ok(results, members) > group->most_ok ||
	    count_effects(oracle, group, results) > group->most_effects ||
	    has_foreign_value(oracle, members, view) ||
	    (oracle->config.joint && slm_judge_joint(oracle, group, view)))
		return SLM_CLASS_RESULT;
	return error_class(oracle, members, results);
}

uint64_t slm_judge_outcome(enum slm_class class, const struct slm_view *view)
{
	const struct slm_run *run = view->run;
	uint64_t digest = slm_hash_mix((uint64_t) class, run->members);

	digest = slm_hash_mix(digest, view->contents.digest);
	for (uint32_t i = 0; i < SLM_CALLS_MAX; i++)
		if (is_member(run->members, i))
			digest = slm_hash_mix(digest,
					      view->results.calls[i].digest);
	for (uint32_t i = 0; i < run->nchecks; i++)
		digest = slm_hash_mix(digest,
				      slm_hash(run->checks[i].name,
					       strlen(run->checks[i].name), 0));
	return digest;
}
