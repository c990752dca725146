/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a trace from a file or from standard input. */
#include "trace/trace.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"

#define TRACE_SIZE_MAX ((size_t)256 * 1024 * 1024) /* bytes read back */
#define CHUNK_SIZE ((size_t)64 * 1024)

static enum sqloom_status read_failed(const char *path, int sys_errno,
				      struct sqloom_error *err)
{
	enum sqloom_status status = slm_error_errno(
		err, SQLOOM_IO, sys_errno, "cannot read the trace '%s'", path);

	slm_error_place(err, path, 0, 0, NULL, 0);
	return status;
}

static enum sqloom_status read_all(FILE *file, const char *path,
				   struct slm_buf *buf,
				   struct sqloom_error *err)
{
	char chunk[CHUNK_SIZE];
	size_t size;

	while ((size = fread(chunk, 1, sizeof(chunk), file)) > 0) {
		if (size > TRACE_SIZE_MAX - buf->size)
			return slm_error_set(err, SQLOOM_LIMIT,
					     "the trace '%s' has more than %zu "
					     "MiB; is it a trace?",
					     path, TRACE_SIZE_MAX >> 20);
		slm_buf_append(buf, chunk, size);
		if (slm_buf_failed(buf))
			return slm_error_nomem(err);
	}
	return ferror(file) ? read_failed(path, errno, err) : SQLOOM_OK;
}

enum sqloom_status sqloom_trace_read(const char *path,
				     struct sqloom_report **out,
				     struct sqloom_error *err)
{
	bool is_stdin = strcmp(path, "-") == 0;
	const char *name = is_stdin ? "standard input" : path;
	enum sqloom_status status;
	struct slm_buf buf;
	FILE *file;

	file = is_stdin ? stdin : fopen(path, "re");
	if (!file)
		return read_failed(name, errno, err);
	slm_buf_init(&buf);
	status = read_all(file, name, &buf, err);
	if (!is_stdin)
		fclose(file);
	if (status == SQLOOM_OK)
		status = slm_trace_parse(buf.data ? buf.data : "", buf.size,
					 name, out, err);
	slm_buf_deinit(&buf);
	return status;
}
