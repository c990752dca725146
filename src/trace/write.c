/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trace as JSON lines, to a file or to memory. Each line is built, written
 * and dropped before the next, so the memory needed is that of one line.
 */
#include "trace/trace.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "trace/encode.h"
#include "trace/words.h"

/* Where lines go: returns 0, or -1 to stop. */
typedef int (*sink_fn)(const char *data, size_t size, void *userdata);

struct writer {
	struct slm_encoder encoder;
	sink_fn sink;
	void *userdata;
	bool sink_failed;
	int sys_errno; /* why, if it was a file */
};

static bool going(const struct writer *w)
{
	return !w->encoder.failed && !w->sink_failed;
}

static int dump_part(const char *data, size_t size, void *userdata)
{
	struct writer *w = userdata;

	if (w->sink(data, size, w->userdata) == 0)
		return 0;
	w->sys_errno = errno;
	w->sink_failed = true;
	return -1;
}

/* Writes one object as a line; takes the reference. */
static void put_line(struct writer *w, json_t *object)
{
	if (going(w) && slm_encode_dump(object, JSON_COMPACT, dump_part, w) &&
	    !w->sink_failed)
		w->encoder.failed = true;
	if (going(w))
		dump_part("\n", 1, w);
	json_decref(object);
}

static json_t *new_line(struct writer *w, const char *type)
{
	json_t *object = json_object();

	slm_encode_put_text(&w->encoder, object, "type", type);
	return object;
}

static void put_header(struct writer *w)
{
	const struct slm_trace *trace = w->encoder.trace;
	struct slm_encoder *e = &w->encoder;
	json_t *object = new_line(w, "sqloom-trace");

	slm_encode_put_count(e, object, "version", SLM_TRACE_VERSION);
	slm_encode_put_text(e, object, "kind",
			    slm_trace_kind_words[trace->kind]);
	slm_encode_put_text(e, object, "spec", trace->spec);
	slm_encode_put_text(e, object, "backend", trace->backend);
	slm_encode_put_text(e, object, "strategy", trace->strategy);
	slm_encode_put_text(e, object, "bounds", trace->bounds);
	slm_encode_put_text(e, object, "options", trace->options);
	slm_encode_put_count(e, object, "seed", trace->seed);
	slm_encode_put(e, object, "strict", json_boolean(trace->strict));
	slm_encode_put(e, object, "calls", slm_encode_calls(e));
	put_line(w, object);
}

static void put_serial(struct writer *w, const struct slm_trace_serial *serial)
{
	json_t *object = new_line(w, "serial");

	slm_encode_put_text(&w->encoder, object, "order", serial->order);
	slm_encode_put(&w->encoder, object, "outcome",
		       slm_encode_outcome(&w->encoder, &serial->outcome));
	put_line(w, object);
}

static void put_events(struct writer *w, const struct slm_finding *finding)
{
	for (uint32_t i = 0; i < finding->nevents && going(w); i++) {
		json_t *object = new_line(w, "event");

		slm_encode_event(&w->encoder, object, &finding->events[i]);
		put_line(w, object);
	}
}

static void put_finding(struct writer *w, const struct slm_finding *finding)
{
	json_t *object = new_line(w, "finding");

	slm_encode_finding(&w->encoder, object, finding);
	put_line(w, object);
	put_events(w, finding);
}

static void put_verdict(struct writer *w)
{
	const struct slm_trace *trace = w->encoder.trace;
	struct slm_encoder *e = &w->encoder;
	json_t *object = new_line(w, "verdict");

	slm_encode_put_text(e, object, "verdict",
			    slm_verdict_words[trace->verdict]);
	slm_encode_put_text(e, object, "reason", trace->reason);
	slm_encode_put_count(e, object, "explored", trace->explored);
	slm_encode_put(e, object, "complete", json_boolean(trace->complete));
	slm_encode_put_count(e, object, "wrong", trace->wrong);
	slm_encode_put(e, object, "classes", slm_encode_classes(e));
	slm_encode_put_count(e, object, "findings", trace->nfindings);
	slm_encode_put(e, object, "notes", slm_encode_notes(e));
	if (trace->divergence.diverged)
		slm_encode_put(e, object, "divergence",
			       slm_encode_divergence(e));
	put_line(w, object);
}

/* Of a recording the events are all there is. */
static void put_record(struct writer *w)
{
	const struct slm_trace *trace = w->encoder.trace;
	struct slm_encoder *e = &w->encoder;
	json_t *object;

	assert(trace->nfindings <= 1);
	if (trace->nfindings)
		put_events(w, &trace->findings[0]);
	object = new_line(w, "end");
	slm_encode_put_count(e, object, "events",
			     trace->nfindings ? trace->findings[0].nevents : 0);
	slm_encode_put(e, object, "notes", slm_encode_notes(e));
	put_line(w, object);
}

