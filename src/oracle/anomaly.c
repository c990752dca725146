/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The field's name of what went wrong, and its cause in a sentence or two.
 *
 * All that is known of a step is which tables it reads and writes, and its
 * text, parameters included. A pattern is named only where these leave no
 * doubt; else the name stays NULL. Errors are in anomaly_error.c. References: Berenson et al., "A Critique of ANSI SQL Isolation
 * Levels" (1995), for P2, P4, A5A and A5B.
 *
 * A read is stale for a later write of its call if another call's write of
 * what was read became visible after the read, happened before that later
 * write, and the call did not read again in between.
 */
#include <string.h>

#include "oracle/naming.h"
#include "oracle/statement.h"
#include "sql/sql.h"

/* ---- Words ------------------------------------------------------------ */

const char *slm_naming_call(const struct slm_naming *n, uint32_t call)
{
	return n->oracle->config.calls[call].name;
}

/* Did the call read, in the transaction of its access, what another changed
 * then? An isolation level would see that. */
static bool is_stale_inside(const struct slm_naming *n,
			    const struct slm_access *own)
{
	for (const struct slm_access *read = n->all.list; read < own; read++)
		for (uint32_t i = 0;
		     read->call == own->call &&
		     read->transaction == own->transaction && i < n->all.count;
		     i++) {
			const struct slm_access *a = &n->all.list[i];

			if (a->call != own->call && (a->writes & read->reads) &&
			    a->visible != UINT32_MAX &&
			    a->visible > read->event)
				return true;
		}
	return false;
}

static void say_transactions(struct slm_naming *n, const struct slm_access *a,
			     const struct slm_access *b)
{
	if (!a->certain || !b->certain)
		return;
	if (a->transaction == b->transaction)
		slm_buf_printf(&n->cause,
			       " %s and %s are in one transaction: a stronger "
			       "isolation level can prevent it.",
			       a->name, b->name);
	else if (!is_stale_inside(n, b))
		slm_buf_printf(&n->cause,
			       " %s and %s are in different transactions: a "
			       "stronger isolation level alone cannot prevent "
			       "it.",
			       a->name, b->name);
}

const char *slm_naming_before(const struct slm_stale *s)
{
	return s->read->event < s->foreign->event ? "write" : "commit";
}

/* ---- Relations -------------------------------------------------------- */

static const struct slm_canonical_table *find_table(const struct slm_naming *n,
						    uint32_t table)
{
	const struct slm_canonical *contents = &n->view->contents;

	for (uint32_t i = 0; i < contents->ntables; i++)
		if (strcmp(contents->tables[i].table->name,
			   n->all.tables[table]) == 0)
			return &contents->tables[i];
	return NULL;
}

/* The name of the table's key column, or NULL. */
static const char *key_of(const struct slm_naming *n, uint32_t table)
{
	const struct slm_canonical_table *found = find_table(n, table);
	const struct slm_contents_table *from = found ? found->table : NULL;

	return from && from->key_column >= 0 ? from->columns[from->key_column] :
					       NULL;
}

static enum slm_relation relate(const struct slm_naming *n,
				const struct slm_access *a,
				const struct slm_access *b, uint32_t table)
{
	const struct slm_canonical_table *found = find_table(n, table);

	if (found && found->table->nrows == 1)
		return SLM_ROWS_SAME;
	return slm_statement_relate(a->sql, b->sql, key_of(n, table));
}

bool slm_naming_in_table(uint64_t tables, uint32_t table)
{
	return (tables >> table) & 1;
}

/* Both took part to the end. */
static bool both_ok(const struct slm_naming *n, const struct slm_access *a,
		    const struct slm_access *b)
{
	return n->view->results.calls[a->call].ok &&
	       n->view->results.calls[b->call].ok;
}

