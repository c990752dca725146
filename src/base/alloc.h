/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one way to get memory from the heap, so that tests can make the n-th
 * allocation fail. Thread-safe. Sizes are in bytes; overflow of a product is
 * an ordinary failure (NULL).
 */
#ifndef SLM_BASE_ALLOC_H
#define SLM_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

void *slm_malloc(size_t size);
void *slm_calloc(size_t count, size_t size);
/* Like realloc: on failure the old block stays valid. */
void *slm_realloc(void *old, size_t size);
/* Array growth: realloc to count * size with overflow check. */
void *slm_reallocarray(void *old, size_t count, size_t size);
char *slm_strdup(const char *text);
void slm_free(void *block);

/*
 * Fault injection, for tests only: the n-th allocation from now on (1 is the
 * next) and all after it fail; 0 turns injection off.
 */
void slm_alloc_fail_from(uint64_t n);

/* How many allocations were made since slm_alloc_fail_from() was called. */
uint64_t slm_alloc_count(void);

/* Blocks now allocated and not freed: for leak and growth tests. */
int64_t slm_alloc_live(void);

#endif
