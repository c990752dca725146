/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workloads: transactions of 4 or 6 statements on two tables of 10 rows.
 * The statements take no values from one another, so that a serial loop and
 * isolationtester can execute the same text.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "bench.h"
#include "postgres.h"

const char bench_workload_tables[] =
	"CREATE TABLE account (id serial PRIMARY KEY, owner varchar(40), "
	"balance int NOT NULL, note text); "
	"CREATE TABLE entry (id serial PRIMARY KEY, account int NOT NULL "
	"REFERENCES account (id), amount int NOT NULL, note varchar(40)); "
	"CREATE INDEX ON entry (account); "
	"INSERT INTO account (owner, balance, note) SELECT 'owner ' || i, 100, "
	"'a note' FROM generate_series(1, 10) AS i; "
	"INSERT INTO entry (account, amount, note) SELECT i, 100, 'opened' "
	"FROM generate_series(1, 10) AS i;";

static const char *const shorter[] = {
	"BEGIN",
	"SELECT balance FROM account WHERE id = %u",
	"UPDATE account SET balance = balance + 1 WHERE id = %u",
	"COMMIT",
};

static const char *const longer[] = {
	"BEGIN",
	"SELECT balance FROM account WHERE id = %u",
	"SELECT amount FROM entry WHERE id = %u",
	"UPDATE account SET balance = balance + 1 WHERE id = %u",
	"INSERT INTO entry (account, amount, note) VALUES (%u, 1, 'paid')",
	"COMMIT",
};

unsigned bench_workload_nsteps(const struct bench_workload *workload)
{
	return workload->longer ? sizeof(longer) / sizeof(*longer) :
				  sizeof(shorter) / sizeof(*shorter);
}

const char *bench_workload_statement(const struct bench_workload *workload,
				     unsigned session, unsigned step,
				     char *text, size_t size)
{
	snprintf(text, size, (workload->longer ? longer : shorter)[step],
		 workload->same ? 1 : session + 1);
	return text;
}

void bench_workload_sessions(const struct bench_workload *workload,
			     struct slm_buf *out)
{
	char text[200];

	for (unsigned i = 0; i < workload->nsessions; i++) {
		slm_buf_printf(out, "session s%u\n", i);
		for (unsigned j = 0; j < bench_workload_nsteps(workload); j++)
			slm_buf_printf(out, "step s%u_%u { %s; }\n", i, j,
				       bench_workload_statement(workload, i, j,
								text,
								sizeof(text)));
	}
}

struct sqloom_spec *bench_workload_spec(const struct bench_workload *workload)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err;
	struct slm_buf text;

	slm_buf_init(&text);
	slm_buf_printf(&text,
		       "setup { %s }\n"
		       "teardown { DROP TABLE entry, account; }\n",
		       bench_workload_tables);
	bench_workload_sessions(workload, &text);
	if (slm_buf_failed(&text) ||
	    sqloom_spec_parse(text.data, text.size, "bench", &spec, &err))
		bench_die("the spec of the bench: %s", err.message);
	slm_buf_deinit(&text);
	return spec;
}
