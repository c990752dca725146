/* SPDX-License-Identifier: Apache-2.0 */
/* Signals: who is called, in which order, and who is suspended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include <sqloom/sqloom.h>

#include "base/alloc.h"

static struct sqloom_signal saved = SQLOOM_SIGNAL_INIT("saved");
static struct sqloom_signal removed = SQLOOM_SIGNAL_INIT("removed");
static struct sqloom_error err;
static char heard[64]; /* a letter for each call */
static int64_t live_before;

/* Its letter, and what it returns. */
struct part {
	char letter;
	int returned;
};

static struct part a = { 'a', 0 }, b = { 'b', 0 }, c = { 'c', 0 };
static struct part failing = { 'f', 7 }, failing_too = { 'g', 8 };

static int hear(struct sqloom_signal *signal, const void *sender, void *data,
		void *arg)
{
	const struct part *part = arg;
	size_t used = strlen(heard);

	(void)signal;
	(void)sender;
	(void)data;
	assert_true(used + 1 < sizeof(heard));
	heard[used] = part->letter;
	heard[used + 1] = '\0';
	return part->returned;
}

/* Another function that does the same. */
static int hear_too(struct sqloom_signal *signal, const void *sender,
		    void *data, void *arg)
{
	return hear(signal, sender, data, arg);
}

static struct sqloom_receiver receiver_of(struct part *part)
{
	struct sqloom_receiver receiver;

	sqloom_receiver_init(&receiver);
	receiver.fn = hear;
	receiver.arg = part;
	return receiver;
}

static void connect_receiver(struct sqloom_signal *signal,
			     struct sqloom_receiver receiver)
{
	assert_int_equal(sqloom_signal_connect(signal, &receiver, &err),
			 SQLOOM_OK);
}

static void connect_part(struct part *part)
{
	connect_receiver(&saved, receiver_of(part));
}

static bool disconnect_part(struct part *part)
{
	struct sqloom_receiver receiver = receiver_of(part);

	return sqloom_signal_disconnect(&saved, &receiver);
}

static uint64_t suspend(struct sqloom_suspension what)
{
	uint64_t token = 0;

	assert_int_equal(sqloom_signals_suspend(&what, &token, &err),
			 SQLOOM_OK);
	assert_true(token != 0);
	return token;
}

static void resume(uint64_t token)
{
	assert_int_equal(sqloom_signals_resume(token, &err), SQLOOM_OK);
}

/* What is heard when saved is sent. */
static const char *sent_by(const void *sender)
{
	memset(heard, 0, sizeof(heard));
	(void)sqloom_signal_send_robust(&saved, sender, NULL, NULL, &err);
	return heard;
}

static const char *sent(void)
{
	return sent_by(NULL);
}

static int setup(void **state)
{
	(void)state;
	memset(heard, 0, sizeof(heard));
	memset(&err, 0, sizeof(err));
	live_before = slm_alloc_live();
	return 0;
}

/* Every test takes away what it connected, and then nothing may be left. */
static int teardown(void **state)
{
	(void)state;
	slm_alloc_fail_from(0);
	return saved.receivers || removed.receivers ||
			       sqloom_signals_suspended(NULL) != 0 ||
			       slm_alloc_live() != live_before ?
		       -1 :
		       0;
}

/* ---- Connecting --------------------------------------------------------- */

static void test_order_of_connecting(void **state)
{
	(void)state;
	assert_string_equal(sent(), "");
	connect_part(&b);
	connect_part(&a);
	connect_part(&c);
	assert_string_equal(sent(), "bac");
	assert_true(disconnect_part(&b));
	connect_part(&b);
	assert_string_equal(sent(), "acb");
	assert_true(disconnect_part(&a));
	assert_true(disconnect_part(&b));
	assert_true(disconnect_part(&c));
	assert_string_equal(sent(), "");
	assert_null(saved.receivers);
}

static void test_what_is_connected_is_connected_once(void **state)
{
	(void)state;
	connect_part(&a);
	connect_part(&b);
	connect_part(&a);
	assert_string_equal(sent(), "ab");
	assert_true(disconnect_part(&a));
	assert_false(disconnect_part(&a));
	assert_true(disconnect_part(&b));
	assert_false(disconnect_part(&b));
}

