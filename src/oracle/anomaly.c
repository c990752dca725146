/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The field's name of what went wrong, and its cause in a sentence or two.
 *
 * All that is known of a step is which tables it reads and writes, and its
 * text, parameters included. A pattern is named only where these leave no doubt; else the name
 * stays NULL. References: Berenson et al., "A Critique of ANSI SQL Isolation
 * Levels" (1995), for P2, P4, A5A and A5B.
 *
 * A read is stale for a later write of its call if another call's write of
 * what was read became visible after the read, happened before that later
 * write, and the call did not read again in between.
 */
#include <string.h>

#include "oracle/internal.h"
#include "oracle/statement.h"
#include "sql/sql.h"

/* What the search works with. */
struct naming {
	const struct slm_oracle *oracle;
	const struct slm_group *group;
	const struct slm_view *view;
	struct slm_arena *scratch;
	struct slm_accesses all;
	struct slm_buf cause;
	const char *name; /* static; NULL: none found */
};

/* read, by the call of own, is stale for own because of foreign. */
struct stale {
	const struct slm_access *read, *foreign, *own;
	uint32_t table;
};

/* ---- Words ------------------------------------------------------------ */

static const char *call_name(const struct naming *n, uint32_t call)
{
	return n->oracle->config.calls[call].name;
}

static void say_transactions(struct naming *n, const struct slm_access *a,
			     const struct slm_access *b)
{
	if (!a->certain || !b->certain)
		return;
	if (a->transaction == b->transaction)
		slm_buf_printf(&n->cause,
			       " %s and %s are in one transaction: a stronger "
			       "isolation level can prevent it.",
			       a->name, b->name);
	else
		slm_buf_printf(&n->cause,
			       " %s and %s are in different transactions: a "
			       "stronger isolation level alone cannot prevent "
			       "it.",
			       a->name, b->name);
}

/* "before alice's write", or what made it invisible. */
static const char *before_what(const struct stale *s)
{
	return s->read->event < s->foreign->event ? "write" : "commit";
}

/* ---- Relations -------------------------------------------------------- */

