/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sending a signal has to know of the suspensions. Thread-safe.
 */
#ifndef SLM_KIT_SIGNALS_H
#define SLM_KIT_SIGNALS_H

#include <sqloom/sqloom.h>

/*
 * Must this receiver not be called for what is being sent to it now, by the
 * calling thread? Every suspension that says so counts it.
 */
bool slm_signals_silenced(const struct sqloom_signal *signal,
			  const void *sender, sqloom_receiver_fn receiver,
			  bool suspendable);

/* Copies a name (NULL: "") that ends up in a line of text; control characters
 * become blanks. size > 0 is that of copy, with the NUL. */
void slm_signals_copy_name(char *copy, size_t size, const char *name);

#endif
