/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job that comes before its row: whoever creates a page puts a job on a queue
 * in Redis, so that a worker announces it.
 *
 * The job is pushed inside of the transaction. A worker that is fast takes it
 * before the commit, and finds no such page. In tests that never happens: they
 * run the worker afterwards.
 * Fix: sqloom_on_commit(): the job is pushed when the page is there for all to
 * see, and not at all if the transaction is rolled back.
 *
 * What this example also shows is a part of the world that sqloom does not
 * know: Redis. Three things are needed.
 * - It is not put back between runs. set_up() and the check, which is called
 *   behind each run, empty the queue.
 * - Its commands are no steps. A point stands where the worker takes a job, so
 *   that the rest of the world may come in between before.
 * - The worker must not wait for a job: nobody would push one while it waits in
 *   a place that sqloom cannot see. It takes what is there, and ends. The
 *   orders that are interesting are those in which there is a job.
 *
 *     page_queue --redis SOCKET [DATABASE] [--replay TOKEN]
 *
 * SOCKET: the Unix socket of a redis-server that is there for tests.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis.h>
#include <sqloom/sqloom.h>

#include "example.h"

/* ---- The program ---------------------------------------------------------- */

/* What a request or a worker holds. */
struct context {
	struct sqloom_db *db;
	redisContext *redis;
	const char *queue;
	char error[256];
};

static bool push(struct context *context, const char *page)
{
	redisReply *reply = redisCommand(context->redis, "LPUSH %s %s",
					 context->queue, page);
	bool ok = reply && reply->type == REDIS_REPLY_INTEGER;

	freeReplyObject(reply);
	return ok;
}

static int create_page(struct sqloom_db *db, void *arg)
{
	struct context *context = arg;
	struct sqloom_error err;

	if (!sqloom_exec(db, "INSERT INTO page VALUES (1, 'Welcome')", &err) &&
	    !sqloom_exec(db, "INSERT INTO locator VALUES ('/welcome', 1)",
			 &err))
		return 0;
	snprintf(context->error, sizeof(context->error), "%.250s", err.message);
	return -1;
}

/* BROKEN: the worker hears of the page before anybody can see it. */
static int create_and_push(struct sqloom_db *db, void *arg)
{
	return create_page(db, arg) || !push(arg, "1");
}

static int push_page(void *context)
{
	return push(context, "1") ? 0 : -1;
}

/* Fixed: when it is committed. */
static int create_then_push(struct sqloom_db *db, void *arg)
{
	return create_page(db, arg) ||
	       sqloom_on_commit(db, push_page, arg, NULL, false, NULL);
}

/* Takes a job if there is one: 1; 0: there is none; -1: it failed. */
static int work(struct context *context, char announced[128])
{
	redisReply *job;
	struct sqloom_error err;
	char sql[128], *title = NULL;
	int done = -1;

	sqloom_point("before-pop");
	job = redisCommand(context->redis, "RPOP %s", context->queue);
	if (job && job->type == REDIS_REPLY_NIL) {
		done = 0;
	} else if (job && job->type == REDIS_REPLY_STRING) {
		snprintf(sql, sizeof(sql),
			 "SELECT title FROM page WHERE id = %ld",
			 strtol(job->str, NULL, 10));
		if (sqloom_query(context->db, sql, &title, &err))
			snprintf(context->error, sizeof(context->error),
				 "%.250s", err.message);
		else if (!title)
			snprintf(context->error, sizeof(context->error),
				 "there is no page %.20s", job->str);
		else
			done = 1;
	}
	if (done == 1)
		snprintf(announced, 128, "%s", title);
	sqloom_text_free(title);
	freeReplyObject(job);
	return done;
}

/* ---- The test ------------------------------------------------------------- */

/* Kept from run to run. */
static void disconnect(void *kept)
{
	struct context *context = kept;

	sqloom_db_close(context->db, NULL);
	if (context->redis)
		redisFree(context->redis);
	free(context);
}

