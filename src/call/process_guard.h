/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard of a process: a child of ours that starts the command, adopts
 * whatever its descendants leave behind, and kills all of it when its pipe to
 * us ends. So nothing outlives us, however we end, and a program that makes
 * itself a daemon is found, too. Used by process.c only.
 */
#ifndef SLM_CALL_PROCESS_GUARD_H
#define SLM_CALL_PROCESS_GUARD_H

/* What the guard is to do; all of it is made before fork(). */
struct slm_guard_plan {
	const char *command; /* for sh -c */
	char *const *environment;
	const char *directory; /* NULL: ours */
	int cpu;	       /* -1: where we may run */
	int life;	       /* reading end; only we hold the writing end */
	int report;	       /* writing end, for struct slm_guard_report */
	int output, errors;    /* writing ends, for the command */
};

enum slm_guard_stage {
	SLM_GUARD_FORK,	     /* value: errno; nothing was started */
	SLM_GUARD_DIRECTORY, /* the same: the directory cannot be entered */
	SLM_GUARD_CPU,	     /* the same: that CPU cannot be had */
	SLM_GUARD_EXEC,	     /* the same: the shell cannot be executed */
	SLM_GUARD_STARTED,   /* value: process of the command */
	SLM_GUARD_ENDED,     /* value: its wait status */
};

/* Written whole to the pipe: one about the start, then ENDED. At the end of
 * file the guard has ended, and with it all that it started. */
struct slm_guard_report {
	enum slm_guard_stage stage;
	int value;
};

/* Runs in the child of fork(), all signals blocked. */
_Noreturn void slm_guard(const struct slm_guard_plan *plan);

#endif