static void test_function_argument_and_sender_are_the_identity(void **state)
{
	struct sqloom_receiver other = receiver_of(&a);
	struct sqloom_receiver filtered = receiver_of(&a);
	struct sqloom_receiver suspendable = receiver_of(&a);

	(void)state;
	other.fn = hear_too;
	filtered.sender = &b;
	suspendable.suspendable = true;
	connect_part(&a);
	connect_receiver(&saved, other);
	connect_receiver(&saved, filtered);
	connect_receiver(&saved, suspendable);
	assert_string_equal(sent_by(&b), "aaa");
	assert_true(sqloom_signal_disconnect(&saved, &filtered));
	assert_string_equal(sent_by(&b), "aa");
	assert_true(sqloom_signal_disconnect(&saved, &other));
	assert_string_equal(sent_by(&b), "a");
	assert_true(disconnect_part(&a));
}

static void test_an_id_is_the_identity(void **state)
{
	struct sqloom_receiver first = receiver_of(&a);
	struct sqloom_receiver second = receiver_of(&b);
	struct sqloom_receiver only_id = { .id = "cache" };
	char id[] = "cache";

	(void)state;
	first.id = id;
	second.id = "cache";
	connect_receiver(&saved, first);
	strcpy(id, "gone"); /* it was copied */
	connect_receiver(&saved, second);
	connect_part(&a); /* without an id: another one */
	assert_string_equal(sent(), "aa");
	assert_true(disconnect_part(&a));
	assert_false(disconnect_part(&a));
	assert_true(sqloom_signal_disconnect(&saved, &only_id));
	assert_false(sqloom_signal_disconnect(&saved, &only_id));
}

static void test_signals_do_not_mix(void **state)
{
	struct sqloom_receiver receiver = receiver_of(&b);

	(void)state;
	connect_part(&a);
	connect_receiver(&removed, receiver);
	assert_string_equal(sent(), "a");
	assert_false(sqloom_signal_disconnect(&saved, &receiver));
	assert_true(sqloom_signal_disconnect(&removed, &receiver));
	assert_true(disconnect_part(&a));
}

static void test_misuse_is_told(void **state)
{
	struct sqloom_receiver nothing;
	struct sqloom_receiver receiver = receiver_of(&a);

	(void)state;
	sqloom_receiver_init(&nothing);
	assert_int_equal(sqloom_signal_connect(&saved, &nothing, &err),
			 SQLOOM_USAGE);
	assert_string_equal(err.message,
			    "the receiver for signal \"saved\" has no "
			    "function; set its fn before it is connected");
	assert_int_equal(sqloom_signal_connect(NULL, &receiver, &err),
			 SQLOOM_USAGE);
	assert_int_equal(sqloom_signal_connect(&saved, NULL, NULL),
			 SQLOOM_USAGE);
	assert_int_equal(sqloom_signal_send(NULL, NULL, NULL, NULL, &err),
			 SQLOOM_USAGE);
	assert_false(sqloom_signal_disconnect(NULL, &receiver));
	assert_false(sqloom_signal_disconnect(&saved, NULL));
}

static void test_memory_that_is_out(void **state)
{
	struct sqloom_receiver receiver = receiver_of(&a);
	unsigned failures = 0;

	(void)state;
	receiver.id = "cache";
	for (uint64_t n = 1;; n++) {
		enum sqloom_status status;

		slm_alloc_fail_from(n);
		status = sqloom_signal_connect(&saved, &receiver, &err);
		slm_alloc_fail_from(0);
		if (status == SQLOOM_OK)
			break;
		assert_int_equal(status, SQLOOM_NOMEM);
		assert_string_equal(err.message, "out of memory");
		assert_null(saved.receivers);
		assert_int_equal(slm_alloc_live(), live_before);
		failures++;
	}
	assert_int_equal(failures, 3); /* list, its array, the id */
	assert_string_equal(sent(), "a");
	assert_true(sqloom_signal_disconnect(&saved, &receiver));
}

/* ---- Sending ------------------------------------------------------------ */

static int remember(struct sqloom_signal *signal, const void *sender,
		    void *data, void *arg)
{
	const void **seen = arg;

	seen[0] = signal;
	seen[1] = sender;
	seen[2] = data;
	return 0;
}

