/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sweeps share: a small spec in which everything happens that an
 * exploration can meet, the number of open descriptors, and the files in the
 * directory for temporary files. Included once per program.
 */
#ifndef SLM_TESTS_FAULT_SWEEP_H
#define SLM_TESTS_FAULT_SWEEP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <sqloom/sqloom.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"

#define UNUSED __attribute__((unused))

/* Three calls: setups, a value carried over, `when`, generated keys and a
 * reference to them, a wait for a lock, a refused statement, a ROLLBACK, a
 * teardown, a failing check, an unstable column. */
static const char rich_spec[] =
	"option busy_timeout 20\n"
	"option ignore audit.note\n"
	"option allow SQLITE_BUSY\n"
	"setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER UNIQUE);\n"
	"  CREATE TABLE audit (id INTEGER PRIMARY KEY, t INTEGER REFERENCES\n"
	"    t (id), at TEXT DEFAULT CURRENT_TIMESTAMP, note TEXT);\n"
	"  INSERT INTO t VALUES (1, 10) }\n"
	"session a\n"
	"setup { PRAGMA foreign_keys = on }\n"
	"step a1 { SELECT v FROM t WHERE id = 1 }\n"
	"step a2 when { :v < 100 } { UPDATE t SET v = :v + 1 WHERE id = 1 }\n"
	"teardown { SELECT 1 }\n"
	"session b\n"
	"step b1 { BEGIN IMMEDIATE; INSERT INTO t (v) VALUES (20)\n"
	"  RETURNING id AS key; }\n"
	"step b2 { INSERT INTO audit (t) VALUES (:key); COMMIT }\n"
	"session c\n"
	"step c1 { BEGIN IMMEDIATE; UPDATE t SET v = v + 1 WHERE id = 1 }\n"
	"step c2 { INSERT INTO t (v) VALUES (11) }\n"
	"step c3 { COMMIT }\n"
	"check \"small\" { SELECT id, v FROM t WHERE id = 1 AND v < 12 }\n";

static const char temporary[] = "/tmp";
static const char *const store_folders[] = { "/dev/shm", "/tmp" };

UNUSED static struct sqloom_spec *parse(const char *text)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err;

	if (sqloom_spec_parse(text, strlen(text), "rich.spec", &spec, &err))
		fail_msg("%s", err.message);
	return spec;
}

static unsigned count_names(const char *folder, const char *prefix)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	unsigned count = 0;

	/* A bare chroot may have no /proc: then nothing can be counted. */
	while (dir && (entry = readdir(dir)))
		count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	if (dir)
		closedir(dir);
	return count;
}

/* The descriptor of the listing itself is always among them. */
UNUSED static unsigned open_files(void)
{
	return count_names("/proc/self/fd", "");
}

/* Directories of file stores of this process. */
UNUSED static unsigned store_folders_left(void)
{
	unsigned count = 0;
	char prefix[40];

	snprintf(prefix, sizeof(prefix), "sqloom-%u-", (unsigned)getpid());
	for (unsigned i = 0; i < 2; i++)
		if (access(store_folders[i], R_OK) == 0)
			count += count_names(store_folders[i], prefix);
	return count;
}

#endif
