/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command: what its files share. It knows the library by the public
 * header alone, so that all it can do any C program can do.
 *
 * The library never prints, exits, reads the environment or catches signals;
 * all of that happens here. Whoever finds something wrong prints the message
 * at once and hands back an exit code.
 */
#ifndef SLM_CLI_H
#define SLM_CLI_H

#include <sqloom/sqloom.h>

#define SLM_CLI_OPERANDS_MAX 2
#define SLM_CLI_PARTS_MAX 64	  /* --call, --before, --check ... */
#define SLM_CLI_BACKGROUND_MAX 16 /* --background */
#define SLM_CLI_IGNORE_MAX 64	  /* --ignore */
#define SLM_CLI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum slm_cli_exit {
	SLM_CLI_EXIT_OK = 0,
	SLM_CLI_EXIT_USAGE = 2,
	SLM_CLI_EXIT_ENVIRONMENT = 3,
	SLM_CLI_EXIT_INTERNAL = 70,
};

enum slm_cli_color {
	SLM_CLI_COLOR_AUTO,
	SLM_CLI_COLOR_ALWAYS,
	SLM_CLI_COLOR_NEVER,
};

/* What the arguments say. All strings are borrowed from argv. */
struct slm_cli_arguments {
	const struct slm_cli_command *command;
	const char *operands[SLM_CLI_OPERANDS_MAX]; /* FILE, TOKEN, TRACE */
	unsigned noperands;
	char **files; /* of a command that takes many: the operands */
	unsigned nfiles;
	/* --call, --http, --server, --before, --check, --check-cmd, in the
	 * order in which they were given */
	struct sqloom_part parts[SLM_CLI_PARTS_MAX];
	unsigned nparts;
	const char *background[SLM_CLI_BACKGROUND_MAX + 1]; /* NULL ends */
	unsigned nbackground;
	const char *ignore[SLM_CLI_IGNORE_MAX + 1]; /* NULL ends */
	unsigned nignore;
	const char *too_many;	  /* the option that was given too often */
	bool ready_alone;	  /* --ready that is behind no --server */
	const char *write_spec;	  /* --write-spec */
	const char *from_trace;	  /* --from-trace */
	const char *schedule;	  /* --schedule */
	const char *output_dir;	  /* --output-dir */
	const char *host;	  /* --host */
	int port;		  /* --port; -1: not given */
	const char *socket_dir;	  /* --socket-dir */
	const char *record;	  /* --record */
	unsigned max_connections; /* --max-connections; 0: not given */
	struct sqloom_options options;
	unsigned findings;   /* told at length */
	const char *finding; /* --finding */
	const char *from;    /* --from */
	unsigned width;	     /* 0: find out */
	enum slm_cli_color color;
	bool trace_is_stdout; /* which leaves no room for the report */
	bool ascii;
	bool json;
	bool quiet;
	bool no_progress;
	bool help;
};

/* Bits of slm_cli_command.bit, to say which commands know an option. */
enum {
	SLM_CLI_EXPLORE = 1,
	SLM_CLI_REPLAY = 2,
	SLM_CLI_SHOW = 4,
	SLM_CLI_ISOLATION = 8,
	SLM_CLI_PROXY = 16,
	SLM_CLI_DOCTOR = 32,
};

struct slm_cli_command {
	const char *name;
	unsigned bit;
	const char *operands[SLM_CLI_OPERANDS_MAX + 1]; /* their names; NULL
							   ends */
	bool calls;    /* --call and the like may stand for the first of them */
	bool optional; /* and there need be none */
	bool many;     /* its operands are files, any number of them */
	const char *summary; /* one line of sqloom --help */
	const char *about;   /* what --help says below the usage */
	const char *exits;   /* its exit codes, a line each */
	const char *examples;
	int (*run)(const struct slm_cli_arguments *arguments);
};

extern const struct slm_cli_command slm_cli_explore;
extern const struct slm_cli_command slm_cli_replay;
extern const struct slm_cli_command slm_cli_show;
extern const struct slm_cli_command slm_cli_isolation;
extern const struct slm_cli_command slm_cli_doctor;
extern const struct slm_cli_command slm_cli_proxy;

/* ---- options.c: the table of options ----------------------------------- */

struct slm_cli_option {
	const char *name;     /* without the dashes */
	char letter;	      /* 0: none */
	const char *argument; /* what the help calls it; NULL: a flag */
	unsigned commands;    /* bits of those that know it */
	const char *help;     /* lines; '\n' between them */
	/* Takes the value, false: it is not valid. A flag has none. */
	bool (*set)(struct slm_cli_arguments *arguments, const char *value);
	const char *wants; /* what a value must be; NULL: a flag */
};

