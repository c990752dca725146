/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the helper: what it knows (struct helper), and how it talks to
 * the program and sees its end (processes_link.c). Used by processes_helper.c,
 * which has the calls.
 */
#ifndef SLM_KIT_PROCESSES_LINK_H
#define SLM_KIT_PROCESSES_LINK_H

#include <poll.h>
#include <signal.h>

#include "base/buf.h"
#include "kit/processes_helper.h"

#define SLM_HELPER_CHUNK 65536

/* The end of a call that is not there (any more). */
#define NO_PROCESS 0

struct child {
	struct slm_request_call call;
	const char *name;
	const char *library;
	char *variables;
	pid_t pid;
	int record; /* reading ends; -1: closed */
	int errors;
	struct slm_buf output;
	bool timed_out;
};

struct helper {
	const struct slm_helper_plan *plan;
	struct slm_page *page;
	struct sigaction child_action; /* the program's, of SIGCHLD */
	char process_name[16];	       /* the program's */
	pid_t pid;
	int children;	/* signalfd: one has ended */
	int end;	/* signalfd: the program may have ended */
	unsigned batch; /* its number, from 1 */
	struct slm_request request;
	char *texts;
	char *args;
	const char *database;
	struct child *calls;
	size_t running;
	uint64_t deadline_ms; /* 0: none */
	struct pollfd events[3 + 2 * SQLOOM_CALLS_MAX];
	char chunk[SLM_HELPER_CHUNK];
};

/* Nobody needs the calls any more: ends them, and the helper. */
_Noreturn void slm_helper_end(struct helper *helper);
/* Kills and reaps whatever there still is. */
void slm_helper_kill_rest(struct helper *helper);

/* Has the program ended? Called when the signal of that has come; a thread of
 * the program that ends sends it, too. */
void slm_helper_look_for_end(struct helper *helper);
/* Takes one signal out of a signalfd. */
void slm_helper_forget_signal(int fd);

/* Waits for a request, and makes it the helper's batch. False: it cannot be
 * served, which the program was told. */
bool slm_helper_take_request(struct helper *helper);
void slm_helper_forget_request(struct helper *helper);

/* payload: reply->size bytes. */
void slm_helper_reply(struct helper *helper, const struct slm_reply *reply,
		      const void *payload);
void slm_helper_reply_about(struct helper *helper, enum slm_reply_kind kind,
			    size_t call, int error);

#endif