const struct slm_access *slm_naming_last_read(const struct slm_naming *n,
					      const struct slm_access *own,
					      uint32_t table)
{
	const struct slm_access *found = NULL;

	for (const struct slm_access *a = n->all.list; a < own; a++)
		if (a->call == own->call &&
		    slm_naming_in_table(a->reads, table) &&
		    !slm_naming_in_table(a->writes, table))
			found = a;
	return found;
}

/* Calls fn for each stale read before a write; true: it found what it looked
 * for. */
typedef bool (*stale_fn)(struct slm_naming *n, const struct slm_stale *s);

static bool try_stale(struct slm_naming *n, const struct slm_access *own,
		      const struct slm_access *foreign, uint32_t table,
		      stale_fn fn)
{
	const struct slm_access *read;
	struct slm_stale s;

	if (foreign->call == own->call || !both_ok(n, own, foreign) ||
	    !slm_naming_in_table(foreign->writes, table) ||
	    foreign->event > own->event || foreign->visible == UINT32_MAX)
		return false;
	read = slm_naming_last_read(n, own, table);
	if (!read || read->event > foreign->visible)
		return false;
	s = (struct slm_stale){ read, foreign, own, table };
	return fn(n, &s);
}

static bool each_stale(struct slm_naming *n, stale_fn fn)
{
	const struct slm_access *end = n->all.list + n->all.count;

	for (const struct slm_access *own = n->all.list; own < end; own++)
		for (const struct slm_access *foreign = n->all.list;
		     own->writes && foreign < end; foreign++)
			for (uint32_t t = 0; t < n->all.ntables; t++)
				if (try_stale(n, own, foreign, t, fn))
					return true;
	return false;
}

/* ---- Stale reads ------------------------------------------------------ */

/* Are there two rows of the table that nothing but the key tells apart? */
static bool has_twins(const struct slm_naming *n, uint32_t table)
{
	const struct slm_canonical_table *from = find_table(n, table);

	for (uint64_t i = 0; from && i < from->table->nrows && i < 1000; i++)
		for (uint64_t j = 0; j < i; j++)
			if (slm_canonical_generated(from->table, i) &&
			    slm_canonical_alike(&n->view->contents, from, i, j))
				return true;
	return false;
}

static bool is_insert(const struct slm_access *access)
{
	return slm_statement_single(access->sql) == SLM_STATEMENT_INSERT;
}

static bool find_insert(struct slm_naming *n, const struct slm_stale *s)
{
	const char *table = n->all.tables[s->table];
	const char *other = slm_naming_call(n, s->foreign->call);

	if (!slm_naming_in_table(s->own->writes, s->table) ||
	    !is_insert(s->own) || !is_insert(s->foreign))
		return false;
	n->name = has_twins(n, s->table) ? "duplicate insert" :
					   "check-then-insert";
	slm_buf_printf(&n->cause,
		       "%s's step %s inserted into %s after %s had looked at "
		       "it before %s's %s in %s (%s).",
		       slm_naming_call(n, s->own->call), s->own->name, table,
		       s->read->name, other,
		       s->read->event < s->foreign->event ? "insert" : "commit",
		       s->foreign->name, n->name);
	say_transactions(n, s->read, s->own);
	return true;
}

/* ---- What is decided ---------------------------------------------------- */

/* The step of a program that is the same statement but for literals: what it
 * does at that place. NULL: it does not. */
static const struct slm_taken *find_alike(const struct slm_naming *n,
					  const struct slm_serial *serial,
					  const struct slm_access *access)
{
	const struct slm_trace_step *steps =
		n->oracle->config.calls[access->call].steps;
	const struct slm_call_result *result =
		&serial->results.calls[access->call];

	for (uint32_t i = 0; i < result->ntaken; i++)
		if (!result->taken[i].error &&
		    steps[result->taken[i].step].fingerprint ==
			    steps[access->step].fingerprint)
			return &result->taken[i];
	return NULL;
}

