/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that are programs: how they ended, and what they gave, part by part.
 * A part is a column of the result of their END event. Numbers in parts that
 * are keys which the database generated in the run are compared by the row
 * that has the key (oracle.h says which numbers are taken for keys).
 */
#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "oracle/internal.h"

#define NUMBERS_MAX 8 /* of one text that may be keys */
#define DIGITS_MAX 18 /* of one number */
#define NO_EVENT UINT32_MAX
#define SQLSTATE_FAILED "25P02" /* the transaction had failed before */

bool slm_given_is_program(const struct slm_oracle *oracle, uint32_t call)
{
	return oracle->config.calls[call].kind != SLM_TRACE_SESSION;
}

/* ---- How it ended ----------------------------------------------------- */

bool slm_given_declares(const struct slm_result *error)
{
	return error->error == SLM_ERROR_REFUSED && error->code &&
	       (strncmp(error->code, "HTTP ", 5) == 0 ||
		strcmp(error->code, SLM_REFUSED_CODE) == 0);
}

static bool is_given(const char *text)
{
	return text && *text;
}

static const struct slm_result *find_error(const struct slm_result *result)
{
	while (result && result->error == SLM_ERROR_NONE)
		result = result->next;
	return result;
}

static bool is_done(const struct slm_event *event)
{
	return event->kind == SLM_EVENT_STEP ||
	       event->kind == SLM_EVENT_RESUMED;
}

/* Did the call send the statement of this event, but for literals, also at or
 * before the event upto? */
static bool sent_before(const struct slm_trace_call *call,
			const struct slm_run *run, uint32_t event,
			uint32_t upto)
{
	const struct slm_event *at = &run->events[event];

	for (uint32_t i = 0; i <= upto; i++) {
		const struct slm_event *other = &run->events[i];

		if (other->call == at->call && is_done(other) &&
		    call->steps[other->step].fingerprint ==
			    call->steps[at->step].fingerprint)
			return true;
	}
	return false;
}

/* Follows one statement: *failed is the event of the last error that counts,
 * until the program has tried again. */
static void follow(const struct slm_trace_call *call, const struct slm_run *run,
		   uint32_t index, uint32_t *failed)
{
	const struct slm_event *event = &run->events[index];
	const struct slm_result *error = find_error(event->result);
	const struct slm_trace_step *sent = &call->steps[event->step];

	assert(event->step < call->nsteps);
	if (error && error->code && strcmp(error->code, SQLSTATE_FAILED) == 0)
		return;
	if (error)
		*failed = index;
	else if (*failed != NO_EVENT &&
		 (is_given(sent->reads) || is_given(sent->writes)) &&
		 sent_before(call, run, index, *failed))
		*failed = NO_EVENT;
}

/* Why a call failed: the last error of a statement, if it explains it. */
static void explain_failure(struct slm_fate *fate,
			    const struct slm_result *error, uint32_t step)
{
	static const struct slm_result unknown = {
		.changes = -1,
		.error = SLM_ERROR_OTHER,
		.code = "failed",
		.message = "nothing is known of why",
	};
	bool abort = error && (error->error == SLM_ERROR_RETRY ||
			       error->error == SLM_ERROR_DEADLOCK);

	fate->aborted = abort;
	fate->error = fate->given && fate->given->error ? fate->given :
							  &unknown;
	fate->step = SLM_STEP_NONE;
	if ((abort || (error && error->error == SLM_ERROR_INTEGRITY)) &&
	    !slm_given_declares(fate->error)) {
		fate->error = error;
		fate->step = step;
	}
}

void slm_given_fate(const struct slm_oracle *oracle, const struct slm_run *run,
		    uint32_t call, struct slm_fate *out)
{
	uint32_t failed = NO_EVENT;

	memset(out, 0, sizeof(*out));
	out->step = SLM_STEP_NONE;
	for (uint32_t i = 0; i < run->nevents; i++) {
		const struct slm_event *event = &run->events[i];

		if (event->call != call)
			continue;
		if (event->kind == SLM_EVENT_END) {
			out->ended = true;
			out->ok = event->ok;
			out->given = event->result;
		} else if (is_done(event)) {
			follow(&oracle->config.calls[call], run, i, &failed);
		}
	}
	if (out->ok)
		return;
	if (failed == NO_EVENT)
		explain_failure(out, NULL, SLM_STEP_NONE);
	else
		explain_failure(out, find_error(run->events[failed].result),
				run->events[failed].step);
}

