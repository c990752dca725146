/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a database that the user named, with its journal and WAL, without ever
 * writing anything: not to the file, not beside it. It takes the same shared
 * lock as a reader of SQLite does, so that nobody writes to the database file
 * meanwhile. A writer in WAL mode does not ask for that lock: there the log is
 * compared before and after, and read again if it has changed.
 *
 * Files are read into memory, not mapped: pages of a private mapping that were
 * not touched yet still follow the file.
 *
 * POSIX drops all locks that a process has on a file when it closes any
 * descriptor of it. So the copy uses one descriptor per file; and a seed that
 * this process has locked itself is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/sqlite_vfs.h"

#define PENDING_BYTE 0x40000000 /* where SQLite's locks are: at 1 GiB */
#define SHARED_FIRST (PENDING_BYTE + 2)
#define SHARED_SIZE 510
#define CHUNK (1 << 20) /* bytes read at a time */
#define ATTEMPTS 3

struct source {
	char path[PATH_MAX];
	const char *suffix;
	int fd;		    /* -1: there is no such file */
	struct stat info;   /* as it was before the copy */
	uint8_t header[32]; /* its first bytes then */
	size_t header_size;
};

static enum sqloom_status busy(const char *path, struct sqloom_error *err)
{
	return slm_error_set(err, SQLOOM_DATABASE,
			     "%s is being written by another program; stop it "
			     "or give sqloom a copy (VACUUM INTO makes one)",
			     path);
}

/* Opens a regular file without waiting for anything. missing_ok: then fd
 * stays -1. */
static enum sqloom_status open_source(struct source *source, bool missing_ok,
				      struct sqloom_error *err)
{
	source->fd = open(source->path,
			  O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (source->fd < 0 && errno == ENOENT && missing_ok)
		return SQLOOM_OK;
	if (source->fd < 0)
		return slm_error_errno(err, SQLOOM_IO, errno,
				       "cannot open the database %s",
				       source->path);
	if (fstat(source->fd, &source->info) != 0)
		return slm_error_errno(err, SQLOOM_IO, errno,
				       "cannot examine %s", source->path);
	if (!S_ISREG(source->info.st_mode))
		return slm_error_set(err, SQLOOM_IO,
				     "%s is %s, not a database file",
				     source->path,
				     S_ISDIR(source->info.st_mode) ?
					     "a directory" :
					     "not a regular file");
	if ((uint64_t)source->info.st_size > SLM_STORE_SEED_MAX)
		return slm_error_set(err, SQLOOM_LIMIT,
				     "%s has %lld bytes; the limit for a seed "
				     "is %llu",
				     source->path,
				     (long long)source->info.st_size,
				     (unsigned long long)SLM_STORE_SEED_MAX);
	return SQLOOM_OK;
}

static void close_source(struct source *source)
{
	if (source->fd >= 0)
		close(source->fd);
	source->fd = -1;
}

static bool set_lock(int fd, short type, off_t start, off_t length)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = start,
		.l_len = length,
	};

	return fcntl(fd, F_SETLK, &lock) == 0;
}

/* Does this process hold a lock on the file? Without /proc that is not known. */
static bool is_locked_here(const char *path)
{
	FILE *locks = fopen("/proc/locks", "re");
	struct stat info;
	char line[200];
	bool found = false;

	if (!locks)
		return false;
	if (stat(path, &info) != 0)
		info.st_ino = 0;
	while (!found && fgets(line, sizeof(line), locks)) {
		unsigned long long inode = 0;
		int pid = 0;

		found = sscanf(line, "%*[^:]: POSIX %*s %*s %d %*x:%*x:%llu",
			       &pid, &inode) == 2 &&
			pid == (int)getpid() && inode && inode == info.st_ino;
	}
	fclose(locks);
	return found;
}

static enum sqloom_status check_own_locks(const char *path,
					  struct sqloom_error *err)
{
	if (!is_locked_here(path))
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_USAGE,
			     "%s is open in this process, in WAL mode or in a "
			     "transaction: to read it would end the locks of "
			     "that connection; close it first, or give sqloom "
			     "a copy",
			     path);
}

/* The SHARED lock, as SQLite takes it: not while a writer waits. */
static enum sqloom_status lock_shared(const struct source *source,
				      struct sqloom_error *err)
{
	bool locked = set_lock(source->fd, F_RDLCK, PENDING_BYTE, 1);

	if (locked) {
		locked = set_lock(source->fd, F_RDLCK, SHARED_FIRST,
				  SHARED_SIZE);
		set_lock(source->fd, F_UNLCK, PENDING_BYTE, 1);
	}
	if (locked)
		return SQLOOM_OK;
	if (errno == EACCES || errno == EAGAIN)
		return busy(source->path, err);
	return slm_error_errno(err, SQLOOM_IO, errno, "cannot lock %s",
			       source->path);
}

static ssize_t read_at(int fd, void *out, size_t size, uint64_t offset)
{
	ssize_t n;

	do {
		n = pread(fd, out, size, (off_t)offset);
	} while (n < 0 && errno == EINTR);
	return n;
}

/* Remembers how the file looks before it is copied. */
static enum sqloom_status note_state(struct source *source,
				     struct sqloom_error *err)
{
	ssize_t n =
		read_at(source->fd, source->header, sizeof(source->header), 0);

