/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of programs.h share: programs.c (life of a run, behind db.h),
 * programs_link.c (connections through the proxy, and whose they are),
 * programs_wait.c (runs the loop until something is there),
 * programs_setup.c (proxy, environment, set-up commands, servers, checks).
 * Nobody else includes this.
 */
#ifndef SLM_CALL_PROGRAMS_INTERNAL_H
#define SLM_CALL_PROGRAMS_INTERNAL_H

#include <stdatomic.h>
#include <uv.h>

#include "base/arena.h"
#include "call/function.h"
#include "call/http.h"
#include "call/process.h"
#include "call/programs.h"
#include "db/outside.h"
#include "pg/pg.h"
#include "probe/relay.h"

#define SERVERS_MAX 16
#define NOTES_MAX 16
#define TEXTS_MAX 10000 /* parsed ones that are kept, from one run to another */
/* Longer than the scheduler's own tick (250 Hz): to set an earlier timer for
 * each wait costs more than the wait. */
#define TICK_MS 5

/* A connection of a program. */
struct link {
	struct programs *owner;
	struct link *next;
	struct slm_relay_connection *connection;
	struct slm_dialog *dialog;
	struct slm_outside_connection out; /* pid, call */
	char name[64];			   /* application_name */
	bool background;
	bool settled; /* whose it is does not change */
	bool fresh;   /* opened in this run */
	bool open;    /* its session is: pid is known */
	bool held;    /* a step of it waits for a grant */
	/* What is known of that; NULL: the COMMIT of a split. */
	const struct slm_outside_statement *statement;
	/* Of the Query in autocommit that it is a part of; NULL: of none. */
	const struct slm_outside_statement *query;
	uint64_t way;	/* of what it was granted in this run */
	bool under_way; /* a step of a call was granted, and is not done */
	bool keeps;	/* that step gives no lock back in a transaction */
	bool holds;	/* its transaction may have more than readers' locks */
	bool stateful;	/* its session may have locks, in this run */
	bool took;	/* its session may have what a pool takes back ... */
	bool took_ever; /* ... since before the first run */
	bool done;	/* and now it is: result */
	bool lost;	/* closed while a step was under way */
	const struct slm_result *result;
};

/* A different text that a call has sent. */
struct program_step {
	uint64_t hash;
	struct slm_db_step_info info; /* owned by the programs' arena */
	uint32_t blocked_by; /* calls that it was seen to wait for, ever */
};

struct program {
	struct slm_http_request *request; /* HTTP */
	char **environment;		  /* EXEC */
	int port;
	bool own_port;		    /* its connections are known by it */
	struct program_step *steps; /* SLM_PROGRAM_STEPS_MAX */
	unsigned nsteps;
	bool several; /* it was seen to use connections at the same time */
	struct program_function *function; /* of this process; owned; NULL */

	/* In a run */
	bool started, ended, over;
	struct slm_process *process;
	struct slm_http_call *http;
	const struct slm_result *result; /* when ended */
	bool failed;
	struct link *at; /* the held step that is next, or under way */
	uint32_t number; /* of that step */
	bool at_point;	 /* it stands at a point instead */
	bool blocked;
	uint64_t blocked_since;
	bool stale; /* a lock may have been given back since it was asked */
	uint32_t blockers; /* calls */
	uint64_t began_ns;
};

/* A text that was parsed. */
struct text {
	struct text *chain;
	uint64_t hash;
	size_t size;
	struct slm_pg_step parsed;
};

struct programs {
	struct slm_db base;
	struct slm_db *db; /* NULL during the set-up */
	const struct sqloom_spec *spec;
	struct slm_programs_options options;
	struct slm_arena arena;	  /* lives as long as this */
	struct slm_arena scratch; /* results while no run is on */
	uv_loop_t loop;
	bool loop_open;
	uv_timer_t ticker;
	uv_poll_t ending; /* functions that have ended: */
	int ending_fd;	  /* an eventfd; -1: not yet */
	_Atomic uint32_t functions_ended, functions_failed; /* masks */
	struct slm_relay *relay;
	struct slm_http *http;
	struct slm_process *servers[SERVERS_MAX];
	unsigned nservers;
	struct link *links;
	struct program calls[SLM_CALLS_MAX];
	unsigned ncalls;
	struct text **texts;	 /* TEXTS_MAX, by hash */
	struct slm_arena parsed; /* of texts */
	unsigned ntexts;
	struct slm_pg_step unread; /* when memory is out */
	uint64_t marks;		   /* counts arrivals and blockings */
	const char *notes[NOTES_MAX];
	unsigned nnotes;
	bool second_noted; /* that a call uses two connections */

	struct sqloom_call errand; /* of set-up and check functions */
	char *errand_database;	   /* owned */
	_Atomic bool points;	   /* they are steps now */

	bool repeatable; /* slm_outside_repeatable() */

	/* In a run */
	struct slm_arena *run;
	struct slm_check_failure *failures; /* of check commands */
	uint32_t nfailures;
	bool controlling;
	int running; /* the call that new activity belongs to, -1: none */
	enum sqloom_status status; /* of what went wrong in a callback */
	struct sqloom_error err;
};