/* ---- Parts ------------------------------------------------------------ */

uint32_t slm_given_parts(const struct slm_result *given)
{
	return given && given->rows.nkept ? given->rows.ncolumns : 0;
}

uint32_t slm_given_status_parts(const struct slm_result *given)
{
	return slm_given_parts(given) > 0 &&
	       strncmp(given->rows.columns[0], "$.", 2) != 0;
}

uint32_t slm_given_find(const struct slm_result *given, const char *name)
{
	uint32_t n = slm_given_parts(given), i = 0;

	while (i < n && strcmp(given->rows.columns[i], name) != 0)
		i++;
	return i;
}

enum slm_hiding slm_given_hiding(const struct slm_oracle *oracle, uint32_t call,
				 const char *name)
{
	for (uint32_t i = 0; i < oracle->ngiven_masks; i++) {
		const struct slm_given_mask *mask = &oracle->given_masks[i];

		if (mask->call == call && strcmp(mask->name, name) == 0)
			return mask->hiding;
	}
	return SLM_SHOWN;
}

/* ---- Numbers ---------------------------------------------------------- */

/* A number in a value: all of an integer, or digits in a text. */
struct number {
	int64_t value;
	size_t begin, end; /* in the text; 0, 0: all of it */
};

static bool is_part_of_word(char c)
{
	return isalnum((unsigned char)c) || c == '.' || c == '_' || (c & 0x80);
}

/* The next number of the text at or behind from. */
static bool next_number(const struct slm_value *value, size_t from,
			struct number *out)
{
	const char *text = value->text;

	for (size_t i = from, end; i < value->size; i = end) {
		int64_t number = 0;

		end = i + 1;
		if (!isdigit((unsigned char)text[i]))
			continue;
		while (end < value->size && isdigit((unsigned char)text[end]))
			end++;
		if (end - i > DIGITS_MAX || text[i] == '0' ||
		    (i > 0 && is_part_of_word(text[i - 1])) ||
		    (end < value->size && is_part_of_word(text[end]) &&
		     text[end] != '.'))
			continue;
		for (size_t k = i; k < end; k++)
			number = number * 10 + (text[k] - '0');
		*out = (struct number){ number, i, end };
		return true;
	}
	return false;
}

/* The numbers of a value; how many. */
static uint32_t find_numbers(const struct slm_value *value,
			     struct number numbers[NUMBERS_MAX])
{
	uint32_t n = 0;
	size_t from = 0;

	if (value->kind == SLM_INT) {
		numbers[0] = (struct number){ value->integer, 0, 0 };
		return 1;
	}
	while (value->kind == SLM_TEXT && n < NUMBERS_MAX &&
	       next_number(value, from, &numbers[n]))
		from = numbers[n++].end;
	return n;
}

/* ---- Keys ------------------------------------------------------------- */

static struct slm_given_key *find_key(const struct slm_oracle *oracle,
				      uint32_t call, const char *name,
				      uint32_t nth)
{
	for (uint32_t i = 0; i < oracle->ngiven_keys; i++) {
		struct slm_given_key *key = &oracle->given_keys[i];

		if (key->call == call && key->nth == nth &&
		    strcmp(key->name, name) == 0)
			return key;
	}
	return NULL;
}

static bool ends_with(const char *name, const char *end)
{
	size_t size = strlen(name), n = strlen(end);

	return size >= n && strcasecmp(name + size - n, end) == 0;
}

static bool is_called_key(const char *name)
{
	return ends_with(name, "id") || ends_with(name, "key") ||
	       ends_with(name, "pk");
}

/* Is the number taken for a key as things stand? */
static bool is_key(const struct slm_given_key *key)
{
	return key && key->ntables > 0 &&
	       ((key->varies && key->ncolumns == 0) ||
		is_called_key(key->name));
}

/* The row of the table whose key was generated and is the number. */
static uint64_t find_row(const struct slm_contents_table *table, int64_t number)
{
	for (uint64_t row = 0; row < table->nrows; row++) {
		const struct slm_value *value;

		if (!slm_canonical_generated(table, row))
			continue;
		value = &table->values[row * table->ncolumns +
				       (uint32_t)table->key_column];
		if (value->kind == SLM_INT && value->integer == number)
			return row;
	}
	return SLM_NO_ROW;
}

