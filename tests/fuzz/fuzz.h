/* SPDX-License-Identifier: Apache-2.0 */
/* What every fuzz target defines and replay.c and libFuzzer call. */
#ifndef SLM_TESTS_FUZZ_FUZZ_H
#define SLM_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Feeds size bytes of data (borrowed) to the parser. Returns 0; a fault is an
 * abort or a sanitizer's report. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
