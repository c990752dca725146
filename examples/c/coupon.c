/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check-then-act: five customers redeem the one coupon, and one of them may
 * succeed.
 *
 * The function reads whether the coupon is used, and marks it as used. All who
 * read before the first mark get the discount. Five threads at once show that
 * on an unlucky day only: what they do is printed, and no test can count on it.
 * The exploration shows it each time.
 * Fix: one statement looks and marks; the number of rows that it changed is the
 * answer. Then one of five wins on threads, in processes of their own, and in
 * every order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqloom/sqloom.h>

#include "example.h"
#include "store.h"

#define CUSTOMERS 5
#define CODE "SPRING"

/* ---- The program ---------------------------------------------------------- */

/* 1: redeemed, 0: somebody else has, -1: it failed. */
static int redeem(struct store *store, const char *code)
{
	long open = store_run(store,
			      "SELECT code FROM coupon "
			      "WHERE code = $1 AND used = 0",
			      PARAMS(code), NULL);

	if (open != 1)
		return (int)open;
	return (int)store_run(store,
			      "UPDATE coupon SET used = 1 WHERE code = $1",
			      PARAMS(code), NULL);
}

static int redeem_at_once(struct store *store, const char *code)
{
	return (int)store_run(store,
			      "UPDATE coupon SET used = 1 "
			      "WHERE code = $1 AND used = 0",
			      PARAMS(code), NULL);
}

/* ---- The test ------------------------------------------------------------- */

static int tell(struct sqloom_call *call, const struct store *store, int done)
{
	if (done < 0)
		return sqloom_call_fail(call, "%s", store->error);
	return done ? 0 : sqloom_call_fail(call, "%s is used", CODE);
}

static int customer(struct sqloom_call *call, void *unused)
{
	struct store *store = example_store(call);

	(void)unused;
	return store ? tell(call, store, redeem(store, CODE)) : -1;
}

static int fixed_customer(struct sqloom_call *call, void *unused)
{
	struct store *store = example_store(call);

	(void)unused;
	return store ? tell(call, store, redeem_at_once(store, CODE)) : -1;
}

static const char schema[] = "DROP TABLE IF EXISTS coupon;"
			     "CREATE TABLE coupon ("
			     "  code VARCHAR(20) PRIMARY KEY,"
			     "  used INTEGER NOT NULL);"
			     "INSERT INTO coupon VALUES ('" CODE "', 0)";

static int set_up(struct sqloom_call *call, void *unused)
{
	struct store *store = example_store(call);

	(void)unused;
	if (!store || store_script(store, schema))
		return store ? 0 : -1;
	return sqloom_call_fail(call, "%s", store->error);
}

/* ---- Five at once --------------------------------------------------------- */

static int set_up_fixture(struct sqloom_db *db, void *unused)
{
	(void)unused;
	return sqloom_exec(db, schema, NULL) != SQLOOM_OK;
}

/* How many of five calls at once succeed; -1: it could not be tried. The
 * coupon is unused again afterwards. */
static int count_winners(struct sqloom_fixture *fixture,
			 struct sqloom_processes *processes, sqloom_fn fn,
			 struct sqloom_error *err)
{
	struct sqloom_calls_options options;
	struct sqloom_results *results;
	int winners;

	sqloom_calls_options_init(&options);
	options.processes = processes;
	options.database = sqloom_fixture_url(fixture);
	if (sqloom_call_concurrently(CUSTOMERS, fn, NULL, 0, &options, &results,
				     err))
		return -1;
	winners = CUSTOMERS - (int)sqloom_results_failed(results);
	if (winners == 0)
		printf("%s\n", sqloom_results_message(results));
	sqloom_results_free(results);
	return sqloom_fixture_restore(fixture, NULL, err) ? -1 : winners;
}

static void five_at_once(struct example *example,
			 struct sqloom_processes *processes)
{
	struct sqloom_error err = { 0 };
	struct sqloom_fixture_options options;
	struct sqloom_fixture *fixture = NULL;
	int winners;

	sqloom_fixture_options_init(&options);
	options.database = example->database;
	options.processes = true; /* a file, even if it is SQLite */
	options.setup = set_up_fixture;
	if (sqloom_fixture_open(&options, &fixture, &err)) {
		example_expect(example, false, err.message);
		return;
	}
	winners = count_winners(fixture, NULL, customer, &err);
	printf("five threads, broken: %d redeemed the coupon, this time\n",
	       winners);
	example_expect(example, winners >= 1, "somebody redeemed it");
	winners = count_winners(fixture, NULL, fixed_customer, &err);
	example_expect(example, winners == 1, "one of five threads");
	winners = count_winners(fixture, processes, fixed_customer, &err);
	example_expect(example, winners == 1, "one of five processes");
	if (sqloom_fixture_close(fixture, &err) || *err.message)
		example_expect(example, false, err.message);
}

int main(int argc, char **argv)
{
	struct sqloom_function calls[CUSTOMERS] = { 0 };
	struct sqloom_processes *processes;
	struct example example;
	struct sqloom_error err;

	example_init(&example, argc, argv);
	example.setup = set_up;
	/* Before there is any connection or thread. */
	if (sqloom_processes_start(&processes, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	for (size_t i = 0; i < CUSTOMERS; i++)
		calls[i].fn = customer;
	/* Two customers are enough to be too many. */
	example_explore(&example, "coupon", calls, 2, SQLOOM_BROKEN);
	for (size_t i = 0; i < CUSTOMERS; i++)
		calls[i].fn = fixed_customer;
	/* In memory all orders of five take no time; on a server, of three. */
	example_explore(&example, "coupon, at once", calls,
			example.database ? 3 : CUSTOMERS, SQLOOM_HOLDS);
	if (!example.replay)
		five_at_once(&example, processes);
	sqloom_processes_free(processes);
	return example_end(&example);
}