static const struct slm_canonical_table *find_table(const struct naming *n,
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
static const char *key_of(const struct naming *n, uint32_t table)
{
	const struct slm_canonical_table *found = find_table(n, table);
	const struct slm_contents_table *from = found ? found->table : NULL;

	return from && from->key_column >= 0 ? from->columns[from->key_column] :
					       NULL;
}

static enum slm_relation relate(const struct naming *n,
				const struct slm_access *a,
				const struct slm_access *b, uint32_t table)
{
	const struct slm_canonical_table *found = find_table(n, table);

	if (found && found->table->nrows == 1)
		return SLM_ROWS_SAME;
	return slm_statement_relate(a->sql, b->sql, key_of(n, table));
}

static bool in_table(uint64_t tables, uint32_t table)
{
	return (tables >> table) & 1;
}

/* Both took part to the end. */
static bool both_ok(const struct naming *n, const struct slm_access *a,
		    const struct slm_access *b)
{
	return n->view->results.calls[a->call].ok &&
	       n->view->results.calls[b->call].ok;
}

/* The last step of the call of own before own that reads table, and does not
 * itself write it. */
static const struct slm_access *last_read(const struct naming *n,
					  const struct slm_access *own,
					  uint32_t table)
{
	const struct slm_access *found = NULL;

	for (const struct slm_access *a = n->all.list; a < own; a++)
		if (a->call == own->call && in_table(a->reads, table) &&
		    !in_table(a->writes, table))
			found = a;
	return found;
}

/* Calls fn for each stale read before a write; true: it found what it looked
 * for. */
typedef bool (*stale_fn)(struct naming *n, const struct stale *s);

static bool try_stale(struct naming *n, const struct slm_access *own,
		      const struct slm_access *foreign, uint32_t table,
		      stale_fn fn)
{
	const struct slm_access *read;
	struct stale s;

	if (foreign->call == own->call || !both_ok(n, own, foreign) ||
	    !in_table(foreign->writes, table) || foreign->event > own->event ||
	    foreign->visible == UINT32_MAX)
		return false;
	read = last_read(n, own, table);
	if (!read || read->event > foreign->visible)
		return false;
	s = (struct stale){ read, foreign, own, table };
	return fn(n, &s);
}

static bool each_stale(struct naming *n, stale_fn fn)
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
static bool has_twins(const struct naming *n, uint32_t table)
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

static bool find_insert(struct naming *n, const struct stale *s)
{
	const char *table = n->all.tables[s->table];
	const char *other = call_name(n, s->foreign->call);

	if (!in_table(s->own->writes, s->table) || !is_insert(s->own) ||
	    !is_insert(s->foreign))
		return false;
	n->name = has_twins(n, s->table) ? "duplicate insert" :
					   "check-then-insert";
	slm_buf_printf(&n->cause,
		       "%s's step %s inserted into %s after %s had looked at "
		       "it before %s's %s in %s (%s).",
		       call_name(n, s->own->call), s->own->name, table,
		       s->read->name, other,
		       s->read->event < s->foreign->event ? "insert" : "commit",
		       s->foreign->name, n->name);
	say_transactions(n, s->read, s->own);
	return true;
}

/* ---- What is decided ---------------------------------------------------- */

/* The step of a program that is the same statement but for literals: what it
 * does at that place. NULL: it does not. */
static const struct slm_taken *find_alike(const struct naming *n,
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
static bool is_left_out(const struct naming *n, const struct slm_access *access)
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
static bool writes_alike(const struct naming *n, const struct slm_access *own)
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
static bool is_decided(const struct naming *n, const struct slm_access *own)
{
	char name[2];

	if (!is_left_out(n, own))
		return false;
	if (slm_given_is_program(n->oracle, own->call))
		return writes_alike(n, own);
	return !slm_sql_next_parameter(own->sql, name, sizeof(name));
}

static bool find_lost_update(struct naming *n, const struct stale *s)
{
	const char *table = n->all.tables[s->table];
	const char *who = call_name(n, s->own->call);
	const char *other = call_name(n, s->foreign->call);

	if (!in_table(s->own->writes, s->table) || is_decided(n, s->own) ||
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
		       s->read->name, other, before_what(s));
	say_transactions(n, s->read, s->own);
	return true;
}

/* A step that some serial run leaves out is one that a condition decides. */
static bool find_check_then_act(struct naming *n, const struct stale *s)
{
	const char *other = call_name(n, s->foreign->call);

	if (!is_left_out(n, s->own) ||
	    relate(n, s->read, s->foreign, s->table) == SLM_ROWS_DISJOINT)
		return false;
	n->name = "check-then-act";
	slm_buf_printf(&n->cause,
		       "%s's step %s, which some serial run leaves out, was "
		       "decided on a stale read: %s had read %s before %s's "
		       "%s in %s (check-then-act).",
		       call_name(n, s->own->call), s->own->name, s->read->name,
		       n->all.tables[s->table], other, before_what(s),
		       s->foreign->name);
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
static bool uses_value_of(const struct naming *n, const struct slm_access *own,
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

/* What was written followed from a read that was out of date by then. */
static bool find_stale_value(struct naming *n, const struct stale *s)
{
	if (!uses_value_of(n, s->own, s->read) ||
	    relate(n, s->read, s->foreign, s->table) == SLM_ROWS_DISJOINT)
		return false;
	n->name = "stale read";
	slm_buf_printf(&n->cause,
		       "%s's step %s wrote by a value that %s had read from %s "
		       "before %s's %s in %s (stale read).",
		       call_name(n, s->own->call), s->own->name, s->read->name,
		       n->all.tables[s->table], call_name(n, s->foreign->call),
		       before_what(s), s->foreign->name);
	say_transactions(n, s->read, s->own);
	return true;
}

/* An INSERT that looks and inserts in one statement, before an other one was
 * committed. Told of programs, whose statements are all there is to see. */
static bool try_blind_insert(struct naming *n, const struct slm_access *own,
			     const struct slm_access *foreign, uint32_t table)
{
	if (own->call == foreign->call || !both_ok(n, own, foreign) ||
	    !slm_given_is_program(n->oracle, own->call) ||
	    !in_table(own->reads & own->writes & foreign->writes, table) ||
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
		       call_name(n, own->call), own->name, n->all.tables[table],
		       call_name(n, foreign->call), foreign->name, n->name);
	return true;
}

static bool find_blind_insert(struct naming *n)
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
static bool disjoint(const struct naming *n, const struct slm_access *a,
		     const struct slm_access *b)
{
	uint64_t common = a->writes & b->writes;

	for (uint32_t t = 0; t < n->all.ntables; t++)
		if (in_table(common, t) &&
		    relate(n, a, b, t) != SLM_ROWS_DISJOINT)
			return false;
	return true;
}

static bool writes_once(const struct naming *n, const struct slm_access *write)
{
	for (uint32_t i = 0; i < n->all.count; i++)
		if (n->all.list[i].call == write->call &&
		    n->all.list[i].writes && &n->all.list[i] != write)
			return false;
	return true;
}

/* A read of the call of own, before own, of a table that foreign wrote and
 * that was not visible to it. */
static const struct slm_access *missed(const struct naming *n,
				       const struct slm_access *own,
				       const struct slm_access *foreign)
{
	for (uint32_t t = 0; t < n->all.ntables; t++) {
		const struct slm_access *read = in_table(foreign->writes, t) ?
							last_read(n, own, t) :
							NULL;

		if (read && read->event < foreign->visible &&
		    relate(n, read, foreign, t) != SLM_ROWS_DISJOINT)
			return read;
	}
	return NULL;
}

static bool try_write_skew(struct naming *n, const struct slm_access *a,
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
		       call_name(n, a->call), read_a->name,
		       call_name(n, b->call), read_b->name, b->name, a->name);
	say_transactions(n, read_a, a);
	return true;
}

static bool find_write_skew(struct naming *n)
{
	for (uint32_t i = 0; i < n->all.count; i++)
		for (uint32_t j = i + 1; j < n->all.count; j++)
			if (try_write_skew(n, &n->all.list[i], &n->all.list[j]))
				return true;
	return false;
}

/* ---- Reads that do not fit together ----------------------------------- */

static bool only_reads(const struct naming *n, uint32_t call)
{
	for (uint32_t i = 0; i < n->all.count; i++)
		if (n->all.list[i].call == call && n->all.list[i].writes)
			return false;
	return true;
}

/* The same statement twice, and a foreign write in between. */
static bool try_repeated(struct naming *n, const struct slm_access *first,
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
		       call_name(n, first->call), first->name, second->name,
		       call_name(n, write->call), write->name);
	say_transactions(n, first, second);
	return true;
}

/* Does the write touch what this read, and only this read, reads? */
static bool feeds(const struct naming *n, const struct slm_access *write,
		  const struct slm_access *read, const struct slm_access *other)
{
	for (uint32_t t = 0; t < n->all.ntables; t++) {
		if (!in_table(write->writes & read->reads, t))
			continue;
		if (!in_table(other->reads, t))
			return true;
		if (relate(n, read, other, t) == SLM_ROWS_DISJOINT &&
		    slm_statement_changes_rows(write->sql, read->sql,
					       n->all.tables[t], key_of(n, t)))
			return true;
	}
	return false;
}

/* One part of what another call wrote was read before it, one after. */
static bool try_read_skew(struct naming *n, const struct slm_access *first,
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
			       call_name(n, first->call),
			       call_name(n, late->call), early->name,
			       second->name, first->name, late->name);
		say_transactions(n, first, second);
		return true;
	}
	return false;
}

