/* SPDX-License-Identifier: Apache-2.0 */
/* The one door to the heap; counts and, for tests, refuses allocations. */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static atomic_uint_fast64_t fail_from; /* 0: never */
static atomic_uint_fast64_t count;
static atomic_int_fast64_t live;

static bool refused(void)
{
	uint64_t from = atomic_load_explicit(&fail_from, memory_order_relaxed);
	uint64_t n =
		1 + atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);

	return from != 0 && n >= from;
}

static void *born(void *block)
{
	if (block)
		atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
	return block;
}

void *slm_malloc(size_t size)
{
	return refused() ? NULL : born(malloc(size ? size : 1));
}

void *slm_calloc(size_t n, size_t size)
{
	return refused() ? NULL : born(calloc(n ? n : 1, size ? size : 1));
}

void *slm_realloc(void *old, size_t size)
{
	if (!old)
		return slm_malloc(size);
	return refused() ? NULL : realloc(old, size ? size : 1);
}

void *slm_reallocarray(void *old, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total))
		return NULL;
	return slm_realloc(old, total);
}

char *slm_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = slm_malloc(size);

	return copy ? memcpy(copy, text, size) : NULL;
}

void slm_free(void *block)
{
	if (!block)
		return;
	atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
	free(block);
}

void slm_alloc_fail_from(uint64_t n)
{
	atomic_store(&count, 0);
	atomic_store(&fail_from, n);
}

uint64_t slm_alloc_count(void)
{
	return atomic_load(&count);
}

int64_t slm_alloc_live(void)
{
	return atomic_load(&live);
}
