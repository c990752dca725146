/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table with linear probing. An entry that is removed is filled by what
 * was pushed behind it, so that a search ends at the first empty one.
 *
 * Invariants: the capacity is a power of 2 and at most half of it is in use.
 */
#include "probe/sqlite_open.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"

#define FIRST_CAPACITY 256

struct entry {
	sqlite3_stmt *stmt; /* NULL: empty */
	enum slm_sqlite_state state;
};

static struct entry first_entries[FIRST_CAPACITY];

static struct {
	pthread_mutex_t mutex;
	struct entry *entries; /* owned, or first_entries */
	size_t capacity;
	atomic_size_t count;
} table = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.entries = first_entries,
	.capacity = FIRST_CAPACITY,
};

static size_t home_of(const sqlite3_stmt *stmt)
{
	uint64_t bits =
		(uint64_t)(uintptr_t)stmt * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(bits >> 32) & (table.capacity - 1);
}

/* Where it is, or the empty entry where it would be. */
static struct entry *find(const sqlite3_stmt *stmt)
{
	size_t at = home_of(stmt);

	while (table.entries[at].stmt && table.entries[at].stmt != stmt)
		at = (at + 1) & (table.capacity - 1);
	return &table.entries[at];
}

static size_t count(void)
{
	return atomic_load_explicit(&table.count, memory_order_relaxed);
}

static void set_count(size_t value)
{
	atomic_store_explicit(&table.count, value, memory_order_relaxed);
}

static bool grow(void)
{
	struct entry *old = table.entries;
	size_t old_capacity = table.capacity;
	struct entry *entries = slm_calloc(old_capacity * 2, sizeof(*entries));

	if (!entries)
		return false;
	table.entries = entries;
	table.capacity = old_capacity * 2;
	for (size_t i = 0; i < old_capacity; i++)
		if (old[i].stmt)
			*find(old[i].stmt) = old[i];
	if (old != first_entries)
		slm_free(old);
	return true;
}

/* Empties an entry, and moves up what would not be found any more. */
static void empty(struct entry *entry)
{
	size_t mask = table.capacity - 1;
	size_t hole = (size_t)(entry - table.entries);

	for (size_t at = (hole + 1) & mask; table.entries[at].stmt;
	     at = (at + 1) & mask) {
		size_t home = home_of(table.entries[at].stmt);

		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		table.entries[hole] = table.entries[at];
		hole = at;
	}
	table.entries[hole].stmt = NULL;
	set_count(count() - 1);
}

bool slm_sqlite_open_none(void)
{
	return count() == 0;
}

enum slm_sqlite_state slm_sqlite_open_state(sqlite3_stmt *stmt)
{
	enum slm_sqlite_state state = SLM_SQLITE_UNKNOWN;
	const struct entry *entry;

	if (slm_sqlite_open_none())
		return state;
	pthread_mutex_lock(&table.mutex);
	entry = find(stmt);
	if (entry->stmt)
		state = entry->state;
	pthread_mutex_unlock(&table.mutex);
	return state;
}

bool slm_sqlite_open_add(sqlite3_stmt *stmt, enum slm_sqlite_state state)
{
	struct entry *entry;
	bool there;

	pthread_mutex_lock(&table.mutex);
	there = find(stmt)->stmt || (count() + 1) * 2 <= table.capacity ||
		grow();
	if (there) {
		entry = find(stmt);
		if (!entry->stmt)
			set_count(count() + 1);
		*entry = (struct entry){ stmt, state };
	}
	pthread_mutex_unlock(&table.mutex);
	return there;
}

bool slm_sqlite_open_remove(sqlite3_stmt *stmt)
{
	struct entry *entry;
	bool begun = false;

	if (slm_sqlite_open_none())
		return false;
	pthread_mutex_lock(&table.mutex);
	entry = find(stmt);
	if (entry->stmt) {
		begun = entry->state == SLM_SQLITE_BEGUN;
		empty(entry);
	}
	pthread_mutex_unlock(&table.mutex);
	return begun;
}

/* Also gives the memory back. */
void slm_sqlite_open_clear(void)
{
	pthread_mutex_lock(&table.mutex);
	if (table.entries != first_entries)
		slm_free(table.entries);
	table.entries = first_entries;
	table.capacity = FIRST_CAPACITY;
	memset(first_entries, 0, sizeof(first_entries));
	set_count(0);
	pthread_mutex_unlock(&table.mutex);
}
