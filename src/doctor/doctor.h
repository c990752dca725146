/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the doctor share: doctor.c (the order of the checks, and
 * what they tell), server.c (the server, the role, who else is there),
 * program.c (do the calls come to the proxy?). Nobody else includes this.
 */
#ifndef SLM_DOCTOR_DOCTOR_H
#define SLM_DOCTOR_DOCTOR_H

#include <sqloom/sqloom.h>

#include "base/arena.h"
#include "pg/pg.h"
#include "pg/server.h"
#include "spec/spec.h"

struct doctor {
	const struct sqloom_doctor_options *options;
	const struct sqloom_spec *spec; /* NULL: the database only */
	struct slm_arena arena;
	const char *conninfo;
	struct slm_pg_server *server; /* --pg-temp; NULL */
	struct slm_pg pg;	      /* our own connection to look around */
	const char *database;	      /* its name there */
	unsigned problems;
	enum sqloom_status status; /* memory was out */
};

/* Tells one line. advice is in words, too, NULL: none; what is static. */
void slm_doctor_tell(struct doctor *doctor, enum sqloom_health health,
		     const char *what, const char *advice, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* The same for what went wrong: a problem. */
void slm_doctor_tell_error(struct doctor *doctor, const char *what,
			   const struct sqloom_error *err);
/* In the doctor's arena, for advice. "" when memory is out: status says so. */
const char *slm_doctor_text(struct doctor *doctor, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- server.c ----------------------------------------------------------- */

/* Connects, and looks at the server. False: nothing more can be asked. */
bool slm_doctor_server(struct doctor *doctor);
void slm_doctor_role(struct doctor *doctor);
void slm_doctor_connections(struct doctor *doctor);
void slm_doctor_others(struct doctor *doctor);
void slm_doctor_prepared(struct doctor *doctor);
void slm_doctor_parser(struct doctor *doctor);
/* Can an exploration of SQL sessions begin here? */
void slm_doctor_database(struct doctor *doctor);

/* ---- program.c ---------------------------------------------------------- */

/* Can the proxy listen? */
bool slm_doctor_proxy(struct doctor *doctor);
/* Runs each call of the spec once, alone. */
void slm_doctor_calls(struct doctor *doctor);

#endif