static void test_what_a_receiver_is_given(void **state)
{
	const void *seen[3] = { NULL };
	struct sqloom_receiver receiver = { .fn = remember, .arg = seen };
	int data;

	(void)state;
	connect_receiver(&saved, receiver);
	assert_int_equal(sqloom_signal_send(&saved, &a, &data, NULL, NULL),
			 SQLOOM_OK);
	assert_ptr_equal(seen[0], &saved);
	assert_ptr_equal(seen[1], &a);
	assert_ptr_equal(seen[2], &data);
	assert_true(sqloom_signal_disconnect(&saved, &receiver));
}

static void test_senders_are_told_apart(void **state)
{
	struct sqloom_receiver only_b = receiver_of(&b);

	(void)state;
	only_b.sender = &b;
	connect_part(&a);
	connect_receiver(&saved, only_b);
	assert_string_equal(sent_by(&b), "ab");
	assert_string_equal(sent_by(&a), "a");
	assert_string_equal(sent_by(NULL), "a");
	assert_true(sqloom_signal_disconnect(&saved, &only_b));
	assert_true(disconnect_part(&a));
}

static void connect_five(void)
{
	struct sqloom_receiver named = receiver_of(&failing);

	named.id = "mail\n";
	connect_part(&a);
	connect_receiver(&saved, named);
	connect_part(&b);
	connect_part(&failing_too);
	connect_part(&c);
}

static void disconnect_five(void)
{
	struct sqloom_receiver named = { .id = "mail\n" };

	assert_true(disconnect_part(&a));
	assert_true(sqloom_signal_disconnect(&saved, &named));
	assert_true(disconnect_part(&b));
	assert_true(disconnect_part(&failing_too));
	assert_true(disconnect_part(&c));
}

static void test_send_ends_at_the_first_failure(void **state)
{
	size_t called = 99;

	(void)state;
	connect_five();
	assert_int_equal(sqloom_signal_send(&saved, NULL, NULL, &called, &err),
			 SQLOOM_CALL);
	assert_string_equal(heard, "af");
	assert_int_equal(called, 2);
	assert_int_equal(err.status, SQLOOM_CALL);
	assert_string_equal(err.message,
			    "signal \"saved\": receiver 2 of 5 (mail ) "
			    "returned 7; those behind it were not called");
	disconnect_five();
}

static void test_robust_calls_all(void **state)
{
	size_t called = 99;

	(void)state;
	connect_five();
	assert_int_equal(sqloom_signal_send_robust(&saved, NULL, NULL, &called,
						   &err),
			 SQLOOM_CALL);
	assert_string_equal(heard, "afbgc");
	assert_int_equal(called, 5);
	assert_string_equal(err.message,
			    "signal \"saved\": receiver 2 of 5 (mail ) "
			    "returned 7 (2 of the 5 that were called failed)");
	assert_int_equal(sqloom_signal_send_robust(&saved, NULL, NULL, NULL,
						   NULL),
			 SQLOOM_CALL);
	disconnect_five();
	assert_int_equal(sqloom_signal_send(&saved, NULL, NULL, &called, &err),
			 SQLOOM_OK);
	assert_int_equal(called, 0);
}

static void test_the_last_that_fails(void **state)
{
	struct sqloom_signal nameless = SQLOOM_SIGNAL_INIT(NULL);
	struct sqloom_receiver receiver = receiver_of(&failing);

	(void)state;
	connect_receiver(&nameless, receiver);
	assert_int_equal(sqloom_signal_send(&nameless, NULL, NULL, NULL, &err),
			 SQLOOM_CALL);
	assert_string_equal(err.message, "signal \"(without a name)\": "
					 "receiver 1 of 1 returned 7");
	assert_true(sqloom_signal_disconnect(&nameless, &receiver));
	assert_null(nameless.receivers);
}

/* ---- Receivers that change what they are in ----------------------------- */

/* What a receiver does while it runs. */
struct deed {
	struct part part; /* first: it is heard, too */
	struct sqloom_receiver connects, disconnects; /* fn NULL: nothing */
	struct sqloom_signal *sends;
	struct sqloom_suspension suspends;
	uint64_t *token; /* NULL: suspends nothing */
	jmp_buf *jump;	 /* NULL: returns */
};

