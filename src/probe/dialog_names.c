/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prepared statements and portals by name. Part of the dialog. The objects are
 * counted references: the table holds one, and so does each expectation.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "probe/dialog_internal.h"

#define FIRST_CAPACITY 16

/* In the place of what was removed. */
static struct dialog_object removed;

static uint64_t hash_of(const char *name)
{
	return slm_hash(name, strlen(name), 0);
}

static size_t slot_of(const struct dialog_names *names, uint64_t hash,
		      const char *name)
{
	size_t mask = names->capacity - 1, i = (size_t)hash & mask;

	while (names->slots[i]) {
		const struct dialog_object *object = names->slots[i];

		if (object != &removed && object->hash == hash &&
		    strcmp(object->name.data, name) == 0)
			break;
		i = (i + 1) & mask;
	}
	return i;
}

struct dialog_object *slm_dialog_names_find(const struct dialog_names *names,
					    const char *name)
{
	if (!names->count)
		return NULL;
	return names->slots[slot_of(names, hash_of(name), name)];
}

static bool grow(struct dialog_names *names)
{
	struct dialog_names bigger = { 0 };

	if ((names->used + 1) * 2 <= names->capacity)
		return true;
	bigger.capacity = FIRST_CAPACITY;
	while (bigger.capacity < (names->count + 1) * 4)
		bigger.capacity *= 2;
	bigger.slots = slm_calloc(bigger.capacity, sizeof(*bigger.slots));
	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < names->capacity; i++) {
		struct dialog_object *object = names->slots[i];

		if (!object || object == &removed)
			continue;
		bigger.slots[slot_of(&bigger, object->hash, object->name.data)] =
			object;
		bigger.count++;
	}
	bigger.used = bigger.count;
	slm_free(names->slots);
	*names = bigger;
	return true;
}

bool slm_dialog_names_put(struct dialog_names *names,
			  struct dialog_object *object,
			  struct dialog_object **former)
{
	size_t i;

	if (!grow(names))
		return false;
	i = slot_of(names, object->hash, object->name.data);
	if (former)
		*former = names->slots[i];
	if (!names->slots[i]) {
		names->used++;
		names->count++;
	}
	names->slots[i] = object;
	return true;
}

struct dialog_object *slm_dialog_names_remove(struct dialog_names *names,
					      const char *name)
{
	struct dialog_object *object;
	size_t i, next;

	if (!names->count)
		return NULL;
	i = slot_of(names, hash_of(name), name);
	object = names->slots[i];
	if (!object)
		return NULL;
	next = (i + 1) & (names->capacity - 1);
	names->slots[i] = names->slots[next] ? &removed : NULL;
	if (!names->slots[i])
		names->used--;
	names->count--;
	return object;
}

struct dialog_object *slm_dialog_names_pop(struct dialog_names *names)
{
	for (size_t i = 0; names->count && i < names->capacity; i++) {
		struct dialog_object *object = names->slots[i];

		if (!object || object == &removed)
			continue;
		names->slots[i] = &removed;
		names->count--;
		return object;
	}
	if (names->used) {
		memset(names->slots, 0,
		       names->capacity * sizeof(*names->slots));
		names->used = 0;
	}
	return NULL;
}

void slm_dialog_names_deinit(struct dialog_names *names)
{
	assert(names->count == 0);
	slm_free(names->slots);
	*names = (struct dialog_names){ 0 };
}

bool slm_dialog_object_name(struct dialog_object *object, const char *name)
{
	slm_buf_clear(&object->name);
	slm_buf_puts(&object->name, name);
	slm_buf_putc(&object->name, '\0'); /* "" has data, too */
	object->hash = hash_of(name);
	return !slm_buf_failed(&object->name);
}

/* ---- Statements -------------------------------------------------------- */

