/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coroutines: functions on stacks of their own that hand control back and
 * forth within one thread. A switch saves the registers that the ABI says a
 * callee keeps (about 2 ns on x86-64 and AArch64; elsewhere ucontext is used).
 * Under AddressSanitizer and ThreadSanitizer the switches are announced to it.
 *
 * A coroutine is resumed by one thread at a time, whichever it is, never from
 * within itself; its function must not return: it yields for good instead.
 */
#ifndef SLM_BASE_COROUTINE_H
#define SLM_BASE_COROUTINE_H

#include <stddef.h>

#define SLM_COROUTINE_STACK ((size_t)1024 * 1024) /* bytes, lazily backed */

struct slm_coroutine;

typedef void (*slm_coroutine_fn)(void *userdata);

/* NULL when memory is out. The stack has a guard page below it. */
struct slm_coroutine *slm_coroutine_new(slm_coroutine_fn fn, void *userdata);
/* Frees the stack whatever the coroutine was doing. free(NULL) is fine. */
void slm_coroutine_free(struct slm_coroutine *coroutine);

/* Runs the coroutine until it yields. */
void slm_coroutine_resume(struct slm_coroutine *coroutine);
/* Called on the coroutine's stack: goes back to who resumed it. */
void slm_coroutine_yield(struct slm_coroutine *coroutine);

#endif
