/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run left beside what serial runs leave: tables, results, and the
 * lines that say what is different. Serial runs with equal outcomes are shown
 * once, with their orders.
 */
#include <assert.h>
#include <string.h>

#include "report/page.h"

#define ROWS_MAX 8	  /* rows shown of one table in one outcome */
#define GROUPS_MAX 4	  /* different serial outcomes shown */
#define ORDERS_MAX 3	  /* orders named of one group, if there are more */
#define DIFFERENCES_MAX 8 /* lines of differences */
#define CHECK_ROWS_MAX 8
#define INDENT 2

/* Serial runs that give the same, by some measure. */
struct group {
	const struct slm_trace_serial *first;
	uint32_t size;	    /* serial runs in it */
	const char *label;  /* "ab, ba": marked text */
	struct slm_buf buf; /* label in the making */
};

struct groups {
	struct group list[GROUPS_MAX];
	uint32_t count;
	uint32_t more;	/* groups that did not fit */
	uint32_t total; /* serial runs in all of them */
};

struct expected {
	struct slm_page *page;
	const struct slm_finding *finding;
	const struct slm_trace_serial **serials; /* to compare with */
	uint32_t nserials;
	const struct slm_trace_serial *nearest; /* NULL: nserials is 0 */
	bool told;				/* the heading is printed */
	bool after_table;			/* an empty line is due */
};

typedef bool (*same_fn)(const struct slm_trace_serial *one,
			const struct slm_trace_serial *other,
			const void *subject);

/* ---- Comparing -------------------------------------------------------- */

static bool same_value(const struct slm_value *one,
		       const struct slm_value *other)
{
	if (one->kind != other->kind)
		return false;
	switch (one->kind) {
	case SLM_NULL:
	case SLM_MASKED:
		return true;
	case SLM_INT:
		return one->integer == other->integer;
	case SLM_REAL:
		return memcmp(&one->real, &other->real, sizeof(double)) == 0;
	case SLM_TEXT:
	case SLM_BLOB:
	case SLM_KEY:
		break;
	}
	return one->size == other->size &&
	       (one->size == 0 ||
		memcmp(one->text, other->text, one->size) == 0);
}

static bool same_row(const struct slm_rows *one, uint32_t row,
		     const struct slm_rows *other, uint32_t other_row)
{
	if (one->ncolumns != other->ncolumns)
		return false;
	for (uint32_t i = 0; i < one->ncolumns; i++)
		if (!same_value(
			    &one->values[(size_t)row * one->ncolumns + i],
			    &other->values[(size_t)other_row * one->ncolumns +
					   i]))
			return false;
	return true;
}

static bool same_rows(const struct slm_rows *one, const struct slm_rows *other)
{
	if (one->nrows != other->nrows || one->nkept != other->nkept ||
	    one->ncolumns != other->ncolumns)
		return false;
	for (uint32_t row = 0; row < one->nkept; row++)
		if (!same_row(one, row, other, row))
			return false;
	return true;
}

static uint32_t count_row(const struct slm_rows *rows, uint32_t upto,
			  const struct slm_rows *of, uint32_t row)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < upto; i++)
		count += same_row(rows, i, of, row);
	return count;
}

/* Is this row, or this one of several equal rows, not among the others? */
static bool is_extra(const struct slm_rows *rows, uint32_t row,
		     const struct slm_rows *others)
{
	return count_row(rows, row + 1, rows, row) >
	       count_row(others, others->nkept, rows, row);
}

static const struct slm_rows *find_table(const struct slm_outcome *outcome,
					 const char *name)
{
	static const struct slm_rows none;

	for (uint32_t i = 0; i < outcome->ntables; i++)
		if (strcmp(outcome->tables[i].name, name) == 0)
			return &outcome->tables[i].rows;
	return &none;
}

static bool same_table(const struct slm_trace_serial *one,
		       const struct slm_trace_serial *other, const void *name)
{
	return same_rows(find_table(&one->outcome, name),
			 find_table(&other->outcome, name));
}