/* Does the call leave the step out in some serial run? */
static bool is_left_out(const struct slm_naming *n,
			const struct slm_access *access)
{
	if (!slm_given_is_program(n->oracle, access->call))
		return n->group->variable[n->oracle->first_step[access->call] +
					  access->step];
	for (uint32_t i = 0; i < n->oracle->nserials; i++)
		if (n->oracle->serials[i].run.members == n->group->members &&
		    !find_alike(n, &n->oracle->serials[i], access))
			return true;
	return false;
}

/* Does a program write the same at this place in all serial runs? */
static bool writes_alike(const struct slm_naming *n,
			 const struct slm_access *own)
{
	for (uint32_t i = 0; i < n->oracle->nserials; i++) {
		const struct slm_serial *serial = &n->oracle->serials[i];
		const struct slm_taken *taken = find_alike(n, serial, own);
		const char *sql;

		if (serial->run.members != n->group->members || !taken)
			continue;
		sql = slm_access_sql(n->oracle, &serial->run, taken->event,
				     n->scratch);
		if (!sql || strcmp(sql, own->sql) != 0)
			return false;
	}
	return true;
}

/* Does a condition decide whether the step runs, and nothing of what it
 * writes? Then it is the decision that is stale. */
static bool is_decided(const struct slm_naming *n, const struct slm_access *own)
{
	char name[2];

	if (!is_left_out(n, own))
		return false;
	if (slm_given_is_program(n->oracle, own->call))
		return writes_alike(n, own);
	return !slm_sql_next_parameter(own->sql, name, sizeof(name));
}

static bool find_lost_update(struct slm_naming *n, const struct slm_stale *s)
{
	const char *table = n->all.tables[s->table];
	const char *who = slm_naming_call(n, s->own->call);
	const char *other = slm_naming_call(n, s->foreign->call);

	if (!slm_naming_in_table(s->own->writes, s->table) ||
	    is_decided(n, s->own) ||
	    slm_statement_assigns(s->own->sql, table) != SLM_ASSIGNS_VALUES ||
	    slm_statement_single(s->foreign->sql) != SLM_STATEMENT_UPDATE ||
	    relate(n, s->own, s->foreign, s->table) != SLM_ROWS_SAME ||
	    relate(n, s->read, s->foreign, s->table) == SLM_ROWS_DISJOINT)
		return false;
	n->name = "lost update (P4)";
	slm_buf_printf(&n->cause,
		       "%s's step %s overwrote what %s wrote in %s: %s had "
		       "read %s in %s before %s's %s (lost update).",
		       who, s->own->name, other, s->foreign->name, who, table,
		       s->read->name, other, slm_naming_before(s));
	say_transactions(n, s->read, s->own);
	return true;
}

/* A step that some serial run leaves out is one that a condition decides. */
static bool find_check_then_act(struct slm_naming *n, const struct slm_stale *s)
{
	const char *other = slm_naming_call(n, s->foreign->call);

	if (!is_left_out(n, s->own) ||
	    relate(n, s->read, s->foreign, s->table) == SLM_ROWS_DISJOINT)
		return false;
	n->name = "check-then-act";
	slm_buf_printf(&n->cause,
		       "%s's step %s, which some serial run leaves out, was "
		       "decided on a stale read: %s had read %s before %s's "
		       "%s in %s (check-then-act).",
		       slm_naming_call(n, s->own->call), s->own->name,
		       s->read->name, n->all.tables[s->table], other,
		       slm_naming_before(s), s->foreign->name);
	say_transactions(n, s->read, s->own);
	return true;
}

static bool has_column(const struct slm_result *result, const char *name)
{
	for (; result; result = result->next)
		for (uint32_t i = 0; i < result->rows.ncolumns; i++)
			if (strcasecmp(result->rows.columns[i], name) == 0)
				return true;
	return false;
}