static int act(struct sqloom_signal *signal, const void *sender, void *data,
	       void *arg)
{
	struct deed *deed = arg;

	(void)hear(signal, sender, data, &deed->part);
	if (deed->connects.fn)
		connect_receiver(signal, deed->connects);
	if (deed->disconnects.fn)
		assert_true(
			sqloom_signal_disconnect(signal, &deed->disconnects));
	if (deed->sends)
		assert_int_equal(sqloom_signal_send(deed->sends, sender, data,
						    NULL, NULL),
				 SQLOOM_OK);
	if (deed->token)
		*deed->token = suspend(deed->suspends);
	if (deed->jump)
		longjmp(*deed->jump, 1);
	return 0;
}

static struct sqloom_receiver receiver_of_deed(struct deed *deed)
{
	struct sqloom_receiver receiver;

	sqloom_receiver_init(&receiver);
	receiver.fn = act;
	receiver.arg = deed;
	return receiver;
}

static void test_a_receiver_connects_another(void **state)
{
	struct deed deed = { .part = { 'x', 0 }, .connects = receiver_of(&b) };
	struct sqloom_receiver receiver = receiver_of_deed(&deed);

	(void)state;
	connect_receiver(&saved, receiver);
	connect_part(&a);
	assert_string_equal(sent(), "xa"); /* the new one: from the next on */
	assert_string_equal(sent(), "xab");
	assert_true(sqloom_signal_disconnect(&saved, &receiver));
	assert_true(disconnect_part(&a));
	assert_true(disconnect_part(&b));
}

static void test_a_receiver_disconnects_itself(void **state)
{
	struct deed deed = { .part = { 'x', 0 } };
	struct sqloom_receiver receiver = receiver_of_deed(&deed);

	(void)state;
	deed.disconnects = receiver;
	connect_part(&a);
	connect_receiver(&saved, receiver);
	connect_part(&b);
	assert_string_equal(sent(), "axb");
	assert_string_equal(sent(), "ab");
	assert_true(disconnect_part(&a));
	assert_true(disconnect_part(&b));
	connect_receiver(&saved, receiver); /* the last one, too */
	assert_string_equal(sent(), "x");
}

static void test_a_receiver_disconnects_those_around_it(void **state)
{
	struct deed deed = { .part = { 'x', 0 },
			     .disconnects = receiver_of(&b) };
	struct sqloom_receiver receiver = receiver_of_deed(&deed);

	(void)state;
	connect_part(&a);
	connect_receiver(&saved, receiver);
	connect_part(&b);
	connect_part(&c);
	assert_string_equal(sent(), "axc");
	deed.disconnects = receiver_of(&a);
	assert_string_equal(sent(), "axc");
	deed.disconnects.fn = NULL;
	assert_string_equal(sent(), "xc");
	assert_true(sqloom_signal_disconnect(&saved, &receiver));
	assert_true(disconnect_part(&c));
}

static void test_a_receiver_sends(void **state)
{
	struct deed deed = { .part = { 'x', 0 }, .sends = &removed };
	struct sqloom_receiver receiver = receiver_of_deed(&deed);
	struct sqloom_receiver other = receiver_of(&c);

	(void)state;
	connect_receiver(&saved, receiver);
	connect_part(&a);
	connect_receiver(&removed, other);
	assert_string_equal(sent(), "xca");
	assert_true(sqloom_signal_disconnect(&removed, &other));
	assert_true(sqloom_signal_disconnect(&saved, &receiver));
	assert_true(disconnect_part(&a));
}

static void test_a_receiver_suspends(void **state)
{
	uint64_t token = 0;
	struct deed deed = { .part = { 'x', 0 }, .token = &token };
	struct sqloom_receiver receiver = receiver_of_deed(&deed);

	(void)state;
	deed.suspends.receiver = hear;
	connect_receiver(&saved, receiver);
	connect_part(&a);
	assert_string_equal(sent(), "x");
	resume(token);
	deed.token = NULL;
	assert_string_equal(sent(), "xa");
	assert_true(sqloom_signal_disconnect(&saved, &receiver));
	assert_true(disconnect_part(&a));
}

