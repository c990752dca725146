/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixture on a PostgreSQL server: the test database itself, which
 * src/db/keep.c puts back.
 */
#include "kit/fixture.h"

#include "base/alloc.h"
#include "base/error.h"
#include "db/keep.h"

struct postgres_fixture {
	struct sqloom_fixture base;		      /* first */
	struct slm_keep *keep;			      /* owned */
	const struct sqloom_fixture_options *options; /* while it is opened */
};

static struct postgres_fixture *of(struct sqloom_fixture *base)
{
	return (struct postgres_fixture *)base;
}

static enum sqloom_status op_restore(struct sqloom_fixture *base,
				     struct slm_buf *left,
				     struct sqloom_error *err)
{
	return slm_keep_restore(of(base)->keep, left, err);
}

static enum sqloom_status op_close(struct sqloom_fixture *base,
				   struct sqloom_error *err)
{
	enum sqloom_status status = slm_keep_close(of(base)->keep, err);

	slm_free(base->url);
	slm_free(base);
	return status;
}

static const struct slm_fixture_kind kind = {
	.restore = op_restore,
	.close = op_close,
};

static enum sqloom_status set_up(void *userdata, struct sqloom_error *err)
{
	struct postgres_fixture *fixture = userdata;

	return slm_fixture_set_up(fixture->options, fixture->base.url, err);
}

enum sqloom_status slm_fixture_open_postgres(
	const struct sqloom_fixture_options *options,
	struct sqloom_fixture **out, struct sqloom_error *err)
{
	struct postgres_fixture *fixture = slm_calloc(1, sizeof(*fixture));
	struct slm_keep_options keep = {
		.conninfo = options->database,
		.any_database = options->any_database,
		.setup = options->setup ? set_up : NULL,
		.userdata = fixture,
	};
	enum sqloom_status status;

	if (!fixture)
		return slm_error_nomem(err);
	fixture->base.kind = &kind;
	fixture->options = options;
	fixture->base.url = slm_strdup(options->database);
	status = fixture->base.url ? slm_keep_open(&keep, &fixture->keep, err) :
				     slm_error_nomem(err);
	fixture->options = NULL;
	if (status) {
		slm_free(fixture->base.url);
		slm_free(fixture);
		return status;
	}
	*out = &fixture->base;
	return SQLOOM_OK;
}
