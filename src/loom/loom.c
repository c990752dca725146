/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler's state machine. Uses nothing: no heap, no I/O, no clock.
 *
 * Invariants: state[] is the truth; each mask holds exactly the calls in its
 * state, so that slm_loom_next() needs no loop. The table `moves` is the only
 * thing that says which event leads where.
 */
#include "loom/loom.h"

#include <assert.h>

enum event {
	EVENT_START,
	EVENT_GO,
	EVENT_GRANT,
	EVENT_ARRIVE,
	EVENT_BLOCKED,
	EVENT_UNBLOCKED,
	EVENT_STALLED,
	EVENT_FINISHED,
};
#define EVENTS (EVENT_FINISHED + 1)

/* An allowed move is its target plus one, so that cells not named refuse. */
#define REFUSED 0
#define TO(state) (SLM_CALL_##state + 1)

static const uint8_t moves[EVENTS][SLM_CALL_STATES] = {
	[EVENT_START] = { [SLM_CALL_WAITING] = TO(RUNNING) },
	[EVENT_GO] = { [SLM_CALL_AT_STEP] = TO(RUNNING) },
	[EVENT_GRANT] = { [SLM_CALL_AT_STEP] = TO(RUNNING) },
	[EVENT_ARRIVE] = { [SLM_CALL_RUNNING] = TO(AT_STEP) },
	[EVENT_BLOCKED] = { [SLM_CALL_RUNNING] = TO(BLOCKED) },
	[EVENT_UNBLOCKED] = { [SLM_CALL_BLOCKED] = TO(RUNNING),
			      [SLM_CALL_STALLED] = TO(RUNNING) },
	[EVENT_STALLED] = { [SLM_CALL_RUNNING] = TO(STALLED) },
	[EVENT_FINISHED] = { [SLM_CALL_RUNNING] = TO(FINISHED) },
};

static uint32_t bit(unsigned call)
{
	return UINT32_C(1) << call;
}

static unsigned lowest(uint32_t mask)
{
	assert(mask != 0);
	return (unsigned)__builtin_ctz(mask);
}

/* Takes the call out of the books of the state it is in. */
static void leave(struct slm_loom *loom, unsigned call)
{
	uint32_t others = ~bit(call);

	loom->waiting &= others;
	loom->enabled &= others;
	loom->local &= others;
	loom->blocked &= others;
	loom->stalled &= others;
	if (loom->running == (int)call)
		loom->running = -1;
}

static void enter(struct slm_loom *loom, unsigned call,
		  enum slm_call_state state)
{
	loom->state[call] = state;
	switch (state) {
	case SLM_CALL_WAITING:
		loom->waiting |= bit(call);
		break;
	case SLM_CALL_RUNNING:
		loom->running = (int)call;
		break;
	case SLM_CALL_AT_STEP:
		loom->enabled |= bit(call);
		break;
	case SLM_CALL_BLOCKED:
		loom->blocked |= bit(call);
		break;
	case SLM_CALL_STALLED:
		loom->stalled |= bit(call);
		loom->had_stall = true;
		break;
	case SLM_CALL_FINISHED:
		loom->finished++;
		break;
	}
}

static bool move(struct slm_loom *loom, unsigned call, enum event event)
{
	uint8_t to;

	if (call >= loom->ncalls)
		return false;
	to = moves[event][loom->state[call]];
	if (to == REFUSED)
		return false;
	/* The one rule about two calls: never two running. */
	if (to == TO(RUNNING) && loom->running >= 0)
		return false;
	leave(loom, call);
	enter(loom, call, (enum slm_call_state)(to - 1));
	return true;
}

void slm_loom_begin(struct slm_loom *loom, unsigned ncalls, uint32_t members)
{
	assert(ncalls >= 1 && ncalls <= SLM_LOOM_CALLS_MAX);
	*loom = (struct slm_loom){
		.ncalls = ncalls,
		.members = members & (bit(ncalls) - 1),
		.running = -1,
		.previous = -1,
	};
	for (unsigned i = 0; i < ncalls; i++)
		enter(loom, i,
		      loom->members & bit(i) ? SLM_CALL_WAITING :
					       SLM_CALL_FINISHED);
}

/* Makes the call run by START or GO, which cannot be refused here. */
static struct slm_loom_order set_off(struct slm_loom *loom, unsigned call,
				     enum event event,
				     enum slm_loom_order_kind kind)
{
	bool moved = move(loom, call, event);

	assert(moved);
	(void)moved;
	return (struct slm_loom_order){ .kind = kind,
					.call = call,
					.previous = loom->previous };
}

/* The call to start now, or -1. */
static int next_start(const struct slm_loom *loom)
{
	uint32_t others = loom->enabled | loom->blocked | loom->stalled;

	if (!loom->waiting)
		return -1;
	if (!loom->serial)
		return (int)lowest(loom->waiting);
	if (others)
		return -1;
	for (const char *at = loom->serial; *at; at++)
		if (loom->waiting & bit((unsigned)(*at - 'a')))
			return *at - 'a';
	return (int)lowest(loom->waiting);
}

struct slm_loom_order slm_loom_next(struct slm_loom *loom)
{
	struct slm_loom_order order = { .previous = loom->previous };
	int next;

	if (loom->running >= 0) {
		order.kind = SLM_ORDER_WAIT;
		order.call = (unsigned)loom->running;
		return order;
	}
	if (loom->local)
		return set_off(loom, lowest(loom->local), EVENT_GO,
			       SLM_ORDER_GO);
	next = next_start(loom);
	if (next >= 0)
		return set_off(loom, (unsigned)next, EVENT_START,
			       SLM_ORDER_START);
	if (loom->enabled) {
		order.kind = SLM_ORDER_CHOOSE;
		order.enabled = loom->enabled;
		return order;
	}
	if (loom->blocked | loom->stalled) {
		order.kind = SLM_ORDER_STUCK;
		return order;
	}
	assert(loom->finished == loom->ncalls);
	order.kind = SLM_ORDER_DONE;
	return order;
}

bool slm_loom_grant(struct slm_loom *loom, unsigned call)
{
	/* A choice is open only when every call is settled. */
	if (loom->local || next_start(loom) >= 0)
		return false;
	if (!move(loom, call, EVENT_GRANT))
		return false;
	loom->previous = (int)call;
	return true;
}

bool slm_loom_arrive(struct slm_loom *loom, unsigned call, bool local)
{
	if (!move(loom, call, EVENT_ARRIVE))
		return false;
	if (local) {
		loom->enabled &= ~bit(call);
		loom->local |= bit(call);
	}
	return true;
}

bool slm_loom_blocked(struct slm_loom *loom, unsigned call)
{
	return move(loom, call, EVENT_BLOCKED);
}

bool slm_loom_unblocked(struct slm_loom *loom, unsigned call)
{
	return move(loom, call, EVENT_UNBLOCKED);
}

bool slm_loom_stalled(struct slm_loom *loom, unsigned call)
{
	return move(loom, call, EVENT_STALLED);
}

bool slm_loom_finished(struct slm_loom *loom, unsigned call)
{
	return move(loom, call, EVENT_FINISHED);
}

const char *slm_call_state_name(enum slm_call_state state)
{
	switch (state) {
	case SLM_CALL_WAITING:
		return "waiting to start";
	case SLM_CALL_RUNNING:
		return "running";
	case SLM_CALL_AT_STEP:
		return "at a step";
	case SLM_CALL_BLOCKED:
		return "blocked";
	case SLM_CALL_STALLED:
		return "stalled";
	case SLM_CALL_FINISHED:
		return "finished";
	}
	return "unknown";
}