/* As a failed assertion of a test does. */
static void test_a_receiver_jumps_out(void **state)
{
	jmp_buf jump;
	struct deed deed = { .part = { 'x', 0 }, .jump = &jump };
	struct sqloom_receiver receiver = receiver_of_deed(&deed);

	(void)state;
	connect_receiver(&saved, receiver);
	connect_part(&a);
	if (setjmp(jump) == 0) {
		(void)sent();
		fail();
	}
	assert_string_equal(heard, "x");
	assert_true(sqloom_signal_disconnect(&saved, &receiver));
	assert_string_equal(sent(), "a");
	assert_true(disconnect_part(&a));
}

/* ---- Suspending --------------------------------------------------------- */

static void test_everything_is_suspended(void **state)
{
	uint64_t token;
	size_t called = 99;

	(void)state;
	connect_part(&failing);
	token = suspend((struct sqloom_suspension){ 0 });
	assert_string_equal(sent(), "");
	assert_int_equal(sqloom_signal_send(&saved, NULL, NULL, &called, &err),
			 SQLOOM_OK);
	assert_int_equal(called, 0);
	resume(token);
	assert_string_equal(sent(), "f");
	assert_true(disconnect_part(&failing));
}

static void test_one_signal_is_suspended(void **state)
{
	struct sqloom_receiver receiver = receiver_of(&b);
	uint64_t token;

	(void)state;
	connect_part(&a);
	connect_receiver(&removed, receiver);
	token = suspend((struct sqloom_suspension){ .signal = &removed });
	assert_string_equal(sent(), "a");
	(void)sqloom_signal_send(&removed, NULL, NULL, NULL, NULL);
	assert_string_equal(heard, "a");
	resume(token);
	(void)sqloom_signal_send(&removed, NULL, NULL, NULL, NULL);
	assert_string_equal(heard, "ab");
	assert_true(sqloom_signal_disconnect(&removed, &receiver));
	assert_true(disconnect_part(&a));
}

static void test_one_sender_and_one_receiver_are_suspended(void **state)
{
	struct sqloom_receiver other = receiver_of(&b);
	uint64_t token;

	(void)state;
	other.fn = hear_too;
	connect_part(&a);
	connect_receiver(&saved, other);

	token = suspend((struct sqloom_suspension){ .sender = &c });
	assert_string_equal(sent_by(&c), "");
	assert_string_equal(sent_by(&a), "ab");
	resume(token);

	token = suspend((struct sqloom_suspension){ .receiver = hear });
	assert_string_equal(sent_by(&c), "b");
	resume(token);

	/* All that is said must fit. */
	token = suspend((struct sqloom_suspension){
		.signal = &saved, .sender = &c, .receiver = hear_too });
	assert_string_equal(sent_by(&c), "a");
	assert_string_equal(sent_by(&a), "ab");
	resume(token);
	token = suspend(
		(struct sqloom_suspension){ .signal = &removed, .sender = &c });
	assert_string_equal(sent_by(&c), "ab");
	resume(token);
	assert_true(sqloom_signal_disconnect(&saved, &other));
	assert_true(disconnect_part(&a));
}

static void test_suspensions_stack_in_any_order(void **state)
{
	struct sqloom_suspension all = { 0 };
	uint64_t first, second, third;

	(void)state;
	connect_part(&a);
	first = suspend(all);
	second = suspend(all);
	third = suspend(all);
	assert_true(first != second && second != third && first != third);
	resume(second);
	assert_string_equal(sent(), "");
	resume(first);
	assert_string_equal(sent(), "");
	resume(third);
	assert_string_equal(sent(), "a");
	assert_true(disconnect_part(&a));
}

static void test_resuming_what_is_not_suspended(void **state)
{
	uint64_t token = suspend((struct sqloom_suspension){ 0 });
	char expected[128];

	(void)state;
	resume(token);
	assert_int_equal(sqloom_signals_resume(token, &err), SQLOOM_USAGE);
	snprintf(expected, sizeof(expected),
		 "suspension %llu was resumed before; resume each one once",
		 (unsigned long long)token);
	assert_string_equal(err.message, expected);
	assert_int_equal(sqloom_signals_resume(token + 1, &err), SQLOOM_USAGE);
	assert_non_null(strstr(err.message, "there is no suspension"));
	assert_int_equal(sqloom_signals_resume(0, &err), SQLOOM_USAGE);
	assert_non_null(strstr(err.message, "there is no suspension 0;"));
}

