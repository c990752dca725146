/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way in: from a file or from memory to a parsed spec. Only here are files
 * touched. What is not plain UTF-8 text is refused before it is parsed.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "spec/parser.h"

/* ---- Text ------------------------------------------------------------- */

/* Bytes of the UTF-8 character at text (RFC 3629), or 0 if it is none. */
static size_t utf8_size(const unsigned char *text, size_t size)
{
	unsigned char c = text[0];
	unsigned char low = 0x80, high = 0xbf; /* of the second byte */
	size_t want = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	if (want == 1)
		return 1;
	if (c < 0xc2 || c > 0xf4 || size < want)
		return 0;
	if (c == 0xe0)
		low = 0xa0;
	if (c == 0xed)
		high = 0x9f;
	if (c == 0xf0)
		low = 0x90;
	if (c == 0xf4)
		high = 0x8f;
	if (text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < want; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return want;
}

static enum sqloom_status not_text(const char *name, const unsigned char *text,
				   size_t offset, unsigned line,
				   unsigned column, struct sqloom_error *err)
{
	const char *advice = "does not look like a text file; save it as UTF-8";

	if (text[0] == 0xff || text[0] == 0xfe)
		advice = "looks like UTF-16; save it as UTF-8";
	slm_error_set(err, SQLOOM_SPEC, "%s at byte offset %zu: this %s",
		      text[offset] ? "invalid UTF-8" : "a NUL byte", offset,
		      advice);
	/* No excerpt: it would be binary. */
	slm_error_place(err, name, line, column, NULL, 0);
	return SQLOOM_SPEC;
}

static enum sqloom_status check_text(const char *name, const char *bytes,
				     size_t size, struct sqloom_error *err)
{
	const unsigned char *text = (const unsigned char *)bytes;
	unsigned line = 1, column = 1;
	size_t step;

	for (size_t i = 0; i < size; i += step) {
		step = text[i] ? utf8_size(text + i, size - i) : 0;
		if (!step)
			return not_text(name, text, i, line, column, err);
		column++;
		if (text[i] == '\n') {
			line++;
			column = 1;
		}
	}
	return SQLOOM_OK;
}

bool slm_spec_is_text(const char *text)
{
	return check_text("", text, strlen(text), NULL) == SQLOOM_OK;
}

static enum sqloom_status too_large(const char *name, uint64_t size,
				    const char *or_more,
				    struct sqloom_error *err)
{
	slm_error_set(err, SQLOOM_LIMIT,
		      "the spec has %llu bytes%s, the limit is %d; is this the"
		      " right file?",
		      (unsigned long long)size, or_more, SLM_SPEC_SIZE_MAX);
	slm_error_place(err, name, 0, 0, NULL, 0);
	return SQLOOM_LIMIT;
}

/* ---- Specs ------------------------------------------------------------ */

void sqloom_spec_free(struct sqloom_spec *spec)
{
	if (!spec)
		return;
	slm_arena_deinit(&spec->arena);
	slm_free(spec);
}

enum sqloom_status sqloom_spec_parse(const char *text, size_t size_bytes,
				     const char *name, struct sqloom_spec **out,
				     struct sqloom_error *err)
{
	static const char bom[] = "\xef\xbb\xbf";
	struct sqloom_spec *spec;
	enum sqloom_status status;

	assert(out && (text || size_bytes == 0));
	if (!name)
		name = "-";
	if (size_bytes > SLM_SPEC_SIZE_MAX)
		return too_large(name, size_bytes, "", err);
	if (size_bytes >= 3 && memcmp(text, bom, 3) == 0) {
		text += 3;
		size_bytes -= 3;
	}
	status = check_text(name, text, size_bytes, err);
	if (status != SQLOOM_OK)
		return status;
	spec = slm_calloc(1, sizeof(*spec));
	if (!spec)
		return slm_error_nomem(err);
	slm_arena_init(&spec->arena);
	spec->name = slm_arena_strdup(&spec->arena, name);
	spec->text = slm_arena_strndup(&spec->arena, text, size_bytes);
	spec->size = size_bytes;
	status = spec->name && spec->text ? slm_spec_parse_text(spec, err) :
					    slm_error_nomem(err);
	if (status == SQLOOM_OK)
		*out = spec;
	else
		sqloom_spec_free(spec);
	return status;
}

/* ---- Files ------------------------------------------------------------ */

static enum sqloom_status cannot_read(const char *path, int sys_errno,
				      struct sqloom_error *err)
{
	slm_error_errno(err, SQLOOM_IO, sys_errno, "cannot read the spec %s",
			path);
	slm_error_place(err, path, 0, 0, NULL, 0);
	return SQLOOM_IO;
}

/* fd becomes the open, regular file; the caller closes it. */
static enum sqloom_status open_regular(const char *path, int *fd,
				       struct sqloom_error *err)
{
	struct stat info;

	/* Without O_NONBLOCK, a FIFO that nobody writes to would hang us. */
	*fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &info) < 0)
		return cannot_read(path, errno, err);
	if (S_ISREG(info.st_mode) && info.st_size > SLM_SPEC_SIZE_MAX)
		return too_large(path, (uint64_t)info.st_size, "", err);
	if (S_ISREG(info.st_mode))
		return SQLOOM_OK;
	slm_error_set(
		err, SQLOOM_IO, "%s is %s; give the path of a spec file", path,
		S_ISDIR(info.st_mode) ? "a directory" : "not a regular file");
	slm_error_place(err, path, 0, 0, NULL, 0);
	return SQLOOM_IO;
}

