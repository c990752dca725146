/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of marked text, and the line to paste. */
#include "report/page.h"

#include <string.h>
#include <strings.h>

#include "trace/utf8.h"

void slm_page_clean(struct slm_page *page, struct slm_buf *buf,
		    const char *text)
{
	if (text)
		slm_text_clean(buf, text, strlen(text), page->out.ascii);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' ||
	       c == '\v';
}

/* The end of a quoted string or identifier that begins at sql. */
static const char *quoted_end(const char *sql)
{
	const char *end = strchr(sql + 1, *sql == '[' ? ']' : *sql);

	return end ? end + 1 : sql + strlen(sql);
}

/* The end of what can be copied at once: a quoted part, a comment to the end
 * of its line, or what comes before a blank, a quote or a comment. */
static const char *part_end(const char *sql)
{
	if (*sql == '\'' || *sql == '"' || *sql == '`')
		return quoted_end(sql);
	if (sql[0] == '-' && sql[1] == '-')
		return sql + strcspn(sql, "\n");
	for (sql++; *sql && !is_blank(*sql) && !strchr("'\"`", *sql); sql++)
		if (sql[0] == '-' && sql[1] == '-')
			break;
	return sql;
}

/* Words that begin a clause. */
static bool begins_clause(const char *text, size_t size)
{
	static const char *const words[] = {
		"and",	     "from",   "group",	 "having", "inner",  "join",
		"left",	     "limit",  "offset", "on",	   "or",     "order",
		"returning", "select", "set",	 "union",  "values", "where",
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i]) == size &&
		    strncasecmp(words[i], text, size) == 0)
			return true;
	return false;
}

static bool is_operator(const char *text, size_t size)
{
	return size > 0 && size <= 2 && strspn(text, "=<>!+-*/|%") >= size;
}

/* Appends what stands between two parts of a statement. */
static void put_blank(struct slm_buf *buf, bool tight, const char *part,
		      size_t size)
{
	tight |= is_operator(part, size);
	slm_buf_putc(buf, tight ? SLM_NBSP : ' ');
	if (!tight && begins_clause(part, size))
		slm_buf_putc(buf, SLM_SOFT);
}

void slm_page_sql(struct slm_page *page, struct slm_buf *buf, const char *sql)
{
	bool begun = false, comment = false, blank = false, tight = false;

	while (sql && *sql) {
		const char *end;

		if (is_blank(*sql)) {
			blank = true;
			sql++;
			continue;
		}
		end = part_end(sql);
		if (begun && blank && comment)
			slm_buf_putc(buf, '\n');
		else if (begun && blank)
			put_blank(buf, tight, sql, (size_t)(end - sql));
		tight = is_operator(sql, (size_t)(end - sql));
		comment = sql[0] == '-' && sql[1] == '-';
		slm_text_clean(buf, sql, (size_t)(end - sql), page->out.ascii);
		begun = true;
		blank = false;
		sql = end;
	}
}

void slm_page_glyph(struct slm_page *page, struct slm_buf *buf,
		    enum slm_glyph glyph)
{
	slm_buf_puts(buf, slm_glyph(glyph, page->out.ascii));
}

const char *slm_page_keep(struct slm_page *page, struct slm_buf *buf)
{
	const char *text = NULL;

	if (!slm_buf_failed(buf))
		text = slm_arena_strndup(&page->arena,
					 buf->data ? buf->data : "", buf->size);
	page->failed |= !text;
	slm_buf_clear(buf);
	return text ? text : "";
}

void slm_page_flush(struct slm_page *page, struct slm_buf *buf, unsigned indent,
		    unsigned hang)
{
	page->failed |= slm_buf_failed(buf);
	if (!slm_buf_failed(buf))
		slm_out_paragraph(&page->out, indent, hang,
				  buf->data ? buf->data : "");
	slm_buf_clear(buf);
}

void slm_page_heading(struct slm_page *page, const char *text)
{
	slm_out_newline(&page->out);
	slm_out_paragraph(&page->out, 0, 2, text);
}

/* ---- The line to paste ------------------------------------------------ */

static bool is_plain_word(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_./:=,+@%";

	return *text && text[strspn(text, plain)] == '\0';
}

/* Can it stand between quotes and be printed as it is? */
static bool is_printable(struct slm_page *page, const char *text)
{
	struct slm_buf buf;
	bool same;

	slm_buf_init(&buf);
	slm_page_clean(page, &buf, text);
	page->failed |= slm_buf_failed(&buf);
	same = !buf.data || strcmp(buf.data, text) == 0;
	slm_buf_deinit(&buf);
	return same;
}

/* One word for a shell; what cannot be printed as $'...', which bash, zsh and
 * ksh understand. */
static void put_word(struct slm_page *page, struct slm_buf *buf,
		     const char *text)
{
	bool printable = is_printable(page, text);
	/* A name that looks like an option. */
	const char *prefix = text[0] == '-' && text[1] ? "./" : "";

	if (is_plain_word(text)) {
		slm_buf_printf(buf, "%s%s", prefix, text);
		return;
	}
	slm_buf_printf(buf, "%s%s", printable ? "'" : "$'", prefix);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (printable && c == '\'')
			slm_buf_puts(buf, "'\\''");
		else if (!printable && (c < ' ' || c >= 0x7f))
			slm_buf_printf(buf, "\\%03o", c);
		else if (!printable && (c == '\'' || c == '\\'))
			slm_buf_printf(buf, "\\%c", c);
		else
			slm_buf_putc(buf, (char)c);
	}
	slm_buf_putc(buf, '\'');
}

/* Only the program that has the functions can replay: by the command that it
 * gave as its options' source, or in its code. */
static void replay_function(struct slm_page *page, struct slm_buf *buf,
			    const struct slm_finding *finding)
{
	const char *source = page->trace->options;

	while (source && *source == ' ')
		source++;
	if (source && *source)
		slm_page_clean(page, buf, source);
	slm_buf_puts(buf, source && *source ? " " :
					      "sqloom_replay_calls(&calls, \"");
	slm_page_clean(page, buf, finding->token);
	if (!source || !*source)
		slm_buf_puts(buf, "\", ...)");
}

void slm_page_replay_line(struct slm_page *page, struct slm_buf *buf,
			  const struct slm_finding *finding)
{
	const char *spec = page->trace->spec ? page->trace->spec : "";

	if (page->trace->ncalls &&
	    page->trace->calls[0].kind == SLM_TRACE_FUNCTION) {
		replay_function(page, buf, finding);
		return;
	}
	slm_buf_puts(buf, "sqloom replay ");
	/* Calls of the command line: the options hold them. */
	if (strcmp(spec, SLM_TRACE_COMMAND_LINE) != 0) {
		put_word(page, buf, spec);
		slm_buf_putc(buf, ' ');
	}
	slm_page_clean(page, buf, finding->token);
	slm_page_clean(page, buf, page->trace->options);
}