static bool same_text(const char *one, const char *other)
{
	return one == other || (one && other && strcmp(one, other) == 0);
}

static const char *result_of(const struct slm_outcome *outcome, uint32_t call)
{
	return outcome->results ? outcome->results[call] : NULL;
}

/* subject is the trace: all calls are compared. */
static bool same_results(const struct slm_trace_serial *one,
			 const struct slm_trace_serial *other,
			 const void *subject)
{
	const struct slm_trace *trace = subject;

	for (uint32_t i = 0; i < trace->ncalls; i++)
		if (!same_text(result_of(&one->outcome, i),
			       result_of(&other->outcome, i)))
			return false;
	return true;
}

/* ---- The serial runs to compare with, and their groups ---------------- */

static uint32_t letters_mask(const char *letters)
{
	uint32_t mask = 0;

	for (; *letters; letters++)
		mask |= UINT32_C(1) << ((unsigned)(*letters - 'a') & 31);
	return mask;
}

/* Those of the same calls as the nearest one. */
static void choose_serials(struct expected *e)
{
	const struct slm_trace *trace = e->page->trace;
	const char *nearest = e->finding->nearest;
	uint32_t members = nearest ? letters_mask(nearest) :
				     e->finding->outcome.members;

	e->serials = slm_arena_zalloc(&e->page->arena,
				      (size_t)trace->nserials + 1,
				      sizeof(struct slm_trace_serial *));
	if (!e->serials) {
		e->page->failed = true;
		return;
	}
	for (uint32_t i = 0; i < trace->nserials; i++) {
		const struct slm_trace_serial *serial = &trace->serials[i];

		if (letters_mask(serial->order) != members)
			continue;
		e->serials[e->nserials++] = serial;
		if (!e->nearest ||
		    (nearest && strcmp(serial->order, nearest) == 0))
			e->nearest = serial;
	}
}

static void add_to_group(struct slm_page *page, struct group *group,
			 const struct slm_trace_serial *serial)
{
	if (group->size++ >= ORDERS_MAX)
		return;
	if (group->size > 1)
		slm_buf_puts(&group->buf, ", ");
	slm_page_clean(page, &group->buf, serial->order);
}

static void finish_labels(struct slm_page *page, struct groups *groups)
{
	for (uint32_t i = 0; i < groups->count; i++) {
		struct group *group = &groups->list[i];

		if (group->size == groups->total && group->size > ORDERS_MAX) {
			slm_buf_clear(&group->buf);
			slm_buf_printf(&group->buf, "any of %u orders",
				       group->size);
		} else if (group->size > ORDERS_MAX) {
			slm_buf_printf(&group->buf, ", %u more",
				       group->size - ORDERS_MAX);
		}
		group->label = slm_page_keep(page, &group->buf);
		slm_buf_deinit(&group->buf);
	}
}

/* The groups of serial runs among which `same` finds no difference. */
static void make_groups(struct expected *e, struct groups *groups, same_fn same,
			const void *subject)
{
	memset(groups, 0, sizeof(*groups));
	/* The group of the nearest is there, whatever happens to others. */
	groups->list[0].first = e->nearest;
	groups->count = 1;
	slm_buf_init(&groups->list[0].buf);
	for (uint32_t i = 0; i < e->nserials; i++) {
		const struct slm_trace_serial *serial = e->serials[i];
		uint32_t k = 0;

		while (k < groups->count &&
		       !same(groups->list[k].first, serial, subject))
			k++;
		if (k == GROUPS_MAX) {
			groups->more++;
			groups->total++;
			continue;
		}
		if (k == groups->count) {
			groups->count++;
			groups->list[k].first = serial;
			slm_buf_init(&groups->list[k].buf);
		}
		add_to_group(e->page, &groups->list[k], serial);
		groups->total++;
	}
	finish_labels(e->page, groups);
}

