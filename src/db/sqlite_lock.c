/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock table and the two predicates it stands on: what the rules allow,
 * and who stands in the way of what they refused. Both are written from the
 * same rule, so that a blocker going away is exactly what makes a retry
 * worthwhile: a predicate that names too few hangs an exploration, one that
 * names too many multiplies it.
 */
#include "db/sqlite_lock.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

void slm_lock_open(struct slm_lock_table *table, struct slm_lock_handle *handle,
		   struct slm_lock_file *file, unsigned owner)
{
	memset(handle, 0, sizeof(*handle));
	handle->file = file;
	handle->owner = owner;
	handle->next = file->handles;
	file->handles = handle;
	handle->next_open = table->open;
	table->open = handle;
}

static void take_out(struct slm_lock_table *table,
		     struct slm_lock_handle *handle)
{
	struct slm_lock_handle **at = &handle->file->handles;

	while (*at != handle) {
		assert(*at);
		at = &(*at)->next;
	}
	*at = handle->next;
	at = &table->open;
	while (*at != handle) {
		assert(*at);
		at = &(*at)->next_open;
	}
	*at = handle->next_open;
	handle->file = NULL;
}

void slm_lock_close(struct slm_lock_table *table,
		    struct slm_lock_handle *handle)
{
	if (!handle->file)
		return;
	slm_lock_lower(table, handle, SQLITE_LOCK_NONE);
	slm_lock_release_slots(table, handle, 0xff);
	for (unsigned i = 0; i < SLM_LOCK_OWNERS; i++) {
		if (table->waits[i].handle == handle)
			table->waits[i].handle = NULL;
	}
	take_out(table, handle);
}

/*
 * The lowest level of another handle that keeps a handle from getting this
 * level. A new reader is kept out by PENDING and above; RESERVED is for one at
 * a time; EXCLUSIVE waits for every reader.
 */
static int conflicting_level(int wanted)
{
	switch (wanted) {
	case SQLITE_LOCK_SHARED:
		return SQLITE_LOCK_PENDING;
	case SQLITE_LOCK_RESERVED:
		return SQLITE_LOCK_RESERVED;
	default:
		return SQLITE_LOCK_SHARED;
	}
}

static bool slots_conflict(const struct slm_lock_handle *other, uint8_t slots,
			   bool exclusively)
{
	if (other->exclusive & slots)
		return true;
	return exclusively && (other->shared & slots);
}

bool slm_lock_allowed(const struct slm_lock_handle *handle, int level)
{
	int conflict = conflicting_level(level);

	if (handle->level >= level)
		return true;
	for (const struct slm_lock_handle *other = handle->file->handles; other;
	     other = other->next) {
		if (other != handle && other->level >= conflict)
			return false;
	}
	return true;
}

bool slm_lock_slots_allowed(const struct slm_lock_handle *handle, uint8_t slots,
			    bool exclusively)
{
	for (const struct slm_lock_handle *other = handle->file->handles; other;
	     other = other->next) {
		if (other != handle &&
		    slots_conflict(other, slots, exclusively))
			return false;
	}
	return true;
}

static void set_wait(struct slm_lock_table *table,
		     const struct slm_lock_handle *handle, int level,
		     uint8_t slots, bool exclusively)
{
	if (handle->owner >= SLM_LOCK_OWNERS)
		return;
	table->waits[handle->owner] = (struct slm_lock_wait){
		.handle = handle,
		.level = level,
		.slots = slots,
		.exclusively = exclusively,
	};
}

static bool somebody_above(const struct slm_lock_handle *handle, int level)
{
	for (const struct slm_lock_handle *other = handle->file->handles; other;
	     other = other->next) {
		if (other != handle && other->level > level)
			return true;
	}
	return false;
}

void slm_lock_record(struct slm_lock_table *table,
		     struct slm_lock_handle *handle, int level, bool granted)
{
	assert(level > SQLITE_LOCK_NONE && level <= SQLITE_LOCK_EXCLUSIVE);
	if (granted) {
		if (handle->level < level)
			handle->level = level;
		slm_lock_forget(table, handle->owner);
		return;
	}
	/* A writer that waits for readers keeps new ones out meanwhile. */
	if (level == SQLITE_LOCK_EXCLUSIVE &&
	    (handle->level == SQLITE_LOCK_RESERVED || table->reader_pends) &&
	    !somebody_above(handle, SQLITE_LOCK_SHARED))
		handle->level = SQLITE_LOCK_PENDING;
	set_wait(table, handle, level, 0, true);
}