static void put_all(struct writer *w)
{
	const struct slm_trace *trace = w->encoder.trace;

	put_header(w);
	if (trace->kind == SLM_TRACE_RECORD) {
		put_record(w);
		return;
	}
	for (uint32_t i = 0; i < trace->nserials && going(w); i++)
		put_serial(w, &trace->serials[i]);
	for (uint32_t i = 0; i < trace->nfindings && going(w); i++)
		put_finding(w, &trace->findings[i]);
	put_verdict(w);
}

/* ---- To memory -------------------------------------------------------- */

static int to_buf(const char *data, size_t size, void *userdata)
{
	slm_buf_append(userdata, data, size);
	return slm_buf_failed(userdata) ? -1 : 0;
}

enum sqloom_status slm_trace_format(const struct slm_trace *trace, char **text,
				    size_t *size_bytes,
				    struct sqloom_error *err)
{
	struct slm_buf buf;
	struct writer w = { .encoder = { .trace = trace },
			    .sink = to_buf,
			    .userdata = &buf };
	size_t size;
	char *data;

	slm_buf_init(&buf);
	put_all(&w);
	size = buf.size;
	if (!going(&w)) {
		slm_buf_deinit(&buf);
		return slm_error_nomem(err);
	}
	data = slm_buf_take(&buf);
	if (!data)
		return slm_error_nomem(err);
	*text = data;
	if (size_bytes)
		*size_bytes = size;
	return SQLOOM_OK;
}

/* ---- To a file -------------------------------------------------------- */

static int to_file(const char *data, size_t size, void *userdata)
{
	return fwrite(data, 1, size, userdata) == size ? 0 : -1;
}

/*
 * Takes a partial trace away. What a symbolic link points to, or a file that
 * was put in its place meanwhile, is not removed, only emptied.
 */
static void discard(const char *path, int fd)
{
	struct stat opened, named;

	if (fstat(fd, &opened) || !S_ISREG(opened.st_mode))
		return;
	if (lstat(path, &named) == 0 && named.st_dev == opened.st_dev &&
	    named.st_ino == opened.st_ino)
		(void)unlink(path);
	else if (ftruncate(fd, 0))
		return; /* nothing more can be done */
}

static enum sqloom_status write_failed(const char *path, int sys_errno,
				       struct sqloom_error *err)
{
	return slm_error_errno(err, SQLOOM_IO, sys_errno,
			       "cannot write the trace to '%s'", path);
}

/* How each trace begins. */
#define BEGINNING "{\"type\":\"sqloom-trace\""

enum sqloom_status slm_trace_may_write(const char *path,
				       struct sqloom_error *err)
{
	char text[sizeof(BEGINNING)] = "";
	enum sqloom_status status = SQLOOM_OK;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat info;

	/* What cannot be read says so when it is written. */
	if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
	    info.st_size > 0 &&
	    (read(fd, text, sizeof(text) - 1) < 0 || strcmp(text, BEGINNING)))
		status = slm_error_set(err, SQLOOM_USAGE,
				       "'%s' exists and is no trace: it is not "
				       "overwritten; give the trace another "
				       "name",
				       path);
	if (fd >= 0)
		close(fd);
	return status;
}

/* Standard output by a descriptor of its own: opening its path would empty a
 * file that it appends to. */
static FILE *open_stdout(void)
{
	int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (fd >= 0 && !file)
		close(fd);
	return file;
}

enum sqloom_status slm_trace_write(const struct slm_trace *trace,
				   const char *path, struct sqloom_error *err)
{
	struct writer w = { .encoder = { .trace = trace }, .sink = to_file };
	bool is_stdout = strcmp(path, "-") == 0;
	bool allowed = is_stdout || !slm_trace_may_write(path, err);
	FILE *file = !allowed  ? NULL :
		     is_stdout ? open_stdout() :
				 fopen(path, "we");
	/* A second descriptor outlives fclose(), to name the file that must go
	 * if the disk turns out to be full only then. */
	int fd = file ? fcntl(fileno(file), F_DUPFD_CLOEXEC, 0) : -1;

	if (!allowed)
		return SQLOOM_USAGE;
	if (fd < 0) {
		w.sys_errno = errno;
		if (file)
			fclose(file);
		return write_failed(path, w.sys_errno, err);
	}
	w.userdata = file;
	put_all(&w);
	if (fclose(file) && !w.sink_failed) {
		w.sys_errno = errno;
		w.sink_failed = true;
	}
	if (!going(&w) && !is_stdout)
		discard(path, fd);
	close(fd);
	if (w.sink_failed)
		return write_failed(path, w.sys_errno, err);
	return w.encoder.failed ? slm_error_nomem(err) : SQLOOM_OK;
}