/* The index of the table of that name, or ntables. */
static uint32_t find_table(const struct slm_canonical *contents,
			   const char *name)
{
	uint32_t i = 0;

	while (i < contents->ntables &&
	       strcmp(contents->tables[i].table->name, name) != 0)
		i++;
	return i;
}

/* The row that a number means; false: it is no key, or the run has no row of
 * that key. */
static bool resolve(const struct slm_oracle *oracle, uint32_t call,
		    const char *name, uint32_t nth, int64_t number,
		    const struct slm_canonical *contents, uint32_t *table,
		    uint64_t *row)
{
	const struct slm_given_key *key = find_key(oracle, call, name, nth);

	if (!is_key(key))
		return false;
	*table = find_table(contents, key->tables[0]);
	if (*table == contents->ntables)
		return false;
	*row = find_row(contents->tables[*table].table, number);
	return *row != SLM_NO_ROW;
}

/* Keeps the tables of the key that have the number as a generated key. */
static void narrow(struct slm_given_key *key, int64_t number,
		   const struct slm_canonical *contents)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < key->ntables; i++) {
		uint32_t table = find_table(contents, key->tables[i]);

		if (table < contents->ntables &&
		    find_row(contents->tables[table].table, number) !=
			    SLM_NO_ROW)
			key->tables[kept++] = key->tables[i];
	}
	key->ntables = kept;
}

/* Is the word the end of the table's name, in the singular or the plural? */
static bool ends_in_word(const char *table, const char *word, size_t size)
{
	size_t whole = strlen(table);

	for (size_t plural = 0; plural < 2 && whole >= size; plural++) {
		size_t at = whole - size;

		if (strncasecmp(table + at, word, size) == 0 &&
		    (at == 0 || table[at - 1] == '_'))
			return true;
		if (whole == 0 || tolower(table[whole - 1]) != 's')
			break;
		whole--;
	}
	return false;
}

/* Does the name of a part speak of the table? "Order.id" and "order_id" do of
 * shop_order. */
static bool speaks_of(const char *name, const char *table)
{
	size_t end = strlen(name), begin;

	if (!ends_with(name, ".id") && !ends_with(name, ".pk") &&
	    !ends_with(name, "_id"))
		return false;
	end -= strlen("_id");
	for (begin = end; begin > 0 && name[begin - 1] != '.'; begin--)
		;
	return end > begin && ends_in_word(table, name + begin, end - begin);
}

/* Adds the tables that have the number as a generated key, and of which the
 * name speaks, or does not. */
static bool add_tables(struct slm_oracle *oracle, struct slm_given_key *key,
		       bool spoken_of, const struct slm_canonical *contents)
{
	for (uint32_t i = 0;
	     i < contents->ntables && key->ntables < SLM_KEY_TABLES_MAX; i++) {
		const struct slm_contents_table *table =
			contents->tables[i].table;

		if (find_row(table, key->value) == SLM_NO_ROW ||
		    speaks_of(key->name, table->name) != spoken_of)
			continue;
		key->tables[key->ntables] =
			slm_arena_strdup(&oracle->keep, table->name);
		if (!key->tables[key->ntables++])
			return false;
	}
	return true;
}

/* A column of the result that has the number, from *column on. */
static bool next_column(const struct slm_rows *rows, int64_t number,
			uint32_t *column)
{
	for (; *column < rows->ncolumns; ++*column)
		for (uint32_t row = 0; row < rows->nkept; row++) {
			const struct slm_value *value =
				&rows->values[(size_t)row * rows->ncolumns +
					      *column];

			if (value->kind == SLM_INT && value->integer == number)
				return true;
		}
	return false;
}

/* Is it called as the tables' keys are, or as what a sequence gives? */
static bool may_hold_key(const struct slm_given_key *key,
			 const struct slm_canonical *contents,
			 const char *column)
{
	for (uint32_t i = 0; i < key->ntables; i++) {
		uint32_t table = find_table(contents, key->tables[i]);
		const struct slm_contents_table *t;

		if (table == contents->ntables)
			continue;
		t = contents->tables[table].table;
		if (ends_with(column, t->columns[t->key_column]))
			return true;
	}
	return is_called_key(column) || ends_with(column, "val");
}