static void tell_more(struct slm_page *page, uint32_t more)
{
	struct slm_buf buf;

	if (!more)
		return;
	slm_buf_init(&buf);
	slm_buf_puts(&buf, M_FAINT);
	slm_page_glyph(page, &buf, SLM_G_ELLIPSIS);
	slm_buf_puts(&buf, " and ");
	slm_text_count(&buf, more, "more serial order", "more serial orders");
	slm_buf_puts(&buf, " with other outcomes" M_PLAIN);
	slm_page_flush(page, &buf, INDENT, 2);
	slm_buf_deinit(&buf);
}

/* ---- A table ---------------------------------------------------------- */

/* One of the outcomes that are shown one below the other. */
struct part {
	const char *label;
	const struct slm_rows *rows;
	const struct slm_rows *others; /* what its rows are marked against */
	bool is_actual;
	uint32_t shown[ROWS_MAX]; /* rows */
	uint32_t nshown;
	uint64_t left; /* rows not shown */
};

static void choose_rows(struct part *part)
{
	bool all = part->rows->nkept <= ROWS_MAX;

	for (uint32_t i = 0; i < part->rows->nkept; i++)
		if (part->nshown < ROWS_MAX &&
		    (all || is_extra(part->rows, i, part->others)))
			part->shown[part->nshown++] = i;
	part->left = part->rows->nrows - part->nshown;
}

/* ✗ before what should not be there, ✓ before what should. */
static const char *row_mark(struct slm_page *page, const struct part *part,
			    uint32_t row)
{
	struct slm_buf buf;
	const char *mark;

	if (!is_extra(part->rows, row, part->others))
		return " ";
	slm_buf_init(&buf);
	slm_buf_puts(&buf, part->is_actual ? M_BAD : M_GOOD);
	slm_page_glyph(page, &buf, part->is_actual ? SLM_G_FAILED : SLM_G_OK);
	slm_buf_puts(&buf, M_PLAIN);
	mark = slm_page_keep(page, &buf);
	slm_buf_deinit(&buf);
	return mark;
}

static const char *left_text(struct slm_page *page, const struct part *part)
{
	const char *text;
	struct slm_buf buf;

	slm_buf_init(&buf);
	slm_buf_puts(&buf, M_FAINT);
	if (part->rows->nrows == 0) {
		slm_buf_puts(&buf, part->rows->ncolumns ? "(no rows)" :
							  "(no such table)");
	} else {
		slm_page_glyph(page, &buf, SLM_G_ELLIPSIS);
		slm_buf_putc(&buf, ' ');
		slm_text_count(&buf, part->left, "more row", "more rows");
	}
	slm_buf_puts(&buf, M_PLAIN);
	text = slm_page_keep(page, &buf);
	slm_buf_deinit(&buf);
	return text;
}

static bool has_left_line(const struct part *part)
{
	return part->left > 0 || part->rows->nrows == 0;
}

static const char *table_label(struct slm_page *page, const char *name)
{
	const char *label;
	struct slm_buf buf;

	slm_buf_init(&buf);
	slm_buf_puts(&buf, M_STRONG);
	slm_page_clean(page, &buf, name);
	slm_buf_puts(&buf, M_PLAIN);
	label = slm_page_keep(page, &buf);
	slm_buf_deinit(&buf);
	return label;
}

/*
 * label | mark | values. What is no row (how many more) would widen the first
 * column of values, so such lines go with the label's part. False if the grid
 * does not fit.
 */
