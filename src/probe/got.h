/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slots through which loaded programs and libraries (modules) call the
 * functions of a shared library: finding them, and putting other functions in.
 * Knows ELF and the dynamic linker; 64 bits, x86-64 and AArch64. Elsewhere it
 * finds nothing.
 *
 * Calls that do not go through a slot are not led anywhere: those inside of a
 * library that was linked with -Bsymbolic, and pointers to functions that the
 * program keeps in tables of its own.
 */
#ifndef SLM_PROBE_GOT_H
#define SLM_PROBE_GOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slm_got_function {
	const char *name;
	void (*wrapper)(void); /* what the slots shall lead to */
	uintptr_t real;	       /* in the library; 0: it does not have it */
};

/* Libraries loaded and unloaded so far: while it stays the same there are no
 * new slots. */
uint64_t slm_got_changes(void);

/*
 * Finds the functions in the shared library that has this address in it. False:
 * that is the program itself, or a library that keeps the first function to
 * itself; there are no slots then.
 */
bool slm_got_resolve(const void *inside, struct slm_got_function *functions,
		     size_t count);

/*
 * Leads every slot that belongs to one of the functions to its wrapper. Slots
 * that lead to another library's function of the same name are left alone. May
 * be repeated; not by two threads at once. Returns how many were changed.
 */
size_t slm_got_patch(const void *inside,
		     const struct slm_got_function *functions, size_t count);

#endif