/* Adds the columns without keys that have the number. */
static bool add_columns(struct slm_oracle *oracle, struct slm_given_key *key,
			const struct slm_view *view,
			const struct slm_rows *rows)
{
	for (uint32_t i = 0; next_column(rows, key->value, &i); i++) {
		uint32_t same = 0;

		while (same < key->ncolumns &&
		       strcmp(key->columns[same], rows->columns[i]) != 0)
			same++;
		if (same < key->ncolumns || same == SLM_KEY_COLUMNS_MAX ||
		    may_hold_key(key, &view->contents, rows->columns[i]))
			continue;
		key->columns[key->ncolumns] =
			slm_arena_strdup(&oracle->keep, rows->columns[i]);
		if (!key->columns[key->ncolumns++])
			return false;
	}
	return true;
}

/* Does some result of the call have the number in the column of that name? */
static bool stands_in(const struct slm_run *run, uint32_t call,
		      const char *name, int64_t number)
{
	for (uint32_t i = 0; i < run->nevents; i++) {
		const struct slm_event *event = &run->events[i];
		const struct slm_result *result = event->result;

		if (event->call != call || !is_done(event))
			continue;
		for (; result; result = result->next) {
			const struct slm_rows *rows = &result->rows;

			for (uint32_t k = 0; next_column(rows, number, &k); k++)
				if (strcmp(rows->columns[k], name) == 0)
					return true;
		}
	}
	return false;
}

static bool find_columns(struct slm_oracle *oracle, struct slm_given_key *key,
			 const struct slm_view *view)
{
	const struct slm_run *run = view->run;

	for (uint32_t i = 0; i < run->nevents; i++) {
		const struct slm_event *event = &run->events[i];
		const struct slm_result *result = event->result;

		if (event->call != key->call || !is_done(event))
			continue;
		for (; result; result = result->next)
			if (!add_columns(oracle, key, view, &result->rows))
				return false;
	}
	return true;
}

/* Keeps the columns that have the number. */
static void narrow_columns(struct slm_given_key *key, int64_t number,
			   const struct slm_view *view)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < key->ncolumns; i++)
		if (stands_in(view->run, key->call, key->columns[i], number))
			key->columns[kept++] = key->columns[i];
	key->ncolumns = kept;
}

/* A number that was not seen before. Of several tables that have it as a key
 * the first counts. */
static bool add_key(struct slm_oracle *oracle, uint32_t call, const char *name,
		    uint32_t nth, int64_t number, const struct slm_view *view)
{
	const struct slm_canonical *contents = &view->contents;
	struct slm_given_key key = { .call = call,
				     .nth = nth,
				     .name = slm_arena_strdup(&oracle->keep,
							      name),
				     .value = number };

	if (!key.name || !add_tables(oracle, &key, true, contents) ||
	    !add_tables(oracle, &key, false, contents) ||
	    (key.ntables && !find_columns(oracle, &key, view)))
		return false;
	if (!slm_oracle_grow(&oracle->given_keys, oracle->ngiven_keys,
			     &oracle->given_keys_room, sizeof(key)))
		return false;
	oracle->given_keys[oracle->ngiven_keys++] = key;
	return true;
}

static bool learn_number(struct slm_oracle *oracle, uint32_t call,
			 const char *name, uint32_t nth, int64_t number,
			 const struct slm_view *view, bool *changed)
{
	struct slm_given_key *key = find_key(oracle, call, name, nth);
	const char *first = key && key->ntables ? key->tables[0] : NULL;
	bool was = is_key(key);

	if (!key) {
		if (!add_key(oracle, call, name, nth, number, view))
			return false;
		key = find_key(oracle, call, name, nth);
	} else if (key->ntables) {
		key->varies = key->varies || key->value != number;
		narrow(key, number, &view->contents);
		narrow_columns(key, number, view);
	}
	*changed = *changed || is_key(key) != was ||
		   (was && key->tables[0] != first);
	return true;
}

bool slm_given_learn_keys(struct slm_oracle *oracle,
			  const struct slm_view *view, bool *changed)
{
	for (uint32_t call = 0; call < oracle->config.ncalls; call++) {
		const struct slm_result *given =
			view->results.calls[call].given;
		struct number numbers[NUMBERS_MAX];

		for (uint32_t i = slm_given_status_parts(given);
		     i < slm_given_parts(given); i++) {
			uint32_t n =
				find_numbers(&given->rows.values[i], numbers);

			for (uint32_t k = 0; k < n; k++)
				if (!learn_number(oracle, call,
						  given->rows.columns[i], k,
						  numbers[k].value, view,
						  changed))
					return false;
		}
	}
	return true;
}

