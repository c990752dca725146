/* SPDX-License-Identifier: Apache-2.0 */
/* Builds runs for the oracle's tests, in as few words as possible. All of a
 * scene's memory is its arena's. */
#ifndef TESTS_ORACLE_BUILDER_H
#define TESTS_ORACLE_BUILDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "oracle/oracle.h"

#define TABLES_MAX 4
#define EVENTS_MAX 64

#define INT(v) ((struct slm_value){ .kind = SLM_INT, .integer = (v) })
#define REAL(v) ((struct slm_value){ .kind = SLM_REAL, .real = (v) })
#define NIL ((struct slm_value){ .kind = SLM_NULL })
#define TEXT(s)              \
	((struct slm_value){ \
		.kind = SLM_TEXT, .size = (uint32_t)strlen(s), .text = (s) })
#define KEY(s)               \
	((struct slm_value){ \
		.kind = SLM_KEY, .size = (uint32_t)strlen(s), .text = (s) })
#define VALUES(...) ((const struct slm_value[]){ __VA_ARGS__ })
#define COUNT(...) (sizeof(VALUES(__VA_ARGS__)) / sizeof(struct slm_value))

struct scene {
	struct slm_arena arena;
	struct slm_contents_table tables[TABLES_MAX];
	struct slm_contents contents;
	struct slm_event events[EVENTS_MAX];
	struct slm_check_failure check;
	struct slm_run run;
};

static inline void scene_begin(struct scene *s, uint32_t members)
{
	memset(s, 0, sizeof(*s));
	slm_arena_init(&s->arena);
	s->contents.tables = s->tables;
	s->run.members = members;
	s->run.events = s->events;
	s->run.contents = &s->contents;
	s->run.checks = &s->check;
}

static inline void scene_end(struct scene *s)
{
	slm_arena_deinit(&s->arena);
}

/* "id bal" as an array of names. */
static inline const char *const *split(struct scene *s, const char *words,
				       uint32_t *count)
{
	const char **names = slm_arena_zalloc(&s->arena, 16, sizeof(*names));

	*count = 0;
	while (*words) {
		size_t size = strcspn(words, " ");

		names[(*count)++] = slm_arena_strndup(&s->arena, words, size);
		words += size;
		words += strspn(words, " ");
	}
	return names;
}

static inline uint32_t table(struct scene *s, const char *name,
			     const char *columns, int key_column)
{
	struct slm_contents_table *t = &s->tables[s->contents.ntables];

	assert(s->contents.ntables < TABLES_MAX);
	t->name = name;
	t->columns = split(s, columns, &t->ncolumns);
	t->key_column = key_column;
	return s->contents.ntables++;
}

static inline void reference(struct scene *s, uint32_t from, uint32_t column,
			     uint32_t to)
{
	struct slm_contents_table *t = &s->tables[from];
	struct slm_reference *list =
		slm_arena_zalloc(&s->arena, t->nreferences + 1, sizeof(*list));

	if (t->nreferences)
		memcpy(list, t->references, t->nreferences * sizeof(*list));
	list[t->nreferences].column = column;
	list[t->nreferences++].table = to;
	t->references = list;
}

static inline void add_row(struct scene *s, uint32_t to, bool generated,
			   const struct slm_value *values, size_t count)
{
	struct slm_contents_table *t = &s->tables[to];
	struct slm_value *all;
	bool *flags;

	assert(count == t->ncolumns);
	all = slm_arena_zalloc(&s->arena, (t->nrows + 1) * count, sizeof(*all));
	flags = slm_arena_zalloc(&s->arena, t->nrows + 1, sizeof(*flags));
	if (t->nrows) {
		memcpy(all, t->values, t->nrows * count * sizeof(*all));
		memcpy(flags, t->generated, t->nrows);
	}
	memcpy(all + t->nrows * count, values, count * sizeof(*all));
	flags[t->nrows++] = generated;
	t->values = all;
	t->generated = flags;
}

#define ROW(s, t, ...) \
	add_row(s, t, false, VALUES(__VA_ARGS__), COUNT(__VA_ARGS__))
#define NEW(s, t, ...) \
	add_row(s, t, true, VALUES(__VA_ARGS__), COUNT(__VA_ARGS__))

static inline struct slm_event *event(struct scene *s, enum slm_event_kind kind,
				      uint32_t call, uint32_t step)
{
	struct slm_event *e = &s->events[s->run.nevents++];

	assert(s->run.nevents <= EVENTS_MAX);
	e->kind = kind;
	e->call = call;
	e->step = step;
	e->choice = true;
	return e;
}

static inline struct slm_result *result(struct scene *s, struct slm_event *e)
{
	struct slm_result *r = slm_arena_zalloc(&s->arena, 1, sizeof(*r));

	r->changes = -1;
	e->result = r;
	return r;
}

