/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the parser share: its state, growing lists, and names.
 * Internal to src/spec.
 *
 * Lists grow on the heap while their length is unknown and move to the spec's
 * arena when they are complete. So what points to a step may be made as soon
 * as the step's session is complete, and stays good.
 */
#ifndef SLM_SPEC_PARSER_H
#define SLM_SPEC_PARSER_H

#include "spec/lexer.h"
#include "spec/spec.h"

struct slm_list {
	void *items; /* owned */
	unsigned count;
	unsigned capacity;
	size_t item_size; /* bytes; set when the list is made */
};

/* A blocker mark whose step is known, but not yet whether the permutation
 * lists it: it may come later in the line. */
struct slm_spec_mark {
	struct slm_spec_blocker blocker;
	unsigned entry; /* index of the permutation step that has the mark */
	unsigned line, column;
};

/* The parts of a spec, in the order they must come in. */
enum slm_spec_part {
	SLM_PART_SETUPS,
	SLM_PART_TEARDOWN,
	SLM_PART_SESSIONS,
	SLM_PART_PERMUTATIONS,
};

struct slm_parser {
	struct sqloom_spec *spec; /* borrowed; being filled in */
	struct sqloom_error *err; /* borrowed; may be NULL */
	struct slm_lexer lexer;	  /* stands just after lexeme */
	struct slm_lexeme lexeme; /* the one to look at next */
	enum slm_spec_part part;
	struct slm_list setups;	      /* struct slm_spec_sql */
	struct slm_list sessions;     /* struct slm_spec_session */
	struct slm_list steps;	      /* struct slm_spec_step, of one session */
	struct slm_list permutations; /* struct slm_spec_permutation */
	struct slm_list entries;      /* struct slm_spec_permutation_step */
	struct slm_list marks;	      /* struct slm_spec_mark */
	struct slm_list checks;	      /* struct slm_spec_check */
	struct slm_list options;      /* struct slm_spec_option */
	struct slm_list befores;      /* struct slm_spec_sql */
	struct slm_list servers;      /* struct slm_spec_server */
	/* Made with the first permutation: */
	const struct slm_spec_step **by_name; /* all steps, sorted; arena */
	unsigned nsteps;		      /* of all sessions */
	unsigned *used_in; /* of each step: the last permutation, counted from
			      1, that lists it; arena */
	unsigned first_step[SLM_SPEC_SESSIONS_MAX]; /* of each session, in
						       used_in */
};

/* ---- parse.c ---------------------------------------------------------- */

/* Parses spec->text into the rest of spec; text, size, name and arena are
 * set. On failure the spec is good for nothing but being freed. */
enum sqloom_status slm_spec_parse_text(struct sqloom_spec *spec,
				       struct sqloom_error *err);

/* A zeroed item at the end, or NULL when memory is out. */
void *slm_list_add(struct slm_list *list);

/* Moves the items to the arena and empties the list. NULL: memory is out. */
void *slm_list_move(struct slm_list *list, struct slm_arena *arena);

/* Reads the next lexeme into parser->lexeme. */
enum sqloom_status slm_parser_next(struct slm_parser *parser);

/* "expected WHAT, found ..." at the current lexeme. */
enum sqloom_status slm_parser_expected(struct slm_parser *parser,
				       const char *what);

/* Reads the next lexeme, which, if it is a block, holds no SQL. */
enum sqloom_status slm_parser_next_command(struct slm_parser *parser);

/* The message at the current lexeme. */
enum sqloom_status slm_parser_fail(struct slm_parser *parser,
				   const char *message);

/* Something of that name stands in first_line already. */
enum sqloom_status slm_parser_given_twice(struct slm_parser *parser,
					  const char *what, const char *name,
					  unsigned first_line);

/* Keeps the current lexeme, which must be a name, in the arena; and moves on. */
enum sqloom_status slm_parser_keep_name(struct slm_parser *parser,
					const char *what, const char **name);
enum sqloom_status slm_parser_take_name(struct slm_parser *parser,
					const char *what, const char **name);

enum sqloom_status slm_parser_nomem(struct slm_parser *parser);

/* More of something than allowed: counts the rest in the file and tells the
 * number, the limit, and the current place. have: those before the current
 * lexeme, which is just after the keyword. */
enum sqloom_status slm_parser_too_many(struct slm_parser *parser,
				       enum slm_lexeme_kind keyword,
				       unsigned have, unsigned limit,
				       const char *what);

/* Is the current lexeme, which follows a list of steps, an addition to the
 * language ("check", "option", "call" ...) and no step of that name? */
bool slm_parser_at_addition(const struct slm_parser *parser);

/* ---- call.c ----------------------------------------------------------- */

/* call NAME { exec COMMAND }, before { COMMAND }, server { COMMAND }; the
 * current lexeme is the first word. */
enum sqloom_status slm_parser_call(struct slm_parser *parser);
enum sqloom_status slm_parser_before(struct slm_parser *parser);
enum sqloom_status slm_parser_server(struct slm_parser *parser);

/* Takes the current lexeme, which must be a block with a command: without the
 * blanks around it. */
enum sqloom_status slm_parser_take_command(struct slm_parser *parser,
					   const char *what,
					   struct slm_spec_sql *command);

/* The current lexeme, a `what` ("session"), stands in a spec that has the
 * others. */
enum sqloom_status slm_parser_both(struct slm_parser *parser, const char *what);

/* Once all is read: what stands with sessions, or with calls, only. */
enum sqloom_status slm_parser_check_calls(struct slm_parser *parser);

/* ---- permutation.c ---------------------------------------------------- */

/* One permutation line; the current lexeme is the keyword. */
enum sqloom_status slm_parser_permutation(struct slm_parser *parser);

/* The step of that name, or NULL. Works once the first permutation began. */
const struct slm_spec_step *slm_parser_find_step(
	const struct slm_parser *parser, const char *name);

/* ---- option.c --------------------------------------------------------- */

/* One option line; the current lexeme is the word "option". */
enum sqloom_status slm_parser_option(struct slm_parser *parser);

/* The words with one blank between them, quotes undone, in the arena. NULL:
 * memory is out. */
char *slm_parser_join(struct slm_arena *arena,
		      const struct slm_spec_word *words, unsigned count);

/* A decimal number from least to most, without sign, and nothing else? */
bool slm_parser_is_number(const char *text, int least, int most);

/* ---- read.c ----------------------------------------------------------- */

/* Is it UTF-8? */
bool slm_spec_is_text(const char *text);

/* ---- names.c ---------------------------------------------------------- */

/* Collects candidates for "did you mean" and "known are". */
struct slm_nearest {
	const char *wanted;
	const char *name;  /* the nearest so far that is near enough, or NULL */
	unsigned distance; /* its distance */
	char known[160];   /* the first candidates: "a, b, c, ..." */
};

void slm_nearest_init(struct slm_nearest *nearest, const char *wanted);
/* name is borrowed. */
void slm_nearest_add(struct slm_nearest *nearest, const char *name);
/* `did you mean "x"?`, else `known are: a, b`, into buf. Returns buf. */
const char *slm_nearest_advice(const struct slm_nearest *nearest, char *buf,
			       size_t size);

#endif
