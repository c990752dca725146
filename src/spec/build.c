/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A spec from its parts, as the command line gives them: writes the text and
 * parses it, so that there is one way in and the text can be kept.
 *
 * Invariant: a part stays in its place. Whatever stands in it, the text that is
 * read back is the one that was given but for the blanks around it, or nothing
 * is built.
 */
#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "spec/parser.h"

struct builder {
	struct slm_buf text;
	struct sqloom_error *err;
	const char *name; /* what messages call the spec */
	unsigned ncalls, nchecks;
};

static enum sqloom_status refuse(const struct builder *builder,
				 const char *what, const char *why)
{
	slm_error_set(builder->err, SQLOOM_USAGE, "%s %s", what, why);
	slm_error_place(builder->err, builder->name, 0, 0, NULL, 0);
	return SQLOOM_USAGE;
}

/* ---- Texts ------------------------------------------------------------- */

static void put_quoted(struct slm_buf *out, const char *text)
{
	slm_buf_putc(out, '"');
	for (; *text; text++)
		slm_buf_printf(out, *text == '"' ? "\"\"" : "%c", *text);
	slm_buf_putc(out, '"');
}

/* For a shell: one word, whatever stands in it. */
static void put_shell_word(struct slm_buf *out, const char *text)
{
	slm_buf_putc(out, '\'');
	for (; *text; text++)
		if (*text == '\'')
			slm_buf_puts(out, "'\\''");
		else
			slm_buf_putc(out, *text);
	slm_buf_putc(out, '\'');
}

/* Is `{ text }` one block of a command? */
static bool is_block(const char *text, bool *failed)
{
	struct slm_buf block;
	size_t open, end;
	bool is;

	slm_buf_init(&block);
	slm_buf_printf(&block, "{ %s }", text);
	*failed = slm_buf_failed(&block);
	end = *failed ? 0 : slm_command_end(block.data, block.size, 1, &open);
	is = !*failed && end == block.size - 1;
	slm_buf_deinit(&block);
	return is;
}

/* The same for SQL. */
static bool is_sql_block(const char *text, bool *failed)
{
	struct slm_lexeme lexeme;
	struct slm_lexer lexer;
	struct slm_buf block;
	bool is;

	slm_buf_init(&block);
	slm_buf_printf(&block, "{ %s }", text);
	*failed = slm_buf_failed(&block);
	slm_lexer_init(&lexer, "", block.data, block.size);
	is = !*failed && slm_lexer_next(&lexer, &lexeme, NULL) == SQLOOM_OK &&
	     lexer.offset == block.size;
	slm_buf_deinit(&block);
	return is;
}

/* A command that is no block as it stands is handed to the shell in quotes. */
static enum sqloom_status put_command(struct builder *builder, const char *text)
{
	bool failed;

	if (is_block(text, &failed)) {
		slm_buf_puts(&builder->text, text);
	} else {
		slm_buf_puts(&builder->text, "eval ");
		put_shell_word(&builder->text, text);
	}
	return failed ? slm_error_nomem(builder->err) : SQLOOM_OK;
}

static enum sqloom_status put_request(struct builder *builder, const char *text)
{
	bool failed;

	if (!is_block(text, &failed) && !failed)
		return refuse(builder, "a request",
			      "has a quote or brace that is not closed, or one "
			      "too many; close it, or write the brace in "
			      "quotes");
	slm_buf_puts(&builder->text, text);
	return failed ? slm_error_nomem(builder->err) : SQLOOM_OK;
}

static enum sqloom_status put_query(struct builder *builder, const char *text)
{
	bool failed;

	if (!is_sql_block(text, &failed) && !failed)
		return refuse(builder, "a check",
			      "has a } that no spec can hold; write chr(125) "
			      "for it");
	slm_buf_puts(&builder->text, text);
	return failed ? slm_error_nomem(builder->err) : SQLOOM_OK;
}

/* ---- Parts ------------------------------------------------------------- */

static enum sqloom_status put_call(struct builder *builder,
				   const struct sqloom_part *part)
{
	bool exec = part->kind == SQLOOM_PART_EXEC;
	bool http = part->kind == SQLOOM_PART_HTTP;
	unsigned index = builder->ncalls++;
	char letter[2] = { (char)('a' + index % 26), '\0' };

	slm_buf_puts(&builder->text, "call ");
	put_quoted(&builder->text, part->name ? part->name : letter);
	slm_buf_printf(&builder->text, " { %s ",
		       exec ? "exec" :
		       http ? "http" :
			      "function");
	return exec ? put_command(builder, part->text) :
		      put_request(builder, part->text);
}

static enum sqloom_status put_check(struct builder *builder,
				    const struct sqloom_part *part)
{
	bool exec = part->kind == SQLOOM_PART_CHECK_EXEC;
	char numbered[32];

	snprintf(numbered, sizeof(numbered), "check %u", ++builder->nchecks);
	slm_buf_puts(&builder->text, "check ");
	put_quoted(&builder->text, part->name ? part->name : numbered);
	slm_buf_puts(&builder->text, exec ? " exec { " : " { ");
	return exec ? put_command(builder, part->text) :
		      put_query(builder, part->text);
}

static enum sqloom_status put_part(struct builder *builder,
				   const struct sqloom_part *part)
{
	enum sqloom_status status = SQLOOM_OK;

	switch (part->kind) {
	case SQLOOM_PART_EXEC:
	case SQLOOM_PART_HTTP:
	case SQLOOM_PART_FUNCTION:
		status = put_call(builder, part);
		break;
	case SQLOOM_PART_CHECK:
	case SQLOOM_PART_CHECK_EXEC:
		status = put_check(builder, part);
		break;
	case SQLOOM_PART_BEFORE:
	case SQLOOM_PART_SERVER:
		slm_buf_puts(&builder->text, part->kind == SQLOOM_PART_BEFORE ?
						     "before { " :
						     "server { ");
		status = put_command(builder, part->text);
		break;
	case SQLOOM_PART_OPTION:
		slm_buf_printf(&builder->text, "option %s ", part->name);
		put_quoted(&builder->text, part->text);
		slm_buf_putc(&builder->text, '\n');
		return SQLOOM_OK;
	}
	slm_buf_puts(&builder->text, " }");
	if (part->kind == SQLOOM_PART_SERVER && part->ready) {
		slm_buf_puts(&builder->text, " ready ");
		put_quoted(&builder->text, part->ready);
	}
	slm_buf_putc(&builder->text, '\n');
	return status;
}

enum sqloom_status sqloom_spec_build(const struct sqloom_part *parts,
				     size_t nparts, const char *name,
				     struct sqloom_spec **out,
				     struct sqloom_error *err)
{
	struct builder builder = { .err = err, .name = name ? name : "-" };
	enum sqloom_status status = SQLOOM_OK;

	assert(out && (parts || !nparts));
	slm_buf_init(&builder.text);
	for (size_t i = 0; status == SQLOOM_OK && i < nparts; i++) {
		assert(parts[i].text);
		assert(parts[i].name || parts[i].kind != SQLOOM_PART_OPTION);
		if (!slm_spec_is_text(parts[i].text))
			status = refuse(&builder, "a command, request or check",
					"is no UTF-8 text; a spec is");
		else
			status = put_part(&builder, &parts[i]);
	}
	if (status == SQLOOM_OK && slm_buf_failed(&builder.text))
		status = slm_error_nomem(err);
	if (status == SQLOOM_OK)
		status = sqloom_spec_parse(
			builder.text.data ? builder.text.data : "",
			builder.text.size, name, out, err);
	slm_buf_deinit(&builder.text);
	return status;
}