	if (n < 0 || fstat(source->fd, &source->info) != 0)
		return slm_error_errno(err, SQLOOM_IO, errno, "cannot read %s",
				       source->path);
	source->header_size = (size_t)n;
	return SQLOOM_OK;
}

/* Is the file at the path still the one that was copied, and unchanged? */
static bool is_unchanged(const struct source *source)
{
	uint8_t header[sizeof(source->header)];
	struct stat now;

	if (source->fd < 0)
		return stat(source->path, &now) != 0;
	if (stat(source->path, &now) != 0)
		return false;
	return now.st_ino == source->info.st_ino &&
	       now.st_dev == source->info.st_dev &&
	       now.st_size == source->info.st_size &&
	       now.st_mtim.tv_sec == source->info.st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == source->info.st_mtim.tv_nsec &&
	       read_at(source->fd, header, sizeof(header), 0) ==
		       (ssize_t)source->header_size &&
	       memcmp(header, source->header, source->header_size) == 0;
}

static enum sqloom_status copy(const struct source *source, uint8_t *chunk,
			       slm_seed_fn put, void *userdata,
			       struct sqloom_error *err)
{
	uint64_t offset = 0;
	ssize_t n;

	if (source->fd < 0) {
		put(source->suffix, NULL, 0, 0, userdata);
		return SQLOOM_OK;
	}
	do {
		n = read_at(source->fd, chunk, CHUNK, offset);
		if (n < 0)
			return slm_error_errno(err, SQLOOM_IO, errno,
					       "cannot read %s", source->path);
		if (offset + (uint64_t)n > SLM_STORE_SEED_MAX)
			return slm_error_set(
				err, SQLOOM_LIMIT,
				"%s grows beyond %llu bytes while "
				"it is read",
				source->path,
				(unsigned long long)SLM_STORE_SEED_MAX);
		if (!put(source->suffix, chunk, (size_t)n, offset, userdata))
			return slm_error_set(err, SQLOOM_NOMEM,
					     "no room for a copy of %s",
					     source->path);
		offset += (uint64_t)n;
	} while (n > 0);
	return SQLOOM_OK;
}

/*
 * A hot journal of a transaction over several files ends in the name of a
 * super-journal, whose existence decides whether it is rolled back. A copy
 * cannot know: such a database is refused.
 */
static enum sqloom_status check_journal(const struct source *journal,
					struct sqloom_error *err)
{
	static const uint8_t magic[8] = { 0xd9, 0xd5, 0x05, 0xf9,
					  0x20, 0xa1, 0x63, 0xd7 };
	uint8_t end[8];

	if (journal->fd < 0 || journal->header_size < sizeof(magic) ||
	    memcmp(journal->header, magic, sizeof(magic)) != 0 ||
	    read_at(journal->fd, end, sizeof(end),
		    (uint64_t)journal->info.st_size - sizeof(end)) != 8 ||
	    memcmp(end, magic, sizeof(magic)) != 0)
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_UNSUPPORTED,
			     "%s is left from a transaction over several "
			     "databases that was cut off; open the database "
			     "once with SQLite to recover it",
			     journal->path);
}

/* One attempt. *again: something changed meanwhile. */
static enum sqloom_status try_read(struct source sources[3], uint8_t *chunk,
				   slm_seed_fn put, void *userdata, bool *again,
				   struct sqloom_error *err)
{
	enum sqloom_status status = open_source(&sources[0], false, err);

	if (!status)
		status = lock_shared(&sources[0], err);
	for (int i = 1; !status && i < 3; i++)
		status = open_source(&sources[i], true, err);
	for (int i = 0; !status && i < 3; i++) {
		if (sources[i].fd >= 0)
			status = note_state(&sources[i], err);
	}
	if (!status)
		status = check_journal(&sources[1], err);
	for (int i = 0; !status && i < 3; i++)
		status = copy(&sources[i], chunk, put, userdata, err);
	*again = false;
	for (int i = 0; !status && i < 3; i++)
		*again |= !is_unchanged(&sources[i]);
	for (int i = 2; i >= 0; i--)
		close_source(&sources[i]);
	return status;
}

static bool init_sources(struct source sources[3], const char *path)
{
	static const char *const suffixes[] = { "", "-journal", "-wal" };

	for (int i = 0; i < 3; i++) {
		int n = snprintf(sources[i].path, PATH_MAX, "%s%s", path,
				 suffixes[i]);

		if (n < 0 || n >= PATH_MAX)
			return false;
		sources[i].suffix = suffixes[i];
		sources[i].fd = -1;
	}
	return true;
}

enum sqloom_status slm_seed_read(const char *path, slm_seed_fn put,
				 void *userdata, struct sqloom_error *err)
{
	struct source *sources = slm_calloc(3, sizeof(*sources));
	uint8_t *chunk = slm_malloc(CHUNK);
	enum sqloom_status status = SQLOOM_OK;
	bool again = true;

	if (!sources || !chunk)
		status = slm_error_nomem(err);
	else if (!init_sources(sources, path))
		status = slm_error_set(err, SQLOOM_LIMIT,
				       "the path of the database is longer "
				       "than %d bytes",
				       PATH_MAX);
	if (!status)
		status = check_own_locks(path, err);
	for (int i = 0; !status && again && i < ATTEMPTS; i++)
		status = try_read(sources, chunk, put, userdata, &again, err);
	if (!status && again)
		status = busy(path, err);
	slm_free(chunk);
	slm_free(sources);
	return status;
}
