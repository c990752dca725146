/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private directory of a file store. It is locked (flock) as long as its
 * process lives, so that what a killed process left behind is told from what
 * is in use, and is removed when the next store is made.
 */
#ifndef SLM_DB_SQLITE_PRIVATE_H
#define SLM_DB_SQLITE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Makes a directory PLACE/sqloom-PID-XXXXXX that only this user can enter, in
 * /dev/shm or else in P_tmpdir: its path into path (size bytes), *lock the
 * descriptor that keeps it locked. False with errno: neither place will do.
 */
bool slm_private_make(char *path, size_t size, int *lock);

/* Removes it with all that is in it and closes lock (-1 is fine). */
void slm_private_remove(const char *path, int lock);

#endif