static struct context *connect_all(struct sqloom_call *call, const char *socket)
{
	struct context *context = calloc(1, sizeof(*context));
	struct sqloom_error err;

	if (!context)
		return NULL;
	context->queue = "sqloom-example-pages";
	context->redis = redisConnectUnix(socket);
	if (!context->redis || context->redis->err) {
		sqloom_call_fail(call, "redis-server at %s: %s", socket,
				 context->redis ? context->redis->errstr :
						  "out of memory");
	} else if (sqloom_db_open(sqloom_call_database(call), &context->db,
				  &err)) {
		example_fail(call, &err);
	} else {
		return context;
	}
	disconnect(context);
	return NULL;
}

static struct context *context_of(struct sqloom_call *call, const char *socket)
{
	void **kept = sqloom_call_keep(call, disconnect);

	if (!*kept)
		*kept = connect_all(call, socket);
	return *kept;
}

static int edit(struct sqloom_call *call, const char *socket,
		sqloom_block_fn block)
{
	struct context *context = context_of(call, socket);
	struct sqloom_error err;

	if (!context)
		return -1;
	if (sqloom_atomic(context->db, NULL, block, context, &err))
		return example_fail(call, &err);
	return 0;
}

static int editor(struct sqloom_call *call, void *socket)
{
	return edit(call, socket, create_and_push);
}

static int fixed_editor(struct sqloom_call *call, void *socket)
{
	return edit(call, socket, create_then_push);
}

static int worker(struct sqloom_call *call, void *socket)
{
	struct context *context = context_of(call, socket);
	char announced[128] = "nothing to do";

	if (!context)
		return -1;
	if (work(context, announced) < 0)
		return sqloom_call_fail(call, "%s", context->error);
	sqloom_call_printf(call, "%s", announced);
	return 0;
}

static int empty_queue(struct sqloom_call *call, void *socket)
{
	struct context *context = context_of(call, socket);
	redisReply *reply;
	bool ok;

	if (!context)
		return -1;
	reply = redisCommand(context->redis, "DEL %s", context->queue);
	ok = reply && reply->type == REDIS_REPLY_INTEGER;
	freeReplyObject(reply);
	return ok ? 0 : sqloom_call_fail(call, "cannot empty the queue");
}

static int set_up(struct sqloom_call *call, void *socket)
{
	struct context *context = context_of(call, socket);
	struct sqloom_error err;

	if (!context)
		return -1;
	if (sqloom_exec(context->db,
			"DROP TABLE IF EXISTS locator;"
			"DROP TABLE IF EXISTS page;"
			"CREATE TABLE page ("
			"  id INTEGER PRIMARY KEY, title TEXT NOT NULL);"
			"CREATE TABLE locator (path VARCHAR(99) PRIMARY KEY,"
			"  page INTEGER NOT NULL REFERENCES page (id))",
			&err))
		return example_fail(call, &err);
	return empty_queue(call, socket);
}

int main(int argc, char **argv)
{
	struct sqloom_function calls[2] = {
		{ .name = "editor" }, { .name = "worker", .fn = worker }
	};
	struct example example;

	example_init(&example, argc, argv);
	if (!example.redis) {
		fprintf(stderr, "which Redis? Give --redis SOCKET\n");
		return 2;
	}
	calls[0].arg = calls[1].arg = example.arg = (void *)example.redis;
	example.setup = set_up;
	example.check = empty_queue;
	/* A call that waits for Redis does nothing on the database meanwhile:
	 * that is no stall, unless it lasts. */
	example.options.stall_after_ms = 5000;
	calls[0].fn = editor;
	example_explore(&example, "page queue", calls, 2, SQLOOM_BROKEN);
	calls[0].fn = fixed_editor;
	example_explore(&example, "page queue, on commit", calls, 2,
			SQLOOM_HOLDS);
	return example_end(&example);
}
