/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper of a private server: the process that starts PostgreSQL, and that
 * stops it and removes its directory when sqloom is gone, killed or not.
 *
 *     sqloom ──pipe──> keeper ──parent of──> postgres
 *
 * Sqloom alone holds the write end of the pipe. When it stops the server, it
 * closes it; when it dies, the kernel does. So there is one way to the end,
 * and every stop tests it.
 *
 * PR_SET_PDEATHSIG on postgres alone would not do. It is sent when the thread
 * dies that made the process, not when the process does; nobody would remove
 * the directory; and changing the user clears it. But it is right between the
 * keeper, which has one thread, and its children: a killed keeper takes the
 * server with it. The directory it leaves is removed at the next start, as
 * after a crash of the machine: nobody holds the lock on it.
 */
#ifndef SLM_PG_SERVER_KEEPER_H
#define SLM_PG_SERVER_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SLM_PG_SERVER_PREFIX "sqloom-pg-" /* of the directory's name */
#define SLM_PG_SERVER_MARK "sqloom.pid"	  /* in it: this one is ours */
#define SLM_PG_SERVER_DATA "data"	  /* in it: what initdb made */
#define SLM_PG_SERVER_LOG "log"		  /* in it: what postgres says */

/* What the keeper does; all borrowed, complete before the fork. */
struct slm_pg_keeper {
	const char *place;     /* the directory that the next is in */
	const char *name;      /* of the server's directory */
	const char *dir;       /* both together */
	char *const *initdb;   /* program and arguments */
	char *const *postgres; /* the same */
	char *const *environment;
	bool drop; /* we are root: become the user below */
	uid_t uid; /* the user that the server runs as */
	gid_t gid;
	const gid_t *groups;
	size_t ngroups;
	int life;   /* read end; end of file: stop and remove */
	int report; /* write end, for struct slm_pg_keeper_report */
	int lock;   /* the directory, locked as long as the keeper lives */
	int output; /* file for what initdb says */
};

enum slm_pg_keeper_stage {
	SLM_PG_KEEPER_USER,	 /* value: errno; cannot become the user */
	SLM_PG_KEEPER_DIRECTORY, /* errno; the user cannot use it */
	SLM_PG_KEEPER_FORK,	 /* errno; no further process */
	SLM_PG_KEEPER_INITDB,	 /* wait status; initdb failed */
	SLM_PG_KEEPER_STARTED,	 /* process number of postgres */
	SLM_PG_KEEPER_ENDED,	 /* wait status; postgres has ended */
};

/* Small enough to be written in one piece. */
struct slm_pg_keeper_report {
	enum slm_pg_keeper_stage stage;
	int value;
};

/*
 * Called in the child after fork(), all signals blocked. Uses only what is
 * async-signal-safe, for the parent may have threads. Never returns; the
 * process ends with 0 if the directory is gone, else the parent, which may
 * have more rights, removes it.
 */
_Noreturn void slm_pg_keep(const struct slm_pg_keeper *plan);

/* A program that could not be executed ends with this. */
#define SLM_PG_KEEPER_NO_EXEC 127

#endif
