/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The n-th allocation fails, and all after it, for every n until the work
 * succeeds: each failure is SQLOOM_NOMEM with a message, and leaves no memory,
 * no descriptor and no file behind.
 */
#include "sweep.h"

#define SWEEP_MAX 100000

/* Does the whole work; out-parameters are checked inside. */
typedef enum sqloom_status (*work_fn)(struct sqloom_error *err);

static struct sqloom_spec *spec;
static struct sqloom_report *recorded;
static char token[200];
static char trace_path[64];

static void sweep(work_fn work)
{
	struct sqloom_error err;
	enum sqloom_status status = SQLOOM_NOMEM;
	int64_t live;
	unsigned files;
	uint64_t n = 0;

	/* Whatever is made once and kept is made now. */
	assert_int_equal(work(&err), SQLOOM_OK);
	unlink(trace_path);
	live = slm_alloc_live();
	files = open_files();
	while (status) {
		if (++n > SWEEP_MAX)
			fail_msg("no end");
		memset(&err, 0, sizeof(err));
		slm_alloc_fail_from(n);
		status = work(&err);
		slm_alloc_fail_from(0);
		/* SQLOOM_IO: copying a file needs memory too. */
		if (status != SQLOOM_OK && status != SQLOOM_NOMEM &&
		    status != SQLOOM_IO)
			fail_msg("allocation %d: %s: %s", (int)n,
				 sqloom_status_text(status), err.message);
		if (status) {
			assert_int_equal(err.status, status);
			assert_true(err.message[0] != '\0');
		}
		if (slm_alloc_live() != live)
			fail_msg("allocation %d: %d blocks left", (int)n,
				 (int)(slm_alloc_live() - live));
		if (open_files() != files)
			fail_msg("allocation %d: a file is left open", (int)n);
		if (status && access(trace_path, F_OK) == 0)
			fail_msg("allocation %d: half a trace is left", (int)n);
		unlink(trace_path);
	}
	assert_true(n > 1);
	print_message("%d allocations\n", (int)n - 1);
}

static struct sqloom_options options_of(enum sqloom_store store)
{
	struct sqloom_options options;

	sqloom_options_init(&options);
	options.store = store;
	options.max_runs = 30;
	options.trace_path = trace_path;
	return options;
}

/* Which of the workers' allocations fails is a matter of chance. */
static enum sqloom_status explore_by_workers(struct sqloom_error *err)
{
	struct sqloom_options options = options_of(SQLOOM_STORE_MEMORY);
	struct sqloom_report *report = NULL;
	enum sqloom_status status;

	options.jobs = 3;
	options.max_runs = 200;
	status = sqloom_explore(spec, &options, &report, err);
	assert_true((status == SQLOOM_OK) == (report != NULL));
	sqloom_report_free(report);
	return status;
}

static enum sqloom_status explore(enum sqloom_store store,
				  struct sqloom_error *err)
{
	struct sqloom_options options = options_of(store);
	struct sqloom_report *report = NULL;
	enum sqloom_status status;

	status = sqloom_explore(spec, &options, &report, err);
	assert_true((status == SQLOOM_OK) == (report != NULL));
	if (report)
		assert_int_equal(sqloom_report_verdict(report), SQLOOM_BROKEN);
	sqloom_report_free(report);
	return status;
}

static enum sqloom_status explore_memory(struct sqloom_error *err)
{
	return explore(SQLOOM_STORE_MEMORY, err);
}

static enum sqloom_status explore_file(struct sqloom_error *err)
{
	return explore(SQLOOM_STORE_FILE, err);
}

static enum sqloom_status replay(struct sqloom_error *err)
{
	struct sqloom_options options = options_of(SQLOOM_STORE_MEMORY);
	struct sqloom_report *report = NULL;
	enum sqloom_status status;

	status = sqloom_replay(spec, token, recorded, &options, &report, err);
	assert_true((status == SQLOOM_OK) == (report != NULL));
	if (report)
		assert_int_equal(sqloom_report_verdict(report), SQLOOM_BROKEN);
	sqloom_report_free(report);
	return status;
}

/* A replay that diverges has texts of its own to make. */
static enum sqloom_status replay_diverged(struct sqloom_error *err)
{
	struct sqloom_options options = options_of(SQLOOM_STORE_MEMORY);
	struct sqloom_report *report = NULL;
	enum sqloom_status status;
	char *text = NULL;