/* Reads up to limit bytes; *size is what there was. */
static enum sqloom_status read_all(const char *path, int fd, char *text,
				   size_t limit, size_t *size,
				   struct sqloom_error *err)
{
	*size = 0;
	while (*size < limit) {
		ssize_t n = read(fd, text + *size, limit - *size);

		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cannot_read(path, errno, err);
		*size += (size_t)n;
	}
	return SQLOOM_OK;
}

enum sqloom_status sqloom_spec_read(const char *path, struct sqloom_spec **out,
				    struct sqloom_error *err)
{
	enum sqloom_status status;
	char *text = NULL;
	size_t size;
	int fd = -1;

	assert(path && out);
	status = open_regular(path, &fd, err);
	if (status != SQLOOM_OK)
		goto out;
	/* One byte more than allowed tells a file that grew meanwhile. */
	text = slm_malloc(SLM_SPEC_SIZE_MAX + 1);
	if (!text) {
		status = slm_error_nomem(err);
		goto out;
	}
	status = read_all(path, fd, text, SLM_SPEC_SIZE_MAX + 1, &size, err);
	if (status == SQLOOM_OK && size > SLM_SPEC_SIZE_MAX)
		status = too_large(path, size, " or more", err);
	if (status == SQLOOM_OK)
		status = sqloom_spec_parse(text, size, path, out, err);
out:
	slm_free(text);
	if (fd >= 0)
		close(fd);
	return status;
}

/* ---- Asking a spec ---------------------------------------------------- */

const char *sqloom_spec_text(const struct sqloom_spec *spec, size_t *size_bytes)
{
	assert(spec);
	if (size_bytes)
		*size_bytes = spec->size;
	return spec->text;
}

const struct slm_spec_option *slm_spec_option(const struct sqloom_spec *spec,
					      const char *name)
{
	for (unsigned i = spec->noptions; i-- > 0;)
		if (strcmp(spec->options[i].name, name) == 0)
			return &spec->options[i];
	return NULL;
}

void slm_spec_error_place(const struct sqloom_spec *spec, unsigned line,
			  unsigned column, struct sqloom_error *err)
{
	slm_error_place(err, spec->name, line, column, spec->text, spec->size);
}
