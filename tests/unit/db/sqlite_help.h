/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the SQLite sessions share: a database made from a spec,
 * steps run one by one by their names, results and contents as text. Included
 * once per program.
 */
#ifndef SLM_TESTS_SQLITE_HELP_H
#define SLM_TESTS_SQLITE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "db/db.h"
#include "spec/spec.h"

#define UNUSED __attribute__((unused))

struct fixture {
	struct sqloom_spec *spec;
	struct slm_db *db;
	struct slm_arena arena;
	struct sqloom_error err;
};

static const struct slm_sqlite_options defaults = {
	.store = SQLOOM_STORE_MEMORY,
	.clock_ms = INT64_C(1767225600000),
};

static enum sqloom_status try_open(struct fixture *f, const char *text,
				   const struct slm_sqlite_options *options)
{
	enum sqloom_status status;

	memset(f, 0, sizeof(*f));
	slm_arena_init(&f->arena);
	if (sqloom_spec_parse(text, strlen(text), "x.spec", &f->spec, &f->err))
		fail_msg("%s", f->err.message);
	status = slm_sqlite_open(f->spec, options, &f->db, &f->err);
	if (status)
		assert_null(f->db);
	return status;
}

UNUSED static void open_with(struct fixture *f, const char *text,
			     const struct slm_sqlite_options *options)
{
	if (try_open(f, text, options))
		fail_msg("%s", f->err.message);
}

static void close_db(struct fixture *f)
{
	slm_db_free(f->db);
	slm_arena_deinit(&f->arena);
	sqloom_spec_free(f->spec);
	assert_int_equal(slm_alloc_live(), 0);
}

UNUSED static void begin_variant(struct fixture *f, unsigned variant)
{
	slm_arena_clear(&f->arena);
	if (slm_db_run_begin(f->db, (1u << f->spec->nsessions) - 1, variant,
			     &f->arena, &f->err))
		fail_msg("%s", f->err.message);
}

UNUSED static void begin(struct fixture *f)
{
	begin_variant(f, 0);
}

UNUSED static void end(struct fixture *f)
{
	if (slm_db_run_end(f->db, &f->err))
		fail_msg("%s", f->err.message);
}

/* The step of this name. */
static const struct slm_spec_step *find(struct fixture *f, const char *name)
{
	for (unsigned i = 0; i < f->spec->nsessions; i++)
		for (unsigned j = 0; j < f->spec->sessions[i].nsteps; j++)
			if (!strcmp(f->spec->sessions[i].steps[j].name, name))
				return &f->spec->sessions[i].steps[j];
	fail_msg("no step %s", name);
	return NULL;
}

static struct slm_db_answer go(struct fixture *f, const char *name)
{
	const struct slm_spec_step *step = find(f, name);
	struct slm_db_answer answer = { 0 };

	if (slm_db_step(f->db, step->session, step->index, &answer, &f->err))
		fail_msg("%s: %s", name, f->err.message);
	return answer;
}

static size_t put_value(char *out, size_t size, const struct slm_value *v)
{
	switch (v->kind) {
	case SLM_NULL:
		return (size_t)snprintf(out, size, "NULL");
	case SLM_INT:
		return (size_t)snprintf(out, size, "%lld",
					(long long)v->integer);
	case SLM_REAL:
		return (size_t)snprintf(out, size, "%.17g", v->real);
	case SLM_TEXT:
		return (size_t)snprintf(out, size, "'%.*s'", (int)v->size,
					v->text);
	case SLM_KEY:
		return (size_t)snprintf(out, size, "<%.*s>", (int)v->size,
					v->text);
	case SLM_BLOB:
		return (size_t)snprintf(out, size, "blob%u", v->size);
	case SLM_MASKED:
		break;
	}
	return (size_t)snprintf(out, size, "?");
}

/* "1,'x'|2,NULL", "changes 1", "! SQLITE_BUSY"; results apart by ";". */
UNUSED static const char *text_of(const struct slm_result *result)
{
	static char out[4000];
	size_t used = 0;

	out[0] = '\0';
	for (; result; result = result->next) {
		const struct slm_rows *rows = &result->rows;

		if (used)
			used += (size_t)snprintf(out + used, sizeof(out) - used,
						 ";");
		for (uint32_t i = 0; i < rows->nkept; i++)
			for (uint32_t j = 0; j < rows->ncolumns; j++) {
				if (i || j)
					out[used++] = j ? ',' : '|';
				used += put_value(
					out + used, sizeof(out) - used,
					&rows->values[i * rows->ncolumns + j]);
			}
		if (result->changes >= 0)
			used += (size_t)snprintf(out + used, sizeof(out) - used,
						 "%schanges %d",
						 rows->nkept ? " " : "",
						 (int)result->changes);
		if (result->code)
			used += (size_t)snprintf(out + used, sizeof(out) - used,
						 "! %s", result->code);
	}
	return out;
}

/* Runs a step that must not wait. */
UNUSED static const char *run(struct fixture *f, const char *name)
{
	struct slm_db_answer answer = go(f, name);

	if (answer.blocked)
		fail_msg("%s waits for %s", name, answer.what);
	return text_of(answer.result);
}

UNUSED static bool when(struct fixture *f, const char *name)
{
	const struct slm_spec_step *step = find(f, name);
	bool yes;

	if (slm_db_when(f->db, step->session, step->index, &yes, &f->err))
		fail_msg("%s: %s", name, f->err.message);
	return yes;
}

UNUSED static struct slm_db_step_info info(struct fixture *f, const char *name)
{
	const struct slm_spec_step *step = find(f, name);

	return slm_db_info(f->db, step->session, step->index);
}

/* "t(1,2|3,4)u()": generated keys are marked by a star. */
UNUSED static const char *contents(struct fixture *f)
{
	static char out[8000];
	struct slm_contents contents;
	size_t used = 0;

	out[0] = '\0';
	if (slm_db_contents(f->db, &contents, &f->err))
		fail_msg("%s", f->err.message);
	for (uint32_t t = 0; t < contents.ntables; t++) {
		const struct slm_contents_table *table = &contents.tables[t];

		used += (size_t)snprintf(out + used, sizeof(out) - used, "%s(",
					 table->name);
		for (uint64_t i = 0; i < table->nrows * table->ncolumns; i++) {
			uint64_t row = i / table->ncolumns;
			bool first = i % table->ncolumns == 0;

			if (i)
				out[used++] = first ? '|' : ',';
			if (first && table->generated && table->generated[row])
				out[used++] = '*';
			used += put_value(out + used, sizeof(out) - used,
					  &table->values[i]);
		}
		used += (size_t)snprintf(out + used, sizeof(out) - used, ")");
	}
	return out;
}

#endif
