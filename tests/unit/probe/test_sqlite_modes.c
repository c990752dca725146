/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways to get the wrappers of SQLite's functions into a program, each with
 * a real one: hook_program.c linked to the shared libsqlite3, the same under
 * LD_PRELOAD, linked to libsqlite3.a with the module as an extension; and
 * Python, which loads SQLite for itself, under LD_PRELOAD.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"

#define PYTHON "/usr/bin/python3"

/* A module with a sanitizer in it cannot be loaded into every program. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static void become(const char *const *argv, const char *preload, int out)
{
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	if (preload)
		setenv("LD_PRELOAD", preload, 1);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

/* What the program prints; it must succeed. */
static void run(const char *const *argv, const char *preload,
		struct slm_buf *out)
{
	char chunk[4096];
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	slm_buf_init(out);
	slm_buf_puts(out, "");
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		become(argv, preload, fds[1]);
	close(fds[1]);
	while ((n = read(fds[0], chunk, sizeof(chunk))) > 0)
		slm_buf_printf(out, "%.*s", (int)n, chunk);
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s: status %x, and it said: %s", argv[0], status,
			 out->data);
}

static void expect(const char *program, const char *extension,
		   const char *preload, const char *text)
{
	const char *argv[] = { program, extension, NULL };
	struct slm_buf out;

	run(argv, preload, &out);
	assert_string_equal(out.data, text);
	slm_buf_deinit(&out);
}

#define CREATE                                                                 \
	"CREATE TRIGGER g AFTER INSERT ON t WHEN new.v = 1 BEGIN INSERT INTO " \
	"t VALUES (2); END;\n"

static const char all_seen[] = "begin CREATE TABLE t(v PRIMARY KEY);\n"
			       "end 101 CREATE TABLE t(v PRIMARY KEY);\n"
			       "begin " CREATE "end 101 " CREATE
			       "begin INSERT INTO t VALUES (1)\n"
			       "end 101 INSERT INTO t VALUES (1)\n"
			       "begin INSERT INTO t VALUES (1)\n"
			       "end 19 INSERT INTO t VALUES (1)\n"
			       "begin SELECT v FROM t\n"
			       "row 1\n"
			       "end 0 SELECT v FROM t\n";

/* Neither rows nor results. */
static const char all_traced[] = "begin CREATE TABLE t(v PRIMARY KEY);\n"
				 "end 0 CREATE TABLE t(v PRIMARY KEY);\n"
				 "begin " CREATE "end 0 " CREATE
				 "begin INSERT INTO t VALUES (1)\n"
				 "end 0 INSERT INTO t VALUES (1)\n"
				 "begin INSERT INTO t VALUES (1)\n"
				 "end 0 INSERT INTO t VALUES (1)\n"
				 "begin SELECT v FROM t\n"
				 "end 0 SELECT v FROM t\n";

static void expect_mode(const char *program, const char *extension,
			const char *preload, const char *before,
			const char *mode, const char *events)
{
	struct slm_buf text;

	slm_buf_init(&text);
	slm_buf_printf(&text, "before %s\nmode %s\n%s", before, mode, events);
	expect(program, extension, preload, text.data);
	slm_buf_deinit(&text);
}

static void test_linked(void **state)
{
	(void)state;
	expect_mode(HOOK_LINKED, NULL, NULL, "linked", "linked", all_seen);
	expect_mode(HOOK_LINKED_NOW, NULL, NULL, "linked", "linked", all_seen);
	expect_mode(HOOK_LINKED_FIXED, NULL, NULL, "linked", "linked",
		    all_seen);
}

/* libsqloom is a shared library of the program's. */
static void test_linked_to_shared_libsqloom(void **state)
{
	(void)state;
	expect_mode(HOOK_SHARED, NULL, NULL, "linked", "linked", all_seen);
}

/* An extension that is not needed changes nothing. */
static void test_linked_with_extension(void **state)
{
	(void)state;
	expect_mode(HOOK_LINKED, HOOK_MODULE, NULL, "linked", "linked",
		    all_seen);
}

static void test_preloaded(void **state)
{
	(void)state;
	expect_mode(HOOK_LINKED, NULL, HOOK_MODULE, "preloaded", "preloaded",
		    all_seen);
	expect_mode(HOOK_LINKED_NOW, NULL, HOOK_MODULE, "preloaded",
		    "preloaded", all_seen);
}

static void test_static(void **state)
{
	(void)state;
#ifdef HOOK_STATIC
	expect_mode(HOOK_STATIC, NULL, NULL, "absent", "absent", "");
	expect_mode(HOOK_STATIC, HOOK_MODULE, NULL, "absent", "extension",
		    all_traced);
	/* It was there already, and of no use so far. */
	expect_mode(HOOK_STATIC, HOOK_MODULE, HOOK_MODULE, "absent",
		    "extension", all_traced);
#else
	(void)all_traced;
	skip();
#endif
}

static void test_python(void **state)
{
	static const char script[] =
		"import sqlite3, threading\n"
		"db = sqlite3.connect(':memory:')\n"
		"db.execute('CREATE TABLE t(v)')\n"
		"db.executemany('INSERT INTO t VALUES (?)', [(1,), (2,)])\n"
		"db.commit()\n"
		"db.executescript('SELECT 1; INSERT INTO t VALUES (4);')\n"
		"try:\n"
		"    db.execute('nonsense')\n"
		"except sqlite3.OperationalError as e:\n"
		"    print(e)\n"
		"print(db.execute('SELECT sum(v) FROM t').fetchone())\n";
	const char *argv[] = { PYTHON, "-c", script, NULL };
	struct slm_buf out;

	(void)state;
	if (SANITIZED || access(PYTHON, X_OK) != 0)
		skip();
	run(argv, HOOK_MODULE, &out);
	assert_string_equal(out.data,
			    "near \"nonsense\": syntax error\n(7,)\n");
	slm_buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_linked),
		cmocka_unit_test(test_linked_to_shared_libsqloom),
		cmocka_unit_test(test_linked_with_extension),
		cmocka_unit_test(test_preloaded),
		cmocka_unit_test(test_static),
		cmocka_unit_test(test_python),
	};

	/* Of this program, not of what it runs. */
	setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
