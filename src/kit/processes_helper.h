/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper that clean processes are forked from, from its own fork() to its
 * end; and the child that is a call. Used by processes.c only.
 */
#ifndef SLM_KIT_PROCESSES_HELPER_H
#define SLM_KIT_PROCESSES_HELPER_H

#include <signal.h>
#include <sys/types.h>

#include "kit/processes_wire.h"

/* Runs in the child of fork(), all signals blocked. */
struct slm_helper_plan {
	int socket;	  /* to the program */
	pid_t program;	  /* its process */
	sigset_t signals; /* the mask that the program had */
	int floor;	  /* it had no descriptor from here on */
};
_Noreturn void slm_helper(const struct slm_helper_plan *plan);

/* One call, for the child that makes it. */
struct slm_child_plan {
	struct slm_page *page;
	unsigned batch; /* waits until page->go is this */
	size_t number;	/* of the call */
	const char *name;
	const char *database; /* NULL: nothing was said */
	sqloom_fn fn;
	const void *arg; /* to be copied */
	size_t arg_size;
	char *variables; /* NAME=value, each with its NUL */
	size_t nvariables;
	pid_t helper;
	int ready;  /* closed when it stands ready */
	int record; /* for a struct slm_record */
	int errors; /* its standard error */
	int floor;  /* as in slm_helper_plan */
	char process_name[16];
	const struct sigaction *child_action; /* of SIGCHLD */
	const sigset_t *signals;
};
/* Runs in the child of the helper's fork(). */
_Noreturn void slm_child(const struct slm_child_plan *plan);

/* Closes all descriptors from `first` on but those in keep (count of them,
 * ascending). */
void slm_close_from(int first, const int *keep, size_t count);

#endif