/* ---- Comparing and showing -------------------------------------------- */

/* A value in which keys are named by their rows. */
static uint64_t digest_value(const struct slm_oracle *oracle, uint32_t call,
			     const char *name, const struct slm_value *value,
			     const struct slm_canonical *contents)
{
	struct number numbers[NUMBERS_MAX];
	uint32_t n = find_numbers(value, numbers), table = 0;
	uint64_t digest = (uint64_t)value->kind, row = 0;
	size_t from = 0;
	bool any = false;

	for (uint32_t i = 0; i < n; i++) {
		if (!resolve(oracle, call, name, i, numbers[i].value, contents,
			     &table, &row))
			continue;
		any = true;
		if (value->kind == SLM_TEXT)
			digest = slm_hash(value->text + from,
					  numbers[i].begin - from, digest);
		digest = slm_hash_mix(digest, table);
		digest = slm_hash_mix(digest,
				      contents->tables[table].names[row]);
		from = numbers[i].end;
	}
	if (!any)
		return slm_canonical_value(value);
	return value->kind == SLM_TEXT ? slm_hash(value->text + from,
						  value->size - from, digest) :
					 digest;
}

uint64_t slm_given_part(const struct slm_oracle *oracle, uint32_t call,
			const struct slm_result *given, uint32_t part,
			const struct slm_canonical *contents)
{
	const char *name = given->rows.columns[part];
	const struct slm_value *value = &given->rows.values[part];

	if (slm_results_hides(slm_given_hiding(oracle, call, name), value))
		return slm_hash_mix(SLM_MASKED, 0);
	return digest_value(oracle, call, name, value, contents);
}

/* A sum: the order of the parts says nothing. */
uint64_t slm_given_digest(const struct slm_oracle *oracle, uint32_t call,
			  const struct slm_result *given,
			  const struct slm_canonical *contents)
{
	uint32_t n = slm_given_parts(given);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		const char *name = given->rows.columns[i];

		sum += slm_hash_mix(slm_hash(name, strlen(name), 7),
				    slm_given_part(oracle, call, given, i,
						   contents));
	}
	return slm_hash_mix(n, sum);
}

bool slm_given_value(const struct slm_oracle *oracle, uint32_t call,
		     const struct slm_result *given, uint32_t part,
		     const struct slm_canonical *contents,
		     const struct slm_order *orders, struct slm_arena *arena,
		     struct slm_value *out)
{
	const char *name = given->rows.columns[part];
	const struct slm_value *value = &given->rows.values[part];
	uint32_t table;
	uint64_t row;

	*out = (struct slm_value){ .kind = SLM_MASKED };
	if (slm_results_hides(slm_given_hiding(oracle, call, name), value))
		return true;
	*out = *value;
	if (!orders || value->kind != SLM_INT ||
	    !resolve(oracle, call, name, 0, value->integer, contents, &table,
		     &row))
		return true;
	out->kind = SLM_KEY;
	out->text = slm_arena_printf(arena, "%s new #%u",
				     contents->tables[table].table->name,
				     orders[table].number[row]);
	out->size = out->text ? (uint32_t)strlen(out->text) : 0;
	return out->text != NULL;
}

void slm_oracle_mask_events(const struct slm_oracle *oracle,
			    struct slm_event *events, uint32_t nevents)
{
	for (uint32_t i = 0; i < nevents; i++) {
		const struct slm_result *given = events[i].result;
		uint32_t n = 0;

		if (events[i].kind == SLM_EVENT_END &&
		    slm_given_is_program(oracle, events[i].call))
			n = slm_given_parts(given);
		for (uint32_t k = 0; k < n; k++) {
			/* A copy of the caller's, who says that it may be
			 * changed. */
			struct slm_value *value =
				(struct slm_value *)&given->rows.values[k];

			if (slm_results_hides(
				    slm_given_hiding(oracle, events[i].call,
						     given->rows.columns[k]),
				    value))
				*value = (struct slm_value){
					.kind = SLM_MASKED
				};
		}
	}
}
