/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's side of the helper: its life (processes.c), and one batch of
 * calls (processes_batch.c).
 */
#ifndef SLM_KIT_PROCESSES_H
#define SLM_KIT_PROCESSES_H

#include <sqloom/sqloom.h>

#include <sys/types.h>

struct sqloom_processes {
	struct sqloom_processes *next; /* in the list, under its lock */
	pid_t program;		       /* who started it */
	pid_t helper;		       /* 0: it has ended */
	int socket;
	bool busy; /* under the lock of the list */
};

/* For one batch. SQLOOM_USAGE: it is not this process's, or it is busy;
 * SQLOOM_IO: it has ended. */
enum sqloom_status slm_processes_take(struct sqloom_processes *processes,
				      struct sqloom_error *err);
void slm_processes_give_back(struct sqloom_processes *processes);

/* Has this process a helper? */
bool slm_processes_any(void);

/* It does not answer: ends it, and says what became of it. SQLOOM_IO. */
enum sqloom_status slm_processes_lost(struct sqloom_processes *processes,
				      struct sqloom_error *err);

#endif