static bool try_reads(struct naming *n, const struct slm_access *first,
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

static bool find_reads(struct naming *n)
{
	for (uint32_t i = 0; i < n->all.count; i++)
		for (uint32_t j = i + 1; j < n->all.count; j++)
			if (try_reads(n, &n->all.list[i], &n->all.list[j]))
				return true;
	return false;
}

/* ---- Errors ----------------------------------------------------------- */

/* The access at which the call failed, or NULL. */
static const struct slm_access *failing(const struct naming *n, uint32_t call)
{
	const struct slm_result *error = n->view->results.calls[call].error;

	for (uint32_t i = 0; error && i < n->all.count; i++)
		if (n->all.list[i].call == call &&
		    n->all.list[i].taken->error == error)
			return &n->all.list[i];
	return NULL;
}

/* Does the list of names have this one? */
static bool lists(const char *names, const char *name)
{
	size_t size = strlen(name);

	while (names && *names) {
		size_t n = strcspn(names, ", ");

		if (n == size && strncmp(names, name, n) == 0)
			return true;
		names += n;
		names += strspn(names, ", ");
	}
	return false;
}

/* What others wrote to a table that the failing step writes, too, after the
 * call had read it. */
static bool find_stale_check(const struct naming *n,
			     const struct slm_access *fail, struct stale *out)
{
	const char *writes =
		n->oracle->config.calls[fail->call].steps[fail->step].writes;

	for (uint32_t t = 0; t < n->all.ntables; t++) {
		const struct slm_access *read = last_read(n, fail, t);

		if (!read || !lists(writes, n->all.tables[t]))
			continue;
		for (uint32_t i = 0; i < n->all.count; i++) {
			const struct slm_access *write = &n->all.list[i];

			if (write->call == fail->call ||
			    !in_table(write->writes, t) ||
			    write->event > fail->event ||
			    write->visible < read->event)
				continue;
			*out = (struct stale){ read, write, fail, t };
			return true;
		}
	}
	return false;
}

static bool name_integrity(struct naming *n, uint32_t call)
{
	const struct slm_result *error = n->view->results.calls[call].error;
	const struct slm_access *fail = failing(n, call);
	const char *who = call_name(n, call);
	struct stale s;

	if (!fail ||
	    slm_judge_fails_alike(n->oracle, n->group->members, call, error))
		return false;
	slm_buf_printf(&n->cause, "%s's step %s failed: ", who, fail->name);
	if (error->message)
		slm_buf_puts(&n->cause, error->message);
	else
		slm_show_error(&n->cause, error);
	slm_buf_putc(&n->cause, '.');
	if (!find_stale_check(n, fail, &s)) {
		n->name = "integrity error";
		return true;
	}
	n->name = "integrity error after check";
	slm_buf_printf(&n->cause,
		       " %s had looked at %s in %s before %s's %s in %s.", who,
		       n->all.tables[s.table], s.read->name,
		       call_name(n, s.foreign->call), before_what(&s),
		       s.foreign->name);
	return true;
}

/* Two waits, each for the other call. */
static bool say_waits(struct naming *n)
{
	const struct slm_run *run = n->view->run;
	const struct slm_trace_call *calls = n->oracle->config.calls;

	for (uint32_t i = 0; i < run->nevents; i++)
		for (uint32_t j = i + 1; j < run->nevents; j++) {
			const struct slm_event *a = &run->events[i];
			const struct slm_event *b = &run->events[j];

			if (a->kind != SLM_EVENT_BLOCKED ||
			    b->kind != SLM_EVENT_BLOCKED ||
			    !(a->blocked_by & (1u << b->call)) ||
			    !(b->blocked_by & (1u << a->call)))
				continue;
			slm_buf_printf(&n->cause,
				       "%s's step %s waited for %s, and %s's "
				       "step %s for %s",
				       calls[a->call].name,
				       calls[a->call].steps[a->step].name,
				       calls[b->call].name, calls[b->call].name,
				       calls[b->call].steps[b->step].name,
				       calls[a->call].name);
			return true;
		}
	return false;
}

/* The circle as the database told it: what is behind the colon of its error's
 * message; NULL: it did not. */
static const char *told_circle(const struct naming *n, uint32_t call)
{
	const struct slm_run *run = n->view->run;

	for (uint32_t i = 0; i < run->nevents; i++) {
		const struct slm_event *event = &run->events[i];

		for (const struct slm_result *r = event->result;
		     r && event->call == call; r = r->next) {
			const char *colon = r->error == SLM_ERROR_DEADLOCK &&
							    r->message ?
						    strstr(r->message, ": ") :
						    NULL;

			if (colon)
				return colon + 2;
		}
	}
	return NULL;
}

static bool name_deadlock(struct naming *n, uint32_t call)
{
	const char *circle = told_circle(n, call);

	n->name = "deadlock";
	if (circle) {
		slm_buf_printf(&n->cause,
			       "The calls waited in a circle: %s. The database "
			       "ended %s. Lock what both need in the same "
			       "order everywhere.",
			       circle, call_name(n, call));
		return true;
	}
	if (say_waits(n))
		slm_buf_printf(&n->cause, ": the database ended %s (deadlock).",
			       call_name(n, call));
	else
		slm_buf_printf(&n->cause,
			       "%s was ended by the database: it waited in a "
			       "circle with others (deadlock).",
			       call_name(n, call));
	return true;
}

/* A read of the failing access's own transaction. */
static const struct slm_access *read_before(const struct naming *n,
					    const struct slm_access *fail)
{
	if (!fail->deferred || !fail->transaction)
		return NULL;
	for (const struct slm_access *a = n->all.list; a < fail; a++)
		if (a->call == fail->call && a->reads && !a->writes &&
		    a->transaction == fail->transaction)
			return a;
	return NULL;
}

static bool name_busy(struct naming *n, uint32_t call, const char *code)
{
	const struct slm_access *fail = failing(n, call), *read;
	const struct slm_trace_step *step;
	const char *who = call_name(n, call);

	if (!fail)
		return false;
	n->name = "database is locked";
	step = &n->oracle->config.calls[call].steps[fail->step];
	read = step->writes && *step->writes ? read_before(n, fail) : NULL;
	if (read && strcmp(code, "SQLITE_BUSY_SNAPSHOT") == 0)
		slm_buf_printf(&n->cause,
			       "%s's step %s was refused: %s's transaction had "
			       "read in %s, and a transaction whose reads are "
			       "out of date cannot become a writer (%s at "
			       "once). ",
			       who, fail->name, who, read->name, code);
	else if (read)
		slm_buf_printf(&n->cause,
			       "%s's step %s was refused: %s's transaction had "
			       "read in %s, and a transaction that has read "
			       "cannot become a writer while another is "
			       "writing (%s at once). ",
			       who, fail->name, who, read->name, code);
	if (read)
		slm_buf_puts(&n->cause,
			     "BEGIN IMMEDIATE takes the write lock first.");
	else if (slm_statement_single(fail->sql) == SLM_STATEMENT_COMMIT)
		slm_buf_printf(&n->cause,
			       "%s's step %s could not commit while others "
			       "were reading (%s).",
			       who, fail->name, code);
	else
		slm_buf_printf(&n->cause,
			       "%s's step %s found the database locked by "
			       "another call (%s).",
			       who, fail->name, code);
	return true;
}

static bool name_abort(struct naming *n, uint32_t call)
{
	const struct slm_result *error = n->view->results.calls[call].error;
	const char *code = error->code ? error->code : "";

	if (error->error == SLM_ERROR_DEADLOCK)
		return name_deadlock(n, call);
	if (strncmp(code, "SQLITE_BUSY", 11) == 0)
		return name_busy(n, call, code);
	if (strcmp(code, "40001") != 0)
		return false;
	n->name = "serialization failure";
	slm_buf_printf(&n->cause,
		       "%s was ended by the database because no serial order "
		       "would give what it saw (40001).",
		       call_name(n, call));
	return true;
}

/* Names the first unexpected error of this kind. */
static bool find_error(struct naming *n, enum slm_error_kind kind)
{
	for (uint32_t call = 0; call < n->oracle->config.ncalls; call++) {
		const struct slm_call_result *result =
			&n->view->results.calls[call];

		if (!(n->view->results.failed & (1u << call)) ||
		    !result->error || result->error->error != kind ||
		    slm_results_allowed(n->oracle, result->error))
			continue;
		if (kind == SLM_ERROR_INTEGRITY ? name_integrity(n, call) :
						  name_abort(n, call))
			return true;
	}
	return false;
}

/* ---- All -------------------------------------------------------------- */

static void find_name(struct naming *n, enum slm_class class)
{
	switch (class) {
	case SLM_CLASS_CHECK:
	case SLM_CLASS_CONTENTS:
	case SLM_CLASS_RESULT:
		(void)(each_stale(n, find_insert) || find_blind_insert(n) ||
		       find_write_skew(n) || each_stale(n, find_lost_update) ||
		       each_stale(n, find_check_then_act) || find_reads(n) ||
		       each_stale(n, find_stale_value) ||
		       find_error(n, SLM_ERROR_INTEGRITY));
		break;
	case SLM_CLASS_ERROR:
		(void)(find_error(n, SLM_ERROR_DEADLOCK) ||
		       find_error(n, SLM_ERROR_INTEGRITY));
		break;
	case SLM_CLASS_RETRY:
		find_error(n, SLM_ERROR_RETRY);
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
	struct naming n = { .oracle = oracle,
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