static void test_suspending_that_fails(void **state)
{
	struct sqloom_suspension all = { 0 };
	uint64_t token = 5;

	(void)state;
	assert_int_equal(sqloom_signals_suspend(NULL, &token, &err),
			 SQLOOM_USAGE);
	assert_int_equal(sqloom_signals_suspend(&all, NULL, &err),
			 SQLOOM_USAGE);
	slm_alloc_fail_from(1);
	assert_int_equal(sqloom_signals_suspend(&all, &token, &err),
			 SQLOOM_NOMEM);
	assert_int_equal(token, 5);
}

/* ---- What was left ------------------------------------------------------ */

static void test_what_was_never_resumed_is_told(void **state)
{
	struct sqloom_signal *gone = test_malloc(sizeof(*gone));
	uint64_t one, two, three;
	char expected[1024];
	char *text = NULL;

	(void)state;
	connect_part(&a);
	*gone = (struct sqloom_signal)SQLOOM_SIGNAL_INIT("go\nne");
	one = suspend((struct sqloom_suspension){ .this_thread = true });
	two = suspend((struct sqloom_suspension){
		.signal = &saved, .sender = &c, .receiver = hear });
	three = suspend((struct sqloom_suspension){ .signal = gone });
	test_free(gone); /* its name was copied */
	(void)sent_by(&c);
	(void)sent_by(NULL);

	assert_int_equal(sqloom_signals_suspended(NULL), 3);
	assert_int_equal(sqloom_signals_suspended(&text), 3);
	snprintf(
		expected, sizeof(expected),
		"suspension %llu: all signals, sent by this thread; was never "
		"resumed, and left out 2 calls of receivers\n"
		"suspension %llu: signal \"saved\", sender %p, receiver %#llx; "
		"was never resumed, and left out 1 call of receivers\n"
		"suspension %llu: signal \"go ne\"; was never resumed, and "
		"left out 0 calls of receivers\n",
		(unsigned long long)one, (unsigned long long)two, (void *)&c,
		(unsigned long long)(uintptr_t)hear, (unsigned long long)three);
	assert_string_equal(text, expected);
	sqloom_text_free(text);
	resume(one);
	resume(two);
	resume(three);
	assert_true(disconnect_part(&a));
	assert_int_equal(sqloom_signals_suspended(&text), 0);
	assert_string_equal(text, "");
	sqloom_text_free(text);
}

static void test_telling_when_memory_is_out(void **state)
{
	uint64_t token = suspend((struct sqloom_suspension){ 0 });
	char *text = heard;

	(void)state;
	slm_alloc_fail_from(1);
	assert_int_equal(sqloom_signals_suspended(&text), 1);
	assert_null(text);
	slm_alloc_fail_from(0);
	resume(token);
}

/* ---- The switch --------------------------------------------------------- */

static void test_the_switch_is_for_those_that_opted_in(void **state)
{
	struct sqloom_receiver opted = receiver_of(&a);

	(void)state;
	opted.suspendable = true;
	connect_receiver(&saved, opted);
	connect_part(&b);
	assert_string_equal(sent(), "ab");
	assert_true(sqloom_signals_switch(false));
	assert_string_equal(sent(), "b");
	assert_false(sqloom_signals_switch(false));
	assert_false(sqloom_signals_switch(true));
	assert_string_equal(sent(), "ab");
	assert_true(sqloom_signals_switch(true));
	assert_true(sqloom_signal_disconnect(&saved, &opted));
	assert_true(disconnect_part(&b));
}

/* ---- Threads ------------------------------------------------------------ */

static void *send_from_thread(void *arg)
{
	size_t *called = arg;

	(void)sqloom_signal_send(&saved, NULL, NULL, called, NULL);
	return NULL;
}