static bool put_grid(struct slm_page *page, struct slm_buf *buf,
		     const char *name, const struct part *parts,
		     uint32_t nparts, bool *cut)
{
	const struct slm_rows *heads = parts[0].rows;
	uint32_t nrows = 1, row = 1;
	struct slm_grid grid;

	for (uint32_t i = 0; i < nparts; i++) {
		nrows += parts[i].nshown + has_left_line(&parts[i]);
		if (parts[i].rows->ncolumns > heads->ncolumns)
			heads = parts[i].rows;
	}
	grid = slm_page_grid(page, nrows, heads->ncolumns + 2);
	slm_grid_set(&grid, 0, 0, table_label(page, name), false);
	slm_grid_names(page, &grid, 0, 2, heads);
	for (uint32_t i = 0; i < nparts; i++) {
		slm_grid_set(&grid, row, 0, parts[i].label, false);
		for (uint32_t k = 0; k < parts[i].nshown; k++, row++) {
			slm_grid_set(&grid, row, 1,
				     row_mark(page, &parts[i],
					      parts[i].shown[k]),
				     false);
			slm_grid_values(page, &grid, row, 2, parts[i].rows,
					parts[i].shown[k], cut);
		}
		if (!has_left_line(&parts[i]))
			continue;
		slm_grid_set(&grid, row++, heads->ncolumns ? 2 : 0,
			     left_text(page, &parts[i]), false);
	}
	return slm_grid_lines(&grid, buf, page->out.width - INDENT);
}

/* The same where the grid is too wide: a line for each row. */
static void put_list(struct slm_page *page, const char *name,
		     const struct part *parts, uint32_t nparts)
{
	struct slm_buf buf;

	slm_out_paragraph(&page->out, INDENT, 2, table_label(page, name));
	slm_buf_init(&buf);
	for (uint32_t i = 0; i < nparts; i++) {
		slm_out_paragraph(&page->out, INDENT + 2, 2, parts[i].label);
		for (uint32_t k = 0; k < parts[i].nshown; k++) {
			slm_buf_puts(&buf, row_mark(page, &parts[i],
						    parts[i].shown[k]));
			slm_buf_putc(&buf, SLM_NBSP);
			slm_page_row(page, &buf, parts[i].rows,
				     parts[i].shown[k]);
			slm_page_flush(page, &buf, INDENT + 2, 4);
		}
		if (has_left_line(&parts[i]))
			slm_out_paragraph(&page->out, INDENT + 4, 2,
					  left_text(page, &parts[i]));
	}
	slm_buf_deinit(&buf);
}

static void tell_heading(struct expected *e)
{
	if (!e->told)
		slm_page_heading(e->page,
				 M_STRONG "expected" M_PLAIN
					  ", from running the calls one after "
					  "another:");
	else if (e->after_table)
		slm_out_newline(&e->page->out);
	e->told = true;
	e->after_table = false;
}

/* Prints the lines of buf, which fit. */
static void print_lines(struct slm_page *page, struct slm_buf *buf)
{
	const char *line = slm_page_keep(page, buf);

	for (; line; line = slm_text_next_line(line)) {
		slm_out_move(&page->out, INDENT);
		slm_out_text(&page->out, line);
		slm_out_newline(&page->out);
	}
}

/* Is everything that is different in this table to be seen? */
static bool tell_table(struct expected *e, const struct slm_table *table)
{
	struct part parts[GROUPS_MAX + 1] = { 0 };
	struct groups groups;
	struct slm_buf buf;
	bool whole = true, cut = false;

	make_groups(e, &groups, same_table, table->name);
	parts[0] = (struct part){
		.label = "this run",
		.rows = &table->rows,
		.others = find_table(&e->nearest->outcome, table->name),
		.is_actual = true,
	};
	for (uint32_t i = 0; i < groups.count; i++)
		parts[i + 1] = (struct part){
			.label = groups.list[i].label,
			.rows = find_table(&groups.list[i].first->outcome,
					   table->name),
			.others = &table->rows,
		};
	for (uint32_t i = 0; i <= groups.count; i++) {
		choose_rows(&parts[i]);
		whole = whole && parts[i].left == 0;
	}
	tell_heading(e);
	slm_buf_init(&buf);
	if (put_grid(e->page, &buf, table->name, parts, groups.count + 1, &cut))
		print_lines(e->page, &buf);
	else
		put_list(e->page, table->name, parts, groups.count + 1);
	slm_buf_deinit(&buf);
	tell_more(e->page, groups.more);
	e->after_table = true;
	return whole && !cut;
}

/* ---- The calls' results ----------------------------------------------- */

