/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks from mmap with a guard page, and the switch between them. */
#include "base/coroutine.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif

#ifdef WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__) || defined(__aarch64__)
#define OWN_SWITCH 1
#else
#include <ucontext.h>
#endif

struct slm_coroutine {
	slm_coroutine_fn fn;
	void *userdata;
	char *stack; /* guard page and stack, from mmap */
	size_t size; /* of both */
	bool inside; /* is running now */
#ifdef OWN_SWITCH
	void *own_sp;	 /* stack pointer while it is not running */
	void *caller_sp; /* stack pointer of who resumed it */
#else
	ucontext_t own, caller;
#endif
#ifdef WITH_ASAN
	void *own_fake, *caller_fake;
	const void *caller_bottom;
	size_t caller_size;
#endif
#ifdef WITH_TSAN
	void *own_fiber, *caller_fiber;
#endif
};

#ifdef OWN_SWITCH
/* Saves the callee-saved registers on the stack, stores the stack pointer in
 * *save, continues where load was saved. */
void slm_coroutine_switch(void **save, void *load);
/* First activation: calls enter(coroutine), which does not return. */
void slm_coroutine_trampoline(void);
#endif

#if defined(__x86_64__)
__asm__(".text\n"
	".globl slm_coroutine_switch\n"
	".hidden slm_coroutine_switch\n"
	".type slm_coroutine_switch,@function\n"
	"slm_coroutine_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size slm_coroutine_switch,.-slm_coroutine_switch\n"
	".globl slm_coroutine_trampoline\n"
	".hidden slm_coroutine_trampoline\n"
	".type slm_coroutine_trampoline,@function\n"
	"slm_coroutine_trampoline:\n"
	"	movq %r12, %rdi\n"
	"	callq *%r13\n"
	"	ud2\n"
	".size slm_coroutine_trampoline,.-slm_coroutine_trampoline\n"
	".section .note.GNU-stack,\"\",@progbits\n"
	".text\n");
#elif defined(__aarch64__)
__asm__(".text\n"
	".globl slm_coroutine_switch\n"
	".hidden slm_coroutine_switch\n"
	".type slm_coroutine_switch,%function\n"
	"slm_coroutine_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size slm_coroutine_switch,.-slm_coroutine_switch\n"
	".globl slm_coroutine_trampoline\n"
	".hidden slm_coroutine_trampoline\n"
	".type slm_coroutine_trampoline,%function\n"
	"slm_coroutine_trampoline:\n"
	"	mov x0, x19\n"
	"	blr x20\n"
	"	brk #0\n"
	".size slm_coroutine_trampoline,.-slm_coroutine_trampoline\n"
	".section .note.GNU-stack,\"\",%progbits\n"
	".text\n");
#endif

static void enter(void *userdata)
{
	struct slm_coroutine *coroutine = userdata;

#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(NULL, &coroutine->caller_bottom,
					&coroutine->caller_size);
#endif
	coroutine->fn(coroutine->userdata);
	assert(!"a coroutine's function must not return");
	__builtin_trap();
}

#ifdef OWN_SWITCH
/* Lays out the stack as if slm_coroutine_switch() had been called there. */
static void prepare(struct slm_coroutine *coroutine)
{
	void **sp = (void **)(coroutine->stack + coroutine->size);

#if defined(__x86_64__)
	/* Two words, so that the trampoline, which was not called but returned
	 * to, makes its call with the stack aligned to 16 bytes. */
	*--sp = NULL;
	*--sp = NULL;
	*--sp = (void *)(uintptr_t)slm_coroutine_trampoline;
	*--sp = NULL;			  /* rbp */
	*--sp = NULL;			  /* rbx */
	*--sp = coroutine;		  /* r12 */
	*--sp = (void *)(uintptr_t)enter; /* r13 */
	*--sp = NULL;			  /* r14 */
	*--sp = NULL;			  /* r15 */
#else
	sp -= 20;
	for (int i = 0; i < 20; i++)
		sp[i] = NULL;
	sp[0] = coroutine;				      /* x19 */
	sp[1] = (void *)(uintptr_t)enter;		      /* x20 */
	sp[11] = (void *)(uintptr_t)slm_coroutine_trampoline; /* x30 */
#endif
	coroutine->own_sp = sp;
}
#else
static void enter_halves(unsigned high, unsigned low)
{
	enter((void *)(uintptr_t)(((uint64_t)high << 32) | low));
}