/* Did the step write by a value, :name, that the read had returned? */
static bool uses_value_of(const struct slm_naming *n,
			  const struct slm_access *own,
			  const struct slm_access *read)
{
	const struct slm_result *result =
		n->view->run->events[read->event].result;
	const char *sql = own->sql;
	char name[64];

	while ((sql = slm_sql_next_parameter(sql, name, sizeof(name))))
		if (has_column(result, name))
			return true;
	return false;
}

/* What was written followed from a read that was out of date by then. Of a
 * program it is not known what it writes by; guess: it may be so. */
static bool tell_stale_read(struct slm_naming *n, const struct slm_stale *s,
			    bool guess)
{
	const char *who = slm_naming_call(n, s->own->call);

	if (relate(n, s->read, s->foreign, s->table) == SLM_ROWS_DISJOINT)
		return false;
	n->name = "stale read";
	if (guess)
		slm_buf_printf(&n->cause, "%s wrote in %s, maybe by what", who,
			       s->own->name);
	else
		slm_buf_printf(&n->cause, "%s's step %s wrote by a value that",
			       who, s->own->name);
	slm_buf_printf(&n->cause,
		       " %s had read from %s before %s's %s in %s (stale "
		       "read).",
		       s->read->name, n->all.tables[s->table],
		       slm_naming_call(n, s->foreign->call),
		       slm_naming_before(s), s->foreign->name);
	say_transactions(n, s->read, s->own);
	return true;
}

static bool find_stale_value(struct slm_naming *n, const struct slm_stale *s)
{
	return uses_value_of(n, s->own, s->read) &&
	       tell_stale_read(n, s, false);
}

static bool find_stale_read(struct slm_naming *n, const struct slm_stale *s)
{
	return slm_given_is_program(n->oracle, s->own->call) &&
	       tell_stale_read(n, s, true);
}

/* An INSERT that looks and inserts in one statement, before an other one was
 * committed. Told of programs, whose statements are all there is to see. */
static bool try_blind_insert(struct slm_naming *n, const struct slm_access *own,
			     const struct slm_access *foreign, uint32_t table)
{
	if (own->call == foreign->call || !both_ok(n, own, foreign) ||
	    !slm_given_is_program(n->oracle, own->call) ||
	    !slm_naming_in_table(own->reads & own->writes & foreign->writes,
				 table) ||
	    !is_insert(own) || !is_insert(foreign) ||
	    foreign->visible == UINT32_MAX || foreign->event > own->event ||
	    own->event > foreign->visible)
		return false;
	n->name = has_twins(n, table) ? "duplicate insert" :
					"check-then-insert";
	slm_buf_printf(&n->cause,
		       "%s's step %s looked at %s and inserted into it before "
		       "%s's insert in %s was committed, so it could not see "
		       "it (%s). Only a unique constraint makes the two wait "
		       "for each other.",
		       slm_naming_call(n, own->call), own->name,
		       n->all.tables[table], slm_naming_call(n, foreign->call),
		       foreign->name, n->name);
	return true;
}

static bool find_blind_insert(struct slm_naming *n)
{
	const struct slm_access *end = n->all.list + n->all.count;

	for (const struct slm_access *own = n->all.list; own < end; own++)
		for (const struct slm_access *foreign = n->all.list;
		     own->writes && foreign < end; foreign++)
			for (uint32_t t = 0; t < n->all.ntables; t++)
				if (try_blind_insert(n, own, foreign, t))
					return true;
	return false;
}

/* ---- Write skew ------------------------------------------------------- */

static bool changes_rows(const struct slm_access *access)
{
	enum slm_statement kind = slm_statement_single(access->sql);

	return kind == SLM_STATEMENT_UPDATE || kind == SLM_STATEMENT_DELETE;
}

/* Is what the two calls write disjoint? They write nothing in common but
 * tables of which they pick other rows. */
static bool disjoint(const struct slm_naming *n, const struct slm_access *a,
		     const struct slm_access *b)
{
	uint64_t common = a->writes & b->writes;

	for (uint32_t t = 0; t < n->all.ntables; t++)
		if (slm_naming_in_table(common, t) &&
		    relate(n, a, b, t) != SLM_ROWS_DISJOINT)
			return false;
	return true;
}