/* The option of this name, which has length bytes; NULL if there is none. */
const struct slm_cli_option *slm_cli_option(const char *name, size_t length);
const struct slm_cli_option *slm_cli_option_letter(char letter);

/* The option of this command that may have been meant, or NULL. */
const char *slm_cli_option_nearest(const struct slm_cli_command *command,
				   const char *typed);

/* Prints the options that the command knows, in groups. */
void slm_cli_print_options(const struct slm_cli_command *command);

/* ---- calls.c: what is run ---------------------------------------------- */

/* Is the spec made of the options, so that FILE is left out? */
bool slm_cli_has_calls(const struct slm_cli_arguments *arguments);

/* Do the options that make a spec go together? Else false after a message. */
bool slm_cli_check_calls(const struct slm_cli_arguments *arguments);

struct slm_cli_source {
	struct sqloom_spec *spec;
	struct sqloom_options options; /* with all that is found out here */
	char *shell; /* what stands for the spec in lines to paste; NULL */
};

/* Reads or makes the spec that the arguments name. Returns 0, or the exit code
 * after a message. Close it in any case. */
int slm_cli_source_open(const struct slm_cli_arguments *arguments,
			struct slm_cli_source *source);
void slm_cli_source_close(struct slm_cli_source *source);

/* ---- arguments.c: the arguments of a command --------------------------- */

/*
 * Reads the arguments behind the name of the command. False after a message:
 * the exit code is SLM_CLI_EXIT_USAGE.
 */
bool slm_cli_parse(const struct slm_cli_command *command, char **argv,
		   struct slm_cli_arguments *out);

/* ---- values.c: the values of options ----------------------------------- */

/* Each reads the whole text and leaves *out alone when it is no such value. */
bool slm_cli_read_count(const char *text, uint64_t *out); /* 10, 10k, 2M */
bool slm_cli_read_seed(const char *text, uint64_t *out);  /* 7, 0x7f */
bool slm_cli_read_ms(const char *text, uint64_t *out);	  /* 2, 0.5s, 2m */

/* The name nearest to what was typed, or NULL if none is near. names ends
 * with NULL. */
const char *slm_cli_nearest(const char *typed, const char *const *names);

/* ---- output.c: what is printed ----------------------------------------- */

/* "sqloom: message" on stderr, and where to read on. */
void slm_cli_usage_error(const struct slm_cli_command *command, const char *fmt,
			 ...) SLM_CLI_PRINTF(2, 3);

/* Prints what went wrong, with place and excerpt; returns the exit code. */
int slm_cli_error(const struct sqloom_error *err);

/* Prints the report; returns exit_code, or another one if that failed. */
int slm_cli_print_report(const struct slm_cli_arguments *arguments,
			 const struct sqloom_report *report, int exit_code);

/* Writes out what is buffered for stdout. Returns exit_code, or that for the
 * environment, after a message, if it could not be written. A reader that
 * went away is no error. */
int slm_cli_flush(int exit_code);

/* Columns of the terminal fd, 0 if that is not known. */
unsigned slm_cli_terminal_width(int fd);

/* Does this terminal understand escape codes? */
bool slm_cli_terminal_is_able(int fd);

/* ---- schedule.c: lists of specs ----------------------------------------- */

struct slm_cli_schedule {
	char **paths; /* of the specs, in order */
	unsigned npaths;
};

/* Reads the schedule at path into a zeroed one. Returns 0, or the exit code
 * after a message. Free it in any case. */
int slm_cli_schedule_read(const char *path, struct slm_cli_schedule *schedule);
void slm_cli_schedule_free(struct slm_cli_schedule *schedule);

/* ---- progress.c: the line on a terminal -------------------------------- */

/* Sets the callback of the options: shows progress if it may, and ends the
 * exploration after a signal. */
void slm_cli_progress_begin(const struct slm_cli_arguments *arguments,
			    struct sqloom_options *options);
/* Erases the line. */
void slm_cli_progress_end(void);

/* ---- signals.c --------------------------------------------------------- */

/* For the whole process: a closed pipe is an error of write(), and a failed
 * assertion ends with SLM_CLI_EXIT_INTERNAL. */
void slm_cli_signals_init(void);

/* From here on the first SIGINT or SIGTERM asks to stop, a second one kills;
 * slm_cli_signals_release() goes back to killing at once. */
void slm_cli_signals_catch(void);
void slm_cli_signals_release(void);
bool slm_cli_signals_stopped(void);

#endif
