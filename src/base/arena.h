/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is freed together: one arena per spec, per run, per report.
 * Allocation is a pointer bump; nothing is freed singly. slm_arena_clear()
 * keeps the blocks, so a warm arena allocates nothing from the heap. Every
 * allocation is aligned for any type. All return NULL when memory is out.
 */
#ifndef SLM_BASE_ARENA_H
#define SLM_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct slm_arena_block;

struct slm_arena {
	struct slm_arena_block *first;	 /* chain of blocks, in order of use */
	struct slm_arena_block *current; /* the one being filled */
	size_t used;			 /* bytes used in current */
};

/* Does not allocate, cannot fail. */
void slm_arena_init(struct slm_arena *arena);
void slm_arena_deinit(struct slm_arena *arena);
/* Forgets all contents, keeps the memory. */
void slm_arena_clear(struct slm_arena *arena);

void *slm_arena_alloc(struct slm_arena *arena, size_t size);
void *slm_arena_zalloc(struct slm_arena *arena, size_t count, size_t size);
char *slm_arena_strdup(struct slm_arena *arena, const char *text);
/* Copies size bytes and adds a NUL byte. */
char *slm_arena_strndup(struct slm_arena *arena, const char *text, size_t size);
char *slm_arena_printf(struct slm_arena *arena, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
char *slm_arena_vprintf(struct slm_arena *arena, const char *fmt, va_list args);

#endif
