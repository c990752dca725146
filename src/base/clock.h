/* SPDX-License-Identifier: Apache-2.0 */
/* The monotonic clock, for budgets and progress only. No decision of a run
 * may depend on it. */
#ifndef SLM_BASE_CLOCK_H
#define SLM_BASE_CLOCK_H

#include <stdint.h>

uint64_t slm_clock_ns(void);
uint64_t slm_clock_ms(void);

#endif
