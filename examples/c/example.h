/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the examples have in common, so that each of them is its story: the
 * command line, and printing what an exploration came to. docs/c.md shows the
 * same in one file.
 *
 *     NAME [DATABASE] [--redis SOCKET] [--replay TOKEN]
 *
 * DATABASE: "postgresql://..." or an SQLite file; none: an empty SQLite
 * database. --redis: of a test's redis-server. --replay: only the schedule of a report that this program printed.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <sqloom/sqloom.h>

struct example {
	const char *database;	       /* as given; NULL */
	const char *redis;	       /* a Unix socket; NULL */
	const char *replay;	       /* the token; NULL: explore */
	struct sqloom_options options; /* may be changed, before exploring */
	sqloom_fn setup;	       /* of all explorations */
	sqloom_fn check;	       /* NULL */
	void *arg;		       /* of both */
	int failures;
	char source[512];
};

/* Reads the command line. Exits with 2 if it is wrong. */
void example_init(struct example *example, int argc, char **argv);

/*
 * Explores the calls, prints the report, and notes a failure unless the verdict
 * is what the story says: broken, or holds. When replaying: replays what is
 * said to be broken, and passes over what is said to hold.
 */
void example_explore(struct example *example, const char *name,
		     const struct sqloom_function *calls, size_t ncalls,
		     enum sqloom_verdict expected);

/* Notes a failure unless ok; prints what, and which it was. */
void example_expect(struct example *example, bool ok, const char *what);

/* The exit status: 0 if all was as expected, else 1. */
int example_end(const struct example *example);

/*
 * The call's own connection: opened in its first run, and kept for the next
 * ones, which makes an exploration many times faster. NULL: the call has been
 * failed, return -1. Of a call that needs the program's own store, or a handle
 * with transactions.
 */
struct store *example_store(struct sqloom_call *call);
struct sqloom_db *example_db(struct sqloom_call *call);

/* Fails the call with the message of err; returns what it shall return. */
int example_fail(struct sqloom_call *call, const struct sqloom_error *err);

#endif
