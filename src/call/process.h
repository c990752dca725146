/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of a case: commands that are calls, the application's server,
 * set-up and check commands. Each runs as `sh -c COMMAND` in a session of its
 * own (Ctrl-C at our terminal is not for it), standard input from /dev/null,
 * output captured up to a limit, and never outlives us, not even when we are
 * killed.
 *
 * In the caller's loop and thread; no signal handler is installed: a guard, a
 * child of ours, waits for the command and for all that descends from it, also
 * in sessions of their own, and ends with them. Linux only.
 */
#ifndef SLM_CALL_PROCESS_H
#define SLM_CALL_PROCESS_H

#include <sqloom/sqloom.h>
#include <uv.h>

#include "base/buf.h"

#define SLM_PROCESS_OUTPUT_MAX (1024 * 1024) /* bytes kept of each stream */

struct slm_process;

struct slm_process_options {
	uv_loop_t *loop;
	const char *command; /* for sh -c */
	const char *name;    /* for messages: "call alice"; borrowed */
	const char *const *environment; /* the whole of it, NAME=value ...,
					   NULL ends */
	const char *directory;		/* NULL: ours */
	bool keep_tail;			/* of output over the limit the end is
					   kept (a server's log), not the
					   beginning */
	int cpu;			/* runs on this CPU only; -1: where we
					   may run */
	/* The command has ended and its output is complete (what its children
	 * still hold open is not waited for longer than a moment). May be NULL.
	 * Called by the loop; must not free the process. */
	void (*ended)(void *userdata, struct slm_process *process);
	void *userdata;
};

/* Returns when the shell was started: a moment. The options are copied but for
 * the name. SQLOOM_IO, SQLOOM_LIMIT (the command is too long), SQLOOM_NOMEM. */
enum sqloom_status slm_process_start(const struct slm_process_options *options,
				     struct slm_process **out,
				     struct sqloom_error *err);

bool slm_process_has_ended(const struct slm_process *process);
/* After the end: the exit status, or 128 + the signal, as a shell has it. */
int slm_process_status(const struct slm_process *process);
int slm_process_signal(const struct slm_process *process); /* 0: none */
int slm_process_pid(const struct slm_process *process);
/* What it wrote so far; borrowed, NUL-terminated. cut (may be NULL): there was
 * more. */
const char *slm_process_output(const struct slm_process *process, size_t *size,
			       bool *cut);
const char *slm_process_errors(const struct slm_process *process, size_t *size,
			       bool *cut);
/* Forgets what it wrote so far. */
void slm_process_forget_output(struct slm_process *process);

/* Sends SIGTERM to the command and all that descends from it, after grace_ms
 * SIGKILL (0: at once), runs the loop until none is left, and frees it. `ended`
 * is not called any more. Not from a callback of the loop, which cannot be run
 * within itself. free(NULL) is fine. */
void slm_process_free(struct slm_process *process, unsigned grace_ms);

/*
 * Is every thread of the command and of all that descends from it asleep (not
 * runnable, not waiting for the disk)? Then nothing happens there until
 * somebody outside acts, or a time has come. A process that ended is quiet,
 * but not before that is told. Reads /proc, twice, so that all were asleep at
 * one and the same moment. False if that cannot be known.
 */
bool slm_process_is_quiet(const struct slm_process *process);

/* The environment of a call, made from ours (environ) with changes: NAME=value
 * sets, NAME alone removes. The array and all strings live in one block, freed
 * with slm_free(). NULL: memory is out. */
char **slm_process_environment(const char *const *base,
			       const char *const *changes);

#endif