/* Does the call end in this run as in one of the serial runs? */
static bool is_serial(const struct expected *e, uint32_t call)
{
	const char *actual = result_of(&e->finding->outcome, call);

	for (uint32_t i = 0; i < e->nserials; i++)
		if (same_text(actual, result_of(&e->serials[i]->outcome, call)))
			return true;
	return false;
}

static void put_result(struct expected *e, const char *label, unsigned indent,
		       const struct slm_outcome *outcome, uint32_t call)
{
	struct slm_page *page = e->page;
	const char *result = result_of(outcome, call);
	unsigned width = slm_text_width(label);
	struct slm_buf buf;

	slm_buf_init(&buf);
	slm_buf_puts(&buf, label);
	slm_buf_fill(&buf, ' ', width < indent ? indent - width : 2);
	if (outcome->failed & UINT32_C(1) << call)
		slm_buf_puts(&buf, M_BAD);
	if (result)
		slm_page_clean(page, &buf, result);
	else
		slm_buf_puts(&buf, M_FAINT "(takes no part)");
	slm_buf_puts(&buf, M_PLAIN);
	slm_page_flush(page, &buf, INDENT + 2, indent);
	slm_buf_deinit(&buf);
}

/* Where a call ends otherwise than in a serial run: how it ends in each. */
static void tell_result(struct expected *e, const struct groups *groups,
			uint32_t call)
{
	const struct slm_trace_call *info = &e->page->trace->calls[call];
	unsigned indent = slm_text_width("this run");
	struct slm_buf buf;

	for (uint32_t i = 0; i < groups->count; i++) {
		unsigned width = slm_text_width(groups->list[i].label);

		indent = width > indent ? width : indent;
	}
	tell_heading(e);
	slm_buf_init(&buf);
	slm_buf_printf(&buf, M_STRONG "%c ", (char)('a' + call));
	slm_page_clean(e->page, &buf, info->name);
	slm_buf_puts(&buf, M_PLAIN M_FAINT " ends" M_PLAIN);
	slm_page_flush(e->page, &buf, INDENT, 2);
	slm_buf_deinit(&buf);
	put_result(e, "this run", indent + 2, &e->finding->outcome, call);
	for (uint32_t i = 0; i < groups->count; i++)
		put_result(e, groups->list[i].label, indent + 2,
			   &groups->list[i].first->outcome, call);
	tell_more(e->page, groups->more);
}

/* Do the differences tell already where this call went another way? */
static bool is_told(const struct expected *e, uint32_t call)
{
	const char *name = e->page->trace->calls[call].name;
	size_t size = strlen(name);

	for (uint32_t i = 0; i < e->finding->ndifferences; i++) {
		const char *where = e->finding->differences[i].where;

		if (i < DIFFERENCES_MAX && strncmp(where, name, size) == 0 &&
		    where[size] == ':')
			return true;
	}
	return false;
}

static void tell_results(struct expected *e)
{
	struct groups groups = { 0 };
	bool made = false;

	for (uint32_t i = 0; i < e->page->trace->ncalls; i++) {
		if (is_serial(e, i) || is_told(e, i))
			continue;
		if (!made)
			make_groups(e, &groups, same_results, e->page->trace);
		made = true;
		tell_result(e, &groups, i);
	}
}

/* ---- Differences ------------------------------------------------------ */

static void tell_side(struct slm_page *page, const char *label,
		      const char *style, const char *text)
{
	struct slm_buf buf;

	slm_buf_init(&buf);
	slm_buf_puts(&buf, label);
	slm_buf_puts(&buf, text ? style : M_FAINT);
	slm_page_clean(page, &buf, text ? text : "nothing");
	slm_buf_puts(&buf, M_PLAIN);
	slm_page_flush(page, &buf, INDENT + 2, 10);
	slm_buf_deinit(&buf);
}

static void tell_difference(struct expected *e,
			    const struct slm_difference *difference)
{
	tell_heading(e);
	slm_out_paragraph(&e->page->out, INDENT, 2,
			  table_label(e->page, difference->where));
	tell_side(e->page, "this run  ", M_BAD, difference->actual);
	tell_side(e->page, "expected  ", M_GOOD, difference->expected);
}

