/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are programs, for tests: alice is an HTTP request, bob a command.
 * Both redeem a coupon. */
#ifndef TESTS_ORACLE_PROGRAM_H
#define TESTS_ORACLE_PROGRAM_H

#include "builder.h"

enum { ALICE, BOB };
#define BOTH 3u

enum { LOOK, REDEEM, COMMIT, BEGIN, TAKE, BLIND, END, STEPS };

static struct slm_trace_step program_steps[STEPS] = {
	{ "s1", "SELECT used FROM coupon WHERE code = $1", "coupon", "", 1,
	  false },
	{ "s2", "INSERT INTO redemption (who) VALUES ($1)", "", "redemption", 2,
	  false },
	{ "commit", "COMMIT", "", "", 3, true },
	{ "s4", "BEGIN", "", "", 4, false },
	{ "s5", "UPDATE coupon SET used = $1 WHERE code = $2", "coupon",
	  "coupon", 5, false },
	{ "s6",
	  "INSERT INTO redemption (who) SELECT $1 WHERE NOT EXISTS "
	  "(SELECT 1 FROM redemption)",
	  "redemption", "redemption", 6, false },
	{ "s7", "COMMIT", "", "", 7, false },
};

static struct slm_trace_call program_calls[] = {
	{ "alice", program_steps, STEPS, SLM_TRACE_HTTP, "POST /redeem" },
	{ "bob", program_steps, STEPS, SLM_TRACE_EXEC, "./redeem" },
};

static const struct slm_oracle_config program_config = {
	.calls = program_calls,
	.ncalls = 2,
};

/* A statement, with parameters, that wrote a row. */
static inline struct slm_result *sent(struct scene *s, uint32_t call,
				      uint32_t step, const char *params)
{
	struct slm_event *e = event(s, SLM_EVENT_STEP, call, step);
	bool writes = *program_calls[call].steps[step].writes != '\0';

	e->params = params ? slm_arena_strdup(&s->arena, params) : NULL;
	result(s, e)->changes = writes ? 1 : -1;
	return (struct slm_result *)e->result;
}

/* The end: "status $.ok", values. Returns the result. */
static inline struct slm_result *gave_values(struct scene *s, uint32_t call,
					     bool ok, const char *columns,
					     const struct slm_value *values,
					     size_t count)
{
	struct slm_event *e = event(s, SLM_EVENT_END, call, SLM_STEP_NONE);
	struct slm_result *r = result(s, e);
	struct slm_value *copy =
		slm_arena_zalloc(&s->arena, count, sizeof(*copy));

	e->ok = ok;
	memcpy(copy, values, count * sizeof(*copy));
	r->rows.columns = split(s, columns, &r->rows.ncolumns);
	assert(r->rows.ncolumns == count);
	r->rows.values = copy;
	r->rows.nkept = 1;
	r->rows.nrows = 1;
	return r;
}

#define GAVE(s, call, ok, columns, ...)                        \
	gave_values(s, call, ok, columns, VALUES(__VA_ARGS__), \
		    COUNT(__VA_ARGS__))

/* Ends with an error: "exit 1", "HTTP 409" ... */
static inline void refused(struct scene *s, uint32_t call,
			   enum slm_error_kind kind, const char *code,
			   const char *message)
{
	bool http = strncmp(code, "HTTP ", 5) == 0;
	struct slm_result *r = GAVE(s, call, false, http ? "status" : "exit",
				    INT(atoi(strchr(code, ' ') + 1)));

	r->error = kind;
	r->code = code;
	r->message = message;
}

/* The statement failed. */
static inline void broke(struct scene *s, uint32_t call, uint32_t step,
			 enum slm_error_kind kind, const char *code)
{
	struct slm_result *r = sent(s, call, step, NULL);

	r->changes = -1;
	r->error = kind;
	r->code = code;
	r->message = "the database said no";
}

static inline void won(struct scene *s, uint32_t call)
{
	if (call == ALICE)
		GAVE(s, call, true, "status $.ok", INT(200), TEXT("yes"));
	else
		GAVE(s, call, true, "exit", INT(0));
}

static inline void lost(struct scene *s, uint32_t call)
{
	if (call == ALICE)
		refused(s, call, SLM_ERROR_REFUSED, "HTTP 409", "used");
	else
		refused(s, call, SLM_ERROR_REFUSED, "exit 3", "used");
}

static inline void program_contents(struct scene *s, int redemptions)
{
	table(s, "coupon", "code used", -1);
	ROW(s, 0, TEXT("SPRING"), INT(redemptions > 0));
	table(s, "redemption", "id what", 0);
	for (int i = 0; i < redemptions; i++)
		NEW(s, 1, INT(i + 1), TEXT("SPRING"));
}

/* first redeems, second finds the coupon used. */
static inline void program_serial(struct scene *s, uint32_t first)
{
	uint32_t second = 1 - first;

	scene_begin(s, BOTH);
	sent(s, first, LOOK, "$1 = 'SPRING'");
	sent(s, first, REDEEM, "$1 = 'SPRING'");
	done(s, first, COMMIT);
	won(s, first);
	sent(s, second, LOOK, "$1 = 'SPRING'");
	lost(s, second);
	program_contents(s, 1);
}

static inline void program_alone(struct scene *s, uint32_t call)
{
	scene_begin(s, 1u << call);
	sent(s, call, LOOK, "$1 = 'SPRING'");
	sent(s, call, REDEEM, "$1 = 'SPRING'");
	won(s, call);
	program_contents(s, 1);
}

/* An oracle that knows the serial runs of both, of each alone, and of none. */
static inline struct slm_oracle *program_oracle(
	const struct slm_oracle_config *config)
{
	static const char *const orders[] = { "ab", "ba", "a", "b", "" };
	struct slm_oracle *oracle = new_oracle(config);

	for (int i = 0; i < 5; i++) {
		struct scene s;

		if (i < 2) {
			program_serial(&s, (uint32_t)i);
		} else if (i < 4) {
			program_alone(&s, (uint32_t)i - 2);
		} else {
			scene_begin(&s, 0);
			program_contents(&s, 0);
		}
		add_serial(oracle, orders[i], &s);
		scene_end(&s);
	}
	return oracle;
}

/* The only note of the oracle. */
static inline const char *only_note(struct slm_oracle *oracle,
				    struct slm_arena *arena)
{
	const char *const *notes;
	uint32_t count;

	assert_int_equal(slm_oracle_notes(oracle, arena, &notes, &count, NULL),
			 SQLOOM_OK);
	assert_int_equal(count, 1);
	return notes[0];
}

#endif
