/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this process be forked, so that nothing of a connection is in the copy?
 * Used by processes.c only.
 */
#ifndef SLM_KIT_PROCESSES_CHECK_H
#define SLM_KIT_PROCESSES_CHECK_H

#include <sqloom/sqloom.h>

/*
 * SQLOOM_USAGE: another thread, a socket or an SQLite database, which is named;
 * SQLOOM_IO: /proc cannot be read. is_ours(fd) tells sockets of other helpers.
 * *floor:
 * no descriptor from here on is open; those beyond the limit, where tools keep
 * theirs, do not count.
 */
enum sqloom_status slm_processes_check(bool (*is_ours)(int fd), int *floor,
				       struct sqloom_error *err);

#endif
