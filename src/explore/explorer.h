/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of an exploration share: settings.c (options of the command
 * and of the spec), plan.c (which steps the calls take), serial.c (serial
 * runs), findings.c (outcomes seen, and those that are wrong), confirm.c,
 * shrink.c, header.c (the trace's header and verdict), workers.c (threads that make
 * runs) and ahead.c (which runs they make), explore.c and replay.c (the two
 * entries). Nobody else includes this.
 */
#ifndef SLM_EXPLORE_EXPLORER_H
#define SLM_EXPLORE_EXPLORER_H

#include "call/functions.h"
#include "call/programs.h"
#include "call/run.h"
#include "db/db.h"
#include "oracle/oracle.h"
#include "pg/server.h"
#include "spec/spec.h"
#include "strategy/strategy.h"
#include "trace/trace.h"

#define FINDINGS_MAX 64		/* distinct outcomes told */
#define OUTCOMES_MAX (1u << 20) /* distinct outcomes remembered */
#define ALL_ORDERS_UP_TO 4	/* calls; above, a sample of serial orders */
#define ORDERS_SAMPLED 24
#define SHRINK_RUNS 20000 /* runs spent on making a finding smaller */
#define ANOTHER_RUNS 1000 /* runs spent on another order of a finding, */
#define ANOTHER_MAX 4	  /* and so many that went wrong are run again */
#define PROGRESS_MS 50

/* Options of the command and of the spec, resolved. */
struct settings {
	bool postgres; /* which of the two is used */
	struct slm_sqlite_options db;
	struct slm_postgres_options pg;
	bool strict;
	bool joint; /* results are compared together */
	bool stop_on_error;
	const char *const *allow;
	uint32_t nallow;
	const char *const *ignore;
	uint32_t nignore;
	bool has_calls;			      /* they are programs */
	struct slm_programs_options programs; /* has_calls: all but its pg */
};

/* A permutation line as a script for a plan. */
struct script {
	struct slm_script_step *steps;
	unsigned nsteps;
	unsigned line; /* of the permutation in the spec */
};

/* The steps of the calls, and the permutation lines that have these steps. */
struct plan {
	struct slm_plan steps;
	uint32_t members;
	struct script *scripts;
	unsigned nscripts;
};

/* What is known of one outcome: of runs with equal key nothing needs to be
 * looked at again. */
struct seen {
	uint64_t key; /* 0: free place */
	uint64_t outcome;
	uint8_t class;
	bool joint;	 /* no one serial order gives all the results */
	uint8_t finding; /* index + 1; 0: none */
};

struct outcomes {
	struct seen *places; /* power of two */
	uint32_t capacity, used;
};

/* Counters at some moment. */
struct tally {
	uint64_t runs, wrong;
	uint64_t by_class[SLM_CLASSES];
	uint32_t nfindings, nnotes;
	uint64_t joint;
};

struct explorer {
	const struct sqloom_spec *spec;
	const struct sqloom_options *options;
	struct settings settings;
	struct slm_arena arena;	      /* plans, settings */
	struct slm_pg_server *server; /* --pg-temp; NULL */
	struct slm_db *db;
	struct plan *plans;
	unsigned nplans;
	const struct plan *plan; /* the one being explored */
	struct slm_oracle *oracle;
	const bool *const *unobserved;
	struct slm_runner main;		 /* the exploration's runs */
	struct slm_runner first, again;	 /* the two runs of a serial order */
	unsigned choices[SLM_CALLS_MAX]; /* per call, from a serial run */
	struct outcomes outcomes;
	struct workers *workers; /* NULL: one database */
	unsigned lines_out;	 /* permutation lines handed out to them */
	struct sqloom_report *report;
	struct slm_trace *trace;      /* of the report */
	struct slm_finding *findings; /* FINDINGS_MAX, in the trace's arena */
	uint64_t finding_outcome[FINDINGS_MAX];
	const struct plan *finding_plan[FINDINGS_MAX];
	uint32_t nfindings;
	bool findings_left_out;
	bool remasked; /* what was judged may no longer hold */
	/* The second of the clock in which the serial runs of the plan were made;
	 * -1: in several. across: one was made in two seconds on purpose. */
	int64_t serial_s;
	bool across;
	bool unstable;	/* the serial runs of an earlier plan were */
	bool stopped;	/* by the progress callback */
	bool diverged;	/* equal picks did not lead to equal choices */
	bool by_chance; /* no finding went wrong when it was run again */
	uint64_t began_ns, shown_ns;
	uint64_t runs;	    /* of the exploration, all plans */
	const char *reason; /* why it is not complete; NULL */
	const char **notes; /* of ours */
	uint32_t nnotes;
	uint64_t stalled;  /* runs in which a call was */
	uint64_t joint;	   /* runs whose results fit no one serial order */
	bool checks_noted; /* some check fails in a serial run: told */
};