static bool writes_once(const struct slm_naming *n,
			const struct slm_access *write)
{
	for (uint32_t i = 0; i < n->all.count; i++)
		if (n->all.list[i].call == write->call &&
		    n->all.list[i].writes && &n->all.list[i] != write)
			return false;
	return true;
}

/* A read of the call of own, before own, of a table that foreign wrote and
 * that was not visible to it. */
static const struct slm_access *missed(const struct slm_naming *n,
				       const struct slm_access *own,
				       const struct slm_access *foreign)
{
	for (uint32_t t = 0; t < n->all.ntables; t++) {
		const struct slm_access *read =
			slm_naming_in_table(foreign->writes, t) ?
				slm_naming_last_read(n, own, t) :
				NULL;

		if (read && read->event < foreign->visible &&
		    relate(n, read, foreign, t) != SLM_ROWS_DISJOINT)
			return read;
	}
	return NULL;
}

static bool try_write_skew(struct slm_naming *n, const struct slm_access *a,
			   const struct slm_access *b)
{
	const struct slm_access *read_a, *read_b;

	if (a->call == b->call || !a->writes || !b->writes ||
	    !both_ok(n, a, b) || !changes_rows(a) || !changes_rows(b) ||
	    !writes_once(n, a) || !writes_once(n, b) || !disjoint(n, a, b))
		return false;
	read_a = missed(n, a, b);
	read_b = missed(n, b, a);
	if (!read_a || !read_b)
		return false;
	n->name = "write skew (A5B)";
	slm_buf_printf(&n->cause,
		       "%s (in %s) and %s (in %s) each read what the other "
		       "then changed (%s and %s), and neither saw the other's "
		       "change (write skew).",
		       slm_naming_call(n, a->call), read_a->name,
		       slm_naming_call(n, b->call), read_b->name, b->name,
		       a->name);
	say_transactions(n, read_a, a);
	return true;
}

static bool find_write_skew(struct slm_naming *n)
{
	for (uint32_t i = 0; i < n->all.count; i++)
		for (uint32_t j = i + 1; j < n->all.count; j++)
			if (try_write_skew(n, &n->all.list[i], &n->all.list[j]))
				return true;
	return false;
}

/* ---- Reads that do not fit together ----------------------------------- */

static bool only_reads(const struct slm_naming *n, uint32_t call)
{
	for (uint32_t i = 0; i < n->all.count; i++)
		if (n->all.list[i].call == call && n->all.list[i].writes)
			return false;
	return true;
}

/* The same statement twice, and a foreign write in between. */
static bool try_repeated(struct slm_naming *n, const struct slm_access *first,
			 const struct slm_access *second,
			 const struct slm_access *write)
{
	if (!(write->writes & first->reads) || first->event > write->visible ||
	    second->event < write->visible ||
	    first->taken->value == second->taken->value ||
	    !slm_statement_same(first->sql, second->sql))
		return false;
	n->name = "non-repeatable read (P2)";
	slm_buf_printf(&n->cause,
		       "%s read the same in %s and %s, and what %s wrote in %s "
		       "became visible in between (non-repeatable read).",
		       slm_naming_call(n, first->call), first->name,
		       second->name, slm_naming_call(n, write->call),
		       write->name);
	say_transactions(n, first, second);
	return true;
}

/* Does the write touch what this read, and only this read, reads? */
static bool feeds(const struct slm_naming *n, const struct slm_access *write,
		  const struct slm_access *read, const struct slm_access *other)
{
	for (uint32_t t = 0; t < n->all.ntables; t++) {
		if (!slm_naming_in_table(write->writes & read->reads, t))
			continue;
		if (!slm_naming_in_table(other->reads, t))
			return true;
		if (relate(n, read, other, t) == SLM_ROWS_DISJOINT &&
		    slm_statement_changes_rows(write->sql, read->sql,
					       n->all.tables[t], key_of(n, t)))
			return true;
	}
	return false;
}

