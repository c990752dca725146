/* SPDX-License-Identifier: Apache-2.0 */
/* hook_program.c is a program, and a library of another. */
#ifndef SLM_TESTS_HOOK_PROGRAM_H
#define SLM_TESTS_HOOK_PROGRAM_H

__attribute__((visibility("default"))) int hook_main(int argc, char **argv);

#endif
