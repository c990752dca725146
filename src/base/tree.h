/* SPDX-License-Identifier: Apache-2.0 */
/* Removing a directory with all that is in it. */
#ifndef SLM_BASE_TREE_H
#define SLM_BASE_TREE_H

#include <stdbool.h>

/*
 * Removes the file or directory `name` below the directory `at` (a descriptor,
 * or AT_FDCWD), with everything in it. Follows no symbolic link, so that a
 * link within the tree costs nothing outside of it. Goes on after an error.
 * True: it is gone; false: errno of the last failure. What is not there is
 * gone.
 *
 * Async-signal-safe: may be called in the child of a process with threads,
 * between fork() and exec().
 */
bool slm_tree_remove(int at, const char *name);

#endif