/* Those that no table has shown: covered is a bit per table of the outcome. */
static void tell_differences(struct expected *e, const bool *covered)
{
	const struct slm_outcome *outcome = &e->finding->outcome;
	uint32_t told = 0, left = 0;
	struct slm_buf buf;

	for (uint32_t i = 0; i < e->finding->ndifferences; i++) {
		const struct slm_difference *d = &e->finding->differences[i];
		bool shown = false;

		for (uint32_t k = 0; covered && k < outcome->ntables; k++)
			shown |= covered[k] &&
				 strcmp(outcome->tables[k].name, d->where) == 0;
		if (shown)
			continue;
		if (told++ < DIFFERENCES_MAX)
			tell_difference(e, d);
		else
			left++;
	}
	if (!left)
		return;
	slm_buf_init(&buf);
	slm_buf_puts(&buf, M_FAINT);
	slm_page_glyph(e->page, &buf, SLM_G_ELLIPSIS);
	slm_buf_puts(&buf, " and ");
	slm_text_count(&buf, left, "more difference", "more differences");
	slm_buf_puts(&buf, M_PLAIN);
	slm_page_flush(e->page, &buf, INDENT, 2);
	slm_buf_deinit(&buf);
}

void slm_page_expected(struct slm_page *page, const struct slm_finding *finding)
{
	struct expected e = { .page = page, .finding = finding };
	const struct slm_outcome *outcome = &finding->outcome;
	bool *covered;

	if (finding->class == SLM_CLASS_SERIAL)
		return;
	covered = slm_arena_zalloc(&page->arena, (size_t)outcome->ntables + 1,
				   sizeof(*covered));
	page->failed |= !covered;
	choose_serials(&e);
	for (uint32_t i = 0; e.nserials && covered && i < outcome->ntables;
	     i++) {
		const struct slm_table *table = &outcome->tables[i];

		if (!same_rows(&table->rows,
			       find_table(&e.nearest->outcome, table->name)))
			covered[i] = tell_table(&e, table);
	}
	tell_differences(&e, covered);
	if (e.nserials)
		tell_results(&e);
}

/* ---- Checks ----------------------------------------------------------- */

/* Of a function, which has no rows, but one message. */
static bool is_message(const struct slm_page *page, const struct slm_rows *rows)
{
	return page->trace->ncalls &&
	       page->trace->calls[0].kind == SLM_TRACE_FUNCTION &&
	       rows->ncolumns == 1 && rows->nkept == 1 &&
	       rows->values[0].kind == SLM_TEXT &&
	       strcmp(rows->columns[0], "message") == 0;
}

void slm_page_check(struct slm_page *page, const struct slm_finding *finding)
{
	const struct slm_rows *rows = &finding->check_rows;
	struct slm_buf buf;

	if (finding->class != SLM_CLASS_CHECK ||
	    finding->check_rows.ncolumns == 0)
		return;
	slm_buf_init(&buf);
	slm_buf_puts(&buf, M_STRONG "check \"");
	slm_page_clean(page, &buf, finding->check);
	if (is_message(page, rows)) {
		slm_buf_puts(&buf, "\"" M_PLAIN " says: ");
		slm_page_clean(page, &buf, rows->values[0].text);
		slm_page_heading(page, slm_page_keep(page, &buf));
		slm_buf_deinit(&buf);
		return;
	}
	slm_buf_puts(&buf, "\"" M_PLAIN " returned ");
	slm_text_count(&buf, finding->check_rows.nrows, "row", "rows");
	slm_buf_puts(&buf, "; it must return none:");
	slm_page_heading(page, slm_page_keep(page, &buf));
	slm_page_rows(page, &buf, &finding->check_rows, CHECK_ROWS_MAX,
		      page->out.width - INDENT);
	print_lines(page, &buf);
	slm_buf_deinit(&buf);
}
