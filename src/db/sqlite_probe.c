/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the unix VFS at hand for the one lock rule that differs between
 * releases of SQLite: a connection at SHARED that is refused EXCLUSIVE (it
 * wants to roll back a hot journal, or uses locking_mode=exclusive) is left at
 * PENDING up to 3.40 and at SHARED later. Asking is surer than comparing
 * version numbers, because distributions patch.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "db/sqlite_vfs.h"

enum { UNKNOWN, STAYS_SHARED, BECOMES_PENDING };

static sqlite3_file *open_one(sqlite3_vfs *vfs, const char *name)
{
	sqlite3_file *file = slm_calloc(1, (size_t)vfs->szOsFile);
	int flags = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE;

	if (!file || vfs->xOpen(vfs, name, file, flags, &flags) == SQLITE_OK)
		return file;
	slm_free(file);
	return NULL;
}

static void close_one(sqlite3_file *file)
{
	if (file) {
		file->pMethods->xUnlock(file, SQLITE_LOCK_NONE);
		file->pMethods->xClose(file);
	}
	slm_free(file);
}

static int try_locks(sqlite3_file *reader, sqlite3_file *writer)
{
	int level = SQLITE_LOCK_NONE;

	if (reader->pMethods->xLock(reader, SQLITE_LOCK_SHARED) ||
	    writer->pMethods->xLock(writer, SQLITE_LOCK_SHARED) ||
	    writer->pMethods->xLock(writer, SQLITE_LOCK_EXCLUSIVE) !=
		    SQLITE_BUSY ||
	    writer->pMethods->xFileControl(writer, SQLITE_FCNTL_LOCKSTATE,
					   &level))
		return UNKNOWN;
	return level == SQLITE_LOCK_PENDING ? BECOMES_PENDING : STAYS_SHARED;
}

/* Two handles of a file that only this process can see. */
static int ask(sqlite3_vfs *vfs)
{
	int fd = memfd_create("sqloom-probe", MFD_CLOEXEC);
	sqlite3_file *reader = NULL, *writer = NULL;
	char *name = NULL;
	int answer = UNKNOWN;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0)
		name = (char *)sqlite3_create_filename(path, "", "", 0, NULL);
	if (name) {
		reader = open_one(vfs, name);
		writer = open_one(vfs, name);
	}
	if (reader && writer)
		answer = try_locks(reader, writer);
	close_one(writer);
	close_one(reader);
	sqlite3_free_filename(name);
	if (fd >= 0)
		close(fd);
	return answer;
}

bool slm_vfs_reader_pends(sqlite3_vfs *system)
{
	static atomic_int known = UNKNOWN;
	int answer = atomic_load(&known);

	if (answer == UNKNOWN) {
		answer = ask(system);
		atomic_store(&known, answer);
	}
	if (answer == UNKNOWN)
		return sqlite3_libversion_number() < 3041000;
	return answer == BECOMES_PENDING;
}
