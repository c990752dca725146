/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check-then-act in a receiver: whoever signs in for the first time gets a
 * profile, made by a receiver of a signal.
 *
 * The receiver looks whether there is a profile, and inserts one. A browser
 * that restores its tabs signs in twice at the same moment: both look, both
 * insert, and one of the requests ends in a server error. The code of the
 * request shows nothing of it; the receiver is somewhere else.
 * Fix: the receiver inserts, and the key decides: ON CONFLICT DO NOTHING.
 *
 * In tests that are not about profiles the receiver only costs time: there it
 * is suspended. The last test of this program shows that, in a transaction that
 * is rolled back at its end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqloom/sqloom.h>

#include "example.h"

/* ---- The program ---------------------------------------------------------- */

/* What receivers get. */
struct request {
	struct sqloom_db *db;
	struct sqloom_error *err;
};

static struct sqloom_signal signed_in = SQLOOM_SIGNAL_INIT("signed in");

static bool sign_in(struct sqloom_db *db, struct sqloom_error *err)
{
	struct request request = { db, err };

	if (sqloom_exec(db,
			"UPDATE member SET visits = visits + 1 WHERE id = 1",
			err))
		return false;
	return !sqloom_signal_send(&signed_in, NULL, &request, NULL, NULL);
}

/* BROKEN */
static int make_profile(struct sqloom_signal *signal, const void *sender,
			void *data, void *unused)
{
	struct request *request = data;
	char *found;

	(void)signal;
	(void)sender;
	(void)unused;
	if (sqloom_query(request->db,
			 "SELECT member FROM profile WHERE member = 1", &found,
			 request->err))
		return -1;
	if (found) {
		sqloom_text_free(found);
		return 0;
	}
	return sqloom_exec(request->db, "INSERT INTO profile VALUES (1)",
			   request->err);
}

/* Fixed */
static int ensure_profile(struct sqloom_signal *signal, const void *sender,
			  void *data, void *unused)
{
	struct request *request = data;

	(void)signal;
	(void)sender;
	(void)unused;
	return sqloom_exec(request->db,
			   "INSERT INTO profile VALUES (1) "
			   "ON CONFLICT DO NOTHING",
			   request->err);
}

/* ---- The test ------------------------------------------------------------- */

static const char schema[] = "DROP TABLE IF EXISTS profile;"
			     "DROP TABLE IF EXISTS member;"
			     "CREATE TABLE member ("
			     "  id INTEGER PRIMARY KEY,"
			     "  visits INTEGER NOT NULL);"
			     "CREATE TABLE profile ("
			     "  member INTEGER PRIMARY KEY"
			     "    REFERENCES member (id));"
			     "INSERT INTO member VALUES (1, 0)";

static int tab(struct sqloom_call *call, void *unused)
{
	struct sqloom_db *db = example_db(call);
	struct sqloom_error err;

	(void)unused;
	if (!db)
		return -1;
	return sign_in(db, &err) ? 0 : example_fail(call, &err);
}

static int set_up(struct sqloom_call *call, void *unused)
{
	struct sqloom_db *db = example_db(call);
	struct sqloom_error err;

	(void)unused;
	if (!db)
		return -1;
	return sqloom_exec(db, schema, &err) ? example_fail(call, &err) : 0;
}

static bool has_profiles(struct sqloom_db *db, const char *expected)
{
	char *count = NULL;
	bool same = !sqloom_query(db, "SELECT count(*) FROM profile", &count,
				  NULL) &&
		    count && strcmp(count, expected) == 0;

	sqloom_text_free(count);
	return same;
}

/* A test that is about signing in, and not about profiles. */
static void test_sign_in(struct example *example, struct sqloom_db *db)
{
	struct sqloom_suspension suspension = { .signal = &signed_in,
						.receiver = ensure_profile };
	struct sqloom_error err;
	uint64_t token;

	if (sqloom_fixture_begin(db, &err) ||
	    sqloom_signals_suspend(&suspension, &token, &err)) {
		example_expect(example, false, err.message);
		return;
	}
	example_expect(example, sign_in(db, &err) && has_profiles(db, "0"),
		       "no profile while the receiver is suspended");
	sqloom_signals_resume(token, NULL);
	example_expect(example, sign_in(db, &err) && has_profiles(db, "1"),
		       "a profile when it is resumed");
	example_expect(example,
		       !sqloom_fixture_rollback(db, &err) &&
			       has_profiles(db, "0"),
		       "no trace of the test afterwards");
}

static void test_without_receiver(struct example *example)
{
	const char *database = example->database;
	struct sqloom_error err;
	struct sqloom_db *db;

	if (sqloom_db_open(database ? database : ":memory:", &db, &err)) {
		example_expect(example, false, err.message);
		return;
	}
	if (sqloom_exec(db, schema, &err))
		example_expect(example, false, err.message);
	else
		test_sign_in(example, db);
	sqloom_db_close(db, NULL);
}

int main(int argc, char **argv)
{
	static const struct sqloom_function calls[] = {
		{ .name = "tab 1", .fn = tab },
		{ .name = "tab 2", .fn = tab },
	};
	struct sqloom_receiver receiver;
	struct example example;

	example_init(&example, argc, argv);
	example.setup = set_up;
	sqloom_receiver_init(&receiver);
	receiver.fn = make_profile;
	sqloom_signal_connect(&signed_in, &receiver, NULL);
	example_explore(&example, "profile", calls, 2, SQLOOM_BROKEN);
	sqloom_signal_disconnect(&signed_in, &receiver);
	receiver.fn = ensure_profile;
	sqloom_signal_connect(&signed_in, &receiver, NULL);
	example_explore(&example, "profile, ensured", calls, 2, SQLOOM_HOLDS);
	if (!example.replay)
		test_without_receiver(&example);
	sqloom_signal_disconnect(&signed_in, &receiver);
	return example_end(&example);
}