/* One part of what another call wrote was read before it, one after. */
static bool try_read_skew(struct slm_naming *n, const struct slm_access *first,
			  const struct slm_access *second,
			  const struct slm_access *late)
{
	if (first->event > late->visible || !feeds(n, late, first, second))
		return false;
	for (uint32_t i = 0; i < n->all.count; i++) {
		const struct slm_access *early = &n->all.list[i];

		if (early->call != late->call || !early->writes ||
		    early->visible > second->event ||
		    !feeds(n, early, second, first))
			continue;
		n->name = "read skew (A5A)";
		slm_buf_printf(&n->cause,
			       "%s saw what %s wrote in %s (step %s), but had "
			       "read in %s what was there before %s (read "
			       "skew).",
			       slm_naming_call(n, first->call),
			       slm_naming_call(n, late->call), early->name,
			       second->name, first->name, late->name);
		say_transactions(n, first, second);
		return true;
	}
	return false;
}

static bool try_reads(struct slm_naming *n, const struct slm_access *first,
		      const struct slm_access *second)
{
	if (first->call != second->call || !first->reads || !second->reads ||
	    !only_reads(n, first->call))
		return false;
	for (uint32_t i = 0; i < n->all.count; i++) {
		const struct slm_access *write = &n->all.list[i];

		if (write->call == first->call || !write->writes ||
		    write->visible == UINT32_MAX || !both_ok(n, first, write))
			continue;
		if (try_repeated(n, first, second, write) ||
		    try_read_skew(n, first, second, write))
			return true;
	}
	return false;
}

static bool find_reads(struct slm_naming *n)
{
	for (uint32_t i = 0; i < n->all.count; i++)
		for (uint32_t j = i + 1; j < n->all.count; j++)
			if (try_reads(n, &n->all.list[i], &n->all.list[j]))
				return true;
	return false;
}

/* ---- All -------------------------------------------------------------- */

static void find_name(struct slm_naming *n, enum slm_class class)
{
	switch (class) {
	case SLM_CLASS_CHECK:
	case SLM_CLASS_CONTENTS:
	case SLM_CLASS_RESULT:
		(void)(each_stale(n, find_insert) || find_blind_insert(n) ||
		       find_write_skew(n) || each_stale(n, find_lost_update) ||
		       each_stale(n, find_check_then_act) || find_reads(n) ||
		       each_stale(n, find_stale_value) ||
		       slm_naming_error(n, SLM_ERROR_INTEGRITY) ||
		       each_stale(n, find_stale_read));
		break;
	case SLM_CLASS_ERROR:
		(void)(slm_naming_error(n, SLM_ERROR_DEADLOCK) ||
		       slm_naming_error(n, SLM_ERROR_INTEGRITY));
		break;
	case SLM_CLASS_RETRY:
		slm_naming_error(n, SLM_ERROR_RETRY);
		break;
	case SLM_CLASS_BENIGN:
	case SLM_CLASS_SERIAL:
		break;
	}
}

bool slm_anomaly_name(const struct slm_oracle *oracle,
		      const struct slm_group *group,
		      const struct slm_view *view, struct slm_arena *scratch,
		      struct slm_arena *arena, struct slm_finding *out)
{
	struct slm_naming n = { .oracle = oracle,
				.group = group,
				.view = view,
				.scratch = scratch };
	bool failed = false;

	if (!slm_access_make(oracle, view, scratch, &n.all))
		return false;
	slm_buf_init(&n.cause);
	find_name(&n, out->class);
	if (n.name) {
		out->name = slm_arena_strdup(arena, n.name);
		out->cause = slm_show_take(&n.cause, arena);
		failed = !out->name || !out->cause;
	}
	slm_buf_deinit(&n.cause);
	return !failed;
}
