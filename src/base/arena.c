/* SPDX-License-Identifier: Apache-2.0 */
/* A chain of blocks; clear() rewinds to the first and keeps them all. */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

#define BLOCK_SIZE ((size_t)16 * 1024)
#define ALIGNMENT _Alignof(max_align_t)

struct slm_arena_block {
	struct slm_arena_block *next;
	size_t size; /* bytes of data */
	max_align_t data[];
};

void slm_arena_init(struct slm_arena *arena)
{
	memset(arena, 0, sizeof(*arena));
}

void slm_arena_deinit(struct slm_arena *arena)
{
	struct slm_arena_block *block = arena->first;

	while (block) {
		struct slm_arena_block *next = block->next;

		slm_free(block);
		block = next;
	}
	slm_arena_init(arena);
}

void slm_arena_clear(struct slm_arena *arena)
{
	arena->current = arena->first;
	arena->used = 0;
}

/* Moves to the next kept block that can hold size bytes, or adds one. */
static void *alloc_slow(struct slm_arena *arena, size_t size)
{
	struct slm_arena_block *block;
	struct slm_arena_block **link = arena->current ? &arena->current->next :
							 &arena->first;

	block = *link;
	if (!block || block->size < size) {
		size_t want = size > BLOCK_SIZE ? size : BLOCK_SIZE;

		if (want > SIZE_MAX - sizeof(*block))
			return NULL;
		block = slm_malloc(sizeof(*block) + want);
		if (!block)
			return NULL;
		block->size = want;
		block->next = *link;
		*link = block;
	}
	arena->current = block;
	arena->used = size;
	return block->data;
}

void *slm_arena_alloc(struct slm_arena *arena, size_t size)
{
	size_t used;

	if (size > SIZE_MAX - ALIGNMENT)
		return NULL;
	size = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
	if (!arena->current || arena->current->size - arena->used < size)
		return alloc_slow(arena, size);
	used = arena->used;
	arena->used += size;
	return (char *)arena->current->data + used;
}

void *slm_arena_zalloc(struct slm_arena *arena, size_t count, size_t size)
{
	size_t total;
	void *block;

	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	block = slm_arena_alloc(arena, total);
	return block ? memset(block, 0, total) : NULL;
}

char *slm_arena_strndup(struct slm_arena *arena, const char *text, size_t size)
{
	char *copy = size < SIZE_MAX ? slm_arena_alloc(arena, size + 1) : NULL;

	if (!copy)
		return NULL;
	if (size)
		memcpy(copy, text, size);
	copy[size] = '\0';
	return copy;
}

char *slm_arena_strdup(struct slm_arena *arena, const char *text)
{
	return slm_arena_strndup(arena, text, strlen(text));
}

char *slm_arena_vprintf(struct slm_arena *arena, const char *fmt, va_list args)
{
	va_list again;
	char *text;
	int size;

	va_copy(again, args);
	size = vsnprintf(NULL, 0, fmt, args);
	text = size < 0 ? NULL : slm_arena_alloc(arena, (size_t)size + 1);
	if (text)
		vsnprintf(text, (size_t)size + 1, fmt, again);
	va_end(again);
	return text;
}

char *slm_arena_printf(struct slm_arena *arena, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = slm_arena_vprintf(arena, fmt, args);
	va_end(args);
	return text;
}