/* ---- settings.c */
enum sqloom_status slm_settings_resolve(const struct sqloom_spec *spec,
					const struct sqloom_options *options,
					struct slm_arena *arena,
					struct settings *out,
					struct sqloom_error *err);
/* A database's name without a password. NULL: memory is out. */
const char *slm_database_shown(struct slm_arena *arena, const char *database);
bool slm_settings_flag(const struct sqloom_spec *spec, const char *name,
		       bool otherwise);

/* ---- plan.c */
/* Permutation lines that are followed; 0: all schedules are. */
unsigned slm_explorer_lines(const struct explorer *explorer);
enum sqloom_status slm_plans_make(struct explorer *explorer,
				  struct sqloom_error *err);

/* ---- header.c */
enum sqloom_status slm_header_fill(struct explorer *explorer,
				   enum slm_trace_kind kind,
				   struct sqloom_error *err);
enum sqloom_status slm_header_finish(struct explorer *explorer,
				     struct sqloom_error *err);
/* Calls that are programs: the steps that have been seen by now are told. To be
 * called after a run, before it is looked at. */
enum sqloom_status slm_header_learn(struct explorer *explorer,
				    struct sqloom_error *err);
uint16_t slm_steps_fingerprint(const struct slm_trace *trace);
bool slm_note(struct explorer *explorer, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- serial.c */
enum sqloom_status slm_serial_all(struct explorer *explorer, uint32_t members,
				  struct sqloom_error *err);
/*
 * Runs the first order once more, and again in the next second of the clock (so
 * this sleeps): what programs take from a clock of whole seconds is the same in
 * two runs that come soon after another, and differs in later ones.
 */
enum sqloom_status slm_serial_across(struct explorer *explorer,
				     struct sqloom_error *err);
/* Calls that are programs: until they take the same steps twice. */
enum sqloom_status slm_serial_warm_up(struct explorer *explorer,
				      struct sqloom_error *err);

/* ---- findings.c */
void slm_outcomes_clear(struct outcomes *outcomes);
/* Of the run that the runner has just done: equal keys, equal outcomes; 0: not
 * known. */
uint64_t slm_findings_key(const struct slm_runner *runner);
/* Was a run of this key judged? Where there are workers, any thread may ask
 * under their lock. */
bool slm_findings_know(const struct explorer *explorer, uint64_t key);
/* Describes the run that the runner has just done, for the oracle. */
enum sqloom_status slm_findings_describe(struct slm_runner *runner,
					 struct slm_run *out,
					 struct sqloom_error *err);
/* Judges main's run, running missing serial orders first. */
enum sqloom_status slm_findings_judge(struct explorer *explorer,
				      const struct slm_run *run,
				      struct slm_judgement *out,
				      struct sqloom_error *err);
/* Makes a run of these members, and describes and judges it: one that does not
 * count, about a finding that there is. */
enum sqloom_status slm_findings_try(struct explorer *explorer, uint32_t members,
				    struct slm_director *director,
				    struct slm_run *run,
				    struct slm_judgement *judgement,
				    struct sqloom_error *err);
/* Counts main's run and keeps it if its outcome is wrong and new. */
enum sqloom_status slm_findings_add(struct explorer *explorer,
				    struct sqloom_error *err);
/* The same for a run that was made ahead, whose runner is in main's place. run
 * may be NULL if its key is known. */
enum sqloom_status slm_findings_add_made(struct explorer *explorer,
					 uint64_t key,
					 const struct slm_run *run,
					 struct sqloom_error *err);
/* Explains main's run into *out, token and events included. */
enum sqloom_status slm_findings_tell(struct explorer *explorer,
				     const struct slm_run *run,
				     struct slm_finding *out,
				     struct sqloom_error *err);
void slm_findings_sort(struct explorer *explorer);
bool slm_findings_breaks(const struct explorer *explorer, enum slm_class class);

/* ---- confirm.c */
/* Runs the schedule of a finding of the present plan again. *same: it goes wrong
 * in the same way again, as always where calls are statements. */
enum sqloom_status slm_confirm(struct explorer *explorer,
			       const struct slm_finding *finding, bool *same,
			       struct sqloom_error *err);
/* The same, if it goes wrong each time. */
enum sqloom_status slm_confirm_certain(struct explorer *explorer,
				       const struct slm_finding *finding,
				       bool *same, struct sqloom_error *err);
/* Makes the worst finding that is confirmed the first; by_chance: none is. */
enum sqloom_status slm_confirm_first(struct explorer *explorer,
				     struct sqloom_error *err);

/* ---- shrink.c */
enum sqloom_status slm_shrink(struct explorer *explorer,
			      struct slm_finding *finding,
			      struct sqloom_error *err);
/* Another order that goes wrong as the finding did, and each time: replaces
 * it. */
enum sqloom_status slm_shrink_another(struct explorer *explorer,
				      struct slm_finding *finding, bool *found,
				      struct sqloom_error *err);

/* ---- ahead.c: with explorer->workers */
/* The strategies from which the next runs come, in turn. Forgets all runs that
 * were made ahead: before the first run of new strategies. */
void slm_ahead_begin(struct explorer *explorer,
		     const enum slm_strategy_kind *kinds, unsigned count);
/* The next run of strategies[turn]: made ahead, or else made now; counted. */
enum sqloom_status slm_ahead_run(struct explorer *explorer,
				 struct slm_strategy *const *strategies,
				 unsigned count, unsigned turn,
				 enum slm_learn *learnt,
				 struct sqloom_error *err);
/* The run of a permutation line of the present plan; main->failed_at tells if
 * it cannot be run, and then it is not counted. */
enum sqloom_status slm_ahead_line(struct explorer *explorer, unsigned line,
				  struct sqloom_error *err);

/* ---- explore.c */
/* A run of main's: slm_run(), and what is to be counted and learnt of it. */
enum sqloom_status slm_explorer_make(struct explorer *explorer,
				     struct slm_runner *runner,
				     uint32_t members, unsigned variant,
				     const struct slm_director *director,
				     struct sqloom_error *err);
/* worker: 0 is the explorer's own. Its workers may call it, one at a time. */
enum sqloom_status slm_explorer_open_database(const struct explorer *explorer,
					      unsigned worker,
					      bool (*goes_on)(void *userdata),
					      void *userdata,
					      struct slm_db **out,
					      struct sqloom_error *err);
/* Calls of the plan that never have a choice point: they take part in each run,
 * and have no letter in its token. */
uint32_t slm_explorer_without_choice(const struct explorer *explorer);
void slm_explorer_strategy_config(const struct explorer *explorer,
				  struct slm_strategy_config *out);
/* Makes the next run of a strategy on the explorer's own database. */
enum sqloom_status slm_explorer_run(struct explorer *explorer,
				    struct slm_strategy *strategy,
				    enum slm_learn *learnt,
				    struct sqloom_error *err);
/* Makes the run of a permutation line there. */
enum sqloom_status slm_explorer_run_line(struct explorer *explorer,
					 unsigned line,
					 struct sqloom_error *err);
enum sqloom_status slm_explorer_open(struct explorer *explorer,
				     const struct sqloom_spec *spec,
				     const struct sqloom_options *options,
				     enum slm_trace_kind kind, bool cloning,
				     struct sqloom_error *err);
void slm_explorer_close(struct explorer *explorer);
bool slm_explorer_goes_on(struct explorer *explorer, double left,
			  unsigned share);
enum sqloom_status slm_explorer_use_plan(struct explorer *explorer,
					 const struct plan *plan,
					 struct sqloom_error *err);

#endif