/* ---- programs_link.c ---------------------------------------------------- */

struct slm_relay_hooks slm_programs_hooks(void);
/* Asks slm_outside_repeatable(), for the connections there are, too. */
enum sqloom_status slm_links_see_levels(struct programs *programs,
					struct sqloom_error *err);
/* All connections from now on: HOLD, or TRACK with what is held let go. */
void slm_links_control(struct programs *programs, bool control);
/* The held step of this call that is next; NULL: none. Of several, which come
 * from several threads at any time, the one whose text is first. */
struct link *slm_links_held(struct programs *programs, unsigned call);
/* Has it several connections that are not idle? */
bool slm_links_several(struct programs *programs, unsigned call);
/* Is the call in a transaction, or in the middle of something? */
bool slm_links_busy(struct programs *programs, unsigned call);
bool slm_links_any(struct programs *programs, unsigned call);
/* Has it closed a connection whose server process is not gone yet? */
bool slm_links_ending(struct programs *programs, unsigned call);
/* Can the step that it stands at matter to nobody but its session? Then it is
 * no choice. */
bool slm_link_is_own(const struct link *link);
/* A lock may have been given back: who waits is asked about again. */
void slm_links_give_back(struct programs *programs);
/* Between runs, when there are many: forgets what texts are. */
void slm_links_forget_texts(struct programs *programs);
/* At the end of a run: nothing of any call is open any more. */
enum sqloom_status slm_links_clean(struct programs *programs,
				   struct sqloom_error *err);
void slm_programs_note(struct programs *programs, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- programs_wait.c ---------------------------------------------------- */

/* Runs the loop once: waits for at most a tick. Fails with what went wrong in a
 * callback, if a server has ended, or if goes_on says no. */
enum sqloom_status slm_programs_turn(struct programs *programs, bool wait,
				     struct sqloom_error *err);
/* Until the call stands at a step, is over, or is stalled. */
enum sqloom_status slm_programs_settle(struct programs *programs, unsigned call,
				       struct slm_db_arrival *arrival,
				       struct sqloom_error *err);
/* Until the step under way of the call is done or waits for another call. */
enum sqloom_status slm_programs_finish(struct programs *programs, unsigned call,
				       struct slm_db_answer *answer,
				       struct sqloom_error *err);
/* Until one of the blocked calls is done, or a stalled one (mask) settles;
 * *call is that one, or -1 after a moment if only asked to look. */
enum sqloom_status slm_programs_any(struct programs *programs, uint32_t stalled,
				    bool patiently, int *call,
				    struct sqloom_error *err);
/* All that are left are blocked: lets time pass. */
enum sqloom_status slm_programs_wait_blocked(struct programs *programs,
					     struct sqloom_error *err);
/* Which calls stand in the way of this one now? */
enum sqloom_status slm_programs_blockers(struct programs *programs,
					 unsigned call, uint32_t *calls,
					 struct sqloom_error *err);
/* Do these calls wait, directly or not, for this one? */
bool slm_programs_wait_for(const struct programs *programs, uint32_t from,
			   unsigned call);

/* ---- programs_setup.c --------------------------------------------------- */

/* Proxy, loop, requests. */
enum sqloom_status slm_programs_prepare(struct programs *programs,
					struct sqloom_error *err);
/* The setup of slm_outside_open(): commands and servers. */
enum sqloom_status slm_programs_set_up(struct slm_db *db, void *userdata,
				       struct sqloom_error *err);
/* Starts the call as a command or request. */
enum sqloom_status slm_programs_start(struct programs *programs, unsigned call,
				      struct sqloom_error *err);
/* Runs the `check "name" exec` of the spec. */
enum sqloom_status slm_programs_check(struct programs *programs,
				      struct slm_check_failure *failures,
				      uint32_t *count,
				      struct sqloom_error *err);
/* The ways to the database for a program: through the proxy at this port, or
 * (0) directly. The caller frees it with slm_free(). */
char **slm_programs_environment(struct programs *programs, int port);

/* ---- programs_function.c: with spec->functions --------------------------- */

enum sqloom_status slm_programs_start_function(struct programs *programs,
					       unsigned call,
					       struct sqloom_error *err);
/* What it gave: program->result, failed. */
enum sqloom_status slm_programs_function_result(struct programs *programs,
						unsigned call,
						struct sqloom_error *err);
/* The point that the call waits at; NULL: none. */
const char *slm_programs_point(struct programs *programs, unsigned call);
void slm_programs_grant_point(struct programs *programs, unsigned call);
bool slm_programs_function_is_quiet(struct programs *programs, unsigned call);
/* Runs the loop until all functions have returned. */
enum sqloom_status slm_programs_functions_return(struct programs *programs,
						 struct sqloom_error *err);
/* Ends the threads. False: some never came back, and may use all for ever. */
bool slm_programs_end_functions(struct programs *programs);
/* Calls a function of the user's right here, on the database itself; what it
 * said is in programs->errand. */
enum sqloom_status slm_programs_errand(struct programs *programs, sqloom_fn fn,
				       const char *name, bool *failed,
				       struct sqloom_error *err);
/* The loop shall look: from any thread. */
void slm_programs_woken(struct programs *programs);

#endif