static size_t called_from_another_thread(void)
{
	size_t called = 99;
	pthread_t thread;

	assert_int_equal(
		pthread_create(&thread, NULL, send_from_thread, &called), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return called;
}

static void *suspend_from_thread(void *arg)
{
	struct sqloom_suspension what = { .this_thread = true };

	(void)sqloom_signals_suspend(&what, arg, NULL);
	return NULL;
}

static void test_suspending_one_thread(void **state)
{
	uint64_t token;

	(void)state;
	connect_part(&a);
	token = suspend((struct sqloom_suspension){ .this_thread = true });
	assert_string_equal(sent(), "");
	assert_int_equal(called_from_another_thread(), 1);
	resume(token);
	token = suspend((struct sqloom_suspension){ 0 });
	assert_int_equal(called_from_another_thread(), 0);
	resume(token);
	assert_true(disconnect_part(&a));
}

/* The system gives a later thread the numbers of an earlier one. */
static void test_a_thread_that_left_a_suspension(void **state)
{
	uint64_t token = 0;
	pthread_t thread;
	char *text;

	(void)state;
	connect_part(&a);
	assert_int_equal(
		pthread_create(&thread, NULL, suspend_from_thread, &token), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_string_equal(sent(), "a");
	assert_int_equal(called_from_another_thread(), 1);
	assert_int_equal(sqloom_signals_suspended(&text), 1);
	assert_non_null(strstr(text, "all signals, sent by another thread;"));
	sqloom_text_free(text);
	resume(token); /* by whichever thread */
	assert_true(disconnect_part(&a));
}

#define NTHREADS 4
#define NROUNDS 500

static atomic_uint always_called, own_called;

static int count_call(struct sqloom_signal *signal, const void *sender,
		      void *data, void *arg)
{
	atomic_uint *counter = arg;

	(void)signal;
	(void)sender;
	(void)data;
	atomic_fetch_add(counter, 1);
	return 0;
}

/* Everything at once. Its own receiver is this thread's alone (the sender), and
 * is there exactly in the sends in between. */
static void *be_busy(void *arg)
{
	struct sqloom_receiver own = { .fn = count_call,
				       .arg = &own_called,
				       .sender = arg };
	struct sqloom_suspension here = { .this_thread = true };
	uint64_t token = 0;

	for (unsigned i = 0; i < NROUNDS; i++) {
		(void)sqloom_signal_connect(&saved, &own, NULL);
		(void)sqloom_signal_send(&saved, arg, NULL, NULL, NULL);
		(void)sqloom_signals_suspend(&here, &token, NULL);
		(void)sqloom_signal_send(&saved, arg, NULL, NULL, NULL);
		(void)sqloom_signals_suspended(NULL);
		(void)sqloom_signals_resume(token, NULL);
		(void)sqloom_signal_disconnect(&saved, &own);
		(void)sqloom_signal_send(&saved, arg, NULL, NULL, NULL);
	}
	return NULL;
}

static void test_many_threads_at_once(void **state)
{
	struct sqloom_receiver always = { .fn = count_call,
					  .arg = &always_called };
	pthread_t threads[NTHREADS];
	char senders[NTHREADS];

	(void)state;
	connect_receiver(&saved, always);
	for (size_t i = 0; i < NTHREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, be_busy,
						&senders[i]),
				 0);
	for (size_t i = 0; i < NTHREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(always_called, NTHREADS * NROUNDS * 2);
	assert_int_equal(own_called, NTHREADS * NROUNDS);
	assert_true(sqloom_signal_disconnect(&saved, &always));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_order_of_connecting),
		test(test_what_is_connected_is_connected_once),
		test(test_function_argument_and_sender_are_the_identity),
		test(test_an_id_is_the_identity),
		test(test_signals_do_not_mix),
		test(test_misuse_is_told),
		test(test_memory_that_is_out),
		test(test_what_a_receiver_is_given),
		test(test_senders_are_told_apart),
		test(test_send_ends_at_the_first_failure),
		test(test_robust_calls_all),
		test(test_the_last_that_fails),
		test(test_a_receiver_connects_another),
		test(test_a_receiver_disconnects_itself),
		test(test_a_receiver_disconnects_those_around_it),
		test(test_a_receiver_sends),
		test(test_a_receiver_suspends),
		test(test_a_receiver_jumps_out),
		test(test_everything_is_suspended),
		test(test_one_signal_is_suspended),
		test(test_one_sender_and_one_receiver_are_suspended),
		test(test_suspensions_stack_in_any_order),
		test(test_resuming_what_is_not_suspended),
		test(test_suspending_that_fails),
		test(test_what_was_never_resumed_is_told),
		test(test_telling_when_memory_is_out),
		test(test_the_switch_is_for_those_that_opted_in),
		test(test_suspending_one_thread),
		test(test_a_thread_that_left_a_suspension),
		test(test_many_threads_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
