/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public functions for isolation specs: the object that keeps connections
 * from one spec to the next, and a run of all permutations of one spec.
 */
#include <assert.h>
#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "isolation/isolation.h"

#define TIMEOUT_MS 300000
#define MS_NS UINT64_C(1000000)

/* ---- The object --------------------------------------------------------- */

void sqloom_isolation_options_init(struct sqloom_isolation_options *options)
{
	assert(options);
	memset(options, 0, sizeof(*options));
	options->step_timeout_ms = TIMEOUT_MS;
}

/* Where this thread is, as an index among the CPUs that it may use. Others
 * may be busy. */
static unsigned this_cpu(void)
{
	int cpu = sched_getcpu();
	unsigned index = 0;
	cpu_set_t may;

	if (cpu < 0 || sched_getaffinity(0, sizeof(may), &may) != 0)
		return 0;
	for (int i = 0; i < cpu && i < CPU_SETSIZE; i++)
		index += CPU_ISSET(i, &may) ? 1 : 0;
	return index;
}

enum sqloom_status sqloom_isolation_new(
	const struct sqloom_isolation_options *options,
	struct sqloom_isolation **out, struct sqloom_error *err)
{
	struct sqloom_isolation *iso;
	const char *conninfo;

	assert(options && out);
	if (!options->write)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the options have no write function; set "
				     "one that takes the output");
	iso = slm_calloc(1, sizeof(*iso));
	if (!iso)
		return slm_error_nomem(err);
	conninfo = options->conninfo ? options->conninfo : "dbname = postgres";
	iso->conninfo = slm_strdup(conninfo);
	if (!iso->conninfo) {
		slm_free(iso);
		return slm_error_nomem(err);
	}
	iso->cpu = this_cpu();
	iso->timeout_ns = options->step_timeout_ms * MS_NS;
	iso->goes_on = options->goes_on;
	iso->userdata = options->userdata;
	iso->out.write = options->write;
	iso->out.userdata = options->userdata;
	slm_buf_init(&iso->out.buf);
	slm_arena_init(&iso->arena);
	*out = iso;
	return SQLOOM_OK;
}

void sqloom_isolation_free(struct sqloom_isolation *iso)
{
	if (!iso)
		return;
	slm_iso_disconnect(iso, true);
	slm_arena_deinit(&iso->arena);
	slm_buf_deinit(&iso->out.buf);
	slm_free(iso->conninfo);
	slm_free(iso);
}

/* ---- A run -------------------------------------------------------------- */

static enum sqloom_status run_lines(struct sqloom_isolation *iso,
				    struct sqloom_error *err)
{
	const struct sqloom_spec *spec = iso->script.spec;
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; !status && i < spec->npermutations; i++) {
		struct slm_iso_permutation permutation = { 0 };

		status = slm_iso_script_line(&iso->script, i, &iso->arena,
					     &permutation, err);
		if (!status)
			status =
				slm_iso_permutation_run(iso, &permutation, err);
	}
	return status;
}

static enum sqloom_status run_all(struct sqloom_isolation *iso,
				  struct sqloom_error *err)
{
	struct slm_iso_permutation permutation = { 0 };
	bool more;
	enum sqloom_status status = slm_iso_script_next(
		&iso->script, &iso->arena, &permutation, &more, err);

	while (!status && more) {
		status = slm_iso_permutation_run(iso, &permutation, err);
		if (!status)
			status = slm_iso_script_next(&iso->script, &iso->arena,
						     &permutation, &more, err);
	}
	return status;
}

static enum sqloom_status no_calls(const struct sqloom_spec *spec,
				   struct sqloom_error *err)
{
	slm_error_set(err, SQLOOM_UNSUPPORTED,
		      "this spec has calls, which are programs, and isolation "
		      "specs have sessions; run it with sqloom explore");
	slm_spec_error_place(spec, spec->sessions[0].line,
			     spec->sessions[0].column, err);
	return SQLOOM_UNSUPPORTED;
}

static enum sqloom_status run(struct sqloom_isolation *iso,
			      const struct sqloom_spec *spec,
			      struct sqloom_error *err)
{
	enum sqloom_status status;

	if (spec->has_calls)
		return no_calls(spec, err);
	status = slm_iso_script_make(&iso->arena, spec, &iso->script, err);
	if (status)
		return status;
	for (unsigned i = 0; i < iso->script.nunused; i++)
		slm_iso_err(iso, "unused step name: %s\n",
			    iso->script.unused[i]->name);
	slm_iso_out(iso, "Parsed test spec with %u sessions\n",
		    spec->nsessions);
	status = slm_iso_connect(iso, err);
	if (status)
		return status;
	return spec->npermutations ? run_lines(iso, err) : run_all(iso, err);
}

static enum sqloom_status not_written(struct sqloom_isolation *iso,
				      struct sqloom_error *err)
{
	iso->out.failed = false;
	return slm_error_set(err, SQLOOM_IO,
			     "the output could not be written to its end");
}

enum sqloom_status sqloom_isolation_run(struct sqloom_isolation *iso,
					const struct sqloom_spec *spec,
					const char *name, bool *complete,
					struct sqloom_error *err)
{
	enum sqloom_status status;

	assert(iso && spec && name && complete);
	slm_arena_clear(&iso->arena);
	iso->name = name;
	iso->stopped = false;
	status = run(iso, spec, err);
	slm_iso_flush(&iso->out);
	if (!status && iso->out.failed)
		status = not_written(iso, err);
	slm_iso_drain(iso);
	if (status)
		slm_iso_cancel_all(iso);
	slm_iso_disconnect(iso, status != SQLOOM_OK);
	slm_pg_unpin(&iso->pinned);
	if (status && !iso->stopped)
		return status;
	*complete = !iso->stopped;
	return SQLOOM_OK;
}