	status = sqloom_replay(spec, "aabbbbbb~0000.2222222222222222", NULL,
			       &options, &report, err);
	if (!status) {
		struct sqloom_render render;

		sqloom_render_init(&render);
		assert_int_equal(sqloom_report_verdict(report),
				 SQLOOM_INCONCLUSIVE);
		status =
			sqloom_report_render(report, &render, &text, NULL, err);
		if (!status)
			assert_non_null(strstr(text, "diverged"));
		else
			unlink(trace_path);
	}
	sqloom_text_free(text);
	sqloom_report_free(report);
	return status;
}

static enum sqloom_status read_back(struct sqloom_error *err)
{
	struct sqloom_report *report = NULL;
	enum sqloom_status status;

	status = sqloom_trace_read(getenv("SWEEP_TRACE"), &report, err);
	assert_true((status == SQLOOM_OK) == (report != NULL));
	sqloom_report_free(report);
	return status;
}

static enum sqloom_status render_as(enum sqloom_format format,
				    struct sqloom_error *err)
{
	struct sqloom_render render;
	enum sqloom_status status;
	char *text = NULL;

	sqloom_render_init(&render);
	render.format = format;
	render.findings = 3;
	status = sqloom_report_render(recorded, &render, &text, NULL, err);
	assert_true((status == SQLOOM_OK) == (text != NULL));
	sqloom_text_free(text);
	return status;
}

static enum sqloom_status render_text(struct sqloom_error *err)
{
	return render_as(SQLOOM_FORMAT_TEXT, err);
}

static enum sqloom_status render_json(struct sqloom_error *err)
{
	return render_as(SQLOOM_FORMAT_JSON, err);
}

static enum sqloom_status parse_spec(struct sqloom_error *err)
{
	struct sqloom_spec *again = NULL;
	enum sqloom_status status = sqloom_spec_parse(
		rich_spec, sizeof(rich_spec) - 1, "rich.spec", &again, err);

	assert_true((status == SQLOOM_OK) == (again != NULL));
	sqloom_spec_free(again);
	return status;
}

static void exploring_in_memory(void **state)
{
	(void)state;
	sweep(explore_memory);
}

static void exploring_by_workers(void **state)
{
	(void)state;
	sweep(explore_by_workers);
}

static void exploring_on_files(void **state)
{
	unsigned before = store_folders_left();

	(void)state;
	sweep(explore_file);
	assert_int_equal(store_folders_left(), before);
}

static void replaying(void **state)
{
	(void)state;
	sweep(replay);
}

static void replaying_a_token_that_diverges(void **state)
{
	(void)state;
	sweep(replay_diverged);
}

static void reading_a_trace(void **state)
{
	(void)state;
	sweep(read_back);
}

static void rendering(void **state)
{
	(void)state;
	sweep(render_text);
	sweep(render_json);
}

static void parsing_a_spec(void **state)
{
	(void)state;
	sweep(parse_spec);
}

/* The token of the first finding, as the JSON report tells it. */
static void find_token(void)
{
	struct sqloom_render render;
	const char *at;
	char *text;

	sqloom_render_init(&render);
	render.format = SQLOOM_FORMAT_JSON;
	assert_int_equal(sqloom_report_render(recorded, &render, &text, NULL,
					      NULL),
			 SQLOOM_OK);
	at = strstr(text, "\"token\"");
	assert_non_null(at);
	assert_int_equal(sscanf(at, "\"token\": \"%199[^\"]", token), 1);
	sqloom_text_free(text);
}

static int set_up(void **state)
{
	static char kept[64];
	struct sqloom_options options;
	struct sqloom_error err;

	(void)state;
	snprintf(kept, sizeof(kept), "%s/slm-sweep-kept-%d", temporary,
		 (int)getpid());
	snprintf(trace_path, sizeof(trace_path), "%s/slm-sweep-%d", temporary,
		 (int)getpid());
	setenv("SWEEP_TRACE", kept, 1);
	spec = parse(rich_spec);
	options = options_of(SQLOOM_STORE_MEMORY);
	options.trace_path = kept;
	if (sqloom_explore(spec, &options, &recorded, &err))
		fail_msg("%s", err.message);
	find_token();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(getenv("SWEEP_TRACE"));
	sqloom_report_free(recorded);
	sqloom_spec_free(spec);
	assert_int_equal(slm_alloc_live(), 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsing_a_spec),
		cmocka_unit_test(exploring_in_memory),
		cmocka_unit_test(exploring_by_workers),
		cmocka_unit_test(exploring_on_files),
		cmocka_unit_test(replaying),
		cmocka_unit_test(replaying_a_token_that_diverges),
		cmocka_unit_test(reading_a_trace),
		cmocka_unit_test(rendering),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