static void prepare(struct slm_coroutine *coroutine)
{
	uint64_t address = (uintptr_t)coroutine;

	getcontext(&coroutine->own);
	coroutine->own.uc_stack.ss_sp = coroutine->stack;
	coroutine->own.uc_stack.ss_size = coroutine->size;
	coroutine->own.uc_link = NULL;
	makecontext(&coroutine->own, (void (*)(void))enter_halves, 2,
		    (unsigned)(address >> 32), (unsigned)address);
}
#endif

struct slm_coroutine *slm_coroutine_new(slm_coroutine_fn fn, void *userdata)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct slm_coroutine *coroutine = slm_calloc(1, sizeof(*coroutine));

	if (!coroutine)
		return NULL;
	coroutine->fn = fn;
	coroutine->userdata = userdata;
	coroutine->size = SLM_COROUTINE_STACK + page;
	coroutine->stack = mmap(NULL, coroutine->size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
				0);
	if (coroutine->stack == MAP_FAILED) {
		slm_free(coroutine);
		return NULL;
	}
	if (mprotect(coroutine->stack, page, PROT_NONE) != 0) {
		munmap(coroutine->stack, coroutine->size);
		slm_free(coroutine);
		return NULL;
	}
	prepare(coroutine);
#ifdef WITH_TSAN
	coroutine->own_fiber = __tsan_create_fiber(0);
#endif
	return coroutine;
}

void slm_coroutine_free(struct slm_coroutine *coroutine)
{
	if (!coroutine)
		return;
	assert(!coroutine->inside);
#ifdef WITH_ASAN
	/* The frames left there are gone; the next mapping may be in their
	 * place. */
	__asan_unpoison_memory_region(coroutine->stack, coroutine->size);
#endif
#ifdef WITH_TSAN
	__tsan_destroy_fiber(coroutine->own_fiber);
#endif
	munmap(coroutine->stack, coroutine->size);
	slm_free(coroutine);
}

void slm_coroutine_resume(struct slm_coroutine *coroutine)
{
	assert(!coroutine->inside);
	coroutine->inside = true;
#ifdef WITH_ASAN
	__sanitizer_start_switch_fiber(&coroutine->caller_fake,
				       coroutine->stack, coroutine->size);
#endif
#ifdef WITH_TSAN
	coroutine->caller_fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(coroutine->own_fiber, 0);
#endif
#ifdef OWN_SWITCH
	slm_coroutine_switch(&coroutine->caller_sp, coroutine->own_sp);
#else
	swapcontext(&coroutine->caller, &coroutine->own);
#endif
#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(coroutine->caller_fake, NULL, NULL);
#endif
	coroutine->inside = false;
}

void slm_coroutine_yield(struct slm_coroutine *coroutine)
{
	assert(coroutine->inside);
#ifdef WITH_ASAN
	__sanitizer_start_switch_fiber(&coroutine->own_fake,
				       coroutine->caller_bottom,
				       coroutine->caller_size);
#endif
#ifdef WITH_TSAN
	__tsan_switch_to_fiber(coroutine->caller_fiber, 0);
#endif
#ifdef OWN_SWITCH
	slm_coroutine_switch(&coroutine->own_sp, coroutine->caller_sp);
#else
	swapcontext(&coroutine->own, &coroutine->caller);
#endif
#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(coroutine->own_fake,
					&coroutine->caller_bottom,
					&coroutine->caller_size);
#endif
}