static inline void done(struct scene *s, uint32_t call, uint32_t step)
{
	result(s, event(s, SLM_EVENT_STEP, call, step));
}

static inline void changed(struct scene *s, uint32_t call, uint32_t step,
			   int64_t changes)
{
	result(s, event(s, SLM_EVENT_STEP, call, step))->changes = changes;
}

static inline void skipped(struct scene *s, uint32_t call, uint32_t step)
{
	event(s, SLM_EVENT_SKIPPED, call, step);
}

static inline void blocked(struct scene *s, uint32_t call, uint32_t step,
			   uint32_t by)
{
	struct slm_event *e = event(s, SLM_EVENT_BLOCKED, call, step);

	e->blocked_by = by;
	e->what = "the RESERVED lock on main";
}

static inline void failed(struct scene *s, uint32_t call, uint32_t step,
			  enum slm_error_kind kind, const char *code,
			  const char *message)
{
	struct slm_result *r = result(s, event(s, SLM_EVENT_STEP, call, step));

	r->error = kind;
	r->code = code;
	r->message = message;
}

static inline void over(struct scene *s, uint32_t call, bool ok)
{
	event(s, SLM_EVENT_END, call, SLM_STEP_NONE)->ok = ok;
}

static inline void read_rows(struct scene *s, uint32_t call, uint32_t step,
			     const char *columns,
			     const struct slm_value *values, size_t count)
{
	struct slm_rows *rows =
		&result(s, event(s, SLM_EVENT_STEP, call, step))->rows;
	struct slm_value *copy =
		slm_arena_zalloc(&s->arena, count, sizeof(*copy));

	if (count)
		memcpy(copy, values, count * sizeof(*copy));
	rows->columns = split(s, columns, &rows->ncolumns);
	rows->values = copy;
	rows->nkept = (uint32_t)(count / rows->ncolumns);
	rows->nrows = rows->nkept;
}

#define READ(s, c, st, columns, ...) \
	read_rows(s, c, st, columns, VALUES(__VA_ARGS__), COUNT(__VA_ARGS__))

static inline void fail_check(struct scene *s, const char *name)
{
	struct slm_value *value =
		slm_arena_zalloc(&s->arena, 1, sizeof(*value));

	*value = INT(-10);
	s->check.name = name;
	s->check.rows.columns = split(s, "bal", &s->check.rows.ncolumns);
	s->check.rows.values = value;
	s->check.rows.nkept = 1;
	s->check.rows.nrows = 1;
	s->run.nchecks = 1;
}

/* ---- Calls to the oracle ---------------------------------------------- */

static inline struct slm_oracle *new_oracle(
	const struct slm_oracle_config *config)
{
	struct slm_oracle *oracle = NULL;

	assert_int_equal(slm_oracle_new(config, &oracle, NULL), SQLOOM_OK);
	return oracle;
}

/* Adds a serial order that is the same both times; returns remasked. */
static inline bool add_pair(struct slm_oracle *oracle, const char *order,
			    const struct scene *first,
			    const struct scene *again)
{
	bool remasked = false;

	assert_int_equal(slm_oracle_add_serial(oracle, order, &first->run,
					       &again->run, &remasked, NULL),
			 SQLOOM_OK);
	return remasked;
}

static inline void add_serial(struct slm_oracle *oracle, const char *order,
			      const struct scene *s)
{
	assert_false(add_pair(oracle, order, s, s));
}

static inline struct slm_judgement judge(struct slm_oracle *oracle,
					 const struct scene *s)
{
	struct slm_judgement out = { .class = SLM_CLASS_SERIAL };

	assert_int_equal(slm_oracle_judge(oracle, &s->run, &out, NULL),
			 SQLOOM_OK);
	return out;
}

#define assert_class(oracle, s, expected) \
	assert_int_equal(judge(oracle, s).class, SLM_CLASS_##expected)

static inline struct slm_finding explain(struct slm_oracle *oracle,
					 struct scene *s)
{
	struct slm_finding finding = { .class = SLM_CLASS_SERIAL };

	assert_int_equal(slm_oracle_explain(oracle, &s->run, &s->arena,
					    &finding, NULL),
			 SQLOOM_OK);
	return finding;
}

#define assert_difference(f, i, w, a, e)                           \
	do {                                                       \
		assert_true((f)->ndifferences > (i));              \
		assert_string_equal((f)->differences[i].where, w); \
		assert_text((f)->differences[i].actual, a);        \
		assert_text((f)->differences[i].expected, e);      \
	} while (0)

/* Equal texts, or both NULL. */
static inline void assert_text(const char *a, const char *b)
{
	if (a && b)
		assert_string_equal(a, b);
	else
		assert_true(a == b);
}

#endif