void slm_lock_record_slots(struct slm_lock_table *table,
			   struct slm_lock_handle *handle, uint8_t slots,
			   bool exclusively, bool granted)
{
	if (!granted) {
		set_wait(table, handle, SQLITE_LOCK_NONE, slots, exclusively);
		return;
	}
	if (exclusively)
		handle->exclusive |= slots;
	else
		handle->shared |= slots;
	slm_lock_forget(table, handle->owner);
}

void slm_lock_lower(struct slm_lock_table *table,
		    struct slm_lock_handle *handle, int level)
{
	assert(level <= SQLITE_LOCK_SHARED);
	if (handle->level <= level)
		return;
	handle->level = level;
	table->releases++;
}

void slm_lock_release_slots(struct slm_lock_table *table,
			    struct slm_lock_handle *handle, uint8_t slots)
{
	if (!((handle->shared | handle->exclusive) & slots))
		return;
	handle->shared &= (uint8_t)~slots;
	handle->exclusive &= (uint8_t)~slots;
	table->releases++;
}

bool slm_lock_reserved(const struct slm_lock_file *file)
{
	for (const struct slm_lock_handle *handle = file->handles; handle;
	     handle = handle->next) {
		if (handle->level > SQLITE_LOCK_SHARED)
			return true;
	}
	return false;
}

bool slm_lock_holds(const struct slm_lock_table *table, unsigned owner)
{
	for (const struct slm_lock_handle *handle = table->open; handle;
	     handle = handle->next_open) {
		int lasting = handle->mapped ? SQLITE_LOCK_SHARED :
					       SQLITE_LOCK_NONE;

		if (handle->owner == owner &&
		    (handle->level > lasting || handle->shared ||
		     handle->exclusive))
			return true;
	}
	return false;
}

static bool stands_in_the_way(const struct slm_lock_handle *other,
			      const struct slm_lock_wait *wait)
{
	if (other == wait->handle)
		return false;
	if (wait->level == SQLITE_LOCK_NONE)
		return slots_conflict(other, wait->slots, wait->exclusively);
	return other->level >= conflicting_level(wait->level);
}

uint32_t slm_lock_blockers(const struct slm_lock_table *table, unsigned owner)
{
	const struct slm_lock_wait *wait;
	uint32_t blockers = 0;

	if (!slm_lock_waits(table, owner))
		return 0;
	wait = &table->waits[owner];
	for (const struct slm_lock_handle *other = wait->handle->file->handles;
	     other; other = other->next) {
		if (other->owner < SLM_LOCK_OWNERS &&
		    stands_in_the_way(other, wait))
			blockers |= (uint32_t)1 << other->owner;
	}
	return blockers;
}

bool slm_lock_waits(const struct slm_lock_table *table, unsigned owner)
{
	return owner < SLM_LOCK_OWNERS && table->waits[owner].handle;
}

void slm_lock_forget(struct slm_lock_table *table, unsigned owner)
{
	if (owner < SLM_LOCK_OWNERS)
		table->waits[owner].handle = NULL;
}

static const char *slots_name(uint8_t slots)
{
	switch (slots) {
	case 1 << 0:
		return "the write lock";
	case 1 << 1:
		return "the checkpoint lock";
	case 1 << 2:
		return "the recovery lock";
	case 1 << 3:
	case 1 << 4:
	case 1 << 5:
	case 1 << 6:
	case 1 << 7:
		return "a read lock";
	default:
		return "several locks";
	}
}

void slm_lock_describe(const struct slm_lock_table *table, unsigned owner,
		       char text[SLM_LOCK_TEXT])
{
	static const char *const levels[] = { "", "SHARED", "RESERVED",
					      "PENDING", "EXCLUSIVE" };
	const struct slm_lock_wait *wait;

	text[0] = '\0';
	if (!slm_lock_waits(table, owner))
		return;
	wait = &table->waits[owner];
	if (wait->level == SQLITE_LOCK_NONE)
		snprintf(text, SLM_LOCK_TEXT, "%s of %s's WAL",
			 slots_name(wait->slots), wait->handle->file->label);
	else
		snprintf(text, SLM_LOCK_TEXT, "the %s lock on %s",
			 levels[wait->level], wait->handle->file->label);
}
