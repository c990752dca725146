/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that descends from a process, as /proc shows it. Needs a kernel with
 * CONFIG_PROC_CHILDREN, as distributions have it; without, nobody descends.
 */
#ifndef SLM_CALL_PROCESS_TREE_H
#define SLM_CALL_PROCESS_TREE_H

#include <stdbool.h>
#include <sys/types.h>

#define SLM_TREE_MAX 16384 /* processes of one tree */

/* Sends a signal to all that descend from root, not to root. What is forked
 * meanwhile may be missed. False: memory is out. */
bool slm_tree_signal(pid_t root, int number);

/*
 * Was there a moment in which every thread of all that descend from root
 * slept? Zombies sleep, and so does who was stopped. Also false if that cannot
 * be known: no /proc, more processes than the limit, memory is out.
 */
bool slm_tree_is_quiet(pid_t root);

/* Kills the children that the calling thread has now: what they leave becomes
 * its child if it is a subreaper, and the next round's work. Async-signal-safe.
 */
void slm_tree_kill_children(void);

/* Kills all processes of a session, until none is left or ms have passed. */
void slm_tree_kill_session(pid_t session, int ms);

#endif