struct dialog_statement *slm_dialog_statement_new(struct slm_dialog *dialog,
						  const char *name,
						  const char *sql, size_t size,
						  bool cut)
{
	struct dialog_statement *statement = slm_calloc(1, sizeof(*statement));
	size_t kept = size;

	if (!statement)
		return NULL;
	if (dialog->texts + size > DIALOG_TEXTS_MAX && size > DIALOG_TEXT_SHORT)
		kept = DIALOG_TEXT_SHORT;
	statement->object.refs = 1;
	statement->cut = cut || kept < size;
	slm_buf_append(&statement->sql, sql, kept);
	slm_buf_putc(&statement->sql, '\0');
	if (!slm_dialog_object_name(&statement->object, name) ||
	    slm_buf_failed(&statement->sql)) {
		slm_dialog_statement_unref(dialog, statement);
		return NULL;
	}
	statement->sql.size--;
	statement->counted = kept;
	dialog->texts += kept;
	return statement;
}

void slm_dialog_statement_unref(struct slm_dialog *dialog,
				struct dialog_statement *statement)
{
	if (!statement || --statement->object.refs)
		return;
	dialog->texts -= statement->counted;
	slm_buf_deinit(&statement->object.name);
	slm_buf_deinit(&statement->sql);
	slm_buf_deinit(&statement->types);
	slm_buf_deinit(&statement->columns);
	slm_free(statement);
}

struct dialog_statement *slm_dialog_statement_find(
	const struct slm_dialog *dialog, const char *name)
{
	return (struct dialog_statement *)slm_dialog_names_find(
		&dialog->statements, name);
}

void slm_dialog_forget_statements(struct slm_dialog *dialog)
{
	struct dialog_object *object;

	while ((object = slm_dialog_names_pop(&dialog->statements)))
		slm_dialog_statement_unref(dialog,
					   (struct dialog_statement *)object);
}

/* ---- Portals ----------------------------------------------------------- */

static void free_portal(struct dialog_portal *portal)
{
	slm_buf_deinit(&portal->object.name);
	slm_buf_deinit(&portal->params);
	slm_buf_deinit(&portal->formats);
	slm_buf_deinit(&portal->result_formats);
	slm_buf_deinit(&portal->columns);
	slm_free(portal);
}

struct dialog_portal *slm_dialog_portal_new(struct slm_dialog *dialog,
					    const char *name)
{
	struct dialog_portal *portal = dialog->spare;

	if (portal) {
		dialog->spare = portal->next;
		dialog->nspare--;
	} else {
		portal = slm_calloc(1, sizeof(*portal));
		if (!portal)
			return NULL;
	}
	portal->next = NULL;
	portal->object.refs = 1;
	portal->statement = NULL;
	portal->nparams = 0;
	portal->cut = false;
	slm_buf_clear(&portal->params);
	slm_buf_clear(&portal->formats);
	slm_buf_clear(&portal->result_formats);
	slm_buf_clear(&portal->columns);
	if (slm_dialog_object_name(&portal->object, name))
		return portal;
	free_portal(portal);
	return NULL;
}

void slm_dialog_portal_unref(struct slm_dialog *dialog,
			     struct dialog_portal *portal)
{
	if (!portal || --portal->object.refs)
		return;
	slm_dialog_statement_unref(dialog, portal->statement);
	portal->statement = NULL;
	if (dialog->nspare >= DIALOG_SPARE_MAX) {
		free_portal(portal);
		return;
	}
	portal->next = dialog->spare;
	dialog->spare = portal;
	dialog->nspare++;
}

struct dialog_portal *slm_dialog_portal_find(const struct slm_dialog *dialog,
					     const char *name)
{
	return (struct dialog_portal *)slm_dialog_names_find(&dialog->portals,
							     name);
}

void slm_dialog_forget_portals(struct slm_dialog *dialog)
{
	struct dialog_object *object;

	while ((object = slm_dialog_names_pop(&dialog->portals)))
		slm_dialog_portal_unref(dialog, (struct dialog_portal *)object);
}

void slm_dialog_free_spare(struct slm_dialog *dialog)
{
	while (dialog->spare) {
		struct dialog_portal *portal = dialog->spare;

		dialog->spare = portal->next;
		free_portal(portal);
	}
	dialog->nspare = 0;
}

void slm_dialog_forget(struct slm_dialog *dialog, char kind, const char *name)
{
	if (kind == 'S')
		slm_dialog_statement_unref(
			dialog,
			(struct dialog_statement *)slm_dialog_names_remove(
				&dialog->statements, name));
	else
		slm_dialog_portal_unref(
			dialog, (struct dialog_portal *)slm_dialog_names_remove(
					&dialog->portals, name));
}
